/*
 * follow.c - the stream: messages, heartbeats, and how far it has come. See capture.h.
 *
 * The server is told what was acknowledged, never what was received: what it forgets can be lost by
 * nobody any more. It is asked how far it is, so that the position of an idle table moves while others
 * are written.
 */
#include "cdc/capture.h"

#include <inttypes.h>

#include "failpoint.h"

/* Events that carry nothing but a newer position come no more often than this. */
#define PROGRESS_MS 1000
/* How long a batch is held open in a transaction when the server sends nothing. */
#define GATHER_MS 20
/* How long a slot that another session holds is waited for, and the server's word for it. */
#define IN_USE_MS 8000
/* How often it is looked whether a transaction is seen. */
#define VISIBLE_MS 20
/* When it is asked whether it is this capture that a transaction waits for. */
#define HIDDEN_MS 3000
/* The first byte of those of pgoutput's messages at which the catalog is looked at. */
#define PGOUTPUT_RELATION 'R'
#define PGOUTPUT_TRUNCATE 'T'
#define IN_USE "55006"

pst_status
psti_follow_tell(pst_cdc *cdc, bool ask, pst_error *err)
{
	cdc->heartbeat_at = psti_now_ms();
	return psti_stream_tell(cdc->stream, cdc->acked, ask, err);
}

/* The options that the output plugin is given; texts live in the buffers. */
typedef struct plugin_options
{
	psti_slot_option options[10];
	size_t n;
	psti_buf include;
	psti_buf publication;
} plugin_options;

static void
give(plugin_options *to, const char *name, const char *value)
{
	to->options[to->n++] = (psti_slot_option){name, value};
}

static void
give_records(const pst_cdc *cdc, plugin_options *to)
{
	const psti_options *options = cdc->options;

	psti_scope_include(&cdc->scope, &to->include);
	give(to, "version", "1");
	give(to, "include", to->include.data);
	give(to, "exclude", psti_opt_text(options, PSTI_OPT_EXCLUDE_TABLES));
	give(to, "columns", psti_opt_text(options, PSTI_OPT_CDC_COLUMNS));
	give(to, "exclude_columns", psti_opt_text(options, PSTI_OPT_EXCLUDE_COLUMNS));
	give(to, "messages", psti_opt_text(options, PSTI_OPT_MESSAGES));
	give(to, "operations", psti_opt_text(options, PSTI_OPT_OPERATIONS));
	give(to, "origin", psti_opt_int(options, PSTI_OPT_CDC_ORIGIN) == 1 ? "none" : "any");
	give(to, "partitions", cdc->scope.leaves ? "leaf" : "root");
}

static void
give_pgoutput(const pst_cdc *cdc, plugin_options *to)
{
	psti_buf_ident(&to->publication, cdc->publication);
	give(to, "proto_version", "1");
	give(to, "publication_names", to->publication.data);
	if (psti_opt_int(cdc->options, PSTI_OPT_CDC_ORIGIN) == 1)
		give(to, "origin", "none");
	if (psti_opt_given(cdc->options, PSTI_OPT_MESSAGES))
		give(to, "messages", "true");
}

/* The session of a client that died may hold the slot a little longer. PST_AGAIN: try again. */
static pst_status
wait_unused(pst_cdc *cdc, pst_error *err)
{
	int64_t now = psti_now_ms();
	pst_error full = *err;

	if (!psti_conn_usable(cdc->stream))
		return err->status;
	if (cdc->start_by == 0)
		cdc->start_by = now + IN_USE_MS;
	if (now < cdc->start_by)
		return psti_conn_pause(&cdc->hooks, 100, err) == PST_OK ? PST_AGAIN : err->status;
	*err = full;
	psti_error_hint(err,
					"Another capture may be running. To end it: SELECT pg_terminate_backend(pid) "
					"with the process of the message.");
	err->retryable = true;
	return err->status;
}

pst_status
psti_follow_start(pst_cdc *cdc, pst_error *err)
{
	plugin_options options = {.n = 0};
	pst_status status;

	if (cdc->plain)
		give_pgoutput(cdc, &options);
	else
		give_records(cdc, &options);
	status = options.include.failed || options.publication.failed ? psti_fail_nomem(err) : PST_OK;
	if (status == PST_OK)
		status = psti_slot_start(cdc->stream, cdc->at.slot, cdc->at.safe_lsn, options.options,
								 options.n, err);
	psti_buf_free(&options.include);
	psti_buf_free(&options.publication);
	if (status < 0 && strcmp(err->sqlstate, IN_USE) == 0)
		return wait_unused(cdc, err);
	if (status != PST_OK)
		return status;
	cdc->streaming = true;
	cdc->told_safe = cdc->at.safe_lsn;
	(void) PSTI_FAILPOINT("cdc.started");
	return psti_follow_tell(cdc, false, err);
}

/* ---- How far it is ---- */

/* Whether everything is read, and the stream beyond all that was seen meanwhile. */
static bool
is_complete(const pst_cdc *cdc)
{
	return cdc->at.stage == PSTI_STAGE_SNAPSHOT && cdc->step == PSTI_STEP_STREAM &&
		   cdc->at.commit_lsn == 0 && cdc->at.safe_lsn >= cdc->at.complete_lsn;
}

/* What is to be told though no row has come; PST_AGAIN: nothing. */
static pst_status
tell_news(pst_cdc *cdc, pst_event *out)
{
	int64_t now = psti_now_ms();

	if (cdc->transaction.open)
		return PST_AGAIN;
	if (is_complete(cdc))
	{
		cdc->at.stage = PSTI_STAGE_STREAM;
		psti_event_begin(cdc, PST_EVENT_SNAPSHOT_COMPLETE, out);
	}
	else if (cdc->stop_lsn != 0 && cdc->at.safe_lsn >= cdc->stop_lsn)
	{
		cdc->step = PSTI_STEP_END;
		if (cdc->at.safe_lsn == cdc->told_safe)
			return PST_AGAIN;
		psti_event_begin(cdc, PST_EVENT_PROGRESS, out);
	}
	else if (cdc->at.safe_lsn > cdc->told_safe && now - cdc->told_at >= PROGRESS_MS)
		psti_event_begin(cdc, PST_EVENT_PROGRESS, out);
	else
		return PST_AGAIN;
	cdc->told_at = now;
	cdc->told_safe = cdc->at.safe_lsn;
	return PST_OK;
}

/* ---- Messages ---- */

static pst_status
take_message(pst_cdc *cdc, const char *data, size_t nbytes, pst_error *err)
{
	psti_stream_message message;
	pst_status status = psti_stream_read(data, nbytes, &message, err);

	if (status != PST_OK)
		return status;
	cdc->bytes += (int64_t) nbytes;
	if (message.kind == PSTI_STREAM_ALIVE)
	{
		if (message.lsn > cdc->server_end)
			cdc->server_end = message.lsn;
		if (message.lsn > cdc->received)
			cdc->received = message.lsn;
		if (!cdc->transaction.open)
			status = psti_capture_pass(cdc, message.lsn, err);
		if (status == PST_OK && message.reply)
			status = psti_follow_tell(cdc, false, err);
		return status;
	}
	if (message.end > cdc->server_end)
		cdc->server_end = message.end;
	if (message.lsn > cdc->received)
		cdc->received = message.lsn;
	cdc->message_open = true;
	cdc->looks_up = cdc->plain && message.nbytes > 0 &&
					(message.data[0] == PGOUTPUT_RELATION || message.data[0] == PGOUTPUT_TRUNCATE);
	return cdc->decoder->open(cdc->decoder, message.lsn, message.data, message.nbytes, err);
}

/*
 * Milliseconds until there is something to do without a message; at most the caller's. Rows of a
 * transaction that has not ended wait for more of it, a little.
 */
static int
patience(const pst_cdc *cdc, bool gathered, int64_t deadline)
{
	int64_t now = psti_now_ms();
	int64_t until = cdc->heartbeat_at + psti_opt_int(cdc->options, PSTI_OPT_HEARTBEAT);

	if (gathered)
		return cdc->transaction.open ? GATHER_MS : 0;
	if (cdc->at.safe_lsn > cdc->told_safe && cdc->told_at + PROGRESS_MS < until)
		until = cdc->told_at + PROGRESS_MS;
	if (deadline >= 0 && deadline < until)
		until = deadline;
	return until <= now ? 0 : (int) (until - now);
}

static bool
is_due(const pst_cdc *cdc, int64_t last)
{
	return psti_now_ms() >= last + psti_opt_int(cdc->options, PSTI_OPT_HEARTBEAT);
}

/* The next message of the server. PST_AGAIN: none came in time. */
static pst_status
receive(pst_cdc *cdc, int64_t deadline, pst_error *err)
{
	bool gathered = psti_rows_pending(cdc->rows) > 0;
	const char *data;
	size_t nbytes;
	pst_status status = PST_OK;

	if (!gathered && is_due(cdc, cdc->heartbeat_at))
		status = psti_follow_tell(cdc, true, err);
	if (status == PST_OK && !cdc->transaction.open && is_due(cdc, cdc->watched_at))
	{
		/* What is gathered is given first, however many messages there are. */
		if (gathered)
			return PST_AGAIN;
		status = psti_watch(cdc, err);
	}
	if (status == PST_OK && cdc->step != PSTI_STEP_STREAM)
		return PST_AGAIN;
	if (status == PST_OK)
		status = psti_conn_stream_next(cdc->stream, patience(cdc, gathered, deadline), &data,
									   &nbytes, err);
	if (status == PST_OK)
		return take_message(cdc, data, nbytes, err);
	if (status != PST_END)
	{
		if (status < 0 && cdc->plain && strcmp(err->sqlstate, "42704") == 0)
			psti_error_hint(err,
							"The publication is looked for as it was at each change: it must have "
							"been there before the slot, and stay. Begin anew with a new slot.");
		return status;
	}
	psti_fail(err, PST_ERR_CONNECTION, "the server has ended the stream");
	psti_error_hint(err, "It may be shutting down. Open again at the stored position.");
	err->retryable = true;
	return PST_ERR_CONNECTION;
}

/*
 * A commit that waits for this capture's walsender as a standby would be waited for without end: what it is to
 * acknowledge has not been told.
 */
static pst_status
check_hidden(pst_cdc *cdc, pst_error *err)
{
	static const char sql[] =
		"SELECT r.application_name FROM pg_catalog.pg_stat_replication r "
		"JOIN pg_catalog.pg_replication_slots s ON s.active_pid OPERATOR(pg_catalog.=) r.pid "
		"WHERE s.slot_name OPERATOR(pg_catalog.=) $1::pg_catalog.name "
		"AND r.sync_state OPERATOR(pg_catalog.=) ANY ('{sync,quorum}'::pg_catalog.text[])";
	const char *params[] = {cdc->at.slot};
	int64_t now = psti_now_ms();
	PGresult *found = NULL;
	pst_status status;

	if (cdc->hidden_xid != cdc->transaction.xid)
	{
		cdc->hidden_xid = cdc->transaction.xid;
		cdc->hidden_at = now;
	}
	if (now - cdc->hidden_at < HIDDEN_MS)
		return PST_OK;
	cdc->hidden_at = now;
	status =
		psti_conn_query(cdc->conn, "looking at who is waited for", sql, 1, params, &found, err);
	if (status == PST_OK && PQntuples(found) > 0)
	{
		status = psti_fail(err, PST_ERR_STATE,
						   "transaction %" PRIu64
						   " is not committed before this capture, \"%s\", has confirmed it as a "
						   "synchronous standby, which it cannot before the commit is seen",
						   cdc->transaction.xid, PQgetvalue(found, 0, 0));
		psti_error_hint(err, "Name standbys in synchronous_standby_names, without \"*\" and "
							 "without this capture's application_name.");
	}
	PQclear(found);
	return status;
}

/*
 * What pgoutput describes or empties is looked up in the catalog, which must show what the transaction has
 * done to it: a commit is decoded a little, behind a synchronous standby long, before it is seen.
 * PST_AGAIN: not yet.
 */
static pst_status
await_visible(pst_cdc *cdc, int64_t deadline, pst_error *err)
{
	int64_t left = deadline < 0 ? VISIBLE_MS : deadline - psti_now_ms();
	bool visible;
	pst_status status;

	if (!cdc->looks_up || !cdc->transaction.open || cdc->visible_xid == cdc->transaction.xid)
		return PST_OK;
	status = psti_moment_visible(cdc->conn, cdc->transaction.xid, &visible, err);
	if (status != PST_OK)
		return status;
	if (visible)
	{
		cdc->visible_xid = cdc->transaction.xid;
		return PST_OK;
	}
	status = check_hidden(cdc, err);
	if (status == PST_OK && is_due(cdc, cdc->heartbeat_at))
		status = psti_follow_tell(cdc, false, err);
	if (status != PST_OK)
		return status;
	left = left < 0 ? 0 : left < VISIBLE_MS ? left : VISIBLE_MS;
	status = psti_conn_pause(&cdc->hooks, (int) left, err);
	return status == PST_OK ? PST_AGAIN : status;
}

/* The next change, of the open message. PST_AGAIN: it has no more. */
static pst_status
take_change(pst_cdc *cdc, pst_error *err)
{
	pst_status status = cdc->decoder->next(cdc->decoder, &cdc->change, err);

	if (status == PST_END)
	{
		cdc->message_open = false;
		return PST_AGAIN;
	}
	cdc->has_change = status == PST_OK;
	cdc->truncated = 0;
	cdc->truncate_told = false;
	cdc->old_told = false;
	return status;
}

pst_status
psti_follow_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err)
{
	int64_t deadline = timeout_ms < 0 ? -1 : psti_now_ms() + timeout_ms;
	pst_status status = PST_AGAIN;

	while (cdc->step == PSTI_STEP_STREAM)
	{
		bool gathered = psti_rows_pending(cdc->rows) > 0;

		if (cdc->has_change)
			status = psti_apply(cdc, out, err);
		else if (cdc->message_open)
		{
			status = await_visible(cdc, deadline, err);
			if (status == PST_AGAIN && gathered)
				return psti_apply_rows(cdc, out, err);
			if (status == PST_AGAIN && deadline >= 0 && psti_now_ms() >= deadline)
				return PST_AGAIN;
			if (status == PST_OK)
				status = take_change(cdc, err) < 0 ? err->status : PST_AGAIN;
		}
		else if (!gathered && tell_news(cdc, out) == PST_OK)
			return PST_OK;
		else if (cdc->step == PSTI_STEP_STREAM)
		{
			status = receive(cdc, deadline, err);
			if (status == PST_AGAIN && gathered)
				return psti_apply_rows(cdc, out, err);
			if (status == PST_AGAIN && deadline >= 0 && psti_now_ms() >= deadline)
				return PST_AGAIN;
			if (status == PST_OK)
				status = PST_AGAIN;
		}
		if (status != PST_AGAIN)
			return status;
	}
	return PST_AGAIN;
}
