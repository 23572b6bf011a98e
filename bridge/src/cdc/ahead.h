/*
 * ahead.h - small tables that are read next, described many at a time.
 *
 * A table of few rows costs what is asked about it. So the catalogs are asked for many at once, under the
 * snapshot that all of them are read under and as they are now; nothing is locked, and what has changed
 * until a table is read is noticed when it is (reading.c).
 */
#ifndef PSTI_CDC_AHEAD_H
#define PSTI_CDC_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "relation.h"

struct pst_cdc;

#define PSTI_AHEAD_MAX 128 /* tables */

typedef struct psti_ahead
{
	psti_relation *relations[PSTI_AHEAD_MAX]; /* ascending by OID; owned; NULL: taken */
	size_t n;
	PGresult *watched; /* psti_watch_ask of them; owned */
	bool asked;
	uint32_t from; /* the OIDs between which all small tables are among them … */
	uint32_t to;
} psti_ahead;

/*
 * What the table is, moved to *out: it can be read as small ones are, under the snapshot that others are read
 * under. NULL: it cannot, or not now.
 */
pst_status psti_ahead_take(struct pst_cdc *cdc, uint32_t oid, psti_relation **out, pst_error *err);

/* Whether there are several small tables to read, so that a snapshot for all of them pays. */
bool psti_ahead_pays(const struct pst_cdc *cdc);

/* Whether the columns are those, in the same order and of the same types, that a read has found. */
bool psti_ahead_holds(const psti_relation *relation, const PGresult *found, int first);

void psti_ahead_free(psti_ahead *ahead);

#endif /* PSTI_CDC_AHEAD_H */
