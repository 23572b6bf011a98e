/* source_plan_test.c - splits that stay one moment: what changes around them, what may fail. */
#include "test.h"

#include <pthread.h>

#include "live.h"
#include "source_rows.h"

static PGconn *admin;

static int
setup(void **state)
{
	if (live_make_database(state) != 0)
		return -1;
	admin = live_connect("");
	live_exec(admin, "SET client_min_messages = warning");
	return 0;
}

static int
teardown(void **state)
{
	PQfinish(admin);
	return live_drop_database(state);
}

static void
assert_rows(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

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
		skip();
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
		skip();
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
	live_exec(admin, "DROP FUNCTION disturbed; DROP TABLE ds");
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
	live_exec(admin, "DROP TABLE lp; DROP FUNCTION disturbed");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strides_of_a_query_cover_its_text_column_once_whatever_its_collation),
		cmocka_unit_test(strides_follow_a_collation_that_is_named_default),
		cmocka_unit_test(a_query_is_read_without_synchronized_scans),
		cmocka_unit_test(a_split_is_refused_under_another_treatment_of_special_values),
		cmocka_unit_test(a_failed_estimate_leaves_the_plan_and_its_moment),
		cmocka_unit_test(a_failed_estimate_leaves_the_moment_of_what_was_read),
		cmocka_unit_test(a_later_plan_that_fails_leaves_the_first_one),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
