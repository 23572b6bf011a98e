/*
 * csv_fuzz.c - any bytes as csv. The first byte chooses dialect, target and pieces; the rest is the
 * input. What is decoded does not depend on the pieces, and what is written again reads the same.
 */
#include "codec_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char describe[] =
	"{\"columns\":[{\"name\":\"a\",\"type\":\"text\",\"kind\":\"base\",\"base_type\":\"text\"},"
	"{\"name\":\"b\",\"type\":\"text\",\"kind\":\"base\",\"base_type\":\"text\"}]}";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t choice = size > 0 ? data[0] : 0;
	const char *keys[] = {"format",		"csv.delimiter",   "csv.null",
						  "csv.header", "row-kind-column", NULL};
	const char *values[] = {"csv",
							choice & 1 ? ";" : NULL,
							choice & 2 ? "NULL" : NULL,
							choice & 4 ? "false" : NULL,
							(choice & 12) == 8 ? "op" : NULL,
							NULL};
	const char *target = choice & 20 ? describe : NULL;
	const uint8_t *text = size > 0 ? data + 1 : data;
	size_t nbytes = size > 0 ? size - 1 : 0;
	fuzz_input whole = {text, nbytes, SIZE_MAX, false, false};
	fuzz_input pieces = {text, nbytes, 1 + (choice >> 5), (choice & 32) != 0, false};
	psti_buf rows = PSTI_BUF_INIT;
	psti_buf same = PSTI_BUF_INIT;
	psti_buf again = PSTI_BUF_INIT;
	pst_status status = fuzz_decode(keys, values, target, &whole, &rows, &again);

	if (fuzz_decode(keys, values, target, &pieces, &same, NULL) != status || rows.len != same.len ||
		(rows.len > 0 && memcmp(rows.data, same.data, rows.len) != 0))
		abort();
	if (status == PST_END && values[4] == NULL)
	{
		fuzz_input written = {(const uint8_t *) again.data, again.len, SIZE_MAX, false, false};

		psti_buf_reset(&same);
		if (fuzz_decode(keys, values, target, &written, &same, NULL) != PST_END ||
			rows.len != same.len || (rows.len > 0 && memcmp(rows.data, same.data, rows.len) != 0))
			abort();
	}
	psti_buf_free(&rows);
	psti_buf_free(&same);
	psti_buf_free(&again);
	return 0;
}
