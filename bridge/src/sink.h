/*
 * sink.h - what the files of the sink share.
 *
 * A row is encoded once, when it arrives, into the form of a binary COPY tuple: int16 number of
 * fields, then per field an int32 length (-1: NULL, -2: unchanged, never sent) and its bytes. Key
 * columns come first, so that a key is the head of its row. The same bytes serve COPY (whole
 * rows), arrays of unnest (fields of one column behind each other) and single parameters (pointers
 * into the row). Where a column has no binary form in common with its target, its field is the
 * value's text and the server's input function is called in SQL. Only an append by COPY that has
 * such a column is kept in another form: lines of COPY's text format.
 *
 *   sink.c           the handle, public functions, thresholds
 *   sink_plan.c      the target: columns, key index, privileges
 *   sink_sql.c       every statement on the target
 *   sink_encode.c    Arrow values to fields
 *   sink_field.c     fields to text, for errors and skipped rows
 *   sink_merge.c     sorting and merging the changes of a key
 *   sink_flush.c     one flush as one transaction; retries
 *   sink_replay.c    a refused flush again, row by row in arrival order
 *   sink_progress.c  penstock_progress: positions, fencing, unknown outcomes
 *   sink_staging.c   prepare, commit, abort
 */
#ifndef PSTI_SINK_H
#define PSTI_SINK_H

#include <stdio.h>

#include "arrow_check.h"
#include "conn.h"
#include "relation.h"
#include "tuples.h"

/*
 * From this many rows on a lot goes by COPY into a temporary table; below, array parameters are as
 * fast and need one round trip less.
 */
#define PSTI_SINK_COPY_ROWS 10000

/* Rows of an append begin to travel when this much is buffered, while further rows arrive. */
#define PSTI_SINK_STREAM_BYTES 262144

/* A table has no more. */
#define PSTI_MAX_COLUMNS 1600

#define PSTI_FIELD_NULL (-1)
#define PSTI_FIELD_UNCHANGED (-2)

/* How the names begin of what is kept in a session. */
#define PSTI_STATEMENT_PREFIX "penstock_"
#define PSTI_TEMP_PREFIX "pg_temp.penstock_lot_"

#define PSTI_OID_TEXT 25
#define PSTI_OID_TEXT_ARRAY 1009

typedef enum psti_sink_mode
{
	PSTI_MODE_APPEND,
	PSTI_MODE_UPSERT,
	PSTI_MODE_DELETE,
	PSTI_MODE_CHANGELOG
} psti_sink_mode;

typedef struct psti_sink_column psti_sink_column;

/* Appends one field, length included, for row i (without the array's offset), which is not NULL. */
typedef pst_status (*psti_encode_fn)(const psti_sink_column *column, const struct ArrowArray *array,
									 int64_t i, psti_buf *out, pst_error *err);

struct psti_sink_column
{
	const psti_column *target;		  /* borrowed from the plan's relation */
	const struct ArrowSchema *schema; /* borrowed from the plan's copy of the caller's schema */
	int64_t child;					  /* its place among the caller's columns */
	psti_arrow_type arrow;
	psti_encode_fn encode;
	psti_sink_column *item; /* owned; how a list's values are encoded, or NULL */
	bool text;				/* the field is the value's text, cast by the server */
	bool foreign;			/* the server's binary form of the type is not the one we know */
	bool key;
	bool frozen; /* never in SET: part of the key, or an identity that is always generated */
	Oid type;	 /* of a single parameter */
	Oid array;	 /* of an array of them */
	char *input; /* owned; input function to call instead of a cast, quoted, or NULL */
	int input_nargs;
	Oid input_oid; /* its second argument */
};

/* How the index that proves the key compares one of its columns. */
typedef struct psti_sink_key
{
	char *operator_sql; /* owned: OPERATOR(pg_catalog.=) */
	char *collate_sql;	/* owned: ` COLLATE "x"."y"`, or "" */
} psti_sink_key;

/* What was found out about the target at open; immutable afterwards. */
typedef struct psti_sink_plan
{
	psti_relation *relation;   /* owned */
	struct ArrowSchema schema; /* owned copy of the caller's */
	psti_sink_mode mode;
	psti_sink_column *columns; /* owned; those of the key first */
	size_t ncolumns;
	size_t nkey;   /* of the key that rows are matched by; 0 when appending */
	size_t nnamed; /* leading columns that name a row in errors: the key, also when appending */
	psti_sink_key *keys; /* owned; nkey of them */
	bool strict_keys;	 /* keys are equal exactly when their bytes are */
	bool complete;		 /* every column of the target that can be written is given */
	bool update_first;	 /* a missing column is NOT NULL without default: INSERT alone cannot do */
	bool overriding;	 /* an identity column is given */
	bool may_lock;		 /* SELECT … FOR UPDATE is possible */
	bool may_delete;	 /* the role has DELETE */
	bool by_insert;		 /* COPY into the target is refused: append by INSERT */
	bool copy_text;		 /* rows are lines of COPY's text format */
	bool temp_allowed;	 /* sink.method and the role allow a temporary table */
	const char *stage_from; /* what PSTI_FROM_STAGE reads: set in copies of the plan only */
	const char *stage_old;	/* the same for the old key of a key change */
	int64_t copy_rows;		/* rows of a lot from which it is used */
} psti_sink_plan;

/* --- rows ---------------------------------------------------------------------------------- */

typedef enum psti_op
{
	PSTI_OP_UPSERT, /* or plain insert when appending */
	PSTI_OP_DELETE,
	PSTI_OP_OLD, /* the key that the next row had before */
	PSTI_OP_DEAD /* not counted any more */
} psti_op;

typedef struct psti_sink_row
{
	size_t at;		/* offset of its bytes */
	int64_t number; /* among all rows given to the handle, from 0 */
	uint8_t op;		/* psti_op */
	bool partial;	/* has unchanged fields */
	bool change;	/* the row before it is its old key */
	bool verbatim;	/* as a source's server sent it, not looked into */
} psti_sink_row;

typedef struct psti_sink_rows
{
	psti_buf bytes; /* the rows behind each other */
	psti_sink_row *row;
	size_t nrows;
	size_t cap;
	bool mixed; /* an append has rows that leave columns out */
} psti_sink_rows;

pst_status psti_rows_add(psti_sink_rows *rows, const psti_sink_row *row, pst_error *err);
void psti_rows_reset(psti_sink_rows *rows);
void psti_sink_rows_free(psti_sink_rows *rows);

static inline const char *
psti_rows_at(const psti_sink_rows *rows, size_t i)
{
	return rows->bytes.data + rows->row[i].at;
}

static inline size_t
psti_rows_end(const psti_sink_rows *rows, size_t i)
{
	return i + 1 < rows->nrows ? rows->row[i + 1].at : rows->bytes.len;
}

/* A field inside a row: nbytes is a length or PSTI_FIELD_…; next is the field after it. */
typedef struct psti_field
{
	const char *data;
	int32_t nbytes;
	const char *next;
} psti_field;

psti_field psti_field_first(const char *tuple);
psti_field psti_field_next(psti_field field);

/* The length of the key at the head of a row, behind the number of fields. */
size_t psti_key_len(const char *tuple, size_t nkey);

/* --- sink_plan.c, sink_sql.c ------------------------------------------------------------- */

pst_status psti_plan_new(const psti_options *options, psti_conn *conn,
						 const struct ArrowSchema *schema, psti_sink_plan **out, pst_error *err);
void psti_plan_free(psti_sink_plan *plan);

/* Where the values of a statement come from. */
typedef enum psti_values
{
	PSTI_FROM_ARRAYS, /* unnest of one array parameter a column */
	PSTI_FROM_TEMP,	  /* the temporary table */
	PSTI_FROM_PARAMS, /* one row of parameters */
	PSTI_FROM_STAGE	  /* the staging table: the plan's stage_from */
} psti_values;

/*
 * skip is a bitmap of columns that are left out (unchanged), or NULL. The parameters are the
 * columns that are not left out, in order; without any, the one parameter is a number of rows.
 */
void psti_sql_upsert(const psti_sink_plan *plan, psti_values from, const uint8_t *skip,
					 psti_buf *sql);
void psti_sql_delete(const psti_sink_plan *plan, psti_values from, psti_buf *sql);
void psti_sql_insert(const psti_sink_plan *plan, psti_values from, const uint8_t *skip,
					 psti_buf *sql);

/* Locks the rows of the keys given as arrays, in their order; strength is UPDATE or NO KEY UPDATE. */
void psti_sql_lock(const psti_sink_plan *plan, const char *strength, psti_buf *sql);

/*
 * A key change that keeps what it does not carry. From parameters: new values first, then the old
 * key.
 */
void psti_sql_change(const psti_sink_plan *plan, psti_values from, const uint8_t *skip,
					 psti_buf *sql);

/* The temporary table: its name, its DDL, COPY into it; COPY into the target. */
void psti_sql_temp_name(const psti_sink_plan *plan, psti_buf *sql);
void psti_sql_temp_create(const psti_sink_plan *plan, psti_buf *sql);
void psti_sql_temp_copy(const psti_sink_plan *plan, psti_buf *sql);
void psti_sql_copy(const psti_sink_plan *plan, psti_buf *sql);

/* A value given as text or binary, as an expression of the column's base type. */
void psti_sql_value(const psti_sink_column *column, const char *expr, psti_buf *sql);

/* How many columns are not left out. */
size_t psti_sql_count(const psti_sink_plan *plan, const uint8_t *skip);

/* "a", "b" of the columns that are not left out. */
void psti_sql_columns(const psti_sink_plan *plan, const uint8_t *skip, psti_buf *sql);
void psti_sql_conflict(const psti_sink_plan *plan, const uint8_t *skip, psti_buf *sql);

/* --- sink_encode.c ------------------------------------------------------------------------- */

/* Finds how values of the column's Arrow type travel to the target's type; sets encode and text. */
pst_status psti_encode_choose(psti_sink_column *column, bool binary_arrays, pst_error *err);

/*
 * Appends row i of a struct array: the first ncolumns columns. unchanged may be NULL. *partial is
 * set when a field was unchanged. On failure bytes is as before and err names column and reason.
 */
pst_status psti_encode_row(const psti_sink_plan *plan, const struct ArrowArray *batch, int64_t i,
						   size_t ncolumns, const uint8_t *const *unchanged, psti_buf *bytes,
						   bool *partial, pst_error *err);

/* Whether a field of another server's is the field that encoding its value would make. */
bool psti_encode_takes(const psti_sink_column *column, const psti_tuple_field *field);

/*
 * Appends the first ncolumns columns of a row that is there as a tuple of the caller's columns, all
 * of them verbatim. On failure bytes is as before.
 */
pst_status psti_encode_tuple(const psti_sink_plan *plan, const char *tuple, size_t ncolumns,
							 psti_buf *bytes, pst_error *err);

/* --- sink_field.c -------------------------------------------------------------------------- */

/* The text of a field as it was encoded; of a type without a known binary form, \x and hex. */
void psti_field_text(const psti_sink_column *column, const char *data, int32_t nbytes,
					 psti_buf *out);

/* Sets err's key, row, table and schema from a row; line: it has COPY's text format. */
void psti_row_name(const psti_sink_plan *plan, bool line, const char *tuple, size_t nbytes,
				   int64_t number, pst_error *err);

/* A line of COPY's text format as a tuple whose fields are texts. */
void psti_line_tuple(const psti_sink_plan *plan, const char *line, size_t nbytes, psti_buf *out);

/*
 * The first column whose text is not UTF-8, borrowed from the plan; NULL: there is none. line: the row
 * has COPY's text format.
 */
const char *psti_row_broken(const psti_sink_plan *plan, bool line, const char *tuple,
							size_t nbytes);

/* {"row":..,"error":{..},"values":{..}} and a line break. */
void psti_row_json(const psti_sink_plan *plan, bool line, const char *tuple, size_t nbytes,
				   const pst_error *why, psti_buf *out);

/* --- sink_merge.c -------------------------------------------------------------------------- */

/* What remains of a key's changes. */
typedef struct psti_merge_item
{
	size_t at;		/* its row: offset in rows, or in the merge's own bytes when composed */
	size_t row;		/* index of the row that came last */
	size_t order;	/* of the row that came first */
	uint32_t shape; /* 0: every column; else 1 + index into shapes */
	bool composed;
	bool deletes; /* the key is deleted first */
	bool upserts;
} psti_merge_item;

typedef struct psti_merge
{
	psti_merge_item *items; /* owned, in the order in which they are sent */
	size_t nitems;
	psti_buf bytes;	 /* rows composed of several */
	uint8_t *shapes; /* owned: bitmaps of unchanged columns, shape_bytes each */
	size_t nshapes;
	size_t shape_bytes;
	size_t ndeletes;
	size_t nfull; /* upserts of shape 0 */
	bool replay;  /* merging cannot be right here: replay in arrival order */
} psti_merge;

/*
 * Merges the changes of each key in arrival order. With strict keys the items are sorted by key,
 * else by arrival.
 */
pst_status psti_merge_rows(const psti_sink_plan *plan, const psti_sink_rows *rows, psti_merge *out,
						   pst_error *err);
void psti_merge_free(psti_merge *merge);
const char *psti_merge_tuple(const psti_merge *merge, const psti_sink_rows *rows,
							 const psti_merge_item *item);

/* --- the handle ---------------------------------------------------------------------------- */

/* Statements that are prepared once a session. */
typedef enum psti_sink_stmt
{
	PSTI_STMT_UPSERT,
	PSTI_STMT_DELETE,
	PSTI_STMT_LOCK,
	PSTI_STMT_COUNT
} psti_sink_stmt;

/* Where the progress of this writer stands. */
typedef struct psti_sink_progress
{
	char *table; /* owned: the qualified name, or NULL: none is kept */
	const char *job;
	const char *writer;
	bool taken;			  /* the token is ours */
	char token[24];		  /* as text */
	char claim[24];		  /* the next one while it is not known to be stored, else empty */
	int64_t epoch;		  /* of the last commit known */
	int64_t stored_epoch; /* what was found at open */
	char *stored_position;
	char *position;		 /* owned: what the next flush stores, or NULL: as it is */
	bool position_set;	 /* set_position was called at all */
	bool position_dirty; /* and not stored yet */
	bool position_late;	 /* set behind a commit in doubt, which did not carry it */
	bool resync;		 /* rows of an unknown outcome were discarded: read the epoch again */
	size_t marked_rows;	 /* rows that the position covers */
} psti_sink_progress;

typedef struct psti_skip
{
	psti_buf lines;		/* json lines not yet written */
	int64_t nrows;		/* skipped by the flush under way */
	int64_t rows_total; /* skipped since open, committed */
	FILE *file;			/* owned, NULL without on-error.file */
	bool enabled;
	int64_t limit; /* -1: none */
} psti_skip;

/* What one attempt to write the buffered rows came to. */
typedef struct psti_attempt
{
	bool commit_sent; /* the COMMIT may have reached the server */
	bool at_commit;	  /* the error is COMMIT's own: a deferred constraint */
	bool at_progress; /* the progress row did not match */
	int64_t upserted;
	int64_t deleted;
	int64_t skipped; /* once its outcome is in doubt */
	const char *method;
} psti_attempt;

/* A server process, as pg_stat_activity tells it apart from later ones of its pid. */
typedef struct psti_backend
{
	char pid[16];
	char start[64]; /* empty: the role may not see it */
	bool pooled;	/* there is a pooler between: the process serves other clients too */
} psti_backend;

struct pst_sink
{
	psti_options *options;
	pst_hooks hooks;
	psti_conn *conn; /* NULL: to be opened by the next flush */
	psti_sink_plan *plan;
	psti_sink_rows rows;
	psti_sink_progress progress;
	psti_skip skip;
	/* session */
	bool prepared[PSTI_STMT_COUNT];
	char statement[PSTI_STMT_COUNT][32]; /* their names */
	bool temp_made;
	bool stateless; /* a pooler changes servers under us: nothing is kept in the session */
	bool in_doubt;	/* a COMMIT was sent and the connection lost: settle before anything else */
	bool lock_next; /* a deadlock happened: lock the keys in order first */
	psti_backend session;  /* the server process of conn */
	psti_backend zombie;   /* that of the commit in doubt: it may still be at work */
	psti_attempt doubtful; /* what counts if that commit did come through */
	/* What an append in doubt that is still buffered is told by, until it has been; else PST_OK. */
	pst_error unknown;
	/* a COPY that has begun while rows arrive */
	bool streaming;
	bool stream_failed;
	size_t streamed; /* bytes of rows sent */
	pst_error stream_error;
	/* thresholds */
	int64_t max_rows;
	int64_t max_bytes;
	int64_t interval_ms;
	int64_t due_at; /* monotonic ms, -1: nothing buffered */
	int max_retries;
	bool staging;
	int64_t staged_ordinal; /* of the last staged row */
	bool stage_read;		/* staged_ordinal is known */
	bool stage_clean;		/* and nothing lies behind it */
	char *stage_table;		/* owned, qualified */
	uint64_t random;		/* state of the jitter */
	/* totals */
	int64_t rows_in;
	int64_t rows_verbatim;
	int64_t live_rows; /* buffered, dead ones not counted */
	int64_t rows_upserted;
	int64_t rows_deleted;
	int64_t flushes;
	int64_t retries;
	int64_t bytes_out;
	const char *method;
	bool write_failed; /* the error was a write's: rows are missing behind it */
	bool failed;	   /* an error has been told: nothing is sent until flush succeeds or discard */
	pst_error last_error;
};

/* --- sink_flush.c -------------------------------------------------------------------------- */

/* In sink.c: a -U that has no +U is a delete; the buffer is empty; the error stays until dealt with. */
void psti_sink_close_update(pst_sink *sink);
void psti_sink_forget_rows(pst_sink *sink);
void psti_sink_note_failure(pst_sink *sink, const pst_error *err);

/* How long a lost session is waited for. */
#define PSTI_ZOMBIE_WAIT_MS 10000

/*
 * Ends the server process of a connection that was lost in doubt, and waits until it is gone. Behind
 * a pooler (psti_sink_can_end is false) it cannot be known, and nothing is done.
 */
pst_status psti_sink_end_zombie(pst_sink *sink, int wait_ms, pst_error *err);
bool psti_sink_can_end(const pst_sink *sink);

/* Waits before try number n (from 0); *err holds why, and is written when the wait is cancelled. */
pst_status psti_sink_pause(pst_sink *sink, int n, pst_error *err);

/* Writes all buffered rows and the position in one transaction, with retries. */
pst_status psti_sink_flush_rows(pst_sink *sink, pst_error *err);

/* Sends what has arrived of an append ahead of its flush; a failure is kept for the flush. */
void psti_sink_stream(pst_sink *sink);

/* Ends a COPY that has begun, and its transaction, without keeping anything. */
void psti_sink_stream_drop(pst_sink *sink);

/* Ends the open transaction, if any; failures do not matter. */
void psti_sink_rollback(pst_sink *sink);

/*
 * Runs a query in a transaction of its own, under a setting (SET LOCAL …) that ends with it; *out is its
 * result, moved. After a failure the transaction is rolled back.
 */
pst_status psti_sink_query_local(pst_sink *sink, const char *what, const char *setting,
								 const char *sql, int nparams, const char *const *params,
								 PGresult **out, pst_error *err);

/* A COMMIT was sent and its answer lost; the session that sent it is kept in mind, and what it did. */
void psti_sink_doubt(pst_sink *sink, const psti_attempt *attempt);

/* A connection, new if need be. */
pst_status psti_sink_connect(pst_sink *sink, pst_error *err);
void psti_sink_disconnect(pst_sink *sink);

/*
 * Runs steps, clears the results; *failed as psti_conn_pipeline gives it. A statement with more than
 * 1 GB of values fails here, behind those before it.
 */
pst_status psti_sink_run(pst_sink *sink, const psti_step *steps, size_t nsteps, int *failed,
						 pst_error *err);

/*
 * The same for steps whose last one is COMMIT; attempt tells what a failure means for it.
 * progress_at is the step that stores the position, or -1.
 */
pst_status psti_sink_run_commit(pst_sink *sink, const psti_step *steps, size_t nsteps,
								int progress_at, psti_attempt *attempt, pst_error *err);

/* FNV-1a; begins with PSTI_HASH_BEGIN. */
#define PSTI_HASH_BEGIN UINT64_C(14695981039346656037)
static inline uint64_t
psti_hash(uint64_t hash, const void *data, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i++)
		hash = (hash ^ ((const uint8_t *) data)[i]) * UINT64_C(1099511628211);
	return hash;
}

/* The handle's own sequence of random numbers. */
uint64_t psti_sink_random(pst_sink *sink);

/* Whether the error is about the rows, so that finding the bad one makes sense. */
bool psti_sink_row_error(const pst_error *err);

/* Copies rows [from, to) of an append, none of them partial, inside the open transaction. */
pst_status psti_sink_append_range(pst_sink *sink, size_t from, size_t to, pst_error *err);

/* Room for arrays and single parameters beside the columns'. */
#define PSTI_LOT_EXTRA 8

/* The arrays of one lot: per column the fields of the tuples behind each other. */
typedef struct psti_lot
{
	psti_buf *arrays; /* ncolumns */
	const char **params;
	int *lengths;
	int *formats;
	Oid *types;
	int ncolumns;
} psti_lot;

pst_status psti_lot_init(psti_lot *lot, const psti_sink_plan *plan, size_t ncolumns,
						 const uint8_t *skip, pst_error *err);
void psti_lot_add(psti_lot *lot, const char *tuple, size_t ncolumns, const uint8_t *skip);
pst_status psti_lot_finish(psti_lot *lot, int64_t nrows, pst_error *err);
void psti_lot_free(psti_lot *lot);

/* --- sink_replay.c ------------------------------------------------------------------------- */

/*
 * Writes the buffered rows one by one in arrival order, in one transaction: the answer to a batch
 * that was refused. A bad row is named in err, or skipped when on-error says so. immediate checks
 * deferred constraints at once, to find the row.
 */
pst_status psti_sink_replay(pst_sink *sink, bool immediate, psti_attempt *attempt, pst_error *err);

/* Says in err which row, key and column it is about. The transaction is not open any more. */
void psti_sink_name_row(pst_sink *sink, size_t i, pst_error *err);

/* Notes a row as skipped (tuple NULL: its values are not known); fails when the limit is passed. */
pst_status psti_sink_skip_row(pst_sink *sink, bool line, const char *tuple, size_t nbytes,
							  const pst_error *why, pst_error *err);
/* Writes the notes to the file, before the COMMIT. */
pst_status psti_sink_skip_write(pst_sink *sink, pst_error *err);

/* --- sink_progress.c ----------------------------------------------------------------------- */

pst_status psti_progress_open(pst_sink *sink, pst_error *err);
pst_status psti_progress_take(pst_sink *sink, pst_error *err);
void psti_progress_free(psti_sink_progress *progress);

/*
 * The step that moves epoch and position inside the data's transaction; it fails when token or
 * epoch are not as expected. The texts live in storage.
 */
typedef struct psti_progress_step
{
	char epoch[24];
	const char *params[6];
	psti_buf sql;
} psti_progress_step;

pst_status psti_progress_add(pst_sink *sink, psti_progress_step *storage, psti_step *step,
							 pst_error *err);
/* After the commit is known. */
void psti_progress_committed(pst_sink *sink);
/*
 * Raises the token, so that a commit in doubt cannot come true any more: PST_ERR_FENCED, or whether
 * it had before.
 */
pst_status psti_progress_settle(pst_sink *sink, bool *committed, pst_error *err);

/* PST_ERR_FENCED. */
pst_status psti_progress_fenced(pst_sink *sink, pst_error *err);

/* --- sink_staging.c ------------------------------------------------------------------------ */

pst_status psti_staging_open(pst_sink *sink, pst_error *err);
/* What a lost session was sent cannot be done any more behind this. */
pst_status psti_staging_settle(pst_sink *sink, pst_error *err);
/* Writes the buffered rows to the staging table, in one transaction. */
pst_status psti_staging_flush(pst_sink *sink, psti_attempt *attempt, pst_error *err);

#endif /* PSTI_SINK_H */
