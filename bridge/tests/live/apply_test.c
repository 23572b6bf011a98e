/* apply_test.c - penstock.upsert_sql and delete_sql give the statements that the sink runs. */
#include "sink_rows.h"

#include "sink.h"

/* What the sink would run: "UPSERT\nDELETE". */
static char *
sinks(const char *columns, const char *key)
{
	const char *keys[] = {"table-name", "sink.key", NULL};
	const char *values[] = {"t", key, NULL};
	struct ArrowSchema schema;
	psti_options *options;
	psti_conn *conn;
	psti_sink_plan *plan;
	psti_buf sql = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	if (key == NULL)
		keys[1] = NULL;
	rows_schema(&schema, columns);
	assert_ok(psti_options_new(keys, values, PSTI_SINK, NULL, &options, &err), &err);
	assert_ok(psti_conn_open(options, NULL, NULL, &conn, &err), &err);
	assert_ok(psti_plan_new(options, conn, &schema, &plan, &err), &err);
	psti_sql_upsert(plan, PSTI_FROM_ARRAYS, NULL, &sql);
	psti_buf_putc(&sql, '\n');
	psti_sql_delete(plan, PSTI_FROM_ARRAYS, &sql);
	assert_false(sql.failed);
	psti_plan_free(plan);
	psti_conn_close(conn);
	psti_options_free(options);
	schema.release(&schema);
	return sql.data;
}

/*
 * The same of the extension. The sink says the parameters' types when it prepares a statement; here
 * they stand in the text, and are left out for the comparison.
 */
static char *
extensions(const char *columns, const char *key)
{
	return live_value(admin,
					  "SELECT regexp_replace(penstock.upsert_sql('t', %s, %s) || E'\\n' || "
					  "penstock.delete_sql('t', %s), 'unnest\\(\\$(\\d+)::[^)]*\\)', "
					  "'unnest($\\1)', 'g')",
					  columns, key, key);
}

static void
both_make_the_same_statements(void **state)
{
	static const struct
	{
		const char *table;
		const char *schema; /* as the sink is given it: of a form that travels as the target's */
		const char *sinks_key;
		const char *columns;
		const char *keys;
	} cases[] = {
		{"(id int PRIMARY KEY, v text, \"we\"\"ird.x\" bigint)", "id:i,v:u,we\"ird.x:l", NULL,
		 "NULL", "NULL"},
		{"(id int PRIMARY KEY, v text)", "id:i", NULL, "'{id}'", "NULL"},
		{"(id int PRIMARY KEY, v text NOT NULL, n int)", "id:i,n:i", NULL, "'{id,n}'", "NULL"},
		{"(id int PRIMARY KEY, v text NOT NULL)", "id:i", NULL, "'{id}'", "NULL"},
		{"(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, o int GENERATED ALWAYS AS IDENTITY, v "
		 "text, g int GENERATED ALWAYS AS (1) STORED)",
		 "id:i,o:i,v:u", NULL, "NULL", "NULL"},
		{"(a text COLLATE \"C\", b date, v timestamp, PRIMARY KEY (b, a))",
		 "b:tdD,a:u,v:tsu:", NULL, "'{b,a,v}'", "'{b,a}'"},
		{"(a text, b int, v text[], UNIQUE (b, a))", "a:u,b:i,v:L", "a,b", "NULL", "'{a,b}'"},
		{"(a text, u uuid); CREATE UNIQUE INDEX ON t (a COLLATE \"C\")", "a:u,u:w:16", "a", "NULL",
		 "'{a}'"},
		{"(id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
		 "id:i,at:tdD,v:u", NULL, "NULL", "NULL"},
		{"(id int PRIMARY KEY, v text); CREATE TABLE child () INHERITS (t)", "id:i,v:u", NULL,
		 "NULL", "NULL"},
	};

	(void) state;
	live_exec(admin, "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS penstock");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char *want;
		char *got;

		live_exec(admin, "DROP TABLE IF EXISTS t CASCADE; CREATE TABLE t %s", cases[i].table);
		want = sinks(cases[i].schema, cases[i].sinks_key);
		got = extensions(cases[i].columns, cases[i].keys);
		assert_string_equal(got, want);
		free(got);
		free(want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		live_test_extension(both_make_the_same_statements),
	};

	return live_run(tests, setup, teardown);
}
