/*
 * pgnumeric.h - numeric between PostgreSQL's binary form, decimal128 and text.
 *
 * The binary form (numeric_send): int16 ndigits, weight, sign (0, 0x4000, 0xC000 NaN, 0xD000 and
 * 0xF000 infinities), dscale, then base-10000 digits; all big-endian.
 */
#ifndef PSTI_PGNUMERIC_H
#define PSTI_PGNUMERIC_H

#include "buf.h"

typedef enum psti_numeric_kind
{
	PSTI_NUMERIC_FINITE,
	PSTI_NUMERIC_NAN,
	PSTI_NUMERIC_PINF,
	PSTI_NUMERIC_NINF,
	PSTI_NUMERIC_TOO_LARGE, /* does not fit the precision or would lose digits at the scale */
	PSTI_NUMERIC_BAD		/* not a numeric: wrong length, digit or sign */
} psti_numeric_kind;

/*
 * To decimal128: 16 bytes little-endian two's complement of value * 10^scale, zeros when it is not
 * FINITE. precision above 38 counts as 38; scale may be negative.
 */
psti_numeric_kind psti_numeric_to_decimal(const uint8_t *data, size_t nbytes, int precision,
										  int scale, uint8_t out[16]);

/* Appends numeric_out's text (NaN, Infinity included). BAD appends nothing. */
psti_numeric_kind psti_numeric_to_text(const uint8_t *data, size_t nbytes, psti_buf *out);

/* The scales that a numeric can have: the caller of the two functions below has checked it. */
#define PSTI_NUMERIC_SCALE_MAX 16383

/* decimal128 to the binary form with dscale = scale (scale < 0: 0); its length in bytes. */
#define PSTI_DECIMAL_BYTES 32
size_t psti_decimal_to_numeric(const uint8_t decimal[16], int scale,
							   uint8_t out[PSTI_DECIMAL_BYTES]);

/* decimal128 to text, as numeric_out of the same value at this scale. */
void psti_decimal_to_text(const uint8_t decimal[16], int scale, psti_buf *out);

#endif /* PSTI_PGNUMERIC_H */
