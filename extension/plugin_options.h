/* plugin_options.h - what a consumer of the output plugin asks for (docs/cdc.md). */
#ifndef PENSTOCK_PLUGIN_OPTIONS_H
#define PENSTOCK_PLUGIN_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

typedef struct plugin_options
{
	List *include;		   /* patterns of schema.table; NIL: all tables … */
	List *exclude;		   /* … but these */
	List *columns;		   /* patterns of schema.table.column; NIL: all columns … */
	List *exclude_columns; /* … but these */
	List *messages;		   /* patterns of prefixes whose logical messages are sent; NIL: none */
	bool inserts;
	bool updates;
	bool deletes;
	bool truncates;
	bool local_only;	/* not what another server's changes brought here */
	bool as_root;		/* rows of a partition are its topmost parent's */
	Size message_bytes; /* a message is sent when it has so many */
} plugin_options;

/*
 * Checks and keeps the options of START_REPLICATION or of a function (DefElems). An unknown option, a
 * repeated one and a wrong value are error 22023. Memory is of the current context.
 */
extern plugin_options *plugin_options_new(List *list);

extern bool plugin_options_capture(const plugin_options *options, const char *schema,
								   const char *table);
extern bool plugin_options_column(const plugin_options *options, const char *schema,
								  const char *table, const char *column);
extern bool plugin_options_message(const plugin_options *options, const char *prefix);

#endif /* PENSTOCK_PLUGIN_OPTIONS_H */
