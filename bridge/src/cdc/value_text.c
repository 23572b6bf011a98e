/*
 * value_text.c - from the text of a type's output function to the bytes of its send function.
 *
 * The inverse of pgtext.c under the same pinned settings, and as strict: what those functions do not write
 * is refused, since a session with other settings must not be read wrongly. No locale, and no allocation
 * but out's.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "change.h"
#include "dates.h"
#include "pgnumeric.h"
#include "pgtext.h"

/* A text that is being read. */
typedef struct cursor
{
	const char *at;
	const char *end;
} cursor;

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Room for n bytes, or NULL: the caller writes them and adds to out's length. */
static inline char *
room(psti_buf *out, size_t n)
{
	if (!out->failed && out->cap - out->len > n)
		return out->data + out->len;
	return psti_buf_reserve(out, n);
}

static inline bool
put_16(uint16_t value, psti_buf *out)
{
	char *at = room(out, 2);

	if (at == NULL)
		return false;
	psti_put16(at, value);
	out->len += 2;
	return true;
}

static inline bool
put_32(uint32_t value, psti_buf *out)
{
	char *at = room(out, 4);

	if (at == NULL)
		return false;
	psti_put32(at, value);
	out->len += 4;
	return true;
}

static inline bool
put_64(uint64_t value, psti_buf *out)
{
	char *at = room(out, 8);

	if (at == NULL)
		return false;
	psti_put64(at, value);
	out->len += 8;
	return true;
}

static inline bool
take(cursor *c, char wanted)
{
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

static bool
take_word(cursor *c, const char *word, size_t n)
{
	if ((size_t) (c->end - c->at) < n || memcmp(c->at, word, n) != 0)
		return false;
	c->at += n;
	return true;
}

#define TAKE_WORD(c, word) take_word(c, word, sizeof(word) - 1)

static bool
is_word(const char *text, size_t nbytes, const char *word)
{
	return nbytes == strlen(word) && memcmp(text, word, nbytes) == 0;
}

/* ---- Numbers ---- */

/* Digits, at least one and not more than 18, so that they fit. */
static inline bool
take_number(cursor *c, int64_t *out)
{
	const char *start = c->at;
	int64_t value = 0;

	while (c->at < c->end && is_digit(*c->at) && c->at - start < 18)
		value = value * 10 + (*c->at++ - '0');
	*out = value;
	return c->at > start && (c->at == c->end || !is_digit(*c->at));
}

static inline bool
read_integer(const char *text, size_t nbytes, int64_t least, int64_t most, int64_t *out)
{
	const char *end = text + nbytes;
	bool negative = nbytes > 0 && *text == '-';
	uint64_t value = 0;

	text += negative ? 1 : 0;
	if (text == end || end - text > 19)
		return false;
	for (; text < end; text++)
	{
		if (!is_digit(*text))
			return false;
		value = value * 10 + (uint64_t) (*text - '0');
	}
	if (value > (uint64_t) INT64_MAX + (negative ? 1 : 0))
		return false;
	*out = (int64_t) (negative ? -value : value);
	return *out >= least && *out <= most;
}

static bool
of_int2(const char *text, size_t nbytes, psti_buf *out)
{
	int64_t value;

	return read_integer(text, nbytes, INT16_MIN, INT16_MAX, &value) &&
		   put_16((uint16_t) value, out);
}

static bool
of_int4(const char *text, size_t nbytes, psti_buf *out)
{
	int64_t value;

	return read_integer(text, nbytes, INT32_MIN, INT32_MAX, &value) &&
		   put_32((uint32_t) value, out);
}

static bool
of_int8(const char *text, size_t nbytes, psti_buf *out)
{
	int64_t value;

	return read_integer(text, nbytes, INT64_MIN, INT64_MAX, &value) &&
		   put_64((uint64_t) value, out);
}

static bool
of_oid(const char *text, size_t nbytes, psti_buf *out)
{
	int64_t value;

	return read_integer(text, nbytes, 0, UINT32_MAX, &value) && put_32((uint32_t) value, out);
}

static bool
of_float4(const char *text, size_t nbytes, psti_buf *out)
{
	float value;
	uint32_t bits;

	if (!psti_float4_of_text(text, nbytes, &value))
		return false;
	memcpy(&bits, &value, sizeof(bits));
	return put_32(bits, out);
}

static bool
of_float8(const char *text, size_t nbytes, psti_buf *out)
{
	double value;
	uint64_t bits;

	if (!psti_float8_of_text(text, nbytes, &value))
		return false;
	memcpy(&bits, &value, sizeof(bits));
	return put_64(bits, out);
}

static bool
of_bool(const char *text, size_t nbytes, psti_buf *out)
{
	char *at;

	if (nbytes != 1 || (*text != 't' && *text != 'f'))
		return false;
	at = room(out, 1);
	if (at == NULL)
		return false;
	*at = *text == 't';
	out->len++;
	return true;
}

/* ---- numeric ---- */

#define NUMERIC_MINUS 0x4000
#define NUMERIC_NAN 0xC000
#define NUMERIC_PINF 0xD000
#define NUMERIC_NINF 0xF000
#define NUMERIC_INFINITE_SCALE 32 /* what the bits of an infinity look like to numeric_send */
#define NUMERIC_HEADER 8
#define NUMERIC_WHOLE_MAX 131072 /* digits before the point */

static bool
put_numeric_header(uint16_t ngroups, int weight, uint16_t sign, uint16_t scale, char *at)
{
	psti_put16(at, ngroups);
	psti_put16(at + 2, (uint16_t) weight);
	psti_put16(at + 4, sign);
	psti_put16(at + 6, scale);
	return true;
}

static bool
of_numeric_word(const char *text, size_t nbytes, psti_buf *out)
{
	uint16_t scale = NUMERIC_INFINITE_SCALE;
	uint16_t sign;
	char *at;

	if (is_word(text, nbytes, "NaN"))
	{
		sign = NUMERIC_NAN;
		scale = 0;
	}
	else if (is_word(text, nbytes, "Infinity"))
		sign = NUMERIC_PINF;
	else if (is_word(text, nbytes, "-Infinity"))
		sign = NUMERIC_NINF;
	else
		return false;
	at = room(out, NUMERIC_HEADER);
	if (at == NULL)
		return false;
	put_numeric_header(0, 0, sign, scale, at);
	out->len += NUMERIC_HEADER;
	return true;
}

/* n digits, at most four, as the upper ones of `width`. */
static inline unsigned
read_group(const char *digits, size_t n, size_t width)
{
	unsigned value = 0;

	for (size_t i = 0; i < n; i++)
		value = value * 10 + (unsigned) (digits[i] - '0');
	for (; n < width; n++)
		value *= 10;
	return value;
}

/* The groups of base 10000 of a number; those of zero before the first other one are left out. */
typedef struct groups
{
	char *start;
	char *at;
	int weight; /* of the first that is kept */
} groups;

static inline void
put_group(groups *to, unsigned group)
{
	if (group == 0 && to->at == to->start)
	{
		to->weight--;
		return;
	}
	psti_put16(to->at, (uint16_t) group);
	to->at += 2;
}

static size_t
count_digits(const char *text, const char *end)
{
	const char *start = text;

	while (text < end && is_digit(*text))
		text++;
	return (size_t) (text - start);
}

static bool
of_numeric(const char *text, size_t nbytes, psti_buf *out)
{
	const char *end = text + nbytes;
	bool negative = nbytes > 0 && *text == '-';
	const char *whole = text + (negative ? 1 : 0);
	size_t nwhole = count_digits(whole, end);
	const char *fraction = whole + nwhole;
	size_t nfraction = 0;
	size_t first;
	groups to;
	char *at;

	if (nwhole == 0)
		return of_numeric_word(text, nbytes, out);
	if (fraction < end && *fraction == '.')
	{
		nfraction = count_digits(++fraction, end);
		if (nfraction == 0)
			return false;
	}
	if (fraction + nfraction != end || nfraction > PSTI_NUMERIC_SCALE_MAX ||
		nwhole > NUMERIC_WHOLE_MAX)
		return false;
	at = room(out, NUMERIC_HEADER + 2 * ((nwhole + 3) / 4 + (nfraction + 3) / 4));
	if (at == NULL)
		return false;
	to = (groups){at + NUMERIC_HEADER, at + NUMERIC_HEADER, (int) ((nwhole + 3) / 4) - 1};
	first = nwhole % 4;
	if (first > 0)
		put_group(&to, read_group(whole, first, first));
	for (size_t i = first; i < nwhole; i += 4)
		put_group(&to, read_group(whole + i, 4, 4));
	for (size_t i = 0; i < nfraction; i += 4)
		put_group(&to, read_group(fraction + i, nfraction - i < 4 ? nfraction - i : 4, 4));
	while (to.at > to.start && psti_get16(to.at - 2) == 0)
		to.at -= 2;
	if (to.at == to.start)
		put_numeric_header(0, 0, 0, (uint16_t) nfraction, at);
	else
		put_numeric_header((uint16_t) ((to.at - to.start) / 2), to.weight,
						   negative ? NUMERIC_MINUS : 0, (uint16_t) nfraction, at);
	out->len += (size_t) (to.at - at);
	return true;
}

/* ---- Dates and times ---- */

#define EPOCH_DAYS 730425 /* from 0000-03-01 to 2000-01-01 */
#define YEAR_MAX 5874897  /* of a date */

/* Two digits, or -1. */
static inline int
take_two(cursor *c)
{
	int value;

	if (c->end - c->at < 2 || !is_digit(c->at[0]) || !is_digit(c->at[1]))
		return -1;
	value = (c->at[0] - '0') * 10 + (c->at[1] - '0');
	c->at += 2;
	return value;
}

static int
month_days(int64_t year, int month)
{
	static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Days from 2000-01-01; year 0 is 1 BC. */
static int64_t
day_number(int64_t year, int month, int day)
{
	int64_t era;
	int64_t of_era;
	int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	year -= month <= 2 ? 1 : 0;
	era = (year >= 0 ? year : year - 399) / 400;
	of_era = year - era * 400;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS;
}

/* " BC" stands at the very end, and is cut off. */
static bool
cut_bc(cursor *c)
{
	if (c->end - c->at < 3 || memcmp(c->end - 3, " BC", 3) != 0)
		return false;
	c->end -= 3;
	return true;
}

static inline bool
take_date(cursor *c, bool bc, int64_t *day_out)
{
	const char *start = c->at;
	int64_t year;
	int month;
	int day;

	if (!take_number(c, &year) || c->at - start < 4 || year < 1 || year > YEAR_MAX)
		return false;
	year = bc ? 1 - year : year;
	if (!take(c, '-') || (month = take_two(c)) < 1 || month > 12 || !take(c, '-') ||
		(day = take_two(c)) < 1 || day > month_days(year, month))
		return false;
	*day_out = day_number(year, month, day);
	return true;
}

/* What follows the hours: ":mm:ss" and a fraction; microseconds. */
static inline bool
take_minutes(cursor *c, int64_t *out)
{
	int minutes;
	int seconds;
	int64_t fraction = 0;
	int scale = 0;

	if (!take(c, ':') || (minutes = take_two(c)) < 0 || minutes > 59 || !take(c, ':') ||
		(seconds = take_two(c)) < 0 || seconds > 59)
		return false;
	if (take(c, '.'))
	{
		for (; c->at < c->end && is_digit(*c->at) && scale < 6; scale++)
			fraction = fraction * 10 + (*c->at++ - '0');
		if (scale == 0)
			return false;
		for (; scale < 6; scale++)
			fraction *= 10;
	}
	*out = (minutes * 60 + seconds) * INT64_C(1000000) + fraction;
	return true;
}

/* A time of a day, 24:00:00 included. */
static inline bool
take_clock(cursor *c, int64_t *out)
{
	int hours = take_two(c);

	if (hours < 0 || !take_minutes(c, out))
		return false;
	*out += hours * INT64_C(3600000000);
	return *out <= DATES_USECS;
}

static bool
of_date(const char *text, size_t nbytes, psti_buf *out)
{
	cursor c = {text, text + nbytes};
	int64_t day;
	bool bc;

	if (is_word(text, nbytes, "infinity"))
		return put_32((uint32_t) INT32_MAX, out);
	if (is_word(text, nbytes, "-infinity"))
		return put_32((uint32_t) INT32_MIN, out);
	bc = cut_bc(&c);
	return take_date(&c, bc, &day) && c.at == c.end && put_32((uint32_t) (int32_t) day, out);
}

static bool
of_time(const char *text, size_t nbytes, psti_buf *out)
{
	cursor c = {text, text + nbytes};
	int64_t usec;

	return take_clock(&c, &usec) && c.at == c.end && put_64((uint64_t) usec, out);
}

/* "+hh", "+hh:mm" or "+hh:mm:ss": seconds to the west, as timetz counts them. */
static bool
take_zone(cursor *c, int32_t *west)
{
	bool east = c->at < c->end && *c->at == '+';
	int hours;
	int minutes = 0;
	int seconds = 0;

	if (!take(c, east ? '+' : '-') || (hours = take_two(c)) < 0 || hours > 15)
		return false;
	if (take(c, ':') && ((minutes = take_two(c)) < 0 || minutes > 59))
		return false;
	if (take(c, ':') && ((seconds = take_two(c)) < 0 || seconds > 59))
		return false;
	*west = hours * 3600 + minutes * 60 + seconds;
	*west = east ? -*west : *west;
	return true;
}

static bool
of_timetz(const char *text, size_t nbytes, psti_buf *out)
{
	cursor c = {text, text + nbytes};
	int64_t usec;
	int32_t west;

	return take_clock(&c, &usec) && take_zone(&c, &west) && c.at == c.end &&
		   put_64((uint64_t) usec, out) && put_32((uint32_t) west, out);
}

static inline bool
timestamp(const char *text, size_t nbytes, bool with_zone, psti_buf *out)
{
	cursor c = {text, text + nbytes};
	int64_t day;
	int64_t clock;
	int64_t usec;
	bool bc;

	if (nbytes > 0 && !is_digit(*text))
	{
		if (is_word(text, nbytes, "infinity"))
			return put_64((uint64_t) INT64_MAX, out);
		return is_word(text, nbytes, "-infinity") && put_64((uint64_t) INT64_MIN, out);
	}
	bc = cut_bc(&c);
	if (!take_date(&c, bc, &day) || !take(&c, ' ') || !take_clock(&c, &clock) ||
		clock == DATES_USECS || (with_zone && !TAKE_WORD(&c, "+00")) || c.at != c.end ||
		__builtin_mul_overflow(day, DATES_USECS, &usec) ||
		__builtin_add_overflow(usec, clock, &usec))
		return false;
	return put_64((uint64_t) usec, out);
}

static bool
of_timestamp(const char *text, size_t nbytes, psti_buf *out)
{
	return timestamp(text, nbytes, false, out);
}

static bool
of_timestamptz(const char *text, size_t nbytes, psti_buf *out)
{
	return timestamp(text, nbytes, true, out);
}

/* ---- interval ---- */

static bool
put_interval(int64_t usec, int64_t days, int64_t months, psti_buf *out)
{
	char *at;

	if (days < INT32_MIN || days > INT32_MAX || months < INT32_MIN || months > INT32_MAX)
		return false;
	at = room(out, 16);
	if (at == NULL)
		return false;
	psti_put64(at, (uint64_t) usec);
	psti_put32(at + 8, (uint32_t) (int32_t) days);
	psti_put32(at + 12, (uint32_t) (int32_t) months);
	out->len += 16;
	return true;
}

/* The time of an interval, whose hours have been read: it may be the least one of 64 bits. */
static bool
take_interval_time(cursor *c, int64_t hours, bool negative, int64_t *out)
{
	uint64_t usec;
	int64_t rest;

	if (!take_minutes(c, &rest) || c->at != c->end ||
		__builtin_mul_overflow((uint64_t) hours, UINT64_C(3600000000), &usec) ||
		__builtin_add_overflow(usec, (uint64_t) rest, &usec) ||
		usec > (uint64_t) INT64_MAX + (negative ? 1 : 0))
		return false;
	*out = (int64_t) (negative ? -usec : usec);
	return true;
}

/* A number with its sign. */
static bool
take_signed(cursor *c, int64_t *magnitude, bool *negative)
{
	*negative = take(c, '-');
	if (!*negative)
		take(c, '+');
	return take_number(c, magnitude);
}

/* "1 year 2 mons -3 days +04:05:06.7": each part at most once, in this order, at least one. */
static bool
of_interval_finite(const char *text, size_t nbytes, psti_buf *out)
{
	static const struct
	{
		const char *one;
		const char *many;
	} units[] = {{" year", " years"}, {" mon", " mons"}, {" day", " days"}};
	cursor c = {text, text + nbytes};
	int64_t parts[3] = {0, 0, 0};
	int64_t usec = 0;
	size_t next = 0;

	do
	{
		int64_t number;
		bool negative;
		size_t unit = next;

		if (!take_signed(&c, &number, &negative))
			return false;
		if (c.at < c.end && *c.at == ':')
		{
			if (!take_interval_time(&c, number, negative, &usec))
				return false;
			break;
		}
		while (unit < 3 && !take_word(&c, units[unit].many, strlen(units[unit].many)) &&
			   !take_word(&c, units[unit].one, strlen(units[unit].one)))
			unit++;
		if (unit == 3 || number > INT64_C(1) << 32)
			return false;
		parts[unit] = negative ? -number : number;
		next = unit + 1;
	} while (take(&c, ' '));
	return c.at == c.end && put_interval(usec, parts[2], parts[0] * 12 + parts[1], out);
}

static bool
of_interval(const char *text, size_t nbytes, psti_buf *out)
{
	if (is_word(text, nbytes, "infinity"))
		return put_interval(INT64_MAX, INT32_MAX, INT32_MAX, out);
	if (is_word(text, nbytes, "-infinity"))
		return put_interval(INT64_MIN, INT32_MIN, INT32_MIN, out);
	return of_interval_finite(text, nbytes, out);
}

/* ---- Bytes ---- */

/* 1 + the value of a hex digit as the server writes them; 0: it is none. */
static const uint8_t hex_values[256] = {
	['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
	['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

static bool
read_hex(const char *text, size_t nbytes, char *out)
{
	const uint8_t *digits = (const uint8_t *) text;

	for (size_t i = 0; i < nbytes; i++)
	{
		unsigned high = hex_values[digits[2 * i]];
		unsigned low = hex_values[digits[2 * i + 1]];

		if (high == 0 || low == 0)
			return false;
		out[i] = (char) ((high - 1) << 4 | (low - 1));
	}
	return true;
}

static bool
of_bytea(const char *text, size_t nbytes, psti_buf *out)
{
	size_t n = nbytes / 2 - 1;
	char *at;

	if (nbytes < 2 || nbytes % 2 != 0 || text[0] != '\\' || text[1] != 'x')
		return false;
	at = room(out, n);
	if (at == NULL || !read_hex(text + 2, n, at))
		return false;
	out->len += n;
	return true;
}

static bool
of_uuid(const char *text, size_t nbytes, psti_buf *out)
{
	static const uint8_t sizes[] = {4, 2, 2, 2, 6};
	char bytes[16];
	char *at = bytes;

	if (nbytes != 36)
		return false;
	for (size_t g = 0; g < sizeof(sizes); g++)
	{
		if ((g > 0 && *text++ != '-') || !read_hex(text, sizes[g], at))
			return false;
		text += 2 * sizes[g];
		at += sizes[g];
	}
	psti_buf_put(out, bytes, sizeof(bytes));
	return !out->failed;
}

/* ---- Texts ---- */

static bool
of_text(const char *text, size_t nbytes, psti_buf *out)
{
	psti_buf_put(out, text, nbytes);
	return !out->failed;
}

static bool
of_jsonb(const char *text, size_t nbytes, psti_buf *out)
{
	psti_buf_put(out, "\001", 1);
	return of_text(text, nbytes, out);
}

static bool (*const converters[PSTI_COPY_NTYPES])(const char *, size_t, psti_buf *) = {
	[PSTI_COPY_BOOL] = of_bool,
	[PSTI_COPY_INT2] = of_int2,
	[PSTI_COPY_INT4] = of_int4,
	[PSTI_COPY_INT8] = of_int8,
	[PSTI_COPY_OID] = of_oid,
	[PSTI_COPY_FLOAT4] = of_float4,
	[PSTI_COPY_FLOAT8] = of_float8,
	[PSTI_COPY_DATE] = of_date,
	[PSTI_COPY_TIME] = of_time,
	[PSTI_COPY_TIMETZ] = of_timetz,
	[PSTI_COPY_TIMESTAMP] = of_timestamp,
	[PSTI_COPY_TIMESTAMPTZ] = of_timestamptz,
	[PSTI_COPY_INTERVAL] = of_interval,
	[PSTI_COPY_INTERVAL_FINITE] = of_interval_finite,
	[PSTI_COPY_UUID] = of_uuid,
	[PSTI_COPY_BYTEA] = of_bytea,
	[PSTI_COPY_NUMERIC] = of_numeric,
	[PSTI_COPY_TEXT] = of_text,
	[PSTI_COPY_JSON] = of_text,
	[PSTI_COPY_JSONB] = of_jsonb,
	[PSTI_COPY_NUMBER_TEXT] = of_text,
	[PSTI_COPY_MADE_JSON] = of_text,
};

/* ---- Arrays ---- */

#define MAX_DIMENSIONS 6 /* MAXDIM of the server */

/* An array literal that is being read. */
typedef struct literal
{
	cursor c;
	const psti_copy_column *column;
	char delimiter;
	uint32_t ndim;
	int32_t lower[MAX_DIMENSIONS];
	int64_t stated[MAX_DIMENSIONS]; /* sizes by the bounds; 0: none are given */
	uint32_t size[MAX_DIMENSIONS];	/* by the elements; 0: not known yet */
	bool nulls;
	psti_buf *out;
} literal;

/* "[1:3][0:1]=" */
static bool
take_bounds(literal *from)
{
	cursor *c = &from->c;

	while (take(c, '['))
	{
		int64_t lower;
		int64_t upper;
		bool negative;

		if (from->ndim == MAX_DIMENSIONS || !take_signed(c, &lower, &negative))
			return false;
		lower = negative ? -lower : lower;
		if (!take(c, ':') || !take_signed(c, &upper, &negative) || !take(c, ']'))
			return false;
		upper = negative ? -upper : upper;
		if (lower < INT32_MIN || lower > INT32_MAX || upper < lower || upper > INT32_MAX)
			return false;
		from->lower[from->ndim] = (int32_t) lower;
		from->stated[from->ndim++] = upper - lower + 1;
	}
	return from->ndim == 0 || take(c, '=');
}

/* How many dimensions it has: the braces that it begins with. */
static bool
count_dimensions(literal *from)
{
	uint32_t braces = 0;
	const char *at = from->c.at;

	while (at < from->c.end && *at == '{')
	{
		at++;
		braces++;
	}
	if (braces == 0 || braces > MAX_DIMENSIONS || (from->ndim != 0 && from->ndim != braces))
		return false;
	for (uint32_t d = 0; from->ndim == 0 && d < braces; d++)
		from->lower[d] = 1;
	from->ndim = braces;
	return true;
}

static bool
is_text_type(psti_copy_type type)
{
	return converters[type] == of_text || type == PSTI_COPY_JSONB;
}

/* A quoted element, from behind its opening quote on. */
static bool
put_quoted(literal *from)
{
	psti_copy_type type = from->column->type;
	cursor *c = &from->c;
	const char *start = c->at;
	size_t nbytes;
	size_t escapes = 0;

	for (; c->at < c->end && *c->at != '"'; c->at++)
	{
		if (*c->at != '\\')
			continue;
		escapes++;
		if (++c->at == c->end)
			return false;
	}
	nbytes = (size_t) (c->at - start);
	if (!take(c, '"'))
		return false;
	if (escapes == 0)
		return converters[type](start, nbytes, from->out);
	/* Of other types only a bytea has something to escape: its first byte. */
	if (!is_text_type(type))
		return escapes == 1 && *start == '\\' && converters[type](start + 1, nbytes - 1, from->out);
	if (type == PSTI_COPY_JSONB)
		psti_buf_put(from->out, "\001", 1);
	while (nbytes > 0)
	{
		const char *escape = memchr(start, '\\', nbytes);
		size_t plain = escape == NULL ? nbytes : (size_t) (escape - start);

		psti_buf_put(from->out, start, plain);
		start += plain;
		nbytes -= plain;
		if (nbytes == 0)
			break;
		psti_buf_put(from->out, start + 1, 1);
		start += 2;
		nbytes -= 2;
	}
	return !from->out->failed;
}

/* An element: its length and bytes. */
static bool
put_element(literal *from)
{
	cursor *c = &from->c;
	size_t length = from->out->len;
	const char *start = c->at;
	size_t nbytes;

	if (!put_32(0, from->out))
		return false;
	if (take(c, '"'))
	{
		if (!put_quoted(from))
			return false;
	}
	else
	{
		while (c->at < c->end && *c->at != from->delimiter && *c->at != '}')
		{
			if (*c->at == '{' || *c->at == '"' || *c->at == '\\')
				return false;
			c->at++;
		}
		nbytes = (size_t) (c->at - start);
		if (is_word(start, nbytes, "NULL"))
		{
			from->nulls = true;
			psti_buf_int32_at(from->out, length, -1);
			return true;
		}
		if (nbytes == 0 || !converters[from->column->type](start, nbytes, from->out))
			return false;
	}
	if (from->out->len - length - 4 > INT32_MAX)
		return false;
	psti_buf_int32_at(from->out, length, (int32_t) (from->out->len - length - 4));
	return true;
}

/* Braces and what is in them, d of them being open; all of one dimension have the same size. */
static bool
put_dimension(literal *from, uint32_t d)
{
	uint32_t size = 0;

	if (!take(&from->c, '{'))
		return false;
	do
	{
		if (size == INT32_MAX)
			return false;
		if (d + 1 < from->ndim ? !put_dimension(from, d + 1) : !put_element(from))
			return false;
		size++;
	} while (take(&from->c, from->delimiter));
	if (!take(&from->c, '}') || (from->size[d] != 0 && from->size[d] != size))
		return false;
	from->size[d] = size;
	return true;
}

static bool
of_array(const psti_copy_column *column, const char *text, size_t nbytes, psti_buf *out)
{
	literal from = {.c = {text, text + nbytes}, .column = column, .out = out};
	size_t header = out->len;

	from.delimiter = column->delimiter == '\0' ? ',' : column->delimiter;
	if (is_word(text, nbytes, "{}"))
		return put_64(0, out) && put_32(column->elem, out); /* no dimensions, no NULLs */
	if (!take_bounds(&from) || !count_dimensions(&from))
		return false;
	psti_buf_int32(out, (int32_t) from.ndim);
	psti_buf_int32(out, 0);
	psti_buf_int32(out, (int32_t) column->elem);
	for (uint32_t d = 0; d < from.ndim; d++)
	{
		psti_buf_int32(out, 0);
		psti_buf_int32(out, from.lower[d]);
	}
	if (out->failed || !put_dimension(&from, 0) || from.c.at != from.c.end)
		return false;
	for (uint32_t d = 0; d < from.ndim; d++)
	{
		if (from.stated[d] != 0 && from.stated[d] != from.size[d])
			return false;
		psti_buf_int32_at(out, header + 12 + 8 * (size_t) d, (int32_t) from.size[d]);
	}
	psti_buf_int32_at(out, header + 4, from.nulls ? 1 : 0);
	return true;
}

bool
psti_value_of_text(const psti_copy_column *column, const char *text, size_t nbytes, psti_buf *out)
{
	size_t begin = out->len;
	bool done = column->list ? of_array(column, text, nbytes, out)
							 : converters[column->type](text, nbytes, out);

	if (!done && !out->failed)
		out->len = begin;
	return done && !out->failed;
}
