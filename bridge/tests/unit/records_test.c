/* records_test.c - change records as changes: each kind, relations that change, and what is none. */
#include "test.h"

#include "alloc.h"
#include "cdc/change.h"
#include "records.h"

#define BINARY CHANGE_BINARY
#define IDENTITY (CHANGE_COLUMN_IDENTITY | CHANGE_COLUMN_PRIMARY)

static const records_column order_columns[] = {
	{"id", BINARY, IDENTITY, 23, 0, "integer"},
	{"note", BINARY, 0, 25, 0, "text"},
	{"place", CHANGE_TEXT, 0, 600, 0, "point"},
	{"tags", BINARY, 0, 1015, 1043, "character varying[]"},
};
static const records_table orders = {7, 16384, 16390, 'd', "orders", order_columns, 4};
static const records_table plain = {8191, 16500, 16500, 'n', "plain", order_columns, 1};

/* ---- The decoder under test ---- */

typedef struct fixture
{
	psti_change_decoder *decoder;
	psti_change change;
	psti_buf held; /* the message that is being read */
	pst_error err;
} fixture;

static int
setup(void **state)
{
	fixture *f = calloc(1, sizeof(*f));

	psti_enter(&f->err);
	assert_ok(psti_records_new(&f->decoder, &f->err), &f->err);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	fixture *f = *state;

	f->decoder->free(f->decoder);
	psti_buf_free(&f->held);
	free(f);
	return 0;
}

static void
open_message(fixture *f, psti_buf m)
{
	assert_false(m.failed);
	psti_buf_free(&f->held);
	f->held = m;
	assert_ok(f->decoder->open(f->decoder, 0x900, m.data, m.len, &f->err), &f->err);
}

static void
next(fixture *f, psti_change_kind kind)
{
	assert_ok(f->decoder->next(f->decoder, &f->change, &f->err), &f->err);
	assert_int_equal(f->change.kind, kind);
}

static void
ends(fixture *f)
{
	assert_int_equal(f->decoder->next(f->decoder, &f->change, &f->err), PST_END);
	assert_int_equal(f->decoder->next(f->decoder, &f->change, &f->err), PST_END);
}

static void
value_is(const psti_row *row, size_t i, const char *text)
{
	assert_false(row->values[i].null);
	assert_true(row->unchanged == NULL || !row->unchanged[i]);
	assert_int_equal(row->values[i].len, strlen(text));
	assert_memory_equal(row->values[i].data, text, strlen(text));
}

static void
number_is(const psti_row *row, size_t i, uint32_t number)
{
	assert_false(row->values[i].null);
	assert_int_equal(row->values[i].len, 4);
	assert_int_equal(psti_get32(row->values[i].data), number);
}

/* ---- Each kind ---- */

static void
a_transaction_comes_with_its_changes(void **state)
{
	fixture *f = *state;
	psti_buf m = records_begin();
	const psti_stream_relation *r;

	records_transaction(&m, UINT64_C(0x100000007), 0x2000, "north");
	records_relation(&m, &orders);
	records_row(&m, CHANGE_INSERT, 7, 0, NULL, "#1|a note|\\N|");
	records_row(&m, CHANGE_UPDATE, 7, 0, "#1", "#2|\\U|(1,2)|\\U");
	records_row(&m, CHANGE_UPDATE, 7, CHANGE_ROW_OLD_WHOLE, "#2|x|\\N|\\N", "#2|y|\\N|\\N");
	records_row(&m, CHANGE_DELETE, 7, 0, "#2", NULL);
	records_row(&m, CHANGE_DELETE, 7, 0, NULL, NULL);
	records_commit(&m, 0x2030, 9);
	open_message(f, m);
	next(f, PSTI_CHANGE_BEGIN);
	assert_true(f->change.begin.xid == UINT64_C(0x100000007));
	assert_true(f->change.begin.commit_lsn == 0x2000 && f->change.begin.commit_time == 777);
	assert_string_equal(f->change.begin.origin, "north");

	next(f, PSTI_CHANGE_RELATION);
	assert_string_equal(f->change.relation->name, "orders");
	next(f, PSTI_CHANGE_INSERT);
	assert_true(f->change.number == 1 && f->change.lsn == 0x2001);
	r = f->change.row.relation;
	assert_true(r->oid == 16384 && r->leaf == 16390 && r->filenode == 4711 && r->identity == 'd');
	assert_string_equal(r->schema, "public");
	assert_string_equal(r->name, "orders");
	assert_null(r->table);
	assert_int_equal(r->ncolumns, 4);
	assert_true(r->columns[0].identity && r->columns[0].primary && !r->columns[0].text);
	assert_true(!r->columns[2].identity && !r->columns[2].primary && r->columns[2].text);
	assert_string_equal(r->columns[2].type.name, "point");
	assert_true(r->columns[3].type.elem == 1043 && r->columns[3].type.has_send);
	assert_string_equal(r->columns[3].type.elem_name, "character varying");
	assert_null(f->change.row.old);
	assert_null(f->change.row.fresh->unchanged);
	number_is(f->change.row.fresh, 0, 1);
	value_is(f->change.row.fresh, 1, "a note");
	assert_true(f->change.row.fresh->values[2].null);
	value_is(f->change.row.fresh, 3, "");

	next(f, PSTI_CHANGE_UPDATE);
	assert_false(f->change.row.old_is_whole);
	number_is(f->change.row.old, 0, 1);
	assert_memory_equal(f->change.row.old->unchanged, "\0\1\1\1", 4);
	number_is(f->change.row.fresh, 0, 2);
	assert_memory_equal(f->change.row.fresh->unchanged, "\0\1\0\1", 4);
	assert_true(f->change.row.fresh->values[1].null && f->change.row.old->values[1].null);

	next(f, PSTI_CHANGE_UPDATE);
	assert_true(f->change.row.old_is_whole);
	assert_null(f->change.row.old->unchanged);
	value_is(f->change.row.old, 1, "x");
	value_is(f->change.row.fresh, 1, "y");

	next(f, PSTI_CHANGE_DELETE);
	number_is(f->change.row.old, 0, 2);
	assert_null(f->change.row.fresh);
	next(f, PSTI_CHANGE_DELETE);
	assert_null(f->change.row.old);
	assert_true(f->change.number == 5 && f->change.lsn == 0x2005);
	next(f, PSTI_CHANGE_COMMIT);
	assert_true(f->change.commit.end_lsn == 0x2030 && f->change.number == 9);
	ends(f);
}

static void
a_truncate_names_all_its_tables(void **state)
{
	static const uint16_t both[] = {7, 8191, 7};
	fixture *f = *state;
	psti_buf m = records_begin();

	records_transaction(&m, 7, 0x2000, "");
	records_relation(&m, &orders);
	records_relation(&m, &plain);
	records_truncate(&m, both + 1, 1);
	records_truncate(&m, both, 3);
	open_message(f, m);
	next(f, PSTI_CHANGE_BEGIN);
	assert_null(f->change.begin.origin);
	next(f, PSTI_CHANGE_RELATION);
	next(f, PSTI_CHANGE_RELATION);
	next(f, PSTI_CHANGE_TRUNCATE);
	assert_int_equal(f->change.truncate.n, 1);
	assert_string_equal(f->change.truncate.relations[0]->name, "plain");
	next(f, PSTI_CHANGE_TRUNCATE);
	assert_int_equal(f->change.truncate.n, 3);
	assert_string_equal(f->change.truncate.relations[0]->name, "orders");
	assert_string_equal(f->change.truncate.relations[1]->name, "plain");
	assert_true(f->change.number == 2 && f->change.lsn == 0x2002);
	ends(f);
}

static void
messages_and_rewrites_are_told(void **state)
{
	fixture *f = *state;
	psti_buf m = records_begin();

	records_message(&m, 0x5000, "", "");
	records_transaction(&m, 7, 0x2000, "");
	records_relation(&m, &plain);
	records_row(&m, CHANGE_INSERT, 8191, CHANGE_ROW_REWRITE | CHANGE_ROW_REWRITE_BEGINS, NULL,
				"#1");
	records_row(&m, CHANGE_INSERT, 8191, CHANGE_ROW_REWRITE, NULL, "#2");
	records_message(&m, 0, "outbox", "some content");
	open_message(f, m);
	next(f, PSTI_CHANGE_MESSAGE);
	assert_true(f->change.number == 0 && f->change.lsn == 0x5000);
	assert_false(f->change.message.transactional);
	assert_string_equal(f->change.message.prefix, "");
	assert_int_equal(f->change.message.nbytes, 0);
	next(f, PSTI_CHANGE_BEGIN);
	next(f, PSTI_CHANGE_RELATION);
	next(f, PSTI_CHANGE_INSERT);
	assert_true(f->change.row.rewrite && f->change.row.rewrite_begins);
	next(f, PSTI_CHANGE_INSERT);
	assert_true(f->change.row.rewrite && !f->change.row.rewrite_begins);
	next(f, PSTI_CHANGE_MESSAGE);
	assert_true(f->change.message.transactional && f->change.number == 3);
	assert_string_equal(f->change.message.prefix, "outbox");
	assert_int_equal(f->change.message.nbytes, 12);
	assert_memory_equal(f->change.message.content, "some content", 12);
	ends(f);
}

/* ---- Relations ---- */

static void
a_relation_that_is_described_anew_has_no_table(void **state)
{
	static const records_column wider[] = {{"id", BINARY, IDENTITY, 20, 0, "bigint"},
										   {"a", CHANGE_TEXT, 0, 25, 0, "text"}};
	static const records_table again = {8191, 16500, 16500, 'd', "other", wider, 2};
	fixture *f = *state;
	psti_buf m = records_begin();
	int table;

	records_transaction(&m, 7, 0x2000, "");
	records_relation(&m, &plain);
	records_row(&m, CHANGE_INSERT, 8191, 0, NULL, "#1");
	open_message(f, m);
	next(f, PSTI_CHANGE_BEGIN);
	next(f, PSTI_CHANGE_RELATION);
	next(f, PSTI_CHANGE_INSERT);
	f->change.row.relation->table = (struct psti_table *) &table;
	ends(f);
	m = records_begin();
	records_row(&m, CHANGE_INSERT, 8191, 0, NULL, "#2");
	records_relation(&m, &again);
	records_row(&m, CHANGE_INSERT, 8191, 0, NULL, "12345678|b");
	open_message(f, m);
	next(f, PSTI_CHANGE_INSERT);
	assert_ptr_equal(f->change.row.relation->table, &table);
	next(f, PSTI_CHANGE_RELATION);
	assert_null(f->change.relation->table);
	next(f, PSTI_CHANGE_INSERT);
	assert_null(f->change.row.relation->table);
	assert_string_equal(f->change.row.relation->name, "other");
	value_is(f->change.row.fresh, 1, "b");
	f->change.row.relation->table = (struct psti_table *) &table;
	f->decoder->forget_tables(f->decoder);
	assert_null(f->change.row.relation->table);
}

/* A table without columns has rows all the same. */
static void
a_row_may_have_no_columns(void **state)
{
	static const records_table empty = {0, 16600, 16600, 'n', "empty", NULL, 0};
	fixture *f = *state;
	psti_buf m = records_begin();

	records_transaction(&m, 7, 0x2000, "");
	records_relation(&m, &empty);
	records_row(&m, CHANGE_INSERT, 0, 0, NULL, NULL);
	open_message(f, m);
	next(f, PSTI_CHANGE_BEGIN);
	next(f, PSTI_CHANGE_RELATION);
	next(f, PSTI_CHANGE_INSERT);
	assert_int_equal(f->change.row.relation->ncolumns, 0);
	assert_non_null(f->change.row.fresh);
	ends(f);
}

/* ---- What is none ---- */

/* All changes of a message; what they hold is read to its end. */
static pst_status
read_all(psti_change_decoder *decoder, const void *data, size_t n, pst_error *err)
{
	psti_change change;
	pst_status status = decoder->open(decoder, 0, data, n, err);

	while (status == PST_OK)
		status = decoder->next(decoder, &change, err);
	return status == PST_END ? PST_OK : status;
}

static pst_status
read_fresh(const void *data, size_t n, pst_error *err)
{
	psti_change_decoder *decoder;
	void *exact = malloc(n > 0 ? n : 1);
	pst_status status;

	assert_non_null(exact);
	memcpy(exact, data, n);
	assert_ok(psti_records_new(&decoder, err), err);
	status = read_all(decoder, exact, n, err);
	decoder->free(decoder);
	free(exact);
	return status;
}

static psti_buf
sample(void)
{
	static const uint16_t indexes[] = {7, 8191};
	psti_buf m = records_begin();

	records_transaction(&m, 7, 0x2000, "north");
	records_relation(&m, &orders);
	records_relation(&m, &plain);
	records_row(&m, CHANGE_UPDATE, 7, 0, "#1", "#2|\\U|(1,2)|\\N");
	records_truncate(&m, indexes, 2);
	records_message(&m, 0, "p", "content");
	records_commit(&m, 0x2100, 3);
	return m;
}

static void
a_message_that_was_cut_is_refused(void **state)
{
	psti_buf m = sample();
	pst_error err = PST_ERROR_INIT;
	int whole = 0;

	(void) state;
	assert_ok(read_fresh(m.data, m.len, &err), &err);
	for (size_t n = 0; n < m.len; n++)
	{
		pst_status status = read_fresh(m.data, n, &err);

		/* Between two records nothing is missing that can be seen. */
		whole += status == PST_OK;
		if (status != PST_OK)
			assert_int_equal(status, PST_ERR_PROTOCOL);
	}
	assert_int_equal(whole, 7);
	psti_buf_free(&m);
}

/* Under the sanitizers: whatever the bytes are, nothing beyond them is read. */
static void
wrong_bytes_are_refused_or_read(void **state)
{
	psti_buf m = sample();
	pst_error err = PST_ERROR_INIT;
	int refused = 0;

	(void) state;
	for (size_t i = 0; i < m.len; i++)
		for (int bit = 0; bit < 8; bit++)
		{
			m.data[i] = (char) (m.data[i] ^ (1 << bit));
			refused += read_fresh(m.data, m.len, &err) != PST_OK;
			m.data[i] = (char) (m.data[i] ^ (1 << bit));
		}
	assert_true(refused > 500);
	psti_buf_free(&m);
}

static void
assert_broken(psti_buf m, const char *why)
{
	pst_error err = PST_ERROR_INIT;

	assert_fails(read_fresh(m.data, m.len, &err), PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, why);
	psti_buf_free(&m);
}

static psti_buf
transaction(void)
{
	psti_buf m = records_begin();

	records_transaction(&m, 7, 0x2000, "");
	records_relation(&m, &orders);
	return m;
}

static void
a_row_is_of_its_relation(void **state)
{
	static const uint16_t unknown[] = {7, 8};
	static const uint16_t beyond[] = {7, 8192};
	psti_buf m = transaction();

	(void) state;
	records_row(&m, CHANGE_INSERT, 8, 0, NULL, "#1");
	assert_broken(m, "was not described");
	m = transaction();
	records_row(&m, CHANGE_INSERT, 7, 0, NULL, "#1|a|b");
	assert_broken(m, "values are not those of its relation");
	m = transaction();
	records_row(&m, CHANGE_INSERT, 7, 0, NULL, "#1|a|b|c|d");
	assert_broken(m, "values are not those of its relation");
	m = transaction();
	records_row(&m, CHANGE_UPDATE, 7, 0, "#1|a", "#1|a|b|c");
	assert_broken(m, "old values are not those of its relation");
	m = transaction();
	records_row(&m, CHANGE_UPDATE, 7, CHANGE_ROW_OLD_WHOLE, "#1", "#1|a|b|c");
	assert_broken(m, "old values are not those of its relation");
	m = transaction();
	records_truncate(&m, unknown, 2);
	assert_broken(m, "was not described");
	m = transaction();
	records_truncate(&m, beyond, 2);
	assert_broken(m, "truncate");
	m = transaction();
	m.data[0] = 2;
	{
		pst_error err = PST_ERROR_INIT;

		assert_fails(read_fresh(m.data, m.len, &err), PST_ERR_UNSUPPORTED, &err);
		assert_contains(err.message, "version 2");
		psti_buf_free(&m);
		assert_fails(read_fresh("", 0, &err), PST_ERR_PROTOCOL, &err);
	}
}

/* ---- Without memory ---- */

static pst_status
read_sample(void *ctx, pst_error *err)
{
	const psti_buf *m = ctx;
	psti_change_decoder *decoder = NULL;
	pst_status status = psti_records_new(&decoder, err);

	for (int i = 0; status == PST_OK && i < 2; i++)
		status = read_all(decoder, m->data, m->len, err);
	if (decoder != NULL)
		decoder->free(decoder);
	return status;
}

static void
want_of_memory_is_told_and_leaks_nothing(void **state)
{
	psti_buf m = sample();

	(void) state;
	assert_true(psti_test_alloc_sweep(read_sample, &m) > 30);
	psti_buf_free(&m);
}

#define DECODER_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		DECODER_TEST(a_transaction_comes_with_its_changes),
		DECODER_TEST(a_truncate_names_all_its_tables),
		DECODER_TEST(messages_and_rewrites_are_told),
		DECODER_TEST(a_relation_that_is_described_anew_has_no_table),
		DECODER_TEST(a_row_may_have_no_columns),
		cmocka_unit_test(a_message_that_was_cut_is_refused),
		cmocka_unit_test(wrong_bytes_are_refused_or_read),
		cmocka_unit_test(a_row_is_of_its_relation),
		cmocka_unit_test(want_of_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
