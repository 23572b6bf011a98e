/*
 * capture.h - the handle of a change capture, and what its parts share.
 *
 *   cdc.c      opening, positions, acknowledgement, closing: the public calls
 *   opening.c  from options and a stored position to a capture that can go on; the slot
 *   reading.c  the rows of tables under snapshots
 *   regions.c  the same, planned for readers in other processes (region_reader.c, region_split.c)
 *   follow.c   the stream: messages, heartbeats, progress
 *   apply.c    one change of the stream: judged, and made into rows and events
 *   watch.c    what the stream does not tell: rewrites, new tables, partitions that come with rows
 *   wanted.c   which changes of a plain stream are told
 *
 * The way of a change: conn.c gives messages, records.c or pgoutput.c make changes of them, apply.c asks
 * judge.c what becomes of each and puts its rows into rows.c, which makes batches. `at` is the position
 * behind the last event that was given; nothing is gathered while the caller has the word.
 */
#ifndef PSTI_CDC_CAPTURE_H
#define PSTI_CDC_CAPTURE_H

#include "cdc/ahead.h"
#include "cdc/complete.h"
#include "cdc/moment.h"
#include "cdc/position.h"
#include "cdc/rows.h"
#include "cdc/scope.h"
#include "cdc/slot.h"
#include "cdc/wanted.h"
#include "clock.h"

/* The options scan.startup.mode, changelog-mode, cdc.consumer: in the order of their words. */
typedef enum psti_startup
{
	PSTI_STARTUP_INITIAL,
	PSTI_STARTUP_SNAPSHOT,
	PSTI_STARTUP_LATEST,
	PSTI_STARTUP_COMMITTED
} psti_startup;

typedef enum psti_changelog
{
	PSTI_CHANGELOG_AUTO,
	PSTI_CHANGELOG_ALL,
	PSTI_CHANGELOG_UPSERT
} psti_changelog;

typedef enum psti_consumer
{
	PSTI_CONSUMER_EXACT,
	PSTI_CONSUMER_REPLAY,
	PSTI_CONSUMER_UPSERT
} psti_consumer;

/* What is to be done next. */
typedef enum psti_cdc_step
{
	PSTI_STEP_TELL,	   /* that a slot is about to be made */
	PSTI_STEP_CREATE,  /* the slot: ask for it */
	PSTI_STEP_CREATED, /* wait for it */
	PSTI_STEP_COVER,   /* wait until what its snapshot sees is seen by all */
	PSTI_STEP_GO_ON,   /* at a position: see to the publication */
	PSTI_STEP_READ,	   /* tables */
	PSTI_STEP_STREAM,
	PSTI_STEP_END
} psti_cdc_step;

/* A table in this handle; its place is in the position, by the same OID. */
typedef struct psti_captured
{
	uint32_t oid;
	psti_table *version;  /* its columns as they were told last; owned; NULL: not told yet */
	psti_regions regions; /* for the judge; owned; none: nothing is left out */
	size_t key_column;	  /* of version, that regions are cut by */
	const char *reset; /* why its rows are to be forgotten before it is read; static; NULL: not */
} psti_captured;

/* Where it is: it stays there when others come. */
typedef struct psti_known
{
	uint32_t oid;
	psti_captured *captured; /* owned */
} psti_known;

/* What is read by one COPY: a region, or some blocks of the table that is one. */
typedef struct psti_piece
{
	char *split; /* owned; NULL: all of a small table */
	size_t part;
} psti_piece;

/* A connection that reads pieces of the table at work. */
typedef struct psti_reader
{
	pst_source *source;
	struct ArrowArrayStream stream; /* released: idle */
	size_t piece;
} psti_reader;

#define PSTI_READERS_MAX 64

/* The read of tables that is under way. */
typedef struct psti_reading
{
	char *
		export_id; /* of the snapshot that tables are read under, while it can be imported; owned */
	psti_conn *holder; /* whose it is; NULL: the slot's own, in stream */
	size_t held;	   /* the view that it is then */
	uint32_t outdated; /* the table that cannot be read under it any more */
	uint32_t alone;	   /* the table that is not read as small ones are */
	uint32_t last;	   /* the table that was read last: others are looked for behind it */
	psti_ahead ahead;
	psti_conn
		*sessions[PSTI_READERS_MAX]; /* of the readers, for all tables; NULL: not needed yet */
	bool waited;					 /* all transactions that the position has told of are seen */
	psti_patience locked;			 /* with those who have locked what is to be read */
	uint32_t oid;					 /* of the table at work; 0: none */
	bool schema_told;
	bool small;			  /* it is read in one trip, which has begun */
	bool cleared;		  /* what the consumer had of the table is forgotten */
	psti_reader *readers; /* the first has planned, and holds the locks and the snapshot */
	size_t nreaders;
	size_t turn;
	psti_piece *pieces;
	size_t npieces;
	size_t begun; /* pieces that were taken up */
	size_t ended;
	size_t told; /* the piece, from 1, before which a range was told to be cleared */
	size_t view; /* that the table is read under; PSTI_NO_VIEW: the slot's own */
	int64_t rows;
	int64_t total;
} psti_reading;

/* The transaction that is being told of. */
typedef struct psti_transaction
{
	bool open;
	bool passed; /* it was told of as a whole before */
	uint64_t xid;
	uint64_t commit_lsn;
	int64_t op_ts;
	const char *origin; /* owned by the buffer below; NULL: local */
	psti_buf origin_text;
} psti_transaction;

struct pst_cdc
{
	psti_options *options;
	pst_hooks hooks;
	char **keys; /* the options as they were given, NULL-terminated; owned */
	char **values;
	psti_startup startup;
	psti_changelog changelog;
	psti_consumer consumer;
	bool temporary; /* the slot goes with the session */
	bool plain;		/* the stream is pgoutput's */
	bool extension; /* penstock.snapshot() can be called */
	psti_column_rules rules;
	psti_scope scope;
	psti_wanted wanted; /* of a plain stream */

	psti_conn *conn;   /* for questions */
	psti_conn *stream; /* for replication; or it holds the one snapshot of startup mode snapshot */
	psti_completer *completer; /* of pgoutput's relations; NULL: not needed */
	psti_change_decoder *decoder;
	psti_rows *rows;

	psti_cdc_step step;
	psti_patience patience;		 /* of the wait that is under way */
	psti_snapshot slot_snapshot; /* PSTI_STEP_COVER */
	int64_t start_by;			 /* until when a slot in use is waited for; 0: it was not in use */
	bool streaming;				 /* the stream was started */
	bool failed;
	bool begun;			   /* pst_cdc_next was called */
	bool half_made;		   /* a slot of the name is there, and of no use … */
	int maker;			   /* … and this process of the server may still be making it */
	bool may_fall_back;	   /* to pgoutput, where penstock is refused */
	bool resumed;		   /* it was opened with a position */
	bool store;			   /* a position must be stored before the next event … */
	uint64_t store_serial; /* … this one or a later one */
	bool tell_store;	   /* such an event is due */
	psti_position at;
	psti_known *captured; /* ascending by OID */
	size_t ncaptured;
	size_t captured_room;
	const char *publication; /* of a plain capture; borrowed from the options or the position */
	psti_captured *gathered; /* whose rows are in the open batch; borrowed */
	psti_buf scratch;
	psti_table nothing; /* stands for tables that are not captured */
	psti_reading reading;
	struct psti_plan *plan; /* tables that others read; owned; NULL: the rows are told here */

	/* The stream: */
	bool message_open;	  /* the decoder has changes left */
	bool looks_up;		  /* it is one of pgoutput's at which the catalog is looked at */
	uint64_t visible_xid; /* a transaction that is known to be seen by other sessions */
	uint64_t hidden_xid;  /* one that was not seen yet, and when that was looked at first */
	int64_t hidden_at;
	bool has_change;
	psti_change change; /* taken, and not dealt with */
	size_t truncated;	/* relations of it that were dealt with */
	bool truncate_told; /* of a rewrite */
	bool old_told;		/* the old half of an update whose new half must be read */
	psti_transaction transaction;
	uint64_t near_xid; /* for the widening of pgoutput's xids */
	uint64_t stop_lsn; /* 0: none */
	uint64_t received;
	uint64_t server_end;
	uint64_t told_safe;	  /* safe_lsn of the last event */
	int64_t told_at;	  /* when; milliseconds of a monotonic clock */
	int64_t heartbeat_at; /* when the server was asked last */
	int64_t watched_at;	  /* when tables and partitions were looked for */
	bool restore_due;	  /* the publication is to be looked at, after the transaction */
	uint64_t unfit;		  /* a hash of the tables that were then there, and could not be taken up */
	int64_t changes;
	int64_t bytes;
	int64_t commit_time;

	/* Acknowledgement: what was acknowledged last, oldest first. */
	uint64_t *acknowledged;
	size_t nacknowledged;
	size_t ack_delay;
	uint64_t acked;		  /* what the server may forget */
	uint64_t last_serial; /* of the last position that was acknowledged */
};

/* capture.c */

/* The captured table of the OID; one is made when there is none. NULL: out of memory. */
psti_captured *psti_capture_of(pst_cdc *cdc, uint32_t oid);

/* The same; NULL: there is none. */
psti_captured *psti_capture_find(const pst_cdc *cdc, uint32_t oid);

/* Makes what the judge needs of the position's places and views, after either has changed. */
pst_status psti_capture_judged(pst_cdc *cdc, pst_error *err);

/* Outside a transaction: all that lies before lsn was told of. */
pst_status psti_capture_pass(pst_cdc *cdc, uint64_t lsn, pst_error *err);

/* A new place's table has come into scope: its rows are to be read, if the capture reads rows. */
pst_status psti_capture_add(pst_cdc *cdc, const psti_subject *subject, psti_place *place,
							pst_error *err);

/* The options of a wait for other transactions. */
psti_waiting psti_capture_waiting(const pst_cdc *cdc);

/* The table's rows are to be read anew; reason: a sentence, static, for the consumer. */
pst_status psti_capture_reset(pst_cdc *cdc, psti_place *place, const char *reason, pst_error *err);

/* Replaces the version of a table; the stream's descriptions are matched with it anew. */
void psti_capture_version(pst_cdc *cdc, psti_captured *captured, psti_table *version);

/* Begins an event: serial and kind. */
void psti_event_begin(pst_cdc *cdc, pst_event_kind kind, pst_event *out);
void psti_event_table(pst_cdc *cdc, const psti_captured *captured, pst_event *out);

/* Empties an event of the caller's, whatever version of the struct that is. PST_ERR_INVALID: it is of none. */
pst_status psti_event_empty(pst_event *out, pst_error *err);

/* Moves an event into such a one. */
void psti_event_move(const pst_event *event, pst_event *out);

/*
 * reading.c: the next event of the read. PST_END: all is read; PST_AGAIN: it waits for transactions, or for a
 * table that others have locked.
 */
pst_status psti_reading_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err);
void psti_reading_free(pst_cdc *cdc);

/*
 * The parts of that for who gives the rows to others to read. Takes a table up, at a moment: reading.oid, or
 * 0 when there is no such table any more. PST_AGAIN: not in time.
 */
pst_status psti_reading_begin(pst_cdc *cdc, uint32_t oid, int timeout_ms, pst_error *err);

/* An event that is told before the first row of the table at work; PST_AGAIN: there is none left. */
pst_status psti_reading_tell(pst_cdc *cdc, pst_event *out);

/* An event that comes before the rows of one of its parts; PST_AGAIN: none does. */
pst_status psti_reading_clear(pst_cdc *cdc, size_t part, pst_event *out);

/* Ends the work on the table; what of it was moved elsewhere stays. */
void psti_reading_end_table(pst_cdc *cdc);

/* Where a part ends; NULL: it has no bound. */
char *psti_part_upper(const psti_place *place, size_t part);

/* What rows of the source become, as the stream will have them. */
pst_status psti_reading_version(const psti_column_rules *rules, const psti_subject *subject,
								const pst_source *source, psti_table **out, pst_error *err);

/* regions.c: of the plan: the next event, as psti_reading_next; whether only region_done can go on with it. */
pst_status psti_regions_new(pst_cdc *cdc, pst_error *err);
pst_status psti_regions_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err);
bool psti_regions_stand(const pst_cdc *cdc);
void psti_regions_free(pst_cdc *cdc);

/* The session of a reader, borrowed; made when there is none. */
pst_status psti_reading_session(pst_cdc *cdc, size_t reader, psti_conn **out, pst_error *err);

/* follow.c */
pst_status psti_follow_start(pst_cdc *cdc, pst_error *err);

/*
 * The next event of the stream. PST_AGAIN: none came in time, or, the step being another, there is
 * something else to be done first.
 */
pst_status psti_follow_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err);

/* Tells the server what was acknowledged. */
pst_status psti_follow_tell(pst_cdc *cdc, bool ask, pst_error *err);

/* watch.c: what the stream does not tell. After a table was taken up for reading: what rows it has. */
pst_status psti_watch_read(pst_cdc *cdc, psti_place *place, pst_source *source, pst_error *err);

/* The same for small tables: asked of many at once, *out NULL where nothing is; then of each with its file. */
pst_status psti_watch_ask(pst_cdc *cdc, const uint32_t *tables, size_t n, PGresult **out,
						  pst_error *err);
pst_status psti_watch_small(pst_cdc *cdc, psti_place *place, uint32_t node, const PGresult *answer,
							pst_error *err);

/*
 * Before a described relation's first change: *reason is why the table must be read anew, or NULL.
 * PST_AGAIN: the change at hand, a description, does not tell; the next one does.
 */
pst_status psti_watch_relation(pst_cdc *cdc, const psti_stream_relation *relation,
							   const char **reason, pst_error *err);

/* Before a version that the stream describes is told: likewise. */
const char *psti_watch_columns(const pst_cdc *cdc, const psti_stream_relation *relation,
							   const psti_table *made);

/* After a TRUNCATE, which changes the file node, was told of: likewise. */
pst_status psti_watch_truncate(pst_cdc *cdc, uint32_t oid, const char **reason, pst_error *err);

/* From time to time, outside of transactions: tables, and partitions, that have come since. */
pst_status psti_watch(pst_cdc *cdc, pst_error *err);

/*
 * apply.c: deals with the change at hand. PST_OK: an event, and the change may not be done yet;
 * PST_AGAIN: it is done, or the step is another.
 */
pst_status psti_apply(pst_cdc *cdc, pst_event *out, pst_error *err);

/* The gathered rows as an event; there must be some. */
pst_status psti_apply_rows(pst_cdc *cdc, pst_event *out, pst_error *err);

#endif /* PSTI_CDC_CAPTURE_H */
