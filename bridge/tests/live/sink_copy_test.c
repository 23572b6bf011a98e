/* sink_copy_test.c - pst_sink_copy: rows as they are where both sides agree, else decoded. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live.h"
#include "penstock.h"
#include "test.h"

static PGconn *db;

/* A source and a sink over it, in one database. */
typedef struct pair
{
	pst_source *source;
	pst_sink *sink;
	struct ArrowSchema schema;
	int64_t rows_told;
} pair;

static void
count_rows(void *ctx, const pst_progress *progress)
{
	((pair *) ctx)->rows_told = progress->rows;
}

/* more: further options of the sink, name and value in turn, NULL-terminated. */
static void
open_pair_from(pair *p, const char *url, const char *from, const char *to, const char *mode,
			   const char *const *more)
{
	const char *source_keys[] = {"url", "table-name", "read.values", "read.split-bytes", NULL};
	const char *source_values[] = {url, from, "lossless", "256kb", NULL};
	const char *sink_keys[8] = {"url", "table-name", "sink.mode"};
	const char *sink_values[8] = {"", to, mode};
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_error err = PST_ERROR_INIT;

	for (size_t i = 0; more[2 * i] != NULL; i++)
	{
		sink_keys[3 + i] = more[2 * i];
		sink_values[3 + i] = more[2 * i + 1];
	}
	memset(p, 0, sizeof(*p));
	hooks.ctx = p;
	hooks.progress = count_rows;
	assert_ok(pst_source_open(source_keys, source_values, &hooks, &p->source, &err), &err);
	assert_ok(pst_source_schema(p->source, &p->schema, &err), &err);
	assert_ok(pst_sink_open(sink_keys, sink_values, &p->schema, NULL, &p->sink, &err), &err);
}

static void
open_pair(pair *p, const char *from, const char *to, const char *mode, const char *key,
		  const char *value)
{
	open_pair_from(p, "", from, to, mode, (const char *[]){key, value, NULL});
}

/* Cuts the source's table by a column, which every server can: by blocks 14 is the first. */
static void
cut_by_column(pair *p, const char *from, const char *column, const char *upper)
{
	const char *keys[] = {"url",
						  "table-name",
						  "read.values",
						  "scan.partition.column",
						  "scan.partition.num",
						  "scan.partition.lower-bound",
						  "scan.partition.upper-bound",
						  NULL};
	const char *values[] = {"", from, "lossless", column, "5", "1", upper, NULL};
	pst_error err = PST_ERROR_INIT;

	pst_source_close(p->source);
	assert_ok(pst_source_open(keys, values, NULL, &p->source, &err), &err);
}

static void
close_pair(pair *p)
{
	pst_sink_close(p->sink, NULL);
	pst_source_close(p->source);
	p->schema.release(&p->schema);
}

static pst_sink_stats
stats_of(const pair *p)
{
	pst_sink_stats stats = {.struct_size = sizeof(stats)};

	pst_sink_get_stats(p->sink, &stats);
	return stats;
}

/* Copies all rows and commits them; how many of them nobody looked into. */
static int64_t
copy_all(const char *from, const char *to, const char *mode)
{
	pair p;
	pst_error err = PST_ERROR_INIT;
	pst_sink_stats stats;

	open_pair(&p, from, to, mode, NULL, NULL);
	assert_ok(pst_sink_copy(p.sink, p.source, NULL, &err), &err);
	assert_ok(pst_sink_flush(p.sink, &err), &err);
	stats = stats_of(&p);
	assert_int_equal(p.rows_told, stats.rows_in);
	assert_int_equal(stats.rows_buffered, 0);
	close_pair(&p);
	return stats.rows_verbatim;
}

static void
assert_same_rows(const char *a, const char *b, const char *columns)
{
	assert_int_equal(live_int(db,
							  "SELECT count(*) FROM (SELECT %s FROM %s EXCEPT ALL SELECT %s FROM "
							  "%s) AS x",
							  columns, a, columns, b),
					 0);
	assert_int_equal(live_int(db, "SELECT count(*) FROM %s", a),
					 live_int(db, "SELECT count(*) FROM %s", b));
}

#define COLUMNS "i, n, t, d, b, f, j, a, u"

static void
make_source(const char *name, int rows)
{
	live_exec(db,
			  "CREATE TABLE %s (i bigint PRIMARY KEY, n numeric, t text, d timestamptz, b bytea, "
			  "f float8, j jsonb, a int[], u uuid)",
			  name);
	live_exec(db,
			  "INSERT INTO %s SELECT i, CASE WHEN i %% 5 = 0 THEN 'NaN' ELSE i / 7.0 END, "
			  "CASE WHEN i %% 3 = 0 THEN NULL ELSE repeat('x', i %% 50) END, "
			  "CASE WHEN i %% 4 = 0 THEN 'infinity' ELSE timestamptz '2001-01-01' + i * "
			  "interval '1 s' END, '\\x00ff', 1.5 * i, '{\"a\": [1, null]}', "
			  "CASE WHEN i %% 2 = 0 THEN '[0:1]={1,NULL}'::int[] ELSE '{}' END, "
			  "md5(i::text)::uuid FROM generate_series(1, %d) AS i",
			  name, rows);
}

static void
rows_of_the_same_types_travel_as_they_are(void **state)
{
	(void) state;
	make_source("s1", 3000);
	live_exec(db, "CREATE TABLE d1 (LIKE s1)");
	assert_int_equal(copy_all("s1", "d1", "append"), 3000);
	assert_same_rows("s1", "d1", COLUMNS);
}

static void
columns_find_their_place_in_another_order(void **state)
{
	(void) state;
	make_source("s2", 500);
	live_exec(db, "CREATE TABLE d2 (u uuid, extra int DEFAULT 7, t text, n numeric, a int[], j "
				  "jsonb, f float8, d timestamptz, b bytea, i bigint)");
	assert_int_equal(copy_all("s2", "d2", "append"), 500);
	assert_same_rows("s2", "d2", COLUMNS);
	assert_int_equal(live_int(db, "SELECT sum(extra) FROM d2"), 7 * 500);
}

#define FLAT_COLUMNS "i, n, t, d, b, f, j, u"

/* Arrays by key go as text: unnest would take them apart. */
static void
rows_are_upserted_and_deleted_as_they_are(void **state)
{
	(void) state;
	make_source("s3", 12000);
	live_exec(db, "ALTER TABLE s3 DROP COLUMN a");
	live_exec(db, "CREATE TABLE d3 (t text, i bigint, n numeric, d timestamptz, b bytea, f float8, "
				  "j jsonb, u uuid, PRIMARY KEY (i))");
	live_exec(db, "INSERT INTO d3 (i, t) SELECT i, 'old' FROM generate_series(1, 20000, 2) AS i");
	assert_int_equal(copy_all("s3", "d3", "upsert"), 12000);
	assert_int_equal(live_int(db, "SELECT count(*) FROM d3"), 16000);
	assert_int_equal(live_int(db, "SELECT count(*) FROM (SELECT " FLAT_COLUMNS
								  " FROM s3 EXCEPT SELECT " FLAT_COLUMNS " FROM d3) AS x"),
					 0);
	assert_int_equal(copy_all("s3", "d3", "delete"), 12000);
	assert_int_equal(live_int(db, "SELECT count(*) FROM d3"), 4000);
}

static void
rows_are_decoded_where_types_differ(void **state)
{
	(void) state;
	live_exec(db, "CREATE TABLE s4 (i int, t text)");
	live_exec(db, "INSERT INTO s4 SELECT i, i FROM generate_series(1, 100) AS i");
	live_exec(db, "CREATE TABLE d4 (i bigint, t text)");
	assert_int_equal(copy_all("s4", "d4", "append"), 0);
	assert_same_rows("s4", "d4", "i::bigint, t");
}

static void
a_null_key_is_named(void **state)
{
	pair p;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	live_exec(db, "CREATE TABLE s5 (t text, i text)");
	live_exec(db, "INSERT INTO s5 VALUES ('a', '1'), ('b', NULL)");
	live_exec(db, "CREATE TABLE d5 (t text, i text PRIMARY KEY)");
	open_pair(&p, "s5", "d5", "upsert", NULL, NULL);
	assert_fails(pst_sink_copy(p.sink, p.source, NULL, &err), PST_ERR_CONSTRAINT, &err);
	assert_string_equal(err.column, "i");
	assert_string_equal(err.table, "d5");
	assert_int_equal(err.row, 1);
	pst_sink_discard(p.sink, NULL);
	/* The source is free for another read. */
	assert_fails(pst_sink_copy(p.sink, p.source, NULL, &err), PST_ERR_CONSTRAINT, &err);
	pst_sink_discard(p.sink, NULL);
	close_pair(&p);
	assert_int_equal(live_int(db, "SELECT count(*) FROM d5"), 0);
}

static void
a_row_that_the_target_refuses_is_named_and_nothing_of_its_flush_stays(void **state)
{
	pair p;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make_source("s6", 300);
	live_exec(db, "CREATE TABLE d6 (LIKE s6, CHECK (i <> 250))");
	open_pair(&p, "s6", "d6", "append", "sink.buffer-flush.max-rows", "100");
	assert_fails(pst_sink_copy(p.sink, p.source, NULL, &err), PST_ERR_CONSTRAINT, &err);
	assert_int_equal(err.row, 249);
	assert_int_equal(live_int(db, "SELECT count(*) FROM d6"), 200);
	pst_sink_discard(p.sink, NULL);
	close_pair(&p);
}

static void
refused_rows_are_skipped_as_when_they_are_decoded(void **state)
{
	pair p;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make_source("s7", 300);
	live_exec(db, "CREATE TABLE d7 (LIKE s7, CHECK (i %% 100 <> 50))");
	open_pair(&p, "s7", "d7", "append", "on-error", "skip");
	assert_ok(pst_sink_copy(p.sink, p.source, NULL, &err), &err);
	assert_ok(pst_sink_flush(p.sink, &err), &err);
	assert_int_equal(stats_of(&p).rows_skipped, 3);
	close_pair(&p);
	assert_int_equal(live_int(db, "SELECT count(*) FROM d7"), 297);
}

static void
each_split_brings_its_rows_once(void **state)
{
	pair p;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t nsplits;

	(void) state;
	make_source("s8", 20000);
	live_exec(db, "ANALYZE s8");
	live_exec(db, "CREATE TABLE d8 (LIKE s8)");
	open_pair(&p, "s8", "d8", "append", NULL, NULL);
	if (PQserverVersion(db) < 140000)
		cut_by_column(&p, "s8", "i", "20000");
	assert_ok(pst_source_plan(p.source, 5, &splits, &nsplits, &err), &err);
	assert_true(nsplits > 1);
	for (size_t i = 0; i < nsplits; i++)
		assert_ok(pst_sink_copy(p.sink, p.source, splits[i], &err), &err);
	assert_ok(pst_sink_flush(p.sink, &err), &err);
	assert_int_equal(stats_of(&p).rows_verbatim, 20000);
	pst_free(splits);
	close_pair(&p);
	assert_same_rows("s8", "d8", COLUMNS);
}

static void
a_stream_in_progress_is_not_disturbed(void **state)
{
	pair p;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;

	(void) state;
	make_source("s9", 10);
	live_exec(db, "CREATE TABLE d9 (LIKE s9)");
	open_pair(&p, "s9", "d9", "append", NULL, NULL);
	assert_ok(pst_source_read(p.source, NULL, &stream, &err), &err);
	assert_fails(pst_sink_copy(p.sink, p.source, NULL, &err), PST_ERR_STATE, &err);
	stream.release(&stream);
	assert_fails(pst_sink_copy(NULL, p.source, NULL, &err), PST_ERR_INVALID, &err);
	assert_fails(pst_sink_copy(p.sink, NULL, NULL, &err), PST_ERR_INVALID, &err);
	assert_ok(pst_sink_copy(p.sink, p.source, NULL, &err), &err);
	assert_ok(pst_sink_flush(p.sink, &err), &err);
	close_pair(&p);
	assert_same_rows("s9", "d9", COLUMNS);
}

/* unnest would take such an array apart: those rows go one by one. */
static void
appended_rows_beside_a_binary_array_may_leave_columns_out(void **state)
{
	pair p;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	pst_change_batch changes = {.struct_size = sizeof(changes)};
	const uint8_t second = 2;
	const uint8_t *unchanged[] = {NULL, NULL, &second};

	(void) state;
	live_exec(db, "CREATE TABLE s10 (i int, a int[], t text)");
	live_exec(db, "INSERT INTO s10 VALUES (1, '{1,2}', 'x'), (2, '{3}', 'y')");
	live_exec(db, "CREATE TABLE d10 (i int, a int[], t text DEFAULT 'z')");
	open_pair(&p, "s10", "d10", "append", NULL, NULL);
	assert_ok(pst_source_read(p.source, NULL, &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &changes.array), 0);
	changes.schema = &p.schema;
	changes.unchanged = unchanged;
	assert_ok(pst_sink_write_changes(p.sink, &changes, &err), &err);
	assert_ok(pst_sink_flush(p.sink, &err), &err);
	changes.array.release(&changes.array);
	stream.release(&stream);
	close_pair(&p);
	assert_int_equal(live_int(db, "SELECT count(*) FROM d10 WHERE (i, a, t) IN ((1, '{1,2}', 'x'), "
								  "(2, '{3}', 'z'))"),
					 2);
}

static void
skipped_rows_show_their_arrays_as_text(void **state)
{
	char path[] = "/tmp/penstock-skipped-XXXXXX";
	const char *more[] = {"on-error", "skip", "on-error.file", path, NULL};
	char line[1024] = "";
	FILE *file;
	pair p;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	close(mkstemp(path));
	live_exec(db, "CREATE TABLE s11 (i int, a int[], w timestamptz[], t text[], n numeric)");
	live_exec(db,
			  "INSERT INTO s11 VALUES (1, '[0:1]={1,NULL}', '{infinity}', '{\"a b\",c}', 'NaN')");
	live_exec(db, "CREATE TABLE d11 (LIKE s11, CHECK (i <> 1))");
	open_pair_from(&p, "", "s11", "d11", "append", more);
	assert_ok(pst_sink_copy(p.sink, p.source, NULL, &err), &err);
	assert_ok(pst_sink_flush(p.sink, &err), &err);
	assert_int_equal(stats_of(&p).rows_verbatim, 1);
	close_pair(&p);
	file = fopen(path, "r");
	assert_non_null(fgets(line, sizeof(line), file));
	fclose(file);
	unlink(path);
	assert_contains(line, "\"values\":{\"i\":\"1\",\"a\":\"[0:1]={1,NULL}\",\"w\":\"{infinity}\","
						  "\"t\":\"{\\\"a b\\\",c}\",\"n\":\"NaN\"}");
}

/* As a read that decodes them tells it: not the target's error, and nothing to be skipped. */
static void
bytes_that_are_not_utf8_are_an_error_of_the_source(void **state)
{
	static const struct
	{
		const char *to;
		const char *mode;
		const char *more[3];
		bool decoded;
	} ways[] = {
		{"d12", "append", {NULL}, false},
		{"d12", "append", {"on-error", "skip", NULL}, false},
		{"k12", "upsert", {NULL}, false},
		{"l12", "append", {NULL}, true},
	};
	PGconn *from;
	char *name = live_value(db, "SELECT current_database() || '_broken'");
	char url[128];

	(void) state;
	live_exec(db,
			  "CREATE DATABASE %s ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE "
			  "template0",
			  name);
	snprintf(url, sizeof(url), "dbname=%s", name);
	from = live_connect(url);
	live_exec(from, "CREATE TABLE s12 (i int, t text); INSERT INTO s12 VALUES (1, 'a'), (2, "
					"E'b\\xff'), (3, 'c')");
	live_exec(db, "CREATE TABLE d12 (i int, t text); CREATE TABLE k12 (i int PRIMARY KEY, t text); "
				  "CREATE TABLE l12 (i bigint, t text)");
	for (size_t w = 0; w < 2 * sizeof(ways) / sizeof(ways[0]); w++)
	{
		/* First the database promises no encoding, then one that its bytes do not have. */
		bool promised = w >= sizeof(ways) / sizeof(ways[0]);
		const char *to = ways[w % 4].to;
		bool decoded = ways[w % 4].decoded || !promised;
		pair p;
		pst_error err = PST_ERROR_INIT;
		pst_status status;

		if (promised)
			live_exec(db,
					  "UPDATE pg_database SET encoding = pg_char_to_encoding('UTF8') WHERE "
					  "datname = '%s'",
					  name);
		open_pair_from(&p, url, "s12", to, ways[w % 4].mode, ways[w % 4].more);
		status = pst_sink_copy(p.sink, p.source, NULL, &err);
		if (!decoded)
		{
			assert_ok(status, &err);
			assert_int_equal(stats_of(&p).rows_verbatim, 3);
			status = pst_sink_flush(p.sink, &err);
			assert_int_equal(err.row, 1);
		}
		assert_fails(status, PST_ERR_DATA, &err);
		assert_string_equal(err.sqlstate, "22021");
		assert_string_equal(err.column, "t");
		assert_contains(err.message, "holds bytes that are not UTF-8");
		assert_contains(err.hint, "convert_from");
		pst_sink_discard(p.sink, NULL);
		close_pair(&p);
		assert_int_equal(live_int(db, "SELECT count(*) FROM %s", to), 0);
	}
	PQfinish(from);
	live_exec(db, "DROP DATABASE %s", name);
	free(name);
}

static void
bytes_that_the_target_refuses_by_itself_are_not_blamed_on_the_source(void **state)
{
	static const char *const modes[] = {"append", "upsert"};

	(void) state;
	live_exec(db, "CREATE TABLE s13 (i int PRIMARY KEY, t text); INSERT INTO s13 SELECT g, 'ä' "
				  "FROM generate_series(1, 5) g; CREATE TABLE d13 (LIKE s13 INCLUDING ALL); CREATE "
				  "FUNCTION f13() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF new.i = 3 THEN "
				  "PERFORM convert_from('\\xff', 'UTF8'); END IF; RETURN new; END $$; CREATE "
				  "TRIGGER g13 BEFORE INSERT ON d13 FOR EACH ROW EXECUTE PROCEDURE f13()");
	for (int w = 0; w < 4; w++)
	{
		const char *skip[] = {"on-error", "skip", NULL};
		const char *none[] = {NULL};
		pst_error err = PST_ERROR_INIT;
		pair p;

		live_exec(db, "TRUNCATE d13");
		open_pair_from(&p, "", "s13", "d13", modes[w % 2], w < 2 ? none : skip);
		assert_ok(pst_sink_copy(p.sink, p.source, NULL, &err), &err);
		if (w < 2)
		{
			assert_int_equal(stats_of(&p).rows_verbatim, 5);
			assert_fails(pst_sink_flush(p.sink, &err), PST_ERR_DATA, &err);
			assert_string_equal(err.sqlstate, "22021");
			assert_int_equal(err.row, 2);
			assert_contains(err.message, "0xff");
			assert_null(strstr(err.message, "source"));
			assert_string_equal(err.column, "");
			pst_sink_discard(p.sink, NULL);
		}
		else
			assert_ok(pst_sink_flush(p.sink, &err), &err);
		assert_int_equal(stats_of(&p).rows_skipped, w < 2 ? 0 : 1);
		close_pair(&p);
		assert_int_equal(live_int(db, "SELECT count(*) FROM d13"), w < 2 ? 0 : 4);
	}
}

static void
arrays_of_texts_become_arrays_whatever_stands_between_the_elements(void **state)
{
	static const char *const ways[] = {"copy", "unnest"};

	(void) state;
	live_exec(db, "CREATE TABLE s14 AS SELECT 1 AS i, ARRAY['(3,4),(1,2)', NULL, "
				  "'(7,8),(5,6)']::text[] AS b, ARRAY['(1,2)', NULL]::text[] AS p UNION ALL "
				  "SELECT 2, '{}', NULL UNION ALL SELECT 3, "
				  "'[0:0][2:3]={{\"(3,4),(1,2)\",NULL}}', '{}'");
	live_exec(db, "CREATE TABLE d14 (i int PRIMARY KEY, b box[], p point[])");
	for (int w = 0; w < 4; w++)
	{
		const char *more[] = {"sink.method", ways[w % 2], NULL};
		pst_error err = PST_ERROR_INIT;
		pair p;

		live_exec(db, "TRUNCATE d14");
		open_pair_from(&p, "", "s14", "d14", w < 2 ? "append" : "upsert", more);
		assert_ok(pst_sink_copy(p.sink, p.source, NULL, &err), &err);
		assert_ok(pst_sink_flush(p.sink, &err), &err);
		close_pair(&p);
		assert_int_equal(
			live_int(db,
					 "SELECT count(*) FROM d14 WHERE (i, b::text, p::text) IN ((1, "
					 "'{(3,4),(1,2);NULL;(7,8),(5,6)}', '{\"(1,2)\",NULL}'), (3, "
					 "'[0:0][2:3]={{(3,4),(1,2);NULL}}', '{}')) OR (i = 2 AND b::text = '{}' AND p "
					 "IS NULL)"),
			3);
	}
}

static int
setup(void **state)
{
	if (live_make_database(state) != 0)
		return -1;
	db = live_connect("");
	return 0;
}

static int
teardown(void **state)
{
	PQfinish(db);
	return live_drop_database(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_of_the_same_types_travel_as_they_are),
		cmocka_unit_test(columns_find_their_place_in_another_order),
		cmocka_unit_test(rows_are_upserted_and_deleted_as_they_are),
		cmocka_unit_test(rows_are_decoded_where_types_differ),
		cmocka_unit_test(a_null_key_is_named),
		cmocka_unit_test(a_row_that_the_target_refuses_is_named_and_nothing_of_its_flush_stays),
		cmocka_unit_test(refused_rows_are_skipped_as_when_they_are_decoded),
		cmocka_unit_test(each_split_brings_its_rows_once),
		cmocka_unit_test(appended_rows_beside_a_binary_array_may_leave_columns_out),
		cmocka_unit_test(a_stream_in_progress_is_not_disturbed),
		cmocka_unit_test(skipped_rows_show_their_arrays_as_text),
		cmocka_unit_test(bytes_that_are_not_utf8_are_an_error_of_the_source),
		cmocka_unit_test(arrays_of_texts_become_arrays_whatever_stands_between_the_elements),
		cmocka_unit_test(bytes_that_the_target_refuses_by_itself_are_not_blamed_on_the_source),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
