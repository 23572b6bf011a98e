/*
 * codec_io.h - for tests of codecs: inputs in pieces, whole decodes and encodes, batches of texts.
 */
#ifndef TEST_CODEC_IO_H
#define TEST_CODEC_IO_H

#include <errno.h>

#include "test.h"

#include "arrow_build.h"
#include "buf.h"
#include "text_batch.h"

/* A text that a decoder reads in pieces of `piece` bytes, EAGAIN before each when pausing. */
typedef struct text_input
{
	const char *text;
	size_t nbytes;
	size_t piece;
	bool pausing;
	bool paused;
} text_input;

static inline int
read_text(void *ctx, void *data, size_t nbytes, size_t *nread)
{
	text_input *in = ctx;
	size_t n = in->nbytes < in->piece ? in->nbytes : in->piece;

	if (in->pausing && !in->paused)
	{
		in->paused = true;
		return EAGAIN;
	}
	in->paused = false;
	n = n < nbytes ? n : nbytes;
	memcpy(data, in->text, n);
	in->text += n;
	in->nbytes -= n;
	*nread = n;
	return 0;
}

static inline text_input
input_of(const char *text)
{
	return (text_input){text, strlen(text), 1 << 20, false, false};
}

static inline int
collect(void *ctx, const void *data, size_t nbytes)
{
	psti_buf_append(ctx, data, nbytes);
	return 0;
}

/* A row as the tests write it: fields in brackets, NULL as ~, absent as -, its kind before them. */
static inline void
show_batch(const struct ArrowArray *batch, const int8_t *kinds, const uint8_t *const *absent,
		   psti_buf *out)
{
	for (int64_t row = 0; row < batch->length; row++)
	{
		if (kinds != NULL)
			psti_buf_printf(out, "%d", kinds[row]);
		for (int64_t c = 0; c < batch->n_children; c++)
		{
			const struct ArrowArray *column = batch->children[c];
			const int32_t *offsets = column->buffers[1];

			if (absent != NULL && absent[c] != NULL && psti_bit_get(absent[c], row))
				psti_buf_puts(out, "-");
			else if (psti_array_null(column, row))
				psti_buf_puts(out, "~");
			else
				psti_buf_printf(out, "[%.*s]", (int) (offsets[row + 1] - offsets[row]),
								offsets[row + 1] > offsets[row]
									? (const char *) column->buffers[2] + offsets[row]
									: "");
		}
		psti_buf_putc(out, ';');
	}
}

/* Decodes all, as text of show_batch. The error of the end, if any, is in err. */
static inline pst_status
decode_with(const char *const *keys, const char *const *values, const char *describe,
			text_input *in, psti_buf *names, psti_buf *out, pst_error *err)
{
	pst_decoder *decoder = NULL;
	struct ArrowSchema schema;
	struct ArrowArray batch;
	const int8_t *kinds;
	pst_status status = pst_decoder_new(keys, values, describe, read_text, in, &decoder, err);

	memset(&schema, 0, sizeof(schema));
	if (status == PST_OK)
		do
			status = pst_decoder_schema(decoder, &schema, err);
		while (status == PST_AGAIN);
	for (int64_t c = 0; status == PST_OK && names != NULL && c < schema.n_children; c++)
		psti_buf_printf(names, "%s ", schema.children[c]->name);
	while (status == PST_OK || status == PST_AGAIN)
	{
		status = pst_decoder_next(decoder, &batch, &kinds, err);
		if (status == PST_OK)
		{
			show_batch(&batch, kinds, pst_decoder_unchanged(decoder), out);
			batch.release(&batch);
		}
	}
	if (schema.release != NULL)
		schema.release(&schema);
	pst_decoder_free(decoder);
	return status;
}

/* A struct array of text columns from cells, NULL where a cell is NULL. */
static inline void
make_batch(const char *const *names, size_t ncolumns, const char *const *cells, size_t nrows,
		   struct ArrowSchema *schema, struct ArrowArray *array)
{
	psti_text_batch batch;
	int8_t *kinds;
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_schema_init(schema, "+s", "", false, (int64_t) ncolumns, &err), &err);
	for (size_t c = 0; c < ncolumns; c++)
		assert_ok(psti_schema_init(schema->children[c], "u", names[c], true, 0, &err), &err);
	assert_ok(psti_text_batch_init(&batch, ncolumns, false, &err), &err);
	for (size_t r = 0; r < nrows; r++)
	{
		assert_ok(psti_text_batch_reserve(&batch, &err), &err);
		for (size_t c = 0; c < ncolumns; c++)
		{
			const char *cell = cells[r * ncolumns + c];

			if (cell == NULL)
				psti_text_batch_null(&batch, c);
			else
			{
				psti_buf_puts(psti_text_batch_cell(&batch, c), cell);
				psti_text_batch_done(&batch, c);
			}
		}
		assert_ok(psti_text_batch_row(&batch, 0, &err), &err);
	}
	assert_ok(psti_text_batch_take(&batch, NULL, ncolumns, array, NULL, &kinds, &err), &err);
	psti_text_batch_free(&batch);
}

static inline pst_status
encode_with(const char *const *keys, const char *const *values, const struct ArrowSchema *schema,
			const struct ArrowArray *array, psti_buf *out, pst_error *err)
{
	pst_encoder *encoder = NULL;
	pst_status status = pst_encoder_new(keys, values, schema, &encoder, err);

	if (status == PST_OK)
		status = pst_encoder_begin(encoder, collect, out, err);
	if (status == PST_OK)
		status = pst_encoder_write(encoder, array, collect, out, err);
	if (status == PST_OK)
		status = pst_encoder_end(encoder, collect, out, err);
	pst_encoder_free(encoder);
	return status;
}

#endif /* TEST_CODEC_IO_H */
