/* create.h - what write and copy need to make a target table. */
#ifndef CLI_CREATE_H
#define CLI_CREATE_H

/*
 * The names in a list such as `a, "B c"`, as SQL reads identifiers: a NULL-terminated array, or
 * NULL for no list. create_key_free frees it.
 */
char **create_key(const char *list);

/* The primary key's columns in a table's description (JSON); NULL when it has none. */
char **create_key_of(const char *describe);

void create_key_free(char **key);

#endif /* CLI_CREATE_H */
