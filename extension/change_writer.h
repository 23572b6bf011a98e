/*
 * change_writer.h - change records into a message (wire/change.h, docs/wire.md).
 *
 * A message is filled record by record and handed out when it is large enough. What a record's length is
 * stands before it, so each is opened and closed; a row's values are put between the two.
 */
#ifndef PENSTOCK_CHANGE_WRITER_H
#define PENSTOCK_CHANGE_WRITER_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "lib/stringinfo.h"
#include "port/pg_bswap.h"

#include "change.h"

typedef struct change_writer
{
	StringInfoData out; /* the message: empty, or a version byte and records */
	int record;			/* where the open record begins */
	uint64 number;		/* of the transaction's last change that was written … */
	XLogRecPtr lsn;		/* … and its LSN */
} change_writer;

/* Memory is of the current context, which must live as long. */
extern void change_writer_init(change_writer *writer);

/* Nothing of the message is needed any more. */
extern void change_writer_reset(change_writer *writer);

static inline bool
change_writer_empty(const change_writer *writer)
{
	return writer->out.len == 0;
}

extern void change_open_record(change_writer *writer, change_kind kind);
extern void change_close_record(change_writer *writer);

extern void change_put_begin(change_writer *writer, uint64 xid, XLogRecPtr commit_lsn,
							 int64 commit_time, const char *origin);
extern void change_put_commit(change_writer *writer, XLogRecPtr end_lsn, uint64 nchanges);

/* Number and LSN of a change: in the record of every change, once. */
extern void change_put_place(change_writer *writer, uint64 number, XLogRecPtr lsn);

/* Text with its length, at most 65,535 bytes: names. */
extern void change_put_text(change_writer *writer, const char *text);

/* The lowest bytes of a number: a constant, so that it becomes a few instructions. */
static inline void
change_put_int(change_writer *writer, uint64 value, int nbytes)
{
	value = pg_hton64(value << (64 - 8 * nbytes));
	if (unlikely(writer->out.maxlen - writer->out.len <= 8))
		enlargeStringInfo(&writer->out, 8);
	memcpy(writer->out.data + writer->out.len, &value, 8);
	writer->out.len += nbytes;
}

static inline void
change_put_byte(change_writer *writer, uint8 byte)
{
	appendStringInfoCharMacro(&writer->out, (char) byte);
}

/* A length that is known later: returns where to put it. */
static inline int
change_open_length(change_writer *writer)
{
	change_put_int(writer, 0, 4);
	return writer->out.len;
}

extern void change_close_length(change_writer *writer, int opened);

#endif /* PENSTOCK_CHANGE_WRITER_H */
