/* arrow_check_test.c - formats, and arrays that are not what their schema says. */
#include "test.h"

#include "arrow_check.h"
#include "arrow_type.h"
#include "arrow_walk.h"

typedef struct format_case
{
	const char *format;
	psti_arrow_type want;
} format_case;

static const format_case formats[] = {
	{"n", {.kind = PSTI_ARROW_NULL}},
	{"b", {.kind = PSTI_ARROW_BOOL}},
	{"c", {.kind = PSTI_ARROW_INT8}},
	{"C", {.kind = PSTI_ARROW_UINT8}},
	{"s", {.kind = PSTI_ARROW_INT16}},
	{"S", {.kind = PSTI_ARROW_UINT16}},
	{"i", {.kind = PSTI_ARROW_INT32}},
	{"I", {.kind = PSTI_ARROW_UINT32}},
	{"l", {.kind = PSTI_ARROW_INT64}},
	{"L", {.kind = PSTI_ARROW_UINT64}},
	{"f", {.kind = PSTI_ARROW_FLOAT}},
	{"g", {.kind = PSTI_ARROW_DOUBLE}},
	{"d:38,10", {.kind = PSTI_ARROW_DECIMAL, .precision = 38, .scale = 10}},
	{"d:1,-3", {.kind = PSTI_ARROW_DECIMAL, .precision = 1, .scale = -3}},
	{"d:12,2,128", {.kind = PSTI_ARROW_DECIMAL, .precision = 12, .scale = 2}},
	{"tdD", {.kind = PSTI_ARROW_DATE32}},
	{"tdm", {.kind = PSTI_ARROW_DATE64}},
	{"tts", {.kind = PSTI_ARROW_TIME32, .per_second = 1}},
	{"ttm", {.kind = PSTI_ARROW_TIME32, .per_second = 1000}},
	{"ttu", {.kind = PSTI_ARROW_TIME64, .per_second = 1000000}},
	{"ttn", {.kind = PSTI_ARROW_TIME64, .per_second = 1000000000}},
	{"tss:", {.kind = PSTI_ARROW_TIMESTAMP, .per_second = 1}},
	{"tsm:", {.kind = PSTI_ARROW_TIMESTAMP, .per_second = 1000}},
	{"tsu:", {.kind = PSTI_ARROW_TIMESTAMP, .per_second = 1000000}},
	{"tsn:", {.kind = PSTI_ARROW_TIMESTAMP, .per_second = 1000000000}},
	{"tsu:UTC", {.kind = PSTI_ARROW_TIMESTAMP, .per_second = 1000000, .with_zone = true}},
	{"tss:+02:00", {.kind = PSTI_ARROW_TIMESTAMP, .per_second = 1, .with_zone = true}},
	{"tin", {.kind = PSTI_ARROW_INTERVAL}},
	{"u", {.kind = PSTI_ARROW_UTF8}},
	{"U", {.kind = PSTI_ARROW_LARGE_UTF8}},
	{"z", {.kind = PSTI_ARROW_BINARY}},
	{"Z", {.kind = PSTI_ARROW_LARGE_BINARY}},
	{"w:16", {.kind = PSTI_ARROW_FIXED_BINARY, .width = 16}},
	{"w:0", {.kind = PSTI_ARROW_FIXED_BINARY, .width = 0}},
	{"+l", {.kind = PSTI_ARROW_LIST}},
	{"+L", {.kind = PSTI_ARROW_LARGE_LIST}},
	{"+s", {.kind = PSTI_ARROW_STRUCT}},
};

static const char *const unknown[] = {
	"",		  "e",		 "vu",	 "vz",	  "tdx",	"ttx",	"ts",	  "tsu",	   "tsx:",
	"tDs",	  "tiM",	 "tiD",	 "w",	  "w:",		"w:-1", "w:1x",	  "w: 1",	   "w:9999999999",
	"d:",	  "d:1",	 "d:1,", "d:0,0", "d:39,0", "d:,1", "d:-1,0", "d:5,2,256", "d:5,2,128,",
	"d:5,2x", "d:5,2,1", "+w:2", "+m",	  "+ud:0",	"+vl",	"ii",	  "u ",		   "+",
};

static void
every_format_is_understood(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
	{
		const psti_arrow_type *want = &formats[i].want;
		psti_arrow_type got = psti_arrow_parse(formats[i].format);

		if (got.kind != want->kind || got.precision != want->precision ||
			got.scale != want->scale || got.width != want->width ||
			got.per_second != want->per_second || got.with_zone != want->with_zone)
			fail_msg("\"%s\" is misread", formats[i].format);
	}
}

static void
what_is_no_format_of_ours_is_unknown(void **state)
{
	(void) state;
	assert_int_equal(psti_arrow_parse(NULL).kind, PSTI_ARROW_UNKNOWN);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		if (psti_arrow_parse(unknown[i]).kind != PSTI_ARROW_UNKNOWN)
			fail_msg("\"%s\" is taken for a format", unknown[i]);
}

static void
the_two_lists_of_kinds_are_one(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		assert_int_equal((int) psti_arrow_parse(formats[i].format).kind,
						 (int) arrow_type_parse(formats[i].format).kind);
	assert_int_equal((int) PSTI_ARROW_STRUCT + 1, (int) ARROW_KIND_COUNT);
}

static void
set_bits_are_counted_from_any_bit(void **state)
{
	uint8_t bits[40];
	uint64_t seed = 7;

	(void) state;
	for (size_t i = 0; i < sizeof(bits); i++)
		bits[i] = (uint8_t) test_random(&seed);
	for (int64_t start = 0; start < 80; start++)
		for (int64_t n = 0; n + start <= 320; n += 1 + n / 7)
		{
			int64_t want = 0;

			for (int64_t i = start; i < start + n; i++)
				want += psti_bit_get(bits, i);
			assert_int_equal(arrow_bits_count(bits, start, n), want);
		}
}

/* ---------------------------------------------------------------------------------------------
 * A batch of four rows (id int64, t utf8, l list of int32, s struct of bool) that a test spoils.
 */

typedef struct rows
{
	struct ArrowSchema schemas[7]; /* top, id, t, l, item, s, b */
	struct ArrowSchema *schema_top[4];
	struct ArrowSchema *schema_list[1];
	struct ArrowSchema *schema_struct[1];
	struct ArrowArray arrays[7];
	struct ArrowArray *array_top[4];
	struct ArrowArray *array_list[1];
	struct ArrowArray *array_struct[1];
	const void *buffers[7][3];
	_Alignas(8) int64_t ids[5];
	_Alignas(8) int32_t text_offsets[5];
	_Alignas(8) int32_t list_offsets[5];
	_Alignas(8) int32_t items[6];
	uint8_t valid[1];
	uint8_t bits[1];
} rows;

enum
{
	TOP,
	ID,
	TEXT,
	LIST,
	ITEM,
	STRUCT,
	BOOL
};

static void
schema_is_not_owned(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

static void
array_is_not_owned(struct ArrowArray *array)
{
	array->release = NULL;
}

static void
make_rows(rows *r)
{
	static const char *const names[] = {"", "id", "t", "l", "item", "s", "b"};
	static const char *const kinds[] = {"+s", "l", "u", "+l", "i", "+s", "b"};
	static const int nbuffers[] = {1, 2, 3, 2, 2, 1, 2};

	memset(r, 0, sizeof(*r));
	for (int i = TOP; i <= BOOL; i++)
	{
		r->schemas[i].format = kinds[i];
		r->schemas[i].name = names[i];
		r->schemas[i].release = schema_is_not_owned;
		r->arrays[i].length = i == ITEM ? 6 : 4;
		r->arrays[i].n_buffers = nbuffers[i];
		r->arrays[i].buffers = r->buffers[i];
		r->arrays[i].release = array_is_not_owned;
	}
	for (int i = 0; i < 4; i++)
	{
		static const int top[] = {ID, TEXT, LIST, STRUCT};

		r->schema_top[i] = &r->schemas[top[i]];
		r->array_top[i] = &r->arrays[top[i]];
	}
	r->schemas[TOP].n_children = r->arrays[TOP].n_children = 4;
	r->schemas[TOP].children = r->schema_top;
	r->arrays[TOP].children = r->array_top;
	r->schema_list[0] = &r->schemas[ITEM];
	r->array_list[0] = &r->arrays[ITEM];
	r->schemas[LIST].n_children = r->arrays[LIST].n_children = 1;
	r->schemas[LIST].children = r->schema_list;
	r->arrays[LIST].children = r->array_list;
	r->schema_struct[0] = &r->schemas[BOOL];
	r->array_struct[0] = &r->arrays[BOOL];
	r->schemas[STRUCT].n_children = r->arrays[STRUCT].n_children = 1;
	r->schemas[STRUCT].children = r->schema_struct;
	r->arrays[STRUCT].children = r->array_struct;
	memcpy(r->text_offsets, (const int32_t[]){0, 1, 1, 3, 4}, 20);
	memcpy(r->list_offsets, (const int32_t[]){0, 0, 2, 5, 6}, 20);
	r->valid[0] = 0x0B;
	r->buffers[ID][1] = r->ids;
	r->buffers[TEXT][0] = r->valid;
	r->buffers[TEXT][1] = r->text_offsets;
	r->buffers[TEXT][2] = "abcd";
	r->arrays[TEXT].null_count = 1;
	r->buffers[LIST][1] = r->list_offsets;
	r->buffers[ITEM][1] = r->items;
	r->buffers[BOOL][1] = r->bits;
}

static void
expect_good(const rows *r)
{
	pst_error err;

	psti_enter(&err);
	assert_ok(psti_arrow_check(&r->schemas[TOP], &r->arrays[TOP], &err), &err);
	test_arrow_walk(&r->schemas[TOP], &r->arrays[TOP], 0, r->arrays[TOP].length);
}

static void
expect_bad(const rows *r, const char *message, const char *column)
{
	pst_error err;

	psti_enter(&err);
	assert_fails(psti_arrow_check(&r->schemas[TOP], &r->arrays[TOP], &err), PST_ERR_INVALID, &err);
	assert_contains(err.message, message);
	assert_string_equal(err.column, column);
}

static void
types_are_called_by_their_names(void **state)
{
	static const char *const names[][2] = {
		{"d:10,2", "decimal128(10, 2)"},
		{"d:50,-1,256", "decimal256(50, -1)"},
		{"d:10", "\"d:10\""},
		{"tsu:", "timestamp[us]"},
		{"tsu:UTC", "timestamp[us, UTC]"},
		{"ttn", "time64[ns]"},
		{"w:16", "fixed_size_binary[16]"},
		{"+w:3", "fixed_size_list[3]"},
		{"u", "utf8"},
		{"ux", "\"ux\""},
		{"+us:0,1", "sparse_union"},
		{"", "\"\""},
		{NULL, "\"\""},
		{"w:00000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
		 "fixed_size_binary[0000000000000000000000000000000000000000]"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		char name[PSTI_ARROW_NAME];

		assert_string_equal(psti_arrow_name(names[i][0], name), names[i][1]);
	}
}

static void
good_batches_pass(void **state)
{
	rows r;

	(void) state;
	make_rows(&r);
	expect_good(&r);
	r.arrays[TEXT].null_count = -1;
	expect_good(&r);
	/* A slice: the struct's own offset, then a column's. */
	r.arrays[TOP].offset = 1;
	r.arrays[TOP].length = 3;
	expect_good(&r);
	make_rows(&r);
	for (int i = ID; i <= STRUCT; i++)
		if (i != ITEM)
		{
			r.arrays[i].offset = 2;
			r.arrays[i].length = 2;
		}
	r.arrays[TOP].length = 2;
	expect_good(&r);
	/* Children may be longer than the struct around them. */
	r.arrays[BOOL].length = 400;
	expect_good(&r);
}

static void
an_empty_batch_needs_no_buffers(void **state)
{
	rows r;

	(void) state;
	make_rows(&r);
	for (int i = TOP; i <= BOOL; i++)
	{
		r.arrays[i].length = 0;
		r.arrays[i].null_count = 0;
		memset(r.buffers[i], 0, sizeof(r.buffers[i]));
	}
	expect_good(&r);
}

/* One field of one array is set to a value that it must not have. */
typedef struct spoiler
{
	int array;
	size_t field;
	int64_t value;
	const char *message;
	const char *column;
} spoiler;

#define FIELD(name) offsetof(struct ArrowArray, name)

static const spoiler spoilers[] = {
	{TOP, FIELD(length), -1, "the Arrow batch has length -1", ""},
	{TOP, FIELD(length), 5, "column \"id\": the Arrow array has 4 rows, the array around it 5",
	 "id"},
	{TOP, FIELD(offset), 1, "has 4 rows, the array around it 5", "id"},
	{TOP, FIELD(offset), -1, "offset -1", ""},
	{TOP, FIELD(offset), INT64_MAX, "offset", ""},
	{TOP, FIELD(n_children), 3, "has 3 children, its schema has 4", ""},
	{TOP, FIELD(children), 0, "has no children", ""},
	{TOP, FIELD(n_buffers), 0, "has 0 buffers, its type struct has 1", ""},
	{TOP, FIELD(null_count), 1, "has NULLs but no validity buffer", ""},
	{ID, FIELD(length), INT64_MAX, "length", "id"},
	{ID, FIELD(offset), INT64_MAX / 8, "offset", "id"},
	{ID, FIELD(offset), -4, "offset -4", "id"},
	{ID, FIELD(null_count), -2, "claims -2 NULLs", "id"},
	{ID, FIELD(null_count), 5, "of 4 rows claims 5 NULLs", "id"},
	{ID, FIELD(null_count), 1, "has NULLs but no validity buffer", "id"},
	{ID, FIELD(n_buffers), 3, "has 3 buffers, its type int64 has 2", "id"},
	{ID, FIELD(buffers), 0, "has no buffers", "id"},
	{ID, FIELD(release), 0, "number 0, that was already released", ""},
	{ID, FIELD(dictionary), 1, "has a dictionary", "id"},
	{ID, FIELD(n_children), 1, "has 1 children, its schema has 0", "id"},
	{TEXT, FIELD(n_buffers), 2, "has 2 buffers, its type utf8 has 3", "t"},
	{LIST, FIELD(n_children), 0, "has 0 children, its schema has 1", "l"},
	{ITEM, FIELD(length), 5, "has offsets up to 6, its values are only 5", "l"},
	{ITEM, FIELD(release), 0, "number 0, that was already released", "l"},
	{ITEM, FIELD(n_buffers), 1, "has 1 buffers", "l.item"},
	{BOOL, FIELD(length), 3, "has 3 rows, the array around it 4", "s.b"},
	{BOOL, FIELD(offset), INT64_MAX - 2, "offset", "s.b"},
};

static void
each_wrong_count_is_named_with_its_column(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(spoilers) / sizeof(spoilers[0]); i++)
	{
		rows r;

		make_rows(&r);
		memcpy((char *) &r.arrays[spoilers[i].array] + spoilers[i].field, &spoilers[i].value, 8);
		expect_bad(&r, spoilers[i].message, spoilers[i].column);
	}
}

static void
wrong_buffers_are_named_with_their_column(void **state)
{
	rows r;

	(void) state;
	make_rows(&r);
	r.buffers[ID][1] = NULL;
	expect_bad(&r, "has no data buffer", "id");
	make_rows(&r);
	r.buffers[ID][1] = (const char *) r.ids + 4;
	expect_bad(&r, "not aligned to 8 bytes", "id");
	make_rows(&r);
	r.buffers[TEXT][1] = (const char *) r.text_offsets + 2;
	expect_bad(&r, "not aligned to 4 bytes", "t");
	make_rows(&r);
	r.buffers[TEXT][1] = NULL;
	expect_bad(&r, "has no offset buffer", "t");
	make_rows(&r);
	r.buffers[TEXT][2] = NULL;
	expect_bad(&r, "has no data buffer", "t");
	make_rows(&r);
	r.buffers[LIST][1] = NULL;
	expect_bad(&r, "has no offset buffer", "l");
	make_rows(&r);
	r.buffers[BOOL][1] = NULL;
	expect_bad(&r, "has no data buffer", "s.b");
}

static void
wrong_offsets_are_found_in_any_row(void **state)
{
	rows r;

	(void) state;
	for (int row = 0; row < 5; row++)
	{
		make_rows(&r);
		r.text_offsets[row] = -1;
		expect_bad(&r, "offsets that are negative or go back", "t");
	}
	for (int row = 0; row < 4; row++)
	{
		make_rows(&r);
		r.list_offsets[row] = 7;
		expect_bad(&r, "offsets that are negative or go back", "l");
	}
	make_rows(&r);
	r.list_offsets[4] = 7;
	expect_bad(&r, "offsets up to 7", "l");
	/* Outside the slice they may be anything. */
	make_rows(&r);
	r.text_offsets[0] = 99;
	r.arrays[TEXT].offset = 1;
	r.arrays[TEXT].length = 3;
	r.arrays[TOP].length = 3;
	expect_good(&r);
}

static void
wide_offsets_are_checked_too(void **state)
{
	static const int64_t offsets[] = {0, 1, 1, INT64_C(1) << 33, 4};
	rows r;

	(void) state;
	make_rows(&r);
	r.schemas[TEXT].format = "Z";
	r.buffers[TEXT][1] = offsets;
	expect_bad(&r, "offsets that are negative or go back", "t");
	r.arrays[TOP].length = r.arrays[TEXT].length = 2;
	expect_good(&r);
}

static void
schemas_that_we_do_not_speak_are_named(void **state)
{
	rows r;
	struct ArrowSchema words = {.format = "u", .release = schema_is_not_owned};
	struct ArrowSchema *self;
	pst_error err;

	(void) state;
	make_rows(&r);
	r.schemas[ITEM].format = "e";
	expect_bad(&r, "has the Arrow type float16, which is not supported", "l.item");
	r.schemas[ITEM].format = NULL;
	expect_bad(&r, "has the Arrow type \"\", which is not supported", "l.item");
	make_rows(&r);
	r.schemas[ID].dictionary = &words;
	expect_bad(&r, "dictionary-encoded", "id");
	make_rows(&r);
	r.schemas[TEXT].format = "+l";
	expect_bad(&r, "has the Arrow type list and 0 children", "t");
	make_rows(&r);
	r.schemas[STRUCT].format = "i";
	expect_bad(&r, "has the Arrow type int32 and 1 children", "s");
	make_rows(&r);
	r.schemas[LIST].release = NULL;
	expect_bad(&r, "number 2, that was already released", "");
	/* A schema that contains itself, and an array likewise. */
	make_rows(&r);
	self = &r.schemas[LIST];
	r.schema_list[0] = self;
	r.array_list[0] = &r.arrays[LIST];
	psti_enter(&err);
	assert_fails(psti_arrow_check(self, &r.arrays[LIST], &err), PST_ERR_INVALID, &err);
	assert_contains(err.message, "nested deeper than 64 levels");
	assert_fails(psti_arrow_check(NULL, &r.arrays[TOP], &err), PST_ERR_INVALID, &err);
	assert_fails(psti_arrow_check(self, NULL, &err), PST_ERR_INVALID, &err);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format_is_understood),
		cmocka_unit_test(what_is_no_format_of_ours_is_unknown),
		cmocka_unit_test(the_two_lists_of_kinds_are_one),
		cmocka_unit_test(set_bits_are_counted_from_any_bit),
		cmocka_unit_test(types_are_called_by_their_names),
		cmocka_unit_test(good_batches_pass),
		cmocka_unit_test(an_empty_batch_needs_no_buffers),
		cmocka_unit_test(each_wrong_count_is_named_with_its_column),
		cmocka_unit_test(wrong_buffers_are_named_with_their_column),
		cmocka_unit_test(wrong_offsets_are_found_in_any_row),
		cmocka_unit_test(wide_offsets_are_checked_too),
		cmocka_unit_test(schemas_that_we_do_not_speak_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
