/* testlib_test.c - the unit tests' own tools: failing allocations and the scripted libpq. */
#include "test.h"

#include "alloc.h"
#include "fake_libpq.h"

#include <poll.h>
#include <unistd.h>

/* ---- failing allocations ------------------------------------------------------------------- */

/* Keeps the compiler from leaving out an allocation that nobody looks at. */
static void *
opaque(void *ptr)
{
	void *volatile hidden = ptr;

	return hidden;
}

static pst_status
nomem(pst_error *err)
{
	err->status = PST_ERR_NOMEM;
	return PST_ERR_NOMEM;
}

static pst_status
three_allocations(void *ctx, pst_error *err)
{
	char *a = opaque(malloc(8)), *b = a == NULL ? NULL : strdup(a == NULL ? "" : "text");
	char *c = b == NULL ? NULL : realloc(b, 4096);

	(void) ctx;
	if (c != NULL)
		b = NULL;
	free(a);
	free(b);
	free(c);
	return c == NULL ? nomem(err) : PST_OK;
}

static void
sweep_fails_each_allocation_once(void **state)
{
	(void) state;
	assert_int_equal(psti_test_alloc_sweep(three_allocations, NULL), 3);
}

static void
sweep_reaches_every_wrapped_function(void **state)
{
	char *text = NULL;

	(void) state;
	test_alloc_fail_at(1);
	assert_null(opaque(malloc(1)));
	assert_true(test_alloc_failed());
	test_alloc_fail_at(1);
	assert_null(opaque(calloc(1, 1)));
	test_alloc_fail_at(1);
	assert_null(opaque(strndup("abc", 2)));
	test_alloc_fail_at(1);
	assert_int_equal(asprintf(&text, "%d", 1), -1);
	test_alloc_fail_at(2);
	assert_int_equal(asprintf(&text, "%d", 1), 1);
	assert_int_equal(test_alloc_live(), 1);
	free(text);
	assert_int_equal(test_alloc_live(), 0);
	assert_false(test_alloc_failed());
}

static void
leaks_are_counted_through_growth_of_the_set(void **state)
{
	static void *many[5000];

	(void) state;
	test_alloc_fail_at(0);
	for (size_t i = 0; i < 5000; i++)
		many[i] = malloc(i % 64 + 1);
	assert_int_equal(test_alloc_live(), 5000);
	for (size_t i = 0; i < 5000; i++)
		free(many[i]);
	assert_int_equal(test_alloc_live(), 0);
	assert_false(test_alloc_failed());
}

/* ---- the scripted libpq -------------------------------------------------------------------- */

static PGconn *
connect_fake(void)
{
	const char *keys[] = {"host", "port", "user", NULL};
	const char *values[] = {"db", NULL, "me", NULL};
	PGconn *conn = PQconnectStartParams(keys, values, 0);

	assert_int_equal(PQconnectPoll(conn), PGRES_POLLING_OK);
	assert_int_equal(PQstatus(conn), CONNECTION_OK);
	return conn;
}

static void
a_script_is_played_in_order(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT("host=db user=me"),
		FAKE_QUERY_PARAMS("SELECT $1, $2, $3", "a|\\N|\\x00FF"),
		FAKE_ROWS("id:20|name\n1|x\\py\n2|\\N\n|"),
		FAKE_NO_RESULT,
	};
	const char *params[] = {"a", NULL, "\0\xff"};
	int lengths[] = {0, 0, 2}, formats[] = {0, 0, 1};
	PGconn *conn;
	PGresult *result;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	conn = connect_fake();
	assert_int_equal(
		PQsendQueryParams(conn, "SELECT $1, $2, $3", 3, NULL, params, lengths, formats, 0), 1);
	assert_int_equal(PQisBusy(conn), 0);
	result = PQgetResult(conn);
	assert_int_equal(PQntuples(result), 3);
	assert_int_equal(PQnfields(result), 2);
	assert_int_equal(PQftype(result, 0), 20);
	assert_string_equal(PQfname(result, 1), "name");
	assert_string_equal(PQgetvalue(result, 0, 1), "x|y");
	assert_true(PQgetisnull(result, 1, 1));
	assert_string_equal(PQgetvalue(result, 2, 0), "");
	assert_string_equal(PQgetvalue(result, 2, 1), "");
	PQclear(result);
	assert_null(PQgetResult(conn));
	PQfinish(conn);
	fake_pq_end();
}

static void
an_error_result_carries_its_fields(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),
		FAKE_QUERY("*INTO t"),
		{.call = "PQgetResult",
		 .result = true,
		 .status = PGRES_FATAL_ERROR,
		 .sqlstate = "23505",
		 .message = "duplicate key",
		 .constraint = "t_pkey"},
	};
	PGconn *conn;
	PGresult *result;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	conn = connect_fake();
	assert_int_equal(PQsendQuery(conn, "INSERT INTO t VALUES (1)"), 1);
	result = PQgetResult(conn);
	assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
	assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "23505");
	assert_string_equal(PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME), "t_pkey");
	assert_null(PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
	PQclear(result);
	PQfinish(conn);
	fake_pq_end();
}

static void
a_lost_connection_stays_lost(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),
		FAKE_FAIL("PQsendQuery", "COMMIT", "server closed the connection"),
	};
	PGconn *conn;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	conn = connect_fake();
	assert_int_equal(PQsendQuery(conn, "COMMIT"), 0);
	assert_string_equal(PQerrorMessage(conn), "server closed the connection\n");
	assert_int_equal(PQstatus(conn), CONNECTION_BAD);
	assert_int_equal(PQsocket(conn), -1);
	PQfinish(conn);
	fake_pq_end();
}

static void
copy_data_goes_both_ways(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),	   FAKE_COPY_PUT("a\0b"), {.call = "PQputCopyEnd"},
		FAKE_COPY_GET("\0\n"), FAKE_COPY_LATER,		  FAKE_COPY_DONE,
	};
	PGconn *conn;
	char *data;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	conn = connect_fake();
	assert_int_equal(PQputCopyData(conn, "a\0b", 3), 1);
	assert_int_equal(PQputCopyEnd(conn, NULL), 1);
	assert_int_equal(PQgetCopyData(conn, &data, 1), 2);
	assert_memory_equal(data, "\0\n", 3);
	PQfreemem(data);
	assert_int_equal(PQgetCopyData(conn, &data, 1), 0);
	assert_int_equal(PQgetCopyData(conn, &data, 1), -1);
	PQfinish(conn);
	fake_pq_end();
}

static int
readable(PGconn *conn)
{
	struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};

	return poll(&fd, 1, 0);
}

static void
busy_and_stalled_steps_hold_the_reader(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),
		{.call = "PQgetResult", .busy = 2},
		{.call = "PQgetCancel", .stalled = true},
		{.call = "PQcancel"},
	};
	PGconn *conn;
	PGcancel *cancel;
	char why[64];

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	conn = connect_fake();
	assert_int_equal(readable(conn), 1);
	assert_int_equal(PQisBusy(conn), 1);
	assert_int_equal(PQisBusy(conn), 1);
	assert_int_equal(PQisBusy(conn), 0);
	assert_null(PQgetResult(conn));
	assert_int_equal(readable(conn), 0);
	cancel = PQgetCancel(conn);
	assert_int_equal(readable(conn), 1);
	assert_int_equal(PQcancel(cancel, why, sizeof(why)), 1);
	PQfreeCancel(cancel);
	PQfinish(conn);
	fake_pq_end();
}

static void
take_notice(void *arg, const PGresult *result)
{
	snprintf(arg, 64, "%s", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

static void
notices_reach_the_receiver(void **state)
{
	static const fake_pq_step script[] = {
		FAKE_CONNECT(NULL),
		{.call = "PQgetResult", .notice = "careful"},
	};
	char notice[64] = "";
	PGconn *conn;

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	conn = connect_fake();
	PQsetNoticeReceiver(conn, take_notice, notice);
	assert_null(PQgetResult(conn));
	assert_string_equal(notice, "careful");
	PQfinish(conn);
	fake_pq_end();
}

/* ---- what must fail, fails: in a child program's tests, whose outcome is looked at ----------- */

static void
wrong_sql(void **state)
{
	static const fake_pq_step script[] = {FAKE_QUERY("SELECT 1")};

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	PQsendQuery(NULL, "SELECT 2");
}

static void
wrong_order(void **state)
{
	static const fake_pq_step script[] = {FAKE_QUERY("SELECT 1"), FAKE_NO_RESULT};

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	PQgetResult(NULL);
}

static void
beyond_the_end(void **state)
{
	(void) state;
	fake_pq_begin(NULL, 0);
	PQsendQuery(NULL, "SELECT 1");
}

static void
left_over(void **state)
{
	static const fake_pq_step script[] = {FAKE_NO_RESULT};

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	fake_pq_end();
}

static void
uncleared(void **state)
{
	static const fake_pq_step script[] = {FAKE_ROWS("a")};

	(void) state;
	fake_pq_begin(script, FAKE_LENGTH(script));
	if (PQgetResult(NULL) != NULL)
		fake_pq_end();
}

static pst_status
leaks(void *ctx, pst_error *err)
{
	char **keep = ctx;

	(void) err;
	free(*keep);
	*keep = malloc(1);
	return *keep == NULL ? nomem(err) : PST_OK;
}

static void
leak(void **state)
{
	static char *keep;

	(void) state;
	psti_test_alloc_sweep(leaks, &keep);
}

static pst_status
hides(void *ctx, pst_error *err)
{
	(void) ctx;
	(void) err;
	free(opaque(malloc(1)));
	return PST_OK;
}

static void
hidden_failure(void **state)
{
	(void) state;
	psti_test_alloc_sweep(hides, NULL);
}

static const struct CMUnitTest must_fail[] = {
	cmocka_unit_test(wrong_sql),	  cmocka_unit_test(wrong_order),
	cmocka_unit_test(beyond_the_end), cmocka_unit_test(left_over),
	cmocka_unit_test(uncleared),	  cmocka_unit_test(leak),
	cmocka_unit_test(hidden_failure),
};

static void
every_deviation_fails_its_test(void **state)
{
	char self[512], command[700], line[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t failed = 0;
	FILE *output;

	(void) state;
	assert_true(len > 0);
	self[len] = '\0';
	snprintf(command, sizeof(command),
			 "ASAN_OPTIONS=detect_leaks=0 CMOCKA_MESSAGE_OUTPUT=TAP '%s' must-fail 2>/dev/null",
			 self);
	output = popen(command, "r");
	assert_non_null(output);
	while (fgets(line, sizeof(line), output) != NULL)
		failed += strncmp(line, "not ok", 6) == 0;
	assert_int_not_equal(pclose(output), 0);
	assert_int_equal(failed, sizeof(must_fail) / sizeof(must_fail[0]));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sweep_fails_each_allocation_once),
		cmocka_unit_test(sweep_reaches_every_wrapped_function),
		cmocka_unit_test(leaks_are_counted_through_growth_of_the_set),
		cmocka_unit_test(a_script_is_played_in_order),
		cmocka_unit_test(an_error_result_carries_its_fields),
		cmocka_unit_test(a_lost_connection_stays_lost),
		cmocka_unit_test(copy_data_goes_both_ways),
		cmocka_unit_test(busy_and_stalled_steps_hold_the_reader),
		cmocka_unit_test(notices_reach_the_receiver),
		cmocka_unit_test(every_deviation_fails_its_test),
	};

	if (argc > 1 && strcmp(argv[1], "must-fail") == 0)
		return cmocka_run_group_tests_name("must fail", must_fail, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
