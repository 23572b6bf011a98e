/* pgtext_test.c - output text without a server: the table of powers, floats that must read back. */
#include <float.h>
#include <math.h>

#include "test.h"

#include "pgfloat_pow10.h"
#include "pgtext.h"

#define WORDS 40 /* 1,280 bits */

/* A number of WORDS * 32 bits, least significant word first. */
typedef struct big
{
	uint32_t words[WORDS];
} big;

static void
big_times_ten(big *n)
{
	uint64_t carry = 0;

	for (int i = 0; i < WORDS; i++)
	{
		carry += (uint64_t) n->words[i] * 10;
		n->words[i] = (uint32_t) carry;
		carry >>= 32;
	}
	assert_int_equal(carry, 0);
}

/* Whether there was a remainder. */
static bool
big_by_ten(big *n)
{
	uint64_t rest = 0;

	for (int i = WORDS - 1; i >= 0; i--)
	{
		rest = rest << 32 | n->words[i];
		n->words[i] = (uint32_t) (rest / 10);
		rest %= 10;
	}
	return rest != 0;
}

static bool
big_bit(const big *n, int i)
{
	return i >= 0 && (n->words[i / 32] >> i % 32 & 1) != 0;
}

static int
big_top(const big *n)
{
	int i = WORDS * 32 - 1;

	while (i >= 0 && !big_bit(n, i))
		i--;
	return i;
}

/* The 128 bits from the highest one down, and one more unit if anything was cut off. */
static unsigned __int128
big_rounded_up(const big *n, bool cut)
{
	int top = big_top(n);
	unsigned __int128 value = 0;

	for (int i = top; i > top - 128; i--)
		value = value << 1 | (big_bit(n, i) ? 1 : 0);
	for (int i = top - 128; i >= 0 && !cut; i--)
		cut = big_bit(n, i);
	return value + (cut ? 1 : 0);
}

static void
powers_of_ten_are_right(void **state)
{
	(void) state;
	for (int k = PSTI_POW10_MIN; k <= PSTI_POW10_MAX; k++)
	{
		const uint64_t *entry = psti_pow10[k - PSTI_POW10_MIN];
		unsigned __int128 have = (unsigned __int128) entry[0] << 64 | entry[1];
		big n = {{0}};
		bool cut = false;

		/* 2^1279 / 10^-k keeps far more than 128 bits; 10^k is exact. */
		n.words[k < 0 ? WORDS - 1 : 0] = k < 0 ? UINT32_C(1) << 31 : 1;
		for (int i = 0; i < k; i++)
			big_times_ten(&n);
		for (int i = 0; i > k; i--)
			cut |= big_by_ten(&n);
		if (big_rounded_up(&n, cut) != have)
			fail_msg("the entry of 10^%d is wrong", k);
	}
}

static void
check_float8(double value)
{
	char text[PSTI_TEXT_MAX + 1];
	char longer[64];
	size_t n = psti_text_float8(value, text);
	int digits = 0;

	text[n] = '\0';
	if (strtod(text, NULL) != value)
		fail_msg("%a is printed as %s", value, text);
	/* printf's digits, one less than ours, must not suffice. */
	for (const char *at = text; *at != '\0' && *at != 'e'; at++)
		digits += *at >= '1' && *at <= '9' ? 1 : 0;
	for (int precision = 0; precision < 17; precision++)
	{
		snprintf(longer, sizeof(longer), "%.*e", precision, value);
		if (strtod(longer, NULL) == value)
		{
			/* Ours may be one digit longer: an end of the rounding interval is never printed. */
			if (digits > precision + 2)
				fail_msg("%a is printed as %s, %s is enough", value, text, longer);
			break;
		}
	}
}

static void
floats_read_back_and_are_short(void **state)
{
	uint64_t seed = 5;

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		uint64_t bits = test_random(&seed);
		double value;

		memcpy(&value, &bits, 8);
		if (isfinite(value) && value != 0)
			check_float8(value);
	}
	for (int e = -1074; e <= 1023; e++)
		check_float8(ldexp(1, e));
	check_float8(DBL_MAX);
	check_float8(DBL_MIN);
}

static void
texts_of_known_values(void **state)
{
	static const struct
	{
		double value;
		const char *text;
	} samples[] = {
		{0.0, "0"},
		{-0.0, "-0"},
		{1.0, "1"},
		{0.1, "0.1"},
		{0.0001, "0.0001"},
		{0.00001, "1e-05"},
		{123456789012345.0, "123456789012345"},
		{1e15, "1e+15"},
		{1234567890123456.0, "1.234567890123456e+15"},
		{5e-324, "5e-324"},
		{DBL_MAX, "1.7976931348623157e+308"},
		{9007199254740993.0, "9.007199254740992e+15"},
		{INFINITY, "Infinity"},
		{-INFINITY, "-Infinity"},
	};
	char text[PSTI_TEXT_MAX];

	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
	{
		text[psti_text_float8(samples[i].value, text)] = '\0';
		assert_string_equal(text, samples[i].text);
	}
	text[psti_text_float8(NAN, text)] = '\0';
	assert_string_equal(text, "NaN");
	text[psti_text_float4(1.17549435e-38f, text)] = '\0';
	assert_string_equal(text, "1.1754944e-38");
	text[psti_text_float4(123456.0f, text)] = '\0';
	assert_string_equal(text, "123456");
	text[psti_text_float4(1234567.0f, text)] = '\0';
	assert_string_equal(text, "1.234567e+06");
}

static void
infinite_intervals_depend_on_the_server(void **state)
{
	char text[PSTI_TEXT_MAX];

	(void) state;
	text[psti_text_interval(INT64_MAX, INT32_MAX, INT32_MAX, text)] = '\0';
	assert_string_equal(text, "infinity");
	text[psti_text_interval(INT64_MIN, INT32_MIN, INT32_MIN, text)] = '\0';
	assert_string_equal(text, "-infinity");
	text[psti_text_interval_finite(INT64_MAX, INT32_MAX, INT32_MAX, text)] = '\0';
	assert_string_equal(text, "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(powers_of_ten_are_right),
		cmocka_unit_test(floats_read_back_and_are_short),
		cmocka_unit_test(texts_of_known_values),
		cmocka_unit_test(infinite_intervals_depend_on_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
