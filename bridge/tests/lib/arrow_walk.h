/*
 * arrow_walk.h - reads every byte of an array that its schema says can be read.
 *
 * What passed a reader or psti_arrow_check must survive this under ASan. The result depends on all
 * of it, so nothing is optimised away. Inline, for fuzz targets link none of lib/.
 */
#ifndef TEST_ARROW_WALK_H
#define TEST_ARROW_WALK_H

#include <stddef.h>
#include <stdint.h>

#include "arrow_ipc.h"
#include "arrow_type.h"

static inline uint64_t
test_arrow_walk_bytes(uint64_t sum, const void *data, uint64_t from, uint64_t nbytes)
{
	for (uint64_t i = 0; i < nbytes; i++)
		sum = sum * 31 + ((const uint8_t *) data)[from + i];
	return sum;
}

static inline uint64_t
test_arrow_walk_bits(uint64_t sum, const uint8_t *bits, uint64_t from, uint64_t nbits)
{
	for (uint64_t i = from; i < from + nbits; i++)
		sum = sum * 31 + (bits[i / 8] >> (i % 8) & 1);
	return sum;
}

/* Rows [start, start + length), counted without the array's offset. */
static inline uint64_t
test_arrow_walk(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t start,
				int64_t length)
{
	arrow_type type = arrow_type_parse(schema->format);
	uint64_t from = (uint64_t) (array->offset + start);
	uint64_t rows = (uint64_t) length;
	uint64_t width = (uint64_t) type.width;
	uint64_t sum = rows;
	int64_t first = (int64_t) from;
	int64_t last = (int64_t) (from + rows);

	if (array->n_buffers > 0 && array->buffers[0] != NULL)
		sum = test_arrow_walk_bits(sum, array->buffers[0], from, rows);
	if (type.layout == ARROW_LAYOUT_BITS)
		sum = test_arrow_walk_bits(sum, array->buffers[1], from, rows);
	if (type.layout == ARROW_LAYOUT_FIXED)
		sum = test_arrow_walk_bytes(sum, array->buffers[1], from * width, rows * width);
	if ((type.layout == ARROW_LAYOUT_VAR || type.layout == ARROW_LAYOUT_LIST) &&
		array->buffers[1] != NULL)
	{
		sum = test_arrow_walk_bytes(sum, array->buffers[1], from * width, (rows + 1) * width);
		first = width == 4 ? ((const int32_t *) array->buffers[1])[from]
						   : ((const int64_t *) array->buffers[1])[from];
		last = width == 4 ? ((const int32_t *) array->buffers[1])[from + rows]
						  : ((const int64_t *) array->buffers[1])[from + rows];
	}
	else if (type.layout == ARROW_LAYOUT_VAR || type.layout == ARROW_LAYOUT_LIST)
		first = last = 0;
	if (type.layout == ARROW_LAYOUT_VAR)
		sum = test_arrow_walk_bytes(sum, array->buffers[2], (uint64_t) first,
									(uint64_t) (last - first));
	for (int64_t i = 0; i < array->n_children; i++)
		sum += test_arrow_walk(schema->children[i], array->children[i], first, last - first);
	return sum;
}

/* Rows of the largest node: NULLs and empty structs take no bytes, so there may be very many. */
static inline int64_t
test_arrow_largest(const struct ArrowArray *array)
{
	int64_t most = array->length;

	for (int64_t i = 0; i < array->n_children; i++)
	{
		int64_t rows = test_arrow_largest(array->children[i]);

		most = rows > most ? rows : most;
	}
	return most;
}

#endif /* TEST_ARROW_WALK_H */
