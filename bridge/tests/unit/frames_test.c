/* frames_test.c - COPYs of Arrow messages: whole, sliced, cut, and such as no honest server sends. */
#include "test.h"

#include "alloc.h"
#include "arrow_build.h"
#include "arrow_check.h"
#include "arrow_ipc.h"
#include "frames.h"
#include "golden.h"

#define HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"
#define HEADER_BYTES 19
#define END_MARKER "\xff\xff\xff\xff\0\0\0\0"
#define COPY_MAX 16384

/* A COPY as it is put together; not through malloc, which is watched. */
typedef struct copy
{
	uint8_t data[COPY_MAX];
	size_t len;
} copy;

static void
put(copy *c, const void *bytes, size_t n)
{
	assert_true(n <= sizeof(c->data) - c->len);
	memcpy(c->data + c->len, bytes, n);
	c->len += n;
}

static void
put_int(copy *c, uint32_t value, int nbytes)
{
	for (int i = nbytes - 1; i >= 0; i--)
	{
		uint8_t byte = (uint8_t) (value >> (8 * i));

		put(c, &byte, 1);
	}
}

static void
put_message(copy *c, const void *bytes, size_t n)
{
	put_int(c, 1, 2);
	put_int(c, (uint32_t) n, 4);
	put(c, bytes, n);
}

static void
begin(copy *c)
{
	c->len = 0;
	put(c, HEADER, HEADER_BYTES);
}

static void
end(copy *c)
{
	put_message(c, END_MARKER, 8);
	put_int(c, 0xffff, 2);
}

static uint32_t
get_le(const uint8_t *at)
{
	return (uint32_t) at[0] | (uint32_t) at[1] << 8 | (uint32_t) at[2] << 16 |
		   (uint32_t) at[3] << 24;
}

/* Bytes of the message at `at`, of which the whole stream is there. */
static size_t
message_bytes(const uint8_t *at)
{
	arrow_ipc_message message;
	arrow_ipc_error err;
	uint32_t metadata = get_le(at + 4);

	if (metadata == 0)
		return 8;
	assert_int_equal(arrow_ipc_read_message(at + 8, metadata, &message, &err), ARROW_IPC_OK);
	return 8 + metadata + (size_t) message.body_nbytes;
}

/* A stored stream as the rows of a COPY. */
static void
copy_of_golden(const golden_file *file, copy *c)
{
	begin(c);
	for (size_t at = 0; at < file->len; at += message_bytes(file->data + at))
		put_message(c, file->data + at, message_bytes(file->data + at));
	put_int(c, 0xffff, 2);
}

static void
schema_of_golden(const golden_file *file, struct ArrowSchema *schema)
{
	arrow_ipc_message message;
	arrow_ipc_error err;

	assert_int_equal(arrow_ipc_read_message(file->data + 8, get_le(file->data + 4), &message, &err),
					 ARROW_IPC_OK);
	assert_int_equal(arrow_ipc_read_schema(&message, &psti_arrow_memory, schema, &err),
					 ARROW_IPC_OK);
}

/* What reading a COPY gave. */
typedef struct outcome
{
	int64_t rows;
	int batches;
	bool aligned; /* every column's values at a multiple of 64 */
} outcome;

static pst_status
take(psti_frames *frames, const struct ArrowSchema *schema, outcome *got, pst_error *err)
{
	struct ArrowArray batch;
	pst_status status;

	got->rows += psti_frames_pending(frames);
	got->batches++;
	psti_frames_take(frames, &batch);
	status = psti_arrow_check(schema, &batch, err);
	for (int64_t i = 0; status == PST_OK && i < batch.n_children; i++)
	{
		const void *data = batch.children[i]->n_buffers > 1 ? batch.children[i]->buffers[1] : NULL;

		got->aligned = got->aligned && (uintptr_t) data % ARROW_IPC_ALIGNMENT == 0;
	}
	psti_array_release(&batch);
	return status;
}

/* Feeds a COPY, at most step bytes at once (0: all that is wanted). */
static pst_status
feed(psti_frames *frames, const struct ArrowSchema *schema, const uint8_t *data, size_t n,
	 size_t step, outcome *got, pst_error *err)
{
	pst_status status = PST_OK;

	*got = (outcome){.aligned = true};
	while (n > 0 && status >= 0)
	{
		char *at;
		size_t room;

		status = psti_frames_want(frames, &at, &room, err);
		if (status < 0)
			break;
		assert_true(room > 0);
		room = room < n ? room : n;
		room = step != 0 && step < room ? step : room;
		memcpy(at, data, room);
		data += room;
		n -= room;
		status = psti_frames_got(frames, room, err);
		if (status == PST_AGAIN)
			status = take(frames, schema, got, err);
	}
	return status < 0 ? status : psti_frames_finish(frames, err);
}

static pst_status
read_copy(const struct ArrowSchema *schema, const copy *c, size_t step, outcome *got,
		  pst_error *err)
{
	psti_frames *frames;
	pst_status status = psti_frames_new(schema, &frames, err);

	if (status == PST_OK)
		status = feed(frames, schema, c->data, c->len, step, got, err);
	psti_frames_free(frames);
	return status;
}

/* ---- Whole ---- */

static void
one_golden(const golden_file *file)
{
	struct ArrowSchema schema;
	pst_error err = PST_ERROR_INIT;
	outcome whole;
	copy c;

	copy_of_golden(file, &c);
	schema_of_golden(file, &schema);
	assert_ok(read_copy(&schema, &c, 0, &whole, &err), &err);
	assert_true(whole.aligned || strstr(file->name, ".penstock") == NULL);
	for (size_t step = 1; step <= 64; step *= 4)
	{
		outcome sliced;

		assert_ok(read_copy(&schema, &c, step, &sliced, &err), &err);
		assert_int_equal(sliced.rows, whole.rows);
		assert_int_equal(sliced.batches, whole.batches);
	}
	schema.release(&schema);
}

static void
every_stored_stream_comes_out_whole_however_it_is_sliced(void **state)
{
	(void) state;
	golden_each("", one_golden);
}

static void
one_cut(const golden_file *file)
{
	struct ArrowSchema schema;
	copy c;

	copy_of_golden(file, &c);
	schema_of_golden(file, &schema);
	for (c.len--; c.len > 0; c.len -= c.len > 16 ? 7 : 1)
	{
		pst_error err = PST_ERROR_INIT;
		outcome got;

		assert_fails(read_copy(&schema, &c, 0, &got, &err), PST_ERR_PROTOCOL, &err);
	}
	schema.release(&schema);
}

static void
a_copy_that_is_cut_anywhere_is_incomplete(void **state)
{
	(void) state;
	golden_each(".penstock", one_cut);
}

static void
another_copy_may_follow_a_whole_or_a_broken_one(void **state)
{
	struct ArrowSchema schema;
	psti_frames *frames;
	pst_error err = PST_ERROR_INIT;
	golden_file file;
	outcome got;
	copy c;

	(void) state;
	assert_true(golden_read("int32.penstock", &file));
	copy_of_golden(&file, &c);
	schema_of_golden(&file, &schema);
	assert_ok(psti_frames_new(&schema, &frames, &err), &err);
	assert_ok(feed(frames, &schema, c.data, c.len, 0, &got, &err), &err);
	psti_frames_restart(frames);
	assert_fails(feed(frames, &schema, c.data, c.len / 2, 0, &got, &err), PST_ERR_PROTOCOL, &err);
	psti_frames_restart(frames);
	assert_ok(feed(frames, &schema, c.data, c.len, 0, &got, &err), &err);
	assert_true(got.rows > 0);
	assert_int_equal(psti_frames_pending(frames), 0);
	psti_frames_free(frames);
	psti_frames_free(NULL);
	schema.release(&schema);
}

/* ---- Broken ---- */

/* The parts of a COPY of int32 rows, to be put together wrongly. */
typedef struct parts
{
	struct ArrowSchema schema;
	uint8_t schema_message[512];
	size_t schema_len;
	uint8_t batch[512];
	size_t batch_len;
} parts;

static void
make_parts(parts *p)
{
	golden_file file;
	size_t first;

	assert_true(golden_read("int32.penstock", &file));
	schema_of_golden(&file, &p->schema);
	first = message_bytes(file.data);
	p->schema_len = first;
	memcpy(p->schema_message, file.data, first);
	p->batch_len = message_bytes(file.data + first);
	memcpy(p->batch, file.data + first, p->batch_len);
}

static void
assert_refused(const parts *p, const copy *c, const char *words)
{
	pst_error err = PST_ERROR_INIT;
	outcome got;

	assert_fails(read_copy(&p->schema, c, 0, &got, &err), PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, words);
}

static void
messages_in_the_wrong_order_are_refused(void **state)
{
	parts p;
	copy c;

	(void) state;
	make_parts(&p);
	begin(&c);
	put_message(&c, p.batch, p.batch_len);
	assert_refused(&p, &c, "rows before the schema");
	begin(&c);
	put_message(&c, p.schema_message, p.schema_len);
	put_message(&c, p.schema_message, p.schema_len);
	assert_refused(&p, &c, "a second schema");
	begin(&c);
	end(&c);
	assert_refused(&p, &c, "end marker in the wrong place");
	begin(&c);
	put_message(&c, p.schema_message, p.schema_len);
	put_message(&c, END_MARKER, 8);
	put_message(&c, p.batch, p.batch_len);
	assert_refused(&p, &c, "behind the end marker");
	begin(&c);
	put_message(&c, p.schema_message, p.schema_len);
	put_int(&c, 0xffff, 2);
	assert_refused(&p, &c, "the end marker is missing");
	begin(&c);
	put_message(&c, p.schema_message, p.schema_len);
	end(&c);
	put(&c, "x", 1);
	assert_refused(&p, &c, "behind the trailer");
	p.schema.release(&p.schema);
}

static void
wrong_lengths_and_kinds_are_refused(void **state)
{
	static const uint8_t huge[8] = {0xff, 0xff, 0xff, 0xff, 0xf8, 0xff, 0xff, 0x7f};
	parts p;
	copy c;

	(void) state;
	make_parts(&p);
	begin(&c);
	c.data[0] = 'Q';
	assert_refused(&p, &c, "not a binary COPY");
	begin(&c);
	c.data[11] = 1;
	assert_refused(&p, &c, "unknown kind");
	begin(&c);
	c.data[15] = 0x80;
	assert_refused(&p, &c, "wrong header");
	begin(&c);
	put_int(&c, 2, 2);
	assert_refused(&p, &c, "not one message");
	begin(&c);
	put_int(&c, 1, 2);
	put_int(&c, 7, 4);
	put(&c, END_MARKER, 8);
	assert_refused(&p, &c, "not one message");
	begin(&c);
	put_int(&c, 1, 2);
	put_int(&c, 0xffffffff, 4);
	put(&c, END_MARKER, 8);
	assert_refused(&p, &c, "not one message");
	begin(&c);
	put_message(&c, "abcdefgh", 8);
	assert_refused(&p, &c, "cannot read the extension's frames");
	begin(&c);
	put_message(&c, huge, 8);
	assert_refused(&p, &c, "another length");
	begin(&c);
	put_message(&c, p.schema_message, p.schema_len);
	put_int(&c, 1, 2);
	put_int(&c, (uint32_t) p.batch_len + 8, 4);
	put(&c, p.batch, p.batch_len);
	put(&c, END_MARKER, 8);
	assert_refused(&p, &c, "another length");
	begin(&c);
	p.schema_message[12] ^= 0xff;
	put_message(&c, p.schema_message, p.schema_len);
	assert_refused(&p, &c, "cannot read the extension's frames");
	p.schema.release(&p.schema);
}

/* The header may have an extension, which says nothing to us. */
static void
the_headers_extension_is_skipped(void **state)
{
	parts p;
	copy c;
	outcome got;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make_parts(&p);
	begin(&c);
	c.data[18] = 100;
	for (int i = 0; i < 100; i++)
		put(&c, "e", 1);
	put_message(&c, p.schema_message, p.schema_len);
	put_message(&c, p.batch, p.batch_len);
	end(&c);
	assert_ok(read_copy(&p.schema, &c, 0, &got, &err), &err);
	assert_int_equal(got.batches, 1);
	assert_ok(read_copy(&p.schema, &c, 3, &got, &err), &err);
	p.schema.release(&p.schema);
}

static void
columns_other_than_expected_are_refused(void **state)
{
	struct ArrowSchema other;
	golden_file file;
	pst_error err = PST_ERROR_INIT;
	outcome got;
	parts p;
	copy c;

	(void) state;
	make_parts(&p);
	begin(&c);
	put_message(&c, p.schema_message, p.schema_len);
	end(&c);
	assert_true(golden_read("int64.penstock", &file));
	schema_of_golden(&file, &other);
	assert_fails(read_copy(&other, &c, 0, &got, &err), PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, "comes in format \"i\", not \"l\"");
	assert_contains(err.hint, "transport=plain");
	other.release(&other);
	assert_true(golden_read("zero_columns.penstock", &file));
	schema_of_golden(&file, &other);
	assert_fails(read_copy(&other, &c, 0, &got, &err), PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, "columns");
	other.release(&other);
	p.schema.release(&p.schema);
}

/* ---- Values ---- */

static void
make_rows(copy *c, const struct ArrowSchema *schema, const struct ArrowArray *array)
{
	static uint8_t message[4096];
	arrow_ipc_error err;
	size_t n;

	begin(c);
	assert_int_equal(arrow_ipc_write_schema(schema, message, sizeof(message), &n, &err),
					 ARROW_IPC_OK);
	put_message(c, message, n);
	assert_int_equal(arrow_ipc_write_batch(schema, array, message, sizeof(message), &n, &err),
					 ARROW_IPC_OK);
	put_message(c, message, n);
	end(c);
}

/* Rows of one utf8 column. */
static void
read_texts(const char *bytes, const int32_t *offsets, int64_t n, const uint8_t *valid,
		   bool nullable, pst_status want, pst_error *err)
{
	struct ArrowSchema schema;
	struct ArrowArray array;
	const void *buffers[3] = {valid, offsets, bytes};
	outcome got;
	copy c;

	assert_ok(psti_schema_init(&schema, "+s", "", false, 1, err), err);
	assert_ok(psti_schema_init(schema.children[0], "u", "t", true, 0, err), err);
	assert_ok(psti_array_init(&array, n, 1, 1, err), err);
	assert_ok(psti_array_init(array.children[0], n, 3, 0, err), err);
	memcpy(array.children[0]->buffers, buffers, sizeof(buffers));
	array.children[0]->null_count = valid != NULL ? -1 : 0;
	make_rows(&c, &schema, &array);
	memset(array.children[0]->buffers, 0, sizeof(buffers));
	schema.children[0]->flags = nullable ? ARROW_FLAG_NULLABLE : 0;
	*err = (pst_error) PST_ERROR_INIT;
	if (want == PST_OK)
	{
		assert_ok(read_copy(&schema, &c, 0, &got, err), err);
		assert_int_equal(got.rows, n);
	}
	else
		assert_fails(read_copy(&schema, &c, 0, &got, err), want, err);
	psti_array_release(&array);
	psti_schema_release(&schema);
}

static void
text_must_be_utf8_value_by_value(void **state)
{
	static const int32_t whole[] = {0, 10, 12};
	static const int32_t cut[] = {0, 11, 12};
	pst_error err = PST_ERROR_INIT;

	(void) state;
	read_texts("0123456789\xc3\xa9", whole, 2, NULL, true, PST_OK, &err);
	read_texts("0123456789\xc3\xa9", cut, 2, NULL, true, PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, "\"t\" holds text that is not UTF-8");
	assert_string_equal(err.column, "t");
	read_texts("0123456789ab", cut, 2, NULL, true, PST_OK, &err);
	read_texts("", whole, 0, NULL, true, PST_OK, &err); /* a batch of no rows is none */
}

static void
a_null_where_none_may_be_is_refused(void **state)
{
	static const int32_t offsets[] = {0, 1, 1};
	static const uint8_t valid[] = {1};
	pst_error err = PST_ERROR_INIT;

	(void) state;
	read_texts("a", offsets, 2, valid, true, PST_OK, &err);
	read_texts("a", offsets, 2, valid, false, PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, "NOT NULL");
}

/* ---- Passed on ---- */

/* The first batch of a COPY; released when it has none. */
static void
first_batch(const struct ArrowSchema *schema, const copy *c, struct ArrowArray *out)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status = PST_OK;
	psti_frames *frames;
	size_t pos = 0;

	memset(out, 0, sizeof(*out));
	assert_ok(psti_frames_new(schema, &frames, &err), &err);
	while (status == PST_OK && pos < c->len)
	{
		char *at;
		size_t room;

		assert_ok(psti_frames_want(frames, &at, &room, &err), &err);
		room = room < c->len - pos ? room : c->len - pos;
		memcpy(at, c->data + pos, room);
		pos += room;
		status = psti_frames_got(frames, room, &err);
	}
	assert_true(status >= 0);
	if (status == PST_AGAIN)
		psti_frames_take(frames, out);
	psti_frames_free(frames);
}

static int
collect(void *ctx, const void *data, size_t n)
{
	put(ctx, data, n);
	return 0;
}

static pst_status
encode(const struct ArrowSchema *schema, const struct ArrowArray *batch, copy *out)
{
	static const char *const keys[] = {"format", NULL};
	static const char *const values[] = {"arrow", NULL};
	pst_error err = PST_ERROR_INIT;
	pst_encoder *encoder;
	pst_status status;

	out->len = 0;
	assert_ok(pst_encoder_new(keys, values, schema, &encoder, &err), &err);
	status = pst_encoder_write(encoder, batch, collect, out, &err);
	pst_encoder_free(encoder);
	return status;
}

static void
one_passed_on(const golden_file *file)
{
	const uint8_t *message = file->data + message_bytes(file->data);
	struct ArrowSchema schema;
	struct ArrowArray batch;
	copy c;

	copy_of_golden(file, &c);
	schema_of_golden(file, &schema);
	first_batch(&schema, &c, &batch);
	if (batch.release != NULL)
	{
		assert_int_equal(encode(&schema, &batch, &c), PST_OK);
		assert_int_equal(c.len, message_bytes(message));
		assert_memory_equal(c.data, message, c.len);
		batch.release(&batch);
	}
	schema.release(&schema);
}

static void
a_batch_goes_on_as_the_message_that_it_came_in(void **state)
{
	(void) state;
	golden_each("", one_passed_on);
}

/* Two columns of three int32s each, as they come from a COPY. */
static void
read_pairs(struct ArrowSchema *schema, struct ArrowArray *out)
{
	static const int32_t numbers[2][3] = {{1, 2, 3}, {4, 5, 6}};
	pst_error err = PST_ERROR_INIT;
	struct ArrowArray array;
	copy c;

	assert_ok(psti_schema_init(schema, "+s", "", false, 2, &err), &err);
	assert_ok(psti_array_init(&array, 3, 1, 2, &err), &err);
	for (int i = 0; i < 2; i++)
	{
		assert_ok(psti_schema_init(schema->children[i], "i", "n", true, 0, &err), &err);
		assert_ok(psti_array_init(array.children[i], 3, 2, 0, &err), &err);
		array.children[i]->buffers[1] = numbers[i];
	}
	make_rows(&c, schema, &array);
	for (int i = 0; i < 2; i++)
		array.children[i]->buffers[1] = NULL;
	psti_array_release(&array);
	first_batch(schema, &c, out);
	assert_int_equal(out->length, 3);
}

/* The numbers that an encoded batch of two columns holds, one digit each. */
static void
assert_encoded(const struct ArrowSchema *schema, const struct ArrowArray *batch, const char *digits)
{
	struct ArrowArray again;
	char text[8] = "";
	copy message;
	copy c;

	assert_int_equal(encode(schema, batch, &message), PST_OK);
	make_rows(&c, schema, batch);
	first_batch(schema, &c, &again);
	for (int i = 0; i < 2; i++)
		for (int64_t k = 0; k < again.length; k++)
			snprintf(text + strlen(text), 2, "%d",
					 ((const int32_t *) again.children[i]->buffers[1])[k]);
	assert_string_equal(text, digits);
	/* The encoder's message is what an encoding of just these rows gives. */
	assert_int_equal(encode(schema, &again, &c), PST_OK);
	assert_int_equal(message.len, c.len);
	assert_memory_equal(message.data, c.data, c.len);
	again.release(&again);
}

static void
a_batch_that_was_touched_is_encoded_anew(void **state)
{
	struct ArrowSchema schema;
	struct ArrowArray batch;
	struct ArrowArray child;
	size_t n;
	copy c;

	(void) state;
	read_pairs(&schema, &batch);
	assert_non_null(arrow_ipc_message_of(&batch, &n));
	assert_encoded(&schema, &batch, "123456");
	batch.length = 2; /* a limit */
	assert_null(arrow_ipc_message_of(&batch, &n));
	assert_int_equal(n, 0);
	assert_encoded(&schema, &batch, "1245");
	batch.length = 3;
	child = *batch.children[0];
	*batch.children[0] = *batch.children[1];
	*batch.children[1] = child;
	assert_null(arrow_ipc_message_of(&batch, &n));
	assert_encoded(&schema, &batch, "456123");
	child = *batch.children[0];
	batch.children[0]->release = NULL; /* moved */
	assert_null(arrow_ipc_message_of(&batch, &n));
	assert_int_equal(encode(&schema, &batch, &c), PST_ERR_INVALID);
	batch.release(&batch);
	assert_null(arrow_ipc_message_of(&child, &n)); /* a column alone */
	assert_int_equal(((const int32_t *) child.buffers[1])[2], 6);
	child.release(&child);
	schema.release(&schema);
}

static void
a_batch_without_its_last_column_is_encoded_anew(void **state)
{
	struct ArrowSchema schema;
	struct ArrowArray batch;
	pst_error err = PST_ERROR_INIT;
	outcome got;
	size_t n;
	copy message;
	copy c;

	(void) state;
	read_pairs(&schema, &batch);
	batch.children[1]->release(batch.children[1]);
	schema.children[1]->release(schema.children[1]);
	batch.n_children = schema.n_children = 1;
	assert_null(arrow_ipc_message_of(&batch, &n));
	assert_int_equal(encode(&schema, &batch, &message), PST_OK);
	make_rows(&c, &schema, &batch);
	c.len -= 2 + 4 + 8 + 2 + message.len; /* the batch, the end */
	put(&c, message.data, message.len);
	end(&c);
	assert_ok(read_copy(&schema, &c, 0, &got, &err), &err);
	assert_int_equal(got.rows, 3);
	batch.release(&batch);
	schema.release(&schema);
}

/* A column in its parent's place is not what was there, whichever its own place was. */
static void
a_lists_items_are_not_the_list(void **state)
{
	struct ArrowSchema schema;
	struct ArrowArray batch;
	struct ArrowArray items;
	golden_file file;
	size_t n;
	copy c;

	(void) state;
	assert_true(golden_read("list.penstock", &file));
	copy_of_golden(&file, &c);
	schema_of_golden(&file, &schema);
	first_batch(&schema, &c, &batch);
	assert_non_null(arrow_ipc_message_of(&batch, &n));
	items = *batch.children[0]->children[0];
	batch.children[0]->children[0]->release = NULL;
	batch.children[0]->release(batch.children[0]);
	*batch.children[0] = items;
	assert_null(arrow_ipc_message_of(&batch, &n));
	batch.release(&batch);
	schema.release(&schema);
}

/* ---- Memory ---- */

static pst_status
read_for_sweep(void *ctx, pst_error *err)
{
	const parts *p = ctx;
	outcome got;
	copy c;

	begin(&c);
	put_message(&c, p->schema_message, p->schema_len);
	put_message(&c, p->batch, p->batch_len);
	end(&c);
	return read_copy(&p->schema, &c, 0, &got, err);
}

static void
memory_that_is_refused_is_an_error_and_leaks_nothing(void **state)
{
	parts p;

	(void) state;
	make_parts(&p);
	assert_true(psti_test_alloc_sweep(read_for_sweep, &p) > 3);
	p.schema.release(&p.schema);
}

/* Nobody's word is good for a gigabyte: memory is taken as the bytes come. */
static void
a_huge_body_is_not_believed(void **state)
{
	psti_frames *frames;
	pst_error err = PST_ERROR_INIT;
	outcome got;
	parts p;
	copy c;
	uint32_t metadata;
	char *at;
	size_t room;

	(void) state;
	make_parts(&p);
	metadata = get_le(p.batch + 4);
	/* bodyLength stands at 8 of the table Message, which is at 24 (docs/wire.md). */
	memcpy(p.batch + 32, "\0\0\0\x30\0\0\0\0", 8);
	begin(&c);
	put_message(&c, p.schema_message, p.schema_len);
	put_int(&c, 1, 2);
	put_int(&c, 8 + metadata + 0x30000000, 4);
	put(&c, p.batch, 8 + metadata);
	assert_ok(psti_frames_new(&p.schema, &frames, &err), &err);
	assert_fails(feed(frames, &p.schema, c.data, c.len, 0, &got, &err), PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, "ended in the middle");
	err = (pst_error) PST_ERROR_INIT;
	assert_ok(psti_frames_want(frames, &at, &room, &err), &err);
	assert_true(room <= (size_t) 64 * 1024 * 1024);
	memset(at, 0, room);
	assert_ok(psti_frames_got(frames, room, &err), &err);
	assert_ok(psti_frames_want(frames, &at, &room, &err), &err);
	assert_true(room > 0 && room <= (size_t) 128 * 1024 * 1024);
	psti_frames_free(frames);
	p.schema.release(&p.schema);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_stored_stream_comes_out_whole_however_it_is_sliced),
		cmocka_unit_test(a_copy_that_is_cut_anywhere_is_incomplete),
		cmocka_unit_test(another_copy_may_follow_a_whole_or_a_broken_one),
		cmocka_unit_test(messages_in_the_wrong_order_are_refused),
		cmocka_unit_test(wrong_lengths_and_kinds_are_refused),
		cmocka_unit_test(the_headers_extension_is_skipped),
		cmocka_unit_test(columns_other_than_expected_are_refused),
		cmocka_unit_test(text_must_be_utf8_value_by_value),
		cmocka_unit_test(a_null_where_none_may_be_is_refused),
		cmocka_unit_test(a_batch_goes_on_as_the_message_that_it_came_in),
		cmocka_unit_test(a_batch_that_was_touched_is_encoded_anew),
		cmocka_unit_test(a_batch_without_its_last_column_is_encoded_anew),
		cmocka_unit_test(a_lists_items_are_not_the_list),
		cmocka_unit_test(memory_that_is_refused_is_an_error_and_leaks_nothing),
		cmocka_unit_test(a_huge_body_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
