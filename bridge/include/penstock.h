/*
 * penstock.h - rows between PostgreSQL and stream processors, as Arrow arrays.
 *
 * This is the whole public interface of libpenstock: C11, standard headers only.
 *
 * Conventions, the same for every function:
 *
 * Status     Every function that can fail returns pst_status: PST_OK (0), a positive value for a
 *            normal other outcome (PST_END, PST_AGAIN), a negative one for a failure.
 * Errors     The last argument is a caller-owned pst_error (NULL allowed). Begin it with
 *            PST_ERROR_INIT; it holds no memory, is written only on failure and needs no free.
 * Out        Out parameters get a safe empty value (NULL, 0, a released Arrow struct) before
 *            anything can fail.
 * Ownership  Three words. *Borrowed*: stays yours, is read only during the call unless another
 *            end is named. *Copied*: the library keeps its own copy. *Moved*: the new owner frees.
 *            Texts that a function gives out are moved to you: free them with pst_free.
 * Handles    Each _open has one _close, each _new one _free; both accept NULL. Handles are used by
 *            one thread at a time; different handles are independent. pst_cancel alone may be
 *            called from anywhere, a signal handler included.
 * Threads    The library starts none, installs no signal handler, never writes to standard error,
 *            never exits and keeps no mutable global state.
 * Text       UTF-8, null-terminated.
 * Structs    Those that callers fill or receive begin with struct_size and only grow at the end.
 *            Enums only grow.
 * Options    Two NULL-terminated arrays, keys and values, as PQconnectdbParams takes them; the
 *            names are those of a Flink WITH clause (docs/bridge.md has the table). A later pair
 *            overrides an earlier one of the same name; a NULL value is as if it were not given.
 *            An unknown name is an error that tells the nearest known one.
 */
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define PST_BEGIN_DECLS                                                                            \
	extern "C"                                                                                     \
	{
#define PST_END_DECLS }
#else
#define PST_BEGIN_DECLS
#define PST_END_DECLS
#endif

PST_BEGIN_DECLS

#if defined(__GNUC__)
#define PST_EXPORT __attribute__((visibility("default")))
#else
#define PST_EXPORT
#endif

#define PST_VERSION_MAJOR 0
#define PST_VERSION_MINOR 1
#define PST_VERSION_PATCH 0

/* ---------------------------------------------------------------------------------------------
 * Arrow C Data Interface: the two published structs and the stream, as the Arrow project defines
 * them (https://arrow.apache.org/docs/format/CDataInterface.html). The guards are the standard
 * ones, so any order of inclusion with other Arrow headers works.
 */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema
{
	const char *format;
	const char *name;
	const char *metadata;
	int64_t flags;
	int64_t n_children;
	struct ArrowSchema **children;
	struct ArrowSchema *dictionary;
	void (*release)(struct ArrowSchema *);
	void *private_data;
};

struct ArrowArray
{
	int64_t length;
	int64_t null_count;
	int64_t offset;
	int64_t n_buffers;
	int64_t n_children;
	const void **buffers;
	struct ArrowArray **children;
	struct ArrowArray *dictionary;
	void (*release)(struct ArrowArray *);
	void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream
{
	int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
	int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
	const char *(*get_last_error)(struct ArrowArrayStream *);
	void (*release)(struct ArrowArrayStream *);
	void *private_data;
};

#endif /* ARROW_C_STREAM_INTERFACE */

/* ---------------------------------------------------------------------------------------------
 * Status and errors
 */

/* What a call came to. The class follows from the SQLSTATE by one table (docs/bridge.md). */
typedef enum pst_status
{
	PST_OK = 0,
	PST_END = 1,				   /* nothing more will come */
	PST_AGAIN = 2,				   /* nothing yet, ask again */
	PST_ERR_INVALID = -1,		   /* an argument or option is wrong; nothing was done */
	PST_ERR_NOMEM = -2,			   /* out of memory in this process */
	PST_ERR_CONNECTION = -3,	   /* the server cannot be reached or was lost (08, 57P) */
	PST_ERR_AUTH = -4,			   /* the server refuses the login (28) */
	PST_ERR_PRIVILEGE = -5,		   /* the role may not do this (42501) */
	PST_ERR_NOT_FOUND = -6,		   /* no such database, schema, table, column, function */
	PST_ERR_EXISTS = -7,		   /* it is there already */
	PST_ERR_DATA = -8,			   /* a value does not fit (22, special values) */
	PST_ERR_CONSTRAINT = -9,	   /* a constraint refuses the row (23, 44) */
	PST_ERR_CONFLICT = -10,		   /* serialization failure or deadlock (40) */
	PST_ERR_RESOURCES = -11,	   /* the server lacks memory, disk, connections (53, 54) */
	PST_ERR_CANCELED = -12,		   /* cancelled, by pst_cancel or by the server (57014) */
	PST_ERR_TIMEOUT = -13,		   /* a deadline of ours or of the server passed */
	PST_ERR_PROTOCOL = -14,		   /* bytes that no honest server sends */
	PST_ERR_UNSUPPORTED = -15,	   /* not possible with this server or relation (0A) */
	PST_ERR_STATE = -16,		   /* wrong moment: handle closed, stream over, 25, 55 */
	PST_ERR_SQL = -17,			   /* the server does not understand the statement (42) */
	PST_ERR_FENCED = -18,		   /* another writer of this name has taken over */
	PST_ERR_UNKNOWN_OUTCOME = -19, /* the connection broke in COMMIT and nothing can tell */
	PST_ERR_IO = -20,			   /* a file or callback of the caller failed */
	PST_ERR_SERVER = -21		   /* any other error of the server */
} pst_status;

/*
 * What went wrong. Caller-owned, no memory behind it. All texts are empty when unknown. message
 * says what was being done and what came of it; detail and hint are sentences. key is the row's
 * key as `(a, b)=(1, x)`, row its number (from 0) in the batch or input, or -1.
 */
typedef struct pst_error
{
	size_t struct_size;
	pst_status status;
	bool retryable; /* the same call may succeed later with nothing changed */
	char sqlstate[6];
	char message[1024];
	char detail[1024];
	char hint[1024];
	char schema[256];
	char table[256];
	char column[256];
	char constraint[256];
	char key[512];
	int64_t row;
} pst_error;

#define PST_ERROR_INIT                                                                             \
	{                                                                                              \
		.struct_size = sizeof(pst_error), .row = -1                                                \
	}

/* The name of a status, such as "PST_ERR_DATA". Never NULL, static. */
PST_EXPORT const char *pst_status_name(pst_status status);

/* The library's version, "0.1.0". Static. */
PST_EXPORT const char *pst_version(void);

/* Frees a text or array that a function of this header moved to the caller. NULL is allowed. */
PST_EXPORT void pst_free(void *text);

/* ---------------------------------------------------------------------------------------------
 * Cancelling, log lines, progress
 */

/*
 * A switch that ends blocking calls. One canceller may serve many handles (pst_hooks); when it is
 * thrown, each call that blocks on one of them asks the server to stop its statement, waits for
 * that at most some seconds and returns PST_ERR_CANCELED; later calls return it at once. It cannot
 * be taken back: afterwards only close is meaningful.
 */
typedef struct pst_canceller pst_canceller;

/* Makes a canceller (two file descriptors). It must outlive the handles that it was given to. */
PST_EXPORT pst_status pst_canceller_new(pst_canceller **out, pst_error *err);

/* Throws the switch. Safe from any thread and from a signal handler; never blocks. */
PST_EXPORT void pst_cancel(pst_canceller *canceller);

/* Whether pst_cancel was called. Safe from any thread. */
PST_EXPORT bool pst_canceller_thrown(const pst_canceller *canceller);

PST_EXPORT void pst_canceller_free(pst_canceller *canceller);

typedef enum pst_log_level
{
	PST_LOG_DEBUG = 0,
	PST_LOG_INFO = 1,
	PST_LOG_WARNING = 2
} pst_log_level;

/* How far long work has come. Totals are estimates, or -1 when unknown. */
typedef struct pst_progress
{
	size_t struct_size;
	int64_t rows;
	int64_t bytes; /* as they crossed the wire */
	int64_t rows_total;
	int64_t bytes_total;
} pst_progress;

/*
 * What a handle tells while it works, and what can stop it. All members may be zero. The functions
 * are called in the thread that is inside a call on the handle, must not call back into it, and
 * get ctx as their first argument. Texts are borrowed for the call. The struct is copied.
 */
typedef struct pst_hooks
{
	size_t struct_size;
	void *ctx;
	void (*log)(void *ctx, pst_log_level level, const char *message);
	void (*progress)(void *ctx, const pst_progress *progress);
	pst_canceller *canceller; /* borrowed until the handle is closed */
	const char *application;  /* application_name is "penstock/VERSION APPLICATION"; copied */

	/*
	 * A connection of the handle was made; backend_pid is its server process. Together with
	 * pst_catalog_blockers this is how a caller learns who a blocked call waits for.
	 */
	void (*connected)(void *ctx, int backend_pid);
} pst_hooks;

#define PST_HOOKS_INIT                                                                             \
	{                                                                                              \
		.struct_size = sizeof(pst_hooks)                                                           \
	}

/* ---------------------------------------------------------------------------------------------
 * Options
 */

/*
 * Calls visit once for every option that the library knows, in the manual's order: its name, the
 * handles that take it ("catalog source sink cdc"), its default ("" for none) and one sentence of
 * help. Texts are borrowed for the visit. This is where the manual's table comes from.
 */
PST_EXPORT void pst_options_visit(void (*visit)(void *ctx, const char *name, const char *handles,
												const char *default_value, const char *help),
								  void *ctx);

/* ---------------------------------------------------------------------------------------------
 * Catalog: what there is. Answers are JSON texts, those of the SQL functions of the same name
 * (docs/catalog.md). Each question is one round trip; making a table takes up to three.
 *
 * Table names are read as regclass reads them: unquoted parts fold to lower case, one part alone
 * goes by the search_path.
 */
typedef struct pst_catalog pst_catalog;

PST_EXPORT pst_status pst_catalog_open(const char *const *keys, const char *const *values,
									   const pst_hooks *hooks, pst_catalog **out, pst_error *err);
PST_EXPORT void pst_catalog_close(pst_catalog *catalog);

/* "plain" or "assisted": what the handle uses. Static. */
PST_EXPORT const char *pst_catalog_transport(const pst_catalog *catalog);

/*
 * Where the handle is connected: two handles have the same text when they are in the same database
 * of the same running server. It is to be compared, not read. Borrowed until the handle's next call.
 */
PST_EXPORT const char *pst_catalog_place(const pst_catalog *catalog);

/* ["a","b"]: databases that can be connected to, by database.whitelist and database.blacklist. */
PST_EXPORT pst_status pst_catalog_databases(pst_catalog *catalog, char **json, pst_error *err);

/* ["public",...]: schemas that the role may use, without the system's. */
PST_EXPORT pst_status pst_catalog_schemas(pst_catalog *catalog, char **json, pst_error *err);

/*
 * [{"schema":..,"name":..,"qualified":..,"kind":"table|partitioned table|view|materialized view|
 * foreign table","comment":..,"rows":n},...], sorted by schema and name. schema NULL means all
 * but the system's.
 */
PST_EXPORT pst_status pst_catalog_tables(pst_catalog *catalog, const char *schema, char **json,
										 pst_error *err);

/* All about one relation: columns, types, keys, indexes, partitioning, comments (docs/catalog.md). */
PST_EXPORT pst_status pst_catalog_describe(pst_catalog *catalog, const char *table, char **json,
										   pst_error *err);

/* The same for every relation of a schema (NULL: of all but the system's), as one JSON array. */
PST_EXPORT pst_status pst_catalog_describe_all(pst_catalog *catalog, const char *schema,
											   char **json, pst_error *err);

/* A relation as a Flink CREATE TABLE statement, ready to paste; the password is left out. */
PST_EXPORT pst_status pst_catalog_flink_ddl(pst_catalog *catalog, const char *table, char **ddl,
											pst_error *err);

/* Flags of pst_catalog_create_table. */
#define PST_CREATE_IF_NOT_EXISTS 1 /* an existing compatible table is fine */

/*
 * Makes a table for an Arrow schema. A field's type is its metadata `penstock.type` when the
 * server has that type, else by its format (docs/types.md). key names the primary key's columns, a
 * NULL-terminated array or NULL for none. With PST_CREATE_IF_NOT_EXISTS an existing table must
 * have every column of the schema with a type that the column's values can be written to. Refused is
 * a temporary table (of a search_path that begins with pg_temp), and one that an event trigger moves
 * away from its name. *made
 * (NULL allowed) is the OID of the table that this call has made, or 0. After an error it is not 0
 * where the connection was lost or the call cancelled before the commit's answer came: the table may
 * then be there, and pst_catalog_drop_table with this OID drops it and never another.
 */
PST_EXPORT pst_status pst_catalog_create_table(pst_catalog *catalog, const char *table,
											   const struct ArrowSchema *schema,
											   const char *const *key, int flags, uint32_t *made,
											   pst_error *err);

/* Flags of pst_catalog_drop_table. */
#define PST_DROP_IF_EMPTY 1

/*
 * Drops a table. oid is that of the table meant, or 0 for whichever has the name: another one that has
 * taken the name stays (PST_ERR_NOT_FOUND). With PST_DROP_IF_EMPTY it is looked into first: one that
 * has rows stays (PST_ERR_STATE), one in use too (PST_ERR_CONFLICT). For both a lock is taken, for
 * which at most two seconds are waited.
 */
PST_EXPORT pst_status pst_catalog_drop_table(pst_catalog *catalog, const char *table, uint32_t oid,
											 int flags, pst_error *err);
PST_EXPORT pst_status pst_catalog_create_database(pst_catalog *catalog, const char *database,
												  pst_error *err);
PST_EXPORT pst_status pst_catalog_drop_database(pst_catalog *catalog, const char *database,
												pst_error *err);

/*
 * What works on this server, and for the rest what to do: {"server":..,"checks":[{"feature":..,
 * "check":..,"status":"ok|reduced|blocked","message":..,"fix":..},...]} (docs/doctor.md).
 */
PST_EXPORT pst_status pst_catalog_doctor(pst_catalog *catalog, char **json, pst_error *err);

/*
 * The GRANT statements that a role needs, no more, for a feature: "read", "write" or "catalog".
 * role NULL stands for the placeholder "your_role"; table NULL for every table of the database.
 */
PST_EXPORT pst_status pst_catalog_grants(pst_catalog *catalog, const char *feature,
										 const char *role, const char *table, char **sql,
										 pst_error *err);

/*
 * Who holds up these server processes (pst_hooks.connected): [{"pid":n,"wait":"Lock: relation",
 * "object":"public.t","blocked_by":[{"pid":n,"user":..,"application":..,"state":..,"seconds":n} or
 * {"gid":..,"user":..,"seconds":n},...]},...]: one entry for each process that waits, prepared
 * transactions by gid. Processes that are gone or at work have none; pids is borrowed.
 */
PST_EXPORT pst_status pst_catalog_blockers(pst_catalog *catalog, const int *pids, size_t npids,
										   char **json, pst_error *err);

/* ---------------------------------------------------------------------------------------------
 * Source: a table or query at one moment, by any number of workers.
 *
 * One handle plans: it takes the snapshot and the locks and keeps them until it is closed. Splits
 * are printable texts that begin with "pst1:"; each may be read by this handle or by another one
 * opened with the same options, in any process that reaches the same server, while the planning
 * handle is open. Whatever is written meanwhile, every row of the moment of the plan is in exactly
 * one split.
 */
typedef struct pst_source pst_source;

PST_EXPORT pst_status pst_source_open(const char *const *keys, const char *const *values,
									  const pst_hooks *hooks, pst_source **out, pst_error *err);

/* Closes the snapshot and the connections; streams still held answer EINVAL. */
PST_EXPORT void pst_source_close(pst_source *source);

/*
 * The schema of the rows, moved: a struct ('+s') whose fields carry `penstock.type` metadata. For rows
 * that end in a sink open the source with read.values = lossless: fields whose Arrow type cannot hold
 * every value are then of type binary with `penstock.binary` metadata, which the sink understands.
 */
PST_EXPORT pst_status pst_source_schema(pst_source *source, struct ArrowSchema *out,
										pst_error *err);

/*
 * Cuts the table into at most max_splits splits (0: as many as its size asks for); at least one.
 * *splits is a NULL-terminated array in one allocation: free it, not its texts, with pst_free.
 * A second call plans anew under the same snapshot.
 */
PST_EXPORT pst_status pst_source_plan(pst_source *source, int max_splits, char ***splits,
									  size_t *nsplits, pst_error *err);

/*
 * Opens a stream over one split, or over all rows when split is NULL. Batches are moved and
 * self-contained: they may be released by any thread, also after the handle is closed. One stream
 * at a time per handle. Errors inside the stream are errno values with get_last_error's text;
 * pst_source_error has the whole of it.
 */
PST_EXPORT pst_status pst_source_read(pst_source *source, const char *split,
									  struct ArrowArrayStream *out, pst_error *err);

/* The error that ended the handle's last stream, copied to *err; its status, or PST_OK. */
PST_EXPORT pst_status pst_source_error(pst_source *source, pst_error *err);

/* "plain" or "assisted": what the handle uses. Static. */
PST_EXPORT const char *pst_source_transport(const pst_source *source);

/* The server's estimate of the rows and bytes that a full read yields; -1 when there is none. */
PST_EXPORT pst_status pst_source_estimate(pst_source *source, int64_t *rows, int64_t *bytes,
										  pst_error *err);

/* ---------------------------------------------------------------------------------------------
 * Changes. The kinds of a row are Flink's RowKind values.
 */
#define PST_ROW_INSERT 0		/* +I */
#define PST_ROW_UPDATE_BEFORE 1 /* -U */
#define PST_ROW_UPDATE_AFTER 2	/* +U */
#define PST_ROW_DELETE 3		/* -D */

/*
 * Rows of one table at one schema version, with what is known of each change. Arrays have one
 * entry a row and may be NULL when unknown. An update whose old row is told is two adjacent rows, -U
 * and +U; one that is not is +U alone.
 */
typedef struct pst_change_batch
{
	size_t struct_size;
	const char *database;			  /* borrowed with the batch, NULL when unknown */
	const char *schema_name;		  /* the same */
	const char *table;				  /* the same */
	const struct ArrowSchema *schema; /* borrowed until the table's next schema event */
	struct ArrowArray array;		  /* a struct array; moved to whoever receives the batch */
	const int8_t *row_kind;			  /* PST_ROW_*; NULL: all inserts */
	const uint64_t *commit_lsn;		  /* where the transaction's commit record begins */
	const uint64_t *xid;			  /* 64 bit, of the top-level transaction */
	const uint64_t *sequence;		  /* number in its transaction, from 1 */
	const uint64_t *lsn;			  /* of the change itself */
	const int64_t *op_ts;			  /* commit time, microseconds since 1970 UTC */
	const char *origin;				  /* name of the replication origin, NULL: local; borrowed */
	bool snapshot;					  /* rows of a snapshot, not of the stream */
	/*
	 * Per column NULL, or a bitmap (least significant bit first, indexed as the array's rows
	 * without its offset): 1 = the change did not carry this value, keep what the target has.
	 */
	const uint8_t *const *unchanged;
} pst_change_batch;

/* What a change stream tells next. */
typedef enum pst_event_kind
{
	PST_EVENT_ROWS = 0,
	PST_EVENT_SCHEMA = 1,			 /* the table's schema from here on */
	PST_EVENT_TRUNCATE = 2,			 /* the table was emptied */
	PST_EVENT_RESET = 3,			 /* forget the table's rows: they come anew */
	PST_EVENT_CLEAR_RANGE = 4,		 /* forget the rows of a key range: they come anew */
	PST_EVENT_SNAPSHOT_COMPLETE = 5, /* from here on the copy equals a moment of the server */
	PST_EVENT_MESSAGE = 6,			 /* a logical message; never trusted */
	PST_EVENT_PROGRESS = 7,			 /* nothing but a newer position */
	PST_EVENT_REGIONS = 8			 /* regions of a table are there to be read: pst_cdc_plan */
} pst_event_kind;

/* ---------------------------------------------------------------------------------------------
 * Change capture: the rows of tables, then every change of them, each exactly once (docs/cdc.md).
 *
 * pst_cdc_next gives one event after the other. pst_cdc_position is the place behind all that were given:
 * store it with what was made of them, in one step, then tell pst_cdc_ack, so that the server can forget
 * what lies before. A restart opens with the position stored last and goes on exactly behind it, also
 * from the middle of a snapshot or a transaction.
 *
 * Option cdc.consumer says what the caller can do. exact (the default): positions are stored with the
 * data. replay: data is kept when the position is lost, events since the last stored one come again,
 * and a table can be forgotten and filled anew. upsert: the same, but nothing can be forgotten.
 *
 * The handle is used by one thread; it starts none. A caller that is slow costs the server WAL, not
 * memory here, and does not lose its connection.
 */
typedef struct pst_cdc pst_cdc;

/*
 * One thing that happened. Texts, the schema and the arrays of rows are borrowed until the next call on
 * the handle, where nothing else is said; rows.array is moved: pst_event_release releases it, or whoever
 * has taken it and has set its release to NULL.
 */
typedef struct pst_event
{
	size_t struct_size;
	pst_event_kind kind;

	/*
	 * The position must be stored and acknowledged before the next call of pst_cdc_next, which is
	 * PST_ERR_STATE until then: what comes next could not be told apart after a crash.
	 */
	bool store;

	/* Of the table: all kinds but SNAPSHOT_COMPLETE, MESSAGE and PROGRESS. */
	const char *database;
	const char *schema_name;
	const char *table;
	uint32_t table_oid;
	const struct ArrowSchema *schema; /* ROWS, SCHEMA; until the table's next SCHEMA event */
	const char *const *key; /* SCHEMA: columns of the replica identity's key, NULL-terminated */

	pst_change_batch rows; /* ROWS */

	/* Of the change: TRUNCATE, RESET in the stream, MESSAGE. 0 where there is none. */
	uint64_t commit_lsn;
	uint64_t xid;
	uint64_t sequence;
	uint64_t lsn;
	int64_t op_ts; /* microseconds since 1970 UTC */

	const char *reason; /* RESET: why, a sentence */

	/* CLEAR_RANGE: rows with lower <= column < upper, as texts; NULL: no bound on that side. */
	const char *column;
	const char *lower;
	const char *upper;

	/* MESSAGE */
	bool transactional;
	const char *prefix;
	const void *content;
	size_t content_bytes;
} pst_event;

#define PST_EVENT_INIT                                                                             \
	{                                                                                              \
		.struct_size = sizeof(pst_event)                                                           \
	}

/*
 * Opens the capture of the tables that table-name names: patterns, separated by commas. position: as it
 * was stored last, or NULL to begin by scan.startup.mode. Nothing is made on the server yet. Refused at
 * once, with the remedy: tables without a stream (unlogged, foreign, materialized), tables that the role
 * may not read, a missing before-image where changelog-mode = all wants it, a slot that does not fit the
 * position: lost, dropped, made anew, advanced by others, of another server; where the server's own output
 * plugin is used, a publication that is not there or was made anew.
 */
PST_EXPORT pst_status pst_cdc_open(const char *const *keys, const char *const *values,
								   const char *position, const pst_hooks *hooks, pst_cdc **out,
								   pst_error *err);

/*
 * The next event. Waits for one for at most timeout_ms (-1: for ever), then it is PST_AGAIN. PST_END:
 * the snapshot of scan.startup.mode = snapshot was read, or scan.stop.at was reached. After a failure
 * only pst_cdc_close is left; err->retryable says whether opening again at the stored position may help.
 */
PST_EXPORT pst_status pst_cdc_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err);

/* Releases what the event still owns. */
PST_EXPORT void pst_event_release(pst_event *event);

/* The position behind the last event: a printable text that begins with "pst1:", moved. */
PST_EXPORT pst_status pst_cdc_position(pst_cdc *cdc, char **position, pst_error *err);

/*
 * A position of this handle has been stored: the server may forget what lies before it. Positions are
 * acknowledged in the order in which they were taken, some may be left out.
 */
PST_EXPORT pst_status pst_cdc_ack(pst_cdc *cdc, const char *position, pst_error *err);

/*
 * Tables that are read by many processes: option cdc.regions = plan.
 *
 * Then pst_cdc_next tells of a table what comes before its rows (SCHEMA, RESET, CLEAR_RANGE), and REGIONS.
 * pst_cdc_plan has the splits of its regions: printable texts by which a pst_cdc_reader gives their rows, in any
 * process that reaches the server, while this handle, which holds the snapshot and the locks, is open. When a
 * reader has told PST_END, and the rows are kept, pst_cdc_region_done enters that into the position. The stream
 * begins when all regions are done. Until then pst_cdc_next gives PST_AGAIN where there is nothing else to tell,
 * after about a second at most, whatever timeout_ms is: its caller is who goes on. At most cdc.jobs tables
 * are held at a time, a connection each. Tables that are reset in the stream are planned likewise.
 *
 * A position can be taken and stored at any time. At a restart with it, regions that are done in it stay so; the
 * others are told to be cleared where rows of them may be kept (to consumers that can forget), and planned under
 * a new snapshot. Splits of the plan from before are refused. One kind of region is still good: one whose rows are
 * all kept with the position, which was taken after the region was planned and before it was done, as where
 * each process of an engine stores its own part of a checkpoint. Tell pst_cdc_region_done of these between
 * pst_cdc_open and the first pst_cdc_next; from then on they are refused too. Rows of a region that was planned after the position was taken must
 * not be kept with it.
 */

/*
 * The splits of all regions that were not given out yet, maybe none: *splits is a NULL-terminated array in one
 * allocation, to be freed, not its texts, with pst_free. PST_ERR_STATE without cdc.regions = plan. Does not block.
 */
PST_EXPORT pst_status pst_cdc_plan(pst_cdc *cdc, char ***splits, size_t *nsplits, pst_error *err);

/*
 * All rows of the split's region are kept, or will be with the positions that are taken from now on. Of a
 * region that is given out in several splits, as tables are that no single column can cut, the position knows when
 * the last one is done. Told again it changes nothing. PST_ERR_STATE, retryable: the split is of a plan that is
 * over. PST_ERR_INVALID: it is no split, or of another capture. The handle stays good for other calls.
 */
PST_EXPORT pst_status pst_cdc_region_done(pst_cdc *cdc, const char *split, pst_error *err);

/* Reads regions, one after the other; needs no more rights than the capture's SELECT. */
typedef struct pst_cdc_reader pst_cdc_reader;

/*
 * keys and values are the capture's, or of them those that say how the server is reached and how large
 * batches are: which table is read and what its rows look like is told by the split. Does not connect yet.
 */
PST_EXPORT pst_status pst_cdc_reader_open(const char *const *keys, const char *const *values,
										  const pst_hooks *hooks, pst_cdc_reader **out,
										  pst_error *err);

/*
 * Begins with a region (split is copied), whatever was left of the last one. Connects when the last one was of
 * another table. PST_ERR_STATE, retryable: the plan is over, or the snapshot was lost with the handle that
 * planned. After a failure the reader can begin with any region.
 *
 * A reader stays in the snapshot and keeps the table from being altered until it begins with another plan's
 * region: one that has nothing to read for now lets go of both with split NULL. Where a session waits to alter the
 * table, those that have begun with it go on, and one that comes new gets SQLSTATE 55P03, retryable. It has its turn
 * when the table is done, or the handle that planned is closed; opened again at its position, that plans anew.
 */
PST_EXPORT pst_status pst_cdc_reader_read(pst_cdc_reader *reader, const char *split,
										  pst_error *err);

/*
 * The next event of the region, as pst_cdc_next would give it: a SCHEMA, which is that of the stream, then ROWS
 * with rows.snapshot. PST_END: these were all rows; only then the region can be done. PST_ERR_STATE: none was begun,
 * or it has failed. What of it a consumer that
 * cannot forget rows has taken before that comes again after a failure. Blocks until the server has
 * sent a batch. The schema and texts are borrowed until pst_cdc_reader_read or close.
 */
PST_EXPORT pst_status pst_cdc_reader_next(pst_cdc_reader *reader, pst_event *out, pst_error *err);

/* Ends the read and the connection. NULL allowed. */
PST_EXPORT void pst_cdc_reader_close(pst_cdc_reader *reader);

/* How far the capture has come. */
typedef struct pst_cdc_stats
{
	size_t struct_size;
	const char *slot;	   /* its name; borrowed until close */
	const char *transport; /* "assisted" or "plain"; static */
	bool snapshotting;	   /* tables are still to be read */
	int64_t
		snapshot_rows; /* read so far, by this handle: 0 where others read (cdc.regions = plan) */
	int64_t snapshot_total; /* estimate of all, -1 unknown */
	int64_t changes;		/* rows of the stream so far, by this handle */
	int64_t bytes;			/* received */
	uint64_t received_lsn;	/* end of the WAL that the server has gone through for this stream */
	uint64_t server_lsn;	/* end of its WAL, as it said last; 0 unknown */
	uint64_t acknowledged_lsn;
	int64_t commit_time; /* of the last transaction, microseconds since 1970 UTC; 0: none yet */
} pst_cdc_stats;

/* Fills *stats, whose struct_size the caller has set. */
PST_EXPORT void pst_cdc_get_stats(const pst_cdc *cdc, pst_cdc_stats *stats);

/*
 * Ends the stream, tells the server what was acknowledged last, and frees the handle. drop_slot drops the
 * slot, with everything that a later start would need (a temporary one always goes). NULL is PST_OK.
 */
PST_EXPORT pst_status pst_cdc_close(pst_cdc *cdc, bool drop_slot, pst_error *err);

/*
 * Which of two positions of one capture is further: *order is -1, 0 or 1. PST_ERR_INVALID when they are of
 * different slots, output plugins or servers.
 */
PST_EXPORT pst_status pst_position_compare(const char *a, const char *b, int *order,
										   pst_error *err);

/*
 * Replication slots of the server as a JSON array, in order of name (docs/cdc.md): what they hold back and
 * how safe they are.
 */
PST_EXPORT pst_status pst_catalog_slots(pst_catalog *catalog, char **json, pst_error *err);

/* Drops a slot that nobody uses. What it held back is lost for whoever has a position of it. */
PST_EXPORT pst_status pst_catalog_drop_slot(pst_catalog *catalog, const char *slot, pst_error *err);

/*
 * Moves a slot forward to this LSN: changes before it are skipped, and positions before it are of no use
 * any more.
 */
PST_EXPORT pst_status pst_catalog_advance_slot(pst_catalog *catalog, const char *slot, uint64_t lsn,
											   pst_error *err);

/* ---------------------------------------------------------------------------------------------
 * Sink: rows into a table.
 *
 * Rows are buffered and flushed by rows, bytes and time; each flush is one transaction. Nothing is
 * half applied: a failed flush leaves the target as it was, and the rows stay buffered until
 * pst_sink_flush succeeds, pst_sink_discard forgets them or the handle is closed.
 *
 * With sink.progress.schema, sink.progress.job (and sink.progress.writer) every flush also stores
 * its position in the table penstock_progress, in the same transaction, so that a restart can go
 * on exactly after it, and a writer that was replaced is fenced (PST_ERR_FENCED).
 */
typedef struct pst_sink pst_sink;

/*
 * Opens a sink for rows of this Arrow schema (borrowed); fields are matched to the target's
 * columns by name. Everything that can be refused is refused here: unknown columns, a generated
 * column, types that cannot be written, a key without its unique index (the error has the CREATE
 * UNIQUE INDEX statement), a missing privilege.
 */
PST_EXPORT pst_status pst_sink_open(const char *const *keys, const char *const *values,
									const struct ArrowSchema *schema, const pst_hooks *hooks,
									pst_sink **out, pst_error *err);

/*
 * Takes the rows of a struct array (borrowed; copied into the buffer), flushing when a threshold
 * is passed; blocks only then. row_kind has one PST_ROW_* a row, or is NULL: all inserts. On
 * failure err->row is the number of the row at fault among all rows given to the handle, from 0,
 * or -1; rows_in of the statistics tells how many rows of the call were taken. The error is told
 * again by each call until pst_sink_flush succeeds or pst_sink_discard forgets the rows.
 */
PST_EXPORT pst_status pst_sink_write(pst_sink *sink, const struct ArrowArray *batch,
									 const int8_t *row_kind, pst_error *err);

/* The same for a change batch: its row kinds and unchanged values count, its array stays yours. */
PST_EXPORT pst_status pst_sink_write_changes(pst_sink *sink, const pst_change_batch *batch,
											 pst_error *err);

/*
 * Writes the rows of a split of source (NULL: all of them) as inserts, flushing as pst_sink_write
 * and pst_sink_poll do; what is buffered at the end stays for pst_sink_flush. The sink was opened
 * with the source's schema. With read.values = lossless, and where the target's columns have the
 * source's types, rows travel from server to server as they are, without being decoded between.
 * The source's hooks.progress is told of each batch. After a failure rows of the split
 * may be buffered or committed already, as after pst_sink_write; pst_source_error is PST_OK when it
 * was the sink's.
 */
PST_EXPORT pst_status pst_sink_copy(pst_sink *sink, pst_source *source, const char *split,
									pst_error *err);

/*
 * Milliseconds until buffered rows are due by sink.buffer-flush.interval: 0 when they are, -1 when
 * nothing is buffered. The library has no thread: a caller that may idle calls pst_sink_poll then.
 */
PST_EXPORT int pst_sink_due_ms(const pst_sink *sink);

/* Flushes if the interval has passed. */
PST_EXPORT pst_status pst_sink_poll(pst_sink *sink, pst_error *err);

/*
 * Writes everything that is buffered and commits it. PST_ERR_UNKNOWN_OUTCOME, only without the
 * progress table and in mode append: the connection was lost in COMMIT, so the rows, which stay
 * buffered, are in the target or not. The lost session has been ended then: look at the target, and
 * flush again or discard. Where it could not be ended yet (the server is away, the role may not, the
 * call was cancelled: the detail says which) the next flush tries that again, writes nothing and tells
 * the same once more; behind a pooler nobody can end it. So a cancel that comes while an append is in
 * doubt is told by the detail, not as PST_ERR_CANCELED.
 */
PST_EXPORT pst_status pst_sink_flush(pst_sink *sink, pst_error *err);

/*
 * Forgets the rows that are buffered; *nrows (NULL allowed) tells how many. This does not take back a
 * commit that is in doubt: its session is ended before other rows are flushed. When none follow,
 * closing leaves it to the server, and the rows may still come into the target until that has noticed
 * that the connection is gone.
 */
PST_EXPORT void pst_sink_discard(pst_sink *sink, int64_t *nrows);

/*
 * The position that the next flush stores with its rows: any text, copied; it is the position
 * after all rows written so far. From then on only rows that a position covers are flushed by
 * themselves, and those of one write call never apart. Needs the progress table.
 */
PST_EXPORT pst_status pst_sink_set_position(pst_sink *sink, const char *position, pst_error *err);

/*
 * What the progress table held for this job and writer at open, moved: epoch (-1: none yet) and
 * position (NULL: none).
 */
PST_EXPORT pst_status pst_sink_stored(pst_sink *sink, int64_t *epoch, char **position,
									  pst_error *err);

/*
 * Two phases for engines with checkpoints (sink.staging = true, and the progress table): prepare
 * writes the rows since the last prepare durably to the job's staging table under this epoch,
 * commit moves them to the target and records the epoch in one transaction, abort forgets them.
 * Epochs grow. commit and abort are idempotent and may be called by another process after a crash.
 */
PST_EXPORT pst_status pst_sink_prepare(pst_sink *sink, int64_t epoch, const char *position,
									   pst_error *err);
PST_EXPORT pst_status pst_sink_commit(pst_sink *sink, int64_t epoch, pst_error *err);
PST_EXPORT pst_status pst_sink_abort(pst_sink *sink, int64_t epoch, pst_error *err);

/* What a sink has done since it was opened. */
typedef struct pst_sink_stats
{
	size_t struct_size;
	int64_t rows_in;	   /* taken by write */
	int64_t rows_buffered; /* not yet committed */
	int64_t rows_upserted; /* committed, as they reached the server (changes of a key are merged) */
	int64_t rows_deleted;
	int64_t rows_skipped; /* by on-error = skip */
	int64_t flushes;
	int64_t retries;
	int64_t bytes_out;
	const char *mode; /* "append", "upsert", "delete", "changelog"; static */
	/* Of the last flush: "copy", "copy+merge", "unnest", "replay" (row by row), "staging"; static. */
	const char *method;
	int64_t rows_verbatim; /* of rows_in: by pst_sink_copy, as the source's server sent them */
	int64_t rows_in_doubt; /* of rows_buffered: their COMMIT was sent, its outcome is not known */
} pst_sink_stats;

/* Fills *stats, whose struct_size the caller has set. */
PST_EXPORT void pst_sink_get_stats(const pst_sink *sink, pst_sink_stats *stats);

/*
 * Flushes what is buffered and frees the handle, also on failure (then err tells how many rows
 * were lost). After an error of an earlier call or a cancel nothing more is sent: discard or flush
 * first if the rows matter. Rows behind the last position (pst_sink_set_position) are dropped, and
 * PST_ERR_STATE tells of them. With staging, rows that were not prepared are dropped. NULL is PST_OK.
 */
PST_EXPORT pst_status pst_sink_close(pst_sink *sink, pst_error *err);

/* ---------------------------------------------------------------------------------------------
 * Codecs: Arrow arrays to and from csv, json lines and the Arrow IPC stream (docs/formats.md).
 * They know no server. Options: format (csv | json | arrow; debezium, which is written only), csv.delimiter,
 * csv.null, csv.header, row-kind-column, json-values, truncate.
 */
typedef struct pst_encoder pst_encoder;
typedef struct pst_decoder pst_decoder;

/* Takes bytes; returns 0, or an errno value that ends the call with PST_ERR_IO. */
typedef int (*pst_write_fn)(void *ctx, const void *data, size_t nbytes);

/*
 * Gives up to nbytes bytes; sets *nread (0 = end); returns 0 or an errno value. EAGAIN is no
 * failure: nothing has come yet, and the decoder gives what it has (pst_decoder_next).
 */
typedef int (*pst_read_fn)(void *ctx, void *data, size_t nbytes, size_t *nread);

/*
 * An encoder for rows of this schema (borrowed). csv and json write the text of each value as
 * PostgreSQL would; a source opened with read.values = csv or json gives columns that already
 * hold it, for every type and value there is.
 */
PST_EXPORT pst_status pst_encoder_new(const char *const *keys, const char *const *values,
									  const struct ArrowSchema *schema, pst_encoder **out,
									  pst_error *err);
PST_EXPORT void pst_encoder_free(pst_encoder *encoder);

/* Writes the header (csv) or schema message (arrow). With several encoders call it on one only. */
PST_EXPORT pst_status pst_encoder_begin(pst_encoder *encoder, pst_write_fn write, void *ctx,
										pst_error *err);

/*
 * Writes the rows of a struct array (borrowed) by one call of write, so that a lock that write takes
 * keeps the rows of several encoders apart. arrow: a batch of an assisted read goes out as the message
 * that it came in, without a copy.
 */
PST_EXPORT pst_status pst_encoder_write(pst_encoder *encoder, const struct ArrowArray *batch,
										pst_write_fn write, void *ctx, pst_error *err);

/*
 * Writes an event of a change capture as lines of format = debezium (docs/cdc.md): rows, truncates, resets
 * and messages; other kinds give none. The encoder was made for the schema of the event's table, and is given
 * its SCHEMA events too: by them it knows the key, whose update is a delete and an insert. Events of no rows
 * can go to any encoder.
 */
PST_EXPORT pst_status pst_encoder_event(pst_encoder *encoder, const pst_event *event,
										pst_write_fn write, void *ctx, pst_error *err);

/* Writes the end marker (arrow). With several encoders call it on one only, last. */
PST_EXPORT pst_status pst_encoder_end(pst_encoder *encoder, pst_write_fn write, void *ctx,
									  pst_error *err);

/*
 * A decoder of a stream of bytes. For csv and json, describe is the target's JSON as
 * pst_catalog_describe gives it (borrowed): columns are found by name, an unknown one is an error,
 * values come as utf8 texts that the sink binds to the column's type. It is not used for arrow and
 * may be NULL for csv and json when the columns are those of the header, or of the first lines.
 */
PST_EXPORT pst_status pst_decoder_new(const char *const *keys, const char *const *values,
									  const char *describe, pst_read_fn read, void *ctx,
									  pst_decoder **out, pst_error *err);
PST_EXPORT void pst_decoder_free(pst_decoder *decoder);

/*
 * The schema of the batches, moved. Reads as much of the input as it takes to know it; PST_AGAIN
 * when read said EAGAIN before that.
 */
PST_EXPORT pst_status pst_decoder_schema(pst_decoder *decoder, struct ArrowSchema *out,
										 pst_error *err);

/*
 * The next batch, moved, or PST_END. *row_kind (NULL allowed) is borrowed until the next call:
 * one PST_ROW_* a row, or NULL when the input has no row kind column. err->row is the record's
 * number from 0 on failure. When read says EAGAIN the rows that are there are the batch, so that a
 * slow input is not held back; PST_AGAIN when there are none.
 */
PST_EXPORT pst_status pst_decoder_next(pst_decoder *decoder, struct ArrowArray *out,
									   const int8_t **row_kind, pst_error *err);

/*
 * Which values of the last batch its rows did not have: pst_change_batch.unchanged for it, so that
 * a json line without a key leaves that column as it is (or at its default). One entry a column of
 * the schema, NULL for a column that every row had; the whole is NULL when no value was missing,
 * then pst_sink_write does. Borrowed until the next call on the decoder.
 */
PST_EXPORT const uint8_t *const *pst_decoder_unchanged(const pst_decoder *decoder);

PST_END_DECLS

#endif /* PENSTOCK_H */
