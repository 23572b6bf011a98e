/*
 * scope.h - what is captured: the tables and columns that the options name, as the catalogs have them.
 */
#ifndef PSTI_CDC_SCOPE_H
#define PSTI_CDC_SCOPE_H

#include "cdc/patterns.h"
#include "conn.h"

/* A table that is captured; all is owned. */
typedef struct psti_subject
{
	uint32_t oid;
	char *schema;
	char *name;
	char *qualified; /* s.t, quoted where this server wants it */
	size_t bare;	 /* the pattern, from 1, that names it without a schema; 0: none does */
	char relkind;	 /* r, p */
	char identity;	 /* replica identity: d, i, f, n */
	bool has_key;	 /* the replica identity names rows */
	bool inherited;	 /* a plain table with children, which are tables of their own here */
	uint32_t filenode;
	int64_t rows;	/* as the planner's statistics say, -1 unknown */
	int64_t bytes;	/* likewise, of its main fork; of a partitioned table 0 */
	bool ordered;	/* its rows lie about in the order of its one key column */
	char **columns; /* that are captured */
	size_t ncolumns;
	char **key; /* of the replica identity's index, else of the primary key */
	size_t nkeys;
} psti_subject;

typedef struct psti_scope
{
	const psti_options *options; /* borrowed */
	const pst_hooks *hooks;		 /* borrowed */
	bool plain;					 /* the stream is pgoutput's: no generated columns */
	bool leaves;				 /* partitions are tables of their own */
	psti_patterns tables;
	/* Of these the ones that name one table by schema and name, sorted by them, and the places of the others … */
	const psti_pattern **listed; /* … owned, with what is in tables */
	size_t nlisted;
	size_t *others;
	size_t nothers;
	psti_patterns exclude;
	psti_patterns columns;
	psti_patterns exclude_columns;
	psti_subject *subjects; /* ascending by OID */
	size_t n;
} psti_scope;

/* Reads the options; no table is looked for yet. */
pst_status psti_scope_init(psti_scope *scope, const psti_options *options, const pst_hooks *hooks,
						   bool plain, pst_error *err);
void psti_scope_free(psti_scope *scope);

/*
 * Finds the tables. Refused, with the remedy: a name that is no table or has no stream, a table that the
 * role may not read, one without the before-image that changelog-mode = all wants, a captured column that
 * is of a key and left out.
 */
pst_status psti_scope_find(psti_scope *scope, psti_conn *conn, pst_error *err);

/* The subject of the OID, or NULL. */
const psti_subject *psti_scope_subject(const psti_scope *scope, uint32_t oid);

/* Looks the one table up anew, which may have come into scope since; *out NULL: it is not there. */
pst_status psti_scope_look(psti_scope *scope, psti_conn *conn, uint32_t oid,
						   const psti_subject **out, pst_error *err);

/*
 * The same for known tables at once, without asking for patterns: of the n OIDs, ascending, those stay that
 * have the name that they had, and can be captured.
 */
pst_status psti_scope_refresh(psti_scope *scope, psti_conn *conn, uint32_t *oids, size_t *n,
							  pst_error *err);

/* Appends "{1,2}", an array of OIDs as SQL has it. */
void psti_scope_array(const uint32_t *oids, size_t n, psti_buf *out);

/* The OIDs of the tables that there are to capture now, a row each; none is no error. */
pst_status psti_scope_list(const psti_scope *scope, psti_conn *conn, PGresult **out,
						   pst_error *err);

/*
 * Which of n columns of a table are captured: wanted has room for n. Without options that choose columns nobody
 * is asked.
 */
pst_status psti_scope_columns(const psti_scope *scope, psti_conn *conn, const char *schema,
							  const char *table, const char *const *columns, size_t n, bool *wanted,
							  pst_error *err);

/* Appends the patterns for output plugin penstock: option include. */
void psti_scope_include(const psti_scope *scope, psti_buf *out);

#endif /* PSTI_CDC_SCOPE_H */
