-- 55_pgoutput.sql - what plain change capture asks the catalog: of the tables that pgoutput tells of, and
-- of publications. Servers 10 to 18.

-- What pgoutput does not tell of the table $1: under which root it lies as a partition ($2: whether that is
-- wanted, else it is its own), the root's columns in their order, which of them the table's own primary
-- key has, and which have a missing value: rows from before ADD COLUMN have its default. One row a column; a root without columns gives one row without a name; a table that is not
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
	a.attname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT k.attname FROM keys k)),
	(SELECT (pg_catalog.to_jsonb(m) OPERATOR(pg_catalog.->>) 'atthasmissing')::pg_catalog.bool
	 FROM pg_catalog.pg_attribute m
	 WHERE m.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND m.attname OPERATOR(pg_catalog.=) a.attname)
FROM top t
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_class l ON l.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
	AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
ORDER BY a.attnum
-- end

-- The publication $1: who owns it, what it publishes, and whether penstock made it, which its comment says.
-- embed: publication
SELECT p.oid, pg_catalog.pg_get_userbyid(p.pubowner), p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete,
	COALESCE((pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>) 'pubtruncate')::pg_catalog.bool, false),
	COALESCE((pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.->>) 'pubviaroot')::pg_catalog.bool, false),
	COALESCE(pg_catalog.obj_description(p.oid, 'pg_publication') OPERATOR(pg_catalog.~~) 'made by penstock%', false)
FROM pg_catalog.pg_publication p
WHERE p.pubname OPERATOR(pg_catalog.=) $1::pg_catalog.name
-- end

-- The schemas of which a publication, by its OID $1, has all tables: from 15 on.
-- embed: publication_schemas
SELECT COALESCE(pg_catalog.array_agg(n.pnnspid), '{}')
FROM pg_catalog.pg_publication_namespace n
WHERE n.pnpubid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
-- end

-- By what the publication with OID $1 has the tables $2, or partitioned tables above them: a row for each, or one
-- with NULL. Who is taken out and put in again comes back under another OID. Tables that are gone have no row.
-- embed: publication_members
WITH RECURSIVE up AS (
	SELECT c.oid AS top, c.oid
	FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.oid[])
	UNION ALL
	SELECT u.top, i.inhparent
	FROM up u
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.oid
	JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.oid
	WHERE (pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'relispartition')::pg_catalog.bool
)
SELECT u.top, r.oid
FROM up u
LEFT JOIN pg_catalog.pg_publication_rel r ON r.prrelid OPERATOR(pg_catalog.=) u.oid
	AND r.prpubid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
ORDER BY u.top
-- end

-- The same by their schemas, or those of partitioned tables above them: from 15 on.
-- embed: publication_schema_members
WITH RECURSIVE up AS (
	SELECT c.oid AS top, c.oid, c.relnamespace, c.relispartition
	FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.oid[])
	UNION ALL
	SELECT u.top, c.oid, c.relnamespace, c.relispartition
	FROM up u
	JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.oid
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhparent
	WHERE u.relispartition
)
SELECT DISTINCT u.top, n.oid
FROM up u
JOIN pg_catalog.pg_publication_namespace n ON n.pnnspid OPERATOR(pg_catalog.=) u.relnamespace
	AND n.pnpubid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
ORDER BY u.top
-- end

-- How the publication with OID $1 (0: there is none) has the tables $2, $3 being those schemas. Before 13
-- ($4 false) a partitioned table cannot be published: its partitions stand for it. One row for each that
-- has to be in the publication: how SQL writes it; whether it lies under a partitioned table or is one;
-- whether it is published; what of it or below it is published with a row filter or without all columns;
-- the first of its leaves whose updates the server would refuse once they are published.
-- embed: publication_tables
WITH RECURSIVE wanted AS (
	SELECT DISTINCT u.oid FROM pg_catalog.unnest($2::pg_catalog.oid[]) AS u(oid)
), down AS (
	SELECT w.oid AS top, w.oid FROM wanted w
	UNION ALL
	SELECT d.top, i.inhrelid
	FROM down d
	JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) d.oid
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid
	WHERE (pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'relispartition')::pg_catalog.bool
), targets AS (
	SELECT CASE WHEN $4::pg_catalog.bool THEN d.top ELSE d.oid END AS target, d.oid, c.relkind, c.relreplident
	FROM down d
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.oid
	WHERE $4::pg_catalog.bool OR c.relkind OPERATOR(pg_catalog.<>) 'p'
), up AS (
	SELECT DISTINCT t.target, t.target AS oid FROM targets t
	UNION ALL
	SELECT u.target, i.inhparent
	FROM up u
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.oid
	JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.oid
	WHERE (pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'relispartition')::pg_catalog.bool
), covered AS (
	SELECT DISTINCT u.target
	FROM up u
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.oid
	WHERE c.relnamespace OPERATOR(pg_catalog.=) ANY ($3::pg_catalog.oid[])
	OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r
		WHERE r.prpubid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND r.prrelid OPERATOR(pg_catalog.=) u.oid)
	OR EXISTS (SELECT FROM pg_catalog.pg_publication p
		WHERE p.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND p.puballtables)
), restricted AS (
	SELECT e.target, pg_catalog.min(pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname))) AS name
	FROM (SELECT t.target, t.oid FROM targets t UNION SELECT u.target, u.oid FROM up u) AS e(target, oid)
	JOIN pg_catalog.pg_publication_rel r ON r.prrelid OPERATOR(pg_catalog.=) e.oid
		AND r.prpubid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) e.oid
	JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
	WHERE pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>) 'prqual' IS NOT NULL
	OR pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->>) 'prattrs' IS NOT NULL AND EXISTS (
		SELECT FROM pg_catalog.pg_attribute a
		WHERE a.attrelid OPERATOR(pg_catalog.=) e.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
		AND COALESCE(pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) 'attgenerated', '') OPERATOR(pg_catalog.=) ''
		AND NOT pg_catalog.to_jsonb(r) OPERATOR(pg_catalog.->) 'prattrs' OPERATOR(pg_catalog.@>) pg_catalog.to_jsonb(a.attnum))
	GROUP BY e.target
), nameless AS (
	SELECT t.target, pg_catalog.min(pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname))) AS name
	FROM targets t
	JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
	JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
	WHERE t.relkind OPERATOR(pg_catalog.<>) 'p' AND t.relreplident OPERATOR(pg_catalog.<>) 'f'
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x
		WHERE x.indrelid OPERATOR(pg_catalog.=) t.oid AND x.indisvalid AND x.indimmediate
		AND CASE t.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END)
	GROUP BY t.target
)
SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)),
	c.relkind OPERATOR(pg_catalog.=) 'p' OR COALESCE((pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'relispartition')::pg_catalog.bool, false),
	v.target IS NOT NULL, r.name, i.name
FROM (SELECT DISTINCT t.target FROM targets t) AS g
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) g.target
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
LEFT JOIN covered v ON v.target OPERATOR(pg_catalog.=) g.target
LEFT JOIN restricted r ON r.target OPERATOR(pg_catalog.=) g.target
LEFT JOIN nameless i ON i.target OPERATOR(pg_catalog.=) g.target
ORDER BY 1
-- end
