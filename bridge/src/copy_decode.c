/*
 * copy_decode.c - the framing of binary COPY: header, rows, trailer, and batches out of them.
 *
 * A row is decoded where it lies in the caller's bytes; only one that is cut by the end of a slice
 * is carried over. Each column writes value i at place i, so a row that turns out to be incomplete
 * is simply written again.
 */
#include "copy_decode_internal.h"

#include <stdlib.h>
#include <string.h>

#include "arrow_check.h"
#include "bytes.h"
#include "copy_header.h"

#define FIRST_ROWS 64
/* Of a key's text, which names no row when it is longer; the extension has the same limit. */
#define KEY_BYTES 400

enum state
{
	IN_HEADER,
	IN_EXTENSION,
	IN_ROWS,
	ENDED
};

struct psti_copy_decoder
{
	psti_copy_column *columns; /* owned; names borrowed */
	psti_vector *vectors;	   /* one a column */
	size_t ncolumns;
	psti_copy_limits limits;
	enum state state;
	uint32_t skip;		 /* bytes of the header's extension still to come */
	psti_buf carry;		 /* the begin of a row that a slice cut */
	size_t need;		 /* bytes that carry must hold before it is worth another look */
	int64_t nrows;		 /* in the open batch */
	int64_t cap;		 /* rows that every vector has room for */
	int64_t likely_rows; /* what the last batch suggests for this one */
	size_t batch_bytes;	 /* what the server sent for them */
	int64_t rows_before; /* in batches already taken: for the row's number in errors */
	psti_tuples tuples;	 /* the open batch when rows are kept as they came */
};

/* ---- Making and freeing ---- */

static void
vector_free(psti_vector *v)
{
	free(v->valid);
	free(v->fixed);
	psti_buf_free(&v->bytes);
	if (v->child != NULL)
	{
		vector_free(v->child);
		free(v->child);
	}
}

static bool
vector_init(psti_vector *v, const psti_copy_column *column, const psti_copy_limits *limits)
{
	v->special = limits->special;
	v->value_bytes = limits->value_bytes;
	if (column->list && column->form == PSTI_FORM_ARROW)
	{
		v->child = calloc(1, sizeof(*v->child));
		if (v->child == NULL)
			return false;
		v->child->special = limits->special;
		v->child->value_bytes = limits->value_bytes;
	}
	psti_vector_choose(v, column);
	return true;
}

pst_status
psti_copy_decoder_new(const psti_copy_column *columns, size_t ncolumns,
					  const psti_copy_limits *limits, psti_copy_decoder **out, pst_error *err)
{
	psti_copy_decoder *decoder = calloc(1, sizeof(*decoder));

	*out = NULL;
	if (decoder == NULL)
		return psti_fail_nomem(err);
	decoder->limits = *limits;
	/* One more, as calloc(0) may be NULL. */
	decoder->columns = calloc(ncolumns + 1, sizeof(*columns));
	decoder->vectors = calloc(ncolumns + 1, sizeof(*decoder->vectors));
	if (decoder->columns == NULL || decoder->vectors == NULL)
		goto fail;
	if (ncolumns > 0)
		memcpy(decoder->columns, columns, ncolumns * sizeof(*columns));
	decoder->ncolumns = ncolumns;
	for (size_t c = 0; c < ncolumns; c++)
		if (!vector_init(&decoder->vectors[c], &columns[c], limits))
			goto fail;
	*out = decoder;
	return PST_OK;

fail:
	psti_copy_decoder_free(decoder);
	return psti_fail_nomem(err);
}

void
psti_copy_decoder_free(psti_copy_decoder *decoder)
{
	if (decoder == NULL)
		return;
	for (size_t c = 0; decoder->vectors != NULL && c < decoder->ncolumns; c++)
		vector_free(&decoder->vectors[c]);
	free(decoder->vectors);
	free(decoder->columns);
	psti_buf_free(&decoder->carry);
	psti_buf_free(&decoder->tuples.bytes);
	free(decoder->tuples.starts);
	free(decoder);
}

void
psti_copy_restart(psti_copy_decoder *decoder)
{
	decoder->state = IN_HEADER;
	decoder->carry.len = 0;
	decoder->need = 0;
}

void
psti_copy_reset(psti_copy_decoder *decoder)
{
	psti_copy_restart(decoder);
	decoder->nrows = 0;
	decoder->batch_bytes = 0;
	decoder->tuples.nrows = 0;
	psti_buf_reset(&decoder->tuples.bytes);
}

/* ---- Errors ---- */

static bool
put_key(const psti_vector *v, const psti_copy_column *column, const void *p, size_t len,
		psti_buf *out)
{
	psti_printer print = (v->child != NULL ? v->child : v)->print;

	print.value = print.text;
	print.list = column->list;
	print.elem = column->elem;
	print.json = false;
	return psti_print(&print, p, len, out) == PSTI_GOOD;
}

/* The next field at *p, which is whole. */
static psti_copy_value
next_field(const uint8_t **p)
{
	uint32_t len = psti_get32(*p);
	bool null = len == UINT32_MAX;
	psti_copy_value value = {*p + 4, null ? 0 : len, null, false};

	*p += 4 + value.len;
	return value;
}

/* A row for errors: as it lies in a COPY, or its values. */
typedef struct row_at
{
	const uint8_t *copy; /* whole; NULL: */
	const psti_copy_value *values;
} row_at;

/*
 * The key columns of a row as `(a, b)=(1, x)`. NULLs name nothing: then there is no key, and the row's number
 * has to do.
 */
static void
describe_key(const psti_copy_decoder *decoder, const row_at *row, pst_error *err)
{
	const uint8_t *p = row->copy != NULL ? row->copy + 2 : NULL;
	psti_buf names = PSTI_BUF_INIT;
	psti_buf values = PSTI_BUF_INIT;
	bool complete = true;

	for (size_t c = 0; c < decoder->ncolumns; c++)
	{
		const psti_copy_column *column = &decoder->columns[c];
		psti_copy_value value = p != NULL ? next_field(&p) : row->values[c];

		if (!column->key)
			continue;
		psti_buf_puts(&names, names.len > 0 ? ", " : "");
		psti_buf_puts(&names, column->name);
		psti_buf_puts(&values, values.len > 0 ? ", " : "");
		if (value.null || value.len > KEY_BYTES ||
			!put_key(&decoder->vectors[c], column, value.data, value.len, &values))
			complete = false;
	}
	psti_buf_putc(&names, '\0');
	psti_buf_putc(&values, '\0');
	if (complete && names.len > 1 && !names.failed && !values.failed)
	{
		psti_buf key = PSTI_BUF_INIT;

		psti_buf_printf(&key, "(%s)=(%s)", names.data, values.data);
		if (!key.failed && key.len <= KEY_BYTES)
			PSTI_ERROR_SET(err, key, key.data);
		psti_buf_free(&key);
	}
	psti_buf_free(&names);
	psti_buf_free(&values);
}

static pst_status
protocol_error(pst_error *err, const char *what)
{
	return psti_fail(err, PST_ERR_PROTOCOL, "cannot decode the server's COPY: %s", what);
}

static pst_status
name_row(const psti_copy_decoder *decoder, size_t c, const row_at *row, pst_error *err)
{
	PSTI_ERROR_SET(err, column, decoder->columns[c].name);
	err->row = decoder->rows_before + decoder->nrows;
	if (row != NULL)
		describe_key(decoder, row, err);
	if (err->key[0] != '\0')
		psti_error_detail(err, "The row is %s.", err->key);
	else
		psti_error_detail(err, "It is row %lld of this read, counted from 0.",
						  (long long) err->row);
	return err->status;
}

static pst_status
value_error(const psti_copy_decoder *decoder, size_t c, psti_outcome outcome, const row_at *row,
			pst_error *err)
{
	const char *name = decoder->columns[c].name;
	char arrow[PSTI_ARROW_NAME];
	char format[32];

	switch (outcome)
	{
		case PSTI_NO_MEMORY:
			return psti_fail_nomem(err);
		case PSTI_SPECIAL:
			psti_copy_format(&decoder->columns[c], format, sizeof(format));
			psti_fail_sqlstate(err, "22003",
							   "column \"%s\" holds a value that Arrow type %s%s "
							   "cannot",
							   name, decoder->columns[c].list ? "list of " : "",
							   psti_arrow_name(format, arrow));
			psti_error_hint(err, "Name the column in read.text-columns to get its text, or give "
								 "special-values=null or special-values=clamp.");
			return name_row(decoder, c, row, err);
		case PSTI_NOT_UTF8:
			psti_fail_sqlstate(err, "22021", "column \"%s\" holds bytes that are not UTF-8", name);
			psti_error_hint(err, "Read it through a query that converts it, such as "
								 "convert_from(column::bytea, 'LATIN1').");
			return name_row(decoder, c, row, err);
		case PSTI_FULL:
			psti_fail(err, PST_ERR_DATA, "a value of column \"%s\" is too large for a batch", name);
			return name_row(decoder, c, row, err);
		default:
			psti_fail(err, PST_ERR_PROTOCOL,
					  "cannot decode the server's COPY: wrong bytes for column \"%s\"", name);
			return name_row(decoder, c, NULL, err);
	}
}

/* ---- Rows ---- */

static bool
grow_rows(psti_copy_decoder *decoder)
{
	int64_t cap = decoder->cap > 0 ? decoder->cap * 2 : decoder->likely_rows;

	if (cap < FIRST_ROWS)
		cap = FIRST_ROWS;
	if (cap > decoder->limits.rows)
		cap = decoder->limits.rows;
	for (size_t c = 0; c < decoder->ncolumns; c++)
		if (!psti_vector_grow(&decoder->vectors[c], cap))
			return false;
	decoder->cap = cap;
	return true;
}

/*
 * Bytes that the row at p needs at least, as far as n bytes tell; n or less when it is whole, 0 when a
 * length in it cannot be.
 */
static size_t
row_needs(const psti_copy_decoder *decoder, const uint8_t *p, size_t n)
{
	size_t at = 2;

	for (size_t c = 0; c < decoder->ncolumns; c++)
	{
		uint32_t len;

		if (n < at + 4)
			return at + 4;
		len = psti_get32(p + at);
		at += 4;
		if (len == UINT32_MAX)
			continue;
		if (len > INT32_MAX)
			return 0;
		at += len;
		if (n < at)
			return at;
	}
	return at;
}

static pst_status
store_null(psti_copy_decoder *decoder, size_t c, pst_error *err)
{
	if (decoder->columns[c].not_null)
	{
		psti_fail(err, PST_ERR_PROTOCOL,
				  "the server sent NULL for column \"%s\", which is NOT NULL",
				  decoder->columns[c].name);
		return name_row(decoder, c, NULL, err);
	}
	if (!psti_vector_null(&decoder->vectors[c], decoder->nrows))
		return psti_fail_nomem(err);
	return PST_OK;
}

/* A value was not stored. PST_AGAIN: the row begins the next batch; PST_END: more bytes needed. */
static pst_status
refused(psti_copy_decoder *decoder, size_t c, psti_outcome outcome, const uint8_t *row, size_t n,
		pst_error *err)
{
	bool names_row = outcome == PSTI_SPECIAL || outcome == PSTI_NOT_UTF8 || outcome == PSTI_FULL;
	row_at at = {row, NULL};

	if (outcome == PSTI_NULLED)
		return store_null(decoder, c, err);
	if (outcome == PSTI_FULL && decoder->nrows > 0)
		return PST_AGAIN;
	if (names_row)
	{
		/* The key may lie behind this column: decide when the whole row is here. */
		decoder->need = row_needs(decoder, row, n);
		if (decoder->need > n)
			return PST_END;
		if (decoder->need == 0)
			at.copy = NULL;
	}
	return value_error(decoder, c, outcome, at.copy != NULL ? &at : NULL, err);
}

/*
 * One row at p, its field count already checked. PST_OK: stored, *used set. PST_AGAIN: the batch
 * is full. PST_END: more bytes are needed, decoder->need in all.
 */
static pst_status
decode_row(psti_copy_decoder *decoder, const uint8_t *row, size_t n, size_t *used, pst_error *err)
{
	const uint8_t *p = row + 2;
	const uint8_t *end = row + n;
	int64_t i = decoder->nrows;

	for (size_t c = 0; c < decoder->ncolumns; c++)
	{
		psti_vector *v = &decoder->vectors[c];
		psti_outcome outcome;
		pst_status status;
		uint32_t len;

		if (end - p < 4)
		{
			decoder->need = (size_t) (p - row) + 4;
			return PST_END;
		}
		len = psti_get32(p);
		p += 4;
		if (len == UINT32_MAX)
		{
			status = store_null(decoder, c, err);
			if (status != PST_OK)
				return status;
			continue;
		}
		if (len > INT32_MAX)
			return value_error(decoder, c, PSTI_BAD, NULL, err);
		if (len > (size_t) (end - p))
		{
			decoder->need = (size_t) (p - row) + len;
			return PST_END;
		}
		outcome = v->store(v, i, p, len);
		p += len;
		if (outcome == PSTI_GOOD)
			psti_vector_valid(v, i);
		else if ((status = refused(decoder, c, outcome, row, n, err)) != PST_OK)
			return status;
	}
	*used = (size_t) (p - row);
	return PST_OK;
}

/* One row as it came; results as decode_row's. */
static pst_status
keep_row(psti_copy_decoder *decoder, const uint8_t *row, size_t n, size_t *used, pst_error *err)
{
	psti_tuples *tuples = &decoder->tuples;
	size_t nbytes = row_needs(decoder, row, n);

	if (nbytes == 0)
		return protocol_error(err, "a field of a length that cannot be");
	decoder->need = nbytes;
	if (nbytes > n)
		return PST_END;
	if (tuples->nrows == tuples->cap)
	{
		size_t cap = tuples->cap > 0 ? tuples->cap * 2 : FIRST_ROWS;
		size_t *starts = realloc(tuples->starts, cap * sizeof(*starts));

		if (starts == NULL)
			return psti_fail_nomem(err);
		tuples->starts = starts;
		tuples->cap = cap;
	}
	tuples->starts[tuples->nrows] = tuples->bytes.len;
	psti_buf_put(&tuples->bytes, row, nbytes);
	if (tuples->bytes.failed)
		return psti_fail_nomem(err);
	tuples->nrows++;
	*used = nbytes;
	return PST_OK;
}

static bool
batch_full(const psti_copy_decoder *decoder)
{
	return decoder->nrows >= decoder->limits.rows || decoder->batch_bytes >= decoder->limits.bytes;
}

/* A value of psti_copy_put's row. */
static pst_status
put_value(psti_copy_decoder *decoder, size_t c, const psti_copy_value *values, pst_error *err)
{
	psti_vector *v = &decoder->vectors[c];
	const row_at row = {NULL, values};
	psti_outcome outcome;

	if (values[c].null)
		return store_null(decoder, c, err);
	v->spends = values[c].spent;
	outcome = v->store(v, decoder->nrows, values[c].data, values[c].len);
	if (outcome == PSTI_GOOD)
		psti_vector_valid(v, decoder->nrows);
	else if (outcome == PSTI_NULLED)
		return store_null(decoder, c, err);
	else if (outcome == PSTI_FULL && decoder->nrows > 0)
		return PST_AGAIN;
	else
		return value_error(decoder, c, outcome, &row, err);
	return PST_OK;
}

pst_status
psti_copy_put(psti_copy_decoder *decoder, const psti_copy_value *values, pst_error *err)
{
	size_t nbytes = 0;
	pst_status status = PST_OK;

	if (batch_full(decoder))
		return PST_AGAIN;
	if (decoder->nrows == decoder->cap && !grow_rows(decoder))
		return psti_fail_nomem(err);
	for (size_t c = 0; status == PST_OK && c < decoder->ncolumns; c++)
	{
		status = put_value(decoder, c, values, err);
		nbytes += values[c].len;
	}
	if (status == PST_OK)
	{
		decoder->nrows++;
		decoder->batch_bytes += nbytes;
	}
	return status;
}

static pst_status
take_row(psti_copy_decoder *decoder, const uint8_t *p, size_t n, size_t *used, pst_error *err)
{
	uint16_t nfields;
	pst_status status;

	decoder->need = 2;
	if (n < 2)
		return PST_END;
	nfields = psti_get16(p);
	if (nfields == UINT16_MAX)
	{
		decoder->state = ENDED;
		*used = 2;
		return PST_OK;
	}
	if (nfields != decoder->ncolumns)
		return psti_fail(err, PST_ERR_PROTOCOL,
						 "cannot decode the server's COPY: a row of %u fields, expected %zu",
						 (unsigned) nfields, decoder->ncolumns);
	if (batch_full(decoder))
		return PST_AGAIN;
	if (decoder->limits.tuples)
		status = keep_row(decoder, p, n, used, err);
	else if (decoder->nrows == decoder->cap && !grow_rows(decoder))
		return psti_fail_nomem(err);
	else
		status = decode_row(decoder, p, n, used, err);
	if (status == PST_OK)
	{
		decoder->nrows++;
		decoder->batch_bytes += *used;
	}
	return status;
}

/* ---- The stream ---- */

static pst_status
take_header(psti_copy_decoder *decoder, const uint8_t *p, size_t n, size_t *used, pst_error *err)
{
	decoder->need = PSTI_COPY_HEADER_BYTES;
	if (n < PSTI_COPY_HEADER_BYTES)
		return PST_END;
	if (memcmp(p, PSTI_COPY_SIGNATURE, PSTI_COPY_SIGNATURE_BYTES) != 0)
		return protocol_error(err, "it does not begin with the signature");
	if (psti_get32(p + 11) & PSTI_COPY_CRITICAL_FLAGS)
		return protocol_error(err, "unknown flags in its header");
	decoder->skip = psti_get32(p + 15);
	if (decoder->skip > INT32_MAX)
		return protocol_error(err, "a negative length in its header");
	decoder->state = decoder->skip > 0 ? IN_EXTENSION : IN_ROWS;
	*used = PSTI_COPY_HEADER_BYTES;
	return PST_OK;
}

static pst_status
take_extension(psti_copy_decoder *decoder, size_t n, size_t *used)
{
	decoder->need = 1;
	if (n == 0)
		return PST_END;
	*used = n < decoder->skip ? n : decoder->skip;
	decoder->skip -= (uint32_t) *used;
	if (decoder->skip == 0)
		decoder->state = IN_ROWS;
	return PST_OK;
}

/* One step from p. Results as decode_row's. */
static pst_status
step(psti_copy_decoder *decoder, const uint8_t *p, size_t n, size_t *used, pst_error *err)
{
	*used = 0;
	switch (decoder->state)
	{
		case IN_HEADER:
			return take_header(decoder, p, n, used, err);
		case IN_EXTENSION:
			return take_extension(decoder, n, used);
		case IN_ROWS:
			return take_row(decoder, p, n, used, err);
		default:
			return protocol_error(err, "bytes after its end");
	}
}

/*
 * Completes the carried row. PST_END: all bytes were eaten and it is still not whole. A row's need
 * grows field by field and never beyond its end, so the carry never holds bytes of the next row.
 */
static pst_status
feed_carry(psti_copy_decoder *decoder, const uint8_t *p, size_t n, size_t *eaten, pst_error *err)
{
	*eaten = 0;
	for (;;)
	{
		size_t missing =
			decoder->need > decoder->carry.len ? decoder->need - decoder->carry.len : 0;
		size_t used;
		pst_status status;

		if (missing > n - *eaten)
			missing = n - *eaten;
		psti_buf_append(&decoder->carry, p + *eaten, missing);
		*eaten += missing;
		if (psti_buf_check(&decoder->carry, err) != PST_OK)
			return PST_ERR_NOMEM;
		if (decoder->carry.len < decoder->need)
			return PST_END;
		status =
			step(decoder, (const uint8_t *) decoder->carry.data, decoder->carry.len, &used, err);
		if (status == PST_OK)
			decoder->carry.len = 0;
		if (status != PST_END)
			return status;
	}
}

pst_status
psti_copy_feed(psti_copy_decoder *decoder, const void *data, size_t nbytes, size_t *used,
			   pst_error *err)
{
	const uint8_t *bytes = data;
	size_t at = 0;
	size_t eaten = 0;
	pst_status status = PST_OK;

	*used = 0;
	if (decoder->carry.len > 0)
		status = feed_carry(decoder, bytes, nbytes, &at, err);
	while (status == PST_OK && (decoder->state != ENDED || at < nbytes))
	{
		status = step(decoder, bytes + at, nbytes - at, &eaten, err);
		at += eaten;
	}
	if (status == PST_END && decoder->carry.len == 0)
	{
		psti_buf_append(&decoder->carry, bytes + at, nbytes - at);
		at = nbytes;
		status = psti_buf_check(&decoder->carry, err) != PST_OK ? PST_ERR_NOMEM : PST_END;
	}
	*used = at;
	if (status == PST_END)
		return batch_full(decoder) ? PST_AGAIN : PST_OK;
	if (status == PST_OK)
		return PST_END; /* the loop ends well only at the trailer */
	return status;
}

pst_status
psti_copy_finish(const psti_copy_decoder *decoder, pst_error *err)
{
	if (decoder->state == ENDED)
		return PST_OK;
	return protocol_error(err, "it ended in the middle");
}

/* ---- Batches ---- */

int64_t
psti_copy_pending(const psti_copy_decoder *decoder)
{
	return decoder->nrows;
}

static int64_t
count_nulls(const uint8_t *valid, int64_t n)
{
	int64_t nulls = n;

	if (valid == NULL)
		return 0;
	for (int64_t i = 0; i < n / 8; i++)
		nulls -= __builtin_popcount(valid[i]);
	for (int64_t i = n & ~INT64_C(7); i < n; i++)
		nulls -= psti_bit_get(valid, i);
	return nulls;
}

/* Moves n values of v into out; v remembers how much room they needed. */
static pst_status
vector_take(psti_vector *v, int64_t n, struct ArrowArray *out, pst_error *err)
{
	int nbuffers = v->child == NULL && v->offsets ? 3 : 2;
	int64_t last = v->offsets ? ((int32_t *) v->fixed)[n] : 0;
	pst_status status = psti_array_init(out, n, nbuffers, v->child != NULL ? 1 : 0, err);

	if (status != PST_OK)
		return status;
	out->null_count = count_nulls(v->valid, n);
	if (nbuffers == 3 && v->bytes.data == NULL && psti_buf_reserve(&v->bytes, 1) == NULL)
		return psti_fail_nomem(err);
	if (v->child != NULL)
	{
		if (!psti_vector_grow(v->child, 1))
			return psti_fail_nomem(err);
		status = vector_take(v->child, last, out->children[0], err);
		if (status != PST_OK)
			return status;
	}
	psti_array_buffer(out, 0, v->valid);
	psti_array_buffer(out, 1, v->fixed);
	if (nbuffers == 3)
		psti_array_buffer(out, 2, v->bytes.data);
	v->valid = NULL;
	v->fixed = NULL;
	v->cap = 0;
	if (nbuffers == 3)
	{
		v->bytes = (psti_buf) PSTI_BUF_INIT;
		v->likely_bytes = (size_t) last + (size_t) last / 16;
	}
	return PST_OK;
}

pst_status
psti_copy_take(psti_copy_decoder *decoder, struct ArrowArray *out, pst_error *err)
{
	int64_t n = decoder->nrows;
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (decoder->cap == 0 && !grow_rows(decoder))
		return psti_fail_nomem(err);
	status = psti_array_init(out, n, 1, (int64_t) decoder->ncolumns, err);
	for (size_t c = 0; status == PST_OK && c < decoder->ncolumns; c++)
		status = vector_take(&decoder->vectors[c], n, out->children[c], err);
	if (status != PST_OK)
	{
		psti_array_release(out);
		memset(out, 0, sizeof(*out));
		return status;
	}
	decoder->rows_before += n;
	decoder->nrows = 0;
	decoder->batch_bytes = 0;
	decoder->cap = 0;
	decoder->likely_rows = n + n / 16;
	return PST_OK;
}

const psti_tuples *
psti_copy_tuples(const psti_copy_decoder *decoder)
{
	return &decoder->tuples;
}

void
psti_copy_tuples_done(psti_copy_decoder *decoder)
{
	decoder->tuples.nrows = 0;
	psti_buf_reset(&decoder->tuples.bytes);
	decoder->rows_before += decoder->nrows;
	decoder->nrows = 0;
	decoder->batch_bytes = 0;
}

bool
psti_copy_verbatim(const psti_copy_column *column)
{
	if (column->form == PSTI_FORM_BINARY)
		return true;
	return column->form == PSTI_FORM_ARROW && !column->list && psti_copy_has_arrow(column->type) &&
		   !psti_copy_is_lossy(column->type);
}
