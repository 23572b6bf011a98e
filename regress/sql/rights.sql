-- Every function on every relation of the server, as a role with no rights and as the owner of all: errors are
-- those of the manual.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE penstock_reader;
CREATE SCHEMA rights;
CREATE TABLE rights.t (id int PRIMARY KEY, v text);
CREATE VIEW rights.v AS SELECT * FROM rights.t;
CREATE MATERIALIZED VIEW rights.m AS SELECT * FROM rights.t WITH NO DATA;
CREATE TYPE rights.c AS (a int);
CREATE TEMPORARY TABLE mine (id int PRIMARY KEY);

CREATE FUNCTION rights.answers(OUT call text, OUT state text, OUT calls bigint) RETURNS SETOF record
LANGUAGE plpgsql AS $$
DECLARE
	relation oid;
	query text;
	seen jsonb := '{}';
	result text;
BEGIN
	FOREACH query IN ARRAY ARRAY['describe(%s)', 'upsert_sql(%s)', 'delete_sql(%s)', 'partitions(%s)', 'partitions(%s, 3)',
		'grants(''write'', NULL, %s)', 'upsert_sql(%s, ''{}'', ''{}'')', 'delete_sql(%s, ''{oid}'')', 'partitions(%s, 2, ''oid'')',
		'partitions(%s, 3, ''relname'', ''a'', ''b'', true)'] LOOP
		FOR relation IN SELECT c.oid FROM pg_catalog.pg_class c UNION ALL VALUES (0::oid), (4294967295) LOOP
			BEGIN
				-- Not count(*): a function whose value is not asked for is not called.
				EXECUTE format('SELECT count(x) FROM (SELECT penstock.' || query || ') x', relation);
				result := '00000';
			EXCEPTION WHEN OTHERS THEN
				result := SQLSTATE;
			END;
			seen := jsonb_set(seen, ARRAY[query || ' ' || result], to_jsonb(coalesce((seen->>(query || ' ' || result))::int, 0) + 1));
		END LOOP;
	END LOOP;
	RETURN QUERY SELECT substring(key FROM '^[a-z_]+'), right(key, 5), sum(value::int) FROM jsonb_each_text(seen) GROUP BY 1, 2;
END $$;
GRANT USAGE ON SCHEMA rights TO PUBLIC;

CREATE VIEW rights.documented AS SELECT * FROM (VALUES
	('describe', '{00000,42P01,42809}'::text[]),
	('upsert_sql', '{00000,42P10,42703,22023,42P01,42809,0A000}'),
	('delete_sql', '{00000,42P10,42703,22023,42P01,42809,0A000}'),
	('partitions', '{00000,42501,42P01,42809,42703,0A000}'),
	('grants', '{00000,42P01,42809}')) d(call, states);
GRANT SELECT ON rights.documented TO PUBLIC;

SELECT a.call, a.state FROM rights.answers() a JOIN rights.documented d USING (call) WHERE a.state <> ALL (d.states);
SET ROLE penstock_reader;
SELECT a.call, a.state FROM rights.answers() a JOIN rights.documented d USING (call) WHERE a.state <> ALL (d.states);
SELECT a.call, bool_or(a.state = '00000') AS answers, bool_or(a.state = '42501') AS refusals FROM rights.answers() a GROUP BY a.call ORDER BY 1;
-- Without USAGE on the schema nothing is reached.
RESET ROLE;
REVOKE USAGE ON SCHEMA penstock FROM PUBLIC;
SET ROLE penstock_reader;
SELECT penstock.doctor();
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT USAGE ON SCHEMA penstock TO PUBLIC;
-- A read-only transaction is enough for all of them.
BEGIN READ ONLY;
SELECT count(*) > 0 FROM penstock.catalog();
SELECT count(*) > 0 FROM penstock.doctor();
SELECT count(*) > 0 FROM penstock.partitions('rights.t', 2, 'id');
SELECT penstock.upsert_sql('mine') LIKE 'INSERT INTO pg_temp_%' AS mine;
COMMIT;

DROP TABLE mine;
DROP SCHEMA rights CASCADE;
DROP ROLE penstock_reader;
