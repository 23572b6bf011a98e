/* ascii.h - whether bytes are all ASCII, which is what most text is: then it is valid UTF-8. */
#ifndef WIRE_ASCII_H
#define WIRE_ASCII_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool
ascii_only(const char *bytes, size_t n)
{
	uint64_t seen = 0;

	for (; n >= 8; n -= 8, bytes += 8)
	{
		uint64_t word;

		memcpy(&word, bytes, 8);
		seen |= word;
	}
	for (; n > 0; n--, bytes++)
		seen |= (uint8_t) *bytes;
	return (seen & UINT64_C(0x8080808080808080)) == 0;
}

#endif /* WIRE_ASCII_H */
