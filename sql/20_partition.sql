-- 20_partition.sql - pieces of a relation that can be read side by side.

-- install
CREATE FUNCTION penstock.partitions(relation regclass, n int DEFAULT NULL, column_name text DEFAULT NULL,
									lower text DEFAULT NULL, upper text DEFAULT NULL, filter boolean DEFAULT false)
RETURNS TABLE (part int, condition text, begins text, ends text)
LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10 COST 10000
AS 'MODULE_PATHNAME', 'penstock_partitions';

COMMENT ON FUNCTION penstock.partitions(regclass, int, text, text, text, boolean) IS
'conditions for WHERE that cut a relation into pieces: by blocks, or by the values of a column';
-- end
