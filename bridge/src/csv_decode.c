/*
 * csv_decode.c - csv as COPY … FROM … (FORMAT csv) reads it, into batches of texts.
 *
 * A record ends at the first line break outside quotes; quotes may begin anywhere in a field. Which
 * line break the input has is seen at its first record, and another one outside quotes is an error:
 * it is more likely a field that lacks its quotes than the end of a record. A line that is just \.
 * ends the data, as for COPY; unlike there, what follows it is not ignored but an error.
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "record_input.h"
#include "target.h"
#include "text_batch.h"

#define KIND_COLUMN SIZE_MAX /* in csv_decoder.fields: holds the row kind */

typedef enum line_end
{
	LINE_END_UNKNOWN,
	LINE_END_NL,
	LINE_END_CR,
	LINE_END_CRNL
} line_end;

typedef struct csv_decoder
{
	psti_csv_dialect dialect;
	char *null;			 /* owned: dialect.null */
	char *kind_column;	 /* owned; NULL: none */
	psti_target *target; /* owned: describe's columns, else the header's */
	bool described;
	psti_record_input in;
	line_end ends;
	bool in_quotes;	  /* state of the search for the record's end, at in.scanned */
	int64_t breaks;	  /* line breaks inside quotes that the search has passed */
	bool have_header; /* fields is known */
	size_t *fields;	  /* owned: the target's column of each field of a record */
	size_t nfields;
	psti_text_batch batch;
	int8_t *kinds; /* owned: of the last batch given out */
	bool ended;
	pst_status failed; /* a failure stays */
	pst_error error;   /* … with its error */
} csv_decoder;

/* A record: its bytes without the line break. */
typedef struct csv_record
{
	const char *begin;
	const char *end;
	size_t consumed; /* bytes with the line break */
	int64_t breaks;	 /* line breaks with its own */
} csv_record;

static const char *const line_end_names[] = {
	[LINE_END_NL] = "line feed",
	[LINE_END_CR] = "carriage return",
	[LINE_END_CRNL] = "carriage return and line feed",
};

/* Which line break stands at `at`, of which `left` bytes are there; UNKNOWN when more must come. */
static line_end
line_end_at(const char *at, size_t left, bool ended)
{
	if (*at == '\n')
		return LINE_END_NL;
	if (left > 1)
		return at[1] == '\n' ? LINE_END_CRNL : LINE_END_CR;
	return ended ? LINE_END_CR : LINE_END_UNKNOWN;
}

static pst_status
other_line_end(const csv_decoder *csv, line_end found, pst_error *err)
{
	psti_record_fail(&csv->in, err, "an unquoted %s, but the first record ended in a %s",
					 line_end_names[found], line_end_names[csv->ends]);
	psti_error_hint(err, "Put the field in quotes if it holds the line break.");
	return PST_ERR_DATA;
}

/*
 * Goes on with the search in what has come: PST_OK with the position of the line break relative to
 * the record's begin, PST_AGAIN when it is not there yet.
 */
static pst_status
search(csv_decoder *csv, size_t *at_byte, line_end *found, pst_error *err)
{
	psti_record_input *in = &csv->in;
	const char *begin = psti_record_begin(in);
	const char *end = begin + psti_record_have(in);
	const char *at = begin + in->scanned;

	while (true)
	{
		if (csv->in_quotes)
			at = psti_csv_find2(at, end, '"', '\n');
		else
			at = psti_csv_find(at, end, '"', '\n', '\r', '"');
		in->scanned = (size_t) (at - begin);
		if (at == end)
			return PST_AGAIN;
		if (*at == '"')
			csv->in_quotes = !csv->in_quotes;
		else if (csv->in_quotes)
			csv->breaks++;
		else
			break;
		at++;
	}
	*found = line_end_at(at, (size_t) (end - at), in->input.ended);
	if (*found == LINE_END_UNKNOWN)
		return PST_AGAIN;
	if (csv->ends == LINE_END_UNKNOWN)
		csv->ends = *found;
	if (*found != csv->ends)
		return other_line_end(csv, *found, err);
	*at_byte = in->scanned;
	return PST_OK;
}

/* The next record; PST_END when there is none, PST_AGAIN when it has not come in full. */
static pst_status
next_record(csv_decoder *csv, csv_record *record, pst_error *err)
{
	psti_record_input *in = &csv->in;
	line_end found = LINE_END_UNKNOWN;
	size_t length = 0;

	while (true)
	{
		pst_status status = PST_AGAIN;

		if (psti_record_have(in) > 0)
			status = search(csv, &length, &found, err);
		if (status == PST_OK)
			break;
		if (status < 0)
			return status;
		if (!in->input.ended)
		{
			status = psti_record_more(in, err);
			if (status != PST_OK && status != PST_END)
				return status;
			continue;
		}
		if (psti_record_have(in) == 0)
			return PST_END;
		if (csv->in_quotes)
			return psti_record_fail(in, err,
									"a quoted field is not closed at the end of the input");
		length = psti_record_have(in);
		break;
	}
	record->begin = psti_record_begin(in);
	record->end = record->begin + length;
	record->consumed = length + (found == LINE_END_UNKNOWN ? 0 : found == LINE_END_CRNL ? 2 : 1);
	record->breaks = csv->breaks + 1;
	return PST_OK;
}

static void
finish_record(csv_decoder *csv, const csv_record *record)
{
	psti_record_next(&csv->in, record->consumed, record->breaks);
	csv->in_quotes = false;
	csv->breaks = 0;
}

/*
 * Takes one field from *at on, appending what it holds to out, and steps behind its delimiter.
 * *more is whether there was one; *quoted whether any part of it stood in quotes.
 */
static const char *
take_field(const csv_decoder *csv, const char *at, const char *end, psti_buf *out, bool *quoted,
		   bool *more)
{
	char delimiter = csv->dialect.delimiter;

	*quoted = false;
	*more = false;
	while (true)
	{
		const char *stop = psti_csv_find2(at, end, delimiter, '"');

		psti_buf_put(out, at, (size_t) (stop - at));
		if (stop == end)
			return end;
		at = stop + 1;
		if (*stop == delimiter)
		{
			*more = true;
			return at;
		}
		*quoted = true;
		/* Inside quotes: the search for the record's end has seen that they are closed. */
		while (true)
		{
			stop = memchr(at, '"', (size_t) (end - at));
			psti_buf_append(out, at, (size_t) (stop - at));
			at = stop + 1;
			if (at == end || *at != '"')
				break;
			psti_buf_putc(out, '"');
			at++;
		}
	}
}

static bool
is_null(const csv_decoder *csv, const char *text, size_t nbytes, bool quoted)
{
	return !quoted && nbytes == csv->dialect.null_len &&
		   memcmp(text, csv->dialect.null, nbytes) == 0;
}

/* A field that holds the row kind. */
static pst_status
take_kind(csv_decoder *csv, const char **at, const char *end, bool *more, int8_t *kind,
		  pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;
	bool quoted;
	pst_status status;

	*at = take_field(csv, *at, end, &text, &quoted, more);
	status = psti_buf_check(&text, err);
	if (status == PST_OK && !is_null(csv, text.data != NULL ? text.data : "", text.len, quoted))
		*kind = psti_row_kind(text.data, text.len);
	if (status == PST_OK && *kind < 0)
	{
		psti_record_fail(&csv->in, err, "row kind \"%s\" is none of +I, -U, +U and -D", text.data);
		PSTI_ERROR_SET(err, column, csv->kind_column);
		status = PST_ERR_DATA;
	}
	psti_buf_free(&text);
	return status;
}

static pst_status
wrong_count(const csv_decoder *csv, size_t found, bool more, pst_error *err)
{
	const char *name = found < csv->nfields && csv->fields[found] != KIND_COLUMN
						   ? csv->target->columns[csv->fields[found]].type.name
						   : csv->kind_column;

	if (more)
		return psti_record_fail(&csv->in, err, "too many fields: more than the %zu columns",
								csv->nfields);
	return psti_record_fail(&csv->in, err, "too few fields: %zu of %zu, none for column \"%s\"",
							found, csv->nfields, name);
}

/* Splits a record into the batch's next row. */
static pst_status
split_record(csv_decoder *csv, const csv_record *record, pst_error *err)
{
	const char *at = record->begin;
	bool more = true;
	int8_t kind = PST_ROW_INSERT;
	size_t column = 0;
	pst_status status = psti_text_batch_reserve(&csv->batch, err);

	for (size_t f = 0; status == PST_OK && f < csv->nfields; f++)
	{
		psti_buf *cell;
		size_t start;
		bool quoted;

		if (!more)
			return wrong_count(csv, f, false, err);
		if (csv->fields[f] == KIND_COLUMN)
		{
			status = take_kind(csv, &at, record->end, &more, &kind, err);
			continue;
		}
		cell = psti_text_batch_cell(&csv->batch, column);
		start = cell->len;
		at = take_field(csv, at, record->end, cell, &quoted, &more);
		if (cell->failed)
			return psti_fail_nomem(err);
		if (is_null(csv, cell->data + start, cell->len - start, quoted))
		{
			cell->len = start;
			psti_text_batch_null(&csv->batch, column);
		}
		else
			psti_text_batch_done(&csv->batch, column);
		column++;
	}
	if (status != PST_OK)
		return status;
	/* A record of no columns is an empty line. */
	if (csv->nfields == 0 ? record->begin < record->end : more)
		return wrong_count(csv, csv->nfields, true, err);
	return psti_text_batch_row(&csv->batch, kind, err);
}

/* A \. line: the end of the data, if nothing follows. */
static pst_status
end_mark(csv_decoder *csv, const csv_record *record, pst_error *err)
{
	pst_status status;

	while (psti_record_have(&csv->in) <= record->consumed)
	{
		status = psti_record_more(&csv->in, err);
		if (status == PST_END)
			return PST_END;
		if (status != PST_OK)
			return status;
	}
	psti_record_fail(&csv->in, err, "the end-of-data mark \\. is followed by more records");
	psti_error_hint(err, "Write \"\\.\" in quotes if it is the value of the field.");
	return PST_ERR_DATA;
}

/* Adds the column of a header's name; the name is consumed. */
static pst_status
add_named(csv_decoder *csv, const char *name, size_t nbytes, pst_error *err)
{
	int64_t column;

	if (csv->kind_column != NULL && strcmp(csv->kind_column, name) == 0)
	{
		csv->fields[csv->nfields++] = KIND_COLUMN;
		return PST_OK;
	}
	column = psti_target_find(csv->target, name, nbytes, csv->nfields);
	if (column < 0 && csv->described)
	{
		psti_target_unknown(csv->target, name, err);
		psti_record_place(&csv->in, err);
		return PST_ERR_NOT_FOUND;
	}
	if (column < 0)
	{
		pst_status status = psti_target_add(csv->target, name, nbytes, err);

		if (status != PST_OK)
			return status;
		column = (int64_t) csv->target->ncolumns - 1;
	}
	csv->fields[csv->nfields++] = (size_t) column;
	return PST_OK;
}

static pst_status
twice_named(const csv_decoder *csv, const char *name, pst_error *err)
{
	psti_record_fail(&csv->in, err, "column \"%s\" is named twice", name);
	PSTI_ERROR_SET(err, column, name);
	return PST_ERR_DATA;
}

/* PostgreSQL has no identifier of length zero; other writers leave an index column unnamed. */
static pst_status
unnamed(const csv_decoder *csv, pst_error *err)
{
	psti_record_fail(&csv->in, err, "column %zu has no name", csv->nfields + 1);
	psti_error_hint(err, "Name the column, or leave it out of the input.");
	return PST_ERR_DATA;
}

/* Whether the last of the fields is among the others; seen has one byte a column and one more. */
static bool
is_repeated(const csv_decoder *csv, uint8_t **seen, size_t *room, pst_status *status,
			pst_error *err)
{
	size_t column = csv->fields[csv->nfields - 1];
	size_t place = column == KIND_COLUMN ? 0 : column + 1;
	bool repeated;

	if (place >= *room)
	{
		size_t more = 2 * place + 64;
		uint8_t *grown = realloc(*seen, more);

		if (grown == NULL)
		{
			*status = psti_fail_nomem(err);
			return false;
		}
		memset(grown + *room, 0, more - *room);
		*seen = grown;
		*room = more;
	}
	repeated = (*seen)[place] != 0;
	(*seen)[place] = 1;
	return repeated;
}

static pst_status
grow_fields(csv_decoder *csv, pst_error *err)
{
	size_t *fields;

	if ((csv->nfields & (csv->nfields - 1)) != 0)
		return PST_OK;
	fields = realloc(csv->fields, (csv->nfields > 0 ? 2 * csv->nfields : 1) * sizeof(*fields));
	if (fields == NULL)
		return psti_fail_nomem(err);
	csv->fields = fields;
	return PST_OK;
}

static pst_status
parse_header(csv_decoder *csv, const csv_record *record, pst_error *err)
{
	const char *at = record->begin;
	psti_buf name = PSTI_BUF_INIT;
	uint8_t *seen = NULL;
	size_t room = 0;
	bool more = record->begin < record->end;
	pst_status status = PST_OK;

	while (status == PST_OK && more)
	{
		bool quoted;

		psti_buf_reset(&name);
		psti_buf_puts(&name, "");
		at = take_field(csv, at, record->end, &name, &quoted, &more);
		status = psti_buf_check(&name, err);
		if (status == PST_OK && name.len == 0)
			status = unnamed(csv, err);
		if (status == PST_OK)
			status = grow_fields(csv, err);
		if (status == PST_OK)
			status = add_named(csv, name.data, name.len, err);
		if (status == PST_OK && is_repeated(csv, &seen, &room, &status, err))
			status = twice_named(csv, name.data, err);
	}
	free(seen);
	psti_buf_free(&name);
	return status;
}

/* Without a header: the columns that COPY writes to when none are named. */
static pst_status
assume_header(csv_decoder *csv, pst_error *err)
{
	csv->fields = calloc(csv->target->ncolumns + 1, sizeof(*csv->fields));
	if (csv->fields == NULL)
		return psti_fail_nomem(err);
	for (size_t c = 0; c < csv->target->ncolumns; c++)
		if (!csv->target->columns[c].generated)
			csv->fields[csv->nfields++] = c;
	return PST_OK;
}

/* Once the fields are known: a batch with a column for each, but for the row kind. */
static pst_status
prepare_batch(csv_decoder *csv, pst_error *err)
{
	size_t nkinds = 0;
	pst_status status;

	for (size_t f = 0; f < csv->nfields; f++)
		if (csv->fields[f] == KIND_COLUMN)
			nkinds++;
	status = psti_text_batch_init(&csv->batch, csv->nfields - nkinds, nkinds > 0, err);
	csv->have_header = status == PST_OK;
	return status;
}

static pst_status
need_header(csv_decoder *csv, pst_error *err)
{
	csv_record record = {0};
	pst_status status;

	if (csv->have_header)
		return PST_OK;
	if (!csv->dialect.header)
	{
		status = assume_header(csv, err);
		return status == PST_OK ? prepare_batch(csv, err) : status;
	}
	csv->in.record = -1;
	status = next_record(csv, &record, err);
	if (status == PST_END)
	{
		psti_fail(err, PST_ERR_DATA,
				  "the input is empty: it lacks the header that names its columns");
		psti_error_hint(err, "With csv.header=false the columns are those of the target.");
		return PST_ERR_DATA;
	}
	if (status == PST_OK)
		status = psti_record_utf8(&csv->in, (size_t) (record.end - record.begin), err);
	if (status == PST_OK)
		status = parse_header(csv, &record, err);
	if (status == PST_OK)
		status = prepare_batch(csv, err);
	if (status == PST_OK)
		finish_record(csv, &record);
	return status;
}

/* The next record into the batch. */
static pst_status
decode_record(csv_decoder *csv, pst_error *err)
{
	csv_record record = {0};
	pst_status status = next_record(csv, &record, err);
	size_t length;

	if (status != PST_OK)
		return status;
	length = (size_t) (record.end - record.begin);
	if (length == 2 && memcmp(record.begin, "\\.", 2) == 0)
		return end_mark(csv, &record, err);
	status = psti_record_utf8(&csv->in, length, err);
	if (status == PST_OK)
		status = split_record(csv, &record, err);
	if (status == PST_OK)
		finish_record(csv, &record);
	else
		psti_text_batch_undo(&csv->batch);
	return status;
}

/* A failure is told at once if no row waits, else after the rows before it were given out. */
static pst_status
csv_next(void *self, struct ArrowArray *out, const int8_t **row_kind, pst_error *err)
{
	csv_decoder *csv = self;
	pst_status status = csv->failed;

	free(csv->kinds);
	csv->kinds = NULL;
	if (status == PST_OK && !csv->ended)
		status = need_header(csv, &csv->error);
	while (status == PST_OK && !csv->ended && !psti_text_batch_full(&csv->batch))
		status = decode_record(csv, &csv->error);
	if (status == PST_END)
		csv->ended = true;
	if (status < 0)
		csv->failed = status;
	if (csv->batch.nrows > 0)
	{
		status = psti_text_batch_take(&csv->batch, NULL, csv->batch.ncolumns, out, NULL,
									  &csv->kinds, err);
		*row_kind = csv->kinds;
		return status;
	}
	if (csv->failed != PST_OK)
	{
		*err = csv->error;
		return csv->failed;
	}
	return csv->ended ? PST_END : PST_AGAIN;
}

static pst_status
csv_schema(void *self, struct ArrowSchema *out, pst_error *err)
{
	csv_decoder *csv = self;
	int64_t child = 0;
	pst_status status = csv->failed;

	if (status == PST_OK)
	{
		status = need_header(csv, &csv->error);
		if (status < 0)
			csv->failed = status;
	}
	if (!csv->have_header)
	{
		if (status < 0)
			*err = csv->error;
		return status;
	}
	status = psti_schema_init(out, "+s", "", false, (int64_t) csv->batch.ncolumns, err);
	for (size_t f = 0; status == PST_OK && f < csv->nfields; f++)
		if (csv->fields[f] != KIND_COLUMN)
			status = psti_schema_init(out->children[child++], "u",
									  csv->target->columns[csv->fields[f]].type.name, true, 0, err);
	if (status != PST_OK)
		psti_schema_release(out);
	return status;
}

static void
csv_free(void *self)
{
	csv_decoder *csv = self;

	psti_record_input_free(&csv->in);
	psti_text_batch_free(&csv->batch);
	psti_target_free(csv->target);
	free(csv->fields);
	free(csv->kinds);
	free(csv->null);
	free(csv->kind_column);
	free(csv);
}

static const psti_decoder_ops csv_ops = {csv_schema, csv_next, csv_free, NULL};

static pst_status
csv_init(csv_decoder *csv, const psti_options *options, const char *describe,
		 const psti_input *input, pst_error *err)
{
	const char *kind_column = psti_opt_text(options, PSTI_OPT_ROW_KIND_COLUMN);
	pst_status status = psti_csv_dialect_get(options, &csv->dialect, err);

	psti_record_input_init(&csv->in, input);
	psti_enter(&csv->error);
	if (status != PST_OK)
		return status;
	if (!csv->dialect.header && describe == NULL)
		return psti_opt_fail(options, PSTI_OPT_CSV_HEADER, err,
							 "cannot be false when nothing else names the columns");
	if (!csv->dialect.header && kind_column != NULL)
		return psti_opt_fail(options, PSTI_OPT_ROW_KIND_COLUMN, err,
							 "needs a csv header to be found by");
	csv->null = strdup(csv->dialect.null);
	csv->kind_column = kind_column != NULL ? strdup(kind_column) : NULL;
	if (csv->null == NULL || (kind_column != NULL && csv->kind_column == NULL))
		return psti_fail_nomem(err);
	csv->dialect.null = csv->null;
	csv->described = describe != NULL;
	return csv->described ? psti_target_parse(describe, &csv->target, err)
						  : psti_target_new(&csv->target, err);
}

pst_status
psti_csv_decoder(const psti_options *options, const char *describe, const psti_input *input,
				 void **self, const psti_decoder_ops **ops, pst_error *err)
{
	csv_decoder *csv = calloc(1, sizeof(*csv));
	pst_status status =
		csv != NULL ? csv_init(csv, options, describe, input, err) : psti_fail_nomem(err);

	*self = NULL;
	if (status == PST_OK)
	{
		*self = csv;
		*ops = &csv_ops;
	}
	else if (csv != NULL)
		csv_free(csv);
	return status;
}
