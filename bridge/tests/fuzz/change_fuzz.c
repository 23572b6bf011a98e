/*
 * change_fuzz.c - any bytes as messages of the output plugin.
 *
 * A length of two bytes stands before each message. What is given must be readable to its last byte, and
 * numbers must grow within a transaction.
 */
#include <stdlib.h>

#include "change.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned sum; /* so that the reads are not left out */

static void
touch(change_bytes bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		sum += bytes.data[i];
}

static void
touch_tuple(const change_tuple *tuple)
{
	change_bytes values = tuple->values;
	change_bytes value;
	change_state state;

	while (tuple->there && change_read_value(&values, &state, &value) == CHANGE_OK)
		touch(value);
}

static void
touch_relation(const change_relation *relation)
{
	change_bytes columns = relation->columns;
	change_column column;
	unsigned n = 0;

	touch(relation->schema);
	touch(relation->name);
	while (change_read_column(&columns, &column) == CHANGE_OK)
	{
		touch(column.name);
		touch(column.type_name);
		n++;
	}
	if (n != relation->ncolumns || columns.len != 0)
		abort();
}

static void
touch_truncate(const change_truncate *truncate)
{
	change_bytes relations = truncate->relations;
	uint32_t index;
	unsigned n = 0;

	while (change_read_index(&relations, &index) == CHANGE_OK)
		n++;
	/* An index that cannot be ends the reading. */
	if (n > truncate->nrelations)
		abort();
}

/* The number of a change, 0 for records that have none. */
static uint64_t
touch_record(const change_record *r)
{
	switch (r->kind)
	{
		case CHANGE_RELATION:
			touch_relation(&r->relation);
			return 0;
		case CHANGE_BEGIN:
			touch(r->begin.origin);
			return 0;
		case CHANGE_TRUNCATE:
			touch_truncate(&r->truncate);
			return r->truncate.number;
		case CHANGE_MESSAGE:
			touch(r->message.prefix);
			touch(r->message.content);
			return r->message.number;
		case CHANGE_COMMIT:
			return 0;
		default:
			touch_tuple(&r->row.old);
			touch_tuple(&r->row.fresh);
			return r->row.number;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	change_reader reader = {0};
	uint64_t last = 0;
	change_status status = CHANGE_END;

	while (size >= 2 && status == CHANGE_END)
	{
		size_t n = (size_t) data[0] << 8 | data[1];
		change_record r;
		uint8_t version;

		n = n < size - 2 ? n : size - 2;
		status = change_open(&reader, data + 2, n, &version);
		while (status == CHANGE_OK && (status = change_next(&reader, &r)) == CHANGE_OK)
		{
			uint64_t number = touch_record(&r);

			if (r.kind == CHANGE_BEGIN)
				last = 0;
			if (number != 0 && number <= last)
				abort();
			last = number != 0 ? number : last;
		}
		data += 2 + n;
		size -= 2 + n;
	}
	return 0;
}
