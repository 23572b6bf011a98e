/* sink_lot.c - rows as array parameters: per column the fields of many rows behind each other. */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"

/* array_send's header of one dimension: five words. */
#define ARRAY_HEADER 20

static bool
lot_skips(const uint8_t *skip, size_t c)
{
	return skip != NULL && psti_bit_get(skip, (int64_t) c);
}

pst_status
psti_lot_init(psti_lot *lot, const psti_sink_plan *plan, size_t ncolumns, const uint8_t *skip,
			  pst_error *err)
{
	*lot = (psti_lot){0};
	lot->arrays = calloc(ncolumns + PSTI_LOT_EXTRA, sizeof(*lot->arrays));
	lot->params = calloc(ncolumns + PSTI_LOT_EXTRA, sizeof(*lot->params));
	lot->lengths = calloc(ncolumns + PSTI_LOT_EXTRA, sizeof(*lot->lengths));
	lot->formats = calloc(ncolumns + PSTI_LOT_EXTRA, sizeof(*lot->formats));
	lot->types = calloc(ncolumns + PSTI_LOT_EXTRA, sizeof(*lot->types));
	if (lot->arrays == NULL || lot->params == NULL || lot->lengths == NULL ||
		lot->formats == NULL || lot->types == NULL)
		return psti_fail_nomem(err);
	for (size_t c = 0; c < ncolumns; c++)
	{
		psti_buf *array;

		if (lot_skips(skip, c))
			continue;
		array = &lot->arrays[lot->ncolumns];
		psti_buf_int32(array, 1);
		psti_buf_int32(array, 0);
		psti_buf_int32(array, (int32_t) plan->columns[c].type);
		psti_buf_int32(array, 0);
		psti_buf_int32(array, 1);
		lot->types[lot->ncolumns++] = plan->columns[c].array;
	}
	return PST_OK;
}

void
psti_lot_add(psti_lot *lot, const char *tuple, size_t ncolumns, const uint8_t *skip)
{
	psti_field field = psti_field_first(tuple);
	psti_buf *array = lot->arrays;

	for (size_t c = 0; c < ncolumns; c++)
	{
		if (c > 0)
			field = psti_field_next(field);
		if (lot_skips(skip, c))
			continue;
		psti_buf_append(array, field.data - 4, (size_t) (field.next - field.data) + 4);
		/* The flag that says there are NULLs. */
		if (field.nbytes < 0 && !array->failed)
			array->data[7] = 1;
		array++;
	}
}

pst_status
psti_lot_finish(psti_lot *lot, int64_t nrows, pst_error *err)
{
	for (int c = 0; c < lot->ncolumns; c++)
	{
		psti_buf *array = &lot->arrays[c];

		if (array->failed)
			return psti_fail_nomem(err);
		if (array->len > 1000000000)
			return psti_fail_sqlstate(err, "54000", "a column of one lot has more than 1 GB");
		if (nrows == 0)
		{
			psti_put32(array->data, 0);
			array->len = ARRAY_HEADER - 8;
		}
		else
			psti_put32(array->data + 12, (uint32_t) nrows);
		lot->params[c] = array->data;
		lot->lengths[c] = (int) array->len;
		lot->formats[c] = 1;
	}
	return PST_OK;
}

void
psti_lot_free(psti_lot *lot)
{
	for (int c = 0; lot->arrays != NULL && c < lot->ncolumns; c++)
		psti_buf_free(&lot->arrays[c]);
	free(lot->arrays);
	free(lot->params);
	free(lot->lengths);
	free(lot->formats);
	free(lot->types);
	*lot = (psti_lot){0};
}
