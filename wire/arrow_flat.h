/*
 * arrow_flat.h - the numbers of Arrow's flatbuffer schemas (Schema.fbs, Message.fbs) that both the
 * writer and the reader need, and the errors that they share. Private to wire/.
 */
#ifndef WIRE_ARROW_FLAT_H
#define WIRE_ARROW_FLAT_H

#include "arrow_ipc.h"
#include "arrow_type.h"

#define FLAT_VERSION_V5 4
#define FLAT_CONTINUATION UINT32_C(0xFFFFFFFF)

/* Slots of the tables: the place of a field's entry in the vtable. */
enum
{
	MESSAGE_VERSION = 0,
	MESSAGE_HEADER_TYPE = 1,
	MESSAGE_HEADER = 2,
	MESSAGE_BODY_LENGTH = 3,

	SCHEMA_ENDIANNESS = 0,
	SCHEMA_FIELDS = 1,
	SCHEMA_METADATA = 2,

	FIELD_NAME = 0,
	FIELD_NULLABLE = 1,
	FIELD_TYPE_TYPE = 2,
	FIELD_TYPE = 3,
	FIELD_DICTIONARY = 4,
	FIELD_CHILDREN = 5,
	FIELD_METADATA = 6,

	PAIR_KEY = 0,
	PAIR_VALUE = 1,

	BATCH_LENGTH = 0,
	BATCH_NODES = 1,
	BATCH_BUFFERS = 2,
	BATCH_COMPRESSION = 3
};

/* The union Type. */
enum
{
	FLAT_NULL = 1,
	FLAT_INT = 2,
	FLAT_FLOAT = 3,
	FLAT_BINARY = 4,
	FLAT_UTF8 = 5,
	FLAT_BOOL = 6,
	FLAT_DECIMAL = 7,
	FLAT_DATE = 8,
	FLAT_TIME = 9,
	FLAT_TIMESTAMP = 10,
	FLAT_INTERVAL = 11,
	FLAT_LIST = 12,
	FLAT_STRUCT = 13,
	FLAT_FIXED_BINARY = 15,
	FLAT_LARGE_BINARY = 19,
	FLAT_LARGE_UTF8 = 20,
	FLAT_LARGE_LIST = 21
};

#define FLAT_MAX_PARAMS 3

/* The scalars at the beginning of a type's table: bytes of each and the value that is not written. */
typedef struct flat_param
{
	uint8_t size;
	int32_t absent;
} flat_param;

/* A member of the union Type that penstock may meet; those with known = false it only names. */
typedef struct flat_union
{
	uint8_t type; /* FLAT_… */
	const char *name;
	bool known;
	uint8_t nparams;
	flat_param params[FLAT_MAX_PARAMS];
} flat_union;

/*
 * A format as a flatbuffer type: the union's member and the values in its table. Decimal and fixed
 * binary have theirs from the format instead (varies), a timestamp's zone is a string in slot 1.
 */
typedef struct flat_type
{
	arrow_kind kind;
	int64_t per_second; /* as in arrow_type: tells the rows of one kind apart */
	uint8_t type;
	bool varies;
	int32_t params[FLAT_MAX_PARAMS];
	const char *format; /* C format, or its constant beginning */
} flat_type;

/* NULL when there is none. */
const flat_union *arrow_flat_union(int type);
const flat_type *arrow_flat_by_format(const arrow_type *type);
const flat_type *arrow_flat_by_params(int type, const int32_t params[FLAT_MAX_PARAMS]);

/* Which columns a failure is in, from the outermost to the innermost. */
typedef struct flat_place
{
	const struct flat_place *parent;
	const char *name; /* NULL for the batch itself */
	size_t name_len;
	int depth;
} flat_place;

/* Fills err (message, and the path of at, which may be NULL) and returns status. */
arrow_ipc_status arrow_flat_fail(arrow_ipc_error *err, arrow_ipc_status status,
								 const flat_place *at, const char *message);

/* The same with a text behind the message. */
arrow_ipc_status arrow_flat_fail_text(arrow_ipc_error *err, arrow_ipc_status status,
									  const flat_place *at, const char *message, const char *text);

/* Whether this machine is little-endian: bodies are native memory. */
bool arrow_flat_little_endian(void);

#endif /* WIRE_ARROW_FLAT_H */
