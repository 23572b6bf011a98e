/* source_standby_test.c - reading on a standby: one moment, and what replay does to it. */
#include "test.h"

#include <errno.h>

#include "live.h"
#include "source_rows.h"

static char standby_conninfo[100];

/* A connection to the standby, after it has replayed what the primary has done; skips without one. */
static PGconn *
connect_standby(void)
{
	const char *port = getenv("PENSTOCK_STANDBY_PORT");
	PGconn *standby;
	char *lsn;

	if (port == NULL)
		live_skip("the server has no standby");
	snprintf(standby_conninfo, sizeof(standby_conninfo), "host=127.0.0.1 port=%s", port);
	lsn = live_value(admin, PQserverVersion(admin) >= 100000 ? "SELECT pg_current_wal_lsn()"
															 : "SELECT pg_current_xlog_location()");
	/* The database itself has to be there first. */
	do
	{
		standby = PQconnectdb(standby_conninfo);
		if (PQstatus(standby) == CONNECTION_OK)
			break;
		PQfinish(standby);
	} while (true);
	while (live_int(standby,
					PQserverVersion(admin) >= 100000
						? "SELECT (pg_last_wal_replay_lsn() >= '%s')::int"
						: "SELECT (pg_last_xlog_replay_location() >= '%s')::int",
					lsn) == 0)
		;
	free(lsn);
	return standby;
}

static void
a_standby_is_read_at_one_moment_by_several_workers(void **state)
{
	PGconn *standby;

	(void) state;
	live_exec(admin, "CREATE TABLE sb AS SELECT g AS a FROM generate_series(1, 20000) g; "
					 "CREATE VIEW sbv AS SELECT a FROM sb");
	standby = connect_standby();
	if (PQserverVersion(admin) >= 100000)
		assert_int_equal(count_planned(0, "url", standby_conninfo, "table-name", "sb",
									   "read.split-bytes", "64kb", NULL),
						 20000);
	assert_int_equal(count_rows("url", standby_conninfo, "table-name", "sbv", NULL), 20000);
	assert_int_equal(count_rows("url", standby_conninfo, "query", "SELECT a FROM sb", NULL), 20000);
	PQfinish(standby);
	live_exec(admin, "DROP TABLE sb CASCADE");
}

static void
a_worker_on_a_standby_that_leaves_a_stream_reads_the_next_at_the_same_moment(void **state)
{
	PGconn *standby;
	pst_source *planner;
	pst_source *worker;
	struct ArrowArrayStream stream;
	struct ArrowArray array;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;

	(void) state;
	live_exec(admin, "CREATE TABLE sl AS SELECT g AS a FROM generate_series(1, 200000) g");
	standby = connect_standby();
	for (int i = 0; i < 2; i++)
		assert_ok(open_source(i == 0 ? &planner : &worker, &err, "url", standby_conninfo,
							  "table-name", "sl", "read.batch-rows", "10", NULL),
				  &err);
	assert_ok(pst_source_plan(planner, 0, &splits, &n, &err), &err);
	assert_ok(pst_source_read(worker, splits[0], &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &array), 0);
	array.release(&array);
	stream.release(&stream);
	live_exec(admin, "INSERT INTO sl VALUES (0)");
	assert_int_equal(count_splits(worker, splits, n), 200000);
	pst_free(splits);
	pst_source_close(worker);
	pst_source_close(planner);
	PQfinish(standby);
	live_exec(admin, "DROP TABLE sl");
}

static void
note_log(void *ctx, pst_log_level level, const char *message)
{
	(void) level;
	if (strstr(message, "beginning anew") != NULL)
		(*(int *) ctx)++;
}

/* The words of a conflict are those of the server's language: its code is what tells it. */
static void
a_conflict_is_known_by_its_code_in_any_language(void **state)
{
	static const char *const codes[] = {"40001", "40P01"};
	PGconn *standby;

	(void) state;
	live_exec(admin, "CREATE FUNCTION sc(code text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE "
					 "'Anweisung wird abgebrochen' USING ERRCODE = code; END $$");
	standby = connect_standby();
	for (int i = 0; i < 2; i++)
	{
		char query[64];
		int begun = 0;
		const char *keys[] = {"url", "query", NULL};
		const char *values[] = {standby_conninfo, query, NULL};
		pst_hooks hooks = PST_HOOKS_INIT;
		pst_error err = PST_ERROR_INIT;
		struct ArrowArrayStream stream;
		struct ArrowArray array;
		pst_source *source;

		hooks.ctx = &begun;
		hooks.log = note_log;
		snprintf(query, sizeof(query), "SELECT sc('%s') AS a", codes[i]);
		assert_ok(pst_source_open(keys, values, &hooks, &source, &err), &err);
		assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
		assert_int_not_equal(stream.get_next(&stream, &array), 0);
		stream.release(&stream);
		assert_true(begun > 0);
		assert_fails(pst_source_error(source, &err), PST_ERR_CONFLICT, &err);
		assert_contains(err.hint, "standby");
		pst_source_close(source);
	}
	PQfinish(standby);
	live_exec(admin, "DROP FUNCTION sc(text)");
}

/* Whether replay stands before a session that it has told to end: its title says so after half a
 * second, on every server; pg_stat_activity does not, once there is no patience left. */
static bool
replay_waits(int replay_pid)
{
	char path[64];
	char title[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", replay_pid);
	file = fopen(path, "r");
	assert_non_null(file);
	title[fread(title, 1, sizeof(title) - 1, file)] = '\0';
	fclose(file);
	return strstr(title, " waiting") != NULL;
}

/* Our own question has a snapshot too, and may be cancelled for it: then it is asked again. */
static bool
replay_is_past(PGconn *standby, const char *lsn)
{
	const char *const values[] = {lsn};
	PGresult *result = PQexecParams(standby, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", 1,
									NULL, values, NULL, NULL, 0);
	bool past = PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;

	PQclear(result);
	return past;
}

/*
 * Until the standby has met our snapshot: it has gone past what the primary wrote, which it does only
 * after cancelling us, or waits before it because we have not noticed yet.
 */
static void
wait_until_replay_met_us(PGconn *standby, int replay_pid)
{
	char *target = live_value(admin, "SELECT pg_current_wal_lsn()");

	while (!replay_is_past(standby, target) && !replay_waits(replay_pid))
	{
		/* The question may be in the way of what is replayed too, and be ended. */
		if (PQstatus(standby) != CONNECTION_OK)
			PQreset(standby);
		assert_int_equal(PQstatus(standby), CONNECTION_OK);
	}
	free(target);
}

/* A connection to the standby, where the table has 100,000 rows over many blocks. */
static PGconn *
standby_with_large(const char *table)
{
	live_exec(admin,
			  "CREATE TABLE %s WITH (autovacuum_enabled = off) AS SELECT g, repeat('x', 500) "
			  "FROM generate_series(1, 100000) g",
			  table);
	return connect_standby();
}

/* Removes the rows above 10 so that the standby, without patience, cancels whoever sees them. */
static void
provoke_conflict(PGconn *standby, const char *table)
{
	int replay_pid =
		(int) live_int(standby, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");

	live_exec(admin, "DELETE FROM %s WHERE g > 10", table);
	/* Without the lock that cutting its end off would take, which cancels the new read too. */
	live_exec(admin, "VACUUM (TRUNCATE off) %s", table);
	/* VACUUM leaves its last records in memory, where no standby sees them: a commit writes them. */
	live_exec(admin, "SELECT pg_logical_emit_message(true, 'test', 'x')");
	wait_until_replay_met_us(standby, replay_pid);
}

static void
lose_patience(PGconn *standby)
{
	live_exec(standby, "ALTER SYSTEM SET max_standby_streaming_delay = 0");
	live_exec(standby, "SELECT pg_reload_conf()");
}

/* A read that the standby is about to cancel: the primary has removed the rows that it sees. */
static pst_source *
conflicted_read(PGconn *standby, const char *batch_rows, int *restarts,
				struct ArrowArrayStream *stream, struct ArrowArray *first)
{
	pst_source *source;
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_error err = PST_ERROR_INIT;

	hooks.ctx = restarts;
	hooks.log = note_log;
	assert_ok(open_source_hooks(&source, &hooks, &err, "url", standby_conninfo, "table-name", "co",
								"read.batch-bytes", "1gb", "read.batch-rows", batch_rows,
								"transport", "plain", NULL),
			  &err);
	assert_ok(pst_source_read(source, NULL, stream, &err), &err);
	if (first != NULL)
		assert_int_equal(stream->get_next(stream, first), 0);
	/* Not before: without patience whatever the primary does can end a session that only opens. */
	lose_patience(standby);
	provoke_conflict(standby, "co");
	return source;
}

static void
assert_recovery_conflict(pst_status status, const pst_error *err)
{
	if (status != PST_ERR_CONFLICT)
		fail_msg("%s: %s", pst_status_name(status), err->message);
	assert_true(err->retryable);
	assert_contains(err->hint, "hot_standby_feedback");
}

static void
a_recovery_conflict_before_the_first_batch_begins_the_read_anew(void **state)
{
	PGconn *standby;
	pst_source *source;
	struct ArrowArrayStream stream;
	struct ArrowArray array;
	int restarts = 0;
	int64_t n = 0;

	(void) state;
	standby = standby_with_large("co");
	source = conflicted_read(standby, "16777216", &restarts, &stream, NULL);
	for (;;)
	{
		int code = stream.get_next(&stream, &array);

		if (code != 0)
			fail_msg("%s", stream.get_last_error(&stream));
		if (array.release == NULL)
			break;
		n += array.length;
		array.release(&array);
	}
	assert_int_equal(n, 10);
	assert_true(restarts >= 1);
	stream.release(&stream);
	pst_source_close(source);
	PQfinish(standby);
	live_exec(admin, "DROP TABLE co");
}

static void
a_recovery_conflict_after_the_first_batch_is_named_and_retryable(void **state)
{
	PGconn *standby;
	pst_source *source;
	struct ArrowArrayStream stream;
	struct ArrowArray array;
	pst_error err = PST_ERROR_INIT;
	int restarts = 0;

	(void) state;
	standby = standby_with_large("co");
	live_exec(standby, "SELECT pg_stat_reset()");
	source = conflicted_read(standby, "10", &restarts, &stream, &array);
	assert_int_equal(array.length, 10);
	array.release(&array);
	assert_int_equal(drain_to_error(&stream), EIO);
	assert_int_equal(restarts, 0);
	assert_recovery_conflict(pst_source_error(source, &err), &err);
	stream.release(&stream);
	pst_source_close(source);
	PQfinish(standby);
	live_exec(admin, "DROP TABLE co");
}

/* What a recovery conflict does to a read of the plan of another handle, and to its planner. */
static void
assert_planned_conflict_is_named(bool idle)
{
	PGconn *standby;
	pst_source *planner;
	pst_source *worker;
	struct ArrowArrayStream stream = {0};
	struct ArrowArray array;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;
	pst_status status = PST_OK;

	standby = standby_with_large("pc");
	lose_patience(standby);
	for (int i = 0; i < 2; i++)
		assert_ok(open_source(i == 0 ? &planner : &worker, &err, "url", standby_conninfo,
							  "table-name", "pc", "read.batch-rows", "10", NULL),
				  &err);
	assert_ok(pst_source_plan(planner, 2, &splits, &n, &err), &err);
	assert_ok(pst_source_read(worker, splits[0], &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &array), 0);
	array.release(&array);
	provoke_conflict(standby, "pc");
	if (idle)
	{
		/* The planner was ended while it waited. */
		stream.release(&stream);
		status = pst_source_read(planner, splits[n - 1], &stream, &err);
		worker = (pst_source_close(worker), NULL);
	}
	if (status == PST_OK)
	{
		(void) drain_to_error(&stream);
		status = pst_source_error(idle ? planner : worker, &err);
	}
	assert_recovery_conflict(status, &err);
	if (stream.release != NULL)
		stream.release(&stream);
	pst_free(splits);
	pst_source_close(worker);
	pst_source_close(planner);
	PQfinish(standby);
	live_exec(admin, "DROP TABLE pc");
}

static void
a_recovery_conflict_of_a_worker_is_named(void **state)
{
	(void) state;
	assert_planned_conflict_is_named(false);
}

static void
a_recovery_conflict_of_a_planner_that_waits_is_named(void **state)
{
	(void) state;
	assert_planned_conflict_is_named(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_conflict_is_known_by_its_code_in_any_language),
		cmocka_unit_test(a_standby_is_read_at_one_moment_by_several_workers),
		live_test_since(
			100000, "a snapshot shared on a standby",
			a_worker_on_a_standby_that_leaves_a_stream_reads_the_next_at_the_same_moment),
		live_test_since(120000, "VACUUM that cuts nothing off",
						a_recovery_conflict_before_the_first_batch_begins_the_read_anew),
		live_test_since(120000, "VACUUM that cuts nothing off",
						a_recovery_conflict_after_the_first_batch_is_named_and_retryable),
		live_test_since(140000, "a scan of a range of blocks",
						a_recovery_conflict_of_a_worker_is_named),
		live_test_since(140000, "a scan of a range of blocks",
						a_recovery_conflict_of_a_planner_that_waits_is_named),
	};

	return live_run(tests, setup, teardown);
}
