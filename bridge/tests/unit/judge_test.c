/*
 * judge_test.c - what becomes of changes of rows that were read under snapshots: rule by rule, and random
 * histories whose copy must come out as the table.
 */
#include "test.h"

#include "bytes.h"
#include "cdc/judge.h"

/* A snapshot that sees every transaction below xid. */
static psti_snapshot
below(uint64_t xid)
{
	return (psti_snapshot){xid, xid, NULL, 0};
}

static psti_region_key
key(int32_t value)
{
	psti_region_key out;
	uint8_t bytes[4];

	psti_put32(bytes, (uint32_t) value);
	assert_true(psti_region_key_read(PSTI_KEY_INT4, bytes, 4, &out));
	return out;
}

static void
keys_compare_as_their_type_does(void **state)
{
	static const int64_t numbers[] = {INT64_MIN, -5, -1, 0, 1, 5, INT64_MAX};
	static const psti_key_kind eight[] = {PSTI_KEY_INT8, PSTI_KEY_TIMESTAMP};
	psti_region_key last;
	psti_region_key now;
	uint8_t bytes[16] = {0};

	(void) state;
	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		{
			psti_put64(bytes, (uint64_t) numbers[i]);
			assert_true(psti_region_key_read(eight[k], bytes, 8, &now));
			assert_true(i == 0 || psti_region_key_compare(&last, &now) < 0);
			assert_int_equal(psti_region_key_compare(&now, &now), 0);
			last = now;
		}
	for (int16_t i = -300; i < 300; i++)
	{
		psti_put16(bytes, (uint16_t) i);
		assert_true(psti_region_key_read(PSTI_KEY_INT2, bytes, 2, &now));
		assert_true(i == -300 || psti_region_key_compare(&last, &now) < 0);
		last = now;
	}
	memset(bytes, 0, sizeof(bytes));
	for (int i = 15; i >= 0; i--)
	{
		bytes[i] = 0x80;
		assert_true(psti_region_key_read(PSTI_KEY_UUID, bytes, 16, &now));
		assert_true(i == 15 || psti_region_key_compare(&last, &now) < 0);
		last = now;
	}
	assert_false(psti_region_key_read(PSTI_KEY_INT4, bytes, 8, &now));
	assert_false(psti_region_key_read(PSTI_KEY_UUID, bytes, 8, &now));
	assert_false(psti_region_key_read(PSTI_KEY_NONE, bytes, 8, &now));
	assert_int_equal(psti_key_kind_of(1184), PSTI_KEY_TIMESTAMP);
	assert_int_equal(psti_key_kind_of(25), PSTI_KEY_NONE);
}

/* Two regions, keys below 10 and from 10 on: the first sees transaction 5, the second does not. */
static void
each_half_is_its_own_regions(void **state)
{
	const psti_snapshot late = below(6);
	const psti_snapshot early = below(5);
	const psti_region parts[] = {{{0, 0}, &late}, {key(10), &early}};
	const psti_regions regions = {PSTI_KEY_INT4, parts, 2};
	psti_row_keys keys = {.has_fresh = true, .fresh = key(3), .fresh_is_whole = true};

	(void) state;
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_LEAVE_OUT);
	assert_int_equal(psti_judge_row(&regions, &keys, 6), PSTI_APPLY);
	keys.fresh = key(10);
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_APPLY);
	assert_int_equal(psti_judge_row(&regions, &keys, 4), PSTI_LEAVE_OUT);
	keys.has_old = true;
	keys.old = key(9);
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_NEW_HALF);
	keys.fresh_is_whole = false;
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_RESET);
	assert_int_equal(psti_judge_row(&regions, &keys, 7), PSTI_APPLY);
	keys.old = key(11);
	keys.fresh = key(-1);
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_OLD_HALF);
	keys.has_fresh = false;
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_APPLY);
	keys.old = key(0);
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_LEAVE_OUT);
	assert_int_equal(psti_judge_truncate(&regions, 4), PSTI_LEAVE_OUT);
	assert_int_equal(psti_judge_truncate(&regions, 5), PSTI_RESET);
	assert_int_equal(psti_judge_truncate(&regions, 6), PSTI_APPLY);
}

static void
a_row_without_its_key_lies_nowhere(void **state)
{
	const psti_snapshot seen = below(6);
	const psti_region parts[] = {{{0, 0}, &seen}, {key(10), &seen}};
	psti_regions regions = {PSTI_KEY_INT4, parts, 2};
	const psti_row_keys keys = {.has_old = true, .old_known = PSTI_KEY_ABSENT};

	(void) state;
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_RESET);
	regions.n = 1; /* in the only region there is */
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_LEAVE_OUT);
	assert_int_equal(psti_judge_row(&regions, &keys, 6), PSTI_APPLY);
	regions.n = 0;
	assert_int_equal(psti_judge_row(&regions, &keys, 5), PSTI_APPLY);
	assert_int_equal(psti_judge_truncate(&regions, 5), PSTI_APPLY);
}

static void
a_forgotten_snapshot_leaves_nothing_out(void **state)
{
	const psti_snapshot seen = below(6);
	const psti_region parts[] = {{{0, 0}, NULL}, {key(10), &seen}};
	const psti_regions regions = {PSTI_KEY_INT4, parts, 2};
	const psti_row_keys keys = {.has_fresh = true, .fresh = key(3)};

	(void) state;
	assert_int_equal(psti_judge_row(&regions, &keys, 1), PSTI_APPLY);
}

/* ---- Random histories ---- */

#define KEYS 8
#define TRANSACTIONS 12
#define CHANGES 4
#define HISTORIES 20000

enum kind
{
	PUT, /* insert or update */
	REMOVE,
	MOVE,
	MOVE_UNCHANGED,
	TRUNCATE,
	KINDS
};

typedef struct change
{
	enum kind kind;
	int from;
	int to;
	int value;
	bool there; /* the row at from, before */
} change;

typedef struct history
{
	change changes[TRANSACTIONS][CHANGES];
	int nchanges[TRANSACTIONS];
	int tables[TRANSACTIONS + 1]
			  [KEYS]; /* before each transaction, and behind the last; 0: no row */
} history;

static void
apply(int *table, const change *c)
{
	switch (c->kind)
	{
		case PUT:
			table[c->from] = c->value;
			break;
		case REMOVE:
			table[c->from] = 0;
			break;
		case MOVE:
			table[c->from] = 0;
			table[c->to] = c->value;
			break;
		case MOVE_UNCHANGED:
			table[c->to] = table[c->from];
			table[c->from] = 0;
			break;
		default:
			memset(table, 0, KEYS * sizeof(*table));
			break;
	}
}

/* A change that the table allows. */
static bool
choose(const int *table, uint64_t *seed, int value, change *out)
{
	int from = (int) (test_random(seed) % KEYS);
	int to = (int) (test_random(seed) % KEYS);

	*out = (change){(enum kind)(test_random(seed) % KINDS), from, to, value, table[from] != 0};
	if (out->kind == TRUNCATE)
		return test_random(seed) % 8 == 0;
	if (out->kind == PUT)
		return true;
	if (out->kind == REMOVE)
		return table[from] != 0;
	return table[from] != 0 && from != to && table[to] == 0;
}

static void
make_history(uint64_t *seed, history *out)
{
	int table[KEYS] = {0};
	int value = 1;

	for (int t = 0; t < TRANSACTIONS; t++)
	{
		memcpy(out->tables[t], table, sizeof(table));
		out->nchanges[t] = 0;
		for (int i = 0; i < CHANGES; i++)
		{
			change c;

			if (!choose(table, seed, value++, &c))
				continue;
			apply(table, &c);
			out->changes[t][out->nchanges[t]++] = c;
		}
	}
	memcpy(out->tables[TRANSACTIONS], table, sizeof(table));
}

static psti_verdict
judge(const psti_regions *regions, const change *c, uint64_t xid)
{
	psti_row_keys keys = {.fresh_is_whole = c->kind != MOVE_UNCHANGED};

	if (c->kind == TRUNCATE)
		return psti_judge_truncate(regions, xid);
	keys.has_old = c->kind != PUT || c->there;
	keys.has_fresh = c->kind != REMOVE;
	keys.old = key(c->from);
	keys.fresh = key(c->kind == PUT ? c->from : c->to);
	return psti_judge_row(regions, &keys, xid);
}

/* Applies what the verdict leaves of a change to the copy; everything must fit what is there. */
static void
take(int *copy, const change *c, psti_verdict verdict)
{
	switch (verdict)
	{
		case PSTI_APPLY:
			if (c->kind == PUT)
				assert_int_equal(copy[c->from] != 0, c->there);
			else if (c->kind != TRUNCATE)
				assert_true(copy[c->from] != 0);
			if (c->kind == MOVE || c->kind == MOVE_UNCHANGED)
				assert_int_equal(copy[c->to], 0);
			apply(copy, c);
			break;
		case PSTI_OLD_HALF:
			assert_true(copy[c->from] != 0);
			copy[c->from] = 0;
			break;
		case PSTI_NEW_HALF:
			assert_int_equal(copy[c->to], 0);
			copy[c->to] = c->value;
			break;
		default:
			break;
	}
}

/* Regions read at moments of their own, then all changes: the copy is the table at the end. */
static int
replay(const history *h, uint64_t *seed)
{
	psti_snapshot snapshots[3];
	psti_region parts[3];
	psti_regions regions = {PSTI_KEY_INT4, parts, 1 + test_random(seed) % 3};
	int copy[KEYS] = {0};
	int resets = 0;

	for (size_t r = 0; r < regions.n; r++)
	{
		int moment = (int) (test_random(seed) % (TRANSACTIONS + 1));
		int first = (int) (r * KEYS / regions.n);
		int end = (int) ((r + 1) * KEYS / regions.n);

		snapshots[r] = below((uint64_t) moment + 1);
		parts[r] = (psti_region){r == 0 ? (psti_region_key){0, 0} : key(first), &snapshots[r]};
		for (int k = first; k < end; k++)
			copy[k] = h->tables[moment][k];
	}
	for (int t = 0; t < TRANSACTIONS; t++)
		for (int i = 0; i < h->nchanges[t]; i++)
		{
			psti_verdict verdict = judge(&regions, &h->changes[t][i], (uint64_t) t + 1);

			if (verdict != PSTI_RESET)
			{
				take(copy, &h->changes[t][i], verdict);
				continue;
			}
			/* Read anew at a moment that sees this transaction whole. */
			snapshots[0] = below((uint64_t) t + 2);
			regions.n = 1;
			memcpy(copy, h->tables[t + 1], sizeof(copy));
			resets++;
		}
	assert_memory_equal(copy, h->tables[TRANSACTIONS], sizeof(copy));
	return resets;
}

static void
the_copy_is_the_table_whenever_its_regions_were_read(void **state)
{
	uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);
	int resets = 0;
	history h;

	(void) state;
	for (int i = 0; i < HISTORIES; i++)
	{
		make_history(&seed, &h);
		resets += replay(&h, &seed);
	}
	assert_true(resets > HISTORIES / 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_compare_as_their_type_does),
		cmocka_unit_test(each_half_is_its_own_regions),
		cmocka_unit_test(a_row_without_its_key_lies_nowhere),
		cmocka_unit_test(a_forgotten_snapshot_leaves_nothing_out),
		cmocka_unit_test(the_copy_is_the_table_whenever_its_regions_were_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
