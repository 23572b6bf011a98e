/*
 * arrow_ipc_fuzz.c - any bytes as an Arrow IPC stream.
 *
 * Each message is read from memory of exactly its size. What the reader accepts must pass
 * psti_arrow_check, be readable to its last byte, and be the same when it is written and read again.
 * The seeds are the golden streams: every type, written by pyarrow and by us.
 */
#include <stdlib.h>
#include <string.h>

#include "arrow_build.h"
#include "arrow_check.h"
#include "arrow_ipc.h"
#include "arrow_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A batch without columns may claim any number of rows in no bytes: those are not walked. */
#define MAX_WALKED 65536

static uint8_t *
exact_copy(const uint8_t *data, size_t nbytes)
{
	void *copy = NULL;

	if (nbytes == 0)
		return NULL;
	if (posix_memalign(&copy, ARROW_IPC_ALIGNMENT, nbytes) != 0)
		abort();
	return memcpy(copy, data, nbytes);
}

/* One message out of *data; false when there is no whole one or it is refused. */
typedef struct message
{
	arrow_ipc_message parsed;
	uint8_t *metadata; /* owned */
	uint8_t *body;	   /* owned until a batch takes it */
} message;

static bool
take_message(const uint8_t **data, size_t *size, message *out)
{
	arrow_ipc_error err = {"", ""};
	uint32_t nbytes;

	memset(out, 0, sizeof(*out));
	if (*size < ARROW_IPC_PREFIX || arrow_ipc_read_prefix(*data, &nbytes, &err) != ARROW_IPC_OK ||
		nbytes > *size - ARROW_IPC_PREFIX)
		return false;
	*data += ARROW_IPC_PREFIX;
	*size -= ARROW_IPC_PREFIX;
	out->metadata = exact_copy(*data, nbytes);
	*data += nbytes;
	*size -= nbytes;
	if (arrow_ipc_read_message(out->metadata, nbytes, &out->parsed, &err) != ARROW_IPC_OK)
	{
		if (err.message[0] == '\0')
			abort();
		free(out->metadata);
		return false;
	}
	if ((uint64_t) out->parsed.body_nbytes > *size)
	{
		free(out->metadata);
		return false;
	}
	out->body = exact_copy(*data, (size_t) out->parsed.body_nbytes);
	*data += out->parsed.body_nbytes;
	*size -= (size_t) out->parsed.body_nbytes;
	return true;
}

/* Takes a batch; the body goes with it or is freed. */
static bool
take_batch(const struct ArrowSchema *schema, message *m, struct ArrowArray *out)
{
	arrow_ipc_error err = {"", ""};
	arrow_ipc_status status =
		arrow_ipc_read_batch(&m->parsed, schema, m->body, m->body, &psti_arrow_memory, out, &err);

	if (status == ARROW_IPC_OK)
		return true;
	if (err.message[0] == '\0' || out->release != NULL)
		abort();
	free(m->body);
	return false;
}

/* The message of a batch, or of the schema when array is NULL. */
static uint8_t *
write_again(const struct ArrowSchema *schema, const struct ArrowArray *array, size_t *nbytes)
{
	arrow_ipc_error err;
	size_t written;
	uint8_t *out;

	if ((array != NULL ? arrow_ipc_write_batch(schema, array, NULL, 0, nbytes, &err)
					   : arrow_ipc_write_schema(schema, NULL, 0, nbytes, &err)) != ARROW_IPC_OK)
		abort();
	out = malloc(*nbytes);
	if (out == NULL)
		abort();
	if ((array != NULL
			 ? arrow_ipc_write_batch(schema, array, out, *nbytes, &written, &err)
			 : arrow_ipc_write_schema(schema, out, *nbytes, &written, &err)) != ARROW_IPC_OK ||
		written != *nbytes)
		abort();
	return out;
}

static void
compare_schema(const struct ArrowSchema *schema)
{
	struct ArrowSchema again;
	arrow_ipc_error err;
	message m;
	size_t nbytes;
	size_t nbytes2;
	uint8_t *bytes = write_again(schema, NULL, &nbytes);
	uint8_t *bytes2;
	const uint8_t *at = bytes;
	size_t left = nbytes;

	if (!take_message(&at, &left, &m) || left != 0 ||
		arrow_ipc_read_schema(&m.parsed, &psti_arrow_memory, &again, &err) != ARROW_IPC_OK)
		abort();
	bytes2 = write_again(&again, NULL, &nbytes2);
	if (nbytes != nbytes2 || memcmp(bytes, bytes2, nbytes) != 0)
		abort();
	again.release(&again);
	free(m.metadata);
	free(bytes);
	free(bytes2);
}

static void
compare_batch(const struct ArrowSchema *schema, const struct ArrowArray *array)
{
	struct ArrowArray again;
	message m;
	size_t nbytes;
	uint8_t *bytes = write_again(schema, array, &nbytes);
	const uint8_t *at = bytes;
	size_t left = nbytes;
	pst_error err = PST_ERROR_INIT;

	if (psti_arrow_check(schema, array, &err) != PST_OK || !take_message(&at, &left, &m) ||
		left != 0 || !take_batch(schema, &m, &again) || again.length != array->length)
		abort();
	if (psti_arrow_check(schema, &again, &err) != PST_OK)
		abort();
	test_arrow_walk(schema, array, 0, array->length);
	test_arrow_walk(schema, &again, 0, again.length);
	again.release(&again);
	free(m.metadata);
	free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ArrowSchema schema;
	struct ArrowArray array;
	arrow_ipc_error err = {"", ""};
	message m;
	arrow_ipc_status status;

	if (!take_message(&data, &size, &m))
		return 0;
	status = arrow_ipc_read_schema(&m.parsed, &psti_arrow_memory, &schema, &err);
	free(m.metadata);
	free(m.body);
	if (status != ARROW_IPC_OK)
	{
		if (err.message[0] == '\0' || schema.release != NULL)
			abort();
		return 0;
	}
	compare_schema(&schema);
	while (take_message(&data, &size, &m))
	{
		if (take_batch(&schema, &m, &array))
		{
			if (test_arrow_largest(&array) <= MAX_WALKED)
				compare_batch(&schema, &array);
			array.release(&array);
		}
		free(m.metadata);
	}
	schema.release(&schema);
	return 0;
}
