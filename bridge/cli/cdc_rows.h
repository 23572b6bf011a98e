/*
 * cdc_rows.h - rows of a change capture as Arrow batches that say what has happened to each.
 *
 * To the columns of the table come row_kind (+I, -U, +U, -D) and, as `penstock read` has none of these,
 * __commit_lsn, __lsn, __xid, __sequence (unsigned 64 bit), __op_ts (timestamp, UTC) and __unchanged: the
 * names of the columns whose NULL is no NULL, but a value that the change does not carry.
 */
#ifndef CLI_CDC_ROWS_H
#define CLI_CDC_ROWS_H

#include "penstock.h"

/*
 * The schema of the batches, to be released. It borrows what `table` holds, and is of use as long. False with
 * *twice: the table has a column of that name.
 */
bool cdc_rows_schema(const struct ArrowSchema *table, const char *row_kind, struct ArrowSchema *out,
					 const char **twice);

/* The rows of a batch, whose array is moved; to be released. */
void cdc_rows_take(pst_change_batch *rows, struct ArrowArray *out);

#endif /* CLI_CDC_ROWS_H */
