/* names.h - identifiers as SQL reads them: unquoted ones fold to lower case. */
#ifndef CLI_NAMES_H
#define CLI_NAMES_H

#include <stdbool.h>

/*
 * The next identifier of a list; *at goes to the separator behind it or to the end. NULL when there
 * is none, or its quotes do not close. fold: as SQL does where there are none. Moved to the caller.
 */
char *names_take(const char **at, char separator, bool fold);

/*
 * `a, "B c"` as the library takes it, which reads names letter by letter: `"a","B c"`. A text that
 * is no list comes back as it is. Moved to the caller.
 */
char *names_for_library(const char *list);

/* A name in double quotes. Moved to the caller. */
char *names_quote(const char *name);

/* `sales."X/y"` as people write it, without quotes: `sales.X/y`. Moved to the caller. */
char *names_plain(const char *table);

/* Edit distance of two words, at most 63 bytes of each: for messages that tell the nearest one. */
int names_distance(const char *a, const char *b);

#endif /* CLI_NAMES_H */
