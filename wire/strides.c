/*
 * strides.c - the arithmetic of strides.h.
 *
 * A domain of 2^64 or 2^128 values has a size that its own integer type cannot hold. Everything is
 * therefore computed from size - 1: with span = upper - lower, q = span / n and r = span % n the
 * first r + 1 strides have q + 1 values and the others q, and "first + (size - 1)" never overflows.
 */
#include "strides.h"

#include <string.h>

size_t
strides_int64(int64_t lower, int64_t upper, size_t n, stride_int64 *out)
{
	uint64_t span;
	uint64_t quotient;
	uint64_t larger; /* strides of quotient + 1 values */
	uint64_t at = (uint64_t) lower;

	if (n < 1 || lower > upper)
		return 0;
	span = (uint64_t) upper - (uint64_t) lower;
	if (n - 1 > span)
		n = (size_t) span + 1;
	quotient = span / n;
	larger = span % n + 1;
	for (size_t i = 0; i < n; i++)
	{
		uint64_t last = at + (i < larger ? quotient : quotient - 1);

		out[i].lower = (int64_t) at;
		out[i].upper = (int64_t) last;
		at = last + 1;
	}
	return n;
}

static int
compare_u128(stride_u128 a, stride_u128 b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

static stride_u128
add_u128(stride_u128 a, stride_u128 b)
{
	stride_u128 sum = {a.high + b.high, a.low + b.low};

	sum.high += sum.low < a.low;
	return sum;
}

static stride_u128
subtract_u128(stride_u128 a, stride_u128 b)
{
	stride_u128 difference = {a.high - b.high, a.low - b.low};

	difference.high -= a.low < b.low;
	return difference;
}

/* a / n, bit by bit below the high word: 32-bit compilers have no 128-bit division. */
static stride_u128
divide_u128(stride_u128 a, uint64_t n, uint64_t *remainder)
{
	stride_u128 quotient = {a.high / n, 0};
	uint64_t rest = a.high % n;

	for (int bit = 63; bit >= 0; bit--)
	{
		uint64_t carry = rest >> 63;

		rest = rest << 1 | (a.low >> bit & 1);
		if (carry != 0 || rest >= n)
		{
			rest -= n;
			quotient.low |= UINT64_C(1) << bit;
		}
	}
	*remainder = rest;
	return quotient;
}

size_t
strides_uuid(stride_u128 lower, stride_u128 upper, size_t n, stride_uuid *out)
{
	static const stride_u128 one = {0, 1};
	stride_u128 span;
	stride_u128 quotient;
	uint64_t remainder;
	stride_u128 at = lower;

	if (n < 1 || compare_u128(lower, upper) > 0)
		return 0;
	span = subtract_u128(upper, lower);
	if (span.high == 0 && n - 1 > span.low)
		n = (size_t) span.low + 1;
	quotient = divide_u128(span, n, &remainder);
	for (size_t i = 0; i < n; i++)
	{
		stride_u128 more = i <= remainder ? quotient : subtract_u128(quotient, one);

		out[i].lower = at;
		out[i].upper = add_u128(at, more);
		at = add_u128(out[i].upper, one);
	}
	return n;
}

size_t
strides_blocks(uint32_t nblocks, uint32_t per_piece, size_t n, stride_blocks *out)
{
	uint64_t pieces;
	uint32_t quotient;
	uint32_t larger;
	uint32_t at = 0;

	if (n < 1 || per_piece < 1)
		return 0;
	if (nblocks == 0)
	{
		out[0].first = 0;
		out[0].last = 0;
		return 1;
	}
	pieces = ((uint64_t) nblocks + per_piece - 1) / per_piece;
	if (pieces > n)
		pieces = n;
	quotient = (uint32_t) (nblocks / pieces);
	larger = (uint32_t) (nblocks % pieces);
	for (size_t i = 0; i < pieces; i++)
	{
		out[i].first = at;
		at += quotient + (i < larger ? 1 : 0);
		out[i].last = at - 1;
	}
	return (size_t) pieces;
}

/* ---- Texts as numbers to the base 95, of printable ASCII ---- */

#define FIRST_PRINTABLE 0x20
#define NPRINTABLE 95
#define NDIGITS STRIDE_TEXT_DIGITS /* 95^9 < 2^60 */

/* NDIGITS characters from text on; beyond its end spaces, unprintable ones clamped. */
static uint64_t
text_to_number(const char *text)
{
	uint64_t value = 0;

	for (int i = 0; i < NDIGITS; i++)
	{
		int digit = 0;

		if (*text != '\0')
			digit = (unsigned char) *text++ - FIRST_PRINTABLE;
		if (digit < 0)
			digit = 0;
		if (digit >= NPRINTABLE)
			digit = NPRINTABLE - 1;
		value = value * NPRINTABLE + (uint64_t) digit;
	}
	return value;
}

/* span * i / n for i < n, by a product in halves of 32 bits. */
static uint64_t
part_of(uint64_t span, uint64_t i, uint64_t n)
{
	uint64_t low = (span & UINT32_MAX) * (i & UINT32_MAX);
	uint64_t left = (span >> 32) * (i & UINT32_MAX);
	uint64_t right = (span & UINT32_MAX) * (i >> 32);
	uint64_t middle = (low >> 32) + (left & UINT32_MAX) + (right & UINT32_MAX);
	stride_u128 product = {(span >> 32) * (i >> 32) + (left >> 32) + (right >> 32) + (middle >> 32),
						   middle << 32 | (low & UINT32_MAX)};
	uint64_t remainder;

	return divide_u128(product, n, &remainder).low;
}

size_t
stride_text(const char *lower, const char *upper, size_t same, size_t i, size_t n, char *out)
{
	uint64_t from = text_to_number(lower + same);
	uint64_t to = text_to_number(upper + same);
	uint64_t value;
	size_t len = same + NDIGITS;

	if (from > to)
	{
		/* The collation has another order than the bytes: the way between is still the way. */
		uint64_t swap = from;

		from = to;
		to = swap;
	}
	value = from + part_of(to - from, i, n);
	memcpy(out, lower, same);
	for (int k = NDIGITS - 1; k >= 0; k--)
	{
		out[same + (size_t) k] = (char) (FIRST_PRINTABLE + value % NPRINTABLE);
		value /= NPRINTABLE;
	}
	/* Without spaces at the end: some types do not keep them. */
	while (len > same && out[len - 1] == ' ')
		len--;
	return len;
}
