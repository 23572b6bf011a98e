/* sink.c - the handle of a sink: public functions, buffering, thresholds. */
#include "sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "value.h"

/* --- open ------------------------------------------------------------------------------------ */

static pst_status
check_schema(const struct ArrowSchema *schema, pst_error *err)
{
	if (schema == NULL || schema->release == NULL || schema->format == NULL)
		return psti_fail(err, PST_ERR_INVALID, "a sink needs an Arrow schema");
	if (strcmp(schema->format, "+s") != 0)
	{
		psti_fail(err, PST_ERR_INVALID, "the schema's format is \"%s\"", schema->format);
		psti_error_hint(err, "Rows are a struct array: \"+s\" with one child a column.");
		return err->status;
	}
	if (schema->n_children > PSTI_MAX_COLUMNS)
		return psti_fail(err, PST_ERR_INVALID, "%" PRId64 " columns are more than a table can have",
						 schema->n_children);
	return PST_OK;
}

static pst_status
check_options(pst_sink *sink, pst_error *err)
{
	const psti_options *options = sink->options;
	pst_status status;

	if (psti_opt_text(options, PSTI_OPT_TABLE) == NULL)
	{
		psti_fail(err, PST_ERR_INVALID, "a sink needs the option \"table-name\"");
		psti_error_hint(err, "Name the target table.");
		return err->status;
	}
	status = psti_opt_check_transport(options, err);
	if (status != PST_OK)
		return status;
	if (sink->staging && (psti_opt_text(options, PSTI_OPT_PROGRESS_SCHEMA) == NULL ||
						  psti_opt_text(options, PSTI_OPT_PROGRESS_JOB) == NULL))
		return psti_opt_fail(options, PSTI_OPT_STAGING, err,
							 "needs sink.progress.schema and sink.progress.job");
	if (sink->staging && sink->skip.enabled)
		return psti_opt_fail(options, PSTI_OPT_ON_ERROR, err,
							 "cannot be \"skip\" together with sink.staging");
	if (!sink->skip.enabled && psti_opt_given(options, PSTI_OPT_ON_ERROR_FILE))
		return psti_opt_fail(options, PSTI_OPT_ON_ERROR_FILE, err, "needs on-error=skip");
	return PST_OK;
}

static pst_status
open_skip_file(pst_sink *sink, pst_error *err)
{
	const char *path = psti_opt_text(sink->options, PSTI_OPT_ON_ERROR_FILE);

	if (!sink->skip.enabled || path == NULL)
		return PST_OK;
	sink->skip.file = fopen(path, "ae");
	if (sink->skip.file == NULL)
	{
		char text[128];

		return psti_fail(err, PST_ERR_IO, "cannot open \"%s\" for skipped rows: %s", path,
						 strerror_r(errno, text, sizeof(text)));
	}
	return PST_OK;
}

static void
read_options(pst_sink *sink)
{
	const psti_options *options = sink->options;

	sink->max_rows = psti_opt_int(options, PSTI_OPT_FLUSH_ROWS);
	sink->max_bytes = psti_opt_int(options, PSTI_OPT_FLUSH_BYTES);
	sink->interval_ms = psti_opt_int(options, PSTI_OPT_FLUSH_INTERVAL);
	sink->max_retries = (int) psti_opt_int(options, PSTI_OPT_MAX_RETRIES);
	sink->staging = psti_opt_bool(options, PSTI_OPT_STAGING);
	sink->skip.enabled = psti_opt_int(options, PSTI_OPT_ON_ERROR) == 1;
	sink->skip.limit = psti_opt_given(options, PSTI_OPT_ON_ERROR_LIMIT)
						   ? psti_opt_int(options, PSTI_OPT_ON_ERROR_LIMIT)
						   : -1;
	sink->random = (uint64_t) psti_now_ms() * 2654435761u ^ (uint64_t) getpid() << 32 ^
				   (uint64_t) (uintptr_t) sink;
	if (sink->random == 0)
		sink->random = 1;
}

static void
sink_free(pst_sink *sink)
{
	if (sink == NULL)
		return;
	psti_conn_close(sink->conn);
	psti_plan_free(sink->plan);
	psti_sink_rows_free(&sink->rows);
	psti_progress_free(&sink->progress);
	psti_buf_free(&sink->skip.lines);
	if (sink->skip.file != NULL)
		fclose(sink->skip.file);
	free(sink->stage_table);
	psti_options_free(sink->options);
	psti_hooks_free(&sink->hooks);
	free(sink);
}

static pst_status
open_sink(pst_sink *sink, const char *const *keys, const char *const *values,
		  const struct ArrowSchema *schema, pst_error *err)
{
	pst_status status = check_schema(schema, err);

	if (status == PST_OK)
		status = psti_options_new(keys, values, PSTI_SINK, &sink->hooks, &sink->options, err);
	if (status != PST_OK)
		return status;
	read_options(sink);
	status = check_options(sink, err);
	if (status == PST_OK)
		status = psti_sink_connect(sink, err);
	if (status == PST_OK)
		status = psti_plan_new(sink->options, sink->conn, schema, &sink->plan, err);
	if (status == PST_OK)
		status = psti_progress_open(sink, err);
	if (status == PST_OK && sink->staging)
		status = psti_staging_open(sink, err);
	return status == PST_OK ? open_skip_file(sink, err) : status;
}

pst_status
pst_sink_open(const char *const *keys, const char *const *values, const struct ArrowSchema *schema,
			  const pst_hooks *hooks, pst_sink **out, pst_error *err)
{
	pst_error full;
	pst_sink *sink;
	pst_status status;

	psti_enter(&full);
	if (out == NULL)
		return psti_leave(err, &full, psti_fail(&full, PST_ERR_INVALID, "out is NULL"));
	*out = NULL;
	sink = calloc(1, sizeof(*sink));
	if (sink == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	sink->due_at = -1;
	sink->method = "";
	status = psti_hooks_copy(hooks, &sink->hooks, &full);
	if (status == PST_OK)
		status = open_sink(sink, keys, values, schema, &full);
	if (status == PST_OK)
		*out = sink;
	else
		sink_free(sink);
	return psti_leave(err, &full, status);
}

/* --- flushing -------------------------------------------------------------------------------- */

/* Remembers a failure: nothing is sent any more until flush succeeds or the rows are discarded. */
void
psti_sink_note_failure(pst_sink *sink, const pst_error *err)
{
	sink->failed = true;
	sink->last_error = *err;
}

static pst_status
note_failure(pst_sink *sink, pst_status status, const pst_error *err)
{
	if (status < 0)
		psti_sink_note_failure(sink, err);
	return status;
}

/* The buffer is whole again: what follows is sent. */
static void
clear_failure(pst_sink *sink)
{
	sink->failed = false;
	sink->write_failed = false;
}

void
psti_sink_forget_rows(pst_sink *sink)
{
	psti_rows_reset(&sink->rows);
	sink->live_rows = 0;
	sink->streamed = 0;
	sink->due_at = -1;
	clear_failure(sink);
}

/* A -U whose +U has not come is a delete when it has to be written. */
void
psti_sink_close_update(pst_sink *sink)
{
	psti_sink_rows *rows = &sink->rows;

	if (rows->nrows > 0 && rows->row[rows->nrows - 1].op == PSTI_OP_OLD)
		rows->row[rows->nrows - 1].op = PSTI_OP_DELETE;
}

static pst_status
flush_all(pst_sink *sink, pst_error *err)
{
	pst_status status;

	psti_sink_close_update(sink);
	if (sink->live_rows == 0 && (!sink->progress.position_dirty || sink->staging))
	{
		psti_rows_reset(&sink->rows);
		sink->progress.marked_rows = 0;
		clear_failure(sink);
		return PST_OK;
	}
	status = psti_sink_flush_rows(sink, err);
	if (status == PST_OK && sink->progress.position_dirty && !sink->staging)
		status = psti_sink_flush_rows(sink, err);
	if (status == PST_OK)
	{
		pst_progress progress = {.struct_size = sizeof(progress), .rows = sink->rows_in};

		clear_failure(sink);
		progress.bytes = sink->bytes_out;
		progress.rows_total = progress.bytes_total = -1;
		if (sink->hooks.progress != NULL)
			sink->hooks.progress(sink->hooks.ctx, &progress);
	}
	return note_failure(sink, status, err);
}

static bool
is_full(const pst_sink *sink)
{
	return (sink->max_rows > 0 && sink->live_rows >= sink->max_rows) ||
		   (int64_t) sink->rows.bytes.len >= sink->max_bytes;
}

/* With a position stored, rows after it must not be committed before the next one is known. */
static bool
may_flush_alone(const pst_sink *sink)
{
	return sink->progress.table == NULL || sink->staging || !sink->progress.position_set ||
		   sink->progress.marked_rows == sink->rows.nrows;
}

/* --- taking rows ----------------------------------------------------------------------------- */

static pst_status
fail_kind(const pst_sink *sink, int kind, pst_error *err)
{
	static const char *const names[] = {"+I", "-U", "+U", "-D"};

	if (kind < 0 || kind > 3)
		return psti_fail(err, PST_ERR_INVALID, "row kind %d is none of 0 to 3", kind);
	psti_fail(err, PST_ERR_INVALID, "a row of kind %s cannot be appended to %s", names[kind],
			  sink->plan->relation->qualified);
	psti_error_hint(err, "Use sink.mode=changelog, which needs a key.");
	return err->status;
}

/* What a row of this kind does in the sink's mode. */
static pst_status
row_op(const pst_sink *sink, int kind, psti_op *op, pst_error *err)
{
	static const psti_op ops[] = {PSTI_OP_UPSERT, PSTI_OP_OLD, PSTI_OP_UPSERT, PSTI_OP_DELETE};

	if (kind < 0 || kind > 3 || (sink->plan->mode == PSTI_MODE_APPEND && kind != PST_ROW_INSERT))
		return fail_kind(sink, kind, err);
	*op = sink->plan->mode == PSTI_MODE_DELETE ? PSTI_OP_DELETE : ops[kind];
	if (kind == PST_ROW_DELETE && !sink->plan->may_delete)
	{
		psti_fail_sqlstate(err, "42501", "the role may not DELETE from %s",
						   sink->plan->relation->qualified);
		psti_error_hint(err, "GRANT DELETE ON %s TO the role.", sink->plan->relation->qualified);
		return err->status;
	}
	return PST_OK;
}

/* Joins a -U with the row that follows it: the same key is a plain update. */
static void
join_update(pst_sink *sink, psti_sink_row *row, const char *tuple)
{
	psti_sink_rows *rows = &sink->rows;
	psti_sink_row *old = rows->nrows > 0 ? &rows->row[rows->nrows - 1] : NULL;
	size_t nkey = sink->plan->nkey;
	const char *before;
	size_t n;

	if (old == NULL || old->op != PSTI_OP_OLD)
		return;
	if (row->op != PSTI_OP_UPSERT)
	{
		old->op = PSTI_OP_DELETE;
		return;
	}
	before = rows->bytes.data + old->at;
	n = psti_key_len(tuple, nkey);
	if (psti_key_len(before, nkey) == n && memcmp(before + 2, tuple + 2, n) == 0)
	{
		old->op = PSTI_OP_DEAD;
		sink->live_rows--;
	}
	else
		row->change = true;
}

/* The skipped row as it was given, where it could not be encoded. */
static void
put_given_values(const pst_sink *sink, const struct ArrowArray *batch, int64_t i, psti_buf *out)
{
	const psti_sink_plan *plan = sink->plan;
	pst_error ignored;

	psti_enter(&ignored);
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		const psti_sink_column *column = &plan->columns[c];
		const struct ArrowArray *array = batch->children[column->child];
		psti_buf value = PSTI_BUF_INIT;
		bool null = column->arrow.kind == PSTI_ARROW_NULL || psti_array_null(array, i);

		if (null ||
			psti_value_json(column->schema, &column->arrow, array, i, &value, &ignored) != PST_OK)
		{
			psti_buf_reset(&value);
			psti_buf_puts(&value, "null");
		}
		psti_buf_puts(out, c > 0 ? "," : "");
		psti_json_put_string(out, column->target->name);
		psti_buf_putc(out, ':');
		/* Nobody has looked into the caller's texts yet. */
		psti_json_put_utf8(out, value.data == NULL ? "null" : value.data,
						   value.data == NULL ? 4 : value.len);
		out->failed = out->failed || value.failed;
		psti_buf_free(&value);
	}
}

/* A row that cannot even be encoded: skipped at once when that is allowed. */
static pst_status
refuse_given(pst_sink *sink, const struct ArrowArray *batch, int64_t i, pst_error *err)
{
	psti_skip *skip = &sink->skip;
	pst_error why;
	pst_status status;

	err->row = sink->rows_in;
	PSTI_ERROR_SET(err, schema, sink->plan->relation->schema);
	PSTI_ERROR_SET(err, table, sink->plan->relation->name);
	if (!skip->enabled || (err->status != PST_ERR_DATA && err->status != PST_ERR_CONSTRAINT))
		return err->status;
	why = *err;
	psti_buf_reset(&skip->lines);
	status = psti_sink_skip_row(sink, false, NULL, 0, &why, err);
	if (status == PST_OK && skip->file != NULL && skip->lines.len > 3)
	{
		skip->lines.len -= 3; /* the end of an object without values */
		put_given_values(sink, batch, i + batch->offset, &skip->lines);
		psti_buf_puts(&skip->lines, "}}\n");
		status = psti_buf_check(&skip->lines, err);
	}
	if (status == PST_OK)
		status = psti_sink_skip_write(sink, err);
	skip->rows_total += skip->nrows;
	skip->nrows = 0;
	return status;
}

/* Whether the last row may still be joined by the next. */
static bool
is_half_update(const pst_sink *sink)
{
	const psti_sink_rows *rows = &sink->rows;

	return rows->nrows > 0 && rows->row[rows->nrows - 1].op == PSTI_OP_OLD;
}

/*
 * A row of this kind is refused behind a -U. When it was the update's new half, the old half alone
 * must not become a delete.
 */
static void
end_half_update(pst_sink *sink, int kind)
{
	if (!is_half_update(sink))
		return;
	if (kind != PST_ROW_UPDATE_AFTER)
	{
		psti_sink_close_update(sink);
		return;
	}
	sink->rows.row[sink->rows.nrows - 1].op = PSTI_OP_DEAD;
	sink->live_rows--;
}

/* Takes the row that was just encoded at the end of the buffer. */
static pst_status
keep_row(pst_sink *sink, psti_sink_row *row, pst_error *err)
{
	pst_status status;

	if (sink->plan->nkey > 0)
		join_update(sink, row, sink->rows.bytes.data + row->at);
	status = psti_rows_add(&sink->rows, row, err);
	if (status != PST_OK)
	{
		sink->rows.bytes.len = row->at;
		return status;
	}
	if (row->partial && sink->plan->mode == PSTI_MODE_APPEND && !sink->rows.mixed)
	{
		/* COPY cannot leave a column out of one row: what has begun is begun anew. */
		sink->rows.mixed = true;
		if (sink->streaming)
			psti_sink_stream_drop(sink);
	}
	if (sink->live_rows++ == 0)
		sink->due_at = psti_now_ms() + sink->interval_ms;
	sink->rows_in++;
	return PST_OK;
}

/* Encodes one row into the buffer. */
static pst_status
take_row(pst_sink *sink, const struct ArrowArray *batch, int64_t i, int kind,
		 const uint8_t *const *unchanged, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	psti_sink_row row = {.at = sink->rows.bytes.len, .number = sink->rows_in};
	psti_op op = PSTI_OP_UPSERT;
	pst_status status = row_op(sink, kind, &op, err);

	if (status != PST_OK)
		return status;
	row.op = (uint8_t) op;
	status = psti_encode_row(plan, batch, i, op == PSTI_OP_UPSERT ? plan->ncolumns : plan->nkey,
							 unchanged, &sink->rows.bytes, &row.partial, err);
	if (status != PST_OK)
	{
		end_half_update(sink, kind);
		if (status != PST_ERR_NOMEM)
			status = refuse_given(sink, batch, i, err);
		sink->rows_in += status == PST_OK;
		return status;
	}
	return keep_row(sink, &row, err);
}

/* Rows may begin to travel, and a full buffer is flushed unless a position has to come first. */
static pst_status
after_row(pst_sink *sink, pst_error *err)
{
	bool between = sink->progress.table == NULL || sink->staging;

	if (sink->rows.bytes.len - sink->streamed >= PSTI_SINK_STREAM_BYTES)
		psti_sink_stream(sink);
	return between && is_full(sink) && !is_half_update(sink) ? flush_all(sink, err) : PST_OK;
}

static pst_status
take_rows(pst_sink *sink, const struct ArrowArray *batch, const int8_t *row_kind,
		  const uint8_t *const *unchanged, pst_error *err)
{
	const uint8_t *valid = batch->n_buffers > 0 ? batch->buffers[0] : NULL;
	pst_status status = PST_OK;

	for (int64_t i = 0; status == PST_OK && i < batch->length; i++)
	{
		if (valid != NULL && !psti_bit_get(valid, i + batch->offset))
		{
			psti_fail(err, PST_ERR_INVALID, "row %" PRId64 " of the batch is NULL as a whole", i);
			err->row = sink->rows_in;
			return err->status;
		}
		status = take_row(sink, batch, i, row_kind == NULL ? PST_ROW_INSERT : row_kind[i],
						  unchanged, err);
		if (status != PST_OK)
		{
			sink->write_failed = true;
			break;
		}
		status = after_row(sink, err);
	}
	return status;
}

/* What a write begins with; batch: what is to be written, NULL for tuples. */
static pst_status
begin_write(pst_sink *sink, const struct ArrowArray *batch, pst_error *err)
{
	pst_status status = PST_OK;

	if (sink->failed)
	{
		*err = sink->last_error;
		return err->status;
	}
	if (batch != NULL)
		status = psti_arrow_check(&sink->plan->schema, batch, err);
	/* With a progress table a call's rows are never torn apart: the caller's position could not
	 * say where. */
	if (status == PST_OK && sink->progress.table != NULL && !sink->staging && is_full(sink) &&
		!is_half_update(sink) && may_flush_alone(sink))
		status = flush_all(sink, err);
	if (status == PST_OK && sink->staging && !sink->progress.taken)
		status = psti_sink_connect(sink, err);
	if (status == PST_OK && sink->staging)
		status = psti_progress_take(sink, err);
	return status;
}

static pst_status
write_batch(pst_sink *sink, const struct ArrowArray *batch, const int8_t *row_kind,
			const uint8_t *const *unchanged, pst_error *err)
{
	pst_status status;

	if (batch == NULL)
		status = psti_fail(err, PST_ERR_INVALID, "batch is NULL");
	else
		status = begin_write(sink, batch, err);
	if (status == PST_OK)
		status = take_rows(sink, batch, row_kind, unchanged, err);
	return note_failure(sink, status, err);
}

/* --- rows as tuples -------------------------------------------------------------------------- */

bool
psti_sink_verbatim(const pst_sink *sink, const pst_source *source)
{
	const psti_sink_plan *plan = sink->plan;

	/* A skipped row is shown as it was given, which tuples cannot be where a key is NULL. */
	if (plan->copy_text || (sink->skip.enabled && plan->nkey > 0) ||
		psti_source_width(source) != (size_t) plan->schema.n_children)
		return false;
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		const psti_sink_column *column = &plan->columns[c];
		psti_tuple_field field;

		if (!psti_source_field(source, (size_t) column->child, &field) ||
			strcmp(column->schema->name, field.name) != 0 || !psti_encode_takes(column, &field))
			return false;
	}
	return true;
}

static pst_status
take_tuple(pst_sink *sink, const char *tuple, size_t nbytes, bool whole, pst_error *err)
{
	const psti_sink_plan *plan = sink->plan;
	psti_sink_row row = {.at = sink->rows.bytes.len, .number = sink->rows_in, .verbatim = true};
	psti_op op = PSTI_OP_UPSERT;
	pst_status status = row_op(sink, PST_ROW_INSERT, &op, err);

	if (status != PST_OK)
		return status;
	row.op = (uint8_t) op;
	if (whole)
	{
		psti_buf_put(&sink->rows.bytes, tuple, nbytes);
		status = psti_buf_check(&sink->rows.bytes, err);
	}
	else
		status = psti_encode_tuple(plan, tuple, op == PSTI_OP_UPSERT ? plan->ncolumns : plan->nkey,
								   &sink->rows.bytes, err);
	if (status != PST_OK)
	{
		sink->rows.bytes.failed = false;
		err->row = sink->rows_in;
		PSTI_ERROR_SET(err, schema, plan->relation->schema);
		PSTI_ERROR_SET(err, table, plan->relation->name);
		return status;
	}
	return keep_row(sink, &row, err);
}

pst_status
psti_sink_write_tuples(void *ctx, const psti_tuples *tuples, pst_error *err)
{
	pst_sink *sink = ctx;
	const psti_sink_plan *plan = sink->plan;
	bool whole = plan->nkey == 0 && plan->ncolumns == (size_t) plan->schema.n_children;
	pst_status status;

	/* A row that is appended with all its columns, in their order, is not looked into at all. */
	for (size_t c = 0; c < plan->ncolumns; c++)
		whole = whole && plan->columns[c].child == (int64_t) c;
	status = begin_write(sink, NULL, err);
	for (size_t i = 0; status == PST_OK && i < tuples->nrows; i++)
	{
		size_t start = tuples->starts[i];

		status = take_tuple(sink, tuples->bytes.data + start, psti_tuples_end(tuples, i) - start,
							whole, err);
		if (status != PST_OK)
		{
			sink->write_failed = true;
			break;
		}
		sink->rows_verbatim++;
		status = after_row(sink, err);
	}
	return note_failure(sink, status, err);
}

/* --- public ---------------------------------------------------------------------------------- */

pst_status
pst_sink_write(pst_sink *sink, const struct ArrowArray *batch, const int8_t *row_kind,
			   pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	if (sink == NULL)
		return psti_leave(err, &full, psti_fail(&full, PST_ERR_INVALID, "sink is NULL"));
	return psti_leave(err, &full, write_batch(sink, batch, row_kind, NULL, &full));
}

/* The change batch's schema is the sink's: the same names and formats in the same order. */
static pst_status
check_same_schema(const pst_sink *sink, const struct ArrowSchema *schema, pst_error *err)
{
	const struct ArrowSchema *own = &sink->plan->schema;
	bool same = schema == NULL || schema->n_children == own->n_children;

	for (int64_t i = 0; same && schema != NULL && i < own->n_children; i++)
		same = strcmp(schema->children[i]->format, own->children[i]->format) == 0 &&
			   schema->children[i]->name != NULL && own->children[i]->name != NULL &&
			   strcmp(schema->children[i]->name, own->children[i]->name) == 0;
	if (same)
		return PST_OK;
	psti_fail(err, PST_ERR_INVALID, "the change batch has another schema than the sink");
	psti_error_hint(err, "Open a new sink after a schema event.");
	return err->status;
}

pst_status
pst_sink_write_changes(pst_sink *sink, const pst_change_batch *batch, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	if (sink == NULL || batch == NULL)
		return psti_leave(err, &full, psti_fail(&full, PST_ERR_INVALID, "sink or batch is NULL"));
	status = check_same_schema(sink, batch->schema, &full);
	if (status == PST_OK)
		status = write_batch(sink, &batch->array, batch->row_kind, batch->unchanged, &full);
	return psti_leave(err, &full, status);
}

int
pst_sink_due_ms(const pst_sink *sink)
{
	int64_t left;

	if (sink == NULL || sink->live_rows == 0 || sink->interval_ms == 0 || sink->failed ||
		is_half_update(sink) || !may_flush_alone(sink))
		return -1;
	left = sink->due_at - psti_now_ms();
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int) left;
}

pst_status
pst_sink_poll(pst_sink *sink, pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	if (sink == NULL)
		return psti_leave(err, &full, psti_fail(&full, PST_ERR_INVALID, "sink is NULL"));
	if (sink->failed)
		return psti_leave(err, &sink->last_error, sink->last_error.status);
	if (pst_sink_due_ms(sink) != 0)
		return PST_OK;
	return psti_leave(err, &full, flush_all(sink, &full));
}

pst_status
pst_sink_flush(pst_sink *sink, pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	if (sink == NULL)
		return psti_leave(err, &full, psti_fail(&full, PST_ERR_INVALID, "sink is NULL"));
	return psti_leave(err, &full, flush_all(sink, &full));
}

void
pst_sink_discard(pst_sink *sink, int64_t *nrows)
{
	if (nrows != NULL)
		*nrows = sink == NULL ? 0 : sink->live_rows;
	if (sink == NULL)
		return;
	psti_sink_stream_drop(sink);
	psti_rows_reset(&sink->rows);
	sink->live_rows = 0;
	sink->due_at = -1;
	clear_failure(sink);
	memset(&sink->unknown, 0, sizeof(sink->unknown));
	/*
	 * A commit in doubt may still come true. With the progress table the next flush settles it there;
	 * without it the lost server process is ended before anything is written again, unless it cannot
	 * be told from others: then the caller has seen to it.
	 */
	if (sink->progress.table != NULL && !sink->staging)
	{
		sink->progress.resync = sink->progress.resync || sink->in_doubt;
		sink->in_doubt = false;
	}
	else if (sink->zombie.start[0] == '\0' && !sink->staging)
		sink->in_doubt = false;
	/* The position stood for the rows that are forgotten. */
	free(sink->progress.position);
	sink->progress.position = NULL;
	sink->progress.position_dirty = sink->progress.position_late = false;
	sink->progress.marked_rows = 0;
}

pst_status
pst_sink_set_position(pst_sink *sink, const char *position, pst_error *err)
{
	pst_error full;
	char *copy;

	psti_enter(&full);
	if (sink == NULL || position == NULL)
		return psti_leave(err, &full,
						  psti_fail(&full, PST_ERR_INVALID, "sink or position is NULL"));
	if (sink->progress.table == NULL)
	{
		psti_fail(&full, PST_ERR_INVALID, "a position needs the progress table");
		psti_error_hint(&full, "Give sink.progress.schema and sink.progress.job.");
		return psti_leave(err, &full, full.status);
	}
	copy = strdup(position);
	if (copy == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	free(sink->progress.position);
	sink->progress.position = copy;
	sink->progress.position_set = sink->progress.position_dirty = true;
	sink->progress.position_late = sink->in_doubt;
	sink->progress.marked_rows = sink->rows.nrows;
	return PST_OK;
}

pst_status
pst_sink_stored(pst_sink *sink, int64_t *epoch, char **position, pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	if (epoch != NULL)
		*epoch = -1;
	if (position != NULL)
		*position = NULL;
	if (sink == NULL || epoch == NULL || position == NULL)
		return psti_leave(err, &full, psti_fail(&full, PST_ERR_INVALID, "an argument is NULL"));
	*epoch = sink->progress.stored_epoch;
	if (sink->progress.stored_position == NULL)
		return PST_OK;
	*position = strdup(sink->progress.stored_position);
	return *position != NULL ? PST_OK : psti_leave(err, &full, psti_fail_nomem(&full));
}

/* Of the buffered rows: those of a COMMIT that was sent and whose outcome is not known. */
static int64_t
rows_in_doubt(const pst_sink *sink)
{
	bool told = sink->failed && sink->last_error.status == PST_ERR_UNKNOWN_OUTCOME;

	return sink->in_doubt || sink->unknown.status != PST_OK || told ? sink->live_rows : 0;
}

void
pst_sink_get_stats(const pst_sink *sink, pst_sink_stats *stats)
{
	static const char *const modes[] = {"append", "upsert", "delete", "changelog"};
	pst_sink_stats full = {0};
	size_t size = stats->struct_size;

	full.struct_size = size;
	full.rows_in = sink->rows_in;
	full.rows_buffered = sink->live_rows;
	full.rows_upserted = sink->rows_upserted;
	full.rows_deleted = sink->rows_deleted;
	full.rows_skipped = sink->skip.rows_total;
	full.flushes = sink->flushes;
	full.retries = sink->retries;
	full.bytes_out = sink->bytes_out;
	full.mode = modes[sink->plan->mode];
	full.method = sink->method;
	full.rows_verbatim = sink->rows_verbatim;
	full.rows_in_doubt = rows_in_doubt(sink);
	memcpy(stats, &full, size < sizeof(full) ? size : sizeof(full));
}

/*
 * Rows behind the last position would come again after a restart, which goes on from there: they
 * are dropped before the rest is written. Returns how many.
 */
static int64_t
drop_uncovered(pst_sink *sink)
{
	psti_sink_rows *rows = &sink->rows;
	size_t covered = sink->progress.marked_rows;
	int64_t before = sink->live_rows;

	if (may_flush_alone(sink))
		return 0;
	if (sink->streamed > rows->row[covered].at)
		psti_sink_stream_drop(sink);
	for (size_t i = covered; i < rows->nrows; i++)
		sink->live_rows -= rows->row[i].op != PSTI_OP_DEAD;
	rows->bytes.len = rows->row[covered].at;
	rows->nrows = covered;
	return before - sink->live_rows;
}

pst_status
pst_sink_close(pst_sink *sink, pst_error *err)
{
	pst_error full;
	pst_status status = PST_OK;
	int64_t uncovered = 0;

	psti_enter(&full);
	if (sink == NULL)
		return PST_OK;
	/* What was staged and not prepared belongs to no epoch: nobody could commit it. */
	if (sink->staging && !sink->failed)
		psti_sink_forget_rows(sink);
	if (!sink->failed && !pst_canceller_thrown(sink->hooks.canceller))
	{
		uncovered = drop_uncovered(sink);
		status = flush_all(sink, &full);
	}
	else if (sink->live_rows > 0)
	{
		full = sink->last_error;
		if (!sink->failed)
			psti_fail_sqlstate(&full, "57014", "closing the sink: cancelled by the caller");
		status = full.status;
	}
	/* Of rows in doubt nobody can say that they were not written. */
	if (status < 0 && rows_in_doubt(sink) == 0)
		psti_error_prefix(&full, "%" PRId64 " buffered rows were not written",
						  sink->live_rows + uncovered);
	else if (uncovered > 0)
	{
		status = psti_fail(&full, PST_ERR_STATE,
						   "%" PRId64 " rows behind the last position were not written", uncovered);
		psti_error_hint(&full, "Set the position behind the last row, or flush, before closing.");
	}
	psti_sink_stream_drop(sink);
	sink_free(sink);
	return psti_leave(err, &full, status);
}
