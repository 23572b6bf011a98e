/*
 * frames_fuzz.c - any bytes as the COPY of penstock.scan.
 *
 * The first byte says in which slices they come. The columns expected are those that the first
 * message tells when it is a schema, else one int32. What is handed out must pass psti_arrow_check and
 * be readable to its last byte; the message that is passed on for it must read as the same batch. The
 * seeds are the golden streams as COPYs.
 */
#include <stdlib.h>
#include <string.h>

#include "arrow_build.h"
#include "arrow_check.h"
#include "arrow_ipc.h"
#include "arrow_walk.h"
#include "frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FIRST_MESSAGE (19 + 2 + 4) /* behind the header, number of fields and length */
/* NULLs and empty structs take no bytes, so there may be very many: those are not walked. */
#define MAX_WALKED 65536

static void
expected_schema(const uint8_t *data, size_t size, struct ArrowSchema *out)
{
	arrow_ipc_message message;
	arrow_ipc_error problem;
	pst_error err;
	uint32_t metadata;

	if (size > FIRST_MESSAGE + ARROW_IPC_PREFIX &&
		arrow_ipc_read_prefix(data + FIRST_MESSAGE, &metadata, &problem) == ARROW_IPC_OK &&
		metadata <= size - FIRST_MESSAGE - ARROW_IPC_PREFIX &&
		arrow_ipc_read_message(data + FIRST_MESSAGE + ARROW_IPC_PREFIX, metadata, &message,
							   &problem) == ARROW_IPC_OK &&
		message.kind == ARROW_IPC_SCHEMA &&
		arrow_ipc_read_schema(&message, &psti_arrow_memory, out, &problem) == ARROW_IPC_OK)
		return;
	if (psti_schema_init(out, "+s", "", false, 1, &err) != PST_OK ||
		psti_schema_init(out->children[0], "i", "a", false, 0, &err) != PST_OK)
		abort();
}

/* As those read it who get the batch's message: in memory of their own. */
static void
read_passed_on(const struct ArrowSchema *schema, const struct ArrowArray *batch)
{
	size_t n;
	const uint8_t *message = arrow_ipc_message_of(batch, &n);
	arrow_ipc_message parsed;
	arrow_ipc_error problem;
	struct ArrowArray again;
	uint32_t metadata;
	uint8_t *block;
	uint8_t *at;

	if (message == NULL)
		return;
	if (n < ARROW_IPC_PREFIX ||
		arrow_ipc_read_prefix(message, &metadata, &problem) != ARROW_IPC_OK ||
		metadata > n - ARROW_IPC_PREFIX)
		abort();
	block = malloc(n + ARROW_IPC_ALIGNMENT);
	if (block == NULL)
		abort();
	at = block + (0 - ((uintptr_t) block + ARROW_IPC_PREFIX + metadata)) % ARROW_IPC_ALIGNMENT;
	memcpy(at, message, n);
	if (arrow_ipc_read_message(at + ARROW_IPC_PREFIX, metadata, &parsed, &problem) !=
			ARROW_IPC_OK ||
		(uint64_t) parsed.body_nbytes != n - ARROW_IPC_PREFIX - metadata ||
		arrow_ipc_read_batch(&parsed, schema, at + ARROW_IPC_PREFIX + metadata, block,
							 &psti_arrow_memory, &again, &problem) != ARROW_IPC_OK ||
		again.length != batch->length || again.n_children != batch->n_children)
		abort();
	if (test_arrow_largest(batch) <= MAX_WALKED &&
		test_arrow_walk(schema, &again, 0, again.length) !=
			test_arrow_walk(schema, batch, 0, batch->length))
		abort();
	psti_array_release(&again);
}

static void
take(psti_frames *frames, const struct ArrowSchema *schema)
{
	struct ArrowArray batch;
	pst_error err = PST_ERROR_INIT;

	if (psti_frames_pending(frames) <= 0)
		abort();
	psti_frames_take(frames, &batch);
	if (psti_arrow_check(schema, &batch, &err) != PST_OK)
		abort();
	if (test_arrow_largest(&batch) <= MAX_WALKED)
		test_arrow_walk(schema, &batch, 0, batch.length);
	read_passed_on(schema, &batch);
	psti_array_release(&batch);
}

static void
feed(psti_frames *frames, const struct ArrowSchema *schema, const uint8_t *data, size_t size,
	 size_t slice)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status = PST_OK;

	while (size > 0 && status >= 0)
	{
		char *at;
		size_t room;

		if (psti_frames_want(frames, &at, &room, &err) != PST_OK)
			return;
		if (room == 0)
			abort();
		room = room < size ? room : size;
		room = room < slice ? room : slice;
		memcpy(at, data, room);
		data += room;
		size -= room;
		status = psti_frames_got(frames, room, &err);
		if (status == PST_AGAIN)
			take(frames, schema);
	}
	if (status < 0 && err.message[0] == '\0')
		abort();
	(void) psti_frames_finish(frames, &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ArrowSchema schema;
	psti_frames *frames;
	pst_error err = PST_ERROR_INIT;
	size_t slice;

	if (size < 1)
		return 0;
	slice = data[0] == 0 ? SIZE_MAX : data[0];
	expected_schema(data + 1, size - 1, &schema);
	if (psti_frames_new(&schema, &frames, &err) != PST_OK)
		abort();
	feed(frames, &schema, data + 1, size - 1, slice);
	psti_frames_restart(frames);
	feed(frames, &schema, data + 1, size - 1, SIZE_MAX);
	psti_frames_free(frames);
	psti_schema_release(&schema);
	return 0;
}
