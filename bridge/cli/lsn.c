/* lsn.c - a place in WAL as the server writes it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsn.h"

static const char digits[] = "0123456789abcdefABCDEF";

bool
lsn_parse(const char *text, uint64_t *lsn)
{
	size_t high = strspn(text, digits);
	size_t low = text[high] == '/' ? strspn(text + high + 1, digits) : 0;

	if (high == 0 || high > 8 || low == 0 || low > 8 || text[high + 1 + low] != '\0')
		return false;
	*lsn = strtoull(text, NULL, 16) << 32 | strtoull(text + high + 1, NULL, 16);
	return true;
}

char *
lsn_print(uint64_t lsn, char out[LSN_TEXT])
{
	snprintf(out, LSN_TEXT, "%" PRIX32 "/%" PRIX32, (uint32_t) (lsn >> 32), (uint32_t) lsn);
	return out;
}
