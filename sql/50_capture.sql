-- 50_capture.sql - change capture: the snapshot that a stream goes on from, and the slots.

-- install
CREATE FUNCTION penstock.snapshot(OUT snapshot pg_catalog.pg_snapshot, OUT horizon pg_catalog.pg_lsn,
								  OUT next_xid pg_catalog.xid8)
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'penstock_snapshot';

COMMENT ON FUNCTION penstock.snapshot() IS
'the snapshot of this REPEATABLE READ transaction, the place in WAL that it sees nothing behind, flushed, and the next xid';
-- end
