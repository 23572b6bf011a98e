/*
 * error.h - filling pst_error, and the table from SQLSTATE to status.
 *
 * Inside the library `pst_error *err` is never NULL and always of the full present size: the
 * public functions enter with psti_enter and leave with psti_leave, which copies as much as the
 * caller's struct_size has room for.
 *
 * Formats describe what was being done in lower case without a full stop: "cannot open "x":
 * permission denied".
 */
#ifndef PSTI_ERROR_H
#define PSTI_ERROR_H

#include "penstock.h"

/* Makes *full an empty error. */
void psti_enter(pst_error *full);

/* Copies full to the caller's err (NULL allowed) when status < 0; returns status. */
pst_status psti_leave(pst_error *err, const pst_error *full, pst_status status);

/* Empties err, then sets status, message and retryable = false. Returns status. */
pst_status psti_fail(pst_error *err, pst_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with a SQLSTATE; status and retryable follow from it by the table. */
pst_status psti_fail_sqlstate(pst_error *err, const char *sqlstate, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

pst_status psti_fail_nomem(pst_error *err);

/* Add to an error that psti_fail has filled. */
void psti_error_detail(pst_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void psti_error_hint(pst_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "what: " before the message: outer layers say what they were doing. */
void psti_error_prefix(pst_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Copies a text into one of the inline arrays, cut at a UTF-8 boundary when too long. */
void psti_error_copy(char *field, size_t size, const char *text);
#define PSTI_ERROR_SET(err, field, text) psti_error_copy((err)->field, sizeof((err)->field), (text))

/*
 * The class of a five-character SQLSTATE and whether the same work may succeed when repeated
 * (DESIGN.md section 7): a pure function over one table, exact codes first, then classes.
 */
pst_status psti_sqlstate_status(const char *sqlstate, bool *retryable);

/* a * b into *out; false on overflow. */
bool psti_size_mul(size_t a, size_t b, size_t *out);

#endif /* PSTI_ERROR_H */
