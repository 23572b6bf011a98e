/*
 * record_input.h - a stream of bytes as a window that grows until it holds a whole record.
 *
 * The csv and json decoders look for a record's end in [begin, end) from `scanned` on, so that no
 * byte is looked at twice however large the record and however small the pieces it comes in.
 */
#ifndef PSTI_RECORD_INPUT_H
#define PSTI_RECORD_INPUT_H

#include "codec.h"

#define PSTI_RECORD_MAX ((size_t) 1 << 30) /* bytes: no field of the server's is longer */

typedef struct psti_record_input
{
	psti_input input;
	psti_buf window;
	size_t begin;	/* where the present record begins in window */
	size_t scanned; /* bytes of it that were searched for its end */
	int64_t record; /* number of the present record from 0, the header not counted */
	int64_t line;	/* line on which it begins, from 1 */
	bool started;	/* a byte order mark was skipped if there was one */
} psti_record_input;

void psti_record_input_init(psti_record_input *in, const psti_input *input);
void psti_record_input_free(psti_record_input *in);

/* The bytes of the present record that are there. */
static inline const char *
psti_record_begin(const psti_record_input *in)
{
	return in->window.data + in->begin;
}

/* None before it is known what the input is: a pause may come inside the mark at its start. */
static inline size_t
psti_record_have(const psti_record_input *in)
{
	return in->started ? in->window.len - in->begin : 0;
}

/*
 * Reads more: PST_OK when bytes were added, PST_END at the end of the input, PST_AGAIN when none
 * have come; PST_ERR_DATA when the record has reached PSTI_RECORD_MAX, or the input is
 * something else than text.
 */
pst_status psti_record_more(psti_record_input *in, pst_error *err);

/* Steps over nbytes of the present record and its end, nlines line breaks among them. */
void psti_record_next(psti_record_input *in, size_t nbytes, int64_t nlines);

/* "record 3 (line 5): …" as PST_ERR_DATA with err->row. */
pst_status psti_record_fail(const psti_record_input *in, pst_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts the place before an error that is already there, and sets its row. */
void psti_record_place(const psti_record_input *in, pst_error *err);

/* PST_ERR_DATA when the first nbytes of the record are not UTF-8 or hold a NUL byte. */
pst_status psti_record_utf8(const psti_record_input *in, size_t nbytes, pst_error *err);

#endif /* PSTI_RECORD_INPUT_H */
