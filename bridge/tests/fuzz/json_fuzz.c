/*
 * json_fuzz.c - the json door: any text, then every look-up on what came out.
 *
 * What was taken is written anew and must be taken again; strings must come back letter by letter,
 * those that are not UTF-8 as that unless they are put as bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_string(const char *text, void (*put)(psti_buf *, const char *), bool same)
{
	psti_buf buf = PSTI_BUF_INIT;
	psti_json *again = NULL;
	pst_error err;

	psti_enter(&err);
	put(&buf, text);
	if (psti_json_parse(buf.data, &again, &err) != PST_OK)
		abort();
	if (same && strcmp(psti_json_string_value(again), text) != 0)
		abort();
	if (put == psti_json_put_string && psti_utf8_valid(buf.data, buf.len) != buf.len)
		abort();
	psti_json_free(again);
	psti_buf_free(&buf);
}

static void
check_strings(const char *text)
{
	check_string(text, psti_json_put_string, psti_utf8_valid(text, strlen(text)) == strlen(text));
	check_string(text, psti_json_put_bytes, true);
}

static void
walk(const psti_json *value)
{
	if (psti_json_string_value(value) != NULL)
		check_strings(psti_json_string_value(value));
	if (psti_json_text(value, "a") != NULL)
		check_strings(psti_json_text(value, "a"));
	(void) psti_json_int(value, "a", -1);
	(void) psti_json_bool(value, "a", false);
	for (const psti_json *item = psti_json_first(value); item != NULL; item = psti_json_next(item))
		walk(item);
	if (psti_json_get(value, "a") != NULL)
		walk(psti_json_get(value, "a"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	psti_json *root = NULL;
	pst_error err;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	psti_enter(&err);
	if (psti_json_parse(text, &root, &err) == PST_OK)
		walk(root);
	else if (root != NULL || err.status != PST_ERR_DATA)
		abort();
	psti_json_free(root);
	free(text);
	return 0;
}
