/*
 * complete.h - what pgoutput does not tell of a relation, from the catalog.
 *
 * The catalog is asked as it is now, while the description is of the moment of the change: columns are
 * found by their names, what is not there any more keeps what the description says, and a partition the
 * root that it was last seen under. A type is what its OID says, which never changes but in name.
 */
#ifndef PSTI_CDC_COMPLETE_H
#define PSTI_CDC_COMPLETE_H

#include "change.h"
#include "columns.h"
#include "conn.h"
#include "scope.h"

typedef struct psti_completer psti_completer;

/*
 * conn is an ordinary connection to the slot's database, borrowed until the completer is freed. roots:
 * partitions are told of under the name and in the columns' order of their topmost table.
 */
pst_status psti_completer_new(psti_conn *conn, bool roots, psti_completer **out, pst_error *err);
/* From here on columns that the rules want the server's own text of are text. rules: borrowed. */
void psti_completer_rules(psti_completer *completer, const psti_column_rules *rules);

/* From here on relations have the columns alone that are captured. scope: borrowed. */
void psti_completer_scope(psti_completer *completer, const psti_scope *scope);

void psti_completer_free(psti_completer *completer);

/* A psti_complete_fn; ctx is a psti_completer. */
pst_status psti_complete(void *ctx, psti_stream_relation *relation, size_t *order, pst_error *err);

#endif /* PSTI_CDC_COMPLETE_H */
