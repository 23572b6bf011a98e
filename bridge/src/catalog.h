/*
 * catalog.h - the catalog's handle, and how its parts ask the server.
 */
#ifndef PSTI_CATALOG_H
#define PSTI_CATALOG_H

#include "conn.h"
#include "json.h"

struct pst_catalog
{
	psti_options *options; /* owned */
	psti_conn *conn;	   /* owned; opened anew by a question when it was lost */
	pst_hooks hooks;	   /* a copy */
	char place[384];	   /* pst_catalog_place */
};

/* What a question is about, besides its parameters. */
typedef struct psti_question
{
	const char *what; /* what is being done, for errors; borrowed */
	const char *sql;  /* one of sql_texts.h; runs under search_path pg_catalog, pg_temp */
	int nfields;	  /* columns that the answer has at least; 0: one */
	int nparams;
	const char *const *values; /* text parameters, NULL entries are NULL */
	const char *table;		   /* resolved first as regclass does; NULL: none */
	bool may_be_absent;		   /* then *found tells whether the table is there */
} psti_question;

/*
 * One round trip: resolves the table, pins the search_path and runs the text, in one transaction.
 * Only reads, so a connection that turns out to be lost is opened anew and asked once more. The
 * text's result is moved to *out. found may be NULL.
 */
pst_status psti_catalog_ask(pst_catalog *catalog, const psti_question *question, bool *found,
							PGresult **out, pst_error *err);

/*
 * A question whose rows are (value[, sqlstate, message, hint]), as a json array: of names, or of values that
 * are json already. For a public function: err may be NULL.
 */
pst_status psti_catalog_list(pst_catalog *catalog, const psti_question *question, bool names,
							 bool messages, char **out, pst_error *err);

/* Opens the connection when there is none that can be used. */
pst_status psti_catalog_connect(pst_catalog *catalog, pst_error *err);

/*
 * Rows that end in (sqlstate, message, hint), the first of which is column `first`: class 01 goes to
 * the log, any other sqlstate fails. Rows without sqlstate are left to the caller.
 */
pst_status psti_catalog_messages(const pst_catalog *catalog, const PGresult *result, int first,
								 pst_error *err);

/* The describe JSON of one relation; *out NULL when it may be absent and is. */
pst_status psti_catalog_describe_one(pst_catalog *catalog, const char *table, bool may_be_absent,
									 char **out, pst_error *err);

/*
 * The parts of a table's name as regclass reads it: split at dots, unquoted parts folded to lower
 * case. One to three parts; parts[] and the text behind them are one allocation at *out, for free.
 * PST_ERR_INVALID when it is no name.
 */
typedef struct psti_name
{
	const char *parts[3]; /* borrowed from memory; the last one is the relation */
	int nparts;
	char *memory; /* owned */
} psti_name;

pst_status psti_name_parse(const char *text, psti_name *out, pst_error *err);

/* "a"."b" */
void psti_name_put(psti_buf *buf, const psti_name *name);
void psti_name_free(psti_name *name);

/* The text of a CREATE TABLE statement in Flink's dialect; describe is one relation's JSON. */
pst_status psti_flink_ddl(const psti_json *describe, const char *url, const char *username,
						  psti_buf *out, pst_error *err);

/*
 * The jdbc: URL of a connection: of the option url its hosts and parameters but for user and
 * password, when it is one; else from host and port. The database is the one connected to.
 */
void psti_flink_url(const char *url, const char *host, const char *port, const char *database,
					psti_buf *out);

#endif /* PSTI_CATALOG_H */
