/* catalog_json.h - what the live tests of the catalog share: opening one, its answers, schemas. */
#ifndef TEST_CATALOG_JSON_H
#define TEST_CATALOG_JSON_H

#include "test.h"

#include "arrow_build.h"
#include "json.h"
#include "live.h"

static PGconn *admin;

typedef struct log_lines
{
	char text[8192];
} log_lines;

static inline void
take_log(void *ctx, pst_log_level level, const char *message)
{
	log_lines *lines = ctx;
	size_t used = strlen(lines->text);

	if (level == PST_LOG_WARNING)
		snprintf(lines->text + used, sizeof(lines->text) - used, "%s\n", message);
}

/* Opens with one or two options; keys NULL: none. */
static inline pst_catalog *
open_with(const char *key1, const char *value1, const char *key2, const char *value2,
		  log_lines *lines)
{
	const char *keys[] = {key1, key2, NULL};
	const char *values[] = {value1, value2, NULL};
	pst_hooks hooks = PST_HOOKS_INIT;
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog;

	hooks.log = lines == NULL ? NULL : take_log;
	hooks.ctx = lines;
	assert_ok(pst_catalog_open(keys, values, &hooks, &catalog, &err), &err);
	return catalog;
}

static inline pst_catalog *
open_plain(void)
{
	return open_with(NULL, NULL, NULL, NULL, NULL);
}

/* As another role of the server. */
static inline pst_catalog *
open_as(const char *role)
{
	return open_with("username", role, NULL, NULL, NULL);
}

static inline psti_json *
parse(char *text)
{
	pst_error err = PST_ERROR_INIT;
	psti_json *root;

	assert_ok(psti_json_parse(text, &root, &err), &err);
	pst_free(text);
	return root;
}

static inline psti_json *
describe(pst_catalog *catalog, const char *table)
{
	pst_error err = PST_ERROR_INIT;
	char *text;

	assert_ok(pst_catalog_describe(catalog, table, &text, &err), &err);
	return parse(text);
}

/* Whether the answer lists a name. */
static inline bool
lists(pst_catalog *catalog, const char *name)
{
	pst_error err = PST_ERROR_INIT;
	char *text;
	psti_json *root;
	bool found = false;

	assert_ok(pst_catalog_databases(catalog, &text, &err), &err);
	root = parse(text);
	for (const psti_json *item = psti_json_first(root); item != NULL; item = psti_json_next(item))
		found = found || strcmp(psti_json_string_value(item), name) == 0;
	psti_json_free(root);
	return found;
}

/* The object of an array whose "name" is name; fails the test when there is none. */
static const psti_json *
named(const psti_json *array, const char *name)
{
	for (const psti_json *item = psti_json_first(array); item != NULL; item = psti_json_next(item))
		if (psti_json_text(item, "name") != NULL && strcmp(psti_json_text(item, "name"), name) == 0)
			return item;
	fail_msg("there is no \"%s\"", name);
	return NULL;
}

static const psti_json *
column(const psti_json *relation, const char *name)
{
	return named(psti_json_get(relation, "columns"), name);
}

/* The texts of an array joined by commas. */
static const char *
joined(const psti_json *array, char *out, size_t size)
{
	out[0] = '\0';
	for (const psti_json *item = psti_json_first(array); item != NULL; item = psti_json_next(item))
	{
		size_t used = strlen(out);

		snprintf(out + used, size - used, "%s%s", used > 0 ? "," : "",
				 psti_json_string_value(item));
	}
	return out;
}

#define assert_list(array, want)                                                                   \
	do                                                                                             \
	{                                                                                              \
		char assert_list_text[1024];                                                               \
		assert_string_equal(joined((array), assert_list_text, sizeof(assert_list_text)), (want));  \
	} while (0)

static inline int
server_version(void)
{
	return PQserverVersion(admin);
}

typedef struct field
{
	const char *name, *format, *type; /* type: penstock.type, or NULL */
	bool nullable;
} field;

static inline void
make_schema(struct ArrowSchema *schema, const field *fields, int64_t n)
{
	static const char *const keys[] = {"penstock.type"};
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_schema_init(schema, "+s", "", false, n, &err), &err);
	for (int64_t i = 0; i < n; i++)
	{
		bool list = fields[i].format[0] == '+';

		assert_ok(psti_schema_init(schema->children[i], fields[i].format, fields[i].name,
								   fields[i].nullable, list, &err),
				  &err);
		if (list)
			assert_ok(
				psti_schema_init(schema->children[i]->children[0], "u", "item", true, 0, &err),
				&err);
		if (fields[i].type != NULL)
			assert_ok(psti_schema_metadata(schema->children[i], 1, keys, &fields[i].type, &err),
					  &err);
	}
}

#endif /* TEST_CATALOG_JSON_H */
