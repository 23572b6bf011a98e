/* change_test.c - change records: each kind, in pieces, and such as no honest plugin sends. */
#include "test.h"

#include "change.h"

/* A message as it is put together. */
typedef struct message
{
	uint8_t data[4096];
	size_t len;
	size_t record;
} message;

static void
put_int(message *m, uint64_t value, int nbytes)
{
	assert_true(m->len + 8 < sizeof(m->data));
	for (int i = nbytes - 1; i >= 0; i--)
		m->data[m->len++] = (uint8_t) (value >> (8 * i));
}

static void
put(message *m, const void *data, size_t n)
{
	memcpy(m->data + m->len, data, n);
	m->len += n;
}

static void
put_text(message *m, const char *text)
{
	put_int(m, strlen(text), 2);
	put(m, text, strlen(text));
}

static void
begin(message *m)
{
	m->len = 0;
	put_int(m, CHANGE_VERSION, 1);
}

static void
open_record(message *m, char kind)
{
	m->record = m->len;
	put_int(m, (uint8_t) kind, 1);
	put_int(m, 0, 4);
}

static void
close_record(message *m)
{
	size_t end = m->len;

	m->len = m->record + 1;
	put_int(m, end - m->record - CHANGE_HEAD, 4);
	m->len = end;
}

static void
put_begin(message *m)
{
	open_record(m, CHANGE_BEGIN);
	put_int(m, UINT64_C(0x1000002d6), 8);
	put_int(m, 0x2000, 8);
	put_int(m, (uint64_t) -5, 8);
	put_text(m, "north");
	close_record(m);
}

static void
put_commit(message *m, uint64_t nchanges)
{
	open_record(m, CHANGE_COMMIT);
	put_int(m, 0x2030, 8);
	put_int(m, nchanges, 8);
	close_record(m);
}

static void
put_relation(message *m)
{
	open_record(m, CHANGE_RELATION);
	put_int(m, 7, 2);
	put_int(m, 16384, 4);
	put_int(m, 16390, 4);
	put_int(m, 16400, 4);
	put_int(m, 'r', 1);
	put_int(m, 'd', 1);
	put_int(m, 'p', 1);
	put_text(m, "public");
	put_text(m, "orders");
	for (int i = 0; i < 2; i++)
	{
		put_int(m, i == 0 ? CHANGE_BINARY : CHANGE_TEXT, 1);
		put_int(m, i == 0 ? CHANGE_COLUMN_IDENTITY | CHANGE_COLUMN_NOT_NULL : 0, 1);
		put_int(m, i == 0 ? 23 : 600, 4);
		put_int(m, i == 0 ? 23 : 600, 4);
		put_int(m, 0, 4);
		put_int(m, UINT32_MAX, 4);
		put_text(m, i == 0 ? "id" : "place");
		put_text(m, i == 0 ? "integer" : "point");
	}
	close_record(m);
}

/* id = 5, place unchanged. The key before was 4. */
static void
put_update(message *m, uint8_t gap, uint8_t step)
{
	open_record(m, CHANGE_UPDATE);
	put_int(m, 7, 2);
	put_int(m, CHANGE_ROW_OLD, 1);
	put_int(m, gap, 1);
	put_int(m, step, 1);
	put_int(m, 5, 4);
	put(m, "\4\0\0\0\4", 5);
	put(m, "\4\0\0\0\5\xfe", 6);
	close_record(m);
}

static void
next(change_reader *reader, change_kind kind, change_record *out)
{
	assert_int_equal(change_next(reader, out), CHANGE_OK);
	assert_int_equal(out->kind, kind);
}

static void
open_message(change_reader *reader, const message *m)
{
	uint8_t version;

	assert_int_equal(change_open(reader, m->data, m->len, &version), CHANGE_OK);
}

static bool
is_text(change_bytes bytes, const char *text)
{
	return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

static void
a_transaction_comes_out_as_it_was_written(void **state)
{
	change_reader reader = {0};
	change_record r;
	change_column column;
	change_bytes value;
	change_state what;
	message m;

	(void) state;
	begin(&m);
	put_begin(&m);
	put_relation(&m);
	put_update(&m, 2, 1);
	put_commit(&m, 3);
	open_message(&reader, &m);
	next(&reader, CHANGE_BEGIN, &r);
	assert_true(r.begin.xid == UINT64_C(0x1000002d6));
	assert_true(r.begin.commit_lsn == 0x2000);
	assert_true(r.begin.commit_time == -5);
	assert_true(is_text(r.begin.origin, "north"));
	next(&reader, CHANGE_RELATION, &r);
	assert_int_equal(r.relation.index, 7);
	assert_int_equal(r.relation.oid, 16384);
	assert_int_equal(r.relation.leaf, 16390);
	assert_int_equal(r.relation.filenode, 16400);
	assert_int_equal(r.relation.identity, 'd');
	assert_int_equal(r.relation.persistence, 'p');
	assert_true(is_text(r.relation.schema, "public") && is_text(r.relation.name, "orders"));
	assert_int_equal(r.relation.ncolumns, 2);
	assert_int_equal(change_read_column(&r.relation.columns, &column), CHANGE_OK);
	assert_int_equal(column.form, CHANGE_BINARY);
	assert_int_equal(column.flags, CHANGE_COLUMN_IDENTITY | CHANGE_COLUMN_NOT_NULL);
	assert_int_equal(column.typmod, -1);
	assert_int_equal(change_read_column(&r.relation.columns, &column), CHANGE_OK);
	assert_true(is_text(column.name, "place") && is_text(column.type_name, "point"));
	assert_int_equal(change_read_column(&r.relation.columns, &column), CHANGE_END);
	next(&reader, CHANGE_UPDATE, &r);
	assert_int_equal(r.row.number, 3);
	assert_int_equal(r.row.lsn, 0x1fff);
	assert_true(r.row.old.there && !r.row.old_is_whole && r.row.fresh.there);
	assert_int_equal(change_read_value(&r.row.old.values, &what, &value), CHANGE_OK);
	assert_memory_equal(value.data, "\0\0\0\4", 4);
	assert_int_equal(change_read_value(&r.row.old.values, &what, &value), CHANGE_END);
	assert_int_equal(change_read_value(&r.row.fresh.values, &what, &value), CHANGE_OK);
	assert_int_equal(what, CHANGE_VALUE);
	assert_int_equal(change_read_value(&r.row.fresh.values, &what, &value), CHANGE_OK);
	assert_int_equal(what, CHANGE_UNCHANGED);
	next(&reader, CHANGE_COMMIT, &r);
	assert_int_equal(r.commit.nchanges, 3);
	assert_int_equal(change_next(&reader, &r), CHANGE_END);
}

/* The numbers go on where the last message ended. */
static void
a_transaction_may_have_many_messages(void **state)
{
	change_reader reader = {0};
	change_record r;
	message m;

	(void) state;
	begin(&m);
	put_begin(&m);
	put_update(&m, 0, 0);
	open_message(&reader, &m);
	next(&reader, CHANGE_BEGIN, &r);
	next(&reader, CHANGE_UPDATE, &r);
	assert_int_equal(r.row.number, 1);
	assert_int_equal(change_next(&reader, &r), CHANGE_END);
	begin(&m);
	put_update(&m, 0, 4);
	put_commit(&m, 2);
	open_message(&reader, &m);
	next(&reader, CHANGE_UPDATE, &r);
	assert_int_equal(r.row.number, 2);
	assert_int_equal(r.row.lsn, 0x2002);
	next(&reader, CHANGE_COMMIT, &r);
}

static void
unknown_kinds_are_passed_over(void **state)
{
	change_reader reader = {0};
	change_record r;
	message m;

	(void) state;
	begin(&m);
	open_record(&m, 'Z');
	put(&m, "whatever", 8);
	close_record(&m);
	put_begin(&m);
	open_record(&m, 'z');
	close_record(&m);
	open_message(&reader, &m);
	next(&reader, CHANGE_BEGIN, &r);
	assert_int_equal(change_next(&reader, &r), CHANGE_END);
}

static void
other_versions_are_told(void **state)
{
	change_reader reader = {0};
	uint8_t version;

	(void) state;
	assert_int_equal(change_open(&reader, "\2", 1, &version), CHANGE_VERSIONED);
	assert_int_equal(version, 2);
	assert_int_equal(change_open(&reader, "", 0, &version), CHANGE_INVALID);
}

/* The last record is refused, all before it are not. */
static void
assert_last_refused(const message *m)
{
	change_reader reader = {0};
	change_record r;
	change_status status;

	open_message(&reader, m);
	do
		status = change_next(&reader, &r);
	while (status == CHANGE_OK);
	assert_int_equal(status, CHANGE_INVALID);
}

static void
changes_stand_inside_a_transaction(void **state)
{
	message m;

	(void) state;
	begin(&m);
	put_update(&m, 0, 0);
	assert_last_refused(&m);
	begin(&m);
	put_commit(&m, 0);
	assert_last_refused(&m);
	begin(&m);
	put_begin(&m);
	put_begin(&m);
	assert_last_refused(&m);
	begin(&m);
	put_begin(&m);
	put_commit(&m, 1);
	put_update(&m, 0, 0);
	assert_last_refused(&m);
	begin(&m);
	put_begin(&m);
	put_update(&m, 4, 0);
	put_commit(&m, 4); /* fewer than its last number */
	assert_last_refused(&m);
}

/* Every record, cut anywhere: its own length or that of the message. */
static void
what_is_cut_is_refused(void **state)
{
	change_reader reader;
	change_record r;
	message whole;

	(void) state;
	begin(&whole);
	put_begin(&whole);
	put_relation(&whole);
	put_update(&whole, 0, 0);
	open_record(&whole, CHANGE_MESSAGE);
	put_int(&whole, 0, 1);
	put_int(&whole, 0x1000, 8);
	put_text(&whole, "prefix");
	close_record(&whole);
	open_record(&whole, CHANGE_TRUNCATE);
	put_int(&whole, 0, 1);
	put_int(&whole, 0, 1);
	put_int(&whole, 0, 1);
	put_int(&whole, 7, 2);
	close_record(&whole);
	put_commit(&whole, 2);
	for (size_t n = 2; n < whole.len; n++)
	{
		change_status status = CHANGE_OK;
		uint8_t version;

		memset(&reader, 0, sizeof(reader));
		assert_int_equal(change_open(&reader, whole.data, n, &version), CHANGE_OK);
		while (status == CHANGE_OK)
			status = change_next(&reader, &r);
		/* Between two records it looks whole: the commit is missing. */
		assert_true(status == CHANGE_INVALID || reader.in_transaction);
	}
}

static void
values_lie_inside_their_tuple(void **state)
{
	static const struct
	{
		const char *bytes;
		size_t n;
	} bad[] = {{"\1", 1},
			   {"\5abcd", 5},
			   {"\xfd\0\0\0", 4},
			   {"\xfd\0\0\0\2a", 6},
			   {"\xfd\xff\xff\xff\xff", 5}};
	change_bytes value;
	change_state what;

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		change_bytes values = {(const uint8_t *) bad[i].bytes, bad[i].n};

		assert_int_equal(change_read_value(&values, &what, &value), CHANGE_INVALID);
	}
}

static void
numbers_that_cannot_be_are_refused(void **state)
{
	static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	message m;

	(void) state;
	begin(&m);
	put_begin(&m);
	open_record(&m, CHANGE_DELETE);
	put_int(&m, 7, 2);
	put_int(&m, 0, 1);
	put(&m, endless, sizeof(endless));
	put_int(&m, 0, 1);
	close_record(&m);
	assert_last_refused(&m);
	begin(&m);
	put_begin(&m);
	open_record(&m, CHANGE_DELETE);
	put_int(&m, CHANGE_RELATIONS_MAX, 2);
	put_int(&m, 0, 1);
	put_int(&m, 0, 2);
	close_record(&m);
	assert_last_refused(&m);
}

/* ---- The golden messages, which the plugin's own test holds against what it sends ---- */

#define GOLDEN TEST_TOP "/bridge/tests/golden/change/shop"

static void
print_bytes(FILE *out, change_bytes bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		fprintf(out, "%02x", bytes.data[i]);
}

static void
print_text(FILE *out, change_bytes text)
{
	fprintf(out, " %.*s", text.len == 0 ? 1 : (int) text.len,
			text.len == 0 ? "-" : (const char *) text.data);
}

static void
print_tuple(FILE *out, const char *name, const change_tuple *tuple)
{
	change_bytes values = tuple->values;
	change_bytes value;
	change_state state;
	change_status status;

	if (!tuple->there)
		return;
	fprintf(out, "  %s", name);
	while ((status = change_read_value(&values, &state, &value)) == CHANGE_OK)
	{
		fputc(' ', out);
		if (state == CHANGE_VALUE)
			print_bytes(out, value);
		fputs(state == CHANGE_NULL		  ? "NULL"
			  : state == CHANGE_UNCHANGED ? "unchanged"
			  : value.len == 0			  ? "empty"
										  : "",
			  out);
	}
	assert_int_equal(status, CHANGE_END);
	fputc('\n', out);
}

static void
print_relation(FILE *out, const change_relation *r)
{
	change_bytes columns = r->columns;
	change_column c;

	fprintf(out, "relation %u oid %u leaf %u file %u kind %c identity %c persistence %c", r->index,
			r->oid, r->leaf, r->filenode, r->relkind, r->identity, r->persistence);
	print_text(out, r->schema);
	print_text(out, r->name);
	fputc('\n', out);
	while (change_read_column(&columns, &c) == CHANGE_OK)
	{
		fprintf(out, "  form %u flags %u type %u base %u element %u typmod %d", (unsigned) c.form,
				c.flags, c.type, c.base, c.element, (int) c.typmod);
		print_text(out, c.name);
		fputs(":", out);
		print_text(out, c.type_name);
		fputc('\n', out);
	}
}

static void
print_record(FILE *out, const change_record *r)
{
	change_bytes relations;
	uint32_t index;

	switch (r->kind)
	{
		case CHANGE_RELATION:
			print_relation(out, &r->relation);
			break;
		case CHANGE_BEGIN:
			fprintf(out, "begin xid %llu commit %llx time %lld origin",
					(unsigned long long) r->begin.xid, (unsigned long long) r->begin.commit_lsn,
					(long long) r->begin.commit_time);
			print_text(out, r->begin.origin);
			fputc('\n', out);
			break;
		case CHANGE_COMMIT:
			fprintf(out, "commit of %llu at %llx\n", (unsigned long long) r->commit.nchanges,
					(unsigned long long) r->commit.end_lsn);
			break;
		case CHANGE_INSERT:
		case CHANGE_UPDATE:
		case CHANGE_DELETE:
			fprintf(out, "%c %llu of relation %u%s%s%s\n", (char) r->kind,
					(unsigned long long) r->row.number, r->row.relation,
					r->row.old_is_whole ? " old is whole" : "", r->row.rewrite ? " rewrite" : "",
					r->row.rewrite_begins ? " begins" : "");
			print_tuple(out, "old", &r->row.old);
			print_tuple(out, "fresh", &r->row.fresh);
			break;
		case CHANGE_TRUNCATE:
			fprintf(out, "truncate %llu flags %u relations",
					(unsigned long long) r->truncate.number, r->truncate.flags);
			relations = r->truncate.relations;
			while (change_read_index(&relations, &index) == CHANGE_OK)
				fprintf(out, " %u", index);
			fputc('\n', out);
			break;
		case CHANGE_MESSAGE:
			fprintf(out, "message %llu %s at %llx", (unsigned long long) r->message.number,
					r->message.transactional ? "transactional" : "alone",
					(unsigned long long) r->message.lsn);
			print_text(out, r->message.prefix);
			print_text(out, r->message.content);
			fputc('\n', out);
			break;
	}
}

/* What the messages say, as text: a line of hex each. */
static void
print_golden(FILE *out)
{
	static char line[64 * 1024];
	static uint8_t data[sizeof(line) / 2];
	FILE *in = fopen(GOLDEN ".hex", "r");
	change_reader reader = {0};
	change_record r;

	assert_non_null(in);
	while (fgets(line, sizeof(line), in) != NULL)
	{
		size_t n = strcspn(line, "\n") / 2;
		change_status status;
		uint8_t version;

		for (size_t i = 0; i < n; i++)
		{
			unsigned byte;

			assert_int_equal(sscanf(line + 2 * i, "%2x", &byte), 1);
			data[i] = (uint8_t) byte;
		}
		assert_int_equal(change_open(&reader, data, n, &version), CHANGE_OK);
		fputs("message\n", out);
		while ((status = change_next(&reader, &r)) == CHANGE_OK)
			print_record(out, &r);
		assert_int_equal(status, CHANGE_END);
	}
	fclose(in);
}

static void
the_golden_messages_say_what_was_done(void **state)
{
	char *got = NULL;
	char *want;
	size_t ngot;
	size_t nwant;
	FILE *out = open_memstream(&got, &ngot);
	FILE *in = fopen(GOLDEN ".txt", "r");

	(void) state;
	assert_non_null(out);
	assert_non_null(in);
	print_golden(out);
	fclose(out);
	want = malloc(ngot + 2);
	assert_non_null(want);
	nwant = fread(want, 1, ngot + 1, in);
	fclose(in);
	if (nwant != ngot || memcmp(want, got, ngot) != 0)
	{
		fwrite(got, 1, ngot, stderr);
		fail_msg("that is what %s.hex says, other than %s.txt", GOLDEN, GOLDEN);
	}
	free(want);
	free(got);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_transaction_comes_out_as_it_was_written),
		cmocka_unit_test(a_transaction_may_have_many_messages),
		cmocka_unit_test(unknown_kinds_are_passed_over),
		cmocka_unit_test(other_versions_are_told),
		cmocka_unit_test(changes_stand_inside_a_transaction),
		cmocka_unit_test(what_is_cut_is_refused),
		cmocka_unit_test(values_lie_inside_their_tuple),
		cmocka_unit_test(numbers_that_cannot_be_are_refused),
		cmocka_unit_test(the_golden_messages_say_what_was_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
