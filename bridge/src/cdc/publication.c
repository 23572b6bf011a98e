/* publication.c - what pgoutput sends changes of: made or checked. See publication.h. */
#include "publication.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql_texts.h"

/* The columns of the text `publication`. */
enum
{
	P_OID,
	P_OWNER,
	P_ALL_TABLES,
	P_INSERT,
	P_UPDATE,
	P_DELETE,
	P_TRUNCATE,
	P_VIA_ROOT,
	P_OURS
};

/* The columns of the text `publication_tables`. */
enum
{
	T_NAME,
	T_PARTITIONED,
	T_COVERED,
	T_RESTRICTED,
	T_NAMELESS
};

typedef struct publication
{
	psti_conn *conn;
	const psti_publication *wanted;
	unsigned operations; /* wanted, of those that this server has */
	PGresult *found;	 /* owned; no row: there is none */
	PGresult *tables;	 /* owned */
	psti_buf name;		 /* quoted */
} publication;

static bool
is_true(const PGresult *result, int row, int field)
{
	return PQgetvalue(result, row, field)[0] == 't';
}

static bool
is_there(const publication *pub)
{
	return PQntuples(pub->found) > 0;
}

/* ---- What there is ---- */

static pst_status
ask_tables(publication *pub, pst_error *err)
{
	int version = psti_conn_caps(pub->conn)->server_version;
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *schemas = NULL;
	const char *params[4] = {"0", NULL, "{}", version >= 130000 ? "t" : "f"};
	pst_status status = PST_OK;

	psti_buf_putc(&oids, '{');
	for (size_t i = 0; i < pub->wanted->ntables; i++)
		psti_buf_printf(&oids, "%s%u", i > 0 ? "," : "", pub->wanted->tables[i]);
	psti_buf_putc(&oids, '}');
	status = psti_buf_check(&oids, err);
	params[1] = oids.data;
	if (is_there(pub))
		params[0] = PQgetvalue(pub->found, 0, P_OID);
	if (status == PST_OK && is_there(pub) && version >= 150000)
	{
		status = psti_conn_query(pub->conn, "looking at the publication",
								 psti_sql_publication_schemas, 1, params, &schemas, err);
		if (status == PST_OK)
			params[2] = PQgetvalue(schemas, 0, 0);
	}
	if (status == PST_OK)
		status = psti_conn_query(pub->conn, "looking at the publication's tables",
								 psti_sql_publication_tables, 4, params, &pub->tables, err);
	PQclear(schemas);
	psti_buf_free(&oids);
	return status;
}

static pst_status
ask_publication(publication *pub, pst_error *err)
{
	const char *params[1] = {pub->wanted->name};

	PQclear(pub->found);
	pub->found = NULL;
	PQclear(pub->tables);
	pub->tables = NULL;
	return psti_conn_query(pub->conn, "looking for the publication", psti_sql_publication, 1,
						   params, &pub->found, err);
}

/* ---- Statements ---- */

/* "insert, update" */
static void
put_operations(unsigned operations, psti_buf *out)
{
	static const char *const names[] = {"insert", "update", "delete", "truncate"};
	const char *between = "";

	for (unsigned i = 0; i < 4; i++)
		if ((operations & 1u << i) != 0)
		{
			psti_buf_printf(out, "%s%s", between, names[i]);
			between = ", ";
		}
}

/* The tables that are not published, "ONLY a.b, ONLY c.d"; how many they are. */
static int
put_tables(const publication *pub, psti_buf *out)
{
	int n = 0;

	for (int row = 0; row < PQntuples(pub->tables); row++)
		if (!is_true(pub->tables, row, T_COVERED))
			psti_buf_printf(out, "%sONLY %s", n++ > 0 ? ", " : "",
							PQgetvalue(pub->tables, row, T_NAME));
	return n;
}

/* What is published now, by P_INSERT and those behind it. */
static unsigned
published(const publication *pub)
{
	unsigned operations = 0;

	for (int i = 0; i < 4; i++)
		operations |= is_true(pub->found, 0, P_INSERT + i) ? 1u << i : 0;
	return operations;
}

/*
 * Where transactions that have written a table go on while it is published, older servers forget later that
 * it is: those that end after it lose their changes, and so may all that follow (mended in 13.21, 14.18, 15.13,
 * 16.9 and 17.5). So none goes on.
 */
static bool
must_lock(int version)
{
	static const int mended[] = {130021, 140018, 150013, 160009, 170005};

	for (size_t i = 0; i < sizeof(mended) / sizeof(mended[0]); i++)
		if (version / 10000 <= mended[i] / 10000)
			return version < mended[i];
	return false;
}

/*
 * The statements that make it what is wanted; none: it is. A comment is how penstock knows its own again.
 */
static void
put_statements(const publication *pub, psti_buf *out)
{
	psti_buf tables = PSTI_BUF_INIT;
	int n = put_tables(pub, &tables);

	psti_buf_puts(out, "");
	if (tables.failed)
		out->failed = true;
	if (!is_there(pub))
	{
		psti_buf_printf(out, "CREATE PUBLICATION %s", pub->name.data);
		if (n > 0)
			psti_buf_printf(out, " FOR TABLE %s", tables.data);
		psti_buf_puts(out, " WITH (publish = '");
		put_operations(pub->operations, out);
		psti_buf_printf(out, "'); COMMENT ON PUBLICATION %s IS 'made by penstock';",
						pub->name.data);
		psti_buf_free(&tables);
		return;
	}
	if ((pub->operations & ~published(pub)) != 0)
	{
		psti_buf_printf(out, "ALTER PUBLICATION %s SET (publish = '", pub->name.data);
		put_operations(pub->operations | published(pub), out);
		psti_buf_puts(out, "'); ");
	}
	if (n > 0 && must_lock(psti_conn_caps(pub->conn)->server_version))
		psti_buf_printf(
			out, "SET LOCAL lock_timeout = '3s'; LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE; ",
			tables.data);
	if (n > 0)
		psti_buf_printf(out, "ALTER PUBLICATION %s ADD TABLE %s;", pub->name.data, tables.data);
	psti_buf_free(&tables);
}

/* ---- What cannot be ---- */

static pst_status
fail_restricted(const publication *pub, const char *table, pst_error *err)
{
	psti_fail(err, PST_ERR_STATE, "publication %s has only some of the rows or columns of %s",
			  pub->name.data, table);
	psti_error_hint(
		err,
		"ALTER PUBLICATION %s DROP TABLE ONLY %s; ALTER PUBLICATION %s ADD TABLE ONLY %s; or name "
		"another publication by publication.name.",
		pub->name.data, table, pub->name.data, table);
	return err->status;
}

/* A leaf's changes would come without saying which it is, and its own TRUNCATE not at all. */
static pst_status
fail_via_root(const publication *pub, const char *table, pst_error *err)
{
	psti_fail(
		err, PST_ERR_STATE,
		"publication %s publishes the partitioned %s via its root, which leaves out truncates of "
		"partitions",
		pub->name.data, table);
	psti_error_hint(err, "ALTER PUBLICATION %s SET (publish_via_partition_root = false);",
					pub->name.data);
	return err->status;
}

static pst_status
fail_nameless(const char *table, pst_error *err)
{
	psti_fail(err, PST_ERR_STATE,
			  "UPDATE and DELETE on %s would fail once it is published: it has no replica identity",
			  table);
	psti_error_hint(
		err,
		"ALTER TABLE %s REPLICA IDENTITY FULL; or capture inserts only: cdc.operations=insert, "
		"scan.startup.mode=latest-offset.",
		table);
	return err->status;
}

static pst_status
check_tables(const publication *pub, pst_error *err)
{
	bool updates = (pub->operations & (PSTI_PUBLISH_UPDATE | PSTI_PUBLISH_DELETE)) != 0;
	bool via_root = is_there(pub) && is_true(pub->found, 0, P_VIA_ROOT);

	for (int row = 0; row < PQntuples(pub->tables); row++)
	{
		const char *name = PQgetvalue(pub->tables, row, T_NAME);

		if (!PQgetisnull(pub->tables, row, T_RESTRICTED))
			return fail_restricted(pub, PQgetvalue(pub->tables, row, T_RESTRICTED), err);
		if (via_root && is_true(pub->tables, row, T_PARTITIONED))
			return fail_via_root(pub, name, err);
		/* Of one that is published already the server has refused them before. */
		if (updates && !is_true(pub->tables, row, T_COVERED) &&
			!PQgetisnull(pub->tables, row, T_NAMELESS))
			return fail_nameless(PQgetvalue(pub->tables, row, T_NAMELESS), err);
	}
	return PST_OK;
}

/* What somebody else has made is not changed: others may live on what it has. */
static pst_status
fail_foreign(const publication *pub, const char *statements, pst_error *err)
{
	bool lacks = (pub->operations & ~published(pub)) != 0;
	psti_buf operations = PSTI_BUF_INIT;
	psti_buf tables = PSTI_BUF_INIT;
	int n = put_tables(pub, &tables);

	put_operations(pub->operations & ~published(pub), &operations);
	if (tables.failed || operations.failed)
		psti_fail_nomem(err);
	else
	{
		psti_fail(err, PST_ERR_STATE, "publication %s lacks what is to be captured",
				  pub->name.data);
		psti_error_detail(err, "It does not have %s%s%s.", lacks ? operations.data : "",
						  lacks && n > 0 ? " and " : "", n > 0 ? tables.data : "");
		psti_error_hint(err, "%s", statements);
	}
	psti_buf_free(&operations);
	psti_buf_free(&tables);
	return err->status;
}

/* The server's reason stays; the hint is what a role that may has to run. */
static void
hint_statements(const publication *pub, const char *statements, pst_error *err)
{
	if (psti_conn_caps(pub->conn)->in_recovery)
		psti_error_hint(err, "On the primary: %s", statements);
	else
		psti_error_hint(err, "%s", statements);
}

/* ---- Making it so ---- */

static pst_status
apply(publication *pub, bool *changed, pst_error *err)
{
	psti_buf statements = PSTI_BUF_INIT;
	bool foreign = is_there(pub) && !is_true(pub->found, 0, P_OURS);
	pst_status status;

	put_statements(pub, &statements);
	status = psti_buf_check(&statements, err);
	if (status == PST_OK && statements.len > 0)
	{
		if (foreign)
			status = fail_foreign(pub, statements.data, err);
		else
		{
			/* One message: all of it or nothing. */
			status = psti_conn_exec(pub->conn, "publishing the tables", statements.data, NULL, err);
			*changed = status == PST_OK;
			if (status != PST_OK && psti_conn_usable(pub->conn))
				hint_statements(pub, statements.data, err);
		}
	}
	psti_buf_free(&statements);
	return status;
}

static pst_status
look(publication *pub, pst_error *err)
{
	pst_status status = ask_publication(pub, err);

	if (status == PST_OK)
		status = ask_tables(pub, err);
	return status == PST_OK ? check_tables(pub, err) : status;
}

pst_status
psti_publication_ensure(psti_conn *conn, const psti_publication *wanted, bool *changed,
						pst_error *err)
{
	publication pub = {.conn = conn, .wanted = wanted, .operations = wanted->operations};
	pst_status status;

	*changed = false;
	if (psti_conn_caps(conn)->server_version < 110000)
		pub.operations &= ~PSTI_PUBLISH_TRUNCATE;
	psti_buf_ident(&pub.name, wanted->name);
	status = psti_buf_check(&pub.name, err);
	if (status == PST_OK)
		status = look(&pub, err);
	if (status == PST_OK)
		status = apply(&pub, changed, err);
	/* Somebody else was faster. */
	if (status == PST_ERR_EXISTS && psti_conn_usable(conn))
	{
		status = look(&pub, err);
		if (status == PST_OK)
			status = apply(&pub, changed, err);
	}
	PQclear(pub.found);
	PQclear(pub.tables);
	psti_buf_free(&pub.name);
	return status;
}

pst_status
psti_publication_find(psti_conn *conn, const char *name, uint32_t *oid, pst_error *err)
{
	psti_publication wanted = {.name = name};
	publication pub = {.conn = conn, .wanted = &wanted};
	pst_status status = ask_publication(&pub, err);

	*oid = 0;
	if (status == PST_OK && is_there(&pub))
		*oid = (uint32_t) strtoul(PQgetvalue(pub.found, 0, P_OID), NULL, 10);
	PQclear(pub.found);
	return status;
}

/* Both come ascending by table. */
static pst_status
merge_members(const PGresult *direct, const PGresult *schemas, psti_published **out, size_t *n,
			  pst_error *err)
{
	const PGresult *results[] = {direct, schemas};
	int at[] = {0, 0};
	int most = PQntuples(direct) + (schemas != NULL ? PQntuples(schemas) : 0);

	*n = 0;
	*out = calloc((size_t) most + 1, sizeof(**out));
	if (*out == NULL)
		return psti_fail_nomem(err);
	while (*n < (size_t) most)
	{
		psti_published next = {.table = UINT32_MAX};
		int from = 0;

		for (int i = 0; i < 2; i++)
		{
			uint32_t table;

			if (results[i] == NULL || at[i] == PQntuples(results[i]))
				continue;
			table = (uint32_t) strtoul(PQgetvalue(results[i], at[i], 0), NULL, 10);
			if (table > next.table)
				continue;
			next.table = table;
			next.member = (uint32_t) strtoul(PQgetvalue(results[i], at[i], 1), NULL, 10);
			from = i;
		}
		at[from]++;
		(*out)[(*n)++] = next;
	}
	return PST_OK;
}

pst_status
psti_publication_members(psti_conn *conn, uint32_t oid, const uint32_t *tables, size_t ntables,
						 psti_published **out, size_t *n, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *direct = NULL;
	PGresult *schemas = NULL;
	char text[16];
	const char *params[2] = {text};
	pst_status status;

	*out = NULL;
	*n = 0;
	snprintf(text, sizeof(text), "%u", (unsigned) oid);
	psti_buf_putc(&oids, '{');
	for (size_t i = 0; i < ntables; i++)
		psti_buf_printf(&oids, "%s%u", i > 0 ? "," : "", (unsigned) tables[i]);
	psti_buf_putc(&oids, '}');
	status = psti_buf_check(&oids, err);
	params[1] = oids.data;
	if (status == PST_OK)
		status = psti_conn_query(conn, "looking what the publication has",
								 psti_sql_publication_members, 2, params, &direct, err);
	if (status == PST_OK && psti_conn_caps(conn)->server_version >= 150000)
		status = psti_conn_query(conn, "looking what the publication has",
								 psti_sql_publication_schema_members, 2, params, &schemas, err);
	if (status == PST_OK)
		status = merge_members(direct, schemas, out, n, err);
	PQclear(direct);
	PQclear(schemas);
	psti_buf_free(&oids);
	return status;
}

pst_status
psti_publication_drop(psti_conn *conn, const char *name, pst_error *err)
{
	psti_publication wanted = {.name = name};
	publication pub = {.conn = conn, .wanted = &wanted};
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status = ask_publication(&pub, err);

	if (status == PST_OK && is_there(&pub) && is_true(pub.found, 0, P_OURS))
	{
		psti_buf_puts(&sql, "DROP PUBLICATION IF EXISTS ");
		psti_buf_ident(&sql, name);
		status = psti_buf_check(&sql, err);
		if (status == PST_OK)
			status = psti_conn_exec(conn, "dropping the publication", sql.data, NULL, err);
	}
	PQclear(pub.found);
	psti_buf_free(&sql);
	return status;
}
