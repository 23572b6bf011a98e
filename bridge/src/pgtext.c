/* pgtext.c - output text of PostgreSQL's fixed-size types, and json strings. Floats: pgfloat.c. */
#include "pgtext.h"

#include <string.h>
#include <strings.h>

#define DAY_US INT64_C(86400000000)
#define EPOCH_DAYS 730425 /* from 0000-03-01 to 2000-01-01, Gregorian calendar without beginning */

static const char digit_pairs[] =
	"00010203040506070809101112131415161718192021222324252627282930313233"
	"34353637383940414243444546474849505152535455565758596061626364656667"
	"68697071727374757677787980818283848586878889909192939495969798"
	"99";

static size_t
put_text(const char *text, char *out)
{
	size_t n = strlen(text);

	memcpy(out, text, n);
	return n;
}

size_t
psti_text_uint64(uint64_t value, char *out)
{
	char buf[20];
	size_t at = sizeof(buf);

	while (value >= 100)
	{
		at -= 2;
		memcpy(buf + at, digit_pairs + value % 100 * 2, 2);
		value /= 100;
	}
	if (value >= 10)
	{
		at -= 2;
		memcpy(buf + at, digit_pairs + value * 2, 2);
	}
	else
		buf[--at] = (char) ('0' + value);
	memcpy(out, buf + at, sizeof(buf) - at);
	return sizeof(buf) - at;
}

/* At least width digits. */
static size_t
put_padded(uint64_t value, size_t width, char *out)
{
	char buf[20];
	size_t n = psti_text_uint64(value, buf);
	size_t zeros = n < width ? width - n : 0;

	memset(out, '0', zeros);
	memcpy(out + zeros, buf, n);
	return zeros + n;
}

static inline size_t
put_two(unsigned value, char *out)
{
	memcpy(out, digit_pairs + value * 2, 2);
	return 2;
}

size_t
psti_text_int64(int64_t value, char *out)
{
	if (value >= 0)
		return psti_text_uint64((uint64_t) value, out);
	out[0] = '-';
	return 1 + psti_text_uint64(-(uint64_t) value, out + 1);
}

size_t
psti_text_bool(bool value, char *out)
{
	out[0] = value ? 't' : 'f';
	return 1;
}

/* "year-month-day" and whether " BC" belongs behind whatever follows. Any 64-bit day will do. */
static size_t
put_date(int64_t days2000, char *out, bool *bc)
{
	int64_t days = days2000 + EPOCH_DAYS;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	unsigned doe = (unsigned) (days - era * 146097);					  /* 0 … 146096 */
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365; /* 0 … 399 */
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);				  /* from 1 March */
	unsigned mp = (5 * doy + 2) / 153;									  /* 0 is March */
	unsigned day = doy - (153 * mp + 2) / 5 + 1;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;
	int64_t year = (int64_t) yoe + era * 400 + (month <= 2 ? 1 : 0);
	size_t n;

	*bc = year <= 0;
	n = put_padded((uint64_t) (*bc ? 1 - year : year), 4, out);
	out[n++] = '-';
	n += put_two(month, out + n);
	out[n++] = '-';
	return n + put_two(day, out + n);
}

/* ".5", without trailing zeros; nothing for 0. */
static size_t
put_fraction(unsigned microseconds, char *out)
{
	size_t n = 7;

	if (microseconds == 0)
		return 0;
	out[0] = '.';
	put_two(microseconds / 10000, out + 1);
	put_two(microseconds / 100 % 100, out + 3);
	put_two(microseconds % 100, out + 5);
	while (out[n - 1] == '0')
		n--;
	return n;
}

/* hh:mm:ss.ffffff; hours may have more digits. */
static size_t
put_clock(uint64_t microseconds, char *out)
{
	unsigned rest = (unsigned) (microseconds % 3600000000U / 1000000U);
	size_t n = put_padded(microseconds / 3600000000U, 2, out);

	out[n++] = ':';
	n += put_two(rest / 60, out + n);
	out[n++] = ':';
	n += put_two(rest % 60, out + n);
	return n + put_fraction((unsigned) (microseconds % 1000000U), out + n);
}

static size_t
put_infinity(bool negative, char *out)
{
	return put_text(negative ? "-infinity" : "infinity", out);
}

size_t
psti_text_date(int32_t days2000, char *out)
{
	bool bc;
	size_t n;

	if (days2000 == INT32_MIN || days2000 == INT32_MAX)
		return put_infinity(days2000 < 0, out);
	n = put_date(days2000, out, &bc);
	return bc ? n + put_text(" BC", out + n) : n;
}

/* A negative time comes from no server; it is printed so that nothing is hidden. */
size_t
psti_text_time(int64_t microseconds, char *out)
{
	if (microseconds >= 0)
		return put_clock((uint64_t) microseconds, out);
	out[0] = '-';
	return 1 + put_clock(-(uint64_t) microseconds, out + 1);
}

size_t
psti_text_timetz(int64_t microseconds, int32_t zone_seconds_west, char *out)
{
	size_t n = psti_text_time(microseconds, out);
	int64_t west = zone_seconds_west;
	unsigned zone = (unsigned) (west < 0 ? -west : west);

	out[n++] = west <= 0 ? '+' : '-';
	n += put_padded(zone / 3600, 2, out + n);
	if (zone % 3600 != 0)
	{
		out[n++] = ':';
		n += put_two(zone / 60 % 60, out + n);
	}
	if (zone % 60 != 0)
	{
		out[n++] = ':';
		n += put_two(zone % 60, out + n);
	}
	return n;
}

static size_t
put_timestamp(int64_t microseconds, char separator, const char *zone, char *out)
{
	int64_t days = microseconds / DAY_US;
	int64_t clock = microseconds % DAY_US;
	bool bc;
	size_t n;

	if (clock < 0)
	{
		clock += DAY_US;
		days--;
	}
	n = put_date(days, out, &bc);
	out[n++] = separator;
	n += put_clock((uint64_t) clock, out + n);
	n += put_text(zone, out + n);
	return bc ? n + put_text(" BC", out + n) : n;
}

size_t
psti_text_timestamp(int64_t microseconds2000, bool with_zone, char *out)
{
	if (microseconds2000 == INT64_MIN || microseconds2000 == INT64_MAX)
		return put_infinity(microseconds2000 < 0, out);
	return put_timestamp(microseconds2000, ' ', with_zone ? "+00" : "", out);
}

/* One part of an interval in style postgres; a positive part after a negative one has a plus. */
static size_t
put_part(int32_t value, const char *unit, size_t n, bool *before, char *out)
{
	if (value == 0)
		return n;
	if (n > 0)
		out[n++] = ' ';
	if (*before && value > 0)
		out[n++] = '+';
	n += psti_text_int64(value, out + n);
	out[n++] = ' ';
	n += put_text(unit, out + n);
	if (value != 1)
		out[n++] = 's';
	*before = value < 0;
	return n;
}

size_t
psti_text_interval_finite(int64_t microseconds, int32_t days, int32_t months, char *out)
{
	bool before = false;
	size_t n = 0;

	n = put_part(months / 12, "year", n, &before, out);
	n = put_part(months % 12, "mon", n, &before, out);
	n = put_part(days, "day", n, &before, out);
	if (n > 0 && microseconds == 0)
		return n;
	if (n > 0)
		out[n++] = ' ';
	if (microseconds < 0)
		out[n++] = '-';
	else if (before)
		out[n++] = '+';
	return n + put_clock(microseconds < 0 ? -(uint64_t) microseconds : (uint64_t) microseconds,
						 out + n);
}

size_t
psti_text_interval(int64_t microseconds, int32_t days, int32_t months, char *out)
{
	if (microseconds == INT64_MAX && days == INT32_MAX && months == INT32_MAX)
		return put_infinity(false, out);
	if (microseconds == INT64_MIN && days == INT32_MIN && months == INT32_MIN)
		return put_infinity(true, out);
	return psti_text_interval_finite(microseconds, days, months, out);
}

static const char hex_digits[] = "0123456789abcdef";

static size_t
put_hex(const uint8_t *bytes, size_t nbytes, char *out)
{
	for (size_t i = 0; i < nbytes; i++)
	{
		out[2 * i] = hex_digits[bytes[i] >> 4];
		out[2 * i + 1] = hex_digits[bytes[i] & 15];
	}
	return 2 * nbytes;
}

size_t
psti_text_uuid(const uint8_t bytes[16], char *out)
{
	static const uint8_t groups[] = {4, 2, 2, 2, 6};
	size_t n = 0;
	size_t at = 0;

	for (size_t g = 0; g < sizeof(groups); g++)
	{
		if (g > 0)
			out[n++] = '-';
		n += put_hex(bytes + at, groups[g], out + n);
		at += groups[g];
	}
	return n;
}

void
psti_text_bytea(const uint8_t *bytes, size_t nbytes, psti_buf *out)
{
	size_t need;
	char *to;

	if (!psti_size_mul(nbytes, 2, &need) || need > SIZE_MAX - 2)
		need = SIZE_MAX - 2;
	to = psti_buf_reserve(out, need + 2);
	if (to == NULL)
		return;
	to[0] = '\\';
	to[1] = 'x';
	put_hex(bytes, nbytes, to + 2);
	out->len += need + 2;
	out->data[out->len] = '\0';
}

/* Whether array_in could take the bare text for NULL, for nothing, or for more than one element. */
static bool
needs_quotes(const char *text, size_t nbytes)
{
	if (nbytes == 0 || (nbytes == 4 && strncasecmp(text, "null", 4) == 0))
		return true;
	for (size_t i = 0; i < nbytes; i++)
		if (strchr("\"\\{}, \t\n\r\v\f", text[i]) != NULL)
			return true;
	return false;
}

void
psti_text_array_element(const char *text, size_t nbytes, psti_buf *out)
{
	if (needs_quotes(text, nbytes))
		psti_text_array_quoted(text, nbytes, out);
	else
		psti_buf_append(out, text, nbytes);
}

void
psti_text_array_quoted(const char *text, size_t nbytes, psti_buf *out)
{
	psti_buf_putc(out, '"');
	for (size_t i = 0; i < nbytes; i++)
	{
		if (text[i] == '"' || text[i] == '\\')
			psti_buf_putc(out, '\\');
		psti_buf_putc(out, text[i]);
	}
	psti_buf_putc(out, '"');
}

size_t
psti_json_date(int32_t days2000, char *out)
{
	size_t n;

	out[0] = '"';
	n = 1 + psti_text_date(days2000, out + 1);
	out[n] = '"';
	return n + 1;
}

size_t
psti_json_timestamp(int64_t microseconds2000, bool with_zone, char *out)
{
	size_t n = 1;

	out[0] = '"';
	if (microseconds2000 == INT64_MIN || microseconds2000 == INT64_MAX)
		n += put_infinity(microseconds2000 < 0, out + n);
	else
		n += put_timestamp(microseconds2000, 'T', with_zone ? "+00:00" : "", out + n);
	out[n] = '"';
	return n + 1;
}

/* The short escape of a byte, 'u' for the long form, or 0 for a byte that stands for itself. */
static const char json_escapes[256] = {
	['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r',
	['\t'] = 't', [0] = 'u',	 [1] = 'u',	   [2] = 'u',	 [3] = 'u',	   [4] = 'u',
	[5] = 'u',	  [6] = 'u',	 [7] = 'u',	   [11] = 'u',	 [14] = 'u',   [15] = 'u',
	[16] = 'u',	  [17] = 'u',	 [18] = 'u',   [19] = 'u',	 [20] = 'u',   [21] = 'u',
	[22] = 'u',	  [23] = 'u',	 [24] = 'u',   [25] = 'u',	 [26] = 'u',   [27] = 'u',
	[28] = 'u',	  [29] = 'u',	 [30] = 'u',   [31] = 'u',
};

static void
put_json_escape(unsigned char c, psti_buf *out)
{
	char text[6] = {'\\', json_escapes[c], '0', '0', hex_digits[c >> 4], hex_digits[c & 15]};

	psti_buf_append(out, text, text[1] == 'u' ? 6 : 2);
}

void
psti_json_string(const char *text, size_t nbytes, psti_buf *out)
{
	const unsigned char *bytes = (const unsigned char *) text;
	size_t start = 0;

	psti_buf_put(out, "\"", 1);
	for (size_t i = 0; i < nbytes; i++)
	{
		if (json_escapes[bytes[i]] == 0)
			continue;
		psti_buf_put(out, text + start, i - start);
		put_json_escape(bytes[i], out);
		start = i + 1;
	}
	psti_buf_put(out, text + start, nbytes - start);
	psti_buf_put(out, "\"", 1);
}
