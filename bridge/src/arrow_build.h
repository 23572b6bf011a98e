/*
 * arrow_build.h - Arrow schemas and arrays that own their memory.
 *
 * Everything made here is released by its own release callback, from any thread, and holds nothing
 * of the handle that made it.
 */
#ifndef PSTI_ARROW_BUILD_H
#define PSTI_ARROW_BUILD_H

#include "arrow_ipc.h"
#include "error.h"

/* A schema of this format ("+s", "i" …), name and flags; children zeroed, for the caller to fill. */
pst_status psti_schema_init(struct ArrowSchema *schema, const char *format, const char *name,
							bool nullable, int64_t nchildren, pst_error *err);

/* Sets metadata from npairs key, value pairs (copied). */
pst_status psti_schema_metadata(struct ArrowSchema *schema, size_t npairs, const char *const *keys,
								const char *const *values, pst_error *err);

/* The value of a metadata key, not null-terminated: *nbytes has its length; NULL when absent. */
const char *psti_schema_metadata_get(const struct ArrowSchema *schema, const char *key,
									 size_t *nbytes);

pst_status psti_schema_copy(const struct ArrowSchema *from, struct ArrowSchema *to, pst_error *err);

/* Safe on a released or zeroed struct. */
void psti_schema_release(struct ArrowSchema *schema);
void psti_array_release(struct ArrowArray *array);

/*
 * An array with nbuffers buffer slots and nchildren allocated, zeroed children. Buffers put into
 * slots with psti_array_buffer are moved: malloc'd memory that release frees.
 */
pst_status psti_array_init(struct ArrowArray *array, int64_t length, int nbuffers,
						   int64_t nchildren, pst_error *err);
void psti_array_buffer(struct ArrowArray *array, int slot, void *memory);

/* malloc and free, for what wire/ makes. */
extern const arrow_ipc_memory psti_arrow_memory;

/* Bits, least significant first. */
static inline bool
psti_bit_get(const uint8_t *bits, int64_t i)
{
	return (bits[i >> 3] >> (i & 7)) & 1;
}

static inline void
psti_bit_set(uint8_t *bits, int64_t i)
{
	bits[i >> 3] = (uint8_t) (bits[i >> 3] | (1u << (i & 7)));
}

/* Whether row i (without the array's offset) is NULL. */
static inline bool
psti_array_null(const struct ArrowArray *array, int64_t i)
{
	const uint8_t *valid = array->n_buffers > 0 ? (const uint8_t *) array->buffers[0] : NULL;

	return valid != NULL && !psti_bit_get(valid, i + array->offset);
}

#endif /* PSTI_ARROW_BUILD_H */
