/*
 * patterns.h - lists of patterns of names, in the language of output plugin penstock (docs/cdc.md), as
 * conditions in SQL: so that a snapshot has the tables and columns that the stream has.
 *
 * Patterns are separated by commas. One is a regular expression in slashes, which has to match the whole
 * name, or a name with dots between its parts (where a name has but one part, dots belong to it): * is any text and ? any letter, capitals are folded but in
 * double quotes, where every letter means itself.
 */
#ifndef PSTI_CDC_PATTERNS_H
#define PSTI_CDC_PATTERNS_H

#include "buf.h"
#include "options.h"

#define PSTI_PATTERN_PARTS 3

typedef struct psti_pattern
{
	char *text;	 /* as it was written; owned, as all texts here */
	char *regex; /* of the whole name, without slashes; NULL: a name in parts */
	size_t nparts;
	char *parts[PSTI_PATTERN_PARTS]; /* each as an anchored regular expression */
	char *names[PSTI_PATTERN_PARTS]; /* … and, where it is exact, as the name that it means */
	bool exact;						 /* a name in parts, without * and ? outside of quotes */
} psti_pattern;

typedef struct psti_patterns
{
	psti_pattern *patterns;
	size_t n;
} psti_patterns;

/* Reads an option's list of names of least to most parts; not given: none. */
pst_status psti_patterns_read(const psti_options *options, psti_opt opt, size_t least, size_t most,
							  psti_patterns *out, pst_error *err);
void psti_patterns_free(psti_patterns *patterns);

/* Appends the condition that names, SQL expressions of type text as many as its parts, match the pattern. */
void psti_pattern_condition(const psti_pattern *pattern, const char *const *names, size_t nnames,
							psti_buf *sql);

/* Likewise that any of the patterns is matched; none: false. */
void psti_patterns_condition(const psti_patterns *patterns, const char *const *names, size_t nnames,
							 psti_buf *sql);

#endif /* PSTI_CDC_PATTERNS_H */
