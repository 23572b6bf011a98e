/*
 * arrow_ipc.c - the writer: Arrow structs to IPC stream messages.
 *
 * A flatbuffer is written front to back: a table's vtable stands right before it and everything it
 * refers to behind it, because offsets point forward only. Measuring and writing are the same code:
 * without memory only the position moves, so the two cannot disagree. All positions are counted
 * from the beginning of the message; the metadata begins at 8, so alignment is the same.
 */
#include "arrow_ipc.h"

#include <string.h>

#include "arrow_flat.h"

typedef struct sink
{
	uint8_t *out; /* NULL: only measure */
	size_t capacity;
	size_t pos;
	bool overflow; /* a size passed SIZE_MAX */
} sink;

/* The next nbytes: where to write them, or NULL when they are only counted. */
static uint8_t *
room(sink *s, uint64_t nbytes)
{
	size_t at = s->pos;

	if (nbytes > SIZE_MAX - at)
	{
		s->overflow = true;
		return NULL;
	}
	s->pos += (size_t) nbytes;
	return s->out != NULL && s->pos <= s->capacity ? s->out + at : NULL;
}

static void
put_bytes(sink *s, const void *data, uint64_t nbytes)
{
	uint8_t *at = room(s, nbytes);

	if (at != NULL && nbytes > 0)
		memcpy(at, data, (size_t) nbytes);
}

static void
put_zeros(sink *s, size_t nbytes)
{
	uint8_t *at = room(s, nbytes);

	if (at != NULL)
		memset(at, 0, nbytes);
}

static void
put_padding(sink *s, size_t from, size_t alignment)
{
	put_zeros(s, (alignment - (s->pos - from) % alignment) % alignment);
}

/* value's low nbytes bytes, little-endian. */
static void
store(uint8_t *at, uint64_t value, int nbytes)
{
	for (int i = 0; i < nbytes; i++)
		at[i] = (uint8_t) (value >> (8 * i));
}

static void
put_int(sink *s, uint64_t value, int nbytes)
{
	uint8_t *at = room(s, (uint64_t) nbytes);

	if (at != NULL)
		store(at, value, nbytes);
}

/* Fills in what was not known when its place was passed. */
static void
set_int(sink *s, size_t at, uint64_t value, int nbytes)
{
	if (s->out != NULL && at + (size_t) nbytes <= s->capacity)
		store(s->out + at, value, nbytes);
}

/* Makes the offset field at `field` point to the present position. */
static void
set_offset(sink *s, size_t field)
{
	set_int(s, field, s->pos - field, 4);
}

/*
 * A vtable, which is in bytes: its own size, the table's size, then for each slot where in the table
 * the field lies, 0 for an absent one. The table follows it at a multiple of `alignment`, begun with
 * the distance back to the vtable. Returns the table's position.
 */
static size_t
put_vtable(sink *s, const uint16_t *vtable, size_t alignment)
{
	size_t nbytes = vtable[0];

	put_zeros(s, (alignment - (s->pos + nbytes) % alignment) % alignment);
	for (size_t i = 0; i < nbytes / 2; i++)
		put_int(s, vtable[i], 2);
	put_int(s, nbytes, 4);
	return s->pos - 4;
}

static void
put_string(sink *s, const char *text, size_t len)
{
	put_int(s, len, 4);
	put_bytes(s, text, len);
	put_zeros(s, 1);
	put_padding(s, 0, 4);
}

/*
 * The prefix and the table Message: offset +4 header, +8 body length, +16 version, +18 header type.
 * Returns the table's position; the header's table is to follow right behind.
 */
static size_t
put_message(sink *s, arrow_ipc_kind kind)
{
	static const uint16_t vtable[] = {12, 20, 16, 18, 4, 8};
	size_t root;
	size_t table;

	put_int(s, FLAT_CONTINUATION, 4);
	put_int(s, 0, 4); /* metadata length: end_metadata */
	root = s->pos;
	put_int(s, 0, 4);
	table = put_vtable(s, vtable, 8);
	set_int(s, root, table - root, 4);
	put_int(s, 0, 4); /* header */
	put_int(s, 0, 8); /* body length */
	put_int(s, FLAT_VERSION_V5, 2);
	put_int(s, (uint64_t) kind, 1);
	put_zeros(s, 1);
	return table;
}

/* The metadata ends here. */
static arrow_ipc_status
end_metadata(sink *s, arrow_ipc_error *err)
{
	put_padding(s, 0, 8);
	if (s->overflow || s->pos - ARROW_IPC_PREFIX > INT32_MAX - 7)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL,
							   "the metadata of a message would pass 2 GB");
	set_int(s, 4, s->pos - ARROW_IPC_PREFIX, 4);
	return ARROW_IPC_OK;
}

/* The message ends here: whether it had room. */
static arrow_ipc_status
end_message(const sink *s, size_t *nbytes, arrow_ipc_error *err)
{
	if (s->overflow)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, NULL, "a message is larger than memory");
	if (s->out != NULL && s->pos > s->capacity)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, NULL, "a message does not fit its memory");
	*nbytes = s->pos;
	return ARROW_IPC_OK;
}

/* ---------------------------------------------------------------------------------------------
 * Schema
 */

/* An int32 of a C metadata block, which is in native order. */
static int32_t
native_int32(const char **at)
{
	int32_t value;

	memcpy(&value, *at, 4);
	*at += 4;
	return value;
}

/* One text of a C metadata block as a string that the offset field refers to. */
static arrow_ipc_status
put_metadata_text(sink *s, size_t field, const char **at, const flat_place *place,
				  arrow_ipc_error *err)
{
	int32_t len = native_int32(at);

	if (len < 0)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, place, "metadata has a negative length");
	set_offset(s, field);
	put_string(s, *at, (size_t) len);
	*at += len;
	return ARROW_IPC_OK;
}

/* A C metadata block as a vector of KeyValue tables (+4 key, +8 value). */
static arrow_ipc_status
put_metadata(sink *s, size_t field, const char *metadata, const flat_place *place,
			 arrow_ipc_error *err)
{
	static const uint16_t vtable[] = {8, 12, 4, 8};
	const char *at = metadata;
	int32_t npairs = native_int32(&at);
	size_t entries;
	arrow_ipc_status status = ARROW_IPC_OK;

	if (npairs < 0)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, place, "metadata has a negative length");
	set_offset(s, field);
	put_int(s, (uint64_t) npairs, 4);
	entries = s->pos;
	put_zeros(s, (size_t) npairs * 4);
	for (int32_t i = 0; i < npairs && status == ARROW_IPC_OK; i++)
	{
		size_t entry = entries + (size_t) i * 4;
		size_t table = put_vtable(s, vtable, 4);

		set_int(s, entry, table - entry, 4);
		put_zeros(s, 8);
		status = put_metadata_text(s, table + 4, &at, place, err);
		if (status == ARROW_IPC_OK)
			status = put_metadata_text(s, table + 8, &at, place, err);
	}
	return status;
}

/* A member of the union Type: every parameter takes four bytes, whatever its size is. */
static void
put_type(sink *s, size_t field, const arrow_type *type, const flat_type *flat)
{
	uint16_t vtable[2 + FLAT_MAX_PARAMS] = {4, 4, 4, 8, 12};
	int32_t params[FLAT_MAX_PARAMS];
	bool zone = type->zone != NULL && type->zone[0] != '\0';
	uint16_t nslots = arrow_flat_union(flat->type)->nparams;
	size_t table;

	memcpy(params, flat->params, sizeof(params));
	if (type->kind == ARROW_KIND_DECIMAL)
	{
		params[0] = type->precision;
		params[1] = type->scale;
	}
	else if (type->kind == ARROW_KIND_FIXED_BINARY)
		params[0] = type->width;
	if (zone)
		nslots = 2;
	vtable[0] = (uint16_t) (4 + 2 * nslots);
	vtable[1] = (uint16_t) (4 + 4 * nslots);
	table = put_vtable(s, vtable, 4);
	set_int(s, field, table - field, 4);
	for (uint16_t i = 0; i < nslots; i++)
		put_int(s, (uint32_t) params[i], 4);
	if (zone)
	{
		set_offset(s, table + 8);
		put_string(s, type->zone, strlen(type->zone));
	}
}

static arrow_ipc_status put_fields(sink *s, size_t field, const struct ArrowSchema *schema,
								   const flat_place *place, arrow_ipc_error *err);

/* What the writer can write: a known format with the children that it has. */
static arrow_ipc_status
check_schema(const struct ArrowSchema *schema, const arrow_type *type, const flat_place *place,
			 arrow_ipc_error *err)
{
	if (place->depth > ARROW_IPC_MAX_DEPTH)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, place, "columns are nested too deep");
	if (schema->dictionary != NULL)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, place,
							   "dictionary-encoded columns are not supported");
	if (type->kind == ARROW_KIND_UNKNOWN)
	{
		char name[ARROW_TYPE_NAME];

		return arrow_flat_fail_text(
			err, ARROW_IPC_UNSUPPORTED, place,
			"not a supported Arrow type: ", arrow_type_name(schema->format, name));
	}
	if (schema->n_children < 0 || (schema->n_children > 0 && schema->children == NULL) ||
		(type->layout == ARROW_LAYOUT_LIST && schema->n_children != 1) ||
		(type->layout != ARROW_LAYOUT_LIST && type->layout != ARROW_LAYOUT_STRUCT &&
		 schema->n_children != 0))
		return arrow_flat_fail(err, ARROW_IPC_INVALID, place, "wrong number of child fields");
	return ARROW_IPC_OK;
}

/*
 * The table Field: +4 name, +8 type, +12 children, +16 nullable, +17 type's member, +20 metadata.
 */
static arrow_ipc_status
put_field(sink *s, size_t entry, const struct ArrowSchema *schema, const flat_place *place,
		  arrow_ipc_error *err)
{
	static const uint16_t with_metadata[] = {18, 24, 4, 16, 17, 8, 0, 12, 20};
	static const uint16_t without[] = {18, 20, 4, 16, 17, 8, 0, 12, 0};
	arrow_type type = arrow_type_parse(schema->format);
	const flat_type *flat;
	arrow_ipc_status status;
	size_t table;

	status = check_schema(schema, &type, place, err);
	if (status != ARROW_IPC_OK)
		return status;
	flat = arrow_flat_by_format(&type);
	table = put_vtable(s, schema->metadata != NULL ? with_metadata : without, 4);
	set_int(s, entry, table - entry, 4);
	put_zeros(s, 12);
	put_int(s, (schema->flags & ARROW_FLAG_NULLABLE) != 0, 1);
	put_int(s, flat->type, 1);
	put_zeros(s, schema->metadata != NULL ? 6 : 2);
	set_offset(s, table + 4);
	put_string(s, place->name, place->name_len);
	put_type(s, table + 8, &type, flat);
	status = put_fields(s, table + 12, schema, place, err);
	if (status == ARROW_IPC_OK && schema->metadata != NULL)
		status = put_metadata(s, table + 20, schema->metadata, place, err);
	return status;
}

/* A name may be missing in the C struct; in the message it never is. */
static flat_place
child_place(const flat_place *parent, const struct ArrowSchema *child)
{
	const char *name = child->name != NULL ? child->name : "";
	flat_place place = {parent, name, strlen(name), parent->depth + 1};

	return place;
}

/* The children of a schema as a vector of Field tables. */
static arrow_ipc_status
put_fields(sink *s, size_t field, const struct ArrowSchema *schema, const flat_place *place,
		   arrow_ipc_error *err)
{
	size_t entries;
	arrow_ipc_status status = ARROW_IPC_OK;

	if (schema->n_children > INT32_MAX / 4)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, place, "too many columns");
	set_offset(s, field);
	put_int(s, (uint64_t) schema->n_children, 4);
	entries = s->pos;
	put_zeros(s, (size_t) schema->n_children * 4);
	for (int64_t i = 0; i < schema->n_children && status == ARROW_IPC_OK; i++)
	{
		flat_place child;

		if (schema->children[i] == NULL || schema->children[i]->release == NULL)
			return arrow_flat_fail(err, ARROW_IPC_INVALID, place, "a child field was released");
		child = child_place(place, schema->children[i]);
		status = put_field(s, entries + (size_t) i * 4, schema->children[i], &child, err);
	}
	return status;
}

static arrow_ipc_status
check_rows(const struct ArrowSchema *schema, const flat_place *place, arrow_ipc_error *err)
{
	arrow_type type = arrow_type_parse(schema->format);

	if (!arrow_flat_little_endian())
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL,
							   "big-endian machines are not supported");
	if (type.kind != ARROW_KIND_STRUCT)
		return arrow_flat_fail(err, ARROW_IPC_INVALID, NULL, "rows must be a struct");
	return check_schema(schema, &type, place, err);
}

/* The table Schema: +4 fields, +8 metadata; endianness stays at its default, little. */
arrow_ipc_status
arrow_ipc_write_schema(const struct ArrowSchema *schema, uint8_t *out, size_t capacity,
					   size_t *nbytes, arrow_ipc_error *err)
{
	static const uint16_t with_metadata[] = {10, 12, 0, 4, 8};
	static const uint16_t without[] = {10, 8, 0, 4, 0};
	static const flat_place top = {NULL, NULL, 0, 0};
	sink s = {out, capacity, 0, false};
	bool metadata = schema->metadata != NULL;
	arrow_ipc_status status;
	size_t message;
	size_t table;

	*nbytes = 0;
	status = check_rows(schema, &top, err);
	if (status != ARROW_IPC_OK)
		return status;
	message = put_message(&s, ARROW_IPC_SCHEMA);
	table = put_vtable(&s, metadata ? with_metadata : without, 4);
	set_int(&s, message + 4, table - (message + 4), 4);
	put_zeros(&s, metadata ? 8 : 4);
	status = put_fields(&s, table + 4, schema, &top, err);
	if (status == ARROW_IPC_OK && metadata)
		status = put_metadata(&s, table + 8, schema->metadata, &top, err);
	if (status == ARROW_IPC_OK)
		status = end_metadata(&s, err);
	if (status == ARROW_IPC_OK)
		status = end_message(&s, nbytes, err);
	return status;
}

/* ---------------------------------------------------------------------------------------------
 * Record batch
 */

typedef struct batch_sink
{
	sink s;
	size_t node;   /* where the next FieldNode goes */
	size_t buffer; /* where the next Buffer goes */
	size_t body;   /* where the body begins */
	arrow_ipc_error *err;
} batch_sink;

/* How many nodes and buffers a schema's arrays have. */
static arrow_ipc_status
count_parts(const struct ArrowSchema *schema, const flat_place *place, uint64_t *nodes,
			uint64_t *buffers, arrow_ipc_error *err)
{
	arrow_ipc_status status = ARROW_IPC_OK;

	for (int64_t i = 0; i < schema->n_children && status == ARROW_IPC_OK; i++)
	{
		const struct ArrowSchema *child = schema->children[i];
		flat_place at;
		arrow_type type;

		if (child == NULL || child->release == NULL)
			return arrow_flat_fail(err, ARROW_IPC_INVALID, place, "a child field was released");
		at = child_place(place, child);
		type = arrow_type_parse(child->format);
		status = check_schema(child, &type, &at, err);
		if (status != ARROW_IPC_OK)
			break;
		*nodes += 1;
		*buffers += (uint64_t) arrow_layout_buffers(type.layout);
		status = count_parts(child, &at, nodes, buffers, err);
	}
	return status;
}

/* A body buffer begins: its place is a multiple of 64 from the body's beginning. */
static size_t
begin_buffer(batch_sink *b)
{
	put_padding(&b->s, b->body, ARROW_IPC_ALIGNMENT);
	return b->s.pos;
}

static void
end_buffer(batch_sink *b, size_t begin)
{
	set_int(&b->s, b->buffer, begin - b->body, 8);
	set_int(&b->s, b->buffer + 8, b->s.pos - begin, 8);
	b->buffer += 16;
}

/* nbits bits from bit `from` on, moved down to bit 0; the rest of the last byte is zero. */
static void
copy_bits(uint8_t *to, const uint8_t *bits, int64_t from, int64_t nbits)
{
	const uint8_t *source = bits + (from >> 3);
	int shift = (int) (from & 7);
	size_t nbytes = (size_t) ((nbits + 7) >> 3);
	size_t available = (size_t) ((shift + nbits + 7) >> 3);

	if (shift == 0)
		memcpy(to, source, nbytes);
	else
		for (size_t i = 0; i < nbytes; i++)
		{
			unsigned low = (unsigned) source[i] >> shift;
			unsigned high = i + 1 < available ? (unsigned) source[i + 1] << (8 - shift) : 0;

			to[i] = (uint8_t) (low | high);
		}
	if ((nbits & 7) != 0)
		to[nbytes - 1] = (uint8_t) (to[nbytes - 1] & ((1u << (nbits & 7)) - 1));
}

static void
put_bits(batch_sink *b, const uint8_t *bits, int64_t from, int64_t nbits)
{
	size_t begin = begin_buffer(b);
	uint8_t *to = room(&b->s, ((uint64_t) nbits + 7) >> 3);

	if (to != NULL && nbits > 0)
		copy_bits(to, bits, from, nbits);
	end_buffer(b, begin);
}

static int64_t
count_nulls(const struct ArrowArray *array, int64_t start, int64_t length)
{
	const uint8_t *valid = array->buffers[0];

	if (valid == NULL || array->null_count == 0)
		return 0;
	if (array->null_count > 0 && start == 0 && length == array->length)
		return array->null_count;
	return length - arrow_bits_count(valid, array->offset + start, length);
}

/* FieldNode and, unless the layout has none, the validity buffer: empty without NULLs. */
static void
put_node(batch_sink *b, const arrow_type *type, const struct ArrowArray *array, int64_t start,
		 int64_t length)
{
	int64_t nulls = length;

	if (type->layout != ARROW_LAYOUT_NULL)
	{
		nulls = count_nulls(array, start, length);
		put_bits(b, array->buffers[0], array->offset + start, nulls > 0 ? length : 0);
	}
	set_int(&b->s, b->node, (uint64_t) length, 8);
	set_int(&b->s, b->node + 8, (uint64_t) nulls, 8);
	b->node += 16;
}

static int64_t
offset_at(const void *offsets, int32_t width, int64_t i)
{
	return width == 4 ? ((const int32_t *) offsets)[i] : ((const int64_t *) offsets)[i];
}

/* length + 1 offsets, less the first of them; *first and *last are what they were. */
static arrow_ipc_status
put_offsets(batch_sink *b, const arrow_type *type, const struct ArrowArray *array, int64_t start,
			int64_t length, const flat_place *place, int64_t *first, int64_t *last)
{
	static const int64_t zero[1] = {0};
	int64_t from = array->offset + start;
	const void *offsets = array->buffers[1];
	uint64_t nbytes = ((uint64_t) length + 1) * (uint64_t) type->width;
	size_t begin = begin_buffer(b);
	uint8_t *to = room(&b->s, nbytes);

	if (length == 0)
	{
		offsets = zero; /* an empty array may have no offsets at all */
		from = 0;
	}
	*first = offset_at(offsets, type->width, from);
	*last = offset_at(offsets, type->width, from + length);
	if (*first < 0 || *last < *first)
		return arrow_flat_fail(b->err, ARROW_IPC_INVALID, place, "offsets go back");
	if (to != NULL && *first == 0)
		memcpy(to, (const char *) offsets + from * type->width, (size_t) nbytes);
	else if (to != NULL && type->width == 4)
		for (int64_t i = 0; i <= length; i++)
		{
			int32_t value = ((const int32_t *) offsets)[from + i] - (int32_t) *first;

			memcpy(to + i * 4, &value, 4);
		}
	else if (to != NULL)
		for (int64_t i = 0; i <= length; i++)
		{
			int64_t value = ((const int64_t *) offsets)[from + i] - *first;

			memcpy(to + i * 8, &value, 8);
		}
	end_buffer(b, begin);
	return ARROW_IPC_OK;
}

static void
put_data(batch_sink *b, const void *data, int64_t from, uint64_t nbytes)
{
	size_t begin = begin_buffer(b);

	put_bytes(&b->s, nbytes > 0 ? (const char *) data + from : NULL, nbytes);
	end_buffer(b, begin);
}

static arrow_ipc_status
check_array(const batch_sink *b, const struct ArrowSchema *schema, const arrow_type *type,
			const struct ArrowArray *array, int64_t end, const flat_place *place)
{
	int64_t max = INT64_MAX / (type->width > 8 ? type->width : 8) - 1;

	if (array->length < 0 || array->offset < 0 || array->offset > max ||
		array->length > max - array->offset || end > array->length)
		return arrow_flat_fail(b->err, ARROW_IPC_INVALID, place, "the array is too short");
	if (array->n_buffers != arrow_layout_buffers(type->layout) ||
		(array->n_buffers > 0 && array->buffers == NULL))
		return arrow_flat_fail(b->err, ARROW_IPC_INVALID, place, "wrong number of buffers");
	if (array->n_children != schema->n_children ||
		(array->n_children > 0 && array->children == NULL))
		return arrow_flat_fail(b->err, ARROW_IPC_INVALID, place, "wrong number of child arrays");
	return ARROW_IPC_OK;
}

/* The rows [start, start + length) of an array, counted without its offset. */
static arrow_ipc_status
put_array(batch_sink *b, const struct ArrowSchema *schema, const struct ArrowArray *array,
		  int64_t start, int64_t length, const flat_place *place)
{
	arrow_type type = arrow_type_parse(schema->format);
	arrow_ipc_status status;
	int64_t first = array->offset + start;
	int64_t last;

	status = check_array(b, schema, &type, array, start + length, place);
	if (status != ARROW_IPC_OK)
		return status;
	put_node(b, &type, array, start, length);
	switch (type.layout)
	{
		case ARROW_LAYOUT_NULL:
			break;
		case ARROW_LAYOUT_BITS:
			put_bits(b, array->buffers[1], first, length);
			break;
		case ARROW_LAYOUT_FIXED:
			put_data(b, array->buffers[1], first * type.width,
					 (uint64_t) length * (uint64_t) type.width);
			break;
		case ARROW_LAYOUT_VAR:
			status = put_offsets(b, &type, array, start, length, place, &first, &last);
			if (status == ARROW_IPC_OK)
				put_data(b, array->buffers[2], first, (uint64_t) (last - first));
			return status;
		case ARROW_LAYOUT_LIST:
			status = put_offsets(b, &type, array, start, length, place, &first, &last);
			length = status == ARROW_IPC_OK ? last - first : 0;
			break;
		case ARROW_LAYOUT_STRUCT:
			break;
	}
	for (int64_t i = 0; i < schema->n_children && status == ARROW_IPC_OK; i++)
	{
		flat_place child = child_place(place, schema->children[i]);

		status = put_array(b, schema->children[i], array->children[i], first, length, &child);
	}
	return status;
}

/* The table RecordBatch: +4 nodes, +8 length, +16 buffers; then the two vectors. */
static arrow_ipc_status
put_batch_metadata(batch_sink *b, int64_t length, uint64_t nodes, uint64_t buffers, size_t *message)
{
	static const uint16_t vtable[] = {10, 20, 8, 4, 16};
	sink *s = &b->s;
	size_t table;

	*message = put_message(s, ARROW_IPC_BATCH);
	table = put_vtable(s, vtable, 8);
	set_int(s, *message + 4, table - (*message + 4), 4);
	put_int(s, 0, 4);
	put_int(s, (uint64_t) length, 8);
	put_int(s, 0, 4);
	/* Both vectors hold pairs of int64: their counts lie four bytes before a multiple of 8. */
	set_offset(s, table + 4);
	put_int(s, nodes, 4);
	b->node = s->pos;
	put_zeros(s, (size_t) nodes * 16);
	put_zeros(s, 4);
	set_offset(s, table + 16);
	put_int(s, buffers, 4);
	b->buffer = s->pos;
	put_zeros(s, (size_t) buffers * 16);
	return end_metadata(s, b->err);
}

/* Whether the rows themselves are there: a record batch has no validity of its own. */
static arrow_ipc_status
check_batch(const batch_sink *b, const struct ArrowSchema *schema, const struct ArrowArray *array,
			const flat_place *top)
{
	arrow_type type = arrow_type_parse(schema->format);
	arrow_ipc_status status = check_array(b, schema, &type, array, array->length, top);

	if (status == ARROW_IPC_OK && count_nulls(array, 0, array->length) > 0)
		return arrow_flat_fail(b->err, ARROW_IPC_INVALID, top, "a whole row is NULL");
	return status;
}

arrow_ipc_status
arrow_ipc_write_batch(const struct ArrowSchema *schema, const struct ArrowArray *array,
					  uint8_t *out, size_t capacity, size_t *nbytes, arrow_ipc_error *err)
{
	static const flat_place top = {NULL, NULL, 0, 0};
	batch_sink b = {{out, capacity, 0, false}, 0, 0, 0, err};
	uint64_t nodes = 0;
	uint64_t buffers = 0;
	size_t message;
	arrow_ipc_status status;

	*nbytes = 0;
	status = check_rows(schema, &top, err);
	if (status == ARROW_IPC_OK)
		status = count_parts(schema, &top, &nodes, &buffers, err);
	if (status == ARROW_IPC_OK)
		status = check_batch(&b, schema, array, &top);
	if (status == ARROW_IPC_OK && nodes + buffers > INT32_MAX / 16 - 8)
		return arrow_flat_fail(err, ARROW_IPC_UNSUPPORTED, NULL, "too many columns");
	if (status == ARROW_IPC_OK)
		status = put_batch_metadata(&b, array->length, nodes, buffers, &message);
	if (status != ARROW_IPC_OK)
		return status;
	b.body = b.s.pos;
	for (int64_t i = 0; i < schema->n_children && status == ARROW_IPC_OK; i++)
	{
		flat_place child = child_place(&top, schema->children[i]);

		status = put_array(&b, schema->children[i], array->children[i], array->offset,
						   array->length, &child);
	}
	if (status != ARROW_IPC_OK)
		return status;
	put_padding(&b.s, b.body, ARROW_IPC_ALIGNMENT);
	set_int(&b.s, message + 8, b.s.pos - b.body, 8);
	return end_message(&b.s, nbytes, err);
}

void
arrow_ipc_write_end(uint8_t out[ARROW_IPC_PREFIX])
{
	store(out, FLAT_CONTINUATION, ARROW_IPC_PREFIX);
}
