/* strides_test.c - cuts cover their domain exactly once, at its extremes too. */
#include "test.h"

#include "strides.h"

#define PLANS 1000000
#define MAX_STRIDES 48
#define SEED UINT64_C(0x5EED0F57DE5)

static void
expect_int64(int64_t lower, int64_t upper, size_t n, size_t want, const stride_int64 *expected)
{
	stride_int64 out[MAX_STRIDES];

	assert_int_equal(strides_int64(lower, upper, n, out), want);
	for (size_t i = 0; i < want; i++)
	{
		assert_true(out[i].lower == expected[i].lower);
		assert_true(out[i].upper == expected[i].upper);
	}
}

static void
int64_strides_are_exact_at_the_extremes(void **state)
{
	(void) state;
	expect_int64(INT64_MIN, INT64_MAX, 1, 1, (stride_int64[]){{INT64_MIN, INT64_MAX}});
	expect_int64(INT64_MIN, INT64_MAX, 2, 2, (stride_int64[]){{INT64_MIN, -1}, {0, INT64_MAX}});
	/* 2^64 = 3 * 6148914691236517205 + 1 */
	expect_int64(INT64_MIN, INT64_MAX, 3, 3,
				 (stride_int64[]){{INT64_MIN, INT64_MIN + 6148914691236517205},
								  {INT64_MIN + 6148914691236517206, 3074457345618258602},
								  {3074457345618258603, INT64_MAX}});
	expect_int64(INT64_MAX, INT64_MAX, 5, 1, (stride_int64[]){{INT64_MAX, INT64_MAX}});
	expect_int64(INT64_MIN, INT64_MIN, 5, 1, (stride_int64[]){{INT64_MIN, INT64_MIN}});
	expect_int64(INT64_MAX - 1, INT64_MAX, 5, 2,
				 (stride_int64[]){{INT64_MAX - 1, INT64_MAX - 1}, {INT64_MAX, INT64_MAX}});
	expect_int64(INT64_MIN, INT64_MAX - 1, 2, 2,
				 (stride_int64[]){{INT64_MIN, -1}, {0, INT64_MAX - 1}});
}

static void
larger_strides_come_first(void **state)
{
	(void) state;
	expect_int64(0, 9, 4, 4, (stride_int64[]){{0, 2}, {3, 5}, {6, 7}, {8, 9}});
	expect_int64(-2, 2, 5, 5, (stride_int64[]){{-2, -2}, {-1, -1}, {0, 0}, {1, 1}, {2, 2}});
	expect_int64(-2, 2, 9, 5, (stride_int64[]){{-2, -2}, {-1, -1}, {0, 0}, {1, 1}, {2, 2}});
}

static void
arguments_out_of_range_give_nothing(void **state)
{
	stride_int64 ints[1];
	stride_uuid uuids[1];
	stride_blocks blocks[1];

	(void) state;
	assert_int_equal(strides_int64(1, 0, 1, ints), 0);
	assert_int_equal(strides_int64(0, 1, 0, ints), 0);
	assert_int_equal(strides_uuid((stride_u128){1, 0}, (stride_u128){0, 9}, 1, uuids), 0);
	assert_int_equal(strides_uuid((stride_u128){1, 9}, (stride_u128){1, 8}, 1, uuids), 0);
	assert_int_equal(strides_uuid((stride_u128){0, 0}, (stride_u128){0, 9}, 0, uuids), 0);
	assert_int_equal(strides_blocks(1, 0, 1, blocks), 0);
	assert_int_equal(strides_blocks(1, 1, 0, blocks), 0);
}

static void
uuid_strides_are_exact_at_the_extremes(void **state)
{
	const stride_u128 min = {0, 0};
	const stride_u128 max = {UINT64_MAX, UINT64_MAX};
	stride_uuid out[4];

	(void) state;
	assert_int_equal(strides_uuid(min, max, 1, out), 1);
	assert_true(out[0].lower.high == 0 && out[0].lower.low == 0);
	assert_true(out[0].upper.high == UINT64_MAX && out[0].upper.low == UINT64_MAX);
	assert_int_equal(strides_uuid(min, max, 4, out), 4);
	for (uint64_t i = 0; i < 4; i++)
	{
		assert_true(out[i].lower.high == i << 62 && out[i].lower.low == 0);
		assert_true(out[i].upper.high == (i << 62 | UINT64_MAX >> 2));
		assert_true(out[i].upper.low == UINT64_MAX);
	}
	assert_int_equal(strides_uuid(max, max, 4, out), 1);
	assert_int_equal(strides_uuid((stride_u128){0, UINT64_MAX}, (stride_u128){1, 0}, 4, out), 2);
	assert_true(out[0].upper.high == 0 && out[0].upper.low == UINT64_MAX);
	assert_true(out[1].lower.high == 1 && out[1].lower.low == 0);
}

static void
blocks_are_about_as_many_as_asked_for(void **state)
{
	stride_blocks out[8];

	(void) state;
	assert_int_equal(strides_blocks(0, 10, 4, out), 1);
	assert_true(out[0].first == 0 && out[0].last == 0);
	assert_int_equal(strides_blocks(21, 10, 8, out), 3);
	assert_true(out[2].first == 14 && out[2].last == 20);
	assert_int_equal(strides_blocks(1000, 10, 8, out), 8);
	assert_true(out[7].last == 999);
	assert_int_equal(strides_blocks(UINT32_MAX, UINT32_MAX, 8, out), 1);
	assert_true(out[0].last == UINT32_MAX - 1);
	assert_int_equal(strides_blocks(UINT32_MAX, 1, 2, out), 2);
	assert_true(out[0].last == UINT32_MAX / 2 && out[1].last == UINT32_MAX - 1);
}

/* A number whose size is random too: small domains and huge ones alike. */
static uint64_t
random_any(uint64_t *seed)
{
	return test_random(seed) >> (test_random(seed) % 64);
}

static size_t
random_n(uint64_t *seed)
{
	return 1 + (size_t) (test_random(seed) % MAX_STRIDES);
}

/* Anywhere, near the ends, or around zero. */
static int64_t
random_int64(uint64_t *seed)
{
	switch (test_random(seed) % 4)
	{
		case 0:
			return (int64_t) test_random(seed);
		case 1:
			return INT64_MAX - (int64_t) (random_any(seed) >> 1);
		case 2:
			return INT64_MIN + (int64_t) (random_any(seed) >> 1);
		default:
			return (int64_t) (test_random(seed) % 101) - 50;
	}
}

/* What is wrong with a plan, or NULL. */
static const char *
judge_int64(int64_t lower, int64_t upper, size_t n)
{
	stride_int64 out[MAX_STRIDES];
	uint64_t span = (uint64_t) upper - (uint64_t) lower;
	size_t count = strides_int64(lower, upper, n, out);
	uint64_t largest = (uint64_t) out[0].upper - (uint64_t) out[0].lower;

	if (count != (span < n ? (size_t) span + 1 : n))
		return "wrong number of strides";
	if (out[0].lower != lower || out[count - 1].upper != upper)
		return "the ends are not the bounds";
	for (size_t i = 0; i < count; i++)
	{
		uint64_t size = (uint64_t) out[i].upper - (uint64_t) out[i].lower;

		if (out[i].lower > out[i].upper)
			return "a stride is empty";
		if (i > 0 && (out[i - 1].upper == INT64_MAX || out[i].lower != out[i - 1].upper + 1))
			return "a gap or an overlap";
		if (size > largest || largest - size > 1)
			return "sizes differ by more than one";
		if (i > 0 && size > (uint64_t) out[i - 1].upper - (uint64_t) out[i - 1].lower)
			return "a larger stride behind a smaller one";
	}
	return NULL;
}

typedef unsigned __int128 wide;

static wide
widen(stride_u128 value)
{
	return (wide) value.high << 64 | value.low;
}

static stride_u128
random_u128(uint64_t *seed)
{
	stride_u128 value = {random_any(seed), test_random(seed)};

	if (test_random(seed) % 4 == 0)
		value.high = 0;
	if (test_random(seed) % 8 == 0)
		value.high = UINT64_MAX;
	if (test_random(seed) % 4 == 0)
		value.low = random_any(seed);
	return value;
}

static const char *
judge_uuid(stride_u128 lower, stride_u128 upper, size_t n)
{
	stride_uuid out[MAX_STRIDES];
	wide span = widen(upper) - widen(lower);
	size_t count = strides_uuid(lower, upper, n, out);
	wide largest = widen(out[0].upper) - widen(out[0].lower);

	if (count != (span < n ? (size_t) span + 1 : n))
		return "wrong number of strides";
	if (widen(out[0].lower) != widen(lower) || widen(out[count - 1].upper) != widen(upper))
		return "the ends are not the bounds";
	for (size_t i = 0; i < count; i++)
	{
		wide size = widen(out[i].upper) - widen(out[i].lower);

		if (widen(out[i].lower) > widen(out[i].upper))
			return "a stride is empty";
		if (i > 0 &&
			(widen(out[i].lower) == 0 || widen(out[i].lower) - 1 != widen(out[i - 1].upper)))
			return "a gap or an overlap";
		if (size > largest || largest - size > 1)
			return "sizes differ by more than one";
	}
	return NULL;
}

static const char *
judge_blocks(uint32_t nblocks, uint32_t per_piece, size_t n)
{
	stride_blocks out[MAX_STRIDES];
	size_t count = strides_blocks(nblocks, per_piece, n, out);

	if (count < 1 || count > n)
		return "wrong number of pieces";
	if (count < n && (uint64_t) count * per_piece < nblocks)
		return "fewer pieces than their size asks for";
	if (out[0].first != 0 || out[count - 1].last != (nblocks == 0 ? 0 : nblocks - 1))
		return "the ends are not those of the table";
	for (size_t i = 0; i < count; i++)
		if (out[i].first > out[i].last || (i > 0 && out[i].first != out[i - 1].last + 1))
			return "a gap, an overlap or an empty piece";
	return NULL;
}

static void
each_of_a_million_plans_covers_its_domain_exactly_once(void **state)
{
	uint64_t seed = SEED;

	(void) state;
	print_message("# seed %#llx\n", (unsigned long long) SEED);
	for (int plan = 0; plan < PLANS; plan++)
	{
		size_t n = random_n(&seed);
		const char *wrong;

		if (plan % 10 < 5)
		{
			int64_t a = random_int64(&seed);
			int64_t b = random_int64(&seed);

			wrong = judge_int64(a < b ? a : b, a < b ? b : a, n);
		}
		else if (plan % 10 < 8)
		{
			stride_u128 a = random_u128(&seed);
			stride_u128 b = random_u128(&seed);
			bool less = widen(a) < widen(b);

			wrong = judge_uuid(less ? a : b, less ? b : a, n);
		}
		else
			wrong = judge_blocks((uint32_t) random_any(&seed),
								 1 + (uint32_t) (random_any(&seed) >> 32), n);
		if (wrong != NULL)
			fail_msg("plan %d: %s", plan, wrong);
	}
}

/* The text of a part of the way, as a string. */
static const char *
text_at(const char *lower, const char *upper, size_t same, size_t i, size_t n)
{
	static char text[64 + STRIDE_TEXT_DIGITS + 1];
	size_t len = stride_text(lower, upper, same, i, n, text);

	assert_true(len <= same + STRIDE_TEXT_DIGITS);
	text[len] = '\0';
	return text;
}

static void
texts_between_two_go_evenly_from_one_to_the_other(void **state)
{
	(void) state;
	assert_string_equal(text_at("a", "c", 0, 1, 2), "b");
	assert_string_equal(text_at("c", "a", 0, 1, 2), "b");
	assert_string_equal(text_at("order-a", "order-c", 6, 1, 2), "order-b");
	assert_string_equal(text_at("", "", 0, 1, 2), "");
	assert_string_equal(text_at("same", "same", 4, 1, 2), "same");
	/* Spaces end no text; what is unprintable counts as the nearest that is. */
	assert_string_equal(text_at("", "!", 0, 1, 1), "!");
	assert_string_equal(text_at("\x01", "\xff", 0, 1, 1), "~");
	/* The widest way in the most parts. */
	assert_string_equal(text_at("", "~~~~~~~~~", 0, SIZE_MAX, SIZE_MAX), "~~~~~~~~~");
	assert_string_equal(text_at("", "~~~~~~~~~", 0, 1, 2), "OOOOOOOOO");
	for (size_t n = 2; n < 70000; n = n * 3 + 1)
	{
		char before[64] = "";

		for (size_t i = 1; i < n; i++)
		{
			const char *text = text_at("k", "r", 0, i, n);

			assert_true(strcmp(text, before) > 0 && strcmp(text, "k") > 0 && strcmp(text, "r") < 0);
			strcpy(before, text);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_between_two_go_evenly_from_one_to_the_other),
		cmocka_unit_test(int64_strides_are_exact_at_the_extremes),
		cmocka_unit_test(larger_strides_come_first),
		cmocka_unit_test(arguments_out_of_range_give_nothing),
		cmocka_unit_test(uuid_strides_are_exact_at_the_extremes),
		cmocka_unit_test(blocks_are_about_as_many_as_asked_for),
		cmocka_unit_test(each_of_a_million_plans_covers_its_domain_exactly_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
