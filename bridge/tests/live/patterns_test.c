/*
 * patterns_test.c - lists of patterns: as conditions in SQL they name the tables that output plugin penstock
 * sends, and what the plugin refuses is refused.
 */
#include "test.h"

#include "cdc/patterns.h"
#include "change.h"
#include "live.h"

#define LISTS 600

/* Tables of odd names, quoted; each gets a row. */
static const char *const tables[] = {
	"a",	  "\"A\"",	 "ab",		"\"a.b\"",	"\"a b\"", "\"a\"\"b\"", "\"*\"",	 "\"?\"",
	"\"a*\"", "\"a,b\"", "\"é\"",	"\"éa\"",	"\"\\\"",  "\"a\\b\"",	 "\"(a)\"",	 "\"a|b\"",
	"\"a$\"", "\"^a\"",	 "\"[a]\"", "aa",		"aaa",	   "\"/a/\"",	 "\"a\nb\"", "\"'\"",
	"\"a+\"", "\"{a}\"", "\"-\"",	"\"日本\"", "\".\"",   "_",
};

static const char *const schemas[] = {"s", "\"S\"", "\"s.a\""};

static const char *const pieces[] = {
	"a", "A", "b", "*", "?", "\"", "\"\"", "_", ",", " ",  "é",	 "\\", "(", ")",	 "|", "+",
	"$", "^", "[", "]", "'", "\n", "{",	   "}", "-", "日", "s.", ".",  "/", "\"a\"", "s"};

static void
make_tables(PGconn *conn)
{
	for (size_t s = 0; s < sizeof(schemas) / sizeof(schemas[0]); s++)
	{
		live_exec(conn, "CREATE SCHEMA %s", schemas[s]);
		for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
			live_exec(conn, "CREATE TABLE %s.%s (id int)", schemas[s], tables[t]);
	}
	live_exec(conn, "SELECT pg_create_logical_replication_slot('patterns', 'penstock')");
	for (size_t s = 0; s < sizeof(schemas) / sizeof(schemas[0]); s++)
		for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
			live_exec(conn, "INSERT INTO %s.%s VALUES (1)", schemas[s], tables[t]);
}

/* A list of patterns, more often right than not. */
static void
make_list(uint64_t *seed, char *out, size_t size)
{
	uint64_t kind = test_random(seed) % 4;
	size_t n = 1 + test_random(seed) % 3;

	out[0] = '\0';
	for (size_t part = 0; part < (kind == 0 ? 1u : 2u); part++)
	{
		if (kind == 1 && part == 0)
			snprintf(out, size, "/");
		else if (part == 1 && kind > 1)
			snprintf(out + strlen(out), size - strlen(out), ".");
		else if (kind > 1)
		{
			snprintf(out, size, "%s", test_random(seed) % 2 == 0 ? "s" : "*");
			continue;
		}
		for (size_t i = 0; i < n; i++)
			snprintf(out + strlen(out), size - strlen(out), "%s",
					 pieces[test_random(seed) %
							(test_random(seed) % 3 == 0 ? sizeof(pieces) / sizeof(pieces[0]) : 5)]);
	}
	if (kind == 1)
		snprintf(out + strlen(out), size - strlen(out), "/");
}

/* What the plugin sends with the list, each name in braces; NULL: it refuses the list. */
static char *
ask_plugin(PGconn *conn, const char *list)
{
	const char *params[] = {list};
	psti_buf names = PSTI_BUF_INIT;
	change_reader reader = {0};
	PGresult *result =
		PQexecParams(conn,
					 "SELECT data FROM pg_logical_slot_peek_binary_changes('patterns', "
					 "NULL, NULL, 'version', '1', 'include', $1)",
					 1, NULL, params, NULL, NULL, 1);

	psti_buf_puts(&names, "");
	for (int i = 0; i < PQntuples(result); i++)
	{
		change_record record;
		uint8_t version;

		assert_int_equal(change_open(&reader, PQgetvalue(result, i, 0),
									 (size_t) PQgetlength(result, i, 0), &version),
						 CHANGE_OK);
		while (change_next(&reader, &record) == CHANGE_OK)
			if (record.kind == CHANGE_RELATION)
				psti_buf_printf(&names, "{%.*s|%.*s}", (int) record.relation.schema.len,
								(const char *) record.relation.schema.data,
								(int) record.relation.name.len,
								(const char *) record.relation.name.data);
	}
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		/* It is refused for what it is. */
		assert_true(strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023") == 0 ||
					strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "2201B") == 0);
		psti_buf_free(&names);
		PQclear(result);
		return NULL;
	}
	PQclear(result);
	return psti_buf_steal(&names);
}

/* The same of the condition; err has why it is refused. */
static char *
ask_bridge(PGconn *conn, const char *list)
{
	static const char *const names[] = {"n.nspname::pg_catalog.text", "c.relname::pg_catalog.text"};
	const char *keys[] = {"cdc.exclude-tables", NULL};
	const char *values[] = {list, NULL};
	psti_options *options = NULL;
	psti_patterns patterns;
	psti_buf sql = PSTI_BUF_INIT;
	char *out = NULL;
	PGresult *result;
	pst_error err = PST_ERROR_INIT;
	pst_status status;

	assert_ok(psti_options_new(keys, values, PSTI_CDC, NULL, &options, &err), &err);
	status = psti_patterns_read(options, PSTI_OPT_EXCLUDE_TABLES, 2, 2, &patterns, &err);
	psti_options_free(options);
	if (status != PST_OK)
	{
		assert_int_equal(status, PST_ERR_INVALID);
		assert_int_not_equal(err.hint[0], '\0');
		return NULL;
	}
	psti_buf_puts(&sql,
				  "SELECT COALESCE(string_agg(concat('{', n.nspname, '|', c.relname, '}'), '' "
				  "ORDER BY c.oid), '') FROM pg_class c JOIN pg_namespace n ON n.oid = "
				  "c.relnamespace WHERE c.relkind = 'r' AND n.nspname IN ('s', 'S', 's.a') AND ");
	psti_patterns_condition(&patterns, names, 2, &sql);
	assert_false(sql.failed);
	result = PQexec(conn, sql.data);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		out = strdup(PQgetvalue(result, 0, 0));
	else
		assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "2201B");
	PQclear(result);
	psti_buf_free(&sql);
	psti_patterns_free(&patterns);
	return out;
}

static void
a_condition_names_what_the_plugin_sends(void **state)
{
	PGconn *conn = live_connect("");
	uint64_t seed = 42;
	int refused = 0;
	int some = 0;

	(void) state;
	make_tables(conn);
	for (int i = 0; i < LISTS; i++)
	{
		char list[256];
		char *plugin;
		char *bridge;

		make_list(&seed, list, sizeof(list));
		plugin = ask_plugin(conn, list);
		bridge = ask_bridge(conn, list);
		if ((plugin == NULL) != (bridge == NULL))
			fail_msg("<%s> is refused by the %s alone", list, plugin == NULL ? "plugin" : "bridge");
		if (plugin != NULL && strcmp(plugin, bridge) != 0)
			fail_msg("<%s>: the plugin sends %s, the bridge names %s", list, plugin, bridge);
		refused += plugin == NULL;
		some += plugin != NULL && plugin[0] != '\0';
		free(plugin);
		free(bridge);
	}
	assert_true(refused > LISTS / 10 && some > LISTS / 10);
	live_exec(conn, "SELECT pg_drop_replication_slot('patterns')");
	PQfinish(conn);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		live_test_extension(a_condition_names_what_the_plugin_sends),
	};

	return live_run(tests, live_make_database, live_drop_database);
}
