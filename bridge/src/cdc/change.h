/*
 * change.h - changes as the capture handles them, whatever output plugin they came from.
 *
 * A decoder is given the server's messages and gives changes: records.c those of plugin penstock,
 * pgoutput.c those of pgoutput. Everything that it hands out is borrowed until its next call.
 */
#ifndef PSTI_CDC_CHANGE_H
#define PSTI_CDC_CHANGE_H

#include "copy_decode.h"
#include "relation.h"

struct psti_table;

/* A column of a relation of the stream. */
typedef struct psti_stream_column
{
	psti_type type; /* owned; what the stream does not tell of it is empty */
	char *name;
	bool text; /* values are the text of the output function, else the bytes of the send function */
	bool identity;
	bool primary;
	bool missing; /* rows from before ADD COLUMN have its default, which no row told */
} psti_stream_column;

/* A relation as the stream has described it. */
typedef struct psti_stream_relation
{
	uint32_t oid;	   /* of the table that changes are told of */
	uint32_t leaf;	   /* of the one that the rows lie in: differs for a partition under its root */
	uint32_t filenode; /* of leaf; 0: not known */
	char identity;	   /* replica identity of leaf: d, i, f, n */
	char persistence;  /* of leaf: u: unlogged, its changes are in no WAL; 0: not told */
	char *schema;
	char *name;
	psti_stream_column *columns;
	size_t ncolumns;
	struct psti_table *table; /* the caller's: what it made of this description; NULL at first */
} psti_stream_relation;

/* Frees what it holds, and zeroes it: stream_relation.c. */
void psti_stream_column_clear(psti_stream_column *column);
void psti_stream_relation_clear(psti_stream_relation *relation);

/* A row, or the columns of a key (the others are unchanged): a value a column. */
typedef struct psti_row
{
	const psti_copy_value *values; /* unchanged ones are NULL */
	const uint8_t *unchanged;	   /* a byte a column, not 0: not told; NULL: all are */
} psti_row;

typedef enum psti_change_kind
{
	PSTI_CHANGE_BEGIN,
	PSTI_CHANGE_RELATION, /* described, anew or otherwise than before; number is 0 */
	PSTI_CHANGE_INSERT,
	PSTI_CHANGE_UPDATE,
	PSTI_CHANGE_DELETE,
	PSTI_CHANGE_TRUNCATE,
	PSTI_CHANGE_MESSAGE,
	PSTI_CHANGE_COMMIT
} psti_change_kind;

typedef struct psti_change
{
	psti_change_kind kind;
	uint64_t number; /* in its transaction, from 1; of a message outside one 0 */
	uint64_t lsn;	 /* of the change */
	union
	{
		struct
		{
			uint64_t xid;		 /* top-level, 64 bit; of pgoutput still to be widened */
			uint64_t commit_lsn; /* where the commit record begins */
			int64_t commit_time; /* microseconds since 2000-01-01 UTC */
			const char *origin;	 /* name of the replication origin, NULL: none */
		} begin;
		struct
		{
			uint64_t end_lsn; /* behind the commit record */
		} commit;
		psti_stream_relation *relation;
		struct
		{
			psti_stream_relation *relation;
			const psti_row *old;   /* NULL: nothing of the old row is told */
			const psti_row *fresh; /* NULL: a delete */
			bool old_is_whole;
			bool rewrite; /* an insert of the content that a rewriting ALTER TABLE has made … */
			bool rewrite_begins; /* … the first: what was there before is gone */
		} row;
		struct
		{
			psti_stream_relation *const *relations;
			size_t n;
		} truncate;
		struct
		{
			bool transactional;
			const char *prefix;
			const void *content;
			size_t nbytes;
		} message;
	};
} psti_change;

typedef struct psti_change_decoder psti_change_decoder;

struct psti_change_decoder
{
	/*
	 * Begins a message of the server, borrowed until next says that it is used up. lsn is where the
	 * message of the stream says that it begins: of pgoutput's, which do not tell it, the change's own.
	 */
	pst_status (*open)(psti_change_decoder *decoder, uint64_t lsn, const void *data, size_t nbytes,
					   pst_error *err);
	/* The next change; PST_END: the message is used up. PST_ERR_PROTOCOL for what is none. */
	pst_status (*next)(psti_change_decoder *decoder, psti_change *out, pst_error *err);
	/* Tables that the caller made of descriptions are no more: sets every relation's table to NULL. */
	void (*forget_tables)(psti_change_decoder *decoder);
	void (*free)(psti_change_decoder *decoder);
};

/* records.c */
pst_status psti_records_new(psti_change_decoder **out, pst_error *err);

/*
 * What pgoutput does not tell of a relation: its types, and under which root a partition is told of.
 * relation has leaf, schema, name and identity, and of each column the name, identity, type.oid and
 * type.typmod; the callback fills in oid (of the root, with its schema and name, where that is wanted, else
 * leaf), the columns' types, which of them are text whatever their type, which are of the primary key, and their order: those of the root in the root's
 * order, order[i] being where column i stood in relation (it comes as i). Columns that are not wanted it takes
 * away. A type that is not there any more gets an empty name, and is text.
 */
typedef pst_status (*psti_complete_fn)(void *ctx, psti_stream_relation *relation, size_t *order,
									   pst_error *err);

/* pgoutput.c: protocol version 1, values as text. */
pst_status psti_pgoutput_new(psti_complete_fn complete, void *ctx, psti_change_decoder **out,
							 pst_error *err);

/*
 * value_text.c: appends the bytes of the send function of column's type (its type, list and elem) for a text
 * of its output function under the pinned settings. False: it is no such text, or out has failed.
 */
bool psti_value_of_text(const psti_copy_column *column, const char *text, size_t nbytes,
						psti_buf *out);

#endif /* PSTI_CDC_CHANGE_H */
