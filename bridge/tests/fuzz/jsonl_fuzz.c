/*
 * jsonl_fuzz.c - any bytes as json lines. The first byte chooses target and pieces. Without pauses
 * what is decoded does not depend on the pieces; what is written of plain columns reads the same.
 */
#include "codec_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NODE(name, type, rest)                                                                     \
	"{\"name\":\"" name "\",\"type\":\"" type "\",\"base_type\":\"" type "\",\"kind\":" rest "}"

/* clang-format off */
static const char describe[] =
	"{\"columns\":["
	NODE("a", "text", "\"base\"") ","
	NODE("j", "jsonb", "\"base\"") ","
	NODE("i", "integer[]", "\"array\",\"element\":" NODE("", "integer", "\"base\"")) ","
	NODE("c", "p", "\"composite\",\"fields\":["
		NODE("x", "integer", "\"base\"") ","
		NODE("y", "p[]", "\"array\",\"element\":" NODE("", "text", "\"base\"")) "]") ","
	NODE("g", "text", "\"base\",\"generated\":\"stored\"") "]}";
/* clang-format on */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t choice = size > 0 ? data[0] : 0;
	const char *keys[] = {"format", "row-kind-column", NULL};
	const char *values[] = {"json", choice & 1 ? "op" : NULL, NULL};
	const char *target = choice & 2 ? describe : NULL;
	const uint8_t *text = size > 0 ? data + 1 : data;
	size_t nbytes = size > 0 ? size - 1 : 0;
	fuzz_input whole = {text, nbytes, SIZE_MAX, false, false};
	fuzz_input pieces = {text, nbytes, 1 + (choice >> 5), false, false};
	fuzz_input pausing = {text, nbytes, 1 + (choice >> 4), true, false};
	psti_buf rows = PSTI_BUF_INIT;
	psti_buf same = PSTI_BUF_INIT;
	psti_buf again = PSTI_BUF_INIT;
	pst_status status = fuzz_decode(keys, values, target, &whole, &rows, &again);

	if (fuzz_decode(keys, values, target, &pieces, &same, NULL) != status || rows.len != same.len ||
		(rows.len > 0 && memcmp(rows.data, same.data, rows.len) != 0))
		abort();
	psti_buf_reset(&same);
	fuzz_decode(keys, values, target, &pausing, &same, NULL);
	/* Texts are written as strings, which any shape of column takes for what they hold. */
	if (status == PST_END && (choice & 1) == 0 && again.len > 0)
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
