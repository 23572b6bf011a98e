/* catalog_test.c - databases, schemas, tables and describe against a real server. */
#include "catalog_json.h"

/* --- databases --------------------------------------------------------------------------- */

static int
make_databases(void **state)
{
	(void) state;
	live_exec(admin, "CREATE DATABASE \"cat Mixed\"");
	live_exec(admin, "CREATE DATABASE cat_closed ALLOW_CONNECTIONS false");
	live_exec(admin, "CREATE DATABASE cat_private");
	live_exec(admin, "REVOKE CONNECT ON DATABASE cat_private FROM PUBLIC");
	live_exec(admin, "CREATE ROLE cat_reader LOGIN");
	return 0;
}

static int
drop_databases(void **state)
{
	(void) state;
	live_exec(admin, "DROP DATABASE \"cat Mixed\"");
	live_exec(admin, "DROP DATABASE cat_closed");
	live_exec(admin, "DROP DATABASE cat_private");
	live_exec(admin, "DROP ROLE cat_reader");
	return 0;
}

static void
without_lists_all_databases_but_the_templates_are_listed(void **state)
{
	pst_catalog *catalog = open_plain();

	(void) state;
	assert_true(lists(catalog, "postgres"));
	assert_true(lists(catalog, "cat Mixed"));
	assert_true(lists(catalog, "cat_private"));
	assert_false(lists(catalog, "template0"));
	assert_false(lists(catalog, "template1"));
	assert_false(lists(catalog, "cat_closed"));
	pst_catalog_close(catalog);
}

static void
a_database_without_connect_privilege_is_never_listed(void **state)
{
	log_lines lines = {""};
	pst_catalog *catalog = open_as("cat_reader");

	(void) state;
	assert_false(lists(catalog, "cat_private"));
	pst_catalog_close(catalog);
	catalog = open_with("username", "cat_reader", "database.whitelist", "cat_private", &lines);
	assert_false(lists(catalog, "cat_private"));
	assert_contains(lines.text, "cannot be connected to by role \"cat_reader\"");
	pst_catalog_close(catalog);
}

static void
an_allow_list_is_trimmed_exact_and_warns_of_what_is_absent(void **state)
{
	log_lines lines = {""};
	pst_catalog *catalog =
		open_with("database.whitelist", " ; cat Mixed\t;;Postgres;template1; cat_closed;nope ",
				  NULL, NULL, &lines);
	pst_error err = PST_ERROR_INIT;
	char *text;

	(void) state;
	assert_ok(pst_catalog_databases(catalog, &text, &err), &err);
	assert_string_equal(text, "[\"cat Mixed\",\"template1\"]");
	pst_free(text);
	assert_contains(lines.text, "\"Postgres\" is in database.whitelist but does not exist");
	assert_contains(lines.text, "there is \"postgres\"");
	assert_contains(lines.text, "\"cat_closed\" is in database.whitelist but takes no connections");
	assert_contains(lines.text, "\"nope\" is in database.whitelist but does not exist");
	assert_null(strstr(lines.text, "template1"));
	pst_catalog_close(catalog);
}

static void
a_deny_list_shows_all_others_that_can_be_connected_to(void **state)
{
	pst_catalog *catalog = open_with("database.denylist", "postgres; absent ;", NULL, NULL, NULL);

	(void) state;
	assert_false(lists(catalog, "postgres"));
	assert_true(lists(catalog, "template1"));
	assert_true(lists(catalog, "cat Mixed"));
	assert_false(lists(catalog, "template0"));
	pst_catalog_close(catalog);
}

static void
both_lists_are_refused_at_open_and_empty_ones_are_none(void **state)
{
	const char *keys[] = {"database.whitelist", "database.blacklist", NULL};
	const char *both[] = {"a", "b", NULL};
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog = (pst_catalog *) &err;

	(void) state;
	assert_fails(pst_catalog_open(keys, both, NULL, &catalog, &err), PST_ERR_INVALID, &err);
	assert_null(catalog);
	assert_string_equal(err.sqlstate, "22023");
	assert_contains(err.message, "database.whitelist and database.blacklist");
	catalog = open_with("database.whitelist", " ; ;", "database.blacklist", "cat Mixed", NULL);
	assert_false(lists(catalog, "cat Mixed"));
	assert_true(lists(catalog, "postgres"));
	pst_catalog_close(catalog);
	catalog = open_with("database.whitelist", " ; ;", "database.blacklist", "", NULL);
	assert_false(lists(catalog, "template1"));
	pst_catalog_close(catalog);
}

/* --- schemas and tables ------------------------------------------------------------------ */

static int
make_tables(void **state)
{
	(void) state;
	live_exec(
		admin,
		"CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s \"x\"');"
		"CREATE TYPE addr AS (street text, no int, tags text[], m mood);"
		"CREATE TYPE person AS (name varchar(20), home addr, homes addr[]);"
		"CREATE DOMAIN posint AS int CONSTRAINT positive CHECK (value > 0);"
		"CREATE DOMAIN posint2 AS posint NOT NULL;"
		"CREATE DOMAIN vc10 AS varchar(10);"
		"CREATE SCHEMA \"Odd.Sch\"\"ema\";"
		"CREATE TABLE \"Odd.Sch\"\"ema\".\"T a.\"\"b\" (\"A b\" int PRIMARY KEY, \"\xc3\xbc\" "
		"person);"
		"COMMENT ON TABLE \"Odd.Sch\"\"ema\".\"T a.\"\"b\" IS 'hi \"there\"';"
		"COMMENT ON COLUMN \"Odd.Sch\"\"ema\".\"T a.\"\"b\".\"A b\" IS 'it''s a key';"
		"CREATE TABLE \"Upper\" (a int);"
		"CREATE TABLE typed (e mood, es mood[], d posint2, v vc10, nn numeric, "
		"n2 numeric(10,2), n3 numeric(50,2), na numeric(8,3)[], nb numeric[], "
		"ts timestamptz(3), tz timestamptz, t time, iv interval, c char(4), c1 \"char\", "
		"bp bpchar, vv varchar, j jsonb, u uuid, iv2 int2vector, r int4range, o oid, "
		"def text DEFAULT 'x' || 'y', b bytea, f4 real, cl text COLLATE \"C\");"
		"CREATE TABLE parent (id serial PRIMARY KEY, b text, at timestamptz);"
		"CREATE UNIQUE INDEX parent_part ON parent (b) WHERE id > 0;"
		"CREATE UNIQUE INDEX parent_expr ON parent (lower(b));"
		"CREATE UNIQUE INDEX parent_plain ON parent (at, b);"
		"CREATE INDEX parent_at ON parent (at);"
		"CREATE TABLE child (z int) INHERITS (parent);"
		"CREATE TABLE late (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, "
		"p int REFERENCES parent (id) ON DELETE CASCADE, CONSTRAINT sane CHECK (a > 1));"
		"CREATE VIEW a_view AS SELECT id, b FROM parent;"
		"CREATE RULE a_rule AS ON INSERT TO a_view DO INSTEAD NOTHING;"
		"CREATE MATERIALIZED VIEW mat AS SELECT 1 AS x;"
		"CREATE FOREIGN DATA WRAPPER no_handler;"
		"CREATE SERVER nowhere FOREIGN DATA WRAPPER no_handler;"
		"CREATE FOREIGN TABLE far (a int) SERVER nowhere;"
		"CREATE TABLE empty ();"
		"CREATE SEQUENCE a_sequence;"
		"CREATE TABLE counted (a int); INSERT INTO counted SELECT generate_series(1, 1000);"
		"ANALYZE counted;"
		"CREATE UNLOGGED TABLE secured (a int);"
		"ALTER TABLE secured ENABLE ROW LEVEL SECURITY;"
		"ALTER TABLE secured FORCE ROW LEVEL SECURITY;"
		"CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
		"CREATE TRIGGER a_trigger BEFORE INSERT ON counted FOR EACH ROW EXECUTE PROCEDURE noop();"
		"ALTER TABLE counted REPLICA IDENTITY FULL;"
		"ALTER TABLE parent REPLICA IDENTITY USING INDEX parent_pkey;"
		"CREATE SCHEMA hidden; CREATE TABLE hidden.t (a int); CREATE ROLE cat_nobody LOGIN;");
	if (server_version() >= 100000)
		live_exec(admin,
				  "CREATE TABLE parted (a int, b text) PARTITION BY RANGE (a, lower(b));"
				  "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (1, 'a') TO (10, 'a');"
				  "CREATE TABLE ident (i int GENERATED ALWAYS AS IDENTITY, "
				  "j int GENERATED BY DEFAULT AS IDENTITY)");
	if (server_version() >= 120000)
		live_exec(admin, "CREATE TABLE gen (a int, g int GENERATED ALWAYS AS (a * 2) STORED)");
	if (server_version() >= 110000)
		live_exec(admin, "CREATE UNIQUE INDEX parent_incl ON parent (at) INCLUDE (b)");
	if (server_version() >= 150000)
		live_exec(admin, "CREATE TABLE one_null (a int UNIQUE NULLS NOT DISTINCT)");
	if (server_version() >= 180000)
		live_exec(admin,
				  "CREATE TABLE temporal (id int4range, valid daterange, CONSTRAINT temporal_key "
				  "PRIMARY KEY (id, valid WITHOUT OVERLAPS));"
				  "CREATE TABLE computed (a int, v int GENERATED ALWAYS AS (a * 2) VIRTUAL);"
				  "CREATE TABLE checked_later (a int, b int NOT NULL);"
				  "INSERT INTO checked_later VALUES (NULL, 1);"
				  "ALTER TABLE checked_later ADD CONSTRAINT later NOT NULL a NOT VALID");
	return 0;
}

static int
drop_roles(void **state)
{
	(void) state;
	live_exec(admin, "DROP OWNED BY cat_nobody; DROP ROLE cat_nobody");
	return 0;
}

static psti_json *
tables_of(pst_catalog *catalog, const char *schema)
{
	pst_error err = PST_ERROR_INIT;
	char *text;

	assert_ok(pst_catalog_tables(catalog, schema, &text, &err), &err);
	return parse(text);
}

static void
every_kind_of_relation_is_listed_in_order(void **state)
{
	pst_catalog *catalog = open_plain();
	psti_json *all = tables_of(catalog, NULL);
	const psti_json *previous = NULL;

	(void) state;
	assert_string_equal(psti_json_text(named(all, "parent"), "kind"), "table");
	assert_string_equal(psti_json_text(named(all, "a_view"), "kind"), "view");
	assert_string_equal(psti_json_text(named(all, "mat"), "kind"), "materialized view");
	assert_string_equal(psti_json_text(named(all, "far"), "kind"), "foreign table");
	if (server_version() >= 100000)
	{
		assert_string_equal(psti_json_text(named(all, "parted"), "kind"), "partitioned table");
		assert_false(psti_json_bool(named(all, "parted"), "partition", true));
		assert_true(psti_json_bool(named(all, "parted_1"), "partition", false));
	}
	assert_string_equal(psti_json_text(named(all, "T a.\"b"), "qualified"),
						"\"Odd.Sch\"\"ema\".\"T a.\"\"b\"");
	assert_string_equal(psti_json_text(named(all, "T a.\"b"), "comment"), "hi \"there\"");
	assert_int_equal(psti_json_int(named(all, "counted"), "rows", -1), 1000);
	assert_int_equal(psti_json_int(named(all, "parent"), "rows", -1), -1);
	for (const psti_json *item = psti_json_first(all); item != NULL; item = psti_json_next(item))
	{
		assert_string_not_equal(psti_json_text(item, "schema"), "pg_catalog");
		assert_string_not_equal(psti_json_text(item, "schema"), "information_schema");
		if (previous != NULL)
		{
			int order = strcmp(psti_json_text(previous, "schema"), psti_json_text(item, "schema"));

			assert_true(order < 0 || (order == 0 && strcmp(psti_json_text(previous, "name"),
														   psti_json_text(item, "name")) < 0));
		}
		previous = item;
	}
	psti_json_free(all);
	pst_catalog_close(catalog);
}

static void
a_schema_is_named_letter_by_letter(void **state)
{
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;
	psti_json *odd = tables_of(catalog, "Odd.Sch\"ema");
	psti_json *system = tables_of(catalog, "pg_catalog");
	char *text = (char *) &err;

	(void) state;
	assert_int_equal(psti_json_size(odd), 1);
	assert_string_equal(psti_json_text(named(system, "pg_class"), "kind"), "table");
	assert_fails(pst_catalog_tables(catalog, "Public", &text, &err), PST_ERR_NOT_FOUND, &err);
	assert_null(text);
	assert_contains(err.message, "schema \"Public\" does not exist");
	assert_contains(err.hint, "there is \"public\"");
	psti_json_free(odd);
	psti_json_free(system);
	pst_catalog_close(catalog);
}

static void
a_role_without_usage_sees_no_schema_and_is_told_the_grant(void **state)
{
	pst_catalog *catalog = open_as("cat_nobody");
	pst_error err = PST_ERROR_INIT;
	psti_json *all = tables_of(catalog, NULL);
	psti_json *schemas;
	char *text;

	(void) state;
	for (const psti_json *item = psti_json_first(all); item != NULL; item = psti_json_next(item))
		assert_string_not_equal(psti_json_text(item, "schema"), "hidden");
	assert_false(psti_json_bool(named(all, "parent"), "readable", true));
	psti_json_free(all);
	assert_ok(pst_catalog_schemas(catalog, &text, &err), &err);
	schemas = parse(text);
	assert_list(schemas, "public");
	psti_json_free(schemas);
	assert_fails(pst_catalog_tables(catalog, "hidden", &text, &err), PST_ERR_PRIVILEGE, &err);
	assert_string_equal(err.hint, "GRANT USAGE ON SCHEMA hidden TO cat_nobody;");
	assert_fails(pst_catalog_describe(catalog, "hidden.t", &text, &err), PST_ERR_PRIVILEGE, &err);
	assert_string_equal(err.table, "hidden.t");
	/* What a table looks like is no secret in PostgreSQL; what the role may do is told. */
	all = describe(catalog, "parent");
	assert_list(psti_json_get(all, "privileges"), "");
	assert_list(psti_json_get(column(all, "id"), "privileges"), "");
	psti_json_free(all);
	pst_catalog_close(catalog);
}

/* --- describe ---------------------------------------------------------------------------- */

static void
types_have_their_arrow_and_flink_forms(void **state)
{
	static const struct
	{
		const char *name, *type, *arrow, *flink;
	} cases[] = {
		{"e", "public.mood", "u", "STRING"},
		{"es", "public.mood[]", "u", "STRING"},
		{"d", "public.posint2", "i", "INT"},
		{"v", "public.vc10", "u", "VARCHAR(10)"},
		{"nn", "numeric", "u", "DECIMAL(38,18)"},
		{"n2", "numeric(10,2)", "d:10,2", "DECIMAL(10,2)"},
		{"n3", "numeric(50,2)", "u", "STRING"},
		{"na", "numeric(8,3)[]", "+l", "ARRAY<DECIMAL(8,3)>"},
		{"nb", "numeric[]", "+l", "ARRAY<DECIMAL(38,18)>"},
		{"ts", "timestamp(3) with time zone", "tsu:UTC", "TIMESTAMP_LTZ(3)"},
		{"tz", "timestamp with time zone", "tsu:UTC", "TIMESTAMP_LTZ(6)"},
		{"t", "time without time zone", "ttu", "TIME(6)"},
		{"iv", "interval", "tin", "STRING"},
		{"c", "character(4)", "u", "CHAR(4)"},
		{"c1", "\"char\"", "u", "STRING"},
		{"bp", "bpchar", "u", "STRING"},
		{"vv", "character varying", "u", "STRING"},
		{"j", "jsonb", "u", "STRING"},
		{"u", "uuid", "w:16", "STRING"},
		{"iv2", "int2vector", "u", "STRING"},
		{"r", "int4range", "u", "STRING"},
		{"b", "bytea", "z", "BYTES"},
		{"f4", "real", "f", "FLOAT"},
	};
	pst_catalog *catalog = open_plain();
	psti_json *typed = describe(catalog, "typed");

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const psti_json *c = column(typed, cases[i].name);

		assert_string_equal(psti_json_text(c, "type"), cases[i].type);
		assert_string_equal(psti_json_text(c, "arrow"), cases[i].arrow);
		assert_string_equal(psti_json_text(c, "flink"), cases[i].flink);
	}
	assert_string_equal(psti_json_text(column(typed, "u"), "arrow_extension"), "arrow.uuid");
	assert_string_equal(psti_json_text(column(typed, "def"), "default"),
						"('x'::text || 'y'::text)");
	assert_string_equal(psti_json_text(column(typed, "cl"), "collation"), "pg_catalog.\"C\"");
	assert_list(psti_json_get(column(typed, "e"), "labels"), "sad,ok,it's \"x\"");
	assert_list(psti_json_get(psti_json_get(column(typed, "es"), "element"), "labels"),
				"sad,ok,it's \"x\"");
	psti_json_free(typed);
	pst_catalog_close(catalog);
}

static void
domains_name_their_base_type_and_checks(void **state)
{
	pst_catalog *catalog = open_plain();
	psti_json *typed = describe(catalog, "typed");
	const psti_json *d = column(typed, "d");
	const psti_json *v = column(typed, "v");

	(void) state;
	assert_string_equal(psti_json_text(d, "base_type"), "integer");
	assert_string_equal(psti_json_text(psti_json_get(d, "domain"), "name"), "posint2");
	assert_true(psti_json_bool(psti_json_get(d, "domain"), "not_null", false));
	assert_string_equal(psti_json_text(v, "base_type"), "character varying(10)");
	assert_true(psti_json_is_null(psti_json_get(column(typed, "e"), "domain")));
	psti_json_free(typed);
	pst_catalog_close(catalog);
}

static void
composites_have_their_fields_at_any_depth_in_order(void **state)
{
	pst_catalog *catalog = open_plain();
	psti_json *odd = describe(catalog, "\"Odd.Sch\"\"ema\".\"T a.\"\"b\"");
	const psti_json *person = column(odd, "\xc3\xbc");
	const psti_json *fields = psti_json_get(person, "fields");
	const psti_json *home = named(fields, "home");
	const psti_json *homes = named(fields, "homes");
	const psti_json *inner = psti_json_get(psti_json_get(homes, "element"), "fields");

	(void) state;
	assert_string_equal(psti_json_text(person, "kind"), "composite");
	assert_int_equal(psti_json_size(fields), 3);
	assert_string_equal(psti_json_text(psti_json_at(fields, 0), "name"), "name");
	assert_string_equal(psti_json_text(psti_json_at(fields, 0), "type"), "character varying(20)");
	assert_int_equal(psti_json_size(psti_json_get(home, "fields")), 4);
	assert_string_equal(psti_json_text(homes, "kind"), "array");
	assert_string_equal(psti_json_text(psti_json_at(inner, 2), "type"), "text[]");
	assert_list(psti_json_get(psti_json_at(inner, 3), "labels"), "sad,ok,it's \"x\"");
	assert_string_equal(psti_json_text(column(odd, "A b"), "comment"), "it's a key");
	assert_list(psti_json_get(psti_json_get(odd, "primary_key"), "columns"), "A b");
	psti_json_free(odd);
	pst_catalog_close(catalog);
}

static void
only_plain_immediate_whole_unique_indexes_are_arbiters(void **state)
{
	pst_catalog *catalog = open_plain();
	psti_json *parent = describe(catalog, "parent");
	psti_json *late = describe(catalog, "late");
	const psti_json *indexes = psti_json_get(parent, "indexes");

	(void) state;
	assert_true(psti_json_bool(named(indexes, "parent_pkey"), "arbiter", false));
	assert_true(psti_json_bool(named(indexes, "parent_plain"), "arbiter", false));
	assert_list(psti_json_get(named(indexes, "parent_plain"), "columns"), "at,b");
	assert_false(psti_json_bool(named(indexes, "parent_part"), "arbiter", true));
	assert_string_equal(psti_json_text(named(indexes, "parent_part"), "predicate"), "(id > 0)");
	assert_false(psti_json_bool(named(indexes, "parent_expr"), "arbiter", true));
	assert_list(psti_json_get(named(indexes, "parent_expr"), "columns"), "lower(b)");
	assert_false(psti_json_bool(named(indexes, "parent_at"), "arbiter", true));
	assert_false(
		psti_json_bool(named(psti_json_get(late, "indexes"), "late_pkey"), "arbiter", true));
	assert_true(psti_json_bool(psti_json_get(late, "primary_key"), "deferrable", false));
	if (server_version() >= 110000)
	{
		const psti_json *incl = named(indexes, "parent_incl");

		assert_list(psti_json_get(incl, "columns"), "at");
		assert_list(psti_json_get(incl, "include"), "b");
		assert_true(psti_json_bool(incl, "arbiter", false));
	}
	psti_json_free(parent);
	psti_json_free(late);
	pst_catalog_close(catalog);
}

static void
keys_checks_inheritance_triggers_and_identity_are_told(void **state)
{
	pst_catalog *catalog = open_plain();
	psti_json *late = describe(catalog, "late");
	psti_json *parent = describe(catalog, "parent");
	psti_json *child = describe(catalog, "child");
	psti_json *counted = describe(catalog, "counted");
	psti_json *secured = describe(catalog, "secured");
	psti_json *view = describe(catalog, "a_view");
	psti_json *far = describe(catalog, "far");
	const psti_json *fk = psti_json_first(psti_json_get(late, "foreign_keys"));

	(void) state;
	assert_list(psti_json_get(fk, "columns"), "p");
	assert_string_equal(psti_json_text(psti_json_get(fk, "references"), "qualified"),
						"public.parent");
	assert_list(psti_json_get(psti_json_get(fk, "references"), "columns"), "id");
	assert_contains(psti_json_text(fk, "definition"), "ON DELETE CASCADE");
	assert_string_equal(psti_json_text(named(psti_json_get(late, "checks"), "sane"), "definition"),
						"CHECK ((a > 1))");
	assert_list(psti_json_get(parent, "inherited_by"), "public.child");
	assert_list(psti_json_get(child, "inherits"), "public.parent");
	assert_contains(psti_json_text(column(parent, "id"), "default"), "nextval(");
	assert_string_equal(psti_json_text(parent, "replica_identity"), "index");
	assert_string_equal(psti_json_text(parent, "replica_identity_index"), "parent_pkey");
	assert_string_equal(psti_json_text(counted, "replica_identity"), "full");
	assert_int_equal(psti_json_int(counted, "rows", -1), 1000);
	assert_true(psti_json_int(counted, "bytes", -1) >= 8192);
	assert_true(psti_json_is_null(psti_json_get(parent, "rows")));
	assert_contains(
		psti_json_text(named(psti_json_get(counted, "triggers"), "a_trigger"), "definition"),
		"BEFORE INSERT");
	assert_string_equal(psti_json_text(secured, "persistence"), "unlogged");
	assert_true(psti_json_bool(psti_json_get(secured, "row_security"), "enabled", false));
	/* The role is a superuser, so nothing is held back from it. */
	assert_false(psti_json_bool(psti_json_get(secured, "row_security"), "active", true));
	assert_list(psti_json_get(view, "rules"), "a_rule");
	assert_string_equal(psti_json_text(far, "server"), "nowhere");
	psti_json_free(late);
	psti_json_free(parent);
	psti_json_free(child);
	psti_json_free(counted);
	psti_json_free(secured);
	psti_json_free(view);
	psti_json_free(far);
	pst_catalog_close(catalog);
}

static void
partitioning_is_told_from_both_sides(void **state)
{
	pst_catalog *catalog;
	psti_json *parted;
	psti_json *leaf;
	const psti_json *part;

	(void) state;
	catalog = open_plain();
	parted = describe(catalog, "parted");
	leaf = describe(catalog, "parted_1");
	part = psti_json_get(parted, "partitioning");
	assert_string_equal(psti_json_text(part, "strategy"), "range");
	assert_string_equal(psti_json_text(part, "key"), "RANGE (a, lower(b))");
	assert_string_equal(
		psti_json_text(named(psti_json_get(part, "partitions"), "parted_1"), "bounds"),
		"FOR VALUES FROM (1, 'a') TO (10, 'a')");
	assert_string_equal(psti_json_text(psti_json_get(leaf, "partition_of"), "qualified"),
						"public.parted");
	assert_list(psti_json_get(leaf, "inherits"), "");
	psti_json_free(parted);
	psti_json_free(leaf);
	pst_catalog_close(catalog);
}

static void
generated_and_identity_columns_are_marked(void **state)
{
	pst_catalog *catalog;
	psti_json *ident;

	(void) state;
	catalog = open_plain();
	ident = describe(catalog, "ident");
	assert_string_equal(psti_json_text(column(ident, "i"), "identity"), "always");
	assert_string_equal(psti_json_text(column(ident, "j"), "identity"), "by default");
	psti_json_free(ident);
	if (server_version() >= 120000)
	{
		psti_json *gen = describe(catalog, "gen");

		assert_string_equal(psti_json_text(column(gen, "g"), "generated"), "stored");
		assert_string_equal(psti_json_text(column(gen, "g"), "generation_expression"), "(a * 2)");
		assert_true(psti_json_is_null(psti_json_get(column(gen, "g"), "default")));
		assert_true(psti_json_is_null(psti_json_get(column(gen, "a"), "generated")));
		psti_json_free(gen);
	}
	pst_catalog_close(catalog);
}

static void
virtual_generated_columns_are_marked(void **state)
{
	pst_catalog *catalog;
	psti_json *computed;

	(void) state;
	catalog = open_plain();
	computed = describe(catalog, "computed");
	assert_string_equal(psti_json_text(column(computed, "v"), "generated"), "virtual");
	assert_string_equal(psti_json_text(column(computed, "v"), "generation_expression"), "(a * 2)");
	assert_true(psti_json_is_null(psti_json_get(column(computed, "v"), "default")));
	psti_json_free(computed);
	pst_catalog_close(catalog);
}

static void
a_column_whose_not_null_is_not_valid_may_hold_null(void **state)
{
	pst_catalog *catalog;
	psti_json *later;

	(void) state;
	catalog = open_plain();
	later = describe(catalog, "checked_later");
	assert_false(psti_json_bool(column(later, "a"), "not_null", true));
	assert_true(psti_json_bool(column(later, "b"), "not_null", false));
	assert_int_equal((int) psti_json_size(psti_json_get(later, "checks")), 0);
	psti_json_free(later);
	live_exec(
		admin,
		"UPDATE checked_later SET a = 1; ALTER TABLE checked_later VALIDATE CONSTRAINT later");
	later = describe(catalog, "checked_later");
	assert_true(psti_json_bool(column(later, "a"), "not_null", false));
	psti_json_free(later);
	pst_catalog_close(catalog);
}

static void
a_key_without_overlaps_is_told_and_is_no_arbiter(void **state)
{
	pst_catalog *catalog;
	psti_json *temporal;
	const psti_json *index;

	(void) state;
	catalog = open_plain();
	temporal = describe(catalog, "temporal");
	index = named(psti_json_get(temporal, "indexes"), "temporal_key");
	assert_true(psti_json_bool(psti_json_get(temporal, "primary_key"), "without_overlaps", false));
	assert_list(psti_json_get(psti_json_get(temporal, "primary_key"), "columns"), "id,valid");
	assert_true(psti_json_bool(index, "unique", false));
	assert_false(psti_json_bool(index, "arbiter", true));
	psti_json_free(temporal);
	pst_catalog_close(catalog);
}

static void
an_index_with_nulls_not_distinct_is_told(void **state)
{
	pst_catalog *catalog;
	psti_json *table;
	const psti_json *index;

	(void) state;
	catalog = open_plain();
	table = describe(catalog, "one_null");
	index = named(psti_json_get(table, "indexes"), "one_null_a_key");
	assert_true(psti_json_bool(index, "nulls_not_distinct", false));
	assert_true(psti_json_bool(index, "arbiter", false));
	psti_json_free(table);
	pst_catalog_close(catalog);
}

static void
names_are_read_as_regclass_reads_them(void **state)
{
	static const struct
	{
		const char *given, *qualified;
	} found[] = {
		{"PARENT", "public.parent"},		 {"Public.Parent", "public.parent"},
		{"\"Upper\"", "public.\"Upper\""},	 {" public . parent ", "public.parent"},
		{"pg_class", "pg_catalog.pg_class"},
	};
	static const struct
	{
		const char *given;
		pst_status status;
		const char *hint;
	} failing[] = {
		{"Upper", PST_ERR_NOT_FOUND, "There is public.\"Upper\""},
		{"public.UPPER", PST_ERR_NOT_FOUND, "There is public.\"Upper\""},
		{"\"Parent\"", PST_ERR_NOT_FOUND, "There is public.parent"},
		{"t", PST_ERR_NOT_FOUND, "There is hidden.t"},
		{"absent", PST_ERR_NOT_FOUND, "Name the schema"},
		{"a b", PST_ERR_INVALID, "double quotes"},
		{"", PST_ERR_INVALID, ""},
		{"\"open", PST_ERR_INVALID, "Quotes in a name close"},
		{"a.b.c.d", PST_ERR_INVALID, ""},
		{"parent_pkey", PST_ERR_SQL, ""},
		{"a_sequence", PST_ERR_SQL, ""},
	};
	pst_catalog *catalog = open_plain();

	(void) state;
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
	{
		psti_json *relation = describe(catalog, found[i].given);

		assert_string_equal(psti_json_text(relation, "qualified"), found[i].qualified);
		psti_json_free(relation);
	}
	for (size_t i = 0; i < sizeof(failing) / sizeof(failing[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		char *text = (char *) &err;
		pst_status status = pst_catalog_describe(catalog, failing[i].given, &text, &err);

		if (status != failing[i].status || strstr(err.hint, failing[i].hint) == NULL)
			fail_msg("\"%s\": %s %s, hint \"%s\"", failing[i].given, pst_status_name(status),
					 err.message, err.hint);
		assert_null(text);
		assert_string_equal(err.table, failing[i].given);
	}
	pst_catalog_close(catalog);
}

static void
names_of_any_shape_are_described_listed_made_and_dropped(void **state)
{
	static const char *const names[] = {
		"with.dot",
		"with \"quotes\"",
		"UPPER",
		"\xce\xb1\xce\xb2 \xf0\x9f\x90\x98",
		"new\nline\ttab",
		"back\\slash 'single'",
		"select",
		"1st",
		"$1",
		"%s%n",
		"a;b--c/*d*/",
		"a123456789b123456789c123456789d123456789e123456789f123456789abc"};
	pst_catalog *catalog = open_plain();
	pst_error err = PST_ERROR_INIT;

	(void) state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		const field one = {names[i], "i", NULL, true};
		struct ArrowSchema schema;
		psti_buf qualified = PSTI_BUF_INIT;
		psti_json *all;
		psti_json *relation;
		char *ddl;

		psti_buf_qualified(&qualified, "public", names[i]);
		make_schema(&schema, &one, 1);
		assert_ok(pst_catalog_create_table(catalog, qualified.data, &schema, NULL, 0, NULL, &err),
				  &err);
		relation = describe(catalog, qualified.data);
		assert_string_equal(psti_json_text(relation, "name"), names[i]);
		(void) column(relation, names[i]);
		/* The answer's own name leads back to the same table. */
		all = describe(catalog, psti_json_text(relation, "qualified"));
		assert_string_equal(psti_json_text(all, "oid"), psti_json_text(relation, "oid"));
		psti_json_free(all);
		all = tables_of(catalog, "public");
		(void) named(all, names[i]);
		assert_ok(pst_catalog_flink_ddl(catalog, qualified.data, &ddl, &err), &err);
		pst_free(ddl);
		assert_ok(pst_catalog_drop_table(catalog, qualified.data, 0, 0, &err), &err);
		psti_json_free(all);
		psti_json_free(relation);
		psti_schema_release(&schema);
		psti_buf_free(&qualified);
	}
	pst_catalog_close(catalog);
}

static void
tables_of_1600_and_of_no_columns_are_described(void **state)
{
	pst_catalog *catalog = open_plain();
	psti_json *wide;
	psti_json *none;

	(void) state;
	live_exec(admin, "DO $$ BEGIN EXECUTE 'CREATE TABLE wide (' || (SELECT string_agg('c' || i || "
					 "' int', ',' ORDER BY i) FROM generate_series(1, 1600) i) || ')'; END $$");
	wide = describe(catalog, "wide");
	none = describe(catalog, "empty");
	assert_int_equal(psti_json_size(psti_json_get(wide, "columns")), 1600);
	assert_string_equal(psti_json_text(psti_json_at(psti_json_get(wide, "columns"), 1599), "name"),
						"c1600");
	assert_int_equal(psti_json_size(psti_json_get(none, "columns")), 0);
	psti_json_free(wide);
	psti_json_free(none);
	live_exec(admin, "DROP TABLE wide");
	pst_catalog_close(catalog);
}

static void
a_search_path_with_traps_changes_no_answer(void **state)
{
	pst_catalog *catalog;
	psti_json *relation;
	char *plain;
	char *trapped;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	catalog = open_plain();
	assert_ok(pst_catalog_describe(catalog, "public.typed", &plain, &err), &err);
	pst_catalog_close(catalog);
	live_exec(
		admin,
		"CREATE SCHEMA trap; CREATE TABLE trap.parent (x int);"
		"CREATE FUNCTION trap.never(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT false';"
		"CREATE OPERATOR trap.= (LEFTARG = name, RIGHTARG = name, PROCEDURE = trap.never);"
		"CREATE FUNCTION trap.never(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT false';"
		"CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, PROCEDURE = trap.never);"
		"CREATE ROLE cat_trapped LOGIN SUPERUSER;"
		"ALTER ROLE cat_trapped SET search_path = trap, pg_catalog, public");
	catalog = open_as("cat_trapped");
	assert_ok(pst_catalog_describe(catalog, "typed", &trapped, &err), &err);
	assert_string_equal(plain, trapped);
	relation = describe(catalog, "parent");
	assert_string_equal(psti_json_text(relation, "qualified"), "trap.parent");
	psti_json_free(relation);
	pst_free(plain);
	pst_free(trapped);
	pst_catalog_close(catalog);
	live_exec(admin, "DROP SCHEMA trap CASCADE; DROP ROLE cat_trapped");
}

static void
every_type_of_the_server_can_be_described(void **state)
{
	pst_catalog *catalog = open_plain();
	psti_json *all;
	long long ntypes;

	(void) state;
	live_exec(admin,
			  "CREATE TABLE all_types (); DO $$ DECLARE t record; BEGIN "
			  "FOR t IN SELECT oid, format_type(oid, NULL) AS name FROM pg_type "
			  "WHERE typisdefined AND typtype <> 'p' AND typrelid = 0 LOOP "
			  "BEGIN EXECUTE format('ALTER TABLE all_types ADD COLUMN %%I %%s', 'c' || t.oid, "
			  "t.name); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$");
	ntypes = live_int(admin, "SELECT count(*) FROM pg_attribute WHERE attrelid = "
							 "'all_types'::regclass AND attnum > 0");
	assert_true(ntypes > 100);
	all = describe(catalog, "all_types");
	assert_int_equal(psti_json_size(psti_json_get(all, "columns")), ntypes);
	for (const psti_json *c = psti_json_first(psti_json_get(all, "columns")); c != NULL;
		 c = psti_json_next(c))
	{
		assert_non_null(psti_json_text(c, "flink"));
		assert_non_null(psti_json_text(c, "arrow"));
		assert_string_not_equal(psti_json_text(c, "kind"), "pseudo");
	}
	psti_json_free(all);
	live_exec(admin, "DROP TABLE all_types");
	pst_catalog_close(catalog);
}

/* --- round trips ------------------------------------------------------------------------- */

/* ReadyForQuery messages of the proxy's first session: one a round trip, the login's included. */
static int
count_round_trips(char *report)
{
	psti_json *root = parse(report);
	const psti_json *session = psti_json_first(psti_json_get(root, "sessions"));
	const char *types = psti_json_text(psti_json_get(session, "server"), "types");
	int n = 0;

	assert_non_null(types);
	for (; *types != '\0'; types++)
		n += *types == 'Z';
	psti_json_free(root);
	return n;
}

static void
a_schema_of_200_tables_is_described_within_3_round_trips_from_open(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog;
	live_proxy proxy;
	psti_json *all;
	char *text;

	(void) state;
	live_exec(admin, "CREATE SCHEMA big; DO $$ BEGIN FOR i IN 1..200 LOOP EXECUTE format("
					 "'CREATE TABLE big.t%%s (a bigint PRIMARY KEY, b text, c int NOT NULL "
					 "DEFAULT 1, d numeric(12,2), e timestamptz, f text[], g jsonb, h uuid)', i); "
					 "END LOOP; END $$");
	live_proxy_start(&proxy, NULL);
	catalog = open_with("url", proxy.conninfo, NULL, NULL, NULL);
	assert_ok(pst_catalog_describe_all(catalog, "big", &text, &err), &err);
	pst_catalog_close(catalog);
	assert_true(count_round_trips(live_proxy_stop(&proxy)) <= 3);
	all = parse(text);
	assert_int_equal(psti_json_size(all), 200);
	assert_int_equal(psti_json_size(psti_json_get(named(all, "t77"), "columns")), 8);
	psti_json_free(all);
	live_exec(admin, "DROP SCHEMA big CASCADE");
}

static void
a_lost_connection_is_opened_anew(void **state)
{
	pst_catalog *catalog = open_plain();

	(void) state;
	live_exec(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
					 "WHERE pid <> pg_backend_pid() AND datname = current_database() "
					 "AND application_name LIKE 'penstock%%'");
	assert_true(lists(catalog, "postgres"));
	pst_catalog_close(catalog);
}

static void
listing_tables_waits_for_no_lock(void **state)
{
	pst_catalog *catalog = open_plain();

	(void) state;
	live_exec(admin, "BEGIN; LOCK TABLE parent, typed, counted IN ACCESS EXCLUSIVE MODE");
	psti_json_free(tables_of(catalog, NULL));
	live_exec(admin, "ROLLBACK");
	pst_catalog_close(catalog);
}

/* --- Flink ------------------------------------------------------------------------------- */

static void
a_relation_is_a_flink_table_ready_to_paste(void **state)
{
	pst_catalog *catalog = open_with("password", "s3cret", NULL, NULL, NULL);
	pst_error err = PST_ERROR_INIT;
	char *ddl;

	(void) state;
	assert_ok(pst_catalog_flink_ddl(catalog, "\"Odd.Sch\"\"ema\".\"T a.\"\"b\"", &ddl, &err), &err);
	assert_contains(ddl, "CREATE TABLE `T a.\"b` (\n"
						 "  `A b` INT NOT NULL COMMENT 'it''s a key',\n"
						 "  `\xc3\xbc` STRING,\n"
						 "  PRIMARY KEY (`A b`) NOT ENFORCED\n"
						 ") COMMENT 'hi \"there\"' WITH (\n"
						 "  'connector' = 'postgres',\n"
						 "  'url' = 'jdbc:postgresql://localhost:");
	assert_contains(ddl, "  'table-name' = '\"Odd.Sch\"\"ema\".\"T a.\"\"b\"',\n"
						 "  'username' = 'postgres'\n);\n");
	assert_null(strstr(ddl, "s3cret"));
	pst_free(ddl);
	assert_fails(pst_catalog_flink_ddl(catalog, "empty", &ddl, &err), PST_ERR_UNSUPPORTED, &err);
	pst_catalog_close(catalog);
}

/* --- who blocks -------------------------------------------------------------------------- */

static void
who_holds_a_process_up_is_named_prepared_transactions_too(void **state)
{
	pst_catalog *catalog = open_plain();
	PGconn *waiter = live_connect("");
	int pids[] = {PQbackendPID(waiter), PQbackendPID(admin)};
	bool prepared = live_int(admin, "SELECT current_setting('max_prepared_transactions')::int") > 0;
	pst_error err = PST_ERROR_INIT;
	psti_json *answer = NULL;
	const psti_json *entry;
	char *text;

	(void) state;
	assert_ok(pst_catalog_blockers(catalog, pids, 0, &text, &err), &err);
	assert_string_equal(text, "[]");
	pst_free(text);
	live_exec(admin, "BEGIN; LOCK TABLE parent IN ACCESS EXCLUSIVE MODE");
	assert_true(PQsendQuery(waiter, "SELECT count(*) FROM parent"));
	do
	{
		psti_json_free(answer);
		assert_ok(pst_catalog_blockers(catalog, pids, 2, &text, &err), &err);
		answer = parse(text);
	} while (psti_json_size(answer) == 0);
	entry = psti_json_first(answer);
	assert_int_equal(psti_json_int(entry, "pid", 0), pids[0]);
	assert_contains(psti_json_text(entry, "wait"), "Lock: relation");
	assert_string_equal(psti_json_text(entry, "object"), "public.parent");
	entry = psti_json_first(psti_json_get(entry, "blocked_by"));
	assert_int_equal(psti_json_int(entry, "pid", 0), pids[1]);
	assert_string_equal(psti_json_text(entry, "user"), "postgres");
	assert_string_equal(psti_json_text(entry, "state"), "idle in transaction");
	if (prepared)
	{
		live_exec(admin, "PREPARE TRANSACTION 'a gid'");
		psti_json_free(answer);
		assert_ok(pst_catalog_blockers(catalog, pids, 2, &text, &err), &err);
		answer = parse(text);
		entry = psti_json_first(psti_json_get(psti_json_first(answer), "blocked_by"));
		assert_string_equal(psti_json_text(entry, "gid"), "a gid");
		live_exec(admin, "ROLLBACK PREPARED 'a gid'");
	}
	else
		live_exec(admin, "ROLLBACK");
	psti_json_free(answer);
	PQfinish(waiter);
	pst_catalog_close(catalog);
}

static void
a_transport_that_is_not_there_is_refused(void **state)
{
	const char *keys[] = {"transport", NULL};
	const char *values[] = {"assisted", NULL};
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog;

	(void) state;
	assert_fails(pst_catalog_open(keys, values, NULL, &catalog, &err), PST_ERR_UNSUPPORTED, &err);
	catalog = open_with("transport", "plain", NULL, NULL, NULL);
	assert_string_equal(pst_catalog_transport(catalog), "plain");
	pst_catalog_close(catalog);
}

/* --- the run ----------------------------------------------------------------------------- */

static int
begin(void **state)
{
	if (live_make_database(state) != 0)
		return -1;
	admin = live_connect("");
	live_exec(admin, "SET client_min_messages = error");
	return make_databases(state) != 0 || make_tables(state) != 0 ? -1 : 0;
}

static int
end(void **state)
{
	drop_databases(state);
	drop_roles(state);
	PQfinish(admin);
	return live_drop_database(state);
}

/* --- the extension ----------------------------------------------------------------------- */

/* Whether a query answers true of a json text, as $1. */
static bool
holds_of(const char *query, const char *json)
{
	const char *values[] = {json};
	PGresult *result = PQexecParams(admin, query, 1, NULL, values, NULL, NULL, 0);
	bool holds;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s", PQresultErrorMessage(result));
	holds = strcmp(PQgetvalue(result, 0, 0), "t") == 0;
	PQclear(result);
	return holds;
}

static void
the_extensions_functions_give_the_same_answers(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog = open_plain();
	char *text;

	(void) state;
	live_exec(admin, "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS penstock");
	live_exec(
		admin,
		"CREATE SCHEMA same; CREATE TYPE same.pair AS (a numeric(7,3)[], b interval(3)); "
		"CREATE DOMAIN same.price AS numeric(8,2) CHECK (VALUE > 0); CREATE TABLE same.t (id int "
		"GENERATED ALWAYS AS IDENTITY PRIMARY KEY, p same.pair[], q same.price, d timestamptz "
		"DEFAULT '2020-01-02 03:04:05+00', i interval DEFAULT '1 day 2 hours', c char(3), x xml)");
	assert_ok(pst_catalog_describe_all(catalog, NULL, &text, &err), &err);
	assert_true(holds_of("SELECT $1::jsonb = jsonb_agg(d) FROM penstock.catalog() d", text));
	pst_free(text);
	assert_ok(pst_catalog_describe_all(catalog, "pg_catalog", &text, &err), &err);
	assert_true(
		holds_of("SELECT bool_and(d = penstock.describe((d ->> 'qualified')::regclass)) FROM "
				 "jsonb_array_elements($1::jsonb) d WHERE d ->> 'name' LIKE 'pg_a%'",
				 text));
	pst_free(text);
	assert_ok(pst_catalog_tables(catalog, "pg_catalog", &text, &err), &err);
	assert_true(
		holds_of("SELECT $1::jsonb = jsonb_agg(t) FROM penstock.tables('pg_catalog') t", text));
	pst_free(text);
	assert_ok(pst_catalog_databases(catalog, &text, &err), &err);
	assert_true(holds_of("SELECT $1::jsonb = jsonb_agg(d) FROM penstock.databases() d", text));
	pst_free(text);
	assert_ok(pst_catalog_doctor(catalog, &text, &err), &err);
	assert_true(holds_of(
		"SELECT $1::jsonb -> 'checks' = jsonb_agg(to_jsonb(d)) FROM penstock.doctor() d", text));
	pst_free(text);
	pst_catalog_close(catalog);
	live_exec(admin, "DROP SCHEMA same CASCADE");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_lists_all_databases_but_the_templates_are_listed),
		cmocka_unit_test(a_database_without_connect_privilege_is_never_listed),
		cmocka_unit_test(an_allow_list_is_trimmed_exact_and_warns_of_what_is_absent),
		cmocka_unit_test(a_deny_list_shows_all_others_that_can_be_connected_to),
		cmocka_unit_test(both_lists_are_refused_at_open_and_empty_ones_are_none),
		cmocka_unit_test(every_kind_of_relation_is_listed_in_order),
		cmocka_unit_test(a_schema_is_named_letter_by_letter),
		cmocka_unit_test(a_role_without_usage_sees_no_schema_and_is_told_the_grant),
		cmocka_unit_test(types_have_their_arrow_and_flink_forms),
		cmocka_unit_test(domains_name_their_base_type_and_checks),
		cmocka_unit_test(composites_have_their_fields_at_any_depth_in_order),
		cmocka_unit_test(only_plain_immediate_whole_unique_indexes_are_arbiters),
		cmocka_unit_test(keys_checks_inheritance_triggers_and_identity_are_told),
		live_test_since(100000, "a partitioned table", partitioning_is_told_from_both_sides),
		live_test_since(100000, "an identity column", generated_and_identity_columns_are_marked),
		live_test_since(180000, "a virtual generated column", virtual_generated_columns_are_marked),
		live_test_since(180000, "NOT NULL as a constraint",
						a_column_whose_not_null_is_not_valid_may_hold_null),
		live_test_since(180000, "a key WITHOUT OVERLAPS",
						a_key_without_overlaps_is_told_and_is_no_arbiter),
		live_test_since(150000, "NULLS NOT DISTINCT", an_index_with_nulls_not_distinct_is_told),
		cmocka_unit_test(names_are_read_as_regclass_reads_them),
		cmocka_unit_test(names_of_any_shape_are_described_listed_made_and_dropped),
		cmocka_unit_test(tables_of_1600_and_of_no_columns_are_described),
		cmocka_unit_test(a_search_path_with_traps_changes_no_answer),
		cmocka_unit_test(every_type_of_the_server_can_be_described),
		cmocka_unit_test(a_schema_of_200_tables_is_described_within_3_round_trips_from_open),
		cmocka_unit_test(a_lost_connection_is_opened_anew),
		cmocka_unit_test(listing_tables_waits_for_no_lock),
		cmocka_unit_test(a_relation_is_a_flink_table_ready_to_paste),
		cmocka_unit_test(who_holds_a_process_up_is_named_prepared_transactions_too),
		cmocka_unit_test(a_transport_that_is_not_there_is_refused),
		live_test_extension(the_extensions_functions_give_the_same_answers),
	};

	return live_run(tests, begin, end);
}
