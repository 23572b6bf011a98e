/* codec_arrow_test.c - format=arrow through the public functions: inputs that pause, end or lie. */
#include "test.h"

#include <errno.h>

#include "alloc.h"
#include "arrow_build.h"
#include "golden.h"

/* An input that gives `step` bytes a call, and EAGAIN before each call when it pauses. */
typedef struct input
{
	const uint8_t *data;
	size_t len;
	size_t pos;
	size_t step; /* 0: all there is */
	bool pauses;
	bool paused;
	int fails_with; /* errno value, once pos is at fails_at */
	size_t fails_at;
} input;

static int
give(void *ctx, void *data, size_t nbytes, size_t *nread)
{
	input *in = ctx;

	if (in->pauses && !in->paused)
	{
		in->paused = true;
		return EAGAIN;
	}
	in->paused = false;
	if (in->fails_with != 0 && in->pos >= in->fails_at)
		return in->fails_with;
	if (in->step != 0 && nbytes > in->step)
		nbytes = in->step;
	if (nbytes > in->len - in->pos)
		nbytes = in->len - in->pos;
	memcpy(data, in->data + in->pos, nbytes);
	in->pos += nbytes;
	*nread = nbytes;
	return 0;
}

/* Collects what an encoder writes; not through malloc, which is watched. */
typedef struct collected
{
	uint8_t data[8192];
	size_t len;
} collected;

static int
collect(void *ctx, const void *data, size_t nbytes)
{
	collected *out = ctx;

	if (nbytes > sizeof(out->data) - out->len)
		return ENOSPC;
	memcpy(out->data + out->len, data, nbytes);
	out->len += nbytes;
	return 0;
}

static const char *const keys[] = {"format", "row-kind-column", NULL};
static const char *const values[] = {"arrow", "row_kind", NULL};

static pst_status
decode_schema(pst_decoder *decoder, struct ArrowSchema *schema, pst_error *err)
{
	pst_status status;

	do
		status = pst_decoder_schema(decoder, schema, err);
	while (status == PST_AGAIN);
	return status;
}

static pst_status
decode_next(pst_decoder *decoder, struct ArrowArray *batch, pst_error *err)
{
	pst_status status;

	do
		status = pst_decoder_next(decoder, batch, NULL, err);
	while (status == PST_AGAIN);
	return status;
}

/* Decodes all of in and encodes it into out. */
static pst_status
transcode(input *in, collected *out, pst_error *err)
{
	pst_decoder *decoder = NULL;
	pst_encoder *encoder = NULL;
	struct ArrowSchema schema = {.release = NULL};
	struct ArrowArray batch;
	pst_status status;

	out->len = 0;
	status = pst_decoder_new(keys, values, NULL, give, in, &decoder, err);
	if (status == PST_OK)
		status = decode_schema(decoder, &schema, err);
	if (status == PST_OK)
		status = pst_encoder_new(keys, values, &schema, &encoder, err);
	if (status == PST_OK)
		status = pst_encoder_begin(encoder, collect, out, err);
	while (status == PST_OK && (status = decode_next(decoder, &batch, err)) == PST_OK)
	{
		status = pst_encoder_write(encoder, &batch, collect, out, err);
		psti_array_release(&batch);
	}
	if (status == PST_END)
		status = pst_encoder_end(encoder, collect, out, err);
	psti_schema_release(&schema);
	pst_encoder_free(encoder);
	pst_decoder_free(decoder);
	return status;
}

static void
transcode_in_steps(const golden_file *file)
{
	static const size_t steps[] = {0, 1, 7, 64};
	static collected want;
	static collected got;
	input whole = {.data = file->data, .len = file->len};
	pst_error err = PST_ERROR_INIT;

	assert_ok(transcode(&whole, &want, &err), &err);
	for (size_t i = 0; i < 8; i++)
	{
		input in = {.data = file->data, .len = file->len, .step = steps[i % 4], .pauses = i >= 4};

		assert_ok(transcode(&in, &got, &err), &err);
		assert_int_equal(got.len, want.len);
		assert_memory_equal(got.data, want.data, want.len);
		if (strstr(file->name, ".penstock") != NULL)
		{
			assert_int_equal(got.len, file->len);
			assert_memory_equal(got.data, file->data, file->len);
		}
	}
}

static void
an_input_that_pauses_at_any_byte_loses_nothing(void **state)
{
	(void) state;
	golden_each("", transcode_in_steps);
}

static void
cut_everywhere(const golden_file *file)
{
	static collected out;

	for (size_t len = 0; len < file->len; len++)
	{
		input in = {.data = file->data, .len = len};
		pst_error err = PST_ERROR_INIT;

		assert_fails(transcode(&in, &out, &err), PST_ERR_DATA, &err);
		assert_contains(err.message, "the Arrow stream is incomplete");
	}
}

static void
a_stream_that_ends_early_is_incomplete_at_any_byte(void **state)
{
	(void) state;
	golden_each(".penstock", cut_everywhere);
}

static void
flip_everywhere(const golden_file *file)
{
	static collected out;
	golden_file copy = *file;

	for (size_t i = 0; i < file->len; i++)
	{
		input in = {.data = copy.data, .len = copy.len};
		pst_error err = PST_ERROR_INIT;

		copy.data[i] = (uint8_t) ~file->data[i];
		transcode(&in, &out, &err);
		copy.data[i] = file->data[i];
	}
}

static void
any_flipped_byte_is_survived(void **state)
{
	(void) state;
	golden_each(".pyarrow", flip_everywhere);
}

static pst_status
transcode_for_sweep(void *ctx, pst_error *err)
{
	static collected out;
	const golden_file *file = ctx;
	input in = {.data = file->data, .len = file->len};

	return transcode(&in, &out, err);
}

static void
each_allocation_may_fail(void **state)
{
	static const char *const names[] = {"two_batches.penstock", "metadata.pyarrow",
										"list_of_struct.pyarrow"};

	(void) state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		golden_file file;

		assert_true(golden_read(names[i], &file));
		assert_true(psti_test_alloc_sweep(transcode_for_sweep, &file) > 10);
	}
}

/* The length of the schema message of a stream: where its first batch begins. */
static size_t
first_batch(const golden_file *file)
{
	uint32_t metadata;

	memcpy(&metadata, file->data + 4, 4);
	return 8 + (size_t) metadata;
}

static void
a_length_beyond_the_input_allocates_nothing_like_it(void **state)
{
	static collected out;
	golden_file file;
	/* Two hundred terabytes: malloc would fail at once. */
	const uint64_t body = UINT64_C(1) << 47;
	const uint32_t metadata = INT32_MAX;
	pst_error err = PST_ERROR_INIT;
	input in;

	(void) state;
	assert_true(golden_read("int64.penstock", &file));
	memcpy(file.data + first_batch(&file) + 32, &body, 8);
	in = (input){.data = file.data, .len = file.len};
	assert_fails(transcode(&in, &out, &err), PST_ERR_DATA, &err);
	assert_contains(err.message, "incomplete");
	assert_true(golden_read("int64.penstock", &file));
	memcpy(file.data + first_batch(&file) + 4, &metadata, 4);
	in = (input){.data = file.data, .len = file.len};
	assert_fails(transcode(&in, &out, &err), PST_ERR_DATA, &err);
	assert_contains(err.message, "incomplete");
}

static void
a_body_larger_than_its_first_memory_is_read_whole(void **state)
{
	/* One int8 column of 40 million zeros: the message is made here, it would be a large file. */
	const int64_t nrows = 40 * 1000 * 1000;
	golden_file file;
	pst_decoder *decoder;
	struct ArrowArray batch;
	pst_error err = PST_ERROR_INIT;
	size_t head;
	uint8_t *data;
	int64_t padded = (nrows + 63) / 64 * 64;
	input in;

	(void) state;
	assert_true(golden_read("int8.penstock", &file));
	head = first_batch(&file) + 8 + 128;
	data = calloc(1, head + (size_t) padded + 8);
	assert_non_null(data);
	memcpy(data, file.data, head);
	for (int i = 0; i < 7; i++)
	{
		static const int at[] = {32, 64, 80, 88, 112, 120, 128};
		const int64_t numbers[] = {padded, nrows, nrows, 0, 0, 0, nrows};

		memcpy(data + first_batch(&file) + at[i], &numbers[i], 8);
	}
	memset(data + head + padded, 0xFF, 4);
	data[head + (size_t) nrows - 1] = 77;
	in = (input){.data = data, .len = head + (size_t) padded + 8, .step = 1 << 20};
	assert_ok(pst_decoder_new(keys, values, NULL, give, &in, &decoder, &err), &err);
	assert_ok(pst_decoder_next(decoder, &batch, NULL, &err), &err);
	assert_int_equal(batch.length, nrows);
	assert_int_equal(((const int8_t *) batch.children[0]->buffers[1])[nrows - 1], 77);
	assert_int_equal((uintptr_t) batch.children[0]->buffers[1] % 64, 0);
	psti_array_release(&batch);
	assert_int_equal(pst_decoder_next(decoder, &batch, NULL, &err), PST_END);
	pst_decoder_free(decoder);
	free(data);
}

static void
batches_outlive_their_decoder(void **state)
{
	golden_file file;
	input in;
	pst_decoder *decoder;
	struct ArrowSchema schema;
	struct ArrowArray batches[2];
	struct ArrowArray none;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_true(golden_read("two_batches.pyarrow", &file));
	in = (input){.data = file.data, .len = file.len};
	assert_ok(pst_decoder_new(keys, values, NULL, give, &in, &decoder, &err), &err);
	assert_ok(pst_decoder_next(decoder, &batches[0], NULL, &err), &err);
	assert_ok(pst_decoder_schema(decoder, &schema, &err), &err);
	assert_ok(pst_decoder_next(decoder, &batches[1], NULL, &err), &err);
	assert_int_equal(pst_decoder_next(decoder, &none, NULL, &err), PST_END);
	assert_int_equal(pst_decoder_next(decoder, &none, NULL, &err), PST_END);
	assert_null(none.release);
	pst_decoder_free(decoder);
	assert_int_equal(((const int32_t *) batches[0].children[0]->buffers[1])[1], 2);
	assert_memory_equal(batches[1].children[1]->buffers[2], "zzz", 3);
	assert_string_equal(schema.children[1]->name, "t");
	psti_array_release(&batches[0]);
	psti_array_release(&batches[1]);
	psti_schema_release(&schema);
}

static void
a_failure_stays(void **state)
{
	golden_file file;
	input in;
	pst_decoder *decoder;
	struct ArrowSchema schema;
	struct ArrowArray batch;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_true(golden_read("two_batches.penstock", &file));
	in = (input){
		.data = file.data, .len = file.len, .fails_with = EIO, .fails_at = first_batch(&file) + 9};
	in.step = first_batch(&file) + 9;
	assert_ok(pst_decoder_new(keys, values, NULL, give, &in, &decoder, &err), &err);
	assert_fails(pst_decoder_next(decoder, &batch, NULL, &err), PST_ERR_IO, &err);
	in.fails_with = 0;
	err.status = PST_OK;
	assert_fails(pst_decoder_next(decoder, &batch, NULL, &err), PST_ERR_IO, &err);
	assert_fails(pst_decoder_schema(decoder, &schema, &err), PST_ERR_IO, &err);
	assert_null(schema.release);
	assert_null(batch.release);
	pst_decoder_free(decoder);
}

static void
an_error_in_a_later_batch_tells_its_row(void **state)
{
	golden_file file;
	input in;
	pst_decoder *decoder;
	struct ArrowArray batch;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_true(golden_read("two_batches.penstock", &file));
	in = (input){.data = file.data, .len = file.len - 8};
	assert_ok(pst_decoder_new(keys, values, NULL, give, &in, &decoder, &err), &err);
	for (int i = 0; i < 2; i++)
	{
		assert_ok(pst_decoder_next(decoder, &batch, NULL, &err), &err);
		psti_array_release(&batch);
	}
	assert_fails(pst_decoder_next(decoder, &batch, NULL, &err), PST_ERR_DATA, &err);
	assert_contains(err.message, "ends after 3 rows without an end marker");
	assert_int_equal(err.row, 3);
	pst_decoder_free(decoder);
}

static void
two_streams_behind_each_other_are_refused(void **state)
{
	static collected out;
	static uint8_t twice[8192];
	golden_file file;
	input in;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_true(golden_read("int32.penstock", &file));
	memcpy(twice, file.data, file.len);
	memcpy(twice + file.len, file.data, file.len);
	in = (input){.data = twice, .len = 2 * file.len};
	assert_fails(transcode(&in, &out, &err), PST_ERR_DATA, &err);
	assert_contains(err.message, "behind the end marker");
	assert_true(err.hint[0] != '\0');
}

/* ---------------------------------------------------------------------------------------------
 * Row kinds
 */

/* A stream of (row_kind of the given format, a int8) with these row kinds. */
static void
make_changelog(const char *format, int nrows, const int32_t *offsets, void *data, collected *out)
{
	static int8_t numbers[8] = {10, 11, 12, 13, 14, 15, 16, 17};
	struct ArrowSchema schema;
	const void *kind_buffers[3] = {NULL, offsets != NULL ? (const void *) offsets : data, data};
	const void *number_buffers[2] = {NULL, numbers};
	const void *top_buffers[1] = {NULL};
	struct ArrowArray columns[2];
	struct ArrowArray *pointers[2] = {&columns[0], &columns[1]};
	struct ArrowArray batch;
	pst_encoder *encoder;
	pst_error err = PST_ERROR_INIT;
	void (*some_release)(struct ArrowArray *) = psti_array_release;

	columns[0] = (struct ArrowArray){.length = nrows,
									 .n_buffers = offsets != NULL ? 3 : 2,
									 .buffers = kind_buffers,
									 .release = some_release};
	columns[1] = (struct ArrowArray){
		.length = nrows, .n_buffers = 2, .buffers = number_buffers, .release = some_release};
	batch = (struct ArrowArray){.length = nrows,
								.n_buffers = 1,
								.buffers = top_buffers,
								.n_children = 2,
								.children = pointers,
								.release = some_release};
	assert_ok(psti_schema_init(&schema, "+s", "", false, 2, &err), &err);
	assert_ok(psti_schema_init(schema.children[0], format, "row_kind", true, 0, &err), &err);
	assert_ok(psti_schema_init(schema.children[1], "c", "a", true, 0, &err), &err);
	out->len = 0;
	assert_ok(pst_encoder_new(keys, values, &schema, &encoder, &err), &err);
	assert_ok(pst_encoder_begin(encoder, collect, out, &err), &err);
	assert_ok(pst_encoder_write(encoder, &batch, collect, out, &err), &err);
	assert_ok(pst_encoder_end(encoder, collect, out, &err), &err);
	pst_encoder_free(encoder);
	psti_schema_release(&schema);
}

static void
expect_kinds(const collected *stream, const int8_t *want, int nrows)
{
	input in = {.data = stream->data, .len = stream->len};
	pst_decoder *decoder;
	struct ArrowSchema schema;
	struct ArrowArray batch;
	const int8_t *kinds = NULL;
	pst_error err = PST_ERROR_INIT;

	assert_ok(pst_decoder_new(keys, values, NULL, give, &in, &decoder, &err), &err);
	assert_ok(pst_decoder_schema(decoder, &schema, &err), &err);
	assert_int_equal(schema.n_children, 1);
	assert_string_equal(schema.children[0]->name, "a");
	assert_ok(pst_decoder_next(decoder, &batch, &kinds, &err), &err);
	assert_int_equal(batch.n_children, 1);
	assert_int_equal(batch.length, nrows);
	assert_non_null(kinds);
	assert_memory_equal(kinds, want, (size_t) nrows);
	if (nrows > 0)
		assert_int_equal(((const int8_t *) batch.children[0]->buffers[1])[0], 10);
	psti_array_release(&batch);
	psti_schema_release(&schema);
	assert_int_equal(pst_decoder_next(decoder, &batch, &kinds, &err), PST_END);
	assert_null(kinds);
	pst_decoder_free(decoder);
}

static const int32_t two_each[] = {0, 2, 4, 6, 8};

static void
row_kinds_are_taken_out_of_the_batch(void **state)
{
	static collected stream;
	char words[] = "+I-U+U-D";
	int8_t numbers[] = {3, 2, 1, 0};

	(void) state;
	make_changelog("u", 4, two_each, words, &stream);
	expect_kinds(&stream, (const int8_t[]){0, 1, 2, 3}, 4);
	make_changelog("u", 0, two_each, words, &stream);
	expect_kinds(&stream, (const int8_t[]){0}, 0);
	make_changelog("c", 4, NULL, numbers, &stream);
	expect_kinds(&stream, (const int8_t[]){3, 2, 1, 0}, 4);
}

static void
expect_no_kinds(const collected *stream, const char *message, int64_t row)
{
	static collected out;
	input in = {.data = stream->data, .len = stream->len};
	pst_error err = PST_ERROR_INIT;

	assert_fails(transcode(&in, &out, &err), PST_ERR_DATA, &err);
	assert_contains(err.message, message);
	assert_string_equal(err.column, "row_kind");
	assert_int_equal(err.row, row);
}

static void
what_is_no_row_kind_is_named_with_its_row(void **state)
{
	static collected stream;
	static const int32_t uneven[] = {0, 2, 3, 6, 8};
	char words[] = "+I-U+U-D";
	char other[] = "+I-U+i-D";
	int8_t numbers[] = {3, 2, 4, 0};
	int16_t wide[] = {0, 0, 0, 0};

	(void) state;
	make_changelog("u", 4, uneven, words, &stream);
	expect_no_kinds(&stream, "row 1: column \"row_kind\" holds no row kind", 1);
	make_changelog("u", 4, two_each, other, &stream);
	expect_no_kinds(&stream, "row 2: ", 2);
	make_changelog("c", 4, NULL, numbers, &stream);
	expect_no_kinds(&stream, "row 2: ", 2);
	make_changelog("s", 4, NULL, wide, &stream);
	expect_no_kinds(&stream, "has Arrow type int16", 0);
}

/* ---------------------------------------------------------------------------------------------
 * Encoder
 */

static void
a_schema_that_cannot_be_written_is_refused_at_once(void **state)
{
	struct ArrowSchema schema;
	pst_encoder *encoder;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_schema_init(&schema, "+s", "", false, 1, &err), &err);
	assert_ok(psti_schema_init(schema.children[0], "vu", "text", true, 0, &err), &err);
	assert_fails(pst_encoder_new(keys, values, &schema, &encoder, &err), PST_ERR_UNSUPPORTED, &err);
	assert_null(encoder);
	assert_string_equal(err.column, "text");
	assert_contains(err.message, "column \"text\": not a supported Arrow type: utf8_view");
	psti_schema_release(&schema);
}

static void
a_batch_of_another_schema_is_refused(void **state)
{
	static collected out;
	struct ArrowSchema schema;
	struct ArrowArray batch;
	pst_encoder *encoder;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_schema_init(&schema, "+s", "", false, 1, &err), &err);
	assert_ok(psti_schema_init(schema.children[0], "u", "t", true, 0, &err), &err);
	assert_ok(psti_array_init(&batch, 0, 1, 1, &err), &err);
	assert_ok(psti_array_init(batch.children[0], 0, 2, 0, &err), &err);
	assert_ok(pst_encoder_new(keys, values, &schema, &encoder, &err), &err);
	out.len = 0;
	assert_fails(pst_encoder_write(encoder, &batch, collect, &out, &err), PST_ERR_INVALID, &err);
	assert_string_equal(err.column, "t");
	assert_int_equal(out.len, 0);
	pst_encoder_free(encoder);
	psti_array_release(&batch);
	psti_schema_release(&schema);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_input_that_pauses_at_any_byte_loses_nothing),
		cmocka_unit_test(a_stream_that_ends_early_is_incomplete_at_any_byte),
		cmocka_unit_test(any_flipped_byte_is_survived),
		cmocka_unit_test(each_allocation_may_fail),
		cmocka_unit_test(a_length_beyond_the_input_allocates_nothing_like_it),
		cmocka_unit_test(a_body_larger_than_its_first_memory_is_read_whole),
		cmocka_unit_test(batches_outlive_their_decoder),
		cmocka_unit_test(a_failure_stays),
		cmocka_unit_test(an_error_in_a_later_batch_tells_its_row),
		cmocka_unit_test(two_streams_behind_each_other_are_refused),
		cmocka_unit_test(row_kinds_are_taken_out_of_the_batch),
		cmocka_unit_test(what_is_no_row_kind_is_named_with_its_row),
		cmocka_unit_test(a_schema_that_cannot_be_written_is_refused_at_once),
		cmocka_unit_test(a_batch_of_another_schema_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
