/*
 * plugin.c - the output plugin: changes as records, many in a message (wire/change.h, docs/cdc.md).
 *
 * A transaction's records are gathered and sent when there are enough of them. None is held back when
 * a commit, a message or the end of the session is over: the server believes what the plugin has seen
 * to be sent, and a consumer may acknowledge it. A transaction of which nothing is sent costs nothing
 * but a word to the consumer that it has passed.
 *
 * Changes are counted as they come, before anything is left out: a number means the same change whatever
 * is asked for. Only whole transactions are sent, so that numbers do not depend on what is rolled back.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "change_writer.h"
#include "compat.h"
#include "plugin_options.h"
#include "plugin_relations.h"

/* Tables of one TRUNCATE that stand in one record, so that their indexes differ. */
#define TRUNCATED_MAX (CHANGE_RELATIONS_MAX / 2)

/* So many changes may be left out before the consumer is told that the session lives. */
#define SILENT_CHANGES 100

#define OLD 0
#define FRESH 1

typedef struct plugin_state
{
	plugin_options *options;
	plugin_relations *relations;
	change_writer writer;
	MemoryContext change; /* of what one change needs */
	/* Of the transaction at work: */
	uint64 number; /* changes so far */
	bool begun;	   /* its begin was written */
	Oid rewriting; /* the heap that the last row of a rewrite went into */
	int silent;	   /* changes left out since the consumer heard of us */
	/* Of the change at work, for errors: */
	const plugin_relation *relation;
	const plugin_column *column;
} plugin_state;

/* ---- Messages ---- */

static void
flush(LogicalDecodingContext *ctx, plugin_state *state)
{
	if (change_writer_empty(&state->writer))
		return;
	OutputPluginPrepareWrite(ctx, true);
	appendBinaryStringInfo(ctx->out, state->writer.out.data, state->writer.out.len);
	OutputPluginWrite(ctx, true);
	change_writer_reset(&state->writer);
	state->silent = 0;
}

static void
flush_full(LogicalDecodingContext *ctx, plugin_state *state)
{
	if ((Size) state->writer.out.len >= state->options->message_bytes)
		flush(ctx, state);
}

/* A change is left out. A long silence would be taken for a lost session. */
static void
leave_out(LogicalDecodingContext *ctx, plugin_state *state)
{
	if (++state->silent < SILENT_CHANGES)
		return;
	state->silent = 0;
	update_progress(ctx, false);
}

/* ---- Errors ---- */

static void
change_error(void *arg)
{
	const plugin_state *state = arg;

	if (state->relation == NULL || state->relation->table == NULL)
		return;
	if (state->column != NULL)
		errcontext("column \"%s\" of \"%s.%s\", in output plugin penstock, which can leave it out "
				   "by its option exclude_columns",
				   state->column->name, state->relation->schema, state->relation->table);
	else
		errcontext("table \"%s.%s\", in output plugin penstock", state->relation->schema,
				   state->relation->table);
}

/* ---- Transactions ---- */

/* Top-level and with its epoch: no running transaction is 2^31 behind the next one. */
static uint64
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint64 epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return epoch << 32 | xid;
}

static const char *
origin_name(ReorderBufferTXN *txn)
{
	char *name;

	if (txn->origin_id == InvalidRepOriginId || !replorigin_by_oid(txn->origin_id, true, &name))
		return "";
	return name;
}

static void
begin_written(plugin_state *state, ReorderBufferTXN *txn)
{
	const char *origin;

	if (state->begun)
		return;
	origin = origin_name(txn);
	change_put_begin(&state->writer, full_xid(txn->xid), txn->final_lsn, commit_time_of(txn),
					 pg_server_to_any(origin, (int) strlen(origin), PG_UTF8));
	state->begun = true;
}

static void
begin_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	plugin_state *state = ctx->output_plugin_private;

	state->number = 0;
	state->begun = false;
	state->rewriting = InvalidOid;
	plugin_relations_begin(state->relations);
}

static void describe(plugin_state *state, plugin_relation *relation);

/*
 * Tables that became unlogged, or logged again, are told of: a row of them may never come, and what was
 * changed in between has not been in the stream. So are partitions that were attached, with rows maybe.
 */
static void
tell_altered(plugin_state *state, ReorderBufferTXN *txn)
{
	MemoryContext caller = MemoryContextSwitchTo(state->change);
	plugin_relation *relation;

	while ((relation = plugin_relations_altered(state->relations)) != NULL)
	{
		begin_written(state, txn);
		describe(state, relation);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->change);
}

static void
commit_transaction(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	plugin_state *state = ctx->output_plugin_private;

	tell_altered(state, txn);
	if (!state->begun)
	{
		update_progress(ctx, true);
		return;
	}
	change_put_commit(&state->writer, txn->end_lsn, state->number);
	flush(ctx, state);
	update_progress(ctx, false);
}

/* ---- Rows ---- */

static void
describe(plugin_state *state, plugin_relation *relation)
{
	change_writer *writer = &state->writer;

	if (relation->described)
		return;
	change_open_record(writer, CHANGE_RELATION);
	change_put_int(writer, relation->index, 2);
	appendBinaryStringInfo(&writer->out, relation->description, relation->ndescription);
	change_close_record(writer);
	relation->described = true;
}

/* A value that the update left alone, and that is therefore not in the WAL. */
static inline bool
is_elsewhere(TupleDesc tupdesc, int attribute, Datum value)
{
	return TupleDescAttr(tupdesc, attribute)->attlen == -1 &&
		   VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value));
}

static void
put_row(plugin_state *state, const plugin_relation *relation, TupleDesc tupdesc, int which,
		bool key_only, bool whole_old)
{
	change_writer *writer = &state->writer;

	for (int i = 0; i < relation->ncolumns; i++)
	{
		const plugin_column *column = &relation->columns[i];
		int attribute = column->attribute - 1;
		Datum value = relation->values[which][attribute];
		bool null = relation->nulls[which][attribute];

		if (key_only && !column->identity)
			continue;
		if (!null && is_elsewhere(tupdesc, attribute, value))
		{
			/* The old row may have it. */
			if (which != FRESH || !whole_old || relation->nulls[OLD][attribute] ||
				is_elsewhere(tupdesc, attribute, relation->values[OLD][attribute]))
			{
				change_put_byte(writer, CHANGE_BYTE_UNCHANGED);
				continue;
			}
			value = relation->values[OLD][attribute];
		}
		if (null)
		{
			change_put_byte(writer, CHANGE_BYTE_NULL);
			continue;
		}
		state->column = column;
		change_put_datum(writer, &column->type, value);
	}
	state->column = NULL;
}

/*
 * The table that a row is of. An ALTER TABLE that rewrites a table puts the rows into a new heap, which
 * takes the old one's place at the end: its rows are the table's new content. VACUUM FULL and CLUSTER write
 * theirs so that nothing is decoded, for nothing has changed.
 */
static Relation
table_of(Relation heap)
{
	Relation table;

	if (!OidIsValid(heap->rd_rel->relrewrite))
		return heap;
	table = RelationIdGetRelation(heap->rd_rel->relrewrite);
	if (!RelationIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("relation with OID %u, which is being rewritten, is not there",
							   heap->rd_rel->relrewrite)));
	return table;
}

/* Flags of a row by the heap that it lies in. */
static int
rewrite_flags(plugin_state *state, Relation heap)
{
	int flags = CHANGE_ROW_REWRITE;

	if (!OidIsValid(heap->rd_rel->relrewrite))
		return 0;
	if (state->rewriting != RelationGetRelid(heap))
		flags |= CHANGE_ROW_REWRITE_BEGINS;
	state->rewriting = RelationGetRelid(heap);
	return flags;
}

static void
put_change(plugin_state *state, const plugin_relation *relation, Relation table,
		   ReorderBufferChange *change, change_kind kind)
{
	change_writer *writer = &state->writer;
	TupleDesc tupdesc = RelationGetDescr(table);
	HeapTuple old = kind == CHANGE_INSERT ? NULL : change_tuple_of(change->data.tp.oldtuple);
	HeapTuple fresh = kind == CHANGE_DELETE ? NULL : change_tuple_of(change->data.tp.newtuple);
	bool whole = relation->identity == REPLICA_IDENTITY_FULL;

	/* Of a rewrite, whose new heap is another relation. */
	if (tupdesc->natts != relation->nattributes)
		elog(ERROR, "a row of %d columns, where \"%s.%s\" has %d", tupdesc->natts, relation->schema,
			 relation->table, relation->nattributes);
	if (old != NULL)
		heap_deform_tuple(old, tupdesc, relation->values[OLD], relation->nulls[OLD]);
	if (fresh != NULL)
		heap_deform_tuple(fresh, tupdesc, relation->values[FRESH], relation->nulls[FRESH]);
	change_open_record(writer, kind);
	change_put_int(writer, relation->index, 2);
	change_put_byte(writer, (uint8) ((old != NULL ? CHANGE_ROW_OLD : 0) |
									 (old != NULL && whole ? CHANGE_ROW_OLD_WHOLE : 0) |
									 rewrite_flags(state, table)));
	change_put_place(writer, state->number, change->lsn);
	if (old != NULL)
	{
		int opened = change_open_length(writer);

		put_row(state, relation, tupdesc, OLD, !whole, false);
		change_close_length(writer, opened);
	}
	if (fresh != NULL)
		put_row(state, relation, tupdesc, FRESH, false, old != NULL && whole);
	change_close_record(writer);
}

/*
 * The kind of a change; false: it is none of those asked for, or has no row. A rewrite is a truncate with
 * its inserts: who wants one of them alone cannot use it.
 */
static bool
wanted_kind(const plugin_state *state, Relation heap, const ReorderBufferChange *change,
			change_kind *kind)
{
	if (OidIsValid(heap->rd_rel->relrewrite) &&
		!(state->options->truncates && state->options->inserts))
		return false;
	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			*kind = CHANGE_INSERT;
			return state->options->inserts && change->data.tp.newtuple != NULL;
		case REORDER_BUFFER_CHANGE_UPDATE:
			*kind = CHANGE_UPDATE;
			return state->options->updates && change->data.tp.newtuple != NULL;
		case REORDER_BUFFER_CHANGE_DELETE:
			*kind = CHANGE_DELETE;
			return state->options->deletes;
		default:
			return false;
	}
}

static void
row_changed(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation table,
			ReorderBufferChange *change)
{
	plugin_state *state = ctx->output_plugin_private;
	ErrorContextCallback trace = {error_context_stack, change_error, state};
	MemoryContext caller;
	plugin_relation *relation;
	Relation named;
	change_kind kind;
	int level;

	state->number++;
	if (!wanted_kind(state, table, change, &kind))
	{
		leave_out(ctx, state);
		return;
	}
	error_context_stack = &trace;
	caller = MemoryContextSwitchTo(state->change);
	named = table_of(table);
	relation = plugin_relations_get(state->relations, named, table);
	state->relation = relation;
	if (named != table)
		RelationClose(named);
	if (relation->captured)
	{
		begin_written(state, txn);
		describe(state, relation);
		level = pin_output(relation->pinned);
		put_change(state, relation, table, change, kind);
		unpin_output(level);
	}
	state->relation = NULL;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->change);
	error_context_stack = trace.previous;
	if (relation->captured)
		flush_full(ctx, state);
	else
		leave_out(ctx, state);
}

static void
put_truncate(plugin_state *state, const uint32 *indexes, int nindexes, ReorderBufferChange *change)
{
	change_writer *writer = &state->writer;

	change_open_record(writer, CHANGE_TRUNCATE);
	change_put_place(writer, state->number, change->lsn);
	change_put_byte(writer,
					(uint8) ((change->data.truncate.cascade ? CHANGE_TRUNCATE_CASCADE : 0) |
							 (change->data.truncate.restart_seqs ? CHANGE_TRUNCATE_RESTART : 0)));
	for (int i = 0; i < nindexes; i++)
		change_put_int(writer, indexes[i], 2);
	change_close_record(writer);
}

/* A TRUNCATE of at most TRUNCATED_MAX tables, one change. */
static void
some_truncated(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int n, Relation tables[],
			   ReorderBufferChange *change)
{
	plugin_state *state = ctx->output_plugin_private;
	MemoryContext caller = MemoryContextSwitchTo(state->change);
	uint32 *indexes = palloc(sizeof(uint32) * (Size) Max(n, 1));
	int nindexes = 0;

	state->number++;
	for (int i = 0; i < n && state->options->truncates; i++)
	{
		plugin_relation *relation = plugin_relations_get(state->relations, tables[i], tables[i]);

		if (!relation->captured)
			continue;
		begin_written(state, txn);
		describe(state, relation);
		indexes[nindexes++] = relation->index;
	}
	if (nindexes > 0)
		put_truncate(state, indexes, nindexes, change);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->change);
	if (nindexes > 0)
		flush_full(ctx, state);
	else
		leave_out(ctx, state);
}

/* One of very many tables counts as several changes, whichever of them are asked for. */
static void
tables_truncated(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int n, Relation tables[],
				 ReorderBufferChange *change)
{
	for (int at = 0; at == 0 || at < n; at += TRUNCATED_MAX)
		some_truncated(ctx, txn, Min(n - at, TRUNCATED_MAX), tables + at, change);
}

/* ---- Logical messages ---- */

static void
message_logged(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   bool transactional, const char *prefix, Size n, const char *content)
{
	plugin_state *state = ctx->output_plugin_private;
	change_writer *writer = &state->writer;
	MemoryContext caller = MemoryContextSwitchTo(state->change);
	bool wanted = state->options->messages != NIL && plugin_options_message(state->options, prefix);

	if (transactional)
		state->number++;
	if (wanted && transactional)
		begin_written(state, txn);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->change);
	if (!wanted)
	{
		if (transactional)
			leave_out(ctx, state);
		else
			update_progress(ctx, false);
		return;
	}
	change_open_record(writer, CHANGE_MESSAGE);
	change_put_byte(writer, transactional ? 1 : 0);
	if (transactional)
		change_put_place(writer, state->number, lsn);
	else
		change_put_int(writer, lsn, 8);
	change_put_text(writer, prefix);
	appendBinaryStringInfo(&writer->out, content, (int) n);
	change_close_record(writer);
	/* What is not of a transaction has no commit to be sent at. */
	if (transactional)
		flush_full(ctx, state);
	else
		flush(ctx, state);
}

/* ---- The session ---- */

static bool
filter_by_origin(LogicalDecodingContext *ctx, RepOriginId origin)
{
	const plugin_state *state = ctx->output_plugin_private;

	return state->options->local_only && origin != InvalidRepOriginId;
}

static void
start_up(LogicalDecodingContext *ctx, OutputPluginOptions *options, bool is_init)
{
	plugin_state *state = palloc0(sizeof(*state));

	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	options->receive_rewrites = true;
	state->options = plugin_options_new(ctx->output_plugin_options);
	state->relations = plugin_relations_new(state->options);
	state->change =
		AllocSetContextCreate(CurrentMemoryContext, "penstock change", ALLOCSET_DEFAULT_SIZES);
	change_writer_init(&state->writer);
	ctx->output_plugin_private = state;
}

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks);

void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = start_up;
	callbacks->begin_cb = begin_transaction;
	callbacks->change_cb = row_changed;
	callbacks->truncate_cb = tables_truncated;
	callbacks->commit_cb = commit_transaction;
	callbacks->message_cb = message_logged;
	callbacks->filter_by_origin_cb = filter_by_origin;
}
