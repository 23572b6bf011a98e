/*
 * value_text_test.c - values read from their texts against the server's own send functions.
 *
 * Each value is selected twice, as text and in binary: what is made of the text must be the bytes.
 * PENSTOCK_FLOATS sets how many random floats are tried (100,000 by default).
 */
#include "test.h"

#include <libpq-fe.h>

#include "bytes.h"
#include "cdc/change.h"
#include "live.h"

#define LOT 20000

static PGconn *conn;
static uint64_t seed = 20261123;

static int
open_connection(void **state)
{
	(void) state;
	conn = live_connect("");
	live_exec(conn,
			  "SET datestyle = ISO; SET timezone = 'UTC'; SET intervalstyle = postgres; "
			  "SET bytea_output = hex; SET extra_float_digits = %d; SELECT setseed(0.25)",
			  PQserverVersion(conn) < 120000 ? 3 : 1);
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
column_of(const char *type, psti_copy_column *column)
{
	Oid oid = (Oid) live_int(conn, "SELECT '%s'::regtype::oid", type);
	Oid elem = (Oid) live_int(
		conn, "SELECT coalesce(max(typelem::int8), 0) FROM pg_type WHERE oid = %u AND typlen = -1",
		oid);

	memset(column, 0, sizeof(*column));
	column->name = type;
	column->list = elem != 0;
	column->elem = elem;
	/* Of a domain its base. */
	oid = (Oid) live_int(conn,
						 "SELECT CASE typtype WHEN 'd' THEN typbasetype ELSE oid END FROM pg_type "
						 "WHERE oid = %u",
						 elem != 0 ? elem : oid);
	if (!psti_copy_known(oid, &column->type))
		fail_msg("%s is not known", type);
}

static PGresult *
ask(const char *sql, int format)
{
	PGresult *result = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, format);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(conn));
	return result;
}

/* The one column of the query has this type. */
static void
compare(const char *type, const char *sql)
{
	PGresult *texts = ask(sql, 0);
	PGresult *binaries = ask(sql, 1);
	psti_buf out = PSTI_BUF_INIT;
	psti_copy_column column;

	column_of(type, &column);
	assert_int_equal(PQntuples(texts), PQntuples(binaries));
	assert_true(PQntuples(texts) > 0);
	for (int i = 0; i < PQntuples(texts); i++)
	{
		const char *text = PQgetvalue(texts, i, 0);
		size_t nbytes = (size_t) PQgetlength(texts, i, 0);

		psti_buf_reset(&out);
		if (!psti_value_of_text(&column, text, nbytes, &out))
			fail_msg("%s: \"%s\" is refused", type, text);
		if (out.len != (size_t) PQgetlength(binaries, i, 0) ||
			memcmp(out.data, PQgetvalue(binaries, i, 0), out.len) != 0)
			fail_msg("%s: \"%s\" became other bytes", type, text);
	}
	PQclear(texts);
	PQclear(binaries);
	psti_buf_free(&out);
}

static void
values_at_the_edges_come_through(void **state)
{
	static const struct
	{
		const char *type;
		const char *values; /* of a VALUES list, with this type's name before each literal */
	} edges[] = {
		{"bool", "('t'),('f')"},
		{"int2", "('-32768'),('32767'),('0'),('-1')"},
		{"int4", "('-2147483648'),('2147483647'),('0')"},
		{"int8", "('-9223372036854775808'),('9223372036854775807'),('0'),('1000000000000000000')"},
		{"oid", "('0'),('4294967295')"},
		{"float4", "('NaN'),('Infinity'),('-Infinity'),('-0'),('1e-45'),('3.4028235e38'),('0.1'),"
				   "('16777216'),('1.1754944e-38'),('1.17549421e-38'),('123456.78'),('1e10')"},
		{"float8", "('NaN'),('Infinity'),('-Infinity'),('-0'),('0'),('5e-324'),('0.1'),"
				   "('1.7976931348623157e308'),('123456789012345680'),('9007199254740993'),"
				   "('2.2250738585072014e-308'),('2.225073858507201e-308'),('1e22'),('1e23'),"
				   "('9007199254740992e22'),('8.41e21'),('5e-20'),('-1234.5e-300')"},
		{"numeric", "('NaN'),('0'),('0.000'),('-0.5'),('1e400'),('-1e-400'),('1.50'),('10000'),"
					"('9999'),('100000000'),('0.0001'),('0.00001'),('0.12345'),('123456.789'),"
					"('12345678901234567890.1234567890'),('-99999999.99'),('1e131071'),"
					"('0.0000000000000001'),('1000.0001')"},
		{"numeric(10,2)", "('NaN'),('12.30'),('-99999999.99')"},
		{"date", "('infinity'),('-infinity'),('4713-11-24 BC'),('5874897-12-31'),('2000-02-29'),"
				 "('0001-01-01 BC'),('0001-12-31 BC'),('0004-02-29'),('0005-02-28 BC'),"
				 "('1900-02-28'),('1999-12-31'),('10000-01-01')"},
		{"time", "('00:00'),('24:00:00'),('12:34:56.000001'),('23:59:59.999999'),('01:02:03.5')"},
		{"timetz", "('24:00:00-15:59'),('12:00:00.5+05:30'),('00:00:00+01:02:03'),('01:00+00'),"
				   "('00:00:00-00:00:01'),('00:00:00+15:59:59')"},
		{"timestamp", "('infinity'),('-infinity'),('4713-11-24 00:00:00 BC'),"
					  "('294276-12-31 23:59:59.999999'),('1969-12-31 23:59:59.9'),"
					  "('0044-03-15 12:00 BC'),('2000-01-01'),('1999-12-31 23:59:59.999999')"},
		{"timestamptz", "('infinity'),('-infinity'),('4713-11-25 00:00:00+00 BC'),"
						"('294276-12-31 23:59:59.999999+00'),('2024-03-31 01:30:00+02'),"
						"('0044-03-15 12:00:00.25+00 BC')"},
		{"interval", "('0'),('1 year -2 mons 3 days -04:05:06.789'),('-178000000 years'),"
					 "('178956970 years 7 mons 2147483646 days'),('-00:00:00.000001'),"
					 "('1 mon -1 days +00:00:00.000001'),('-1 year +2 mons'),('1 day'),('25:00'),"
					 "('-1 days 01:00'),('-2147483647:59:59.999999'),"
					 "('-178956970 years -8 mons'),('1 year 1 day')"},
		{"uuid",
		 "('00000000-0000-0000-0000-000000000000'),('FFFFFFFF-1234-5678-9abc-def012345678')"},
		{"bytea", "('\\x'),('\\x00ff5c22'),('\\x0a')"},
		{"text", "(''),('NULL'),('é€😀'),(' '),(E'a\\nb\\\\')"},
		{"varchar", "(''),('é   ')"},
		{"char(4)", "('a'),('')"},
		{"name", "('x'),('Mi\"xed')"},
		{"json", "('null'),('\"a\"'),(' 1.50 '),('{\"b\": [1, {\"a\": null}], \"b\": 2}')"},
		{"jsonb", "('null'),('\"a\\\"b\"'),('{\"b\": 1, \"a\": [1, 2, null]}')"},
		{"int4[]",
		 "('{}'),('{1,NULL,3}'),('{{1,2},{3,4}}'),('[0:1]={1,2}'),('[2:2][-1:0]={{1,2}}'),"
		 "('{{{{{{-1}}}}}}'),('[2147483646:2147483646]={7}'),('{NULL}')"},
		{"text[]", "('{}'),('{\"\",NULL,\"NULL\",\"null\",a,\"b c\",\"d\\\"e\",\"f\\\\g\",\"{h}\","
				   "\"i,j\",\"\\\\\",\"\\\"\\\"\"}'),('{{é,ü},{\"a\\\\b\\\\c\",NULL}}')"},
		{"bytea[]", "('{\"\\\\x00ff\",\"\\\\x\",NULL}')"},
		{"jsonb[]", "('{\"{\\\"a\\\": \\\"b\\\\\\\\c\\\"}\",NULL,1,\"[1, 2]\"}')"},
		{"json[]", "('{\"{\\\"a\\\":1}\",null,\"null\"}')"},
		{"float8[]", "('{NaN,Infinity,0.1,-0,NULL}')"},
		{"bool[]", "('{t,f,NULL}'),('{{t},{f}}')"},
		{"numeric[]", "('{NaN,1.50,NULL,-0.00001}')"},
		{"timestamp[]", "('{infinity,\"2000-01-01 00:00:00.5\",\"0044-03-15 00:00:00 BC\"}')"},
		{"timestamptz[]", "('{-infinity,\"2000-01-01 00:00:00.5+00\",NULL}')"},
		{"date[]", "('{infinity,2000-01-01,\"0044-03-15 BC\"}')"},
		{"interval[]", "('{\"1 day\",01:00,\"1 mon -1 days +00:00:01\"}')"},
		{"uuid[]", "('{00000000-0000-0000-0000-000000000000}')"},
		{"int8[]", "('{-9223372036854775808}')"},
		{"int2[]", "('{1}')"},
		{"oid[]", "('{4294967295}')"},
		{"name[]", "('{a,\"B c\"}')"},
		{"varchar[]", "('{a,\"B c\"}')"},
		{"char(3)[]", "('{a,\"B c\"}')"},
		{"timetz[]", "('{12:00+05:30}')"},
		{"time[]", "('{12:00,24:00}')"},
		{"float4[]", "('{1.5,NaN}')"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
	{
		psti_buf sql = PSTI_BUF_INIT;

		psti_buf_printf(&sql, "SELECT x::%s FROM (VALUES %s) v(x)", edges[i].type, edges[i].values);
		compare(edges[i].type, sql.data);
		psti_buf_free(&sql);
	}
}

static void
what_newer_servers_have_comes_through(void **state)
{
	(void) state;
	if (PQserverVersion(conn) >= 140000)
		compare("numeric", "SELECT x::numeric FROM (VALUES ('Infinity'), ('-Infinity')) v(x)");
	if (PQserverVersion(conn) >= 150000)
		compare("interval", "SELECT x::interval FROM (VALUES ('2562047788:00:54.775807'), "
							"('-2562047788:00:54.775807')) v(x)");
	if (PQserverVersion(conn) >= 170000)
		compare("interval", "SELECT x::interval FROM (VALUES ('infinity'), ('-infinity')) v(x)");
}

static void
arrays_of_domains_have_the_domain_as_element(void **state)
{
	(void) state;
	if (PQserverVersion(conn) < 110000)
		return;
	live_exec(conn, "CREATE DOMAIN pg_temp.price AS numeric(10,2)");
	compare("pg_temp.price[]", "SELECT '{1.50,NULL}'::pg_temp.price[]");
}

/* Each twice, so the rows are made first. */
static void
random_values_come_through(void **state)
{
	static const struct
	{
		const char *type;
		const char *value;
	} kinds[] = {
		{"int8", "(random() * 1e18)::int8 * sign(random() - 0.5)::int8 / 10 ^ (g % 18)"},
		{"numeric", "round((random() - 0.5)::numeric * 10::numeric ^ (g % 60), g % 37)"},
		{"numeric", "round((random()::numeric * 10::numeric ^ (g % 9)), g % 5)"},
		{"date", "date '2000-01-01' + ((random() - 0.3) * 2000000)::int"},
		{"timestamp", "timestamp '2000-01-01' + (random() - 0.1) * interval '9000 years'"},
		{"timestamptz",
		 "timestamptz '2000-01-01 00:00+00' + (random() - 0.5) * interval '90 years'"},
		{"time", "time '00:00' + random() * interval '24 hours'"},
		{"interval", "make_interval((random() * 9)::int - 4, (random() * 20)::int - 10, 0, "
					 "(random() * 8)::int - 4, (random() * 5)::int - 2, 0, random() * 100 - 50)"},
		{"uuid", "md5(random()::text)::uuid"},
		{"bytea", "decode(repeat(md5(random()::text), g % 5), 'hex')"},
		{"float8[]", "ARRAY[random(), -random() * 1e100, NULL, g]"},
		{"text[]", "ARRAY[chr(1 + g % 300), repeat('\\\"', g % 7), repeat(chr(32 + g % 95), 3)]"},
		{"text[]", "ARRAY[ARRAY[chr(1 + g % 127), NULL], ARRAY['null', chr(32 + g % 95) || ' x']]"},
		{"jsonb[]",
		 "ARRAY[jsonb_build_object(repeat(chr(32 + g % 95), 2), g), to_jsonb(md5(g::text))]"},
		{"bytea[]", "ARRAY[decode(md5(random()::text), 'hex'), '']"},
		{"numeric[]", "ARRAY[[random()::numeric], [g / 7.0]]"},
	};
	char sql[64];

	(void) state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		live_exec(conn,
				  "CREATE TEMP TABLE values%zu AS SELECT (%s)::%s FROM generate_series(1, 3000) g",
				  i, kinds[i].value, kinds[i].type);
		snprintf(sql, sizeof(sql), "TABLE values%zu", i);
		compare(kinds[i].type, sql);
	}
}

/* Random bits travel as a binary array, since no text is trusted here. */
static void
compare_floats(const char *type, Oid elem, size_t width, size_t count)
{
	psti_buf array = PSTI_BUF_INIT;
	psti_buf sql = PSTI_BUF_INIT;
	const char *params[1];
	int lengths[1];
	int formats[1] = {1};
	PGresult *result;

	psti_buf_int32(&array, 1);
	psti_buf_int32(&array, 0);
	psti_buf_int32(&array, (int32_t) elem);
	psti_buf_int32(&array, (int32_t) count);
	psti_buf_int32(&array, 1);
	for (size_t i = 0; i < count; i++)
	{
		uint64_t bits = test_random(&seed);

		psti_buf_int32(&array, (int32_t) width);
		if (width == 8)
			psti_buf_int64(&array, (bits >> 52 & 0x7ff) == 0x7ff ? 0 : (int64_t) bits);
		else
			psti_buf_int32(&array, (bits >> 23 & 0xff) == 0xff ? 0 : (int32_t) (uint32_t) bits);
	}
	live_exec(conn, "CREATE TEMP TABLE IF NOT EXISTS floats_%s (x %s); TRUNCATE floats_%s", type,
			  type, type);
	psti_buf_printf(&sql, "INSERT INTO floats_%s SELECT unnest($1::%s[])", type, type);
	params[0] = array.data;
	lengths[0] = (int) array.len;
	result = PQexecParams(conn, sql.data, 1, NULL, params, lengths, formats, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s", PQerrorMessage(conn));
	PQclear(result);
	psti_buf_reset(&sql);
	psti_buf_printf(&sql, "TABLE floats_%s", type);
	compare(type, sql.data);
	psti_buf_free(&array);
	psti_buf_free(&sql);
}

static void
floats_of_any_bits_come_through(void **state)
{
	const char *given = getenv("PENSTOCK_FLOATS");
	size_t count = given == NULL ? 100000 : (size_t) strtoull(given, NULL, 10);

	(void) state;
	for (size_t done = 0; done < count; done += LOT)
	{
		compare_floats("float8", 701, 8, LOT);
		compare_floats("float4", 700, 4, LOT);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_at_the_edges_come_through),
		cmocka_unit_test(what_newer_servers_have_comes_through),
		cmocka_unit_test(arrays_of_domains_have_the_domain_as_element),
		cmocka_unit_test(random_values_come_through),
		cmocka_unit_test(floats_of_any_bits_come_through),
	};

	return live_run(tests, open_connection, close_connection);
}
