/* decimal.c - see decimal.h. */
#include "decimal.h"

typedef unsigned __int128 u128;

#define POW10_19 UINT64_C(10000000000000000000)
/* So many groups and as many more zeros are at most 19 digits, which 64 bits without sign hold. */
#define SMALL_GROUPS 4
#define SMALL_SHIFT 3

static const uint64_t powers[] = {
	1,
	10,
	100,
	1000,
	10000,
	100000,
	1000000,
	10000000,
	100000000,
	1000000000,
	10000000000,
	100000000000,
	1000000000000,
	10000000000000,
	100000000000000,
	1000000000000000,
	10000000000000000,
	100000000000000000,
	1000000000000000000,
	POW10_19,
};

u128
decimal_power(int n)
{
	return n < 20 ? powers[n] : (u128) powers[n - 19] * POW10_19;
}

/*
 * What nearly all numerics are: a few groups, so that 64 bits hold every step. Division of 128 bits
 * made up a third of a numeric column's decoding; one by what the compiler knows costs next to nothing.
 */
static bool
scale_small(const uint16_t *groups, int ngroups, int shift, uint64_t *out)
{
	uint64_t value = 0;
	unsigned last = groups[ngroups - 1];

	for (int i = 0; i < ngroups - 1; i++)
		value = value * 10000 + groups[i];
	switch (shift)
	{
		case -3:
			*out = value * 10 + last / 1000;
			return last % 1000 == 0;
		case -2:
			*out = value * 100 + last / 100;
			return last % 100 == 0;
		case -1:
			*out = value * 1000 + last / 10;
			return last % 10 == 0;
		default:
			*out = (value * 10000 + last) * powers[shift];
			return true;
	}
}

/* The same for more: each step is compared with the limit. */
static bool
scale_large(const uint16_t *groups, int ngroups, int shift, u128 limit, u128 *out)
{
	u128 value = 0;
	int whole = shift < 0 ? ngroups - 1 : ngroups;

	for (int i = 0; i < whole; i++)
	{
		if (value > limit / 10000)
			return false;
		value = value * 10000 + groups[i];
	}
	if (shift < 0)
	{
		unsigned drop = (unsigned) powers[-shift];
		unsigned keep = 10000 / drop;

		if (groups[whole] % drop != 0 || value > limit / keep)
			return false;
		value = value * keep + groups[whole] / drop;
	}
	else
	{
		u128 power = decimal_power(shift);

		if (value > limit / power)
			return false;
		value *= power;
	}
	*out = value;
	return value <= limit;
}

/*
 * The groups, read as one integer, are value * 10^-e with e the place of the last one: shift = e +
 * scale more zeros are to be appended, or up to three dropped from the last group (it is not zero, so
 * a fourth would lose a digit).
 */
bool
decimal_scale(const uint16_t *groups, int ngroups, int weight, int precision, int scale, u128 *out)
{
	u128 limit = decimal_power(precision) - 1;
	int64_t shift = 4 * ((int64_t) weight - ngroups + 1) + scale;

	*out = 0;
	if (ngroups == 0)
		return true;
	/* Beyond this neither fits; within it nothing below overflows. */
	if (ngroups > DECIMAL_GROUPS || shift > DECIMAL_DIGITS || shift < -3)
		return false;
	if (ngroups <= SMALL_GROUPS && shift <= SMALL_SHIFT)
	{
		uint64_t small;

		if (!scale_small(groups, ngroups, (int) shift, &small))
			return false;
		*out = small;
		return small <= limit;
	}
	return scale_large(groups, ngroups, (int) shift, limit, out);
}

/* The typmod has 4, a varlena's header, added to it; the scale is of 11 bits, signed. */
bool
decimal_typmod(int32_t typmod, int *precision, int *scale)
{
	if (typmod < 4)
		return false;
	*precision = ((typmod - 4) >> 16) & 0xffff;
	*scale = (typmod - 4) & 0x7ff;
	if (*scale & 0x400)
		*scale -= 0x800;
	return *precision >= 1 && *precision <= DECIMAL_DIGITS && *scale >= 0 && *scale <= *precision;
}
