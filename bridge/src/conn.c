/* conn.c - the one place that opens connections and waits for the server. */
#include "conn.h"

#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <arpa/inet.h>

#include "cancel.h"
#include "clock.h"
#include "conninfo.h"

#define CANCEL_DEADLINE_S 5
#define FAIL_ANSWER_MS 200 /* for the answer to CopyFail, before a cancel is sent */
#define COPY_CHUNK_BYTES 65536

struct psti_conn
{
	PGconn *pg;
	pst_hooks hooks; /* a copy; zeroed when none were given */
	psti_caps caps;
	int socket_timeout_ms; /* longest silence while waiting; 0: none */
	int64_t stop_by;   /* when the server, asked to stop, is waited for no longer; -1: not asked */
	int64_t cancel_at; /* when it is sent a cancel too; -1: it has been, or need not be */
	bool broken;	   /* only close is left */
	char *pins;		   /* owned: the settings as SET LOCAL statements */
	char copy_what[128]; /* what the copy in progress does, for errors */
	char *message;		 /* the stream's last one; libpq's, or NULL */
};

/* --- time ------------------------------------------------------------------------ */

/* Milliseconds left to a deadline (-1: none) as poll takes them. */
static int
left_ms(int64_t deadline)
{
	int64_t left;

	if (deadline < 0)
		return -1;
	left = deadline - psti_now_ms();
	return left < 0 ? 0 : left > 3600000 ? 3600000 : (int) left;
}

/* --- errors ------------------------------------------------------------------------------ */

static void
copy_field(char *field, size_t size, const PGresult *result, int code)
{
	psti_error_copy(field, size, PQresultErrorField(result, code));
}

pst_status
psti_fail_result(pst_error *err, const PGresult *result, const char *what)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	/* Without a SQLSTATE the message is libpq's own: the connection is gone. */
	if (sqlstate == NULL)
	{
		char text[600];

		psti_error_copy(text, sizeof(text), PQresultErrorMessage(result));
		text[strcspn(text, "\n")] = '\0';
		return psti_fail_sqlstate(err, "08006", "%s: %s", what,
								  text[0] == '\0' ? "connection lost" : text);
	}
	psti_fail_sqlstate(err, sqlstate, "%s: %s", what, primary == NULL ? "error" : primary);
	copy_field(err->detail, sizeof(err->detail), result, PG_DIAG_MESSAGE_DETAIL);
	copy_field(err->hint, sizeof(err->hint), result, PG_DIAG_MESSAGE_HINT);
	copy_field(err->schema, sizeof(err->schema), result, PG_DIAG_SCHEMA_NAME);
	copy_field(err->table, sizeof(err->table), result, PG_DIAG_TABLE_NAME);
	copy_field(err->column, sizeof(err->column), result, PG_DIAG_COLUMN_NAME);
	copy_field(err->constraint, sizeof(err->constraint), result, PG_DIAG_CONSTRAINT_NAME);
	if (err->detail[0] == '\0')
		copy_field(err->detail, sizeof(err->detail), result, PG_DIAG_CONTEXT);
	/* The server's advice to change a setting that every session of ours pins; 18 has it in capitals. */
	if (strstr(err->hint, "\"datestyle\"") != NULL || strstr(err->hint, "\"DateStyle\"") != NULL)
	{
		err->hint[0] = '\0';
		psti_error_hint(err, "Dates are read as ISO has them, such as 2020-12-31.");
	}
	return err->status;
}

static pst_status
fail_canceled(pst_error *err, const char *what)
{
	return psti_fail_sqlstate(err, "57014", "%s: cancelled by the caller", what);
}

/* The connection is lost, as libpq says. */
static pst_status
fail_lost(psti_conn *conn, const char *what, pst_error *err)
{
	char text[600];

	conn->broken = true;
	psti_error_copy(text, sizeof(text), PQerrorMessage(conn->pg));
	text[strcspn(text, "\n")] = '\0';
	return psti_fail_sqlstate(err, "08006", "%s: %s", what,
							  text[0] == '\0' ? "connection lost" : text);
}

static pst_status
check_usable(psti_conn *conn, const char *what, pst_error *err)
{
	if (conn->broken)
		return psti_fail(err, PST_ERR_STATE, "%s: the connection is no longer usable", what);
	if (pst_canceller_thrown(conn->hooks.canceller))
	{
		conn->broken = true;
		return fail_canceled(err, what);
	}
	return PST_OK;
}

/* --- cancelling -------------------------------------------------------------------------- */

#ifdef LIBPQ_HAS_ASYNC_CANCEL

static void
send_cancel(psti_conn *conn, int64_t deadline)
{
	PGcancelConn *cancel = PQcancelCreate(conn->pg);
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	if (cancel == NULL || !PQcancelStart(cancel))
	{
		PQcancelFinish(cancel);
		return;
	}
	while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED && left_ms(deadline) > 0)
	{
		struct pollfd fd = {PQcancelSocket(cancel),
							state == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};

		if (poll(&fd, 1, left_ms(deadline)) > 0)
			state = PQcancelPoll(cancel);
	}
	PQcancelFinish(cancel);
}

#else

/* Fills the address that the connection goes to; its length, or 0 when it is not known. */
static socklen_t
peer_address(PGconn *pg, struct sockaddr_storage *address)
{
	socklen_t len = sizeof(*address);

	memset(address, 0, sizeof(*address));
	return getpeername(PQsocket(pg), (struct sockaddr *) address, &len) == 0 ? len : 0;
}

/*
 * Whether the server says something on a new connection: asked for TLS, it answers with one byte,
 * whether it has TLS or not. The kernel alone takes connections, and 16 bytes, for a stopped server.
 */
static bool
answers(int socket, int64_t deadline)
{
	static const char ask_tls[] = {0, 0, 0, 8, 4, (char) 210, 22, 47};
	struct pollfd fd = {socket, POLLIN, 0};
	char answer;

	return send(socket, ask_tls, sizeof(ask_tls), MSG_NOSIGNAL) == (ssize_t) sizeof(ask_tls) &&
		   poll(&fd, 1, left_ms(deadline)) > 0 && recv(socket, &answer, 1, 0) == 1;
}

/*
 * PQcancel of libpq before 17 connects and waits without a deadline: first see, with one, that the
 * server still takes connections and answers.
 */
static bool
reachable(PGconn *pg, int64_t deadline)
{
	struct sockaddr_storage address;
	socklen_t len = peer_address(pg, &address);
	struct pollfd fd = {-1, POLLOUT, 0};
	bool good = false;

	if (len == 0)
		return false;
	fd.fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd.fd < 0)
		return false;
	if (connect(fd.fd, (struct sockaddr *) &address, len) == 0)
		good = true;
	else if (errno == EINPROGRESS && poll(&fd, 1, left_ms(deadline)) > 0)
	{
		int error = 0;
		socklen_t size = sizeof(error);

		good = getsockopt(fd.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
	}
	good = good && answers(fd.fd, deadline);
	close(fd.fd);
	return good;
}

static void
send_cancel(psti_conn *conn, int64_t deadline)
{
	PGcancel *cancel = PQgetCancel(conn->pg);
	char ignored[256];

	if (cancel != NULL && reachable(conn->pg, deadline))
		PQcancel(cancel, ignored, sizeof(ignored));
	PQfreeCancel(cancel);
}

#endif

/*
 * Asks the server to stop and waits, with a deadline, until it has: what it still sends is thrown
 * away. The connection is not used again.
 */
static void
stop_server(psti_conn *conn)
{
	int64_t deadline = psti_now_ms() + CANCEL_DEADLINE_S * 1000;

	conn->broken = true;
	if (PQtransactionStatus(conn->pg) != PQTRANS_ACTIVE)
		return;
	send_cancel(conn, deadline);
	while (left_ms(deadline) > 0 && PQstatus(conn->pg) == CONNECTION_OK)
	{
		struct pollfd fd = {PQsocket(conn->pg), POLLIN, 0};
		char *row = NULL;
		int got = PQgetCopyData(conn->pg, &row, 1);

		PQfreemem(row);
		if (got < 0 && !PQisBusy(conn->pg))
		{
			PGresult *result = PQgetResult(conn->pg);

			if (result == NULL)
				return;
			if (PQresultStatus(result) == PGRES_COPY_IN)
				PQputCopyEnd(conn->pg, "cancelled");
			PQclear(result);
		}
		else if (got <= 0 && poll(&fd, 1, left_ms(deadline)) > 0 && !PQconsumeInput(conn->pg))
			return;
	}
}

/* --- waiting ----------------------------------------------------------------------------- */

/*
 * Polls the socket (and the canceller) for events. PST_OK when the socket is ready, PST_AGAIN when
 * timeout_ms passed, PST_ERR_CANCELED when the switch was thrown.
 */
static pst_status
poll_socket(const pst_hooks *hooks, int socket, short events, int timeout_ms, const char *what,
			pst_error *err)
{
	struct pollfd fds[2] = {{socket, events, 0}, {psti_canceller_fd(hooks->canceller), POLLIN, 0}};
	nfds_t nfds = fds[1].fd >= 0 ? 2 : 1;
	int ready;

	do
	{
		ready = poll(fds, nfds, timeout_ms);
	} while (ready < 0 && errno == EINTR && !pst_canceller_thrown(hooks->canceller));
	if (nfds == 2 && (fds[1].revents != 0 || pst_canceller_thrown(hooks->canceller)))
		return fail_canceled(err, what);
	if (ready == 0)
		return PST_AGAIN;
	if (ready < 0)
		return psti_fail(err, PST_ERR_IO, "%s: poll failed (error %d)", what, errno);
	return PST_OK;
}

/* The request got lost, or the server with it: draining could mean the whole table. */
static pst_status
fail_unstopped(psti_conn *conn, const char *what, pst_error *err)
{
	conn->broken = true;
	return psti_fail(err, PST_ERR_TIMEOUT, "%s: the server did not stop within %d s", what,
					 CANCEL_DEADLINE_S);
}

/* Waits for the server on an open connection; breaks it on cancel or silence. */
static pst_status
wait_for(psti_conn *conn, short events, const char *what, pst_error *err)
{
	int timeout = conn->socket_timeout_ms > 0 ? conn->socket_timeout_ms : -1;
	pst_status status = PST_AGAIN;
	bool stopping;
	int left;

	if (conn->cancel_at >= 0)
	{
		status = poll_socket(&conn->hooks, PQsocket(conn->pg), events, left_ms(conn->cancel_at),
							 what, err);
		if (status == PST_AGAIN)
		{
			conn->cancel_at = -1;
			send_cancel(conn, conn->stop_by);
		}
	}
	left = left_ms(conn->stop_by);
	stopping = left >= 0 && (timeout < 0 || left < timeout);
	if (status == PST_AGAIN)
		status = poll_socket(&conn->hooks, PQsocket(conn->pg), events, stopping ? left : timeout,
							 what, err);
	if (status == PST_ERR_CANCELED)
		stop_server(conn);
	if (status == PST_AGAIN && stopping)
		status = fail_unstopped(conn, what, err);
	else if (status == PST_AGAIN)
	{
		conn->broken = true;
		status =
			psti_fail(err, PST_ERR_TIMEOUT, "%s: the server was silent for %d s (socketTimeout)",
					  what, conn->socket_timeout_ms / 1000);
	}
	return status;
}

/* Sends what libpq has queued, reading meanwhile so that neither side blocks the other. */
static pst_status
flush_out(psti_conn *conn, const char *what, pst_error *err)
{
	for (;;)
	{
		int left = PQflush(conn->pg);
		pst_status status;

		if (left < 0)
			return fail_lost(conn, what, err);
		if (left == 0)
			return PST_OK;
		status = wait_for(conn, POLLIN | POLLOUT, what, err);
		if (status != PST_OK)
			return status;
		if (!PQconsumeInput(conn->pg))
			return fail_lost(conn, what, err);
	}
}

/* The next result, waiting for it; *out NULL at the end of a statement. */
static pst_status
next_result(psti_conn *conn, const char *what, PGresult **out, pst_error *err)
{
	*out = NULL;
	while (PQisBusy(conn->pg))
	{
		pst_status status = wait_for(conn, POLLIN, what, err);

		if (status != PST_OK)
			return status;
		if (!PQconsumeInput(conn->pg))
			break; /* PQgetResult has the error */
	}
	*out = PQgetResult(conn->pg);
	if (PQstatus(conn->pg) == CONNECTION_BAD)
		conn->broken = true;
	return PST_OK;
}

static bool
is_error(const PGresult *result)
{
	ExecStatusType state = PQresultStatus(result);

	return state == PGRES_FATAL_ERROR || state == PGRES_BAD_RESPONSE;
}

static bool
begins_copy(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/* Of a result that another one has come after: rows are kept, where they are wanted. */
static void
pass_over(PGresult *result, PGresult **rows)
{
	if (rows == NULL || PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		PQclear(result);
		return;
	}
	PQclear(*rows);
	*rows = result;
}

/*
 * Takes all results of what was sent; the last one is moved to *out, the last with rows before it to *rows
 * (NULL: not wanted), also on failure. The first error wins, and the rest is still taken, so that the
 * connection is idle afterwards. A COPY result ends the taking.
 */
static pst_status
take_results(psti_conn *conn, const char *what, PGresult **rows, PGresult **out, pst_error *err)
{
	PGresult *last = NULL;
	pst_status status = PST_OK;

	for (;;)
	{
		PGresult *result;
		pst_error later;
		pst_status got = next_result(conn, what, &result, status == PST_OK ? err : &later);

		if (got != PST_OK)
		{
			PQclear(last);
			return status == PST_OK ? got : status;
		}
		if (result == NULL)
			break;
		if (status == PST_OK && is_error(result))
			status = psti_fail_result(err, result, what);
		pass_over(last, rows);
		last = result;
		if (begins_copy(result))
			break;
		if (conn->broken)
			break;
	}
	if (status == PST_OK && last == NULL)
		status = fail_lost(conn, what, err);
	if (status != PST_OK || out == NULL)
		PQclear(last);
	else
		*out = last;
	return status;
}

pst_status
psti_conn_pause(const pst_hooks *hooks, int timeout_ms, pst_error *err)
{
	static const pst_hooks none = PST_HOOKS_INIT;
	pst_status status =
		poll_socket(hooks == NULL ? &none : hooks, -1, 0, timeout_ms, "waiting", err);

	return status == PST_AGAIN ? PST_OK : status;
}

/* --- connecting -------------------------------------------------------------------------- */

static void
take_notice(void *ctx, const PGresult *result)
{
	const psti_conn *conn = ctx;
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	bool warning = severity != NULL && strcmp(severity, "WARNING") == 0;

	if (message != NULL)
		psti_log(&conn->hooks, warning ? PST_LOG_WARNING : PST_LOG_DEBUG, "server: %s", message);
}

/*
 * libpq has no accessor for the SQLSTATE of a failed login, but in verbose messages it stands as
 * "FATAL:  28P01: password authentication failed". Copies the first such code; false when none.
 */
static bool
login_sqlstate(const char *message, char sqlstate[6])
{
	for (const char *at = strchr(message, ':'); at != NULL; at = strchr(at + 1, ':'))
	{
		const char *code = at + 1;

		while (*code == ' ')
			code++;
		/* A digit keeps the severity itself (ERROR, FATAL, PANIC) apart. */
		if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[5] == ':' &&
			strcspn(code, "0123456789") < 5)
		{
			memcpy(sqlstate, code, 5);
			sqlstate[5] = '\0';
			return true;
		}
	}
	return false;
}

/* The server's own sentence of a verbose login error, on one line. */
static void
login_text(const char *message, const char *sqlstate, char *out, size_t size)
{
	const char *from = message;

	if (sqlstate[0] != '\0')
	{
		const char *code = strstr(message, sqlstate);

		if (code != NULL && strlen(code) > 7)
			from = code + 7;
	}
	psti_error_copy(out, size, from);
	out[strcspn(out, "\n")] = '\0';
	if (out[0] == ' ' || sqlstate[0] == '\0')
		memmove(out, out + strspn(out, " "), strlen(out + strspn(out, " ")) + 1);
}

static pst_status
fail_login(PGconn *pg, pst_error *err)
{
	const char *message = PQerrorMessage(pg);
	char sqlstate[6] = "";
	char text[600];

	if (!login_sqlstate(message, sqlstate))
		sqlstate[0] = '\0';
	login_text(message, sqlstate, text, sizeof(text));
	psti_fail_sqlstate(err, sqlstate[0] == '\0' ? "08001" : sqlstate, "cannot connect: %s", text);
	if (err->status == PST_ERR_PRIVILEGE)
		psti_error_hint(err, "The role needs the CONNECT privilege on the database.");
	return err->status;
}

static pst_status
finish_login(psti_conn *conn, int timeout_ms, pst_error *err)
{
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;
	int64_t deadline = timeout_ms > 0 ? psti_now_ms() + timeout_ms : -1;

	while (state != PGRES_POLLING_OK)
	{
		short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
		pst_status status;

		if (state == PGRES_POLLING_FAILED || PQsocket(conn->pg) < 0)
			return fail_login(conn->pg, err);
		status = poll_socket(&conn->hooks, PQsocket(conn->pg), events, left_ms(deadline),
							 "connecting", err);
		if (status == PST_AGAIN)
		{
			psti_fail(err, PST_ERR_TIMEOUT, "cannot connect: no answer within %d ms", timeout_ms);
			psti_error_hint(err, "Check the host and port, or raise connect.timeout.");
			err->retryable = true;
			return PST_ERR_TIMEOUT;
		}
		if (status != PST_OK)
			return status;
		state = PQconnectPoll(conn->pg);
	}
	return PST_OK;
}

/*
 * How long to wait for a login: connect.timeout where it is given, else libpq's connect_timeout, of the
 * URL, PGCONNECT_TIMEOUT or a service file, which libpq obeys only when it waits itself.
 */
static pst_status
login_timeout(PGconn *pg, const psti_options *options, int *ms, pst_error *err)
{
	PQconninfoOption *pairs;
	pst_status status = PST_OK;

	*ms = (int) psti_opt_int(options, PSTI_OPT_CONNECT_TIMEOUT);
	if (psti_opt_given(options, PSTI_OPT_CONNECT_TIMEOUT))
		return PST_OK;
	pairs = PQconninfo(pg);
	if (pairs == NULL)
		return psti_fail_nomem(err);
	for (const PQconninfoOption *pair = pairs; pair->keyword != NULL; pair++)
	{
		if (strcmp(pair->keyword, "connect_timeout") == 0 && pair->val != NULL &&
			!psti_connect_timeout(pair->val, ms))
			status =
				psti_fail(err, PST_ERR_INVALID, "connect_timeout is not a whole number of seconds");
	}
	PQconninfoFree(pairs);
	return status;
}

static pst_status
login(psti_conn *conn, const psti_conninfo *info, const psti_options *options, pst_error *err)
{
	int timeout_ms;
	pst_status status;

	conn->pg = PQconnectStartParams((const char *const *) info->keywords,
									(const char *const *) info->values, 0);
	if (conn->pg == NULL)
		return psti_fail_nomem(err);
	PQsetNoticeReceiver(conn->pg, take_notice, conn);
	PQsetErrorVerbosity(conn->pg, PQERRORS_VERBOSE);
	if (PQstatus(conn->pg) == CONNECTION_BAD)
		return fail_login(conn->pg, err);
	status = login_timeout(conn->pg, options, &timeout_ms, err);
	return status == PST_OK ? finish_login(conn, timeout_ms, err) : status;
}

/* --- the session ------------------------------------------------------------------------- */

/*
 * What every session of ours is set to, with the versions that know it: the output settings
 * under which text means the same everywhere, and no timeout that the role may carry (as pg_dump
 * does it: a long read is no accident here).
 */
static const struct
{
	int since;
	int before; /* 0: it is still known */
	const char *setting;
} pins[] = {
	{0, 0, "DateStyle = 'ISO, MDY'"},
	{0, 0, "TimeZone = 'UTC'"},
	{0, 0, "IntervalStyle = 'postgres'"},
	{0, 0, "bytea_output = 'hex'"},
	/* Before 12 a float's text is exact only with 3; since then 1 means the shortest exact one. */
	{0, 0, "extra_float_digits = 3"},
	{120000, 0, "extra_float_digits = 1"},
	{0, 0, "lc_monetary = 'C'"},
	{0, 0, "xmlbinary = 'base64'"},
	/* With other values texts of arrays and of xml do not read back as what they were. */
	{0, 0, "array_nulls = on"},
	{0, 0, "xmloption = content"},
	{0, 0, "standard_conforming_strings = on"},
	/* Off, a table would be read and written without its children. */
	{0, 100000, "sql_inheritance = on"},
	{0, 0, "statement_timeout = 0"},
	{0, 0, "lock_timeout = 0"},
	{90600, 0, "idle_in_transaction_session_timeout = 0"},
	{140000, 0, "idle_session_timeout = 0"},
	{170000, 0, "transaction_timeout = 0"},
};

static const char probe_head[] =
	"SELECT pg_catalog.current_database(), current_user, pg_catalog.pg_is_in_recovery(), "
	"(SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) "
	"current_user), "
	"pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'), "
	"pg_catalog.getdatabaseencoding(), pg_catalog.pg_postmaster_start_time()::pg_catalog.text, "
	"(SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) "
	"'penstock'), " PSTI_MAY_SCAN ", ";
static const char probe_identifier[] =
	"(SELECT c.system_identifier FROM pg_catalog.pg_control_system() c)";

static void
copy_cell(char *field, size_t size, const PGresult *result, int column)
{
	psti_error_copy(field, size, PQgetvalue(result, 0, column));
}

static void
read_probe(psti_conn *conn, const PGresult *result)
{
	psti_caps *caps = &conn->caps;

	caps->server_version = PQserverVersion(conn->pg);
	copy_cell(caps->database, sizeof(caps->database), result, 0);
	copy_cell(caps->role, sizeof(caps->role), result, 1);
	caps->in_recovery = PQgetvalue(result, 0, 2)[0] == 't';
	caps->superuser = PQgetvalue(result, 0, 3)[0] == 't';
	caps->temp_tables = PQgetvalue(result, 0, 4)[0] == 't';
	copy_cell(caps->encoding, sizeof(caps->encoding), result, 5);
	copy_cell(caps->postmaster_start, sizeof(caps->postmaster_start), result, 6);
	copy_cell(caps->extension_version, sizeof(caps->extension_version), result, 7);
	caps->scan = strcmp(PQgetvalue(result, 0, 8), "usable") == 0;
	caps->scan_denied = strcmp(PQgetvalue(result, 0, 8), "denied") == 0;
	copy_cell(caps->system_identifier, sizeof(caps->system_identifier), result, 9);
}

/* The settings that this server knows, each as a statement that begins with verb. */
static void
append_pins(const psti_conn *conn, const char *verb, psti_buf *sql)
{
	int server = PQserverVersion(conn->pg);

	for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++)
	{
		if (server >= pins[i].since && (pins[i].before == 0 || server < pins[i].before))
			psti_buf_printf(sql, "%s %s; ", verb, pins[i].setting);
	}
}

/* Settings and probe in one round trip; without the identifier where the role may not see it. */
static pst_status
probe_once(psti_conn *conn, bool identifier, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	append_pins(conn, "SET", &sql);
	psti_buf_puts(&sql, probe_head);
	psti_buf_puts(&sql, identifier ? probe_identifier : "NULL");
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(conn, "starting the session", sql.data, &result, err);
	if (status == PST_OK && (PQntuples(result) != 1 || PQnfields(result) != 10))
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server gave no answer to the probe");
	if (status == PST_OK)
		read_probe(conn, result);
	PQclear(result);
	psti_buf_free(&sql);
	return status;
}

static pst_status
probe(psti_conn *conn, pst_error *err)
{
	pst_status status = probe_once(conn, true, err);

	if (status == PST_ERR_PRIVILEGE && psti_conn_usable(conn))
		status = probe_once(conn, false, err);
	if (status == PST_OK && conn->caps.server_version < 90600)
	{
		status =
			psti_fail(err, PST_ERR_UNSUPPORTED, "the server is PostgreSQL %d.%d",
					  conn->caps.server_version / 10000, conn->caps.server_version / 100 % 100);
		psti_error_hint(err, "PostgreSQL 9.6 or newer is needed.");
	}
	if (status == PST_OK)
	{
		psti_buf local = PSTI_BUF_INIT;

		append_pins(conn, "SET LOCAL", &local);
		conn->pins = psti_buf_steal(&local);
		if (conn->pins == NULL)
			status = psti_fail_nomem(err);
	}
	return status;
}

static pst_status
open_session(const psti_options *options, const char *database, bool replication,
			 const pst_hooks *hooks, psti_conn **out, pst_error *err)
{
	psti_conninfo info = {0};
	psti_conn *conn = calloc(1, sizeof(*conn));
	pst_status status;

	*out = NULL;
	if (conn == NULL)
		return psti_fail_nomem(err);
	if (hooks != NULL)
		conn->hooks = *hooks;
	conn->stop_by = conn->cancel_at = -1;
	status = psti_conninfo_new(options, database, hooks, &info, err);
	if (status == PST_OK && replication)
		status = psti_conninfo_set(&info, "replication", "database", err);
	if (status == PST_OK && pst_canceller_thrown(conn->hooks.canceller))
		status = fail_canceled(err, "connecting");
	if (status == PST_OK)
		status = login(conn, &info, options, err);
	if (status == PST_OK && PQsetnonblocking(conn->pg, 1) != 0)
		status = fail_lost(conn, "connecting", err);
	if (status == PST_OK)
	{
		conn->socket_timeout_ms = info.socket_timeout_ms;
		PQsetErrorVerbosity(conn->pg, PQERRORS_DEFAULT);
		if (conn->hooks.connected != NULL)
			conn->hooks.connected(conn->hooks.ctx, PQbackendPID(conn->pg));
		status = probe(conn, err);
	}
	psti_conninfo_free(&info);
	if (status != PST_OK)
		psti_conn_close(conn);
	else
		*out = conn;
	return status;
}

pst_status
psti_conn_open(const psti_options *options, const char *database, const pst_hooks *hooks,
			   psti_conn **out, pst_error *err)
{
	return open_session(options, database, false, hooks, out, err);
}

pst_status
psti_conn_open_replication(const psti_options *options, const pst_hooks *hooks, psti_conn **out,
						   pst_error *err)
{
	pst_status status = open_session(options, NULL, true, hooks, out, err);

	if (status == PST_OK && (*out)->caps.server_version >= 120000)
		status =
			psti_conn_exec(*out, "starting the session", "SET wal_sender_timeout = 0", NULL, err);
	if (status != PST_OK)
	{
		psti_conn_close(*out);
		*out = NULL;
	}
	return status;
}

void
psti_conn_close(psti_conn *conn)
{
	if (conn == NULL)
		return;
	if (conn->pg != NULL)
		PQfinish(conn->pg);
	PQfreemem(conn->message);
	free(conn->pins);
	free(conn);
}

const psti_caps *
psti_conn_caps(const psti_conn *conn)
{
	return &conn->caps;
}

const char *
psti_conn_pins(const psti_conn *conn)
{
	return conn->pins;
}

bool
psti_conn_usable(const psti_conn *conn)
{
	return !conn->broken && PQstatus(conn->pg) == CONNECTION_OK;
}

PGconn *
psti_conn_pg(psti_conn *conn)
{
	return conn->pg;
}

/* --- statements -------------------------------------------------------------------------- */

/* After PQsend…: sends it all and takes the results. */
static pst_status
finish_statement(psti_conn *conn, int sent, const char *what, PGresult **rows, PGresult **out,
				 pst_error *err)
{
	pst_status status;

	if (!sent)
		return fail_lost(conn, what, err);
	status = flush_out(conn, what, err);
	if (status == PST_OK)
		status = take_results(conn, what, rows, out, err);
	return status;
}

/* A COPY that a statement has begun by surprise would leave the connection stuck. */
static pst_status
refuse_copy(psti_conn *conn, const char *what, PGresult *result, pst_error *err)
{
	ExecStatusType state = PQresultStatus(result);

	if (state != PGRES_COPY_IN && state != PGRES_COPY_OUT && state != PGRES_COPY_BOTH)
		return PST_OK;
	PQclear(result);
	stop_server(conn);
	return psti_fail(err, PST_ERR_INVALID, "%s: a COPY cannot be run here", what);
}

static pst_status
run(psti_conn *conn, int sent, const char *what, PGresult **out, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = finish_statement(conn, sent, what, NULL, &result, err);

	if (status == PST_OK)
		status = refuse_copy(conn, what, result, err);
	if (status != PST_OK)
		return status;
	if (out != NULL)
		*out = result;
	else
		PQclear(result);
	return PST_OK;
}

pst_status
psti_conn_exec(psti_conn *conn, const char *what, const char *sql, PGresult **out, pst_error *err)
{
	pst_status status = check_usable(conn, what, err);

	if (out != NULL)
		*out = NULL;
	if (status != PST_OK)
		return status;
	return run(conn, PQsendQuery(conn->pg, sql), what, out, err);
}

pst_status
psti_conn_query(psti_conn *conn, const char *what, const char *sql, int nparams,
				const char *const *params, PGresult **out, pst_error *err)
{
	pst_status status = check_usable(conn, what, err);

	if (out != NULL)
		*out = NULL;
	if (status != PST_OK)
		return status;
	return run(conn, PQsendQueryParams(conn->pg, sql, nparams, NULL, params, NULL, NULL, 0), what,
			   out, err);
}

/* Both steps in one pipeline: behind a pooler a second trip may go to another server connection. */
pst_status
psti_conn_describe(psti_conn *conn, const char *what, const char *sql, PGresult **out,
				   pst_error *err)
{
	const psti_step steps[] = {{.what = what, .sql = sql, .prepare = ""},
							   {.what = what, .describe = ""}};
	PGresult *results[2] = {NULL, NULL};
	int failed;
	pst_status status = psti_conn_pipeline(conn, steps, 2, results, &failed, err);

	*out = status == PST_OK ? results[1] : NULL;
	PQclear(results[0]);
	if (status != PST_OK)
		PQclear(results[1]);
	return status;
}

/* --- COPY -------------------------------------------------------------------------------- */

static pst_status
begin_copy(psti_conn *conn, const char *what, const char *sql, ExecStatusType wanted,
		   PGresult **rows, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = check_usable(conn, what, err);

	if (status != PST_OK)
		return status;
	psti_error_copy(conn->copy_what, sizeof(conn->copy_what), what);
	status = finish_statement(conn, PQsendQuery(conn->pg, sql), what, rows, &result, err);
	if (status != PST_OK)
		return status;
	if (PQresultStatus(result) != wanted)
		status = psti_fail(err, PST_ERR_PROTOCOL, "%s: the server did not begin a COPY", what);
	PQclear(result);
	return status;
}

pst_status
psti_conn_copy_out(psti_conn *conn, const char *what, const char *sql, PGresult **rows,
				   pst_error *err)
{
	if (rows != NULL)
		*rows = NULL;
	return begin_copy(conn, what, sql, PGRES_COPY_OUT, rows, err);
}

/* From here on every wait has an end, until stop_by is taken back. */
static void
ask_to_stop(psti_conn *conn)
{
	conn->stop_by = psti_now_ms() + CANCEL_DEADLINE_S * 1000;
	send_cancel(conn, conn->stop_by);
}

/* After the end of the data: the command's result, which may still be an error. */
static pst_status
end_copy_out(psti_conn *conn, pst_error *err)
{
	pst_status status = take_results(conn, conn->copy_what, NULL, NULL, err);

	return status == PST_OK ? PST_END : status;
}

pst_status
psti_conn_copy_read(psti_conn *conn, psti_buf *into, size_t target_bytes, pst_error *err)
{
	size_t start = into->len;
	pst_status status = check_usable(conn, conn->copy_what, err);

	while (status == PST_OK && into->len - start < target_bytes)
	{
		char *at = psti_buf_reserve(into, COPY_CHUNK_BYTES);
		int n;

		if (at == NULL)
			return psti_fail_nomem(err);
		n = PQgetlineAsync(conn->pg, at, COPY_CHUNK_BYTES);
		if (n > 0)
		{
			into->len += (size_t) n;
			into->data[into->len] = '\0';
			continue;
		}
		if (n < 0)
			return into->len > start ? PST_OK : end_copy_out(conn, err);
		if (into->len > start)
			break; /* decoding what is here overlaps with the network */
		status = wait_for(conn, POLLIN, conn->copy_what, err);
		if (status == PST_OK && !PQconsumeInput(conn->pg))
			status = fail_lost(conn, conn->copy_what, err);
	}
	return status;
}

pst_status
psti_conn_copy_take(psti_conn *conn, char *at, size_t room, size_t *n, pst_error *err)
{
	pst_status status = check_usable(conn, conn->copy_what, err);

	*n = 0;
	while (status == PST_OK)
	{
		int got = PQgetlineAsync(conn->pg, at, room < INT_MAX ? (int) room : INT_MAX);

		if (got > 0)
		{
			*n = (size_t) got;
			return PST_OK;
		}
		if (got < 0)
			return end_copy_out(conn, err);
		status = wait_for(conn, POLLIN, conn->copy_what, err);
		if (status == PST_OK && !PQconsumeInput(conn->pg))
			status = fail_lost(conn, conn->copy_what, err);
	}
	return status;
}

pst_status
psti_conn_copy_abandon(psti_conn *conn, pst_error *err)
{
	psti_buf thrown = PSTI_BUF_INIT;
	pst_status status = PST_OK;

	if (conn->broken)
		return PST_OK;
	ask_to_stop(conn);
	while (status == PST_OK)
	{
		psti_buf_reset(&thrown);
		status = psti_conn_copy_read(conn, &thrown, COPY_CHUNK_BYTES, err);
		if (status == PST_OK && left_ms(conn->stop_by) == 0)
			status = fail_unstopped(conn, conn->copy_what, err);
	}
	conn->stop_by = -1;
	psti_buf_free(&thrown);
	/* The end, or the cancel's own error, is what was asked for. */
	if (status == PST_END || (psti_conn_usable(conn) && strcmp(err->sqlstate, "57014") == 0))
		return PST_OK;
	return status;
}

pst_status
psti_conn_copy_in(psti_conn *conn, const char *what, const char *sql, pst_error *err)
{
	return begin_copy(conn, what, sql, PGRES_COPY_IN, NULL, err);
}

pst_status
psti_conn_copy_put(psti_conn *conn, const void *data, size_t nbytes, pst_error *err)
{
	const char *at = data;
	pst_status status = check_usable(conn, conn->copy_what, err);

	while (status == PST_OK && nbytes > 0)
	{
		size_t n = nbytes < COPY_CHUNK_BYTES ? nbytes : COPY_CHUNK_BYTES;
		int put = PQputCopyData(conn->pg, at, (int) n);

		if (put < 0)
			return take_results(conn, conn->copy_what, NULL, NULL, err);
		if (put > 0)
		{
			at += n;
			nbytes -= n;
		}
		status = flush_out(conn, conn->copy_what, err);
	}
	return status;
}

/* Ends the data of a COPY, for failure with the reason why. */
static pst_status
end_data(psti_conn *conn, const char *why, pst_error *err)
{
	pst_status status = check_usable(conn, conn->copy_what, err);

	while (status == PST_OK)
	{
		int put = PQputCopyEnd(conn->pg, why);

		if (put < 0)
			break;
		status = flush_out(conn, conn->copy_what, err);
		if (put > 0)
			break;
	}
	return status;
}

pst_status
psti_conn_copy_end(psti_conn *conn, PGresult **out, pst_error *err)
{
	pst_status status = end_data(conn, NULL, err);

	if (out != NULL)
		*out = NULL;
	return status == PST_OK ? take_results(conn, conn->copy_what, NULL, out, err) : status;
}

void
psti_conn_copy_drop(psti_conn *conn, pst_error *err)
{
	if (conn->broken)
		return;
	/* It may be waiting for somebody's lock, and reads nothing then. */
	conn->stop_by = psti_now_ms() + CANCEL_DEADLINE_S * 1000;
	conn->cancel_at = psti_now_ms() + FAIL_ANSWER_MS;
	if (end_data(conn, "the rows were discarded", err) == PST_OK)
		(void) take_results(conn, conn->copy_what, NULL, NULL, err);
	conn->stop_by = conn->cancel_at = -1;
}

/* --- streams ----------------------------------------------------------------------------- */

pst_status
psti_conn_stream(psti_conn *conn, const char *what, const char *sql, pst_error *err)
{
	return begin_copy(conn, what, sql, PGRES_COPY_BOTH, NULL, err);
}

/* As wait_for, but that time may pass: PST_AGAIN. */
static pst_status
wait_message(psti_conn *conn, int64_t until, pst_error *err)
{
	pst_status status = PST_OK;

	if (until < 0)
		return wait_for(conn, POLLIN, conn->copy_what, err);
	status =
		poll_socket(&conn->hooks, PQsocket(conn->pg), POLLIN, left_ms(until), conn->copy_what, err);
	if (status == PST_ERR_CANCELED)
		stop_server(conn);
	return status;
}

pst_status
psti_conn_stream_next(psti_conn *conn, int timeout_ms, const char **data, size_t *nbytes,
					  pst_error *err)
{
	int64_t until = timeout_ms < 0 ? -1 : psti_now_ms() + timeout_ms;
	pst_status status = check_usable(conn, conn->copy_what, err);

	*data = NULL;
	*nbytes = 0;
	PQfreemem(conn->message);
	conn->message = NULL;
	while (status == PST_OK)
	{
		int n = PQgetCopyData(conn->pg, &conn->message, 1);

		if (n > 0)
		{
			*data = conn->message;
			*nbytes = (size_t) n;
			return PST_OK;
		}
		if (n == -2)
			return fail_lost(conn, conn->copy_what, err);
		if (n < 0)
			return end_copy_out(conn, err);
		status = wait_message(conn, until, err);
		if (status == PST_OK && !PQconsumeInput(conn->pg))
			status = fail_lost(conn, conn->copy_what, err);
	}
	return status;
}

pst_status
psti_conn_stream_send(psti_conn *conn, const void *data, size_t nbytes, pst_error *err)
{
	pst_status status = check_usable(conn, conn->copy_what, err);

	if (status != PST_OK)
		return status;
	if (PQputCopyData(conn->pg, data, (int) nbytes) < 0 || PQflush(conn->pg) < 0)
		return fail_lost(conn, conn->copy_what, err);
	return PST_OK;
}

pst_status
psti_conn_stream_end(psti_conn *conn, pst_error *err)
{
	pst_status status;

	if (conn->broken)
		return PST_OK;
	conn->stop_by = psti_now_ms() + CANCEL_DEADLINE_S * 1000;
	status = end_data(conn, NULL, err);
	while (status == PST_OK)
	{
		const char *data;
		size_t nbytes;

		status = psti_conn_stream_next(conn, -1, &data, &nbytes, err);
		if (status == PST_OK && left_ms(conn->stop_by) == 0)
			status = fail_unstopped(conn, conn->copy_what, err);
	}
	conn->stop_by = -1;
	return status == PST_END ? PST_OK : status;
}

/* --- statements that take long ------------------------------------------------------------ */

pst_status
psti_conn_send(psti_conn *conn, const char *what, const char *sql, pst_error *err)
{
	pst_status status = check_usable(conn, what, err);

	if (status != PST_OK)
		return status;
	psti_error_copy(conn->copy_what, sizeof(conn->copy_what), what);
	return PQsendQuery(conn->pg, sql) ? flush_out(conn, what, err) : fail_lost(conn, what, err);
}

pst_status
psti_conn_receive(psti_conn *conn, int timeout_ms, PGresult **out, pst_error *err)
{
	int64_t until = timeout_ms < 0 ? -1 : psti_now_ms() + timeout_ms;
	pst_status status = check_usable(conn, conn->copy_what, err);

	*out = NULL;
	while (status == PST_OK && PQisBusy(conn->pg))
	{
		status = wait_message(conn, until, err);
		if (status == PST_OK && !PQconsumeInput(conn->pg))
			break; /* PQgetResult has the error */
	}
	return status == PST_OK ? take_results(conn, conn->copy_what, NULL, out, err) : status;
}

void
psti_conn_give_up(psti_conn *conn)
{
	pst_error ignored;

	if (conn->broken)
		return;
	ask_to_stop(conn);
	(void) take_results(conn, conn->copy_what, NULL, NULL, &ignored);
	conn->stop_by = -1;
}

/* --- pipelines --------------------------------------------------------------------------- */

static int
queue_step(PGconn *pg, const psti_step *step)
{
	if (step->prepare != NULL)
		return PQsendPrepare(pg, step->prepare, step->sql, step->nparams, step->types);
	if (step->describe != NULL)
		return PQsendDescribePrepared(pg, step->describe);
	if (step->statement != NULL)
		return PQsendQueryPrepared(pg, step->statement, step->nparams, step->params, step->lengths,
								   step->formats, 0);
	return PQsendQueryParams(pg, step->sql, step->nparams, step->types, step->params, step->lengths,
							 step->formats, 0);
}

/* Queues every step and the Sync, sending as the buffer fills. */
static pst_status
queue_steps(psti_conn *conn, const psti_step *steps, size_t nsteps, pst_error *err)
{
	const char *what = nsteps > 0 ? steps[0].what : "pipeline";

	if (!PQenterPipelineMode(conn->pg))
		return fail_lost(conn, what, err);
	for (size_t i = 0; i < nsteps; i++)
	{
		if (!queue_step(conn->pg, &steps[i]))
			return fail_lost(conn, steps[i].what, err);
	}
	if (!PQpipelineSync(conn->pg))
		return fail_lost(conn, what, err);
	return flush_out(conn, what, err);
}

/* Takes the results of one step, up to the NULL that ends it; the last is moved to *out. */
static pst_status
take_step(psti_conn *conn, const char *what, PGresult **out, pst_error *err)
{
	for (;;)
	{
		PGresult *result;
		pst_status status = next_result(conn, what, &result, err);

		if (status != PST_OK)
			return status;
		if (result == NULL)
			return PST_OK;
		PQclear(*out);
		*out = result;
		if (conn->broken)
			return PST_OK;
	}
}

/* Takes the result of the Sync and leaves pipeline mode. */
static pst_status
end_pipeline(psti_conn *conn, const char *what, pst_error *err)
{
	PGresult *result;
	pst_status status = next_result(conn, what, &result, err);
	bool good = status == PST_OK && PQresultStatus(result) == PGRES_PIPELINE_SYNC;

	PQclear(status == PST_OK ? result : NULL);
	if (status != PST_OK)
		return status;
	if (!good || !PQexitPipelineMode(conn->pg))
		return fail_lost(conn, what, err);
	return PST_OK;
}

pst_status
psti_conn_pipeline(psti_conn *conn, const psti_step *steps, size_t nsteps, PGresult **results,
				   int *failed_step, pst_error *err)
{
	const char *what = nsteps > 0 ? steps[0].what : "pipeline";
	pst_status status = check_usable(conn, what, err);
	pst_status outcome = PST_OK;

	*failed_step = -1;
	for (size_t i = 0; i < nsteps; i++)
		results[i] = NULL;
	if (status == PST_OK)
		status = queue_steps(conn, steps, nsteps, err);
	for (size_t i = 0; status == PST_OK && i < nsteps; i++)
	{
		status =
			take_step(conn, steps[i].what, &results[i], outcome == PST_OK ? err : &(pst_error){0});
		if (status == PST_OK && outcome == PST_OK && (results[i] == NULL || is_error(results[i])))
		{
			*failed_step = (int) i;
			outcome = results[i] == NULL ? fail_lost(conn, steps[i].what, err)
										 : psti_fail_result(err, results[i], steps[i].what);
		}
		if (outcome != PST_OK)
		{
			PQclear(results[i]);
			results[i] = NULL;
		}
		if (conn->broken)
		{
			if (outcome != PST_OK || status != PST_OK)
				return outcome != PST_OK ? outcome : status;
			return fail_lost(conn, steps[i].what, err);
		}
	}
	if (status == PST_OK)
		status = end_pipeline(conn, what, outcome == PST_OK ? err : &(pst_error){0});
	return outcome != PST_OK ? outcome : status;
}
