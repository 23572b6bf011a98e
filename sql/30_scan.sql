-- 30_scan.sql - a query's rows as Arrow IPC messages.

-- install
CREATE FUNCTION penstock.scan(query text, target_bytes int DEFAULT 1048576,
							  special_values text DEFAULT 'error', text_columns text[] DEFAULT '{}',
							  max_rows int DEFAULT 2147483647)
RETURNS SETOF bytea
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'penstock_scan';

COMMENT ON FUNCTION penstock.scan(text, int, text, text[], int) IS
'Arrow IPC messages of a SELECT: schema, record batches of about target_bytes and at most max_rows, end marker';
-- end
