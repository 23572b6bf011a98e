/*
 * sink_exact_test.c - exactly once: the progress table, lost commits, fencing, and two phases.
 */
#include "sink_rows.h"

#include <unistd.h>

/* --- the progress table -------------------------------------------------------------------------- */

#define PROGRESS "table-name=t;sink.progress.schema=public;sink.progress.job=j"

static void
position_and_rows_are_stored_together(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	int64_t epoch;
	char *position;

	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v int CHECK "
			  "(v > 0))");
	sink = opened(PROGRESS, "id:i,v:i");
	assert_ok(pst_sink_stored(sink, &epoch, &position, &err), &err);
	assert_int_equal(epoch, -1);
	assert_null(position);
	add_rows(sink, "id:i,v:i", "1|1");
	assert_ok(pst_sink_set_position(sink, "after 1", &err), &err);
	assert_ok(pst_sink_flush(sink, &err), &err);
	add_rows(sink, "id:i,v:i", "2|-1");
	assert_ok(pst_sink_set_position(sink, "after 2", &err), &err);
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONSTRAINT, &err);
	assert_fails(pst_sink_close(sink, &err), PST_ERR_CONSTRAINT, &err);
	sink = opened(PROGRESS, "id:i,v:i");
	assert_ok(pst_sink_stored(sink, &epoch, &position, &err), &err);
	assert_int_equal(epoch, 0);
	assert_string_equal(position, "after 1");
	pst_free(position);
	/* A position alone is stored too. */
	assert_ok(pst_sink_set_position(sink, "idle", &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	assert_int_equal(live_int(admin,
							  "SELECT count(*) FROM penstock_progress WHERE position = 'idle' "
							  "AND epoch = 1"),
					 1);
	table_is("t", "(1,1)");
}

static void
discarded_rows_take_their_position_with_them(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v int)");
	sink = opened(PROGRESS, "id:i,v:i");
	add_rows(sink, "id:i,v:i", "1|1");
	assert_ok(pst_sink_set_position(sink, "after 1", &err), &err);
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_close(sink, &err), &err);
	assert_int_equal(
		live_int(admin, "SELECT count(*) FROM penstock_progress WHERE position IS NOT NULL"), 0);
}

static void
a_writer_that_was_replaced_is_fenced(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *old;
	pst_sink *new;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v int)");
	old = opened(PROGRESS, "id:i,v:i");
	add_rows(old, "id:i,v:i", "1|1");
	assert_ok(pst_sink_flush(old, &err), &err);
	new = opened(PROGRESS, "id:i,v:i");
	add_rows(old, "id:i,v:i", "2|2");
	assert_fails(pst_sink_flush(old, &err), PST_ERR_FENCED, &err);
	add_rows(new, "id:i,v:i", "3|3");
	assert_ok(pst_sink_close(new, &err), &err);
	assert_fails(pst_sink_close(old, &err), PST_ERR_FENCED, &err);
	table_is("t", "(1,1) (3,3)");
}

static void
a_lost_commit_is_settled_by_the_progress_table(void **state)
{
	static const char *const points[] = {"sink.after_commit", "sink.before_commit",
										 "sink.copy_sent", "sink.before_begin"};

	(void) state;
	for (int p = 0; p < 4; p++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		live_exec(admin,
				  "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v int)");
		sink = opened(PROGRESS, "id:i,v:i");
		add_rows(sink, "id:i,v:i", "1|1", "2|2");
		assert_ok(pst_sink_set_position(sink, "two", &err), &err);
		fail_once(points[p]);
		assert_ok(pst_sink_flush(sink, &err), &err);
		unsetenv("PENSTOCK_FAILPOINTS");
		add_rows(sink, "id:i,v:i", "3|3");
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1) (2,2) (3,3)");
		assert_int_equal(live_int(admin, "SELECT epoch FROM penstock_progress"), 1);
	}
}

static void
without_it_a_lost_append_is_told_and_not_repeated(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v int)");
	sink = opened("table-name=t", "id:i,v:i");
	add_rows(sink, "id:i,v:i", "1|1");
	fail_once("sink.after_commit");
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_UNKNOWN_OUTCOME, &err);
	unsetenv("PENSTOCK_FAILPOINTS");
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,1)");
	/* By key it may be repeated. */
	live_exec(admin, "ALTER TABLE t ADD PRIMARY KEY (id)");
	sink = opened("table-name=t", "id:i,v:i");
	add_rows(sink, "id:i,v:i", "1|5");
	fail_once("sink.after_commit");
	assert_ok(pst_sink_close(sink, &err), &err);
	unsetenv("PENSTOCK_FAILPOINTS");
	table_is("t", "(1,5)");
}

/* --- two phases ---------------------------------------------------------------------------------- */

#define STAGING                                                                                    \
	"table-name=t;sink.progress.schema=public;sink.progress.job=j;sink.staging=true;sink.mode="

static void
drop_staging(void)
{
	live_exec(admin, "DO $$DECLARE r text; BEGIN FOR r IN SELECT relname FROM pg_class WHERE "
					 "relname LIKE 'penstock_staging%%' AND relkind = 'r' LOOP EXECUTE 'DROP "
					 "TABLE ' || quote_ident(r); END LOOP; END$$; DROP TABLE IF EXISTS t, "
					 "penstock_progress");
}

static void
prepared_rows_wait_for_commit_by_any_process(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *writer;
	pst_sink *committer;
	int64_t epoch;
	char *position;

	(void) state;
	drop_staging();
	live_exec(admin,
			  "CREATE TABLE t (id int PRIMARY KEY, v text, j jsonb, n int DEFAULT 7); INSERT "
			  "INTO t VALUES (9, 'old', NULL, 9)");
	writer = opened(STAGING "changelog;sink.buffer-flush.max-rows=2", "id:i,v:u,j:u");
	add_rows(writer, "id:i,v:u,j:u", "1|a|{}", "2|b|~", "-D 1|~|~", "3|c|[]", "3|d|[1]");
	assert_ok(pst_sink_prepare(writer, 5, "five", &err), &err);
	add_rows(writer, "id:i,v:u,j:u", "1|z|~", "-D 9|~|~", "9|new|~");
	assert_ok(pst_sink_prepare(writer, 6, "six", &err), &err);
	add_rows(writer, "id:i,v:u,j:u", "100|never prepared|~");
	table_is("t", "(9,old,,9)");
	committer = opened(STAGING "changelog", "id:i,v:u,j:u");
	assert_fails(pst_sink_commit(committer, 6, &err), PST_ERR_STATE, &err);
	assert_ok(pst_sink_commit(committer, 5, &err), &err);
	table_is("t", "(2,b,,7) (3,d,[1],7) (9,old,,9)");
	assert_ok(pst_sink_commit(committer, 5, &err), &err);
	assert_ok(pst_sink_commit(committer, 6, &err), &err);
	table_is("t", "(1,z,,7) (2,b,,7) (3,d,[1],7) (9,new,,7)");
	/* The committer has not fenced the writer. */
	assert_ok(pst_sink_prepare(writer, 7, "seven", &err), &err);
	assert_ok(pst_sink_abort(committer, 7, &err), &err);
	assert_ok(pst_sink_abort(committer, 7, &err), &err);
	assert_fails(pst_sink_commit(committer, 7, &err), PST_ERR_NOT_FOUND, &err);
	assert_ok(pst_sink_close(writer, &err), &err);
	assert_ok(pst_sink_close(committer, &err), &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 4);
	committer = opened(STAGING "changelog", "id:i,v:u,j:u");
	assert_ok(pst_sink_stored(committer, &epoch, &position, &err), &err);
	assert_int_equal(epoch, 6);
	assert_string_equal(position, "six");
	pst_free(position);
	assert_ok(pst_sink_close(committer, &err), &err);
}

static void
a_row_that_the_target_would_refuse_is_refused_by_prepare(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	drop_staging();
	live_exec(admin, "CREATE TABLE t (id int, v int CHECK (v > 0))");
	sink = opened(STAGING "append", "id:i,v:i");
	add_rows(sink, "id:i,v:i", "1|1", "2|-2");
	assert_fails(pst_sink_prepare(sink, 1, NULL, &err), PST_ERR_CONSTRAINT, &err);
	pst_sink_discard(sink, NULL);
	add_rows(sink, "id:i,v:i", "1|1", "3|3");
	assert_ok(pst_sink_prepare(sink, 1, NULL, &err), &err);
	assert_ok(pst_sink_commit(sink, 1, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,1) (3,3)");
}

static void
a_new_writer_replaces_what_an_old_one_prepared_and_nobody_committed(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *old;
	pst_sink *new;

	(void) state;
	drop_staging();
	live_exec(admin, "CREATE TABLE t (id int, v int)");
	old = opened(STAGING "append", "id:i,v:i");
	add_rows(old, "id:i,v:i", "1|1");
	assert_ok(pst_sink_prepare(old, 1, "1", &err), &err);
	add_rows(old, "id:i,v:i", "2|2");
	assert_ok(pst_sink_prepare(old, 2, "2", &err), &err);
	assert_ok(pst_sink_commit(old, 1, &err), &err);
	new = opened(STAGING "append", "id:i,v:i");
	add_rows(new, "id:i,v:i", "2|20");
	add_rows(old, "id:i,v:i", "3|3");
	assert_fails(pst_sink_prepare(old, 3, "3", &err), PST_ERR_FENCED, &err);
	assert_ok(pst_sink_prepare(new, 2, "2", &err), &err);
	assert_ok(pst_sink_commit(new, 2, &err), &err);
	assert_fails(pst_sink_prepare(new, 2, "2", &err), PST_ERR_STATE, &err);
	pst_sink_discard(old, NULL);
	pst_sink_discard(new, NULL);
	assert_ok(pst_sink_close(old, &err), &err);
	assert_ok(pst_sink_close(new, &err), &err);
	table_is("t", "(1,1) (2,20)");
}

static void
a_failed_write_is_told_by_prepare_until_it_is_discarded(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	test_rows r;

	(void) state;
	drop_staging();
	live_exec(admin, "CREATE TABLE t (id int PRIMARY KEY, v int)");
	sink = opened(STAGING "upsert", "id:u,v:i");
	rows_make(&r, "id:u,v:i", "1|1", "x|2", "3|3", NULL);
	assert_fails(pst_sink_write(sink, &r.batch.array, NULL, &err), PST_ERR_DATA, &err);
	rows_free(&r);
	assert_fails(pst_sink_prepare(sink, 1, NULL, &err), PST_ERR_DATA, &err);
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_prepare(sink, 1, NULL, &err), &err);
	assert_ok(pst_sink_commit(sink, 1, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 0);
}

static void
staged_changes_that_need_their_order_keep_it(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	drop_staging();
	live_exec(admin, "CREATE TABLE t (id int PRIMARY KEY, big text, u text UNIQUE); INSERT INTO t "
					 "VALUES (1, 'big', 'a'), (2, 'two', 'b')");
	sink = opened(STAGING "changelog", "id:i,big:u,u:u");
	add_rows(sink, "id:i,big:u,u:u", "+U 2|=|c", "+U 1|=|b", "-U 1|~|~", "+U 5|=|b");
	assert_ok(pst_sink_prepare(sink, 1, NULL, &err), &err);
	assert_ok(pst_sink_commit(sink, 1, &err), &err);
	table_is("t", "(2,two,c) (5,big,b)");
	add_rows(sink, "id:i,big:u,u:u", "2|two|d", "1|one|c");
	assert_ok(pst_sink_prepare(sink, 2, NULL, &err), &err);
	assert_ok(pst_sink_commit(sink, 2, &err), &err);
	add_rows(sink, "id:i,big:u,u:u", "7|x|d");
	assert_ok(pst_sink_prepare(sink, 3, NULL, &err), &err);
	assert_fails(pst_sink_commit(sink, 3, &err), PST_ERR_CONSTRAINT, &err);
	assert_string_equal(err.key, "(id)=(7)");
	assert_ok(pst_sink_abort(sink, 3, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,one,c) (2,two,d) (5,big,b)");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(position_and_rows_are_stored_together),
		cmocka_unit_test(discarded_rows_take_their_position_with_them),
		cmocka_unit_test(a_writer_that_was_replaced_is_fenced),
		cmocka_unit_test(a_lost_commit_is_settled_by_the_progress_table),
		cmocka_unit_test(without_it_a_lost_append_is_told_and_not_repeated),
		cmocka_unit_test(prepared_rows_wait_for_commit_by_any_process),
		cmocka_unit_test(a_row_that_the_target_would_refuse_is_refused_by_prepare),
		cmocka_unit_test(a_new_writer_replaces_what_an_old_one_prepared_and_nobody_committed),
		cmocka_unit_test(a_failed_write_is_told_by_prepare_until_it_is_discarded),
		cmocka_unit_test(staged_changes_that_need_their_order_keep_it),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
