/* lsn.h - a place in WAL as the server writes it: 16/B374D848. */
#ifndef CLI_LSN_H
#define CLI_LSN_H

#include <stdbool.h>
#include <stdint.h>

/* Reads a whole text; false when it is no such place. */
bool lsn_parse(const char *text, uint64_t *lsn);

#define LSN_TEXT 24

/* Writes it; returns out. */
char *lsn_print(uint64_t lsn, char out[LSN_TEXT]);

#endif /* CLI_LSN_H */
