-- 60_blockers.sql - who holds up server processes.
--
-- For a command that stands still: its own processes are known, whoever they wait for is named. The
-- rules of 10_catalog.sql hold here too.

-- $1 the pids as an array. One row for each of them that waits for a lock: (blockers json) with pid,
-- wait, object and blocked_by. A prepared transaction has no process: pg_blocking_pids says 0 for it,
-- and it is found by the lock that it holds and its own transaction's lock beside it (both have no
-- pid and one virtual transaction). Where the role may not see a session, state is NULL.
-- embed: blockers
WITH waiting AS (
	SELECT w.pid, l.locktype, l.mode, l.relation, l.database,
		   ARRAY(SELECT DISTINCT b.pid FROM unnest(pg_blocking_pids(w.pid)) AS b(pid)) AS blockers,
		   ARRAY(SELECT DISTINCT x.transactionid::text
				 FROM pg_catalog.pg_locks h
				 JOIN pg_catalog.pg_locks x
					ON x.pid IS NULL AND x.locktype = 'transactionid' AND x.granted
						AND x.virtualtransaction = h.virtualtransaction
				 WHERE h.pid IS NULL AND h.granted
					AND h.locktype = l.locktype
					AND h.database IS NOT DISTINCT FROM l.database
					AND h.relation IS NOT DISTINCT FROM l.relation
					AND h.page IS NOT DISTINCT FROM l.page
					AND h.tuple IS NOT DISTINCT FROM l.tuple
					AND h.virtualxid IS NOT DISTINCT FROM l.virtualxid
					AND h.transactionid::text IS NOT DISTINCT FROM l.transactionid::text
					AND h.classid IS NOT DISTINCT FROM l.classid
					AND h.objid IS NOT DISTINCT FROM l.objid
					AND h.objsubid IS NOT DISTINCT FROM l.objsubid) AS prepared
	FROM unnest($1::int[]) AS w(pid)
	JOIN pg_catalog.pg_locks l ON l.pid = w.pid AND NOT l.granted
), holders AS (
	SELECT w.pid AS waiter, row_to_json(r) AS holder, r.pid::text AS name
	FROM waiting w
	JOIN pg_catalog.pg_stat_activity a ON a.pid = ANY (w.blockers)
	CROSS JOIN LATERAL (
		SELECT a.pid, a.usename AS "user", a.application_name AS application, a.state,
			   extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::bigint
				   AS seconds
	) r
	UNION ALL
	SELECT w.pid, row_to_json(r), r.gid
	FROM waiting w
	JOIN pg_catalog.pg_prepared_xacts p ON p.transaction::text = ANY (w.prepared)
	CROSS JOIN LATERAL (
		SELECT p.gid, p.owner AS "user",
			   extract(epoch FROM clock_timestamp() - p.prepared)::bigint AS seconds
	) r
	WHERE 0 = ANY (w.blockers)
)
SELECT row_to_json(r) AS blockers
FROM (
	SELECT w.pid, 'Lock: ' || w.locktype || ', ' || w.mode AS wait,
		   (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
			FROM pg_catalog.pg_class c
			JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_catalog.pg_database d ON d.datname = current_database()
			WHERE c.oid = w.relation AND w.database IN (d.oid, 0)) AS object,
		   (SELECT json_agg(h.holder ORDER BY h.name) FROM holders h WHERE h.waiter = w.pid)
			   AS blocked_by
	FROM waiting w
	WHERE w.blockers <> '{}'
) r
ORDER BY r.pid
-- end
