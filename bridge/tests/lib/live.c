/* live.c - what live.h promises. */
#include "test.h"

#include <libgen.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live.h"

static char database[64];

PGconn *
live_connect(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("cannot connect by \"%s\": %s", conninfo, PQerrorMessage(conn));
	return conn;
}

static PGresult *
run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	return result;
}

static char *format(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static char *
format(const char *fmt, va_list ap)
{
	char *sql;

	if (vasprintf(&sql, fmt, ap) < 0)
		fail_msg("out of memory");
	return sql;
}

void
live_exec(PGconn *conn, const char *fmt, ...)
{
	va_list ap;
	char *sql;

	va_start(ap, fmt);
	sql = format(fmt, ap);
	va_end(ap);
	PQclear(run(conn, sql));
	free(sql);
}

static char *
first_value(PGconn *conn, const char *sql)
{
	PGresult *result = run(conn, sql);
	char *value = NULL;

	if (PQntuples(result) > 0 && !PQgetisnull(result, 0, 0))
		value = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

char *
live_value(PGconn *conn, const char *fmt, ...)
{
	va_list ap;
	char *sql, *value;

	va_start(ap, fmt);
	sql = format(fmt, ap);
	va_end(ap);
	value = first_value(conn, sql);
	free(sql);
	return value;
}

long long
live_int(PGconn *conn, const char *fmt, ...)
{
	va_list ap;
	char *sql, *value;
	long long number;

	va_start(ap, fmt);
	sql = format(fmt, ap);
	va_end(ap);
	value = first_value(conn, sql);
	if (value == NULL)
		fail_msg("%s: no value", sql);
	number = strtoll(value, NULL, 10);
	free(value);
	free(sql);
	return number;
}

int
live_make_database(void **state)
{
	PGconn *conn = live_connect("dbname=postgres");
	char self[512];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void) state;
	self[len < 0 ? 0 : len] = '\0';
	snprintf(database, sizeof(database), "c_%.40s_%d", basename(self), (int) getpid());
	live_exec(conn, "CREATE DATABASE \"%s\"", database);
	PQfinish(conn);
	return setenv("PGDATABASE", database, 1);
}

int
live_drop_database(void **state)
{
	PGconn *conn = live_connect("dbname=postgres");

	(void) state;
	live_exec(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'",
			  database);
	live_exec(conn, "DROP DATABASE \"%s\"", database);
	PQfinish(conn);
	return setenv("PGDATABASE", "postgres", 1);
}

void
live_skip(const char *reason)
{
	/* cmocka's skip() takes no reason: the runner reads the line before. */
	printf("# %s\n", reason);
	skip();
}

/* Whether the test is one for this server; says so when it is not. */
static bool
is_applicable(PGconn *conn, const struct CMUnitTest *test)
{
	const live_need *need = test->initial_state;

	if (need == NULL)
		return true;
	if (need->what != NULL)
	{
		if (PQserverVersion(conn) >= need->version)
			return true;
		printf("# not applicable: %s: %s came with PostgreSQL %d\n", test->name, need->what,
			   need->version / 10000);
		return false;
	}
	if (live_int(conn, "SELECT count(*) FROM pg_available_extensions WHERE name = 'penstock'") == 1)
		return true;
	printf("# not applicable: %s: the server has no extension\n", test->name);
	return false;
}

int
live_run_tests(const char *group, const struct CMUnitTest *tests, size_t n,
			   int (*setup)(void **state), int (*teardown)(void **state))
{
	struct CMUnitTest *applicable = calloc(n, sizeof(*applicable));
	PGconn *conn = live_connect("dbname=postgres");
	size_t used = 0;
	int failed = 0;

	if (applicable == NULL)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (is_applicable(conn, &tests[i]))
			applicable[used++] = tests[i];
	PQfinish(conn);
	if (used == 0)
		printf("1..0\n");
	fflush(stdout);
	if (used > 0)
		failed = _cmocka_run_group_tests(group, applicable, used, setup, teardown);
	free(applicable);
	return failed;
}

void
live_ctl(const char *which, const char *action)
{
	char command[600];

	snprintf(command, sizeof(command), "'%s/ctl' %s %s", getenv("PENSTOCK_CLUSTER"), which, action);
	if (system(command) != 0)
		fail_msg("%s failed", command);
}

static void
become_proxy(int in, int out, const char *const *rules)
{
	char *argv[40] = {(char *) "python3", (char *) TEST_TOP "/bridge/tests/lib/proxy.py",
					  (char *) "--server"};
	char server[64];
	int n = 3;

	snprintf(server, sizeof(server), "127.0.0.1:%s", getenv("PGPORT"));
	argv[n++] = server;
	for (; rules != NULL && *rules != NULL && n < 38; rules++)
	{
		argv[n++] = (char *) "--rule";
		argv[n++] = (char *) *rules;
	}
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	execvp("python3", argv);
	_exit(127);
}

/* One line of the proxy's output, without its end; malloc'd. */
static char *
read_line(int fd)
{
	size_t len = 0, cap = 4096;
	char *line = malloc(cap);

	while (line != NULL && read(fd, line + len, 1) == 1 && line[len] != '\n')
		if (++len + 1 == cap)
			line = realloc(line, cap *= 2);
	if (line == NULL)
		fail_msg("out of memory");
	line[len] = '\0';
	return line;
}

void
live_proxy_start(live_proxy *proxy, const char *const *rules)
{
	int in[2], out[2];
	char *line;

	if (pipe(in) != 0 || pipe(out) != 0)
		fail_msg("no pipe");
	proxy->pid = fork();
	if (proxy->pid == 0)
	{
		close(in[1]);
		close(out[0]);
		become_proxy(in[0], out[1], rules);
	}
	close(in[0]);
	close(out[1]);
	proxy->to = in[1];
	proxy->from = out[0];
	line = read_line(proxy->from);
	proxy->port = (int) strtol(line, NULL, 10);
	free(line);
	if (proxy->port == 0)
		fail_msg("the proxy did not start");
	snprintf(proxy->conninfo, sizeof(proxy->conninfo), "host=127.0.0.1 port=%d sslmode=disable",
			 proxy->port);
}

char *
live_proxy_stop(live_proxy *proxy)
{
	char *report;

	close(proxy->to);
	report = read_line(proxy->from);
	close(proxy->from);
	waitpid(proxy->pid, NULL, 0);
	return report;
}

bool
live_assisted(PGconn *conn)
{
	return live_int(conn, "SELECT count(*) FROM pg_extension WHERE extname = 'penstock'") == 1;
}
