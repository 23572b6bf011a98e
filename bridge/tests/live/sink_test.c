/* sink_test.c - what rows become in the target: one test for each rule of writing. */
#include "sink_rows.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The three ways in which a lot by key travels; the rules hold in each. */
static const char *const methods[] = {"sink.method=unnest", "sink.method=copy"};
#define NMETHODS 2

/* --- changes of one key ---------------------------------------------------------------------- */

static void
the_last_of_duplicate_keys_in_a_batch_wins(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v text); "
						 "INSERT INTO t VALUES (2, 'old')");
		write_rows(with("table-name=t", methods[m]), "id:l,v:u", "1|a", "2|b", "1|c", "3|~", "2|d");
		table_is("t", "(1,c) (2,d) (3,)");
	}
}

static void
delete_and_insert_of_a_key_in_one_batch_is_a_fresh_row(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v text, "
						 "n int DEFAULT 7); INSERT INTO t VALUES (1, 'old', 1), (2, 'old', 2), "
						 "(3, 'old', 3)");
		write_rows(with("table-name=t;sink.mode=changelog", methods[m]), "id:l,v:u", "-D 1|~",
				   "+I 1|new", "+I 2|kept", "+I 3|x", "-D 3|x", "+I 4|y", "-D 4|y");
		table_is("t", "(1,new,7) (2,kept,2)");
	}
}

static void
a_key_of_a_domain_over_an_enum_is_matched(void **state)
{
	(void) state;
	/* They stay: tables of sessions that are just ending may still be of them. */
	live_exec(admin,
			  "CREATE SCHEMA feelings; CREATE TYPE feelings.mood AS ENUM ('sad', 'ok', 'glad'); "
			  "CREATE DOMAIN feelings.own AS feelings.mood");
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (k feelings.own PRIMARY KEY, v text NOT "
				  "NULL, n int); INSERT INTO t VALUES ('sad', 'old', 1), ('ok', 'old', 2)");
		write_rows(with("table-name=t;sink.mode=changelog", methods[m]), "k:u,v:u,n:i",
				   "-D sad|~|~", "+U ok|=|3", "+I glad|new|4");
		table_is("t", "(glad,new,4) (ok,old,3)");
	}
}

static void
changes_are_merged_column_by_column(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, big text "
						 "NOT NULL, small int); INSERT INTO t VALUES (1, 'big', 1), (2, 'big', 2)");
		write_rows(with("table-name=t;sink.mode=changelog", methods[m]), "id:l,big:u,small:i",
				   "+U 1|new|5", "+U 1|=|6", "+U 2|=|9", "+I 3|three|3", "+U 3|=|4");
		table_is("t", "(1,new,6) (2,big,9) (3,three,4)");
	}
}

static void
a_key_change_moves_the_row_and_keeps_what_it_does_not_carry(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, big text, "
					 "small int); INSERT INTO t VALUES (1, 'big', 1), (5, 'five', 5)");
	write_rows("table-name=t;sink.mode=changelog", "id:l,big:u,small:i", "-U 1|~|~", "+U 2|=|7",
			   "-U 5|five|5", "+U 6|six|6");
	table_is("t", "(2,big,7) (6,six,6)");
	/* Once more, as after a lost acknowledgement: nothing is lost. */
	write_rows("table-name=t;sink.mode=changelog", "id:l,big:u,small:i", "-U 1|~|~", "+U 2|=|7");
	table_is("t", "(2,big,7) (6,six,6)");
	/* Columns that are not given stay with the row. */
	write_rows("table-name=t;sink.mode=changelog", "id:l,small:i", "-U 2|7", "+U 3|8");
	table_is("t", "(3,big,8) (6,six,6)");
}

static void
an_update_of_two_rows_with_one_key_keeps_other_columns(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v text, n int "
					 "DEFAULT 7); INSERT INTO t VALUES (1, 'old', 1)");
	write_rows("table-name=t;sink.mode=changelog", "id:l,v:u", "-U 1|old", "+U 1|new");
	table_is("t", "(1,new,1)");
}

static void
all_columns_may_be_the_key(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (a int, b text, PRIMARY KEY (a, "
						 "b)); INSERT INTO t VALUES (1, 'x')");
		write_rows(with("table-name=t", methods[m]), "b:u,a:i", "x|1", "y|1", "y|1");
		table_is("t", "(1,x) (1,y)");
	}
}

static void
keys_that_only_the_server_knows_equal_meet_in_arrival_order(void **state)
{
	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id numeric(6,2) PRIMARY KEY, v text)");
	/* 1.001 and 1.004 are both 1.00 in the column. */
	write_rows("table-name=t;sink.mode=changelog", "id:d:10,3,v:u", "1.001|a", "1.004|b", "-D 2|~",
			   "+I 2.001|x", "-D 2.00|~");
	table_is("t", "(1.00,b)");
	live_exec(admin, "DROP TABLE t; CREATE TABLE t (id jsonb PRIMARY KEY, v text)");
	write_rows("table-name=t", "id:u,v:u", "{\"a\":1,\"b\":2}|first", "{\"b\":2, \"a\":1}|second");
	table_is("t", "(\"{\"\"a\"\": 1, \"\"b\"\": 2}\",second)");
	live_exec(admin, "DROP TABLE t; CREATE TABLE t (id float8 PRIMARY KEY, v text)");
	write_rows("table-name=t", "id:g,v:u", "0|plus", "-0.0|minus");
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t WHERE id = 0 AND v = 'minus'"), 1);
	live_exec(admin, "DROP TABLE t; CREATE TABLE t (id varchar(3) PRIMARY KEY, v text)");
	write_rows("table-name=t", "id:u,v:u", "abc |one", "abc  |two");
	table_is("t", "(abc,two)");
}

static void
blanks_at_the_end_of_char_keys_do_not_count(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id char(5) PRIMARY KEY, v text)");
	write_rows("table-name=t;sink.mode=changelog", "id:u,v:u", "a|1", "a  |2", "-D b |x", "b|3");
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 2);
	assert_int_equal(live_int(admin, "SELECT v::int FROM t WHERE id = 'a'"), 2);
}

static void
integer_and_uuid_keys_that_come_as_text_are_one_key(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, u uuid, v text, PRIMARY KEY "
					 "(id, u))");
	write_rows("table-name=t;sink.mode=changelog", "id:u,u:u,v:u",
			   "1|00000000-0000-0000-0000-00000000000a|a",
			   "01|{0000000000000000000000000000000A}|b",
			   "-D +1|0000-0000-0000-0000-0000-0000-0000-000a|~",
			   " 1 |00000000-0000-0000-0000-00000000000A|c");
	table_is("t", "(1,00000000-0000-0000-0000-00000000000a,c)");
}

static void
a_null_in_a_key_names_the_row(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	test_rows r;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint UNIQUE, v text)");
	sink = opened("table-name=t;sink.key=id", "id:l,v:u");
	rows_make(&r, "id:l,v:u", "1|a", "~|b", "3|c", NULL);
	assert_fails(pst_sink_write(sink, &r.batch.array, NULL, &err), PST_ERR_CONSTRAINT, &err);
	assert_int_equal(err.row, 1);
	assert_string_equal(err.column, "id");
	assert_string_equal(err.sqlstate, "23502");
	/* The row before it can still be written. */
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,a)");
	rows_free(&r);
}

/* --- columns --------------------------------------------------------------------------------- */

static void
columns_match_by_name_in_any_order_and_the_others_keep_their_values(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v text, "
				  "n int DEFAULT 7, \"Odd \"\"n\" text); INSERT INTO t VALUES (1, 'a', 1, 'k')");
		write_rows(with("table-name=t", methods[m]), "Odd \"n:u,id:l", "x|1", "y|2");
		table_is("t", "(1,a,1,x) (2,,7,y)");
	}
}

static void
a_missing_not_null_column_keeps_its_present_value(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	test_rows r;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v text, "
					 "must int NOT NULL); INSERT INTO t VALUES (1, 'a', 1)");
	write_rows("table-name=t", "id:l,v:u", "1|b");
	table_is("t", "(1,b,1)");
	sink = opened("table-name=t", "id:l,v:u");
	rows_make(&r, "id:l,v:u", "1|c", "2|d", NULL);
	assert_ok(pst_sink_write(sink, &r.batch.array, NULL, &err), &err);
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONSTRAINT, &err);
	assert_string_equal(err.column, "must");
	assert_string_equal(err.key, "(id)=(2)");
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,b,1)");
	rows_free(&r);
}

static void
generated_columns_are_refused_by_name(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, twice bigint "
					 "GENERATED ALWAYS AS (id * 2) STORED)");
	refused("table-name=t", "id:l,twice:l", PST_ERR_SQL, &err);
	assert_string_equal(err.column, "twice");
	write_rows("table-name=t", "id:l", "4");
	table_is("t", "(4,8)");
}

static void
identity_columns_take_the_given_value(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint GENERATED ALWAYS AS "
						 "IDENTITY PRIMARY KEY, v text)");
		write_rows(with("table-name=t", methods[m]), "id:l,v:u", "10|a", "11|b");
		write_rows(with("table-name=t", methods[m]), "id:l,v:u", "10|c");
		write_rows("table-name=t;sink.mode=append", "id:l,v:u", "12|d");
		write_rows("table-name=t;sink.mode=append;sink.method=unnest", "id:l,v:u", "13|e");
		write_rows("table-name=t;sink.mode=append", "v:u", "f");
		table_is("t", "(1,f) (10,c) (11,b) (12,d) (13,e)");
	}
}

static void
unknown_columns_are_refused_with_the_near_name(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, name text)");
	refused("table-name=t", "id:l,Name:u", PST_ERR_NOT_FOUND, &err);
	assert_string_equal(err.column, "Name");
	assert_contains(err.hint, "\"name\"");
}

/* --- types ----------------------------------------------------------------------------------- */

static void
text_goes_into_any_type_by_the_servers_input_function(void **state)
{
	static const char *const options[] = {
		"table-name=t;sink.method=unnest", "table-name=t;sink.method=copy",
		"table-name=t;sink.mode=append", "table-name=t;sink.mode=append;sink.method=unnest"};

	(void) state;
	live_exec(admin, "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text); "
					 "CREATE DOMAIN positive AS int CHECK (VALUE > 0)");
	for (int o = 0; o < 4; o++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, u uuid, j "
						 "jsonb, e mood, i inet, a int[], p pair, d positive, n numeric(5,2), r "
						 "regclass, c \"char\", x xml)");
		write_rows(options[o], "id:l,u:u,j:u,e:u,i:u,a:u,p:u,d:u,n:u,r:u,c:u,x:u",
				   "1|00000000-0000-0000-0000-000000000001|{\"a\": 1}|ok|1.2.3.4|{1,NULL,3}|(1,x "
				   "y)|5|1.5|pg_class|z|<a/>",
				   "2|~|~|~|~|~|~|~|~|1|~|~", "3|~|~|sad|~|{}|~|~|NaN|-|~|~");
		table_is("t", "(1,00000000-0000-0000-0000-000000000001,\"{\"\"a\"\": "
					  "1}\",ok,1.2.3.4,\"{1,NULL,3}\",\"(1,\"\"x y\"\")\",5,1.50,pg_class,z,<a/>) "
					  "(2,,,,,,,,,1,,) (3,,,sad,,{},,,NaN,-,,)");
	}
	live_exec(admin, "DROP TABLE t; DROP TYPE mood, pair; DROP DOMAIN positive");
}

static void
a_value_that_a_typmod_would_cut_is_refused_with_key_and_column(void **state)
{
	static const char *const options[] = {
		"table-name=t;sink.method=unnest", "table-name=t;sink.method=copy",
		"table-name=t;sink.mode=append", "table-name=t;sink.mode=append;sink.method=unnest"};
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v varchar(3), "
					 "n numeric(4,2), m int)");
	for (int o = 0; o < 4; o++)
	{
		static const char *const bad[] = {"7|abcd|1|1", "7|abc|123.4|1", "7|abc|1|x"};
		static const char *const columns[] = {"v", "n", "m"};

		for (int b = 0; b < 3; b++)
		{
			pst_error err = PST_ERROR_INIT;
			pst_sink *sink = opened(options[o], "id:l,v:u,n:u,m:u");
			test_rows r;

			rows_make(&r, "id:l,v:u,n:u,m:u", "1|a|1|1", "9|b|2|2", bad[b], "8|c|3|3", NULL);
			assert_ok(pst_sink_write(sink, &r.batch.array, NULL, &err), &err);
			assert_fails(pst_sink_flush(sink, &err), PST_ERR_DATA, &err);
			assert_string_equal(err.column, columns[b]);
			assert_string_equal(err.key, "(id)=(7)");
			assert_int_equal(err.row, 2);
			assert_string_equal(err.table, "t");
			/* Closing tells of the rows, and nothing was written. */
			assert_fails(pst_sink_close(sink, &err), PST_ERR_DATA, &err);
			assert_contains(err.message, "4 buffered rows");
			rows_free(&r);
		}
	}
	table_is("t", "");
}

static void
lists_become_arrays(void **state)
{
	static const char *const options[] = {
		"table-name=t;sink.method=unnest", "table-name=t;sink.method=copy",
		"table-name=t;sink.mode=append", "table-name=t;sink.mode=append;sink.method=unnest"};

	(void) state;
	for (int o = 0; o < 4; o++)
	{
		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, a text[])");
		write_rows(options[o], "id:l,a:L", "1|x ~ z", "2|", "3|~");
		table_is("t", "(1,\"{x,NULL,z}\") (2,{}) (3,)");
	}
}

/* --- targets ----------------------------------------------------------------------------------- */

static void
partitioned_targets_take_rows_by_every_method(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v text) "
				  "PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM "
				  "(0) TO (10); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)");
		write_rows(with("table-name=t;sink.mode=changelog", methods[m]), "id:l,v:u", "1|a", "11|b",
				   "2|c");
		write_rows(with("table-name=t;sink.mode=changelog", methods[m]), "id:l,v:u", "11|d",
				   "-D 2|~");
		write_rows("table-name=t;sink.mode=append", "id:l,v:u", "12|e");
		table_is("t", "(1,a) (11,d) (12,e)");
	}
}

static void
views_rules_and_row_security_take_rows_by_insert(void **state)
{
	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint, v text); CREATE VIEW simple AS "
			  "SELECT * FROM t; CREATE VIEW odd AS SELECT id, v || '!' AS v FROM t; CREATE "
			  "FUNCTION odd_in() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES "
			  "(NEW.id + 100, NEW.v); RETURN NEW; END'; CREATE TRIGGER i INSTEAD OF INSERT ON odd "
			  "FOR EACH ROW EXECUTE PROCEDURE odd_in(); CREATE TABLE ruled (id bigint, v text); "
			  "CREATE RULE r AS ON INSERT TO ruled DO INSTEAD INSERT INTO t VALUES (NEW.id + 200, "
			  "NEW.v)");
	write_rows("table-name=simple", "id:l,v:u", "1|a");
	write_rows("table-name=odd", "id:l,v:u", "2|b");
	write_rows("table-name=ruled;sink.mode=append", "id:l,v:u", "3|c");
	table_is("t", "(1,a) (102,b) (203,c)");
	live_exec(admin, "DROP ROLE IF EXISTS sink_guest; CREATE ROLE sink_guest LOGIN; GRANT ALL ON t "
					 "TO sink_guest; ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t "
					 "USING (true) WITH CHECK (id < 10)");
	write_rows("table-name=t;username=sink_guest", "id:l,v:u", "4|d");
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t WHERE id = 4"), 1);
	live_exec(admin, "DROP VIEW simple, odd; DROP TABLE ruled; DROP TABLE t; DROP ROLE sink_guest");
}

static void
triggers_see_every_row(void **state)
{
	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE "
			  "FUNCTION upper_v() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := "
			  "upper(NEW.v); RETURN NEW; END'; CREATE TRIGGER u BEFORE INSERT OR UPDATE ON t "
			  "FOR EACH ROW EXECUTE PROCEDURE upper_v()");
	write_rows("table-name=t", "id:l,v:u", "1|a", "2|b");
	write_rows("table-name=t;sink.mode=append", "id:l,v:u", "3|c");
	table_is("t", "(1,A) (2,B) (3,C)");
}

static void
a_unique_index_that_is_not_the_primary_key_can_be_the_key(void **state)
{
	(void) state;
	for (int m = 0; m < NMETHODS; m++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id serial PRIMARY KEY, a int NOT "
						 "NULL, b text NOT NULL, v text); CREATE UNIQUE INDEX ON t (b, a); INSERT "
						 "INTO t VALUES (1, 1, 'x', 'old')");
		live_exec(admin, "SELECT setval('t_id_seq', 1)");
		write_rows(with("table-name=t;sink.key=a,b", methods[m]), "a:i,b:u,v:u", "1|x|new");
		write_rows(with("table-name=t;sink.key=a,b", methods[m]), "a:i,b:u,v:u", "2|x|two");
		assert_int_equal(live_int(admin, "SELECT count(*) FROM t WHERE id = 1 AND v = 'new'"), 1);
		assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 2);
	}
}

static void
indexes_that_on_conflict_cannot_use_are_refused_at_open(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, a int, "
			  "b text, c int); CREATE UNIQUE INDEX part ON t (a) WHERE a > 0; CREATE UNIQUE "
			  "INDEX expr ON t (lower(b))");
	refused("table-name=t", "id:i,a:i", PST_ERR_SQL, &err);
	assert_contains(err.detail, "deferrable");
	assert_contains(err.hint, "ALTER TABLE public.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id);");
	/* ON CONFLICT infers both, and the deferrable one is an error for each row. */
	live_exec(admin, "CREATE UNIQUE INDEX beside ON t (id)");
	refused("table-name=t", "id:i,a:i", PST_ERR_SQL, &err);
	assert_contains(err.detail, "\"t_pkey\" is deferrable");
	live_exec(admin, "%s", err.hint);
	write_rows("table-name=t", "id:i,a:i", "1|1");
	live_exec(admin, "DELETE FROM t");
	refused("table-name=t;sink.key=a", "id:i,a:i", PST_ERR_SQL, &err);
	assert_contains(err.detail, "\"part\" is partial");
	refused("table-name=t;sink.key=b", "id:i,b:u", PST_ERR_SQL, &err);
	assert_contains(err.detail, "\"expr\" is on an expression");
	refused("table-name=t;sink.key=c", "id:i,c:i", PST_ERR_SQL, &err);
	assert_contains(err.hint, "CREATE UNIQUE INDEX ON public.t (\"c\");");
	live_exec(admin, "CREATE UNIQUE INDEX ON t (c)");
	write_rows("table-name=t;sink.key=c", "id:i,c:i", "1|1");
}

static void
a_second_unique_index_that_sorting_would_break_is_replayed(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	test_rows r;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text UNIQUE); "
					 "INSERT INTO t VALUES (1, 'a'), (2, 'b')");
	/* By key 1 comes first and takes b before 2 has given it up. */
	sink = opened("table-name=t", "id:i,v:u");
	rows_make(&r, "id:i,v:u", "2|c", "1|b", NULL);
	assert_ok(pst_sink_write(sink, &r.batch.array, NULL, &err), &err);
	assert_ok(pst_sink_flush(sink, &err), &err);
	pst_sink_get_stats(sink, &stats);
	assert_string_equal(stats.method, "replay");
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,b) (2,c)");
	rows_free(&r);
}

static void
missing_privileges_are_named_at_open(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text); DROP ROLE "
			  "IF EXISTS sink_guest; CREATE ROLE sink_guest LOGIN; GRANT INSERT, SELECT ON t "
			  "TO sink_guest");
	refused("table-name=t;username=sink_guest", "id:i,v:u", PST_ERR_PRIVILEGE, &err);
	assert_contains(err.message, "UPDATE");
	assert_string_equal(err.column, "v");
	live_exec(admin, "GRANT UPDATE (v) ON t TO sink_guest");
	write_rows("table-name=t;username=sink_guest", "id:i,v:u", "1|a");
	refused("table-name=t;username=sink_guest;sink.mode=changelog", "id:i,v:u", PST_ERR_PRIVILEGE,
			&err);
	assert_contains(err.hint, "DELETE ON public.t TO \"sink_guest\"");
	live_exec(admin, "DROP OWNED BY sink_guest; DROP ROLE sink_guest");
}

static void
without_temp_rights_large_lots_travel_as_arrays(void **state)
{
	pst_error err;

	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text); DROP ROLE "
			  "IF EXISTS sink_guest; CREATE ROLE sink_guest LOGIN; GRANT ALL ON t TO "
			  "sink_guest; DO 'BEGIN EXECUTE format(''REVOKE TEMP ON DATABASE %%I FROM "
			  "public'', current_database()); END'");
	write_rows("table-name=t;username=sink_guest", "id:i,v:u", "1|a");
	refused("table-name=t;username=sink_guest;sink.method=copy", "id:i,v:u", PST_ERR_INVALID, &err);
	assert_contains(err.message, "temporary");
	live_exec(admin, "DROP OWNED BY sink_guest; DROP ROLE sink_guest");
}

static void
delete_mode_deletes_the_keys(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT "
					 "INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')");
	write_rows("table-name=t;sink.mode=delete", "id:i", "1", "3", "4", "1");
	table_is("t", "(2,b)");
}

static void
append_refuses_deletes(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	test_rows r;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text)");
	sink = opened("table-name=t", "id:i,v:u");
	rows_make(&r, "id:i,v:u", "1|a", "-D 1|a", NULL);
	assert_fails(pst_sink_write(sink, &r.batch.array, r.kinds, &err), PST_ERR_INVALID, &err);
	assert_contains(err.hint, "changelog");
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_close(sink, &err), &err);
	rows_free(&r);
}

static void
rows_without_columns_take_the_defaults(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id serial, v text DEFAULT 'd')");
	write_rows("table-name=t", "", "", "", "");
	table_is("t", "(1,d) (2,d) (3,d)");
	live_exec(admin, "DROP TABLE t; CREATE TABLE t ()");
	write_rows("table-name=t", "", "", "");
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 2);
}

static void
appended_rows_may_leave_columns_to_their_defaults(void **state)
{
	static const char *const ways[] = {"table-name=t", "table-name=t;sink.method=unnest"};

	(void) state;
	for (int w = 0; w < 2; w++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int DEFAULT 5, v text DEFAULT "
						 "'d', j jsonb, a text[])");
		write_rows(ways[w], "id:i,v:u,j:u,a:L", "1|a|[]|x y", "2|=|{}|~", "=|=|=|=", "3|~|=|q",
				   "4|b|1|=");
		table_is("t", "(1,a,[],\"{x,y}\") (2,d,{},) (3,,,{q}) (4,b,1,) (5,d,,)");
	}
}

/* --- refused rows ------------------------------------------------------------------------------ */

static void
a_refused_row_leaves_the_target_untouched_and_the_buffer_whole(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	test_rows r;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v > "
					 "0))");
	sink = opened("table-name=t;sink.buffer-flush.max-rows=2", "id:i,v:i");
	rows_make(&r, "id:i,v:i", "1|1", "2|2", "3|3", "4|-4", "5|5", NULL);
	assert_fails(pst_sink_write(sink, &r.batch.array, NULL, &err), PST_ERR_CONSTRAINT, &err);
	assert_string_equal(err.key, "(id)=(4)");
	assert_string_equal(err.constraint, "t_v_check");
	assert_int_equal(err.row, 3);
	table_is("t", "(1,1) (2,2)");
	pst_sink_get_stats(sink, &stats);
	assert_int_equal(stats.rows_buffered, 2);
	assert_int_equal(stats.rows_upserted, 2);
	/* Told again until it is dealt with. */
	assert_fails(pst_sink_poll(sink, &err), PST_ERR_CONSTRAINT, &err);
	live_exec(admin, "ALTER TABLE t DROP CONSTRAINT t_v_check");
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,1) (2,2) (3,3) (4,-4)");
	rows_free(&r);
}

static void
a_deferred_constraint_that_fails_at_commit_names_the_row(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	test_rows r;

	(void) state;
	live_exec(admin,
			  "DROP TABLE IF EXISTS t; CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO "
			  "parent VALUES (1); CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES "
			  "parent DEFERRABLE INITIALLY DEFERRED)");
	sink = opened("table-name=t", "id:i,p:i");
	rows_make(&r, "id:i,p:i", "1|1", "2|9", "3|1", NULL);
	assert_ok(pst_sink_write(sink, &r.batch.array, NULL, &err), &err);
	assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONSTRAINT, &err);
	assert_string_equal(err.key, "(id)=(2)");
	pst_sink_discard(sink, NULL);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "");
	live_exec(admin, "DROP TABLE t, parent");
	rows_free(&r);
}

static char *
read_file(const char *path)
{
	static char text[8192];
	FILE *file = fopen(path, "r");
	size_t n = file == NULL ? 0 : fread(text, 1, sizeof(text) - 1, file);

	text[n] = '\0';
	if (file != NULL)
		fclose(file);
	return text;
}

static void
skipped_rows_go_to_the_file_and_are_counted(void **state)
{
	static const char *const ways[] = {"", "sink.mode=append",
									   "sink.mode=append;sink.method=unnest", "sink.method=copy"};
	char path[] = "/tmp/penstock-skip-XXXXXX";

	(void) state;
	close(mkstemp(path));
	for (int w = 0; w < 4; w++)
	{
		char options[512];
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;
		pst_sink_stats stats = {.struct_size = sizeof(stats)};
		test_rows r;

		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int CHECK "
						 "(v > 0), j json)");
		snprintf(options, sizeof(options),
				 "table-name=t;on-error=skip;on-error.file=%s;on-error.limit=3;%s", path, ways[w]);
		assert_int_equal(truncate(path, 0), 0);
		sink = opened(options, "id:i,v:l,j:u");
		rows_make(&r, "id:i,v:l,j:u", "1|1|1", "2|-2|\"x\"", "3|3|~", "4|99999999999|2", "5|5|{",
				  "6|6|6", NULL);
		assert_ok(pst_sink_write(sink, &r.batch.array, NULL, &err), &err);
		assert_ok(pst_sink_flush(sink, &err), &err);
		pst_sink_get_stats(sink, &stats);
		assert_int_equal(stats.rows_skipped, 3);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1,1) (3,3,) (6,6,6)");
		assert_contains(read_file(path), "\"row\":1,");
		assert_contains(read_file(path), "\"sqlstate\":\"23514\"");
		assert_contains(read_file(path), "\"row\":3,");
		assert_contains(read_file(path), "99999999999");
		assert_contains(read_file(path), "\"key\":\"(id)=(5)\"");
		assert_contains(read_file(path), "\"sqlstate\":\"22P02\"");
		rows_free(&r);
		/* One more is too many. */
		sink =
			opened(strcpy(options, "table-name=t;on-error=skip;on-error.limit=1;sink.mode=upsert"),
				   "id:i,v:l");
		rows_make(&r, "id:i,v:l", "7|-1", "8|-2", "9|9", NULL);
		assert_ok(pst_sink_write(sink, &r.batch.array, NULL, &err), &err);
		assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONSTRAINT, &err);
		assert_contains(err.message, "on-error.limit");
		pst_sink_discard(sink, NULL);
		assert_ok(pst_sink_close(sink, &err), &err);
		assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 3);
		rows_free(&r);
	}
	unlink(path);
}

static void
the_file_of_skipped_rows_is_utf8_whatever_was_given(void **state)
{
	char path[] = "/tmp/penstock-skip-XXXXXX";
	char options[256];

	(void) state;
	close(mkstemp(path));
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v int, x text, l text[])");
	snprintf(options, sizeof(options), "table-name=t;on-error=skip;on-error.file=%s", path);
	/* One that cannot be encoded, and one that the server refuses. */
	write_rows(options, "id:i,v:l,x:u", "1|99999999999|a\xff\"\xc3\xa4", "2|2|b\xff\"\xc3\xa4",
			   "3|3|c");
	assert_contains(read_file(path), "\"x\":\"a\xEF\xBF\xBD\\\"\xc3\xa4\"");
	assert_contains(read_file(path), "\"x\":\"b\xEF\xBF\xBD\\\"\xc3\xa4\"");
	assert_null(strchr(read_file(path), '\xff'));
	table_is("t", "(3,3,c,)");
	unlink(path);
}

static void
a_refused_key_change_is_skipped_whole(void **state)
{
	static const char *const ways[] = {"sink.method=unnest", "sink.method=copy"};

	(void) state;
	for (int w = 0; w < 2; w++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink_stats stats = {.struct_size = sizeof(stats)};
		pst_sink *sink;

		live_exec(admin,
				  "DROP TABLE IF EXISTS child, t; CREATE TABLE t (id int PRIMARY KEY, v int "
				  "CHECK (v > 0)); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3); CREATE TABLE "
				  "child (t int REFERENCES t); INSERT INTO child VALUES (2)");
		sink = opened(with("table-name=t;sink.mode=changelog;on-error=skip", ways[w]), "id:i,v:i");
		/* The new half is refused, then the old one (which child refers to). */
		add_rows(sink, "id:i,v:i", "+U 3|30", "-U 1|1", "+U 5|-5", "-U 2|2", "+U 6|6", "+I 7|7");
		assert_ok(pst_sink_flush(sink, &err), &err);
		table_is("t", "(1,1) (2,2) (3,30) (7,7)");
		pst_sink_get_stats(sink, &stats);
		assert_int_equal(stats.rows_skipped, 2);
		assert_int_equal(stats.rows_upserted, 2);
		assert_int_equal(stats.rows_deleted, 0);
		assert_ok(pst_sink_close(sink, &err), &err);
		live_exec(admin, "DROP TABLE child");
	}
}

static void
rows_that_are_valid_together_are_not_skipped_for_a_deferred_constraint(void **state)
{
	static const char *const ways[] = {"sink.mode=append", "sink.mode=upsert",
									   "sink.mode=append;sink.method=unnest"};

	(void) state;
	for (int w = 0; w < 3; w++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink_stats stats = {.struct_size = sizeof(stats)};
		pst_sink *sink;

		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t "
				  "DEFERRABLE INITIALLY DEFERRED)");
		sink = opened(with("table-name=t;on-error=skip", ways[w]), "id:i,p:i");
		/* 1 and 2 wait for 3; 6 and 9 for nobody, 7 for one of them. */
		add_rows(sink, "id:i,p:i", "1|2", "6|99", "2|3", "9|98", "7|6", "3|~", "8|8");
		assert_ok(pst_sink_flush(sink, &err), &err);
		table_is("t", "(1,2) (2,3) (3,) (8,8)");
		pst_sink_get_stats(sink, &stats);
		assert_int_equal(stats.rows_skipped, 3);
		assert_int_equal(stats.rows_upserted, 4);
		assert_ok(pst_sink_close(sink, &err), &err);
	}
}

static void
changes_of_a_key_keep_their_order_behind_one_that_waits(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES "
					 "t DEFERRABLE INITIALLY DEFERRED, v text)");
	write_rows("table-name=t;sink.mode=changelog;on-error=skip", "id:i,p:i,v:u", "1|2|old", "6|9|x",
			   "1|1|new", "-U 1|1|new", "+U 4|2|newest", "2|~|y", "-D 6|~|~", "6|~|z");
	table_is("t", "(2,,y) (4,2,newest) (6,,z)");
}

static void
the_row_that_a_deferred_constraint_refuses_is_named_not_one_that_waits(void **state)
{
	static const char *const ways[] = {"sink.mode=append", "sink.mode=upsert"};

	(void) state;
	for (int w = 0; w < 2; w++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink *sink;

		live_exec(admin,
				  "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t "
				  "DEFERRABLE INITIALLY DEFERRED)");
		sink = opened(with("table-name=t", ways[w]), "id:i,p:i");
		add_rows(sink, "id:i,p:i", "1|2", "6|99", "2|~");
		assert_fails(pst_sink_flush(sink, &err), PST_ERR_CONSTRAINT, &err);
		assert_string_equal(err.key, "(id)=(6)");
		assert_int_equal(err.row, 1);
		pst_sink_discard(sink, NULL);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "");
	}
}

/* --- thresholds ---------------------------------------------------------------------------------- */

static void
poll_flushes_when_the_interval_has_passed(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text)");
	sink = opened("table-name=t;sink.buffer-flush.interval=50ms", "id:i,v:u");
	assert_int_equal(pst_sink_due_ms(sink), -1);
	add_rows(sink, "id:i,v:u", "1|a");
	assert_true(pst_sink_due_ms(sink) >= 0 && pst_sink_due_ms(sink) <= 50);
	while (pst_sink_due_ms(sink) > 0)
		usleep((useconds_t) pst_sink_due_ms(sink) * 1000);
	assert_ok(pst_sink_poll(sink, &err), &err);
	table_is("t", "(1,a)");
	assert_int_equal(pst_sink_due_ms(sink), -1);
	assert_ok(pst_sink_close(sink, &err), &err);
}

static void
lists_become_arrays_whatever_stands_between_the_elements(void **state)
{
	static const char *const ways[] = {"sink.mode=append", "sink.mode=append;sink.method=unnest",
									   "sink.mode=upsert"};

	(void) state;
	live_exec(admin,
			  "CREATE TYPE odd; CREATE FUNCTION odd_in(cstring) RETURNS odd LANGUAGE internal "
			  "IMMUTABLE STRICT AS 'textin'; CREATE FUNCTION odd_out(odd) RETURNS cstring LANGUAGE "
			  "internal IMMUTABLE STRICT AS 'textout'; CREATE TYPE odd (INPUT = odd_in, OUTPUT = "
			  "odd_out, LIKE = text, DELIMITER = ':')");
	for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
	{
		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id bigint PRIMARY KEY, b box[], "
						 "o odd[])");
		write_rows(with("table-name=t", ways[w]), "id:l,b:L,o:L",
				   "1|(3,4),(1,2) ~ (7,8),(5,6)|a:b c,d", "2||~");
		assert_int_equal(live_int(admin,
								  "SELECT count(*) FROM t WHERE (id = 1 AND b::text = "
								  "'{(3,4),(1,2);NULL;(7,8),(5,6)}' AND o[1]::text = 'a:b' "
								  "AND o[2]::text = 'c,d') OR (id = 2 AND b::text = '{}' AND o "
								  "IS NULL)"),
						 2);
	}
	live_exec(admin, "DROP TABLE t; DROP TYPE odd CASCADE");
}

static void
discarding_does_not_wait_for_rows_that_have_begun_to_travel(void **state)
{
	pst_error err = PST_ERROR_INIT;
	PGconn *other = live_connect("");
	char *big = malloc(300001);
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int UNIQUE, v text)");
	/* With a trigger COPY inserts row by row. */
	live_exec(admin, "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
					 "$$BEGIN RETURN NEW; END$$; CREATE TRIGGER keep BEFORE INSERT ON t FOR EACH "
					 "ROW EXECUTE PROCEDURE keep()");
	/* Were it waited for, this session would be ended first. */
	live_exec(other, "SET idle_in_transaction_session_timeout = '5s'; BEGIN; INSERT INTO t VALUES "
					 "(1, 'other')");
	sink = opened("table-name=t;sink.mode=append", "id:i,v:u");
	memset(big, 'x', 300000);
	memcpy(big, "1|", 2);
	big[300000] = '\0';
	add_rows(sink, "id:i,v:u", big);
	while (live_int(admin, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 0)
		;
	pst_sink_discard(sink, NULL);
	live_exec(other, "COMMIT");
	add_rows(sink, "id:i,v:u", "2|mine");
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,other) (2,mine)");
	PQfinish(other);
	free(big);
}

static void
a_trigger_that_misses_a_table_is_not_taken_for_a_pooler(void **state)
{
	static const char *const states[] = {"42P01", "3F000", "26000"};

	(void) state;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_sink_stats stats = {.struct_size = sizeof(stats)};
		pst_sink *sink;

		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int)");
		live_exec(admin,
				  "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
				  "$$BEGIN IF NEW.v < 0 THEN RAISE 'there is no \"audit\"' USING ERRCODE = '%s'; "
				  "END IF; RETURN NEW; END$$",
				  states[i]);
		live_exec(admin, "CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE PROCEDURE "
						 "refuse()");
		sink = opened("table-name=t;sink.method=copy;sink.max-retries=0", "id:i,v:i");
		add_rows(sink, "id:i,v:i", "1|1");
		assert_ok(pst_sink_flush(sink, &err), &err);
		add_rows(sink, "id:i,v:i", "2|-2");
		assert_true(pst_sink_flush(sink, &err) < 0);
		assert_string_equal(err.sqlstate, states[i]);
		assert_contains(err.message, "audit");
		pst_sink_discard(sink, NULL);
		add_rows(sink, "id:i,v:i", "3|3");
		assert_ok(pst_sink_flush(sink, &err), &err);
		pst_sink_get_stats(sink, &stats);
		assert_string_equal(stats.method, "copy+merge");
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "(1,1) (3,3)");
	}
}

static void
an_append_streams_before_it_is_flushed_and_discard_takes_it_back(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	int64_t n;
	char *big = malloc(300001 + 2);

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text)");
	memset(big, 'x', 300000);
	memcpy(big, "1|", 2);
	big[300000] = '\0';
	sink = opened("table-name=t", "id:i,v:u");
	add_rows(sink, "id:i,v:u", big);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' "
									 "AND query LIKE '%%COPY%%' AND pid <> pg_backend_pid()"),
					 1);
	pst_sink_discard(sink, &n);
	assert_int_equal(n, 1);
	add_rows(sink, "id:i,v:u", big);
	add_rows(sink, "id:i,v:u", "2|b");
	assert_ok(pst_sink_close(sink, &err), &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 2);
	free(big);
}

static pid_t
postmaster(void)
{
	char path[512];
	FILE *file;
	int pid = 0;

	snprintf(path, sizeof(path), "%s/data/postmaster.pid", getenv("PENSTOCK_CLUSTER"));
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &pid), 1);
	fclose(file);
	return pid;
}

/* Stops it; a child goes on with it after some seconds, should the test hang. */
static pid_t
stop_for(pid_t server, unsigned seconds)
{
	pid_t child = fork();

	if (child == 0)
	{
		sleep(seconds);
		kill(server, SIGCONT);
		_exit(0);
	}
	kill(server, SIGSTOP);
	return child;
}

/* The kernel takes connections for it, and nobody answers there: a cancel alone would wait for ever. */
static void
a_begun_copy_is_dropped_though_the_postmaster_hangs(void **state)
{
	char *big = malloc(300001);
	pid_t server = postmaster();

	(void) state;
	memset(big, 'x', 300000);
	memcpy(big, "1|", 2);
	big[300000] = '\0';
	for (int blocked = 0; blocked < 2; blocked++)
	{
		PGconn *other = live_connect("");
		pst_error err = PST_ERROR_INIT;
		time_t start;
		pst_sink *sink;
		pid_t child;

		live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)");
		sink = opened("table-name=t;sink.mode=append", "id:i,v:u");
		if (blocked)
			live_exec(other, "BEGIN; INSERT INTO t VALUES (1, 'first')");
		add_rows(sink, "id:i,v:u", big);
		child = stop_for(server, 10);
		start = time(NULL);
		pst_sink_discard(sink, NULL);
		/* The process that writes answers by itself, unless it waits for somebody. */
		assert_true(time(NULL) - start <= (blocked ? 7 : 2));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		kill(server, SIGCONT);
		PQfinish(other);
		assert_ok(pst_sink_close(sink, &err), &err);
		table_is("t", "");
	}
	free(big);
}

static void
many_small_flushes_use_prepared_arrays_and_large_ones_copy(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)");
	sink = opened("table-name=t", "id:i,v:u");
	for (int i = 0; i < 10; i++)
	{
		add_rows(sink, "id:i,v:u", "1|a", "2|b", "-D 1|~", "3|c");
		assert_ok(pst_sink_flush(sink, &err), &err);
	}
	pst_sink_get_stats(sink, &stats);
	assert_string_equal(stats.method, "unnest");
	assert_int_equal(stats.flushes, 10);
	/* 12,000 rows at once. */
	for (int i = 0; i < 3000; i++)
	{
		char row[4][32];

		for (int k = 0; k < 4; k++)
			snprintf(row[k], sizeof(row[k]), "%d|v", i * 4 + k);
		add_rows(sink, "id:i,v:u", row[0], row[1], row[2], row[3]);
	}
	assert_ok(pst_sink_flush(sink, &err), &err);
	pst_sink_get_stats(sink, &stats);
	assert_string_equal(stats.method, "copy+merge");
	assert_ok(pst_sink_close(sink, &err), &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM t"), 12000);
}

static void
a_changed_target_is_planned_anew(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)");
	sink = opened("table-name=t", "id:i,v:u");
	add_rows(sink, "id:i,v:u", "1|a");
	assert_ok(pst_sink_flush(sink, &err), &err);
	live_exec(admin, "ALTER TABLE t ADD COLUMN n int DEFAULT 3; ALTER TABLE t ALTER v TYPE "
					 "varchar(10)");
	add_rows(sink, "id:i,v:u", "1|b", "2|c");
	assert_ok(pst_sink_flush(sink, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,b,3) (2,c,3)");
}

static void
a_lost_server_process_is_replaced_and_the_flush_repeated(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	pst_sink *sink;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)");
	sink = opened("table-name=t", "id:i,v:u");
	add_rows(sink, "id:i,v:u", "1|a");
	assert_ok(pst_sink_flush(sink, &err), &err);
	live_exec(admin,
			  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name "
			  "LIKE 'penstock%%' AND datname = current_database()");
	add_rows(sink, "id:i,v:u", "2|b");
	assert_ok(pst_sink_flush(sink, &err), &err);
	pst_sink_get_stats(sink, &stats);
	assert_true(stats.retries >= 1);
	assert_ok(pst_sink_close(sink, &err), &err);
	table_is("t", "(1,a) (2,b)");
}

static void
a_refused_new_half_of_an_update_deletes_nothing(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	test_rows r;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int); "
					 "INSERT INTO t VALUES (1, 1)");
	sink = opened("table-name=t;sink.mode=changelog;on-error=skip", "id:u,v:i");
	rows_make(&r, "id:u,v:i", "-U 1|1", "+U x1|2", "+I 2|2", NULL);
	assert_ok(pst_sink_write(sink, &r.batch.array, r.kinds, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	rows_free(&r);
	table_is("t", "(1,1) (2,2)");
}

static void
the_last_of_equal_keys_wins_where_a_not_null_column_is_missing(void **state)
{
	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id jsonb PRIMARY KEY, v int, must "
					 "int NOT NULL); INSERT INTO t VALUES ('1', 0, 7)");
	write_rows("table-name=t", "id:u,v:i", "1.0|1", "1|2");
	assert_int_equal(live_int(admin, "SELECT v FROM t"), 2);
}

static void
the_timer_does_not_part_the_halves_of_an_update(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink;
	test_rows r;

	(void) state;
	live_exec(admin, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v int, kept text "
					 "DEFAULT 'lost'); INSERT INTO t VALUES (1, 1, 'precious')");
	sink = opened("table-name=t;sink.mode=changelog;sink.buffer-flush.interval=1ms", "id:i,v:i");
	rows_make(&r, "id:i,v:i", "-U 1|1", NULL);
	assert_ok(pst_sink_write(sink, &r.batch.array, r.kinds, &err), &err);
	rows_free(&r);
	assert_int_equal(pst_sink_due_ms(sink), -1);
	rows_make(&r, "id:i,v:i", "+U 1|2", NULL);
	assert_ok(pst_sink_write(sink, &r.batch.array, r.kinds, &err), &err);
	assert_ok(pst_sink_close(sink, &err), &err);
	rows_free(&r);
	table_is("t", "(1,2,precious)");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_of_duplicate_keys_in_a_batch_wins),
		cmocka_unit_test(delete_and_insert_of_a_key_in_one_batch_is_a_fresh_row),
		cmocka_unit_test(a_key_of_a_domain_over_an_enum_is_matched),
		cmocka_unit_test(changes_are_merged_column_by_column),
		cmocka_unit_test(a_key_change_moves_the_row_and_keeps_what_it_does_not_carry),
		cmocka_unit_test(an_update_of_two_rows_with_one_key_keeps_other_columns),
		cmocka_unit_test(all_columns_may_be_the_key),
		cmocka_unit_test(keys_that_only_the_server_knows_equal_meet_in_arrival_order),
		cmocka_unit_test(blanks_at_the_end_of_char_keys_do_not_count),
		cmocka_unit_test(integer_and_uuid_keys_that_come_as_text_are_one_key),
		cmocka_unit_test(a_null_in_a_key_names_the_row),
		cmocka_unit_test(columns_match_by_name_in_any_order_and_the_others_keep_their_values),
		cmocka_unit_test(a_missing_not_null_column_keeps_its_present_value),
		live_test_since(120000, "a generated column", generated_columns_are_refused_by_name),
		live_test_since(100000, "an identity column", identity_columns_take_the_given_value),
		cmocka_unit_test(unknown_columns_are_refused_with_the_near_name),
		cmocka_unit_test(text_goes_into_any_type_by_the_servers_input_function),
		cmocka_unit_test(a_value_that_a_typmod_would_cut_is_refused_with_key_and_column),
		cmocka_unit_test(lists_become_arrays),
		live_test_since(110000, "a key of a partitioned table",
						partitioned_targets_take_rows_by_every_method),
		cmocka_unit_test(views_rules_and_row_security_take_rows_by_insert),
		cmocka_unit_test(triggers_see_every_row),
		cmocka_unit_test(a_unique_index_that_is_not_the_primary_key_can_be_the_key),
		cmocka_unit_test(indexes_that_on_conflict_cannot_use_are_refused_at_open),
		cmocka_unit_test(a_second_unique_index_that_sorting_would_break_is_replayed),
		cmocka_unit_test(missing_privileges_are_named_at_open),
		cmocka_unit_test(without_temp_rights_large_lots_travel_as_arrays),
		cmocka_unit_test(delete_mode_deletes_the_keys),
		cmocka_unit_test(append_refuses_deletes),
		cmocka_unit_test(rows_without_columns_take_the_defaults),
		cmocka_unit_test(appended_rows_may_leave_columns_to_their_defaults),
		cmocka_unit_test(a_refused_row_leaves_the_target_untouched_and_the_buffer_whole),
		cmocka_unit_test(a_deferred_constraint_that_fails_at_commit_names_the_row),
		cmocka_unit_test(skipped_rows_go_to_the_file_and_are_counted),
		cmocka_unit_test(the_file_of_skipped_rows_is_utf8_whatever_was_given),
		cmocka_unit_test(a_refused_key_change_is_skipped_whole),
		cmocka_unit_test(rows_that_are_valid_together_are_not_skipped_for_a_deferred_constraint),
		cmocka_unit_test(changes_of_a_key_keep_their_order_behind_one_that_waits),
		cmocka_unit_test(the_row_that_a_deferred_constraint_refuses_is_named_not_one_that_waits),
		cmocka_unit_test(poll_flushes_when_the_interval_has_passed),
		cmocka_unit_test(lists_become_arrays_whatever_stands_between_the_elements),
		cmocka_unit_test(discarding_does_not_wait_for_rows_that_have_begun_to_travel),
		cmocka_unit_test(a_trigger_that_misses_a_table_is_not_taken_for_a_pooler),
		cmocka_unit_test(an_append_streams_before_it_is_flushed_and_discard_takes_it_back),
		cmocka_unit_test(a_begun_copy_is_dropped_though_the_postmaster_hangs),
		cmocka_unit_test(many_small_flushes_use_prepared_arrays_and_large_ones_copy),
		cmocka_unit_test(a_changed_target_is_planned_anew),
		cmocka_unit_test(a_lost_server_process_is_replaced_and_the_flush_repeated),
		cmocka_unit_test(a_refused_new_half_of_an_update_deletes_nothing),
		cmocka_unit_test(the_last_of_equal_keys_wins_where_a_not_null_column_is_missing),
		cmocka_unit_test(the_timer_does_not_part_the_halves_of_an_update),
	};

	return live_run(tests, setup, teardown);
}
