/*
 * arrow_ipc_read.c - the reader: IPC stream messages to Arrow structs.
 *
 * The metadata may be anything. Each access goes through the functions of the first part, which
 * compare every position with the metadata's length and every field with its table; what is wrong
 * sets `bad` and reads as absent, so the code after it stays safe and tests once. A flatbuffer may
 * also refer to one table many times, and so blow up a small message: all memory and work for a
 * schema is charged to a budget in proportion to the message.
 */
#include "arrow_ipc.h"

#include <stdatomic.h>
#include <string.h>

#include "arrow_flat.h"

/* Bytes of structs and texts for a byte of schema message: real ones take about 3. */
#define BUDGET_FACTOR 32
#define BUDGET_BASE 65536

/* Rows of a batch: what Arrow advises. A batch without columns could claim any number. */
#define MAX_ROWS INT32_MAX

/* ---------------------------------------------------------------------------------------------
 * Flatbuffers
 */

typedef struct flat
{
	const uint8_t *data;
	size_t len;
	bool bad; /* something did not fit; sticks */
} flat;

typedef struct flat_table
{
	size_t pos;		   /* 0: there is none */
	size_t nbytes;	   /* of the table */
	size_t vtable;	   /* its position */
	size_t vtable_len; /* in bytes */
} flat_table;

static uint64_t
load(const uint8_t *at, size_t nbytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < nbytes; i++)
		value |= (uint64_t) at[i] << (8 * i);
	return value;
}

/* Whether nbytes lie at pos, which is a multiple of alignment. */
static bool
fits(flat *f, size_t pos, size_t nbytes, size_t alignment)
{
	if (pos <= f->len && nbytes <= f->len - pos && pos % alignment == 0)
		return true;
	f->bad = true;
	return false;
}

static flat_table
table_at(flat *f, size_t pos)
{
	static const flat_table none = {0, 0, 0, 0};
	flat_table table = {pos, 0, 0, 0};
	int64_t vtable;

	if (!fits(f, pos, 4, 4))
		return none;
	vtable = (int64_t) pos - (int32_t) load(f->data + pos, 4);
	if (vtable < 0 || !fits(f, (size_t) vtable, 4, 2))
	{
		f->bad = true;
		return none;
	}
	table.vtable = (size_t) vtable;
	table.vtable_len = (size_t) load(f->data + vtable, 2);
	table.nbytes = (size_t) load(f->data + vtable + 2, 2);
	if (table.vtable_len < 4 || table.vtable_len % 2 != 0 || table.nbytes < 4 ||
		!fits(f, table.vtable, table.vtable_len, 2) || !fits(f, pos, table.nbytes, 4))
	{
		f->bad = true;
		return none;
	}
	return table;
}

/* Where a field of nbytes lies; 0 when it is absent. */
static size_t
field_at(flat *f, const flat_table *table, int slot, size_t nbytes)
{
	size_t entry = 4 + 2 * (size_t) slot;
	size_t offset;

	if (table->pos == 0 || entry + 2 > table->vtable_len)
		return 0;
	offset = (size_t) load(f->data + table->vtable + entry, 2);
	if (offset == 0)
		return 0;
	if (offset < 4 || offset + nbytes > table->nbytes || (table->pos + offset) % nbytes != 0)
	{
		f->bad = true;
		return 0;
	}
	return table->pos + offset;
}

static bool
has_field(flat *f, const flat_table *table, int slot)
{
	return field_at(f, table, slot, 1) != 0;
}

/* A signed number of 1, 2, 4 or 8 bytes. */
static int64_t
number(flat *f, const flat_table *table, int slot, size_t nbytes, int64_t absent)
{
	size_t at = field_at(f, table, slot, nbytes);
	uint64_t value;

	if (at == 0)
		return absent;
	value = load(f->data + at, nbytes);
	if (nbytes < 8 && (value >> (8 * nbytes - 1)) != 0)
		value |= UINT64_MAX << (8 * nbytes);
	return (int64_t) value;
}

/* What the offset at pos refers to. */
static size_t
follow(flat *f, size_t pos)
{
	size_t offset = (size_t) load(f->data + pos, 4);

	if (offset < 4 || offset > f->len - pos)
	{
		f->bad = true;
		return 0;
	}
	return pos + offset;
}

static size_t
reference(flat *f, const flat_table *table, int slot)
{
	size_t at = field_at(f, table, slot, 4);

	return at == 0 ? 0 : follow(f, at);
}

static flat_table
table_field(flat *f, const flat_table *table, int slot)
{
	static const flat_table none = {0, 0, 0, 0};
	size_t at = reference(f, table, slot);

	return at == 0 ? none : table_at(f, at);
}

/* The first of *count elements; 0 and no elements when there is no vector. */
static size_t
vector(flat *f, const flat_table *table, int slot, size_t element, size_t alignment, size_t *count)
{
	size_t at = reference(f, table, slot);

	*count = 0;
	if (at == 0 || !fits(f, at, 4, 4))
		return 0;
	*count = (size_t) load(f->data + at, 4);
	if (*count == 0)
		alignment = 1; /* of elements that are not there: builders do not care */
	if (*count > f->len / element || !fits(f, at + 4, *count * element, alignment))
	{
		f->bad = true;
		*count = 0;
		return 0;
	}
	return at + 4;
}

/* A string, which its terminator follows; "" when there is none. */
static const char *
string(flat *f, const flat_table *table, int slot, size_t *len)
{
	size_t at = vector(f, table, slot, 1, 1, len);

	if (at == 0)
		return "";
	if (!fits(f, at + *len, 1, 1) || f->data[at + *len] != 0)
	{
		f->bad = true;
		*len = 0;
		return "";
	}
	return (const char *) f->data + at;
}

/* ---------------------------------------------------------------------------------------------
 * Messages
 */

static arrow_ipc_status
fail_malformed(arrow_ipc_error *err, const flat_place *at)
{
	return arrow_flat_fail(err, ARROW_IPC_INVALID, at, "malformed metadata");
}

arrow_ipc_status
arrow_ipc_read_prefix(const uint8_t prefix[ARROW_IPC_PREFIX], uint32_t *metadata_nbytes,
					  arrow_ipc_error *err)
{
	*metadata_nbytes = 0;
	if (memcmp(prefix, "ARROW1", 6) == 0)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL,
							   "this is an Arrow IPC file, not an Arrow IPC stream");
	if (load(prefix, 4) != FLAT_CONTINUATION)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, NULL,
							   "this is not a message of an Arrow IPC stream");
	*metadata_nbytes = (uint32_t) load(prefix + 4, 4);
	if (*metadata_nbytes > INT32_MAX)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, NULL, "a message has a negative length");
	return *metadata_nbytes == 0 ? ARROW_IPC_END : ARROW_IPC_OK;
}

static arrow_ipc_status
check_message(int64_t version, int64_t type, int64_t body_nbytes, arrow_ipc_error *err)
{
	if (version != FLAT_VERSION_V5)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL,
							   "Arrow metadata versions other than V5 are not supported");
	if (type == 2)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL,
							   "dictionary-encoded columns are not supported");
	if (type != ARROW_IPC_SCHEMA && type != ARROW_IPC_BATCH)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL,
							   "messages other than schema and record batch are not supported");
	if (body_nbytes < 0)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, NULL, "a body has a negative length");
	return ARROW_IPC_OK;
}

arrow_ipc_status
arrow_ipc_read_message(const uint8_t *metadata, size_t metadata_nbytes, arrow_ipc_message *out,
					   arrow_ipc_error *err)
{
	flat f = {metadata, metadata_nbytes, false};
	flat_table message;
	int64_t version;
	int64_t type;
	arrow_ipc_status status;

	memset(out, 0, sizeof(*out));
	if (!fits(&f, 0, 4, 4))
		return fail_malformed(err, NULL);
	message = table_at(&f, follow(&f, 0));
	version = number(&f, &message, MESSAGE_VERSION, 2, 0);
	type = number(&f, &message, MESSAGE_HEADER_TYPE, 1, 0);
	out->metadata = metadata;
	out->metadata_nbytes = metadata_nbytes;
	out->body_nbytes = number(&f, &message, MESSAGE_BODY_LENGTH, 8, 0);
	if (f.bad)
		return fail_malformed(err, NULL);
	status = check_message(version, type, out->body_nbytes, err);
	if (status != ARROW_IPC_OK)
		return status;
	out->kind = (arrow_ipc_kind) type;
	out->header = table_field(&f, &message, MESSAGE_HEADER).pos;
	if (f.bad || out->header == 0)
		return fail_malformed(err, NULL);
	return ARROW_IPC_OK;
}

/* ---------------------------------------------------------------------------------------------
 * Schema
 */

typedef struct schema_reader
{
	flat f;
	const arrow_ipc_memory *memory;
	uint64_t budget; /* bytes that may still be allocated or looked at */
	arrow_ipc_error *err;
} schema_reader;

/* Each node of a schema is one block: children can be moved out and live on. */
typedef struct schema_node
{
	arrow_ipc_memory memory;
} schema_node;

static void
release_schema(struct ArrowSchema *schema)
{
	schema_node *node = schema->private_data;
	arrow_ipc_memory memory = node->memory;

	for (int64_t i = 0; i < schema->n_children; i++)
		if (schema->children[i]->release != NULL)
			schema->children[i]->release(schema->children[i]);
	memory.free(memory.ctx, node);
	schema->release = NULL;
}

static arrow_ipc_status
charge(schema_reader *r, uint64_t nbytes, const flat_place *place)
{
	if (nbytes > r->budget)
		return arrow_flat_fail(r->err, ARROW_IPC_INVALID, place,
							   "a schema repeats itself beyond measure");
	r->budget -= nbytes;
	return ARROW_IPC_OK;
}

/* A field before it becomes an ArrowSchema; texts point into the message. */
typedef struct field_parts
{
	const char *name;
	size_t name_len;
	bool nullable;
	char format[32]; /* without the zone */
	size_t format_len;
	const char *zone;
	size_t zone_len;
	size_t children; /* first entry */
	size_t nchildren;
	size_t pairs; /* first entry of the metadata */
	size_t npairs;
	size_t metadata_nbytes; /* as a C metadata block; 0: none */
} field_parts;

/* Appends a decimal number; the widest is 11 characters, there is room for two. */
static void
append_number(field_parts *parts, int32_t value)
{
	char digits[12];
	int n = 0;
	uint32_t rest = value < 0 ? 0 - (uint32_t) value : (uint32_t) value;

	do
	{
		digits[n++] = (char) ('0' + rest % 10);
		rest /= 10;
	} while (rest != 0);
	if (value < 0)
		digits[n++] = '-';
	while (n > 0)
		parts->format[parts->format_len++] = digits[--n];
}

/* The format for the union's member and its parameters. */
static arrow_ipc_status
make_format(schema_reader *r, const flat_union *type, const int32_t params[FLAT_MAX_PARAMS],
			const flat_place *place, field_parts *parts)
{
	const flat_type *row = arrow_flat_by_params(type->type, params);

	if (row != NULL)
	{
		parts->format_len = strlen(row->format);
		memcpy(parts->format, row->format, parts->format_len);
		if (row->varies)
			append_number(parts, params[0]);
		if (row->kind == ARROW_KIND_DECIMAL)
		{
			parts->format[parts->format_len++] = ',';
			append_number(parts, params[1]);
		}
		parts->format[parts->format_len] = '\0';
	}
	if (row == NULL || (row->kind == ARROW_KIND_DECIMAL && params[2] != 128) ||
		arrow_type_parse(parts->format).kind == ARROW_KIND_UNKNOWN)
		return arrow_flat_fail_text(r->err, ARROW_IPC_UNSUPPORTED, place,
									"not a supported variant of Arrow type ", type->name);
	return ARROW_IPC_OK;
}

static arrow_ipc_status
read_type(schema_reader *r, const flat_table *field, const flat_place *place, field_parts *parts)
{
	int64_t member = number(&r->f, field, FIELD_TYPE_TYPE, 1, 0);
	const flat_union *type = arrow_flat_union((int) member);
	flat_table table = table_field(&r->f, field, FIELD_TYPE);
	int32_t params[FLAT_MAX_PARAMS] = {0, 0, 0};

	if (r->f.bad || table.pos == 0)
		return fail_malformed(r->err, place);
	if (has_field(&r->f, field, FIELD_DICTIONARY))
		return arrow_flat_fail(r->err, ARROW_IPC_UNSUPPORTED, place,
							   "dictionary-encoded columns are not supported");
	if (type == NULL || !type->known)
		return arrow_flat_fail_text(
			r->err, ARROW_IPC_UNSUPPORTED, place,
			"not a supported Arrow type: ", type != NULL ? type->name : "unknown");
	for (int i = 0; i < type->nparams; i++)
		params[i] =
			(int32_t) number(&r->f, &table, i, type->params[i].size, type->params[i].absent);
	if (type->type == FLAT_TIMESTAMP)
		parts->zone = string(&r->f, &table, 1, &parts->zone_len);
	if (r->f.bad || (parts->zone_len > 0 && memchr(parts->zone, 0, parts->zone_len) != NULL))
		return fail_malformed(r->err, place);
	return make_format(r, type, params, place, parts);
}

/* How long the C metadata block of a vector of KeyValue will be. */
static arrow_ipc_status
measure_metadata(schema_reader *r, const flat_table *table, int slot, const flat_place *place,
				 field_parts *parts)
{
	uint64_t nbytes = 4;

	parts->pairs = vector(&r->f, table, slot, 4, 4, &parts->npairs);
	for (size_t i = 0; i < parts->npairs && !r->f.bad; i++)
	{
		flat_table pair = table_at(&r->f, follow(&r->f, parts->pairs + 4 * i));
		size_t key_len;
		size_t value_len;

		string(&r->f, &pair, PAIR_KEY, &key_len);
		string(&r->f, &pair, PAIR_VALUE, &value_len);
		nbytes += 8 + (uint64_t) key_len + value_len;
		if (charge(r, 8 + (uint64_t) key_len + value_len, place) != ARROW_IPC_OK)
			return ARROW_IPC_INVALID;
	}
	if (r->f.bad)
		return fail_malformed(r->err, place);
	/* The budget is some multiple of a message below 2 GB: nbytes fits into size_t with it. */
	parts->metadata_nbytes = parts->npairs > 0 ? (size_t) nbytes : 0;
	return ARROW_IPC_OK;
}

static char *
put_native_text(char *at, const char *text, size_t len)
{
	int32_t len32 = (int32_t) len;

	memcpy(at, &len32, 4);
	memcpy(at + 4, text, len);
	return at + 4 + len;
}

static void
fill_metadata(schema_reader *r, const field_parts *parts, char *at)
{
	int32_t npairs = (int32_t) parts->npairs;

	memcpy(at, &npairs, 4);
	at += 4;
	for (size_t i = 0; i < parts->npairs; i++)
	{
		flat_table pair = table_at(&r->f, follow(&r->f, parts->pairs + 4 * i));
		size_t len;
		const char *text = string(&r->f, &pair, PAIR_KEY, &len);

		at = put_native_text(at, text, len);
		text = string(&r->f, &pair, PAIR_VALUE, &len);
		at = put_native_text(at, text, len);
	}
}

/* Makes the node with zeroed children. */
static arrow_ipc_status
make_node(schema_reader *r, const field_parts *parts, const flat_place *place,
		  struct ArrowSchema *out)
{
	uint64_t per_child = sizeof(struct ArrowSchema) + sizeof(struct ArrowSchema *);
	uint64_t size = sizeof(schema_node) + parts->nchildren * per_child + parts->format_len +
					parts->zone_len + 1 + parts->name_len + 1 + parts->metadata_nbytes;
	schema_node *node;
	struct ArrowSchema **pointers;
	struct ArrowSchema *children;
	char *text;

	if (charge(r, size - parts->metadata_nbytes, place) != ARROW_IPC_OK)
		return ARROW_IPC_INVALID;
	node = size <= SIZE_MAX ? r->memory->alloc(r->memory->ctx, (size_t) size) : NULL;
	if (node == NULL)
		return arrow_flat_fail(r->err, ARROW_IPC_NOMEM, NULL, "out of memory");
	memset(node, 0, (size_t) size);
	node->memory = *r->memory;
	pointers = (struct ArrowSchema **) (node + 1);
	children = (struct ArrowSchema *) (pointers + parts->nchildren);
	for (size_t i = 0; i < parts->nchildren; i++)
		pointers[i] = &children[i];
	text = (char *) (children + parts->nchildren);
	out->format = text;
	memcpy(text, parts->format, parts->format_len);
	text += parts->format_len;
	if (parts->zone_len > 0)
		memcpy(text, parts->zone, parts->zone_len);
	text += parts->zone_len + 1;
	out->name = text;
	memcpy(text, parts->name, parts->name_len);
	text += parts->name_len + 1;
	if (parts->metadata_nbytes > 0)
	{
		fill_metadata(r, parts, text);
		out->metadata = text;
	}
	out->flags = parts->nullable ? ARROW_FLAG_NULLABLE : 0;
	out->n_children = (int64_t) parts->nchildren;
	out->children = parts->nchildren > 0 ? pointers : NULL;
	out->release = release_schema;
	out->private_data = node;
	return ARROW_IPC_OK;
}

static arrow_ipc_status read_field(schema_reader *r, size_t pos, const flat_place *parent,
								   struct ArrowSchema *out);

/* Makes the node of parts and all below it; on failure *out is released. */
static arrow_ipc_status
make_tree(schema_reader *r, const field_parts *parts, const flat_place *place,
		  struct ArrowSchema *out)
{
	arrow_ipc_status status = make_node(r, parts, place, out);

	if (status != ARROW_IPC_OK)
		return status;
	for (size_t i = 0; i < parts->nchildren && status == ARROW_IPC_OK; i++)
	{
		size_t child = follow(&r->f, parts->children + 4 * i);

		status = r->f.bad ? fail_malformed(r->err, place)
						  : read_field(r, child, place, out->children[i]);
	}
	if (status != ARROW_IPC_OK)
		out->release(out);
	return status;
}

static arrow_ipc_status
check_children(schema_reader *r, const field_parts *parts, const flat_place *place)
{
	arrow_layout layout = arrow_type_parse(parts->format).layout;

	if (layout == ARROW_LAYOUT_STRUCT || parts->nchildren == (layout == ARROW_LAYOUT_LIST ? 1 : 0))
		return ARROW_IPC_OK;
	return arrow_flat_fail(r->err, ARROW_IPC_INVALID, place, "wrong number of child fields");
}

static arrow_ipc_status
read_field(schema_reader *r, size_t pos, const flat_place *parent, struct ArrowSchema *out)
{
	flat_table field = table_at(&r->f, pos);
	field_parts parts = {0};
	flat_place place = {parent, NULL, 0, parent->depth + 1};
	arrow_ipc_status status;

	place.name = parts.name = string(&r->f, &field, FIELD_NAME, &parts.name_len);
	place.name_len = parts.name_len;
	parts.nullable = number(&r->f, &field, FIELD_NULLABLE, 1, 0) != 0;
	parts.children = vector(&r->f, &field, FIELD_CHILDREN, 4, 4, &parts.nchildren);
	if (r->f.bad)
		return fail_malformed(r->err, parent);
	if (memchr(parts.name, 0, parts.name_len) != NULL)
		return arrow_flat_fail(r->err, ARROW_IPC_INVALID, parent, "a column's name holds a NUL");
	if (place.depth > ARROW_IPC_MAX_DEPTH)
		return arrow_flat_fail(r->err, ARROW_IPC_UNSUPPORTED, &place,
							   "columns are nested too deep");
	status = read_type(r, &field, &place, &parts);
	if (status == ARROW_IPC_OK)
		status = check_children(r, &parts, &place);
	if (status == ARROW_IPC_OK)
		status = measure_metadata(r, &field, FIELD_METADATA, &place, &parts);
	if (status == ARROW_IPC_OK)
		status = make_tree(r, &parts, &place, out);
	return status;
}

arrow_ipc_status
arrow_ipc_read_schema(const arrow_ipc_message *message, const arrow_ipc_memory *memory,
					  struct ArrowSchema *out, arrow_ipc_error *err)
{
	static const flat_place top = {NULL, NULL, 0, 0};
	schema_reader r = {{message->metadata, message->metadata_nbytes, false},
					   memory,
					   (uint64_t) message->metadata_nbytes * BUDGET_FACTOR + BUDGET_BASE,
					   err};
	field_parts parts = {.name = "", .format = "+s", .format_len = 2};
	flat_table schema;
	arrow_ipc_status status;

	memset(out, 0, sizeof(*out));
	if (message->kind != ARROW_IPC_SCHEMA)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, NULL, "the stream begins without a schema");
	schema = table_at(&r.f, message->header);
	if (number(&r.f, &schema, SCHEMA_ENDIANNESS, 2, 0) != 0 || !arrow_flat_little_endian())
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL,
							   "big-endian data is not supported");
	parts.children = vector(&r.f, &schema, SCHEMA_FIELDS, 4, 4, &parts.nchildren);
	status = measure_metadata(&r, &schema, SCHEMA_METADATA, &top, &parts);
	if (status == ARROW_IPC_OK)
		status = make_tree(&r, &parts, &top, out);
	return status;
}

/* ---------------------------------------------------------------------------------------------
 * Record batch
 */

/* The body, shared by all nodes of its array: the last one to be released frees it. */
typedef struct shared_body
{
	atomic_size_t owners;
	arrow_ipc_memory memory;
	void *block;			/* NULL: stays with the reader's caller */
	const uint8_t *message; /* in block; NULL: its parts lie apart, or it miscounts NULLs */
	size_t message_nbytes;
} shared_body;

typedef struct array_node
{
	shared_body *body;
	/* As they were read: */
	const struct array_node *parent; /* NULL: of the rows */
	int64_t place;					 /* among the parent's children */
	int64_t nchildren;
	int64_t length;
	const void *buffers[3];
} array_node;

typedef struct batch_reader
{
	flat f;
	size_t node; /* the next FieldNode and how many are left; the same for Buffer */
	size_t nnodes;
	size_t buffer;
	size_t nbuffers;
	const uint8_t *body;
	uint64_t body_nbytes;
	shared_body *shared;
	arrow_ipc_error *err;
} batch_reader;

/* Where empty buffers point to, and the only offset of an empty array that came without. */
static const _Alignas(ARROW_IPC_ALIGNMENT) uint8_t zeros[ARROW_IPC_ALIGNMENT];

static void
drop_body(shared_body *body)
{
	arrow_ipc_memory memory = body->memory;

	if (atomic_fetch_sub(&body->owners, 1) != 1)
		return;
	if (body->block != NULL)
		memory.free(memory.ctx, body->block);
	memory.free(memory.ctx, body);
}

static void
release_array(struct ArrowArray *array)
{
	array_node *node = array->private_data;
	shared_body *body = node->body;

	for (int64_t i = 0; i < array->n_children; i++)
		if (array->children[i]->release != NULL)
			array->children[i]->release(array->children[i]);
	body->memory.free(body->memory.ctx, node);
	array->release = NULL;
	drop_body(body);
}

/* An array of these counts with zeroed children, which holds the body. */
static arrow_ipc_status
make_array(batch_reader *r, int64_t length, int nbuffers, int64_t nchildren, struct ArrowArray *out)
{
	uint64_t per_child = sizeof(struct ArrowArray) + sizeof(struct ArrowArray *);
	const arrow_ipc_memory *memory = &r->shared->memory;
	uint64_t size;
	array_node *node = NULL;
	struct ArrowArray **pointers;
	struct ArrowArray *children;

	if ((uint64_t) nchildren <= UINT32_MAX)
	{
		size = sizeof(*node) + (uint64_t) nchildren * per_child;
		if (size <= SIZE_MAX)
			node = memory->alloc(memory->ctx, (size_t) size);
	}
	if (node == NULL)
		return arrow_flat_fail(r->err, ARROW_IPC_NOMEM, NULL, "out of memory");
	memset(node, 0, (size_t) size);
	pointers = (struct ArrowArray **) (node + 1);
	children = (struct ArrowArray *) (pointers + nchildren);
	for (int64_t i = 0; i < nchildren; i++)
		pointers[i] = &children[i];
	node->body = r->shared;
	atomic_fetch_add(&r->shared->owners, 1);
	node->nchildren = nchildren;
	node->length = length;
	out->length = length;
	out->n_buffers = nbuffers;
	out->buffers = node->buffers;
	out->n_children = nchildren;
	out->children = nchildren > 0 ? pointers : NULL;
	out->release = release_array;
	out->private_data = node;
	return ARROW_IPC_OK;
}

static arrow_ipc_status
fail_batch(batch_reader *r, const flat_place *place, const char *message)
{
	return arrow_flat_fail(r->err, ARROW_IPC_INVALID, place, message);
}

/*
 * The next FieldNode. Lengths are such that no size computed from them passes int64; where rows take
 * no bytes of the body that could vouch for them, they are limited as a batch is.
 */
static arrow_ipc_status
take_node(batch_reader *r, const arrow_type *type, const flat_place *place, int64_t *length,
		  int64_t *nulls)
{
	int64_t max = INT64_MAX / (type->width > 8 ? type->width : 8) - 1;

	if (type->width == 0 && type->layout != ARROW_LAYOUT_BITS)
		max = MAX_ROWS;
	if (r->nnodes == 0)
		return fail_batch(r, place, "the batch has fewer columns than its schema");
	*length = (int64_t) load(r->f.data + r->node, 8);
	*nulls = (int64_t) load(r->f.data + r->node + 8, 8);
	r->node += 16;
	r->nnodes--;
	if (*length < 0 || *length > max || *nulls < 0 || *nulls > *length)
		return fail_batch(r, place, "impossible number of rows or NULLs");
	return ARROW_IPC_OK;
}

/* The next Buffer, which must have at least `needed` bytes. */
static arrow_ipc_status
take_buffer(batch_reader *r, uint64_t needed, const flat_place *place, const uint8_t **out,
			uint64_t *nbytes)
{
	uint64_t offset;

	*out = zeros;
	*nbytes = 0;
	if (r->nbuffers == 0)
		return fail_batch(r, place, "the batch has fewer buffers than its schema");
	offset = load(r->f.data + r->buffer, 8);
	*nbytes = load(r->f.data + r->buffer + 8, 8);
	r->buffer += 16;
	r->nbuffers--;
	if (offset > r->body_nbytes || *nbytes > r->body_nbytes - offset)
		return fail_batch(r, place, "a buffer lies outside the body");
	if (*nbytes < needed)
		return fail_batch(r, place, "a buffer is too short for the number of rows");
	if (*nbytes > 0 && offset % 8 != 0)
		return fail_batch(r, place, "a buffer is not aligned to 8 bytes");
	if (*nbytes > 0)
		*out = r->body + offset;
	return ARROW_IPC_OK;
}

/* The validity buffer: left out where nothing is NULL, its count is made ours. */
static arrow_ipc_status
take_validity(batch_reader *r, int64_t nulls, const flat_place *place, struct ArrowArray *out)
{
	uint64_t needed = nulls > 0 ? ((uint64_t) out->length + 7) / 8 : 0;
	const uint8_t *bits;
	uint64_t nbytes;
	arrow_ipc_status status = take_buffer(r, needed, place, &bits, &nbytes);

	if (status != ARROW_IPC_OK || nulls == 0)
		return status;
	out->null_count = out->length - arrow_bits_count(bits, 0, out->length);
	if (out->null_count != nulls)
		r->shared->message = NULL;
	if (out->null_count > 0)
		out->buffers[0] = bits;
	return ARROW_IPC_OK;
}

/* Offsets that never go back, from one that is not negative; both loops vectorise. */
static bool
ascending32(const int32_t *offsets, int64_t length)
{
	bool bad = offsets[0] < 0;

	for (int64_t i = 0; i < length; i++)
		bad |= offsets[i + 1] < offsets[i];
	return !bad;
}

static bool
ascending64(const int64_t *offsets, int64_t length)
{
	bool bad = offsets[0] < 0;

	for (int64_t i = 0; i < length; i++)
		bad |= offsets[i + 1] < offsets[i];
	return !bad;
}

/* The offsets of a text or list array; *last is the greatest of them. */
static arrow_ipc_status
take_offsets(batch_reader *r, int32_t width, const flat_place *place, struct ArrowArray *out,
			 uint64_t *last)
{
	int64_t length = out->length;
	uint64_t needed = length > 0 ? ((uint64_t) length + 1) * (uint64_t) width : 0;
	const uint8_t *offsets;
	uint64_t nbytes;
	arrow_ipc_status status = take_buffer(r, needed, place, &offsets, &nbytes);

	if (status != ARROW_IPC_OK)
		return status;
	if (nbytes < (uint64_t) width)
		offsets = zeros;
	out->buffers[1] = offsets;
	if (width == 4 ? !ascending32((const void *) offsets, length)
				   : !ascending64((const void *) offsets, length))
		return fail_batch(r, place, "offsets are negative or go back");
	*last = load(offsets + (uint64_t) length * (uint64_t) width, (size_t) width);
	return ARROW_IPC_OK;
}

/* The buffers after the validity. *last: how many bytes or child rows the offsets need. */
static arrow_ipc_status
take_values(batch_reader *r, const arrow_type *type, const flat_place *place,
			struct ArrowArray *out, uint64_t *last)
{
	uint64_t length = (uint64_t) out->length;
	const uint8_t *data = NULL;
	uint64_t nbytes;
	arrow_ipc_status status = ARROW_IPC_OK;

	switch (type->layout)
	{
		case ARROW_LAYOUT_BITS:
			status = take_buffer(r, (length + 7) / 8, place, &data, &nbytes);
			out->buffers[1] = data;
			break;
		case ARROW_LAYOUT_FIXED:
			status = take_buffer(r, length * (uint64_t) type->width, place, &data, &nbytes);
			out->buffers[1] = data;
			break;
		case ARROW_LAYOUT_VAR:
			status = take_offsets(r, type->width, place, out, last);
			if (status == ARROW_IPC_OK)
				status = take_buffer(r, *last, place, &data, &nbytes);
			out->buffers[2] = data;
			break;
		case ARROW_LAYOUT_LIST:
			status = take_offsets(r, type->width, place, out, last);
			break;
		case ARROW_LAYOUT_NULL:
		case ARROW_LAYOUT_STRUCT:
			break;
	}
	return status;
}

/* A schema from elsewhere than our reader may still be one that cannot be read. */
static arrow_ipc_status
check_known(batch_reader *r, const struct ArrowSchema *schema, const arrow_type *type,
			const flat_place *place)
{
	if (type->kind == ARROW_KIND_UNKNOWN || schema->dictionary != NULL)
		return arrow_flat_fail(r->err, ARROW_IPC_UNSUPPORTED, place,
							   "the schema's type is not supported");
	if (place->depth > ARROW_IPC_MAX_DEPTH)
		return arrow_flat_fail(r->err, ARROW_IPC_UNSUPPORTED, place, "columns are nested too deep");
	if (schema->n_children < 0 || (type->layout == ARROW_LAYOUT_LIST && schema->n_children != 1) ||
		(type->layout != ARROW_LAYOUT_LIST && type->layout != ARROW_LAYOUT_STRUCT &&
		 schema->n_children != 0))
		return fail_batch(r, place, "wrong number of child fields");
	return ARROW_IPC_OK;
}

static arrow_ipc_status read_array(batch_reader *r, const struct ArrowSchema *schema,
								   const flat_place *place, struct ArrowArray *out);

/* Children have at least `rows` rows; those of a batch (exact) no more. */
static arrow_ipc_status
read_children(batch_reader *r, const struct ArrowSchema *schema, const flat_place *place,
			  uint64_t rows, bool exact, struct ArrowArray *out)
{
	for (int64_t i = 0; i < schema->n_children; i++)
	{
		const struct ArrowSchema *child = schema->children[i];
		const char *name = child->name != NULL ? child->name : "";
		flat_place at = {place, name, strlen(name), place->depth + 1};
		arrow_ipc_status status = read_array(r, child, &at, out->children[i]);
		uint64_t length = (uint64_t) out->children[i]->length;
		array_node *node = out->children[i]->private_data;

		if (status != ARROW_IPC_OK)
			return status;
		node->parent = out->private_data;
		node->place = i;
		if (length < rows || (exact && length != rows))
			return fail_batch(r, &at, "wrong number of rows");
	}
	return ARROW_IPC_OK;
}

static arrow_ipc_status
read_array(batch_reader *r, const struct ArrowSchema *schema, const flat_place *place,
		   struct ArrowArray *out)
{
	arrow_type type = arrow_type_parse(schema->format);
	int64_t length = 0;
	int64_t nulls = 0;
	uint64_t rows;
	arrow_ipc_status status;

	status = check_known(r, schema, &type, place);
	if (status == ARROW_IPC_OK)
		status = take_node(r, &type, place, &length, &nulls);
	if (status == ARROW_IPC_OK)
		status = make_array(r, length, arrow_layout_buffers(type.layout), schema->n_children, out);
	if (status != ARROW_IPC_OK)
		return status;
	rows = (uint64_t) length;
	if (type.layout == ARROW_LAYOUT_NULL)
		out->null_count = length;
	else
		status = take_validity(r, nulls, place, out);
	if (status == ARROW_IPC_OK)
		status = take_values(r, &type, place, out, &rows);
	if (status == ARROW_IPC_OK)
		status = read_children(r, schema, place, rows, false, out);
	return status;
}

/* The table RecordBatch; *length is the number of rows. */
static arrow_ipc_status
open_batch(batch_reader *r, const arrow_ipc_message *message, int64_t *length)
{
	flat_table batch;

	if (message->kind != ARROW_IPC_BATCH)
		return arrow_flat_fail(r->err, ARROW_IPC_INVALID, NULL,
							   "a second schema in the middle of the stream");
	batch = table_at(&r->f, message->header);
	*length = number(&r->f, &batch, BATCH_LENGTH, 8, 0);
	r->node = vector(&r->f, &batch, BATCH_NODES, 16, 8, &r->nnodes);
	r->buffer = vector(&r->f, &batch, BATCH_BUFFERS, 16, 8, &r->nbuffers);
	if (has_field(&r->f, &batch, BATCH_COMPRESSION))
		return arrow_flat_fail(r->err, ARROW_IPC_UNSUPPORTED, NULL,
							   "compressed record batches are not supported");
	if (r->f.bad || *length < 0)
		return fail_malformed(r->err, NULL);
	if (*length > MAX_ROWS)
		return arrow_flat_fail(r->err, ARROW_IPC_UNSUPPORTED, NULL,
							   "more than 2147483647 rows in one batch");
	return ARROW_IPC_OK;
}

static arrow_ipc_status
fill_batch(batch_reader *r, const struct ArrowSchema *schema, int64_t length,
		   struct ArrowArray *out)
{
	static const flat_place top = {NULL, NULL, 0, 0};
	arrow_type type = arrow_type_parse(schema->format);
	arrow_ipc_status status;

	if (type.kind != ARROW_KIND_STRUCT)
		return fail_batch(r, NULL, "rows must be a struct");
	status = check_known(r, schema, &type, &top);
	if (status == ARROW_IPC_OK)
		status = make_array(r, length, 1, schema->n_children, out);
	if (status == ARROW_IPC_OK)
		status = read_children(r, schema, &top, (uint64_t) length, true, out);
	if (status == ARROW_IPC_OK && (r->nnodes != 0 || r->nbuffers != 0))
		return fail_batch(r, NULL, "the batch has more columns or buffers than its schema");
	return status;
}

arrow_ipc_status
arrow_ipc_read_batch(const arrow_ipc_message *message, const struct ArrowSchema *schema,
					 const uint8_t *body, void *block, const arrow_ipc_memory *memory,
					 struct ArrowArray *out, arrow_ipc_error *err)
{
	batch_reader r = {.f = {message->metadata, message->metadata_nbytes, false},
					  .body = body,
					  .body_nbytes = (uint64_t) message->body_nbytes,
					  .err = err};
	int64_t length = 0;
	arrow_ipc_status status;

	memset(out, 0, sizeof(*out));
	status = open_batch(&r, message, &length);
	if (status != ARROW_IPC_OK)
		return status;
	r.shared = memory->alloc(memory->ctx, sizeof(*r.shared));
	if (r.shared == NULL)
		return arrow_flat_fail(err, ARROW_IPC_NOMEM, NULL, "out of memory");
	atomic_init(&r.shared->owners, 1);
	r.shared->memory = *memory;
	r.shared->block = NULL;
	r.shared->message = NULL;
	/* Compared as numbers: they may belong to different blocks. */
	if ((uintptr_t) message->metadata + message->metadata_nbytes == (uintptr_t) body &&
		(uintptr_t) message->metadata >= (uintptr_t) block + ARROW_IPC_PREFIX)
	{
		r.shared->message = message->metadata - ARROW_IPC_PREFIX;
		r.shared->message_nbytes =
			ARROW_IPC_PREFIX + message->metadata_nbytes + (size_t) message->body_nbytes;
	}
	status = fill_batch(&r, schema, length, out);
	if (status == ARROW_IPC_OK)
		r.shared->block = block;
	else if (out->release != NULL)
		out->release(out);
	drop_body(r.shared);
	return status;
}

/* Whether an array, and all below it, is what was read of this body, and where it was. */
static bool
is_untouched(const struct ArrowArray *array, const shared_body *body, const array_node *parent,
			 int64_t place)
{
	const array_node *node = array->private_data;

	if (array->release != release_array || node->body != body || node->parent != parent ||
		node->place != place || array->n_children != node->nchildren ||
		array->length != node->length || array->offset != 0)
		return false;
	for (int64_t i = 0; i < array->n_children; i++)
		if (!is_untouched(array->children[i], body, node, i))
			return false;
	return true;
}

const uint8_t *
arrow_ipc_message_of(const struct ArrowArray *array, size_t *nbytes)
{
	const shared_body *body;

	*nbytes = 0;
	if (array->release != release_array)
		return NULL;
	body = ((const array_node *) array->private_data)->body;
	if (body->message == NULL || !is_untouched(array, body, NULL, 0))
		return NULL;
	*nbytes = body->message_nbytes;
	return body->message;
}
