/* change_writer.c - change records into a message. See change_writer.h. */
#include "change_writer.h"

#include "utils/memutils.h"

/* A message beyond this was a large row's: its memory is given back. */
#define KEEP_BYTES (1024 * 1024)

void
change_writer_init(change_writer *writer)
{
	memset(writer, 0, sizeof(*writer));
	initStringInfo(&writer->out);
}

void
change_writer_reset(change_writer *writer)
{
	if (writer->out.maxlen > KEEP_BYTES)
	{
		MemoryContext owner = GetMemoryChunkContext(writer->out.data);
		MemoryContext caller = MemoryContextSwitchTo(owner);

		pfree(writer->out.data);
		initStringInfo(&writer->out);
		MemoryContextSwitchTo(caller);
	}
	resetStringInfo(&writer->out);
}

static void
store32(char *at, uint32 value)
{
	value = pg_hton32(value);
	memcpy(at, &value, 4);
}

void
change_open_record(change_writer *writer, change_kind kind)
{
	if (writer->out.len == 0)
		change_put_byte(writer, CHANGE_VERSION);
	writer->record = writer->out.len;
	change_put_byte(writer, (uint8) kind);
	change_put_int(writer, 0, 4);
}

void
change_close_record(change_writer *writer)
{
	store32(writer->out.data + writer->record + 1,
			(uint32) (writer->out.len - writer->record - CHANGE_HEAD));
}

void
change_close_length(change_writer *writer, int opened)
{
	store32(writer->out.data + opened - 4, (uint32) (writer->out.len - opened));
}

void
change_put_text(change_writer *writer, const char *text)
{
	Size len = Min(strlen(text), PG_UINT16_MAX);

	change_put_int(writer, len, 2);
	appendBinaryStringInfo(&writer->out, text, (int) len);
}

/* Seven bits a byte, the lowest first; the highest bit says that more follow. */
static void
put_varint(change_writer *writer, uint64 value)
{
	while (value > 0x7f)
	{
		change_put_byte(writer, (uint8) (value | 0x80));
		value >>= 7;
	}
	change_put_byte(writer, (uint8) value);
}

void
change_put_place(change_writer *writer, uint64 number, XLogRecPtr lsn)
{
	int64 step = (int64) (lsn - writer->lsn);

	put_varint(writer, number - writer->number - 1);
	/* Forth and back by turns, so that small steps are small numbers. */
	put_varint(writer, ((uint64) step << 1) ^ (uint64) (step >> 63));
	writer->number = number;
	writer->lsn = lsn;
}

void
change_put_begin(change_writer *writer, uint64 xid, XLogRecPtr commit_lsn, int64 commit_time,
				 const char *origin)
{
	change_open_record(writer, CHANGE_BEGIN);
	change_put_int(writer, xid, 8);
	change_put_int(writer, commit_lsn, 8);
	change_put_int(writer, (uint64) commit_time, 8);
	change_put_text(writer, origin);
	change_close_record(writer);
	writer->number = 0;
	writer->lsn = commit_lsn;
}

void
change_put_commit(change_writer *writer, XLogRecPtr end_lsn, uint64 nchanges)
{
	change_open_record(writer, CHANGE_COMMIT);
	change_put_int(writer, end_lsn, 8);
	change_put_int(writer, nchanges, 8);
	change_close_record(writer);
}
