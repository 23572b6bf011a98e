/*
 * codec_arrow.c - format=arrow: the IPC stream of wire/arrow_ipc.h.
 *
 * The decoder is a small machine over the parts of a message (prefix, metadata, body), because the
 * input may pause in the middle of any of them. Memory for a part grows with the bytes that come,
 * so a length that lies costs nothing; a body is read straight into the memory that its array will
 * own.
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "arrow_ipc.h"

/* What a part is given at once: enough that real metadata and batches never grow. */
#define METADATA_FIRST ((size_t) 64 << 10)
#define BODY_FIRST ((size_t) 16 << 20)

/* invalid is what malformed bytes, or a malformed array, mean to the caller. */
static pst_status
fail_wire(pst_error *err, arrow_ipc_status status, const arrow_ipc_error *wire, pst_status invalid)
{
	if (status == ARROW_IPC_NOMEM)
		return psti_fail_nomem(err);
	if (status == ARROW_IPC_UNSUPPORTED)
		invalid = PST_ERR_UNSUPPORTED;
	if (wire->column[0] != '\0')
	{
		psti_fail(err, invalid, "column \"%s\": %s", wire->column, wire->message);
		PSTI_ERROR_SET(err, column, wire->column);
	}
	else
		psti_fail(err, invalid, "Arrow stream: %s", wire->message);
	if (status == ARROW_IPC_UNSUPPORTED)
		psti_error_hint(err, "Write an uncompressed Arrow IPC stream of metadata version V5 with "
							 "the types of docs/types.md and without dictionaries.");
	return invalid;
}

/* ---------------------------------------------------------------------------------------------
 * Encoder
 */

typedef struct encoder
{
	const psti_encoder_ops *ops;
	struct ArrowSchema schema;
} encoder;

static pst_status
encoder_begin(void *self, psti_buf *out, pst_error *err)
{
	encoder *e = self;
	arrow_ipc_error wire = {"", ""};
	size_t nbytes;
	char *at;
	arrow_ipc_status status = arrow_ipc_write_schema(&e->schema, NULL, 0, &nbytes, &wire);

	if (status != ARROW_IPC_OK)
		return fail_wire(err, status, &wire, PST_ERR_INVALID);
	at = psti_buf_reserve(out, nbytes);
	if (at == NULL)
		return psti_fail_nomem(err);
	status = arrow_ipc_write_schema(&e->schema, (uint8_t *) at, nbytes, &nbytes, &wire);
	if (status != ARROW_IPC_OK)
		return fail_wire(err, status, &wire, PST_ERR_INVALID);
	out->len += nbytes;
	return PST_OK;
}

/* The batch has passed psti_arrow_check (codec.c). */
static pst_status
encoder_write(void *self, const struct ArrowArray *batch, psti_buf *out, pst_error *err)
{
	encoder *e = self;
	arrow_ipc_error wire = {"", ""};
	size_t nbytes;
	char *at;
	arrow_ipc_status status = arrow_ipc_write_batch(&e->schema, batch, NULL, 0, &nbytes, &wire);

	if (status != ARROW_IPC_OK)
		return fail_wire(err, status, &wire, PST_ERR_INVALID);
	at = psti_buf_reserve(out, nbytes);
	if (at == NULL)
		return psti_fail_nomem(err);
	status = arrow_ipc_write_batch(&e->schema, batch, (uint8_t *) at, nbytes, &nbytes, &wire);
	if (status != ARROW_IPC_OK)
		return fail_wire(err, status, &wire, PST_ERR_INVALID);
	out->len += nbytes;
	return PST_OK;
}

/* A frame of the server's goes on as it came. */
static const void *
encoder_ready(const struct ArrowArray *batch, size_t *nbytes)
{
	return arrow_ipc_message_of(batch, nbytes);
}

static pst_status
encoder_end(void *self, psti_buf *out, pst_error *err)
{
	uint8_t marker[ARROW_IPC_PREFIX];

	(void) self;
	arrow_ipc_write_end(marker);
	psti_buf_append(out, marker, sizeof(marker));
	return psti_buf_check(out, err);
}

static void
encoder_free(void *self)
{
	encoder *e = self;

	if (e == NULL)
		return;
	psti_schema_release(&e->schema);
	free(e);
}

pst_status
psti_arrow_encoder(const psti_options *options, const struct ArrowSchema *schema, void **self,
				   const psti_encoder_ops **ops, pst_error *err)
{
	static const psti_encoder_ops encoder_ops = {.begin = encoder_begin,
												 .write = encoder_write,
												 .end = encoder_end,
												 .free = encoder_free,
												 .ready = encoder_ready};
	encoder *e = NULL;
	arrow_ipc_error wire = {"", ""};
	arrow_ipc_status written;
	size_t nbytes;
	pst_status status = PST_OK;

	(void) options;
	*self = NULL;
	*ops = &encoder_ops;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return psti_fail_nomem(err);
	e->ops = &encoder_ops;
	status = psti_schema_copy(schema, &e->schema, err);
	if (status != PST_OK)
		goto done;
	/* A schema that cannot be written is refused here, not at the first batch. */
	written = arrow_ipc_write_schema(&e->schema, NULL, 0, &nbytes, &wire);
	if (written != ARROW_IPC_OK)
		status = fail_wire(err, written, &wire, PST_ERR_INVALID);

done:
	if (status == PST_OK)
		*self = e;
	else
		encoder_free(e);
	return status;
}

/* ---------------------------------------------------------------------------------------------
 * Decoder
 */

/* What the machine is at; each but the last is a part of a message that is being filled. */
typedef enum phase
{
	AT_PREFIX,
	AT_METADATA,
	AT_BODY,
	AT_MESSAGE, /* a whole message is there */
	AT_TRAIL,	/* behind the end marker, where nothing may follow */
	AT_END
} phase;

/* Memory that grows while it is filled. */
typedef struct part
{
	void *block;   /* owned */
	uint8_t *data; /* in block, at a multiple of ARROW_IPC_ALIGNMENT */
	size_t cap;
	size_t filled;
} part;

typedef struct decoder
{
	const psti_decoder_ops *ops;
	psti_input input;
	phase at;
	uint8_t prefix[ARROW_IPC_PREFIX];
	size_t prefix_filled;
	uint32_t metadata_nbytes;
	part metadata;
	part body;
	arrow_ipc_message message;
	struct ArrowSchema schema; /* as the stream has it; released: not read yet */
	char *kind_name;		   /* the option row-kind-column, or NULL */
	int64_t kind_column;	   /* its place in the schema; -1: not there */
	int8_t *kinds;			   /* of the last batch */
	int64_t nrows;			   /* given out so far */
	pst_error failure;		   /* status not PST_OK: the stream is over, each call says this */
} decoder;

static void
part_free(part *p)
{
	free(p->block);
	memset(p, 0, sizeof(*p));
}

static pst_status
part_grow(part *p, size_t cap, pst_error *err)
{
	void *block;
	uint8_t *data;

	if (cap > SIZE_MAX - ARROW_IPC_ALIGNMENT)
		return psti_fail_nomem(err);
	block = malloc(cap + ARROW_IPC_ALIGNMENT - 1);
	if (block == NULL)
		return psti_fail_nomem(err);
	data = (uint8_t *) (((uintptr_t) block + ARROW_IPC_ALIGNMENT - 1) &
						~(uintptr_t) (ARROW_IPC_ALIGNMENT - 1));
	if (p->filled > 0)
		memcpy(data, p->data, p->filled);
	free(p->block);
	p->block = block;
	p->data = data;
	p->cap = cap;
	return PST_OK;
}

/* Whether the first n bytes of the input may be those of a text. */
static bool
looks_like_text(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] == 0xff || (bytes[i] < ' ' && strchr("\t\n\r", bytes[i]) == NULL) ||
			bytes[i] == '\0')
			return false;
	return n > 0;
}

/* The input does not begin as a stream does: says what it is, if that can be seen. */
static pst_status
fail_start(const decoder *d, pst_error *err)
{
	if (d->prefix[0] != 0xff && psti_input_recognise(d->prefix, d->prefix_filled, err) < 0)
		return PST_ERR_DATA;
	psti_fail(err, PST_ERR_DATA,
			  "the input is not an Arrow stream: it does not begin with a message of one");
	if (looks_like_text(d->prefix, d->prefix_filled))
		psti_error_hint(err, "It begins like text: give --format csv or json (the option format).");
	return PST_ERR_DATA;
}

static pst_status
fail_incomplete(const decoder *d, pst_error *err)
{
	if (d->at == AT_PREFIX && d->schema.release == NULL && d->prefix_filled == 0)
	{
		psti_fail(err, PST_ERR_DATA, "the Arrow stream is incomplete: the input is empty");
		psti_error_hint(err, "A stream without rows has a schema too; see whether the program that "
							 "writes it has run.");
		return PST_ERR_DATA;
	}
	if (d->at == AT_PREFIX && d->schema.release == NULL &&
		memcmp(d->prefix, "\xff\xff\xff\xff", d->prefix_filled < 4 ? d->prefix_filled : 4) != 0)
		return fail_start(d, err);
	if (d->schema.release == NULL)
		psti_fail(err, PST_ERR_DATA, "the Arrow stream is incomplete: it ends before its schema");
	else
		psti_fail(err, PST_ERR_DATA,
				  "the Arrow stream is incomplete: it ends after %lld rows without an end marker",
				  (long long) d->nrows);
	psti_error_hint(err, "The program that wrote the stream stopped early; produce it again.");
	return PST_ERR_DATA;
}

/* Reads until *filled is want: the end of the input is an error. */
static pst_status
read_full(decoder *d, uint8_t *data, size_t want, size_t *filled, pst_error *err)
{
	while (*filled < want)
	{
		size_t nread = 0;
		pst_status status = psti_input_read(&d->input, data + *filled, want - *filled, &nread, err);

		if (status != PST_OK)
			return status;
		if (nread == 0)
			return fail_incomplete(d, err);
		*filled += nread;
	}
	return PST_OK;
}

/* The same into memory that is at first `first` large and doubles. */
static pst_status
read_part(decoder *d, part *p, uint64_t want, size_t first, pst_error *err)
{
	pst_status status = PST_OK;

	while (status == PST_OK && p->filled < want)
	{
		uint64_t cap = p->cap == 0 ? first : (uint64_t) p->cap * 2;

		if (cap > want)
			cap = want;
		if (cap > SIZE_MAX)
			return psti_fail_nomem(err);
		/* Memory of an earlier message may be larger than this one needs. */
		if (p->filled == p->cap)
			status = part_grow(p, (size_t) cap, err);
		if (status == PST_OK)
			status = read_full(d, p->data, want < p->cap ? (size_t) want : p->cap, &p->filled, err);
	}
	return status;
}

static pst_status
read_prefix(decoder *d, pst_error *err)
{
	arrow_ipc_error wire = {"", ""};
	arrow_ipc_status prefix;
	pst_status status = read_full(d, d->prefix, ARROW_IPC_PREFIX, &d->prefix_filled, err);

	if (status != PST_OK)
		return status;
	prefix = arrow_ipc_read_prefix(d->prefix, &d->metadata_nbytes, &wire);
	if (prefix == ARROW_IPC_INVALID && d->schema.release == NULL && d->metadata_nbytes == 0)
		return fail_start(d, err);
	if (prefix < 0)
		return fail_wire(err, prefix, &wire, PST_ERR_DATA);
	if (prefix == ARROW_IPC_END && d->schema.release == NULL)
		return fail_incomplete(d, err);
	d->prefix_filled = 0;
	d->metadata.filled = 0;
	d->at = prefix == ARROW_IPC_END ? AT_TRAIL : AT_METADATA;
	return PST_OK;
}

static pst_status
read_metadata(decoder *d, pst_error *err)
{
	arrow_ipc_error wire = {"", ""};
	arrow_ipc_status message;
	pst_status status = read_part(d, &d->metadata, d->metadata_nbytes, METADATA_FIRST, err);

	if (status != PST_OK)
		return status;
	message = arrow_ipc_read_message(d->metadata.data, d->metadata_nbytes, &d->message, &wire);
	if (message != ARROW_IPC_OK)
		return fail_wire(err, message, &wire, PST_ERR_DATA);
	d->at = AT_BODY;
	return PST_OK;
}

static pst_status
read_body(decoder *d, pst_error *err)
{
	pst_status status = read_part(d, &d->body, (uint64_t) d->message.body_nbytes, BODY_FIRST, err);

	if (status == PST_OK)
		d->at = AT_MESSAGE;
	return status;
}

/* Two streams, one behind the other: reading on after the marker is what most readers do not do. */
static pst_status
read_trail(decoder *d, pst_error *err)
{
	uint8_t byte;
	size_t nread = 0;
	pst_status status = psti_input_read(&d->input, &byte, 1, &nread, err);

	if (status != PST_OK)
		return status;
	if (nread > 0)
	{
		psti_fail(err, PST_ERR_DATA, "there is data behind the end marker of the Arrow stream");
		psti_error_hint(err, "Streams cannot simply be joined; docs/wire.md tells how to splice.");
		return PST_ERR_DATA;
	}
	d->at = AT_END;
	return PST_OK;
}

/* Runs until a whole message is there (PST_OK) or the stream is over (PST_END). */
static pst_status
read_message(decoder *d, pst_error *err)
{
	static pst_status (*const steps[])(decoder *, pst_error *) = {
		[AT_PREFIX] = read_prefix,
		[AT_METADATA] = read_metadata,
		[AT_BODY] = read_body,
		[AT_TRAIL] = read_trail,
	};
	pst_status status = PST_OK;

	while (status == PST_OK && d->at != AT_MESSAGE && d->at != AT_END)
		status = steps[d->at](d, err);
	return status == PST_OK && d->at == AT_END ? PST_END : status;
}

/* The message was taken: its body's memory too when `moved`. */
static void
end_message(decoder *d, bool moved)
{
	if (moved)
		d->body.block = NULL;
	part_free(&d->body);
	d->at = AT_PREFIX;
}

/* ---------------------------------------------------------------------------------------------
 * Row kinds
 */

static pst_status
find_kind_column(decoder *d, pst_error *err)
{
	char name[PSTI_ARROW_NAME];
	psti_arrow_kind kind;

	d->kind_column = -1;
	for (int64_t i = 0; d->kind_name != NULL && i < d->schema.n_children; i++)
		if (strcmp(d->schema.children[i]->name, d->kind_name) == 0)
			d->kind_column = i;
	if (d->kind_column < 0)
		return PST_OK;
	kind = psti_arrow_parse(d->schema.children[d->kind_column]->format).kind;
	if (kind == PSTI_ARROW_UTF8 || kind == PSTI_ARROW_LARGE_UTF8 || kind == PSTI_ARROW_INT8)
		return PST_OK;
	psti_fail(err, PST_ERR_DATA, "the row kind column \"%s\" has Arrow type %s", d->kind_name,
			  psti_arrow_name(d->schema.children[d->kind_column]->format, name));
	PSTI_ERROR_SET(err, column, d->kind_name);
	psti_error_hint(err, "Row kinds are the texts +I, -U, +U and -D, or int8 from 0 to 3.");
	return PST_ERR_DATA;
}

/* The bytes of a text value; i counts without the array's offset. */
static const char *
text_at(const struct ArrowArray *array, bool large, int64_t i, size_t *len)
{
	int64_t begin;
	int64_t end;

	i += array->offset;
	if (large)
	{
		begin = ((const int64_t *) array->buffers[1])[i];
		end = ((const int64_t *) array->buffers[1])[i + 1];
	}
	else
	{
		begin = ((const int32_t *) array->buffers[1])[i];
		end = ((const int32_t *) array->buffers[1])[i + 1];
	}
	*len = (size_t) (end - begin);
	return (const char *) array->buffers[2] + begin;
}

/* The row kind that a value means; -1 for one that is none. NULL is an insert. */
static int
kind_at(const struct ArrowArray *array, psti_arrow_kind type, int64_t i)
{
	static const char words[][2] = {
		[PST_ROW_INSERT] = {'+', 'I'},
		[PST_ROW_UPDATE_BEFORE] = {'-', 'U'},
		[PST_ROW_UPDATE_AFTER] = {'+', 'U'},
		[PST_ROW_DELETE] = {'-', 'D'},
	};
	const char *text;
	size_t len;

	if (psti_array_null(array, i))
		return PST_ROW_INSERT;
	if (type == PSTI_ARROW_INT8)
	{
		int8_t value = ((const int8_t *) array->buffers[1])[i + array->offset];

		return value >= PST_ROW_INSERT && value <= PST_ROW_DELETE ? value : -1;
	}
	text = text_at(array, type == PSTI_ARROW_LARGE_UTF8, i, &len);
	for (int kind = PST_ROW_INSERT; kind <= PST_ROW_DELETE; kind++)
		if (len == 2 && memcmp(text, words[kind], 2) == 0)
			return kind;
	return -1;
}

static pst_status
read_kinds(decoder *d, const struct ArrowArray *batch, pst_error *err)
{
	const struct ArrowArray *column = batch->children[d->kind_column];
	psti_arrow_kind type = psti_arrow_parse(d->schema.children[d->kind_column]->format).kind;

	/* At least one byte, so that an empty batch of a changelog has row kinds too. */
	d->kinds = malloc((size_t) batch->length + 1);
	if (d->kinds == NULL)
		return psti_fail_nomem(err);
	for (int64_t i = 0; i < batch->length; i++)
	{
		int kind = kind_at(column, type, i);

		if (kind < 0)
		{
			psti_fail(err, PST_ERR_DATA, "row %lld: column \"%s\" holds no row kind",
					  (long long) (d->nrows + i), d->kind_name);
			PSTI_ERROR_SET(err, column, d->kind_name);
			psti_error_hint(err, "Row kinds are the texts +I, -U, +U and -D, or int8 from 0 to 3.");
			err->row = d->nrows + i;
			return PST_ERR_DATA;
		}
		d->kinds[i] = (int8_t) kind;
	}
	return PST_OK;
}

/* Take a child out of a struct; its memory goes at once, those behind it move up. */
static void
drop_schema_child(struct ArrowSchema *schema, int64_t child)
{
	psti_schema_release(schema->children[child]);
	schema->n_children--;
	memmove(&schema->children[child], &schema->children[child + 1],
			(size_t) (schema->n_children - child) * sizeof(schema->children[0]));
}

static void
drop_array_child(struct ArrowArray *array, int64_t child)
{
	psti_array_release(array->children[child]);
	array->n_children--;
	memmove(&array->children[child], &array->children[child + 1],
			(size_t) (array->n_children - child) * sizeof(array->children[0]));
}

/* ---------------------------------------------------------------------------------------------
 * The decoder's functions
 */

/* Reads on to the schema message, once. */
static pst_status
need_schema(decoder *d, pst_error *err)
{
	arrow_ipc_error wire = {"", ""};
	arrow_ipc_status schema;
	pst_status status;

	if (d->schema.release != NULL)
		return PST_OK;
	status = read_message(d, err);
	if (status != PST_OK)
		return status;
	schema = arrow_ipc_read_schema(&d->message, &psti_arrow_memory, &d->schema, &wire);
	end_message(d, false);
	if (schema != ARROW_IPC_OK)
		return fail_wire(err, schema, &wire, PST_ERR_DATA);
	return find_kind_column(d, err);
}

/* What ended the stream is kept: a decoder cannot go on behind it. */
static pst_status
keep_failure(decoder *d, pst_status status, pst_error *err)
{
	if (status < 0)
	{
		if (err->row < 0)
			err->row = d->nrows;
		d->failure = *err;
	}
	return status;
}

static pst_status
decoder_schema(void *self, struct ArrowSchema *out, pst_error *err)
{
	decoder *d = self;
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (d->failure.status != PST_OK)
	{
		*err = d->failure;
		return err->status;
	}
	status = keep_failure(d, need_schema(d, err), err);
	if (status == PST_OK)
		status = psti_schema_copy(&d->schema, out, err);
	if (status == PST_OK && d->kind_column >= 0)
		drop_schema_child(out, d->kind_column);
	return status;
}

static pst_status
next_batch(decoder *d, struct ArrowArray *out, pst_error *err)
{
	arrow_ipc_error wire = {"", ""};
	arrow_ipc_status batch;
	pst_status status = need_schema(d, err);

	if (status == PST_OK)
		status = read_message(d, err);
	if (status != PST_OK)
		return status;
	batch = arrow_ipc_read_batch(&d->message, &d->schema, d->body.data, d->body.block,
								 &psti_arrow_memory, out, &wire);
	end_message(d, batch == ARROW_IPC_OK);
	if (batch != ARROW_IPC_OK)
		return fail_wire(err, batch, &wire, PST_ERR_DATA);
	if (d->kind_column < 0)
		return PST_OK;
	status = read_kinds(d, out, err);
	if (status == PST_OK)
		drop_array_child(out, d->kind_column);
	else
		psti_array_release(out);
	return status;
}

static pst_status
decoder_next(void *self, struct ArrowArray *out, const int8_t **row_kind, pst_error *err)
{
	decoder *d = self;
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (row_kind != NULL)
		*row_kind = NULL;
	if (d->failure.status != PST_OK)
	{
		*err = d->failure;
		return err->status;
	}
	free(d->kinds);
	d->kinds = NULL;
	status = keep_failure(d, next_batch(d, out, err), err);
	if (status != PST_OK)
		return status;
	d->nrows += out->length;
	if (row_kind != NULL)
		*row_kind = d->kinds;
	return PST_OK;
}

static void
decoder_free(void *self)
{
	decoder *d = self;

	if (d == NULL)
		return;
	part_free(&d->metadata);
	part_free(&d->body);
	psti_schema_release(&d->schema);
	free(d->kind_name);
	free(d->kinds);
	free(d);
}

pst_status
psti_arrow_decoder(const psti_options *options, const char *describe, const psti_input *input,
				   void **self, const psti_decoder_ops **ops, pst_error *err)
{
	static const psti_decoder_ops decoder_ops = {decoder_schema, decoder_next, decoder_free, NULL};
	const char *kind_name = psti_opt_text(options, PSTI_OPT_ROW_KIND_COLUMN);
	decoder *d;

	(void) describe; /* the stream says itself what its columns are */
	*self = NULL;
	*ops = &decoder_ops;
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return psti_fail_nomem(err);
	d->ops = &decoder_ops;
	d->input = *input;
	d->kind_column = -1;
	psti_enter(&d->failure);
	if (kind_name != NULL)
	{
		d->kind_name = strdup(kind_name);
		if (d->kind_name == NULL)
		{
			free(d);
			return psti_fail_nomem(err);
		}
	}
	*self = d;
	return PST_OK;
}
