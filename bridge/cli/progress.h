/*
 * progress.h - how far the command has come, and who holds it up.
 *
 * A thread of the command draws a live line on a terminal, or prints a line every few seconds, and
 * asks who blocks when nothing has moved for ten seconds. Counting may be done from any thread.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

struct cli_db;

/* What the first line says. */
typedef struct progress_plan
{
	const char *verb;	   /* "reading", "writing", "copying" */
	const char *done_verb; /* "read", "wrote", "copied" */
	const char *what;	   /* the table, or where from */
	const char *target;	   /* where to, NULL when there is but one table */
	const char *transport; /* "plain" or "assisted" */
	const char *mode;	   /* of the sink, NULL when there is none */
	int jobs;
	int64_t rows_total;	 /* an estimate, -1: not known */
	int64_t bytes_total; /* exact, -1: not known */
	int splits_total;	 /* 0: one run */
} progress_plan;

/* Starts the thread. dbs are borrowed until progress_finish. */
void progress_start(struct cli_db *dbs, size_t ndbs);

/* Says the plan, once; from here on there are progress lines. Texts are borrowed until the end. */
void progress_announce(const progress_plan *plan);

void progress_add(int64_t rows, int64_t bytes);
void progress_skipped(int64_t rows); /* counted as rows before, but left out by on-error=skip */
void progress_split_done(void);

/*
 * Around waits that are not the server's: for input, for whoever reads the output, for --max-rate.
 * Nobody is asked who blocks meanwhile.
 */
void progress_pause(void);
void progress_resume(void);

/* Ends the thread and takes the live line away; with a plan and success says the totals, once. */
void progress_finish(bool success);

/* Delays until `rows` more may pass under the limit; true when the command is to stop. */
void throttle_set(int64_t rows_per_second); /* 0: no limit */
bool throttle(int64_t rows);

#endif /* CLI_PROGRESS_H */
