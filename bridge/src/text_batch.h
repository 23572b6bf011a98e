/*
 * text_batch.h - batches of utf8 columns, filled row by row: what the csv and json decoders make.
 *
 * A row is filled cell by cell in any order and closed by psti_text_batch_row; cells that were not
 * filled are then absent: NULL, and marked so. Memory follows the rows that are there.
 */
#ifndef PSTI_TEXT_BATCH_H
#define PSTI_TEXT_BATCH_H

#include "arrow_build.h"
#include "buf.h"

#define PSTI_TEXT_BATCH_ROWS 65536
#define PSTI_TEXT_BATCH_BYTES (4 << 20)

typedef struct psti_text_column
{
	psti_buf data;	  /* the texts, one after the other */
	int32_t *offsets; /* owned; room for the batch's rows and one more */
	uint8_t *valid;	  /* owned bitmap, 0: NULL */
	uint8_t *absent;  /* owned bitmap, 1: the row has no such value; NULL while all have */
	int64_t nulls;
	size_t last;	/* bytes of text in the batch before: as many are made room for at once */
	int64_t filled; /* rows that have this cell: nrows, or one more while a row is being filled */
} psti_text_column;

typedef struct psti_text_batch
{
	psti_text_column *columns; /* owned */
	size_t ncolumns;
	bool with_kinds;
	int8_t *kinds; /* owned; with_kinds: PST_ROW_* of each row */
	int64_t room;  /* rows that the arrays have room for */
	int64_t last;  /* rows of the batch before */
	int64_t nrows;
	size_t nbytes; /* of all texts and offsets */
} psti_text_batch;

pst_status psti_text_batch_init(psti_text_batch *batch, size_t ncolumns, bool with_kinds,
								pst_error *err);
void psti_text_batch_free(psti_text_batch *batch);

/* Before a row's first cell: makes room for one more row. */
pst_status psti_text_batch_reserve(psti_text_batch *batch, pst_error *err);

/* Whether this row has the cell already. */
static inline bool
psti_text_batch_has(const psti_text_batch *batch, size_t column)
{
	return batch->columns[column].filled > batch->nrows;
}

/* The buffer to append a cell's text to; psti_text_batch_done ends the cell. */
static inline psti_buf *
psti_text_batch_cell(psti_text_batch *batch, size_t column)
{
	return &batch->columns[column].data;
}

void psti_text_batch_done(psti_text_batch *batch, size_t column);
void psti_text_batch_null(psti_text_batch *batch, size_t column);

/* Closes the row: absent cells are marked. kind is ignored without a row kind column. */
pst_status psti_text_batch_row(psti_text_batch *batch, int8_t kind, pst_error *err);

/* Forgets the cells of a row that was not closed. */
void psti_text_batch_undo(psti_text_batch *batch);

static inline bool
psti_text_batch_full(const psti_text_batch *batch)
{
	return batch->nrows >= PSTI_TEXT_BATCH_ROWS || batch->nbytes >= PSTI_TEXT_BATCH_BYTES;
}

/* A further column, absent in all rows so far. */
pst_status psti_text_batch_add(psti_text_batch *batch, pst_error *err);

/*
 * Moves norder columns, those whose numbers stand in order (NULL: all, as they are), to a struct
 * array, their absent bitmaps to absent[i] (NULL: none absent; absent itself may be NULL when no
 * cell can be), and the kinds to *kinds (NULL without). The batch is then empty again, whatever
 * came of it; on failure its rows are lost.
 */
pst_status psti_text_batch_take(psti_text_batch *batch, const size_t *order, size_t norder,
								struct ArrowArray *out, uint8_t **absent, int8_t **kinds,
								pst_error *err);

/* PST_ROW_* of "+I" "-U" "+U" "-D", +I for an empty text; -1 for anything else. */
int8_t psti_row_kind(const char *text, size_t nbytes);

#endif /* PSTI_TEXT_BATCH_H */
