/* source_assisted_test.c - assisted reads that are cancelled, cut off, and lose their extension. */
#include "test.h"

#include <errno.h>
#include <pthread.h>

#include "live.h"
#include "source_rows.h"

#define ROWS 20000

/* The third frame of a thousand rows never comes, and the server keeps the end of the second back. */
#define SLEEPS                                                                                     \
	"SELECT i, CASE WHEN i = 2500 THEN pg_sleep(600)::text END AS t FROM generate_series(1, "      \
	"5000) i"

static pst_source *
open_assisted(const char *key, const char *value)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	assert_ok(open_source(&source, &err, key, value, "transport", "assisted", "read.batch-rows",
						  "1000", NULL),
			  &err);
	return source;
}

static void
read_one(struct ArrowArrayStream *stream)
{
	struct ArrowArray array;

	assert_int_equal(stream->get_next(stream, &array), 0);
	assert_int_equal(array.length, 1000);
	array.release(&array);
}

/* The process that sleeps in a query of ours; waits for it. */
static long long
sleeping(PGconn *conn)
{
	long long pid;

	while ((pid = live_int(conn, "SELECT COALESCE(max(pid), 0) FROM pg_stat_activity WHERE "
								 "wait_event = 'PgSleep' AND datname = current_database()")) == 0)
		;
	return pid;
}

static void
make_table(void)
{
	live_exec(admin,
			  "CREATE TABLE t AS SELECT i, repeat('x', 100) AS t FROM "
			  "generate_series(1, %d) i; ANALYZE t",
			  ROWS);
}

/* The extension comes back for the tests that follow. */
static void
restore(void)
{
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE EXTENSION IF NOT EXISTS penstock; "
					 "GRANT USAGE ON SCHEMA penstock TO PUBLIC");
}

/* ---- Stopped in the middle ---- */

static void *
cancel_the_sleeper(void *arg)
{
	PGconn *conn = live_connect("");

	(void) sleeping(conn);
	pst_cancel(arg);
	PQfinish(conn);
	return NULL;
}

static void
cancel_ends_a_read_that_waits_for_a_frame(void **state)
{
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	pthread_t thread;

	(void) state;
	assert_ok(pst_canceller_new(&hooks.canceller, &err), &err);
	assert_ok(open_source_hooks(&source, &hooks, &err, "query", SLEEPS, "read.batch-rows", "1000",
								"transport", "assisted", NULL),
			  &err);
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	read_one(&stream);
	assert_int_equal(pthread_create(&thread, NULL, cancel_the_sleeper, hooks.canceller), 0);
	assert_int_equal(drain_to_error(&stream), ECANCELED);
	pthread_join(thread, NULL);
	assert_int_equal(pst_source_error(source, &err), PST_ERR_CANCELED);
	assert_string_equal(err.sqlstate, "57014");
	stream.release(&stream);
	pst_source_close(source);
	pst_canceller_free(hooks.canceller);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = "
									 "'PgSleep' AND datname = current_database()"),
					 0);
}

static void *
run_on_the_sleeper(void *arg)
{
	PGconn *conn = live_connect("");

	live_exec(conn, "SELECT %s(%lld)", (const char *) arg, sleeping(conn));
	PQfinish(conn);
	return NULL;
}

/* The stream's error after a whole frame; the source stays open. */
static pst_source *
read_stopped(const char *function, pst_error *err)
{
	pst_source *source = open_assisted("query", SLEEPS);
	struct ArrowArrayStream stream;
	pthread_t thread;

	assert_ok(pst_source_read(source, NULL, &stream, err), err);
	read_one(&stream);
	assert_int_equal(pthread_create(&thread, NULL, run_on_the_sleeper, (void *) function), 0);
	assert_true(drain_to_error(&stream) != 0);
	pthread_join(thread, NULL);
	(void) pst_source_error(source, err);
	stream.release(&stream);
	return source;
}

static void
a_statement_that_others_cancel_ends_the_stream_and_leaves_the_handle(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_source *source = read_stopped("pg_cancel_backend", &err);
	struct ArrowArrayStream stream;

	(void) state;
	assert_int_equal(err.status, PST_ERR_CANCELED);
	assert_string_equal(err.sqlstate, "57014");
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	read_one(&stream);
	stream.release(&stream);
	pst_source_close(source);
}

static void
a_session_that_others_end_is_a_lost_connection(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_source *source = read_stopped("pg_terminate_backend", &err);
	struct ArrowArrayStream stream;

	(void) state;
	assert_int_equal(err.status, PST_ERR_CONNECTION);
	assert_true(err.retryable);
	assert_fails(pst_source_read(source, NULL, &stream, &err), PST_ERR_STATE, &err);
	pst_source_close(source);
}

/* They are pinned to nothing, and the extension's executor heeds what the session has. */
static void
timeouts_of_the_role_do_not_stop_a_read(void **state)
{
	(void) state;
	live_exec(admin, "DROP ROLE IF EXISTS hasty; CREATE ROLE hasty LOGIN; "
					 "ALTER ROLE hasty SET statement_timeout = '1ms'; "
					 "ALTER ROLE hasty SET lock_timeout = '1ms'");
	assert_int_equal(count_rows("query",
								"SELECT i, CASE WHEN i = 9 THEN pg_sleep(0.1)::text END "
								"FROM generate_series(1, 10) i",
								"username", "hasty", "transport", "assisted", NULL),
					 10);
	live_exec(admin, "DROP ROLE hasty");
}

/* ---- Released early, in threads, mixed ---- */

static void
a_stream_released_in_its_middle_leaves_the_handle_usable(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;

	(void) state;
	make_table();
	source = open_assisted("table-name", "t");
	for (int i = 0; i < 3; i++)
	{
		assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
		for (int k = 0; k < i; k++)
			read_one(&stream);
		stream.release(&stream);
	}
	assert_int_equal(read_split(source, NULL, NULL), ROWS);
	pst_source_close(source);
	restore();
}

typedef struct worker
{
	char **splits;
	size_t first; /* of every second split */
	size_t n;
	const char *transport;
	long long sum;
} worker;

static void *
read_half(void *arg)
{
	worker *w = arg;
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	assert_ok(open_source(&source, &err, "table-name", "t", "transport", w->transport,
						  "read.batch-rows", "100", NULL),
			  &err);
	for (size_t i = w->first; i < w->n; i += 2)
		w->sum += sum_int32(source, w->splits[i]);
	pst_source_close(source);
	return NULL;
}

/* Splits say what to read, not how: each handle has its own transport. */
static void
read_by_two(const char *planner, const char *one, const char *other)
{
	worker workers[2] = {{.first = 0, .transport = one}, {.first = 1, .transport = other}};
	pthread_t threads[2];
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;

	assert_ok(open_source(&source, &err, "table-name", "t", "transport", planner,
						  "read.split-bytes", "64kb", NULL),
			  &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_true(n > 4);
	live_exec(admin, "UPDATE t SET i = i + 1"); /* what no split sees */
	for (int i = 0; i < 2; i++)
	{
		workers[i].splits = splits;
		workers[i].n = n;
		assert_int_equal(pthread_create(&threads[i], NULL, read_half, &workers[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(workers[0].sum + workers[1].sum, (long long) ROWS * (ROWS + 1) / 2);
	pst_free(splits);
	pst_source_close(source);
}

static void
two_threads_read_the_splits_of_one_plan_by_either_transport(void **state)
{
	static const char *const ways[][3] = {{"assisted", "assisted", "assisted"},
										  {"assisted", "plain", "assisted"},
										  {"plain", "assisted", "plain"}};

	(void) state;
	if (PQserverVersion(admin) < 140000)
		live_skip("ranges of blocks came with 14");
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
	{
		make_table();
		read_by_two(ways[i][0], ways[i][1], ways[i][2]);
		restore();
	}
}

/* ---- The extension goes away ---- */

static void
assert_taken_away(const pst_error *err)
{
	assert_int_equal(err->status, PST_ERR_CONFLICT);
	assert_true(err->retryable);
	assert_contains(err->message, "the extension penstock");
	assert_contains(err->message, "was taken away");
	assert_contains(err->hint, "Begin the read again");
}

/* Opens, has it taken away, reads; and what is then said of transport=assisted. */
static void
take_away_after_open(const char *sql, const char *hint)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;

	make_table();
	live_exec(admin, "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; "
					 "GRANT SELECT ON t TO reader");
	assert_ok(open_source(&source, &err, "table-name", "t", "username", "reader", NULL), &err);
	assert_string_equal(pst_source_transport(source), "assisted");
	live_exec(admin, "%s", sql);
	for (int i = 0; i < 2; i++)
	{
		assert_true(pst_source_read(source, NULL, &stream, &err) < 0);
		assert_taken_away(&err);
	}
	pst_source_close(source);
	/* Begun again it does without. */
	assert_ok(open_source(&source, &err, "table-name", "t", "username", "reader", NULL), &err);
	assert_string_equal(pst_source_transport(source), "plain");
	assert_int_equal(read_split(source, NULL, NULL), ROWS);
	pst_source_close(source);
	assert_fails(open_source(&source, &err, "table-name", "t", "username", "reader", "transport",
							 "assisted", NULL),
				 PST_ERR_UNSUPPORTED, &err);
	assert_contains(err.message, "transport");
	assert_contains(err.hint, hint);
	assert_contains(err.hint, "transport=auto");
	restore();
	live_exec(admin, "DROP OWNED BY reader; DROP ROLE reader");
}

static void
an_extension_dropped_after_the_probe_is_named(void **state)
{
	(void) state;
	take_away_after_open("DROP EXTENSION penstock", "CREATE EXTENSION penstock");
}

static void
a_right_to_the_extension_revoked_after_the_probe_is_named(void **state)
{
	(void) state;
	take_away_after_open("REVOKE USAGE ON SCHEMA penstock FROM PUBLIC",
						 "GRANT USAGE ON SCHEMA penstock");
	take_away_after_open("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA penstock FROM PUBLIC",
						 "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA penstock");
	live_exec(admin, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA penstock TO PUBLIC");
}

/* A right that lacks elsewhere is not taken for the extension's. */
static void
a_table_revoked_after_the_probe_is_a_missing_privilege(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;

	(void) state;
	make_table();
	live_exec(admin, "CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader; CREATE VIEW v AS "
					 "SELECT i, t FROM t; GRANT SELECT ON v TO reader");
	assert_ok(open_source(&source, &err, "query", "SELECT * FROM v", "username", "reader",
						  "transport", "assisted", NULL),
			  &err);
	live_exec(admin, "REVOKE SELECT ON v FROM reader");
	assert_fails(pst_source_read(source, NULL, &stream, &err), PST_ERR_PRIVILEGE, &err);
	assert_string_equal(err.sqlstate, "42501");
	pst_source_close(source);
	live_exec(admin, "DROP VIEW v; DROP OWNED BY reader; DROP ROLE reader");
	restore();
}

/* The library stays in the session, and so does what the statement has looked up. */
static void
an_extension_dropped_in_the_middle_ends_no_scan_that_runs(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	struct ArrowArray array;
	int64_t n = 1000;

	(void) state;
	make_table();
	source = open_assisted("table-name", "t");
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	read_one(&stream);
	live_exec(admin, "DROP EXTENSION penstock");
	for (;;)
	{
		assert_int_equal(stream.get_next(&stream, &array), 0);
		if (array.release == NULL)
			break;
		n += array.length;
		array.release(&array);
	}
	assert_int_equal(n, ROWS);
	stream.release(&stream);
	pst_source_close(source);
	assert_int_equal(count_rows("table-name", "t", NULL), ROWS);
	restore();
}

/* ---- The server goes away: last ---- */

static void
a_server_that_crashes_in_the_middle_is_a_lost_connection(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;

	(void) state;
	source =
		open_assisted("query", "SELECT i, repeat('x', 1000) FROM generate_series(1, 1000000) i");
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	read_one(&stream);
	live_ctl("primary", "crash");
	assert_int_equal(drain_to_error(&stream), ECONNRESET);
	assert_int_equal(pst_source_error(source, &err), PST_ERR_CONNECTION);
	assert_true(err.retryable);
	stream.release(&stream);
	pst_source_close(source);
	live_ctl("primary", "start");
	PQreset(admin);
	assert_int_equal(count_rows("query", "SELECT 1", NULL), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		live_test_extension(cancel_ends_a_read_that_waits_for_a_frame),
		live_test_extension(a_statement_that_others_cancel_ends_the_stream_and_leaves_the_handle),
		live_test_extension(a_session_that_others_end_is_a_lost_connection),
		live_test_extension(timeouts_of_the_role_do_not_stop_a_read),
		live_test_extension(a_stream_released_in_its_middle_leaves_the_handle_usable),
		live_test_extension(two_threads_read_the_splits_of_one_plan_by_either_transport),
		live_test_extension(an_extension_dropped_after_the_probe_is_named),
		live_test_extension(a_right_to_the_extension_revoked_after_the_probe_is_named),
		live_test_extension(a_table_revoked_after_the_probe_is_a_missing_privilege),
		live_test_extension(an_extension_dropped_in_the_middle_ends_no_scan_that_runs),
		live_test_extension(a_server_that_crashes_in_the_middle_is_a_lost_connection),
	};

	return live_run(tests, setup, teardown);
}
