/*
 * sink_tool.c - writes a known sequence of changes through a sink, as a job would:
 *
 *   sink_tool CONNINFO FLUSHES ROWS OPTION=VALUE...
 *
 * Flush f (from 0) holds ROWS rows. Appending, row r of it is (f * ROWS + r, f). By key each flush
 * upserts the keys 0 .. ROWS - 1 with the value f, and in changelog mode deletes every third key
 * and adds one of its own. With a progress table the position is the number of flushes done, and
 * the tool goes on behind what it finds stored. Prints one line of json; the exit code is 0, 1 for
 * an error of the sink, 3 for PST_ERR_UNKNOWN_OUTCOME.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow_build.h"
#include "penstock.h"

#define MAX_OPTIONS 24

static int rows_per_flush;

static void
die(const char *what, const pst_error *err)
{
	printf("{\"failed\":\"%s\",\"status\":\"%s\",\"sqlstate\":\"%s\"}\n", what,
		   pst_status_name(err->status), err->sqlstate);
	fprintf(stderr, "%s: %s %s\n", what, err->message, err->detail);
	exit(err->status == PST_ERR_UNKNOWN_OUTCOME ? 3 : 1);
}

static void
make_schema(struct ArrowSchema *schema)
{
	static const char *const names[] = {"id", "v"};
	pst_error err = PST_ERROR_INIT;

	if (psti_schema_init(schema, "+s", "", false, 2, &err) != PST_OK)
		die("schema", &err);
	for (int c = 0; c < 2; c++)
	{
		if (psti_schema_init(schema->children[c], "l", names[c], true, 0, &err) != PST_OK)
			die("schema", &err);
	}
}

static void
make_batch(struct ArrowArray *batch, int flush, bool append, bool deletes, int8_t *kinds)
{
	pst_error err = PST_ERROR_INIT;
	int n = rows_per_flush;
	int64_t *data[2];

	if (psti_array_init(batch, n, 1, 2, &err) != PST_OK)
		die("batch", &err);
	for (int c = 0; c < 2; c++)
	{
		data[c] = calloc((size_t) n, sizeof(int64_t));
		if (psti_array_init(batch->children[c], n, 2, 0, &err) != PST_OK)
			die("batch", &err);
		psti_array_buffer(batch->children[c], 1, data[c]);
	}
	for (int r = 0; r < n; r++)
	{
		/* Backwards, so that sorting has something to do. */
		int64_t key = n - 1 - r;

		kinds[r] = deletes && (key + flush) % 3 == 0 ? PST_ROW_DELETE : PST_ROW_INSERT;
		data[0][r] = append ? (int64_t) flush * n + key : key;
		data[1][r] = flush;
	}
}

int
main(int argc, char **argv)
{
	const char *keys[MAX_OPTIONS] = {"url"};
	const char *values[MAX_OPTIONS] = {argv[1]};
	pst_error err = PST_ERROR_INIT;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	struct ArrowSchema schema;
	pst_sink *sink;
	bool append = false;
	bool deletes = false;
	bool progress = false;
	int64_t epoch;
	char *position = NULL;
	int flushes = atoi(argv[2]);
	int from = 0;

	rows_per_flush = atoi(argv[3]);
	for (int i = 4; i < argc && i < MAX_OPTIONS; i++)
	{
		char *equals = strchr(argv[i], '=');

		*equals = '\0';
		keys[i - 3] = argv[i];
		values[i - 3] = equals + 1;
		append = append || strcmp(equals + 1, "append") == 0;
		deletes = deletes || strcmp(equals + 1, "changelog") == 0;
		progress = progress || strcmp(argv[i], "sink.progress.job") == 0;
	}
	make_schema(&schema);
	if (pst_sink_open(keys, values, &schema, NULL, &sink, &err) != PST_OK)
		die("open", &err);
	if (pst_sink_stored(sink, &epoch, &position, &err) == PST_OK && position != NULL)
		from = atoi(position);
	pst_free(position);
	for (int f = from; f < flushes; f++)
	{
		struct ArrowArray batch;
		int8_t *kinds = calloc((size_t) rows_per_flush, 1);
		char text[16];

		make_batch(&batch, f, append, deletes, kinds);
		if (pst_sink_write(sink, &batch, kinds, &err) != PST_OK)
			die("write", &err);
		psti_array_release(&batch);
		free(kinds);
		snprintf(text, sizeof(text), "%d", f + 1);
		if (progress && pst_sink_set_position(sink, text, &err) != PST_OK)
			die("set_position", &err);
		if (pst_sink_flush(sink, &err) != PST_OK)
			die("flush", &err);
	}
	pst_sink_get_stats(sink, &stats);
	if (pst_sink_close(sink, &err) != PST_OK)
		die("close", &err);
	psti_schema_release(&schema);
	printf("{\"retries\":%" PRId64 ",\"flushes\":%" PRId64 ",\"method\":\"%s\"}\n", stats.retries,
		   stats.flushes, stats.method);
	return 0;
}
