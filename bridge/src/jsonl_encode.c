/*
 * jsonl_encode.c - rows as lines of row_to_json: {"a":1,"b":"x"}, without spaces.
 *
 * Fields whose metadata `penstock.values` is json hold finished json values, made by the source for
 * every type there is; they are passed on as they are.
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "pgbinary.h"
#include "pgtext.h"
#include "value.h"

typedef enum json_form
{
	JSON_FORM_VALUE,  /* by its Arrow type */
	JSON_FORM_STRING, /* utf8 */
	JSON_FORM_JSON,	  /* utf8 that holds the text of a json value of the server */
	JSON_FORM_READY	  /* utf8 that holds what is to stand on the line */
} json_form;

typedef struct json_column
{
	psti_arrow_type type;
	json_form form;
	size_t key; /* where the key begins in keys; it ends where the next begins */
} json_column;

typedef struct json_encoder
{
	struct ArrowSchema schema; /* owned */
	json_column *columns;	   /* owned, one a child of the schema and one behind */
	psti_buf keys;			   /* {"a": ,"b": … , the braces and commas included */
} json_encoder;

static pst_status
json_nothing(void *self, psti_buf *out, pst_error *err)
{
	(void) self;
	(void) out;
	(void) err;
	return PST_OK;
}

static pst_status
write_value(const json_encoder *json, int64_t c, const struct ArrowArray *array, int64_t row,
			psti_buf *out, pst_error *err)
{
	const json_column *column = &json->columns[c];
	const int32_t *offsets;
	const char *text;
	size_t nbytes;

	if (column->type.kind == PSTI_ARROW_NULL || psti_array_null(array, row))
	{
		psti_buf_put(out, "null", 4);
		return PST_OK;
	}
	if (column->form == JSON_FORM_VALUE)
		return psti_value_json(json->schema.children[c], &column->type, array, row, out, err);
	offsets = (const int32_t *) array->buffers[1] + array->offset + row;
	nbytes = (size_t) (offsets[1] - offsets[0]);
	text = nbytes > 0 ? (const char *) array->buffers[2] + offsets[0] : "";
	if (column->form == JSON_FORM_READY)
		psti_buf_put(out, text, nbytes);
	else if (column->form == JSON_FORM_JSON)
		psti_value_raw_json(text, nbytes, out);
	else
		psti_json_string(text, nbytes, out);
	return PST_OK;
}

static pst_status
json_write(void *self, const struct ArrowArray *batch, psti_buf *out, pst_error *err)
{
	const json_encoder *json = self;
	int64_t ncolumns = json->schema.n_children;

	for (int64_t row = 0; row < batch->length; row++)
	{
		for (int64_t c = 0; c < ncolumns; c++)
		{
			const json_column *column = &json->columns[c];
			pst_status status;

			psti_buf_put(out, json->keys.data + column->key, column[1].key - column->key);
			status = write_value(json, c, batch->children[c], row + batch->offset, out, err);
			if (status != PST_OK)
			{
				err->row = row;
				return status;
			}
		}
		psti_buf_put(out, ncolumns > 0 ? "}\n" : "{}\n", ncolumns > 0 ? 2 : 3);
	}
	return PST_OK;
}

static void
json_free(void *self)
{
	json_encoder *json = self;

	psti_schema_release(&json->schema);
	free(json->columns);
	psti_buf_free(&json->keys);
	free(json);
}

static const psti_encoder_ops json_ops = {
	.begin = json_nothing, .write = json_write, .end = json_nothing, .free = json_free};

static json_form
form_of(const struct ArrowSchema *field, psti_arrow_kind kind)
{
	size_t n;
	const char *values = psti_schema_metadata_get(field, "penstock.values", &n);

	if (kind != PSTI_ARROW_UTF8)
		return JSON_FORM_VALUE;
	if (values != NULL && n == 4 && memcmp(values, "json", 4) == 0)
		return JSON_FORM_READY;
	return psti_value_is_json(field) ? JSON_FORM_JSON : JSON_FORM_STRING;
}

static pst_status
json_init(json_encoder *json, const struct ArrowSchema *schema, pst_error *err)
{
	pst_status status = psti_schema_copy(schema, &json->schema, err);

	if (status != PST_OK)
		return status;
	json->columns = calloc((size_t) json->schema.n_children + 1, sizeof(*json->columns));
	if (json->columns == NULL)
		return psti_fail_nomem(err);
	for (int64_t c = 0; c < json->schema.n_children; c++)
	{
		const struct ArrowSchema *field = json->schema.children[c];
		json_column *column = &json->columns[c];

		column->type = psti_pgbinary_field(field);
		column->form = form_of(field, column->type.kind);
		psti_buf_putc(&json->keys, c == 0 ? '{' : ',');
		psti_json_string(field->name, strlen(field->name), &json->keys);
		psti_buf_putc(&json->keys, ':');
		column[1].key = json->keys.len;
	}
	return psti_buf_check(&json->keys, err);
}

pst_status
psti_json_encoder(const psti_options *options, const struct ArrowSchema *schema, void **self,
				  const psti_encoder_ops **ops, pst_error *err)
{
	json_encoder *json = calloc(1, sizeof(*json));
	pst_status status = json != NULL ? json_init(json, schema, err) : psti_fail_nomem(err);

	(void) options;
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
