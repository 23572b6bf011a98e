/*
 * db.h - the databases that a command talks to: options for the library's handles, hooks, and the
 * numbers of their server processes.
 */
#ifndef CLI_DB_H
#define CLI_DB_H

#include <pthread.h>

#include "args.h"
#include "penstock.h"

/* Options as the library takes them: two arrays, always NULL-terminated. Texts are copies. */
typedef struct cli_pairs
{
	char **keys;
	char **values;
	size_t n;
} cli_pairs;

void pairs_add(cli_pairs *pairs, const char *key, const char *value);
void pairs_copy(cli_pairs *to, const cli_pairs *from);
const char *pairs_get(const cli_pairs *pairs, const char *key); /* the last one, or NULL */
void pairs_free(cli_pairs *pairs);

typedef struct cli_db
{
	cli_pairs options;		  /* of every handle on this database */
	const char *role;		  /* "source", "target" where a command has two, else NULL; static */
	pst_canceller *canceller; /* borrowed */
	const char *application;  /* the command's name; borrowed */
	pthread_mutex_t lock;
	bool own_bytes; /* the command counts the bytes of its own file or stream */
	int *pids;		/* server processes of the connections made so far; under lock */
	size_t npids;
} cli_db;

/* url is the command line's DB; the rest of the options come from args. Both are borrowed. */
void db_init(cli_db *db, const char *url, const char *role, const cli_args *args,
			 pst_canceller *canceller);
void db_free(cli_db *db);

/*
 * Says in an error which of two databases it is about; a command with one needs no such word. Safe
 * to call with an error that has it already.
 */
void db_blame(const cli_db *db, pst_error *err);

/* What the catalog knows a table by: with schema-name among the options both are taken letter by
 * letter. Moved to the caller. */
char *db_table(const cli_db *db, const char *table);

/* What a handle reports to: one for each, alive as long as the handle. */
typedef struct cli_meter
{
	cli_db *db;
	int64_t bytes;	  /* last told; the calls of one handle come from one thread */
	int64_t rows;	  /* the same */
	bool told;		  /* at least once: the read has begun */
	bool counts_rows; /* rows that are told are progress: nobody else counts them */
} cli_meter;

/* Hooks of one handle: log lines, bytes, server processes, the canceller. */
pst_hooks db_hooks(cli_db *db, cli_meter *meter);

/* A copy of the pids, moved to the caller (free); *npids says how many. */
int *db_pids(cli_db *db, size_t *npids);

/*
 * Overwrites the passwords in the process's argument list, which everyone can read, and remembers
 * them for report.c. To be called first, with argv as main got it, after copying it.
 */
void db_scrub(int argc, char **argv);

#endif /* CLI_DB_H */
