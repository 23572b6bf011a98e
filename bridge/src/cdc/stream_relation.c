/* stream_relation.c - what a stream has told of a relation: see change.h. */
#include "change.h"

#include <stdlib.h>
#include <string.h>

void
psti_stream_relation_clear(psti_stream_relation *relation)
{
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		psti_type *type = &relation->columns[i].type;

		free(relation->columns[i].name);
		free(type->name);
		free(type->bare_name);
		free(type->output);
		free(type->elem_name);
	}
	free(relation->columns);
	free(relation->schema);
	free(relation->name);
	memset(relation, 0, sizeof(*relation));
}
