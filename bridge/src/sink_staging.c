/*
 * sink_staging.c - two phases: rows wait in a logged table until their epoch is committed.
 *
 * One table for each job, target and set of columns holds the rows of all writers: writer, number,
 * what the row does, the columns that it leaves out, and the target's columns under their own
 * names with the target's types and checks, so that a bad row is refused by prepare and not only
 * by commit. prepare(epoch) closes what was staged before it with a marker row; what an earlier
 * process prepared under this epoch or a later one is stale and goes. commit(epoch) moves
 * everything up to that marker into the target, and the epoch into penstock_progress, in one
 * transaction. Epochs are committed in order: afterwards every lower one counts as committed.
 */
#include "sink.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "failpoint.h"

/* penstock_op: a row's psti_op, or one of these. */
#define STAGE_PARTIAL 4 /* an upsert that leaves columns out */
#define STAGE_MOVE 5	/* an upsert whose old key is the row before it */
#define STAGE_MARKER 9

#define OID_INT2_ARRAY 1005
#define OID_BYTEA_ARRAY 1001

/* --- the table --------------------------------------------------------------------------------- */

/* The target's columns, quoted and with their types, and what a whole row must satisfy. */
static void
put_stage_columns(const psti_sink_plan *plan, psti_buf *sql)
{
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		const psti_column *target = plan->columns[c].target;

		psti_buf_puts(sql, ", ");
		psti_buf_ident(sql, target->name);
		psti_buf_printf(sql, " %s", target->type.name);
		if (!target->not_null)
			continue;
		psti_buf_puts(sql, " CHECK (penstock_op OPERATOR(pg_catalog.<>) 0 OR ");
		psti_buf_ident(sql, target->name);
		psti_buf_puts(sql, " IS NOT NULL)");
	}
}

/* The target's check constraints on columns that are given. */
static pst_status
put_checks(pst_sink *sink, psti_buf *sql, pst_error *err)
{
	static const char query[] =
		"SELECT pg_catalog.pg_get_expr(c.conbin, c.conrelid) FROM pg_catalog.pg_constraint c "
		"WHERE c.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND c.contype "
		"OPERATOR(pg_catalog.=) 'c' AND c.convalidated AND c.conkey "
		"OPERATOR(pg_catalog.<@) $2::pg_catalog.int2[] ORDER BY c.conname";
	psti_buf columns = PSTI_BUF_INIT;
	PGresult *checks = NULL;
	char oid[24];
	const char *params[2] = {oid, NULL};
	pst_status status;

	snprintf(oid, sizeof(oid), "%u", sink->plan->relation->oid);
	for (size_t c = 0; c < sink->plan->ncolumns; c++)
		psti_buf_printf(&columns, "%c%d", c == 0 ? '{' : ',',
						sink->plan->columns[c].target->attnum);
	psti_buf_puts(&columns, columns.len == 0 ? "{}" : "}");
	status = psti_buf_check(&columns, err);
	params[1] = columns.data;
	if (status == PST_OK)
		status = psti_conn_query(sink->conn, "reading the target's checks", query, 2, params,
								 &checks, err);
	for (int i = 0; status == PST_OK && i < PQntuples(checks); i++)
		psti_buf_printf(sql, ", CHECK (penstock_op OPERATOR(pg_catalog.<>) 0 OR (%s))",
						PQgetvalue(checks, i, 0));
	PQclear(checks);
	psti_buf_free(&columns);
	return status;
}

static uint64_t
hash_text(uint64_t hash, const char *text)
{
	return psti_hash(psti_hash(hash, text, strlen(text)), "\xff", 1);
}

/* The name says job, target and columns: whoever opens the same sink finds the same table. */
static pst_status
name_table(pst_sink *sink, pst_error *err)
{
	psti_buf columns = PSTI_BUF_INIT;
	psti_buf name = PSTI_BUF_INIT;
	char table[64];
	uint64_t hash = PSTI_HASH_BEGIN;

	put_stage_columns(sink->plan, &columns);
	hash = hash_text(hash, sink->progress.job);
	hash = hash_text(hash, sink->plan->relation->qualified);
	hash = hash_text(hash, columns.data == NULL ? "" : columns.data);
	snprintf(table, sizeof(table), "penstock_staging_%016" PRIx64, hash);
	psti_buf_qualified(&name, psti_opt_text(sink->options, PSTI_OPT_PROGRESS_SCHEMA), table);
	name.failed = name.failed || columns.failed;
	psti_buf_free(&columns);
	sink->stage_table = psti_buf_steal(&name);
	psti_buf_free(&name);
	return sink->stage_table == NULL ? psti_fail_nomem(err) : PST_OK;
}

static pst_status
make_table(pst_sink *sink, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_printf(&sql,
					"CREATE TABLE IF NOT EXISTS %s (penstock_writer pg_catalog.text NOT NULL, "
					"penstock_ordinal pg_catalog.int8 NOT NULL, penstock_epoch pg_catalog.int8, "
					"penstock_op pg_catalog.int2 NOT NULL, penstock_skip pg_catalog.bytea, "
					"penstock_position pg_catalog.text",
					sink->stage_table);
	put_stage_columns(sink->plan, &sql);
	status = put_checks(sink, &sql, err);
	psti_buf_puts(&sql, ", PRIMARY KEY (penstock_writer, penstock_ordinal))");
	if (status == PST_OK)
		status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(sink->conn, "making the staging table", sql.data, NULL, err);
	/* Two that make it at once: the other one has. */
	if (strcmp(err->sqlstate, "23505") == 0 || strcmp(err->sqlstate, "42P07") == 0)
		status = psti_conn_exec(sink->conn, "making the staging table", sql.data, NULL, err);
	psti_buf_free(&sql);
	return status;
}

pst_status
psti_staging_open(pst_sink *sink, pst_error *err)
{
	pst_status status = name_table(sink, err);

	return status == PST_OK ? make_table(sink, err) : status;
}

/* Appends a statement with each %s replaced by a table's name. */
static pst_status
put_named(psti_buf *sql, const char *format, const char *table, pst_error *err)
{
	const char *hole;

	for (; (hole = strstr(format, "%s")) != NULL; format = hole + 2)
	{
		psti_buf_append(sql, format, (size_t) (hole - format));
		psti_buf_puts(sql, table);
	}
	psti_buf_puts(sql, format);
	return psti_buf_check(sql, err);
}

/* Runs a statement in which %s is the staging table; $1 is the writer. */
static pst_status
run(pst_sink *sink, const char *what, const char *format, const char *second, const char *third,
	PGresult **out, pst_error *err)
{
	const char *params[] = {sink->progress.writer, second, third};
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status = put_named(&sql, format, sink->stage_table, err);

	if (status == PST_OK)
		status = psti_conn_query(sink->conn, what, sql.data,
								 third != NULL	  ? 3
								 : second != NULL ? 2
												  : 1,
								 params, out, err);
	psti_buf_free(&sql);
	return status;
}

/*
 * Once we are the writer: numbers go on behind the last marker. What lies behind it was left by one
 * that died before it could prepare it, and is cleared with the first rows that we stage.
 */
static pst_status
read_last(pst_sink *sink, pst_error *err)
{
	PGresult *answer = NULL;
	pst_status status;

	if (sink->stage_read)
		return PST_OK;
	status = run(sink, "reading the staging table",
				 "SELECT coalesce(pg_catalog.max(penstock_ordinal), 0) FROM %s WHERE "
				 "penstock_writer OPERATOR(pg_catalog.=) $1 AND penstock_op "
				 "OPERATOR(pg_catalog.=) 9",
				 NULL, NULL, &answer, err);
	if (status == PST_OK)
		sink->staged_ordinal = strtoll(PQgetvalue(answer, 0, 0), NULL, 10);
	sink->stage_read = status == PST_OK;
	PQclear(answer);
	return status;
}

/* --- staging rows ------------------------------------------------------------------------------ */

static void
put_stage_insert(const pst_sink *sink, psti_buf *sql)
{
	const psti_sink_plan *plan = sink->plan;
	size_t n = plan->ncolumns;

	psti_buf_printf(sql,
					"INSERT INTO %s (penstock_writer, penstock_ordinal, penstock_op, "
					"penstock_skip",
					sink->stage_table);
	for (size_t c = 0; c < n; c++)
	{
		psti_buf_puts(sql, ", ");
		psti_buf_ident(sql, plan->columns[c].target->name);
	}
	psti_buf_printf(sql,
					") SELECT $%zu, $%zu::pg_catalog.int8 OPERATOR(pg_catalog.+) r.o, r.op, "
					"r.skip",
					n + 3, n + 4);
	for (size_t c = 0; c < n; c++)
	{
		char expr[32];

		snprintf(expr, sizeof(expr), "r.c%zu", c + 1);
		psti_buf_puts(sql, ", ");
		psti_sql_value(&plan->columns[c], expr, sql);
	}
	psti_buf_puts(sql, " FROM ROWS FROM (");
	for (size_t p = 1; p <= n + 2; p++)
		psti_buf_printf(sql, "%spg_catalog.unnest($%zu)", p > 1 ? ", " : "", p);
	psti_buf_puts(sql, ") WITH ORDINALITY AS r(");
	for (size_t c = 0; c < n; c++)
		psti_buf_printf(sql, "c%zu, ", c + 1);
	psti_buf_puts(sql, "op, skip, o)");
}

/* Begins a further array of a lot. */
static psti_buf *
add_array(psti_lot *lot, Oid element, Oid array)
{
	psti_buf *buf = &lot->arrays[lot->ncolumns];

	psti_buf_int32(buf, 1);
	psti_buf_int32(buf, 1);
	psti_buf_int32(buf, (int32_t) element);
	psti_buf_int32(buf, 0);
	psti_buf_int32(buf, 1);
	lot->types[lot->ncolumns++] = array;
	return buf;
}

static int16_t
stage_op(const psti_sink_plan *plan, const psti_sink_row *row)
{
	if (row->op != PSTI_OP_UPSERT)
		return row->op;
	if (row->change && (row->partial || !plan->complete))
		return STAGE_MOVE;
	return row->partial ? STAGE_PARTIAL : PSTI_OP_UPSERT;
}

/* A row with all columns: those that it lacks are NULL, and noted in skip. */
static void
pad_row(const psti_sink_plan *plan, const char *tuple, psti_buf *out, uint8_t *skip)
{
	size_t have = psti_get16(tuple);
	psti_field field = {0};

	psti_buf_reset(out);
	memset(skip, 0, plan->ncolumns / 8 + 1);
	psti_buf_int16(out, (int16_t) plan->ncolumns);
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		if (c < have)
			field = c == 0 ? psti_field_first(tuple) : psti_field_next(field);
		if (c >= have || field.nbytes == PSTI_FIELD_UNCHANGED)
		{
			psti_bit_set(skip, (int64_t) c);
			psti_buf_int32(out, PSTI_FIELD_NULL);
		}
		else
			psti_buf_append(out, field.data - 4, (size_t) (field.next - field.data) + 4);
	}
}

/* Rows [0, end) as arrays. */
static pst_status
fill_stage(const pst_sink *sink, size_t end, psti_lot *lot, int64_t *nrows, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	size_t skip_bytes = plan->ncolumns / 8 + 1;
	uint8_t *skip = calloc(1, skip_bytes);
	psti_buf padded = PSTI_BUF_INIT;
	psti_buf *ops;
	psti_buf *skips;
	pst_status status = psti_lot_init(lot, plan, plan->ncolumns, NULL, err);

	*nrows = 0;
	if (skip == NULL && status == PST_OK)
		status = psti_fail_nomem(err);
	if (status != PST_OK)
	{
		free(skip);
		return status;
	}
	ops = add_array(lot, 21, OID_INT2_ARRAY);
	skips = add_array(lot, 17, OID_BYTEA_ARRAY);
	for (size_t i = 0; i < end && !padded.failed; i++)
	{
		const psti_sink_row *row = &sink->rows.row[i];
		int16_t op = stage_op(plan, row);

		if (row->op == PSTI_OP_DEAD)
			continue;
		pad_row(plan, psti_rows_at(&sink->rows, i), &padded, skip);
		if (padded.failed)
			break;
		psti_lot_add(lot, padded.data, plan->ncolumns, NULL);
		psti_buf_int32(ops, 2);
		psti_buf_int16(ops, op);
		psti_buf_int32(skips, row->partial ? (int32_t) skip_bytes : PSTI_FIELD_NULL);
		if (row->partial)
			psti_buf_append(skips, skip, skip_bytes);
		(*nrows)++;
	}
	status = padded.failed ? psti_fail_nomem(err) : psti_lot_finish(lot, *nrows, err);
	psti_buf_free(&padded);
	free(skip);
	return status;
}

/*
 * Fails when another writer has taken the token since; it comes first, and none can take it from
 * here to the COMMIT. An epoch fails that is committed already.
 */
static const char fence_sql[] =
	"SELECT 1 OPERATOR(pg_catalog./) pg_catalog.count(*) FROM (SELECT FROM %s AS p WHERE p.job "
	"OPERATOR(pg_catalog.=) $1 AND p.writer OPERATOR(pg_catalog.=) $2 AND p.token "
	"OPERATOR(pg_catalog.=) $3::pg_catalog.int8 FOR SHARE) AS ours";
static const char epoch_sql[] =
	"SELECT 1 OPERATOR(pg_catalog./) pg_catalog.count(*) FROM %s AS p WHERE p.job "
	"OPERATOR(pg_catalog.=) $1 AND p.writer OPERATOR(pg_catalog.=) $2 AND p.epoch "
	"OPERATOR(pg_catalog.<) $3::pg_catalog.int8";

/* Rows behind the last that is known to be staged: of a crashed writer, or of a lost COMMIT of ours. */
static const char clear_sql[] = "DELETE FROM %s WHERE penstock_writer OPERATOR(pg_catalog.=) $1 "
								"AND penstock_ordinal OPERATOR(pg_catalog.>) $2::pg_catalog.int8";

/* What an earlier process prepared under this epoch or a later one was never acknowledged. */
static const char stale_sql[] =
	"WITH m AS (SELECT coalesce(pg_catalog.max(penstock_ordinal) FILTER (WHERE penstock_epoch "
	"OPERATOR(pg_catalog.<) $2::pg_catalog.int8), 0) AS first, "
	"pg_catalog.max(penstock_ordinal) FILTER (WHERE penstock_epoch OPERATOR(pg_catalog.>=) "
	"$2::pg_catalog.int8) AS last FROM %s WHERE penstock_writer OPERATOR(pg_catalog.=) $1 AND "
	"penstock_op OPERATOR(pg_catalog.=) 9) DELETE FROM %s AS s USING m WHERE s.penstock_writer "
	"OPERATOR(pg_catalog.=) $1 AND s.penstock_ordinal OPERATOR(pg_catalog.>) m.first AND "
	"s.penstock_ordinal OPERATOR(pg_catalog.<=) m.last";

static const char marker_sql[] =
	"INSERT INTO %s (penstock_writer, penstock_ordinal, penstock_epoch, penstock_op, "
	"penstock_position) VALUES ($1, $2, $3, 9, $4)";

/* The statements of a transaction into the staging table, in their order. */
typedef enum stage_statement
{
	STAGE_FENCE,
	STAGE_EPOCH,
	STAGE_CLEAR,
	STAGE_STALE,
	STAGE_INSERT,
	STAGE_CLOSE,
	STAGE_STATEMENTS
} stage_statement;

/* What one such transaction needs. */
typedef struct stage_trip
{
	psti_step steps[STAGE_STATEMENTS + 2];
	size_t nsteps;
	psti_buf sql[STAGE_STATEMENTS];
	const char *params[STAGE_STATEMENTS][4];
	psti_lot lot;
	int64_t nrows;
	char base[24]; /* the number before the first row's */
	char last[24]; /* the marker's number */
	int epoch_at;  /* index of STAGE_EPOCH, or -1 */
} stage_trip;

static void
stage_trip_free(stage_trip *t)
{
	psti_lot_free(&t->lot);
	for (int i = 0; i < STAGE_STATEMENTS; i++)
		psti_buf_free(&t->sql[i]);
}

/* Adds a statement in which %s is the table. */
static pst_status
stage_add(stage_trip *t, stage_statement which, const char *what, const char *format,
		  const char *table, int nparams, pst_error *err)
{
	psti_step *step = &t->steps[t->nsteps++];
	pst_status status = put_named(&t->sql[which], format, table, err);

	*step = (psti_step){.what = what, .sql = t->sql[which].data, .nparams = nparams};
	step->params = t->params[which];
	return status;
}

/* The token is checked, what must not be there goes. */
static pst_status
stage_begin(pst_sink *sink, stage_trip *t, const char *epoch, pst_error *err)
{
	const psti_sink_progress *progress = &sink->progress;
	pst_status status;

	snprintf(t->base, sizeof(t->base), "%" PRId64, sink->staged_ordinal);
	snprintf(t->last, sizeof(t->last), "%" PRId64, sink->staged_ordinal + t->nrows + 1);
	t->steps[t->nsteps++] = (psti_step){.what = "beginning", .sql = "BEGIN"};
	memcpy(t->params[STAGE_FENCE],
		   (const char *[]){progress->job, progress->writer, progress->token}, 3 * sizeof(char *));
	memcpy(t->params[STAGE_EPOCH], (const char *[]){progress->job, progress->writer, epoch},
		   3 * sizeof(char *));
	memcpy(t->params[STAGE_CLEAR], (const char *[]){progress->writer, t->base}, 2 * sizeof(char *));
	memcpy(t->params[STAGE_STALE], (const char *[]){progress->writer, epoch}, 2 * sizeof(char *));
	status = stage_add(t, STAGE_FENCE, "checking the token", fence_sql, progress->table, 3, err);
	t->epoch_at = epoch == NULL ? -1 : (int) t->nsteps;
	if (status == PST_OK && epoch != NULL)
		status =
			stage_add(t, STAGE_EPOCH, "checking the epoch", epoch_sql, progress->table, 3, err);
	if (status == PST_OK && !sink->stage_clean)
		status = stage_add(t, STAGE_CLEAR, "clearing the staging table", clear_sql,
						   sink->stage_table, 2, err);
	if (status == PST_OK && epoch != NULL)
		status = stage_add(t, STAGE_STALE, "dropping stale epochs", stale_sql, sink->stage_table, 2,
						   err);
	return status;
}

/* The rows behind the number base. */
static pst_status
stage_rows(pst_sink *sink, stage_trip *t, pst_error *err)
{
	psti_step *step = &t->steps[t->nsteps++];
	psti_lot *lot = &t->lot;

	put_stage_insert(sink, &t->sql[STAGE_INSERT]);
	lot->params[lot->ncolumns] = sink->progress.writer;
	lot->params[lot->ncolumns + 1] = t->base;
	*step = (psti_step){.what = "staging rows", .sql = t->sql[STAGE_INSERT].data};
	step->nparams = lot->ncolumns + 2;
	step->types = lot->types;
	step->params = lot->params;
	step->lengths = lot->lengths;
	step->formats = lot->formats;
	return psti_buf_check(&t->sql[STAGE_INSERT], err);
}

/* The rows, the marker, COMMIT. */
static pst_status
stage_end(pst_sink *sink, stage_trip *t, const char *epoch, const char *position, pst_error *err)
{
	pst_status status = PST_OK;

	if (t->nrows > 0)
		status = stage_rows(sink, t, err);
	memcpy(t->params[STAGE_CLOSE],
		   (const char *[]){sink->progress.writer, t->last, epoch, position}, 4 * sizeof(char *));
	if (status == PST_OK && epoch != NULL)
		status =
			stage_add(t, STAGE_CLOSE, "preparing the epoch", marker_sql, sink->stage_table, 4, err);
	t->steps[t->nsteps++] = (psti_step){.what = "committing", .sql = "COMMIT"};
	return status;
}

/* Whether rows [0, end) are refused: they are staged by a transaction that is rolled back. */
static pst_status
try_stage(pst_sink *sink, size_t end, bool *refused, pst_error *err)
{
	stage_trip t = {.nrows = 0};
	pst_error why = *err;
	int failed;
	pst_status status = fill_stage(sink, end, &t.lot, &t.nrows, &why);

	*refused = false;
	/* Far behind whatever may be there. */
	snprintf(t.base, sizeof(t.base), "%" PRId64, sink->staged_ordinal + (INT64_C(1) << 40));
	t.steps[t.nsteps++] = (psti_step){.what = "beginning", .sql = "BEGIN"};
	if (status == PST_OK)
		status = stage_rows(sink, &t, &why);
	t.steps[t.nsteps++] = (psti_step){.what = "rolling back", .sql = "ROLLBACK"};
	if (status == PST_OK)
		status = psti_sink_run(sink, t.steps, t.nsteps, &failed, &why);
	if (status != PST_OK && psti_sink_row_error(&why))
	{
		*refused = true;
		*err = why;
		psti_sink_rollback(sink);
		status = sink->conn == NULL ? PST_ERR_CONNECTION : PST_OK;
	}
	stage_trip_free(&t);
	return status;
}

/* Says in err which row the staging table refuses: the last of the shortest run that is refused. */
static void
name_refused(pst_sink *sink, pst_error *err)
{
	size_t good = 0;
	size_t bad = sink->rows.nrows;

	psti_sink_rollback(sink);
	while (bad - good > 1 && sink->conn != NULL)
	{
		size_t half = good + (bad - good) / 2;
		bool refused;

		if (try_stage(sink, half, &refused, err) != PST_OK)
			return;
		if (refused)
			bad = half;
		else
			good = half;
	}
	PSTI_ERROR_SET(err, schema, sink->plan->relation->schema);
	PSTI_ERROR_SET(err, table, sink->plan->relation->name);
	if (sink->conn != NULL)
		psti_sink_name_row(sink, bad - 1, err);
}

/* A check of the token or the epoch that failed, by what it means. */
static pst_status
stage_failure(pst_sink *sink, const stage_trip *t, int failed, const char *epoch, pst_error *err)
{
	if (t->nrows > 0 && failed >= 0 && t->steps[failed].sql == t->sql[STAGE_INSERT].data &&
		psti_sink_row_error(err) && psti_conn_usable(sink->conn))
		name_refused(sink, err);
	if (strcmp(err->sqlstate, "22012") != 0 || (failed != 1 && failed != t->epoch_at))
		return err->status;
	if (failed == 1)
		return psti_progress_fenced(sink, err);
	psti_fail(err, PST_ERR_STATE, "epoch %s, or one above it, is committed already", epoch);
	psti_error_hint(err, "Epochs grow; pst_sink_stored tells where they stood.");
	return err->status;
}

/*
 * Stages what is buffered; with an epoch its marker too. All in one transaction, which undoes what
 * an earlier try may have left: so it can be repeated.
 */
static pst_status
stage(pst_sink *sink, const char *epoch, const char *position, psti_attempt *attempt,
	  pst_error *err)
{
	stage_trip t = {.nrows = 0};
	int failed = -1;
	pst_status status = read_last(sink, err);

	attempt->method = "staging";
	if (status == PST_OK)
		status = fill_stage(sink, sink->rows.nrows, &t.lot, &t.nrows, err);
	if (status == PST_OK)
		status = stage_begin(sink, &t, epoch, err);
	if (status == PST_OK)
		status = stage_end(sink, &t, epoch, position, err);
	if (status == PST_OK && PSTI_FAILPOINT("sink.before_stage"))
		status = psti_fail_sqlstate(err, "08006", "failpoint before staging");
	if (status == PST_OK)
	{
		attempt->commit_sent = true;
		status = psti_sink_run(sink, t.steps, t.nsteps, &failed, err);
		if (status == PST_OK && PSTI_FAILPOINT("sink.after_stage"))
		{
			psti_sink_disconnect(sink);
			status = psti_fail_sqlstate(err, "08006", "failpoint after staging");
		}
		sink->stage_clean = status == PST_OK;
		if (status != PST_OK)
			status = stage_failure(sink, &t, failed, epoch, err);
	}
	if (status == PST_OK)
		sink->staged_ordinal += t.nrows + (epoch != NULL ? 1 : 0);
	stage_trip_free(&t);
	return status;
}

pst_status
psti_staging_flush(pst_sink *sink, psti_attempt *attempt, pst_error *err)
{
	return stage(sink, NULL, NULL, attempt, err);
}

/* --- moving rows to the target ------------------------------------------------------------------ */

/* (SELECT "a" AS c1, … FROM stage WHERE …) AS r; condition has $1 for the writer. */
static void
put_source(const pst_sink *sink, const char *distinct, const char *condition, psti_buf *sql)
{
	psti_buf_printf(sql, "(SELECT %s penstock_op AS op", distinct);
	for (size_t c = 0; c < sink->plan->ncolumns; c++)
	{
		psti_buf_puts(sql, ", ");
		psti_buf_ident(sql, sink->plan->columns[c].target->name);
		psti_buf_printf(sql, " AS c%zu", c + 1);
	}
	psti_buf_printf(sql, " FROM %s WHERE penstock_writer OPERATOR(pg_catalog.=) $1 AND %s) AS r",
					sink->stage_table, condition);
}

static void
put_keys(const psti_sink_plan *plan, psti_buf *sql)
{
	for (size_t k = 0; k < plan->nkey; k++)
	{
		psti_buf_puts(sql, k > 0 ? ", " : "");
		psti_buf_ident(sql, plan->columns[k].target->name);
	}
}

/* The two bulk statements: deleted keys, then the last row of each key that is not a delete. */
static pst_status
move_keyed(pst_sink *sink, const char *last, pst_error *err)
{
	psti_sink_plan view = *sink->plan;
	psti_buf keys = PSTI_BUF_INIT;
	psti_buf distinct = PSTI_BUF_INIT;
	psti_buf condition = PSTI_BUF_INIT;
	psti_buf source = PSTI_BUF_INIT;
	psti_buf sql[2] = {PSTI_BUF_INIT, PSTI_BUF_INIT};
	const char *params[] = {sink->progress.writer, last};
	psti_step steps[2];
	int failed;
	pst_status status;

	put_keys(sink->plan, &keys);
	put_source(sink, "",
			   "penstock_ordinal OPERATOR(pg_catalog.<=) $2::pg_catalog.int8 AND "
			   "penstock_op OPERATOR(pg_catalog.=) ANY ('{1,2}'::pg_catalog.int2[])",
			   &source);
	view.stage_from = source.data;
	psti_sql_delete(&view, PSTI_FROM_STAGE, &sql[0]);
	psti_buf_reset(&source);
	psti_buf_printf(&distinct, "DISTINCT ON (%s)", keys.data == NULL ? "" : keys.data);
	psti_buf_printf(&condition,
					"penstock_ordinal OPERATOR(pg_catalog.<=) $2::pg_catalog.int8 AND "
					"penstock_op OPERATOR(pg_catalog.<>) 9 ORDER BY %s, penstock_ordinal DESC",
					keys.data == NULL ? "" : keys.data);
	psti_buf_puts(&source, "(SELECT * FROM ");
	put_source(sink, distinct.data, condition.data, &source);
	psti_buf_puts(&source, " WHERE r.op OPERATOR(pg_catalog.=) 0) AS r");
	view.stage_from = source.data;
	psti_sql_upsert(&view, PSTI_FROM_STAGE, NULL, &sql[1]);
	sql[0].failed = sql[0].failed || keys.failed || distinct.failed || condition.failed ||
					source.failed || sql[1].failed;
	status = psti_buf_check(&sql[0], err);
	for (int i = 0; i < 2; i++)
	{
		steps[i] = (psti_step){.what = i == 0 ? "deleting rows" : "upserting rows", .nparams = 2};
		steps[i].sql = sql[i].data;
		steps[i].params = params;
	}
	if (status == PST_OK)
		status = psti_sink_run(sink, steps, 2, &failed, err);
	psti_buf_free(&keys);
	psti_buf_free(&distinct);
	psti_buf_free(&condition);
	psti_buf_free(&source);
	psti_buf_free(&sql[0]);
	psti_buf_free(&sql[1]);
	return status;
}

/* One staged row, as the list of them tells it. */
typedef struct staged
{
	char ordinal[24];
	char before[24]; /* of the row that holds its old key */
	const char *params[3];
} staged;

/* The statement for a staged row of this op and these columns left out. */
static void
put_move(const pst_sink *sink, int op, const uint8_t *skip, psti_buf *sql)
{
	psti_sink_plan view = *sink->plan;
	psti_buf from = PSTI_BUF_INIT;
	psti_buf old = PSTI_BUF_INIT;

	put_source(sink, "", "penstock_ordinal OPERATOR(pg_catalog.=) $2::pg_catalog.int8", &from);
	put_source(sink, "", "penstock_ordinal OPERATOR(pg_catalog.=) $3::pg_catalog.int8", &old);
	view.stage_from = from.data;
	view.stage_old = old.data;
	if (from.failed || old.failed)
		sql->failed = true;
	else if (op == PSTI_OP_DELETE || op == PSTI_OP_OLD)
		psti_sql_delete(&view, PSTI_FROM_STAGE, sql);
	else if (op == STAGE_MOVE)
		psti_sql_change(&view, PSTI_FROM_STAGE, skip, sql);
	else if (view.nkey == 0)
		psti_sql_insert(&view, PSTI_FROM_STAGE, skip, sql);
	else
		psti_sql_upsert(&view, PSTI_FROM_STAGE, skip, sql);
	psti_buf_free(&from);
	psti_buf_free(&old);
}

/* The bitmap of a bytea in hex form, as the server prints it; NULL for NULL. */
static uint8_t *
read_skip(const PGresult *list, int row, uint8_t *into, size_t nbytes)
{
	const char *hex = PQgetvalue(list, row, 2);

	if (PQgetisnull(list, row, 2) || strlen(hex) != 2 + 2 * nbytes)
		return NULL;
	for (size_t i = 0; i < nbytes; i++)
	{
		char pair[3] = {hex[2 + 2 * i], hex[3 + 2 * i], '\0'};

		into[i] = (uint8_t) strtoul(pair, NULL, 16);
	}
	return into;
}

/* The rows of one list as single statements, in order. */
static pst_status
move_list(pst_sink *sink, const PGresult *list, int *failed_row, pst_error *err)
{
	size_t skip_bytes = sink->plan->ncolumns / 8 + 1;
	int n = PQntuples(list);
	uint8_t *skip = calloc(1, skip_bytes);
	psti_step *steps = calloc((size_t) n + 1, sizeof(*steps));
	staged *rows = calloc((size_t) n + 1, sizeof(*rows));
	psti_buf *texts = calloc((size_t) n + 1, sizeof(*texts));
	int *row_of = calloc((size_t) n + 1, sizeof(*row_of));
	size_t nsteps = 0;
	int failed = -1;
	pst_status status = PST_OK;

	*failed_row = -1;
	if (skip == NULL || steps == NULL || rows == NULL || texts == NULL || row_of == NULL)
		status = psti_fail_nomem(err);
	for (int i = 0; status == PST_OK && i < n; i++)
	{
		int op = (int) strtol(PQgetvalue(list, i, 1), NULL, 10);

		/* An old key goes with the row that moves away from it. */
		if (op == PSTI_OP_OLD && PQgetvalue(list, i, 3)[0] == '5')
			continue;
		put_move(sink, op, read_skip(list, i, skip, skip_bytes), &texts[i]);
		status = psti_buf_check(&texts[i], err);
		psti_error_copy(rows[i].ordinal, sizeof(rows[i].ordinal), PQgetvalue(list, i, 0));
		snprintf(rows[i].before, sizeof(rows[i].before), "%lld",
				 strtoll(rows[i].ordinal, NULL, 10) - 1);
		rows[i].params[0] = sink->progress.writer;
		rows[i].params[1] = rows[i].ordinal;
		rows[i].params[2] = rows[i].before;
		row_of[nsteps] = i;
		steps[nsteps] = (psti_step){.what = "moving a staged row", .sql = texts[i].data};
		steps[nsteps].nparams = op == STAGE_MOVE ? 3 : 2;
		steps[nsteps++].params = rows[i].params;
	}
	if (status == PST_OK && nsteps > 0)
		status = psti_sink_run(sink, steps, nsteps, &failed, err);
	if (failed >= 0)
		*failed_row = row_of[failed];
	for (int i = 0; texts != NULL && i < n; i++)
		psti_buf_free(&texts[i]);
	free(skip);
	free(steps);
	free(rows);
	free(texts);
	free(row_of);
	return status;
}

/* Says in err which key the refused row has. */
static void
name_staged(pst_sink *sink, const char *ordinal, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	psti_buf sql = PSTI_BUF_INIT;
	psti_buf keys = PSTI_BUF_INIT;
	PGresult *answer = NULL;
	pst_error ignored;

	psti_enter(&ignored);
	psti_sink_rollback(sink);
	psti_buf_puts(&sql, "SELECT pg_catalog.concat_ws(', '");
	for (size_t c = 0; c < plan->nnamed; c++)
	{
		psti_buf_puts(&sql, ", ");
		psti_buf_ident(&sql, plan->columns[c].target->name);
		psti_buf_printf(&keys, "%s%s", c > 0 ? ", " : "", plan->columns[c].target->name);
	}
	psti_buf_puts(&sql, ") FROM %s WHERE penstock_writer OPERATOR(pg_catalog.=) $1 AND "
						"penstock_ordinal OPERATOR(pg_catalog.=) $2::pg_catalog.int8");
	if (plan->nnamed > 0 && !sql.failed && !keys.failed && sink->conn != NULL &&
		run(sink, "naming the row", sql.data, ordinal, NULL, &answer, &ignored) == PST_OK &&
		PQntuples(answer) == 1)
		snprintf(err->key, sizeof(err->key), "(%s)=(%s)", keys.data, PQgetvalue(answer, 0, 0));
	PQclear(answer);
	psti_buf_free(&sql);
	psti_buf_free(&keys);
}

/* Every staged row by itself, in the order of arrival. */
static pst_status
move_singly(pst_sink *sink, const char *last, pst_error *err)
{
	static const char list_sql[] =
		"SELECT s.penstock_ordinal, s.penstock_op, s.penstock_skip, (SELECT n.penstock_op FROM %s "
		"AS n WHERE n.penstock_writer OPERATOR(pg_catalog.=) $1 AND n.penstock_ordinal "
		"OPERATOR(pg_catalog.=) (s.penstock_ordinal OPERATOR(pg_catalog.+) 1)) FROM %s AS s WHERE "
		"s.penstock_writer OPERATOR(pg_catalog.=) $1 AND s.penstock_ordinal "
		"OPERATOR(pg_catalog.>) $2::pg_catalog.int8 AND s.penstock_ordinal "
		"OPERATOR(pg_catalog.<=) $3::pg_catalog.int8 AND s.penstock_op "
		"OPERATOR(pg_catalog.<>) 9 ORDER BY s.penstock_ordinal LIMIT 500";
	char from[24] = "0";
	pst_status status = PST_OK;
	int n = 1;

	while (status == PST_OK && n > 0)
	{
		PGresult *list = NULL;
		int failed = -1;

		status = run(sink, "listing staged rows", list_sql, from, last, &list, err);
		n = status == PST_OK ? PQntuples(list) : 0;
		if (n > 0)
			status = move_list(sink, list, &failed, err);
		if (n > 0 && status != PST_OK && failed >= 0 && psti_conn_usable(sink->conn))
			name_staged(sink, PQgetvalue(list, failed, 0), err);
		if (n > 0)
			psti_error_copy(from, sizeof(from), PQgetvalue(list, n - 1, 0));
		PQclear(list);
	}
	return status;
}

/* Everything appended at once, in order. */
static pst_status
move_appended(pst_sink *sink, const char *last, pst_error *err)
{
	psti_sink_plan view = *sink->plan;
	psti_buf source = PSTI_BUF_INIT;
	psti_buf sql = PSTI_BUF_INIT;
	const char *params[] = {sink->progress.writer, last};
	psti_step step = {.what = "inserting rows", .nparams = 2, .params = params};
	int failed;
	pst_status status;

	put_source(sink, "",
			   "penstock_ordinal OPERATOR(pg_catalog.<=) $2::pg_catalog.int8 AND "
			   "penstock_op OPERATOR(pg_catalog.<>) 9 ORDER BY penstock_ordinal",
			   &source);
	view.stage_from = source.data;
	psti_sql_insert(&view, PSTI_FROM_STAGE, NULL, &sql);
	sql.failed = sql.failed || source.failed;
	status = psti_buf_check(&sql, err);
	step.sql = sql.data;
	if (status == PST_OK)
		status = psti_sink_run(sink, &step, 1, &failed, err);
	psti_buf_free(&source);
	psti_buf_free(&sql);
	return status;
}

/* Whether the staged rows can go in bulk: whole rows, and deletes only of keys that we can tell. */
static pst_status
can_move_bulk(pst_sink *sink, const char *last, bool *bulk, pst_error *err)
{
	PGresult *answer = NULL;
	pst_status status =
		run(sink, "looking at staged rows",
			"SELECT coalesce(pg_catalog.bool_or(penstock_op OPERATOR(pg_catalog.=) ANY "
			"('{4,5}'::pg_catalog.int2[])), false), "
			"coalesce(pg_catalog.bool_or(penstock_op OPERATOR(pg_catalog.=) ANY "
			"('{1,2}'::pg_catalog.int2[])), false) FROM %s WHERE penstock_writer "
			"OPERATOR(pg_catalog.=) $1 AND penstock_ordinal OPERATOR(pg_catalog.<=) "
			"$2::pg_catalog.int8",
			last, NULL, &answer, err);

	*bulk = false;
	if (status == PST_OK)
		*bulk = PQgetvalue(answer, 0, 0)[0] == 'f' && sink->plan->ncolumns > 0 &&
				(sink->plan->nkey == 0 || sink->plan->strict_keys);
	PQclear(answer);
	return status;
}

static pst_status
move_rows(pst_sink *sink, const char *last, bool singly, pst_error *err)
{
	bool bulk = false;
	pst_status status = PST_OK;

	if (!singly)
		status = can_move_bulk(sink, last, &bulk, err);
	if (status != PST_OK)
		return status;
	if (!bulk)
		return move_singly(sink, last, err);
	return sink->plan->nkey == 0 ? move_appended(sink, last, err) : move_keyed(sink, last, err);
}

/* --- epochs -------------------------------------------------------------------------------------- */

/* Locks the progress row: whether the epoch is committed already. */
static pst_status
lock_progress(pst_sink *sink, int64_t epoch, bool *committed, pst_error *err)
{
	const char *params[] = {sink->progress.job, sink->progress.writer};
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *answer = NULL;
	pst_status status =
		put_named(&sql,
				  "SELECT p.epoch FROM %s AS p WHERE p.job OPERATOR(pg_catalog.=) $1 AND p.writer "
				  "OPERATOR(pg_catalog.=) $2 FOR UPDATE",
				  sink->progress.table, err);

	*committed = false;
	if (status == PST_OK)
		status = psti_conn_query(sink->conn, "reading penstock_progress", sql.data, 2, params,
								 &answer, err);
	if (status == PST_OK && PQntuples(answer) == 1)
		*committed = strtoll(PQgetvalue(answer, 0, 0), NULL, 10) >= epoch;
	PQclear(answer);
	psti_buf_free(&sql);
	return status;
}

/* Where the epoch's rows end, "" when it is not prepared; and its position. */
static pst_status
find_marker(pst_sink *sink, const char *epoch, char last[24], char **position, pst_error *err)
{
	PGresult *answer = NULL;
	pst_status status =
		run(sink, "looking for the epoch",
			"SELECT penstock_ordinal, penstock_position FROM %s WHERE penstock_writer "
			"OPERATOR(pg_catalog.=) $1 AND penstock_op OPERATOR(pg_catalog.=) 9 AND "
			"penstock_epoch OPERATOR(pg_catalog.=) $2::pg_catalog.int8 ORDER BY "
			"penstock_ordinal DESC LIMIT 1",
			epoch, NULL, &answer, err);

	last[0] = '\0';
	*position = NULL;
	if (status == PST_OK && PQntuples(answer) == 1)
	{
		psti_error_copy(last, 24, PQgetvalue(answer, 0, 0));
		if (!PQgetisnull(answer, 0, 1))
		{
			*position = strdup(PQgetvalue(answer, 0, 1));
			status = *position == NULL ? psti_fail_nomem(err) : PST_OK;
		}
	}
	PQclear(answer);
	return status;
}

/* The epoch and its position into penstock_progress, the rows out of the staging table, COMMIT. */
static pst_status
finish_commit(pst_sink *sink, const char *epoch, const char *last, const char *position,
			  psti_attempt *attempt, pst_error *err)
{
	const char *progress[] = {sink->progress.job, sink->progress.writer, epoch, position};
	const char *clear[] = {sink->progress.writer, last};
	psti_buf sql[2] = {PSTI_BUF_INIT, PSTI_BUF_INIT};
	psti_step steps[3] = {{0}};
	int failed;
	pst_status status =
		put_named(&sql[0],
				  "INSERT INTO %s AS p (job, writer, epoch, position, token) VALUES ($1, $2, $3, "
				  "$4, 0) ON CONFLICT (job, writer) DO UPDATE SET epoch = EXCLUDED.epoch, position "
				  "= coalesce(EXCLUDED.position, p.position), updated_at = pg_catalog.now() WHERE "
				  "p.epoch OPERATOR(pg_catalog.<) EXCLUDED.epoch",
				  sink->progress.table, err);

	if (status == PST_OK)
		status = put_named(&sql[1],
						   "DELETE FROM %s WHERE penstock_writer OPERATOR(pg_catalog.=) $1 AND "
						   "penstock_ordinal OPERATOR(pg_catalog.<=) $2::pg_catalog.int8",
						   sink->stage_table, err);
	steps[0] = (psti_step){.what = "storing the epoch", .sql = sql[0].data, .nparams = 4};
	steps[0].params = progress;
	steps[1] = (psti_step){.what = "clearing the staging table", .sql = sql[1].data, .nparams = 2};
	steps[1].params = clear;
	steps[2] = (psti_step){.what = "committing", .sql = "COMMIT"};
	if (status == PST_OK && PSTI_FAILPOINT("sink.before_stage_commit"))
		status = psti_fail_sqlstate(err, "08006", "failpoint before the commit");
	if (status == PST_OK)
	{
		attempt->commit_sent = true;
		status = psti_sink_run(sink, steps, 3, &failed, err);
		attempt->at_commit = status != PST_OK && failed == 2;
	}
	psti_buf_free(&sql[0]);
	psti_buf_free(&sql[1]);
	return status;
}

/* A lower epoch that waits would count as committed without its rows. */
static pst_status
check_order(pst_sink *sink, const char *epoch, pst_error *err)
{
	PGresult *answer = NULL;
	pst_status status =
		run(sink, "looking for earlier epochs",
			"SELECT penstock_epoch FROM %s WHERE penstock_writer OPERATOR(pg_catalog.=) $1 AND "
			"penstock_op OPERATOR(pg_catalog.=) 9 AND penstock_epoch OPERATOR(pg_catalog.<) "
			"$2::pg_catalog.int8 ORDER BY penstock_epoch LIMIT 1",
			epoch, NULL, &answer, err);

	if (status == PST_OK && PQntuples(answer) == 1)
	{
		status = psti_fail(err, PST_ERR_STATE, "epoch %s cannot be committed before epoch %s",
						   epoch, PQgetvalue(answer, 0, 0));
		psti_error_hint(err, "Commit or abort the epochs in their order.");
	}
	PQclear(answer);
	return status;
}

/* One try to commit an epoch: repeating it is harmless, the progress row says what is done. */
static pst_status
commit_once(pst_sink *sink, int64_t number, bool singly, bool immediate, pst_error *err)
{
	psti_attempt attempt = {0};
	char epoch[24];
	char last[24];
	char *position = NULL;
	bool committed = false;
	pst_status status;

	snprintf(epoch, sizeof(epoch), "%" PRId64, number);
	status =
		psti_conn_exec(sink->conn, "beginning",
					   immediate ? "BEGIN; SET CONSTRAINTS ALL IMMEDIATE" : "BEGIN", NULL, err);
	if (status == PST_OK)
		status = lock_progress(sink, number, &committed, err);
	/* Rows that wait were not committed, whatever another table's sink has stored for the writer. */
	if (status == PST_OK)
		status = find_marker(sink, epoch, last, &position, err);
	if (status == PST_OK && last[0] == '\0' && committed)
		return psti_conn_exec(sink->conn, "ending", "ROLLBACK", NULL, err);
	if (status == PST_OK && last[0] == '\0')
	{
		status = psti_fail(err, PST_ERR_NOT_FOUND, "epoch %s of writer \"%s\" is not prepared",
						   epoch, sink->progress.writer);
		psti_error_hint(err, "Prepare it first; an epoch that was aborted cannot be committed.");
	}
	if (status == PST_OK)
		status = check_order(sink, epoch, err);
	if (status == PST_OK)
		status = move_rows(sink, last, singly, err);
	if (status == PST_OK)
		status = finish_commit(sink, epoch, last, position, &attempt, err);
	free(position);
	return status;
}

/* Forgets the rows of one epoch; those staged after it stay. */
static pst_status
abort_once(pst_sink *sink, int64_t number, pst_error *err)
{
	char epoch[24];

	snprintf(epoch, sizeof(epoch), "%" PRId64, number);
	return run(
		sink, "aborting the epoch",
		"WITH m AS (SELECT penstock_ordinal AS last, coalesce((SELECT "
		"pg_catalog.max(b.penstock_ordinal) FROM %s AS b WHERE b.penstock_writer "
		"OPERATOR(pg_catalog.=) $1 AND b.penstock_op OPERATOR(pg_catalog.=) 9 AND "
		"b.penstock_ordinal OPERATOR(pg_catalog.<) a.penstock_ordinal), 0) AS first FROM %s "
		"AS a WHERE a.penstock_writer OPERATOR(pg_catalog.=) $1 AND a.penstock_op "
		"OPERATOR(pg_catalog.=) 9 AND a.penstock_epoch OPERATOR(pg_catalog.=) "
		"$2::pg_catalog.int8) DELETE FROM %s AS s USING m WHERE s.penstock_writer "
		"OPERATOR(pg_catalog.=) $1 AND s.penstock_ordinal OPERATOR(pg_catalog.>) m.first AND "
		"s.penstock_ordinal OPERATOR(pg_catalog.<=) m.last",
		epoch, NULL, NULL, err);
}

typedef enum epoch_call
{
	PREPARE,
	COMMIT,
	ABORT
} epoch_call;

/* What was lost must not go on behind the retry: a new token refuses it, whatever it still does. */
pst_status
psti_staging_settle(pst_sink *sink, pst_error *err)
{
	bool ignored;

	if (!sink->progress.taken)
		return psti_sink_end_zombie(sink, PSTI_ZOMBIE_WAIT_MS, err);
	sink->progress.resync = true; /* the committer moves the epoch */
	return psti_progress_settle(sink, &ignored, err);
}

/* Runs one of the calls with the retries of a flush. */
static pst_status
with_retries(pst_sink *sink, epoch_call call, int64_t epoch, const char *position, pst_error *err)
{
	bool singly = false;
	bool immediate = false;
	char text[24];
	pst_status status;

	snprintf(text, sizeof(text), "%" PRId64, epoch);
	for (int n = 0;;)
	{
		psti_attempt attempt = {0};

		psti_enter(err);
		status = psti_sink_connect(sink, err);
		if (status == PST_OK && sink->in_doubt)
			status = psti_staging_settle(sink, err);
		sink->in_doubt = sink->in_doubt && status != PST_OK;
		if (status == PST_OK && call == PREPARE)
			status = psti_progress_take(sink, err);
		if (status == PST_OK && call == PREPARE)
			status = stage(sink, text, position, &attempt, err);
		else if (status == PST_OK && call == COMMIT)
			status = commit_once(sink, epoch, singly, immediate, err);
		else if (status == PST_OK)
			status = abort_once(sink, epoch, err);
		if (status == PST_OK)
			break;
		if (sink->conn == NULL || !psti_conn_usable(sink->conn))
			psti_sink_doubt(sink, &attempt);
		psti_sink_rollback(sink);
		/* As in a flush: one by one settles what bulk is refused for wrongly, and names the row. */
		if (call == COMMIT && psti_sink_row_error(err) && !sink->in_doubt &&
			!(singly && immediate) && err->key[0] == '\0')
		{
			immediate = singly;
			singly = true;
			continue;
		}
		if (!err->retryable || n >= sink->max_retries)
			return status;
		status = psti_sink_pause(sink, n++, err);
		if (status != PST_OK)
			return status;
	}
	sink->in_doubt = false;
	return PST_OK;
}

static pst_status
check_call(const pst_sink *sink, int64_t epoch, pst_error *err)
{
	if (sink == NULL)
		return psti_fail(err, PST_ERR_INVALID, "sink is NULL");
	if (epoch < 0)
		return psti_fail(err, PST_ERR_INVALID, "epoch %" PRId64 " is negative", epoch);
	if (sink->staging)
		return PST_OK;
	psti_fail(err, PST_ERR_INVALID, "the sink was opened without staging");
	psti_error_hint(err, "Set sink.staging=true.");
	return err->status;
}

pst_status
pst_sink_prepare(pst_sink *sink, int64_t epoch, const char *position, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = check_call(sink, epoch, &full);
	/* A write that failed has rows missing behind it: they must not become an epoch. */
	if (status == PST_OK && sink->failed && sink->write_failed)
		return psti_leave(err, &sink->last_error, sink->last_error.status);
	if (status == PST_OK)
	{
		psti_sink_close_update(sink);
		status = with_retries(sink, PREPARE, epoch, position, &full);
		if (status == PST_OK)
			psti_sink_forget_rows(sink);
		else
			psti_sink_note_failure(sink, &full);
	}
	return psti_leave(err, &full, status);
}

pst_status
pst_sink_commit(pst_sink *sink, int64_t epoch, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = check_call(sink, epoch, &full);
	if (status == PST_OK)
		status = with_retries(sink, COMMIT, epoch, NULL, &full);
	return psti_leave(err, &full, status);
}

pst_status
pst_sink_abort(pst_sink *sink, int64_t epoch, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = check_call(sink, epoch, &full);
	if (status == PST_OK)
		status = with_retries(sink, ABORT, epoch, NULL, &full);
	return psti_leave(err, &full, status);
}
