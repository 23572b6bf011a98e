/* visible_test.c - snapshots by their texts: what they see, and which sees more. */
#include "test.h"

#include "alloc.h"
#include "cdc/visible.h"

static void
parse(const char *text, psti_snapshot *out)
{
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_snapshot_parse(text, out, &err), &err);
}

static void
a_snapshot_sees_what_had_ended(void **state)
{
	psti_snapshot s;

	(void) state;
	parse("10:20:12,15,19", &s);
	for (uint64_t xid = 1; xid < 30; xid++)
		assert_int_equal(psti_snapshot_sees(&s, xid),
						 xid < 20 && xid != 12 && xid != 15 && xid != 19);
	assert_false(psti_snapshot_sees(&s, UINT64_MAX));
	psti_snapshot_free(&s);
	parse("725:725:", &s);
	assert_true(psti_snapshot_sees(&s, 724));
	assert_false(psti_snapshot_sees(&s, 725));
	psti_snapshot_free(&s);
}

/* As a slot exports it when 731 and 732 have aborted while it was made. */
static void
what_lies_before_xmin_has_ended(void **state)
{
	psti_buf out = PSTI_BUF_INIT;
	psti_snapshot s;

	(void) state;
	parse("733:731:", &s);
	assert_true(psti_snapshot_sees(&s, 732));
	assert_false(psti_snapshot_sees(&s, 733));
	psti_snapshot_print(&s, &out);
	assert_string_equal(out.data, "733:733:");
	psti_buf_free(&out);
	psti_snapshot_free(&s);
}

/* Of xids with their epoch: 2^32 and 1 are not the same. */
static void
xids_have_64_bits(void **state)
{
	psti_snapshot s;

	(void) state;
	parse("4294967300:4294967310:4294967305", &s);
	assert_true(psti_snapshot_sees(&s, 9));
	assert_true(psti_snapshot_sees(&s, 4294967299));
	assert_false(psti_snapshot_sees(&s, 4294967305));
	psti_snapshot_free(&s);
	assert_true(psti_xid_widen(5, 10) == 5);
	assert_true(psti_xid_widen(12, 10) == 12);
	assert_true(psti_xid_widen(3, UINT64_C(0x100000000)) == UINT64_C(0x100000003));
	assert_true(psti_xid_widen(0xfffffff0, UINT64_C(0x100000003)) == 0xfffffff0);
	assert_true(psti_xid_widen(7, UINT64_C(0x3fffffff0)) == UINT64_C(0x400000007));
}

static void
a_text_comes_back_as_it_was(void **state)
{
	static const char *const texts[] = {"1:1:", "725:728:725", "3:9:3,4,8",
										"18446744073709551614:18446744073709551615:"};
	psti_snapshot s;

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		psti_buf out = PSTI_BUF_INIT;

		parse(texts[i], &s);
		psti_snapshot_print(&s, &out);
		assert_string_equal(out.data, texts[i]);
		psti_buf_free(&out);
		psti_snapshot_free(&s);
	}
}

static void
what_is_no_snapshot_is_refused(void **state)
{
	static const char *const texts[] = {"",		   "1",		  "1:2",	 "a:2:",
										"2:1:1",   "0:1:",	  "1:9:9",	 "3:9:2",
										"1:9:4,4", "1:9:5,4", "1:9:4,",	 "1:9:,4",
										"1:9:4 ",  "1:9:4x",  " 1:9:",	 "1:9:-4",
										"1::9:",   "+1:9:",	  "1:9:4;5", "1:18446744073709551616:"};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		psti_snapshot s;

		assert_fails(psti_snapshot_parse(texts[i], &s, &err), PST_ERR_INVALID, &err);
		assert_null(s.xip);
	}
}

/* By the definition: all that the earlier one sees, xid by xid. */
static void
covering_is_seeing_all_of_it(void **state)
{
	static const char *const texts[] = {
		"5:5:",	 "4:6:4", "4:6:5", "4:7:5",	 "4:7:4,5", "3:9:4,8", "3:9:3,8",
		"6:9:8", "5:9:5", "9:9:",  "8:10:8", "4:9:4",	"4:9:4,6"};
	const size_t n = sizeof(texts) / sizeof(texts[0]);

	(void) state;
	for (size_t i = 0; i < n * n; i++)
	{
		bool covers = true;
		psti_snapshot now;
		psti_snapshot earlier;

		parse(texts[i / n], &now);
		parse(texts[i % n], &earlier);
		for (uint64_t xid = 1; xid < 20; xid++)
			covers =
				covers && (!psti_snapshot_sees(&earlier, xid) || psti_snapshot_sees(&now, xid));
		/* xmax may be above the greatest xid that was ever given out: that costs a wait, no more. */
		assert_true(covers || !psti_snapshot_covers(&now, &earlier));
		if (now.xmax >= earlier.xmax)
			assert_int_equal(psti_snapshot_covers(&now, &earlier), covers);
		psti_snapshot_free(&now);
		psti_snapshot_free(&earlier);
	}
}

static pst_status
parse_for_sweep(void *ctx, pst_error *err)
{
	psti_snapshot s;
	pst_status status = psti_snapshot_parse("1:9:2,3", &s, err);

	(void) ctx;
	psti_snapshot_free(&s);
	return status;
}

static void
memory_that_is_refused_is_an_error(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(parse_for_sweep, NULL) >= 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_sees_what_had_ended),
		cmocka_unit_test(what_lies_before_xmin_has_ended),
		cmocka_unit_test(xids_have_64_bits),
		cmocka_unit_test(a_text_comes_back_as_it_was),
		cmocka_unit_test(what_is_no_snapshot_is_refused),
		cmocka_unit_test(covering_is_seeing_all_of_it),
		cmocka_unit_test(memory_that_is_refused_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
