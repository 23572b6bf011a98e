/*
 * visible.h - which transactions a snapshot sees, by its text (pg_snapshot: "xmin:xmax:xip,…").
 *
 * A change is left out exactly when the snapshot that its row was read under sees its transaction. xids
 * are those of top-level transactions, 64 bit. What the text says is PostgreSQL's rule: below xmin all
 * have ended, at xmax and above none has, of those between the listed ones were running.
 */
#ifndef PSTI_CDC_VISIBLE_H
#define PSTI_CDC_VISIBLE_H

#include "buf.h"

typedef struct psti_snapshot
{
	uint64_t xmin;
	uint64_t xmax;
	uint64_t *xip; /* ascending; owned */
	size_t nxip;
} psti_snapshot;

/*
 * Fills *out, which psti_snapshot_free empties. An xmax below xmin, which an exported snapshot may have,
 * counts as xmin. PST_ERR_INVALID for what is no snapshot.
 */
pst_status psti_snapshot_parse(const char *text, psti_snapshot *out, pst_error *err);
void psti_snapshot_free(psti_snapshot *snapshot);

/* Appends its text. */
void psti_snapshot_print(const psti_snapshot *snapshot, psti_buf *out);

bool psti_snapshot_sees(const psti_snapshot *snapshot, uint64_t xid);

/*
 * Whether it sees all that earlier sees. A commit record is decoded before its transaction can be seen by
 * an ordinary snapshot, and before clog knows of it: until this holds, rows must not be read under
 * earlier, the snapshot that a slot's creation exported.
 */
bool psti_snapshot_covers(const psti_snapshot *snapshot, const psti_snapshot *earlier);

/* The 32-bit xid of a message of pgoutput, seen at or after a moment when `near` was the next xid. */
uint64_t psti_xid_widen(uint32_t xid, uint64_t near);

#endif /* PSTI_CDC_VISIBLE_H */
