/*
 * plugin_relations.h - what the output plugin knows of the tables whose changes it sends.
 *
 * An entry is made from the catalog as it was when the change was made, and made anew when the catalog
 * changed. Entries are by the table that a row lies in, which for a partition can differ from the one
 * that it is sent under.
 */
#ifndef PENSTOCK_PLUGIN_RELATIONS_H
#define PENSTOCK_PLUGIN_RELATIONS_H

#include "postgres.h"

#include "access/htup.h"
#include "utils/relcache.h"

#include "change_values.h"
#include "plugin_options.h"

typedef struct plugin_column
{
	int attribute; /* number in the table that the row lies in, from 1 */
	bool identity; /* of the replica identity */
	change_type type;
	const char *name;
} plugin_column;

typedef struct plugin_relation
{
	Oid leaf;		  /* of the table that the row lies in: the key */
	Oid named;		  /* of the one that it is sent under */
	bool valid;		  /* else it is to be made anew */
	bool captured;	  /* else its changes are left out, and what follows is not set */
	bool described;	  /* the consumer knows it */
	uint32 index;	  /* by which records refer to it */
	char identity;	  /* replica identity: d, i, f, n */
	char persistence; /* of leaf: p, or u when it has become unlogged */
	int pinned;		  /* settings that the columns' texts depend on (types.h) */
	int ncolumns;
	plugin_column *columns;
	int nattributes;  /* of leaf */
	Datum *values[2]; /* of an old and a new row, by attribute */
	bool *nulls[2];
	char *schema; /* of named, for errors */
	char *table;
	char *description; /* record CHANGE_RELATION behind its index */
	int ndescription;
	MemoryContext memory; /* of all the above */
} plugin_relation;

typedef struct plugin_relations plugin_relations;

/* Memory is of the current context, which may be deleted at any time: there is nothing to undo. */
extern plugin_relations *plugin_relations_new(const plugin_options *options);

/*
 * The entry of a table, of which a row lies in heap: the table itself, or what will take its place, logged
 * where the table was not maybe. Valid until the next call. Temporary memory is of the current context.
 */
extern plugin_relation *plugin_relations_get(plugin_relations *relations, Relation relation,
											 Relation heap);

/* A transaction begins: what changes in the catalog from here on is noted. */
extern void plugin_relations_begin(plugin_relations *relations);

/*
 * At the end of a transaction, in its last catalog: the next table of those that it altered of which the
 * consumer is to know although no row of it may come: it became unlogged, or logged again, or a partition
 * of another root. NULL: no more.
 * Valid until the next call.
 */
extern plugin_relation *plugin_relations_altered(plugin_relations *relations);

#endif /* PENSTOCK_PLUGIN_RELATIONS_H */
