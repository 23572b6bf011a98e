/* error_test.c - pst_error and the table from SQLSTATE to status. */
#include "test.h"

#include "error.h"

typedef struct sqlstate_case
{
	const char *sqlstate;
	pst_status status;
	bool retryable;
} sqlstate_case;

/* Every row of the table, and what lies beside it. */
static const sqlstate_case cases[] = {
	{"08000", PST_ERR_CONNECTION, true},
	{"08006", PST_ERR_CONNECTION, true},
	{"08P01", PST_ERR_PROTOCOL, false},
	{"0A000", PST_ERR_UNSUPPORTED, false},
	{"0L000", PST_ERR_PRIVILEGE, false},
	{"0P000", PST_ERR_PRIVILEGE, false},
	{"21000", PST_ERR_DATA, false},
	{"22P02", PST_ERR_DATA, false},
	{"22003", PST_ERR_DATA, false},
	{"23505", PST_ERR_CONSTRAINT, false},
	{"23503", PST_ERR_CONSTRAINT, false},
	{"25006", PST_ERR_STATE, true},
	{"25P02", PST_ERR_STATE, false},
	{"25P03", PST_ERR_TIMEOUT, true},
	{"26000", PST_ERR_STATE, true},
	{"28000", PST_ERR_AUTH, false},
	{"28P01", PST_ERR_AUTH, false},
	{"3D000", PST_ERR_NOT_FOUND, false},
	{"3F000", PST_ERR_NOT_FOUND, false},
	{"40001", PST_ERR_CONFLICT, true},
	{"40P01", PST_ERR_CONFLICT, true},
	{"40002", PST_ERR_CONSTRAINT, false},
	{"40003", PST_ERR_UNKNOWN_OUTCOME, false},
	{"42501", PST_ERR_PRIVILEGE, false},
	{"42601", PST_ERR_SQL, false},
	{"42P01", PST_ERR_NOT_FOUND, false},
	{"42703", PST_ERR_NOT_FOUND, false},
	{"42704", PST_ERR_NOT_FOUND, false},
	{"42883", PST_ERR_NOT_FOUND, false},
	{"42701", PST_ERR_EXISTS, false},
	{"42710", PST_ERR_EXISTS, false},
	{"42P04", PST_ERR_EXISTS, false},
	{"42P06", PST_ERR_EXISTS, false},
	{"42P07", PST_ERR_EXISTS, false},
	{"44000", PST_ERR_CONSTRAINT, false},
	{"53100", PST_ERR_RESOURCES, true},
	{"53200", PST_ERR_RESOURCES, true},
	{"53300", PST_ERR_RESOURCES, true},
	{"54000", PST_ERR_RESOURCES, false},
	{"55000", PST_ERR_STATE, false},
	{"55P03", PST_ERR_CONFLICT, true},
	{"57014", PST_ERR_CANCELED, false},
	{"57P01", PST_ERR_CONNECTION, true},
	{"57P02", PST_ERR_CONNECTION, true},
	{"57P03", PST_ERR_CONNECTION, true},
	{"57P04", PST_ERR_NOT_FOUND, false},
	{"57P05", PST_ERR_TIMEOUT, true},
	{"58030", PST_ERR_SERVER, false},
	{"XX000", PST_ERR_SERVER, false},
	{"P0001", PST_ERR_SERVER, false},
	{"", PST_ERR_SERVER, false},
	{"ZZZZZ", PST_ERR_SERVER, false},
};

static void
each_sqlstate_has_its_status_and_retry_rule(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		bool retryable;
		pst_status status = psti_sqlstate_status(cases[i].sqlstate, &retryable);

		if (status != cases[i].status || retryable != cases[i].retryable)
			fail_msg("%s: %s, retryable %d", cases[i].sqlstate, pst_status_name(status), retryable);
	}
}

static void
each_status_has_its_name(void **state)
{
	(void) state;
	for (int status = PST_ERR_SERVER; status <= PST_AGAIN; status++)
		assert_string_not_equal(pst_status_name((pst_status) status), "unknown status");
	assert_string_equal(pst_status_name((pst_status) 99), "unknown status");
}

static void
an_older_callers_shorter_struct_is_not_overrun(void **state)
{
	pst_error caller;
	pst_error full;

	(void) state;
	memset(&caller, 0x5A, sizeof(caller));
	caller.struct_size = offsetof(pst_error, detail);
	psti_enter(&full);
	psti_leave(&caller, &full, psti_fail_sqlstate(&full, "22012", "no"));
	assert_int_equal(caller.status, PST_ERR_DATA);
	assert_string_equal(caller.message, "no");
	assert_int_equal(caller.struct_size, offsetof(pst_error, detail));
	assert_int_equal((unsigned char) caller.detail[0], 0x5A);
}

static void
success_leaves_the_callers_error_alone(void **state)
{
	pst_error caller = PST_ERROR_INIT;
	pst_error full;

	(void) state;
	psti_enter(&full);
	psti_fail(&full, PST_ERR_DATA, "looked at and mended");
	assert_int_equal(psti_leave(&caller, &full, PST_END), PST_END);
	assert_int_equal(caller.status, PST_OK);
	assert_int_equal(caller.row, -1);
	assert_int_equal(psti_leave(NULL, &full, PST_ERR_DATA), PST_ERR_DATA);
}

static void
long_texts_are_cut_at_a_character(void **state)
{
	char field[8];

	(void) state;
	psti_error_copy(field, sizeof(field), "abcdef\xC3\xA9");
	assert_string_equal(field, "abcdef");
	psti_error_copy(field, sizeof(field), "abcde\xC3\xA9");
	assert_string_equal(field, "abcde\xC3\xA9");
	psti_error_copy(field, sizeof(field),
					"a\x9B"
					"b\xC3");
	assert_string_equal(field, "a?b?");
	psti_error_copy(field, sizeof(field), NULL);
	assert_string_equal(field, "");
}

static void
outer_layers_stand_before_inner_ones(void **state)
{
	pst_error err;

	(void) state;
	psti_fail(&err, PST_ERR_DATA, "bad digit");
	psti_error_prefix(&err, "row %d", 7);
	assert_string_equal(err.message, "row 7: bad digit");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_sqlstate_has_its_status_and_retry_rule),
		cmocka_unit_test(each_status_has_its_name),
		cmocka_unit_test(an_older_callers_shorter_struct_is_not_overrun),
		cmocka_unit_test(success_leaves_the_callers_error_alone),
		cmocka_unit_test(long_texts_are_cut_at_a_character),
		cmocka_unit_test(outer_layers_stand_before_inner_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
