/* frames.c - Arrow IPC messages out of binary COPY. See frames.h. */
#include "frames.h"

#include <stdlib.h>
#include <string.h>

#include "arrow_ipc.h"
#include "ascii.h"
#include "bytes.h"
#include "copy_header.h"
#include "utf8.h"

#define METADATA_MAX ((uint32_t) 256 * 1024 * 1024)
/* Memory for more than this is taken as the bytes come: nobody's word is good for it. */
#define BELIEVED ((size_t) 64 * 1024 * 1024)

/* What is being read. */
enum part
{
	COPY_HEADER,
	COPY_EXTENSION,
	ROW_FIELDS, /* the number of fields, or the trailer */
	ROW_LENGTH, /* of the one field, and the message's prefix */
	METADATA,
	BODY,
	AFTER_TRAILER
};

/*
 * Memory for a message as it came: prefix, metadata and body, so that the batch can be passed on as it
 * is. The body begins at a multiple of ARROW_IPC_ALIGNMENT.
 */
typedef struct message_memory
{
	void *block; /* owned: what malloc gave; moved to the batch */
	uint8_t *data;
	size_t cap;
} message_memory;

struct psti_frames
{
	const struct ArrowSchema *schema; /* borrowed */
	enum part part;
	size_t have;	  /* bytes of the part that have come; of a message: of all of it */
	size_t need;	  /* that it has; of a message: up to the end of its part */
	uint8_t head[32]; /* the small parts */
	uint32_t skip;	  /* bytes of the header's extension still to come */
	message_memory memory;
	size_t message;			  /* bytes of the message */
	size_t metadata;		  /* up to the end of its metadata */
	arrow_ipc_message parsed; /* of the message at work */
	bool described;			  /* the schema message has come */
	bool marked;			  /* the end marker has come */
	struct ArrowArray batch;
};

/* ---- Memory ---- */

static void
expect(psti_frames *frames, enum part part, size_t need)
{
	frames->part = part;
	frames->have = 0;
	frames->need = need;
}

pst_status
psti_frames_new(const struct ArrowSchema *schema, psti_frames **out, pst_error *err)
{
	psti_frames *frames = calloc(1, sizeof(*frames));

	*out = frames;
	if (frames == NULL)
		return psti_fail_nomem(err);
	frames->schema = schema;
	psti_frames_restart(frames);
	return PST_OK;
}

void
psti_frames_free(psti_frames *frames)
{
	if (frames == NULL)
		return;
	psti_array_release(&frames->batch);
	free(frames->memory.block);
	free(frames);
}

void
psti_frames_restart(psti_frames *frames)
{
	psti_array_release(&frames->batch);
	memset(&frames->batch, 0, sizeof(frames->batch));
	frames->described = false;
	frames->marked = false;
	expect(frames, COPY_HEADER, PSTI_COPY_HEADER_BYTES);
}

/* Room for more than the `have` bytes of the message that are there. */
static pst_status
grow(psti_frames *frames, size_t have, pst_error *err)
{
	message_memory *memory = &frames->memory;
	size_t wanted = frames->message <= BELIEVED ? frames->message : BELIEVED;
	uint8_t *block;
	uint8_t *data;

	if (have < memory->cap)
		return PST_OK;
	if (have > 0)
		wanted = frames->message - have <= have ? frames->message : 2 * have;
	block = malloc(wanted + ARROW_IPC_ALIGNMENT - 1);
	if (block == NULL)
		return psti_fail_nomem(err);
	data = block + (0 - ((uintptr_t) block + frames->metadata)) % ARROW_IPC_ALIGNMENT;
	if (have > 0)
		memcpy(data, memory->data, have);
	free(memory->block);
	*memory = (message_memory){block, data, wanted};
	return PST_OK;
}

/* ---- Errors ---- */

static pst_status
protocol_error(pst_error *err, const char *what)
{
	return psti_fail(err, PST_ERR_PROTOCOL, "cannot read the extension's frames: %s", what);
}

static pst_status
ipc_error(arrow_ipc_status status, const arrow_ipc_error *error, pst_error *err)
{
	if (status == ARROW_IPC_NOMEM)
		return psti_fail_nomem(err);
	protocol_error(err, error->message);
	PSTI_ERROR_SET(err, column, error->column);
	return err->status;
}

/* ---- What a message says ---- */

/* Whether the server's field is the one expected: what is in the buffers is known by its format. */
static bool
same_field(const struct ArrowSchema *want, const struct ArrowSchema *got)
{
	if (strcmp(want->format, got->format) != 0 || want->n_children != got->n_children)
		return false;
	for (int64_t i = 0; i < want->n_children; i++)
		if (!same_field(want->children[i], got->children[i]))
			return false;
	return true;
}

static pst_status
check_schema(const psti_frames *frames, const struct ArrowSchema *got, pst_error *err)
{
	const struct ArrowSchema *want = frames->schema;

	if (want->n_children != got->n_children)
		return psti_fail(err, PST_ERR_PROTOCOL,
						 "cannot read the extension's frames: they have %lld columns, not %lld",
						 (long long) got->n_children, (long long) want->n_children);
	for (int64_t i = 0; i < want->n_children; i++)
	{
		if (same_field(want->children[i], got->children[i]))
			continue;
		psti_fail(err, PST_ERR_PROTOCOL,
				  "cannot read the extension's frames: column \"%s\" comes in format \"%s\", not "
				  "\"%s\"",
				  want->children[i]->name, got->children[i]->format, want->children[i]->format);
		PSTI_ERROR_SET(err, column, want->children[i]->name);
		psti_error_hint(err,
						"Read with transport=plain; and see that the library and the extension "
						"are of the same version.");
		return err->status;
	}
	return PST_OK;
}

static pst_status
read_schema(psti_frames *frames, pst_error *err)
{
	struct ArrowSchema got;
	arrow_ipc_error error;
	arrow_ipc_status read;
	pst_status status;

	if (frames->described)
		return protocol_error(err, "a second schema");
	read = arrow_ipc_read_schema(&frames->parsed, &psti_arrow_memory, &got, &error);
	if (read != ARROW_IPC_OK)
		return ipc_error(read, &error, err);
	status = check_schema(frames, &got, err);
	psti_schema_release(&got);
	frames->described = true;
	return status;
}

/* Readers of utf8 arrays rely on each value being it. */
static bool
holds_utf8(const struct ArrowSchema *field, const struct ArrowArray *array)
{
	const int32_t *offsets = array->n_buffers == 3 ? array->buffers[1] : NULL;
	const char *text = array->n_buffers == 3 ? array->buffers[2] : NULL;

	for (int64_t i = 0; i < array->n_children; i++)
		if (!holds_utf8(field->children[i], array->children[i]))
			return false;
	if (strcmp(field->format, "u") != 0 || array->length == 0 ||
		ascii_only(text + offsets[0], (size_t) (offsets[array->length] - offsets[0])))
		return true;
	for (int64_t i = 0; i < array->length; i++)
	{
		size_t n = (size_t) (offsets[i + 1] - offsets[i]);

		if (psti_utf8_valid(text + offsets[i], n) != n)
			return false;
	}
	return true;
}

static pst_status
check_batch(const psti_frames *frames, pst_error *err)
{
	for (int64_t i = 0; i < frames->schema->n_children; i++)
	{
		const struct ArrowSchema *field = frames->schema->children[i];
		const struct ArrowArray *array = frames->batch.children[i];

		if ((field->flags & ARROW_FLAG_NULLABLE) == 0 && array->null_count != 0)
			psti_fail(err, PST_ERR_PROTOCOL,
					  "the server sent NULL for column \"%s\", which is NOT NULL", field->name);
		else if (!holds_utf8(field, array))
			psti_fail(
				err, PST_ERR_PROTOCOL,
				"cannot read the extension's frames: column \"%s\" holds text that is not UTF-8",
				field->name);
		else
			continue;
		PSTI_ERROR_SET(err, column, field->name);
		return err->status;
	}
	return PST_OK;
}

static pst_status
read_batch(psti_frames *frames, pst_error *err)
{
	message_memory *memory = &frames->memory;
	arrow_ipc_error error;
	arrow_ipc_status read;
	pst_status status;

	/* It may have been moved since the metadata was read. */
	frames->parsed.metadata = memory->data + ARROW_IPC_PREFIX;
	read = arrow_ipc_read_batch(&frames->parsed, frames->schema, memory->data + frames->metadata,
								memory->block, &psti_arrow_memory, &frames->batch, &error);
	if (read != ARROW_IPC_OK)
		return ipc_error(read, &error, err);
	*memory = (message_memory){NULL, NULL, 0}; /* moved */
	expect(frames, ROW_FIELDS, 2);
	status = check_batch(frames, err);
	if (status != PST_OK || frames->batch.length == 0)
		psti_array_release(&frames->batch);
	else
		status = PST_AGAIN;
	return status;
}

/* The metadata is there. */
static pst_status
read_metadata(psti_frames *frames, pst_error *err)
{
	arrow_ipc_error error;
	arrow_ipc_status read =
		arrow_ipc_read_message(frames->memory.data + ARROW_IPC_PREFIX,
							   frames->metadata - ARROW_IPC_PREFIX, &frames->parsed, &error);
	size_t body = frames->message - frames->metadata;
	pst_status status;

	if (read != ARROW_IPC_OK)
		return ipc_error(read, &error, err);
	if ((uint64_t) frames->parsed.body_nbytes != body)
		return protocol_error(err, "a message is of another length than it says");
	if (frames->parsed.kind == ARROW_IPC_BATCH)
	{
		if (!frames->described)
			return protocol_error(err, "rows before the schema");
		frames->part = BODY;
		frames->need = frames->message;
		return PST_OK;
	}
	if (body != 0)
		return protocol_error(err, "a schema with a body");
	status = read_schema(frames, err);
	expect(frames, ROW_FIELDS, 2);
	return status;
}

/* ---- The parts of a COPY ---- */

static pst_status
read_header(psti_frames *frames, pst_error *err)
{
	if (memcmp(frames->head, PSTI_COPY_SIGNATURE, PSTI_COPY_SIGNATURE_BYTES) != 0)
		return protocol_error(err, "not a binary COPY");
	if ((psti_get32(frames->head + PSTI_COPY_SIGNATURE_BYTES) & PSTI_COPY_CRITICAL_FLAGS) != 0)
		return protocol_error(err, "a binary COPY of an unknown kind");
	frames->skip = psti_get32(frames->head + PSTI_COPY_SIGNATURE_BYTES + 4);
	if (frames->skip > INT32_MAX)
		return protocol_error(err, "wrong header");
	expect(frames, COPY_EXTENSION, frames->skip);
	return PST_OK;
}

static pst_status
read_fields(psti_frames *frames, pst_error *err)
{
	uint16_t nfields = psti_get16(frames->head);

	if (nfields == UINT16_MAX)
	{
		expect(frames, AFTER_TRAILER, sizeof(frames->head));
		return PST_END;
	}
	if (nfields != 1)
		return protocol_error(err, "a row that is not one message");
	if (frames->marked)
		return protocol_error(err, "a message behind the end marker");
	expect(frames, ROW_LENGTH, 4 + ARROW_IPC_PREFIX);
	return PST_OK;
}

/* The prefix is there. */
static pst_status
begin_message(psti_frames *frames, pst_error *err)
{
	message_memory *memory = &frames->memory;
	pst_status status;

	free(memory->block);
	*memory = (message_memory){NULL, NULL, 0};
	status = grow(frames, 0, err);
	if (status != PST_OK)
		return status;
	memcpy(memory->data, frames->head + 4, ARROW_IPC_PREFIX);
	expect(frames, METADATA, frames->metadata);
	frames->have = ARROW_IPC_PREFIX;
	return PST_OK;
}

/* Field's length and the eight bytes that every message begins with. */
static pst_status
read_length(psti_frames *frames, pst_error *err)
{
	uint32_t len = psti_get32(frames->head);
	arrow_ipc_error error;
	uint32_t metadata;
	arrow_ipc_status read = arrow_ipc_read_prefix(frames->head + 4, &metadata, &error);

	if (len < ARROW_IPC_PREFIX || len > INT32_MAX)
		return protocol_error(err, "a row that is not one message");
	if (read == ARROW_IPC_END)
	{
		if (len != ARROW_IPC_PREFIX || !frames->described)
			return protocol_error(err, "an end marker in the wrong place");
		frames->marked = true;
		expect(frames, ROW_FIELDS, 2);
		return PST_OK;
	}
	if (read != ARROW_IPC_OK)
		return ipc_error(read, &error, err);
	if (metadata > len - ARROW_IPC_PREFIX || metadata > METADATA_MAX)
		return protocol_error(err, "a message is of another length than it says");
	frames->message = len;
	frames->metadata = ARROW_IPC_PREFIX + metadata;
	return begin_message(frames, err);
}

/* A part is whole. */
static pst_status
finish_part(psti_frames *frames, pst_error *err)
{
	switch (frames->part)
	{
		case COPY_HEADER:
			return read_header(frames, err);
		case COPY_EXTENSION:
			expect(frames, ROW_FIELDS, 2);
			return PST_OK;
		case ROW_FIELDS:
			return read_fields(frames, err);
		case ROW_LENGTH:
			return read_length(frames, err);
		case METADATA:
			return read_metadata(frames, err);
		case BODY:
			return read_batch(frames, err);
		default:
			return PST_OK;
	}
}

/* ---- Feeding ---- */

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

pst_status
psti_frames_want(psti_frames *frames, char **at, size_t *room, pst_error *err)
{
	bool message = frames->part == METADATA || frames->part == BODY;
	pst_status status = message ? grow(frames, frames->have, err) : PST_OK;
	size_t cap = message ? frames->memory.cap : sizeof(frames->head);
	size_t begin = frames->have;

	*at = NULL;
	*room = 0;
	if (status != PST_OK)
		return status;
	/* The header's extension is nobody's: its pieces are written over each other. */
	if (frames->part == COPY_EXTENSION)
	{
		*at = (char *) frames->head;
		*room = smaller(cap, frames->need - begin);
		return PST_OK;
	}
	*at = (char *) (message ? frames->memory.data : frames->head) + begin;
	*room = smaller(cap, frames->need) - begin;
	return PST_OK;
}

pst_status
psti_frames_got(psti_frames *frames, size_t n, pst_error *err)
{
	pst_status status = PST_OK;

	if (frames->part == AFTER_TRAILER)
		return protocol_error(err, "bytes behind the trailer");
	frames->have += n;
	/* Parts without bytes are whole at once. */
	while (status == PST_OK && frames->have == frames->need)
		status = finish_part(frames, err);
	return status;
}

int64_t
psti_frames_pending(const psti_frames *frames)
{
	return frames->batch.release != NULL ? frames->batch.length : 0;
}

void
psti_frames_take(psti_frames *frames, struct ArrowArray *out)
{
	*out = frames->batch;
	memset(&frames->batch, 0, sizeof(frames->batch));
}

pst_status
psti_frames_finish(const psti_frames *frames, pst_error *err)
{
	if (frames->part != AFTER_TRAILER)
		return protocol_error(err, "the COPY ended in the middle");
	if (!frames->marked)
		return protocol_error(err, "the end marker is missing");
	return PST_OK;
}
