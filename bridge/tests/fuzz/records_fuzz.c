/*
 * records_fuzz.c - any bytes as messages of output plugin penstock, each with its length before it, two
 * bytes: what comes out is made into tables and batches, and those are read to the end.
 */
#include <stdlib.h>
#include <string.h>

#include "arrow_walk.h"
#include "bytes.h"
#include "cdc/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Batches that are looked at; and rows, for NULLs take no bytes of the input. */
#define ROWS 64

typedef struct reader
{
	psti_column_rules rules;
	psti_options *options;
	psti_change_decoder *decoder;
	psti_rows *rows;
	psti_table *tables[16]; /* all that were made, the last of them in use */
	size_t ntables;
	pst_error err;
} reader;

static volatile uint64_t sum;

static void
insist(bool holds)
{
	if (!holds)
		abort();
}

static void
take(reader *self)
{
	pst_change_batch batch;

	if (psti_rows_pending(self->rows) == 0)
		return;
	insist(psti_rows_take(self->rows, &batch, &self->err) == PST_OK);
	sum += test_arrow_walk(batch.schema, &batch.array, 0, batch.array.length);
	for (int64_t c = 0; batch.unchanged != NULL && c < batch.array.n_children; c++)
		if (batch.unchanged[c] != NULL)
			sum = test_arrow_walk_bits(sum, batch.unchanged[c], 0, (uint64_t) batch.array.length);
	batch.array.release(&batch.array);
}

static pst_status
make_table(reader *self, psti_stream_relation *relation)
{
	psti_table *table;
	pst_status status;

	if (self->ntables == sizeof(self->tables) / sizeof(self->tables[0]))
	{
		take(self);
		self->decoder->forget_tables(self->decoder);
		while (self->ntables > 0)
			psti_table_free(self->tables[--self->ntables]);
	}
	status = psti_table_of_stream(&self->rules, relation, &table, &self->err);
	if (status != PST_OK)
		return status;
	insist(psti_table_same(table, table));
	for (size_t i = 0; i < table->ncolumns; i++)
		insist(psti_table_find(table, table->names[i]) <= i);
	relation->table = table;
	self->tables[self->ntables++] = table;
	return PST_OK;
}

static pst_status
put(reader *self, const psti_change *change, const psti_row *row, int8_t kind)
{
	const psti_row_facts facts = {.kind = kind, .sequence = change->number, .lsn = change->lsn};
	psti_stream_relation *relation = change->row.relation;
	pst_status status = relation->table == NULL ? make_table(self, relation) : PST_OK;

	if (status != PST_OK || row == NULL)
		return status;
	if (!psti_rows_fit(self->rows, relation->table, NULL, 1, 0))
		take(self);
	return psti_rows_put(self->rows, relation->table, row, &facts, &self->err);
}

static pst_status
read_change(reader *self, const psti_change *change)
{
	pst_status status = PST_OK;

	switch (change->kind)
	{
		case PSTI_CHANGE_INSERT:
		case PSTI_CHANGE_UPDATE:
		case PSTI_CHANGE_DELETE:
			insist(change->number > 0);
			status = put(self, change, change->row.old, PST_ROW_UPDATE_BEFORE);
			return status == PST_OK ? put(self, change, change->row.fresh, PST_ROW_UPDATE_AFTER)
									: status;
		case PSTI_CHANGE_TRUNCATE:
			insist(change->truncate.n > 0);
			for (size_t i = 0; i < change->truncate.n; i++)
				sum += strlen(change->truncate.relations[i]->name);
			break;
		case PSTI_CHANGE_MESSAGE:
			sum += strlen(change->message.prefix);
			sum = test_arrow_walk_bytes(sum, change->message.content, 0, change->message.nbytes);
			break;
		case PSTI_CHANGE_BEGIN:
			sum += change->begin.origin == NULL ? 0 : strlen(change->begin.origin);
			break;
		case PSTI_CHANGE_RELATION:
			status = make_table(self, change->relation);
			break;
		case PSTI_CHANGE_COMMIT:
			break;
	}
	return status;
}

static pst_status
read_message(reader *self, const void *message, size_t n)
{
	psti_change change;
	pst_status status = self->decoder->open(self->decoder, 1, message, n, &self->err);

	while (status == PST_OK)
	{
		status = self->decoder->next(self->decoder, &change, &self->err);
		if (status == PST_OK)
			status = read_change(self, &change);
	}
	return status;
}

static void
begin(reader *self)
{
	const psti_rows_limits limits = {.rows = ROWS, .bytes = 4096, .special = PSTI_SPECIAL_ERROR};
	const char *none[] = {NULL};
	pst_status status = psti_options_new(none, none, PSTI_CDC, NULL, &self->options, &self->err);

	if (status == PST_OK)
		status = psti_records_new(&self->decoder, &self->err);
	if (status == PST_OK)
		status = psti_rows_new(&limits, &self->rows, &self->err);
	insist(status == PST_OK);
	self->rules = (psti_column_rules){
		.options = self->options, .server_version = 150000, .integer_datetimes = true};
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	reader self = {.ntables = 0};
	pst_status status = PST_OK;

	begin(&self);
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
		status = read_message(&self, message, n);
		free(message);
	}
	if (status < PST_OK)
		insist(self.err.status == status && self.err.message[0] != '\0');
	else
		take(&self);
	psti_rows_free(self.rows);
	self.decoder->free(self.decoder);
	for (size_t i = 0; i < self.ntables; i++)
		psti_table_free(self.tables[i]);
	psti_options_free(self.options);
	return 0;
}
