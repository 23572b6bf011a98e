/*
 * sink_rows.h - writing in tests: a sink by its options as text, rows as text (lib/rows.h), the
 * table afterwards as text. Each program has a database of its own, and admin is connected to it.
 */
#ifndef TEST_SINK_ROWS_H
#define TEST_SINK_ROWS_H

#include "test.h"

#include "live.h"
#include "rows.h"

static PGconn *admin;

static int
setup(void **state)
{
	if (live_make_database(state) != 0)
		return -1;
	admin = live_connect("");
	return 0;
}

static int
teardown(void **state)
{
	PQfinish(admin);
	return live_drop_database(state);
}

#define MAX_OPTIONS 16

/* options: "key=value" separated by ';'. */
static inline pst_status
open_sink(const char *options, const struct ArrowSchema *schema, pst_sink **sink, pst_error *err)
{
	const char *keys[MAX_OPTIONS] = {0};
	const char *values[MAX_OPTIONS] = {0};
	char *copy = strdup(options);
	char *save = NULL;
	int n = 0;
	pst_status status;

	for (char *part = strtok_r(copy, ";", &save); part != NULL; part = strtok_r(NULL, ";", &save))
	{
		char *equals = strchr(part, '=');

		*equals = '\0';
		keys[n] = part;
		values[n++] = equals + 1;
	}
	status = pst_sink_open(keys, values, schema, NULL, sink, err);
	free(copy);
	return status;
}

static inline pst_sink *
opened(const char *options, const char *columns)
{
	struct ArrowSchema schema;
	pst_error err = PST_ERROR_INIT;
	pst_sink *sink = NULL;

	rows_schema(&schema, columns);
	assert_ok(open_sink(options, &schema, &sink, &err), &err);
	schema.release(&schema);
	return sink;
}

static inline void
refused(const char *options, const char *columns, pst_status want, pst_error *err)
{
	struct ArrowSchema schema;
	pst_sink *sink = NULL;

	rows_schema(&schema, columns);
	*err = (pst_error) PST_ERROR_INIT;
	assert_fails(open_sink(options, &schema, &sink, err), want, err);
	assert_null(sink);
	schema.release(&schema);
}

/* Opens, writes, closes. */
#define write_rows(options, columns, ...)                                                          \
	do                                                                                             \
	{                                                                                              \
		pst_error write_err = PST_ERROR_INIT;                                                      \
		pst_sink *write_sink = opened(options, columns);                                           \
		test_rows write_r;                                                                         \
		rows_make(&write_r, columns, __VA_ARGS__, NULL);                                           \
		assert_ok(pst_sink_write_changes(write_sink, &write_r.batch, &write_err), &write_err);     \
		assert_ok(pst_sink_close(write_sink, &write_err), &write_err);                             \
		rows_free(&write_r);                                                                       \
	} while (0)

#define add_rows(sink, columns, ...)                                                               \
	do                                                                                             \
	{                                                                                              \
		pst_error write_err = PST_ERROR_INIT;                                                      \
		test_rows write_r;                                                                         \
		rows_make(&write_r, columns, __VA_ARGS__, NULL);                                           \
		assert_ok(pst_sink_write_changes(sink, &write_r.batch, &write_err), &write_err);           \
		rows_free(&write_r);                                                                       \
	} while (0)

/* The table as lines of its rows, ordered by themselves. */
static inline void
table_is(const char *table, const char *want)
{
	char *got = live_value(admin,
						   "SELECT coalesce(string_agg(x, ' ' ORDER BY x), '') FROM (SELECT "
						   "t::text FROM %s t) AS s(x)",
						   table);

	assert_string_equal(got, want);
	free(got);
}

/* Options and more of them, until the next call. */
static inline const char *
with(const char *options, const char *more)
{
	static char text[512];

	snprintf(text, sizeof(text), "%s;%s", options, more);
	return text;
}

/* The failpoint acts once from here on; each entry of the list counts for itself. */
static inline void
fail_once(const char *point)
{
	static int used;
	char text[256] = "";

	for (int i = 0; i < used; i++)
		strcat(text, "-,");
	used++;
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s=error@1", point);
	setenv("PENSTOCK_FAILPOINTS", text, 1);
}

#endif /* TEST_SINK_ROWS_H */
