/*
 * pgbinary.h - PostgreSQL's own binary form in an Arrow field, for values that no Arrow type holds.
 *
 * A field of format z with the metadata `penstock.binary` = date, numeric, int4[] … holds what that
 * type's send function gives, so NaN, infinities and arrays of any shape come through. A source
 * makes such fields with read.values = lossless; the sink hands the bytes on to a column of the
 * same type, and everything else that prints values gives the type's text. All types of
 * wire/types.def have a name here but interval, whose bytes mean something else since 17.
 */
#ifndef PSTI_PGBINARY_H
#define PSTI_PGBINARY_H

#include "arrow_check.h"
#include "buf.h"

/* psti_arrow_parse of a field's format, with what its metadata says of the bytes. */
psti_arrow_type psti_pgbinary_field(const struct ArrowSchema *field);

/* Appends the name of a type, or of an array of it; false: there is none. */
bool psti_pgbinary_name(uint32_t oid, bool array, psti_buf *out);

/* What Arrow type the values, or the elements, have where all fit: UNKNOWN where none does. */
psti_arrow_type psti_pgbinary_arrow(const psti_arrow_type *type);

/* The text of a value as the output function gives it, or as row_to_json does; false: wrong bytes. */
bool psti_pgbinary_print(const psti_arrow_type *type, const void *data, size_t nbytes, bool json,
						 psti_buf *out);

#endif /* PSTI_PGBINARY_H */
