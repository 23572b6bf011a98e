/*
 * play.h - what the unit tests of source and sink share: a session, one table, their options.
 *
 * The pieces are steps of a script for fake_libpq.h, the texts rows of the answer about a relation.
 */
#ifndef TEST_PLAY_H
#define TEST_PLAY_H

#include "fake_libpq.h"

#include <assert.h>

/* --- steps --------------------------------------------------------------------------------------- */

#define CALL(function)                                                                             \
	{                                                                                              \
		.call = (function)                                                                         \
	}
#define DONE FAKE_COMMAND("DONE"), FAKE_NO_RESULT
#define ASKED(sql, answer) FAKE_QUERY_PARAMS(sql, NULL), answer, FAKE_NO_RESULT
#define TOLD(sql, answer) FAKE_QUERY(sql), answer, FAKE_NO_RESULT
#define RAN(sql) FAKE_QUERY(sql), DONE
#define LOST                                                                                       \
	{                                                                                              \
		.call = "PQgetResult", .result = true, .status = PGRES_FATAL_ERROR,                        \
		.fails = "server closed the connection unexpectedly\n", .lost = true                       \
	}

/* A session on a primary ("f") or a standby ("t"), without the extension or with it. */
#define SESSION_OF(in_recovery) SESSION_WITH(in_recovery, "\\N|\\N")
#define SESSION_ASSISTED(in_recovery) SESSION_WITH(in_recovery, "0.1|usable")
#define SESSION_WITH(in_recovery, extension)                                                       \
	FAKE_CONNECT("*client_encoding=UTF8"),                                                         \
		TOLD("*pg_postmaster_start_time",                                                          \
			 FAKE_ROWS("db:19|role:19|recovery:16|super:16|temp:16|enc:19|start:25|ext:25|scan:"   \
					   "16|id:20\n"                                                                \
					   "shop|joe|" in_recovery "|f|t|UTF8|2026-01-01|" extension "|7"))

/* --- the table t: an answer is COLUMNS40, then for each column TABLE, the column, its type ------- */

#define COLUMNS4 "c|c|c|c|"
#define COLUMNS12 COLUMNS4 COLUMNS4 COLUMNS4
#define COLUMNS40 COLUMNS12 COLUMNS12 COLUMNS12 "c|c|c|c"
#define TABLE "16400|public|t|public.t|r|p|t|f|f|f|f|f|"
#define ID "id|1|t|t|f|f||0|t|1|t|t|t|" INT8 /* bigint PRIMARY KEY */
#define V "v|2|f|f|f|f||100|t|0|t|t|t|" TEXT
#define INT8 "20|-1|20|-1|b|N|t|bigint|pg_catalog.int8|pg_catalog.int8out|t|0|0|-1|\\N"
#define TEXT "25|-1|25|-1|b|S|t|text|pg_catalog.text|pg_catalog.textout|t|0|0|-1|\\N"

/* --- options --------------------------------------------------------------------------------------- */

#define MAX_OPTIONS 8

/* Options for an open call: room for MAX_OPTIONS - 1 of them. */
typedef struct play_options
{
	const char *keys[MAX_OPTIONS];
	const char *values[MAX_OPTIONS];
} play_options;

static inline void
add_option(play_options *options, const char *key, const char *value)
{
	int n = 0;

	while (options->keys[n] != NULL)
		n++;
	assert(n < MAX_OPTIONS - 1);
	options->keys[n] = key;
	options->values[n] = value;
}

#endif /* TEST_PLAY_H */
