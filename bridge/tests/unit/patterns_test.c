/* patterns_test.c - lists of patterns: what they are read as, what is refused, the conditions they become. */
#include "test.h"

#include "alloc.h"
#include "cdc/scope.h"

static pst_status
read_list(const char *list, size_t least, size_t most, psti_patterns *out, pst_error *err)
{
	const char *keys[] = {"cdc.exclude-tables", NULL};
	const char *values[] = {list, NULL};
	psti_options *options = NULL;
	pst_status status = psti_options_new(keys, values, PSTI_CDC, NULL, &options, err);

	memset(out, 0, sizeof(*out));
	if (status == PST_OK)
		status = psti_patterns_read(options, PSTI_OPT_EXCLUDE_TABLES, least, most, out, err);
	psti_options_free(options);
	return status;
}

static void
a_list_is_read_as_its_patterns(void **state)
{
	pst_error err = PST_ERROR_INIT;
	psti_patterns p;

	(void) state;
	assert_ok(
		read_list("Public.Orders , \"Sales\".\"a.\"\"b\" ,\n/x\\/y\\.z\\\\/, s?.*_log,s.\"*\",", 2,
				  2, &p, &err),
		&err);
	assert_int_equal(p.n, 5);
	assert_string_equal(p.patterns[0].parts[0], "^(?:public)$");
	assert_string_equal(p.patterns[0].parts[1], "^(?:orders)$");
	assert_string_equal(p.patterns[0].text, "Public.Orders");
	assert_true(p.patterns[0].exact);
	assert_string_equal(p.patterns[1].parts[0], "^(?:Sales)$");
	assert_string_equal(p.patterns[1].parts[1], "^(?:a\\.\\\"b)$");
	assert_string_equal(p.patterns[1].text, "\"Sales\".\"a.\"\"b\"");
	assert_true(p.patterns[1].exact);
	assert_string_equal(p.patterns[2].regex, "x/y\\.z\\\\");
	assert_string_equal(p.patterns[2].text, "/x\\/y\\.z\\\\/");
	assert_false(p.patterns[2].exact);
	assert_string_equal(p.patterns[3].parts[0], "^(?:s.)$");
	assert_string_equal(p.patterns[3].parts[1], "^(?:.*_log)$");
	assert_false(p.patterns[3].exact);
	assert_string_equal(p.patterns[4].parts[1], "^(?:\\*)$");
	assert_true(p.patterns[4].exact);
	psti_patterns_free(&p);
	assert_int_equal(p.n, 0);
	psti_patterns_free(&p);
}

static void
what_is_no_list_is_refused(void **state)
{
	static const struct
	{
		const char *list;
		const char *why;
	} lists[] = {
		{"   ", "empty list"},
		{",", "empty part"},
		{"a.b,,c.d", "empty part"},
		{".b", "empty part"},
		{"a.", "empty part"},
		{"a.\"\"", "empty part"},
		{"a", "too few parts"},
		{"a.b.c", "too many parts"},
		{"a.b c.d", "where a comma should be"},
		{"/a/ b", "where a comma should be"},
		{"/a/b", "where a comma should be"},
		{"/a\\/", "closing slash"},
		{"/a", "closing slash"},
		{"a.b, /", "closing slash"},
		{"a.\"b", "closing quote"},
		{"a.\"b\"\"", "closing quote"},
	};
	pst_error err = PST_ERROR_INIT;
	psti_patterns p;

	(void) state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
	{
		assert_fails(read_list(lists[i].list, 2, 2, &p, &err), PST_ERR_INVALID, &err);
		assert_contains(err.message, lists[i].why);
		assert_contains(err.message, "cdc.exclude-tables");
		assert_int_not_equal(err.hint[0], '\0');
		assert_int_equal(p.n, 0);
	}
	assert_ok(read_list("\v\fa.b\v,\r\"\v\".\001\v", 2, 2, &p, &err), &err);
	assert_int_equal(p.n, 2);
	assert_string_equal(p.patterns[1].parts[0], "^(?:\\\v)$");
	assert_string_equal(p.patterns[1].parts[1], "^(?:\\\001)$");
	psti_patterns_free(&p);
	assert_ok(read_list("a", 1, 2, &p, &err), &err);
	psti_patterns_free(&p);
	assert_ok(read_list(NULL, 2, 2, &p, &err), &err);
	assert_int_equal(p.n, 0);
}

static void
conditions_quote_what_they_are_given(void **state)
{
	static const char *const names[] = {"n", "c"};
	pst_error err = PST_ERROR_INIT;
	psti_patterns p;
	psti_buf sql = PSTI_BUF_INIT;

	(void) state;
	assert_ok(read_list("s.\"it's\", /'/", 2, 2, &p, &err), &err);
	psti_patterns_condition(&p, names, 2, &sql);
	assert_string_equal(
		sql.data, "(((n) COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.~) '^(?:s)$' AND (c) COLLATE "
				  "pg_catalog.\"C\" OPERATOR(pg_catalog.~) E'^(?:it\\\\''s)$') OR "
				  "((pg_catalog.concat(n, '.', "
				  "c)) COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.~) '^(?:'')$'))");
	psti_patterns_free(&p);
	psti_buf_reset(&sql);
	psti_patterns_condition(&p, names, 2, &sql);
	assert_string_equal(sql.data, "(false)");
	psti_buf_free(&sql);
}

/* ---- For the plugin ---- */

/* What the plugin is given of these tables; those found are "s"."orders" and "s"."items", in this order. */
static void
assert_includes(const char *list, size_t bare_orders, size_t bare_items, const char *want)
{
	const char *keys[] = {"table-name", NULL};
	const char *values[] = {list, NULL};
	psti_subject subjects[] = {
		{.schema = (char *) "s", .name = (char *) "orders", .bare = bare_orders},
		{.schema = (char *) "s", .name = (char *) "items", .bare = bare_items}};
	psti_options *options = NULL;
	psti_scope scope;
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_options_new(keys, values, PSTI_CDC, NULL, &options, &err), &err);
	assert_ok(psti_scope_init(&scope, options, NULL, false, &err), &err);
	scope.subjects = subjects;
	scope.n = 2;
	psti_scope_include(&scope, &out);
	assert_string_equal(out.data, want);
	psti_buf_free(&out);
	scope.subjects = NULL;
	scope.n = 0;
	psti_scope_free(&scope);
	psti_options_free(options);
}

static void
the_plugin_is_given_whole_names(void **state)
{
	(void) state;
	assert_includes("Orders, x.*, items", 1, 3, "\"s\".\"orders\",x.*,\"s\".\"items\"");
	assert_includes("/a,b/,x.y", 0, 0, "/a,b/,x.y");
	/* Named twice, found once. */
	assert_includes("orders, \"orders\", items", 1, 3, "\"s\".\"orders\",\"s\".\"items\"");
	assert_includes("gone, orders", 2, 0, "\"s\".\"orders\"");
}

/* ---- Without memory ---- */

static pst_status
read_and_put(void *ctx, pst_error *err)
{
	static const char *const names[] = {"n", "c"};
	psti_patterns p;
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status = read_list(ctx, 2, 2, &p, err);

	if (status == PST_OK)
	{
		psti_patterns_condition(&p, names, 2, &sql);
		status = psti_buf_check(&sql, err);
	}
	psti_buf_free(&sql);
	psti_patterns_free(&p);
	return status;
}

static void
want_of_memory_is_told_and_leaks_nothing(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(read_and_put, (void *) "a.b, /a*/, \"x y\".c?") > 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_read_as_its_patterns),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(conditions_quote_what_they_are_given),
		cmocka_unit_test(the_plugin_is_given_whole_names),
		cmocka_unit_test(want_of_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
