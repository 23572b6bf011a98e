/*
 * judge.h - what becomes of a change of a table whose rows were read under snapshots.
 *
 * The rules of regress/model/cdc_model.py (halves, skip, truncate, unchanged), as functions of what is given
 * to them. A table's rows were read region by region, each under one snapshot; a change is in what was read
 * exactly when that snapshot sees its transaction. An update that changes the key is two changes, each
 * of its own key's region. What cannot be placed is a reset: the table is to be read anew.
 */
#ifndef PSTI_CDC_JUDGE_H
#define PSTI_CDC_JUDGE_H

#include "cdc/visible.h"

/* A value of a key that regions are cut by: integers, dates and timestamps with their sign flipped, uuids. */
typedef struct psti_region_key
{
	uint64_t high;
	uint64_t low;
} psti_region_key;

typedef enum psti_key_kind
{
	PSTI_KEY_NONE, /* the table is one region */
	PSTI_KEY_INT2,
	PSTI_KEY_INT4,
	PSTI_KEY_INT8,
	PSTI_KEY_DATE,
	PSTI_KEY_TIMESTAMP, /* with or without time zone */
	PSTI_KEY_UUID
} psti_key_kind;

/* The key of the bytes of the type's send function. False: they are not the type's. */
bool psti_region_key_read(psti_key_kind kind, const void *data, size_t nbytes,
						  psti_region_key *out);

/* The kind of a type's OID, PSTI_KEY_NONE for one that regions are not cut by. */
psti_key_kind psti_key_kind_of(uint32_t oid);

int psti_region_key_compare(const psti_region_key *a, const psti_region_key *b);

/* Rows from lower on and below the next region's lower. */
typedef struct psti_region
{
	psti_region_key lower;		   /* of the first region nothing: it begins below all keys */
	const psti_snapshot *snapshot; /* borrowed; NULL: forgotten, it can leave out no more changes */
} psti_region;

/* The regions of one table; none: nothing of it was read, or all of that is forgotten. */
typedef struct psti_regions
{
	psti_key_kind kind;
	const psti_region *regions; /* ascending; borrowed */
	size_t n;
} psti_regions;

typedef enum psti_verdict
{
	PSTI_APPLY,		/* as it is */
	PSTI_LEAVE_OUT, /* what was read has it */
	PSTI_OLD_HALF,	/* the old row goes; the new one was read */
	PSTI_NEW_HALF,	/* the new row comes; the old one was not read any more */
	PSTI_RESET		/* the table is to be read anew */
} psti_verdict;

/* The key of a row, as far as the change tells. */
typedef enum psti_row_key
{
	PSTI_KEY_KNOWN,
	PSTI_KEY_ABSENT /* the replica identity does not hold it */
} psti_row_key;

typedef struct psti_row_keys
{
	bool has_old;			/* update, delete: there was a row */
	bool has_fresh;			/* insert, update: there is one */
	psti_row_key old_known; /* of an update that did not change it, the same as fresh */
	psti_row_key fresh_known;
	psti_region_key old;
	psti_region_key fresh;
	bool fresh_is_whole; /* no value of the new row is unchanged and unknown */
} psti_row_keys;

psti_verdict psti_judge_row(const psti_regions *regions, const psti_row_keys *keys, uint64_t xid);

/* A truncate, and the rewrite of a table that comes with its rows: APPLY, LEAVE_OUT or RESET. */
psti_verdict psti_judge_truncate(const psti_regions *regions, uint64_t xid);

#endif /* PSTI_CDC_JUDGE_H */
