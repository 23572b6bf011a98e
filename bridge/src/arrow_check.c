/*
 * arrow_check.c - formats, and arrays from callers held against them.
 *
 * A consumer of the C Data Interface is not told how long the buffers are; all else is checked:
 * counts, lengths, offsets of lists and texts, alignment. After it a reader may index the buffers
 * of any row without a further test.
 */
#include "arrow_check.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arrow_type.h"

#define MAX_DEPTH 64

static_assert((int) PSTI_ARROW_UNKNOWN == (int) ARROW_KIND_UNKNOWN &&
				  (int) PSTI_ARROW_DECIMAL == (int) ARROW_KIND_DECIMAL &&
				  (int) PSTI_ARROW_UTF8 == (int) ARROW_KIND_UTF8 &&
				  (int) PSTI_ARROW_STRUCT == (int) ARROW_KIND_STRUCT &&
				  (int) PSTI_ARROW_STRUCT + 1 == (int) ARROW_KIND_COUNT,
			  "psti_arrow_kind and arrow_kind have the same members in the same order");

psti_arrow_type
psti_arrow_parse(const char *format)
{
	arrow_type wire = arrow_type_parse(format);
	psti_arrow_type type = {
		.kind = (psti_arrow_kind) wire.kind,
		.precision = wire.precision,
		.scale = wire.scale,
		.width = wire.kind == ARROW_KIND_FIXED_BINARY ? wire.width : 0,
		.per_second = wire.per_second,
		.with_zone = wire.zone != NULL && wire.zone[0] != '\0',
	};

	return type;
}

static_assert(PSTI_ARROW_NAME == ARROW_TYPE_NAME, "a name has room");

const char *
psti_arrow_name(const char *format, char out[PSTI_ARROW_NAME])
{
	return arrow_type_name(format, out);
}

/* Where in the schema the check is: names from the outermost to the present field. */
typedef struct place
{
	const struct place *parent;
	const struct ArrowSchema *schema;
	int depth;
} place;

/* Writes a.b.c; the batch itself, which has no name, gives nothing. */
static void
place_path(const place *at, char *out, size_t size)
{
	const char *name = at->schema->name != NULL ? at->schema->name : "";
	size_t len;

	if (at->parent == NULL)
	{
		psti_error_copy(out, size, name);
		return;
	}
	place_path(at->parent, out, size);
	len = strlen(out);
	if (len > 0 && len + 1 < size)
		out[len++] = '.';
	psti_error_copy(out + len, size - len, name);
}

static pst_status fail_at(const place *at, pst_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static pst_status
fail_at(const place *at, pst_error *err, const char *fmt, ...)
{
	char what[512];
	char path[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	place_path(at, path, sizeof(path));
	if (path[0] == '\0')
		return psti_fail(err, PST_ERR_INVALID, "the Arrow batch %s", what);
	psti_fail(err, PST_ERR_INVALID, "column \"%s\": the Arrow array %s", path, what);
	PSTI_ERROR_SET(err, column, path);
	return PST_ERR_INVALID;
}

/* Lengths and counts that do not depend on what the buffers hold. */
static pst_status
check_counts(const place *at, const arrow_type *type, const struct ArrowArray *array,
			 pst_error *err)
{
	const struct ArrowSchema *schema = at->schema;
	int nbuffers = arrow_layout_buffers(type->layout);
	char name[PSTI_ARROW_NAME];
	/* Bytes of the widest buffer, and the one more offset, stay within int64. */
	int64_t max = INT64_MAX / (type->width > 8 ? type->width : 8) - 1;

	if (array->length < 0 || array->offset < 0 || array->offset > max ||
		array->length > max - array->offset)
		return fail_at(at, err, "has length %lld and offset %lld", (long long) array->length,
					   (long long) array->offset);
	if (array->null_count < -1 || array->null_count > array->length)
		return fail_at(at, err, "of %lld rows claims %lld NULLs", (long long) array->length,
					   (long long) array->null_count);
	if (array->dictionary != NULL)
		return fail_at(at, err, "has a dictionary that its schema does not have");
	if (array->n_buffers != nbuffers)
		return fail_at(at, err, "has %lld buffers, its type %s has %d",
					   (long long) array->n_buffers, psti_arrow_name(schema->format, name),
					   nbuffers);
	if (nbuffers > 0 && array->buffers == NULL)
		return fail_at(at, err, "has no buffers");
	if (array->n_children != schema->n_children)
		return fail_at(at, err, "has %lld children, its schema has %lld",
					   (long long) array->n_children, (long long) schema->n_children);
	if (array->n_children > 0 && array->children == NULL)
		return fail_at(at, err, "has no children");
	return PST_OK;
}

/* The schema itself: a format that is known, with the children that it takes. */
static pst_status
check_schema(const place *at, const arrow_type *type, pst_error *err)
{
	const struct ArrowSchema *schema = at->schema;
	char name[PSTI_ARROW_NAME];
	pst_status status = PST_OK;

	if (at->depth > MAX_DEPTH)
		return fail_at(at, err, "is nested deeper than %d levels", MAX_DEPTH);
	if (schema->dictionary != NULL)
	{
		status = fail_at(at, err, "is dictionary-encoded, which is not supported");
		psti_error_hint(err, "Cast the column to the type of the dictionary's values.");
	}
	else if (type->kind == ARROW_KIND_UNKNOWN)
	{
		status = fail_at(at, err, "has the Arrow type %s, which is not supported",
						 psti_arrow_name(schema->format, name));
		psti_error_hint(err, "Cast the column to a type of docs/types.md.");
	}
	else if (schema->n_children < 0 || (schema->n_children > 0 && schema->children == NULL) ||
			 (type->layout == ARROW_LAYOUT_LIST && schema->n_children != 1) ||
			 (type->layout != ARROW_LAYOUT_LIST && type->layout != ARROW_LAYOUT_STRUCT &&
			  schema->n_children != 0))
		status = fail_at(at, err, "has the Arrow type %s and %lld children",
						 psti_arrow_name(schema->format, name), (long long) schema->n_children);
	return status;
}

/* Offsets are read with memcpy: whether they are aligned is tested before, but costs nothing. */
static inline int64_t
offset_at(const void *offsets, int32_t width, int64_t i)
{
	int32_t narrow;
	int64_t wide;

	if (width == 8)
	{
		memcpy(&wide, (const char *) offsets + i * 8, 8);
		return wide;
	}
	memcpy(&narrow, (const char *) offsets + i * 4, 4);
	return narrow;
}

/* Offsets of the rows from `from` on: never negative, never going back. */
static bool
offsets_ascend(const void *offsets, int32_t width, int64_t from, int64_t length)
{
	bool bad = offset_at(offsets, width, from) < 0;

	if (width == 4)
	{
		const int32_t *at = (const int32_t *) offsets + from;

		for (int64_t i = 0; i < length; i++)
			bad |= at[i + 1] < at[i];
	}
	else
	{
		const int64_t *at = (const int64_t *) offsets + from;

		for (int64_t i = 0; i < length; i++)
			bad |= at[i + 1] < at[i];
	}
	return !bad;
}

static pst_status
check_offsets(const place *at, const arrow_type *type, const struct ArrowArray *array,
			  pst_error *err)
{
	const void *offsets = array->buffers[1];
	int64_t last;

	/* An empty array may come without offsets. */
	if (offsets == NULL && array->length == 0)
		return PST_OK;
	if (!offsets_ascend(offsets, type->width, array->offset, array->length))
		return fail_at(at, err, "has offsets that are negative or go back");
	last = offset_at(offsets, type->width, array->offset + array->length);
	if (type->layout == ARROW_LAYOUT_VAR && array->buffers[2] == NULL && last > 0)
		return fail_at(at, err, "has no data buffer");
	if (type->layout == ARROW_LAYOUT_LIST && array->children[0]->length < last)
		return fail_at(at, err, "has offsets up to %lld, its values are only %lld",
					   (long long) last, (long long) array->children[0]->length);
	return PST_OK;
}

static pst_status
check_buffers(const place *at, const arrow_type *type, const struct ArrowArray *array,
			  pst_error *err)
{
	/* Decimals and intervals are read as two int64, fixed binary as bytes. */
	uintptr_t alignment = type->width > 8 ? 8 : type->width < 1 ? 1 : (uintptr_t) type->width;

	if (type->layout == ARROW_LAYOUT_NULL)
		return PST_OK;
	if (array->buffers[0] == NULL && array->null_count > 0)
		return fail_at(at, err, "has NULLs but no validity buffer");
	if (type->layout == ARROW_LAYOUT_STRUCT)
		return PST_OK;
	if (array->buffers[1] == NULL && array->length > 0 &&
		!(type->layout == ARROW_LAYOUT_FIXED && type->width == 0))
		return fail_at(at, err, "has no %s buffer",
					   type->layout == ARROW_LAYOUT_VAR || type->layout == ARROW_LAYOUT_LIST
						   ? "offset"
						   : "data");
	if (type->kind == ARROW_KIND_FIXED_BINARY)
		alignment = 1;
	if ((uintptr_t) array->buffers[1] % alignment != 0)
	{
		fail_at(at, err, "has a buffer that is not aligned to %d bytes", (int) alignment);
		psti_error_hint(err, "Copy the batch into aligned memory first.");
		return PST_ERR_INVALID;
	}
	if (type->layout == ARROW_LAYOUT_VAR || type->layout == ARROW_LAYOUT_LIST)
		return check_offsets(at, type, array, err);
	return PST_OK;
}

static pst_status
check_node(const place *at, const struct ArrowArray *array, pst_error *err)
{
	const struct ArrowSchema *schema = at->schema;
	arrow_type type = arrow_type_parse(schema->format);
	pst_status status;

	status = check_schema(at, &type, err);
	if (status == PST_OK)
		status = check_counts(at, &type, array, err);
	if (status != PST_OK)
		return status;
	for (int64_t i = 0; i < schema->n_children; i++)
	{
		place child = {at, schema->children[i], at->depth + 1};

		if (schema->children[i] == NULL || schema->children[i]->release == NULL ||
			array->children[i] == NULL || array->children[i]->release == NULL)
			return fail_at(at, err, "has a child, number %lld, that was already released",
						   (long long) i);
		if (type.layout == ARROW_LAYOUT_STRUCT &&
			array->children[i]->length < array->offset + array->length)
			return fail_at(&child, err, "has %lld rows, the array around it %lld",
						   (long long) array->children[i]->length,
						   (long long) (array->offset + array->length));
		status = check_node(&child, array->children[i], err);
		if (status != PST_OK)
			return status;
	}
	return check_buffers(at, &type, array, err);
}

pst_status
psti_arrow_check(const struct ArrowSchema *schema, const struct ArrowArray *array, pst_error *err)
{
	place top = {NULL, schema, 0};

	if (schema == NULL || schema->release == NULL)
		return psti_fail(err, PST_ERR_INVALID, "the Arrow schema was already released");
	if (array == NULL || array->release == NULL)
		return psti_fail(err, PST_ERR_INVALID, "the Arrow batch was already released");
	return check_node(&top, array, err);
}
