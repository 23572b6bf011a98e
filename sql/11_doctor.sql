-- 11_doctor.sql - what works for this role on this server, and the least rights that a role needs.
-- The rules at the head of 10_catalog.sql hold here too.

-- Checks. $1 the server process as the client was told at login, NULL when unknown; $2 the TLS version
-- of the client's connection, '' for none; $3 'local' when it leaves no machine, else 'remote'; NULL for
-- both is what the server sees. Rows:
-- (feature, check, status ok|reduced|blocked, message, fix), in the order to read them; fix is '' or
-- what mends it, statements ready to run by someone who may. A name in a comment has its control
-- characters as ?, since a line break ends the comment.
-- embed: doctor
WITH me AS (
	SELECT current_user::text AS role, quote_ident(current_user) AS role_sql,
		   current_database()::text AS database, quote_ident(current_database()) AS database_sql,
		   current_setting('server_version_num')::int AS version,
		   split_part(current_setting('server_version'), ' ', 1) AS version_text,
		   pg_is_in_recovery() AS standby, getdatabaseencoding()::text AS encoding,
		   r.oid AS role_oid, r.rolsuper AS super, r.rolreplication AS replicates, r.rolcreatedb AS createdb,
		   r.rolconnlimit AS connections, d.oid AS database_oid
	FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
	WHERE r.rolname = current_user AND d.datname = current_database()
), client AS (
	SELECT coalesce($2::text, (SELECT s.version FROM pg_catalog.pg_stat_ssl s
							   WHERE s.pid = pg_backend_pid() AND s.ssl), '') AS tls,
		   coalesce($3::text, CASE
			   WHEN inet_client_addr() IS NULL OR inet_client_addr() = inet_server_addr()
				   OR inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1' THEN 'local'
			   ELSE 'remote' END) AS place
), extension AS (
	-- available: what the server's files would make. usable: the role may call each of its functions.
	-- scans: it has a scan as the bridge calls it, maybe with more arguments that have defaults.
	SELECT e.extversion AS version,
		   (SELECT a.default_version FROM pg_catalog.pg_available_extensions a WHERE a.name = 'penstock')
			   AS available,
		   NOT EXISTS (
			   SELECT 1 FROM pg_catalog.pg_depend d
			   JOIN pg_catalog.pg_proc p ON p.oid = d.objid
			   WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
				   AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'
				   AND NOT (has_function_privilege(p.oid, 'EXECUTE')
							AND has_schema_privilege(p.pronamespace, 'USAGE'))) AS usable,
		   EXISTS (
			   SELECT 1 FROM pg_catalog.pg_depend d
			   JOIN pg_catalog.pg_proc p ON p.oid = d.objid AND p.proname = 'scan'
			   WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
				   AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'
				   AND p.proretset AND p.prorettype = 'bytea'::regtype
				   AND concat(p.proargtypes, ' ') ~ '^25 23 25 1009 23 '
				   AND p.pronargs - p.pronargdefaults <= 5) AS scans
	FROM (SELECT 1) one
	LEFT JOIN pg_catalog.pg_extension e ON e.extname = 'penstock'
), fitting AS (
	-- newer: the database was updated, and then another server came under it, or older files.
	SELECT e.*, CASE WHEN e.version ~ '^[0-9]{1,4}([.][0-9]{1,4})*$' AND e.available ~ '^[0-9]{1,4}([.][0-9]{1,4})*$'
				THEN string_to_array(e.version, '.')::int[] > string_to_array(e.available, '.')::int[]
				ELSE false END AS newer
	FROM extension e
), schemas AS (
	-- Without the system's and the extension's, which everybody may use.
	SELECT n.oid
	FROM pg_catalog.pg_namespace n
	WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
		AND NOT EXISTS (
			SELECT FROM pg_catalog.pg_depend o
			JOIN pg_catalog.pg_extension e ON e.oid = o.refobjid AND e.extname = 'penstock'
			WHERE o.classid = 'pg_catalog.pg_namespace'::regclass AND o.objid = n.oid AND o.deptype = 'e')
), policies AS (
	-- Those for reading that are for the role.
	SELECT p.polrelid AS oid, pg_get_expr(p.polqual, p.polrelid) AS condition,
		   coalesce((to_jsonb(p) ->> 'polpermissive')::boolean, true) AS permissive
	FROM pg_catalog.pg_policy p
	WHERE p.polcmd IN ('r', '*') AND EXISTS (
		SELECT 1 FROM unnest(p.polroles) AS r(oid)
		WHERE CASE WHEN r.oid = 0 THEN true ELSE pg_has_role(r.oid, 'USAGE') END)
), relations AS (
	-- Partitions are reached through their parent.
	SELECT c.oid, c.relkind, n.nspname::text AS schema, c.relname::text AS name,
		   quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS qualified,
		   has_schema_privilege(n.oid, 'USAGE') AS usable,
		   has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
			   AS readable,
		   has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'INSERT')
			   AS insertable,
		   CASE WHEN has_schema_privilege(n.oid, 'USAGE')
			   THEN concat_ws(', ',
					CASE WHEN NOT has_any_column_privilege(c.oid, 'SELECT') THEN 'SELECT' END,
					CASE WHEN NOT has_any_column_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
					CASE WHEN NOT has_any_column_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
					CASE WHEN NOT has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END)
			   ELSE 'SELECT, INSERT, UPDATE, DELETE' END AS missing,
		   EXISTS (SELECT 1 FROM policies p WHERE p.oid = c.oid AND NOT p.permissive
					   AND p.condition IS DISTINCT FROM 'true') AS restricted,
		   -- Whether policies can hide a row from the role.
		   row_security_active(c.oid) AND (
			   NOT EXISTS (SELECT 1 FROM policies p
						   WHERE p.oid = c.oid AND p.permissive AND p.condition = 'true')
			   OR EXISTS (SELECT 1 FROM policies p WHERE p.oid = c.oid AND NOT p.permissive
							  AND p.condition IS DISTINCT FROM 'true')) AS secured,
		   -- A key that ON CONFLICT can use: unique, valid, immediate, whole, plain columns.
		   EXISTS (
			   SELECT 1 FROM pg_catalog.pg_index i
			   WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indisready
				   AND i.indimmediate AND NOT i.indisexclusion AND i.indpred IS NULL
				   AND i.indexprs IS NULL) AS keyed,
		   (to_jsonb(m) ->> 'amname') AS method
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	LEFT JOIN pg_catalog.pg_am m ON m.oid = c.relam
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
		AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
		AND NOT coalesce((to_jsonb(c) ->> 'relispartition')::boolean, false)
), keyless AS (
	SELECT r.qualified, k.conname, k.names
	FROM relations r
	LEFT JOIN LATERAL (
		SELECT c.conname, (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.n)
						   FROM unnest(c.conkey) WITH ORDINALITY AS u(attnum, n)
						   JOIN pg_catalog.pg_attribute a
							   ON a.attrelid = c.conrelid AND a.attnum = u.attnum) AS names
		FROM pg_catalog.pg_constraint c WHERE c.conrelid = r.oid AND c.contype = 'p'
	) k ON true
	WHERE r.relkind IN ('r', 'p') AND r.insertable AND NOT r.keyed
), refused AS (
	-- Tables that the role may not write in every mode, and what it lacks of the rights that `grants`
	-- has for them. Without a key that ON CONFLICT can use, rows are only appended.
	SELECT r.oid, r.qualified, r.insertable, CASE WHEN r.keyed THEN r.missing ELSE 'INSERT' END AS rights,
		   row_number() OVER (ORDER BY r.qualified COLLATE "C") AS place
	FROM relations r
	WHERE r.relkind IN ('r', 'p') AND (NOT r.insertable OR r.keyed AND r.missing <> '')
), counts AS (
	SELECT count(*) AS relations,
		   count(*) FILTER (WHERE NOT readable) AS unreadable,
		   count(*) FILTER (WHERE secured) AS secured,
		   count(*) FILTER (WHERE relkind IN ('r', 'p')) AS tables,
		   count(*) FILTER (WHERE relkind IN ('r', 'p') AND NOT insertable) AS unwritable,
		   (SELECT count(*) FROM refused) AS refused,
		   count(*) FILTER (WHERE relkind = 'r' AND method <> 'heap') AS not_heap
	FROM relations
), needed AS (
	SELECT 1 AS step, '' AS sub, format('GRANT USAGE ON SCHEMA %I TO %s;', r.schema, me.role_sql) AS line
	FROM me, (SELECT DISTINCT r.schema FROM relations r WHERE r.relkind IN ('r', 'p') AND NOT r.usable) r
	UNION ALL
	SELECT 2, f.qualified, format('GRANT %s ON %s TO %s;', f.rights, f.qualified, me.role_sql)
	FROM me, refused f WHERE f.place <= 10
	UNION ALL
	-- Sequences of serial columns and other defaults.
	SELECT DISTINCT 3, f.qualified, format('GRANT USAGE ON SEQUENCE %I.%I TO %s;', n.nspname, s.relname, me.role_sql)
	FROM me, refused f
	JOIN pg_catalog.pg_attrdef v ON v.adrelid = f.oid
	JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = v.oid
		AND d.refclassid = 'pg_catalog.pg_class'::regclass
	JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
	JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
	WHERE f.place <= 10
	UNION ALL
	SELECT 4, '', '-- and so on; for all of them: penstock doctor --grants write'
	FROM refused f WHERE f.place = 11
), timeouts AS (
	SELECT string_agg(s.setting, ', ' ORDER BY s.setting) AS settings
	FROM me
	JOIN pg_catalog.pg_db_role_setting d
		ON d.setrole IN (0, me.role_oid) AND d.setdatabase IN (0, me.database_oid)
	CROSS JOIN LATERAL unnest(d.setconfig) AS s(setting)
	WHERE s.setting ~ '^(statement|lock|idle_in_transaction_session|idle_session|transaction)_timeout='
		AND s.setting !~ '=0(ms|s|min|h|d)?$'
), captured AS (
	-- What change capture would take, leaves of partitioned tables too. keyed: an old row's key is in the WAL.
	SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS qualified, c.relpersistence = 'u' AS unlogged,
		   CASE c.relreplident
			   WHEN 'f' THEN true
			   WHEN 'n' THEN false
			   ELSE EXISTS (SELECT 1 FROM pg_catalog.pg_index i
							WHERE i.indrelid = c.oid
								AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary AND i.indimmediate END)
		   END AS keyed,
		   pg_has_role(c.relowner, 'USAGE') AS owned
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'r' AND c.relpersistence IN ('p', 'u') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), capture AS (
	SELECT me.version >= 130000 AND e.available IS NOT NULL AS has_plugin,
		   -- A setting that newer minor versions have: what a slot may name.
		   (SELECT s.setting !~ '(^|[ ,"/])penstock($|[ ,"])' FROM pg_catalog.pg_settings s
			WHERE s.name = 'output_plugin_libraries') AS unlisted,
		   (SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'output_plugin_libraries') AS listed,
		   (SELECT count(*) FROM pg_catalog.pg_replication_slots) AS slots,
		   current_setting('max_replication_slots')::int AS max_slots,
		   (SELECT count(*) FROM pg_catalog.pg_stat_replication) AS senders,
		   current_setting('max_wal_senders')::int AS max_senders,
		   -- In MB; -1: none. In minutes or seconds; 0: none.
		   (SELECT s.setting::bigint FROM pg_catalog.pg_settings s WHERE s.name = 'max_slot_wal_keep_size') AS keep,
		   (SELECT s.setting::bigint FROM pg_catalog.pg_settings s WHERE s.name = 'idle_replication_slot_timeout') AS idle,
		   EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname = 'rds_replication') AS on_rds
	FROM me, extension e
), assisted AS (
	SELECT c.*, c.has_plugin AND NOT coalesce(c.unlisted, false) AS plugin_usable,
		   me.super OR me.replicates OR EXISTS (
			   SELECT 1 FROM pg_catalog.pg_roles r
			   WHERE r.rolname = 'rds_replication' AND pg_has_role(r.oid, 'USAGE')) AS replicates
	FROM capture c, me
), waiting_for AS (
	-- A new slot begins behind every transaction that runs; these have for a minute.
	SELECT t.name, t.seconds, row_number() OVER (ORDER BY t.seconds DESC, t.name COLLATE "C") AS place
	FROM (
		SELECT format('process %s (%s)', a.pid, coalesce(nullif(a.application_name, ''), a.usename::text)) AS name,
			   extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds
		FROM pg_catalog.pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
		UNION ALL
		SELECT format('prepared transaction %L', p.gid), extract(epoch FROM clock_timestamp() - p.prepared)::bigint
		FROM pg_catalog.pg_prepared_xacts p
	) t
	WHERE t.seconds >= 60
), unread AS (
	-- Before 13 the server does not say what it keeps for a slot.
	SELECT s.slot_name::text AS name, row_number() OVER (ORDER BY s.slot_name::text COLLATE "C") AS place
	FROM pg_catalog.pg_replication_slots s
	WHERE s.active_pid IS NULL
		AND coalesce(to_jsonb(s) ->> 'wal_status', 'extended') IN ('extended', 'unreserved', 'lost')
		AND NOT coalesce((to_jsonb(s) ->> 'synced')::boolean, false)
), checks AS (
	SELECT 1 AS place, 'server' AS feature, 'version' AS "check",
		   CASE WHEN me.version >= 190000 THEN 'reduced' ELSE 'ok' END AS status,
		   CASE WHEN me.version >= 190000
			   THEN format('PostgreSQL %s is newer than the versions this penstock was tested with '
						   '(9.6 to 18)', me.version_text)
			   ELSE format('PostgreSQL %s', me.version_text) END AS message,
		   CASE WHEN me.version >= 190000 THEN 'Look for a newer penstock.' ELSE '' END AS fix
	FROM me
	UNION ALL
	SELECT 2, 'server', 'role', 'ok',
		   format('%s%s on database %s', me.role, CASE WHEN me.super THEN ' (superuser)' ELSE '' END,
				  me.database), ''
	FROM me
	UNION ALL
	SELECT 3, 'server', 'encoding', CASE me.encoding WHEN 'SQL_ASCII' THEN 'reduced' ELSE 'ok' END,
		   CASE me.encoding
			   WHEN 'UTF8' THEN 'UTF8'
			   WHEN 'SQL_ASCII' THEN 'SQL_ASCII: the server does not know what its bytes mean; '
				   'texts that are not UTF-8 are an error that names the column'
			   ELSE format('%s, converted to UTF-8', me.encoding)
		   END,
		   CASE me.encoding WHEN 'SQL_ASCII'
			   THEN 'Dump the database and restore it into one made with ENCODING ''UTF8''.'
			   ELSE '' END
	FROM me
	UNION ALL
	SELECT 4, 'server', 'encryption',
		   CASE WHEN c.tls = '' AND c.place = 'remote' THEN 'reduced' ELSE 'ok' END,
		   CASE
			   WHEN c.tls <> '' THEN format('the connection is encrypted (%s)', c.tls)
			   WHEN c.place = 'remote' THEN 'the connection to another machine is not encrypted'
			   ELSE 'not encrypted; the connection stays on this machine'
		   END,
		   CASE WHEN c.tls = '' AND c.place = 'remote'
			   THEN CASE WHEN current_setting('ssl') = 'on'
					THEN 'Add sslmode=verify-full (and sslrootcert) to the URL.'
					ELSE concat(E'ALTER SYSTEM SET ssl = on;\nSELECT pg_reload_conf();\n-- with a certificate in '
						 'place; then sslmode=verify-full in the URL') END
			   ELSE '' END
	FROM client c
	UNION ALL
	SELECT 5, 'server', 'pooler',
		   CASE WHEN $1::int IS NULL OR $1::int = pg_backend_pid() THEN 'ok' ELSE 'reduced' END,
		   CASE WHEN $1::int IS NULL OR $1::int = pg_backend_pid() THEN 'the connection is direct'
			   ELSE format('a pooler or proxy stands before the server: it names process %s, the '
						   'server %s; where it pools transactions, settings of a session and '
						   'temporary tables are lost between them', $1::int, pg_backend_pid()) END,
		   CASE WHEN $1::int IS NULL OR $1::int = pg_backend_pid() THEN ''
			   ELSE 'Connect to the server itself, or set pool_mode = session for this role.' END
	UNION ALL
	SELECT 6, 'server', 'timeouts', 'ok',
		   coalesce(t.settings || ': set for the role or database; sessions of penstock set them to 0',
					'none is set for the role or database'), ''
	FROM timeouts t
	UNION ALL
	SELECT 7, 'server', 'transport',
		   CASE WHEN e.version IS NULL AND e.available IS NULL
					OR e.usable AND e.scans AND e.version = coalesce(e.available, e.version) THEN 'ok'
			   WHEN e.usable AND e.newer THEN 'blocked'
			   ELSE 'reduced' END,
		   CASE
			   WHEN e.version IS NULL AND e.available IS NULL
				   THEN 'plain: the server does not have the extension penstock; reads are faster with it, and '
						'nothing needs it'
			   WHEN e.version IS NULL
				   THEN 'plain: the extension penstock is not in this database; reads are faster with it'
			   WHEN NOT e.usable
				   THEN format('plain: the role may not use the extension penstock %s', e.version)
			   WHEN e.newer
				   THEN format('the extension penstock %s of this database is newer than the server''s files, '
							   'which are those of %s: its library is refused, and reads want transport=plain',
							   e.version, e.available)
			   WHEN NOT e.scans
				   THEN format('plain: the extension penstock %s of this database has no scan that this penstock can call',
							   e.version)
			   WHEN e.version <> e.available
				   THEN format('assisted reads by the extension penstock %s; the server has %s', e.version,
							   e.available)
			   ELSE format('assisted reads by the extension penstock %s', e.version) END,
		   CASE
			   WHEN e.version IS NULL AND e.available IS NULL THEN ''
			   WHEN e.version IS NULL
				   THEN concat(CASE WHEN me.standby THEN E'-- on the primary:\n' END, 'CREATE EXTENSION penstock;')
			   WHEN NOT e.usable
				   THEN concat(format(E'GRANT USAGE ON SCHEMA penstock TO %s;\n', me.role_sql),
							   format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA penstock TO %s;', me.role_sql))
			   WHEN e.newer THEN format('-- install penstock %s or newer on this server', e.version)
			   WHEN NOT e.scans AND e.version = e.available
				   THEN format('-- take a penstock of the extension''s version, %s, where this one runs', e.version)
			   WHEN e.version <> e.available
				   THEN concat(CASE WHEN me.standby THEN E'-- on the primary:\n' END,
							   'ALTER EXTENSION penstock UPDATE;')
			   ELSE '' END
	FROM me, fitting e
	UNION ALL
	SELECT 8, 'server', 'connections',
		   CASE WHEN me.connections BETWEEN 0 AND 4 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN me.connections >= 0
			   THEN format('the role may have %s connections; each job of a read or write takes one, '
						   'and the plan of a parallel read one more', me.connections)
			   ELSE 'no limit for the role' END,
		   CASE WHEN me.connections BETWEEN 0 AND 4
			   THEN format('ALTER ROLE %s CONNECTION LIMIT -1;', me.role_sql) ELSE '' END
	FROM me
	UNION ALL
	SELECT 20, 'catalog', 'schemas', CASE WHEN s.usable > 0 THEN 'ok' ELSE 'blocked' END,
		   format('the role may use %s of %s schemas', s.usable, s.total),
		   CASE WHEN s.usable > 0 THEN ''
			   -- Which of them the role is for, nobody knows here.
			   WHEN s.total > 0 THEN E'-- those of them that the role is for:\n' || s.grants
			   ELSE format('CREATE SCHEMA AUTHORIZATION %s;', me.role_sql) END
	FROM me, (SELECT count(*) FILTER (WHERE has_schema_privilege(n.oid, 'USAGE')) AS usable,
					 count(*) AS total,
					 string_agg(format('GRANT USAGE ON SCHEMA %I TO %I;', n.nspname, current_user), E'\n'
								ORDER BY n.nspname::text COLLATE "C") AS grants
			  FROM pg_catalog.pg_namespace n
			  WHERE n.oid IN (SELECT u.oid FROM schemas u)) s
	UNION ALL
	SELECT 21, 'catalog', 'creating tables',
		   CASE WHEN me.standby OR s.names IS NULL THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN me.standby THEN 'not on a standby'
			   WHEN s.names IS NULL THEN 'there is no schema in which the role may create tables'
			   ELSE 'in ' || s.names END,
		   CASE WHEN me.standby THEN 'Connect to the primary (target_session_attrs=read-write).'
			   WHEN s.names IS NULL
				   THEN CASE
						WHEN s.total = 0 THEN '-- the fix of "schemas" makes one'
						WHEN to_regnamespace('public') IS NOT NULL
							THEN format('GRANT USAGE, CREATE ON SCHEMA public TO %s;', me.role_sql)
						WHEN s.namesake
							THEN format('GRANT USAGE, CREATE ON SCHEMA %s TO %s;', me.role_sql,
										me.role_sql)
						ELSE format('CREATE SCHEMA AUTHORIZATION %s;', me.role_sql) END
			   ELSE '' END
	FROM me, (SELECT string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname::text COLLATE "C")
				  FILTER (WHERE has_schema_privilege(n.oid, 'CREATE')
							  AND has_schema_privilege(n.oid, 'USAGE')) AS names,
					 count(*) AS total, bool_or(n.nspname = current_user) AS namesake
			  FROM pg_catalog.pg_namespace n
			  WHERE n.oid IN (SELECT u.oid FROM schemas u)) s
	UNION ALL
	SELECT 22, 'catalog', 'creating databases',
		   CASE WHEN me.standby OR NOT (me.super OR me.createdb) THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN me.standby THEN 'not on a standby'
			   WHEN me.super OR me.createdb THEN 'the role may create databases'
			   ELSE 'the role may not create databases' END,
		   CASE WHEN me.standby THEN 'Connect to the primary (target_session_attrs=read-write).'
			   WHEN me.super OR me.createdb THEN ''
			   ELSE format('ALTER ROLE %s CREATEDB;', me.role_sql) END
	FROM me
	UNION ALL
	SELECT 30, 'read', 'privileges',
		   CASE WHEN c.unreadable = 0 THEN 'ok' WHEN c.unreadable < c.relations THEN 'reduced'
			   ELSE 'blocked' END,
		   CASE WHEN c.relations = 0 THEN 'there are no tables yet'
			   WHEN c.unreadable = 0 THEN format('the role may read all %s tables and views',
												 c.relations)
			   ELSE format('the role may not read %s of %s tables and views: %s', c.unreadable,
						   c.relations, x.names) END,
		   coalesce(x.fix, '')
	FROM me, counts c, (
		SELECT string_agg(l.qualified, ', ' ORDER BY l.place) ||
				   CASE WHEN max(l.total) > 10 THEN ', ...' ELSE '' END AS names,
			   concat((SELECT string_agg(DISTINCT format(E'GRANT USAGE ON SCHEMA %I TO %s;\n', r.schema,
														 m.role_sql), '')
					   FROM relations r, me m WHERE NOT r.usable),
					  string_agg(format('GRANT SELECT ON %s TO %s;', l.qualified, l.role_sql), E'\n'
								 ORDER BY l.place),
					  CASE WHEN max(l.total) > 10
						  THEN E'\n-- and so on; for all of them: penstock doctor --grants read' END) AS fix
		FROM (SELECT r.qualified, m.role_sql, count(*) OVER () AS total,
					 row_number() OVER (ORDER BY r.schema COLLATE "C", r.name COLLATE "C") AS place
			  FROM relations r, me m WHERE NOT r.readable) l
		WHERE l.place <= 10
		HAVING count(*) > 0
		UNION ALL
		SELECT NULL, NULL WHERE NOT EXISTS (SELECT 1 FROM relations r WHERE NOT r.readable)
	) x
	UNION ALL
	SELECT 31, 'read', 'row security', CASE WHEN c.secured > 0 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN c.secured > 0
			   THEN format('policies decide which rows of %s tables the role sees: %s', c.secured,
						   (SELECT string_agg(s.qualified, ', ' ORDER BY s.qualified)
							FROM (SELECT r.qualified FROM relations r WHERE r.secured
								  ORDER BY r.qualified LIMIT 10) s))
			   ELSE 'no table hides rows from the role' END,
		   coalesce((SELECT E'-- if the role is to see every row:\n' || string_agg(
						 CASE WHEN s.restricted
							 THEN format('-- %s has restrictive policies: alter those',
										 regexp_replace(s.qualified, '[[:cntrl:]]', '?', 'g'))
							 ELSE format('CREATE POLICY %I ON %s FOR SELECT TO %s USING (true);',
										 -- The first free name; the cast cuts it at its end.
										 (SELECT t.name
										  FROM generate_series(1, 1 + s.policies) AS n
										  CROSS JOIN LATERAL (SELECT concat(
											  'read_all_', CASE WHEN n > 1 THEN concat(n, '_') END,
											  me.role)::name AS name) t
										  WHERE NOT EXISTS (
											  SELECT 1 FROM pg_catalog.pg_policy p
											  WHERE p.polrelid = s.oid AND p.polname = t.name)
										  ORDER BY n LIMIT 1),
										 s.qualified, me.role_sql)
						 END, E'\n' ORDER BY s.qualified)
					 FROM (SELECT r.oid, r.qualified, r.restricted,
								  (SELECT count(*)::int FROM pg_catalog.pg_policy p
								   WHERE p.polrelid = r.oid) AS policies
						   FROM relations r WHERE r.secured
						   ORDER BY r.qualified LIMIT 10) s), '')
	FROM me, counts c
	UNION ALL
	SELECT 32, 'read', 'parallel',
		   CASE WHEN (me.standby AND me.version < 100000) OR me.version < 140000 OR c.not_heap > 0
			   THEN 'reduced' ELSE 'ok' END,
		   CASE
			   WHEN me.standby AND me.version < 100000
				   THEN 'a standby of 9.6 cannot share a snapshot between connections'
			   WHEN me.version < 140000
				   THEN 'before PostgreSQL 14 a table is cut only by scan.partition.column'
			   WHEN c.not_heap > 0
				   THEN format('%s tables are no heap tables: they are cut only by '
							   'scan.partition.column', c.not_heap)
			   ELSE 'tables are cut by blocks'
		   END,
		   CASE
			   WHEN me.standby AND me.version < 100000 THEN 'Read from the primary.'
			   WHEN me.version < 140000 THEN 'Give scan.partition.column and its bounds.'
			   WHEN c.not_heap > 0 THEN 'Give scan.partition.column and its bounds.'
			   ELSE '' END
	FROM me, counts c
	UNION ALL
	SELECT 33, 'read', 'standby',
		   CASE WHEN me.standby AND current_setting('hot_standby_feedback') = 'off' THEN 'reduced'
			   ELSE 'ok' END,
		   CASE
			   WHEN NOT me.standby THEN 'the server is a primary'
			   WHEN current_setting('hot_standby_feedback') = 'off'
				   THEN format('the server is a standby without hot_standby_feedback: long reads may '
							   'be cancelled after max_standby_streaming_delay = %s',
							   current_setting('max_standby_streaming_delay'))
			   ELSE 'the server is a standby with hot_standby_feedback'
		   END,
		   CASE WHEN me.standby AND current_setting('hot_standby_feedback') = 'off'
			   THEN concat(E'-- on the standby:\nALTER SYSTEM SET hot_standby_feedback = on;\n'
					'SELECT pg_reload_conf();') ELSE '' END
	FROM me
	UNION ALL
	SELECT 40, 'write', 'primary',
		   CASE WHEN me.standby OR current_setting('transaction_read_only') = 'on' THEN 'blocked'
			   ELSE 'ok' END,
		   CASE WHEN me.standby THEN 'the server is a standby and takes no writes'
			   WHEN current_setting('transaction_read_only') = 'on'
				   THEN 'transactions of this role are read-only (default_transaction_read_only)'
			   ELSE 'the server takes writes' END,
		   CASE WHEN me.standby
					THEN 'Connect to the primary (target_session_attrs=read-write).'
			   WHEN current_setting('transaction_read_only') = 'on'
				   THEN format('ALTER ROLE %s IN DATABASE %s SET default_transaction_read_only = off;',
							   me.role_sql, me.database_sql)
			   ELSE '' END
	FROM me
	UNION ALL
	SELECT 41, 'write', 'privileges',
		   CASE WHEN c.refused = 0 THEN 'ok' WHEN c.unwritable < c.tables THEN 'reduced'
			   ELSE 'blocked' END,
		   CASE WHEN c.tables = 0 THEN 'there are no tables yet'
			   WHEN c.refused = 0 THEN format('the role may write all %s tables, in every mode', c.tables)
			   ELSE format('the role lacks rights on %s of %s tables: %s', c.refused, c.tables,
						   (SELECT string_agg(format('%s (%s)', f.qualified, f.rights), ', '
											  ORDER BY f.place)
							FROM refused f WHERE f.place <= 10)
						   || CASE WHEN c.refused > 10 THEN ', ...' ELSE '' END) END,
		   coalesce((SELECT string_agg(n.line, E'\n' ORDER BY n.step, n.sub COLLATE "C") FROM needed n), '')
	FROM me, counts c
	UNION ALL
	SELECT 42, 'write', 'temporary tables',
		   CASE WHEN has_database_privilege(me.database_oid, 'TEMP') THEN 'ok' ELSE 'reduced' END,
		   CASE WHEN has_database_privilege(me.database_oid, 'TEMP')
			   THEN 'large lots travel by COPY'
			   ELSE 'the role may not create temporary tables: large lots travel as arrays, which is '
					'slower' END,
		   CASE WHEN has_database_privilege(me.database_oid, 'TEMP') THEN ''
			   ELSE format('GRANT TEMPORARY ON DATABASE %s TO %s;', me.database_sql, me.role_sql) END
	FROM me
	UNION ALL
	SELECT 43, 'write', 'keys', CASE WHEN k.total > 0 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN k.total > 0
			   THEN format('%s tables have no key that an upsert can use, rows can only be appended: '
						   '%s', k.total, k.names)
			   ELSE 'every table that the role may write has a key that an upsert can use' END,
		   coalesce(k.fix, '')
	FROM (
		SELECT count(*) AS total,
			   string_agg(l.qualified, ', ' ORDER BY l.place) FILTER (WHERE l.place <= 10)
				   || CASE WHEN count(*) > 10 THEN ', ...' ELSE '' END AS names,
			   string_agg(CASE
							  WHEN l.names IS NULL
								  THEN format('-- ALTER TABLE %s ADD PRIMARY KEY (its key columns);',
											  regexp_replace(l.qualified, '[[:cntrl:]]', '?', 'g'))
							  ELSE format('CREATE UNIQUE INDEX ON %s (%s);', l.qualified, l.names)
						  END, E'\n' ORDER BY l.place) FILTER (WHERE l.place <= 10) AS fix
		FROM (SELECT k.*, row_number() OVER (ORDER BY k.qualified COLLATE "C") AS place
			  FROM keyless k) l
	) k
	UNION ALL
	SELECT 44, 'write', 'durability',
		   CASE current_setting('synchronous_commit') WHEN 'off' THEN 'reduced' ELSE 'ok' END,
		   CASE current_setting('synchronous_commit')
			   WHEN 'off' THEN 'synchronous_commit is off: rows that were reported as written may be '
							   'lost in a crash of the server'
			   ELSE format('synchronous_commit is %s', current_setting('synchronous_commit')) END,
		   CASE current_setting('synchronous_commit')
			   WHEN 'off' THEN format('ALTER ROLE %s SET synchronous_commit = on;', me.role_sql)
			   ELSE '' END
	FROM me
	UNION ALL
	SELECT 50, 'cdc', 'server',
		   -- A server that will never have it is not in want of it.
		   CASE WHEN me.version < 100000 THEN 'reduced'
			   WHEN me.standby AND me.version < 160000 THEN 'blocked'
			   WHEN me.standby AND current_setting('hot_standby_feedback') = 'off' THEN 'reduced'
			   ELSE 'ok' END,
		   CASE WHEN me.version < 100000 THEN 'change capture needs PostgreSQL 10 or newer'
			   WHEN me.standby AND me.version < 160000 THEN 'a standby has no slots of its own before PostgreSQL 16'
			   WHEN me.standby AND current_setting('hot_standby_feedback') = 'off'
				   THEN 'the server is a standby without hot_standby_feedback: slots here are lost when the primary '
						'removes rows of the catalog that they need'
			   WHEN me.standby THEN 'the server is a standby: slots wait for what the primary writes, and are lost '
									'when its wal_level is lowered'
			   ELSE 'the server is a primary' END,
		   CASE WHEN me.version < 100000 THEN 'Update the server.'
			   WHEN me.standby AND me.version < 160000
				   THEN 'Connect to the primary (target_session_attrs=read-write).'
			   WHEN me.standby AND current_setting('hot_standby_feedback') = 'off'
				   THEN concat(E'-- on the standby:\nALTER SYSTEM SET hot_standby_feedback = on;\n'
							   'SELECT pg_reload_conf();')
			   ELSE '' END
	FROM me
	UNION ALL
	SELECT 51, 'cdc', 'wal_level', CASE current_setting('wal_level') WHEN 'logical' THEN 'ok' ELSE 'blocked' END,
		   format('wal_level is %s%s', current_setting('wal_level'),
				  CASE current_setting('wal_level') WHEN 'logical' THEN '' ELSE ': changes are not in the WAL in a form '
					  'that can be decoded' END),
		   CASE current_setting('wal_level') WHEN 'logical' THEN ''
			   ELSE concat(CASE WHEN me.standby THEN E'-- on the primary:\n' END,
						   CASE WHEN a.on_rds THEN '-- parameter rds.logical_replication = 1; then restart the server'
							   ELSE E'ALTER SYSTEM SET wal_level = logical;\n-- then restart the server' END) END
	FROM me, assisted a
	UNION ALL
	SELECT 52, 'cdc', 'role', CASE WHEN a.replicates THEN 'ok' ELSE 'blocked' END,
		   CASE WHEN a.replicates THEN 'the role may replicate: by a slot it can read changes of every table, whatever '
									   'it may SELECT'
			   ELSE 'the role may not replicate' END,
		   CASE WHEN a.replicates THEN ''
			   WHEN a.on_rds THEN format('GRANT rds_replication TO %s;', me.role_sql)
			   ELSE format('ALTER ROLE %s REPLICATION;', me.role_sql) END
	FROM me, assisted a
	UNION ALL
	SELECT 53, 'cdc', 'slots', CASE WHEN a.slots < a.max_slots THEN 'ok' ELSE 'blocked' END,
		   format('%s of %s replication slots are free; each capture has one', greatest(a.max_slots - a.slots, 0),
				  a.max_slots),
		   CASE WHEN a.slots < a.max_slots THEN ''
			   ELSE format(E'ALTER SYSTEM SET max_replication_slots = %s;\n-- then restart the server', a.slots + 10) END
	FROM assisted a
	UNION ALL
	SELECT 54, 'cdc', 'streams', CASE WHEN a.senders < a.max_senders THEN 'ok' ELSE 'blocked' END,
		   format('%s of %s WAL senders are free; each capture that runs has one', greatest(a.max_senders - a.senders, 0),
				  a.max_senders),
		   CASE WHEN a.senders < a.max_senders THEN ''
			   ELSE format(E'ALTER SYSTEM SET max_wal_senders = %s;\n-- then restart the server', a.senders + 10) END
	FROM assisted a
	UNION ALL
	SELECT 55, 'cdc', 'plugin', CASE WHEN a.has_plugin AND NOT a.plugin_usable THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN a.plugin_usable THEN 'assisted: the server has the output plugin penstock'
			   ELSE concat('plain, by pgoutput: ', CASE
				   WHEN a.has_plugin THEN format('output_plugin_libraries is %s, which leaves the plugin penstock out',
												 CASE a.listed WHEN '' THEN 'empty' ELSE a.listed END)
				   WHEN me.version < 130000 THEN 'the plugin penstock is for PostgreSQL 13 and newer'
				   ELSE 'the server does not have the plugin penstock' END,
				   '; slower, a publication is needed, a table that is rewritten or new is read when that is noticed, ',
				   'and there are no generated columns', CASE WHEN me.version < 110000 THEN ', truncates or messages'
															  WHEN me.version < 140000 THEN ' or messages' END) END,
		   CASE WHEN a.has_plugin AND NOT a.plugin_usable
			   THEN format(E'ALTER SYSTEM SET output_plugin_libraries = %s;\nSELECT pg_reload_conf();',
						   concat_ws(', ', nullif(a.listed, ''), 'penstock'))
			   ELSE '' END
	FROM me, assisted a
	UNION ALL
	SELECT 56, 'cdc', 'publication',
		   CASE WHEN a.plugin_usable OR p.total = 0 AND p.may_create AND NOT me.standby THEN 'ok' ELSE 'reduced' END,
		   CASE WHEN a.plugin_usable THEN 'none is needed'
			   WHEN me.standby THEN 'a standby makes none, and tells not which transactions run: tables are read when the '
									'slot is made, and not later'
			   WHEN p.total = 0 AND p.may_create THEN 'the role can make one for its tables'
			   WHEN p.total = 0 THEN 'the role owns all tables but may not create a publication in the database'
			   ELSE format('the role can make none for %s tables that it does not own', p.total) END,
		   CASE WHEN a.plugin_usable OR p.total = 0 AND p.may_create AND NOT me.standby THEN ''
			   WHEN p.total = 0 AND NOT me.standby
				   THEN format('GRANT CREATE ON DATABASE %s TO %s;', me.database_sql, me.role_sql)
			   ELSE concat(CASE WHEN me.standby THEN '-- on the primary, ' ELSE '-- ' END,
						   E'by their owner, with the tables that are wanted, under the name of the slot:\n',
						   regexp_replace(format('-- CREATE PUBLICATION penstock FOR TABLE %s;', coalesce(p.names, '...')),
										  '[[:cntrl:]]', '?', 'g')) END
	FROM me, assisted a, (
		SELECT count(*) FILTER (WHERE NOT c.owned) AS total,
			   has_database_privilege(current_database(), 'CREATE') AS may_create,
			   string_agg(c.qualified, ', ' ORDER BY c.place) FILTER (WHERE NOT c.owned AND c.place <= 10)
				   || CASE WHEN count(*) FILTER (WHERE NOT c.owned) > 10 THEN ', ...' ELSE '' END AS names
		FROM (SELECT c.qualified, c.owned,
					 row_number() OVER (PARTITION BY c.owned ORDER BY c.qualified COLLATE "C") AS place
			  FROM captured c WHERE NOT c.unlogged) c
	) p
	UNION ALL
	SELECT 57, 'cdc', 'replica identity', CASE WHEN t.total > 0 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN t.total > 0
			   THEN format('updates and deletes of %s tables come without a key of the old row%s: %s', t.total,
						   CASE WHEN a.plugin_usable THEN '' ELSE ', and a publication refuses them to everybody' END, t.names)
			   ELSE 'every table has a key by which updates and deletes are known' END,
		   coalesce(t.fix, '')
	FROM assisted a, (
		SELECT count(*) AS total,
			   string_agg(l.qualified, ', ' ORDER BY l.place) FILTER (WHERE l.place <= 10)
				   || CASE WHEN count(*) > 10 THEN ', ...' ELSE '' END AS names,
			   string_agg(format('ALTER TABLE %s REPLICA IDENTITY FULL;', l.qualified), E'\n' ORDER BY l.place)
				   FILTER (WHERE l.place <= 10) AS fix
		FROM (SELECT c.qualified, row_number() OVER (ORDER BY c.qualified COLLATE "C") AS place
			  FROM captured c WHERE NOT c.keyed AND NOT c.unlogged) l
	) t
	UNION ALL
	SELECT 58, 'cdc', 'unlogged tables', CASE WHEN t.total > 0 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN t.total > 0 THEN format('%s tables are unlogged and cannot be captured: %s', t.total, t.names)
			   ELSE 'none' END,
		   coalesce(t.fix, '')
	FROM (
		SELECT count(*) AS total,
			   string_agg(l.qualified, ', ' ORDER BY l.place) FILTER (WHERE l.place <= 10)
				   || CASE WHEN count(*) > 10 THEN ', ...' ELSE '' END AS names,
			   E'-- those that are to be captured:\n' ||
			   string_agg(regexp_replace(format('-- ALTER TABLE %s SET LOGGED;', l.qualified), '[[:cntrl:]]', '?', 'g'), E'\n'
						  ORDER BY l.place) FILTER (WHERE l.place <= 10) AS fix
		FROM (SELECT c.qualified, row_number() OVER (ORDER BY c.qualified COLLATE "C") AS place
			  FROM captured c WHERE c.unlogged) l
	) t
	UNION ALL
	SELECT 59, 'cdc', 'retention',
		   CASE WHEN a.keep BETWEEN 0 AND 1023 OR a.idle > 0 THEN 'reduced' ELSE 'ok' END,
		   concat(CASE
					  WHEN a.keep IS NULL OR a.keep < 0
						  THEN 'the server keeps WAL for a slot without limit: one that nobody reads fills the disk'
					  ELSE format('a slot that is %s behind is lost (max_slot_wal_keep_size)',
								  pg_size_pretty(a.keep * 1048576)) END,
				  CASE WHEN a.idle > 0
					  THEN format('; so is one without a consumer for %s (idle_replication_slot_timeout)',
								  current_setting('idle_replication_slot_timeout')) END),
		   concat_ws(E'\n',
			   CASE WHEN a.keep BETWEEN 0 AND 1023
				   THEN '-- as much as may be written while a consumer is away:' END,
			   CASE WHEN a.keep BETWEEN 0 AND 1023 THEN 'ALTER SYSTEM SET max_slot_wal_keep_size = ''10GB'';' END,
			   CASE WHEN a.idle > 0 THEN 'ALTER SYSTEM SET idle_replication_slot_timeout = 0;' END,
			   CASE WHEN a.keep BETWEEN 0 AND 1023 OR a.idle > 0 THEN 'SELECT pg_reload_conf();' END)
	FROM assisted a
	UNION ALL
	SELECT 60, 'cdc', 'timeout',
		   CASE WHEN me.version < 120000 AND t.ms > 0 AND t.ms < 60000 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN me.version >= 120000 OR t.ms = 0
			   THEN format('wal_sender_timeout is %s; a stream of penstock sets it to 0',
						   current_setting('wal_sender_timeout'))
			   ELSE format('wal_sender_timeout is %s: a consumer that does not read for so long loses its connection, '
						   'and goes on from its position', current_setting('wal_sender_timeout')) END,
		   CASE WHEN me.version < 120000 AND t.ms > 0 AND t.ms < 60000
			   THEN concat(E'ALTER SYSTEM SET wal_sender_timeout = ''60s'';\nSELECT pg_reload_conf();') ELSE '' END
	FROM me, (SELECT s.setting::bigint AS ms FROM pg_catalog.pg_settings s WHERE s.name = 'wal_sender_timeout') t
	UNION ALL
	SELECT 61, 'cdc', 'unread slots', CASE WHEN u.total > 0 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN u.total > 0
			   THEN format('the server keeps WAL for %s slots that nobody reads: %s; penstock slots tells how much',
						   u.total, u.names)
			   ELSE 'none' END,
		   coalesce(u.fix, '')
	FROM (
		SELECT count(*) AS total,
			   string_agg(l.name, ', ' ORDER BY l.place) FILTER (WHERE l.place <= 10)
				   || CASE WHEN count(*) > 10 THEN ', ...' ELSE '' END AS names,
			   E'-- start their consumers; or, of those that have none any more:\n' ||
			   string_agg(format('-- SELECT pg_drop_replication_slot(%L);', l.name), E'\n' ORDER BY l.place)
				   FILTER (WHERE l.place <= 10) AS fix
		FROM unread l
	) u
	UNION ALL
	SELECT 62, 'cdc', 'old transactions', CASE WHEN w.total > 0 THEN 'reduced' ELSE 'ok' END,
		   CASE WHEN w.total > 0
			   THEN format('a new slot, and a snapshot that goes on, wait for %s transactions: %s', w.total, w.names)
			   ELSE 'none that a new slot would wait for longer than a minute' END,
		   CASE WHEN w.total > 0 THEN 'Let them end, or end them.' ELSE '' END
	FROM (
		SELECT count(*) AS total,
			   string_agg(format('%s, for %s s', t.name, t.seconds), '; ' ORDER BY t.place) FILTER (WHERE t.place <= 10)
				   || CASE WHEN count(*) > 10 THEN '; ...' ELSE '' END AS names
		FROM waiting_for t
	) w
)
SELECT c.feature, c."check", c.status, c.message, c.fix
FROM checks c
ORDER BY c.place
-- end

-- install
CREATE FUNCTION penstock.doctor()
RETURNS TABLE (feature text, "check" text, status text, message text, fix text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED ROWS 40 COST 10000
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $penstock$
#variable_conflict use_column
BEGIN
	RETURN QUERY
-- text: doctor NULL, NULL, NULL
	;
END
$penstock$;

COMMENT ON FUNCTION penstock.doctor() IS
'what works for this role on this server, and what mends the rest';
-- end

-- The rights that a role needs for a feature, no more. $1 read, write, cdc or catalog; $2 the role, letter
-- by letter, or NULL for the placeholder your_role; $3 a relation's oid, 0 for the one that `resolve`
-- has found, or NULL for every one of the database. Rows: (line, sqlstate, message, hint).
-- embed: grants
WITH who AS (
	SELECT coalesce(quote_ident(nullif($2::text, '')), 'your_role') AS role
), relations AS (
	SELECT c.oid, c.relkind, c.relnamespace, n.nspname::text AS schema, c.relname::text AS name,
		   quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS qualified,
		   $3::oid IS NULL
			   AND coalesce((to_jsonb(c) ->> 'relispartition')::boolean, false) AS reached
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
		AND CASE
				WHEN $3::oid = 0 THEN c.oid =
					nullif(current_setting('penstock_catalog.relation', true), '')::oid
				WHEN $3::oid IS NOT NULL THEN c.oid = $3::oid
				ELSE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
			END
), parts AS (
	-- Partitions below a relation, at any depth.
	WITH RECURSIVE below AS (
		SELECT r.oid AS root, i.inhrelid AS oid
		FROM relations r JOIN pg_catalog.pg_inherits i ON i.inhparent = r.oid
		WHERE r.relkind = 'p' AND NOT r.reached
		UNION
		SELECT b.root, i.inhrelid
		FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid
	)
	SELECT b.root, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS qualified
	FROM below b
	JOIN pg_catalog.pg_class c ON c.oid = b.oid AND c.relkind = 'r'
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
), sequences AS (
	-- Those of serial columns and other defaults; identity columns need no right.
	SELECT DISTINCT r.oid, quote_ident(n.nspname) || '.' || quote_ident(s.relname) AS qualified
	FROM relations r
	JOIN pg_catalog.pg_attrdef v ON v.adrelid = r.oid
	JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = v.oid
		AND d.refclassid = 'pg_catalog.pg_class'::regclass
	JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
	JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
), lines AS (
	SELECT 1 AS place, '' AS sub, 0 AS step,
		   format('GRANT CONNECT ON DATABASE %I TO %s;', current_database(), w.role) AS line
	FROM who w
	UNION ALL
	SELECT 2, s.schema, 0, format('GRANT USAGE ON SCHEMA %I TO %s;', s.schema, w.role)
	FROM who w, (
		SELECT DISTINCT r.schema FROM relations r
		UNION
		SELECT n.nspname::text FROM pg_catalog.pg_namespace n
		WHERE $1::text = 'catalog' AND $3::oid IS NULL
			AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
			AND NOT EXISTS (
				SELECT FROM pg_catalog.pg_depend o
				JOIN pg_catalog.pg_extension e ON e.oid = o.refobjid AND e.extname = 'penstock'
				WHERE o.classid = 'pg_catalog.pg_namespace'::regclass AND o.objid = n.oid
					AND o.deptype = 'e')
	) s
	UNION ALL
	SELECT 3, r.qualified, 0, format('GRANT SELECT ON %s TO %s;', r.qualified, w.role)
	FROM who w, relations r
	WHERE $1::text IN ('read', 'cdc') AND NOT r.reached AND ($1::text = 'read' OR r.relkind IN ('r', 'p'))
	UNION ALL
	SELECT 3, r.qualified, 0,
		   format('GRANT %s ON %s TO %s;',
				  CASE WHEN k.usable THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE 'INSERT' END,
				  r.qualified, w.role)
	FROM who w, relations r
	CROSS JOIN LATERAL (
		-- An upsert needs SELECT on its key, and on each column that it sets from EXCLUDED. Without
		-- a key that ON CONFLICT can use, rows are only appended.
		SELECT EXISTS (
			SELECT 1 FROM pg_catalog.pg_index i
			WHERE i.indrelid = r.oid AND i.indisunique AND i.indisvalid AND i.indisready
				AND i.indimmediate AND NOT i.indisexclusion AND i.indpred IS NULL
				AND i.indexprs IS NULL) AS usable
	) k
	WHERE $1::text = 'write' AND NOT r.reached AND r.relkind <> 'm'
	UNION ALL
	SELECT 3, r.qualified, 1, format('GRANT USAGE ON SEQUENCE %s TO %s;', s.qualified, w.role)
	FROM who w, relations r
	JOIN sequences s ON s.oid = r.oid
	WHERE $1::text = 'write' AND NOT r.reached
	UNION ALL
	SELECT 4, '', 0, '-- Optional: partitions that may be read by themselves are read in parallel.'
	WHERE $1::text IN ('read', 'cdc') AND EXISTS (SELECT 1 FROM parts)
	UNION ALL
	SELECT 4, p.qualified, 1, format('-- GRANT SELECT ON %s TO %s;', p.qualified, w.role)
	FROM who w, parts p
	WHERE $1::text IN ('read', 'cdc')
	UNION ALL
	SELECT 5, '', o.step, o.line
	FROM who w
	CROSS JOIN LATERAL (VALUES
		(0, '-- Optional: with temporary tables large lots travel by COPY, which is faster.'),
		(1, format('-- GRANT TEMPORARY ON DATABASE %I TO %s;', current_database(), w.role)),
		(2, '-- Optional: for sink.progress.schema = penstock_jobs, where writes are made exactly once.'),
		(3, format('-- CREATE SCHEMA penstock_jobs AUTHORIZATION %s;', w.role))
	) AS o(step, line)
	WHERE $1::text = 'write'
	UNION ALL
	SELECT 6, '', o.step, o.line
	FROM who w
	CROSS JOIN LATERAL (VALUES
		(0, '-- Optional: for creating tables and databases.'),
		(1, format('-- GRANT USAGE, CREATE ON SCHEMA public TO %s;', w.role)),
		(2, format('-- ALTER ROLE %s CREATEDB;', w.role))
	) AS o(step, line)
	WHERE $1::text = 'catalog'
	UNION ALL
	SELECT 7, '', o.step, o.line
	FROM who w
	CROSS JOIN (SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname = 'rds_replication') AS on_rds) x
	CROSS JOIN LATERAL (VALUES
		(0, '-- By a slot it reads changes of every table, whatever it may SELECT.'),
		(1, CASE WHEN x.on_rds THEN format('GRANT rds_replication TO %s;', w.role)
				ELSE format('ALTER ROLE %s REPLICATION;', w.role) END),
		(2, '-- Optional: where the server does not have the plugin penstock, publications for tables that it owns.'),
		(3, format('-- GRANT CREATE ON DATABASE %I TO %s;', current_database(), w.role))
	) AS o(step, line)
	WHERE $1::text = 'cdc'
), answers AS (
	SELECT l.*, NULL::text AS sqlstate, NULL::text AS message, NULL::text AS hint
	FROM lines l
	WHERE $1::text IN ('read', 'write', 'cdc', 'catalog')
	UNION ALL
	SELECT 0, '', 0, NULL, '22023',
		   format('there are no grants for "%s"', $1::text),
		   'The features are read, write, cdc and catalog.'
	WHERE $1::text IS NULL OR $1::text NOT IN ('read', 'write', 'cdc', 'catalog')
)
SELECT CASE WHEN line LIKE '--%' THEN regexp_replace(line, '[[:cntrl:]]', '?', 'g') ELSE line END
		   AS line,
	   sqlstate, message, hint
FROM answers
ORDER BY place, sub COLLATE "C", step, line COLLATE "C"
-- end

-- install
CREATE FUNCTION penstock.grants(feature text, role text DEFAULT NULL, relation regclass DEFAULT NULL)
RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 20
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $penstock$
#variable_conflict use_column
DECLARE
	kind constant "char" := (SELECT c.relkind FROM pg_catalog.pg_class c WHERE c.oid = $3);
	answer record;
BEGIN
	IF $3 IS NOT NULL THEN
-- text: check_kind $3
	END IF;
	FOR answer IN
-- text: grants
	LOOP
-- text: raise
		RETURN NEXT answer.line;
	END LOOP;
END
$penstock$;

COMMENT ON FUNCTION penstock.grants(text, text, regclass) IS
'the rights that a role needs to read, to write or for the catalog, as statements';
-- end
