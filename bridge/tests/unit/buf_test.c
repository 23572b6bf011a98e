/* buf_test.c - the growing buffer: quoting, sticky failure, moving out. */
#include "test.h"

#include "alloc.h"
#include "buf.h"

static void
names_are_quoted_whatever_they_hold(void **state)
{
	psti_buf buf = PSTI_BUF_INIT;

	(void) state;
	psti_buf_qualified(&buf, "a.b", "say \"hi\"");
	assert_string_equal(buf.data, "\"a.b\".\"say \"\"hi\"\"\"");
	psti_buf_reset(&buf);
	psti_buf_qualified(&buf, NULL, "t");
	assert_string_equal(buf.data, "\"t\"");
	psti_buf_free(&buf);
}

static void
literals_are_safe_under_either_string_syntax(void **state)
{
	psti_buf buf = PSTI_BUF_INIT;

	(void) state;
	psti_buf_literal(&buf, "it's");
	psti_buf_literal(&buf, "back\\slash's");
	assert_string_equal(buf.data, "'it''s'E'back\\\\slash''s'");
	psti_buf_free(&buf);
}

static void
integers_are_big_endian(void **state)
{
	psti_buf buf = PSTI_BUF_INIT;

	(void) state;
	psti_buf_int16(&buf, 0x0102);
	psti_buf_int32(&buf, -2);
	psti_buf_int64(&buf, 0x0102030405060708);
	psti_buf_int32_at(&buf, 2, 7);
	psti_buf_int32_at(&buf, 11, 7); /* beyond the end: ignored */
	assert_int_equal(buf.len, 14);
	assert_memory_equal(buf.data, "\1\2\0\0\0\7\1\2\3\4\5\6\7\10", 14);
	psti_buf_free(&buf);
}

static void
a_failed_buffer_stays_failed_and_owns_nothing_broken(void **state)
{
	psti_buf buf = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	psti_buf_puts(&buf, "kept");
	assert_null(psti_buf_reserve(&buf, SIZE_MAX - 2));
	assert_true(buf.failed);
	psti_buf_puts(&buf, "ignored");
	assert_string_equal(buf.data, "kept");
	assert_fails(psti_buf_check(&buf, &err), PST_ERR_NOMEM, &err);
	assert_null(psti_buf_steal(&buf));
	assert_null(buf.data);
}

static void
an_empty_buffer_gives_an_empty_text(void **state)
{
	psti_buf buf = PSTI_BUF_INIT;
	char *text = psti_buf_steal(&buf);

	(void) state;
	assert_string_equal(text, "");
	pst_free(text);
}

static pst_status
build(void *ctx, pst_error *err)
{
	psti_buf buf = PSTI_BUF_INIT;
	pst_status status;

	(void) ctx;
	for (int i = 0; i < 200; i++)
		psti_buf_printf(&buf, "%d,", i);
	psti_buf_literal(&buf, "x\\y");
	status = psti_buf_check(&buf, err);
	psti_buf_free(&buf);
	return status;
}

static void
every_failing_allocation_is_reported(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(build, NULL) >= 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_quoted_whatever_they_hold),
		cmocka_unit_test(literals_are_safe_under_either_string_syntax),
		cmocka_unit_test(integers_are_big_endian),
		cmocka_unit_test(a_failed_buffer_stays_failed_and_owns_nothing_broken),
		cmocka_unit_test(an_empty_buffer_gives_an_empty_text),
		cmocka_unit_test(every_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
