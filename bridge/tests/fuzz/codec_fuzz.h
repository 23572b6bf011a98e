/*
 * codec_fuzz.h - what the fuzz targets of decoders share: an input in pieces that may pause, and a
 * decode whose every batch is checked and added to a fingerprint.
 */
#ifndef FUZZ_CODEC_FUZZ_H
#define FUZZ_CODEC_FUZZ_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arrow_check.h"
#include "buf.h"
#include "penstock.h"

typedef struct fuzz_input
{
	const uint8_t *data;
	size_t nbytes;
	size_t piece;
	bool pausing;
	bool paused;
} fuzz_input;

static int
fuzz_read(void *ctx, void *data, size_t nbytes, size_t *nread)
{
	fuzz_input *in = ctx;
	size_t n = in->nbytes < in->piece ? in->nbytes : in->piece;

	if (in->pausing && !in->paused)
	{
		in->paused = true;
		return EAGAIN;
	}
	in->paused = false;
	n = n < nbytes ? n : nbytes;
	*nread = n;
	if (n == 0)
		return 0;
	memcpy(data, in->data, n);
	in->data += n;
	in->nbytes -= n;
	return 0;
}

static int
fuzz_write(void *ctx, const void *data, size_t nbytes)
{
	psti_buf_append(ctx, data, nbytes);
	return 0;
}

/* A value of a text column as it would be written unambiguously. */
static void
fuzz_cell(const struct ArrowArray *column, int64_t row, psti_buf *out)
{
	const int32_t *offsets = (const int32_t *) column->buffers[1] + column->offset;

	if (psti_array_null(column, row))
	{
		psti_buf_puts(out, "~");
		return;
	}
	psti_buf_printf(out, "%d:", offsets[row + 1] - offsets[row]);
	if (offsets[row + 1] > offsets[row])
		psti_buf_append(out, (const char *) column->buffers[2] + offsets[row],
						(size_t) (offsets[row + 1] - offsets[row]));
}

static void
fuzz_batch(const struct ArrowSchema *schema, const struct ArrowArray *batch, psti_buf *out)
{
	pst_error err = PST_ERROR_INIT;

	if (psti_arrow_check(schema, batch, &err) != PST_OK || batch->length < 1)
		abort();
	for (int64_t row = 0; row < batch->length; row++)
	{
		for (int64_t c = 0; c < batch->n_children; c++)
			fuzz_cell(batch->children[c], row, out);
		psti_buf_putc(out, ';');
	}
}

/*
 * Decodes all of in. Rows are appended to rows; each batch is written by encoder's format to again
 * when again is not NULL. Returns the final status.
 */
static pst_status
fuzz_decode(const char *const *keys, const char *const *values, const char *describe,
			fuzz_input *in, psti_buf *rows, psti_buf *again)
{
	pst_decoder *decoder = NULL;
	pst_encoder *encoder = NULL;
	struct ArrowSchema schema;
	struct ArrowArray batch;
	const int8_t *kinds = NULL;
	pst_error err = PST_ERROR_INIT;
	pst_status status = pst_decoder_new(keys, values, describe, fuzz_read, in, &decoder, &err);

	memset(&schema, 0, sizeof(schema));
	if (status != PST_OK)
		return status;
	while ((status = pst_decoder_schema(decoder, &schema, &err)) == PST_AGAIN)
		;
	if (status == PST_OK && again != NULL)
		status = pst_encoder_new(keys, values, &schema, &encoder, &err);
	if (status == PST_OK && again != NULL)
		status = pst_encoder_begin(encoder, fuzz_write, again, &err);
	while (status == PST_OK || status == PST_AGAIN)
	{
		status = pst_decoder_next(decoder, &batch, &kinds, &err);
		if (status == PST_OK)
		{
			fuzz_batch(&schema, &batch, rows);
			if (again != NULL)
				status = pst_encoder_write(encoder, &batch, fuzz_write, again, &err);
			batch.release(&batch);
		}
	}
	if (status < 0 && err.message[0] == '\0')
		abort();
	if (schema.release != NULL)
		schema.release(&schema);
	pst_encoder_free(encoder);
	pst_decoder_free(decoder);
	return status;
}

#endif /* FUZZ_CODEC_FUZZ_H */
