/*
 * snapshot.c - penstock.snapshot: the snapshot of the transaction, in a form that changes of the stream
 * can be compared with, and safe to resume from.
 *
 * What the snapshot sees can still be lost: an asynchronous commit is visible before it is on disk, and
 * after a crash its xid is another transaction's. So WAL is flushed behind everything that the snapshot
 * can have seen, before the caller reads a row under it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"

PG_FUNCTION_INFO_V1(penstock_snapshot);

/* An xid of a snapshot with its epoch; it is less than 2^31 behind the next one. */
static uint64
widen(TransactionId xid, FullTransactionId next)
{
	uint64 epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return epoch << 32 | xid;
}

static int
compare(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a;
	uint64 y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * As pg_current_snapshot() gives it on a primary. On a standby the transactions in progress stand in
 * subxip, where that function does not look.
 */
static Datum
print_snapshot(Snapshot snapshot, FullTransactionId next)
{
	const TransactionId *xids = snapshot->takenDuringRecovery ? snapshot->subxip : snapshot->xip;
	int n = snapshot->takenDuringRecovery ? snapshot->subxcnt : (int) snapshot->xcnt;
	uint64 *sorted = palloc(sizeof(uint64) * (Size) Max(n, 1));
	uint64 xmin = widen(snapshot->xmin, next);
	uint64 xmax = widen(snapshot->xmax, next);
	const char *separator = "";
	StringInfoData text;

	for (int i = 0; i < n; i++)
		sorted[i] = widen(xids[i], next);
	qsort(sorted, (size_t) n, sizeof(*sorted), compare);
	initStringInfo(&text);
	appendStringInfo(&text, UINT64_FORMAT ":" UINT64_FORMAT ":", xmin, xmax);
	for (int i = 0; i < n; i++)
	{
		if (sorted[i] < xmin || sorted[i] >= xmax || (i > 0 && sorted[i] == sorted[i - 1]))
			continue;
		appendStringInfo(&text, "%s" UINT64_FORMAT, separator, sorted[i]);
		separator = ",";
	}
	return OidInputFunctionCall(F_PG_SNAPSHOT_IN, text.data, PG_SNAPSHOTOID, -1);
}

/* WAL up to here holds all that the snapshot can see. A record of our own, so that the end is one's end. */
static XLogRecPtr
find_horizon(void)
{
	XLogRecPtr lsn;

	if (RecoveryInProgress())
		return GetXLogReplayRecPtr(NULL);
	lsn = log_message("penstock", "snapshot");
	XLogFlush(lsn);
	return lsn;
}

/* snapshot(OUT snapshot pg_snapshot, OUT horizon pg_lsn, OUT next_xid xid8) */
Datum
penstock_snapshot(PG_FUNCTION_ARGS)
{
	FullTransactionId next;
	TupleDesc tupdesc;
	Datum values[3];
	bool nulls[3] = {false, false, false};

	if (!IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("penstock.snapshot must be called in a REPEATABLE READ transaction"),
						errdetail("The snapshot of a statement is not that of the next one."),
						errhint("Use BEGIN ISOLATION LEVEL REPEATABLE READ.")));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "penstock.snapshot must return a row");
	/* After the snapshot was taken: it is not below any xid in it. */
	next = ReadNextFullTransactionId();
	values[0] = print_snapshot(GetTransactionSnapshot(), next);
	values[1] = LSNGetDatum(find_horizon());
	values[2] = FullTransactionIdGetDatum(next);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
