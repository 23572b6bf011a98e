/*
 * arrow_type.h - what an Arrow C format string means: kind, buffers and parameters.
 *
 * One parser for the IPC writer and reader and for the bridge's own checks, so that the three
 * cannot come to disagree about a format.
 */
#ifndef WIRE_ARROW_TYPE_H
#define WIRE_ARROW_TYPE_H

#include <stdbool.h>
#include <stdint.h>

/* In the order of psti_arrow_kind, which is asserted to be the same (bridge/src/arrow_check.c). */
typedef enum arrow_kind
{
	ARROW_KIND_UNKNOWN, /* a format that penstock neither writes nor reads */
	ARROW_KIND_NULL,
	ARROW_KIND_BOOL,
	ARROW_KIND_INT8,
	ARROW_KIND_UINT8,
	ARROW_KIND_INT16,
	ARROW_KIND_UINT16,
	ARROW_KIND_INT32,
	ARROW_KIND_UINT32,
	ARROW_KIND_INT64,
	ARROW_KIND_UINT64,
	ARROW_KIND_FLOAT,
	ARROW_KIND_DOUBLE,
	ARROW_KIND_DECIMAL, /* 128 bit */
	ARROW_KIND_DATE32,
	ARROW_KIND_DATE64,
	ARROW_KIND_TIME32,
	ARROW_KIND_TIME64,
	ARROW_KIND_TIMESTAMP,
	ARROW_KIND_INTERVAL, /* months, days, nanoseconds */
	ARROW_KIND_UTF8,
	ARROW_KIND_LARGE_UTF8,
	ARROW_KIND_BINARY,
	ARROW_KIND_LARGE_BINARY,
	ARROW_KIND_FIXED_BINARY,
	ARROW_KIND_LIST,
	ARROW_KIND_LARGE_LIST,
	ARROW_KIND_STRUCT,
	ARROW_KIND_COUNT
} arrow_kind;

/* How the values lie in memory; the number of buffers and children follows from it. */
typedef enum arrow_layout
{
	ARROW_LAYOUT_NULL,	/* nothing */
	ARROW_LAYOUT_BITS,	/* validity, bits */
	ARROW_LAYOUT_FIXED, /* validity, values of `width` bytes */
	ARROW_LAYOUT_VAR,	/* validity, offsets of `width` bytes (4 or 8), bytes */
	ARROW_LAYOUT_LIST,	/* validity, offsets of `width` bytes; one child */
	ARROW_LAYOUT_STRUCT /* validity; any number of children */
} arrow_layout;

typedef struct arrow_type
{
	arrow_kind kind;
	arrow_layout layout;
	int32_t width;		/* bytes of a fixed value or of an offset, else 0 */
	int32_t precision;	/* decimal: 1 to 38 */
	int32_t scale;		/* decimal */
	int64_t per_second; /* units of a time or timestamp in a second: 1, 1000 … 10^9; else 0 */
	const char *zone;	/* of a timestamp, "" without one; points into the format; else NULL */
} arrow_type;

/* Reads a format; NULL and what is not understood give ARROW_KIND_UNKNOWN. */
arrow_type arrow_type_parse(const char *format);

/*
 * Writes a format's type as people call it, for messages: "decimal128(10, 2)", "timestamp[us, UTC]";
 * what is not known at all stands there as it is, in quotes. Gives out.
 */
#define ARROW_TYPE_NAME 80
const char *arrow_type_name(const char *format, char out[ARROW_TYPE_NAME]);

/* Buffers that an array of this layout has: 0 to 3. */
int arrow_layout_buffers(arrow_layout layout);

/* Bits set among the nbits bits from bit `start` on, least significant first. */
int64_t arrow_bits_count(const uint8_t *bits, int64_t start, int64_t nbits);

#endif /* WIRE_ARROW_TYPE_H */
