/* source_test.c - reading: one moment, every row once, on a live server. */
#include "test.h"

#include <errno.h>
#include <pthread.h>

#include "live.h"
#include "pgnumeric.h"
#include "source_rows.h"

/* The server's own rows of a query, rendered and sorted like ours. */
static char *
server_rows(const char *sql)
{
	PGresult *result = PQexec(admin, sql);
	char *text;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQresultErrorMessage(result));
	text = rows_of_result(result);
	PQclear(result);
	return text;
}

static void
assert_same_as_server(char *got, const char *sql)
{
	char *want = server_rows(sql);

	if (strcmp(got, want) != 0)
	{
		size_t at = 0;

		while (got[at] != '\0' && got[at] == want[at])
			at++;
		fail_msg("%s: rows differ near \"%.120s\", wanted \"%.120s\"", sql,
				 got + (at > 40 ? at - 40 : 0), want + (at > 40 ? at - 40 : 0));
	}
	free(want);
	free(got);
}

/* ---- What is read ---- */

static void
projection_filter_and_limit_are_pushed_down(void **state)
{
	(void) state;
	live_exec(admin,
			  "CREATE TABLE p AS SELECT g AS id, 'n' || g AS name FROM generate_series(1, 9) g");
	assert_rows(rows("table-name", "p", "read.columns", "name, id", "read.filter", "id > 7", NULL),
				"n8|8\nn9|9\n");
	assert_int_equal(count_rows("table-name", "p", "read.limit", "4", NULL), 4);
	assert_int_equal(count_rows("table-name", "p", "read.limit", "0", NULL), 0);
	assert_rows(rows("query", "SELECT name AS x, id AS x FROM p WHERE id = 3; ", NULL), "n3|3\n");
	assert_rows(rows("query", "VALUES (1, 'a') -- the end", NULL), "1|a\n");
	live_exec(admin, "DROP TABLE p");
}

static void
a_filter_cannot_escape_its_parentheses(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	live_exec(admin, "CREATE TABLE f (a int)");
	assert_fails(
		open_source(&source, &err, "table-name", "f", "read.filter", "a > 1) OR (true", NULL),
		PST_ERR_SQL, &err);
	assert_fails(open_source(&source, &err, "table-name", "f", "read.filter", "true LIMIT 1", NULL),
				 PST_ERR_SQL, &err);
	assert_contains(err.message, "read.filter");
	live_exec(admin, "DROP TABLE f");
}

static void
wrong_targets_are_named(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	live_exec(admin, "CREATE TABLE w (a int); CREATE SEQUENCE wseq");
	assert_fails(open_source(&source, &err, NULL), PST_ERR_INVALID, &err);
	assert_fails(open_source(&source, &err, "table-name", "w", "query", "SELECT 1", NULL),
				 PST_ERR_INVALID, &err);
	assert_fails(open_source(&source, &err, "table-name", "nothing", NULL), PST_ERR_NOT_FOUND,
				 &err);
	assert_fails(open_source(&source, &err, "table-name", "wseq", NULL), PST_ERR_SQL, &err);
	assert_fails(open_source(&source, &err, "table-name", "w", "read.columns", "a,b", NULL),
				 PST_ERR_NOT_FOUND, &err);
	assert_string_equal(err.column, "b");
	assert_fails(open_source(&source, &err, "table-name", "w", "read.text-columns", "b", NULL),
				 PST_ERR_NOT_FOUND, &err);
	assert_fails(open_source(&source, &err, "query", "SELECT 1; SELECT 2", NULL), PST_ERR_SQL,
				 &err);
	assert_fails(open_source(&source, &err, "query", "SHOW port", NULL), PST_ERR_SQL, &err);
	assert_contains(err.hint, "SELECT");
	assert_fails(open_source(&source, &err, "query",
							 "WITH d AS (DELETE FROM w RETURNING a) SELECT * FROM d", NULL),
				 PST_ERR_UNSUPPORTED, &err);
	live_exec(admin, "DROP TABLE w; DROP SEQUENCE wseq");
}

static void
assert_transport(const char *option, const char *values, const char *transport)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	assert_ok(open_source(&source, &err, "table-name", "a", "transport", option, "read.values",
						  values, NULL),
			  &err);
	assert_string_equal(pst_source_transport(source), transport);
	pst_source_close(source);
}

static void
transport_is_assisted_where_the_extension_is_and_told(void **state)
{
	const char *best = live_assisted(admin) ? "assisted" : "plain";
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	live_exec(admin, "CREATE TABLE a (x int)");
	assert_transport("auto", "arrow", best);
	assert_transport("auto", "csv", best);
	assert_transport("auto", "json", "plain");
	assert_transport("auto", "lossless", "plain");
	assert_transport("plain", "arrow", "plain");
	if (live_assisted(admin))
		assert_transport("assisted", "arrow", "assisted");
	else
	{
		assert_fails(open_source(&source, &err, "table-name", "a", "transport", "assisted", NULL),
					 PST_ERR_UNSUPPORTED, &err);
		assert_contains(err.hint, "CREATE EXTENSION penstock");
		assert_contains(err.hint, "transport=auto");
	}
	assert_fails(open_source(&source, &err, "table-name", "a", "transport", "assisted",
							 "read.values", "json", NULL),
				 PST_ERR_UNSUPPORTED, &err);
	assert_contains(err.message, "read.values=json");
	live_exec(admin, "DROP TABLE a");
}

static void
any_name_of_a_table_or_column_reads(void **state)
{
	(void) state;
	live_exec(admin, "CREATE SCHEMA \"S.s\"; CREATE TABLE \"S.s\".\"T\"\"x.y\" "
					 "(\"a\"\"b\" int, \"C d\" int, \"select\" int, \"t.%%s\" int); "
					 "INSERT INTO \"S.s\".\"T\"\"x.y\" VALUES (1, 2, 3, 4), (5, 6, 7, 8)");
	assert_rows(rows("table-name", "T\"x.y", "schema-name", "S.s", NULL), "1|2|3|4\n5|6|7|8\n");
	assert_rows(rows("table-name", "\"S.s\".\"T\"\"x.y\"", "read.columns", "\"t.%s\", \"a\"\"b\"",
					 "read.filter", "\"select\" = 3", NULL),
				"4|1\n");
	assert_int_equal(count_planned(0, "table-name", "T\"x.y", "schema-name", "S.s",
								   "scan.partition.column", "C d", "scan.partition.num", "2",
								   "scan.partition.lower-bound", "1", "scan.partition.upper-bound",
								   "9", NULL),
					 2);
	live_exec(admin, "DROP SCHEMA \"S.s\" CASCADE");
}

static void
views_matviews_foreign_tables_inheritance_and_partitions_read_whole(void **state)
{
	bool partitions = PQserverVersion(admin) >= 100000;

	(void) state;
	live_exec(admin,
			  "CREATE TABLE base (a int NOT NULL); INSERT INTO base SELECT generate_series(1, 5); "
			  "CREATE VIEW vw AS SELECT a FROM base WHERE a > 2; "
			  "CREATE MATERIALIZED VIEW mv AS SELECT a FROM base; "
			  "CREATE TABLE child (b int) INHERITS (base); INSERT INTO child VALUES (6, 0)");
	if (partitions)
		live_exec(admin, "CREATE TABLE part (a int, k int) PARTITION BY RANGE (a); "
						 "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (10); "
						 "CREATE TABLE part2 (k int, a int); "
						 "ALTER TABLE part ATTACH PARTITION part2 FOR VALUES FROM (10) TO (20); "
						 "INSERT INTO part SELECT g, g FROM generate_series(1, 19) g");
	assert_rows(rows("table-name", "vw", NULL), "3\n4\n5\n6\n");
	assert_rows(rows("table-name", "mv", NULL), "1\n2\n3\n4\n5\n");
	assert_int_equal(count_rows("table-name", "base", NULL), 6);
	assert_int_equal(count_planned(0, "table-name", "base", "read.split-bytes", "8kb", NULL), 6);
	if (partitions)
	{
		assert_int_equal(count_planned(0, "table-name", "part", "read.split-bytes", "8kb", NULL),
						 19);
		assert_int_equal(count_planned(2, "table-name", "part", "read.filter", "part.a > 9", NULL),
						 10);
		live_exec(admin, "DROP TABLE part");
	}
	if (live_int(admin, "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'"))
	{
		live_exec(admin,
				  "CREATE EXTENSION postgres_fdw; "
				  "CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', "
				  "port '%s', dbname '%s'); CREATE USER MAPPING FOR postgres SERVER self; "
				  "CREATE FOREIGN TABLE ft (a int NOT NULL) SERVER self "
				  "OPTIONS (table_name 'mv')",
				  getenv("PGHOST"), getenv("PGPORT"), getenv("PGDATABASE"));
		assert_int_equal(count_planned(4, "table-name", "ft", NULL), 5);
	}
	live_exec(admin, "DROP TABLE base CASCADE; DROP EXTENSION IF EXISTS postgres_fdw CASCADE");
}

static void
tables_of_no_columns_no_rows_and_1600_columns_read(void **state)
{
	PGresult *result;
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	struct ArrowArray array;

	(void) state;
	live_exec(admin, "CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; "
					 "INSERT INTO nothing DEFAULT VALUES; CREATE TABLE empty (a int, b text)");
	assert_int_equal(count_rows("table-name", "nothing", NULL), 2);
	assert_int_equal(count_planned(0, "table-name", "empty", NULL), 0);
	assert_int_equal(count_planned(7, "table-name", "empty", "scan.partition.column", "a",
								   "scan.partition.num", "3", "scan.partition.lower-bound", "1",
								   "scan.partition.upper-bound", "2", NULL),
					 0);
	result = PQexec(admin, "DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE wide (' || "
						   "string_agg('c' || g || ' int', ', ') || ')' "
						   "FROM generate_series(1, 1600) g); END $$; "
						   "INSERT INTO wide (c1, c1600) VALUES (1, 2), (3, 4)");
	assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
	PQclear(result);
	assert_ok(open_source(&source, &err, "table-name", "wide", NULL), &err);
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &array), 0);
	assert_int_equal(array.length, 2);
	assert_int_equal(array.n_children, 1600);
	assert_int_equal(((const int32_t *) array.children[1599]->buffers[1])[1], 4);
	assert_int_equal(array.children[1]->null_count, 2);
	array.release(&array);
	stream.release(&stream);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE nothing, empty, wide");
}

/* ---- Schema ---- */

static void
fields_tell_type_nullability_and_extension(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;

	(void) state;
	live_exec(admin, "CREATE DOMAIN price AS numeric(8,2); CREATE TABLE s (id int NOT NULL, "
					 "p price, u uuid, j jsonb, n numeric, v varchar(3)[], m numeric(3,1)[])");
	assert_ok(open_source(&source, &err, "table-name", "s", NULL), &err);
	assert_ok(pst_source_schema(source, &schema, &err), &err);
	assert_field(schema.children[0], "i", "id", "integer", NULL);
	assert_int_equal(schema.children[0]->flags & ARROW_FLAG_NULLABLE, 0);
	assert_field(schema.children[1], "d:8,2", "p", "price", NULL);
	assert_int_equal(schema.children[1]->flags & ARROW_FLAG_NULLABLE, ARROW_FLAG_NULLABLE);
	assert_field(schema.children[2], "w:16", "u", "uuid", "arrow.uuid");
	assert_field(schema.children[3], "u", "j", "jsonb", "arrow.json");
	assert_field(schema.children[4], "u", "n", "numeric", NULL);
	assert_field(schema.children[5], "+l", "v", "character varying(3)[]", NULL);
	assert_field(schema.children[5]->children[0], "u", "item", "character varying(3)", NULL);
	assert_field(schema.children[6]->children[0], "d:3,1", "item", "numeric(3,1)", NULL);
	schema.release(&schema);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE s; DROP DOMAIN price");
}

static void
estimates_come_from_the_planner(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	int64_t nrows;
	int64_t nbytes;

	(void) state;
	live_exec(admin, "CREATE TABLE e AS SELECT generate_series(1, 1000) AS a; ANALYZE e");
	assert_ok(open_source(&source, &err, "table-name", "e", NULL), &err);
	assert_ok(pst_source_estimate(source, &nrows, &nbytes, &err), &err);
	assert_int_equal(nrows, 1000);
	assert_int_equal(nbytes, 4000);
	pst_source_close(source);
	assert_ok(open_source(&source, &err, "table-name", "e", "read.limit", "10", NULL), &err);
	assert_ok(pst_source_estimate(source, &nrows, &nbytes, &err), &err);
	assert_int_equal(nrows, 10);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE e");
}

/* ---- Values ---- */

/* Literals of types beyond those that the catalogs are full of. */
static const char samples_sql[] =
	"CREATE TYPE mood AS ENUM ('sad', 'so \"so\"', 'a,b'); "
	"CREATE DOMAIN small AS int CHECK (value < 100); CREATE DOMAIN many AS int[]; "
	"CREATE DOMAIN feeling AS mood; "
	"CREATE TYPE span AS RANGE (subtype = float8); CREATE TABLE samples ("
	"bo bool, by bytea, ch \"char\", na name, i8 int8, i2 int2, i4 int4, te text, oi oid, ti tid, "
	"xi xid, ci cid, js json, xm xml, po point, ls lseg, pa path, bx box, pg polygon, ln line, "
	"cc circle, f4 float4, f8 float8, mo money, ma macaddr, m8 macaddr8, ip inet, cd cidr, "
	"bp char(5), vc varchar(7), da date, tm time, ts timestamp, tz timestamptz, iv interval, "
	"tt timetz, bi bit(3), vb varbit, nu numeric, n2 numeric(38,10), uu uuid, tv tsvector, "
	"tq tsquery, jb jsonb, ir int4range, nr numrange, tr tstzrange, sp span, md mood, pr pair, "
	"sm small, mn many, tw twin, fe feeling, ac aclitem, re regclass, rp regproc, ry regtype, "
	"ls2 pg_lsn, ts3 txid_snapshot, ov oidvector, iv2 int2vector, "
	"ai int[], at text[], ad date[], an numeric(6,2)[], ab box[], am mood[], ap pair[], ar "
	"int4range[], "
	"aj jsonb[], ay bytea[]); "
	"INSERT INTO samples VALUES (true, '\\x00ff', 'x', 'nm', 9223372036854775807, -32768, "
	"-2147483648, "
	"E'l1\\nl2\\t\"q\\\\', 4294967295, '(1,2)', '7', '8', E'{\\n \"a\" : [1,\\n2] }', '<a>b</a>', "
	"'(1,2)', '((1,2),(3,4))', '((1,2),(3,4))', '((1,2),(3,4))', '((1,2),(3,4),(5,6))', '{1,2,3}', "
	"'<(1,2),3>', 1.1, 0.1, '12.34', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '1.2.3.4', "
	"'10.0.0.0/8', 'ab', 'cd', '2024-02-29', '23:59:59.999999', '2024-02-29 12:00:00.5', "
	"'2024-02-29 12:00:00+02', '1 year -2 days 03:04:05.6', '12:00:00+05:30', '101', '1100', "
	"'1234567890.000', 12.5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a:1 b:2', 'a & b', "
	"'{\"b\": 1, \"a\": null}', '[1,5)', '(,2.5]', '[2024-01-01,)', '[1.5,2]', 'so \"so\"', "
	"'(1,\"x y\")', 5, '{1,2}', '(2,z)', 'sad', 'postgres=r/postgres', 'pg_class', 'now', 'int4', "
	"'16/B374D848', '10:20:10,14', '1 2 3', '4 5', '{1,NULL,3}', '{\"a,b\",NULL,\"NULL\",\"\"}', "
	"'{2024-01-01}', '{1.5,2}', '{(1,2),(3,4);(5,6),(7,8)}', '{sad,\"a,b\"}', '{\"(1,a)\"}', "
	"'{\"[1,2)\"}', ARRAY['{\"a\":1}']::jsonb[], ARRAY['\\x01']::bytea[]); "
	"INSERT INTO samples (f4, f8, nu, da, ts, tz, tm, iv, mo, pr, ai, js, jb, te, ap, ac) VALUES "
	"('NaN', '-Infinity', 'NaN', 'infinity', '-infinity', 'infinity', '24:00:00', '-178000000 "
	"years', "
	"'-0.01', '(,)', '[2:3]={1,2}', 'null', '\"str\"', '', '{}', NULL), "
	"('1e-20', '1e300', '1e-30', '4713-01-01 BC', '0044-03-15 12:00:00 BC', '0001-12-31 BC', "
	"'00:00', "
	"'1 mon', '1', '(1,)', '{{1,2},{3,4}}', ' \"x\" ', 'null', ' ', '{\"(,)\"}', NULL), "
	"('-0', '-0', '-0.00', '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-01-01', "
	"'00:00', "
	"'-1 day 01:00', '0', NULL, '{}', '5', '5', 'é€😀', NULL, NULL); "
	"INSERT INTO samples DEFAULT VALUES";

/* Types that an older server lacks are texts there. */
static void
make_samples(void)
{
	int version = PQserverVersion(admin);

	live_exec(admin, "CREATE TYPE pair AS (a int, b text); CREATE DOMAIN twin AS %s",
			  version >= 110000 ? "pair" : "text");
	if (version < 100000)
		live_exec(admin, "CREATE DOMAIN macaddr8 AS text");
	live_exec(admin, "%s", samples_sql);
}

static void
drop_samples(void)
{
	live_exec(admin, "DROP TABLE samples; DROP DOMAIN small, many, twin, feeling; "
					 "DROP TYPE mood, pair, span");
	if (PQserverVersion(admin) < 100000)
		live_exec(admin, "DROP DOMAIN macaddr8");
}

static void
csv_values_of_every_kind_of_type_are_the_output_functions_text(void **state)
{
	(void) state;
	make_samples();
	assert_same_as_server(rows("table-name", "samples", "read.values", "csv", NULL),
						  "SELECT * FROM samples");
	assert_same_as_server(rows("table-name", "samples", "read.text-columns", "*", NULL),
						  "SELECT * FROM samples");
	drop_samples();
}

static void
every_type_there_is_reads_and_says_null(void **state)
{
	(void) state;
	/* Row types of catalogs that hold a pseudo-type can be no column's type. */
	live_exec(
		admin,
		"CREATE TABLE every (); DO $$ DECLARE t oid; BEGIN FOR t IN SELECT oid FROM pg_type WHERE "
		"typtype IN ('b', 'c', 'd', 'e', 'r', 'm') AND typisdefined ORDER BY oid LOOP BEGIN "
		"EXECUTE format('ALTER TABLE every ADD t%%s %%s DEFAULT NULL', t, t::regtype); EXCEPTION "
		"WHEN "
		"invalid_table_definition THEN NULL; END; END LOOP; END $$; "
		"INSERT INTO every DEFAULT VALUES");
	assert_true(live_int(admin,
						 "SELECT count(*) FROM pg_attribute WHERE attrelid = 'every'::regclass "
						 "AND attnum > 0") > 300);
	assert_same_as_server(rows("table-name", "every", "read.values", "csv", NULL),
						  "SELECT * FROM every");
	assert_same_as_server(rows("table-name", "every", "read.values", "json", NULL),
						  "SELECT * FROM every");
	assert_same_as_server(rows("table-name", "every", NULL), "SELECT * FROM every");
	live_exec(admin, "DROP TABLE every");
}

static void
every_system_catalog_reads_as_the_server_prints_it(void **state)
{
	PGresult *tables;

	(void) state;
	tables = PQexec(
		admin,
		"SELECT c.relname, c.oid::regclass FROM pg_class c WHERE relnamespace = "
		"'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND relname !~ "
		"'^pg_(stat|locks|cursors|prepared|backend|shmem|settings|timezone|config|replication"
		"|hba|ident|file|aios)' ORDER BY 1");
	assert_true(PQntuples(tables) > 60);
	for (int i = 0; i < PQntuples(tables); i++)
	{
		char sql[300];

		snprintf(sql, sizeof(sql), "SELECT * FROM pg_catalog.%s", PQgetvalue(tables, i, 0));
		assert_same_as_server(rows("table-name", PQgetvalue(tables, i, 0), "schema-name",
								   "pg_catalog", "read.values", "csv", NULL),
							  sql);
	}
	PQclear(tables);
	live_exec(admin,
			  "CREATE TABLE a (x text[], y int); INSERT INTO a SELECT ARRAY['a', 'b'], g / 3 "
			  "FROM generate_series(1, 100) g; ANALYZE a");
	assert_same_as_server(
		rows("query", "SELECT * FROM pg_stats WHERE tablename = 'a'", "read.values", "csv", NULL),
		"SELECT * FROM pg_stats WHERE tablename = 'a'");
	live_exec(admin, "DROP TABLE a");
}

static void
json_values_are_those_of_row_to_json(void **state)
{
	PGresult *columns;

	(void) state;
	make_samples();
	columns = PQexec(
		admin, "SELECT attname FROM pg_attribute WHERE attrelid = 'samples'::regclass "
			   "AND attnum > 0 AND attname NOT IN ('js', 'jb', 'ai', 'ov', 'iv2') ORDER BY attnum");
	for (int i = 0; i < PQntuples(columns); i++)
	{
		const char *name = PQgetvalue(columns, i, 0);
		char sql[400];

		/* ->> would unquote; the value as it stands in the object. */
		snprintf(sql, sizeof(sql),
				 "SELECT CASE WHEN num_nulls(\"%s\") = 0 THEN translate((row_to_json(r) -> "
				 "'%s')::text, E'\\n', ' ') END FROM (SELECT \"%s\" FROM samples) r",
				 name, name, name);
		assert_same_as_server(
			rows("table-name", "samples", "read.columns", name, "read.values", "json", NULL), sql);
	}
	PQclear(columns);
	drop_samples();
}

static void
json_nulls_strings_line_breaks_and_lower_bounds_stay_apart(void **state)
{
	(void) state;
	live_exec(admin, "CREATE TABLE j (id int, a json, b jsonb, c int[]); INSERT INTO j VALUES "
					 "(1, ' null ', 'null', '[2:3]={1,2}'), (2, '\"x\"', '\"x\"', '{1,2}'), "
					 "(3, E'{\"a\":\\n\\r1}', '{\"a\": 1}', '{{1},{2}}'), (4, NULL, NULL, NULL), "
					 "(5, ' 5', '5', '{}'), (6, 'true', 'false', '[0:0]={7}')");
	/* Vectors count from 0. */
	assert_rows(
		rows("query", "SELECT '4 5'::int2vector, '6'::oidvector", "read.values", "json", NULL),
		"\"4 5\"|\"6\"\n");
	assert_rows(rows("table-name", "j", "read.values", "json", NULL),
				"1|\"null\"|\"null\"|\"[2:3]={1,2}\"\n"
				"2|\"\\\"x\\\"\"|\"\\\"x\\\"\"|[1,2]\n"
				"3|{\"a\":  1}|{\"a\": 1}|[[1],[2]]\n"
				"4|\\N|\\N|\\N\n"
				"5|5|5|[]\n"
				"6|true|false|\"[0:0]={7}\"\n");
	live_exec(admin, "DROP TABLE j");
}

static void
arrow_values_of_the_known_types(void **state)
{
	(void) state;
	live_exec(
		admin,
		"CREATE TABLE v (a bool, b int2, c int4, d int8, e float4, f float8, g date, h time, "
		"i timestamp, j timestamptz, k interval, l bytea, m text, n uuid, o jsonb, "
		"p numeric(6,2), q numeric(38,0), r int[], s text[], t numeric(4,1)[], u bool[], v "
		"uuid[]); "
		"INSERT INTO v VALUES (true, -5, 70000, -9223372036854775808, 1.5, -2.25, '2000-01-02', "
		"'00:00:01', '1970-01-01 00:00:01', '1970-01-01 01:00:00+00', '1 mon 2 days 00:00:03', "
		"'\\x0102', 'té', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"x\":1}', -1.25, "
		"99999999999999999999999999999999999999, '{1,NULL,3}', '{a,NULL,\"\"}', '{1.5,-2}', "
		"'{t,NULL,f}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'), "
		"(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "
		"NULL, NULL, NULL, NULL, '{}', NULL, NULL, NULL)");
	assert_rows(
		rows("table-name", "v", NULL),
		"\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|[]|\\N|\\N|\\N\n"
		"true|-5|70000|-9223372036854775808|1.5|-2.25|10958|1000000|1000000|3600000000|"
		"1m2d3000000000n|0102|té|a0eebc999c0b4ef8bb6d6bb9bd380a11|{\"x\": 1}|-1.25|"
		"99999999999999999999999999999999999999|[1,\\N,3]|[a,\\N,]|[1.5,-2.0]|[true,\\N,false]|"
		"[a0eebc999c0b4ef8bb6d6bb9bd380a11]\n");
	live_exec(admin, "DROP TABLE v");
}

static void
special_values_are_refused_by_name_and_key(void **state)
{
	static const char *const values[][2] = {
		{"numeric(5,1)", "NaN"},		{"date", "infinity"},	   {"date", "0044-03-15 BC"},
		{"date", "10000-01-01"},		{"timestamp", "infinity"}, {"timestamptz", "0001-12-31 BC"},
		{"time", "24:00:00"},			{"int[]", "[2:3]={1,2}"},  {"int[]", "{{1},{2}}"},
		{"interval", "10000000 hours"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;

		live_exec(admin,
				  "CREATE TABLE sv (k int, v %s, l text, PRIMARY KEY (l, k)); "
				  "INSERT INTO sv VALUES (1, NULL, 'x'), (7, '%s', 'y z')",
				  values[i][0], values[i][1]);
		assert_int_equal(read_to_error(&err, "table-name", "sv", NULL), EIO);
		assert_int_equal(err.status, PST_ERR_DATA);
		assert_string_equal(err.column, "v");
		assert_string_equal(err.key, "(k, l)=(7, y z)");
		assert_string_equal(err.table, "sv");
		assert_int_equal(err.row, 1);
		assert_contains(err.hint, "read.text-columns");
		assert_rows(rows("table-name", "sv", "special-values", "null", "read.columns", "k,v", NULL),
					"1|\\N\n7|\\N\n");
		live_exec(admin, "DROP TABLE sv");
	}
}

static void
special_values_can_be_clamped_or_read_as_text(void **state)
{
	(void) state;
	live_exec(admin,
			  "CREATE TABLE c (a numeric(3,1), b date, c timestamp, d time, e int[], f interval); "
			  "INSERT INTO c VALUES ('NaN', 'infinity', '-infinity', '24:00', '[2:3]={1,2}', "
			  "'-10000000 hours')");
	assert_rows(rows("table-name", "c", "special-values", "clamp", NULL),
				"\\N|2932896|-62135596800000000|86399999999|[1,2]|0m0d-9223372036854775000n\n");
	assert_rows(rows("table-name", "c", "read.text-columns", "a,b,c,d,e,f", NULL),
				"NaN|infinity|-infinity|24:00:00|[2:3]={1,2}|-10000000:00:00\n");
	assert_rows(rows("table-name", "c", "read.text-columns", "b", "read.columns", "b", NULL),
				"infinity\n");
	live_exec(admin, "DROP TABLE c");
}

static void
text_of_latin1_databases_is_utf8(void **state)
{
	char *database = getenv("PGDATABASE");

	(void) state;
	live_exec(admin, "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' "
					 "LC_CTYPE 'C'");
	{
		PGconn *latin = live_connect("dbname=latin");

		live_exec(latin, "SET client_encoding = UTF8");
		live_exec(latin,
				  "CREATE TABLE t (a text, b bytea, c \"char\", "
				  "\"é\" jsonb, n name); INSERT INTO t VALUES ('é', '\\xe9', 'x', '\"ü\"', 'ñ')");
		PQfinish(latin);
	}
	assert_rows(rows("table-name", "t", "database-name", "latin", NULL), "é|e9|x|\"ü\"|ñ\n");
	assert_rows(rows("table-name", "t", "database-name", "latin", "read.values", "csv",
					 "read.filter", "a = 'é'", NULL),
				"é|\\xe9|x|\"ü\"|ñ\n");
	assert_string_equal(database, getenv("PGDATABASE"));
	live_exec(admin, "DROP DATABASE latin");
}

static void
bytes_of_sql_ascii_databases_that_are_not_utf8_are_named(void **state)
{
	pst_error err = PST_ERROR_INIT;

	(void) state;
	live_exec(admin, "CREATE DATABASE raw TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' "
					 "LC_CTYPE 'C'");
	{
		PGconn *raw = live_connect("dbname=raw");

		live_exec(raw,
				  "SET client_encoding = SQL_ASCII; CREATE TABLE t (k int PRIMARY KEY, a text); "
				  "INSERT INTO t VALUES (1, 'é'), (2, E'\\xe9')");
		PQfinish(raw);
	}
	assert_rows(rows("table-name", "t", "database-name", "raw", "read.filter", "k = 1", NULL),
				"1|é\n");
	assert_int_equal(read_to_error(&err, "table-name", "t", "database-name", "raw", NULL), EIO);
	assert_string_equal(err.sqlstate, "22021");
	assert_string_equal(err.column, "a");
	assert_string_equal(err.key, "(k)=(2)");
	live_exec(admin, "DROP DATABASE raw");
}

/* ---- Batches ---- */

static void
batches_are_bounded_by_rows_and_bytes_and_outlive_the_handle(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	struct ArrowArray first;
	struct ArrowArray array;
	int64_t total = 0;

	(void) state;
	live_exec(admin, "CREATE TABLE b AS SELECT g AS a, repeat('x', 100) AS t FROM "
					 "generate_series(1, 1000) g");
	assert_ok(open_source(&source, &err, "table-name", "b", "read.batch-rows", "300", NULL), &err);
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &first), 0);
	assert_int_equal(first.length, 300);
	stream.release(&stream);
	pst_source_close(source);
	assert_int_equal(((const int32_t *) first.children[0]->buffers[1])[299], 300);
	first.release(&first);

	assert_ok(open_source(&source, &err, "table-name", "b", "read.batch-bytes", "4kb", NULL), &err);
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	for (;;)
	{
		assert_int_equal(stream.get_next(&stream, &array), 0);
		if (array.release == NULL)
			break;
		assert_true(array.length <= 40);
		total += array.length;
		array.release(&array);
	}
	assert_int_equal(total, 1000);
	stream.release(&stream);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE b");
}

static void
a_stream_that_outlives_its_handle_answers_einval(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	struct ArrowArray array;
	struct ArrowSchema schema;

	(void) state;
	assert_ok(open_source(&source, &err, "query", "SELECT generate_series(1, 1000000)",
						  "read.batch-rows", "10", NULL),
			  &err);
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &array), 0);
	array.release(&array);
	pst_source_close(source);
	assert_int_equal(stream.get_next(&stream, &array), EINVAL);
	assert_null(array.release);
	assert_contains(stream.get_last_error(&stream), "closed");
	assert_int_equal(stream.get_schema(&stream, &schema), 0);
	schema.release(&schema);
	stream.release(&stream);
	assert_null(stream.release);
}

static void
a_stream_released_early_leaves_the_handle_and_its_plan_usable(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	struct ArrowArrayStream second;
	struct ArrowArray array;
	char **splits;
	size_t n;

	(void) state;
	live_exec(admin,
			  "CREATE TABLE r AS SELECT g, repeat('x', 100) FROM generate_series(1, 200000) g");
	assert_ok(open_source(&source, &err, "table-name", "r", "read.batch-rows", "10", NULL), &err);
	assert_ok(pst_source_plan(source, 2, &splits, &n, &err), &err);
	assert_ok(pst_source_read(source, splits[0], &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &array), 0);
	array.release(&array);
	assert_fails(pst_source_read(source, splits[0], &second, &err), PST_ERR_STATE, &err);
	stream.release(&stream);
	live_exec(admin, "DELETE FROM r");
	assert_int_equal(count_splits(source, splits, n), 200000);
	pst_free(splits);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE r");
}

static void
errors_of_the_server_leave_the_plan_usable_and_are_kept(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	struct ArrowArray array;
	int code = 0;

	(void) state;
	assert_ok(open_source(&source, &err, "query",
						  "SELECT 1 / (g - 500) FROM generate_series(1, 1000) g", "read.batch-rows",
						  "100", NULL),
			  &err);
	for (int i = 0; i < 2; i++)
	{
		pst_error last = PST_ERROR_INIT;

		assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
		do
		{
			code = stream.get_next(&stream, &array);
			if (code == 0)
				array.release(&array);
		} while (code == 0);
		assert_int_equal(code, EIO);
		assert_contains(stream.get_last_error(&stream), "division by zero");
		assert_int_equal(pst_source_error(source, &last), PST_ERR_DATA);
		assert_string_equal(last.sqlstate, "22012");
		stream.release(&stream);
	}
	pst_source_close(source);
}

static void
cancel_ends_a_blocked_read(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	pst_hooks hooks = PST_HOOKS_INIT;
	struct ArrowArrayStream stream;
	pthread_t thread;

	(void) state;
	assert_ok(pst_canceller_new(&hooks.canceller, &err), &err);
	assert_ok(open_source_hooks(&source, &hooks, &err, "query", "SELECT pg_sleep(600)", NULL),
			  &err);
	assert_int_equal(pthread_create(&thread, NULL, cancel_when_sleeping, hooks.canceller), 0);
	assert_fails(pst_source_read(source, NULL, &stream, &err), PST_ERR_CANCELED, &err);
	pthread_join(thread, NULL);
	assert_fails(pst_source_read(source, NULL, &stream, &err), PST_ERR_STATE, &err);
	pst_source_close(source);
	pst_canceller_free(hooks.canceller);
	assert_int_equal(live_int(admin,
							  "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
							  "query LIKE 'SAVEPOINT%%pg_sleep(600)%%'"),
					 0);
}

static void
progress_is_told_after_each_batch(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_progress last = {0};

	(void) state;
	live_exec(admin, "CREATE TABLE g AS SELECT generate_series(1, 1000) AS a; ANALYZE g");
	hooks.ctx = &last;
	hooks.progress = note_progress;
	assert_ok(open_source_hooks(&source, &hooks, &err, "table-name", "g", NULL), &err);
	assert_int_equal(count_splits(source, NULL, 1), 1000);
	pst_source_close(source);
	assert_int_equal(last.rows, 1000);
	assert_int_equal(last.rows_total, 1000);
	assert_true(last.bytes > 4000);
	live_exec(admin, "DROP TABLE g");
}

/* ---- One moment ---- */

static void
all_splits_are_one_moment_whatever_is_written_meanwhile(void **state)
{
	pst_source *source;
	pst_source *worker;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;
	long long sum = 0;

	(void) state;
	live_exec(admin, "CREATE TABLE m (id int PRIMARY KEY, v int, pad text) WITH (fillfactor = 50); "
					 "INSERT INTO m SELECT g, 1, repeat('x', 200) FROM generate_series(1, 5000) g");
	assert_ok(open_source(&source, &err, "table-name", "m", "read.split-bytes", "64kb",
						  "read.columns", "v", NULL),
			  &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_true(n > 10 || PQserverVersion(admin) < 140000);
	/* Moves, deletes, growth, pruning; what would rewrite the table must wait for us. */
	live_exec(admin, "UPDATE m SET v = 2; DELETE FROM m WHERE id %% 3 = 0; "
					 "INSERT INTO m SELECT g, 9, 'new' FROM generate_series(10000, 30000) g; "
					 "UPDATE m SET v = 3, pad = pad || 'y'");
	live_exec(admin, "VACUUM m");
	live_exec(admin, "SET lock_timeout = '50ms'");
	assert_refused(admin, "VACUUM FULL m", "55P03");
	assert_refused(admin, "TRUNCATE m", "55P03");
	assert_refused(admin, "ALTER TABLE m ALTER v TYPE bigint", "55P03");
	assert_refused(admin, "DROP TABLE m", "55P03");
	live_exec(admin, "RESET lock_timeout");
	assert_ok(open_source(&worker, &err, "table-name", "m", "read.split-bytes", "64kb",
						  "read.columns", "v", NULL),
			  &err);
	for (size_t i = 0; i < n; i++)
		sum += sum_int32(i % 2 == 0 ? source : worker, splits[i]);
	assert_int_equal(sum, 5000);
	pst_free(splits);
	pst_source_close(worker);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE m");
}

static void
a_rewrite_before_the_lock_is_waited_for_and_seen_whole(void **state)
{
	static const char *const targets[] = {"w", "wv"};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		blocked_read job = {.table = targets[i]};
		PGconn *writer = live_connect("");
		pthread_t thread;

		live_exec(admin, "CREATE TABLE w (a int); INSERT INTO w SELECT generate_series(1, 100); "
						 "CREATE VIEW wv AS SELECT a FROM w");
		live_exec(writer, "BEGIN; TRUNCATE w; INSERT INTO w SELECT generate_series(1, 7)");
		assert_int_equal(pthread_create(&thread, NULL, read_in_thread, &job), 0);
		wait_for_lock(admin);
		live_exec(writer, "COMMIT");
		pthread_join(thread, NULL);
		assert_string_equal(job.error, "");
		assert_int_equal(job.count, 7);
		PQfinish(writer);
		live_exec(admin, "DROP TABLE w CASCADE");
	}
}

static void
a_column_that_changes_after_open_is_named(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;

	(void) state;
	live_exec(admin, "CREATE TABLE ch (a int, b int); INSERT INTO ch VALUES (1, 2)");
	assert_ok(open_source(&source, &err, "table-name", "ch", NULL), &err);
	live_exec(admin, "ALTER TABLE ch ALTER b TYPE text");
	assert_fails(pst_source_read(source, NULL, &stream, &err), PST_ERR_CONFLICT, &err);
	assert_string_equal(err.column, "b");
	assert_true(err.retryable);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE ch");
}

static void
a_split_is_refused_where_it_means_nothing(void **state)
{
	pst_source *source;
	pst_source *other;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	char **splits;
	size_t n;
	char *forged;

	(void) state;
	live_exec(admin, "CREATE TABLE sp (a int); CREATE TABLE secret (a int)");
	assert_ok(open_source(&source, &err, "table-name", "sp", NULL), &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_int_equal(strncmp(splits[0], "pst1:", 5), 0);

	assert_ok(open_source(&other, &err, "table-name", "sp", "read.filter", "a > 0", NULL), &err);
	assert_fails(pst_source_read(other, splits[0], &stream, &err), PST_ERR_INVALID, &err);
	assert_contains(err.message, "another read");
	pst_source_close(other);

	assert_ok(open_source(&other, &err, "table-name", "sp", NULL), &err);
	assert_fails(pst_source_read(other, "nonsense", &stream, &err), PST_ERR_INVALID, &err);
	forged = replace(splits[0], "\"database\":\"", "\"database\":\"x");
	assert_fails(pst_source_read(other, forged, &stream, &err), PST_ERR_STATE, &err);
	assert_contains(err.message, "another database");
	free(forged);
	forged = replace(splits[0], "\"started\":\"2", "\"started\":\"1");
	assert_fails(pst_source_read(other, forged, &stream, &err), PST_ERR_STATE, &err);
	assert_contains(err.hint, "restart");
	free(forged);
	forged = replace(splits[0], "\"system\":\"", "\"system\":\"9");
	assert_fails(pst_source_read(other, forged, &stream, &err), PST_ERR_STATE, &err);
	free(forged);
	if (strstr(splits[0], "\"blocks\"") != NULL)
	{
		char oid[40];
		char secret[40];

		/* Another table's blocks are none of this one's. */
		snprintf(oid, sizeof(oid), "{\"oid\":%lld",
				 live_int(admin, "SELECT 'sp'::regclass::oid::int8"));
		snprintf(secret, sizeof(secret), "{\"oid\":%lld",
				 live_int(admin, "SELECT 'secret'::regclass::oid::int8"));
		forged = replace(splits[0], oid, secret);
		assert_fails(pst_source_read(other, forged, &stream, &err), PST_ERR_INVALID, &err);
		assert_contains(err.message, "no part of the table");
		free(forged);
	}
	pst_source_close(source);
	pst_source_close(other);
	assert_ok(open_source(&other, &err, "table-name", "sp", NULL), &err);
	assert_fails(pst_source_read(other, splits[0], &stream, &err), PST_ERR_STATE, &err);
	assert_contains(err.hint, "must stay open");
	pst_source_close(other);
	pst_free(splits);
	live_exec(admin, "DROP TABLE sp, secret");
}

/* ---- Strides ---- */

static const char *const bound_options[] = {"include", "filter"};

/* Each stride's rows are disjoint and together what one read gives; returns how many splits. */
static void
assert_strides(const char *table, const char *column, const char *lower, const char *upper,
			   const char *num)
{
	for (int bounds = 0; bounds < 2; bounds++)
	{
		char sql[600];
		char *got = planned_rows(0, "table-name", table, "scan.partition.column", column,
								 "scan.partition.lower-bound", lower, "scan.partition.upper-bound",
								 upper, "scan.partition.num", num, "scan.partition.bounds",
								 bound_options[bounds], "read.values", "csv", NULL);

		if (bounds == 0)
			snprintf(sql, sizeof(sql), "SELECT * FROM %s", table);
		else
			snprintf(sql, sizeof(sql), "SELECT * FROM %s WHERE %s BETWEEN '%s' AND '%s'", table,
					 column, lower, upper);
		assert_same_as_server(got, sql);
	}
}

static void
strides_cover_every_row_once_for_every_type(void **state)
{
	(void) state;
	live_exec(
		admin,
		"CREATE TABLE st (i2 int2, i4 int4, i8 int8, o oid, n numeric, m numeric(6,2), f float8, "
		"d date, ts timestamp, tz timestamptz, u uuid, t text, c char(4) COLLATE \"C\", na name, "
		"v varchar(9)); INSERT INTO st SELECT g, g, g, g + 1000, g / 4.0, g / 8.0, g / 3.0, "
		"'2020-01-01'::date + g, '2020-01-01'::timestamp + g * interval '1 s', "
		"'2020-01-01'::timestamptz + g * interval '1 h', md5(g::text)::uuid, 'k' || g, g %% 100, "
		"'n' || g, chr(65 + (g + 300) %% 26) || g FROM generate_series(-200, 200) g; "
		"INSERT INTO st DEFAULT VALUES; INSERT INTO st VALUES (32767, 2147483647, "
		"9223372036854775807, 4294967295, 'NaN', 9999.99, 'NaN', 'infinity', '-infinity', "
		"'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'é', '', '', 'z'), "
		"(-32768, -2147483648, -9223372036854775808, 0, -1e30, -9999.99, '-Infinity', "
		"'4713-01-01 BC', '4713-01-01 BC', '294276-12-31', "
		"'00000000-0000-0000-0000-000000000000', '', ' ', ' ', ''); "
		"CREATE TABLE hot AS SELECT 5 AS a FROM generate_series(1, 100)");
	assert_strides("st", "i2", "-100", "100", "7");
	assert_strides("st", "i4", "-2147483648", "2147483647", "5");
	assert_strides("st", "i8", "-9223372036854775808", "9223372036854775807", "3");
	assert_strides("st", "i8", "-10", "10", "100");
	assert_strides("st", "i8", "5", "5", "4");
	assert_strides("st", "o", "0", "4294967295", "3");
	assert_strides("st", "n", "1", "6", "2");
	assert_strides("st", "n", "-0.5", "10.25", "4");
	assert_strides("st", "n", "-1000000000000000000000000", "1e25", "4");
	assert_strides("st", "m", "1", "3", "3");
	assert_strides("st", "f", "-10", "10", "6");
	assert_strides("st", "d", "2020-01-01", "2020-03-01", "5");
	assert_strides("st", "d", "0044-01-01 BC", "2020-03-01", "5");
	assert_strides("st", "ts", "2020-01-01", "2020-01-01 00:01:00.5", "5");
	assert_strides("st", "tz", "2019-12-31 12:00+02", "2020-01-03", "5");
	assert_strides("st", "u", "00000000-0000-0000-0000-000000000000",
				   "ffffffff-ffff-ffff-ffff-ffffffffffff", "16");
	assert_strides("st", "t", "k", "kz", "5");
	assert_strides("st", "t", "", "é", "9");
	assert_strides("st", "c", "1", "9", "4");
	assert_strides("st", "na", "n", "n9", "4");
	assert_strides("st", "v", "A", "Z", "13");
	assert_strides("hot", "a", "1", "10", "4");
	live_exec(admin, "DROP TABLE st, hot");
}

static void
strides_follow_a_columns_own_collation(void **state)
{
	(void) state;
	if (!live_int(admin, "SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'"))
		live_skip("the server is built without ICU");
	live_exec(admin,
			  "CREATE TABLE co (t text COLLATE \"en-x-icu\"); INSERT INTO co SELECT chr(g) || "
			  "chr(g + 1) FROM generate_series(33, 300) g WHERE g <> 127");
	assert_strides("co", "t", "a", "Z", "7");
	live_exec(admin, "DROP TABLE co");
}

static void
partition_options_go_together_and_are_checked_at_open(void **state)
{
	static const struct
	{
		const char *column, *num, *lower, *upper;
		const char *message;
	} cases[] = {
		{"a", "2", "1", NULL, "scan.partition.upper-bound"},
		{NULL, "2", "1", "9", "scan.partition.column"},
		{"a", "2", "10", "9", "scan.partition.lower-bound"},
		{"x", "2", "1", "9", "scan.partition.column"},
		{"j", "2", "1", "9", "scan.partition.column"},
		{"a", "0", "1", "9", "scan.partition.num"},
		{"a", "2", "one", "9", "scan.partition.lower-bound"},
		{"n", "2", "NaN", "9", "scan.partition"},
	};

	(void) state;
	live_exec(admin, "CREATE TABLE po (a int, j json, n numeric)");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		pst_source *source;
		pst_error err = PST_ERROR_INIT;
		const char *keys[] = {"url",
							  "table-name",
							  "scan.partition.column",
							  "scan.partition.num",
							  "scan.partition.lower-bound",
							  "scan.partition.upper-bound",
							  NULL};
		const char *values[] = {
			"", "po", cases[i].column, cases[i].num, cases[i].lower, cases[i].upper, NULL};

		assert_true(pst_source_open(keys, values, NULL, &source, &err) < 0);
		assert_contains(err.message, cases[i].message);
	}
	live_exec(admin, "DROP TABLE po");
}

static void
max_splits_and_stale_statistics_lose_nothing(void **state)
{
	(void) state;
	live_exec(admin, "CREATE TABLE ss (a int) WITH (autovacuum_enabled = off); ANALYZE ss; "
					 "INSERT INTO ss SELECT generate_series(1, 20000)");
	for (int max = 0; max < 9; max++)
	{
		pst_source *source;
		pst_error err = PST_ERROR_INIT;
		char **splits;
		size_t n;

		assert_ok(open_source(&source, &err, "table-name", "ss", "read.split-bytes", "64kb", NULL),
				  &err);
		assert_ok(pst_source_plan(source, max, &splits, &n, &err), &err);
		assert_true(n >= 1 && (max == 0 || n <= (size_t) max));
		assert_int_equal(count_splits(source, splits, n), 20000);
		pst_free(splits);
		pst_source_close(source);
	}
	live_exec(admin, "DROP TABLE ss");
}

static void
a_selective_filter_is_left_to_the_index(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;

	(void) state;
	live_exec(admin, "CREATE TABLE si AS SELECT g AS a FROM generate_series(1, 20000) g; "
					 "CREATE INDEX ON si (a); ANALYZE si");
	assert_ok(open_source(&source, &err, "table-name", "si", "read.split-bytes", "64kb",
						  "read.filter", "a < 100", NULL),
			  &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_int_equal(n, 1);
	assert_contains(splits[0], "\"all\"");
	pst_free(splits);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE si");
}

static void
a_sample_of_random_plans_covers_random_rows(void **state)
{
	uint64_t seed = 20240229;

	(void) state;
	live_exec(
		admin,
		"CREATE TABLE rp (a int8); INSERT INTO rp SELECT (random() * 1000)::int8 - 500 "
		"FROM generate_series(1, 300); INSERT INTO rp SELECT NULL FROM generate_series(1, 5); "
		"INSERT INTO rp VALUES (9223372036854775807), (-9223372036854775808)");
	/* The conditions of whole plans, evaluated by the server in one statement a plan. */
	for (int i = 0; i < 1000; i++)
	{
		int64_t lower = (int64_t) (test_random(&seed) % 1200) - 600;
		int64_t upper = lower + (int64_t) (test_random(&seed) % 700);
		bool filter = test_random(&seed) % 2;
		size_t n = 1 + test_random(&seed) % 40;
		char *sql = plan_condition(lower, upper, n, filter, "rp.a");

		if (live_int(
				admin,
				"SELECT count(*) FROM (SELECT a, %s AS n FROM rp) s WHERE n <> CASE WHEN %s THEN 1 "
				"ELSE 0 END",
				sql, filter ? "false" : "true") != 0 &&
			!filter)
			fail_msg("not covered once: %s", sql);
		if (filter && live_int(admin,
							   "SELECT count(*) FROM (SELECT a, %s AS n FROM rp) s WHERE n <> CASE "
							   "WHEN a BETWEEN %lld AND %lld THEN 1 ELSE 0 END",
							   sql, (long long) lower, (long long) upper) != 0)
			fail_msg("bounds not kept: %s", sql);
		free(sql);
	}
	live_exec(admin, "DROP TABLE rp");
}

/* ---- Privileges ---- */

static void
settings_that_change_what_texts_mean_are_pinned(void **state)
{
	(void) state;
	assert_rows(rows("url", "options='-c array_nulls=off -c xmloption=document'", "query",
					 "SELECT current_setting('array_nulls'), current_setting('xmloption'), "
					 "('{NULL}'::text[])[1] IS NULL AS n",
					 NULL),
				"on|content|true\n");
}

static void
children_are_read_where_the_role_has_them_left_out(void **state)
{
	/* Servers from 10 on do not have the setting: children are always read. */
	const char *url = PQserverVersion(admin) < 100000 ? "options='-c sql_inheritance=off'" : "";

	(void) state;
	live_exec(admin, "CREATE TABLE inh AS SELECT 1 AS a; CREATE TABLE inh1 () INHERITS (inh); "
					 "INSERT INTO inh1 VALUES (2); CREATE VIEW inhv AS SELECT a FROM inh*");
	for (int i = 0; i < 2; i++)
		assert_int_equal(count_rows("url", url, "table-name", i == 0 ? "inh" : "inhv", NULL), 2);
	live_exec(admin, "DROP TABLE inh CASCADE");
}

static void
names_in_texts_follow_the_search_path_and_are_whole_under_an_empty_one(void **state)
{
	static const char *const values[] = {"arrow", "csv", "lossless"};

	(void) state;
	live_exec(admin,
			  "CREATE SCHEMA nm; CREATE TYPE nm.ty AS ENUM ('v'); CREATE TABLE nm.na (c regclass, "
			  "t regtype, p regprocedure, l regclass[]); CREATE FUNCTION nm.fu(nm.ty) RETURNS int "
			  "LANGUAGE sql AS 'SELECT 1'; INSERT INTO nm.na VALUES ('nm.na', 'nm.ty', "
			  "'nm.fu(nm.ty)', '{nm.na,pg_class}')");
	for (int i = 0; i < 3; i++)
	{
		assert_rows(rows("url", "options='-csearch_path=nm'", "table-name", "na", "read.values",
						 values[i], NULL),
					"na|ty|fu(ty)|{na,pg_class}\n");
		assert_rows(rows("url", "options='-csearch_path='", "table-name", "nm.na", "read.values",
						 values[i], NULL),
					"nm.na|nm.ty|nm.fu(nm.ty)|{nm.na,pg_class}\n");
	}
	live_exec(admin, "DROP SCHEMA nm CASCADE");
}

static void
row_security_and_grants_hold_in_every_plan(void **state)
{
	(void) state;
	live_exec(admin, "DROP ROLE IF EXISTS penstock_reader; CREATE ROLE penstock_reader LOGIN; "
					 "GRANT USAGE ON SCHEMA public TO penstock_reader; "
					 "CREATE TABLE sec (a int, who text) PARTITION BY RANGE (a); "
					 "CREATE TABLE sec1 PARTITION OF sec FOR VALUES FROM (0) TO (10); "
					 "CREATE TABLE sec2 PARTITION OF sec FOR VALUES FROM (10) TO (20); "
					 "INSERT INTO sec SELECT g, CASE WHEN g %% 2 = 0 THEN 'penstock_reader' END "
					 "FROM generate_series(0, 19) g; GRANT SELECT ON sec TO penstock_reader; "
					 "CREATE TABLE cols (id int PRIMARY KEY, open text, closed text); "
					 "INSERT INTO cols VALUES (1, 'o', 'c'); "
					 "GRANT SELECT (id, open) ON cols TO penstock_reader");
	/* The leaves are not granted: the whole is one split. */
	assert_int_equal(count_planned(0, "table-name", "sec", "username", "penstock_reader",
								   "read.split-bytes", "8kb", NULL),
					 20);
	/* They are granted, but row security is on the parent. */
	live_exec(admin, "GRANT SELECT ON sec1, sec2 TO penstock_reader; "
					 "ALTER TABLE sec ENABLE ROW LEVEL SECURITY; "
					 "CREATE POLICY own ON sec USING (who = current_user)");
	assert_int_equal(count_planned(0, "table-name", "sec", "username", "penstock_reader",
								   "read.split-bytes", "8kb", NULL),
					 10);
	{
		pst_source *source;
		pst_error err = PST_ERROR_INIT;

		assert_fails(
			open_source(&source, &err, "table-name", "cols", "username", "penstock_reader", NULL),
			PST_ERR_PRIVILEGE, &err);
		assert_string_equal(err.column, "closed");
		assert_contains(err.hint, "\"id\",\"open\"");
	}
	assert_rows(planned_rows(2, "table-name", "cols", "username", "penstock_reader", "read.columns",
							 "id,open", NULL),
				"1|o\n");
	live_exec(admin,
			  "DROP TABLE sec, cols; DROP OWNED BY penstock_reader; DROP ROLE penstock_reader");
}

/* Neither ctid nor tableoid is theirs. */
static void
grants_of_columns_suffice_for_large_and_partitioned_tables(void **state)
{
	(void) state;
	live_exec(admin,
			  "DROP ROLE IF EXISTS penstock_reader; CREATE ROLE penstock_reader LOGIN; "
			  "GRANT USAGE ON SCHEMA public TO penstock_reader; "
			  "CREATE TABLE gl (a int, b text, c text); "
			  "INSERT INTO gl SELECT g, repeat('x', 500), 'c' FROM generate_series(1, 2000) g; "
			  "CREATE TABLE gp (a int, b text, c text); CREATE TABLE gp1 () INHERITS (gp); "
			  "INSERT INTO gp VALUES (1); INSERT INTO gp1 VALUES (2); "
			  "GRANT SELECT (a, b) ON gl, gp TO penstock_reader");
	assert_int_equal(count_planned(2, "table-name", "gl", "username", "penstock_reader",
								   "read.columns", "a,b", "read.split-bytes", "64kb", NULL),
					 2000);
	assert_int_equal(count_planned(2, "table-name", "gp", "username", "penstock_reader",
								   "read.columns", "a,b", NULL),
					 2);
	live_exec(admin, "DROP TABLE gl, gp CASCADE; DROP OWNED BY penstock_reader; DROP ROLE "
					 "penstock_reader");
}

static void
text_reads_without_execute_on_the_output_function(void **state)
{
	(void) state;
	live_exec(
		admin,
		"DROP ROLE IF EXISTS penstock_reader; CREATE ROLE penstock_reader LOGIN; "
		"GRANT USAGE ON SCHEMA public TO penstock_reader; CREATE TYPE two AS (a int, b int); "
		"CREATE TABLE ex (a inet, r two); INSERT INTO ex VALUES ('1.2.3.4', '(,)'), (NULL, NULL); "
		"GRANT SELECT ON ex TO penstock_reader; "
		"REVOKE EXECUTE ON FUNCTION inet_out(inet), record_out(record) FROM PUBLIC");
	assert_rows(rows("table-name", "ex", "username", "penstock_reader", NULL),
				"1.2.3.4|(,)\n\\N|\\N\n");
	live_exec(admin, "GRANT EXECUTE ON FUNCTION inet_out(inet), record_out(record) TO PUBLIC; "
					 "DROP TABLE ex; DROP TYPE two; DROP OWNED BY penstock_reader; "
					 "DROP ROLE penstock_reader");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(projection_filter_and_limit_are_pushed_down),
		cmocka_unit_test(a_filter_cannot_escape_its_parentheses),
		cmocka_unit_test(wrong_targets_are_named),
		cmocka_unit_test(transport_is_assisted_where_the_extension_is_and_told),
		cmocka_unit_test(any_name_of_a_table_or_column_reads),
		cmocka_unit_test(views_matviews_foreign_tables_inheritance_and_partitions_read_whole),
		cmocka_unit_test(tables_of_no_columns_no_rows_and_1600_columns_read),
		cmocka_unit_test(fields_tell_type_nullability_and_extension),
		cmocka_unit_test(estimates_come_from_the_planner),
		cmocka_unit_test(csv_values_of_every_kind_of_type_are_the_output_functions_text),
		cmocka_unit_test(every_type_there_is_reads_and_says_null),
		cmocka_unit_test(every_system_catalog_reads_as_the_server_prints_it),
		cmocka_unit_test(json_values_are_those_of_row_to_json),
		cmocka_unit_test(json_nulls_strings_line_breaks_and_lower_bounds_stay_apart),
		cmocka_unit_test(arrow_values_of_the_known_types),
		cmocka_unit_test(special_values_are_refused_by_name_and_key),
		cmocka_unit_test(special_values_can_be_clamped_or_read_as_text),
		cmocka_unit_test(text_of_latin1_databases_is_utf8),
		cmocka_unit_test(bytes_of_sql_ascii_databases_that_are_not_utf8_are_named),
		cmocka_unit_test(batches_are_bounded_by_rows_and_bytes_and_outlive_the_handle),
		cmocka_unit_test(a_stream_that_outlives_its_handle_answers_einval),
		cmocka_unit_test(a_stream_released_early_leaves_the_handle_and_its_plan_usable),
		cmocka_unit_test(errors_of_the_server_leave_the_plan_usable_and_are_kept),
		cmocka_unit_test(cancel_ends_a_blocked_read),
		cmocka_unit_test(progress_is_told_after_each_batch),
		cmocka_unit_test(all_splits_are_one_moment_whatever_is_written_meanwhile),
		cmocka_unit_test(a_rewrite_before_the_lock_is_waited_for_and_seen_whole),
		cmocka_unit_test(a_column_that_changes_after_open_is_named),
		cmocka_unit_test(a_split_is_refused_where_it_means_nothing),
		cmocka_unit_test(strides_cover_every_row_once_for_every_type),
		live_test_since(100000, "an ICU collation", strides_follow_a_columns_own_collation),
		cmocka_unit_test(partition_options_go_together_and_are_checked_at_open),
		cmocka_unit_test(max_splits_and_stale_statistics_lose_nothing),
		cmocka_unit_test(a_selective_filter_is_left_to_the_index),
		cmocka_unit_test(a_sample_of_random_plans_covers_random_rows),
		cmocka_unit_test(settings_that_change_what_texts_mean_are_pinned),
		cmocka_unit_test(children_are_read_where_the_role_has_them_left_out),
		cmocka_unit_test(names_in_texts_follow_the_search_path_and_are_whole_under_an_empty_one),
		live_test_since(100000, "a partitioned table", row_security_and_grants_hold_in_every_plan),
		cmocka_unit_test(grants_of_columns_suffice_for_large_and_partitioned_tables),
		cmocka_unit_test(text_reads_without_execute_on_the_output_function),
	};

	return live_run(tests, setup, teardown);
}
