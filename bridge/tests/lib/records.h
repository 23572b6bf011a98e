/*
 * records.h - messages of output plugin penstock, put together byte by byte (docs/wire.md).
 *
 * A message is begun by records_begin and freed by psti_buf_free; a tuple is texts separated by |, where
 * \N is NULL, \U unchanged, and #5 the four bytes of the int4.
 */
#ifndef TEST_RECORDS_H
#define TEST_RECORDS_H

#include <stdlib.h>

#include "buf.h"
#include "bytes.h"
#include "change.h" /* of wire/ */

static inline psti_buf
records_begin(void)
{
	psti_buf m = PSTI_BUF_INIT;

	psti_buf_putc(&m, CHANGE_VERSION);
	return m;
}

static inline size_t
records_open(psti_buf *m, char kind)
{
	psti_buf_putc(m, kind);
	psti_buf_int32(m, 0);
	return m->len;
}

static inline void
records_close(psti_buf *m, size_t start)
{
	psti_buf_int32_at(m, start - 4, (int32_t) (m->len - start));
}

static inline void
records_text(psti_buf *m, const char *text)
{
	psti_buf_int16(m, (int16_t) strlen(text));
	psti_buf_puts(m, text);
}

static inline void
records_transaction(psti_buf *m, uint64_t xid, uint64_t commit_lsn, const char *origin)
{
	size_t start = records_open(m, CHANGE_BEGIN);

	psti_buf_int64(m, (int64_t) xid);
	psti_buf_int64(m, (int64_t) commit_lsn);
	psti_buf_int64(m, 777);
	records_text(m, origin);
	records_close(m, start);
}

static inline void
records_commit(psti_buf *m, uint64_t end_lsn, uint64_t nchanges)
{
	size_t start = records_open(m, CHANGE_COMMIT);

	psti_buf_int64(m, (int64_t) end_lsn);
	psti_buf_int64(m, (int64_t) nchanges);
	records_close(m, start);
}

/* A column: its flags, and a type that is known by its OID; element 0: no array. */
typedef struct records_column
{
	const char *name;
	uint8_t form;
	uint8_t flags;
	uint32_t type;
	uint32_t element;
	const char *type_name;
} records_column;

typedef struct records_table
{
	uint16_t index;
	uint32_t oid;
	uint32_t leaf;
	char identity;
	const char *name; /* in schema public */
	const records_column *columns;
	size_t ncolumns;
} records_table;

static inline void
records_relation(psti_buf *m, const records_table *table)
{
	size_t start = records_open(m, CHANGE_RELATION);

	psti_buf_int16(m, (int16_t) table->index);
	psti_buf_int32(m, (int32_t) table->oid);
	psti_buf_int32(m, (int32_t) table->leaf);
	psti_buf_int32(m, 4711);
	psti_buf_putc(m, 'r');
	psti_buf_putc(m, table->identity);
	psti_buf_putc(m, 'p');
	records_text(m, "public");
	records_text(m, table->name);
	for (size_t i = 0; i < table->ncolumns; i++)
	{
		const records_column *column = &table->columns[i];

		psti_buf_putc(m, (char) column->form);
		psti_buf_putc(m, (char) column->flags);
		psti_buf_int32(m, (int32_t) column->type);
		psti_buf_int32(m, (int32_t) column->type);
		psti_buf_int32(m, (int32_t) column->element);
		psti_buf_int32(m, -1);
		records_text(m, column->name);
		records_text(m, column->type_name);
	}
	records_close(m, start);
}

static inline void
records_tuple(psti_buf *m, const char *values)
{
	for (;; values++)
	{
		size_t n = strcspn(values, "|");

		if (n == 2 && memcmp(values, "\\N", 2) == 0)
			psti_buf_putc(m, (char) CHANGE_BYTE_NULL);
		else if (n == 2 && memcmp(values, "\\U", 2) == 0)
			psti_buf_putc(m, (char) CHANGE_BYTE_UNCHANGED);
		else if (values[0] == '#')
		{
			psti_buf_putc(m, 4);
			psti_buf_int32(m, (int32_t) strtol(values + 1, NULL, 10));
		}
		else if (n > CHANGE_SHORT_MAX)
		{
			psti_buf_putc(m, (char) CHANGE_BYTE_LONG);
			psti_buf_int32(m, (int32_t) n);
			psti_buf_append(m, values, n);
		}
		else
		{
			psti_buf_putc(m, (char) n);
			psti_buf_append(m, values, n);
		}
		values += n;
		if (*values == '\0')
			return;
	}
}

/* flags: CHANGE_ROW_… beside OLD, which comes with old. The LSN moves on by one. */
static inline void
records_row(psti_buf *m, char kind, uint16_t index, uint8_t flags, const char *old,
			const char *fresh)
{
	size_t start = records_open(m, kind);
	size_t length;

	psti_buf_int16(m, (int16_t) index);
	psti_buf_putc(m, (char) (flags | (old != NULL ? CHANGE_ROW_OLD : 0)));
	psti_buf_putc(m, 0);
	psti_buf_putc(m, 2);
	if (old != NULL)
	{
		length = m->len;
		psti_buf_int32(m, 0);
		records_tuple(m, old);
		psti_buf_int32_at(m, length, (int32_t) (m->len - length - 4));
	}
	if (fresh != NULL)
		records_tuple(m, fresh);
	records_close(m, start);
}

static inline void
records_truncate(psti_buf *m, const uint16_t *indexes, size_t n)
{
	size_t start = records_open(m, CHANGE_TRUNCATE);

	psti_buf_putc(m, 0);
	psti_buf_putc(m, 2);
	psti_buf_putc(m, 0);
	for (size_t i = 0; i < n; i++)
		psti_buf_int16(m, (int16_t) indexes[i]);
	records_close(m, start);
}

/* lsn 0: of the transaction. */
static inline void
records_message(psti_buf *m, uint64_t lsn, const char *prefix, const char *content)
{
	size_t start = records_open(m, CHANGE_MESSAGE);

	psti_buf_putc(m, lsn == 0);
	if (lsn == 0)
	{
		psti_buf_putc(m, 0);
		psti_buf_putc(m, 2);
	}
	else
		psti_buf_int64(m, (int64_t) lsn);
	records_text(m, prefix);
	psti_buf_puts(m, content);
	records_close(m, start);
}

#endif /* TEST_RECORDS_H */
