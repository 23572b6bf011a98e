/*
 * pgnumeric_fuzz.c - any bytes as a binary numeric. The first two bytes are precision and scale. A
 * value that fits a decimal is the same after the way back.
 */
#include <stdlib.h>
#include <string.h>

#include "pgnumeric.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	psti_buf out = PSTI_BUF_INIT;
	psti_buf back = PSTI_BUF_INIT;
	psti_buf text = PSTI_BUF_INIT;
	uint8_t decimal[16];
	uint8_t again[16];
	uint8_t numeric[PSTI_DECIMAL_BYTES];
	size_t nbytes;
	psti_numeric_kind kind;
	int precision;
	int scale;

	if (size < 2)
		return 0;
	precision = data[0];
	scale = (int8_t) data[1];
	kind = psti_numeric_to_text(data + 2, size - 2, &out);
	if ((kind == PSTI_NUMERIC_BAD) != (out.len == 0))
		abort();
	psti_buf_reset(&out);
	if (psti_numeric_to_decimal(data + 2, size - 2, precision, scale, decimal) ==
		PSTI_NUMERIC_FINITE)
	{
		nbytes = psti_decimal_to_numeric(decimal, scale, numeric);
		if (psti_numeric_to_decimal(numeric, nbytes, precision, scale, again) !=
				PSTI_NUMERIC_FINITE ||
			memcmp(decimal, again, 16) != 0)
			abort();
		/* Both ways to the text agree. */
		psti_decimal_to_text(decimal, scale, &back);
		psti_numeric_to_text(numeric, nbytes, &text);
		if (text.len != back.len || memcmp(text.data, back.data, text.len) != 0)
			abort();
	}
	psti_buf_free(&out);
	psti_buf_free(&back);
	psti_buf_free(&text);
	return 0;
}
