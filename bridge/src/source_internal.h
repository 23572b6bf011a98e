/*
 * source_internal.h - the reading side's parts and what they share.
 *
 *   source.c           opening, closing, schema, estimate
 *   source_columns.c   how each column is asked for and decoded
 *   source_snapshot.c  the transaction that is one moment, its locks, and joining it
 *   source_plan.c      cutting a read into splits
 *   source_stream.c    COPY into an ArrowArrayStream
 */
#ifndef PSTI_SOURCE_INTERNAL_H
#define PSTI_SOURCE_INTERNAL_H

#include "columns.h"
#include "conn.h"
#include "copy_decode.h"
#include "plan.h"
#include "relation.h"

typedef struct psti_read_column
{
	const psti_column *column; /* borrowed from the relation */
	size_t position;		   /* in the relation, from 0 */
	psti_ask ask;
	bool bounds; /* PSTI_ASK_JSON: there are arrays in it, whose bounds to_json forgets */
} psti_read_column;

typedef struct psti_stream_state psti_stream_state;

/* What the handle's transaction stands for. */
typedef enum psti_moment
{
	PSTI_MOMENT_NONE,	 /* no transaction */
	PSTI_MOMENT_OWN,	 /* its own snapshot, with the locks */
	PSTI_MOMENT_IMPORTED /* the snapshot of the handle that planned */
} psti_moment;

/* Whether there are tables under the one that is read, as the moment sees it. */
typedef enum psti_tree
{
	PSTI_TREE_UNKNOWN, /* or not a table: a query, a view */
	PSTI_TREE_NONE,
	PSTI_TREE_LEAVES
} psti_tree;

/* The options scan.partition.*, checked. */
typedef struct psti_partition
{
	const psti_column *column; /* NULL: not given; borrowed from the relation */
	char *lower;			   /* as the column's type prints them; owned */
	char *upper;
	bool points; /* from and to are set: the domain is counted */
	int64_t from;
	int64_t to;
	uint8_t uuid_from[16];
	uint8_t uuid_to[16];
} psti_partition;

struct pst_source
{
	psti_options *options;
	pst_hooks hooks; /* members copied; application owned */
	psti_conn *conn;
	bool lent; /* the connection is the opener's, and stays when the source is closed */
	psti_relation *relation;

	char *alias;
	char *query; /* without its semicolon; NULL: a table */
	bool unique_names;
	psti_column_rules rules; /* assisted: unless rows are wanted as tuples */
	psti_partition partition;
	psti_read_column *columns;
	psti_copy_column *copy; /* the decoder's view of them */
	size_t ncolumns;
	struct ArrowSchema schema;
	char fingerprint[20]; /* of the options that shape the rows */
	bool filter_checked;  /* read.filter is known to be one condition */

	psti_moment moment;
	psti_tree tree;	  /* of the moment */
	PGresult *leaves; /* of the moment, psti_source_leaves; owned; NULL: not asked yet */
	char *snapshot;	  /* id under which the moment is known to other handles; NULL: not exported */
	char *schemas;	  /* with it: the search_path; owned */
	bool planned;	  /* splits were given out: the moment must not change */
	bool savepoint;	  /* one was made in the transaction */
	int lock_ms;	  /* how long psti_source_begin waits for a lock; 0: as long as it takes */
	char *once;		  /* psti_source_once; owned; NULL: the read is another one */
	PGresult *found;  /* … what was found before its rows; owned */

	psti_stream_state *stream; /* the one in progress; borrowed: it has its own references */
	pst_error last;			   /* of the last stream */
	int64_t rows_read;		   /* over all streams of the handle, for progress */
	int64_t bytes_read;
	int64_t rows_total; /* estimates, -1 unknown */
	int64_t bytes_total;
};

/*
 * source.c: a session for sources, which the caller closes after them. options and hooks are borrowed until
 * then.
 */
pst_status psti_source_connect(const psti_options *options, const pst_hooks *hooks, psti_conn **out,
							   pst_error *err);

/*
 * pst_source_open in such a session, without a round trip where the table was described (relation, moved
 * also on failure; NULL: it was not).
 */
pst_status psti_source_open_in(psti_conn *conn, psti_relation *relation, const char *const *keys,
							   const char *const *values, const pst_hooks *hooks, pst_source **out,
							   pst_error *err);

/* source.c: PST_ERR_STATE while a stream of the handle is being read. */
pst_status psti_source_busy(const pst_source *source, pst_error *err);

/* source_columns.c: fills columns, copy, schema from the options and the relation. */
pst_status psti_source_columns(pst_source *source, pst_error *err);
void psti_source_columns_free(pst_source *source);

/*
 * The SELECT of all rows, or of a leaf or blocks of it (qualified NULL: the whole relation), under
 * an extra condition (NULL: none).
 */
typedef struct psti_select
{
	const char *only;	   /* qualified name of the one table to read, children not included */
	const char *condition; /* SQL */
	bool filter;		   /* apply read.filter */
	bool limit;			   /* apply read.limit */
	uint32_t oid;		   /* not 0: it fails where the table's name means another than this one */
} psti_select;

/* What the server's error holds when a SELECT found another table than the one of its oid. */
#define PSTI_RENAMED "penstock: renamed"

void psti_source_select(const pst_source *source, const psti_select *what, psti_buf *out);

/* The FROM clause alone; only as in psti_select. */
void psti_source_from(const pst_source *source, const char *only, psti_buf *out);

/* The columns that penstock.scan shall give as text, as an SQL array. */
void psti_source_text_columns(const pst_source *source, psti_buf *out);

/* Appends a quoted reference to a column of the relation. */
void psti_source_column_ref(const pst_source *source, size_t position, psti_buf *out);

/*
 * source_snapshot.c: makes sure that the handle stands at its own moment, locks held. SQLSTATE 55P03: not within
 * lock_ms; then it stands nowhere.
 */
pst_status psti_source_begin(pst_source *source, pst_error *err);

/*
 * Stands at a snapshot that another session has exported as at a moment of its own. PST_ERR_CONFLICT, or
 * SQLSTATE 55P03: the table was rewritten since, or somebody is at it.
 */
pst_status psti_source_adopt(pst_source *source, const char *snapshot, pst_error *err);

/*
 * All rows of the source's table, which has none under it, in one round trip: under a snapshot that another
 * session has exported, the table locked from then until the last row is sent. found: as long as the source,
 * a row of
 */
enum
{
	PSTI_FOUND_FILE,   /* t: the table's file is that of the snapshot */
	PSTI_FOUND_NODE,   /* present file node */
	PSTI_FOUND_SIZE,   /* of its main fork */
	PSTI_FOUND_COLUMNS /* from here on: NULL, of the columns that it has now */
};
pst_status psti_source_once(pst_source *source, const char *snapshot, struct ArrowArrayStream *out,
							const PGresult **found, pst_error *err);

/* Joins the moment of the split's planner, or finds that it is this handle's own. */
pst_status psti_source_join(pst_source *source, const psti_split *split, pst_error *err);

/* Gives the own moment a name for other handles: sets snapshot. */
pst_status psti_source_export(pst_source *source, pst_error *err);

/* Says of a lock that a worker did not get in time what to do about it. */
void psti_source_explain_lock(const pst_source *source, pst_error *err);

/* Ends the transaction, if there is one. */
void psti_source_end(pst_source *source);

/*
 * What a statement begins with that may fail or be abandoned: a savepoint, so that the moment, its
 * locks and the plan survive when psti_source_back is called after it. A prefix, because a round trip
 * of its own would be one for each split.
 */
void psti_source_mark(pst_source *source, bool copy, psti_buf *sql);

/* After a failure: back to the mark. Without one the transaction ends, and the moment with it. */
void psti_source_back(pst_source *source);

/*
 * The table and everything under it as the moment sees it, in order of OID. *out is borrowed until
 * the moment ends; its columns:
 */
enum
{
	PSTI_LEAF_OID,
	PSTI_LEAF_SCHEMA,
	PSTI_LEAF_NAME,
	PSTI_LEAF_NODE,		 /* present file node, 0 without */
	PSTI_LEAF_READABLE,	 /* the role may read all of the root, so tableoid too */
	PSTI_LEAF_LOCKED,	 /* by this session */
	PSTI_LEAF_QUALIFIED, /* as quote_ident quotes */
};
pst_status psti_source_leaves(pst_source *source, const PGresult **out, pst_error *err);

/* WITH RECURSIVE tree(oid): the table $1 and everything under it. */
#define PSTI_TREE_SQL                                                                              \
	"WITH RECURSIVE tree(oid) AS (SELECT $1::pg_catalog.oid UNION SELECT i.inhrelid "              \
	"FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent OPERATOR(pg_catalog.=) t.oid "       \
	"WHERE NOT COALESCE((pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) "                         \
	"'inhdetachpending')::pg_catalog.bool, false)) "

/* Of these, as c, what can be read at all: not the temporary tables of other sessions. */
#define PSTI_READABLE_TREE "NOT pg_catalog.pg_is_other_temp_schema(c.relnamespace) "

/*
 * read.filter is one condition on its own; anything else is refused. Where another session keeps the
 * table locked and patient is false, this is left for later: opening a source must not wait.
 */
pst_status psti_source_check_filter(pst_source *source, bool patient, pst_error *err);

/* The planner's guess for a SELECT; marked: psti_source_back restores the moment after a failure. */
pst_status psti_source_explain(pst_source *source, const psti_select *what, bool marked,
							   int64_t *rows, int64_t *width, pst_error *err);

/* source_plan.c */
/* Checks the options scan.partition.* against each other and the relation. */
pst_status psti_source_check_partition(pst_source *source, pst_error *err);

void psti_source_partition_free(pst_source *source);

/* Appends the type, with collation, to cast a stride's bounds to; false: it cannot be cut by. */
bool psti_source_stride_cast(const pst_source *source, const psti_column *column, psti_buf *out);

/* pst_source_plan without its frame. */
pst_status psti_source_plan(pst_source *source, int max_splits, char ***splits, size_t *nsplits,
							pst_error *err);

/* source_stream.c */
pst_status psti_source_stream(pst_source *source, const char *text, struct ArrowArrayStream *out,
							  pst_error *err);

/* The handle goes away: its stream, if any, must not touch it again. */
void psti_source_detach_stream(pst_source *source);

#endif /* PSTI_SOURCE_INTERNAL_H */
