/*
 * codecs_test.c - csv and json held against the server's own: what COPY writes and reads, what
 * row_to_json gives, and whether what was written stands in the table again.
 */
#include "codec_io.h"
#include "live.h"

static PGconn *conn;

static int
open_all(void **state)
{
	int failed = live_make_database(state);

	conn = live_connect("");
	live_exec(conn, "SET datestyle = ISO; SET timezone = 'UTC'; SET intervalstyle = postgres; "
					"SET bytea_output = hex; SET extra_float_digits = 1");
	return failed;
}

static int
close_all(void **state)
{
	PQfinish(conn);
	return live_drop_database(state);
}

/* What a COPY TO STDOUT sends. */
static void
copy_out(const char *sql, psti_buf *out)
{
	PGresult *result = PQexec(conn, sql);
	char *data;
	int n;

	if (PQresultStatus(result) != PGRES_COPY_OUT)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
	while ((n = PQgetCopyData(conn, &data, 0)) > 0)
	{
		psti_buf_append(out, data, (size_t) n);
		PQfreemem(data);
	}
	result = PQgetResult(conn);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
	PQclear(PQgetResult(conn));
}

/* Sends data to a COPY FROM STDIN; whether the server takes it. */
static bool
copy_in(const char *sql, const char *data, size_t nbytes)
{
	PGresult *result = PQexec(conn, sql);
	bool taken;

	if (PQresultStatus(result) != PGRES_COPY_IN)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	PQclear(result);
	assert_int_equal(PQputCopyData(conn, data, (int) nbytes), 1);
	assert_int_equal(PQputCopyEnd(conn, NULL), 1);
	result = PQgetResult(conn);
	taken = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
	return taken;
}

/* The rows of a query of texts, as show_batch writes them. */
static void
show_query(const char *sql, psti_buf *out)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	for (int row = 0; row < PQntuples(result); row++)
	{
		for (int c = 0; c < PQnfields(result); c++)
			if (PQgetisnull(result, row, c))
				psti_buf_puts(out, "~");
			else
				psti_buf_printf(out, "[%s]", PQgetvalue(result, row, c));
		psti_buf_putc(out, ';');
	}
	PQclear(result);
}

/* Appends a text of up to five nasty pieces. */
static void
nasty_text(uint64_t *seed, psti_buf *out)
{
	static const char *const pieces[] = {"",  ",",		  "\"", "\n", "\r",	  "\r\n", "\\.", ";",
										 "a", "\xc3\xa9", " ",	"N",  "NULL", "\\",	  "'",	 "\t"};

	for (size_t n = test_random(seed) % 5; n > 0; n--)
		psti_buf_puts(out, pieces[test_random(seed) % 16]);
}

static const char *const dialects[][4] = {
	/* COPY's words, then ours */
	{"DELIMITER ',', NULL ''", ",", "", NULL},
	{"DELIMITER ';', NULL 'NULL'", ";", "NULL", NULL},
	{"DELIMITER E'\\t', NULL '\\N'", "\t", "\\N", NULL},
	{"DELIMITER 'a', NULL 'N'", "a", "N", NULL},
};

/* Fills table nasty(a, b) and gives the same rows as a batch. */
static void
fill_nasty(uint64_t *seed, size_t ncolumns, struct ArrowSchema *schema, struct ArrowArray *array)
{
	static const char *const names[] = {"a", "b c"};
	static char texts[200][64];
	const char *cells[200];
	size_t nrows = 100 / ncolumns;

	live_exec(conn, "SET client_min_messages = warning; DROP TABLE IF EXISTS nasty; CREATE TABLE "
					"nasty (n serial, a text, \"b c\" text)");
	for (size_t i = 0; i < nrows * ncolumns; i++)
	{
		psti_buf text = PSTI_BUF_INIT;

		psti_buf_puts(&text, "");
		nasty_text(seed, &text);
		strcpy(texts[i], text.data);
		psti_buf_free(&text);
		cells[i] = test_random(seed) % 5 == 0 ? NULL : texts[i];
	}
	for (size_t r = 0; r < nrows; r++)
	{
		const char *params[2] = {cells[r * ncolumns],
								 ncolumns > 1 ? cells[r * ncolumns + 1] : NULL};
		PGresult *result = PQexecParams(conn, "INSERT INTO nasty (a, \"b c\") VALUES ($1, $2)", 2,
										NULL, params, NULL, NULL, 0);

		assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
		PQclear(result);
	}
	make_batch(names, ncolumns, cells, nrows, schema, array);
}

static void
csv_is_byte_for_byte_what_copy_writes(void **state)
{
	uint64_t seed = 3;

	(void) state;
	for (size_t round = 0; round < 16; round++)
	{
		const char *const *dialect = dialects[round % 4];
		const char *keys[] = {"csv.delimiter", "csv.null", NULL};
		const char *values[] = {dialect[1], dialect[2], NULL};
		size_t ncolumns = 1 + round / 4 % 2;
		struct ArrowSchema schema;
		struct ArrowArray array;
		psti_buf want = PSTI_BUF_INIT;
		psti_buf got = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;
		char sql[256];

		fill_nasty(&seed, ncolumns, &schema, &array);
		snprintf(sql, sizeof(sql),
				 "COPY (SELECT %s FROM nasty ORDER BY n) TO STDOUT (FORMAT csv, HEADER, %s)",
				 ncolumns > 1 ? "a, \"b c\"" : "a", dialect[0]);
		copy_out(sql, &want);
		assert_ok(encode_with(keys, values, &schema, &array, &got, &err), &err);
		assert_string_equal(want.data, got.data);
		psti_buf_free(&want);
		psti_buf_free(&got);
		array.release(&array);
		schema.release(&schema);
	}
}

/* A text of fields, delimiters, quotes and line breaks at random: mostly wrong, sometimes not. */
static void
random_csv(uint64_t *seed, psti_buf *out)
{
	static const char *const pieces[] = {"x", ",",	"\"", "\n",	   "\n",   "x,y\n", "\"\"",
										 " ", "\r", "\\", "\"a\"", "\"\n", "NULL",	"\xc3\xa9"};
	bool crlf = test_random(seed) % 4 == 0;

	psti_buf_puts(out, crlf ? "a,b\r\n" : "a,b\n");
	for (size_t n = test_random(seed) % 12; n > 0; n--)
		psti_buf_puts(out, crlf && test_random(seed) % 4 == 0 ? "x,y\r\n"
															  : pieces[test_random(seed) % 14]);
}

static void
csv_is_taken_and_refused_as_copy_does(void **state)
{
	const char *keys[] = {"csv.null", NULL};
	const char *values[] = {"NULL", NULL};
	uint64_t seed = 11;
	int taken = 0;

	(void) state;
	live_exec(conn, "CREATE TABLE taken (n serial, a text, b text)");
	for (int round = 0; round < 3000; round++)
	{
		psti_buf csv = PSTI_BUF_INIT;
		psti_buf want = PSTI_BUF_INIT;
		psti_buf got = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;
		text_input in;
		bool server;
		bool ours;

		random_csv(&seed, &csv);
		live_exec(conn, "TRUNCATE taken");
		server = copy_in("COPY taken (a, b) FROM STDIN (FORMAT csv, HEADER, NULL 'NULL')", csv.data,
						 csv.len);
		in = input_of(csv.data);
		ours = decode_with(keys, values, NULL, &in, NULL, &got, &err) == PST_END;
		if (server != ours)
			fail_msg("the server %s <%s>, we say: %s", server ? "takes" : "refuses", csv.data,
					 err.message);
		if (server)
		{
			taken++;
			psti_buf_puts(&want, "");
			psti_buf_puts(&got, "");
			show_query("SELECT a, b FROM taken ORDER BY n", &want);
			assert_string_equal(want.data, got.data);
		}
		psti_buf_free(&csv);
		psti_buf_free(&want);
		psti_buf_free(&got);
	}
	assert_in_range(taken, 200, 2800);
}

/* A table of every type that has an Arrow form, filled from lists of values of each. */
static const char typed_sql[] =
	"CREATE TABLE typed AS SELECT row_number() OVER () AS n, * FROM ("
	" SELECT (ARRAY[true, false, NULL])[1 + i % 3] AS b,"
	" (ARRAY[0, 1, -1, 32767, -32768])[1 + i % 5]::int2 AS i2,"
	" (ARRAY[0, 2147483647, -2147483648, NULL])[1 + i % 4]::int4 AS i4,"
	" (ARRAY[0, 9223372036854775807, -9223372036854775808])[1 + i % 3]::int8 AS \"I 8\","
	" (ARRAY['0', '-0', '1.5', 'NaN', 'Infinity', '-Infinity', '1e-40', '3.4e38', '123456',"
	"  '1234567'])[1 + i % 10]::float4 AS f4,"
	" (ARRAY['0', '-0', '0.1', 'NaN', 'Infinity', '-Infinity', '5e-324', '1.7e308', '1e15', '1e14',"
	"  '0.0001', '0.00001'])[1 + i % 12]::float8 AS f8,"
	" (ARRAY['0', '0.01', '-99999999.99', '12.30', NULL])[1 + i % 5]::numeric(10,2) AS d,"
	" (ARRAY['0', '12345678901234567890123456789012345678', '-1'])[1 + i % 3]::numeric(38,0) AS d0,"
	" (ARRAY['0.5', '-0.00000000000000000000000000000000000001', '0'])[1 + i % 3]::numeric(38,38) "
	"AS dd,"
	" (ARRAY['2000-01-01', '0001-01-01', '9999-12-31', '1969-12-31', NULL])[1 + i % 5]::date AS dt,"
	" (ARRAY['00:00', '23:59:59.999999', '12:00:00.5', '01:02:03'])[1 + i % 4]::time AS tm,"
	" (ARRAY['2000-01-01', '0001-01-01 00:00:00', '9999-12-31 23:59:59.999999',"
	"  '1969-12-31 23:59:59.1'])[1 + i % 4]::timestamp AS ts,"
	" (ARRAY['2000-01-01 00:00:00+00', '1999-12-31 23:59:59.000001+00', NULL])[1 + i % 3]"
	"  ::timestamptz AS tz,"
	" (ARRAY['1 year 2 mons', '-1 day 02:03:04.5', '00:00', '1 mon -1 day', '-00:00:01'])[1 + i % "
	"5]"
	"  ::interval AS iv,"
	" (ARRAY['', 'a,b', 'a\"b', E'a\\nb', E'\\\\', 'NULL', NULL, E'\\t\\u00e9'])[1 + i % 8] AS t,"
	" (ARRAY['', '\\x00', '\\xdeadbeef'])[1 + i % 3]::bytea AS by,"
	" ('00000000-0000-0000-0000-00000000000' || i % 10)::uuid AS u,"
	" (ARRAY['{\"a\": [1, null]}', '[1.50]', '7', 'true', E'{\"a\":\\n1}'])[1 + i % 5]::json AS j,"
	" (ARRAY['{\"b\": {\"a\": 1}}', '[]', '1e2', NULL])[1 + i % 4]::jsonb AS jb,"
	" (ARRAY['{}', '{1,NULL,-3}', NULL, '{2147483647}'])[1 + i % 4]::int[] AS ai,"
	" (ARRAY['{a,\"b c\",\"\",\"NULL\",NULL,\"x\\\"y\",\"{\",\"a,b\"}', '{}'])[1 + i % 2]::text[] "
	"AS at,"
	" (ARRAY['{0.5,NaN,-Infinity}', '{}'])[1 + i % 2]::float8[] AS af,"
	" (ARRAY['{2000-01-01,NULL}', '{}'])[1 + i % 2]::date[] AS ad,"
	" (ARRAY['{2000-01-01 00:00:00.5}', '{}'])[1 + i % 2]::timestamp[] AS ats,"
	" (ARRAY['{t,f,NULL}', '{}'])[1 + i % 2]::bool[] AS ab,"
	" (ARRAY['{\"\\\\x00\",\"\\\\x\"}', '{}'])[1 + i % 2]::bytea[] AS aby,"
	" (ARRAY['{1.50,-2.00}', '{}'])[1 + i % 2]::numeric(9,2)[] AS an"
	" FROM generate_series(0, 119) i) v";

/* Every row of typed that the source gives, written in a format; lines sorted. */
static void
read_source(const char *format, const char *shape, psti_buf *out)
{
	const char *keys[] = {"url", "table-name", "read.values", "format", NULL};
	const char *values[] = {"", "typed", shape, format, NULL};
	pst_source *source = NULL;
	pst_encoder *encoder = NULL;
	struct ArrowArrayStream stream;
	struct ArrowSchema schema;
	struct ArrowArray batch;
	pst_error err = PST_ERROR_INIT;

	assert_ok(pst_source_open(keys, values, NULL, &source, &err), &err);
	assert_ok(pst_source_schema(source, &schema, &err), &err);
	assert_ok(pst_encoder_new(keys, values, &schema, &encoder, &err), &err);
	assert_ok(pst_source_read(source, NULL, &stream, &err), &err);
	assert_ok(pst_encoder_begin(encoder, collect, out, &err), &err);
	while (true)
	{
		if (stream.get_next(&stream, &batch) != 0)
			fail_msg("%s", stream.get_last_error(&stream));
		if (batch.release == NULL)
			break;
		assert_ok(pst_encoder_write(encoder, &batch, collect, out, &err), &err);
		batch.release(&batch);
	}
	assert_ok(pst_encoder_end(encoder, collect, out, &err), &err);
	stream.release(&stream);
	schema.release(&schema);
	pst_encoder_free(encoder);
	pst_source_close(source);
}

static void
encoders_write_arrow_values_as_the_server(void **state)
{
	psti_buf copied = PSTI_BUF_INIT;
	psti_buf rows = PSTI_BUF_INIT;
	psti_buf csv = PSTI_BUF_INIT;
	psti_buf json = PSTI_BUF_INIT;

	(void) state;
	live_exec(conn, "%s", typed_sql);
	/* Before 12 the server prints digits by extra_float_digits, not the shortest ones. */
	if (PQserverVersion(conn) < 120000)
		live_exec(conn, "ALTER TABLE typed DROP COLUMN f4, DROP COLUMN f8, DROP COLUMN af");
	copy_out("COPY (SELECT * FROM typed ORDER BY n) TO STDOUT (FORMAT csv, HEADER)", &copied);
	/* The line breaks between tokens of json become spaces: COMMAND.md. */
	copy_out("COPY (SELECT translate(row_to_json(x)::text, E'\\n', ' ') FROM typed x ORDER BY n) "
			 "TO STDOUT (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')",
			 &rows);
	read_source("csv", "arrow", &csv);
	assert_string_equal(csv.data, copied.data);
	read_source("json", "arrow", &json);
	assert_string_equal(json.data, rows.data);
	psti_buf_reset(&csv);
	read_source("csv", "csv", &csv);
	assert_string_equal(csv.data, copied.data);
	psti_buf_reset(&json);
	read_source("json", "json", &json);
	assert_string_equal(json.data, rows.data);
	psti_buf_free(&copied);
	psti_buf_free(&rows);
	psti_buf_free(&csv);
	psti_buf_free(&json);
}

#define NODE(name, type, rest)                                                                     \
	"{\"name\":\"" name "\",\"type\":\"" type "\",\"base_type\":\"" type "\",\"kind\":" rest "}"
#define BASE(name, type) NODE(name, type, "\"base\"")
#define ARRAY(name, type, element) NODE(name, type "[]", "\"array\",\"element\":" element)
#define FIELDS                                                                                     \
	"\"composite\",\"fields\":[" BASE("x", "integer") "," BASE("why not", "text") "," ARRAY(       \
		"l", "text", BASE("", "text")) "]"

/* clang-format off */
static const char shapes_describe[] =
	"{\"columns\":["
	BASE("n", "integer") ","
	NODE("c", "shape", FIELDS) ","
	ARRAY("ac", "shape", NODE("", "shape", FIELDS)) ","
	ARRAY("at", "text", BASE("", "text")) ","
	ARRAY("aj", "jsonb", BASE("", "jsonb")) ","
	ARRAY("ab", "box", BASE("", "box")) ","
	BASE("r", "int4range") ","
	BASE("iv", "interval") ","
	BASE("ts", "timestamp") ","
	BASE("tz", "timestamptz") ","
	BASE("d", "date") ","
	BASE("j", "jsonb") "]}";
/* clang-format on */

/* row_to_json's lines, decoded for the described columns and cast from text, are the same rows. */
static void
row_to_json_reads_back_unchanged(void **state)
{
	const char *keys[] = {"format", NULL};
	const char *values[] = {"json", NULL};
	psti_buf lines = PSTI_BUF_INIT;
	pst_decoder *decoder = NULL;
	struct ArrowArray batch;
	pst_error err = PST_ERROR_INIT;
	text_input in;

	(void) state;
	live_exec(
		conn,
		"CREATE TYPE shape AS (x int, \"why not\" text, l text[]);"
		"CREATE TABLE shapes (n int, c shape, ac shape[], at text[], aj jsonb[], ab box[],"
		" r int4range, iv interval, ts timestamp, tz timestamptz, d date, j jsonb);"
		"INSERT INTO shapes VALUES"
		" (1, ROW(1, 'a b', '{x,\"y z\",NULL,\"\"}'), ARRAY[ROW(2, 'q\"\\,()', '{}')::shape,"
		"  NULL, ROW(NULL, '', '{{a,b},{c,d}}')::shape], '{{a,b},{\"c,d\",NULL}}',"
		"  ARRAY['{\"a\":[1]}', '[1,[2]]', '7']::jsonb[], '{(1,1),(0,0);(3,3),(2,2)}',"
		"  '[1,5)', '1 year -2 days +03:04:05.6', '294276-12-31 23:59:59.999999',"
		"  '4713-01-01 00:00:00+00 BC', '5874897-12-31', '{\"k\": \"v\"}'),"
		" (2, NULL, '{}', '{}', '{}', '{}', 'empty', '0', '-infinity', 'infinity', '-infinity',"
		"  '[]'), (3, ROW(NULL, NULL, NULL), NULL, NULL, NULL, NULL, '(,)', '-1 mons',"
		"  '0044-03-15 00:00:00 BC', '1969-12-31 23:59:59.5+00', '0001-01-01 BC', '1.50')");
	copy_out("COPY (SELECT row_to_json(t) FROM shapes t ORDER BY n) TO STDOUT "
			 "(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')",
			 &lines);
	in = input_of(lines.data);
	assert_ok(pst_decoder_new(keys, values, shapes_describe, read_text, &in, &decoder, &err), &err);
	assert_ok(pst_decoder_next(decoder, &batch, NULL, &err), &err);
	live_exec(conn, "CREATE TABLE shapes_again (LIKE shapes)");
	assert_int_equal(batch.length, 3);
	assert_int_equal(batch.n_children, 12);
	for (int64_t row = 0; row < batch.length; row++)
	{
		char *texts[12];
		PGresult *result;

		for (int c = 0; c < 12; c++)
		{
			const struct ArrowArray *column = batch.children[c];
			const int32_t *offsets = column->buffers[1];

			texts[c] = psti_array_null(column, row)
						   ? NULL
						   : strndup((const char *) column->buffers[2] + offsets[row],
									 (size_t) (offsets[row + 1] - offsets[row]));
		}
		result = PQexecParams(conn,
							  "INSERT INTO shapes_again VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,"
							  "$12)",
							  12, NULL, (const char *const *) texts, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			fail_msg("row %d: %s", (int) row, PQerrorMessage(conn));
		PQclear(result);
		for (int c = 0; c < 12; c++)
			free(texts[c]);
	}
	assert_int_equal(live_int(conn, "SELECT count(*) FROM shapes a JOIN shapes_again b USING (n) "
									"WHERE a::text = b::text"),
					 3);
	batch.release(&batch);
	pst_decoder_free(decoder);
	psti_buf_free(&lines);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(csv_is_byte_for_byte_what_copy_writes),
		cmocka_unit_test(csv_is_taken_and_refused_as_copy_does),
		cmocka_unit_test(encoders_write_arrow_values_as_the_server),
		cmocka_unit_test(row_to_json_reads_back_unchanged),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
