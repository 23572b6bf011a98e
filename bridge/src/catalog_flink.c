/*
 * catalog_flink.c - a relation as a CREATE TABLE statement of Flink SQL.
 *
 * The columns' Flink types stand in the describe answer already; here is only the dialect: names in
 * backquotes, literals in single quotes, nothing else is special in either.
 */
#include "catalog.h"

#include <string.h>

#include "conninfo.h"

#define JDBC_PREFIX "jdbc:postgresql://"

static void
put_quoted(psti_buf *out, char quote, const char *text)
{
	psti_buf_putc(out, quote);
	for (; *text != '\0'; text++)
	{
		if (*text == quote)
			psti_buf_putc(out, quote);
		psti_buf_putc(out, *text);
	}
	psti_buf_putc(out, quote);
}

static void
put_name(psti_buf *out, const char *name)
{
	put_quoted(out, '`', name);
}

static void
put_literal(psti_buf *out, const char *text)
{
	put_quoted(out, '\'', text);
}

static void
put_column(psti_buf *out, const psti_json *column)
{
	const char *name = psti_json_text(column, "name");
	const char *type = psti_json_text(column, "flink");
	const char *comment = psti_json_text(column, "comment");

	psti_buf_puts(out, "  ");
	put_name(out, name == NULL ? "" : name);
	psti_buf_printf(out, " %s", type == NULL ? "STRING" : type);
	if (psti_json_bool(column, "not_null", false))
		psti_buf_puts(out, " NOT NULL");
	if (comment != NULL)
	{
		psti_buf_puts(out, " COMMENT ");
		put_literal(out, comment);
	}
}

static void
put_primary_key(psti_buf *out, const psti_json *key)
{
	const char *comma = "";

	psti_buf_puts(out, ",\n  PRIMARY KEY (");
	for (const psti_json *column = psti_json_first(key); column != NULL;
		 column = psti_json_next(column))
	{
		const char *name = psti_json_string_value(column);

		psti_buf_puts(out, comma);
		put_name(out, name == NULL ? "" : name);
		comma = ", ";
	}
	psti_buf_puts(out, ") NOT ENFORCED");
}

static void
put_option(psti_buf *out, const char *key, const char *value, bool last)
{
	psti_buf_puts(out, "  ");
	put_literal(out, key);
	psti_buf_puts(out, " = ");
	put_literal(out, value);
	psti_buf_puts(out, last ? "\n" : ",\n");
}

pst_status
psti_flink_ddl(const psti_json *describe, const char *url, const char *username, psti_buf *out,
			   pst_error *err)
{
	const char *name = psti_json_text(describe, "name");
	const char *qualified = psti_json_text(describe, "qualified");
	const char *comment = psti_json_text(describe, "comment");
	const psti_json *column = psti_json_first(psti_json_get(describe, "columns"));
	const psti_json *key = psti_json_get(psti_json_get(describe, "primary_key"), "columns");

	if (name == NULL || qualified == NULL)
		return psti_fail(err, PST_ERR_DATA, "this is no description of a relation");
	if (column == NULL)
		return psti_fail(err, PST_ERR_UNSUPPORTED,
						 "%s has no columns, and a table in Flink needs at least one", qualified);
	psti_buf_puts(out, "CREATE TABLE ");
	put_name(out, name);
	psti_buf_puts(out, " (\n");
	while (column != NULL)
	{
		put_column(out, column);
		column = psti_json_next(column);
		if (column != NULL)
			psti_buf_puts(out, ",\n");
	}
	if (psti_json_first(key) != NULL)
		put_primary_key(out, key);
	psti_buf_puts(out, "\n)");
	if (comment != NULL)
	{
		psti_buf_puts(out, " COMMENT ");
		put_literal(out, comment);
	}
	psti_buf_puts(out, " WITH (\n");
	put_option(out, "connector", "postgres", false);
	put_option(out, "url", url, false);
	put_option(out, "table-name", qualified, false);
	put_option(out, "username", username == NULL ? "" : username, true);
	psti_buf_puts(out, ");\n");
	return psti_buf_check(out, err);
}

/* --- the URL ----------------------------------------------------------------------------- */

static void
put_percent(psti_buf *out, const char *text)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (; *text != '\0'; text++)
	{
		if (strchr(plain, *text) != NULL)
			psti_buf_putc(out, *text);
		else
			psti_buf_printf(out, "%%%02X", (unsigned) (unsigned char) *text);
	}
}

/* Without those that name who logs in: that is told by other options. */
static void
put_parameters(psti_buf *out, const char *query)
{
	char separator = '?';

	for (const char *at = query; *at != '\0';)
	{
		size_t n = strcspn(at, "&");

		if (n > 0 && psti_jdbc_may_show(query, at))
		{
			psti_buf_putc(out, separator);
			psti_buf_append(out, at, n);
			separator = '&';
		}
		at += n + (at[n] == '&');
	}
}

/* A host that JDBC can name: a socket's folder is this machine. */
static void
put_host(psti_buf *out, const char *host)
{
	bool bare_ipv6;

	if (host == NULL || host[0] == '\0' || host[0] == '/' || host[0] == '@')
		host = "localhost";
	bare_ipv6 = strchr(host, ':') != NULL && host[0] != '[';
	psti_buf_puts(out, bare_ipv6 ? "[" : "");
	psti_buf_puts(out, host);
	psti_buf_puts(out, bare_ipv6 ? "]" : "");
}

void
psti_flink_url(const char *url, const char *host, const char *port, const char *database,
			   psti_buf *out)
{
	const char *query = "";

	psti_buf_puts(out, JDBC_PREFIX);
	if (url != NULL && strncmp(url, JDBC_PREFIX, strlen(JDBC_PREFIX)) == 0)
	{
		const char *hosts = url + strlen(JDBC_PREFIX);
		size_t n = strcspn(hosts, "/?");
		const char *mark = strchr(hosts, '?');

		psti_buf_append(out, hosts, n);
		query = mark == NULL ? "" : mark + 1;
	}
	else
	{
		put_host(out, host);
		if (port != NULL && port[0] != '\0')
			psti_buf_printf(out, ":%s", port);
	}
	psti_buf_putc(out, '/');
	put_percent(out, database == NULL ? "" : database);
	put_parameters(out, query);
}
