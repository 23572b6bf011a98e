/* codec_debezium_test.c - events as debezium lines: each kind of event, each type in both styles. */
#include "alloc.h"
#include "codec_io.h"
#include "rows.h"

#include "json.h"

/* ---- Values ---- */

/* A value as its column has it. */
typedef struct value_sample
{
	const char *format;
	const char *type;	/* penstock.type, or NULL */
	const char *binary; /* penstock.binary, or NULL */
	const char *bytes;	/* utf8: the text; u32, u64: a number; else hex digits */
	const char *flink;
	const char *debezium;
} value_sample;

static const value_sample samples[] = {
	{"b", "boolean", NULL, "01", "true", "true"},
	{"l", "bigint", NULL, "0000000000000080", "-9223372036854775808", "-9223372036854775808"},
	{"g", "double precision", NULL, "000000000000f87f", "\"NaN\"", "\"NaN\""},
	{"g", "double precision", NULL, "000000000000f03f", "1", "1"},
	{"u", "text", NULL, "a\"\n\\", "\"a\\\"\\n\\\\\"", "\"a\\\"\\n\\\\\""},
	{"u", "text", NULL, "", "\"\"", "\"\""},
	{"u", "jsonb", NULL, "{\"a\": 1.10}", "\"{\\\"a\\\": 1.10}\"", "\"{\\\"a\\\": 1.10}\""},
	{"z", "bytea", NULL, "", "\"\"", "\"\""},
	{"z", "bytea", NULL, "00", "\"AA==\"", "\"AA==\""},
	{"z", "bytea", NULL, "0001", "\"AAE=\"", "\"AAE=\""},
	{"z", "bytea", NULL, "fffefd", "\"//79\"", "\"//79\""},
	{"w:16", "uuid", NULL, "00112233445566778899aabbccddeeff",
	 "\"00112233-4455-6677-8899-aabbccddeeff\"", "\"00112233-4455-6677-8899-aabbccddeeff\""},
	/* numeric_send: digits, weight, sign, scale, digits of base 10,000 */
	{"z", "numeric(10,2)", "numeric", "0002000000000002007b1194", "\"123.45\"", "\"MDk=\""},
	{"z", "numeric(10,2)", "numeric", "0002000040000002007b1194", "\"-123.45\"", "\"z8c=\""},
	{"z", "numeric(10,2)", "numeric", "0000000000000002", "\"0.00\"", "\"AA==\""},
	{"z", "numeric(10,0)", "numeric", "000100000000000000ff", "\"255\"", "\"AP8=\""},
	{"z", "numeric(10,0)", "numeric", "00010000400000000080", "\"-128\"", "\"gA==\""},
	{"z", "numeric", "numeric", "0002000000000002007b1194", "\"123.45\"",
	 "{\"scale\":2,\"value\":\"MDk=\"}"},
	{"z", "numeric", "numeric", "00000000c0000000", "\"NaN\"", "\"NaN\""},
	{"z", "numeric", "numeric", "00000000d0000000", "\"Infinity\"", "\"Infinity\""},
	{"u", "numeric", NULL, "18446744073709551616", "\"18446744073709551616\"",
	 "{\"scale\":0,\"value\":\"AQAAAAAAAAAA\"}"},
	{"d:10,2", "numeric(10,2)", NULL, "39300000000000000000000000000000", "\"123.45\"", "\"MDk=\""},
	{"z", "date", "date", "00000000", "\"2000-01-01\"", "10957"},
	{"z", "date", "date", "7fffffff", "\"infinity\"", "\"infinity\""},
	{"tdD", "date", NULL, "cd2a0000", "\"2000-01-01\"", "10957"},
	{"z", "time without time zone", "time", "0000000000000001", "\"00:00:00.000001\"", "1"},
	{"z", "time(3) without time zone", "time", "00000000000003e8", "\"00:00:00.001\"", "1"},
	{"z", "time without time zone", "time", "000000141dd76000", "\"24:00:00\"", "86400000000"},
	{"ttu", "time without time zone", NULL, "0100000000000000", "\"00:00:00.000001\"", "1"},
	{"z", "timestamp without time zone", "timestamp", "0000000000000001",
	 "\"2000-01-01 00:00:00.000001\"", "946684800000001"},
	{"z", "timestamp(3) without time zone", "timestamp", "00000000000003e8",
	 "\"2000-01-01 00:00:00.001\"", "946684800001"},
	{"z", "timestamp without time zone", "timestamp", "7fffffffffffffff", "\"infinity\"",
	 "9223372036825200000"},
	{"z", "timestamp without time zone", "timestamp", "8000000000000000", "\"-infinity\"",
	 "-9223372036832400000"},
	{"z", "timestamp without time zone", "timestamp", "7fffe29909c75fff",
	 "\"294275-12-31 23:59:59.999999\"", "\"294275-12-31 23:59:59.999999\""},
	{"tsu:", "timestamp without time zone", NULL, "0100000000000000",
	 "\"1970-01-01 00:00:00.000001\"", "1"},
	{"z", "timestamp with time zone", "timestamptz", "0000000000000001",
	 "\"2000-01-01 00:00:00.000001Z\"", "\"2000-01-01T00:00:00.000001Z\""},
	{"z", "timestamp with time zone", "timestamptz", "7fffffffffffffff", "\"infinity\"",
	 "\"infinity\""},
	{"tsu:UTC", "timestamp with time zone", NULL, "0000000000000000", "\"1970-01-01 00:00:00Z\"",
	 "\"1970-01-01T00:00:00Z\""},
	{"u", "time with time zone", NULL, "01:30:00.5+02", "\"01:30:00.5+02\"", "\"23:30:00.5Z\""},
	{"u", "time(3) with time zone", NULL, "23:30:00-01:30:15", "\"23:30:00-01:30:15\"",
	 "\"01:00:15Z\""},
	{"u", "interval", NULL, "1 year 2 mons -3 days +04:05:06.789",
	 "\"1 year 2 mons -3 days +04:05:06.789\"", "36572706789000"},
	{"u", "interval", NULL, "-00:00:01", "\"-00:00:01\"", "-1000000"},
	{"u", "interval", NULL, "00:00:00", "\"00:00:00\"", "0"},
	{"u", "interval", NULL, "infinity", "\"infinity\"", "\"infinity\""},
	{"tin", "interval", NULL, "0100000002000000e803000000000000",
	 "\"1 mon 2 days 00:00:00.000001\"", "2802600000001"},
	{"u", "money", NULL, "-$1,234.56", "\"-$1,234.56\"", "\"/h3A\""},
	{"u", "oid", NULL, "4294967295", "\"4294967295\"", "4294967295"},
	{"u", "bit(1)", NULL, "1", "\"1\"", "true"},
	{"u", "bit(12)", NULL, "100000000001", "\"100000000001\"", "\"AQg=\""},
	{"u", "bit varying(5)", NULL, "101", "\"101\"", "\"BQ==\""},
	{"u", "mood", NULL, "sad", "\"sad\"", "\"sad\""},
	{"u", "interval[]", NULL, "{1 day}", "\"{1 day}\"", "\"{1 day}\""},
	/* array_send: dimensions, flags, elements' type, size and lower bound of each, elements */
	{"z", "integer[]", "int4[]", "0000000100000001000000170000000200000001000000040000000affffffff",
	 "[10,null]", "[10,null]"},
	{"z", "integer[]", "int4[]", "000000000000000000000017", "[]", "[]"},
	{"z", "integer[]", "int4[]", "0000000100000000000000170000000100000000000000040000000a",
	 "\"[0:0]={10}\"", "\"[0:0]={10}\""},
	{"z", "integer[]", "int4[]",
	 "00000002000000000000001700000001000000010000000100000001000000040000000a", "[[10]]",
	 "[[10]]"},
	{"z", "text[]", "text[]", "0000000100000000000000190000000100000001000000022261", "[\"\\\"a\"]",
	 "[\"\\\"a\"]"},
	{"z", "jsonb[]", "jsonb[]", "00000001000000000000eda0000000010000000100000003017b7d",
	 "[\"{}\"]", "[\"{}\"]"},
	{"z", "numeric(4,1)[]", "numeric[]",
	 "0000000100000000000006a400000001000000010000000a00010000000000010001", "[\"1.0\"]",
	 "[\"Cg==\"]"},
	{"z", "date[]", "date[]", "00000001000000000000043a000000010000000100000004000000ff",
	 "[\"2000-09-12\"]", "[11212]"},
};

static uint8_t *
unhex(const char *hex, size_t *n)
{
	uint8_t *bytes = calloc(1, strlen(hex) / 2 + 1);

	*n = strlen(hex) / 2;
	for (size_t i = 0; i < *n; i++)
	{
		unsigned byte;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		bytes[i] = (uint8_t) byte;
	}
	return bytes;
}

/* A batch of one row and one column v. */
static void
make_value(const value_sample *s, struct ArrowSchema *schema, struct ArrowArray *array)
{
	const char *keys[] = {"penstock.type", "penstock.binary"};
	const char *values[] = {s->type, s->binary};
	bool variable = s->format[0] == 'u' || s->format[0] == 'z';
	pst_error err = PST_ERROR_INIT;
	size_t n = 0;
	uint8_t *bytes = s->format[0] == 'u' ? (uint8_t *) strdup(s->bytes) : unhex(s->bytes, &n);

	if (s->format[0] == 'u')
		n = strlen(s->bytes);
	assert_ok(psti_schema_init(schema, "+s", "", false, 1, &err), &err);
	assert_ok(psti_schema_init(schema->children[0], s->format, "v", true, 0, &err), &err);
	assert_ok(
		psti_schema_metadata(schema->children[0], s->binary != NULL ? 2 : 1, keys, values, &err),
		&err);
	assert_ok(psti_array_init(array, 1, 1, 1, &err), &err);
	assert_ok(psti_array_init(array->children[0], 1, variable ? 3 : 2, 0, &err), &err);
	if (variable)
	{
		int32_t *offsets = calloc(2, sizeof(*offsets));

		offsets[1] = (int32_t) n;
		psti_array_buffer(array->children[0], 1, offsets);
	}
	psti_array_buffer(array->children[0], variable ? 2 : 1, bytes);
}

static pst_encoder *
encoder_of(const struct ArrowSchema *schema, const char *style, const char *truncate)
{
	const char *keys[] = {"format", "json-values", "truncate", NULL};
	const char *values[] = {"debezium", style, truncate, NULL};
	pst_encoder *encoder = NULL;
	pst_error err = PST_ERROR_INIT;

	assert_ok(pst_encoder_new(keys, values, schema, &encoder, &err), &err);
	return encoder;
}

static void
check_value(const value_sample *s, bool debezium)
{
	pst_event event = PST_EVENT_INIT;
	pst_error err = PST_ERROR_INIT;
	psti_buf out = PSTI_BUF_INIT;
	psti_buf want = PSTI_BUF_INIT;
	struct ArrowSchema schema;
	pst_encoder *encoder;

	make_value(s, &schema, &event.rows.array);
	encoder = encoder_of(&schema, debezium ? "debezium" : "flink", NULL);
	assert_ok(pst_encoder_event(encoder, &event, collect, &out, &err), &err);
	psti_buf_printf(&want, "{\"before\":null,\"after\":{\"v\":%s},\"source\"",
					debezium ? s->debezium : s->flink);
	if (strncmp(out.data, want.data, want.len) != 0)
		fail_msg("%s, style %d: %s is not %s", s->type, debezium, out.data, want.data);
	pst_encoder_free(encoder);
	event.rows.array.release(&event.rows.array);
	schema.release(&schema);
	psti_buf_free(&out);
	psti_buf_free(&want);
}

static void
every_type_has_its_form_in_both_styles(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
	{
		check_value(&samples[i], false);
		check_value(&samples[i], true);
	}
}

static const value_sample wrong[] = {
	{"z", "date", "date", "000000", NULL, NULL},
	{"z", "numeric", "numeric", "0001", NULL, NULL},
	{"z", "timestamp with time zone", "timestamptz", "00", NULL, NULL},
	{"z", "integer[]", "int4[]", "00000001", NULL, NULL},
	{"z", "integer[]", "int4[]", "000000010000000000000017000000020000000100000004", NULL, NULL},
	{"z", "integer[]", "int4[]", "0000000100000000000000170000000000000001", NULL, NULL},
	{"z", "integer[]", "int4[]", "00000007000000000000001700000000", NULL, NULL},
};

static void
bytes_of_no_such_value_are_refused(void **state)
{
	(void) state;
	for (size_t i = 0; i < 2 * sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		pst_event event = PST_EVENT_INIT;
		pst_error err = PST_ERROR_INIT;
		psti_buf out = PSTI_BUF_INIT;
		struct ArrowSchema schema;
		pst_encoder *encoder;

		make_value(&wrong[i / 2], &schema, &event.rows.array);
		encoder = encoder_of(&schema, i % 2 == 0 ? "debezium" : "flink", NULL);
		assert_fails(pst_encoder_event(encoder, &event, collect, &out, &err), PST_ERR_DATA, &err);
		assert_string_equal(err.column, "v");
		assert_int_equal(out.len, 0);
		pst_encoder_free(encoder);
		event.rows.array.release(&event.rows.array);
		schema.release(&schema);
		psti_buf_free(&out);
	}
}

/* ---- Events ---- */

#define TABLE "\"db\":\"shop\",\"schema\":\"public\",\"table\":\"t\",\"ts_ms\":"
#define SOURCE                                                                                     \
	"\"source\":{\"version\":\"0.1.0\",\"connector\":\"postgresql\",\"name\":\"penstock\"," TABLE
#define STREAM                                                                                     \
	SOURCE "-1,\"snapshot\":\"false\",\"txId\":4294967297,\"lsn\":90,"                             \
		   "\"sequence\":\"[\\\"100\\\",\\\"90\\\"]\",\"commit_lsn\":100,\"seq\":7"
#define END(op) "},\"op\":\"" op "\",\"ts_ms\":N}\n"

/* The lines of an event, the time of their making being N. */
static pst_status
lines_of(pst_encoder *encoder, const pst_event *event, psti_buf *out, pst_error *err)
{
	static const char key[] = ",\"ts_ms\":";
	psti_buf raw = PSTI_BUF_INIT;
	pst_status status = pst_encoder_event(encoder, event, collect, &raw, err);
	const char *at = raw.data != NULL ? raw.data : "";

	for (char *line = raw.data; line != NULL && *line != '\0';)
	{
		char *end = strchr(line, '\n');
		char *last = NULL;
		psti_json *parsed = NULL;

		*end = '\0';
		assert_ok(psti_json_parse(line, &parsed, err), err);
		assert_true(psti_json_int(parsed, "ts_ms", 0) > INT64_C(1600000000000));
		psti_json_free(parsed);
		for (char *next = strstr(line, key); next != NULL; next = strstr(next + 1, key))
			last = next;
		*last = '\0';
		psti_buf_printf(out, "%s,\"ts_ms\":N}\n", line);
		line = end + 1;
	}
	(void) at;
	psti_buf_free(&raw);
	return status;
}

/* An event of rows whose arrays all rows share. */
static pst_event
event_of(test_rows *rows, bool snapshot)
{
	static const uint64_t commits[] = {100, 100, 100, 100};
	static const uint64_t xids[] = {4294967297, 4294967297, 4294967297, 4294967297};
	static const uint64_t sequences[] = {7, 7, 7, 7};
	static const uint64_t lsns[] = {90, 90, 90, 90};
	static const int64_t times[] = {-1, -1, -1, -1};
	pst_event event = PST_EVENT_INIT;

	event.kind = PST_EVENT_ROWS;
	event.database = "shop";
	event.schema_name = "public";
	event.table = "t";
	event.rows = rows->batch;
	event.rows.database = "shop";
	event.rows.schema_name = "public";
	event.rows.table = "t";
	event.rows.snapshot = snapshot;
	if (!snapshot)
	{
		event.rows.commit_lsn = commits;
		event.rows.xid = xids;
		event.rows.sequence = sequences;
		event.rows.lsn = lsns;
		event.rows.op_ts = times;
	}
	return event;
}

typedef struct row_sample
{
	const char *rows[4];
	bool key_told; /* that a is the key */
	const char *lines;
} row_sample;

static const row_sample changes[] = {
	{{"+I 1|x|y"},
	 true,
	 "{\"before\":null,\"after\":{\"a\":1,\"b\":\"x\",\"c\":\"y\"}," STREAM END("c")},
	{{"+U 1|x|~"},
	 true,
	 "{\"before\":null,\"after\":{\"a\":1,\"b\":\"x\",\"c\":null}," STREAM END("u")},
	{{"+U 1|x|="},
	 true,
	 "{\"before\":null,\"after\":{\"a\":1,\"b\":\"x\"}," STREAM ",\"unchanged\":[\"c\"]" END("u")},
	{{"+U 1|=|="},
	 true,
	 "{\"before\":null,\"after\":{\"a\":1}," STREAM ",\"unchanged\":[\"b\",\"c\"]" END("u")},
	{{"-U 1|x|y", "+U 1|z|y"},
	 true,
	 "{\"before\":{\"a\":1,\"b\":\"x\",\"c\":\"y\"},\"after\":{\"a\":1,\"b\":\"z\",\"c\":\"y\"}"
	 "," STREAM END("u")},
	/* The key's old values alone: it has changed. */
	{{"-U 1|=|=", "+U 2|x|y"},
	 false,
	 "{\"before\":{\"a\":1},\"after\":null," STREAM END(
		 "d") "{\"before\":null,\"after\":{\"a\":2,\"b\":\"x\",\"c\":\"y\"}," STREAM END("c")},
	/* The whole old row: so it is seen when the key is known … */
	{{"-U 1|x|y", "+U 2|x|y"},
	 true,
	 "{\"before\":{\"a\":1,\"b\":\"x\",\"c\":\"y\"},\"after\":null," STREAM END(
		 "d") "{\"before\":null,\"after\":{\"a\":2,\"b\":\"x\",\"c\":\"y\"}," STREAM END("c")},
	/* … and a table without one has rows that have changed. */
	{{"-U 1|x|y", "+U 2|x|y"},
	 false,
	 "{\"before\":{\"a\":1,\"b\":\"x\",\"c\":\"y\"},\"after\":{\"a\":2,\"b\":\"x\",\"c\":\"y\"}"
	 "," STREAM END("u")},
	{{"-D 1|=|="}, true, "{\"before\":{\"a\":1},\"after\":null," STREAM END("d")},
	{{"-D 1|x|~"},
	 true,
	 "{\"before\":{\"a\":1,\"b\":\"x\",\"c\":null},\"after\":null," STREAM END("d")},
	{{"+I 1|x|y", "-D 1|=|="},
	 true,
	 "{\"before\":null,\"after\":{\"a\":1,\"b\":\"x\",\"c\":\"y\"}," STREAM END(
		 "c") "{\"before\":{\"a\":1},\"after\":null," STREAM END("d")},
};

static void
tell_key(pst_encoder *encoder)
{
	static const char *const key[] = {"a", NULL};
	pst_event event = PST_EVENT_INIT;
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	event.kind = PST_EVENT_SCHEMA;
	event.key = key;
	assert_ok(pst_encoder_event(encoder, &event, collect, &out, &err), &err);
	assert_int_equal(out.len, 0);
}

static void
each_change_of_a_row_is_the_line_of_its_op(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
	{
		const row_sample *s = &changes[i];
		psti_buf out = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;
		test_rows rows;
		pst_encoder *encoder;
		pst_event event;

		rows_make(&rows, "a:l,b:u,c:u", s->rows[0], s->rows[1], s->rows[2], NULL);
		event = event_of(&rows, false);
		encoder = encoder_of(&rows.schema, NULL, NULL);
		if (s->key_told)
			tell_key(encoder);
		assert_ok(lines_of(encoder, &event, &out, &err), &err);
		assert_string_equal(out.data, s->lines);
		pst_encoder_free(encoder);
		rows_free(&rows);
		psti_buf_free(&out);
	}
}

static void
rows_of_a_snapshot_are_read(void **state)
{
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	test_rows rows;
	pst_encoder *encoder;
	pst_event event;

	(void) state;
	rows_make(&rows, "a:l", "1", NULL);
	event = event_of(&rows, true);
	event.rows.op_ts = (const int64_t[]){1700000000123456};
	encoder = encoder_of(&rows.schema, NULL, NULL);
	assert_ok(lines_of(encoder, &event, &out, &err), &err);
	assert_string_equal(out.data, "{\"before\":null,\"after\":{\"a\":1}," SOURCE
								  "1700000000123,\"snapshot\":\"true\"" END("r"));
	pst_encoder_free(encoder);
	rows_free(&rows);
	psti_buf_free(&out);
}

static void
an_old_row_without_its_new_one_is_refused(void **state)
{
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	test_rows rows;
	pst_encoder *encoder;
	pst_event event;

	(void) state;
	rows_make(&rows, "a:l", "+I 1", "-U 1", NULL);
	event = event_of(&rows, false);
	encoder = encoder_of(&rows.schema, NULL, NULL);
	assert_fails(pst_encoder_event(encoder, &event, collect, &out, &err), PST_ERR_INVALID, &err);
	assert_int_equal(err.row, 1);
	assert_int_equal(out.len, 0);
	pst_encoder_free(encoder);
	rows_free(&rows);
}

/* TRUNCATE, RESET and MESSAGE. */
static pst_event
table_event(pst_event_kind kind)
{
	pst_event event = PST_EVENT_INIT;

	event.kind = kind;
	event.database = "shop";
	event.schema_name = kind == PST_EVENT_MESSAGE ? NULL : "public";
	event.table = kind == PST_EVENT_MESSAGE ? NULL : "t";
	event.commit_lsn = 100;
	event.xid = 4294967297;
	event.sequence = 7;
	event.lsn = 90;
	event.op_ts = -1000;
	event.reason = "Its file was replaced.";
	event.prefix = "app";
	event.content = "\0\1";
	event.content_bytes = 2;
	return event;
}

static void
what_is_no_row_has_its_line_or_none(void **state)
{
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;
	pst_encoder *encoder;
	pst_event event = table_event(PST_EVENT_TRUNCATE);

	(void) state;
	rows_schema(&schema, "a:l");
	encoder = encoder_of(&schema, NULL, NULL);
	assert_ok(lines_of(encoder, &event, &out, &err), &err);
	assert_string_equal(out.data, "{\"before\":null,\"after\":null," STREAM END("t"));

	psti_buf_reset(&out);
	event = table_event(PST_EVENT_RESET);
	event.commit_lsn = event.xid = event.sequence = event.lsn = 0;
	event.op_ts = 1700000000000000;
	assert_ok(lines_of(encoder, &event, &out, &err), &err);
	assert_string_equal(out.data, "{\"before\":null,\"after\":null," SOURCE
								  "1700000000000,\"snapshot\":\"reset\"" END("t"));

	psti_buf_reset(&out);
	event = table_event(PST_EVENT_MESSAGE);
	assert_ok(lines_of(encoder, &event, &out, &err), &err);
	assert_contains(out.data, "{\"before\":null,\"after\":null,\"message\":{\"prefix\":\"app\","
							  "\"content\":\"AAE=\"},\"source\":{");
	assert_contains(out.data, "\"schema\":\"\",\"table\":\"\"");
	assert_contains(out.data, END("m"));

	psti_buf_reset(&out);
	for (int kind = PST_EVENT_CLEAR_RANGE; kind <= PST_EVENT_PROGRESS; kind++)
	{
		event = table_event((pst_event_kind) kind);
		if (kind != PST_EVENT_MESSAGE)
			assert_ok(lines_of(encoder, &event, &out, &err), &err);
	}
	assert_int_equal(out.len, 0);
	pst_encoder_free(encoder);
	schema.release(&schema);
	psti_buf_free(&out);
}

static void
truncate_decides_what_becomes_of_an_emptied_table(void **state)
{
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	struct ArrowSchema schema;
	pst_encoder *encoder;
	pst_event event = table_event(PST_EVENT_TRUNCATE);

	(void) state;
	rows_schema(&schema, "a:l");
	encoder = encoder_of(&schema, NULL, "skip");
	assert_ok(lines_of(encoder, &event, &out, &err), &err);
	assert_int_equal(out.len, 0);
	pst_encoder_free(encoder);

	encoder = encoder_of(&schema, NULL, "fail");
	assert_fails(lines_of(encoder, &event, &out, &err), PST_ERR_UNSUPPORTED, &err);
	assert_string_equal(err.message, "table public.t was truncated, and truncate = fail");
	event = table_event(PST_EVENT_RESET);
	assert_fails(lines_of(encoder, &event, &out, &err), PST_ERR_UNSUPPORTED, &err);
	assert_string_equal(err.detail, "Its file was replaced.");
	pst_encoder_free(encoder);
	schema.release(&schema);
}

static void
events_and_rows_have_formats_of_their_own(void **state)
{
	const char *keys[] = {"format", NULL};
	const char *values[] = {"debezium", NULL};
	pst_event event = table_event(PST_EVENT_TRUNCATE);
	text_input in = input_of("{}");
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	pst_decoder *decoder;
	pst_encoder *encoder;
	test_rows rows;

	(void) state;
	rows_make(&rows, "a:l", "1", NULL);
	encoder = encoder_of(&rows.schema, NULL, NULL);
	assert_fails(pst_encoder_write(encoder, &rows.batch.array, collect, &out, &err),
				 PST_ERR_INVALID, &err);
	pst_encoder_free(encoder);
	assert_fails(pst_decoder_new(keys, values, NULL, read_text, &in, &decoder, &err),
				 PST_ERR_INVALID, &err);
	values[0] = "json";
	assert_ok(pst_encoder_new(keys, values, &rows.schema, &encoder, &err), &err);
	assert_fails(pst_encoder_event(encoder, &event, collect, &out, &err), PST_ERR_INVALID, &err);
	pst_encoder_free(encoder);
	rows_free(&rows);
}

static pst_status
encode_for_sweep(void *ctx, pst_error *err)
{
	const char *keys[] = {"format", "json-values", NULL};
	const char *values[] = {"debezium", "debezium", NULL};
	static const char *const key[] = {"a", NULL};
	test_rows *rows = ctx;
	pst_event event = event_of(rows, false);
	pst_event told = PST_EVENT_INIT;
	pst_encoder *encoder;
	psti_buf out = PSTI_BUF_INIT;
	pst_status status;

	told.kind = PST_EVENT_SCHEMA;
	told.key = key;
	psti_buf_reserve(&out, 4096);
	status = out.failed ? psti_fail_nomem(err)
						: pst_encoder_new(keys, values, &rows->schema, &encoder, err);
	if (status == PST_OK)
	{
		status = pst_encoder_event(encoder, &told, collect, &out, err);
		if (status == PST_OK)
			status = pst_encoder_event(encoder, &event, collect, &out, err);
		pst_encoder_free(encoder);
	}
	psti_buf_free(&out);
	return status;
}

static void
each_failing_allocation_is_told(void **state)
{
	test_rows rows;

	(void) state;
	rows_make(&rows, "a:l,b:u,c:d:30,2", "-U 1|x|1.00", "+U 2|y|12345678901234567890.12", NULL);
	assert_true(psti_test_alloc_sweep(encode_for_sweep, &rows) > 5);
	rows_free(&rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_has_its_form_in_both_styles),
		cmocka_unit_test(bytes_of_no_such_value_are_refused),
		cmocka_unit_test(each_change_of_a_row_is_the_line_of_its_op),
		cmocka_unit_test(rows_of_a_snapshot_are_read),
		cmocka_unit_test(an_old_row_without_its_new_one_is_refused),
		cmocka_unit_test(what_is_no_row_has_its_line_or_none),
		cmocka_unit_test(truncate_decides_what_becomes_of_an_emptied_table),
		cmocka_unit_test(events_and_rows_have_formats_of_their_own),
		cmocka_unit_test(each_failing_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
