/* complete.c - what pgoutput does not tell of a relation, from the catalog. See complete.h. */
#include "complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql_texts.h"

/* What is below was made by initdb, and keeps its name. */
#define FIRST_USER_OID 16384

/* Where a table stands: under which root, or by itself. Texts are owned. */
typedef struct place
{
	uint32_t leaf; /* 0: none */
	uint32_t oid;  /* of the root, or leaf */
	uint32_t filenode;
	char *schema;
	char *name;
	char **columns; /* of the root, in its order */
	bool *primary;	/* of the leaf's primary key */
	bool *missing;	/* has a missing value in the leaf */
	size_t ncolumns;
} place;

struct psti_completer
{
	psti_conn *conn;
	bool roots;
	const psti_column_rules *rules; /* borrowed; NULL: none */
	const psti_scope *scope;		/* borrowed; NULL: all columns are wanted */
	psti_type *known; /* of the server's own, asked for once: a hash table; oid 0: free */
	size_t nknown;
	size_t cap;
	place *places; /* of partitions that were seen: a hash table by leaf */
	size_t nplaces;
	size_t places_cap;
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
	F_MISSING,
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

static void
free_place(place *from)
{
	for (size_t i = 0; i < from->ncolumns; i++)
		free(from->columns[i]);
	free(from->columns);
	free(from->primary);
	free(from->missing);
	free(from->schema);
	free(from->name);
	memset(from, 0, sizeof(*from));
}

static size_t
slot_of(const place *places, size_t cap, uint32_t leaf)
{
	size_t i = (leaf * UINT32_C(2654435761)) & (cap - 1);

	while (places[i].leaf != 0 && places[i].leaf != leaf)
		i = (i + 1) & (cap - 1);
	return i;
}

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
	size_t told = order[from];

	memmove(&relation->columns[to + 1], &relation->columns[to],
			(from - to) * sizeof(*relation->columns));
	memmove(&order[to + 1], &order[to], (from - to) * sizeof(*order));
	relation->columns[to] = column;
	order[to] = told;
}

static bool
has_column(const place *from, const char *name)
{
	for (size_t i = 0; i < from->ncolumns; i++)
		if (strcmp(from->columns[i], name) == 0)
			return true;
	return false;
}

/* The first column, from `at` on, that the place does not have; ncolumns: it has all. */
static size_t
find_stranger(const place *from, const psti_stream_relation *relation, size_t at)
{
	while (at < relation->ncolumns && has_column(from, relation->columns[at].name))
		at++;
	return at;
}

/*
 * In the order of the place. One that it does not have comes where it has one that the relation does not
 * have: it has another name now. Others stay behind. A table's own order is that of its moment.
 */
static void
sort_columns(const place *from, psti_stream_relation *relation, size_t *order)
{
	bool own = from->oid == relation->leaf;
	size_t sorted = 0;

	for (size_t i = 0; i < from->ncolumns; i++)
	{
		size_t at = find_column(relation, from->columns[i], own ? 0 : sorted);

		if (at < relation->ncolumns)
		{
			relation->columns[at].primary = from->primary[i];
			relation->columns[at].missing = from->missing[i];
		}
		else
			at = find_stranger(from, relation, sorted);
		if (!own && at < relation->ncolumns)
			move_column(relation, order, at, sorted++);
	}
}

static pst_status
apply_place(const place *from, psti_stream_relation *relation, size_t *order, pst_error *err)
{
	relation->filenode = from->filenode;
	sort_columns(from, relation, order);
	/* Its own name is that of the moment. */
	if (from->oid == relation->leaf)
		return PST_OK;
	free(relation->schema);
	free(relation->name);
	relation->schema = strdup(from->schema);
	relation->name = strdup(from->name);
	relation->oid = from->oid;
	return relation->schema == NULL || relation->name == NULL ? psti_fail_nomem(err) : PST_OK;
}

static pst_status
read_place(const PGresult *answer, uint32_t leaf, place *out, pst_error *err)
{
	int nrows = PQntuples(answer);

	memset(out, 0, sizeof(*out));
	out->leaf = leaf;
	out->oid = (uint32_t) strtoul(PQgetvalue(answer, 0, F_OID), NULL, 10);
	out->filenode = (uint32_t) strtoul(PQgetvalue(answer, 0, F_FILENODE), NULL, 10);
	out->schema = strdup(PQgetvalue(answer, 0, F_SCHEMA));
	out->name = strdup(PQgetvalue(answer, 0, F_NAME));
	out->columns = calloc((size_t) nrows, sizeof(*out->columns));
	out->primary = calloc((size_t) nrows, sizeof(*out->primary));
	out->missing = calloc((size_t) nrows, sizeof(*out->missing));
	if (out->schema == NULL || out->name == NULL || out->columns == NULL || out->primary == NULL ||
		out->missing == NULL)
		return psti_fail_nomem(err);
	for (int row = 0; row < nrows && !PQgetisnull(answer, row, F_COLUMN); row++)
	{
		out->columns[row] = strdup(PQgetvalue(answer, row, F_COLUMN));
		if (out->columns[row] == NULL)
			return psti_fail_nomem(err);
		out->primary[row] = PQgetvalue(answer, row, F_PRIMARY)[0] == 't';
		out->missing[row] = PQgetvalue(answer, row, F_MISSING)[0] == 't';
		out->ncolumns++;
	}
	return PST_OK;
}

static place *
find_place(const psti_completer *completer, uint32_t leaf)
{
	size_t i;

	if (completer->places_cap == 0)
		return NULL;
	i = slot_of(completer->places, completer->places_cap, leaf);
	return completer->places[i].leaf == 0 ? NULL : &completer->places[i];
}

static bool
grow_places(psti_completer *completer)
{
	size_t cap = completer->places_cap == 0 ? 64 : completer->places_cap * 2;
	place *grown;

	if (completer->nplaces < completer->places_cap / 2)
		return true;
	grown = calloc(cap, sizeof(*grown));
	if (grown == NULL)
		return false;
	for (size_t i = 0; i < completer->places_cap; i++)
		if (completer->places[i].leaf != 0)
			grown[slot_of(grown, cap, completer->places[i].leaf)] = completer->places[i];
	free(completer->places);
	completer->places = grown;
	completer->places_cap = cap;
	return true;
}

/* Keeps the place of a partition, which is moved; of a table that never was one there is nothing to keep. */
static bool
keep_place(psti_completer *completer, place *from)
{
	place *known = find_place(completer, from->leaf);

	if (known == NULL && from->oid == from->leaf)
		return true;
	if (known == NULL && !grow_places(completer))
		return false;
	if (known == NULL)
	{
		known = &completer->places[slot_of(completer->places, completer->places_cap, from->leaf)];
		completer->nplaces++;
	}
	free_place(known);
	*known = *from;
	memset(from, 0, sizeof(*from));
	return true;
}

/* A partition that was dropped since is told of as before: what it had is not out of the stream yet. */
static pst_status
complete_place(psti_completer *completer, const PGresult *answer, psti_stream_relation *relation,
			   size_t *order, pst_error *err)
{
	const place *known;
	place now;
	pst_status status;

	if (PQntuples(answer) == 0)
	{
		known = find_place(completer, relation->leaf);
		return known == NULL ? PST_OK : apply_place(known, relation, order, err);
	}
	status = read_place(answer, relation->leaf, &now, err);
	if (status == PST_OK)
		status = apply_place(&now, relation, order, err);
	if (status == PST_OK && !keep_place(completer, &now))
		status = psti_fail_nomem(err);
	free_place(&now);
	return status;
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
	if (status == PST_OK)
		status = complete_place(completer, answer, relation, order, err);
	PQclear(answer);
	return status;
}

/* Which columns a read asks for by the text of the output function: here it is what comes. */
static void
choose_texts(const psti_column_rules *rules, psti_stream_relation *relation)
{
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		psti_stream_column *column = &relation->columns[i];
		psti_copy_column copy = {0};
		psti_ask ask;

		psti_column_choose(rules, column->name, &column->type, &ask, &copy);
		column->text = ask == PSTI_ASK_OUTPUT;
	}
}

/* ---- What is wanted ---- */

static pst_status
fail_identity(const psti_stream_relation *relation, const char *column, pst_error *err)
{
	psti_fail(err, PST_ERR_UNSUPPORTED,
			  "column \"%s\" of the replica identity of %s.%s is left out", column,
			  relation->schema, relation->name);
	psti_error_hint(err, "Take it into cdc.columns, or out of cdc.exclude-columns.");
	PSTI_ERROR_SET(err, schema, relation->schema);
	PSTI_ERROR_SET(err, table, relation->name);
	PSTI_ERROR_SET(err, column, column);
	return PST_ERR_UNSUPPORTED;
}

/* Takes the columns away that are not wanted. */
static pst_status
take_away(const psti_scope *scope, psti_stream_relation *relation, size_t *order,
		  const bool *wanted, pst_error *err)
{
	bool needed = relation->identity != 'f' && psti_scope_subject(scope, relation->oid) != NULL;
	size_t kept = 0;

	for (size_t i = 0; needed && i < relation->ncolumns; i++)
		if (!wanted[i] && relation->columns[i].identity)
			return fail_identity(relation, relation->columns[i].name, err);
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		if (!wanted[i])
		{
			psti_stream_column_clear(&relation->columns[i]);
			continue;
		}
		relation->columns[kept] = relation->columns[i];
		order[kept++] = order[i];
	}
	relation->ncolumns = kept;
	return PST_OK;
}

static pst_status
choose_columns(const psti_completer *completer, psti_stream_relation *relation, size_t *order,
			   pst_error *err)
{
	size_t n = relation->ncolumns;
	const char **names = calloc(n + 1, sizeof(*names));
	bool *wanted = calloc(n + 1, sizeof(*wanted));
	pst_status status = PST_OK;

	if (names == NULL || wanted == NULL)
		status = psti_fail_nomem(err);
	for (size_t i = 0; status == PST_OK && i < n; i++)
		names[i] = relation->columns[i].name;
	if (status == PST_OK)
		status = psti_scope_columns(completer->scope, completer->conn, relation->schema,
									relation->name, names, n, wanted, err);
	if (status == PST_OK)
		status = take_away(completer->scope, relation, order, wanted, err);
	free(names);
	free(wanted);
	return status;
}

pst_status
psti_complete(void *ctx, psti_stream_relation *relation, size_t *order, pst_error *err)
{
	psti_completer *completer = ctx;
	pst_status status = complete_types(completer, relation, err);

	if (status == PST_OK && completer->rules != NULL)
		choose_texts(completer->rules, relation);
	if (status == PST_OK)
		status = complete_relation(completer, relation, order, err);
	if (status == PST_OK && completer->scope != NULL)
		status = choose_columns(completer, relation, order, err);
	return status;
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
psti_completer_rules(psti_completer *completer, const psti_column_rules *rules)
{
	completer->rules = rules;
}

void
psti_completer_scope(psti_completer *completer, const psti_scope *scope)
{
	completer->scope = scope;
}

void
psti_completer_free(psti_completer *completer)
{
	if (completer == NULL)
		return;
	for (size_t i = 0; i < completer->cap; i++)
		free_type(&completer->known[i]);
	free(completer->known);
	for (size_t i = 0; i < completer->places_cap; i++)
		free_place(&completer->places[i]);
	free(completer->places);
	free(completer);
}
