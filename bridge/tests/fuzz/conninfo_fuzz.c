/*
 * conninfo_fuzz.c - any text as option url: a libpq URI, keyword string, JDBC URL or none of them.
 */
#include <stdlib.h>
#include <string.h>

#include "conninfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *url = malloc(size + 1);
	const char *keys[] = {"url", NULL};
	const char *values[] = {url, NULL};
	psti_options *options = NULL;
	psti_conninfo info = {0};
	pst_error err = PST_ERROR_INIT;

	memcpy(url, data, size);
	url[size] = '\0';
	if (psti_options_new(keys, values, PSTI_SOURCE, NULL, &options, &err) == PST_OK)
	{
		pst_status status = psti_conninfo_new(options, NULL, NULL, &info, &err);

		if (status != PST_OK && (err.message[0] == '\0' || info.count != 0))
			abort();
		if (status == PST_OK && (info.keywords[info.count] != NULL ||
								 psti_conninfo_get(&info, "client_encoding") == NULL))
			abort();
	}
	psti_conninfo_free(&info);
	psti_options_free(options);
	free(url);
	return 0;
}
