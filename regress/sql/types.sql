-- Every built-in type: a change has the bytes that a binary COPY of the row has, or the text under the pinned settings.
SET client_min_messages = warning;
\set ECHO none
\i sql/decode.psql
-- One row for each value of a message's changes.
CREATE FUNCTION pg_temp.raw(message bytea) RETURNS TABLE (kind text, relation text, name text, form int, element oid, value bytea) LANGUAGE plpgsql AS $$
DECLARE
	at int := 1;
	ending int;
	n int;
	one jsonb;
	flags int;
	known decoded_relation;
BEGIN
	PERFORM pg_temp.decode(message);
	WHILE at < length(message) LOOP
		kind := chr(get_byte(message, at));
		ending := at + 5 + pg_temp.number(message, at + 1, 4);
		at := at + 5;
		IF kind IN ('I', 'U') THEN
			SELECT * INTO STRICT known FROM decoded_relation r WHERE r.index = pg_temp.number(message, at, 2);
			relation := known.name;
			flags := get_byte(message, at + 2);
			at := at + 4;
			WHILE get_byte(message, at) > 127 LOOP
				at := at + 1;
			END LOOP;
			at := at + 1;
			IF flags & 1 = 1 THEN
				at := at + 4 + pg_temp.number(message, at, 4);
			END IF;
			FOR one IN SELECT e FROM jsonb_array_elements(known.columns) e LOOP
				n := get_byte(message, at);
				at := at + 1;
				IF n = 253 THEN
					n := pg_temp.number(message, at, 4);
					at := at + 4;
				ELSIF n > 253 THEN
					n := 0;
				END IF;
				name := one ->> 'name';
				form := one ->> 'form';
				element := one ->> 'element';
				value := substr(message, at + 1, n);
				at := at + n;
				RETURN NEXT;
			END LOOP;
		END IF;
		at := ending;
	END LOOP;
END $$;
\set ECHO all
CREATE TYPE penstock_mood AS ENUM ('sad', 'so so', 'grün');
CREATE TYPE penstock_pair AS (a int, b text, c timestamptz);
CREATE DOMAIN penstock_positive AS numeric(12, 3) CHECK (value > 0);
CREATE DOMAIN penstock_name AS text COLLATE "C";
CREATE TYPE penstock_span AS RANGE (subtype = float8);

CREATE TABLE samples (type text, value text);
INSERT INTO samples VALUES
	('bool', 't'), ('bool', 'f'), ('int2', '-32768'), ('int2', '32767'), ('int4', '-2147483648'), ('int4', '0'),
	('int8', '-9223372036854775808'), ('int8', '9223372036854775807'), ('float4', '0.1'), ('float4', '-0'), ('float4', 'NaN'),
	('float4', '-Infinity'), ('float8', '1e-307'), ('float8', '-0'), ('float8', 'NaN'), ('float8', 'Infinity'),
	('numeric', '0'), ('numeric', '0.000'), ('numeric', '-1'), ('numeric', '10000'), ('numeric', '0.00010000'), ('numeric', '123456789012345678901234567890.123456789'),
	('numeric', '-1e-200'), ('numeric', '1e500'), ('numeric', 'NaN'), ('numeric(10,3)', '-1234567.891'), ('numeric(5,0)', '12345'),
	('text', ''), ('text', 'grün'), ('varchar(10)', 'ten'), ('varchar', ''), ('bpchar', 'a '), ('char(5)', 'a'), ('name', 'a_name'), ('"char"', 'x'), ('"char"', ''),
	('json', '{"a":1, "a": [ ] }'), ('json', 'null'), ('jsonb', '{"b":1.50,"a":[null,true,"ü"]}'), ('jsonb', 'null'), ('jsonb', '"x"'),
	('bytea', ''), ('bytea', '\x00ff41'), ('uuid', '00112233-4455-6677-8899-aabbccddeeff'),
	('date', '2020-02-29'), ('date', '0044-03-15 BC'), ('date', 'infinity'), ('date', '-infinity'), ('date', '5874897-12-31'),
	('time', '23:59:59.999999'), ('time', '24:00:00'), ('time(2)', '01:02:03.456'), ('timetz', '12:00:00+05:30'), ('timetz(0)', '00:00:00-15:59'),
	('timestamp', '2020-01-01 00:00:00.000001'), ('timestamp', 'infinity'), ('timestamp', '4713-01-01 00:00:00 BC'), ('timestamp(3)', '1999-12-31 23:59:59.9996'),
	('timestamptz', '2020-06-01 12:00:00+02'), ('timestamptz', '-infinity'), ('timestamptz', '294276-12-31 23:59:59.999999+00'),
	('interval', '1 year -2 months 3 days -04:05:06.789'), ('interval', '0'), ('interval day to second', '1 02:03:04'), ('interval', '-178000000 years'),
	('money', '-12.34'), ('bit', '1'), ('bit(9)', '101010101'), ('varbit', ''), ('varbit(20)', '1100110011001100'),
	('point', '(0.1,-0.2)'), ('line', '{1,2,3}'), ('lseg', '[(0,0),(1,1e10)]'), ('box', '(1,1),(0,0)'), ('path', '((0,0),(1,1),(2,0))'),
	('polygon', '((0,0),(1,1),(2,0))'), ('circle', '<(0,0),0.3>'), ('cidr', '10.1.0.0/16'), ('inet', '::1/64'), ('macaddr', '08:00:2b:01:02:03'),
	('macaddr8', '08:00:2b:01:02:03:04:05'), ('oid', '4294967295'), ('xid', '4294967295'), ('xid8', '18446744073709551615'), ('cid', '7'), ('tid', '(1,2)'),
	('pg_lsn', '16/B374D848'), ('regclass', 'pg_class'), ('regproc', 'now'), ('regprocedure', 'abs(integer)'), ('regoper', '||/'),
	('regoperator', '+(integer,integer)'), ('regtype', 'timestamp with time zone'), ('regnamespace', 'pg_catalog'), ('regrole', 'pg_monitor'),
	('regconfig', 'simple'), ('regdictionary', 'simple'), ('regcollation', '"C"'), ('refcursor', 'a cursor'), ('int2vector', '1 2 3'), ('oidvector', ''),
	('tsvector', '''a'':1A ''b'':2,3'), ('tsquery', '''a'' & !''b'''), ('txid_snapshot', '10:20:11,15'), ('pg_snapshot', '10:20:11,15'), ('jsonpath', '$."a"[*]?(@ > 1)'),
	('xml', '<a b="1">ü</a>'), ('aclitem', 'pg_monitor=r/pg_monitor'),
	('int4range', '[1,5)'), ('int4range', 'empty'), ('int8range', '(,)'), ('numrange', '[1.0,2.00]'), ('daterange', '[2020-01-01,infinity)'),
	('tsrange', '[2020-01-01 00:00,2020-01-02 00:00:00.5)'), ('tstzrange', '[2020-01-01 00:00+00,)'),
	('penstock_mood', 'grün'), ('penstock_pair', '(1,"a, ""b""","2020-01-01 00:00+00")'), ('penstock_positive', '0.001'), ('penstock_name', 'n'), ('penstock_span', '[0.1,0.2]');
-- What newer servers have.
INSERT INTO samples SELECT type, value FROM (VALUES ('int4multirange', '{[1,5),[7,9)}'), ('int8multirange', '{}'), ('nummultirange', '{[1.0,2.00]}'),
	('datemultirange', '{[2020-01-01,2020-01-05)}'), ('tsmultirange', '{[2020-01-01 00:00,2020-01-02 00:00)}'), ('tstzmultirange', '{(,2020-01-01 00:00+00)}')) v(type, value)
	WHERE to_regtype(type) IS NOT NULL;
INSERT INTO samples SELECT 'numeric', value FROM (VALUES ('Infinity'), ('-Infinity')) v(value) WHERE current_setting('server_version_num')::int >= 140000;
INSERT INTO samples SELECT 'interval', value FROM (VALUES ('infinity'), ('-infinity')) v(value) WHERE current_setting('server_version_num')::int >= 170000;
-- None is left out.
SELECT t.typname FROM pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm', 'e') AND t.typcategory <> 'A' AND t.typinput <> 'record_in'::regproc
	AND t.typname !~ '^(pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|pg_brin_.*|gtsvector)$'
	AND NOT EXISTS (SELECT FROM samples s WHERE s.type::regtype = t.oid)
ORDER BY 1;

CREATE FUNCTION pg_temp.make() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT row_number() OVER (ORDER BY type COLLATE "C", value COLLATE "C") AS n, type, value FROM samples LOOP
		EXECUTE format('CREATE TABLE typed_%s (id int PRIMARY KEY, v %s, l %s[], e %s[], touched int)', s.n, s.type, s.type, s.type);
		EXECUTE format('INSERT INTO typed_%s VALUES (1, $1::%s, ARRAY[$1, NULL, $1]::%s[], array_fill(NULL::%s, ''{2,1}'', ''{-1,2}''))',
			s.n, s.type, s.type, s.type) USING s.value;
	END LOOP;
END $$;
CREATE FUNCTION pg_temp.touch() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR n IN 1 .. (SELECT count(*) FROM samples) LOOP
		EXECUTE format('UPDATE typed_%s SET touched = 1', n);
	END LOOP;
END $$;
SELECT 'created' FROM pg_create_logical_replication_slot('penstock_types', 'penstock');
SET extra_float_digits = 1;
SET xmloption = 'content';
SELECT pg_temp.make();
SELECT pg_temp.touch();
-- The decoding session's settings are of no account.
SET datestyle = 'German';
SET timezone = 'Asia/Tokyo';
SET intervalstyle = 'iso_8601';
SET bytea_output = 'escape';
SET extra_float_digits = -5;
CREATE TEMP TABLE streamed AS SELECT r.* FROM pg_logical_slot_get_binary_changes('penstock_types', NULL, NULL, 'include', '*.typed_*') m, pg_temp.raw(m.data) r;
RESET datestyle;
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET lc_monetary = 'C';
CREATE FUNCTION pg_temp.send(relation text, name text, form int, element oid) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	type oid := (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = relation::regclass AND a.attname = name);
	sent bytea;
BEGIN
	IF form = 0 THEN
		EXECUTE format('SELECT convert_to(%I::text, ''UTF8'') FROM %s', name, relation) INTO sent;
	ELSE
		-- Elements of a domain are announced as what it is over.
		EXECUTE format('SELECT %s(%I%s) FROM %s', (SELECT t.typsend FROM pg_type t WHERE t.oid = type), name,
			CASE WHEN element <> 0 AND element <> (SELECT t.typelem FROM pg_type t WHERE t.oid = type) THEN format('::%s[]', element::regtype) ELSE '' END, relation) INTO sent;
	END IF;
	RETURN sent;
END $$;
SELECT DISTINCT s.kind, format_type(a.atttypid, -1) AS type, s.form, s.value, pg_temp.send(s.relation, s.name, s.form, s.element) AS copied
FROM streamed s JOIN pg_attribute a ON a.attrelid = s.relation::regclass AND a.attname = s.name
WHERE s.name IN ('v', 'l', 'e') AND s.value IS DISTINCT FROM pg_temp.send(s.relation, s.name, s.form, s.element);
SELECT count(*) = 6 * (SELECT count(*) FROM samples) AS all_compared FROM streamed WHERE name IN ('v', 'l', 'e');
-- Those that travel as binary, and their arrays
\pset format unaligned
SELECT string_agg(DISTINCT format_type(a.atttypid, -1) COLLATE "C", E',\n' ORDER BY format_type(a.atttypid, -1) COLLATE "C")
FROM streamed s JOIN pg_attribute a ON a.attrelid = s.relation::regclass AND a.attname = s.name WHERE s.name IN ('v', 'l') AND s.form = 1;
\pset format aligned
SELECT 'dropped' FROM pg_drop_replication_slot('penstock_types');
\set ECHO none
SELECT format('DROP TABLE typed_%s', n) FROM generate_series(1, (SELECT count(*) FROM samples)) n \gexec
\set ECHO all
DROP TABLE samples;
DROP TYPE penstock_mood, penstock_pair, penstock_span;
DROP DOMAIN penstock_positive, penstock_name;
