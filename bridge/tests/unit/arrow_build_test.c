/* arrow_build_test.c - schemas and arrays own their memory, child by child. */
#include "test.h"

#include "alloc.h"
#include "arrow_build.h"

static const char *const keys[] = {"penstock.type", "empty", ""};
static const char *const values[] = {"numeric(12,2)", "", "no key"};

/* A struct of an int (with metadata) and a list of text. */
static pst_status
make_schema(struct ArrowSchema *schema, pst_error *err)
{
	pst_status status = psti_schema_init(schema, "+s", "", false, 2, err);

	if (status == PST_OK)
		status = psti_schema_init(schema->children[0], "i", "id", false, 0, err);
	if (status == PST_OK)
		status = psti_schema_metadata(schema->children[0], 3, keys, values, err);
	if (status == PST_OK)
		status = psti_schema_init(schema->children[1], "+l", "čísla", true, 1, err);
	if (status == PST_OK)
		status = psti_schema_init(schema->children[1]->children[0], "u", "item", true, 0, err);
	return status;
}

static void
expect_schema(const struct ArrowSchema *schema)
{
	size_t len;

	assert_string_equal(schema->format, "+s");
	assert_int_equal(schema->n_children, 2);
	assert_string_equal(schema->children[0]->format, "i");
	assert_string_equal(schema->children[0]->name, "id");
	assert_int_equal(schema->children[0]->flags, 0);
	assert_null(schema->children[0]->children);
	assert_string_equal(schema->children[1]->name, "čísla");
	assert_int_equal(schema->children[1]->flags, ARROW_FLAG_NULLABLE);
	assert_string_equal(schema->children[1]->children[0]->format, "u");
	assert_memory_equal(psti_schema_metadata_get(schema->children[0], "penstock.type", &len),
						"numeric(12,2)", 13);
	assert_int_equal(len, 13);
}

static void
a_schema_is_what_was_asked_for(void **state)
{
	struct ArrowSchema schema;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(make_schema(&schema, &err), &err);
	expect_schema(&schema);
	psti_schema_release(&schema);
	assert_null(schema.release);
	psti_schema_release(&schema);
	psti_schema_release(NULL);
}

static void
metadata_is_in_the_c_interface_form(void **state)
{
	struct ArrowSchema schema;
	pst_error err;
	size_t len = 7;
	static const char want[] = "\3\0\0\0"
							   "\15\0\0\0penstock.type\15\0\0\0numeric(12,2)"
							   "\5\0\0\0empty\0\0\0\0"
							   "\0\0\0\0\6\0\0\0no key";

	(void) state;
	psti_enter(&err);
	assert_ok(psti_schema_init(&schema, "i", "a", true, 0, &err), &err);
	assert_null(psti_schema_metadata_get(&schema, "empty", &len));
	assert_int_equal(len, 0);
	assert_ok(psti_schema_metadata(&schema, 3, keys, values, &err), &err);
	assert_memory_equal(schema.metadata, want, sizeof(want) - 1);
	assert_non_null(psti_schema_metadata_get(&schema, "empty", &len));
	assert_int_equal(len, 0);
	assert_memory_equal(psti_schema_metadata_get(&schema, "", &len), "no key", 6);
	assert_null(psti_schema_metadata_get(&schema, "penstock", &len));
	assert_null(psti_schema_metadata_get(&schema, "penstock.type2", &len));
	/* Set again it replaces, with nothing it takes away. */
	assert_ok(psti_schema_metadata(&schema, 1, keys + 1, values, &err), &err);
	assert_null(psti_schema_metadata_get(&schema, "penstock.type", &len));
	assert_memory_equal(psti_schema_metadata_get(&schema, "empty", &len), "numeric(12,2)", 13);
	assert_ok(psti_schema_metadata(&schema, 0, NULL, NULL, &err), &err);
	assert_null(schema.metadata);
	psti_schema_release(&schema);
}

static void
broken_metadata_of_others_is_not_followed(void **state)
{
	struct ArrowSchema schema = {.metadata = "\1\0\0\0\377\377\377\377key"};
	size_t len;

	(void) state;
	assert_null(psti_schema_metadata_get(&schema, "key", &len));
	schema.metadata = "\1\0\0\0\3\0\0\0key\376\377\377\377";
	assert_null(psti_schema_metadata_get(&schema, "key", &len));
	schema.metadata = "\377\377\377\377";
	assert_null(psti_schema_metadata_get(&schema, "key", &len));
}

static void
a_copy_lives_without_its_original(void **state)
{
	struct ArrowSchema schema;
	struct ArrowSchema copy;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(make_schema(&schema, &err), &err);
	schema.children[1]->flags |= ARROW_FLAG_MAP_KEYS_SORTED;
	assert_ok(psti_schema_copy(&schema, &copy, &err), &err);
	psti_schema_release(&schema);
	assert_int_equal(copy.children[1]->flags, ARROW_FLAG_NULLABLE | ARROW_FLAG_MAP_KEYS_SORTED);
	copy.children[1]->flags = ARROW_FLAG_NULLABLE;
	expect_schema(&copy);
	psti_schema_release(&copy);
}

static void
no_release(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

static void
a_dictionary_is_copied_and_released(void **state)
{
	struct ArrowSchema words = {.format = "u", .release = no_release};
	struct ArrowSchema schema = {
		.format = "i", .flags = 1, .dictionary = &words, .release = no_release};
	struct ArrowSchema copy;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(psti_schema_copy(&schema, &copy, &err), &err);
	assert_string_equal(copy.name, "");
	assert_string_equal(copy.dictionary->format, "u");
	assert_int_equal(copy.flags, ARROW_FLAG_DICTIONARY_ORDERED);
	psti_schema_release(&copy);
}

static void
released_and_endless_schemas_are_not_copied(void **state)
{
	struct ArrowSchema schema = {.format = "+l", .n_children = 1, .release = no_release};
	struct ArrowSchema *self = &schema;
	struct ArrowSchema copy;
	pst_error err;

	(void) state;
	psti_enter(&err);
	schema.children = &self;
	assert_fails(psti_schema_copy(&schema, &copy, &err), PST_ERR_INVALID, &err);
	assert_contains(err.message, "nested deeper");
	assert_null(copy.release);
	schema.release = NULL;
	assert_fails(psti_schema_copy(&schema, &copy, &err), PST_ERR_INVALID, &err);
	assert_fails(psti_schema_copy(NULL, &copy, &err), PST_ERR_INVALID, &err);
	assert_fails(psti_schema_init(&copy, "+s", "", true, -1, &err), PST_ERR_INVALID, &err);
	assert_null(copy.release);
	assert_fails(psti_schema_init(&copy, "+s", "", true, INT64_MAX, &err), PST_ERR_NOMEM, &err);
	assert_null(copy.release);
}

static void
children_may_be_moved_out(void **state)
{
	struct ArrowSchema schema;
	struct ArrowSchema list;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(make_schema(&schema, &err), &err);
	list = *schema.children[1];
	schema.children[1]->release = NULL;
	psti_schema_release(&schema);
	assert_string_equal(list.name, "čísla");
	assert_string_equal(list.children[0]->name, "item");
	psti_schema_release(&list);
}

static pst_status
make_array(struct ArrowArray *array, pst_error *err)
{
	pst_status status = psti_array_init(array, 3, 1, 2, err);
	void *memory;

	if (status == PST_OK)
		status = psti_array_init(array->children[0], 3, 2, 0, err);
	if (status == PST_OK)
		status = psti_array_init(array->children[1], 3, 0, 0, err);
	if (status != PST_OK)
		return status;
	memory = calloc(3, 4);
	if (memory == NULL)
		return psti_fail_nomem(err);
	psti_array_buffer(array->children[0], 1, memory);
	return PST_OK;
}

static void
an_array_owns_its_buffers_and_children(void **state)
{
	struct ArrowArray array;
	struct ArrowArray child;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(make_array(&array, &err), &err);
	assert_int_equal(array.n_buffers, 1);
	assert_null(array.buffers[0]);
	assert_int_equal(array.null_count, 0);
	assert_int_equal(array.children[0]->n_buffers, 2);
	assert_non_null(array.children[0]->buffers[1]);
	child = *array.children[0];
	array.children[0]->release = NULL;
	psti_array_release(&array);
	assert_null(array.release);
	assert_int_equal(((const int32_t *) child.buffers[1])[2], 0);
	psti_array_release(&child);
	psti_array_release(&child);
	psti_array_release(NULL);
}

static void
a_buffer_put_twice_frees_the_first(void **state)
{
	struct ArrowArray array;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(psti_array_init(&array, 1, 2, 0, &err), &err);
	psti_array_buffer(&array, 1, malloc(8));
	psti_array_buffer(&array, 1, malloc(8));
	psti_array_buffer(&array, 1, NULL);
	assert_null(array.buffers[1]);
	psti_array_release(&array);
}

static void
a_validity_buffer_makes_the_null_count_unknown(void **state)
{
	struct ArrowArray array;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(psti_array_init(&array, 5, 2, 0, &err), &err);
	psti_array_buffer(&array, 0, calloc(1, 1));
	assert_int_equal(array.null_count, -1);
	psti_bit_set((uint8_t *) (uintptr_t) array.buffers[0], 3);
	assert_true(psti_array_null(&array, 2));
	assert_false(psti_array_null(&array, 3));
	array.offset = 1;
	assert_false(psti_array_null(&array, 2));
	psti_array_release(&array);
}

static void
impossible_arrays_are_refused(void **state)
{
	struct ArrowArray array;
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_fails(psti_array_init(&array, -1, 0, 0, &err), PST_ERR_INVALID, &err);
	assert_fails(psti_array_init(&array, 0, 4, 0, &err), PST_ERR_INVALID, &err);
	assert_fails(psti_array_init(&array, 0, -1, 0, &err), PST_ERR_INVALID, &err);
	assert_fails(psti_array_init(&array, 0, 0, -1, &err), PST_ERR_INVALID, &err);
	assert_fails(psti_array_init(&array, 0, 0, INT64_MAX, &err), PST_ERR_NOMEM, &err);
	assert_null(array.release);
}

static pst_status
make_all(void *ctx, pst_error *err)
{
	struct ArrowSchema schema;
	struct ArrowSchema copy = {.release = NULL};
	struct ArrowArray array = {.release = NULL};
	pst_status status = make_schema(&schema, err);

	(void) ctx;
	if (status == PST_OK)
		status = psti_schema_copy(&schema, &copy, err);
	if (status == PST_OK)
		status = make_array(&array, err);
	psti_schema_release(&schema);
	psti_schema_release(&copy);
	psti_array_release(&array);
	return status;
}

static void
each_allocation_may_fail(void **state)
{
	(void) state;
	assert_int_equal(psti_test_alloc_sweep(make_all, NULL), 14);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_schema_is_what_was_asked_for),
		cmocka_unit_test(metadata_is_in_the_c_interface_form),
		cmocka_unit_test(broken_metadata_of_others_is_not_followed),
		cmocka_unit_test(a_copy_lives_without_its_original),
		cmocka_unit_test(a_dictionary_is_copied_and_released),
		cmocka_unit_test(released_and_endless_schemas_are_not_copied),
		cmocka_unit_test(children_may_be_moved_out),
		cmocka_unit_test(an_array_owns_its_buffers_and_children),
		cmocka_unit_test(a_buffer_put_twice_frees_the_first),
		cmocka_unit_test(a_validity_buffer_makes_the_null_count_unknown),
		cmocka_unit_test(impossible_arrays_are_refused),
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
