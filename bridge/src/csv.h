/* csv.h - what reading and writing of csv have in common: the dialect and a scan for four bytes. */
#ifndef PSTI_CSV_H
#define PSTI_CSV_H

#include <string.h>

#include "options.h"

/* COPY's csv: quote and escape are both the double quote. */
typedef struct psti_csv_dialect
{
	char delimiter;
	bool header;
	const char *null; /* borrowed from the options */
	size_t null_len;
} psti_csv_dialect;

/* The options csv.*, refused where COPY refuses them. */
pst_status psti_csv_dialect_get(const psti_options *options, psti_csv_dialect *out, pst_error *err);

/* Each byte of the word that equals the byte repeated in `want` gets its high bit set, no other. */
static inline uint64_t
psti_csv_match(uint64_t word, uint64_t want)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t x = word ^ want;

	return ~(((x & low) + low) | x | low);
}

static inline uint64_t
psti_csv_repeat(char c)
{
	return UINT64_C(0x0101010101010101) * (unsigned char) c;
}

/* The first of the four bytes a b c d in [at, end), or end. */
static inline const char *
psti_csv_find(const char *at, const char *end, char a, char b, char c, char d)
{
	const uint64_t wa = psti_csv_repeat(a);
	const uint64_t wb = psti_csv_repeat(b);
	const uint64_t wc = psti_csv_repeat(c);
	const uint64_t wd = psti_csv_repeat(d);

	for (; end - at >= 8; at += 8)
	{
		uint64_t word;
		uint64_t hit;

		memcpy(&word, at, 8);
		hit = psti_csv_match(word, wa) | psti_csv_match(word, wb) | psti_csv_match(word, wc) |
			  psti_csv_match(word, wd);
		if (hit != 0)
			return at + __builtin_ctzll(hit) / 8;
	}
	while (at < end && *at != a && *at != b && *at != c && *at != d)
		at++;
	return at;
}

/* The first of two bytes. */
static inline const char *
psti_csv_find2(const char *at, const char *end, char a, char b)
{
	const uint64_t wa = psti_csv_repeat(a);
	const uint64_t wb = psti_csv_repeat(b);

	for (; end - at >= 8; at += 8)
	{
		uint64_t word;
		uint64_t hit;

		memcpy(&word, at, 8);
		hit = psti_csv_match(word, wa) | psti_csv_match(word, wb);
		if (hit != 0)
			return at + __builtin_ctzll(hit) / 8;
	}
	while (at < end && *at != a && *at != b)
		at++;
	return at;
}

#endif /* PSTI_CSV_H */
