/*
 * catalog.c - what there is on a server: the handle, and the answers of sql/10_catalog.sql.
 *
 * Every answer is one round trip: a pipeline of the table's resolution under the caller's
 * search_path, the pinning of the path, and the text itself, in the one transaction that a pipeline
 * is. The settings are local to it, so the session stays as it was.
 */
#include "catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relation.h"
#include "sql_texts.h"

#define CATALOG_STEPS 3
/* Times that a question is asked again after an internal error. */
#define MOST_AGAIN 4

/*
 * Catalog queries touch many small tables: their estimated cost makes the server compile them, which
 * takes seconds where running takes milliseconds.
 */
static const char pin_11[] =
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), "
	"pg_catalog.set_config('jit', 'off', true)";
static const char pin[] =
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)";

/* The type table as the text `describe` takes it; the last, empty entry matches nothing. */
static const char type_map[] = "["
#define PST_TYPE(name, oid, array_oid, format, flink, extension)                                   \
	"{\"oid\":" #oid ",\"arrow\":\"" format "\",\"flink\":\"" flink                                \
	"\",\"extension\":\"" extension "\"},"
#include "types.def"
							   "{}]";

/* --- the handle -------------------------------------------------------------------------- */

/* Whether a list names anything; the rule is that of the text `databases`. */
static bool
names_any(const char *list)
{
	return list != NULL && list[strspn(list, "; \t\r\n\f\v")] != '\0';
}

static pst_status
check_lists(const psti_options *options, pst_error *err)
{
	if (!names_any(psti_opt_text(options, PSTI_OPT_WHITELIST)) ||
		!names_any(psti_opt_text(options, PSTI_OPT_BLACKLIST)))
		return PST_OK;
	psti_fail_sqlstate(err, "22023",
					   "the options database.whitelist and database.blacklist are both given");
	err->status = PST_ERR_INVALID;
	psti_error_hint(err, "Give the databases to list or the databases to hide, not both.");
	return err->status;
}

pst_status
pst_catalog_open(const char *const *keys, const char *const *values, const pst_hooks *hooks,
				 pst_catalog **out, pst_error *err)
{
	pst_error full;
	pst_catalog *catalog;
	pst_status status;

	psti_enter(&full);
	*out = NULL;
	catalog = calloc(1, sizeof(*catalog));
	if (catalog == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	status = psti_hooks_copy(hooks, &catalog->hooks, &full);
	if (status == PST_OK)
		status =
			psti_options_new(keys, values, PSTI_CATALOG, &catalog->hooks, &catalog->options, &full);
	if (status == PST_OK)
		status = check_lists(catalog->options, &full);
	if (status == PST_OK)
		status = psti_opt_check_transport(catalog->options, &full);
	if (status == PST_OK)
		status = psti_catalog_connect(catalog, &full);
	if (status == PST_OK)
		*out = catalog;
	else
		pst_catalog_close(catalog);
	return psti_leave(err, &full, status);
}

void
pst_catalog_close(pst_catalog *catalog)
{
	if (catalog == NULL)
		return;
	psti_conn_close(catalog->conn);
	psti_options_free(catalog->options);
	psti_hooks_free(&catalog->hooks);
	free(catalog);
}

pst_status
psti_catalog_connect(pst_catalog *catalog, pst_error *err)
{
	const psti_caps *caps;
	pst_status status;

	if (catalog->conn != NULL && psti_conn_usable(catalog->conn))
		return PST_OK;
	psti_conn_close(catalog->conn);
	catalog->conn = NULL;
	status = psti_conn_open(catalog->options, NULL, &catalog->hooks, &catalog->conn, err);
	if (status != PST_OK)
		return status;
	caps = psti_conn_caps(catalog->conn);
	snprintf(catalog->place, sizeof(catalog->place), "%s/%s/%s", caps->system_identifier,
			 caps->postmaster_start, caps->database);
	return PST_OK;
}

const char *
pst_catalog_place(const pst_catalog *catalog)
{
	return catalog->place;
}

/* --- asking ------------------------------------------------------------------------------ */

pst_status
psti_catalog_messages(const pst_catalog *catalog, const PGresult *result, int first, pst_error *err)
{
	for (int row = 0; row < PQntuples(result); row++)
	{
		const char *message = PQgetvalue(result, row, first + 1);
		const char *hint = PQgetvalue(result, row, first + 2);
		const char *sqlstate = PQgetvalue(result, row, first);

		if (PQgetisnull(result, row, first))
			continue;
		if (strncmp(sqlstate, "01", 2) == 0)
		{
			psti_log(&catalog->hooks, PST_LOG_WARNING, "%s%s%s", message,
					 hint[0] == '\0' ? "" : ". ", hint);
			continue;
		}
		psti_fail_sqlstate(err, sqlstate, "%s", message);
		if (hint[0] != '\0')
			psti_error_hint(err, "%s", hint);
		return err->status;
	}
	return PST_OK;
}

static pst_status
read_resolved(const pst_catalog *catalog, const PGresult *result, const char *table, bool *found,
			  pst_error *err)
{
	pst_status status;

	if (PQntuples(result) != 1 || PQnfields(result) < 4)
		return psti_fail(err, PST_ERR_PROTOCOL, "the server gave no answer on \"%s\"", table);
	status = psti_catalog_messages(catalog, result, 1, err);
	if (status != PST_OK)
	{
		if (status == PST_ERR_NOT_FOUND)
			psti_relation_hint_absent(catalog->conn, table, err);
		PSTI_ERROR_SET(err, table, table);
		return status;
	}
	if (found != NULL)
		*found = !PQgetisnull(result, 0, 0);
	return PST_OK;
}

static pst_status
ask_once(pst_catalog *catalog, const psti_question *q, bool *found, PGresult **out, pst_error *err)
{
	const char *names[] = {q->table, q->may_be_absent ? "any" : ""};
	bool new_enough = psti_conn_caps(catalog->conn)->server_version >= 110000;
	psti_step steps[CATALOG_STEPS];
	PGresult *results[CATALOG_STEPS] = {NULL};
	size_t n = 0;
	int failed;
	pst_status status;

	if (q->table != NULL)
		steps[n++] =
			(psti_step){.what = q->what, .sql = psti_sql_resolve, .nparams = 2, .params = names};
	steps[n++] = (psti_step){.what = q->what, .sql = new_enough ? pin_11 : pin};
	steps[n++] =
		(psti_step){.what = q->what, .sql = q->sql, .nparams = q->nparams, .params = q->values};
	status = psti_conn_pipeline(catalog->conn, steps, n, results, &failed, err);
	if (status != PST_OK && q->table != NULL && failed == 0)
		status = psti_relation_bad_name(q->table, err);
	if (status == PST_OK && q->table != NULL)
		status = read_resolved(catalog, results[0], q->table, found, err);
	if (status == PST_OK && PQnfields(results[n - 1]) < (q->nfields > 1 ? q->nfields : 1))
		status = psti_fail(err, PST_ERR_PROTOCOL, "%s: the server's answer has %d columns", q->what,
						   PQnfields(results[n - 1]));
	if (status == PST_OK)
	{
		*out = results[n - 1];
		results[n - 1] = NULL;
	}
	for (size_t i = 0; i < n; i++)
		PQclear(results[i]);
	return status;
}

/*
 * A relation that is dropped while the server prints its parts is an internal error there. Questions change
 * nothing, so they are asked again.
 */
static pst_status
ask(pst_catalog *catalog, const psti_question *question, bool *found, PGresult **out,
	pst_error *err)
{
	pst_status status = ask_once(catalog, question, found, out, err);

	for (int again = 0;
		 again < MOST_AGAIN && status != PST_OK && strcmp(err->sqlstate, "XX000") == 0; again++)
		status = ask_once(catalog, question, found, out, err);
	return status;
}

pst_status
psti_catalog_ask(pst_catalog *catalog, const psti_question *question, bool *found, PGresult **out,
				 pst_error *err)
{
	pst_status status;

	*out = NULL;
	if (found != NULL)
		*found = false;
	status = psti_catalog_connect(catalog, err);
	if (status != PST_OK)
		return status;
	status = ask(catalog, question, found, out, err);
	if (status != PST_ERR_CONNECTION || psti_conn_usable(catalog->conn))
		return status;
	psti_log(&catalog->hooks, PST_LOG_INFO, "connecting anew: %s", err->message);
	status = psti_catalog_connect(catalog, err);
	return status == PST_OK ? ask(catalog, question, found, out, err) : status;
}

/* --- answers ----------------------------------------------------------------------------- */

/* Moves what a buffer holds to the caller's *out. */
static pst_status
give(psti_buf *buf, char **out, pst_error *err)
{
	pst_status status = psti_buf_check(buf, err);

	if (status == PST_OK)
	{
		*out = psti_buf_steal(buf);
		if (*out == NULL)
			status = psti_fail_nomem(err);
	}
	return status;
}

/*
 * Column 0 of the rows as a json array, of names or of values that are json already. Rows where it
 * is NULL are warnings, which have a message instead, or none.
 */
static pst_status
give_array(const PGresult *result, bool names, int sqlstate_column, char **out, pst_error *err)
{
	psti_buf json = PSTI_BUF_INIT;
	const char *comma = "";
	pst_status status;

	psti_buf_putc(&json, '[');
	for (int row = 0; row < PQntuples(result); row++)
	{
		if (PQgetisnull(result, row, 0) ||
			(sqlstate_column >= 0 && !PQgetisnull(result, row, sqlstate_column)))
			continue;
		psti_buf_puts(&json, comma);
		if (names)
			psti_json_put_string(&json, PQgetvalue(result, row, 0));
		else
			psti_buf_puts(&json, PQgetvalue(result, row, 0));
		comma = names ? "," : ",\n";
	}
	psti_buf_putc(&json, ']');
	status = give(&json, out, err);
	psti_buf_free(&json);
	return status;
}

pst_status
psti_catalog_list(pst_catalog *catalog, const psti_question *question, bool names, bool messages,
				  char **out, pst_error *err)
{
	pst_error full;
	PGresult *result = NULL;
	pst_status status;

	psti_enter(&full);
	*out = NULL;
	status = psti_catalog_ask(catalog, question, NULL, &result, &full);
	if (status == PST_OK && messages)
		status = psti_catalog_messages(catalog, result, 1, &full);
	if (status == PST_OK)
		status = give_array(result, names, messages ? 1 : -1, out, &full);
	PQclear(result);
	return psti_leave(err, &full, status);
}

pst_status
pst_catalog_databases(pst_catalog *catalog, char **json, pst_error *err)
{
	const char *lists[] = {psti_opt_text(catalog->options, PSTI_OPT_WHITELIST),
						   psti_opt_text(catalog->options, PSTI_OPT_BLACKLIST),
						   "database.whitelist"};
	psti_question question = {.what = "listing databases",
							  .sql = psti_sql_databases,
							  .nfields = 4,
							  .nparams = 3,
							  .values = lists};

	return psti_catalog_list(catalog, &question, true, true, json, err);
}

pst_status
pst_catalog_schemas(pst_catalog *catalog, char **json, pst_error *err)
{
	psti_question question = {.what = "listing schemas", .sql = psti_sql_schemas};

	return psti_catalog_list(catalog, &question, true, false, json, err);
}

pst_status
pst_catalog_tables(pst_catalog *catalog, const char *schema, char **json, pst_error *err)
{
	const char *values[] = {schema};
	psti_question question = {.what = "listing tables",
							  .sql = psti_sql_tables,
							  .nfields = 4,
							  .nparams = 1,
							  .values = values};

	return psti_catalog_list(catalog, &question, false, true, json, err);
}

/* The text `describe` with the half that fits the server's version. */
static void
put_describe_sql(const pst_catalog *catalog, psti_buf *sql)
{
	bool partitions = psti_conn_caps(catalog->conn)->server_version >= 100000;

	psti_buf_puts(sql, "WITH RECURSIVE ");
	psti_buf_puts(sql, partitions ? psti_sql_describe_partitions : psti_sql_describe_no_partitions);
	psti_buf_puts(sql, ",\n");
	psti_buf_puts(sql, psti_sql_describe);
}

/* Rows of describe json: of one table, or of all of a schema (NULL: of all but the system's). */
static pst_status
ask_describe(pst_catalog *catalog, const char *table, bool may_be_absent, const char *schema,
			 bool *found, PGresult **out, pst_error *err)
{
	const char *values[] = {table == NULL ? NULL : "0", schema, type_map};
	psti_buf sql = PSTI_BUF_INIT;
	psti_question question = {.what = "describing",
							  .nparams = 3,
							  .values = values,
							  .table = table,
							  .may_be_absent = may_be_absent};
	pst_status status;

	*out = NULL;
	status = psti_catalog_connect(catalog, err);
	if (status != PST_OK)
		return status;
	put_describe_sql(catalog, &sql);
	status = psti_buf_check(&sql, err);
	question.sql = sql.data;
	if (status == PST_OK)
		status = psti_catalog_ask(catalog, &question, found, out, err);
	psti_buf_free(&sql);
	return status;
}

pst_status
psti_catalog_describe_one(pst_catalog *catalog, const char *table, bool may_be_absent, char **out,
						  pst_error *err)
{
	PGresult *result = NULL;
	bool found = false;
	pst_status status;

	*out = NULL;
	status = ask_describe(catalog, table, may_be_absent, NULL, &found, &result, err);
	if (status == PST_OK && PQntuples(result) == 1)
	{
		*out = strdup(PQgetvalue(result, 0, 0));
		if (*out == NULL)
			status = psti_fail_nomem(err);
	}
	/* Found and then gone: dropped between the two statements. */
	else if (status == PST_OK && !may_be_absent)
		status = psti_fail_sqlstate(err, "42P01", "relation \"%s\" does not exist", table);
	PQclear(result);
	return status;
}

pst_status
pst_catalog_describe(pst_catalog *catalog, const char *table, char **json, pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	return psti_leave(err, &full, psti_catalog_describe_one(catalog, table, false, json, &full));
}

pst_status
pst_catalog_describe_all(pst_catalog *catalog, const char *schema, char **json, pst_error *err)
{
	pst_error full;
	PGresult *result = NULL;
	pst_status status;

	psti_enter(&full);
	*json = NULL;
	status = ask_describe(catalog, NULL, false, schema, NULL, &result, &full);
	if (status == PST_OK)
		status = give_array(result, false, -1, json, &full);
	PQclear(result);
	return psti_leave(err, &full, status);
}

pst_status
pst_catalog_flink_ddl(pst_catalog *catalog, const char *table, char **ddl, pst_error *err)
{
	pst_error full;
	psti_buf url = PSTI_BUF_INIT;
	psti_buf text = PSTI_BUF_INIT;
	psti_json *describe = NULL;
	char *json = NULL;
	pst_status status;

	psti_enter(&full);
	*ddl = NULL;
	status = psti_catalog_describe_one(catalog, table, false, &json, &full);
	if (status == PST_OK)
		status = psti_json_parse(json, &describe, &full);
	if (status == PST_OK)
	{
		PGconn *pg = psti_conn_pg(catalog->conn);

		psti_flink_url(psti_opt_text(catalog->options, PSTI_OPT_URL), PQhost(pg), PQport(pg),
					   PQdb(pg), &url);
		status = psti_buf_check(&url, &full);
	}
	if (status == PST_OK)
		status =
			psti_flink_ddl(describe, url.data, PQuser(psti_conn_pg(catalog->conn)), &text, &full);
	if (status == PST_OK)
		status = give(&text, ddl, &full);
	psti_json_free(describe);
	free(json);
	psti_buf_free(&text);
	psti_buf_free(&url);
	return psti_leave(err, &full, status);
}
