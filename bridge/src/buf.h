/*
 * buf.h - a growing byte buffer whose failure sticks.
 *
 * After an allocation fails, or a size would overflow, `failed` is set and every further call does
 * nothing: build a whole statement or message, then test once (psti_buf_check).
 */
#ifndef PSTI_BUF_H
#define PSTI_BUF_H

#include <stdarg.h>
#include <string.h>

#include "error.h"

typedef struct psti_buf
{
	char *data; /* owned; NULL while nothing was appended; always null-terminated otherwise */
	size_t len; /* bytes used, without the terminator */
	size_t cap; /* bytes allocated */
	bool failed;
} psti_buf;

#define PSTI_BUF_INIT                                                                              \
	{                                                                                              \
		NULL, 0, 0, false                                                                          \
	}

/* Room for `more` further bytes (and a terminator): a pointer to write them at, or NULL. */
char *psti_buf_reserve(psti_buf *buf, size_t more);

void psti_buf_append(psti_buf *buf, const void *data, size_t nbytes);

/* psti_buf_append for many short pieces: inline while there is room. */
static inline void
psti_buf_put(psti_buf *buf, const void *data, size_t nbytes)
{
	if (buf->failed || buf->cap - buf->len <= nbytes)
	{
		psti_buf_append(buf, data, nbytes);
		return;
	}
	memcpy(buf->data + buf->len, data, nbytes);
	buf->len += nbytes;
	buf->data[buf->len] = '\0';
}

void psti_buf_puts(psti_buf *buf, const char *text);
void psti_buf_putc(psti_buf *buf, char c);
void psti_buf_printf(psti_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void psti_buf_vprintf(psti_buf *buf, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

/* A name as an SQL identifier: always in double quotes, inner ones doubled. */
void psti_buf_ident(psti_buf *buf, const char *name);

/* schema.table, both quoted; schema NULL: the table alone. */
void psti_buf_qualified(psti_buf *buf, const char *schema, const char *table);

/* A text as an SQL literal, safe under either standard_conforming_strings setting. */
void psti_buf_literal(psti_buf *buf, const char *text);

/* Big-endian integers of the PostgreSQL protocol. */
void psti_buf_int16(psti_buf *buf, int16_t value);
void psti_buf_int32(psti_buf *buf, int32_t value);
void psti_buf_int64(psti_buf *buf, int64_t value);

/* Overwrites four bytes at an earlier offset: for lengths that are known only afterwards. */
void psti_buf_int32_at(psti_buf *buf, size_t offset, int32_t value);

/* len = 0, keeps the memory and clears the failure. */
void psti_buf_reset(psti_buf *buf);
void psti_buf_free(psti_buf *buf);

/* PST_OK, or PST_ERR_NOMEM in err when the buffer failed. */
pst_status psti_buf_check(const psti_buf *buf, pst_error *err);

/* Moves the text to the caller ("" when empty), or NULL when the buffer failed. Empties buf. */
char *psti_buf_steal(psti_buf *buf);

#endif /* PSTI_BUF_H */
