/* codec_test.c - what all decoders have in common: an input of another format is named. */
#include "codec_io.h"

static const struct
{
	const char *format;
	const char *bytes;
	size_t nbytes;
	const char *message; /* NULL: it is taken */
	const char *hint;
} starts[] = {
	{"csv", "\377\377\377\377\200\0\0\0", 8, "the input is an Arrow stream", "--format arrow"},
	{"json", "\377\377\377\377\200\0\0\0", 8, "the input is an Arrow stream", "--format arrow"},
	{"csv", "ARROW1\0\0\377\377\377\377", 12, "the input is an Arrow file", "Arrow IPC stream"},
	{"json", "PAR1\025\4\025", 7, "the input is a Parquet file", "pyarrow"},
	{"csv", "\037\213\b\0\0\0\0\0", 8, "the input is compressed by gzip", "gzip -dc"},
	{"json", "(\265/\375\4", 5, "the input is compressed by zstd", "zstd -dc"},
	{"csv", "ARROW1,PAR1\n1,2\n", 16, NULL, NULL},
	{"arrow", "", 0, "the Arrow stream is incomplete: the input is empty", "has run"},
	{"arrow", "a,b\n1,2\n", 8, "the input is not an Arrow stream", "--format csv or json"},
	{"arrow", "{}\n", 3, "the input is not an Arrow stream", "--format csv or json"},
	{"arrow", "\0\1\2\3\4\5\6\7", 8, "the input is not an Arrow stream", ""},
	{"arrow", "ARROW1\0\0\377\377\377\377", 12, "not an Arrow IPC stream", "Arrow IPC stream"},
	{"arrow", "PAR1\025\4\025\f", 8, "the input is a Parquet file", "pyarrow"},
	{"arrow", "\037\213\b", 3, "the input is compressed by gzip", "gzip -dc"},
	{"arrow", "\377\377\377\377\0\0\0\0", 8, "it ends before its schema", "stopped early"},
	{"arrow", "\377\377\377", 3, "the Arrow stream is incomplete: it ends before", "stopped early"},
};

static void
an_input_of_another_format_is_named(void **state)
{
	(void) state;
	for (size_t i = 0; i < 2 * sizeof(starts) / sizeof(starts[0]); i++)
	{
		const char *keys[] = {"format", NULL};
		const char *values[] = {starts[i / 2].format, NULL};
		text_input in = {starts[i / 2].bytes, starts[i / 2].nbytes, 1 << 20, false, false};
		psti_buf rows = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;
		pst_status status;

		in.pausing = i % 2 != 0;
		status = decode_with(keys, values, NULL, &in, NULL, &rows, &err);
		if (starts[i / 2].message == NULL)
			assert_int_equal(status, PST_END);
		else
		{
			assert_true(status < 0);
			assert_contains(err.message, starts[i / 2].message);
			assert_contains(err.hint, starts[i / 2].hint);
		}
		psti_buf_free(&rows);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_input_of_another_format_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
