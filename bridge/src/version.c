/* version.c - the library's version, from the header's numbers. */
#include "penstock.h"

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *
pst_version(void)
{
	return VERSION(PST_VERSION_MAJOR, PST_VERSION_MINOR, PST_VERSION_PATCH);
}
