/*
 * arrow_check.h - is an array from a caller what its schema says?
 *
 * Batches in come from other libraries. Before the sink or an encoder reads them: the number of
 * children, buffers, lengths and offsets that can be checked without reading past a buffer.
 */
#ifndef PSTI_ARROW_CHECK_H
#define PSTI_ARROW_CHECK_H

#include "arrow_build.h"

/* What a format string means, as far as this library writes or reads it. */
typedef enum psti_arrow_kind
{
	PSTI_ARROW_UNKNOWN,
	PSTI_ARROW_NULL,	  /* n */
	PSTI_ARROW_BOOL,	  /* b */
	PSTI_ARROW_INT8,	  /* c */
	PSTI_ARROW_UINT8,	  /* C */
	PSTI_ARROW_INT16,	  /* s */
	PSTI_ARROW_UINT16,	  /* S */
	PSTI_ARROW_INT32,	  /* i */
	PSTI_ARROW_UINT32,	  /* I */
	PSTI_ARROW_INT64,	  /* l */
	PSTI_ARROW_UINT64,	  /* L */
	PSTI_ARROW_FLOAT,	  /* f */
	PSTI_ARROW_DOUBLE,	  /* g */
	PSTI_ARROW_DECIMAL,	  /* d:p,s (128 bit) */
	PSTI_ARROW_DATE32,	  /* tdD */
	PSTI_ARROW_DATE64,	  /* tdm */
	PSTI_ARROW_TIME32,	  /* tts, ttm */
	PSTI_ARROW_TIME64,	  /* ttu, ttn */
	PSTI_ARROW_TIMESTAMP, /* tss: tsm: tsu: tsn: with or without a zone */
	PSTI_ARROW_INTERVAL,  /* tin: months, days, nanoseconds */
	PSTI_ARROW_UTF8,	  /* u */
	PSTI_ARROW_LARGE_UTF8,
	PSTI_ARROW_BINARY, /* z */
	PSTI_ARROW_LARGE_BINARY,
	PSTI_ARROW_FIXED_BINARY, /* w:n */
	PSTI_ARROW_LIST,		 /* +l */
	PSTI_ARROW_LARGE_LIST,	 /* +L */
	PSTI_ARROW_STRUCT		 /* +s */
} psti_arrow_kind;

typedef struct psti_arrow_type
{
	psti_arrow_kind kind;
	int precision; /* decimal */
	int scale;
	int width;			/* fixed binary: bytes */
	int64_t per_second; /* units of a time or timestamp in a second: 1, 1000 … 10^9 */
	bool with_zone;		/* timestamp with a zone: an instant */
	uint32_t pg_type;	/* binary: holds the binary form of this type (pgbinary.h); 0: does not */
	bool pg_array;		/* … of an array of it */
	char delimiter;		/* between the items of a list or array as text; 0: a comma */
} psti_arrow_type;

/* What people call the type of a format, for messages: "decimal128(10, 2)". Gives out. */
#define PSTI_ARROW_NAME 80
const char *psti_arrow_name(const char *format, char out[PSTI_ARROW_NAME]);

/* Reads a format string; kind is PSTI_ARROW_UNKNOWN for what the library does not handle. */
psti_arrow_type psti_arrow_parse(const char *format);

/* PST_ERR_INVALID naming the column when the array cannot be one of this schema. */
pst_status psti_arrow_check(const struct ArrowSchema *schema, const struct ArrowArray *array,
							pst_error *err);

#endif /* PSTI_ARROW_CHECK_H */
