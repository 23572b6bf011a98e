/*
 * sink_merge_test.c - merging the changes of a key, held against a model that applies them one by
 * one: whatever comes in, deletes first and then the merged rows must leave the same table.
 */
#include "test.h"

#include "alloc.h"
#include "bytes.h"
#include "sink.h"

#define VALUES 3
#define KEYS 24
#define DEFAULT (-1)

/* --- a plan without a server ------------------------------------------------------------------- */

typedef enum key_kind
{
	KEY_INT8,
	KEY_TEXT, /* eight bytes in common: the prefix says nothing */
	KEY_TWO,  /* int4, text */
	KEY_SMALL /* int4, int2: exactly in the prefix */
} key_kind;

static psti_column targets[2 + VALUES];
static psti_sink_column columns[2 + VALUES];
static psti_sink_plan plan;

static void
make_plan(key_kind kind)
{
	static const Oid first[] = {20, 25, 23, 23};
	static const Oid second[] = {0, 0, 25, 21};

	memset(targets, 0, sizeof(targets));
	memset(columns, 0, sizeof(columns));
	plan = (psti_sink_plan){.columns = columns, .mode = PSTI_MODE_CHANGELOG};
	plan.nkey = second[kind] == 0 ? 1 : 2;
	plan.ncolumns = plan.nkey + VALUES;
	plan.strict_keys = plan.complete = true;
	for (size_t c = 0; c < plan.ncolumns; c++)
	{
		columns[c].target = &targets[c];
		columns[c].key = c < plan.nkey;
		targets[c].type.base = c == 0 ? first[kind] : c == 1 && plan.nkey == 2 ? second[kind] : 23;
	}
}

static void
put_key(psti_buf *out, key_kind kind, int key)
{
	char text[32];
	int n;

	if (kind == KEY_INT8)
	{
		psti_buf_int32(out, 8);
		psti_buf_int64(out, key % 2 == 0 ? key : -((int64_t) key << 40));
		return;
	}
	if (kind == KEY_TEXT)
	{
		n = snprintf(text, sizeof(text), "customer-%d", key);
		psti_buf_int32(out, n);
		psti_buf_append(out, text, (size_t) n);
		return;
	}
	psti_buf_int32(out, 4);
	psti_buf_int32(out, key % 5 - 2);
	if (kind == KEY_SMALL)
	{
		psti_buf_int32(out, 2);
		psti_buf_int16(out, (int16_t) (key / 5 - 2));
		return;
	}
	n = snprintf(text, sizeof(text), "%.*s", key / 5, "xxxxxxxxxx");
	psti_buf_int32(out, n);
	psti_buf_append(out, text, (size_t) n);
}

/* --- changes and the model ----------------------------------------------------------------------- */

typedef struct change
{
	int op; /* psti_op */
	int key;
	int old_key; /* of a key change, else -1 */
	int values[VALUES];
	bool given[VALUES];
} change;

typedef struct model_row
{
	bool present;
	int values[VALUES];
} model_row;

static void
model_upsert(model_row *row, const int *values, const bool *given)
{
	for (int v = 0; v < VALUES; v++)
	{
		if (given[v])
			row->values[v] = values[v];
		else if (!row->present)
			row->values[v] = DEFAULT;
	}
	row->present = true;
}

static void
model_apply(model_row *table, const change *c)
{
	if (c->op == PSTI_OP_DELETE)
	{
		table[c->key].present = false;
		return;
	}
	if (c->old_key >= 0)
		table[c->old_key].present = false;
	model_upsert(&table[c->key], c->values, c->given);
}

static void
put_row(psti_sink_rows *rows, key_kind kind, int key, const change *c, int op)
{
	psti_sink_row row = {.at = rows->bytes.len, .number = (int64_t) rows->nrows};
	pst_error err = PST_ERROR_INIT;

	row.op = (uint8_t) op;
	row.change = op == PSTI_OP_UPSERT && c->old_key >= 0;
	psti_buf_int16(&rows->bytes, (int16_t) (op == PSTI_OP_UPSERT ? plan.ncolumns : plan.nkey));
	put_key(&rows->bytes, kind, key);
	for (int v = 0; op == PSTI_OP_UPSERT && v < VALUES; v++)
	{
		psti_buf_int32(&rows->bytes, c->given[v] ? 4 : PSTI_FIELD_UNCHANGED);
		row.partial = row.partial || !c->given[v];
		if (c->given[v])
			psti_buf_int32(&rows->bytes, c->values[v]);
	}
	assert_ok(psti_rows_add(rows, &row, &err), &err);
}

static void
put_change(psti_sink_rows *rows, key_kind kind, const change *c)
{
	if (c->old_key >= 0)
		put_row(rows, kind, c->old_key, c, PSTI_OP_OLD);
	put_row(rows, kind, c->key, c, c->op);
}

static change
random_change(uint64_t *seed, const model_row *table)
{
	change c = {.op = PSTI_OP_UPSERT, .old_key = -1};
	uint64_t dice = test_random(seed) % 100;

	c.key = (int) (test_random(seed) % KEYS);
	for (int v = 0; v < VALUES; v++)
	{
		c.values[v] = (int) (test_random(seed) % 1000);
		c.given[v] = dice >= 30 || test_random(seed) % 2 == 0;
	}
	if (dice >= 80)
		c.op = PSTI_OP_DELETE;
	else if (dice >= 72)
	{
		/* A key change of a whole row, as a source makes it: from a key that is there. */
		c.old_key = (int) (test_random(seed) % KEYS);
		if (c.old_key == c.key || !table[c.old_key].present)
			c.old_key = -1;
	}
	return c;
}

/* --- what the server would do with the merged rows ------------------------------------------------- */

static int
key_of(const char *tuple, key_kind kind)
{
	for (int key = 0; key < KEYS; key++)
	{
		psti_buf buf = PSTI_BUF_INIT;
		bool same;

		put_key(&buf, kind, key);
		same =
			psti_key_len(tuple, plan.nkey) == buf.len && memcmp(tuple + 2, buf.data, buf.len) == 0;
		psti_buf_free(&buf);
		if (same)
			return key;
	}
	fail_msg("a key that was never written");
	return -1;
}

static void
server_upsert(model_row *table, const psti_merge *merge, const psti_merge_item *item, int key,
			  const char *tuple)
{
	psti_field field = psti_field_first(tuple);
	const uint8_t *skip =
		item->shape == 0 ? NULL : merge->shapes + (item->shape - 1) * merge->shape_bytes;
	int values[VALUES] = {0};
	bool given[VALUES];

	assert_int_equal(psti_get16(tuple), plan.ncolumns);
	for (size_t c = 0; c < plan.ncolumns; c++)
	{
		if (c >= plan.nkey)
		{
			given[c - plan.nkey] = field.nbytes == 4;
			if (field.nbytes == 4)
				values[c - plan.nkey] = (int) psti_get32(field.data);
			assert_int_equal(skip != NULL && psti_bit_get(skip, (int64_t) c),
							 field.nbytes == PSTI_FIELD_UNCHANGED);
		}
		if (c + 1 < plan.ncolumns)
			field = psti_field_next(field);
	}
	model_upsert(&table[key], values, given);
}

static const char *
item_key(const psti_merge *merge, const psti_sink_rows *rows, const psti_merge_item *item)
{
	return item->upserts ? psti_merge_tuple(merge, rows, item) : psti_rows_at(rows, item->row);
}

static void
server_apply(model_row *table, const psti_merge *merge, const psti_sink_rows *rows, key_kind kind)
{
	bool seen[KEYS] = {false};
	size_t deletes = 0;

	for (size_t i = 0; i < merge->nitems; i++)
	{
		int key = key_of(item_key(merge, rows, &merge->items[i]), kind);

		assert_false(seen[key]); /* never a row twice in one statement */
		seen[key] = true;
		deletes += merge->items[i].deletes;
		if (merge->items[i].deletes)
			table[key].present = false;
	}
	assert_int_equal(deletes, merge->ndeletes);
	for (size_t i = 0; i < merge->nitems; i++)
	{
		const psti_merge_item *item = &merge->items[i];

		if (item->upserts)
			server_upsert(table, merge, item, key_of(item_key(merge, rows, item), kind),
						  psti_merge_tuple(merge, rows, item));
	}
}

static void
assert_tables_equal(const model_row *want, const model_row *got)
{
	for (int key = 0; key < KEYS; key++)
	{
		assert_int_equal(want[key].present, got[key].present);
		for (int v = 0; want[key].present && v < VALUES; v++)
			assert_int_equal(want[key].values[v], got[key].values[v]);
	}
}

/* Runs nchanges random changes in batches of random size through model and merge. */
static void
run_changes(key_kind kind, size_t nchanges, uint64_t seed)
{
	model_row want[KEYS] = {{0}};
	model_row got[KEYS] = {{0}};
	psti_sink_rows rows = {.bytes = PSTI_BUF_INIT};
	pst_error err = PST_ERROR_INIT;

	make_plan(kind);
	while (nchanges > 0)
	{
		size_t n = 1 + test_random(&seed) % 60;
		psti_merge merge;
		bool moves = false;

		n = n < nchanges ? n : nchanges;
		nchanges -= n;
		psti_rows_reset(&rows);
		for (size_t i = 0; i < n; i++)
		{
			change c = random_change(&seed, want);

			for (int v = 0; c.old_key >= 0 && v < VALUES; v++)
				moves = moves || !c.given[v];
			model_apply(want, &c);
			put_change(&rows, kind, &c);
		}
		assert_ok(psti_merge_rows(&plan, &rows, &merge, &err), &err);
		assert_int_equal(merge.replay, moves);
		if (merge.replay)
			memcpy(got, want, sizeof(got)); /* the server applies it in order */
		else
			server_apply(got, &merge, &rows, kind);
		assert_tables_equal(want, got);
		psti_merge_free(&merge);
	}
	psti_sink_rows_free(&rows);
}

static void
merged_changes_leave_the_table_that_single_ones_would(void **state)
{
	(void) state;
	run_changes(KEY_INT8, 400000, 1);
	run_changes(KEY_TEXT, 250000, 2);
	run_changes(KEY_TWO, 200000, 3);
	run_changes(KEY_SMALL, 150000, 4);
}

/* --- order ----------------------------------------------------------------------------------------- */

static void
integer_keys_are_sent_in_their_order(void **state)
{
	psti_sink_rows rows = {.bytes = PSTI_BUF_INIT};
	pst_error err = PST_ERROR_INIT;
	uint64_t seed = 5;
	psti_merge merge;
	int64_t before = INT64_MIN;

	(void) state;
	make_plan(KEY_INT8);
	for (int i = 0; i < 20000; i++)
	{
		psti_sink_row row = {.at = rows.bytes.len, .number = i};

		psti_buf_int16(&rows.bytes, (int16_t) plan.ncolumns);
		psti_buf_int32(&rows.bytes, 8);
		psti_buf_int64(&rows.bytes, i == 0 ? INT64_MAX : (int64_t) test_random(&seed));
		for (int v = 0; v < VALUES; v++)
			psti_buf_int32(&rows.bytes, PSTI_FIELD_NULL);
		assert_ok(psti_rows_add(&rows, &row, &err), &err);
	}
	assert_ok(psti_merge_rows(&plan, &rows, &merge, &err), &err);
	for (size_t i = 0; i < merge.nitems; i++)
	{
		int64_t key =
			(int64_t) psti_get64(psti_field_first(item_key(&merge, &rows, &merge.items[i])).data);

		assert_true(i == 0 || key > before);
		before = key;
	}
	assert_int_equal(merge.nfull, merge.nitems);
	psti_merge_free(&merge);
	psti_sink_rows_free(&rows);
}

static void
loose_keys_keep_the_order_of_arrival_and_replay_what_order_decides(void **state)
{
	psti_sink_rows rows = {.bytes = PSTI_BUF_INIT};
	pst_error err = PST_ERROR_INIT;
	psti_merge merge;
	change c = {.op = PSTI_OP_UPSERT, .old_key = -1, .given = {true, true, true}};

	(void) state;
	make_plan(KEY_TEXT);
	plan.strict_keys = false;
	for (int i = 9; i > 0; i--)
	{
		c.key = i % 5;
		put_change(&rows, KEY_TEXT, &c);
	}
	assert_ok(psti_merge_rows(&plan, &rows, &merge, &err), &err);
	assert_false(merge.replay);
	for (size_t i = 1; i < merge.nitems; i++)
		assert_true(merge.items[i].order > merge.items[i - 1].order);
	psti_merge_free(&merge);
	c.op = PSTI_OP_DELETE;
	put_change(&rows, KEY_TEXT, &c);
	assert_ok(psti_merge_rows(&plan, &rows, &merge, &err), &err);
	assert_true(merge.replay);
	psti_merge_free(&merge);
	psti_sink_rows_free(&rows);
}

/* --- memory ---------------------------------------------------------------------------------------- */

static pst_status
merge_something(void *ctx, pst_error *err)
{
	const psti_sink_rows *rows = ctx;
	psti_merge merge;
	pst_status status = psti_merge_rows(&plan, rows, &merge, err);

	psti_merge_free(&merge);
	return status;
}

static void
a_failed_allocation_is_told_and_leaks_nothing(void **state)
{
	psti_sink_rows rows = {.bytes = PSTI_BUF_INIT};
	uint64_t seed = 6;
	model_row table[KEYS] = {{0}};

	(void) state;
	make_plan(KEY_TEXT);
	for (int i = 0; i < 50; i++)
	{
		change c = random_change(&seed, table);

		c.old_key = -1;
		put_change(&rows, KEY_TEXT, &c);
	}
	assert_true(psti_test_alloc_sweep(merge_something, &rows) >= 4);
	psti_sink_rows_free(&rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merged_changes_leave_the_table_that_single_ones_would),
		cmocka_unit_test(integer_keys_are_sent_in_their_order),
		cmocka_unit_test(loose_keys_keep_the_order_of_arrival_and_replay_what_order_decides),
		cmocka_unit_test(a_failed_allocation_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
