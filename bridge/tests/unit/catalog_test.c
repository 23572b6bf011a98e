/* catalog_test.c - the catalog against answers of a scripted server: hostile, lost, short of memory. */
#include "test.h"

#include "alloc.h"
#include "catalog.h"
#include "fake_libpq.h"

#define OPENED                                                                                     \
	FAKE_CONNECT("*client_encoding=UTF8"), FAKE_QUERY("*pg_postmaster_start_time"),                \
		FAKE_ROWS(                                                                                 \
			"db:19|role:19|recovery:16|super:16|temp:16|enc:19|start:25|ext:25|scan:16|id:20\n"    \
			"shop|joe|f|f|t|UTF8|2026-01-01|\\N|\\N|7"),                                           \
		FAKE_NO_RESULT

#define ASKED(part)                                                                                \
	FAKE_QUERY_PARAMS("*'pg_catalog, pg_temp'", NULL), FAKE_QUERY_PARAMS(part, NULL),              \
		{.call = "PQpipelineSync"}, FAKE_ROWS("set_config:25\nx"), FAKE_NO_RESULT

#define RESOLVED(row)                                                                              \
	FAKE_QUERY_PARAMS("*to_regclass", NULL), FAKE_QUERY_PARAMS("*'jit', 'off'", NULL),             \
		FAKE_QUERY_PARAMS("*json_to_recordset", NULL), {.call = "PQpipelineSync"},                 \
		FAKE_ROWS("oid:26|sqlstate|message|hint|stored\n" row), FAKE_NO_RESULT,                    \
		FAKE_ROWS("set_config|set_config\nx|off"), FAKE_NO_RESULT

#define DONE FAKE_NO_RESULT, FAKE_RESULT(PGRES_PIPELINE_SYNC)

/* Opens with a script that begins with OPENED. */
static pst_catalog *
opened(const fake_pq_step *script, size_t n)
{
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog;

	fake_pq_begin(script, n);
	assert_ok(pst_catalog_open(NULL, NULL, NULL, &catalog, &err), &err);
	return catalog;
}

static void
closed(pst_catalog *catalog)
{
	pst_catalog_close(catalog);
	fake_pq_end();
}

static void
names_become_json_and_warnings_do_not(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		ASKED("*pg_database"),
		FAKE_ROWS(
			"database|sqlstate|message|hint\na \"b\"|\\N|\\N|\\N\nx|01000|is absent|\nc|\\N|\\N|"
			"\\N"),
		DONE,
	};
	pst_catalog *catalog = opened(script, FAKE_LENGTH(script));
	pst_error err = PST_ERROR_INIT;
	char *json;

	(void) state;
	assert_ok(pst_catalog_databases(catalog, &json, &err), &err);
	assert_string_equal(json, "[\"a \\\"b\\\"\",\"c\"]");
	pst_free(json);
	closed(catalog);
}

static void
a_row_with_a_sqlstate_is_the_error(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		ASKED("*pg_class"),
		FAKE_ROWS(
			"relation|sqlstate|message|hint\n\\N|3F000|schema \"x\" does not exist|There is y."),
		DONE,
	};
	pst_catalog *catalog = opened(script, FAKE_LENGTH(script));
	pst_error err = PST_ERROR_INIT;
	char *json = (char *) &err;

	(void) state;
	assert_fails(pst_catalog_tables(catalog, "x", &json, &err), PST_ERR_NOT_FOUND, &err);
	assert_null(json);
	assert_string_equal(err.hint, "There is y.");
	closed(catalog);
}

static void
an_answer_with_too_few_columns_is_a_protocol_error(void **state)
{
	static const fake_pq_step databases[] = {
		OPENED,
		ASKED("*pg_database"),
		FAKE_ROWS("database\nx"),
		DONE,
	};
	static const fake_pq_step resolved[] = {
		OPENED,
		FAKE_QUERY_PARAMS("*to_regclass", NULL),
		FAKE_QUERY_PARAMS("*'jit', 'off'", NULL),
		FAKE_QUERY_PARAMS("*json_to_recordset", NULL),
		{.call = "PQpipelineSync"},
		FAKE_ROWS("oid\n1"),
		FAKE_NO_RESULT,
		FAKE_ROWS("set_config\nx"),
		FAKE_NO_RESULT,
		FAKE_ROWS("describe\n{}"),
		DONE,
	};
	pst_catalog *catalog = opened(databases, FAKE_LENGTH(databases));
	pst_error err = PST_ERROR_INIT;
	char *json;

	(void) state;
	assert_fails(pst_catalog_databases(catalog, &json, &err), PST_ERR_PROTOCOL, &err);
	closed(catalog);
	catalog = opened(resolved, FAKE_LENGTH(resolved));
	assert_fails(pst_catalog_describe(catalog, "t", &json, &err), PST_ERR_PROTOCOL, &err);
	closed(catalog);
}

static void
a_description_that_is_no_json_is_named(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		RESOLVED("7|\\N|\\N|\\N|7"),
		FAKE_ROWS("describe\n{\"name\":"),
		DONE,
	};
	static const fake_pq_step other[] = {
		OPENED,
		RESOLVED("7|\\N|\\N|\\N|7"),
		FAKE_ROWS("describe\n{\"name\":1,\"columns\":{}}"),
		DONE,
	};
	pst_catalog *catalog = opened(script, FAKE_LENGTH(script));
	pst_error err = PST_ERROR_INIT;
	char *ddl;

	(void) state;
	assert_fails(pst_catalog_flink_ddl(catalog, "t", &ddl, &err), PST_ERR_DATA, &err);
	assert_contains(err.message, "not json");
	closed(catalog);
	catalog = opened(other, FAKE_LENGTH(other));
	assert_fails(pst_catalog_flink_ddl(catalog, "t", &ddl, &err), PST_ERR_DATA, &err);
	closed(catalog);
}

/* What a server says that prints the parts of a relation which another session drops. */
#define DROPPED                                                                                    \
	RESOLVED("7|\\N|\\N|\\N|7"), FAKE_ERROR("XX000", "could not open relation with OID 7"), DONE

static void
a_table_dropped_while_it_is_described_is_asked_for_again(void **state)
{
	static const fake_pq_step script[] = {
		OPENED, DROPPED, RESOLVED("7|\\N|\\N|\\N|7"), FAKE_ROWS("describe\n{\"name\":1}"), DONE,
	};
	static const fake_pq_step always[] = {OPENED, DROPPED, DROPPED, DROPPED, DROPPED, DROPPED};
	pst_catalog *catalog = opened(script, FAKE_LENGTH(script));
	pst_error err = PST_ERROR_INIT;
	char *json;

	(void) state;
	assert_ok(pst_catalog_describe(catalog, "t", &json, &err), &err);
	assert_string_equal(json, "{\"name\":1}");
	pst_free(json);
	closed(catalog);
	catalog = opened(always, FAKE_LENGTH(always));
	assert_fails(pst_catalog_describe(catalog, "t", &json, &err), PST_ERR_SERVER, &err);
	assert_string_equal(err.sqlstate, "XX000");
	closed(catalog);
}

static void
a_table_dropped_between_name_and_answer_is_not_found(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		RESOLVED("7|\\N|\\N|\\N|7"),
		FAKE_ROWS("describe"),
		DONE,
	};
	pst_catalog *catalog = opened(script, FAKE_LENGTH(script));
	pst_error err = PST_ERROR_INIT;
	char *json;

	(void) state;
	assert_fails(pst_catalog_describe(catalog, "t", &json, &err), PST_ERR_NOT_FOUND, &err);
	assert_null(json);
	closed(catalog);
}

static void
a_lost_connection_is_made_anew_once_and_only_once(void **state)
{
	static const fake_pq_step lost_once[] = {
		OPENED,
		FAKE_FAIL("PQsendQueryParams", NULL, "server closed the connection unexpectedly\n"),
		OPENED,
		ASKED("*pg_namespace"),
		FAKE_ROWS("schema\npublic"),
		DONE,
	};
	static const fake_pq_step lost_twice[] = {
		OPENED,
		FAKE_FAIL("PQsendQueryParams", NULL, "server closed the connection unexpectedly\n"),
		OPENED,
		FAKE_FAIL("PQsendQueryParams", NULL, "server closed the connection unexpectedly\n"),
	};
	pst_catalog *catalog = opened(lost_once, FAKE_LENGTH(lost_once));
	pst_error err = PST_ERROR_INIT;
	char *json;

	(void) state;
	assert_ok(pst_catalog_schemas(catalog, &json, &err), &err);
	assert_string_equal(json, "[\"public\"]");
	pst_free(json);
	closed(catalog);
	catalog = opened(lost_twice, FAKE_LENGTH(lost_twice));
	assert_fails(pst_catalog_schemas(catalog, &json, &err), PST_ERR_CONNECTION, &err);
	assert_null(json);
	closed(catalog);
}

static void
a_statement_that_changes_something_is_not_sent_twice(void **state)
{
	static const fake_pq_step script[] = {
		OPENED,
		FAKE_FAIL("PQsendQuery", "CREATE DATABASE \"x\"", "server closed the connection\n"),
	};
	pst_catalog *catalog = opened(script, FAKE_LENGTH(script));
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_fails(pst_catalog_create_database(catalog, "x", &err), PST_ERR_CONNECTION, &err);
	closed(catalog);
}

/* Opens, describes, makes DDL of it and closes: every allocation of that path. */
static pst_status
open_and_ask(void *ctx, pst_error *err)
{
	static const fake_pq_step script[] = {
		OPENED,
		RESOLVED("7|\\N|\\N|\\N|7"),
		FAKE_ROWS("describe\n{\"name\":\"t\",\"qualified\":\"s.t\",\"columns\":[{\"name\":\"a\","
				  "\"flink\":\"INT\"}]}"),
		DONE,
	};
	pst_catalog *catalog = NULL;
	char *ddl = NULL;
	pst_status status;

	(void) ctx;
	fake_pq_begin(script, FAKE_LENGTH(script));
	status = pst_catalog_open(NULL, NULL, NULL, &catalog, err);
	if (status == PST_OK)
		status = pst_catalog_flink_ddl(catalog, "t", &ddl, err);
	pst_free(ddl);
	pst_catalog_close(catalog);
	fake_pq_abandon();
	return status;
}

static void
every_failing_allocation_is_reported_and_leaks_nothing(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(open_and_ask, NULL) > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_become_json_and_warnings_do_not),
		cmocka_unit_test(a_row_with_a_sqlstate_is_the_error),
		cmocka_unit_test(an_answer_with_too_few_columns_is_a_protocol_error),
		cmocka_unit_test(a_description_that_is_no_json_is_named),
		cmocka_unit_test(a_table_dropped_while_it_is_described_is_asked_for_again),
		cmocka_unit_test(a_table_dropped_between_name_and_answer_is_not_found),
		cmocka_unit_test(a_lost_connection_is_made_anew_once_and_only_once),
		cmocka_unit_test(a_statement_that_changes_something_is_not_sent_twice),
		cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
