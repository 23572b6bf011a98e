/* codec.c - encoders and decoders: the format is chosen here, the work is done by the format. */
#include "codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pst_encoder
{
	void *self; /* owned, the format's */
	const psti_encoder_ops *ops;
	struct ArrowSchema schema; /* owned: what batches are held against */
	psti_buf out;			   /* bytes of the call that is running */
};

struct pst_decoder
{
	void *self; /* owned, the format's */
	const psti_decoder_ops *ops;
};

/* What is written only has no decoder. */
static pst_status
no_decoder(const psti_options *options, const char *describe, const psti_input *input, void **self,
		   const psti_decoder_ops **ops, pst_error *err)
{
	(void) options;
	(void) describe;
	(void) input;
	(void) ops;
	*self = NULL;
	return psti_fail(err, PST_ERR_INVALID, "option format: debezium lines can be written only");
}

/* In the order of the option's words: csv|json|arrow|debezium. */
static const struct
{
	pst_status (*encoder)(const psti_options *options, const struct ArrowSchema *schema,
						  void **self, const psti_encoder_ops **ops, pst_error *err);
	pst_status (*decoder)(const psti_options *options, const char *describe,
						  const psti_input *input, void **self, const psti_decoder_ops **ops,
						  pst_error *err);
} formats[] = {
	{psti_csv_encoder, psti_csv_decoder},
	{psti_json_encoder, psti_json_decoder},
	{psti_arrow_encoder, psti_arrow_decoder},
	{psti_debezium_encoder, no_decoder},
};

pst_status
psti_input_read(psti_input *input, void *data, size_t nbytes, size_t *nread, pst_error *err)
{
	int code;

	*nread = 0;
	if (input->ended || nbytes == 0)
		return PST_OK;
	code = input->read(input->ctx, data, nbytes, nread);
	if (code == EAGAIN)
	{
		*nread = 0;
		return PST_AGAIN;
	}
	if (code != 0)
	{
		char text[128];

		*nread = 0;
		return psti_fail(err, PST_ERR_IO, "cannot read the input: %s",
						 strerror_r(code, text, sizeof(text)));
	}
	if (*nread > nbytes)
	{
		*nread = 0;
		return psti_fail(err, PST_ERR_INVALID, "the read function gave more than it was asked for");
	}
	input->ended = *nread == 0;
	return PST_OK;
}

/* None of these can begin a csv or json text: they are not UTF-8, or hold control characters. */
static const struct
{
	const char *bytes;
	size_t nbytes;
	const char *what;
	const char *hint;
} signatures[] = {
	{"\xff\xff\xff", 3, "an Arrow stream", "Give --format arrow (the option format)."},
	{"ARROW1\0\0", 8, "an Arrow file",
	 "Write the rows as an Arrow IPC stream instead, and give --format arrow (the option format)."},
	{"PAR1\x15", 5, "a Parquet file",
	 "Make an Arrow IPC stream of it, for example with pyarrow, and give --format arrow (the "
	 "option "
	 "format)."},
	{"\x1f\x8b", 2, "compressed by gzip", "Decompress it first, for example with gzip -dc."},
	{"\x28\xb5\x2f\xfd", 4, "compressed by zstd",
	 "Decompress it first, for example with zstd -dc."},
};

pst_status
psti_input_recognise(const void *data, size_t nbytes, pst_error *err)
{
	for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++)
	{
		size_t most = nbytes < signatures[i].nbytes ? nbytes : signatures[i].nbytes;

		if (memcmp(data, signatures[i].bytes, most) != 0)
			continue;
		if (most < signatures[i].nbytes)
			return PST_AGAIN;
		psti_fail(err, PST_ERR_DATA, "the input is %s", signatures[i].what);
		psti_error_hint(err, "%s", signatures[i].hint);
		return PST_ERR_DATA;
	}
	return PST_OK;
}

static pst_status
make_encoder(const char *const *keys, const char *const *values, const struct ArrowSchema *schema,
			 pst_encoder *encoder, pst_error *err)
{
	psti_options *options = NULL;
	psti_arrow_type type = psti_arrow_parse(schema != NULL ? schema->format : NULL);
	pst_status status;

	if (schema == NULL || schema->release == NULL || type.kind != PSTI_ARROW_STRUCT)
		return psti_fail(err, PST_ERR_INVALID, "an encoder needs the schema of a struct array");
	status = psti_schema_copy(schema, &encoder->schema, err);
	if (status == PST_OK)
		status = psti_options_new(keys, values, PSTI_CODEC, NULL, &options, err);
	if (status == PST_OK)
		status = formats[psti_opt_int(options, PSTI_OPT_FORMAT)].encoder(
			options, &encoder->schema, &encoder->self, &encoder->ops, err);
	psti_options_free(options);
	return status;
}

pst_status
pst_encoder_new(const char *const *keys, const char *const *values,
				const struct ArrowSchema *schema, pst_encoder **out, pst_error *err)
{
	pst_encoder *encoder;
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*out = NULL;
	encoder = calloc(1, sizeof(*encoder));
	if (encoder == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	status = make_encoder(keys, values, schema, encoder, &full);
	if (status == PST_OK)
		*out = encoder;
	else
		pst_encoder_free(encoder);
	return psti_leave(err, &full, status);
}

void
pst_encoder_free(pst_encoder *encoder)
{
	if (encoder == NULL)
		return;
	if (encoder->self != NULL)
		encoder->ops->free(encoder->self);
	psti_schema_release(&encoder->schema);
	psti_buf_free(&encoder->out);
	free(encoder);
}

/* Hands bytes to the caller, in one piece. */
static pst_status
pass_on(const void *data, size_t nbytes, pst_write_fn write, void *ctx, pst_error *err)
{
	char text[128];
	int code = write(ctx, data, nbytes);

	return code == 0 ? PST_OK
					 : psti_fail(err, PST_ERR_IO, "cannot write the output: %s",
								 strerror_r(code, text, sizeof(text)));
}

/* The same with what was encoded. */
static pst_status
pass_encoded(pst_encoder *encoder, pst_status status, pst_write_fn write, void *ctx, pst_error *err)
{
	if (status == PST_OK)
		status = psti_buf_check(&encoder->out, err);
	if (status != PST_OK || encoder->out.len == 0)
		return status;
	return pass_on(encoder->out.data, encoder->out.len, write, ctx, err);
}

pst_status
pst_encoder_begin(pst_encoder *encoder, pst_write_fn write, void *ctx, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	psti_buf_reset(&encoder->out);
	status = encoder->ops->begin(encoder->self, &encoder->out, &full);
	return psti_leave(err, &full, pass_encoded(encoder, status, write, ctx, &full));
}

pst_status
pst_encoder_write(pst_encoder *encoder, const struct ArrowArray *batch, pst_write_fn write,
				  void *ctx, pst_error *err)
{
	const void *ready = NULL;
	size_t nbytes;
	pst_error full;
	pst_status status;

	psti_enter(&full);
	psti_buf_reset(&encoder->out);
	if (encoder->ops->write == NULL)
	{
		status = psti_fail(&full, PST_ERR_INVALID, "lines of format debezium are made of events");
		return psti_leave(err, &full, status);
	}
	status = psti_arrow_check(&encoder->schema, batch, &full);
	if (status == PST_OK && encoder->ops->ready != NULL)
		ready = encoder->ops->ready(batch, &nbytes);
	if (ready != NULL)
		return psti_leave(err, &full, pass_on(ready, nbytes, write, ctx, &full));
	if (status == PST_OK)
		status = encoder->ops->write(encoder->self, batch, &encoder->out, &full);
	return psti_leave(err, &full, pass_encoded(encoder, status, write, ctx, &full));
}

pst_status
pst_encoder_event(pst_encoder *encoder, const pst_event *event, pst_write_fn write, void *ctx,
				  pst_error *err)
{
	pst_error full;
	pst_status status = PST_OK;

	psti_enter(&full);
	psti_buf_reset(&encoder->out);
	if (encoder->ops->event == NULL)
	{
		status = psti_fail(&full, PST_ERR_INVALID,
						   "events of a change capture are lines of format debezium");
		return psti_leave(err, &full, status);
	}
	if (event->kind == PST_EVENT_ROWS)
		status = psti_arrow_check(&encoder->schema, &event->rows.array, &full);
	if (status == PST_OK)
		status = encoder->ops->event(encoder->self, event, &encoder->out, &full);
	return psti_leave(err, &full, pass_encoded(encoder, status, write, ctx, &full));
}

pst_status
pst_encoder_end(pst_encoder *encoder, pst_write_fn write, void *ctx, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	psti_buf_reset(&encoder->out);
	status = encoder->ops->end(encoder->self, &encoder->out, &full);
	return psti_leave(err, &full, pass_encoded(encoder, status, write, ctx, &full));
}

pst_status
pst_decoder_new(const char *const *keys, const char *const *values, const char *describe,
				pst_read_fn read, void *ctx, pst_decoder **out, pst_error *err)
{
	const psti_input input = {read, ctx, false};
	psti_options *options = NULL;
	pst_decoder *decoder;
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*out = NULL;
	decoder = calloc(1, sizeof(*decoder));
	if (decoder == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	status = psti_options_new(keys, values, PSTI_CODEC, NULL, &options, &full);
	if (status == PST_OK)
		status = formats[psti_opt_int(options, PSTI_OPT_FORMAT)].decoder(
			options, describe, &input, &decoder->self, &decoder->ops, &full);
	psti_options_free(options);
	if (status == PST_OK)
		*out = decoder;
	else
		pst_decoder_free(decoder);
	return psti_leave(err, &full, status);
}

void
pst_decoder_free(pst_decoder *decoder)
{
	if (decoder == NULL)
		return;
	if (decoder->self != NULL)
		decoder->ops->free(decoder->self);
	free(decoder);
}

pst_status
pst_decoder_schema(pst_decoder *decoder, struct ArrowSchema *out, pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	memset(out, 0, sizeof(*out));
	return psti_leave(err, &full, decoder->ops->schema(decoder->self, out, &full));
}

pst_status
pst_decoder_next(pst_decoder *decoder, struct ArrowArray *out, const int8_t **row_kind,
				 pst_error *err)
{
	const int8_t *kinds = NULL;
	pst_error full;
	pst_status status;

	psti_enter(&full);
	memset(out, 0, sizeof(*out));
	status = decoder->ops->next(decoder->self, out, &kinds, &full);
	if (row_kind != NULL)
		*row_kind = kinds;
	return psti_leave(err, &full, status);
}

const uint8_t *const *
pst_decoder_unchanged(const pst_decoder *decoder)
{
	return decoder->ops->unchanged != NULL ? decoder->ops->unchanged(decoder->self) : NULL;
}
