/*
 * tuples.h - rows from a source into a sink as the one server sent them to the other.
 *
 * Where a column's fields hold the binary form of a type, nothing of which the decoded values would
 * lose, and the target's column takes the binary form of that type, nobody need look into them.
 * Where that is so of all columns a row need not be taken apart. pst_sink_copy asks both sides.
 */
#ifndef PSTI_TUPLES_H
#define PSTI_TUPLES_H

#include "copy_decode.h"
#include "penstock.h"

/* What the fields of a column are: the binary form of a type. */
typedef struct psti_tuple_field
{
	const char *name; /* borrowed */
	uint32_t type;	  /* OID, never a domain's */
	uint32_t elem;	  /* OID of an array's elements as the bytes announce it; 0: no array */
} psti_tuple_field;

/* source_columns.c: the columns of a read; false: decoding this one may lose or change something. */
size_t psti_source_width(const pst_source *source);
bool psti_source_field(const pst_source *source, size_t i, psti_tuple_field *out);

/* sink.c: whether tuples of the source are rows of the sink, column by column. */
bool psti_sink_verbatim(const pst_sink *sink, const pst_source *source);

/* Takes a batch, borrowed; a failure ends the read. */
typedef pst_status (*psti_take_tuples)(void *ctx, const psti_tuples *tuples, pst_error *err);

/* source_stream.c: reads a split, or everything when split is NULL. */
pst_status psti_source_tuples(pst_source *source, const char *split, psti_take_tuples take,
							  void *ctx, pst_error *err);

/* sink.c: as pst_sink_write of rows that were decoded from these. ctx is the sink. */
pst_status psti_sink_write_tuples(void *ctx, const psti_tuples *tuples, pst_error *err);

#endif /* PSTI_TUPLES_H */
