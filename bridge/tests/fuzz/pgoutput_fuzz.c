/*
 * pgoutput_fuzz.c - any bytes as messages of pgoutput: each has its length before it, two bytes. What is
 * given is read to the end.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cdc/change.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sum;

/* Every third type is gone, arrays are of the type that lies two before. */
static pst_status
complete(void *ctx, psti_stream_relation *relation, size_t *order, pst_error *err)
{
	(void) ctx;
	(void) order;
	(void) err;
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		psti_type *type = &relation->columns[i].type;

		type->name = strdup(type->oid % 3 == 2 ? "" : "type");
		if (type->typmod == 7)
			type->elem = type->elem_base = type->oid;
	}
	return PST_OK;
}

static void
read_bytes(const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t) (sum + bytes[i]);
}

static void
read_row(const psti_stream_relation *relation, const psti_row *row)
{
	for (size_t i = 0; row != NULL && i < relation->ncolumns; i++)
	{
		if (row->unchanged != NULL && row->unchanged[i] && row->values[i].data != NULL)
			abort();
		if (!row->values[i].null)
			read_bytes(row->values[i].data, row->values[i].len);
	}
}

static void
read_change(const psti_change *change)
{
	switch (change->kind)
	{
		case PSTI_CHANGE_INSERT:
		case PSTI_CHANGE_UPDATE:
		case PSTI_CHANGE_DELETE:
			if (change->number == 0)
				abort();
			read_row(change->row.relation, change->row.old);
			read_row(change->row.relation, change->row.fresh);
			break;
		case PSTI_CHANGE_TRUNCATE:
			for (size_t i = 0; i < change->truncate.n; i++)
				read_bytes(change->truncate.relations[i]->name,
						   strlen(change->truncate.relations[i]->name));
			break;
		case PSTI_CHANGE_MESSAGE:
			read_bytes(change->message.prefix, strlen(change->message.prefix));
			read_bytes(change->message.content, change->message.nbytes);
			break;
		case PSTI_CHANGE_BEGIN:
			if (change->begin.origin != NULL)
				read_bytes(change->begin.origin, strlen(change->begin.origin));
			break;
		default:
			break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	psti_change_decoder *decoder = NULL;
	psti_change change;
	pst_error err = PST_ERROR_INIT;
	pst_status status = psti_pgoutput_new(complete, NULL, &decoder, &err);

	while (status >= PST_OK && size >= 2)
	{
		size_t n = psti_get16(data);
		void *message;

		data += 2;
		size -= 2;
		if (n > size)
			n = size;
		/* A copy of its own, so that the sanitizer sees its end. */
		message = malloc(n > 0 ? n : 1);
		memcpy(message, data, n);
		data += n;
		size -= n;
		status = decoder->open(decoder, 1, message, n, &err);
		while (status == PST_OK)
		{
			status = decoder->next(decoder, &change, &err);
			if (status == PST_OK)
				read_change(&change);
		}
		free(message);
	}
	if (status < PST_OK && (err.status != status || err.message[0] == '\0'))
		abort();
	decoder->free(decoder);
	return 0;
}
