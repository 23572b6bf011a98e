/* json_test.c - the json door: what is taken, what is refused, and that memory may run out. */
#include "test.h"

#include "alloc.h"
#include "json.h"

static psti_json *
parse(const char *text)
{
	pst_error err = PST_ERROR_INIT;
	psti_json *root;

	assert_ok(psti_json_parse(text, &root, &err), &err);
	return root;
}

static void
refuse(const char *text, const char *why)
{
	pst_error err = PST_ERROR_INIT;
	psti_json *root = (psti_json *) &err;

	assert_fails(psti_json_parse(text, &root, &err), PST_ERR_DATA, &err);
	assert_null(root);
	assert_contains(err.message, why);
}

static void
look_ups_are_case_sensitive(void **state)
{
	psti_json *root = parse("{\"Name\":\"upper\",\"name\":\"lower\"}");

	(void) state;
	assert_string_equal(psti_json_text(root, "name"), "lower");
	assert_string_equal(psti_json_text(root, "Name"), "upper");
	assert_null(psti_json_text(root, "NAME"));
	psti_json_free(root);
}

static void
other_types_give_the_default(void **state)
{
	psti_json *root = parse("{\"s\":\"x\",\"n\":1.5,\"b\":true,\"z\":null,\"a\":[1],\"o\":{}}");

	(void) state;
	assert_null(psti_json_text(root, "n"));
	assert_int_equal(psti_json_int(root, "s", 7), 7);
	assert_int_equal(psti_json_int(root, "n", 7), 7);
	assert_int_equal(psti_json_int(root, "absent", 7), 7);
	assert_true(psti_json_bool(root, "b", false));
	assert_true(psti_json_bool(root, "s", true));
	assert_true(psti_json_is_null(psti_json_get(root, "z")));
	assert_false(psti_json_is_null(psti_json_get(root, "absent")));
	assert_null(psti_json_get(psti_json_get(root, "a"), "x"));
	assert_null(psti_json_first(psti_json_get(root, "o")));
	assert_null(psti_json_get(NULL, "x"));
	assert_null(psti_json_first(NULL));
	assert_null(psti_json_next(NULL));
	psti_json_free(root);
	psti_json_free(NULL);
}

static void
integers_are_exact_or_refused(void **state)
{
	static const struct
	{
		const char *text;
		int64_t want;
	} cases[] = {
		{"\"9223372036854775807\"", INT64_MAX},
		{"\"-9223372036854775808\"", INT64_MIN},
		{"\"9223372036854775808\"", -1},
		{"\"-9223372036854775809\"", -1},
		{"\"99999999999999999999\"", -1},
		{"\"\"", -1},
		{"\"-\"", -1},
		{"\" 1\"", -1},
		{"\"1x\"", -1},
		{"0", 0},
		{"-12", -12},
		{"9007199254740992", 9007199254740992},
		{"9007199254740994", -1},
		{"9223372036854775807", -1},
		{"1e400", -1},
		{"1e3", 1000},
		{"0.5", -1},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char text[64];
		psti_json *root;

		snprintf(text, sizeof(text), "{\"v\":%s}", cases[i].text);
		root = parse(text);
		if (psti_json_int(root, "v", -1) != cases[i].want)
			fail_msg("%s gave %lld", cases[i].text, (long long) psti_json_int(root, "v", -1));
		psti_json_free(root);
	}
}

static void
arrays_are_walked_in_order(void **state)
{
	psti_json *root = parse(" [ \"a\" , \"b\",\"c\" ] ");
	const psti_json *item = psti_json_first(root);

	(void) state;
	assert_int_equal(psti_json_size(root), 3);
	assert_string_equal(psti_json_string_value(item), "a");
	assert_string_equal(psti_json_string_value(psti_json_next(item)), "b");
	assert_string_equal(psti_json_string_value(psti_json_at(root, 2)), "c");
	assert_null(psti_json_at(root, 3));
	psti_json_free(root);
}

static void
what_is_not_json_is_named_with_its_place(void **state)
{
	static const struct
	{
		const char *text;
		const char *why;
	} cases[] = {
		{"", "a value is missing at byte 0"},
		{"{", "a string is missing"},
		{"[1,]", "a value is missing at byte 3"},
		{"[1 2]", "a comma is missing at byte 3"},
		{"{\"a\" 1}", "a colon is missing"},
		{"{a:1}", "a string is missing at byte 1"},
		{"[1] x", "something follows the value at byte 4"},
		{"01", "a number begins with 0"},
		{"-", "a digit is missing"},
		{"1.", "a digit is missing"},
		{"1e", "a digit is missing"},
		{"+1", "a value is missing"},
		{"nul", "a value is missing"},
		{"NaN", "a value is missing"},
		{"\"abc", "a string has no end"},
		{"\"a\nb\"", "a control character at byte 2"},
		{"\"\\x\"", "an unknown escape"},
		{"\"\\u12g4\"", "four hexadecimal digits"},
		{"\"\\u12", "four hexadecimal digits"},
		{"\"\\u0000\"", "\\u0000"},
		{"\"\\ud800\"", "half of a surrogate pair"},
		{"\"\\ud800\\u0041\"", "half of a surrogate pair"},
		{"\"\\udc00\"", "half of a surrogate pair"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refuse(cases[i].text, cases[i].why);
}

/* n times open, then n times close. */
static char *
nested(size_t n, char open, char close)
{
	char *text = malloc(2 * n + 1);

	assert_non_null(text);
	memset(text, open, n);
	memset(text + n, close, n);
	text[2 * n] = '\0';
	return text;
}

static void
deep_nesting_is_refused_not_crashed_on(void **state)
{
	char *fits = nested(500, '[', ']');
	char *deep = nested(501, '[', ']');
	char *open = nested(1000000, '[', '[');

	(void) state;
	psti_json_free(parse(fits));
	refuse(deep, "nested too deeply");
	refuse(open, "nested too deeply");
	free(fits);
	free(deep);
	free(open);
}

static void
strings_survive_writing_and_parsing(void **state)
{
	char every[256];
	psti_buf buf = PSTI_BUF_INIT;
	psti_json *root;

	(void) state;
	for (int i = 1; i < 128; i++)
		every[i - 1] = (char) i;
	memcpy(every + 127, "\xc3\xa9\xf0\x9f\x90\x98", 7);
	psti_json_put_string(&buf, every);
	root = parse(buf.data);
	assert_string_equal(psti_json_string_value(root), every);
	psti_json_free(root);
	psti_buf_reset(&buf);
	psti_json_put_string(&buf, "");
	assert_string_equal(buf.data, "\"\"");
	psti_buf_reset(&buf);
	psti_json_put_string(&buf, "\xff"
							   "a\xc3\n\xe2\x82");
	assert_string_equal(buf.data, "\"\uFFFD"
								  "a\uFFFD\\n\uFFFD\uFFFD\"");
	psti_buf_reset(&buf);
	psti_json_put_bytes(&buf, "\xff\"");
	assert_string_equal(buf.data, "\"\xff\\\"\"");
	psti_buf_free(&buf);
	root = parse("\"\\u00e9\\ud83d\\udc18\\/\"");
	assert_string_equal(psti_json_string_value(root), "\xc3\xa9\xf0\x9f\x90\x98/");
	psti_json_free(root);
}

static pst_status
parse_a_text(void *ctx, pst_error *err)
{
	psti_json *root;
	pst_status status = psti_json_parse(ctx, &root, err);

	psti_json_free(root);
	return status;
}

static void
every_failing_allocation_is_out_of_memory_not_bad_json(void **state)
{
	char text[] = "{\"a\":[1,2,{\"b\":\"text\\n\"}],\"c\":null,\"d\":true}";

	(void) state;
	assert_true(psti_test_alloc_sweep(parse_a_text, text) >= 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(look_ups_are_case_sensitive),
		cmocka_unit_test(other_types_give_the_default),
		cmocka_unit_test(integers_are_exact_or_refused),
		cmocka_unit_test(arrays_are_walked_in_order),
		cmocka_unit_test(what_is_not_json_is_named_with_its_place),
		cmocka_unit_test(deep_nesting_is_refused_not_crashed_on),
		cmocka_unit_test(strings_survive_writing_and_parsing),
		cmocka_unit_test(every_failing_allocation_is_out_of_memory_not_bad_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
