/*
 * conn.h - the one place that opens connections and waits for the server.
 *
 * Nothing here blocks in libpq: the socket is non-blocking and every wait polls the socket and the
 * canceller. When the canceller is thrown the server is asked to stop, for at most five seconds,
 * then the call returns PST_ERR_CANCELED and the connection is broken.
 *
 * After a failure that breaks the connection psti_conn_usable is false and the only call left is
 * psti_conn_close. Server errors leave it usable; a transaction that was open is then aborted.
 */
#ifndef PSTI_CONN_H
#define PSTI_CONN_H

#include <libpq-fe.h>

#include "buf.h"
#include "hooks.h"
#include "options.h"

typedef struct psti_conn psti_conn;

/* What the server is and allows: found at connect in one round trip, then immutable. */
typedef struct psti_caps
{
	int server_version;			/* as PQserverVersion: 150020 */
	bool in_recovery;			/* a standby */
	bool superuser;				/* the role */
	bool temp_tables;			/* the role may create temporary tables in this database */
	char database[256];			/* the database connected to */
	char role[256];				/* current_user */
	char encoding[32];			/* server_encoding: UTF8, LATIN1, SQL_ASCII … */
	char system_identifier[32]; /* of the cluster; empty where the role may not see it */
	char postmaster_start[64];	/* pg_postmaster_start_time as text */
	char extension_version[32]; /* of penstock in this database; empty: not installed */
	bool scan;					/* it has the function scan of frames.h, and the role may call it */
	bool scan_denied;			/* it has it, and the role may not */
} psti_caps;

/*
 * SQL, a text: 'usable' when frames.h's scan is there and the role may call it, 'denied' when it may
 * not, else NULL. Only the extension's own: anyone may have a schema of its name where it is not
 * installed. A newer one's may have more arguments, if it can be called without them.
 */
#define PSTI_MAY_SCAN                                                                              \
	"(SELECT CASE WHEN pg_catalog.has_function_privilege(p.oid, 'EXECUTE') "                       \
	"AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') THEN 'usable' ELSE 'denied' END "         \
	"FROM pg_catalog.pg_extension e "                                                              \
	"JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) "                          \
	"'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid "                              \
	"AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' "        \
	"AND d.classid OPERATOR(pg_catalog.=) "                                                        \
	"'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid "                                   \
	"JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid "                           \
	"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace "               \
	"WHERE e.extname OPERATOR(pg_catalog.=) 'penstock' AND n.nspname OPERATOR(pg_catalog.=) "      \
	"'penstock' "                                                                                  \
	"AND p.proname OPERATOR(pg_catalog.=) 'scan' AND p.proretset "                                 \
	"AND p.prorettype OPERATOR(pg_catalog.=) 17::pg_catalog.oid "                                  \
	"AND pg_catalog.concat(p.proargtypes, ' ') OPERATOR(pg_catalog.~) '^25 23 25 1009 23 ' "       \
	"AND p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults OPERATOR(pg_catalog.<=) 5 "           \
	"ORDER BY 1 DESC LIMIT 1)"

/*
 * Connects by the options url, username, password …; database (NULL: theirs) overrides. The session
 * gets client_encoding UTF8 and the pinned output settings (ISO, UTC, postgres, hex, 1, C), and no
 * statement, lock or idle timeout of the role's defaults. options and hooks are borrowed until
 * close.
 */
pst_status psti_conn_open(const psti_options *options, const char *database, const pst_hooks *hooks,
						  psti_conn **out, pst_error *err);
void psti_conn_close(psti_conn *conn);

/*
 * The same as a session for replication in the options' database: it takes replication commands and, by
 * psti_conn_exec only, statements. The server does not end it because its caller is slow (from 12 on).
 */
pst_status psti_conn_open_replication(const psti_options *options, const pst_hooks *hooks,
									  psti_conn **out, pst_error *err);

const psti_caps *psti_conn_caps(const psti_conn *conn);
bool psti_conn_usable(const psti_conn *conn);

/*
 * The session's settings as SET LOCAL statements, "SET LOCAL …; …; ", borrowed until close. A
 * transaction that lives on text or on timeouts runs them after its BEGIN: behind a pooler that
 * shares server connections by transaction the session's own settings may be another client's.
 */
const char *psti_conn_pins(const psti_conn *conn);

/* The libpq handle, for result accessors that need it. Never wait on it directly. */
PGconn *psti_conn_pg(psti_conn *conn);

/*
 * Runs a text of one or more statements by the simple protocol: one round trip. The last result is
 * moved to *out (NULL: not wanted). what says what was being done, for the error's message.
 */
pst_status psti_conn_exec(psti_conn *conn, const char *what, const char *sql, PGresult **out,
						  pst_error *err);

/*
 * psti_conn_exec in two steps, for what may take long: receive waits at most timeout_ms (-1: for ever) for
 * the result, then it is PST_AGAIN. give_up asks the server to stop, for at most five seconds.
 */
pst_status psti_conn_send(psti_conn *conn, const char *what, const char *sql, pst_error *err);
pst_status psti_conn_receive(psti_conn *conn, int timeout_ms, PGresult **out, pst_error *err);
void psti_conn_give_up(psti_conn *conn);

/* Runs one statement with text parameters (NULL entries are NULL); text results. */
pst_status psti_conn_query(psti_conn *conn, const char *what, const char *sql, int nparams,
						   const char *const *params, PGresult **out, pst_error *err);

/* Prepares the unnamed statement and describes it: *out has the result columns, no rows. */
pst_status psti_conn_describe(psti_conn *conn, const char *what, const char *sql, PGresult **out,
							  pst_error *err);

/*
 * COPY … TO STDOUT. After begin, read appends raw COPY bytes to a buffer: whole CopyData messages
 * (rows), as many as have arrived, at least one; PST_END when the server has ended the copy well, and what the
 * text has behind it. What a query before it has answered is moved to *rows (NULL: not wanted), the caller's
 * also on failure.
 */
pst_status psti_conn_copy_out(psti_conn *conn, const char *what, const char *sql, PGresult **rows,
							  pst_error *err);
pst_status psti_conn_copy_read(psti_conn *conn, psti_buf *into, size_t target_bytes,
							   pst_error *err);

/* The same into the caller's memory: at most room bytes, at least one; *n is how many. */
pst_status psti_conn_copy_take(psti_conn *conn, char *at, size_t room, size_t *n, pst_error *err);

/*
 * Ends a copy early: asks the server to stop and takes what it still sends, for at most five seconds:
 * then the connection is broken and the status PST_ERR_TIMEOUT.
 */
pst_status psti_conn_copy_abandon(psti_conn *conn, pst_error *err);

/* COPY … FROM STDIN: begin, put any number of times, end (*out: the command's result). */
pst_status psti_conn_copy_in(psti_conn *conn, const char *what, const char *sql, pst_error *err);
pst_status psti_conn_copy_put(psti_conn *conn, const void *data, size_t nbytes, pst_error *err);
pst_status psti_conn_copy_end(psti_conn *conn, PGresult **out, pst_error *err);

/* Ends it so that the server keeps nothing, whatever it is waiting for; usable then, or broken. */
void psti_conn_copy_drop(psti_conn *conn, pst_error *err);

/*
 * A stream in both directions (START_REPLICATION). next gives a message of the server's, borrowed until
 * the next call on the stream; it waits for one for at most timeout_ms (-1: for ever), then it is
 * PST_AGAIN; PST_END when the server has ended the stream well. send queues a message and sends as much
 * as goes without waiting. end tells the server that nothing more is wanted, and takes what it still
 * sends, for at most five seconds.
 */
pst_status psti_conn_stream(psti_conn *conn, const char *what, const char *sql, pst_error *err);
pst_status psti_conn_stream_next(psti_conn *conn, int timeout_ms, const char **data, size_t *nbytes,
								 pst_error *err);
pst_status psti_conn_stream_send(psti_conn *conn, const void *data, size_t nbytes, pst_error *err);
pst_status psti_conn_stream_end(psti_conn *conn, pst_error *err);

/*
 * A pipeline: statements are queued by add and travel together; run sends them with one Sync and
 * reads all results. results[i] (moved, at least nsteps entries, NULL for steps after a failed one)
 * belongs to step i; *failed_step is the first step that failed, or -1. An error inside a pipeline
 * without explicit transaction rolls all of it back.
 */
typedef struct psti_step
{
	const char *what;	   /* for errors */
	const char *sql;	   /* NULL when statement is given */
	const char *statement; /* a prepared statement's name, or NULL */
	const char *prepare;   /* with sql: prepare it under this name, do not run it */
	const char *describe;  /* a prepared statement to describe, not run, or NULL */
	int nparams;
	const Oid *types;		   /* NULL: the server infers */
	const char *const *params; /* all borrowed until psti_conn_pipeline returns */
	const int *lengths;		   /* of binary parameters */
	const int *formats;		   /* 0 text, 1 binary; NULL: all text */
} psti_step;

pst_status psti_conn_pipeline(psti_conn *conn, const psti_step *steps, size_t nsteps,
							  PGresult **results, int *failed_step, pst_error *err);

/* Waits at most timeout_ms (-1: for ever) for nothing but the canceller: retry pauses. */
pst_status psti_conn_pause(const pst_hooks *hooks, int timeout_ms, pst_error *err);

/* Fills err from a failed result: status, SQLSTATE, names, detail, hint; "what: server's text". */
pst_status psti_fail_result(pst_error *err, const PGresult *result, const char *what);

#endif /* PSTI_CONN_H */
