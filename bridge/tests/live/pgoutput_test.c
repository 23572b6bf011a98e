/*
 * pgoutput_test.c - what the server's own output plugin sends, decoded, against the tables themselves.
 *
 * Each test has a temporary slot and a publication of all tables; what it did is read up to the commit of
 * a last insert into `fence`.
 */
#include "test.h"

#include <libpq-fe.h>

#include "cdc/change.h"
#include "cdc/complete.h"
#include "cdc/slot.h"
#include "conn.h"
#include "live.h"

#define VALUES_MAX 80

/* A change, copied. */
typedef struct event
{
	psti_change_kind kind;
	uint64_t number;
	uint64_t lsn;
	char table[64];
	char columns[512]; /* their names, with * behind those of the primary key, # of the identity */
	uint32_t oid;
	uint32_t leaf;
	size_t n;
	bool text[VALUES_MAX];
	bool old;
	bool fresh;
	bool old_is_whole;
	psti_buf values[2][VALUES_MAX]; /* of the old and the new row; \N and \U where there is none */
	char note[256];					/* of a message, or the origin */
} event;

static psti_options *options;
static PGconn *db;
static psti_conn *conn;	  /* the completer's */
static psti_conn *stream; /* the slot's */
static psti_completer *completer;
static psti_change_decoder *decoder;
static event *events;
static size_t nevents;

static int
setup(void **state)
{
	const char *keys[] = {"url", NULL};
	const char *values[] = {"", NULL};
	uint64_t consistent;
	psti_slot_recipe recipe = {.name = "pgoutput_test", .plugin = "pgoutput", .temporary = true};
	pst_error err;

	(void) state;
	psti_enter(&err);
	db = live_connect("");
	live_exec(
		db,
		"CREATE TABLE fence (id int PRIMARY KEY); CREATE PUBLICATION everything FOR ALL TABLES");
	assert_ok(psti_options_new(keys, values, PSTI_CDC, NULL, &options, &err), &err);
	assert_ok(psti_conn_open(options, NULL, NULL, &conn, &err), &err);
	assert_ok(psti_conn_open_replication(options, NULL, &stream, &err), &err);
	assert_ok(psti_slot_create(stream, &recipe, &err), &err);
	assert_ok(psti_slot_created(stream, &recipe, 30000, &consistent, NULL, &err), &err);
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	for (size_t i = 0; i < nevents; i++)
		for (size_t k = 0; k < 2 * VALUES_MAX; k++)
			psti_buf_free(&events[i].values[k / VALUES_MAX][k % VALUES_MAX]);
	free(events);
	events = NULL;
	nevents = 0;
	if (decoder != NULL)
		decoder->free(decoder);
	decoder = NULL;
	psti_completer_free(completer);
	completer = NULL;
	psti_conn_close(stream);
	psti_conn_close(conn);
	psti_options_free(options);
	live_exec(db, "SET client_min_messages = warning; DROP PUBLICATION everything; DROP SCHEMA "
				  "public CASCADE; CREATE SCHEMA public");
	PQfinish(db);
	return 0;
}

static void
copy_row(event *to, size_t which, const psti_row *row)
{
	for (size_t i = 0; i < to->n; i++)
	{
		psti_buf *value = &to->values[which][i];

		if (row->unchanged != NULL && row->unchanged[i])
			psti_buf_puts(value, "\\U");
		else if (row->values[i].null)
			psti_buf_puts(value, "\\N");
		else
			psti_buf_append(value, row->values[i].data, row->values[i].len);
	}
}

static void
copy_change(event *to, const psti_change *change)
{
	const psti_stream_relation *relation = change->row.relation;

	memset(to, 0, sizeof(*to));
	to->kind = change->kind;
	to->number = change->number;
	to->lsn = change->lsn;
	if (change->kind == PSTI_CHANGE_MESSAGE)
		snprintf(to->note, sizeof(to->note), "%s %.*s %d", change->message.prefix,
				 (int) change->message.nbytes, (const char *) change->message.content,
				 change->message.transactional);
	if (change->kind == PSTI_CHANGE_BEGIN && change->begin.origin != NULL)
		snprintf(to->note, sizeof(to->note), "%s", change->begin.origin);
	if (change->kind == PSTI_CHANGE_TRUNCATE)
		relation = change->truncate.relations[0];
	else if (change->kind < PSTI_CHANGE_INSERT || change->kind > PSTI_CHANGE_DELETE)
		return;
	snprintf(to->table, sizeof(to->table), "%s.%s", relation->schema, relation->name);
	to->oid = relation->oid;
	to->leaf = relation->leaf;
	to->n = relation->ncolumns;
	assert_true(to->n <= VALUES_MAX);
	for (size_t i = 0; i < to->n; i++)
	{
		const psti_stream_column *column = &relation->columns[i];
		size_t len = strlen(to->columns);

		to->text[i] = column->text;
		snprintf(to->columns + len, sizeof(to->columns) - len, "%s%s%s%s", i > 0 ? "," : "",
				 column->name, column->primary ? "*" : "", column->identity ? "#" : "");
	}
	if (change->kind == PSTI_CHANGE_TRUNCATE)
		return;
	to->old = change->row.old != NULL;
	to->fresh = change->row.fresh != NULL;
	to->old_is_whole = change->row.old_is_whole;
	if (to->old)
		copy_row(to, 0, change->row.old);
	if (to->fresh)
		copy_row(to, 1, change->row.fresh);
}

/* All that the server has up to here, into events. */
static void
read_stream(bool roots)
{
	const char *messages = PQserverVersion(db) >= 140000 ? "true" : NULL;
	psti_slot_option given[] = {
		{"proto_version", "1"}, {"publication_names", "everything"}, {"messages", messages}};
	psti_change change;
	bool fence = false;
	bool over = false;
	pst_error err;

	psti_enter(&err);
	live_exec(db, "INSERT INTO fence SELECT 1 + coalesce(max(id), 0) FROM fence");
	assert_ok(psti_completer_new(conn, roots, &completer, &err), &err);
	assert_ok(psti_pgoutput_new(psti_complete, completer, &decoder, &err), &err);
	assert_ok(psti_slot_start(stream, "pgoutput_test", 0, given, messages == NULL ? 2 : 3, &err),
			  &err);
	while (!over)
	{
		const char *data;
		size_t nbytes;
		psti_stream_message message;
		pst_status status;

		assert_ok(psti_conn_stream_next(stream, 20000, &data, &nbytes, &err), &err);
		assert_ok(psti_stream_read(data, nbytes, &message, &err), &err);
		if (message.kind != PSTI_STREAM_DATA)
			continue;
		assert_ok(decoder->open(decoder, message.lsn, message.data, message.nbytes, &err), &err);
		while ((status = decoder->next(decoder, &change, &err)) == PST_OK)
		{
			fence = fence || (change.kind == PSTI_CHANGE_INSERT &&
							  strcmp(change.row.relation->name, "fence") == 0);
			over = fence && change.kind == PSTI_CHANGE_COMMIT;
			events = realloc(events, (nevents + 1) * sizeof(*events));
			copy_change(&events[nevents++], &change);
		}
		if (status != PST_END)
			fail_msg("%s %s", pst_status_name(status), err.message);
	}
	assert_ok(psti_conn_stream_end(stream, &err), &err);
}

/* The n-th change from 0, without the beginnings and ends of transactions. */
static const event *
nth(size_t n)
{
	for (size_t i = 0; i < nevents; i++)
		if (events[i].kind != PSTI_CHANGE_BEGIN && events[i].kind != PSTI_CHANGE_COMMIT && n-- == 0)
			return &events[i];
	fail_msg("there are not as many changes");
	return NULL;
}

static void
value_is(const event *e, size_t which, size_t i, const void *data, size_t len)
{
	assert_int_equal(e->values[which][i].len, len);
	if (len > 0)
		assert_memory_equal(e->values[which][i].data, data, len);
}

static void
text_is(const event *e, size_t which, size_t i, const char *text)
{
	value_is(e, which, i, text, strlen(text));
}

static PGresult *
rows(const char *sql, int format)
{
	PGresult *result = PQexecParams(db, sql, 0, NULL, NULL, NULL, NULL, format);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s", PQerrorMessage(db));
	return result;
}

/*
 * As a read gets them: in binary what the decoder knows, as text all else. The table's rows are in the
 * order of the inserts.
 */
static void
values_are_those_of_a_read(void **state)
{
	static const char *const columns[][4] = {
		{"bool", "t", "f"},
		{"int2", "-32768", "7"},
		{"int4", "-2147483648", "7"},
		{"int8", "-9223372036854775808", "7"},
		{"oid", "4294967295", "0"},
		{"float4", "NaN", "1.1754944e-38", "0.1"},
		{"float8", "-Infinity", "-1.7976931348623157e+308", "0.1"},
		{"numeric", "NaN", "-0.00000000000000000000000000000000000001234500", "1e400"},
		{"numeric(10,2)", "12.30", "-99999999.99", "0"},
		{"date", "infinity", "4713-11-24 BC", "5874897-12-31"},
		{"time", "24:00:00", "12:34:56.000001"},
		{"timetz", "24:00:00-15:59", "00:00:00+01:02:03"},
		{"timestamp", "-infinity", "0044-03-15 12:00 BC", "294276-12-31 23:59:59.999999"},
		{"timestamptz", "infinity", "2024-03-31 01:30:00+02", "0044-03-15 12:00+00 BC"},
		{"interval", "1 year -2 mons 3 days -04:05:06.789", "-178000000 years", "00:00:01"},
		{"uuid", "00112233-4455-6677-8899-aabbccddeeff"},
		{"bytea", "\\x", "\\x00ff5c27"},
		{"text", "", "a 'b' \"c\" \\ \n\t é 日本", "NULL"},
		{"varchar(9)", "é  ", ""},
		{"char(4)", "a", ""},
		{"name", "a Name"},
		{"json", " {\"a\": [1, null]} ", "null"},
		{"jsonb", "{\"a\": [1, null, \"x\"], \"b\": 1e40}", "null"},
		{"int4[]", "{}", "{1,NULL,3}", "[2:2][-1:0]={{1,2}}"},
		{"text[]", "{\"\",NULL,\"NULL\",\"a \\\"b\\\" \\\\ c\"}", "{a}"},
		{"bytea[]", "{\"\\\\x00ff\"}"},
		{"jsonb[]", "{\"{\\\"a\\\": 1}\"}"},
		{"timestamptz[]", "{\"2024-03-31 01:30:00+02\",infinity}"},
		{"numeric(9,2)[]", "{NaN,1.50,NULL}"},
		{"price", "1.50", "NaN"},
		{"ints", "{1,NULL}", "[0:1]={1,2}"},
		{"mood", "happy", "sad"},
		{"mood[]", "{happy,NULL}"},
		{"pair", "(1,\"a b\")"},
		{"inet", "1.2.3.4/24", "::1"},
		{"box", "(3,4),(1,2)"},
		{"box[]", "{(3,4),(1,2);(1,1),(0,0)}"},
		{"bit(3)", "101"},
		{"money", "$1.50"},
		{"xml", "<a b='c'>x</a>"},
		{"int4range", "[1,5)", "empty"},
		{"tsvector", "'a':1A 'b''c':2"},
		{"point", "(1.5,-2)"},
		{"\"char\"", "a"},
		{"int2vector", "1 2 3"},
		{"regclass", "pg_class"},
		{"pg_lsn", "16/B374D848"},
	};
	size_t n = sizeof(columns) / sizeof(columns[0]);
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *binaries;
	PGresult *texts;

	(void) state;
	live_exec(db, "CREATE DOMAIN price AS numeric(10,2); CREATE DOMAIN ints AS int4[]; CREATE TYPE "
				  "mood AS ENUM ('happy', 'sad'); "
				  "CREATE TYPE pair AS (a int, b text)");
	psti_buf_puts(&sql, "CREATE TABLE t (");
	for (size_t i = 0; i < n; i++)
		psti_buf_printf(&sql, "%sc%zu %s", i > 0 ? ", " : "", i, columns[i][0]);
	psti_buf_putc(&sql, ')');
	live_exec(db, "%s", sql.data);
	for (size_t v = 1; v <= 4; v++)
	{
		psti_buf_reset(&sql);
		psti_buf_puts(&sql, "INSERT INTO t VALUES (");
		for (size_t i = 0; i < n; i++)
		{
			psti_buf_puts(&sql, i > 0 ? ", " : "");
			if (v == 4 || columns[i][v] == NULL)
				psti_buf_puts(&sql, "NULL");
			else
				psti_buf_literal(&sql, columns[i][v]);
		}
		psti_buf_putc(&sql, ')');
		live_exec(db, "%s", sql.data);
	}
	read_stream(true);
	live_exec(db, "SET datestyle = ISO; SET timezone = 'UTC'; SET lc_monetary = 'C'; SET "
				  "extra_float_digits = 3");
	binaries = rows("TABLE t", 1);
	texts = rows("TABLE t", 0);
	for (int row = 0; row < 4; row++)
	{
		const event *e = nth((size_t) row);

		assert_string_equal(e->table, "public.t");
		for (size_t i = 0; i < n; i++)
		{
			const PGresult *wanted = e->text[i] ? texts : binaries;

			/* From here on nothing is known to the decoder. */
			assert_int_equal(e->text[i], i >= 31);
			if (PQgetisnull(wanted, row, (int) i))
				text_is(e, 1, i, "\\N");
			else if (e->values[1][i].len != (size_t) PQgetlength(wanted, row, (int) i) ||
					 memcmp(e->values[1][i].data, PQgetvalue(wanted, row, (int) i),
							e->values[1][i].len) != 0)
				fail_msg("%s: \"%s\" came as other bytes", columns[i][0],
						 PQgetvalue(texts, row, (int) i));
		}
	}
	PQclear(binaries);
	PQclear(texts);
	psti_buf_free(&sql);
}

static void
updates_and_deletes_tell_what_the_identity_gives(void **state)
{
	const event *e;

	(void) state;
	live_exec(db, "CREATE TABLE t (id int PRIMARY KEY, a int, big text); "
				  "ALTER TABLE t ALTER big SET STORAGE EXTERNAL; "
				  "INSERT INTO t VALUES (1, 1, repeat('x', 10000))");
	live_exec(db, "UPDATE t SET a = 2; UPDATE t SET id = 2; DELETE FROM t");
	live_exec(
		db, "ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 1, repeat('x', 10000))");
	live_exec(db, "UPDATE t SET a = 2; DELETE FROM t");
	read_stream(true);
	e = nth(0);
	assert_string_equal(e->columns, "id*#,a,big");
	assert_int_equal(e->values[1][2].len, 10000);
	e = nth(1);
	assert_int_equal(e->kind, PSTI_CHANGE_UPDATE);
	assert_false(e->old);
	value_is(e, 1, 1, "\0\0\0\2", 4);
	text_is(e, 1, 2, "\\U");
	e = nth(2);
	assert_true(e->old);
	assert_false(e->old_is_whole);
	value_is(e, 0, 0, "\0\0\0\1", 4);
	text_is(e, 0, 1, "\\U");
	value_is(e, 1, 0, "\0\0\0\2", 4);
	e = nth(3);
	assert_int_equal(e->kind, PSTI_CHANGE_DELETE);
	assert_false(e->fresh);
	assert_false(e->old_is_whole);
	value_is(e, 0, 0, "\0\0\0\2", 4);
	e = nth(5);
	assert_string_equal(e->columns, "id*#,a#,big#");
	assert_true(e->old_is_whole);
	value_is(e, 0, 1, "\0\0\0\1", 4);
	value_is(e, 1, 1, "\0\0\0\2", 4);
	/* The old row has it. */
	assert_int_equal(e->values[1][2].len, 10000);
	e = nth(6);
	assert_int_equal(e->kind, PSTI_CHANGE_DELETE);
	assert_int_equal(e->values[0][2].len, 10000);
}

static void
changes_have_numbers_and_places(void **state)
{
	uint64_t lsn = 0;

	(void) state;
	live_exec(
		db,
		"CREATE TABLE t (id int PRIMARY KEY); BEGIN; INSERT INTO t VALUES (1), (2), (3); COMMIT");
	read_stream(true);
	for (size_t i = 0; i < 3; i++)
	{
		const event *e = nth(i);

		assert_int_equal(e->number, i + 1);
		assert_true(e->lsn > lsn);
		lsn = e->lsn;
	}
	assert_int_equal(nth(3)->number, 1);
}

static void
partitions_come_under_their_root(void **state)
{
	const event *e;

	(void) state;
	live_exec(
		db, "CREATE SCHEMA parts; CREATE TABLE t (id int, gone int, at date, note text) PARTITION "
			"BY RANGE (id); "
			"ALTER TABLE t DROP COLUMN gone; "
			"CREATE TABLE parts.low (note text, at date, id int PRIMARY KEY); "
			"CREATE TABLE mid PARTITION OF t FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id); "
			"ALTER TABLE mid ATTACH PARTITION parts.low FOR VALUES FROM (0) TO (10)");
	live_exec(db, "INSERT INTO t VALUES (1, '2000-01-02', 'x')");
	read_stream(true);
	e = nth(0);
	assert_string_equal(e->table, "public.t");
	assert_int_equal(e->oid, live_int(db, "SELECT 'public.t'::regclass::oid"));
	assert_int_equal(e->leaf, live_int(db, "SELECT 'parts.low'::regclass::oid"));
	assert_string_equal(e->columns, "id*#,at,note");
	value_is(e, 1, 0, "\0\0\0\1", 4);
	value_is(e, 1, 1, "\0\0\0\1", 4);
	text_is(e, 1, 2, "x");
	live_exec(db, "SET client_min_messages = warning; DROP SCHEMA parts CASCADE");
}

static void
or_under_their_own_name(void **state)
{
	const event *e;

	(void) state;
	live_exec(db, "CREATE TABLE t (id int, note text) PARTITION BY RANGE (id); "
				  "CREATE TABLE low (note text, id int); "
				  "ALTER TABLE t ATTACH PARTITION low FOR VALUES FROM (0) TO (10)");
	live_exec(db, "INSERT INTO t VALUES (1, 'x')");
	read_stream(false);
	e = nth(0);
	assert_string_equal(e->table, "public.low");
	assert_int_equal(e->oid, e->leaf);
	assert_string_equal(e->columns, "note,id");
	text_is(e, 1, 0, "x");
}

/* The catalog is of now, the stream of then. */
static void
what_is_gone_is_told_as_the_stream_has_it(void **state)
{
	const event *e;

	(void) state;
	live_exec(db,
			  "CREATE TYPE mood AS ENUM ('happy'); CREATE TABLE t (a int, m mood, b date, c text); "
			  "CREATE TABLE dropped (id int8, m mood)");
	live_exec(db, "INSERT INTO t VALUES (1, 'happy', '2000-01-02', 'c'); INSERT INTO dropped "
				  "VALUES (5, 'happy')");
	live_exec(db, "DROP TABLE dropped; ALTER TABLE t DROP COLUMN m, DROP COLUMN a, ADD COLUMN d "
				  "int DEFAULT 4; "
				  "DROP TYPE mood; ALTER TABLE t RENAME TO renamed; INSERT INTO renamed VALUES "
				  "('2000-01-03', 'd', 5)");
	read_stream(true);
	e = nth(0);
	assert_string_equal(e->table, "public.t");
	assert_string_equal(e->columns, "a,m,b,c");
	value_is(e, 1, 0, "\0\0\0\1", 4);
	value_is(e, 1, 2, "\0\0\0\1", 4);
	assert_true(e->text[1]);
	text_is(e, 1, 1, "happy");
	e = nth(1);
	assert_string_equal(e->table, "public.dropped");
	assert_string_equal(e->columns, "id,m");
	value_is(e, 1, 0, "\0\0\0\0\0\0\0\5", 8);
	text_is(e, 1, 1, "happy");
	/* DROP COLUMN and a default that is a constant rewrite nothing, before 11 it does. */
	e = nth(2);
	assert_string_equal(e->table, "public.renamed");
	assert_string_equal(e->columns, "b,c,d");
}

static void
truncates_are_told(void **state)
{
	(void) state;
	live_exec(
		db,
		"CREATE TABLE t (id int PRIMARY KEY); BEGIN; INSERT INTO t VALUES (1); TRUNCATE t; COMMIT");
	read_stream(true);
	assert_int_equal(nth(1)->kind, PSTI_CHANGE_TRUNCATE);
	assert_int_equal(nth(1)->number, 2);
	assert_string_equal(nth(1)->table, "public.t");
}

static void
logical_messages_are_told(void **state)
{
	(void) state;
	live_exec(db, "SELECT pg_logical_emit_message(false, 'p', 'now')");
	live_exec(db, "CREATE TABLE t (id int); BEGIN; INSERT INTO t VALUES (1); "
				  "SELECT pg_logical_emit_message(true, 'p', 'then'); COMMIT");
	read_stream(true);
	assert_string_equal(nth(0)->note, "p now 0");
	assert_int_equal(nth(0)->number, 0);
	assert_string_equal(nth(2)->note, "p then 1");
	assert_int_equal(nth(2)->number, 2);
	assert_true(nth(2)->lsn > nth(1)->lsn);
}

static void
an_origin_has_its_name(void **state)
{
	bool told = false;

	(void) state;
	live_exec(db, "CREATE TABLE t (id int); SELECT pg_replication_origin_create('elsewhere'); "
				  "SELECT pg_replication_origin_session_setup('elsewhere')");
	live_exec(db, "INSERT INTO t VALUES (2)");
	live_exec(db, "SELECT pg_replication_origin_session_reset()");
	read_stream(true);
	for (size_t i = 0; i < nevents; i++)
		told = told ||
			   (events[i].kind == PSTI_CHANGE_BEGIN && strcmp(events[i].note, "elsewhere") == 0);
	live_exec(db, "SELECT pg_replication_origin_drop('elsewhere')");
	assert_true(told);
}

int
main(void)
{
#define stream_test_since(since, of_what, test)                                                    \
	{                                                                                              \
		.name = #test, .test_func = (test), .setup_func = setup, .teardown_func = teardown,        \
		.initial_state = (live_need[]){{.version = (since), .what = (of_what)}},                   \
	}
#define stream_test(test) stream_test_since(100000, "pgoutput", test)
	const struct CMUnitTest tests[] = {
		stream_test(values_are_those_of_a_read),
		stream_test(updates_and_deletes_tell_what_the_identity_gives),
		stream_test(changes_have_numbers_and_places),
		stream_test(partitions_come_under_their_root),
		stream_test(or_under_their_own_name),
		stream_test(what_is_gone_is_told_as_the_stream_has_it),
		stream_test_since(110000, "TRUNCATE in pgoutput", truncates_are_told),
		stream_test_since(140000, "logical messages in pgoutput", logical_messages_are_told),
		stream_test(an_origin_has_its_name),
	};

	return live_run(tests, live_make_database, live_drop_database);
}
