/* target.c - the describe text, as far as the decoders need it. */
#include "target.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json.h"
#include "options.h"

#define MAX_DEPTH 100 /* of types inside types */

static void
type_free(psti_target_type *type)
{
	for (size_t i = 0; i < type->nchildren; i++)
		type_free(&type->children[i]);
	free(type->children);
	free(type->name);
	free(type->type);
}

void
psti_target_free(psti_target *target)
{
	if (target == NULL)
		return;
	for (size_t i = 0; i < target->ncolumns; i++)
		type_free(&target->columns[i].type);
	free(target->columns);
	free(target->sorted);
	free(target->table);
	free(target);
}

static pst_status
copy_text(const char *text, char **out, pst_error *err)
{
	*out = NULL;
	if (text == NULL)
		return PST_OK;
	*out = strdup(text);
	return *out != NULL ? PST_OK : psti_fail_nomem(err);
}

static bool
text_is(const char *text, const char *word)
{
	return text != NULL && strcmp(text, word) == 0;
}

static pst_status parse_type(const psti_json *json, psti_target_type *type, bool is_element,
							 int depth, pst_error *err);

static pst_status
parse_children(const psti_json *first, size_t n, psti_target_type *type, bool is_element, int depth,
			   pst_error *err)
{
	pst_status status = PST_OK;

	type->children = calloc(n > 0 ? n : 1, sizeof(*type->children));
	if (type->children == NULL)
		return psti_fail_nomem(err);
	for (; status == PST_OK && type->nchildren < n && first != NULL; first = psti_json_next(first))
		status = parse_type(first, &type->children[type->nchildren++], is_element, depth + 1, err);
	return status;
}

/* {"name":…,"type":…,"kind":…,"base_type":…,"element":{…},"fields":[…]} */
static pst_status
parse_type(const psti_json *json, psti_target_type *type, bool is_element, int depth,
		   pst_error *err)
{
	const char *kind = psti_json_text(json, "kind");
	const char *base = psti_json_text(json, "base_type");
	const psti_json *element = psti_json_get(json, "element");
	const psti_json *fields = psti_json_get(json, "fields");
	pst_status status;

	if (depth > MAX_DEPTH)
		return psti_fail(err, PST_ERR_INVALID, "describe has types nested too deep");
	status = copy_text(psti_json_text(json, "name"), &type->name, err);
	if (status == PST_OK)
		status = copy_text(psti_json_text(json, "type"), &type->type, err);
	if (status == PST_OK && type->name == NULL && !is_element)
		return psti_fail(err, PST_ERR_INVALID, "describe has a column or field without a name");
	if (status != PST_OK)
		return status;
	if (text_is(base, "json") || text_is(base, "jsonb"))
		type->shape = PSTI_SHAPE_JSON;
	else if (text_is(base, "int2vector") || text_is(base, "oidvector"))
		type->shape = PSTI_SHAPE_VECTOR;
	else if (text_is(kind, "array") && element != NULL)
	{
		type->shape = PSTI_SHAPE_ARRAY;
		/* box alone of all types has another delimiter (pg_type.typdelim). */
		type->delimiter = text_is(psti_json_text(element, "base_type"), "box") ? ';' : ',';
		return parse_children(element, 1, type, true, depth, err);
	}
	else if (text_is(kind, "composite") && fields != NULL)
	{
		type->shape = PSTI_SHAPE_COMPOSITE;
		return parse_children(psti_json_first(fields), psti_json_size(fields), type, false, depth,
							  err);
	}
	return PST_OK;
}

/* Whether the role may insert and update the column; a describe without privileges is trusted. */
static bool
may_write(const psti_json *column)
{
	const psti_json *privileges = psti_json_get(column, "privileges");
	int found = 0;

	if (privileges == NULL)
		return true;
	for (const psti_json *p = psti_json_first(privileges); p != NULL; p = psti_json_next(p))
		found += text_is(psti_json_string_value(p), "insert") ||
				 text_is(psti_json_string_value(p), "update");
	return found == 2;
}

static pst_status
parse_column(const psti_json *json, psti_target_column *column, pst_error *err)
{
	pst_status status = parse_type(json, &column->type, false, 0, err);

	if (status != PST_OK)
		return status;
	column->generated = psti_json_text(json, "generated") != NULL;
	column->writable = !column->generated && may_write(json) &&
					   !text_is(psti_json_text(json, "identity"), "always");
	return PST_OK;
}

static int
compare_names(const void *a, const void *b, void *columns)
{
	const psti_target_column *all = columns;

	return strcmp(all[*(const size_t *) a].type.name, all[*(const size_t *) b].type.name);
}

static pst_status
sort_columns(psti_target *target, pst_error *err)
{
	size_t *sorted = realloc(target->sorted, (target->ncolumns + 1) * sizeof(*sorted));

	if (sorted == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < target->ncolumns; i++)
		sorted[i] = i;
	qsort_r(sorted, target->ncolumns, sizeof(*sorted), compare_names, target->columns);
	target->sorted = sorted;
	return PST_OK;
}

static pst_status
parse_columns(const psti_json *root, psti_target *target, pst_error *err)
{
	const psti_json *columns = psti_json_get(root, "columns");
	size_t n = psti_json_size(columns);
	pst_status status = copy_text(psti_json_text(root, "qualified"), &target->table, err);

	if (status == PST_OK && columns == NULL)
		return psti_fail(err, PST_ERR_INVALID, "describe has no columns");
	if (status != PST_OK)
		return status;
	target->columns = calloc(n > 0 ? n : 1, sizeof(*target->columns));
	if (target->columns == NULL)
		return psti_fail_nomem(err);
	for (const psti_json *c = psti_json_first(columns); status == PST_OK && c != NULL;
		 c = psti_json_next(c))
		status = parse_column(c, &target->columns[target->ncolumns++], err);
	return status == PST_OK ? sort_columns(target, err) : status;
}

pst_status
psti_target_new(psti_target **out, pst_error *err)
{
	*out = calloc(1, sizeof(**out));
	return *out != NULL ? PST_OK : psti_fail_nomem(err);
}

pst_status
psti_target_parse(const char *describe, psti_target **out, pst_error *err)
{
	psti_json *root = NULL;
	psti_target *target = NULL;
	pst_status status;

	*out = NULL;
	status = psti_json_parse(describe, &root, err);
	if (status == PST_ERR_DATA)
		err->status = status = PST_ERR_INVALID;
	if (status == PST_OK)
		status = psti_target_new(&target, err);
	if (status == PST_OK)
		status = parse_columns(root, target, err);
	psti_json_free(root);
	if (status != PST_OK)
	{
		psti_target_free(target);
		return status;
	}
	*out = target;
	return PST_OK;
}

/* strcmp of a text that is not null-terminated with one that is. */
static int
compare_bytes(const char *text, size_t nbytes, const char *name)
{
	int c = strncmp(text, name, nbytes);

	return c != 0 ? c : name[nbytes] == '\0' ? 0 : -1;
}

/* The place of a name among the sorted columns: of its own column, or where it would stand. */
static size_t
place_of(const psti_target *target, const char *name, size_t nbytes, bool *found)
{
	size_t from = 0;
	size_t to = target->ncolumns;

	*found = false;
	while (from < to)
	{
		size_t middle = from + (to - from) / 2;
		size_t column = target->sorted[middle];
		int c = compare_bytes(name, nbytes, target->columns[column].type.name);

		*found = c == 0;
		if (c == 0)
			return middle;
		if (c < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return from;
}

int64_t
psti_target_find(const psti_target *target, const char *name, size_t nbytes, size_t guess)
{
	size_t place;
	bool found;

	if (guess < target->ncolumns &&
		compare_bytes(name, nbytes, target->columns[guess].type.name) == 0)
		return (int64_t) guess;
	place = place_of(target, name, nbytes, &found);
	return found ? (int64_t) target->sorted[place] : -1;
}

pst_status
psti_target_add(psti_target *target, const char *name, size_t nbytes, pst_error *err)
{
	size_t n = target->ncolumns;
	psti_target_column *columns = realloc(target->columns, (n + 1) * sizeof(*columns));
	size_t *sorted;
	size_t place;
	char *copy;
	bool found;

	if (columns == NULL)
		return psti_fail_nomem(err);
	target->columns = columns;
	sorted = realloc(target->sorted, (n + 1) * sizeof(*sorted));
	if (sorted == NULL)
		return psti_fail_nomem(err);
	target->sorted = sorted;
	copy = strndup(name, nbytes);
	if (copy == NULL)
		return psti_fail_nomem(err);
	place = place_of(target, name, nbytes, &found);
	memmove(sorted + place + 1, sorted + place, (n - place) * sizeof(*sorted));
	sorted[place] = n;
	columns[n] = (psti_target_column){.type = {.name = copy}, .writable = true};
	target->ncolumns++;
	return PST_OK;
}

pst_status
psti_target_unknown(const psti_target *target, const char *name, pst_error *err)
{
	psti_nearest nearest = psti_nearest_to(name);

	for (size_t i = 0; i < target->ncolumns; i++)
		psti_nearest_try(&nearest, target->columns[i].type.name);
	psti_fail(err, PST_ERR_NOT_FOUND, "%s has no column \"%s\"",
			  target->table != NULL ? target->table : "the target", name);
	PSTI_ERROR_SET(err, column, name);
	if (nearest.name != NULL)
		psti_error_hint(err, "Did you mean \"%s\"?", nearest.name);
	else
		psti_error_hint(err, "Names are taken letter by letter; penstock describe lists them.");
	return PST_ERR_NOT_FOUND;
}

int64_t
psti_target_field(const psti_target_type *type, const char *name, size_t nbytes, size_t guess)
{
	if (guess < type->nchildren && compare_bytes(name, nbytes, type->children[guess].name) == 0)
		return (int64_t) guess;
	for (size_t i = 0; i < type->nchildren; i++)
		if (compare_bytes(name, nbytes, type->children[i].name) == 0)
			return (int64_t) i;
	return -1;
}

const char *
psti_target_nearest_field(const psti_target_type *type, const char *name)
{
	psti_nearest nearest = psti_nearest_to(name);

	for (size_t i = 0; i < type->nchildren; i++)
		psti_nearest_try(&nearest, type->children[i].name);
	return nearest.name;
}
