/*
 * region_reader.c - the rows of a region that a capture has planned, in any process.
 *
 * A region's text has all that the capture knows of its rows, but not how the server is reached. The source
 * of one table is kept for the next region of it. What makes a read fail is looked into: a snapshot that is
 * gone means that the plan is over, whatever the server said first.
 */
#include <stdlib.h>

#include "arrow_build.h"
#include "cdc/capture.h"
#include "cdc/region_split.h"
#include "source_internal.h"
#include "split.h"

typedef enum reader_state
{
	READER_IDLE, /* nothing was begun */
	READER_READS,
	READER_ENDED, /* all rows of the region were told */
	READER_FAILED /* the read has; the reader can begin another */
} reader_state;

struct pst_cdc_reader
{
	pst_hooks hooks;
	psti_options *options; /* as they were given, checked */
	char **keys;		   /* of them those of connections and batches; owned */
	char **values;
	size_t n;

	psti_region_split region; /* that is read, or was read last */
	pst_source *source;		  /* of its table; NULL: none yet, or it has failed */
	psti_table *version;
	bool told;						/* the version */
	struct ArrowArrayStream stream; /* released: nothing is read */
	reader_state state;
};

/* ---- Opening ---- */

/* Whether a source is to have it as it was given: what shapes rows is told by the region. */
static bool
is_ours(const char *key)
{
	static const unsigned both = PSTI_CDC | PSTI_SOURCE;
	psti_opt opt;

	if ((psti_opt_handles(key, &opt) & both) != both)
		return false;
	return opt != PSTI_OPT_TABLE && opt != PSTI_OPT_SCHEMA && opt != PSTI_OPT_TRANSPORT &&
		   opt != PSTI_OPT_VALUES && opt != PSTI_OPT_SPECIAL_VALUES && opt != PSTI_OPT_TEXT_COLUMNS;
}

static pst_status
copy_options(pst_cdc_reader *reader, const char *const *keys, const char *const *values,
			 pst_error *err)
{
	size_t given = 0;

	while (keys[given] != NULL)
		given++;
	reader->keys = calloc(given + 1, sizeof(*reader->keys));
	reader->values = calloc(given + 1, sizeof(*reader->values));
	if (reader->keys == NULL || reader->values == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < given; i++)
	{
		if (values[i] == NULL || !is_ours(keys[i]))
			continue;
		reader->keys[reader->n] = strdup(keys[i]);
		reader->values[reader->n] = strdup(values[i]);
		if (reader->keys[reader->n] == NULL || reader->values[reader->n] == NULL)
		{
			free(reader->keys[reader->n]);
			free(reader->values[reader->n]);
			return psti_fail_nomem(err);
		}
		reader->n++;
	}
	return PST_OK;
}

pst_status
pst_cdc_reader_open(const char *const *keys, const char *const *values, const pst_hooks *hooks,
					pst_cdc_reader **out, pst_error *err)
{
	pst_error full;
	pst_cdc_reader *reader;
	pst_status status;

	psti_enter(&full);
	*out = NULL;
	reader = calloc(1, sizeof(*reader));
	if (reader == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	status = psti_hooks_copy(hooks, &reader->hooks, &full);
	if (status == PST_OK)
		status = psti_options_new(keys, values, PSTI_CDC, &reader->hooks, &reader->options, &full);
	if (status == PST_OK)
		status = copy_options(reader, keys, values, &full);
	/* Its progress would be that of one region. */
	reader->hooks.progress = NULL;
	if (status == PST_OK)
		*out = reader;
	else
		pst_cdc_reader_close(reader);
	return psti_leave(err, &full, status);
}

static void
end_stream(pst_cdc_reader *reader)
{
	if (reader->stream.release != NULL)
		reader->stream.release(&reader->stream);
	memset(&reader->stream, 0, sizeof(reader->stream));
}

static void
close_source(pst_cdc_reader *reader)
{
	end_stream(reader);
	pst_source_close(reader->source);
	reader->source = NULL;
}

void
pst_cdc_reader_close(pst_cdc_reader *reader)
{
	if (reader == NULL)
		return;
	close_source(reader);
	psti_table_free(reader->version);
	psti_region_split_free(&reader->region);
	for (size_t i = 0; i < reader->n; i++)
	{
		free(reader->keys[i]);
		free(reader->values[i]);
	}
	free(reader->keys);
	free(reader->values);
	psti_options_free(reader->options);
	psti_hooks_free(&reader->hooks);
	free(reader);
}

/* ---- The source of the region's table ---- */

#define SHAPING 7

/* The options of the reader, then those of the region. */
static pst_status
open_with(pst_cdc_reader *reader, const char *columns, const char **keys, const char **values,
		  pst_error *err)
{
	const psti_region_split *region = &reader->region;
	const char *const shaping[SHAPING][2] = {
		{"table-name", region->table},
		{"schema-name", region->schema},
		{"read.columns", columns},
		{"read.values", region->values},
		{"special-values", region->special_values},
		{"read.text-columns", region->text_columns},
		{"transport", region->assisted ? "assisted" : "plain"}};
	size_t n = reader->n;

	for (size_t i = 0; i < n; i++)
	{
		keys[i] = reader->keys[i];
		values[i] = reader->values[i];
	}
	for (size_t i = 0; i < SHAPING; i++)
	{
		if (shaping[i][1] == NULL)
			continue;
		keys[n] = shaping[i][0];
		values[n++] = shaping[i][1];
	}
	return pst_source_open(keys, values, &reader->hooks, &reader->source, err);
}

static pst_status
open_source(pst_cdc_reader *reader, pst_error *err)
{
	const char **keys = calloc(reader->n + SHAPING + 1, sizeof(*keys));
	const char **values = calloc(reader->n + SHAPING + 1, sizeof(*values));
	psti_buf columns = PSTI_BUF_INIT;
	pst_status status = PST_OK;

	for (size_t i = 0; i < reader->region.ncolumns; i++)
	{
		psti_buf_puts(&columns, i > 0 ? "," : "");
		psti_buf_ident(&columns, reader->region.columns[i]);
	}
	if (keys == NULL || values == NULL || columns.failed)
		status = psti_fail_nomem(err);
	if (status == PST_OK)
		status = open_with(reader, columns.data, keys, values, err);
	free(keys);
	free(values);
	psti_buf_free(&columns);
	return status;
}

/* ---- A region ---- */

static pst_status
make_version(pst_cdc_reader *reader, pst_error *err)
{
	const psti_region_split *region = &reader->region;
	/* As the stream's: in which form the server sends a column makes no difference to it. */
	psti_column_rules rules = reader->source->rules;
	psti_subject subject = {.oid = region->oid,
							.schema = region->schema,
							.name = region->table,
							.key = region->key,
							.nkeys = region->nkeys};

	rules.assisted = false;
	psti_table_free(reader->version);
	reader->version = NULL;
	reader->told = false;
	return psti_reading_version(&rules, &subject, reader->source, &reader->version, err);
}

static pst_status
begin(pst_cdc_reader *reader, const psti_split *split, pst_error *err)
{
	pst_status status = reader->source == NULL ? open_source(reader, err) : PST_OK;

	if (status == PST_OK)
		status = psti_source_join(reader->source, split, err);
	if (status == PST_OK)
		status = make_version(reader, err);
	if (status == PST_OK)
		status = pst_source_read(reader->source, reader->region.read, &reader->stream, err);
	if (status != PST_OK)
		close_source(reader);
	return status;
}

/* Whether the server has the snapshot no more; what else goes wrong is not told here. */
static bool
is_gone(const pst_cdc_reader *reader, const psti_split *split)
{
	psti_conn *conn = NULL;
	psti_buf sql = PSTI_BUF_INIT;
	pst_error err;
	bool gone = false;

	psti_enter(&err);
	psti_buf_puts(&sql,
				  "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ");
	psti_buf_literal(&sql, split->snapshot);
	if (!sql.failed && psti_conn_open(reader->options, NULL, &reader->hooks, &conn, &err) == PST_OK)
	{
		const psti_caps *caps = psti_conn_caps(conn);

		gone = strcmp(caps->system_identifier, split->system) == 0 &&
			   strcmp(caps->database, split->database) == 0 &&
			   (strcmp(caps->postmaster_start, split->started) != 0 ||
				(psti_conn_exec(conn, "looking for the snapshot", sql.data, NULL, &err) < 0 &&
				 (strcmp(err.sqlstate, "22023") == 0 || strcmp(err.sqlstate, "42704") == 0)));
	}
	psti_conn_close(conn);
	psti_buf_free(&sql);
	return gone;
}

/* Whether a read that has failed so may have found something else than was planned. */
static bool
is_in_doubt(pst_status status)
{
	return status == PST_ERR_STATE || status == PST_ERR_NOT_FOUND || status == PST_ERR_INVALID ||
		   status == PST_ERR_CONFLICT;
}

/* Of the source's hint nothing is left: the handle that planned gives no rows here. */
static void
explain_lock(const pst_cdc_reader *reader, pst_error *err)
{
	psti_error_hint(
		err,
		"Let a reader that has begun with the table read the split; where there is none, close "
		"the capture and open it again at its position, so that the session has its turn.");
	PSTI_ERROR_SET(err, schema, reader->region.schema);
	PSTI_ERROR_SET(err, table, reader->region.table);
}

static pst_status
explain(const pst_cdc_reader *reader, const psti_split *split, pst_error *err)
{
	char why[sizeof(err->message)];

	if (strcmp(err->sqlstate, "55P03") == 0)
		explain_lock(reader, err);
	if (!is_in_doubt(err->status) || !is_gone(reader, split))
		return err->status;
	psti_error_copy(why, sizeof(why), err->message);
	psti_region_split_over(&reader->region, err);
	psti_error_detail(err, "The snapshot of the plan is gone: %s.", why);
	return err->status;
}

/* The source of the region before is good for this one, if nothing of its table has changed since. */
static pst_status
take_up(pst_cdc_reader *reader, psti_region_split *region, const psti_split *split, pst_error *err)
{
	bool kept = reader->source != NULL && psti_region_split_alike(&reader->region, region);
	pst_status status;

	if (!kept)
		close_source(reader);
	psti_region_split_free(&reader->region);
	reader->region = *region;
	memset(region, 0, sizeof(*region));
	status = begin(reader, split, err);
	if (status < 0 && kept && status != PST_ERR_CANCELED)
		status = begin(reader, split, err);
	return status < 0 ? explain(reader, split, err) : status;
}

pst_status
pst_cdc_reader_read(pst_cdc_reader *reader, const char *split, pst_error *err)
{
	psti_region_split region = {0};
	psti_split read = {0};
	pst_error full;
	pst_status status;

	psti_enter(&full);
	end_stream(reader);
	reader->state = READER_IDLE;
	if (split == NULL)
	{
		if (reader->source != NULL)
			psti_source_end(reader->source);
		return psti_leave(err, &full, PST_OK);
	}
	status = psti_region_split_parse(split, &region, &full);
	if (status == PST_OK)
		status = psti_region_split_read(&region, &read, &full);
	if (status == PST_OK)
		status = take_up(reader, &region, &read, &full);
	reader->state = status < 0 ? READER_FAILED : READER_READS;
	psti_split_free(&read);
	psti_region_split_free(&region);
	return psti_leave(err, &full, status);
}

/* ---- Events ---- */

static void
begin_event(const pst_cdc_reader *reader, pst_event_kind kind, pst_event *out)
{
	*out = (pst_event){.struct_size = sizeof(*out),
					   .kind = kind,
					   .database = reader->region.database,
					   .schema_name = reader->version->schema,
					   .table = reader->version->name,
					   .table_oid = reader->region.oid,
					   .schema = &reader->version->arrow,
					   .key = reader->version->key};
}

static pst_status
take_rows(pst_cdc_reader *reader, struct ArrowArray *array, pst_error *err)
{
	pst_status status;

	do
	{
		psti_array_release(array);
		if (reader->stream.get_next(&reader->stream, array) != 0)
		{
			status = pst_source_error(reader->source, err);
			return status < 0 ? status : psti_fail(err, PST_ERR_STATE, "the read has ended early");
		}
		if (array->release == NULL)
		{
			end_stream(reader);
			reader->state = READER_ENDED;
			return PST_END;
		}
	} while (array->length == 0);
	return PST_OK;
}

/* Whether a region is being read. PST_END: it was, to its end. */
static pst_status
check_state(const pst_cdc_reader *reader, pst_error *err)
{
	switch (reader->state)
	{
		case READER_READS:
			return PST_OK;
		case READER_ENDED:
			return PST_END;
		case READER_FAILED:
			psti_fail(err, PST_ERR_STATE, "the read of the region has failed");
			psti_error_hint(err, "Read it anew, from its beginning.");
			return PST_ERR_STATE;
		case READER_IDLE:
			break;
	}
	psti_fail(err, PST_ERR_STATE, "no region is being read");
	psti_error_hint(err, "Begin with one by pst_cdc_reader_read.");
	return PST_ERR_STATE;
}

static pst_status
next_event(pst_cdc_reader *reader, pst_event *out, pst_error *err)
{
	struct ArrowArray array = {0};
	pst_status status;

	if (!reader->told)
	{
		begin_event(reader, PST_EVENT_SCHEMA, out);
		reader->told = true;
		return PST_OK;
	}
	status = take_rows(reader, &array, err);
	if (status != PST_OK)
		return status;
	begin_event(reader, PST_EVENT_ROWS, out);
	out->rows = (pst_change_batch){.struct_size = sizeof(out->rows),
								   .database = out->database,
								   .schema_name = out->schema_name,
								   .table = out->table,
								   .schema = out->schema,
								   .array = array,
								   .snapshot = true};
	return PST_OK;
}

pst_status
pst_cdc_reader_next(pst_cdc_reader *reader, pst_event *out, pst_error *err)
{
	pst_event event = {.struct_size = sizeof(event)};
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = psti_event_empty(out, &full);
	if (status == PST_OK)
		status = check_state(reader, &full);
	if (status != PST_OK)
		return psti_leave(err, &full, status);
	status = next_event(reader, &event, &full);
	if (status < 0)
	{
		close_source(reader);
		reader->state = READER_FAILED;
	}
	if (status == PST_OK)
		psti_event_move(&event, out);
	return psti_leave(err, &full, status);
}
