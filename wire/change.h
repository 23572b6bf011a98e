/*
 * change.h - change records: what the output plugin sends and the bridge reads (docs/wire.md has every
 * byte).
 *
 * A message, one payload of the replication stream, is a version byte and records behind each other. A
 * record is its kind, the length of what follows as uint32, and that. Integers are big-endian, as in
 * every message of PostgreSQL; a value's bytes are those of its type's send function, so that a value
 * decodes as it does from COPY. A relation is described before the first change of it, and anew when it
 * has changed.
 *
 * The reader is pure C, without allocator or I/O. Its input is hostile: a record that was given can be
 * read to its last byte, a change stands inside a transaction, its number above that of the change
 * before. Which columns relation 3 has is its caller's to remember.
 */
#ifndef WIRE_CHANGE_H
#define WIRE_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANGE_VERSION 1

/* Of a record, before its bytes. */
#define CHANGE_HEAD 5

/* Relations that are described at a time: their indexes are below. */
#define CHANGE_RELATIONS_MAX 8192

typedef enum change_kind
{
	CHANGE_RELATION = 'R',
	CHANGE_BEGIN = 'B',
	CHANGE_INSERT = 'I',
	CHANGE_UPDATE = 'U',
	CHANGE_DELETE = 'D',
	CHANGE_TRUNCATE = 'T',
	CHANGE_MESSAGE = 'M',
	CHANGE_COMMIT = 'C'
} change_kind;

typedef enum change_status
{
	CHANGE_OK = 0,
	CHANGE_END = 1,		  /* of the message */
	CHANGE_INVALID = -1,  /* bytes that cannot be right */
	CHANGE_VERSIONED = -2 /* a version that this reader does not know */
} change_status;

/* Text or bytes inside the message; not terminated. */
typedef struct change_bytes
{
	const uint8_t *data;
	size_t len;
} change_bytes;

/* How a column's values are written. */
typedef enum change_form
{
	CHANGE_TEXT = 0,  /* as the type's output function gives them, in UTF-8 */
	CHANGE_BINARY = 1 /* as the send function of the base type, in UTF-8 what is text */
} change_form;

#define CHANGE_COLUMN_IDENTITY                                                                     \
	1							/* of the replica identity: in the old key of updates and deletes */
#define CHANGE_COLUMN_PRIMARY 2 /* of the primary key */
#define CHANGE_COLUMN_NOT_NULL 4  /* declared so */
#define CHANGE_COLUMN_GENERATED 8 /* stored, and computed by the server */
#define CHANGE_COLUMN_MISSING                                                                      \
	16 /* rows from before ADD COLUMN have its default, which no row told */

typedef struct change_column
{
	change_form form;
	uint8_t flags;	  /* CHANGE_COLUMN_… */
	uint32_t type;	  /* OID */
	uint32_t base;	  /* the same but for domains: of what they are over */
	uint32_t element; /* CHANGE_BINARY and an array: OID of the elements, else 0 */
	int32_t typmod;	  /* of base, of the elements where element is set; -1: none */
	change_bytes name;
	change_bytes type_name; /* format_type() */
} change_column;

typedef struct change_relation
{
	uint32_t index;	   /* by which records refer to it */
	uint32_t oid;	   /* of the table that is named here */
	uint32_t leaf;	   /* of the table that the row lies in: differs under a partitioned root */
	uint32_t filenode; /* of leaf */
	char relkind;	   /* of oid */
	char identity;	   /* replica identity of leaf: d, i, f, n */
	char persistence;  /* of leaf: p; u: unlogged, its changes are not in the stream */
	uint16_t ncolumns;
	change_bytes schema;
	change_bytes name;
	change_bytes columns; /* for change_read_column */
} change_relation;

typedef struct change_begin
{
	uint64_t xid;		 /* top-level, with its epoch */
	uint64_t commit_lsn; /* where the commit record begins */
	int64_t commit_time; /* microseconds since 2000-01-01 UTC */
	change_bytes origin; /* name of the replication origin, empty: none */
} change_begin;

typedef struct change_commit
{
	uint64_t end_lsn;  /* behind the commit record */
	uint64_t nchanges; /* all that the transaction had, also those that were not sent */
} change_commit;

/* A row, or the columns of a key, for change_read_value. */
typedef struct change_tuple
{
	change_bytes values;
	bool there;
} change_tuple;

/* Flags of a row's record. */
#define CHANGE_ROW_OLD 1	   /* an old tuple comes first */
#define CHANGE_ROW_OLD_WHOLE 2 /* of all columns */
/*
 * An insert of a table's new content, which an ALTER TABLE that rewrites it has made; with BEGINS the first
 * one: all that the table held before is gone. A table that was empty has none.
 */
#define CHANGE_ROW_REWRITE 4
#define CHANGE_ROW_REWRITE_BEGINS 8

typedef struct change_row
{
	uint32_t relation; /* index */
	uint64_t number;   /* in the transaction, from 1, counted before filtering */
	uint64_t lsn;
	bool old_is_whole;	 /* old has all columns, else those of the identity */
	bool rewrite;		 /* CHANGE_ROW_REWRITE */
	bool rewrite_begins; /* CHANGE_ROW_REWRITE_BEGINS */
	change_tuple old;	 /* what the identity gives; not there: nothing was known, or needed */
	change_tuple fresh;	 /* insert, update: all columns */
} change_row;

#define CHANGE_TRUNCATE_CASCADE 1
#define CHANGE_TRUNCATE_RESTART 2

typedef struct change_truncate
{
	uint64_t number;
	uint64_t lsn;
	uint8_t flags; /* CHANGE_TRUNCATE_… */
	uint32_t nrelations;
	change_bytes relations; /* for change_read_index */
} change_truncate;

typedef struct change_message
{
	bool transactional;
	uint64_t number; /* 0: not of a transaction */
	uint64_t lsn;
	change_bytes prefix;
	change_bytes content;
} change_message;

typedef struct change_record
{
	change_kind kind;
	union
	{
		change_relation relation;
		change_begin begin;
		change_commit commit;
		change_row row; /* insert, update, delete */
		change_truncate truncate;
		change_message message;
	};
} change_record;

/* Where a reader is in a stream: zero it for a new one. The bytes of a message are borrowed. */
typedef struct change_reader
{
	const uint8_t *at;
	size_t left;
	bool in_transaction;
	uint64_t number; /* of the last change */
	uint64_t lsn;	 /* likewise; of the commit record before the first */
} change_reader;

/* Begins a message. CHANGE_VERSIONED: it is of another version, *version. */
change_status change_open(change_reader *reader, const void *data, size_t nbytes, uint8_t *version);

/*
 * The next record. Records of kinds that are not known are passed over: what they add may be ignored.
 * After CHANGE_INVALID the stream is of no use any more.
 */
change_status change_next(change_reader *reader, change_record *out);

/* The columns of a relation: begin with a copy of its columns. CHANGE_END: there are no more. */
change_status change_read_column(change_bytes *columns, change_column *out);

/* The relations of a truncate: begin with a copy of them. CHANGE_END: there are no more. */
change_status change_read_index(change_bytes *relations, uint32_t *index);

/* ---- Values ---- */

typedef enum change_state
{
	CHANGE_VALUE,
	CHANGE_NULL,
	CHANGE_UNCHANGED /* a TOASTed value that the update left alone, and the identity does not hold */
} change_state;

/* The byte that a value begins with: its length, or one of these. */
#define CHANGE_BYTE_LONG 0xfd /* a uint32 length follows */
#define CHANGE_BYTE_UNCHANGED 0xfe
#define CHANGE_BYTE_NULL 0xff
#define CHANGE_SHORT_MAX 0xfc

/* The next value of a tuple, from its values on; CHANGE_END: there are no more. */
static inline change_status
change_read_value(change_bytes *values, change_state *state, change_bytes *out)
{
	const uint8_t *at = values->data;
	size_t left = values->len;
	size_t len;
	size_t head = 1;

	*out = (change_bytes){at, 0};
	*state = CHANGE_VALUE;
	if (left == 0)
		return CHANGE_END;
	len = at[0];
	if (len > CHANGE_SHORT_MAX)
	{
		if (len != CHANGE_BYTE_LONG)
		{
			*state = len == CHANGE_BYTE_NULL ? CHANGE_NULL : CHANGE_UNCHANGED;
			*values = (change_bytes){at + 1, left - 1};
			return CHANGE_OK;
		}
		if (left < 5)
			return CHANGE_INVALID;
		len = (size_t) at[1] << 24 | (size_t) at[2] << 16 | (size_t) at[3] << 8 | at[4];
		head = 5;
	}
	if (len > left - head)
		return CHANGE_INVALID;
	*out = (change_bytes){at + head, len};
	*values = (change_bytes){at + head + len, left - head - len};
	return CHANGE_OK;
}

#endif /* WIRE_CHANGE_H */
