/*
 * arrow_ipc.h - Arrow IPC stream messages, written and read (docs/wire.md has every byte).
 *
 * A stream is a schema message, record batch messages and the end marker. A message is FFFFFFFF, an
 * int32 with the length of the metadata, the metadata (a flatbuffer), then the body. Metadata V5,
 * little-endian, no dictionaries, no compression.
 *
 * Pure C: no allocator, no I/O and no locale of its own. The writer puts bytes where the caller says
 * and needs no memory; the reader takes memory from the caller's functions. Input of the reader is
 * hostile: nothing is believed before it was compared with what is there.
 */
#ifndef WIRE_ARROW_IPC_H
#define WIRE_ARROW_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arrow_c.h"

/* Body buffers of what we write begin at multiples of this, and so does memory for a body. */
#define ARROW_IPC_ALIGNMENT 64

/* Bytes of a message before its metadata, and of the end marker. */
#define ARROW_IPC_PREFIX 8

/* Columns within columns within …: deeper is refused, written or read. */
#define ARROW_IPC_MAX_DEPTH 64

typedef enum arrow_ipc_status
{
	ARROW_IPC_OK = 0,
	ARROW_IPC_END = 1,			/* the end marker */
	ARROW_IPC_INVALID = -1,		/* bytes, or an array, that cannot be right */
	ARROW_IPC_UNSUPPORTED = -2, /* legal Arrow that penstock does not speak */
	ARROW_IPC_NOMEM = -3
} arrow_ipc_status;

/* What is wrong: a lower-case text without the column's name, and that name or "". Caller-owned. */
typedef struct arrow_ipc_error
{
	char message[192];
	char column[128]; /* outermost to innermost, joined by dots; cut when too long */
} arrow_ipc_error;

/* ---------------------------------------------------------------------------------------------
 * Writer
 *
 * Each function sets *nbytes to the length of the whole message, which is a multiple of 8, and
 * writes it to out if out is not NULL and has room (capacity); so call once with NULL to measure and
 * once to write. The same schema and array must be given to both calls. out needs no alignment. When
 * the room does not suffice it is ARROW_IPC_INVALID and the bytes at out are undefined.
 */

/* The schema of rows: a struct ('+s') whose children are the columns. */
arrow_ipc_status arrow_ipc_write_schema(const struct ArrowSchema *schema, uint8_t *out,
										size_t capacity, size_t *nbytes, arrow_ipc_error *err);

/*
 * The rows of a struct array; slices (offset) are cut out, offsets then begin at 0. Validity is left
 * out where there are no NULLs. The array is trusted to be what its schema says, in the contents of
 * its buffers; its counts are compared.
 */
arrow_ipc_status arrow_ipc_write_batch(const struct ArrowSchema *schema,
									   const struct ArrowArray *array, uint8_t *out,
									   size_t capacity, size_t *nbytes, arrow_ipc_error *err);

/* The end marker: without it a stream is incomplete. */
void arrow_ipc_write_end(uint8_t out[ARROW_IPC_PREFIX]);

/* ---------------------------------------------------------------------------------------------
 * Reader
 *
 * arrow_ipc_read_prefix tells how much metadata follows, arrow_ipc_read_message how much body and
 * what it is, then arrow_ipc_read_schema or arrow_ipc_read_batch makes the Arrow struct.
 */

/* Where memory comes from. The struct is copied into what is made with it; ctx must live as long. */
typedef struct arrow_ipc_memory
{
	void *(*alloc)(void *ctx, size_t nbytes); /* NULL when there is none; nbytes > 0 */
	void (*free)(void *ctx, void *block);
	void *ctx;
} arrow_ipc_memory;

typedef enum arrow_ipc_kind
{
	ARROW_IPC_SCHEMA = 1,
	ARROW_IPC_BATCH = 3
} arrow_ipc_kind;

typedef struct arrow_ipc_message
{
	arrow_ipc_kind kind;
	int64_t body_nbytes;	 /* not negative; not compared with anything yet */
	const uint8_t *metadata; /* borrowed from arrow_ipc_read_message's caller */
	size_t metadata_nbytes;
	size_t header; /* of the table Schema or RecordBatch in the metadata */
} arrow_ipc_message;

/*
 * The eight bytes that every message begins with: the length of the metadata, at least 1, or
 * ARROW_IPC_END. The length is not to be believed: allocate while the bytes come.
 */
arrow_ipc_status arrow_ipc_read_prefix(const uint8_t prefix[ARROW_IPC_PREFIX],
									   uint32_t *metadata_nbytes, arrow_ipc_error *err);

/* The metadata of one message. It is borrowed as long as *out is used and needs no alignment. */
arrow_ipc_status arrow_ipc_read_message(const uint8_t *metadata, size_t metadata_nbytes,
										arrow_ipc_message *out, arrow_ipc_error *err);

/*
 * Makes the schema of a schema message: a struct whose children are the columns, with their
 * metadata. It owns its memory, is released by its release callback, and holds nothing of the
 * message. On failure *out is released (zero).
 */
arrow_ipc_status arrow_ipc_read_schema(const arrow_ipc_message *message,
									   const arrow_ipc_memory *memory, struct ArrowSchema *out,
									   arrow_ipc_error *err);

/*
 * Makes the array of a record batch message. Its buffers point into body, which is message's
 * body_nbytes long, begins at a multiple of ARROW_IPC_ALIGNMENT and lies inside block; on success
 * block is moved: memory->free gets it when the array and every child that was moved out of it are
 * released, from whichever thread that is. On failure block stays the caller's and *out is released.
 *
 * Time grows with the number of columns, the offsets of texts and lists (each is checked) and the
 * bits of validity (they are counted). The bytes of texts are not checked to be UTF-8.
 */
arrow_ipc_status arrow_ipc_read_batch(const arrow_ipc_message *message,
									  const struct ArrowSchema *schema, const uint8_t *body,
									  void *block, const arrow_ipc_memory *memory,
									  struct ArrowArray *out, arrow_ipc_error *err);

/*
 * The message that a struct array was read from, which lives as long as the array; NULL when there is
 * none to be passed on: the array was made elsewhere, sliced, or lost or changed columns, or the
 * message did not lie whole in its block: prefix, metadata and body one behind the other.
 */
const uint8_t *arrow_ipc_message_of(const struct ArrowArray *array, size_t *nbytes);

#endif /* WIRE_ARROW_IPC_H */
