/*
 * pgtext.h - PostgreSQL's output functions, in the client.
 *
 * Each writes exactly the bytes that the type's output function gives under the pinned settings
 * (ISO dates, UTC, IntervalStyle postgres, hex bytea, extra_float_digits 1 on 12 and newer), without
 * a terminator, and returns their number. Arguments are PostgreSQL's own representations (as in
 * binary COPY, in host byte order). Tested value by value against a live server.
 */
#ifndef PSTI_PGTEXT_H
#define PSTI_PGTEXT_H

#include "buf.h"

#define PSTI_TEXT_MAX 96 /* room that every fixed-size writer below may need */

size_t psti_text_int64(int64_t value, char *out);
size_t psti_text_uint64(uint64_t value, char *out); /* as a numeric */
size_t psti_text_bool(bool value, char *out);		/* t or f */
size_t psti_text_float4(float value, char *out);
size_t psti_text_float8(double value, char *out);
/*
 * And back: the nearest float, whatever the locale. Accepts what the output functions give, also of
 * servers before 12; false: the text is no such number, or its value no finite one.
 */
bool psti_float4_of_text(const char *text, size_t nbytes, float *out);
bool psti_float8_of_text(const char *text, size_t nbytes, double *out);
size_t psti_text_date(int32_t days2000, char *out);		/* INT32_MIN, INT32_MAX: infinities */
size_t psti_text_time(int64_t microseconds, char *out); /* 24:00:00 included */
size_t psti_text_timetz(int64_t microseconds, int32_t zone_seconds_west, char *out);
size_t psti_text_timestamp(int64_t microseconds2000, bool with_zone, char *out);

/*
 * Intervals: the greatest and least values of all three parts are infinity and -infinity, as 17 and
 * newer print them; _finite prints them as the finite intervals that they are before 17.
 */
size_t psti_text_interval(int64_t microseconds, int32_t days, int32_t months, char *out);
size_t psti_text_interval_finite(int64_t microseconds, int32_t days, int32_t months, char *out);
size_t psti_text_uuid(const uint8_t bytes[16], char *out);
void psti_text_bytea(const uint8_t *bytes, size_t nbytes, psti_buf *out); /* \x… */

/* An element of an array literal, quoted where array_out quotes it (delimiter comma). */
void psti_text_array_element(const char *text, size_t nbytes, psti_buf *out);
/* The same in quotes in any case: for arrays whose delimiter is no comma. */
void psti_text_array_quoted(const char *text, size_t nbytes, psti_buf *out);

/*
 * The same value as row_to_json gives it inside a json object: dates and timestamps in ISO 8601
 * form with T, as a quoted string; floats and numerics bare unless NaN or infinite.
 */
size_t psti_json_date(int32_t days2000, char *out);
size_t psti_json_timestamp(int64_t microseconds2000, bool with_zone, char *out);

/* A text as a json string with its quotes, escaped as the server escapes it. */
void psti_json_string(const char *text, size_t nbytes, psti_buf *out);

#endif /* PSTI_PGTEXT_H */
