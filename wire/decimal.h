/*
 * decimal.h - numeric(p,s) as a decimal128: its typmod, and its base-10000 digits. Pure arithmetic, for the decoder of
 * numeric_send's bytes and for the reader of the server's own.
 */
#ifndef WIRE_DECIMAL_H
#define WIRE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Decimal digits of the largest decimal128. */
#define DECIMAL_DIGITS 38

/* Base-10000 digits beyond which none of 38 decimal ones can lie, wherever the point is. */
#define DECIMAL_GROUPS 11

/*
 * |value| * 10^scale, where value is the sum of groups[i] * 10000^(weight - i): neither the first nor
 * the last group is zero, each is below 10000. False when that has more than `precision` (1 to 38)
 * digits or a fraction; *out is then undefined. ngroups beyond DECIMAL_GROUPS, of which not all need
 * be there, never fits.
 */
bool decimal_scale(const uint16_t *groups, int ngroups, int weight, int precision, int scale,
				   unsigned __int128 *out);

/*
 * Precision and scale of numeric(p,s), from its typmod, where decimal128 can hold it: numeric(3,-2) and
 * a bare numeric it cannot. What is written when it is false means nothing.
 */
bool decimal_typmod(int32_t typmod, int *precision, int *scale);

/* 10^n, n from 0 to 38. */
unsigned __int128 decimal_power(int n);

/*
 * The value, negated or not, as the 16 bytes of a decimal128: little-endian, two's complement. Signs
 * are as good as random, so they are no branch.
 */
static inline void
decimal_store(unsigned __int128 value, bool negative, uint8_t out[16])
{
	unsigned __int128 mask = -(unsigned __int128) negative;

	value = (value ^ mask) - mask;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	memcpy(out, &value, 16);
#else
	for (int i = 0; i < 16; i++)
		out[i] = (uint8_t) (value >> (8 * i));
#endif
}

#endif /* WIRE_DECIMAL_H */
