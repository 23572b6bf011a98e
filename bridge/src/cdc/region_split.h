/*
 * region_split.h - a region of a capture's snapshot, or a piece of one, as a printable text that any
 * process can read it by.
 *
 * "pst1:" and a json object: whose region it is, at which position it was planned, what its rows look like,
 * and the split of a source (split.h) that gives them. It carries data, never SQL, and nothing of how the
 * server is reached. What is read from a text is checked here for its form, by the reader against the server,
 * and by the capture against its position.
 */
#ifndef PSTI_CDC_REGION_SPLIT_H
#define PSTI_CDC_REGION_SPLIT_H

#include "cdc/position.h"
#include "split.h"

typedef struct psti_region_split
{
	/* The capture, and the position at which the region was planned. All texts are owned. */
	char *system;
	char *database;
	char *slot;
	uint32_t timeline;
	uint64_t safe_lsn;
	uint64_t commit_lsn; /* 0: not inside a transaction */
	uint64_t number;
	char *view; /* the snapshot that it is read under, as its text; NULL: the slot's own */

	/* The table. */
	uint32_t oid;
	char *schema;
	char *table;
	char **columns;
	size_t ncolumns;
	char **key;
	size_t nkeys;

	/* Options that shape rows, as they were given; NULL: not given. */
	char *values;
	char *special_values;
	char *text_columns;
	bool assisted;

	/* The region: lower <= column < upper, NULL: no bound; column NULL: the whole table. */
	char *column;
	char *lower;
	char *upper;
	size_t piece; /* from 0; a region is read when all its pieces are */
	size_t npieces;

	char *read; /* the split of the source */
} psti_region_split;

/* *out is moved to the caller. */
pst_status psti_region_split_print(const psti_region_split *split, char **out, pst_error *err);

/* Fills *out, which psti_region_split_free empties. PST_ERR_INVALID for what is no such text. */
pst_status psti_region_split_parse(const char *text, psti_region_split *out, pst_error *err);
void psti_region_split_free(psti_region_split *split);

/* Fills *out, which psti_split_free empties, with the split of the source. PST_ERR_INVALID: it has none of its table. */
pst_status psti_region_split_read(const psti_region_split *split, psti_split *out, pst_error *err);

/* Whether rows of both are of one table and one form: what has read one can read the other. */
bool psti_region_split_alike(const psti_region_split *a, const psti_region_split *b);

/* PST_ERR_STATE, retryable: nobody can read it any more, or wants it read. */
pst_status psti_region_split_over(const psti_region_split *split, pst_error *err);

#endif /* PSTI_CDC_REGION_SPLIT_H */
