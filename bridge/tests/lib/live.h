/*
 * live.h - what live tests in C share: connections, databases of their own, the fault proxy.
 *
 * They run inside scripts/cluster (make check-live), so conninfo "" leads to the server.
 */
#ifndef TEST_LIVE_H
#define TEST_LIVE_H

#include <libpq-fe.h>
#include <stdbool.h>

/*
 * Makes an empty database named after the test program and points PGDATABASE at it, so that
 * conninfo "" means it; live_drop_database ends that. Group setup and teardown of cmocka.
 */
int live_make_database(void **state);

/* Whether the database has the extension: reads are assisted then. */
bool live_assisted(PGconn *conn);
int live_drop_database(void **state);

/* A connection (conninfo may be ""); fails the test otherwise. */
PGconn *live_connect(const char *conninfo);

/* Runs one or more statements; fails the test when the server refuses one. */
void live_exec(PGconn *conn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The first value of a query's first row, malloc'd; NULL when it is null or there is no row. */
char *live_value(PGconn *conn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
long long live_int(PGconn *conn, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * In the list of tests: one of what came with a version (as in server_version_num), or of what the
 * extension has. live_run, which takes the place of cmocka_run_group_tests, leaves it out on servers
 * that are older or without the extension's files, and says so to the runner.
 */
typedef struct live_need
{
	int version;
	const char *what; /* "a partitioned table"; NULL: the extension */
} live_need;

#define live_test_since(since, of_what, test)                                                      \
	{                                                                                              \
		.name = #test, .test_func = (test),                                                        \
		.initial_state = (live_need[]){{.version = (since), .what = (of_what)}},                   \
	}
#define live_test_extension(test)                                                                  \
	{                                                                                              \
		.name = #test, .test_func = (test), .initial_state = (live_need[]){{.version = 0}},        \
	}
#define live_run(tests, setup, teardown)                                                           \
	live_run_tests(#tests, (tests), sizeof(tests) / sizeof((tests)[0]), (setup), (teardown))

struct CMUnitTest;
int live_run_tests(const char *group, const struct CMUnitTest *tests, size_t n,
				   int (*setup)(void **state), int (*teardown)(void **state));

/* Skips the test for another reason, a few words. */
void live_skip(const char *reason);

/* "primary"|"standby", "start"|"stop"|"restart"|"crash"|"promote" */
void live_ctl(const char *which, const char *action);

/* A fault proxy (lib/proxy.py) before the server; its port is that of conninfo. */
typedef struct live_proxy
{
	int pid;
	int to, from; /* its standard input and output */
	int port;
	char conninfo[128]; /* host=127.0.0.1 port=N sslmode=disable */
} live_proxy;

/* rules: NULL-terminated, as in lib/proxy.py. */
void live_proxy_start(live_proxy *proxy, const char *const *rules);

/* Ends it. Its report, one line of json, malloc'd; "fired" lists the rules that acted. */
char *live_proxy_stop(live_proxy *proxy);

#endif /* TEST_LIVE_H */
