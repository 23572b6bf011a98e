/* pgbinary_test.c - fields that hold PostgreSQL's own binary form: printed, encoded, given a column. */
#include "codec_io.h"

#include "catalog_ddl.h"
#include "pgbinary.h"
#include "sink.h"

/* An int4[] of bounds [0:1] with {1,NULL}; its last byte but twelve is the element's type. */
#define INT_ARRAY "\0\0\0\1\0\0\0\1\0\0\0\27\0\0\0\2\0\0\0\0\0\0\0\4\0\0\0\1\377\377\377\377"
#define NAN_NUMERIC "\0\0\0\0\300\0\0\0"

typedef struct sample
{
	const char *binary; /* the metadata */
	const char *bytes;
	int nbytes;
	const char *csv; /* of a row, NULL: an error */
	const char *json;
} sample;

static const sample samples[] = {
	{"date", "\177\377\377\377", 4, "infinity", "\"infinity\""},
	{"date", "\0\0\0\0", 4, "2000-01-01", "\"2000-01-01\""},
	{"date", "\0\0\0", 3, NULL, NULL},
	{"numeric", NAN_NUMERIC, 8, "NaN", "\"NaN\""},
	{"numeric", NAN_NUMERIC, 7, NULL, NULL},
	{"time", "\0\0\0\24\35\327\140\0", 8, "24:00:00", "\"24:00:00\""},
	{"timestamp", "\200\0\0\0\0\0\0\0", 8, "-infinity", "\"-infinity\""},
	{"timestamptz", "\0\0\0\0\0\0\0\0", 8, "2000-01-01 00:00:00+00",
	 "\"2000-01-01T00:00:00+00:00\""},
	{"int4[]", INT_ARRAY, 32, "\"[0:1]={1,NULL}\"", "\"[0:1]={1,NULL}\""},
	{"int4[]", INT_ARRAY, 31, NULL, NULL},
	{"text[]", "\0\0\0\0\0\0\0\0\0\0\0\31", 12, "{}", "[]"},
	/* names of nothing: bytes */
	{"interval", "\0", 1, "\\x00", "\"\\\\x00\""},
	{"no such type", "\0", 1, "\\x00", "\"\\\\x00\""},
	{"[]", "\0", 1, "\\x00", "\"\\\\x00\""},
	{"", "\0", 1, "\\x00", "\"\\\\x00\""},
};

/* A batch of one column c of format z, with one row. */
static void
make(const char *binary, const char *type, const char *bytes, int nbytes,
	 struct ArrowSchema *schema, struct ArrowArray *array)
{
	const char *keys[] = {"penstock.binary", "penstock.type"};
	const char *values[] = {binary, type};
	int32_t *offsets = malloc(2 * sizeof(*offsets));
	char *data = malloc((size_t) nbytes + 1);
	pst_error err = PST_ERROR_INIT;

	offsets[0] = 0;
	offsets[1] = nbytes;
	memcpy(data, bytes, (size_t) nbytes);
	assert_ok(psti_schema_init(schema, "+s", "", false, 1, &err), &err);
	assert_ok(psti_schema_init(schema->children[0], "z", "c", true, 0, &err), &err);
	assert_ok(psti_schema_metadata(schema->children[0], type != NULL ? 2 : 1, keys, values, &err),
			  &err);
	assert_ok(psti_array_init(array, 1, 1, 1, &err), &err);
	assert_ok(psti_array_init(array->children[0], 1, 3, 0, &err), &err);
	psti_array_buffer(array->children[0], 1, offsets);
	psti_array_buffer(array->children[0], 2, data);
}

static void
encoders_print_what_the_bytes_mean(void **state)
{
	(void) state;
	for (size_t i = 0; i < 2 * sizeof(samples) / sizeof(samples[0]); i++)
	{
		const sample *s = &samples[i / 2];
		bool json = i % 2 != 0;
		const char *keys[] = {"format", "csv.header", NULL};
		const char *values[] = {json ? "json" : "csv", "false", NULL};
		struct ArrowSchema schema;
		struct ArrowArray array;
		psti_buf out = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;
		pst_status status;
		char want[128];

		make(s->binary, NULL, s->bytes, s->nbytes, &schema, &array);
		status = encode_with(keys, values, &schema, &array, &out, &err);
		snprintf(want, sizeof(want), json ? "{\"c\":%s}\n" : "%s\n", json ? s->json : s->csv);
		if (s->csv == NULL)
		{
			assert_fails(status, PST_ERR_DATA, &err);
			assert_string_equal(err.column, "c");
			assert_contains(err.message, s->binary);
		}
		else
		{
			assert_ok(status, &err);
			assert_string_equal(out.data, want);
		}
		psti_buf_free(&out);
		array.release(&array);
		schema.release(&schema);
	}
}

/* Encodes the one value for a column of this type; the field, its length included. */
static bool
encode(const struct ArrowSchema *schema, const struct ArrowArray *array, psti_type type,
	   bool binary_arrays, psti_buf *out)
{
	psti_column target = {.name = (char *) "c", .type = type};
	psti_sink_column column = {.target = &target, .schema = schema->children[0]};
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_encode_choose(&column, binary_arrays, &err), &err);
	assert_ok(column.encode(&column, array->children[0], 0, out, &err), &err);
	return column.text;
}

static psti_type
type_of(Oid oid, Oid element)
{
	return (psti_type){.oid = oid,
					   .base = oid,
					   .typtype = 'b',
					   .elem = element,
					   .elem_base = element,
					   .name = (char *) "its type"};
}

static void
a_column_of_the_same_type_gets_the_bytes(void **state)
{
	struct ArrowSchema schema;
	struct ArrowArray array;
	psti_buf out = PSTI_BUF_INIT;

	(void) state;
	make("numeric", NULL, NAN_NUMERIC, 8, &schema, &array);
	assert_false(encode(&schema, &array, type_of(1700, 0), true, &out));
	assert_int_equal(out.len, 12);
	assert_memory_equal(out.data, "\0\0\0\10" NAN_NUMERIC, 12);
	psti_buf_reset(&out);
	assert_true(encode(&schema, &array, type_of(701, 0), true, &out));
	assert_memory_equal(out.data, "\0\0\0\3NaN", 7);
	/* bytea has a binary form of its own, which these bytes are not. */
	psti_buf_reset(&out);
	assert_true(encode(&schema, &array, type_of(17, 0), true, &out));
	psti_buf_free(&out);
	array.release(&array);
	schema.release(&schema);
}

static void
an_array_gets_the_targets_element_type(void **state)
{
	psti_type of_domain = type_of(70001, 70000);
	struct ArrowSchema schema;
	struct ArrowArray array;
	psti_buf out = PSTI_BUF_INIT;

	(void) state;
	of_domain.elem_base = 23;
	make("int4[]", NULL, INT_ARRAY, 32, &schema, &array);
	assert_false(encode(&schema, &array, of_domain, true, &out));
	assert_int_equal(out.len, 36);
	assert_memory_equal(out.data + 12, "\0\1\21\160", 4); /* 70000 */
	assert_memory_equal(out.data + 16, &INT_ARRAY[12], 20);
	psti_buf_reset(&out);
	assert_true(encode(&schema, &array, type_of(1007, 23), false, &out));
	assert_memory_equal(out.data, "\0\0\0\16[0:1]={1,NULL}", 18);
	psti_buf_reset(&out);
	assert_true(encode(&schema, &array, type_of(1016, 20), true, &out));
	psti_buf_free(&out);
	array.release(&array);
	schema.release(&schema);
}

static void
an_array_cut_in_its_header_is_refused(void **state)
{
	psti_column target = {.name = (char *) "c", .type = type_of(1007, 23)};
	psti_sink_column column = {.target = &target};
	struct ArrowSchema schema;
	struct ArrowArray array;
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make("int4[]", NULL, INT_ARRAY, 11, &schema, &array);
	column.schema = schema.children[0];
	assert_ok(psti_encode_choose(&column, true, &err), &err);
	assert_fails(column.encode(&column, array.children[0], 0, &out, &err), PST_ERR_DATA, &err);
	assert_string_equal(err.column, "c");
	psti_buf_free(&out);
	array.release(&array);
	schema.release(&schema);
}

static void
a_column_made_for_it_has_its_type(void **state)
{
	static const char *const cases[][3] = {
		{"date", NULL, "date"},
		{"numeric", "numeric(5,2)", "numeric(5,2)"},
		{"numeric", "numeric", "numeric"},
		{"numeric", "price", "numeric"},
		{"timestamptz[]", NULL, "timestamptz[]"},
		{"interval", NULL, "bytea"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		struct ArrowSchema schema;
		struct ArrowArray array;
		psti_buf ddl = PSTI_BUF_INIT;
		pst_error err = PST_ERROR_INIT;

		make(cases[i][0], cases[i][1], "", 0, &schema, &array);
		assert_ok(psti_type_of_field(schema.children[0], &ddl, &err), &err);
		assert_string_equal(ddl.data, cases[i][2]);
		psti_buf_free(&ddl);
		array.release(&array);
		schema.release(&schema);
	}
}

static void
every_name_reads_back(void **state)
{
	static const uint32_t oids[] = {16,	  17,	19,	  20,	21,	  23,	25,	  114,	700, 701,
									1042, 1043, 1082, 1083, 1114, 1184, 1700, 2950, 3802};

	(void) state;
	for (size_t i = 0; i < 2 * sizeof(oids) / sizeof(oids[0]); i++)
	{
		struct ArrowSchema schema;
		struct ArrowArray array;
		psti_buf name = PSTI_BUF_INIT;
		psti_arrow_type type;

		assert_true(psti_pgbinary_name(oids[i / 2], i % 2, &name));
		make(name.data, NULL, "", 0, &schema, &array);
		type = psti_pgbinary_field(schema.children[0]);
		assert_int_equal(type.pg_type, oids[i / 2]);
		assert_int_equal(type.pg_array, i % 2);
		psti_buf_free(&name);
		array.release(&array);
		schema.release(&schema);
	}
	assert_false(psti_pgbinary_name(1186, false, NULL));
	assert_false(psti_pgbinary_name(0, false, NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoders_print_what_the_bytes_mean),
		cmocka_unit_test(a_column_of_the_same_type_gets_the_bytes),
		cmocka_unit_test(an_array_gets_the_targets_element_type),
		cmocka_unit_test(an_array_cut_in_its_header_is_refused),
		cmocka_unit_test(a_column_made_for_it_has_its_type),
		cmocka_unit_test(every_name_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
