/* catalog_make_test.c - tables and databases that the catalog makes and drops on a real server. */
#include "catalog_json.h"

static void
a_table_is_made_with_the_types_of_its_metadata_or_its_format(void **state)
{
	static const field fields[] = {
		{"id", "l", "bigint", false},
		{"mood", "u", "public.mood", true},
		{"amount", "d:10,2", "numeric(10,2)", true},
		{"at", "tsu:UTC", "timestamp(3) with time zone", true},
		{"tags", "+l", "text[]", true},
		{"gone", "i", "public.no_such_type", true},
		{"evil", "u", "int); DROP TABLE parent; --", true},
		{"pseudo", "u", "anyelement", true},
		{"plain", "g", NULL, false},
		{"Odd \"name\"", "u", "character varying(7)", true},
	};
	static const char *const types[] = {"bigint",
										"public.mood",
										"numeric(10,2)",
										"timestamp(3) with time zone",
										"text[]",
										"integer",
										"text",
										"text",
										"double precision",
										"character varying(7)"};
	static const char *const key[] = {"id", NULL};
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;
	psti_json *made;

	(void) state;
	make_schema(&schema, fields, 10);
	assert_ok(pst_catalog_create_table(catalog, "public.\"Made\"", &schema, key, 0, NULL, &err),
			  &err);
	made = describe(catalog, "public.\"Made\"");
	for (int i = 0; i < 10; i++)
	{
		const psti_json *c = column(made, fields[i].name);

		assert_string_equal(psti_json_text(c, "type"), types[i]);
		assert_int_equal(psti_json_bool(c, "not_null", false), !fields[i].nullable);
	}
	assert_list(psti_json_get(psti_json_get(made, "primary_key"), "columns"), "id");
	psti_json_free(made);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM pg_class WHERE relname = 'parent'"), 1);

	assert_fails(pst_catalog_create_table(catalog, "public.\"Made\"", &schema, key, 0, NULL, &err),
				 PST_ERR_EXISTS, &err);
	assert_string_equal(err.table, "public.\"Made\"");
	assert_ok(pst_catalog_create_table(catalog, "public.\"Made\"", &schema, key,
									   PST_CREATE_IF_NOT_EXISTS, NULL, &err),
			  &err);
	assert_ok(pst_catalog_drop_table(catalog, "public.\"Made\"", 0, 0, &err), &err);
	assert_fails(pst_catalog_drop_table(catalog, "public.\"Made\"", 0, 0, &err), PST_ERR_NOT_FOUND,
				 &err);
	assert_contains(err.message, "public.\"Made\" does not exist");
	psti_schema_release(&schema);
	pst_catalog_close(catalog);
}

static void
an_existing_table_must_fit_and_the_column_is_named(void **state)
{
	static const field wide[] = {{"a", "l", NULL, true}};
	static const field more[] = {{"a", "i", NULL, true}, {"z", "i", NULL, true}};
	static const field fits[] = {{"a", "i", NULL, true}};
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;

	(void) state;
	make_schema(&schema, wide, 1);
	assert_fails(pst_catalog_create_table(catalog, "\"Upper\"", &schema, NULL,
										  PST_CREATE_IF_NOT_EXISTS, NULL, &err),
				 PST_ERR_EXISTS, &err);
	assert_contains(err.message, "its column \"a\" is integer");
	assert_string_equal(err.column, "a");
	psti_schema_release(&schema);
	make_schema(&schema, more, 2);
	assert_fails(pst_catalog_create_table(catalog, "\"Upper\"", &schema, NULL,
										  PST_CREATE_IF_NOT_EXISTS, NULL, &err),
				 PST_ERR_EXISTS, &err);
	assert_contains(err.message, "has no column \"z\"");
	psti_schema_release(&schema);
	make_schema(&schema, fits, 1);
	assert_ok(pst_catalog_create_table(catalog, "\"Upper\"", &schema, NULL,
									   PST_CREATE_IF_NOT_EXISTS, NULL, &err),
			  &err);
	assert_fails(pst_catalog_create_table(catalog, "mat", &schema, NULL, PST_CREATE_IF_NOT_EXISTS,
										  NULL, &err),
				 PST_ERR_EXISTS, &err);
	assert_contains(err.message, "materialized view");
	assert_fails(pst_catalog_create_table(catalog, "nowhere.t", &schema, NULL, 0, NULL, &err),
				 PST_ERR_NOT_FOUND, &err);
	assert_fails(pst_catalog_create_table(catalog, "a b", &schema, NULL, 0, NULL, &err),
				 PST_ERR_INVALID, &err);
	assert_fails(pst_catalog_create_table(catalog, "x", &schema, NULL, 64, NULL, &err),
				 PST_ERR_INVALID, &err);
	psti_schema_release(&schema);
	pst_catalog_close(catalog);
}

static void
making_tells_whether_it_made_and_dropping_if_empty_spares_rows(void **state)
{
	static const field fields[] = {{"a", "i", NULL, true}};
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;
	uint32_t made = 0;
	uint32_t oid = 0;

	(void) state;
	make_schema(&schema, fields, 1);
	for (int i = 0; i < 2; i++)
	{
		assert_ok(pst_catalog_create_table(catalog, "public.\"Made\"", &schema, NULL,
										   PST_CREATE_IF_NOT_EXISTS, &made, &err),
				  &err);
		assert_int_equal(made != 0, i == 0);
		oid = made != 0 ? made : oid;
	}
	live_exec(admin, "INSERT INTO public.\"Made\" VALUES (1)");
	assert_fails(pst_catalog_drop_table(catalog, "public.\"Made\"", 0, PST_DROP_IF_EMPTY, &err),
				 PST_ERR_STATE, &err);
	assert_contains(err.message, "is not empty");
	live_exec(admin, "DELETE FROM public.\"Made\"");
	live_exec(admin, "BEGIN; LOCK TABLE public.\"Made\" IN ROW EXCLUSIVE MODE");
	assert_fails(pst_catalog_drop_table(catalog, "public.\"Made\"", 0, PST_DROP_IF_EMPTY, &err),
				 PST_ERR_CONFLICT, &err);
	assert_contains(err.message, "lock timeout");
	live_exec(admin, "COMMIT");
	assert_ok(pst_catalog_drop_table(catalog, "public.\"Made\"", oid, PST_DROP_IF_EMPTY, &err),
			  &err);
	assert_fails(pst_catalog_drop_table(catalog, "public.\"Made\"", 0, PST_DROP_IF_EMPTY, &err),
				 PST_ERR_NOT_FOUND, &err);
	assert_fails(pst_catalog_drop_table(catalog, "public.\"Made\"", 0, 2, &err), PST_ERR_INVALID,
				 &err);
	psti_schema_release(&schema);
	pst_catalog_close(catalog);
}

static void
dropping_by_oid_spares_another_table_of_the_name(void **state)
{
	static const field fields[] = {{"a", "i", NULL, true}};
	static const char *const names[] = {"public.\"Made\"", "\"Made\"", "pg_class"};
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;

	(void) state;
	make_schema(&schema, fields, 1);
	for (int i = 0; i < 6; i++)
	{
		const char *name = names[i % 3];
		int flags = i < 3 ? 0 : PST_DROP_IF_EMPTY;
		char query[200];
		uint32_t made = 0;

		assert_ok(pst_catalog_create_table(catalog, name, &schema, NULL, 0, &made, &err), &err);
		snprintf(query, sizeof(query),
				 "SELECT count(*) FROM pg_class WHERE oid = %lu AND relkind = 'r' AND relnamespace "
				 "= 'public'::regnamespace",
				 (unsigned long) made);
		assert_int_equal(live_int(admin, "%s", query), 1);
		if (i % 3 == 2)
			name = "public.pg_class";
		assert_fails(pst_catalog_drop_table(catalog, name, made + 1, flags, &err),
					 PST_ERR_NOT_FOUND, &err);
		assert_contains(err.message, "another has its name");
		assert_int_equal(live_int(admin, "%s", query), 1);
		assert_ok(pst_catalog_drop_table(catalog, name, made, flags, &err), &err);
		assert_int_equal(live_int(admin, "%s", query), 0);
	}
	psti_schema_release(&schema);
	pst_catalog_close(catalog);
}

static void
a_table_that_would_not_be_found_again_is_not_made(void **state)
{
	static const field fields[] = {{"a", "i", NULL, true}};
	pst_catalog *catalog =
		open_with("url", "options='-c search_path=pg_temp,public'", NULL, NULL, NULL);
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;
	uint32_t made = 7;

	(void) state;
	make_schema(&schema, fields, 1);
	assert_fails(pst_catalog_create_table(catalog, "nowhere", &schema, NULL, 0, &made, &err),
				 PST_ERR_INVALID, &err);
	assert_contains(err.message, "temporary");
	assert_contains(err.hint, "search_path");
	assert_int_equal(made, 0);
	assert_fails(
		pst_catalog_create_table(catalog, "pg_temp.nowhere", &schema, NULL, 0, &made, &err),
		PST_ERR_INVALID, &err);
	assert_ok(pst_catalog_create_table(catalog, "public.somewhere", &schema, NULL, 0, &made, &err),
			  &err);
	assert_ok(pst_catalog_drop_table(catalog, "public.somewhere", made, 0, &err), &err);
	live_exec(admin, "CREATE SCHEMA moved; CREATE FUNCTION mover() RETURNS event_trigger LANGUAGE "
					 "plpgsql AS $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM "
					 "pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' LOOP "
					 "EXECUTE format('ALTER TABLE %%s SET SCHEMA moved', r.object_identity); END "
					 "LOOP; END $$; CREATE EVENT TRIGGER mover ON ddl_command_end WHEN TAG IN "
					 "('CREATE TABLE') EXECUTE PROCEDURE mover()");
	assert_fails(pst_catalog_create_table(catalog, "public.nowhere", &schema, NULL, 0, &made, &err),
				 PST_ERR_STATE, &err);
	assert_contains(err.hint, "event trigger");
	live_exec(admin, "DROP EVENT TRIGGER mover; DROP FUNCTION mover()");
	assert_int_equal(made, 0);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM pg_class WHERE relname = 'nowhere'"), 0);
	live_exec(admin, "DROP SCHEMA moved");
	psti_schema_release(&schema);
	pst_catalog_close(catalog);
}

/* Sends `then` to `other` for the moment at which somebody waits for a lock of its transaction. */
static void
when_waited_for(PGconn *other, const char *then)
{
	char sql[600];

	snprintf(sql, sizeof(sql),
			 "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP "
			 "PERFORM pg_sleep(0.01); END LOOP; END $$; %s",
			 then);
	assert_int_equal(PQsendQuery(other, sql), 1);
}

static void
await_results(PGconn *other)
{
	PGresult *result;

	while ((result = PQgetResult(other)) != NULL)
	{
		if (PQresultStatus(result) == PGRES_FATAL_ERROR)
			fail_msg("%s", PQresultErrorMessage(result));
		PQclear(result);
	}
}

/* Under such a default the transaction's snapshot would come before the lock. */
static void
dropping_if_empty_sees_what_was_committed_while_it_waited(void **state)
{
	const char *keys[] = {"url", NULL};
	const char *values[] = {"options='-c default_transaction_isolation=serializable'", NULL};
	PGconn *other = live_connect("");
	pst_catalog *catalog = NULL;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(pst_catalog_open(keys, values, NULL, &catalog, &err), &err);
	live_exec(admin, "CREATE TABLE theirs (v text)");
	live_exec(other, "BEGIN; INSERT INTO theirs VALUES ('row')");
	when_waited_for(other, "COMMIT");
	assert_fails(pst_catalog_drop_table(catalog, "theirs", 0, PST_DROP_IF_EMPTY, &err),
				 PST_ERR_STATE, &err);
	await_results(other);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM theirs"), 1);
	live_exec(admin, "DROP TABLE theirs");
	PQfinish(other);
	pst_catalog_close(catalog);
}

/* The table is locked by then, but not the name of its schema. */
static void
dropping_by_oid_spares_a_table_that_takes_the_name_at_the_last_moment(void **state)
{
	pst_catalog *catalog = open_plain();
	PGconn *other = live_connect("");
	pst_error err = PST_ERROR_INIT;

	(void) state;
	live_exec(admin, "CREATE SCHEMA here; CREATE SCHEMA there; CREATE TABLE here.t (v int); "
					 "CREATE TABLE there.t AS SELECT 1 AS v; "
					 "CREATE FUNCTION wait_42() RETURNS event_trigger LANGUAGE plpgsql AS "
					 "'BEGIN PERFORM pg_advisory_xact_lock(42); END'; "
					 "CREATE EVENT TRIGGER wait_42 ON ddl_command_start WHEN TAG IN ('DROP TABLE') "
					 "EXECUTE PROCEDURE wait_42()");
	for (int flags = 0; flags <= PST_DROP_IF_EMPTY; flags += PST_DROP_IF_EMPTY)
	{
		uint32_t oid = (uint32_t) live_int(admin, "SELECT 'here.t'::regclass::oid::int8");

		live_exec(other, "BEGIN; SELECT pg_advisory_xact_lock(42)");
		when_waited_for(other, "ALTER SCHEMA here RENAME TO x; ALTER SCHEMA there RENAME TO here; "
							   "ALTER SCHEMA x RENAME TO there; COMMIT");
		assert_fails(pst_catalog_drop_table(catalog, "here.t", oid, flags, &err), PST_ERR_NOT_FOUND,
					 &err);
		await_results(other);
		assert_int_equal(live_int(admin, "SELECT count(*) FROM here.t"), 1);
		assert_int_equal(live_int(admin, "SELECT count(*) FROM there.t"), 0);
		live_exec(admin, "ALTER SCHEMA here RENAME TO x; ALTER SCHEMA there RENAME TO here; "
						 "ALTER SCHEMA x RENAME TO there");
	}
	live_exec(admin, "DROP EVENT TRIGGER wait_42; DROP SCHEMA here, there CASCADE; "
					 "DROP FUNCTION wait_42()");
	PQfinish(other);
	pst_catalog_close(catalog);
}

/* What a policy hides from the owner is there all the same. */
static void
dropping_if_empty_spares_rows_that_row_security_hides(void **state)
{
	const char *keys[] = {"url", "username", NULL};
	const char *values[] = {"", "penstock_owner", NULL};
	pst_catalog *catalog = NULL;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	live_exec(admin, "DROP ROLE IF EXISTS penstock_owner; CREATE ROLE penstock_owner LOGIN; "
					 "CREATE TABLE public.hid (a int); ALTER TABLE public.hid OWNER TO "
					 "penstock_owner; ALTER TABLE public.hid ENABLE ROW LEVEL SECURITY; "
					 "ALTER TABLE public.hid FORCE ROW LEVEL SECURITY; "
					 "CREATE POLICY none ON public.hid USING (false); "
					 "INSERT INTO public.hid VALUES (1)");
	assert_ok(pst_catalog_open(keys, values, NULL, &catalog, &err), &err);
	assert_fails(pst_catalog_drop_table(catalog, "public.hid", 0, PST_DROP_IF_EMPTY, &err),
				 PST_ERR_PRIVILEGE, &err);
	pst_catalog_close(catalog);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM public.hid"), 1);
	live_exec(admin, "DROP TABLE public.hid; DROP ROLE penstock_owner");
}

static void
dropping_what_is_no_table_says_so(void **state)
{
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_fails(pst_catalog_drop_table(catalog, "upper", 0, 0, &err), PST_ERR_NOT_FOUND, &err);
	assert_contains(err.hint, "There is public.\"Upper\"");
	assert_fails(pst_catalog_drop_table(catalog, "a_view", 0, 0, &err), PST_ERR_SQL, &err);
	assert_contains(err.message, "is not a table");
	pst_catalog_close(catalog);
}

static void
databases_are_made_and_dropped_letter_by_letter(void **state)
{
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(pst_catalog_create_database(catalog, "Cat \"new\"", &err), &err);
	assert_true(lists(catalog, "Cat \"new\""));
	assert_fails(pst_catalog_create_database(catalog, "Cat \"new\"", &err), PST_ERR_EXISTS, &err);
	assert_ok(pst_catalog_drop_database(catalog, "Cat \"new\"", &err), &err);
	assert_fails(pst_catalog_drop_database(catalog, "Cat \"new\"", &err), PST_ERR_NOT_FOUND, &err);
	assert_fails(pst_catalog_create_database(catalog, "", &err), PST_ERR_INVALID, &err);
	assert_fails(
		pst_catalog_create_database(
			catalog, "a123456789b123456789c123456789d123456789e123456789f123456789abcd", &err),
		PST_ERR_INVALID, &err);
	pst_catalog_close(catalog);
}

/* --- the run ----------------------------------------------------------------------------- */

static int
begin(void **state)
{
	if (live_make_database(state) != 0)
		return -1;
	admin = live_connect("");
	live_exec(admin, "SET client_min_messages = error; CREATE TYPE mood AS ENUM ('sad'); "
					 "CREATE TABLE parent (id int); CREATE TABLE \"Upper\" (a int); "
					 "CREATE VIEW a_view AS SELECT id FROM parent; "
					 "CREATE MATERIALIZED VIEW mat AS SELECT id FROM parent");
	return 0;
}

static int
end(void **state)
{
	PQfinish(admin);
	return live_drop_database(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_made_with_the_types_of_its_metadata_or_its_format),
		cmocka_unit_test(an_existing_table_must_fit_and_the_column_is_named),
		cmocka_unit_test(making_tells_whether_it_made_and_dropping_if_empty_spares_rows),
		cmocka_unit_test(dropping_by_oid_spares_another_table_of_the_name),
		cmocka_unit_test(a_table_that_would_not_be_found_again_is_not_made),
		cmocka_unit_test(dropping_if_empty_sees_what_was_committed_while_it_waited),
		cmocka_unit_test(dropping_by_oid_spares_a_table_that_takes_the_name_at_the_last_moment),
		cmocka_unit_test(dropping_if_empty_spares_rows_that_row_security_hides),
		cmocka_unit_test(dropping_what_is_no_table_says_so),
		cmocka_unit_test(databases_are_made_and_dropped_letter_by_letter),
	};

	return live_run(tests, begin, end);
}
