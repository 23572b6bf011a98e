/* options_test.c - names, values and errors of options. */
#include "test.h"

#include "alloc.h"
#include "options.h"

static char logged[4][512];
static int nlogged;

static void
take_log(void *ctx, pst_log_level level, const char *message)
{
	(void) ctx;
	if (level >= PST_LOG_INFO && nlogged < 4)
		snprintf(logged[nlogged++], sizeof(logged[0]), "%s", message);
}

/* One pair into a source's options. */
static pst_status
one(const char *key, const char *value, psti_options **out, pst_error *err)
{
	const char *keys[] = {key, NULL};
	const char *values[] = {value, NULL};

	psti_enter(err);
	return psti_options_new(keys, values, PSTI_SOURCE, NULL, out, err);
}

static void
refused(const char *key, const char *value, const char *message, const char *hint)
{
	psti_options *options;
	pst_error err;

	assert_fails(one(key, value, &options, &err), PST_ERR_INVALID, &err);
	assert_null(options);
	assert_contains(err.message, message);
	assert_contains(err.hint, hint);
}

static int64_t
number(psti_opt opt, const char *key, const char *value)
{
	psti_options *options;
	pst_error err;
	int64_t result;

	assert_ok(one(key, value, &options, &err), &err);
	result = psti_opt_int(options, opt);
	assert_true(psti_opt_given(options, opt));
	psti_options_free(options);
	return result;
}

static void
an_unknown_name_tells_the_nearest_known_one(void **state)
{
	(void) state;
	refused("sink.bufer-flush.max-rows", "1", "unknown option \"sink.bufer-flush.max-rows\"",
			"\"sink.buffer-flush.max-rows\"");
	refused("table_name", "t", "unknown option", "\"table-name\"");
	refused("zzzzzzzzzzzz", "t", "unknown option", "docs/bridge.md");
}

static void
durations_are_those_of_flink(void **state)
{
	(void) state;
	assert_int_equal(number(PSTI_OPT_FLUSH_INTERVAL, "sink.buffer-flush.interval", "2s"), 2000);
	assert_int_equal(number(PSTI_OPT_FLUSH_INTERVAL, "sink.buffer-flush.interval", "500"), 500);
	assert_int_equal(number(PSTI_OPT_FLUSH_INTERVAL, "sink.buffer-flush.interval", "1 min"), 60000);
	assert_int_equal(number(PSTI_OPT_FLUSH_INTERVAL, "sink.buffer-flush.interval", "1H"), 3600000);
	assert_int_equal(number(PSTI_OPT_FLUSH_INTERVAL, "sink.buffer-flush.interval", "1 day"),
					 86400000);
	refused("sink.buffer-flush.interval", "2 weeks", "2 weeks", "a duration");
	refused("sink.buffer-flush.interval", "-1s", "-1s", "0 to 86400000");
	refused("sink.buffer-flush.interval", "", "\"\"", "a duration");
	refused("sink.buffer-flush.interval", "99999999999999999 d", "value", "a duration");
}

static void
sizes_have_units_of_1024(void **state)
{
	(void) state;
	assert_int_equal(number(PSTI_OPT_SPLIT_BYTES, "read.split-bytes", "64mb"), 64 << 20);
	assert_int_equal(number(PSTI_OPT_SPLIT_BYTES, "read.split-bytes", "64 KiB"), 64 << 10);
	assert_int_equal(number(PSTI_OPT_SPLIT_BYTES, "read.split-bytes", "8192"), 8192);
	refused("read.split-bytes", "1", "value", "8192 to");
	refused("read.split-bytes", "10 parsec", "10 parsec", "a size");
}

static void
numbers_have_their_range(void **state)
{
	(void) state;
	assert_int_equal(number(PSTI_OPT_PORT, "port", "5433"), 5433);
	refused("port", "0", "\"0\"", "1 to 65535");
	refused("port", "5432x", "5432x", "a whole number");
	refused("port", "99999999999999999999", "value", "a whole number");
	refused("scan.partition.num", "-4", "-4", "1 to");
}

static void
words_are_taken_in_any_case(void **state)
{
	(void) state;
	assert_int_equal(number(PSTI_OPT_SPECIAL_VALUES, "special-values", "CLAMP"), 2);
	refused("special-values", "maybe", "maybe", "error|null|clamp");
	refused("sink.staging", "yes", "yes", "true or false");
}

static void
lists_may_quote_their_names(void **state)
{
	psti_options *options;
	pst_error err;
	const char *const *names;
	size_t n;

	(void) state;
	assert_ok(one("read.columns", " a, \"b, \"\"c\" ,Zeta", &options, &err), &err);
	names = psti_opt_list(options, PSTI_OPT_COLUMNS, &n);
	assert_int_equal(n, 3);
	assert_string_equal(names[0], "a");
	assert_string_equal(names[1], "b, \"c");
	assert_string_equal(names[2], "Zeta");
	assert_null(names[3]);
	psti_options_free(options);
	refused("read.columns", "", "value", "names separated");
	refused("read.columns", "a,,b", "value", "names separated");
	refused("read.columns", "a,\"b", "value", "names separated");
	refused("read.columns", "\"a\"x", "value", "names separated");
}

static void
both_spellings_name_one_option_and_the_error_uses_the_callers(void **state)
{
	psti_options *options;
	pst_error err;

	(void) state;
	assert_ok(one("database.whitelist", "a;b", &options, &err), &err);
	assert_string_equal(psti_opt_text(options, PSTI_OPT_WHITELIST), "a;b");
	psti_options_free(options);
	assert_ok(one("default-database", "db", &options, &err), &err);
	psti_opt_fail(options, PSTI_OPT_DATABASE, &err, "is %s", "odd");
	assert_string_equal(err.message, "option \"default-database\" is odd");
	psti_options_free(options);
}

static void
a_later_pair_wins_and_a_null_value_is_not_given(void **state)
{
	const char *keys[] = {"port", "table-name", "port", "read.limit", NULL};
	const char *values[] = {"1", "t", "2", NULL, NULL};
	psti_options *options;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_options_new(keys, values, PSTI_SOURCE, NULL, &options, &err), &err);
	assert_int_equal(psti_opt_int(options, PSTI_OPT_PORT), 2);
	assert_false(psti_opt_given(options, PSTI_OPT_LIMIT));
	assert_int_equal(psti_opt_int(options, PSTI_OPT_BATCH_ROWS), 65536);
	assert_false(psti_opt_given(options, PSTI_OPT_BATCH_ROWS));
	psti_options_free(options);
}

static void
options_of_other_drivers_are_taken_and_logged_once(void **state)
{
	const char *keys[] = {"scan.fetch-size", "scan.fetch-size", "driver", "connector", NULL};
	const char *values[] = {"1", "2", "org.postgresql.Driver", "postgres", NULL};
	pst_hooks hooks = PST_HOOKS_INIT;
	psti_options *options;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	hooks.log = take_log;
	nlogged = 0;
	assert_ok(psti_options_new(keys, values, PSTI_SOURCE, &hooks, &options, &err), &err);
	assert_int_equal(nlogged, 2);
	assert_contains(logged[0], "scan.fetch-size");
	assert_contains(logged[1], "driver");
	psti_options_free(options);
}

static void
an_option_that_would_change_results_is_refused_with_the_reason(void **state)
{
	(void) state;
	refused("compatible-mode", "x", "\"compatible-mode\" is refused", "leave it out");
	refused("debezium.column.exclude.list", "a.b.c", "is refused", "cdc.exclude-columns");
	refused("table.include.list", "a.b", "\"table.include.list\" is refused", "table-name");
}

/* What another connector can be told to do, and is done here anyway. */
static void
an_option_of_one_value_takes_that_and_refuses_others(void **state)
{
	psti_options *options;
	pst_error err;

	(void) state;
	assert_ok(one("debezium.snapshot.mode", "INITIAL", &options, &err), &err);
	psti_options_free(options);
	refused("debezium.snapshot.mode", "never", "refused with the value never", "committed-offset");
	refused("scan.newly-added-table.enabled", "false", "refused with the value false",
			"without patterns");
	refused("debezium.no.such.property", "x", "unknown option", "docs/cdc.md");
}

static void
no_secret_is_in_an_error(void **state)
{
	psti_options *options;
	pst_error err;

	(void) state;
	assert_ok(one("password", "hunter2", &options, &err), &err);
	psti_opt_fail(options, PSTI_OPT_PASSWORD, &err, "is wrong");
	assert_null(strstr(err.message, "hunter2"));
	psti_options_free(options);
}

static int nvisited;

static void
visit(void *ctx, const char *name, const char *handles, const char *dflt, const char *help)
{
	(void) ctx;
	assert_true(name[0] != '\0' && handles[0] != '\0' && help[0] != '\0');
	assert_non_null(dflt);
	assert_int_equal(help[strlen(help) - 1], '.');
	nvisited++;
}

static void
every_option_can_be_visited_and_has_help(void **state)
{
	(void) state;
	nvisited = 0;
	pst_options_visit(visit, NULL);
	assert_true(nvisited > PSTI_OPT_COUNT);
}

static pst_status
parse_many(void *ctx, pst_error *err)
{
	const char *keys[] = {"url", "read.columns", "sink.key", "read.limit", NULL};
	const char *values[] = {"host=x", "a,\"b\",c", "id", "10", NULL};
	psti_options *options;
	pst_status status = psti_options_new(keys, values, PSTI_SOURCE, NULL, &options, err);

	(void) ctx;
	psti_options_free(options);
	return status;
}

static void
every_failing_allocation_is_reported(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(parse_many, NULL) > 10);
}

static void
the_nearest_name_is_a_slip_of_the_one_wanted_and_nothing_else(void **state)
{
	static const struct
	{
		const char *wanted;
		const char *candidates[4];
		const char *name;
	} cases[] = {
		{"nam", {"id", "name", "names"}, "name"},
		{"Mixed", {"mixes", "mixed", "MIXED"}, "mixed"},
		{"c", {"a", "b"}, NULL},
		{"c", {"a", "C"}, "C"},
		{"ud", {"id", "ab"}, "id"},
		{"orders", {"customers", "ord"}, NULL},
		{"abc", {"abd", "abe"}, "abd"},
		{"", {"a", "b"}, NULL},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		psti_nearest nearest = psti_nearest_to(cases[i].wanted);

		for (size_t j = 0; cases[i].candidates[j] != NULL; j++)
			psti_nearest_try(&nearest, cases[i].candidates[j]);
		if (cases[i].name == NULL)
			assert_null(nearest.name);
		else
			assert_string_equal(nearest.name, cases[i].name);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_name_tells_the_nearest_known_one),
		cmocka_unit_test(durations_are_those_of_flink),
		cmocka_unit_test(sizes_have_units_of_1024),
		cmocka_unit_test(numbers_have_their_range),
		cmocka_unit_test(words_are_taken_in_any_case),
		cmocka_unit_test(lists_may_quote_their_names),
		cmocka_unit_test(both_spellings_name_one_option_and_the_error_uses_the_callers),
		cmocka_unit_test(a_later_pair_wins_and_a_null_value_is_not_given),
		cmocka_unit_test(options_of_other_drivers_are_taken_and_logged_once),
		cmocka_unit_test(an_option_that_would_change_results_is_refused_with_the_reason),
		cmocka_unit_test(an_option_of_one_value_takes_that_and_refuses_others),
		cmocka_unit_test(no_secret_is_in_an_error),
		cmocka_unit_test(every_option_can_be_visited_and_has_help),
		cmocka_unit_test(every_failing_allocation_is_reported),
		cmocka_unit_test(the_nearest_name_is_a_slip_of_the_one_wanted_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
