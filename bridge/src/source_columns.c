/*
 * source_columns.c - which columns are read, and the SQL that asks for them.
 *
 * Text is always the type's output function, never a cast: `'1.2.3.4'::inet::text` is another text
 * than inet's output, and char(n) loses its padding in a cast.
 */
#include "source_internal.h"
#include "tuples.h"

#include <stdlib.h>
#include <string.h>

#include "sql_texts.h"

#define OID_JSON 114
#define OID_JSONB 3802

/* ---- What json can hold ---- */

static void
use_json_form(pst_source *source, Oid oid, char form)
{
	for (size_t i = 0; i < source->ncolumns; i++)
	{
		psti_read_column *read = &source->columns[i];

		if (read->ask != PSTI_ASK_JSON || read->column->type.base != oid)
			continue;
		read->bounds = form == 'b';
		if (form == 't')
		{
			read->ask = PSTI_ASK_OUTPUT;
			source->copy[i].type = PSTI_COPY_TEXT;
		}
	}
}

/* Only arrays and composites that the server makes json of have a form to ask for. */
static pst_status
ask_json_forms(pst_source *source, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	for (size_t i = 0; i < source->ncolumns; i++)
		if (source->columns[i].ask == PSTI_ASK_JSON)
			psti_buf_printf(&oids, "%s%lu", oids.len == 0 ? "{" : ",",
							(unsigned long) source->columns[i].column->type.base);
	if (oids.len == 0 && !oids.failed)
		return PST_OK;
	psti_buf_putc(&oids, '}');
	status = psti_buf_check(&oids, err);
	if (status == PST_OK)
	{
		const char *params[] = {oids.data};

		status = psti_conn_query(source->conn, "reading the columns' types", psti_sql_json_forms, 1,
								 params, &result, err);
	}
	for (int i = 0; status == PST_OK && i < PQntuples(result); i++)
		use_json_form(source, (Oid) strtoul(PQgetvalue(result, i, 0), NULL, 10),
					  PQgetvalue(result, i, 1)[0]);
	PQclear(result);
	psti_buf_free(&oids);
	return status;
}

/* ---- The projection ---- */

static pst_status
add_column(pst_source *source, size_t position)
{
	psti_read_column *read = &source->columns[source->ncolumns];
	psti_copy_column *copy = &source->copy[source->ncolumns];

	read->position = position;
	read->column = &source->relation->columns[position];
	psti_column_choose(&source->rules, read->column->name, &read->column->type, &read->ask, copy);
	copy->not_null = read->column->never_null && !psti_column_may_be_nulled(&source->rules, copy);
	source->ncolumns++;
	return PST_OK;
}

/* The position of the column of this name; a name that a query has twice names nothing. */
static pst_status
find_column(const pst_source *source, psti_opt opt, const char *name, size_t *position,
			pst_error *err)
{
	size_t found = 0;

	for (size_t i = 0; i < source->relation->ncolumns; i++)
	{
		if (strcmp(source->relation->columns[i].name, name) != 0)
			continue;
		*position = i;
		found++;
	}
	if (found == 1)
		return PST_OK;
	psti_opt_fail(source->options, opt, err,
				  found == 0 ? "names no column of %s: \"%s\"" : "names two columns of %s: \"%s\"",
				  source->relation->oid != 0 ? source->relation->qualified : "the query", name);
	if (found == 0)
		psti_relation_suggest(source->relation, name, err);
	PSTI_ERROR_SET(err, column, name);
	err->status = found == 0 ? PST_ERR_NOT_FOUND : PST_ERR_INVALID;
	return err->status;
}

static pst_status
project(pst_source *source, pst_error *err)
{
	size_t n = 0;
	const char *const *names = psti_opt_list(source->options, PSTI_OPT_COLUMNS, &n);
	size_t all = source->relation->ncolumns;
	size_t room = (names != NULL ? n : all) + 1;
	pst_status status = PST_OK;

	source->columns = calloc(room, sizeof(*source->columns));
	source->copy = calloc(room, sizeof(*source->copy));
	if (source->columns == NULL || source->copy == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; names == NULL && i < all; i++)
		add_column(source, i);
	for (size_t i = 0; names != NULL && status == PST_OK && i < n; i++)
	{
		size_t position = 0;

		status = find_column(source, PSTI_OPT_COLUMNS, names[i], &position, err);
		if (status == PST_OK)
			add_column(source, position);
	}
	return status;
}

static pst_status
check_text_columns(const pst_source *source, pst_error *err)
{
	size_t n = 0;
	const char *const *names = psti_opt_list(source->options, PSTI_OPT_TEXT_COLUMNS, &n);

	for (size_t i = 0; i < n; i++)
	{
		bool found = strcmp(names[i], "*") == 0;

		for (size_t c = 0; !found && c < source->relation->ncolumns; c++)
			found = strcmp(source->relation->columns[c].name, names[i]) == 0;
		if (!found)
		{
			psti_opt_fail(source->options, PSTI_OPT_TEXT_COLUMNS, err, "names no column: \"%s\"",
						  names[i]);
			psti_relation_suggest(source->relation, names[i], err);
			err->status = PST_ERR_NOT_FOUND;
			return err->status;
		}
	}
	return PST_OK;
}

/* The primary key names rows in errors, when all of it is read. */
static void
mark_key(pst_source *source)
{
	size_t in_key = 0;
	size_t read = 0;

	for (size_t i = 0; i < source->relation->ncolumns; i++)
		in_key += source->relation->columns[i].key_position > 0;
	for (size_t i = 0; i < source->ncolumns; i++)
		read += source->columns[i].column->key_position > 0;
	for (size_t i = 0; read == in_key && i < source->ncolumns; i++)
		source->copy[i].key = source->columns[i].column->key_position > 0;
}

static pst_status
check_privileges(const pst_source *source, pst_error *err)
{
	psti_buf readable = PSTI_BUF_INIT;
	const char *refused = NULL;

	if (source->relation->oid == 0)
		return PST_OK;
	for (size_t i = 0; i < source->ncolumns; i++)
		if (!source->columns[i].column->selectable && refused == NULL)
			refused = source->columns[i].column->name;
	if (refused == NULL)
		return PST_OK;
	for (size_t i = 0; i < source->relation->ncolumns; i++)
		if (source->relation->columns[i].selectable)
		{
			psti_buf_puts(&readable, readable.len > 0 ? "," : "");
			psti_buf_ident(&readable, source->relation->columns[i].name);
		}
	psti_fail_sqlstate(err, "42501", "cannot read %s: no SELECT privilege on column \"%s\"",
					   source->relation->qualified, refused);
	PSTI_ERROR_SET(err, schema, source->relation->schema);
	PSTI_ERROR_SET(err, table, source->relation->name);
	PSTI_ERROR_SET(err, column, refused);
	if (readable.len > 0 && !readable.failed)
		psti_error_hint(err, "Name the columns that the role may read: read.columns='%s'.",
						readable.data);
	else
		psti_relation_hint_grant(source->relation, "SELECT", source->conn, err);
	psti_buf_free(&readable);
	return err->status;
}

/* ---- The schema ---- */

static pst_status
make_schema(pst_source *source, pst_error *err)
{
	static const char *const values[] = {NULL, "csv", "json", NULL};
	pst_status status =
		psti_schema_init(&source->schema, "+s", "", false, (int64_t) source->ncolumns, err);

	for (size_t i = 0; status == PST_OK && i < source->ncolumns; i++)
	{
		status =
			psti_column_field(source->schema.children[i], &source->copy[i],
							  &source->columns[i].column->type, values[source->rules.values], err);
	}
	return status;
}

/* ---- SQL ---- */

void
psti_source_column_ref(const pst_source *source, size_t position, psti_buf *out)
{
	char number[24];

	psti_buf_puts(out, source->alias);
	psti_buf_putc(out, '.');
	if (source->unique_names)
	{
		psti_buf_ident(out, source->relation->columns[position].name);
		return;
	}
	snprintf(number, sizeof(number), "%zu", position + 1);
	psti_buf_ident(out, number);
}

/*
 * textin and the output functions are strict, so NULL stays NULL. Where the function may not be
 * called format() does, which prints NULL as nothing; num_nulls tells NULL from a row of NULLs.
 * A domain goes as its base type: enum_out(anyenum) does not take a domain over an enum.
 */
static void
put_output(const psti_read_column *read, const char *ref, psti_buf *out)
{
	const psti_type *type = &read->column->type;
	/* The description of a query tells a domain's base type only: polymorphic ones always cast. */
	bool domain = type->oid != type->base || strchr("erm", type->typtype) != NULL;

	if (type->output_callable)
		psti_buf_printf(out, "pg_catalog.textin(%s(%s%s%s))", type->output, ref, domain ? "::" : "",
						domain ? type->bare_name : "");
	else
		psti_buf_printf(out,
						"CASE WHEN pg_catalog.num_nulls(%s) OPERATOR(pg_catalog.=) 0 THEN "
						"pg_catalog.format('%%s', %s) END",
						ref, ref);
}

/*
 * to_json forgets the lower bounds of arrays, at any depth: what has others is its text. Every such
 * array's text has ]={ in it; where something else has, the text does as well.
 */
static void
put_json(const psti_read_column *read, const char *ref, psti_buf *out)
{
	psti_buf text = PSTI_BUF_INIT;

	put_output(read, ref, &text);
	if (text.failed)
		out->failed = true;
	else if (read->bounds)
		psti_buf_printf(out,
						"CASE WHEN pg_catalog.strpos(%s, ']={') OPERATOR(pg_catalog.>) 0 "
						"THEN pg_catalog.to_json(%s) ELSE pg_catalog.to_json(%s) END",
						text.data, text.data, ref);
	else
		psti_buf_printf(out, "pg_catalog.to_json(%s)", ref);
	psti_buf_puts(out, "::pg_catalog.text");
	psti_buf_free(&text);
}

void
psti_source_text_columns(const pst_source *source, psti_buf *out)
{
	const char *comma = "";

	psti_buf_puts(out, "ARRAY[");
	for (size_t i = 0; i < source->ncolumns; i++)
	{
		const psti_read_column *read = &source->columns[i];
		char number[24];

		if (source->rules.values == PSTI_VALUES_ARROW &&
			!psti_column_is_text(&source->rules, read->column->name))
			continue;
		/* As psti_source_column_ref names it. */
		snprintf(number, sizeof(number), "%zu", read->position + 1);
		psti_buf_puts(out, comma);
		psti_buf_literal(out, source->unique_names ? read->column->name : number);
		comma = ", ";
	}
	psti_buf_puts(out, "]::pg_catalog.text[]");
}

static void
put_column(const pst_source *source, size_t i, psti_buf *out)
{
	const psti_read_column *read = &source->columns[i];
	psti_buf ref = PSTI_BUF_INIT;

	psti_source_column_ref(source, read->position, &ref);
	if (ref.failed)
		out->failed = true;
	else if (read->ask == PSTI_ASK_OUTPUT)
		put_output(read, ref.data, out);
	else if (read->ask == PSTI_ASK_JSON)
		put_json(read, ref.data, out);
	else
		psti_buf_puts(out, ref.data);
	psti_buf_free(&ref);
}

void
psti_source_from(const pst_source *source, const char *only, psti_buf *out)
{
	if (source->query == NULL)
	{
		/* Where the moment has nothing under the table, what comes there later is not read. */
		psti_buf_printf(out, "%s%s AS %s",
						only != NULL || source->tree == PSTI_TREE_NONE ? " FROM ONLY " : " FROM ",
						only != NULL ? only : source->relation->qualified, source->alias);
		return;
	}
	/* The line breaks end a comment at the query's end. */
	psti_buf_printf(out, " FROM (\n%s\n) AS %s", source->query, source->alias);
	for (size_t i = 0; !source->unique_names && i < source->relation->ncolumns; i++)
		psti_buf_printf(out, "%s\"%zu\"", i == 0 ? "(" : ", ", i + 1);
	if (!source->unique_names)
		psti_buf_putc(out, ')');
}

/*
 * That the row is of a table that the moment knows under the one that is read. A join: a list is
 * searched from its start for each row before 14, and planned anew for each partition since.
 */
static void
put_membership(const pst_source *source, psti_buf *out)
{
	psti_buf_printf(
		out, "%s.tableoid OPERATOR(pg_catalog.=) ANY (SELECT m.oid FROM pg_catalog.unnest('{",
		source->alias);
	for (int i = 0; i < PQntuples(source->leaves); i++)
		psti_buf_printf(out, "%s%s", i > 0 ? "," : "",
						PQgetvalue(source->leaves, i, PSTI_LEAF_OID));
	psti_buf_puts(out, "}'::pg_catalog.oid[]) AS m(oid))");
}

/*
 * That the name in FROM means the table that was planned: no lock that a reader can take keeps a
 * schema from being renamed. The name is looked up once, when the statement is parsed, behind FROM,
 * which alone makes the session hear of what others have renamed (as a statement of its own it could
 * be true of another moment), and the planner folds what is true away, so that no row pays for it.
 * What is not true fails in the planner too (a condition without columns can get lost later, behind
 * a foreign join of servers before 11): the text is no bool, and the error shows the text.
 */
static void
put_identity(const pst_source *source, const psti_select *what, psti_buf *out)
{
	psti_buf_puts(out, "CASE WHEN ");
	psti_buf_literal(out, what->only != NULL ? what->only : source->relation->qualified);
	psti_buf_printf(out,
					"::pg_catalog.regclass::pg_catalog.oid OPERATOR(pg_catalog.=) "
					"%lu::pg_catalog.oid THEN true ELSE "
					"('" PSTI_RENAMED "'::pg_catalog.text)::pg_catalog.bool END",
					(unsigned long) what->oid);
}

/* A role that has columns of the table only may not read tableoid: it reads what is under it now. */
static bool
names_members(const pst_source *source)
{
	return source->tree == PSTI_TREE_LEAVES && source->leaves != NULL &&
		   PQntuples(source->leaves) > 0 &&
		   PQgetvalue(source->leaves, 0, PSTI_LEAF_READABLE)[0] == 't';
}

void
psti_source_select(const pst_source *source, const psti_select *what, psti_buf *out)
{
	const char *filter = what->filter ? psti_opt_text(source->options, PSTI_OPT_FILTER) : NULL;
	const char *and = " WHERE ";

	psti_buf_puts(out, "SELECT ");
	for (size_t i = 0; i < source->ncolumns; i++)
	{
		psti_buf_puts(out, i > 0 ? ", " : "");
		put_column(source, i, out);
	}
	psti_source_from(source, what->only, out);
	if (what->oid != 0)
	{
		psti_buf_puts(out, and);
		put_identity(source, what, out);
		and = " AND ";
	}
	/* Estimates do without: the planner's guess at the join would halve them. */
	if (what->only == NULL && what->oid != 0 && names_members(source))
	{
		psti_buf_puts(out, and);
		put_membership(source, out);
		and = " AND ";
	}
	if (what->condition != NULL)
	{
		psti_buf_printf(out, "%s(%s)", and, what->condition);
		and = " AND ";
	}
	if (filter != NULL)
		psti_buf_printf(out, "%s(\n%s\n)", and, filter);
	if (what->limit && psti_opt_given(source->options, PSTI_OPT_LIMIT))
		psti_buf_printf(out, " LIMIT %lld",
						(long long) psti_opt_int(source->options, PSTI_OPT_LIMIT));
}

/* ---- All of it ---- */

size_t
psti_source_width(const pst_source *source)
{
	return source->ncolumns;
}

bool
psti_source_field(const pst_source *source, size_t i, psti_tuple_field *out)
{
	const psti_type *type = &source->columns[i].column->type;

	*out = (psti_tuple_field){source->columns[i].column->name, type->base, type->elem};
	if (source->rules.assisted)
		return false;
	/* Bytes of any encoding: the decoder has to see that they are UTF-8. */
	if (strcmp(psti_conn_caps(source->conn)->encoding, "SQL_ASCII") == 0)
		return false;
	return source->columns[i].ask == PSTI_ASK_VALUE && psti_copy_verbatim(&source->copy[i]);
}

static void
find_unique_names(pst_source *source)
{
	const psti_relation *relation = source->relation;

	source->unique_names = true;
	for (size_t i = 0; source->query != NULL && i < relation->ncolumns; i++)
		for (size_t k = i + 1; k < relation->ncolumns; k++)
			if (strcmp(relation->columns[i].name, relation->columns[k].name) == 0)
				source->unique_names = false;
}

pst_status
psti_source_columns(pst_source *source, pst_error *err)
{
	pst_status status;

	find_unique_names(source);
	status = check_text_columns(source, err);
	if (status == PST_OK)
		status = project(source, err);
	if (status == PST_OK)
		status = check_privileges(source, err);
	if (status == PST_OK)
		status = ask_json_forms(source, err);
	if (status == PST_OK)
	{
		mark_key(source);
		status = make_schema(source, err);
	}
	return status;
}

void
psti_source_columns_free(pst_source *source)
{
	free(source->columns);
	free(source->copy);
	psti_schema_release(&source->schema);
}
