/*
 * arrow_build.c - Arrow structs whose memory is malloc'd.
 *
 * Each node is one block: its private part, its children's pointers and structs, its texts or
 * buffer slots. A child's own memory is never in its parent's block, because the C Data Interface
 * lets a consumer move a child out and release the parent.
 */
#include "arrow_build.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64 /* of a schema that is copied: a cycle must not overflow the stack */

typedef struct schema_private
{
	char *metadata;					/* owned; also schema->metadata */
	struct ArrowSchema *dictionary; /* owned; also schema->dictionary */
} schema_private;

static void
schema_release(struct ArrowSchema *schema)
{
	schema_private *own = schema->private_data;

	for (int64_t i = 0; i < schema->n_children; i++)
		psti_schema_release(schema->children[i]);
	psti_schema_release(own->dictionary);
	free(own->dictionary);
	free(own->metadata);
	free(own);
	schema->release = NULL;
}

/* head + nchildren pointers and structs of struct_size + tail; false on overflow. */
static bool
block_size(size_t head, int64_t nchildren, size_t struct_size, size_t tail, size_t *out)
{
	size_t children;

	if (nchildren < 0 || (uint64_t) nchildren > SIZE_MAX ||
		!psti_size_mul((size_t) nchildren, struct_size + sizeof(void *), &children) ||
		children > SIZE_MAX - head || tail > SIZE_MAX - head - children)
		return false;
	*out = head + children + tail;
	return true;
}

pst_status
psti_schema_init(struct ArrowSchema *schema, const char *format, const char *name, bool nullable,
				 int64_t nchildren, pst_error *err)
{
	size_t format_size = strlen(format) + 1;
	size_t name_size = strlen(name) + 1;
	size_t size;
	schema_private *own;
	struct ArrowSchema **pointers;
	struct ArrowSchema *children;
	char *text;

	memset(schema, 0, sizeof(*schema));
	if (nchildren < 0)
		return psti_fail(err, PST_ERR_INVALID, "a schema cannot have %lld children",
						 (long long) nchildren);
	if (!block_size(sizeof(*own), nchildren, sizeof(*children), format_size + name_size, &size))
		return psti_fail_nomem(err);
	own = calloc(1, size);
	if (own == NULL)
		return psti_fail_nomem(err);
	pointers = (struct ArrowSchema **) (own + 1);
	children = (struct ArrowSchema *) (pointers + nchildren);
	text = (char *) (children + nchildren);
	for (int64_t i = 0; i < nchildren; i++)
		pointers[i] = &children[i];
	schema->format = memcpy(text, format, format_size);
	schema->name = memcpy(text + format_size, name, name_size);
	schema->flags = nullable ? ARROW_FLAG_NULLABLE : 0;
	schema->n_children = nchildren;
	schema->children = nchildren > 0 ? pointers : NULL;
	schema->release = schema_release;
	schema->private_data = own;
	return PST_OK;
}

/* Metadata: int32 pairs, then per pair int32 length, key, int32 length, value; native order. */
static char *
put_text(char *at, const char *text, size_t len)
{
	int32_t len32 = (int32_t) len;

	memcpy(at, &len32, 4);
	memcpy(at + 4, text, len);
	return at + 4 + len;
}

pst_status
psti_schema_metadata(struct ArrowSchema *schema, size_t npairs, const char *const *keys,
					 const char *const *values, pst_error *err)
{
	schema_private *own = schema->private_data;
	size_t size = 4;
	char *block = NULL;
	char *at;
	int32_t npairs32;

	for (size_t i = 0; i < npairs; i++)
	{
		size_t key = strlen(keys[i]);
		size_t value = strlen(values[i]);

		if (key > INT32_MAX || value > INT32_MAX || npairs > INT32_MAX ||
			size > SIZE_MAX - key - value - 8)
			return psti_fail(err, PST_ERR_INVALID, "metadata of field \"%s\" is too long",
							 schema->name);
		size += 8 + key + value;
	}
	if (npairs > 0)
	{
		block = malloc(size);
		if (block == NULL)
			return psti_fail_nomem(err);
		npairs32 = (int32_t) npairs;
		memcpy(block, &npairs32, 4);
		at = block + 4;
		for (size_t i = 0; i < npairs; i++)
		{
			at = put_text(at, keys[i], strlen(keys[i]));
			at = put_text(at, values[i], strlen(values[i]));
		}
	}
	free(own->metadata);
	own->metadata = block;
	schema->metadata = block;
	return PST_OK;
}

/* A length-prefixed text at *at, which moves behind it; false when the length is negative. */
static bool
get_text(const char **at, const char **text, size_t *len)
{
	int32_t len32;

	memcpy(&len32, *at, 4);
	if (len32 < 0)
		return false;
	*text = *at + 4;
	*len = (size_t) len32;
	*at += 4 + *len;
	return true;
}

const char *
psti_schema_metadata_get(const struct ArrowSchema *schema, const char *key, size_t *nbytes)
{
	const char *at = schema->metadata;
	size_t key_len = strlen(key);
	int32_t npairs;

	*nbytes = 0;
	if (at == NULL)
		return NULL;
	memcpy(&npairs, at, 4);
	at += 4;
	for (int32_t i = 0; i < npairs; i++)
	{
		const char *name;
		const char *value;
		size_t name_len;
		size_t value_len;

		if (!get_text(&at, &name, &name_len) || !get_text(&at, &value, &value_len))
			return NULL;
		if (name_len == key_len && memcmp(name, key, key_len) == 0)
		{
			*nbytes = value_len;
			return value;
		}
	}
	return NULL;
}

/* Bytes that a metadata block has; 0 when it is none. */
static size_t
metadata_size(const char *metadata)
{
	const char *at = metadata;
	int32_t npairs;

	if (metadata == NULL)
		return 0;
	memcpy(&npairs, at, 4);
	at += 4;
	for (int64_t i = 0; i < 2 * (int64_t) npairs; i++)
	{
		const char *text;
		size_t len;

		if (!get_text(&at, &text, &len))
			return 0;
	}
	return npairs > 0 ? (size_t) (at - metadata) : 0;
}

static pst_status schema_copy(const struct ArrowSchema *from, struct ArrowSchema *to, int depth,
							  pst_error *err);

/* What psti_schema_init leaves open: flags, metadata, children, dictionary. */
static pst_status
schema_copy_rest(const struct ArrowSchema *from, struct ArrowSchema *to, int depth, pst_error *err)
{
	schema_private *own = to->private_data;
	size_t nbytes = metadata_size(from->metadata);
	pst_status status = PST_OK;

	to->flags = from->flags;
	if (nbytes > 0)
	{
		own->metadata = malloc(nbytes);
		if (own->metadata == NULL)
			return psti_fail_nomem(err);
		to->metadata = memcpy(own->metadata, from->metadata, nbytes);
	}
	for (int64_t i = 0; i < from->n_children && status == PST_OK; i++)
		status = schema_copy(from->children[i], to->children[i], depth + 1, err);
	if (status == PST_OK && from->dictionary != NULL)
	{
		own->dictionary = calloc(1, sizeof(*own->dictionary));
		if (own->dictionary == NULL)
			return psti_fail_nomem(err);
		to->dictionary = own->dictionary;
		status = schema_copy(from->dictionary, own->dictionary, depth + 1, err);
	}
	return status;
}

static pst_status
schema_copy(const struct ArrowSchema *from, struct ArrowSchema *to, int depth, pst_error *err)
{
	pst_status status;

	memset(to, 0, sizeof(*to));
	if (from == NULL || from->release == NULL || from->format == NULL)
		return psti_fail(err, PST_ERR_INVALID, "an Arrow schema was already released");
	if (depth > MAX_DEPTH)
		return psti_fail(err, PST_ERR_INVALID, "an Arrow schema is nested deeper than %d levels",
						 MAX_DEPTH);
	status = psti_schema_init(to, from->format, from->name != NULL ? from->name : "", false,
							  from->n_children, err);
	if (status == PST_OK)
		status = schema_copy_rest(from, to, depth, err);
	if (status != PST_OK)
		psti_schema_release(to);
	return status;
}

pst_status
psti_schema_copy(const struct ArrowSchema *from, struct ArrowSchema *to, pst_error *err)
{
	return schema_copy(from, to, 0, err);
}

void
psti_schema_release(struct ArrowSchema *schema)
{
	if (schema != NULL && schema->release != NULL)
		schema->release(schema);
}

void
psti_array_release(struct ArrowArray *array)
{
	if (array != NULL && array->release != NULL)
		array->release(array);
}

static void
array_release(struct ArrowArray *array)
{
	for (int64_t i = 0; i < array->n_children; i++)
		psti_array_release(array->children[i]);
	for (int64_t i = 0; i < array->n_buffers; i++)
		free((void *) (uintptr_t) array->buffers[i]);
	free(array->private_data);
	array->release = NULL;
}

pst_status
psti_array_init(struct ArrowArray *array, int64_t length, int nbuffers, int64_t nchildren,
				pst_error *err)
{
	size_t size;
	void **block;
	struct ArrowArray **pointers;
	struct ArrowArray *children;

	memset(array, 0, sizeof(*array));
	if (length < 0 || nbuffers < 0 || nbuffers > 3 || nchildren < 0)
		return psti_fail(err, PST_ERR_INVALID,
						 "an array cannot have length %lld, %d buffers and %lld children",
						 (long long) length, nbuffers, (long long) nchildren);
	/* One slot more than asked for: the block is then never empty, private_data never NULL. */
	if (!block_size(((size_t) nbuffers + 1) * sizeof(void *), nchildren, sizeof(*children), 0,
					&size))
		return psti_fail_nomem(err);
	block = calloc(1, size);
	if (block == NULL)
		return psti_fail_nomem(err);
	pointers = (struct ArrowArray **) (void *) (block + nbuffers + 1);
	children = (struct ArrowArray *) (pointers + nchildren);
	for (int64_t i = 0; i < nchildren; i++)
		pointers[i] = &children[i];
	array->length = length;
	array->n_buffers = nbuffers;
	array->buffers = (const void **) block;
	array->n_children = nchildren;
	array->children = nchildren > 0 ? pointers : NULL;
	array->release = array_release;
	array->private_data = block;
	return PST_OK;
}

void
psti_array_buffer(struct ArrowArray *array, int slot, void *memory)
{
	free((void *) (uintptr_t) array->buffers[slot]);
	array->buffers[slot] = memory;
	/* A bitmap without a count would be taken for "no NULLs": unknown, until the caller says. */
	if (slot == 0 && memory != NULL && array->null_count == 0)
		array->null_count = -1;
}

/* ---- Memory for the reader of Arrow IPC ---- */

static void *
memory_alloc(void *ctx, size_t nbytes)
{
	(void) ctx;
	return malloc(nbytes);
}

static void
memory_free(void *ctx, void *block)
{
	(void) ctx;
	free(block);
}

const arrow_ipc_memory psti_arrow_memory = {memory_alloc, memory_free, NULL};
