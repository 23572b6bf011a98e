/*
 * compat.h - what servers of the supported versions call differently. Each wrapper has the newest
 * signature.
 */
#ifndef PENSTOCK_COMPAT_H
#define PENSTOCK_COMPAT_H

#include "postgres.h"

#include "access/xlog.h"
/* 15: GetXLogReplayRecPtr went there from xlog.h. */
#if PG_VERSION_NUM >= 150000
#include "access/xlogrecovery.h"
#endif
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "replication/logical.h"
#include "replication/message.h"
#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"
#include "tcop/tcopprot.h"
#include "utils/relcache.h"

#if PG_VERSION_NUM < 130000
#error "penstock's extension needs PostgreSQL 13 or newer"
#endif

/* utils/pg_locale.h has it too, but until 17 wants ICU's headers, which Debian's do not come with. */
extern PGDLLIMPORT char *locale_monetary;

/* 14: the names of a catalog's indexes went into its own header. */
#if PG_VERSION_NUM < 140000
#include "catalog/indexing.h"
#endif

/* 14: LSNOID became PG_LSNOID, CASHOID MONEYOID. */
#if PG_VERSION_NUM < 140000
#define PG_LSNOID LSNOID
#define MONEYOID CASHOID
#endif

/* 15: pg_analyze_and_rewrite became pg_analyze_and_rewrite_fixedparams. */
#if PG_VERSION_NUM < 150000
#define pg_analyze_and_rewrite_fixedparams(raw, text, types, ntypes, environment)                  \
	pg_analyze_and_rewrite(raw, text, types, ntypes, environment)
#endif

/* 18: ExecutorRun lost its last argument, that a query is run no more than once. */
static inline void
run_executor(QueryDesc *query, ScanDirection direction, uint64 count)
{
#if PG_VERSION_NUM >= 180000
	ExecutorRun(query, direction, count);
#else
	ExecutorRun(query, direction, count, false);
#endif
}

/* 18: RelationGetPrimaryKeyIndex can leave deferrable keys out. */
static inline Oid
primary_key_index(Relation relation)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(relation, true);
#else
	return RelationGetPrimaryKeyIndex(relation);
#endif
}

/* 15: a transaction has other times than that of its commit. */
static inline TimestampTz
commit_time_of(const ReorderBufferTXN *txn)
{
#if PG_VERSION_NUM >= 150000
	return txn->xact_time.commit_time;
#else
	return txn->commit_time;
#endif
}

/* 15: OutputPluginUpdateProgress is told of transactions of which nothing was sent. */
static inline void
update_progress(LogicalDecodingContext *ctx, bool skipped_transaction)
{
#if PG_VERSION_NUM >= 150000
	OutputPluginUpdateProgress(ctx, skipped_transaction);
#else
	OutputPluginUpdateProgress(ctx);
#endif
}

/* 17: a change's tuples lost the struct around them. */
#if PG_VERSION_NUM >= 170000
#define change_tuple_of(tuple) (tuple)
#else
#define change_tuple_of(buffer) ((buffer) == NULL ? NULL : &(buffer)->tuple)
#endif

/* 17: LogLogicalMessage can flush. A message that is not of a transaction, not flushed: where it ends. */
static inline XLogRecPtr
log_message(const char *prefix, const char *content)
{
#if PG_VERSION_NUM >= 170000
	return LogLogicalMessage(prefix, content, strlen(content), false, false);
#else
	return LogLogicalMessage(prefix, content, strlen(content), false);
#endif
}

#endif /* PENSTOCK_COMPAT_H */
