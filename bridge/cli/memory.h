/* memory.h - allocation that ends the command when there is no memory left. */
#ifndef CLI_MEMORY_H
#define CLI_MEMORY_H

#include <stddef.h>

/* Never NULL; zeroed. */
void *cli_alloc(size_t nbytes);
void *cli_realloc(void *memory, size_t nbytes);
char *cli_strdup(const char *text);

/* A formatted text, moved to the caller. */
char *cli_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* CLI_MEMORY_H */
