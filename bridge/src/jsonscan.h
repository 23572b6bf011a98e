/*
 * jsonscan.h - reading json without losing a digit: a strict scanner (RFC 8259) over bytes.
 *
 * It gives tokens as they stand, so numbers keep all their digits, and allocates nothing of its
 * own. Whether the bytes are UTF-8 is for the caller to check. Nesting is bounded.
 */
#ifndef PSTI_JSONSCAN_H
#define PSTI_JSONSCAN_H

#include "buf.h"

#define PSTI_JSON_MAX_DEPTH 1000

typedef enum psti_json_kind
{
	PSTI_JSON_BAD,
	PSTI_JSON_NULL,
	PSTI_JSON_TRUE,
	PSTI_JSON_FALSE,
	PSTI_JSON_NUMBER,
	PSTI_JSON_STRING,
	PSTI_JSON_ARRAY,
	PSTI_JSON_OBJECT
} psti_json_kind;

typedef struct psti_jsonscan
{
	const char *at;		 /* the next byte; borrowed text */
	const char *end;	 /* one behind the last */
	const char *problem; /* static: what is wrong, at `at`; NULL while nothing is */
} psti_jsonscan;

/* Skips white space and says what begins there; BAD at the end or before anything else. */
psti_json_kind psti_jsonscan_peek(psti_jsonscan *scan);

/* Skips white space; takes the byte c (of `,:[]{}`) if it is next. */
bool psti_jsonscan_take(psti_jsonscan *scan, char c);

/*
 * Takes a string, whose quote is next, and appends what it holds to out. False with a problem, also
 * for \u0000 and half a surrogate pair, which no text can hold. With out NULL it is only passed
 * over, and then those two are let through, as type json lets them.
 */
bool psti_jsonscan_string(psti_jsonscan *scan, psti_buf *out);

/* Takes any value and checks it; *text and *nbytes (NULL allowed) are its bytes as they stand. */
bool psti_jsonscan_value(psti_jsonscan *scan, const char **text, size_t *nbytes);

/* True when nothing but white space is left. */
bool psti_jsonscan_done(psti_jsonscan *scan);

/* The kind of the one value that a text is, or BAD. */
psti_json_kind psti_jsonscan_text(const char *text, size_t nbytes);

#endif /* PSTI_JSONSCAN_H */
