/* create.h - what write and copy need to make a target table. */
#ifndef CLI_CREATE_H
#define CLI_CREATE_H

#include "db.h"

/*
 * The names in a list such as `a, "B c"`, as SQL reads identifiers: a NULL-terminated array, or
 * NULL for no list. create_key_free frees it.
 */
char **create_key(const char *list);

/*
 * The primary key's columns in a table's description (JSON); NULL when it has none. *unique tells
 * whether no two rows that are read of the table share a key: rows of tables that inherit from it
 * are not under its index.
 */
char **create_key_of(const char *describe, bool *unique);

void create_key_free(char **key);

/*
 * After a failure of which `taken` rows had been given to the target: says how many are committed
 * and stay. A table that the command has made is dropped again unless there are rows in it, also
 * after a signal.
 */
void create_report_rest(cli_db *db, const char *table, bool made, int64_t taken, int64_t committed);

#endif /* CLI_CREATE_H */
