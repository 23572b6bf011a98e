/*
 * publication.h - what pgoutput sends changes of: a publication, made or checked.
 *
 * It must be there before the slot: the server looks for it as it was at each change, so what a publication
 * lacked when a row was written is not sent later either.
 */
#ifndef PSTI_CDC_PUBLICATION_H
#define PSTI_CDC_PUBLICATION_H

#include "conn.h"

#define PSTI_PUBLISH_INSERT 1u
#define PSTI_PUBLISH_UPDATE 2u
#define PSTI_PUBLISH_DELETE 4u
#define PSTI_PUBLISH_TRUNCATE 8u /* from 11 on; no effect before */
#define PSTI_PUBLISH_ALL 15u

typedef struct psti_publication
{
	const char *name;
	const uint32_t *tables; /* partitioned tables stand for all their partitions */
	size_t ntables;
	unsigned operations; /* PSTI_PUBLISH_… */
} psti_publication;

/*
 * Makes the publication, or adds to one that penstock has made what it lacks (*changed). One that somebody
 * else has made is not touched: it is refused where changes would be lost, as are tables that could not be
 * updated any more once they are published. Every error's hint is the statement to run.
 */
pst_status psti_publication_ensure(psti_conn *conn, const psti_publication *wanted, bool *changed,
								   pst_error *err);

/* The OID of the publication of the name, which one that is made anew does not have; 0: there is none. */
pst_status psti_publication_find(psti_conn *conn, const char *name, uint32_t *oid, pst_error *err);

/* By what a publication has a table: an OID that it does not have again once it was taken out. */
typedef struct psti_published
{
	uint32_t table;
	uint32_t member; /* 0: by nothing that has one, such as FOR ALL TABLES */
} psti_published;

/*
 * Of the publication with this OID and the tables, ascending, moved; those that are gone have none, others at
 * least one. free() releases it.
 */
pst_status psti_publication_members(psti_conn *conn, uint32_t oid, const uint32_t *tables,
									size_t ntables, psti_published **out, size_t *n,
									pst_error *err);

/* Drops it if penstock has made it; otherwise, or when it is not there, PST_OK too. */
pst_status psti_publication_drop(psti_conn *conn, const char *name, pst_error *err);

#endif /* PSTI_CDC_PUBLICATION_H */
