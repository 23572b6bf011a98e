/*
 * reading.c - the rows of tables under snapshots, region by region.
 *
 * A table is read under the snapshot that the slot's creation has exported, as long as that can be
 * imported and the table is still what it sees; else under one of its own, for which all transactions that
 * the position has told of must have ended. Before that snapshot is taken, nothing of the table is
 * locked but by reads; after it WAL is flushed, and then only comes the first row. Where several tables are to
 * be read after the slot's snapshot has gone, one is taken for all of them.
 * A table is locked while it is read, and no other one is. Small tables are described many at a time (ahead.c)
 * and read in one round trip each, a large one in pieces by several sessions; a session serves all tables.
 */
#include "cdc/capture.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "arrow_build.h"
#include "cdc/oids.h"
#include "failpoint.h"
#include "hash.h"
#include "source_internal.h"
#include "split.h"

#define PARTS_MAX 1024
#define BEGIN_TRIES 10
/* How long a lock of a table is waited for at a time. */
#define LOCK_MS 1000
#define LOCK_MIN_MS 50

/* ---- The source of a table ---- */

/* Options by which a table's source is opened; all borrowed but the texts of its own. */
typedef struct source_options
{
	const char **keys;
	const char **values;
	size_t n;
	psti_buf columns;
	char parts[16];
} source_options;

/* Into how many regions a table's key is cut between which values; NULL: it is not. */
typedef struct key_range
{
	PGresult *ends; /* the least and the greatest, as texts; owned */
	size_t parts;
} key_range;

static void
add_option(source_options *options, const char *key, const char *value)
{
	options->keys[options->n] = key;
	options->values[options->n++] = value;
}

/* The column that a table's regions are cut by, NULL: it is one region. */
static const char *
region_column(const psti_table *version, const psti_subject *subject, psti_key_kind *kind)
{
	size_t i;

	*kind = PSTI_KEY_NONE;
	if (subject->nkeys != 1 || subject->identity == 'n' || subject->inherited || !subject->ordered)
		return NULL;
	i = psti_table_find(version, subject->key[0]);
	if (i < version->ncolumns && version->columns[i].form == PSTI_FORM_ARROW)
		*kind = psti_key_kind_of(version->types[i]);
	return *kind == PSTI_KEY_NONE ? NULL : version->names[i];
}

/* How many regions a table is read in. */
static size_t
count_parts(const pst_cdc *cdc, const psti_subject *subject)
{
	int64_t each = psti_opt_int(cdc->options, PSTI_OPT_SPLIT_BYTES);
	int64_t n = subject->bytes / (each > 0 ? each : 1);

	return n < 1 ? 1 : n > PARTS_MAX ? PARTS_MAX : (size_t) n;
}

/* Whether the option is one of connections or of values: which table is read is said here. */
static bool
shapes_rows(const char *key)
{
	static const unsigned both = PSTI_CDC | PSTI_SOURCE;
	psti_opt opt;

	return (psti_opt_handles(key, &opt) & both) == both && opt != PSTI_OPT_TABLE &&
		   opt != PSTI_OPT_SCHEMA && opt != PSTI_OPT_TRANSPORT;
}

/*
 * The key range of a table that is read in several regions. Rows outside of it are read all the same, as are
 * those that come into it later: it says where to cut, no more. Infinite ends are no place to cut at.
 */
static pst_status
find_range(const pst_cdc *cdc, const psti_subject *subject, int lock_ms, key_range *out,
		   pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	psti_buf key = PSTI_BUF_INIT;
	pst_status status;

	out->parts = count_parts(cdc, subject);
	if (out->parts < 2 || subject->nkeys != 1 || subject->inherited || !subject->ordered)
		return PST_OK;
	psti_buf_ident(&key, subject->key[0]);
	if (!key.failed)
		psti_buf_printf(&sql,
						"SET LOCAL lock_timeout = %d; "
						"SELECT (SELECT t.%s FROM ONLY %s t ORDER BY 1 LIMIT 1), "
						"(SELECT t.%s FROM ONLY %s t ORDER BY 1 DESC LIMIT 1)",
						lock_ms, key.data, subject->qualified, key.data, subject->qualified);
	status = key.failed ? psti_fail_nomem(err) : psti_buf_check(&sql, err);
	if (status == PST_OK)
		status =
			psti_conn_exec(cdc->conn, "looking where to cut the table", sql.data, &out->ends, err);
	psti_buf_free(&sql);
	psti_buf_free(&key);
	for (int i = 0; status == PST_OK && out->ends != NULL && i < 2; i++)
		if (PQgetisnull(out->ends, 0, i) || strstr(PQgetvalue(out->ends, 0, i), "infinity") != NULL)
		{
			PQclear(out->ends);
			out->ends = NULL;
		}
	return status;
}

static pst_status
make_options(const pst_cdc *cdc, const psti_subject *subject, const key_range *range,
			 source_options *out, pst_error *err)
{
	size_t given = 0;

	memset(out, 0, sizeof(*out));
	while (cdc->keys[given] != NULL)
		given++;
	out->keys = calloc(given + 10, sizeof(*out->keys));
	out->values = calloc(given + 10, sizeof(*out->values));
	for (size_t i = 0; i < subject->ncolumns; i++)
	{
		psti_buf_puts(&out->columns, i > 0 ? "," : "");
		psti_buf_ident(&out->columns, subject->columns[i]);
	}
	if (out->keys == NULL || out->values == NULL || out->columns.failed)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < given; i++)
		if (shapes_rows(cdc->keys[i]))
			add_option(out, cdc->keys[i], cdc->values[i]);
	add_option(out, "table-name", subject->name);
	add_option(out, "schema-name", subject->schema);
	if (subject->ncolumns > 0)
		add_option(out, "read.columns", out->columns.data);
	if (psti_opt_int(cdc->options, PSTI_OPT_TRANSPORT) == PSTI_TRANSPORT_PLAIN)
		add_option(out, "transport", "plain");
	if (range != NULL && range->ends != NULL)
	{
		snprintf(out->parts, sizeof(out->parts), "%zu", range->parts);
		add_option(out, "scan.partition.column", subject->key[0]);
		add_option(out, "scan.partition.num", out->parts);
		add_option(out, "scan.partition.lower-bound", PQgetvalue(range->ends, 0, 0));
		add_option(out, "scan.partition.upper-bound", PQgetvalue(range->ends, 0, 1));
	}
	return PST_OK;
}

pst_status
psti_reading_session(pst_cdc *cdc, size_t reader, psti_conn **out, pst_error *err)
{
	psti_conn **session = &cdc->reading.sessions[reader];
	pst_status status = PST_OK;

	if (*session != NULL && !psti_conn_usable(*session))
	{
		psti_conn_close(*session);
		*session = NULL;
	}
	if (*session == NULL)
		status = psti_source_connect(cdc->options, &cdc->hooks, session, err);
	*out = *session;
	return status;
}

static void
close_sessions(psti_reading *r)
{
	for (size_t i = 0; i < PSTI_READERS_MAX; i++)
	{
		psti_conn_close(r->sessions[i]);
		r->sessions[i] = NULL;
	}
	psti_conn_close(r->holder);
	r->holder = NULL;
}

/* In the reader's session; relation, moved: what the table is, NULL: it is asked for. */
static pst_status
open_source(pst_cdc *cdc, size_t reader, const psti_subject *subject, psti_relation *relation,
			const key_range *range, pst_error *err)
{
	pst_source **out = &cdc->reading.readers[reader].source;
	source_options options;
	pst_hooks hooks = cdc->hooks;
	psti_conn *session = NULL;
	pst_status status = make_options(cdc, subject, range, &options, err);

	/* Its progress would be that of one table. */
	hooks.progress = NULL;
	/* A plan keeps the sources of its tables, each with its session. */
	if (status == PST_OK && cdc->plan == NULL)
		status = psti_reading_session(cdc, reader, &session, err);
	if (status == PST_OK)
		status =
			psti_source_open_in(session, relation, options.keys, options.values, &hooks, out, err);
	else
		psti_relation_free(relation);
	free(options.keys);
	free(options.values);
	psti_buf_free(&options.columns);
	if (status == PST_OK && (*out)->relation->oid != subject->oid)
	{
		psti_fail(err, PST_ERR_CONFLICT, "table %s is another one than a moment ago",
				  subject->qualified);
		err->retryable = true;
		status = PST_ERR_CONFLICT;
	}
	return status;
}

pst_status
psti_reading_version(const psti_column_rules *rules, const psti_subject *subject,
					 const pst_source *source, psti_table **out, pst_error *err)
{
	psti_table_column *columns = calloc(source->ncolumns + 1, sizeof(*columns));
	pst_status status;

	*out = NULL;
	if (columns == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < source->ncolumns; i++)
	{
		const psti_column *from = source->columns[i].column;

		columns[i] = (psti_table_column){.name = from->name, .type = &from->type};
		for (size_t k = 0; k < subject->nkeys; k++)
			columns[i].key |= strcmp(subject->key[k], from->name) == 0;
	}
	status = psti_table_new(rules, subject->oid, subject->schema, subject->name, columns,
							source->ncolumns, out, err);
	free(columns);
	return status;
}

/* Of the columns that are captured. */
static uint64_t
hash_columns(const psti_subject *subject)
{
	uint64_t hash = PSTI_HASH_INIT;

	for (size_t i = 0; i < subject->ncolumns; i++)
		hash = psti_hash_text(hash, subject->columns[i]);
	return hash;
}

/* ---- Regions ---- */

/* The bound of a region, as the judge compares it. */
static pst_status
find_key(const psti_table *version, const char *column, psti_key_kind kind, const char *lower,
		 psti_region_key *out, pst_error *err)
{
	size_t i = psti_table_find(version, column);
	psti_buf bytes = PSTI_BUF_INIT;
	bool good = psti_value_of_text(&version->columns[i], lower, strlen(lower), &bytes) &&
				psti_region_key_read(kind, bytes.data, bytes.len, out);

	psti_buf_free(&bytes);
	return good ? PST_OK
				: psti_fail(err, PST_ERR_PROTOCOL, "the bound %.80s of column \"%s\" is none",
							lower, column);
}

static pst_status
set_parts(psti_place *place, const psti_table *version, const char *column, psti_key_kind kind,
		  const psti_split *strides, size_t n, pst_error *err)
{
	psti_part *parts = calloc(n, sizeof(*parts));
	char *name = strdup(column);
	pst_status status = parts == NULL || name == NULL ? psti_fail_nomem(err) : PST_OK;
	size_t i = 0;

	for (; status == PST_OK && i < n; i++)
	{
		const char *lower = i > 0 ? strides[i].stride.lower : NULL;

		parts[i].view = PSTI_NO_VIEW;
		if (lower == NULL)
			continue;
		parts[i].lower = strdup(lower);
		status = parts[i].lower == NULL
					 ? psti_fail_nomem(err)
					 : find_key(version, column, kind, lower, &parts[i].key, err);
	}
	if (status != PST_OK)
	{
		for (size_t p = 0; parts != NULL && p < i; p++)
			free(parts[p].lower);
		free(parts);
		free(name);
		return status;
	}
	for (size_t p = 0; p < place->nparts; p++)
		free(place->parts[p].lower);
	free(place->parts);
	free(place->column);
	place->parts = parts;
	place->nparts = n;
	place->kind = kind;
	place->column = name;
	return PST_OK;
}

/* Cuts a table that nothing was read of into the regions that the source plans, if it does. */
static pst_status
plan_parts(pst_cdc *cdc, const psti_subject *subject, psti_place *place, pst_error *err)
{
	pst_source *source = cdc->reading.readers[0].source;
	const psti_table *version = psti_capture_of(cdc, subject->oid)->version;
	psti_split *strides = NULL;
	char **splits = NULL;
	size_t n = 0;
	psti_key_kind kind;
	const char *column = region_column(version, subject, &kind);
	pst_status status;

	if (column == NULL || source->partition.column == NULL || psti_place_is_begun(place))
		return PST_OK;
	status = pst_source_plan(source, PARTS_MAX, &splits, &n, err);
	if (status == PST_OK && n > 1)
	{
		strides = calloc(n, sizeof(*strides));
		status = strides == NULL ? psti_fail_nomem(err) : PST_OK;
		for (size_t i = 0; status == PST_OK && i < n; i++)
			status = psti_split_parse(splits[i], &strides[i], err);
		if (status == PST_OK)
			status = set_parts(place, version, column, kind, strides, n, err);
	}
	for (size_t i = 0; strides != NULL && i < n; i++)
		psti_split_free(&strides[i]);
	free(strides);
	pst_free(splits);
	return status;
}

/* ---- Pieces ---- */

static pst_status
add_piece(psti_reading *r, char *split, size_t part, pst_error *err)
{
	psti_piece *pieces = realloc(r->pieces, (r->npieces + 1) * sizeof(*pieces));

	if (pieces == NULL)
		return psti_fail_nomem(err);
	r->pieces = pieces;
	pieces[r->npieces++] = (psti_piece){split, part};
	return PST_OK;
}

char *
psti_part_upper(const psti_place *place, size_t part)
{
	return part + 1 < place->nparts ? place->parts[part + 1].lower : NULL;
}

/* A split of the first reader's moment: of the key range of a part, or (place->column NULL) of its table alone. */
static pst_status
add_split(psti_reading *r, const psti_place *place, size_t part, uint32_t filenode, pst_error *err)
{
	const pst_source *source = r->readers[0].source;
	const psti_caps *caps = psti_conn_caps(source->conn);
	psti_blocks itself = {.oid = place->oid, .node = filenode, .first = 0, .end = -1};
	psti_split split = {.kind = PSTI_SPLIT_BLOCKS,
						.snapshot = source->snapshot,
						.system = (char *) caps->system_identifier,
						.started = (char *) caps->postmaster_start,
						.database = (char *) caps->database,
						.schemas = source->schemas,
						.options = (char *) source->fingerprint,
						.relation = source->relation->oid,
						.blocks = &itself,
						.nblocks = 1};
	char *text = NULL;
	pst_status status;

	if (place->column != NULL)
	{
		split.kind = PSTI_SPLIT_STRIDE;
		split.column = place->column;
		split.stride.lower = place->parts[part].lower;
		split.stride.upper = psti_part_upper(place, part);
	}
	status = psti_split_print(&split, &text, err);
	if (status == PST_OK)
		status = add_piece(r, text, part, err);
	if (status != PST_OK)
		free(text);
	return status;
}

/* A table that is one region is read by blocks, where the server can. */
static pst_status
add_blocks(psti_reading *r, pst_error *err)
{
	char **splits = NULL;
	size_t n = 0;
	pst_status status = pst_source_plan(r->readers[0].source, 0, &splits, &n, err);

	for (size_t i = 0; status == PST_OK && i < n; i++)
	{
		char *copy = strdup(splits[i]);

		status = copy == NULL ? psti_fail_nomem(err) : add_piece(r, copy, 0, err);
		if (status != PST_OK)
			free(copy);
	}
	pst_free(splits);
	return status;
}

static pst_status
make_pieces(psti_reading *r, const psti_place *place, const psti_subject *subject, pst_error *err)
{
	pst_status status = PST_OK;

	if (place->column == NULL)
		return subject->inherited ? add_split(r, place, 0, subject->filenode, err)
								  : add_blocks(r, err);
	for (size_t i = 0; status == PST_OK && i < place->nparts; i++)
		if (place->parts[i].state != PSTI_PART_READ)
			status = add_split(r, place, i, 0, err);
	return status;
}

/* ---- A table ---- */

static void
end_stream(psti_reader *reader)
{
	if (reader->stream.release != NULL)
		reader->stream.release(&reader->stream);
	memset(&reader->stream, 0, sizeof(reader->stream));
}

static void
close_table(psti_reading *r)
{
	for (size_t i = 0; i < r->nreaders; i++)
	{
		end_stream(&r->readers[i]);
		if (r->readers[i].source != NULL)
			psti_source_end(r->readers[i].source);
		pst_source_close(r->readers[i].source);
	}
	for (size_t i = 0; i < r->npieces; i++)
		free(r->pieces[i].split);
	free(r->readers);
	free(r->pieces);
	r->readers = NULL;
	r->pieces = NULL;
	r->nreaders = r->npieces = r->begun = r->ended = r->told = r->turn = 0;
	r->small = false;
	r->oid = 0;
}

/* Whether others have it locked. */
static bool
is_locked(pst_status status, const pst_error *err)
{
	return status < 0 && strcmp(err->sqlstate, "55P03") == 0;
}

/* Whether another snapshot may help where the slot's own did not. */
static bool
has_changed_since(const pst_error *err)
{
	return err->status == PST_ERR_CONFLICT || err->status == PST_ERR_NOT_FOUND ||
		   strcmp(err->sqlstate, "55P03") == 0;
}

/* The session's transaction becomes a view, which the stream can go on from. */
static pst_status
see(pst_cdc *cdc, psti_conn *conn, size_t *view, pst_error *err)
{
	psti_waiting waiting = psti_capture_waiting(cdc);
	psti_snapshot snapshot = {0};
	uint64_t horizon = 0;
	pst_status status = psti_moment_take(&waiting, conn, &snapshot, &horizon, err);

	if (status == PST_OK)
		status = psti_position_see(&cdc->at, &snapshot, horizon, view, err);
	if (status == PST_OK && horizon > cdc->at.complete_lsn)
		cdc->at.complete_lsn = horizon;
	psti_snapshot_free(&snapshot);
	return status;
}

/* Stands at a moment of the table's own. */
static pst_status
take_view(pst_cdc *cdc, pst_error *err)
{
	pst_source *source = cdc->reading.readers[0].source;
	pst_status status = psti_source_begin(source, err);

	return status == PST_OK ? see(cdc, source->conn, &cdc->reading.view, err) : status;
}

static pst_status
export_snapshot(psti_conn *conn, char **out, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_exec(conn, "exporting the snapshot",
									   "SELECT pg_catalog.pg_export_snapshot()", &result, err);

	if (status == PST_OK)
	{
		*out = strdup(PQgetvalue(result, 0, 0));
		status = *out == NULL ? psti_fail_nomem(err) : PST_OK;
	}
	PQclear(result);
	return status;
}

/* One moment for all tables that are still to be read, where that pays. */
static pst_status
hold_view(pst_cdc *cdc, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	if (r->export_id != NULL || cdc->plan != NULL || cdc->startup == PSTI_STARTUP_SNAPSHOT ||
		!psti_ahead_pays(cdc))
		return PST_OK;
	psti_conn_close(r->holder);
	r->holder = NULL;
	status = psti_source_connect(cdc->options, &cdc->hooks, &r->holder, err);
	if (status != PST_OK)
		return status;
	psti_buf_printf(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; %s",
					psti_conn_pins(r->holder));
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(r->holder, "taking the snapshot", sql.data, NULL, err);
	if (status == PST_OK)
		status = see(cdc, r->holder, &r->held, err);
	if (status == PST_OK)
		status = export_snapshot(r->holder, &r->export_id, err);
	psti_buf_free(&sql);
	return status;
}

/* Whether the table can be read under the snapshot of all, as far as is known here. */
static bool
takes_export(const pst_cdc *cdc, const psti_place *place)
{
	return cdc->reading.export_id != NULL && !psti_place_is_begun(place) &&
		   cdc->reading.outdated != place->oid;
}

/*
 * Stands at a moment at which the table is read. PST_AGAIN: the snapshot of all is of no use for it any more,
 * another must be taken.
 */
static pst_status
stand(pst_cdc *cdc, const psti_subject *subject, const psti_place *place, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	pst_status status;

	if (!takes_export(cdc, place))
		return take_view(cdc, err);
	r->view = r->holder != NULL ? r->held : PSTI_NO_VIEW;
	status = psti_moment_explain(psti_source_adopt(r->readers[0].source, r->export_id, err), err);
	/* Without a stream one snapshot serves all tables. */
	if (status == PST_OK || !has_changed_since(err) || cdc->startup == PSTI_STARTUP_SNAPSHOT)
		return status;
	psti_log(&cdc->hooks, PST_LOG_INFO, "%s is read under a snapshot of its own: %s",
			 subject->qualified, err->message);
	r->outdated = place->oid;
	return PST_AGAIN;
}

/*
 * Now that the table is locked: whether it still has the columns that it was opened with. PST_AGAIN: it has
 * not, and is to be opened anew.
 */
static pst_status
check_columns(pst_cdc *cdc, uint32_t oid, uint64_t columns, pst_error *err)
{
	const psti_subject *subject = NULL;
	pst_status status = psti_scope_look(&cdc->scope, cdc->conn, oid, &subject, err);

	if (status != PST_OK)
		return status;
	return subject != NULL && hash_columns(subject) == columns ? PST_OK : PST_AGAIN;
}

/* A table that is not there any more: nothing of it can be read, and nothing will be told. */
static void
let_go(pst_cdc *cdc, uint32_t oid)
{
	psti_place *place = psti_position_find(&cdc->at, oid);
	pst_error ignored;

	psti_log(&cdc->hooks, PST_LOG_WARNING,
			 "table %" PRIu32
			 " was dropped, or renamed out of what is captured, before it was read",
			 oid);
	close_table(&cdc->reading);
	(void) psti_place_reset(place, &ignored);
	for (size_t i = 0; i < place->nparts; i++)
		place->parts[i].state = PSTI_PART_READ;
	psti_place_merge(place);
	place->gone = true;
}

static pst_status
set_version(pst_cdc *cdc, const psti_subject *subject, psti_captured *captured, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_table *version = NULL;
	psti_place *place;
	pst_status status =
		psti_reading_version(&cdc->rules, subject, r->readers[0].source, &version, err);

	if (status != PST_OK)
		return status;
	r->schema_told = captured->version != NULL && psti_table_same(captured->version, version);
	if (!r->schema_told)
	{
		psti_capture_version(cdc, captured, version);
		return PST_OK;
	}
	psti_table_free(version);
	/* The reset has forgotten them. */
	place = psti_position_find(&cdc->at, captured->oid);
	if (place != NULL)
		place->columns = psti_table_hash(captured->version);
	return PST_OK;
}

/* Others have the table locked: it is tried again, and others may come first. */
static pst_status
put_off(pst_cdc *cdc, uint32_t oid)
{
	psti_reading *r = &cdc->reading;
	const psti_subject *subject = psti_scope_subject(&cdc->scope, oid);
	psti_waiting waiting = psti_capture_waiting(cdc);

	if (!r->locked.waiting)
		psti_moment_begin_other(&r->locked);
	if (subject != NULL)
		psti_moment_locked(&waiting, &r->locked, oid, subject->qualified);
	return PST_AGAIN;
}

/* ---- A small table ---- */

/* Whether what was found when it was locked is what was thought. PST_AGAIN: it is not. */
static pst_status
check_found(pst_cdc *cdc, const psti_subject *subject, const PGresult *found, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	int64_t bytes = strtoll(PQgetvalue(found, 0, PSTI_FOUND_SIZE), NULL, 10);

	if (PQgetvalue(found, 0, PSTI_FOUND_FILE)[0] != 't' ||
		!psti_ahead_holds(r->readers[0].source->relation, found, PSTI_FOUND_COLUMNS))
	{
		psti_fail(err, PST_ERR_CONFLICT, "%s was altered after the snapshot", subject->qualified);
		return PST_AGAIN;
	}
	/* Statistics may be old, or none: then it is read in pieces. */
	if (bytes < psti_opt_int(cdc->options, PSTI_OPT_SPLIT_BYTES))
		return PST_OK;
	psti_fail(err, PST_ERR_CONFLICT, "%s is larger than it was known to be", subject->qualified);
	return PST_AGAIN;
}

/* In one trip: what it is was asked before. PST_AGAIN: it is not that, and is read by itself. */
static pst_status
take_small(pst_cdc *cdc, const psti_subject *subject, psti_relation *relation, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_place *place = psti_position_find(&cdc->at, subject->oid);
	psti_captured *captured = psti_capture_of(cdc, subject->oid);
	const PGresult *found = NULL;
	pst_status status;

	r->readers = calloc(1, sizeof(*r->readers));
	if (captured == NULL || r->readers == NULL)
	{
		psti_relation_free(relation);
		return psti_fail_nomem(err);
	}
	r->nreaders = 1;
	r->view = r->holder != NULL ? r->held : PSTI_NO_VIEW;
	status = open_source(cdc, 0, subject, relation, NULL, err);
	if (status == PST_OK)
		status = psti_source_once(r->readers[0].source, r->export_id, &r->readers[0].stream, &found,
								  err);
	if (status == PST_OK)
		status = check_found(cdc, subject, found, err);
	if (status == PST_OK)
		status = set_version(cdc, subject, captured, err);
	if (status == PST_OK)
		status = psti_watch_small(
			cdc, place, (uint32_t) strtoul(PQgetvalue(found, 0, PSTI_FOUND_NODE), NULL, 10),
			r->ahead.watched, err);
	if (status == PST_OK)
		status = add_piece(r, NULL, 0, err);
	r->begun = r->npieces;
	r->small = true;
	return status;
}

/* Whether the table is one of those that are read in one trip, which has begun. */
static pst_status
begin_small(pst_cdc *cdc, uint32_t oid, bool *begun, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_relation *relation = NULL;
	const psti_subject *subject;
	pst_status status = PST_OK;

	*begun = false;
	if (cdc->plan == NULL && r->alone != oid &&
		takes_export(cdc, psti_position_find(&cdc->at, oid)))
		status = psti_ahead_take(cdc, oid, &relation, err);
	if (status != PST_OK || relation == NULL)
		return status;
	subject = psti_scope_subject(&cdc->scope, oid);
	r->oid = oid;
	r->cleared = false;
	status = take_small(cdc, subject, relation, err);
	*begun = status == PST_OK;
	if (status == PST_OK)
		return PST_OK;
	close_table(r);
	if (status == PST_ERR_NOMEM || status == PST_ERR_CANCELED || r->sessions[0] == NULL ||
		!psti_conn_usable(r->sessions[0]))
		return status;
	psti_log(&cdc->hooks, PST_LOG_DEBUG, "%s is read by itself: %s", subject->qualified,
			 err->message);
	r->alone = oid;
	return is_locked(status, err) ? put_off(cdc, oid) : PST_OK;
}

/* ---- Any table ---- */

/* Opens the first reader, at a moment, and what follows from what it sees. PST_AGAIN: try anew. */
static pst_status
take_up(pst_cdc *cdc, const psti_subject *subject, int lock_ms, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_place *place = psti_position_find(&cdc->at, subject->oid);
	psti_captured *captured = psti_capture_of(cdc, subject->oid);
	size_t jobs = (size_t) psti_opt_int(cdc->options, PSTI_OPT_CDC_JOBS);
	uint64_t columns = hash_columns(subject);
	key_range range = {0};
	pst_status status = PST_OK;

	r->readers = calloc(jobs, sizeof(*r->readers));
	if (captured == NULL || r->readers == NULL)
		return psti_fail_nomem(err);
	r->nreaders = 1;
	/* A table of which parts are read already is cut as it was. */
	if (!psti_place_is_begun(place))
		status = find_range(cdc, subject, lock_ms, &range, err);
	if (status == PST_OK)
		status = open_source(cdc, 0, subject, NULL, &range, err);
	PQclear(range.ends);
	if (status == PST_OK)
		r->readers[0].source->lock_ms = lock_ms;
	if (status == PST_OK)
		status = stand(cdc, subject, place, err);
	if (status == PST_OK)
		status = check_columns(cdc, place->oid, columns, err);
	subject = psti_scope_subject(&cdc->scope, place->oid);
	if (status == PST_OK)
		status = psti_source_export(r->readers[0].source, err);
	if (status == PST_OK)
		status = set_version(cdc, subject, captured, err);
	if (status == PST_OK)
		status = psti_watch_read(cdc, place, r->readers[0].source, err);
	if (status == PST_OK)
		status = plan_parts(cdc, subject, place, err);
	if (status == PST_OK)
		status = make_pieces(r, place, subject, err);
	return status;
}

/* All transactions that the position has told of must be seen by the snapshot. PST_AGAIN: not in time. */
static pst_status
wait_for_view(pst_cdc *cdc, int timeout_ms, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_waiting waiting = psti_capture_waiting(cdc);
	pst_status status = PST_OK;

	if (r->waited)
		return PST_OK;
	if (!cdc->patience.waiting)
		status = psti_moment_begin(&waiting, &cdc->patience, err);
	if (status == PST_OK)
		status = psti_moment_wait(&waiting, &cdc->patience, timeout_ms, err);
	r->waited = status == PST_OK;
	return status;
}

/*
 * How long a lock is waited for. Not for ever: what a plan has locked meanwhile may be what the one who has
 * this table waits for, which the server does not see.
 */
static int
lock_wait(int timeout_ms)
{
	return timeout_ms < 0 || timeout_ms > LOCK_MS ? LOCK_MS
		   : timeout_ms < LOCK_MIN_MS			  ? LOCK_MIN_MS
												  : timeout_ms;
}

/* A table was begun. */
static pst_status
end_begin(psti_reading *r)
{
	r->locked.waiting = false;
	(void) PSTI_FAILPOINT("cdc.table_begun");
	return PST_OK;
}

/* Nothing of this table is locked while transactions are waited for. */
pst_status
psti_reading_begin(pst_cdc *cdc, uint32_t oid, int timeout_ms, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	const psti_subject *subject = NULL;
	pst_status status = PST_OK;

	for (int i = 0; i < BEGIN_TRIES; i++)
	{
		bool begun = false;

		if (!takes_export(cdc, psti_position_find(&cdc->at, oid)))
			status = wait_for_view(cdc, timeout_ms, err);
		if (status == PST_OK)
			status = hold_view(cdc, err);
		(void) PSTI_FAILPOINT("cdc.adopting");
		if (status == PST_OK)
			status = begin_small(cdc, oid, &begun, err);
		if (begun)
			return end_begin(r);
		if (status == PST_OK)
			status = psti_scope_look(&cdc->scope, cdc->conn, oid, &subject, err);
		if (status != PST_OK)
			return status;
		r->oid = oid;
		r->cleared = false;
		if (subject != NULL)
			status = take_up(cdc, subject, lock_wait(timeout_ms), err);
		if (subject == NULL || status == PST_ERR_NOT_FOUND)
		{
			let_go(cdc, oid);
			return PST_OK;
		}
		if (status == PST_OK)
			return end_begin(r);
		close_table(r);
		if (is_locked(status, err))
			return put_off(cdc, oid);
		if (status != PST_AGAIN && status != PST_ERR_CONFLICT)
			return status;
		status = PST_OK;
	}
	psti_fail(err, PST_ERR_CONFLICT, "table %s is altered all the time",
			  subject != NULL ? subject->qualified : "");
	psti_error_hint(err, "Open again at the stored position when ALTER TABLE is over.");
	err->retryable = true;
	return PST_ERR_CONFLICT;
}

/* ---- Events of a table ---- */

/*
 * Rows of the part that the consumer may have are forgotten first. Who stores positions with the data has
 * those of a part that was begun; of others nobody knows.
 */
static bool
must_clear(const pst_cdc *cdc, const psti_part *part)
{
	if (cdc->reading.cleared || cdc->consumer == PSTI_CONSUMER_UPSERT)
		return false;
	return part->state == PSTI_PART_BEGUN || (cdc->consumer == PSTI_CONSUMER_REPLAY &&
											  cdc->resumed && part->state == PSTI_PART_UNREAD);
}

/* An event by which a part is cleared; then it is unread, and will be begun. */
static void
tell_clear(pst_cdc *cdc, const psti_captured *captured, psti_place *place, size_t part,
		   pst_event *out)
{
	if (place->column == NULL)
	{
		psti_event_begin(cdc, PST_EVENT_RESET, out);
		out->reason = "its read was interrupted, and begins anew";
		cdc->reading.cleared = true;
	}
	else
	{
		psti_event_begin(cdc, PST_EVENT_CLEAR_RANGE, out);
		out->column = place->column;
		out->lower = place->parts[part].lower;
		out->upper = psti_part_upper(place, part);
	}
	psti_event_table(cdc, captured, out);
	place->parts[part].state = PSTI_PART_BEGUN;
	place->parts[part].view = cdc->reading.view;
}

pst_status
psti_reading_tell(pst_cdc *cdc, pst_event *out)
{
	psti_reading *r = &cdc->reading;
	psti_captured *captured = psti_capture_of(cdc, r->oid);

	if (captured->reset != NULL)
	{
		psti_event_begin(cdc, PST_EVENT_RESET, out);
		psti_event_table(cdc, captured, out);
		out->reason = captured->reset;
		captured->reset = NULL;
		r->cleared = true;
		return PST_OK;
	}
	if (r->schema_told)
		return PST_AGAIN;
	psti_event_begin(cdc, PST_EVENT_SCHEMA, out);
	psti_event_table(cdc, captured, out);
	r->schema_told = true;
	return PST_OK;
}

pst_status
psti_reading_clear(pst_cdc *cdc, size_t part, pst_event *out)
{
	psti_place *place = psti_position_find(&cdc->at, cdc->reading.oid);

	if (!must_clear(cdc, &place->parts[part]))
		return PST_AGAIN;
	tell_clear(cdc, psti_capture_of(cdc, cdc->reading.oid), place, part, out);
	return PST_OK;
}

/* An idle reader takes up the next piece. PST_OK: an event comes first; PST_AGAIN: it is begun. */
static pst_status
begin_piece(pst_cdc *cdc, psti_reader *reader, pst_event *out, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	const psti_piece *piece = &r->pieces[r->begun];
	bool first = r->begun == 0 || r->pieces[r->begun - 1].part != piece->part;
	pst_status status = PST_OK;

	if (first && r->told != r->begun + 1 && psti_reading_clear(cdc, piece->part, out) == PST_OK)
	{
		r->told = r->begun + 1;
		return PST_OK;
	}
	if (reader->source == NULL)
	{
		const psti_subject *subject = psti_scope_subject(&cdc->scope, r->oid);

		status = open_source(cdc, (size_t) (reader - r->readers), subject, NULL, NULL, err);
	}
	if (status == PST_OK)
		status = pst_source_read(reader->source, piece->split, &reader->stream, err);
	reader->piece = r->begun++;
	return status == PST_OK ? PST_AGAIN : status;
}

/* The reader's piece has no more rows. */
static void
end_piece(pst_cdc *cdc, psti_reader *reader)
{
	psti_reading *r = &cdc->reading;
	psti_place *place = psti_position_find(&cdc->at, r->oid);
	psti_part *part = &place->parts[r->pieces[reader->piece].part];

	end_stream(reader);
	r->ended++;
	/* Of a table that is one region all pieces make it up. */
	if (place->column != NULL || r->ended == r->npieces)
	{
		part->state = PSTI_PART_READ;
		part->view = r->view;
	}
	if (r->ended < r->npieces)
		return;
	psti_place_merge(place);
	close_table(r);
	(void) PSTI_FAILPOINT("cdc.table_read");
}

/* The reader whose turn it is, among those that have something to read at once, if there are any. */
static psti_reader *
choose_reader(psti_reading *r)
{
	struct pollfd fds[PSTI_READERS_MAX] = {{.fd = -1}};
	psti_reader *chosen = NULL;

	for (size_t i = 0; i < r->nreaders; i++)
	{
		const psti_reader *reader = &r->readers[i];

		fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
		if (reader->stream.release != NULL)
			fds[i].fd = PQsocket(psti_conn_pg(reader->source->conn));
	}
	if (r->nreaders > 1)
		(void) poll(fds, (nfds_t) r->nreaders, 0);
	for (size_t i = 1; i <= r->nreaders; i++)
	{
		size_t at = (r->turn + i) % r->nreaders;
		bool ready = (fds[at].revents & POLLIN) != 0;

		if (fds[at].fd < 0 || (chosen != NULL && !ready))
			continue;
		chosen = &r->readers[at];
		if (ready)
			break;
	}
	r->turn = (size_t) (chosen - r->readers);
	return chosen;
}

/* Rows of the reader's piece. PST_AGAIN: it has no more. */
static pst_status
take_rows(pst_cdc *cdc, psti_reader *reader, pst_event *out, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_part *part = &psti_position_find(&cdc->at, r->oid)->parts[r->pieces[reader->piece].part];
	struct ArrowArray array = {0};

	do
	{
		if (array.release != NULL)
			array.release(&array);
		if (reader->stream.get_next(&reader->stream, &array) != 0)
		{
			pst_status status = pst_source_error(reader->source, err);

			return status < 0 ? status : psti_fail(err, PST_ERR_STATE, "the read has ended early");
		}
		if (array.release == NULL)
		{
			end_piece(cdc, reader);
			return PST_AGAIN;
		}
	} while (array.length == 0);
	part->state = PSTI_PART_BEGUN;
	part->view = r->view;
	psti_event_begin(cdc, PST_EVENT_ROWS, out);
	psti_event_table(cdc, psti_capture_of(cdc, r->oid), out);
	out->rows = (pst_change_batch){.struct_size = sizeof(out->rows),
								   .database = out->database,
								   .schema_name = out->schema_name,
								   .table = out->table,
								   .schema = out->schema,
								   .array = array,
								   .snapshot = true};
	r->rows += array.length;
	return PST_OK;
}

/* The next event of the table at work; PST_AGAIN: none, but it has gone on. */
static pst_status
go_on(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	size_t jobs = (size_t) psti_opt_int(cdc->options, PSTI_OPT_CDC_JOBS);
	pst_status status = psti_reading_tell(cdc, out);

	if (status != PST_AGAIN)
		return status;
	if (r->small && r->told == 0)
	{
		psti_place *place = psti_position_find(&cdc->at, r->oid);

		r->told = 1;
		if (must_clear(cdc, &place->parts[0]))
		{
			tell_clear(cdc, psti_capture_of(cdc, r->oid), place, 0, out);
			return PST_OK;
		}
	}
	if (r->nreaders < jobs && r->nreaders < r->npieces)
		r->nreaders = jobs < r->npieces ? jobs : r->npieces;
	for (size_t i = 0; i < r->nreaders && r->begun < r->npieces; i++)
	{
		if (r->readers[i].stream.release != NULL)
			continue;
		status = begin_piece(cdc, &r->readers[i], out, err);
		if (status != PST_AGAIN)
			return status;
	}
	return take_rows(cdc, choose_reader(r), out, err);
}

/* Behind the one that was tried last, and around: each is looked at about once, and a locked one waits. */
static uint32_t
next_table(pst_cdc *cdc)
{
	const psti_position *at = &cdc->at;
	size_t i = psti_oid_search(at->places, at->nplaces, sizeof(*at->places), cdc->reading.last + 1);

	for (size_t n = 0; n < at->nplaces; n++, i++)
	{
		const psti_place *place = &at->places[i % at->nplaces];

		if (psti_place_is_read(place))
			continue;
		cdc->reading.last = place->oid;
		return place->oid;
	}
	return 0;
}

pst_status
psti_reading_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	pst_status status = PST_AGAIN;

	while (status == PST_AGAIN)
	{
		uint32_t oid;

		if (r->oid != 0)
		{
			status = go_on(cdc, out, err);
			continue;
		}
		oid = next_table(cdc);
		if (oid == 0)
		{
			close_sessions(r);
			psti_ahead_free(&r->ahead);
			return PST_END;
		}
		status = psti_reading_begin(cdc, oid, timeout_ms, err);
		if (status == PST_AGAIN)
			return PST_AGAIN;
		if (status == PST_OK)
			status = PST_AGAIN;
	}
	return status;
}

void
psti_reading_end_table(pst_cdc *cdc)
{
	close_table(&cdc->reading);
}

void
psti_reading_free(pst_cdc *cdc)
{
	close_table(&cdc->reading);
	close_sessions(&cdc->reading);
	psti_ahead_free(&cdc->reading.ahead);
	free(cdc->reading.export_id);
	cdc->reading.export_id = NULL;
}
