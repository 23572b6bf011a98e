/* cmd_write.c - penstock write: csv, json or arrow into a table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "answer.h"
#include "create.h"
#include "input.h"
#include "memory.h"
#include "progress.h"
#include "report.h"
#include "scan.h"
#include "signals.h"

typedef struct writing
{
	const cli_args *args;
	cli_db *db;
	cli_pairs options; /* of decoder and sink */
	const char *table;
	char *name;	 /* of the target for the catalog; owned */
	char *shown; /* the target, as the server calls it where that is known; owned */
	bool arrow;
	char *describe; /* of the target, where it is there before; NULL for arrow */
	input in;
	pst_decoder *decoder;
	struct ArrowSchema schema;
	pst_sink *sink;
	cli_meter meter;
	uint32_t made; /* OID of the target when this command has made it, else 0 */
	bool decoding; /* inside the decoder, whose errors say themselves where they are */
} writing;

/* The target as it is, for the decoder of csv and json. With --create it may be absent. */
static pst_status
describe_target(writing *w, pst_catalog *catalog, pst_error *err)
{
	pst_status status = pst_catalog_describe(catalog, w->name, &w->describe, err);

	if (status == PST_ERR_NOT_FOUND && cli_given(w->args, CLI_CREATE))
		return PST_OK;
	if (status == PST_ERR_NOT_FOUND)
		create_hint(err);
	if (status == PST_OK)
	{
		free(w->shown);
		w->shown = create_shown_name(w->describe, w->table);
	}
	return status;
}

/* What a csv header that names no column of the target may be instead: the first that fits. */
static const struct
{
	const char *begins; /* or NULL */
	const char *has;	/* one of these, or NULL */
	const char *hint;
} mistaken[] = {
	{"{", NULL, "It looks like json: give --format json."},
	{"ARROW1", NULL, "It looks like an Arrow file; --format arrow takes the Arrow IPC stream."},
	{"PAR1", NULL, "It looks like Parquet, which pyarrow turns into a stream for --format arrow."},
	{NULL, ";", "If semicolons stand between the fields, give --delimiter ';'."},
	{NULL, "\t", "If tabs stand between the fields, give --delimiter '\\t'."},
	{NULL, "|", "If bars stand between the fields, give --delimiter '|'."},
	{NULL, "0123456789", "If the first record is data already, give --no-header."},
};

static void
hint_at_format(const writing *w, pst_error *err)
{
	const char *name = err->column;

	if (strcasecmp(pairs_get(&w->options, "format"), "csv") != 0 || name[0] == '\0')
		return;
	for (size_t i = 0; i < sizeof(mistaken) / sizeof(mistaken[0]); i++)
	{
		const char *begins = mistaken[i].begins;
		const char *has = mistaken[i].has;
		/* A digit is one of many letters of a name; all of them are no name. */
		bool fits = begins != NULL	 ? strncmp(name, begins, strlen(begins)) == 0
					: has[1] != '\0' ? strspn(name, has) == strlen(name)
									 : strchr(name, has[0]) != NULL;

		if (!fits)
			continue;
		snprintf(err->hint, sizeof(err->hint), "%s", mistaken[i].hint);
		return;
	}
}

/* The schema of what comes in, waiting for it as long as it takes. */
static pst_status
read_schema(writing *w, pst_error *err)
{
	pst_status status;

	while ((status = pst_decoder_schema(w->decoder, &w->schema, err)) == PST_AGAIN)
		input_wait(&w->in, -1);
	if (status == PST_ERR_NOT_FOUND)
		hint_at_format(w, err);
	return status;
}

/* Of text formats the input's rows tell the columns: without any there is no table to make. */
static pst_status
check_columns(const writing *w, pst_error *err)
{
	if (w->arrow || w->schema.n_children > 0)
		return PST_OK;
	scan_fail(err, PST_ERR_DATA, "%s is not there, and the input tells no columns to make it with",
			  w->shown);
	snprintf(err->hint, sizeof(err->hint),
			 "Make the table first; an empty input is then no error.");
	return err->status;
}

static pst_status
create_target(writing *w, pst_catalog *catalog, pst_error *err)
{
	char **key = create_key(pairs_get(&w->options, "sink.key"));
	pst_status status = check_columns(w, err);

	if (status == PST_OK)
		status = create_table(catalog, w->name, &w->schema, key, &w->made, &w->shown, err);
	create_key_free(key);
	if (w->made != 0 && !w->arrow)
		report_warning("%s was made with columns of type text, since %s does not tell types",
					   w->shown, pairs_get(&w->options, "format"));
	return status;
}

static pst_status
open_decoder(writing *w, pst_error *err)
{
	pst_catalog *catalog = NULL;
	cli_meter meter;
	pst_status status = PST_OK;

	if (!w->arrow || cli_given(w->args, CLI_CREATE))
		status = session_catalog(w->db, &meter, &catalog, err);
	if (status == PST_OK && !w->arrow)
		status = describe_target(w, catalog, err);
	if (status == PST_OK)
		status = pst_decoder_new((const char *const *) w->options.keys,
								 (const char *const *) w->options.values, w->describe, input_read,
								 &w->in, &w->decoder, err);
	if (status == PST_OK)
		status = read_schema(w, err);
	/* An existing target of csv or json needs no check: the decoder has found every column. */
	if (status == PST_OK && cli_given(w->args, CLI_CREATE) && w->describe == NULL)
		status = create_target(w, catalog, err);
	pst_catalog_close(catalog);
	return status;
}

static pst_status
open_sink(writing *w, pst_error *err)
{
	pst_hooks hooks = db_hooks(w->db, &w->meter);

	hooks.progress = NULL; /* the input's bytes are counted, against the file's size */
	return pst_sink_open((const char *const *) w->options.keys,
						 (const char *const *) w->options.values, &w->schema, &hooks, &w->sink,
						 err);
}

static pst_sink_stats
statistics(const pst_sink *sink)
{
	pst_sink_stats stats = {.struct_size = sizeof(stats)};

	if (sink != NULL)
		pst_sink_get_stats(sink, &stats);
	return stats;
}

static void
announce(const writing *w)
{
	progress_plan plan = {.verb = "writing",
						  .done_verb = "wrote",
						  .what = w->shown,
						  .transport = "plain", /* the sink has one transport for all servers */
						  .mode = statistics(w->sink).mode,
						  .jobs = 1,
						  .rows_total = -1,
						  .bytes_total = input_size(&w->in)};

	progress_announce(&plan);
}

/* Nothing to do but wait: for input, or until buffered rows are due. */
static pst_status
idle(writing *w, pst_error *err)
{
	input_wait(&w->in, pst_sink_due_ms(w->sink));
	if (signals_stopping())
		return scan_fail(err, PST_ERR_CANCELED, "stopped");
	return pst_sink_poll(w->sink, err);
}

/* Waits for the rate's sake, and flushes meanwhile what falls due. */
static pst_status
keep_rate(writing *w, int64_t nrows, pst_error *err)
{
	if (throttle(nrows))
		return scan_fail(err, PST_ERR_CANCELED, "stopped");
	return pst_sink_poll(w->sink, err);
}

/*
 * Some rows of a batch: an array of the same memory, which the batch alone releases. unchanged is
 * moved on by whole bytes, so slices begin at multiples of eight rows.
 */
static pst_status
write_slice(writing *w, const struct ArrowArray *batch, const int8_t *row_kind,
			const uint8_t *const *unchanged, int64_t at, int64_t nrows, pst_error *err)
{
	const uint8_t **moved = NULL;
	pst_change_batch changes = {.struct_size = sizeof(changes),
								.schema = &w->schema,
								.array = *batch,
								.row_kind = row_kind != NULL ? row_kind + at : NULL};
	pst_status status;

	changes.array.offset += at;
	changes.array.length = nrows;
	changes.array.null_count = -1;
	if (unchanged != NULL)
	{
		moved = cli_alloc((size_t) w->schema.n_children * sizeof(*moved));
		for (int64_t i = 0; i < w->schema.n_children; i++)
			moved[i] = unchanged[i] != NULL ? unchanged[i] + at / 8 : NULL;
		changes.unchanged = moved;
	}
	status = pst_sink_write_changes(w->sink, &changes, err);
	free(moved);
	return status;
}

/* A batch, in slices of about a tenth of a second where there is a rate to keep. */
static pst_status
write_batch(writing *w, const struct ArrowArray *batch, const int8_t *row_kind, pst_error *err)
{
	const uint8_t *const *unchanged = pst_decoder_unchanged(w->decoder);
	int64_t rate = cli_number(w->args, CLI_MAX_RATE, 0);
	int64_t slice = rate == 0 ? batch->length : rate < 80 ? 8 : rate / 80 * 8;
	pst_status status = PST_OK;

	for (int64_t at = 0; at < batch->length && status == PST_OK; at += slice)
	{
		int64_t left = batch->length - at;
		int64_t nrows = left < slice ? left : slice;

		if (rate > 0)
			status = keep_rate(w, nrows, err);
		if (status == PST_OK)
			status = write_slice(w, batch, row_kind, unchanged, at, nrows, err);
		if (status == PST_OK)
			progress_add(nrows, 0);
	}
	return status;
}

static pst_status
write_rows(writing *w, pst_error *err)
{
	pst_status status = PST_OK;

	while (status >= 0)
	{
		struct ArrowArray batch = {0};
		const int8_t *row_kind = NULL;

		w->decoding = true;
		status = pst_decoder_next(w->decoder, &batch, &row_kind, err);
		w->decoding = status < 0;
		if (status == PST_END)
			return pst_sink_flush(w->sink, err);
		if (status == PST_AGAIN)
			status = idle(w, err);
		else if (status == PST_OK)
			status = write_batch(w, &batch, row_kind, err);
		if (batch.release != NULL)
			batch.release(&batch);
	}
	return status;
}

/* Nothing that is still buffered is sent after a failure. */
static pst_status
close_sink(writing *w, pst_status status, pst_error *err)
{
	pst_error ignored = PST_ERROR_INIT;

	if (status >= 0)
		return pst_sink_close(w->sink, err);
	pst_sink_discard(w->sink, NULL);
	pst_sink_close(w->sink, &ignored);
	return status;
}

/* What the options say together. */
static void
complete_options(writing *w)
{
	const char *mode = pairs_get(&w->options, "sink.mode");

	pairs_add(&w->options, "table-name", w->table);
	if (pairs_get(&w->options, "format") == NULL)
		pairs_add(&w->options, "format", "csv");
	w->arrow = strcasecmp(pairs_get(&w->options, "format"), "arrow") == 0;
	if (mode != NULL && strcmp(mode, "changelog") == 0 &&
		pairs_get(&w->options, "row-kind-column") == NULL)
		pairs_add(&w->options, "row-kind-column", "row_kind");
}

static pst_status
write_all(writing *w, pst_error *err)
{
	const char *path = w->args->noperands > 2 ? w->args->operands[2] : NULL;
	int code = input_open(&w->in, path);
	pst_status status;

	if (code != 0)
	{
		scan_fail(err, PST_ERR_IO, "cannot read \"%s\": %s", path != NULL ? path : "-",
				  strerror(code));
		if (access(w->table, R_OK) == 0)
			snprintf(err->hint, sizeof(err->hint), "The file \"%s\" comes after the TABLE.",
					 w->table);
		return err->status;
	}
	status = open_decoder(w, err);
	if (status == PST_OK)
		status = open_sink(w, err);
	if (status == PST_OK)
	{
		announce(w);
		status = write_rows(w, err);
	}
	if (status < 0 && signals_stopping())
		status = scan_fail(err, PST_ERR_CANCELED, "stopped");
	return status;
}

static int
finish(writing *w, pst_status status, pst_error *err)
{
	pst_sink_stats stats = statistics(w->sink);
	create_rest rest = {0};
	int exit_code = CLI_EXIT_OK;

	status = close_sink(w, status, err);
	progress_skipped(stats.rows_skipped);
	progress_finish(status >= 0);
	if (status < 0)
	{
		report_error(err, w->decoding || err->row < 0 ? 0 : err->row + 1);
		exit_code = report_exit_code(status);
		create_rest_add(&rest, &stats);
		create_report_rest(w->db, w->shown, w->made, &rest);
	}
	if (stats.rows_skipped > 0)
		report_skipped(stats.rows_skipped);
	return exit_code;
}

static int
run(const cli_args *args)
{
	pst_error err = PST_ERROR_INIT;
	cli_session session;
	writing w = {.args = args, .table = args->operands[1], .decoding = true};
	int exit_code = cli_check_csv(args);

	if (exit_code >= 0)
		return exit_code;
	exit_code = session_begin(&session, args, args->operands[0], NULL);

	if (exit_code < 0)
	{
		throttle_set(cli_number(args, CLI_MAX_RATE, 0));
		w.db = &session.db[0];
		pairs_copy(&w.options, &session.db[0].options);
		complete_options(&w);
		w.name = db_table(w.db, w.table);
		w.shown = cli_strdup(w.table);
		exit_code = finish(&w, write_all(&w, &err), &err);
		pst_decoder_free(w.decoder);
		scan_release_schema(&w.schema);
		pst_free(w.describe);
		free(w.name);
		free(w.shown);
		pairs_free(&w.options);
		input_close(&w.in);
	}
	session_end(&session, exit_code == CLI_EXIT_OK);
	return exit_code;
}

static const cli_option options[] = {
	{CLI_MODE, 0, "mode", CLI_WORD, "MODE", "upsert|append|delete|changelog",
	 "What rows do: upsert (default where the target has a primary key), append (default else), "
	 "delete by key, or changelog: by the column row_kind",
	 "sink.mode"},
	{CLI_CREATE, 0, "create", CLI_FLAG, NULL, NULL,
	 "Make the table when it is not there: arrow by its types, csv and json with columns of type "
	 "text; --with sink.key=a,b makes that the primary key. It is dropped again when the command "
	 "fails before a row is committed",
	 NULL},
	{CLI_ROW_KIND_COLUMN, 0, "row-kind-column", CLI_TEXT, "COLUMN", NULL,
	 "Column of the input that holds +I, -U, +U or -D and is not written; row_kind with --mode "
	 "changelog",
	 "row-kind-column"},
	{CLI_MAX_RATE, 0, "max-rate", CLI_POSITIVE, "ROWS", NULL, "At most this many rows a second",
	 NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {
	"DB TABLE [FILE|-] [--format csv|json|arrow]\n"
	"                      [--mode upsert|append|delete|changelog] [--create]",
	NULL,
};
static const char *const operands[] = {"DB", "TABLE", "FILE", NULL};
static const cli_option *const groups[] = {options,		   cli_format_options, cli_csv_options,
										   cli_db_options, cli_run_options,	   NULL};

const cli_command cmd_write = {
	.name = "write",
	.summary = "write csv, json or arrow into a table",
	.synopsis = synopsis,
	.description =
		"Writes the rows of FILE, or of standard input, into a table. Columns are found by name: "
		"an unknown one is an error, a missing one keeps its default or present value. Rows are "
		"flushed by number, size and time; each flush is one transaction. When a row is refused it "
		"is named, what was flushed before stays, and nothing is half applied.",
	.min_operands = 2,
	.max_operands = 3,
	.operands = operands,
	.groups = groups,
	.run = run,
};
