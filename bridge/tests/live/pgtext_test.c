/*
 * pgtext_test.c - our output text and json against the server's own, value by value.
 *
 * Values travel as one binary array parameter; the server answers with the output text and to_json
 * of each element. PENSTOCK_FLOATS sets how many random floats are tried (100,000 by default).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "bytes.h"
#include "live.h"
#include "pgnumeric.h"
#include "pgtext.h"

#define LOT 20000

typedef struct values
{
	const char *type;
	Oid elem;
	psti_buf array; /* binary array: header, then length and bytes of each element */
	int count;
} values;

/* Writes our text and our json of one element. */
typedef void (*writer)(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json);

static PGconn *conn;

static uint64_t
random64(void)
{
	static uint64_t state = UINT64_C(0x9E3779B97F4A7C15);
	uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static int
open_connection(void **state)
{
	(void) state;
	conn = PQconnectdb("");
	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	PQclear(PQexec(conn, "SET datestyle = ISO; SET timezone = 'UTC'; SET intervalstyle = postgres; "
						 "SET bytea_output = hex; SET extra_float_digits = 1"));
	return 0;
}

static int
close_connection(void **state)
{
	(void) state;
	PQfinish(conn);
	return 0;
}

static void
values_begin(values *v, const char *type, Oid elem)
{
	*v = (values){type, elem, PSTI_BUF_INIT, 0};
	psti_buf_int32(&v->array, 1);
	psti_buf_int32(&v->array, 0);
	psti_buf_int32(&v->array, (int32_t) elem);
	psti_buf_int32(&v->array, 0);
	psti_buf_int32(&v->array, 1);
}

static void
values_add(values *v, const void *data, size_t nbytes)
{
	psti_buf_int32(&v->array, (int32_t) nbytes);
	psti_buf_append(&v->array, data, nbytes);
	v->count++;
}

static PGresult *
ask_server(values *v)
{
	char sql[256];
	const char *params[1] = {v->array.data};
	int lengths[1] = {(int) v->array.len};
	int formats[1] = {1};
	PGresult *result;

	snprintf(sql, sizeof(sql),
			 "SELECT x, to_json(x) FROM unnest($1::%s[]) WITH ORDINALITY u(x, o) ORDER BY o",
			 v->type);
	result = PQexecParams(conn, sql, 1, NULL, params, lengths, formats, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s", PQerrorMessage(conn));
	assert_int_equal(PQntuples(result), v->count);
	return result;
}

/* Compares and frees. */
static void
values_compare(values *v, writer write)
{
	PGresult *result;
	size_t at = 20;
	psti_buf text = PSTI_BUF_INIT;
	psti_buf json = PSTI_BUF_INIT;

	psti_buf_int32_at(&v->array, 12, v->count);
	result = ask_server(v);
	for (int i = 0; i < v->count; i++)
	{
		size_t nbytes = psti_get32(v->array.data + at);

		psti_buf_reset(&text);
		psti_buf_reset(&json);
		write((const uint8_t *) v->array.data + at + 4, nbytes, &text, &json);
		assert_string_equal(text.data, PQgetvalue(result, i, 0));
		assert_string_equal(json.data, PQgetvalue(result, i, 1));
		at += 4 + nbytes;
	}
	PQclear(result);
	psti_buf_free(&text);
	psti_buf_free(&json);
	psti_buf_free(&v->array);
}

/* json as the server makes it of a text that is no number to it. */
static void
quoted(const psti_buf *text, psti_buf *json)
{
	psti_json_string(text->data, text->len, json);
}

static void
number_json(const psti_buf *text, psti_buf *json)
{
	char last = text->data[text->len - 1];

	if (last >= '0' && last <= '9')
		psti_buf_append(json, text->data, text->len);
	else
		quoted(text, json);
}

static void
add_fixed(psti_buf *text, const char *from, size_t n)
{
	assert_true(n <= PSTI_TEXT_MAX);
	psti_buf_append(text, from, n);
}

static void
write_float8(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	uint64_t bits = psti_get64(data);
	double value;
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	memcpy(&value, &bits, 8);
	add_fixed(text, out, psti_text_float8(value, out));
	number_json(text, json);
}

static void
write_float4(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	uint32_t bits = psti_get32(data);
	float value;
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	memcpy(&value, &bits, 4);
	add_fixed(text, out, psti_text_float4(value, out));
	number_json(text, json);
}

static void
add64(values *v, uint64_t value)
{
	uint8_t bytes[8];

	psti_put64(bytes, value);
	values_add(v, bytes, 8);
}

static void
add32(values *v, uint32_t value)
{
	uint8_t bytes[4];

	psti_put32(bytes, value);
	values_add(v, bytes, 4);
}

static void
add_double(values *v, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, 8);
	/* The value, its neighbours, and all of them negative. */
	for (int64_t d = -2; d <= 2; d++)
	{
		add64(v, bits + (uint64_t) d);
		add64(v, (bits + (uint64_t) d) ^ UINT64_C(1) << 63);
	}
}

static int
float_count(void)
{
	const char *count = getenv("PENSTOCK_FLOATS");

	return count != NULL ? atoi(count) : 100000;
}

static void
float8_of_random_bits(void **state)
{
	(void) state;
	for (int done = 0; done < float_count(); done += LOT)
	{
		values v;

		values_begin(&v, "float8", 701);
		for (int i = 0; i < LOT; i++)
			add64(&v, random64());
		values_compare(&v, write_float8);
	}
}

static void
float8_near_powers_and_integers(void **state)
{
	values v;
	char text[32];

	(void) state;
	values_begin(&v, "float8", 701);
	for (int e = -1074; e <= 1023; e++)
		add_double(&v, ldexp(1, e));
	for (int e = -323; e <= 308; e++)
		for (int d = 1; d <= 9; d++)
		{
			snprintf(text, sizeof(text), "%de%d", d, e);
			add_double(&v, strtod(text, NULL));
		}
	for (int i = 0; i < 5000; i++)
	{
		add_double(&v, (double) i);
		add_double(&v, i / 100.0);
		add_double(&v, (double) (random64() >> (random64() % 60)));
		add64(&v, random64() >> (12 + random64() % 52)); /* denormals */
	}
	add_double(&v, 9007199254740992.0);
	add_double(&v, INFINITY);
	values_compare(&v, write_float8);
}

static void
float4_of_random_bits(void **state)
{
	(void) state;
	for (int done = 0; done < float_count(); done += LOT)
	{
		values v;

		values_begin(&v, "float4", 700);
		for (int i = 0; i < LOT; i++)
			add32(&v, (uint32_t) random64());
		values_compare(&v, write_float4);
	}
}

static void
float4_near_powers_and_integers(void **state)
{
	values v;
	char text[32];

	(void) state;
	values_begin(&v, "float4", 700);
	for (int e = -149; e <= 127; e++)
		for (uint32_t d = 0; d < 5; d++)
		{
			float power = ldexpf(1, e);
			uint32_t bits;

			memcpy(&bits, &power, 4);
			add32(&v, bits + d - 2);
			add32(&v, (bits + d - 2) ^ UINT32_C(1) << 31);
		}
	for (int e = -45; e <= 38; e++)
		for (int d = 1; d <= 99; d++)
		{
			float power;
			uint32_t bits;

			snprintf(text, sizeof(text), "%de%d", d, e);
			power = strtof(text, NULL);
			memcpy(&bits, &power, 4);
			add32(&v, bits);
		}
	for (uint32_t i = 0; i < 3000; i++)
		add32(&v, i);
	add32(&v, UINT32_C(0x7f800000));
	add32(&v, UINT32_C(0xff800000));
	add32(&v, UINT32_C(0x7fc00000));
	values_compare(&v, write_float4);
}

static void
write_int8(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out, psti_text_int64((int64_t) psti_get64(data), out));
	number_json(text, json);
}

static void
int8_of_every_length(void **state)
{
	values v;
	uint64_t power = 1;

	(void) state;
	values_begin(&v, "int8", 20);
	for (int i = 0; i < 64; i++)
		for (uint64_t d = 0; d < 5; d++)
			add64(&v, (UINT64_C(1) << i) + d - 2);
	for (int i = 0; i < 19; i++, power *= 10)
		for (uint64_t d = 0; d < 5; d++)
		{
			add64(&v, power + d - 2);
			add64(&v, 0 - power + d - 2);
		}
	for (uint64_t i = 0; i < 1000; i++)
		add64(&v, i);
	values_compare(&v, write_int8);
}

static void
write_date(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out, psti_text_date((int32_t) psti_get32(data), out));
	add_fixed(json, out, psti_json_date((int32_t) psti_get32(data), out));
}

static void
dates_of_the_whole_range(void **state)
{
	const int32_t first = -2451545;	 /* 4713-11-24 BC */
	const int32_t last = 2145031948; /* 5874897-12-31 */
	values v;

	(void) state;
	values_begin(&v, "date", 1082);
	add32(&v, (uint32_t) INT32_MIN);
	add32(&v, (uint32_t) INT32_MAX);
	for (int32_t i = 0; i < 3000; i++)
	{
		add32(&v, (uint32_t) (first + i));
		add32(&v, (uint32_t) (last - i));
		add32(&v, (uint32_t) (i - 1500));
		add32(&v, (uint32_t) (-730500 + i)); /* around the year 1 */
		add32(&v, (uint32_t) (first + (int64_t) (random64() % UINT64_C(2147483493))));
		add32(&v, (uint32_t) (first + (int64_t) (random64() % 4000000)));
	}
	values_compare(&v, write_date);
}

static void
write_time(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out, psti_text_time((int64_t) psti_get64(data), out));
	quoted(text, json);
}

static const uint64_t fractions[] = {0,		 1,		 10,	 100,	 1000,	 10000, 100000,
									 900000, 999999, 123456, 120000, 100001, 20};

static void
times_to_midnight(void **state)
{
	values v;

	(void) state;
	values_begin(&v, "time", 1083);
	add64(&v, UINT64_C(86400000000));
	for (size_t f = 0; f < sizeof(fractions) / sizeof(fractions[0]); f++)
		for (uint64_t s = 0; s < 86400; s += 613)
			add64(&v, s * 1000000 + fractions[f]);
	values_compare(&v, write_time);
}

static void
write_timetz(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out,
			  psti_text_timetz((int64_t) psti_get64(data), (int32_t) psti_get32(data + 8), out));
	quoted(text, json);
}

static void
timetz_of_every_zone(void **state)
{
	values v;

	(void) state;
	values_begin(&v, "timetz", 1266);
	for (int32_t zone = -57599; zone <= 57599; zone += (zone % 900 == 0 ? 1 : 37))
	{
		uint8_t bytes[12];

		psti_put64(bytes, random64() % UINT64_C(86400000001));
		psti_put32(bytes + 8, (uint32_t) zone);
		values_add(&v, bytes, 12);
	}
	for (int32_t zone = -57600 + 900; zone < 57600; zone += 900)
	{
		uint8_t bytes[12];

		psti_put64(bytes, UINT64_C(86400000000));
		psti_put32(bytes + 8, (uint32_t) zone);
		values_add(&v, bytes, 12);
	}
	values_compare(&v, write_timetz);
}

static void
write_timestamp(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out, psti_text_timestamp((int64_t) psti_get64(data), false, out));
	add_fixed(json, out, psti_json_timestamp((int64_t) psti_get64(data), false, out));
}

static void
write_timestamptz(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out, psti_text_timestamp((int64_t) psti_get64(data), true, out));
	add_fixed(json, out, psti_json_timestamp((int64_t) psti_get64(data), true, out));
}

static void
compare_timestamps(const char *type, Oid elem, writer write)
{
	const int64_t first = INT64_C(-211813488000000000); /* 4713-11-24 BC */
	const int64_t end = INT64_C(9223371331200000000);	/* 294277-01-01 */
	values v;

	values_begin(&v, type, elem);
	add64(&v, (uint64_t) INT64_MIN);
	add64(&v, (uint64_t) INT64_MAX);
	for (int64_t i = 0; i < 3000; i++)
	{
		int64_t fraction = (int64_t) fractions[i % 13];

		add64(&v, (uint64_t) (first + i * 3600000001));
		add64(&v, (uint64_t) (end - 1 - i * 3600000001));
		add64(&v, (uint64_t) ((i - 1500) * 7919000000 + fraction));
		add64(&v, (uint64_t) (INT64_C(-63113904000000000) + (i - 1500) * 7919000000 - fraction));
		add64(&v, (uint64_t) first + random64() % ((uint64_t) end - (uint64_t) first));
	}
	values_compare(&v, write);
}

static void
timestamps_of_the_whole_range(void **state)
{
	(void) state;
	compare_timestamps("timestamp", 1114, write_timestamp);
	compare_timestamps("timestamptz", 1184, write_timestamptz);
}

static void
write_interval(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];
	int64_t us = (int64_t) psti_get64(data);
	int32_t days = (int32_t) psti_get32(data + 8);
	int32_t months = (int32_t) psti_get32(data + 12);

	(void) nbytes;
	add_fixed(text, out,
			  PQserverVersion(conn) >= 170000 ? psti_text_interval(us, days, months, out)
											  : psti_text_interval_finite(us, days, months, out));
	quoted(text, json);
}

static void
intervals_of_mixed_signs(void **state)
{
	static const int32_t parts[] = {0,	 1,	  -1,		 11,		12, 13,
									-12, -13, INT32_MAX, INT32_MIN, 25, -1000};
	static const int64_t clocks[] = {0,		   1,			-1,			 1000000,	-1000000,
									 59999999, -3600000000, 86400000000, INT64_MAX, INT64_MIN + 1,
									 -500000,  -60000000};
	values v;

	(void) state;
	values_begin(&v, "interval", 1186);
	for (int m = 0; m < 12; m++)
		for (int d = 0; d < 12; d++)
			for (int c = 0; c < 12; c++)
			{
				uint8_t bytes[16];

				/* Before 15 more hours than int has room for are refused. */
				if (PQserverVersion(conn) < 150000 &&
					llabs(clocks[c]) > INT64_C(7000000000000000000))
					continue;
				psti_put64(bytes, (uint64_t) clocks[c]);
				psti_put32(bytes + 8, (uint32_t) parts[d]);
				psti_put32(bytes + 12, (uint32_t) parts[m]);
				values_add(&v, bytes, 16);
			}
	values_compare(&v, write_interval);
}

static void
write_uuid(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out, psti_text_uuid(data, out));
	quoted(text, json);
}

static void
write_bytea(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	psti_text_bytea(data, nbytes, text);
	quoted(text, json);
}

static void
uuid_and_bytea(void **state)
{
	values uuids;
	values bytes;

	(void) state;
	values_begin(&uuids, "uuid", 2950);
	values_begin(&bytes, "bytea", 17);
	for (size_t i = 0; i < 500; i++)
	{
		uint64_t random[2] = {random64(), random64()};

		values_add(&uuids, random, 16);
		values_add(&bytes, random, i % 17);
	}
	values_compare(&uuids, write_uuid);
	values_compare(&bytes, write_bytea);
}

static void
write_text(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	psti_buf_append(text, data, nbytes);
	psti_json_string((const char *) data, nbytes, json);
}

static void
json_strings_of_every_character(void **state)
{
	values v;

	(void) state;
	values_begin(&v, "text", 25);
	for (int c = 1; c < 128; c++)
	{
		char text[8] = {'a', (char) c, 'b', (char) c, (char) c};

		values_add(&v, text, 5);
		values_add(&v, text + 1, 1);
	}
	values_add(&v, "", 0);
	values_add(&v, "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15);
	values_add(&v, "\xe2\x80\xa8\xe2\x80\xa9\xc2\x80", 8);
	values_compare(&v, write_text);
}

static void
write_bool(const uint8_t *data, size_t nbytes, psti_buf *text, psti_buf *json)
{
	char out[PSTI_TEXT_MAX];

	(void) nbytes;
	add_fixed(text, out, psti_text_bool(data[0] != 0, out));
	psti_buf_puts(json, data[0] != 0 ? "true" : "false");
}

static void
bools(void **state)
{
	values v;

	(void) state;
	values_begin(&v, "bool", 16);
	values_add(&v, "\0", 1);
	values_add(&v, "\1", 1);
	values_compare(&v, write_bool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		live_test_since(120000, "the shortest digits of a float", float8_of_random_bits),
		live_test_since(120000, "the shortest digits of a float", float8_near_powers_and_integers),
		live_test_since(120000, "the shortest digits of a float", float4_of_random_bits),
		live_test_since(120000, "the shortest digits of a float", float4_near_powers_and_integers),
		cmocka_unit_test(int8_of_every_length),
		cmocka_unit_test(dates_of_the_whole_range),
		cmocka_unit_test(times_to_midnight),
		cmocka_unit_test(timetz_of_every_zone),
		cmocka_unit_test(timestamps_of_the_whole_range),
		cmocka_unit_test(intervals_of_mixed_signs),
		cmocka_unit_test(uuid_and_bytea),
		cmocka_unit_test(json_strings_of_every_character),
		cmocka_unit_test(bools),
	};

	return live_run(tests, open_connection, close_connection);
}
