/* sink_targets_test.c - unusual targets and keys, a server that is short, and what each option does. */
#include "sink_rows.h"

#include <stdarg.h>

#include "arrow_build.h"
#include "sink.h"

static bool
has_extension(const char *name)
{
	return live_int(admin, "SELECT count(*) FROM pg_available_extensions WHERE name = '%s'", name) >
		   0;
}

static pst_sink_stats
stats_of(const pst_sink *sink)
{
	pst_sink_stats stats = {.struct_size = sizeof(stats)};

	pst_sink_get_stats(sink, &stats);
	return stats;
}

/* --- keys that the server compares ------------------------------------------------------------- */

static void
keys_that_an_icu_collation_holds_equal_are_one_key(void **state)
{
	static const char *const ways[] = {"table-name=t;sink.mode=changelog;sink.method=unnest",
									   "table-name=t;sink.mode=changelog;sink.method=copy"};

	(void) state;
	if (live_int(admin, "SELECT count(*) FROM pg_collation WHERE collprovider = 'i'") == 0)
		live_skip("the server is built without ICU");
	live_exec(admin, "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', "
					 "deterministic = false)");
	for (int w = 0; w < 2; w++)
	{
		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (id text COLLATE ci PRIMARY KEY, v "
				  "text); INSERT INTO t VALUES ('x', 'old'), ('Y', 'old')");
		write_rows(ways[w], "id:u,v:u", "A|1", "a|2", "-D X|~", "-U y|old", "+U b|moved", "B|last");
		table_is("t", "(A,2) (b,last)");
		/* Nothing but inserts: the server is asked first. */
		write_rows(ways[w], "id:u,v:u", "a|3", "c|1", "C|2", "A|4");
		table_is("t", "(A,4) (b,last) (c,2)");
	}
	live_exec(admin, "DROP TABLE t; DROP COLLATION ci");
}

static void
keys_under_a_deterministic_icu_collation_are_merged_by_their_bytes(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	if (live_int(admin, "SELECT count(*) FROM pg_collation WHERE collname = 'de-x-icu'") == 0)
		live_skip("the server is built without ICU");
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id text COLLATE \"de-x-icu\" PRIMARY "
					 "KEY, v text); INSERT INTO t VALUES ('a', 'old')");
	sink = opened("table-name=t;sink.mode=changelog", "id:u,v:u");
	add_rows(sink, "id:u,v:u", "\xc3\xa4|1", "A|2", "-D a|~", "A|3", "\xc3\xa4|4");
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_string_equal(stats_of(sink).method, "unnest");
	assert_int_equal(stats_of(sink).rows_upserted, 2);
	assert_ok(pst_sink_close(sink, &err), &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t WHERE (id, v) IN (('A', '3'), "
									 "(U&'\\00e4', '4'))"),
					 2);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 2);
}

static void
citext_keys_are_equal_whatever_their_case(void **state)
{
	(void) state;
	if (!has_extension("citext"))
		live_skip("the server comes without citext");
	live_exec(admin,
			  "CREATE SCHEMA elsewhere; CREATE EXTENSION citext SCHEMA elsewhere; DROP TABLE "
			  "IF EXISTS t; CREATE TABLE t (id elsewhere.citext PRIMARY KEY, v text, n int "
			  "DEFAULT 7); INSERT INTO t VALUES ('One', 'old', 1), ('Two', 'old', 2)");
	write_rows("table-name=t;sink.mode=changelog", "id:u,v:u", "ONE|a", "one|b", "-D tWO|~",
			   "Three|c", "-D THREE|~", "three|d");
	table_is("t", "(One,b,1) (three,d,7)");
	write_rows("table-name=t;sink.mode=delete", "id:u", "ONE");
	table_is("t", "(three,d,7)");
	live_exec(admin, "DROP TABLE t; DROP SCHEMA elsewhere CASCADE");
}

/* --- targets ------------------------------------------------------------------------------------- */

static void
a_foreign_table_takes_appended_rows_and_nothing_else(void **state)
{
	pst_error err;

	(void) state;
	if (!has_extension("postgres_fdw"))
		live_skip("the server comes without postgres_fdw");
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text CHECK (v <> "
			  "'bad')); CREATE EXTENSION postgres_fdw; DO $$BEGIN EXECUTE format('CREATE SERVER s "
			  "FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host %%L, port %%L, dbname %%L)', '%s', "
			  "'%s', current_database()); END$$; CREATE USER MAPPING FOR current_user SERVER s "
			  "OPTIONS (user '%s'); CREATE FOREIGN TABLE far (id int, v text) SERVER s OPTIONS "
			  "(table_name 't')",
			  getenv("PGHOST"), getenv("PGPORT"), getenv("PGUSER"));
	write_rows("table-name=far", "id:i,v:u", "1|a", "2|~");
	/* The far server refuses the row; it is found behind savepoints, as anywhere. */
	write_rows("table-name=far;on-error=skip", "id:i,v:u", "3|c", "4|bad", "1|again", "5|e");
	table_is("t", "(1,a) (2,) (3,c) (5,e)");
	refused("table-name=far;sink.key=id", "id:i,v:u", PST_ERR_UNSUPPORTED, &err);
	assert_contains(err.hint, "append");
	refused("table-name=far;sink.method=copy", "id:i,v:u", PST_ERR_INVALID, &err);
	assert_contains(err.hint, "sink.method");
	live_exec(admin, "DROP EXTENSION postgres_fdw CASCADE");
}

static void
a_key_without_overlaps_is_refused_until_there_is_a_plain_one(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int4range, valid daterange, v text, "
			  "PRIMARY KEY (id, valid WITHOUT OVERLAPS))");
	refused("table-name=t", "id:u,valid:u,v:u", PST_ERR_SQL, &err);
	assert_string_equal(err.sqlstate, "42P10");
	assert_contains(err.detail, "WITHOUT OVERLAPS");
	write_rows("table-name=t;sink.mode=append", "id:u,valid:u,v:u",
			   "[1,2)|[2020-01-01,infinity)|a");
	live_exec(admin, "%s", err.hint);
	write_rows("table-name=t", "id:u,valid:u,v:u", "[1,2)|[2020-01-01,infinity)|b");
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t WHERE v = 'b'"), 1);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 1);
	live_exec(admin, "DROP TABLE t");
}

static void
a_null_in_a_key_with_nulls_not_distinct_names_the_row(void **state)
{
	static const char options[] = "table-name=t;sink.key=id";
	pst_error err = PST_ERROR_INIT;
	test_rows rows;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int UNIQUE NULLS NOT DISTINCT, v "
					 "text); INSERT INTO t VALUES (NULL, 'old')");
	write_rows(options, "id:i,v:u", "1|a", "1|b");
	sink = opened(options, "id:i,v:u");
	rows_make(&rows, "id:i,v:u", "2|a", "~|b", NULL);
	if (pst_sink_write_changes(sink, &rows.batch, &err) == PST_OK)
		assert_fails(pst_sink_flush(sink, &err), PST_ERR_SQL, &err);
	rows_free(&rows);
	pst_sink_discard(sink, NULL);
	assert_int_equal(pst_sink_close(sink, NULL), PST_OK);
	assert_string_equal(err.sqlstate, "23502");
	assert_string_equal(err.column, "id");
	table_is("t", "(,old) (1,b)");
	live_exec(admin, "DROP TABLE t");
}

static void
virtual_generated_columns_are_refused_by_name(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, twice int "
					 "GENERATED ALWAYS AS (id * 2) VIRTUAL, v text)");
	refused("table-name=t", "id:i,twice:i", PST_ERR_SQL, &err);
	assert_string_equal(err.column, "twice");
	write_rows("table-name=t", "id:i,v:u", "1|a", "2|b");
	write_rows("table-name=t;sink.method=copy", "id:i,v:u", "2|c");
	table_is("t", "(1,2,a) (2,4,c)");
	live_exec(admin, "DROP TABLE t");
}

/* n int32 columns c1 …, two rows: row r of column c is c + r * 10000, but the key c1 is r + 1. */
static void
wide(struct ArrowSchema *schema, struct ArrowArray *batch, int n)
{
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_schema_init(schema, "+s", "", false, n, &err), &err);
	assert_ok(psti_array_init(batch, 2, 1, n, &err), &err);
	for (int c = 0; c < n; c++)
	{
		int32_t *data = calloc(2, sizeof(*data));
		char name[16];

		snprintf(name, sizeof(name), "c%d", c + 1);
		for (int r = 0; r < 2; r++)
			data[r] = c == 0 ? r + 1 : c + 1 + r * 10000;
		assert_ok(psti_schema_init(schema->children[c], "i", name, true, 0, &err), &err);
		assert_ok(psti_array_init(batch->children[c], 2, 2, 0, &err), &err);
		psti_array_buffer(batch->children[c], 1, data);
	}
}

static void
a_table_of_1600_columns_is_written_by_every_method(void **state)
{
	static const char *const ways[] = {
		"table-name=t;sink.method=unnest", "table-name=t;sink.method=copy",
		"table-name=t;sink.mode=append", "table-name=t;sink.mode=append;sink.method=unnest"};
	struct ArrowSchema schema;
	struct ArrowArray batch;

	(void) state;
	wide(&schema, &batch, 1600);
	for (int w = 0; w < 4; w++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink = NULL;

		live_exec(admin,
				  "DROP TABLE IF EXISTS t; DO $$BEGIN EXECUTE 'CREATE TABLE t (c1 int PRIMARY "
				  "KEY, ' || (SELECT string_agg('c' || i || ' int', ', ') FROM "
				  "generate_series(2, 1600) i) || ')'; END$$");
		for (int turn = 0; turn < (w < 2 ? 2 : 1); turn++)
		{
			assert_ok(open_sink(ways[w], &schema, &sink, &err), &err);
			assert_ok(pst_sink_write(sink, &batch, NULL, &err), &err);
			assert_ok(pst_sink_close(sink, &err), &err);
		}
		assert_int_equal(live_int(admin, "SELECT count(*) FROM t WHERE (c1, c2, c1599, c1600) IN "
										 "((1, 2, 1599, 1600), (2, 10002, 11599, 11600))"),
						 2);
	}
	batch.release(&batch);
	schema.release(&schema);
	wide(&schema, &batch, 1601);
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		assert_fails(open_sink("table-name=t", &schema, &sink, &err), PST_ERR_INVALID, &err);
		assert_contains(err.message, "1601 columns");
	}
	batch.release(&batch);
	schema.release(&schema);
}

/* --- a server that is short ---------------------------------------------------------------------- */

static void
a_full_disk_is_waited_for_and_then_told_with_the_rows_kept(void **state)
{
	static const char *const ways[] = {"sink.mode=append", "sink.mode=upsert;sink.method=unnest",
									   "sink.mode=upsert;sink.method=copy"};

	(void) state;
	live_exec(admin,
			  "CREATE SEQUENCE tries; CREATE TABLE room (after int); CREATE FUNCTION full_disk() "
			  "RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF nextval('tries') <= (SELECT after "
			  "FROM room) THEN RAISE disk_full USING MESSAGE = 'could not extend file'; END IF; "
			  "RETURN NULL; END$$");
	for (int w = 0; w < 3; w++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text); "
				  "CREATE TRIGGER f AFTER INSERT ON t FOR EACH STATEMENT EXECUTE PROCEDURE "
				  "full_disk(); ALTER SEQUENCE tries RESTART; TRUNCATE room; INSERT INTO room "
				  "VALUES (2)");
		/* The third try finds room. */
		sink = opened(with("table-name=t;sink.max-retries=2", ways[w]), "id:i,v:u");
		add_rows(sink, "id:i,v:u", "1|a", "2|b");
		assert_ok(pst_sink_flush(sink, &err), &err);
		assert_int_equal(stats_of(sink).retries, 2);
		/* None does. */
		live_exec(admin, "UPDATE room SET after = 1000");
		add_rows(sink, "id:i,v:u", "3|c", "4|d");
		assert_fails(pst_sink_flush(sink, &err), PST_ERR_RESOURCES, &err);
		assert_string_equal(err.sqlstate, "53100");
		assert_true(err.retryable);
		assert_int_equal(stats_of(sink).retries, 4);
		assert_int_equal(stats_of(sink).rows_buffered, 2);
		table_is("t", "(1,a) (2,b)");
		live_exec(admin, "UPDATE room SET after = 0");
		assert_ok(pst_sink_flush(sink, &err), &err);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,a) (2,b) (3,c) (4,d)");
	}
	live_exec(admin, "DROP TABLE t, room; DROP FUNCTION full_disk(); DROP SEQUENCE tries");
}

static void
a_statement_that_another_client_of_a_pooler_has_prepared_does_no_harm(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text); DROP "
					 "TABLE IF EXISTS other; CREATE TABLE other (LIKE t INCLUDING INDEXES)");
	sink = opened("table-name=t;sink.max-retries=0", "id:i,v:u");
	add_rows(sink, "id:i,v:u", "1|a");
	assert_ok(pst_sink_flush(sink, &err), &err);
	/* As on a server connection that is new to us: what was prepared there is not known. */
	memset(sink->prepared, 0, sizeof(sink->prepared));
	add_rows(sink, "id:i,v:u", "2|b");
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_true(sink->stateless);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,a) (2,b)");
	/* The same shape for another table is another statement. */
	{
		pst_sink *two[2] = {opened("table-name=t", "id:i,v:u"),
							opened("table-name=other", "id:i,v:u")};

		for (int i = 0; i < 2; i++)
		{
			add_rows(two[i], "id:i,v:u", "3|c");
			assert_ok(pst_sink_flush(two[i], &err), &err);
		}
		assert_string_not_equal(two[0]->statement[PSTI_STMT_UPSERT],
								two[1]->statement[PSTI_STMT_UPSERT]);
		for (int i = 0; i < 2; i++)
			assert_ok(pst_sink_close(two[i], &err), &err);
	}
	live_exec(admin, "DROP TABLE other");
}

/* --- options --------------------------------------------------------------------------------------- */

static void
max_retries_0_tells_the_first_error(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)");
	sink = opened("table-name=t;sink.max-retries=0", "id:i,v:u");
	add_rows(sink, "id:i,v:u", "1|a");
	fail_once("sink.before_begin");
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONNECTION, &err);
	unsetenv("PENSTOCK_FAILPOINTS");
	assert_int_equal(stats_of(sink).retries, 0);
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,a)");
}

static void
max_bytes_flushes_by_itself(void **state)
{
	static const char *const ways[] = {"sink.mode=append", "sink.mode=upsert"};
	char row[3][700];
	int64_t flushes[3];

	(void) state;
	for (int r = 0; r < 3; r++)
		snprintf(row[r], sizeof(row[r]), "%d|%0600d", r, 0);
	for (int w = 0; w < 2; w++)
	{
		static const char *const sizes[] = {"1kb", "16mb", "1500"};

		for (int s = 0; s < 3; s++)
		{
			char options[256];
			pst_error err = PST_ERROR_INIT;
			pst_sink *sink;

			live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)");
			snprintf(options, sizeof(options), "table-name=t;%s;sink.buffer-flush.max-bytes=%s",
					 ways[w], sizes[s]);
			sink = opened(options, "id:i,v:u");
			add_rows(sink, "id:i,v:u", row[0], row[1], row[2]);
			flushes[s] = stats_of(sink).flushes;
			/* Two rows of 600 bytes pass 1 kB, three 1500 bytes. */
			assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), s == 0	 ? 2
																		: s == 1 ? 0
																				 : 3);
			assert_ok(pst_sink_close(sink, &err), &err);
			assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 3);
		}
		assert_int_equal(flushes[0], 1);
		assert_int_equal(flushes[1], 0);
		assert_int_equal(flushes[2], 1);
	}
}

static void
max_rows_flushes_by_itself_and_0_never_does(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text)");
	sink = opened("table-name=t;sink.buffer-flush.max-rows=2", "id:i,v:u");
	add_rows(sink, "id:i,v:u", "1|a", "2|b", "3|c", "4|d", "5|e");
	assert_int_equal(stats_of(sink).flushes, 2);
	assert_int_equal(stats_of(sink).rows_buffered, 1);
	assert_ok(pst_sink_close(sink, &err), &err);
	live_exec(admin, "TRUNCATE t");
	sink = opened("table-name=t;sink.buffer-flush.max-rows=0;sink.buffer-flush.interval=0",
				  "id:i,v:u");
	add_rows(sink, "id:i,v:u", "1|a", "2|b", "3|c", "4|d", "5|e");
	assert_int_equal(stats_of(sink).flushes, 0);
	assert_int_equal(pst_sink_due_ms(sink), -1);
	assert_ok(pst_sink_poll(sink, &err), &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 0);
	assert_ok(pst_sink_close(sink, &err), &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 5);
}

static void
the_method_is_the_one_that_is_asked_for(void **state)
{
	static const struct
	{
		const char *options;
		const char *method;
	} cases[] = {
		{"sink.mode=upsert", "unnest"},
		{"sink.mode=upsert;sink.method=unnest", "unnest"},
		{"sink.mode=upsert;sink.method=copy", "copy+merge"},
		{"sink.mode=append", "copy"},
		{"sink.mode=append;sink.method=copy", "copy"},
		{"sink.mode=append;sink.method=unnest", "unnest"},
	};

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink = opened(with("table-name=t", cases[i].options), "id:i,v:u");

		live_exec(admin, "TRUNCATE t");
		add_rows(sink, "id:i,v:u", "1|a", "2|b");
		assert_ok(pst_sink_flush(sink, &err), &err);
		assert_string_equal(stats_of(sink).method, cases[i].method);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,a) (2,b)");
	}
}

static void
auto_is_upsert_with_a_key_and_append_without(void **state)
{
	static const struct
	{
		const char *ddl;
		const char *options;
		const char *mode;
	} cases[] = {
		{"CREATE TABLE t (id int, v text)", "", "append"},
		{"CREATE TABLE t (id int PRIMARY KEY, v text)", "", "upsert"},
		{"CREATE TABLE t (id int, v text UNIQUE)", "sink.key=v", "upsert"},
		{"CREATE TABLE t (id int PRIMARY KEY, v text)", "sink.mode=append", "append"},
		{"CREATE TABLE t (id int PRIMARY KEY, v text)", "sink.mode=delete", "delete"},
		{"CREATE TABLE t (id int PRIMARY KEY, v text)", "sink.mode=changelog", "changelog"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		live_exec(admin, "DROP TABLE IF EXISTS t; %s", cases[i].ddl);
		sink = opened(with("table-name=t", cases[i].options), "id:i,v:u");
		assert_string_equal(stats_of(sink).mode, cases[i].mode);
		assert_ok(pst_sink_close(sink, &err), &err);
	}
}

static void
schema_name_takes_both_names_letter_by_letter(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin, "CREATE SCHEMA \"Odd.s\"; CREATE TABLE \"Odd.s\".\"T\"\"x.y\" (id int PRIMARY "
					 "KEY, \"V'v\" text)");
	write_rows("schema-name=Odd.s;table-name=T\"x.y", "id:i,V'v:u", "1|a", "1|b");
	write_rows("schema-name=Odd.s;table-name=T\"x.y;sink.method=copy", "id:i,V'v:u", "2|c");
	table_is("\"Odd.s\".\"T\"\"x.y\"", "(1,b) (2,c)");
	refused("schema-name=odd.s;table-name=T\"x.y", "id:i", PST_ERR_NOT_FOUND, &err);
	live_exec(admin, "DROP SCHEMA \"Odd.s\" CASCADE");
}

static void
writers_of_one_job_keep_progress_of_their_own_in_the_schema_named(void **state)
{
	static const char columns[] = "id:i,v:u";
	static const char *const options[] = {
		"table-name=t;sink.progress.schema=Odd;sink.progress.job=j;sink.progress.writer=left",
		"table-name=t;sink.progress.schema=Odd;sink.progress.job=j;sink.progress.writer=right",
		"table-name=t;sink.progress.schema=Odd;sink.progress.job=k;sink.progress.writer=left"};
	pst_error err = PST_ERROR_INIT;
	pst_sink *sinks[3];

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text); CREATE SCHEMA "
					 "\"Odd\"");
	for (int i = 0; i < 3; i++)
		sinks[i] = opened(options[i], columns);
	for (int turn = 0; turn < 2; turn++)
	{
		for (int i = 0; i < 3; i++)
		{
			add_rows(sinks[i], columns, i == 0 ? "0|a" : i == 1 ? "1|b" : "2|c");
			assert_ok(pst_sink_set_position(sinks[i],
											i == 0	 ? "l"
											: i == 1 ? "r"
													 : "k",
											&err),
					  &err);
			if (turn == 0 || i > 0)
				assert_ok(pst_sink_flush(sinks[i], &err), &err);
		}
	}
	pst_sink_discard(sinks[0], NULL);
	for (int i = 0; i < 3; i++)
		assert_ok(pst_sink_close(sinks[i], &err), &err);
	table_is("t", "(0,a) (1,b) (1,b) (2,c) (2,c)");
	table_is("(SELECT job, writer, epoch, position FROM \"Odd\".penstock_progress)",
			 "(j,left,0,l) (j,right,1,r) (k,left,1,k)");
	live_exec(admin, "DROP SCHEMA \"Odd\" CASCADE");
}

static void
options_that_do_not_go_together_are_refused_by_name(void **state)
{
	static const struct
	{
		const char *options;
		const char *part; /* of message or hint */
	} cases[] = {
		{"sink.mode=append", "\"table-name\""},
		{"table-name=t;transport=assisted", "\"transport\""},
		{"table-name=t;on-error.file=/tmp/x", "needs on-error=skip"},
		{"table-name=t;sink.progress.job=j", "sink.progress.schema"},
		{"table-name=t;sink.progress.schema=public", "sink.progress.job"},
		{"table-name=t;sink.staging=true", "sink.progress.schema"},
		{"table-name=t;sink.staging=true;sink.progress.schema=public;sink.progress.job=j;"
		 "on-error=skip",
		 "\"on-error\""},
		{"table-name=t;sink.mode=upsert", "sink.key"},
		{"table-name=t;sink.key=v", "CREATE UNIQUE INDEX"},
		{"table-name=t;sink.key=none", "\"none\""},
	};

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text)");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		struct ArrowSchema schema;
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink = NULL;
		char told[2100];

		rows_schema(&schema, "id:i,v:u");
		assert_true(open_sink(cases[i].options, &schema, &sink, &err) < 0);
		assert_null(sink);
		snprintf(told, sizeof(told), "%s %s", err.message, err.hint);
		assert_contains(told, cases[i].part);
		schema.release(&schema);
	}
}

static void
take_log(void *ctx, pst_log_level level, const char *message)
{
	(void) level;
	if (strstr(message, "has no effect") != NULL)
		snprintf(ctx, 512, "%s", message);
}

static void
parallelism_is_told_to_be_the_engines_matter(void **state)
{
	static const char *const keys[] = {"table-name", "sink.parallelism", NULL};
	static const char *const values[] = {"t", "4", NULL};
	char told[512] = "";
	pst_hooks hooks = {.struct_size = sizeof(hooks), .ctx = told, .log = take_log};
	struct ArrowSchema schema;
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text)");
	rows_schema(&schema, "id:i,v:u");
	assert_ok(pst_sink_open(keys, values, &schema, &hooks, &sink, &err), &err);
	assert_contains(told, "\"sink.parallelism\"");
	assert_ok(pst_sink_close(sink, &err), &err);
	schema.release(&schema);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		live_test_since(120000, "a nondeterministic collation",
						keys_that_an_icu_collation_holds_equal_are_one_key),
		live_test_since(100000, "an ICU collation",
						keys_under_a_deterministic_icu_collation_are_merged_by_their_bytes),
		cmocka_unit_test(citext_keys_are_equal_whatever_their_case),
		cmocka_unit_test(a_foreign_table_takes_appended_rows_and_nothing_else),
		live_test_since(180000, "a key WITHOUT OVERLAPS",
						a_key_without_overlaps_is_refused_until_there_is_a_plain_one),
		live_test_since(150000, "NULLS NOT DISTINCT",
						a_null_in_a_key_with_nulls_not_distinct_names_the_row),
		live_test_since(180000, "a virtual generated column",
						virtual_generated_columns_are_refused_by_name),
		cmocka_unit_test(a_table_of_1600_columns_is_written_by_every_method),
		cmocka_unit_test(a_full_disk_is_waited_for_and_then_told_with_the_rows_kept),
		cmocka_unit_test(a_statement_that_another_client_of_a_pooler_has_prepared_does_no_harm),
		cmocka_unit_test(max_retries_0_tells_the_first_error),
		cmocka_unit_test(max_bytes_flushes_by_itself),
		cmocka_unit_test(max_rows_flushes_by_itself_and_0_never_does),
		cmocka_unit_test(the_method_is_the_one_that_is_asked_for),
		cmocka_unit_test(auto_is_upsert_with_a_key_and_append_without),
		cmocka_unit_test(schema_name_takes_both_names_letter_by_letter),
		cmocka_unit_test(writers_of_one_job_keep_progress_of_their_own_in_the_schema_named),
		cmocka_unit_test(options_that_do_not_go_together_are_refused_by_name),
		cmocka_unit_test(parallelism_is_told_to_be_the_engines_matter),
	};

	return live_run(tests, setup, teardown);
}
