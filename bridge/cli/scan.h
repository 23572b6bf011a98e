/*
 * scan.h - reading a table or query with several workers: what read and copy have in common.
 *
 * The planning source stays open while the workers take splits from a queue; the first worker
 * reads with the planning source itself, each other one with a source of its own in its thread.
 *
 * A session that waits to alter the table keeps the other workers from the locks that the planning
 * source holds. Such a worker gives its split back and ends; the first worker reads what is left.
 */
#ifndef CLI_SCAN_H
#define CLI_SCAN_H

#include <pthread.h>
#include <stdatomic.h>

#include "session.h"

struct scan;

typedef struct scan_worker
{
	struct scan *scan;
	int index;
	pst_source *source; /* the planning one for worker 0 */
	struct ArrowSchema schema;
	cli_meter meter;
	void *data; /* the command's own */
	pthread_t thread;
	bool thread_there;
	bool decided; /* has begun to read, or will not; guarded by the scan's lock */
} scan_worker;

/* What a command does with the rows; all are called in the worker's thread. */
typedef struct scan_ops
{
	/* The worker is ready to read; its schema is known. */
	pst_status (*begin)(scan_worker *worker, pst_error *err);
	/*
	 * All of a split (NULL: everything), for a command that need not see the rows. NULL: batch
	 * takes them.
	 */
	pst_status (*split)(scan_worker *worker, const char *split, pst_error *err);
	/* A batch, borrowed. */
	pst_status (*batch)(scan_worker *worker, struct ArrowArray *batch, pst_error *err);
	/* After the last one, or after a failure (ok false). Called also when begin has failed. */
	pst_status (*end)(scan_worker *worker, bool ok, pst_error *err);
} scan_ops;

typedef struct scan
{
	cli_db *db;		   /* borrowed */
	cli_pairs options; /* of the sources; owned */
	const scan_ops *ops;
	void *ctx; /* for ops */
	pst_source *source;
	cli_meter meter;
	struct ArrowSchema schema;
	char **splits; /* NULL: one run over all rows */
	size_t nsplits;
	atomic_size_t next_split;
	int jobs;
	int64_t rows_total; /* estimate, -1: none */
	bool limited;
	atomic_llong remaining; /* rows that may still pass, when limited */
	pthread_mutex_t lock;	/* guards the first failure and what is given back */
	pthread_cond_t decision;
	int undecided;	  /* workers but the first that may still give a split back */
	size_t *returned; /* splits given back; one a worker */
	size_t nreturned;
	pst_status status;
	pst_error first;
} scan;

/* How many workers the arguments ask for. */
int scan_jobs(const cli_args *args);

/* Plans. options are copied. scan_close is to be called in either case. */
pst_status scan_open(scan *s, cli_db *db, const cli_pairs *options, const cli_args *args,
					 pst_error *err);

/* Reads everything. err is the first failure of any worker; the others are cancelled by it. */
pst_status scan_run(scan *s, const scan_ops *ops, void *ctx, pst_error *err);

void scan_close(scan *s);

/* PST_ERR_CANCELED and the like, filled by the command itself. Returns status. */
pst_status scan_fail(pst_error *err, pst_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

void scan_release_schema(struct ArrowSchema *schema);

#endif /* CLI_SCAN_H */
