/*
 * codec_debezium.c - events of a change capture as lines of Debezium's value envelope (docs/cdc.md).
 *
 * A column whose value the change does not carry is left out of its row; those left out of the new row are
 * listed in source.unchanged. An update that changes the key is a delete of the old key and an insert of
 * the new row: so Debezium tells it, and who keeps rows by their key would keep the old one otherwise.
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "debezium_value.h"
#include "pgtext.h"

/* The option truncate. */
typedef enum truncate_rule
{
	TRUNCATE_EMIT,
	TRUNCATE_SKIP,
	TRUNCATE_FAIL
} truncate_rule;

typedef struct debezium_column
{
	psti_debezium_column value;
	bool key;
	size_t
		name; /* where its name, a json string and a colon, begins in names; it ends at the next */
} debezium_column;

typedef struct debezium_encoder
{
	struct ArrowSchema schema; /* owned */
	debezium_column *columns;  /* owned, one a child of the schema and one behind */
	psti_buf names;
	psti_buf source; /* of the event: the block's members that all its lines share */
	psti_buf after;	 /* of a row whose key may have changed: each side's key, to compare */
	psti_buf before;
	int64_t now_ms; /* when the event was given */
	truncate_rule truncate;
	bool lists_key; /* a schema event has told which columns are the key */
} debezium_encoder;

/* What of a line is not in its rows. */
typedef struct change
{
	const char *snapshot; /* "true", "false", "reset" */
	bool has_ts, has_xid, has_lsn, has_commit, has_sequence;
	int64_t ts; /* microseconds since 1970 */
	uint64_t xid;
	uint64_t lsn;
	uint64_t commit_lsn;
	uint64_t sequence;
	const char *origin;
} change;

static pst_status
debezium_nothing(void *self, psti_buf *out, pst_error *err)
{
	(void) self;
	(void) out;
	(void) err;
	return PST_OK;
}

/* ---- The source block ---- */

static void
put_text(const char *text, psti_buf *out)
{
	psti_json_string(text != NULL ? text : "", text != NULL ? strlen(text) : 0, out);
}

static void
put_uint(const char *key, uint64_t value, psti_buf *out)
{
	char text[PSTI_TEXT_MAX];

	psti_buf_put(out, key, strlen(key));
	psti_buf_put(out, text, psti_text_uint64(value, text));
}

static void
put_int(const char *key, int64_t value, psti_buf *out)
{
	char text[PSTI_TEXT_MAX];

	psti_buf_put(out, key, strlen(key));
	psti_buf_put(out, text, psti_text_int64(value, text));
}

static int64_t
milliseconds(int64_t us)
{
	return us / 1000 - (us % 1000 < 0 ? 1 : 0);
}

static void
begin_event(debezium_encoder *self, const char *database, const char *schema, const char *table)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	self->now_ms = (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
	psti_buf_reset(&self->source);
	psti_buf_printf(
		&self->source,
		"\"source\":{\"version\":\"%s\",\"connector\":\"postgresql\",\"name\":\"penstock\","
		"\"db\":",
		pst_version());
	put_text(database, &self->source);
	psti_buf_puts(&self->source, ",\"schema\":");
	put_text(schema, &self->source);
	psti_buf_puts(&self->source, ",\"table\":");
	put_text(table, &self->source);
}

/*
 * The block from its key to its end but for the brace. sequence is Debezium's: a json array of texts in a
 * string, which grow from one change to the next.
 */
static void
put_source(const debezium_encoder *self, const change *c, psti_buf *out)
{
	psti_buf_put(out, self->source.data, self->source.len);
	put_int(",\"ts_ms\":", c->has_ts ? milliseconds(c->ts) : self->now_ms, out);
	psti_buf_puts(out, ",\"snapshot\":\"");
	psti_buf_puts(out, c->snapshot);
	psti_buf_putc(out, '"');
	if (c->has_xid)
		put_uint(",\"txId\":", c->xid, out);
	if (c->has_lsn)
		put_uint(",\"lsn\":", c->lsn, out);
	if (c->has_commit && c->has_lsn)
	{
		put_uint(",\"sequence\":\"[\\\"", c->commit_lsn, out);
		put_uint("\\\",\\\"", c->lsn, out);
		psti_buf_put(out, "\\\"]\"", 4);
	}
	if (c->has_commit)
		put_uint(",\"commit_lsn\":", c->commit_lsn, out);
	if (c->has_sequence)
		put_uint(",\"seq\":", c->sequence, out);
	if (c->origin != NULL)
	{
		psti_buf_puts(out, ",\"origin\":");
		put_text(c->origin, out);
	}
}

/* The end of a line, from the source's brace on. */
static void
put_end(const debezium_encoder *self, char op, psti_buf *out)
{
	static const char closing[] = "},\"op\":\"?\",\"ts_ms\":";

	psti_buf_put(out, closing, sizeof(closing) - 1);
	if (!out->failed)
		out->data[out->len - (sizeof("?\",\"ts_ms\":") - 1)] = op;
	put_int("", self->now_ms, out);
	psti_buf_put(out, "}\n", 2);
}

/* ---- Rows ---- */

static bool
is_unchanged(const pst_change_batch *rows, int64_t column, int64_t row)
{
	return rows->unchanged != NULL && rows->unchanged[column] != NULL &&
		   psti_bit_get(rows->unchanged[column], row);
}

/* A row as an object of the columns that it has. */
static pst_status
put_row(const debezium_encoder *self, const pst_change_batch *rows, int64_t row, psti_buf *out,
		pst_error *err)
{
	bool first = true;

	psti_buf_putc(out, '{');
	for (int64_t c = 0; c < self->schema.n_children; c++)
	{
		const debezium_column *column = &self->columns[c];
		pst_status status;

		if (is_unchanged(rows, c, row))
			continue;
		if (!first)
			psti_buf_putc(out, ',');
		first = false;
		psti_buf_put(out, self->names.data + column->name, column[1].name - column->name);
		status = psti_debezium_value(&column->value, rows->array.children[c],
									 row + rows->array.offset, out, err);
		if (status != PST_OK)
		{
			err->row = row;
			return status;
		}
	}
	psti_buf_putc(out, '}');
	return PST_OK;
}

/* Columns that a new row lacks, within the source block. */
static void
put_unchanged(const debezium_encoder *self, const pst_change_batch *rows, int64_t row,
			  psti_buf *out)
{
	bool first = true;

	for (int64_t c = 0; rows->unchanged != NULL && c < self->schema.n_children; c++)
	{
		const debezium_column *column = &self->columns[c];

		if (!is_unchanged(rows, c, row))
			continue;
		psti_buf_puts(out, first ? ",\"unchanged\":[" : ",");
		/* The name without its colon. */
		psti_buf_put(out, self->names.data + column->name, column[1].name - column->name - 1);
		first = false;
	}
	if (!first)
		psti_buf_putc(out, ']');
}

/* What the batch knows of a row. */
static change
change_of_row(const pst_change_batch *rows, int64_t row)
{
	change c = {.snapshot = rows->snapshot ? "true" : "false", .origin = rows->origin};

	c.has_ts = rows->op_ts != NULL;
	c.ts = c.has_ts ? rows->op_ts[row] : 0;
	c.has_xid = rows->xid != NULL;
	c.xid = c.has_xid ? rows->xid[row] : 0;
	c.has_lsn = rows->lsn != NULL;
	c.lsn = c.has_lsn ? rows->lsn[row] : 0;
	c.has_commit = rows->commit_lsn != NULL;
	c.commit_lsn = c.has_commit ? rows->commit_lsn[row] : 0;
	c.has_sequence = rows->sequence != NULL;
	c.sequence = c.has_sequence ? rows->sequence[row] : 0;
	return c;
}

/* A line: rows before and after by number, -1 for null. */
static pst_status
put_line(const debezium_encoder *self, const pst_change_batch *rows, char op, int64_t before,
		 int64_t after, psti_buf *out, pst_error *err)
{
	change c = change_of_row(rows, after >= 0 ? after : before);
	pst_status status = PST_OK;

	psti_buf_put(out, "{\"before\":", 10);
	if (before >= 0)
		status = put_row(self, rows, before, out, err);
	else
		psti_buf_put(out, "null", 4);
	psti_buf_put(out, ",\"after\":", 9);
	if (status == PST_OK && after >= 0)
		status = put_row(self, rows, after, out, err);
	else
		psti_buf_put(out, "null", 4);
	psti_buf_putc(out, ',');
	put_source(self, &c, out);
	if (after >= 0)
		put_unchanged(self, rows, after, out);
	put_end(self, op, out);
	return status;
}

/* ---- Updates ---- */

/* Whether two rows have different values in the key. */
static pst_status
compare_keys(debezium_encoder *self, const pst_change_batch *rows, int64_t before, int64_t after,
			 bool *differ, pst_error *err)
{
	pst_status status = PST_OK;

	for (int64_t c = 0; c < self->schema.n_children && !*differ && status == PST_OK; c++)
	{
		const psti_debezium_column *column = &self->columns[c].value;

		if (!self->columns[c].key || is_unchanged(rows, c, before) || is_unchanged(rows, c, after))
			continue;
		psti_buf_reset(&self->before);
		psti_buf_reset(&self->after);
		status = psti_debezium_value(column, rows->array.children[c], before + rows->array.offset,
									 &self->before, err);
		if (status == PST_OK)
			status = psti_debezium_value(column, rows->array.children[c],
										 after + rows->array.offset, &self->after, err);
		if (status == PST_OK)
			status = psti_buf_check(&self->before, err);
		if (status == PST_OK)
			status = psti_buf_check(&self->after, err);
		if (status == PST_OK)
			*differ = self->before.len != self->after.len ||
					  memcmp(self->before.data, self->after.data, self->before.len) != 0;
	}
	return status;
}

/* An old row that lacks values is that of a key that has changed: else nothing is told of it. */
static bool
is_key_alone(const debezium_encoder *self, const pst_change_batch *rows, int64_t before)
{
	for (int64_t c = 0; c < self->schema.n_children; c++)
		if (is_unchanged(rows, c, before))
			return true;
	return false;
}

static pst_status
put_update(debezium_encoder *self, const pst_change_batch *rows, int64_t before, psti_buf *out,
		   pst_error *err)
{
	bool moved = is_key_alone(self, rows, before);
	pst_status status = PST_OK;

	if (!moved && self->lists_key)
		status = compare_keys(self, rows, before, before + 1, &moved, err);
	if (status != PST_OK)
		return status;
	if (!moved)
		return put_line(self, rows, 'u', before, before + 1, out, err);
	status = put_line(self, rows, 'd', before, -1, out, err);
	return status == PST_OK ? put_line(self, rows, 'c', -1, before + 1, out, err) : status;
}

static pst_status
lonely_row(int64_t row, pst_error *err)
{
	psti_fail(err, PST_ERR_INVALID, "the old row of an update is not followed by its new one");
	err->row = row;
	return PST_ERR_INVALID;
}

static pst_status
put_rows(debezium_encoder *self, const pst_change_batch *rows, psti_buf *out, pst_error *err)
{
	pst_status status = PST_OK;

	for (int64_t row = 0; row < rows->array.length && status == PST_OK; row++)
	{
		int8_t kind = rows->row_kind != NULL ? rows->row_kind[row] : PST_ROW_INSERT;

		switch (kind)
		{
			case PST_ROW_INSERT:
				status = put_line(self, rows, rows->snapshot ? 'r' : 'c', -1, row, out, err);
				break;
			case PST_ROW_UPDATE_BEFORE:
				if (row + 1 == rows->array.length ||
					rows->row_kind[row + 1] != PST_ROW_UPDATE_AFTER)
					return lonely_row(row, err);
				status = put_update(self, rows, row++, out, err);
				break;
			case PST_ROW_UPDATE_AFTER:
				status = put_line(self, rows, 'u', -1, row, out, err);
				break;
			case PST_ROW_DELETE:
				status = put_line(self, rows, 'd', row, -1, out, err);
				break;
			default:
				return psti_fail(err, PST_ERR_INVALID, "%d is no kind of a row", kind);
		}
		if (out->failed)
			return psti_fail_nomem(err);
	}
	return status;
}

/* ---- Other events ---- */

static change
change_of_event(const pst_event *event, const char *snapshot)
{
	return (change){.snapshot = snapshot,
					.has_ts = event->op_ts != 0,
					.ts = event->op_ts,
					.has_xid = event->xid != 0,
					.xid = event->xid,
					.has_lsn = event->lsn != 0,
					.lsn = event->lsn,
					.has_commit = event->commit_lsn != 0,
					.commit_lsn = event->commit_lsn,
					.has_sequence = event->sequence != 0,
					.sequence = event->sequence};
}

/* A table that is empty from here on: truncated, or to be told anew. */
static pst_status
put_emptied(const debezium_encoder *self, const pst_event *event, psti_buf *out, pst_error *err)
{
	bool reset = event->kind == PST_EVENT_RESET;
	change c = change_of_event(event, reset ? "reset" : "false");

	if (self->truncate == TRUNCATE_SKIP)
		return PST_OK;
	if (self->truncate == TRUNCATE_FAIL)
	{
		psti_fail(err, PST_ERR_UNSUPPORTED, "table %s.%s %s, and truncate = fail",
				  event->schema_name, event->table,
				  reset ? "has to be read anew" : "was truncated");
		if (reset && event->reason != NULL)
			psti_error_detail(err, "%s", event->reason);
		psti_error_hint(err,
						"With truncate = emit a line of op t tells it, with skip nothing does.");
		return PST_ERR_UNSUPPORTED;
	}
	psti_buf_puts(out, "{\"before\":null,\"after\":null,");
	put_source(self, &c, out);
	put_end(self, 't', out);
	return PST_OK;
}

static void
put_message(const debezium_encoder *self, const pst_event *event, psti_buf *out)
{
	change c = change_of_event(event, "false");

	psti_buf_puts(out, "{\"before\":null,\"after\":null,\"message\":{\"prefix\":");
	put_text(event->prefix, out);
	psti_buf_puts(out, ",\"content\":");
	psti_debezium_base64(event->content, event->content_bytes, out);
	psti_buf_puts(out, "},");
	put_source(self, &c, out);
	put_end(self, 'm', out);
}

/* Which columns are the key. */
static void
learn_key(debezium_encoder *self, const char *const *key)
{
	self->lists_key = key != NULL && key[0] != NULL;
	for (int64_t c = 0; c < self->schema.n_children; c++)
	{
		self->columns[c].key = false;
		for (size_t k = 0; key != NULL && key[k] != NULL; k++)
			if (strcmp(key[k], self->schema.children[c]->name) == 0)
				self->columns[c].key = true;
	}
}

static pst_status
debezium_event(void *encoder, const pst_event *event, psti_buf *out, pst_error *err)
{
	debezium_encoder *self = encoder;
	const pst_change_batch *rows = &event->rows;

	switch (event->kind)
	{
		case PST_EVENT_ROWS:
			begin_event(self, rows->database != NULL ? rows->database : event->database,
						rows->schema_name != NULL ? rows->schema_name : event->schema_name,
						rows->table != NULL ? rows->table : event->table);
			return self->source.failed ? psti_fail_nomem(err) : put_rows(self, rows, out, err);
		case PST_EVENT_TRUNCATE:
		case PST_EVENT_RESET:
			begin_event(self, event->database, event->schema_name, event->table);
			return self->source.failed ? psti_fail_nomem(err) : put_emptied(self, event, out, err);
		case PST_EVENT_MESSAGE:
			begin_event(self, event->database, NULL, NULL);
			if (self->source.failed)
				return psti_fail_nomem(err);
			put_message(self, event, out);
			return PST_OK;
		case PST_EVENT_SCHEMA:
			learn_key(self, event->key);
			return PST_OK;
		default:
			return PST_OK;
	}
}

/* ---- Making one ---- */

static void
debezium_free(void *encoder)
{
	debezium_encoder *self = encoder;

	psti_schema_release(&self->schema);
	free(self->columns);
	psti_buf_free(&self->names);
	psti_buf_free(&self->source);
	psti_buf_free(&self->before);
	psti_buf_free(&self->after);
	free(self);
}

static const psti_encoder_ops debezium_ops = {.begin = debezium_nothing,
											  .end = debezium_nothing,
											  .free = debezium_free,
											  .event = debezium_event};

static pst_status
debezium_init(debezium_encoder *self, const psti_options *options, const struct ArrowSchema *schema,
			  pst_error *err)
{
	bool debezium = psti_opt_int(options, PSTI_OPT_JSON_VALUES) == 1;
	pst_status status = psti_schema_copy(schema, &self->schema, err);

	if (status != PST_OK)
		return status;
	self->truncate = (truncate_rule) psti_opt_int(options, PSTI_OPT_TRUNCATE);
	self->columns = calloc((size_t) self->schema.n_children + 1, sizeof(*self->columns));
	if (self->columns == NULL)
		return psti_fail_nomem(err);
	for (int64_t c = 0; c < self->schema.n_children; c++)
	{
		const struct ArrowSchema *field = self->schema.children[c];
		debezium_column *column = &self->columns[c];

		psti_debezium_column_init(&column->value, field, debezium);
		put_text(field->name, &self->names);
		psti_buf_putc(&self->names, ':');
		column[1].name = self->names.len;
	}
	return psti_buf_check(&self->names, err);
}

pst_status
psti_debezium_encoder(const psti_options *options, const struct ArrowSchema *schema, void **self,
					  const psti_encoder_ops **ops, pst_error *err)
{
	debezium_encoder *encoder = calloc(1, sizeof(*encoder));
	pst_status status =
		encoder != NULL ? debezium_init(encoder, options, schema, err) : psti_fail_nomem(err);

	*self = NULL;
	if (status == PST_OK)
	{
		*self = encoder;
		*ops = &debezium_ops;
	}
	else if (encoder != NULL)
		debezium_free(encoder);
	return status;
}
