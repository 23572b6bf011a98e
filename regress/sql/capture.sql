-- snapshot, slots: where a stream goes on from, and what a server keeps for it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;

-- The snapshot is the transaction's, as the server tells it; WAL is on disk up to the horizon.
SELECT penstock.snapshot();
\echo :LAST_ERROR_SQLSTATE
BEGIN ISOLATION LEVEL REPEATABLE READ;
CREATE TABLE marked (id int);
SELECT snapshot::text = pg_current_snapshot()::text AS same, horizon <= pg_current_wal_flush_lsn() AS flushed,
	pg_current_wal_lsn() >= horizon AS is_past, next_xid > pg_snapshot_xmax(snapshot) AS above,
	next_xid > pg_current_xact_id() AS above_own
FROM penstock.snapshot();
SELECT a.snapshot::text = b.snapshot::text AS stays, a.horizon < b.horizon AS goes_on
FROM penstock.snapshot() a, penstock.snapshot() b;
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT horizon IS NOT NULL AS answers FROM penstock.snapshot();
ROLLBACK;

-- Slots: none; a logical, a physical and a temporary one.
SELECT slot ->> 'name' AS name FROM penstock.slots() slot WHERE slot ->> 'name' LIKE 'penstock_capture%';
SELECT 'made' FROM pg_create_logical_replication_slot('penstock_capture_a', 'penstock');
SELECT 'made' FROM pg_create_physical_replication_slot('penstock_capture_b');
SELECT 'made' FROM pg_create_logical_replication_slot('penstock_capture_c', 'pgoutput', true);
SELECT slot ->> 'name' AS name, slot ->> 'type' AS type, slot ->> 'plugin' AS plugin, slot ->> 'database' = current_database() AS here,
	slot ->> 'temporary' AS temporary, (slot ->> 'active_pid')::int = pg_backend_pid() AS mine, slot ->> 'wal_status' AS wal_status,
	(slot ->> 'lag')::numeric < 10e6 AS near, slot ->> 'problem' AS problem, slot ->> 'remedy' AS remedy
FROM penstock.slots() slot WHERE slot ->> 'name' LIKE 'penstock_capture%';
SELECT slot ->> 'name' AS name, slot ->> 'active' AS active, slot ->> 'application' AS application, slot ->> 'user' = current_user AS mine,
	(slot ->> 'catalog_xmin_age')::int < 1000 AS young, slot ->> 'in_recovery' AS in_recovery, slot ->> 'held_back_by' AS held_back_by
FROM penstock.slots() slot WHERE slot ->> 'name' LIKE 'penstock_capture%';
SELECT string_agg(k, ' ' ORDER BY k COLLATE "C") AS keys FROM penstock.slots() slot, jsonb_object_keys(slot) k
WHERE slot ->> 'name' = 'penstock_capture_a';

-- What is not confirmed is lag; what is confirmed is not.
CREATE TABLE written (id int);
INSERT INTO written SELECT generate_series(1, 10000);
SELECT (slot ->> 'lag')::numeric > 500000 AS behind, (slot ->> 'retained')::numeric >= (slot ->> 'lag')::numeric AS kept
FROM penstock.slots() slot WHERE slot ->> 'name' = 'penstock_capture_a';
SELECT count(*) > 0 AS read FROM pg_logical_slot_get_binary_changes('penstock_capture_a', NULL, NULL);
SELECT (slot ->> 'lag')::numeric < 100000 AS near FROM penstock.slots() slot WHERE slot ->> 'name' = 'penstock_capture_a';

-- By a role without rights, and whatever its search_path is.
CREATE SCHEMA odd_path;
CREATE FUNCTION odd_path.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE ROLE penstock_capture_nobody;
GRANT USAGE ON SCHEMA odd_path TO penstock_capture_nobody;
SET ROLE penstock_capture_nobody;
SET search_path = odd_path, pg_catalog;
SELECT slot ->> 'plugin' AS plugin FROM penstock.slots() slot WHERE slot ->> 'name' = 'penstock_capture_a';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT snapshot::text = pg_current_snapshot()::text AS same FROM penstock.snapshot();
ROLLBACK;
RESET search_path;
RESET ROLE;
SELECT 'dropped' FROM unnest('{penstock_capture_a,penstock_capture_b}'::name[]) slot CROSS JOIN LATERAL pg_drop_replication_slot(slot);
SET client_min_messages = warning;
DROP SCHEMA odd_path CASCADE;
DROP ROLE penstock_capture_nobody;
DROP TABLE written;
