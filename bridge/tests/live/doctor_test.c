/* doctor_test.c - readiness checks, and that the printed grants are enough and no more. */
#include "test.h"

#include "arrow_build.h"
#include "json.h"
#include "live.h"

static PGconn *admin;

static pst_catalog *
open_as(const char *role, const char *url)
{
	const char *keys[] = {"username", "url", NULL};
	const char *values[] = {role, url, NULL};
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog;

	assert_ok(pst_catalog_open(keys, values, NULL, &catalog, &err), &err);
	return catalog;
}

static psti_json *
examine(pst_catalog *catalog)
{
	pst_error err = PST_ERROR_INIT;
	psti_json *root;
	char *text;

	assert_ok(pst_catalog_doctor(catalog, &text, &err), &err);
	assert_ok(psti_json_parse(text, &root, &err), &err);
	pst_free(text);
	return root;
}

static const psti_json *
check(const psti_json *report, const char *feature, const char *name)
{
	const psti_json *item = psti_json_first(psti_json_get(report, "checks"));

	for (; item != NULL; item = psti_json_next(item))
		if (strcmp(psti_json_text(item, "feature"), feature) == 0 &&
			strcmp(psti_json_text(item, "check"), name) == 0)
			return item;
	fail_msg("there is no check %s: %s", feature, name);
	return NULL;
}

#define assert_check(report, feature, name, status_, part, fix_)                                   \
	do                                                                                             \
	{                                                                                              \
		const psti_json *assert_check_item = check((report), (feature), (name));                   \
		assert_string_equal(psti_json_text(assert_check_item, "status"), (status_));               \
		assert_contains(psti_json_text(assert_check_item, "message"), (part));                     \
		assert_contains(psti_json_text(assert_check_item, "fix"), (fix_));                         \
	} while (0)

static int
server_version(void)
{
	return PQserverVersion(admin);
}

/* --- checks ------------------------------------------------------------------------------ */

static void
a_superuser_on_a_fresh_server_is_told_that_all_works(void **state)
{
	pst_catalog *catalog = open_as("postgres", NULL);
	psti_json *report = examine(catalog);
	const psti_json *item = psti_json_first(psti_json_get(report, "checks"));

	(void) state;
	assert_contains(psti_json_text(report, "server"), "PostgreSQL ");
	assert_contains(psti_json_text(report, "server"), "role postgres");
	assert_int_equal(psti_json_int(psti_json_get(report, "about"), "version", 0), server_version());
	for (; item != NULL; item = psti_json_next(item))
	{
		assert_string_not_equal(psti_json_text(item, "status"), "blocked");
		if (strcmp(psti_json_text(item, "status"), "ok") == 0)
			assert_string_equal(psti_json_text(item, "fix"), "");
		else
			assert_string_not_equal(psti_json_text(item, "fix"), "");
	}
	assert_check(report, "server", "pooler", "ok", "direct", "");
	assert_check(report, "write", "primary", "ok", "takes writes", "");
	assert_check(report, "read", "parallel", server_version() >= 140000 ? "ok" : "reduced", "cut",
				 "");
	assert_check(report, "write", "keys", "reduced", "doc.keyless, doc.late",
				 "CREATE UNIQUE INDEX ON doc.late (a);");
	psti_json_free(report);
	pst_catalog_close(catalog);
}

static void
a_poor_role_is_told_the_statement_for_each_lack(void **state)
{
	pst_catalog *catalog = open_as("doc_poor", NULL);
	psti_json *report = examine(catalog);

	(void) state;
	assert_check(report, "read", "privileges", "blocked", "may not read 5 of 5",
				 "GRANT USAGE ON SCHEMA doc TO doc_poor;\nGRANT SELECT ON doc.");
	assert_check(report, "write", "privileges", "blocked", "lacks rights",
				 "GRANT SELECT, INSERT, UPDATE, DELETE ON doc.keyed TO doc_poor;");
	assert_check(report, "write", "privileges", "blocked", "doc.keyless (INSERT)",
				 "GRANT INSERT ON doc.keyless TO doc_poor;");
	assert_check(report, "catalog", "creating databases", "reduced", "may not",
				 "ALTER ROLE doc_poor CREATEDB;");
	assert_check(report, "server", "timeouts", "ok", "statement_timeout=5s", "");
	assert_check(report, "write", "durability", "reduced", "lost",
				 "ALTER ROLE doc_poor SET synchronous_commit = on;");
	assert_check(report, "server", "connections", "reduced", "3 connections",
				 "ALTER ROLE doc_poor CONNECTION LIMIT -1;");
	psti_json_free(report);
	pst_catalog_close(catalog);
}

static void
following_the_fixes_makes_the_checks_pass(void **state)
{
	static const struct
	{
		const char *feature, *name;
	} mended[] = {
		{"read", "privileges"},
		{"write", "privileges"},
		{"catalog", "creating tables"},
		{"write", "durability"},
		{"catalog", "creating databases"},
		{"write", "temporary tables"},
		{"read", "row security"},
		{"cdc", "role"},
		{"cdc", "replica identity"},
	};
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	live_exec(admin,
			  "CREATE ROLE doc_mended LOGIN; ALTER ROLE doc_mended SET synchronous_commit = off;"
			  "GRANT SELECT ON doc.secured TO doc_mended");
	live_exec(admin, "REVOKE TEMPORARY ON DATABASE \"%s\" FROM PUBLIC", PQdb(admin));
	catalog = open_as("doc_mended", NULL);
	report = examine(catalog);
	pst_catalog_close(catalog);
	for (size_t i = 0; i < sizeof(mended) / sizeof(mended[0]); i++)
	{
		const psti_json *item = check(report, mended[i].feature, mended[i].name);

		/* On old servers everybody may create in public. */
		if (strcmp(psti_json_text(item, "status"), "ok") != 0)
			live_exec(admin, "%s", psti_json_text(item, "fix"));
		else
			assert_string_equal(mended[i].name, "creating tables");
	}
	psti_json_free(report);
	catalog = open_as("doc_mended", NULL);
	report = examine(catalog);
	for (size_t i = 0; i < sizeof(mended) / sizeof(mended[0]); i++)
	{
		const psti_json *item = check(report, mended[i].feature, mended[i].name);

		if (strcmp(psti_json_text(item, "status"), "ok") != 0)
			fail_msg("%s: %s", mended[i].name, psti_json_text(item, "message"));
	}
	psti_json_free(report);
	pst_catalog_close(catalog);
	live_exec(admin, "GRANT TEMPORARY ON DATABASE \"%s\" TO PUBLIC", PQdb(admin));
	live_exec(admin, "DROP OWNED BY doc_mended; DROP ROLE doc_mended");
}

static void
row_security_and_read_only_roles_are_noticed(void **state)
{
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	live_exec(admin, "CREATE ROLE doc_reader LOGIN; GRANT USAGE ON SCHEMA doc TO doc_reader;"
					 "GRANT SELECT ON ALL TABLES IN SCHEMA doc TO doc_reader;"
					 "ALTER ROLE doc_reader SET default_transaction_read_only = on");
	catalog = open_as("doc_reader", NULL);
	report = examine(catalog);
	assert_check(report, "read", "privileges", "ok", "may read all 5", "");
	assert_check(report, "read", "row security", "reduced", "doc.secured",
				 "CREATE POLICY read_all_doc_reader ON doc.secured FOR SELECT TO doc_reader USING "
				 "(true);");
	assert_null(strstr(psti_json_text(check(report, "read", "row security"), "fix"), "BYPASSRLS"));
	assert_check(report, "write", "primary", "blocked", "read-only",
				 "SET default_transaction_read_only = off;");
	psti_json_free(report);
	pst_catalog_close(catalog);
	live_exec(admin, "DROP OWNED BY doc_reader; DROP ROLE doc_reader");
}

/* An upsert reads and updates: INSERT alone is enough for tables without a key only. */
static void
rights_that_an_upsert_lacks_are_named(void **state)
{
	pst_catalog *catalog;
	psti_json *report;
	const psti_json *item;

	(void) state;
	live_exec(admin, "CREATE ROLE doc_inserter LOGIN; GRANT USAGE ON SCHEMA doc TO doc_inserter; "
					 "GRANT INSERT ON ALL TABLES IN SCHEMA doc TO doc_inserter; "
					 "GRANT UPDATE, SELECT (a) ON doc.keyed TO doc_inserter");
	catalog = open_as("doc_inserter", NULL);
	report = examine(catalog);
	assert_check(report, "write", "privileges", "reduced", "doc.keyed (DELETE)",
				 "GRANT DELETE ON doc.keyed TO doc_inserter;");
	item = check(report, "write", "privileges");
	assert_null(strstr(psti_json_text(item, "message"), "doc.keyless"));
	psti_json_free(report);
	pst_catalog_close(catalog);
	live_exec(admin, "REVOKE UPDATE, SELECT (a) ON doc.keyed FROM doc_inserter");
	catalog = open_as("doc_inserter", NULL);
	report = examine(catalog);
	assert_check(report, "write", "privileges", "reduced", "doc.keyed (SELECT, UPDATE, DELETE)",
				 "GRANT SELECT, UPDATE, DELETE ON doc.keyed TO doc_inserter;");
	psti_json_free(report);
	pst_catalog_close(catalog);
	live_exec(admin, "DROP OWNED BY doc_inserter; DROP ROLE doc_inserter");
}

/* A policy that shows every row hides none; a restrictive one can, whatever the others say. */
static void
policies_that_hide_no_row_are_no_finding(void **state)
{
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	live_exec(admin, "CREATE ROLE doc_reader LOGIN; GRANT USAGE ON SCHEMA doc TO doc_reader; "
					 "GRANT SELECT ON ALL TABLES IN SCHEMA doc TO doc_reader; "
					 "CREATE POLICY all_rows ON doc.secured FOR SELECT TO doc_reader USING (true)");
	catalog = open_as("doc_reader", NULL);
	report = examine(catalog);
	assert_check(report, "read", "row security", "ok", "hides rows", "");
	psti_json_free(report);
	if (server_version() >= 100000)
	{
		live_exec(admin, "CREATE POLICY few ON doc.secured AS RESTRICTIVE USING (a = 1)");
		report = examine(catalog);
		assert_check(report, "read", "row security", "reduced", "doc.secured",
					 "restrictive policies");
		psti_json_free(report);
		live_exec(admin, "DROP POLICY few ON doc.secured");
	}
	pst_catalog_close(catalog);
	live_exec(admin, "DROP POLICY all_rows ON doc.secured; DROP OWNED BY doc_reader; "
					 "DROP ROLE doc_reader");
}

static void
a_role_without_any_schema_is_told_all_of_them(void **state)
{
	const char *keys[] = {"username", "database-name", NULL};
	const char *values[] = {"doc_nowhere", "doc_schemas", NULL};
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog;
	PGconn *there;
	psti_json *report;

	(void) state;
	live_exec(admin, "CREATE ROLE doc_nowhere LOGIN");
	live_exec(admin, "CREATE DATABASE doc_schemas");
	there = live_connect("dbname=doc_schemas");
	live_exec(there, "DROP SCHEMA public; CREATE SCHEMA \"B\"; CREATE SCHEMA a");
	PQfinish(there);
	assert_ok(pst_catalog_open(keys, values, NULL, &catalog, &err), &err);
	report = examine(catalog);
	assert_check(report, "catalog", "schemas", "blocked", "0 of 2",
				 "GRANT USAGE ON SCHEMA \"B\" TO doc_nowhere;\nGRANT USAGE ON SCHEMA a TO");
	assert_check(report, "catalog", "creating tables", "reduced", "no schema",
				 "CREATE SCHEMA AUTHORIZATION doc_nowhere;");
	psti_json_free(report);
	pst_catalog_close(catalog);
	live_exec(admin, "DROP DATABASE doc_schemas");
	live_exec(admin, "DROP ROLE doc_nowhere");
}

static void
an_sql_ascii_database_is_noticed(void **state)
{
	const char *keys[] = {"database-name", NULL};
	const char *values[] = {"doc_ascii", NULL};
	pst_error err = PST_ERROR_INIT;
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	live_exec(admin, "CREATE DATABASE doc_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' "
					 "TEMPLATE template0");
	assert_ok(pst_catalog_open(keys, values, NULL, &catalog, &err), &err);
	report = examine(catalog);
	assert_check(report, "server", "encoding", "reduced", "SQL_ASCII", "ENCODING 'UTF8'");
	assert_check(report, "read", "privileges", "ok", "no tables yet", "");
	psti_json_free(report);
	pst_catalog_close(catalog);
	live_exec(admin, "DROP DATABASE doc_ascii");
}

static void
a_process_number_that_is_not_the_servers_means_a_pooler(void **state)
{
	/* K is BackendKeyData: type, length, then the process number, whose last byte is inverted. */
	static const char *const rules[] = {"server:type=K:corrupt=8", NULL};
	live_proxy proxy;
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	live_proxy_start(&proxy, rules);
	catalog = open_as("postgres", proxy.conninfo);
	report = examine(catalog);
	assert_check(report, "server", "pooler", "reduced", "pooler or proxy", "pool_mode = session");
	psti_json_free(report);
	pst_catalog_close(catalog);
	free(live_proxy_stop(&proxy));
}

static void
encryption_is_told_as_the_client_sees_it(void **state)
{
	char url[600];
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	if (getenv("PENSTOCK_TLS_CA") == NULL)
		live_skip("the server has no TLS");
	snprintf(url, sizeof(url), "host=localhost sslmode=verify-full sslrootcert='%s'",
			 getenv("PENSTOCK_TLS_CA"));
	catalog = open_as("postgres", url);
	report = examine(catalog);
	assert_check(report, "server", "encryption", "ok", "encrypted (TLSv1", "");
	assert_contains(psti_json_text(report, "server"), "TLSv1");
	psti_json_free(report);
	pst_catalog_close(catalog);
	catalog = open_as("postgres", "host=127.0.0.1 sslmode=disable");
	report = examine(catalog);
	assert_check(report, "server", "encryption", "ok", "stays on this machine", "");
	psti_json_free(report);
	pst_catalog_close(catalog);
}

static void
a_standby_blocks_writing_and_warns_of_conflicts(void **state)
{
	char url[200];
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	if (getenv("PENSTOCK_STANDBY_PORT") == NULL)
		live_skip("the server has no standby");
	/* Its own database may not have arrived yet; postgres is there from the start. */
	snprintf(url, sizeof(url), "port=%s dbname=postgres", getenv("PENSTOCK_STANDBY_PORT"));
	catalog = open_as("postgres", url);
	report = examine(catalog);
	assert_contains(psti_json_text(report, "server"), "(standby)");
	assert_check(report, "write", "primary", "blocked", "standby",
				 "target_session_attrs=read-write");
	assert_check(report, "read", "standby", "reduced", "max_standby_streaming_delay",
				 "ALTER SYSTEM SET hot_standby_feedback = on;");
	assert_check(report, "catalog", "creating tables", "reduced", "standby", "");
	if (server_version() < 100000)
		assert_check(report, "cdc", "server", "reduced", "PostgreSQL 10 or newer", "");
	else if (server_version() < 160000)
		assert_check(report, "cdc", "server", "blocked", "standby",
					 "target_session_attrs=read-write");
	else
		assert_check(report, "cdc", "server", "reduced", "standby without hot_standby_feedback",
					 "ALTER SYSTEM SET hot_standby_feedback = on;");
	if (live_int(admin, "SELECT count(*) FROM pg_available_extensions WHERE name = 'penstock'") ==
		0)
		assert_check(report, "cdc", "publication", "reduced", "a standby makes none",
					 "-- CREATE PUBLICATION penstock FOR TABLE");
	psti_json_free(report);
	pst_catalog_close(catalog);
}

/* --- grants ------------------------------------------------------------------------------ */

static char *
grants(const char *feature, const char *role, const char *table)
{
	pst_catalog *catalog = open_as("postgres", NULL);
	pst_error err = PST_ERROR_INIT;
	char *sql;

	assert_ok(pst_catalog_grants(catalog, feature, role, table, &sql, &err), &err);
	pst_catalog_close(catalog);
	return sql;
}

/* A role that had nothing (not even what everybody has) and got exactly this script. */
static void
make_role(const char *role, const char *feature, const char *table)
{
	char *sql = grants(feature, role, table);

	live_exec(admin, "CREATE ROLE \"%s\" LOGIN", role);
	live_exec(admin, "%s", sql);
	pst_free(sql);
}

static void
drop_role(const char *role)
{
	live_exec(admin, "DROP OWNED BY \"%s\"; DROP ROLE \"%s\"", role, role);
}

/* Rows of a table read by a role with its splits, or the status. */
static pst_status
read_rows(const char *role, const char *table, int64_t *nrows, pst_error *err)
{
	const char *keys[] = {"username", "table-name", NULL};
	const char *values[] = {role, table, NULL};
	struct ArrowArrayStream stream = {0};
	struct ArrowArray batch;
	pst_source *source = NULL;
	char **splits = NULL;
	size_t n = 0;
	pst_status status = pst_source_open(keys, values, NULL, &source, err);

	*nrows = 0;
	if (status == PST_OK)
		status = pst_source_plan(source, 4, &splits, &n, err);
	for (size_t i = 0; status == PST_OK && i < n; i++)
	{
		status = pst_source_read(source, splits[i], &stream, err);
		while (status == PST_OK && stream.get_next(&stream, &batch) == 0 && batch.release != NULL)
		{
			*nrows += batch.length;
			batch.release(&batch);
		}
		if (stream.release != NULL)
			stream.release(&stream);
		if (status == PST_OK)
			status = pst_source_error(source, err);
	}
	pst_free(splits);
	pst_source_close(source);
	return status;
}

static void
grants_for_reading_are_enough_and_no_more(void **state)
{
	pst_error err = PST_ERROR_INIT;
	int64_t n;

	(void) state;
	make_role("doc Reader", "read", "doc.keyed");
	assert_ok(read_rows("doc Reader", "doc.keyed", &n, &err), &err);
	assert_int_equal(n, 2);
	assert_fails(read_rows("doc Reader", "doc.keyless", &n, &err), PST_ERR_PRIVILEGE, &err);
	assert_int_equal(live_int(admin, "SELECT count(*) FROM pg_class WHERE relnamespace = "
									 "'doc'::regnamespace AND relkind = 'r' AND "
									 "has_any_column_privilege('doc Reader', oid, "
									 "'INSERT, UPDATE')"),
					 0);
	drop_role("doc Reader");
	make_role("doc Reader", "read", NULL);
	assert_ok(read_rows("doc Reader", "doc.keyless", &n, &err), &err);
	drop_role("doc Reader");
}

/* Writes one row (a, b) by upsert, or deletes it. */
static pst_status
write_row(const char *role, const char *table, const char *mode, const char *method, pst_error *err)
{
	const char *keys[] = {"username", "table-name", "sink.mode", "sink.method", NULL};
	const char *values[] = {role, table, mode, method, NULL};
	struct ArrowSchema schema = {0};
	struct ArrowArray batch = {0};
	pst_sink *sink = NULL;
	pst_error ignored = PST_ERROR_INIT;
	pst_status status;

	assert_ok(psti_schema_init(&schema, "+s", "", false, 2, err), err);
	assert_ok(psti_schema_init(schema.children[0], "i", "a", false, 0, err), err);
	assert_ok(psti_schema_init(schema.children[1], "i", "b", true, 0, err), err);
	assert_ok(psti_array_init(&batch, 1, 1, 2, err), err);
	for (int i = 0; i < 2; i++)
	{
		int32_t *value = malloc(sizeof(*value));

		assert_non_null(value);
		*value = 2 - i;
		assert_ok(psti_array_init(batch.children[i], 1, 2, 0, err), err);
		psti_array_buffer(batch.children[i], 1, value);
	}
	status = pst_sink_open(keys, values, &schema, NULL, &sink, err);
	if (status == PST_OK)
		status = pst_sink_write(sink, &batch, NULL, err);
	if (status == PST_OK)
		status = pst_sink_flush(sink, err);
	if (status != PST_OK && sink != NULL)
		pst_sink_discard(sink, NULL);
	pst_sink_close(sink, &ignored);
	psti_array_release(&batch);
	psti_schema_release(&schema);
	return status;
}

static void
grants_for_writing_are_enough_and_no_more(void **state)
{
	static const char *const methods[] = {"unnest", "copy"};
	pst_error err = PST_ERROR_INIT;

	(void) state;
	make_role("doc_writer", "write", NULL);
	live_exec(admin, "GRANT TEMPORARY ON DATABASE \"%s\" TO PUBLIC", PQdb(admin));
	for (int i = 0; i < 2; i++)
	{
		assert_ok(write_row("doc_writer", "doc.keyed", "upsert", methods[i], &err), &err);
		assert_ok(write_row("doc_writer", "doc.keyed", "upsert", methods[i], &err), &err);
		assert_ok(write_row("doc_writer", "doc.keyed", "delete", methods[i], &err), &err);
		/* Its other column is a serial: the sequence needs a right of its own. */
		assert_ok(write_row("doc_writer", "doc.counted", "append", methods[i], &err), &err);
		assert_ok(write_row("doc_writer", "doc.keyless", "append", methods[i], &err), &err);
	}
	assert_int_equal(live_int(admin, "SELECT has_table_privilege('doc_writer', 'doc.keyed', "
									 "'TRUNCATE, TRIGGER, REFERENCES')::int + has_table_privilege("
									 "'doc_writer', 'doc.keyless', 'SELECT, UPDATE, DELETE')::int"),
					 0);
	drop_role("doc_writer");
}

static void
grants_for_the_catalog_show_every_table(void **state)
{
	pst_catalog *catalog;
	pst_error err = PST_ERROR_INIT;
	char *text;

	(void) state;
	make_role("doc_lister", "catalog", NULL);
	catalog = open_as("doc_lister", NULL);
	assert_ok(pst_catalog_tables(catalog, NULL, &text, &err), &err);
	assert_contains(text, "\"doc.secured\"");
	pst_free(text);
	assert_ok(pst_catalog_describe(catalog, "doc.keyed", &text, &err), &err);
	pst_free(text);
	pst_catalog_close(catalog);
	drop_role("doc_lister");
}

static void
grants_name_a_placeholder_and_refuse_unknown_features(void **state)
{
	pst_catalog *catalog = open_as("postgres", NULL);
	pst_error err = PST_ERROR_INIT;
	char *sql = grants("read", NULL, "doc.keyed");

	(void) state;
	assert_contains(sql, "GRANT SELECT ON doc.keyed TO your_role;\n");
	assert_contains(sql, "GRANT USAGE ON SCHEMA doc TO your_role;\n");
	assert_null(strstr(sql, "keyless"));
	pst_free(sql);
	assert_fails(pst_catalog_grants(catalog, "fly", NULL, NULL, &sql, &err), PST_ERR_INVALID, &err);
	assert_contains(err.hint, "read, write, cdc and catalog");
	assert_null(sql);
	assert_fails(pst_catalog_grants(catalog, "read", NULL, "absent", &sql, &err), PST_ERR_NOT_FOUND,
				 &err);
	pst_catalog_close(catalog);
}

/* Control characters of a name end no comment: what stands behind them is not run. */
static void
no_name_breaks_out_of_a_comment(void **state)
{
	static const char name[] = "\"x\nDROP TABLE doc.important;\n--\"";
	static const char role[] = "y\r\nDROP TABLE doc.important;\n--";
	pst_catalog *catalog;
	psti_json *report;
	char *sql;

	(void) state;
	live_exec(admin, "CREATE TABLE doc.important (a int PRIMARY KEY); CREATE TABLE doc.%s (a int)",
			  name);
	live_exec(admin, "CREATE ROLE doc_named LOGIN; GRANT USAGE ON SCHEMA doc TO doc_named; "
					 "GRANT ALL ON ALL TABLES IN SCHEMA doc TO doc_named");
	if (server_version() >= 100000)
		live_exec(admin,
				  "ALTER TABLE doc.%s ENABLE ROW LEVEL SECURITY; "
				  "CREATE POLICY few ON doc.%s AS RESTRICTIVE USING (a = 1)",
				  name, name);
	catalog = open_as("doc_named", NULL);
	report = examine(catalog);
	pst_catalog_close(catalog);
	assert_check(report, "write", "keys", "reduced", "DROP TABLE", "-- ALTER TABLE doc.\"x?DROP");
	live_exec(admin, "%s", psti_json_text(check(report, "write", "keys"), "fix"));
	if (server_version() >= 100000)
		assert_check(report, "read", "row security", "reduced", "DROP TABLE",
					 "-- doc.\"x?DROP TABLE doc.important;?--\" has restrictive policies");
	live_exec(admin, "%s", psti_json_text(check(report, "read", "row security"), "fix"));
	psti_json_free(report);
	live_exec(admin, "CREATE ROLE \"%s\"", role);
	for (int i = 0; i < 3; i++)
	{
		sql = grants(i == 0 ? "read" : i == 1 ? "write" : "catalog", role, NULL);
		live_exec(admin, "%s", sql);
		pst_free(sql);
	}
	live_exec(admin, "DROP OWNED BY \"%s\"; DROP ROLE \"%s\"", role, role);
	/* Is still there. */
	live_exec(admin, "DROP TABLE doc.important; DROP TABLE doc.%s", name);
	live_exec(admin, "DROP OWNED BY doc_named; DROP ROLE doc_named");
}

static void
a_policy_is_made_under_a_free_name(void **state)
{
	pst_catalog *catalog;
	psti_json *report;

	(void) state;
	live_exec(admin, "CREATE ROLE doc_second LOGIN; GRANT USAGE ON SCHEMA doc TO doc_second; "
					 "GRANT SELECT ON doc.secured TO doc_second; "
					 "CREATE POLICY read_all_doc_second ON doc.secured USING (a = 1); "
					 "CREATE POLICY read_all_2_doc_second ON doc.secured USING (a = 2)");
	catalog = open_as("doc_second", NULL);
	report = examine(catalog);
	assert_check(report, "read", "row security", "reduced", "doc.secured",
				 "CREATE POLICY read_all_3_doc_second ON doc.secured");
	live_exec(admin, "%s", psti_json_text(check(report, "read", "row security"), "fix"));
	psti_json_free(report);
	report = examine(catalog);
	assert_check(report, "read", "row security", "ok", "", "");
	psti_json_free(report);
	pst_catalog_close(catalog);
	live_exec(admin, "DROP POLICY read_all_doc_second ON doc.secured; "
					 "DROP POLICY read_all_2_doc_second ON doc.secured; "
					 "DROP OWNED BY doc_second; DROP ROLE doc_second");
}

/* Each fix is run as it stands, in turn; with no schema the second needs what the first makes. */
static void
a_database_without_a_schema_is_mended_by_its_fixes(void **state)
{
	static const char *const schemas[] = {"SELECT 1", "CREATE SCHEMA doc_alone",
										  "CREATE SCHEMA doc_alone; GRANT USAGE ON SCHEMA "
										  "doc_alone TO doc_alone"};
	const char *keys[] = {"username", "database-name", NULL};
	const char *values[] = {"doc_alone", "doc_bare", NULL};

	(void) state;
	live_exec(admin, "CREATE ROLE doc_alone LOGIN");
	for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++)
	{
		pst_error err = PST_ERROR_INIT;
		pst_catalog *catalog;
		psti_json *report;
		PGconn *there;

		live_exec(admin, "CREATE DATABASE doc_bare");
		there = live_connect("dbname=doc_bare");
		live_exec(there, "DROP SCHEMA public");
		live_exec(there, "%s", schemas[i]);
		assert_ok(pst_catalog_open(keys, values, NULL, &catalog, &err), &err);
		report = examine(catalog);
		/* Nothing, or nothing but a comment, would be an empty query. */
		live_exec(there, "%s\nSELECT 1",
				  psti_json_text(check(report, "catalog", "schemas"), "fix"));
		assert_check(report, "catalog", "creating tables", "reduced", "no schema",
					 i == 0 ? "\"schemas\"" : "SCHEMA doc_alone TO doc_alone;");
		live_exec(there, "%s\nSELECT 1",
				  psti_json_text(check(report, "catalog", "creating tables"), "fix"));
		psti_json_free(report);
		report = examine(catalog);
		assert_check(report, "catalog", "schemas", "ok", "1 of 1", "");
		assert_check(report, "catalog", "creating tables", "ok", "in doc_alone", "");
		psti_json_free(report);
		pst_catalog_close(catalog);
		PQfinish(there);
		live_exec(admin, "DROP DATABASE doc_bare");
	}
	live_exec(admin, "DROP ROLE doc_alone");
}

/* --- the run ----------------------------------------------------------------------------- */

static int
begin(void **state)
{
	if (live_make_database(state) != 0)
		return -1;
	admin = live_connect("");
	live_exec(admin, "SET client_min_messages = error");
	live_exec(admin, "REVOKE ALL ON DATABASE \"%s\" FROM PUBLIC", PQdb(admin));
	live_exec(admin, "REVOKE ALL ON SCHEMA public FROM PUBLIC");
	live_exec(admin, "CREATE SCHEMA doc;"
					 "CREATE TABLE doc.keyed (a int PRIMARY KEY, b int);"
					 "INSERT INTO doc.keyed VALUES (10, 1), (11, 2);"
					 "CREATE TABLE doc.keyless (a int, b int);"
					 "CREATE TABLE doc.late (a int PRIMARY KEY DEFERRABLE, b int);"
					 "CREATE TABLE doc.counted (a int, b int, id serial PRIMARY KEY);"
					 "CREATE TABLE doc.secured (a int PRIMARY KEY, b int);"
					 "ALTER TABLE doc.secured ENABLE ROW LEVEL SECURITY;"
					 "CREATE ROLE doc_poor LOGIN CONNECTION LIMIT 3;"
					 "ALTER ROLE doc_poor SET statement_timeout = '5s';"
					 "ALTER ROLE doc_poor SET synchronous_commit = off");
	live_exec(admin, "GRANT CONNECT ON DATABASE \"%s\" TO PUBLIC", PQdb(admin));
	return 0;
}

static int
end(void **state)
{
	live_exec(admin, "DROP OWNED BY doc_poor; DROP ROLE doc_poor");
	PQfinish(admin);
	return live_drop_database(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_superuser_on_a_fresh_server_is_told_that_all_works),
		cmocka_unit_test(a_poor_role_is_told_the_statement_for_each_lack),
		cmocka_unit_test(following_the_fixes_makes_the_checks_pass),
		cmocka_unit_test(row_security_and_read_only_roles_are_noticed),
		cmocka_unit_test(rights_that_an_upsert_lacks_are_named),
		cmocka_unit_test(policies_that_hide_no_row_are_no_finding),
		cmocka_unit_test(a_role_without_any_schema_is_told_all_of_them),
		cmocka_unit_test(an_sql_ascii_database_is_noticed),
		cmocka_unit_test(a_process_number_that_is_not_the_servers_means_a_pooler),
		cmocka_unit_test(encryption_is_told_as_the_client_sees_it),
		cmocka_unit_test(a_standby_blocks_writing_and_warns_of_conflicts),
		cmocka_unit_test(grants_for_reading_are_enough_and_no_more),
		cmocka_unit_test(grants_for_writing_are_enough_and_no_more),
		cmocka_unit_test(grants_for_the_catalog_show_every_table),
		cmocka_unit_test(grants_name_a_placeholder_and_refuse_unknown_features),
		cmocka_unit_test(no_name_breaks_out_of_a_comment),
		cmocka_unit_test(a_policy_is_made_under_a_free_name),
		cmocka_unit_test(a_database_without_a_schema_is_mended_by_its_fixes),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
