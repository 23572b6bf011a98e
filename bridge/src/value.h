/*
 * value.h - the text of one value of an Arrow array, as PostgreSQL would print it.
 *
 * Used by the csv and json encoders and by the sink for columns whose Arrow type is not the
 * target's binary form. Lists become array literals, structs are not supported.
 */
#ifndef PSTI_VALUE_H
#define PSTI_VALUE_H

#include "arrow_check.h"
#include "buf.h"

/*
 * Appends the text of row i (without the array's offset), which is not NULL. type is the parsed
 * format of schema. PST_ERR_DATA for a value that has no PostgreSQL text (a date beyond range).
 */
pst_status psti_value_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
						   const struct ArrowArray *array, int64_t i, psti_buf *out,
						   pst_error *err);

/* The same as a json value, as row_to_json prints it. */
pst_status psti_value_json(const struct ArrowSchema *schema, const psti_arrow_type *type,
						   const struct ArrowArray *array, int64_t i, psti_buf *out,
						   pst_error *err);

#endif /* PSTI_VALUE_H */
