/*
 * copy_decode_types.c - each type's binary form into its Arrow array.
 *
 * One small function per type; the table at the end says which one.
 */
#include "copy_decode_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "dates.h"
#include "decimal.h"
#include "pgnumeric.h"
#include "pgtext.h"

/* Values from here on are large; they are copied by so much. */
#define SPEND_BYTES ((size_t) 8 << 20)

/* ---- Values of fixed width ---- */

static psti_outcome
store_bool(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	uint8_t mask = (uint8_t) (1u << (i & 7));

	if (n != 1 || *p > 1)
		return PSTI_BAD;
	if (*p)
		v->fixed[i >> 3] |= mask;
	else
		v->fixed[i >> 3] = (uint8_t) (v->fixed[i >> 3] & ~mask);
	return PSTI_GOOD;
}

static psti_outcome
store_16(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	if (n != 2)
		return PSTI_BAD;
	((uint16_t *) v->fixed)[i] = psti_get16(p);
	return PSTI_GOOD;
}

/* int4 and float4 */
static psti_outcome
store_32(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	if (n != 4)
		return PSTI_BAD;
	((uint32_t *) v->fixed)[i] = psti_get32(p);
	return PSTI_GOOD;
}

/* int8 and float8 */
static psti_outcome
store_64(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	if (n != 8)
		return PSTI_BAD;
	((uint64_t *) v->fixed)[i] = psti_get64(p);
	return PSTI_GOOD;
}

static psti_outcome
store_uuid(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	if (n != 16)
		return PSTI_BAD;
	memcpy(v->fixed + 16 * i, p, 16);
	return PSTI_GOOD;
}

static int64_t
clamp(int64_t value, int64_t lowest, int64_t highest)
{
	return value < lowest ? lowest : value > highest ? highest : value;
}

static psti_outcome
store_date(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	int64_t day;
	int64_t near;

	if (n != 4)
		return PSTI_BAD;
	day = (int32_t) psti_get32(p);
	near = clamp(day, DATES_MIN_DAY, DATES_MAX_DAY);
	if (near != day && v->special != PSTI_SPECIAL_CLAMP)
		return psti_vector_refuse(v);
	((int32_t *) v->fixed)[i] = (int32_t) (near + DATES_1970_TO_2000);
	return PSTI_GOOD;
}

/* 24:00:00 is a time in PostgreSQL; Arrow's ends before it. */
static psti_outcome
store_time(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	int64_t usec;

	if (n != 8)
		return PSTI_BAD;
	usec = (int64_t) psti_get64(p);
	if (usec < 0 || usec > DATES_USECS)
		return PSTI_BAD;
	if (usec == DATES_USECS)
	{
		if (v->special != PSTI_SPECIAL_CLAMP)
			return psti_vector_refuse(v);
		usec--;
	}
	((int64_t *) v->fixed)[i] = usec;
	return PSTI_GOOD;
}

static psti_outcome
store_timestamp(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	int64_t usec;
	int64_t near;

	if (n != 8)
		return PSTI_BAD;
	usec = (int64_t) psti_get64(p);
	near = clamp(usec, DATES_MIN_USEC, DATES_MAX_USEC);
	if (near != usec && v->special != PSTI_SPECIAL_CLAMP)
		return psti_vector_refuse(v);
	((int64_t *) v->fixed)[i] = near + DATES_1970_TO_2000 * DATES_USECS;
	return PSTI_GOOD;
}

/* Microseconds, days, months become months, days, nanoseconds. */
static psti_outcome
store_interval(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	int64_t usec;
	int64_t near;
	int32_t days;
	int32_t months;
	bool infinite;
	uint8_t *at = v->fixed + 16 * i;

	if (n != 16)
		return PSTI_BAD;
	usec = (int64_t) psti_get64(p);
	days = (int32_t) psti_get32(p + 8);
	months = (int32_t) psti_get32(p + 12);
	infinite = (usec == INT64_MAX && days == INT32_MAX && months == INT32_MAX) ||
			   (usec == INT64_MIN && days == INT32_MIN && months == INT32_MIN);
	near = clamp(usec, INT64_MIN / 1000, INT64_MAX / 1000);
	if ((near != usec || infinite) && v->special != PSTI_SPECIAL_CLAMP)
		return psti_vector_refuse(v);
	near *= 1000;
	memcpy(at, &months, 4);
	memcpy(at + 4, &days, 4);
	memcpy(at + 8, &near, 8);
	return PSTI_GOOD;
}

static psti_outcome
store_decimal(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	uint8_t *at = v->fixed + 16 * i;
	bool negative;

	switch (psti_numeric_to_decimal(p, n, v->precision, v->scale, at))
	{
		case PSTI_NUMERIC_FINITE:
			return PSTI_GOOD;
		case PSTI_NUMERIC_NAN: /* there is nothing near it */
			return v->special == PSTI_SPECIAL_ERROR ? PSTI_SPECIAL : PSTI_NULLED;
		case PSTI_NUMERIC_PINF:
			negative = false;
			break;
		case PSTI_NUMERIC_NINF:
			negative = true;
			break;
		case PSTI_NUMERIC_TOO_LARGE:
			negative = psti_get16(p + 4) == 0x4000;
			break;
		default:
			return PSTI_BAD;
	}
	if (v->special != PSTI_SPECIAL_CLAMP)
		return psti_vector_refuse(v);
	/* All nines. */
	decimal_store(decimal_power(v->precision) - 1, negative, at);
	return PSTI_GOOD;
}

/* ---- Texts ---- */

/* Length of the UTF-8 sequence at s (n bytes left), 0 when there is none. */
static size_t
utf8_sequence(const uint8_t *s, size_t n)
{
	uint8_t low = 0x80;
	uint8_t high = 0xbf;
	size_t len;

	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (n < len || s[1] < low || s[1] > high)
		return 0;
	for (size_t k = 2; k < len; k++)
		if ((s[k] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* A reader of utf8 arrays may rely on it, and a SQL_ASCII database does not promise it. */
static bool
utf8_valid(const uint8_t *s, size_t n)
{
	while (n > 0)
	{
		uint64_t word;
		size_t len = 1;

		if (n >= 8)
		{
			memcpy(&word, s, 8);
			if ((word & UINT64_C(0x8080808080808080)) == 0)
			{
				s += 8;
				n -= 8;
				continue;
			}
		}
		if (*s >= 0x80 && (len = utf8_sequence(s, n)) == 0)
			return false;
		s += len;
		n -= len;
	}
	return true;
}

/*
 * Copies a large value, and gives its pages back to the system as it goes: a message of half a gigabyte
 * and its copy would be there both, beside libpq's own buffer of it.
 */
static void
copy_spending(char *to, uint8_t *from, size_t n)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);

	while (n > 0)
	{
		size_t step = n < SPEND_BYTES ? n : SPEND_BYTES;
		size_t head = (page - (uintptr_t) from % page) % page;

		memcpy(to, from, step);
#ifdef MADV_DONTNEED
		if (step > head && step - head >= page)
			(void) madvise(from + head, (step - head) / page * page, MADV_DONTNEED);
#else
		(void) head;
#endif
		to += step;
		from += step;
		n -= step;
	}
}

/* Bytes as they are, after value i's offset. */
static inline psti_outcome
store_bytes(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	int32_t *offsets = (int32_t *) v->fixed;
	size_t begin = (size_t) offsets[i];

	if (n > v->value_bytes - begin)
		return PSTI_FULL;
	v->bytes.len = begin;
	if (v->bytes.cap - begin <= n && psti_buf_reserve(&v->bytes, n) == NULL)
		return PSTI_NO_MEMORY;
	if (v->spends && n >= SPEND_BYTES)
		copy_spending(v->bytes.data + begin, (uint8_t *) p, n);
	else
		memcpy(v->bytes.data + begin, p, n);
	v->bytes.len = begin + n;
	offsets[i + 1] = (int32_t) (begin + n);
	return PSTI_GOOD;
}

static psti_outcome
store_bytea(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	return store_bytes(v, i, p, n);
}

static psti_outcome
store_text(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	return utf8_valid(p, n) ? store_bytes(v, i, p, n) : PSTI_NOT_UTF8;
}

static psti_outcome
store_jsonb(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	if (n < 1 || *p != 1)
		return PSTI_BAD;
	return store_text(v, i, p + 1, n - 1);
}

static psti_outcome
store_printed(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	int32_t *offsets = (int32_t *) v->fixed;
	psti_outcome outcome;

	v->bytes.len = (size_t) offsets[i];
	outcome = psti_print(&v->print, p, n, &v->bytes);
	if (v->bytes.failed)
		return PSTI_NO_MEMORY;
	if (outcome != PSTI_GOOD)
		return outcome;
	if (v->bytes.len > v->value_bytes)
		return PSTI_FULL;
	offsets[i + 1] = (int32_t) v->bytes.len;
	return PSTI_GOOD;
}

/* ---- The output functions' texts ---- */

/* Defines a renderer of a value of `size` bytes by an expression that writes at `at`. */
#define RENDER_FIXED(name, size, expression)                                                       \
	static psti_outcome name(const uint8_t *p, size_t n, psti_buf *out)                            \
	{                                                                                              \
		char *at;                                                                                  \
		if (n != (size))                                                                           \
			return PSTI_BAD;                                                                       \
		at = psti_buf_reserve(out, PSTI_TEXT_MAX);                                                 \
		if (at == NULL)                                                                            \
			return PSTI_NO_MEMORY;                                                                 \
		out->len += (expression);                                                                  \
		return PSTI_GOOD;                                                                          \
	}

static float
get_float4(const uint8_t *p)
{
	uint32_t bits = psti_get32(p);
	float value;

	memcpy(&value, &bits, 4);
	return value;
}

static double
get_float8(const uint8_t *p)
{
	uint64_t bits = psti_get64(p);
	double value;

	memcpy(&value, &bits, 8);
	return value;
}

static size_t
copy_word(const char *word, char *at)
{
	size_t n = strlen(word);

	memcpy(at, word, n);
	return n;
}

#define GET_I16(p) ((int16_t) psti_get16(p))
#define GET_I32(p) ((int32_t) psti_get32(p))
#define GET_I64(p) ((int64_t) psti_get64(p))

RENDER_FIXED(text_bool, 1, psti_text_bool(*p != 0, at))
RENDER_FIXED(text_int2, 2, psti_text_int64(GET_I16(p), at))
RENDER_FIXED(text_int4, 4, psti_text_int64(GET_I32(p), at))
RENDER_FIXED(text_int8, 8, psti_text_int64(GET_I64(p), at))
RENDER_FIXED(text_oid, 4, psti_text_int64((int64_t) psti_get32(p), at))
RENDER_FIXED(text_float4, 4, psti_text_float4(get_float4(p), at))
RENDER_FIXED(text_float8, 8, psti_text_float8(get_float8(p), at))
RENDER_FIXED(text_date, 4, psti_text_date(GET_I32(p), at))
RENDER_FIXED(text_time, 8, psti_text_time(GET_I64(p), at))
RENDER_FIXED(text_timetz, 12, psti_text_timetz(GET_I64(p), GET_I32(p + 8), at))
RENDER_FIXED(text_timestamp, 8, psti_text_timestamp(GET_I64(p), false, at))
RENDER_FIXED(text_timestamptz, 8, psti_text_timestamp(GET_I64(p), true, at))
RENDER_FIXED(text_interval, 16, psti_text_interval(GET_I64(p), GET_I32(p + 8), GET_I32(p + 12), at))
RENDER_FIXED(text_interval_finite, 16,
			 psti_text_interval_finite(GET_I64(p), GET_I32(p + 8), GET_I32(p + 12), at))
RENDER_FIXED(text_uuid, 16, psti_text_uuid(p, at))
RENDER_FIXED(json_bool, 1, copy_word(*p != 0 ? "true" : "false", at))
RENDER_FIXED(json_date, 4, psti_json_date(GET_I32(p), at))
RENDER_FIXED(json_timestamp, 8, psti_json_timestamp(GET_I64(p), false, at))
RENDER_FIXED(json_timestamptz, 8, psti_json_timestamp(GET_I64(p), true, at))

static psti_outcome
text_bytea(const uint8_t *p, size_t n, psti_buf *out)
{
	psti_text_bytea(p, n, out);
	return PSTI_GOOD;
}

static psti_outcome
text_numeric(const uint8_t *p, size_t n, psti_buf *out)
{
	return psti_numeric_to_text(p, n, out) == PSTI_NUMERIC_BAD ? PSTI_BAD : PSTI_GOOD;
}

static psti_outcome
text_text(const uint8_t *p, size_t n, psti_buf *out)
{
	if (!utf8_valid(p, n))
		return PSTI_NOT_UTF8;
	psti_buf_append(out, p, n);
	return PSTI_GOOD;
}

static psti_outcome
text_jsonb(const uint8_t *p, size_t n, psti_buf *out)
{
	if (n < 1 || *p != 1)
		return PSTI_BAD;
	return text_text(p + 1, n - 1, out);
}

/* ---- The same as row_to_json has them ---- */

/* A text that needs no escapes, in quotes. */
static psti_outcome
quoted(psti_render_fn text, const uint8_t *p, size_t n, psti_buf *out)
{
	psti_outcome outcome;

	psti_buf_putc(out, '"');
	outcome = text(p, n, out);
	psti_buf_putc(out, '"');
	return outcome;
}

#define RENDER_QUOTED(name, text)                                                                  \
	static psti_outcome name(const uint8_t *p, size_t n, psti_buf *out)                            \
	{                                                                                              \
		return quoted(text, p, n, out);                                                            \
	}

RENDER_QUOTED(json_oid, text_oid)
RENDER_QUOTED(json_time, text_time)
RENDER_QUOTED(json_timetz, text_timetz)
RENDER_QUOTED(json_interval, text_interval)
RENDER_QUOTED(json_interval_finite, text_interval_finite)
RENDER_QUOTED(json_uuid, text_uuid)

/* NaN and Infinity are no json numbers: in quotes. */
static psti_outcome
number(psti_render_fn text, const uint8_t *p, size_t n, psti_buf *out)
{
	size_t begin = out->len;
	psti_outcome outcome = text(p, n, out);
	char first;

	if (outcome != PSTI_GOOD || out->failed || out->len == begin)
		return outcome;
	first = out->data[begin];
	if (first == '-' && out->len > begin + 1)
		first = out->data[begin + 1];
	if (first >= '0' && first <= '9')
		return PSTI_GOOD;
	out->len = begin;
	return quoted(text, p, n, out);
}

RENDER_FIXED(json_int2, 2, psti_text_int64(GET_I16(p), at))
RENDER_FIXED(json_int4, 4, psti_text_int64(GET_I32(p), at))
RENDER_FIXED(json_int8, 8, psti_text_int64(GET_I64(p), at))

#define RENDER_NUMBER(name, text)                                                                  \
	static psti_outcome name(const uint8_t *p, size_t n, psti_buf *out)                            \
	{                                                                                              \
		return number(text, p, n, out);                                                            \
	}

RENDER_NUMBER(json_float4, text_float4)
RENDER_NUMBER(json_float8, text_float8)
RENDER_NUMBER(json_numeric, text_numeric)
RENDER_NUMBER(json_number_text, text_text)

static psti_outcome
json_bytea(const uint8_t *p, size_t n, psti_buf *out)
{
	psti_buf_puts(out, "\"\\"); /* the backslash of \x, escaped */
	psti_text_bytea(p, n, out);
	psti_buf_putc(out, '"');
	return PSTI_GOOD;
}

static psti_outcome
json_text(const uint8_t *p, size_t n, psti_buf *out)
{
	if (!utf8_valid(p, n))
		return PSTI_NOT_UTF8;
	psti_json_string((const char *) p, n, out);
	return PSTI_GOOD;
}

/* Line breaks can only stand between the tokens of a json text: they become spaces. */
static psti_outcome
json_made(const uint8_t *p, size_t n, psti_buf *out)
{
	size_t begin = out->len;
	psti_outcome outcome = text_text(p, n, out);

	if (outcome != PSTI_GOOD || out->failed)
		return outcome;
	for (size_t k = begin; k < out->len; k++)
		if (out->data[k] == '\n' || out->data[k] == '\r')
			out->data[k] = ' ';
	return PSTI_GOOD;
}

static bool
json_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * A json null is the string "null" and a json string keeps its quotes inside a string, so that
 * neither is taken for SQL NULL or for a bare text when it is written back.
 */
static psti_outcome
json_json(const uint8_t *p, size_t n, psti_buf *out)
{
	while (n > 0 && json_space(*p))
	{
		p++;
		n--;
	}
	while (n > 0 && json_space(p[n - 1]))
		n--;
	if (n > 0 && (*p == '"' || *p == 'n'))
		return json_text(p, n, out);
	return json_made(p, n, out);
}

static psti_outcome
json_jsonb(const uint8_t *p, size_t n, psti_buf *out)
{
	if (n < 1 || *p != 1)
		return PSTI_BAD;
	return json_json(p + 1, n - 1, out);
}

/* ---- The table ---- */

static const struct copy_type
{
	const char *format; /* NULL: utf8, by text */
	int width;			/* of format; 0: bits; -1: offsets */
	psti_store_fn store;
	psti_render_fn text;
	psti_render_fn json;
} types[PSTI_COPY_NTYPES] = {
	[PSTI_COPY_BOOL] = {"b", 0, store_bool, text_bool, json_bool},
	[PSTI_COPY_INT2] = {"s", 2, store_16, text_int2, json_int2},
	[PSTI_COPY_INT4] = {"i", 4, store_32, text_int4, json_int4},
	[PSTI_COPY_INT8] = {"l", 8, store_64, text_int8, json_int8},
	[PSTI_COPY_OID] = {NULL, -1, NULL, text_oid, json_oid},
	[PSTI_COPY_FLOAT4] = {"f", 4, store_32, text_float4, json_float4},
	[PSTI_COPY_FLOAT8] = {"g", 8, store_64, text_float8, json_float8},
	[PSTI_COPY_DATE] = {"tdD", 4, store_date, text_date, json_date},
	[PSTI_COPY_TIME] = {"ttu", 8, store_time, text_time, json_time},
	[PSTI_COPY_TIMETZ] = {NULL, -1, NULL, text_timetz, json_timetz},
	[PSTI_COPY_TIMESTAMP] = {"tsu:", 8, store_timestamp, text_timestamp, json_timestamp},
	[PSTI_COPY_TIMESTAMPTZ] = {"tsu:UTC", 8, store_timestamp, text_timestamptz, json_timestamptz},
	[PSTI_COPY_INTERVAL] = {"tin", 16, store_interval, text_interval, json_interval},
	[PSTI_COPY_INTERVAL_FINITE] = {"tin", 16, store_interval, text_interval_finite,
								   json_interval_finite},
	[PSTI_COPY_UUID] = {"w:16", 16, store_uuid, text_uuid, json_uuid},
	[PSTI_COPY_BYTEA] = {"z", -1, store_bytea, text_bytea, json_bytea},
	[PSTI_COPY_NUMERIC] = {"d:", 16, store_decimal, text_numeric, json_numeric},
	[PSTI_COPY_TEXT] = {"u", -1, store_text, text_text, json_text},
	[PSTI_COPY_JSON] = {"u", -1, store_text, text_text, json_json},
	[PSTI_COPY_JSONB] = {"u", -1, store_jsonb, text_jsonb, json_jsonb},
	[PSTI_COPY_NUMBER_TEXT] = {"u", -1, store_text, text_text, json_number_text},
	[PSTI_COPY_MADE_JSON] = {"u", -1, store_text, text_text, json_made},
};

static const struct known_type
{
	uint32_t oid;
	psti_copy_type type;
} known_types[] = {
	{16, PSTI_COPY_BOOL},		 {17, PSTI_COPY_BYTEA},			{19, PSTI_COPY_TEXT},
	{20, PSTI_COPY_INT8},		 {21, PSTI_COPY_INT2},			{23, PSTI_COPY_INT4},
	{25, PSTI_COPY_TEXT},		 {26, PSTI_COPY_OID},			{114, PSTI_COPY_JSON},
	{700, PSTI_COPY_FLOAT4},	 {701, PSTI_COPY_FLOAT8},		{1042, PSTI_COPY_TEXT},
	{1043, PSTI_COPY_TEXT},		 {1082, PSTI_COPY_DATE},		{1083, PSTI_COPY_TIME},
	{1114, PSTI_COPY_TIMESTAMP}, {1184, PSTI_COPY_TIMESTAMPTZ}, {1186, PSTI_COPY_INTERVAL},
	{1266, PSTI_COPY_TIMETZ},	 {1700, PSTI_COPY_NUMERIC},		{2950, PSTI_COPY_UUID},
	{3802, PSTI_COPY_JSONB},
};

bool
psti_copy_known(uint32_t oid, psti_copy_type *type)
{
	for (size_t i = 0; i < sizeof(known_types) / sizeof(known_types[0]); i++)
		if (known_types[i].oid == oid)
		{
			*type = known_types[i].type;
			return true;
		}
	return false;
}

bool
psti_copy_has_arrow(psti_copy_type type)
{
	return types[type].format != NULL;
}

bool
psti_copy_is_lossy(psti_copy_type type)
{
	switch (type)
	{
		case PSTI_COPY_DATE:
		case PSTI_COPY_TIME:
		case PSTI_COPY_TIMESTAMP:
		case PSTI_COPY_TIMESTAMPTZ:
		case PSTI_COPY_INTERVAL:
		case PSTI_COPY_INTERVAL_FINITE:
		case PSTI_COPY_NUMERIC:
			return true;
		default:
			return false;
	}
}

void
psti_copy_format(const psti_copy_column *column, char *out, size_t size)
{
	const struct copy_type *type = &types[column->type];

	if (column->form == PSTI_FORM_BINARY)
		snprintf(out, size, "z");
	else if (column->form != PSTI_FORM_ARROW || type->format == NULL)
		snprintf(out, size, "u");
	else if (column->type == PSTI_COPY_NUMERIC)
		snprintf(out, size, "d:%d,%d", column->precision, column->scale);
	else
		snprintf(out, size, "%s", type->format);
}

static void
choose_printer(psti_printer *print, const psti_copy_column *column)
{
	const struct copy_type *type = &types[column->type];

	print->json = column->form == PSTI_FORM_JSON;
	print->value = print->json ? type->json : type->text;
	print->text = type->text;
	print->list = column->list;
	print->elem = column->elem;
	print->delimiter = column->delimiter == '\0' ? ',' : column->delimiter;
	print->of_json = column->type == PSTI_COPY_JSON || column->type == PSTI_COPY_JSONB;
}

bool
psti_copy_print(const psti_copy_column *column, const void *data, size_t nbytes, psti_buf *out)
{
	size_t begin = out->len;
	psti_printer print;

	choose_printer(&print, column);
	if (psti_print(&print, data, nbytes, out) == PSTI_GOOD && !out->failed)
		return true;
	out->len = out->failed ? out->len : begin;
	return false;
}

/* A value, or an element of a list. */
static void
choose_value(psti_vector *v, const psti_copy_column *column)
{
	const struct copy_type *type = &types[column->type];
	bool plain = type->store == store_text || type->store == store_jsonb;

	choose_printer(&v->print, column);
	if (column->form == PSTI_FORM_BINARY)
		v->store = store_bytea;
	else if (column->form == PSTI_FORM_ARROW && type->store != NULL)
		v->store = type->store;
	else if (column->form != PSTI_FORM_JSON && plain && !column->list)
		v->store = type->store; /* the text is the output function's already */
	else
		v->store = store_printed;
	v->width = column->form == PSTI_FORM_ARROW && v->store == type->store ? type->width : -1;
	if (v->width < 0)
	{
		v->width = 4;
		v->offsets = true;
	}
	v->precision = column->precision;
	v->scale = column->scale;
}

void
psti_vector_choose(psti_vector *v, const psti_copy_column *column)
{
	psti_copy_column item = *column;

	if (v->child == NULL)
	{
		choose_value(v, column);
		return;
	}
	item.list = false;
	choose_value(v->child, &item);
	v->elem = column->elem;
	v->store = psti_store_list;
	v->width = 4;
	v->offsets = true;
}

/* ---- Memory ---- */

static size_t
bitmap_bytes(int64_t rows)
{
	return (size_t) (rows + 7) / 8;
}

static bool
grow_block(uint8_t **block, size_t nbytes)
{
	uint8_t *grown = realloc(*block, nbytes);

	if (grown != NULL)
		*block = grown;
	return grown != NULL;
}

bool
psti_vector_grow(psti_vector *v, int64_t rows)
{
	int64_t cap = v->cap;
	size_t old_bits = bitmap_bytes(v->cap);
	size_t nbytes;

	if (rows <= cap)
		return true;
	cap = rows > cap * 2 ? rows : cap * 2;
	if (cap > INT32_MAX - 1)
		cap = INT32_MAX - 1;
	if (rows > cap)
		return false;
	nbytes = v->width == 0 ? bitmap_bytes(cap)
						   : (size_t) (cap + (v->offsets ? 1 : 0)) * (size_t) v->width;
	if (!grow_block(&v->fixed, nbytes))
		return false;
	if (v->cap == 0 && v->offsets)
		((int32_t *) v->fixed)[0] = 0;
	if (v->cap == 0 && v->likely_bytes > 0 && psti_buf_reserve(&v->bytes, v->likely_bytes) == NULL)
		return false;
	if (v->width == 0)
		memset(v->fixed + old_bits, 0, nbytes - old_bits);
	if (v->valid != NULL)
	{
		if (!grow_block(&v->valid, bitmap_bytes(cap)))
			return false;
		memset(v->valid + old_bits, 0xff, bitmap_bytes(cap) - old_bits);
	}
	v->cap = cap;
	return true;
}

bool
psti_vector_null(psti_vector *v, int64_t i)
{
	if (v->valid == NULL)
	{
		v->valid = malloc(bitmap_bytes(v->cap));
		if (v->valid == NULL)
			return false;
		memset(v->valid, 0xff, bitmap_bytes(v->cap));
	}
	v->valid[i >> 3] = (uint8_t) (v->valid[i >> 3] & ~(1u << (i & 7)));
	if (v->offsets)
		((int32_t *) v->fixed)[i + 1] = ((int32_t *) v->fixed)[i];
	else if (v->width == 0)
		v->fixed[i >> 3] = (uint8_t) (v->fixed[i >> 3] & ~(1u << (i & 7)));
	else
		memset(v->fixed + (size_t) i * (size_t) v->width, 0, (size_t) v->width);
	return true;
}
