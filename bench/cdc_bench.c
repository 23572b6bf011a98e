/*
 * cdc_bench.c - change capture of ours, on the public header alone, into Arrow batches.
 *
 *   cdc_bench drain CONNINFO OPTION=VALUE...        until the capture ends: scan.stop.at, or a snapshot
 *   cdc_bench latency CONNINFO ROWS OPTION=VALUE... until so many rows have come
 *
 * Prints one JSON object: seconds, rows (of which inserted, and the sum of their first column, a bigint),
 * batches, cpu (seconds of this process), maxrss_kb; latency adds the milliseconds from the commit's time
 * stamp, which the server takes just before it writes the commit, to the return of pst_cdc_next: p50,
 * p99, max, over the rows but for the first tenth.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rows.h"

#define MAX_OPTIONS 30

typedef struct run
{
	const char *keys[MAX_OPTIONS + 2];
	const char *values[MAX_OPTIONS + 2];
	long long rows;
	long long inserted;
	long long sum;
	long long batches;
	long long wanted; /* rows after which latency ends; 0: drain */
	int64_t *latency; /* microseconds, of each of the wanted rows; NULL: drain */
} run;

static void
fail(const char *what, const pst_error *err)
{
	bench_die("%s: %s %s %s", what, err->message, err->detail, err->hint);
}

/* Whatever wants to be stored counts as stored: the bench never begins again. */
static void
acknowledge(pst_cdc *cdc)
{
	pst_error err = PST_ERROR_INIT;
	char *position;

	if (pst_cdc_position(cdc, &position, &err) != PST_OK)
		fail("position", &err);
	if (pst_cdc_ack(cdc, position, &err) != PST_OK)
		fail("ack", &err);
	pst_free(position);
}

static void
note_latency(run *r, const pst_change_batch *rows)
{
	struct timespec now;
	int64_t micros;

	clock_gettime(CLOCK_REALTIME, &now);
	micros = (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
	for (int64_t i = 0; i < rows->array.length && r->rows + i < r->wanted; i++)
		r->latency[r->rows + i] = micros - rows->op_ts[i];
}

static void
take_rows(run *r, const pst_change_batch *rows)
{
	const int64_t *ids =
		(const int64_t *) rows->array.children[0]->buffers[1] + rows->array.children[0]->offset;

	if (r->latency != NULL)
		note_latency(r, rows);
	for (int64_t i = 0; i < rows->array.length; i++)
	{
		if (rows->row_kind != NULL && rows->row_kind[i] != PST_ROW_INSERT)
			continue;
		r->inserted++;
		r->sum += ids[i];
	}
	r->rows += rows->array.length;
	r->batches++;
}

static void
follow(run *r)
{
	pst_error err = PST_ERROR_INIT;
	pst_event event = PST_EVENT_INIT;
	pst_cdc *cdc = NULL;
	pst_status status = PST_OK;

	if (pst_cdc_open(r->keys, r->values, NULL, NULL, &cdc, &err) != PST_OK)
		fail("open", &err);
	while (r->wanted == 0 || r->rows < r->wanted)
	{
		if ((status = pst_cdc_next(cdc, -1, &event, &err)) != PST_OK)
			break;
		if (event.kind == PST_EVENT_ROWS)
			take_rows(r, &event.rows);
		if (event.store)
			acknowledge(cdc);
		pst_event_release(&event);
	}
	if (status < 0)
		fail("next", &err);
	if (pst_cdc_close(cdc, false, &err) != PST_OK)
		fail("close", &err);
}

static int
by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a;
	int64_t y = *(const int64_t *) b;

	return x < y ? -1 : x > y;
}

/* The latencies but for the first tenth, in order: what the server had to load for the first time. */
static void
print_latency(run *r)
{
	int64_t *from = r->latency + r->wanted / 10;
	long long n = r->wanted - r->wanted / 10;

	qsort(from, (size_t) n, sizeof(int64_t), by_value);
	printf("\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f, ", (double) from[n / 2] / 1000,
		   (double) from[n * 99 / 100] / 1000, (double) from[n - 1] / 1000);
}

int
main(int argc, char **argv)
{
	run r = {.keys = {"url"}};
	double start = bench_now();
	bool latency = argc > 1 && strcmp(argv[1], "latency") == 0;
	int first = latency ? 4 : 3;

	if (argc < first || argc - first > MAX_OPTIONS || (!latency && strcmp(argv[1], "drain") != 0))
		bench_die("usage: cdc_bench drain CONNINFO OPTION=VALUE..., "
				  "or cdc_bench latency CONNINFO ROWS OPTION=VALUE...");
	r.values[0] = argv[2];
	for (int i = first; i < argc; i++)
	{
		char *equals = strchr(argv[i], '=');

		if (equals == NULL)
			bench_die("%s is not OPTION=VALUE", argv[i]);
		*equals = '\0';
		r.keys[i - first + 1] = argv[i];
		r.values[i - first + 1] = equals + 1;
	}
	if (latency)
	{
		r.wanted = atoll(argv[3]);
		r.latency = r.wanted > 0 ? calloc((size_t) r.wanted, sizeof(int64_t)) : NULL;
		if (r.latency == NULL)
			bench_die("%s rows cannot be waited for", argv[3]);
	}
	follow(&r);
	printf("{");
	if (latency)
		print_latency(&r);
	printf(
		"\"seconds\": %.6f, \"rows\": %lld, \"inserted\": %lld, \"sum\": %lld, \"batches\": %lld, "
		"\"cpu\": %.3f, \"maxrss_kb\": %ld}\n",
		bench_now() - start, r.rows, r.inserted, r.sum, r.batches, bench_cpu(), bench_maxrss_kb());
	free(r.latency);
	return 0;
}
