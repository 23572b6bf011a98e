/*
 * moment.h - snapshots that a stream can go on from (docs/architecture.md, change capture).
 *
 * Rows that are read under a snapshot are compared with the stream by the transactions that the snapshot
 * sees. That holds when every transaction that the stream has told of already is seen, and when nothing
 * that is seen can be lost in a crash.
 */
#ifndef PSTI_CDC_MOMENT_H
#define PSTI_CDC_MOMENT_H

#include "cdc/visible.h"
#include "conn.h"

typedef struct psti_waiting
{
	psti_conn *conn;
	const pst_hooks *hooks;
	int64_t timeout_ms; /* 0: for ever */
	bool assisted;		/* penstock.snapshot() is there, and may be called */
} psti_waiting;

/* Whether penstock.snapshot() is there, and may be called. */
pst_status psti_moment_assisted(psti_conn *conn, bool *out, pst_error *err);

/* A wait for older transactions that is under way: how long it has lasted, and what was said of it. */
typedef struct psti_patience
{
	bool waiting;
	uint64_t bound; /* xids up to it are waited for; 0: those that there are */
	int64_t began;	/* milliseconds of a monotonic clock */
	int64_t reported;
	int pause;
} psti_patience;

/* Begins to wait for all transactions that have an xid now. Holds nothing meanwhile. */
pst_status psti_moment_begin(const psti_waiting *waiting, psti_patience *patience, pst_error *err);

/*
 * Whether they have ended, and are seen to have. PST_AGAIN: not within timeout_ms (-1: for ever).
 * PST_ERR_TIMEOUT, after cdc.wait-timeout, names those that it waited for.
 */
pst_status psti_moment_wait(const psti_waiting *waiting, psti_patience *patience, int timeout_ms,
							pst_error *err);

/* The same until an ordinary snapshot sees all that this one sees; see psti_snapshot_covers. */
pst_status psti_moment_cover(const psti_waiting *waiting, psti_patience *patience,
							 const psti_snapshot *snapshot, int timeout_ms, pst_error *err);

/* A wait that is somebody else's; a look at it reports, and fails when cdc.wait-timeout is over. */
void psti_moment_begin_other(psti_patience *patience);
pst_status psti_moment_look(const psti_waiting *waiting, psti_patience *patience, pst_error *err);

/* The same for the lock of a table, which others have or were first to ask for: reports, and never fails. */
void psti_moment_locked(const psti_waiting *waiting, psti_patience *patience, uint32_t oid,
						const char *table);

/* The text of an exported snapshot, by its id. */
pst_status psti_moment_of_export(psti_conn *conn, const char *id, psti_snapshot *out,
								 pst_error *err);

/* An exported snapshot goes with its session: what an import says of one that is gone is a lost connection. */
pst_status psti_moment_explain(pst_status status, pst_error *err);

/*
 * The snapshot of the REPEATABLE READ transaction that reader is in, and its horizon: WAL is flushed up to
 * there when it returns, so no row may have been read before.
 */
pst_status psti_moment_take(const psti_waiting *waiting, psti_conn *reader, psti_snapshot *out,
							uint64_t *horizon, pst_error *err);

/* Whether the transaction has ended for other sessions, too. */
pst_status psti_moment_visible(psti_conn *conn, uint64_t xid, bool *out, pst_error *err);

/* The xid that the next transaction will have, about. */
pst_status psti_moment_next_xid(psti_conn *conn, uint64_t *out, pst_error *err);

/* Commits a logical message, so that WAL is flushed behind all that was written before; *lsn: its place. */
pst_status psti_moment_flush(psti_conn *conn, uint64_t *xid, uint64_t *lsn, pst_error *err);

#endif /* PSTI_CDC_MOMENT_H */
