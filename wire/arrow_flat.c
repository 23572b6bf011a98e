/* arrow_flat.c - Arrow types as flatbuffer tables, and the errors of writer and reader. */
#include "arrow_flat.h"

#include <string.h>

#define SECONDS 1
#define MILLIS 1000
#define MICROS 1000000
#define NANOS 1000000000

/* Schema.fbs, union Type, in its order. */
static const flat_union unions[] = {
	{FLAT_NULL, "Null", true, 0, {{0, 0}}},
	{FLAT_INT, "Int", true, 2, {{4, 0}, {1, 0}}},
	{FLAT_FLOAT, "FloatingPoint", true, 1, {{2, 0}}},
	{FLAT_BINARY, "Binary", true, 0, {{0, 0}}},
	{FLAT_UTF8, "Utf8", true, 0, {{0, 0}}},
	{FLAT_BOOL, "Bool", true, 0, {{0, 0}}},
	{FLAT_DECIMAL, "Decimal", true, 3, {{4, 0}, {4, 0}, {4, 128}}},
	{FLAT_DATE, "Date", true, 1, {{2, 1}}},
	{FLAT_TIME, "Time", true, 2, {{2, 1}, {4, 32}}},
	{FLAT_TIMESTAMP, "Timestamp", true, 1, {{2, 0}}},
	{FLAT_INTERVAL, "Interval", true, 1, {{2, 0}}},
	{FLAT_LIST, "List", true, 0, {{0, 0}}},
	{FLAT_STRUCT, "Struct", true, 0, {{0, 0}}},
	{14, "Union", false, 0, {{0, 0}}},
	{FLAT_FIXED_BINARY, "FixedSizeBinary", true, 1, {{4, 0}}},
	{16, "FixedSizeList", false, 0, {{0, 0}}},
	{17, "Map", false, 0, {{0, 0}}},
	{18, "Duration", false, 0, {{0, 0}}},
	{FLAT_LARGE_BINARY, "LargeBinary", true, 0, {{0, 0}}},
	{FLAT_LARGE_UTF8, "LargeUtf8", true, 0, {{0, 0}}},
	{FLAT_LARGE_LIST, "LargeList", true, 0, {{0, 0}}},
	{22, "RunEndEncoded", false, 0, {{0, 0}}},
	{23, "BinaryView", false, 0, {{0, 0}}},
	{24, "Utf8View", false, 0, {{0, 0}}},
	{25, "ListView", false, 0, {{0, 0}}},
	{26, "LargeListView", false, 0, {{0, 0}}},
};

static const flat_type types[] = {
	{ARROW_KIND_NULL, 0, FLAT_NULL, false, {0, 0, 0}, "n"},
	{ARROW_KIND_BOOL, 0, FLAT_BOOL, false, {0, 0, 0}, "b"},
	{ARROW_KIND_INT8, 0, FLAT_INT, false, {8, 1, 0}, "c"},
	{ARROW_KIND_UINT8, 0, FLAT_INT, false, {8, 0, 0}, "C"},
	{ARROW_KIND_INT16, 0, FLAT_INT, false, {16, 1, 0}, "s"},
	{ARROW_KIND_UINT16, 0, FLAT_INT, false, {16, 0, 0}, "S"},
	{ARROW_KIND_INT32, 0, FLAT_INT, false, {32, 1, 0}, "i"},
	{ARROW_KIND_UINT32, 0, FLAT_INT, false, {32, 0, 0}, "I"},
	{ARROW_KIND_INT64, 0, FLAT_INT, false, {64, 1, 0}, "l"},
	{ARROW_KIND_UINT64, 0, FLAT_INT, false, {64, 0, 0}, "L"},
	{ARROW_KIND_FLOAT, 0, FLAT_FLOAT, false, {1, 0, 0}, "f"},
	{ARROW_KIND_DOUBLE, 0, FLAT_FLOAT, false, {2, 0, 0}, "g"},
	{ARROW_KIND_DECIMAL, 0, FLAT_DECIMAL, true, {0, 0, 128}, "d:"},
	{ARROW_KIND_DATE32, 0, FLAT_DATE, false, {0, 0, 0}, "tdD"},
	{ARROW_KIND_DATE64, 0, FLAT_DATE, false, {1, 0, 0}, "tdm"},
	{ARROW_KIND_TIME32, SECONDS, FLAT_TIME, false, {0, 32, 0}, "tts"},
	{ARROW_KIND_TIME32, MILLIS, FLAT_TIME, false, {1, 32, 0}, "ttm"},
	{ARROW_KIND_TIME64, MICROS, FLAT_TIME, false, {2, 64, 0}, "ttu"},
	{ARROW_KIND_TIME64, NANOS, FLAT_TIME, false, {3, 64, 0}, "ttn"},
	{ARROW_KIND_TIMESTAMP, SECONDS, FLAT_TIMESTAMP, false, {0, 0, 0}, "tss:"},
	{ARROW_KIND_TIMESTAMP, MILLIS, FLAT_TIMESTAMP, false, {1, 0, 0}, "tsm:"},
	{ARROW_KIND_TIMESTAMP, MICROS, FLAT_TIMESTAMP, false, {2, 0, 0}, "tsu:"},
	{ARROW_KIND_TIMESTAMP, NANOS, FLAT_TIMESTAMP, false, {3, 0, 0}, "tsn:"},
	{ARROW_KIND_INTERVAL, 0, FLAT_INTERVAL, false, {2, 0, 0}, "tin"},
	{ARROW_KIND_UTF8, 0, FLAT_UTF8, false, {0, 0, 0}, "u"},
	{ARROW_KIND_LARGE_UTF8, 0, FLAT_LARGE_UTF8, false, {0, 0, 0}, "U"},
	{ARROW_KIND_BINARY, 0, FLAT_BINARY, false, {0, 0, 0}, "z"},
	{ARROW_KIND_LARGE_BINARY, 0, FLAT_LARGE_BINARY, false, {0, 0, 0}, "Z"},
	{ARROW_KIND_FIXED_BINARY, 0, FLAT_FIXED_BINARY, true, {0, 0, 0}, "w:"},
	{ARROW_KIND_LIST, 0, FLAT_LIST, false, {0, 0, 0}, "+l"},
	{ARROW_KIND_LARGE_LIST, 0, FLAT_LARGE_LIST, false, {0, 0, 0}, "+L"},
	{ARROW_KIND_STRUCT, 0, FLAT_STRUCT, false, {0, 0, 0}, "+s"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const flat_union *
arrow_flat_union(int type)
{
	for (size_t i = 0; i < COUNT(unions); i++)
		if (unions[i].type == type)
			return &unions[i];
	return NULL;
}

const flat_type *
arrow_flat_by_format(const arrow_type *type)
{
	for (size_t i = 0; i < COUNT(types); i++)
		if (types[i].kind == type->kind && types[i].per_second == type->per_second)
			return &types[i];
	return NULL;
}

const flat_type *
arrow_flat_by_params(int type, const int32_t params[FLAT_MAX_PARAMS])
{
	for (size_t i = 0; i < COUNT(types); i++)
		if (types[i].type == type &&
			(types[i].varies || memcmp(types[i].params, params, sizeof(types[i].params)) == 0))
			return &types[i];
	return NULL;
}

/* Appends as much of a text as there is room for; *len stays below size. */
static void
append(char *out, size_t size, size_t *len, const char *text, size_t text_len)
{
	size_t room = size - 1 - *len;

	if (text_len > room)
	{
		/* Not through the middle of a UTF-8 character. */
		while (room > 0 && ((unsigned char) text[room] & 0xC0) == 0x80)
			room--;
		text_len = room;
	}
	if (text_len > 0)
		memcpy(out + *len, text, text_len);
	*len += text_len;
	out[*len] = '\0';
}

static void
append_path(arrow_ipc_error *err, size_t *len, const flat_place *at)
{
	if (at->parent != NULL)
		append_path(err, len, at->parent);
	if (at->name == NULL)
		return;
	if (*len > 0)
		append(err->column, sizeof(err->column), len, ".", 1);
	append(err->column, sizeof(err->column), len, at->name, at->name_len);
}

arrow_ipc_status
arrow_flat_fail(arrow_ipc_error *err, arrow_ipc_status status, const flat_place *at,
				const char *message)
{
	return arrow_flat_fail_text(err, status, at, message, "");
}

arrow_ipc_status
arrow_flat_fail_text(arrow_ipc_error *err, arrow_ipc_status status, const flat_place *at,
					 const char *message, const char *text)
{
	size_t len = 0;

	append(err->message, sizeof(err->message), &len, message, strlen(message));
	append(err->message, sizeof(err->message), &len, text, strlen(text));
	len = 0;
	err->column[0] = '\0';
	if (at != NULL)
		append_path(err, &len, at);
	return status;
}

bool
arrow_flat_little_endian(void)
{
	const uint16_t one = 1;
	uint8_t first;

	memcpy(&first, &one, 1);
	return first == 1;
}
