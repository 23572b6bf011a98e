/*
 * wanted.h - which changes of a plain stream are told. pgoutput sends all that its publication has, and
 * logical messages of all prefixes or none: what was not asked for is left out here.
 */
#ifndef PSTI_CDC_WANTED_H
#define PSTI_CDC_WANTED_H

#include "cdc/change.h"
#include "cdc/patterns.h"
#include "conn.h"

/* A prefix that was met. */
typedef struct psti_prefix
{
	char *text; /* owned; NULL: a free place */
	bool wanted;
} psti_prefix;

typedef struct psti_wanted
{
	unsigned left_out; /* operations, PSTI_PUBLISH_… */
	psti_patterns messages;
	psti_prefix *prefixes; /* a hash table; owned */
	size_t nprefixes;
} psti_wanted;

/* Reads options cdc.operations and cdc.messages. */
pst_status psti_wanted_init(psti_wanted *wanted, const psti_options *options, pst_error *err);
void psti_wanted_free(psti_wanted *wanted);

/* Whether the change, a row, truncate or message, is to be told. conn: for questions. */
pst_status psti_wanted_look(psti_wanted *wanted, psti_conn *conn, const psti_change *change,
							bool *out, pst_error *err);

#endif /* PSTI_CDC_WANTED_H */
