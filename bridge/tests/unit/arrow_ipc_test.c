/*
 * arrow_ipc_test.c - the IPC reader and writer by themselves: golden bytes of both, and bytes that
 * nobody honest sends. live/test_arrow_ipc.py holds the same streams against pyarrow.
 */
#include "test.h"

#include "alloc.h"
#include "arrow_build.h"
#include "arrow_ipc.h"
#include "arrow_walk.h"
#include "golden.h"

static uint64_t walked; /* keeps test_arrow_walk from being left out */

/* A buffer to write to; grows by exact steps so that ASan sees a byte too many. */
typedef struct output
{
	uint8_t *data;
	size_t len;
} output;

/*
 * Where in a stream the reader is, and what it found. The metadata and the body are copied into
 * blocks of exactly their size.
 */
typedef struct stream
{
	const uint8_t *data;
	size_t len;
	size_t pos;
	struct ArrowSchema schema;
	output *out; /* NULL: read only */
	arrow_ipc_error err;
} stream;

static uint8_t *
exact_copy(const uint8_t *data, size_t len)
{
	void *copy = NULL;

	if (len == 0)
		return NULL;
	/* Not malloc: it is watched for leaks and made to fail, which is meant for the reader only. */
	assert_int_equal(posix_memalign(&copy, ARROW_IPC_ALIGNMENT, len), 0);
	return memcpy(copy, data, len);
}

static void
append(output *out, const struct ArrowSchema *schema, const struct ArrowArray *array)
{
	arrow_ipc_error err;
	size_t nbytes;
	size_t again;
	uint8_t *data;

	if (array != NULL)
		assert_int_equal(arrow_ipc_write_batch(schema, array, NULL, 0, &nbytes, &err), 0);
	else
		assert_int_equal(arrow_ipc_write_schema(schema, NULL, 0, &nbytes, &err), 0);
	data = realloc(out->data, out->len + nbytes);
	assert_non_null(data);
	out->data = data;
	data += out->len;
	if (array != NULL)
		assert_int_equal(arrow_ipc_write_batch(schema, array, data, nbytes, &again, &err), 0);
	else
		assert_int_equal(arrow_ipc_write_schema(schema, data, nbytes, &again, &err), 0);
	assert_int_equal(nbytes, again);
	assert_int_equal(nbytes % 8, 0);
	out->len += nbytes;
}

static arrow_ipc_status
take_batch(stream *s, const arrow_ipc_message *message)
{
	uint8_t *body;
	struct ArrowArray array;
	arrow_ipc_status status;

	if ((uint64_t) message->body_nbytes > s->len - s->pos)
		return ARROW_IPC_INVALID;
	body = exact_copy(s->data + s->pos, (size_t) message->body_nbytes);
	s->pos += (size_t) message->body_nbytes;
	status =
		arrow_ipc_read_batch(message, &s->schema, body, body, &psti_arrow_memory, &array, &s->err);
	if (status != ARROW_IPC_OK)
	{
		assert_true(array.release == NULL);
		free(body);
		return status;
	}
	/* A batch of one NULL column may claim two thousand million rows: they are not all walked. */
	if (array.length <= 4096)
		walked += test_arrow_walk(&s->schema, &array, 0, array.length);
	if (s->out != NULL)
		append(s->out, &s->schema, &array);
	array.release(&array);
	return ARROW_IPC_OK;
}

static arrow_ipc_status
take_message(stream *s)
{
	uint32_t nbytes;
	uint8_t *metadata;
	arrow_ipc_message message;
	arrow_ipc_status status;

	if (s->len - s->pos < ARROW_IPC_PREFIX)
		return ARROW_IPC_INVALID;
	status = arrow_ipc_read_prefix(s->data + s->pos, &nbytes, &s->err);
	s->pos += ARROW_IPC_PREFIX;
	if (status != ARROW_IPC_OK)
		return status;
	if (nbytes > s->len - s->pos)
		return ARROW_IPC_INVALID;
	metadata = exact_copy(s->data + s->pos, nbytes);
	s->pos += nbytes;
	status = arrow_ipc_read_message(metadata, nbytes, &message, &s->err);
	if (status == ARROW_IPC_OK && s->schema.release == NULL)
	{
		status = arrow_ipc_read_schema(&message, &psti_arrow_memory, &s->schema, &s->err);
		if (status == ARROW_IPC_OK && s->out != NULL)
			append(s->out, &s->schema, NULL);
	}
	else if (status == ARROW_IPC_OK)
		status = take_batch(s, &message);
	free(metadata);
	return status;
}

/* Reads a whole stream; ARROW_IPC_END when it is good. */
static arrow_ipc_status
take_stream(const uint8_t *data, size_t len, output *out, arrow_ipc_error *err)
{
	stream s = {.data = data, .len = len, .out = out};
	arrow_ipc_status status;

	do
		status = take_message(&s);
	while (status == ARROW_IPC_OK);
	if (s.schema.release != NULL)
		s.schema.release(&s.schema);
	if (err != NULL)
		*err = s.err;
	return status;
}

/* ---------------------------------------------------------------------------------------------
 * Golden bytes
 */

static void
expect_written_again(const golden_file *file)
{
	golden_file want;
	char name[64];
	output out = {NULL, 0};
	uint8_t end[ARROW_IPC_PREFIX];

	snprintf(name, sizeof(name), "%s", file->name);
	strcpy(strrchr(name, '.'), ".penstock");
	assert_true(golden_read(name, &want));
	assert_int_equal(take_stream(file->data, file->len, &out, NULL), ARROW_IPC_END);
	arrow_ipc_write_end(end);
	if (out.len + sizeof(end) != want.len || memcmp(out.data, want.data, out.len) != 0 ||
		memcmp(want.data + out.len, end, sizeof(end)) != 0)
		fail_msg("%s does not become %s", file->name, name);
	free(out.data);
}

static void
golden_streams_of_both_writers_become_ours(void **state)
{
	(void) state;
	golden_each("", expect_written_again);
}

static void
expect_truncation_fails(const golden_file *file)
{
	for (size_t len = 0; len < file->len; len++)
		if (take_stream(file->data, len, NULL, NULL) >= 0)
			fail_msg("%s, cut at %zu, is accepted", file->name, len);
}

static void
streams_cut_at_any_byte_are_refused(void **state)
{
	(void) state;
	golden_each("", expect_truncation_fails);
}

static void
flip_every_byte(const golden_file *file)
{
	static const uint8_t flips[] = {0xFF, 0x01, 0x80, 0x10};
	golden_file copy = *file;

	for (size_t i = 0; i < file->len; i++)
		for (size_t f = 0; f < sizeof(flips); f++)
		{
			copy.data[i] = file->data[i] ^ flips[f];
			take_stream(copy.data, copy.len, NULL, NULL);
			copy.data[i] = file->data[i];
		}
}

static void
any_flipped_byte_is_survived(void **state)
{
	(void) state;
	golden_each("", flip_every_byte);
}

/* ---------------------------------------------------------------------------------------------
 * Numbers that lie
 */

typedef struct lie
{
	const char *file; /* of one column c, .penstock */
	bool schema;	  /* in the schema message, else in the batch */
	size_t offset;	  /* in the message */
	int nbytes;
	uint64_t value;
	arrow_ipc_status status;
	const char *message;
	const char *column;
} lie;

/* docs/wire.md has the offsets: 64 rows of the batch, 80 nodes, behind them 8 and the buffers. */
static const lie lies[] = {
	{"int32", false, 0, 4, 0, ARROW_IPC_INVALID, "not a message of an Arrow IPC stream", ""},
	{"int32", false, 4, 4, 0x80000000, ARROW_IPC_INVALID, "a message has a negative length", ""},
	{"int32", false, 8, 4, 4000, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 8, 4, 0, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 8, 4, 17, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 24, 4, 0x7FFFFFFF, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 24, 4, 0x80000000, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 12, 2, 3, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 12, 2, 13, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", true, 117, 1, 1, ARROW_IPC_INVALID, "malformed metadata", ""}, /* no terminator */
	{"int32", true, 116, 1, 0, ARROW_IPC_INVALID, "a column's name holds a NUL", ""},
	{"int32", false, 12, 2, 0xFFFE, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 14, 2, 0xFFFF, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 16, 2, 1, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 32, 8, UINT64_MAX, ARROW_IPC_INVALID, "a body has a negative length", ""},
	{"int32", false, 40, 2, 3, ARROW_IPC_UNSUPPORTED, "metadata versions other than V5", ""},
	{"int32", false, 40, 2, 5, ARROW_IPC_UNSUPPORTED, "metadata versions other than V5", ""},
	{"int32", false, 42, 1, 2, ARROW_IPC_UNSUPPORTED, "dictionary-encoded columns", ""},
	{"int32", false, 42, 1, 4, ARROW_IPC_UNSUPPORTED, "other than schema and record batch", ""},
	{"int32", false, 42, 1, 1, ARROW_IPC_INVALID, "a second schema", ""},
	{"int32", true, 42, 1, 3, ARROW_IPC_INVALID, "begins without a schema", ""},
	{"int32", false, 64, 8, UINT64_MAX, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 64, 8, UINT64_C(1) << 31, ARROW_IPC_UNSUPPORTED, "more than 2147483647", ""},
	{"int32", false, 64, 8, 3, ARROW_IPC_INVALID, "wrong number of rows", "c"},
	{"int32", false, 76, 4, 0, ARROW_IPC_INVALID, "fewer columns than its schema", "c"},
	{"int32", false, 76, 4, 2, ARROW_IPC_INVALID, "more columns or buffers", ""},
	{"int32", false, 76, 4, 0x0FFFFFFF, ARROW_IPC_INVALID, "malformed metadata", ""},
	{"int32", false, 80, 8, UINT64_MAX, ARROW_IPC_INVALID, "impossible number of rows", "c"},
	{"int32", false, 80, 8, INT64_MAX, ARROW_IPC_INVALID, "impossible number of rows", "c"},
	{"int32", false, 80, 8, 1000, ARROW_IPC_INVALID, "too short for the number of rows", "c"},
	{"int32", false, 88, 8, 5, ARROW_IPC_INVALID, "impossible number of rows", "c"},
	{"int32", false, 88, 8, UINT64_MAX, ARROW_IPC_INVALID, "impossible number of rows", "c"},
	{"int32", false, 100, 4, 1, ARROW_IPC_INVALID, "fewer buffers than its schema", "c"},
	{"int32", false, 112, 8, 0, ARROW_IPC_INVALID, "too short for the number of rows", "c"},
	{"int32", false, 120, 8, UINT64_MAX, ARROW_IPC_INVALID, "a buffer lies outside", "c"},
	{"int32", false, 120, 8, 120, ARROW_IPC_INVALID, "a buffer lies outside", "c"},
	{"int32", false, 120, 8, 60, ARROW_IPC_INVALID, "a buffer is not aligned", "c"},
	{"int32", false, 128, 8, UINT64_MAX, ARROW_IPC_INVALID, "a buffer lies outside", "c"},
	{"int32", false, 128, 8, 15, ARROW_IPC_INVALID, "too short for the number of rows", "c"},
	/* Offsets of utf8: the body begins at 152, its second buffer at 216. */
	{"utf8", false, 216, 4, 1, ARROW_IPC_INVALID, "negative or go back", "c"},
	{"utf8", false, 216, 4, 0xFFFFFFFF, ARROW_IPC_INVALID, "negative or go back", "c"},
	{"utf8", false, 224, 4, 100, ARROW_IPC_INVALID, "negative or go back", "c"},
	{"utf8", false, 240, 4, 1000, ARROW_IPC_INVALID, "too short", "c"},
	/* A list's last offset: nodes 2, buffers 4: the body at 184, its second buffer at 248. */
	{"list", false, 264, 4, 1000, ARROW_IPC_INVALID, "wrong number of rows", "c.item"},
	{"large_list", false, 296, 8, UINT64_C(1) << 40, ARROW_IPC_INVALID, "wrong number of",
	 "c.item"},
};

static void
set_bytes(uint8_t *at, uint64_t value, int nbytes)
{
	for (int i = 0; i < nbytes; i++)
		at[i] = (uint8_t) (value >> (8 * i));
}

static size_t
message_end(const uint8_t *data)
{
	uint32_t metadata;

	memcpy(&metadata, data + 4, 4);
	return ARROW_IPC_PREFIX + metadata;
}

static void
numbers_that_lie_are_refused_by_name(void **state)
{
	(void) state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
	{
		const lie *l = &lies[i];
		golden_file file;
		char name[64];
		arrow_ipc_error err = {"", ""};
		arrow_ipc_status status;

		snprintf(name, sizeof(name), "%s.penstock", l->file);
		assert_true(golden_read(name, &file));
		set_bytes(file.data + (l->schema ? 0 : message_end(file.data)) + l->offset, l->value,
				  l->nbytes);
		status = take_stream(file.data, file.len, NULL, &err);
		if (status != l->status || strstr(err.message, l->message) == NULL ||
			strcmp(err.column, l->column) != 0)
			fail_msg("%s at %zu: status %d, \"%s\", column \"%s\"", l->file, l->offset, status,
					 err.message, err.column);
	}
}

/* ---------------------------------------------------------------------------------------------
 * Schemas that repeat or nest themselves
 */

/* A schema message whose fields each refer twice to the field of the next level. */
typedef struct nest
{
	uint8_t data[16384];
	size_t len;
} nest;

static void
put16(nest *n, uint16_t value)
{
	set_bytes(n->data + n->len, value, 2);
	n->len += 2;
}

static void
put32(nest *n, uint64_t value)
{
	set_bytes(n->data + n->len, value, 4);
	n->len += 4;
}

static void
put_table16(nest *n, const uint16_t *vtable)
{
	for (size_t i = 0; i < (size_t) vtable[0] / 2; i++)
		put16(n, vtable[i]);
}

/* Tables Message and Schema, up to the count of the vector of fields. */
static void
begin_nest(nest *n)
{
	memset(n, 0, sizeof(*n));
	put32(n, 16);
	put_table16(n, (const uint16_t[]){12, 20, 16, 18, 4, 8});
	put32(n, 12);
	put32(n, 28); /* header: the table at 48 */
	put32(n, 0);
	put32(n, 0);
	put16(n, 4); /* V5 */
	put16(n, ARROW_IPC_SCHEMA);
	put16(n, 0);
	put_table16(n, (const uint16_t[]){10, 8, 0, 4, 0});
	put32(n, 10);
	put32(n, 4);
}

/* Each level is one Field of type Struct without name, metadata or nullability. */
static void
make_nest(nest *n, int levels, int fan_out)
{
	begin_nest(n);
	for (int level = 0; level < levels; level++)
	{
		size_t entries = n->len + 4;
		size_t table;

		put32(n, (uint64_t) fan_out);
		n->len += 4 * (size_t) fan_out + 2;
		put_table16(n, (const uint16_t[]){18, 16, 0, 0, 12, 4, 0, 8, 0});
		table = n->len;
		for (int i = 0; i < fan_out; i++)
			set_bytes(n->data + entries + 4 * i, table - entries - 4 * (size_t) i, 4);
		put32(n, 18);
		put32(n, 16); /* type: the table at + 20 */
		put32(n, 16); /* children: at + 24 */
		put32(n, 13); /* Struct */
		put_table16(n, (const uint16_t[]){4, 4});
		put32(n, 4);
	}
	put32(n, 0);
	n->len = (n->len + 7) & ~(size_t) 7;
}

static arrow_ipc_status
read_nest(const nest *n, arrow_ipc_error *err)
{
	arrow_ipc_message message;
	struct ArrowSchema schema;
	arrow_ipc_status status = arrow_ipc_read_message(n->data, n->len, &message, err);

	assert_int_equal(status, ARROW_IPC_OK);
	status = arrow_ipc_read_schema(&message, &psti_arrow_memory, &schema, err);
	if (status == ARROW_IPC_OK)
		schema.release(&schema);
	return status;
}

static void
a_schema_that_repeats_itself_costs_no_more_than_its_bytes(void **state)
{
	nest n;
	arrow_ipc_error err;

	(void) state;
	make_nest(&n, 5, 2);
	assert_int_equal(read_nest(&n, &err), ARROW_IPC_OK);
	make_nest(&n, 60, 2); /* 2^61 columns in four kilobytes */
	assert_int_equal(read_nest(&n, &err), ARROW_IPC_INVALID);
	assert_contains(err.message, "repeats itself");
}

static void
nesting_is_bounded(void **state)
{
	nest n;
	arrow_ipc_error err;

	(void) state;
	make_nest(&n, ARROW_IPC_MAX_DEPTH, 1);
	assert_int_equal(read_nest(&n, &err), ARROW_IPC_OK);
	make_nest(&n, ARROW_IPC_MAX_DEPTH + 1, 1);
	assert_int_equal(read_nest(&n, &err), ARROW_IPC_UNSUPPORTED);
	assert_contains(err.message, "nested too deep");
}

/* ---------------------------------------------------------------------------------------------
 * Ownership and memory
 */

/* Reads the schema and the first batch of a golden stream. */
static void
read_golden(const char *name, struct ArrowSchema *schema, struct ArrowArray *array)
{
	golden_file file;
	arrow_ipc_message message;
	arrow_ipc_error err;
	uint8_t *body;
	size_t at;
	uint32_t nbytes;

	assert_true(golden_read(name, &file));
	assert_int_equal(arrow_ipc_read_prefix(file.data, &nbytes, &err), 0);
	assert_int_equal(arrow_ipc_read_message(file.data + 8, nbytes, &message, &err), 0);
	assert_int_equal(arrow_ipc_read_schema(&message, &psti_arrow_memory, schema, &err), 0);
	at = message_end(file.data);
	assert_int_equal(arrow_ipc_read_prefix(file.data + at, &nbytes, &err), 0);
	assert_int_equal(arrow_ipc_read_message(file.data + at + 8, nbytes, &message, &err), 0);
	at += 8 + nbytes;
	body = exact_copy(file.data + at, (size_t) message.body_nbytes);
	assert_int_equal(
		arrow_ipc_read_batch(&message, schema, body, body, &psti_arrow_memory, array, &err), 0);
}

static void
a_child_that_was_moved_out_outlives_its_batch(void **state)
{
	struct ArrowSchema schema;
	struct ArrowSchema field;
	struct ArrowArray array;
	struct ArrowArray column;

	(void) state;
	read_golden("two_batches.penstock", &schema, &array);
	column = *array.children[1];
	array.children[1]->release = NULL;
	field = *schema.children[1];
	schema.children[1]->release = NULL;
	array.release(&array);
	schema.release(&schema);
	assert_null(array.release);
	assert_null(schema.release);
	assert_string_equal(field.name, "t");
	assert_string_equal(field.format, "u");
	assert_int_equal(column.length, 2);
	assert_memory_equal(column.buffers[2], "x", 1);
	column.release(&column);
	field.release(&field);
}

static void
metadata_of_fields_is_carried(void **state)
{
	struct ArrowSchema schema;
	struct ArrowArray array;
	static const char want[] = "\3\0\0\0"
							   "\30\0\0\0ARROW:extension:metadata\0\0\0\0"
							   "\24\0\0\0ARROW:extension:name\20\0\0\0penstock.made_up"
							   "\15\0\0\0penstock.type\4\0\0\0uuid";

	(void) state;
	read_golden("metadata.pyarrow", &schema, &array);
	assert_memory_equal(schema.metadata,
						"\1\0\0\0\10\0\0\0penstock\1\0\0\0"
						"1",
						21);
	assert_memory_equal(schema.children[0]->metadata, want, sizeof(want) - 1);
	assert_int_equal(schema.children[0]->flags, 0);
	assert_string_equal(schema.children[1]->name, "čísla");
	assert_int_equal(schema.children[1]->flags, ARROW_FLAG_NULLABLE);
	array.release(&array);
	schema.release(&schema);
}

static pst_status
read_for_sweep(void *ctx, pst_error *err)
{
	const golden_file *file = ctx;
	arrow_ipc_error wire = {"", ""};
	arrow_ipc_status status = take_stream(file->data, file->len, NULL, &wire);

	snprintf(err->message, sizeof(err->message), "%s", wire.message);
	err->status = status == ARROW_IPC_NOMEM ? PST_ERR_NOMEM : PST_OK;
	return err->status;
}

static void
sweep_allocations(const golden_file *file)
{
	assert_true(psti_test_alloc_sweep(read_for_sweep, (void *) (uintptr_t) file) > 0);
}

static void
each_allocation_of_the_reader_may_fail(void **state)
{
	(void) state;
	golden_each("", sweep_allocations);
}

/* ---------------------------------------------------------------------------------------------
 * Slices
 */

#define SLICE_ROWS 200

static void
schema_stays(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

static void
array_stays(struct ArrowArray *array)
{
	array->release = NULL;
}

static bool
bit(const uint8_t *bits, int64_t i)
{
	return bits == NULL || (bits[i / 8] >> (i % 8) & 1) != 0;
}

/* Writes a batch of one column and reads it back; *owner is the batch to release. */
static struct ArrowArray *
through(const struct ArrowSchema *schema, const struct ArrowArray *array, struct ArrowArray *owner)
{
	static _Alignas(64) uint8_t out[8192];
	arrow_ipc_message message;
	arrow_ipc_error err;
	size_t nbytes;
	uint32_t metadata;
	uint8_t *body;

	memset(out, 0xEE, sizeof(out));
	assert_int_equal(arrow_ipc_write_batch(schema, array, out, sizeof(out), &nbytes, &err), 0);
	assert_int_equal(arrow_ipc_read_prefix(out, &metadata, &err), 0);
	assert_int_equal(arrow_ipc_read_message(out + 8, metadata, &message, &err), 0);
	assert_int_equal(8 + metadata + (uint64_t) message.body_nbytes, nbytes);
	body = exact_copy(out + 8 + metadata, (size_t) message.body_nbytes);
	assert_int_equal(
		arrow_ipc_read_batch(&message, schema, body, body, &psti_arrow_memory, owner, &err), 0);
	return owner->children[0];
}

static void
slices_begin_at_any_bit(void **state)
{
	uint8_t valid[SLICE_ROWS / 8];
	uint8_t bits[SLICE_ROWS / 8];
	const void *buffers[2] = {valid, bits};
	const void *top_buffers[1] = {NULL};
	struct ArrowSchema field = {.format = "b", .name = "b", .flags = 2, .release = schema_stays};
	struct ArrowSchema *fields[1] = {&field};
	struct ArrowSchema schema = {
		.format = "+s", .n_children = 1, .children = fields, .release = schema_stays};
	struct ArrowArray column = {.length = SLICE_ROWS,
								.null_count = -1,
								.n_buffers = 2,
								.buffers = buffers,
								.release = array_stays};
	struct ArrowArray *columns[1] = {&column};
	struct ArrowArray array = {.n_buffers = 1,
							   .buffers = top_buffers,
							   .n_children = 1,
							   .children = columns,
							   .release = array_stays};
	uint64_t seed = 3;

	(void) state;
	for (size_t i = 0; i < sizeof(bits); i++)
	{
		valid[i] = (uint8_t) test_random(&seed);
		bits[i] = (uint8_t) test_random(&seed);
	}
	for (int64_t start = 0; start < 18; start++)
		for (int64_t length = 0; length <= 40; length++)
		{
			struct ArrowArray owner;
			struct ArrowArray *back;
			int64_t nulls = 0;

			/* Half of the offset by the struct, half by its child. */
			column.offset = start / 2;
			column.length = SLICE_ROWS - column.offset;
			array.offset = start - column.offset;
			array.length = length;
			back = through(&schema, &array, &owner);
			assert_int_equal(back->length, length);
			for (int64_t i = 0; i < length; i++)
			{
				assert_int_equal(bit(back->buffers[0], i), bit(valid, start + i));
				assert_int_equal(bit(back->buffers[1], i), bit(bits, start + i));
				nulls += !bit(valid, start + i);
			}
			assert_int_equal(back->null_count, nulls);
			owner.release(&owner);
		}
}

static void
sliced_offsets_begin_at_zero(void **state)
{
	static const int32_t narrow[] = {0, 2, 2, 5, 9};
	static const int64_t wide[] = {0, 2, 2, 5, 9};
	static const int32_t want_narrow[] = {0, 3, 7};
	static const int64_t want_wide[] = {0, 3, 7};

	(void) state;
	for (int large = 0; large < 2; large++)
	{
		const void *buffers[3] = {NULL, large ? (const void *) wide : narrow, "aabbbcccc"};
		const void *top_buffers[1] = {NULL};
		struct ArrowSchema field = {
			.format = large ? "U" : "u", .name = "t", .release = schema_stays};
		struct ArrowSchema *fields[1] = {&field};
		struct ArrowSchema schema = {
			.format = "+s", .n_children = 1, .children = fields, .release = schema_stays};
		struct ArrowArray column = {
			.length = 3, .offset = 1, .n_buffers = 3, .buffers = buffers, .release = array_stays};
		struct ArrowArray *columns[1] = {&column};
		struct ArrowArray array = {.length = 2,
								   .offset = 1,
								   .n_buffers = 1,
								   .buffers = top_buffers,
								   .n_children = 1,
								   .children = columns,
								   .release = array_stays};
		struct ArrowArray owner;
		struct ArrowArray *back = through(&schema, &array, &owner);

		if (large)
			assert_memory_equal(back->buffers[1], want_wide, sizeof(want_wide));
		else
			assert_memory_equal(back->buffers[1], want_narrow, sizeof(want_narrow));
		assert_memory_equal(back->buffers[2], "bbbcccc", 7);
		owner.release(&owner);
	}
}

/* ---------------------------------------------------------------------------------------------
 * What the writer refuses
 */

static void
a_message_that_does_not_fit_leaves_the_rest_alone(void **state)
{
	struct ArrowSchema schema;
	struct ArrowArray array;
	arrow_ipc_error err;
	size_t nbytes;
	size_t again;

	(void) state;
	read_golden("list.penstock", &schema, &array);
	assert_int_equal(arrow_ipc_write_batch(&schema, &array, NULL, 0, &nbytes, &err), 0);
	for (size_t room = 0; room < nbytes; room++)
	{
		uint8_t *out = malloc(room + 1);

		assert_non_null(out);
		assert_int_equal(arrow_ipc_write_batch(&schema, &array, out, room, &again, &err),
						 ARROW_IPC_INVALID);
		assert_int_equal(again, 0);
		free(out);
	}
	array.release(&array);
	schema.release(&schema);
}

static void
expect_refused(const struct ArrowSchema *schema, const struct ArrowArray *array,
			   arrow_ipc_status want, const char *message)
{
	arrow_ipc_error err = {"", ""};
	size_t nbytes = 1;

	assert_int_equal(arrow_ipc_write_batch(schema, array, NULL, 0, &nbytes, &err), want);
	assert_int_equal(nbytes, 0);
	assert_contains(err.message, message);
}

static void
arrays_that_are_not_their_schema_are_not_written(void **state)
{
	static const uint8_t no_rows[1] = {0};
	const void *validity[1] = {no_rows};
	struct ArrowSchema schema;
	struct ArrowArray array;
	struct ArrowArray top;
	struct ArrowArray *child;
	const void **buffers;
	const char *format;

	(void) state;
	read_golden("utf8.penstock", &schema, &array);
	child = array.children[0];
	top = array;
	top.buffers = validity;
	top.null_count = -1;
	expect_refused(&schema, &top, ARROW_IPC_INVALID, "a whole row is NULL");
	top = array;
	top.length++;
	expect_refused(&schema, &top, ARROW_IPC_INVALID, "too short");
	top.length = INT64_MAX;
	expect_refused(&schema, &top, ARROW_IPC_INVALID, "too short");
	top = array;
	top.n_children = 0;
	expect_refused(&schema, &top, ARROW_IPC_INVALID, "wrong number of child arrays");
	child->n_buffers = 2;
	expect_refused(&schema, &array, ARROW_IPC_INVALID, "wrong number of buffers");
	child->n_buffers = 3;
	buffers = child->buffers;
	child->offset = -1;
	expect_refused(&schema, &array, ARROW_IPC_INVALID, "too short");
	child->offset = 0;
	child->buffers = (const void *[]){NULL, (const int32_t[]){5, 4, 3, 2, 1, 0, 0}, "x"};
	expect_refused(&schema, &array, ARROW_IPC_INVALID, "offsets go back");
	child->buffers = buffers;
	format = schema.children[0]->format;
	schema.children[0]->format = "vu";
	expect_refused(&schema, &array, ARROW_IPC_UNSUPPORTED, "not a supported Arrow type: utf8_view");
	schema.children[0]->format = "+l";
	expect_refused(&schema, &array, ARROW_IPC_INVALID, "wrong number of child fields");
	schema.children[0]->format = format;
	format = schema.format;
	schema.format = "i";
	expect_refused(&schema, &array, ARROW_IPC_INVALID, "rows must be a struct");
	schema.format = format;
	schema.children[0]->dictionary = &schema;
	expect_refused(&schema, &array, ARROW_IPC_UNSUPPORTED, "dictionary-encoded");
	schema.children[0]->dictionary = NULL;
	array.release(&array);
	schema.release(&schema);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_streams_of_both_writers_become_ours),
		cmocka_unit_test(streams_cut_at_any_byte_are_refused),
		cmocka_unit_test(any_flipped_byte_is_survived),
		cmocka_unit_test(numbers_that_lie_are_refused_by_name),
		cmocka_unit_test(a_schema_that_repeats_itself_costs_no_more_than_its_bytes),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(a_child_that_was_moved_out_outlives_its_batch),
		cmocka_unit_test(metadata_of_fields_is_carried),
		cmocka_unit_test(each_allocation_of_the_reader_may_fail),
		cmocka_unit_test(slices_begin_at_any_bit),
		cmocka_unit_test(sliced_offsets_begin_at_zero),
		cmocka_unit_test(a_message_that_does_not_fit_leaves_the_rest_alone),
		cmocka_unit_test(arrays_that_are_not_their_schema_are_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
