/* wait.h - naming who holds the command up. */
#ifndef CLI_WAIT_H
#define CLI_WAIT_H

#include <stddef.h>

struct cli_db;

/* Says, on standard error, who blocks the server processes of dbs after `seconds` of standstill. */
void wait_name_blockers(struct cli_db *dbs, size_t ndbs, int seconds);

#endif /* CLI_WAIT_H */
