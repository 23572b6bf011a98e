/*
 * arrow_check_fuzz.c - psti_arrow_check against one column of any format and any numbers.
 *
 * Input: format and a NUL, then 8 bytes each of length, offset, null_count and the length of a
 * child, then 1 byte of the number of buffers, then the contents of the second buffer (offsets or
 * values). What passes must be readable: the other buffers are made just as large as it needs.
 */
#include <stdlib.h>
#include <string.h>

#include "arrow_check.h"
#include "arrow_type.h"
#include "arrow_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD 33
#define MAX_BYTES 65536

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

typedef struct column
{
	struct ArrowSchema schema;
	struct ArrowSchema item_schema;
	struct ArrowSchema *schema_children[1];
	struct ArrowArray array;
	struct ArrowArray item;
	struct ArrowArray *array_children[1];
	const void *buffers[3];
	const void *item_buffers[2];
} column;

static int64_t
number(const uint8_t *at)
{
	int64_t value;

	memcpy(&value, at, 8);
	return value;
}

static void
make_column(column *c, const char *format, const uint8_t *head)
{
	arrow_layout layout = arrow_type_parse(format).layout;
	int children = layout == ARROW_LAYOUT_LIST || layout == ARROW_LAYOUT_STRUCT;

	memset(c, 0, sizeof(*c));
	c->schema = (struct ArrowSchema){.format = format,
									 .name = "c",
									 .n_children = children,
									 .children = c->schema_children,
									 .release = schema_stays};
	c->item_schema = (struct ArrowSchema){.format = "n", .name = "item", .release = schema_stays};
	c->schema_children[0] = &c->item_schema;
	c->array = (struct ArrowArray){.length = number(head),
								   .offset = number(head + 8),
								   .null_count = number(head + 16),
								   .n_buffers = head[32] % 4,
								   .buffers = c->buffers,
								   .n_children = children,
								   .children = c->array_children,
								   .release = array_stays};
	c->item = (struct ArrowArray){
		.length = number(head + 24), .buffers = c->item_buffers, .release = array_stays};
	c->array_children[0] = &c->item;
}

/* What the array may be as a caller of the library would have it: buffers as large as it says. */
static bool
fits(const column *c, const arrow_type *type, size_t nbytes)
{
	uint64_t rows = (uint64_t) c->array.length + (uint64_t) c->array.offset;
	uint64_t width = (uint64_t) type->width;

	if (c->array.length < 0 || c->array.offset < 0 || rows > MAX_BYTES)
		return false;
	if (type->layout == ARROW_LAYOUT_VAR || type->layout == ARROW_LAYOUT_LIST)
		return (rows + 1) * width <= nbytes;
	if (type->layout == ARROW_LAYOUT_BITS)
		return (rows + 7) / 8 <= nbytes;
	return type->layout != ARROW_LAYOUT_FIXED || (width <= MAX_BYTES && rows * width <= nbytes);
}

static int64_t
last_offset(const column *c, int32_t width)
{
	int64_t end = c->array.offset + c->array.length;

	return width == 4 ? ((const int32_t *) c->buffers[1])[end]
					  : ((const int64_t *) c->buffers[1])[end];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size < 64 ? size : 64);
	const char *format = (const char *) data;
	column c;
	arrow_type type;
	uint8_t *values;
	uint8_t *validity;
	uint8_t *bytes = NULL;
	size_t nbytes;
	pst_error err = PST_ERROR_INIT;

	if (end == NULL || size - (size_t) (end + 1 - data) < HEAD)
		return 0;
	nbytes = size - (size_t) (end + 1 - data) - HEAD;
	make_column(&c, format, end + 1);
	type = arrow_type_parse(format);
	if (!fits(&c, &type, nbytes))
	{
		/* Refused, or of a size that nobody could have: it must only not be read. */
		psti_arrow_check(&c.schema, &c.array, &err);
		return 0;
	}
	values = malloc(nbytes + 1);
	validity = calloc(1, (size_t) (c.array.length + c.array.offset) / 8 + 1);
	if (values == NULL || validity == NULL)
		abort();
	memcpy(values, end + 1 + HEAD, nbytes);
	if (type.layout != ARROW_LAYOUT_NULL)
		c.buffers[0] = validity;
	c.buffers[1] = values;
	c.buffers[2] = values;
	if (psti_arrow_check(&c.schema, &c.array, &err) == PST_OK)
	{
		if (type.layout == ARROW_LAYOUT_VAR)
		{
			int64_t last = last_offset(&c, type.width);

			bytes = last <= MAX_BYTES ? malloc((size_t) last + 1) : NULL;
			if (bytes != NULL)
				memset(bytes, 'x', (size_t) last + 1);
			c.buffers[2] = bytes;
		}
		if (type.layout != ARROW_LAYOUT_VAR || bytes != NULL)
			test_arrow_walk(&c.schema, &c.array, 0, c.array.length);
	}
	else if (err.message[0] == '\0')
		abort();
	free(bytes);
	free(validity);
	free(values);
	return 0;
}
