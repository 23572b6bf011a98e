/*
 * split.h - a part of a read as a printable text that another process can take up.
 *
 * "pst1:" and a json object. It carries data, never SQL: what is read from it is checked here for
 * its form and by the source against the relation, then quoted or bound.
 */
#ifndef PSTI_SPLIT_H
#define PSTI_SPLIT_H

#include "buf.h"

/* A run of heap blocks of a table or of one of its leaves. */
typedef struct psti_blocks
{
	uint32_t oid;
	uint32_t node;	/* its file node when it was planned */
	uint32_t first; /* first block */
	int64_t end;	/* the block after the last one; -1: to the end, however far it has grown */
} psti_blocks;

/* A half-open run of a column's values: lower <= value < upper. */
typedef struct psti_stride
{
	char *lower;	/* NULL: from below everything; owned */
	char *upper;	/* NULL: to above everything; owned */
	bool inclusive; /* upper itself too */
	bool nulls;		/* and the rows where the column is NULL */
} psti_stride;

typedef enum psti_split_kind
{
	PSTI_SPLIT_ALL,
	PSTI_SPLIT_BLOCKS,
	PSTI_SPLIT_STRIDE
} psti_split_kind;

typedef struct psti_split
{
	psti_split_kind kind;
	char *snapshot; /* id to import; owned, as all texts here */
	char *system;	/* identifier of the cluster, "" where the role may not see it */
	char *started;	/* when its postmaster started */
	char *database;
	char *schemas; /* the planner's search_path, as current_schemas tells it */
	char *options; /* fingerprint of the options that shape the rows */
	uint32_t relation;
	psti_blocks *blocks; /* of PSTI_SPLIT_BLOCKS */
	size_t nblocks;
	char *column; /* of PSTI_SPLIT_STRIDE */
	psti_stride stride;
} psti_split;

/* *out is moved to the caller. */
pst_status psti_split_print(const psti_split *split, char **out, pst_error *err);

/* Fills *out, which psti_split_free empties. PST_ERR_INVALID for what is not a split. */
pst_status psti_split_parse(const char *text, psti_split *out, pst_error *err);
void psti_split_free(psti_split *split);

void psti_stride_free(psti_stride *stride);

#endif /* PSTI_SPLIT_H */
