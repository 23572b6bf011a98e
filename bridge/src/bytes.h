/* bytes.h - big-endian reads and writes at any address. */
#ifndef PSTI_BYTES_H
#define PSTI_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t
psti_get16(const void *at)
{
	uint16_t v;

	memcpy(&v, at, 2);
	return __builtin_bswap16(v);
}

static inline uint32_t
psti_get32(const void *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return __builtin_bswap32(v);
}

static inline uint64_t
psti_get64(const void *at)
{
	uint64_t v;

	memcpy(&v, at, 8);
	return __builtin_bswap64(v);
}

static inline void
psti_put16(void *at, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(at, &v, 2);
}

static inline void
psti_put32(void *at, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(at, &v, 4);
}

static inline void
psti_put64(void *at, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(at, &v, 8);
}

#endif /* PSTI_BYTES_H */
