-- doctor, grants: what works, and the rights that a role needs.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE "penstock Writer";
CREATE SCHEMA "Shop";
CREATE TABLE "Shop".orders (id serial PRIMARY KEY, total numeric);
CREATE TABLE "Shop".log (line text);
CREATE TABLE "Shop".sales (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE "Shop".sales_2020 PARTITION OF "Shop".sales FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE INDEX orders_total ON "Shop".orders (total);

SELECT feature, "check" FROM penstock.doctor();
SELECT "check", status, message FROM penstock.doctor() WHERE "check" IN ('pooler', 'keys', 'primary', 'temporary tables');
SELECT bool_and(fix = '') AS nothing_to_mend FROM penstock.doctor() WHERE status = 'ok';

-- A role with no rights is told them.
SET ROLE "penstock Writer";
SELECT "check", status, message FROM penstock.doctor() WHERE "check" IN ('privileges', 'schemas') ORDER BY feature, "check";
SELECT fix FROM penstock.doctor() WHERE feature = 'read' AND "check" = 'privileges' \g (format=unaligned)
RESET ROLE;

-- Change capture.
CREATE UNLOGGED TABLE "Shop".fleeting (id int PRIMARY KEY);
\pset format unaligned
SELECT "check", status, message, fix FROM penstock.doctor()
WHERE feature = 'cdc' AND "check" IN ('server', 'wal_level', 'role', 'plugin', 'publication', 'replica identity', 'unlogged tables', 'retention', 'timeout');
SET ROLE "penstock Writer";
SELECT status, message, fix FROM penstock.doctor() WHERE feature = 'cdc' AND "check" = 'role';
RESET ROLE;
ALTER TABLE "Shop".log REPLICA IDENTITY FULL;
ALTER TABLE "Shop".orders REPLICA IDENTITY NOTHING;
SELECT status, message, fix FROM penstock.doctor() WHERE feature = 'cdc' AND "check" = 'replica identity';
ALTER TABLE "Shop".log REPLICA IDENTITY DEFAULT;
ALTER TABLE "Shop".orders REPLICA IDENTITY USING INDEX orders_pkey;
SELECT fix FROM penstock.doctor() WHERE feature = 'cdc' AND "check" = 'replica identity' \gexec
SELECT status FROM penstock.doctor() WHERE feature = 'cdc' AND "check" = 'replica identity';
ALTER TABLE "Shop".log REPLICA IDENTITY DEFAULT;
\pset format aligned
DROP TABLE "Shop".fleeting;

-- The extension's own state, with what mends it.
\pset format unaligned
SELECT status, regexp_replace(message, '\d.*', 'X') AS message, fix FROM penstock.doctor() WHERE "check" = 'transport';
SELECT definition AS doctor FROM (SELECT pg_get_functiondef('penstock.doctor()'::regprocedure) AS definition) x \gset
CREATE SCHEMA copied;
SELECT replace(:'doctor', 'penstock.doctor()', 'copied.doctor()') AS copied \gset
:copied;
REVOKE EXECUTE ON FUNCTION penstock.scan FROM PUBLIC;
GRANT USAGE ON SCHEMA copied TO PUBLIC;
SET ROLE "penstock Writer";
SELECT status, regexp_replace(message, '\d.*', 'X') AS message, fix FROM copied.doctor() WHERE "check" = 'transport';
RESET ROLE;
GRANT EXECUTE ON FUNCTION penstock.scan TO PUBLIC;
DROP EXTENSION penstock;
SELECT status, message, fix FROM copied.doctor() WHERE "check" = 'transport';
CREATE EXTENSION penstock;
UPDATE pg_extension SET extversion = '0.0' WHERE extname = 'penstock';
SELECT status, regexp_replace(message, 'has \d.*', 'has X') AS message, fix FROM penstock.doctor() WHERE "check" = 'transport';
DROP EXTENSION penstock;
CREATE EXTENSION penstock;
DROP SCHEMA copied CASCADE;
\pset format aligned

-- The script of grants, of each feature, for all and for one table.
\pset format unaligned
SELECT * FROM penstock.grants('read');
SELECT * FROM penstock.grants('write', 'penstock Writer');
SELECT * FROM penstock.grants('catalog', 'o"dd');
SELECT * FROM penstock.grants('cdc', 'penstock Writer');
SELECT * FROM penstock.grants('cdc', relation => '"Shop".sales');
SELECT * FROM penstock.grants('read', relation => '"Shop".sales');
SELECT * FROM penstock.grants('write', NULL, '"Shop".log');
\pset format aligned

-- They are enough, as run.
SELECT line FROM penstock.grants('write', 'penstock Writer') line WHERE line NOT LIKE '--%' \gexec
SET ROLE "penstock Writer";
SELECT status, message FROM penstock.doctor() WHERE feature = 'write' AND "check" = 'privileges';
INSERT INTO "Shop".orders (total) VALUES (1) ON CONFLICT (id) DO UPDATE SET total = EXCLUDED.total;
RESET ROLE;
SELECT line FROM penstock.grants('cdc', 'penstock Writer') line WHERE line NOT LIKE '--%' \gexec
SET ROLE "penstock Writer";
SELECT status FROM penstock.doctor() WHERE feature = 'cdc' AND "check" = 'role';
SELECT 'made' FROM pg_create_logical_replication_slot('penstock_writer', 'penstock', true);
RESET ROLE;
SELECT 'dropped' FROM pg_drop_replication_slot('penstock_writer');

-- Odd arguments.
SELECT penstock.grants('everything');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.grants(NULL);
SELECT penstock.grants('');
SELECT penstock.grants('read', relation => '"Shop".orders_total');
\echo :LAST_ERROR_SQLSTATE
SELECT penstock.grants('read', NULL, 0);
SELECT penstock.grants('read', NULL, 4294967295);
\echo :LAST_ERROR_SQLSTATE

DROP SCHEMA "Shop" CASCADE;
DROP OWNED BY "penstock Writer";
DROP ROLE "penstock Writer";
