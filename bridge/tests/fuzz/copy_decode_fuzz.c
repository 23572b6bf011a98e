/*
 * copy_decode_fuzz.c - any bytes as a binary COPY. The first two bytes say the columns: how many, of
 * what types, forms and policy; the third the slices in which the rest is fed.
 *
 * A batch that comes out must be readable to its end; ASan sees to the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "copy_decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_COLUMNS 4

/* Reads every value, so that a wrong offset is a read out of bounds. */
static unsigned
read_array(const struct ArrowArray *array, int width)
{
	const uint8_t *valid = array->buffers[0];
	unsigned sum = 0;

	for (int64_t i = 0; valid != NULL && i < (array->length + 7) / 8; i++)
		sum += valid[i];
	if (array->n_buffers == 3 || array->n_children == 1)
	{
		const int32_t *offsets = array->buffers[1];

		for (int64_t i = 0; i < array->length; i++)
			if (offsets[i] < 0 || offsets[i + 1] < offsets[i])
				abort();
		for (int32_t k = 0; array->n_buffers == 3 && k < offsets[array->length]; k++)
			sum += ((const uint8_t *) array->buffers[2])[k];
		if (array->n_children == 1)
		{
			if (array->children[0]->length != offsets[array->length])
				abort();
			sum += read_array(array->children[0], width);
		}
	}
	else
		for (int64_t i = 0; i < (width > 0 ? array->length * width : (array->length + 7) / 8); i++)
			sum += ((const uint8_t *) array->buffers[1])[i];
	return sum;
}

static int
width_of(const psti_copy_column *column)
{
	char format[32];

	psti_copy_format(column, format, sizeof(format));
	switch (format[0])
	{
		case 'b':
			return 0;
		case 's':
			return 2;
		case 'i':
		case 'f':
			return 4;
		case 'l':
		case 'g':
			return 8;
		case 'w':
		case 'd':
			return 16;
		case 't':
			return format[1] == 'd' ? 4 : format[1] == 'i' ? 16 : 8;
		default:
			return 4;
	}
}

/* Whether rows are kept as they came. */
static bool
tuples_of(const uint8_t *data)
{
	return data[1] % 16 == 15;
}

/* Every row must be whole: as many fields as there are columns, and nothing behind them. */
static void
take_tuples(psti_copy_decoder *decoder, size_t ncolumns)
{
	const psti_tuples *tuples = psti_copy_tuples(decoder);

	if ((int64_t) tuples->nrows != psti_copy_pending(decoder))
		abort();
	for (size_t i = 0; i < tuples->nrows; i++)
	{
		const uint8_t *at = (const uint8_t *) tuples->bytes.data + tuples->starts[i];
		const uint8_t *end = (const uint8_t *) tuples->bytes.data + psti_tuples_end(tuples, i);

		if (psti_get16(at) != ncolumns)
			abort();
		at += 2;
		for (size_t c = 0; c < ncolumns; c++)
		{
			int32_t n = (int32_t) psti_get32(at);

			at += 4 + (n > 0 ? n : 0);
		}
		if (at != end)
			abort();
	}
	psti_copy_tuples_done(decoder);
}

/* So that the reading is not optimised away. */
static volatile unsigned checksum;

static void
take(psti_copy_decoder *decoder, const psti_copy_column *columns, const uint8_t *data)
{
	struct ArrowArray array;
	pst_error err = PST_ERROR_INIT;

	if (tuples_of(data))
	{
		take_tuples(decoder, data[0] % (MAX_COLUMNS + 1));
		return;
	}
	if (psti_copy_take(decoder, &array, &err) != PST_OK)
		return;
	for (int64_t c = 0; c < array.n_children; c++)
	{
		if (array.children[c]->length != array.length)
			abort();
		checksum += read_array(array.children[c], width_of(&columns[c]));
	}
	array.release(&array);
}

static psti_copy_decoder *
make_decoder(const uint8_t *data, psti_copy_column columns[MAX_COLUMNS])
{
	static const char *const names[MAX_COLUMNS] = {"a", "b", "c", "d"};
	size_t n = data[0] % (MAX_COLUMNS + 1);
	psti_copy_limits limits = {3, 1000, 2000, (psti_special) (data[0] / 8 % 3), tuples_of(data)};
	psti_copy_decoder *decoder = NULL;
	pst_error err = PST_ERROR_INIT;

	for (size_t i = 0; i < n; i++)
	{
		psti_copy_column *column = &columns[i];

		memset(column, 0, sizeof(*column));
		column->name = names[i];
		column->type = (psti_copy_type) ((data[1] + i * 5) % PSTI_COPY_NTYPES);
		column->form = (psti_copy_form) ((data[0] / 64 + i) % 3);
		column->list =
			(data[1] & 128) && column->type != PSTI_COPY_OID && column->type != PSTI_COPY_TIMETZ;
		column->elem = 23;
		column->key = i == 1;
		column->not_null = i == 2;
		column->precision = 1 + data[1] % 38;
		column->scale = data[0] % column->precision;
	}
	return psti_copy_decoder_new(columns, n, &limits, &decoder, &err) == PST_OK ? decoder : NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	psti_copy_column columns[MAX_COLUMNS];
	psti_copy_decoder *decoder;
	pst_error err = PST_ERROR_INIT;
	pst_status status = PST_OK;
	size_t at = 3;
	size_t slice;

	if (size < 3 || (decoder = make_decoder(data, columns)) == NULL)
		return 0;
	slice = data[2] == 0 ? size : data[2];
	while (status >= 0 && at < size)
	{
		size_t used = 0;
		size_t n = size - at < slice ? size - at : slice;

		status = psti_copy_feed(decoder, data + at, n, &used, &err);
		if (used > n || (status < 0 && err.message[0] == '\0'))
			abort();
		at += used;
		if (status == PST_AGAIN)
			take(decoder, columns, data);
		else if (status == PST_OK && used != n)
			abort();
	}
	if (status >= 0)
		take(decoder, columns, data);
	(void) psti_copy_finish(decoder, &err);
	psti_copy_decoder_free(decoder);
	return 0;
}
