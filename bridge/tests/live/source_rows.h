/*
 * source_rows.h - reading in tests: a database, and rows as sorted lines of text, `a|b|\N`.
 */
#ifndef TEST_SOURCE_ROWS_H
#define TEST_SOURCE_ROWS_H

#include "test.h"

#include <inttypes.h>

#include "buf.h"
#include "live.h"
#include "pgnumeric.h"
#include "pgtext.h"
#include "plan.h"

#define MAX_PAIRS 16

/* ---- The database ---- */

static PGconn *admin;

/* The settings are those of the library's sessions, so that texts compare. */
static int
setup(void **state)
{
	if (live_make_database(state) != 0)
		return -1;
	admin = live_connect("");
	live_exec(admin,
			  "SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'; SET IntervalStyle = postgres; "
			  "SET extra_float_digits = 1; SET lc_monetary = 'C'; SET client_encoding = UTF8; "
			  "SET client_min_messages = warning");
	/* Before 12 only this is exact. */
	if (PQserverVersion(admin) < 120000)
		live_exec(admin, "SET extra_float_digits = 3");
	return 0;
}

static int
teardown(void **state)
{
	PQfinish(admin);
	return live_drop_database(state);
}

static inline void
assert_rows(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

/* ---- Opening ---- */

static pst_status
open_pairs(pst_source **source, const pst_hooks *hooks, pst_error *err, va_list ap)
{
	const char *keys[MAX_PAIRS + 2] = {"url"};
	const char *values[MAX_PAIRS + 2] = {""};
	int n = 1;

	while (n <= MAX_PAIRS && (keys[n] = va_arg(ap, const char *)) != NULL)
		values[n++] = va_arg(ap, const char *);
	keys[n] = NULL;
	*err = (pst_error) PST_ERROR_INIT;
	return pst_source_open(keys, values, hooks, source, err);
}

static pst_status
open_source(pst_source **source, pst_error *err, ...)
{
	va_list ap;
	pst_status status;

	va_start(ap, err);
	status = open_pairs(source, NULL, err, ap);
	va_end(ap);
	return status;
}

static inline pst_status
open_source_hooks(pst_source **source, const pst_hooks *hooks, pst_error *err, ...)
{
	va_list ap;
	pst_status status;

	va_start(ap, err);
	status = open_pairs(source, hooks, err, ap);
	va_end(ap);
	return status;
}

/* ---- Values as text ---- */

static void
put_hex(const uint8_t *bytes, size_t n, psti_buf *out)
{
	for (size_t i = 0; i < n; i++)
		psti_buf_printf(out, "%02x", bytes[i]);
}

static void
put_var(const struct ArrowArray *array, int64_t i, bool hex, psti_buf *out)
{
	const int32_t *offsets = array->buffers[1];
	const uint8_t *bytes = (const uint8_t *) array->buffers[2] + offsets[i];
	size_t n = (size_t) (offsets[i + 1] - offsets[i]);

	if (hex)
		put_hex(bytes, n, out);
	else
		psti_buf_append(out, bytes, n);
}

static void
put_interval(const uint8_t *at, psti_buf *out)
{
	int32_t parts[2];
	int64_t ns;

	memcpy(parts, at, 8);
	memcpy(&ns, at + 8, 8);
	psti_buf_printf(out, "%dm%dd%" PRId64 "n", parts[0], parts[1], ns);
}

static void
put_value(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t i,
		  psti_buf *out)
{
	const uint8_t *valid = array->buffers[0];
	const char *f = schema->format;
	const void *data = array->buffers[1];
	char text[PSTI_TEXT_MAX];
	int scale;

	if (valid != NULL && !((valid[i >> 3] >> (i & 7)) & 1))
		psti_buf_puts(out, "\\N");
	else if (strcmp(f, "b") == 0)
		psti_buf_puts(out, (((const uint8_t *) data)[i >> 3] >> (i & 7)) & 1 ? "true" : "false");
	else if (strcmp(f, "s") == 0)
		psti_buf_printf(out, "%d", ((const int16_t *) data)[i]);
	else if (strcmp(f, "i") == 0 || strcmp(f, "tdD") == 0)
		psti_buf_printf(out, "%d", ((const int32_t *) data)[i]);
	else if (strcmp(f, "l") == 0 || strncmp(f, "ts", 2) == 0 || strcmp(f, "ttu") == 0)
		psti_buf_printf(out, "%" PRId64, ((const int64_t *) data)[i]);
	else if (strcmp(f, "f") == 0)
		psti_buf_append(out, text, psti_text_float4(((const float *) data)[i], text));
	else if (strcmp(f, "g") == 0)
		psti_buf_append(out, text, psti_text_float8(((const double *) data)[i], text));
	else if (strcmp(f, "u") == 0 || strcmp(f, "z") == 0)
		put_var(array, i, *f == 'z', out);
	else if (strcmp(f, "w:16") == 0)
		put_hex((const uint8_t *) data + 16 * i, 16, out);
	else if (strcmp(f, "tin") == 0)
		put_interval((const uint8_t *) data + 16 * i, out);
	else if (sscanf(f, "d:%*d,%d", &scale) == 1)
		psti_decimal_to_text((const uint8_t *) data + 16 * i, scale, out);
	else if (strcmp(f, "+l") == 0)
	{
		const int32_t *offsets = data;

		psti_buf_putc(out, '[');
		for (int32_t k = offsets[i]; k < offsets[i + 1]; k++)
		{
			psti_buf_puts(out, k > offsets[i] ? "," : "");
			put_value(schema->children[0], array->children[0], k, out);
		}
		psti_buf_putc(out, ']');
	}
	else
		fail_msg("unknown format %s", f);
}

/* Lines being collected. */
typedef struct lines
{
	char **at;
	size_t n;
	size_t cap;
} lines;

static void
add_line(lines *all, psti_buf *line)
{
	if (all->n == all->cap)
	{
		all->cap = all->cap * 2 + 64;
		all->at = realloc(all->at, all->cap * sizeof(*all->at));
	}
	psti_buf_putc(line, '\n');
	all->at[all->n++] = psti_buf_steal(line);
}

static int
compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* All lines in order as one text; frees them. */
static char *
join_lines(lines *all)
{
	psti_buf text = PSTI_BUF_INIT;

	if (all->n > 0)
		qsort(all->at, all->n, sizeof(*all->at), compare_lines);
	for (size_t i = 0; i < all->n; i++)
	{
		psti_buf_puts(&text, all->at[i]);
		free(all->at[i]);
	}
	free(all->at);
	return psti_buf_steal(&text);
}

static inline char *
rows_of_result(const PGresult *result)
{
	lines all = {0};

	for (int i = 0; i < PQntuples(result); i++)
	{
		psti_buf line = PSTI_BUF_INIT;

		for (int c = 0; c < PQnfields(result); c++)
		{
			psti_buf_puts(&line, c > 0 ? "|" : "");
			psti_buf_puts(&line, PQgetisnull(result, i, c) ? "\\N" : PQgetvalue(result, i, c));
		}
		add_line(&all, &line);
	}
	return join_lines(&all);
}

/* ---- Reading ---- */

static void
collect(const struct ArrowSchema *schema, const struct ArrowArray *array, lines *all)
{
	for (int64_t i = 0; i < array->length; i++)
	{
		psti_buf line = PSTI_BUF_INIT;

		for (int64_t c = 0; c < array->n_children; c++)
		{
			psti_buf_puts(&line, c > 0 ? "|" : "");
			put_value(schema->children[c], array->children[c], i, &line);
		}
		add_line(all, &line);
	}
}

/* Reads a split to its end; all NULL: counts only. */
static int64_t
read_split(pst_source *source, const char *split, lines *all)
{
	struct ArrowArrayStream stream;
	struct ArrowSchema schema;
	struct ArrowArray array;
	pst_error err = PST_ERROR_INIT;
	int64_t n = 0;

	assert_ok(pst_source_read(source, split, &stream, &err), &err);
	assert_int_equal(stream.get_schema(&stream, &schema), 0);
	for (;;)
	{
		int code = stream.get_next(&stream, &array);

		if (code != 0)
			fail_msg("reading failed (%d): %s", code, stream.get_last_error(&stream));
		if (array.release == NULL)
			break;
		n += array.length;
		if (all != NULL)
			collect(&schema, &array, all);
		array.release(&array);
	}
	schema.release(&schema);
	stream.release(&stream);
	return n;
}

static inline char *
rows(const char *key, ...)
{
	const char *keys[MAX_PAIRS + 2] = {"url", key};
	const char *values[MAX_PAIRS + 2] = {""};
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	lines all = {0};
	va_list ap;
	int n = 1;

	va_start(ap, key);
	while (keys[n] != NULL)
	{
		values[n++] = va_arg(ap, const char *);
		keys[n] = va_arg(ap, const char *);
	}
	va_end(ap);
	assert_ok(pst_source_open(keys, values, NULL, &source, &err), &err);
	read_split(source, NULL, &all);
	pst_source_close(source);
	return join_lines(&all);
}

static inline int64_t
count_splits(pst_source *source, char **splits, size_t n)
{
	int64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += read_split(source, splits == NULL ? NULL : splits[i], NULL);
	return count;
}

/* Plans and reads all splits, every other one by a second handle. */
static int64_t
read_planned(pst_source *source, pst_source *worker, int max_splits, lines *all)
{
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;
	int64_t count = 0;

	assert_ok(pst_source_plan(source, max_splits, &splits, &n, &err), &err);
	assert_true(n >= 1 && splits[n] == NULL);
	for (size_t i = 0; i < n; i++)
		count += read_split(i % 2 == 0 ? worker : source, splits[i], all);
	pst_free(splits);
	return count;
}

static int64_t
open_and_read_planned(int max_splits, lines *all, va_list ap)
{
	pst_source *source;
	pst_source *worker;
	pst_error err = PST_ERROR_INIT;
	int64_t count;
	va_list again;

	va_copy(again, ap);
	assert_ok(open_pairs(&source, NULL, &err, ap), &err);
	assert_ok(open_pairs(&worker, NULL, &err, again), &err);
	va_end(again);
	count = read_planned(source, worker, max_splits, all);
	pst_source_close(worker);
	pst_source_close(source);
	return count;
}

static inline char *
planned_rows(int max_splits, ...)
{
	lines all = {0};
	va_list ap;

	va_start(ap, max_splits);
	open_and_read_planned(max_splits, &all, ap);
	va_end(ap);
	return join_lines(&all);
}

static inline int64_t
count_planned(int max_splits, ...)
{
	int64_t count;
	va_list ap;

	va_start(ap, max_splits);
	count = open_and_read_planned(max_splits, NULL, ap);
	va_end(ap);
	return count;
}

static inline int64_t
count_rows(const char *key, ...)
{
	const char *keys[MAX_PAIRS + 2] = {"url", key};
	const char *values[MAX_PAIRS + 2] = {""};
	pst_source *source;
	pst_error err = PST_ERROR_INIT;
	int64_t count;
	va_list ap;
	int n = 1;

	va_start(ap, key);
	while (keys[n] != NULL)
	{
		values[n++] = va_arg(ap, const char *);
		keys[n] = va_arg(ap, const char *);
	}
	va_end(ap);
	assert_ok(pst_source_open(keys, values, NULL, &source, &err), &err);
	count = read_split(source, NULL, NULL);
	pst_source_close(source);
	return count;
}

/* The errno value with which a stream fails. */
static inline int
drain_to_error(struct ArrowArrayStream *stream)
{
	struct ArrowArray array;
	int code;

	do
	{
		code = stream->get_next(stream, &array);
		if (code == 0 && array.release == NULL)
			fail_msg("the read did not fail");
		if (code == 0)
			array.release(&array);
	} while (code == 0);
	assert_non_null(stream->get_last_error(stream));
	return code;
}

/* Reads until it fails; the errno value, and the handle's error in *err. */
static inline int
read_to_error(pst_error *err, ...)
{
	pst_source *source;
	struct ArrowArrayStream stream;
	int code;
	va_list ap;

	va_start(ap, err);
	assert_ok(open_pairs(&source, NULL, err, ap), err);
	va_end(ap);
	assert_ok(pst_source_read(source, NULL, &stream, err), err);
	code = drain_to_error(&stream);
	(void) pst_source_error(source, err);
	stream.release(&stream);
	pst_source_close(source);
	return code;
}

static inline long long
sum_int32(pst_source *source, const char *split)
{
	struct ArrowArrayStream stream;
	struct ArrowArray array;
	pst_error err = PST_ERROR_INIT;
	long long sum = 0;

	assert_ok(pst_source_read(source, split, &stream, &err), &err);
	for (;;)
	{
		assert_int_equal(stream.get_next(&stream, &array), 0);
		if (array.release == NULL)
			break;
		for (int64_t i = 0; i < array.length; i++)
			sum += ((const int32_t *) array.children[0]->buffers[1])[i];
		array.release(&array);
	}
	stream.release(&stream);
	return sum;
}

/* ---- Other things that tests do ---- */

/* The value of a key in a field's metadata (int32 count, then lengths and bytes). */
static inline bool
metadata_is(const char *metadata, const char *key, const char *value)
{
	int32_t n;
	int32_t len;

	if (metadata == NULL)
		return false;
	memcpy(&n, metadata, 4);
	metadata += 4;
	for (; n > 0; n--)
	{
		bool here;

		memcpy(&len, metadata, 4);
		here = (size_t) len == strlen(key) && memcmp(metadata + 4, key, (size_t) len) == 0;
		metadata += 4 + len;
		memcpy(&len, metadata, 4);
		if (here)
			return (size_t) len == strlen(value) && memcmp(metadata + 4, value, (size_t) len) == 0;
		metadata += 4 + len;
	}
	return false;
}

static inline void
assert_field(const struct ArrowSchema *field, const char *format, const char *name,
			 const char *type, const char *extension)
{
	assert_string_equal(field->format, format);
	assert_string_equal(field->name, name);
	assert_true(metadata_is(field->metadata, "penstock.type", type));
	if (extension != NULL)
		assert_true(metadata_is(field->metadata, "ARROW:extension:name", extension));
}

static inline void
assert_refused(PGconn *conn, const char *sql, const char *sqlstate)
{
	PGresult *result = PQexec(conn, sql);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (state == NULL || strcmp(state, sqlstate) != 0)
		fail_msg("%s: got %s, wanted %s", sql, state == NULL ? "no error" : state, sqlstate);
	PQclear(result);
}

/* Until some session of this database waits for a lock. */
static inline void
wait_for_lock(PGconn *conn)
{
	while (live_int(conn, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
						  "WHERE NOT l.granted AND a.datname = current_database()") == 0)
		;
}

typedef struct blocked_read
{
	const char *table;
	const char *columns; /* NULL: all */
	const char *role;	 /* NULL: that of the test */
	int64_t count;
	char error[1024];
} blocked_read;

/* pthread's function: counts a table's rows through a plan. */
static inline void *
read_in_thread(void *arg)
{
	blocked_read *job = arg;
	const char *keys[] = {"url", "table-name", "read.columns", "username", NULL};
	const char *values[] = {"", job->table, job->columns, job->role, NULL};
	pst_source *source = NULL;
	pst_error err = PST_ERROR_INIT;
	char **splits = NULL;
	size_t n = 0;

	if (pst_source_open(keys, values, NULL, &source, &err) == PST_OK &&
		pst_source_plan(source, 0, &splits, &n, &err) == PST_OK)
		job->count = count_splits(source, splits, n);
	snprintf(job->error, sizeof(job->error), "%s", err.message);
	pst_free(splits);
	pst_source_close(source);
	return NULL;
}

static inline void *
cancel_when_sleeping(void *arg)
{
	PGconn *conn = live_connect("");

	while (live_int(conn, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND "
						  "query LIKE 'SAVEPOINT%%pg_sleep(600)%%'") == 0)
		;
	pst_cancel(arg);
	PQfinish(conn);
	return NULL;
}

static inline void
note_progress(void *ctx, const pst_progress *progress)
{
	*(pst_progress *) ctx = *progress;
}

/* A copy of text with the first `from` replaced. */
static inline char *
replace(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	psti_buf out = PSTI_BUF_INIT;

	if (at == NULL)
		fail_msg("\"%s\" is not in \"%s\"", from, text);
	psti_buf_append(&out, text, (size_t) (at - text));
	psti_buf_puts(&out, to);
	psti_buf_puts(&out, at + strlen(from));
	return psti_buf_steal(&out);
}

/* An SQL expression: how many strides of a plan a row belongs to. */
static inline char *
plan_condition(int64_t lower, int64_t upper, size_t n, bool filter, const char *column)
{
	char low[32];
	char high[32];
	char **cuts;
	size_t ncuts;
	psti_stride *strides;
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;

	snprintf(low, sizeof(low), "%" PRId64, lower);
	snprintf(high, sizeof(high), "%" PRId64, upper);
	assert_ok(psti_cuts_int64(lower, upper, n, psti_text_int64, &cuts, &ncuts, &err), &err);
	assert_ok(psti_strides_new(low, high, cuts, ncuts, filter, &strides, &err), &err);
	psti_buf_puts(&out, "0");
	for (size_t i = 0; i <= ncuts; i++)
	{
		psti_buf_puts(&out, " + CASE WHEN ");
		psti_stride_sql(&strides[i], column, "pg_catalog.int8", &out);
		psti_buf_puts(&out, " THEN 1 ELSE 0 END");
	}
	psti_strides_free(strides, ncuts + 1);
	psti_cuts_free(cuts, ncuts);
	return psti_buf_steal(&out);
}

#endif /* TEST_SOURCE_ROWS_H */
