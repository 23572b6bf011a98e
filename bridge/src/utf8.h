/* utf8.h - is a text UTF-8, as the server defines it? */
#ifndef PSTI_UTF8_H
#define PSTI_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The number of leading bytes that are valid UTF-8 without a NUL byte; nbytes when all are. No
 * overlong forms, no surrogates, nothing above U+10FFFF: what the server refuses too.
 */
size_t psti_utf8_valid(const char *text, size_t nbytes);

/* A code point up to U+10FFFF as UTF-8; returns the number of bytes, at most 4. */
size_t psti_utf8_put(uint32_t code, char *out);

#endif /* PSTI_UTF8_H */
