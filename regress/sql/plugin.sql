-- The output plugin: what becomes of each kind of change, and who asks for what.
SET client_min_messages = warning;
\set ECHO none
\i sql/decode.psql
\set ECHO all
SELECT 'created' FROM pg_create_logical_replication_slot('penstock_plugin', 'penstock');

-- Rows of many types, NULLs, keys that change, several in a transaction
CREATE TABLE orders (id int PRIMARY KEY, name text, total bigint, small smallint, done bool, place point, amount numeric(10, 2), tags text[]);
INSERT INTO orders VALUES (1, 'eins', -5, -3, true, '(1,2)', 12.50, '{a,NULL}'), (2, NULL, NULL, NULL, NULL, NULL, 'NaN', '{}');
UPDATE orders SET name = 'zwei' WHERE id = 1;
UPDATE orders SET id = 10 WHERE id = 1;
BEGIN;
DELETE FROM orders WHERE id = 2;
INSERT INTO orders (id) VALUES (3);
COMMIT;
SELECT * FROM pg_temp.changes('penstock_plugin');

-- Savepoints that are rolled back leave nothing, also no number
BEGIN;
INSERT INTO orders (id) VALUES (20);
SAVEPOINT a;
INSERT INTO orders (id) SELECT g FROM generate_series(100, 110) g;
ROLLBACK TO a;
INSERT INTO orders (id) VALUES (21);
COMMIT;
SELECT * FROM pg_temp.changes('penstock_plugin');

-- The numbers are the same whatever is left out
CREATE TABLE other (id int PRIMARY KEY);
BEGIN;
INSERT INTO other VALUES (1), (2), (3);
INSERT INTO orders (id) VALUES (30);
SELECT 'told' FROM pg_logical_emit_message(true, 'a.prefix', 'content');
DELETE FROM other WHERE id = 2;
UPDATE orders SET done = true WHERE id = 30;
COMMIT;
SELECT * FROM pg_temp.peek('penstock_plugin', 'messages', 'a.prefix');
SELECT * FROM pg_temp.peek('penstock_plugin', 'include', 'public.orders');
SELECT * FROM pg_temp.peek('penstock_plugin', 'exclude', 'public.ord*', 'operations', 'delete');
SELECT * FROM pg_temp.peek('penstock_plugin', 'include', '/public\.o.*/', 'exclude', '"public"."other"', 'operations', 'update,insert', 'messages', '*');
SELECT * FROM pg_temp.peek('penstock_plugin', 'columns', 'public.orders.id, public.orders.d?ne, public.other.*');
SELECT * FROM pg_temp.peek('penstock_plugin', 'exclude_columns', '*.*.done, *.*.place, *.*.t*');
SELECT * FROM pg_temp.peek('penstock_plugin', 'include', 'nowhere.*');
SELECT * FROM pg_temp.peek('penstock_plugin', 'include', '*b?*c.*d*d**r*s', 'operations', 'delete');
-- In messages of any size
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('penstock_plugin', NULL, NULL, 'message_bytes', '1');
SELECT * FROM pg_temp.changes('penstock_plugin', 'message_bytes', '1', 'include', 'public.orders');

-- A vertical tab is space on all servers, and no letter is an escape
SELECT 'told' FROM pg_logical_emit_message(true, E'odd\001*x', 'content');
SELECT * FROM pg_temp.changes('penstock_plugin', 'messages', E'other,\x0bODD\001?x\x0b');

-- Replica identities
CREATE TABLE idents (id int PRIMARY KEY, u int NOT NULL UNIQUE, t text);
INSERT INTO idents VALUES (1, 1, 'a');
ALTER TABLE idents REPLICA IDENTITY FULL;
UPDATE idents SET t = 'b';
UPDATE idents SET id = 2;
DELETE FROM idents;
ALTER TABLE idents REPLICA IDENTITY USING INDEX idents_u_key;
INSERT INTO idents VALUES (1, 1, 'a');
UPDATE idents SET t = 'b';
UPDATE idents SET u = 2;
DELETE FROM idents;
ALTER TABLE idents REPLICA IDENTITY NOTHING;
INSERT INTO idents VALUES (1, 1, 'a');
UPDATE idents SET id = 2;
DELETE FROM idents;
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless VALUES (1, 'x');
UPDATE keyless SET b = 'y';
DELETE FROM keyless;
SELECT * FROM pg_temp.changes('penstock_plugin');

-- TOAST: unchanged, but where the old row has it
CREATE TABLE big (id int PRIMARY KEY, a text, b text);
ALTER TABLE big ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
INSERT INTO big VALUES (1, repeat('a', 4000), repeat('b', 5000));
UPDATE big SET a = 'short';
UPDATE big SET id = 2;
ALTER TABLE big REPLICA IDENTITY FULL;
UPDATE big SET a = 'other';
DELETE FROM big;
SELECT * FROM pg_temp.changes('penstock_plugin');

-- Truncate, of several and with its words
CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES other);
BEGIN;
INSERT INTO other VALUES (9);
TRUNCATE other, child;
TRUNCATE other RESTART IDENTITY CASCADE;
INSERT INTO other VALUES (9);
COMMIT;
SELECT * FROM pg_temp.peek('penstock_plugin');
SELECT * FROM pg_temp.peek('penstock_plugin', 'include', 'public.child');
SELECT * FROM pg_temp.changes('penstock_plugin', 'operations', 'insert');

-- DDL in the midst: each row under the columns of its moment
BEGIN;
INSERT INTO other VALUES (50);
ALTER TABLE other ADD extra text DEFAULT 'd';
INSERT INTO other VALUES (51);
ALTER TABLE other RENAME extra TO more;
UPDATE other SET more = 'm' WHERE id = 51;
ALTER TABLE other ALTER id TYPE bigint;
INSERT INTO other VALUES (52, 'n');
ALTER TABLE other DROP more;
ALTER TABLE other RENAME TO another;
DELETE FROM another WHERE id = 52;
COMMIT;
ALTER TABLE another RENAME TO other;
SELECT * FROM pg_temp.changes('penstock_plugin');

-- Generated columns, domains, enums, quoted names
CREATE SCHEMA "Odd,Schema";
CREATE DOMAIN "Odd,Schema".positive AS int CHECK (value > 0);
CREATE TYPE "Odd,Schema".mood AS ENUM ('sad', 'so so');
CREATE TABLE "Odd,Schema"."T.a" (id "Odd,Schema".positive PRIMARY KEY, "We, ird" "Odd,Schema".mood, twice int GENERATED ALWAYS AS (id * 2) STORED, list "Odd,Schema".positive[]);
INSERT INTO "Odd,Schema"."T.a" VALUES (1, 'so so', DEFAULT, '{1,2}');
SELECT * FROM pg_temp.peek('penstock_plugin', 'include', '"Odd,Schema"."T.a"');
SELECT * FROM pg_temp.peek('penstock_plugin', 'include', '*."T.A"');
SELECT * FROM pg_temp.changes('penstock_plugin', 'include', '*.*', 'exclude_columns', '"Odd,Schema"."T.a"."We, ird"');

-- Partitions under their own name or the root's
CREATE TABLE parted (id int, place text, PRIMARY KEY (id, place)) PARTITION BY LIST (place);
CREATE TABLE parted_north PARTITION OF parted FOR VALUES IN ('north');
CREATE TABLE parted_rest (place text NOT NULL, gone int, id int NOT NULL, PRIMARY KEY (id, place));
ALTER TABLE parted_rest DROP gone;
ALTER TABLE parted ATTACH PARTITION parted_rest DEFAULT;
INSERT INTO parted VALUES (1, 'north'), (2, 'south');
UPDATE parted SET place = 'east' WHERE id = 1;
TRUNCATE parted;
INSERT INTO parted VALUES (3, 'north'), (4, 'south');
SELECT * FROM pg_temp.peek('penstock_plugin');
SELECT * FROM pg_temp.changes('penstock_plugin', 'partitions', 'root', 'include', 'public.parted');
-- One leaf that is emptied is not the whole
TRUNCATE parted_north;
SELECT * FROM pg_temp.peek('penstock_plugin');
SELECT * FROM pg_temp.changes('penstock_plugin', 'partitions', 'root');
-- Detached it is a table of its own again, and attached a part
BEGIN;
ALTER TABLE parted DETACH PARTITION parted_north;
INSERT INTO parted_north VALUES (5, 'north');
ALTER TABLE parted ATTACH PARTITION parted_north FOR VALUES IN ('north');
INSERT INTO parted VALUES (6, 'north');
COMMIT;
SELECT * FROM pg_temp.changes('penstock_plugin', 'partitions', 'root');

-- A partition that is attached is told of under its root: it may have rows
CREATE TABLE parted_west (id int NOT NULL, place text NOT NULL, PRIMARY KEY (id, place));
INSERT INTO parted_west VALUES (7, 'west');
ALTER TABLE parted ATTACH PARTITION parted_west FOR VALUES IN ('west');
CREATE TABLE parted_east PARTITION OF parted FOR VALUES IN ('east2');
ALTER TABLE parted DETACH PARTITION parted_west;
SELECT * FROM pg_temp.peek('penstock_plugin', 'partitions', 'root', 'include', 'public.parted');
SELECT * FROM pg_temp.peek('penstock_plugin', 'partitions', 'root', 'include', 'public.parted*');
SELECT * FROM pg_temp.changes('penstock_plugin');
DROP TABLE parted_west, parted_east;

-- Origins
SELECT 'made' FROM pg_replication_origin_create('penstock north');
INSERT INTO other VALUES (70);
SELECT pg_replication_origin_session_setup('penstock north');
INSERT INTO other VALUES (71);
SELECT pg_replication_origin_session_reset();
SELECT * FROM pg_temp.peek('penstock_plugin');
SELECT * FROM pg_temp.changes('penstock_plugin', 'origin', 'none');
SELECT pg_replication_origin_drop('penstock north');

-- Messages that are of no transaction
SELECT 'told' FROM pg_logical_emit_message(false, 'alone', 'content');
-- What nothing waits for is not on disk yet, and so not decoded: a commit is waited for.
INSERT INTO other VALUES (80);
SELECT * FROM pg_temp.peek('penstock_plugin');
SELECT * FROM pg_temp.changes('penstock_plugin', 'messages', 'alone, b*');

-- A table that ALTER TABLE rewrites comes whole; what changes no value has no changes, nor have unlogged tables
CREATE UNLOGGED TABLE fleeting (id int);
INSERT INTO fleeting VALUES (1);
DELETE FROM orders WHERE id > 10;
SELECT count(*) FROM pg_temp.changes('penstock_plugin');
BEGIN;
INSERT INTO orders (id) VALUES (11);
ALTER TABLE orders ALTER total TYPE numeric USING total * 10, DROP tags, DROP place, DROP amount;
INSERT INTO orders (id, total) VALUES (12, 0.5);
ALTER TABLE parted ALTER id TYPE bigint USING id + 100;
ALTER TABLE orders SET UNLOGGED;
ALTER TABLE orders SET LOGGED;
COMMIT;
VACUUM FULL orders;
CLUSTER orders USING orders_pkey;
SELECT * FROM pg_temp.peek('penstock_plugin');
SELECT * FROM pg_temp.peek('penstock_plugin', 'operations', 'insert');
SELECT * FROM pg_temp.changes('penstock_plugin', 'exclude', 'public.orders', 'partitions', 'root');

-- What a materialized view has are no changes of its own
CREATE MATERIALIZED VIEW seen AS SELECT * FROM other;
CREATE UNIQUE INDEX ON seen (id);
REFRESH MATERIALIZED VIEW seen;
INSERT INTO other VALUES (90);
REFRESH MATERIALIZED VIEW CONCURRENTLY seen;
SELECT * FROM pg_temp.changes('penstock_plugin');
DROP MATERIALIZED VIEW seen;

-- A table that becomes unlogged is told of, and so is its return, whether there are rows or not
CREATE TABLE turning (id int PRIMARY KEY);
INSERT INTO turning VALUES (1);
SELECT count(*) FROM pg_temp.changes('penstock_plugin');
ALTER TABLE turning SET UNLOGGED;
INSERT INTO turning VALUES (2);
SELECT * FROM pg_temp.peek('penstock_plugin');
ALTER TABLE turning SET LOGGED;
INSERT INTO turning VALUES (3);
BEGIN;
ALTER TABLE turning SET UNLOGGED;
DELETE FROM turning;
COMMIT;
ALTER TABLE turning SET LOGGED;
SELECT * FROM pg_temp.peek('penstock_plugin', 'exclude', 'public.turning');
SELECT * FROM pg_temp.changes('penstock_plugin');

-- Large values are in a rewrite too
INSERT INTO big VALUES (5, repeat('a', 4000), repeat('b', 5000));
SELECT count(*) FROM pg_temp.changes('penstock_plugin');
ALTER TABLE big ALTER id TYPE bigint;
SELECT * FROM pg_temp.changes('penstock_plugin');

-- The modifier of an array's elements; an index on an expression that calls a function
CREATE DOMAIN penstock_price AS numeric(8, 2);
CREATE DOMAIN penstock_prices AS numeric(6, 1)[];
CREATE TABLE arrays (id int PRIMARY KEY, a numeric(10, 3)[], b penstock_price, c penstock_price[], d penstock_prices, e numeric[], f varchar(7)[]);
INSERT INTO arrays VALUES (1, '{1}', 1, '{1}', '{1}', '{1}', '{x}');
SELECT substr(data, 1, 0) IS NOT NULL AS is_there, pg_temp.typmods(data) FROM pg_logical_slot_peek_binary_changes('penstock_plugin', NULL, NULL);
CREATE FUNCTION penstock_slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT count(*) + $1 FROM pg_class WHERE oid = 0); END';
CREATE TABLE expressed (id int PRIMARY KEY, a int);
CREATE INDEX ON expressed ((a + penstock_slow(1))) WHERE penstock_slow(2) = 2;
CREATE UNIQUE INDEX ON expressed (a, (a + penstock_slow(1)));
INSERT INTO expressed VALUES (1, 2);
SELECT * FROM pg_temp.changes('penstock_plugin');

-- Texts are under pinned settings, which are the session's own again
SET datestyle = 'German';
SET timezone = 'Asia/Tokyo';
CREATE TABLE times (id int PRIMARY KEY, r tstzrange, m money, f point);
INSERT INTO times VALUES (1, '[2020-01-01 00:00Z,2020-01-02 00:00Z)', 5, '(0.1,0.2)');
SELECT * FROM pg_temp.changes('penstock_plugin');
SHOW datestyle;
SHOW timezone;
RESET datestyle;
RESET timezone;

-- What cannot be asked for
\set SHOW_CONTEXT never
SELECT pg_temp.changes('penstock_plugin', 'colums', 'x');
SELECT pg_temp.changes('penstock_plugin', 'include', 'a.b', 'include', 'c.d');
SELECT pg_temp.changes('penstock_plugin', 'include', 'orders');
SELECT pg_temp.changes('penstock_plugin', 'include', 'a.b.c');
SELECT pg_temp.changes('penstock_plugin', 'include', 'a..b');
SELECT pg_temp.changes('penstock_plugin', 'include', '"a.b');
SELECT pg_temp.changes('penstock_plugin', 'include', '/a.b');
SELECT pg_temp.changes('penstock_plugin', 'include', '/(/');
SELECT pg_temp.changes('penstock_plugin', 'include', 'a.b c.d');
SELECT pg_temp.changes('penstock_plugin', 'include', '');
SELECT pg_temp.changes('penstock_plugin', 'columns', 'a.b');
SELECT pg_temp.changes('penstock_plugin', 'operations', 'insert,merge');
SELECT pg_temp.changes('penstock_plugin', 'operations', '');
SELECT pg_temp.changes('penstock_plugin', 'origin', 'all');
SELECT pg_temp.changes('penstock_plugin', 'partitions', 'both');
SELECT pg_temp.changes('penstock_plugin', 'message_bytes', '0');
SELECT pg_temp.changes('penstock_plugin', 'message_bytes', '10x');
SELECT pg_temp.changes('penstock_plugin', 'version', '2');
INSERT INTO orders (id) VALUES (99);
SELECT pg_temp.changes('penstock_plugin', 'exclude_columns', 'public.orders.id');
SELECT 'dropped' FROM pg_drop_replication_slot('penstock_plugin');
DROP TABLE orders, other, child, idents, keyless, big, parted, fleeting, times, turning, arrays, expressed;
DROP SCHEMA "Odd,Schema" CASCADE;
DROP DOMAIN penstock_price, penstock_prices;
DROP FUNCTION penstock_slow;
