/*
 * change.c - change records out of hostile bytes. See change.h.
 *
 * A cursor takes parts off the front of a record; what is not there sets `bad` and reads as zero, so
 * that a record is parsed straight on and tested once.
 */
#include "change.h"

typedef struct cursor
{
	const uint8_t *at;
	size_t left;
	bool bad; /* sticks */
} cursor;

static const uint8_t *
take(cursor *c, size_t n)
{
	static const uint8_t zeros[8];
	const uint8_t *at = c->at;

	if (n > c->left || c->bad)
	{
		c->bad = true;
		return zeros;
	}
	c->at += n;
	c->left -= n;
	return at;
}

/* An unsigned integer of n bytes, at most 8. */
static uint64_t
take_int(cursor *c, size_t n)
{
	const uint8_t *at = take(c, n);
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | at[i];
	return value;
}

/* Seven bits a byte, the lowest first; the highest bit says that more follow. */
static uint64_t
take_varint(cursor *c)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7)
	{
		uint8_t byte = *take(c, 1);

		value |= (uint64_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return value;
	}
	c->bad = true;
	return 0;
}

static change_bytes
take_bytes(cursor *c, size_t n)
{
	const uint8_t *at = take(c, n);

	return (change_bytes){at, c->bad ? 0 : n};
}

/* A text with its length before it. */
static change_bytes
take_text(cursor *c)
{
	size_t n = (size_t) take_int(c, 2);

	return take_bytes(c, n);
}

static change_bytes
take_rest(cursor *c)
{
	return take_bytes(c, c->left);
}

static uint32_t
take_index(cursor *c)
{
	uint32_t index = (uint32_t) take_int(c, 2);

	c->bad = c->bad || index >= CHANGE_RELATIONS_MAX;
	return index;
}

static void
read_relation(cursor *c, change_relation *out)
{
	out->index = take_index(c);
	out->oid = (uint32_t) take_int(c, 4);
	out->leaf = (uint32_t) take_int(c, 4);
	out->filenode = (uint32_t) take_int(c, 4);
	out->relkind = (char) take_int(c, 1);
	out->identity = (char) take_int(c, 1);
	out->persistence = (char) take_int(c, 1);
	out->schema = take_text(c);
	out->name = take_text(c);
	out->ncolumns = 0;
	out->columns = take_rest(c);
	if (c->bad)
		return;
	for (change_bytes columns = out->columns;; out->ncolumns++)
	{
		change_column column;
		change_status status = change_read_column(&columns, &column);

		c->bad = status == CHANGE_INVALID || out->ncolumns == UINT16_MAX;
		if (status != CHANGE_OK || c->bad)
			return;
	}
}

static void
read_begin(cursor *c, change_reader *reader, change_begin *out)
{
	out->xid = take_int(c, 8);
	out->commit_lsn = take_int(c, 8);
	out->commit_time = (int64_t) take_int(c, 8);
	out->origin = take_text(c);
	c->bad = c->bad || reader->in_transaction;
	reader->in_transaction = true;
	reader->number = 0;
	reader->lsn = out->commit_lsn;
}

static void
read_commit(cursor *c, change_reader *reader, change_commit *out)
{
	out->end_lsn = take_int(c, 8);
	out->nchanges = take_int(c, 8);
	c->bad = c->bad || !reader->in_transaction || out->nchanges < reader->number;
	reader->in_transaction = false;
}

/* How many changes lie between this one and the one before, and how far its LSN is from that one's. */
static void
read_place(cursor *c, change_reader *reader, uint64_t *number, uint64_t *lsn)
{
	uint64_t gap = take_varint(c);
	uint64_t step = take_varint(c);

	c->bad = c->bad || !reader->in_transaction || gap >= UINT64_MAX - reader->number;
	reader->number += gap + 1;
	/* Forth and back by turns: 0, -1, 1, -2 … */
	reader->lsn += (step >> 1) ^ (0 - (step & 1));
	*number = reader->number;
	*lsn = reader->lsn;
}

static void
read_row(cursor *c, change_reader *reader, change_kind kind, change_row *out)
{
	uint8_t flags;

	out->relation = take_index(c);
	flags = (uint8_t) take_int(c, 1);
	read_place(c, reader, &out->number, &out->lsn);
	out->old_is_whole = (flags & CHANGE_ROW_OLD_WHOLE) != 0;
	out->rewrite = (flags & CHANGE_ROW_REWRITE) != 0;
	out->rewrite_begins = (flags & CHANGE_ROW_REWRITE_BEGINS) != 0;
	out->old = (change_tuple){{NULL, 0}, (flags & CHANGE_ROW_OLD) != 0};
	out->fresh = (change_tuple){{NULL, 0}, kind != CHANGE_DELETE};
	if (out->old.there)
	{
		size_t n = (size_t) take_int(c, 4);

		out->old.values = take_bytes(c, n);
	}
	if (out->fresh.there)
		out->fresh.values = take_rest(c);
	c->bad = c->bad || c->left > 0 || (kind == CHANGE_INSERT && out->old.there) ||
			 (kind != CHANGE_INSERT && out->rewrite) || (out->rewrite_begins && !out->rewrite);
}

static void
read_truncate(cursor *c, change_reader *reader, change_truncate *out)
{
	read_place(c, reader, &out->number, &out->lsn);
	out->flags = (uint8_t) take_int(c, 1);
	out->relations = take_rest(c);
	out->nrelations = (uint32_t) (out->relations.len / 2);
	c->bad = c->bad || out->nrelations == 0 || out->relations.len % 2 != 0;
}

static void
read_message(cursor *c, change_reader *reader, change_message *out)
{
	out->transactional = take_int(c, 1) != 0;
	if (out->transactional)
		read_place(c, reader, &out->number, &out->lsn);
	else
	{
		out->number = 0;
		out->lsn = take_int(c, 8);
	}
	out->prefix = take_text(c);
	out->content = take_rest(c);
}

change_status
change_open(change_reader *reader, const void *data, size_t nbytes, uint8_t *version)
{
	reader->at = data;
	reader->left = nbytes;
	*version = nbytes > 0 ? reader->at[0] : 0;
	if (nbytes == 0)
		return CHANGE_INVALID;
	if (*version != CHANGE_VERSION)
		return CHANGE_VERSIONED;
	reader->at++;
	reader->left--;
	return CHANGE_OK;
}

/* The bytes of the next record. */
static change_status
next_bytes(change_reader *reader, uint8_t *kind, cursor *out)
{
	cursor head = {reader->at, reader->left, false};
	size_t n;

	if (head.left == 0)
		return CHANGE_END;
	*kind = (uint8_t) take_int(&head, 1);
	n = (size_t) take_int(&head, 4);
	*out = (cursor){take(&head, n), n, false};
	if (head.bad)
		return CHANGE_INVALID;
	reader->at = head.at;
	reader->left = head.left;
	return CHANGE_OK;
}

change_status
change_next(change_reader *reader, change_record *out)
{
	for (;;)
	{
		cursor c;
		uint8_t kind;
		change_status status = next_bytes(reader, &kind, &c);

		if (status != CHANGE_OK)
			return status;
		out->kind = (change_kind) kind;
		switch (out->kind)
		{
			case CHANGE_RELATION:
				read_relation(&c, &out->relation);
				break;
			case CHANGE_BEGIN:
				read_begin(&c, reader, &out->begin);
				break;
			case CHANGE_INSERT:
			case CHANGE_UPDATE:
			case CHANGE_DELETE:
				read_row(&c, reader, out->kind, &out->row);
				break;
			case CHANGE_TRUNCATE:
				read_truncate(&c, reader, &out->truncate);
				break;
			case CHANGE_MESSAGE:
				read_message(&c, reader, &out->message);
				break;
			case CHANGE_COMMIT:
				read_commit(&c, reader, &out->commit);
				break;
			default:
				continue;
		}
		return c.bad ? CHANGE_INVALID : CHANGE_OK;
	}
}

change_status
change_read_column(change_bytes *columns, change_column *out)
{
	cursor c = {columns->data, columns->len, false};
	uint8_t form;

	if (c.left == 0)
		return CHANGE_END;
	form = (uint8_t) take_int(&c, 1);
	out->form = (change_form) form;
	out->flags = (uint8_t) take_int(&c, 1);
	out->type = (uint32_t) take_int(&c, 4);
	out->base = (uint32_t) take_int(&c, 4);
	out->element = (uint32_t) take_int(&c, 4);
	out->typmod = (int32_t) (uint32_t) take_int(&c, 4);
	out->name = take_text(&c);
	out->type_name = take_text(&c);
	if (c.bad || form > CHANGE_BINARY)
		return CHANGE_INVALID;
	*columns = (change_bytes){c.at, c.left};
	return CHANGE_OK;
}

change_status
change_read_index(change_bytes *relations, uint32_t *index)
{
	cursor c = {relations->data, relations->len, false};

	*index = 0;
	if (c.left == 0)
		return CHANGE_END;
	*index = take_index(&c);
	*relations = (change_bytes){c.at, c.left};
	return c.bad ? CHANGE_INVALID : CHANGE_OK;
}
