/* pgoutput_test.c - messages of pgoutput as changes, and what no server sends refused. */
#include "test.h"

#include "alloc.h"
#include "bytes.h"
#include "cdc/change.h"

#define LEAF 16385

/* ---- Messages ---- */

static void
put_text(psti_buf *m, const char *text)
{
	psti_buf_append(m, text, strlen(text) + 1);
}

/* Kind and numbers, in the order and widths of fmt: 1, 2, 4, 8, s. */
static psti_buf
message(const char *fmt, ...)
{
	psti_buf m = PSTI_BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	psti_buf_putc(&m, *fmt++);
	for (; *fmt != '\0'; fmt++)
		switch (*fmt)
		{
			case '1':
				psti_buf_putc(&m, (char) va_arg(ap, int));
				break;
			case '2':
				psti_buf_int16(&m, (int16_t) va_arg(ap, int));
				break;
			case '4':
				psti_buf_int32(&m, va_arg(ap, int));
				break;
			case '8':
				psti_buf_int64(&m, va_arg(ap, int64_t));
				break;
			default:
				put_text(&m, va_arg(ap, const char *));
		}
	va_end(ap);
	return m;
}

/* "1|\N|\U|text": a tuple. */
static void
put_tuple(psti_buf *m, const char *values)
{
	size_t count = m->len;

	psti_buf_int16(m, 0);
	for (int16_t n = 1;; n++)
	{
		size_t len = strcspn(values, "|");

		psti_put16(m->data + count, (uint16_t) n);
		if (len == 2 && memcmp(values, "\\N", 2) == 0)
			psti_buf_putc(m, 'n');
		else if (len == 2 && memcmp(values, "\\U", 2) == 0)
			psti_buf_putc(m, 'u');
		else
		{
			psti_buf_putc(m, 't');
			psti_buf_int32(m, (int32_t) len);
			psti_buf_append(m, values, len);
		}
		values += len;
		if (*values++ == '\0')
			break;
	}
}

static psti_buf
row_message(char kind, char old_kind, const char *old, const char *fresh)
{
	char fmt[] = {kind, '4', '\0'};
	psti_buf m = message(fmt, LEAF);

	if (old != NULL)
	{
		psti_buf_putc(&m, old_kind);
		put_tuple(&m, old);
	}
	if (fresh != NULL)
	{
		psti_buf_putc(&m, 'N');
		put_tuple(&m, fresh);
	}
	return m;
}

static psti_buf
begin_message(void)
{
	return message("B884", INT64_C(0x1000), INT64_C(777), 42);
}

static psti_buf
commit_message(void)
{
	return message("C1888", 0, INT64_C(0x1000), INT64_C(0x1100), INT64_C(777));
}

/* id int4 (key), note text, at timestamptz */
static psti_buf
relation_message(void)
{
	return message("R4ss121s441s441s44", LEAF, "public", "orders", 'd', 3, 1, "id", 23, -1, 0,
				   "note", 25, -1, 0, "at", 1184, -1);
}

/* ---- The decoder under test ---- */

typedef struct helper
{
	int completed;
	bool reversed; /* columns come in the other order, as under a root */
	bool unknown;  /* no type is there any more */
} helper;

static pst_status
complete(void *ctx, psti_stream_relation *relation, size_t *order, pst_error *err)
{
	helper *h = ctx;
	size_t n = relation->ncolumns;

	h->completed++;
	for (size_t i = 0; h->reversed && i < n / 2; i++)
	{
		psti_stream_column column = relation->columns[i];

		relation->columns[i] = relation->columns[n - 1 - i];
		relation->columns[n - 1 - i] = column;
		order[i] = n - 1 - i;
		order[n - 1 - i] = i;
	}
	for (size_t i = 0; i < n; i++)
	{
		relation->columns[i].type.name = strdup(h->unknown ? "" : "a type");
		if (relation->columns[i].type.name == NULL)
			return psti_fail_nomem(err);
	}
	return PST_OK;
}

typedef struct fixture
{
	helper helper;
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
	assert_ok(psti_pgoutput_new(complete, &f->helper, &f->decoder, &f->err), &f->err);
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

static pst_status
next(fixture *f)
{
	return f->decoder->next(f->decoder, &f->change, &f->err);
}

/* Takes the message and gives its first change. */
static pst_status
feed(fixture *f, psti_buf m)
{
	pst_status status;

	psti_buf_free(&f->held);
	f->held = m;
	status = f->decoder->open(f->decoder, 0x900, m.data, m.len, &f->err);
	return status == PST_OK ? next(f) : status;
}

static void
quiet(fixture *f, psti_buf m)
{
	pst_status status = feed(f, m);

	if (status == PST_OK && f->change.kind == PSTI_CHANGE_BEGIN)
		status = next(f);
	if (status != PST_END)
		fail_msg("%s %s", pst_status_name(status), f->err.message);
}

static void
gives(fixture *f, psti_buf m, psti_change_kind kind)
{
	assert_ok(feed(f, m), &f->err);
	if (f->change.kind == PSTI_CHANGE_BEGIN && kind != PSTI_CHANGE_BEGIN)
		assert_ok(next(f), &f->err);
	assert_int_equal(f->change.kind, kind);
}

static void
value_is(const psti_row *row, size_t i, const void *data, size_t len)
{
	assert_false(row->values[i].null);
	assert_int_equal(row->values[i].len, len);
	assert_memory_equal(row->values[i].data, data, len);
}

/* ---- Tests ---- */

static void
a_transaction_comes_with_its_origin(void **state)
{
	fixture *f = *state;

	quiet(f, begin_message());
	quiet(f, message("O8s", INT64_C(5), "elsewhere"));
	assert_ok(feed(f, relation_message()), &f->err);
	assert_int_equal(f->change.kind, PSTI_CHANGE_BEGIN);
	assert_int_equal(f->change.begin.xid, 42);
	assert_int_equal(f->change.begin.commit_lsn, 0x1000);
	assert_int_equal(f->change.begin.commit_time, 777);
	assert_string_equal(f->change.begin.origin, "elsewhere");
	assert_int_equal(next(f), PST_END);
	assert_ok(feed(f, row_message('I', 0, NULL, "1|a|\\N")), &f->err);
	assert_int_equal(f->change.kind, PSTI_CHANGE_INSERT);
	assert_int_equal(f->change.number, 1);
	assert_int_equal(f->change.lsn, 0x900);
	assert_int_equal(next(f), PST_END);
	gives(f, commit_message(), PSTI_CHANGE_COMMIT);
	assert_int_equal(f->change.commit.end_lsn, 0x1100);
	quiet(f, begin_message());
	quiet(f, (psti_buf) PSTI_BUF_INIT);
	gives(f, commit_message(), PSTI_CHANGE_COMMIT);
	assert_int_equal(next(f), PST_END);
	assert_fails(feed(f, (psti_buf) PSTI_BUF_INIT), PST_ERR_PROTOCOL, &f->err);
}

static void
values_are_the_bytes_of_send_functions(void **state)
{
	fixture *f = *state;
	const psti_row *row;

	quiet(f, begin_message());
	quiet(f, relation_message());
	gives(f, row_message('I', 0, NULL, "7|text|2000-01-01 00:00:01+00"), PSTI_CHANGE_INSERT);
	row = f->change.row.fresh;
	assert_null(f->change.row.old);
	assert_null(row->unchanged);
	value_is(row, 0, "\0\0\0\7", 4);
	value_is(row, 1, "text", 4);
	value_is(row, 2, "\0\0\0\0\0\x0f\x42\x40", 8);
	assert_string_equal(f->change.row.relation->name, "orders");
	assert_true(f->change.row.relation->columns[0].identity);
	assert_false(f->change.row.relation->columns[1].text);
}

static void
values_of_types_that_are_gone_are_text(void **state)
{
	fixture *f = *state;

	f->helper.unknown = true;
	quiet(f, begin_message());
	quiet(f, relation_message());
	gives(f, row_message('I', 0, NULL, "7|text|soon"), PSTI_CHANGE_INSERT);
	assert_true(f->change.row.relation->columns[0].text);
	value_is(f->change.row.fresh, 0, "7", 1);
	value_is(f->change.row.fresh, 2, "soon", 4);
}

static void
columns_come_in_the_order_of_the_root(void **state)
{
	fixture *f = *state;

	f->helper.reversed = true;
	quiet(f, begin_message());
	quiet(f, relation_message());
	gives(f, row_message('U', 'K', "7|\\N|\\N", "8|text|\\U"), PSTI_CHANGE_UPDATE);
	assert_string_equal(f->change.row.relation->columns[2].name, "id");
	value_is(f->change.row.fresh, 2, "\0\0\0\x8", 4);
	value_is(f->change.row.fresh, 1, "text", 4);
	assert_true(f->change.row.fresh->unchanged[0]);
	value_is(f->change.row.old, 2, "\0\0\0\7", 4);
	assert_true(f->change.row.old->unchanged[0]);
	assert_true(f->change.row.old->unchanged[1]);
	assert_false(f->change.row.old->unchanged[2]);
}

static void
a_key_tells_of_its_own_columns_only(void **state)
{
	fixture *f = *state;

	quiet(f, begin_message());
	quiet(f, relation_message());
	gives(f, row_message('D', 'K', "7|\\N|\\N", NULL), PSTI_CHANGE_DELETE);
	assert_null(f->change.row.fresh);
	assert_false(f->change.row.old_is_whole);
	assert_false(f->change.row.old->unchanged[0]);
	assert_true(f->change.row.old->unchanged[1]);
	assert_null(f->change.row.old->values[1].data);
	gives(f, row_message('D', 'O', "7|\\N|\\N", NULL), PSTI_CHANGE_DELETE);
	assert_true(f->change.row.old_is_whole);
	assert_null(f->change.row.old->unchanged);
	assert_true(f->change.row.old->values[1].null);
	assert_int_equal(f->change.number, 2);
}

/* Also where the old value was converted, and has moved. */
static void
what_is_unchanged_is_taken_from_the_old_row(void **state)
{
	fixture *f = *state;

	quiet(f, begin_message());
	quiet(f, relation_message());
	gives(f, row_message('U', 'O', "7|old|2000-01-01 00:00:01+00", "8|\\U|\\U"),
		  PSTI_CHANGE_UPDATE);
	assert_null(f->change.row.fresh->unchanged);
	value_is(f->change.row.fresh, 1, "old", 3);
	value_is(f->change.row.fresh, 2, "\0\0\0\0\0\x0f\x42\x40", 8);
	gives(f, row_message('U', 0, NULL, "8|\\U|\\N"), PSTI_CHANGE_UPDATE);
	assert_true(f->change.row.fresh->unchanged[1]);
	assert_false(f->change.row.fresh->unchanged[2]);
}

static void
a_description_that_says_nothing_new_keeps_the_table(void **state)
{
	fixture *f = *state;
	struct psti_table *mine = (struct psti_table *) f;
	psti_stream_relation *relation;

	quiet(f, begin_message());
	quiet(f, relation_message());
	gives(f, row_message('I', 0, NULL, "1|a|\\N"), PSTI_CHANGE_INSERT);
	relation = f->change.row.relation;
	relation->table = mine;
	quiet(f, relation_message());
	assert_int_equal(f->helper.completed, 2);
	gives(f, row_message('I', 0, NULL, "1|a|\\N"), PSTI_CHANGE_INSERT);
	assert_ptr_equal(f->change.row.relation, relation);
	assert_ptr_equal(f->change.row.relation->table, mine);
	quiet(f, message("R4ss121s441s44", LEAF, "public", "orders", 'd', 2, 1, "id", 23, -1, 0, "note",
					 25, -1));
	gives(f, row_message('I', 0, NULL, "1|a"), PSTI_CHANGE_INSERT);
	assert_null(f->change.row.relation->table);
	f->change.row.relation->table = mine;
	f->decoder->forget_tables(f->decoder);
	gives(f, row_message('I', 0, NULL, "1|a"), PSTI_CHANGE_INSERT);
	assert_null(f->change.row.relation->table);
}

static void
many_relations_are_kept_apart(void **state)
{
	fixture *f = *state;
	psti_buf m;

	quiet(f, begin_message());
	for (int i = 1; i <= 3000; i++)
	{
		char name[16];

		snprintf(name, sizeof(name), "t%d", i);
		quiet(f, message("R4ss121s44", i, "s", name, 'f', 1, 1, "id", 23, -1));
	}
	for (int i = 1; i <= 3000; i++)
	{
		char name[16];

		snprintf(name, sizeof(name), "t%d", i);
		m = message("I41", i, 'N');
		put_tuple(&m, "5");
		gives(f, m, PSTI_CHANGE_INSERT);
		assert_string_equal(f->change.row.relation->name, name);
		assert_int_equal(f->change.number, i);
	}
}

static void
truncates_messages_and_types_are_read(void **state)
{
	fixture *f = *state;
	psti_buf m;

	m = message("M18s4", 0, INT64_C(0x55), "penstock", 3);
	psti_buf_append(&m, "abc", 3);
	gives(f, m, PSTI_CHANGE_MESSAGE);
	assert_false(f->change.message.transactional);
	assert_int_equal(f->change.number, 0);
	assert_int_equal(f->change.lsn, 0x55);
	assert_string_equal(f->change.message.prefix, "penstock");
	assert_int_equal(f->change.message.nbytes, 3);
	assert_memory_equal(f->change.message.content, "abc", 3);
	quiet(f, begin_message());
	quiet(f, relation_message());
	quiet(f, message("Y4ss", 99, "public", "mood"));
	gives(f, message("T414", 1, 0, LEAF), PSTI_CHANGE_TRUNCATE);
	assert_int_equal(f->change.number, 1);
	assert_int_equal(f->change.truncate.n, 1);
	assert_string_equal(f->change.truncate.relations[0]->name, "orders");
	gives(f, message("M18s4", 1, INT64_C(0x56), "p", 0), PSTI_CHANGE_MESSAGE);
	assert_int_equal(f->change.number, 2);
	gives(f, row_message('I', 0, NULL, "1|a|\\N"), PSTI_CHANGE_INSERT);
	assert_int_equal(f->change.number, 3);
}

/* Each whole message cut short behind each byte, and with one byte more. */
static void
cut_messages_are_refused(void **state)
{
	fixture *f = *state;

	for (int which = 0; which < 9; which++)
	{
		psti_buf whole = which == 0	  ? begin_message()
						 : which == 1 ? message("O8s", INT64_C(5), "elsewhere")
						 : which == 2 ? relation_message()
						 : which == 3 ? message("Y4ss", 99, "public", "mood")
						 : which == 4 ? row_message('I', 0, NULL, "1|a|\\N")
						 : which == 5 ? row_message('U', 'K', "1|\\N|\\N", "1|a|\\U")
						 : which == 6 ? row_message('D', 'O', "1|\\N|\\N", NULL)
						 : which == 7 ? message("T414", 1, 0, LEAF)
									  : message("M18s4", 1, INT64_C(0x56), "p", 0);

		for (size_t cut = 1; cut <= whole.len + 1; cut++)
		{
			psti_buf m = PSTI_BUF_INIT;

			if (cut == whole.len)
				continue;
			teardown(state);
			setup(state);
			f = *state;
			if (which > 0)
				quiet(f, begin_message());
			if (which > 3)
				quiet(f, relation_message());
			if (which > 3)
				gives(f, message("M18s4", 1, INT64_C(0x56), "p", 0), PSTI_CHANGE_MESSAGE);
			/* Exactly so long in memory, for the sanitizer. */
			m.data = malloc(cut + 1);
			memcpy(m.data, whole.data, cut < whole.len ? cut : whole.len);
			m.len = cut;
			if (cut > whole.len)
				m.data[whole.len] = 'x';
			if (which == 2)
				assert_ok(feed(f, m), &f->err);
			assert_fails(which == 2 ? next(f) : feed(f, m), PST_ERR_PROTOCOL, &f->err);
		}
		psti_buf_free(&whole);
	}
}

static void
what_cannot_be_is_refused(void **state)
{
	fixture *f = *state;
	psti_buf m;

	assert_fails(feed(f, message("S41", 5, 1)), PST_ERR_PROTOCOL, &f->err);
	assert_contains(f->err.message, "protocol version 1");
	assert_fails(feed(f, message("?")), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, commit_message()), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, row_message('I', 0, NULL, "1")), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, message("O8s", INT64_C(5), "x")), PST_ERR_PROTOCOL, &f->err);
	quiet(f, begin_message());
	assert_fails(feed(f, begin_message()), PST_ERR_PROTOCOL, &f->err);
	gives(f, message("M18s4", 1, INT64_C(0x56), "p", 0), PSTI_CHANGE_MESSAGE);
	assert_fails(feed(f, message("O8s", INT64_C(5), "x")), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, row_message('I', 0, NULL, "1|a|\\N")), PST_ERR_PROTOCOL, &f->err);
	assert_contains(f->err.message, "16385");
	assert_fails(feed(f, message("T414", 1, 0, LEAF)), PST_ERR_PROTOCOL, &f->err);
	quiet(f, relation_message());
	assert_fails(feed(f, row_message('I', 0, NULL, "1|a")), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, row_message('I', 0, NULL, "1|a|\\U")), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, row_message('I', 0, NULL, "one|a|\\N")), PST_ERR_PROTOCOL, &f->err);
	assert_contains(f->err.message, "\"id\"");
	assert_fails(feed(f, row_message('D', 0, NULL, "1|a|\\N")), PST_ERR_PROTOCOL, &f->err);
	m = message("I41211411", LEAF, 'N', 3, 'n', 'b', 1, 'x', 'n');
	assert_fails(feed(f, m), PST_ERR_PROTOCOL, &f->err);
	assert_contains(f->err.message, "binary");
	/* Counts and lengths beyond the message. */
	assert_fails(feed(f, message("I41214", LEAF, 'N', 3, 't', 0x7fffffff)), PST_ERR_PROTOCOL,
				 &f->err);
	assert_fails(feed(f, message("I41214", LEAF, 'N', 3, 't', -1)), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, message("T41", 0x40000000, 0)), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, message("R4ss12", 7, "s", "t", 'd', -1)), PST_ERR_PROTOCOL, &f->err);
	assert_fails(feed(f, message("M18s4", 1, INT64_C(1), "p", -1)), PST_ERR_PROTOCOL, &f->err);
	gives(f, commit_message(), PSTI_CHANGE_COMMIT);
}

static pst_status
decode_all(void *ctx, pst_error *err)
{
	fixture f = {.helper = {0}};
	const psti_buf *messages = ctx;
	pst_status status = psti_pgoutput_new(complete, &f.helper, &f.decoder, err);

	for (; status >= PST_OK && messages->data != NULL; messages++)
	{
		status = f.decoder->open(f.decoder, 0, messages->data, messages->len, err);
		while (status == PST_OK)
			status = f.decoder->next(f.decoder, &f.change, err);
	}
	if (f.decoder != NULL)
		f.decoder->free(f.decoder);
	return status;
}

static void
no_memory_is_told(void **state)
{
	psti_buf messages[] = {
		begin_message(),
		message("O8s", INT64_C(5), "elsewhere"),
		message("R4ss121s44", 7, "", "t", 'd', 1, 1, "id", 23, -1),
		relation_message(),
		row_message('U', 'O', "7|old|2000-01-01 00:00:01+00", "8|\\U|\\U"),
		message("T414", 1, 0, LEAF),
		commit_message(),
		PSTI_BUF_INIT,
	};

	(void) state;
	assert_true(psti_test_alloc_sweep(decode_all, messages) > 15);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		psti_buf_free(&messages[i]);
}

int
main(void)
{
#define fixture_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		fixture_test(a_transaction_comes_with_its_origin),
		fixture_test(values_are_the_bytes_of_send_functions),
		fixture_test(values_of_types_that_are_gone_are_text),
		fixture_test(columns_come_in_the_order_of_the_root),
		fixture_test(a_key_tells_of_its_own_columns_only),
		fixture_test(what_is_unchanged_is_taken_from_the_old_row),
		fixture_test(a_description_that_says_nothing_new_keeps_the_table),
		fixture_test(many_relations_are_kept_apart),
		fixture_test(truncates_messages_and_types_are_read),
		fixture_test(cut_messages_are_refused),
		fixture_test(what_cannot_be_is_refused),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
