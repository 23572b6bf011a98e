/* session.h - one run of a command: its databases, canceller and progress. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "db.h"

typedef struct cli_session
{
	const cli_args *args;
	pst_canceller *canceller;
	cli_db db[2]; /* source and target, where there are two */
	size_t ndbs;
} cli_session;

/*
 * Begins with one database or two (target NULL: one). -1: go on; else an exit code, after a
 * message. session_end is to be called in either case.
 */
int session_begin(cli_session *session, const cli_args *args, const char *source,
				  const char *target);
void session_end(cli_session *session, bool success);

/* A catalog of one of the databases. meter is for the hooks and lives as long as the catalog. */
pst_status session_catalog(cli_db *db, cli_meter *meter, pst_catalog **out, pst_error *err);

/*
 * Runs `answer` with a catalog of the command's first operand: the whole life of a command that
 * asks one thing. ask gives a JSON or other text (moved); print puts it on standard output and
 * returns the exit code.
 */
typedef pst_status (*session_ask)(pst_catalog *catalog, const cli_args *args, char **text,
								  pst_error *err);
typedef int (*session_print)(const cli_args *args, pst_catalog *catalog, const char *text);
int session_answer(const cli_args *args, session_ask ask, session_print print);

#endif /* CLI_SESSION_H */
