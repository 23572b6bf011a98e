/*
 * fake_libpq.h - a libpq that plays a script, so that each of libpq's failures has a unit test.
 *
 * A script is a table of calls in the order in which the library must make them, with the arguments
 * to compare and what each gives back. A call that differs, comes out of order or is not in the
 * script fails the test with both spelled out (unless an allocation was refused before: then a
 * statement that differs finds the connection lost); fake_pq_end fails it when calls are left over, or
 * when a result or connection was not freed.
 *
 *	static const fake_pq_step script[] = {
 *		FAKE_CONNECT("*host=db.example"),
 *		FAKE_QUERY("SELECT 1"),
 *		FAKE_ROWS("a:23|b:25\n1|x\n2|\\N"),
 *		FAKE_NO_RESULT,
 *		FAKE_FAIL("PQsendQuery", "COMMIT", "server closed the connection unexpectedly"),
 *	};
 *	fake_pq_begin(script, FAKE_LENGTH(script));
 *	… call the library …
 *	fake_pq_end();
 *
 * Scripted (strict) are the calls that matter: PQconnectStartParams, PQconnectdbParams, PQexec…,
 * PQsend…, PQgetResult, PQputCopyData, PQputCopyEnd, PQgetCopyData, PQgetlineAsync, PQpipelineSync, PQgetCancel,
 * PQcancel. Those that only ask or wait (PQisBusy, PQflush, PQconsumeInput, PQconnectPoll, PQsocket,
 * PQstatus, PQsetnonblocking, PQenterPipelineMode, …) answer as a healthy connection would, unless
 * the script's next step names them. PQconninfoParse and PQconninfoFree are libpq's own.
 */
#ifndef TEST_FAKE_LIBPQ_H
#define TEST_FAKE_LIBPQ_H

#include <stdbool.h>
#include <stddef.h>

#include <libpq-fe.h>

typedef struct fake_pq_step
{
	const char *call; /* the function's name */
	/*
	 * What to compare, NULL: nothing. The SQL or statement name; for a connect the options as
	 * `host=x port=y`, in the order given, without those that are NULL; for PQputCopyData the
	 * bytes, for PQputCopyEnd the error text. A leading '*' means: contains the rest.
	 */
	const char *text;
	size_t text_len; /* for bytes with zeros in PQputCopyData; 0: strlen */
	/* Parameters `a|\\N|\\xDEADBEEF` (text, NULL, binary as hex); NULL: not compared. */
	const char *params;

	/* What it gives back. */
	const char *fails; /* not NULL: the call fails with this as PQerrorMessage */
	bool lost;		   /* with fails: the connection is then CONNECTION_BAD */
	int value;		   /* with has_value: the int that is returned */
	bool has_value;
	ExecStatusType status; /* of a PGresult; PQgetResult without status gives NULL */
	bool result;		   /* a PGresult is given */
	const char *rows;	   /* its columns and rows, FAKE_ROWS */
	const char *sqlstate;  /* of an error result */
	const char *message;   /* its message_primary */
	const char *detail;	   /* PG_DIAG_MESSAGE_DETAIL, or NULL; the same below */
	const char *hint;
	const char *schema;
	const char *table;
	const char *column;
	const char *constraint;
	const char *context;
	const char *tag;  /* PQcmdStatus and, its last number, PQcmdTuples */
	const char *data; /* of PQgetCopyData */
	size_t data_len;

	/* What happens around it. */
	int busy;			/* PQisBusy says 1 this often before this step */
	bool stalled;		/* nothing can be read from the socket until this step is taken */
	const char *notice; /* a notice comes in with it */
	int trans;			/* PQtransactionStatus from here on: a PQTRANS_* + 1; 0: as before */
} fake_pq_step;

#define FAKE_LENGTH(script) (sizeof(script) / sizeof((script)[0]))

#define FAKE_CONNECT(options)                                                                      \
	{                                                                                              \
		.call = "PQconnectStartParams", .text = (options)                                          \
	}
#define FAKE_QUERY(sql)                                                                            \
	{                                                                                              \
		.call = "PQsendQuery", .text = (sql)                                                       \
	}
#define FAKE_QUERY_PARAMS(sql, values)                                                             \
	{                                                                                              \
		.call = "PQsendQueryParams", .text = (sql), .params = (values)                             \
	}
/* A PQgetResult with rows: first line `name:oid|…` (oid 25 when left out), then `v|\N|…`. */
#define FAKE_ROWS(lines)                                                                           \
	{                                                                                              \
		.call = "PQgetResult", .result = true, .status = PGRES_TUPLES_OK, .rows = (lines)          \
	}
#define FAKE_COMMAND(command_tag)                                                                  \
	{                                                                                              \
		.call = "PQgetResult", .result = true, .status = PGRES_COMMAND_OK, .tag = (command_tag)    \
	}
#define FAKE_RESULT(result_status)                                                                 \
	{                                                                                              \
		.call = "PQgetResult", .result = true, .status = (result_status)                           \
	}
#define FAKE_ERROR(state, text)                                                                    \
	{                                                                                              \
		.call = "PQgetResult", .result = true, .status = PGRES_FATAL_ERROR, .sqlstate = (state),   \
		.message = (text)                                                                          \
	}
#define FAKE_NO_RESULT                                                                             \
	{                                                                                              \
		.call = "PQgetResult"                                                                      \
	}
#define FAKE_COPY_PUT(bytes)                                                                       \
	{                                                                                              \
		.call = "PQputCopyData", .text = (bytes), .text_len = sizeof(bytes) - 1                    \
	}
#define FAKE_COPY_GET(bytes)                                                                       \
	{                                                                                              \
		.call = "PQgetCopyData", .data = (bytes), .data_len = sizeof(bytes) - 1                    \
	}
#define FAKE_COPY_LATER                                                                            \
	{                                                                                              \
		.call = "PQgetCopyData", .value = 0, .has_value = true                                     \
	}
#define FAKE_COPY_DONE                                                                             \
	{                                                                                              \
		.call = "PQgetCopyData", .value = -1, .has_value = true                                    \
	}
/* Data of a COPY through PQgetlineAsync: bytes, none yet, or the end. */
#define FAKE_LINE(bytes)                                                                           \
	{                                                                                              \
		.call = "PQgetlineAsync", .data = (bytes), .data_len = sizeof(bytes) - 1                   \
	}
#define FAKE_LINE_LATER                                                                            \
	{                                                                                              \
		.call = "PQgetlineAsync", .value = 0, .has_value = true                                    \
	}
#define FAKE_LINE_DONE                                                                             \
	{                                                                                              \
		.call = "PQgetlineAsync", .value = -1, .has_value = true                                   \
	}
/* The call fails and the connection is gone. */
#define FAKE_FAIL(function, argument, error)                                                       \
	{                                                                                              \
		.call = (function), .text = (argument), .fails = (error), .lost = true                     \
	}

/* The script is borrowed until fake_pq_end. */
void fake_pq_begin(const fake_pq_step *script, size_t nsteps);
void fake_pq_end(void);

/* Forgets the script without looking at what is left: for runs that are meant to fail early. */
void fake_pq_abandon(void);

/* How many steps were taken. */
size_t fake_pq_taken(void);

/* What the server says it is, from the next connect on; fake_pq_begin sets 150000. */
void fake_pq_server_version(int version);
/* value NULL: not reported. fake_pq_begin sets the usual ones. Both texts are borrowed. */
void fake_pq_parameter(const char *name, const char *value);

/* A result as PQgetResult would give for this step: for tests of functions that take one. */
PGresult *fake_pq_result(const fake_pq_step *step);

#endif /* TEST_FAKE_LIBPQ_H */
