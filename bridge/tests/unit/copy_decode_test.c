/* copy_decode_test.c - binary COPY into Arrow, byte by byte. */
#include "test.h"

#include <stddef.h>

#include "alloc.h"
#include "copy_decode.h"

#define HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
#define HEADER_BYTES 19

/*
 * What a server sent for the value of an SQL expression (COPY (SELECT sql) TO STDOUT (FORMAT binary)),
 * what its output function prints and what to_json does (NULL: not of that type here).
 */
static const struct sample
{
	const char *sql;
	psti_copy_type type;
	const char *hex;
	const char *text;
	const char *json;
	const char *arrow; /* the value buffer's bytes, or a text's */
	int precision, scale;
} samples[] = {
	{"true", PSTI_COPY_BOOL, "01", "t", "true", "01", 0, 0},
	{"(-2)::int2", PSTI_COPY_INT2, "fffe", "-2", "-2", "feff", 0, 0},
	{"(-70000)::int4", PSTI_COPY_INT4, "fffeee90", "-70000", "-70000", "90eefeff", 0, 0},
	{"9223372036854775807::int8", PSTI_COPY_INT8, "7fffffffffffffff", "9223372036854775807",
	 "9223372036854775807", "ffffffffffffff7f", 0, 0},
	{"4294967295::oid", PSTI_COPY_OID, "ffffffff", "4294967295", "\"4294967295\"",
	 "34323934393637323935", 0, 0},
	{"1.5::float4", PSTI_COPY_FLOAT4, "3fc00000", "1.5", "1.5", "0000c03f", 0, 0},
	{"'-Infinity'::float8", PSTI_COPY_FLOAT8, "fff0000000000000", "-Infinity", "\"-Infinity\"",
	 "000000000000f0ff", 0, 0},
	{"0.1::float8", PSTI_COPY_FLOAT8, "3fb999999999999a", "0.1", "0.1", "9a9999999999b93f", 0, 0},
	{"'2000-01-02'::date", PSTI_COPY_DATE, "00000001", "2000-01-02", "\"2000-01-02\"", "ce2a0000",
	 0, 0},
	{"'23:59:59.5'::time", PSTI_COPY_TIME, "000000141dcfbee0", "23:59:59.5", "\"23:59:59.5\"",
	 "e0becf1d14000000", 0, 0},
	{"'12:00+05:30'::timetz", PSTI_COPY_TIMETZ, "0000000a0eebb000ffffb2a8", "12:00:00+05:30",
	 "\"12:00:00+05:30\"", "31323a30303a30302b30353a3330", 0, 0},
	{"'1999-12-31 23:59:59'::timestamp", PSTI_COPY_TIMESTAMP, "fffffffffff0bdc0",
	 "1999-12-31 23:59:59", "\"1999-12-31T23:59:59\"", NULL, 0, 0},
	{"'2000-01-01 01:00+01'::timestamptz", PSTI_COPY_TIMESTAMPTZ, "0000000000000000",
	 "2000-01-01 00:00:00+00", "\"2000-01-01T00:00:00+00:00\"", NULL, 0, 0},
	{"'1 mon 2 days 00:00:03'::interval", PSTI_COPY_INTERVAL, "00000000002dc6c00000000200000001",
	 "1 mon 2 days 00:00:03", "\"1 mon 2 days 00:00:03\"", "0100000002000000005ed0b200000000", 0,
	 0},
	{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", PSTI_COPY_UUID,
	 "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
	 "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"", "a0eebc999c0b4ef8bb6d6bb9bd380a11", 0, 0},
	{"'\\x00ff'::bytea", PSTI_COPY_BYTEA, "00ff", "\\x00ff", "\"\\\\x00ff\"", "00ff", 0, 0},
	{"(-12.34)::numeric(4,2)", PSTI_COPY_NUMERIC, "0002000040000002000c0d48", "-12.34", "-12.34",
	 "2efbffffffffffffffffffffffffffff", 4, 2},
	{"'a\"b'::text", PSTI_COPY_TEXT, "612262", "a\"b", "\"a\\\"b\"", "612262", 0, 0},
	{"'{\"a\": 1}'::json", PSTI_COPY_JSON, "7b2261223a20317d", "{\"a\": 1}", "{\"a\": 1}",
	 "7b2261223a20317d", 0, 0},
	{"'{\"a\":1}'::jsonb", PSTI_COPY_JSONB, "017b2261223a20317d", "{\"a\": 1}", "{\"a\": 1}",
	 "7b2261223a20317d", 0, 0},
	{"'null'::jsonb", PSTI_COPY_JSONB, "016e756c6c", "null", "\"null\"", "6e756c6c", 0, 0},
	{"'\"x\"'::json", PSTI_COPY_JSON, "227822", "\"x\"", "\"\\\"x\\\"\"", "227822", 0, 0},
	{"'1e+20' of a server before 12", PSTI_COPY_NUMBER_TEXT, "31652b3230", "1e+20", "1e+20",
	 "31652b3230", 0, 0},
	{"'NaN' of a server before 12", PSTI_COPY_NUMBER_TEXT, "4e614e", "NaN", "\"NaN\"", "4e614e", 0,
	 0},
	{"to_json(ARRAY[row])", PSTI_COPY_MADE_JSON, "5b312c0a325d", "[1,\n2]", "[1, 2]",
	 "5b312c0a325d", 0, 0},
};

#define NSAMPLES (sizeof(samples) / sizeof(samples[0]))

/* Lists: int4 unless said. */
static const struct list_sample
{
	const char *sql;
	const char *hex;
	int32_t lengths; /* of the one list; -1: special, -2: wrong */
	const char *text;
	const char *json;
} lists[] = {
	{"ARRAY[1,NULL,3]",
	 "00000001000000010000001700000003000000010000000400000001ffffffff0000000400000003", 3,
	 "{1,NULL,3}", "[1,null,3]"},
	{"'{}'::int4[]", "000000000000000000000017", 0, "{}", "[]"},
	{"'{{1},{2}}'::int4[]",
	 "0000000200000000000000170000000200000001000000010000000100000004000000010000000400000002", -1,
	 "{{1},{2}}", "[[1],[2]]"},
	{"'[2:2]={7}'::int4[]", "00000001000000000000001700000001000000020000000400000007", -1,
	 "[2:2]={7}", "\"[2:2]={7}\""},
	{"'[-1:-1][0:0]={{7}}'::int4[]",
	 "0000000200000000000000170000000"
	 "1ffffffff"
	 "00000001"
	 "00000000"
	 "0000000400000007",
	 -1, "[-1:-1][0:0]={{7}}", "\"[-1:-1][0:0]={{7}}\""},
	{"another element type", "000000000000000000000019", -2, NULL, NULL},
	{"seven dimensions", "000000070000000000000017", -2, NULL, NULL},
	{"unknown flags", "000000000000000200000017", -2, NULL, NULL},
	{"more elements than bytes", "0000000100000000000000177fffffff000000010000000400000007", -2,
	 NULL, NULL},
	{"sizes whose product overflows",
	 "00000002000000000000001780000000000000018000000000000001000000040000000700000004", -2, NULL,
	 NULL},
	{"a size of 0", "00000001000000000000001700000000000000010000000400000007", -2, NULL, NULL},
	{"bytes behind the last element", "0000000100000000000000170000000100000001000000040000000700",
	 -2, NULL, NULL},
	{"an element beyond the end", "0000000100000000000000170000000100000001000000050000000700", -2,
	 NULL, NULL},
	{"an element of another width", "00000001000000000000001700000001000000010000000300070000", -2,
	 NULL, NULL},
	{"cut in its header", "00000001", -2, NULL, NULL},
};

/* ---- Streams made by hand ---- */

static void
put_hex(psti_buf *out, const char *hex)
{
	for (; hex[0] != '\0'; hex += 2)
	{
		unsigned byte;

		assert_int_equal(sscanf(hex, "%2x", &byte), 1);
		psti_buf_putc(out, (char) byte);
	}
}

static void
put_field(psti_buf *out, const char *hex)
{
	if (hex == NULL)
		psti_buf_int32(out, -1);
	else
	{
		psti_buf_int32(out, (int32_t) (strlen(hex) / 2));
		put_hex(out, hex);
	}
}

static void
begin(psti_buf *out)
{
	psti_buf_append(out, HEADER, HEADER_BYTES);
}

/* One row of one field, with header and trailer. */
static psti_buf
stream_of(const char *hex)
{
	psti_buf out = PSTI_BUF_INIT;

	begin(&out);
	psti_buf_int16(&out, 1);
	put_field(&out, hex);
	psti_buf_int16(&out, -1);
	return out;
}

static const psti_copy_limits wide = {65536, 4 << 20, INT32_MAX, PSTI_SPECIAL_ERROR, false};

static psti_copy_decoder *
decoder_for(const psti_copy_column *columns, size_t n, const psti_copy_limits *limits)
{
	psti_copy_decoder *decoder;
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_copy_decoder_new(columns, n, limits, &decoder, &err), &err);
	return decoder;
}

/* Feeds all; the status of the last feed, then finish's when all went well. */
static pst_status
feed_all(psti_copy_decoder *decoder, const psti_buf *bytes, size_t slice, pst_error *err)
{
	size_t at = 0;
	pst_status status = PST_OK;

	while (at < bytes->len)
	{
		size_t n = bytes->len - at < slice ? bytes->len - at : slice;
		size_t used;

		status = psti_copy_feed(decoder, bytes->data + at, n, &used, err);
		at += used;
		if (status < 0)
			return status;
		if (status == PST_AGAIN)
		{
			struct ArrowArray array;

			assert_ok(psti_copy_take(decoder, &array, err), err);
			array.release(&array);
		}
	}
	return psti_copy_finish(decoder, err);
}

static psti_copy_column
column_of(psti_copy_type type, psti_copy_form form)
{
	return (psti_copy_column){.name = "c", .type = type, .form = form};
}

static void
assert_text(const struct ArrowArray *array, const char *want, const char *sql)
{
	const int32_t *offsets = array->buffers[1];
	const char *text = array->buffers[2];

	if ((size_t) offsets[1] != strlen(want) || memcmp(text, want, strlen(want)) != 0)
		fail_msg("%s: \"%.*s\", wanted \"%s\"", sql, offsets[1], text, want);
}

static struct ArrowArray
decode_one(const struct sample *s, psti_copy_form form, size_t slice)
{
	psti_copy_column column = column_of(s->type, form);
	psti_copy_decoder *decoder;
	psti_buf bytes = stream_of(s->hex);
	struct ArrowArray array;
	pst_error err = PST_ERROR_INIT;

	column.precision = s->precision;
	column.scale = s->scale;
	decoder = decoder_for(&column, 1, &wide);
	assert_ok(feed_all(decoder, &bytes, slice, &err), &err);
	assert_ok(psti_copy_take(decoder, &array, &err), &err);
	assert_int_equal(array.length, 1);
	assert_int_equal(array.n_children, 1);
	assert_int_equal(array.children[0]->null_count, 0);
	psti_copy_decoder_free(decoder);
	psti_buf_free(&bytes);
	return array;
}

/* ---- Tests ---- */

static void
each_type_gives_its_text_its_json_and_its_arrow_bytes(void **state)
{
	(void) state;
	for (size_t i = 0; i < NSAMPLES; i++)
	{
		const struct sample *s = &samples[i];
		struct ArrowArray array = decode_one(s, PSTI_FORM_TEXT, 1000);
		const struct ArrowArray *child;
		psti_buf want = PSTI_BUF_INIT;

		assert_text(array.children[0], s->text, s->sql);
		array.release(&array);
		array = decode_one(s, PSTI_FORM_JSON, 1000);
		assert_text(array.children[0], s->json, s->sql);
		array.release(&array);
		array = decode_one(s, PSTI_FORM_ARROW, 1000);
		child = array.children[0];
		if (s->arrow != NULL && s->type != PSTI_COPY_TIMESTAMP)
		{
			put_hex(&want, s->arrow);
			assert_memory_equal(child->buffers[child->n_buffers - 1], want.data, want.len);
		}
		psti_buf_free(&want);
		array.release(&array);
	}
}

static void
timestamps_count_from_1970(void **state)
{
	(void) state;
	for (size_t i = 0; i < NSAMPLES; i++)
	{
		struct ArrowArray array;

		if (samples[i].type != PSTI_COPY_TIMESTAMP && samples[i].type != PSTI_COPY_TIMESTAMPTZ)
			continue;
		array = decode_one(&samples[i], PSTI_FORM_ARROW, 1000);
		assert_int_equal(((const int64_t *) array.children[0]->buffers[1])[0],
						 samples[i].type == PSTI_COPY_TIMESTAMP ? 946684799000000
																: 946684800000000);
		array.release(&array);
	}
}

static void
slices_of_any_size_give_the_same(void **state)
{
	(void) state;
	for (size_t i = 0; i < NSAMPLES; i++)
		for (size_t slice = 1; slice < 40; slice++)
		{
			struct ArrowArray array = decode_one(&samples[i], PSTI_FORM_TEXT, slice);

			assert_text(array.children[0], samples[i].text, samples[i].sql);
			array.release(&array);
		}
}

static void
a_stream_cut_at_any_byte_is_a_protocol_error(void **state)
{
	(void) state;
	for (size_t i = 0; i < NSAMPLES; i++)
	{
		psti_buf bytes = stream_of(samples[i].hex);
		psti_copy_column column = column_of(samples[i].type, PSTI_FORM_TEXT);

		for (size_t len = 0; len < bytes.len; len++)
		{
			psti_copy_decoder *decoder = decoder_for(&column, 1, &wide);
			psti_buf cut = {bytes.data, len, 0, false};
			pst_error err = PST_ERROR_INIT;

			assert_fails(feed_all(decoder, &cut, 7, &err), PST_ERR_PROTOCOL, &err);
			psti_copy_decoder_free(decoder);
		}
		psti_buf_free(&bytes);
	}
}

static void
a_field_of_another_length_is_a_protocol_error(void **state)
{
	(void) state;
	for (size_t i = 0; i < NSAMPLES; i++)
		for (int form = PSTI_FORM_ARROW; form <= PSTI_FORM_JSON; form++)
		{
			psti_copy_column column = column_of(samples[i].type, (psti_copy_form) form);
			psti_copy_decoder *decoder;
			char hex[128];
			psti_buf bytes;
			pst_error err = PST_ERROR_INIT;
			bool any_length =
				samples[i].type >= PSTI_COPY_TEXT || samples[i].type == PSTI_COPY_BYTEA;

			if (any_length)
				continue;
			column.precision = samples[i].precision;
			column.scale = samples[i].scale;
			snprintf(hex, sizeof(hex), "%s00", samples[i].hex);
			for (int k = 0; k < 2; k++)
			{
				decoder = decoder_for(&column, 1, &wide);
				bytes = stream_of(hex);
				assert_fails(feed_all(decoder, &bytes, 1000, &err), PST_ERR_PROTOCOL, &err);
				assert_string_equal(err.column, "c");
				psti_copy_decoder_free(decoder);
				psti_buf_free(&bytes);
				hex[strlen(samples[i].hex) - 2] = '\0'; /* now one byte less */
			}
		}
}

static void
flipped_bits_never_do_more_than_fail(void **state)
{
	(void) state;
	for (size_t i = 0; i < NSAMPLES; i++)
	{
		psti_buf bytes = stream_of(samples[i].hex);

		for (size_t bit = 0; bit < bytes.len * 8; bit++)
			for (int form = PSTI_FORM_ARROW; form <= PSTI_FORM_JSON; form++)
			{
				psti_copy_column column = column_of(samples[i].type, (psti_copy_form) form);
				psti_copy_decoder *decoder;
				pst_error err = PST_ERROR_INIT;

				column.precision = samples[i].precision;
				column.scale = samples[i].scale;
				decoder = decoder_for(&column, 1, &wide);
				bytes.data[bit / 8] = (char) (bytes.data[bit / 8] ^ (1 << (bit % 8)));
				if (feed_all(decoder, &bytes, 11, &err) < 0)
					assert_int_not_equal(err.message[0], '\0');
				bytes.data[bit / 8] = (char) (bytes.data[bit / 8] ^ (1 << (bit % 8)));
				psti_copy_decoder_free(decoder);
			}
		psti_buf_free(&bytes);
	}
}

static void
headers_rows_and_trailers_that_no_server_sends_are_refused(void **state)
{
	static const struct
	{
		const char *what;
		const char *hex;
	} cases[] = {
		{"another signature", "5047434f50590aff0d0a01"
							  "00000000"
							  "00000000"
							  "ffff"},
		{"oids", "5047434f50590aff0d0a00"
				 "00010000"
				 "00000000"
				 "ffff"},
		{"a critical flag", "5047434f50590aff0d0a00"
							"80000000"
							"00000000"
							"ffff"},
		{"a negative extension", "5047434f50590aff0d0a00"
								 "00000000"
								 "ffffffff"
								 "ffff"},
		{"too few fields", "5047434f50590aff0d0a00"
						   "00000000"
						   "00000000"
						   "0000"
						   "ffff"},
		{"too many fields", "5047434f50590aff0d0a00"
							"00000000"
							"00000000"
							"0002"
							"ffff"},
		{"a negative field count", "5047434f50590aff0d0a00"
								   "00000000"
								   "00000000"
								   "fffe"
								   "ffff"},
		{"a length below -1", "5047434f50590aff0d0a00"
							  "00000000"
							  "00000000"
							  "0001"
							  "fffffffe"
							  "ffff"},
		{"bytes behind the trailer", "5047434f50590aff0d0a00"
									 "00000000"
									 "00000000"
									 "ffff"
									 "00"},
		{"no trailer", "5047434f50590aff0d0a00"
					   "00000000"
					   "00000000"},
		{"nothing", ""},
	};
	psti_copy_column column = column_of(PSTI_COPY_TEXT, PSTI_FORM_ARROW);

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t slice = 1; slice < 1000; slice *= 10)
		{
			psti_copy_decoder *decoder = decoder_for(&column, 1, &wide);
			psti_buf bytes = PSTI_BUF_INIT;
			pst_error err = PST_ERROR_INIT;

			put_hex(&bytes, cases[i].hex);
			if (feed_all(decoder, &bytes, slice, &err) != PST_ERR_PROTOCOL)
				fail_msg("%s was taken", cases[i].what);
			psti_copy_decoder_free(decoder);
			psti_buf_free(&bytes);
		}
}

static void
a_header_extension_and_harmless_flags_are_skipped(void **state)
{
	psti_copy_column column = column_of(PSTI_COPY_INT2, PSTI_FORM_ARROW);

	(void) state;
	for (size_t slice = 1; slice < 40; slice++)
	{
		psti_copy_decoder *decoder = decoder_for(&column, 1, &wide);
		psti_buf bytes = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;

		put_hex(&bytes, "5047434f50590aff0d0a00"
						"0000ffff"
						"00000005"
						"0102030405"
						"0001"
						"00000002"
						"0007"
						"ffff");
		assert_ok(feed_all(decoder, &bytes, slice, &err), &err);
		assert_int_equal(psti_copy_pending(decoder), 1);
		psti_copy_decoder_free(decoder);
		psti_buf_free(&bytes);
	}
}

static void
lists_take_one_dimension_from_one_and_nothing_false(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (int special = PSTI_SPECIAL_ERROR; special <= PSTI_SPECIAL_CLAMP; special++)
		{
			psti_copy_limits limits = wide;
			psti_copy_column column = {
				.name = "c", .type = PSTI_COPY_INT4, .list = true, .elem = 23};
			psti_copy_decoder *decoder;
			psti_buf bytes = stream_of(lists[i].hex);
			pst_error err = PST_ERROR_INIT;
			struct ArrowArray array;
			pst_status status;

			limits.special = (psti_special) special;
			decoder = decoder_for(&column, 1, &limits);
			status = feed_all(decoder, &bytes, 1000, &err);
			if (lists[i].lengths == -2)
				assert_int_equal(status, PST_ERR_PROTOCOL);
			else if (lists[i].lengths == -1 && special == PSTI_SPECIAL_ERROR)
				assert_int_equal(status, PST_ERR_DATA);
			else
			{
				assert_ok(status, &err);
				assert_ok(psti_copy_take(decoder, &array, &err), &err);
				if (lists[i].lengths >= 0)
					assert_int_equal(((const int32_t *) array.children[0]->buffers[1])[1],
									 lists[i].lengths);
				else
					assert_int_equal(array.children[0]->null_count, special == PSTI_SPECIAL_NULL);
				array.release(&array);
			}
			psti_copy_decoder_free(decoder);
			psti_buf_free(&bytes);
		}
}

/* The text of the one value of a stream that prints it. */
static void
assert_prints(const psti_copy_column *column, const char *hex, const char *want)
{
	for (size_t slice = 3; slice < 1000; slice *= 10)
	{
		psti_copy_decoder *decoder = decoder_for(column, 1, &wide);
		psti_buf bytes = stream_of(hex);
		pst_error err = PST_ERROR_INIT;
		struct ArrowArray array;
		pst_status status = feed_all(decoder, &bytes, slice, &err);

		if (want == NULL)
			assert_fails(status, PST_ERR_PROTOCOL, &err);
		else
		{
			const int32_t *offsets;

			assert_ok(status, &err);
			assert_ok(psti_copy_take(decoder, &array, &err), &err);
			offsets = array.children[0]->buffers[1];
			assert_int_equal(offsets[1], strlen(want));
			assert_memory_equal(array.children[0]->buffers[2], want, strlen(want));
			array.release(&array);
		}
		psti_copy_decoder_free(decoder);
		psti_buf_free(&bytes);
	}
}

static void
arrays_of_any_shape_are_printed(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
	{
		psti_copy_column column = {
			.name = "c", .type = PSTI_COPY_INT4, .form = PSTI_FORM_TEXT, .list = true, .elem = 23};

		assert_prints(&column, lists[i].hex, lists[i].text);
		column.form = PSTI_FORM_JSON;
		assert_prints(&column, lists[i].hex, lists[i].json);
	}
}

/* ARRAY['null', NULL, '"x"', '[1]']::jsonb[], then the same in two dimensions. */
static void
arrays_of_json_print_what_reads_back(void **state)
{
	static const char flat[] = "000000010000000100000eda0000000400000001"
							   "00000005016e756c6cffffffff000000040122782200000004015b315d";
	static const char square[] = "000000020000000100000eda00000002000000010000000200000001"
								 "00000005016e756c6cffffffff000000040122782200000004015b315d";
	psti_copy_column column = {
		.name = "c", .type = PSTI_COPY_JSONB, .form = PSTI_FORM_JSON, .list = true, .elem = 3802};

	(void) state;
	assert_prints(&column, flat, "[\"null\",null,\"\\\"x\\\"\",[1]]");
	assert_prints(&column, square, "\"{{\\\"null\\\",NULL},{\\\"\\\\\\\"x\\\\\\\"\\\",[1]}}\"");
	column.form = PSTI_FORM_TEXT;
	assert_prints(&column, flat, "{\"null\",NULL,\"\\\"x\\\"\",[1]}");
}

static void
nulls_are_bits_and_their_slots_are_empty(void **state)
{
	const psti_copy_column columns[] = {
		{.name = "a", .type = PSTI_COPY_INT4},
		{.name = "b", .type = PSTI_COPY_TEXT},
		{.name = "c", .type = PSTI_COPY_BOOL},
	};
	psti_copy_decoder *decoder = decoder_for(columns, 3, &wide);
	psti_buf bytes = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArray array;

	(void) state;
	begin(&bytes);
	for (int i = 0; i < 300; i++)
	{
		psti_buf_int16(&bytes, 3);
		put_field(&bytes, i % 3 == 1 ? NULL : "00000009");
		put_field(&bytes, i % 5 == 4 ? NULL : "7879");
		put_field(&bytes, i >= 200 ? NULL : i % 2 ? "01" : "00");
	}
	psti_buf_int16(&bytes, -1);
	assert_ok(feed_all(decoder, &bytes, 100, &err), &err);
	assert_ok(psti_copy_take(decoder, &array, &err), &err);
	assert_int_equal(array.length, 300);
	assert_int_equal(array.children[0]->null_count, 100);
	assert_int_equal(array.children[1]->null_count, 60);
	assert_int_equal(array.children[2]->null_count, 100);
	for (int i = 0; i < 300; i++)
	{
		const int32_t *offsets = array.children[1]->buffers[1];

		assert_int_equal(psti_array_null(array.children[0], i), i % 3 == 1);
		assert_int_equal(((const int32_t *) array.children[0]->buffers[1])[i], i % 3 == 1 ? 0 : 9);
		assert_int_equal(offsets[i + 1] - offsets[i], i % 5 == 4 ? 0 : 2);
		assert_int_equal(psti_bit_get(array.children[2]->buffers[1], i), i < 200 && i % 2);
	}
	array.release(&array);
	psti_copy_decoder_free(decoder);
	psti_buf_free(&bytes);
}

static void
a_null_in_a_not_null_column_is_named(void **state)
{
	psti_copy_column column = column_of(PSTI_COPY_INT4, PSTI_FORM_ARROW);
	psti_copy_decoder *decoder;
	psti_buf bytes = stream_of(NULL);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	column.not_null = true;
	decoder = decoder_for(&column, 1, &wide);
	assert_fails(feed_all(decoder, &bytes, 100, &err), PST_ERR_PROTOCOL, &err);
	assert_string_equal(err.column, "c");
	psti_copy_decoder_free(decoder);
	psti_buf_free(&bytes);
}

static void
a_batch_closes_before_its_texts_outgrow_their_offsets(void **state)
{
	const psti_copy_column columns[] = {
		{.name = "k", .type = PSTI_COPY_INT4},
		{.name = "t", .type = PSTI_COPY_TEXT},
	};
	psti_copy_limits limits = {1000, 1 << 20, 5, PSTI_SPECIAL_ERROR, false};
	psti_copy_decoder *decoder = decoder_for(columns, 2, &limits);
	psti_buf bytes = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	size_t at = 0;
	int64_t lengths[4];
	int n = 0;
	pst_status status;

	(void) state;
	begin(&bytes);
	for (int i = 0; i < 5; i++)
	{
		psti_buf_int16(&bytes, 2);
		put_field(&bytes, "00000001");
		put_field(&bytes, "7879");
	}
	psti_buf_int16(&bytes, -1);
	do
	{
		size_t used;
		struct ArrowArray array;

		status = psti_copy_feed(decoder, bytes.data + at, bytes.len - at, &used, &err);
		at += used;
		assert_ok(psti_copy_take(decoder, &array, &err), &err);
		lengths[n++] = array.length;
		array.release(&array);
	} while (status == PST_AGAIN && n < 4);
	assert_int_equal(status, PST_END);
	assert_int_equal(n, 3);
	assert_int_equal(lengths[0], 2);
	assert_int_equal(lengths[1], 2);
	assert_int_equal(lengths[2], 1);
	psti_copy_decoder_free(decoder);
	psti_buf_free(&bytes);

	bytes = stream_of("787978797879");
	decoder = decoder_for(columns + 1, 1, &limits);
	assert_fails(feed_all(decoder, &bytes, 100, &err), PST_ERR_DATA, &err);
	assert_contains(err.message, "too large");
	psti_copy_decoder_free(decoder);
	psti_buf_free(&bytes);
}

static void
special_values_name_the_row_by_its_key_even_when_it_comes_later(void **state)
{
	const psti_copy_column columns[] = {
		{.name = "d", .type = PSTI_COPY_DATE},
		{.name = "k", .type = PSTI_COPY_INT4, .key = true},
		{.name = "l", .type = PSTI_COPY_TEXT, .key = true},
	};

	(void) state;
	for (size_t slice = 1; slice < 60; slice++)
	{
		psti_copy_decoder *decoder = decoder_for(columns, 3, &wide);
		psti_buf bytes = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;

		begin(&bytes);
		psti_buf_int16(&bytes, 3);
		put_field(&bytes, "00000000");
		put_field(&bytes, "00000001");
		put_field(&bytes, "61");
		psti_buf_int16(&bytes, 3);
		put_field(&bytes, "7fffffff");
		put_field(&bytes, "00000002");
		put_field(&bytes, "6220");
		assert_fails(feed_all(decoder, &bytes, slice, &err), PST_ERR_DATA, &err);
		assert_string_equal(err.key, "(k, l)=(2, b )");
		assert_string_equal(err.column, "d");
		assert_int_equal(err.row, 1);
		psti_copy_decoder_free(decoder);
		psti_buf_free(&bytes);
	}
}

/* The key cannot be told where a length between is wrong; the row's number can. */
static void
a_wrong_length_behind_a_special_value_is_not_followed(void **state)
{
	const psti_copy_column columns[] = {
		{.name = "d", .type = PSTI_COPY_DATE},
		{.name = "k", .type = PSTI_COPY_INT4, .key = true},
		{.name = "l", .type = PSTI_COPY_TEXT, .key = true},
	};

	(void) state;
	for (int32_t length = -2; length > -10; length--)
	{
		psti_copy_decoder *decoder = decoder_for(columns, 3, &wide);
		psti_buf bytes = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;

		begin(&bytes);
		psti_buf_int16(&bytes, 3);
		put_field(&bytes, "7fffffff");
		psti_buf_int32(&bytes, length);
		psti_buf_int32(&bytes, length);
		psti_buf_int32(&bytes, 0);
		assert_fails(feed_all(decoder, &bytes, 100, &err), PST_ERR_DATA, &err);
		assert_string_equal(err.key, "");
		assert_contains(err.detail, "row 0");
		psti_copy_decoder_free(decoder);
		psti_buf_free(&bytes);
	}
}

static void
texts_that_are_not_utf8_are_refused(void **state)
{
	static const char *const bad[] = {"e9",		  "c080", "eda080", "f4908080",			 "f0808080",
									  "61e28261", "ff",	  "e282",	"4142434445464748e9"};
	static const char *const good[] = {"c3a9", "f09f9880", "ee8080", "f48fbfbf",
									   "4142434445464748c3a9"};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]) + sizeof(good) / sizeof(good[0]); i++)
	{
		bool wrong = i < sizeof(bad) / sizeof(bad[0]);
		psti_copy_column column = column_of(PSTI_COPY_TEXT, PSTI_FORM_ARROW);
		psti_copy_decoder *decoder = decoder_for(&column, 1, &wide);
		psti_buf bytes = stream_of(wrong ? bad[i] : good[i - sizeof(bad) / sizeof(bad[0])]);
		pst_error err = PST_ERROR_INIT;

		assert_int_equal(feed_all(decoder, &bytes, 1000, &err), wrong ? PST_ERR_DATA : PST_OK);
		psti_copy_decoder_free(decoder);
		psti_buf_free(&bytes);
	}
}

/* Feeds in slices; the rows that came, one behind the other, go to out. */
static pst_status
collect_tuples(psti_copy_decoder *decoder, const psti_buf *bytes, size_t slice, psti_buf *out,
			   pst_error *err)
{
	pst_status status = PST_OK;
	size_t at = 0;

	while (status == PST_OK || status == PST_AGAIN)
	{
		size_t n = bytes->len - at < slice ? bytes->len - at : slice;
		size_t used = 0;
		const psti_tuples *tuples;

		status = psti_copy_feed(decoder, bytes->data + at, n, &used, err);
		at += used;
		tuples = psti_copy_tuples(decoder);
		assert_int_equal(psti_copy_pending(decoder), tuples->nrows);
		if (status != PST_AGAIN && at < bytes->len)
			continue;
		for (size_t i = 0; i < tuples->nrows; i++)
		{
			psti_buf_append(out, tuples->bytes.data + tuples->starts[i],
							psti_tuples_end(tuples, i) - tuples->starts[i]);
			psti_buf_puts(out, "|");
		}
		psti_copy_tuples_done(decoder);
		if (at == bytes->len)
			break;
	}
	return status;
}

/* Rows of 0, 1, 2 … bytes, every third value NULL. */
static void
put_numbered_rows(psti_buf *bytes, psti_buf *wanted, int nrows)
{
	begin(bytes);
	for (int row = 0; row < nrows; row++)
	{
		size_t from = bytes->len;

		psti_buf_int16(bytes, 2);
		psti_buf_int32(bytes, row);
		for (int i = 0; i < row; i++)
			psti_buf_putc(bytes, (char) ('a' + i % 26));
		put_field(bytes, row % 3 == 0 ? NULL : "00ff");
		psti_buf_append(wanted, bytes->data + from, bytes->len - from);
		psti_buf_puts(wanted, "|");
	}
	psti_buf_int16(bytes, -1);
}

static void
tuples_are_the_rows_as_they_came_however_they_are_sliced(void **state)
{
	const psti_copy_column columns[] = {
		{.name = "a", .type = PSTI_COPY_TEXT},
		{.name = "b", .type = PSTI_COPY_DATE},
	};
	psti_copy_limits limits = {7, 200, INT32_MAX, PSTI_SPECIAL_ERROR, true};
	psti_buf bytes = PSTI_BUF_INIT;
	psti_buf wanted = PSTI_BUF_INIT;

	(void) state;
	put_numbered_rows(&bytes, &wanted, 40);
	for (size_t slice = 1; slice < 300; slice++)
	{
		psti_copy_decoder *decoder = decoder_for(columns, 2, &limits);
		psti_buf out = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;

		assert_int_equal(collect_tuples(decoder, &bytes, slice, &out, &err), PST_END);
		assert_int_equal(out.len, wanted.len);
		assert_memory_equal(out.data, wanted.data, out.len);
		assert_int_equal(psti_copy_finish(decoder, &err), PST_OK);
		psti_copy_decoder_free(decoder);
		psti_buf_free(&out);
	}
	psti_buf_free(&bytes);
	psti_buf_free(&wanted);
}

static void
tuples_with_a_wrong_length_or_count_are_a_protocol_error(void **state)
{
	const psti_copy_column column = {.name = "a", .type = PSTI_COPY_TEXT};
	psti_copy_limits limits = {7, 200, INT32_MAX, PSTI_SPECIAL_ERROR, true};
	static const char *const bad[] = {"0001fffffffe", "000180000000", "0000",
									  "0002ffffffffffffffff"};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		psti_copy_decoder *decoder = decoder_for(&column, 1, &limits);
		psti_buf bytes = PSTI_BUF_INIT;
		psti_buf out = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;

		begin(&bytes);
		put_hex(&bytes, bad[i]);
		assert_fails(collect_tuples(decoder, &bytes, 1000, &out, &err), PST_ERR_PROTOCOL, &err);
		psti_copy_decoder_free(decoder);
		psti_buf_free(&bytes);
		psti_buf_free(&out);
	}
}

static pst_status
keep_everything(void *ctx, pst_error *err)
{
	const psti_copy_column columns[] = {
		{.name = "a", .type = PSTI_COPY_TEXT},
		{.name = "b", .type = PSTI_COPY_DATE},
	};
	psti_copy_limits limits = {100, 100000, INT32_MAX, PSTI_SPECIAL_ERROR, true};
	psti_copy_decoder *decoder = NULL;
	pst_status status = psti_copy_decoder_new(columns, 2, &limits, &decoder, err);
	const psti_buf *bytes = ctx;

	for (size_t at = 0; status == PST_OK && at < bytes->len;)
	{
		size_t used = 0;
		size_t n = bytes->len - at < 50 ? bytes->len - at : 50;

		status = psti_copy_feed(decoder, bytes->data + at, n, &used, err);
		at += used;
	}
	psti_copy_decoder_free(decoder);
	return status == PST_END ? PST_OK : status;
}

static void
keeping_tuples_every_allocation_may_fail(void **state)
{
	psti_buf bytes = PSTI_BUF_INIT;
	psti_buf wanted = PSTI_BUF_INIT;

	(void) state;
	put_numbered_rows(&bytes, &wanted, 80);
	assert_true(psti_test_alloc_sweep(keep_everything, &bytes) > 5);
	psti_buf_free(&bytes);
	psti_buf_free(&wanted);
}

static void
rows_of_no_columns_are_counted(void **state)
{
	psti_copy_decoder *decoder = decoder_for(NULL, 0, &wide);
	psti_buf bytes = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArray array;

	(void) state;
	begin(&bytes);
	psti_buf_int16(&bytes, 0);
	psti_buf_int16(&bytes, 0);
	psti_buf_int16(&bytes, -1);
	assert_ok(feed_all(decoder, &bytes, 3, &err), &err);
	assert_ok(psti_copy_take(decoder, &array, &err), &err);
	assert_int_equal(array.length, 2);
	assert_int_equal(array.n_children, 0);
	array.release(&array);
	psti_copy_decoder_free(decoder);
	psti_buf_free(&bytes);
}

/* All kinds of columns, NULLs and lists in every form, in one pass for the allocation sweep. */
static pst_status
decode_everything(void *ctx, pst_error *err)
{
	psti_copy_column columns[NSAMPLES + 3];
	psti_copy_decoder *decoder = NULL;
	psti_buf *bytes = ctx;
	struct ArrowArray array = {0};
	size_t used;
	pst_status status;

	for (size_t i = 0; i < NSAMPLES; i++)
	{
		columns[i] = column_of(samples[i].type, (psti_copy_form) (i % 3));
		columns[i].precision = 4;
		columns[i].scale = 2;
	}
	for (int form = PSTI_FORM_ARROW; form <= PSTI_FORM_JSON; form++)
		columns[NSAMPLES + (size_t) form] = (psti_copy_column){.name = "l",
															   .type = PSTI_COPY_INT4,
															   .form = (psti_copy_form) form,
															   .list = true,
															   .elem = 23};
	status = psti_copy_decoder_new(columns, NSAMPLES + 3, &wide, &decoder, err);
	if (status == PST_OK)
		status = psti_copy_feed(decoder, bytes->data, 60, &used, err);
	if (status == PST_OK)
		status = psti_copy_feed(decoder, bytes->data + 60, bytes->len - 60, &used, err);
	if (status == PST_END)
		status = psti_copy_take(decoder, &array, err);
	if (array.release != NULL)
		array.release(&array);
	psti_copy_decoder_free(decoder);
	return status;
}

static void
every_allocation_may_fail(void **state)
{
	psti_buf bytes = PSTI_BUF_INIT;

	(void) state;
	begin(&bytes);
	for (int row = 0; row < 70; row++)
	{
		psti_buf_int16(&bytes, (int16_t) (NSAMPLES + 3));
		for (size_t i = 0; i < NSAMPLES; i++)
			put_field(&bytes, row % 7 == 3 ? NULL : samples[i].hex);
		for (size_t i = 0; i < 3; i++)
			put_field(&bytes, row % 7 == 3 ? NULL : lists[row % 5 == 4 && i > 0 ? 3 : 0].hex);
	}
	psti_buf_int16(&bytes, -1);
	assert_true(psti_test_alloc_sweep(decode_everything, &bytes) > 50);
	psti_buf_free(&bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_type_gives_its_text_its_json_and_its_arrow_bytes),
		cmocka_unit_test(timestamps_count_from_1970),
		cmocka_unit_test(slices_of_any_size_give_the_same),
		cmocka_unit_test(a_stream_cut_at_any_byte_is_a_protocol_error),
		cmocka_unit_test(a_field_of_another_length_is_a_protocol_error),
		cmocka_unit_test(flipped_bits_never_do_more_than_fail),
		cmocka_unit_test(headers_rows_and_trailers_that_no_server_sends_are_refused),
		cmocka_unit_test(a_header_extension_and_harmless_flags_are_skipped),
		cmocka_unit_test(lists_take_one_dimension_from_one_and_nothing_false),
		cmocka_unit_test(arrays_of_any_shape_are_printed),
		cmocka_unit_test(arrays_of_json_print_what_reads_back),
		cmocka_unit_test(nulls_are_bits_and_their_slots_are_empty),
		cmocka_unit_test(a_null_in_a_not_null_column_is_named),
		cmocka_unit_test(a_batch_closes_before_its_texts_outgrow_their_offsets),
		cmocka_unit_test(special_values_name_the_row_by_its_key_even_when_it_comes_later),
		cmocka_unit_test(a_wrong_length_behind_a_special_value_is_not_followed),
		cmocka_unit_test(texts_that_are_not_utf8_are_refused),
		cmocka_unit_test(tuples_are_the_rows_as_they_came_however_they_are_sliced),
		cmocka_unit_test(tuples_with_a_wrong_length_or_count_are_a_protocol_error),
		cmocka_unit_test(keeping_tuples_every_allocation_may_fail),
		cmocka_unit_test(rows_of_no_columns_are_counted),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
