/*
 * alloc.c - the wrapped allocation functions and the sweep over them (alloc.h).
 *
 * While watching, live pointers stand in an open-addressing set so that leaks are seen without
 * valgrind or ASan. Not thread-safe on purpose: the library starts no thread.
 */
#include "test.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "alloc.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *ptr, size_t size);
void __real_free(void *ptr);

#define TOMBSTONE ((void *) 1)

static struct
{
	bool watching;
	bool failed;	/* the chosen allocation has been reached */
	size_t made;	/* allocations since the watch began */
	size_t fail_at; /* 0: none */
	void **set;		/* live pointers */
	size_t used;	/* entries that are not NULL, tombstones too */
	size_t cap;		/* a power of two */
	size_t live;
} state;

static size_t
slot_of(const void *ptr)
{
	return (size_t) (((uintptr_t) ptr >> 4) * 0x9E3779B97F4A7C15u) & (state.cap - 1);
}

static void
set_insert(void *ptr)
{
	size_t i = slot_of(ptr);

	while (state.set[i] != NULL && state.set[i] != TOMBSTONE)
		i = (i + 1) & (state.cap - 1);
	state.used += state.set[i] == NULL;
	state.set[i] = ptr;
}

static void
set_grow(void)
{
	void **old = state.set;
	size_t old_cap = state.cap;

	state.cap = old_cap == 0 ? 1024 : old_cap * 2;
	state.set = __real_calloc(state.cap, sizeof(void *));
	state.used = 0;
	for (size_t i = 0; i < old_cap; i++)
		if (old[i] != NULL && old[i] != TOMBSTONE)
			set_insert(old[i]);
	__real_free(old);
}

static void
track(void *ptr)
{
	if (!state.watching || ptr == NULL)
		return;
	if ((state.used + 1) * 2 > state.cap)
		set_grow();
	set_insert(ptr);
	state.live++;
}

static void
untrack(void *ptr)
{
	if (!state.watching || ptr == NULL || state.cap == 0)
		return;
	for (size_t i = slot_of(ptr); state.set[i] != NULL; i = (i + 1) & (state.cap - 1))
		if (state.set[i] == ptr)
		{
			state.set[i] = TOMBSTONE;
			state.live--;
			return;
		}
}

/* Counts an allocation; true when it is the one to fail. */
static bool
refuse(void)
{
	if (!state.watching)
		return false;
	state.made++;
	if (state.made != state.fail_at)
		return false;
	state.failed = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *ptr, size_t size);
void __wrap_free(void *ptr);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
int __wrap_asprintf(char **out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void *
__wrap_malloc(size_t size)
{
	void *ptr = refuse() ? NULL : __real_malloc(size);

	track(ptr);
	return ptr;
}

void *
__wrap_calloc(size_t n, size_t size)
{
	void *ptr = refuse() ? NULL : __real_calloc(n, size);

	track(ptr);
	return ptr;
}

void *
__wrap_realloc(void *ptr, size_t size)
{
	void *grown;

	if (refuse())
		return NULL;
	untrack(ptr);
	grown = __real_realloc(ptr, size);
	track(grown);
	return grown;
}

void
__wrap_free(void *ptr)
{
	untrack(ptr);
	__real_free(ptr);
}

char *
__wrap_strndup(const char *text, size_t n)
{
	size_t len = strnlen(text, n);
	char *copy = __wrap_malloc(len + 1);

	if (copy != NULL)
	{
		memcpy(copy, text, len);
		copy[len] = '\0';
	}
	return copy;
}

char *
__wrap_strdup(const char *text)
{
	return __wrap_strndup(text, strlen(text));
}

int
__wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	*out = len < 0 ? NULL : __wrap_malloc((size_t) len + 1);
	if (*out == NULL)
		return -1;
	return vsnprintf(*out, (size_t) len + 1, fmt, ap);
}

int
__wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = __wrap_vasprintf(out, fmt, ap);
	va_end(ap);
	return len;
}

void *
test_alloc_tracked(size_t size)
{
	void *ptr = __real_malloc(size);

	track(ptr);
	return ptr;
}

void
test_alloc_fail_at(size_t n)
{
	cJSON_Hooks hooks = {.malloc_fn = __wrap_malloc, .free_fn = __wrap_free};

	cJSON_InitHooks(&hooks);
	__real_free(state.set);
	memset(&state, 0, sizeof(state));
	state.fail_at = n;
	state.watching = true;
}

int
test_alloc_refused(void)
{
	return state.watching && state.failed;
}

int
test_alloc_failed(void)
{
	state.watching = false;
	cJSON_InitHooks(NULL);
	return state.failed;
}

size_t
test_alloc_live(void)
{
	return state.live;
}

/* One run; true while an allocation was made to fail. */
static bool
run_once(test_alloc_fn fn, void *ctx, size_t n, bool strict)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status;
	bool failed;

	test_alloc_fail_at(n);
	status = fn(ctx, &err);
	failed = test_alloc_failed();
	if (state.live != 0)
		fail_msg("with allocation %zu failing, %zu allocations were leaked", n, state.live);
	if (failed && strict && (status != PST_ERR_NOMEM || err.status != PST_ERR_NOMEM))
		fail_msg("with allocation %zu failing the status is %s (err: %s \"%s\")", n,
				 pst_status_name(status), pst_status_name(err.status), err.message);
	if (!failed && status < 0)
		fail_msg("with no allocation failing the status is %s: %s", pst_status_name(status),
				 err.message);
	return failed;
}

static size_t
sweep(test_alloc_fn fn, void *ctx, bool strict)
{
	for (size_t n = 1; n < 1000000; n++)
		if (!run_once(fn, ctx, n, strict))
			return n - 1;
	fail_msg("more than a million allocations: use a smaller case");
	return 0;
}

size_t
psti_test_alloc_sweep(test_alloc_fn fn, void *ctx)
{
	return sweep(fn, ctx, true);
}

size_t
psti_test_alloc_sweep_any(test_alloc_fn fn, void *ctx)
{
	return sweep(fn, ctx, false);
}
