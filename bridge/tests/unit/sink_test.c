/* sink_test.c - the sink against a scripted server: short of memory, lost, asked for too much. */
#include "test.h"

#include <unistd.h>

#include "alloc.h"
#include "play.h"
#include "rows.h"
#include "sink.h"

/* --- scripts ------------------------------------------------------------------------------------- */

/* The server tells this pid of itself; libpq's is 4711. */
#define SESSION_PID(pid)                                                                           \
	SESSION_OF("f"), AS_LOGIN("*pg_backend_pid", FAKE_ROWS("pid|start\n" pid "|2026-01-01"))
#define SESSION SESSION_PID("4711")
#define AS_LOGIN(sql, answer)                                                                      \
	SENT("BEGIN"), SENT("SET LOCAL ROLE NONE"), SENT(sql), SENT("COMMIT"), SYNC, DONE, DONE,       \
		answer, FAKE_NO_RESULT, DONE, SYNCED
/* The same where the server refuses it. */
#define AS_LOGIN_NOT(sql, name)                                                                    \
	SENT("BEGIN"), SENT("SET LOCAL ROLE NONE"), SENT(sql), SENT("COMMIT"), SYNC, DONE, DONE,       \
		FAKE_ERROR("42501", "permission denied for function " name), FAKE_NO_RESULT, ABORTED,      \
		SYNCED

/* t (id bigint PRIMARY KEY, v text) */
#define RELATION ASKED("*WITH RECURSIVE found", FAKE_ROWS(COLUMNS40 "\n" TABLE ID "\n" TABLE V))
#define WHEN                                                                                       \
	"v|2|f|f|f|f||0|t|0|t|t|t|1114|-1|1114|-1|b|D|t|timestamp without time zone|pg_catalog."       \
	"timestamp|pg_catalog.timestamp_out|t|0|0|-1|\\N"
#define TYPES                                                                                      \
	ASKED("*typarray", FAKE_ROWS("oid|array|input|n|o|d\n20|1016|\\N|1|20|,\n25|1009|\\N|1|25|,"))
#define INDEXES                                                                                    \
	ASKED("*indimmediate", FAKE_ROWS("i|n|e|f|a|o|c|d|b\n"                                         \
									 "16401|t_pkey|f||1|OPERATOR(pg_catalog.=)||t|t"))
#define PRIVILEGES ASKED("*has_table_privilege", FAKE_ROWS("d|u|r\nt|t|off"))

#define OPENED SESSION, RELATION, TYPES, INDEXES, PRIVILEGES
#define APPENDS SESSION, RELATION, TYPES, PRIVILEGES
#define PROGRESS ASKED("*to_regclass", FAKE_ROWS("there\nt"))
#define TAKEN ASKED("*RETURNING p.epoch, p.position", FAKE_ROWS("e|p|t\n-1|\\N|7"))

#define SENT(sql) FAKE_QUERY_PARAMS(sql, NULL)
#define PREPARED(sql)                                                                              \
	{                                                                                              \
		.call = "PQsendPrepare"                                                                    \
	}
#define EXECUTED                                                                                   \
	{                                                                                              \
		.call = "PQsendQueryPrepared"                                                              \
	}
#define SYNC                                                                                       \
	{                                                                                              \
		.call = "PQpipelineSync"                                                                   \
	}
#define ABORTED FAKE_RESULT(PGRES_PIPELINE_ABORTED), FAKE_NO_RESULT
#define SYNCED FAKE_RESULT(PGRES_PIPELINE_SYNC)
#define COPIES(sql) FAKE_QUERY(sql), FAKE_RESULT(PGRES_COPY_IN)
#define PUT                                                                                        \
	{                                                                                              \
		.call = "PQputCopyData"                                                                    \
	}
#define PUT_END                                                                                    \
	{                                                                                              \
		.call = "PQputCopyEnd"                                                                     \
	}

/* --- one play -------------------------------------------------------------------------------------- */

typedef struct play
{
	const fake_pq_step *script;
	size_t nsteps;
	play_options options;
	test_rows *rows;
	bool staging;
} play;

#define PLAY(steps, given)                                                                         \
	{                                                                                              \
		.script = (steps), .nsteps = FAKE_LENGTH(steps), .rows = (given), .options = {             \
			.keys = {"table-name"},                                                                \
			.values = {"t"}                                                                        \
		}                                                                                          \
	}

static pst_status
opened(const play *p, pst_sink **sink, pst_error *err)
{
	fake_pq_begin(p->script, p->nsteps);
	return pst_sink_open(p->options.keys, p->options.values, &p->rows->schema, NULL, sink, err);
}

/* Opens, writes, flushes (or prepares and commits), closes: the first failure. */
static pst_status
whole(void *ctx, pst_error *err)
{
	const play *p = ctx;
	pst_sink *sink = NULL;
	pst_error ignored = PST_ERROR_INIT;
	pst_status status = opened(p, &sink, err);

	if (status == PST_OK)
		status = pst_sink_write_changes(sink, &p->rows->batch, err);
	if (status == PST_OK && p->staging)
		status = pst_sink_prepare(sink, 5, "five", err);
	if (status == PST_OK && p->staging)
		status = pst_sink_commit(sink, 5, err);
	if (status == PST_OK)
		status = pst_sink_flush(sink, err);
	if (status == PST_OK)
		status = pst_sink_close(sink, err);
	else
		(void) pst_sink_close(sink, &ignored);
	if (status == PST_OK)
		fake_pq_end();
	fake_pq_abandon();
	return status;
}

/* --- short of memory --------------------------------------------------------------------------------- */

static void
every_failing_allocation_of_a_changelog_is_reported(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		SENT("BEGIN"),
		PREPARED("*FOR UPDATE"),
		EXECUTED,
		PREPARED("*DELETE"),
		EXECUTED,
		PREPARED("*INSERT"),
		EXECUTED,
		SENT("*WITH v AS"),
		SENT("COMMIT"),
		SYNC,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		SYNCED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);

	(void) state;
	add_option(&p.options, "sink.mode", "changelog");
	/* A row composed of two, one that lacks a column, deletes, a key change. */
	rows_make(&rows, "id:l,v:u", "1|a", "1|=", "2|=", "-D 3|~", "-U 4|d", "+U 5|e", "6|~", NULL);
	assert_true(psti_test_alloc_sweep(whole, &p) > 60);
	rows_free(&rows);
}

static void
every_failing_allocation_of_an_append_is_reported(void **state)
{
	static const fake_pq_step copied[] = {
		APPENDS, COPIES("*COPY"), PUT, PUT, PUT, PUT_END, DONE, SENT("COMMIT"), SYNC, DONE, SYNCED,
	};
	static const fake_pq_step inserted[] = {
		APPENDS,  SENT("BEGIN"),  PREPARED("*INSERT"),
		EXECUTED, SENT("COMMIT"), SYNC,
		DONE,	  DONE,			  DONE,
		DONE,	  SYNCED,
	};
	test_rows rows;
	play p = PLAY(copied, &rows);
	play q = PLAY(inserted, &rows);

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", "2|b", NULL);
	add_option(&p.options, "sink.mode", "append");
	assert_true(psti_test_alloc_sweep(whole, &p) > 40);
	add_option(&q.options, "sink.mode", "append");
	add_option(&q.options, "sink.method", "unnest");
	assert_true(psti_test_alloc_sweep(whole, &q) > 40);
	rows_free(&rows);
}

static void
every_failing_allocation_of_a_large_lot_is_reported(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		RAN("*CREATE TEMPORARY TABLE"),
		COPIES("*COPY pg_temp"),
		PUT,
		PUT,
		PUT,
		PUT_END,
		DONE,
		SENT("*INSERT"),
		SENT("COMMIT"),
		SYNC,
		DONE,
		DONE,
		SYNCED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);

	(void) state;
	rows_make(&rows, "id:l,v:u", "2|a", "1|b", NULL);
	add_option(&p.options, "sink.method", "copy");
	assert_true(psti_test_alloc_sweep(whole, &p) > 50);
	rows_free(&rows);
}

/* Two rows; the second is refused, alone too. */
#define REFUSED                                                                                    \
	SENT("BEGIN"), PREPARED("*INSERT"), EXECUTED, SENT("COMMIT"), SYNC, DONE, DONE,                \
		{.call = "PQgetResult",                                                                    \
		 .result = true,                                                                           \
		 .status = PGRES_FATAL_ERROR,                                                              \
		 .sqlstate = "23514",                                                                      \
		 .constraint = "positive",                                                                 \
		 .message = "it is negative"},                                                             \
		FAKE_NO_RESULT, ABORTED, SYNCED

static void
no_failing_allocation_of_a_replay_leaks_or_crashes(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		REFUSED,
		RAN("BEGIN"),
		SENT("SAVEPOINT penstock"),
		SENT("*INSERT"),
		SENT("*INSERT"),
		SENT("RELEASE SAVEPOINT penstock"),
		SYNC,
		DONE,
		DONE,
		FAKE_ERROR("23514", "it is negative"),
		FAKE_NO_RESULT,
		ABORTED,
		SYNCED,
		RAN("*ROLLBACK TO SAVEPOINT"),
		SENT("SAVEPOINT penstock"),
		SENT("*INSERT"),
		SENT("RELEASE SAVEPOINT penstock"),
		SYNC,
		DONE,
		DONE,
		DONE,
		SYNCED,
		SENT("COMMIT"),
		SYNC,
		DONE,
		SYNCED,
	};
	char path[] = "/tmp/penstock-unit-XXXXXX";
	test_rows rows;
	play p = PLAY(script, &rows);

	(void) state;
	close(mkstemp(path));
	rows_make(&rows, "id:l,v:u", "1|a", "2|b", NULL);
	add_option(&p.options, "on-error", "skip");
	add_option(&p.options, "on-error.file", path);
	/* A line may lack the key for want of memory, but nothing else. */
	assert_true(psti_test_alloc_sweep_any(whole, &p) > 60);
	rows_free(&rows);
	unlink(path);
}

static void
every_failing_allocation_of_two_phases_is_reported(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		PROGRESS,
		ASKED("*SELECT p.epoch, p.position, p.token", FAKE_ROWS("e|p|t\n-1|\\N|6")),
		ASKED("*pg_get_expr", FAKE_ROWS("c\nid > 0")),
		RAN("*CREATE TABLE IF NOT EXISTS"),
		TAKEN,
		ASKED("*pg_catalog.max(penstock_ordinal)", FAKE_ROWS("max\n0")),
		SENT("BEGIN"),
		SENT("*FOR SHARE"),
		SENT("*p.epoch"),
		SENT("*penstock_ordinal OPERATOR(pg_catalog.>)"),
		SENT("*DELETE"),
		SENT("*INSERT"),
		SENT("*INSERT"),
		SENT("COMMIT"),
		SYNC,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		SYNCED,
		RAN("BEGIN"),
		ASKED("*FOR UPDATE", FAKE_ROWS("e\n-1")),
		ASKED("*penstock_position", FAKE_ROWS("o|p\n4|five")),
		ASKED("*ORDER BY penstock_epoch", FAKE_ROWS("e")),
		ASKED("*bool_or", FAKE_ROWS("p|d\nt|t")),
		ASKED("*LIMIT 500", FAKE_ROWS("o|op|skip|next\n1|0|\\N|1\n2|1|\\N|5\n3|5|\\\\x02|9")),
		SENT("*INSERT"),
		SENT("*DELETE"),
		SENT("*INSERT"),
		SYNC,
		DONE,
		DONE,
		DONE,
		SYNCED,
		ASKED("*LIMIT 500", FAKE_ROWS("o|op|skip|next")),
		SENT("*penstock_progress"),
		SENT("*DELETE"),
		SENT("COMMIT"),
		SYNC,
		DONE,
		DONE,
		DONE,
		SYNCED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);

	(void) state;
	p.staging = true;
	rows_make(&rows, "id:l,v:u", "1|a", "-D 3|~", "2|=", NULL);
	add_option(&p.options, "sink.mode", "changelog");
	add_option(&p.options, "sink.staging", "true");
	add_option(&p.options, "sink.progress.schema", "public");
	add_option(&p.options, "sink.progress.job", "j");
	assert_true(psti_test_alloc_sweep(whole, &p) > 100);
	rows_free(&rows);
}

/* The refused row is what is expected. */
static pst_status
named(void *ctx, pst_error *err)
{
	pst_status status = whole(ctx, err);

	if (status != PST_ERR_DATA)
		return status;
	assert_string_equal(err->sqlstate, "22P02");
	return PST_OK;
}

static void
no_allocation_that_fails_while_a_row_is_named_hides_the_error(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		SENT("BEGIN"),
		PREPARED("*INSERT"),
		EXECUTED,
		SENT("COMMIT"),
		SYNC,
		DONE,
		DONE,
		FAKE_ERROR("22P02", "no such value"),
		FAKE_NO_RESULT,
		ABORTED,
		SYNCED,
		RAN("BEGIN"),
		SENT("*INSERT"),
		SYNC,
		FAKE_ERROR("22P02", "no such value"),
		FAKE_NO_RESULT,
		SYNCED,
		SENT("*SELECT CAST"),
		SENT("*SELECT CAST"),
		SYNC,
		DONE,
		FAKE_ERROR("22P02", "no such value"),
		FAKE_NO_RESULT,
		SYNCED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	assert_fails(whole(&p, &err), PST_ERR_DATA, &err);
	assert_string_equal(err.column, "v");
	assert_string_equal(err.key, "(id)=(1)");
	assert_int_equal(err.row, 0);
	assert_true(psti_test_alloc_sweep_any(named, &p) > 60);
	rows_free(&rows);
}

/* --- lost ------------------------------------------------------------------------------------------------ */

/* The server process of the lost connection, while it is there. */
#define LOOKED(pids) AS_LOGIN("*pg_stat_get_activity($1", FAKE_ROWS("pid\n" pids))
#define RAISE(tokens)                                                                              \
	SENT("BEGIN"), SENT("SET LOCAL lock_timeout = '10s'"),                                         \
		FAKE_QUERY_PARAMS("*SET token", tokens), SENT("COMMIT"), SYNC, DONE, DONE
#define RAISED(tokens, epoch)                                                                      \
	RAISE(tokens), FAKE_ROWS("epoch\n" epoch), FAKE_NO_RESULT, DONE, SYNCED
#define FLUSHED                                                                                    \
	SENT("BEGIN"), PREPARED("*INSERT"), EXECUTED, SENT("*penstock_progress"), SENT("COMMIT"), SYNC

static void
a_settlement_whose_answer_is_lost_is_asked_for_again(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		PROGRESS,
		TAKEN,
		FLUSHED,
		DONE,
		DONE,
		DONE,
		DONE,
		LOST,
		SESSION,
		/* The same two tokens each time: the row has one of them, or another writer's. */
		LOOKED(""),
		RAISE("j|0|7|99"),
		LOST,
		SESSION,
		RAISED("j|0|7|99", "0"),
		/* It had come through; the next flush has the new token and the next epoch. */
		FAKE_QUERY_PARAMS("BEGIN", NULL),
		PREPARED("*INSERT"),
		EXECUTED,
		FAKE_QUERY_PARAMS("*penstock_progress", "j|0|99|0|f|\\N"),
		SENT("COMMIT"),
		SYNC,
		DONE,
		DONE,
		DONE,
		DONE,
		DONE,
		SYNCED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_sink *sink;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	pst_error err = PST_ERROR_INIT;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", "2|b", NULL);
	add_option(&p.options, "sink.progress.schema", "public");
	add_option(&p.options, "sink.progress.job", "j");
	assert_ok(opened(&p, &sink, &err), &err);
	strcpy(sink->progress.claim, "99");
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	assert_ok(pst_sink_flush(sink, &err), &err);
	pst_sink_get_stats(sink, &stats);
	assert_int_equal(stats.rows_upserted, 2);
	assert_int_equal(stats.retries, 2);
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	fake_pq_end();
	rows_free(&rows);
}

static void
a_settlement_that_finds_another_token_is_fenced(void **state)
{
	static const fake_pq_step script[] = {
		OPENED, PROGRESS, TAKEN, FLUSHED, LOST, SESSION, LOOKED(""), RAISED(NULL, ""),
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_sink *sink;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	add_option(&p.options, "sink.progress.schema", "public");
	add_option(&p.options, "sink.progress.job", "j");
	assert_ok(opened(&p, &sink, &err), &err);
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_FENCED, &err);
	assert_fails(pst_sink_close(sink, &err), PST_ERR_FENCED, &err);
	fake_pq_end();
	rows_free(&rows);
}

#define STAGED_OPEN                                                                                \
	OPENED, PROGRESS, ASKED("*SELECT p.epoch, p.position, p.token", FAKE_ROWS("e|p|t")),           \
		ASKED("*pg_get_expr", FAKE_ROWS("c")), RAN("*CREATE TABLE IF NOT EXISTS"), TAKEN,          \
		ASKED("*pg_catalog.max(penstock_ordinal)", FAKE_ROWS("max\n0"))
#define STAGED(token)                                                                              \
	SENT("BEGIN"), FAKE_QUERY_PARAMS("*FOR SHARE", token), SENT("*DELETE"), SENT("*INSERT"),       \
		SENT("COMMIT"), SYNC, DONE, DONE, DONE, DONE
#define MARKED(token)                                                                              \
	SENT("BEGIN"), FAKE_QUERY_PARAMS("*FOR SHARE", token), SENT("*p.epoch"), SENT("*DELETE"),      \
		SENT("*DELETE"), SENT("*INSERT"), SENT("*INSERT"), SENT("COMMIT"), SYNC, DONE, DONE, DONE, \
		DONE, DONE, DONE, DONE

static void
each_session_lost_while_staging_is_shut_out_by_a_new_token(void **state)
{
	static const fake_pq_step flushed[] = {
		STAGED_OPEN,
		STAGED("j|0|7"),
		LOST,
		SESSION,
		LOOKED(""),
		RAISED("j|0|7|99", "3"),
		STAGED("j|0|99"),
		LOST,
		SESSION,
		LOOKED(""),
		RAISED(NULL, "3"),
		STAGED(NULL),
		DONE,
		SYNCED,
	};
	static const fake_pq_step prepared[] = {
		STAGED_OPEN,
		MARKED("j|0|7"),
		LOST,
		SESSION,
		LOOKED(""),
		RAISED("j|0|7|99", "3"),
		MARKED("j|0|99"),
		LOST,
		SESSION,
		LOOKED(""),
		RAISED(NULL, "3"),
		MARKED(NULL),
		DONE,
		SYNCED,
	};

	(void) state;
	for (int prepare = 0; prepare < 2; prepare++)
	{
		test_rows rows;
		play p = PLAY(flushed, &rows);
		pst_sink *sink;
		pst_error err = PST_ERROR_INIT;

		if (prepare)
		{
			p.script = prepared;
			p.nsteps = FAKE_LENGTH(prepared);
		}
		rows_make(&rows, "id:l,v:u", "1|a", NULL);
		add_option(&p.options, "sink.staging", "true");
		add_option(&p.options, "sink.progress.schema", "public");
		add_option(&p.options, "sink.progress.job", "j");
		assert_ok(opened(&p, &sink, &err), &err);
		assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
		strcpy(sink->progress.claim, "99");
		if (prepare)
			assert_ok(pst_sink_prepare(sink, 5, "five", &err), &err);
		else
			assert_ok(pst_sink_flush(sink, &err), &err);
		assert_ok(pst_sink_close(sink, &err), &err);
		fake_pq_end();
		rows_free(&rows);
	}
}

#define INSERTED SENT("BEGIN"), PREPARED("*INSERT"), EXECUTED, SENT("COMMIT"), SYNC
#define COMMITTED DONE, DONE, DONE, DONE, SYNCED

/* Opens a sink that appends without a progress table, and loses its first COMMIT. */
static pst_sink *
doubtful(play *p, pst_error *err)
{
	pst_sink *sink;

	rows_make(p->rows, "id:l,v:u", "1|a", NULL);
	add_option(&p->options, "sink.mode", "append");
	add_option(&p->options, "sink.method", "unnest");
	add_option(&p->options, "sink.max-retries", "0");
	assert_ok(opened(p, &sink, err), err);
	assert_ok(pst_sink_write_changes(sink, &p->rows->batch, err), err);
	assert_fails(pst_sink_flush(sink, err), PST_ERR_UNKNOWN_OUTCOME, err);
	assert_contains(err->message, "1 rows were committed");
	assert_contains(err->detail, "connection lost");
	return sink;
}

static void
an_append_in_doubt_is_told_again_until_its_session_is_ended(void **state)
{
	static const fake_pq_step script[] = {
		APPENDS,
		INSERTED,
		DONE,
		DONE,
		LOST,
		FAKE_FAIL("PQconnectStartParams", NULL, "Connection refused\n"),
		/* The first flush after it could not know yet what is there. */
		SESSION,
		LOOKED("4711"),
		AS_LOGIN("*pg_terminate_backend", FAKE_ROWS("ended\nt")),
		LOOKED(""),
		INSERTED,
		COMMITTED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	sink = doubtful(&p, &err);
	assert_contains(err.hint, "could not be ended");
	assert_fails(pst_sink_write_changes(sink, &rows.batch, &err), PST_ERR_UNKNOWN_OUTCOME, &err);
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_UNKNOWN_OUTCOME, &err);
	assert_contains(err.hint, "has been ended");
	assert_contains(err.detail, "connection lost");
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	fake_pq_end();
	rows_free(&rows);
}

static void
what_was_discarded_in_doubt_is_ended_before_other_rows_are_written(void **state)
{
	static const fake_pq_step script[] = {
		APPENDS,   INSERTED,   DONE,
		DONE,	   LOST,	   FAKE_FAIL("PQconnectStartParams", NULL, "Connection refused\n"),
		SESSION,   LOOKED(""), INSERTED,
		COMMITTED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	sink = doubtful(&p, &err);
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	fake_pq_end();
	rows_free(&rows);
}

static void
a_session_that_could_not_be_named_is_not_used(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		INSERTED,
		DONE,
		DONE,
		LOST,
		SESSION_OF("f"),
		SENT("BEGIN"),
		SENT("SET LOCAL ROLE NONE"),
		SENT("*pg_backend_pid"),
		SENT("COMMIT"),
		SYNC,
		DONE,
		DONE,
		FAKE_ERROR("53200", "out of memory"),
		FAKE_NO_RESULT,
		ABORTED,
		SYNCED,
		SESSION,
		LOOKED(""),
		INSERTED,
		COMMITTED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	assert_ok(whole(&p, &err), &err);
	rows_free(&rows);
}

/* A session whose start the role may not see. */
#define SESSION_HIDDEN                                                                             \
	SESSION_OF("f"), AS_LOGIN_NOT("*pg_backend_pid", "pg_stat_get_activity"),                      \
		ASKED("*pg_backend_pid(), NULL", FAKE_ROWS("pid|start\n4711|\\N"))
#define LOOKED_NOT AS_LOGIN_NOT("*pg_stat_get_activity($1", "pg_stat_get_activity")

static void
a_session_that_cannot_be_looked_for_is_not_taken_for_ended(void **state)
{
	static const fake_pq_step keyed[] = {
		SESSION_HIDDEN, RELATION, TYPES,		  INDEXES,	  PRIVILEGES, INSERTED, DONE,
		DONE,			LOST,	  SESSION_HIDDEN, LOOKED_NOT, LOOKED_NOT, INSERTED, COMMITTED,
	};
	static const fake_pq_step appended[] = {
		SESSION_HIDDEN, RELATION, TYPES,		  PRIVILEGES, INSERTED, DONE,
		DONE,			LOST,	  SESSION_HIDDEN, LOOKED_NOT, INSERTED, COMMITTED,
	};
	test_rows rows;
	play p = PLAY(keyed, &rows);
	play q = PLAY(appended, &rows);
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	assert_ok(opened(&p, &sink, &err), &err);
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	for (int again = 0; again < 2; again++)
	{
		assert_fails(pst_sink_flush(sink, &err), PST_ERR_PRIVILEGE, &err);
		assert_contains(err.hint, "once the server process 4711 has ended");
	}
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	fake_pq_end();
	rows_free(&rows);
	sink = doubtful(&q, &err);
	assert_contains(err.hint, "could not be ended");
	assert_contains(err.detail, "connection lost");
	assert_contains(err.detail, "permission denied for function pg_stat_get_activity");
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	fake_pq_end();
	rows_free(&rows);
}

static void
a_session_that_may_not_be_ended_is_waited_for(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,			INSERTED,
		DONE,			DONE,
		LOST,			SESSION,
		LOOKED("4711"), AS_LOGIN_NOT("*pg_terminate_backend", "pg_terminate_backend"),
		LOOKED("4711"), LOOKED(""),
		INSERTED,		COMMITTED,
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	assert_ok(whole(&p, &err), &err);
	rows_free(&rows);
}

static void
a_row_that_a_lost_session_holds_is_waited_for_with_an_end(void **state)
{
	static const fake_pq_step script[] = {
		SESSION_PID("99"),
		RELATION,
		TYPES,
		INDEXES,
		PRIVILEGES,
		PROGRESS,
		TAKEN,
		FLUSHED,
		LOST,
		SESSION_PID("99"),
		RAISE("j|0|7|99"),
		FAKE_ERROR("55P03", "canceling statement due to lock timeout"),
		FAKE_NO_RESULT,
		ABORTED,
		SYNCED,
		RAISED("j|0|7|99", "0"),
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	add_option(&p.options, "sink.progress.schema", "public");
	add_option(&p.options, "sink.progress.job", "j");
	add_option(&p.options, "sink.max-retries", "1");
	assert_ok(opened(&p, &sink, &err), &err);
	strcpy(sink->progress.claim, "99");
	assert_ok(pst_sink_write_changes(sink, &rows.batch, &err), &err);
	/* The one retry is spent on the connection. */
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONFLICT, &err);
	assert_string_equal(err.sqlstate, "55P03");
	assert_true(err.retryable);
	assert_contains(err.hint, "penstock_progress");
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	fake_pq_end();
	rows_free(&rows);
}

static void
behind_a_pooler_no_session_is_ended(void **state)
{
	/* The pooler tells one pid when it is connected to, the server another when it is asked. */
	static const fake_pq_step keyed[] = {
		SESSION_PID("99"), RELATION, TYPES,		INDEXES, PRIVILEGES, INSERTED, DONE, DONE, LOST,
		SESSION_PID("99"), INSERTED, COMMITTED,
	};
	static const fake_pq_step appended[] = {
		SESSION_PID("99"), RELATION, TYPES, PRIVILEGES, INSERTED, DONE, DONE, LOST,
		SESSION_PID("99"),
	};
	test_rows rows;
	play p = PLAY(keyed, &rows);
	play q = PLAY(appended, &rows);
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	assert_ok(whole(&p, &err), &err);
	rows_free(&rows);
	sink = doubtful(&q, &err);
	assert_contains(err.hint, "Behind a pooler");
	pst_sink_close(sink, NULL);
	fake_pq_end();
	rows_free(&rows);
}

static void
a_refused_row_is_named_when_its_rollback_finds_the_connection_lost(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		INSERTED,
		DONE,
		DONE,
		FAKE_ERROR("22P02", "no such value"),
		FAKE_NO_RESULT,
		ABORTED,
		SYNCED,
		RAN("BEGIN"),
		SENT("*INSERT"),
		SYNC,
		{.call = "PQgetResult",
		 .result = true,
		 .status = PGRES_FATAL_ERROR,
		 .sqlstate = "22P02",
		 .message = "no such value",
		 .trans = PQTRANS_INERROR + 1},
		FAKE_NO_RESULT,
		SYNCED,
		FAKE_QUERY("ROLLBACK"),
		LOST,
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	assert_fails(whole(&p, &err), PST_ERR_DATA, &err);
	assert_string_equal(err.sqlstate, "22P02");
	assert_string_equal(err.key, "(id)=(1)");
	assert_string_equal(err.column, "");
	rows_free(&rows);
}

/* --- times in floating point ------------------------------------------------------------------------------ */

static void
a_server_that_counts_times_in_floating_point_gets_them_as_text(void **state)
{
	static const fake_pq_step script[] = {
		SESSION,
		ASKED("*WITH RECURSIVE found", FAKE_ROWS(COLUMNS40 "\n" TABLE ID "\n" TABLE WHEN)),
		ASKED("*typarray",
			  FAKE_ROWS("oid|array|input|n|o|d\n20|1016|\\N|1|20|,\n1114|1115|\\N|1|1114|,")),
		INDEXES,
		PRIVILEGES,
	};

	(void) state;
	for (int floating = 0; floating < 2; floating++)
	{
		test_rows rows;
		play p = PLAY(script, &rows);
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		rows_make(&rows, "id:l,v:tsu:", "1|0", NULL);
		fake_pq_begin(p.script, p.nsteps);
		fake_pq_parameter("integer_datetimes", floating ? "off" : "on");
		assert_ok(pst_sink_open(p.options.keys, p.options.values, &rows.schema, NULL, &sink, &err),
				  &err);
		assert_int_equal(sink->plan->columns[1].text, floating);
		assert_false(sink->plan->columns[0].text);
		assert_ok(pst_sink_close(sink, &err), &err);
		fake_pq_end();
		rows_free(&rows);
	}
}

/* --- too much ------------------------------------------------------------------------------------------------ */

static void
a_statement_with_more_than_a_gigabyte_of_values_is_not_sent(void **state)
{
	static const fake_pq_step script[] = {OPENED, SENT("BEGIN"), SYNC, DONE, SYNCED};
	/* Nothing is copied before it is sent, so the lengths need not be true. */
	static const char *const params[] = {"", "", NULL};
	static const int lengths[] = {600000000, 600000000, 600000000};
	static const int formats[] = {1, 1, 1};
	const psti_step steps[] = {
		{.what = "beginning", .sql = "BEGIN"},
		{.what = "upserting rows",
		 .sql = "INSERT",
		 .nparams = 3,
		 .params = params,
		 .lengths = lengths,
		 .formats = formats},
		{.what = "committing", .sql = "COMMIT"},
	};
	test_rows rows;
	play p = PLAY(script, &rows);
	pst_sink *sink;
	int failed;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	rows_make(&rows, "id:l,v:u", "1|a", NULL);
	assert_ok(opened(&p, &sink, &err), &err);
	assert_fails(psti_sink_run(sink, steps, 3, &failed, &err), PST_ERR_RESOURCES, &err);
	assert_int_equal(failed, 1);
	assert_string_equal(err.sqlstate, "54000");
	assert_contains(err.message, "upserting rows");
	/* As a first statement nothing is sent at all; such an error looks for the row at fault. */
	assert_fails(psti_sink_run(sink, steps + 1, 2, &failed, &err), PST_ERR_RESOURCES, &err);
	assert_int_equal(failed, 0);
	assert_true(psti_sink_row_error(&err));
	assert_ok(pst_sink_close(sink, &err), &err);
	fake_pq_end();
	rows_free(&rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_failing_allocation_of_a_changelog_is_reported),
		cmocka_unit_test(every_failing_allocation_of_an_append_is_reported),
		cmocka_unit_test(every_failing_allocation_of_a_large_lot_is_reported),
		cmocka_unit_test(no_failing_allocation_of_a_replay_leaks_or_crashes),
		cmocka_unit_test(every_failing_allocation_of_two_phases_is_reported),
		cmocka_unit_test(no_allocation_that_fails_while_a_row_is_named_hides_the_error),
		cmocka_unit_test(a_settlement_whose_answer_is_lost_is_asked_for_again),
		cmocka_unit_test(a_settlement_that_finds_another_token_is_fenced),
		cmocka_unit_test(each_session_lost_while_staging_is_shut_out_by_a_new_token),
		cmocka_unit_test(an_append_in_doubt_is_told_again_until_its_session_is_ended),
		cmocka_unit_test(what_was_discarded_in_doubt_is_ended_before_other_rows_are_written),
		cmocka_unit_test(a_session_that_could_not_be_named_is_not_used),
		cmocka_unit_test(a_session_that_cannot_be_looked_for_is_not_taken_for_ended),
		cmocka_unit_test(a_session_that_may_not_be_ended_is_waited_for),
		cmocka_unit_test(a_row_that_a_lost_session_holds_is_waited_for_with_an_end),
		cmocka_unit_test(behind_a_pooler_no_session_is_ended),
		cmocka_unit_test(a_refused_row_is_named_when_its_rollback_finds_the_connection_lost),
		cmocka_unit_test(a_server_that_counts_times_in_floating_point_gets_them_as_text),
		cmocka_unit_test(a_statement_with_more_than_a_gigabyte_of_values_is_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
