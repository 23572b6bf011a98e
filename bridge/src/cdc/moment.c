/* moment.c - snapshots that a stream can go on from. See moment.h. */
#include "cdc/moment.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cdc/position.h"
#include "clock.h"

#define PAUSE_MS 5
#define PAUSE_MAX_MS 500
#define REPORT_MS 10000

pst_status
psti_moment_assisted(psti_conn *conn, bool *out, pst_error *err)
{
	static const char sql[] =
		"SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
		"AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') "
		"FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_depend d "
		"ON d.refclassid OPERATOR(pg_catalog.=) "
		"'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid "
		"AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' "
		"AND d.classid OPERATOR(pg_catalog.=) "
		"'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid "
		"JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid "
		"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace "
		"WHERE e.extname OPERATOR(pg_catalog.=) 'penstock' AND n.nspname OPERATOR(pg_catalog.=) "
		"'penstock' AND p.proname OPERATOR(pg_catalog.=) 'snapshot' "
		"AND p.pronargs OPERATOR(pg_catalog.=) 0";
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(conn, "looking for the extension", sql, &result, err);

	*out = status == PST_OK && PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	return status;
}

/* ---- Questions of one row ---- */

static pst_status
bad_answer(const PGresult *result, pst_error *err)
{
	psti_fail(err, PST_ERR_PROTOCOL, "the server does not tell its snapshot");
	if (PQntuples(result) == 1)
		psti_error_detail(err, "It answers \"%.200s\".", PQgetvalue(result, 0, 0));
	else
		psti_error_detail(err, "It answers with %d rows.", PQntuples(result));
	return PST_ERR_PROTOCOL;
}

static pst_status
ask_number(psti_conn *conn, const char *what, const char *sql, uint64_t *out, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(conn, what, sql, &result, err);

	*out = 0;
	if (status == PST_OK && PQntuples(result) != 1)
		status = bad_answer(result, err);
	if (status == PST_OK)
		*out = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return status;
}

pst_status
psti_moment_next_xid(psti_conn *conn, uint64_t *out, pst_error *err)
{
	return ask_number(conn, "asking for the server's transactions",
					  "SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())",
					  out, err);
}

pst_status
psti_moment_visible(psti_conn *conn, uint64_t xid, bool *out, pst_error *err)
{
	char sql[160];
	uint64_t visible = 0;
	pst_status status;

	snprintf(sql, sizeof(sql),
			 "SELECT pg_catalog.txid_visible_in_snapshot(%" PRIu64
			 ", pg_catalog.txid_current_snapshot())::pg_catalog.int4",
			 xid);
	status = ask_number(conn, "asking for a transaction", sql, &visible, err);
	*out = visible == 1;
	return status;
}

/* One statement, one transaction: it is flushed when it has ended. */
pst_status
psti_moment_flush(psti_conn *conn, uint64_t *xid, uint64_t *lsn, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(
		conn, "flushing WAL",
		"SELECT pg_catalog.set_config('synchronous_commit', 'local', true), "
		"pg_catalog.txid_current(), pg_catalog.pg_logical_emit_message(true, 'penstock', 'flush')",
		&result, err);

	if (status == PST_OK &&
		(PQntuples(result) != 1 || !psti_lsn_parse(PQgetvalue(result, 0, 2), lsn)))
		status = bad_answer(result, err);
	if (status == PST_OK)
		*xid = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
	PQclear(result);
	return status;
}

static pst_status
parse_snapshot(const PGresult *result, psti_snapshot *out, pst_error *err)
{
	pst_status status = psti_snapshot_parse(PQgetvalue(result, 0, 0), out, err);

	return status == PST_ERR_INVALID ? bad_answer(result, err) : status;
}

static pst_status
ask_snapshot(psti_conn *conn, psti_snapshot *out, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(conn, "taking the snapshot",
									   "SELECT pg_catalog.txid_current_snapshot()", &result, err);

	if (status == PST_OK)
		status =
			PQntuples(result) == 1 ? parse_snapshot(result, out, err) : bad_answer(result, err);
	PQclear(result);
	return status;
}

/* ---- Waiting ---- */

/* Those who had an xid when the wait began, oldest first, and still have it. */
static const char holders_sql[] =
	"SELECT pg_catalog.string_agg(h.who, ', ' ORDER BY h.age DESC) FROM ("
	"SELECT pg_catalog.concat('process ', a.pid, ' (', a.usename, ', ', a.state, ')') AS who, "
	"pg_catalog.age(a.backend_xid) AS age FROM pg_catalog.pg_stat_activity a "
	"WHERE a.backend_xid IS NOT NULL "
	"UNION ALL SELECT pg_catalog.concat('prepared transaction ', p.gid), "
	"pg_catalog.age(p.transaction) FROM pg_catalog.pg_prepared_xacts p) h "
	"WHERE $1::pg_catalog.xid IS NULL "
	"OR h.age OPERATOR(pg_catalog.>=) pg_catalog.age($1::pg_catalog.xid)";

/* Into out who is waited for (bound 0: of all); empty where the server does not tell. */
static void
tell_holders(psti_conn *conn, uint64_t bound, char *out, size_t size)
{
	char xid[16];
	const char *params[] = {bound == 0 ? NULL : xid};
	PGresult *result = NULL;
	pst_error ignored;

	if (psti_conn_caps(conn)->in_recovery)
	{
		psti_error_copy(
			out, size, "transactions of the primary, or until it tells the standby that none runs");
		return;
	}
	out[0] = '\0';
	snprintf(xid, sizeof(xid), "%" PRIu32, (uint32_t) bound);
	if (psti_conn_query(conn, "asking who is waited for", holders_sql, 1, params, &result,
						&ignored) == PST_OK &&
		PQntuples(result) == 1)
		psti_error_copy(out, size, PQgetvalue(result, 0, 0));
	PQclear(result);
}

static void
begin_patience(psti_patience *patience, uint64_t bound)
{
	int64_t now = psti_now_ms();

	*patience = (psti_patience){true, bound, now, now, PAUSE_MS};
}

pst_status
psti_moment_look(const psti_waiting *waiting, psti_patience *patience, pst_error *err)
{
	int64_t now = psti_now_ms();
	char holders[512];

	if (waiting->timeout_ms > 0 && now - patience->began >= waiting->timeout_ms)
	{
		tell_holders(waiting->conn, patience->bound, holders, sizeof(holders));
		psti_fail(err, PST_ERR_TIMEOUT,
				  "older transactions did not end within cdc.wait-timeout (%lld ms)",
				  (long long) waiting->timeout_ms);
		if (holders[0] != '\0')
			psti_error_detail(err, "Waited for %s.", holders);
		psti_error_hint(err,
						"End them, or wait longer. Prepared transactions end by COMMIT PREPARED "
						"or ROLLBACK PREPARED.%s",
						psti_conn_caps(waiting->conn)->in_recovery
							? " A primary that is idle tells by SELECT pg_log_standby_snapshot()."
							: "");
		err->retryable = true;
		return PST_ERR_TIMEOUT;
	}
	if (now - patience->reported >= REPORT_MS)
	{
		tell_holders(waiting->conn, patience->bound, holders, sizeof(holders));
		psti_log(waiting->hooks, PST_LOG_INFO, "waiting for older transactions to end: %s",
				 holders);
		patience->reported = now;
	}
	return PST_OK;
}

/* Pauses before the next look, not beyond until. PST_AGAIN: that has come. */
static pst_status
be_patient(const psti_waiting *waiting, psti_patience *patience, int64_t until, pst_error *err)
{
	int64_t left = until < 0 ? PAUSE_MAX_MS : until - psti_now_ms();
	pst_status status = psti_moment_look(waiting, patience, err);

	if (status != PST_OK)
		return status;
	if (left <= 0)
		return PST_AGAIN;
	patience->pause = patience->pause * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : patience->pause * 2;
	return psti_conn_pause(waiting->hooks, left < patience->pause ? (int) left : patience->pause,
						   err);
}

void
psti_moment_begin_other(psti_patience *patience)
{
	begin_patience(patience, 0);
}

/* Who keeps readers from the table, one of its indexes, or what is under it. */
static const char lockers_sql[] =
	"WITH RECURSIVE tree(oid) AS (SELECT $1::pg_catalog.oid UNION SELECT i.inhrelid "
	"FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent OPERATOR(pg_catalog.=) t.oid) "
	"SELECT pg_catalog.string_agg(DISTINCT CASE WHEN p.gid IS NULL "
	"THEN pg_catalog.concat('process ', l.pid, ' (', a.usename, ', ', a.state, ')') "
	"ELSE pg_catalog.concat('prepared transaction ', p.gid) END, ', ') "
	"FROM pg_catalog.pg_locks l "
	"LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid "
	"LEFT JOIN pg_catalog.pg_prepared_xacts p ON l.virtualtransaction OPERATOR(pg_catalog.=) "
	"pg_catalog.concat('-1/', p.transaction) "
	"WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' "
	"AND l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock' "
	"AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d "
	"WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) "
	"AND (l.relation OPERATOR(pg_catalog.=) ANY (SELECT t.oid FROM tree t) "
	"OR l.relation OPERATOR(pg_catalog.=) ANY (SELECT x.indexrelid FROM pg_catalog.pg_index x "
	"JOIN tree t ON t.oid OPERATOR(pg_catalog.=) x.indrelid))";

void
psti_moment_locked(const psti_waiting *waiting, psti_patience *patience, uint32_t oid,
				   const char *table)
{
	int64_t now = psti_now_ms();
	char text[16];
	const char *params[] = {text};
	PGresult *result = NULL;
	pst_error ignored;

	if (now - patience->reported < REPORT_MS)
		return;
	patience->reported = now;
	snprintf(text, sizeof(text), "%" PRIu32, oid);
	/* They may be through by now. */
	if (psti_conn_query(waiting->conn, "asking who has the table locked", lockers_sql, 1, params,
						&result, &ignored) == PST_OK &&
		PQntuples(result) == 1 && !PQgetisnull(result, 0, 0))
		psti_log(waiting->hooks, PST_LOG_INFO, "waiting for the lock of %s: %.512s", table,
				 PQgetvalue(result, 0, 0));
	PQclear(result);
}

/* A bound of all xids that are assigned now. */
static pst_status
find_bound(const psti_waiting *waiting, uint64_t *out, pst_error *err)
{
	uint64_t lsn;

	if (!waiting->assisted && psti_conn_caps(waiting->conn)->in_recovery)
	{
		psti_fail(err, PST_ERR_UNSUPPORTED, "a standby does not tell which transactions run");
		psti_error_detail(err, "So no table can be read there beside a stream that goes on.");
		psti_error_hint(err,
						"Capture from the primary, install the extension, or begin anew: then all "
						"tables are read under the slot's own snapshot.");
		return PST_ERR_UNSUPPORTED;
	}
	if (!waiting->assisted)
		return psti_moment_flush(waiting->conn, out, &lsn, err);
	return ask_number(waiting->conn, "asking for the next transaction",
					  "BEGIN ISOLATION LEVEL REPEATABLE READ; "
					  "SELECT s.next_xid::pg_catalog.text::pg_catalog.int8 "
					  "OPERATOR(pg_catalog.-) 1 FROM penstock.snapshot() s",
					  out, err);
}

pst_status
psti_moment_begin(const psti_waiting *waiting, psti_patience *patience, pst_error *err)
{
	uint64_t bound = 0;
	pst_status status = find_bound(waiting, &bound, err);

	if (waiting->assisted && psti_conn_usable(waiting->conn))
	{
		pst_error ignored;

		(void) psti_conn_exec(waiting->conn, "asking for the next transaction", "ROLLBACK", NULL,
							  &ignored);
	}
	if (status == PST_OK)
		begin_patience(patience, bound);
	return status;
}

static int64_t
until_of(int timeout_ms)
{
	return timeout_ms < 0 ? -1 : psti_now_ms() + timeout_ms;
}

pst_status
psti_moment_wait(const psti_waiting *waiting, psti_patience *patience, int timeout_ms,
				 pst_error *err)
{
	int64_t until = until_of(timeout_ms);
	uint64_t oldest = 0;
	pst_status status = PST_OK;

	while (status == PST_OK)
	{
		status =
			ask_number(waiting->conn, "waiting for older transactions",
					   "SELECT pg_catalog.txid_snapshot_xmin(pg_catalog.txid_current_snapshot())",
					   &oldest, err);
		if (status != PST_OK || oldest > patience->bound)
			break;
		status = be_patient(waiting, patience, until, err);
	}
	if (status == PST_OK)
		patience->waiting = false;
	return status;
}

pst_status
psti_moment_cover(const psti_waiting *waiting, psti_patience *patience,
				  const psti_snapshot *snapshot, int timeout_ms, pst_error *err)
{
	int64_t until = until_of(timeout_ms);
	pst_status status = PST_OK;

	if (!patience->waiting)
		begin_patience(patience, snapshot->xmax - 1);
	while (status == PST_OK)
	{
		psti_snapshot here = {0};
		bool covers;

		status = ask_snapshot(waiting->conn, &here, err);
		covers = status == PST_OK && psti_snapshot_covers(&here, snapshot);
		psti_snapshot_free(&here);
		if (covers)
			break;
		if (status == PST_OK)
			status = be_patient(waiting, patience, until, err);
	}
	if (status == PST_OK)
		patience->waiting = false;
	return status;
}

pst_status
psti_moment_of_export(psti_conn *conn, const char *id, psti_snapshot *out, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_error ignored;
	pst_status status;

	memset(out, 0, sizeof(*out));
	psti_buf_puts(&sql,
				  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ");
	psti_buf_literal(&sql, id);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(conn, "importing the slot's snapshot", sql.data, NULL, err);
	if (status == PST_OK)
		status = ask_snapshot(conn, out, err);
	if (psti_conn_usable(conn))
		(void) psti_conn_exec(conn, "importing the slot's snapshot", "ROLLBACK", NULL, &ignored);
	psti_buf_free(&sql);
	return psti_moment_explain(status, err);
}

pst_status
psti_moment_explain(pst_status status, pst_error *err)
{
	if (status >= 0 || (strcmp(err->sqlstate, "22023") != 0 && strcmp(err->sqlstate, "42704") != 0))
		return status;
	psti_fail(err, PST_ERR_CONNECTION, "the session that held the snapshot was lost");
	psti_error_hint(err, "Open again at the stored position: a slot that no table was read beside "
						 "is made anew, else what is left is read under another snapshot.");
	err->retryable = true;
	return PST_ERR_CONNECTION;
}

/* ---- Taking one ---- */

static const char take_assisted_sql[] = "SELECT s.snapshot, s.horizon FROM penstock.snapshot() s";
/* The snapshot was taken before: what it sees lies before any place that WAL has now. */
static const char take_plain_sql[] =
	"SELECT pg_catalog.txid_current_snapshot(), pg_catalog.pg_current_wal_insert_lsn()";

pst_status
psti_moment_take(const psti_waiting *waiting, psti_conn *reader, psti_snapshot *out,
				 uint64_t *horizon, pst_error *err)
{
	PGresult *result = NULL;
	uint64_t xid;
	uint64_t lsn;
	pst_status status =
		psti_conn_exec(reader, "taking the snapshot",
					   waiting->assisted ? take_assisted_sql : take_plain_sql, &result, err);

	memset(out, 0, sizeof(*out));
	if (status == PST_OK &&
		(PQntuples(result) != 1 || !psti_lsn_parse(PQgetvalue(result, 0, 1), horizon)))
		status = bad_answer(result, err);
	if (status == PST_OK)
		status = parse_snapshot(result, out, err);
	PQclear(result);
	/* In another session: the reader must have no xid of its own. */
	if (status == PST_OK && !waiting->assisted)
		status = psti_moment_flush(waiting->conn, &xid, &lsn, err);
	if (status != PST_OK)
		psti_snapshot_free(out);
	return status;
}
