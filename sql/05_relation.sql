-- What source and sink need to know of a relation's columns and types. This text is the bridge's own:
-- the extension has no function of it. It runs under the caller's search_path, since that is how a
-- bare table name is found; so every function and operator in it is qualified. It takes no lock: a
-- worker of a read must not wait here for a session that waits for the planner of the read.

-- $1 table name, $2 schema name or NULL: with a schema both names are taken letter by letter, else $1
-- is read as regclass reads it. Or $5 is the OIDs of some relations. Or, for a query's columns, $1 is NULL
-- and $3, $4 are their types and typmods. One row per column in order, relations ascending by OID; a relation
-- without columns gives one row without attname; no relation gives one row without oid.
-- embed: relation
WITH RECURSIVE found AS (
	SELECT c.*, c.oid AS reloid
	FROM pg_catalog.pg_class c
	WHERE c.oid OPERATOR(pg_catalog.=) ANY (COALESCE($5::pg_catalog.oid[], ARRAY[CASE
		WHEN $2::pg_catalog.text IS NULL THEN pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid
		ELSE (SELECT s.oid
			FROM pg_catalog.pg_class s
			JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) s.relnamespace
			WHERE n.nspname OPERATOR(pg_catalog.=) $2::pg_catalog.name AND s.relname OPERATOR(pg_catalog.=) $1::pg_catalog.name)
		END]))
), input AS (
	SELECT f.reloid, f.reloid::pg_catalog.int8 OPERATOR(pg_catalog.*) 65536 OPERATOR(pg_catalog.+) a.attnum AS ord, a.attname, a.attnum, a.atttypid AS typid,
		a.atttypmod AS typmod, a.attnotnull, a.atthasdef, a.attcollation,
		a.attnotnull AND NOT f.relhassubclass
			AND f.relkind OPERATOR(pg_catalog.=) 'r'
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint v
				WHERE v.conrelid OPERATOR(pg_catalog.=) f.reloid AND v.contype OPERATOR(pg_catalog.=) 'n'
				AND NOT v.convalidated
				AND a.attnum OPERATOR(pg_catalog.=) ANY (v.conkey)) AS never_null,
		pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) 'attgenerated' AS attgenerated,
		pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) 'attidentity' AS attidentity
	FROM found f
	JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) f.reloid
	WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
	UNION ALL
	SELECT 0::pg_catalog.oid, q.ord, ''::pg_catalog.name, 0::pg_catalog.int2, q.typid, q.typmod, false, false, 0::pg_catalog.oid, false, '', ''
	FROM ROWS FROM (pg_catalog.unnest($3::pg_catalog.oid[]), pg_catalog.unnest($4::pg_catalog.int4[]))
		WITH ORDINALITY AS q(typid, typmod, ord)
), domains AS (
	SELECT i.ord, i.typid AS base, i.typmod AS base_typmod FROM input i
	UNION ALL
	SELECT d.ord, t.typbasetype, t.typtypmod
	FROM domains d
	JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.base
	WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
), bases AS (
	SELECT d.ord, d.base_typmod, t.oid AS base, t.typname, t.typnamespace, t.typtype, t.typcategory,
		t.typsend, t.typoutput, t.typlen, t.typelem
	FROM domains d
	JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) d.base
	WHERE t.typtype OPERATOR(pg_catalog.<>) 'd'
), elements AS (
	SELECT b.ord, b.typelem AS elem, b.base_typmod AS elem_typmod, b.typelem AS elem_base
	FROM bases b
	WHERE b.typlen OPERATOR(pg_catalog.=) -1::pg_catalog.int2 AND b.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
	AND b.typoutput::pg_catalog.oid OPERATOR(pg_catalog.=) 'pg_catalog.array_out'::pg_catalog.regproc::pg_catalog.oid
	UNION ALL
	SELECT e.ord, e.elem, t.typtypmod, t.typbasetype
	FROM elements e
	JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) e.elem_base
	WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
), element_bases AS (
	SELECT e.ord, e.elem, e.elem_typmod, t.oid AS elem_base, t.typsend
	FROM elements e
	JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) e.elem_base
	WHERE t.typtype OPERATOR(pg_catalog.<>) 'd'
), keys AS (
	SELECT f.reloid, k.attnum, k.place
	FROM found f
	JOIN pg_catalog.pg_constraint c ON c.conrelid OPERATOR(pg_catalog.=) f.reloid AND c.contype OPERATOR(pg_catalog.=) 'p'
	CROSS JOIN LATERAL pg_catalog.unnest(c.conkey) WITH ORDINALITY AS k(attnum, place)
)
SELECT
	f.reloid,
	n.nspname,
	f.relname,
	pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(f.relname)),
	f.relkind,
	f.relpersistence,
	f.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'm']::pg_catalog."char"[]) AND COALESCE((SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid OPERATOR(pg_catalog.=) f.relam), 'heap') OPERATOR(pg_catalog.=) 'heap',
	pg_catalog.row_security_active(f.reloid),
	COALESCE((pg_catalog.to_jsonb(f) OPERATOR(pg_catalog.->>) 'relispartition')::pg_catalog.bool, false),
	f.relhassubclass,
	f.relhastriggers,
	f.relhasrules,
	i.attname,
	i.attnum,
	i.attnotnull,
	i.never_null OR COALESCE(k.place, 0) OPERATOR(pg_catalog.>) 0 AND f.relkind OPERATOR(pg_catalog.=) 'p',
	i.atthasdef AND COALESCE(i.attgenerated, '') OPERATOR(pg_catalog.=) '',
	COALESCE(i.attgenerated, '') OPERATOR(pg_catalog.<>) '',
	COALESCE(i.attidentity, ''),
	i.attcollation,
	COALESCE((SELECT (pg_catalog.to_jsonb(o) OPERATOR(pg_catalog.->>) 'collisdeterministic')::pg_catalog.bool
		FROM pg_catalog.pg_collation o WHERE o.oid OPERATOR(pg_catalog.=) i.attcollation), true),
	COALESCE(k.place, 0),
	pg_catalog.has_column_privilege(f.reloid, i.attnum::pg_catalog.int2, 'SELECT'),
	pg_catalog.has_column_privilege(f.reloid, i.attnum::pg_catalog.int2, 'INSERT'),
	pg_catalog.has_column_privilege(f.reloid, i.attnum::pg_catalog.int2, 'UPDATE'),
	i.typid,
	i.typmod,
	b.base,
	b.base_typmod,
	b.typtype,
	b.typcategory,
	b.typsend::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND (e.elem IS NULL OR e.typsend::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid),
	pg_catalog.format_type(i.typid, i.typmod),
	pg_catalog.concat(pg_catalog.quote_ident(bn.nspname), '.', pg_catalog.quote_ident(b.typname)),
	pg_catalog.concat(pg_catalog.quote_ident(pn.nspname), '.', pg_catalog.quote_ident(p.proname)),
	-- A type may borrow another's function, as refcursor does textout: no call finds that.
	pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AND pg_catalog.has_schema_privilege(pn.oid, 'USAGE') AND (
		p.proargtypes[0] OPERATOR(pg_catalog.=) b.base OR EXISTS (SELECT FROM pg_catalog.pg_type y
			WHERE y.oid OPERATOR(pg_catalog.=) p.proargtypes[0] AND y.typtype OPERATOR(pg_catalog.=) 'p')),
	COALESCE(e.elem, 0::pg_catalog.oid),
	COALESCE(e.elem_base, 0::pg_catalog.oid),
	COALESCE(e.elem_typmod, -1),
	CASE WHEN e.elem IS NOT NULL THEN pg_catalog.format_type(e.elem, CASE WHEN e.elem OPERATOR(pg_catalog.=) e.elem_base THEN e.elem_typmod END) END
FROM (VALUES (1)) AS one(row)
LEFT JOIN found f ON true
LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) f.relnamespace
LEFT JOIN input i ON i.reloid OPERATOR(pg_catalog.=) COALESCE(f.reloid, 0::pg_catalog.oid)
LEFT JOIN bases b ON b.ord OPERATOR(pg_catalog.=) i.ord
LEFT JOIN pg_catalog.pg_namespace bn ON bn.oid OPERATOR(pg_catalog.=) b.typnamespace
LEFT JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) b.typoutput::pg_catalog.oid
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) p.pronamespace
LEFT JOIN element_bases e ON e.ord OPERATOR(pg_catalog.=) i.ord
LEFT JOIN keys k ON k.attnum OPERATOR(pg_catalog.=) i.attnum AND k.reloid OPERATOR(pg_catalog.=) f.reloid
ORDER BY f.reloid, i.ord
-- end

-- How json can hold the values of the types $1 so that they read back: their oid and a letter.
-- t: as the output function's text: a json null inside would be taken for NULL and a json string for its
-- content, a cast to json gives what the input function does not take, and of arrays in arrays or with a
-- delimiter of their own a list does not tell enough. b: as to_json, but for arrays whose lower bound is
-- not 1. j: as to_json.
-- embed: json_forms
WITH RECURSIVE parts(top, part) AS (
	SELECT u.oid, u.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS u(oid)
	UNION
	SELECT p.top, i.part
	FROM parts p
	JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.part
	CROSS JOIN LATERAL (
		SELECT t.typbasetype WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
		UNION ALL
		SELECT t.typelem WHERE t.typlen OPERATOR(pg_catalog.=) -1::pg_catalog.int2
		AND t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
		AND t.typoutput::pg_catalog.oid OPERATOR(pg_catalog.=) 'pg_catalog.array_out'::pg_catalog.regproc::pg_catalog.oid
		UNION ALL
		SELECT a.atttypid FROM pg_catalog.pg_attribute a
		WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND a.attrelid OPERATOR(pg_catalog.=) t.typrelid
	) AS i(part)
), typed AS (
	SELECT p.top, t.oid, t.typelem,
		t.typlen OPERATOR(pg_catalog.=) -1::pg_catalog.int2
		AND t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
		AND t.typoutput::pg_catalog.oid OPERATOR(pg_catalog.=) 'pg_catalog.array_out'::pg_catalog.regproc::pg_catalog.oid AS is_array
	FROM parts p
	JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.part
)
SELECT y.top, CASE
	WHEN pg_catalog.bool_or(y.oid OPERATOR(pg_catalog.=) ANY ('{114,3802}'::pg_catalog.oid[])
		OR y.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND EXISTS (SELECT FROM pg_catalog.pg_cast c
			WHERE c.castsource OPERATOR(pg_catalog.=) y.oid AND c.casttarget OPERATOR(pg_catalog.=) 114::pg_catalog.oid
			AND c.castmethod OPERATOR(pg_catalog.=) 'f')
		-- int2vector and oidvector are lists too, but readers know them; box is the one type of the server's
		-- own that has another delimiter: readers know it.
		OR y.is_array AND EXISTS (SELECT FROM pg_catalog.pg_type e
			WHERE e.oid OPERATOR(pg_catalog.=) y.typelem
			AND (e.typcategory OPERATOR(pg_catalog.=) 'A' AND e.oid OPERATOR(pg_catalog.<>) ALL ('{22,30}'::pg_catalog.oid[])
				OR e.typdelim OPERATOR(pg_catalog.<>) ','
				AND 603::pg_catalog.oid OPERATOR(pg_catalog.<>) ALL (ARRAY[e.oid, e.typbasetype])))) THEN 't'
	WHEN pg_catalog.bool_or(y.oid OPERATOR(pg_catalog.=) 2277::pg_catalog.oid OR y.is_array) THEN 'b'
	ELSE 'j' END
FROM typed y
GROUP BY y.top
-- end

-- Tables and views that a name may have meant: as SQL writes them, and the bare name.
-- embed: relation_names
SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)), c.relname
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f']::pg_catalog."char"[])
AND n.nspname OPERATOR(pg_catalog.!~) '^(pg_|information_schema$)'
ORDER BY pg_catalog.pg_table_is_visible(c.oid) DESC, 1
LIMIT 10000
-- end
