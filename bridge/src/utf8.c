/* utf8.c - checking and writing UTF-8. */
#include "utf8.h"

#include <string.h>

/* The length of the multi-byte character at s, of which n bytes are there; 0 when it is none. */
static size_t
character(const unsigned char *s, size_t n)
{
	size_t len;

	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		len = 2;
	else if (s[0] >= 0xE0 && s[0] <= 0xEF)
		len = 3;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF: all decided by the second byte. */
	if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
		(s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
		return 0;
	return len;
}

/* Whether eight bytes are all ASCII and none is NUL. */
static bool
plain_word(const unsigned char *s)
{
	const uint64_t high = UINT64_C(0x8080808080808080);
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t word;

	memcpy(&word, s, 8);
	return ((word | (word - ones)) & high) == 0;
}

size_t
psti_utf8_valid(const char *text, size_t nbytes)
{
	const unsigned char *s = (const unsigned char *) text;
	size_t at = 0;

	while (at < nbytes)
	{
		size_t len;

		if (nbytes - at >= 8 && plain_word(s + at))
		{
			at += 8;
			continue;
		}
		if (s[at] < 0x80)
		{
			if (s[at] == 0)
				return at;
			at++;
			continue;
		}
		len = character(s + at, nbytes - at);
		if (len == 0)
			return at;
		at += len;
	}
	return nbytes;
}

size_t
psti_utf8_put(uint32_t code, char *out)
{
	if (code < 0x80)
	{
		out[0] = (char) code;
		return 1;
	}
	if (code < 0x800)
	{
		out[0] = (char) (0xC0 | code >> 6);
		out[1] = (char) (0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000)
	{
		out[0] = (char) (0xE0 | code >> 12);
		out[1] = (char) (0x80 | (code >> 6 & 0x3F));
		out[2] = (char) (0x80 | (code & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | code >> 18);
	out[1] = (char) (0x80 | (code >> 12 & 0x3F));
	out[2] = (char) (0x80 | (code >> 6 & 0x3F));
	out[3] = (char) (0x80 | (code & 0x3F));
	return 4;
}
