/* value_test.c - the text and json of Arrow values of every kind, and of what has none. */
#include <math.h>

#include "test.h"

#include "pgtext.h"
#include "value.h"

/* One value: its format, its bytes, its texts; NULL when it has none. */
typedef struct sample
{
	const char *format;
	const void *bytes;
	size_t nbytes;
	const char *text;
	const char *json; /* NULL: as the text */
} sample;

#define VALUE(ctype, ...) &(const ctype){__VA_ARGS__}, sizeof(ctype)

typedef struct interval
{
	int32_t months;
	int32_t days;
	int64_t nanoseconds;
} interval;

static const sample samples[] = {
	{"c", VALUE(int8_t, -128), "-128", NULL},
	{"C", VALUE(uint8_t, 255), "255", NULL},
	{"s", VALUE(int16_t, -32768), "-32768", NULL},
	{"S", VALUE(uint16_t, 65535), "65535", NULL},
	{"i", VALUE(int32_t, INT32_MIN), "-2147483648", NULL},
	{"I", VALUE(uint32_t, UINT32_MAX), "4294967295", NULL},
	{"l", VALUE(int64_t, INT64_MIN), "-9223372036854775808", NULL},
	{"L", VALUE(uint64_t, UINT64_MAX), "18446744073709551615", NULL},
	{"f", VALUE(float, 0.1f), "0.1", NULL},
	{"f", VALUE(float, INFINITY), "Infinity", "\"Infinity\""},
	{"g", VALUE(double, 1e300), "1e+300", NULL},
	{"g", VALUE(double, NAN), "NaN", "\"NaN\""},
	{"b", VALUE(uint8_t, 1), "t", "true"},
	{"b", VALUE(uint8_t, 0), "f", "false"},
	{"tdD", VALUE(int32_t, 0), "1970-01-01", "\"1970-01-01\""},
	{"tdD", VALUE(int32_t, -719163), "0001-12-31 BC", "\"0001-12-31 BC\""},
	{"tdD", VALUE(int32_t, INT32_MAX), NULL, NULL},
	{"tdD", VALUE(int32_t, INT32_MIN), NULL, NULL},
	{"tdm", VALUE(int64_t, -1), "1969-12-31", "\"1969-12-31\""},
	{"tdm", VALUE(int64_t, 86400000), "1970-01-02", "\"1970-01-02\""},
	{"tdm", VALUE(int64_t, INT64_MAX), NULL, NULL},
	{"tts", VALUE(int32_t, 86399), "23:59:59", "\"23:59:59\""},
	{"tts", VALUE(int32_t, 86400), "24:00:00", "\"24:00:00\""},
	{"tts", VALUE(int32_t, 86401), NULL, NULL},
	{"ttm", VALUE(int32_t, 1500), "00:00:01.5", "\"00:00:01.5\""},
	{"ttu", VALUE(int64_t, 1), "00:00:00.000001", "\"00:00:00.000001\""},
	{"ttu", VALUE(int64_t, -1), NULL, NULL},
	{"ttn", VALUE(int64_t, 1000), "00:00:00.000001", "\"00:00:00.000001\""},
	{"ttn", VALUE(int64_t, 1001), NULL, NULL},
	{"tss:", VALUE(int64_t, 0), "1970-01-01 00:00:00", "\"1970-01-01T00:00:00\""},
	{"tss:", VALUE(int64_t, INT64_MAX), NULL, NULL},
	{"tsm:", VALUE(int64_t, -1), "1969-12-31 23:59:59.999", "\"1969-12-31T23:59:59.999\""},
	{"tsu:UTC", VALUE(int64_t, 1), "1970-01-01 00:00:00.000001+00",
	 "\"1970-01-01T00:00:00.000001+00:00\""},
	{"tsu:Europe/Berlin", VALUE(int64_t, 0), "1970-01-01 00:00:00+00",
	 "\"1970-01-01T00:00:00+00:00\""},
	{"tsu:", VALUE(int64_t, INT64_MAX), "294247-01-10 04:00:54.775807",
	 "\"294247-01-10T04:00:54.775807\""},
	{"tsm:", VALUE(int64_t, INT64_C(9224318016000000)), NULL, NULL},
	{"tsm:", VALUE(int64_t, INT64_C(9224318015999999)), "294276-12-31 23:59:59.999",
	 "\"294276-12-31T23:59:59.999\""},
	{"tsu:", VALUE(int64_t, INT64_MIN), NULL, NULL},
	{"tsn:", VALUE(int64_t, -1000), "1969-12-31 23:59:59.999999", "\"1969-12-31T23:59:59.999999\""},
	{"tsn:", VALUE(int64_t, -1), NULL, NULL},
	{"tin", VALUE(interval, 14, -3, 1500000000), "1 year 2 mons -3 days +00:00:01.5",
	 "\"1 year 2 mons -3 days +00:00:01.5\""},
	{"tin", VALUE(interval, 0, 0, 1), NULL, NULL},
	{"d:5,2", VALUE(int64_t[2], 12345, 0), "123.45", NULL},
	{"d:38,0", VALUE(int64_t[2], -1, -1), "-1", NULL},
	{"d:5,-2", VALUE(int64_t[2], 7, 0), "700", NULL},
	{"d:5,20000", VALUE(int64_t[2], 7, 0), NULL, NULL},
	{"w:16", VALUE(uint8_t[16], 0, 1, 2), "00010200-0000-0000-0000-000000000000",
	 "\"00010200-0000-0000-0000-000000000000\""},
	{"w:2", VALUE(uint8_t[2], 0, 255), "\\x00ff", "\"\\\\x00ff\""},
};

/* The value in row 1 of a column whose array begins one row earlier still: offsets are honoured. */
static void
check_fixed(const sample *s)
{
	bool bit = s->format[0] == 'b';
	size_t width = bit ? 1 : s->nbytes;
	char *bytes = calloc(3, width);
	const void *buffers[2] = {NULL, bytes};
	struct ArrowSchema schema = {.format = s->format, .name = "x"};
	struct ArrowArray array = {.length = 2, .offset = 1, .n_buffers = 2, .buffers = buffers};
	psti_arrow_type type = psti_arrow_parse(s->format);
	psti_buf text = PSTI_BUF_INIT;
	psti_buf json = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	assert_non_null(bytes);
	if (bit)
		bytes[0] = (char) (*(const uint8_t *) s->bytes << 2);
	else
		memcpy(bytes + 2 * width, s->bytes, s->nbytes);
	psti_enter(&err);
	if (s->text == NULL)
	{
		assert_fails(psti_value_text(&schema, &type, &array, 1, &text, &err), PST_ERR_DATA, &err);
		assert_string_equal(err.column, "x");
		assert_fails(psti_value_json(&schema, &type, &array, 1, &json, &err), PST_ERR_DATA, &err);
	}
	else
	{
		assert_ok(psti_value_text(&schema, &type, &array, 1, &text, &err), &err);
		assert_string_equal(text.data, s->text);
		assert_ok(psti_value_json(&schema, &type, &array, 1, &json, &err), &err);
		assert_string_equal(json.data, s->json != NULL ? s->json : s->text);
	}
	psti_buf_free(&text);
	psti_buf_free(&json);
	free(bytes);
}

static void
every_fixed_kind_has_the_servers_text(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		check_fixed(&samples[i]);
}

static void
check_text(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t row,
		   const char *want_text, const char *want_json)
{
	psti_arrow_type type = psti_arrow_parse(schema->format);
	psti_buf text = PSTI_BUF_INIT;
	psti_buf json = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_value_text(schema, &type, array, row, &text, &err), &err);
	assert_string_equal(text.data, want_text);
	assert_ok(psti_value_json(schema, &type, array, row, &json, &err), &err);
	assert_string_equal(json.data, want_json);
	psti_buf_free(&text);
	psti_buf_free(&json);
}

static void
texts_of_variable_length(void **state)
{
	static const int32_t narrow[] = {0, 0, 3};
	static const int64_t wide[] = {0, 0, 3};
	static const char data[] = "a\"\n";
	const void *buffers[] = {NULL, narrow, data};
	struct ArrowSchema schema = {.format = "u", .name = "x"};
	struct ArrowArray array = {.length = 2, .n_buffers = 3, .buffers = buffers};

	(void) state;
	check_text(&schema, &array, 1, "a\"\n", "\"a\\\"\\n\"");
	check_text(&schema, &array, 0, "", "\"\"");
	schema.format = "z";
	check_text(&schema, &array, 1, "\\x61220a", "\"\\\\x61220a\"");
	check_text(&schema, &array, 0, "\\x", "\"\\\\x\"");
	buffers[1] = wide;
	schema.format = "Z";
	check_text(&schema, &array, 1, "\\x61220a", "\"\\\\x61220a\"");
	schema.format = "U";
	check_text(&schema, &array, 1, "a\"\n", "\"a\\\"\\n\"");
}

/* A list of lists of int32: rows {{1,NULL},{3,4}}, {{},{}}, {NULL}. */
static void
lists_are_array_literals(void **state)
{
	static const int32_t outer[] = {0, 2, 4, 5};
	static const int32_t inner[] = {0, 2, 4, 4, 4, 4};
	static const int32_t items[] = {1, 0, 3, 4};
	static const uint8_t items_valid[] = {0x0d};
	static const uint8_t inner_valid[] = {0x0f};
	const void *item_buffers[] = {items_valid, items};
	const void *inner_buffers[] = {inner_valid, inner};
	const void *outer_buffers[] = {NULL, outer};
	struct ArrowSchema item_schema = {.format = "i", .name = "item"};
	struct ArrowSchema *item_schemas[] = {&item_schema};
	struct ArrowSchema inner_schema = {
		.format = "+l", .name = "item", .n_children = 1, .children = item_schemas};
	struct ArrowSchema *inner_schemas[] = {&inner_schema};
	struct ArrowSchema schema = {
		.format = "+l", .name = "x", .n_children = 1, .children = inner_schemas};
	struct ArrowArray item_array = {
		.length = 4, .null_count = 1, .n_buffers = 2, .buffers = item_buffers};
	struct ArrowArray *item_arrays[] = {&item_array};
	struct ArrowArray inner_array = {.length = 5,
									 .null_count = 1,
									 .n_buffers = 2,
									 .n_children = 1,
									 .buffers = inner_buffers,
									 .children = item_arrays};
	struct ArrowArray *inner_arrays[] = {&inner_array};
	struct ArrowArray array = {.length = 3,
							   .n_buffers = 2,
							   .n_children = 1,
							   .buffers = outer_buffers,
							   .children = inner_arrays};
	psti_arrow_type type = psti_arrow_parse("+l");
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	check_text(&schema, &array, 0, "{{1,NULL},{3,4}}", "[[1,null],[3,4]]");
	check_text(&schema, &array, 1, "{}", "[]");
	assert_fails(psti_value_text(&schema, &type, &array, 2, &out, &err), PST_ERR_DATA, &err);
	psti_buf_free(&out);
}

static void
json_texts_keep_null_and_strings_apart(void **state)
{
	static const char *const texts[][2] = {
		{"{\"a\":\n1}", "{\"a\": 1}"},	   {"null", "\"null\""}, {" null ", "\" null \""},
		{"\"s\"", "\"\\\"s\\\"\""},		   {"1.50", "1.50"},	 {"not json", "\"not json\""},
		{"[\"\\u0000\"]", "[\"\\u0000\"]"}};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		psti_buf out = PSTI_BUF_INIT;

		psti_value_raw_json(texts[i][0], strlen(texts[i][0]), &out);
		assert_string_equal(out.data, texts[i][1]);
		psti_buf_free(&out);
	}
}

static void
structs_are_refused(void **state)
{
	struct ArrowSchema schema = {.format = "+s", .name = "x"};
	struct ArrowArray array = {.length = 1};
	psti_arrow_type type = psti_arrow_parse("+s");
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_fails(psti_value_text(&schema, &type, &array, 0, &out, &err), PST_ERR_UNSUPPORTED, &err);
	psti_buf_free(&out);
}

/* The longest text of each kind fits the room that callers have. */
static void
longest_texts_fit(void **state)
{
	char out[PSTI_TEXT_MAX];

	(void) state;
	assert_true(psti_text_interval_finite(INT64_MIN, INT32_MIN, INT32_MIN, out) < PSTI_TEXT_MAX);
	assert_true(psti_text_timestamp(INT64_MIN + 1, true, out) < PSTI_TEXT_MAX);
	assert_true(psti_json_timestamp(INT64_MIN + 1, true, out) < PSTI_TEXT_MAX);
	assert_true(psti_text_timetz(INT64_MIN, INT32_MIN, out) < PSTI_TEXT_MAX);
	assert_true(psti_text_float8(-2.2250738585072014e-308, out) < PSTI_TEXT_MAX);
	assert_true(psti_text_date(INT32_MIN + 1, out) < PSTI_TEXT_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fixed_kind_has_the_servers_text),
		cmocka_unit_test(texts_of_variable_length),
		cmocka_unit_test(lists_are_array_literals),
		cmocka_unit_test(json_texts_keep_null_and_strings_apart),
		cmocka_unit_test(structs_are_refused),
		cmocka_unit_test(longest_texts_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
