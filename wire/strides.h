/*
 * strides.h - cutting a domain of keys or blocks into consecutive pieces. Pure arithmetic.
 *
 * Every function gives at least one piece; pieces are in order, do not overlap and leave no gap
 * between the given bounds. Bounds are inclusive on both sides.
 */
#ifndef WIRE_STRIDES_H
#define WIRE_STRIDES_H

#include <stddef.h>
#include <stdint.h>

typedef struct stride_int64
{
	int64_t lower;
	int64_t upper;
} stride_int64;

/* An unsigned number of 128 bits: a uuid's bytes in order. */
typedef struct stride_u128
{
	uint64_t high;
	uint64_t low;
} stride_u128;

typedef struct stride_uuid
{
	stride_u128 lower;
	stride_u128 upper;
} stride_uuid;

typedef struct stride_blocks
{
	uint32_t first; /* first block */
	uint32_t last;	/* last block, inclusive; the last piece is open-ended for the caller */
} stride_blocks;

/*
 * Cuts [lower, upper] into min(n, upper - lower + 1) strides whose sizes differ by at most one, the
 * larger ones first; n >= 1, lower <= upper; out has room for n. Returns the number of strides, 0
 * when an argument is out of range. Exact over the whole range of int64.
 */
size_t strides_int64(int64_t lower, int64_t upper, size_t n, stride_int64 *out);

/* The same for uuids. */
size_t strides_uuid(stride_u128 lower, stride_u128 upper, size_t n, stride_uuid *out);

/*
 * Cuts nblocks blocks (0 allowed: one empty-looking piece 0..0) into pieces of about per_piece
 * blocks, at most n of them.
 */
size_t strides_blocks(uint32_t nblocks, uint32_t per_piece, size_t n, stride_blocks *out);

/*
 * The text that lies i/n of the way from lower to upper, by their bytes: the first same bytes of both,
 * then printable ASCII. out has room for same + STRIDE_TEXT_DIGITS bytes; returns the length, without
 * '\0'. It is a candidate: in a collation's order it may lie elsewhere, which is for the caller to look at.
 * same must not end inside of a character.
 */
#define STRIDE_TEXT_DIGITS 9
size_t stride_text(const char *lower, const char *upper, size_t same, size_t i, size_t n,
				   char *out);

#endif /* WIRE_STRIDES_H */
