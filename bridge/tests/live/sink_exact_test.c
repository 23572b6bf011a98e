/*
 * sink_exact_test.c - exactly once: the progress table, lost commits, fencing, and two phases.
 */
#include "sink_rows.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sink.h"

/* --- sessions that are lost ------------------------------------------------------------------------ */

/* Ends a sink's connection, but not its server process, once that waits for a lock. */
typedef struct cutter
{
	pthread_t thread;
	PGconn *conn;
	int fd;
	char pid[16];
} cutter;

static void *
cut_when_locked(void *arg)
{
	cutter *c = arg;

	while (live_int(c->conn, "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s",
					c->pid) == 0)
		usleep(1000);
	shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

/*
 * Flushes while somebody holds the target, and loses the connection when everything has been sent,
 * COMMIT included: the server process goes on as soon as the lock is released, by ending the
 * transaction of the connection that is returned.
 */
static PGconn *
lose_commit(pst_sink *sink, cutter *c, pst_status want)
{
	PGconn *locker = live_connect("");
	pst_error err = PST_ERROR_INIT;

	live_exec(locker, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
	c->conn = live_connect("");
	c->fd = PQsocket(psti_conn_pg(sink->conn));
	snprintf(c->pid, sizeof(c->pid), "%s", sink->session.pid);
	assert_int_equal(pthread_create(&c->thread, NULL, cut_when_locked, c), 0);
	assert_fails(pst_sink_flush(sink, &err), want, &err);
	pthread_join(c->thread, NULL);
	return locker;
}

/* Lets the lost server process do what it was sent, and waits until it has ended. */
static void
release(PGconn *locker, cutter *c)
{
	live_exec(locker, "COMMIT");
	while (live_int(locker, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", c->pid) > 0)
		usleep(1000);
	PQfinish(locker);
	PQfinish(c->conn);
}

/* Does that when the failpoint is reached that waits for the file gate. */
typedef struct releaser
{
	pthread_t thread;
	PGconn *locker;
	cutter *cutter;
	char gate[64];
} releaser;

static void *
release_at_gate(void *arg)
{
	releaser *r = arg;
	char reached[80];

	snprintf(reached, sizeof(reached), "%s.reached", r->gate);
	while (access(reached, F_OK) != 0)
		usleep(1000);
	release(r->locker, r->cutter);
	fclose(fopen(r->gate, "w"));
	return NULL;
}

static void
release_at(releaser *r, const char *point)
{
	static int n;
	char text[256];

	snprintf(r->gate, sizeof(r->gate), "/tmp/penstock-gate-%d-%d", (int) getpid(), n++);
	snprintf(text, sizeof(text), "%s=wait:%s", point, r->gate);
	setenv("PENSTOCK_FAILPOINTS", text, 1);
	assert_int_equal(pthread_create(&r->thread, NULL, release_at_gate, r), 0);
}

static void
released(releaser *r)
{
	char reached[80];

	pthread_join(r->thread, NULL);
	unsetenv("PENSTOCK_FAILPOINTS");
	snprintf(reached, sizeof(reached), "%s.reached", r->gate);
	unlink(reached);
	unlink(r->gate);
}

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
		assert_ok(pst_sink_set_position(sink, "three", &err), &err);
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

static void
closing_does_not_say_that_rows_in_doubt_were_not_written(void **state)
{
	(void) state;
	for (int flushed = 0; flushed < 2; flushed++)
	{
		pst_sink_stats stats = {.struct_size = sizeof(stats)};
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v int)");
		sink = opened("table-name=t", "id:i,v:i");
		add_rows(sink, "id:i,v:i", "1|1", "2|2");
		fail_once("sink.after_commit");
		if (flushed)
		{
			assert_fails(pst_sink_flush(sink, &err), PST_ERR_UNKNOWN_OUTCOME, &err);
			pst_sink_get_stats(sink, &stats);
			assert_int_equal(stats.rows_in_doubt, 2);
			assert_int_equal(stats.rows_buffered, 2);
		}
		assert_fails(pst_sink_close(sink, &err), PST_ERR_UNKNOWN_OUTCOME, &err);
		unsetenv("PENSTOCK_FAILPOINTS");
		assert_memory_equal(err.message, "the connection was lost while 2 rows", 36);
		assert_null(strstr(err.hint, "discard"));
	}
	/* Others were not, and that is said once. */
	live_exec(admin, "ALTER TABLE t ADD CHECK (v < 3)");
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink = opened("table-name=t", "id:i,v:i");

		add_rows(sink, "id:i,v:i", "4|4");
		assert_fails(pst_sink_close(sink, &err), PST_ERR_CONSTRAINT, &err);
		assert_contains(err.message, "1 buffered rows were not written: ");
		assert_null(strstr(err.message, ": :"));
	}
}

static void
an_append_in_doubt_is_told_when_it_can_change_nothing_any_more(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	cutter c;
	PGconn *locker;

	(void) state;
	for (int discard = 0; discard < 2; discard++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v int)");
		sink = opened("table-name=t;sink.mode=append;sink.method=unnest;sink.max-retries=0",
					  "id:i,v:i");
		add_rows(sink, "id:i,v:i", "1|1");
		locker = lose_commit(sink, &c, PST_ERR_UNKNOWN_OUTCOME);
		assert_int_equal(live_int(locker, "SELECT count(*) FROM t"), 0);
		release(locker, &c);
		/* What was seen is what there is: the rows were not written behind it. */
		table_is("t", "");
		if (discard)
			pst_sink_discard(sink, NULL);
		assert_ok(pst_sink_flush(sink, &err), &err);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", discard ? "" : "(1,1)");
	}
}

/* Two roles, and a table t that both may write: penstock_login works as penstock_worker. */
static void
make_roles(void)
{
	live_exec(
		admin,
		"DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v int); DROP ROLE IF EXISTS "
		"penstock_login, penstock_worker; CREATE ROLE penstock_login "
		"LOGIN; CREATE ROLE penstock_worker; GRANT penstock_worker TO penstock_login; ALTER ROLE "
		"penstock_login SET role = penstock_worker; GRANT ALL ON t TO penstock_login, "
		"penstock_worker");
}

static void
drop_roles(void)
{
	live_exec(admin, "DROP TABLE t; DROP ROLE penstock_login, penstock_worker");
}

static void
a_session_that_works_under_another_role_is_ended_as_well(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	cutter c;
	PGconn *locker;

	(void) state;
	make_roles();
	sink = opened("username=penstock_login;table-name=t;sink.mode=append;sink.method=unnest;"
				  "sink.max-retries=0",
				  "id:i,v:i");
	add_rows(sink, "id:i,v:i", "1|1");
	locker = lose_commit(sink, &c, PST_ERR_UNKNOWN_OUTCOME);
	release(locker, &c);
	table_is("t", "");
	assert_ok(pst_sink_flush(sink, &err), &err);
	table_is("t", "(1,1)");
	/* The role is what it was. */
	live_exec(admin, "REVOKE ALL ON t FROM penstock_login");
	add_rows(sink, "id:i,v:i", "2|2");
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,1) (2,2)");
	drop_roles();
}

static void
allow_ending(const char *verb, const char *whom)
{
	live_exec(admin,
			  "DO $$ BEGIN EXECUTE '%s EXECUTE ON FUNCTION ' || (SELECT oid::regprocedure FROM "
			  "pg_proc WHERE proname = 'pg_terminate_backend') || ' %s PUBLIC'; END $$",
			  verb, whom);
}

static void
a_lost_session_that_has_ended_needs_no_right_to_end_it(void **state)
{
	(void) state;
	make_roles();
	allow_ending("REVOKE", "FROM");
	live_exec(admin, "REVOKE SELECT ON pg_stat_activity FROM PUBLIC");
	for (int key = 0; key < 2; key++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink = opened("username=penstock_login;table-name=t", "id:i,v:i");

		add_rows(sink, "id:i,v:i", "1|1");
		fail_once("sink.after_commit");
		if (key)
			assert_ok(pst_sink_flush(sink, &err), &err);
		else
		{
			assert_fails(pst_sink_flush(sink, &err), PST_ERR_UNKNOWN_OUTCOME, &err);
			assert_non_null(strstr(err.hint, "has been ended"));
			pst_sink_discard(sink, NULL);
		}
		unsetenv("PENSTOCK_FAILPOINTS");
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1)");
		live_exec(admin, key ? "SELECT" : "ALTER TABLE t ADD PRIMARY KEY (id)");
	}
	allow_ending("GRANT", "TO");
	live_exec(admin, "GRANT SELECT ON pg_stat_activity TO PUBLIC");
	drop_roles();
}

#define ONCE PROGRESS ";sink.mode=append;sink.method=unnest;sink.max-retries=0"

static void
a_commit_of_discarded_rows_is_not_taken_for_that_of_later_ones(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	cutter c;
	releaser r = {.cutter = &c};

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v int)");
	sink = opened(ONCE, "id:i,v:i");
	add_rows(sink, "id:i,v:i", "1|1");
	assert_ok(pst_sink_set_position(sink, "one", &err), &err);
	r.locker = lose_commit(sink, &c, PST_ERR_CONNECTION);
	pst_sink_discard(sink, NULL);
	add_rows(sink, "id:i,v:i", "2|2");
	assert_ok(pst_sink_set_position(sink, "two", &err), &err);
	/* The lost session comes to its COMMIT when the next flush has already looked. */
	release_at(&r, "sink.before_begin");
	assert_ok(pst_sink_flush(sink, &err), &err);
	released(&r);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(2,2)");
	assert_int_equal(live_int(admin, "SELECT epoch FROM penstock_progress WHERE position = 'two'"),
					 0);
}

static void
a_commit_that_came_through_before_its_rows_were_discarded_is_counted(void **state)
{
	static const char *const ways[] = {ONCE, PROGRESS ";sink.mode=append;sink.max-retries=0"};

	(void) state;
	for (int w = 0; w < 2; w++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;
		char *big = malloc(300001);

		live_exec(admin,
				  "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v text)");
		sink = opened(ways[w], "id:i,v:u");
		add_rows(sink, "id:i,v:u", "1|1");
		fail_once("sink.after_commit");
		assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONNECTION, &err);
		unsetenv("PENSTOCK_FAILPOINTS");
		pst_sink_discard(sink, NULL);
		/* Large enough to travel before the flush. */
		memset(big, 'x', 300000);
		memcpy(big, "2|", 2);
		big[300000] = '\0';
		add_rows(sink, "id:i,v:u", big);
		free(big);
		assert_ok(pst_sink_close(sink, &err), &err);
		assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 2);
		assert_int_equal(live_int(admin, "SELECT epoch FROM penstock_progress"), 1);
	}
}

static void
a_commit_that_was_lost_cannot_come_true_behind_the_retry(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	cutter c;
	releaser r = {.cutter = &c};

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v int)");
	sink = opened(ONCE, "id:i,v:i");
	add_rows(sink, "id:i,v:i", "1|1");
	r.locker = lose_commit(sink, &c, PST_ERR_CONNECTION);
	release_at(&r, "sink.before_begin");
	assert_ok(pst_sink_flush(sink, &err), &err);
	released(&r);
	add_rows(sink, "id:i,v:i", "2|2");
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,1) (2,2)");
	assert_int_equal(live_int(admin, "SELECT epoch FROM penstock_progress"), 1);
}

static void
what_a_lost_commit_wrote_and_skipped_is_counted_once_it_is_settled(void **state)
{
	static const char *const ways[] = {"sink.max-retries=0", "sink.max-retries=3"};

	(void) state;
	for (int w = 0; w < 2; w++)
	{
		char options[256];
		pst_error err = PST_ERROR_INIT;
		pst_sink_stats stats = {.struct_size = sizeof(stats)};
		pst_sink *sink;

		live_exec(admin, "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int "
						 "PRIMARY KEY, v int CHECK (v > 0)); INSERT INTO t VALUES (9, 9)");
		snprintf(options, sizeof(options), PROGRESS ";on-error=skip;sink.mode=changelog;%s",
				 ways[w]);
		sink = opened(options, "id:i,v:i");
		add_rows(sink, "id:i,v:i", "1|1", "2|-2", "-D 9|~", "3|3", "4|-4");
		fail_once("sink.after_commit");
		if (w == 0)
			assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONNECTION, &err);
		assert_ok(pst_sink_flush(sink, &err), &err);
		unsetenv("PENSTOCK_FAILPOINTS");
		pst_sink_get_stats(sink, &stats);
		assert_int_equal(stats.rows_skipped, 2);
		assert_int_equal(stats.rows_upserted, 2);
		assert_int_equal(stats.rows_deleted, 1);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1) (3,3)");
	}
}

static void
a_position_set_behind_a_commit_in_doubt_is_stored_too(void **state)
{
	static const char *const points[] = {"sink.after_commit", "sink.before_begin"};

	(void) state;
	for (int p = 0; p < 2; p++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		live_exec(admin,
				  "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v int)");
		sink = opened(ONCE, "id:i,v:i");
		add_rows(sink, "id:i,v:i", "1|1");
		assert_ok(pst_sink_set_position(sink, "one", &err), &err);
		fail_once(points[p]);
		assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONNECTION, &err);
		unsetenv("PENSTOCK_FAILPOINTS");
		assert_ok(pst_sink_set_position(sink, "later", &err), &err);
		assert_ok(pst_sink_flush(sink, &err), &err);
		assert_int_equal(
			live_int(admin, "SELECT epoch FROM penstock_progress WHERE position = 'later'"), 1 - p);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1)");
	}
}

static void
closing_does_not_write_what_no_position_covers(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	char *big = malloc(300001);

	(void) state;
	memset(big, 'x', 300000);
	memcpy(big, "2|", 2);
	big[300000] = '\0';
	live_exec(admin, "DROP TABLE IF EXISTS t, penstock_progress; CREATE TABLE t (id int, v text)");
	for (int w = 0; w < 2; w++)
	{
		sink = opened(PROGRESS, "id:i,v:u");
		add_rows(sink, "id:i,v:u", w == 0 ? "1|a" : "3|c");
		assert_ok(pst_sink_set_position(sink, w == 0 ? "one" : "three", &err), &err);
		add_rows(sink, "id:i,v:u", w == 0 ? "2|b" : big, "4|d");
		assert_fails(pst_sink_close(sink, &err), PST_ERR_STATE, &err);
		assert_contains(err.message, "2 rows behind the last position");
		table_is("t", w == 0 ? "(1,a)" : "(1,a) (3,c)");
	}
	assert_int_equal(
		live_int(admin, "SELECT epoch FROM penstock_progress WHERE position = 'three'"), 1);
	/* All of it is behind the position that is stored. */
	sink = opened(PROGRESS, "id:i,v:u");
	assert_ok(pst_sink_set_position(sink, "four", &err), &err);
	assert_ok(pst_sink_flush(sink, &err), &err);
	add_rows(sink, "id:i,v:u", "5|e");
	assert_fails(pst_sink_close(sink, &err), PST_ERR_STATE, &err);
	table_is("t", "(1,a) (3,c)");
	/* An explicit flush writes what the caller wants written. */
	sink = opened(PROGRESS, "id:i,v:u");
	assert_ok(pst_sink_set_position(sink, "five", &err), &err);
	add_rows(sink, "id:i,v:u", "5|e");
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,a) (3,c) (5,e)");
	free(big);
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

static pst_sink *
another_writer(void)
{
	return opened(STAGING "append", "id:i,v:i");
}

/* The first writer of a job, whose table is made anew: t (id int, v int). */
static pst_sink *
first_writer(void)
{
	drop_staging();
	live_exec(admin, "CREATE TABLE t (id int, v int)");
	return another_writer();
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
	sink = another_writer();
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
a_row_that_cannot_be_staged_is_named(void **state)
{
	static const struct
	{
		const char *row;
		const char *column; /* as far as the server tells of it */
		const char *sqlstate;
	} cases[] = {
		{"7|-1|ab|{}", "", "23514"},
		{"7|~|ab|{}", "", "23514"}, /* NOT NULL, which deletes need not heed */
		{"7|1|abcd|{}", "s", "22001"},
		{"7|1|ab|{", "j", "22P02"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		drop_staging();
		live_exec(admin, "CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL CHECK (v > 0), s "
						 "varchar(3), j json)");
		sink = opened(STAGING "changelog", "id:i,v:i,s:u,j:u");
		add_rows(sink, "id:i,v:i,s:u,j:u", "1|1|a|1", "2|2|b|2");
		assert_ok(pst_sink_flush(sink, &err), &err);
		add_rows(sink, "id:i,v:i,s:u,j:u", "3|3|c|3", "-D 5|~|~|~", "4|4|d|4", cases[i].row,
				 "5|5|e|5", "6|-6|f|6", "8|8|g|8");
		assert_fails(pst_sink_prepare(sink, 1, NULL, &err),
					 psti_sqlstate_status(cases[i].sqlstate, &(bool){0}), &err);
		assert_string_equal(err.sqlstate, cases[i].sqlstate);
		assert_string_equal(err.key, "(id)=(7)");
		assert_int_equal(err.row, 5);
		assert_string_equal(err.table, "t");
		assert_string_equal(err.column, cases[i].column);
		pst_sink_discard(sink, NULL);
		assert_ok(pst_sink_prepare(sink, 1, NULL, &err), &err);
		assert_ok(pst_sink_commit(sink, 1, &err), &err);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1,a,1) (2,2,b,2)");
	}
}

static void
nothing_is_skipped_where_rows_wait(void **state)
{
	pst_error err;

	(void) state;
	drop_staging();
	live_exec(admin, "CREATE TABLE t (id int, v int)");
	refused(STAGING "append;on-error=skip", "id:i,v:i", PST_ERR_INVALID, &err);
	assert_string_equal(err.message,
						"option \"on-error\" cannot be \"skip\" together with sink.staging");
}

static void
a_new_writer_replaces_what_an_old_one_prepared_and_nobody_committed(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *old;
	pst_sink *new;

	(void) state;
	old = first_writer();
	add_rows(old, "id:i,v:i", "1|1");
	assert_ok(pst_sink_prepare(old, 1, "1", &err), &err);
	add_rows(old, "id:i,v:i", "2|2");
	assert_ok(pst_sink_prepare(old, 2, "2", &err), &err);
	assert_ok(pst_sink_commit(old, 1, &err), &err);
	new = another_writer();
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

static void
a_fenced_writer_destroys_nothing_of_its_successor(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *old;
	pst_sink *new;

	(void) state;
	old = first_writer();
	add_rows(old, "id:i,v:i", "1|1");
	new = another_writer();
	add_rows(new, "id:i,v:i", "2|2");
	assert_ok(pst_sink_flush(new, &err), &err);
	/* Rows that are staged, then an epoch that is prepared. */
	assert_fails(pst_sink_flush(old, &err), PST_ERR_FENCED, &err);
	assert_ok(pst_sink_prepare(new, 1, "one", &err), &err);
	assert_fails(pst_sink_prepare(old, 1, "old", &err), PST_ERR_FENCED, &err);
	assert_fails(pst_sink_prepare(old, 0, "old", &err), PST_ERR_FENCED, &err);
	assert_ok(pst_sink_commit(new, 1, &err), &err);
	table_is("t", "(2,2)");
	pst_sink_discard(old, NULL);
	assert_ok(pst_sink_close(old, &err), &err);
	assert_ok(pst_sink_close(new, &err), &err);
}

static void
an_epoch_left_by_a_crash_is_not_taken_for_one_that_is_prepared_again(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	sink = first_writer();
	add_rows(sink, "id:i,v:i", "1|1");
	assert_ok(pst_sink_prepare(sink, 1, "one", &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	sink = another_writer();
	add_rows(sink, "id:i,v:i", "2|2");
	live_exec(admin, "SELECT pg_terminate_backend(%s)", sink->session.pid);
	while (live_int(admin, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s",
					sink->session.pid) > 0)
		usleep(1000);
	assert_ok(pst_sink_prepare(sink, 1, "one again", &err), &err);
	assert_ok(pst_sink_commit(sink, 1, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(2,2)");
}

static void
a_connection_lost_while_staging_loses_and_doubles_nothing(void **state)
{
	static const char *const points[] = {"sink.before_stage", "sink.after_stage"};

	(void) state;
	for (int p = 0; p < 2; p++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		sink = first_writer();
		add_rows(sink, "id:i,v:i", "1|1");
		assert_ok(pst_sink_prepare(sink, 1, "one", &err), &err);
		add_rows(sink, "id:i,v:i", "2|2");
		fail_once(points[p]);
		assert_ok(pst_sink_flush(sink, &err), &err);
		add_rows(sink, "id:i,v:i", "3|3");
		fail_once(points[p]);
		assert_ok(pst_sink_prepare(sink, 2, "two", &err), &err);
		fail_once("sink.before_stage_commit");
		assert_ok(pst_sink_commit(sink, 1, &err), &err);
		unsetenv("PENSTOCK_FAILPOINTS");
		assert_ok(pst_sink_commit(sink, 2, &err), &err);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1) (2,2) (3,3)");
	}
}

static void
one_writer_of_two_targets_commits_the_rows_of_both(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	drop_staging();
	live_exec(admin, "DROP TABLE IF EXISTS t2; CREATE TABLE t (id int, v int); CREATE TABLE t2 (id "
					 "int, v int)");
	for (int w = 0; w < 2; w++)
	{
		sink = opened(w == 0 ? STAGING "append" : STAGING "append;table-name=t2", "id:i,v:i");
		add_rows(sink, "id:i,v:i", "1|1");
		assert_ok(pst_sink_prepare(sink, 4, w == 0 ? "t at 4" : "t2 at 4", &err), &err);
		add_rows(sink, "id:i,v:i", "2|2");
		if (w == 0)
			assert_ok(pst_sink_prepare(sink, 5, "t at 5", &err), &err);
		pst_sink_discard(sink, NULL);
		assert_ok(pst_sink_close(sink, &err), &err);
	}
	sink = another_writer();
	assert_ok(pst_sink_commit(sink, 4, &err), &err);
	assert_ok(pst_sink_commit(sink, 5, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	for (int w = 0; w < 2; w++)
	{
		sink = opened(STAGING "append;table-name=t2", "id:i,v:i");
		assert_ok(pst_sink_commit(sink, 4, &err), &err);
		assert_ok(pst_sink_close(sink, &err), &err);
	}
	table_is("t", "(1,1) (2,2)");
	table_is("t2", "(1,1)");
	/* The later epoch and its position stay. */
	assert_int_equal(
		live_int(admin, "SELECT epoch FROM penstock_progress WHERE position = 't at 5'"), 5);
	live_exec(admin, "DROP TABLE t2");
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
		cmocka_unit_test(closing_does_not_say_that_rows_in_doubt_were_not_written),
		cmocka_unit_test(an_append_in_doubt_is_told_when_it_can_change_nothing_any_more),
		cmocka_unit_test(a_session_that_works_under_another_role_is_ended_as_well),
		cmocka_unit_test(a_lost_session_that_has_ended_needs_no_right_to_end_it),
		cmocka_unit_test(a_commit_of_discarded_rows_is_not_taken_for_that_of_later_ones),
		cmocka_unit_test(a_commit_that_came_through_before_its_rows_were_discarded_is_counted),
		cmocka_unit_test(a_commit_that_was_lost_cannot_come_true_behind_the_retry),
		cmocka_unit_test(what_a_lost_commit_wrote_and_skipped_is_counted_once_it_is_settled),
		cmocka_unit_test(a_position_set_behind_a_commit_in_doubt_is_stored_too),
		cmocka_unit_test(closing_does_not_write_what_no_position_covers),
		cmocka_unit_test(prepared_rows_wait_for_commit_by_any_process),
		cmocka_unit_test(a_row_that_the_target_would_refuse_is_refused_by_prepare),
		cmocka_unit_test(a_row_that_cannot_be_staged_is_named),
		cmocka_unit_test(nothing_is_skipped_where_rows_wait),
		cmocka_unit_test(a_new_writer_replaces_what_an_old_one_prepared_and_nobody_committed),
		cmocka_unit_test(a_failed_write_is_told_by_prepare_until_it_is_discarded),
		cmocka_unit_test(staged_changes_that_need_their_order_keep_it),
		cmocka_unit_test(a_fenced_writer_destroys_nothing_of_its_successor),
		cmocka_unit_test(an_epoch_left_by_a_crash_is_not_taken_for_one_that_is_prepared_again),
		cmocka_unit_test(a_connection_lost_while_staging_loses_and_doubles_nothing),
		cmocka_unit_test(one_writer_of_two_targets_commits_the_rows_of_both),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
