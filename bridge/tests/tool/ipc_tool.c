/*
 * ipc_tool.c - for live/test_arrow_ipc.py: decodes an Arrow IPC stream from standard input and
 * writes it, encoded again, to standard output.
 *
 *   ipc_tool [MODE] [ROW-KIND-COLUMN]
 *
 * MODE: copy     each batch as it is (default)
 *       rows     each batch as slices of 1, 2, 3 … rows by the struct's own offset
 *       columns  the same, by the offsets of its children, as pyarrow exports slices
 *       kinds    one line a row, its row kind, instead of a stream
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>

#include "codec.h"

static int
read_stdin(void *ctx, void *data, size_t nbytes, size_t *nread)
{
	ssize_t got;

	(void) ctx;
	do
		got = read(STDIN_FILENO, data, nbytes);
	while (got < 0 && errno == EINTR);
	*nread = got < 0 ? 0 : (size_t) got;
	return got < 0 ? errno : 0;
}

static void
die(const pst_error *err)
{
	fprintf(stderr, "%s: %s\n", pst_status_name(err->status), err->message);
	exit(1);
}

static void
flush(psti_buf *out)
{
	if (fwrite(out->data, 1, out->len, stdout) != out->len)
	{
		perror("write");
		exit(1);
	}
	psti_buf_reset(out);
}

/* A view of rows [from, from + length) of a batch; only the offsets differ, nothing is owned. */
static void
write_slice(void *encoder, const psti_encoder_ops *ops, const struct ArrowArray *batch,
			int64_t from, int64_t length, int columns, psti_buf *out)
{
	size_t nchildren = (size_t) batch->n_children;
	struct ArrowArray slice = *batch;
	struct ArrowArray *children = calloc(nchildren + 1, sizeof(*children));
	struct ArrowArray **pointers = calloc(nchildren + 1, sizeof(*pointers));
	pst_error err;

	psti_enter(&err);
	slice.length = length;
	slice.null_count = -1;
	if (!columns)
		slice.offset += from;
	for (size_t i = 0; i < nchildren; i++)
	{
		children[i] = *batch->children[i];
		if (columns)
		{
			children[i].offset += from;
			children[i].length = length;
			children[i].null_count = children[i].n_buffers == 0 ? length : -1;
		}
		pointers[i] = &children[i];
	}
	slice.children = pointers;
	if (ops->write(encoder, &slice, out, &err) != PST_OK)
		die(&err);
	free(children);
	free(pointers);
}

static void
write_batch(void *encoder, const psti_encoder_ops *ops, const struct ArrowArray *batch,
			const char *mode, psti_buf *out)
{
	int64_t length = 1;
	pst_error err;

	psti_enter(&err);
	if (strcmp(mode, "copy") == 0)
	{
		if (ops->write(encoder, batch, out, &err) != PST_OK)
			die(&err);
		return;
	}
	for (int64_t from = 0; from < batch->length; from += length, length++)
	{
		if (length > batch->length - from)
			length = batch->length - from;
		write_slice(encoder, ops, batch, from, length, strcmp(mode, "columns") == 0, out);
		flush(out);
	}
}

static void
print_kinds(const int8_t *kinds, int64_t length)
{
	for (int64_t i = 0; i < length; i++)
		printf("%d\n", kinds != NULL ? kinds[i] : -1);
}

int
main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "copy";
	const char *keys[] = {"format", argc > 2 ? "row-kind-column" : NULL, NULL};
	const char *values[] = {"arrow", argc > 2 ? argv[2] : NULL, NULL};
	const psti_input input = {read_stdin, NULL, false};
	bool kinds_only = strcmp(mode, "kinds") == 0;
	psti_options *options = NULL;
	const psti_decoder_ops *decoder_ops = NULL;
	const psti_encoder_ops *encoder_ops = NULL;
	void *decoder = NULL;
	void *encoder = NULL;
	psti_buf out = PSTI_BUF_INIT;
	struct ArrowSchema schema;
	struct ArrowArray batch;
	const int8_t *kinds;
	pst_status status;
	pst_error err;

	psti_enter(&err);
	if (psti_options_new(keys, values, PSTI_CODEC, NULL, &options, &err) != PST_OK ||
		psti_arrow_decoder(options, NULL, &input, &decoder, &decoder_ops, &err) != PST_OK ||
		decoder_ops->schema(decoder, &schema, &err) != PST_OK ||
		psti_arrow_encoder(options, &schema, &encoder, &encoder_ops, &err) != PST_OK ||
		encoder_ops->begin(encoder, &out, &err) != PST_OK)
		die(&err);
	if (kinds_only)
		psti_buf_reset(&out);
	while ((status = decoder_ops->next(decoder, &batch, &kinds, &err)) == PST_OK)
	{
		if (kinds_only)
			print_kinds(kinds, batch.length);
		else
			write_batch(encoder, encoder_ops, &batch, mode, &out);
		flush(&out);
		psti_array_release(&batch);
	}
	if (status != PST_END || encoder_ops->end(encoder, &out, &err) != PST_OK)
		die(&err);
	if (kinds_only)
		psti_buf_reset(&out);
	flush(&out);
	psti_buf_free(&out);
	psti_schema_release(&schema);
	encoder_ops->free(encoder);
	decoder_ops->free(decoder);
	psti_options_free(options);
	return 0;
}
