-- databases, tables, describe, catalog: what there is, to whom.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE penstock_reader;
CREATE DATABASE penstock_closed ALLOW_CONNECTIONS false;

-- Databases: lists are names between semicolons, letter by letter.
SELECT d FROM penstock.databases('penstock_regress') d;
SELECT d FROM penstock.databases(' ;penstock_regress ; ;', '') d;
SELECT d FROM penstock.databases(deny => 'postgres') d WHERE d IN ('penstock_regress', 'postgres', 'template0', 'template1');
SELECT d FROM penstock.databases() d WHERE d IN ('penstock_regress', 'penstock_closed', 'template0', 'template1');
SELECT d FROM penstock.databases(NULL, NULL) d WHERE d = 'penstock_regress';
-- One that is absent or takes no connections is a warning.
SELECT d FROM penstock.databases('penstock_regress;Penstock_Regress;penstock_closed;no"where') d;
\echo :LAST_ERROR_SQLSTATE
-- Both are an error.
SELECT penstock.databases('a', 'b');
\echo :LAST_ERROR_SQLSTATE
-- A role that may not connect does not see it.
REVOKE CONNECT ON DATABASE penstock_regress FROM PUBLIC;
SET ROLE penstock_reader;
SELECT d FROM penstock.databases('penstock_regress') d;
RESET ROLE;
GRANT CONNECT ON DATABASE penstock_regress TO PUBLIC;
DROP DATABASE penstock_closed;

-- Relations of every kind, and names of every kind.
CREATE SCHEMA "Odd.Schema";
CREATE SCHEMA hidden;
SET search_path = "Odd.Schema", public;
CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
CREATE DOMAIN amount AS numeric(10,2) CHECK (VALUE >= 0);
CREATE TYPE addr AS (street text, no int);
CREATE TABLE "Mixed ""Case"".t" (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	"Na me" varchar(20) NOT NULL DEFAULT 'x',
	m mood, a amount, home addr, tags text[], big numeric, up text GENERATED ALWAYS AS (upper("Na me")) STORED,
	UNIQUE ("Na me", m)
);
COMMENT ON TABLE "Mixed ""Case"".t" IS 'it''s odd';
CREATE TABLE parts (k int, at date, PRIMARY KEY (k, at)) PARTITION BY RANGE (at);
CREATE TABLE parts_2020 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE VIEW seen AS SELECT id FROM "Mixed ""Case"".t";
CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one WITH NO DATA;
CREATE FOREIGN DATA WRAPPER penstock_none;
CREATE SERVER penstock_far FOREIGN DATA WRAPPER penstock_none;
CREATE FOREIGN TABLE far (x int) SERVER penstock_far;
CREATE TABLE nothing ();
CREATE TABLE hidden.secret (x int);
CREATE SEQUENCE seq;

SELECT t->>'qualified' AS qualified, t->>'kind' AS kind, t->>'comment' AS comment, t->'partition' AS partition
FROM penstock.tables('Odd.Schema') t;
SELECT t->>'qualified' AS qualified FROM penstock.tables() t;
SELECT t FROM penstock.tables(NULL) t WHERE t->>'name' = 'parts';
SELECT count(*) > 50 AS system FROM penstock.tables('pg_catalog');
SELECT penstock.tables('odd.schema');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.tables('');
\set VERBOSITY sqlstate
SELECT count(*) FROM penstock.tables(repeat('x', 100000));
SELECT count(*) FROM penstock.databases(repeat('x', 1000000), repeat('y', 1000000));
\set VERBOSITY default

SELECT d->>'qualified' AS qualified, d->>'kind' AS kind, d->'primary_key'->'columns' AS key, d->>'comment' AS comment
FROM penstock.describe('"Mixed ""Case"".t"') d;
SELECT c->>'name' AS name, c->>'type' AS type, c->>'arrow' AS arrow, c->>'flink' AS flink,
	c->>'generated' AS generated, c->>'identity' AS identity, c->'labels' AS labels, c->'domain'->>'name' AS domain,
	c->'fields'->1->>'name' AS field
FROM jsonb_array_elements(penstock.describe('"Mixed ""Case"".t"')->'columns') c;
SELECT d->'partitioning' AS partitioning, d->'privileges' AS privileges FROM penstock.describe('parts') d;
SELECT d->'partition_of'->>'bounds' AS bounds FROM penstock.describe('parts_2020') d;
SELECT d->>'kind' AS kind, d->'columns' AS columns FROM penstock.describe('nothing') d;
SELECT d->>'server' AS server, d->>'kind' AS kind FROM penstock.describe('far') d;
SELECT d->'populated' AS populated FROM penstock.describe('kept') d;
SELECT d->>'qualified' AS qualified FROM penstock.describe('pg_class') d;

-- Nor do the caller's settings.
SET datestyle = 'German';
SELECT d->'partition_of'->>'bounds' AS bounds FROM penstock.describe('parts_2020') d;
SHOW datestyle;
RESET datestyle;

-- The catalog is the description of each, and no more.
SELECT d->>'qualified' AS qualified, d = penstock.describe((d->>'qualified')::regclass) AS same FROM penstock.catalog() d;
SELECT (SELECT count(*) FROM penstock.catalog()) = (SELECT count(*) FROM penstock.tables()) AS all;

-- The type table is the one of the library: every base type of it has a form.
CREATE TABLE types (b bool, by bytea, n name, i8 int8, i2 int2, i4 int4, t text, j json, f4 float4, f8 float8,
	c char(3), v varchar(5), d date, ti time(3), ts timestamp(0), tz timestamptz, iv interval, nu numeric(7,3), u uuid,
	jb jsonb, ip inet, arr int[]);
SELECT c->>'type' AS type, c->>'arrow' AS arrow, c->>'arrow_extension' AS extension, c->>'flink' AS flink
FROM jsonb_array_elements(penstock.describe('types')->'columns') c;

-- What has no description.
SELECT penstock.describe(NULL) IS NULL AS null;
SELECT penstock.describe('seq');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.describe('parts_pkey');
SELECT penstock.describe('addr');
SELECT penstock.describe(0);
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.describe(4294967295);
SELECT penstock.describe('nowhere');

-- A setting of the caller's finds nothing, nor do objects of his own in the path change an answer.
SET penstock_catalog.relation = 'nothing';
SELECT penstock.describe('-');
CREATE FUNCTION "Odd.Schema".format(text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'not the server''s' $$;
CREATE TABLE pg_class (relname name);
SET search_path = "Odd.Schema", pg_catalog;
SELECT d->>'qualified' AS qualified, d->'columns'->0->>'type' AS type FROM penstock.describe('types') d;
SELECT penstock.tables('odd.schema');
DROP TABLE "Odd.Schema".pg_class;
DROP FUNCTION "Odd.Schema".format(text, text);

-- A role with no rights: names and forms, as in the server's own catalog; no schema that it may not use.
RESET search_path;
GRANT USAGE ON SCHEMA "Odd.Schema" TO penstock_reader;
GRANT SELECT ("Na me") ON "Odd.Schema"."Mixed ""Case"".t" TO penstock_reader;
SELECT 'hidden.secret'::regclass::oid AS secret \gset
SET ROLE penstock_reader;
SELECT t->>'name' AS name, t->'readable' AS readable FROM penstock.tables() t;
SELECT t FROM penstock.tables('hidden') t;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM penstock.catalog() d WHERE d->>'schema' = 'hidden';
SELECT penstock.describe('hidden.secret');
SELECT d->>'qualified' AS qualified, d->'privileges' AS privileges FROM penstock.describe(:secret) d;
SELECT c->>'name' AS name, c->'privileges' AS privileges
FROM jsonb_array_elements(penstock.describe('"Odd.Schema"."Mixed ""Case"".t"')->'columns') c LIMIT 2;
RESET ROLE;

-- Read-only, parallel, in a subtransaction, by a cursor.
BEGIN READ ONLY;
SAVEPOINT a;
SELECT penstock.describe('nowhere');
ROLLBACK TO a;
DECLARE c CURSOR FOR SELECT d->>'name' AS name FROM penstock.catalog() d;
FETCH 2 FROM c;
COMMIT;

DROP SCHEMA "Odd.Schema", hidden CASCADE;
DROP FOREIGN DATA WRAPPER penstock_none CASCADE;
DROP ROLE penstock_reader;
