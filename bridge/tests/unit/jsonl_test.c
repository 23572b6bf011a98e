/* jsonl_test.c - json lines written and read, by tables and by round trips. */
#include "codec_check.h"

#define FIELD(name, type)                                                                          \
	"{\"name\":\"" name "\",\"type\":\"" type "\",\"kind\":\"base\","                              \
	"\"base_type\":\"" type "\"}"
#define COLUMN(name, type, rest)                                                                   \
	"{\"name\":\"" name "\",\"type\":\"" type "\",\"base_type\":\"" type "\",\"kind\":" rest "}"
#define POINT "\"composite\",\"fields\":[" FIELD("x", "integer") "," FIELD("why", "text") "]"

/* i integer, t text, j jsonb, ia integer[], ta text[], ja json[], c point, ca point[], b box[]. */
/* clang-format off */
static const char describe[] =
	"{\"qualified\":\"public.t\",\"columns\":["
	FIELD("i", "integer") ","
	FIELD("t", "text") ","
	FIELD("j", "jsonb") ","
	COLUMN("ia", "integer[]", "\"array\",\"element\":" FIELD("", "integer")) ","
	COLUMN("ta", "text[]", "\"array\",\"element\":" FIELD("", "text")) ","
	COLUMN("ja", "json[]", "\"array\",\"element\":" FIELD("", "json")) ","
	COLUMN("c", "point", POINT) ","
	COLUMN("ca", "point[]", "\"array\",\"element\":" COLUMN("", "point", POINT)) ","
	COLUMN("b", "box[]", "\"array\",\"element\":" FIELD("", "box")) "]}";

/* g is generated: it is taken only when it is named early. */
static const char describe_ag[] =
	"{\"columns\":["
	FIELD("a", "text") ","
	FIELD("b", "text") ","
	COLUMN("g", "text", "\"base\",\"generated\":\"stored\"") "]}";
/* clang-format on */

static const codec_sample samples[] = {
	{"{\"i\":1}\n{\"i\":2}", "[1];[2];", NULL, NULL, NULL},
	{"", "", NULL, NULL, NULL},
	{"\n  \r\n{\"i\":1}\r\n\t\n", "[1];", NULL, NULL, NULL},
	{"\xEF\xBB\xBF{\"i\":1}\n", "[1];", NULL, NULL, NULL},
	{" { \"i\" : 1 , \"t\" : \"x\" } \n", "[1][x];", NULL, NULL, NULL},
	{"{\"t\":\"x\",\"i\":1}\n{\"i\":null}\n{\"t\":\"\"}\n{}\n", "[1][x];~-;-[];--;", NULL, NULL,
	 NULL},
	{"{\"i\":12345678901234567890.12345678901234567890e-999}\n",
	 "[12345678901234567890.12345678901234567890e-999];", NULL, NULL, NULL},
	{"{\"i\":-0,\"t\":true}\n{\"i\":1E5,\"t\":false}\n", "[-0][true];[1E5][false];", NULL, NULL,
	 NULL},
	{"{\"t\":\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00z\"}\n",
	 "[a\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80z];", NULL, NULL, NULL},
	{"{\"\\u0069\":1}\n", "[1];", NULL, NULL, NULL},
	{"{\"t\":{\"a\": [1]}}\n", "[{\"a\": [1]}];", NULL, NULL, NULL},
	/* json */
	{"{\"j\":{\"a\":[1, \"x\\u0000\"]}}\n", "[{\"a\":[1, \"x\\u0000\"]}];", NULL, NULL, NULL},
	{"{\"j\":\"null\"}\n{\"j\":null}\n{\"j\":\"\\\"s\\\"\"}\n{\"j\":1.50}\n",
	 "[null];~;[\"s\"];[1.50];", NULL, NULL, NULL},
	/* arrays */
	{"{\"ia\":[1,2,null]}\n{\"ia\":[]}\n{\"ia\":\"{1,2}\"}\n", "[{1,2,NULL}];[{}];[{1,2}];", NULL,
	 NULL, NULL},
	{"{\"ia\":[[1,2],[3,4]]}\n{\"ia\":[[],[]]}\n", "[{{1,2},{3,4}}];[{}];", NULL, NULL, NULL},
	{"{\"ta\":[\"a\",\"\",\"NULL\",\"null\",\"a,b\",\"a\\\"b\",\"a\\\\b\",\"{\",\" \",null]}\n",
	 "[{a,\"\",\"NULL\",\"null\",\"a,b\",\"a\\\"b\",\"a\\\\b\",\"{\",\" \",NULL}];", NULL, NULL,
	 NULL},
	{"{\"ta\":[true,1.5,{\"a\":1}]}\n", "[{true,1.5,\"{\\\"a\\\":1}\"}];", NULL, NULL, NULL},
	{"{\"ja\":[{\"a\":1},[1,2],\"\\\"x\\\"\",\"null\",null,3]}\n",
	 "[{\"{\\\"a\\\":1}\",\"[1,2]\",\"\\\"x\\\"\",\"null\",NULL,3}];", NULL, NULL, NULL},
	{"{\"b\":[\"(1,1),(0,0)\",\"(3,3),(2,2)\"]}\n", "[{\"(1,1),(0,0)\";\"(3,3),(2,2)\"}];", NULL,
	 NULL, NULL},
	{"{\"ia\":[[[[[[1]]]]]]}\n", "[{{{{{{1}}}}}}];", NULL, NULL, NULL},
	{"{\"ia\":[[[[[[[1]]]]]]]}\n", "", "line 1, column 13: an array has more than 6 dimensions",
	 NULL, NULL},
	/* composites */
	{"{\"c\":{\"x\":1,\"why\":\"a b\"}}\n{\"c\":{\"why\":\"\"}}\n{\"c\":{\"x\":null}}\n",
	 "[(1,\"a b\")];[(,\"\")];[(,)];", NULL, NULL, NULL},
	{"{\"c\":{\"why\":\"a\\\"b\\\\c\",\"x\":2}}\n{\"c\":\"(1,x)\"}\n",
	 "[(2,\"a\"\"b\\\\c\")];[(1,x)];", NULL, NULL, NULL},
	{"{\"ca\":[{\"x\":1,\"why\":\"a,b\"},null,\"(2,c)\"]}\n",
	 "[{\"(1,\\\"a,b\\\")\",NULL,\"(2,c)\"}];", NULL, NULL, NULL},
	{"{\"c\":{\"x\":1,\"wy\":2}}\n", "", "line 1, column 13: type point has no field \"wy\"", NULL,
	 NULL},
	{"{\"c\":{\"x\":1,\"x\":2}}\n", "", "line 1, column 13: a key stands twice", NULL, NULL},
	/* what is refused */
	{"{\"i\":1}\n{\"x\":1}\n", "[1];", "line 2, column 2: public.t has no column \"x\"", NULL,
	 NULL},
	{"{\"i\":1,\"i\":2}\n", "", "line 1, column 8: a key stands twice in an object", NULL, NULL},
	{"[1]\n", "", "line 1, column 1: a line does not begin with a json object", NULL, NULL},
	{"{\"i\":1}\n1\n", "[1];", "line 2, column 1: a line does not", NULL, NULL},
	{"{\"i\":1}{\"i\":2}\n", "", "line 1, column 8: something follows the object", NULL, NULL},
	{"{\n\"i\":1}\n", "", "line 1, column 2: the object does not end on its line", NULL, NULL},
	{"{\"i\":1,}\n", "", "line 1, column 8: a key in double quotes is missing", NULL, NULL},
	{"{\"i\" 1}\n", "", "line 1, column 6: a colon is missing", NULL, NULL},
	{"{\"i\":}\n", "", "line 1, column 6: no json value begins", NULL, NULL},
	{"{\"i\":01}\n", "", "leading zero", NULL, NULL},
	{"{\"i\":+1}\n", "", "no json value begins", NULL, NULL},
	{"{\"i\":.5}\n", "", "no json value begins", NULL, NULL},
	{"{\"i\":5.}\n", "", "no digit after its point", NULL, NULL},
	{"{\"i\":1e}\n", "", "no digit in its exponent", NULL, NULL},
	{"{\"i\":NaN}\n", "", "no json value begins", NULL, NULL},
	{"{\"i\":nul}\n", "", "none of true, false and null", NULL, NULL},
	{"{\"i\":tru", "", "none of true, false and null", NULL, NULL},
	{"{\"i\":[1,]}\n", "", "no json value begins", NULL, NULL},
	{"{\"i\":[1 2]}\n", "", "a comma or the closing bracket", NULL, NULL},
	{"{\"i\":{\"a\"}}\n", "", "a colon is missing", NULL, NULL},
	{"{\"t\":\"x}\n", "", "line 1, column 6: a string is not closed", NULL, NULL},
	{"{\"t\":\"\tx\"}\n", "", "line 1, column 7: a control character", NULL, NULL},
	{"{\"t\":\"\\x\"}\n", "", "line 1, column 7: a backslash is followed by", NULL, NULL},
	{"{\"t\":\"\\u12g4\"}\n", "", "four hexadecimal digits", NULL, NULL},
	{"{\"t\":\"\\u0000\"}\n", "", "\\u0000 cannot be stored", NULL, NULL},
	{"{\"t\":\"\\ud800\"}\n", "", "a high surrogate is not followed", NULL, NULL},
	{"{\"t\":\"\\ud800\\u0041\"}\n", "", "a high surrogate is not followed", NULL, NULL},
	{"{\"t\":\"\\udc00\"}\n", "", "a low surrogate does not follow", NULL, NULL},
	{"{\"t\":'x'}\n", "", "no json value begins", NULL, NULL},
	{"{\"t\":\"\xff\"}\n", "", "is not valid UTF-8", NULL, NULL},
	{"{t:1}\n", "", "a key in double quotes is missing", NULL, NULL},
	{"{", "", "the object does not end", NULL, NULL},
};

/* Rows before an error are cut off where the schema was not known yet, and then keep more. */
static void
check_sample(const codec_sample *s, size_t piece, bool pausing)
{
	check_codec_sample("json", describe, s, piece, pausing, !pausing && s->problem == NULL);
}

static void
reads_lines_for_the_target(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		check_sample(&samples[i], 1 << 20, false);
}

static void
pieces_change_nothing(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		for (size_t piece = 1; piece < 4; piece++)
		{
			check_sample(&samples[i], piece, false);
			check_sample(&samples[i], piece, true);
		}
}

static void
check_decode(const char *text, const char *target, const char *kind_column, size_t piece,
			 bool pausing, const char *want_names, const char *want_rows)
{
	const char *keys[] = {"format", "row-kind-column", NULL};
	const char *values[] = {"json", kind_column, NULL};
	text_input in = {text, strlen(text), piece, pausing, false};
	psti_buf rows = PSTI_BUF_INIT;
	psti_buf names = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	assert_ok(decode_with(keys, values, target, &in, &names, &rows, &err) == PST_END ? PST_OK
																					 : err.status,
			  &err);
	assert_string_equal(names.data, want_names);
	assert_string_equal(rows.data, want_rows);
	psti_buf_free(&rows);
	psti_buf_free(&names);
}

static void
row_kinds_are_taken(void **state)
{
	(void) state;
	check_decode(
		"{\"op\":\"-D\",\"i\":1}\n{\"i\":2}\n{\"i\":3,\"op\":\"+U\"}\n{\"i\":4,\"op\":null}\n",
		describe, "op", 1000, false, "i ", "3[1];0[2];2[3];0[4];");
}

static void
keys_make_the_columns_without_describe(void **state)
{
	(void) state;
	check_decode("{\"b\":1}\n{\"a\":[1,2],\"b\":\"x\"}\n{\"c\":null}\n", NULL, NULL, 1000, false,
				 "b a c ", "[1]--;[x][[1,2]]-;--~;");
}

/* An input that pauses has not ended: any column may still come. */
static void
later_lines_may_name_other_columns(void **state)
{
	(void) state;
	check_decode("{\"a\":1}\n{\"b\":2}\n", describe_ag, NULL, 8, true, "a b ", "[1]-;-[2];");
	check_decode("{\"a\":1}\n", describe_ag, NULL, 100, false, "a ", "[1];");
	check_decode("{\"g\":1}\n", describe_ag, NULL, 100, false, "g ", "[1];");
}

static void
late_generated_column_is_refused(void **state)
{
	const char *keys[] = {"format", NULL};
	const char *values[] = {"json", NULL};
	text_input in = input_of("{\"a\":1}\n{\"g\":2}\n");
	psti_buf rows = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	in.piece = 8;
	in.pausing = true;
	assert_int_equal(decode_with(keys, values, describe_ag, &in, NULL, &rows, &err), PST_ERR_DATA);
	assert_contains(err.message, "line 2, column 2: column \"g\" was in none of the lines before");
	psti_buf_free(&rows);
}

/* Rows before a bad line are given out, then the error with its row. */
static void
error_comes_after_the_rows_before_it(void **state)
{
	const char *keys[] = {"format", NULL};
	const char *values[] = {"json", NULL};
	text_input in = input_of("{\"i\":1}\n\n{\"i\":2}\n{\"i\":}\n");
	psti_buf rows = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_int_equal(decode_with(keys, values, NULL, &in, NULL, &rows, &err), PST_ERR_DATA);
	assert_string_equal(rows.data, "[1];[2];");
	assert_int_equal(err.row, 2);
	assert_string_equal(err.column, "i");
	psti_buf_free(&rows);
}

static void
depth_is_bounded(void **state)
{
	psti_buf text = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	psti_buf rows = PSTI_BUF_INIT;
	const char *keys[] = {"format", NULL};
	const char *values[] = {"json", NULL};
	text_input in;

	(void) state;
	for (int depth = 1000; depth <= 1001; depth++)
	{
		psti_buf_reset(&text);
		psti_buf_puts(&text, "{\"t\":");
		for (int i = 0; i < depth; i++)
			psti_buf_puts(&text, i % 2 == 0 ? "[" : "{\"a\":");
		psti_buf_puts(&text, "1");
		for (int i = depth; i > 0; i--)
			psti_buf_puts(&text, i % 2 == 1 ? "]" : "}");
		psti_buf_puts(&text, "}\n");
		in = input_of(text.data);
		if (depth == 1000)
			assert_int_equal(decode_with(keys, values, describe, &in, NULL, &rows, &err), PST_END);
		else
		{
			assert_int_equal(decode_with(keys, values, describe, &in, NULL, &rows, &err),
							 PST_ERR_DATA);
			assert_contains(err.message, "nested too deep");
		}
	}
	psti_buf_free(&text);
	psti_buf_free(&rows);
}

static void
strings_survive_a_round_trip(void **state)
{
	static const char *const names[] = {"a", "b\"c"};
	const char *keys[] = {"format", NULL};
	const char *values[] = {"json", NULL};
	char texts[200][16];
	const char *cells[200];
	uint64_t seed = 7;
	struct ArrowSchema schema;
	struct ArrowArray array;
	psti_buf json = PSTI_BUF_INIT;
	psti_buf want = PSTI_BUF_INIT;
	psti_buf got = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	text_input in;

	(void) state;
	for (size_t i = 0; i < 200; i++)
	{
		size_t n = test_random(&seed) % 15;

		for (size_t k = 0; k < n; k++)
			texts[i][k] = (char) (1 + test_random(&seed) % 127);
		texts[i][n] = '\0';
		cells[i] = test_random(&seed) % 9 == 0 ? NULL : texts[i];
	}
	make_batch(names, 2, cells, 100, &schema, &array);
	show_batch(&array, NULL, NULL, &want);
	assert_ok(encode_with(keys, values, &schema, &array, &json, &err), &err);
	in = input_of(json.data);
	in.piece = 37;
	assert_int_equal(decode_with(keys, values, NULL, &in, NULL, &got, &err), PST_END);
	assert_string_equal(want.data, got.data);
	psti_buf_free(&json);
	psti_buf_free(&want);
	psti_buf_free(&got);
	array.release(&array);
	schema.release(&schema);
}

static void
decoder_survives_failing_allocations(void **state)
{
	(void) state;
	check_decoder_allocations("json", describe,
							  "{\"i\":1,\"op\":\"+I\",\"\\u0074\":\"x\"}\n"
							  "{\"ta\":[\"a b\",[]],\"c\":{\"x\":1,\"why\":\"a b\"},\"j\":[1]}\n");
}

static void
encoder_survives_failing_allocations(void **state)
{
	(void) state;
	check_encoder_allocations("json");
}

static void
broken_describe_is_invalid(void **state)
{
	static const char *const texts[] = {
		"", "{", "[]", "{}", "{\"columns\":[{}]}", "{\"columns\":[{\"name\":1}]}"};
	const char *keys[] = {"format", NULL};
	const char *values[] = {"json", NULL};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		text_input in = input_of("");
		pst_decoder *decoder;
		pst_error err = PST_ERROR_INIT;

		assert_fails(pst_decoder_new(keys, values, texts[i], read_text, &in, &decoder, &err),
					 PST_ERR_INVALID, &err);
		assert_null(decoder);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_lines_for_the_target),
		cmocka_unit_test(pieces_change_nothing),
		cmocka_unit_test(row_kinds_are_taken),
		cmocka_unit_test(keys_make_the_columns_without_describe),
		cmocka_unit_test(later_lines_may_name_other_columns),
		cmocka_unit_test(late_generated_column_is_refused),
		cmocka_unit_test(error_comes_after_the_rows_before_it),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(strings_survive_a_round_trip),
		cmocka_unit_test(decoder_survives_failing_allocations),
		cmocka_unit_test(encoder_survives_failing_allocations),
		cmocka_unit_test(broken_describe_is_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
