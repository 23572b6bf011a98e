/* arrow_type.c - format strings and bitmaps. */
#include "arrow_type.h"

#include <stdio.h>
#include <string.h>

/* Formats without parameters, and those whose parameter follows as text (a zone). */
typedef struct format_row
{
	const char *format;
	arrow_kind kind;
	arrow_layout layout;
	int32_t width;
	int64_t per_second;
	bool zone; /* format is a prefix, the rest is a time zone */
} format_row;

static const format_row format_rows[] = {
	{"n", ARROW_KIND_NULL, ARROW_LAYOUT_NULL, 0, 0, false},
	{"b", ARROW_KIND_BOOL, ARROW_LAYOUT_BITS, 0, 0, false},
	{"c", ARROW_KIND_INT8, ARROW_LAYOUT_FIXED, 1, 0, false},
	{"C", ARROW_KIND_UINT8, ARROW_LAYOUT_FIXED, 1, 0, false},
	{"s", ARROW_KIND_INT16, ARROW_LAYOUT_FIXED, 2, 0, false},
	{"S", ARROW_KIND_UINT16, ARROW_LAYOUT_FIXED, 2, 0, false},
	{"i", ARROW_KIND_INT32, ARROW_LAYOUT_FIXED, 4, 0, false},
	{"I", ARROW_KIND_UINT32, ARROW_LAYOUT_FIXED, 4, 0, false},
	{"l", ARROW_KIND_INT64, ARROW_LAYOUT_FIXED, 8, 0, false},
	{"L", ARROW_KIND_UINT64, ARROW_LAYOUT_FIXED, 8, 0, false},
	{"f", ARROW_KIND_FLOAT, ARROW_LAYOUT_FIXED, 4, 0, false},
	{"g", ARROW_KIND_DOUBLE, ARROW_LAYOUT_FIXED, 8, 0, false},
	{"u", ARROW_KIND_UTF8, ARROW_LAYOUT_VAR, 4, 0, false},
	{"U", ARROW_KIND_LARGE_UTF8, ARROW_LAYOUT_VAR, 8, 0, false},
	{"z", ARROW_KIND_BINARY, ARROW_LAYOUT_VAR, 4, 0, false},
	{"Z", ARROW_KIND_LARGE_BINARY, ARROW_LAYOUT_VAR, 8, 0, false},
	{"tdD", ARROW_KIND_DATE32, ARROW_LAYOUT_FIXED, 4, 0, false},
	{"tdm", ARROW_KIND_DATE64, ARROW_LAYOUT_FIXED, 8, 0, false},
	{"tts", ARROW_KIND_TIME32, ARROW_LAYOUT_FIXED, 4, 1, false},
	{"ttm", ARROW_KIND_TIME32, ARROW_LAYOUT_FIXED, 4, 1000, false},
	{"ttu", ARROW_KIND_TIME64, ARROW_LAYOUT_FIXED, 8, 1000000, false},
	{"ttn", ARROW_KIND_TIME64, ARROW_LAYOUT_FIXED, 8, 1000000000, false},
	{"tss:", ARROW_KIND_TIMESTAMP, ARROW_LAYOUT_FIXED, 8, 1, true},
	{"tsm:", ARROW_KIND_TIMESTAMP, ARROW_LAYOUT_FIXED, 8, 1000, true},
	{"tsu:", ARROW_KIND_TIMESTAMP, ARROW_LAYOUT_FIXED, 8, 1000000, true},
	{"tsn:", ARROW_KIND_TIMESTAMP, ARROW_LAYOUT_FIXED, 8, 1000000000, true},
	{"tin", ARROW_KIND_INTERVAL, ARROW_LAYOUT_FIXED, 16, 0, false},
	{"+l", ARROW_KIND_LIST, ARROW_LAYOUT_LIST, 4, 0, false},
	{"+L", ARROW_KIND_LARGE_LIST, ARROW_LAYOUT_LIST, 8, 0, false},
	{"+s", ARROW_KIND_STRUCT, ARROW_LAYOUT_STRUCT, 0, 0, false},
};

/* A decimal integer of at most nine digits at *at, which moves behind it; no libc, no locale. */
static bool
parse_int(const char **at, bool sign, int32_t *out)
{
	const char *p = *at;
	bool minus = sign && *p == '-';
	int32_t value = 0;
	int digits = 0;

	if (minus)
		p++;
	for (; *p >= '0' && *p <= '9'; p++)
	{
		if (++digits > 9)
			return false;
		value = value * 10 + (*p - '0');
	}
	if (digits == 0)
		return false;
	*at = p;
	*out = minus ? -value : value;
	return true;
}

/* d:PRECISION,SCALE with an optional ,128 */
static bool
parse_decimal(const char *at, arrow_type *type)
{
	int32_t bits = 128;

	if (!parse_int(&at, false, &type->precision) || *at != ',')
		return false;
	at++;
	if (!parse_int(&at, true, &type->scale))
		return false;
	if (*at == ',')
	{
		at++;
		if (!parse_int(&at, false, &bits))
			return false;
	}
	type->kind = ARROW_KIND_DECIMAL;
	type->layout = ARROW_LAYOUT_FIXED;
	type->width = 16;
	return *at == '\0' && bits == 128 && type->precision >= 1 && type->precision <= 38;
}

static bool
parse_fixed_binary(const char *at, arrow_type *type)
{
	if (!parse_int(&at, false, &type->width) || *at != '\0')
		return false;
	type->kind = ARROW_KIND_FIXED_BINARY;
	type->layout = ARROW_LAYOUT_FIXED;
	return true;
}

arrow_type
arrow_type_parse(const char *format)
{
	static const arrow_type unknown = {ARROW_KIND_UNKNOWN, ARROW_LAYOUT_NULL, 0, 0, 0, 0, NULL};
	arrow_type type = unknown;

	if (format == NULL)
		return unknown;
	if (strncmp(format, "d:", 2) == 0)
		return parse_decimal(format + 2, &type) ? type : unknown;
	if (strncmp(format, "w:", 2) == 0)
		return parse_fixed_binary(format + 2, &type) ? type : unknown;
	for (size_t i = 0; i < sizeof(format_rows) / sizeof(format_rows[0]); i++)
	{
		const format_row *row = &format_rows[i];
		size_t len = strlen(row->format);

		if (row->zone ? strncmp(format, row->format, len) != 0 : strcmp(format, row->format) != 0)
			continue;
		type.kind = row->kind;
		type.layout = row->layout;
		type.width = row->width;
		type.per_second = row->per_second;
		type.zone = row->zone ? format + len : NULL;
		return type;
	}
	return unknown;
}

/* Formats and what they are called; of those that end in a colon the rest is a parameter. */
static const char *const type_names[][2] = {
	{"n", "null"},
	{"b", "bool"},
	{"c", "int8"},
	{"C", "uint8"},
	{"s", "int16"},
	{"S", "uint16"},
	{"i", "int32"},
	{"I", "uint32"},
	{"l", "int64"},
	{"L", "uint64"},
	{"e", "float16"},
	{"f", "float"},
	{"g", "double"},
	{"u", "utf8"},
	{"U", "large_utf8"},
	{"vu", "utf8_view"},
	{"z", "binary"},
	{"Z", "large_binary"},
	{"vz", "binary_view"},
	{"w:", "fixed_size_binary[%s]"},
	{"tdD", "date32"},
	{"tdm", "date64"},
	{"tts", "time32[s]"},
	{"ttm", "time32[ms]"},
	{"ttu", "time64[us]"},
	{"ttn", "time64[ns]"},
	{"tss:", "timestamp[s%s]"},
	{"tsm:", "timestamp[ms%s]"},
	{"tsu:", "timestamp[us%s]"},
	{"tsn:", "timestamp[ns%s]"},
	{"tDs", "duration[s]"},
	{"tDm", "duration[ms]"},
	{"tDu", "duration[us]"},
	{"tDn", "duration[ns]"},
	{"tiM", "month_interval"},
	{"tiD", "day_time_interval"},
	{"tin", "month_day_nano_interval"},
	{"+l", "list"},
	{"+L", "large_list"},
	{"+vl", "list_view"},
	{"+vL", "large_list_view"},
	{"+w:", "fixed_size_list[%s]"},
	{"+s", "struct"},
	{"+m", "map"},
	{"+ud:", "dense_union"},
	{"+us:", "sparse_union"},
	{"+r", "run_end_encoded"},
};

/* d:PRECISION,SCALE or d:PRECISION,SCALE,BITS */
static bool
name_decimal(const char *at, char out[ARROW_TYPE_NAME])
{
	int32_t precision;
	int32_t scale;
	int32_t bits = 128;

	if (!parse_int(&at, false, &precision) || *at++ != ',' || !parse_int(&at, true, &scale))
		return false;
	if (*at == ',' && (at++, !parse_int(&at, false, &bits)))
		return false;
	snprintf(out, ARROW_TYPE_NAME, "decimal%d(%d, %d)", bits, precision, scale);
	return *at == '\0';
}

const char *
arrow_type_name(const char *format, char out[ARROW_TYPE_NAME])
{
	if (format == NULL)
		format = "";
	if (strncmp(format, "d:", 2) == 0 && name_decimal(format + 2, out))
		return out;
	for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
	{
		const char *name = type_names[i][1];
		const char *place = strstr(name, "%s");
		size_t len = strlen(type_names[i][0]);
		bool open = type_names[i][0][len - 1] == ':';
		const char *rest;

		if (open ? strncmp(format, type_names[i][0], len) != 0
				 : strcmp(format, type_names[i][0]) != 0)
			continue;
		rest = format + len;
		if (place == NULL)
			snprintf(out, ARROW_TYPE_NAME, "%s", name);
		else
			snprintf(out, ARROW_TYPE_NAME, "%.*s%s%.40s%s", (int) (place - name), name,
					 format[0] == 't' && *rest != '\0' ? ", " : "", rest, place + 2);
		return out;
	}
	snprintf(out, ARROW_TYPE_NAME, "\"%.40s\"", format);
	return out;
}

int
arrow_layout_buffers(arrow_layout layout)
{
	static const int buffers[] = {0, 2, 2, 3, 2, 1};

	return buffers[layout];
}

int64_t
arrow_bits_count(const uint8_t *bits, int64_t start, int64_t nbits)
{
	int64_t count = 0;
	int64_t i = start;
	int64_t end = start + nbits;

	for (; i < end && (i & 7) != 0; i++)
		count += (bits[i >> 3] >> (i & 7)) & 1;
	for (; end - i >= 64; i += 64)
	{
		uint64_t word;

		memcpy(&word, bits + (i >> 3), 8);
		count += __builtin_popcountll(word);
	}
	for (; i < end; i++)
		count += (bits[i >> 3] >> (i & 7)) & 1;
	return count;
}
