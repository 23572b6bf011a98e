/* stream_relation.c - what a stream has told of a relation: see change.h. */
#include "change.h"

#include <stdlib.h>
#include <string.h>

void
psti_stream_column_clear(psti_stream_column *column)
{
	free(column->name);
	free(column->type.name);
	free(column->type.bare_name);
	free(column->type.output);
	free(column->type.elem_name);
	memset(column, 0, sizeof(*column));
}

void
psti_stream_relation_clear(psti_stream_relation *relation)
{
	for (size_t i = 0; i < relation->ncolumns; i++)
		psti_stream_column_clear(&relation->columns[i]);
	free(relation->columns);
	free(relation->schema);
	free(relation->name);
	memset(relation, 0, sizeof(*relation));
}
