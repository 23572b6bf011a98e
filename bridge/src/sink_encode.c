/* sink_encode.c - values of Arrow arrays as fields of binary COPY, or lines of text COPY. */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "dates.h"
#include "pgnumeric.h"
#include "pgbinary.h"
#include "value.h"

/* Built-in types by OID: fixed by the server. */
enum
{
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_NAME = 19,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = PSTI_OID_TEXT,
	OID_JSON = 114,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
	OID_DATE = 1082,
	OID_TIME = 1083,
	OID_TIMESTAMP = 1114,
	OID_TIMESTAMPTZ = 1184,
	OID_INTERVAL = 1186,
	OID_NUMERIC = 1700,
	OID_UUID = 2950,
	OID_JSONB = 3802
};

/* The ends of the server's domains. */
#define DATE_MIN_DAYS (-2451545)
#define DATE_END_DAYS INT64_C(2145031949)
#define TIMESTAMP_MIN_USECS (-INT64_C(211813488000000000))
#define TIMESTAMP_END_USECS INT64_C(9223371331200000000)

/* --- helpers ----------------------------------------------------------------------------- */

/* Room for n bytes behind buf; the caller adds to len what it writes. */
static inline char *
room(psti_buf *buf, size_t n)
{
	if (!buf->failed && buf->cap - buf->len > n)
		return buf->data + buf->len;
	return psti_buf_reserve(buf, n);
}

/* Inline, so that of n bytes known beforehand the copy is one store. */
static inline pst_status
put_fixed(psti_buf *out, const void *bytes, uint32_t n, pst_error *err)
{
	char *at = room(out, 4 + (size_t) n);

	if (at == NULL)
		return psti_fail_nomem(err);
	psti_put32(at, n);
	memcpy(at + 4, bytes, n);
	out->len += 4 + (size_t) n;
	return PST_OK;
}

/* The low `width` bytes of a number. */
static inline pst_status
put_number(psti_buf *out, int64_t value, uint32_t width, pst_error *err)
{
	uint8_t bytes[8];

	psti_put64(bytes, (uint64_t) value);
	return put_fixed(out, bytes + 8 - width, width, err);
}

/* A failure of this column's value. */
static pst_status
fail_value(const psti_sink_column *column, const char *sqlstate, const char *what, pst_error *err)
{
	psti_fail_sqlstate(err, sqlstate, "column \"%s\": %s",
					   column->target == NULL ? "" : column->target->name, what);
	if (column->target != NULL)
		PSTI_ERROR_SET(err, column, column->target->name);
	return err->status;
}

static pst_status
fail_range(const psti_sink_column *column, pst_error *err)
{
	psti_fail_sqlstate(err, "22003", "column \"%s\": value out of range for type %s",
					   column->target->name, column->target->type.name);
	PSTI_ERROR_SET(err, column, column->target->name);
	return err->status;
}

/* --- integers ---------------------------------------------------------------------------- */

/* The value of any integer array; false when it does not fit int64. */
static inline bool
get_integer(psti_arrow_kind kind, const struct ArrowArray *array, int64_t i, int64_t *value)
{
	const void *data = array->buffers[1];
	uint64_t wide;

	i += array->offset;
	switch (kind)
	{
		case PSTI_ARROW_INT8:
			*value = (int64_t) ((const int8_t *) data)[i];
			return true;
		case PSTI_ARROW_UINT8:
			*value = ((const uint8_t *) data)[i];
			return true;
		case PSTI_ARROW_INT16:
			*value = ((const int16_t *) data)[i];
			return true;
		case PSTI_ARROW_UINT16:
			*value = ((const uint16_t *) data)[i];
			return true;
		case PSTI_ARROW_INT32:
			*value = ((const int32_t *) data)[i];
			return true;
		case PSTI_ARROW_UINT32:
			*value = ((const uint32_t *) data)[i];
			return true;
		case PSTI_ARROW_INT64:
			*value = ((const int64_t *) data)[i];
			return true;
		default:
			wide = ((const uint64_t *) data)[i];
			*value = (int64_t) wide;
			return wide <= INT64_MAX;
	}
}

static pst_status
encode_int2(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	int64_t value;

	if (!get_integer(column->arrow.kind, array, i, &value) || value < INT16_MIN ||
		value > INT16_MAX)
		return fail_range(column, err);
	return put_number(out, value, 2, err);
}

static pst_status
encode_int4(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	int64_t value;

	if (!get_integer(column->arrow.kind, array, i, &value) || value < INT32_MIN ||
		value > INT32_MAX)
		return fail_range(column, err);
	return put_number(out, value, 4, err);
}

static pst_status
encode_int8(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	int64_t value;

	if (!get_integer(column->arrow.kind, array, i, &value))
		return fail_range(column, err);
	return put_number(out, value, 8, err);
}

static pst_status
encode_bool(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	uint8_t value = psti_bit_get(array->buffers[1], i + array->offset) ? 1 : 0;

	(void) column;
	return put_fixed(out, &value, 1, err);
}

/* --- floats ------------------------------------------------------------------------------ */

static pst_status
encode_float4(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			  psti_buf *out, pst_error *err)
{
	int32_t bits;

	(void) column;
	memcpy(&bits, (const float *) array->buffers[1] + i + array->offset, 4);
	return put_number(out, bits, 4, err);
}

static pst_status
encode_float8(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			  psti_buf *out, pst_error *err)
{
	double value;
	int64_t bits;

	if (column->arrow.kind == PSTI_ARROW_FLOAT)
		value = (double) ((const float *) array->buffers[1])[i + array->offset];
	else
		value = ((const double *) array->buffers[1])[i + array->offset];
	memcpy(&bits, &value, 8);
	return put_number(out, bits, 8, err);
}

static pst_status
encode_numeric(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			   psti_buf *out, pst_error *err)
{
	const uint8_t *decimal = (const uint8_t *) array->buffers[1] + 16 * (i + array->offset);
	uint8_t numeric[PSTI_DECIMAL_BYTES];
	size_t nbytes = psti_decimal_to_numeric(decimal, column->arrow.scale, numeric);

	return put_fixed(out, numeric, (uint32_t) nbytes, err);
}

/* --- dates and times --------------------------------------------------------------------- */

static pst_status
encode_date(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	int64_t days;

	if (column->arrow.kind == PSTI_ARROW_DATE32)
		days = ((const int32_t *) array->buffers[1])[i + array->offset];
	else
	{
		int64_t ms = ((const int64_t *) array->buffers[1])[i + array->offset];

		if (ms % 86400000 != 0)
			return fail_value(column, "22008", "a date64 that is not a whole day", err);
		days = ms / 86400000;
	}
	days -= DATES_1970_TO_2000;
	if (days < DATE_MIN_DAYS || days >= DATE_END_DAYS)
		return fail_value(column, "22008", "date out of range", err);
	return put_number(out, days, 4, err);
}

/* value / per_second in microseconds; a fraction of one is refused, not rounded. */
static pst_status
to_usecs(const psti_sink_column *column, int64_t value, int64_t per_second, int64_t *usecs,
		 pst_error *err)
{
	if (per_second > 1000000)
	{
		int64_t parts = per_second / 1000000;

		if (value % parts != 0)
		{
			fail_value(column, "22008", "the value is finer than a microsecond", err);
			psti_error_hint(err, "PostgreSQL keeps microseconds; round the column before.");
			return err->status;
		}
		*usecs = value / parts;
		return PST_OK;
	}
	if (__builtin_mul_overflow(value, 1000000 / per_second, usecs))
		return fail_value(column, "22008", "value out of range", err);
	return PST_OK;
}

static pst_status
encode_time(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	int64_t usecs = 0;
	int64_t value = column->arrow.kind == PSTI_ARROW_TIME32
						? ((const int32_t *) array->buffers[1])[i + array->offset]
						: ((const int64_t *) array->buffers[1])[i + array->offset];
	pst_status status = to_usecs(column, value, column->arrow.per_second, &usecs, err);

	if (status != PST_OK)
		return status;
	if (usecs < 0 || usecs > DATES_USECS)
		return fail_value(column, "22008", "time out of range", err);
	return put_number(out, usecs, 8, err);
}

static pst_status
encode_timestamp(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
				 psti_buf *out, pst_error *err)
{
	int64_t usecs = 0;
	int64_t value = ((const int64_t *) array->buffers[1])[i + array->offset];
	int64_t per_second = column->arrow.per_second;
	int64_t epoch = DATES_SECONDS_1970_TO_2000 * per_second;
	pst_status status;

	/* To 2000 first: the last years of timestamp are beyond int64 in microseconds since 1970. */
	if (__builtin_sub_overflow(value, epoch, &value))
		return fail_value(column, "22008", "timestamp out of range", err);
	status = to_usecs(column, value, per_second, &usecs, err);
	if (status != PST_OK)
		return status;
	if (usecs < TIMESTAMP_MIN_USECS || usecs >= TIMESTAMP_END_USECS)
		return fail_value(column, "22008", "timestamp out of range", err);
	return put_number(out, usecs, 8, err);
}

static pst_status
encode_interval(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
				psti_buf *out, pst_error *err)
{
	const char *at = (const char *) array->buffers[1] + 16 * (i + array->offset);
	int32_t months;
	int32_t days;
	int64_t ns;
	uint8_t bytes[16];

	memcpy(&months, at, 4);
	memcpy(&days, at + 4, 4);
	memcpy(&ns, at + 8, 8);
	if (ns % 1000 != 0)
		return fail_value(column, "22008", "the value is finer than a microsecond", err);
	psti_put64(bytes, (uint64_t) (ns / 1000));
	psti_put32(bytes + 8, (uint32_t) days);
	psti_put32(bytes + 12, (uint32_t) months);
	return put_fixed(out, bytes, 16, err);
}

/* --- texts and bytes ---------------------------------------------------------------------- */

/* Bytes of row i of an array with offsets; false when they run backwards or are too many. */
static bool
get_bytes(psti_arrow_kind kind, const struct ArrowArray *array, int64_t i, const char **data,
		  size_t *nbytes)
{
	int64_t from;
	int64_t to;

	i += array->offset;
	if (kind == PSTI_ARROW_UTF8 || kind == PSTI_ARROW_BINARY)
	{
		from = ((const int32_t *) array->buffers[1])[i];
		to = ((const int32_t *) array->buffers[1])[i + 1];
	}
	else
	{
		from = ((const int64_t *) array->buffers[1])[i];
		to = ((const int64_t *) array->buffers[1])[i + 1];
	}
	if (from < 0 || to < from || to - from > INT32_MAX)
		return false;
	*nbytes = (size_t) (to - from);
	*data = *nbytes == 0 ? "" : (const char *) array->buffers[2] + from;
	return true;
}

static pst_status
fail_bytes(const psti_sink_column *column, pst_error *err)
{
	return fail_value(column, "54000", "the value has more than 2 GB, or broken offsets", err);
}

static pst_status
encode_bytes(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			 psti_buf *out, pst_error *err)
{
	const char *data;
	size_t n;

	if (!get_bytes(column->arrow.kind, array, i, &data, &n))
		return fail_bytes(column, err);
	return put_fixed(out, data, (uint32_t) n, err);
}

/* bpchar as a key: trailing blanks do not count when it is compared. */
static pst_status
encode_bpchar_key(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
				  psti_buf *out, pst_error *err)
{
	const char *data;
	size_t n;

	if (!get_bytes(column->arrow.kind, array, i, &data, &n))
		return fail_bytes(column, err);
	while (n > 0 && data[n - 1] == ' ')
		n--;
	return put_fixed(out, data, (uint32_t) n, err);
}

/* jsonb's binary form is a version byte, 1, and the text. */
static pst_status
encode_jsonb(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			 psti_buf *out, pst_error *err)
{
	const char *data;
	size_t n;
	char *at;

	if (!get_bytes(column->arrow.kind, array, i, &data, &n) || n >= INT32_MAX)
		return fail_bytes(column, err);
	at = room(out, n + 5);
	if (at == NULL)
		return psti_fail_nomem(err);
	psti_put32(at, (uint32_t) n + 1);
	at[4] = 1;
	memcpy(at + 5, data, n);
	out->len += n + 5;
	return PST_OK;
}

static pst_status
encode_fixed(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			 psti_buf *out, pst_error *err)
{
	int64_t width = column->arrow.width;

	return put_fixed(out, (const char *) array->buffers[1] + width * (i + array->offset),
					 (uint32_t) width, err);
}

/* --- keys that come as text ------------------------------------------------------------------ */

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A decimal integer as int8in reads it, white space around it allowed. */
static bool
parse_integer(const char *data, size_t n, int64_t *value)
{
	size_t i = 0;
	bool negative = false;
	int64_t v = 0;

	while (n > 0 && is_space(data[n - 1]))
		n--;
	while (i < n && is_space(data[i]))
		i++;
	if (i < n && (data[i] == '-' || data[i] == '+'))
		negative = data[i++] == '-';
	if (i == n)
		return false;
	for (; i < n; i++)
	{
		int digit = data[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
			__builtin_sub_overflow(v, digit, &v))
			return false;
	}
	if (!negative && v == INT64_MIN)
		return false;
	*value = negative ? v : -v;
	return true;
}

static pst_status
fail_syntax(const psti_sink_column *column, const char *data, size_t n, pst_error *err)
{
	psti_fail_sqlstate(err, "22P02", "column \"%s\": not a value of type %s: \"%.*s\"",
					   column->target->name, column->target->type.name, (int) (n < 200 ? n : 200),
					   data);
	PSTI_ERROR_SET(err, column, column->target->name);
	return err->status;
}

/* An integer key that comes as text is read here, so that 1 and 01 are one key. */
static pst_status
encode_text_integer(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
					psti_buf *out, pst_error *err)
{
	const char *data;
	size_t n;
	int64_t value;

	if (!get_bytes(column->arrow.kind, array, i, &data, &n))
		return fail_bytes(column, err);
	if (!parse_integer(data, n, &value))
		return fail_syntax(column, data, n, err);
	switch (column->target->type.base)
	{
		case OID_INT2:
			if (value < INT16_MIN || value > INT16_MAX)
				return fail_range(column, err);
			return put_number(out, value, 2, err);
		case OID_INT4:
			if (value < INT32_MIN || value > INT32_MAX)
				return fail_range(column, err);
			return put_number(out, value, 4, err);
		default:
			return put_number(out, value, 8, err);
	}
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A uuid as uuid_in reads it: braces around it and hyphens after groups of four digits allowed. */
static bool
parse_uuid(const char *data, size_t n, uint8_t out[16])
{
	size_t at = 0;

	if (n >= 2 && data[0] == '{' && data[n - 1] == '}')
	{
		data++;
		n -= 2;
	}
	for (int i = 0; i < 16; i++)
	{
		int high = at + 1 < n ? hex_digit(data[at]) : -1;
		int low = at + 1 < n ? hex_digit(data[at + 1]) : -1;

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t) (high << 4 | low);
		at += 2;
		if (i % 2 == 1 && i < 15 && at < n && data[at] == '-')
			at++;
	}
	return at == n;
}

static pst_status
encode_text_uuid(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
				 psti_buf *out, pst_error *err)
{
	const char *data;
	size_t n;
	uint8_t bytes[16];

	if (!get_bytes(column->arrow.kind, array, i, &data, &n))
		return fail_bytes(column, err);
	if (!parse_uuid(data, n, bytes))
		return fail_syntax(column, data, n, err);
	return put_fixed(out, bytes, 16, err);
}

/* --- any value as its text ------------------------------------------------------------------ */

static pst_status
encode_value_text(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
				  psti_buf *out, pst_error *err)
{
	size_t at = out->len;
	pst_status status;

	psti_buf_int32(out, 0);
	status = psti_value_text(column->schema, &column->arrow, array, i, out, err);
	if (status != PST_OK)
		return status;
	if (out->failed)
		return psti_fail_nomem(err);
	if (out->len - at - 4 > INT32_MAX)
		return fail_bytes(column, err);
	psti_buf_int32_at(out, at, (int32_t) (out->len - at - 4));
	return PST_OK;
}

/* --- lists --------------------------------------------------------------------------------- */

/* The items of row i: the child's rows [*from, *to), without the child's own offset. */
static bool
get_list(psti_arrow_kind kind, const struct ArrowArray *array, int64_t i, int64_t *from,
		 int64_t *to)
{
	i += array->offset;
	if (kind == PSTI_ARROW_LIST)
	{
		*from = ((const int32_t *) array->buffers[1])[i];
		*to = ((const int32_t *) array->buffers[1])[i + 1];
	}
	else
	{
		*from = ((const int64_t *) array->buffers[1])[i];
		*to = ((const int64_t *) array->buffers[1])[i + 1];
	}
	return *from >= 0 && *to >= *from && *to <= array->children[0]->length;
}

/* array_send's form: dimensions, has nulls, element type, then per dimension size and lower bound. */
static pst_status
encode_list(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	const struct ArrowArray *items = array->children[0];
	size_t at = out->len;
	bool nulls = false;
	int64_t from;
	int64_t to;

	if (!get_list(column->arrow.kind, array, i, &from, &to) || to - from > INT32_MAX)
		return fail_value(column, "22000", "a list with broken offsets", err);
	psti_buf_int32(out, 0);
	psti_buf_int32(out, to > from ? 1 : 0);
	psti_buf_int32(out, 0);
	psti_buf_int32(out, (int32_t) column->target->type.elem);
	if (to > from)
	{
		psti_buf_int32(out, (int32_t) (to - from));
		psti_buf_int32(out, 1);
	}
	for (int64_t k = from; k < to; k++)
	{
		pst_status status = PST_OK;

		if (column->item->arrow.kind == PSTI_ARROW_NULL || psti_array_null(items, k))
		{
			psti_buf_int32(out, PSTI_FIELD_NULL);
			nulls = true;
		}
		else
			status = column->item->encode(column->item, items, k, out, err);
		if (status != PST_OK)
			return status;
	}
	if (out->failed)
		return psti_fail_nomem(err);
	if (out->len - at - 4 > INT32_MAX)
		return fail_bytes(column, err);
	psti_buf_int32_at(out, at, (int32_t) (out->len - at - 4));
	psti_buf_int32_at(out, at + 8, nulls ? 1 : 0);
	return PST_OK;
}

/*
 * An array in its own binary form. array_recv wants the target's own element type in it, which is
 * another for domains and where types have been made anew.
 */
static pst_status
encode_binary_array(const psti_sink_column *column, const struct ArrowArray *array, int64_t i,
					psti_buf *out, pst_error *err)
{
	size_t at = out->len;
	pst_status status = encode_bytes(column, array, i, out, err);

	if (status != PST_OK)
		return status;
	if (out->len - at - 4 < 12)
		return fail_value(column, "22P03", "not the binary form of an array", err);
	psti_buf_int32_at(out, at + 12, (int32_t) column->target->type.elem);
	return PST_OK;
}

/* --- choosing ------------------------------------------------------------------------------ */

/* Arrow kinds whose values have the target type's own binary form. */
static const struct
{
	Oid oid;
	psti_arrow_kind first; /* of a range of kinds */
	psti_arrow_kind last;
	psti_encode_fn encode;
} binary_forms[] = {
	{OID_BOOL, PSTI_ARROW_BOOL, PSTI_ARROW_BOOL, encode_bool},
	{OID_INT2, PSTI_ARROW_INT8, PSTI_ARROW_UINT64, encode_int2},
	{OID_INT4, PSTI_ARROW_INT8, PSTI_ARROW_UINT64, encode_int4},
	{OID_INT8, PSTI_ARROW_INT8, PSTI_ARROW_UINT64, encode_int8},
	{OID_FLOAT4, PSTI_ARROW_FLOAT, PSTI_ARROW_FLOAT, encode_float4},
	{OID_FLOAT8, PSTI_ARROW_FLOAT, PSTI_ARROW_DOUBLE, encode_float8},
	{OID_NUMERIC, PSTI_ARROW_DECIMAL, PSTI_ARROW_DECIMAL, encode_numeric},
	{OID_DATE, PSTI_ARROW_DATE32, PSTI_ARROW_DATE64, encode_date},
	{OID_TIME, PSTI_ARROW_TIME32, PSTI_ARROW_TIME64, encode_time},
	{OID_TIMESTAMP, PSTI_ARROW_TIMESTAMP, PSTI_ARROW_TIMESTAMP, encode_timestamp},
	{OID_TIMESTAMPTZ, PSTI_ARROW_TIMESTAMP, PSTI_ARROW_TIMESTAMP, encode_timestamp},
	{OID_INTERVAL, PSTI_ARROW_INTERVAL, PSTI_ARROW_INTERVAL, encode_interval},
	{OID_TEXT, PSTI_ARROW_UTF8, PSTI_ARROW_LARGE_UTF8, encode_bytes},
	{OID_VARCHAR, PSTI_ARROW_UTF8, PSTI_ARROW_LARGE_UTF8, encode_bytes},
	{OID_BPCHAR, PSTI_ARROW_UTF8, PSTI_ARROW_LARGE_UTF8, encode_bytes},
	{OID_NAME, PSTI_ARROW_UTF8, PSTI_ARROW_LARGE_UTF8, encode_bytes},
	{OID_JSON, PSTI_ARROW_UTF8, PSTI_ARROW_LARGE_UTF8, encode_bytes},
	{OID_JSONB, PSTI_ARROW_UTF8, PSTI_ARROW_LARGE_UTF8, encode_jsonb},
	{OID_BYTEA, PSTI_ARROW_BINARY, PSTI_ARROW_LARGE_BINARY, encode_bytes},
	{OID_BYTEA, PSTI_ARROW_FIXED_BINARY, PSTI_ARROW_FIXED_BINARY, encode_fixed},
};

static psti_encode_fn
find_binary(Oid oid, char typtype, const psti_arrow_type *arrow)
{
	bool utf8 = arrow->kind == PSTI_ARROW_UTF8 || arrow->kind == PSTI_ARROW_LARGE_UTF8;

	if (arrow->pg_type != 0)
		return arrow->pg_type == oid && !arrow->pg_array ? encode_bytes : NULL;
	if (typtype == 'e' && utf8)
		return encode_bytes; /* enum_recv reads the label */
	if (arrow->kind == PSTI_ARROW_DECIMAL &&
		(arrow->scale > PSTI_NUMERIC_SCALE_MAX || arrow->scale < -PSTI_NUMERIC_SCALE_MAX))
		return NULL;
	if (oid == OID_UUID && arrow->kind == PSTI_ARROW_FIXED_BINARY && arrow->width == 16)
		return encode_fixed;
	for (size_t i = 0; i < sizeof(binary_forms) / sizeof(binary_forms[0]); i++)
	{
		if (binary_forms[i].oid == oid && arrow->kind >= binary_forms[i].first &&
			arrow->kind <= binary_forms[i].last)
			return binary_forms[i].encode;
	}
	return NULL;
}

/* For keys that come as text: read here, so that equal keys have equal bytes. */
static psti_encode_fn
find_text_key(const psti_sink_column *column)
{
	if (column->arrow.kind != PSTI_ARROW_UTF8 && column->arrow.kind != PSTI_ARROW_LARGE_UTF8)
		return NULL;
	switch (column->target->type.base)
	{
		case OID_INT2:
		case OID_INT4:
		case OID_INT8:
			return encode_text_integer;
		case OID_UUID:
			return encode_text_uuid;
		case OID_BPCHAR:
			return encode_bpchar_key;
		default:
			return NULL;
	}
}

/* A list whose items have the element type's binary form; PST_AGAIN when they have not. */
static pst_status
choose_list(psti_sink_column *column, pst_error *err)
{
	const struct ArrowSchema *items = column->schema->children[0];
	psti_arrow_type arrow = psti_arrow_parse(items->format);
	psti_encode_fn encode = find_binary(column->target->type.elem_base, 'b', &arrow);

	if (column->target->type.elem == 0)
		return PST_AGAIN;
	if (arrow.kind == PSTI_ARROW_NULL)
		encode = encode_bytes; /* never called: every item is NULL */
	if (encode == NULL)
		return PST_AGAIN;
	column->item = calloc(1, sizeof(*column->item));
	if (column->item == NULL)
		return psti_fail_nomem(err);
	column->item->target = column->target;
	column->item->schema = items;
	column->item->arrow = arrow;
	column->item->encode = encode;
	column->encode = encode_list;
	return PST_OK;
}

static bool
has_text(const struct ArrowSchema *schema)
{
	psti_arrow_type arrow = psti_arrow_parse(schema->format);

	if (schema->dictionary != NULL || arrow.kind == PSTI_ARROW_UNKNOWN ||
		arrow.kind == PSTI_ARROW_STRUCT)
		return false;
	if (arrow.kind == PSTI_ARROW_DECIMAL &&
		(arrow.scale > PSTI_NUMERIC_SCALE_MAX || arrow.scale < -PSTI_NUMERIC_SCALE_MAX))
		return false;
	if (arrow.kind == PSTI_ARROW_LIST || arrow.kind == PSTI_ARROW_LARGE_LIST)
		return schema->n_children == 1 && has_text(schema->children[0]);
	return true;
}

pst_status
psti_encode_choose(psti_sink_column *column, bool binary_arrays, pst_error *err)
{
	const psti_type *type = &column->target->type;
	char arrow[PSTI_ARROW_NAME];
	bool list;

	column->arrow = psti_pgbinary_field(column->schema);
	list = column->arrow.kind == PSTI_ARROW_LIST || column->arrow.kind == PSTI_ARROW_LARGE_LIST;
	if (!has_text(column->schema))
	{
		psti_fail(err, PST_ERR_UNSUPPORTED,
				  "column \"%s\": values of Arrow type %s%s "
				  "cannot be written to type %s",
				  column->target->name, psti_arrow_name(column->schema->format, arrow),
				  column->schema->dictionary != NULL ? " with a dictionary" : "", type->name);
		psti_error_hint(err, "Cast the column before, for example to utf8.");
		PSTI_ERROR_SET(err, column, column->target->name);
		return err->status;
	}
	if (list && binary_arrays && !column->foreign)
	{
		pst_status status = choose_list(column, err);

		if (status != PST_AGAIN)
			return status;
	}
	if (column->key)
		column->encode = find_text_key(column);
	if (column->arrow.pg_array && binary_arrays && !column->foreign &&
		column->arrow.pg_type == type->elem_base)
		column->encode = encode_binary_array;
	if (column->encode == NULL && !list && !column->foreign)
		column->encode = find_binary(type->base, type->typtype, &column->arrow);
	if (column->encode == NULL)
	{
		column->encode = encode_value_text;
		column->text = true;
	}
	return PST_OK;
}

/* --- rows ---------------------------------------------------------------------------------- */

static pst_status
fail_null_key(const psti_sink_column *column, const char *why, pst_error *err)
{
	psti_fail_sqlstate(err, "23502", "key column \"%s\" is %s", column->target->name, why);
	psti_error_hint(err, "Rows are matched by their key, so each needs a value in every column "
						 "of it; rows without one can only be appended.");
	PSTI_ERROR_SET(err, column, column->target->name);
	return err->status;
}

/* Escapes what COPY's text format gives a meaning, from data[from] on; the field ends the buffer. */
static void
escape_tail(psti_buf *out, size_t from)
{
	size_t extra = 0;
	char *at;
	size_t to;

	for (size_t i = from; i < out->len; i++)
	{
		char c = out->data[i];

		extra += c == '\\' || c == '\n' || c == '\r' || c == '\t';
	}
	if (extra == 0 || psti_buf_reserve(out, extra) == NULL)
		return;
	at = out->data;
	to = out->len + extra;
	for (size_t i = out->len; i > from && to > i;)
	{
		char c = at[--i];

		if (c == '\\' || c == '\n' || c == '\r' || c == '\t')
		{
			at[--to] = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : '\\';
			at[--to] = '\\';
		}
		else
			at[--to] = c;
	}
	out->len += extra;
}

static pst_status
encode_line(const psti_sink_plan *plan, const struct ArrowArray *batch, int64_t i, psti_buf *bytes,
			pst_error *err)
{
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		const psti_sink_column *column = &plan->columns[c];
		const struct ArrowArray *array = batch->children[column->child];
		size_t from;
		pst_status status;

		if (c > 0)
			psti_buf_putc(bytes, '\t');
		if (column->arrow.kind == PSTI_ARROW_NULL || psti_array_null(array, i))
		{
			psti_buf_append(bytes, "\\N", 2);
			continue;
		}
		from = bytes->len;
		status = psti_value_text(column->schema, &column->arrow, array, i, bytes, err);
		if (status != PST_OK)
		{
			PSTI_ERROR_SET(err, column, column->target->name);
			return status;
		}
		if (!bytes->failed)
			escape_tail(bytes, from);
	}
	psti_buf_putc(bytes, '\n');
	return psti_buf_check(bytes, err);
}

static pst_status
encode_tuple(const psti_sink_plan *plan, const struct ArrowArray *batch, int64_t i, size_t ncolumns,
			 const uint8_t *const *unchanged, psti_buf *bytes, bool *partial, pst_error *err)
{
	char *head = room(bytes, 2);

	if (head == NULL)
		return psti_fail_nomem(err);
	psti_put16(head, (uint16_t) ncolumns);
	bytes->len += 2;
	for (size_t c = 0; c < ncolumns; c++)
	{
		const psti_sink_column *column = &plan->columns[c];
		const struct ArrowArray *array = batch->children[column->child];
		pst_status status = PST_OK;

		if (unchanged != NULL && unchanged[column->child] != NULL &&
			psti_bit_get(unchanged[column->child], i - batch->offset))
		{
			if (c < plan->nkey)
				return fail_null_key(column, "marked as unchanged, so its value is unknown", err);
			*partial = true;
			psti_buf_int32(bytes, PSTI_FIELD_UNCHANGED);
		}
		else if (column->arrow.kind == PSTI_ARROW_NULL || psti_array_null(array, i))
		{
			if (c < plan->nkey)
				return fail_null_key(column, "NULL", err);
			psti_buf_int32(bytes, PSTI_FIELD_NULL);
		}
		else
			status = column->encode(column, array, i, bytes, err);
		if (status != PST_OK)
		{
			PSTI_ERROR_SET(err, column, column->target->name);
			return status;
		}
	}
	return psti_buf_check(bytes, err);
}

/* Whether any column of row i is marked as unchanged. */
static bool
leaves_out(const psti_sink_plan *plan, const uint8_t *const *unchanged, int64_t i)
{
	for (size_t c = 0; unchanged != NULL && c < plan->ncolumns; c++)
	{
		const uint8_t *bits = unchanged[plan->columns[c].child];

		if (bits != NULL && psti_bit_get(bits, i))
			return true;
	}
	return false;
}

pst_status
psti_encode_row(const psti_sink_plan *plan, const struct ArrowArray *batch, int64_t i,
				size_t ncolumns, const uint8_t *const *unchanged, psti_buf *bytes, bool *partial,
				pst_error *err)
{
	size_t before = bytes->len;
	pst_status status;

	*partial = false;
	if (plan->copy_text && !leaves_out(plan, unchanged, i))
		status = encode_line(plan, batch, i + batch->offset, bytes, err);
	else
		status =
			encode_tuple(plan, batch, i + batch->offset, ncolumns, unchanged, bytes, partial, err);
	if (status != PST_OK)
	{
		bytes->len = before;
		bytes->failed = false;
	}
	return status;
}

/* The binary form of these is their text. */
static bool
is_text_oid(Oid oid)
{
	return oid == OID_TEXT || oid == OID_VARCHAR || oid == OID_BPCHAR || oid == OID_NAME;
}

bool
psti_encode_takes(const psti_sink_column *column, const psti_tuple_field *field)
{
	const psti_type *type = &column->target->type;

	if (column->encode == encode_binary_array)
		return field->elem == type->elem;
	/* A key's form is the one by which equal keys are found: not always the value's own. */
	if (column->text || field->elem != 0 || column->encode == encode_bpchar_key)
		return false;
	return field->type == type->base ||
		   (column->encode == encode_bytes && is_text_oid(field->type) && is_text_oid(type->base));
}

pst_status
psti_encode_tuple(const psti_sink_plan *plan, const char *tuple, size_t ncolumns, psti_buf *bytes,
				  pst_error *err)
{
	size_t starts[PSTI_MAX_COLUMNS + 1];
	size_t nfields = (size_t) plan->schema.n_children;
	size_t at = 2;
	char *out;

	for (size_t f = 0; f < nfields; f++)
	{
		int32_t n = (int32_t) psti_get32(tuple + at);

		starts[f] = at;
		at += 4 + (n > 0 ? (size_t) n : 0);
	}
	starts[nfields] = at;
	out = room(bytes, at);
	if (out == NULL)
		return psti_fail_nomem(err);
	psti_put16(out, (uint16_t) ncolumns);
	out += 2;
	for (size_t c = 0; c < ncolumns; c++)
	{
		const psti_sink_column *column = &plan->columns[c];
		const char *field = tuple + starts[column->child];
		size_t nbytes = starts[column->child + 1] - starts[column->child];

		if (c < plan->nkey && (int32_t) psti_get32(field) < 0)
			return fail_null_key(column, "NULL", err);
		memcpy(out, field, nbytes);
		out += nbytes;
	}
	bytes->len = (size_t) (out - bytes->data);
	return PST_OK;
}
