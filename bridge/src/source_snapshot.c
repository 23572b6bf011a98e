/*
 * source_snapshot.c - the transaction that is one moment.
 *
 * Order matters. The lock comes before the snapshot, because a table that is rewritten (VACUUM
 * FULL, TRUNCATE, ALTER … TYPE) between snapshot and lock reads as empty or in part, without any
 * error. LOCK TABLE takes no snapshot, so it goes first; where it is refused (views, foreign tables,
 * column grants) planning the SELECT takes the same locks, after the snapshot. Either way the file
 * nodes of everything that is locked are then compared: as the snapshot sees them, and as they are; and
 * everything under the table in the snapshot must be locked, or it has left the tree since.
 */
#include "source_internal.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

#define BEGIN_TRIES 5

/*
 * A session that waits to alter the table waits for the planner's lock, and whoever asks for a lock
 * after it waits for it: a worker without this would wait for itself, through a planner that waits
 * for its workers. The server sees no deadlock, since the planner waits elsewhere.
 */
static const char lock_timeout_sql[] = "SET LOCAL lock_timeout = '1s'; ";

static const char begin_sql[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/* The relations of this database that this session has locked, as l. */
#define OWN_LOCKS                                                                                  \
	"pg_catalog.pg_locks l WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() "        \
	"AND l.locktype OPERATOR(pg_catalog.=) 'relation' "                                            \
	"AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d "           \
	"WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())"

/*
 * Tables that this session has locked and whose file is not the one of the snapshot. The catalogs
 * are left out: their own nodes are mapped elsewhere. So is what has no file: before server 12 views,
 * foreign and partitioned tables had a number there all the same.
 */
static const char rewritten_sql[] =
	"SELECT n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname) FROM (SELECT "
	"l.relation FROM " OWN_LOCKS ") k "
	"JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.relation "
	"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
	"WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,m}'::pg_catalog.\"char\"[]) "
	"AND c.relfilenode OPERATOR(pg_catalog.<>) 0::pg_catalog.oid "
	/* IS DISTINCT FROM would look its operator up in the caller's search_path. */
	"AND (c.relfilenode OPERATOR(pg_catalog.=) pg_catalog.pg_relation_filenode(c.oid)) IS NOT TRUE "
	"LIMIT 1";

void
psti_source_end(pst_source *source)
{
	pst_error ignored;

	if (source->moment != PSTI_MOMENT_NONE && psti_conn_usable(source->conn) &&
		PQtransactionStatus(psti_conn_pg(source->conn)) != PQTRANS_IDLE)
		(void) psti_conn_exec(source->conn, "ending the read", "ROLLBACK", NULL, &ignored);
	source->moment = PSTI_MOMENT_NONE;
	source->savepoint = false;
	source->tree = PSTI_TREE_UNKNOWN;
	PQclear(source->leaves);
	source->leaves = NULL;
	free(source->snapshot);
	free(source->schemas);
	source->snapshot = NULL;
	source->schemas = NULL;
}

/*
 * No COPY on a standby is marked: within a savepoint the server answers a recovery conflict by ending
 * the session, in the middle of a COPY without a word; without one by an error that names it.
 */
void
psti_source_mark(pst_source *source, bool copy, psti_buf *sql)
{
	if (source->savepoint)
		psti_buf_puts(sql, "RELEASE SAVEPOINT penstock; ");
	source->savepoint = !copy || !psti_conn_caps(source->conn)->in_recovery;
	if (source->savepoint)
		psti_buf_puts(sql, "SAVEPOINT penstock; ");
}

void
psti_source_back(pst_source *source)
{
	pst_error ignored;

	if (!psti_conn_usable(source->conn))
	{
		source->moment = PSTI_MOMENT_NONE;
		return;
	}
	if (PQtransactionStatus(psti_conn_pg(source->conn)) != PQTRANS_INERROR)
		return;
	if (!source->savepoint ||
		psti_conn_exec(source->conn, "going back", "ROLLBACK TO SAVEPOINT penstock", NULL,
					   &ignored) != PST_OK)
		psti_source_end(source);
}

/* ---- What the planner thinks, and the locks that planning takes ---- */

static pst_status
read_explain(const char *text, int64_t *rows, int64_t *width, pst_error *err)
{
	psti_json *root = NULL;
	const psti_json *plan;
	pst_status status = psti_json_parse(text, &root, err);

	if (status != PST_OK)
		return status;
	plan = psti_json_get(psti_json_first(root), "Plan");
	*rows = psti_json_int(plan, "Plan Rows", -1);
	*width = psti_json_int(plan, "Plan Width", -1);
	psti_json_free(root);
	return PST_OK;
}

pst_status
psti_source_explain(pst_source *source, const psti_select *what, bool marked, int64_t *rows,
					int64_t *width, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	*rows = -1;
	*width = -1;
	if (marked)
		psti_source_mark(source, false, &sql);
	psti_buf_puts(&sql, "EXPLAIN (FORMAT JSON) ");
	psti_source_select(source, what, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(source->conn, "planning the read", sql.data, &result, err);
	if (status == PST_OK && PQntuples(result) >= 1)
		status = read_explain(PQgetvalue(result, 0, 0), rows, width, err);
	PQclear(result);
	psti_buf_free(&sql);
	return status;
}

/* ---- Begin, lock, check ---- */

/* LOCK TABLE cannot do these, or the role may not. */
static bool
lock_refused(const pst_error *err)
{
	return err->status == PST_ERR_PRIVILEGE || strcmp(err->sqlstate, "42809") == 0 ||
		   strcmp(err->sqlstate, "0A000") == 0;
}

/*
 * The schemas of the search_path that are there, without $user, what is implied, and the session's own
 * for temporary tables. Where pg_temp comes first, asking for them would make that one: then the path
 * as it is written.
 */
#define SCHEMAS                                                                                    \
	"CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.~) "                  \
	"'^[[:space:]]*\"?pg_temp\"?[[:space:]]*(,|$)' THEN "                                          \
	"pg_catalog.current_setting('search_path') ELSE pg_catalog.regexp_replace("                    \
	"pg_catalog.current_schemas(false)::pg_catalog.text, ',pg_temp_[0-9]+', '') END"

/*
 * Names in a query or a filter would mean other things to a worker with another search_path, and the
 * texts of regclass and its kin are names under it too.
 */
static pst_status
check_schemas(const psti_split *split, const PGresult *result, pst_error *err)
{
	if (PQntuples(result) != 1)
		return psti_fail(err, PST_ERR_PROTOCOL, "the server gave no answer about the search_path");
	if (split->schemas == NULL)
		return PST_OK;
	if (strcmp(PQgetvalue(result, 0, 0), split->schemas) == 0)
		return PST_OK;
	psti_fail(err, PST_ERR_STATE, "the split was planned under another search_path");
	psti_error_detail(err, "It was %s, here it is %s.", split->schemas, PQgetvalue(result, 0, 0));
	psti_error_hint(err, "Give every worker the planner's role, or set it in every url: "
						 "options='-c search_path=…'.");
	return PST_ERR_STATE;
}

/*
 * BEGIN, SET TRANSACTION SNAPSHOT and LOCK TABLE in one round trip. The settings are pinned again:
 * behind a pooler this transaction may run on another server connection than the session began on.
 */
static pst_status
begin_transaction(pst_source *source, const psti_split *import, bool lock, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	psti_buf_printf(&sql, "%s; %s", begin_sql, psti_conn_pins(source->conn));
	/* A query that is run once a stride should see the rows in one order, as far as it is ours. */
	if (source->query != NULL)
		psti_buf_puts(&sql, "SET LOCAL synchronize_seqscans = off; ");
	if (import != NULL)
	{
		psti_buf_puts(&sql, lock_timeout_sql);
		psti_buf_puts(&sql, "SET TRANSACTION SNAPSHOT ");
		psti_buf_literal(&sql, import->snapshot);
		psti_buf_puts(&sql, "; ");
	}
	else if (source->lock_ms > 0)
		psti_buf_printf(&sql, "SET LOCAL lock_timeout = %d; ", source->lock_ms);
	if (lock)
		psti_buf_printf(&sql, "LOCK TABLE %s IN ACCESS SHARE MODE; ", source->relation->qualified);
	if (import != NULL)
		psti_buf_puts(&sql, "SELECT " SCHEMAS);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
	{
		source->moment = import != NULL ? PSTI_MOMENT_IMPORTED : PSTI_MOMENT_OWN;
		status = psti_conn_exec(source->conn, "taking the snapshot", sql.data, &result, err);
	}
	if (status == PST_OK && import != NULL)
		status = check_schemas(import, result, err);
	PQclear(result);
	psti_buf_free(&sql);
	if (status != PST_OK)
		psti_source_end(source);
	return status;
}

/* PST_AGAIN with err filled: what the snapshot sees of a table is not what there is. */
static pst_status
begin_anew(pst_error *err, const char *schema, const char *table, const char *qualified,
		   const char *what)
{
	psti_fail(err, PST_ERR_CONFLICT, "cannot read %s: it was %s while the snapshot was taken",
			  qualified, what);
	psti_error_hint(err, "Try again when VACUUM FULL, CLUSTER, TRUNCATE or ALTER TABLE on it are "
						 "over.");
	PSTI_ERROR_SET(err, schema, schema);
	PSTI_ERROR_SET(err, table, table);
	err->retryable = true;
	return PST_AGAIN;
}

static pst_status
check_rewritten(pst_source *source, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status =
		psti_conn_exec(source->conn, "checking the tables' files", rewritten_sql, &result, err);

	if (status == PST_OK && PQntuples(result) > 0)
		status = begin_anew(err, PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1),
							PQgetvalue(result, 0, 2), "rewritten");
	PQclear(result);
	return status;
}

static pst_status
fail_altered(const pst_source *source, const char *name, pst_error *err)
{
	psti_fail(err, PST_ERR_CONFLICT,
			  "column \"%s\" is no longer what it was when the source was "
			  "opened",
			  name);
	psti_error_hint(err, "Open the source again.");
	PSTI_ERROR_SET(err, column, name);
	if (source->relation->oid != 0)
	{
		PSTI_ERROR_SET(err, schema, source->relation->schema);
		PSTI_ERROR_SET(err, table, source->relation->name);
	}
	err->retryable = true;
	return PST_ERR_CONFLICT;
}

/* Only tables that rows can be under have a tree; of the others' the server is asked nothing. */
static psti_tree
tree_of(const psti_relation *now)
{
	if (now->oid == 0 || strchr("rpf", now->relkind) == NULL)
		return PSTI_TREE_UNKNOWN;
	return now->has_subclass || now->relkind == 'p' ? PSTI_TREE_LEAVES : PSTI_TREE_NONE;
}

/*
 * Names and present file nodes, whether the role may read tableoid, which a grant of columns does not
 * give, and whether this session has locked it. A statement reads whatever is under a table when it
 * begins, and a partition can come in (ATTACH PARTITION, INHERIT) under the locks that a read holds. The
 * catalogs as the moment sees them are the same for every worker, so they say what is read.
 */
static const char leaves_sql[] = PSTI_TREE_SQL
	"SELECT c.oid, n.nspname, c.relname, "
	"COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0::pg_catalog.oid), "
	"pg_catalog.has_table_privilege($1::pg_catalog.oid, 'SELECT'), k.relation IS NOT NULL, "
	"pg_catalog.format('%I.%I', n.nspname, c.relname) "
	"FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid "
	"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
	"LEFT JOIN (SELECT DISTINCT l.relation FROM " OWN_LOCKS ") k "
	"ON k.relation OPERATOR(pg_catalog.=) c.oid "
	"WHERE " PSTI_READABLE_TREE "ORDER BY c.oid";

pst_status
psti_source_leaves(pst_source *source, const PGresult **out, pst_error *err)
{
	char oid[16];
	const char *params[] = {oid};
	pst_status status = PST_OK;

	snprintf(oid, sizeof(oid), "%lu", (unsigned long) source->relation->oid);
	if (source->leaves == NULL)
		status = psti_conn_query(source->conn, "finding the tables to read", leaves_sql, 1, params,
								 &source->leaves, err);
	*out = source->leaves;
	return status;
}

/*
 * Where the snapshot came before the locks, what has left the tree in between is under the table for the
 * one and not for the others: its rows would be read neither there nor where they are now.
 */
static pst_status
check_locked(pst_source *source, pst_error *err)
{
	const PGresult *leaves = NULL;
	pst_status status = psti_source_leaves(source, &leaves, err);

	for (int i = 0; status == PST_OK && i < PQntuples(leaves); i++)
		if (PQgetvalue(leaves, i, PSTI_LEAF_LOCKED)[0] != 't')
			status = begin_anew(err, PQgetvalue(leaves, i, PSTI_LEAF_SCHEMA),
								PQgetvalue(leaves, i, PSTI_LEAF_NAME),
								PQgetvalue(leaves, i, PSTI_LEAF_QUALIFIED), "detached or dropped");
	return status;
}

static bool
same_type(const psti_column *a, const psti_column *b)
{
	return a->type.oid == b->type.oid && a->type.typmod == b->type.typmod;
}

/* The columns were described before the lock: are they still the same? */
static pst_status
check_columns(pst_source *source, pst_error *err)
{
	psti_relation *now = NULL;
	pst_status status;

	if (source->query != NULL)
		status = psti_relation_query(source->conn, source->query, &now, err);
	else
		status = psti_relation_find(source->conn, source->relation->schema, source->relation->name,
									&now, err);
	if (status == PST_OK && now->oid != source->relation->oid)
		status = fail_altered(source, source->relation->name, err);
	for (size_t i = 0; status == PST_OK && i < source->ncolumns; i++)
	{
		const psti_column *was = source->columns[i].column;
		const psti_column *is = source->query != NULL && source->columns[i].position < now->ncolumns
									? &now->columns[source->columns[i].position]
									: psti_relation_column(now, was->name);

		if (is == NULL || !same_type(was, is) || (source->copy[i].not_null && !is->never_null))
			status = fail_altered(source, was->name, err);
	}
	if (status == PST_OK)
		source->tree = tree_of(now);
	psti_relation_free(now);
	return status;
}

static pst_status
stand(pst_source *source, const psti_split *import, bool *lock, pst_error *err)
{
	psti_select all = {NULL, NULL, false, false, 0};
	int64_t rows;
	int64_t width;
	pst_status status = begin_transaction(source, import, *lock, err);

	if (status != PST_OK && *lock && psti_conn_usable(source->conn) && lock_refused(err))
	{
		*lock = false;
		status = begin_transaction(source, import, false, err);
	}
	if (status == PST_OK)
		status = psti_source_explain(source, &all, false, &rows, &width, err);
	if (status == PST_OK)
		status = check_rewritten(source, err);
	if (status == PST_OK)
		status = check_columns(source, err);
	if (status == PST_OK && source->tree == PSTI_TREE_LEAVES)
		status = check_locked(source, err);
	/* A worker's filter was checked by the planner: it is part of the fingerprint. */
	if (status == PST_OK && import == NULL)
		status = psti_source_check_filter(source, true, err);
	if (status == PST_OK)
	{
		source->rows_total = rows;
		source->bytes_total =
			rows >= 0 && width >= 0 && rows < INT64_MAX / (width + 1) ? rows * width : -1;
	}
	else
		psti_source_end(source);
	return status;
}

pst_status
psti_source_begin(pst_source *source, pst_error *err)
{
	bool lock = source->query == NULL && source->relation->relkind != 'f' &&
				source->relation->relkind != 'm' && source->relation->relkind != 'v';
	pst_status status = PST_AGAIN;

	if (source->moment != PSTI_MOMENT_NONE)
		return PST_OK;
	for (int i = 0; status == PST_AGAIN && i < BEGIN_TRIES; i++)
		status = stand(source, NULL, &lock, err);
	/* What is read under it later waits for nobody but an index that is made anew. */
	if (status == PST_OK && source->lock_ms > 0)
		status = psti_conn_exec(source->conn, "taking the snapshot", "SET LOCAL lock_timeout = 0",
								NULL, err);
	return status == PST_AGAIN ? err->status : status;
}

/*
 * A snapshot that sees what is gone cannot be read under: who waits for a lock before its transaction ends
 * is answered by an error, since what it saw may have been dropped or rewritten by then.
 */
pst_status
psti_source_adopt(pst_source *source, const char *snapshot, pst_error *err)
{
	psti_split import = {.snapshot = (char *) snapshot};
	bool lock = true;
	pst_status status;

	psti_source_end(source);
	status = stand(source, &import, &lock, err);
	if (status == PST_OK)
		source->moment = PSTI_MOMENT_OWN;
	return status == PST_AGAIN ? err->status : status;
}

/* ---- A read in one round trip ---- */

/* As psti_source_adopt, with the lock and a look at the table before the COPY; which ends it, too. */
static void
put_once(const pst_source *source, const char *snapshot, psti_buf *out)
{
	const psti_relation *relation = source->relation;
	unsigned long oid = (unsigned long) relation->oid;

	psti_buf_printf(out, "%s; %s%sSET TRANSACTION SNAPSHOT ", begin_sql,
					psti_conn_pins(source->conn), lock_timeout_sql);
	psti_buf_literal(out, snapshot);
	psti_buf_printf(out, "; LOCK TABLE ONLY %s IN ACCESS SHARE MODE; ", relation->qualified);
	psti_buf_printf(out,
					"SELECT (SELECT c.relfilenode OPERATOR(pg_catalog.=) "
					"pg_catalog.pg_relation_filenode(c.oid) FROM pg_catalog.pg_class c "
					"WHERE c.oid OPERATOR(pg_catalog.=) %lu::pg_catalog.oid), "
					"pg_catalog.pg_relation_filenode(%lu::pg_catalog.oid), "
					"pg_catalog.pg_relation_size(%lu::pg_catalog.oid), t.* "
					"FROM (SELECT) AS one LEFT JOIN ONLY %s AS t ON false; ",
					oid, oid, oid, relation->qualified);
}

pst_status
psti_source_once(pst_source *source, const char *snapshot, struct ArrowArrayStream *out,
				 const PGresult **found, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	*found = NULL;
	put_once(source, snapshot, &sql);
	source->once = psti_buf_steal(&sql);
	if (source->once == NULL)
		return psti_fail_nomem(err);
	source->moment = PSTI_MOMENT_IMPORTED;
	source->tree = PSTI_TREE_NONE;
	status = psti_source_stream(source, NULL, out, err);
	if (status == PST_OK && (source->found == NULL || PQntuples(source->found) != 1 ||
							 PQnfields(source->found) < PSTI_FOUND_COLUMNS))
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server gave no answer about the table");
	*found = source->found;
	return status;
}

/* ---- Sharing ---- */

/* Before 10 a standby exports no snapshots: its moment is known to this handle only. */
static bool
may_export(const psti_caps *caps)
{
	return !caps->in_recovery || caps->server_version >= 100000;
}

static pst_status
keep_moment(pst_source *source, const char *snapshot, const char *schemas, pst_error *err)
{
	source->snapshot = strdup(snapshot);
	source->schemas = strdup(schemas);
	return source->snapshot == NULL || source->schemas == NULL ? psti_fail_nomem(err) : PST_OK;
}

pst_status
psti_source_export(pst_source *source, pst_error *err)
{
	const psti_caps *caps = psti_conn_caps(source->conn);
	PGresult *result = NULL;
	pst_status status = PST_OK;

	if (source->snapshot != NULL)
		return PST_OK;
	if (!may_export(caps))
	{
		char text[48];

		snprintf(text, sizeof(text), "local:%d", PQbackendPID(psti_conn_pg(source->conn)));
		return keep_moment(source, text, "", err);
	}
	/* A snapshot cannot be exported from within a savepoint. */
	if (source->savepoint)
		status = psti_conn_exec(source->conn, "exporting the snapshot",
								"RELEASE SAVEPOINT penstock", NULL, err);
	source->savepoint = false;
	if (status == PST_OK)
		status = psti_conn_exec(source->conn, "exporting the snapshot",
								"SELECT pg_catalog.pg_export_snapshot(), " SCHEMAS, &result, err);
	if (status == PST_OK)
		status = keep_moment(source, PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), err);
	PQclear(result);
	if (status != PST_OK)
		psti_source_end(source);
	return status;
}

static pst_status
wrong_server(pst_error *err, const char *what, const char *planned, const char *here)
{
	psti_fail(err, PST_ERR_STATE, "the split was planned on another %s", what);
	psti_error_detail(err, "It was \"%s\", here it is \"%s\".", planned, here);
	psti_error_hint(err, "Give every worker the url of the planner, with one host and no balancing "
						 "between servers.");
	return PST_ERR_STATE;
}

/* Snapshots are known to one running server and database only. */
static pst_status
check_server(const pst_source *source, const psti_split *split, pst_error *err)
{
	const psti_caps *caps = psti_conn_caps(source->conn);

	if (strcmp(split->system, caps->system_identifier) != 0)
		return wrong_server(err, "cluster", split->system, caps->system_identifier);
	if (strcmp(split->database, caps->database) != 0)
		return wrong_server(err, "database", split->database, caps->database);
	if (strcmp(split->started, caps->postmaster_start) != 0)
	{
		psti_fail(err, PST_ERR_STATE,
				  "the split was planned on a server that was started at another time");
		psti_error_detail(err, "It was started at %s, this one at %s.", split->started,
						  caps->postmaster_start);
		psti_error_hint(err, "After a restart of the server, or on a standby of it, plan anew.");
		return PST_ERR_STATE;
	}
	if (split->relation != source->relation->oid ||
		strcmp(split->options, source->fingerprint) != 0)
	{
		psti_fail(err, PST_ERR_INVALID, "the split was planned for another read");
		psti_error_hint(err, "Open the source with the options of the planning handle.");
		return PST_ERR_INVALID;
	}
	return PST_OK;
}

/* What SET TRANSACTION SNAPSHOT says when the id means nothing to the server. */
static bool
snapshot_unknown(const pst_error *err)
{
	return strcmp(err->sqlstate, "22023") == 0 || strcmp(err->sqlstate, "42704") == 0;
}

void
psti_source_explain_lock(const pst_source *source, pst_error *err)
{
	if (strcmp(err->sqlstate, "55P03") != 0)
		return;
	psti_fail_sqlstate(err, "55P03",
					   "cannot join the read of %s: a session that waits to alter or lock it comes "
					   "first",
					   source->query != NULL ? "the query" : source->relation->qualified);
	psti_error_hint(err, "Let the handle that planned read the split, since it holds the locks, or "
						 "read again when that session is through.");
}

static pst_status
import(pst_source *source, const psti_split *split, pst_error *err)
{
	bool lock = false;
	pst_status status;

	psti_source_end(source);
	source->snapshot = strdup(split->snapshot);
	if (source->snapshot == NULL)
		return psti_fail_nomem(err);
	status = stand(source, split, &lock, err);
	if (status == PST_AGAIN)
	{
		err->retryable = false;
		return err->status;
	}
	if (status < 0)
		psti_source_explain_lock(source, err);
	if (status < 0 && snapshot_unknown(err))
	{
		status = psti_fail(err, PST_ERR_STATE, "the snapshot of the split is gone");
		psti_error_hint(err,
						"The handle that planned must stay open until the last split is read.");
	}
	if (status == PST_OK && source->snapshot == NULL)
		source->snapshot = strdup(split->snapshot);
	return status;
}

pst_status
psti_source_join(pst_source *source, const psti_split *split, pst_error *err)
{
	pst_status status = check_server(source, split, err);

	if (status != PST_OK)
		return status;
	if (source->moment != PSTI_MOMENT_NONE && source->snapshot != NULL &&
		strcmp(source->snapshot, split->snapshot) == 0)
		return PST_OK;
	if (source->moment == PSTI_MOMENT_OWN && source->planned)
	{
		psti_fail(err, PST_ERR_STATE, "the split belongs to the plan of another handle");
		psti_error_hint(err, "A handle that has planned reads the splits of its last moment only.");
		return PST_ERR_STATE;
	}
	if (strncmp(split->snapshot, "local:", 6) == 0)
	{
		psti_fail(err, PST_ERR_UNSUPPORTED,
				  "only the handle that planned can read this split: a standby of before 10 shares "
				  "no snapshots");
		return PST_ERR_UNSUPPORTED;
	}
	return import(source, split, err);
}
