/*
 * copy_decode.h - binary COPY in, Arrow struct batches out.
 *
 * Knows no socket and no clock: bytes are fed in slices of any size, batches are taken when they
 * are full. The bytes are hostile: every count and length is checked before it is used, and what
 * no honest server sends is PST_ERR_PROTOCOL. Format: "Binary Format" on the manual's COPY page;
 * each type's bytes are those of its send function.
 */
#ifndef PSTI_COPY_DECODE_H
#define PSTI_COPY_DECODE_H

#include "arrow_build.h"
#include "buf.h"

/* What a field's bytes are. */
typedef enum psti_copy_type
{
	PSTI_COPY_BOOL,
	PSTI_COPY_INT2,
	PSTI_COPY_INT4,
	PSTI_COPY_INT8,
	PSTI_COPY_OID,
	PSTI_COPY_FLOAT4,
	PSTI_COPY_FLOAT8,
	PSTI_COPY_DATE,
	PSTI_COPY_TIME,
	PSTI_COPY_TIMETZ,
	PSTI_COPY_TIMESTAMP,
	PSTI_COPY_TIMESTAMPTZ,
	PSTI_COPY_INTERVAL,
	PSTI_COPY_INTERVAL_FINITE, /* before 17: the extremes are intervals, not infinities */
	PSTI_COPY_UUID,
	PSTI_COPY_BYTEA,
	PSTI_COPY_NUMERIC,
	PSTI_COPY_TEXT,		   /* any text, also one that an output function made */
	PSTI_COPY_JSON,		   /* the text of a json value */
	PSTI_COPY_JSONB,	   /* version byte 1, then the text */
	PSTI_COPY_NUMBER_TEXT, /* text of a number, made by the server */
	PSTI_COPY_MADE_JSON,   /* to_json of an array, composite …, made by the server */
	PSTI_COPY_NTYPES
} psti_copy_type;

/* What becomes of it. */
typedef enum psti_copy_form
{
	PSTI_FORM_ARROW, /* the Arrow type of wire/types.def; utf8 where there is none */
	PSTI_FORM_TEXT,	 /* utf8: the bytes of the output function */
	PSTI_FORM_JSON,	 /* utf8: the value as row_to_json writes it */
	PSTI_FORM_BINARY /* binary: the bytes as the server sent them */
} psti_copy_form;

/* Values that the PostgreSQL type holds and the Arrow type does not; numbered as special-values. */
typedef enum psti_special
{
	PSTI_SPECIAL_ERROR,
	PSTI_SPECIAL_NULL,
	PSTI_SPECIAL_CLAMP
} psti_special;

typedef struct psti_copy_column
{
	const char *name; /* for errors; borrowed until the decoder is freed */
	psti_copy_type type;
	psti_copy_form form;
	bool list;	   /* an array of type; in PSTI_FORM_ARROW a list, which has one dimension */
	uint32_t elem; /* list: OID that the server must announce for the elements */
	bool not_null; /* a NULL is an error */
	bool key;	   /* part of the key that names a row in errors */
	int precision; /* numeric in PSTI_FORM_ARROW: decimal128(precision, scale) */
	int scale;
	char delimiter; /* between the elements of an array's text; 0: a comma */
} psti_copy_column;

typedef struct psti_copy_limits
{
	int64_t rows;		/* a batch is full at this many rows, at least 1 */
	size_t bytes;		/* or when the server sent this many bytes for it */
	size_t value_bytes; /* bytes of one column's texts at most: INT32_MAX, less in tests */
	psti_special special;
	bool tuples; /* rows are kept as they came: psti_copy_tuples gives them, not psti_copy_take */
} psti_copy_limits;

/* Rows as they came, for a writer that need not look at the values. */
typedef struct psti_tuples
{
	psti_buf bytes; /* the rows behind each other: an int16 number of fields, then the fields */
	size_t *starts; /* where each begins */
	size_t nrows;
	size_t cap;
} psti_tuples;

static inline size_t
psti_tuples_end(const psti_tuples *tuples, size_t i)
{
	return i + 1 < tuples->nrows ? tuples->starts[i + 1] : tuples->bytes.len;
}

typedef struct psti_copy_decoder psti_copy_decoder;

/* columns are copied, their names borrowed. */
pst_status psti_copy_decoder_new(const psti_copy_column *columns, size_t ncolumns,
								 const psti_copy_limits *limits, psti_copy_decoder **out,
								 pst_error *err);
void psti_copy_decoder_free(psti_copy_decoder *decoder);

/*
 * Takes bytes; *used of them were consumed. PST_OK: all, feed more. PST_AGAIN: a batch is full,
 * take it and feed the rest. PST_END: the trailer was read.
 */
pst_status psti_copy_feed(psti_copy_decoder *decoder, const void *data, size_t nbytes, size_t *used,
						  pst_error *err);

/* A field: the bytes of its type's send function, or NULL. */
typedef struct psti_copy_value
{
	const void *data;
	size_t len;
	bool null;
	bool
		spent; /* nobody reads the bytes again: of large ones the memory is given back while they are copied */
} psti_copy_value;

/*
 * Puts one row that did not come by COPY, a value a column (borrowed), into the open batch. PST_AGAIN: the
 * batch is full, take it and put the row again.
 */
pst_status psti_copy_put(psti_copy_decoder *decoder, const psti_copy_value *values, pst_error *err);

/* Rows in the open batch. */
int64_t psti_copy_pending(const psti_copy_decoder *decoder);

/* Moves the open batch out, also when it is not full or has no rows. */
pst_status psti_copy_take(psti_copy_decoder *decoder, struct ArrowArray *out, pst_error *err);

/* The open batch of a decoder of tuples: borrowed until psti_copy_tuples_done, which forgets it. */
const psti_tuples *psti_copy_tuples(const psti_copy_decoder *decoder);
void psti_copy_tuples_done(psti_copy_decoder *decoder);

/* The server has ended the copy: PST_ERR_PROTOCOL unless the trailer was read. */
pst_status psti_copy_finish(const psti_copy_decoder *decoder, pst_error *err);

/* Another COPY of the same columns follows; rows of the open batch stay. */
void psti_copy_restart(psti_copy_decoder *decoder);

/* The same, and the open batch's rows are forgotten. */
void psti_copy_reset(psti_copy_decoder *decoder);

/* The type that a server's type (its OID, fixed for built-in ones) is; false: none of these. */
bool psti_copy_known(uint32_t oid, psti_copy_type *type);

/* Whether it has an Arrow type (wire/types.def), and whether there are values which that cannot hold. */
bool psti_copy_has_arrow(psti_copy_type type);
bool psti_copy_is_lossy(psti_copy_type type);

/*
 * Appends the text of one value's bytes, by the column's type, list, elem (0: any) and form, which
 * is text or json. False when they are not of that type, or memory is short: then out has failed.
 */
bool psti_copy_print(const psti_copy_column *column, const void *data, size_t nbytes,
					 psti_buf *out);
/* Whether each value of the column stands for all bytes of its field, which say no more. */
bool psti_copy_verbatim(const psti_copy_column *column);

/* The Arrow format of a column's values: "u", "l", "d:12,2" … (of a list: of its elements). */
void psti_copy_format(const psti_copy_column *column, char *out, size_t size);

#endif /* PSTI_COPY_DECODE_H */
