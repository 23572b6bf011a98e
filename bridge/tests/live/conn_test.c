/* conn_test.c - sessions, cancelling, COPY and pipelines against a server. */
#include "test.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "live.h"

/* The options of the last open; they must outlive the connection. */
static psti_options *options;

static pst_status
open_url(const char *url, const pst_hooks *hooks, psti_conn **conn, pst_error *err)
{
	const char *keys[] = {"url", "connect.timeout", NULL};
	const char *values[] = {url, "20s", NULL};
	pst_status status;

	psti_enter(err);
	*conn = NULL;
	psti_options_free(options);
	status = psti_options_new(keys, values, PSTI_SOURCE, hooks, &options, err);
	return status == PST_OK ? psti_conn_open(options, NULL, hooks, conn, err) : status;
}

static char *
cell(psti_conn *conn, const char *sql)
{
	pst_error err;
	PGresult *result;
	char *value;

	psti_enter(&err);
	assert_ok(psti_conn_exec(conn, "asking", sql, &result, &err), &err);
	value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

static void
expect_cell(psti_conn *conn, const char *sql, const char *want)
{
	char *got = cell(conn, sql);

	assert_string_equal(got, want);
	free(got);
}

static void
output_settings_are_pinned_whatever_the_role_has(void **state)
{
	PGconn *admin = live_connect("");
	psti_conn *conn;
	pst_error err;

	(void) state;
	live_exec(
		admin,
		"DROP ROLE IF EXISTS odd; CREATE ROLE odd LOGIN; "
		"ALTER ROLE odd SET DateStyle = 'German'; ALTER ROLE odd SET TimeZone = 'Asia/Tokyo'; "
		"ALTER ROLE odd SET IntervalStyle = 'iso_8601'; ALTER ROLE odd SET bytea_output = "
		"'escape'; "
		"ALTER ROLE odd SET extra_float_digits = -5; ALTER ROLE odd SET statement_timeout = "
		"'300ms'; "
		"ALTER ROLE odd SET lock_timeout = '5ms'; ALTER ROLE odd SET client_encoding = 'LATIN1'; "
		"ALTER ROLE odd SET standard_conforming_strings = off");
	assert_ok(open_url("user=odd", NULL, &conn, &err), &err);
	expect_cell(conn, "SELECT now() = '2000-01-02'::date::text::date::timestamptz", "f");
	expect_cell(conn, "SELECT '2000-02-01 12:00+00'::timestamptz", "2000-02-01 12:00:00+00");
	expect_cell(conn, "SELECT '1 day 2 hours'::interval", "1 day 02:00:00");
	expect_cell(conn, "SELECT 'a'::bytea", "\\x61");
	/* Before 12 there is no shortest form: digits enough to come back as the same value. */
	expect_cell(conn, "SELECT 0.1::float8 + 0.2",
				PQserverVersion(admin) < 120000 ? "0.300000000000000044" : "0.30000000000000004");
	expect_cell(conn, "SELECT pg_sleep(0.6)", "");
	expect_cell(conn, "SHOW client_encoding", "UTF8");
	expect_cell(conn, "SHOW lock_timeout", "0");
	psti_conn_close(conn);
	live_exec(admin, "DROP ROLE odd");
	PQfinish(admin);
}

static void
login_failures_have_their_status(void **state)
{
	psti_conn *conn;
	pst_error err;

	(void) state;
	assert_fails(open_url("dbname=nowhere", NULL, &conn, &err), PST_ERR_NOT_FOUND, &err);
	assert_string_equal(err.sqlstate, "3D000");
	assert_fails(open_url("user=nobody_at_all", NULL, &conn, &err), PST_ERR_AUTH, &err);
	assert_fails(open_url("host=127.0.0.1 port=1", NULL, &conn, &err), PST_ERR_CONNECTION, &err);
	assert_true(err.retryable);
}

static void
a_jdbc_url_sets_the_search_path(void **state)
{
	char url[256];
	psti_conn *conn;
	pst_error err;

	(void) state;
	snprintf(url, sizeof(url),
			 "jdbc:postgresql://127.0.0.1:%s/"
			 "postgres?user=postgres&currentSchema=%%22a%%20b%%22,pg_catalog"
			 "&ApplicationName=me",
			 getenv("PGPORT"));
	assert_ok(open_url(url, NULL, &conn, &err), &err);
	expect_cell(conn, "SHOW search_path", "\"a b\",pg_catalog");
	expect_cell(conn, "SHOW application_name", "me");
	psti_conn_close(conn);
}

static void *
cancel_soon(void *canceller)
{
	PGconn *admin = live_connect("");

	/* Thrown when the server is seen at work, so no sleep decides the outcome. */
	while (live_int(admin, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%cancel me%%' "
						   "AND state = 'active' AND pid <> pg_backend_pid()") == 0)
		usleep(1000);
	pst_cancel(canceller);
	PQfinish(admin);
	return NULL;
}

static void
a_cancel_ends_the_call_and_the_servers_work(void **state)
{
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_error err = PST_ERROR_INIT;
	PGconn *admin = live_connect("");
	psti_conn *conn;
	pthread_t thread;

	(void) state;
	assert_ok(pst_canceller_new(&hooks.canceller, &err), &err);
	assert_ok(open_url("", &hooks, &conn, &err), &err);
	pthread_create(&thread, NULL, cancel_soon, hooks.canceller);
	assert_fails(
		psti_conn_exec(conn, "sleeping", "SELECT pg_sleep(600) /* cancel me */", NULL, &err),
		PST_ERR_CANCELED, &err);
	pthread_join(thread, NULL);
	/* The call came back only after the server had stopped. */
	assert_int_equal(live_int(admin,
							  "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
							  "'%%cancel me%%' AND state = 'active' AND pid <> pg_backend_pid()"),
					 0);
	assert_false(psti_conn_usable(conn));
	psti_conn_close(conn);
	pst_canceller_free(hooks.canceller);
	PQfinish(admin);
}

static void
an_abandoned_copy_leaves_the_connection_usable(void **state)
{
	psti_buf data = PSTI_BUF_INIT;
	psti_conn *conn;
	pst_error err;

	(void) state;
	assert_ok(open_url("", NULL, &conn, &err), &err);
	assert_ok(psti_conn_copy_out(conn, "reading",
								 "COPY (SELECT generate_series(1, 2000000000)) TO STDOUT", NULL,
								 &err),
			  &err);
	assert_ok(psti_conn_copy_read(conn, &data, 1000000, &err), &err);
	assert_ok(psti_conn_copy_abandon(conn, &err), &err);
	expect_cell(conn, "SELECT 7", "7");
	psti_buf_free(&data);
	psti_conn_close(conn);
}

static void
an_abandoned_copy_of_a_silent_server_ends_with_the_connection(void **state)
{
	static const char *const rules[] = {"server:type=d#3:stall", NULL};
	psti_buf data = PSTI_BUF_INIT;
	live_proxy proxy;
	psti_conn *conn;
	pst_error err;

	(void) state;
	live_proxy_start(&proxy, rules);
	assert_ok(open_url(proxy.conninfo, NULL, &conn, &err), &err);
	assert_ok(psti_conn_copy_out(conn, "reading",
								 "COPY (SELECT generate_series(1, 2000000000)) TO STDOUT", NULL,
								 &err),
			  &err);
	assert_ok(psti_conn_copy_read(conn, &data, 1, &err), &err);
	assert_fails(psti_conn_copy_abandon(conn, &err), PST_ERR_TIMEOUT, &err);
	assert_false(psti_conn_usable(conn));
	psti_buf_free(&data);
	psti_conn_close(conn);
	free(live_proxy_stop(&proxy));
}

static void
a_pipeline_larger_than_every_buffer_does_not_block(void **state)
{
	enum
	{
		N = 40
	};
	char *big = malloc(1000001);
	const char *params[] = {big};
	psti_step steps[N];
	PGresult *results[N];
	psti_conn *conn;
	pst_error err;
	int failed;

	(void) state;
	memset(big, 'x', 1000000);
	big[1000000] = '\0';
	for (int i = 0; i < N; i++)
		steps[i] = (psti_step){
			.what = "echoing", .sql = "SELECT $1::text", .nparams = 1, .params = params};
	assert_ok(open_url("", NULL, &conn, &err), &err);
	assert_ok(psti_conn_pipeline(conn, steps, N, results, &failed, &err), &err);
	for (int i = 0; i < N; i++)
	{
		assert_int_equal(PQgetlength(results[i], 0, 0), 1000000);
		PQclear(results[i]);
	}
	expect_cell(conn, "SELECT 1", "1");
	psti_conn_close(conn);
	free(big);
}

static void
a_failed_pipeline_rolls_all_of_it_back(void **state)
{
	static const psti_step steps[] = {
		{.what = "making", .sql = "CREATE TABLE half_done()"},
		{.what = "dividing", .sql = "SELECT 1/0"},
	};
	PGresult *results[2];
	psti_conn *conn;
	pst_error err;
	int failed;

	(void) state;
	assert_ok(open_url("", NULL, &conn, &err), &err);
	assert_fails(psti_conn_pipeline(conn, steps, 2, results, &failed, &err), PST_ERR_DATA, &err);
	assert_int_equal(failed, 1);
	PQclear(results[0]);
	expect_cell(conn, "SELECT to_regclass('half_done') IS NULL", "t");
	psti_conn_close(conn);
}

static void
a_copy_by_surprise_is_refused(void **state)
{
	psti_conn *conn;
	pst_error err;

	(void) state;
	assert_ok(open_url("", NULL, &conn, &err), &err);
	assert_fails(psti_conn_exec(conn, "asking", "COPY (SELECT 1) TO STDOUT", NULL, &err),
				 PST_ERR_INVALID, &err);
	psti_conn_close(conn);
}

static void
a_silent_server_ends_at_the_socket_timeout(void **state)
{
	char url[256];
	psti_conn *conn;
	pst_error err;

	(void) state;
	snprintf(url, sizeof(url),
			 "jdbc:postgresql://127.0.0.1:%s/postgres?user=postgres&socketTimeout=1",
			 getenv("PGPORT"));
	assert_ok(open_url(url, NULL, &conn, &err), &err);
	assert_fails(psti_conn_exec(conn, "sleeping", "SELECT pg_sleep(30)", NULL, &err),
				 PST_ERR_TIMEOUT, &err);
	assert_contains(err.message, "socketTimeout");
	psti_conn_close(conn);
}

static char noticed[256];

static void
take_log(void *ctx, pst_log_level level, const char *message)
{
	(void) ctx;
	if (level == PST_LOG_WARNING)
		snprintf(noticed, sizeof(noticed), "%s", message);
}

static void
warnings_of_the_server_reach_the_log(void **state)
{
	pst_hooks hooks = PST_HOOKS_INIT;
	psti_conn *conn;
	pst_error err;

	(void) state;
	hooks.log = take_log;
	assert_ok(open_url("", &hooks, &conn, &err), &err);
	assert_ok(
		psti_conn_exec(conn, "warning", "DO $$ BEGIN RAISE WARNING 'look out'; END $$", NULL, &err),
		&err);
	assert_string_equal(noticed, "server: look out");
	psti_conn_close(conn);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_settings_are_pinned_whatever_the_role_has),
		cmocka_unit_test(login_failures_have_their_status),
		cmocka_unit_test(a_jdbc_url_sets_the_search_path),
		cmocka_unit_test(a_cancel_ends_the_call_and_the_servers_work),
		cmocka_unit_test(an_abandoned_copy_leaves_the_connection_usable),
		cmocka_unit_test(an_abandoned_copy_of_a_silent_server_ends_with_the_connection),
		cmocka_unit_test(a_pipeline_larger_than_every_buffer_does_not_block),
		cmocka_unit_test(a_failed_pipeline_rolls_all_of_it_back),
		cmocka_unit_test(a_copy_by_surprise_is_refused),
		cmocka_unit_test(a_silent_server_ends_at_the_socket_timeout),
		cmocka_unit_test(warnings_of_the_server_reach_the_log),
	};

	int failed;

	alarm(120); /* a wait without end is a failure, not a stay */
	failed = cmocka_run_group_tests(tests, live_make_database, live_drop_database);

	psti_options_free(options);
	return failed;
}
