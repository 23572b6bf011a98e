/* catalog_ddl_test.c - names, types, CREATE TABLE and Flink's DDL, without a server. */
#include "test.h"

#include "alloc.h"
#include "arrow_build.h"
#include "catalog_ddl.h"

/* --- names and types --------------------------------------------------------------------- */

static void
names_are_split_and_folded_as_regclass_does(void **state)
{
	static const struct
	{
		const char *text, *sql;
	} good[] = {
		{"Orders", "\"orders\""},
		{" Public . Orders ", "\"public\".\"orders\""},
		{"\"A.b\".\"c\"\"d\"", "\"A.b\".\"c\"\"d\""},
		{"db.s.t", "\"db\".\"s\".\"t\""},
		{"\xc3\x9c"
		 "ber$1",
		 "\"\xc3\x9c"
		 "ber$1\""},
		{"a\n.\tb", "\"a\".\"b\""},
	};
	static const char *const bad[] = {
		"",		   "a.",	 ".a",
		"a b",	   "a..b",	 "a.b.c.d",
		"\"open",  "\"\"",	 "1a",
		"a;drop",  "\"a\"b", "a-b",
		"\"a\"\"", "a'b",	 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		psti_name name;
		psti_buf buf = PSTI_BUF_INIT;

		assert_ok(psti_name_parse(good[i].text, &name, &err), &err);
		psti_name_put(&buf, &name);
		assert_string_equal(buf.data, good[i].sql);
		psti_name_free(&name);
		psti_buf_free(&buf);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		psti_name name;

		if (psti_name_parse(bad[i], &name, &err) != PST_ERR_INVALID)
			fail_msg("\"%s\" was taken as a name", bad[i]);
		assert_null(name.memory);
	}
}

static void
types_are_put_together_anew_and_nothing_else_passes(void **state)
{
	static const struct
	{
		const char *text, *whole, *bare;
	} good[] = {
		{"integer", "integer", "integer"},
		{"text", "\"text\"", "\"text\""},
		{"numeric(10,2)", "numeric(10,2)", "numeric"},
		{"numeric(3,-2)[]", "numeric(3,-2)[]", "numeric[]"},
		{"character varying(20)", "character varying(20)", "character varying"},
		{"character(4)", "character(4)", "character"},
		{"bit varying(3)", "bit varying(3)", "bit varying"},
		{"double precision", "double precision", "double precision"},
		{"timestamp(3) with time zone[]", "timestamp(3) with time zone[]",
		 "timestamp with time zone[]"},
		{"time without time zone", "time without time zone", "time without time zone"},
		{"interval day to second(3)", "interval day to second(3)", "interval"},
		{"interval(2)", "interval(2)", "interval"},
		{"\"char\"", "\"char\"", "\"char\""},
		{"public.\"Mood\"", "\"public\".\"Mood\"", "\"public\".\"Mood\""},
		{"Mood", "\"mood\"", "\"mood\""},
		{"public.geometry(Point,4326)", "\"public\".\"geometry\"(Point,4326)",
		 "\"public\".\"geometry\""},
		{"\"integer\"", "\"integer\"", "\"integer\""},
		{"a.integer", "\"a\".\"integer\"", "\"a\".\"integer\""},
		{"int4[3][]", "\"int4\"[]", "\"int4\"[]"},
	};
	static const char *const bad[] = {
		"",
		"int; DROP TABLE x",
		"int DEFAULT evil()",
		"int PRIMARY KEY",
		"int, b int",
		"int)",
		"int CHECK (true)",
		"int COLLATE \"C\"",
		"text -- comment",
		"text/**/",
		"numeric(10,2",
		"numeric()",
		"numeric(1;2)",
		"numeric('x')",
		"numeric((1))",
		"double",
		"timestamp with",
		"\"open",
		"\"a\"\"",
		"int[",
		"int[-1]",
		"a.b.c",
		"%TYPE",
		"t.c%TYPE",
		"SETOF int",
		"(select 1)",
		"varchar(99999999999999999999999999999999999999999)",
	};
	psti_buf whole = PSTI_BUF_INIT;
	psti_buf bare = PSTI_BUF_INIT;

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		if (!psti_type_parse(good[i].text, &whole, &bare))
			fail_msg("\"%s\" was not taken as a type", good[i].text);
		assert_string_equal(whole.data, good[i].whole);
		assert_string_equal(bare.data, good[i].bare);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (psti_type_parse(bad[i], &whole, &bare))
			fail_msg("\"%s\" was taken as the type %s", bad[i], whole.data);
	psti_buf_free(&whole);
	psti_buf_free(&bare);
}

/* --- Arrow fields ------------------------------------------------------------------------ */

/* A field; list formats get one child of child_format. */
static void
make_field(struct ArrowSchema *field, const char *format, const char *child_format,
		   const char *name)
{
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_schema_init(field, format, name, true, child_format == NULL ? 0 : 1, &err),
			  &err);
	if (child_format != NULL)
		assert_ok(psti_schema_init(field->children[0], child_format, "item", true, 0, &err), &err);
}

static void
each_arrow_type_has_a_column_type_or_a_named_error(void **state)
{
	static const struct
	{
		const char *format, *child, *ddl;
	} cases[] = {
		{"b", NULL, "boolean"},
		{"c", NULL, "smallint"},
		{"S", NULL, "integer"},
		{"L", NULL, "numeric(20,0)"},
		{"d:10,2", NULL, "numeric(10,2)"},
		{"d:10,-2", NULL, "numeric"},
		{"d:5,9", NULL, "numeric"},
		{"tss:", NULL, "timestamp(0) without time zone"},
		{"tsm:UTC", NULL, "timestamp(3) with time zone"},
		{"tsu:", NULL, "timestamp without time zone"},
		{"tsn:Europe/Berlin", NULL, "timestamp with time zone"},
		{"w:16", NULL, "uuid"},
		{"w:5", NULL, "bytea"},
		{"tin", NULL, "interval"},
		{"+l", "i", "integer[]"},
		{"+L", "tsu:UTC", "timestamp with time zone[]"},
		{"+s", NULL, NULL},
		{"e", NULL, NULL},
		{"+l", "+s", NULL},
		{"vu", NULL, NULL},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		struct ArrowSchema field;
		psti_buf ddl = PSTI_BUF_INIT;
		pst_status status;

		make_field(&field, cases[i].format, cases[i].child, "the column");
		status = psti_type_of_field(&field, &ddl, &err);
		if (cases[i].ddl == NULL)
		{
			assert_int_equal(status, PST_ERR_UNSUPPORTED);
			assert_string_equal(err.column, "the column");
		}
		else
		{
			assert_int_equal(status, PST_OK);
			assert_string_equal(ddl.data, cases[i].ddl);
		}
		psti_schema_release(&field);
		psti_buf_free(&ddl);
	}
}

static void
make_table_schema(struct ArrowSchema *schema)
{
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_schema_init(schema, "+s", "", false, 2, &err), &err);
	assert_ok(psti_schema_init(schema->children[0], "l", "a \"b\"", false, 0, &err), &err);
	assert_ok(psti_schema_init(schema->children[1], "u", "c", true, 0, &err), &err);
}

static void
a_create_statement_quotes_every_name(void **state)
{
	static const char *const types[] = {"bigint", "text"};
	static const char *const key[] = {"a \"b\"", NULL};
	static const char *const wrong[] = {"nope", NULL};
	struct ArrowSchema schema;
	pst_error err = PST_ERROR_INIT;
	psti_name name;
	psti_buf sql = PSTI_BUF_INIT;

	(void) state;
	make_table_schema(&schema);
	assert_ok(psti_name_parse("S.\"T;\"", &name, &err), &err);
	assert_ok(psti_create_sql(&name, &schema, types, key, &sql, &err), &err);
	assert_string_equal(sql.data, "CREATE TABLE \"s\".\"T;\" (\n"
								  "  \"a \"\"b\"\"\" bigint NOT NULL,\n"
								  "  \"c\" text,\n"
								  "  PRIMARY KEY (\"a \"\"b\"\"\")\n)");
	psti_buf_reset(&sql);
	assert_fails(psti_create_sql(&name, &schema, types, wrong, &sql, &err), PST_ERR_INVALID, &err);
	assert_string_equal(err.column, "nope");
	psti_buf_free(&sql);
	psti_name_free(&name);
	psti_schema_release(&schema);
}

static pst_status
create_sql(void *ctx, pst_error *err)
{
	static const char *const types[] = {"bigint", "text"};
	psti_name name;
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status = psti_name_parse("s.t", &name, err);

	if (status == PST_OK)
		status = psti_create_sql(&name, ctx, types, NULL, &sql, err);
	psti_name_free(&name);
	psti_buf_free(&sql);
	return status;
}

static void
a_create_statement_survives_failing_allocations(void **state)
{
	struct ArrowSchema schema;

	(void) state;
	make_table_schema(&schema);
	assert_true(psti_test_alloc_sweep(create_sql, &schema) >= 2);
	psti_schema_release(&schema);
}

/* --- does a table fit? ------------------------------------------------------------------- */

static pst_status
fit(const char *format, const char *child, const char *type, const char *element, pst_error *err)
{
	struct ArrowSchema schema;
	psti_json *describe;
	char json[512];
	pst_status status;

	snprintf(
		json, sizeof(json),
		"{\"schema\":\"s\",\"name\":\"t\",\"qualified\":\"s.t\",\"kind\":\"table\",\"columns\":"
		"[{\"name\":\"a\",\"type\":\"%s\",\"base_type\":\"%s\",\"generated\":null%s%s%s}]}",
		type, type, element == NULL ? "" : ",\"element\":{\"base_type\":\"",
		element == NULL ? "" : element, element == NULL ? "" : "\"}");
	assert_ok(psti_json_parse(json, &describe, err), err);
	assert_ok(psti_schema_init(&schema, "+s", "", false, 1, err), err);
	make_field(schema.children[0], format, child, "a");
	status = psti_create_compatible(describe, &schema, err);
	psti_schema_release(&schema);
	psti_json_free(describe);
	return status;
}

static void
an_existing_column_must_hold_every_value(void **state)
{
	static const struct
	{
		const char *format, *child, *type, *element;
		bool fits;
	} cases[] = {
		{"i", NULL, "integer", NULL, true},
		{"i", NULL, "bigint", NULL, true},
		{"i", NULL, "smallint", NULL, false},
		{"l", NULL, "integer", NULL, false},
		{"l", NULL, "numeric", NULL, true},
		{"l", NULL, "numeric(19,0)", NULL, true},
		{"l", NULL, "numeric(19,1)", NULL, false},
		{"L", NULL, "bigint", NULL, false},
		{"u", NULL, "public.mood", NULL, true},
		{"u", NULL, "integer", NULL, true},
		{"l", NULL, "text", NULL, true},
		{"l", NULL, "character varying(10)", NULL, false},
		{"d:10,2", NULL, "numeric(10,2)", NULL, true},
		{"d:10,2", NULL, "numeric(12,4)", NULL, true},
		{"d:10,2", NULL, "numeric(10,4)", NULL, false},
		{"d:10,2", NULL, "numeric(20,1)", NULL, false},
		{"tsu:", NULL, "timestamp without time zone", NULL, true},
		{"tsu:", NULL, "timestamp with time zone", NULL, false},
		{"tsu:UTC", NULL, "timestamp(3) with time zone", NULL, true},
		{"w:16", NULL, "uuid", NULL, true},
		{"w:8", NULL, "uuid", NULL, false},
		{"z", NULL, "text", NULL, true},
		{"+l", "i", "bigint[]", "bigint", true},
		{"+l", "l", "integer[]", "integer", false},
		{"+l", "i", "integer", NULL, false},
		{"+s", NULL, "text", NULL, false},
		{"b", NULL, "integer", NULL, false},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_status status =
			fit(cases[i].format, cases[i].child, cases[i].type, cases[i].element, &err);

		if (status != (cases[i].fits ? PST_OK : PST_ERR_EXISTS))
			fail_msg("%s into %s: %s %s", cases[i].format, cases[i].type, pst_status_name(status),
					 err.message);
		if (!cases[i].fits)
			assert_string_equal(err.column, "a");
	}
}

/* --- Flink ------------------------------------------------------------------------------- */

static const char described[] =
	"{\"schema\":\"s\",\"name\":\"t`q\",\"qualified\":\"s.\\\"t`q\\\"\",\"comment\":\"it's\","
	"\"primary_key\":{\"columns\":[\"a`\",\"b\"]},\"columns\":["
	"{\"name\":\"a`\",\"flink\":\"BIGINT\",\"not_null\":true,\"comment\":null},"
	"{\"name\":\"b\",\"flink\":\"DECIMAL(10,2)\",\"not_null\":true,\"comment\":\"x'y\"},"
	"{\"name\":\"c\",\"flink\":\"ARRAY<STRING>\",\"not_null\":false}]}";

static pst_status
flink(void *ctx, pst_error *err)
{
	psti_json *describe;
	psti_buf *out = ctx;
	pst_status status = psti_json_parse(described, &describe, err);

	psti_buf_free(out);
	*out = (psti_buf) PSTI_BUF_INIT;
	if (status == PST_OK)
		status = psti_flink_ddl(describe, "jdbc:postgresql://h/d", "o'brien", out, err);
	psti_json_free(describe);
	return status;
}

static void
flink_names_and_literals_are_quoted(void **state)
{
	pst_error err = PST_ERROR_INIT;
	psti_buf out = PSTI_BUF_INIT;

	(void) state;
	assert_ok(flink(&out, &err), &err);
	assert_string_equal(out.data, "CREATE TABLE `t``q` (\n"
								  "  `a``` BIGINT NOT NULL,\n"
								  "  `b` DECIMAL(10,2) NOT NULL COMMENT 'x''y',\n"
								  "  `c` ARRAY<STRING>,\n"
								  "  PRIMARY KEY (`a```, `b`) NOT ENFORCED\n"
								  ") COMMENT 'it''s' WITH (\n"
								  "  'connector' = 'postgres',\n"
								  "  'url' = 'jdbc:postgresql://h/d',\n"
								  "  'table-name' = 's.\"t`q\"',\n"
								  "  'username' = 'o''brien'\n"
								  ");\n");
	psti_buf_free(&out);
}

static pst_status
flink_and_free(void *ctx, pst_error *err)
{
	psti_buf out = PSTI_BUF_INIT;
	pst_status status = flink(&out, err);

	(void) ctx;
	psti_buf_free(&out);
	return status;
}

static void
flink_ddl_survives_failing_allocations(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(flink_and_free, NULL) >= 10);
}

static void
a_flink_url_keeps_hosts_and_parameters_but_no_login(void **state)
{
	static const struct
	{
		const char *url, *host, *port, *want;
	} cases[] = {
		{NULL, "db.example", "5433", "jdbc:postgresql://db.example:5433/d%20b"},
		{NULL, "/run/postgresql", "5432", "jdbc:postgresql://localhost:5432/d%20b"},
		{NULL, "@abstract", "5432", "jdbc:postgresql://localhost:5432/d%20b"},
		{NULL, "::1", "5432", "jdbc:postgresql://[::1]:5432/d%20b"},
		{"postgresql://u:secret@h/x", "h", "5432", "jdbc:postgresql://h:5432/d%20b"},
		{"jdbc:postgresql://h1:1,h2:2/x?user=me&a=b&password=secret&sslmode=verify-full", "h2", "2",
		 "jdbc:postgresql://h1:1,h2:2/d%20b?a=b&sslmode=verify-full"},
		{"jdbc:postgresql://h:5432", "h", "5432", "jdbc:postgresql://h:5432/d%20b"},
		{"jdbc:postgresql://h?password=secret", "h", "5432", "jdbc:postgresql://h/d%20b"},
		{"jdbc:postgresql://h/x?us%65r=me&pass%77ord=secret&ssl%70assword=secret", "h", "5432",
		 "jdbc:postgresql://h/d%20b"},
		{"jdbc:postgresql://h/x?password=a&secret=b&s%73l=true", "h", "5432",
		 "jdbc:postgresql://h/d%20b?s%73l=true"},
		{"jdbc:postgresql:x", "localhost", "5432", "jdbc:postgresql://localhost:5432/d%20b"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		psti_buf out = PSTI_BUF_INIT;

		psti_flink_url(cases[i].url, cases[i].host, cases[i].port, "d b", &out);
		assert_string_equal(out.data, cases[i].want);
		psti_buf_free(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_split_and_folded_as_regclass_does),
		cmocka_unit_test(types_are_put_together_anew_and_nothing_else_passes),
		cmocka_unit_test(each_arrow_type_has_a_column_type_or_a_named_error),
		cmocka_unit_test(a_create_statement_quotes_every_name),
		cmocka_unit_test(a_create_statement_survives_failing_allocations),
		cmocka_unit_test(an_existing_column_must_hold_every_value),
		cmocka_unit_test(flink_names_and_literals_are_quoted),
		cmocka_unit_test(flink_ddl_survives_failing_allocations),
		cmocka_unit_test(a_flink_url_keeps_hosts_and_parameters_but_no_login),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
