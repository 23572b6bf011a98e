/* value.c - one value of an Arrow array as PostgreSQL prints it, as text and as json. */
#include "value.h"

#include <string.h>

#include "dates.h"
#include "jsonscan.h"
#include "pgbinary.h"
#include "pgnumeric.h"
#include "pgtext.h"

/* What a server takes: date from 4713-11-24 BC to 5874897-12-31, timestamp to 294276-12-31. */
#define DATE_MIN INT64_C(-2451545)
#define DATE_MAX INT64_C(2145031948)
#define TIMESTAMP_MIN INT64_C(-211813488000000000)
#define TIMESTAMP_END INT64_C(9223371331200000000)

#define MAX_LIST_DEPTH 6 /* MAXDIM of the server */

/* Also for a fraction of a microsecond, which would be lost. */
static pst_status
out_of_range(const struct ArrowSchema *schema, const char *type, int64_t value, pst_error *err)
{
	const char *name = schema->name != NULL ? schema->name : "";
	char arrow[PSTI_ARROW_NAME];

	psti_fail(err, PST_ERR_DATA, "column \"%s\": type %s cannot hold %lld of Arrow type %s", name,
			  type, (long long) value, psti_arrow_name(schema->format, arrow));
	PSTI_ERROR_SET(err, column, name);
	return PST_ERR_DATA;
}

static const void *
fixed_at(const struct ArrowArray *array, int64_t i, size_t width)
{
	return (const char *) array->buffers[1] + (size_t) (i + array->offset) * width;
}

#define FIXED(ctype, array, i) (*(const ctype *) fixed_at(array, i, sizeof(ctype)))

const char *
psti_value_bytes(const psti_arrow_type *type, const struct ArrowArray *array, int64_t i,
				 size_t *nbytes)
{
	const char *data = array->buffers[2];
	int64_t row = i + array->offset;
	int64_t from;
	int64_t to;

	if (type->kind == PSTI_ARROW_LARGE_UTF8 || type->kind == PSTI_ARROW_LARGE_BINARY)
	{
		from = ((const int64_t *) array->buffers[1])[row];
		to = ((const int64_t *) array->buffers[1])[row + 1];
	}
	else
	{
		from = ((const int32_t *) array->buffers[1])[row];
		to = ((const int32_t *) array->buffers[1])[row + 1];
	}
	*nbytes = (size_t) (to - from);
	return *nbytes > 0 ? data + from : "";
}

/* Any integer type's value; uint64 is not asked for here. */
static int64_t
integer_at(psti_arrow_kind kind, const struct ArrowArray *array, int64_t i)
{
	switch (kind)
	{
		case PSTI_ARROW_INT8:
			return FIXED(int8_t, array, i);
		case PSTI_ARROW_UINT8:
			return FIXED(uint8_t, array, i);
		case PSTI_ARROW_INT16:
			return FIXED(int16_t, array, i);
		case PSTI_ARROW_UINT16:
			return FIXED(uint16_t, array, i);
		case PSTI_ARROW_INT32:
		case PSTI_ARROW_DATE32:
		case PSTI_ARROW_TIME32:
			return FIXED(int32_t, array, i);
		case PSTI_ARROW_UINT32:
			return FIXED(uint32_t, array, i);
		default:
			return FIXED(int64_t, array, i);
	}
}

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0 ? 1 : 0);
}

/* value, of per_second units a second, in microseconds; false when it is none, or too large. */
static bool
to_microseconds(int64_t value, int64_t per_second, int64_t *out)
{
	int64_t unit = per_second / 1000000;

	if (per_second <= 1000000)
		return !__builtin_mul_overflow(value, 1000000 / per_second, out);
	*out = value / unit;
	return value % unit == 0;
}

static pst_status
date_at(const struct ArrowSchema *schema, const psti_arrow_type *type,
		const struct ArrowArray *array, int64_t i, int32_t *days2000, pst_error *err)
{
	int64_t value = integer_at(type->kind, array, i);
	int64_t days = type->kind == PSTI_ARROW_DATE64 ? floor_div(value, 86400000) : value;

	days -= DATES_1970_TO_2000;
	if (days < DATE_MIN || days > DATE_MAX)
		return out_of_range(schema, "date", value, err);
	*days2000 = (int32_t) days;
	return PST_OK;
}

static pst_status
time_at(const struct ArrowSchema *schema, const psti_arrow_type *type,
		const struct ArrowArray *array, int64_t i, int64_t *microseconds, pst_error *err)
{
	int64_t value = integer_at(type->kind, array, i);

	if (!to_microseconds(value, type->per_second, microseconds) || *microseconds < 0 ||
		*microseconds > DATES_USECS)
		return out_of_range(schema, "time", value, err);
	return PST_OK;
}

static pst_status
timestamp_at(const struct ArrowSchema *schema, const psti_arrow_type *type,
			 const struct ArrowArray *array, int64_t i, int64_t *microseconds2000, pst_error *err)
{
	int64_t value = integer_at(type->kind, array, i);
	bool fine = type->per_second > 1000000;
	int64_t seconds = fine ? 0 : DATES_SECONDS_1970_TO_2000 * type->per_second;
	int64_t shifted;

	/* Coarse units are shifted before they are multiplied, nanoseconds after they were divided: so
	 * neither end of the range overflows. */
	if (__builtin_sub_overflow(value, seconds, &shifted) ||
		!to_microseconds(shifted, type->per_second, microseconds2000))
		return out_of_range(schema, "timestamp", value, err);
	if (fine)
		*microseconds2000 -= DATES_USECS_1970_TO_2000;
	if (*microseconds2000 < TIMESTAMP_MIN || *microseconds2000 >= TIMESTAMP_END)
		return out_of_range(schema, "timestamp", value, err);
	return PST_OK;
}

pst_status
psti_value_moment(const struct ArrowSchema *schema, const psti_arrow_type *type,
				  const struct ArrowArray *array, int64_t i, int64_t *out, pst_error *err)
{
	int32_t days = 0;
	pst_status status;

	switch (type->kind)
	{
		case PSTI_ARROW_DATE32:
		case PSTI_ARROW_DATE64:
			status = date_at(schema, type, array, i, &days, err);
			*out = days;
			return status;
		case PSTI_ARROW_TIME32:
		case PSTI_ARROW_TIME64:
			return time_at(schema, type, array, i, out, err);
		default:
			return timestamp_at(schema, type, array, i, out, err);
	}
}

/* The kinds whose text fits in a small array; *n is its length. */
static pst_status
fixed_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
		   const struct ArrowArray *array, int64_t i, char *out, size_t *n, pst_error *err)
{
	int64_t us = 0;
	int32_t days = 0;
	pst_status status = PST_OK;

	switch (type->kind)
	{
		case PSTI_ARROW_BOOL:
			*n = psti_text_bool(psti_bit_get(array->buffers[1], i + array->offset), out);
			break;
		case PSTI_ARROW_FLOAT:
			*n = psti_text_float4(FIXED(float, array, i), out);
			break;
		case PSTI_ARROW_DOUBLE:
			*n = psti_text_float8(FIXED(double, array, i), out);
			break;
		case PSTI_ARROW_DATE32:
		case PSTI_ARROW_DATE64:
			status = date_at(schema, type, array, i, &days, err);
			*n = psti_text_date(days, out);
			break;
		case PSTI_ARROW_TIME32:
		case PSTI_ARROW_TIME64:
			status = time_at(schema, type, array, i, &us, err);
			*n = psti_text_time(us, out);
			break;
		case PSTI_ARROW_TIMESTAMP:
			status = timestamp_at(schema, type, array, i, &us, err);
			*n = psti_text_timestamp(us, type->with_zone, out);
			break;
		case PSTI_ARROW_INTERVAL:
			/* Two int32, months and days, then nanoseconds. */
			if (!to_microseconds(((const int64_t *) fixed_at(array, i, 16))[1], 1000000000, &us))
				status = out_of_range(schema, "interval",
									  ((const int64_t *) fixed_at(array, i, 16))[1], err);
			*n = psti_text_interval_finite(us, ((const int32_t *) fixed_at(array, i, 16))[1],
										   ((const int32_t *) fixed_at(array, i, 16))[0], out);
			break;
		case PSTI_ARROW_UINT64:
			*n = psti_text_uint64(FIXED(uint64_t, array, i), out);
			break;
		default:
			*n = psti_text_int64(integer_at(type->kind, array, i), out);
			break;
	}
	return status;
}

static pst_status
decimal_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
			 const struct ArrowArray *array, int64_t i, psti_buf *out, pst_error *err)
{
	if (type->scale > PSTI_NUMERIC_SCALE_MAX || type->scale < -PSTI_NUMERIC_SCALE_MAX)
		return out_of_range(schema, "numeric of this scale", 0, err);
	psti_decimal_to_text(fixed_at(array, i, 16), type->scale, out);
	return PST_OK;
}

static pst_status
not_supported(const struct ArrowSchema *schema, pst_error *err)
{
	const char *name = schema->name != NULL ? schema->name : "";
	char arrow[PSTI_ARROW_NAME];

	psti_fail(err, PST_ERR_UNSUPPORTED, "column \"%s\": Arrow type %s has no text", name,
			  psti_arrow_name(schema->format, arrow));
	PSTI_ERROR_SET(err, column, name);
	return PST_ERR_UNSUPPORTED;
}

static void
list_range(const psti_arrow_type *type, const struct ArrowArray *array, int64_t i, int64_t *from,
		   int64_t *to)
{
	int64_t row = i + array->offset;

	if (type->kind == PSTI_ARROW_LARGE_LIST)
	{
		*from = ((const int64_t *) array->buffers[1])[row];
		*to = ((const int64_t *) array->buffers[1])[row + 1];
	}
	else
	{
		*from = ((const int32_t *) array->buffers[1])[row];
		*to = ((const int32_t *) array->buffers[1])[row + 1];
	}
}

static bool
is_list(psti_arrow_kind kind)
{
	return kind == PSTI_ARROW_LIST || kind == PSTI_ARROW_LARGE_LIST;
}

/* A list of lists in which there is no element at all: PostgreSQL has one empty array, {}. */
static bool
is_hollow(const struct ArrowSchema *schema, const psti_arrow_type *type,
		  const struct ArrowArray *array, int64_t i)
{
	psti_arrow_type item = psti_arrow_parse(schema->children[0]->format);
	int64_t from;
	int64_t to;

	list_range(type, array, i, &from, &to);
	if (!is_list(item.kind))
		return from == to;
	for (; from < to; from++)
		if (psti_array_null(array->children[0], from) ||
			!is_hollow(schema->children[0], &item, array->children[0], from))
			return false;
	return true;
}

static pst_status list_body(const struct ArrowSchema *schema, const psti_arrow_type *type,
							const struct ArrowArray *array, int64_t i, bool json, int depth,
							psti_buf *out, pst_error *err);

/* One element of a list, with scratch as room for its bare text. */
static pst_status
list_item(const struct ArrowSchema *schema, const psti_arrow_type *type,
		  const struct ArrowArray *array, int64_t i, bool json, int depth, psti_buf *scratch,
		  psti_buf *out, pst_error *err)
{
	bool null = type->kind == PSTI_ARROW_NULL || psti_array_null(array, i);
	pst_status status;

	if (null && is_list(type->kind))
		return psti_fail(err, PST_ERR_DATA,
						 "column \"%s\": a list inside a list is NULL, which "
						 "an array cannot hold",
						 schema->name);
	if (null)
	{
		psti_buf_puts(out, json ? "null" : "NULL");
		return PST_OK;
	}
	if (is_list(type->kind))
		return list_body(schema, type, array, i, json, depth + 1, out, err);
	if (json)
		return psti_value_json(schema, type, array, i, out, err);
	psti_buf_reset(scratch);
	status = psti_value_text(schema, type, array, i, scratch, err);
	if (status == PST_OK)
		status = psti_buf_check(scratch, err);
	if (status == PST_OK && type->delimiter != '\0' && type->delimiter != ',')
		psti_text_array_quoted(scratch->data != NULL ? scratch->data : "", scratch->len, out);
	else if (status == PST_OK)
		psti_text_array_element(scratch->data != NULL ? scratch->data : "", scratch->len, out);
	return status;
}

static pst_status
list_body(const struct ArrowSchema *schema, const psti_arrow_type *type,
		  const struct ArrowArray *array, int64_t i, bool json, int depth, psti_buf *out,
		  pst_error *err)
{
	const struct ArrowSchema *item_schema = schema->children[0];
	psti_arrow_type item = psti_arrow_parse(item_schema->format);
	psti_buf scratch = PSTI_BUF_INIT;
	pst_status status = PST_OK;
	int64_t from;
	int64_t to;

	if (depth > MAX_LIST_DEPTH)
		return psti_fail(err, PST_ERR_DATA,
						 "column \"%s\": lists are nested deeper than the %d "
						 "dimensions of an array",
						 schema->name, MAX_LIST_DEPTH);
	item.delimiter = type->delimiter;
	list_range(type, array, i, &from, &to);
	psti_buf_putc(out, json ? '[' : '{');
	for (int64_t at = from; at < to && status == PST_OK; at++)
	{
		if (at > from)
			psti_buf_putc(out, json || item.delimiter == '\0' ? ',' : item.delimiter);
		status =
			list_item(item_schema, &item, array->children[0], at, json, depth, &scratch, out, err);
	}
	psti_buf_putc(out, json ? ']' : '}');
	psti_buf_free(&scratch);
	return status;
}

static pst_status
list_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
		  const struct ArrowArray *array, int64_t i, bool json, psti_buf *out, pst_error *err)
{
	if (is_hollow(schema, type, array, i))
	{
		psti_buf_puts(out, json ? "[]" : "{}");
		return PST_OK;
	}
	return list_body(schema, type, array, i, json, 1, out, err);
}

static void
fixed_binary_text(const psti_arrow_type *type, const struct ArrowArray *array, int64_t i,
				  psti_buf *out)
{
	const uint8_t *bytes = fixed_at(array, i, (size_t) type->width);
	char text[PSTI_TEXT_MAX];

	if (type->width == 16)
		psti_buf_append(out, text, psti_text_uuid(bytes, text));
	else
		psti_text_bytea(bytes, (size_t) type->width, out);
}

/* PostgreSQL's own binary form; bytes that are none were not made by a source. */
static pst_status
binary_form_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
				 const struct ArrowArray *array, int64_t i, bool json, psti_buf *out,
				 pst_error *err)
{
	const char *name = schema->name != NULL ? schema->name : "";
	size_t n;
	const char *bytes = psti_value_bytes(type, array, i, &n);
	size_t named;
	const char *binary;

	if (psti_pgbinary_print(type, bytes, n, json, out))
		return PST_OK;
	if (out->failed)
		return psti_fail_nomem(err);
	binary = psti_schema_metadata_get(schema, "penstock.binary", &named);
	psti_fail(err, PST_ERR_DATA, "column \"%s\": %zu bytes that are not the binary form of %.*s",
			  name, n, (int) (named < 64 ? named : 64), binary);
	PSTI_ERROR_SET(err, column, name);
	return PST_ERR_DATA;
}

pst_status
psti_value_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
				const struct ArrowArray *array, int64_t i, psti_buf *out, pst_error *err)
{
	char text[PSTI_TEXT_MAX];
	const char *bytes;
	size_t n;
	pst_status status;

	switch (type->kind)
	{
		case PSTI_ARROW_UTF8:
		case PSTI_ARROW_LARGE_UTF8:
			bytes = psti_value_bytes(type, array, i, &n);
			psti_buf_put(out, bytes, n);
			return PST_OK;
		case PSTI_ARROW_BINARY:
		case PSTI_ARROW_LARGE_BINARY:
			if (type->pg_type != 0)
				return binary_form_text(schema, type, array, i, false, out, err);
			bytes = psti_value_bytes(type, array, i, &n);
			psti_text_bytea((const uint8_t *) bytes, n, out);
			return PST_OK;
		case PSTI_ARROW_FIXED_BINARY:
			fixed_binary_text(type, array, i, out);
			return PST_OK;
		case PSTI_ARROW_DECIMAL:
			return decimal_text(schema, type, array, i, out, err);
		case PSTI_ARROW_LIST:
		case PSTI_ARROW_LARGE_LIST:
			return list_text(schema, type, array, i, false, out, err);
		case PSTI_ARROW_UNKNOWN:
		case PSTI_ARROW_NULL:
		case PSTI_ARROW_STRUCT:
			return not_supported(schema, err);
		default:
			status = fixed_text(schema, type, array, i, text, &n, err);
			if (status == PST_OK)
				psti_buf_put(out, text, n);
			return status;
	}
}

static bool
metadata_is(const struct ArrowSchema *schema, const char *key, const char *value)
{
	size_t n;
	const char *found = psti_schema_metadata_get(schema, key, &n);

	return found != NULL && n == strlen(value) && memcmp(found, value, n) == 0;
}

bool
psti_value_is_json(const struct ArrowSchema *schema)
{
	return metadata_is(schema, "penstock.type", "json") ||
		   metadata_is(schema, "penstock.type", "jsonb") ||
		   metadata_is(schema, "ARROW:extension:name", "arrow.json");
}

void
psti_value_raw_json(const char *text, size_t nbytes, psti_buf *out)
{
	psti_json_kind kind = psti_jsonscan_text(text, nbytes);
	char *to;

	if (kind == PSTI_JSON_BAD || kind == PSTI_JSON_STRING || kind == PSTI_JSON_NULL)
	{
		psti_json_string(text, nbytes, out);
		return;
	}
	to = psti_buf_reserve(out, nbytes);
	if (to == NULL)
		return;
	/* In valid json a bare line break stands between tokens only. */
	for (size_t i = 0; i < nbytes; i++)
		to[i] = text[i] == '\n' || text[i] == '\r' ? ' ' : text[i];
	to[nbytes] = '\0';
	out->len += nbytes;
}

/* Kinds that are quoted in json, though no character of theirs needs an escape but a backslash. */
static pst_status
quoted_text(const struct ArrowSchema *schema, const psti_arrow_type *type,
			const struct ArrowArray *array, int64_t i, psti_buf *out, pst_error *err)
{
	size_t start = out->len;
	psti_buf text = PSTI_BUF_INIT;
	pst_status status;

	if (type->kind != PSTI_ARROW_BINARY && type->kind != PSTI_ARROW_LARGE_BINARY &&
		type->kind != PSTI_ARROW_FIXED_BINARY)
	{
		psti_buf_putc(out, '"');
		status = psti_value_text(schema, type, array, i, out, err);
		psti_buf_putc(out, '"');
		if (status != PST_OK)
			out->len = start;
		return status;
	}
	status = psti_value_text(schema, type, array, i, &text, err);
	if (status == PST_OK)
		status = psti_buf_check(&text, err);
	if (status == PST_OK)
		psti_json_string(text.data, text.len, out);
	psti_buf_free(&text);
	return status;
}

/* A number's text is bare when it is a number to json: not NaN, not infinite. */
static pst_status
float_json(const struct ArrowSchema *schema, const psti_arrow_type *type,
		   const struct ArrowArray *array, int64_t i, psti_buf *out, pst_error *err)
{
	char text[PSTI_TEXT_MAX];
	size_t n;
	pst_status status = fixed_text(schema, type, array, i, text, &n, err);

	if (status == PST_OK && text[n - 1] >= '0' && text[n - 1] <= '9')
		psti_buf_put(out, text, n);
	else if (status == PST_OK)
		psti_json_string(text, n, out);
	return status;
}

static pst_status
datetime_json(const struct ArrowSchema *schema, const psti_arrow_type *type,
			  const struct ArrowArray *array, int64_t i, psti_buf *out, pst_error *err)
{
	char text[PSTI_TEXT_MAX];
	int32_t days = 0;
	int64_t us = 0;
	size_t n;
	pst_status status;

	if (type->kind == PSTI_ARROW_TIMESTAMP)
	{
		status = timestamp_at(schema, type, array, i, &us, err);
		n = psti_json_timestamp(us, type->with_zone, text);
	}
	else
	{
		status = date_at(schema, type, array, i, &days, err);
		n = psti_json_date(days, text);
	}
	if (status == PST_OK)
		psti_buf_put(out, text, n);
	return status;
}

pst_status
psti_value_json(const struct ArrowSchema *schema, const psti_arrow_type *type,
				const struct ArrowArray *array, int64_t i, psti_buf *out, pst_error *err)
{
	const char *bytes;
	size_t n;

	switch (type->kind)
	{
		case PSTI_ARROW_BOOL:
			psti_buf_puts(out,
						  psti_bit_get(array->buffers[1], i + array->offset) ? "true" : "false");
			return PST_OK;
		case PSTI_ARROW_FLOAT:
		case PSTI_ARROW_DOUBLE:
			return float_json(schema, type, array, i, out, err);
		case PSTI_ARROW_DATE32:
		case PSTI_ARROW_DATE64:
		case PSTI_ARROW_TIMESTAMP:
			return datetime_json(schema, type, array, i, out, err);
		case PSTI_ARROW_UTF8:
		case PSTI_ARROW_LARGE_UTF8:
			bytes = psti_value_bytes(type, array, i, &n);
			if (psti_value_is_json(schema))
				psti_value_raw_json(bytes, n, out);
			else
				psti_json_string(bytes, n, out);
			return PST_OK;
		case PSTI_ARROW_BINARY:
		case PSTI_ARROW_LARGE_BINARY:
			if (type->pg_type != 0)
				return binary_form_text(schema, type, array, i, true, out, err);
			return quoted_text(schema, type, array, i, out, err);
		case PSTI_ARROW_TIME32:
		case PSTI_ARROW_TIME64:
		case PSTI_ARROW_INTERVAL:
		case PSTI_ARROW_FIXED_BINARY:
			return quoted_text(schema, type, array, i, out, err);
		case PSTI_ARROW_LIST:
		case PSTI_ARROW_LARGE_LIST:
			return list_text(schema, type, array, i, true, out, err);
		default:
			return psti_value_text(schema, type, array, i, out, err);
	}
}
