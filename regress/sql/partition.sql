-- partitions: pieces that cover every row once.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE penstock_reader;
CREATE SCHEMA "Odd.Schema";
SET search_path = "Odd.Schema", public;
-- Before 14 blocks cannot be read on their own, and there is one piece.
SELECT current_setting('server_version_num')::int >= 140000 AS by_blocks \gset

-- Every row is in exactly one piece; the conditions are used as they are.
CREATE FUNCTION covered(relation regclass, n int DEFAULT NULL, column_name text DEFAULT NULL, lower text DEFAULT NULL,
	upper text DEFAULT NULL, OUT pieces int, OUT nrows bigint, OUT exactly boolean, OUT fewest bigint, OUT most bigint)
LANGUAGE plpgsql AS $$
DECLARE
	piece record;
	found bigint;
	total bigint;
BEGIN
	pieces := 0;
	nrows := 0;
	EXECUTE format('SELECT count(*) FROM %s', relation) INTO total;
	CREATE TEMPORARY TABLE seen_rows (place text);
	FOR piece IN SELECT * FROM penstock.partitions(relation, n, column_name, lower, upper) LOOP
		pieces := pieces + 1;
		EXECUTE format('INSERT INTO seen_rows SELECT (tableoid, ctid)::text FROM %s WHERE %s', relation, piece.condition);
		GET DIAGNOSTICS found = ROW_COUNT;
		nrows := nrows + found;
		fewest := least(fewest, found);
		most := greatest(most, found);
	END LOOP;
	exactly := nrows = total AND (SELECT count(DISTINCT place) FROM seen_rows) = total;
	DROP TABLE seen_rows;
END $$;

-- By blocks.
CREATE TABLE "Mixed ""Case"".t" ("Id" int, filler text) WITH (autovacuum_enabled = false);
INSERT INTO "Mixed ""Case"".t" SELECT i, repeat('x', 1000) FROM generate_series(1, 700) i;
SELECT pieces = CASE WHEN :'by_blocks' THEN 4 ELSE 1 END AS pieces, nrows, exactly, :'by_blocks' <= (fewest > 150) AS even
FROM covered('"Mixed ""Case"".t"', 4);
SELECT pieces = CASE WHEN :'by_blocks' THEN 100 ELSE 1 END AS a_block_each, nrows, exactly FROM covered('"Mixed ""Case"".t"', 65536);
SELECT * FROM penstock.partitions('"Mixed ""Case"".t"', 1);
SELECT * FROM penstock.partitions('"Mixed ""Case"".t"');
SELECT count(*) > 0 AS rows, bool_and(condition LIKE '(ctid %' OR NOT :'by_blocks') AS ctid FROM penstock.partitions('"Mixed ""Case"".t"', 2);
-- A piece reads its own blocks and no others.
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT p.part, bool_or(line LIKE '%Tid Range Scan%') OR NOT :'by_blocks' AS range
FROM penstock.partitions('"Mixed ""Case"".t"', 3) p, plan_of('SELECT * FROM "Odd.Schema"."Mixed ""Case"".t" WHERE ' || p.condition) line
WHERE p.part = 1 GROUP BY p.part;
CREATE TABLE empty (id int, t text);
SELECT * FROM penstock.partitions('empty', 8);
SELECT * FROM penstock.partitions('empty', 8, 'id');
-- Rows that come later are in the last piece, also behind a plan that is old.
SELECT string_agg(format('SELECT count(*) FROM "Odd.Schema"."Mixed ""Case"".t" WHERE %s', condition), ' UNION ALL ' ORDER BY part) AS later
FROM penstock.partitions('"Mixed ""Case"".t"', 4) \gset
INSERT INTO "Mixed ""Case"".t" SELECT i, repeat('x', 1000) FROM generate_series(701, 800) i;
SELECT sum(count) FROM (:later) x;

-- By the blocks of partitions and of inheritance children, whatever their sizes.
CREATE TABLE parts (k int, at date, filler text) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') WITH (autovacuum_enabled = false);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2021-01-01') TO ('2022-01-01') PARTITION BY LIST (k);
CREATE TABLE parts_3 PARTITION OF parts_2 DEFAULT WITH (autovacuum_enabled = false);
CREATE TABLE parts_4 PARTITION OF parts DEFAULT;
SELECT * FROM penstock.partitions('parts', 3);
INSERT INTO parts SELECT i, '2020-01-01', repeat('x', 1000) FROM generate_series(1, 490) i;
INSERT INTO parts SELECT i, '2021-01-01', repeat('x', 1000) FROM generate_series(1, 70) i;
SELECT pieces = CASE WHEN :'by_blocks' THEN 4 ELSE 1 END AS pieces, nrows, exactly, :'by_blocks' <= (fewest > 100) AS even FROM covered('parts', 4);
SELECT bool_or(line LIKE '%Tid Range Scan on parts_1%') OR NOT :'by_blocks' AS range
FROM penstock.partitions('parts', 3) p, plan_of('SELECT * FROM "Odd.Schema".parts WHERE ' || p.condition) line WHERE p.part = 1;
-- Very many pieces of members of very different sizes: a cut at each block number of the largest, once.
SELECT pieces = CASE WHEN :'by_blocks' THEN 70 ELSE 1 END AS pieces, nrows, exactly FROM covered('parts', 65536);
CREATE TABLE child () INHERITS ("Mixed ""Case"".t");
INSERT INTO child SELECT -i FROM generate_series(1, 5) i;
SELECT nrows, exactly FROM covered('"Mixed ""Case"".t"', 7);
DROP TABLE child;

-- By a column, from given bounds: NULLs and what lies outside are covered, and filter leaves them out.
CREATE TABLE vals (i2 int2, i4 int4, i8 int8, o oid, d date, ts timestamp, tz timestamptz, u uuid, f4 float4, f8 float8,
	n numeric, t text, v varchar(9), c char(5), na name, "Qu""o te" int, j json) WITH (autovacuum_enabled = false);
CREATE DOMAIN whole AS int8;
ALTER TABLE vals ADD dom whole;
INSERT INTO vals SELECT i, i, i * 1000000007::int8, i, date '2000-01-01' + i, timestamp '2000-01-01' + i * interval '1 hour',
	timestamptz '2000-01-01 00:00+00' + i * interval '1 hour', md5(i::text)::uuid, i / 7.0, i / 7.0, i / 7.0, 'k' || i, 'k' || i, 'k' || i,
	'k' || i, i, NULL, i FROM generate_series(-500, 499) i;
INSERT INTO vals DEFAULT VALUES;
INSERT INTO vals (i8, d, ts, tz, f4, f8, n, t, u) VALUES
	(-9223372036854775808, '-infinity', 'infinity', '-infinity', 'NaN', 'Infinity', 'NaN', '', '00000000-0000-0000-0000-000000000000'),
	(9223372036854775807, 'infinity', '-infinity', '4714-11-24 00:00:00+00 BC', '-Infinity', '-Infinity', 1e300, E'q''\\"', 'ffffffff-ffff-ffff-ffff-ffffffffffff');
SELECT * FROM penstock.partitions('vals', 3, 'i4', '0', '299');
SELECT * FROM penstock.partitions('vals', 3, 'i4', '0', '299', filter => true);
SELECT * FROM penstock.partitions('vals', 2, 'i4', '0', NULL, true);
SELECT * FROM penstock.partitions('vals', 2, 'i4', NULL, '299', true);
SELECT * FROM penstock.partitions('vals', 9, 'i4', '5', '5', true);
SELECT * FROM penstock.partitions('vals', 9, 'i4', '5', '6');
SELECT condition FROM penstock.partitions('vals', 2, 'Qu"o te', '-10', '10');
SELECT condition FROM penstock.partitions('vals', 3, 'i8', '-9223372036854775808', '9223372036854775807');
SELECT condition FROM penstock.partitions('vals', 4, 'u', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff');
SELECT condition FROM penstock.partitions('vals', 4, 'n', '0', '1', true);
SELECT condition FROM penstock.partitions('vals', 4, 'f8', '-1', '1', true);
SELECT condition FROM penstock.partitions('vals', 2, 'd', '01/31/2020', '2020-03-01', true);
SELECT condition FROM penstock.partitions('vals', 2, 'ts', '0044-03-15 12:00 BC', '0001-01-01', true);
SELECT condition FROM penstock.partitions('vals', 2, 'tz', '2020-01-01 00:00', '2020-01-02 00:00', true);
SET datestyle = 'German';
SELECT condition FROM penstock.partitions('vals', 2, 'tz', '2020-01-01 00:00', '2020-01-02 00:00', true);
RESET datestyle;
-- At the ends of their range too.
SELECT begins IN ('0', '1e-45') OR begins IS NULL AS small FROM penstock.partitions('vals', 2, 'f4', '0', '1e-45');
SELECT count(*) FROM penstock.partitions('vals', 4, 'f8', '1.7976931348623150e308', '1.7976931348623157e308');
SELECT count(*) FROM penstock.partitions('vals', 4, 'f8', '-1.7976931348623157e308', '1.7976931348623157e308');
SELECT condition FROM penstock.partitions('vals', 1, 't', 'a''\', 'k\"5', true);
SELECT condition FROM penstock.partitions('vals', 1, 'c', 'a', 'z', true);

-- Every type, with bounds of its own, from the table and from statistics.
SELECT b.c AS "column", x.pieces, x.nrows, x.exactly FROM (VALUES ('i2', '-400', '-1'), ('i4', '0', '100000'), ('i8', '0', '1'), ('o', '0', '4294967295'),
	('d', '1999-01-01', '2001-01-01'), ('ts', '2000-01-01', '2000-01-02'), ('tz', '2000-01-01', '2000-01-02'),
	('u', '40000000-0000-0000-0000-000000000000', 'f0000000-0000-0000-0000-000000000000'), ('f4', '0', '1e30'), ('f8', '-1e308', '1e-300'),
	('n', '-1', '1e200'), ('t', 'a', 'z'), ('v', 'k1', 'k2'), ('c', 'k1', 'k2'), ('na', 'k', 'l'), ('dom', '-7', '7')) b(c, l, u), covered('vals', 5, b.c, b.l, b.u) x;
SELECT c AS "column", x.pieces, x.nrows, x.exactly FROM unnest('{i2,i4,i8,o,d,ts,tz,u,f4,f8,n,t,v,c,na,dom}'::text[]) c, covered('vals', 5, c) x;
ANALYZE vals;
SELECT c AS "column", x.pieces BETWEEN 2 AND 5 AS pieces, x.nrows, x.exactly FROM unnest('{i2,i4,i8,o,d,ts,tz,u,f4,f8,n,t,v,c,na,dom}'::text[]) c, covered('vals', 5, c) x;
SELECT c AS "column", x.pieces > 90 AS pieces, x.nrows, x.exactly FROM unnest('{i2,i4,i8,o,d,ts,tz,u,f4,f8,n,t,v,c,na,dom}'::text[]) c, covered('vals', 300, c) x;
-- By rows, not by values: of a sample first, then of statistics.
CREATE TABLE skewed WITH (autovacuum_enabled = false) AS SELECT i AS id, CASE WHEN i <= 9000 THEN i ELSE i * 1000000::int8 END AS v FROM generate_series(1, 10000) i;
SELECT pieces, exactly, most < 3000 AS even FROM covered('skewed', 5, 'v');
ANALYZE skewed;
SELECT pieces, exactly, most < 3000 AS even FROM covered('skewed', 5, 'v');
-- Old ones cost evenness, and no row.
UPDATE skewed SET v = -v;
SELECT pieces, exactly FROM covered('skewed', 5, 'v');

-- Other relations.
CREATE VIEW seen AS SELECT i4, t FROM vals;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM skewed;
CREATE FOREIGN DATA WRAPPER penstock_none;
CREATE SERVER penstock_far FOREIGN DATA WRAPPER penstock_none;
CREATE FOREIGN TABLE far (x int) SERVER penstock_far;
SELECT * FROM penstock.partitions('seen', 5);
SELECT * FROM penstock.partitions('seen', 2, 'i4');
SELECT count(*) > 1 AS pieces FROM penstock.partitions('seen', 5, 't');
SELECT pieces = CASE WHEN :'by_blocks' THEN 3 ELSE 1 END AS pieces, exactly FROM covered('kept', 3);
SELECT * FROM penstock.partitions('far', 5);
SELECT part, condition FROM penstock.partitions('far', 2, 'x', '0', '9');
SELECT count(*) > 0 AS catalog FROM penstock.partitions('pg_class', 2);
SELECT pieces, exactly FROM covered('parts', 3, 'k', '0', '100');

-- Row security and privileges are those of a query.
CREATE TABLE secured (id int, owner text) WITH (autovacuum_enabled = false);
INSERT INTO secured SELECT i, CASE WHEN i % 2 = 0 THEN 'penstock_reader' END FROM generate_series(1, 1000) i;
ANALYZE secured;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secured USING (id < 100 AND owner = current_user);
GRANT USAGE ON SCHEMA "Odd.Schema" TO penstock_reader;
GRANT SELECT ON secured TO penstock_reader;
GRANT SELECT (i4) ON vals TO penstock_reader;
SELECT 'empty'::regclass::oid AS secret \gset
SET ROLE penstock_reader;
-- It sees values up to 98, and the statistics, which know of 1000, are not used; the sample is of what it sees.
SELECT condition FROM penstock.partitions('secured', 2, 'id');
SELECT covered.nrows, covered.exactly FROM covered('secured', 3, 'id');
SELECT count(*) FROM penstock.partitions('vals', 3, 'i4');
SELECT penstock.partitions('vals', 3, 'i8');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('empty');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions(:secret, 2, 'id');
RESET ROLE;

-- Odd arguments.
SELECT penstock.partitions(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions(0);
SELECT penstock.partitions(4294967295);
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('pg_class_oid_index');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('vals', 0);
SELECT penstock.partitions('vals', -1);
SELECT penstock.partitions('vals', 65537);
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('vals', 2, lower => '1');
SELECT penstock.partitions('vals', 2, filter => true);
SELECT penstock.partitions('vals', 2, 'i4', filter => true);
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('vals', 2, 'i4', '2', '1');
SELECT penstock.partitions('vals', 2, 'i4', 'x', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('vals', 2, 'i2', '0', '99999');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('vals', 2, 'd', '-infinity', '2020-01-01');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('vals', 2, 'f8', '0', 'NaN');
SELECT penstock.partitions('vals', 2, 'n', 'NaN', '1');
SELECT penstock.partitions('vals', 2, 'I4');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.partitions('vals', 2, 'ctid');
SELECT penstock.partitions('vals', 2, '');
SELECT penstock.partitions('vals', 2, 'j');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
SELECT penstock.partitions('vals', 2, 'd', '2020-13-01', '2020-01-01');
SELECT penstock.partitions('vals', 2, repeat('x', 1000000));
SELECT penstock.partitions('vals', 2, 'i4', repeat('1', 1000000));
\set VERBOSITY default
SELECT count(*) FROM penstock.partitions('vals', 65536, 'n', '0', '1');
SELECT count(*) FROM penstock.partitions('vals', 65536, 'u', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff');
-- An index is used.
CREATE INDEX ON skewed (v);
SET enable_seqscan = off;
SELECT bool_or(line LIKE '%Index%') AS index FROM penstock.partitions('skewed', 3, 'v') p, plan_of('SELECT * FROM skewed WHERE ' || p.condition) line WHERE p.part = 2;
RESET enable_seqscan;
SELECT part FROM penstock.partitions('vals', 10, 'i4') LIMIT 1;
SELECT (penstock.partitions('vals', 2, 'i4', '0', '9')).part;

RESET search_path;
DROP SCHEMA "Odd.Schema" CASCADE;
DROP FOREIGN DATA WRAPPER penstock_none CASCADE;
DROP ROLE penstock_reader;
