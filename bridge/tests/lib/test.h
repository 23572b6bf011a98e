/* test.h - cmocka with the headers that it wants before it, and assertions of our own. */
#ifndef TEST_TEST_H
#define TEST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock.h"

/* The status is PST_OK, or the test fails with the error's text. */
#define assert_ok(call, err)                                                                       \
	do                                                                                             \
	{                                                                                              \
		pst_status assert_ok_status = (call);                                                      \
		if (assert_ok_status != PST_OK)                                                            \
			fail_msg("%s: %s: %s %s %s", #call, pst_status_name(assert_ok_status), (err)->message, \
					 (err)->detail, (err)->hint);                                                  \
	} while (0)

/* The call fails with this status, and the error carries it too. */
#define assert_fails(call, want, err)                                                              \
	do                                                                                             \
	{                                                                                              \
		pst_status assert_fails_status = (call);                                                   \
		if (assert_fails_status != (want) || (err)->status != (want))                              \
			fail_msg("%s: got %s (err: %s \"%s\"), wanted %s", #call,                              \
					 pst_status_name(assert_fails_status), pst_status_name((err)->status),         \
					 (err)->message, #want);                                                       \
	} while (0)

/* The text contains a part. */
#define assert_contains(text, part)                                                                \
	do                                                                                             \
	{                                                                                              \
		const char *assert_contains_text = (text);                                                 \
		if (strstr(assert_contains_text, (part)) == NULL)                                          \
			fail_msg("\"%s\" does not contain \"%s\"", assert_contains_text, (part));              \
	} while (0)

/* A fixed sequence of pseudo-random numbers (xorshift64*): the same in each run and everywhere. */
static inline uint64_t
test_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545F4914F6CDD1Du;
}

#endif /* TEST_TEST_H */
