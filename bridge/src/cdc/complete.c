/* complete.c - what pgoutput does not tell of a relation, from the catalog. See complete.h. */
#include "complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql_texts.h"

/* What is below was made by initdb, and keeps its name. */
#define FIRST_USER_OID 16384

struct psti_completer
{
	psti_conn *conn;
	bool roots;
	psti_type *known; /* of the server's own, asked for once: a hash table; oid 0: free */
	size_t nknown;
	size_t cap;
};

/* The columns of the text `stream_relation`. */
enum
{
	F_OID,
	F_SCHEMA,
	F_NAME,
	F_FILENODE,
	F_COLUMN,
	F_PRIMARY,
	N_FIELDS
};

/* ---- Types ---- */

static void
free_type(psti_type *type)
{
	free(type->name);
	free(type->bare_name);
	free(type->output);
	free(type->elem_name);
	memset(type, 0, sizeof(*type));
}

static char *
copy_of(const char *text, bool *failed)
{
	char *copy = text == NULL ? NULL : strdup(text);

	*failed = *failed || (text != NULL && copy == NULL);
	return copy;
}

/* Fills *to, which holds nothing, with copies. */
static bool
copy_type(const psti_type *from, psti_type *to)
{
	bool failed = false;

	*to = *from;
	to->name = copy_of(from->name, &failed);
	to->bare_name = copy_of(from->bare_name, &failed);
	to->output = copy_of(from->output, &failed);
	to->elem_name = copy_of(from->elem_name, &failed);
	if (failed)
		free_type(to);
	return !failed;
}

static size_t
place_of(const psti_type *known, size_t cap, Oid oid, int32_t typmod)
{
	size_t i = (oid * UINT32_C(2654435761) ^ (uint32_t) typmod * UINT32_C(40503)) & (cap - 1);

	while (known[i].oid != 0 && (known[i].oid != oid || known[i].typmod != typmod))
		i = (i + 1) & (cap - 1);
	return i;
}

static const psti_type *
find_known(const psti_completer *completer, Oid oid, int32_t typmod)
{
	const psti_type *found;

	if (completer->cap == 0)
		return NULL;
	found = &completer->known[place_of(completer->known, completer->cap, oid, typmod)];
	return found->oid == 0 ? NULL : found;
}

static bool
remember(psti_completer *completer, const psti_type *type)
{
	size_t at;

	if (type->oid >= FIRST_USER_OID || find_known(completer, type->oid, type->typmod) != NULL)
		return true;
	if (completer->nknown >= completer->cap / 2)
	{
		size_t cap = completer->cap == 0 ? 64 : completer->cap * 2;
		psti_type *grown = calloc(cap, sizeof(*grown));

		if (grown == NULL)
			return false;
		for (size_t i = 0; i < completer->cap; i++)
			if (completer->known[i].oid != 0)
				grown[place_of(grown, cap, completer->known[i].oid, completer->known[i].typmod)] =
					completer->known[i];
		free(completer->known);
		completer->known = grown;
		completer->cap = cap;
	}
	at = place_of(completer->known, completer->cap, type->oid, type->typmod);
	if (!copy_type(type, &completer->known[at]))
		return false;
	completer->nknown++;
	return true;
}

/* The types of n columns, whose places are in `which`. */
static pst_status
ask_types(psti_completer *completer, psti_stream_relation *relation, const size_t *which, size_t n,
		  pst_error *err)
{
	Oid *types = malloc(n * sizeof(*types));
	int32_t *typmods = malloc(n * sizeof(*typmods));
	psti_relation *answer = NULL;
	pst_status status = PST_OK;

	if (types == NULL || typmods == NULL)
		status = psti_fail_nomem(err);
	for (size_t i = 0; status == PST_OK && i < n; i++)
	{
		types[i] = relation->columns[which[i]].type.oid;
		typmods[i] = relation->columns[which[i]].type.typmod;
	}
	if (status == PST_OK)
		status = psti_relation_types(completer->conn, types, typmods, n, &answer, err);
	if (status == PST_OK && answer->ncolumns != n)
		status = psti_fail(err, PST_ERR_PROTOCOL, "the catalog query described %zu of %zu types",
						   answer->ncolumns, n);
	for (size_t i = 0; status == PST_OK && i < n; i++)
	{
		psti_type *to = &relation->columns[which[i]].type;
		psti_type *type = &answer->columns[i].type;

		/* Gone since: its values are text, of a type without a name. */
		if (type->base == 0)
		{
			to->name = strdup("");
			status = to->name == NULL ? psti_fail_nomem(err) : PST_OK;
			continue;
		}
		free_type(to);
		*to = *type;
		memset(type, 0, sizeof(*type));
		if (!remember(completer, to))
			status = psti_fail_nomem(err);
	}
	psti_relation_free(answer);
	free(types);
	free(typmods);
	return status;
}

static pst_status
complete_types(psti_completer *completer, psti_stream_relation *relation, pst_error *err)
{
	size_t *which = malloc((relation->ncolumns + 1) * sizeof(*which));
	size_t n = 0;
	pst_status status = PST_OK;

	if (which == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; status == PST_OK && i < relation->ncolumns; i++)
	{
		psti_type *type = &relation->columns[i].type;
		const psti_type *known = find_known(completer, type->oid, type->typmod);

		if (known == NULL)
			which[n++] = i;
		else if (!copy_type(known, type))
			status = psti_fail_nomem(err);
	}
	if (status == PST_OK && n > 0)
		status = ask_types(completer, relation, which, n, err);
	free(which);
	return status;
}

/* ---- Root and order ---- */

/* The place of a column, from `from` on; ncolumns: there is none of the name. */
static size_t
find_column(const psti_stream_relation *relation, const char *name, size_t from)
{
	while (from < relation->ncolumns && strcmp(relation->columns[from].name, name) != 0)
		from++;
	return from;
}

/* Column `from` comes to stand at `to`, before those that were there. */
static void
move_column(psti_stream_relation *relation, size_t *order, size_t from, size_t to)
{
	psti_stream_column column = relation->columns[from];
	size_t place = order[from];

	memmove(&relation->columns[to + 1], &relation->columns[to],
			(from - to) * sizeof(*relation->columns));
	memmove(&order[to + 1], &order[to], (from - to) * sizeof(*order));
	relation->columns[to] = column;
	order[to] = place;
}

/* In the order of the answer; those that it does not have stay behind. */
static void
sort_columns(const PGresult *answer, psti_stream_relation *relation, size_t *order)
{
	size_t sorted = 0;

	for (int row = 0; row < PQntuples(answer); row++)
	{
		size_t at;

		if (PQgetisnull(answer, row, F_COLUMN))
			continue;
		at = find_column(relation, PQgetvalue(answer, row, F_COLUMN), sorted);
		if (at == relation->ncolumns)
			continue;
		relation->columns[at].primary = PQgetvalue(answer, row, F_PRIMARY)[0] == 't';
		move_column(relation, order, at, sorted++);
	}
}

static pst_status
name_relation(const PGresult *answer, psti_stream_relation *relation, pst_error *err)
{
	Oid oid = (Oid) strtoul(PQgetvalue(answer, 0, F_OID), NULL, 10);
	char *schema;
	char *name;

	relation->filenode = (uint32_t) strtoul(PQgetvalue(answer, 0, F_FILENODE), NULL, 10);
	/* Its own name is that of the moment. */
	if (oid == relation->leaf)
		return PST_OK;
	schema = strdup(PQgetvalue(answer, 0, F_SCHEMA));
	name = strdup(PQgetvalue(answer, 0, F_NAME));
	if (schema == NULL || name == NULL)
	{
		free(schema);
		free(name);
		return psti_fail_nomem(err);
	}
	free(relation->schema);
	free(relation->name);
	relation->schema = schema;
	relation->name = name;
	relation->oid = oid;
	return PST_OK;
}

static pst_status
complete_relation(psti_completer *completer, psti_stream_relation *relation, size_t *order,
				  pst_error *err)
{
	char leaf[16];
	const char *params[2] = {leaf, completer->roots ? "t" : "f"};
	PGresult *answer = NULL;
	pst_status status;

	snprintf(leaf, sizeof(leaf), "%u", relation->leaf);
	status = psti_conn_query(completer->conn, "describing a table of the stream",
							 psti_sql_stream_relation, 2, params, &answer, err);
	if (status == PST_OK && PQnfields(answer) != N_FIELDS)
		status = psti_fail(err, PST_ERR_PROTOCOL, "the catalog query gave %d columns, not %d",
						   PQnfields(answer), N_FIELDS);
	if (status == PST_OK && PQntuples(answer) > 0)
	{
		status = name_relation(answer, relation, err);
		if (status == PST_OK)
			sort_columns(answer, relation, order);
	}
	PQclear(answer);
	return status;
}

pst_status
psti_complete(void *ctx, psti_stream_relation *relation, size_t *order, pst_error *err)
{
	psti_completer *completer = ctx;
	pst_status status = complete_types(completer, relation, err);

	return status == PST_OK ? complete_relation(completer, relation, order, err) : status;
}

pst_status
psti_completer_new(psti_conn *conn, bool roots, psti_completer **out, pst_error *err)
{
	psti_completer *completer = calloc(1, sizeof(*completer));

	*out = completer;
	if (completer == NULL)
		return psti_fail_nomem(err);
	completer->conn = conn;
	completer->roots = roots;
	return PST_OK;
}

void
psti_completer_free(psti_completer *completer)
{
	if (completer == NULL)
		return;
	for (size_t i = 0; i < completer->cap; i++)
		free_type(&completer->known[i]);
	free(completer->known);
	free(completer);
}
