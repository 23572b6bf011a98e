/*
 * fake_libpq.c - libpq's functions over a script (fake_libpq.h).
 *
 * These definitions are linked into the test program and so win over those of libpq.so, which only
 * gives what is not defined here. Memory that libpq would allocate is tracked (alloc.h) but never
 * refused: what is swept is the library.
 */
#include "test.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "alloc.h"
#include "fake_libpq.h"

#define MAX_PARAMETERS 32

struct pg_conn
{
	int fds[2]; /* the library polls the first; a byte in it makes it readable */
	bool readable;
	bool nonblocking;
	ConnStatusType status;
	PGTransactionStatusType trans;
	PGpipelineStatus pipeline;
	char error[512];
	PQnoticeReceiver receiver;
	void *receiver_arg;
	PQnoticeProcessor processor;
	void *processor_arg;
	struct pg_conn *next;
};

typedef struct column
{
	char *name;
	Oid type;
} column;

struct pg_result
{
	ExecStatusType status;
	const fake_pq_step *step; /* borrowed; texts of the error */
	int ncolumns;
	int nrows;
	column columns[64];
	char **values; /* nrows * ncolumns, NULL: null; point into text */
	char *text;	   /* an own copy of the step's rows */
	char error[1024];
	char tuples[32];
};

struct pg_cancel
{
	int unused;
};

static struct
{
	const fake_pq_step *script;
	size_t nsteps;
	size_t taken;
	int busy_told;	  /* of the next step's busy */
	const char *line; /* what PQgetlineAsync has not given yet */
	size_t line_left;
	int results; /* not cleared yet */
	int version;
	struct
	{
		const char *name;
		const char *value;
	} parameters[MAX_PARAMETERS];
	PGconn *conns;
} fake;

/* ---- the script -------------------------------------------------------------------------- */

static const fake_pq_step *
upcoming(void)
{
	return fake.taken < fake.nsteps ? &fake.script[fake.taken] : NULL;
}

static bool
next_is(const char *call)
{
	return upcoming() != NULL && strcmp(upcoming()->call, call) == 0;
}

/* Sets each socket readable or not, as the next step wants it. */
static void
set_readiness(void)
{
	bool readable = upcoming() == NULL || !upcoming()->stalled;
	char byte = 'x';

	for (PGconn *conn = fake.conns; conn != NULL; conn = conn->next)
	{
		if (readable && !conn->readable && write(conn->fds[1], &byte, 1) == 1)
			conn->readable = true;
		else if (!readable && conn->readable && read(conn->fds[0], &byte, 1) == 1)
			conn->readable = false;
	}
}

static bool
text_matches(const char *want, size_t want_len, const char *got, size_t got_len)
{
	if (want == NULL)
		return true;
	if (want[0] == '*')
		return memmem(got, got_len, want + 1, strlen(want + 1)) != NULL;
	return want_len == got_len && memcmp(want, got, got_len) == 0;
}

static void
set_error(PGconn *conn, const char *text)
{
	if (conn != NULL)
		snprintf(conn->error, sizeof(conn->error), "%s\n", text);
}

static void
send_notice(PGconn *conn, const char *text)
{
	fake_pq_step step = {.call = "notice",
						 .result = true,
						 .status = PGRES_NONFATAL_ERROR,
						 .sqlstate = "00000",
						 .message = text};
	PGresult *result = fake_pq_result(&step);

	if (conn->receiver != NULL)
		conn->receiver(conn->receiver_arg, result);
	else if (conn->processor != NULL)
		conn->processor(conn->processor_arg, PQresultErrorMessage(result));
	PQclear(result);
}

static const char *
describe(const char *text, size_t len)
{
	static char out[2][512];
	static int turn;
	char *to = out[turn ^= 1];

	snprintf(to, sizeof(out[0]), "%.*s", (int) (len < 500 ? len : 500), text == NULL ? "" : text);
	return to;
}

/* The next step must be this call with these arguments: takes it. */
static const fake_pq_step *
take(PGconn *conn, const char *call, const char *text, size_t len, const char *params)
{
	const fake_pq_step *step = upcoming();

	if (step == NULL)
		fail_msg("%s(%s) was called after the script's end", call, describe(text, len));
	if (strcmp(step->call, call) != 0)
		fail_msg("step %zu: %s(%s) was called, the script has %s(%s)", fake.taken, call,
				 describe(text, len), step->call, step->text == NULL ? "" : step->text);
	if (!text_matches(step->text,
					  step->text_len ? step->text_len : strlen(step->text ? step->text : ""),
					  text == NULL ? "" : text, len))
		fail_msg("step %zu: %s was called with \"%s\", the script has \"%s\"", fake.taken, call,
				 describe(text, len), step->text);
	if (step->params != NULL && strcmp(step->params, params == NULL ? "" : params) != 0)
		fail_msg("step %zu: %s(%s) was called with parameters \"%s\", the script has \"%s\"",
				 fake.taken, call, describe(text, len), params, step->params);
	fake.taken++;
	fake.busy_told = 0;
	if (step->trans != 0 && conn != NULL)
		conn->trans = (PGTransactionStatusType) (step->trans - 1);
	if (step->fails != NULL && conn != NULL)
	{
		set_error(conn, step->fails);
		if (step->lost)
			conn->status = CONNECTION_BAD;
	}
	if (step->notice != NULL && conn != NULL)
		send_notice(conn, step->notice);
	set_readiness();
	return step;
}

/* A call that is answered with dflt unless the script's next step names it. */
static int
answer(PGconn *conn, const char *call, int dflt, int failure)
{
	const fake_pq_step *step;

	if (!next_is(call))
		return dflt;
	step = take(conn, call, NULL, 0, NULL);
	if (step->fails != NULL && !step->has_value)
		return failure;
	return step->has_value ? step->value : dflt;
}

/* Out of memory the library leaves the script, with a ROLLBACK say: it finds the connection lost. */
static bool
left_script(PGconn *conn, const char *call, const char *text)
{
	const fake_pq_step *step = upcoming();

	if (!test_alloc_refused() || conn == NULL)
		return false;
	if (step != NULL && strcmp(step->call, call) == 0 &&
		text_matches(step->text, strlen(step->text ? step->text : ""), text ? text : "",
					 strlen(text ? text : "")))
		return false;
	set_error(conn, "the script has nothing for what follows a failed allocation");
	conn->status = CONNECTION_BAD;
	return true;
}

static int
sent(PGconn *conn, const char *call, const char *text, const char *params)
{
	const fake_pq_step *step;

	if (left_script(conn, call, text))
		return 0;
	step = take(conn, call, text, text == NULL ? 0 : strlen(text), params);
	if (step->has_value)
		return step->value;
	return step->fails == NULL;
}

void
fake_pq_begin(const fake_pq_step *script, size_t nsteps)
{
	memset(&fake, 0, sizeof(fake));
	fake.script = script;
	fake.nsteps = nsteps;
	fake.version = 150000;
	fake_pq_parameter("server_encoding", "UTF8");
	fake_pq_parameter("client_encoding", "UTF8");
	fake_pq_parameter("standard_conforming_strings", "on");
	fake_pq_parameter("integer_datetimes", "on");
	fake_pq_parameter("server_version", "15.0");
	fake_pq_parameter("TimeZone", "UTC");
}

void
fake_pq_end(void)
{
	if (upcoming() != NULL)
		fail_msg("the script's step %zu %s(%s) was never called", fake.taken, upcoming()->call,
				 upcoming()->text == NULL ? "" : upcoming()->text);
	if (fake.results != 0)
		fail_msg("%d results were not cleared", fake.results);
	if (fake.conns != NULL)
		fail_msg("a connection was not finished");
	fake_pq_abandon();
}

void
fake_pq_abandon(void)
{
	fake.script = NULL;
	fake.nsteps = fake.taken = 0;
}

size_t
fake_pq_taken(void)
{
	return fake.taken;
}

void
fake_pq_server_version(int version)
{
	fake.version = version;
}

void
fake_pq_parameter(const char *name, const char *value)
{
	for (int i = 0; i < MAX_PARAMETERS; i++)
		if (fake.parameters[i].name == NULL || strcmp(fake.parameters[i].name, name) == 0)
		{
			fake.parameters[i].name = name;
			fake.parameters[i].value = value;
			return;
		}
	fail_msg("fake_libpq: too many parameters");
}

/* ---- connections --------------------------------------------------------------------------- */

static PGconn *
new_conn(void)
{
	PGconn *conn = test_alloc_tracked(sizeof(*conn));

	memset(conn, 0, sizeof(*conn));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, conn->fds) != 0)
		fail_msg("fake_libpq: no socketpair");
	conn->next = fake.conns;
	fake.conns = conn;
	set_readiness();
	return conn;
}

static const char *
join_options(const char *const *keys, const char *const *values, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0; keys[i] != NULL; i++)
		if (values[i] != NULL && used < size)
			used += (size_t) snprintf(out + used, size - used, "%s%s=%s", used == 0 ? "" : " ",
									  keys[i], values[i]);
	return out;
}

static PGconn *
connect_as(const char *call, const char *const *keys, const char *const *values)
{
	char options[4096];
	const char *text = join_options(keys, values, options, sizeof(options));
	PGconn *conn = new_conn();
	const fake_pq_step *step = take(conn, call, text, strlen(text), NULL);

	if (step->fails != NULL)
		conn->status = CONNECTION_BAD;
	else if (strcmp(call, "PQconnectStartParams") == 0)
		conn->status = CONNECTION_STARTED;
	return conn;
}

PGconn *
PQconnectStartParams(const char *const *keys, const char *const *values, int expand)
{
	(void) expand;
	return connect_as("PQconnectStartParams", keys, values);
}

/* Without a value: those of PQconnectStartParams are in its step. */
PQconninfoOption *
PQconninfo(PGconn *conn)
{
	char *message = NULL;

	(void) conn;
	return PQconninfoParse("", &message);
}

PGconn *
PQconnectdbParams(const char *const *keys, const char *const *values, int expand)
{
	(void) expand;
	return connect_as("PQconnectdbParams", keys, values);
}

PostgresPollingStatusType
PQconnectPoll(PGconn *conn)
{
	int status = answer(conn, "PQconnectPoll", PGRES_POLLING_OK, PGRES_POLLING_FAILED);

	if (status == PGRES_POLLING_OK)
		conn->status = CONNECTION_OK;
	else if (status == PGRES_POLLING_FAILED)
		conn->status = CONNECTION_BAD;
	return (PostgresPollingStatusType) status;
}

void
PQfinish(PGconn *conn)
{
	PGconn **at = &fake.conns;

	if (conn == NULL)
		return;
	while (*at != NULL && *at != conn)
		at = &(*at)->next;
	if (*at == NULL)
		fail_msg("PQfinish of a connection that is not open");
	*at = conn->next;
	close(conn->fds[0]);
	close(conn->fds[1]);
	free(conn);
}

ConnStatusType
PQstatus(const PGconn *conn)
{
	return conn == NULL ? CONNECTION_BAD : conn->status;
}

PGTransactionStatusType
PQtransactionStatus(const PGconn *conn)
{
	if (conn == NULL || conn->status != CONNECTION_OK)
		return PQTRANS_UNKNOWN;
	return conn->trans;
}

const char *
PQparameterStatus(const PGconn *conn, const char *name)
{
	(void) conn;
	for (int i = 0; i < MAX_PARAMETERS && fake.parameters[i].name != NULL; i++)
		if (strcmp(fake.parameters[i].name, name) == 0)
			return fake.parameters[i].value;
	return NULL;
}

int
PQserverVersion(const PGconn *conn)
{
	return conn == NULL || conn->status == CONNECTION_BAD ? 0 : fake.version;
}

int
PQprotocolVersion(const PGconn *conn)
{
	return conn == NULL ? 0 : 3;
}

char *
PQerrorMessage(const PGconn *conn)
{
	static char none[] = "connection pointer is NULL\n";

	return conn == NULL ? none : (char *) conn->error;
}

int
PQsocket(const PGconn *conn)
{
	return conn == NULL || conn->status == CONNECTION_BAD ? -1 : conn->fds[0];
}

int
PQbackendPID(const PGconn *conn)
{
	return conn == NULL ? 0 : 4711;
}

int
PQsetnonblocking(PGconn *conn, int arg)
{
	conn->nonblocking = arg != 0;
	return answer(conn, "PQsetnonblocking", 0, -1);
}

int
PQisnonblocking(const PGconn *conn)
{
	return conn->nonblocking;
}

PQnoticeReceiver
PQsetNoticeReceiver(PGconn *conn, PQnoticeReceiver receiver, void *arg)
{
	PQnoticeReceiver old = conn->receiver;

	conn->receiver = receiver;
	conn->receiver_arg = arg;
	return old;
}

PQnoticeProcessor
PQsetNoticeProcessor(PGconn *conn, PQnoticeProcessor processor, void *arg)
{
	PQnoticeProcessor old = conn->processor;

	conn->processor = processor;
	conn->processor_arg = arg;
	return old;
}

char *
PQdb(const PGconn *conn)
{
	(void) conn;
	return (char *) "fakedb";
}

char *
PQuser(const PGconn *conn)
{
	(void) conn;
	return (char *) "fakeuser";
}

char *
PQhost(const PGconn *conn)
{
	(void) conn;
	return (char *) "fakehost";
}

char *
PQhostaddr(const PGconn *conn)
{
	(void) conn;
	return (char *) "192.0.2.1";
}

const char *
PQsslAttribute(PGconn *conn, const char *name)
{
	(void) conn;
	(void) name;
	return NULL;
}

char *
PQport(const PGconn *conn)
{
	(void) conn;
	return (char *) "5432";
}

int
PQsslInUse(PGconn *conn)
{
	return answer(conn, "PQsslInUse", 0, 0);
}

int
PQsetClientEncoding(PGconn *conn, const char *encoding)
{
	(void) encoding;
	return answer(conn, "PQsetClientEncoding", 0, -1);
}

int
PQconnectionUsedPassword(const PGconn *conn)
{
	(void) conn;
	return 0;
}

int
PQconnectionNeedsPassword(const PGconn *conn)
{
	(void) conn;
	return 0;
}

/* ---- sending ------------------------------------------------------------------------------- */

static void
append(char *out, size_t size, size_t *used, const char *text, size_t len)
{
	if (*used + len + 1 > size)
		len = size - *used - 1;
	memcpy(out + *used, text, len);
	*used += len;
	out[*used] = '\0';
}

/* `a|\N|\x00ff` */
static const char *
join_params(int n, const char *const *values, const int *lengths, const int *formats)
{
	static char out[65536];
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			append(out, sizeof(out), &used, "|", 1);
		if (values == NULL || values[i] == NULL)
			append(out, sizeof(out), &used, "\\N", 2);
		else if (formats == NULL || formats[i] == 0)
			append(out, sizeof(out), &used, values[i], strlen(values[i]));
		else
		{
			append(out, sizeof(out), &used, "\\x", 2);
			for (int b = 0; b < lengths[i]; b++)
			{
				char hex[3];

				snprintf(hex, sizeof(hex), "%02X", (unsigned char) values[i][b]);
				append(out, sizeof(out), &used, hex, 2);
			}
		}
	}
	return out;
}

int
PQsendQuery(PGconn *conn, const char *sql)
{
	return sent(conn, "PQsendQuery", sql, NULL);
}

int
PQsendQueryParams(PGconn *conn, const char *sql, int n, const Oid *types, const char *const *values,
				  const int *lengths, const int *formats, int format)
{
	(void) types;
	(void) format;
	return sent(conn, "PQsendQueryParams", sql, join_params(n, values, lengths, formats));
}

int
PQsendPrepare(PGconn *conn, const char *name, const char *sql, int n, const Oid *types)
{
	(void) n;
	(void) types;
	return sent(conn, "PQsendPrepare", sql, name);
}

int
PQsendQueryPrepared(PGconn *conn, const char *name, int n, const char *const *values,
					const int *lengths, const int *formats, int format)
{
	(void) format;
	return sent(conn, "PQsendQueryPrepared", name, join_params(n, values, lengths, formats));
}

int
PQsendDescribePrepared(PGconn *conn, const char *name)
{
	return sent(conn, "PQsendDescribePrepared", name, NULL);
}

int
PQsendDescribePortal(PGconn *conn, const char *name)
{
	return sent(conn, "PQsendDescribePortal", name, NULL);
}

int
PQsetSingleRowMode(PGconn *conn)
{
	return answer(conn, "PQsetSingleRowMode", 1, 0);
}

int
PQpipelineSync(PGconn *conn)
{
	return sent(conn, "PQpipelineSync", NULL, NULL);
}

int
PQsendFlushRequest(PGconn *conn)
{
	return answer(conn, "PQsendFlushRequest", 1, 0);
}

int
PQenterPipelineMode(PGconn *conn)
{
	int ok = answer(conn, "PQenterPipelineMode", 1, 0);

	if (ok)
		conn->pipeline = PQ_PIPELINE_ON;
	return ok;
}

int
PQexitPipelineMode(PGconn *conn)
{
	int ok = answer(conn, "PQexitPipelineMode", 1, 0);

	if (ok)
		conn->pipeline = PQ_PIPELINE_OFF;
	return ok;
}

PGpipelineStatus
PQpipelineStatus(const PGconn *conn)
{
	return conn->pipeline;
}

int
PQflush(PGconn *conn)
{
	return answer(conn, "PQflush", 0, -1);
}

int
PQconsumeInput(PGconn *conn)
{
	return answer(conn, "PQconsumeInput", 1, 0);
}

int
PQisBusy(PGconn *conn)
{
	if (!next_is("PQisBusy") && upcoming() != NULL && fake.busy_told < upcoming()->busy)
	{
		fake.busy_told++;
		return 1;
	}
	return answer(conn, "PQisBusy", upcoming() != NULL && upcoming()->stalled, 1);
}

int
PQputCopyData(PGconn *conn, const char *data, int nbytes)
{
	const fake_pq_step *step = take(conn, "PQputCopyData", data, (size_t) nbytes, NULL);

	if (step->has_value)
		return step->value;
	return step->fails == NULL ? 1 : -1;
}

int
PQputCopyEnd(PGconn *conn, const char *error)
{
	const fake_pq_step *step =
		take(conn, "PQputCopyEnd", error, error == NULL ? 0 : strlen(error), NULL);

	if (step->has_value)
		return step->value;
	return step->fails == NULL ? 1 : -1;
}

int
PQgetCopyData(PGconn *conn, char **buffer, int async)
{
	const fake_pq_step *step = take(conn, "PQgetCopyData", NULL, 0, NULL);

	(void) async;
	*buffer = NULL;
	if (step->fails != NULL)
		return -2;
	if (step->has_value)
		return step->value;
	*buffer = test_alloc_tracked(step->data_len + 1);
	memcpy(*buffer, step->data, step->data_len);
	(*buffer)[step->data_len] = '\0';
	return (int) step->data_len;
}

/* As much of a step's data as fits; the rest comes with the next calls. */
int
PQgetlineAsync(PGconn *conn, char *buffer, int size)
{
	const fake_pq_step *step;
	size_t n;

	if (fake.line_left == 0)
	{
		step = take(conn, "PQgetlineAsync", NULL, 0, NULL);
		if (step->has_value)
			return step->value;
		fake.line = step->data;
		fake.line_left = step->data_len;
	}
	n = fake.line_left < (size_t) size ? fake.line_left : (size_t) size;
	memcpy(buffer, fake.line, n);
	fake.line += n;
	fake.line_left -= n;
	return (int) n;
}

PGVerbosity
PQsetErrorVerbosity(PGconn *conn, PGVerbosity verbosity)
{
	(void) conn;
	(void) verbosity;
	return PQERRORS_DEFAULT;
}

void
PQfreemem(void *ptr)
{
	free(ptr);
}

PGcancel *
PQgetCancel(PGconn *conn)
{
	const fake_pq_step *step;

	if (left_script(conn, "PQgetCancel", NULL))
		return NULL;
	step = take(conn, "PQgetCancel", NULL, 0, NULL);
	return step->fails != NULL ? NULL : test_alloc_tracked(sizeof(PGcancel));
}

int
PQcancel(PGcancel *cancel, char *error, int size)
{
	const fake_pq_step *step = take(NULL, "PQcancel", NULL, 0, NULL);

	(void) cancel;
	if (step->fails != NULL)
		snprintf(error, (size_t) size, "%s", step->fails);
	return step->fails == NULL;
}

void
PQfreeCancel(PGcancel *cancel)
{
	free(cancel);
}

#ifdef LIBPQ_HAS_ASYNC_CANCEL

struct pg_cancel_conn
{
	int unused;
};

/* Of the script it is PQgetCancel, which the library calls with an older libpq. No server is reached. */
PGcancelConn *
PQcancelCreate(PGconn *conn)
{
	const fake_pq_step *step;

	if (left_script(conn, "PQgetCancel", NULL))
		return NULL;
	step = take(conn, "PQgetCancel", NULL, 0, NULL);
	return step->fails != NULL ? NULL : test_alloc_tracked(sizeof(PGcancelConn));
}

int
PQcancelStart(PGcancelConn *cancel)
{
	(void) cancel;
	return 0;
}

int
PQcancelSocket(const PGcancelConn *cancel)
{
	(void) cancel;
	return -1;
}

PostgresPollingStatusType
PQcancelPoll(PGcancelConn *cancel)
{
	(void) cancel;
	return PGRES_POLLING_FAILED;
}

void
PQcancelFinish(PGcancelConn *cancel)
{
	free(cancel);
}

#endif

/* ---- results ------------------------------------------------------------------------------- */

/* Splits at separators in place; `\N` gives NULL, `\p` a pipe, `\n` a line break, `\\` a backslash. */
static char *
next_value(char **at, char *end)
{
	char *from = *at, *to = *at, *start = *at;
	bool null =
		strncmp(from, "\\N", 2) == 0 && (from[2] == '|' || from[2] == '\n' || from[2] == '\0');

	for (; from < end && *from != '|' && *from != '\n'; from++)
	{
		if (*from == '\\' && from + 1 < end)
		{
			from++;
			*to++ = *from == 'p' ? '|' : *from == 'n' ? '\n' : *from;
		}
		else
			*to++ = *from;
	}
	*at = from;
	if (to < from || from == end)
		*to = '\0';
	return null ? NULL : start;
}

static void
parse_header(PGresult *result, char **at, char *end)
{
	for (;;)
	{
		column *col = &result->columns[result->ncolumns++];
		char *colon, last;

		col->name = next_value(at, end);
		last = **at;
		**at = '\0';
		colon = strchr(col->name, ':');
		col->type = colon == NULL ? 25 : (Oid) strtoul(colon + 1, NULL, 10);
		if (colon != NULL)
			*colon = '\0';
		if (*at < end)
			(*at)++;
		if (last != '|')
			return;
		if (result->ncolumns == 64)
			fail_msg("fake_libpq: a result has at most 64 columns");
	}
}

static void
parse_rows(PGresult *result, const char *rows)
{
	size_t len = strlen(rows), n = 0;
	char *at, *end;

	result->text = test_alloc_tracked(len + 1);
	memcpy(result->text, rows, len + 1);
	at = result->text;
	end = at + len;
	result->values = test_alloc_tracked((len + 1) * sizeof(char *));
	parse_header(result, &at, end);
	while (at < end)
	{
		for (int c = 0; c < result->ncolumns; c++)
		{
			char last;

			result->values[n++] = next_value(&at, end);
			last = *at;
			*at = '\0';
			if (at < end)
				at++;
			if ((last == '|') != (c + 1 < result->ncolumns))
				fail_msg("fake_libpq: row %d of a result has not %d columns", result->nrows,
						 result->ncolumns);
		}
		result->nrows++;
	}
}

PGresult *
fake_pq_result(const fake_pq_step *step)
{
	PGresult *result = test_alloc_tracked(sizeof(*result));

	memset(result, 0, sizeof(*result));
	result->status = step->status;
	result->step = step;
	if (step->rows != NULL)
		parse_rows(result, step->rows);
	if (step->message != NULL)
		snprintf(result->error, sizeof(result->error), "ERROR:  %s\n", step->message);
	fake.results++;
	return result;
}

PGresult *
PQgetResult(PGconn *conn)
{
	const fake_pq_step *step = take(conn, "PQgetResult", NULL, 0, NULL);

	return step->result ? fake_pq_result(step) : NULL;
}

static PGresult *
executed(PGconn *conn, const char *call, const char *text, const char *params)
{
	const fake_pq_step *step = take(conn, call, text, strlen(text), params);

	return step->fails != NULL ? NULL : fake_pq_result(step);
}

PGresult *
PQexec(PGconn *conn, const char *sql)
{
	return executed(conn, "PQexec", sql, NULL);
}

PGresult *
PQexecParams(PGconn *conn, const char *sql, int n, const Oid *types, const char *const *values,
			 const int *lengths, const int *formats, int format)
{
	(void) types;
	(void) format;
	return executed(conn, "PQexecParams", sql, join_params(n, values, lengths, formats));
}

PGresult *
PQprepare(PGconn *conn, const char *name, const char *sql, int n, const Oid *types)
{
	(void) n;
	(void) types;
	return executed(conn, "PQprepare", sql, name);
}

PGresult *
PQexecPrepared(PGconn *conn, const char *name, int n, const char *const *values, const int *lengths,
			   const int *formats, int format)
{
	(void) format;
	return executed(conn, "PQexecPrepared", name, join_params(n, values, lengths, formats));
}

PGresult *
PQmakeEmptyPGresult(PGconn *conn, ExecStatusType status)
{
	static const fake_pq_step none;
	PGresult *result = fake_pq_result(&none);

	(void) conn;
	result->status = status;
	return result;
}

void
PQclear(PGresult *result)
{
	if (result == NULL)
		return;
	fake.results--;
	free(result->text);
	free(result->values);
	free(result);
}

ExecStatusType
PQresultStatus(const PGresult *result)
{
	return result == NULL ? PGRES_FATAL_ERROR : result->status;
}

char *
PQresStatus(ExecStatusType status)
{
	static char name[32];

	snprintf(name, sizeof(name), "PGRES_%d", (int) status);
	return name;
}

char *
PQresultErrorMessage(const PGresult *result)
{
	return result == NULL ? (char *) "" : (char *) result->error;
}

char *
PQresultErrorField(const PGresult *result, int field)
{
	const fake_pq_step *step = result == NULL ? NULL : result->step;

	if (step == NULL)
		return NULL;
	switch (field)
	{
		case PG_DIAG_SEVERITY:
		case PG_DIAG_SEVERITY_NONLOCALIZED:
			return step->message == NULL ? NULL : (char *) "ERROR";
		case PG_DIAG_SQLSTATE:
			return (char *) step->sqlstate;
		case PG_DIAG_MESSAGE_PRIMARY:
			return (char *) step->message;
		case PG_DIAG_MESSAGE_DETAIL:
			return (char *) step->detail;
		case PG_DIAG_MESSAGE_HINT:
			return (char *) step->hint;
		case PG_DIAG_SCHEMA_NAME:
			return (char *) step->schema;
		case PG_DIAG_TABLE_NAME:
			return (char *) step->table;
		case PG_DIAG_COLUMN_NAME:
			return (char *) step->column;
		case PG_DIAG_CONSTRAINT_NAME:
			return (char *) step->constraint;
		case PG_DIAG_CONTEXT:
			return (char *) step->context;
		default:
			return NULL;
	}
}

int
PQntuples(const PGresult *result)
{
	return result == NULL ? 0 : result->nrows;
}

int
PQnfields(const PGresult *result)
{
	return result == NULL ? 0 : result->ncolumns;
}

char *
PQfname(const PGresult *result, int c)
{
	return c < 0 || c >= result->ncolumns ? NULL : result->columns[c].name;
}

int
PQfnumber(const PGresult *result, const char *name)
{
	for (int c = 0; c < result->ncolumns; c++)
		if (strcmp(result->columns[c].name, name) == 0)
			return c;
	return -1;
}

Oid
PQftype(const PGresult *result, int c)
{
	return c < 0 || c >= result->ncolumns ? InvalidOid : result->columns[c].type;
}

int
PQfmod(const PGresult *result, int c)
{
	(void) result;
	(void) c;
	return -1;
}

int
PQfsize(const PGresult *result, int c)
{
	(void) result;
	(void) c;
	return -1;
}

int
PQfformat(const PGresult *result, int c)
{
	(void) result;
	(void) c;
	return 0;
}

Oid
PQftable(const PGresult *result, int c)
{
	(void) result;
	(void) c;
	return InvalidOid;
}

int
PQftablecol(const PGresult *result, int c)
{
	(void) result;
	(void) c;
	return 0;
}

int
PQbinaryTuples(const PGresult *result)
{
	(void) result;
	return 0;
}

static const char *
value_at(const PGresult *result, int row, int c)
{
	if (row < 0 || row >= result->nrows || c < 0 || c >= result->ncolumns)
		fail_msg("PQgetvalue(%d, %d) of a result with %d rows and %d columns", row, c,
				 result->nrows, result->ncolumns);
	return result->values[row * result->ncolumns + c];
}

char *
PQgetvalue(const PGresult *result, int row, int c)
{
	const char *value = value_at(result, row, c);

	return value == NULL ? (char *) "" : (char *) value;
}

int
PQgetlength(const PGresult *result, int row, int c)
{
	return (int) strlen(PQgetvalue(result, row, c));
}

int
PQgetisnull(const PGresult *result, int row, int c)
{
	return value_at(result, row, c) == NULL;
}

char *
PQcmdStatus(PGresult *result)
{
	return result == NULL || result->step->tag == NULL ? (char *) "" : (char *) result->step->tag;
}

char *
PQcmdTuples(PGresult *result)
{
	const char *space = strrchr(PQcmdStatus(result), ' ');
	bool number = space != NULL && space[1] >= '0' && space[1] <= '9';

	return number ? (char *) space + 1 : (char *) "";
}

int
PQnparams(const PGresult *result)
{
	(void) result;
	return 0;
}

Oid
PQparamtype(const PGresult *result, int n)
{
	(void) result;
	(void) n;
	return InvalidOid;
}
