-- 10_catalog.sql - what there is: databases, schemas, relations and all about them.
--
-- Each text between "embed:" and "end" is one statement. scripts/embed makes a C string of it for
-- the bridge; the extension wraps the same text in a function. Rules for all of them:
--
--   * They run on every server from 9.6 on. What some versions lack is read from the row as json:
--     to_jsonb(a)->>'attgenerated' is NULL where there is no such column.
--   * Relations are named with their schema. Functions and operators are pg_catalog's because the
--     texts run with search_path = pg_catalog, pg_temp: the bridge sets it for the one transaction,
--     a function has it as its setting. So no object of a user can stand in for one of the server,
--     and types and expressions come out with their schema, whoever asks. `resolve` alone runs
--     under the caller's path, because names are the caller's; its operators are spelled out.
--   * Comments are read from pg_description: obj_description and col_description are SQL functions,
--     which are planned anew for each of ten thousand columns.
--   * Lists take no lock on a user's table. `describe` prints defaults and indexes by the server's
--     own functions, which take ACCESS SHARE: it waits where a table is being altered.
--   * An error or warning is a row with sqlstate, message and hint instead of a result; class 01 is
--     a warning. Both wrappers raise it.

-- Databases that can be connected to. $1 allow, $2 deny: names separated by ';', blanks around a
-- name and empty names ignored, letters exact; a list without a name is no list. Without lists the
-- two templates are hidden. $3 how the caller calls the first list. Rows: (database, sqlstate, message, hint).
-- embed: databases
WITH lists AS (
	SELECT ARRAY(SELECT btrim(item, E' \t\r\n\f\v')
				 FROM unnest(string_to_array($1::text, ';')) AS item
				 WHERE btrim(item, E' \t\r\n\f\v') <> '') AS allow,
		   ARRAY(SELECT btrim(item, E' \t\r\n\f\v')
				 FROM unnest(string_to_array($2::text, ';')) AS item
				 WHERE btrim(item, E' \t\r\n\f\v') <> '') AS deny
), known AS (
	SELECT d.datname::text AS name,
		   CASE
			   -- -2: a DROP DATABASE was interrupted, nothing can connect any more.
			   WHEN NOT d.datallowconn OR d.datconnlimit = -2 THEN 'takes no connections'
			   WHEN NOT has_database_privilege(d.oid, 'CONNECT')
				   THEN format('cannot be connected to by role "%s"', current_user)
		   END AS refusal
	FROM pg_catalog.pg_database d
), answers AS (
	SELECT k.name, NULL::text AS sqlstate, NULL::text AS message, NULL::text AS hint
	FROM known k, lists l
	WHERE k.refusal IS NULL
		AND NOT (l.allow <> '{}' AND l.deny <> '{}')
		AND CASE
				WHEN l.allow <> '{}' THEN k.name = ANY (l.allow)
				WHEN l.deny <> '{}' THEN k.name <> ALL (l.deny)
				ELSE k.name NOT IN ('template0', 'template1')
			END
	UNION ALL
	SELECT a.name, '01000',
		   format('database "%s" is in %s but %s', a.name, $3::text,
				  coalesce(k.refusal, 'does not exist')),
		   CASE
			   WHEN k.name IS NULL THEN
				   (SELECT format('Names are exact; there is "%s".', o.name)
					FROM known o WHERE lower(o.name) = lower(a.name) ORDER BY o.name LIMIT 1)
		   END
	FROM lists l
	CROSS JOIN LATERAL (SELECT DISTINCT name FROM unnest(l.allow) AS name) a
	LEFT JOIN known k ON k.name = a.name
	WHERE l.deny = '{}' AND (k.name IS NULL OR k.refusal IS NOT NULL)
	UNION ALL
	SELECT NULL, '22023', 'a list of databases to show and one of databases to hide are both given',
		   'Give the databases to list or the databases to hide, not both.'
	FROM lists l
	WHERE l.allow <> '{}' AND l.deny <> '{}'
)
SELECT name AS database, sqlstate, message, hint
FROM answers
ORDER BY name COLLATE "C"
-- end

-- install
CREATE FUNCTION penstock.databases(allow text DEFAULT NULL, deny text DEFAULT NULL) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $penstock$
#variable_conflict use_column
DECLARE
	answer record;
BEGIN
	FOR answer IN
-- text: databases $1, $2, 'the allow list'
	LOOP
-- text: raise
		RETURN NEXT answer.database;
	END LOOP;
END
$penstock$;

COMMENT ON FUNCTION penstock.databases(text, text) IS
'databases that can be connected to; allow and deny are names separated by semicolons';
-- end

-- Schemas that the role may use, without the system's and the extension's. Rows: (schema).
-- embed: schemas
SELECT n.nspname::text AS schema
FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (
		SELECT FROM pg_catalog.pg_depend o
		JOIN pg_catalog.pg_extension e ON e.oid = o.refobjid AND e.extname = 'penstock'
		WHERE o.classid = 'pg_catalog.pg_namespace'::regclass AND o.objid = n.oid AND o.deptype = 'e')
	AND has_schema_privilege(n.oid, 'USAGE')
ORDER BY n.nspname::text COLLATE "C"
-- end

-- Relations. $1 schema, letter by letter, or NULL for all but the system's. Rows: (relation json,
-- sqlstate, message, hint).
-- embed: tables
WITH relations AS (
	SELECT n.nspname::text AS schema, c.relname::text AS name,
		   quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS qualified,
		   CASE c.relkind
			   WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
			   WHEN 'm' THEN 'materialized view' ELSE 'foreign table'
		   END AS kind,
		   (SELECT e.description FROM pg_catalog.pg_description e
			WHERE e.objoid = c.oid AND e.classoid = 'pg_catalog.pg_class'::regclass
				AND e.objsubid = 0) AS comment,
		   CASE
			   WHEN c.relkind = 'v' OR c.reltuples < 0 THEN NULL
			   -- Before 14 the server wrote 0 for "never counted".
			   WHEN c.reltuples = 0 AND c.relpages = 0
				   AND current_setting('server_version_num')::int < 140000 THEN NULL
			   ELSE c.reltuples::bigint
		   END AS rows,
		   coalesce((to_jsonb(c) ->> 'relispartition')::boolean, false) AS partition,
		   has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')
			   AS readable
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
		AND CASE
				WHEN $1::text IS NULL
					THEN n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
				ELSE n.nspname = $1::text
			END
		AND has_schema_privilege(n.oid, 'USAGE')
), answers AS (
	SELECT schema, name, row_to_json(r) AS relation, NULL::text AS sqlstate,
		   NULL::text AS message, NULL::text AS hint
	FROM relations r
	UNION ALL
	SELECT NULL, NULL, NULL, s.sqlstate, s.message, s.hint
	FROM (
		SELECT CASE WHEN n.oid IS NULL THEN '3F000' ELSE '42501' END AS sqlstate,
			   CASE
				   WHEN n.oid IS NULL THEN format('schema "%s" does not exist', $1::text)
				   ELSE format('role "%s" may not use schema "%s"', current_user, $1::text)
			   END AS message,
			   CASE
				   WHEN n.oid IS NULL THEN
					   (SELECT format('Schema names are exact; there is "%s".', o.nspname)
						FROM pg_catalog.pg_namespace o
						WHERE lower(o.nspname) = lower($1::text) ORDER BY o.nspname LIMIT 1)
				   ELSE format('GRANT USAGE ON SCHEMA %I TO %I;', $1::text, current_user)
			   END AS hint
		FROM (SELECT 1) one
		LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1::text
		WHERE $1::text IS NOT NULL
			AND (n.oid IS NULL OR NOT has_schema_privilege(n.oid, 'USAGE'))
	) s
)
SELECT relation, sqlstate, message, hint
FROM answers
ORDER BY schema COLLATE "C", name COLLATE "C"
-- end

-- install
CREATE FUNCTION penstock.tables(schema text DEFAULT NULL) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $penstock$
#variable_conflict use_column
DECLARE
	answer record;
BEGIN
	FOR answer IN
-- text: tables
	LOOP
-- text: raise
		RETURN NEXT answer.relation::jsonb;
	END LOOP;
END
$penstock$;

COMMENT ON FUNCTION penstock.tables(text) IS
'the relations of a schema, or of all but the system''s, in short';
-- end

-- Finds a relation as regclass does. $1 its name. The answer goes with the row and, for the
-- statements that follow in the same transaction, into the setting penstock_catalog.relation ('' for
-- none). $2 may be 'any': then it is no error when there is none. Runs under the caller's
-- search_path. Rows: (oid, sqlstate, message, hint).
-- embed: resolve
WITH named AS (
	SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid AS oid
), found AS (
	SELECT n.oid, c.relkind,
		   CASE WHEN c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog."char"[])
			   THEN n.oid END AS usable
	FROM named n
	LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) n.oid
), parts AS (
	SELECT pg_catalog.parse_ident($1::pg_catalog.text) AS name
	FROM found f WHERE f.oid IS NULL
), near AS (
	SELECT pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) '.'
			   OPERATOR(pg_catalog.||) pg_catalog.quote_ident(c.relname) AS name,
		   pg_catalog.lower(c.relname) OPERATOR(pg_catalog.<>) c.relname AS mixed
	FROM parts p
	JOIN pg_catalog.pg_class c
		ON pg_catalog.lower(c.relname) OPERATOR(pg_catalog.=)
			pg_catalog.lower(p.name[pg_catalog.array_upper(p.name, 1)])
	JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
	WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog."char"[])
		AND n.nspname OPERATOR(pg_catalog.!~) '^pg_(temp|toast)'
	ORDER BY n.nspname::pg_catalog.text COLLATE pg_catalog."C",
			 c.relname::pg_catalog.text COLLATE pg_catalog."C"
	LIMIT 3
), shown AS (
	SELECT CASE WHEN pg_catalog.strpos($1::pg_catalog.text, '"') OPERATOR(pg_catalog.>) 0 THEN $1
			   ELSE '"' OPERATOR(pg_catalog.||) $1 OPERATOR(pg_catalog.||) '"' END AS name
), hints AS (
	SELECT pg_catalog.concat(
		(SELECT pg_catalog.concat('There is no schema ', pg_catalog.quote_ident(p.name[1]),
				CASE WHEN EXISTS (SELECT FROM near) THEN '. ' ELSE '.' END)
			FROM parts p
			WHERE pg_catalog.array_upper(p.name, 1) OPERATOR(pg_catalog.=) 2
				AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n
					WHERE n.nspname OPERATOR(pg_catalog.=) p.name[1]::pg_catalog.name)),
		(SELECT pg_catalog.concat('There is ', pg_catalog.string_agg(n.name, ', '),
				CASE WHEN pg_catalog.bool_or(n.mixed)
					THEN '; a name without double quotes is folded to lower case.'
					ELSE '.' END)
			FROM near n HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0::pg_catalog.int8)) AS hint
)
SELECT f.usable AS oid,
	   CASE
		   WHEN f.usable IS NOT NULL THEN NULL
		   WHEN f.oid IS NOT NULL THEN '42809'
		   WHEN $2::pg_catalog.text OPERATOR(pg_catalog.=) 'any' THEN NULL
		   ELSE '42P01'
	   END AS sqlstate,
	   CASE
		   WHEN f.usable IS NOT NULL THEN NULL
		   WHEN f.oid IS NOT NULL THEN pg_catalog.format('%s is %s, not a table or view', s.name,
			   CASE
				   WHEN f.relkind OPERATOR(pg_catalog.=) ANY ('{i,I}'::pg_catalog."char"[])
					   THEN 'an index'
				   WHEN f.relkind OPERATOR(pg_catalog.=) 'S' THEN 'a sequence'
				   WHEN f.relkind OPERATOR(pg_catalog.=) 'c' THEN 'a composite type'
				   ELSE 'an internal relation'
			   END)
		   ELSE pg_catalog.format('relation %s does not exist', s.name)
	   END AS message,
	   CASE WHEN h.hint OPERATOR(pg_catalog.<>) '' THEN h.hint END AS hint,
	   pg_catalog.set_config('penstock_catalog.relation',
							 COALESCE(f.usable::pg_catalog.text, ''), true) AS stored
FROM found f, shown s, hints h
-- end

-- The two halves of `describe` that depend on the version: partitioning as CTEs named
-- part_of(relation, parent json) and part_in(relation, strategy, key, partitions json).
-- embed: describe_partitions
part_of AS (
	SELECT c.oid AS relation, row_to_json(r) AS parent
	FROM target c
	JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid
	JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
	JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
	CROSS JOIN LATERAL (
		SELECT n.nspname AS schema, p.relname AS name,
			   quote_ident(n.nspname) || '.' || quote_ident(p.relname) AS qualified,
			   pg_get_expr(self.relpartbound, self.oid) AS bounds
		FROM pg_catalog.pg_class self WHERE self.oid = c.oid AND self.relispartition
	) r
), part_in AS (
	SELECT c.oid AS relation,
		   CASE k.partstrat WHEN 'r' THEN 'range' WHEN 'l' THEN 'list' WHEN 'h' THEN 'hash' END
			   AS strategy,
		   pg_get_partkeydef(c.oid) AS key,
		   (SELECT json_agg(row_to_json(r) ORDER BY r.schema COLLATE "C", r.name COLLATE "C")
			FROM (
				SELECT n.nspname::text AS schema, p.relname::text AS name,
					   quote_ident(n.nspname) || '.' || quote_ident(p.relname) AS qualified,
					   pg_get_expr(p.relpartbound, p.oid) AS bounds,
					   CASE p.relkind
						   WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table'
						   ELSE 'table'
					   END AS kind
				FROM pg_catalog.pg_inherits i
				JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid
				JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
				WHERE i.inhparent = c.oid AND p.relispartition
			) r) AS partitions
	FROM target c
	JOIN pg_catalog.pg_partitioned_table k ON k.partrelid = c.oid
)
-- end

-- The same for 9.6, which has no declarative partitioning.
-- embed: describe_no_partitions
part_of AS (
	SELECT NULL::oid AS relation, NULL::json AS parent WHERE false
), part_in AS (
	SELECT NULL::oid AS relation, NULL::text AS strategy, NULL::text AS key,
		   NULL::json AS partitions
	WHERE false
)
-- end

-- All about relations; "WITH RECURSIVE", one of the two texts above and a comma come before it. $1
-- the relation's oid, or 0 for the one that `resolve` has found, or NULL for all of $2; $2 a schema,
-- letter by letter, or NULL for all but the system's; $3 the type table (wire/types.def) as
-- [{"oid":16,"arrow":"b","flink":"BOOLEAN","extension":""},...]. Rows: (describe json), sorted by
-- schema and name.
-- embed: describe
target AS (
	SELECT c.oid, c.relname, c.relnamespace, n.nspname, c.relkind, c.relpersistence, c.relowner,
		   c.reltuples, c.relpages, c.reltoastrelid, c.relam, c.relreplident, c.relrowsecurity,
		   c.relforcerowsecurity, c.relhasrules, c.relispopulated,
		   coalesce((to_jsonb(c) ->> 'relispartition')::boolean, false) AS is_partition
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	CROSS JOIN LATERAL (
		SELECT CASE
				   -- The planner looks at the setting in any case, and anybody may have set it to anything.
				   WHEN $1::oid = 0 THEN coalesce(least(substring(
					   current_setting('penstock_catalog.relation', true) FROM '^[0-9]{1,10}$')::bigint,
					   4294967295), 0)::oid
				   ELSE $1::oid
			   END AS oid) wanted
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
		-- One relation is an index's matter, so that the planner counts on one.
		AND c.oid >= coalesce(wanted.oid, 0) AND c.oid <= coalesce(wanted.oid, 4294967295)
		-- Not one that was dropped behind the snapshot: what prints its parts would not find it.
		AND has_table_privilege(c.oid, 'SELECT') IS NOT NULL
		AND CASE
				WHEN wanted.oid IS NOT NULL THEN true
				WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN false
				WHEN $2::text IS NOT NULL THEN n.nspname = $2::text
				ELSE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
			END
), map AS (
	SELECT m.oid, m.arrow, m.flink, m.extension
	FROM json_to_recordset($3::json) AS m(oid oid, arrow text, flink text, extension text)
), domains AS (
	-- Each step of a domain over a domain; the last typmod given is the one that holds.
	SELECT t.oid, t.typbasetype AS base, t.typtypmod AS typmod
	FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
	UNION ALL
	SELECT d.oid, t.typbasetype, t.typtypmod
	FROM domains d JOIN pg_catalog.pg_type t ON t.oid = d.base WHERE t.typtype = 'd'
), typ AS (
	-- Every type with its base type (itself, but for domains). domain_typmod is NULL for no domain.
	-- An array is what some type names as its array: int2vector and the like are none.
	SELECT t.oid, t.typname, t.typnamespace, t.typtype, b.oid AS base, b.typname AS base_name,
		   d.typmod AS domain_typmod, b.typtype AS base_typtype, nullif(b.typrelid, 0) AS fields_of,
		   e.oid AS elem
	FROM pg_catalog.pg_type t
	LEFT JOIN (SELECT d.* FROM domains d JOIN pg_catalog.pg_type last ON last.oid = d.base
			   WHERE last.typtype <> 'd') d ON d.oid = t.oid
	JOIN pg_catalog.pg_type b ON b.oid = coalesce(d.base, t.oid)
	LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem AND e.typarray = b.oid
), tree AS (
	-- Columns, and below each what its type is made of: the element of an array, the fields of a
	-- composite. A composite type cannot hold itself, so this ends.
	SELECT a.attrelid AS relation, ARRAY[a.attnum::int] AS path, 'column' AS part,
		   a.attname::text AS name, a.atttypid AS typid, a.atttypmod AS typmod,
		   a.attcollation AS collation,
		   -- Rows from before a NOT NULL constraint that is NOT VALID (18 and newer) may hold NULL.
		   a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint v
										WHERE v.conrelid = c.oid AND v.contype = 'n'
											AND NOT v.convalidated AND a.attnum = ANY (v.conkey))
			   AS not_null,
		   nullif(j.a ->> 'attgenerated', '') AS generated,
		   nullif(j.a ->> 'attidentity', '') AS identity
	FROM target c
	JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	CROSS JOIN LATERAL (SELECT to_jsonb(a) AS a OFFSET 0) j
	UNION ALL
	SELECT n.relation, n.path || child.position, child.part, child.name, child.typid, child.typmod,
		   child.collation, NULL, NULL, NULL
	FROM tree n
	JOIN typ t ON t.oid = n.typid
	CROSS JOIN LATERAL (
		SELECT 0 AS position, 'element' AS part, NULL::text AS name, t.elem AS typid,
			   coalesce(t.domain_typmod, n.typmod) AS typmod, n.collation AS collation
		WHERE t.elem IS NOT NULL
		UNION ALL
		SELECT a.attnum::int, 'field', a.attname::text, a.atttypid, a.atttypmod, a.attcollation
		FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = t.fields_of AND a.attnum > 0 AND NOT a.attisdropped
	) child
), mapped AS (
	-- leaf: the type whose Arrow and Flink form counts, an array's element or the type itself.
	SELECT n.*, t.typtype, t.base, t.base_name, t.base_typtype, t.elem, t.fields_of, t.typname,
		   t.typnamespace, coalesce(t.domain_typmod, n.typmod) AS base_typmod, l.leaf_typmod,
		   m.extension, m.arrow AS map_arrow, m.flink AS map_flink,
		   CASE WHEN m.arrow = 'd:' AND l.leaf_typmod >= 4
			   THEN ((l.leaf_typmod - 4) >> 16) & 65535 END AS digits,
		   -- Eleven bits with a sign since 15; before, scales were 0 to 1000: the same bits.
		   CASE WHEN m.arrow = 'd:' AND l.leaf_typmod >= 4
			   THEN (((l.leaf_typmod - 4) & 2047) # 1024) - 1024 END AS scale
	FROM tree n
	JOIN typ t ON t.oid = n.typid
	LEFT JOIN typ e ON e.oid = t.elem
	CROSS JOIN LATERAL (
		SELECT coalesce(e.base, t.base) AS leaf,
			   coalesce(e.domain_typmod, t.domain_typmod, n.typmod) AS leaf_typmod
	) l
	LEFT JOIN map m ON m.oid = l.leaf
), forms AS (
	SELECT m.*,
		   CASE
			   WHEN m.map_arrow IS NULL THEN 'u'
			   WHEN m.map_arrow <> 'd:' THEN m.map_arrow
			   WHEN m.digits <= 38 AND m.scale BETWEEN 0 AND m.digits
				   THEN format('d:%s,%s', m.digits, m.scale)
			   ELSE 'u'
		   END AS leaf_arrow,
		   CASE
			   WHEN m.map_flink IS NULL THEN 'STRING'
			   WHEN m.map_arrow = 'd:' AND m.digits IS NULL THEN 'DECIMAL(38,18)'
			   WHEN m.map_arrow = 'd:' AND m.digits <= 38 AND m.scale BETWEEN 0 AND m.digits
				   THEN format('DECIMAL(%s,%s)', m.digits, m.scale)
			   WHEN m.map_arrow = 'd:' THEN 'STRING'
			   WHEN m.map_flink LIKE '%(n)' AND m.leaf_typmod > 4
				   THEN replace(m.map_flink, '(n)', format('(%s)', m.leaf_typmod - 4))
			   WHEN m.map_flink LIKE '%(n)' THEN 'STRING'
			   ELSE replace(m.map_flink, '(p)',
							format('(%s)', CASE WHEN m.leaf_typmod >= 0 THEN m.leaf_typmod ELSE 6 END))
		   END AS leaf_flink
	FROM mapped m
), shapes AS (
	SELECT f.relation, f.path, f.part, f.name, f.typid, f.fields_of, f.elem, f.not_null,
		   f.generated, f.identity,
		   row_number() OVER (PARTITION BY f.relation, f.path[1:array_length(f.path, 1) - 1]
							  ORDER BY f.path) AS place,
		   format_type(f.typid, f.typmod) AS type,
		   CASE
			   WHEN f.elem IS NOT NULL THEN 'array'
			   ELSE CASE f.base_typtype
						WHEN 'b' THEN 'base' WHEN 'c' THEN 'composite' WHEN 'e' THEN 'enum'
						WHEN 'r' THEN 'range' WHEN 'm' THEN 'multirange' ELSE 'pseudo'
					END
		   END AS kind,
		   format_type(f.base, f.base_typmod) AS base_type,
		   CASE WHEN f.elem IS NOT NULL AND f.map_arrow IS NOT NULL THEN '+l'
				WHEN f.elem IS NOT NULL THEN 'u' ELSE f.leaf_arrow END AS arrow,
		   CASE WHEN f.elem IS NULL THEN nullif(f.extension, '') END AS arrow_extension,
		   CASE WHEN f.elem IS NOT NULL AND f.map_arrow IS NOT NULL
					THEN format('ARRAY<%s>', f.leaf_flink)
				WHEN f.elem IS NOT NULL THEN 'STRING' ELSE f.leaf_flink END AS flink,
		   CASE WHEN f.typtype = 'd' THEN
			   (SELECT row_to_json(d) FROM (
					SELECT (SELECT n.nspname FROM pg_catalog.pg_namespace n
							WHERE n.oid = f.typnamespace) AS schema,
						   f.typname AS name, t.typnotnull AS not_null, t.typdefault AS "default",
						   (SELECT json_agg(row_to_json(k) ORDER BY k.name COLLATE "C")
							FROM (SELECT c.conname::text AS name,
										 pg_get_constraintdef(c.oid) AS definition
								  FROM pg_catalog.pg_constraint c
								  WHERE c.contypid = f.typid AND c.contype = 'c') k) AS checks
					FROM pg_catalog.pg_type t WHERE t.oid = f.typid) d)
		   END AS domain,
		   CASE WHEN f.base_typtype = 'e' THEN
			   (SELECT json_agg(l.enumlabel ORDER BY l.enumsortorder)
				FROM pg_catalog.pg_enum l WHERE l.enumtypid = f.base)
		   END AS labels,
		   (SELECT quote_ident(n.nspname) || '.' || quote_ident(o.collname)
			FROM pg_catalog.pg_collation o
			JOIN pg_catalog.pg_namespace n ON n.oid = o.collnamespace
			WHERE o.oid = f.collation AND o.collname <> 'default') AS collation
	FROM forms f
), texts AS (
	-- The tree as text, one piece where a node begins and one where it ends: sorted by path they
	-- are json. A path that goes on sorts after its beginning, and 2147483647 after all that goes
	-- on.
	SELECT s.relation, s.path,
		   CASE WHEN s.place > 1 THEN ',' ELSE '' END
		   || left((CASE s.part
					WHEN 'column' THEN (
						SELECT row_to_json(r) FROM (
							SELECT s.name, s.path[1] AS position, s.type, s.kind, s.base_type,
								   s.arrow, s.arrow_extension, s.flink, s.not_null,
								   CASE WHEN s.generated IS NULL THEN v.expression END AS "default",
								   CASE s.generated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual'
									   END AS generated,
								   CASE WHEN s.generated IS NOT NULL THEN v.expression END
									   AS generation_expression,
								   CASE s.identity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default'
									   END AS identity,
								   s.collation,
								   (SELECT e.description FROM pg_catalog.pg_description e
									WHERE e.objoid = s.relation
										AND e.classoid = 'pg_catalog.pg_class'::regclass
										AND e.objsubid = s.path[1]) AS comment,
								   s.domain, s.labels,
								   array_to_json(array_remove(ARRAY[
									   CASE WHEN has_column_privilege(s.relation, s.path[1]::int2,
																	  'SELECT') THEN 'select' END,
									   CASE WHEN has_column_privilege(s.relation, s.path[1]::int2,
																	  'INSERT') THEN 'insert' END,
									   CASE WHEN has_column_privilege(s.relation, s.path[1]::int2,
																	  'UPDATE') THEN 'update' END],
									   NULL)) AS privileges
							FROM (SELECT 1) one
							LEFT JOIN LATERAL (
								SELECT pg_get_expr(d.adbin, d.adrelid) AS expression
								FROM pg_catalog.pg_attrdef d
								WHERE d.adrelid = s.relation AND d.adnum = s.path[1]) v ON true
						) r)
					WHEN 'field' THEN (
						SELECT row_to_json(r) FROM (
							SELECT s.name, s.type, s.kind, s.base_type, s.arrow, s.arrow_extension,
								   s.flink, s.collation, s.domain, s.labels) r)
					ELSE (
						SELECT row_to_json(r) FROM (
							SELECT s.type, s.kind, s.base_type, s.arrow, s.arrow_extension, s.flink,
								   s.domain, s.labels) r)
				   END)::text, -1)
		   || CASE WHEN s.elem IS NOT NULL THEN ',"element":'
				   WHEN s.fields_of IS NOT NULL THEN ',"fields":[' ELSE '' END AS piece
	FROM shapes s
	UNION ALL
	SELECT s.relation, s.path || 2147483647,
		   CASE WHEN s.fields_of IS NOT NULL AND s.elem IS NULL THEN ']}' ELSE '}' END
	FROM shapes s
), columns AS (
	SELECT t.relation, ('[' || string_agg(t.piece, '' ORDER BY t.path) || ']')::json AS columns
	FROM texts t
	GROUP BY t.relation
), indexes AS (
	SELECT i.indrelid AS relation,
		   json_agg(row_to_json(r) ORDER BY i.indisprimary DESC, r.name COLLATE "C") AS indexes
	FROM target t
	JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
	JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
	JOIN pg_catalog.pg_am m ON m.oid = x.relam
	CROSS JOIN LATERAL (
		SELECT coalesce((j.i ->> 'indnkeyatts')::int, i.indnatts) AS nkeys,
			   coalesce((j.i ->> 'indnullsnotdistinct')::boolean, false) AS nulls_not_distinct
		FROM (SELECT to_jsonb(i) AS i) j
	) v
	CROSS JOIN LATERAL (
		SELECT x.relname::text AS name, m.amname AS method, i.indisunique AS "unique",
			   i.indisprimary AS "primary", i.indisvalid AND i.indisready AS valid,
			   i.indimmediate AS immediate,
			   -- What ON CONFLICT can infer: PostgreSQL's manual, INSERT, and what a deferrable
			   -- or partial index, or one of a key WITHOUT OVERLAPS, is refused for at run time.
			   i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate
				   AND NOT i.indisexclusion AND i.indpred IS NULL AND i.indexprs IS NULL AS arbiter,
			   v.nulls_not_distinct,
			   (SELECT json_agg(coalesce(a.attname::text, pg_get_indexdef(i.indexrelid, k.n::int, true))
								ORDER BY k.n)
				FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
				LEFT JOIN pg_catalog.pg_attribute a
					ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0
				WHERE k.n <= v.nkeys) AS columns,
			   (SELECT json_agg(a.attname ORDER BY k.n)
				FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
				JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
				WHERE k.n > v.nkeys) AS include,
			   pg_get_expr(i.indpred, i.indrelid) AS predicate,
			   pg_get_indexdef(i.indexrelid) AS definition
	) r
	GROUP BY i.indrelid
), constraints AS (
	SELECT c.conrelid AS relation,
		   (json_agg(row_to_json(p)) FILTER (WHERE c.contype = 'p') -> 0) AS primary_key,
		   json_agg(row_to_json(f) ORDER BY c.conname::text COLLATE "C")
			   FILTER (WHERE c.contype = 'f') AS foreign_keys,
		   json_agg(row_to_json(k) ORDER BY c.conname::text COLLATE "C")
			   FILTER (WHERE c.contype = 'c') AS checks
	FROM target t
	JOIN pg_catalog.pg_constraint c ON c.conrelid = t.oid AND c.contype IN ('p', 'f', 'c')
	CROSS JOIN LATERAL (
		SELECT json_agg(a.attname ORDER BY u.n) AS names
		FROM unnest(c.conkey) WITH ORDINALITY AS u(attnum, n)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.attnum
	) own
	CROSS JOIN LATERAL (
		SELECT c.conname AS name, own.names AS columns, c.condeferrable AS "deferrable",
			   coalesce((to_jsonb(c) ->> 'conperiod')::boolean, false) AS without_overlaps,
			   (SELECT x.relname FROM pg_catalog.pg_class x WHERE x.oid = c.conindid) AS index
	) p
	CROSS JOIN LATERAL (SELECT c.conname AS name, pg_get_constraintdef(c.oid) AS definition) k
	LEFT JOIN LATERAL (
		SELECT c.conname AS name, own.names AS columns,
			   (SELECT row_to_json(o) FROM (
					SELECT n.nspname AS schema, x.relname AS name,
						   quote_ident(n.nspname) || '.' || quote_ident(x.relname) AS qualified,
						   (SELECT json_agg(a.attname ORDER BY u.n)
							FROM unnest(c.confkey) WITH ORDINALITY AS u(attnum, n)
							JOIN pg_catalog.pg_attribute a
								ON a.attrelid = c.confrelid AND a.attnum = u.attnum) AS columns
					FROM pg_catalog.pg_class x
					JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
					WHERE x.oid = c.confrelid) o) AS "references",
			   c.condeferrable AS "deferrable", c.convalidated AS valid,
			   pg_get_constraintdef(c.oid) AS definition
		WHERE c.contype = 'f'
	) f ON true
	GROUP BY c.conrelid
), leaves AS (
	-- Where the rows of a relation are: itself, or the partitions below it.
	SELECT t.oid AS relation, t.oid AS leaf, t.relkind FROM target t
	UNION ALL
	SELECT l.relation, i.inhrelid, p.relkind
	FROM leaves l
	JOIN pg_catalog.pg_inherits i ON i.inhparent = l.leaf
	JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid
	WHERE l.relkind = 'p'
), sizes AS (
	SELECT l.relation, sum(e.rows)::bigint AS rows,
		   sum(e.pages)::bigint * current_setting('block_size')::bigint AS bytes
	FROM leaves l
	JOIN pg_catalog.pg_class c ON c.oid = l.leaf
	LEFT JOIN pg_catalog.pg_class o ON o.oid = c.reltoastrelid
	CROSS JOIN LATERAL (
		SELECT CASE
				   WHEN c.relkind NOT IN ('r', 'm', 'f') OR c.reltuples < 0 THEN NULL
				   -- Before 14 the server wrote 0 for "never counted".
				   WHEN c.reltuples = 0 AND c.relpages = 0
					   AND current_setting('server_version_num')::int < 140000 THEN NULL
				   ELSE c.reltuples::numeric
			   END AS rows,
			   CASE WHEN c.relkind IN ('r', 'm') THEN c.relpages::numeric + coalesce(o.relpages, 0)
				   END AS pages
	) e
	GROUP BY l.relation
)
SELECT (SELECT row_to_json(r) FROM (
			SELECT c.nspname AS schema, c.relname AS name,
				   quote_ident(c.nspname) || '.' || quote_ident(c.relname) AS qualified,
				   CASE c.relkind
					   WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
					   WHEN 'm' THEN 'materialized view' ELSE 'foreign table'
				   END AS kind,
				   c.oid::text AS oid,
				   CASE c.relpersistence
					   WHEN 'p' THEN 'permanent' WHEN 'u' THEN 'unlogged' ELSE 'temporary'
				   END AS persistence,
				   pg_get_userbyid(c.relowner) AS owner,
				   (SELECT e.description FROM pg_catalog.pg_description e
					WHERE e.objoid = c.oid AND e.classoid = 'pg_catalog.pg_class'::regclass
						AND e.objsubid = 0) AS comment,
				   z.rows, z.bytes,
				   coalesce(k.columns, '[]'::json) AS columns,
				   t.primary_key,
				   coalesce(x.indexes, '[]'::json) AS indexes,
				   coalesce(t.foreign_keys, '[]'::json) AS foreign_keys,
				   coalesce(t.checks, '[]'::json) AS checks,
				   CASE c.relreplident
					   WHEN 'd' THEN 'default' WHEN 'f' THEN 'full' WHEN 'i' THEN 'index'
					   ELSE 'nothing'
				   END AS replica_identity,
				   (SELECT o.relname FROM pg_catalog.pg_index i
					JOIN pg_catalog.pg_class o ON o.oid = i.indexrelid
					WHERE i.indrelid = c.oid AND i.indisreplident) AS replica_identity_index,
				   (SELECT row_to_json(p) FROM (
						SELECT g.strategy, g.key, coalesce(g.partitions, '[]'::json) AS partitions
					) p WHERE g.relation IS NOT NULL) AS partitioning,
				   h.parent AS partition_of,
				   coalesce((
					   SELECT json_agg(quote_ident(n.nspname) || '.' || quote_ident(p.relname)
									   ORDER BY i.inhseqno)
					   FROM pg_catalog.pg_inherits i
					   JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
					   JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
					   WHERE i.inhrelid = c.oid AND NOT c.is_partition), '[]'::json) AS inherits,
				   coalesce((
					   SELECT json_agg(quote_ident(n.nspname) || '.' || quote_ident(p.relname)
									   ORDER BY n.nspname::text COLLATE "C",
												p.relname::text COLLATE "C")
					   FROM pg_catalog.pg_inherits i
					   JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid
					   JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
					   WHERE i.inhparent = c.oid AND c.relkind <> 'p'), '[]'::json) AS inherited_by,
				   (SELECT row_to_json(s) FROM (
						SELECT c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
							   row_security_active(c.oid) AS active) s) AS row_security,
				   coalesce((
					   SELECT json_agg(row_to_json(g) ORDER BY g.name COLLATE "C")
					   FROM (SELECT g.tgname::text AS name, g.tgenabled <> 'D' AS enabled,
									pg_get_triggerdef(g.oid) AS definition
							 FROM pg_catalog.pg_trigger g
							 WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) g), '[]'::json)
					   AS triggers,
				   coalesce((
					   SELECT json_agg(w.rulename ORDER BY w.rulename::text COLLATE "C")
					   FROM pg_catalog.pg_rewrite w
					   WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN'), '[]'::json) AS rules,
				   (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = c.relam) AS access_method,
				   (SELECT f.srvname FROM pg_catalog.pg_foreign_table ft
					JOIN pg_catalog.pg_foreign_server f ON f.oid = ft.ftserver
					WHERE ft.ftrelid = c.oid) AS server,
				   CASE WHEN c.relkind = 'm' THEN c.relispopulated END AS populated,
				   array_to_json(ARRAY(
					   SELECT p FROM unnest('{select,insert,update,delete,truncate}'::text[]) AS p
					   WHERE has_table_privilege(c.oid, p))) AS privileges
		) r) AS describe
FROM target c
LEFT JOIN columns k ON k.relation = c.oid
LEFT JOIN constraints t ON t.relation = c.oid
LEFT JOIN indexes x ON x.relation = c.oid
LEFT JOIN sizes z ON z.relation = c.oid
LEFT JOIN part_in g ON g.relation = c.oid
LEFT JOIN part_of h ON h.relation = c.oid
ORDER BY c.nspname::text COLLATE "C", c.relname::text COLLATE "C"
-- end

-- Refuses what is no table or view; kind is its relkind.
-- piece: check_kind
	IF kind IS NULL THEN
		RAISE undefined_table USING MESSAGE = format('there is no relation with OID %s', $1::oid);
	ELSIF kind NOT IN ('r', 'p', 'v', 'm', 'f') THEN
		RAISE wrong_object_type USING MESSAGE = format('%s is %s, not a table or view', $1,
			CASE
				WHEN kind IN ('i', 'I') THEN 'an index'
				WHEN kind = 'S' THEN 'a sequence'
				WHEN kind = 'c' THEN 'a composite type'
				ELSE 'an internal relation'
			END);
	END IF;
-- end

-- The end of a loop of tries, which the answer leaves.
-- piece: or_again
			EXIT;
		EXCEPTION WHEN internal_error THEN
			IF try = 5 THEN
				RAISE;
			END IF;
		END;
	END LOOP;
-- end

-- A plan of `describe` takes as long as running it, and is the same for every relation: it is made once a session.
-- A relation that is dropped while its parts are printed is the server's internal error: the next try leaves it
-- out. Subtransactions are why neither function is for parallel workers.
-- install
CREATE FUNCTION penstock.describe(relation regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE COST 10000
SET search_path = pg_catalog, pg_temp
SET jit = off
SET plan_cache_mode = force_generic_plan
SET datestyle = iso, mdy
SET intervalstyle = postgres
SET timezone = utc
AS $penstock$
#variable_conflict use_column
DECLARE
	kind constant "char" := (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = $1);
	types_of_wire constant json :=
-- types
	;
	answer json;
BEGIN
-- text: check_kind
	FOR try IN 1 .. 5 LOOP
		BEGIN
			WITH RECURSIVE
-- text: describe_partitions
			,
-- text: describe $1, NULL, types_of_wire
			INTO answer;
-- text: or_again
	IF answer IS NULL THEN
		RAISE undefined_table USING MESSAGE = format('there is no relation with OID %s', $1::oid);
	END IF;
	RETURN answer::jsonb;
END
$penstock$;

COMMENT ON FUNCTION penstock.describe(regclass) IS 'all about a relation';

CREATE FUNCTION penstock.catalog() RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 100 COST 100000
SET search_path = pg_catalog, pg_temp
SET jit = off
SET datestyle = iso, mdy
SET intervalstyle = postgres
SET timezone = utc
AS $penstock$
#variable_conflict use_column
DECLARE
	types_of_wire constant json :=
-- types
	;
	answers json[];
BEGIN
	FOR try IN 1 .. 5 LOOP
		BEGIN
			answers := ARRAY(
			WITH RECURSIVE
-- text: describe_partitions
			,
-- text: describe NULL, NULL, types_of_wire
			);
-- text: or_again
	RETURN QUERY SELECT u.answer::jsonb FROM unnest(answers) WITH ORDINALITY AS u(answer, place) ORDER BY u.place;
END
$penstock$;

COMMENT ON FUNCTION penstock.catalog() IS
'all about every relation but the system''s and those in schemas that the role may not use';
-- end

-- Which types the server has and a column may have. $1 a json array of type names without modifiers,
-- null for "not asked". Runs under the caller's search_path. Rows: (known boolean) in order.
-- embed: known_types
SELECT COALESCE((
		   SELECT t.typtype OPERATOR(pg_catalog.<>) 'p' AND t.typisdefined
		   FROM pg_catalog.pg_type t
		   WHERE t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regtype(a.name)::pg_catalog.oid), false)
	   AS known
FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) WITH ORDINALITY AS a(name, place)
ORDER BY a.place
-- end
