/*
 * words.h - the library's messages in the command's words.
 *
 * The library calls its options by their specification names. Whoever typed --columns wants to read
 * --columns, and an option without a form of its own is given by --with.
 */
#ifndef CLI_WORDS_H
#define CLI_WORDS_H

#include <stddef.h>

#include "args.h"

/*
 * Rewrites a message for a command (NULL: as it is): `option "read.columns"` becomes `--columns`,
 * `sink.mode=append` becomes `--mode append`, `special-values=null` `--with special-values=null`.
 */
void words_translate(const cli_command *command, const char *text, char *out, size_t size);

#endif /* CLI_WORDS_H */
