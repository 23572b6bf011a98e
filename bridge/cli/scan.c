/* scan.c - reading a table or query with several workers. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "progress.h"
#include "scan.h"
#include "signals.h"

#define MAX_DEFAULT_JOBS 4
#define MAX_JOBS 1024
#define MAX_BATCH_ROWS 65536

pst_status
scan_fail(pst_error *err, pst_status status, const char *fmt, ...)
{
	va_list ap;

	*err = (pst_error) PST_ERROR_INIT;
	err->status = status;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return status;
}

void
scan_release_schema(struct ArrowSchema *schema)
{
	if (schema->release != NULL)
		schema->release(schema);
}

static void
release_array(struct ArrowArray *array)
{
	if (array->release != NULL)
		array->release(array);
}

int
scan_jobs(const cli_args *args)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int dflt = cpus < 1 ? 1 : cpus > MAX_DEFAULT_JOBS ? MAX_DEFAULT_JOBS : (int) cpus;
	int64_t jobs;

	/* A query is one stream, and a few rows are not worth several connections. */
	if (cli_given(args, CLI_QUERY))
		return 1;
	if (cli_given(args, CLI_LIMIT))
		dflt = 1;
	jobs = cli_number(args, CLI_JOBS, dflt);
	return jobs > MAX_JOBS ? MAX_JOBS : (int) jobs;
}

/* Small batches where a rate is asked for, so that it is kept evenly. */
static void
set_batch_rows(cli_pairs *options, const cli_args *args)
{
	int64_t rate = cli_number(args, CLI_MAX_RATE, 0);
	int64_t rows = rate / 10;
	char text[32];

	if (rate == 0 || pairs_get(options, "read.batch-rows") != NULL)
		return;
	snprintf(text, sizeof(text), "%lld",
			 (long long) (rows < 1				  ? 1
						  : rows > MAX_BATCH_ROWS ? MAX_BATCH_ROWS
												  : rows));
	pairs_add(options, "read.batch-rows", text);
}

static pst_status
open_source(scan *s, cli_meter *meter, pst_source **source, struct ArrowSchema *schema,
			pst_error *err)
{
	pst_hooks hooks = db_hooks(s->db, meter);
	pst_status status =
		pst_source_open((const char *const *) s->options.keys,
						(const char *const *) s->options.values, &hooks, source, err);

	if (status == PST_OK)
		status = pst_source_schema(*source, schema, err);
	if (status < 0)
		db_blame(s->db, err);
	return status;
}

/* Whether the plan of splits matters: for several workers, or where the user has drawn it. */
static bool
wants_plan(const scan *s)
{
	return s->jobs > 1 || pairs_get(&s->options, "scan.partition.column") != NULL;
}

pst_status
scan_open(scan *s, cli_db *db, const cli_pairs *options, const cli_args *args, pst_error *err)
{
	int64_t bytes;
	pst_status status;

	*s = (scan){.db = db, .rows_total = -1};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->decision, NULL);
	pairs_copy(&s->options, options);
	set_batch_rows(&s->options, args);
	s->jobs = scan_jobs(args);
	s->limited = cli_given(args, CLI_LIMIT);
	atomic_init(&s->remaining, cli_number(args, CLI_LIMIT, 0));
	status = open_source(s, &s->meter, &s->source, &s->schema, err);
	if (status == PST_OK && wants_plan(s))
		status = pst_source_plan(s->source, 0, &s->splits, &s->nsplits, err);
	if (status != PST_OK)
	{
		db_blame(s->db, err);
		return status;
	}
	if (s->splits == NULL)
		s->jobs = 1;
	else if ((size_t) s->jobs > s->nsplits)
		s->jobs = (int) s->nsplits;
	status = pst_source_estimate(s->source, &s->rows_total, &bytes, err);
	if (s->limited && (s->rows_total < 0 || s->rows_total > atomic_load(&s->remaining)))
		s->rows_total = atomic_load(&s->remaining);
	return status;
}

void
scan_close(scan *s)
{
	pst_free(s->splits);
	scan_release_schema(&s->schema);
	pst_source_close(s->source);
	pairs_free(&s->options);
	pthread_cond_destroy(&s->decision);
	pthread_mutex_destroy(&s->lock);
}

/* Keeps the first failure and stops everybody. */
static void
fail(scan *s, pst_status status, const pst_error *err)
{
	pthread_mutex_lock(&s->lock);
	if (s->status == PST_OK)
	{
		s->status = status;
		s->first = *err;
	}
	pthread_mutex_unlock(&s->lock);
	signals_stop(0);
}

/* ---- the workers' schemas are one ---- */

static bool
same_text(const char *a, const char *b)
{
	return (a == NULL || b == NULL) ? a == b : strcmp(a, b) == 0;
}

/* The bytes of a metadata text: a count of pairs, then lengths and bytes, in host order. */
static size_t
metadata_size(const char *metadata)
{
	const char *at = metadata;
	int32_t pairs;
	int32_t len;

	if (at == NULL)
		return 0;
	memcpy(&pairs, at, sizeof(pairs));
	at += sizeof(pairs);
	for (int32_t i = 0; i < 2 * pairs; i++)
	{
		memcpy(&len, at, sizeof(len));
		at += sizeof(len) + (size_t) len;
	}
	return (size_t) (at - metadata);
}

static bool
same_schema(const struct ArrowSchema *a, const struct ArrowSchema *b)
{
	size_t nbytes = metadata_size(a->metadata);

	if (!same_text(a->format, b->format) || !same_text(a->name, b->name) || a->flags != b->flags ||
		a->n_children != b->n_children || nbytes != metadata_size(b->metadata))
		return false;
	if (nbytes > 0 && memcmp(a->metadata, b->metadata, nbytes) != 0)
		return false;
	for (int64_t i = 0; i < a->n_children; i++)
	{
		if (!same_schema(a->children[i], b->children[i]))
			return false;
	}
	return true;
}

/* ---- a worker ---- */

/* Cuts a batch to its first n rows: its columns too, since a struct's may be no longer than it. */
static void
cut_batch(struct ArrowArray *batch, int64_t n)
{
	batch->length = n;
	for (int64_t i = 0; i < batch->n_children; i++)
	{
		struct ArrowArray *column = batch->children[i];

		if (column->length > n)
		{
			column->length = n;
			if (column->null_count > 0)
				column->null_count = -1;
		}
	}
}

/* How many of nrows may still pass under the limit. */
static int64_t
claim(scan *s, int64_t nrows)
{
	long long left = atomic_fetch_sub(&s->remaining, nrows);

	if (left <= 0)
		return 0;
	return left < nrows ? left : nrows;
}

/* PST_END when the limit is reached. */
static pst_status
pass_on(scan_worker *w, struct ArrowArray *batch, pst_error *err)
{
	scan *s = w->scan;
	int64_t nrows = batch->length;
	pst_status status;

	if (s->limited)
	{
		nrows = claim(s, nrows);
		if (nrows == 0)
			return PST_END;
		if (nrows < batch->length)
			cut_batch(batch, nrows);
	}
	if (throttle(nrows))
		return scan_fail(err, PST_ERR_CANCELED, "stopped");
	status = s->ops->batch(w, batch, err);
	if (status == PST_OK)
		progress_add(nrows, 0);
	return status;
}

/* The error that a stream ended with. */
static pst_status
stream_error(scan_worker *w, struct ArrowArrayStream *stream, pst_error *err)
{
	const char *text = stream->get_last_error(stream);
	pst_status status = pst_source_error(w->source, err);

	if (status == PST_OK)
		status = scan_fail(err, PST_ERR_STATE, "%s", text != NULL ? text : "the stream has failed");
	db_blame(w->scan->db, err);
	return status;
}

/* ---- which worker reads what ---- */

/* A worker that reads, or ends, gives nothing back any more. */
static void
decide(scan_worker *w)
{
	scan *s = w->scan;

	pthread_mutex_lock(&s->lock);
	if (!w->decided && w->index > 0)
	{
		s->undecided--;
		pthread_cond_signal(&s->decision);
	}
	w->decided = true;
	pthread_mutex_unlock(&s->lock);
}

/* Whether the worker stays without a lock that the planning source holds. */
static bool
locked_out(const scan_worker *w, pst_status status, const pst_error *err)
{
	return w->index > 0 && !w->decided && status == PST_ERR_CONFLICT &&
		   strcmp(err->sqlstate, "55P03") == 0;
}

static void
give_back(scan *s, size_t split)
{
	pthread_mutex_lock(&s->lock);
	s->returned[s->nreturned++] = split;
	pthread_mutex_unlock(&s->lock);
}

/* The next split of the queue; for the first worker then those that others have given back. */
static bool
take_split(scan_worker *w, size_t *split)
{
	scan *s = w->scan;
	bool taken;

	*split = atomic_fetch_add(&s->next_split, 1);
	if (*split < s->nsplits)
		return true;
	if (w->index > 0)
		return false;
	pthread_mutex_lock(&s->lock);
	while (s->undecided > 0 && s->nreturned == 0)
		pthread_cond_wait(&s->decision, &s->lock);
	taken = s->nreturned > 0;
	if (taken)
		*split = s->returned[--s->nreturned];
	pthread_mutex_unlock(&s->lock);
	return taken;
}

/* ---- reading ---- */

/* The command moves the rows itself; the source tells how many. */
static pst_status
hand_over(scan_worker *w, const char *split, pst_error *err)
{
	cli_meter *meter = w->index == 0 ? &w->scan->meter : &w->meter;
	pst_status status;

	meter->counts_rows = true;
	status = w->scan->ops->split(w, split, err);
	if (status == PST_OK || meter->told)
		decide(w);
	if (status == PST_OK)
		progress_split_done();
	return status;
}

static pst_status
read_split(scan_worker *w, const char *split, pst_error *err)
{
	struct ArrowArrayStream stream = {0};
	pst_status status;

	if (w->scan->ops->split != NULL)
		return hand_over(w, split, err);
	status = pst_source_read(w->source, split, &stream, err);

	if (status == PST_OK)
		decide(w);
	else
		db_blame(w->scan->db, err);
	while (status == PST_OK)
	{
		struct ArrowArray batch = {0};

		if (stream.get_next(&stream, &batch) != 0)
			status = stream_error(w, &stream, err);
		else if (batch.release == NULL)
			break;
		else
			status = pass_on(w, &batch, err);
		release_array(&batch);
	}
	if (stream.release != NULL)
		stream.release(&stream);
	if (status == PST_OK)
		progress_split_done();
	return status;
}

static bool
limit_reached(scan *s)
{
	return s->limited && atomic_load(&s->remaining) <= 0;
}

static pst_status
read_splits(scan_worker *w, pst_error *err)
{
	scan *s = w->scan;
	pst_status status = PST_OK;

	if (s->splits == NULL)
		return limit_reached(s) ? PST_OK : read_split(w, NULL, err);
	while (status == PST_OK && !limit_reached(s))
	{
		size_t i;

		if (!take_split(w, &i))
			break;
		status = read_split(w, s->splits[i], err);
		if (locked_out(w, status, err))
		{
			give_back(s, i);
			return PST_OK;
		}
	}
	return status;
}

static pst_status
prepare_worker(scan_worker *w, pst_error *err)
{
	scan *s = w->scan;
	pst_status status;

	if (w->index == 0)
	{
		w->source = s->source;
		status = pst_source_schema(w->source, &w->schema, err);
	}
	else
		status = open_source(s, &w->meter, &w->source, &w->schema, err);
	if (status == PST_OK && !same_schema(&s->schema, &w->schema))
		return scan_fail(err, PST_ERR_STATE,
						 "worker %d sees other columns than the plan: the table was altered",
						 w->index);
	return status;
}

static void *
work(void *arg)
{
	scan_worker *w = arg;
	scan *s = w->scan;
	pst_error err = PST_ERROR_INIT;
	pst_error at_end = PST_ERROR_INIT;
	pst_status status = prepare_worker(w, &err);
	pst_status end;

	if (status == PST_OK)
		status = s->ops->begin(w, &err);
	if (status == PST_OK)
		status = read_splits(w, &err);
	if (status < 0)
		fail(s, status, &err);
	decide(w);
	end = s->ops->end(w, status >= 0, &at_end);
	if (status >= 0 && end < 0)
		fail(s, end, &at_end);
	scan_release_schema(&w->schema);
	if (w->index > 0)
		pst_source_close(w->source);
	return NULL;
}

pst_status
scan_run(scan *s, const scan_ops *ops, void *ctx, pst_error *err)
{
	scan_worker *workers = cli_alloc((size_t) s->jobs * sizeof(*workers));

	s->ops = ops;
	s->ctx = ctx;
	s->returned = cli_alloc((size_t) s->jobs * sizeof(*s->returned));
	for (int i = 0; i < s->jobs; i++)
	{
		workers[i].scan = s;
		workers[i].index = i;
		if (i == 0)
			continue;
		pthread_mutex_lock(&s->lock);
		workers[i].thread_there = pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
		s->undecided += workers[i].thread_there;
		pthread_mutex_unlock(&s->lock);
		if (!workers[i].thread_there)
		{
			/* Fewer workers read the same splits; only the speed is another. */
			break;
		}
	}
	work(&workers[0]);
	for (int i = 1; i < s->jobs; i++)
	{
		if (workers[i].thread_there)
			pthread_join(workers[i].thread, NULL);
	}
	free(workers);
	free(s->returned);
	s->returned = NULL;
	if (s->status != PST_OK)
		*err = s->first;
	return s->status;
}
