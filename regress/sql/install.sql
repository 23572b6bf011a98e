-- What CREATE EXTENSION makes and DROP EXTENSION takes away, and who may use it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT library ~ '^\d+\.\d+\.\d+$' AS library, script ~ '^\d+\.\d+$' AS script FROM penstock.version();
SELECT penstock.library_version() = library AS same FROM penstock.version();

-- All of it is in its schema: functions, and the schema itself.
SELECT part COLLATE "C" AS part
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid, pg_describe_object(d.classid, d.objid, d.objsubid) AS part
WHERE e.extname = 'penstock' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
ORDER BY 1;

-- Nobody's rights but the caller's, and what each function promises.
SELECT p.proname, p.prosecdef AS definer, p.provolatile AS volatile, p.proparallel AS parallel, p.proisstrict AS strict,
	has_function_privilege('public', p.oid, 'EXECUTE') AS public
FROM pg_proc p WHERE p.pronamespace = 'penstock'::regnamespace ORDER BY p.proname COLLATE "C";
SELECT has_schema_privilege('public', 'penstock', 'USAGE') AS usage, has_schema_privilege('public', 'penstock', 'CREATE') AS create;
SELECT count(*) AS without_comment FROM pg_proc p
WHERE p.pronamespace = 'penstock'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;

-- Dropped, nothing of it is left; made again, it is the same.
SELECT (SELECT count(*) FROM pg_proc) AS procs, (SELECT count(*) FROM pg_type) AS types,
	(SELECT count(*) FROM pg_namespace) AS schemas, (SELECT count(*) FROM pg_class) AS classes,
	(SELECT count(*) FROM pg_depend) AS depends, (SELECT count(*) FROM pg_init_privs) AS privs,
	(SELECT count(*) FROM pg_description) AS comments \gset
DROP EXTENSION penstock;
SELECT nspname FROM pg_namespace WHERE nspname = 'penstock';
SELECT (SELECT count(*) FROM pg_proc) AS procs2, (SELECT count(*) FROM pg_type) AS types2,
	(SELECT count(*) FROM pg_namespace) AS schemas2, (SELECT count(*) FROM pg_class) AS classes2,
	(SELECT count(*) FROM pg_depend) AS depends2, (SELECT count(*) FROM pg_init_privs) AS privs2,
	(SELECT count(*) FROM pg_description) AS comments2 \gset
CREATE EXTENSION penstock;
DROP EXTENSION penstock;
SELECT (SELECT count(*) FROM pg_proc) = :procs2 AS procs, (SELECT count(*) FROM pg_type) = :types2 AS types,
	(SELECT count(*) FROM pg_class) = :classes2 AS classes, (SELECT count(*) FROM pg_depend) = :depends2 AS depends,
	(SELECT count(*) FROM pg_init_privs) = :privs2 AS privs, (SELECT count(*) FROM pg_description) = :comments2 AS comments;

-- A schema that somebody made before it is not taken for its own.
CREATE SCHEMA penstock;
CREATE EXTENSION penstock;
\echo :LAST_ERROR_SQLSTATE
DROP SCHEMA penstock;
-- It stays where it is.
CREATE EXTENSION penstock SCHEMA public;
\echo :LAST_ERROR_SQLSTATE
CREATE EXTENSION penstock;
ALTER EXTENSION penstock SET SCHEMA public;
\echo :LAST_ERROR_SQLSTATE
SELECT (SELECT count(*) FROM pg_proc) = :procs AS procs, (SELECT count(*) FROM pg_type) = :types AS types,
	(SELECT count(*) FROM pg_class) = :classes AS classes, (SELECT count(*) FROM pg_depend) = :depends AS depends,
	(SELECT count(*) FROM pg_init_privs) = :privs AS privs, (SELECT count(*) FROM pg_description) = :comments AS comments;
-- What others put into the schema is not dropped unasked.
CREATE TABLE penstock.mine (x int);
DROP EXTENSION penstock;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE penstock.mine;

-- Only a superuser may make it.
CREATE ROLE penstock_other;
GRANT CREATE ON DATABASE penstock_regress TO penstock_other;
DROP EXTENSION penstock;
SET ROLE penstock_other;
CREATE EXTENSION penstock;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
CREATE EXTENSION penstock;
REVOKE CREATE ON DATABASE penstock_regress FROM penstock_other;
DROP ROLE penstock_other;
