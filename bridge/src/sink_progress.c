/*
 * sink_progress.c - penstock_progress: one row per job and writer with the epoch, the position and
 * the token of the writer that may go on.
 *
 * Opening raises the token, so whoever held the row before is fenced. Every flush moves the epoch
 * by one, on the condition that token and epoch are still the ones it knows. After a lost COMMIT the
 * writer raises its token itself: so the lost session is fenced, unless it did commit, which the
 * epoch then tells.
 */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

static const char create_sql[] =
	"CREATE TABLE IF NOT EXISTS %s ("
	"job pg_catalog.text NOT NULL, "
	"writer pg_catalog.text NOT NULL, "
	"epoch pg_catalog.int8 NOT NULL, "
	"position pg_catalog.text, "
	"token pg_catalog.int8 NOT NULL, "
	"updated_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(), "
	"PRIMARY KEY (job, writer))";

void
psti_progress_free(psti_sink_progress *progress)
{
	free(progress->table);
	free(progress->position);
	free(progress->stored_position);
}

/* Runs one statement with the table's name put in for %s. */
static pst_status
run(pst_sink *sink, const char *what, const char *format, int nparams, const char *const *params,
	PGresult **out, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	const char *hole = strstr(format, "%s");
	pst_status status;

	psti_buf_append(&sql, format, (size_t) (hole - format));
	psti_buf_puts(&sql, sink->progress.table);
	psti_buf_puts(&sql, hole + 2);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_query(sink->conn, what, sql.data, nparams, params, out, err);
	psti_buf_free(&sql);
	return status;
}

/* Two that create it at once: the loser gets an error of the catalog's own index. */
static pst_status
create_table(pst_sink *sink, pst_error *err)
{
	pst_status status = run(sink, "making penstock_progress", create_sql, 0, NULL, NULL, err);

	if (strcmp(err->sqlstate, "23505") == 0 || strcmp(err->sqlstate, "42P07") == 0 ||
		strcmp(err->sqlstate, "42710") == 0)
		status = run(sink, "making penstock_progress", create_sql, 0, NULL, NULL, err);
	if (status == PST_ERR_NOT_FOUND)
		psti_error_hint(err, "Create the schema that sink.progress.schema names.");
	if (status == PST_ERR_PRIVILEGE)
		psti_error_hint(err, "Let the role create tables in the schema, or create the table "
							 "once and grant SELECT, INSERT and UPDATE on it.");
	return status;
}

static pst_status
exists(pst_sink *sink, bool *there, pst_error *err)
{
	const char *params[] = {sink->progress.table};
	PGresult *answer = NULL;
	pst_status status = psti_conn_query(
		sink->conn, "looking for penstock_progress",
		"SELECT pg_catalog.to_regclass($1::pg_catalog.text) IS NOT NULL", 1, params, &answer, err);

	*there = status == PST_OK && PQgetvalue(answer, 0, 0)[0] == 't';
	PQclear(answer);
	return status;
}

/* Takes epoch, position and token from a row of the table. */
static pst_status
read_row(pst_sink *sink, const PGresult *row, pst_error *err)
{
	psti_sink_progress *progress = &sink->progress;

	progress->epoch = strtoll(PQgetvalue(row, 0, 0), NULL, 10);
	progress->stored_epoch = progress->epoch;
	psti_error_copy(progress->token, sizeof(progress->token), PQgetvalue(row, 0, 2));
	free(progress->stored_position);
	progress->stored_position = NULL;
	if (PQgetisnull(row, 0, 1))
		return PST_OK;
	progress->stored_position = strdup(PQgetvalue(row, 0, 1));
	return progress->stored_position == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* What is stored, without taking the token. */
static pst_status
read_stored(pst_sink *sink, pst_error *err)
{
	const char *params[] = {sink->progress.job, sink->progress.writer};
	PGresult *answer = NULL;
	pst_status status = run(sink, "reading penstock_progress",
							"SELECT p.epoch, p.position, p.token FROM %s AS p WHERE p.job "
							"OPERATOR(pg_catalog.=) $1 AND p.writer OPERATOR(pg_catalog.=) $2",
							2, params, &answer, err);

	sink->progress.epoch = sink->progress.stored_epoch = -1;
	if (status == PST_OK && PQntuples(answer) == 1)
		status = read_row(sink, answer, err);
	PQclear(answer);
	return status;
}

pst_status
psti_progress_take(pst_sink *sink, pst_error *err)
{
	const char *params[] = {sink->progress.job, sink->progress.writer};
	PGresult *answer = NULL;
	pst_status status;

	if (sink->progress.taken)
		return PST_OK;
	status = run(sink, "taking over in penstock_progress",
				 "INSERT INTO %s AS p (job, writer, epoch, token) VALUES ($1, $2, -1, 1) ON "
				 "CONFLICT (job, writer) DO UPDATE SET token = p.token OPERATOR(pg_catalog.+) 1, "
				 "updated_at = pg_catalog.now() RETURNING p.epoch, p.position, p.token",
				 2, params, &answer, err);
	if (status == PST_OK)
		status = read_row(sink, answer, err);
	sink->progress.taken = status == PST_OK;
	PQclear(answer);
	return status;
}

pst_status
psti_progress_open(pst_sink *sink, pst_error *err)
{
	const char *schema = psti_opt_text(sink->options, PSTI_OPT_PROGRESS_SCHEMA);
	psti_sink_progress *progress = &sink->progress;
	psti_buf name = PSTI_BUF_INIT;
	bool there;
	pst_status status;

	progress->epoch = progress->stored_epoch = -1;
	progress->job = psti_opt_text(sink->options, PSTI_OPT_PROGRESS_JOB);
	progress->writer = psti_opt_text(sink->options, PSTI_OPT_PROGRESS_WRITER);
	if (schema == NULL && progress->job == NULL)
		return PST_OK;
	if (schema == NULL || progress->job == NULL)
	{
		psti_fail(err, PST_ERR_INVALID, "option \"%s\" needs \"%s\" beside it",
				  schema == NULL ? "sink.progress.job" : "sink.progress.schema",
				  schema == NULL ? "sink.progress.schema" : "sink.progress.job");
		psti_error_hint(err, "Give both, or neither: then no position is stored.");
		return err->status;
	}
	psti_buf_qualified(&name, schema, "penstock_progress");
	progress->table = psti_buf_steal(&name);
	if (progress->table == NULL)
		return psti_fail_nomem(err);
	status = exists(sink, &there, err);
	if (status == PST_OK && !there)
		status = create_table(sink, err);
	if (status != PST_OK)
		return status;
	/* With staging the committer is another handle, which must not fence the writer. */
	return sink->staging ? read_stored(sink, err) : psti_progress_take(sink, err);
}

/* 1 / 0 when the row is not as expected: the only way to fail inside a pipeline. */
static const char step_sql[] =
	"WITH u AS (UPDATE %s AS p SET epoch = p.epoch OPERATOR(pg_catalog.+) 1, position = "
	"CASE WHEN $5::pg_catalog.bool THEN $6::pg_catalog.text ELSE p.position END, updated_at = "
	"pg_catalog.now() WHERE p.job OPERATOR(pg_catalog.=) $1 AND p.writer "
	"OPERATOR(pg_catalog.=) $2 AND p.token OPERATOR(pg_catalog.=) $3::pg_catalog.int8 AND "
	"p.epoch OPERATOR(pg_catalog.=) $4::pg_catalog.int8 RETURNING 1) SELECT 1 "
	"OPERATOR(pg_catalog./) (SELECT pg_catalog.count(*) FROM u)";

pst_status
psti_progress_add(pst_sink *sink, psti_progress_step *storage, psti_step *step, pst_error *err)
{
	psti_sink_progress *progress = &sink->progress;
	const char *hole = strstr(step_sql, "%s");

	*storage = (psti_progress_step){.sql = PSTI_BUF_INIT};
	psti_buf_append(&storage->sql, step_sql, (size_t) (hole - step_sql));
	psti_buf_puts(&storage->sql, progress->table);
	psti_buf_puts(&storage->sql, hole + 2);
	snprintf(storage->epoch, sizeof(storage->epoch), "%lld", (long long) progress->epoch);
	storage->params[0] = progress->job;
	storage->params[1] = progress->writer;
	storage->params[2] = progress->token;
	storage->params[3] = storage->epoch;
	storage->params[4] = progress->position_dirty ? "t" : "f";
	storage->params[5] = progress->position;
	*step = (psti_step){.what = "storing the position", .sql = storage->sql.data, .nparams = 6};
	step->params = storage->params;
	return psti_buf_check(&storage->sql, err);
}

void
psti_progress_committed(pst_sink *sink)
{
	sink->progress.epoch++;
	sink->progress.position_dirty = sink->progress.position_late;
	sink->progress.position_late = false;
	sink->progress.marked_rows = 0;
}

pst_status
psti_progress_fenced(pst_sink *sink, pst_error *err)
{
	psti_fail(err, PST_ERR_FENCED, "another writer has taken over as \"%s\" of job \"%s\"",
			  sink->progress.writer, sink->progress.job);
	psti_error_hint(err, "Close this handle. Two writers of one job need different values of "
						 "sink.progress.writer.");
	return err->status;
}

/* A token that no other writer comes upon by counting on from ours. */
static void
choose_claim(pst_sink *sink)
{
	psti_sink_progress *progress = &sink->progress;
	uint64_t step = (UINT64_C(1) << 24) + (psti_sink_random(sink) >> 33);

	if (progress->claim[0] == '\0')
		snprintf(progress->claim, sizeof(progress->claim), "%lld",
				 (long long) ((uint64_t) strtoll(progress->token, NULL, 10) + step));
}

/*
 * Asks the lost session to end, where it is known, without waiting for it: the UPDATE behind this
 * does. Whether that succeeds does not matter as long as there is a connection.
 */
static pst_status
dismiss(pst_sink *sink, pst_error *err)
{
	pst_status status = psti_sink_end_zombie(sink, 0, err);

	if (status == PST_ERR_CANCELED || sink->conn == NULL || !psti_conn_usable(sink->conn))
		return status;
	psti_enter(err);
	return PST_OK;
}

/* The row's new token; its epoch. A session that cannot be ended may hold the row, with no end. */
static pst_status
raise_token(pst_sink *sink, PGresult **out, pst_error *err)
{
	const psti_sink_progress *progress = &sink->progress;
	const char *params[] = {progress->job, progress->writer, progress->token, progress->claim};
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_printf(&sql,
					"UPDATE %s AS p SET token = $4::pg_catalog.int8 WHERE p.job "
					"OPERATOR(pg_catalog.=) $1 AND p.writer OPERATOR(pg_catalog.=) $2 AND (p.token "
					"OPERATOR(pg_catalog.=) $3::pg_catalog.int8 OR p.token OPERATOR(pg_catalog.=) "
					"$4::pg_catalog.int8) RETURNING p.epoch",
					progress->table);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status =
			psti_sink_query_local(sink, "settling a commit in doubt",
								  "SET LOCAL lock_timeout = '10s'", sql.data, 4, params, out, err);
	if (strcmp(err->sqlstate, "55P03") == 0)
		psti_error_hint(err, "The lost session holds the writer's row of penstock_progress: flush "
							 "again when the server has ended it.");
	psti_buf_free(&sql);
	return status;
}

/*
 * The lost session may not have come to its COMMIT yet: with the token gone it cannot any more, and
 * the UPDATE waits for one that is at it. Should this answer be lost too, the row has our next token
 * or still the present one.
 */
pst_status
psti_progress_settle(pst_sink *sink, bool *committed, pst_error *err)
{
	psti_sink_progress *progress = &sink->progress;
	PGresult *answer = NULL;
	int64_t epoch;
	pst_status status;

	*committed = false;
	choose_claim(sink);
	status = dismiss(sink, err);
	if (status == PST_OK)
		status = raise_token(sink, &answer, err);
	if (status == PST_OK && PQntuples(answer) != 1)
		status = psti_progress_fenced(sink, err);
	if (status != PST_OK)
	{
		PQclear(answer);
		return status;
	}
	memset(&sink->zombie, 0, sizeof(sink->zombie));
	psti_error_copy(progress->token, sizeof(progress->token), progress->claim);
	progress->claim[0] = '\0';
	epoch = strtoll(PQgetvalue(answer, 0, 0), NULL, 10);
	PQclear(answer);
	if (progress->resync)
		progress->epoch = epoch;
	progress->resync = false;
	*committed = epoch == progress->epoch + 1;
	progress->position_late = progress->position_late && *committed;
	return epoch == progress->epoch || *committed ? PST_OK : psti_progress_fenced(sink, err);
}
