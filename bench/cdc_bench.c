/*
 * cdc_bench.c - drains a slot by libpenstock, without acknowledging anything, and says how long it took:
 *
 *   cdc_bench CONNINFO OPTION=VALUE...
 *
 * Prints rows, batches, seconds, the seconds of CPU of this process, and its largest size in MB.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "penstock.h"

#define MAX_OPTIONS 30

static double
now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double) at.tv_sec + (double) at.tv_nsec / 1e9;
}

static double
seconds(struct timeval at)
{
	return (double) at.tv_sec + (double) at.tv_usec / 1e6;
}

static int
fail(const pst_error *err)
{
	fprintf(stderr, "cdc_bench: %s %s %s\n", err->message, err->detail, err->hint);
	return 1;
}

int
main(int argc, char **argv)
{
	const char *keys[MAX_OPTIONS + 2] = {"url"};
	const char *values[MAX_OPTIONS + 2] = {argc > 1 ? argv[1] : ""};
	pst_error err = PST_ERROR_INIT;
	pst_cdc *cdc = NULL;
	pst_event event = PST_EVENT_INIT;
	struct rusage usage;
	int64_t rows = 0;
	int64_t batches = 0;
	double began;
	pst_status status;

	for (int i = 2; i < argc && i < MAX_OPTIONS; i++)
	{
		char *equals = strchr(argv[i], '=');

		if (equals == NULL)
			return 2;
		*equals = '\0';
		keys[i - 1] = argv[i];
		values[i - 1] = equals + 1;
	}
	began = now();
	if (pst_cdc_open(keys, values, NULL, NULL, &cdc, &err) != PST_OK)
		return fail(&err);
	while ((status = pst_cdc_next(cdc, -1, &event, &err)) == PST_OK)
	{
		if (event.kind == PST_EVENT_ROWS)
		{
			rows += event.rows.array.length;
			batches++;
		}
		pst_event_release(&event);
	}
	if (status < 0)
		return fail(&err);
	getrusage(RUSAGE_SELF, &usage);
	printf("%" PRId64 " rows %" PRId64 " batches %.3f s %.3f cpu %ld MB\n", rows, batches,
		   now() - began, seconds(usage.ru_utime) + seconds(usage.ru_stime),
		   usage.ru_maxrss / 1024);
	pst_cdc_close(cdc, false, NULL);
	return 0;
}
