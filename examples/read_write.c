/*
 * read_write.c - reads a table as Arrow batches and writes them to another one.
 *
 *   read_write URL TABLE TARGET      the target has columns of the same names
 */
#include <penstock.h>
#include <stdio.h>

static int
failed(const pst_error *err)
{
	fprintf(stderr, "read_write: %s\n", err->message);
	if (err->hint[0] != '\0')
		fprintf(stderr, "hint: %s\n", err->hint);
	return 1;
}

int
main(int argc, char **argv)
{
	pst_error err = PST_ERROR_INIT;
	pst_source *source = NULL;
	pst_sink *sink = NULL;
	struct ArrowSchema schema = {0};
	struct ArrowArrayStream rows = {0};
	struct ArrowArray batch = {0};
	pst_status status;
	int64_t count = 0;

	if (argc != 4)
		return fprintf(stderr, "usage: read_write URL TABLE TARGET\n"), 2;

	const char *const keys[] = {"url", "table-name", NULL};
	const char *const from[] = {argv[1], argv[2], NULL};
	const char *const to[] = {argv[1], argv[3], NULL};

	if ((status = pst_source_open(keys, from, NULL, &source, &err)) == PST_OK &&
		(status = pst_source_schema(source, &schema, &err)) == PST_OK &&
		(status = pst_sink_open(keys, to, &schema, NULL, &sink, &err)) == PST_OK &&
		(status = pst_source_read(source, NULL, &rows, &err)) == PST_OK)
	{
		/* A batch without release is the end; an error of the stream is kept by the source. */
		while (status == PST_OK && rows.get_next(&rows, &batch) == 0 && batch.release != NULL)
		{
			count += batch.length;
			status = pst_sink_write(sink, &batch, NULL, &err);
			batch.release(&batch);
		}
		if (status == PST_OK)
			status = pst_source_error(source, &err);
		if (status == PST_OK)
			status = pst_sink_flush(sink, &err);
	}
	if (status == PST_OK)
		printf("%lld rows\n", (long long) count);

	if (rows.release != NULL)
		rows.release(&rows);
	if (schema.release != NULL)
		schema.release(&schema);
	if (status != PST_OK)
		pst_sink_discard(sink, NULL);
	pst_sink_close(sink, NULL);
	pst_source_close(source);
	return status == PST_OK ? 0 : failed(&err);
}
