/* scope.c - what is captured, as the catalogs have it. See scope.h. */
#include "cdc/scope.h"

#include <stdlib.h>

#include "cdc/oids.h"
#include "json.h"
#include "relation.h"

/* The columns of put_query's answer. */
enum
{
	S_OID,
	S_SCHEMA,
	S_NAME,
	S_QUALIFIED,
	S_KIND,
	S_PERSISTENCE,
	S_IDENTITY,
	S_ROOT, /* qualified name of the topmost partitioned table, NULL: it is no partition */
	S_SUBCLASS,
	S_FILENODE,
	S_ROWS,
	S_BYTES,
	S_ORDERED,
	S_ROW_SECURITY,
	S_KEY,
	S_COLUMNS,
	S_READABLE,
	S_MATCHES /* a digit for each pattern that is not listed: 1, it names the table */
};

/* option changelog-mode */
#define CHANGELOG_ALL 1
/* option cdc.consumer */
#define CONSUMER_UPSERT 2
/* option cdc.partitions */
#define PARTITIONS_LEAF 1

static const char *const table_names[] = {"n.nspname::pg_catalog.text",
										  "c.relname::pg_catalog.text"};
static const char *const column_names[] = {
	"n.nspname::pg_catalog.text", "c.relname::pg_catalog.text", "a.attname::pg_catalog.text"};

/* ---- Tables that are listed ---- */

#define NAME_BYTES 63 /* of a name; the server knows no longer ones */

/* Whether it is a name of one table whatever the search_path: then no regular expression is needed. */
static bool
is_listed(const psti_pattern *pattern)
{
	return pattern->exact && pattern->nparts == 2 && strlen(pattern->names[0]) <= NAME_BYTES &&
		   strlen(pattern->names[1]) <= NAME_BYTES;
}

static int
compare_names(const char *schema, const char *name, const psti_pattern *pattern)
{
	int order = strcmp(schema, pattern->names[0]);

	return order != 0 ? order : strcmp(name, pattern->names[1]);
}

static int
compare_listed(const void *a, const void *b)
{
	const psti_pattern *first = *(const psti_pattern *const *) a;

	return compare_names(first->names[0], first->names[1], *(const psti_pattern *const *) b);
}

/* Thousands of tables may be listed, and thousands be there: they are matched by their names, in order. */
static pst_status
sort_patterns(psti_scope *scope, pst_error *err)
{
	scope->listed = calloc(scope->tables.n + 1, sizeof(*scope->listed));
	scope->others = calloc(scope->tables.n + 1, sizeof(*scope->others));
	if (scope->listed == NULL || scope->others == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < scope->tables.n; i++)
	{
		if (is_listed(&scope->tables.patterns[i]))
			scope->listed[scope->nlisted++] = &scope->tables.patterns[i];
		else
			scope->others[scope->nothers++] = i;
	}
	qsort(scope->listed, scope->nlisted, sizeof(*scope->listed), compare_listed);
	return PST_OK;
}

/* Where the first is that does not come before the name. */
static size_t
search_listed(const psti_scope *scope, const char *schema, const char *name)
{
	size_t low = 0;
	size_t high = scope->nlisted;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (compare_names(schema, name, scope->listed[middle]) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

pst_status
psti_scope_init(psti_scope *scope, const psti_options *options, const pst_hooks *hooks, bool plain,
				pst_error *err)
{
	pst_status status;

	memset(scope, 0, sizeof(*scope));
	scope->options = options;
	scope->hooks = hooks;
	scope->plain = plain;
	scope->leaves = psti_opt_int(options, PSTI_OPT_PARTITIONS) == PARTITIONS_LEAF;
	if (!psti_opt_given(options, PSTI_OPT_TABLE))
	{
		psti_fail(err, PST_ERR_INVALID, "option \"table-name\" is missing");
		psti_error_hint(err, "Name the tables: public.orders, sales.*, /public\\..*_log/ …");
		return PST_ERR_INVALID;
	}
	status = psti_opt_given(options, PSTI_OPT_SCHEMA)
				 ? PST_OK
				 : psti_patterns_read(options, PSTI_OPT_TABLE, 1, 2, &scope->tables, err);
	if (status == PST_OK)
		status = psti_patterns_read(options, PSTI_OPT_EXCLUDE_TABLES, 2, 2, &scope->exclude, err);
	if (status == PST_OK)
		status = psti_patterns_read(options, PSTI_OPT_CDC_COLUMNS, 3, 3, &scope->columns, err);
	if (status == PST_OK)
		status = psti_patterns_read(options, PSTI_OPT_EXCLUDE_COLUMNS, 3, 3,
									&scope->exclude_columns, err);
	if (status == PST_OK)
		status = sort_patterns(scope, err);
	for (size_t i = 0; status == PST_OK && i < scope->tables.n; i++)
	{
		const psti_pattern *pattern = &scope->tables.patterns[i];

		if (pattern->regex != NULL || pattern->nparts == 2 || pattern->exact)
			continue;
		status = psti_opt_fail(options, PSTI_OPT_TABLE, err, "has a pattern without schema: %s",
							   pattern->text);
		psti_error_hint(err, "Give schema.table, such as public.%s.", pattern->text);
	}
	return status;
}

static void
free_texts(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

static void
free_subject(psti_subject *subject)
{
	free(subject->schema);
	free(subject->name);
	free(subject->qualified);
	free_texts(subject->columns, subject->ncolumns);
	free_texts(subject->key, subject->nkeys);
	memset(subject, 0, sizeof(*subject));
}

static void
free_subjects(psti_scope *scope)
{
	for (size_t i = 0; i < scope->n; i++)
		free_subject(&scope->subjects[i]);
	free(scope->subjects);
	scope->subjects = NULL;
	scope->n = 0;
}

void
psti_scope_free(psti_scope *scope)
{
	free_subjects(scope);
	free(scope->listed);
	free(scope->others);
	psti_patterns_free(&scope->tables);
	psti_patterns_free(&scope->exclude);
	psti_patterns_free(&scope->columns);
	psti_patterns_free(&scope->exclude_columns);
}

/* ---- The question ---- */

/* The condition of one of the patterns of table-name that are not listed. */
static void
put_name(const psti_scope *scope, size_t i, psti_buf *sql)
{
	const psti_pattern *pattern;

	if (psti_opt_given(scope->options, PSTI_OPT_SCHEMA))
	{
		psti_buf_puts(sql, "(n.nspname OPERATOR(pg_catalog.=) ");
		psti_buf_literal(sql, psti_opt_text(scope->options, PSTI_OPT_SCHEMA));
		psti_buf_puts(sql, "::pg_catalog.name AND c.relname OPERATOR(pg_catalog.=) ");
		psti_buf_literal(sql, psti_opt_text(scope->options, PSTI_OPT_TABLE));
		psti_buf_puts(sql, "::pg_catalog.name)");
		return;
	}
	pattern = &scope->tables.patterns[scope->others[i]];
	if (pattern->regex != NULL || pattern->nparts == 2)
	{
		psti_pattern_condition(pattern, table_names, 2, sql);
		return;
	}
	psti_buf_puts(sql, "(c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(");
	psti_buf_literal(sql, pattern->text);
	psti_buf_puts(sql, "))");
}

static size_t
count_names(const psti_scope *scope)
{
	return psti_opt_given(scope->options, PSTI_OPT_SCHEMA) ? 1 : scope->nothers;
}

/* A hash table for the server, however many they are. */
static void
put_listed(const psti_scope *scope, psti_buf *sql)
{
	psti_buf_puts(sql, "ROW(n.nspname, c.relname) OPERATOR(pg_catalog.=) ANY (VALUES ");
	for (size_t i = 0; i < scope->nlisted; i++)
	{
		psti_buf_puts(sql, i > 0 ? ", (" : "(");
		psti_buf_literal(sql, scope->listed[i]->names[0]);
		psti_buf_puts(sql, "::pg_catalog.name, ");
		psti_buf_literal(sql, scope->listed[i]->names[1]);
		psti_buf_puts(sql, "::pg_catalog.name)");
	}
	psti_buf_putc(sql, ')');
}

static void
put_columns_condition(const psti_scope *scope, psti_buf *sql)
{
	psti_buf_puts(sql, scope->plain ? "COALESCE(pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) "
									  "'attgenerated', '') OPERATOR(pg_catalog.=) ''"
									: "COALESCE(pg_catalog.to_jsonb(a) OPERATOR(pg_catalog.->>) "
									  "'attgenerated', '') OPERATOR(pg_catalog.<>) 'v'");
	if (scope->columns.n > 0)
	{
		psti_buf_puts(sql, " AND ");
		psti_patterns_condition(&scope->columns, column_names, 3, sql);
	}
	if (scope->exclude_columns.n > 0)
	{
		psti_buf_puts(sql, " AND NOT ");
		psti_patterns_condition(&scope->exclude_columns, column_names, 3, sql);
	}
}

/* Columns of an index that names rows, in the table's order. */
static const char key_sql[] =
	"(SELECT pg_catalog.jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_index i "
	"JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid "
	"WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid "
	"AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END "
	"AND a.attnum OPERATOR(pg_catalog.=) ANY ((i.indkey::pg_catalog.int2[])[0:COALESCE("
	"(pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) 'indnkeyatts')::pg_catalog.int4, "
	"i.indnatts) OPERATOR(pg_catalog.-) 1])), ";

/* Tables c of namespace n whose names the options name. */
static void
put_names_condition(const psti_scope *scope, psti_buf *sql)
{
	psti_buf_puts(sql, "n.nspname OPERATOR(pg_catalog.!~) '^pg_' "
					   "AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema' AND (");
	for (size_t i = 0; i < count_names(scope); i++)
	{
		psti_buf_puts(sql, i > 0 ? " OR " : "");
		put_name(scope, i, sql);
	}
	if (scope->nlisted > 0)
	{
		psti_buf_puts(sql, count_names(scope) > 0 ? " OR " : "");
		put_listed(scope, sql);
	}
	psti_buf_putc(sql, ')');
	if (scope->exclude.n > 0)
	{
		psti_buf_puts(sql, " AND NOT ");
		psti_patterns_condition(&scope->exclude, table_names, 2, sql);
	}
}

/* oids: of these alone, "{1,2}"; NULL: of all. Known ones are not asked for their names. */
static void
put_query(const psti_scope *scope, const char *oids, bool known, int server_version, psti_buf *sql)
{
	psti_buf_puts(
		sql,
		"SELECT c.oid, n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname), "
		"c.relkind, c.relpersistence, c.relreplident, CASE WHEN c.relispartition THEN ");
	/* Before 12 nothing tells it in one step; the parent will do. */
	if (server_version >= 120000)
		psti_buf_puts(sql, "pg_catalog.pg_partition_root(c.oid)::pg_catalog.regclass");
	else
		psti_buf_puts(sql, "(SELECT h.inhparent::pg_catalog.regclass FROM pg_catalog.pg_inherits h "
						   "WHERE h.inhrelid OPERATOR(pg_catalog.=) c.oid)");
	psti_buf_puts(
		sql, "::pg_catalog.text END, c.relhassubclass, "
			 "COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0::pg_catalog.oid), "
			 "c.reltuples::pg_catalog.int8, c.relpages::pg_catalog.int8 OPERATOR(pg_catalog.*) "
			 "pg_catalog.current_setting('block_size')::pg_catalog.int8, "
			 "COALESCE((SELECT pg_catalog.abs(s.correlation) OPERATOR(pg_catalog.>) "
			 "0.8::pg_catalog.float4 FROM pg_catalog.pg_index i "
			 "JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid "
			 "AND a.attnum OPERATOR(pg_catalog.=) i.indkey[0] "
			 "JOIN pg_catalog.pg_stats s ON s.schemaname OPERATOR(pg_catalog.=) n.nspname "
			 "AND s.tablename OPERATOR(pg_catalog.=) c.relname "
			 "AND s.attname OPERATOR(pg_catalog.=) a.attname AND NOT s.inherited "
			 "WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid "
			 "AND CASE c.relreplident WHEN 'i' THEN i.indisreplident "
			 "ELSE i.indisprimary END LIMIT 1), false), "
			 "pg_catalog.row_security_active(c.oid), ");
	psti_buf_puts(sql, key_sql);
	psti_buf_puts(sql, "f.columns, f.readable, pg_catalog.concat(''");
	for (size_t i = 0; !known && i < count_names(scope); i++)
	{
		psti_buf_puts(sql, ", ");
		put_name(scope, i, sql);
		psti_buf_puts(sql, "::pg_catalog.int4");
	}
	psti_buf_puts(sql,
				  ") FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
				  "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace CROSS JOIN LATERAL ("
				  "SELECT pg_catalog.jsonb_agg(a.attname ORDER BY a.attnum) AS columns, "
				  "pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')) "
				  "AS readable FROM pg_catalog.pg_attribute a "
				  "WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid "
				  "AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped AND ");
	put_columns_condition(scope, sql);
	psti_buf_puts(sql, ") f WHERE c.relkind OPERATOR(pg_catalog.=) ANY "
					   "('{r,p,m,v,f}'::pg_catalog.\"char\"[])");
	if (!known)
	{
		psti_buf_puts(sql, " AND ");
		put_names_condition(scope, sql);
	}
	if (oids != NULL)
		psti_buf_printf(sql, " AND c.oid OPERATOR(pg_catalog.=) ANY ('%s'::pg_catalog.oid[])",
						oids);
	psti_buf_puts(sql, " ORDER BY c.oid");
}

static pst_status
ask(const psti_scope *scope, psti_conn *conn, const char *oids, bool known, PGresult **out,
	pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	put_query(scope, oids, known, psti_conn_caps(conn)->server_version, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(conn, "finding the tables to capture", sql.data, out, err);
	/* A regular expression that is none; a name that is none. */
	if (status != PST_OK && strcmp(err->sqlstate, "2201B") == 0)
		psti_error_hint(err, "Mend the regular expression in slashes.");
	psti_buf_free(&sql);
	return status;
}

/* ---- The answer ---- */

static const char *
cell(const PGresult *result, int row, int field)
{
	return PQgetvalue(result, row, field);
}

/* A json array of texts, NULL: of none. */
static pst_status
read_texts(const char *json, char ***out, size_t *n, pst_error *err)
{
	psti_json *root = NULL;
	const psti_json *item;
	pst_status status = PST_OK;

	if (json[0] == '\0')
		return PST_OK;
	status = psti_json_parse(json, &root, err);
	if (status != PST_OK)
		return status;
	*out = calloc(psti_json_size(root) + 1, sizeof(**out));
	if (*out == NULL)
		status = psti_fail_nomem(err);
	for (item = psti_json_first(root); status == PST_OK && item != NULL;
		 item = psti_json_next(item))
	{
		const char *text = psti_json_string_value(item);

		(*out)[*n] = strdup(text != NULL ? text : "");
		if ((*out)[*n] == NULL)
			status = psti_fail_nomem(err);
		else
			++*n;
	}
	psti_json_free(root);
	return status;
}

static bool
names_column(const psti_subject *subject, const char *name)
{
	for (size_t i = 0; i < subject->ncolumns; i++)
		if (strcmp(subject->columns[i], name) == 0)
			return true;
	return false;
}

static pst_status
read_subject(const PGresult *result, int row, psti_subject *out, pst_error *err)
{
	pst_status status;

	memset(out, 0, sizeof(*out));
	out->oid = (uint32_t) strtoul(cell(result, row, S_OID), NULL, 10);
	out->schema = strdup(cell(result, row, S_SCHEMA));
	out->name = strdup(cell(result, row, S_NAME));
	out->qualified = strdup(cell(result, row, S_QUALIFIED));
	if (out->schema == NULL || out->name == NULL || out->qualified == NULL)
		return psti_fail_nomem(err);
	out->relkind = cell(result, row, S_KIND)[0];
	out->identity = cell(result, row, S_IDENTITY)[0];
	out->inherited = out->relkind == 'r' && cell(result, row, S_SUBCLASS)[0] == 't';
	out->filenode = (uint32_t) strtoul(cell(result, row, S_FILENODE), NULL, 10);
	out->rows = strtoll(cell(result, row, S_ROWS), NULL, 10);
	out->bytes = strtoll(cell(result, row, S_BYTES), NULL, 10);
	out->ordered = cell(result, row, S_ORDERED)[0] == 't';
	status = read_texts(cell(result, row, S_COLUMNS), &out->columns, &out->ncolumns, err);
	if (status == PST_OK)
		status = read_texts(cell(result, row, S_KEY), &out->key, &out->nkeys, err);
	out->has_key = out->identity == 'f' || (out->identity != 'n' && out->nkeys > 0);
	return status;
}

/* ---- What cannot be captured ---- */

static pst_status
refuse(const PGresult *result, int row, pst_error *err, const char *what, const char *hint)
{
	psti_fail(err, PST_ERR_UNSUPPORTED, "cannot capture %s: %s", cell(result, row, S_QUALIFIED),
			  what);
	psti_error_hint(err, "%s", hint);
	PSTI_ERROR_SET(err, schema, cell(result, row, S_SCHEMA));
	PSTI_ERROR_SET(err, table, cell(result, row, S_NAME));
	return PST_ERR_UNSUPPORTED;
}

/* Whether a pattern without wildcards names the table. */
static bool
is_named(const psti_scope *scope, const PGresult *result, int row)
{
	const char *matches = cell(result, row, S_MATCHES);

	size_t at;

	if (psti_opt_given(scope->options, PSTI_OPT_SCHEMA))
		return true;
	for (size_t i = 0; i < scope->nothers && matches[i] != '\0'; i++)
		if (matches[i] == '1' && scope->tables.patterns[scope->others[i]].exact)
			return true;
	at = search_listed(scope, cell(result, row, S_SCHEMA), cell(result, row, S_NAME));
	return at < scope->nlisted && compare_names(cell(result, row, S_SCHEMA),
												cell(result, row, S_NAME), scope->listed[at]) == 0;
}

/*
 * Why rows of it have no stream, *hint with the remedy; NULL: they have. What wildcards take in by the way
 * is passed over, what was named is an error.
 */
static const char *
find_obstacle(const psti_scope *scope, const PGresult *result, int row, const char **hint)
{
	char kind = cell(result, row, S_KIND)[0];

	*hint = "Name tables and partitioned tables only.";
	if (kind == 'v')
		return "a view has no stream of changes";
	if (kind == 'm')
		return "a materialized view has no stream of changes";
	if (kind == 'f')
		return "a foreign table has no stream of changes";
	*hint = "Make it permanent: ALTER TABLE … SET LOGGED.";
	if (cell(result, row, S_PERSISTENCE)[0] == 'u')
		return "changes of an unlogged table are in no WAL";
	*hint = "Capture a permanent table.";
	if (cell(result, row, S_PERSISTENCE)[0] == 't')
		return "a temporary table has no stream of changes";
	*hint = "Capture that one, or set option cdc.partitions=leaf.";
	if (!scope->leaves && !PQgetisnull(result, row, S_ROOT))
		return "it is a partition, whose rows come under the name of its partitioned table";
	*hint = "Name its partitions, or set option cdc.partitions=root.";
	if (scope->leaves && kind == 'p')
		return "with cdc.partitions=leaf rows come under the names of partitions";
	return NULL;
}

static pst_status
check_rights(const PGresult *result, int row, const psti_conn *conn, pst_error *err)
{
	if (cell(result, row, S_ROW_SECURITY)[0] == 't')
		return refuse(result, row, err, "row security is in force for the role",
					  "The stream has the rows that a policy hides: capture with a role that has "
					  "BYPASSRLS, or own the table without FORCE ROW LEVEL SECURITY.");
	if (cell(result, row, S_READABLE)[0] != 'f')
		return PST_OK;
	psti_fail(err, PST_ERR_PRIVILEGE, "the role may not read %s", cell(result, row, S_QUALIFIED));
	psti_error_hint(err, "Run GRANT SELECT ON %s TO %s.", cell(result, row, S_QUALIFIED),
					psti_conn_caps(conn)->role);
	PSTI_ERROR_SET(err, schema, cell(result, row, S_SCHEMA));
	PSTI_ERROR_SET(err, table, cell(result, row, S_NAME));
	return PST_ERR_PRIVILEGE;
}

static pst_status
check_identity(const psti_scope *scope, const PGresult *result, int row,
			   const psti_subject *subject, pst_error *err)
{
	if (psti_opt_int(scope->options, PSTI_OPT_CHANGELOG_MODE) == CHANGELOG_ALL &&
		subject->identity != 'f')
	{
		psti_fail(
			err, PST_ERR_UNSUPPORTED,
			"cannot capture %s with changelog-mode=all: its changes do not tell the row as it "
			"was",
			subject->qualified);
		psti_error_hint(err,
						"Run ALTER TABLE %s REPLICA IDENTITY FULL, or set changelog-mode=auto.",
						subject->qualified);
		PSTI_ERROR_SET(err, schema, subject->schema);
		PSTI_ERROR_SET(err, table, subject->name);
		return PST_ERR_UNSUPPORTED;
	}
	if (psti_opt_int(scope->options, PSTI_OPT_CONSUMER) == CONSUMER_UPSERT && subject->nkeys == 0 &&
		!psti_opt_given(scope->options, PSTI_OPT_OPERATIONS))
		return refuse(result, row, err, "it has no key that a consumer could upsert by",
					  "Give it a primary key, or leave it out.");
	for (size_t i = 0; i < subject->nkeys; i++)
		if (!names_column(subject, subject->key[i]))
		{
			refuse(result, row, err, "a column of its key is left out",
				   "Take it into cdc.columns, or out of cdc.exclude-columns.");
			PSTI_ERROR_SET(err, column, subject->key[i]);
			return PST_ERR_UNSUPPORTED;
		}
	return PST_OK;
}

/* Once for each table. */
static void
warn_of(const psti_scope *scope, const psti_subject *subject)
{
	if (!subject->has_key)
		psti_log(
			scope->hooks, PST_LOG_WARNING,
			"%s has no key in its replica identity: each update or delete of it makes it be read "
			"anew. Give it a primary key, or ALTER TABLE %s REPLICA IDENTITY FULL",
			subject->qualified, subject->qualified);
}

/* The pattern, from 1, that names the table by the search_path. */
static size_t
find_bare(const psti_scope *scope, const PGresult *result, int row)
{
	const char *matches = cell(result, row, S_MATCHES);

	for (size_t i = 0; i < scope->nothers && matches[i] != '\0'; i++)
		if (matches[i] == '1' && scope->tables.patterns[scope->others[i]].nparts == 1)
			return scope->others[i] + 1;
	return 0;
}

/* Reads one row of the answer into *out. PST_AGAIN: it is passed over. */
static pst_status
take_row(const psti_scope *scope, const PGresult *result, int row, const psti_conn *conn,
		 psti_subject *out, pst_error *err)
{
	const char *hint;
	const char *obstacle = find_obstacle(scope, result, row, &hint);
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (obstacle != NULL)
		return is_named(scope, result, row) ? refuse(result, row, err, obstacle, hint) : PST_AGAIN;
	status = check_rights(result, row, conn, err);
	if (status == PST_OK)
		status = read_subject(result, row, out, err);
	out->bare = find_bare(scope, result, row);
	if (status == PST_OK)
		status = check_identity(scope, result, row, out, err);
	if (status != PST_OK)
		free_subject(out);
	return status;
}

/* A name that found nothing. */
static pst_status
fail_absent(psti_conn *conn, const char *text, bool exact, pst_error *err)
{
	psti_fail(err, PST_ERR_NOT_FOUND, "there is no table %s to capture", text);
	if (exact)
		psti_relation_hint_absent(conn, text, err);
	return PST_ERR_NOT_FOUND;
}

/* found: of those that are listed, in their order. */
static void
find_listed(const psti_scope *scope, const PGresult *result, bool *found)
{
	for (int row = 0; scope->nlisted > 0 && row < PQntuples(result); row++)
	{
		const char *schema = cell(result, row, S_SCHEMA);
		const char *name = cell(result, row, S_NAME);
		size_t at = search_listed(scope, schema, name);

		/* One may be listed twice. */
		for (; at < scope->nlisted && compare_names(schema, name, scope->listed[at]) == 0; at++)
			found[at] = true;
	}
}

static pst_status
check_listed(const psti_scope *scope, const PGresult *result, psti_conn *conn, pst_error *err)
{
	bool *found = calloc(scope->nlisted + 1, sizeof(*found));
	pst_status status = PST_OK;

	if (found == NULL)
		return psti_fail_nomem(err);
	find_listed(scope, result, found);
	for (size_t i = 0; status == PST_OK && i < scope->nlisted; i++)
		if (!found[i])
			status = fail_absent(conn, scope->listed[i]->text, true, err);
	free(found);
	return status;
}

static pst_status
check_found(const psti_scope *scope, const PGresult *result, psti_conn *conn, pst_error *err)
{
	bool schema = psti_opt_given(scope->options, PSTI_OPT_SCHEMA);

	for (size_t i = 0; i < count_names(scope); i++)
	{
		const psti_pattern *pattern = schema ? NULL : &scope->tables.patterns[scope->others[i]];
		bool found = false;

		for (int row = 0; !found && row < PQntuples(result); row++)
			found = cell(result, row, S_MATCHES)[i] == '1';
		if (found)
			continue;
		if (pattern == NULL)
			return fail_absent(conn, psti_opt_text(scope->options, PSTI_OPT_TABLE), false, err);
		return fail_absent(conn, pattern->text, pattern->exact, err);
	}
	return check_listed(scope, result, conn, err);
}

pst_status
psti_scope_find(psti_scope *scope, psti_conn *conn, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = ask(scope, conn, NULL, false, &result, err);

	if (status == PST_OK)
		status = check_found(scope, result, conn, err);
	free_subjects(scope);
	if (status == PST_OK)
	{
		scope->subjects = calloc((size_t) PQntuples(result) + 1, sizeof(*scope->subjects));
		if (scope->subjects == NULL)
			status = psti_fail_nomem(err);
	}
	for (int row = 0; status == PST_OK && row < PQntuples(result); row++)
	{
		status = take_row(scope, result, row, conn, &scope->subjects[scope->n], err);
		if (status == PST_OK)
			warn_of(scope, &scope->subjects[scope->n++]);
		else if (status == PST_AGAIN)
			status = PST_OK;
	}
	if (status == PST_OK && scope->n == 0)
	{
		status = psti_opt_fail(scope->options, PSTI_OPT_TABLE, err, "names no table to capture");
		psti_error_hint(err,
						"Views, foreign, unlogged and temporary tables have no stream, partitions "
						"come under the name of their partitioned table.");
	}
	PQclear(result);
	return status;
}

/* Where the OID is, or would be. */
static size_t
search(const psti_scope *scope, uint32_t oid)
{
	return psti_oid_search(scope->subjects, scope->n, sizeof(*scope->subjects), oid);
}

const psti_subject *
psti_scope_subject(const psti_scope *scope, uint32_t oid)
{
	size_t i = search(scope, oid);

	return i < scope->n && scope->subjects[i].oid == oid ? &scope->subjects[i] : NULL;
}

static pst_status
insert(psti_scope *scope, psti_subject *subject, pst_error *err)
{
	size_t i = search(scope, subject->oid);
	psti_subject *grown;

	if (i < scope->n && scope->subjects[i].oid == subject->oid)
	{
		free_subject(&scope->subjects[i]);
		scope->subjects[i] = *subject;
		return PST_OK;
	}
	grown = realloc(scope->subjects, (scope->n + 1) * sizeof(*grown));
	if (grown == NULL)
		return psti_fail_nomem(err);
	scope->subjects = grown;
	memmove(&grown[i + 1], &grown[i], (scope->n - i) * sizeof(*grown));
	grown[i] = *subject;
	scope->n++;
	warn_of(scope, subject);
	return PST_OK;
}

void
psti_scope_array(const uint32_t *oids, size_t n, psti_buf *out)
{
	psti_buf_putc(out, '{');
	for (size_t i = 0; i < n; i++)
		psti_buf_printf(out, "%s%lu", i > 0 ? "," : "", (unsigned long) oids[i]);
	psti_buf_putc(out, '}');
}

/* A row of a known table. PST_AGAIN: it has another name, or cannot be captured as it is now. */
static pst_status
renew(psti_scope *scope, const PGresult *result, int row, const psti_conn *conn, pst_error *err)
{
	uint32_t oid = (uint32_t) strtoul(cell(result, row, S_OID), NULL, 10);
	const psti_subject *was = psti_scope_subject(scope, oid);
	psti_subject subject = {0};
	size_t bare;
	pst_status status;

	if (was == NULL || strcmp(was->schema, cell(result, row, S_SCHEMA)) != 0 ||
		strcmp(was->name, cell(result, row, S_NAME)) != 0)
		return PST_AGAIN;
	bare = was->bare;
	status = take_row(scope, result, row, conn, &subject, err);
	if (status != PST_OK)
		return status == PST_ERR_NOMEM ? status : PST_AGAIN;
	subject.bare = bare;
	status = insert(scope, &subject, err);
	if (status != PST_OK)
		free_subject(&subject);
	return status;
}

pst_status
psti_scope_refresh(psti_scope *scope, psti_conn *conn, uint32_t *oids, size_t *n, pst_error *err)
{
	psti_buf array = PSTI_BUF_INIT;
	PGresult *result = NULL;
	size_t kept = 0;
	pst_status status;

	psti_scope_array(oids, *n, &array);
	status = psti_buf_check(&array, err);
	if (status == PST_OK)
		status = ask(scope, conn, array.data, true, &result, err);
	for (int row = 0; status == PST_OK && row < PQntuples(result); row++)
	{
		status = renew(scope, result, row, conn, err);
		if (status == PST_OK)
			oids[kept++] = (uint32_t) strtoul(cell(result, row, S_OID), NULL, 10);
		else if (status == PST_AGAIN)
			status = PST_OK;
	}
	*n = kept;
	PQclear(result);
	psti_buf_free(&array);
	return status;
}

/* All patterns are asked for: it may have come into scope, or have gone out of it. */
static pst_status
look_anew(psti_scope *scope, psti_conn *conn, uint32_t oid, pst_error *err)
{
	psti_buf array = PSTI_BUF_INIT;
	PGresult *result = NULL;
	psti_subject subject = {0};
	pst_status status;

	psti_scope_array(&oid, 1, &array);
	status = psti_buf_check(&array, err);
	if (status == PST_OK)
		status = ask(scope, conn, array.data, false, &result, err);
	if (status == PST_OK)
		status =
			PQntuples(result) == 1 ? take_row(scope, result, 0, conn, &subject, err) : PST_AGAIN;
	if (status == PST_OK)
		status = insert(scope, &subject, err);
	if (status < 0)
		free_subject(&subject);
	PQclear(result);
	psti_buf_free(&array);
	return status;
}

pst_status
psti_scope_look(psti_scope *scope, psti_conn *conn, uint32_t oid, const psti_subject **out,
				pst_error *err)
{
	uint32_t known = oid;
	size_t n = 1;
	pst_status status = PST_OK;

	*out = NULL;
	if (psti_scope_subject(scope, oid) == NULL)
		n = 0;
	else
		status = psti_scope_refresh(scope, conn, &known, &n, err);
	if (status == PST_OK && n == 0)
		status = look_anew(scope, conn, oid, err);
	if (status == PST_OK)
		*out = psti_scope_subject(scope, oid);
	return status == PST_AGAIN ? PST_OK : status;
}

pst_status
psti_scope_list(const psti_scope *scope, psti_conn *conn, PGresult **out, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_puts(&sql,
				  "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
				  "ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
				  "WHERE c.relpersistence OPERATOR(pg_catalog.=) 'p'::pg_catalog.\"char\" AND ");
	psti_buf_puts(&sql, scope->leaves
							? "c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog.\"char\" AND "
							: "c.relkind OPERATOR(pg_catalog.=) ANY "
							  "('{r,p}'::pg_catalog.\"char\"[]) AND NOT c.relispartition AND ");
	put_names_condition(scope, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(conn, "looking for new tables", sql.data, out, err);
	psti_buf_free(&sql);
	return status;
}

/* names: SQL expressions of schema, table and column. */
static void
put_chosen(const psti_scope *scope, const char *const *names, psti_buf *sql)
{
	psti_buf_puts(sql, "true");
	if (scope->columns.n > 0)
	{
		psti_buf_puts(sql, " AND ");
		psti_patterns_condition(&scope->columns, names, 3, sql);
	}
	if (scope->exclude_columns.n > 0)
	{
		psti_buf_puts(sql, " AND NOT ");
		psti_patterns_condition(&scope->exclude_columns, names, 3, sql);
	}
}

pst_status
psti_scope_columns(const psti_scope *scope, psti_conn *conn, const char *schema, const char *table,
				   const char *const *columns, size_t n, bool *wanted, pst_error *err)
{
	static const char *const names[] = {"$1::pg_catalog.text", "$2::pg_catalog.text", "v.name"};
	const char *params[] = {schema, table};
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	for (size_t i = 0; i < n; i++)
		wanted[i] = true;
	if (n == 0 || (scope->columns.n == 0 && scope->exclude_columns.n == 0))
		return PST_OK;
	psti_buf_puts(&sql, "SELECT ");
	put_chosen(scope, names, &sql);
	psti_buf_puts(&sql, " FROM (VALUES ");
	for (size_t i = 0; i < n; i++)
	{
		psti_buf_printf(&sql, "%s(%zu, ", i > 0 ? ", " : "", i);
		psti_buf_literal(&sql, columns[i]);
		psti_buf_puts(&sql, "::pg_catalog.text)");
	}
	psti_buf_puts(&sql, ") AS v(n, name) WHERE $1::pg_catalog.text IS NOT NULL "
						"AND $2::pg_catalog.text IS NOT NULL ORDER BY v.n");
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_query(conn, "choosing columns", sql.data, 2, params, &result, err);
	if (status == PST_OK && (size_t) PQntuples(result) != n)
		status = psti_fail(err, PST_ERR_PROTOCOL, "the catalog query told of %d of %zu columns",
						   PQntuples(result), n);
	for (size_t i = 0; status == PST_OK && i < n; i++)
		wanted[i] = PQgetvalue(result, (int) i, 0)[0] == 't';
	PQclear(result);
	psti_buf_free(&sql);
	return status;
}

void
psti_scope_include(const psti_scope *scope, psti_buf *out)
{
	if (psti_opt_given(scope->options, PSTI_OPT_SCHEMA))
	{
		psti_buf_qualified(out, psti_opt_text(scope->options, PSTI_OPT_SCHEMA),
						   psti_opt_text(scope->options, PSTI_OPT_TABLE));
		return;
	}
	for (size_t i = 0; i < scope->tables.n; i++)
	{
		const psti_pattern *pattern = &scope->tables.patterns[i];

		if (pattern->regex != NULL || pattern->nparts == 2)
			psti_buf_printf(out, "%s%s", out->len > 0 ? "," : "", pattern->text);
		/* A table is found under the first of its names: of another there is nothing to say. */
		for (size_t s = 0; pattern->nparts == 1 && s < scope->n; s++)
		{
			if (scope->subjects[s].bare != i + 1)
				continue;
			psti_buf_puts(out, out->len > 0 ? "," : "");
			psti_buf_qualified(out, scope->subjects[s].schema, scope->subjects[s].name);
		}
	}
}
