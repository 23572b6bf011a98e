/*
 * source_stream.c - COPY into an ArrowArrayStream.
 *
 * A stream may be released after its handle was closed. It and the handle share a small state,
 * counted by both; closing the handle cuts the state off, and get_next then answers EINVAL.
 */
#include "frames.h"
#include "source_internal.h"
#include "tuples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES ((size_t) 256 * 1024)
#define RESTARTS 5
#define FRAME_BYTES (1024 * 1024)		   /* of a frame, unless read.batch-bytes is given … */
#define FRAME_BYTES_MAX (64 * 1024 * 1024) /* … and at most: what the extension gives */
#define TUPLES_BYTES ((size_t) 256 * 1024) /* of a batch of tuples: it stays in the cache */

/* One COPY of a stream: a stream over several leaves has several. */
typedef struct piece
{
	char *only;		 /* as in psti_select; owned */
	char *condition; /* owned */
	uint32_t oid;	 /* of the table, or of the only one; 0: a query */
} piece;

struct psti_stream_state
{
	int references;		/* of the stream and of the handle */
	pst_source *source; /* NULL after the handle was closed */
	struct ArrowSchema schema;
	psti_copy_decoder *decoder; /* this one … */
	psti_frames *frames;		/* … or this one: assisted */
	piece *pieces;
	size_t npieces;
	size_t next;		  /* the piece to begin next */
	const piece *at_work; /* the one begun last; in pieces */
	bool copying;		  /* a COPY is on its way */
	bool ended;			  /* nothing more comes, well or not */
	bool handed_out;	  /* a batch was given to the caller */
	bool whole;			  /* reads everything: may begin anew at another moment */
	int restarts;
	int64_t rows;		 /* decoded, by all COPYs … */
	int64_t rows_before; /* … and by those before this one */
	psti_buf bytes;		 /* what has arrived … */
	size_t at;			 /* … and is decoded up to here */
	int code;			 /* errno value of the failure that ended it, else 0 */
	char error[2300];
};

/* ---- State ---- */

static void
state_unref(psti_stream_state *state)
{
	if (--state->references > 0)
		return;
	for (size_t i = 0; state->pieces != NULL && i < state->npieces; i++)
	{
		free(state->pieces[i].only);
		free(state->pieces[i].condition);
	}
	free(state->pieces);
	psti_copy_decoder_free(state->decoder);
	psti_frames_free(state->frames);
	psti_schema_release(&state->schema);
	psti_buf_free(&state->bytes);
	free(state);
}

/* The handle is free for another stream. */
static void
leave_handle(psti_stream_state *state)
{
	if (state->source == NULL || state->source->stream != state)
		return;
	state->source->stream = NULL;
	state->source = NULL;
	state_unref(state);
}

void
psti_source_detach_stream(pst_source *source)
{
	psti_stream_state *state = source->stream;

	if (state == NULL)
		return;
	if (!state->ended)
	{
		state->ended = true;
		state->code = EINVAL;
		strcpy(state->error, "the source was closed before its stream was read to the end");
	}
	leave_handle(state);
}

static int
errno_of(pst_status status)
{
	switch (status)
	{
		case PST_ERR_INVALID:
		case PST_ERR_STATE:
			return EINVAL;
		case PST_ERR_NOMEM:
			return ENOMEM;
		case PST_ERR_CANCELED:
			return ECANCELED;
		case PST_ERR_TIMEOUT:
			return ETIMEDOUT;
		case PST_ERR_CONNECTION:
			return ECONNRESET;
		case PST_ERR_PRIVILEGE:
		case PST_ERR_AUTH:
			return EACCES;
		case PST_ERR_UNSUPPORTED:
			return ENOTSUP;
		default:
			return EIO;
	}
}

/* ---- The server's side of a stream ---- */

/* Rows that are decoded and not handed out yet. */
static int64_t
pending(const psti_stream_state *state)
{
	return state->frames != NULL ? psti_frames_pending(state->frames)
								 : psti_copy_pending(state->decoder);
}

/* COPY of a SELECT's rows, or of its frames. */
static void
put_copy(const psti_stream_state *state, const psti_buf *select, psti_buf *sql)
{
	const pst_source *source = state->source;
	int64_t bytes = psti_opt_given(source->options, PSTI_OPT_BATCH_BYTES)
						? psti_opt_int(source->options, PSTI_OPT_BATCH_BYTES)
						: FRAME_BYTES;

	psti_buf_puts(sql, "COPY (");
	if (state->frames == NULL)
		psti_buf_append(sql, select->data, select->len);
	else
	{
		psti_buf_puts(sql, "SELECT penstock.scan(");
		psti_buf_literal(sql, select->data);
		psti_buf_printf(sql, ", %lld, ",
						(long long) (bytes < FRAME_BYTES_MAX ? bytes : FRAME_BYTES_MAX));
		psti_buf_literal(sql, psti_opt_text(source->options, PSTI_OPT_SPECIAL_VALUES));
		psti_buf_puts(sql, ", ");
		psti_source_text_columns(source, sql);
		psti_buf_printf(sql, ", %lld)",
						(long long) psti_opt_int(source->options, PSTI_OPT_BATCH_ROWS));
	}
	psti_buf_puts(sql, ") TO STDOUT (FORMAT binary)");
}

/*
 * A failed or abandoned COPY aborts the transaction: hence the mark, where there may be another one after
 * it.
 */
static pst_status
begin_copy(psti_stream_state *state, pst_error *err)
{
	pst_source *source = state->source;
	const piece *p = &state->pieces[state->next];
	psti_select what = {p->only, p->condition, true, true, p->oid};
	psti_buf select = PSTI_BUF_INIT;
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	state->at_work = p;
	if (source->once != NULL)
		psti_buf_puts(&sql, source->once);
	else
		psti_source_mark(source, true, &sql);
	psti_source_select(source, &what, &select);
	status = psti_buf_check(&select, err);
	if (status == PST_OK)
	{
		put_copy(state, &select, &sql);
		psti_buf_puts(&sql, source->once != NULL ? "; COMMIT" : "");
		status = psti_buf_check(&sql, err);
	}
	if (status == PST_OK)
		status = psti_conn_copy_out(source->conn, "reading", sql.data,
									source->once != NULL ? &source->found : NULL, err);
	psti_buf_free(&select);
	psti_buf_free(&sql);
	if (status != PST_OK)
		return status;
	if (state->frames != NULL)
		psti_frames_restart(state->frames);
	else
		psti_copy_restart(state->decoder);
	state->next++;
	state->rows_before = state->rows;
	state->copying = true;
	state->at = 0;
	psti_buf_reset(&state->bytes);
	return PST_OK;
}

static void
tell_progress(pst_source *source)
{
	pst_progress progress = {sizeof(progress), source->rows_read, source->bytes_read,
							 source->rows_total, source->bytes_total};

	if (source->hooks.progress != NULL)
		source->hooks.progress(source->hooks.ctx, &progress);
}

/* More bytes, or PST_END when this COPY is over. */
static pst_status
receive(psti_stream_state *state, pst_error *err)
{
	pst_status status;

	state->at = 0;
	psti_buf_reset(&state->bytes);
	status = psti_conn_copy_read(state->source->conn, &state->bytes, READ_BYTES, err);
	state->source->bytes_read += (int64_t) state->bytes.len;
	if (status == PST_END)
	{
		state->copying = false;
		status = psti_copy_finish(state->decoder, err);
		return status == PST_OK ? PST_END : status;
	}
	return status;
}

/* PST_AGAIN: a frame is ready. PST_END: this COPY is over. */
static pst_status
receive_frame(psti_stream_state *state, pst_error *err)
{
	psti_conn *conn = state->source->conn;
	pst_status status = PST_OK;

	while (status == PST_OK || status == PST_END)
	{
		char *at;
		size_t room;
		size_t n;

		status = psti_frames_want(state->frames, &at, &room, err);
		if (status == PST_OK)
			status = psti_conn_copy_take(conn, at, room, &n, err);
		if (status == PST_END)
		{
			state->copying = false;
			status = psti_frames_finish(state->frames, err);
			return status == PST_OK ? PST_END : status;
		}
		if (status != PST_OK)
			break;
		state->source->bytes_read += (int64_t) n;
		status = psti_frames_got(state->frames, n, err);
	}
	return status;
}

/* PST_OK: a batch is ready. PST_END: there are no more rows than those pending. */
static pst_status
fill(psti_stream_state *state, pst_error *err)
{
	for (;;)
	{
		size_t used = 0;
		pst_status status;

		if (!state->copying)
		{
			if (state->next == state->npieces)
				return PST_END;
			status = begin_copy(state, err);
			if (status != PST_OK)
				return status;
		}
		if (state->frames != NULL)
		{
			status = receive_frame(state, err);
			if (status == PST_AGAIN)
				return PST_OK;
			if (status < 0)
				return status;
			continue;
		}
		if (state->at < state->bytes.len)
		{
			status = psti_copy_feed(state->decoder, state->bytes.data + state->at,
									state->bytes.len - state->at, &used, err);
			state->at += used;
			if (status == PST_AGAIN)
				return PST_OK;
			if (status < 0)
				return status;
		}
		status = receive(state, err);
		if (status < 0)
			return status;
	}
}

/* ---- Failures ---- */

/*
 * All servers from 9.6 on say it by these codes, in the language of the server. A standby has nothing
 * else to say by them, but for a user's function or a foreign server, whose advice is the same.
 */
static bool
recovery_conflict(const pst_source *source, const pst_error *err)
{
	return psti_conn_caps(source->conn)->in_recovery &&
		   (strcmp(err->sqlstate, "40001") == 0 || strcmp(err->sqlstate, "40P01") == 0);
}

/* Begins a read of everything anew, at a new moment: nobody has seen a row of the old one. */
static pst_status
restart(psti_stream_state *state, pst_error *err)
{
	pst_source *source = state->source;

	psti_log(&source->hooks, PST_LOG_INFO, "the standby cancelled the read (%s): beginning anew",
			 err->message);
	psti_source_end(source);
	state->restarts++;
	state->copying = false;
	state->next = 0;
	state->rows = 0;
	if (state->frames != NULL)
		psti_frames_restart(state->frames);
	else
		psti_copy_reset(state->decoder);
	return psti_source_begin(source, err);
}

static bool
may_restart(const psti_stream_state *state, const pst_error *err)
{
	const pst_source *source = state->source;

	return state->whole && !state->handed_out && !source->planned && state->restarts < RESTARTS &&
		   psti_conn_usable(source->conn) && recovery_conflict(source, err);
}

static void
name_relation(const pst_source *source, pst_error *err)
{
	if (source->relation->oid == 0 || err->table[0] != '\0')
		return;
	PSTI_ERROR_SET(err, schema, source->relation->schema);
	PSTI_ERROR_SET(err, table, source->relation->name);
}

/*
 * Whether rows are named by the key that the extension tells: of a query it knows more than we, but
 * of a table under the one that is read it may know a key that is not the table's.
 */
static bool
has_key(const pst_source *source)
{
	for (size_t i = 0; i < source->ncolumns; i++)
		if (source->copy[i].key)
			return true;
	return source->relation->oid == 0;
}

/*
 * The row as the extension's detail has it: "The row is KEY; it is row N of …" or "It is row N of …",
 * which becomes what a plain read says.
 */
static void
read_row(const pst_source *source, int64_t rows_before, pst_error *err)
{
	static const char begin[] = "The row is ";
	static const char middle[] = "; it is row ";
	static const char alone[] = "It is row ";
	size_t nbegin = sizeof(begin) - 1;
	const char *number = NULL;

	if (strncmp(err->detail, alone, sizeof(alone) - 1) == 0)
		number = err->detail + sizeof(alone) - 1;
	else if (strncmp(err->detail, begin, nbegin) == 0)
	{
		const char *found = err->detail + nbegin;

		/* A key may hold those words too: the last ones are not of it. */
		while ((found = strstr(found, middle)) != NULL)
			number = found += sizeof(middle) - 1;
	}
	if (number == NULL)
		return;
	err->row = rows_before + strtoll(number, NULL, 10);
	if (err->detail[0] == 'T' && has_key(source))
	{
		char key[sizeof(err->key)];
		size_t n = (size_t) (number - err->detail) - (sizeof(middle) - 1) - nbegin;

		if (n >= sizeof(key))
			n = sizeof(key) - 1;
		memcpy(key, err->detail + nbegin, n);
		key[n] = '\0';
		PSTI_ERROR_SET(err, key, key);
		psti_error_detail(err, "The row is %s.", err->key);
	}
	else
		psti_error_detail(err, "It is row %lld of this read, counted from 0.",
						  (long long) err->row);
}

/* The lines of a context that are about our own statement, which a plain read has not. */
static void
forget_statement(pst_error *err)
{
	static const char line[] = "query \"SELECT ";
	char *at = strstr(err->detail, line);

	while (at != NULL && at > err->detail && at[-1] != '\n')
		at = strstr(at + 1, line);
	if (at != NULL)
		at[at > err->detail ? -1 : 0] = '\0';
}

/*
 * An error of a value that the extension could not put into a frame: it shall read as that of a plain
 * read.
 */
static void
explain_value(const psti_stream_state *state, const pst_source *source, pst_error *err)
{
	const char *message = strstr(err->message, "column \"");

	forget_statement(err);
	if (message == NULL || err->column[0] == '\0' ||
		(strstr(message, "\" holds a value that Arrow type ") == NULL &&
		 strstr(message, "\" holds bytes that are not UTF-8") == NULL))
		return;
	memmove(err->message, message, strlen(message) + 1);
	read_row(source, state->rows_before, err);
	if (strcmp(err->sqlstate, "22003") == 0)
	{
		err->hint[0] = '\0';
		psti_error_hint(err, "Name the column in read.text-columns to get its text, or give "
							 "special-values=null or special-values=clamp.");
	}
	if (source->relation->oid != 0)
		err->table[0] = '\0'; /* the one under it that the row is of */
	name_relation(source, err);
}

static void
explain_failure(const psti_stream_state *state, const pst_source *source, pst_error *err)
{
	if (state->frames != NULL)
		explain_value(state, source, err);
	if (source->moment == PSTI_MOMENT_IMPORTED)
		psti_source_explain_lock(source, err);
	if (recovery_conflict(source, err))
	{
		err->status = PST_ERR_CONFLICT;
		err->retryable = true;
		psti_error_hint(err, "The standby needed to replay changes to the rows being read. Read "
							 "again, or set hot_standby_feedback or max_standby_streaming_delay "
							 "there.");
	}
	if (err->status != PST_ERR_NOMEM)
		name_relation(source, err);
}

/*
 * To be asked when the handle is usable again: whether the failure came of a name that means another
 * table by now, where the server's own words mislead (a column that is not there, a missing grant).
 */
static bool
renamed(pst_source *source, uint32_t table, const char *name, const pst_error *err)
{
	/* By its OID, which wants no right on the schema of that name now. */
	static const char sql[] =
		"SELECT i.identity OPERATOR(pg_catalog.=) pg_catalog.format('%I.%I', VARIADIC "
		"pg_catalog.parse_ident($1)) FROM pg_catalog.pg_identify_object("
		"'pg_catalog.pg_class'::pg_catalog.regclass, $2::pg_catalog.oid, 0) i";
	char oid[16];
	const char *params[] = {name, oid};
	PGresult *result = NULL;
	pst_error ignored;
	bool same = true;

	if (strcmp(err->sqlstate, "22P02") == 0 && strstr(err->message, PSTI_RENAMED) != NULL)
		return true;
	if ((strncmp(err->sqlstate, "42", 2) != 0 && strcmp(err->sqlstate, "3F000") != 0) ||
		!psti_conn_usable(source->conn))
		return false;
	snprintf(oid, sizeof(oid), "%lu", (unsigned long) table);
	if (psti_conn_query(source->conn, "looking at the table's name", sql, 2, params, &result,
						&ignored) == PST_OK)
		same = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
	else
		psti_source_back(source);
	PQclear(result);
	return !same;
}

static void
explain_renamed(psti_stream_state *state, pst_source *source, pst_error *err)
{
	const piece *p = state->at_work;
	const char *name = p != NULL && p->only != NULL ? p->only : source->relation->qualified;

	if (source->query != NULL ||
		!renamed(source, p != NULL ? p->oid : source->relation->oid, name, err))
		return;
	psti_fail(err, PST_ERR_CONFLICT, "%s was renamed or replaced while it was read", name);
	psti_error_hint(err, "Begin the read again.");
	err->retryable = true;
	name_relation(source, err);
}

/*
 * To be asked when the handle is usable again: whether the failure came of the extension, which went
 * away after the probe, or the right to it. The server's own words do not say what to do then.
 */
static void
explain_extension(pst_source *source, pst_error *err)
{
	/* No such schema, function or library, or not for this role. */
	static const char *const codes[] = {"3F000", "42883", "42501", "58P01"};
	PGresult *result = NULL;
	pst_error ignored;
	bool gone = false;
	bool asked = false;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		asked = asked || strcmp(err->sqlstate, codes[i]) == 0;
	if (!asked || !psti_conn_usable(source->conn))
		return;
	if (psti_conn_exec(source->conn, "looking for the extension", "SELECT " PSTI_MAY_SCAN, &result,
					   &ignored) == PST_OK)
		gone = PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "usable") != 0;
	PQclear(result);
	if (!gone)
		return;
	psti_fail(err, PST_ERR_CONFLICT,
			  "the extension penstock, or the right to call penstock.scan, was taken away while "
			  "%s was read",
			  source->query != NULL ? "the query" : source->relation->qualified);
	psti_error_hint(err, "Begin the read again: unless transport=assisted is set, it does without "
						 "the extension.");
	err->retryable = true;
	name_relation(source, err);
}

/* Of failures that are told better with the handle usable again. */
static void
explain_afterwards(psti_stream_state *state, pst_source *source, pst_error *err)
{
	explain_renamed(state, source, err);
	if (state->frames != NULL)
		explain_extension(source, err);
}

/* Ends the stream with an error. */
static int
fail_stream(psti_stream_state *state, pst_error *err)
{
	pst_source *source = state->source;
	pst_error ignored;
	size_t len;

	explain_failure(state, source, err);
	if (state->copying && psti_conn_usable(source->conn) &&
		PQtransactionStatus(psti_conn_pg(source->conn)) == PQTRANS_ACTIVE)
		(void) psti_conn_copy_abandon(source->conn, &ignored);
	state->copying = false;
	psti_source_back(source);
	explain_afterwards(state, source, err);
	source->last = *err;
	state->ended = true;
	state->code = errno_of(err->status);
	psti_error_copy(state->error, sizeof(state->error), err->message);
	len = strlen(state->error);
	if (err->detail[0] != '\0')
		snprintf(state->error + len, sizeof(state->error) - len, " (%s)", err->detail);
	leave_handle(state);
	return state->code;
}

/* ---- The stream's functions ---- */

/* Rows are pending, or PST_END and perhaps the last ones; a failure has ended the stream. */
static pst_status
advance(psti_stream_state *state, pst_error *err)
{
	pst_status status = fill(state, err);

	/* The new beginning may meet the next conflict. */
	while (status < 0 && may_restart(state, err))
	{
		status = restart(state, err);
		if (status == PST_OK)
			status = fill(state, err);
	}
	if (status < 0)
		(void) fail_stream(state, err);
	else if (pending(state) > 0)
	{
		state->rows += pending(state);
		state->source->rows_read += pending(state);
		state->handed_out = true;
	}
	return status;
}

/* Nothing more is wanted. A COPY in the middle is stopped at the server. */
static void
abandon(psti_stream_state *state)
{
	pst_source *source = state->source;
	pst_error ignored;

	if (state->ended || source == NULL)
		return;
	if (state->copying && psti_conn_usable(source->conn))
	{
		(void) psti_conn_copy_abandon(source->conn, &ignored);
		psti_source_back(source);
	}
	leave_handle(state);
}

static int
stream_get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
	psti_stream_state *state = stream->private_data;
	pst_error err;

	memset(out, 0, sizeof(*out));
	psti_enter(&err);
	if (psti_schema_copy(&state->schema, out, &err) == PST_OK)
		return 0;
	psti_error_copy(state->error, sizeof(state->error), err.message);
	return ENOMEM;
}

static int
stream_get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
	psti_stream_state *state = stream->private_data;
	pst_error err;
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (state->ended)
		return state->code;
	psti_enter(&err);
	status = advance(state, &err);
	if (status < 0)
		return state->code;
	if (pending(state) > 0)
	{
		if (state->frames != NULL)
			psti_frames_take(state->frames, out);
		else if (psti_copy_take(state->decoder, out, &err) != PST_OK)
			return fail_stream(state, &err);
		tell_progress(state->source);
	}
	if (status == PST_END && out->release == NULL)
	{
		state->ended = true;
		leave_handle(state);
	}
	return 0;
}

static const char *
stream_get_last_error(struct ArrowArrayStream *stream)
{
	psti_stream_state *state = stream->private_data;

	return state->error[0] != '\0' ? state->error : NULL;
}

/* The handle can then read again. */
static void
stream_release(struct ArrowArrayStream *stream)
{
	psti_stream_state *state = stream->private_data;

	abandon(state);
	state_unref(state);
	stream->release = NULL;
	stream->private_data = NULL;
}

/* ---- What a split stands for ---- */

static pst_status
add_piece(psti_stream_state *state, uint32_t oid, const char *only, psti_buf *condition,
		  pst_error *err)
{
	piece *p = &state->pieces[state->npieces];
	bool conditional = condition != NULL && condition->len > 0;

	if (condition != NULL && condition->failed)
		return psti_fail_nomem(err);
	state->npieces++;
	p->oid = oid;
	if (only != NULL && (p->only = strdup(only)) == NULL)
		return psti_fail_nomem(err);
	if (conditional && (p->condition = strdup(condition->data)) == NULL)
		return psti_fail_nomem(err);
	return PST_OK;
}

static pst_status
stride_piece(psti_stream_state *state, const pst_source *source, const psti_split *split,
			 pst_error *err)
{
	const psti_column *column = psti_relation_column(source->relation, split->column);
	psti_buf ref = PSTI_BUF_INIT;
	psti_buf cast = PSTI_BUF_INIT;
	psti_buf condition = PSTI_BUF_INIT;
	pst_status status;

	if (column == NULL || !source->unique_names || !psti_source_stride_cast(source, column, &cast))
		return psti_fail(err, PST_ERR_INVALID, "not a split: there is no column \"%s\" to cut by",
						 split->column);
	psti_source_column_ref(source, (size_t) (column - source->relation->columns), &ref);
	status = ref.failed || cast.failed ? psti_fail_nomem(err) : PST_OK;
	if (status == PST_OK)
	{
		psti_stride_sql(&split->stride, ref.data, cast.data, &condition);
		status = add_piece(state, source->relation->oid, NULL, &condition, err);
	}
	psti_buf_free(&ref);
	psti_buf_free(&cast);
	psti_buf_free(&condition);
	return status;
}

static void
put_blocks(const pst_source *source, const psti_blocks *run, psti_buf *out)
{
	if (run->first > 0)
		psti_buf_printf(out, "%s.ctid OPERATOR(pg_catalog.>=) '(%lu,0)'::pg_catalog.tid",
						source->alias, (unsigned long) run->first);
	if (run->first > 0 && run->end >= 0)
		psti_buf_puts(out, " AND ");
	if (run->end >= 0)
		psti_buf_printf(out, "%s.ctid OPERATOR(pg_catalog.<) '(%lld,0)'::pg_catalog.tid",
						source->alias, (long long) run->end);
}

/* The row of a leaf in the answer, -1 when it is none of the table's. */
static int
find_leaf(const PGresult *result, uint32_t oid)
{
	int low = 0;
	int high = PQntuples(result) - 1;

	while (low <= high)
	{
		int middle = low + (high - low) / 2;
		unsigned long at = strtoul(PQgetvalue(result, middle, 0), NULL, 10);

		if (at == oid)
			return middle;
		if (at < oid)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return -1;
}

static pst_status
block_piece(psti_stream_state *state, const pst_source *source, const PGresult *leaves,
			const psti_blocks *run, pst_error *err)
{
	psti_buf condition = PSTI_BUF_INIT;
	int row = find_leaf(leaves, run->oid);
	pst_status status;

	if (row < 0)
		return psti_fail(err, PST_ERR_INVALID, "not a split: %lu is no part of the table",
						 (unsigned long) run->oid);
	if (strtoul(PQgetvalue(leaves, row, PSTI_LEAF_NODE), NULL, 10) != run->node)
	{
		psti_fail(err, PST_ERR_STATE, "cannot read %s: it was rewritten after the plan",
				  PQgetvalue(leaves, row, PSTI_LEAF_QUALIFIED));
		psti_error_hint(err, "Plan again, and keep the planning handle open until the last split "
							 "is read.");
		return PST_ERR_STATE;
	}
	put_blocks(source, run, &condition);
	status =
		add_piece(state, run->oid, PQgetvalue(leaves, row, PSTI_LEAF_QUALIFIED), &condition, err);
	psti_buf_free(&condition);
	return status;
}

static pst_status
block_pieces(psti_stream_state *state, pst_source *source, const psti_split *split, pst_error *err)
{
	const PGresult *leaves = NULL;
	pst_status status;

	if (source->query != NULL)
		return psti_fail(err, PST_ERR_INVALID, "not a split: a query has no blocks");
	status = psti_source_leaves(source, &leaves, err);
	for (size_t i = 0; status == PST_OK && i < split->nblocks; i++)
		status = block_piece(state, source, leaves, &split->blocks[i], err);
	return status;
}

static pst_status
make_pieces(psti_stream_state *state, pst_source *source, const psti_split *split, pst_error *err)
{
	size_t most = split != NULL && split->kind == PSTI_SPLIT_BLOCKS ? split->nblocks : 1;

	state->pieces = calloc(most, sizeof(*state->pieces));
	if (state->pieces == NULL)
		return psti_fail_nomem(err);
	if (split != NULL && split->kind == PSTI_SPLIT_STRIDE)
		return stride_piece(state, source, split, err);
	if (split != NULL && split->kind == PSTI_SPLIT_BLOCKS)
		return block_pieces(state, source, split, err);
	return add_piece(state, source->relation->oid, NULL, NULL, err);
}

/* ---- Opening ---- */

static pst_status
make_decoder(psti_stream_state *state, const pst_source *source, bool tuples, pst_error *err)
{
	psti_copy_limits limits = {
		.rows = psti_opt_int(source->options, PSTI_OPT_BATCH_ROWS),
		.bytes = (size_t) psti_opt_int(source->options, PSTI_OPT_BATCH_BYTES),
		.value_bytes = INT32_MAX,
		.special = (psti_special) psti_opt_int(source->options, PSTI_OPT_SPECIAL_VALUES),
		.tuples = tuples,
	};

	if (source->rules.assisted && !tuples)
		return psti_frames_new(&state->schema, &state->frames, err);
	if (tuples && limits.bytes > TUPLES_BYTES)
		limits.bytes = TUPLES_BYTES;
	return psti_copy_decoder_new(source->copy, source->ncolumns, &limits, &state->decoder, err);
}

static pst_status
stand_at_moment(pst_source *source, const char *text, psti_split *split, pst_error *err)
{
	pst_status status;

	if (text == NULL)
		return psti_source_begin(source, err);
	status = psti_split_parse(text, split, err);
	if (status == PST_OK)
		status = psti_source_join(source, split, err);
	return status;
}

/* A new state, begun and known to the handle. */
static pst_status
open_state(pst_source *source, const char *text, bool tuples, psti_stream_state **out,
		   pst_error *err)
{
	psti_stream_state *state = calloc(1, sizeof(*state));
	psti_split split = {0};
	pst_status status = state == NULL ? psti_fail_nomem(err) : PST_OK;

	if (status != PST_OK)
		return status;
	state->references = 1;
	state->whole = text == NULL && source->once == NULL;
	psti_enter(&source->last);
	status = stand_at_moment(source, text, &split, err);
	if (status == PST_OK)
		status = make_pieces(state, source, text == NULL ? NULL : &split, err);
	if (status == PST_OK)
		status = psti_schema_copy(&source->schema, &state->schema, err);
	if (status == PST_OK)
		status = make_decoder(state, source, tuples, err);
	if (status == PST_OK)
	{
		state->source = source;
		status = begin_copy(state, err);
		while (status != PST_OK && may_restart(state, err))
		{
			status = restart(state, err);
			if (status == PST_OK)
				status = begin_copy(state, err);
		}
	}
	psti_split_free(&split);
	if (status != PST_OK)
	{
		explain_failure(state, source, err);
		if (source->moment != PSTI_MOMENT_NONE)
			psti_source_back(source);
		explain_afterwards(state, source, err);
		source->last = *err;
		state->source = NULL;
		state_unref(state);
		return err->status;
	}
	state->references = 2;
	source->stream = state;
	*out = state;
	return PST_OK;
}

pst_status
psti_source_stream(pst_source *source, const char *text, struct ArrowArrayStream *out,
				   pst_error *err)
{
	psti_stream_state *state = NULL;
	pst_status status = open_state(source, text, false, &state, err);

	if (status != PST_OK)
		return status;
	out->get_schema = stream_get_schema;
	out->get_next = stream_get_next;
	out->get_last_error = stream_get_last_error;
	out->release = stream_release;
	out->private_data = state;
	return PST_OK;
}

pst_status
psti_source_tuples(pst_source *source, const char *split, psti_take_tuples take, void *ctx,
				   pst_error *err)
{
	psti_stream_state *state = NULL;
	pst_status status = psti_source_busy(source, err);

	if (status == PST_OK)
		status = open_state(source, split, true, &state, err);
	if (status != PST_OK)
		return status;
	tell_progress(source); /* it has begun */
	while (status == PST_OK)
	{
		status = advance(state, err);
		if (status < 0 || psti_copy_pending(state->decoder) == 0)
			break;
		if (take(ctx, psti_copy_tuples(state->decoder), err) != PST_OK)
			status = err->status;
		psti_copy_tuples_done(state->decoder);
		if (status >= 0)
			tell_progress(source);
	}
	abandon(state);
	state_unref(state);
	return status == PST_END ? PST_OK : status;
}
