/*
 * conninfo.h - where to connect: url, hostname, username … as libpq's keywords.
 */
#ifndef PSTI_CONNINFO_H
#define PSTI_CONNINFO_H

#include "conn.h"

typedef struct psti_conninfo
{
	char **keywords; /* NULL-terminated, owned, as PQconnectStartParams takes them */
	char **values;
	size_t count;
	int socket_timeout_ms; /* of a JDBC URL: longest silence of the server; 0: none */
} psti_conninfo;

/*
 * Reads the options url (a libpq URI or keyword string, or jdbc:postgresql:…), hostname, port,
 * username, password, database-name (or database, when not NULL) and application-name; later ones
 * win. JDBC parameters without a meaning for libpq are logged once as warnings. No secret enters an
 * error message.
 */
pst_status psti_conninfo_new(const psti_options *options, const char *database,
							 const pst_hooks *hooks, psti_conninfo *out, pst_error *err);
void psti_conninfo_free(psti_conninfo *info);

/* Sets a keyword, whatever it was before; the value is copied. */
pst_status psti_conninfo_set(psti_conninfo *info, const char *keyword, const char *value,
							 pst_error *err);

/*
 * Whether a parameter of a JDBC URL may be shown to others: at is its place in the query, which begins
 * behind the "?". Not who logs in, nor what may be the rest of a password with an unencoded "&".
 */
bool psti_jdbc_may_show(const char *query, const char *at);

/* libpq's connect_timeout, in whole seconds, as milliseconds; 0, for none or a negative one: no limit. */
bool psti_connect_timeout(const char *value, int *ms);

/* The value of a keyword, borrowed; NULL when not set. */
const char *psti_conninfo_get(const psti_conninfo *info, const char *keyword);

#endif /* PSTI_CONNINFO_H */
