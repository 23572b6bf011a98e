/* hash.h - FNV-1a, 64 bits: fingerprints of options. Not for what an attacker may choose. */
#ifndef PSTI_HASH_H
#define PSTI_HASH_H

#include <stddef.h>
#include <stdint.h>

#define PSTI_HASH_INIT UINT64_C(14695981039346656037)

/* Continues a hash with a text and its end; NULL is an empty text. */
static inline uint64_t
psti_hash_text(uint64_t hash, const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		hash = (hash ^ (uint8_t) *text) * UINT64_C(1099511628211);
	return (hash ^ 0xff) * UINT64_C(1099511628211);
}

#endif /* PSTI_HASH_H */
