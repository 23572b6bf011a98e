/*
 * value_text_fuzz.c - any text as a value's. The first byte is the type, with its upper bits an array of it.
 * What is taken prints, and reads back as the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "cdc/change.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	psti_copy_column column = {.name = "x", .form = PSTI_FORM_TEXT};
	psti_buf bytes = PSTI_BUF_INIT;
	psti_buf text = PSTI_BUF_INIT;
	psti_buf again = PSTI_BUF_INIT;
	bool is_text;

	if (size < 1)
		return 0;
	column.type = (psti_copy_type) ((data[0] & 0x3f) % PSTI_COPY_NTYPES);
	column.list = (data[0] & 0x40) != 0;
	column.delimiter = (data[0] & 0x80) != 0 ? ';' : '\0';
	column.elem = 23;
	is_text = column.type >= PSTI_COPY_TEXT;
	if (psti_value_of_text(&column, (const char *) data + 1, size - 1, &bytes))
	{
		if (psti_copy_print(&column, bytes.data, bytes.len, &text))
		{
			if (!psti_value_of_text(&column, text.data, text.len, &again) ||
				again.len != bytes.len ||
				(bytes.len > 0 && memcmp(again.data, bytes.data, bytes.len) != 0))
				abort();
		}
		else if (!is_text) /* of these, bytes that are no UTF-8 */
			abort();
	}
	else if (bytes.len != 0 || bytes.failed)
		abort();
	psti_buf_free(&bytes);
	psti_buf_free(&text);
	psti_buf_free(&again);
	return 0;
}
