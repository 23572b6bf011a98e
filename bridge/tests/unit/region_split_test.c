/* region_split_test.c - splits of a capture's regions: their texts there and back, and what is none. */
#include "test.h"

#include "alloc.h"
#include "cdc/region_split.h"

/* All borrowed from static texts: not to be freed. */
static psti_region_split
sample(void)
{
	static char *columns[] = {"id", "Über \"n\"", ""};
	static char *key[] = {"id"};

	return (psti_region_split){.system = "7301234567890123456",
							   .database = "a \"base\"\n\\",
							   .slot = "penstock_orders",
							   .timeline = UINT32_MAX,
							   .safe_lsn = UINT64_C(0x16B374D848),
							   .commit_lsn = 5,
							   .number = INT64_MAX,
							   .view = "725:731:725,728",
							   .oid = UINT32_MAX,
							   .schema = "public",
							   .table = "or\"ders",
							   .columns = columns,
							   .ncolumns = 3,
							   .key = key,
							   .nkeys = 1,
							   .values = "lossless",
							   .special_values = "null",
							   .text_columns = "a,\"b c\"",
							   .assisted = true,
							   .column = "id",
							   .lower = "-10",
							   .upper = "10",
							   .piece = 2,
							   .npieces = 3,
							   .read = "pst1:{\"kind\":\"all\"}"};
}

static char *
print(const psti_region_split *split)
{
	pst_error err = PST_ERROR_INIT;
	char *text;

	assert_ok(psti_region_split_print(split, &text, &err), &err);
	return text;
}

static void
assert_same_text(const char *a, const char *b)
{
	assert_int_equal(a == NULL, b == NULL);
	if (a != NULL)
		assert_string_equal(a, b);
}

static void
assert_comes_back(const psti_region_split *split)
{
	pst_error err = PST_ERROR_INIT;
	psti_region_split other;
	char *text = print(split);
	char *again;

	assert_ok(psti_region_split_parse(text, &other, &err), &err);
	assert_true(other.timeline == split->timeline && other.safe_lsn == split->safe_lsn &&
				other.commit_lsn == split->commit_lsn && other.number == split->number &&
				other.oid == split->oid && other.assisted == split->assisted &&
				other.piece == split->piece && other.npieces == split->npieces);
	assert_string_equal(other.system, split->system);
	assert_string_equal(other.database, split->database);
	assert_string_equal(other.slot, split->slot);
	assert_string_equal(other.read, split->read);
	assert_same_text(other.view, split->view);
	assert_same_text(other.column, split->column);
	assert_same_text(other.lower, split->lower);
	assert_same_text(other.upper, split->upper);
	assert_true(psti_region_split_alike(&other, split));
	again = print(&other);
	assert_string_equal(again, text);
	psti_region_split_free(&other);
	free(text);
	free(again);
}

static void
a_split_comes_back_from_its_text(void **state)
{
	psti_region_split split = sample();

	(void) state;
	assert_comes_back(&split);
	split.lower = NULL;
	assert_comes_back(&split);
	split.upper = NULL;
	split.column = NULL;
	split.view = NULL;
	split.commit_lsn = 0;
	split.number = 0;
	assert_comes_back(&split);
	split.values = split.special_values = split.text_columns = NULL;
	split.ncolumns = split.nkeys = 0;
	split.assisted = false;
	assert_comes_back(&split);
}

/* The text of the sample with one part of it replaced. */
static char *
with(const char *old, const char *fresh)
{
	psti_region_split split = sample();
	psti_buf out = PSTI_BUF_INIT;
	char *text = print(&split);
	char *at = strstr(text, old);

	if (at == NULL)
		fail_msg("%s is not in %s", old, text);
	psti_buf_append(&out, text, (size_t) (at - text));
	psti_buf_puts(&out, fresh);
	psti_buf_puts(&out, at + strlen(old));
	free(text);
	text = psti_buf_steal(&out);
	assert_non_null(text);
	return text;
}

static void
assert_none(const char *text)
{
	pst_error err = PST_ERROR_INIT;
	psti_region_split split;

	if (psti_region_split_parse(text, &split, &err) == PST_OK)
		fail_msg("%s is no split", text);
	assert_int_equal(err.status, PST_ERR_INVALID);
	assert_contains(err.message, "not a split of a capture");
	assert_int_not_equal(err.hint[0], '\0');
	assert_null(split.read);
	assert_null(split.columns);
}

static void
what_no_capture_wrote_is_refused(void **state)
{
	static const char *const pairs[][2] = {
		{"pst1:", "pst2:"},
		{"pst1:", ""},
		{"pst1:{", "pst1:["},
		{"\"region\":[2,3]", "\"region\":[3,3]"},
		{"\"region\":[2,3]", "\"region\":[-1,3]"},
		{"\"region\":[2,3]", "\"region\":[0,1000001]"},
		{"\"region\":[2,3]", "\"region\":[2]"},
		{"\"region\":[2,3]", "\"region\":7"},
		{"\"oid\":4294967295", "\"oid\":4294967296"},
		{"\"oid\":4294967295", "\"oid\":0"},
		{"\"timeline\":4294967295", "\"timeline\":-1"},
		{"\"safe\":\"16/B374D848\"", "\"safe\":\"16\""},
		{"\"safe\":", "\"saved\":"},
		{"\"commit\":\"0/5\"", "\"commit\":5"},
		{"\"number\":\"9223372036854775807\"", "\"number\":\"9223372036854775808\""},
		{"\"number\":\"9223372036854775807\"", "\"number\":null"},
		{"\"slot\":", "\"slit\":"},
		{"\"system\":\"7301234567890123456\"", "\"system\":7"},
		{"\"schema\":\"public\"", "\"schema\":null"},
		{"\"view\":\"", "\"view\":7,\"v\":\""},
		{"\"column\":", "\"row\":"},
		{"\"columns\":[", "\"columns\":[7,"},
		{"\"columns\":[", "\"c\":["},
		{"\"key\":[", "\"key\":[null,"},
		{"\"read\":", "\"red\":"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		char *text = with(pairs[i][0], pairs[i][1]);

		assert_none(text);
		free(text);
	}
}

static void
a_cut_text_is_refused(void **state)
{
	psti_region_split split = sample();
	char *text = print(&split);

	(void) state;
	for (size_t len = strlen(text); len-- > 0;)
	{
		text[len] = '\0';
		assert_none(text);
	}
	free(text);
}

static void
regions_of_one_form_are_alike(void **state)
{
	psti_region_split a = sample();
	psti_region_split b = sample();
	static char *other[] = {"id", "Über \"n\"", "x"};

	(void) state;
	b.lower = NULL;
	b.read = "pst1:{}";
	b.piece = 0;
	b.view = NULL;
	assert_true(psti_region_split_alike(&a, &b));
	b.oid = 1;
	assert_false(psti_region_split_alike(&a, &b));
	b = sample();
	b.columns = other;
	assert_false(psti_region_split_alike(&a, &b));
	b = sample();
	b.special_values = NULL;
	assert_false(psti_region_split_alike(&a, &b));
	b = sample();
	b.database = "other";
	assert_false(psti_region_split_alike(&a, &b));
}

static pst_status
there_and_back(void *ctx, pst_error *err)
{
	psti_region_split split = sample();
	psti_region_split other = {0};
	char *text = NULL;
	pst_status status = psti_region_split_print(&split, &text, err);

	(void) ctx;
	if (status == PST_OK)
		status = psti_region_split_parse(text, &other, err);
	psti_region_split_free(&other);
	free(text);
	return status;
}

static void
a_failed_allocation_is_told(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(there_and_back, NULL) > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_split_comes_back_from_its_text),
		cmocka_unit_test(what_no_capture_wrote_is_refused),
		cmocka_unit_test(a_cut_text_is_refused),
		cmocka_unit_test(regions_of_one_form_are_alike),
		cmocka_unit_test(a_failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
