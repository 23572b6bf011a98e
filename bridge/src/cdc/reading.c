/*
 * reading.c - the rows of tables under snapshots, region by region.
 *
 * A table is read under the snapshot that the slot's creation has exported, as long as that can be
 * imported and the table is still what it sees; else under one of its own, for which all transactions that
 * the position has told of must have ended. Before that snapshot is taken, nothing of the table is
 * locked but by reads; after it WAL is flushed, and then only comes the first row.
 */
#include "cdc/capture.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arrow_build.h"
#include "failpoint.h"
#include "source_internal.h"
#include "split.h"

#define PARTS_MAX 1024

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
	if (subject->nkeys != 1 || subject->identity == 'n' || subject->inherited)
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

static pst_status
make_options(const pst_cdc *cdc, const psti_subject *subject, bool parts, source_options *out,
			 pst_error *err)
{
	size_t given = 0;

	memset(out, 0, sizeof(*out));
	while (cdc->keys[given] != NULL)
		given++;
	out->keys = calloc(given + 8, sizeof(*out->keys));
	out->values = calloc(given + 8, sizeof(*out->values));
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
	if (parts)
	{
		snprintf(out->parts, sizeof(out->parts), "%zu", count_parts(cdc, subject));
		add_option(out, "scan.partition.column", subject->key[0]);
		add_option(out, "scan.partition.num", out->parts);
	}
	return PST_OK;
}

static pst_status
open_source(const pst_cdc *cdc, const psti_subject *subject, bool parts, pst_source **out,
			pst_error *err)
{
	source_options options;
	pst_hooks hooks = cdc->hooks;
	pst_status status = make_options(cdc, subject, parts, &options, err);

	/* Its progress would be that of one table. */
	hooks.progress = NULL;
	if (status == PST_OK)
		status = pst_source_open(options.keys, options.values, &hooks, out, err);
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

/* What the rows become, as the stream will have them. */
static pst_status
make_version(const pst_cdc *cdc, const psti_subject *subject, const pst_source *source,
			 psti_table **out, pst_error *err)
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
	status = psti_table_new(&cdc->rules, subject->oid, subject->schema, subject->name, columns,
							source->ncolumns, out, err);
	free(columns);
	return status;
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
	free(place->parts);
	place->parts = parts;
	place->nparts = n;
	place->kind = kind;
	place->column = name;
	return PST_OK;
}

/* Cuts a table that nothing was read of into the regions that the source plans. */
static pst_status
plan_parts(pst_cdc *cdc, const psti_subject *subject, psti_place *place, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	const psti_table *version = psti_capture_of(cdc, subject->oid)->version;
	psti_split *strides = NULL;
	char **splits = NULL;
	size_t n = 0;
	psti_key_kind kind;
	const char *column = region_column(version, subject, &kind);
	pst_status status;

	if (column == NULL || r->source->partition.column == NULL || place->nparts > 1)
		return PST_OK;
	status = pst_source_plan(r->source, PARTS_MAX, &splits, &n, err);
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

/* The split of one part, in the source's moment. */
static pst_status
make_split(const psti_reading *r, const psti_place *place, size_t part, char **out, pst_error *err)
{
	const pst_source *source = r->source;
	const psti_caps *caps = psti_conn_caps(source->conn);
	psti_blocks itself = {.oid = place->oid, .first = 0, .end = -1};
	psti_split split = {.kind = PSTI_SPLIT_ALL,
						.snapshot = source->snapshot,
						.system = (char *) caps->system_identifier,
						.started = (char *) caps->postmaster_start,
						.database = (char *) caps->database,
						.schemas = source->schemas,
						.options = (char *) source->fingerprint,
						.relation = source->relation->oid};

	if (place->column != NULL)
	{
		split.kind = PSTI_SPLIT_STRIDE;
		split.column = place->column;
		split.stride.lower = place->parts[part].lower;
		split.stride.upper = part + 1 < place->nparts ? place->parts[part + 1].lower : NULL;
	}
	else if (r->only)
	{
		split.kind = PSTI_SPLIT_BLOCKS;
		itself.node = r->filenode;
		split.blocks = &itself;
		split.nblocks = 1;
	}
	return psti_split_print(&split, out, err);
}

/* ---- A table ---- */

static void
close_table(psti_reading *r)
{
	if (r->stream.release != NULL)
		r->stream.release(&r->stream);
	memset(&r->stream, 0, sizeof(r->stream));
	pst_source_close(r->source);
	r->source = NULL;
	r->oid = 0;
}

/* Whether another snapshot may help where the slot's own did not. */
static bool
has_changed_since(const pst_error *err)
{
	return err->status == PST_ERR_CONFLICT || err->status == PST_ERR_NOT_FOUND ||
		   strcmp(err->sqlstate, "55P03") == 0;
}

/* Stands at a moment of the table's own, which the stream can go on from. */
static pst_status
take_view(pst_cdc *cdc, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_waiting waiting = {cdc->conn, &cdc->hooks,
							psti_opt_int(cdc->options, PSTI_OPT_WAIT_TIMEOUT), cdc->extension};
	psti_snapshot snapshot = {0};
	uint64_t horizon = 0;
	pst_status status = PST_OK;

	if (!r->waited)
		status = psti_moment_wait(&waiting, err);
	r->waited = status == PST_OK;
	if (status == PST_OK)
		status = psti_source_begin(r->source, err);
	if (status == PST_OK)
		status = psti_moment_take(&waiting, r->source->conn, &snapshot, &horizon, err);
	if (status == PST_OK)
		status = psti_position_see(&cdc->at, &snapshot, horizon, &r->view, err);
	if (status == PST_OK && horizon > cdc->at.complete_lsn)
		cdc->at.complete_lsn = horizon;
	psti_snapshot_free(&snapshot);
	return status;
}

static pst_status
stand(pst_cdc *cdc, const psti_subject *subject, const psti_place *place, bool parts,
	  pst_error *err)
{
	psti_reading *r = &cdc->reading;
	pst_status status = PST_ERR_CONFLICT;

	r->view = PSTI_NO_VIEW;
	if (r->export_id != NULL && place->nparts == 1 && place->parts[0].state == PSTI_PART_UNREAD)
	{
		status = psti_source_adopt(r->source, r->export_id, err);
		/* Without a stream one snapshot serves all tables. */
		if (status == PST_OK || !has_changed_since(err) || cdc->startup == PSTI_STARTUP_SNAPSHOT)
			return status;
		psti_log(&cdc->hooks, PST_LOG_INFO, "%s is read under a snapshot of its own: %s",
				 subject->qualified, err->message);
		/* What it looks like now may differ from what was opened. */
		pst_source_close(r->source);
		r->source = NULL;
		status = open_source(cdc, subject, parts, &r->source, err);
		if (status != PST_OK)
			return status;
	}
	return take_view(cdc, err);
}

/* A table that is not there any more: nothing of it can be read, and nothing will be told. */
static void
let_go(pst_cdc *cdc, uint32_t oid)
{
	psti_place *place = psti_position_find(&cdc->at, oid);
	pst_error ignored;

	psti_log(&cdc->hooks, PST_LOG_WARNING,
			 "table %u was dropped, or renamed out of what is captured, before it was read", oid);
	close_table(&cdc->reading);
	if (psti_place_reset(place, &ignored) == PST_OK)
		place->gone = true;
	place->parts[0].state = PSTI_PART_READ;
}

static pst_status
begin_table(pst_cdc *cdc, uint32_t oid, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	psti_place *place = psti_position_find(&cdc->at, oid);
	psti_captured *captured = psti_capture_of(cdc, oid);
	const psti_subject *subject = NULL;
	psti_table *version = NULL;
	bool parts;
	pst_status status = captured == NULL
							? psti_fail_nomem(err)
							: psti_scope_look(&cdc->scope, cdc->conn, oid, &subject, err);

	if (status != PST_OK)
		return status;
	if (subject == NULL)
	{
		let_go(cdc, oid);
		return PST_OK;
	}
	/* A table of which parts are read already is cut as it was. */
	parts = place->nparts == 1 && subject->nkeys == 1 && !subject->inherited &&
			count_parts(cdc, subject) > 1;
	r->oid = oid;
	r->only = subject->inherited;
	r->filenode = subject->filenode;
	r->schema_told = false;
	r->cleared = false;
	r->all_cleared = false;
	status = open_source(cdc, subject, parts, &r->source, err);
	if (status == PST_ERR_NOT_FOUND)
	{
		let_go(cdc, oid);
		return PST_OK;
	}
	if (status == PST_OK)
		status = stand(cdc, subject, place, parts, err);
	if (status == PST_OK)
		status = psti_source_export(r->source, err);
	if (status == PST_OK)
		status = make_version(cdc, subject, r->source, &version, err);
	if (status != PST_OK)
		return status;
	if (captured->version == NULL || !psti_table_same(captured->version, version))
		psti_capture_version(cdc, captured, version);
	else
	{
		psti_table_free(version);
		r->schema_told = true;
	}
	status = plan_parts(cdc, subject, place, err);
	if (status == PST_OK)
		status = psti_watch_read(cdc, place, r->source, err);
	(void) PSTI_FAILPOINT("cdc.table_begun");
	return status;
}

/* ---- Parts ---- */

static size_t
next_unread(const psti_place *place)
{
	size_t i = 0;

	while (i < place->nparts && place->parts[i].state == PSTI_PART_READ)
		i++;
	return i;
}

static void
end_part(pst_cdc *cdc, psti_place *place)
{
	psti_reading *r = &cdc->reading;

	if (r->stream.release != NULL)
		r->stream.release(&r->stream);
	memset(&r->stream, 0, sizeof(r->stream));
	place->parts[r->part].state = PSTI_PART_READ;
	place->parts[r->part].view = r->view;
	r->cleared = false;
	psti_place_merge(place);
	if (psti_place_is_read(place))
		close_table(r);
	(void) PSTI_FAILPOINT("cdc.part_read");
}

/*
 * Rows of the part that the consumer may have are forgotten first. Who stores positions with the data has
 * those of a part that was begun; of others nobody knows.
 */
static bool
must_clear(const pst_cdc *cdc, const psti_part *part)
{
	if (cdc->reading.cleared || cdc->reading.all_cleared || cdc->consumer == PSTI_CONSUMER_UPSERT)
		return false;
	return part->state == PSTI_PART_BEGUN ||
		   (cdc->consumer == PSTI_CONSUMER_REPLAY && cdc->resumed);
}

static pst_status
tell_clear(pst_cdc *cdc, const psti_captured *captured, const psti_place *place, size_t part,
		   pst_event *out)
{
	if (place->column == NULL)
	{
		psti_event_begin(cdc, PST_EVENT_RESET, out);
		out->reason = "its read was interrupted, and begins anew";
	}
	else
	{
		psti_event_begin(cdc, PST_EVENT_CLEAR_RANGE, out);
		out->column = place->column;
		out->lower = place->parts[part].lower;
		out->upper = part + 1 < place->nparts ? place->parts[part + 1].lower : NULL;
	}
	psti_event_table(cdc, captured, out);
	cdc->reading.cleared = true;
	return PST_OK;
}

static pst_status
begin_part(pst_cdc *cdc, const psti_place *place, size_t part, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	char *split = NULL;
	pst_status status = make_split(r, place, part, &split, err);

	if (status == PST_OK)
		status = pst_source_read(r->source, split, &r->stream, err);
	pst_free(split);
	r->part = part;
	return status;
}

/* PST_END: the part has no more rows. */
static pst_status
take_rows(pst_cdc *cdc, psti_place *place, psti_captured *captured, pst_event *out, pst_error *err)
{
	psti_reading *r = &cdc->reading;
	struct ArrowArray array = {0};

	do
	{
		if (array.release != NULL)
			array.release(&array);
		if (r->stream.get_next(&r->stream, &array) != 0)
		{
			pst_status status = pst_source_error(r->source, err);

			return status < 0 ? status : psti_fail(err, PST_ERR_STATE, "the read has ended early");
		}
		if (array.release == NULL)
			return PST_END;
	} while (array.length == 0);
	place->parts[r->part].state = PSTI_PART_BEGUN;
	psti_event_begin(cdc, PST_EVENT_ROWS, out);
	psti_event_table(cdc, captured, out);
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
	psti_place *place = psti_position_find(&cdc->at, r->oid);
	psti_captured *captured = psti_capture_of(cdc, r->oid);
	size_t part;
	pst_status status;

	if (captured->reset != NULL)
	{
		psti_event_begin(cdc, PST_EVENT_RESET, out);
		psti_event_table(cdc, captured, out);
		out->reason = captured->reset;
		captured->reset = NULL;
		r->all_cleared = true;
		return PST_OK;
	}
	if (!r->schema_told)
	{
		psti_event_begin(cdc, PST_EVENT_SCHEMA, out);
		psti_event_table(cdc, captured, out);
		r->schema_told = true;
		return PST_OK;
	}
	if (r->stream.release != NULL)
	{
		status = take_rows(cdc, place, captured, out, err);
		if (status != PST_END)
			return status;
		end_part(cdc, place);
		return PST_AGAIN;
	}
	part = next_unread(place);
	if (must_clear(cdc, &place->parts[part]))
		return tell_clear(cdc, captured, place, part, out);
	status = begin_part(cdc, place, part, err);
	return status == PST_OK ? PST_AGAIN : status;
}

static uint32_t
next_table(const pst_cdc *cdc)
{
	for (size_t i = 0; i < cdc->at.nplaces; i++)
		if (!psti_place_is_read(&cdc->at.places[i]))
			return cdc->at.places[i].oid;
	return 0;
}

pst_status
psti_reading_next(pst_cdc *cdc, pst_event *out, pst_error *err)
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
			return PST_END;
		status = begin_table(cdc, oid, err);
		if (status == PST_OK)
			status = PST_AGAIN;
	}
	return status;
}

void
psti_reading_free(pst_cdc *cdc)
{
	close_table(&cdc->reading);
	free(cdc->reading.export_id);
	cdc->reading.export_id = NULL;
}
