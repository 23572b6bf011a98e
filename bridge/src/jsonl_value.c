/* jsonl_value.c - json values as input texts: scalars, array literals, row literals. */
#include "jsonl_value.h"

#include <stdlib.h>
#include <string.h>

#include "pgtext.h"

#define MAX_DIMENSIONS 6 /* MAXDIM of the server */

static bool
problem(psti_jsonscan *scan, const char *text)
{
	scan->problem = text;
	return false;
}

/* A value as it stands, or what a string holds. */
static bool
plain_value(psti_jsonscan *scan, psti_json_kind kind, psti_buf *out)
{
	const char *text;
	size_t nbytes;

	if (kind == PSTI_JSON_STRING)
		return psti_jsonscan_string(scan, out);
	if (!psti_jsonscan_value(scan, &text, &nbytes))
		return false;
	psti_buf_put(out, text, nbytes);
	return true;
}

static bool array_body(psti_jsonscan *scan, const psti_target_type *element, char delimiter,
					   int dimension, bool *hollow, psti_buf *out, pst_error *err);

/* An element that is no further dimension. */
static bool
array_element(psti_jsonscan *scan, psti_json_kind kind, const psti_target_type *element,
			  psti_buf *out, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;
	bool good;

	if (kind == PSTI_JSON_NULL)
	{
		psti_buf_puts(out, "NULL");
		return psti_jsonscan_value(scan, NULL, NULL);
	}
	if (kind == PSTI_JSON_NUMBER || kind == PSTI_JSON_TRUE || kind == PSTI_JSON_FALSE)
		return plain_value(scan, kind, out);
	psti_buf_puts(&text, "");
	good = psti_jsonl_value(scan, element, &text, err);
	if (text.failed)
		out->failed = true;
	else if (good)
		psti_text_array_element(text.data, text.len, out);
	psti_buf_free(&text);
	return good;
}

/*
 * Whether the list at the scan is a further dimension and no element. Where the element is a list
 * of numbers, a dimension is the one that begins with another list.
 */
static bool
is_dimension(const psti_jsonscan *scan, const psti_target_type *element)
{
	psti_jsonscan inside = *scan;

	if (element->shape != PSTI_SHAPE_VECTOR)
		return element->shape != PSTI_SHAPE_JSON && element->shape != PSTI_SHAPE_ARRAY;
	inside.at++;
	return psti_jsonscan_peek(&inside) == PSTI_JSON_ARRAY;
}

static bool
array_item(psti_jsonscan *scan, const psti_target_type *element, char delimiter, int dimension,
		   bool *hollow, psti_buf *out, pst_error *err)
{
	psti_json_kind kind = psti_jsonscan_peek(scan);

	if (kind == PSTI_JSON_BAD)
		return false;
	if (kind == PSTI_JSON_ARRAY && is_dimension(scan, element))
	{
		if (dimension == MAX_DIMENSIONS)
			return problem(scan, "an array has more than 6 dimensions");
		return array_body(scan, element, delimiter, dimension + 1, hollow, out, err);
	}
	*hollow = false;
	return array_element(scan, kind, element, out, err);
}

/* A json array from its bracket on. hollow stays true while no element was met. */
static bool
array_body(psti_jsonscan *scan, const psti_target_type *element, char delimiter, int dimension,
		   bool *hollow, psti_buf *out, pst_error *err)
{
	bool first = true;

	scan->at++;
	psti_buf_putc(out, '{');
	while (!psti_jsonscan_take(scan, ']'))
	{
		if (!first && !psti_jsonscan_take(scan, ','))
			return problem(scan, "a comma or the closing bracket is missing");
		if (!first)
			psti_buf_putc(out, delimiter);
		first = false;
		if (!array_item(scan, element, delimiter, dimension, hollow, out, err))
			return false;
	}
	psti_buf_putc(out, '}');
	return true;
}

static bool
array_value(psti_jsonscan *scan, const psti_target_type *type, psti_buf *out, pst_error *err)
{
	size_t start = out->len;
	bool hollow = true;

	if (!array_body(scan, &type->children[0], type->delimiter, 1, &hollow, out, err))
		return false;
	if (hollow && !out->failed)
	{
		/* Dimensions without elements: PostgreSQL has one empty array. */
		out->len = start;
		psti_buf_puts(out, "{}");
	}
	return true;
}

/* row_to_json writes these types as lists; their input functions take numbers and blanks. */
static bool
vector_value(psti_jsonscan *scan, psti_buf *out)
{
	bool first = true;
	psti_json_kind kind;

	scan->at++;
	while (!psti_jsonscan_take(scan, ']'))
	{
		if (!first && !psti_jsonscan_take(scan, ','))
			return problem(scan, "a comma or the closing bracket is missing");
		if (!first)
			psti_buf_putc(out, ' ');
		first = false;
		/* An oid is a string for row_to_json. */
		kind = psti_jsonscan_peek(scan);
		if (kind != PSTI_JSON_NUMBER && kind != PSTI_JSON_STRING)
			return problem(scan, "a list of numbers is expected");
		if (!plain_value(scan, kind, out))
			return false;
	}
	return true;
}

/* A field's text in a row literal, quoted where record_out quotes it. */
static void
put_row_field(const char *text, size_t nbytes, psti_buf *out)
{
	bool quote = nbytes == 0;

	for (size_t i = 0; i < nbytes && !quote; i++)
		quote = strchr("\"\\(), \t\n\r\v\f", text[i]) != NULL;
	if (!quote)
	{
		psti_buf_put(out, text, nbytes);
		return;
	}
	psti_buf_putc(out, '"');
	for (size_t i = 0; i < nbytes; i++)
	{
		if (text[i] == '"' || text[i] == '\\')
			psti_buf_putc(out, text[i]);
		psti_buf_putc(out, text[i]);
	}
	psti_buf_putc(out, '"');
}

/* Where the text of a field stands in row_fields.texts. */
typedef struct row_field
{
	size_t start;
	size_t nbytes;
	bool given;
	bool null;
} row_field;

typedef struct row_fields
{
	row_field *fields; /* owned */
	psti_buf texts;
	psti_buf name; /* of the key being read */
} row_fields;

static bool
unknown_field(psti_jsonscan *scan, const psti_target_type *type, const char *name, pst_error *err)
{
	const char *nearest = psti_target_nearest_field(type, name);

	psti_fail(err, PST_ERR_NOT_FOUND, "type %s has no field \"%s\"",
			  type->type != NULL ? type->type : "of the value", name);
	if (nearest != NULL)
		psti_error_hint(err, "Did you mean \"%s\"?", nearest);
	return problem(scan, "a field is unknown");
}

/* One "key":value of an object. */
static bool
row_member(psti_jsonscan *scan, const psti_target_type *type, row_fields *row, size_t *guess,
		   pst_error *err)
{
	const char *start;
	int64_t found;
	row_field *field;
	psti_json_kind kind;

	psti_buf_reset(&row->name);
	psti_buf_puts(&row->name, "");
	if (psti_jsonscan_peek(scan) != PSTI_JSON_STRING)
		return problem(scan, "a key in double quotes is missing");
	start = scan->at;
	if (!psti_jsonscan_string(scan, &row->name))
		return false;
	if (row->name.failed)
		return true; /* short of memory: told by the caller */
	found = psti_target_field(type, row->name.data, row->name.len, *guess);
	if (found < 0 || row->fields[found].given)
	{
		scan->at = start;
		return found < 0 ? unknown_field(scan, type, row->name.data, err)
						 : problem(scan, "a key stands twice in an object");
	}
	if (!psti_jsonscan_take(scan, ':'))
		return problem(scan, "a colon is missing after a key");
	field = &row->fields[found];
	*guess = (size_t) found + 1;
	kind = psti_jsonscan_peek(scan);
	field->given = true;
	field->null = kind == PSTI_JSON_NULL;
	field->start = row->texts.len;
	if (field->null)
		return psti_jsonscan_value(scan, NULL, NULL);
	if (kind == PSTI_JSON_BAD || !psti_jsonl_value(scan, &type->children[found], &row->texts, err))
		return false;
	field->nbytes = row->texts.len - field->start;
	return true;
}

static bool
row_members(psti_jsonscan *scan, const psti_target_type *type, row_fields *row, pst_error *err)
{
	size_t guess = 0;
	bool first = true;

	scan->at++;
	while (!psti_jsonscan_take(scan, '}'))
	{
		if (!first && !psti_jsonscan_take(scan, ','))
			return problem(scan, "a comma or the closing brace is missing");
		first = false;
		if (!row_member(scan, type, row, &guess, err))
			return false;
		if (row->name.failed || row->texts.failed)
			return true;
	}
	return true;
}

/* Fields in their order; one that is not given is NULL, as jsonb_populate_record has it. */
static void
put_row(const psti_target_type *type, const row_fields *row, psti_buf *out)
{
	psti_buf_putc(out, '(');
	for (size_t i = 0; i < type->nchildren; i++)
	{
		const row_field *field = &row->fields[i];

		if (i > 0)
			psti_buf_putc(out, ',');
		if (field->given && !field->null)
			put_row_field(row->texts.data + field->start, field->nbytes, out);
	}
	psti_buf_putc(out, ')');
}

static bool
row_value(psti_jsonscan *scan, const psti_target_type *type, psti_buf *out, pst_error *err)
{
	row_fields row = {calloc(type->nchildren + 1, sizeof(row_field)), PSTI_BUF_INIT, PSTI_BUF_INIT};
	bool good = true;

	psti_buf_puts(&row.texts, "");
	if (row.fields == NULL)
		out->failed = true;
	else
		good = row_members(scan, type, &row, err);
	if (row.texts.failed || row.name.failed)
		out->failed = true;
	else if (good && !out->failed)
		put_row(type, &row, out);
	free(row.fields);
	psti_buf_free(&row.texts);
	psti_buf_free(&row.name);
	return good;
}

bool
psti_jsonl_value(psti_jsonscan *scan, const psti_target_type *type, psti_buf *out, pst_error *err)
{
	psti_json_kind kind = psti_jsonscan_peek(scan);

	if (kind == PSTI_JSON_BAD)
		return false;
	if (kind == PSTI_JSON_ARRAY && type->shape == PSTI_SHAPE_ARRAY)
		return array_value(scan, type, out, err);
	if (kind == PSTI_JSON_ARRAY && type->shape == PSTI_SHAPE_VECTOR)
		return vector_value(scan, out);
	if (kind == PSTI_JSON_OBJECT && type->shape == PSTI_SHAPE_COMPOSITE)
		return row_value(scan, type, out, err);
	return plain_value(scan, kind, out);
}
