/*
 * value.h - the text of one value of an Arrow array, as PostgreSQL would print it.
 *
 * Used by the csv and json encoders and by the sink for columns whose Arrow type is not the
 * target's binary form. Lists become array literals, lists of lists arrays of more dimensions;
 * structs are not supported. A fraction of a microsecond is an error, since it would be lost. 16 bytes
 * of fixed width are a uuid, any other width is a bytea.
 */
#ifndef PSTI_VALUE_H
#define PSTI_VALUE_H

#include "arrow_check.h"
#include "buf.h"

/*
 * Appends the text of row i (without the array's offset), which is not NULL. type is what
 * psti_pgbinary_field says of schema. PST_ERR_DATA for a value that has no PostgreSQL text (a date beyond range).
 */
pst_status psti_value_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
						   const struct ArrowArray *array, int64_t i, psti_buf *out,
						   pst_error *err);

/*
 * The same as a json value, as row_to_json prints it. A utf8 field with `penstock.type` json or
 * jsonb, or of extension type arrow.json, holds json: it is printed by psti_value_raw_json.
 */
pst_status psti_value_json(const struct ArrowSchema *schema, const psti_arrow_type *type,
						   const struct ArrowArray *array, int64_t i, psti_buf *out,
						   pst_error *err);

/* The bytes of a value of a utf8 or binary field; borrowed from the array. */
const char *psti_value_bytes(const psti_arrow_type *type, const struct ArrowArray *array, int64_t i,
							 size_t *nbytes);

/* A date, time or timestamp as PostgreSQL has it: days, microseconds, or microseconds since 2000. */
pst_status psti_value_moment(const struct ArrowSchema *schema, const psti_arrow_type *type,
							 const struct ArrowArray *array, int64_t i, int64_t *out,
							 pst_error *err);

/* Whether a utf8 field holds json texts, by its metadata. */
bool psti_value_is_json(const struct ArrowSchema *schema);

/*
 * A json text as a value on a line: line breaks between its tokens become spaces. A json null or
 * string, or what is no json at all, is given as a json string that holds the text: so SQL NULL
 * stays apart, and it reads back as the same text.
 */
void psti_value_raw_json(const char *text, size_t nbytes, psti_buf *out);

#endif /* PSTI_VALUE_H */
