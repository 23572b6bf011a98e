/* plan_test.c - plans cover their domain exactly once. */
#include "test.h"

#include <inttypes.h>

#include "alloc.h"
#include "pgtext.h"
#include "plan.h"
#include "split.h"

/* A value of a numeric column: NULL, or whole + a half. */
typedef struct point
{
	bool null;
	int64_t whole;
	bool half;
} point;

/* A stride with its bounds as numbers, read once. */
typedef struct range
{
	const psti_stride *stride;
	int64_t lower;
	int64_t upper;
} range;

/* A stride's condition as SQL evaluates it: NULL is not true. */
static bool
holds(const range *r, const point *p)
{
	if (p->null)
		return r->stride->nulls;
	if (r->stride->lower != NULL && p->whole < r->lower)
		return false;
	if (r->stride->upper == NULL || p->whole < r->upper)
		return true;
	return r->stride->inclusive && p->whole == r->upper && !p->half;
}

static void
assert_covered(const range *ranges, size_t n, const point *p, bool expected)
{
	size_t times = 0;

	for (size_t i = 0; i < n; i++)
		times += holds(&ranges[i], p);
	if (times != (expected ? 1 : 0))
		fail_msg("%s%" PRId64 "%s is in %zu strides of %zu", p->null ? "NULL " : "", p->whole,
				 p->half ? ".5" : "", times, n);
}

/* Values on, just below and just above every boundary, in turn. */
static void
check_plan(int64_t lower, int64_t upper, size_t n, bool filter)
{
	char low[32];
	char high[32];
	char **cuts;
	size_t ncuts;
	psti_stride *strides;
	range few[8];
	range *ranges = n <= 8 ? few : calloc(n, sizeof(*ranges));
	pst_error err = PST_ERROR_INIT;
	point null = {true, 0, false};

	snprintf(low, sizeof(low), "%" PRId64, lower);
	snprintf(high, sizeof(high), "%" PRId64, upper);
	assert_ok(psti_cuts_int64(lower, upper, n, psti_text_int64, &cuts, &ncuts, &err), &err);
	assert_ok(psti_strides_new(low, high, cuts, ncuts, filter, &strides, &err), &err);
	assert_true(ncuts + 1 <= n);
	for (size_t i = 0; i <= ncuts; i++)
	{
		ranges[i].stride = &strides[i];
		ranges[i].lower = strides[i].lower == NULL ? 0 : strtoll(strides[i].lower, NULL, 10);
		ranges[i].upper = strides[i].upper == NULL ? 0 : strtoll(strides[i].upper, NULL, 10);
	}
	assert_covered(ranges, ncuts + 1, &null, !filter);
	/* Of very large plans not every boundary, but still all strides at each. */
	for (size_t i = 0; i<ncuts + 4; i += n> 1000 && i < ncuts - 100 ? 97 : 1)
	{
		int64_t at = i < ncuts		  ? ranges[i].upper
					 : i == ncuts	  ? lower
					 : i == ncuts + 1 ? upper
					 : i == ncuts + 2 ? INT64_MIN
									  : INT64_MAX;

		for (int k = 0; k < 3; k++)
		{
			point p = {false, at, k == 1};

			if (k == 2 && at == INT64_MIN)
				continue;
			p.whole -= k == 2;
			assert_covered(ranges, ncuts + 1, &p,
						   !filter || (p.whole >= lower &&
									   (p.whole < upper || (p.whole == upper && !p.half))));
		}
	}
	if (ranges != few)
		free(ranges);
	psti_strides_free(strides, ncuts + 1);
	psti_cuts_free(cuts, ncuts);
}

static void
a_million_plans_cover_every_boundary_row_exactly_once(void **state)
{
	uint64_t seed = 42;

	(void) state;
	check_plan(INT64_MIN, INT64_MAX, 1, false);
	check_plan(INT64_MIN, INT64_MAX, 7, true);
	check_plan(INT64_MIN, INT64_MAX, 20000, false);
	check_plan(INT64_MAX, INT64_MAX, 3, false);
	check_plan(INT64_MIN, INT64_MIN, 3, true);
	for (int i = 0; i < 1000000; i++)
	{
		uint64_t r = test_random(&seed);
		int shift = (int) (r % 63);
		int64_t lower = (int64_t) test_random(&seed) >> shift;
		uint64_t span = test_random(&seed) >> (test_random(&seed) % 64);
		int64_t upper = (uint64_t) INT64_MAX - (uint64_t) lower < span && lower >= 0
							? INT64_MAX
							: (int64_t) ((uint64_t) lower + span);

		if (upper < lower)
			upper = INT64_MAX;
		check_plan(lower, upper, 1 + (size_t) (test_random(&seed) % 6), r & 64);
	}
}

static void
strides_are_those_of_the_documented_table(void **state)
{
	static const struct
	{
		int64_t lower, upper;
		size_t n;
		const char *cuts;
	} cases[] = {
		{1, 1000000, 4, "250001 500001 750001 "},
		{1, 10, 3, "5 8 "},
		{1, 10, 4, "4 7 9 "},
		{-5, 11, 5, "-1 3 6 9 "},
		{0, 100, 2, "51 "},
		{0, 2, 5, "1 2 "},
		{7, 7, 4, ""},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char **cuts;
		size_t n;
		psti_buf text = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;

		assert_ok(psti_cuts_int64(cases[i].lower, cases[i].upper, cases[i].n, psti_text_int64,
								  &cuts, &n, &err),
				  &err);
		psti_buf_puts(&text, "");
		for (size_t k = 0; k < n; k++)
			psti_buf_printf(&text, "%s ", cuts[k]);
		assert_string_equal(text.data == NULL ? "" : text.data, cases[i].cuts);
		psti_cuts_free(cuts, n);
		psti_buf_free(&text);
	}
}

static void
uuid_cuts_ascend_within_their_bounds(void **state)
{
	uint64_t seed = 7;

	(void) state;
	for (int i = 0; i < 2000; i++)
	{
		uint8_t bounds[2][16];
		char low[PSTI_TEXT_MAX + 1];
		char high[PSTI_TEXT_MAX + 1];
		const char *before = low;
		char **cuts;
		size_t n;
		pst_error err = PST_ERROR_INIT;

		for (int k = 0; k < 32; k++)
			bounds[k / 16][k % 16] = (uint8_t) test_random(&seed);
		if (memcmp(bounds[0], bounds[1], 16) > 0)
			bounds[1][0] = 0xff, bounds[0][0] = 0;
		low[psti_text_uuid(bounds[0], low)] = '\0';
		high[psti_text_uuid(bounds[1], high)] = '\0';
		assert_ok(psti_cuts_uuid(bounds[0], bounds[1], 1 + (size_t) i % 20, &cuts, &n, &err), &err);
		for (size_t k = 0; k < n; k++)
		{
			assert_true(strcmp(before, cuts[k]) < 0);
			before = cuts[k];
		}
		assert_true(n == 0 || strcmp(before, high) <= 0);
		psti_cuts_free(cuts, n);
	}
}

static void
text_cuts_are_valid_and_lie_between_plain_bounds(void **state)
{
	static const char *const bounds[][2] = {
		{"a", "z"},		  {"text 1", "text 9"}, {"", "zz"},			{"é", "ê"},
		{"same", "same"}, {"k\x01", "k\x7f"},	{"日本1", "日本9"}, {"z", "a"}};

	(void) state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
	{
		char **cuts;
		size_t n;
		pst_error err = PST_ERROR_INIT;

		assert_ok(psti_cuts_text(bounds[i][0], bounds[i][1], 9, &cuts, &n, &err), &err);
		for (size_t k = 0; k < n; k++)
		{
			for (const char *c = cuts[k]; *c != '\0'; c++)
				assert_true((uint8_t) *c >= 0x20 || (uint8_t) *c >= 0x80);
			assert_true(k == 0 || strcmp(cuts[k - 1], cuts[k]) <= 0);
		}
		psti_cuts_free(cuts, n);
	}
}

static void
stride_conditions_quote_what_they_are_given(void **state)
{
	static const struct
	{
		psti_stride stride;
		const char *sql;
	} cases[] = {
		{{NULL, NULL, false, true}, "true"},
		{{NULL, NULL, false, false}, "t.\"c\" IS NOT NULL"},
		{{"1", NULL, false, false}, "(t.\"c\" OPERATOR(pg_catalog.>=) '1'::pg_catalog.int8)"},
		{{NULL, "9", false, true},
		 "(t.\"c\" OPERATOR(pg_catalog.<) '9'::pg_catalog.int8 OR t.\"c\" IS NULL)"},
		{{"1", "9", true, false},
		 "(t.\"c\" OPERATOR(pg_catalog.>=) '1'::pg_catalog.int8 AND t.\"c\" "
		 "OPERATOR(pg_catalog.<=) '9'::pg_catalog.int8)"},
		{{"'; DROP", NULL, false, false},
		 "(t.\"c\" OPERATOR(pg_catalog.>=) '''; DROP'::pg_catalog.int8)"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		psti_buf out = PSTI_BUF_INIT;

		psti_stride_sql(&cases[i].stride, "t.\"c\"", "pg_catalog.int8", &out);
		assert_string_equal(out.data, cases[i].sql);
		psti_buf_free(&out);
	}
}

/* Every member's blocks in order, without gap or overlap, the last range open. */
static void
assert_blocks_covered(const psti_member *members, size_t n, const psti_block_plan *plan,
					  size_t max_groups)
{
	size_t run = 0;

	for (size_t m = 0; m < n; m++)
	{
		int64_t next = 0;

		for (;; run++)
		{
			assert_true(run < plan->nruns);
			assert_int_equal(plan->runs[run].oid, members[m].oid);
			assert_int_equal(plan->runs[run].node, members[m].node);
			assert_int_equal(plan->runs[run].first, next);
			next = plan->runs[run].end;
			if (next < 0)
				break;
			assert_true(next > plan->runs[run].first && next <= members[m].nblocks);
			assert_false(members[m].whole);
		}
		run++;
	}
	assert_int_equal(run, plan->nruns);
	assert_true(plan->ngroups >= 1 && (max_groups == 0 || plan->ngroups <= max_groups));
	assert_int_equal(plan->starts[0], 0);
	assert_int_equal(plan->starts[plan->ngroups], plan->nruns);
	for (size_t g = 0; g < plan->ngroups; g++)
		assert_true(plan->starts[g] < plan->starts[g + 1]);
}

static void
block_plans_cover_every_block_of_every_leaf_once(void **state)
{
	uint64_t seed = 99;

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		psti_member members[12];
		size_t n = 1 + test_random(&seed) % 12;
		size_t max = test_random(&seed) % 3 == 0 ? 0 : 1 + test_random(&seed) % 10;
		psti_block_plan plan;
		pst_error err = PST_ERROR_INIT;

		for (size_t m = 0; m < n; m++)
		{
			members[m].oid = (uint32_t) (100 + m);
			members[m].node = (uint32_t) (200 + m);
			members[m].nblocks =
				(uint32_t) (test_random(&seed) >> (40 + test_random(&seed) % 24)) % 5000;
			members[m].whole = test_random(&seed) % 5 == 0;
		}
		assert_ok(psti_plan_blocks(members, n, 1 + (uint32_t) (test_random(&seed) % 300), max,
								   &plan, &err),
				  &err);
		assert_blocks_covered(members, n, &plan, max);
		psti_block_plan_free(&plan);
	}
}

static void
the_largest_table_is_cut_without_overflow(void **state)
{
	psti_member member = {1, 2, UINT32_MAX - 1, false};
	psti_block_plan plan;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_plan_blocks(&member, 1, 8192, 1000, &plan, &err), &err);
	assert_blocks_covered(&member, 1, &plan, 1000);
	assert_true(plan.ngroups > 900);
	psti_block_plan_free(&plan);
}

/* ---- Splits ---- */

static void
assert_round_trip(const psti_split *split)
{
	char *text;
	char *again;
	psti_split read;
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_split_print(split, &text, &err), &err);
	assert_int_equal(strncmp(text, "pst1:", 5), 0);
	for (const char *c = text; *c != '\0'; c++)
		assert_true((uint8_t) *c >= 0x20);
	assert_ok(psti_split_parse(text, &read, &err), &err);
	assert_ok(psti_split_print(&read, &again, &err), &err);
	assert_string_equal(text, again);
	/* No part of it is a split. */
	for (size_t len = 0; len < strlen(text); len++)
	{
		char *cut = strndup(text, len);
		psti_split wrong;

		assert_fails(psti_split_parse(cut, &wrong, &err), PST_ERR_INVALID, &err);
		free(cut);
	}
	psti_split_free(&read);
	pst_free(text);
	pst_free(again);
}

static void
splits_survive_their_text_and_no_prefix_does(void **state)
{
	psti_blocks blocks[] = {
		{1, 2, 0, 100}, {1, 2, 100, -1}, {4294967295u, 0, 4294967294u, 4294967295}};
	psti_split split = {
		.kind = PSTI_SPLIT_ALL,
		.snapshot = "00000003-0000001B-1",
		.system = "7711222874696988178",
		.started = "2026-11-23 04:43:07.103443+00",
		.database = "da\"ta\nbase",
		.schemas = "{public,\"my schema\"}",
		.options = "b66360375169d5dd",
		.relation = 4294967295u,
	};

	(void) state;
	assert_round_trip(&split);
	split.kind = PSTI_SPLIT_BLOCKS;
	split.blocks = blocks;
	split.nblocks = 3;
	assert_round_trip(&split);
	split.kind = PSTI_SPLIT_STRIDE;
	split.column = "Ä \"x\"";
	split.stride = (psti_stride){NULL, "it's", false, true};
	assert_round_trip(&split);
	split.stride = (psti_stride){"-1", "9", true, false};
	assert_round_trip(&split);
}

static void
damaged_splits_are_refused(void **state)
{
#define COMMON                                                                                     \
	"\"snapshot\":\"s\",\"system\":\"1\",\"started\":\"t\",\"database\":\"d\",\"schemas\":\"{}\"," \
	"\"options\":\"o\""
	static const char *const bad[] = {
		"",
		"pst2:{}",
		"pst1:",
		"pst1:[]",
		"pst1:{}",
		"pst1:{\"kind\":\"all\"}",
		"pst1:{\"kind\":\"other\"," COMMON ",\"relation\":1}",
		"pst1:{\"kind\":\"all\"," COMMON "}",
		"pst1:{\"kind\":\"all\"," COMMON ",\"relation\":-1}",
		"pst1:{\"kind\":\"all\"," COMMON ",\"relation\":4294967296}",
		"pst1:{\"kind\":\"blocks\"," COMMON ",\"relation\":1}",
		"pst1:{\"kind\":\"blocks\"," COMMON ",\"relation\":1,\"blocks\":[]}",
		"pst1:{\"kind\":\"blocks\"," COMMON ",\"relation\":1,\"blocks\":[1]}",
		"pst1:{\"kind\":\"blocks\"," COMMON
		",\"relation\":1,\"blocks\":[{\"oid\":1,\"node\":1,\"first\":5,\"end\":5}]}",
		"pst1:{\"kind\":\"blocks\"," COMMON
		",\"relation\":1,\"blocks\":[{\"oid\":1,\"node\":1,\"first\":4294967296,\"end\":-1}]}",
		"pst1:{\"kind\":\"blocks\"," COMMON
		",\"relation\":1,\"blocks\":[{\"oid\":\"1 OR true\",\"node\":1,\"first\":0,\"end\":-1}]}",
		"pst1:{\"kind\":\"stride\"," COMMON ",\"relation\":1}",
		"pst1:{\"kind\":\"stride\"," COMMON
		",\"relation\":1,\"column\":\"c\",\"lower\":1,\"upper\":null}",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		psti_split split;
		pst_error err = PST_ERROR_INIT;

		assert_fails(psti_split_parse(bad[i], &split, &err), PST_ERR_INVALID, &err);
		assert_contains(err.message, "not a split");
	}
}

/* ---- Allocations ---- */

static pst_status
plan_everything(void *ctx, pst_error *err)
{
	psti_member members[] = {{1, 2, 100, false}, {3, 4, 5, true}};
	const uint8_t low[16] = {0};
	const uint8_t high[16] = {255};
	psti_block_plan plan = {0};
	char **cuts = NULL;
	size_t n = 0;
	psti_stride *strides = NULL;
	psti_split split = {.kind = PSTI_SPLIT_BLOCKS,
						.snapshot = "s",
						.system = "",
						.started = "t",
						.database = "d",
						.schemas = "{}",
						.options = "o",
						.relation = 1};
	psti_split read = {0};
	char *text = NULL;
	pst_status status = psti_plan_blocks(members, 2, 10, 0, &plan, err);

	(void) ctx;
	if (status == PST_OK)
		status = psti_cuts_uuid(low, high, 4, &cuts, &n, err);
	psti_cuts_free(cuts, n);
	cuts = NULL;
	n = 0;
	if (status == PST_OK)
		status = psti_cuts_text("a", "z", 4, &cuts, &n, err);
	psti_cuts_free(cuts, n);
	cuts = NULL;
	n = 0;
	if (status == PST_OK)
		status = psti_cuts_int64(1, 100, 4, psti_text_int64, &cuts, &n, err);
	if (status == PST_OK)
		status = psti_strides_new("1", "100", cuts, n, true, &strides, err);
	split.blocks = plan.runs;
	split.nblocks = plan.nruns;
	if (status == PST_OK)
		status = psti_split_print(&split, &text, err);
	if (status == PST_OK)
		status = psti_split_parse(text, &read, err);
	psti_split_free(&read);
	pst_free(text);
	psti_strides_free(strides, strides == NULL ? 0 : n + 1);
	psti_cuts_free(cuts, n);
	psti_block_plan_free(&plan);
	return status;
}

static void
every_allocation_may_fail(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(plan_everything, NULL) > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_million_plans_cover_every_boundary_row_exactly_once),
		cmocka_unit_test(strides_are_those_of_the_documented_table),
		cmocka_unit_test(uuid_cuts_ascend_within_their_bounds),
		cmocka_unit_test(text_cuts_are_valid_and_lie_between_plain_bounds),
		cmocka_unit_test(stride_conditions_quote_what_they_are_given),
		cmocka_unit_test(block_plans_cover_every_block_of_every_leaf_once),
		cmocka_unit_test(the_largest_table_is_cut_without_overflow),
		cmocka_unit_test(splits_survive_their_text_and_no_prefix_does),
		cmocka_unit_test(damaged_splits_are_refused),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
