/*
 * write_bench.c - writes the rows of rows.h to the table target by libpenstock's sink.
 *
 *   write_bench CONNINFO MODE ROWS held|streamed [OPTION=VALUE]...
 *
 * held: the Arrow batches are made before the clock starts, as an engine has them. streamed: only
 * one batch is in memory at a time, so that the memory that is reported is the sink's; its time
 * includes the making of the rows. Prints one JSON object.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

#define BATCH 16384
#define MAX_OPTIONS 32

static void
fail(const char *what, const pst_error *err)
{
	bench_die("%s: %s %s %s", what, err->message, err->detail, err->hint);
}

static void
write_batch(pst_sink *sink, const struct ArrowArray *batch)
{
	pst_error err = PST_ERROR_INIT;

	if (pst_sink_write(sink, batch, NULL, &err) != PST_OK)
		fail("write", &err);
}

static struct ArrowArray *
make_batches(size_t nrows, size_t *nbatches)
{
	bench_row *rows = bench_rows_new(nrows);
	struct ArrowArray *batches = calloc(nrows / BATCH + 1, sizeof(*batches));

	if (batches == NULL)
		bench_die("out of memory");
	*nbatches = 0;
	for (size_t at = 0; at < nrows; at += BATCH)
		bench_rows_array(rows + at, nrows - at < BATCH ? nrows - at : BATCH,
						 &batches[(*nbatches)++]);
	free(rows);
	return batches;
}

/* Keys beyond those of bench_rows_new(BATCH) are made by moving a batch's keys along. */
static void
write_streamed(pst_sink *sink, size_t nrows)
{
	bench_row *rows = bench_rows_new(BATCH);

	for (size_t at = 0; at < nrows; at += BATCH)
	{
		size_t n = nrows - at < BATCH ? nrows - at : BATCH;
		struct ArrowArray batch;

		bench_rows_array(rows, n, &batch);
		write_batch(sink, &batch);
		batch.release(&batch);
		for (size_t i = 0; i < BATCH; i++)
			rows[i].id += 4 * BATCH;
	}
	free(rows);
}

int
main(int argc, char **argv)
{
	const char *keys[MAX_OPTIONS + 1] = {"url", "table-name", "sink.mode"};
	const char *values[MAX_OPTIONS + 1] = {NULL};
	pst_error err = PST_ERROR_INIT;
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	struct ArrowSchema schema;
	struct ArrowArray *batches = NULL;
	size_t nbatches = 0;
	size_t nrows;
	double start;
	pst_sink *sink;

	if (argc < 5 || argc - 5 > MAX_OPTIONS - 3)
		bench_die("usage: write_bench CONNINFO MODE ROWS held|streamed [OPTION=VALUE]...");
	values[0] = argv[1];
	values[1] = "target";
	values[2] = argv[2];
	nrows = (size_t) strtoull(argv[3], NULL, 10);
	for (int i = 5; i < argc; i++)
	{
		char *equals = strchr(argv[i], '=');

		if (equals == NULL)
			bench_die("%s is not OPTION=VALUE", argv[i]);
		*equals = '\0';
		keys[i - 2] = argv[i];
		values[i - 2] = equals + 1;
	}
	bench_rows_schema(&schema);
	if (strcmp(argv[4], "held") == 0)
		batches = make_batches(nrows, &nbatches);

	start = bench_now();
	hooks.application = "bench";
	if (pst_sink_open(keys, values, &schema, &hooks, &sink, &err) != PST_OK)
		fail("open", &err);
	for (size_t i = 0; i < nbatches; i++)
		write_batch(sink, &batches[i]);
	if (batches == NULL)
		write_streamed(sink, nrows);
	if (pst_sink_flush(sink, &err) != PST_OK)
		fail("flush", &err);
	pst_sink_get_stats(sink, &stats);
	if (pst_sink_close(sink, &err) != PST_OK)
		fail("close", &err);
	printf("{\"seconds\": %.6f, \"rows\": %lld, \"flushes\": %lld, \"method\": \"%s\", "
		   "\"maxrss_kb\": %ld}\n",
		   bench_now() - start, (long long) stats.rows_in, (long long) stats.flushes,
		   stats.method != NULL ? stats.method : "", bench_maxrss_kb());

	for (size_t i = 0; i < nbatches; i++)
		batches[i].release(&batches[i]);
	free(batches);
	schema.release(&schema);
	return 0;
}
