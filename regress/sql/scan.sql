--
-- penstock.scan: arguments, what is refused, shapes of results, transactions, rights, special values.
-- Values are compared by bridge/tests/live/test_scan.py.
--
\set VERBOSITY default

-- The number of messages, whether each is framed as one, and whether the last is the end marker.
CREATE FUNCTION messages(query text, target_bytes int DEFAULT 1048576, special_values text DEFAULT 'error',
						 text_columns text[] DEFAULT '{}') RETURNS SETOF bytea
LANGUAGE sql VOLATILE AS 'SELECT penstock.scan(query, target_bytes, special_values, text_columns)';
CREATE FUNCTION shape(query text, target_bytes int DEFAULT 1048576, special_values text DEFAULT 'error',
					  text_columns text[] DEFAULT '{}', OUT messages bigint, OUT framed boolean, OUT ended boolean)
LANGUAGE sql VOLATILE AS $$
	SELECT pg_catalog.count(*),
		   pg_catalog.bool_and(pg_catalog.substr(m, 1, 4) = '\xffffffff' AND pg_catalog.length(m) % 8 = 0),
		   (pg_catalog.array_agg(m))[pg_catalog.count(*)] = '\xffffffff00000000'
	FROM public.messages(query, target_bytes, special_values, text_columns) m
$$;
-- All bytes of a result: two queries of which the same comes have the same.
CREATE FUNCTION digest(query text, target_bytes int DEFAULT 1048576, special_values text DEFAULT 'error',
					   text_columns text[] DEFAULT '{}') RETURNS text
LANGUAGE sql VOLATILE AS $$
	SELECT pg_catalog.md5(pg_catalog.string_agg(m, ''))
	FROM public.messages(query, target_bytes, special_values, text_columns) m
$$;

CREATE TABLE t (id int PRIMARY KEY, word text, amount numeric(10, 2));
INSERT INTO t SELECT i, 'word ' || i, i + 0.25 FROM generate_series(1, 1000) i;

-- ---- Arguments

SELECT penstock.scan(NULL);
SELECT penstock.scan('SELECT 1', NULL);
SELECT penstock.scan('SELECT 1', special_values => NULL);
SELECT penstock.scan('SELECT 1', text_columns => NULL);
SELECT penstock.scan('SELECT 1', text_columns => '{a,NULL}');
SELECT penstock.scan('SELECT 1', 0);
SELECT penstock.scan('SELECT 1', -1);
SELECT penstock.scan('SELECT 1', 67108865);
SELECT penstock.scan('SELECT 1', 2147483647);
SELECT * FROM shape('SELECT 1', 67108864);
SELECT * FROM shape('SELECT 1', 1);
SELECT penstock.scan('SELECT 1', max_rows => NULL);
SELECT penstock.scan('SELECT 1', max_rows => 0);
SELECT penstock.scan('SELECT 1', max_rows => -1);
SELECT penstock.scan('SELECT 1', special_values => '');
SELECT penstock.scan('SELECT 1', special_values => 'ERROR');
SELECT penstock.scan('SELECT 1', special_values => 'nul');
SELECT penstock.scan('SELECT 1 AS a', text_columns => '{b}');
SELECT penstock.scan('SELECT 1 AS "A"', text_columns => '{a}');
SELECT penstock.scan('SELECT 1 AS a', text_columns => '{""}');
SELECT * FROM shape('SELECT 1 AS a', text_columns => '{*}');
SELECT * FROM shape('SELECT 1 AS a, 2 AS a', text_columns => '{a,a}');
SELECT * FROM shape('SELECT 1 AS a', text_columns => '{{a},{*}}');
SELECT * FROM shape('SELECT 1 AS "*"', text_columns => '{*}');

-- ---- What is refused

SELECT penstock.scan('');
SELECT penstock.scan(' ; ');
SELECT penstock.scan('-- nothing');
SELECT penstock.scan('SELECT 1; SELECT 2');
SELECT penstock.scan('INSERT INTO t VALUES (0)');
SELECT penstock.scan('INSERT INTO t VALUES (0) RETURNING id');
SELECT penstock.scan('UPDATE t SET id = 0');
SELECT penstock.scan('DELETE FROM t RETURNING *');
SELECT penstock.scan('SELECT * INTO other FROM t');
SELECT penstock.scan('SELECT id INTO other FROM t UNION SELECT 1');
SELECT penstock.scan('(SELECT id INTO other FROM t) UNION SELECT 1');
SELECT penstock.scan('CREATE TABLE other AS SELECT 1');
SELECT penstock.scan('WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone');
SELECT penstock.scan('WITH a AS (SELECT 1), made AS (INSERT INTO t VALUES (0) RETURNING *) SELECT * FROM a');
SELECT penstock.scan('EXPLAIN SELECT 1');
SELECT penstock.scan('SHOW timezone');
SELECT penstock.scan('COPY t TO STDOUT');
SELECT penstock.scan('BEGIN');
SELECT penstock.scan('COMMIT');
SELECT penstock.scan('DECLARE c CURSOR FOR SELECT 1');
SELECT penstock.scan('FETCH c');
SELECT penstock.scan('CALL nothing()');
SELECT penstock.scan('DO ''''');
SELECT penstock.scan('PREPARE p AS SELECT 1');
SELECT penstock.scan('EXECUTE p');
SELECT penstock.scan('SELECT $1');
SELECT penstock.scan('SELECT $1::int');
SELECT penstock.scan('SELECT id FROM t WHERE id = $2');
SELECT count(*) FROM t;

-- These are a SELECT.
SELECT * FROM shape('VALUES (1, ''a''), (2, NULL)');
SELECT * FROM shape('TABLE t');
SELECT * FROM shape('SELECT 1;');
SELECT * FROM shape('/* a */ SELECT 1 -- b');
SELECT * FROM shape('WITH a AS (SELECT 1 AS x) SELECT * FROM a UNION ALL SELECT 2 ORDER BY 1 LIMIT 1');
SELECT * FROM shape('SELECT id FROM t WHERE id < 3 FOR UPDATE');
SELECT * FROM shape('SELECT ''unknown'', NULL, ROW(1, 2), ARRAY[]::int[]');

-- ---- Errors of the query point into the query

SELECT penstock.scan('SELEC 1');
SELECT penstock.scan('SELECT nothing FROM t');
SELECT penstock.scan(E'SELECT id,\n       word FROM missing');
SELECT penstock.scan('SELECT missing(1)');
SELECT penstock.scan('SELECT 1 /');
SELECT penstock.scan('SELECT 1 / (id - 500) FROM t ORDER BY id');
SELECT penstock.scan('SELECT word::int FROM t');

-- ---- Shapes

SELECT * FROM shape('SELECT * FROM t WHERE false');
SELECT * FROM shape('SELECT FROM t');
SELECT * FROM shape('SELECT FROM t WHERE false');
SELECT * FROM shape('SELECT');
SELECT length(m) FROM messages('SELECT FROM t') m;
SELECT * FROM shape('SELECT 1 AS " ", 2 AS "a b", 3 AS "A""b", 4 AS "é"');
DO $$
BEGIN
	EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg(format('c%s int', i), ', ') || ')' FROM generate_series(1, 1600) i);
	EXECUTE (SELECT 'INSERT INTO wide VALUES (' || string_agg(i::text, ', ') || ')' FROM generate_series(1, 1600) i);
END
$$;
SELECT * FROM shape('SELECT * FROM wide');
SELECT penstock.scan('SELECT *, 1 AS more, 2 AS again FROM wide w1, wide w2');
SELECT * FROM shape('SELECT * FROM wide', text_columns => '{c1600}');

-- A scan in a scan, and of a function that scans.
SELECT * FROM shape('SELECT penstock.scan(''SELECT * FROM t'')');
SELECT * FROM shape('SELECT length(m) FROM messages(''TABLE t'') m');

-- ---- target_bytes

CREATE TABLE sized (id int, body text);
ALTER TABLE sized ALTER body SET STORAGE EXTERNAL;
INSERT INTO sized SELECT i, repeat('x', 996) FROM generate_series(1, 500) i;
-- 1,004 bytes a row: ten rows a frame, and so fifty frames between schema and end
SELECT * FROM shape('SELECT * FROM sized', 10000);
SELECT max(length(m)) < 13000 AS near_target FROM messages('SELECT * FROM sized', 10000) m;
SELECT * FROM shape('SELECT * FROM sized', 1);
SELECT * FROM shape('SELECT * FROM sized', 67108864);
-- At most so many rows a frame, if that is less
SELECT count(*) FROM penstock.scan('SELECT * FROM sized', max_rows => 7);
SELECT count(*) FROM penstock.scan('SELECT * FROM sized', 10000, max_rows => 12);
SELECT count(*) FROM penstock.scan('SELECT FROM sized', max_rows => 1);
SELECT count(*) FROM penstock.scan('SELECT * FROM sized WHERE false', max_rows => 1);
-- A row larger than the target is a frame of its own, and the rows beside it are in others.
CREATE TABLE uneven (id int, body text);
ALTER TABLE uneven ALTER body SET STORAGE EXTERNAL;
INSERT INTO uneven SELECT i, CASE WHEN i % 10 = 5 THEN repeat('y', 100000) ELSE 'small' END FROM generate_series(1, 30) i;
SELECT length(m) / 10000 AS size FROM messages('SELECT * FROM uneven ORDER BY id', 50000) WITH ORDINALITY AS f(m, n) ORDER BY n;
-- Values that are bits count too.
SELECT max(length(m)) < 200000 AS near_target FROM messages('SELECT i % 2 = 0 AS odd FROM generate_series(1, 2000000) i', 100000) m;
SELECT max(length(m)) < 200000 AS near_target
FROM messages('SELECT array_fill(true, ARRAY[1000]) FROM generate_series(1, 2000) i', 100000) m;
SELECT max(length(m)) < 200000 AS near_target FROM messages('SELECT NULL::bool AS nothing FROM generate_series(1, 2000000) i', 100000) m;

-- Frames are given as they come: nothing is put by.
SET temp_file_limit = 0;
SET work_mem = '64kB';
SELECT count(*) > 100 AS given FROM (SELECT penstock.scan('SELECT md5(i::text) FROM (SELECT generate_series(1, 500000) AS i) x', 100000)) f;
RESET work_mem;
RESET temp_file_limit;

-- ---- Where it stands

SELECT length(penstock.scan('SELECT * FROM t')) > 0 AS given LIMIT 1;
SELECT count(*) FROM (SELECT penstock.scan('SELECT * FROM t', 1000) LIMIT 2) x;
SELECT count(*), count(*) FILTER (WHERE a = b) AS same
FROM (SELECT penstock.scan('TABLE t', 1000) AS a, penstock.scan('TABLE t', 1000) AS b) x;
-- Sets of different sizes: NULL stands for what the shorter lacks.
SELECT count(a), count(b) FROM (SELECT penstock.scan('TABLE t', 1000) AS a, penstock.scan('SELECT 1') AS b) x;
SELECT count(*) FROM penstock.scan('SELECT * FROM t');
SELECT count(*) FROM ROWS FROM (penstock.scan('SELECT * FROM t'), generate_series(1, 7)) x;
-- Once for each row beside it, by argument and by rescan.
SELECT v.n, count(*) FROM (VALUES (1), (2), (3)) v (n), LATERAL penstock.scan('SELECT generate_series(1, 100)', v.n * 100) m GROUP BY 1 ORDER BY 1;
SELECT v.n, (SELECT count(*) FROM (SELECT penstock.scan('SELECT ' || v.n) LIMIT 1 + v.n) x) FROM (VALUES (1), (2), (3)) v (n);
SELECT n, count(m) FROM (SELECT n, penstock.scan('SELECT ' || n) AS m FROM generate_series(1, 100) n) x GROUP BY n HAVING count(m) <> 3;
SELECT CASE WHEN true THEN penstock.scan('SELECT 1') END;
SELECT * FROM t WHERE penstock.scan('SELECT 1') IS NULL;
PREPARE again (text) AS SELECT count(*) FROM (SELECT penstock.scan($1)) x;
EXECUTE again ('SELECT 1');
EXECUTE again ('SELECT 1 WHERE false');
EXECUTE again ('TABLE t');
DEALLOCATE again;

-- ---- Cursors and subtransactions

BEGIN;
DECLARE c CURSOR FOR SELECT length(penstock.scan('SELECT * FROM t ORDER BY id', 1000)) > 0 AS given;
FETCH 2 FROM c;
SAVEPOINT s;
FETCH 1 FROM c;
ROLLBACK TO SAVEPOINT s;
-- What a subtransaction fetched before it went back stays fetched, as with any cursor.
FETCH 1 FROM c;
MOVE FORWARD ALL IN c;
FETCH 1 FROM c;
CLOSE c;
COMMIT;

-- Opened by its first row, in a subtransaction that went back.
BEGIN;
DECLARE c CURSOR FOR SELECT length(penstock.scan('SELECT * FROM t ORDER BY id', 1000)) > 0 AS given;
SAVEPOINT s;
FETCH 2 FROM c;
ROLLBACK TO SAVEPOINT s;
FETCH 1 FROM c;
SAVEPOINT s2;
MOVE FORWARD ALL IN c;
ROLLBACK TO SAVEPOINT s2;
FETCH 1 FROM c;
COMMIT;

BEGIN;
SAVEPOINT s;
DECLARE c CURSOR FOR SELECT length(penstock.scan('SELECT * FROM t')) > 0 AS given;
FETCH 1 FROM c;
ROLLBACK TO SAVEPOINT s;
FETCH 1 FROM c;
ROLLBACK;

-- An error in the middle, in a subtransaction, leaves the transaction usable.
BEGIN;
DECLARE c CURSOR FOR SELECT length(penstock.scan('SELECT 1 / (990 - id) FROM t ORDER BY id', 100)) > 0 AS given;
FETCH 1 FROM c;
SAVEPOINT s;
MOVE FORWARD ALL IN c;
ROLLBACK TO SAVEPOINT s;
FETCH 1 FROM c;
ROLLBACK TO SAVEPOINT s;
SELECT count(*) FROM (SELECT penstock.scan('TABLE t')) x;
COMMIT;

BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT length(penstock.scan('SELECT * FROM t ORDER BY id', 10000)) > 0 AS given;
FETCH 1 FROM held;
COMMIT;
DELETE FROM t WHERE id = 1;
MOVE FORWARD ALL IN held;
\echo :ROW_COUNT
CLOSE held;
INSERT INTO t VALUES (1, 'word 1', 1.25);

BEGIN;
DECLARE back SCROLL CURSOR FOR SELECT md5(penstock.scan('SELECT 1 AS a')) = md5('\xffffffff00000000'::bytea) AS last;
FETCH ALL FROM back;
FETCH BACKWARD 1 FROM back;
FETCH FIRST FROM back;
COMMIT;

-- The snapshot is the calling statement's, whatever happens between two calls.
BEGIN;
DECLARE c CURSOR FOR SELECT penstock.scan('SELECT id FROM t', 1);
MOVE 2 FROM c;
DELETE FROM t WHERE id > 10;
MOVE FORWARD ALL IN c;
\echo :ROW_COUNT
ROLLBACK;
-- So both scans of one statement see the same, though the first one's function writes.
CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO sized VALUES (0, ''''); RETURN 1; END';
SELECT (SELECT count(*) FROM (SELECT penstock.scan('SELECT writes()')) x) AS writing,
	   (SELECT count(*) FROM (SELECT penstock.scan('SELECT * FROM sized WHERE id = 0')) x) AS not_seen;
SELECT * FROM shape('SELECT * FROM sized WHERE id = 0');

-- PL/pgSQL: in a loop, left early, with errors caught
DO $$
DECLARE
	m bytea;
	n int := 0;
BEGIN
	FOR m IN SELECT penstock.scan('SELECT * FROM t', 1000) LOOP
		n := n + 1;
		EXIT WHEN n = 3;
	END LOOP;
	RAISE NOTICE '% messages', n;
	FOR i IN 1..3 LOOP
		BEGIN
			PERFORM penstock.scan('SELECT 1 / (id - 900) FROM t ORDER BY id', 100);
		EXCEPTION WHEN division_by_zero THEN
			RAISE NOTICE 'caught %', i;
		END;
	END LOOP;
	BEGIN
		PERFORM penstock.scan('SELECT ''NaN''::numeric(5, 2) AS a');
	EXCEPTION WHEN numeric_value_out_of_range THEN
		RAISE NOTICE 'caught %', SQLERRM;
	END;
	SELECT count(*) INTO n FROM (SELECT penstock.scan('SELECT * FROM t')) x;
	RAISE NOTICE '% messages', n;
END
$$;
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$
DECLARE
	m bytea;
	n int := 0;
BEGIN
	FOR m IN SELECT penstock.scan('SELECT * FROM sized', 10000) LOOP
		n := n + 1;
		COMMIT;
	END LOOP;
	RAISE NOTICE '% messages', n;
END
$$;
CALL commits();

-- Reading only means no writing, in the query too.
BEGIN READ ONLY;
SELECT * FROM shape('SELECT * FROM t');
SAVEPOINT s;
SELECT penstock.scan('SELECT * FROM t FOR UPDATE');
ROLLBACK TO SAVEPOINT s;
SELECT penstock.scan('SELECT writes()');
ROLLBACK;

-- ---- Rights: those of the caller, and the query's own

CREATE ROLE penstock_reader;
CREATE TABLE secret (id int, owner text, note text);
INSERT INTO secret VALUES (1, 'penstock_reader', 'mine'), (2, 'somebody', 'not mine');
CREATE VIEW window_on_secret AS SELECT id FROM secret;
GRANT SELECT ON window_on_secret TO penstock_reader;
SET ROLE penstock_reader;
SELECT * FROM shape('SELECT 1');
SELECT penstock.scan('SELECT * FROM secret');
SELECT * FROM shape('SELECT * FROM window_on_secret');
RESET ROLE;
GRANT SELECT (id) ON secret TO penstock_reader;
SET ROLE penstock_reader;
SELECT * FROM shape('SELECT id FROM secret');
SELECT penstock.scan('SELECT note FROM secret');
SELECT penstock.scan('SELECT id FROM secret FOR UPDATE');
RESET ROLE;
GRANT SELECT ON secret TO penstock_reader;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_user);
SET ROLE penstock_reader;
SELECT digest('SELECT * FROM secret') = digest('SELECT 1 AS id, ''penstock_reader''::text AS owner, ''mine''::text AS note') AS own_seen;
SET row_security = off;
SELECT penstock.scan('SELECT * FROM secret');
RESET row_security;
-- With nothing but the rights that PUBLIC has.
CREATE TABLE penstock.mine (id int);
SELECT pg_catalog.count(*) FROM penstock.scan('SELECT 1');
RESET ROLE;
SELECT proname, prosecdef, provolatile, proparallel FROM pg_proc WHERE oid = 'penstock.scan'::regproc;

-- ---- statement_timeout

SET statement_timeout = '50ms';
SELECT penstock.scan('SELECT pg_sleep(10)');
-- (It may be met outside of the query too.)
\set SHOW_CONTEXT never
SELECT count(*) FROM (SELECT penstock.scan('SELECT i FROM generate_series(1, 1000000000) i', 1000)) x;
\set SHOW_CONTEXT errors
RESET statement_timeout;

-- ---- Special values: those that the Arrow type cannot hold

CREATE TABLE special (k int, l text, n numeric(6, 2), d date, ts timestamp, tz timestamptz, tm time, iv interval, a int[], PRIMARY KEY (l, k));
INSERT INTO special (k, l, n) VALUES (1, 'one', 'NaN');
INSERT INTO special (k, l, d) VALUES (2, 'two', 'infinity'), (3, 'three', '-infinity'), (4, 'four', '0001-12-31 BC'), (5, 'five', '10000-01-01');
INSERT INTO special (k, l, ts) VALUES (6, 'six', 'infinity'), (7, 'seven', '-infinity'), (8, 'eight', '0001-12-31 23:59:59.999999 BC'), (9, 'nine', '10000-01-01');
INSERT INTO special (k, l, tz) VALUES (10, 'ten', 'infinity'), (11, 'eleven', '-infinity'), (12, 'twelve', '0001-12-31 23:59:59.999999+00 BC'), (13, 'thirteen', '10000-01-01 00:00+00');
INSERT INTO special (k, l, tm) VALUES (14, 'fourteen', '24:00');
INSERT INTO special (k, l, iv) VALUES (15, 'fifteen', '2562048 hours'), (16, 'sixteen', '-2562048 hours');
INSERT INTO special (k, l, a) VALUES (17, 'seventeen', '{{1,2},{3,4}}'), (18, 'eighteen', '[0:1]={1,2}');
DO $$
DECLARE
	row_ record;
	detail text;
	at_column text;
	at_table text;
BEGIN
	FOR row_ IN SELECT k FROM special ORDER BY k LOOP
		BEGIN
			PERFORM penstock.scan(format('SELECT * FROM special WHERE k = %s', row_.k));
			RAISE WARNING 'row % was read', row_.k;
		EXCEPTION WHEN numeric_value_out_of_range THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, at_column = COLUMN_NAME, at_table = TABLE_NAME;
			RAISE NOTICE '% | % | %.%', SQLERRM, detail, at_table, at_column;
		END;
	END LOOP;
END
$$;
-- NULL, the nearest, or the text instead
SELECT digest('SELECT n, d, ts, tz, tm, iv, a FROM special ORDER BY k', special_values => 'null') =
	   digest('SELECT NULL::numeric(6, 2) AS n, NULL::date AS d, NULL::timestamp AS ts, NULL::timestamptz AS tz, NULL::time AS tm, NULL::interval AS iv, NULL::int[] AS a FROM special') AS nulls;
CREATE TABLE clamped (LIKE special);
INSERT INTO clamped (k, l, d) VALUES (2, 'two', '9999-12-31'), (3, 'three', '0001-01-01'), (4, 'four', '0001-01-01'), (5, 'five', '9999-12-31');
INSERT INTO clamped (k, l, ts) SELECT k, l, CASE WHEN k IN (6, 9) THEN '9999-12-31 23:59:59.999999' ELSE '0001-01-01' END::timestamp FROM special WHERE k BETWEEN 6 AND 9;
INSERT INTO clamped (k, l, tz) SELECT k, l, CASE WHEN k IN (10, 13) THEN '9999-12-31 23:59:59.999999+00' ELSE '0001-01-01 00:00+00' END::timestamptz FROM special WHERE k BETWEEN 10 AND 13;
INSERT INTO clamped (k, l, tm) VALUES (14, 'fourteen', '23:59:59.999999');
INSERT INTO clamped (k, l, iv) VALUES (15, 'fifteen', '2562047:47:16.854775'), (16, 'sixteen', '-2562047:47:16.854775');
INSERT INTO clamped (k, l, a) VALUES (17, 'seventeen', '{1,2,3,4}'), (18, 'eighteen', '{1,2}');
INSERT INTO clamped (k, l) VALUES (1, 'one');
SELECT x.k AS differs FROM special x JOIN clamped y USING (k)
WHERE digest(format('SELECT * FROM special WHERE k = %s', k), special_values => 'clamp') <> digest(format('SELECT * FROM clamped WHERE k = %s', k))
ORDER BY 1;
SELECT * FROM shape('SELECT * FROM special', text_columns => '{n,d,ts,tz,tm,iv,a}');
SELECT * FROM shape('SELECT * FROM special', text_columns => '{*}');
-- In a list, in a domain, in a list of domains
CREATE DOMAIN money_ AS numeric(6, 2);
SELECT penstock.scan('SELECT ARRAY[1, ''NaN'']::numeric(6, 2)[] AS a');
SELECT penstock.scan('SELECT ''NaN''::money_ AS a');
SELECT penstock.scan('SELECT ARRAY[''NaN'']::money_[] AS a');
SELECT digest('SELECT ARRAY[1, ''NaN'', 2]::numeric(6, 2)[] AS a', special_values => 'null') =
	   digest('SELECT ARRAY[1, NULL, 2]::numeric(6, 2)[] AS a') AS same;
-- The row by its number where no key shows it; never where it would be another table's
SELECT penstock.scan('SELECT n FROM special');
SELECT penstock.scan('SELECT k, n FROM special');
SELECT penstock.scan('SELECT l AS "L", k AS key, n AS amount FROM special');
SELECT penstock.scan('SELECT id, ''infinity''::date AS d FROM t WHERE id > 7 ORDER BY id');
SELECT penstock.scan('SELECT id, CASE WHEN id = 777 THEN ''infinity''::date END AS d FROM t ORDER BY id', 1000);
-- One table twice in a query: the key shown may be another row's, or none's
SELECT penstock.scan('SELECT a.n, b.l, b.k FROM special a JOIN special b ON b.k = a.k + 1');
SELECT penstock.scan('SELECT b.l, b.k, a.n FROM special a LEFT JOIN special b ON false WHERE a.k = 1');
-- The same by WITH, where the table is read once and its rows are used twice; used once it has a key
SELECT penstock.scan('WITH s AS MATERIALIZED (SELECT * FROM special) SELECT a.n, b.l, b.k FROM s a JOIN s b ON b.k = a.k + 1');
SELECT penstock.scan('WITH s AS MATERIALIZED (SELECT * FROM special) SELECT n, l, k FROM s');
-- A parent by INHERITS, its own rows, and both at once; keys are told as values are
CREATE TABLE elder (k date PRIMARY KEY, d date);
CREATE TABLE younger () INHERITS (elder);
INSERT INTO elder VALUES ('2020-01-02', 'infinity');
INSERT INTO younger VALUES ('2020-01-03', NULL);
SET datestyle = 'German';
SELECT penstock.scan('TABLE elder');
SELECT penstock.scan('SELECT * FROM ONLY elder');
SELECT penstock.scan('SELECT a.d, b.k FROM elder a JOIN ONLY elder b ON a.k <= b.k');
RESET datestyle;
DROP TABLE elder CASCADE;
-- A partition's row by the key of the whole table
CREATE TABLE parts (k int PRIMARY KEY, d date) PARTITION BY RANGE (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 (d date, k int NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (10) TO (20);
INSERT INTO parts VALUES (3, NULL), (13, 'infinity');
SELECT penstock.scan('SELECT * FROM parts');
-- Dates that are at the edge
SELECT * FROM shape('SELECT date ''0001-01-01'', date ''9999-12-31'', timestamp ''0001-01-01'', timestamp ''9999-12-31 23:59:59.999999'', time ''23:59:59.999999'', 99999.99::numeric(7, 2)');

-- ---- Settings: what the caller has set changes nothing, and what is pinned does not leak

CREATE TYPE pair AS (at timestamptz, span interval, bytes bytea, number float8);
CREATE TABLE settings (r tstzrange, m money, f point, p pair, d daterange, q pair[], z timetz, e float4, b bytea, l tstzrange[]);
INSERT INTO settings VALUES ('[2020-01-02 03:04:05+00,2021-02-03 04:05:06+00)', 12.34, point(0.1, 1e100 / 3), ROW('2020-06-01 12:00+00', '1 mon 2 days 03:04:05', '\x00ff', 0.1::float8 + 0.2), '[2020-01-02,2020-01-05)',
	ARRAY[ROW('2020-06-01 12:00+00', '-1 day', '\x5c', 1e-300)]::pair[], '12:34:56+05:30', 0.1, '\x005c',
	ARRAY['[2020-01-02 03:04:05+00,)']::tstzrange[]);
SET timezone = 'UTC';
SET datestyle = ISO;
CREATE TABLE answers AS SELECT digest('TABLE settings') AS plain, digest('TABLE settings', text_columns => '{*}') AS text,
	digest('TABLE special', text_columns => '{*}') AS special, digest('SELECT now() - now(), timestamptz ''2020-01-01 00:00+00'' AS at') AS typed;
SET datestyle = 'German, DMY';
SET timezone = 'Asia/Kolkata';
SET intervalstyle = iso_8601;
SET bytea_output = escape;
SET extra_float_digits = -5;
SELECT plain = digest('TABLE settings') AS plain, text = digest('TABLE settings', text_columns => '{*}') AS text,
	special = digest('TABLE special', text_columns => '{*}') AS special, typed = digest('SELECT now() - now(), timestamptz ''2020-01-01 00:00+00'' AS at') AS typed FROM answers;
-- In the query itself they are the caller's, before and behind a value that was made by others.
SELECT digest('SELECT r, r::text AS t FROM settings') = digest('SELECT r, ''["02.01.2020 08:34:05 IST","03.02.2021 09:35:06 IST")''::text AS t FROM settings') AS own;
SELECT length(penstock.scan('TABLE settings', 1)) > 0 AS given, current_setting('datestyle') AS datestyle, current_setting('timezone') AS timezone,
	current_setting('intervalstyle') AS intervalstyle, current_setting('bytea_output') AS bytea_output, current_setting('extra_float_digits') AS digits;
DO $$
BEGIN
	BEGIN
		PERFORM penstock.scan('SELECT r, 1 / 0 AS x FROM settings');
	EXCEPTION WHEN division_by_zero THEN
	END;
	BEGIN
		PERFORM penstock.scan('SELECT r, ''NaN''::numeric(5, 2) AS n FROM settings');
	EXCEPTION WHEN numeric_value_out_of_range THEN
	END;
END
$$;
SELECT current_setting('datestyle') AS datestyle, current_setting('timezone') AS timezone,
	current_setting('intervalstyle') AS intervalstyle, current_setting('bytea_output') AS bytea_output, current_setting('extra_float_digits') AS digits;
RESET ALL;

-- ---- Names: the caller's search_path and temporary objects change nothing

CREATE SCHEMA shadow;
CREATE FUNCTION shadow.length(bytea) RETURNS int LANGUAGE sql AS 'SELECT 1 / 0';
CREATE TYPE shadow.int4 AS ENUM ('a');
SET search_path = shadow, pg_catalog;
SELECT pg_catalog.count(*) FROM (SELECT penstock.scan('SELECT ''a''::int4 AS a, 1 AS b')) x;
RESET search_path;

DROP SCHEMA shadow CASCADE;
DROP OWNED BY penstock_reader;
DROP ROLE penstock_reader;
