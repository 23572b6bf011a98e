/* buf.c - a growing byte buffer whose failure sticks. */
#include "buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

/* Makes room for more bytes and a terminator; false (and failed) when it cannot. */
static bool
grow(psti_buf *buf, size_t more)
{
	size_t need;
	size_t cap = buf->cap < 64 ? 64 : buf->cap;
	char *data;

	if (buf->failed)
		return false;
	if (__builtin_add_overflow(buf->len, more, &need) || need >= SIZE_MAX / 2)
	{
		buf->failed = true;
		return false;
	}
	need++;
	if (need <= buf->cap)
		return true;
	while (cap < need)
		cap *= 2;
	data = realloc(buf->data, cap);
	if (data == NULL)
	{
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->cap = cap;
	return true;
}

char *
psti_buf_reserve(psti_buf *buf, size_t more)
{
	return grow(buf, more) ? buf->data + buf->len : NULL;
}

void
psti_buf_append(psti_buf *buf, const void *data, size_t nbytes)
{
	if (!grow(buf, nbytes))
		return;
	if (nbytes > 0)
		memcpy(buf->data + buf->len, data, nbytes);
	buf->len += nbytes;
	buf->data[buf->len] = '\0';
}

void
psti_buf_puts(psti_buf *buf, const char *text)
{
	psti_buf_append(buf, text, strlen(text));
}

void
psti_buf_putc(psti_buf *buf, char c)
{
	psti_buf_append(buf, &c, 1);
}

void
psti_buf_vprintf(psti_buf *buf, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
	{
		buf->failed = true;
		return;
	}
	if (!grow(buf, (size_t) n))
		return;
	vsnprintf(buf->data + buf->len, (size_t) n + 1, fmt, ap);
	buf->len += (size_t) n;
}

void
psti_buf_printf(psti_buf *buf, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	psti_buf_vprintf(buf, fmt, ap);
	va_end(ap);
}

/* Appends text with every quote doubled, between quotes. */
static void
append_quoted(psti_buf *buf, const char *text, char quote)
{
	psti_buf_putc(buf, quote);
	for (const char *at = text; *at != '\0';)
	{
		size_t run = strcspn(at, quote == '"' ? "\"" : "'");

		psti_buf_append(buf, at, run);
		at += run;
		if (*at != '\0')
		{
			psti_buf_putc(buf, quote);
			psti_buf_putc(buf, quote);
			at++;
		}
	}
	psti_buf_putc(buf, quote);
}

void
psti_buf_ident(psti_buf *buf, const char *name)
{
	append_quoted(buf, name, '"');
}

void
psti_buf_qualified(psti_buf *buf, const char *schema, const char *table)
{
	if (schema != NULL)
	{
		psti_buf_ident(buf, schema);
		psti_buf_putc(buf, '.');
	}
	psti_buf_ident(buf, table);
}

/* A backslash would be an escape where standard_conforming_strings is off: E'' is the same in both. */
void
psti_buf_literal(psti_buf *buf, const char *text)
{
	if (strchr(text, '\\') == NULL)
	{
		append_quoted(buf, text, '\'');
		return;
	}
	psti_buf_puts(buf, "E'");
	for (const char *at = text; *at != '\0'; at++)
	{
		if (*at == '\\' || *at == '\'')
			psti_buf_putc(buf, *at);
		psti_buf_putc(buf, *at);
	}
	psti_buf_putc(buf, '\'');
}

void
psti_buf_int16(psti_buf *buf, int16_t value)
{
	uint8_t bytes[2];

	psti_put16(bytes, (uint16_t) value);
	psti_buf_append(buf, bytes, sizeof(bytes));
}

void
psti_buf_int32(psti_buf *buf, int32_t value)
{
	uint8_t bytes[4];

	psti_put32(bytes, (uint32_t) value);
	psti_buf_append(buf, bytes, sizeof(bytes));
}

void
psti_buf_int64(psti_buf *buf, int64_t value)
{
	uint8_t bytes[8];

	psti_put64(bytes, (uint64_t) value);
	psti_buf_append(buf, bytes, sizeof(bytes));
}

void
psti_buf_int32_at(psti_buf *buf, size_t offset, int32_t value)
{
	if (!buf->failed && offset + 4 <= buf->len)
		psti_put32(buf->data + offset, (uint32_t) value);
}

void
psti_buf_reset(psti_buf *buf)
{
	buf->len = 0;
	buf->failed = false;
	if (buf->data != NULL)
		buf->data[0] = '\0';
}

void
psti_buf_free(psti_buf *buf)
{
	free(buf->data);
	*buf = (psti_buf) PSTI_BUF_INIT;
}

pst_status
psti_buf_check(const psti_buf *buf, pst_error *err)
{
	return buf->failed ? psti_fail_nomem(err) : PST_OK;
}

char *
psti_buf_steal(psti_buf *buf)
{
	char *text;

	if (buf->data == NULL && grow(buf, 0))
		buf->data[0] = '\0';
	if (buf->failed)
	{
		psti_buf_free(buf);
		return NULL;
	}
	text = buf->data;
	*buf = (psti_buf) PSTI_BUF_INIT;
	return text;
}
