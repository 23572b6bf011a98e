/* text_batch.c - batches of utf8 columns, filled row by row. */
#include "text_batch.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 256

static void
column_free(psti_text_column *column)
{
	psti_buf_free(&column->data);
	free(column->offsets);
	free(column->valid);
	free(column->absent);
	*column = (psti_text_column){.last = column->last};
}

pst_status
psti_text_batch_init(psti_text_batch *batch, size_t ncolumns, bool with_kinds, pst_error *err)
{
	memset(batch, 0, sizeof(*batch));
	batch->columns = calloc(ncolumns > 0 ? ncolumns : 1, sizeof(*batch->columns));
	if (batch->columns == NULL)
		return psti_fail_nomem(err);
	batch->ncolumns = ncolumns;
	batch->with_kinds = with_kinds;
	return PST_OK;
}

void
psti_text_batch_free(psti_text_batch *batch)
{
	for (size_t c = 0; batch->columns != NULL && c < batch->ncolumns; c++)
		column_free(&batch->columns[c]);
	free(batch->columns);
	free(batch->kinds);
	memset(batch, 0, sizeof(*batch));
}

/* A bitmap of `from` bytes made `to` bytes long, the new ones filled. */
static bool
grow_bits(uint8_t **bits, size_t from, size_t to, int fill)
{
	uint8_t *grown = realloc(*bits, to);

	if (grown == NULL)
		return false;
	memset(grown + from, fill, to - from);
	*bits = grown;
	return true;
}

static bool
column_grow(psti_text_column *column, size_t from, size_t to)
{
	int32_t *offsets = realloc(column->offsets, (to + 1) * sizeof(*offsets));

	if (offsets == NULL)
		return false;
	if (column->offsets == NULL)
	{
		offsets[0] = 0;
		psti_buf_reserve(&column->data, column->last + column->last / 16);
	}
	column->offsets = offsets;
	return grow_bits(&column->valid, column->valid == NULL ? 0 : from / 8, to / 8, 0) &&
		   (column->absent == NULL || grow_bits(&column->absent, from / 8, to / 8, 0));
}

pst_status
psti_text_batch_reserve(psti_text_batch *batch, pst_error *err)
{
	size_t from = (size_t) batch->room;
	size_t to = from > 0 ? 2 * from : FIRST_ROOM;

	if (batch->nrows < batch->room)
		return PST_OK;
	while (from == 0 && to < (size_t) batch->last)
		to *= 2;
	for (size_t c = 0; c < batch->ncolumns; c++)
		if (!column_grow(&batch->columns[c], from, to))
			return psti_fail_nomem(err);
	if (batch->with_kinds)
	{
		int8_t *kinds = realloc(batch->kinds, to);

		if (kinds == NULL)
			return psti_fail_nomem(err);
		batch->kinds = kinds;
	}
	batch->room = (int64_t) to;
	return PST_OK;
}

void
psti_text_batch_done(psti_text_batch *batch, size_t c)
{
	psti_text_column *column = &batch->columns[c];
	int64_t row = batch->nrows;

	psti_bit_set(column->valid, row);
	/* psti_text_batch_row refuses a row whose texts have outgrown int32. */
	column->offsets[row + 1] = (int32_t) column->data.len;
	column->filled = row + 1;
}

void
psti_text_batch_null(psti_text_batch *batch, size_t c)
{
	psti_text_column *column = &batch->columns[c];
	int64_t row = batch->nrows;

	column->offsets[row + 1] = column->offsets[row];
	column->nulls++;
	column->filled = row + 1;
}

static bool
mark_absent(psti_text_batch *batch, size_t c)
{
	psti_text_column *column = &batch->columns[c];

	psti_text_batch_null(batch, c);
	if (column->absent == NULL && !grow_bits(&column->absent, 0, (size_t) batch->room / 8, 0))
		return false;
	psti_bit_set(column->absent, batch->nrows);
	return true;
}

pst_status
psti_text_batch_row(psti_text_batch *batch, int8_t kind, pst_error *err)
{
	for (size_t c = 0; c < batch->ncolumns; c++)
	{
		psti_text_column *column = &batch->columns[c];

		if (column->filled <= batch->nrows && !mark_absent(batch, c))
			return psti_fail_nomem(err);
		if (column->data.failed)
			return psti_fail_nomem(err);
		/* Escapes inside escapes of nested row and array literals can do this. */
		if (column->data.len > INT32_MAX)
			return psti_fail(err, PST_ERR_DATA, "a value is longer than 2 GB as a literal");
		batch->nbytes += sizeof(int32_t) + (size_t) (column->offsets[batch->nrows + 1] -
													 column->offsets[batch->nrows]);
	}
	if (batch->with_kinds)
		batch->kinds[batch->nrows] = kind;
	batch->nrows++;
	return PST_OK;
}

void
psti_text_batch_undo(psti_text_batch *batch)
{
	int64_t row = batch->nrows;

	for (size_t c = 0; c < batch->ncolumns; c++)
	{
		psti_text_column *column = &batch->columns[c];

		if (column->offsets == NULL || column->valid == NULL || row >= batch->room)
			continue;
		if (column->filled > row && !psti_bit_get(column->valid, row))
			column->nulls--;
		column->valid[row >> 3] = (uint8_t) (column->valid[row >> 3] & ~(1u << (row & 7)));
		column->data.len = (size_t) column->offsets[row];
		column->filled = row;
	}
}

/* Moves one column to an array; a column that never had a row gets offsets all the same. */
static pst_status
column_take(psti_text_column *column, int64_t nrows, struct ArrowArray *out, uint8_t **absent,
			pst_error *err)
{
	pst_status status = psti_array_init(out, nrows, 3, 0, err);

	if (status != PST_OK)
		return status;
	if (column->offsets == NULL)
	{
		column->offsets = calloc(1, sizeof(*column->offsets));
		if (column->offsets == NULL)
			return psti_fail_nomem(err);
	}
	if (column->nulls > 0)
	{
		psti_array_buffer(out, 0, column->valid);
		column->valid = NULL;
	}
	out->null_count = column->nulls;
	psti_array_buffer(out, 1, column->offsets);
	psti_array_buffer(out, 2, column->data.data);
	column->offsets = NULL;
	/* One huge field must not make every batch after it as large. */
	column->last = column->data.len < PSTI_TEXT_BATCH_BYTES ? column->data.len : 0;
	column->data = (psti_buf) PSTI_BUF_INIT;
	*absent = column->absent;
	column->absent = NULL;
	return PST_OK;
}

static void
batch_clear(psti_text_batch *batch)
{
	for (size_t c = 0; c < batch->ncolumns; c++)
		column_free(&batch->columns[c]);
	batch->room = 0;
	batch->last = batch->nrows;
	batch->nrows = 0;
	batch->nbytes = 0;
}

pst_status
psti_text_batch_take(psti_text_batch *batch, const size_t *order, size_t norder,
					 struct ArrowArray *out, uint8_t **absent, int8_t **kinds, pst_error *err)
{
	pst_status status = psti_array_init(out, batch->nrows, 1, (int64_t) norder, err);

	for (size_t i = 0; absent != NULL && i < norder; i++)
		absent[i] = NULL;
	for (size_t i = 0; status == PST_OK && i < norder; i++)
	{
		size_t c = order != NULL ? order[i] : i;
		uint8_t *bits = NULL;

		status = column_take(&batch->columns[c], batch->nrows, out->children[i], &bits, err);
		if (absent != NULL)
			absent[i] = bits;
		else
			free(bits);
	}
	if (status == PST_OK)
	{
		*kinds = batch->kinds;
		batch->kinds = NULL;
	}
	else
	{
		for (size_t i = 0; absent != NULL && i < norder; i++)
		{
			free(absent[i]);
			absent[i] = NULL;
		}
		psti_array_release(out);
	}
	batch_clear(batch);
	return status;
}

pst_status
psti_text_batch_add(psti_text_batch *batch, pst_error *err)
{
	psti_text_column *columns =
		realloc(batch->columns, (batch->ncolumns + 1) * sizeof(*batch->columns));
	psti_text_column *column;
	size_t room = (size_t) batch->room;

	if (columns == NULL)
		return psti_fail_nomem(err);
	batch->columns = columns;
	column = &columns[batch->ncolumns];
	memset(column, 0, sizeof(*column));
	batch->ncolumns++;
	if (room == 0)
		return PST_OK;
	if (!column_grow(column, 0, room) || !grow_bits(&column->absent, 0, room / 8, 0))
		return psti_fail_nomem(err);
	memset(column->offsets, 0, (size_t) (batch->nrows + 1) * sizeof(*column->offsets));
	for (int64_t row = 0; row < batch->nrows; row++)
		psti_bit_set(column->absent, row);
	column->nulls = batch->nrows;
	column->filled = batch->nrows;
	return PST_OK;
}

int8_t
psti_row_kind(const char *text, size_t nbytes)
{
	static const char kinds[][3] = {
		[PST_ROW_INSERT] = "+I",
		[PST_ROW_UPDATE_BEFORE] = "-U",
		[PST_ROW_UPDATE_AFTER] = "+U",
		[PST_ROW_DELETE] = "-D",
	};

	if (nbytes == 0)
		return PST_ROW_INSERT;
	for (int8_t kind = 0; kind < 4; kind++)
		if (nbytes == 2 && memcmp(text, kinds[kind], 2) == 0)
			return kind;
	return -1;
}
