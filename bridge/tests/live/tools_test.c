/* tools_test.c - the live tests' own tools in C. */
#include "test.h"

#include "live.h"

static void
the_database_is_empty_and_its_own(void **state)
{
	PGconn *conn = live_connect("");

	(void) state;
	assert_string_equal(PQdb(conn), getenv("PGDATABASE"));
	assert_int_equal(
		live_int(conn, "SELECT count(*) FROM pg_tables WHERE schemaname = '%s'", "public"), 0);
	assert_null(live_value(conn, "SELECT NULL"));
	PQfinish(conn);
}

static void
the_proxy_cuts_where_it_is_told(void **state)
{
	static const char *const rules[] = {"server:type=D:cut", NULL};
	live_proxy proxy;
	PGconn *conn;
	PGresult *result;
	char *report;

	(void) state;
	live_proxy_start(&proxy, rules);
	conn = live_connect(proxy.conninfo);
	result = PQexec(conn, "SELECT 1");
	assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
	PQclear(result);
	PQfinish(conn);
	report = live_proxy_stop(&proxy);
	assert_contains(report, "\"fired\": [\"server:type=D:cut\"]");
	free(report);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_database_is_empty_and_its_own),
		cmocka_unit_test(the_proxy_cuts_where_it_is_told),
	};

	return cmocka_run_group_tests(tests, live_make_database, live_drop_database);
}
