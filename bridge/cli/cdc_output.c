/* cdc_output.c - where the events of `penstock cdc` go. See cdc_output.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdc_output.h"
#include "cdc_rows.h"
#include "memory.h"
#include "output.h"
#include "report.h"
#include "signals.h"

/* A table at its present schema. */
typedef struct cdc_table
{
	uint32_t oid;
	pst_encoder *encoder;
	bool begun; /* arrow: its stream is */
	output out; /* a file of its own; fd -1: none */
	char *path; /* its name, for messages */
	struct cdc_table *next;
} cdc_table;

struct cdc_output
{
	const cli_pairs *options;
	const char *folder;
	bool arrow;
	bool flink; /* lines are for Flink */
	bool warned_before;
	bool warned_truncate;
	bool skips_truncate;
	const char *row_kind; /* arrow: what that column is called */
	pst_encoder *plain;	  /* for events without a table */
	cdc_table *tables;
	output out;
	char *bytes; /* that wait for standard output */
	size_t nbytes;
	size_t cap;
};

static pst_status fail(pst_error *err, pst_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static pst_status
fail(pst_error *err, pst_status status, const char *fmt, ...)
{
	va_list ap;

	*err = (pst_error) PST_ERROR_INIT;
	err->status = status;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return status;
}

/* A write that failed: a closed pipe is the reader's way to say that it has enough. */
static pst_status
write_failed(const output *out, const char *path, int code, pst_error *err)
{
	if (out->closed_pipe)
	{
		signals_stop(CLI_EXIT_PIPE);
		return fail(err, PST_ERR_CANCELED, "the output was closed");
	}
	if (code == ECANCELED)
		return fail(err, PST_ERR_CANCELED, "stopped");
	if (path == NULL)
		return fail(err, PST_ERR_IO, "cannot write to standard output: %s", strerror(code));
	return fail(err, PST_ERR_IO, "cannot write \"%s\": %s", path, strerror(code));
}

/* pst_write_fn: keeps the bytes until they are flushed. */
static int
append(void *ctx, const void *data, size_t nbytes)
{
	cdc_output *to = ctx;

	if (to->cap - to->nbytes < nbytes)
	{
		size_t cap = to->cap + to->cap / 2 + nbytes;

		to->bytes = cli_realloc(to->bytes, cap);
		to->cap = cap;
	}
	memcpy(to->bytes + to->nbytes, data, nbytes);
	to->nbytes += nbytes;
	return 0;
}

/* ---- Tables ---- */

static void
forget_encoder(cdc_table *table)
{
	pst_encoder_free(table->encoder);
	table->encoder = NULL;
}

static cdc_table *
find_table(cdc_output *to, uint32_t oid)
{
	cdc_table *table = to->tables;

	while (table != NULL && table->oid != oid)
		table = table->next;
	if (table == NULL)
	{
		table = cli_alloc(sizeof(*table));
		table->oid = oid;
		table->out.fd = -1;
		table->next = to->tables;
		to->tables = table;
	}
	return table;
}

static pst_status
new_encoder(const cdc_output *to, const struct ArrowSchema *schema, pst_encoder **out,
			pst_error *err)
{
	return pst_encoder_new((const char *const *) to->options->keys,
						   (const char *const *) to->options->values, schema, out, err);
}

/* ---- Arrow streams ---- */

/* SCHEMA.TABLE.N.arrows, N being the first that is free: a file of an earlier run stays as it is. */
static pst_status
open_file(const cdc_output *to, cdc_table *table, const pst_event *event, pst_error *err)
{
	char *name = cli_format("%s.%s", event->schema_name, event->table);
	int fd = -1;

	if (name[0] == '.')
		name[0] = '_';
	for (char *at = name; *at != '\0'; at++)
		*at = *at == '/' ? '_' : *at;
	for (int n = 1; fd < 0; n++)
	{
		free(table->path);
		table->path = cli_format("%s/%s.%d.arrows", to->folder, name, n);
		fd = open(table->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0 && errno != EEXIST)
			break;
	}
	free(name);
	if (fd < 0)
		return fail(err, PST_ERR_IO, "cannot write \"%s\": %s", table->path, strerror(errno));
	table->out = (struct output){.fd = fd, .own = true};
	return PST_OK;
}

/* Where a table's stream goes. */
static void *
place_of(cdc_output *to, cdc_table *table, pst_write_fn *write)
{
	if (to->folder == NULL)
	{
		*write = append;
		return to;
	}
	*write = output_write;
	return &table->out;
}

static pst_status
end_stream(cdc_output *to, cdc_table *table, pst_error *err)
{
	pst_status status = PST_OK;
	pst_write_fn write;
	void *place = place_of(to, table, &write);

	if (table->begun)
		status = pst_encoder_end(table->encoder, write, place, err);
	table->begun = false;
	if (table->out.fd >= 0)
	{
		if (status == PST_OK && fsync(table->out.fd) != 0)
			status = write_failed(&table->out, table->path, errno, err);
		if (status < 0 && table->out.error != 0)
			status = write_failed(&table->out, table->path, table->out.error, err);
		close(table->out.fd);
		table->out.fd = -1;
	}
	return status;
}

static pst_status
begin_stream(cdc_output *to, cdc_table *table, const pst_event *event, pst_error *err)
{
	pst_write_fn write;
	void *place;
	pst_status status = PST_OK;

	if (to->folder != NULL)
		status = open_file(to, table, event, err);
	place = place_of(to, table, &write);
	if (status == PST_OK)
		status = pst_encoder_begin(table->encoder, write, place, err);
	if (status == PST_ERR_IO && table->out.error != 0)
		status = write_failed(&table->out, table->path, table->out.error, err);
	table->begun = status == PST_OK;
	return status;
}

/* One stream has one schema, and standard output one stream. */
static pst_status
check_single(const cdc_output *to, const cdc_table *mine, const pst_event *event, pst_error *err)
{
	for (const cdc_table *table = to->tables; table != NULL; table = table->next)
	{
		if (!table->begun)
			continue;
		fail(err, PST_ERR_UNSUPPORTED,
			 table == mine ? "the columns of %s.%s have changed, and an Arrow stream has one schema"
						   : "%s.%s is a further table, and standard output takes one Arrow stream",
			 event->schema_name, event->table);
		snprintf(err->hint, sizeof(err->hint),
				 "Give a folder by -o: there each table and schema has a file of its own.");
		return PST_ERR_UNSUPPORTED;
	}
	return PST_OK;
}

static pst_status
arrow_encoder(cdc_output *to, cdc_table *table, const pst_event *event, pst_error *err)
{
	struct ArrowSchema schema;
	const char *twice = NULL;
	pst_status status = PST_OK;

	if (to->folder == NULL)
		status = check_single(to, table, event, err);
	if (status == PST_OK)
		status = end_stream(to, table, err);
	forget_encoder(table);
	if (status != PST_OK)
		return status;
	if (!cdc_rows_schema(event->schema, to->row_kind, &schema, &twice))
	{
		fail(err, PST_ERR_UNSUPPORTED,
			 "table %s.%s has a column \"%s\", which is the name of one of ours",
			 event->schema_name, event->table, twice);
		if (twice == to->row_kind)
			snprintf(err->hint, sizeof(err->hint),
					 "Call ours otherwise with --with row-kind-column=NAME.");
		return PST_ERR_UNSUPPORTED;
	}
	status = new_encoder(to, &schema, &table->encoder, err);
	schema.release(&schema);
	return status;
}

static pst_status
arrow_rows(cdc_output *to, cdc_table *table, pst_event *event, pst_error *err)
{
	struct ArrowArray rows;
	pst_write_fn write;
	void *place;
	pst_status status = PST_OK;

	if (!table->begun)
		status = begin_stream(to, table, event, err);
	if (status != PST_OK)
		return status;
	place = place_of(to, table, &write);
	cdc_rows_take(&event->rows, &rows);
	status = pst_encoder_write(table->encoder, &rows, write, place, err);
	rows.release(&rows);
	if (status == PST_ERR_IO && table->out.error != 0)
		status = write_failed(&table->out, table->path, table->out.error, err);
	return status;
}

/* Rows alone can be told in Arrow. */
static pst_status
arrow_emptied(cdc_output *to, const pst_event *event, pst_error *err)
{
	bool reset = event->kind == PST_EVENT_RESET;

	if (to->skips_truncate)
		return PST_OK;
	fail(err, PST_ERR_UNSUPPORTED, "table %s.%s %s, which Arrow rows cannot tell",
		 event->schema_name, event->table, reset ? "has to be read anew" : "was truncated");
	if (reset && event->reason != NULL)
		snprintf(err->detail, sizeof(err->detail), "%s", event->reason);
	snprintf(err->hint, sizeof(err->hint),
			 "Give --with truncate=skip, if what reads the rows can replace rows by their key.");
	return PST_ERR_UNSUPPORTED;
}

/* ---- Events ---- */

/* What the reader of the lines may stumble over, said once. */
static void
warn(cdc_output *to, const pst_event *event)
{
	const pst_change_batch *rows = &event->rows;

	if (event->kind == PST_EVENT_TRUNCATE && to->skips_truncate && !to->warned_truncate)
	{
		to->warned_truncate = true;
		report_warning(
			"table %s.%s was truncated, which truncate=skip leaves out: its rows stay where "
			"the lines go",
			event->schema_name, event->table);
	}
	if (event->kind != PST_EVENT_ROWS || !to->flink || to->arrow || to->warned_before ||
		rows->row_kind == NULL)
		return;
	for (int64_t row = 0; row < rows->array.length; row++)
	{
		if (rows->row_kind[row] != PST_ROW_UPDATE_AFTER ||
			(row > 0 && rows->row_kind[row - 1] == PST_ROW_UPDATE_BEFORE))
			continue;
		to->warned_before = true;
		report_warning(
			"updates of table %s.%s come without the old row: Flink's debezium-json stops at "
			"them (ALTER TABLE %s.%s REPLICA IDENTITY FULL makes the server tell it)",
			event->schema_name, event->table, event->schema_name, event->table);
		return;
	}
}

/* The encoder of an event's table; that of no table where nothing is known of its columns. */
static pst_status
encoder_of(cdc_output *to, const pst_event *event, cdc_table **table, pst_encoder **encoder,
		   pst_error *err)
{
	pst_status status = PST_OK;

	*table = NULL;
	*encoder = to->plain;
	if (event->kind != PST_EVENT_ROWS && event->kind != PST_EVENT_SCHEMA)
		return PST_OK;
	*table = find_table(to, event->table_oid);
	if (event->kind == PST_EVENT_SCHEMA || (*table)->encoder == NULL)
	{
		if (to->arrow)
			status = arrow_encoder(to, *table, event, err);
		else
		{
			forget_encoder(*table);
			status = new_encoder(to, event->schema, &(*table)->encoder, err);
		}
	}
	*encoder = (*table)->encoder;
	return status;
}

pst_status
cdc_output_event(cdc_output *to, pst_event *event, pst_error *err)
{
	cdc_table *table;
	pst_encoder *encoder;
	pst_status status = encoder_of(to, event, &table, &encoder, err);

	if (status != PST_OK)
		return status;
	warn(to, event);
	if (!to->arrow)
		return pst_encoder_event(encoder, event, append, to, err);
	switch (event->kind)
	{
		case PST_EVENT_ROWS:
			return arrow_rows(to, table, event, err);
		case PST_EVENT_TRUNCATE:
		case PST_EVENT_RESET:
			return arrow_emptied(to, event, err);
		default:
			return PST_OK;
	}
}

size_t
cdc_output_pending(const cdc_output *to)
{
	return to->nbytes;
}

static pst_status
sync_tables(cdc_output *to, pst_error *err)
{
	for (cdc_table *table = to->tables; table != NULL; table = table->next)
		if (table->out.fd >= 0 && fdatasync(table->out.fd) != 0)
			return write_failed(&table->out, table->path, errno, err);
	return PST_OK;
}

pst_status
cdc_output_flush(cdc_output *to, bool durable, pst_error *err)
{
	int code = 0;

	if (to->nbytes > 0)
		code = output_write(&to->out, to->bytes, to->nbytes);
	if (code != 0)
		return write_failed(&to->out, NULL, code, err);
	to->nbytes = 0;
	if (!durable)
		return PST_OK;
	/* Not of a pipe or device, which have no disk of theirs. */
	if (to->out.chunk == 0 && fdatasync(to->out.fd) != 0 && errno != EINVAL && errno != EROFS)
		return write_failed(&to->out, NULL, errno, err);
	return sync_tables(to, err);
}

pst_status
cdc_output_end(cdc_output *to, pst_error *err)
{
	pst_status status = PST_OK;

	for (cdc_table *table = to->tables; table != NULL && status == PST_OK; table = table->next)
		if (to->arrow)
			status = end_stream(to, table, err);
	return status == PST_OK ? cdc_output_flush(to, true, err) : status;
}

bool
cdc_output_is_closed(const cdc_output *to)
{
	struct pollfd fd = {.fd = to->out.fd};

	return to->folder == NULL && poll(&fd, 1, 0) > 0 && (fd.revents & POLLERR) != 0;
}

static bool
is_word(const cli_pairs *options, const char *key, const char *word)
{
	const char *value = pairs_get(options, key);

	return value != NULL && strcasecmp(value, word) == 0;
}

static void
keep_schema(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

pst_status
cdc_output_open(const cli_pairs *options, bool arrow, const char *folder, cdc_output **out,
				pst_error *err)
{
	const struct ArrowSchema schema = {.format = "+s", .name = "", .release = keep_schema};
	cdc_output *to = cli_alloc(sizeof(*to));
	const char *row_kind = pairs_get(options, "row-kind-column");
	struct stat st;
	pst_status status;
	int code;

	*out = to;
	to->options = options;
	to->folder = folder;
	to->arrow = arrow;
	to->flink = !is_word(options, "json-values", "debezium");
	to->skips_truncate = is_word(options, "truncate", "skip");
	to->row_kind = row_kind != NULL ? row_kind : "row_kind";
	to->out.fd = -1;
	status = new_encoder(to, &schema, &to->plain, err);
	if (status != PST_OK)
		return status;
	if (folder != NULL && (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode)))
		return fail(err, PST_ERR_IO, "\"%s\" is no folder", folder);
	code = output_open(&to->out, NULL, NULL);
	return code == 0 ? PST_OK
					 : fail(err, PST_ERR_IO, "cannot write to standard output: %s", strerror(code));
}

void
cdc_output_close(cdc_output *to)
{
	if (to == NULL)
		return;
	while (to->tables != NULL)
	{
		cdc_table *table = to->tables;

		to->tables = table->next;
		forget_encoder(table);
		if (table->out.fd >= 0)
			close(table->out.fd);
		free(table->path);
		free(table);
	}
	pst_encoder_free(to->plain);
	output_close(&to->out, true);
	free(to->bytes);
	free(to);
}
