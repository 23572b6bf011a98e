/* relation_test.c - finding relations as regclass does, and what is told of their columns. */
#include "test.h"

#include "live.h"
#include "relation.h"

static psti_options *options;
static psti_conn *conn;
static PGconn *admin;

static int
setup(void **state)
{
	pst_error err = PST_ERROR_INIT;

	if (live_make_database(state) != 0)
		return -1;
	admin = live_connect("");
	live_exec(
		admin,
		"CREATE SCHEMA \"Odd.s\"; CREATE TABLE \"Odd.s\".\"a\"\"b.c\" (x int); "
		"CREATE DOMAIN money2 AS numeric(8,2); CREATE DOMAIN price AS money2 CHECK (value > 0); "
		"CREATE TYPE pair AS (a int, b text); "
		"CREATE TABLE t (id int PRIMARY KEY, p price, n int NOT NULL DEFAULT 7, c char(3), "
		"dropped int, v varchar(5)[], r pair); "
		"ALTER TABLE t DROP COLUMN dropped; "
		"CREATE TABLE \"Mixed\" (id int); CREATE TABLE none(); "
		"CREATE TABLE parent (k int NOT NULL); CREATE TABLE child () INHERITS (parent); "
		"CREATE VIEW v AS SELECT 1 AS one; ANALYZE t");
	if (psti_options_new(NULL, NULL, PSTI_SOURCE, NULL, &options, &err) != PST_OK)
		return -1;
	return psti_conn_open(options, NULL, NULL, &conn, &err) == PST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	psti_conn_close(conn);
	psti_options_free(options);
	PQfinish(admin);
	return live_drop_database(state);
}

static psti_relation *
found(const char *schema, const char *table)
{
	psti_relation *relation;
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_relation_find(conn, schema, table, &relation, &err), &err);
	return relation;
}

static void
names_are_read_as_regclass_reads_them(void **state)
{
	static const char *const cases[][3] = {
		/* schema, table, qualified */
		{NULL, "t", "public.t"},
		{NULL, "T", "public.t"},
		{NULL, "public.t", "public.t"},
		{NULL, "\"Mixed\"", "public.\"Mixed\""},
		{NULL, "\"Odd.s\".\"a\"\"b.c\"", "\"Odd.s\".\"a\"\"b.c\""},
		{"Odd.s", "a\"b.c", "\"Odd.s\".\"a\"\"b.c\""},
		{"public", "Mixed", "public.\"Mixed\""},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		psti_relation *relation = found(cases[i][0], cases[i][1]);

		assert_string_equal(relation->qualified, cases[i][2]);
		psti_relation_free(relation);
	}
}

static void
a_name_in_other_case_is_told(void **state)
{
	psti_relation *relation;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_fails(psti_relation_find(conn, NULL, "mixed", &relation, &err), PST_ERR_NOT_FOUND, &err);
	assert_null(relation);
	assert_string_equal(err.sqlstate, "42P01");
	assert_contains(err.hint, "public.\"Mixed\"");
	assert_fails(psti_relation_find(conn, NULL, "nothing_like_it", &relation, &err),
				 PST_ERR_NOT_FOUND, &err);
	assert_contains(err.hint, "search_path");
	assert_fails(psti_relation_find(conn, "no_schema", "t", &relation, &err), PST_ERR_NOT_FOUND,
				 &err);
}

static void
domains_arrays_and_composites_are_resolved(void **state)
{
	psti_relation *t = found(NULL, "t");
	const psti_column *p = psti_relation_column(t, "p");
	const psti_column *v = psti_relation_column(t, "v");
	const psti_column *r = psti_relation_column(t, "r");
	const psti_column *c = psti_relation_column(t, "c");

	(void) state;
	assert_int_equal(t->ncolumns, 6);
	assert_null(psti_relation_column(t, "dropped"));
	assert_string_equal(p->type.name, "price");
	assert_int_equal(p->type.base, 1700);
	assert_int_equal(p->type.base_typmod, ((8 << 16) | 2) + 4);
	assert_int_equal(v->type.elem_base, 1043);
	assert_int_equal(v->type.elem_typmod, 9);
	assert_string_equal(v->type.elem_name, "character varying(5)");
	assert_int_equal(r->type.typtype, 'c');
	assert_string_equal(r->type.output, "pg_catalog.record_out");
	/* A cast to `character` would cut to one letter; the bare name must not. */
	assert_string_equal(c->type.bare_name, "pg_catalog.bpchar");
	assert_int_equal(psti_relation_column(t, "id")->key_position, 1);
	assert_true(psti_relation_column(t, "n")->has_default);
	psti_relation_free(t);
}

static void
never_null_is_said_only_where_no_row_can_be(void **state)
{
	psti_relation *t = found(NULL, "t");
	psti_relation *parent = found(NULL, "parent");

	(void) state;
	assert_true(psti_relation_column(t, "n")->never_null);
	assert_false(psti_relation_column(t, "p")->never_null);
	assert_true(parent->has_subclass);
	assert_true(parent->columns[0].not_null);
	assert_false(parent->columns[0].never_null);
	psti_relation_free(t);
	psti_relation_free(parent);
}

static void
relations_without_columns_and_views_are_found(void **state)
{
	psti_relation *none = found(NULL, "none");
	psti_relation *v = found(NULL, "v");

	(void) state;
	assert_int_equal(none->ncolumns, 0);
	assert_true(none->is_heap);
	assert_int_equal(v->relkind, 'v');
	assert_false(v->is_heap);
	psti_relation_free(none);
	psti_relation_free(v);
}

static void
a_querys_columns_are_described_without_running_it(void **state)
{
	psti_relation *query;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_relation_query(conn, "SELECT p, v, 1/0 AS z, NULL AS u FROM t", &query, &err),
			  &err);
	assert_int_equal(query->oid, 0);
	assert_int_equal(query->ncolumns, 4);
	assert_string_equal(query->columns[2].name, "z");
	assert_int_equal(query->columns[0].type.base, 1700);
	assert_int_equal(query->columns[1].type.elem_base, 1043);
	/* A bare NULL is text from 10 on, unknown before. */
	assert_int_equal(query->columns[3].type.base, PQserverVersion(admin) < 100000 ? 705 : 25);
	psti_relation_free(query);
	assert_fails(psti_relation_query(conn, "SELEC 1", &query, &err), PST_ERR_SQL, &err);
	assert_null(query);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read_as_regclass_reads_them),
		cmocka_unit_test(a_name_in_other_case_is_told),
		cmocka_unit_test(domains_arrays_and_composites_are_resolved),
		cmocka_unit_test(never_null_is_said_only_where_no_row_can_be),
		cmocka_unit_test(relations_without_columns_and_views_are_found),
		cmocka_unit_test(a_querys_columns_are_described_without_running_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
