/*
 * scan.c - penstock.scan: a query's result as Arrow IPC messages.
 *
 * One message a call, in value-per-call mode: the schema, record batches, the end marker. The query
 * is run by an executor of its own, a frame at a time, under the snapshot of the statement that calls;
 * its receiver turns rows into columns and stops it when a frame is full. Nothing is spooled, and no
 * more than one frame is held.
 *
 * Not a portal: a receiver that stops early ends one, so that rows would have to be fetched in small
 * lots and be put by; and a portal of our own could vanish before the caller's does. Everything here
 * belongs to the resource owner and the memory of the calling statement, as in a function of SQL.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "arrow_ipc.h"
#include "compat.h"
#include "library.h"
#include "values.h"

#define TARGET_BYTES_MAX (64 * 1024 * 1024)
/* A bytea has 1 GB at most, and COPY's row has a few bytes more. */
#define FRAME_BYTES_MAX ((Size) MaxAllocSize - 64)

typedef enum scan_phase
{
	SCAN_SCHEMA,
	SCAN_ROWS,
	SCAN_END,
	SCAN_DONE
} scan_phase;

/* What is between two calls. It lives as long as the calling statement runs this function. */
typedef struct scan_state
{
	DestReceiver receiver; /* first: the executor knows this part only */
	scan_phase phase;
	Size target_bytes;
	int64 max_rows;	  /* of a frame */
	const char *text; /* of the query */
	QueryDesc *query; /* NULL: ended */
	value_columns *columns;
	bool full;	  /* the receiver has stopped the query: a frame is to be given */
	bool surplus; /* its last row begins the next one */
	ExprContext *context;
} scan_state;

/* The arguments, checked. */
typedef struct scan_arguments
{
	char *query;
	Size target_bytes;
	value_special special;
	List *text_columns; /* of cstrings */
	int32 max_rows;
} scan_arguments;

PG_FUNCTION_INFO_V1(penstock_scan);

/* ---- Arguments ---- */

static void
check_not_null(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"query", "target_bytes", "special_values", "text_columns",
										"max_rows"};

	for (int i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument %s of penstock.scan must not be null", names[i])));
}

static value_special
check_special(const char *word)
{
	static const char *const words[] = {"error", "null", "clamp"};

	for (int i = 0; i < (int) lengthof(words); i++)
		if (strcmp(word, words[i]) == 0)
			return (value_special) i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid special_values: \"%s\"", word),
					errhint("Give error, null or clamp.")));
}

static List *
check_names(ArrayType *array)
{
	List *names = NIL;
	Datum *values;
	bool *nulls;
	int n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("a name in text_columns must not be null")));
		names = lappend(names, TextDatumGetCString(values[i]));
	}
	return names;
}

static void
check_arguments(FunctionCallInfo fcinfo, scan_arguments *out)
{
	int32 target;

	check_signature(fcinfo, "scan", 5, 5);
	check_not_null(fcinfo);
	target = PG_GETARG_INT32(1);
	if (target < 1 || target > TARGET_BYTES_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("target_bytes must be between 1 and %d, and is %d", TARGET_BYTES_MAX,
							   target)));
	out->max_rows = PG_GETARG_INT32(4);
	if (out->max_rows < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("max_rows must be at least 1, and is %d", out->max_rows)));
	out->query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	out->target_bytes = (Size) target;
	out->special = check_special(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	out->text_columns = check_names(PG_GETARG_ARRAYTYPE_P(3));
}

static void
check_caller(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;

	if (info == NULL || !IsA(info, ReturnSetInfo) || (info->allowedModes & SFRM_ValuePerCall) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("penstock.scan was called where a set cannot be returned row by row"),
				 errhint("Call it in a SELECT list.")));
}

/* ---- The query ---- */

/* An error of the query points into its text, not into the caller's. */
static void
query_error(void *arg)
{
	const char *text = arg;
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(text);
	}
	else
		errcontext("query \"%s\"", text);
}

static RawStmt *
parse_one(const char *text)
{
	List *statements = pg_parse_query(text);
	RawStmt *statement;
	SelectStmt *select;

	if (list_length(statements) != 1)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("penstock.scan takes one SELECT, and the query has %d statements",
							   list_length(statements))));
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("penstock.scan takes a SELECT, not %s",
							   GetCommandTagName(CreateCommandTag(statement->stmt)))));
	select = (SelectStmt *) statement->stmt;
	while (select->larg != NULL)
		select = select->larg;
	if (select->intoClause != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("penstock.scan takes a SELECT, not SELECT INTO")));
	return statement;
}

static PlannedStmt *
plan_one(const char *text)
{
	List *queries;
	Query *query;

	queries = pg_analyze_and_rewrite_fixedparams(parse_one(text), text, NULL, 0, NULL);
	query = list_length(queries) == 1 ? linitial_node(Query, queries) : NULL;
	if (query == NULL || query->commandType != CMD_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("penstock.scan takes a SELECT that no rule makes something else of")));
	if (query->hasModifyingCTE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("penstock.scan takes a SELECT without data-modifying WITH"),
						errhint("Run it as a statement of its own before the scan.")));
	/* It is run piece by piece, which workers cannot be. */
	return pg_plan_query(query, text, 0, NULL);
}

/* ---- Sizes ---- */

static void
check_message(arrow_ipc_status status, const arrow_ipc_error *error)
{
	if (status == ARROW_IPC_OK)
		return;
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("cannot make an Arrow message: %s", error->message),
					error->column[0] != '\0' ? errdetail("Column \"%s\".", error->column) : 0));
}

/* What the message takes that columns->array makes. */
static Size
batch_bytes(const value_columns *columns)
{
	arrow_ipc_error error;
	size_t nbytes;

	check_message(
		arrow_ipc_write_batch(&columns->schema, &columns->array, NULL, 0, &nbytes, &error), &error);
	return nbytes;
}

/* ---- Rows in ---- */

/*
 * Whether the row that came last fits a message, while it is known where it comes from. Behind its
 * values a message has bitmaps and padding, which are at most as much again and a few bytes a column.
 */
static void
check_last_row(value_columns *columns, Size nbytes, TupleTableSlot *slot)
{
	if (likely(nbytes < FRAME_BYTES_MAX / 4))
		return;
	value_columns_array(columns, columns->nrows - 1, 1);
	if (batch_bytes(columns) > FRAME_BYTES_MAX)
		value_columns_refuse_row(columns, slot);
}

/* A row comes. False stops the query after this row; the next run goes on behind it. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *receiver)
{
	scan_state *state = (scan_state *) receiver;
	value_columns *columns = state->columns;
	Size before = columns->nbytes;

	value_columns_add(columns, slot);
	if (likely(columns->nbytes < state->target_bytes && columns->nrows < state->max_rows))
		return true;
	state->full = true;
	check_last_row(columns, columns->nbytes - before, slot);
	/* A row that fills a frame alone shall not make that of the rows before it larger. */
	state->surplus = columns->nrows > 1 && columns->nbytes - before > state->target_bytes;
	return false;
}

static void
start_rows(DestReceiver *receiver, int operation, TupleDesc tupdesc)
{
}

static void
end_rows(DestReceiver *receiver)
{
}

/* What is wrong with a value is told with the column that it is in. */
static void
value_error(void *arg)
{
	const value_columns *columns = ((scan_state *) arg)->columns;

	if (columns != NULL && columns->at_work >= 0)
		errcontext("column \"%s\" of row " INT64_FORMAT " of a scan, counted from 0",
				   value_columns_name(columns, columns->at_work),
				   columns->rows_before + columns->nrows);
}

/* ---- Messages out ---- */

static bytea *
new_message(Size nbytes)
{
	bytea *message = palloc(VARHDRSZ + nbytes);

	SET_VARSIZE(message, VARHDRSZ + nbytes);
	return message;
}

static bytea *
schema_message(const value_columns *columns)
{
	arrow_ipc_error error;
	size_t nbytes;
	bytea *message;

	check_message(arrow_ipc_write_schema(&columns->schema, NULL, 0, &nbytes, &error), &error);
	if (nbytes > FRAME_BYTES_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the schema of the query does not fit a message")));
	message = new_message(nbytes);
	check_message(arrow_ipc_write_schema(&columns->schema, (uint8_t *) VARDATA(message), nbytes,
										 &nbytes, &error),
				  &error);
	return message;
}

static bytea *
batch_message(value_columns *columns, int64 nrows)
{
	arrow_ipc_error error;
	size_t nbytes;
	bytea *message;

	value_columns_check(columns, nrows);
	value_columns_array(columns, 0, nrows);
	nbytes = batch_bytes(columns);
	Assert(nbytes <= FRAME_BYTES_MAX); /* check_last_row; many rows are far below it */
	message = new_message(nbytes);
	check_message(arrow_ipc_write_batch(&columns->schema, &columns->array,
										(uint8_t *) VARDATA(message), nbytes, &nbytes, &error),
				  &error);
	value_columns_forget(columns, nrows);
	return message;
}

static bytea *
end_message(void)
{
	bytea *message = new_message(ARROW_IPC_PREFIX);

	arrow_ipc_write_end((uint8_t *) VARDATA(message));
	return message;
}

/* ---- The run ---- */

static void
end_query(scan_state *state)
{
	QueryDesc *query = state->query;

	if (query == NULL)
		return;
	state->query = NULL;
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

/* The calling statement needs no more of it (LIMIT), or begins anew. */
static void
close_scan(Datum arg)
{
	end_query((scan_state *) DatumGetPointer(arg));
}

static scan_state *
open_scan(FunctionCallInfo fcinfo, FuncCallContext *call)
{
	MemoryContext caller = MemoryContextSwitchTo(call->multi_call_memory_ctx);
	scan_state *state = palloc0(sizeof(*state));
	ErrorContextCallback trace = {error_context_stack, query_error, NULL};
	scan_arguments arguments;
	PlannedStmt *plan;

	check_arguments(fcinfo, &arguments);
	state->receiver.receiveSlot = receive_row;
	state->receiver.rStartup = start_rows;
	state->receiver.rShutdown = end_rows;
	state->receiver.rDestroy = end_rows;
	state->receiver.mydest = DestNone;
	state->target_bytes = arguments.target_bytes;
	state->max_rows = arguments.max_rows;
	state->text = arguments.query;
	trace.arg = arguments.query;
	error_context_stack = &trace;
	plan = plan_one(state->text);
	state->query = CreateQueryDesc(plan, state->text, GetActiveSnapshot(), InvalidSnapshot,
								   &state->receiver, NULL, NULL, 0);
	ExecutorStart(state->query, 0);
	error_context_stack = trace.previous;
	state->columns = value_columns_new(state->query->tupDesc, arguments.special,
									   arguments.text_columns, FRAME_BYTES_MAX);
	state->columns->targetlist = plan->planTree->targetlist;
	state->columns->rtable = plan->rtable;
	MemoryContextSwitchTo(caller);
	return state;
}

/* Runs the query until a frame is full or there are no more rows. */
static void
run_query(scan_state *state)
{
	ErrorContextCallback trace = {error_context_stack, query_error,
								  unconstify(char *, state->text)};
	ErrorContextCallback values = {&trace, value_error, state};

	error_context_stack = &values;
	state->full = false;
	state->surplus = false;
	PushActiveSnapshot(state->query->snapshot);
	run_executor(state->query, ForwardScanDirection, 0);
	PopActiveSnapshot();
	if (!state->full)
		end_query(state);
	error_context_stack = trace.previous;
}

/* The next batch, NULL when there are no more rows. */
static bytea *
next_batch(scan_state *state)
{
	/* The row that was too large for the last frame is one by itself. */
	if (state->surplus)
		state->surplus = false;
	else if (state->query != NULL)
		run_query(state);
	if (state->columns->nrows == 0)
		return NULL;
	return batch_message(state->columns, state->columns->nrows - (state->surplus ? 1 : 0));
}

/* The next message, NULL when all were given. */
static bytea *
next_message(scan_state *state)
{
	bytea *message;

	switch (state->phase)
	{
		case SCAN_SCHEMA:
			state->phase = SCAN_ROWS;
			return schema_message(state->columns);
		case SCAN_ROWS:
			message = next_batch(state);
			if (message != NULL)
				return message;
			state->phase = SCAN_END;
			/* FALLTHROUGH */
		case SCAN_END:
			state->phase = SCAN_DONE;
			return end_message();
		case SCAN_DONE:
			break;
	}
	return NULL;
}

/* scan(query text, target_bytes int, special_values text, text_columns text[], max_rows int) */
Datum
penstock_scan(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	scan_state *state;
	bytea *message;

	if (SRF_IS_FIRSTCALL())
	{
		ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;

		check_caller(fcinfo);
		call = SRF_FIRSTCALL_INIT();
		state = open_scan(fcinfo, call);
		state->context = info->econtext;
		call->user_fctx = state;
		/* Called before the one that frees the memory, which was registered first. */
		RegisterExprContextCallback(state->context, close_scan, PointerGetDatum(state));
	}
	call = SRF_PERCALL_SETUP();
	state = call->user_fctx;
	message = next_message(state);
	if (message != NULL)
		SRF_RETURN_NEXT(call, PointerGetDatum(message));
	UnregisterExprContextCallback(state->context, close_scan, PointerGetDatum(state));
	end_query(state);
	SRF_RETURN_DONE(call);
}
