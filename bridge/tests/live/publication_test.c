/* publication_test.c - publications for plain capture: made, kept up to date, and refused. */
#include "test.h"

#include "cdc/publication.h"
#include "conn.h"
#include "live.h"

static psti_options *options;
static PGconn *db;
static psti_conn *conn;

static int
setup(void **state)
{
	const char *keys[] = {"url", NULL};
	const char *values[] = {"", NULL};
	pst_error err;

	(void) state;
	psti_enter(&err);
	db = live_connect("");
	live_exec(db,
			  "SET client_min_messages = warning; CREATE TABLE a (id int PRIMARY KEY, note text); "
			  "CREATE TABLE \"B c\" (id int PRIMARY KEY); CREATE TABLE bare (id int)");
	assert_ok(psti_options_new(keys, values, PSTI_CDC, NULL, &options, &err), &err);
	assert_ok(psti_conn_open(options, NULL, NULL, &conn, &err), &err);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	psti_conn_close(conn);
	psti_options_free(options);
	live_exec(db, "RESET ROLE; DROP PUBLICATION IF EXISTS \"P b\"; DROP SCHEMA public CASCADE; "
				  "CREATE SCHEMA public; "
				  "GRANT ALL ON SCHEMA public TO public");
	PQfinish(db);
	return 0;
}

/* Tables separated by spaces, as regclass reads them. */
static pst_status
ensure_of(const char *tables, unsigned operations, bool *changed, pst_error *err)
{
	uint32_t oids[8];
	psti_publication wanted = {.name = "P b", .tables = oids, .operations = operations};
	char copy[256];
	char *rest = NULL;

	snprintf(copy, sizeof(copy), "%s", tables);
	for (char *name = strtok_r(copy, "|", &rest); name != NULL; name = strtok_r(NULL, "|", &rest))
		oids[wanted.ntables++] = (uint32_t) live_int(db, "SELECT '%s'::regclass::oid", name);
	psti_enter(err);
	return psti_publication_ensure(conn, &wanted, changed, err);
}

static void
ensures(const char *tables, unsigned operations, bool changes)
{
	bool changed = !changes;
	pst_error err;

	assert_ok(ensure_of(tables, operations, &changed, &err), &err);
	assert_int_equal(changed, changes);
}

static void
refuses(const char *tables, const char *message, const char *hint)
{
	bool changed = true;
	pst_error err;

	assert_fails(ensure_of(tables, PSTI_PUBLISH_ALL, &changed, &err), PST_ERR_STATE, &err);
	assert_false(changed);
	assert_contains(err.message, message);
	assert_contains(err.hint, hint);
}

static void
publishes(const char *tables)
{
	char *found = live_value(db, "SELECT coalesce(string_agg(tablename, ',' ORDER BY tablename), "
								 "'') FROM pg_publication_tables "
								 "WHERE pubname = 'P b'");

	assert_string_equal(found, tables);
	free(found);
}

static void
it_is_made_and_kept_up_to_date(void **state)
{
	pst_error err;

	(void) state;
	psti_enter(&err);
	ensures("a", PSTI_PUBLISH_INSERT, true);
	publishes("a");
	ensures("a", PSTI_PUBLISH_INSERT, false);
	ensures("a|\"B c\"", PSTI_PUBLISH_ALL, true);
	publishes("B c,a");
	assert_int_equal(
		live_int(db, "SELECT (pubinsert AND pubupdate AND pubdelete)::int FROM pg_publication"), 1);
	if (PQserverVersion(db) >= 110000)
		assert_int_equal(live_int(db, "SELECT pubtruncate::int FROM pg_publication"), 1);
	ensures("\"B c\"", PSTI_PUBLISH_ALL, false);
	publishes("B c,a");
	assert_ok(psti_publication_drop(conn, "P b", &err), &err);
	assert_int_equal(live_int(db, "SELECT count(*) FROM pg_publication"), 0);
	assert_ok(psti_publication_drop(conn, "P b", &err), &err);
}

static void
one_of_somebody_else_is_not_touched(void **state)
{
	pst_error err;

	(void) state;
	psti_enter(&err);
	live_exec(db,
			  "CREATE PUBLICATION \"P b\" FOR TABLE a WITH (publish = 'insert, update, delete%s')",
			  PQserverVersion(db) >= 110000 ? ", truncate" : "");
	ensures("a", PSTI_PUBLISH_ALL, false);
	refuses("a|\"B c\"", "lacks what is to be captured",
			"ALTER PUBLICATION \"P b\" ADD TABLE ONLY public.\"B c\";");
	live_exec(db, "ALTER PUBLICATION \"P b\" SET (publish = 'insert, delete')");
	refuses("a", "lacks what is to be captured", "SET (publish = 'insert, update, delete");
	publishes("a");
	assert_ok(psti_publication_drop(conn, "P b", &err), &err);
	assert_int_equal(live_int(db, "SELECT count(*) FROM pg_publication"), 1);
}

static void
one_of_all_tables_has_every_table(void **state)
{
	(void) state;
	live_exec(db, "CREATE PUBLICATION \"P b\" FOR ALL TABLES");
	ensures("a|\"B c\"|bare", PSTI_PUBLISH_ALL, false);
}

static void
one_of_schemas_has_their_tables(void **state)
{
	(void) state;
	live_exec(db, "CREATE SCHEMA other; CREATE TABLE other.t (id int PRIMARY KEY); "
				  "CREATE PUBLICATION \"P b\" FOR TABLES IN SCHEMA public");
	ensures("a|\"B c\"", PSTI_PUBLISH_ALL, false);
	refuses("a|other.t", "lacks what is to be captured", "ADD TABLE ONLY other.t;");
	live_exec(db, "DROP SCHEMA other CASCADE");
}

static void
row_filters_and_column_lists_are_refused(void **state)
{
	(void) state;
	live_exec(db, "CREATE PUBLICATION \"P b\" FOR TABLE a WHERE (id > 5), \"B c\"");
	refuses("a", "only some of the rows or columns of public.a", "DROP TABLE ONLY public.a;");
	ensures("\"B c\"", PSTI_PUBLISH_ALL, false);
	live_exec(db, "ALTER PUBLICATION \"P b\" SET TABLE a (id)");
	refuses("a", "only some of the rows or columns of public.a", "ADD TABLE ONLY public.a;");
	live_exec(db, "ALTER PUBLICATION \"P b\" SET TABLE a (id, note)");
	ensures("a", PSTI_PUBLISH_ALL, false);
}

/* Publishing it would break the application. */
static void
a_table_that_could_not_be_updated_any_more_is_refused(void **state)
{
	(void) state;
	refuses("a|bare", "UPDATE and DELETE on public.bare would fail",
			"ALTER TABLE public.bare REPLICA IDENTITY FULL;");
	assert_int_equal(live_int(db, "SELECT count(*) FROM pg_publication"), 0);
	ensures("bare", PSTI_PUBLISH_INSERT, true);
	live_exec(db, "DROP PUBLICATION \"P b\"; ALTER TABLE bare REPLICA IDENTITY FULL");
	ensures("bare", PSTI_PUBLISH_ALL, true);
	live_exec(
		db,
		"UPDATE bare SET id = 1; DROP PUBLICATION \"P b\"; ALTER TABLE a REPLICA IDENTITY NOTHING");
	refuses("a", "UPDATE and DELETE on public.a would fail", "REPLICA IDENTITY FULL");
	live_exec(db, "CREATE UNIQUE INDEX named ON bare (id); ALTER TABLE bare ALTER id SET NOT NULL; "
				  "ALTER TABLE bare REPLICA IDENTITY USING INDEX named");
	ensures("bare", PSTI_PUBLISH_ALL, true);
}

static void
partitions_are_published_with_their_root(void **state)
{
	(void) state;
	live_exec(
		db, "CREATE TABLE t (id int) PARTITION BY RANGE (id); "
			"CREATE TABLE mid PARTITION OF t FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id); "
			"CREATE TABLE low PARTITION OF mid (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (10); "
			"CREATE TABLE high PARTITION OF t FOR VALUES FROM (100) TO (200)");
	refuses("t", "UPDATE and DELETE on public.high would fail", "ALTER TABLE public.high");
	live_exec(db, "ALTER TABLE high ADD PRIMARY KEY (id)");
	ensures("t", PSTI_PUBLISH_ALL, true);
	publishes("high,low");
	ensures("t|low", PSTI_PUBLISH_ALL, false);
	live_exec(
		db, "CREATE TABLE later PARTITION OF mid (PRIMARY KEY (id)) FOR VALUES FROM (10) TO (20)");
	/* Before 13 it has to be added. */
	ensures("t", PSTI_PUBLISH_ALL, PQserverVersion(db) < 130000);
	publishes("high,later,low");
	if (PQserverVersion(db) < 130000)
		return;
	live_exec(db, "ALTER PUBLICATION \"P b\" SET (publish_via_partition_root = true)");
	refuses("t", "via its root", "SET (publish_via_partition_root = false);");
	ensures("a", PSTI_PUBLISH_ALL, true);
}

static void
children_of_a_plain_table_are_tables_of_their_own(void **state)
{
	(void) state;
	live_exec(db, "CREATE TABLE child (PRIMARY KEY (id)) INHERITS (a)");
	ensures("a", PSTI_PUBLISH_ALL, true);
	publishes("a");
}

static void
a_role_that_may_not_is_told_the_statement(void **state)
{
	bool changed = false;
	psti_conn *poor = NULL;
	const char *keys[] = {"url", "username", NULL};
	const char *values[] = {"", "publication_poor", NULL};
	uint32_t oid = (uint32_t) live_int(db, "SELECT 'a'::regclass::oid");
	psti_publication wanted = {
		.name = "P b", .tables = &oid, .ntables = 1, .operations = PSTI_PUBLISH_INSERT};
	psti_options *mine = NULL;
	pst_error err;

	(void) state;
	psti_enter(&err);
	live_exec(db, "CREATE ROLE publication_poor LOGIN; GRANT SELECT ON a TO publication_poor");
	assert_ok(psti_options_new(keys, values, PSTI_CDC, NULL, &mine, &err), &err);
	assert_ok(psti_conn_open(mine, NULL, NULL, &poor, &err), &err);
	assert_fails(psti_publication_ensure(poor, &wanted, &changed, &err), PST_ERR_PRIVILEGE, &err);
	assert_string_equal(
		err.hint, "CREATE PUBLICATION \"P b\" FOR TABLE ONLY public.a WITH (publish = 'insert'); "
				  "COMMENT ON PUBLICATION \"P b\" IS 'made by penstock';");
	/* What the hint says is all that it takes. */
	live_exec(db, "%s", err.hint);
	assert_ok(psti_publication_ensure(poor, &wanted, &changed, &err), &err);
	assert_false(changed);
	psti_conn_close(poor);
	psti_options_free(mine);
	live_exec(db, "DROP OWNED BY publication_poor; DROP ROLE publication_poor");
}

int
main(void)
{
#define publication_test_since(since, of_what, test)                                               \
	{                                                                                              \
		.name = #test, .test_func = (test), .setup_func = setup, .teardown_func = teardown,        \
		.initial_state = (live_need[]){{.version = (since), .what = (of_what)}},                   \
	}
#define publication_test(test) publication_test_since(100000, "a publication", test)
	const struct CMUnitTest tests[] = {
		publication_test(it_is_made_and_kept_up_to_date),
		publication_test(one_of_somebody_else_is_not_touched),
		publication_test(one_of_all_tables_has_every_table),
		publication_test_since(150000, "publications of schemas", one_of_schemas_has_their_tables),
		publication_test_since(150000, "row filters", row_filters_and_column_lists_are_refused),
		publication_test(a_table_that_could_not_be_updated_any_more_is_refused),
		publication_test(partitions_are_published_with_their_root),
		publication_test(children_of_a_plain_table_are_tables_of_their_own),
		publication_test(a_role_that_may_not_is_told_the_statement),
	};

	return live_run(tests, live_make_database, live_drop_database);
}
