/* penstock.c - the extension's library: what a server loads. */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(penstock_library_version);

/* The version of the library file, which may be newer than the script that the database has. */
Datum
penstock_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(PENSTOCK_VERSION));
}
