/*
 * codec.h - what a format has to provide; codec.c chooses by the option format.
 *
 * An encoder of one format is a struct that begins with psti_encoder_ops' pointer; the same for a
 * decoder. The constructors below are the formats' only entry points.
 */
#ifndef PSTI_CODEC_H
#define PSTI_CODEC_H

#include "arrow_check.h"
#include "buf.h"
#include "options.h"

typedef struct psti_encoder_ops
{
	/* Each appends its bytes to out. */
	pst_status (*begin)(void *self, psti_buf *out, pst_error *err);
	pst_status (*write)(void *self, const struct ArrowArray *batch, psti_buf *out, pst_error *err);
	pst_status (*end)(void *self, psti_buf *out, pst_error *err);
	void (*free)(void *self);
	/*
	 * What write would append, borrowed from the batch; NULL when it has to be encoded. NULL for a
	 * format that always encodes.
	 */
	const void *(*ready)(const struct ArrowArray *batch, size_t *nbytes);
	/* Lines of a change capture; NULL for a format that has none, which then has write. */
	pst_status (*event)(void *self, const pst_event *event, psti_buf *out, pst_error *err);
} psti_encoder_ops;

typedef struct psti_decoder_ops
{
	pst_status (*schema)(void *self, struct ArrowSchema *out, pst_error *err);
	pst_status (*next)(void *self, struct ArrowArray *out, const int8_t **row_kind, pst_error *err);
	void (*free)(void *self);
	/* As pst_decoder_unchanged; NULL for a format whose rows always have all columns. */
	const uint8_t *const *(*unchanged)(const void *self);
} psti_decoder_ops;

/* What every decoder reads from; read and ctx are the caller's. */
typedef struct psti_input
{
	pst_read_fn read;
	void *ctx;
	bool ended;
} psti_input;

/*
 * Reads up to nbytes; *nread 0 at the end, which sets ended and then stays; PST_AGAIN when the
 * callback says EAGAIN (*nread 0, the decoder keeps what it has and goes on at the next call);
 * PST_ERR_IO when it fails.
 */
pst_status psti_input_read(psti_input *input, void *data, size_t nbytes, size_t *nread,
						   pst_error *err);

/*
 * Fails, naming what an input is and the remedy, when its first bytes are the signature of something
 * that is no text; PST_OK when they are none, PST_AGAIN when they are too few to tell.
 */
pst_status psti_input_recognise(const void *data, size_t nbytes, pst_error *err);

/* options and schema are borrowed for the call; *self is moved out. */
pst_status psti_csv_encoder(const psti_options *options, const struct ArrowSchema *schema,
							void **self, const psti_encoder_ops **ops, pst_error *err);
pst_status psti_json_encoder(const psti_options *options, const struct ArrowSchema *schema,
							 void **self, const psti_encoder_ops **ops, pst_error *err);
pst_status psti_arrow_encoder(const psti_options *options, const struct ArrowSchema *schema,
							  void **self, const psti_encoder_ops **ops, pst_error *err);
pst_status psti_debezium_encoder(const psti_options *options, const struct ArrowSchema *schema,
								 void **self, const psti_encoder_ops **ops, pst_error *err);

/* describe may be NULL; input is copied. */
pst_status psti_csv_decoder(const psti_options *options, const char *describe,
							const psti_input *input, void **self, const psti_decoder_ops **ops,
							pst_error *err);
pst_status psti_json_decoder(const psti_options *options, const char *describe,
							 const psti_input *input, void **self, const psti_decoder_ops **ops,
							 pst_error *err);
pst_status psti_arrow_decoder(const psti_options *options, const char *describe,
							  const psti_input *input, void **self, const psti_decoder_ops **ops,
							  pst_error *err);

#endif /* PSTI_CODEC_H */
