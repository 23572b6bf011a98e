/* catalog_doctor.c - what works on a server and what a role needs: sql/11_doctor.sql. */
#include "catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql_texts.h"

/* What the client knows of its connection, which the server cannot: a pooler may be in between. */
typedef struct client_view
{
	char pid[16];
	const char *tls; /* "TLSv1.3", or "" */
	bool local;		 /* a socket, or this machine's own address */
} client_view;

static bool
is_local(PGconn *pg)
{
	const char *host = PQhost(pg);
	const char *address = PQhostaddr(pg);

	if (host == NULL || host[0] == '/' || host[0] == '@' || host[0] == '\0')
		return true;
	return address != NULL && (strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0);
}

static client_view
look_at(PGconn *pg)
{
	client_view view = {.tls = "", .local = is_local(pg)};

	snprintf(view.pid, sizeof(view.pid), "%d", PQbackendPID(pg));
	if (PQsslInUse(pg))
	{
		const char *protocol = PQsslAttribute(pg, "protocol");

		view.tls = protocol == NULL ? "TLS" : protocol;
	}
	return view;
}

static void
put_member(psti_buf *out, const char *key, const char *value)
{
	psti_json_put_string(out, key);
	psti_buf_putc(out, ':');
	psti_json_put_string(out, value);
}

/* One line for people, and the same as members for programs. */
static void
put_server(psti_buf *out, pst_catalog *catalog, const client_view *view)
{
	const psti_caps *caps = psti_conn_caps(catalog->conn);
	const char *version = PQparameterStatus(psti_conn_pg(catalog->conn), "server_version");
	psti_buf line = PSTI_BUF_INIT;

	/* "15.20 (Debian 15.20-0+deb12u1)": the number says enough. */
	psti_buf_printf(&line, "PostgreSQL %.*s%s, database %s, role %s, %s, %s",
					version == NULL ? 0 : (int) strcspn(version, " "),
					version == NULL ? "" : version, caps->in_recovery ? " (standby)" : "",
					caps->database, caps->role, caps->encoding,
					view->tls[0] == '\0' ? "not encrypted" : view->tls);
	out->failed = out->failed || line.failed;
	put_member(out, "server", line.failed ? "" : line.data);
	psti_buf_printf(out, ",\"about\":{\"version\":%d,\"standby\":%s,\"superuser\":%s,",
					caps->server_version, caps->in_recovery ? "true" : "false",
					caps->superuser ? "true" : "false");
	put_member(out, "database", caps->database);
	psti_buf_putc(out, ',');
	put_member(out, "role", caps->role);
	psti_buf_putc(out, ',');
	put_member(out, "encoding", caps->encoding);
	psti_buf_putc(out, ',');
	put_member(out, "tls", view->tls);
	psti_buf_putc(out, ',');
	put_member(out, "extension", caps->extension_version);
	psti_buf_putc(out, '}');
	psti_buf_free(&line);
}

static void
put_checks(psti_buf *out, const PGresult *result)
{
	static const char *const keys[] = {"feature", "check", "status", "message", "fix"};

	psti_buf_puts(out, ",\"checks\":[");
	for (int row = 0; row < PQntuples(result); row++)
	{
		psti_buf_puts(out, row == 0 ? "\n{" : ",\n{");
		for (int i = 0; i < 5; i++)
		{
			psti_buf_puts(out, i == 0 ? "" : ",");
			put_member(out, keys[i], PQgetvalue(result, row, i));
		}
		psti_buf_putc(out, '}');
	}
	psti_buf_puts(out, "]}");
}

static pst_status
doctor(pst_catalog *catalog, char **json, pst_error *err)
{
	client_view view;
	const char *values[3];
	psti_question question = {.what = "checking the server",
							  .sql = psti_sql_doctor,
							  .nfields = 5,
							  .nparams = 3,
							  .values = values};
	psti_buf out = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status = psti_catalog_connect(catalog, err);

	if (status != PST_OK)
		return status;
	view = look_at(psti_conn_pg(catalog->conn));
	values[0] = strcmp(view.pid, "0") == 0 ? NULL : view.pid;
	values[1] = view.tls;
	values[2] = view.local ? "local" : "remote";
	status = psti_catalog_ask(catalog, &question, NULL, &result, err);
	if (status == PST_OK)
	{
		psti_buf_putc(&out, '{');
		put_server(&out, catalog, &view);
		put_checks(&out, result);
		status = psti_buf_check(&out, err);
	}
	if (status == PST_OK)
	{
		*json = psti_buf_steal(&out);
		if (*json == NULL)
			status = psti_fail_nomem(err);
	}
	PQclear(result);
	psti_buf_free(&out);
	return status;
}

pst_status
pst_catalog_doctor(pst_catalog *catalog, char **json, pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	*json = NULL;
	return psti_leave(err, &full, doctor(catalog, json, &full));
}

/* --- grants ------------------------------------------------------------------------------ */

static pst_status
give_lines(const PGresult *result, char **sql, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;
	pst_status status;

	for (int row = 0; row < PQntuples(result); row++)
	{
		psti_buf_puts(&text, PQgetvalue(result, row, 0));
		psti_buf_putc(&text, '\n');
	}
	status = psti_buf_check(&text, err);
	if (status == PST_OK)
	{
		*sql = psti_buf_steal(&text);
		if (*sql == NULL)
			status = psti_fail_nomem(err);
	}
	psti_buf_free(&text);
	return status;
}

pst_status
pst_catalog_grants(pst_catalog *catalog, const char *feature, const char *role, const char *table,
				   char **sql, pst_error *err)
{
	const char *values[] = {feature, role, table == NULL ? NULL : "0"};
	psti_question question = {.what = "listing the grants",
							  .sql = psti_sql_grants,
							  .nfields = 4,
							  .nparams = 3,
							  .values = values,
							  .table = table};
	pst_error full;
	PGresult *result = NULL;
	pst_status status;

	psti_enter(&full);
	*sql = NULL;
	status = psti_catalog_ask(catalog, &question, NULL, &result, &full);
	if (status == PST_OK)
		status = psti_catalog_messages(catalog, result, 1, &full);
	if (status == PST_ERR_DATA && strcmp(full.sqlstate, "22023") == 0)
		full.status = status = PST_ERR_INVALID;
	if (status == PST_OK)
		status = give_lines(result, sql, &full);
	PQclear(result);
	return psti_leave(err, &full, status);
}
