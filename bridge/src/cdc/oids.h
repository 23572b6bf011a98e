/* oids.h - where an OID is among things that are sorted by theirs. */
#ifndef PSTI_CDC_OIDS_H
#define PSTI_CDC_OIDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Where the OID is, or would be, among n items of size bytes, each of which begins with its own. */
static inline size_t
psti_oid_search(const void *items, size_t n, size_t size, uint32_t oid)
{
	size_t low = 0;
	size_t high = n;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;
		uint32_t here;

		memcpy(&here, (const char *) items + middle * size, sizeof(here));
		if (here < oid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

#endif /* PSTI_CDC_OIDS_H */
