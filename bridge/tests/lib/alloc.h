/*
 * alloc.h - runs code with its 1st, 2nd, … allocation failing, for unit tests.
 *
 * Unit tests are linked with --wrap for malloc, calloc, realloc, free, strdup, strndup, asprintf and
 * vasprintf, and cJSON is given the same functions, so every allocation of the library passes here.
 * Those inside libc and libpq do not.
 */
#ifndef TEST_ALLOC_H
#define TEST_ALLOC_H

#include <stddef.h>

#include "penstock.h"

/* What is tried: does the work, frees all that it got, returns the status. err is an empty error. */
typedef pst_status (*test_alloc_fn)(void *ctx, pst_error *err);

/*
 * Runs fn once for each allocation that it makes, with that one failing, and once with none failing.
 * Each failing run must return PST_ERR_NOMEM with a filled err and leak nothing, the last must
 * return PST_OK (or PST_END). Fails the cmocka test otherwise, saying which allocation it was.
 * Returns the number of allocations that were made to fail.
 */
size_t psti_test_alloc_sweep(test_alloc_fn fn, void *ctx);

/*
 * The same for work that has no status of that kind: fn may return what it likes in failing runs;
 * only leaks, crashes and a failure of the undisturbed run count.
 */
size_t psti_test_alloc_sweep_any(test_alloc_fn fn, void *ctx);

/* Single steps, for tests of their own: the n-th allocation from now on fails (0: none). */
void test_alloc_fail_at(size_t n);
/* Whether it has come to that so far. */
int test_alloc_refused(void);
/* The same. Also ends the watch. */
int test_alloc_failed(void);
/* Allocations since test_alloc_fail_at that are not freed yet. */
size_t test_alloc_live(void);

/* Memory that counts as a leak when it is not freed, but is never refused; for lib/ only. */
void *test_alloc_tracked(size_t size);

#endif /* TEST_ALLOC_H */
