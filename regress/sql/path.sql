-- Nothing in the caller's path stands in for what is the server's: functions, operators, types and catalogs of the
-- same names, which fail when they are used.
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE SCHEMA trap;
CREATE TABLE trap.t (id int PRIMARY KEY, t text, f float8, d date, u uuid, n numeric, "Ts" timestamptz);
INSERT INTO trap.t SELECT i, 'a' || i, i, date '2020-01-01' + i, md5(i::text)::uuid, i, timestamptz '2020-01-01 00:00+00' FROM generate_series(1, 100) i;
CREATE VIEW trap.v AS SELECT * FROM trap.t;
CREATE FUNCTION trap.sprung(text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trap: %', $1; END $$;
DO $$
DECLARE
	r record;
	n int := 0;
	types regtype[] := '{text,name,int2,int4,int8,oid,bool,"char",json,jsonb,float8,numeric,date,timestamptz,uuid,tid,bpchar}';
BEGIN
	FOR r IN SELECT DISTINCT o.oprname, l AS lefttype, o.oprright::regtype AS righttype, o.oprresult::regtype AS result
		FROM pg_operator o CROSS JOIN LATERAL (SELECT o.oprleft::regtype AS l) x
		WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b' AND l = ANY (types) AND o.oprright = ANY (types) AND o.oprresult = ANY (types) LOOP
		n := n + 1;
		EXECUTE format('CREATE FUNCTION trap.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN PERFORM trap.sprung(%L); END$f$', n, r.lefttype, r.righttype, r.result, r.oprname);
		EXECUTE format('CREATE OPERATOR trap.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = trap.operator_%s)', r.oprname, r.lefttype, r.righttype, n);
	END LOOP;
	FOR r IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, p.prorettype::regtype AS result
		FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset AND p.pronargs BETWEEN 1 AND 3 AND p.provariadic = 0
			AND p.proargtypes::oid[] <@ types::oid[] AND (p.prorettype = ANY (types)) LOOP
		n := n + 1;
		EXECUTE format('CREATE FUNCTION trap.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$BEGIN PERFORM trap.sprung(%L); END$f$', r.proname, r.arguments, r.result, r.proname);
	END LOOP;
	PERFORM set_config('penstock_test.traps', n::text, false);
	FOR r IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v') LOOP
		EXECUTE format('CREATE TEMPORARY TABLE %I (x int)', r.relname);
	END LOOP;
	-- Last, since they hold from here on.
	FOR r IN SELECT y.typname FROM pg_catalog.pg_type y WHERE y.oid = ANY (types) AND y.typname <> 'bpchar' LOOP
		EXECUTE format('CREATE DOMAIN trap.%I AS pg_catalog.%I CHECK (trap.sprung(''a type''))', r.typname, r.typname);
		EXECUTE format('CREATE DOMAIN pg_temp.%I AS pg_catalog.%I CHECK (trap.sprung(''a type''))', r.typname, r.typname);
	END LOOP;
END $$;
SELECT current_setting('penstock_test.traps')::integer > 1000 AS many;
SET search_path = pg_temp, trap, pg_catalog;
-- They are there.
SELECT 1 + 1;
SELECT 'x'::text;
SELECT pg_catalog.count(x) FROM (TABLE pg_class) x;

SELECT pg_catalog.count(x) FROM (SELECT penstock.version()) x;
SELECT pg_catalog.bool_and(x IS NOT NULL) FROM (SELECT penstock.databases()) x;
SELECT pg_catalog.bool_and(x IS NOT NULL) FROM (SELECT penstock.tables()) x;
SELECT pg_catalog.bool_and(x IS NOT NULL) FROM (SELECT penstock.tables('trap')) x;
SELECT pg_catalog.bool_and(x IS NOT NULL) FROM (SELECT penstock.catalog()) x;
SELECT pg_catalog.bool_and(x IS NOT NULL) FROM (SELECT penstock.doctor()) x;
SELECT pg_catalog.bool_and(x IS NOT NULL) FROM (SELECT penstock.grants('write', 'o"dd', 'trap.t')) x;
SELECT pg_catalog.count(x) FROM (SELECT penstock.describe('trap.t')) x;
SELECT pg_catalog.count(x) FROM (SELECT penstock.scan('SELECT * FROM trap.t', text_columns => '{*}')) x;
SELECT c, pg_catalog.count(x) FROM pg_catalog.unnest('{id,t,f,d,u,n,Ts}'::pg_catalog.varchar[]) c, LATERAL (SELECT penstock.partitions('trap.t', 3, c)) x GROUP BY c ORDER BY c;
SELECT c, pg_catalog.count(x) FROM pg_catalog.unnest('{id,t,f,d,u,n}'::pg_catalog.varchar[]) c, LATERAL (SELECT penstock.partitions('trap.v', 3, c)) x GROUP BY c ORDER BY c;
-- What they give stands as firmly.
SELECT pg_catalog.string_agg(pg_catalog.format('SELECT pg_catalog.count(*) FROM trap.t WHERE %s', condition), ' UNION ALL ') AS pieces
FROM (SELECT condition FROM penstock.partitions('trap.t', 3, 'n') UNION ALL SELECT condition FROM penstock.partitions('trap.t', 3, 't', 'a3', 'a5')
	UNION ALL SELECT condition FROM penstock.partitions('trap.t', 2)) x \gset
SELECT pg_catalog.sum(count) FROM (:pieces) x;
SELECT penstock.upsert_sql('trap.t') AS upsert, penstock.upsert_sql('trap.t', '{id,f}') AS part, penstock.delete_sql('trap.t') AS delete \gset
PREPARE upsert AS :upsert;
EXECUTE upsert('{1}', '{x}', '{1}', '{2020-01-01}', '{00000000-0000-0000-0000-000000000000}', '{1}', '{2020-01-01}');
PREPARE part AS :part;
EXECUTE part('{1}', '{7}');
PREPARE delete AS :delete;
EXECUTE delete('{2}');
SELECT pg_catalog.count(*), pg_catalog.max(f) FROM trap.t;

RESET search_path;
DISCARD TEMP;
DROP SCHEMA trap CASCADE;
