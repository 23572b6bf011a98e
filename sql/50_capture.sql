-- 50_capture.sql - change capture: the snapshot that a stream goes on from, and the slots.
-- The rules at the head of 10_catalog.sql hold here too, but that servers before 10 have no logical
-- replication and no function of these names.

-- install
CREATE FUNCTION penstock.snapshot(OUT snapshot pg_catalog.pg_snapshot, OUT horizon pg_catalog.pg_lsn,
								  OUT next_xid pg_catalog.xid8)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'penstock_snapshot';

COMMENT ON FUNCTION penstock.snapshot() IS
'the snapshot of this REPEATABLE READ transaction, the place in WAL that it sees nothing behind, flushed, and the next xid';
-- end

-- Replication slots, one row each, by name: (slot json) with what the server knows of it; docs/cdc.md has the
-- keys. Bytes are up to the end of WAL of now. held_back_by is there where the server keeps more WAL for the
-- slot than it does anyway. problem and remedy are texts, or null where nothing is to be done: statements
-- ready to run by someone who may, what is no statement behind --.
-- embed: slots
WITH here AS (
	SELECT pg_is_in_recovery() AS in_recovery,
		   CASE WHEN pg_is_in_recovery()
			   THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
			   ELSE pg_current_wal_lsn() END AS ending,
		   (SELECT s.setting::numeric * 1048576 FROM pg_catalog.pg_settings s
			WHERE s.name = 'max_wal_size') AS kept_anyway
), oldest AS (
	-- The transaction that decoding has to begin before: none that began later lets restart_lsn go on.
	SELECT t.pid, t."user", t.application, t.gid, t.seconds
	FROM (
		SELECT a.pid, a.usename::text AS "user", a.application_name AS application, NULL::text AS gid,
			   extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds, age(a.backend_xid) AS age
		FROM pg_catalog.pg_stat_activity a
		WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
		UNION ALL
		SELECT NULL, p.owner::text, NULL, p.gid, extract(epoch FROM clock_timestamp() - p.prepared)::bigint,
			   age(p.transaction)
		FROM pg_catalog.pg_prepared_xacts p
	) t
	ORDER BY t.age DESC
	LIMIT 1
), known AS (
	SELECT s.slot_name::text AS name, to_jsonb(s) AS row, s.active_pid, s.restart_lsn, s.confirmed_flush_lsn,
		   age(s.catalog_xmin) AS catalog_xmin_age, age(s.xmin) AS xmin_age,
		   -- A slot can be ahead of what a standby has replayed; without a place it lags behind nothing.
		   CASE WHEN coalesce(s.confirmed_flush_lsn, s.restart_lsn) IS NOT NULL
			   THEN greatest(here.ending - coalesce(s.confirmed_flush_lsn, s.restart_lsn), 0) END AS lag,
		   greatest(here.ending - s.restart_lsn, 0) AS retained, here.kept_anyway, here.in_recovery
	FROM pg_catalog.pg_replication_slots s, here
), states AS (
	SELECT k.*, k.row ->> 'wal_status' AS wal_status,
		   CASE
			   WHEN coalesce(k.row ->> 'wal_status', '') = 'lost'
				   OR k.row ->> 'invalidation_reason' IS NOT NULL
				   OR coalesce((k.row ->> 'conflicting')::boolean, false) THEN 'lost'
			   WHEN coalesce(k.row ->> 'wal_status', '') = 'unreserved' THEN 'unreserved'
			   WHEN k.active_pid IS NULL AND k.retained > k.kept_anyway
				   AND NOT coalesce((k.row ->> 'synced')::boolean, false) THEN 'retains'
		   END AS state
	FROM known k
)
SELECT jsonb_build_object(
	'name', s.name,
	'type', s.row ->> 'slot_type',
	'plugin', s.row ->> 'plugin',
	'database', s.row ->> 'database',
	'temporary', s.row -> 'temporary',
	'active', s.active_pid IS NOT NULL,
	'active_pid', s.active_pid,
	'user', a.usename,
	'application', a.application_name,
	'restart_lsn', s.restart_lsn,
	'confirmed_flush_lsn', s.confirmed_flush_lsn,
	'lag', s.lag,
	'retained', s.retained,
	'held_back_by', CASE WHEN s.state IS DISTINCT FROM 'lost' AND s.retained > s.kept_anyway THEN CASE
		WHEN s.active_pid IS NULL THEN jsonb_build_object('by', 'nobody')
		WHEN s.lag * 2 > s.retained OR s.row ->> 'slot_type' = 'physical' OR o.seconds IS NULL
			THEN jsonb_build_object('by', 'consumer')
		ELSE jsonb_build_object('by', 'transaction', 'pid', o.pid, 'user', o."user", 'application', o.application,
								'gid', o.gid, 'seconds', o.seconds) END END,
	'xmin_age', s.xmin_age,
	'catalog_xmin_age', s.catalog_xmin_age,
	'wal_status', s.wal_status,
	'safe_wal_size', s.row -> 'safe_wal_size',
	'invalidation_reason', s.row ->> 'invalidation_reason',
	'two_phase', s.row -> 'two_phase',
	'failover', s.row -> 'failover',
	'synced', s.row -> 'synced',
	'inactive_since', s.row ->> 'inactive_since',
	'in_recovery', s.in_recovery,
	'problem', CASE s.state
		WHEN 'lost' THEN
			CASE coalesce(s.row ->> 'invalidation_reason', CASE WHEN (s.row ->> 'conflicting')::boolean
						  THEN 'conflicting' ELSE 'wal_removed' END)
				WHEN 'wal_removed' THEN 'the slot is lost: WAL that its consumer has not confirmed was removed'
				WHEN 'rows_removed' THEN
					'the slot is lost: rows of the catalog that its consumer needs were removed'
				WHEN 'wal_level_insufficient' THEN 'the slot is lost: wal_level was lowered'
				WHEN 'idle_timeout' THEN
					'the slot is lost: no consumer came within idle_replication_slot_timeout'
				ELSE 'the slot is lost: it was in conflict with recovery'
			END
		WHEN 'unreserved' THEN
			'WAL that the slot needs is beyond max_slot_wal_keep_size, and the next checkpoint removes it'
		WHEN 'retains' THEN
			format('nobody reads the slot, and the server keeps %s of WAL for it',
				   pg_size_pretty(s.retained))
	END,
	'remedy', CASE s.state
		WHEN 'lost' THEN
			format(E'SELECT pg_drop_replication_slot(%L);\n'
				   '-- and begin anew, with a snapshot: what was not confirmed is not to be had from it',
				   s.name)
		WHEN 'unreserved' THEN
			E'-- let its consumer catch up now, or keep more:\n'
			'ALTER SYSTEM SET max_slot_wal_keep_size = -1;\nSELECT pg_reload_conf();'
		WHEN 'retains' THEN
			format(E'-- start its consumer; or, if there is none any more:\n'
				   'SELECT pg_drop_replication_slot(%L);', s.name)
	END) AS slot
FROM states s
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
LEFT JOIN oldest o ON true
ORDER BY s.name COLLATE "C"
-- end

-- install
CREATE FUNCTION penstock.slots()
RETURNS SETOF jsonb
LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $penstock$
BEGIN
	RETURN QUERY
-- text: slots
	;
END
$penstock$;

COMMENT ON FUNCTION penstock.slots() IS
'replication slots: how far their consumers are, what the server keeps for them, what is wrong and what mends it';
-- end
