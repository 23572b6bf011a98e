/* pgnumeric_test.c - numeric against the server: its binary form to its text, and ours to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "pgnumeric.h"

static PGconn *conn;

static int
open_connection(void **state)
{
	(void) state;
	conn = PQconnectdb("");
	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	return 0;
}

static int
close_connection(void **state)
{
	(void) state;
	PQfinish(conn);
	return 0;
}

/* Numerics of every number of digits and place of the point, and the special ones. */
static const char values_sql[] =
	"SELECT x, convert_to(x::text, 'UTF8') FROM ("
	" SELECT (sign || left(translate(md5(s::text) || md5('a' || s), 'abcdef', '012345'), n)"
	"  || 'e' || e)::numeric FROM generate_series(1, 40, 3) n, generate_series(-45, 45, 2) e,"
	"  LATERAL (SELECT n * 1000 + e) z(s), (VALUES (''), ('-')) v(sign)"
	" UNION ALL SELECT 10::numeric ^ n FROM generate_series(-30, 400, 7) n"
	" UNION ALL SELECT round(1::numeric / 3, n) FROM generate_series(0, 2000, 97) n"
	" UNION ALL SELECT ('1e' || n)::numeric FROM generate_series(0, 131071, 8737) n"
	" UNION ALL SELECT ('-1e-' || n)::numeric FROM generate_series(1, 16383, 1489) n"
	" UNION ALL SELECT round(0, n) FROM generate_series(0, 20) n"
	" UNION ALL SELECT 'NaN') v(x)";

static void
text_equals_the_servers(void **state)
{
	PGresult *result = PQexecParams(conn, values_sql, 0, NULL, NULL, NULL, NULL, 1);
	psti_buf text = PSTI_BUF_INIT;

	(void) state;
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s", PQerrorMessage(conn));
	assert_true(PQntuples(result) > 1000);
	for (int i = 0; i < PQntuples(result); i++)
	{
		psti_buf_reset(&text);
		assert_int_not_equal(psti_numeric_to_text((const uint8_t *) PQgetvalue(result, i, 0),
												  (size_t) PQgetlength(result, i, 0), &text),
							 PSTI_NUMERIC_BAD);
		assert_int_equal(text.len, PQgetlength(result, i, 1));
		assert_memory_equal(text.data, PQgetvalue(result, i, 1), text.len);
	}
	psti_buf_free(&text);
	PQclear(result);
}

static uint64_t
random64(void)
{
	static uint64_t state = 7;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void
server_takes_our_binary_form(void **state)
{
	(void) state;
	for (int i = 0; i < 3000; i++)
	{
		unsigned __int128 value = (unsigned __int128) random64() << 64 | random64();
		int scale = (int) (random64() % 60) - 10;
		uint8_t decimal[16];
		uint8_t binary[PSTI_DECIMAL_BYTES];
		psti_buf text = PSTI_BUF_INIT;
		const char *params[1];
		int lengths[1];
		int formats[1] = {1};
		Oid types[1] = {1700};
		PGresult *result;

		value >>= 1 + random64() % 127;
		if (random64() & 1)
			value = -value;
		memcpy(decimal, &value, 16);
		lengths[0] = (int) psti_decimal_to_numeric(decimal, scale, binary);
		psti_decimal_to_text(decimal, scale, &text);
		params[0] = (const char *) binary;
		result = PQexecParams(conn, "SELECT $1", 1, types, params, lengths, formats, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			fail_msg("%s", PQerrorMessage(conn));
		assert_string_equal(text.data, PQgetvalue(result, 0, 0));
		PQclear(result);
		psti_buf_free(&text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_equals_the_servers),
		cmocka_unit_test(server_takes_our_binary_form),
	};

	return cmocka_run_group_tests(tests, open_connection, close_connection);
}
