/* create.h - what write and copy need to make a target table. */
#ifndef CLI_CREATE_H
#define CLI_CREATE_H

#include "db.h"

/*
 * The names in the value of sink.key, such as `a,"B, c"`, letter by letter as the sink reads them: a
 * NULL-terminated array, or NULL for no list. create_key_free frees it.
 */
char **create_key(const char *list);

/*
 * The primary key's columns in a table's description (JSON); NULL when it has none. *unique tells
 * whether no two rows that are read of the table share a key: rows of tables that inherit from it
 * are not under its index.
 */
char **create_key_of(const char *describe, bool *unique);

void create_key_free(char **key);

/* The qualified name in a table's description (JSON), or a copy of `table`. Moved to the caller. */
char *create_shown_name(const char *describe, const char *table);

/* Adds to the error on a target that is not there that --create makes it. */
void create_hint(pst_error *err);

/*
 * Makes the target unless it is there. *made is then its OID, else 0, and *shown, if it is not NULL,
 * becomes the name that the server gave it (moved).
 */
pst_status create_table(pst_catalog *catalog, const char *table, const struct ArrowSchema *schema,
						char **key, uint32_t *made, char **shown, pst_error *err);

/* What had become of the rows when a command failed. */
typedef struct create_rest
{
	int64_t taken; /* given to the target */
	int64_t committed;
	int64_t doubtful; /* their COMMIT was sent, and its outcome is not known */
} create_rest;

void create_rest_add(create_rest *rest, const pst_sink_stats *stats);

/*
 * After a failure: says how many rows are committed and stay, and how many may be. The table that the
 * command has made (its OID, or 0) is dropped again unless there are rows in it or may be, also after
 * a signal; never another that has its name by now.
 */
void create_report_rest(cli_db *db, const char *table, uint32_t made, const create_rest *rest);

#endif /* CLI_CREATE_H */
