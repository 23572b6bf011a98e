/* source.c - opening and closing a source, its schema and size. */
#include "source_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define QUERY_ALIAS "query"

/* ---- Opening ---- */

static pst_status
check_target(const pst_source *source, pst_error *err)
{
	bool table = psti_opt_given(source->options, PSTI_OPT_TABLE);
	bool query = psti_opt_given(source->options, PSTI_OPT_QUERY);

	if (table && query)
		return psti_opt_fail(source->options, PSTI_OPT_QUERY, err,
							 "cannot be given together with table-name");
	if (table || query)
		return PST_OK;
	psti_fail(err, PST_ERR_INVALID, "option \"table-name\" is missing");
	psti_error_hint(err, "Name a table with table-name, or give a query.");
	return PST_ERR_INVALID;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* The query without the semicolon that people end statements with. */
static pst_status
copy_query(pst_source *source, pst_error *err)
{
	const char *text = psti_opt_text(source->options, PSTI_OPT_QUERY);
	size_t len;

	if (text == NULL)
		return PST_OK;
	len = strlen(text);
	while (len > 0 && (is_space(text[len - 1]) || text[len - 1] == ';'))
		len--;
	source->query = strndup(text, len);
	return source->query == NULL ? psti_fail_nomem(err) : PST_OK;
}

static pst_status
find_relation(pst_source *source, pst_error *err)
{
	psti_buf alias = PSTI_BUF_INIT;
	pst_status status;

	if (source->relation != NULL)
		status = PST_OK;
	else if (source->query != NULL)
		status = psti_relation_query(source->conn, source->query, &source->relation, err);
	else
		status = psti_relation_find(source->conn, psti_opt_text(source->options, PSTI_OPT_SCHEMA),
									psti_opt_text(source->options, PSTI_OPT_TABLE),
									&source->relation, err);
	if (status != PST_OK)
		return status;
	if (source->query == NULL && strchr("rpvmf", source->relation->relkind) == NULL)
		return psti_fail_sqlstate(err, "42809", "%s is not a table or view",
								  source->relation->qualified);
	psti_buf_ident(&alias, source->query != NULL ? QUERY_ALIAS : source->relation->name);
	source->alias = psti_buf_steal(&alias);
	return source->alias == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* A query of which the server says that it gives no rows cannot be read. */
static pst_status
check_query(pst_source *source, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	psti_select all = {NULL, NULL, false, false, 0};
	PGresult *result = NULL;
	pst_status status;

	if (source->query == NULL)
		return PST_OK;
	psti_source_select(source, &all, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_describe(source->conn, "checking the query", sql.data, &result, err);
	if (status == PST_ERR_SQL)
		psti_error_hint(err, "The query must be one SELECT, VALUES, TABLE or WITH … SELECT.");
	PQclear(result);
	psti_buf_free(&sql);
	return status;
}

/*
 * read.filter must be one condition on its own: `a) OR (b` would escape the parentheses that keep it
 * apart from a split's range, and rows would be read twice. Such a text does not parse bare.
 */
static void
put_filter_check(const pst_source *source, bool bare, psti_buf *out)
{
	const char *filter = psti_opt_text(source->options, PSTI_OPT_FILTER);

	psti_buf_puts(out, "SELECT 1");
	psti_source_from(source, NULL, out);
	psti_buf_printf(out, bare ? " WHERE\n%s\n" : " WHERE (\n%s\n)", filter);
}

/* Both forms, in one round trip; with a short patience in one transaction with them. */
static pst_status
ask_filter(pst_source *source, const char *whole, const char *bare, bool patient, pst_error *err)
{
	static const char what[] = "checking read.filter";
	const psti_step steps[] = {
		{.what = what, .sql = "SELECT pg_catalog.set_config('lock_timeout', '1s', true)"},
		{.what = what, .sql = whole, .prepare = ""},
		{.what = what, .sql = bare, .prepare = ""}};
	PGresult *results[3] = {NULL, NULL, NULL};
	int failed;
	pst_status status = psti_conn_pipeline(source->conn, patient ? steps + 1 : steps,
										   patient ? 2 : 3, results, &failed, err);

	for (int i = 0; i < 3; i++)
		PQclear(results[i]);
	return status;
}

pst_status
psti_source_check_filter(pst_source *source, bool patient, pst_error *err)
{
	psti_buf whole = PSTI_BUF_INIT;
	psti_buf bare = PSTI_BUF_INIT;
	pst_error full;
	pst_status status = PST_OK;

	if (psti_opt_text(source->options, PSTI_OPT_FILTER) == NULL || source->filter_checked)
		return PST_OK;
	psti_enter(&full);
	put_filter_check(source, false, &whole);
	put_filter_check(source, true, &bare);
	if (whole.failed || bare.failed)
		status = psti_fail_nomem(&full);
	if (status == PST_OK)
		status = ask_filter(source, whole.data, bare.data, patient, &full);
	source->filter_checked = status == PST_OK;
	if (!patient && strcmp(full.sqlstate, "55P03") == 0)
		status = PST_OK;
	if ((status == PST_ERR_SQL || status == PST_ERR_NOT_FOUND) && full.hint[0] == '\0')
		psti_error_hint(&full,
						"read.filter is one SQL condition, with texts in single quotes: id > 7 AND "
						"name LIKE 'a%%'");
	if (status != PST_OK)
		*err = full;
	psti_buf_free(&whole);
	psti_buf_free(&bare);
	return status;
}

/* Two handles with the same fingerprint give rows of the same shape and condition. */
static void
make_fingerprint(pst_source *source)
{
	uint64_t value = PSTI_HASH_INIT;
	char number[24];

	value = psti_hash_text(value, source->query);
	value = psti_hash_text(value, psti_opt_text(source->options, PSTI_OPT_FILTER));
	snprintf(number, sizeof(number), "%lld",
			 psti_opt_given(source->options, PSTI_OPT_LIMIT)
				 ? (long long) psti_opt_int(source->options, PSTI_OPT_LIMIT)
				 : -1LL);
	value = psti_hash_text(value, number);
	snprintf(number, sizeof(number), "%d",
			 (int) psti_opt_int(source->options, PSTI_OPT_SPECIAL_VALUES));
	value = psti_hash_text(value, number);
	for (size_t i = 0; i < source->ncolumns; i++)
	{
		char format[32];

		psti_copy_format(&source->copy[i], format, sizeof(format));
		value = psti_hash_text(value, source->columns[i].column->name);
		value = psti_hash_text(value, format);
		value = psti_hash_text(value, source->copy[i].list ? "list" : "");
		value = psti_hash_text(value, source->rules.values == PSTI_VALUES_JSON ? "json" : "");
	}
	snprintf(source->fingerprint, sizeof(source->fingerprint), "%016llx",
			 (unsigned long long) value);
}

/*
 * A SQL_ASCII database promises no encoding. Its bytes come as they are, so that the decoder can
 * name the row and column of those that are not UTF-8; the server's own error names neither.
 */
static pst_status
choose_encoding(psti_conn *conn, pst_error *err)
{
	if (strcmp(psti_conn_caps(conn)->encoding, "SQL_ASCII") != 0)
		return PST_OK;
	return psti_conn_exec(conn, "choosing the encoding", "SET client_encoding = 'SQL_ASCII'", NULL,
						  err);
}

pst_status
psti_source_connect(const psti_options *options, const pst_hooks *hooks, psti_conn **out,
					pst_error *err)
{
	pst_status status = psti_conn_open(options, NULL, hooks, out, err);

	if (status == PST_OK)
		status = choose_encoding(*out, err);
	if (status == PST_OK)
		return PST_OK;
	psti_conn_close(*out);
	*out = NULL;
	return status;
}

/* Why a source cannot be assisted. */
typedef enum obstacle
{
	NO_OBSTACLE,
	NOT_OF_VALUES,
	NO_EXTENSION,
	NO_SCAN, /* none that this library can call: the extension is older, or much newer */
	NO_RIGHT,
} obstacle;

static obstacle
find_obstacle(const pst_source *source)
{
	const psti_caps *caps = psti_conn_caps(source->conn);

	if (source->rules.values == PSTI_VALUES_JSON || source->rules.values == PSTI_VALUES_LOSSLESS)
		return NOT_OF_VALUES;
	if (caps->extension_version[0] == '\0')
		return NO_EXTENSION;
	if (caps->scan_denied)
		return NO_RIGHT;
	return caps->scan ? NO_OBSTACLE : NO_SCAN;
}

/* What is said of it; version is the extension's. */
static void
tell_obstacle(obstacle found, const char *version, char *why, size_t size)
{
	switch (found)
	{
		case NO_OBSTACLE:
			why[0] = '\0';
			break;
		case NOT_OF_VALUES:
			snprintf(why, size, "read.values=json and read.values=lossless are not");
			break;
		case NO_EXTENSION:
			snprintf(why, size, "the extension penstock is not in the database");
			break;
		case NO_SCAN:
			snprintf(why, size,
					 "the extension penstock %s in the database has no scan that libpenstock %s "
					 "can call",
					 version, pst_version());
			break;
		case NO_RIGHT:
			snprintf(why, size, "the role may not call penstock.scan of the extension penstock %s",
					 version);
			break;
	}
}

/* Sentences with the remedy, each with a blank behind it. */
static const char *const remedies[] = {
	[NO_OBSTACLE] = "",
	[NOT_OF_VALUES] = "",
	[NO_EXTENSION] = "Run CREATE EXTENSION penstock in that database. ",
	[NO_SCAN] = "Run ALTER EXTENSION penstock UPDATE, or take a libpenstock of the extension's "
				"version. ",
	[NO_RIGHT] = "Run GRANT USAGE ON SCHEMA penstock and GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA "
				 "penstock to the role. ",
};

static pst_status
choose_transport(pst_source *source, pst_error *err)
{
	psti_transport wanted = (psti_transport) psti_opt_int(source->options, PSTI_OPT_TRANSPORT);
	const char *version = psti_conn_caps(source->conn)->extension_version;
	char why[256];
	obstacle found;

	source->rules.values = (psti_values) psti_opt_int(source->options, PSTI_OPT_VALUES);
	if (wanted == PSTI_TRANSPORT_PLAIN)
		return PST_OK;
	found = find_obstacle(source);
	source->rules.assisted = found == NO_OBSTACLE;
	if (source->rules.assisted)
		return PST_OK;
	tell_obstacle(found, version, why, sizeof(why));
	if (wanted == PSTI_TRANSPORT_AUTO)
	{
		/* Where it was never installed, plain is no news. */
		if (found == NO_SCAN || found == NO_RIGHT)
			psti_log(&source->hooks, PST_LOG_INFO, "reads are plain: %s", why);
		return PST_OK;
	}
	psti_opt_fail(source->options, PSTI_OPT_TRANSPORT, err, "is assisted, and %s", why);
	psti_error_hint(err, "%sSet option transport=auto, or leave it out.", remedies[found]);
	return err->status = PST_ERR_UNSUPPORTED;
}

static pst_status
open_source(pst_source *source, const char *const *keys, const char *const *values,
			const pst_hooks *hooks, pst_error *err)
{
	const char *datetimes;
	pst_status status = psti_hooks_copy(hooks, &source->hooks, err);

	if (status == PST_OK)
		status = psti_options_new(keys, values, PSTI_SOURCE, &source->hooks, &source->options, err);
	if (status == PST_OK)
		status = check_target(source, err);
	if (status == PST_OK)
		status = copy_query(source, err);
	if (status == PST_OK && !source->lent)
		status = psti_source_connect(source->options, &source->hooks, &source->conn, err);
	if (status == PST_OK)
		status = choose_transport(source, err);
	if (status == PST_OK)
		status = find_relation(source, err);
	if (status != PST_OK)
		return status;
	datetimes = PQparameterStatus(psti_conn_pg(source->conn), "integer_datetimes");
	source->rules.integer_datetimes = datetimes == NULL || strcmp(datetimes, "on") == 0;
	source->rules.server_version = psti_conn_caps(source->conn)->server_version;
	source->rules.options = source->options;
	status = psti_source_columns(source, err);
	if (status == PST_OK)
		status = psti_source_check_partition(source, err);
	if (status == PST_OK)
		status = check_query(source, err);
	if (status == PST_OK)
		status = psti_source_check_filter(source, false, err);
	if (status == PST_OK)
		make_fingerprint(source);
	return status;
}

pst_status
psti_source_open_in(psti_conn *conn, psti_relation *relation, const char *const *keys,
					const char *const *values, const pst_hooks *hooks, pst_source **out,
					pst_error *err)
{
	pst_source *source = calloc(1, sizeof(*source));
	pst_status status;

	*out = NULL;
	if (source == NULL)
	{
		psti_relation_free(relation);
		return psti_fail_nomem(err);
	}
	psti_enter(&source->last);
	source->conn = conn;
	source->lent = conn != NULL;
	source->relation = relation;
	source->rows_total = -1;
	source->bytes_total = -1;
	status = open_source(source, keys, values, hooks, err);
	if (status != PST_OK)
		pst_source_close(source);
	else
		*out = source;
	return status;
}

pst_status
pst_source_open(const char *const *keys, const char *const *values, const pst_hooks *hooks,
				pst_source **out, pst_error *err)
{
	pst_error full;

	psti_enter(&full);
	return psti_leave(err, &full, psti_source_open_in(NULL, NULL, keys, values, hooks, out, &full));
}

void
pst_source_close(pst_source *source)
{
	if (source == NULL)
		return;
	psti_source_detach_stream(source);
	if (!source->lent)
		psti_conn_close(source->conn);
	psti_source_partition_free(source);
	psti_source_columns_free(source);
	psti_relation_free(source->relation);
	psti_options_free(source->options);
	PQclear(source->leaves);
	PQclear(source->found);
	free(source->once);
	free(source->snapshot);
	free(source->schemas);
	free(source->alias);
	free(source->query);
	psti_hooks_free(&source->hooks);
	free(source);
}

/* ---- What is known of it ---- */

pst_status
pst_source_schema(pst_source *source, struct ArrowSchema *out, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	memset(out, 0, sizeof(*out));
	status = psti_schema_copy(&source->schema, out, &full);
	return psti_leave(err, &full, status);
}

const char *
pst_source_transport(const pst_source *source)
{
	return source->rules.assisted ? "assisted" : "plain";
}

pst_status
pst_source_error(pst_source *source, pst_error *err)
{
	return psti_leave(err, &source->last, source->last.status);
}

/* The guess of the whole SELECT, filter and limit included. */
static pst_status
estimate(pst_source *source, int64_t *rows, int64_t *bytes, pst_error *err)
{
	psti_select all = {NULL, NULL, true, true, 0};
	int64_t width;
	pst_status status = psti_source_begin(source, err);

	if (status != PST_OK)
		return status;
	status = psti_source_explain(source, &all, true, rows, &width, err);
	if (status != PST_OK)
	{
		psti_source_back(source);
		return status;
	}
	if (*rows >= 0 && width >= 0 && *rows < INT64_MAX / (width + 1))
		*bytes = *rows * width;
	source->rows_total = *rows;
	source->bytes_total = *bytes;
	return PST_OK;
}

pst_status
psti_source_busy(const pst_source *source, pst_error *err)
{
	if (source->stream == NULL)
		return PST_OK;
	psti_fail(err, PST_ERR_STATE, "a stream of this source is still being read");
	psti_error_hint(err, "Read it to its end or release it first, or open another source.");
	return PST_ERR_STATE;
}

pst_status
pst_source_estimate(pst_source *source, int64_t *rows, int64_t *bytes, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*rows = -1;
	*bytes = -1;
	status = psti_source_busy(source, &full);
	if (status == PST_OK)
		status = estimate(source, rows, bytes, &full);
	return psti_leave(err, &full, status);
}

pst_status
pst_source_plan(pst_source *source, int max_splits, char ***splits, size_t *nsplits, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*splits = NULL;
	*nsplits = 0;
	status = psti_source_busy(source, &full);
	if (status == PST_OK && max_splits < 0)
		status = psti_fail(&full, PST_ERR_INVALID, "max_splits is %d, less than 0", max_splits);
	if (status == PST_OK)
		status = psti_source_plan(source, max_splits, splits, nsplits, &full);
	return psti_leave(err, &full, status);
}

pst_status
pst_source_read(pst_source *source, const char *split, struct ArrowArrayStream *out, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	memset(out, 0, sizeof(*out));
	status = psti_source_busy(source, &full);
	if (status == PST_OK)
		status = psti_source_stream(source, split, out, &full);
	return psti_leave(err, &full, status);
}
