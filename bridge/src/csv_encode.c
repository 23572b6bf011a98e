/*
 * csv_encode.c - rows as COPY … TO … (FORMAT csv, HEADER) writes them, byte for byte.
 *
 * A field is quoted when it equals the null marker, holds the delimiter, a quote or a line break, or
 * is the one field of its record and reads \. (which COPY FROM takes for the end of the data).
 */
#include "codec.h"

#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "pgbinary.h"
#include "value.h"

typedef struct csv_column
{
	psti_arrow_type type;
	bool utf8;	/* the text is there as it is */
	bool plain; /* no text of this type can need quotes */
} csv_column;

typedef struct csv_encoder
{
	psti_csv_dialect dialect;
	char *null;				   /* owned: dialect.null */
	struct ArrowSchema schema; /* owned */
	csv_column *columns;	   /* owned, one a child of the schema */
} csv_encoder;

static bool
needs_quotes(const csv_encoder *csv, const char *text, size_t nbytes)
{
	const psti_csv_dialect *d = &csv->dialect;

	if (nbytes == d->null_len && memcmp(text, d->null, nbytes) == 0)
		return true;
	if (nbytes == 2 && csv->schema.n_children == 1 && memcmp(text, "\\.", 2) == 0)
		return true;
	return psti_csv_find(text, text + nbytes, d->delimiter, '"', '\n', '\r') < text + nbytes;
}

static void
put_quoted(const char *text, size_t nbytes, psti_buf *out)
{
	const char *end = text + nbytes;

	psti_buf_putc(out, '"');
	while (text < end)
	{
		const char *quote = memchr(text, '"', (size_t) (end - text));
		const char *stop = quote != NULL ? quote + 1 : end;

		psti_buf_append(out, text, (size_t) (stop - text));
		if (quote != NULL)
			psti_buf_putc(out, '"');
		text = stop;
	}
	psti_buf_putc(out, '"');
}

static void
put_field(const csv_encoder *csv, const char *text, size_t nbytes, psti_buf *out)
{
	if (needs_quotes(csv, text, nbytes))
		put_quoted(text, nbytes, out);
	else
		psti_buf_put(out, text, nbytes);
}

/* Quotes the field that begins at out->data[start] where it needs quotes. */
static pst_status
quote_in_place(const csv_encoder *csv, size_t start, psti_buf *out, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;
	pst_status status;

	if (out->failed || !needs_quotes(csv, out->data + start, out->len - start))
		return PST_OK;
	psti_buf_append(&text, out->data + start, out->len - start);
	status = psti_buf_check(&text, err);
	if (status == PST_OK)
	{
		out->len = start;
		put_quoted(text.data, text.len, out);
	}
	psti_buf_free(&text);
	return status;
}

/* Types whose texts are letters, digits and these; a delimiter or null marker among them is rare. */
static bool
is_plain(const csv_encoder *csv, const psti_arrow_type *type)
{
	static const char used[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
							   "+-.: \\";

	if (type->kind == PSTI_ARROW_LIST || type->kind == PSTI_ARROW_LARGE_LIST ||
		type->kind == PSTI_ARROW_UTF8 || type->kind == PSTI_ARROW_LARGE_UTF8 || type->pg_type != 0)
		return false;
	return strchr(used, csv->dialect.delimiter) == NULL &&
		   (csv->dialect.null_len == 0 || strspn(csv->dialect.null, used) < csv->dialect.null_len);
}

static pst_status
csv_begin(void *self, psti_buf *out, pst_error *err)
{
	csv_encoder *csv = self;

	(void) err;
	if (!csv->dialect.header)
		return PST_OK;
	for (int64_t c = 0; c < csv->schema.n_children; c++)
	{
		const char *name = csv->schema.children[c]->name;

		if (c > 0)
			psti_buf_putc(out, csv->dialect.delimiter);
		put_field(csv, name, strlen(name), out);
	}
	psti_buf_putc(out, '\n');
	return PST_OK;
}

static pst_status
write_field(const csv_encoder *csv, int64_t c, const struct ArrowArray *array, int64_t row,
			psti_buf *out, pst_error *err)
{
	const csv_column *column = &csv->columns[c];
	size_t start = out->len;
	pst_status status;

	if (column->type.kind == PSTI_ARROW_NULL || psti_array_null(array, row))
	{
		psti_buf_put(out, csv->dialect.null, csv->dialect.null_len);
		return PST_OK;
	}
	if (column->utf8)
	{
		const int32_t *offsets = (const int32_t *) array->buffers[1] + array->offset + row;
		size_t nbytes = (size_t) (offsets[1] - offsets[0]);
		const char *data = array->buffers[2];

		put_field(csv, nbytes > 0 ? data + offsets[0] : "", nbytes, out);
		return PST_OK;
	}
	status = psti_value_text(csv->schema.children[c], &column->type, array, row, out, err);
	if (status != PST_OK || column->plain)
		return status;
	return quote_in_place(csv, start, out, err);
}

static pst_status
csv_write(void *self, const struct ArrowArray *batch, psti_buf *out, pst_error *err)
{
	const csv_encoder *csv = self;
	int64_t ncolumns = csv->schema.n_children;

	for (int64_t row = 0; row < batch->length; row++)
	{
		for (int64_t c = 0; c < ncolumns; c++)
		{
			pst_status status;

			if (c > 0)
				psti_buf_put(out, &csv->dialect.delimiter, 1);
			status = write_field(csv, c, batch->children[c], row + batch->offset, out, err);
			if (status != PST_OK)
			{
				err->row = row;
				return status;
			}
		}
		psti_buf_put(out, "\n", 1);
	}
	return PST_OK;
}

static pst_status
csv_end(void *self, psti_buf *out, pst_error *err)
{
	(void) self;
	(void) out;
	(void) err;
	return PST_OK;
}

static void
csv_free(void *self)
{
	csv_encoder *csv = self;

	psti_schema_release(&csv->schema);
	free(csv->columns);
	free(csv->null);
	free(csv);
}

static const psti_encoder_ops csv_ops = {
	.begin = csv_begin, .write = csv_write, .end = csv_end, .free = csv_free};

static pst_status
csv_init(csv_encoder *csv, const psti_options *options, const struct ArrowSchema *schema,
		 pst_error *err)
{
	pst_status status = psti_csv_dialect_get(options, &csv->dialect, err);

	if (status == PST_OK)
		status = psti_schema_copy(schema, &csv->schema, err);
	if (status != PST_OK)
		return status;
	csv->null = strdup(csv->dialect.null);
	csv->columns = calloc((size_t) csv->schema.n_children + 1, sizeof(*csv->columns));
	if (csv->null == NULL || csv->columns == NULL)
		return psti_fail_nomem(err);
	csv->dialect.null = csv->null;
	for (int64_t c = 0; c < csv->schema.n_children; c++)
	{
		csv_column *column = &csv->columns[c];

		column->type = psti_pgbinary_field(csv->schema.children[c]);
		column->utf8 = column->type.kind == PSTI_ARROW_UTF8;
		column->plain = is_plain(csv, &column->type);
	}
	return PST_OK;
}

pst_status
psti_csv_encoder(const psti_options *options, const struct ArrowSchema *schema, void **self,
				 const psti_encoder_ops **ops, pst_error *err)
{
	csv_encoder *csv = calloc(1, sizeof(*csv));
	pst_status status = csv != NULL ? csv_init(csv, options, schema, err) : psti_fail_nomem(err);

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
