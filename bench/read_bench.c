/*
 * read_bench.c - reads a table into Arrow arrays by libpenstock and throws them away.
 *
 *   read_bench CONNINFO TABLE JOBS [OPTION=VALUE]...
 *
 * With JOBS = 1 one stream over the whole table, else that many threads that take splits in turn.
 * Prints one JSON object: seconds from before the first connecting to after the last close, rows,
 * the sum over the first column (a bigint), greatest resident memory.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

#define MAX_JOBS 16
#define MAX_OPTIONS 32

typedef struct work
{
	const char *keys[MAX_OPTIONS + 1];
	const char *values[MAX_OPTIONS + 1];
	char **splits; /* borrowed from main; NULL: the whole table */
	size_t nsplits;
	size_t next_split;
	pthread_mutex_t lock;
	int64_t rows;
	int64_t sum;
	int64_t batches;
} work;

typedef struct worker
{
	pthread_t thread;
	work *work;
	pst_source *source; /* the planner's for the first worker, else NULL */
} worker;

static void
fail(const char *what, const pst_error *err)
{
	bench_die("%s: %s %s %s", what, err->message, err->detail, err->hint);
}

static pst_source *
open_source(const work *w)
{
	pst_error err = PST_ERROR_INIT;
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_source *source;

	hooks.application = "bench";
	if (pst_source_open(w->keys, w->values, &hooks, &source, &err) != PST_OK)
		fail("open", &err);
	return source;
}

static void
read_stream(work *w, pst_source *source, const char *split)
{
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	int64_t rows = 0;
	int64_t sum = 0;
	int64_t batches = 0;

	if (pst_source_read(source, split, &stream, &err) != PST_OK)
		fail("read", &err);
	for (;;)
	{
		struct ArrowArray batch;
		const int64_t *ids;

		if (stream.get_next(&stream, &batch) != 0)
			bench_die("read: %s", stream.get_last_error(&stream));
		if (batch.release == NULL)
			break;
		ids = (const int64_t *) batch.children[0]->buffers[1] + batch.children[0]->offset;
		for (int64_t i = 0; i < batch.length; i++)
			sum += ids[i];
		rows += batch.length;
		batches++;
		batch.release(&batch);
	}
	stream.release(&stream);
	pthread_mutex_lock(&w->lock);
	w->rows += rows;
	w->sum += sum;
	w->batches += batches;
	pthread_mutex_unlock(&w->lock);
}

static void *
run_worker(void *arg)
{
	worker *me = arg;
	pst_source *source = me->source != NULL ? me->source : open_source(me->work);

	for (;;)
	{
		size_t i;

		pthread_mutex_lock(&me->work->lock);
		i = me->work->next_split++;
		pthread_mutex_unlock(&me->work->lock);
		if (i >= me->work->nsplits)
			break;
		read_stream(me->work, source, me->work->splits[i]);
	}
	if (me->source == NULL)
		pst_source_close(source);
	return NULL;
}

static void
read_splits(work *w, pst_source *source, int jobs)
{
	pst_error err = PST_ERROR_INIT;
	worker workers[MAX_JOBS];

	if (pst_source_plan(source, 0, &w->splits, &w->nsplits, &err) != PST_OK)
		fail("plan", &err);
	for (int i = 0; i < jobs; i++)
	{
		workers[i].work = w;
		workers[i].source = i == 0 ? source : NULL;
		if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) != 0)
			bench_die("cannot start a thread");
	}
	for (int i = 0; i < jobs; i++)
		pthread_join(workers[i].thread, NULL);
	pst_free(w->splits);
}

int
main(int argc, char **argv)
{
	work w = {.keys = {"url", "table-name"}, .lock = PTHREAD_MUTEX_INITIALIZER};
	double start = bench_now();
	pst_source *source;
	int jobs;

	if (argc < 4 || argc - 4 > MAX_OPTIONS - 2)
		bench_die("usage: read_bench CONNINFO TABLE JOBS [OPTION=VALUE]...");
	w.values[0] = argv[1];
	w.values[1] = argv[2];
	jobs = atoi(argv[3]);
	if (jobs < 1 || jobs > MAX_JOBS)
		bench_die("jobs must be 1 to %d", MAX_JOBS);
	for (int i = 4; i < argc; i++)
	{
		char *equals = strchr(argv[i], '=');

		if (equals == NULL)
			bench_die("%s is not OPTION=VALUE", argv[i]);
		*equals = '\0';
		w.keys[i - 2] = argv[i];
		w.values[i - 2] = equals + 1;
	}
	source = open_source(&w);
	if (jobs == 1)
		read_stream(&w, source, NULL);
	else
		read_splits(&w, source, jobs);
	pst_source_close(source);
	printf("{\"seconds\": %.6f, \"rows\": %lld, \"sum\": %lld, \"batches\": %lld, \"splits\": %zu, "
		   "\"cpu\": %.3f, \"maxrss_kb\": %ld}\n",
		   bench_now() - start, (long long) w.rows, (long long) w.sum, (long long) w.batches,
		   w.nsplits, bench_cpu(), bench_maxrss_kb());
	return 0;
}
