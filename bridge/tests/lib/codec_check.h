/* codec_check.h - what the unit tests of csv and json lines check alike. */
#ifndef TEST_CODEC_CHECK_H
#define TEST_CODEC_CHECK_H

#include "alloc.h"
#include "codec_io.h"

/* A text in one of the formats and what comes of it. */
typedef struct codec_sample
{
	const char *text;
	const char *rows;	 /* of show_batch; of the rows before the error if there is one */
	const char *problem; /* part of the message, or NULL */
	const char *key;	 /* an option, or NULL */
	const char *value;
} codec_sample;

/* A decode for the allocation sweep. */
typedef struct codec_decode
{
	const char *format;
	const char *describe; /* or NULL */
	const char *text;	  /* has a row kind column op */
} codec_decode;

/* rows: they are compared too, which is not of use where a pause or an error decides the columns. */
static inline void
check_codec_sample(const char *format, const char *describe, const codec_sample *s, size_t piece,
				   bool pausing, bool rows_too)
{
	const char *keys[] = {"format", s->key, NULL};
	const char *values[] = {format, s->value, NULL};
	text_input in = input_of(s->text);
	psti_buf rows = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	pst_status status;

	in.piece = piece;
	in.pausing = pausing;
	psti_buf_puts(&rows, "");
	status = decode_with(keys, values, describe, &in, NULL, &rows, &err);
	if (rows_too)
		assert_string_equal(rows.data, s->rows);
	if (s->problem != NULL)
	{
		if (status >= 0)
			fail_msg("%s is taken", s->text);
		assert_contains(err.message, s->problem);
	}
	else if (status != PST_END)
		fail_msg("%s: %s", s->text, err.message);
	psti_buf_free(&rows);
}

static inline pst_status
decode_for_sweep(void *ctx, pst_error *err)
{
	const codec_decode *what = ctx;
	const char *keys[] = {"format", "row-kind-column", NULL};
	const char *values[] = {what->format, "op", NULL};
	text_input in = input_of(what->text);
	psti_buf rows = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_reserve(&rows, 4096);
	status = rows.failed ? psti_fail_nomem(err)
						 : decode_with(keys, values, what->describe, &in, NULL, &rows, err);
	psti_buf_free(&rows);
	return status;
}

/* With the description of the target and without. */
static inline void
check_decoder_allocations(const char *format, const char *describe, const char *text)
{
	codec_decode what = {format, NULL, text};

	assert_true(psti_test_alloc_sweep(decode_for_sweep, &what) > 5);
	what.describe = describe;
	assert_true(psti_test_alloc_sweep(decode_for_sweep, &what) > 5);
}

/* An encode for the allocation sweep. */
typedef struct codec_encode
{
	const char *format;
	struct ArrowSchema schema;
	struct ArrowArray array;
} codec_encode;

static inline pst_status
encode_for_sweep(void *ctx, pst_error *err)
{
	const codec_encode *what = ctx;
	const char *keys[] = {"format", NULL};
	const char *values[] = {what->format, NULL};
	psti_buf out = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_reserve(&out, 4096);
	status = out.failed ? psti_fail_nomem(err)
						: encode_with(keys, values, &what->schema, &what->array, &out, err);
	psti_buf_free(&out);
	return status;
}

static inline void
check_encoder_allocations(const char *format)
{
	static const char *const names[] = {"a", "b"};
	static const char *const cells[] = {"x", "a\"b", NULL, ""};
	codec_encode what = {.format = format};

	make_batch(names, 2, cells, 2, &what.schema, &what.array);
	assert_true(psti_test_alloc_sweep(encode_for_sweep, &what) > 3);
	what.array.release(&what.array);
	what.schema.release(&what.schema);
}

#endif /* TEST_CODEC_CHECK_H */
