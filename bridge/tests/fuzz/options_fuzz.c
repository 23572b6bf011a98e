/*
 * options_fuzz.c - any pairs of names and values: `name=value` lines. Whatever comes is either taken
 * or refused with a status and a message.
 */
#include <stdlib.h>
#include <string.h>

#include "options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_PAIRS 64

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *keys[MAX_PAIRS + 1] = {NULL};
	const char *values[MAX_PAIRS + 1] = {NULL};
	char *text = malloc(size + 1);
	psti_options *options = NULL;
	pst_error err = PST_ERROR_INIT;
	size_t n = 0;
	char *rest = NULL;
	pst_status status;

	memcpy(text, data, size);
	text[size] = '\0';
	for (char *line = strtok_r(text, "\n", &rest); line != NULL && n < MAX_PAIRS;
		 line = strtok_r(NULL, "\n", &rest))
	{
		char *equals = strchr(line, '=');

		if (equals == NULL)
			continue;
		*equals = '\0';
		keys[n] = line;
		values[n++] = equals + 1;
	}
	status = psti_options_new(keys, values, PSTI_SOURCE, NULL, &options, &err);
	if ((status == PST_OK) != (options != NULL) || (status != PST_OK && err.message[0] == '\0'))
		abort();
	psti_options_free(options);
	free(text);
	return 0;
}
