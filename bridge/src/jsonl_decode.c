/*
 * jsonl_decode.c - json lines, one object a line, into batches of texts.
 *
 * A key that a line lacks is not written: its cell is absent (pst_decoder_unchanged). The schema is
 * fixed by the first batch: it has the keys that were met and, unless the input has ended by then,
 * every other column that may simply be written, since a later line may name it.
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "jsonl_value.h"
#include "record_input.h"
#include "text_batch.h"

typedef struct json_decoder
{
	char *kind_column;	 /* owned; NULL: none */
	psti_target *target; /* owned: describe's columns, else the keys of the first batch */
	bool described;
	psti_record_input in;
	psti_text_batch batch; /* one column for each of the target */
	bool *named;		   /* owned, one a column: a line of the first batch named it */
	bool fixed;			   /* the schema is: order is known */
	size_t *order;		   /* owned: the target's columns that are in the schema */
	size_t norder;
	bool *in_schema;  /* owned, one a column */
	psti_buf key;	  /* the key being read, when it has escapes */
	uint8_t **absent; /* owned, norder bitmaps of the last batch */
	bool any_absent;
	int8_t *kinds; /* owned: of the last batch */
	bool ended;
	pst_status failed; /* a failure stays */
	pst_error error;   /* … with its error */
} json_decoder;

/* Puts line and column before an error; at points into the present line. */
static void
place_error(const json_decoder *json, const char *at, pst_error *err)
{
	psti_error_prefix(err, "line %lld, column %lld", (long long) json->in.line,
					  (long long) (at - psti_record_begin(&json->in)) + 1);
	err->row = json->in.record;
}

static pst_status
fail_at(const json_decoder *json, const char *at, const char *problem, pst_error *err)
{
	psti_fail(err, PST_ERR_DATA, "%s", problem);
	place_error(json, at, err);
	return PST_ERR_DATA;
}

/* What the scanner, or a value's own text of the problem, says. */
static pst_status
fail_scan(const json_decoder *json, const psti_jsonscan *scan, pst_error *err)
{
	if (err->message[0] == '\0')
		return fail_at(json, scan->at, scan->problem != NULL ? scan->problem : "not json", err);
	place_error(json, scan->at, err);
	return err->status;
}

/* A further column of a target that nothing describes. */
static pst_status
add_column(json_decoder *json, const char *name, size_t nbytes, pst_error *err)
{
	size_t n = json->target->ncolumns;
	bool *named = realloc(json->named, (n + 1) * sizeof(*named));
	pst_status status;

	if (named == NULL)
		return psti_fail_nomem(err);
	json->named = named;
	named[n] = false;
	/* The batch first: it may have a column more than the target, but never one less. */
	status = psti_text_batch_add(&json->batch, err);
	return status == PST_OK ? psti_target_add(json->target, name, nbytes, err) : status;
}

/* A key that no column has. */
static pst_status
unknown_key(const json_decoder *json, const char *at, const char *name, pst_error *err)
{
	psti_target_unknown(json->target, name, err);
	if (!json->described)
		psti_error_hint(err, "Without a target the columns are the keys of the first %d lines.",
						PSTI_TEXT_BATCH_ROWS);
	place_error(json, at, err);
	return err->status;
}

static pst_status
late_key(const json_decoder *json, const char *at, const char *name, pst_error *err)
{
	psti_fail(err, PST_ERR_DATA, "column \"%s\" was in none of the lines before", name);
	psti_error_detail(err,
					  "It is generated, always an identity, or not writable for the role: such "
					  "a column is taken only when a line among the first %d names it.",
					  PSTI_TEXT_BATCH_ROWS);
	PSTI_ERROR_SET(err, column, name);
	place_error(json, at, err);
	return PST_ERR_DATA;
}

/* The column of a key, which begins at `at`; adds it where keys make the columns. */
static pst_status
column_of(json_decoder *json, const char *at, const char *name, size_t nbytes, size_t guess,
		  size_t *column, pst_error *err)
{
	int64_t found = psti_target_find(json->target, name, nbytes, guess);
	char text[256];
	pst_status status;

	if (found < 0 && !json->described && !json->fixed)
	{
		status = add_column(json, name, nbytes, err);
		if (status != PST_OK)
			return status;
		found = (int64_t) json->target->ncolumns - 1;
	}
	if (found >= 0 && (!json->fixed || json->in_schema[found]))
	{
		*column = (size_t) found;
		return PST_OK;
	}
	psti_error_copy(text, nbytes < sizeof(text) ? nbytes + 1 : sizeof(text), name);
	return found < 0 ? unknown_key(json, at, text, err) : late_key(json, at, text, err);
}

/* The key whose quote is next: *name is in the line, or in json->key when it has escapes. */
static pst_status
take_key(json_decoder *json, psti_jsonscan *scan, const char **name, size_t *nbytes, pst_error *err)
{
	const char *start;

	if (psti_jsonscan_peek(scan) != PSTI_JSON_STRING)
		return fail_at(json, scan->at, "a key in double quotes is missing", err);
	start = scan->at + 1;
	if (!psti_jsonscan_string(scan, NULL))
		return fail_scan(json, scan, err);
	*name = start;
	*nbytes = (size_t) (scan->at - start) - 1;
	if (memchr(start, '\\', *nbytes) != NULL)
	{
		psti_buf_reset(&json->key);
		psti_buf_puts(&json->key, "");
		scan->at = start - 1;
		if (!psti_jsonscan_string(scan, &json->key))
			return fail_scan(json, scan, err);
		*name = json->key.data;
		*nbytes = json->key.len;
	}
	if (!psti_jsonscan_take(scan, ':'))
		return fail_at(json, scan->at, "a colon is missing after a key", err);
	return psti_buf_check(&json->key, err);
}

static pst_status
take_kind(json_decoder *json, psti_jsonscan *scan, int8_t *kind, pst_error *err)
{
	psti_json_kind is = psti_jsonscan_peek(scan);
	const char *at = scan->at;

	psti_buf_reset(&json->key);
	psti_buf_puts(&json->key, "");
	if (is == PSTI_JSON_NULL && psti_jsonscan_value(scan, NULL, NULL))
	{
		*kind = PST_ROW_INSERT;
		return PST_OK;
	}
	if (is != PSTI_JSON_STRING)
		return fail_at(json, at, "a row kind is not a string", err);
	if (!psti_jsonscan_string(scan, &json->key))
		return fail_scan(json, scan, err);
	if (json->key.failed)
		return psti_fail_nomem(err);
	*kind = psti_row_kind(json->key.data, json->key.len);
	if (*kind >= 0)
		return PST_OK;
	psti_fail(err, PST_ERR_DATA, "row kind \"%.100s\" is none of +I, -U, +U and -D",
			  json->key.data);
	PSTI_ERROR_SET(err, column, json->kind_column);
	place_error(json, at, err);
	return PST_ERR_DATA;
}

static pst_status
take_value(json_decoder *json, psti_jsonscan *scan, size_t column, pst_error *err)
{
	const psti_target_type *type = &json->target->columns[column].type;
	psti_buf *cell = psti_text_batch_cell(&json->batch, column);
	psti_json_kind kind = psti_jsonscan_peek(scan);
	bool good;

	if (kind == PSTI_JSON_NULL)
	{
		good = psti_jsonscan_value(scan, NULL, NULL);
		if (good)
			psti_text_batch_null(&json->batch, column);
	}
	else
	{
		good = kind != PSTI_JSON_BAD && psti_jsonl_value(scan, type, cell, err);
		if (cell->failed)
			return psti_fail_nomem(err);
		if (good)
			psti_text_batch_done(&json->batch, column);
	}
	if (good)
		return PST_OK;
	fail_scan(json, scan, err);
	PSTI_ERROR_SET(err, column, type->name);
	return err->status;
}

static bool
is_kind_column(const json_decoder *json, const char *name, size_t nbytes)
{
	return json->kind_column != NULL && strlen(json->kind_column) == nbytes &&
		   memcmp(json->kind_column, name, nbytes) == 0;
}

/* One "key":value. */
static pst_status
take_member(json_decoder *json, psti_jsonscan *scan, size_t *guess, int8_t *kind, pst_error *err)
{
	const char *name = NULL;
	const char *at;
	size_t nbytes = 0;
	size_t column = 0;
	pst_status status;

	psti_jsonscan_peek(scan);
	at = scan->at;
	status = take_key(json, scan, &name, &nbytes, err);
	if (status != PST_OK)
		return status;
	if (is_kind_column(json, name, nbytes))
		return *kind < 0 ? take_kind(json, scan, kind, err)
						 : fail_at(json, at, "a key stands twice in an object", err);
	status = column_of(json, at, name, nbytes, *guess, &column, err);
	if (status != PST_OK)
		return status;
	if (psti_text_batch_has(&json->batch, column))
		return fail_at(json, at, "a key stands twice in an object", err);
	json->named[column] = true;
	*guess = column + 1;
	return take_value(json, scan, column, err);
}

/* A line that holds an object, into the batch's next row. */
static pst_status
take_line(json_decoder *json, size_t length, pst_error *err)
{
	const char *begin = psti_record_begin(&json->in);
	psti_jsonscan scan = {begin, begin + length, NULL};
	size_t guess = 0;
	int8_t kind = -1;
	bool first = true;
	pst_status status = psti_text_batch_reserve(&json->batch, err);

	if (status != PST_OK)
		return status;
	if (!psti_jsonscan_take(&scan, '{'))
	{
		fail_at(json, scan.at, "a line does not begin with a json object", err);
		if (psti_jsonscan_take(&scan, '['))
			psti_error_hint(err,
							"Each line holds one object; jq -c '.[]' makes lines of an array.");
		return err->status;
	}
	while (!psti_jsonscan_take(&scan, '}'))
	{
		if (psti_jsonscan_done(&scan))
		{
			fail_at(json, scan.at, "the object does not end on its line", err);
			psti_error_hint(err, "Each line holds one whole object; jq -c . makes them so.");
			return PST_ERR_DATA;
		}
		if (!first && !psti_jsonscan_take(&scan, ','))
			return fail_at(json, scan.at, "a comma or the closing brace is missing", err);
		first = false;
		status = take_member(json, &scan, &guess, &kind, err);
		if (status != PST_OK)
			return status;
	}
	if (!psti_jsonscan_done(&scan))
		return fail_at(json, scan.at, "something follows the object on its line", err);
	status = psti_text_batch_row(&json->batch, kind < 0 ? PST_ROW_INSERT : kind, err);
	if (status == PST_ERR_DATA)
		place_error(json, begin, err);
	return status;
}

/* The next line: its length without the line feed; *consumed with it. */
static pst_status
next_line(json_decoder *json, size_t *length, size_t *consumed, pst_error *err)
{
	psti_record_input *in = &json->in;

	while (true)
	{
		size_t have = psti_record_have(in);
		const char *begin = have > 0 ? psti_record_begin(in) : NULL;
		const char *found =
			have > in->scanned ? memchr(begin + in->scanned, '\n', have - in->scanned) : NULL;
		pst_status status;

		if (found != NULL)
		{
			*length = (size_t) (found - begin);
			*consumed = *length + 1;
			return PST_OK;
		}
		in->scanned = have;
		status = psti_record_more(in, err);
		if (status == PST_END && psti_record_have(in) == have)
		{
			*length = have;
			*consumed = have;
			return have > 0 ? PST_OK : PST_END;
		}
		if (status != PST_OK && status != PST_END)
			return status;
	}
}

static pst_status
decode_line(json_decoder *json, pst_error *err)
{
	size_t length = 0;
	size_t consumed = 0;
	psti_jsonscan scan;
	pst_status status = next_line(json, &length, &consumed, err);

	if (status != PST_OK)
		return status;
	scan =
		(psti_jsonscan){psti_record_begin(&json->in), psti_record_begin(&json->in) + length, NULL};
	if (psti_jsonscan_done(&scan))
	{
		/* A blank line is no record. */
		psti_record_next(&json->in, consumed, 1);
		json->in.record--;
		return PST_OK;
	}
	status = psti_record_utf8(&json->in, length, err);
	if (status == PST_OK)
		status = take_line(json, length, err);
	if (status == PST_OK)
		psti_record_next(&json->in, consumed, 1);
	else
		psti_text_batch_undo(&json->batch);
	return status;
}

/* Which columns the schema has, when the first batch is there. */
static pst_status
fix_schema(json_decoder *json, pst_error *err)
{
	size_t n = json->target->ncolumns;
	size_t nnamed = 0;

	free(json->order);
	free(json->in_schema);
	free(json->absent);
	json->order = calloc(n + 1, sizeof(*json->order));
	json->in_schema = calloc(n + 1, sizeof(*json->in_schema));
	json->absent = calloc(n + 1, sizeof(*json->absent));
	if (json->order == NULL || json->in_schema == NULL || json->absent == NULL)
		return psti_fail_nomem(err);
	for (size_t c = 0; c < n; c++)
		nnamed += json->named[c];
	for (size_t c = 0; c < n; c++)
	{
		bool later = !json->ended || nnamed == 0;

		json->in_schema[c] = json->named[c] || (later && json->target->columns[c].writable);
		if (json->in_schema[c])
			json->order[json->norder++] = c;
	}
	json->fixed = true;
	return PST_OK;
}

/* Decodes until the batch is full, the input pauses or ends, or something is wrong. */
static pst_status
fill(json_decoder *json)
{
	pst_status status = json->failed;

	while (status == PST_OK && !json->ended && !psti_text_batch_full(&json->batch))
		status = decode_line(json, &json->error);
	if (status == PST_END)
		json->ended = true;
	if (status < 0)
		json->failed = status;
	else if (!json->fixed && (json->batch.nrows > 0 || json->ended))
	{
		status = fix_schema(json, &json->error);
		if (status < 0)
			json->failed = status;
	}
	return status;
}

static void
forget_last(json_decoder *json)
{
	for (size_t i = 0; json->absent != NULL && i < json->norder; i++)
	{
		free(json->absent[i]);
		json->absent[i] = NULL;
	}
	json->any_absent = false;
	free(json->kinds);
	json->kinds = NULL;
}

static pst_status
json_next(void *self, struct ArrowArray *out, const int8_t **row_kind, pst_error *err)
{
	json_decoder *json = self;
	pst_status status;

	forget_last(json);
	fill(json);
	/* The rows before a bad line come first; a failure in the very first batch has no schema yet. */
	if (json->batch.nrows > 0 && !json->fixed && fix_schema(json, &json->error) != PST_OK)
		json->failed = json->error.status;
	if (json->batch.nrows > 0 && json->fixed)
	{
		status = psti_text_batch_take(&json->batch, json->order, json->norder, out, json->absent,
									  &json->kinds, err);
		for (size_t i = 0; status == PST_OK && i < json->norder; i++)
			json->any_absent |= json->absent[i] != NULL;
		*row_kind = json->kinds;
		return status;
	}
	if (json->failed != PST_OK)
	{
		*err = json->error;
		return json->failed;
	}
	return json->ended ? PST_END : PST_AGAIN;
}

static pst_status
json_schema(void *self, struct ArrowSchema *out, pst_error *err)
{
	json_decoder *json = self;
	pst_status status;

	if (!json->fixed)
		fill(json);
	if (!json->fixed && json->batch.nrows > 0 && fix_schema(json, &json->error) != PST_OK)
		json->failed = json->error.status;
	if (!json->fixed)
	{
		if (json->failed != PST_OK)
			*err = json->error;
		return json->failed != PST_OK ? json->failed : PST_AGAIN;
	}
	status = psti_schema_init(out, "+s", "", false, (int64_t) json->norder, err);
	for (size_t i = 0; status == PST_OK && i < json->norder; i++)
		status = psti_schema_init(out->children[i], "u",
								  json->target->columns[json->order[i]].type.name, true, 0, err);
	if (status != PST_OK)
		psti_schema_release(out);
	return status;
}

static const uint8_t *const *
json_unchanged(const void *self)
{
	const json_decoder *json = self;

	return json->any_absent ? (const uint8_t *const *) json->absent : NULL;
}

static void
json_free(void *self)
{
	json_decoder *json = self;

	forget_last(json);
	free(json->absent);
	free(json->order);
	free(json->in_schema);
	free(json->named);
	free(json->kind_column);
	psti_buf_free(&json->key);
	psti_record_input_free(&json->in);
	psti_text_batch_free(&json->batch);
	psti_target_free(json->target);
	free(json);
}

static const psti_decoder_ops json_ops = {json_schema, json_next, json_free, json_unchanged};

static pst_status
json_init(json_decoder *json, const psti_options *options, const char *describe,
		  const psti_input *input, pst_error *err)
{
	const char *kind_column = psti_opt_text(options, PSTI_OPT_ROW_KIND_COLUMN);
	pst_status status;

	psti_record_input_init(&json->in, input);
	psti_enter(&json->error);
	json->kind_column = kind_column != NULL ? strdup(kind_column) : NULL;
	if (kind_column != NULL && json->kind_column == NULL)
		return psti_fail_nomem(err);
	json->described = describe != NULL;
	status = json->described ? psti_target_parse(describe, &json->target, err)
							 : psti_target_new(&json->target, err);
	if (status != PST_OK)
		return status;
	json->named = calloc(json->target->ncolumns + 1, sizeof(*json->named));
	if (json->named == NULL)
		return psti_fail_nomem(err);
	return psti_text_batch_init(&json->batch, json->target->ncolumns, kind_column != NULL, err);
}

pst_status
psti_json_decoder(const psti_options *options, const char *describe, const psti_input *input,
				  void **self, const psti_decoder_ops **ops, pst_error *err)
{
	json_decoder *json = calloc(1, sizeof(*json));
	pst_status status =
		json != NULL ? json_init(json, options, describe, input, err) : psti_fail_nomem(err);

	*self = NULL;
	if (status == PST_OK)
	{
		*self = json;
		*ops = &json_ops;
	}
	else if (json != NULL)
		json_free(json);
	return status;
}
