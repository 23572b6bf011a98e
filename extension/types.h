/* types.h - which types of PostgreSQL have a form of their own, and whose text depends on settings. */
#ifndef PENSTOCK_TYPES_H
#define PENSTOCK_TYPES_H

#include "postgres.h"

/* How a datum is taken apart. */
typedef enum value_kind
{
	VALUE_BOOL,
	VALUE_INT2,
	VALUE_INT4,
	VALUE_INT8,
	VALUE_FLOAT4,
	VALUE_FLOAT8,
	VALUE_DATE,
	VALUE_TIME,
	VALUE_TIMESTAMP,
	VALUE_INTERVAL,
	VALUE_UUID,
	VALUE_NUMERIC,
	VALUE_BYTES, /* bytea */
	VALUE_TEXT,	 /* a varlena that is its own text */
	VALUE_NAME,	 /* the same of fixed size */
	VALUE_JSONB,
	VALUE_OUTPUT, /* the text of the output function */
	VALUE_LIST	  /* an array */
} value_kind;

/* A type of wire/types.def. */
typedef struct known_type
{
	Oid oid;
	value_kind kind;
	const char *format;	   /* Arrow's */
	const char *extension; /* Arrow extension type, or "" */
} known_type;

/* The type, which is not a domain; NULL: it has no Arrow form, and travels as text. */
extern const known_type *known_type_of(Oid oid);

/* Of an array whose text array_out makes (not of int2vector and the like): its elements' type. */
extern Oid array_element(Oid base);

/* What the text of an output function may depend on. */
#define PIN_DATESTYLE 0x01
#define PIN_TIMEZONE 0x02
#define PIN_INTERVALSTYLE 0x04
#define PIN_BYTEA 0x08
#define PIN_FLOATS 0x10
#define PIN_MONETARY 0x20
#define PIN_ALL 0x3F

/* The settings that the text of a type's values may depend on: of a type that is not known, all. */
extern int output_depends(Oid type);

/* A stored numeric: a header of two or four bytes, then base-10000 digits. */
typedef struct stored_numeric
{
	bool nan;
	bool infinite;
	bool negative;
	int weight;
	int scale; /* digits that are shown behind the point */
	int ngroups;
	const char *groups; /* uint16 each, unaligned */
} stored_numeric;

/* value is detoasted; its groups are borrowed. */
extern void read_numeric(const struct varlena *value, stored_numeric *out);

/*
 * Text is what an output function gives under ISO dates, UTC and so on, whatever the caller has set:
 * the wanted ones of the settings are made so. Gives what unpin_output wants; -1 when they were so
 * already. An error undoes it with the transaction or subtransaction.
 */
extern int pin_output(int wanted);
extern void unpin_output(int level);

#endif /* PENSTOCK_TYPES_H */
