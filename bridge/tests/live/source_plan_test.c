/* source_plan_test.c - splits that stay one moment: what changes around them, what may fail. */
#include "test.h"

#include <pthread.h>
#include <unistd.h>

#include "live.h"
#include "source_rows.h"

/* The strides of a query or table by its column t give the same rows as one read. */
static void
assert_text_strides(const char *key, const char *value)
{
	char *whole = rows(key, value, "read.values", "csv", NULL);

	assert_rows(planned_rows(0, key, value, "scan.partition.column", "t",
							 "scan.partition.lower-bound", "A", "scan.partition.upper-bound", "z",
							 "scan.partition.num", "7", "read.values", "csv", NULL),
				whole);
	free(whole);
}

/* ---- Strides of texts ---- */

static void
strides_of_a_query_cover_its_text_column_once_whatever_its_collation(void **state)
{
	(void) state;
	if (!live_int(admin, "SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'"))
		live_skip("the server is built without ICU");
	live_exec(admin,
			  "CREATE TABLE qc (t text COLLATE \"en-x-icu\", c char(5) COLLATE \"en-x-icu\"); "
			  "INSERT INTO qc SELECT chr(g) || chr(g + 1), chr(g) FROM generate_series(33, 300) g "
			  "WHERE g <> 127");
	assert_text_strides("query", "SELECT t FROM qc");
	assert_text_strides("query", "SELECT c AS t FROM qc");
	assert_text_strides("query", "SELECT t::varchar(9) AS t FROM qc");
	assert_text_strides("query", "SELECT t::name AS t FROM qc");
	live_exec(admin, "DROP TABLE qc");
}

static void
strides_follow_a_collation_that_is_named_default(void **state)
{
	(void) state;
	if (!live_int(admin, "SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'"))
		live_skip("the server is built without ICU");
	live_exec(admin,
			  "CREATE COLLATION \"default\" FROM \"en-x-icu\"; "
			  "CREATE TABLE dc (t text COLLATE public.\"default\"); INSERT INTO dc SELECT chr(g) "
			  "|| chr(g + 1) FROM generate_series(33, 300) g WHERE g <> 127");
	assert_text_strides("table-name", "dc");
	live_exec(admin, "DROP TABLE dc; DROP COLLATION public.\"default\"");
}

static void
a_query_is_read_without_synchronized_scans(void **state)
{
	(void) state;
	assert_rows(rows("query", "SELECT current_setting('synchronize_seqscans')", NULL), "off\n");
}

/* ---- What a split is bound to ---- */

static void
a_split_is_refused_under_another_treatment_of_special_values(void **state)
{
	pst_source *source;
	pst_source *other;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	char **splits;
	size_t n;

	(void) state;
	live_exec(admin, "CREATE TABLE fp (a date)");
	assert_ok(open_source(&source, &err, "table-name", "fp", "special-values", "null", NULL), &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_ok(open_source(&other, &err, "table-name", "fp", NULL), &err);
	assert_fails(pst_source_read(other, splits[0], &stream, &err), PST_ERR_INVALID, &err);
	assert_contains(err.message, "another read");
	pst_free(splits);
	pst_source_close(other);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE fp");
}

static void
a_split_is_refused_under_another_search_path(void **state)
{
	pst_source *source;
	pst_source *other;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;
	char **splits;
	size_t n;

	(void) state;
	live_exec(admin, "CREATE SCHEMA a; CREATE TABLE a.x AS SELECT 1 AS v; "
					 "CREATE SCHEMA b; CREATE TABLE b.x AS SELECT 2 AS v");
	assert_ok(open_source(&source, &err, "url", "options='-csearch_path=a'", "query",
						  "SELECT v FROM x", NULL),
			  &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_ok(open_source(&other, &err, "url", "options='-csearch_path=b'", "query",
						  "SELECT v FROM x", NULL),
			  &err);
	assert_fails(pst_source_read(other, splits[0], &stream, &err), PST_ERR_STATE, &err);
	assert_contains(err.message, "search_path");
	assert_contains(err.detail, "It was {a}, here it is {b}.");
	pst_source_close(other);
	/* What is not there does not count. */
	assert_ok(open_source(&other, &err, "url", "options='-csearch_path=nowhere,a'", "query",
						  "SELECT v FROM x", NULL),
			  &err);
	assert_int_equal(sum_int32(other, splits[0]), 1);
	pst_source_close(other);
	pst_free(splits);
	pst_source_close(source);
	live_exec(admin, "DROP SCHEMA a, b CASCADE");
}

/* Each session has one of its own, which need not be there either. */
static void
the_schema_for_temporary_tables_is_nobodys_other_path(void **state)
{
	static const char *const urls[] = {"options='-csearch_path=pg_temp,public'",
									   "options='-csearch_path=public,pg_temp'"};

	(void) state;
	live_exec(admin,
			  "CREATE TABLE own AS SELECT 1 AS v; REVOKE TEMP ON DATABASE %s FROM PUBLIC; "
			  "CREATE ROLE no_temp LOGIN; GRANT SELECT ON own TO no_temp",
			  PQdb(admin));
	for (size_t i = 0; i < 4; i++)
	{
		const char *user = i % 2 == 0 ? "no_temp" : NULL;
		pst_source *source;
		pst_source *worker;
		pst_error err = PST_ERROR_INIT;
		char **splits;
		size_t n;

		assert_ok(open_source(&source, &err, "url", urls[i / 2], "table-name", "public.own",
							  user == NULL ? NULL : "username", user, NULL),
				  &err);
		assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
		assert_ok(open_source(&worker, &err, "url", urls[i / 2], "table-name", "public.own",
							  user == NULL ? NULL : "username", user, NULL),
				  &err);
		assert_int_equal(sum_int32(worker, splits[0]), 1);
		pst_source_close(worker);
		pst_free(splits);
		pst_source_close(source);
	}
	live_exec(admin, "GRANT TEMP ON DATABASE %s TO PUBLIC; DROP TABLE own; DROP ROLE no_temp",
			  PQdb(admin));
}

/* ---- What fails in between ---- */

/* A source whose planning fails while `admin` holds the advisory lock 4711. */
static pst_source *
open_disturbed(void)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	live_exec(admin,
			  "CREATE TABLE ds AS SELECT g AS a FROM generate_series(1, 100) g; "
			  "CREATE FUNCTION disturbed() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
			  "IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711) THEN "
			  "RAISE 'disturbed'; END IF; RETURN 0; END $$");
	assert_ok(open_source(&source, &err, "query", "SELECT a FROM ds WHERE a > disturbed()",
						  "scan.partition.column", "a", "scan.partition.lower-bound", "1",
						  "scan.partition.upper-bound", "100", "scan.partition.num", "2", NULL),
			  &err);
	return source;
}

static void
close_disturbed(pst_source *source)
{
	pst_source_close(source);
	live_exec(admin, "DROP FUNCTION disturbed(); DROP TABLE ds");
}

static void
a_failed_estimate_leaves_the_plan_and_its_moment(void **state)
{
	pst_source *source = open_disturbed();
	pst_error err = PST_ERROR_INIT;
	int64_t nrows;
	int64_t nbytes;
	char **splits;
	size_t n;

	(void) state;
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_int_equal(n, 2);
	live_exec(admin, "SELECT pg_advisory_lock(4711)");
	live_exec(admin, "DELETE FROM ds");
	assert_true(pst_source_estimate(source, &nrows, &nbytes, &err) < 0);
	assert_contains(err.message, "disturbed");
	live_exec(admin, "SELECT pg_advisory_unlock(4711)");
	assert_int_equal(count_splits(source, splits, n), 100);
	assert_ok(pst_source_estimate(source, &nrows, &nbytes, &err), &err);
	pst_free(splits);
	close_disturbed(source);
}

static void
a_failed_estimate_leaves_the_moment_of_what_was_read(void **state)
{
	pst_source *source = open_disturbed();
	pst_error err = PST_ERROR_INIT;
	int64_t nrows;
	int64_t nbytes;

	(void) state;
	assert_int_equal(count_splits(source, NULL, 1), 100);
	live_exec(admin, "SELECT pg_advisory_lock(4711)");
	live_exec(admin, "DELETE FROM ds");
	assert_true(pst_source_estimate(source, &nrows, &nbytes, &err) < 0);
	live_exec(admin, "SELECT pg_advisory_unlock(4711)");
	assert_int_equal(count_splits(source, NULL, 1), 100);
	close_disturbed(source);
}

static void
a_later_plan_that_fails_leaves_the_first_one(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	char **more;
	size_t n;
	size_t nmore;

	(void) state;
	live_exec(admin,
			  "CREATE TABLE lp AS SELECT g AS a FROM generate_series(1, 100) g; ANALYZE lp; "
			  "CREATE FUNCTION disturbed() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN "
			  "IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND "
			  "objid = 4711) THEN RAISE 'disturbed'; END IF; RETURN 0; END $$");
	assert_ok(
		open_source(&source, &err, "table-name", "lp", "read.filter", "a > disturbed()", NULL),
		&err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	live_exec(admin, "DELETE FROM lp");
	live_exec(admin, "SELECT pg_advisory_lock(4711)");
	if (PQserverVersion(admin) >= 140000)
		assert_true(pst_source_plan(source, 0, &more, &nmore, &err) < 0);
	live_exec(admin, "SELECT pg_advisory_unlock(4711)");
	assert_int_equal(count_splits(source, splits, n), 100);
	pst_free(splits);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE lp; DROP FUNCTION disturbed()");
}

/* ---- What changes around a plan ---- */

/* Plans strides of `pt` or whichever table, reads the first, runs sql, reads the others twice over. */
static void
assert_strides_unmoved_by(const char *table, const char *sql, int64_t want)
{
	pst_source *source;
	pst_source *worker;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;
	int64_t count;

	for (int i = 0; i < 2; i++)
		assert_ok(open_source(i == 0 ? &source : &worker, &err, "table-name", table,
							  "scan.partition.column", "a", "scan.partition.lower-bound", "0",
							  "scan.partition.upper-bound", "200", "scan.partition.num", "4", NULL),
				  &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_int_equal(n, 4);
	count = read_split(source, splits[0], NULL) + read_split(source, splits[1], NULL);
	live_exec(admin, "%s", sql);
	count += read_split(source, splits[2], NULL) + read_split(worker, splits[3], NULL);
	assert_int_equal(count, want);
	count = count_splits(worker, splits, n);
	assert_int_equal(count, want);
	/* The moment of the handle is that of the plan, however it is read. */
	assert_int_equal(read_split(source, NULL, NULL), want);
	pst_free(splits);
	pst_source_close(worker);
	pst_source_close(source);
}

static void
a_table_that_comes_under_the_one_being_read_is_not_part_of_the_moment(void **state)
{
	(void) state;
	live_exec(admin, "CREATE TABLE h AS SELECT g AS a FROM generate_series(0, 199) g; "
					 "CREATE TABLE h1 AS SELECT * FROM h; CREATE TABLE h2 AS SELECT * FROM h");
	assert_strides_unmoved_by("h", "ALTER TABLE h1 INHERIT h", 200);
	assert_strides_unmoved_by("h", "ALTER TABLE h2 INHERIT h", 400);
	assert_int_equal(count_rows("table-name", "h", NULL), 600);
	live_exec(admin, "DROP TABLE h CASCADE");
	if (PQserverVersion(admin) < 120000)
		return;
	live_exec(admin, "CREATE TABLE h (a int) PARTITION BY RANGE (a); "
					 "CREATE TABLE h1 PARTITION OF h FOR VALUES FROM (0) TO (100); "
					 "INSERT INTO h SELECT generate_series(0, 99); "
					 "CREATE TABLE h2 AS SELECT g AS a FROM generate_series(100, 199) g");
	assert_strides_unmoved_by("h",
							  "ALTER TABLE h ATTACH PARTITION h2 FOR VALUES FROM (100) TO "
							  "(200)",
							  100);
	assert_int_equal(count_rows("table-name", "h", NULL), 200);
	live_exec(admin, "DROP TABLE h");
}

static void
a_filter_on_whole_rows_sees_the_tables_columns_in_every_plan(void **state)
{
	static const char *const filters[] = {"wr::text NOT LIKE '(2%'", "a > 3"};

	(void) state;
	live_exec(admin,
			  "CREATE TABLE wr (a int, b text) PARTITION BY RANGE (a); "
			  "CREATE TABLE wr1 (b text, a int); CREATE TABLE wr2 (a int, b text); "
			  "ALTER TABLE wr ATTACH PARTITION wr1 FOR VALUES FROM (0) TO (100); "
			  "ALTER TABLE wr ATTACH PARTITION wr2 FOR VALUES FROM (100) TO (200); "
			  "INSERT INTO wr SELECT g, '1' || g FROM generate_series(0, 199) g; ANALYZE wr");
	for (int i = 0; i < 2; i++)
	{
		char *whole = rows("table-name", "wr", "read.filter", filters[i], NULL);

		assert_rows(planned_rows(0, "table-name", "wr", "read.split-bytes", "8kb", "read.filter",
								 filters[i], NULL),
					whole);
		free(whole);
	}
	live_exec(admin, "DROP TABLE wr");
}

static void
partitions_with_the_tables_columns_are_cut_under_a_filter_too(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;

	(void) state;
	/* A column that was dropped before is none. */
	live_exec(admin, "CREATE TABLE sc (z int, a int, b text) PARTITION BY RANGE (a); "
					 "ALTER TABLE sc DROP COLUMN z; "
					 "CREATE TABLE sc1 PARTITION OF sc FOR VALUES FROM (0) TO (5000); "
					 "CREATE TABLE sc2 PARTITION OF sc FOR VALUES FROM (5000) TO (10000); "
					 "INSERT INTO sc SELECT g, 'x' FROM generate_series(0, 9999) g; ANALYZE sc");
	assert_ok(open_source(&source, &err, "table-name", "sc", "read.split-bytes", "64kb",
						  "read.filter", "sc.b = 'x'", NULL),
			  &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_true(n > 2);
	assert_int_equal(count_splits(source, splits, n), 10000);
	pst_free(splits);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE sc");
}

/*
 * LOCK TABLE would come before the snapshot, but a role that has columns only may not: its snapshot
 * may be older than its locks.
 */
static void
rows_that_leave_the_tree_between_snapshot_and_lock_are_not_lost(void **state)
{
	static const char *const trees[] = {
		"CREATE TABLE lt (a int, b text); CREATE TABLE lt1 () INHERITS (lt)",
		"CREATE TABLE lt (a int, b text) PARTITION BY LIST (a); "
		"CREATE TABLE lt1 PARTITION OF lt FOR VALUES IN (1); "
		"CREATE TABLE lt2 PARTITION OF lt DEFAULT"};
	static const char *const leave[] = {"ALTER TABLE lt1 NO INHERIT lt",
										"ALTER TABLE lt DETACH PARTITION lt1"};

	(void) state;
	live_exec(admin, "DROP ROLE IF EXISTS penstock_reader; CREATE ROLE penstock_reader LOGIN; "
					 "GRANT USAGE ON SCHEMA public TO penstock_reader");
	for (int i = 0; i < (PQserverVersion(admin) >= 110000 ? 2 : 1); i++)
	{
		blocked_read job = {.table = "lt", .columns = "a", .role = "penstock_reader"};
		PGconn *writer = live_connect("");
		pthread_t thread;

		live_exec(admin,
				  "%s; INSERT INTO lt1 SELECT 1 FROM generate_series(1, 100); "
				  "GRANT SELECT (a) ON lt TO penstock_reader",
				  trees[i]);
		live_exec(writer, "BEGIN; LOCK TABLE lt; %s; INSERT INTO lt SELECT a FROM lt1", leave[i]);
		assert_int_equal(pthread_create(&thread, NULL, read_in_thread, &job), 0);
		wait_for_lock(admin);
		live_exec(writer, "COMMIT");
		pthread_join(thread, NULL);
		assert_string_equal(job.error, "");
		assert_int_equal(job.count, 100);
		PQfinish(writer);
		live_exec(admin, "DROP TABLE lt, lt1 CASCADE");
	}
	live_exec(admin, "DROP OWNED BY penstock_reader; DROP ROLE penstock_reader");
}

static void
a_partition_that_is_being_detached_concurrently_is_part_of_an_earlier_moment(void **state)
{
	PGconn *other = live_connect("");
	pst_source *source;
	pst_source *worker;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;

	(void) state;
	live_exec(admin, "CREATE TABLE dc (a int) PARTITION BY RANGE (a); "
					 "CREATE TABLE dc1 PARTITION OF dc FOR VALUES FROM (0) TO (100); "
					 "CREATE TABLE dc2 PARTITION OF dc FOR VALUES FROM (100) TO (200); "
					 "INSERT INTO dc SELECT generate_series(0, 199)");
	for (int i = 0; i < 2; i++)
		assert_ok(open_source(i == 0 ? &source : &worker, &err, "table-name", "dc",
							  "scan.partition.column", "a", "scan.partition.lower-bound", "0",
							  "scan.partition.upper-bound", "200", "scan.partition.num", "4", NULL),
				  &err);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	assert_int_equal(PQsendQuery(other, "ALTER TABLE dc DETACH PARTITION dc2 CONCURRENTLY"), 1);
	wait_for_lock(admin);
	assert_int_equal(count_splits(worker, splits, n), 200);
	assert_int_equal(count_splits(source, splits, n), 200);
	pst_free(splits);
	pst_source_close(worker);
	pst_source_close(source);
	PQclear(PQgetResult(other));
	PQfinish(other);
	assert_int_equal(count_planned(0, "table-name", "dc", NULL), 100);
	live_exec(admin, "DROP TABLE dc, dc2");
}

/* As in any query: nobody can read another session's temporary table. */
static void
temporary_children_of_other_sessions_are_passed_over(void **state)
{
	(void) state;
	live_exec(admin, "CREATE TABLE tc AS SELECT g AS a FROM generate_series(1, 100) g; "
					 "CREATE TEMPORARY TABLE tc1 () INHERITS (tc); INSERT INTO tc1 VALUES (0)");
	assert_int_equal(count_planned(0, "table-name", "tc", "read.split-bytes", "8kb", NULL), 100);
	assert_int_equal(count_rows("table-name", "tc", NULL), 100);
	live_exec(admin, "DROP ROLE IF EXISTS penstock_reader; CREATE ROLE penstock_reader LOGIN; "
					 "GRANT USAGE ON SCHEMA public TO penstock_reader; "
					 "GRANT SELECT (a) ON tc TO penstock_reader");
	assert_int_equal(
		count_rows("table-name", "tc", "username", "penstock_reader", "read.columns", "a", NULL),
		100);
	live_exec(admin, "DROP TABLE tc CASCADE; DROP OWNED BY penstock_reader; "
					 "DROP ROLE penstock_reader");
}

/* ---- What a name means ---- */

/* Every row of `blue` says 1, every one of `green` 2; blue.c has other columns there, blue.o is none. */
static void
make_blue_and_green(void)
{
	live_exec(admin, "CREATE TABLE root (v int, a int)");
	for (int i = 1; i <= 2; i++)
	{
		const char *schema = i == 1 ? "blue" : "green";

		live_exec(admin,
				  "CREATE SCHEMA %s; SET search_path = %s, public; "
				  "CREATE TABLE t AS SELECT %d AS v, g AS a FROM generate_series(1, 2000) g; "
				  "CREATE VIEW w AS SELECT v, a FROM t; "
				  "CREATE MATERIALIZED VIEW m AS SELECT v, a FROM t; "
				  "CREATE TABLE leaf (v int, a int); INSERT INTO leaf SELECT v, a FROM t; "
				  "CREATE TABLE c AS SELECT v%s, a FROM t; ANALYZE; RESET search_path",
				  schema, schema, i, i == 1 ? "" : "::text AS x");
	}
	live_exec(admin, "CREATE TABLE blue.o AS SELECT v, a FROM blue.t; "
					 "ALTER TABLE blue.leaf INHERIT root");
}

static void
swap_blue_and_green(void)
{
	live_exec(admin, "BEGIN; ALTER SCHEMA blue RENAME TO parked; "
					 "ALTER SCHEMA green RENAME TO blue; "
					 "ALTER SCHEMA parked RENAME TO green; COMMIT");
}

/* The read fails and says so; it may not give the rows of the other table. */
static void
assert_renamed(pst_source *source, const char *split, const char *name)
{
	struct ArrowArrayStream stream;
	pst_error err = PST_ERROR_INIT;
	char message[100];

	if (pst_source_read(source, split, &stream, &err) == PST_OK)
	{
		drain_to_error(&stream);
		stream.release(&stream);
		(void) pst_source_error(source, &err);
	}
	snprintf(message, sizeof(message), "%s was renamed or replaced while it was read", name);
	assert_contains(err.message, message);
	assert_int_equal(err.status, PST_ERR_CONFLICT);
	assert_contains(err.hint, "Begin the read again");
	assert_true(err.retryable);
}

static void
open_to_swap(pst_source **source, const char *table, bool strides)
{
	pst_error err = PST_ERROR_INIT;

	if (strides)
		assert_ok(open_source(source, &err, "table-name", table, "read.columns", "v",
							  "scan.partition.column", "a", "scan.partition.lower-bound", "1",
							  "scan.partition.upper-bound", "2000", "scan.partition.num", "3",
							  NULL),
				  &err);
	else
		assert_ok(open_source(source, &err, "table-name", table, "read.columns", "v",
							  "read.split-bytes", "8kb", NULL),
				  &err);
}

/* `name` is the table that the splits read: the one that is opened, or one under it. */
static void
assert_swap_is_noticed(const char *table, bool strides, const char *name)
{
	pst_source *source;
	pst_source *worker;
	pst_source *late;
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;
	long long sum = 0;

	open_to_swap(&source, table, strides);
	open_to_swap(&worker, table, strides);
	open_to_swap(&late, table, strides);
	assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
	for (size_t i = 0; i + 1 < n; i++)
		sum += sum_int32(i % 2 == 0 ? source : worker, splits[i]);
	if (n == 1)
		(void) sum_int32(worker, splits[0]);
	swap_blue_and_green();
	assert_renamed(source, splits[n - 1], name);
	assert_renamed(worker, splits[n - 1], name);
	swap_blue_and_green();
	/* The plan is as good as before. */
	sum += sum_int32(late, splits[n - 1]);
	assert_int_equal(sum, 2000);
	assert_int_equal(sum_int32(source, NULL), 2000);
	pst_free(splits);
	pst_source_close(late);
	pst_source_close(worker);
	pst_source_close(source);
}

static void
tables_that_change_places_under_a_read_are_not_mixed(void **state)
{
	(void) state;
	make_blue_and_green();
	for (int strides = 0; strides < 2; strides++)
	{
		assert_swap_is_noticed("blue.t", strides, "blue.t");
		assert_swap_is_noticed("blue.w", strides, "blue.w");
		assert_swap_is_noticed("blue.m", strides, "blue.m");
		assert_swap_is_noticed("blue.c", strides, "blue.c");
		assert_swap_is_noticed("blue.o", strides, "blue.o");
	}
	/* Blocks are read of the leaf by its own name. */
	if (PQserverVersion(admin) >= 140000)
		assert_swap_is_noticed("root", false, "blue.leaf");
	live_exec(admin, "DROP SCHEMA blue, green CASCADE; DROP TABLE root");
}

/* Whatever the server says of the name then, and whether the worker has stood at the moment or not. */
static void
a_name_that_is_gone_or_another_is_a_renaming_to_a_worker_too(void **state)
{
	static const char *const turns[] = {
		"ALTER SCHEMA blue RENAME TO gone",
		"ALTER SCHEMA blue RENAME TO gone; CREATE SCHEMA blue; CREATE TABLE blue.t (other int)",
	};

	(void) state;
	for (size_t i = 0; i < 2; i++)
	{
		pst_source *source;
		pst_source *worker;
		pst_error err = PST_ERROR_INIT;
		char **splits;
		size_t n;

		make_blue_and_green();
		open_to_swap(&source, "blue.t", true);
		open_to_swap(&worker, "blue.t", true);
		assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
		live_exec(admin, "%s", turns[i]);
		assert_renamed(worker, splits[n - 1], "blue.t");
		assert_renamed(source, splits[n - 1], "blue.t");
		pst_free(splits);
		pst_source_close(worker);
		pst_source_close(source);
		live_exec(admin, "DROP SCHEMA IF EXISTS blue CASCADE; DROP SCHEMA gone, green CASCADE; "
						 "DROP TABLE IF EXISTS root");
	}
}

/* The planner folds the condition away: no node of its own, nothing that keeps a plan from being made. */
static void
that_a_table_was_not_renamed_costs_no_row_anything(void **state)
{
	struct ArrowArrayStream stream;
	struct ArrowArray batch;
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	char *select;
	char *plan;

	(void) state;
	live_exec(admin, "CREATE TABLE large AS SELECT i AS a FROM generate_series(1, 300000) i");
	assert_ok(open_source(&source, &err, "table-name", "large", "read.batch-rows", "10",
						  "transport", "plain", NULL),
			  &err);
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	assert_int_equal(stream.get_next(&stream, &batch), 0);
	select = live_value(admin, "SELECT substring(query FROM 'COPY \\((.*)\\) TO STDOUT') FROM "
							   "pg_stat_activity WHERE query ~ 'COPY \\(' AND pid <> "
							   "pg_backend_pid() AND datname = current_database()");
	assert_contains(select, "regclass");
	plan = live_value(admin, "EXPLAIN %s", select);
	assert_contains(plan, "Seq Scan on large");
	free(plan);
	free(select);
	batch.release(&batch);
	stream.release(&stream);
	pst_source_close(source);
	live_exec(admin, "DROP TABLE large");
}

/* A table is read through its parent by what it is, not by its name. */
static void
tables_under_the_one_being_read_may_change_their_schemas_name(void **state)
{
	pst_source *source;

	(void) state;
	make_blue_and_green();
	open_to_swap(&source, "root", true);
	assert_int_equal(sum_int32(source, NULL), 2000);
	swap_blue_and_green();
	assert_int_equal(sum_int32(source, NULL), 2000);
	pst_source_close(source);
	live_exec(admin, "DROP SCHEMA blue, green CASCADE; DROP TABLE root");
}

static void
a_role_that_has_columns_only_is_told_of_the_renaming_too(void **state)
{
	pst_source *source;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make_blue_and_green();
	live_exec(admin, "DROP ROLE IF EXISTS penstock_reader; CREATE ROLE penstock_reader LOGIN; "
					 "GRANT USAGE ON SCHEMA blue TO penstock_reader; "
					 "GRANT SELECT (v) ON blue.t TO penstock_reader");
	assert_ok(open_source(&source, &err, "table-name", "blue.t", "username", "penstock_reader",
						  "read.columns", "v", NULL),
			  &err);
	assert_int_equal(sum_int32(source, NULL), 2000);
	swap_blue_and_green();
	assert_renamed(source, NULL, "blue.t");
	pst_source_close(source);
	live_exec(admin, "DROP SCHEMA blue, green CASCADE; DROP TABLE root; "
					 "DROP OWNED BY penstock_reader; DROP ROLE penstock_reader");
}

/*
 * The planner's lock lets a worker in only as long as nobody waits to alter the table: then the
 * worker would wait for that session, that one for the planner, and the planner for the worker.
 */
static void
a_worker_is_not_caught_behind_a_session_that_waits_for_the_planner(void **state)
{
	static const char *const filters[] = {"true", "a > 0"};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		PGconn *other = live_connect("");
		pst_source *source;
		pst_source *worker;
		pst_error err = PST_ERROR_INIT;
		struct ArrowArrayStream stream;
		char **splits;
		size_t n;

		live_exec(admin, "CREATE TABLE q AS SELECT g AS a FROM generate_series(1, 100) g");
		assert_ok(open_source(&source, &err, "table-name", "q", "read.filter", filters[i], NULL),
				  &err);
		assert_ok(pst_source_plan(source, 0, &splits, &n, &err), &err);
		assert_int_equal(PQsendQuery(other, "ALTER TABLE q ADD b int"), 1);
		wait_for_lock(admin);
		assert_ok(open_source(&worker, &err, "table-name", "q", "read.filter", filters[i], NULL),
				  &err);
		assert_fails(pst_source_read(worker, splits[0], &stream, &err), PST_ERR_CONFLICT, &err);
		assert_string_equal(err.sqlstate, "55P03");
		assert_true(err.retryable);
		assert_contains(err.message, "public.q");
		assert_contains(err.hint, "the handle that planned");
		pst_source_close(worker);
		assert_int_equal(count_splits(source, splits, n), 100);
		pst_free(splits);
		pst_source_close(source);
		PQclear(PQgetResult(other));
		PQfinish(other);
		live_exec(admin, "DROP TABLE q");
	}
}

static void
a_filter_that_could_not_be_checked_at_open_is_checked_before_the_read(void **state)
{
	PGconn *other = live_connect("");
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArrayStream stream;

	(void) state;
	live_exec(admin, "CREATE TABLE fc (a int)");
	live_exec(other, "BEGIN; LOCK TABLE fc IN ACCESS EXCLUSIVE MODE");
	assert_ok(
		open_source(&source, &err, "table-name", "fc", "read.filter", "a > 1) OR (a < 5", NULL),
		&err);
	live_exec(other, "COMMIT");
	assert_fails(pst_source_read(source, NULL, &stream, &err), PST_ERR_SQL, &err);
	assert_contains(err.message, "read.filter");
	pst_source_close(source);
	PQfinish(other);
	live_exec(admin, "DROP TABLE fc");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		live_test_since(100000, "an ICU collation",
						strides_of_a_query_cover_its_text_column_once_whatever_its_collation),
		live_test_since(100000, "an ICU collation",
						strides_follow_a_collation_that_is_named_default),
		cmocka_unit_test(a_query_is_read_without_synchronized_scans),
		cmocka_unit_test(a_split_is_refused_under_another_treatment_of_special_values),
		cmocka_unit_test(a_split_is_refused_under_another_search_path),
		cmocka_unit_test(the_schema_for_temporary_tables_is_nobodys_other_path),
		cmocka_unit_test(a_failed_estimate_leaves_the_plan_and_its_moment),
		cmocka_unit_test(a_failed_estimate_leaves_the_moment_of_what_was_read),
		cmocka_unit_test(a_later_plan_that_fails_leaves_the_first_one),
		cmocka_unit_test(a_table_that_comes_under_the_one_being_read_is_not_part_of_the_moment),
		live_test_since(100000, "a partitioned table",
						a_filter_on_whole_rows_sees_the_tables_columns_in_every_plan),
		live_test_since(140000, "a scan of a range of blocks",
						partitions_with_the_tables_columns_are_cut_under_a_filter_too),
		cmocka_unit_test(rows_that_leave_the_tree_between_snapshot_and_lock_are_not_lost),
		live_test_since(
			140000, "DETACH PARTITION CONCURRENTLY",
			a_partition_that_is_being_detached_concurrently_is_part_of_an_earlier_moment),
		cmocka_unit_test(temporary_children_of_other_sessions_are_passed_over),
		cmocka_unit_test(tables_that_change_places_under_a_read_are_not_mixed),
		cmocka_unit_test(a_name_that_is_gone_or_another_is_a_renaming_to_a_worker_too),
		cmocka_unit_test(that_a_table_was_not_renamed_costs_no_row_anything),
		cmocka_unit_test(tables_under_the_one_being_read_may_change_their_schemas_name),
		cmocka_unit_test(a_role_that_has_columns_only_is_told_of_the_renaming_too),
		cmocka_unit_test(a_worker_is_not_caught_behind_a_session_that_waits_for_the_planner),
		cmocka_unit_test(a_filter_that_could_not_be_checked_at_open_is_checked_before_the_read),
	};

	alarm(300); /* a deadlock is a failure, not a stay */
	return live_run(tests, setup, teardown);
}
