/* debezium_value.c - one value on a debezium line. See debezium_value.h. */
#include "debezium_value.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "dates.h"
#include "pgbinary.h"
#include "pgtext.h"
#include "value.h"

#define SECOND INT64_C(1000000)
#define USECS_1970_TO_2000 (DATES_1970_TO_2000 * DATES_USECS)
#define MONTH_USECS INT64_C(2629800000000) /* 30.4375 days, a twelfth of 365.25 */

/* What pgjdbc, and so Debezium, makes of infinite timestamps. */
#define INFINITE_FUTURE INT64_C(9223372036825200000)
#define INFINITE_PAST INT64_C(-9223372036832400000)

#define MAX_DIMENSIONS 6 /* MAXDIM of the server */

#define OID_BYTEA 17
#define OID_NAME 19
#define OID_TEXT 25
#define OID_JSON 114
#define OID_BPCHAR 1042
#define OID_VARCHAR 1043
#define OID_DATE 1082
#define OID_TIME 1083
#define OID_TIMESTAMP 1114
#define OID_TIMESTAMPTZ 1184
#define OID_NUMERIC 1700
#define OID_UUID 2950
#define OID_JSONB 3802

/* A value that is not NULL, in an Arrow array or as the bytes of its type's send function. */
typedef struct cell
{
	const psti_debezium_column *column;
	const struct ArrowSchema *field;
	psti_arrow_type type; /* pg_type is 0 in an array; with bytes it is their type */
	const struct ArrowArray *array;
	int64_t i;
	const char *bytes;
	size_t nbytes;
} cell;

/* ---- Base64 ---- */

void
psti_debezium_base64(const void *data, size_t nbytes, psti_buf *out)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *from = data;
	size_t need = nbytes / 3 * 4 + 6;
	char *to = nbytes > SIZE_MAX / 2 ? NULL : psti_buf_reserve(out, need);

	if (to == NULL)
	{
		out->failed = true;
		return;
	}
	out->len += nbytes / 3 * 4 + (nbytes % 3 != 0 ? 4 : 0) + 2;
	*to++ = '"';
	for (; nbytes >= 3; nbytes -= 3, from += 3)
	{
		*to++ = letters[from[0] >> 2];
		*to++ = letters[(from[0] & 3) << 4 | from[1] >> 4];
		*to++ = letters[(from[1] & 15) << 2 | from[2] >> 6];
		*to++ = letters[from[2] & 63];
	}
	if (nbytes > 0)
	{
		unsigned second = nbytes > 1 ? from[1] : 0;

		*to++ = letters[from[0] >> 2];
		*to++ = letters[(from[0] & 3u) << 4 | second >> 4];
		*to++ = nbytes > 1 ? letters[(second & 15) << 2] : '=';
		*to++ = '=';
	}
	*to++ = '"';
	*to = '\0';
}

/* ---- What a value is ---- */

static pst_status
not_its_bytes(const cell *c, pst_error *err)
{
	const char *name = c->column->field->name != NULL ? c->column->field->name : "";

	psti_fail(err, PST_ERR_DATA,
			  "column \"%s\": %zu bytes that are not the binary form of its type", name, c->nbytes);
	PSTI_ERROR_SET(err, column, name);
	return PST_ERR_DATA;
}

static pst_status
put_text(const cell *c, bool json, psti_buf *out, pst_error *err)
{
	if (c->array == NULL)
	{
		if (psti_pgbinary_print(&c->type, c->bytes, c->nbytes, json, out))
			return PST_OK;
		return out->failed ? psti_fail_nomem(err) : not_its_bytes(c, err);
	}
	return json ? psti_value_json(c->field, &c->type, c->array, c->i, out, err)
				: psti_value_text(c->field, &c->type, c->array, c->i, out, err);
}

/* A date, time or timestamp as PostgreSQL has it. */
static pst_status
moment(const cell *c, int64_t *value, pst_error *err)
{
	if (c->array != NULL)
		return psti_value_moment(c->field, &c->type, c->array, c->i, value, err);
	if (c->nbytes != (c->type.pg_type == OID_DATE ? 4 : 8))
		return not_its_bytes(c, err);
	*value = c->nbytes == 4 ? (int32_t) psti_get32(c->bytes) : (int64_t) psti_get64(c->bytes);
	return PST_OK;
}

/* Whether the value's text lies in memory as it is; else it has no character that json escapes. */
static bool
has_plain_text(const cell *c, const char **text, size_t *nbytes)
{
	if (c->array != NULL)
	{
		if (c->type.kind != PSTI_ARROW_UTF8 && c->type.kind != PSTI_ARROW_LARGE_UTF8)
			return false;
		*text = psti_value_bytes(&c->type, c->array, c->i, nbytes);
		return true;
	}
	*text = c->bytes;
	*nbytes = c->nbytes;
	switch (c->type.pg_type)
	{
		case OID_NAME:
		case OID_TEXT:
		case OID_JSON:
		case OID_BPCHAR:
		case OID_VARCHAR:
			return true;
		case OID_JSONB:
			if (c->nbytes == 0 || c->bytes[0] != 1)
				return false;
			*text += 1;
			*nbytes -= 1;
			return true;
		default:
			return false;
	}
}

static pst_status
put_string(const cell *c, psti_buf *out, pst_error *err)
{
	const char *text;
	size_t nbytes;
	pst_status status;

	if (has_plain_text(c, &text, &nbytes))
	{
		psti_json_string(text, nbytes, out);
		return PST_OK;
	}
	psti_buf_putc(out, '"');
	status = put_text(c, false, out, err);
	psti_buf_putc(out, '"');
	return status;
}

/* ---- Numbers ---- */

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The limbs, least first, of the digits of a number's text; *n says how many there are. */
static void
to_limbs(const char *text, size_t nbytes, uint32_t *limbs, size_t *n)
{
	size_t used = 0;

	for (size_t i = 0; i < nbytes;)
	{
		uint32_t power = 1;
		uint32_t chunk = 0;
		uint64_t carry;

		for (; i < nbytes && power < 1000000000; i++)
		{
			if (!is_digit(text[i]))
				continue;
			chunk = chunk * 10 + (uint32_t) (text[i] - '0');
			power *= 10;
		}
		carry = chunk;
		for (size_t k = 0; k < used; k++)
		{
			carry += (uint64_t) limbs[k] * power;
			limbs[k] = (uint32_t) carry;
			carry >>= 32;
		}
		if (carry > 0)
			limbs[used++] = (uint32_t) carry;
	}
	*n = used;
}

/* The number in two's complement, highest byte first, in as few bytes as hold its sign. */
static void
put_unscaled(const uint32_t *limbs, size_t n, bool negative, uint8_t *bytes, psti_buf *out)
{
	size_t nbytes = 4 * n + 1;
	unsigned carry = negative ? 1 : 0;
	size_t first = 0;

	bytes[0] = 0;
	for (size_t k = 0; k < n; k++)
		psti_put32(bytes + 1 + 4 * (n - 1 - k), limbs[k]);
	for (size_t k = nbytes; negative && k-- > 0;)
	{
		unsigned sum = (uint8_t) ~bytes[k] + carry;

		bytes[k] = (uint8_t) sum;
		carry = sum >> 8;
	}
	while (first + 1 < nbytes && bytes[first] == (bytes[first + 1] & 0x80 ? 0xff : 0))
		first++;
	psti_debezium_base64(bytes + first, nbytes - first, out);
}

/*
 * The number whose text stands in out from start on, as Connect's Decimal: its digits as an integer. With a
 * scale that its column does not tell it is a struct of both.
 */
static pst_status
put_decimal(int fixed_scale, size_t start, psti_buf *out, pst_error *err)
{
	uint32_t few[24];
	uint8_t few_bytes[sizeof(few) + 1];
	const char *text = out->data + start;
	size_t nbytes = out->len - start;
	const char *point = memchr(text, '.', nbytes);
	size_t scale = point != NULL ? nbytes - (size_t) (point + 1 - text) : 0;
	bool negative = text[0] == '-';
	size_t room = nbytes / 9 + 2;
	uint32_t *limbs = few;
	uint8_t *bytes = few_bytes;
	size_t n = 0;

	if (room > sizeof(few) / sizeof(few[0]))
	{
		limbs = malloc(room * (sizeof(*limbs) + 4) + 1);
		if (limbs == NULL)
			return psti_fail_nomem(err);
		bytes = (uint8_t *) (limbs + room);
	}
	to_limbs(text, nbytes, limbs, &n);
	out->len = start;
	if (fixed_scale >= 0 && scale == (size_t) fixed_scale)
		put_unscaled(limbs, n, negative, bytes, out);
	else
	{
		psti_buf_printf(out, "{\"scale\":%zu,\"value\":", scale);
		put_unscaled(limbs, n, negative, bytes, out);
		psti_buf_putc(out, '}');
	}
	if (limbs != few)
		free(limbs);
	return PST_OK;
}

/* The text from start on becomes a string. */
static void
quote_from(size_t start, psti_buf *out)
{
	psti_buf_puts(out, "\"\"");
	if (out->failed)
		return;
	memmove(out->data + start + 1, out->data + start, out->len - start - 2);
	out->data[start] = '"';
}

static pst_status
decimal_value(const cell *c, psti_buf *out, pst_error *err)
{
	size_t start = out->len;
	int scale = c->column->precision >= 0 ? c->column->scale : -1;
	pst_status status = put_text(c, false, out, err);

	if (status == PST_OK)
		status = psti_buf_check(out, err);
	if (status != PST_OK || out->len == start)
		return status;
	if (is_digit(out->data[out->len - 1]))
		return put_decimal(scale, start, out, err);
	quote_from(start, out);
	return PST_OK;
}

/* $1,234.56 under lc_monetary = C. */
static pst_status
money_value(const cell *c, psti_buf *out, pst_error *err)
{
	size_t start = out->len;
	size_t end = start;
	pst_status status = put_text(c, false, out, err);

	if (status == PST_OK)
		status = psti_buf_check(out, err);
	if (status != PST_OK)
		return status;
	for (size_t i = start; i < out->len; i++)
		if (out->data[i] != '$' && out->data[i] != ',')
			out->data[end++] = out->data[i];
	out->len = end;
	return put_decimal(2, start, out, err);
}

/* ---- Dates and times ---- */

static void
put_number(int64_t value, psti_buf *out)
{
	char text[PSTI_TEXT_MAX];

	psti_buf_put(out, text, psti_text_int64(value, text));
}

/* In milliseconds where the type has no finer ones. */
static void
put_micros(const cell *c, int64_t us, psti_buf *out)
{
	if (c->column->precision >= 0 && c->column->precision <= 3)
		us = us / 1000 - (us % 1000 < 0 ? 1 : 0);
	put_number(us, out);
}

static pst_status
date_value(const cell *c, psti_buf *out, pst_error *err)
{
	int64_t days = 0;
	pst_status status = moment(c, &days, err);

	if (status != PST_OK)
		return status;
	if (days == INT32_MAX || days == INT32_MIN)
		return put_string(c, out, err);
	put_number(days + DATES_1970_TO_2000, out);
	return PST_OK;
}

static pst_status
time_value(const cell *c, psti_buf *out, pst_error *err)
{
	int64_t us = 0;
	pst_status status = moment(c, &us, err);

	if (status == PST_OK)
		put_micros(c, us, out);
	return status;
}

static pst_status
timestamp_value(const cell *c, psti_buf *out, pst_error *err)
{
	int64_t us = 0;
	pst_status status = moment(c, &us, err);

	if (status != PST_OK)
		return status;
	if (us == INT64_MAX || us == INT64_MIN)
		put_number(us > 0 ? INFINITE_FUTURE : INFINITE_PAST, out);
	else if (__builtin_add_overflow(us, USECS_1970_TO_2000, &us))
		return put_string(c, out, err);
	else
		put_micros(c, us, out);
	return PST_OK;
}

/* The text's +00 is a Z for those who read it; a year BC stays as it is, and infinity. */
static pst_status
zoned_value(const cell *c, psti_buf *out, pst_error *err)
{
	char text[PSTI_TEXT_MAX];
	int64_t us = 0;
	size_t n;
	pst_status status = moment(c, &us, err);

	if (status != PST_OK)
		return status;
	n = psti_text_timestamp(us, true, text);
	if (n > 3 && memcmp(text + n - 3, "+00", 3) == 0)
	{
		n -= 2;
		text[n - 1] = 'Z';
		if (c->column->debezium)
			*(char *) memchr(text, ' ', n) = 'T';
	}
	psti_buf_putc(out, '"');
	psti_buf_put(out, text, n);
	psti_buf_putc(out, '"');
	return PST_OK;
}

/* A number of one or more digits; false where there is none. */
static bool
take_number(const char **at, const char *end, int64_t *value)
{
	const char *start = *at;

	for (*value = 0; *at < end && is_digit(**at); (*at)++)
		if (__builtin_mul_overflow(*value, 10, value) ||
			__builtin_add_overflow(*value, **at - '0', value))
			return false;
	return *at > start;
}

/* hh:mm:ss and up to six digits behind a point, in microseconds. */
static bool
take_clock(const char **at, const char *end, int64_t *us)
{
	int64_t hours;
	int64_t minutes;
	int64_t seconds;
	int64_t unit = SECOND / 10;

	if (!take_number(at, end, &hours) || *at == end || *(*at)++ != ':' ||
		!take_number(at, end, &minutes) || *at == end || *(*at)++ != ':' ||
		!take_number(at, end, &seconds) || minutes > 59 || seconds > 60 ||
		hours > INT64_MAX / (4000 * SECOND))
		return false;
	*us = ((hours * 60 + minutes) * 60 + seconds) * SECOND;
	if (*at < end && **at == '.')
		for ((*at)++; *at < end && is_digit(**at) && unit > 0; (*at)++, unit /= 10)
			*us += (**at - '0') * unit;
	return true;
}

/* +hh, +hh:mm or +hh:mm:ss: seconds east of Greenwich. */
static bool
take_zone(const char **at, const char *end, int64_t *seconds)
{
	int64_t unit = 3600;
	int64_t part;
	bool west;

	if (*at == end || (**at != '+' && **at != '-'))
		return false;
	west = *(*at)++ == '-';
	*seconds = 0;
	for (; unit > 0; unit /= 60)
	{
		if (!take_number(at, end, &part) || part > 59)
			return false;
		*seconds += part * unit;
		if (*at == end)
			break;
		if (*(*at)++ != ':')
			return false;
	}
	*seconds = west ? -*seconds : *seconds;
	return *at == end;
}

static pst_status
timetz_value(const cell *c, psti_buf *out, pst_error *err)
{
	char text[PSTI_TEXT_MAX];
	size_t nbytes;
	const char *at;
	const char *end;
	int64_t us;
	int64_t zone;

	if (!has_plain_text(c, &at, &nbytes))
		return put_string(c, out, err);
	end = at + nbytes;
	if (!take_clock(&at, end, &us) || !take_zone(&at, end, &zone))
		return put_string(c, out, err);
	us = ((us - zone * SECOND) % DATES_USECS + DATES_USECS) % DATES_USECS;
	psti_buf_putc(out, '"');
	psti_buf_put(out, text, psti_text_time(us, text));
	psti_buf_put(out, "Z\"", 2);
	return PST_OK;
}

/* ---- Intervals ---- */

/* A part `-3 days` or clock of IntervalStyle postgres. */
static bool
take_part(const char **at, const char *end, int64_t *us)
{
	static const struct
	{
		const char *unit;
		int64_t us;
	} units[] = {
		{"year", 12 * MONTH_USECS},
		{"mon", MONTH_USECS},
		{"day", DATES_USECS},
	};
	bool negative = **at == '-';
	const char *number;
	int64_t part = 0;

	if (**at == '-' || **at == '+')
		(*at)++;
	number = *at;
	if (!take_number(at, end, &part) || *at == end)
		return false;
	if (**at == ':')
	{
		*at = number;
		if (!take_clock(at, end, &part))
			return false;
	}
	else
	{
		size_t i = 0;

		(*at)++;
		while (i < 3 && ((size_t) (end - *at) < strlen(units[i].unit) ||
						 memcmp(*at, units[i].unit, strlen(units[i].unit)) != 0))
			i++;
		if (i == 3 || __builtin_mul_overflow(part, units[i].us, &part))
			return false;
		while (*at < end && **at != ' ')
			(*at)++;
	}
	return !__builtin_add_overflow(*us, negative ? -part : part, us);
}

static pst_status
interval_value(const cell *c, psti_buf *out, pst_error *err)
{
	size_t start = out->len;
	pst_status status = put_text(c, false, out, err);
	const char *at;
	const char *end;
	int64_t us = 0;
	bool good = true;

	if (status == PST_OK)
		status = psti_buf_check(out, err);
	if (status != PST_OK || out->len == start)
		return status;
	at = out->data + start;
	end = out->data + out->len;
	while (good && at < end)
	{
		good = take_part(&at, end, &us);
		if (good && at < end)
			good = *at++ == ' ';
	}
	if (!good)
	{
		quote_from(start, out);
		return PST_OK;
	}
	out->len = start;
	put_number(us, out);
	return PST_OK;
}

/* ---- Bit strings ---- */

static pst_status
bits_value(const cell *c, psti_buf *out, pst_error *err)
{
	const char *text;
	size_t n;
	uint8_t *bytes;

	if (!has_plain_text(c, &text, &n))
		return put_string(c, out, err);
	if (c->column->bit)
	{
		psti_buf_puts(out, n == 1 && text[0] == '1' ? "true" : "false");
		return PST_OK;
	}
	bytes = calloc(1, n / 8 + 1);
	if (bytes == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < n; i++)
		if (text[n - 1 - i] == '1')
			psti_bit_set(bytes, (int64_t) i);
	psti_debezium_base64(bytes, (n + 7) / 8, out);
	free(bytes);
	return PST_OK;
}

/* ---- Any value ---- */

static pst_status
put_cell(const cell *c, psti_debezium_form form, psti_buf *out, pst_error *err)
{
	const char *bytes = c->bytes;
	size_t n = c->nbytes;

	switch (form)
	{
		case PSTI_DEBEZIUM_READY:
		case PSTI_DEBEZIUM_BARE:
			return put_text(c, false, out, err);
		case PSTI_DEBEZIUM_STRING:
			return put_string(c, out, err);
		case PSTI_DEBEZIUM_BYTES:
			if (c->array != NULL && c->type.kind == PSTI_ARROW_FIXED_BINARY)
			{
				n = (size_t) c->type.width;
				bytes =
					(const char *) c->array->buffers[1] + (size_t) (c->i + c->array->offset) * n;
			}
			else if (c->array != NULL)
				bytes = psti_value_bytes(&c->type, c->array, c->i, &n);
			psti_debezium_base64(bytes, n, out);
			return PST_OK;
		case PSTI_DEBEZIUM_ZONED:
			return zoned_value(c, out, err);
		case PSTI_DEBEZIUM_DECIMAL:
			return decimal_value(c, out, err);
		case PSTI_DEBEZIUM_MONEY:
			return money_value(c, out, err);
		case PSTI_DEBEZIUM_DATE:
			return date_value(c, out, err);
		case PSTI_DEBEZIUM_TIME:
			return time_value(c, out, err);
		case PSTI_DEBEZIUM_TIMESTAMP:
			return timestamp_value(c, out, err);
		case PSTI_DEBEZIUM_TIMETZ:
			return timetz_value(c, out, err);
		case PSTI_DEBEZIUM_INTERVAL:
			return interval_value(c, out, err);
		case PSTI_DEBEZIUM_BITS:
			return bits_value(c, out, err);
		case PSTI_DEBEZIUM_JSON:
		default:
			return put_text(c, true, out, err);
	}
}

/* ---- Lists ---- */

/* One dimension of an array's binary form; *at is its next element. */
static bool
put_dimension(cell *c, const uint8_t *sizes, uint32_t ndim, const char **at, const char *end,
			  psti_buf *out, pst_error *err)
{
	uint32_t size = psti_get32(sizes);
	bool good = true;

	psti_buf_putc(out, '[');
	for (uint32_t k = 0; k < size && good && !out->failed; k++)
	{
		int32_t n;

		if (k > 0)
			psti_buf_putc(out, ',');
		if (ndim > 1)
		{
			good = put_dimension(c, sizes + 8, ndim - 1, at, end, out, err);
			continue;
		}
		if (end - *at < 4)
			return false;
		n = (int32_t) psti_get32(*at);
		*at += 4;
		if (n < 0)
		{
			psti_buf_put(out, "null", 4);
			continue;
		}
		if (end - *at < n)
			return false;
		c->bytes = *at;
		c->nbytes = (size_t) n;
		*at += n;
		good = put_cell(c, c->column->form, out, err) == PST_OK;
	}
	psti_buf_putc(out, ']');
	return good;
}

/* An empty array has no dimension: so each bracket that is written takes bytes of the input. */
static bool
has_elements(const uint8_t *sizes, uint32_t ndim)
{
	for (uint32_t d = 0; d < ndim; d++)
		if (psti_get32(sizes + 8 * (size_t) d) == 0)
			return false;
	return true;
}

static bool
from_one(const uint8_t *sizes, uint32_t ndim)
{
	for (uint32_t d = 0; d < ndim; d++)
		if (psti_get32(sizes + 8 * (size_t) d + 4) != 1)
			return false;
	return true;
}

/* An array whose binary form the column has; with another lower bound it is its text. */
static pst_status
binary_list(const psti_debezium_column *column, const struct ArrowArray *array, int64_t i,
			psti_buf *out, pst_error *err)
{
	cell c = {.column = column, .field = column->field, .type = column->type};
	size_t start = out->len;
	const char *bytes;
	const char *at;
	uint32_t ndim;

	bytes = c.bytes = psti_value_bytes(&column->type, array, i, &c.nbytes);
	ndim = c.nbytes >= 12 ? psti_get32(bytes) : UINT32_MAX;
	if (ndim > MAX_DIMENSIONS || c.nbytes < 12 + 8 * (size_t) ndim ||
		!has_elements((const uint8_t *) bytes + 12, ndim))
		return not_its_bytes(&c, err);
	if (!from_one((const uint8_t *) bytes + 12, ndim))
	{
		pst_status status = put_text(&c, false, out, err);

		if (status == PST_OK)
		{
			psti_buf text = PSTI_BUF_INIT;

			psti_buf_put(&text, out->data + start, out->len - start);
			out->len = start;
			psti_json_string(text.data != NULL ? text.data : "", text.len, out);
			out->failed = out->failed || text.failed;
			psti_buf_free(&text);
		}
		return status;
	}
	if (ndim == 0)
	{
		psti_buf_put(out, "[]", 2);
		return PST_OK;
	}
	at = bytes + 12 + 8 * (size_t) ndim;
	c.type.pg_array = false;
	if (put_dimension(&c, (const uint8_t *) bytes + 12, ndim, &at, bytes + c.nbytes, out, err))
		return PST_OK;
	return err->status != PST_OK ? err->status : not_its_bytes(&c, err);
}

static pst_status
arrow_list(const psti_debezium_column *column, const struct ArrowArray *array, int64_t i,
		   psti_buf *out, pst_error *err)
{
	const int64_t row = i + array->offset;
	bool large = column->type.kind == PSTI_ARROW_LARGE_LIST;
	int64_t from = large ? ((const int64_t *) array->buffers[1])[row]
						 : ((const int32_t *) array->buffers[1])[row];
	int64_t to = large ? ((const int64_t *) array->buffers[1])[row + 1]
					   : ((const int32_t *) array->buffers[1])[row + 1];
	psti_debezium_column item;
	pst_status status = PST_OK;

	psti_debezium_column_init(&item, column->field->children[0], column->debezium);
	psti_buf_putc(out, '[');
	for (int64_t k = from; k < to && status == PST_OK; k++)
	{
		if (k > from)
			psti_buf_putc(out, ',');
		status = psti_debezium_value(&item, array->children[0], k, out, err);
	}
	psti_buf_putc(out, ']');
	return status;
}

pst_status
psti_debezium_value(const psti_debezium_column *column, const struct ArrowArray *array, int64_t i,
					psti_buf *out, pst_error *err)
{
	cell c = {
		.column = column, .field = column->field, .type = column->type, .array = array, .i = i};

	if (column->type.kind == PSTI_ARROW_NULL || psti_array_null(array, i))
	{
		psti_buf_put(out, "null", 4);
		return PST_OK;
	}
	if (column->list && column->type.pg_type != 0)
		return binary_list(column, array, i, out, err);
	if (column->list)
		return arrow_list(column, array, i, out, err);
	if (column->type.pg_type != 0)
	{
		c.bytes = psti_value_bytes(&column->type, array, i, &c.nbytes);
		c.array = NULL;
	}
	return put_cell(&c, column->form, out, err);
}

/* ---- What a column becomes ---- */

static psti_debezium_form
form_of_oid(uint32_t oid)
{
	switch (oid)
	{
		case OID_BYTEA:
			return PSTI_DEBEZIUM_BYTES;
		case OID_DATE:
			return PSTI_DEBEZIUM_DATE;
		case OID_TIME:
			return PSTI_DEBEZIUM_TIME;
		case OID_TIMESTAMP:
			return PSTI_DEBEZIUM_TIMESTAMP;
		case OID_TIMESTAMPTZ:
			return PSTI_DEBEZIUM_ZONED;
		case OID_NUMERIC:
			return PSTI_DEBEZIUM_DECIMAL;
		case OID_NAME:
		case OID_TEXT:
		case OID_JSON:
		case OID_BPCHAR:
		case OID_VARCHAR:
		case OID_UUID:
		case OID_JSONB:
			return PSTI_DEBEZIUM_STRING;
		default:
			return PSTI_DEBEZIUM_JSON;
	}
}

/* Types that travel as text and are more to Debezium, by the beginning of their name. */
static const struct
{
	const char *begins;
	psti_debezium_form form;
} named_forms[] = {
	{"interval", PSTI_DEBEZIUM_INTERVAL}, {"numeric", PSTI_DEBEZIUM_DECIMAL},
	{"money", PSTI_DEBEZIUM_MONEY},		  {"oid", PSTI_DEBEZIUM_BARE},
	{"bit", PSTI_DEBEZIUM_BITS},
};

/* type is format_type's text, of n bytes. */
static psti_debezium_form
form_of_name(const char *type, size_t n)
{
	static const char zone[] = " with time zone";

	if (n > 2 && memcmp(type + n - 2, "[]", 2) == 0)
		return PSTI_DEBEZIUM_STRING;
	if (n >= 4 + sizeof(zone) - 1 && memcmp(type, "time", 4) == 0 &&
		memcmp(type, "times", 5) != 0 &&
		memcmp(type + n - (sizeof(zone) - 1), zone, sizeof(zone) - 1) == 0)
		return PSTI_DEBEZIUM_TIMETZ;
	for (size_t i = 0; i < sizeof(named_forms) / sizeof(named_forms[0]); i++)
	{
		size_t length = strlen(named_forms[i].begins);

		if (n >= length && memcmp(type, named_forms[i].begins, length) == 0 &&
			(n == length || type[length] == '(' || type[length] == ' '))
			return named_forms[i].form;
	}
	return PSTI_DEBEZIUM_STRING;
}

static psti_debezium_form
form_of_kind(const psti_arrow_type *type)
{
	switch (type->kind)
	{
		case PSTI_ARROW_DECIMAL:
			return PSTI_DEBEZIUM_DECIMAL;
		case PSTI_ARROW_DATE32:
		case PSTI_ARROW_DATE64:
			return PSTI_DEBEZIUM_DATE;
		case PSTI_ARROW_TIME32:
		case PSTI_ARROW_TIME64:
			return PSTI_DEBEZIUM_TIME;
		case PSTI_ARROW_TIMESTAMP:
			return type->with_zone ? PSTI_DEBEZIUM_ZONED : PSTI_DEBEZIUM_TIMESTAMP;
		case PSTI_ARROW_INTERVAL:
			return PSTI_DEBEZIUM_INTERVAL;
		case PSTI_ARROW_FIXED_BINARY:
			return type->width == 16 ? PSTI_DEBEZIUM_STRING : PSTI_DEBEZIUM_BYTES;
		case PSTI_ARROW_BINARY:
		case PSTI_ARROW_LARGE_BINARY:
			return type->pg_type != 0 ? form_of_oid(type->pg_type) : PSTI_DEBEZIUM_BYTES;
		case PSTI_ARROW_UTF8:
		case PSTI_ARROW_LARGE_UTF8:
			return PSTI_DEBEZIUM_STRING;
		default:
			return PSTI_DEBEZIUM_JSON;
	}
}

/* What Flink reads where Debezium has a number of its own. */
static psti_debezium_form
form_for_flink(psti_debezium_form form)
{
	switch (form)
	{
		case PSTI_DEBEZIUM_DECIMAL:
		case PSTI_DEBEZIUM_MONEY:
		case PSTI_DEBEZIUM_DATE:
		case PSTI_DEBEZIUM_TIME:
		case PSTI_DEBEZIUM_TIMESTAMP:
		case PSTI_DEBEZIUM_TIMETZ:
		case PSTI_DEBEZIUM_INTERVAL:
		case PSTI_DEBEZIUM_BITS:
		case PSTI_DEBEZIUM_BARE:
			return PSTI_DEBEZIUM_STRING;
		default:
			return form;
	}
}

/* The numbers in the parentheses of format_type's text: precision and scale, 0 where there is no second. */
static void
read_modifiers(psti_debezium_column *column, const char *type, size_t n)
{
	const char *at = memchr(type, '(', n);
	const char *end = type + n;
	int64_t precision;
	int64_t scale = 0;

	if (at == NULL)
		return;
	at++;
	if (!take_number(&at, end, &precision) || at == end || precision > 1000)
		return;
	if (*at == ',' && (at++, !take_number(&at, end, &scale) || scale > 1000))
		return; /* a scale below 0 is told with each value */
	column->precision = (int) precision;
	column->scale = (int) scale;
}

void
psti_debezium_column_init(psti_debezium_column *column, const struct ArrowSchema *field,
						  bool debezium)
{
	size_t n = 0;
	const char *values = psti_schema_metadata_get(field, "penstock.values", &n);
	bool ready = values != NULL && n == 4 && memcmp(values, "json", 4) == 0;
	const char *type = psti_schema_metadata_get(field, "penstock.type", &n);
	bool text;

	memset(column, 0, sizeof(*column));
	column->field = field;
	column->debezium = debezium;
	column->type = psti_pgbinary_field(field);
	column->precision = -1;
	column->list = column->type.pg_array || column->type.kind == PSTI_ARROW_LIST ||
				   column->type.kind == PSTI_ARROW_LARGE_LIST;
	column->form = form_of_kind(&column->type);
	text = column->type.kind == PSTI_ARROW_UTF8 || column->type.kind == PSTI_ARROW_LARGE_UTF8;
	if (text && ready)
		column->form = PSTI_DEBEZIUM_READY;
	else if (text && type != NULL)
		column->form = form_of_name(type, n);
	if (!debezium)
		column->form = form_for_flink(column->form);
	if (type != NULL)
		read_modifiers(column, type, n);
	if (column->type.kind == PSTI_ARROW_DECIMAL && column->type.scale >= 0)
	{
		column->precision = column->type.precision;
		column->scale = column->type.scale;
	}
	column->bit = type != NULL && n == 6 && memcmp(type, "bit(1)", 6) == 0;
}
