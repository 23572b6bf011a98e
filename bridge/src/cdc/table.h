/*
 * table.h - a captured table at one version of its columns: what its rows become, whichever way they come.
 */
#ifndef PSTI_CDC_TABLE_H
#define PSTI_CDC_TABLE_H

#include "cdc/change.h"
#include "columns.h"

typedef struct psti_table
{
	uint32_t oid;
	char *schema;
	char *name;
	size_t ncolumns;
	char **names;
	uint32_t *types;		   /* OIDs as declared */
	psti_copy_column *columns; /* every one may be NULL: a key alone is a row too */
	const char **key;		   /* NULL-terminated; borrowed from names; none: a row has no name */
	struct ArrowSchema arrow;
	struct psti_captured *captured; /* whose version it is; borrowed */
	psti_copy_decoder *decoder;		/* of its rows in the stream; NULL until there are any */
} psti_table;

/* A column that a table is made of; all borrowed for the call. */
typedef struct psti_table_column
{
	const char *name;
	const psti_type *type;
	bool text; /* comes as text whatever its type */
	bool key;
} psti_table_column;

pst_status psti_table_new(const psti_column_rules *rules, uint32_t oid, const char *schema,
						  const char *name, const psti_table_column *columns, size_t ncolumns,
						  psti_table **out, pst_error *err);

/* The table that a relation of the stream describes. */
pst_status psti_table_of_stream(const psti_column_rules *rules,
								const psti_stream_relation *relation, psti_table **out,
								pst_error *err);

void psti_table_free(psti_table *table);

/* Whether rows of both have the same columns, by the same names, with the same key. */
bool psti_table_same(const psti_table *a, const psti_table *b);

/* Whether values of both come in the same form: a read and a stream may have another one of a type. */
bool psti_table_reads_alike(const psti_table *a, const psti_table *b);

/* A hash of the columns' names in their order, never 0. */
uint64_t psti_table_hash(const psti_table *table);

/* Where the column of this name is, or ncolumns. */
size_t psti_table_find(const psti_table *table, const char *name);

#endif /* PSTI_CDC_TABLE_H */
