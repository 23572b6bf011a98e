/*
 * copy_decode_internal.h - between the framing of binary COPY (copy_decode.c), the types
 * (copy_decode_types.c) and arrays of them (copy_decode_list.c).
 */
#ifndef PSTI_COPY_DECODE_INTERNAL_H
#define PSTI_COPY_DECODE_INTERNAL_H

#include "copy_decode.h"

typedef enum psti_outcome
{
	PSTI_GOOD,
	PSTI_NULLED,   /* a special value that becomes NULL */
	PSTI_SHORT,	   /* the row's bytes are not all here */
	PSTI_FULL,	   /* no room in this batch: the row begins the next */
	PSTI_BAD,	   /* not this type's bytes */
	PSTI_SPECIAL,  /* a special value that is an error */
	PSTI_NOT_UTF8, /* a text that is not */
	PSTI_NO_MEMORY
} psti_outcome;

typedef struct psti_vector psti_vector;

/*
 * Writes value i from n bytes. What a row wrote is undone by writing row i again: everything that
 * is stored lies at i, or at the end that offsets[i] tells.
 */
typedef psti_outcome (*psti_store_fn)(psti_vector *v, int64_t i, const uint8_t *p, size_t n);

/* Appends the value's text. */
typedef psti_outcome (*psti_render_fn)(const uint8_t *p, size_t n, psti_buf *out);

/* How a value is printed, or an array of values. */
typedef struct psti_printer
{
	psti_render_fn value; /* in the form asked for */
	psti_render_fn text;  /* the output function's bytes */
	bool list;
	bool json;
	bool of_json;	/* list: the elements are json */
	char delimiter; /* between the elements of a literal */
	uint32_t elem;	/* list: as in psti_copy_column; 0: any */
} psti_printer;

/* One Arrow array that grows. */
struct psti_vector
{
	bool spends; /* psti_copy_value.spent of the value at hand */
	psti_store_fn store;
	psti_printer print;	 /* of printed texts; its text names the row's key in errors */
	uint8_t *valid;		 /* bitmap; NULL while there was no NULL */
	uint8_t *fixed;		 /* values, bits of a bool, or the offsets of texts and lists */
	psti_buf bytes;		 /* what the offsets point into */
	size_t likely_bytes; /* what the last batch suggests for this one */
	psti_vector *child;	 /* a list's elements, owned; NULL otherwise */
	int64_t cap;		 /* rows that valid and fixed have room for */
	int width;			 /* bytes of a value in fixed; 0: one bit */
	bool offsets;		 /* fixed holds cap + 1 int32 offsets */
	psti_special special;
	size_t value_bytes;
	int precision;
	int scale;
	uint32_t elem;
};

/* Sets store, render, width and the rest for a column. child (for lists) is made by the caller. */
void psti_vector_choose(psti_vector *v, const psti_copy_column *column);

/* Appends a value's text; arrays are in copy_decode_list.c. */
psti_outcome psti_print(const psti_printer *print, const uint8_t *p, size_t n, psti_buf *out);

/* An array into a list. More dimensions or another lower bound are special; clamped it is flattened. */
psti_outcome psti_store_list(psti_vector *v, int64_t i, const uint8_t *p, size_t n);

/* Room for at least `rows` rows; false: out of memory. */
bool psti_vector_grow(psti_vector *v, int64_t rows);

/* Value i is NULL (or is not); on a first NULL makes the bitmap. */
bool psti_vector_null(psti_vector *v, int64_t i);

/* What to do with a special value, unless it is clamped. */
static inline psti_outcome
psti_vector_refuse(const psti_vector *v)
{
	return v->special == PSTI_SPECIAL_NULL ? PSTI_NULLED : PSTI_SPECIAL;
}

static inline void
psti_vector_valid(psti_vector *v, int64_t i)
{
	if (v->valid != NULL)
		psti_bit_set(v->valid, i);
}

#endif /* PSTI_COPY_DECODE_INTERNAL_H */
