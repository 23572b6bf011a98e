/* conn_test.c - each failure that libpq can give, through the scripted one. */
#include "test.h"

#include "alloc.h"
#include "conn.h"
#include "fake_libpq.h"

#define PROBE "*pg_postmaster_start_time"
#define PROBED_WITH(extension, scan)                                                               \
	FAKE_ROWS("db:19|role:19|recovery:16|super:16|temp:16|enc:19|start:25|ext:25|scan:25|id:20\n"  \
			  "shop|joe|f|f|t|UTF8|2026-01-01|" extension "|" scan "|7")
#define PROBED PROBED_WITH("\\N", "\\N")

/* A session that opens well; the steps of the test follow. */
#define OPENED FAKE_CONNECT("*client_encoding=UTF8"), FAKE_QUERY(PROBE), PROBED, FAKE_NO_RESULT

static psti_options *options;

static int
make_options(void **state)
{
	pst_error err = PST_ERROR_INIT;

	(void) state;
	return psti_options_new(NULL, NULL, PSTI_SOURCE, NULL, &options, &err) == PST_OK ? 0 : -1;
}

static int
free_options(void **state)
{
	(void) state;
	psti_options_free(options);
	return 0;
}

static psti_conn *
opened(const fake_pq_step *script, size_t n, pst_error *err)
{
	psti_conn *conn;

	psti_enter(err);
	fake_pq_begin(script, n);
	assert_ok(psti_conn_open(options, NULL, NULL, &conn, err), err);
	return conn;
}

static void
closed(psti_conn *conn)
{
	psti_conn_close(conn);
	fake_pq_end();
}

static void
the_probe_fills_the_capabilities_in_one_round_trip(void **state)
{
	static const fake_pq_step script[] = {OPENED};
	pst_error err;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);
	const psti_caps *caps = psti_conn_caps(conn);

	(void) state;
	assert_string_equal(caps->database, "shop");
	assert_string_equal(caps->role, "joe");
	assert_false(caps->in_recovery);
	assert_true(caps->temp_tables);
	assert_string_equal(caps->system_identifier, "7");
	assert_string_equal(caps->extension_version, "");
	assert_false(caps->scan);
	assert_int_equal(caps->server_version, 150000);
	closed(conn);
}

static void
what_the_extension_can_is_part_of_the_capabilities(void **state)
{
	static const fake_pq_step usable[] = {FAKE_CONNECT(NULL), FAKE_QUERY(PROBE),
										  PROBED_WITH("0.1", "usable"), FAKE_NO_RESULT};
	static const fake_pq_step denied[] = {FAKE_CONNECT(NULL), FAKE_QUERY(PROBE),
										  PROBED_WITH("0.1", "denied"), FAKE_NO_RESULT};
	static const fake_pq_step other[] = {FAKE_CONNECT(NULL), FAKE_QUERY(PROBE),
										 PROBED_WITH("9.9", "\\N"), FAKE_NO_RESULT};
	static const fake_pq_step *const scripts[] = {usable, denied, other};
	pst_error err;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		psti_conn *conn = opened(scripts[i], FAKE_LENGTH(usable), &err);
		const psti_caps *caps = psti_conn_caps(conn);

		assert_string_equal(caps->extension_version, i == 2 ? "9.9" : "0.1");
		assert_int_equal(caps->scan, i == 0);
		assert_int_equal(caps->scan_denied, i == 1);
		closed(conn);
	}
}

static void
a_role_that_may_not_see_the_identifier_is_asked_without_it(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),
		FAKE_QUERY("*pg_control_system"),
		FAKE_ERROR("42501", "permission denied for function pg_control_system"),
		FAKE_NO_RESULT,
		FAKE_QUERY("*LIMIT 1), NULL"),
		PROBED,
		FAKE_NO_RESULT,
	};
	pst_error err;

	(void) state;
	closed(opened(script, FAKE_LENGTH(script), &err));
}

static void
a_refused_login_has_the_servers_sqlstate(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),
		{.call = "PQconnectPoll",
		 .fails = "connection to server at \"h\" (::1), port 5432 failed: FATAL:  28P01: password "
				  "authentication failed for user \"joe\"\nLOCATION:  auth_failed, auth.c:335\n",
		 .lost = true},
	};
	psti_conn *conn;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	assert_fails(psti_conn_open(options, NULL, NULL, &conn, &err), PST_ERR_AUTH, &err);
	assert_null(conn);
	assert_string_equal(err.sqlstate, "28P01");
	assert_false(err.retryable);
	assert_string_equal(err.message,
						"cannot connect: password authentication failed for user \"joe\"");
	fake_pq_end();
}

static void
a_server_that_cannot_be_reached_may_be_tried_again(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),
		{.call = "PQconnectPoll", .fails = "Connection refused\n", .lost = true},
	};
	psti_conn *conn;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	assert_fails(psti_conn_open(options, NULL, NULL, &conn, &err), PST_ERR_CONNECTION, &err);
	assert_true(err.retryable);
	fake_pq_end();
}

static void
a_server_older_than_9_6_is_refused_by_name(void **state)
{
	static const fake_pq_step script[] = {OPENED};
	psti_conn *conn;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	fake_pq_server_version(90500);
	assert_fails(psti_conn_open(options, NULL, NULL, &conn, &err), PST_ERR_UNSUPPORTED, &err);
	assert_contains(err.message, "9.5");
	assert_contains(err.hint, "9.6");
	fake_pq_end();
}

static void
a_server_error_keeps_the_connection_and_names_its_parts(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY("INSERT"),
		{.call = "PQgetResult",
		 .result = true,
		 .status = PGRES_FATAL_ERROR,
		 .sqlstate = "23505",
		 .message = "duplicate key",
		 .detail = "Key (a)=(1) already exists.",
		 .schema = "s",
		 .table = "t",
		 .constraint = "t_pkey"},
		FAKE_NO_RESULT,
		FAKE_QUERY("SELECT 1"),
		FAKE_ROWS("a:23\n1"),
		FAKE_NO_RESULT,
	};
	pst_error err;
	PGresult *result;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_fails(psti_conn_exec(conn, "writing", "INSERT", NULL, &err), PST_ERR_CONSTRAINT, &err);
	assert_string_equal(err.message, "writing: duplicate key");
	assert_string_equal(err.detail, "Key (a)=(1) already exists.");
	assert_string_equal(err.schema, "s");
	assert_string_equal(err.table, "t");
	assert_string_equal(err.constraint, "t_pkey");
	assert_true(psti_conn_usable(conn));
	assert_ok(psti_conn_exec(conn, "reading", "SELECT 1", &result, &err), &err);
	assert_string_equal(PQgetvalue(result, 0, 0), "1");
	PQclear(result);
	closed(conn);
}

static void
a_lost_connection_is_named_and_used_no_more(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_FAIL("PQsendQuery", "SELECT 1", "server closed the connection unexpectedly\n"),
	};
	pst_error err;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_fails(psti_conn_exec(conn, "reading", "SELECT 1", NULL, &err), PST_ERR_CONNECTION, &err);
	assert_string_equal(err.sqlstate, "08006");
	assert_true(err.retryable);
	assert_false(psti_conn_usable(conn));
	assert_fails(psti_conn_exec(conn, "reading", "SELECT 1", NULL, &err), PST_ERR_STATE, &err);
	closed(conn);
}

static void
a_flush_that_fails_is_a_lost_connection(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY("SELECT 1"),
		{.call = "PQflush", .fails = "broken pipe\n", .lost = true},
	};
	pst_error err;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_fails(psti_conn_exec(conn, "reading", "SELECT 1", NULL, &err), PST_ERR_CONNECTION, &err);
	closed(conn);
}

static void
copied_data_comes_in_the_order_it_was_sent(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY("COPY t TO STDOUT"),
		FAKE_RESULT(PGRES_COPY_OUT),
		FAKE_LINE("abc"),
		FAKE_LINE("def"),
		FAKE_LINE_LATER,
		FAKE_LINE("g"),
		FAKE_LINE_DONE,
		FAKE_LINE_DONE,
		FAKE_COMMAND("COPY 3"),
		FAKE_NO_RESULT,
	};
	pst_error err;
	psti_buf data = PSTI_BUF_INIT;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_ok(psti_conn_copy_out(conn, "reading", "COPY t TO STDOUT", NULL, &err), &err);
	assert_ok(psti_conn_copy_read(conn, &data, 100, &err), &err);
	assert_string_equal(data.data, "abcdef");
	assert_ok(psti_conn_copy_read(conn, &data, 100, &err), &err);
	assert_string_equal(data.data, "abcdefg");
	assert_int_equal(psti_conn_copy_read(conn, &data, 100, &err), PST_END);
	psti_buf_free(&data);
	closed(conn);
}

static void
an_error_behind_the_data_of_a_copy_is_not_an_end(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY("COPY t TO STDOUT"),
		FAKE_RESULT(PGRES_COPY_OUT),
		FAKE_LINE("abc"),
		FAKE_LINE_DONE,
		FAKE_LINE_DONE,
		FAKE_ERROR("22012", "division by zero"),
		FAKE_NO_RESULT,
	};
	pst_error err;
	psti_buf data = PSTI_BUF_INIT;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_ok(psti_conn_copy_out(conn, "reading", "COPY t TO STDOUT", NULL, &err), &err);
	assert_ok(psti_conn_copy_read(conn, &data, 100, &err), &err);
	assert_fails(psti_conn_copy_read(conn, &data, 100, &err), PST_ERR_DATA, &err);
	assert_true(psti_conn_usable(conn));
	psti_buf_free(&data);
	closed(conn);
}

/* ---- A COPY taken into the caller's memory ---- */

#define COPYING FAKE_QUERY("COPY t TO STDOUT"), FAKE_RESULT(PGRES_COPY_OUT)

static psti_conn *
copying(const fake_pq_step *script, size_t n, pst_error *err)
{
	psti_conn *conn = opened(script, n, err);

	assert_ok(psti_conn_copy_out(conn, "reading", "COPY t TO STDOUT", NULL, err), err);
	return conn;
}

static void
assert_taken(psti_conn *conn, size_t room, const char *want)
{
	pst_error err = PST_ERROR_INIT;
	char bytes[16];
	size_t n = 99;

	memset(bytes, '?', sizeof(bytes));
	assert_ok(psti_conn_copy_take(conn, bytes, room, &n, &err), &err);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(bytes, want, n);
	assert_int_equal(bytes[n], '?');
}

/* Fails without having taken a byte. */
static void
assert_not_taken(psti_conn *conn, pst_status want, pst_error *err)
{
	char bytes[16];
	size_t n = 99;

	*err = (pst_error) PST_ERROR_INIT;
	assert_fails(psti_conn_copy_take(conn, bytes, sizeof(bytes), &n, err), want, err);
	assert_int_equal(n, 0);
}

static void
a_copy_is_taken_in_pieces_of_the_callers_room(void **state)
{
	static const fake_pq_step script[] = {OPENED,		   COPYING,			FAKE_LINE("abcdef"),
										  FAKE_LINE_LATER, FAKE_LINE("gh"), FAKE_LINE_LATER,
										  FAKE_LINE_LATER, FAKE_LINE_DONE,	FAKE_COMMAND("COPY 2"),
										  FAKE_NO_RESULT};
	pst_error err;
	psti_conn *conn = copying(script, FAKE_LENGTH(script), &err);
	char byte;
	size_t n = 99;

	(void) state;
	assert_taken(conn, 1, "a");
	assert_taken(conn, 4, "bcde");
	assert_taken(conn, 8, "f");
	assert_taken(conn, 8, "gh");
	assert_int_equal(psti_conn_copy_take(conn, &byte, 1, &n, &err), PST_END);
	assert_int_equal(n, 0);
	assert_true(psti_conn_usable(conn));
	closed(conn);
}

static void
an_error_behind_taken_data_is_not_an_end(void **state)
{
	static const fake_pq_step script[] = {OPENED,
										  COPYING,
										  FAKE_LINE("abc"),
										  FAKE_LINE_DONE,
										  FAKE_ERROR("22012", "division by zero"),
										  FAKE_NO_RESULT};
	pst_error err;
	psti_conn *conn = copying(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_taken(conn, 8, "abc");
	assert_not_taken(conn, PST_ERR_DATA, &err);
	assert_string_equal(err.message, "reading: division by zero");
	assert_true(psti_conn_usable(conn));
	closed(conn);
}

/* In the middle of a message, while its end is waited for, and at the end. */
static void
a_connection_lost_behind_taken_data_is_no_end(void **state)
{
	static const fake_pq_step waiting[] = {
		OPENED,
		COPYING,
		FAKE_LINE("abc"),
		FAKE_LINE_LATER,
		{.call = "PQconsumeInput", .fails = "connection reset by peer\n", .lost = true}};
	static const fake_pq_step fatal[] = {OPENED,
										 COPYING,
										 FAKE_LINE("abc"),
										 FAKE_LINE_DONE,
										 {.call = "PQgetResult",
										  .result = true,
										  .status = PGRES_FATAL_ERROR,
										  .fails = "server closed the connection unexpectedly\n",
										  .lost = true}};
	static const fake_pq_step silent[] = {OPENED, COPYING, FAKE_LINE("abc"), FAKE_LINE_DONE,
										  FAKE_NO_RESULT};
	static const struct
	{
		const fake_pq_step *script;
		size_t n;
	} ways[] = {{waiting, FAKE_LENGTH(waiting)},
				{fatal, FAKE_LENGTH(fatal)},
				{silent, FAKE_LENGTH(silent)}};

	(void) state;
	for (size_t i = 0; i < FAKE_LENGTH(ways); i++)
	{
		pst_error err;
		psti_conn *conn = copying(ways[i].script, ways[i].n, &err);

		assert_taken(conn, 8, "abc");
		assert_not_taken(conn, PST_ERR_CONNECTION, &err);
		assert_string_equal(err.sqlstate, "08006");
		assert_true(err.retryable);
		assert_false(psti_conn_usable(conn));
		assert_not_taken(conn, PST_ERR_STATE, &err);
		closed(conn);
	}
}

static void
throw_at_notice(void *ctx, pst_log_level level, const char *message)
{
	(void) level;
	(void) message;
	pst_cancel(ctx);
}

/* Before a byte is asked for, and while bytes are waited for. */
static void
a_thrown_canceller_ends_the_taking(void **state)
{
	static const fake_pq_step before[] = {OPENED, COPYING, FAKE_LINE("abc")};
	static const fake_pq_step waiting[] = {
		OPENED,
		COPYING,
		FAKE_LINE("abc"),
		{.call = "PQgetlineAsync", .value = 0, .has_value = true, .notice = "now"}};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		pst_hooks hooks = PST_HOOKS_INIT;
		pst_error err = PST_ERROR_INIT;
		psti_conn *conn;

		assert_ok(pst_canceller_new(&hooks.canceller, &err), &err);
		hooks.ctx = hooks.canceller;
		hooks.log = throw_at_notice;
		if (i == 0)
			fake_pq_begin(before, FAKE_LENGTH(before));
		else
			fake_pq_begin(waiting, FAKE_LENGTH(waiting));
		assert_ok(psti_conn_open(options, NULL, &hooks, &conn, &err), &err);
		assert_ok(psti_conn_copy_out(conn, "reading", "COPY t TO STDOUT", NULL, &err), &err);
		assert_taken(conn, 8, "abc");
		if (i == 0)
			pst_cancel(hooks.canceller);
		assert_not_taken(conn, PST_ERR_CANCELED, &err);
		assert_string_equal(err.sqlstate, "57014");
		assert_false(psti_conn_usable(conn));
		closed(conn);
		pst_canceller_free(hooks.canceller);
	}
}

static void
a_server_that_falls_silent_is_given_up(void **state)
{
	static const char *const keys[] = {"url", NULL};
	static const char *const values[] = {"jdbc:postgresql://h/shop?socketTimeout=1", NULL};
	static const fake_pq_step script[] = {
		FAKE_CONNECT("*client_encoding=UTF8"),
		FAKE_QUERY(PROBE),
		PROBED,
		FAKE_NO_RESULT,
		COPYING,
		FAKE_LINE("abc"),
		FAKE_LINE_LATER,
		{.call = "PQgetlineAsync", .data = "d", .data_len = 1, .stalled = true}};
	psti_options *impatient;
	psti_conn *conn;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_options_new(keys, values, PSTI_SOURCE, NULL, &impatient, &err), &err);
	fake_pq_begin(script, FAKE_LENGTH(script));
	assert_ok(psti_conn_open(impatient, NULL, NULL, &conn, &err), &err);
	assert_ok(psti_conn_copy_out(conn, "reading", "COPY t TO STDOUT", NULL, &err), &err);
	assert_taken(conn, 8, "abc");
	assert_not_taken(conn, PST_ERR_TIMEOUT, &err);
	assert_contains(err.message, "socketTimeout");
	assert_false(psti_conn_usable(conn));
	psti_conn_close(conn);
	fake_pq_abandon();
	psti_options_free(impatient);
}

/* What is left of the message goes with the rest. */
static void
a_copy_abandoned_within_a_message_leaves_the_connection_usable(void **state)
{
	static const fake_pq_step script[] = {OPENED,
										  COPYING,
										  FAKE_LINE("abcdef"),
										  {.call = "PQgetCancel"},
										  FAKE_LINE("gh"),
										  FAKE_LINE_DONE,
										  FAKE_LINE_DONE,
										  FAKE_ERROR("57014", "canceling statement"),
										  FAKE_NO_RESULT,
										  FAKE_QUERY("SELECT 1"),
										  FAKE_COMMAND("SELECT 1"),
										  FAKE_NO_RESULT};
	pst_error err;
	psti_conn *conn = copying(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_taken(conn, 2, "ab");
	assert_ok(psti_conn_copy_abandon(conn, &err), &err);
	assert_true(psti_conn_usable(conn));
	assert_ok(psti_conn_exec(conn, "reading", "SELECT 1", NULL, &err), &err);
	closed(conn);
}

static void
a_copy_in_reports_the_servers_error_at_its_end(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY("COPY t FROM STDIN"),
		FAKE_RESULT(PGRES_COPY_IN),
		FAKE_COPY_PUT("x\n"),
		{.call = "PQputCopyEnd"},
		FAKE_ERROR("22P02", "invalid input syntax"),
		FAKE_NO_RESULT,
	};
	pst_error err;
	PGresult *result;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_ok(psti_conn_copy_in(conn, "writing", "COPY t FROM STDIN", &err), &err);
	assert_ok(psti_conn_copy_put(conn, "x\n", 2, &err), &err);
	assert_fails(psti_conn_copy_end(conn, &result, &err), PST_ERR_DATA, &err);
	assert_null(result);
	closed(conn);
}

static void
a_put_that_fails_tells_why_the_server_gave_up(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY("COPY t FROM STDIN"),
		FAKE_RESULT(PGRES_COPY_IN),
		{.call = "PQputCopyData", .fails = "no COPY in progress\n"},
		FAKE_ERROR("57014", "canceling statement due to user request"),
		FAKE_NO_RESULT,
	};
	pst_error err;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_ok(psti_conn_copy_in(conn, "writing", "COPY t FROM STDIN", &err), &err);
	assert_fails(psti_conn_copy_put(conn, "x\n", 2, &err), PST_ERR_CANCELED, &err);
	closed(conn);
}

#define STEPS 3

static const psti_step steps[STEPS] = {
	{.what = "beginning", .sql = "BEGIN"},
	{.what = "writing", .sql = "INSERT"},
	{.what = "committing", .sql = "COMMIT"},
};

static void
a_pipeline_gives_each_step_its_result(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY_PARAMS("BEGIN", NULL),
		FAKE_QUERY_PARAMS("INSERT", NULL),
		FAKE_QUERY_PARAMS("COMMIT", NULL),
		{.call = "PQpipelineSync"},
		FAKE_COMMAND("BEGIN"),
		FAKE_NO_RESULT,
		FAKE_COMMAND("INSERT 0 5"),
		FAKE_NO_RESULT,
		FAKE_COMMAND("COMMIT"),
		FAKE_NO_RESULT,
		FAKE_RESULT(PGRES_PIPELINE_SYNC),
	};
	pst_error err;
	PGresult *results[STEPS];
	int failed;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_ok(psti_conn_pipeline(conn, steps, STEPS, results, &failed, &err), &err);
	assert_int_equal(failed, -1);
	assert_string_equal(PQcmdTuples(results[1]), "5");
	for (int i = 0; i < STEPS; i++)
		PQclear(results[i]);
	closed(conn);
}

static void
a_pipeline_names_its_first_failed_step_and_stays_usable(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY_PARAMS("BEGIN", NULL),
		FAKE_QUERY_PARAMS("INSERT", NULL),
		FAKE_QUERY_PARAMS("COMMIT", NULL),
		{.call = "PQpipelineSync"},
		FAKE_COMMAND("BEGIN"),
		FAKE_NO_RESULT,
		FAKE_ERROR("23505", "duplicate key"),
		FAKE_NO_RESULT,
		FAKE_RESULT(PGRES_PIPELINE_ABORTED),
		FAKE_NO_RESULT,
		FAKE_RESULT(PGRES_PIPELINE_SYNC),
	};
	pst_error err;
	PGresult *results[STEPS];
	int failed;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_fails(psti_conn_pipeline(conn, steps, STEPS, results, &failed, &err), PST_ERR_CONSTRAINT,
				 &err);
	assert_int_equal(failed, 1);
	assert_string_equal(err.message, "writing: duplicate key");
	assert_non_null(results[0]);
	assert_null(results[1]);
	assert_null(results[2]);
	assert_true(psti_conn_usable(conn));
	PQclear(results[0]);
	closed(conn);
}

static void
a_connection_lost_in_a_pipeline_is_not_taken_for_success(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_QUERY_PARAMS("BEGIN", NULL),
		FAKE_QUERY_PARAMS("INSERT", NULL),
		FAKE_QUERY_PARAMS("COMMIT", NULL),
		{.call = "PQpipelineSync"},
		FAKE_COMMAND("BEGIN"),
		FAKE_NO_RESULT,
		{.call = "PQgetResult",
		 .result = true,
		 .status = PGRES_FATAL_ERROR,
		 .fails = "server closed the connection unexpectedly\n",
		 .lost = true},
	};
	pst_error err;
	PGresult *results[STEPS];
	int failed;
	psti_conn *conn = opened(script, FAKE_LENGTH(script), &err);

	(void) state;
	assert_fails(psti_conn_pipeline(conn, steps, STEPS, results, &failed, &err), PST_ERR_CONNECTION,
				 &err);
	assert_false(psti_conn_usable(conn));
	for (int i = 0; i < STEPS; i++)
		PQclear(results[i]);
	closed(conn);
}

static void
a_thrown_canceller_stops_before_anything_is_sent(void **state)
{
	static const fake_pq_step script[] = {OPENED};
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_error err = PST_ERROR_INIT;
	psti_conn *conn;

	(void) state;
	assert_ok(pst_canceller_new(&hooks.canceller, &err), &err);
	fake_pq_begin(script, FAKE_LENGTH(script));
	assert_ok(psti_conn_open(options, NULL, &hooks, &conn, &err), &err);
	assert_false(pst_canceller_thrown(hooks.canceller));
	pst_cancel(hooks.canceller);
	assert_true(pst_canceller_thrown(hooks.canceller));
	assert_fails(psti_conn_exec(conn, "reading", "SELECT 1", NULL, &err), PST_ERR_CANCELED, &err);
	assert_fails(psti_conn_pause(&hooks, 10000, &err), PST_ERR_CANCELED, &err);
	closed(conn);
	pst_canceller_free(hooks.canceller);
}

static pst_status
open_and_ask(void *ctx, pst_error *err)
{
	static const fake_pq_step script[] = {OPENED, FAKE_QUERY("SELECT 1"), FAKE_COMMAND("SELECT 1"),
										  FAKE_NO_RESULT};
	psti_conn *conn = NULL;
	pst_status status;

	(void) ctx;
	fake_pq_begin(script, FAKE_LENGTH(script));
	status = psti_conn_open(options, NULL, NULL, &conn, err);
	if (status == PST_OK)
		status = psti_conn_exec(conn, "reading", "SELECT 1", NULL, err);
	psti_conn_close(conn);
	fake_pq_abandon();
	return status;
}

static void
every_failing_allocation_is_reported(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(open_and_ask, NULL) > 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_probe_fills_the_capabilities_in_one_round_trip),
		cmocka_unit_test(what_the_extension_can_is_part_of_the_capabilities),
		cmocka_unit_test(a_role_that_may_not_see_the_identifier_is_asked_without_it),
		cmocka_unit_test(a_refused_login_has_the_servers_sqlstate),
		cmocka_unit_test(a_server_that_cannot_be_reached_may_be_tried_again),
		cmocka_unit_test(a_server_older_than_9_6_is_refused_by_name),
		cmocka_unit_test(a_server_error_keeps_the_connection_and_names_its_parts),
		cmocka_unit_test(a_lost_connection_is_named_and_used_no_more),
		cmocka_unit_test(a_flush_that_fails_is_a_lost_connection),
		cmocka_unit_test(copied_data_comes_in_the_order_it_was_sent),
		cmocka_unit_test(an_error_behind_the_data_of_a_copy_is_not_an_end),
		cmocka_unit_test(a_copy_is_taken_in_pieces_of_the_callers_room),
		cmocka_unit_test(an_error_behind_taken_data_is_not_an_end),
		cmocka_unit_test(a_connection_lost_behind_taken_data_is_no_end),
		cmocka_unit_test(a_thrown_canceller_ends_the_taking),
		cmocka_unit_test(a_server_that_falls_silent_is_given_up),
		cmocka_unit_test(a_copy_abandoned_within_a_message_leaves_the_connection_usable),
		cmocka_unit_test(a_copy_in_reports_the_servers_error_at_its_end),
		cmocka_unit_test(a_put_that_fails_tells_why_the_server_gave_up),
		cmocka_unit_test(a_pipeline_gives_each_step_its_result),
		cmocka_unit_test(a_pipeline_names_its_first_failed_step_and_stays_usable),
		cmocka_unit_test(a_connection_lost_in_a_pipeline_is_not_taken_for_success),
		cmocka_unit_test(a_thrown_canceller_stops_before_anything_is_sent),
		cmocka_unit_test(every_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, make_options, free_options);
}
