/*
 * catalog_bench.c - all that a catalog tells of a schema: its tables, and each of them described.
 *
 *   catalog_bench CONNINFO SCHEMA
 *
 * Prints one JSON object; tables is the number of descriptions that came back.
 */
#include <stdio.h>
#include <string.h>

#include "rows.h"

static void
fail(const char *what, const pst_error *err)
{
	bench_die("%s: %s %s %s", what, err->message, err->detail, err->hint);
}

/* How often a text stands in another. */
static size_t
count(const char *text, const char *part)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
		n++;
	return n;
}

int
main(int argc, char **argv)
{
	const char *keys[] = {"url", NULL};
	const char *values[] = {NULL, NULL};
	pst_error err = PST_ERROR_INIT;
	double start = bench_now();
	pst_catalog *catalog;
	char *tables;
	char *described;

	if (argc != 3)
		bench_die("usage: catalog_bench CONNINFO SCHEMA");
	values[0] = argv[1];
	if (pst_catalog_open(keys, values, NULL, &catalog, &err) != PST_OK)
		fail("open", &err);
	if (pst_catalog_tables(catalog, argv[2], &tables, &err) != PST_OK)
		fail("tables", &err);
	if (pst_catalog_describe_all(catalog, argv[2], &described, &err) != PST_OK)
		fail("describe", &err);
	pst_catalog_close(catalog);
	printf("{\"seconds\": %.6f, \"tables\": %zu, \"described\": %zu, \"bytes\": %zu}\n",
		   bench_now() - start, count(tables, "\"qualified\""), count(described, "\"persistence\""),
		   strlen(described));
	pst_free(tables);
	pst_free(described);
	return 0;
}
