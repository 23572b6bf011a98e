-- The output plugin: how rows can be written, and where and by whom they are decoded.
SET client_min_messages = warning;
\set ECHO none
\i sql/decode.psql
\set ECHO all
\set VERBOSITY sqlstate
SELECT 'created' FROM pg_create_logical_replication_slot('penstock_decoding', 'penstock');

-- Many rows by one COPY, of which some are TOASTed
CREATE TABLE loaded (id int PRIMARY KEY, a text);
ALTER TABLE loaded ALTER a SET STORAGE EXTERNAL;
\copy loaded from stdin
1	x
2	\N
3	y
\.
INSERT INTO loaded SELECT g, repeat(g::text, 3000) FROM generate_series(4, 5) g;
SELECT regexp_replace(c, '([45])\1{50,}', '\1…') FROM pg_temp.changes('penstock_decoding') c;

-- ON CONFLICT: what was tried and given up leaves nothing, also when its value was TOASTed
INSERT INTO loaded VALUES (1, 'again'), (6, 'new') ON CONFLICT DO NOTHING;
INSERT INTO loaded VALUES (1, repeat('b', 3000)), (7, 'new') ON CONFLICT (id) DO UPDATE SET a = 'was ' || loaded.a;
INSERT INTO loaded VALUES (5, 'c') ON CONFLICT (id) DO UPDATE SET id = loaded.id + 50;
CREATE TABLE twice (id int PRIMARY KEY, u int UNIQUE);
INSERT INTO twice VALUES (1, 1);
INSERT INTO twice VALUES (2, 1) ON CONFLICT (id) DO NOTHING;
INSERT INTO twice VALUES (2, 1) ON CONFLICT DO NOTHING;
SELECT regexp_replace(c, '([b5])\1{50,}', '\1…') FROM pg_temp.changes('penstock_decoding') c;

-- A statement that fails in the midst, alone and in a subtransaction
INSERT INTO twice SELECT g, g FROM generate_series(5, 1, -1) g;
BEGIN;
INSERT INTO twice VALUES (6, 6);
SAVEPOINT a;
INSERT INTO twice VALUES (7, 7), (8, 6);
ROLLBACK TO a;
INSERT INTO loaded VALUES (8, repeat('d', 3000));
ROLLBACK TO a;
INSERT INTO twice VALUES (9, 9);
COMMIT;
SELECT * FROM pg_temp.changes('penstock_decoding');

-- Rows that triggers, foreign keys and functions write are changes like others, in the order in which they came
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE ON UPDATE SET NULL);
CREATE FUNCTION penstock_double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO twice VALUES (NEW.id, NEW.id); RETURN NEW; END';
CREATE TRIGGER double AFTER INSERT ON parents FOR EACH ROW EXECUTE PROCEDURE penstock_double();
INSERT INTO parents VALUES (101), (102);
INSERT INTO children VALUES (1, 101), (2, 102);
UPDATE parents SET id = 103 WHERE id = 102;
DELETE FROM parents WHERE id = 101;
WITH gone AS (DELETE FROM twice WHERE id > 100 RETURNING id) INSERT INTO loaded SELECT id, 'moved' FROM gone ORDER BY id;
SELECT * FROM pg_temp.changes('penstock_decoding');

-- Temporary and unlogged tables, sequences and large objects have no changes, nor has what only locks
CREATE TEMPORARY TABLE fleeting (id int);
CREATE UNLOGGED TABLE passing (id int);
CREATE SEQUENCE counting;
INSERT INTO fleeting VALUES (1);
INSERT INTO passing VALUES (1);
SELECT nextval('counting'), lo_unlink(lo_create(0));
SELECT count(*) FROM (SELECT FROM twice FOR UPDATE) AS locked;
SELECT * FROM pg_temp.changes('penstock_decoding');

-- Decoded in a transaction that has written: what is its own is not there yet
BEGIN;
INSERT INTO twice VALUES (20, 20);
ALTER TABLE twice ADD c int;
SELECT * FROM pg_temp.peek('penstock_decoding');
COMMIT;
SELECT * FROM pg_temp.peek('penstock_decoding');
BEGIN;
INSERT INTO twice VALUES (21, 21, 21);
SELECT pg_create_logical_replication_slot('penstock_late', 'penstock');
ROLLBACK;
-- Into a table, whose rows are changes again
CREATE TABLE decoded (what text);
INSERT INTO decoded SELECT trim(c) FROM pg_temp.changes('penstock_decoding', 'include', 'public.twice') c;
SELECT * FROM pg_temp.changes('penstock_decoding');
-- A table that the plugin may look at is captured like others
ALTER TABLE twice SET (user_catalog_table = true);
INSERT INTO twice VALUES (22, 22, 22);
SELECT * FROM pg_temp.changes('penstock_decoding');

-- A copy of a slot has its own place; one that is advanced leaves out
INSERT INTO parents VALUES (30);
SELECT 'copied' FROM pg_copy_logical_replication_slot('penstock_decoding', 'penstock_copy');
SELECT plugin FROM pg_replication_slots WHERE slot_name = 'penstock_copy';
SELECT count(*) FROM pg_temp.changes('penstock_copy');
INSERT INTO parents VALUES (31);
SELECT 'advanced' FROM pg_replication_slot_advance('penstock_decoding', pg_current_wal_lsn());
SELECT * FROM pg_temp.changes('penstock_decoding');
SELECT * FROM pg_temp.changes('penstock_copy', 'include', 'public.parents');
SELECT 'dropped' FROM pg_drop_replication_slot('penstock_copy');

-- Settings are the session's own again behind an error in the plugin, too
SET datestyle = 'German';
SET intervalstyle = 'sql_standard';
SET extra_float_digits = -5;
INSERT INTO loaded VALUES (40, 'e');
SELECT pg_temp.changes('penstock_decoding', 'exclude_columns', 'public.loaded.id');
SHOW datestyle;
SHOW intervalstyle;
SHOW extra_float_digits;
RESET datestyle;
RESET intervalstyle;
RESET extra_float_digits;

-- Who may: a superuser or a role that replicates, whatever it may select; nobody else
CREATE ROLE penstock_decodes REPLICATION;
CREATE ROLE penstock_decodes_not;
SET ROLE penstock_decodes_not;
SELECT pg_create_logical_replication_slot('penstock_mine', 'penstock');
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('penstock_decoding', NULL, NULL);
SELECT count(*) FROM pg_logical_slot_get_binary_changes('penstock_decoding', NULL, NULL);
SELECT pg_drop_replication_slot('penstock_decoding');
SET ROLE penstock_decodes;
SELECT 'created' FROM pg_create_logical_replication_slot('penstock_mine', 'penstock');
SELECT count(*) FROM loaded;
SELECT count(*) > 0 AS read FROM pg_logical_slot_peek_binary_changes('penstock_decoding', NULL, NULL);
SELECT 'dropped' FROM pg_drop_replication_slot('penstock_mine');
RESET ROLE;
SELECT 'dropped' FROM pg_drop_replication_slot('penstock_decoding');
DROP ROLE penstock_decodes, penstock_decodes_not;
DROP TABLE loaded, twice, children, parents, decoded, passing;
DROP SEQUENCE counting;
DROP FUNCTION penstock_double();
