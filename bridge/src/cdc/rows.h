/*
 * rows.h - changed rows, gathered into batches: of one table at one version, from one origin.
 */
#ifndef PSTI_CDC_ROWS_H
#define PSTI_CDC_ROWS_H

#include "cdc/table.h"

typedef struct psti_rows_limits
{
	size_t rows; /* a batch is full at this many, at least 2: both rows of an update are in one */
	size_t bytes;
	psti_special special;
	size_t value_bytes; /* of one column's texts in a batch at most; 0: INT32_MAX, less in tests */
} psti_rows_limits;

/* What is told of a row beside its values. */
typedef struct psti_row_facts
{
	int8_t kind; /* PST_ROW_… */
	uint64_t commit_lsn;
	uint64_t xid;
	uint64_t sequence;
	uint64_t lsn;
	int64_t op_ts;		/* microseconds since 1970 UTC */
	const char *origin; /* NULL: local */
} psti_row_facts;

typedef struct psti_rows psti_rows;

pst_status psti_rows_new(const psti_rows_limits *limits, psti_rows **out, pst_error *err);
void psti_rows_free(psti_rows *rows);

/*
 * Whether nrows (1 or 2) of the table, of so many bytes together, can be put now, else the open batch is to be
 * taken first.
 */
bool psti_rows_fit(const psti_rows *rows, const psti_table *table, const char *origin, size_t nrows,
				   size_t nbytes);

/*
 * Puts a row of the table, which must outlive the batch. Values of row that are not told are NULL, with
 * their bit set. PST_ERR_DATA names the row's key and the value that cannot be told.
 */
pst_status psti_rows_put(psti_rows *rows, psti_table *table, const psti_row *row,
						 const psti_row_facts *facts, pst_error *err);

size_t psti_rows_pending(const psti_rows *rows);

/*
 * Moves the open batch's array out; everything else of *out is borrowed until the next call. There must
 * be rows.
 */
pst_status psti_rows_take(psti_rows *rows, pst_change_batch *out, pst_error *err);

#endif /* PSTI_CDC_ROWS_H */
