/* relation.c - what source and sink need to know of a table's columns and types. */
#include "relation.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sql_texts.h"

/* The columns of the text `relation` in sql/05_relation.sql, in its order. */
enum
{
	R_OID,
	R_SCHEMA,
	R_NAME,
	R_QUALIFIED,
	R_KIND,
	R_PERSISTENCE,
	R_HEAP,
	R_ROW_SECURITY,
	R_PARTITION,
	R_SUBCLASS,
	R_TRIGGERS,
	R_RULES,
	C_NAME,
	C_ATTNUM,
	C_NOT_NULL,
	C_NEVER_NULL,
	C_HAS_DEFAULT,
	C_GENERATED,
	C_IDENTITY,
	C_COLLATION,
	C_DETERMINISTIC,
	C_KEY_POSITION,
	C_SELECTABLE,
	C_INSERTABLE,
	C_UPDATABLE,
	T_OID,
	T_TYPMOD,
	T_BASE,
	T_BASE_TYPMOD,
	T_TYPTYPE,
	T_CATEGORY,
	T_HAS_SEND,
	T_NAME,
	T_BARE_NAME,
	T_OUTPUT,
	T_OUTPUT_CALLABLE,
	T_ELEM,
	T_ELEM_BASE,
	T_ELEM_TYPMOD,
	T_ELEM_NAME,
	N_FIELDS
};

/* One row of the answer; the readers below take typed cells from it. */
typedef struct cells
{
	const PGresult *result;
	int row;
	bool failed; /* a copy found no memory */
} cells;

static const char *
cell(const cells *c, int field)
{
	return PQgetvalue(c->result, c->row, field);
}

static bool
cell_bool(const cells *c, int field)
{
	return cell(c, field)[0] == 't';
}

static char
cell_char(const cells *c, int field)
{
	return cell(c, field)[0];
}

static int64_t
cell_int(const cells *c, int field)
{
	return strtoll(cell(c, field), NULL, 10);
}

static Oid
cell_oid(const cells *c, int field)
{
	return (Oid) strtoul(cell(c, field), NULL, 10);
}

/* An owned copy, NULL for SQL NULL. */
static char *
cell_text(cells *c, int field)
{
	char *copy;

	if (PQgetisnull(c->result, c->row, field))
		return NULL;
	copy = strdup(cell(c, field));
	c->failed = c->failed || copy == NULL;
	return copy;
}

static void
read_type(cells *c, psti_type *type)
{
	type->oid = cell_oid(c, T_OID);
	type->typmod = (int32_t) cell_int(c, T_TYPMOD);
	type->base = cell_oid(c, T_BASE);
	type->base_typmod = (int32_t) cell_int(c, T_BASE_TYPMOD);
	type->typtype = cell_char(c, T_TYPTYPE);
	type->category = cell_char(c, T_CATEGORY);
	type->has_send = cell_bool(c, T_HAS_SEND);
	type->name = cell_text(c, T_NAME);
	type->bare_name = cell_text(c, T_BARE_NAME);
	type->output = cell_text(c, T_OUTPUT);
	type->output_callable = cell_bool(c, T_OUTPUT_CALLABLE);
	type->elem = cell_oid(c, T_ELEM);
	type->elem_base = cell_oid(c, T_ELEM_BASE);
	type->elem_typmod = (int32_t) cell_int(c, T_ELEM_TYPMOD);
	type->elem_name = cell_text(c, T_ELEM_NAME);
}

static void
read_column(cells *c, psti_column *column)
{
	column->name = cell_text(c, C_NAME);
	column->attnum = (int16_t) cell_int(c, C_ATTNUM);
	column->not_null = cell_bool(c, C_NOT_NULL);
	column->never_null = cell_bool(c, C_NEVER_NULL);
	column->has_default = cell_bool(c, C_HAS_DEFAULT);
	column->generated = cell_bool(c, C_GENERATED);
	column->identity = cell(c, C_IDENTITY)[0] != '\0';
	column->identity_always = cell_char(c, C_IDENTITY) == 'a';
	column->collation = cell_oid(c, C_COLLATION);
	column->collation_deterministic = cell_bool(c, C_DETERMINISTIC);
	column->key_position = (int16_t) cell_int(c, C_KEY_POSITION);
	column->selectable = cell_bool(c, C_SELECTABLE);
	column->insertable = cell_bool(c, C_INSERTABLE);
	column->updatable = cell_bool(c, C_UPDATABLE);
	read_type(c, &column->type);
}

static void
read_relation(cells *c, psti_relation *relation)
{
	relation->oid = cell_oid(c, R_OID);
	relation->schema = cell_text(c, R_SCHEMA);
	relation->name = cell_text(c, R_NAME);
	relation->qualified = cell_text(c, R_QUALIFIED);
	relation->relkind = cell_char(c, R_KIND);
	relation->persistence = cell_char(c, R_PERSISTENCE);
	relation->is_heap = cell_bool(c, R_HEAP);
	relation->row_security = cell_bool(c, R_ROW_SECURITY);
	relation->is_partition = cell_bool(c, R_PARTITION);
	relation->has_subclass = cell_bool(c, R_SUBCLASS);
	relation->has_triggers = cell_bool(c, R_TRIGGERS);
	relation->has_rules = cell_bool(c, R_RULES);
}

/* Turns rows of the answer into a relation; a relation without oid is one of a query. */
static pst_status
read_rows(const PGresult *result, int from, int to, psti_relation **out, pst_error *err)
{
	psti_relation *relation = calloc(1, sizeof(*relation));
	cells c = {result, from, false};
	bool none = to > from && PQgetisnull(result, from, T_OID);
	pst_status status = PST_OK;

	if (relation == NULL)
		return psti_fail_nomem(err);
	relation->columns = calloc(to > from ? (size_t) (to - from) : 1, sizeof(psti_column));
	if (relation->columns == NULL)
	{
		free(relation);
		return psti_fail_nomem(err);
	}
	if (to > from && !PQgetisnull(result, from, R_OID))
		read_relation(&c, relation);
	if (c.failed)
		status = psti_fail_nomem(err);
	for (; status == PST_OK && !none && c.row < to; c.row++)
	{
		read_column(&c, &relation->columns[relation->ncolumns++]);
		if (c.failed)
			status = psti_fail_nomem(err);
	}
	if (status != PST_OK)
		psti_relation_free(relation);
	else
		*out = relation;
	return status;
}

/* $1 to $5 of the text. */
#define NPARAMS 5

static pst_status
ask_rows(psti_conn *conn, const char *const params[NPARAMS], PGresult **out, pst_error *err)
{
	pst_status status = psti_conn_query(conn, "describing the columns", psti_sql_relation, NPARAMS,
										params, out, err);

	if (status == PST_OK && PQnfields(*out) != N_FIELDS)
		status = psti_fail(err, PST_ERR_PROTOCOL, "the catalog query gave %d columns, not %d",
						   PQnfields(*out), N_FIELDS);
	return status;
}

static pst_status
ask(psti_conn *conn, const char *const params[NPARAMS], psti_relation **out, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = ask_rows(conn, params, &result, err);

	if (status == PST_OK)
		status = read_rows(result, 0, PQntuples(result), out, err);
	PQclear(result);
	return status;
}

/* Where the rows of the relation at from end. */
static int
end_of(const PGresult *result, int from)
{
	int to = from + 1;

	while (to < PQntuples(result) &&
		   strcmp(PQgetvalue(result, to, R_OID), PQgetvalue(result, from, R_OID)) == 0)
		to++;
	return to;
}

pst_status
psti_relation_find_all(psti_conn *conn, const char *oids, psti_relation **out, size_t *n,
					   pst_error *err)
{
	const char *params[NPARAMS] = {NULL, NULL, NULL, NULL, oids};
	PGresult *result = NULL;
	pst_status status = ask_rows(conn, params, &result, err);
	int row = 0;

	*n = 0;
	while (status == PST_OK && row < PQntuples(result) && !PQgetisnull(result, row, R_OID))
	{
		int end = end_of(result, row);

		status = read_rows(result, row, end, &out[*n], err);
		*n += status == PST_OK;
		row = end;
	}
	PQclear(result);
	while (status != PST_OK && *n > 0)
		psti_relation_free(out[--*n]);
	return status;
}

/* The table whose name is nearest, of those that are not the system's: on failure only. */
static void
suggest_table(psti_conn *conn, const char *table, pst_error *err)
{
	const char *dot = strrchr(table, '.');
	const char *bare = dot == NULL ? table : dot + 1;
	PGresult *result = NULL;
	pst_error ignored;
	psti_nearest nearest = psti_nearest_to(bare);
	int at = -1;

	psti_enter(&ignored);
	if (psti_conn_query(conn, "looking for the table", psti_sql_relation_names, 0, NULL, &result,
						&ignored) != PST_OK)
		return;
	for (int row = 0; row < PQntuples(result); row++)
		if (psti_nearest_try(&nearest, PQgetvalue(result, row, 1)))
			at = row;
	if (at >= 0)
		psti_error_hint(err, "Did you mean %s?", PQgetvalue(result, at, 0));
	PQclear(result);
}

void
psti_relation_hint_absent(psti_conn *conn, const char *table, pst_error *err)
{
	if (err->hint[0] == '\0' && err->status == PST_ERR_NOT_FOUND && psti_conn_usable(conn))
		suggest_table(conn, table, err);
	if (err->hint[0] == '\0')
		psti_error_hint(err,
						"Name the schema, or check the search_path and the database, which is %s.",
						psti_conn_caps(conn)->database);
	PSTI_ERROR_SET(err, table, table);
}

pst_status
psti_relation_bad_name(const char *table, pst_error *err)
{
	static const char quote_it[] =
		"A name with other characters than letters, digits and _ stands in double quotes, each "
		"part by itself: \"My Schema\".\"my-table\".";
	static const char close_it[] = "Quotes in a name close, and a quote inside of them is doubled.";
	/* 42602 is to_regclass's, up to 15; 22023 is parse_ident's. */
	const char *misread = strchr(table, '"') == NULL ? quote_it : close_it;
	const struct
	{
		const char *sqlstate;
		const char *hint;
	} faults[] = {
		{"42602", misread},
		{"22023", misread},
		{"42601", "A name has a schema and a table, with a dot between; a part that has a dot in "
				  "it stands in double quotes."},
		{"0A000", "Give the database in the connection string, and schema and table only."},
	};

	PSTI_ERROR_SET(err, table, table);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		if (strcmp(err->sqlstate, faults[i].sqlstate) != 0)
			continue;
		psti_fail(err, PST_ERR_INVALID, "\"%s\" is not a table's name", table);
		psti_error_copy(err->sqlstate, sizeof(err->sqlstate), faults[i].sqlstate);
		psti_error_hint(err, "%s", faults[i].hint);
		PSTI_ERROR_SET(err, table, table);
	}
	return err->status;
}

/* "relation "x" does not exist", or what it is instead of a table, as the catalog says it. */
static pst_status
fail_not_found(psti_conn *conn, const char *schema, const char *table, pst_error *err)
{
	psti_buf name = PSTI_BUF_INIT;
	const char *params[] = {NULL, ""};
	PGresult *result = NULL;
	pst_status status;

	if (schema != NULL)
	{
		psti_buf_ident(&name, schema);
		psti_buf_putc(&name, '.');
		psti_buf_ident(&name, table);
	}
	else
		psti_buf_puts(&name, table);
	status = psti_buf_check(&name, err);
	params[0] = name.data;
	if (status == PST_OK)
		status = psti_conn_query(conn, "looking for the table", psti_sql_resolve, 2, params,
								 &result, err);
	if (status == PST_OK && PQntuples(result) == 1 && !PQgetisnull(result, 0, 1))
	{
		status = psti_fail_sqlstate(err, PQgetvalue(result, 0, 1), "%s", PQgetvalue(result, 0, 2));
		if (!PQgetisnull(result, 0, 3))
			psti_error_hint(err, "%s", PQgetvalue(result, 0, 3));
	}
	else if (status != PST_OK && psti_conn_usable(conn))
		status = psti_relation_bad_name(table, err);
	else if (status == PST_OK) /* made since it was looked for */
		status = psti_fail_sqlstate(err, "42P01", "relation \"%s\" does not exist", table);
	psti_relation_hint_absent(conn, table, err);
	PQclear(result);
	psti_buf_free(&name);
	return status;
}

pst_status
psti_relation_find(psti_conn *conn, const char *schema, const char *table, psti_relation **out,
				   pst_error *err)
{
	const char *params[NPARAMS] = {table, schema};
	pst_status status;

	*out = NULL;
	status = ask(conn, params, out, err);
	/* A schema that may not be looked into is said by the server, so is what is no name at all. */
	if (status != PST_OK && psti_conn_usable(conn))
		status = psti_relation_bad_name(table, err);
	if (status == PST_OK && (*out)->oid == 0)
	{
		psti_relation_free(*out);
		*out = NULL;
		status = fail_not_found(conn, schema, table, err);
	}
	return status;
}

pst_status
psti_relation_types(psti_conn *conn, const Oid *types, const int32_t *typmods, size_t n,
					psti_relation **out, pst_error *err)
{
	psti_buf type_array = PSTI_BUF_INIT;
	psti_buf typmod_array = PSTI_BUF_INIT;
	pst_status status;

	*out = NULL;
	psti_buf_putc(&type_array, '{');
	psti_buf_putc(&typmod_array, '{');
	for (size_t i = 0; i < n; i++)
	{
		psti_buf_printf(&type_array, "%s%u", i > 0 ? "," : "", types[i]);
		psti_buf_printf(&typmod_array, "%s%d", i > 0 ? "," : "", typmods[i]);
	}
	psti_buf_putc(&type_array, '}');
	psti_buf_putc(&typmod_array, '}');
	status = type_array.failed || typmod_array.failed ? psti_fail_nomem(err) : PST_OK;
	if (status == PST_OK)
	{
		const char *params[NPARAMS] = {NULL, NULL, type_array.data, typmod_array.data};

		status = ask(conn, params, out, err);
	}
	psti_buf_free(&type_array);
	psti_buf_free(&typmod_array);
	return status;
}

/* The types of a described statement's columns. */
static pst_status
types_of(psti_conn *conn, const PGresult *described, psti_relation **out, pst_error *err)
{
	size_t n = (size_t) PQnfields(described);
	Oid *types = calloc(n + 1, sizeof(*types));
	int32_t *typmods = calloc(n + 1, sizeof(*typmods));
	pst_status status = PST_OK;

	if (types == NULL || typmods == NULL)
		status = psti_fail_nomem(err);
	for (size_t i = 0; status == PST_OK && i < n; i++)
	{
		types[i] = PQftype(described, (int) i);
		typmods[i] = PQfmod(described, (int) i);
	}
	if (status == PST_OK)
		status = psti_relation_types(conn, types, typmods, n, out, err);
	free(types);
	free(typmods);
	return status;
}

static pst_status
name_columns(psti_relation *relation, const PGresult *described, pst_error *err)
{
	if (relation->ncolumns != (size_t) PQnfields(described))
		return psti_fail(err, PST_ERR_PROTOCOL, "the catalog query described %zu of %d columns",
						 relation->ncolumns, PQnfields(described));
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		char *name = strdup(PQfname(described, (int) i));

		if (name == NULL)
			return psti_fail_nomem(err);
		free(relation->columns[i].name);
		relation->columns[i].name = name;
		relation->columns[i].selectable = true;
	}
	return PST_OK;
}

pst_status
psti_relation_query(psti_conn *conn, const char *query, psti_relation **out, pst_error *err)
{
	PGresult *described = NULL;
	pst_status status;

	*out = NULL;
	status = psti_conn_describe(conn, "describing the query", query, &described, err);
	if (status == PST_OK)
		status = types_of(conn, described, out, err);
	if (status == PST_OK)
		status = name_columns(*out, described, err);
	if (status != PST_OK)
	{
		psti_relation_free(*out);
		*out = NULL;
	}
	PQclear(described);
	return status;
}

const psti_column *
psti_relation_column(const psti_relation *relation, const char *name)
{
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		if (strcmp(relation->columns[i].name, name) == 0)
			return &relation->columns[i];
	}
	return NULL;
}

static void
free_column(psti_column *column)
{
	free(column->name);
	free(column->type.name);
	free(column->type.bare_name);
	free(column->type.output);
	free(column->type.elem_name);
}

void
psti_relation_free(psti_relation *relation)
{
	if (relation == NULL)
		return;
	for (size_t i = 0; i < relation->ncolumns; i++)
		free_column(&relation->columns[i]);
	free(relation->columns);
	free(relation->schema);
	free(relation->name);
	free(relation->qualified);
	free(relation);
}

void
psti_relation_suggest(const psti_relation *relation, const char *column, pst_error *err)
{
	psti_nearest nearest = psti_nearest_to(column);

	for (size_t i = 0; i < relation->ncolumns; i++)
		psti_nearest_try(&nearest, relation->columns[i].name);
	if (nearest.name == NULL)
		return;
	psti_error_hint(err, "Did you mean \"%s\"?%s", nearest.name,
					strcasecmp(nearest.name, column) == 0
						? " Names in other than lower case stand in double quotes."
						: "");
}

void
psti_relation_hint_grant(const psti_relation *relation, const char *privileges,
						 const psti_conn *conn, pst_error *err)
{
	psti_buf role = PSTI_BUF_INIT;

	psti_buf_ident(&role, psti_conn_caps(conn)->role);
	psti_error_hint(err, "GRANT %s ON %s TO %s;", privileges, relation->qualified,
					role.failed ? "the role" : role.data);
	psti_buf_free(&role);
}
