/* pgnumeric.c - numeric between binary form, decimal128 and text. See pgnumeric.h for the forms. */
#include "pgnumeric.h"

#include <string.h>

#include "bytes.h"
#include "decimal.h"

typedef unsigned __int128 u128;

#define HEADER_BYTES 8
#define SIGN_MINUS 0x4000
#define SIGN_NAN 0xC000
#define SIGN_PINF 0xD000
#define SIGN_NINF 0xF000
#define DSCALE_MAX 0x3FFF
/* So many digits behind the point fill whole groups in 64 bits. */
#define SMALL_SCALE_MAX 16
/* Base-10000 digits of 39 decimal ones, wherever the point lies. */
#define MAX_GROUPS ((PSTI_DECIMAL_BYTES - HEADER_BYTES) / 2)

/* A binary numeric taken apart: the value is the sum of groups[i] * 10000^(weight - i). */
typedef struct numeric
{
	psti_numeric_kind kind;
	bool negative;
	int weight;
	int dscale;
	int ngroups;
	const uint8_t *groups; /* borrowed, big-endian int16 each; all below 10000 */
} numeric;

static int
group_at(const numeric *num, int i)
{
	return i >= 0 && i < num->ngroups ? psti_get16(num->groups + 2 * (size_t) i) : 0;
}

static psti_numeric_kind
kind_of_sign(unsigned sign)
{
	switch (sign)
	{
		case 0:
		case SIGN_MINUS:
			return PSTI_NUMERIC_FINITE;
		case SIGN_NAN:
			return PSTI_NUMERIC_NAN;
		case SIGN_PINF:
			return PSTI_NUMERIC_PINF;
		case SIGN_NINF:
			return PSTI_NUMERIC_NINF;
		default:
			return PSTI_NUMERIC_BAD;
	}
}

/* Groups of zero at both ends say nothing; a server leaves them out, others may not. */
static void
strip_zero_groups(numeric *num)
{
	while (num->ngroups > 0 && group_at(num, 0) == 0)
	{
		num->groups += 2;
		num->ngroups--;
		num->weight--;
	}
	while (num->ngroups > 0 && group_at(num, num->ngroups - 1) == 0)
		num->ngroups--;
}

static numeric
parse(const uint8_t *data, size_t nbytes)
{
	numeric num = {.kind = PSTI_NUMERIC_BAD};
	unsigned sign;

	if (nbytes < HEADER_BYTES)
		return num;
	num.ngroups = psti_get16(data);
	num.weight = (int16_t) psti_get16(data + 2);
	sign = psti_get16(data + 4);
	num.dscale = psti_get16(data + 6);
	num.groups = data + HEADER_BYTES;
	if (nbytes != HEADER_BYTES + 2 * (size_t) num.ngroups || num.dscale > DSCALE_MAX)
		return num;
	for (int i = 0; i < num.ngroups; i++)
		if (group_at(&num, i) > 9999)
			return num;
	num.kind = kind_of_sign(sign);
	num.negative = sign == SIGN_MINUS;
	strip_zero_groups(&num);
	return num;
}

static const int small_powers[] = {1, 10, 100, 1000, 10000};

/* |value| * 10^scale; false: it does not fit. */
static bool
scaled(const numeric *num, int precision, int scale, u128 *out)
{
	uint16_t groups[DECIMAL_GROUPS];

	for (int i = 0; i < num->ngroups && i < DECIMAL_GROUPS; i++)
		groups[i] = psti_get16(num->groups + 2 * (size_t) i);
	return decimal_scale(groups, num->ngroups, num->weight, precision, scale, out);
}

psti_numeric_kind
psti_numeric_to_decimal(const uint8_t *data, size_t nbytes, int precision, int scale,
						uint8_t out[16])
{
	numeric num = parse(data, nbytes);
	u128 value;

	memset(out, 0, 16);
	if (num.kind != PSTI_NUMERIC_FINITE)
		return num.kind;
	if (precision < 1)
		return PSTI_NUMERIC_TOO_LARGE;
	if (!scaled(&num, precision > DECIMAL_DIGITS ? DECIMAL_DIGITS : precision, scale, &value))
		return PSTI_NUMERIC_TOO_LARGE;
	decimal_store(value, num.negative, out);
	return PSTI_NUMERIC_FINITE;
}

static char *
put_group(int group, char *out)
{
	out[0] = (char) ('0' + group / 1000);
	out[1] = (char) ('0' + group / 100 % 10);
	out[2] = (char) ('0' + group / 10 % 10);
	out[3] = (char) ('0' + group % 10);
	return out + 4;
}

/* The digits before the point; zero has one. */
static char *
put_whole(const numeric *num, char *out)
{
	char *start = out;
	size_t zeros = 0;

	if (num->weight < 0 || num->ngroups == 0)
	{
		*out = '0';
		return out + 1;
	}
	for (int i = 0; i <= num->weight; i++)
		out = put_group(group_at(num, i), out);
	while (start[zeros] == '0')
		zeros++;
	memmove(start, start + zeros, (size_t) (out - start) - zeros);
	return out - zeros;
}

/* The point and dscale digits, cut as numeric_recv cuts what lies behind them. */
static char *
put_fraction(const numeric *num, char *out)
{
	char *end;

	if (num->dscale == 0)
		return out;
	*out++ = '.';
	end = out + num->dscale;
	for (int i = num->weight + 1; i < num->weight + 1 + (num->dscale + 3) / 4; i++)
		out = put_group(group_at(num, i), out);
	return end;
}

static bool
has_digit_above_zero(const char *from, const char *end)
{
	for (; from < end; from++)
		if (*from >= '1' && *from <= '9')
			return true;
	return false;
}

psti_numeric_kind
psti_numeric_to_text(const uint8_t *data, size_t nbytes, psti_buf *out)
{
	static const char *const special[] = {
		[PSTI_NUMERIC_NAN] = "NaN",
		[PSTI_NUMERIC_PINF] = "Infinity",
		[PSTI_NUMERIC_NINF] = "-Infinity",
	};
	numeric num = parse(data, nbytes);
	char *start;
	char *end;

	if (num.kind == PSTI_NUMERIC_BAD)
		return num.kind;
	if (num.kind != PSTI_NUMERIC_FINITE)
	{
		psti_buf_puts(out, special[num.kind]);
		return num.kind;
	}
	/* Sign, whole groups, point, fraction rounded up to whole groups. */
	start = psti_buf_reserve(out, 8 + (num.weight > 0 ? 4 * (size_t) num.weight : 0) +
									  (size_t) num.dscale + 4);
	if (start == NULL)
		return num.kind;
	*start = '-';
	end = put_fraction(&num, put_whole(&num, start + 1));
	/* There is no negative zero. */
	if (!num.negative || !has_digit_above_zero(start + 1, end))
	{
		memmove(start, start + 1, (size_t) (end - start) - 1);
		end--;
	}
	out->len += (size_t) (end - start);
	out->data[out->len] = '\0';
	return num.kind;
}

static uint64_t
get64_le(const uint8_t *at)
{
	return (uint64_t) at[0] | (uint64_t) at[1] << 8 | (uint64_t) at[2] << 16 |
		   (uint64_t) at[3] << 24 | (uint64_t) at[4] << 32 | (uint64_t) at[5] << 40 |
		   (uint64_t) at[6] << 48 | (uint64_t) at[7] << 56;
}

/* |value| of a decimal128; *negative its sign. */
static u128
magnitude_of(const uint8_t decimal[16], bool *negative)
{
	u128 value = (u128) get64_le(decimal + 8) << 64 | get64_le(decimal);

	*negative = (decimal[15] & 0x80) != 0;
	return *negative ? -value : value;
}

/* Decimal digits without leading zeros, none for 0; at most 39. Returns their number. */
static int
put_digits(u128 value, char out[40])
{
	const uint64_t chunk = UINT64_C(1000000000000000000);
	char text[54];
	int at = (int) sizeof(text);

	while (value != 0)
	{
		uint64_t low = (uint64_t) (value > UINT64_MAX ? value % chunk : (uint64_t) value % chunk);

		value = value > UINT64_MAX ? value / chunk : (uint64_t) value / chunk;
		for (int i = 0; i < 18; i++, low /= 10)
			text[--at] = (char) ('0' + low % 10);
	}
	while (at < (int) sizeof(text) && text[at] == '0')
		at++;
	memcpy(out, text + at, sizeof(text) - (size_t) at);
	return (int) sizeof(text) - at;
}

/* Floor of a / 4, also for negative a. */
static int
floor_div4(int a)
{
	return a >= 0 ? a / 4 : -((3 - a) / 4);
}

/* Digits into base-10000 groups, last digit at 10^-scale; zero groups at the end are left out. */
static int
group_digits(const char *digits, int ndigits, int scale, int *weight, int16_t groups[MAX_GROUPS])
{
	int ngroups = 0;

	*weight = ndigits > 0 ? floor_div4(ndigits - 1 - scale) : 0;
	memset(groups, 0, MAX_GROUPS * sizeof(groups[0]));
	for (int i = 0; i < ndigits; i++)
	{
		int place = ndigits - 1 - i - scale;
		int group = *weight - floor_div4(place);
		int digit = (digits[i] - '0') * small_powers[place - 4 * floor_div4(place)];

		groups[group] = (int16_t) (groups[group] + digit);
		if (groups[group] != 0)
			ngroups = group + 1;
	}
	return ngroups;
}

/*
 * As group_digits, by division alone, for what nearly all columns of money and measures hold: a
 * magnitude in 64 bits and no more than 16 digits behind the point.
 */
static int
group_small(uint64_t value, int scale, int *weight, int16_t groups[MAX_GROUPS])
{
	int16_t reversed[MAX_GROUPS];
	int behind = (scale + 3) / 4;
	uint64_t power = (uint64_t) decimal_power(scale);
	uint64_t whole = value / power;
	uint64_t fraction = (value - whole * power) * (uint64_t) small_powers[4 * behind - scale];
	int ngroups = 0;
	int zeros = 0;

	for (int i = 0; i < behind; i++, fraction /= 10000)
		reversed[ngroups++] = (int16_t) (fraction % 10000);
	for (; whole != 0; whole /= 10000)
		reversed[ngroups++] = (int16_t) (whole % 10000);
	while (ngroups > 0 && reversed[ngroups - 1] == 0)
		ngroups--;
	while (zeros < ngroups && reversed[zeros] == 0)
		zeros++;
	*weight = ngroups > 0 ? ngroups - 1 - behind : 0;
	for (int i = 0; i < ngroups - zeros; i++)
		groups[i] = reversed[ngroups - 1 - i];
	return ngroups - zeros;
}

size_t
psti_decimal_to_numeric(const uint8_t decimal[16], int scale, uint8_t out[PSTI_DECIMAL_BYTES])
{
	char digits[40];
	int16_t groups[MAX_GROUPS];
	int weight;
	int ngroups;
	bool negative;
	u128 magnitude = magnitude_of(decimal, &negative);

	if (magnitude <= UINT64_MAX && scale >= 0 && scale <= SMALL_SCALE_MAX)
		ngroups = group_small((uint64_t) magnitude, scale, &weight, groups);
	else
		ngroups = group_digits(digits, put_digits(magnitude, digits), scale, &weight, groups);
	psti_put16(out, (uint16_t) ngroups);
	psti_put16(out + 2, (uint16_t) weight);
	psti_put16(out + 4, negative ? SIGN_MINUS : 0);
	psti_put16(out + 6, (uint16_t) (scale < 0 ? 0 : scale));
	for (int i = 0; i < ngroups; i++)
		psti_put16(out + HEADER_BYTES + 2 * i, (uint16_t) groups[i]);
	return HEADER_BYTES + 2 * (size_t) ngroups;
}

static void
put_zeros(int count, psti_buf *out)
{
	static const char zeros[] = "0000000000000000";

	for (; count > 16; count -= 16)
		psti_buf_append(out, zeros, 16);
	if (count > 0)
		psti_buf_append(out, zeros, (size_t) count);
}

void
psti_decimal_to_text(const uint8_t decimal[16], int scale, psti_buf *out)
{
	char digits[40];
	bool negative;
	int ndigits = put_digits(magnitude_of(decimal, &negative), digits);
	int whole = ndigits - (scale > 0 ? scale : 0);

	if (negative)
		psti_buf_putc(out, '-');
	if (whole <= 0)
		psti_buf_putc(out, '0');
	else
		psti_buf_append(out, digits, (size_t) whole);
	if (scale < 0 && ndigits > 0)
		put_zeros(-scale, out);
	if (scale <= 0)
		return;
	psti_buf_putc(out, '.');
	if (whole < 0)
		put_zeros(-whole, out);
	psti_buf_append(out, digits + (whole > 0 ? whole : 0), (size_t) (whole > 0 ? scale : ndigits));
}
