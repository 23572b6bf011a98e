/*
 * json.h - the only door to cJSON: reading and writing of small json texts.
 *
 * Numbers that may exceed 2^53 and numerics travel as json strings in our own texts.
 */
#ifndef PSTI_JSON_H
#define PSTI_JSON_H

#include "buf.h"

typedef struct psti_json psti_json; /* a value inside a parsed text */

/* Parses a whole text; PST_ERR_DATA with the offset when it is not json. Free the root only. */
pst_status psti_json_parse(const char *text, psti_json **out, pst_error *err);
void psti_json_free(psti_json *root);

/* Look-ups (case-sensitive). NULL object, absent key or another type gives NULL, dflt, 0 … */
const psti_json *psti_json_get(const psti_json *object, const char *key);
const char *psti_json_text(const psti_json *object, const char *key);
int64_t psti_json_int(const psti_json *object, const char *key,
					  int64_t dflt);							   /* number or string */
int64_t psti_json_int_value(const psti_json *value, int64_t dflt); /* the same of a value itself */
bool psti_json_bool(const psti_json *object, const char *key, bool dflt);
size_t psti_json_size(const psti_json *array);
const psti_json *psti_json_at(const psti_json *array, size_t i); /* O(i): iterate with next */
const psti_json *psti_json_first(const psti_json *array);
const psti_json *psti_json_next(const psti_json *item);
const char *psti_json_string_value(const psti_json *value); /* NULL when not a string */
bool psti_json_is_null(const psti_json *value);

/* Writing is by psti_buf: this appends a text as a json string, which is UTF-8 whatever the text is. */
void psti_json_put_string(psti_buf *buf, const char *text);

/* Bytes as they are, but what is not UTF-8 among them, or NUL, as U+FFFD. */
void psti_json_put_utf8(psti_buf *buf, const char *text, size_t nbytes);

/* psti_json_put_string with the bytes as they are: for a text that nobody but psti_json_parse reads. */
void psti_json_put_bytes(psti_buf *buf, const char *text);

#endif /* PSTI_JSON_H */
