-- 55_pgoutput.sql - what plain change capture asks the catalog: of the tables that pgoutput tells of, and
-- of publications. Servers 10 to 18.

-- What pgoutput does not tell of the table $1: under which root it lies as a partition ($2: whether that is
-- wanted, else it is its own), the root's columns in their order, and which of them the table's own primary
-- key has. One row a column; a root without columns gives one row without a name; a table that is not
-- there any more gives none.
-- embed: stream_relation
WITH RECURSIVE up AS (
	SELECT $1::pg_catalog.oid AS oid, 0 AS height
	UNION ALL
	SELECT i.inhparent, u.height OPERATOR(pg_catalog.+) 1
	FROM up u
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.oid
	JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.oid
	WHERE $2::pg_catalog.bool AND (pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'relispartition')::pg_catalog.bool
), top AS (
	SELECT u.oid FROM up u ORDER BY u.height DESC LIMIT 1
), keys AS (
	SELECT k.attname
	FROM pg_catalog.pg_constraint p
	JOIN pg_catalog.pg_attribute k ON k.attrelid OPERATOR(pg_catalog.=) p.conrelid
		AND k.attnum OPERATOR(pg_catalog.=) ANY (p.conkey)
	WHERE p.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND p.contype OPERATOR(pg_catalog.=) 'p'
)
SELECT c.oid, n.nspname, c.relname, l.relfilenode, a.attname,
	a.attname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT k.attname FROM keys k))
FROM top t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_class l ON l.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
	AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
ORDER BY a.attnum
-- end
