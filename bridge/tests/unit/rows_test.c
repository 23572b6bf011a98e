/* rows_test.c - captured tables, and their changed rows gathered into batches. */
#include "test.h"

#include "alloc.h"
#include "bytes.h"
#include "cdc/rows.h"

static const psti_type int4 = {.oid = 23,
							   .base = 23,
							   .typmod = -1,
							   .has_send = true,
							   .elem_typmod = -1,
							   .name = (char *) "integer"};
static const psti_type text = {.oid = 25,
							   .base = 25,
							   .typmod = -1,
							   .has_send = true,
							   .elem_typmod = -1,
							   .name = (char *) "text"};

static const psti_table_column three[] = {{.name = "id", .type = &int4, .key = true},
										  {.name = "a", .type = &text},
										  {.name = "b", .type = &text}};

/* ---- Tables and rows to look at ---- */

typedef struct fixture
{
	psti_options *options;
	psti_column_rules rules;
	psti_rows *rows;
	psti_table *table;
	pst_error err;
} fixture;

static pst_status
set_up(fixture *f, size_t nrows, size_t nbytes, pst_error *err)
{
	static const char *const keys[] = {"read.text-columns", NULL};
	static const char *const values[] = {"as_text", NULL};
	const psti_rows_limits limits = {nrows, nbytes, PSTI_SPECIAL_ERROR, 0};
	pst_status status;

	memset(f, 0, sizeof(*f));
	psti_enter(&f->err);
	status = psti_options_new(keys, values, PSTI_CDC, NULL, &f->options, err);
	f->rules = (psti_column_rules){
		.options = f->options, .server_version = 150000, .integer_datetimes = true};
	if (status == PST_OK)
		status = psti_table_new(&f->rules, 16384, "public", "t", three, 3, &f->table, err);
	if (status == PST_OK)
		status = psti_rows_new(&limits, &f->rows, err);
	return status;
}

static void
tear_down(fixture *f)
{
	psti_rows_free(f->rows);
	psti_table_free(f->table);
	psti_options_free(f->options);
}

static int
setup(void **state)
{
	fixture *f = malloc(sizeof(*f));
	pst_error err = PST_ERROR_INIT;

	assert_non_null(f);
	assert_ok(set_up(f, 1000, 100000, &err), &err);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	tear_down(*state);
	free(*state);
	return 0;
}

/* A row (id, a, b); NULL: that value is unchanged. */
static pst_status
put(fixture *f, uint32_t id, const char *a, const char *b, const psti_row_facts *facts,
	pst_error *err)
{
	const char *texts[] = {NULL, a, b};
	psti_copy_value values[3];
	uint8_t unchanged[3] = {0};
	uint8_t key[4];
	psti_row row = {values, NULL};

	psti_put32(key, id);
	values[0] = (psti_copy_value){key, 4, false, false};
	for (int i = 1; i < 3; i++)
	{
		values[i] = (psti_copy_value){texts[i], texts[i] == NULL ? 0 : strlen(texts[i]),
									  texts[i] == NULL, false};
		unchanged[i] = texts[i] == NULL;
		if (unchanged[i])
			row.unchanged = unchanged;
	}
	return psti_rows_put(f->rows, f->table, &row, facts, err);
}

static void
put_one(fixture *f, uint32_t id, const char *a, const char *b, int8_t kind)
{
	const psti_row_facts facts = {kind, 0x2000, 7, id, 0x1000 + id, -5, NULL};

	assert_ok(put(f, id, a, b, &facts, &f->err), &f->err);
}

static void
take(fixture *f, pst_change_batch *out)
{
	assert_ok(psti_rows_take(f->rows, out, &f->err), &f->err);
	assert_int_equal(psti_rows_pending(f->rows), 0);
}

static bool
is_set(const uint8_t *bits, size_t i)
{
	return (bits[i / 8] >> (i % 8) & 1) != 0;
}

/* ---- Batches ---- */

static void
a_batch_tells_what_each_row_is(void **state)
{
	fixture *f = *state;
	const psti_row_facts facts = {PST_ROW_DELETE, UINT64_MAX, UINT64_C(0x100000007), 9, 10,
								  INT64_MIN,	  NULL};
	pst_change_batch batch;
	const struct ArrowArray *ids;

	put_one(f, 1, "x", "y", PST_ROW_INSERT);
	assert_ok(put(f, 2, "", "z", &facts, &f->err), &f->err);
	assert_int_equal(psti_rows_pending(f->rows), 2);
	take(f, &batch);
	assert_int_equal(batch.struct_size, sizeof(batch));
	assert_string_equal(batch.schema_name, "public");
	assert_string_equal(batch.table, "t");
	assert_ptr_equal(batch.schema, &f->table->arrow);
	assert_int_equal(batch.array.length, 2);
	assert_true(batch.row_kind[0] == PST_ROW_INSERT && batch.row_kind[1] == PST_ROW_DELETE);
	assert_true(batch.commit_lsn[0] == 0x2000 && batch.commit_lsn[1] == UINT64_MAX);
	assert_true(batch.xid[0] == 7 && batch.xid[1] == UINT64_C(0x100000007));
	assert_true(batch.sequence[0] == 1 && batch.sequence[1] == 9);
	assert_true(batch.lsn[0] == 0x1001 && batch.lsn[1] == 10);
	assert_true(batch.op_ts[0] == -5 && batch.op_ts[1] == INT64_MIN);
	assert_null(batch.origin);
	assert_null(batch.unchanged);
	assert_false(batch.snapshot);
	ids = batch.array.children[0];
	assert_int_equal(((const int32_t *) ids->buffers[1])[1], 2);
	batch.array.release(&batch.array);
}

/* Any pattern of unchanged values, over batches of any size: no bit of another batch is left. */
static void
unchanged_values_have_their_bit(void **state)
{
	fixture *f = *state;
	uint64_t seed = 5;

	for (int round = 0; round < 300; round++)
	{
		size_t n = 1 + test_random(&seed) % 300;
		uint64_t often = 1 + test_random(&seed) % 200;
		uint8_t want[2][300] = {{0}};
		bool any[2] = {false, false};
		pst_change_batch batch;

		for (size_t i = 0; i < n; i++)
		{
			for (int c = 0; c < 2; c++)
				any[c] |= want[c][i] = round % 3 != c && test_random(&seed) % often == 0;
			put_one(f, (uint32_t) i, want[0][i] ? NULL : "a", want[1][i] ? NULL : "b",
					PST_ROW_UPDATE_AFTER);
		}
		take(f, &batch);
		assert_int_equal(batch.array.length, n);
		assert_int_equal(batch.unchanged != NULL, any[0] || any[1]);
		for (int c = 0; batch.unchanged != NULL && c < 2; c++)
		{
			assert_int_equal(batch.unchanged[c + 1] != NULL, any[c]);
			for (size_t i = 0; any[c] && i < n; i++)
				assert_int_equal(is_set(batch.unchanged[c + 1], i), want[c][i]);
			assert_null(batch.unchanged[0]);
		}
		batch.array.release(&batch.array);
	}
}

static void
an_open_batch_is_of_one_table_and_origin(void **state)
{
	fixture *f = *state;
	const psti_row_facts facts = {.origin = "north"};
	psti_table *other;
	pst_change_batch batch;

	assert_ok(psti_table_new(&f->rules, 16384, "public", "t", three, 3, &other, &f->err), &f->err);
	assert_true(psti_rows_fit(f->rows, f->table, "north", 2, 0));
	put_one(f, 1, "a", "b", PST_ROW_INSERT);
	assert_true(psti_rows_fit(f->rows, f->table, NULL, 2, 0));
	assert_true(psti_rows_fit(f->rows, f->table, "", 2, 0));
	assert_false(psti_rows_fit(f->rows, f->table, "north", 1, 0));
	assert_false(psti_rows_fit(f->rows, other, NULL, 1, 0));
	take(f, &batch);
	batch.array.release(&batch.array);
	assert_ok(put(f, 1, "a", "b", &facts, &f->err), &f->err);
	assert_true(psti_rows_fit(f->rows, f->table, "north", 1, 0));
	assert_false(psti_rows_fit(f->rows, f->table, NULL, 1, 0));
	assert_false(psti_rows_fit(f->rows, f->table, "south", 1, 0));
	take(f, &batch);
	assert_string_equal(batch.origin, "north");
	batch.array.release(&batch.array);
	put_one(f, 1, "a", "b", PST_ROW_INSERT);
	take(f, &batch);
	assert_null(batch.origin);
	batch.array.release(&batch.array);
	psti_table_free(other);
}

/* Both rows of an update fit, or neither; the last row of a batch may be of any size. */
static void
a_batch_is_full_at_its_limits(void **state)
{
	fixture f;
	pst_error err = PST_ERROR_INIT;
	pst_change_batch batch;
	char big[400];

	(void) state;
	memset(big, 'x', sizeof(big));
	big[399] = '\0';
	assert_ok(set_up(&f, 3, 300, &err), &err);
	for (int round = 0; round < 3; round++)
	{
		put_one(&f, 1, "a", "b", PST_ROW_INSERT);
		assert_true(psti_rows_fit(f.rows, f.table, NULL, 2, 0));
		put_one(&f, 2, "a", NULL, PST_ROW_INSERT);
		assert_true(psti_rows_fit(f.rows, f.table, NULL, 1, 0));
		assert_false(psti_rows_fit(f.rows, f.table, NULL, 2, 0));
		put_one(&f, 3, "a", "b", PST_ROW_INSERT);
		assert_false(psti_rows_fit(f.rows, f.table, NULL, 1, 0));
		take(&f, &batch);
		assert_int_equal(batch.array.length, 3);
		batch.array.release(&batch.array);
		put_one(&f, 4, big, big, PST_ROW_INSERT);
		assert_false(psti_rows_fit(f.rows, f.table, NULL, 1, 0));
		take(&f, &batch);
		assert_int_equal(batch.array.length, 1);
		batch.array.release(&batch.array);
	}
	tear_down(&f);
	assert_ok(set_up(&f, 0, 1, &err), &err);
	put_one(&f, 1, "", "", PST_ROW_UPDATE_BEFORE);
	put_one(&f, 1, "", "", PST_ROW_UPDATE_AFTER);
	assert_false(psti_rows_fit(f.rows, f.table, NULL, 1, 0));
	take(&f, &batch);
	assert_int_equal(batch.array.length, 2);
	batch.array.release(&batch.array);
	tear_down(&f);
}

/* What is in the batch counts for no row that has room in one of its own. */
static void
a_column_has_two_gigabytes_of_a_batch(void **state)
{
	fixture *f = *state;
	pst_change_batch batch;

	assert_true(psti_rows_fit(f->rows, f->table, NULL, 2, SIZE_MAX));
	put_one(f, 1, "a", "b", PST_ROW_INSERT);
	assert_true(psti_rows_fit(f->rows, f->table, NULL, 2, INT32_MAX - 6));
	assert_false(psti_rows_fit(f->rows, f->table, NULL, 2, INT32_MAX - 5));
	assert_false(psti_rows_fit(f->rows, f->table, NULL, 1, SIZE_MAX));
	take(f, &batch);
	batch.array.release(&batch.array);
}

static void
a_value_that_is_none_names_its_row(void **state)
{
	fixture *f = *state;
	const psti_row_facts facts = {.kind = PST_ROW_INSERT};
	const psti_copy_value values[] = {
		{"abc", 3, false, false}, {"a", 1, false, false}, {"b", 1, false, false}};
	const psti_row row = {values, NULL};

	assert_true(psti_rows_put(f->rows, f->table, &row, &facts, &f->err) < 0);
	assert_string_equal(f->err.schema, "public");
	assert_string_equal(f->err.table, "t");
	assert_contains(f->err.message, "id");
}

/* ---- Tables ---- */

static psti_table *
make(fixture *f, const psti_table_column *columns, size_t n, const char *schema, const char *name)
{
	psti_table *out;

	assert_ok(psti_table_new(&f->rules, 1, schema, name, columns, n, &out, &f->err), &f->err);
	return out;
}

static void
tables_are_the_same_when_their_rows_are(void **state)
{
	static const psti_type int8 = {.oid = 20,
								   .base = 20,
								   .typmod = -1,
								   .has_send = true,
								   .elem_typmod = -1,
								   .name = (char *) "bigint"};
	static const psti_type texts = {.oid = 1009,
									.base = 1009,
									.typmod = -1,
									.has_send = true,
									.elem = 25,
									.elem_base = 25,
									.elem_typmod = -1,
									.name = (char *) "text[]",
									.elem_name = (char *) "text"};
	static const psti_type wide = {.oid = 1700,
								   .base = 1700,
								   .typmod = (10 << 16 | 2) + 4,
								   .base_typmod = (10 << 16 | 2) + 4,
								   .has_send = true,
								   .elem_typmod = -1,
								   .name = (char *) "numeric(10,2)"};
	static const psti_type fine = {.oid = 1700,
								   .base = 1700,
								   .typmod = (10 << 16 | 3) + 4,
								   .base_typmod = (10 << 16 | 3) + 4,
								   .has_send = true,
								   .elem_typmod = -1,
								   .name = (char *) "numeric(10,3)"};
	static const psti_table_column base[] = {{"id", &int4, false, true},
											 {"n", &wide, false, false}};
	static const psti_table_column others[][2] = {
		{{"id", &int8, false, true}, {"n", &wide, false, false}},
		{{"id", &int4, false, false}, {"n", &wide, false, false}},
		{{"id", &int4, true, true}, {"n", &wide, false, false}},
		{{"id", &int4, false, true}, {"m", &wide, false, false}},
		{{"id", &int4, false, true}, {"n", &fine, false, false}},
		{{"id", &int4, false, true}, {"n", &texts, false, false}},
		{{"id", &int4, false, true}, {"n", &wide, true, false}},
		{{"n", &wide, false, false}, {"id", &int4, false, true}},
	};
	fixture *f = *state;
	psti_table *one = make(f, base, 2, "public", "t");
	psti_table *two = make(f, base, 2, "public", "t");

	assert_true(psti_table_same(one, two));
	psti_table_free(two);
	two = make(f, base, 1, "public", "t");
	assert_false(psti_table_same(one, two) || psti_table_same(two, one));
	psti_table_free(two);
	two = make(f, base, 2, "other", "t");
	assert_false(psti_table_same(one, two));
	psti_table_free(two);
	two = make(f, base, 2, "public", "u");
	assert_false(psti_table_same(one, two));
	psti_table_free(two);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
	{
		two = make(f, others[i], 2, "public", "t");
		if (psti_table_same(one, two) || psti_table_same(two, one))
			fail_msg("table %zu is the same", i);
		psti_table_free(two);
	}
	psti_table_free(one);
}

static void
a_table_has_its_key_and_its_texts(void **state)
{
	static const psti_table_column columns[] = {{"a", &text, false, false},
												{"z", &int4, false, true},
												{"as_text", &int4, false, false},
												{"b", &int4, false, true},
												{"plain", &int4, true, false}};
	fixture *f = *state;
	psti_table *t = make(f, columns, 5, "s", "t");

	assert_string_equal(t->key[0], "z");
	assert_string_equal(t->key[1], "b");
	assert_null(t->key[2]);
	assert_int_equal(psti_table_find(t, "as_text"), 2);
	assert_int_equal(psti_table_find(t, "none"), 5);
	assert_string_equal(t->arrow.children[1]->format, "i");
	assert_string_equal(t->arrow.children[2]->format, "u");
	assert_string_equal(t->arrow.children[4]->format, "u");
	assert_int_equal(t->columns[4].type, PSTI_COPY_TEXT);
	for (int i = 0; i < 5; i++)
		assert_false(t->columns[i].not_null);
	psti_table_free(t);
	t = make(f, NULL, 0, "s", "t");
	assert_null(t->key[0]);
	assert_int_equal(t->arrow.n_children, 0);
	psti_table_free(t);
	psti_table_free(NULL);
}

/* An index names rows by its columns, the whole row by the primary key's, if there is one. */
static void
a_table_of_the_stream_has_the_key_of_its_identity(void **state)
{
	static const char identities[] = "difn";
	fixture *f = *state;
	psti_stream_column columns[] = {
		{.type = int4, .name = (char *) "p", .primary = true, .identity = false},
		{.type = int4, .name = (char *) "i", .primary = false, .identity = true},
		{.type = int4, .name = (char *) "t", .text = true}};
	psti_stream_relation relation = {.oid = 5,
									 .leaf = 6,
									 .schema = (char *) "s",
									 .name = (char *) "t",
									 .columns = columns,
									 .ncolumns = 3};

	for (size_t i = 0; identities[i] != '\0'; i++)
	{
		psti_table *t;

		relation.identity = identities[i];
		assert_ok(psti_table_of_stream(&f->rules, &relation, &t, &f->err), &f->err);
		assert_int_equal(t->oid, 5);
		assert_string_equal(t->key[0], i < 2 ? "i" : "p");
		assert_null(t->key[1]);
		assert_string_equal(t->arrow.children[2]->format, "u");
		psti_table_free(t);
	}
}

/* ---- Without memory ---- */

static pst_status
gather(void *ctx, pst_error *err)
{
	const psti_row_facts facts = {.origin = "north"};
	fixture f;
	pst_change_batch batch;
	pst_status status = set_up(&f, 1000, 100000, err);

	(void) ctx;
	for (uint32_t i = 0; status == PST_OK && i < 200; i++)
		status = put(&f, i, i % 150 == 140 ? NULL : "a", "some text", &facts, err);
	if (status == PST_OK)
		status = psti_rows_take(f.rows, &batch, err);
	if (status == PST_OK)
		batch.array.release(&batch.array);
	tear_down(&f);
	return status;
}

static void
want_of_memory_is_told_and_leaks_nothing(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(gather, NULL) > 40);
}

#define ROWS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ROWS_TEST(a_batch_tells_what_each_row_is),
		ROWS_TEST(unchanged_values_have_their_bit),
		ROWS_TEST(an_open_batch_is_of_one_table_and_origin),
		cmocka_unit_test(a_batch_is_full_at_its_limits),
		ROWS_TEST(a_column_has_two_gigabytes_of_a_batch),
		ROWS_TEST(a_value_that_is_none_names_its_row),
		ROWS_TEST(tables_are_the_same_when_their_rows_are),
		ROWS_TEST(a_table_has_its_key_and_its_texts),
		ROWS_TEST(a_table_of_the_stream_has_the_key_of_its_identity),
		cmocka_unit_test(want_of_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
