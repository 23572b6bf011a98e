/* region_split_fuzz.c - any bytes as the text of a region: what is read comes back from its own text. */
#include <stdlib.h>
#include <string.h>

#include "cdc/region_split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
insist(bool holds)
{
	if (!holds)
		abort();
}

static char *
print(const psti_region_split *split)
{
	pst_error err = PST_ERROR_INIT;
	char *text = NULL;

	insist(psti_region_split_print(split, &text, &err) == PST_OK);
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *first;
	char *second;
	psti_region_split one;
	psti_region_split two;
	pst_error err = PST_ERROR_INIT;

	memcpy(text, data, size);
	text[size] = '\0';
	if (psti_region_split_parse(text, &one, &err) != PST_OK)
	{
		insist(err.status == PST_ERR_INVALID && err.message[0] != '\0');
		free(text);
		return 0;
	}
	insist(one.piece < one.npieces && one.oid != 0);
	insist(one.column != NULL || (one.lower == NULL && one.upper == NULL));
	insist(one.slot != NULL && one.table != NULL && one.read != NULL);
	first = print(&one);
	insist(psti_region_split_parse(first, &two, &err) == PST_OK);
	second = print(&two);
	insist(strcmp(first, second) == 0 && psti_region_split_alike(&one, &two));
	psti_region_split_free(&one);
	psti_region_split_free(&two);
	free(text);
	free(first);
	free(second);
	return 0;
}
