/*
 * names_fuzz.c - table names and `penstock.type` texts, which come from files of anybody.
 *
 * What is put together from a name or type must be read as the same name or type again, and outside
 * of double quotes hold nothing but words, numbers and ( ) , [ ] . - and spaces.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog_ddl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether SQL text has only harmless characters outside of quotes, and closed quotes. */
static bool
is_harmless(const char *sql)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
								"$(),.[] -";
	bool quoted = false;

	for (; *sql != '\0'; sql++)
	{
		if (*sql == '"')
			quoted = !quoted;
		else if (!quoted && (strchr(plain, *sql) == NULL || strncmp(sql, "--", 2) == 0))
			return false;
	}
	return !quoted;
}

static void
try_type(const char *text)
{
	psti_buf whole[2] = {PSTI_BUF_INIT, PSTI_BUF_INIT};
	psti_buf bare[2] = {PSTI_BUF_INIT, PSTI_BUF_INIT};

	if (psti_type_parse(text, &whole[0], &bare[0]))
	{
		if (!is_harmless(whole[0].data) || !is_harmless(bare[0].data))
			abort();
		if (!psti_type_parse(whole[0].data, &whole[1], &bare[1]) ||
			strcmp(whole[0].data, whole[1].data) != 0 || strcmp(bare[0].data, bare[1].data) != 0)
			abort();
	}
	for (int i = 0; i < 2; i++)
	{
		psti_buf_free(&whole[i]);
		psti_buf_free(&bare[i]);
	}
}

static void
try_name(const char *text)
{
	psti_name names[2];
	psti_buf sql[2] = {PSTI_BUF_INIT, PSTI_BUF_INIT};
	pst_error err;

	psti_enter(&err);
	if (psti_name_parse(text, &names[0], &err) != PST_OK)
		return;
	psti_name_put(&sql[0], &names[0]);
	if (!is_harmless(sql[0].data) || psti_name_parse(sql[0].data, &names[1], &err) != PST_OK)
		abort();
	psti_name_put(&sql[1], &names[1]);
	if (strcmp(sql[0].data, sql[1].data) != 0)
		abort();
	psti_name_free(&names[0]);
	psti_name_free(&names[1]);
	psti_buf_free(&sql[0]);
	psti_buf_free(&sql[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	try_type(text);
	try_name(text);
	free(text);
	return 0;
}
