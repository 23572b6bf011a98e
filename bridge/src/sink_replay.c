/*
 * sink_replay.c - a refused batch again, so that the row at fault is known.
 *
 * Changes by key go one by one in arrival order, pipelined. That also settles what the sorted
 * batch may be refused for wrongly: a value that moves from one row to another under a second
 * unique index, or keys that only the server knows to be equal. An append is cut in halves, each
 * behind a savepoint, until a single row is refused.
 *
 * Where a deferred constraint failed at commit, it is checked row by row. A row that is refused then
 * may only have come before the one that it refers to, so it is set aside and tried again behind
 * the others, as often as that helps. Rows that refer to each other in a circle hold only together:
 * beside a bad row they are refused with it.
 */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "failpoint.h"

#define CHUNK_ROWS 500
#define MAX_STEPS_A_ROW 2

/* --- skipping ---------------------------------------------------------------------------------- */

pst_status
psti_sink_skip_row(pst_sink *sink, bool line, const char *tuple, size_t nbytes,
				   const pst_error *why, pst_error *err)
{
	psti_skip *skip = &sink->skip;

	if (skip->limit >= 0 && skip->rows_total + skip->nrows >= skip->limit)
	{
		pst_error cause = *why;

		*err = cause;
		psti_error_prefix(err, "more than %lld rows are refused (on-error.limit)",
						  (long long) skip->limit);
		return err->status;
	}
	skip->nrows++;
	psti_log(&sink->hooks, PST_LOG_WARNING, "record %lld skipped: %s", (long long) why->row + 1,
			 why->message);
	if (skip->file == NULL)
		return PST_OK;
	psti_row_json(sink->plan, line, tuple, nbytes, why, &skip->lines);
	return psti_buf_check(&skip->lines, err);
}

pst_status
psti_sink_skip_write(pst_sink *sink, pst_error *err)
{
	psti_skip *skip = &sink->skip;

	if (skip->file == NULL || skip->lines.len == 0)
		return PST_OK;
	if (fwrite(skip->lines.data, 1, skip->lines.len, skip->file) != skip->lines.len ||
		fflush(skip->file) != 0)
		return psti_fail(err, PST_ERR_IO, "cannot write the skipped rows to \"%s\"",
						 psti_opt_text(sink->options, PSTI_OPT_ON_ERROR_FILE));
	psti_buf_reset(&skip->lines);
	return PST_OK;
}

/* --- naming the column ----------------------------------------------------------------------- */

/* The full type of a column as a cast target; a cast to varchar(n) would cut instead of refuse. */
static const char *
probe_type(const psti_sink_column *column)
{
	Oid base = column->target->type.base;

	return base == 1042 || base == 1043 || base == 1560 || base == 1562
			   ? column->target->type.bare_name
			   : column->target->type.name;
}

static pst_status
add_probe(const psti_sink_column *column, psti_field *field, psti_step *step, const char **param,
		  int *format, char **text, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;

	psti_buf_puts(&sql, "SELECT CAST(");
	psti_sql_value(column, "$1", &sql);
	psti_buf_printf(&sql, " AS %s)", probe_type(column));
	*text = psti_buf_steal(&sql);
	if (*text == NULL)
		return psti_fail_nomem(err);
	*param = field->data;
	*format = 1;
	*step = (psti_step){.what = "finding the column", .sql = *text, .nparams = 1};
	step->types = &column->type;
	step->params = param;
	step->lengths = &field->nbytes;
	step->formats = format;
	return PST_OK;
}

/*
 * Which column's value does its type refuse? Each is cast by itself, in one round trip; the first
 * that fails the same way is the one. Nothing is found when the reason lies elsewhere.
 */
static void
name_column(pst_sink *sink, const char *tuple, bool texts_only, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	size_t n = psti_get16(tuple);
	psti_step *steps = calloc(n + 1, sizeof(*steps));
	const char **params = calloc(n + 1, sizeof(*params));
	char **texts = calloc(n + 1, sizeof(*texts));
	psti_field *fields = calloc(n + 1, sizeof(*fields));
	psti_sink_column *as_sent = calloc(n + 1, sizeof(*as_sent));
	int format;
	int failed = -1;
	size_t nsteps = 0;
	pst_error probe;
	pst_status status = PST_OK;

	psti_enter(&probe);
	if (steps == NULL || params == NULL || texts == NULL || fields == NULL || as_sent == NULL)
		goto done;
	for (size_t c = 0; status == PST_OK && c < n; c++)
	{
		psti_field field = c == 0 ? psti_field_first(tuple) : psti_field_next(fields[n]);

		fields[n] = field;
		if (field.nbytes < 0)
			continue;
		fields[nsteps] = field;
		as_sent[nsteps] = plan->columns[c];
		if (texts_only)
		{
			as_sent[nsteps].text = true;
			as_sent[nsteps].type = PSTI_OID_TEXT;
		}
		status = add_probe(&as_sent[nsteps], &fields[nsteps], &steps[nsteps], &params[nsteps],
						   &format, &texts[nsteps], &probe);
		nsteps++;
	}
	if (status == PST_OK && nsteps > 0)
		status = psti_sink_run(sink, steps, nsteps, &failed, &probe);
	if (status != PST_OK && failed >= 0 && strcmp(probe.sqlstate, err->sqlstate) == 0)
		PSTI_ERROR_SET(err, column, as_sent[failed].target->name);
done:
	for (size_t i = 0; texts != NULL && i < nsteps; i++)
		free(texts[i]);
	free(steps);
	free(params);
	free(texts);
	free(fields);
	free(as_sent);
}

/* A text longer than varchar(n) or char(n) takes, which a cast would not tell. */
static void
name_long_text(const psti_sink_plan *plan, const char *tuple, pst_error *err)
{
	size_t n = psti_get16(tuple);
	psti_field field = psti_field_first(tuple);

	for (size_t c = 0; c < n; c++)
	{
		const psti_type *type = &plan->columns[c].target->type;
		int32_t chars = 0;

		if (c > 0)
			field = psti_field_next(field);
		if ((type->base != 1042 && type->base != 1043) || type->base_typmod < 4)
			continue;
		for (int32_t b = 0; b < field.nbytes; b++)
			chars += ((uint8_t) field.data[b] & 0xc0) != 0x80;
		if (chars > type->base_typmod - 4)
		{
			PSTI_ERROR_SET(err, column, plan->columns[c].target->name);
			return;
		}
	}
}

/*
 * COPY says the column and the value in its context: `COPY t, line 1, column c: "x"`. Its line is one
 * of the piece that was sent, which nobody has seen.
 */
static void
name_from_context(pst_error *err)
{
	const char *at = strstr(err->detail, ", column ");
	const char *end = at == NULL ? NULL : strstr(at + strlen(", column "), ": ");
	char value[sizeof(err->detail)];

	if (strncmp(err->detail, "COPY ", 5) != 0)
		return;
	snprintf(value, sizeof(value), "%s", end == NULL ? "" : end + 2);
	if (end != NULL && err->column[0] == '\0')
	{
		at += strlen(", column ");
		snprintf(err->column, sizeof(err->column), "%.*s", (int) (end - at), at);
	}
	err->detail[0] = '\0';
	if (value[0] != '\0')
		psti_error_detail(err, "The value is %s.", value);
}

/* Rows that leave columns out are never lines. */
static bool
is_line(const pst_sink *sink, size_t i)
{
	return sink->plan->copy_text && !sink->rows.row[i].partial;
}

/*
 * What is not UTF-8 in a row that nobody has looked into was so in the source: its column, else NULL.
 * A trigger or a constraint of the target may be refused bytes of its own.
 */
static const char *
broken_in_source(const pst_sink *sink, size_t i, const pst_error *err)
{
	if (!sink->rows.row[i].verbatim || strcmp(err->sqlstate, "22021") != 0)
		return NULL;
	return psti_row_broken(sink->plan, is_line(sink, i), psti_rows_at(&sink->rows, i),
						   psti_rows_end(&sink->rows, i) - sink->rows.row[i].at);
}

/* The error that decoding the row would have given. */
static void
blame_source(const char *column, pst_error *err)
{
	char message[sizeof(err->message)];

	snprintf(message, sizeof(message), "column \"%s\" of the source holds bytes that are not UTF-8",
			 column);
	PSTI_ERROR_SET(err, column, column);
	PSTI_ERROR_SET(err, message, message);
	err->detail[0] = '\0';
	psti_error_hint(err, "Read it through a query that converts it, such as "
						 "convert_from(column::bytea, 'LATIN1').");
}

/* The column of a value that its type refuses, where that can be found out. */
static void
find_column(pst_sink *sink, size_t i, pst_error *err)
{
	const char *tuple = psti_rows_at(&sink->rows, i);
	size_t nbytes = psti_rows_end(&sink->rows, i) - sink->rows.row[i].at;
	bool line = is_line(sink, i);
	psti_buf fields = PSTI_BUF_INIT;

	if (err->column[0] != '\0' || err->constraint[0] != '\0' ||
		strncmp(err->sqlstate, "22", 2) != 0)
		return;
	if (line)
	{
		psti_line_tuple(sink->plan, tuple, nbytes, &fields);
		tuple = fields.data;
	}
	if (!fields.failed && strcmp(err->sqlstate, "22001") == 0)
		name_long_text(sink->plan, tuple, err);
	/* The rollback behind the refusal may have found the connection lost. */
	if (!fields.failed && err->column[0] == '\0' && sink->conn != NULL &&
		psti_conn_usable(sink->conn))
		name_column(sink, tuple, line, err);
	psti_buf_free(&fields);
}

void
psti_sink_name_row(pst_sink *sink, size_t i, pst_error *err)
{
	const char *broken = broken_in_source(sink, i, err);

	psti_row_name(sink->plan, is_line(sink, i), psti_rows_at(&sink->rows, i),
				  psti_rows_end(&sink->rows, i) - sink->rows.row[i].at, sink->rows.row[i].number,
				  err);
	name_from_context(err);
	if (broken != NULL)
		blame_source(broken, err);
	else
		find_column(sink, i, err);
}

/* --- one row as a statement -------------------------------------------------------------------- */

/* Parameters of the steps of one chunk, and the texts of statements made for it. */
typedef struct chunk
{
	psti_step *steps;
	size_t *row_of; /* per step: the row it belongs to */
	size_t nsteps;
	size_t cap;
	const char **params;
	int *lengths;
	int *formats;
	Oid *types;
	size_t nparams;
	size_t param_cap;
	char **texts;
	size_t ntexts;
	char *row_upsert; /* the statements of full rows */
	char *row_delete;
} chunk;

static void
chunk_reset(chunk *c)
{
	for (size_t i = 0; i < c->ntexts; i++)
		free(c->texts[i]);
	c->nsteps = c->nparams = c->ntexts = 0;
}

static void
chunk_free(chunk *c)
{
	if (c->texts != NULL)
		chunk_reset(c);
	free(c->steps);
	free(c->row_of);
	free(c->params);
	free(c->lengths);
	free(c->formats);
	free(c->types);
	free(c->texts);
	free(c->row_upsert);
	free(c->row_delete);
}

static pst_status
chunk_init(chunk *c, const psti_sink_plan *plan, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;

	*c = (chunk){.cap = CHUNK_ROWS * MAX_STEPS_A_ROW + 16};
	c->param_cap = c->cap * (plan->ncolumns + plan->nkey + 1);
	c->steps = calloc(c->cap, sizeof(*c->steps));
	c->row_of = calloc(c->cap, sizeof(*c->row_of));
	c->params = calloc(c->param_cap, sizeof(*c->params));
	c->lengths = calloc(c->param_cap, sizeof(*c->lengths));
	c->formats = calloc(c->param_cap, sizeof(*c->formats));
	c->types = calloc(c->param_cap, sizeof(*c->types));
	c->texts = calloc(c->cap, sizeof(*c->texts));
	psti_sql_upsert(plan, PSTI_FROM_PARAMS, NULL, &sql);
	c->row_upsert = psti_buf_steal(&sql);
	psti_sql_delete(plan, PSTI_FROM_PARAMS, &sql);
	c->row_delete = psti_buf_steal(&sql);
	psti_buf_free(&sql);
	if (c->steps == NULL || c->row_of == NULL || c->params == NULL || c->lengths == NULL ||
		c->formats == NULL || c->types == NULL || c->texts == NULL || c->row_upsert == NULL ||
		c->row_delete == NULL)
		return psti_fail_nomem(err);
	return PST_OK;
}

static psti_step *
chunk_step(chunk *c, const char *what, const char *sql, size_t row)
{
	psti_step *step = &c->steps[c->nsteps];

	c->row_of[c->nsteps++] = row;
	*step = (psti_step){.what = what, .sql = sql};
	step->types = c->types + c->nparams;
	step->params = c->params + c->nparams;
	step->lengths = c->lengths + c->nparams;
	step->formats = c->formats + c->nparams;
	return step;
}

/* Adds the first ncolumns fields of a row as parameters, unchanged ones left out. */
static void
chunk_params(chunk *c, psti_step *step, const psti_sink_plan *plan, const char *tuple,
			 size_t ncolumns)
{
	psti_field field = psti_field_first(tuple);

	for (size_t i = 0; i < ncolumns; i++)
	{
		if (i > 0)
			field = psti_field_next(field);
		if (field.nbytes == PSTI_FIELD_UNCHANGED)
			continue;
		c->params[c->nparams] = field.nbytes == PSTI_FIELD_NULL ? NULL : field.data;
		c->lengths[c->nparams] = field.nbytes < 0 ? 0 : field.nbytes;
		c->formats[c->nparams] = 1;
		c->types[c->nparams++] = plan->columns[i].type;
		step->nparams++;
	}
}

/* Which columns of a row are unchanged, as a bitmap to be freed; NULL in *skip when none is. */
static pst_status
row_shape(const psti_sink_plan *plan, const char *tuple, uint8_t **skip, pst_error *err)
{
	psti_field field = psti_field_first(tuple);

	*skip = calloc(plan->ncolumns / 8 + 1, 1);
	if (*skip == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < plan->ncolumns; i++)
	{
		if (i > 0)
			field = psti_field_next(field);
		if (field.nbytes == PSTI_FIELD_UNCHANGED)
			psti_bit_set(*skip, (int64_t) i);
	}
	return PST_OK;
}

/* A statement for this row alone: it leaves columns out, or moves a key. */
static pst_status
chunk_own_statement(chunk *c, const psti_sink_plan *plan, const char *tuple, bool partial,
					bool change, const char **out, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	uint8_t *skip = NULL;
	pst_status status = PST_OK;

	if (partial)
		status = row_shape(plan, tuple, &skip, err);
	if (status == PST_OK && change)
		psti_sql_change(plan, PSTI_FROM_PARAMS, skip, &sql);
	else if (status == PST_OK)
		psti_sql_upsert(plan, PSTI_FROM_PARAMS, skip, &sql);
	free(skip);
	if (status == PST_OK)
		status = psti_buf_check(&sql, err);
	if (status == PST_OK && c->ntexts > 0 && strcmp(c->texts[c->ntexts - 1], sql.data) == 0)
		psti_buf_free(&sql); /* the same as for the row before */
	else if (status == PST_OK)
		c->texts[c->ntexts++] = psti_buf_steal(&sql);
	if (status == PST_OK)
		*out = c->texts[c->ntexts - 1];
	else
		psti_buf_free(&sql);
	return status;
}

/* Adds the statements of row i: a delete, an upsert, or both for a key change of a whole row. */
static pst_status
chunk_row(pst_sink *sink, chunk *c, size_t i, psti_attempt *attempt, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	const psti_sink_row *row = &sink->rows.row[i];
	const char *tuple = psti_rows_at(&sink->rows, i);
	bool moves = row->change && (row->partial || !plan->complete);
	const char *sql = c->row_upsert;
	pst_status status = PST_OK;
	psti_step *step;

	if (row->op == PSTI_OP_DEAD)
		return PST_OK;
	if (row->op != PSTI_OP_UPSERT)
	{
		/* The old key of a row that moves goes with that row. */
		if (row->op == PSTI_OP_OLD && i + 1 < sink->rows.nrows &&
			(sink->rows.row[i + 1].partial || !plan->complete))
			return PST_OK;
		step = chunk_step(c, "deleting a row", c->row_delete, i);
		chunk_params(c, step, plan, tuple, plan->nkey);
		attempt->deleted++;
		return PST_OK;
	}
	if (moves || row->partial)
		status = chunk_own_statement(c, plan, tuple, row->partial, moves, &sql, err);
	if (status != PST_OK)
		return status;
	step = chunk_step(c, "upserting a row", sql, i);
	chunk_params(c, step, plan, tuple, plan->ncolumns);
	if (moves)
		chunk_params(c, step, plan, psti_rows_at(&sink->rows, i - 1), plan->nkey);
	attempt->upserted++;
	return PST_OK;
}

/* --- rows by key --------------------------------------------------------------------------------- */

/* One replay under way. */
typedef struct replay
{
	pst_sink *sink;
	psti_attempt *attempt;
	chunk chunk;
	/*
	 * Where deferred constraints are checked row by row: a refused row may only be waiting for one
	 * behind it. Which rows were set aside, to be tried again; NULL: a refused row is refused.
	 */
	bool *aside;
	uint64_t *keys; /* hashes of their keys, open addressing; 0: free */
	size_t nkeys;
	size_t keys_cap; /* a power of two */
	bool guarded;	 /* savepoints are needed */
} replay;

static bool
is_aside(const replay *r, size_t i)
{
	return r->aside != NULL && r->aside[i];
}

/* What stands or falls with row i: the two halves of an update that changes the key. */
static void
unit_of(const pst_sink *sink, size_t i, size_t *from, size_t *to)
{
	const psti_sink_row *row = sink->rows.row;

	*from = row[i].change && i > 0 ? i - 1 : i;
	*to = row[i].op == PSTI_OP_OLD && i + 1 < sink->rows.nrows ? i + 2 : i + 1;
}

/* A row's key, for comparison with those set aside; 0 is none. */
static uint64_t
key_hash(const pst_sink *sink, size_t i)
{
	const psti_sink_plan *plan = sink->plan;
	const char *tuple = psti_rows_at(&sink->rows, i);

	if (plan->nkey == 0)
		return 0;
	/* Where only the server knows which keys are equal, all may be. */
	if (!plan->strict_keys)
		return 1;
	return psti_hash(PSTI_HASH_BEGIN, tuple + 2, psti_key_len(tuple, plan->nkey)) | 1;
}

/* Where the hash stands among those set aside, or has its place. */
static uint64_t *
key_place(const replay *r, uint64_t hash)
{
	size_t at = (size_t) (hash >> 1) & (r->keys_cap - 1);

	while (r->keys[at] != 0 && r->keys[at] != hash)
		at = (at + 1) & (r->keys_cap - 1);
	return &r->keys[at];
}

/* Whether rows [from, to) have a key of one set aside before: then they must wait for it. */
static bool
unit_waits(const replay *r, size_t from, size_t to)
{
	for (size_t i = from; r->nkeys > 0 && i < to; i++)
	{
		if (*key_place(r, key_hash(r->sink, i)) != 0)
			return true;
	}
	return false;
}

static pst_status
grow_keys(replay *r, pst_error *err)
{
	replay grown = *r;

	grown.keys_cap = r->keys_cap == 0 ? 64 : r->keys_cap * 2;
	grown.keys = calloc(grown.keys_cap, sizeof(*grown.keys));
	if (grown.keys == NULL)
		return psti_fail_nomem(err);
	for (size_t k = 0; k < r->keys_cap; k++)
	{
		if (r->keys[k] != 0)
			*key_place(&grown, r->keys[k]) = r->keys[k];
	}
	free(r->keys);
	*r = grown;
	return PST_OK;
}

/* Sets rows [from, to) aside: those behind them that change the same keys will wait. */
static pst_status
set_aside(replay *r, size_t from, size_t to, pst_error *err)
{
	pst_status status = PST_OK;

	for (size_t i = from; status == PST_OK && i < to; i++)
	{
		uint64_t hash = key_hash(r->sink, i);
		uint64_t *place;

		r->aside[i] = true;
		if (hash != 0 && 2 * (r->nkeys + 1) > r->keys_cap)
			status = grow_keys(r, err);
		if (hash == 0 || status != PST_OK)
			continue;
		place = key_place(r, hash);
		r->nkeys += *place == 0;
		*place = hash;
	}
	return status;
}

/* Runs rows [from, to) behind a savepoint; *bad is the row that failed, when one did. */
static pst_status
run_rows(replay *r, size_t from, size_t to, size_t *bad, pst_error *err)
{
	psti_attempt counted = *r->attempt;
	pst_status status = PST_OK;
	int failed;

	*bad = SIZE_MAX;
	chunk_reset(&r->chunk);
	if (r->guarded)
		chunk_step(&r->chunk, "setting a savepoint", "SAVEPOINT penstock", SIZE_MAX);
	for (size_t i = from, first, next; status == PST_OK && i < to; i = next)
	{
		unit_of(r->sink, i, &first, &next);
		if (r->aside != NULL && !r->aside[i] && unit_waits(r, i, next))
			status = set_aside(r, i, next, err);
		for (size_t u = i; status == PST_OK && u < next && !is_aside(r, i); u++)
			status = chunk_row(r->sink, &r->chunk, u, &counted, err);
	}
	if (r->guarded)
		chunk_step(&r->chunk, "releasing a savepoint", "RELEASE SAVEPOINT penstock", SIZE_MAX);
	if (status == PST_OK)
		status = psti_sink_run(r->sink, r->chunk.steps, r->chunk.nsteps, &failed, err);
	else
		return status;
	if (status == PST_OK)
		*r->attempt = counted;
	else if (failed >= 0 && psti_conn_usable(r->sink->conn))
		*bad = r->chunk.row_of[failed];
	return status;
}

static pst_status
undo(replay *r, pst_error *err)
{
	return psti_conn_exec(r->sink->conn, "going back to the savepoint",
						  "ROLLBACK TO SAVEPOINT penstock; RELEASE SAVEPOINT penstock", NULL, err);
}

/*
 * After a refused row: name it; with on-error = skip go back to the savepoint and note it. Where it
 * may only be waiting it is set aside instead.
 */
static pst_status
refuse_row(replay *r, size_t bad, pst_error *err)
{
	pst_sink *sink = r->sink;
	pst_error why = *err;
	size_t nbytes;
	pst_status status;

	/* What a read fails for is not skipped either. */
	if ((!sink->skip.enabled && r->aside == NULL) || broken_in_source(sink, bad, err) != NULL)
	{
		psti_sink_rollback(sink);
		psti_sink_name_row(sink, bad, err);
		return err->status;
	}
	status = undo(r, err);
	if (status != PST_OK)
		return status;
	if (r->aside != NULL)
	{
		size_t from;
		size_t to;

		unit_of(sink, bad, &from, &to);
		return set_aside(r, from, to, err);
	}
	nbytes = psti_rows_end(&sink->rows, bad) - sink->rows.row[bad].at;
	psti_row_name(sink->plan, is_line(sink, bad), psti_rows_at(&sink->rows, bad), nbytes,
				  sink->rows.row[bad].number, &why);
	name_from_context(&why);
	return psti_sink_skip_row(sink, is_line(sink, bad), psti_rows_at(&sink->rows, bad), nbytes,
							  &why, err);
}

/* Rows [from, to), without those that are refused when they may be skipped. */
static pst_status
replay_range(replay *r, size_t from, size_t to, pst_error *err)
{
	while (from < to)
	{
		size_t bad;
		size_t first;
		size_t next;
		pst_status status = run_rows(r, from, to, &bad, err);

		if (status == PST_OK)
			return PST_OK;
		if (bad == SIZE_MAX || !psti_sink_row_error(err))
			return status;
		status = refuse_row(r, bad, err);
		if (status != PST_OK)
			return status;
		/* Those before it were undone with it. */
		unit_of(r->sink, bad, &first, &next);
		if (first > from)
		{
			size_t ignored;

			status = run_rows(r, from, first, &ignored, err);
			if (status != PST_OK)
				return status;
		}
		from = next;
	}
	return PST_OK;
}

static pst_status
replay_keyed(replay *r, pst_error *err)
{
	size_t n = r->sink->rows.nrows;
	pst_status status = PST_OK;

	for (size_t from = 0, to; status == PST_OK && from < n; from = to)
	{
		to = from + CHUNK_ROWS < n ? from + CHUNK_ROWS : n;
		/* A row and its old key stay together. */
		if (to < n && r->sink->rows.row[to - 1].op == PSTI_OP_OLD)
			to++;
		status = replay_range(r, from, to, err);
	}
	return status;
}

/* --- appended rows --------------------------------------------------------------------------------- */

/* Columns of arrays cannot travel in arrays: then each row is a statement of its own. */
static bool
has_lists(const psti_sink_plan *plan)
{
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		const psti_sink_column *column = &plan->columns[c];

		if (column->item != NULL || (!column->text && column->target->type.elem != 0))
			return true;
	}
	return false;
}

/* Rows [from, to) as one statement over arrays; they leave out the same columns. */
static pst_status
insert_arrays(pst_sink *sink, size_t from, size_t to, const uint8_t *skip, const char *sql,
			  pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	psti_lot lot;
	psti_step step = {.what = "inserting rows", .sql = sql};
	char number[24];
	const char *param = number;
	int failed;
	pst_status status = psti_lot_init(&lot, plan, plan->ncolumns, skip, err);

	for (size_t i = from; status == PST_OK && lot.ncolumns > 0 && i < to; i++)
		psti_lot_add(&lot, psti_rows_at(&sink->rows, i), plan->ncolumns, skip);
	if (status == PST_OK)
		status = psti_lot_finish(&lot, (int64_t) (to - from), err);
	snprintf(number, sizeof(number), "%zu", to - from);
	step.nparams = lot.ncolumns > 0 ? lot.ncolumns : 1;
	step.types = lot.ncolumns > 0 ? lot.types : NULL;
	step.params = lot.ncolumns > 0 ? lot.params : &param;
	step.lengths = lot.ncolumns > 0 ? lot.lengths : NULL;
	step.formats = lot.ncolumns > 0 ? lot.formats : NULL;
	if (status == PST_OK)
		status = psti_sink_run(sink, &step, 1, &failed, err);
	psti_lot_free(&lot);
	return status;
}

/* Rows [from, to) as single statements, pipelined in chunks. */
static pst_status
insert_singly(pst_sink *sink, size_t from, size_t to, const char *sql, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	chunk c;
	int failed;
	pst_status status = chunk_init(&c, plan, err);

	for (size_t i = from; status == PST_OK && i < to; i++)
	{
		psti_step *step = chunk_step(&c, "inserting a row", sql, i);

		chunk_params(&c, step, plan, psti_rows_at(&sink->rows, i), plan->ncolumns);
		if (c.nsteps < CHUNK_ROWS && i + 1 < to)
			continue;
		status = psti_sink_run(sink, c.steps, c.nsteps, &failed, err);
		chunk_reset(&c);
	}
	chunk_free(&c);
	return status;
}

/* Rows [from, to), all of one shape, by INSERT. */
static pst_status
insert_range(pst_sink *sink, size_t from, size_t to, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	psti_buf sql = PSTI_BUF_INIT;
	uint8_t *skip = NULL;
	bool singly = has_lists(plan);
	pst_status status = PST_OK;

	if (sink->rows.row[from].partial)
		status = row_shape(plan, psti_rows_at(&sink->rows, from), &skip, err);
	singly = singly && (skip == NULL || psti_sql_count(plan, skip) > 0);
	psti_sql_insert(plan, singly ? PSTI_FROM_PARAMS : PSTI_FROM_ARRAYS, skip, &sql);
	if (status == PST_OK)
		status = psti_buf_check(&sql, err);
	if (status == PST_OK && singly)
		status = insert_singly(sink, from, to, sql.data, err);
	else if (status == PST_OK)
		status = insert_arrays(sink, from, to, skip, sql.data, err);
	psti_buf_free(&sql);
	free(skip);
	return status;
}

static pst_status
write_range(pst_sink *sink, size_t from, size_t to, pst_error *err)
{
	if (sink->plan->by_insert || sink->rows.row[from].partial)
		return insert_range(sink, from, to, err);
	return psti_sink_append_range(sink, from, to, err);
}

/* Whether row i leaves out the same columns as the one before it. */
static bool
same_shape(const pst_sink *sink, size_t i)
{
	const psti_sink_row *row = &sink->rows.row[i];
	psti_field here;
	psti_field before;

	if (row->partial != row[-1].partial)
		return false;
	if (!row->partial)
		return true;
	here = psti_field_first(psti_rows_at(&sink->rows, i));
	before = psti_field_first(psti_rows_at(&sink->rows, i - 1));
	for (size_t c = 0; c < sink->plan->ncolumns; c++)
	{
		if ((here.nbytes == PSTI_FIELD_UNCHANGED) != (before.nbytes == PSTI_FIELD_UNCHANGED))
			return false;
		if (c + 1 == sink->plan->ncolumns)
			break;
		here = psti_field_next(here);
		before = psti_field_next(before);
	}
	return true;
}

/*
 * Rows [from, to) of an append, on top of those before them: all at once, else each half. A single
 * row that is refused is the bad one.
 */
static pst_status
append_halves(replay *r, size_t from, size_t to, pst_error *err)
{
	pst_sink *sink = r->sink;
	size_t half = from + (to - from) / 2;
	pst_status status =
		psti_conn_exec(sink->conn, "setting a savepoint", "SAVEPOINT penstock", NULL, err);

	if (status != PST_OK)
		return status;
	status = write_range(sink, from, to, err);
	if (status == PST_OK)
	{
		r->attempt->upserted += (int64_t) (to - from);
		return psti_conn_exec(sink->conn, "releasing a savepoint", "RELEASE SAVEPOINT penstock",
							  NULL, err);
	}
	if (!psti_conn_usable(sink->conn) || !psti_sink_row_error(err))
		return status;
	if (to - from == 1)
		return refuse_row(r, from, err);
	status = undo(r, err);
	if (status == PST_OK)
		status = append_halves(r, from, half, err);
	return status == PST_OK ? append_halves(r, half, to, err) : status;
}

/* Runs of rows that leave out the same columns, in their order. */
static pst_status
replay_append(replay *r, pst_error *err)
{
	size_t n = r->sink->rows.nrows;
	pst_status status = PST_OK;
	size_t to;

	for (size_t from = 0; status == PST_OK && from < n; from = to)
	{
		for (to = from + 1; to < n && same_shape(r->sink, to); to++)
			;
		status = append_halves(r, from, to, err);
	}
	return status;
}

/* --- rows that waited for others ------------------------------------------------------------------- */

static pst_status
write_unit(replay *r, size_t from, size_t to, pst_error *err)
{
	return r->sink->plan->mode == PSTI_MODE_APPEND ? append_halves(r, from, to, err)
												   : replay_range(r, from, to, err);
}

/* Those that were set aside, one by one in their order: whether any was taken, any remains. */
static pst_status
retry_aside(replay *r, bool *taken, bool *left, pst_error *err)
{
	pst_status status = PST_OK;
	size_t n = r->sink->rows.nrows;

	*taken = *left = false;
	r->nkeys = 0;
	if (r->keys != NULL)
		memset(r->keys, 0, r->keys_cap * sizeof(*r->keys));
	for (size_t i = 0, from, to; status == PST_OK && i < n; i = to)
	{
		unit_of(r->sink, i, &from, &to);
		if (!r->aside[i])
			continue;
		/* It is set aside again when it is refused again, or has to wait. */
		for (size_t u = i; u < to; u++)
			r->aside[u] = false;
		status = write_unit(r, i, to, err);
		*taken = *taken || !r->aside[i];
		*left = *left || r->aside[i];
	}
	return status;
}

/* What nothing has helped is refused. */
static pst_status
refuse_aside(replay *r, pst_error *err)
{
	pst_status status = PST_OK;
	bool *aside = r->aside;
	size_t n = r->sink->rows.nrows;

	r->aside = NULL;
	for (size_t i = 0, from, to; status == PST_OK && i < n; i = to)
	{
		unit_of(r->sink, i, &from, &to);
		if (aside[i])
			status = write_unit(r, i, to, err);
	}
	r->aside = aside;
	return status;
}

static pst_status
settle_aside(replay *r, pst_error *err)
{
	bool taken = true;
	bool left = true;
	pst_status status = PST_OK;

	while (status == PST_OK && taken && left)
		status = retry_aside(r, &taken, &left, err);
	return status == PST_OK && left ? refuse_aside(r, err) : status;
}

/* --- the whole ----------------------------------------------------------------------------------- */

static pst_status
finish(replay *r, pst_error *err)
{
	pst_sink *sink = r->sink;
	psti_progress_step storage = {.sql = PSTI_BUF_INIT};
	psti_step steps[2];
	size_t nsteps = 0;
	bool keeps = sink->progress.table != NULL && !sink->staging;
	pst_status status = psti_sink_skip_write(sink, err);

	if (status == PST_OK && keeps)
		status = psti_progress_add(sink, &storage, &steps[nsteps++], err);
	steps[nsteps++] = (psti_step){.what = "committing", .sql = "COMMIT"};
	if (status == PST_OK)
		status = psti_sink_run_commit(sink, steps, nsteps, keeps ? 0 : -1, r->attempt, err);
	psti_buf_free(&storage.sql);
	return status;
}

pst_status
psti_sink_replay(pst_sink *sink, bool immediate, psti_attempt *attempt, pst_error *err)
{
	replay r = {.sink = sink, .attempt = attempt, .guarded = sink->skip.enabled || immediate};
	pst_status status = PST_OK;

	attempt->method = "replay";
	attempt->upserted = attempt->deleted = 0;
	if (immediate)
		r.aside = calloc(sink->rows.nrows + 1, sizeof(*r.aside));
	if (immediate && r.aside == NULL)
		return psti_fail_nomem(err);
	if (sink->plan->mode != PSTI_MODE_APPEND)
		status = chunk_init(&r.chunk, sink->plan, err);
	psti_log(&sink->hooks, PST_LOG_DEBUG, "writing %lld rows in their order of arrival",
			 (long long) sink->live_rows);
	if (status == PST_OK)
		status =
			psti_conn_exec(sink->conn, "beginning",
						   immediate ? "BEGIN; SET CONSTRAINTS ALL IMMEDIATE" : "BEGIN", NULL, err);
	if (status == PST_OK && PSTI_FAILPOINT("sink.replay_begun"))
		status = psti_fail_sqlstate(err, "08006", "failpoint inside the replay");
	if (status == PST_OK && sink->plan->mode == PSTI_MODE_APPEND)
		status = replay_append(&r, err);
	else if (status == PST_OK)
		status = replay_keyed(&r, err);
	if (status == PST_OK && immediate)
		status = settle_aside(&r, err);
	if (status == PST_OK)
		status = finish(&r, err);
	chunk_free(&r.chunk);
	free(r.aside);
	free(r.keys);
	return status;
}
