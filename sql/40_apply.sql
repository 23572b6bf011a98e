-- 40_apply.sql - the statements that bring rows into a table by its key: what the sink runs.
--
-- The two texts are the sink's questions about its target (bridge/src/sink_plan.c). They run under the
-- caller's search_path there, so everything in them is qualified.

-- The types $1 (oids): their array types; the input function of those that a cast from text would read
-- otherwise (xml, citext ...: a cast with a function of its own), with the number of its arguments and the
-- second of them; the delimiter between an array's elements.
-- embed: target_types
SELECT t.oid, t.typarray AS array_type,
	   CASE WHEN p.prorettype OPERATOR(pg_catalog.=) t.oid
				AND p.pronargs OPERATOR(pg_catalog.<>) 2
				AND EXISTS (SELECT FROM pg_catalog.pg_cast c
							WHERE c.castsource OPERATOR(pg_catalog.=) 25::pg_catalog.oid
								AND c.casttarget OPERATOR(pg_catalog.=) t.oid
								AND c.castmethod OPERATOR(pg_catalog.=) 'f')
		   THEN pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.',
								  pg_catalog.quote_ident(p.proname)) END AS input,
	   p.pronargs AS input_nargs,
	   CASE WHEN t.typelem OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN t.typelem ELSE t.oid END
		   AS input_oid,
	   t.typdelim
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.typinput
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
-- end

-- Every unique index of the relation $1, one row for each of its key columns, the primary key first. fault
-- says why ON CONFLICT would not take it, '' is none; attnum is 0 for an expression. How it compares:
-- operator (behind a cast of the left side, where it wants one), collate clause or '', whether its collation is deterministic and its operator class one whose
-- equality is the type's own. mend, of a deferrable one, is the statement that makes another of it, else '':
-- ON CONFLICT infers every unique index on the columns, and one of them that is deferrable is an error at
-- run time.
-- embed: target_indexes
SELECT i.indexrelid AS index, c.relname AS name, i.indexprs IS NOT NULL AS expression,
	   CASE
		   WHEN i.indexprs IS NOT NULL THEN 'is on an expression'
		   WHEN i.indpred IS NOT NULL THEN 'is partial'
		   WHEN NOT i.indimmediate
			   THEN 'is deferrable, which ON CONFLICT refuses, also beside another on these columns'
		   WHEN NOT i.indisvalid THEN 'is not valid: its creation failed or is under way'
		   WHEN am.amname OPERATOR(pg_catalog.<>) 'btree'
			   THEN 'is no btree, as that of a key WITHOUT OVERLAPS: it does not compare by equality'
		   ELSE ''
	   END AS fault,
	   i.indkey[g.k] AS attnum,
	   pg_catalog.concat(
		   -- The operators of enums do not take a domain over one.
		   (WITH RECURSIVE below AS (
				SELECT t.oid, t.typtype, t.typbasetype, t.typname, t.typnamespace
				FROM pg_catalog.pg_type t
				WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid
					AND opc.opcintype OPERATOR(pg_catalog.=) 3500::pg_catalog.oid
				UNION ALL
				SELECT t.oid, t.typtype, t.typbasetype, t.typname, t.typnamespace
				FROM below b
				JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.typbasetype
				WHERE b.typtype OPERATOR(pg_catalog.=) 'd')
			SELECT pg_catalog.concat('::', pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(b.typname), ' ')
			FROM below b
			JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) b.typnamespace
			WHERE b.typtype OPERATOR(pg_catalog.<>) 'd' AND b.oid OPERATOR(pg_catalog.<>) a.atttypid),
		   'OPERATOR(', pg_catalog.quote_ident(opn.nspname), '.', op.oprname, ')') AS operator,
	   CASE WHEN i.indcollation[g.k] OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
				AND i.indcollation[g.k] OPERATOR(pg_catalog.<>) a.attcollation
		   THEN pg_catalog.concat(' COLLATE ', pg_catalog.quote_ident(coln.nspname), '.',
								  pg_catalog.quote_ident(col.collname))
		   ELSE '' END AS collate,
	   coalesce((pg_catalog.to_jsonb(col) OPERATOR(pg_catalog.->>) 'collisdeterministic')
				OPERATOR(pg_catalog.<>) 'false', true) AS deterministic,
	   opc.opcdefault OR opc.opcname OPERATOR(pg_catalog.=) ANY
		   ('{text_pattern_ops,varchar_pattern_ops,bpchar_pattern_ops}'::pg_catalog.name[]) AS bytewise,
	   CASE WHEN NOT i.indimmediate AND i.indisvalid
		   THEN pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I, ADD %s (%s);',
			   (SELECT pg_catalog.format('%I.%I', n.nspname, r.relname)
				FROM pg_catalog.pg_class r
				JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
				WHERE r.oid OPERATOR(pg_catalog.=) i.indrelid),
			   c.relname, CASE WHEN i.indisprimary THEN 'PRIMARY KEY' ELSE 'UNIQUE' END,
			   pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ') OVER (
				   PARTITION BY i.indexrelid ORDER BY g.k
				   ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))
		   ELSE '' END AS mend
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
JOIN pg_catalog.pg_am am ON am.oid OPERATOR(pg_catalog.=) c.relam
CROSS JOIN LATERAL pg_catalog.generate_series(0,
	coalesce((pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) 'indnkeyatts')::pg_catalog.int4,
			 i.indnatts::pg_catalog.int4) OPERATOR(pg_catalog.-) 1) AS g(k)
JOIN pg_catalog.pg_opclass opc ON opc.oid OPERATOR(pg_catalog.=) i.indclass[g.k]
LEFT JOIN pg_catalog.pg_attribute a
	ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND a.attnum OPERATOR(pg_catalog.=) i.indkey[g.k]
LEFT JOIN pg_catalog.pg_amop ao
	ON ao.amopfamily OPERATOR(pg_catalog.=) opc.opcfamily
		AND ao.amopstrategy OPERATOR(pg_catalog.=) 3
		AND ao.amoplefttype OPERATOR(pg_catalog.=) opc.opcintype
		AND ao.amoprighttype OPERATOR(pg_catalog.=) opc.opcintype
LEFT JOIN pg_catalog.pg_operator op ON op.oid OPERATOR(pg_catalog.=) ao.amopopr
LEFT JOIN pg_catalog.pg_namespace opn ON opn.oid OPERATOR(pg_catalog.=) op.oprnamespace
LEFT JOIN pg_catalog.pg_collation col ON col.oid OPERATOR(pg_catalog.=) i.indcollation[g.k]
LEFT JOIN pg_catalog.pg_namespace coln ON coln.oid OPERATOR(pg_catalog.=) col.collnamespace
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND i.indisunique
ORDER BY i.indisprimary DESC, i.indexrelid, g.k
-- end

-- The parts of a statement, from the relation $1, the names of the columns that come as parameters and
-- those of the key. Every check that the sink makes when it opens its target, but for privileges: who
-- makes the text need not be who runs it.
-- piece: apply_declare
	kind constant "char" := (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = $1);
	target text;		-- its name, qualified
	only_target text;	-- the same for UPDATE and DELETE: they must not reach into inheritance children
	ruled boolean;
	found_fault text;
	bad record;
	part record;		-- of the statement
-- end

-- piece: apply_target
	IF $1 IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'relation must not be null';
	END IF;
-- text: check_kind
	SELECT format('%I.%I', n.nspname, c.relname),
		   format('%s%I.%I', CASE WHEN c.relkind = 'r' AND c.relhassubclass THEN 'ONLY ' END, n.nspname, c.relname),
		   c.relhasrules
	INTO target, only_target, ruled
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid = $1;
	IF kind = 'm' THEN
		RAISE feature_not_supported USING
			MESSAGE = format('%s is a materialized view and cannot be written', target),
			HINT = 'Write to the tables it is made of, then REFRESH it.';
	ELSIF kind NOT IN ('r', 'p') THEN
		RAISE feature_not_supported USING
			MESSAGE = format('%s is no table, so rows can only be appended to it', target),
			HINT = 'Write to the table behind it.';
	ELSIF ruled THEN
		RAISE feature_not_supported USING
			MESSAGE = format('%s has rules, which ON CONFLICT does not work with', target),
			HINT = 'Replace the rules by triggers.';
	END IF;
	IF key_names IS NULL THEN
		key_names := ARRAY(
			SELECT a.attname::text
			FROM pg_catalog.pg_constraint p
			CROSS JOIN LATERAL unnest(p.conkey) WITH ORDINALITY AS k(attnum, place)
			JOIN pg_catalog.pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = k.attnum
			WHERE p.conrelid = $1 AND p.contype = 'p'
			ORDER BY k.place);
		IF key_names = '{}' THEN
			RAISE invalid_column_reference USING
				MESSAGE = format('table %s has no primary key', target),
				HINT = 'Name the columns of a unique index as keys.';
		END IF;
	ELSIF cardinality(key_names) = 0 THEN
		RAISE invalid_parameter_value USING MESSAGE = 'keys must name a column at least';
	END IF;
	-- A list, whatever its dimensions.
	key_names := ARRAY(SELECT u.name FROM unnest(key_names) WITH ORDINALITY AS u(name, place) ORDER BY u.place);
-- end

-- Refuses names in given that no column has, that come twice, that are generated or null.
-- piece: apply_check
	SELECT g.name, a.attname, a.attgenerated, g.times,
		   (SELECT o.attname FROM pg_catalog.pg_attribute o
			WHERE o.attrelid = $1 AND o.attnum > 0 AND NOT o.attisdropped AND lower(o.attname) = lower(g.name)
			ORDER BY o.attnum LIMIT 1) AS near
	INTO bad
	FROM (SELECT u.name, u.place, count(*) OVER (PARTITION BY u.name) AS times
		  FROM unnest(given) WITH ORDINALITY AS u(name, place)) g
	LEFT JOIN pg_catalog.pg_attribute a
		ON a.attrelid = $1 AND a.attname::text = g.name AND a.attnum > 0 AND NOT a.attisdropped
	WHERE g.name IS NULL OR a.attname IS NULL OR a.attgenerated <> '' OR g.times > 1
	ORDER BY g.place
	LIMIT 1;
	IF FOUND AND bad.name IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'the name of a column must not be null';
	ELSIF FOUND AND bad.attname IS NULL THEN
		RAISE undefined_column USING
			MESSAGE = format('table %s has no column "%s"', target, bad.name),
			HINT = CASE WHEN bad.near IS NULL THEN 'penstock.describe lists its columns.'
				ELSE format('Names are exact; there is "%s".', bad.near) END;
	ELSIF FOUND AND bad.attgenerated <> '' THEN
		RAISE generated_always USING
			MESSAGE = format('column "%s" of table %s is generated and cannot be written', bad.name, target),
			HINT = 'Leave the column out: the server computes it.';
	ELSIF FOUND AND bad.times > 1 THEN
		RAISE duplicate_column USING MESSAGE = format('column "%s" is given twice', bad.name);
	END IF;
-- end

-- The pieces of the statement whose parameters are the columns given, in that order. The key's columns
-- are matched as the first index on exactly them compares; without one part.proved is NULL.
-- piece: apply_parts
	WITH RECURSIVE columns AS (
		SELECT g.place, a.attnum, '"' || replace(a.attname, '"', '""') || '"' AS ident, a.attidentity AS identity, a.atttypid,
			   array_position(key_names, g.name) AS key
		FROM unnest(given) WITH ORDINALITY AS g(name, place)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = $1 AND a.attname::text = g.name AND a.attnum > 0
	), bases AS (
		SELECT c.place, c.atttypid AS type FROM columns c
		UNION ALL
		SELECT b.place, t.typbasetype
		FROM bases b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype = 'd'
	), forms AS (
		-- unnest would flatten an array and split a composite: with types that have no array they travel as
		-- text. A cast with the column's typmod would cut silently, so there is none.
		SELECT b.place, format('%I.%I', n.nspname, t.typname) AS bare, y.*,
			   y.array_type = 0 OR t.typtype = 'c'
				   OR t.typlen = -1 AND t.typelem <> 0 AND t.typoutput = 'pg_catalog.array_out'::regproc AS as_text
		FROM bases b
		JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype <> 'd'
		JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
		JOIN (
-- text: target_types ARRAY(SELECT u.type FROM bases u)
		) y ON y.oid = b.type
	), vals AS (
		SELECT f.place,
			   format('pg_catalog.unnest($%s::%s[])', f.place,
					  CASE WHEN f.as_text THEN 'pg_catalog.text' ELSE f.bare END) AS source,
			   CASE
				   WHEN NOT f.as_text THEN format('r.c%s', f.place)
				   WHEN f.input IS NULL THEN format('CAST(r.c%s AS %s)', f.place, f.bare)
				   WHEN f.input_nargs = 1 THEN format('%s(pg_catalog.textout(r.c%s))', f.input, f.place)
				   ELSE format('%s(pg_catalog.textout(r.c%s), %s::pg_catalog.oid, -1)', f.input, f.place, f.input_oid)
			   END AS value
		FROM forms f
	), indexes AS (
		SELECT x.*, array_agg(x.attnum) OVER (PARTITION BY x.index)
				   @> (SELECT array_agg(c.attnum) FROM columns c WHERE c.key IS NOT NULL)
				   AND count(*) OVER (PARTITION BY x.index) = cardinality(key_names) AS covers
		FROM (
-- text: target_indexes $1
		) x
	), chosen AS (
		SELECT i.* FROM indexes i
		WHERE i.index = (SELECT o.index FROM indexes o
						 JOIN pg_catalog.pg_index p ON p.indexrelid = o.index
						 WHERE o.covers AND o.fault = ''
						 ORDER BY p.indisprimary DESC, o.index LIMIT 1)
	), matches AS (
		SELECT c.key, c.place, c.ident, i.operator, i.collate
		FROM columns c JOIN chosen i ON i.attnum = c.attnum
	)
	SELECT (SELECT string_agg(format('%I', u.name), ', ' ORDER BY u.place)
			FROM unnest(key_names) WITH ORDINALITY AS u(name, place)) AS key_hint,
		   (SELECT string_agg(c.ident, ', ' ORDER BY c.place) FROM columns c) AS columns,
		   (SELECT format(' FROM ROWS FROM (%s) AS r(%s)', string_agg(v.source, ', ' ORDER BY v.place),
						  string_agg(format('c%s', v.place), ', ' ORDER BY v.place)) FROM vals v) AS source,
		   (SELECT string_agg(v.value, ', ' ORDER BY v.place) FROM vals v) AS values,
		   (SELECT string_agg(format('%s AS c%s', v.value, v.place), ', ' ORDER BY v.place) FROM vals v) AS named,
		   (SELECT string_agg(format('v.c%s', v.place), ', ' ORDER BY v.place) FROM vals v) AS again,
		   (SELECT bool_or(c.identity <> '') FROM columns c) AS overriding,
		   (SELECT string_agg(format('%s = EXCLUDED.%s', c.ident, c.ident), ', ' ORDER BY c.place)
			FROM columns c WHERE c.key IS NULL AND c.identity <> 'a') AS set_excluded,
		   (SELECT string_agg(format('%s = v.c%s', c.ident, c.place), ', ' ORDER BY c.place)
			FROM columns c WHERE c.key IS NULL AND c.identity <> 'a') AS set_values,
		   (SELECT string_agg(m.ident, ', ' ORDER BY m.key) FROM matches m) AS proved,
		   (SELECT string_agg(format('v.c%s', m.place), ', ' ORDER BY m.key) FROM matches m) AS keys,
		   (SELECT string_agg(format('t.%s %s v.c%s%s', m.ident, m.operator, m.place, m.collate), ' AND ' ORDER BY m.key)
			FROM matches m) AS match,
		   (SELECT string_agg(format('u.c%s %s v.c%s%s', m.place, m.operator, m.place, m.collate), ' AND ' ORDER BY m.key)
			FROM matches m) AS match_done,
		   -- INSERT checks NOT NULL before it looks for a conflict.
		   EXISTS (SELECT FROM pg_catalog.pg_attribute a
				   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull
					   AND NOT a.atthasdef AND a.attidentity = ''
					   AND a.attname::text <> ALL (given)) AS update_first,
		   (SELECT format('The unique index "%s" %s.', i.name, i.fault) FROM indexes i
			WHERE i.fault <> '' AND (i.covers OR i.expression)
			ORDER BY i.covers DESC, i.mend DESC, i.index LIMIT 1) AS fault,
		   (SELECT i.mend FROM indexes i WHERE i.covers AND i.mend <> '' ORDER BY i.index LIMIT 1) AS mend
	INTO part;
	IF part.proved IS NULL OR part.mend IS NOT NULL THEN
		found_fault := coalesce(part.fault, 'An upsert finds its rows by a unique index that is immediate, valid and neither partial nor on an expression.');
		RAISE invalid_column_reference USING
			MESSAGE = format('table %s has no unique index on exactly (%s) that an upsert can use', target, part.key_hint),
			DETAIL = found_fault,
			HINT = coalesce(part.mend, format('CREATE UNIQUE INDEX ON %s (%s);', target, part.key_hint));
	END IF;
-- end

-- install
CREATE FUNCTION penstock.upsert_sql(relation regclass, columns text[] DEFAULT NULL, keys text[] DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 10000
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $penstock$
#variable_conflict use_column
DECLARE
	key_names text[] := $3;
	given text[];
-- text: apply_declare
	name text;
	conflict text;
BEGIN
-- text: apply_target
	given := key_names;
-- text: apply_check
	given := coalesce($2, ARRAY(
		SELECT a.attname::text FROM pg_catalog.pg_attribute a
		WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
		ORDER BY a.attnum));
-- text: apply_check
	FOREACH name IN ARRAY key_names LOOP
		IF name <> ALL (given) THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('key column "%s" of table %s is not among the columns given', name, target),
				HINT = 'Give every column of the key, or name another key.';
		END IF;
	END LOOP;
-- text: apply_parts
	conflict := format(' ON CONFLICT (%s) DO %s', part.proved,
		coalesce('UPDATE SET ' || part.set_excluded, 'NOTHING'));
	IF NOT part.update_first THEN
		RETURN format('INSERT INTO %s AS t (%s)%s SELECT %s%s%s', target, part.columns,
			CASE WHEN part.overriding THEN ' OVERRIDING SYSTEM VALUE' END, part.values, part.source, conflict);
	END IF;
	-- A column that is left out is NOT NULL without default: update what is there, insert the rest.
	RETURN format('WITH v AS (SELECT %s%s), u AS (%s) INSERT INTO %s AS t (%s)%s SELECT %s FROM v '
		|| 'WHERE NOT EXISTS (SELECT FROM u WHERE %s)%s',
		part.named, part.source,
		CASE WHEN part.set_values IS NOT NULL
			THEN format('UPDATE %s AS t SET %s FROM v WHERE %s RETURNING %s', only_target, part.set_values,
						part.match, part.keys)
			ELSE format('SELECT %s FROM v, %s AS t WHERE %s', part.keys, only_target, part.match) END,
		target, part.columns, CASE WHEN part.overriding THEN ' OVERRIDING SYSTEM VALUE' END, part.again,
		part.match_done, conflict);
END
$penstock$;

COMMENT ON FUNCTION penstock.upsert_sql(regclass, text[], text[]) IS
'the statement that inserts or updates rows by a key; its parameters are one array for each column';

CREATE FUNCTION penstock.delete_sql(relation regclass, keys text[] DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 10000
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $penstock$
#variable_conflict use_column
DECLARE
	key_names text[] := $2;
	given text[];
-- text: apply_declare
BEGIN
-- text: apply_target
	given := key_names;
-- text: apply_check
-- text: apply_parts
	RETURN format('DELETE FROM %s AS t USING (SELECT %s%s) AS v WHERE %s', only_target, part.named,
		part.source, part.match);
END
$penstock$;

COMMENT ON FUNCTION penstock.delete_sql(regclass, text[]) IS
'the statement that deletes rows by a key; its parameters are one array for each column of the key';
-- end
