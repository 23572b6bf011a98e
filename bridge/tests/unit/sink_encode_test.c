/* sink_encode_test.c - Arrow values as binary COPY fields and text COPY lines: golden bytes. */
#include "test.h"

#include "alloc.h"
#include "rows.h"
#include "sink.h"

static psti_column target;
static psti_sink_column column;
static psti_sink_plan plan;

/* A plan of one column of this type; NULL key bytes mean no key. */
static void
make_plan(const struct ArrowSchema *schema, Oid base, char typtype, bool key)
{
	pst_error err = PST_ERROR_INIT;

	target = (psti_column){.name = (char *) "c"};
	target.type = (psti_type){.oid = base, .base = base, .typtype = typtype, .typmod = -1};
	target.type.base_typmod = -1;
	target.type.name = target.type.bare_name = (char *) "its type";
	free(column.item);
	column = (psti_sink_column){.target = &target, .schema = schema->children[0], .key = key};
	plan = (psti_sink_plan){.columns = &column, .ncolumns = 1, .nkey = key ? 1 : 0};
	assert_ok(psti_encode_choose(&column, true, &err), &err);
}

static void
assert_hex(const psti_buf *bytes, const char *want)
{
	char got[512] = "";

	for (size_t i = 0; i < bytes->len && i < 250; i++)
		snprintf(got + 2 * i, 3, "%02x", (uint8_t) bytes->data[i]);
	assert_string_equal(got, want);
}

/* --- fixed-width values -------------------------------------------------------------------------- */

typedef struct value_case
{
	const char *format;
	Oid oid;
	const char *value; /* as rows.h reads it */
	const char *want;  /* hex of the field behind its row header, or a SQLSTATE after '!' */
} value_case;

static const value_case values[] = {
	{"l", 20, "1", "000000080000000000000001"},
	{"l", 20, "-2", "00000008fffffffffffffffe"},
	{"i", 20, "-1", "00000008ffffffffffffffff"},
	{"l", 23, "2147483647", "000000047fffffff"},
	{"l", 23, "2147483648", "!22003"},
	{"i", 21, "-32768", "000000028000"},
	{"i", 21, "32768", "!22003"},
	{"b", 16, "t", "0000000101"},
	{"b", 16, "f", "0000000100"},
	{"g", 701, "1.5", "000000083ff8000000000000"},
	{"d:10,2", 1700, "-12.34", "0000000c000200004000000200 0c0d48"},
	{"d:10,2", 1700, "0",
	 "0000000800000000"
	 "00000002"},
	{"tdD", 1082, "0", "00000004ffffd533"},
	{"tdD", 1082, "10957", "0000000400000000"},
	{"tdD", 1082, "2147483647", "!22008"},
	{"ttu", 1083, "86400000000", "00000008000000141dd76000"},
	{"ttu", 1083, "86400000001", "!22008"},
	{"ttn", 1083, "1000", "000000080000000000000001"},
	{"ttn", 1083, "1001", "!22008"},
	{"tss:", 1114, "946684801", "0000000800000000000f4240"},
	{"tsm:UTC", 1184, "946684800001", "0000000800000000000003e8"},
	{"tsu:", 1114, "946684800000001", "000000080000000000000001"},
	{"tsn:", 1114, "946684800000001000", "000000080000000000000001"},
	{"tsn:", 1114, "946684800000001001", "!22008"},
	{"tss:", 1114, "9223372036854775807", "!22008"},
	{"tsu:", 1114, "-9223372036854775808", "!22008"},
	{"u", 25, "ab", "000000026162"},
	{"u", 25, "", "00000000"},
	{"u", 3802, "{}", "00000003017b7d"},
	{"u", 25, "~", "ffffffff"},
};

static void
values_have_the_servers_binary_form(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		psti_buf bytes = PSTI_BUF_INIT;
		bool partial;
		char columns[32];
		char want[128] = "0001";
		char *to = want + 4;
		test_rows r;

		snprintf(columns, sizeof(columns), "c:%s", values[i].format);
		rows_make(&r, columns, values[i].value, NULL);
		make_plan(&r.schema, values[i].oid, 'b', false);
		assert_false(column.text);
		if (values[i].want[0] == '!')
		{
			assert_true(psti_encode_row(&plan, &r.batch.array, 0, 1, NULL, &bytes, &partial, &err) <
						0);
			assert_string_equal(err.sqlstate, values[i].want + 1);
			assert_string_equal(err.column, "c");
			assert_int_equal(bytes.len, 0);
		}
		else
		{
			for (const char *from = values[i].want; *from != '\0'; from++)
			{
				if (*from != ' ')
					*to++ = *from;
			}
			*to = '\0';
			assert_ok(psti_encode_row(&plan, &r.batch.array, 0, 1, NULL, &bytes, &partial, &err),
					  &err);
			assert_hex(&bytes, want);
		}
		psti_buf_free(&bytes);
		rows_free(&r);
	}
}

/* --- keys that come as text ------------------------------------------------------------------------ */

static const value_case keys[] = {
	{"u", 20, "12", "00000008000000000000000c"},
	{"u", 20, " -9223372036854775808 ", "000000088000000000000000"},
	{"u", 20, "9223372036854775808", "!22P02"},
	{"u", 23, "+07", "0000000400000007"},
	{"u", 23, "1x", "!22P02"},
	{"u", 23, "", "!22P02"},
	{"u", 23, "-", "!22P02"},
	{"u", 23, "2147483648", "!22003"},
	{"u", 21, "-1", "00000002ffff"},
	{"u", 2950, "00112233-4455-6677-8899-aABBccddeeff", "0000001000112233445566778899aabbccddeeff"},
	{"u", 2950, "{00112233445566778899aabbccddeeff}", "0000001000112233445566778899aabbccddeeff"},
	{"u", 2950, "0011-2233-4455-6677-8899-aabb-ccdd-eeff",
	 "0000001000112233445566778899aabbccddeeff"},
	{"u", 2950, "00112233-4455-6677-8899-aabbccddeef", "!22P02"},
	{"u", 2950, "00112233-4455-6677-8899-aabbccddeeff0", "!22P02"},
	{"u", 2950, "001-12233-4455-6677-8899-aabbccddeeff", "!22P02"},
	{"u", 1042, "a b  ", "00000003612062"},
	{"u", 25, "~", "!23502"},
};

static void
equal_keys_have_equal_bytes(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		psti_buf bytes = PSTI_BUF_INIT;
		char want[128];
		bool partial;
		test_rows r;

		rows_make(&r, "c:u", keys[i].value, NULL);
		make_plan(&r.schema, keys[i].oid, 'b', true);
		if (keys[i].want[0] == '!')
		{
			assert_true(psti_encode_row(&plan, &r.batch.array, 0, 1, NULL, &bytes, &partial, &err) <
						0);
			assert_string_equal(err.sqlstate, keys[i].want + 1);
		}
		else
		{
			snprintf(want, sizeof(want), "0001%s", keys[i].want);
			assert_ok(psti_encode_row(&plan, &r.batch.array, 0, 1, NULL, &bytes, &partial, &err),
					  &err);
			assert_hex(&bytes, want);
		}
		psti_buf_free(&bytes);
		rows_free(&r);
	}
}

/* --- lists, offsets, unchanged values ----------------------------------------------------------------- */

static void
lists_are_arrays_of_one_dimension(void **state)
{
	pst_error err = PST_ERROR_INIT;
	psti_buf bytes = PSTI_BUF_INIT;
	bool partial;
	test_rows r;

	(void) state;
	rows_make(&r, "c:L", "a ~", "", "~", NULL);
	target.type.elem = 0;
	make_plan(&r.schema, 1009, 'b', false);
	assert_true(column.text); /* its element is not known: as text */
	target.type.elem = target.type.elem_base = 25;
	column = (psti_sink_column){.target = &target, .schema = r.schema.children[0]};
	assert_ok(psti_encode_choose(&column, true, &err), &err);
	assert_ok(psti_encode_row(&plan, &r.batch.array, 0, 1, NULL, &bytes, &partial, &err), &err);
	assert_hex(&bytes, "0001"
					   "0000001d"
					   "00000001"
					   "00000001"
					   "00000019"
					   "00000002"
					   "00000001"
					   "0000000161"
					   "ffffffff");
	bytes.len = 0;
	assert_ok(psti_encode_row(&plan, &r.batch.array, 1, 1, NULL, &bytes, &partial, &err), &err);
	assert_hex(&bytes, "00010000000c000000000000000000000019");
	/* Offsets that run backwards are refused. */
	((int32_t *) (uintptr_t) r.batch.array.children[0]->buffers[1])[1] = -5;
	assert_fails(psti_encode_row(&plan, &r.batch.array, 0, 1, NULL, &bytes, &partial, &err),
				 PST_ERR_DATA, &err);
	psti_buf_free(&bytes);
	free(column.item);
	column.item = NULL;
	rows_free(&r);
}

static void
offsets_of_batch_and_column_count(void **state)
{
	pst_error err = PST_ERROR_INIT;
	psti_buf bytes = PSTI_BUF_INIT;
	bool partial;
	test_rows r;

	(void) state;
	rows_make(&r, "c:l", "1", "2", "3", "4", NULL);
	make_plan(&r.schema, 20, 'b', false);
	r.batch.array.offset = 1;
	r.batch.array.length = 2;
	r.batch.array.children[0]->offset = 1;
	r.batch.array.children[0]->length = 3;
	assert_ok(psti_encode_row(&plan, &r.batch.array, 1, 1, NULL, &bytes, &partial, &err), &err);
	assert_hex(&bytes, "0001000000080000000000000004");
	psti_buf_free(&bytes);
	rows_free(&r);
}

static void
unchanged_values_are_marked_and_never_part_of_a_key(void **state)
{
	pst_error err = PST_ERROR_INIT;
	psti_buf bytes = PSTI_BUF_INIT;
	bool partial;
	test_rows r;

	(void) state;
	rows_make(&r, "c:l", "1", "=", NULL);
	make_plan(&r.schema, 20, 'b', false);
	assert_ok(
		psti_encode_row(&plan, &r.batch.array, 1, 1, r.batch.unchanged, &bytes, &partial, &err),
		&err);
	assert_true(partial);
	assert_hex(&bytes, "0001fffffffe");
	make_plan(&r.schema, 20, 'b', true);
	assert_fails(
		psti_encode_row(&plan, &r.batch.array, 1, 1, r.batch.unchanged, &bytes, &partial, &err),
		PST_ERR_CONSTRAINT, &err);
	psti_buf_free(&bytes);
	rows_free(&r);
}

static void
lines_of_text_copy_escape_what_has_a_meaning(void **state)
{
	pst_error err = PST_ERROR_INIT;
	psti_buf bytes = PSTI_BUF_INIT;
	bool partial;
	test_rows r;

	(void) state;
	rows_make(&r, "c:u", "a\tb\\c\nd\re", "~", "plain", "\\N", NULL);
	make_plan(&r.schema, 869, 'b', false);
	assert_true(column.text);
	plan.copy_text = true;
	for (int i = 0; i < 4; i++)
		assert_ok(psti_encode_row(&plan, &r.batch.array, i, 1, NULL, &bytes, &partial, &err), &err);
	psti_buf_putc(&bytes, '\0');
	assert_string_equal(bytes.data, "a\\tb\\\\c\\nd\\re\n\\N\nplain\n\\\\N\n");
	psti_buf_free(&bytes);
	rows_free(&r);
}

/* --- memory ---------------------------------------------------------------------------------------------- */

static pst_status
encode_all(void *ctx, pst_error *err)
{
	const test_rows *r = ctx;
	psti_buf bytes = PSTI_BUF_INIT;
	bool partial;
	pst_status status = PST_OK;

	for (int64_t i = 0; status == PST_OK && i < r->batch.array.length; i++)
		status = psti_encode_row(&plan, &r->batch.array, i, 1, NULL, &bytes, &partial, err);
	psti_buf_free(&bytes);
	return status;
}

static void
a_failed_allocation_is_told_and_leaks_nothing(void **state)
{
	static const struct
	{
		const char *columns;
		Oid oid;
	} cases[] = {{"c:u", 25}, {"c:u", 869}, {"c:u", 3802}, {"c:l", 20}};

	(void) state;
	for (size_t i = 0; i < 4; i++)
	{
		test_rows r;

		rows_make(&r, cases[i].columns, "1", "2", "3", NULL);
		make_plan(&r.schema, cases[i].oid, 'b', false);
		assert_true(psti_test_alloc_sweep(encode_all, &r) >= 1);
		rows_free(&r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_have_the_servers_binary_form),
		cmocka_unit_test(equal_keys_have_equal_bytes),
		cmocka_unit_test(lists_are_arrays_of_one_dimension),
		cmocka_unit_test(offsets_of_batch_and_column_count),
		cmocka_unit_test(unchanged_values_are_marked_and_never_part_of_a_key),
		cmocka_unit_test(lines_of_text_copy_escape_what_has_a_meaning),
		cmocka_unit_test(a_failed_allocation_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
