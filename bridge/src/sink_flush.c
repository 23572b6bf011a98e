/*
 * sink_flush.c - one flush as one transaction, tried again when that can help.
 *
 * An append goes by COPY, which may have begun while its rows arrived. Changes by key are merged
 * and sorted first; a large lot then goes by COPY into a temporary table and from there by INSERT,
 * a small one as arrays, in a single round trip with BEGIN and COMMIT.
 */
#include "sink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "failpoint.h"

#define SEND_CHUNK_BYTES 131072
#define PAUSE_FIRST_MS 100 /* times four each: three retries outlast a quick restart */
#define PAUSE_CONFLICT_MS 20
#define PAUSE_MAX_MS 30000
#define ZOMBIE_POLL_MS 20
#define MESSAGE_MAX_BYTES 1000000000

static const char copy_header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
static const char copy_trailer[2] = {'\377', '\377'};

/* --- the session ----------------------------------------------------------------------------- */

void
psti_sink_disconnect(pst_sink *sink)
{
	psti_conn_close(sink->conn);
	sink->conn = NULL;
	memset(sink->prepared, 0, sizeof(sink->prepared));
	sink->temp_made = false;
	sink->streaming = false;
}

pst_status
psti_sink_query_local(pst_sink *sink, const char *what, const char *setting, const char *sql,
					  int nparams, const char *const *params, PGresult **out, pst_error *err)
{
	const psti_step steps[] = {
		{.what = what, .sql = "BEGIN"},
		{.what = what, .sql = setting},
		{.what = what, .sql = sql, .nparams = nparams, .params = params},
		{.what = what, .sql = "COMMIT"},
	};
	PGresult *results[4] = {NULL};
	int failed;
	pst_status status = psti_conn_pipeline(sink->conn, steps, 4, results, &failed, err);

	*out = status == PST_OK ? results[2] : NULL;
	for (int i = 0; i < 4; i++)
	{
		if (results[i] != *out)
			PQclear(results[i]);
	}
	if (status != PST_OK)
		psti_sink_rollback(sink);
	return status;
}

/*
 * As the role that has logged in: the server shows a process, and lets it be ended, by that role's
 * rights, and the session may be under another (ALTER ROLE … SET role).
 */
static pst_status
query_as_login(pst_sink *sink, const char *what, const char *sql, int nparams,
			   const char *const *params, PGresult **out, pst_error *err)
{
	return psti_sink_query_local(sink, what, "SET LOCAL ROLE NONE", sql, nparams, params, out, err);
}

/*
 * Whom to end should a commit be in doubt. A pooler tells other pids than the server: behind it the
 * process is not ours to end, as it may serve another client by then.
 */
static pst_status
name_session(pst_sink *sink, pst_error *err)
{
	static const char full[] = "SELECT pg_catalog.pg_backend_pid(), (SELECT a.backend_start FROM "
							   "pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a)";
	static const char pid_only[] = "SELECT pg_catalog.pg_backend_pid(), NULL";
	static const char what[] = "starting the session";
	psti_backend *session = &sink->session;
	PGresult *answer = NULL;
	pst_status status = query_as_login(sink, what, full, 0, NULL, &answer, err);

	if (strcmp(err->sqlstate, "42501") == 0 && sink->conn != NULL)
	{
		psti_enter(err);
		status = psti_conn_query(sink->conn, what, pid_only, 0, NULL, &answer, err);
	}
	memset(session, 0, sizeof(*session));
	if (status == PST_OK && PQntuples(answer) == 1)
	{
		psti_error_copy(session->pid, sizeof(session->pid), PQgetvalue(answer, 0, 0));
		psti_error_copy(session->start, sizeof(session->start), PQgetvalue(answer, 0, 1));
		session->pooled = strtol(session->pid, NULL, 10) != PQbackendPID(psti_conn_pg(sink->conn));
	}
	PQclear(answer);
	return status;
}

pst_status
psti_sink_connect(pst_sink *sink, pst_error *err)
{
	pst_status status;

	if (sink->conn != NULL && psti_conn_usable(sink->conn))
		return PST_OK;
	psti_sink_disconnect(sink);
	status = psti_conn_open(sink->options, NULL, &sink->hooks, &sink->conn, err);
	if (status == PST_OK)
		status = name_session(sink, err);
	/* Were it used without a name, nobody could end it. */
	if (status != PST_OK)
		psti_sink_disconnect(sink);
	return status;
}

void
psti_sink_doubt(pst_sink *sink, const psti_attempt *attempt)
{
	if (!sink->in_doubt)
	{
		sink->zombie = sink->session;
		sink->doubtful = *attempt;
		sink->doubtful.skipped = sink->skip.nrows;
	}
	sink->in_doubt = true;
}

/* The values of a statement are one message, and the server ends a session over one of 1 GB. */
static bool
is_too_large(const psti_step *step)
{
	int64_t sum = 0;

	for (int p = 0; step->lengths != NULL && step->prepare == NULL && p < step->nparams; p++)
		sum += step->params[p] == NULL ? 0 : step->lengths[p];
	return sum > MESSAGE_MAX_BYTES;
}

pst_status
psti_sink_run(pst_sink *sink, const psti_step *steps, size_t nsteps, int *failed, pst_error *err)
{
	PGresult **results = calloc(nsteps + 1, sizeof(*results));
	const psti_step *large = NULL;
	pst_status status = PST_OK;

	*failed = -1;
	if (results == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; large == NULL && i < nsteps; i++)
	{
		if (is_too_large(&steps[i]))
			large = &steps[i];
	}
	if (large != NULL)
		nsteps = (size_t) (large - steps);
	if (nsteps > 0 || large == NULL)
		status = psti_conn_pipeline(sink->conn, steps, nsteps, results, failed, err);
	if (status == PST_OK && large != NULL)
	{
		*failed = (int) nsteps;
		status = psti_fail_sqlstate(
			err, "54000", "%s: the values of one statement have more than 1 GB", large->what);
	}
	for (size_t i = 0; i < nsteps; i++)
	{
		for (int s = 0; results[i] != NULL && steps[i].prepare != NULL && s < PSTI_STMT_COUNT; s++)
			sink->prepared[s] = sink->prepared[s] || steps[i].prepare == sink->statement[s];
		PQclear(results[i]);
	}
	free(results);
	return status;
}

pst_status
psti_sink_run_commit(pst_sink *sink, const psti_step *steps, size_t nsteps, int progress_at,
					 psti_attempt *attempt, pst_error *err)
{
	pst_status status;
	int failed;

	if (PSTI_FAILPOINT("sink.before_commit"))
		return psti_fail_sqlstate(err, "08006", "failpoint before the commit");
	attempt->commit_sent = true;
	status = psti_sink_run(sink, steps, nsteps, &failed, err);
	if (status == PST_OK && PSTI_FAILPOINT("sink.after_commit"))
	{
		psti_sink_disconnect(sink);
		return psti_fail_sqlstate(err, "08006", "failpoint after the commit");
	}
	attempt->at_commit = status != PST_OK && failed == (int) nsteps - 1;
	attempt->at_progress = status != PST_OK && failed >= 0 && failed == progress_at &&
						   strcmp(err->sqlstate, "22012") == 0;
	return status;
}

void
psti_sink_rollback(pst_sink *sink)
{
	pst_error ignored;

	psti_enter(&ignored);
	sink->streaming = false;
	if (sink->conn == NULL)
		return;
	if (!psti_conn_usable(sink->conn))
	{
		psti_sink_disconnect(sink);
		return;
	}
	if (PQtransactionStatus(psti_conn_pg(sink->conn)) == PQTRANS_IDLE)
		return;
	if (psti_conn_exec(sink->conn, "rolling back", "ROLLBACK", NULL, &ignored) != PST_OK)
		psti_sink_disconnect(sink);
}

/* --- a list of steps --------------------------------------------------------------------------- */

/* Steps that travel together, and the memory that they point to. */
typedef struct trip
{
	psti_step *steps;
	size_t nsteps;
	size_t cap;
	psti_lot *lots;
	size_t nlots;
	char **texts; /* statements built for this trip */
	size_t ntexts;
	psti_progress_step progress;
	int progress_at; /* index of the progress step, -1 without */
} trip;

static pst_status
trip_init(trip *t, size_t nshapes, pst_error *err)
{
	*t = (trip){.progress_at = -1, .cap = 16 + 2 * nshapes};
	t->steps = calloc(t->cap, sizeof(*t->steps));
	t->lots = calloc(4 + nshapes, sizeof(*t->lots));
	t->texts = calloc(8 + nshapes, sizeof(*t->texts));
	if (t->steps == NULL || t->lots == NULL || t->texts == NULL)
		return psti_fail_nomem(err);
	return PST_OK;
}

static void
trip_free(trip *t)
{
	for (size_t i = 0; t->lots != NULL && i < t->nlots; i++)
		psti_lot_free(&t->lots[i]);
	for (size_t i = 0; t->texts != NULL && i < t->ntexts; i++)
		free(t->texts[i]);
	psti_buf_free(&t->progress.sql);
	free(t->steps);
	free(t->lots);
	free(t->texts);
}

static psti_step *
trip_add(trip *t, const char *what)
{
	psti_step *step = &t->steps[t->nsteps++];

	*step = (psti_step){.what = what};
	return step;
}

static void
trip_sql(trip *t, const char *what, const char *sql)
{
	trip_add(t, what)->sql = sql;
}

/* Moves a statement's text into the trip; NULL when memory is out. */
static const char *
trip_text(trip *t, psti_buf *sql, pst_error *err)
{
	char *text = psti_buf_steal(sql);

	if (text == NULL)
		psti_fail_nomem(err);
	else
		t->texts[t->ntexts++] = text;
	return text;
}

static void
set_params(psti_step *step, const psti_lot *lot)
{
	step->nparams = lot->ncolumns;
	step->types = lot->types;
	step->params = lot->params;
	step->lengths = lot->lengths;
	step->formats = lot->formats;
}

/*
 * The name says the statement: behind a pooler the server connection that we are given may have one
 * that another client has prepared, and that must be the same then.
 */
static const char *
name_statement(pst_sink *sink, int stmt, const char *sql, const psti_lot *lot)
{
	uint64_t hash = psti_hash(PSTI_HASH_BEGIN, sql, strlen(sql));

	hash = psti_hash(hash, lot->types, (size_t) lot->ncolumns * sizeof(*lot->types));
	snprintf(sink->statement[stmt], sizeof(sink->statement[stmt]),
			 PSTI_STATEMENT_PREFIX "%016" PRIx64, hash);
	return sink->statement[stmt];
}

/*
 * Adds a statement over arrays. One of PSTI_STMT_… is prepared once a session, where the session is
 * ours to keep.
 */
static void
trip_statement(pst_sink *sink, trip *t, const char *what, int stmt, const char *sql,
			   const psti_lot *lot)
{
	const char *name;
	psti_step *step;

	if (stmt < 0 || sink->stateless)
	{
		step = trip_add(t, what);
		step->sql = sql;
		set_params(step, lot);
		return;
	}
	name = name_statement(sink, stmt, sql, lot);
	if (!sink->prepared[stmt])
	{
		step = trip_add(t, what);
		step->sql = sql;
		step->prepare = name;
		step->nparams = lot->ncolumns;
		step->types = lot->types;
	}
	step = trip_add(t, what);
	step->statement = name;
	set_params(step, lot);
}

static pst_status
trip_commit(pst_sink *sink, trip *t, pst_error *err)
{
	pst_status status = PST_OK;

	if (sink->progress.table != NULL && !sink->staging)
	{
		t->progress_at = (int) t->nsteps;
		status = psti_progress_add(sink, &t->progress, trip_add(t, "storing the position"), err);
	}
	trip_sql(t, "committing", "COMMIT");
	return status;
}

/* Sends the trip; notes what a failure means for the commit. */
static pst_status
trip_run(pst_sink *sink, trip *t, psti_attempt *attempt, pst_error *err)
{
	pst_status status =
		psti_sink_run_commit(sink, t->steps, t->nsteps, t->progress_at, attempt, err);

	for (size_t i = 0; attempt->commit_sent && i < t->nlots; i++)
	{
		for (int c = 0; c < t->lots[i].ncolumns; c++)
			sink->bytes_out += t->lots[i].lengths[c];
	}
	return status;
}

/* --- appending --------------------------------------------------------------------------------- */

static pst_status
begin_copy(pst_sink *sink, const char *begin, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_puts(&sql, begin);
	psti_sql_copy(sink->plan, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_copy_in(sink->conn, "copying rows", sql.data, err);
	psti_buf_free(&sql);
	if (status == PST_OK && !sink->plan->copy_text)
		status = psti_conn_copy_put(sink->conn, copy_header, sizeof(copy_header), err);
	return status;
}

static pst_status
end_copy(pst_sink *sink, bool text, pst_error *err)
{
	pst_status status = PST_OK;

	if (!text)
		status = psti_conn_copy_put(sink->conn, copy_trailer, sizeof(copy_trailer), err);
	return status == PST_OK ? psti_conn_copy_end(sink->conn, NULL, err) : status;
}

void
psti_sink_stream(pst_sink *sink)
{
	pst_error *err = &sink->stream_error;
	pst_status status = PST_OK;

	if (sink->plan->mode != PSTI_MODE_APPEND || sink->plan->by_insert || sink->staging ||
		sink->stream_failed || sink->in_doubt || sink->progress.resync || sink->rows.mixed ||
		sink->rows.bytes.len - sink->streamed < PSTI_SINK_STREAM_BYTES)
		return;
	psti_enter(err);
	if (!sink->streaming)
	{
		sink->streamed = 0;
		status = psti_sink_connect(sink, err);
		if (status == PST_OK)
			status = begin_copy(sink, "BEGIN; ", err);
		sink->streaming = status == PST_OK;
	}
	if (status == PST_OK)
		status = psti_conn_copy_put(sink->conn, sink->rows.bytes.data + sink->streamed,
									sink->rows.bytes.len - sink->streamed, err);
	if (status == PST_OK)
		sink->streamed = sink->rows.bytes.len;
	else
	{
		sink->stream_failed = true;
		sink->streaming = false;
	}
}

void
psti_sink_stream_drop(pst_sink *sink)
{
	pst_error ignored;

	psti_enter(&ignored);
	if (sink->streaming && sink->conn != NULL && psti_conn_usable(sink->conn))
		psti_conn_copy_drop(sink->conn, &ignored);
	sink->stream_failed = false;
	sink->streamed = 0;
	psti_sink_rollback(sink);
}

pst_status
psti_sink_append_range(pst_sink *sink, size_t from, size_t to, pst_error *err)
{
	size_t start = sink->rows.row[from].at;
	size_t end = psti_rows_end(&sink->rows, to - 1);
	pst_status status = begin_copy(sink, "", err);

	if (status == PST_OK)
		status = psti_conn_copy_put(sink->conn, sink->rows.bytes.data + start, end - start, err);
	return status == PST_OK ? end_copy(sink, sink->plan->copy_text, err) : status;
}

static pst_status
append_copy(pst_sink *sink, psti_attempt *attempt, pst_error *err)
{
	trip t;
	pst_status status = trip_init(&t, 0, err);
	size_t from = 0;

	if (status == PST_OK && sink->stream_failed)
	{
		*err = sink->stream_error;
		status = err->status;
		sink->stream_failed = false;
	}
	else if (status == PST_OK && sink->streaming)
		from = sink->streamed;
	else if (status == PST_OK)
		status = begin_copy(sink, "BEGIN; ", err);
	sink->streaming = false;
	if (status == PST_OK)
		status = psti_conn_copy_put(sink->conn, sink->rows.bytes.data + from,
									sink->rows.bytes.len - from, err);
	if (status == PST_OK && PSTI_FAILPOINT("sink.copy_sent"))
		status = psti_fail_sqlstate(err, "08006", "failpoint inside the COPY");
	if (status == PST_OK)
		status = end_copy(sink, sink->plan->copy_text, err);
	if (status == PST_OK)
		status = trip_commit(sink, &t, err);
	if (status == PST_OK)
		status = trip_run(sink, &t, attempt, err);
	sink->bytes_out += (int64_t) sink->rows.bytes.len;
	attempt->method = "copy";
	attempt->upserted = sink->live_rows;
	trip_free(&t);
	return status;
}

/* A step that inserts nrows rows without columns. */
static void
add_count(trip *t, int64_t nrows, const char *sql, char text[24], const char **param)
{
	psti_step *step = trip_add(t, "inserting rows");

	snprintf(text, 24, "%lld", (long long) nrows);
	*param = text;
	step->sql = sql;
	step->nparams = 1;
	step->params = param;
}

static pst_status
append_insert(pst_sink *sink, psti_attempt *attempt, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	psti_buf sql = PSTI_BUF_INIT;
	trip t;
	char number[24];
	const char *param;
	pst_status status = trip_init(&t, 0, err);

	psti_sql_insert(plan, PSTI_FROM_ARRAYS, NULL, &sql);
	if (status == PST_OK && trip_text(&t, &sql, err) == NULL)
		status = PST_ERR_NOMEM;
	if (status == PST_OK)
		status = psti_lot_init(&t.lots[t.nlots++], plan, plan->ncolumns, NULL, err);
	for (size_t i = 0; status == PST_OK && plan->ncolumns > 0 && i < sink->rows.nrows; i++)
		psti_lot_add(&t.lots[0], psti_rows_at(&sink->rows, i), plan->ncolumns, NULL);
	if (status == PST_OK)
		status = psti_lot_finish(&t.lots[0], sink->live_rows, err);
	if (status == PST_OK)
	{
		trip_sql(&t, "beginning", "BEGIN");
		if (plan->ncolumns == 0)
			add_count(&t, sink->live_rows, t.texts[0], number, &param);
		else
			trip_statement(sink, &t, "inserting rows", PSTI_STMT_UPSERT, t.texts[0], &t.lots[0]);
		status = trip_commit(sink, &t, err);
	}
	if (status == PST_OK)
		status = trip_run(sink, &t, attempt, err);
	attempt->method = "unnest";
	attempt->upserted = sink->live_rows;
	psti_buf_free(&sql);
	trip_free(&t);
	return status;
}

/* --- changes by key ------------------------------------------------------------------------------ */

/* The items of one kind as arrays, in sending order. */
typedef enum picking
{
	PICK_ALL,
	PICK_DELETES,
	PICK_SHAPE
} picking;

static pst_status
fill_lot(pst_sink *sink, const psti_merge *merge, picking what, uint32_t shape, psti_lot *lot,
		 pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	const uint8_t *skip =
		what == PICK_SHAPE && shape > 0 ? merge->shapes + (shape - 1) * merge->shape_bytes : NULL;
	size_t ncolumns = what == PICK_SHAPE ? plan->ncolumns : plan->nkey;
	pst_status status = psti_lot_init(lot, plan, ncolumns, skip, err);
	int64_t n = 0;

	for (size_t i = 0; status == PST_OK && i < merge->nitems; i++)
	{
		const psti_merge_item *item = &merge->items[i];

		if ((what == PICK_DELETES && !item->deletes) ||
			(what == PICK_SHAPE && (!item->upserts || item->shape != shape)))
			continue;
		/* A key that is only deleted has no tuple of its own: its last row holds the key. */
		psti_lot_add(lot,
					 item->upserts ? psti_merge_tuple(merge, &sink->rows, item)
								   : psti_rows_at(&sink->rows, item->row),
					 ncolumns, skip);
		n++;
	}
	return status == PST_OK ? psti_lot_finish(lot, n, err) : status;
}

static pst_status
add_lock(pst_sink *sink, trip *t, const psti_merge *merge, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	psti_lot *lot = &t->lots[t->nlots++];
	bool strong = merge->ndeletes > 0;
	const char *text;
	pst_status status = fill_lot(sink, merge, PICK_ALL, 0, lot, err);

	if (status != PST_OK)
		return status;
	psti_sql_lock(sink->plan, strong ? "UPDATE" : "NO KEY UPDATE", &sql);
	text = trip_text(t, &sql, err);
	psti_buf_free(&sql);
	if (text == NULL)
		return PST_ERR_NOMEM;
	/* Only the usual strength is worth a prepared statement. */
	trip_statement(sink, t, "locking the keys", strong ? PSTI_STMT_LOCK : -1, text, lot);
	return PST_OK;
}

static pst_status
add_deletes(pst_sink *sink, trip *t, const psti_merge *merge, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	psti_lot *lot = &t->lots[t->nlots++];
	const char *text;
	pst_status status = fill_lot(sink, merge, PICK_DELETES, 0, lot, err);

	if (status != PST_OK)
		return status;
	psti_sql_delete(sink->plan, PSTI_FROM_ARRAYS, &sql);
	text = trip_text(t, &sql, err);
	psti_buf_free(&sql);
	if (text == NULL)
		return PST_ERR_NOMEM;
	trip_statement(sink, t, "deleting rows", PSTI_STMT_DELETE, text, lot);
	return PST_OK;
}

static pst_status
add_upserts(pst_sink *sink, trip *t, const psti_merge *merge, uint32_t shape, pst_error *err)
{
	const uint8_t *skip = shape > 0 ? merge->shapes + (shape - 1) * merge->shape_bytes : NULL;
	psti_buf sql = PSTI_BUF_INIT;
	psti_lot *lot = &t->lots[t->nlots++];
	const char *text;
	pst_status status = fill_lot(sink, merge, PICK_SHAPE, shape, lot, err);

	if (status != PST_OK)
		return status;
	psti_sql_upsert(sink->plan, PSTI_FROM_ARRAYS, skip, &sql);
	text = trip_text(t, &sql, err);
	psti_buf_free(&sql);
	if (text == NULL)
		return PST_ERR_NOMEM;
	trip_statement(sink, t, "upserting rows", shape == 0 ? PSTI_STMT_UPSERT : -1, text, lot);
	return PST_OK;
}

/* Copies the full rows, sorted, into the temporary table; the transaction is open afterwards. */
static pst_status
copy_sorted(pst_sink *sink, const psti_merge *merge, pst_error *err)
{
	psti_buf chunk = PSTI_BUF_INIT;
	pst_status status = psti_conn_copy_put(sink->conn, copy_header, sizeof(copy_header), err);

	for (size_t i = 0; status == PST_OK && i < merge->nitems; i++)
	{
		const psti_merge_item *item = &merge->items[i];
		const char *tuple;

		if (!item->upserts || item->shape != 0)
			continue;
		tuple = psti_merge_tuple(merge, &sink->rows, item);
		/* A row as it came ends where the next one begins: no need to walk its fields. */
		psti_buf_append(&chunk, tuple,
						item->composed ? psti_key_len(tuple, sink->plan->ncolumns) + 2
									   : psti_rows_end(&sink->rows, item->row) - item->at);
		if (chunk.len < SEND_CHUNK_BYTES && !chunk.failed)
			continue;
		status = psti_buf_check(&chunk, err);
		if (status == PST_OK)
			status = psti_conn_copy_put(sink->conn, chunk.data, chunk.len, err);
		sink->bytes_out += (int64_t) chunk.len;
		psti_buf_reset(&chunk);
	}
	if (status == PST_OK)
		status = psti_buf_check(&chunk, err);
	if (status == PST_OK && chunk.len > 0)
		status = psti_conn_copy_put(sink->conn, chunk.data, chunk.len, err);
	sink->bytes_out += (int64_t) chunk.len;
	psti_buf_free(&chunk);
	if (status == PST_OK && PSTI_FAILPOINT("sink.copy_sent"))
		return psti_fail_sqlstate(err, "08006", "failpoint inside the COPY");
	return status == PST_OK ? end_copy(sink, false, err) : status;
}

static pst_status
make_temp(pst_sink *sink, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	if (sink->temp_made)
		return PST_OK;
	psti_sql_temp_create(sink->plan, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(sink->conn, "making the temporary table", sql.data, NULL, err);
	psti_buf_free(&sql);
	sink->temp_made = status == PST_OK;
	return status;
}

static pst_status
begin_by_copy(pst_sink *sink, const psti_merge *merge, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status = make_temp(sink, err);

	psti_buf_puts(&sql, "BEGIN; ");
	psti_sql_temp_copy(sink->plan, &sql);
	if (status == PST_OK)
		status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_copy_in(sink->conn, "copying rows", sql.data, err);
	psti_buf_free(&sql);
	return status == PST_OK ? copy_sorted(sink, merge, err) : status;
}

static pst_status
add_merge(pst_sink *sink, trip *t, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	const char *text;

	psti_sql_upsert(sink->plan, PSTI_FROM_TEMP, NULL, &sql);
	text = trip_text(t, &sql, err);
	psti_buf_free(&sql);
	if (text == NULL)
		return PST_ERR_NOMEM;
	trip_sql(t, "upserting rows", text);
	return PST_OK;
}

/* Locks, deletes, full rows, partial rows, progress, COMMIT: as far as there are any. */
static pst_status
write_merged(pst_sink *sink, const psti_merge *merge, psti_attempt *attempt, pst_error *err)
{
	bool copied = merge->nfull >= (size_t) sink->plan->copy_rows && sink->plan->temp_allowed &&
				  !sink->stateless;
	trip t;
	pst_status status = trip_init(&t, merge->nshapes, err);

	if (status == PST_OK && copied)
		status = begin_by_copy(sink, merge, err);
	else if (status == PST_OK)
		trip_sql(&t, "beginning", "BEGIN");
	if (status == PST_OK && (merge->ndeletes > 0 || sink->lock_next) && sink->plan->may_lock)
		status = add_lock(sink, &t, merge, err);
	if (status == PST_OK && merge->ndeletes > 0)
		status = add_deletes(sink, &t, merge, err);
	if (status == PST_OK && copied)
		status = add_merge(sink, &t, err);
	else if (status == PST_OK && merge->nfull > 0)
		status = add_upserts(sink, &t, merge, 0, err);
	for (uint32_t shape = 1; status == PST_OK && shape <= merge->nshapes; shape++)
		status = add_upserts(sink, &t, merge, shape, err);
	if (status == PST_OK)
		status = trip_commit(sink, &t, err);
	if (status == PST_OK)
		status = trip_run(sink, &t, attempt, err);
	attempt->method = copied ? "copy+merge" : "unnest";
	trip_free(&t);
	return status;
}

static pst_status
keyed_attempt(pst_sink *sink, psti_attempt *attempt, pst_error *err)
{
	psti_merge merge;
	pst_status status = psti_merge_rows(sink->plan, &sink->rows, &merge, err);

	if (status != PST_OK)
		return status;
	if (merge.replay)
		status = psti_sink_replay(sink, false, attempt, err);
	else
	{
		for (size_t i = 0; i < merge.nitems; i++)
			attempt->upserted += merge.items[i].upserts;
		attempt->deleted = (int64_t) merge.ndeletes;
		status = write_merged(sink, &merge, attempt, err);
	}
	psti_merge_free(&merge);
	return status;
}

/* Only the position moves. */
static pst_status
position_attempt(pst_sink *sink, psti_attempt *attempt, pst_error *err)
{
	trip t;
	pst_status status = trip_init(&t, 0, err);

	if (status == PST_OK)
		trip_sql(&t, "beginning", "BEGIN");
	if (status == PST_OK)
		status = trip_commit(sink, &t, err);
	if (status == PST_OK)
		status = trip_run(sink, &t, attempt, err);
	trip_free(&t);
	return status;
}

static pst_status
attempt_once(pst_sink *sink, psti_attempt *attempt, pst_error *err)
{
	if (sink->live_rows == 0)
		return position_attempt(sink, attempt, err);
	if (sink->staging)
		return psti_staging_flush(sink, attempt, err);
	if (sink->plan->mode != PSTI_MODE_APPEND)
		return keyed_attempt(sink, attempt, err);
	if (sink->rows.mixed)
		return psti_sink_replay(sink, false, attempt, err);
	return sink->plan->by_insert ? append_insert(sink, attempt, err)
								 : append_copy(sink, attempt, err);
}

/* --- errors and retries -------------------------------------------------------------------------- */

bool
psti_sink_row_error(const pst_error *err)
{
	static const char *const classes[] = {"21", "22", "23", "44", "54", "P0", "42501"};

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
	{
		if (strncmp(err->sqlstate, classes[i], strlen(classes[i])) == 0)
			return true;
	}
	return false;
}

/* xorshift */
uint64_t
psti_sink_random(pst_sink *sink)
{
	uint64_t x = sink->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	sink->random = x;
	return x;
}

/* A number in [low, high]. */
static int
jitter(pst_sink *sink, int low, int high)
{
	return low + (int) (psti_sink_random(sink) % (uint64_t) (high - low + 1));
}

/* Waits before try number n (from 0), longer each time, never in step with another writer. */
pst_status
psti_sink_pause(pst_sink *sink, int n, pst_error *err)
{
	int64_t ms = err->status == PST_ERR_CONFLICT ? PAUSE_CONFLICT_MS : PAUSE_FIRST_MS;

	for (int i = 0; i < n && ms < PAUSE_MAX_MS; i++)
		ms *= 4;
	if (ms > PAUSE_MAX_MS)
		ms = PAUSE_MAX_MS;
	ms = jitter(sink, (int) ms / 2, (int) ms);
	psti_log(&sink->hooks, PST_LOG_WARNING, "flush failed, trying again in %d ms: %s", (int) ms,
			 err->message);
	sink->retries++;
	return psti_conn_pause(&sink->hooks, (int) ms, err);
}

/*
 * The statement or table was made on another server process, or by another client on this one: there
 * is a pooler between. (Without a temporary table there is no schema pg_temp either.) A trigger of
 * the target's may miss one too: the message names what is missing.
 */
static bool
made_elsewhere(const pst_sink *sink, const pst_error *err)
{
	static const struct
	{
		const char *sqlstate;
		const char *name; /* in the message, in whatever quotes its language has */
		bool temp;
	} ours[] = {
		{"26000", PSTI_STATEMENT_PREFIX, false},
		{"42P05", PSTI_STATEMENT_PREFIX, false},
		{"42P01", PSTI_TEMP_PREFIX, true},
		{"3F000", "pg_temp", true},
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
	{
		if (strcmp(err->sqlstate, ours[i].sqlstate) == 0)
			return strstr(err->message, ours[i].name) != NULL && (sink->temp_made || !ours[i].temp);
	}
	return false;
}

/*
 * Errors that come of what we keep in the session, not of the server or the rows: forget it and
 * go on at once. Each can happen once a flush.
 */
static bool
forget_session(pst_sink *sink, const pst_error *err, bool *forgotten)
{
	bool any = sink->temp_made;

	for (int i = 0; i < PSTI_STMT_COUNT; i++)
		any = any || sink->prepared[i];
	if (*forgotten || sink->conn == NULL)
		return false;
	if (any && strcmp(err->sqlstate, "0A000") == 0) /* cached plan must not change result type */
	{
		*forgotten = true;
		psti_sink_disconnect(sink);
		return true;
	}
	if (!made_elsewhere(sink, err))
		return false;
	*forgotten = sink->stateless = true;
	memset(sink->prepared, 0, sizeof(sink->prepared));
	sink->temp_made = false;
	return true;
}

bool
psti_sink_can_end(const pst_sink *sink)
{
	return !sink->zombie.pooled && !sink->stateless;
}

/* Whether the server process of the lost connection is still there. */
static pst_status
look_for_zombie(pst_sink *sink, bool *there, pst_error *err)
{
	static const char sql[] =
		"SELECT a.pid FROM pg_catalog.pg_stat_get_activity($1::pg_catalog.int4) AS a WHERE "
		"$2::pg_catalog.timestamptz IS NULL OR a.backend_start OPERATOR(pg_catalog.=) $2";
	const psti_backend *zombie = &sink->zombie;
	const char *params[] = {zombie->pid, zombie->start[0] == '\0' ? NULL : zombie->start};
	PGresult *answer = NULL;
	pst_status status =
		query_as_login(sink, "looking for the lost session", sql, 2, params, &answer, err);

	*there = status == PST_OK && PQntuples(answer) > 0;
	PQclear(answer);
	if (strcmp(err->sqlstate, "42501") == 0)
		psti_error_hint(err,
						"GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_get_activity(int4) TO "
						"the role, or discard the rows once the server process %s has ended.",
						zombie->pid);
	return status;
}

/* Asks it to end. One without a known start may be another by now: then it is left alone. */
static pst_status
end_process(pst_sink *sink, pst_error *err)
{
	static const char sql[] =
		"SELECT pg_catalog.pg_terminate_backend(a.pid) FROM "
		"pg_catalog.pg_stat_get_activity($1::pg_catalog.int4) AS a WHERE a.backend_start "
		"OPERATOR(pg_catalog.=) $2::pg_catalog.timestamptz";
	const char *params[] = {sink->zombie.pid, sink->zombie.start};
	PGresult *answer = NULL;
	pst_status status;

	if (sink->zombie.start[0] == '\0')
		return PST_OK;
	status = query_as_login(sink, "ending the lost session", sql, 2, params, &answer, err);
	PQclear(answer);
	if (strcmp(err->sqlstate, "42501") == 0)
		psti_error_hint(err,
						"Have the server process %s ended, then flush again. With EXECUTE on "
						"pg_catalog.pg_terminate_backend the role can do so itself.",
						sink->zombie.pid);
	return status;
}

/*
 * Ends the server process of the lost connection and waits until it is gone: what it was sent
 * could otherwise run after the retry and overwrite newer rows. Where the role may not end it, it is
 * waited for all the same.
 */
pst_status
psti_sink_end_zombie(pst_sink *sink, int wait_ms, pst_error *err)
{
	pst_error refused;
	bool there = sink->zombie.pid[0] != '\0' && psti_sink_can_end(sink);

	psti_enter(&refused);
	for (int waited = 0;; waited += ZOMBIE_POLL_MS)
	{
		pst_status status = there ? look_for_zombie(sink, &there, err) : PST_OK;

		if (status != PST_OK || !there)
		{
			if (status == PST_OK)
				memset(&sink->zombie, 0, sizeof(sink->zombie));
			return status;
		}
		if (refused.status == PST_OK && end_process(sink, &refused) != PST_OK &&
			(sink->conn == NULL || strcmp(refused.sqlstate, "42501") != 0))
			break;
		if (waited >= wait_ms)
			break;
		status = psti_conn_pause(&sink->hooks, ZOMBIE_POLL_MS, err);
		if (status != PST_OK)
			return status;
	}
	if (refused.status != PST_OK)
	{
		*err = refused;
		return err->status;
	}
	psti_fail_sqlstate(err, "55P03", "the server process %s of a lost connection does not end",
					   sink->zombie.pid);
	return err->status;
}

/* An append that is in doubt is not repeated but told; sink->unknown keeps the error until then. */
static void
note_unknown(pst_sink *sink, const pst_error *cause)
{
	pst_error *err = &sink->unknown;

	psti_fail(err, PST_ERR_UNKNOWN_OUTCOME,
			  "the connection was lost while %lld rows were "
			  "committed: they may be in %s or not",
			  (long long) sink->live_rows, sink->plan->relation->qualified);
	PSTI_ERROR_SET(err, sqlstate, cause->sqlstate);
	psti_error_detail(err, "%s", cause->message);
}

static pst_status
tell_unknown(pst_sink *sink, const char *session, pst_error *err)
{
	*err = sink->unknown;
	psti_error_hint(err, "%s With sink.progress.schema and sink.progress.job this settles itself.",
					session);
	return err->status;
}

/* The lost session changes nothing any more: whoever looks at the target sees what came of it. */
static pst_status
tell_settled(pst_sink *sink, bool ended, pst_error *err)
{
	tell_unknown(sink,
				 ended ? "The lost session has been ended: look at the target before the rows are "
						 "written again."
					   : "Behind a pooler the lost session cannot be ended: wait until it is over, "
						 "and look at the target before the rows are written again.",
				 err);
	memset(&sink->unknown, 0, sizeof(sink->unknown));
	return err->status;
}

/* Finds out what became of a commit in doubt, and sees to it that it cannot come later. */
static pst_status
settle(pst_sink *sink, bool *committed, pst_error *err)
{
	bool ended = psti_sink_can_end(sink);
	pst_status status;

	*committed = false;
	if (sink->staging)
		status = psti_staging_settle(sink, err);
	else if (sink->progress.table != NULL)
		status = psti_progress_settle(sink, committed, err);
	else
		status = psti_sink_end_zombie(sink, PSTI_ZOMBIE_WAIT_MS, err);
	if (status != PST_OK)
		return status;
	sink->in_doubt = false;
	return sink->unknown.status == PST_OK ? PST_OK : tell_settled(sink, ended, err);
}

/* How the tries of one flush have gone. */
typedef struct tries
{
	bool replay;
	bool immediate;
	bool forgotten;
	bool committed;
	int count;
	psti_attempt attempt; /* the last one */
} tries;

static pst_status
try_once(pst_sink *sink, tries *t, pst_error *err)
{
	bool ignored;
	pst_status status = psti_sink_connect(sink, err);

	t->attempt = (psti_attempt){.method = sink->method};
	psti_buf_reset(&sink->skip.lines);
	sink->skip.nrows = 0;
	if (status == PST_OK && sink->progress.resync)
		status = psti_progress_settle(sink, &ignored, err);
	if (status == PST_OK && sink->in_doubt)
		status = settle(sink, &t->committed, err);
	if (t->committed)
	{
		t->attempt = sink->doubtful;
		sink->skip.nrows = sink->doubtful.skipped;
	}
	if (status != PST_OK || t->committed)
		return status;
	if (PSTI_FAILPOINT("sink.before_begin"))
		return psti_fail_sqlstate(err, "08006", "failpoint before the transaction");
	return t->replay ? psti_sink_replay(sink, t->immediate, &t->attempt, err)
					 : attempt_once(sink, &t->attempt, err);
}

/*
 * The same for an append in doubt: the tries that remain are for ending its session, and there is one
 * in any case.
 */
static pst_status
consider_unknown(pst_sink *sink, tries *t, pst_error *err)
{
	pst_error cause;

	if (t->attempt.commit_sent)
		return PST_OK;
	if (err->retryable && t->count < sink->max_retries &&
		psti_sink_pause(sink, t->count++, err) == PST_OK)
		return PST_OK;
	cause = *err;
	tell_unknown(sink,
				 "The lost session could not be ended and may still commit: the next flush tries "
				 "that again, and tells this once more.",
				 err);
	psti_error_detail(err, "%s; then: %s%s%s", sink->unknown.detail, cause.message,
					  cause.hint[0] != '\0' ? ". " : "", cause.hint);
	return err->status;
}

/* After a failed try: PST_OK to try again, else the error to give up with. */
static pst_status
consider(pst_sink *sink, tries *t, pst_error *err)
{
	bool lost = sink->conn != NULL && !psti_conn_usable(sink->conn);

	if (t->attempt.commit_sent && (lost || sink->conn == NULL))
	{
		psti_sink_doubt(sink, &t->attempt);
		if (sink->plan->mode == PSTI_MODE_APPEND && sink->progress.table == NULL)
			note_unknown(sink, err);
	}
	psti_sink_rollback(sink);
	if (sink->unknown.status != PST_OK)
		return consider_unknown(sink, t, err);
	/* No commit of our own can have moved the row: one in doubt was settled before. */
	if (t->attempt.at_progress)
		return psti_progress_fenced(sink, err);
	if (forget_session(sink, err, &t->forgotten))
		return PST_OK;
	/* Where a commit is still in doubt the rows were not sent. */
	else if (psti_sink_row_error(err) && !sink->staging && !sink->in_doubt)
	{
		if (!t->replay && err->row < 0 && sink->live_rows > 0)
		{
			t->replay = true;
			t->immediate = false;
			return PST_OK;
		}
		if (!t->attempt.at_commit || t->immediate)
			return err->status;
		t->replay = t->immediate = true;
		return PST_OK;
	}
	if (!err->retryable || t->count >= sink->max_retries)
		return err->status;
	sink->lock_next = sink->lock_next || strcmp(err->sqlstate, "40P01") == 0;
	return psti_sink_pause(sink, t->count++, err);
}

/* The flush is durable: count it and forget the rows. */
static void
note_committed(pst_sink *sink, const psti_attempt *attempt)
{
	sink->rows_upserted += attempt->upserted;
	sink->rows_deleted += attempt->deleted;
	sink->flushes++;
	if (attempt->method != NULL)
		sink->method = attempt->method;
	sink->lock_next = false;
	sink->skip.rows_total += sink->skip.nrows;
	sink->skip.nrows = 0;
	if (sink->progress.table != NULL && !sink->staging)
		psti_progress_committed(sink);
	psti_sink_forget_rows(sink);
}

pst_status
psti_sink_flush_rows(pst_sink *sink, pst_error *err)
{
	tries t = {0};
	pst_status status;

	t.attempt = (psti_attempt){.method = sink->method};
	for (;;)
	{
		psti_enter(err);
		status = try_once(sink, &t, err);
		if (status == PST_OK)
			break;
		status = consider(sink, &t, err);
		if (status != PST_OK)
			return status;
	}
	note_committed(sink, &t.attempt);
	return PST_OK;
}
