/* table.c - a captured table at one version of its columns. See table.h. */
#include "cdc/table.h"

#include <stdlib.h>

#include "arrow_build.h"
#include "hash.h"

static pst_status
allocate(psti_table *table, size_t ncolumns, pst_error *err)
{
	/* One more, since none at all is a table too. */
	table->names = calloc(ncolumns + 1, sizeof(*table->names));
	table->types = calloc(ncolumns + 1, sizeof(*table->types));
	table->columns = calloc(ncolumns + 1, sizeof(*table->columns));
	table->key = calloc(ncolumns + 1, sizeof(*table->key));
	if (table->names == NULL || table->types == NULL || table->columns == NULL ||
		table->key == NULL)
		return psti_fail_nomem(err);
	return psti_schema_init(&table->arrow, "+s", "", false, (int64_t) ncolumns, err);
}

static pst_status
add_column(psti_table *table, const psti_column_rules *rules, const psti_table_column *from,
		   size_t *nkeys, pst_error *err)
{
	size_t i = table->ncolumns;
	psti_copy_column *copy = &table->columns[i];
	psti_ask ask;

	table->names[i] = strdup(from->name);
	if (table->names[i] == NULL)
		return psti_fail_nomem(err);
	table->ncolumns++;
	table->types[i] = from->type->oid;
	if (from->key)
		table->key[(*nkeys)++] = table->names[i];
	psti_column_choose(rules, table->names[i], from->type, &ask, copy);
	if (from->text || ask != PSTI_ASK_VALUE)
		*copy = (psti_copy_column){
			.name = table->names[i], .type = PSTI_COPY_TEXT, .form = PSTI_FORM_TEXT};
	copy->key = from->key;
	copy->not_null = false;
	return psti_column_field(table->arrow.children[i], copy, from->type, NULL, err);
}

pst_status
psti_table_new(const psti_column_rules *rules, uint32_t oid, const char *schema, const char *name,
			   const psti_table_column *columns, size_t ncolumns, psti_table **out, pst_error *err)
{
	psti_table *table = calloc(1, sizeof(*table));
	size_t nkeys = 0;
	pst_status status = PST_OK;

	*out = NULL;
	if (table == NULL)
		return psti_fail_nomem(err);
	table->oid = oid;
	table->schema = strdup(schema);
	table->name = strdup(name);
	if (table->schema == NULL || table->name == NULL)
		status = psti_fail_nomem(err);
	if (status == PST_OK)
		status = allocate(table, ncolumns, err);
	for (size_t i = 0; status == PST_OK && i < ncolumns; i++)
		status = add_column(table, rules, &columns[i], &nkeys, err);
	if (status == PST_OK)
		*out = table;
	else
		psti_table_free(table);
	return status;
}

pst_status
psti_table_of_stream(const psti_column_rules *rules, const psti_stream_relation *relation,
					 psti_table **out, pst_error *err)
{
	psti_table_column *columns = calloc(relation->ncolumns + 1, sizeof(*columns));
	bool index = relation->identity == 'd' || relation->identity == 'i';
	pst_status status;

	*out = NULL;
	if (columns == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		const psti_stream_column *from = &relation->columns[i];

		columns[i] = (psti_table_column){.name = from->name,
										 .type = &from->type,
										 .text = from->text,
										 .key = index ? from->identity : from->primary};
	}
	status = psti_table_new(rules, relation->oid, relation->schema, relation->name, columns,
							relation->ncolumns, out, err);
	free(columns);
	return status;
}

void
psti_table_free(psti_table *table)
{
	if (table == NULL)
		return;
	psti_copy_decoder_free(table->decoder);
	psti_schema_release(&table->arrow);
	for (size_t i = 0; i < table->ncolumns; i++)
		free(table->names[i]);
	free(table->names);
	free(table->types);
	free(table->columns);
	free(table->key);
	free(table->schema);
	free(table->name);
	free(table);
}

static bool
same_column(const psti_table *a, const psti_table *b, size_t i)
{
	const psti_copy_column *x = &a->columns[i];
	const psti_copy_column *y = &b->columns[i];
	char format_x[32];
	char format_y[32];

	psti_copy_format(x, format_x, sizeof(format_x));
	psti_copy_format(y, format_y, sizeof(format_y));
	return strcmp(a->names[i], b->names[i]) == 0 && a->types[i] == b->types[i] &&
		   x->form == y->form &&
		   (x->list && x->form == PSTI_FORM_ARROW) == (y->list && y->form == PSTI_FORM_ARROW) &&
		   x->key == y->key && strcmp(format_x, format_y) == 0;
}

bool
psti_table_same(const psti_table *a, const psti_table *b)
{
	if (a->ncolumns != b->ncolumns || strcmp(a->schema, b->schema) != 0 ||
		strcmp(a->name, b->name) != 0)
		return false;
	for (size_t i = 0; i < a->ncolumns; i++)
		if (!same_column(a, b, i))
			return false;
	return true;
}

uint64_t
psti_table_hash(const psti_table *table)
{
	uint64_t hash = PSTI_HASH_INIT;

	for (size_t i = 0; i < table->ncolumns; i++)
		hash = psti_hash_text(hash, table->names[i]);
	return hash != 0 ? hash : 1;
}

bool
psti_table_reads_alike(const psti_table *a, const psti_table *b)
{
	if (a->ncolumns != b->ncolumns)
		return false;
	for (size_t i = 0; i < a->ncolumns; i++)
		if (a->columns[i].type != b->columns[i].type || a->columns[i].list != b->columns[i].list ||
			a->columns[i].elem != b->columns[i].elem)
			return false;
	return true;
}

size_t
psti_table_find(const psti_table *table, const char *name)
{
	for (size_t i = 0; i < table->ncolumns; i++)
		if (strcmp(table->names[i], name) == 0)
			return i;
	return table->ncolumns;
}
