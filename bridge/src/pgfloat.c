/*
 * pgfloat.c - the shortest decimal digits that identify a float, laid out as PostgreSQL 12 and newer
 * print them.
 *
 * A finite v = c * 2^q is the only float inside its rounding interval, whose ends lie halfway to its
 * neighbours. Of all decimals strictly inside that interval (the server never prints an end, which
 * only a reader with exact ties-to-even would map back) the ones with the fewest digits are taken,
 * and of those the closest to v, an even last digit on a tie.
 *
 * With k = floor(log10(width of the interval)) at least one multiple of 10^k lies inside and at most
 * one of 10^(k+1), so four candidates are enough. v and both ends, in units of 10^k / 4, are computed
 * by one multiplication with a 128-bit power of ten, rounded to odd: the lowest bit says "not exact",
 * so that comparing with an even number is exact. That 128 bits suffice for every float8, and hence
 * for every float4, was proved by R. Giulietti (The Schubfach way to render doubles, 2020).
 */
#include "pgtext.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgfloat_pow10.h"

typedef unsigned __int128 u128;

/* digits * 10^exponent */
typedef struct decimal
{
	uint64_t digits;
	int exponent;
} decimal;

/* floor(log10(2^q)), or of 3/4 * 2^q: exact for the exponents of float8. */
static int
log10_pow2(int q, bool three_quarters)
{
	return (q * 1262611 - (three_quarters ? 524031 : 0)) >> 22;
}

/* floor(log2(10^k)), exact for the table's range. */
static int
log2_pow10(int k)
{
	return (k * 1741647) >> 19;
}

/* The product's high word over 2^128, lowest bit set when anything was cut off. */
static uint64_t
scale_to_odd(const uint64_t power[2], uint64_t value)
{
	u128 low = (u128) power[1] * value;
	u128 high = (u128) power[0] * value + (uint64_t) (low >> 64);

	/* The power was rounded up by less than one unit: a remainder of 1 is an exact product. */
	return (uint64_t) (high >> 64) | ((uint64_t) high > 1);
}

static decimal
shortest(uint64_t c, int q, bool lower_is_closer)
{
	int k = log10_pow2(q, lower_is_closer);
	int shift = q + log2_pow10(-k) + 1;
	const uint64_t *power = psti_pow10[-k - PSTI_POW10_MIN];
	uint64_t lower = scale_to_odd(power, (4 * c - (lower_is_closer ? 1 : 2)) << shift);
	uint64_t value = scale_to_odd(power, (4 * c) << shift);
	uint64_t upper = scale_to_odd(power, (4 * c + 2) << shift);
	uint64_t unit = value / 4;
	uint64_t ten = unit / 10;
	bool below = lower < 40 * ten;
	bool above = 40 * ten + 40 < upper;

	if (below || above)
		return (decimal){ten + (below ? 0 : 1), k + 1};
	below = lower < 4 * unit;
	above = 4 * unit + 4 < upper;
	if (below && above)
	{
		uint64_t middle = 4 * unit + 2;

		above = value > middle || (value == middle && (unit & 1) != 0);
	}
	return (decimal){unit + (above ? 1 : 0), k};
}

static decimal
float8_decimal(uint64_t bits)
{
	uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
	int exponent = (int) ((bits >> 52) & 0x7ff);

	if (exponent == 0)
		return shortest(fraction, -1074, false);
	return shortest(fraction | UINT64_C(1) << 52, exponent - 1075, fraction == 0 && exponent > 1);
}

static decimal
float4_decimal(uint32_t bits)
{
	uint32_t fraction = bits & ((UINT32_C(1) << 23) - 1);
	int exponent = (int) ((bits >> 23) & 0xff);

	if (exponent == 0)
		return shortest(fraction, -149, false);
	return shortest(fraction | UINT32_C(1) << 23, exponent - 150, fraction == 0 && exponent > 1);
}

static size_t
write_exponent(int exponent, char *out)
{
	size_t n = 0;
	int magnitude = exponent < 0 ? -exponent : exponent;

	out[n++] = 'e';
	out[n++] = exponent < 0 ? '-' : '+';
	if (magnitude >= 100)
		out[n++] = (char) ('0' + magnitude / 100);
	out[n++] = (char) ('0' + magnitude / 10 % 10);
	out[n++] = (char) ('0' + magnitude % 10);
	return n;
}

/* Digits with the point after the first `whole` of them, which may be none, or more than there are. */
static size_t
write_fixed(const char *digits, int ndigits, int whole, char *out)
{
	size_t n = 0;

	if (whole <= 0)
	{
		memcpy(out, "0.", 2);
		memset(out + 2, '0', (size_t) -whole);
		n = 2 + (size_t) -whole;
		memcpy(out + n, digits, (size_t) ndigits);
		return n + (size_t) ndigits;
	}
	if (whole >= ndigits)
	{
		memcpy(out, digits, (size_t) ndigits);
		memset(out + ndigits, '0', (size_t) (whole - ndigits));
		return (size_t) whole;
	}
	memcpy(out, digits, (size_t) whole);
	out[whole] = '.';
	memcpy(out + whole + 1, digits + whole, (size_t) (ndigits - whole));
	return (size_t) ndigits + 1;
}

/* As printf's %g chooses: fixed from 10^-4 up to, not including, 10^limit. */
static size_t
write_decimal(decimal value, int limit, char *out)
{
	char digits[PSTI_TEXT_MAX];
	int ndigits;
	int exponent;
	size_t n = 0;

	while (value.digits % 10 == 0)
	{
		value.digits /= 10;
		value.exponent++;
	}
	ndigits = (int) psti_text_int64((int64_t) value.digits, digits);
	exponent = value.exponent + ndigits - 1;
	if (exponent >= -4 && exponent < limit)
		return write_fixed(digits, ndigits, exponent + 1, out);
	out[n++] = digits[0];
	if (ndigits > 1)
	{
		out[n++] = '.';
		memcpy(out + n, digits + 1, (size_t) ndigits - 1);
		n += (size_t) ndigits - 1;
	}
	return n + write_exponent(exponent, out + n);
}

static size_t
write_special(bool nan, bool negative, char *out)
{
	const char *text = nan ? "NaN" : negative ? "-Infinity" : "Infinity";
	size_t n = strlen(text);

	memcpy(out, text, n);
	return n;
}

size_t
psti_text_float8(double value, char *out)
{
	uint64_t bits;
	uint64_t magnitude;
	size_t sign = 0;

	memcpy(&bits, &value, sizeof(bits));
	magnitude = bits & ~(UINT64_C(1) << 63);
	if (magnitude >= UINT64_C(0x7ff) << 52)
		return write_special(magnitude > UINT64_C(0x7ff) << 52, bits != magnitude, out);
	if (bits != magnitude)
		out[sign++] = '-';
	if (magnitude == 0)
	{
		out[sign] = '0';
		return sign + 1;
	}
	return sign + write_decimal(float8_decimal(magnitude), 15, out + sign);
}

size_t
psti_text_float4(float value, char *out)
{
	uint32_t bits;
	uint32_t magnitude;
	size_t sign = 0;

	memcpy(&bits, &value, sizeof(bits));
	magnitude = bits & ~(UINT32_C(1) << 31);
	if (magnitude >= UINT32_C(0xff) << 23)
		return write_special(magnitude > UINT32_C(0xff) << 23, bits != magnitude, out);
	if (bits != magnitude)
		out[sign++] = '-';
	if (magnitude == 0)
	{
		out[sign] = '0';
		return sign + 1;
	}
	return sign + write_decimal(float4_decimal(magnitude), 6, out + sign);
}

/* ---- And back ---- */

/* A binary format: bits of the mantissa with the leading one, and the greatest exponent. */
typedef struct float_format
{
	int bits;
	int greatest;
} float_format;

static const float_format float4_format = {24, 127};
static const float_format float8_format = {53, 1023};

#define DIGITS_MAX 19 /* that 64 bits hold */

/*
 * The digits of -12.5e-7 without sign, point and exponent: 125, times 10^-8. False for what the output
 * functions do not write.
 */
static bool
read_decimal(const char *text, size_t nbytes, decimal *out)
{
	const char *end = text + nbytes;
	int ndigits = 0;
	bool point = false;
	bool any = false;
	int exponent = 0;

	*out = (decimal){0, 0};
	for (; text < end && (*text == '.' || (*text >= '0' && *text <= '9')); text++)
	{
		if (*text == '.')
		{
			if (point || !any)
				return false;
			point = true;
			continue;
		}
		any = true;
		if (ndigits > 0 || *text != '0')
			ndigits++;
		if (ndigits > DIGITS_MAX)
			return false;
		out->digits = out->digits * 10 + (uint64_t) (*text - '0');
		out->exponent -= point ? 1 : 0;
	}
	if (!any || text[-1] == '.')
		return false;
	if (text < end && *text == 'e')
	{
		bool negative = ++text < end && *text == '-';

		if (text < end && (*text == '-' || *text == '+'))
			text++;
		if (text == end || end - text > 3)
			return false;
		for (; text < end; text++)
		{
			if (*text < '0' || *text > '9')
				return false;
			exponent = exponent * 10 + (*text - '0');
		}
		out->exponent += negative ? -exponent : exponent;
	}
	return text == end;
}

/*
 * The bits of the float nearest to digits * 10^exponent; false: 128 bits of the power do not tell which one
 * that is, or it is no normal number.
 *
 * The table's power is too large by less than one unit, the digits are below 2^64: with the low 64 bits of
 * the product cut off, the true one lies less than one above and one below it.
 */
static bool
nearest(decimal value, const float_format *format, uint64_t *bits)
{
	int lead = __builtin_clzll(value.digits);
	uint64_t digits = value.digits << lead;
	const uint64_t *power;
	u128 high;
	u128 half;
	u128 rest;
	int cut;
	int top; /* exponent of the leading one */

	if (value.exponent < PSTI_POW10_MIN || value.exponent > PSTI_POW10_MAX)
		return false;
	power = psti_pow10[value.exponent - PSTI_POW10_MIN];
	high = (u128) power[0] * digits + (uint64_t) (((u128) power[1] * digits) >> 64);
	top = (uint64_t) (high >> 64) >> 63 ? 127 : 126;
	cut = top - (format->bits - 1);
	half = (u128) 1 << (cut - 1);
	rest = high & ((half << 1) - 1);
	if (rest >= half - 2 && rest <= half + 2)
		return false;
	/* high is digits * 10^exponent * 2^(lead + 127 - f - 64), 2^f the power of two below 10^exponent. */
	top += log2_pow10(value.exponent) - 63 - lead;
	if (top <= -format->greatest || top >= format->greatest)
		return false;
	/* The leading one, which is not stored, and what rounding up may carry go into the exponent. */
	*bits = ((uint64_t) (top + format->greatest - 1) << (format->bits - 1)) +
			(uint64_t) (high >> cut) + (rest > half ? 1 : 0);
	return true;
}

/* With the digits before an exponent there is no point, which strtod would take from the locale. */
static const char *
without_point(decimal value, char *out, size_t size)
{
	snprintf(out, size, "%llue%d", (unsigned long long) value.digits, value.exponent);
	return out;
}

/* NaN and the infinities; *negative and where the digits begin otherwise. */
static bool
read_special(const char **text, size_t *nbytes, bool *negative, double *out)
{
	if (*nbytes == 3 && memcmp(*text, "NaN", 3) == 0)
	{
		*out = (double) NAN;
		return true;
	}
	*negative = *nbytes > 0 && **text == '-';
	*text += *negative ? 1 : 0;
	*nbytes -= *negative ? 1 : 0;
	if (*nbytes != 8 || memcmp(*text, "Infinity", 8) != 0)
		return false;
	*out = *negative ? -(double) INFINITY : (double) INFINITY;
	return true;
}

bool
psti_float8_of_text(const char *text, size_t nbytes, double *out)
{
	/* That a double holds exactly. */
	static const double powers[] = {1e0,  1e1,	1e2,  1e3,	1e4,  1e5,	1e6,  1e7,
									1e8,  1e9,	1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
									1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	bool negative;
	decimal value;
	uint64_t bits;
	char number[PSTI_TEXT_MAX];

	if (read_special(&text, &nbytes, &negative, out))
		return true;
	if (!read_decimal(text, nbytes, &value))
		return false;
	if (value.digits == 0)
		*out = 0;
	else if (value.digits <= UINT64_C(1) << 53 && value.exponent >= -22 && value.exponent <= 22)
		/* Two exact numbers: one operation rounds once. */
		*out = value.exponent < 0 ? (double) value.digits / powers[-value.exponent]
								  : (double) value.digits * powers[value.exponent];
	else if (nearest(value, &float8_format, &bits))
		memcpy(out, &bits, sizeof(*out));
	else
		*out = strtod(without_point(value, number, sizeof(number)), NULL);
	if (isinf(*out))
		return false;
	*out = negative ? -*out : *out;
	return true;
}

bool
psti_float4_of_text(const char *text, size_t nbytes, float *out)
{
	bool negative;
	decimal value;
	uint64_t bits;
	uint32_t bits4;
	char number[PSTI_TEXT_MAX];
	double special;

	if (read_special(&text, &nbytes, &negative, &special))
	{
		*out = (float) special;
		return true;
	}
	if (!read_decimal(text, nbytes, &value))
		return false;
	if (value.digits == 0)
		*out = 0;
	else if (nearest(value, &float4_format, &bits))
	{
		bits4 = (uint32_t) bits;
		memcpy(out, &bits4, sizeof(*out));
	}
	else
		*out = strtof(without_point(value, number, sizeof(number)), NULL);
	if (isinf(*out))
		return false;
	*out = negative ? -*out : *out;
	return true;
}
