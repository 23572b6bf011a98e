-- 00_penstock.sql - the extension's head: how the install script begins.

-- The functions that ask the catalog are plpgsql: their texts stand here, where an administrator can read
-- them, a function of SQL cannot raise what a text answers, and C would hide the texts in the library.
-- Each runs with the caller's rights, under search_path = pg_catalog, pg_temp where its text was written for
-- that, and with jit off: catalog queries touch many small tables, and their estimated cost would make the
-- server compile them for seconds where running them takes milliseconds.

-- install
-- The script of an extension is run by CREATE EXTENSION only.
\echo Use "CREATE EXTENSION penstock" to load this file. \quit

-- Made here and not by the control file, so that it is a part of the extension: it goes with it, and one
-- that somebody has made before, to put his own functions into, is an error.
CREATE SCHEMA penstock;
COMMENT ON SCHEMA penstock IS 'functions of the extension penstock';

-- All of it may be called by everybody: it works with the caller's rights and nothing more.
GRANT USAGE ON SCHEMA penstock TO PUBLIC;

CREATE FUNCTION penstock.library_version() RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'penstock_library_version';

COMMENT ON FUNCTION penstock.library_version() IS
'the version of the library file that this session has loaded';

-- A session may have loaded an older library file than this script is made for. An update begins with this too.
DO $penstock$
DECLARE
	script text := (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'penstock');
	library text := penstock.library_version();
BEGIN
	IF (pg_catalog.string_to_array(library, '.')::int[])[1:2]
		OPERATOR(pg_catalog.<) (pg_catalog.string_to_array(script, '.')::int[])[1:2] THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = pg_catalog.format('the script of penstock %s wants the library file of that version, '
										'and this session has loaded that of %s', script, library),
			HINT = pg_catalog.format('Connect anew; if that does not help, install penstock %s or newer '
									 'on the server.', script);
	END IF;
END $penstock$;

CREATE FUNCTION penstock.version(OUT library text, OUT script text)
LANGUAGE sql STABLE PARALLEL SAFE
AS $penstock$
SELECT penstock.library_version(), e.extversion
FROM pg_catalog.pg_extension e
WHERE e.extname OPERATOR(pg_catalog.=) 'penstock'::pg_catalog.name
$penstock$;

COMMENT ON FUNCTION penstock.version() IS
'the versions of the library file and of the script that made these functions';
-- end

-- What a wrapper does with the row "answer" of a text that has sqlstate, message and hint.
-- piece: raise
		IF answer.sqlstate LIKE '01%' THEN
			IF answer.hint IS NULL THEN
				RAISE WARNING USING ERRCODE = answer.sqlstate, MESSAGE = answer.message;
			ELSE
				RAISE WARNING USING ERRCODE = answer.sqlstate, MESSAGE = answer.message, HINT = answer.hint;
			END IF;
			CONTINUE;
		ELSIF answer.hint IS NULL AND answer.sqlstate IS NOT NULL THEN
			RAISE EXCEPTION USING ERRCODE = answer.sqlstate, MESSAGE = answer.message;
		ELSIF answer.sqlstate IS NOT NULL THEN
			RAISE EXCEPTION USING ERRCODE = answer.sqlstate, MESSAGE = answer.message, HINT = answer.hint;
		END IF;
-- end
