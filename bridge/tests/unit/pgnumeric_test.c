/* pgnumeric_test.c - numeric in all its forms, the server's and a liar's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "pgnumeric.h"

/* A binary numeric of these header fields and groups. */
typedef struct sample
{
	int16_t ngroups;
	int16_t weight;
	uint16_t sign;
	uint16_t dscale;
	uint16_t groups[12];
	const char *text; /* NULL: BAD */
} sample;

static const sample samples[] = {
	{0, 0, 0, 0, {0}, "0"},
	{0, 0, 0, 3, {0}, "0.000"},
	{0, 0, 0x4000, 2, {0}, "0.00"},
	{1, 0, 0, 0, {1}, "1"},
	{1, 0, 0x4000, 0, {1}, "-1"},
	{2, 0, 0, 2, {12, 3400}, "12.34"},
	{2, 0, 0, 4, {12, 34}, "12.0034"},
	{1, -1, 0, 4, {1}, "0.0001"},
	{1, -2, 0, 8, {1}, "0.00000001"},
	{1, -2, 0, 5, {9000}, "0.00009"},
	{1, -3, 0, 1, {1}, "0.0"},
	{1, -3, 0x4000, 1, {1}, "0.0"}, /* the digit lies behind dscale: no negative zero */
	{1, 2, 0, 0, {7}, "700000000"},
	{1, 1, 0, 3, {7}, "70000.000"},
	{3, 1, 0, 0, {1234, 5678, 9000}, "12345678"},
	{4, 3, 0, 0, {0, 0, 5, 1}, "50001"}, /* leading zero groups, which no server sends */
	{3, 0, 0, 0, {5, 0, 0}, "5"},
	{0, 0, 0xC000, 0, {0}, "NaN"},
	{0, 0, 0xD000, 0, {0}, "Infinity"},
	{0, 0, 0xF000, 0, {0}, "-Infinity"},
	{0, 0, 0xD000, 32, {0}, "Infinity"},
	{1, 0, 0, 0, {10000}, NULL},
	{1, 0, 0, 0, {0xFFFF}, NULL},
	{0, 0, 0x1000, 0, {0}, NULL},
	{0, 0, 0, 0x4000, {0}, NULL},
	{-1, 0, 0, 0, {0}, NULL},
};

static size_t
put_sample(const sample *s, uint8_t *out)
{
	size_t n = s->ngroups < 0 ? 0 : (size_t) s->ngroups;

	psti_put16(out, (uint16_t) s->ngroups);
	psti_put16(out + 2, (uint16_t) s->weight);
	psti_put16(out + 4, s->sign);
	psti_put16(out + 6, s->dscale);
	for (size_t i = 0; i < n; i++)
		psti_put16(out + 8 + 2 * i, s->groups[i]);
	return 8 + 2 * n;
}

static void
text_of_every_shape(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
	{
		uint8_t data[64];
		size_t nbytes = put_sample(&samples[i], data);
		psti_buf out = PSTI_BUF_INIT;
		psti_numeric_kind kind = psti_numeric_to_text(data, nbytes, &out);

		if (samples[i].text == NULL)
		{
			assert_int_equal(kind, PSTI_NUMERIC_BAD);
			assert_int_equal(out.len, 0);
		}
		else
			assert_string_equal(out.data, samples[i].text);
		psti_buf_free(&out);
	}
}

static void
every_truncation_is_bad(void **state)
{
	uint8_t data[64];
	size_t nbytes = put_sample(&samples[5], data);
	uint8_t decimal[16];

	(void) state;
	for (size_t n = 0; n <= nbytes + 1; n++)
	{
		psti_buf out = PSTI_BUF_INIT;
		uint8_t *exact = malloc(n + 1);

		assert_non_null(exact);
		memcpy(exact, data, n);
		if (n != nbytes)
		{
			assert_int_equal(psti_numeric_to_text(exact, n, &out), PSTI_NUMERIC_BAD);
			assert_int_equal(psti_numeric_to_decimal(exact, n, 38, 2, decimal), PSTI_NUMERIC_BAD);
		}
		psti_buf_free(&out);
		free(exact);
	}
}

static void
extreme_weights_and_scales_have_text(void **state)
{
	const sample high = {1, INT16_MAX, 0, 16383, {9999}, NULL};
	const sample low = {1, INT16_MIN, 0x4000, 16383, {9999}, NULL};
	uint8_t data[64];
	psti_buf out = PSTI_BUF_INIT;

	(void) state;
	assert_int_equal(psti_numeric_to_text(data, put_sample(&high, data), &out),
					 PSTI_NUMERIC_FINITE);
	assert_int_equal(out.len, 32768 * 4 + 1 + 16383);
	psti_buf_reset(&out);
	assert_int_equal(psti_numeric_to_text(data, put_sample(&low, data), &out), PSTI_NUMERIC_FINITE);
	assert_int_equal(out.len, 2 + 16383);
	assert_int_equal(out.data[0], '0');
	psti_buf_free(&out);
}

/* A text to the binary form, by the simplest means. */
static size_t
numeric_of(const char *text, uint8_t *out)
{
	char digits[400];
	size_t whole = 0;
	size_t scale = 0;
	size_t n = 0;
	bool negative = text[0] == '-';
	size_t ngroups;

	text += negative ? 1 : 0;
	whole = strcspn(text, ".");
	while ((whole + n) % 4 != 0)
		digits[n++] = '0';
	ngroups = (whole + n) / 4;
	memcpy(digits + n, text, whole);
	n += whole;
	psti_put16(out + 2, (uint16_t) (ngroups - 1));
	if (text[whole] == '.')
	{
		scale = strlen(text + whole + 1);
		memcpy(digits + n, text + whole + 1, scale);
		n += scale;
	}
	while (n % 4 != 0)
		digits[n++] = '0';
	digits[n] = '\0';
	psti_put16(out, (uint16_t) (n / 4));
	psti_put16(out + 4, negative ? 0x4000 : 0);
	psti_put16(out + 6, (uint16_t) scale);
	for (size_t i = 0; i < n / 4; i++)
	{
		char group[5] = {0};

		memcpy(group, digits + 4 * i, 4);
		psti_put16(out + 8 + 2 * i, (uint16_t) atoi(group));
	}
	return 8 + n / 2;
}

typedef struct fit
{
	const char *value;
	int precision;
	int scale;
	const char *text; /* NULL: TOO_LARGE */
} fit;

static const fit fits[] = {
	{"0", 1, 0, "0"},
	{"0.000", 38, 38, "0.00000000000000000000000000000000000000"},
	{"12.34", 4, 2, "12.34"},
	{"-12.34", 4, 2, "-12.34"},
	{"12.34", 3, 2, NULL},
	{"12.34", 38, 1, NULL}, /* would lose a digit */
	{"12.30", 38, 1, "12.3"},
	{"12.3000", 38, 1, "12.3"},
	{"12.34", 38, 3, "12.340"},
	{"12.34567", 38, 5, "12.34567"},
	{"12.34567", 38, 4, NULL},
	{"1200", 2, -2, "1200"},
	{"1250", 38, -2, NULL},
	{"1200", 38, -1, "1200"},
	{"0", 5, -2, "0"},
	{"99999999999999999999999999999999999999", 38, 0, "99999999999999999999999999999999999999"},
	{"-99999999999999999999999999999999999999", 38, 0, "-99999999999999999999999999999999999999"},
	{"100000000000000000000000000000000000000", 38, 0, NULL},
	{"170141183460469231731687303715884105728", 38, 0, NULL},
	{"340282366920938463463374607431768211456", 38, 0, NULL},
	{"9999999999999999999999999999999999999.9", 38, 1, "9999999999999999999999999999999999999.9"},
	{"0.99999999999999999999999999999999999999", 38, 38,
	 "0.99999999999999999999999999999999999999"},
	{"1.00000000000000000000000000000000000000", 38, 38, NULL},
	{"1000000000000000000000000000000000000000000000000", 38, -30,
	 "1000000000000000000000000000000000000000000000000"},
	{"0.00000000000000000000000000000000000000000000000001", 38, 50,
	 "0.00000000000000000000000000000000000000000000000001"},
	{"5", 0, 0, NULL},
	{"12345", 77, 0, "12345"},
};

static void
decimals_fit_or_are_refused(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++)
	{
		uint8_t data[256];
		uint8_t decimal[16];
		size_t nbytes = numeric_of(fits[i].value, data);
		psti_numeric_kind kind =
			psti_numeric_to_decimal(data, nbytes, fits[i].precision, fits[i].scale, decimal);
		psti_buf out = PSTI_BUF_INIT;

		if (fits[i].text == NULL)
		{
			assert_int_equal(kind, PSTI_NUMERIC_TOO_LARGE);
			continue;
		}
		assert_int_equal(kind, PSTI_NUMERIC_FINITE);
		psti_decimal_to_text(decimal, fits[i].scale, &out);
		assert_string_equal(out.data, fits[i].text);
		/* And back: the binary form of the decimal has the same text and decimal. */
		nbytes = psti_decimal_to_numeric(decimal, fits[i].scale, data);
		psti_buf_reset(&out);
		assert_int_equal(psti_numeric_to_text(data, nbytes, &out), PSTI_NUMERIC_FINITE);
		assert_string_equal(out.data, fits[i].text);
		psti_buf_free(&out);
	}
}

static uint64_t
random64(void)
{
	static uint64_t state = 1;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* As the server writes it: no group of zeros at either end, and zero without weight. */
static void
assert_canonical(const uint8_t *numeric, size_t nbytes)
{
	int ngroups = psti_get16(numeric);

	assert_int_equal(nbytes, 8 + 2 * ngroups);
	if (ngroups == 0)
	{
		assert_int_equal(psti_get16(numeric + 2), 0);
		return;
	}
	assert_int_not_equal(psti_get16(numeric + 8), 0);
	assert_int_not_equal(psti_get16(numeric + nbytes - 2), 0);
}

/* decimal128 -> numeric -> decimal128 is the identity, for every length of number and scale. */
static void
decimal_round_trip(void **state)
{
	(void) state;
	for (int i = 0; i < 200000; i++)
	{
		unsigned __int128 value = (unsigned __int128) random64() << 64 | random64();
		uint8_t decimal[16];
		uint8_t numeric[PSTI_DECIMAL_BYTES];
		uint8_t back[16];
		int scale = (int) (random64() % 80) - 20;
		size_t nbytes;

		value >>= 2 + random64() % 126; /* below 2^126 < 10^38 */
		if (random64() & 1)
			value -= value % 100000000; /* zeros at the end */
		if (random64() & 1)
			value = -value;
		memcpy(decimal, &value, 16);
		nbytes = psti_decimal_to_numeric(decimal, scale, numeric);
		assert_canonical(numeric, nbytes);
		assert_int_equal(psti_numeric_to_decimal(numeric, nbytes, 38, scale, back),
						 PSTI_NUMERIC_FINITE);
		assert_memory_equal(decimal, back, 16);
	}
}

/* The most negative decimal128 has no positive twin, but a text. */
static void
least_decimal_has_text(void **state)
{
	uint8_t decimal[16] = {[15] = 0x80};
	psti_buf out = PSTI_BUF_INIT;

	(void) state;
	psti_decimal_to_text(decimal, 0, &out);
	assert_string_equal(out.data, "-170141183460469231731687303715884105728");
	psti_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_every_shape),
		cmocka_unit_test(every_truncation_is_bad),
		cmocka_unit_test(extreme_weights_and_scales_have_text),
		cmocka_unit_test(decimals_fit_or_are_refused),
		cmocka_unit_test(decimal_round_trip),
		cmocka_unit_test(least_decimal_has_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
