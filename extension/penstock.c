/*
 * penstock.c - the extension's library: what a server loads, and for which scripts.
 *
 * The library file is one for all databases of a server, the script's functions are each database's
 * own. A file serves the scripts of its own version and of older ones.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "compat.h"
#include "library.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

PG_FUNCTION_INFO_V1(penstock_library_version);

/* The version of the script that this database has; NULL without the extension. */
static char *
script_version(void)
{
	Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
	char *version = NULL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("penstock"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		bool isnull;
		Datum value =
			heap_getattr(row, Anum_pg_extension_extversion, RelationGetDescr(extensions), &isnull);

		if (!isnull)
			version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return version;
}

/* The first two numbers of "0.2.1"; false when it has none. */
static bool
read_version(const char *text, long version[2])
{
	char *end;

	version[0] = strtol(text, &end, 10);
	if (end == text || *end != '.')
		return false;
	text = end + 1;
	version[1] = strtol(text, &end, 10);
	return end != text;
}

/* "0.2.1" is older than "0.3" and not than "0.2": a script's version has no third number. */
static bool
is_older(const char *library, const char *script)
{
	long have[2];
	long want[2];

	if (!read_version(library, have) || !read_version(script, want))
		return false;
	return have[0] < want[0] || (have[0] == want[0] && have[1] < want[1]);
}

/*
 * Functions of a newer script may not be in this file, or mean something else: none of them is
 * called, and the error says why. It is asked where a function makes the server load the file; other
 * places that load one, such as shared_preload_libraries, are in no database.
 */
void
_PG_init(void)
{
	char *script;

	if (!IsTransactionState() || !OidIsValid(MyDatabaseId))
		return;
	script = script_version();
	if (script != NULL && is_older(PENSTOCK_VERSION, script))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the database has the extension penstock %s, and the server's "
							   "library file is that of %s",
							   script, PENSTOCK_VERSION),
						errhint("Install penstock %s or newer on the server.", script)));
	if (script != NULL)
		pfree(script);
}

/* A session keeps the file that it has loaded, whatever is installed and updated meanwhile. */
void
check_signature(FunctionCallInfo fcinfo, const char *function, int least, int most)
{
	if (PG_NARGS() >= least && PG_NARGS() <= most)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("penstock.%s has %d arguments in this database, and %d in the library file %s "
					"that this session has loaded",
					function, PG_NARGS(), most, PENSTOCK_VERSION),
			 PG_NARGS() > most ? errhint("Connect anew; if that does not help, install the newest "
										 "penstock on the server.")
							   : errhint("Run ALTER EXTENSION penstock UPDATE.")));
}

/* The version of the library file, which may be newer than the script that the database has. */
Datum
penstock_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(PENSTOCK_VERSION));
}
