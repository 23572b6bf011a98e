-- 00_penstock.sql - the extension's head: how the install script begins.

-- install
-- The script of an extension is run by CREATE EXTENSION only.
\echo Use "CREATE EXTENSION penstock" to load this file. \quit

-- All of it may be called by everybody: it works with the caller's rights and nothing more.
GRANT USAGE ON SCHEMA penstock TO PUBLIC;

CREATE FUNCTION penstock.library_version() RETURNS text
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'penstock_library_version';
-- end
