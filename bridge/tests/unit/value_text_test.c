/* value_text_test.c - what no output function writes is refused, and what it writes needs no server. */
#include "test.h"

#include <locale.h>

#include "alloc.h"
#include "cdc/change.h"
#include "pgtext.h"

typedef struct sample
{
	psti_copy_type type;
	bool list;
	const char *text;
} sample;

static bool
convert(const sample *s, psti_buf *out)
{
	psti_copy_column column = {.name = "x", .type = s->type, .list = s->list, .elem = 23};

	return psti_value_of_text(&column, s->text, strlen(s->text), out);
}

static const sample good[] = {
	{PSTI_COPY_INT8, false, "-9223372036854775808"},
	{PSTI_COPY_FLOAT8, false, "1.7976931348623157e+308"},
	{PSTI_COPY_NUMERIC, false, "-12345.678"},
	{PSTI_COPY_TIMESTAMPTZ, false, "2026-11-23 12:34:56.789+00"},
	{PSTI_COPY_INTERVAL, false, "-1 years -2 mons +3 days -04:05:06.789"},
	{PSTI_COPY_BYTEA, false, "\\x00ff"},
	{PSTI_COPY_INT4, true, "[2:2][-1:1]={{1,NULL,-3}}"},
	{PSTI_COPY_TEXT, true, "{\"\",NULL,\"NULL\",a,\"d\\\"e\"}"},
	{PSTI_COPY_BYTEA, true, "{\"\\\\x00ff\"}"},
};

static void
what_the_server_prints_prints_again(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
	{
		psti_copy_column column = {.name = "x",
								   .type = good[i].type,
								   .list = good[i].list,
								   .elem = 23,
								   .form = PSTI_FORM_TEXT};
		psti_buf bytes = PSTI_BUF_INIT;
		psti_buf text = PSTI_BUF_INIT;

		assert_true(convert(&good[i], &bytes));
		assert_true(psti_copy_print(&column, bytes.data, bytes.len, &text));
		assert_int_equal(text.len, strlen(good[i].text));
		assert_memory_equal(text.data, good[i].text, text.len);
		psti_buf_free(&bytes);
		psti_buf_free(&text);
	}
}

static void
what_it_does_not_print_is_refused(void **state)
{
	static const sample bad[] = {
		{PSTI_COPY_BOOL, false, "true"},
		{PSTI_COPY_BOOL, false, ""},
		{PSTI_COPY_INT2, false, "32768"},
		{PSTI_COPY_INT4, false, "-2147483649"},
		{PSTI_COPY_INT8, false, "9223372036854775808"},
		{PSTI_COPY_INT8, false, "99999999999999999999"},
		{PSTI_COPY_INT8, false, "-"},
		{PSTI_COPY_INT8, false, ""},
		{PSTI_COPY_INT8, false, "1 "},
		{PSTI_COPY_INT8, false, "+1"},
		{PSTI_COPY_OID, false, "-1"},
		{PSTI_COPY_OID, false, "4294967296"},
		{PSTI_COPY_FLOAT8, false, "1e309"},
		{PSTI_COPY_FLOAT8, false, "1."},
		{PSTI_COPY_FLOAT8, false, ".5"},
		{PSTI_COPY_FLOAT8, false, "1,5"},
		{PSTI_COPY_FLOAT8, false, "0x1p3"},
		{PSTI_COPY_FLOAT8, false, "nan"},
		{PSTI_COPY_FLOAT8, false, "-NaN"},
		{PSTI_COPY_FLOAT8, false, "1e"},
		{PSTI_COPY_FLOAT8, false, "1.2.3"},
		{PSTI_COPY_FLOAT4, false, "1e39"},
		{PSTI_COPY_NUMERIC, false, "1e5"},
		{PSTI_COPY_NUMERIC, false, "1."},
		{PSTI_COPY_NUMERIC, false, "--1"},
		{PSTI_COPY_NUMERIC, false, ""},
		{PSTI_COPY_DATE, false, "11/23/2026"},
		{PSTI_COPY_DATE, false, "2026-02-29"},
		{PSTI_COPY_DATE, false, "2026-13-01"},
		{PSTI_COPY_DATE, false, "0000-01-01"},
		{PSTI_COPY_DATE, false, "2026-11-23 "},
		{PSTI_COPY_DATE, false, "5874898-01-01"},
		{PSTI_COPY_TIME, false, "24:00:00.000001"},
		{PSTI_COPY_TIME, false, "12:60:00"},
		{PSTI_COPY_TIME, false, "12:00"},
		{PSTI_COPY_TIME, false, "12:00:00."},
		{PSTI_COPY_TIME, false, "12:00:00.1234567"},
		{PSTI_COPY_TIMETZ, false, "12:00:00"},
		{PSTI_COPY_TIMETZ, false, "12:00:00+16"},
		{PSTI_COPY_TIMESTAMP, false, "2026-11-23T12:00:00"},
		{PSTI_COPY_TIMESTAMP, false, "2026-11-23 24:00:00"},
		{PSTI_COPY_TIMESTAMP, false, "999999-01-01 00:00:00"},
		/* A session whose time zone was not pinned. */
		{PSTI_COPY_TIMESTAMPTZ, false, "2026-11-23 12:00:00+01"},
		{PSTI_COPY_TIMESTAMPTZ, false, "2026-11-23 12:00:00"},
		{PSTI_COPY_INTERVAL, false, ""},
		{PSTI_COPY_INTERVAL, false, "P1D"},
		{PSTI_COPY_INTERVAL, false, "1 day 1 year"},
		{PSTI_COPY_INTERVAL, false, "1 day "},
		{PSTI_COPY_INTERVAL, false, "4294967296 days"},
		{PSTI_COPY_INTERVAL, false, "178956971 years"},
		{PSTI_COPY_INTERVAL, false, "2562047789:00:00"},
		{PSTI_COPY_INTERVAL_FINITE, false, "infinity"},
		{PSTI_COPY_UUID, false, "00112233-4455-6677-8899-aabbccddeef"},
		{PSTI_COPY_UUID, false, "00112233-4455-6677-8899-AABBCCDDEEFF"},
		{PSTI_COPY_BYTEA, false, "\\001"},
		{PSTI_COPY_BYTEA, false, "\\x0"},
		{PSTI_COPY_BYTEA, false, "\\x0g"},
		{PSTI_COPY_BYTEA, false, ""},
		{PSTI_COPY_INT4, true, ""},
		{PSTI_COPY_INT4, true, "{"},
		{PSTI_COPY_INT4, true, "{1"},
		{PSTI_COPY_INT4, true, "{1,}"},
		{PSTI_COPY_INT4, true, "{,}"},
		{PSTI_COPY_INT4, true, "{1}x"},
		{PSTI_COPY_INT4, true, "{{1},{2,3}}"},
		{PSTI_COPY_INT4, true, "{{1},2}"},
		{PSTI_COPY_INT4, true, "{1,{2}}"},
		{PSTI_COPY_INT4, true, "{{}}"},
		{PSTI_COPY_INT4, true, "{{{{{{{1}}}}}}}"},
		{PSTI_COPY_INT4, true, "[1:2]={1}"},
		{PSTI_COPY_INT4, true, "[1:1]{1}"},
		{PSTI_COPY_INT4, true, "[2:1]={}"},
		{PSTI_COPY_INT4, true, "[1:1][1:1]={1}"},
		{PSTI_COPY_INT4, true, "{\"1\\\"\"}"},
		{PSTI_COPY_TEXT, true, "{\"a}"},
		{PSTI_COPY_TEXT, true, "{\"a\\"},
		{PSTI_COPY_TEXT, true, "{\"a\"b}"},
		{PSTI_COPY_TEXT, true, "{a\"b\"}"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		psti_buf out = PSTI_BUF_INIT;

		psti_buf_puts(&out, "kept");
		if (convert(&bad[i], &out))
			fail_msg("\"%s\" is taken", bad[i].text);
		assert_int_equal(out.len, 4);
		assert_false(out.failed);
		psti_buf_free(&out);
	}
}

/* Half-way cases, where the digits of the power do not tell, go the long way. */
static void
floats_are_the_nearest_ones_in_any_locale(void **state)
{
	static const char *const texts[] = {
		"9007199254740993",
		"9007199254740995",
		"9.007199254740993e15",
		"2.2250738585072011e-308",
		"4.9406564584124654e-324",
		"2.4703282292062328e-324",
		"1.7976931348623158e308",
		"8.5e-2",
		"123456789012345678e-20",
		"0.000",
		"5e-320",
		"36893488147419103233e0",
		"3689348814741910323e1",
		"1e-999",
		"4503599627370497.5",
		"4503599627370496.5",
		"16777217",
		"16777219",
		"3.4028235677973366e38",
		"1.17549435e-38",
		"7.0064923216240854e-46",
		"7.0064923216240861e-46",
	};
	const char *locales[] = {"C", "de_DE.UTF-8", "C"};

	(void) state;
	for (size_t k = 0; k < 3; k++)
	{
		setlocale(LC_NUMERIC, locales[k]);
		for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		{
			double wanted8;
			double got8;
			float wanted4;
			float got4;
			bool taken;

			setlocale(LC_NUMERIC, "C");
			wanted8 = strtod(texts[i], NULL);
			wanted4 = strtof(texts[i], NULL);
			setlocale(LC_NUMERIC, locales[k]);
			taken = psti_float8_of_text(texts[i], strlen(texts[i]), &got8);
			/* More digits than any float has are no output function's. */
			assert_int_equal(taken, strcmp(texts[i], "36893488147419103233e0") != 0);
			if (taken)
				assert_memory_equal(&got8, &wanted8, sizeof(got8));
			if (taken && psti_float4_of_text(texts[i], strlen(texts[i]), &got4))
				assert_memory_equal(&got4, &wanted4, sizeof(got4));
		}
	}
	setlocale(LC_NUMERIC, "C");
}

static pst_status
convert_all(void *ctx, pst_error *err)
{
	pst_status status = PST_OK;

	(void) ctx;
	for (size_t i = 0; status == PST_OK && i < sizeof(good) / sizeof(good[0]); i++)
	{
		psti_buf out = PSTI_BUF_INIT;

		if (!convert(&good[i], &out))
			status = out.failed ? psti_buf_check(&out, err) : PST_ERR_DATA;
		psti_buf_free(&out);
	}
	return status;
}

static void
no_memory_is_told(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(convert_all, NULL) >= sizeof(good) / sizeof(good[0]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_server_prints_prints_again),
		cmocka_unit_test(what_it_does_not_print_is_refused),
		cmocka_unit_test(floats_are_the_nearest_ones_in_any_locale),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
