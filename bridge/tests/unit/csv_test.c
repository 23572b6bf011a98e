/* csv_test.c - csv written and read, by tables and by round trips. */
#include <errno.h>

#include "codec_check.h"

static const char describe_ab[] =
	"{\"qualified\":\"public.t\",\"columns\":["
	"{\"name\":\"a\",\"type\":\"integer\",\"kind\":\"base\",\"base_type\":\"integer\"},"
	"{\"name\":\"g\",\"type\":\"integer\",\"kind\":\"base\",\"base_type\":\"integer\","
	"\"generated\":\"stored\"},"
	"{\"name\":\"bravo\",\"type\":\"text\",\"kind\":\"base\",\"base_type\":\"text\"}]}";

static const codec_sample samples[] = {
	{"a,bravo\n1,x\n", "[1][x];", NULL, NULL, NULL},
	{"a,bravo\n1,x", "[1][x];", NULL, NULL, NULL},
	{"a,bravo\r\n1,x\r\n2,\r\n", "[1][x];[2]~;", NULL, NULL, NULL},
	{"a,bravo\r1,x\r2,y\r", "[1][x];[2][y];", NULL, NULL, NULL},
	{"\xEF\xBB\xBF"
	 "a,bravo\n1,x\n",
	 "[1][x];", NULL, NULL, NULL},
	{"bravo,a\nx,1\n", "[x][1];", NULL, NULL, NULL},
	{"bravo\nx\n\n\"\"\n", "[x];~;[];", NULL, NULL, NULL},
	{"a,bravo\n,\"\"\n\"\",\n", "~[];[]~;", NULL, NULL, NULL},
	{"a,bravo\n1,\"a\"\"b\"\n", "[1][a\"b];", NULL, NULL, NULL},
	{"a,bravo\n1,\"a,b\nc\rd\"\n2,e\n", "[1][a,b\nc\rd];[2][e];", NULL, NULL, NULL},
	{"a,bravo\n1,x\"y,z\"w\n", "[1][xy,zw];", NULL, NULL, NULL},
	{"a,bravo\n1,\"\"\"\"\n", "[1][\"];", NULL, NULL, NULL},
	{"a,\"bravo\"\n1,x\n", "[1][x];", NULL, NULL, NULL},
	{"a,bravo\n", "", NULL, NULL, NULL},
	{"a,bravo", "", NULL, NULL, NULL},
	{"", "", "lacks the header", NULL, NULL},
	{"bravo\nx\n\\.\n", "[x];", NULL, NULL, NULL},
	{"bravo\nx\n\\.", "[x];", NULL, NULL, NULL},
	{"bravo\n\\.\nx\n", "", "record 1 (line 2): the end-of-data mark", NULL, NULL},
	{"bravo\n\"\\.\"\nx\n", "[\\.];[x];", NULL, NULL, NULL},
	{"a,bravo\n1,x\n2\n", "[1][x];",
	 "record 2 (line 3): too few fields: 1 of 2, none for column "
	 "\"bravo\"",
	 NULL, NULL},
	{"a,bravo\n\"\n\",x\n1,2,3\n", "[\n][x];", "record 2 (line 4): too many fields", NULL, NULL},
	{"a,bravo\n1,\"x\n", "", "a quoted field is not closed", NULL, NULL},
	{"a,bravo\n1,x\r\n", "", "an unquoted carriage return and line feed", NULL, NULL},
	{"a,bravo\r\n1,x\ny\r\n", "", "an unquoted line feed", NULL, NULL},
	{"a,bravo\n1,\xff\n", "", "record 1 (line 2): byte 3, 0xff, is not valid UTF-8", NULL, NULL},
	{"a,bravo\n1,\xed\xa0\x80\n", "", "is not valid UTF-8", NULL, NULL},
	{"a,brave\n1,x\n", "", "header: public.t has no column \"brave\"", NULL, NULL},
	{"a,a\n1,x\n", "", "column \"a\" is named twice", NULL, NULL},
	{"a,,bravo\n1,,x\n", "", "header: column 2 has no name", NULL, NULL},
	{"\"\"\n1\n", "", "header: column 1 has no name", "csv.null", "NULL"},
	{"a;bravo\n1;x,y\n", "[1][x,y];", NULL, "csv.delimiter", ";"},
	{"a,bravo\nNULL,\"NULL\"\n,x\n", "~[NULL];[][x];", NULL, "csv.null", "NULL"},
	{"1,x\n2,y\n", "[1][x];[2][y];", NULL, "csv.header", "false"},
	{"", "", NULL, "csv.header", "false"},
	{"op,a\n+I,1\n-U,2\n+U,3\n-D,4\n,5\n", "0[1];1[2];2[3];3[4];0[5];", NULL, "row-kind-column",
	 "op"},
	{"a,op\n1,+I\n2,*\n", "0[1];", "row kind \"*\" is none of", "row-kind-column", "op"},
	{"a\n1\n", "[1];", NULL, "row-kind-column", "op"},
	{"a\n1\n", "", "cannot be a line break", "csv.delimiter", "\n"},
	{"a\n1\n", "", "single one-byte", "csv.delimiter", "ab"},
	{"a\n1\n", "", "cannot contain", "csv.null", "a\"b"},
};

static void
check_sample(const codec_sample *s, size_t piece, bool pausing)
{
	check_codec_sample("csv", describe_ab, s, piece, pausing, true);
}

static void
reads_what_copy_reads(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		check_sample(&samples[i], 1 << 20, false);
}

/* Wherever the input is cut, and even when it pauses at every byte. */
static void
pieces_change_nothing(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
		for (size_t piece = 1; piece < 5; piece++)
		{
			check_sample(&samples[i], piece, false);
			check_sample(&samples[i], piece, true);
		}
}

static void
nul_byte_is_named(void **state)
{
	text_input in = {"a\n1\n2\0x\n", 8, 100, false, false};
	psti_buf rows = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_int_equal(decode_with(NULL, NULL, NULL, &in, NULL, &rows, &err), PST_ERR_DATA);
	assert_string_equal(err.message, "record 2 (line 3): byte 2 is NUL, which no text can hold");
	assert_int_equal(err.row, 1);
	psti_buf_free(&rows);
}

static void
unknown_column_has_a_hint(void **state)
{
	text_input in = input_of("a,brave\n");
	psti_buf rows = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_int_equal(decode_with(NULL, NULL, describe_ab, &in, NULL, &rows, &err),
					 PST_ERR_NOT_FOUND);
	assert_string_equal(err.hint, "Did you mean \"bravo\"?");
	assert_string_equal(err.column, "brave");
	psti_buf_free(&rows);
}

static void
header_names_columns_without_describe(void **state)
{
	text_input in = input_of("x,\"y z\"\n1,2\n");
	psti_buf rows = PSTI_BUF_INIT;
	psti_buf names = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_int_equal(decode_with(NULL, NULL, NULL, &in, &names, &rows, &err), PST_END);
	assert_string_equal(names.data, "x y z ");
	assert_string_equal(rows.data, "[1][2];");
	psti_buf_free(&rows);
	psti_buf_free(&names);
}

static int
read_nothing(void *ctx, void *data, size_t nbytes, size_t *nread)
{
	(void) ctx;
	(void) data;
	(void) nbytes;
	(void) nread;
	return EIO;
}

static void
failing_read_is_an_io_error(void **state)
{
	pst_error err = PST_ERROR_INIT;
	pst_decoder *decoder = NULL;
	struct ArrowSchema schema;

	(void) state;
	assert_ok(pst_decoder_new(NULL, NULL, NULL, read_nothing, NULL, &decoder, &err), &err);
	assert_fails(pst_decoder_schema(decoder, &schema, &err), PST_ERR_IO, &err);
	assert_contains(err.message, "cannot read the input");
	pst_decoder_free(decoder);
}

static void
quotes_what_copy_quotes(void **state)
{
	static const char *const names[] = {"a", "b,c"};
	static const char *const cells[] = {"x",	NULL,	"",	   "a b", "a,b", "a\"b",
										"a\nb", "a\rb", "\\.", "é",	  " ",	 "'"};
	struct ArrowSchema schema;
	struct ArrowArray array;
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make_batch(names, 2, cells, 6, &schema, &array);
	assert_ok(encode_with(NULL, NULL, &schema, &array, &out, &err), &err);
	assert_string_equal(out.data, "a,\"b,c\"\nx,\n\"\",a b\n\"a,b\",\"a\"\"b\"\n\"a\nb\",\"a\rb\"\n"
								  "\\.,é\n ,'\n");
	psti_buf_free(&out);
	array.release(&array);
	schema.release(&schema);
}

static void
single_column_quotes_the_end_mark(void **state)
{
	static const char *const names[] = {"a"};
	static const char *const cells[] = {"\\.", NULL, "", "NULL"};
	static const char *const keys[] = {"csv.null", "csv.header", NULL};
	static const char *const values[] = {"NULL", "false", NULL};
	struct ArrowSchema schema;
	struct ArrowArray array;
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make_batch(names, 1, cells, 4, &schema, &array);
	assert_ok(encode_with(keys, values, &schema, &array, &out, &err), &err);
	assert_string_equal(out.data, "\"\\.\"\nNULL\n\n\"NULL\"\n");
	psti_buf_free(&out);
	array.release(&array);
	schema.release(&schema);
}

/* Random rows of nasty characters: what was written is read again, under random dialects. */
static void
round_trip_is_the_identity(void **state)
{
	static const char *const pieces[] = {"",  ",", "\"", "\n", "\r",   "\r\n", "\\.", ";",
										 "a", "é", " ",	 "N",  "NULL", "\\",   "'",	  "\t"};
	static const char *const names[] = {"c1", "c,2", "c\"3"};
	static const char *const delimiters[] = {",", ";", "\t", "a"};
	static const char *const nulls[] = {"", "NULL", "\\N", "N"};
	uint64_t seed = 42;

	(void) state;
	for (int round = 0; round < 400; round++)
	{
		size_t ncolumns = 1 + test_random(&seed) % 3;
		size_t nrows = test_random(&seed) % 20;
		char text[60][64];
		const char *cells[60];
		const char *keys[] = {"csv.delimiter", "csv.null", NULL};
		const char *values[] = {delimiters[test_random(&seed) % 4], nulls[test_random(&seed) % 4],
								NULL};
		struct ArrowSchema schema;
		struct ArrowArray array;
		psti_buf csv = PSTI_BUF_INIT;
		psti_buf want = PSTI_BUF_INIT;
		psti_buf got = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;
		text_input in;

		if (strchr(values[1], values[0][0]) != NULL)
			continue;
		for (size_t i = 0; i < ncolumns * nrows; i++)
		{
			text[i][0] = '\0';
			for (size_t n = test_random(&seed) % 5; n > 0; n--)
				strcat(text[i], pieces[test_random(&seed) % 16]);
			cells[i] = test_random(&seed) % 5 == 0 ? NULL : text[i];
		}
		make_batch(names, ncolumns, cells, nrows, &schema, &array);
		psti_buf_puts(&want, "");
		psti_buf_puts(&got, "");
		show_batch(&array, NULL, NULL, &want);
		assert_ok(encode_with(keys, values, &schema, &array, &csv, &err), &err);
		in = input_of(csv.data);
		in.piece = 1 + test_random(&seed) % 50;
		if (decode_with(keys, values, NULL, &in, NULL, &got, &err) != PST_END)
			fail_msg("%s in %s", err.message, csv.data);
		assert_string_equal(want.data, got.data);
		psti_buf_free(&csv);
		psti_buf_free(&want);
		psti_buf_free(&got);
		array.release(&array);
		schema.release(&schema);
	}
}

/* More rows than a batch holds, and a field larger than a batch. */
static void
batches_are_bounded(void **state)
{
	psti_buf csv = PSTI_BUF_INIT;
	pst_decoder *decoder = NULL;
	pst_error err = PST_ERROR_INIT;
	struct ArrowArray batch;
	text_input in;
	int64_t rows = 0;
	int batches = 0;
	pst_status status;

	(void) state;
	psti_buf_puts(&csv, "a\n");
	for (int i = 0; i < 70000; i++)
		psti_buf_puts(&csv, "1\n");
	psti_buf_putc(&csv, '"');
	memset(psti_buf_reserve(&csv, 6 << 20), 'x', 6 << 20);
	csv.len += 6 << 20;
	psti_buf_puts(&csv, "\"\n1\n");
	in = (text_input){csv.data, csv.len, 65536, false, false};
	assert_ok(pst_decoder_new(NULL, NULL, NULL, read_text, &in, &decoder, &err), &err);
	while ((status = pst_decoder_next(decoder, &batch, NULL, &err)) == PST_OK)
	{
		assert_true(batch.length <= 65536);
		rows += batch.length;
		batches++;
		batch.release(&batch);
	}
	assert_int_equal(status, PST_END);
	assert_int_equal(rows, 70002);
	assert_int_equal(batches, 3);
	pst_decoder_free(decoder);
	psti_buf_free(&csv);
}

static void
decoder_survives_failing_allocations(void **state)
{
	(void) state;
	check_decoder_allocations("csv", describe_ab, "op,a,bravo\n+I,1,\"x\"\"y\"\n-D,,\n");
}

static void
encoder_survives_failing_allocations(void **state)
{
	(void) state;
	check_encoder_allocations("csv");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_copy_reads),
		cmocka_unit_test(pieces_change_nothing),
		cmocka_unit_test(nul_byte_is_named),
		cmocka_unit_test(unknown_column_has_a_hint),
		cmocka_unit_test(header_names_columns_without_describe),
		cmocka_unit_test(failing_read_is_an_io_error),
		cmocka_unit_test(quotes_what_copy_quotes),
		cmocka_unit_test(single_column_quotes_the_end_mark),
		cmocka_unit_test(round_trip_is_the_identity),
		cmocka_unit_test(batches_are_bounded),
		cmocka_unit_test(decoder_survives_failing_allocations),
		cmocka_unit_test(encoder_survives_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
