/* catalog_ddl.c - making and dropping tables and databases. */
#include "catalog_ddl.h"

#include <stdlib.h>
#include <string.h>

#include "sql_texts.h"

/* Texts of the columns' types, owned; one for each field. */
typedef struct type_list
{
	char **texts;
	char **bare; /* what to look up, NULL where the type does not come from metadata */
	size_t n;
} type_list;

static void
free_types(type_list *types)
{
	for (size_t i = 0; i < types->n; i++)
	{
		if (types->texts != NULL)
			free(types->texts[i]);
		if (types->bare != NULL)
			free(types->bare[i]);
	}
	free(types->texts);
	free(types->bare);
}

/* The field's `penstock.type`, taken apart; leaves both NULL when there is none that is a type. */
static pst_status
type_of_metadata(const struct ArrowSchema *field, char **text, char **bare, pst_error *err)
{
	psti_buf whole = PSTI_BUF_INIT;
	psti_buf plain = PSTI_BUF_INIT;
	size_t n;
	const char *given = psti_schema_metadata_get(field, "penstock.type", &n);
	char *copy;
	pst_status status = PST_OK;

	if (given == NULL)
		return PST_OK;
	copy = strndup(given, n);
	if (copy == NULL)
		return psti_fail_nomem(err);
	if (psti_type_parse(copy, &whole, &plain))
	{
		*text = psti_buf_steal(&whole);
		*bare = psti_buf_steal(&plain);
		if (*text == NULL || *bare == NULL)
			status = psti_fail_nomem(err);
	}
	else if (whole.failed || plain.failed)
		status = psti_fail_nomem(err);
	free(copy);
	psti_buf_free(&whole);
	psti_buf_free(&plain);
	return status;
}

static pst_status
type_of_format(const struct ArrowSchema *field, char **text, pst_error *err)
{
	psti_buf buf = PSTI_BUF_INIT;
	pst_status status = psti_type_of_field(field, &buf, err);

	if (status == PST_OK)
		status = psti_buf_check(&buf, err);
	if (status == PST_OK)
	{
		free(*text);
		*text = psti_buf_steal(&buf);
		if (*text == NULL)
			status = psti_fail_nomem(err);
	}
	psti_buf_free(&buf);
	return status;
}

/* The types to look up as a json array of texts, null where there is none. */
static void
put_bare(const type_list *types, psti_buf *json)
{
	for (size_t i = 0; i < types->n; i++)
	{
		psti_buf_putc(json, i == 0 ? '[' : ',');
		if (types->bare[i] == NULL)
			psti_buf_puts(json, "null");
		else
			psti_json_put_string(json, types->bare[i]);
	}
	psti_buf_putc(json, ']');
}

/* Asks the server for the types that metadata named; those it lacks go by the Arrow format. */
static pst_status
look_up_types(pst_catalog *catalog, const struct ArrowSchema *schema, type_list *types,
			  pst_error *err)
{
	psti_buf json = PSTI_BUF_INIT;
	const char *params[1];
	PGresult *result = NULL;
	pst_status status;

	put_bare(types, &json);
	status = psti_buf_check(&json, err);
	params[0] = json.data;
	if (status == PST_OK)
		status = psti_conn_query(catalog->conn, "looking for the columns' types",
								 psti_sql_known_types, 1, params, &result, err);
	if (status == PST_OK && (size_t) PQntuples(result) != types->n)
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server told %d of %zu types",
						   PQntuples(result), types->n);
	for (size_t i = 0; status == PST_OK && i < types->n; i++)
		if (types->bare[i] != NULL && PQgetvalue(result, (int) i, 0)[0] != 't')
			status = type_of_format(schema->children[i], &types->texts[i], err);
	PQclear(result);
	psti_buf_free(&json);
	return status;
}

static pst_status
choose_types(pst_catalog *catalog, const struct ArrowSchema *schema, type_list *types,
			 pst_error *err)
{
	size_t n = (size_t) schema->n_children;
	bool any = false;
	pst_status status = PST_OK;

	types->texts = calloc(n + 1, sizeof(char *));
	types->bare = calloc(n + 1, sizeof(char *));
	types->n = n;
	if (types->texts == NULL || types->bare == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; status == PST_OK && i < n; i++)
	{
		status = type_of_metadata(schema->children[i], &types->texts[i], &types->bare[i], err);
		any = any || types->bare[i] != NULL;
		if (status == PST_OK && types->bare[i] == NULL)
			status = type_of_format(schema->children[i], &types->texts[i], err);
	}
	return status == PST_OK && any ? look_up_types(catalog, schema, types, err) : status;
}

/* Whether there is such a relation already; then PST_OK or PST_ERR_EXISTS by its columns. */
static pst_status
check_existing(pst_catalog *catalog, const char *table, const struct ArrowSchema *schema,
			   bool *exists, pst_error *err)
{
	psti_json *describe = NULL;
	char *text = NULL;
	pst_status status = psti_catalog_describe_one(catalog, table, true, &text, err);

	*exists = text != NULL;
	if (status == PST_OK && text != NULL)
		status = psti_json_parse(text, &describe, err);
	if (status == PST_OK && describe != NULL)
		status = psti_create_compatible(describe, schema, err);
	psti_json_free(describe);
	free(text);
	return status;
}

/* The OID in the answer to put_oid's query; 0 when it is none. */
static uint32_t
read_oid(const PGresult *result)
{
	return PQntuples(result) == 1 ? (uint32_t) strtoul(PQgetvalue(result, 0, 0), NULL, 10) : 0;
}

/* The quoted name as a text, in brackets; before is what stands before it. */
static void
put_name_text(psti_buf *sql, const char *before, const psti_name *name)
{
	psti_buf plain = PSTI_BUF_INIT;

	psti_name_put(&plain, name);
	psti_buf_printf(sql, "(%s", before);
	psti_buf_literal(sql, plain.failed ? "" : plain.data);
	psti_buf_putc(sql, ')');
	sql->failed = sql->failed || plain.failed;
	psti_buf_free(&plain);
}

/* The name's table now, as an expression. */
static void
put_oid(psti_buf *sql, const psti_name *name)
{
	put_name_text(sql, "", name);
	psti_buf_puts(sql, "::pg_catalog.regclass::pg_catalog.oid");
}

/*
 * Another session has made a relation or type of the name since we looked: then the server's own
 * check finds none either, and the catalogs' unique indexes refuse ours.
 */
static bool
made_meanwhile(const pst_error *err)
{
	return strcmp(err->sqlstate, "23505") == 0 &&
		   (strcmp(err->constraint, "pg_type_typname_nsp_index") == 0 ||
			strcmp(err->constraint, "pg_class_relname_nsp_index") == 0);
}

static void
roll_back(pst_catalog *catalog)
{
	pst_error ignored;

	psti_enter(&ignored);
	if (psti_conn_usable(catalog->conn))
		psti_conn_exec(catalog->conn, "rolling back", "ROLLBACK", NULL, &ignored);
}

/* What CREATE has made, and is not committed yet, is where nobody would find it. */
static pst_status
check_made(const PGresult *result, pst_error *err)
{
	if (read_oid(result) == 0)
	{
		psti_fail(err, PST_ERR_STATE,
				  "creating the table: behind CREATE TABLE no table has its name");
		psti_error_hint(err,
						"An event trigger moves or renames new tables, or drops them. Make the "
						"table first, and give the name that it gets.");
		return err->status;
	}
	if (PQgetvalue(result, 0, 1)[0] == 't')
	{
		psti_fail(err, PST_ERR_INVALID,
				  "creating the table: it would be a temporary table, gone with its session");
		psti_error_hint(err,
						"The search_path begins with pg_temp: give the table's schema, such as "
						"public, before its name.");
		return err->status;
	}
	return PST_OK;
}

/*
 * The OID is known before COMMIT is sent: a caller that is cancelled meanwhile can still drop what
 * may have been made. An error that the server tells means that nothing was.
 */
static pst_status
make_and_commit(pst_catalog *catalog, const char *sql, uint32_t *made, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(catalog->conn, "creating the table", sql, &result, err);
	uint32_t oid = status == PST_OK ? read_oid(result) : 0;

	if (status == PST_OK)
		status = check_made(result, err);
	PQclear(result);
	if (status != PST_OK)
	{
		roll_back(catalog);
		return status;
	}
	status = psti_conn_exec(catalog->conn, "committing the new table", "COMMIT", NULL, err);
	if (status == PST_OK || !psti_conn_usable(catalog->conn))
		*made = oid;
	return status;
}

/*
 * A name of one part means the table just made where CREATE puts it: a temporary table or one of
 * the system's would be found first by the name alone.
 */
static pst_status
make_table(pst_catalog *catalog, const psti_name *name, const struct ArrowSchema *schema,
		   const char *const *key, uint32_t *made, pst_error *err)
{
	static const char current[] =
		"pg_catalog.quote_ident(pg_catalog.current_schema()) OPERATOR(pg_catalog.||) '.' "
		"OPERATOR(pg_catalog.||) ";
	psti_buf sql = PSTI_BUF_INIT;
	type_list types = {NULL, NULL, 0};
	pst_status status = choose_types(catalog, schema, &types, err);

	psti_buf_puts(&sql, "BEGIN; ");
	if (status == PST_OK)
		status = psti_create_sql(name, schema, (const char *const *) types.texts, key, &sql, err);
	if (status == PST_OK)
	{
		psti_buf_puts(&sql, "; SELECT c.oid, c.relpersistence FROM pg_catalog.pg_class c WHERE "
							"c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass");
		put_name_text(&sql, name->nparts == 1 ? current : "", name);
		status = psti_buf_check(&sql, err);
	}
	if (status == PST_OK)
		status = make_and_commit(catalog, sql.data, made, err);
	if (status != PST_OK && made_meanwhile(err))
		status = psti_fail_sqlstate(err, "42P07",
									"creating the table: another session has just made a relation "
									"or type of this name");
	free_types(&types);
	psti_buf_free(&sql);
	return status;
}

/* Somebody made it meanwhile: then it counts as there. What is no relation stays in the way. */
static pst_status
check_meanwhile(pst_catalog *catalog, const char *table, const struct ArrowSchema *schema,
				pst_error *err)
{
	pst_error first = *err;
	bool exists = false;
	pst_status status = check_existing(catalog, table, schema, &exists, err);

	if (status == PST_OK && !exists)
		*err = first;
	return status == PST_OK && !exists ? first.status : status;
}

static pst_status
create_table(pst_catalog *catalog, const char *table, const struct ArrowSchema *schema,
			 const char *const *key, bool may_exist, uint32_t *made, pst_error *err)
{
	psti_name name = {{NULL}, 0, NULL};
	bool exists = false;
	pst_status status;

	if (schema == NULL || schema->format == NULL || strcmp(schema->format, "+s") != 0)
		return psti_fail(err, PST_ERR_INVALID, "the Arrow schema of a table is a struct (+s)");
	status = psti_name_parse(table, &name, err);
	if (status == PST_OK)
		status = psti_catalog_connect(catalog, err);
	if (status == PST_OK && may_exist)
		status = check_existing(catalog, table, schema, &exists, err);
	if (status == PST_OK && !exists)
		status = make_table(catalog, &name, schema, key, made, err);
	if (status == PST_ERR_EXISTS && may_exist && !exists && psti_conn_usable(catalog->conn))
		status = check_meanwhile(catalog, table, schema, err);
	if (status == PST_ERR_EXISTS)
		PSTI_ERROR_SET(err, table, table);
	psti_name_free(&name);
	return status;
}

pst_status
pst_catalog_create_table(pst_catalog *catalog, const char *table, const struct ArrowSchema *schema,
						 const char *const *key, int flags, uint32_t *made, pst_error *err)
{
	pst_error full;
	uint32_t ignored;

	psti_enter(&full);
	if (made == NULL)
		made = &ignored;
	*made = 0;
	if (flags & ~PST_CREATE_IF_NOT_EXISTS)
		return psti_leave(
			err, &full,
			psti_fail(&full, PST_ERR_INVALID, "unknown flags %d for creating a table", flags));
	return psti_leave(err, &full,
					  create_table(catalog, table, schema, key,
								   (flags & PST_CREATE_IF_NOT_EXISTS) != 0, made, &full));
}

/* The table is not there: says so as the other calls do, with the names that are near. */
static pst_status
fail_absent(pst_catalog *catalog, const char *table, pst_error *err)
{
	psti_question question = {.what = "looking for the table", .sql = "SELECT 1", .table = table};
	PGresult *result = NULL;
	pst_error better;
	pst_status status;

	psti_enter(&better);
	status = psti_catalog_ask(catalog, &question, NULL, &result, &better);
	if (status == PST_ERR_NOT_FOUND)
		*err = better;
	PQclear(result);
	return err->status;
}

static pst_status
run_drop(pst_catalog *catalog, const psti_name *name, const char *after, PGresult **out,
		 pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_puts(&sql, "DROP TABLE ");
	psti_name_put(&sql, name);
	psti_buf_puts(&sql, after);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(catalog->conn, "dropping the table", sql.data, out, err);
	psti_buf_free(&sql);
	return status;
}

static pst_status
fail_other_table(const char *table, uint32_t oid, pst_error *err)
{
	return psti_fail(err, PST_ERR_NOT_FOUND,
					 "table %s of OID %lu does not exist: another has its name", table,
					 (unsigned long) oid);
}

/* Runs a text whose first column tells which table has the name now: the one that is meant? */
static pst_status
ask_table(pst_catalog *catalog, const char *sql, const char *table, uint32_t oid, PGresult **out,
		  pst_error *err)
{
	pst_status status = psti_conn_exec(catalog->conn, "dropping the table", sql, out, err);

	return status == PST_OK && oid != 0 && read_oid(*out) != oid ? fail_other_table(table, oid, err)
																 : status;
}

/*
 * Looked at before the lock, so that another's table is not held up by us; and under the lock, which
 * ends what others are doing with the table, so what is seen is all there is (in the snapshot of that
 * statement, not of the transaction's first). The lock is not waited for long: whoever holds it is
 * using the table. *oid, unless it is 0, is the table that is meant; it becomes that which is locked.
 */
static pst_status
lock_table(pst_catalog *catalog, const psti_name *name, const char *table, uint32_t *oid,
		   bool empty, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	psti_buf_puts(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '2s'; SET "
						"LOCAL row_security = off; SELECT ");
	put_oid(&sql, name);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = ask_table(catalog, sql.data, table, *oid, &result, err);
	PQclear(result);
	result = NULL;
	psti_buf_reset(&sql);
	psti_buf_puts(&sql, "LOCK TABLE ");
	psti_name_put(&sql, name);
	psti_buf_puts(&sql, " IN ACCESS EXCLUSIVE MODE; SELECT ");
	put_oid(&sql, name);
	psti_buf_puts(&sql, empty ? ", EXISTS (SELECT FROM " : ", false");
	if (empty)
	{
		psti_name_put(&sql, name);
		psti_buf_putc(&sql, ')');
	}
	if (status == PST_OK)
		status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = ask_table(catalog, sql.data, table, *oid, &result, err);
	if (status == PST_OK && PQgetvalue(result, 0, 1)[0] != 'f')
		status = psti_fail(err, PST_ERR_STATE, "table %s is not empty", table);
	if (status == PST_OK)
		*oid = read_oid(result);
	PQclear(result);
	psti_buf_free(&sql);
	return status;
}

static pst_status
drop_checked(pst_catalog *catalog, const psti_name *name, const char *table, uint32_t oid,
			 bool empty, pst_error *err)
{
	char gone[160];
	PGresult *result = NULL;
	pst_status status = lock_table(catalog, name, table, &oid, empty, err);

	/* The lock does not keep the schema's name: what was dropped by name must be what was locked. */
	snprintf(gone, sizeof(gone),
			 "; SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.oid "
			 "OPERATOR(pg_catalog.=) %lu::pg_catalog.oid",
			 (unsigned long) oid);
	if (status == PST_OK)
		status = run_drop(catalog, name, gone, &result, err);
	if (status == PST_OK && read_oid(result) != 0)
		status = fail_other_table(table, oid, err);
	PQclear(result);
	if (status == PST_OK)
		status = psti_conn_exec(catalog->conn, "committing the drop", "COMMIT", NULL, err);
	if (status != PST_OK)
		roll_back(catalog);
	return status;
}

pst_status
pst_catalog_drop_table(pst_catalog *catalog, const char *table, uint32_t oid, int flags,
					   pst_error *err)
{
	pst_error full;
	psti_name name = {{NULL}, 0, NULL};
	bool empty = (flags & PST_DROP_IF_EMPTY) != 0;
	pst_status status = PST_OK;

	psti_enter(&full);
	if (flags & ~PST_DROP_IF_EMPTY)
		status = psti_fail(&full, PST_ERR_INVALID, "unknown flags %d for dropping a table", flags);
	if (status == PST_OK)
		status = psti_name_parse(table, &name, &full);
	if (status == PST_OK)
		status = psti_catalog_connect(catalog, &full);
	if (status == PST_OK)
		status = empty || oid != 0 ? drop_checked(catalog, &name, table, oid, empty, &full)
								   : run_drop(catalog, &name, "", NULL, &full);
	if (status == PST_ERR_NOT_FOUND)
		status = fail_absent(catalog, table, &full);
	psti_name_free(&name);
	return psti_leave(err, &full, status);
}

/* CREATE and DROP DATABASE take one name, letter by letter, and stand outside of transactions. */
static pst_status
database_ddl(pst_catalog *catalog, const char *verb, const char *what, const char *database,
			 pst_error *err)
{
	pst_error full;
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	psti_enter(&full);
	status = psti_name_check("database", database, &full);
	if (status == PST_OK)
	{
		psti_buf_puts(&sql, verb);
		psti_buf_ident(&sql, database);
		status = psti_buf_check(&sql, &full);
	}
	if (status == PST_OK)
		status = psti_catalog_connect(catalog, &full);
	if (status == PST_OK)
		status = psti_conn_exec(catalog->conn, what, sql.data, NULL, &full);
	psti_buf_free(&sql);
	return psti_leave(err, &full, status);
}

pst_status
pst_catalog_create_database(pst_catalog *catalog, const char *database, pst_error *err)
{
	return database_ddl(catalog, "CREATE DATABASE ", "creating the database", database, err);
}

pst_status
pst_catalog_drop_database(pst_catalog *catalog, const char *database, pst_error *err)
{
	return database_ddl(catalog, "DROP DATABASE ", "dropping the database", database, err);
}
