/* library.h - whether the library file fits the script that made the SQL functions. */
#ifndef PENSTOCK_LIBRARY_H
#define PENSTOCK_LIBRARY_H

#include "postgres.h"

#include "fmgr.h"

/*
 * An error that says the remedy, unless the SQL function that was called has least to most
 * arguments: an older script's has fewer, and those that it lacks have their defaults.
 */
extern void check_signature(FunctionCallInfo fcinfo, const char *function, int least, int most);

#endif /* PENSTOCK_LIBRARY_H */
