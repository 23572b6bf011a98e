-- The functions in databases of other encodings.
\set SHOW_CONTEXT never
\encoding UTF8
SET client_min_messages = warning;
CREATE DATABASE penstock_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE penstock_sql_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE penstock_euc_jp ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;

\c penstock_latin1
\encoding UTF8
CREATE EXTENSION penstock;
CREATE TABLE "Größe" ("Schlüssel" int PRIMARY KEY, "Maß" text);
INSERT INTO "Größe" SELECT i, 'é' || i FROM generate_series(1, 300) i;
ANALYZE "Größe";
SELECT t->>'name' AS name, d->'columns'->1->>'name' AS column FROM penstock.tables() t, penstock.describe((t->>'qualified')::regclass) d;
SELECT count(*) > 10 AS doctor FROM penstock.doctor();
SELECT * FROM penstock.grants('read', 'Größe', '"Größe"');
SELECT penstock.delete_sql('"Größe"');
SELECT penstock.upsert_sql('"Größe"', NULL, '{"Maß"}');
SELECT condition FROM penstock.partitions('"Größe"', 2, 'Schlüssel', '0', '9');
SELECT condition LIKE '("Maß" OPERATOR(pg_catalog.<) ''é%' AS condition FROM penstock.partitions('"Größe"', 2, 'Maß') WHERE part = 1;
SELECT penstock.describe('größe');
SELECT count(*) FROM penstock.databases('größe');
-- Names in errors are names once, not UTF-8 in LATIN1.
CREATE TABLE "Länge" ("Schlüssel" int PRIMARY KEY, "Maß" numeric(5, 2));
INSERT INTO "Länge" VALUES (7, 'NaN');
SELECT penstock.scan('TABLE "Länge"');

\c penstock_sql_ascii
\encoding UTF8
CREATE EXTENSION penstock;
-- As it comes: nothing is converted.
CREATE TABLE "Größe" (x int);
SELECT count(*) > 10 AS doctor FROM penstock.doctor();
SELECT t->>'name' AS name FROM penstock.tables() t;
\c penstock_euc_jp
\encoding UTF8
CREATE EXTENSION penstock;
SELECT count(*) > 10 AS doctor FROM penstock.doctor();
CREATE TABLE "長さ" ("鍵" int PRIMARY KEY, "値" numeric(5, 2));
INSERT INTO "長さ" VALUES (7, 'NaN');
SELECT penstock.scan('TABLE "長さ"');
\c penstock_regress
SET client_min_messages = warning;
DROP DATABASE penstock_latin1;
DROP DATABASE penstock_sql_ascii;
DROP DATABASE penstock_euc_jp;
