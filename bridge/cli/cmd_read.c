/* cmd_read.c - penstock read: a table or query as csv, json or arrow. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory.h"
#include "names.h"
#include "output.h"
#include "progress.h"
#include "report.h"
#include "scan.h"
#include "signals.h"

/* What all workers share. */
typedef struct reading
{
	const cli_pairs *options; /* of source and encoder */
	output out;
	const char *path;	  /* of -o, NULL: standard output */
	pthread_mutex_t lock; /* one batch at a time goes out whole */
} reading;

/* The bytes of one batch. */
static int
write_whole(void *ctx, const void *data, size_t nbytes)
{
	reading *shared = ctx;
	int code;

	progress_pause();
	pthread_mutex_lock(&shared->lock);
	progress_resume();
	code = output_write(&shared->out, data, nbytes);
	pthread_mutex_unlock(&shared->lock);
	return code;
}

/* A failed write: a closed pipe is the reader's way to say that it has enough. */
static pst_status
write_failed(reading *shared, int code, pst_error *err)
{
	if (shared->out.closed_pipe)
	{
		signals_stop(CLI_EXIT_PIPE);
		return scan_fail(err, PST_ERR_CANCELED, "the output was closed");
	}
	if (code == ECANCELED)
		return scan_fail(err, PST_ERR_CANCELED, "stopped");
	if (shared->path == NULL)
		return scan_fail(err, PST_ERR_IO, "cannot write to standard output: %s", strerror(code));
	return scan_fail(err, PST_ERR_IO, "cannot write \"%s\": %s", shared->path, strerror(code));
}

/* The encoder's own words on a failed write are its callback's: say what that was. */
static pst_status
encoder_failed(reading *shared, pst_status status, pst_error *err)
{
	if (shared->out.closed_pipe)
		return write_failed(shared, EPIPE, err);
	if (status == PST_ERR_IO && signals_stopping())
		return write_failed(shared, ECANCELED, err);
	if (status == PST_ERR_IO && shared->out.error != 0)
		return write_failed(shared, shared->out.error, err);
	return status;
}

static pst_status
begin(scan_worker *worker, pst_error *err)
{
	const reading *shared = worker->scan->ctx;
	pst_encoder *encoder;
	pst_status status = pst_encoder_new((const char *const *) shared->options->keys,
										(const char *const *) shared->options->values,
										&worker->schema, &encoder, err);

	worker->data = encoder; /* NULL on failure */
	return status;
}

static pst_status
batch(scan_worker *worker, struct ArrowArray *rows, pst_error *err)
{
	reading *shared = worker->scan->ctx;
	pst_status status = pst_encoder_write(worker->data, rows, write_whole, shared, err);

	return status != PST_OK ? encoder_failed(shared, status, err) : PST_OK;
}

static pst_status
end(scan_worker *worker, bool ok, pst_error *err)
{
	(void) ok;
	(void) err;
	pst_encoder_free(worker->data);
	return PST_OK;
}

static const scan_ops ops = {begin, NULL, batch, end};

/* Header or schema first, end marker last: by an encoder that writes no rows. */
static pst_status
write_rows(scan *s, reading *shared, pst_encoder *encoder, pst_error *err)
{
	pst_status status = pst_encoder_begin(encoder, output_write, &shared->out, err);

	if (status == PST_OK)
		status = scan_run(s, &ops, shared, err);
	if (status == PST_OK)
		status = pst_encoder_end(encoder, output_write, &shared->out, err);
	return status < 0 ? encoder_failed(shared, status, err) : PST_OK;
}

/* csv and json carry every value as its text, which is the server's affair. */
static void
complete_options(cli_pairs *options, const cli_args *args)
{
	const char *format = pairs_get(options, "format");

	if (args->noperands > 1)
		pairs_add(options, "table-name", args->operands[1]);
	if (format == NULL)
		pairs_add(options, "format", "csv");
	if (pairs_get(options, "read.values") == NULL)
		pairs_add(options, "read.values", format == NULL ? "csv" : format);
}

static void
announce(const scan *s, const cli_args *args)
{
	progress_plan plan = {.verb = "reading",
						  .done_verb = "read",
						  .what = args->noperands > 1 ? args->operands[1] : "a query",
						  .transport = pst_source_transport(s->source),
						  .jobs = s->jobs,
						  .rows_total = s->rows_total,
						  .bytes_total = -1,
						  .splits_total = (int) s->nsplits};

	progress_announce(&plan);
}

/* The name of a file in a folder: the table's and the format's. */
static char *
file_name(const cli_args *args, const cli_pairs *options)
{
	const char *format = pairs_get(options, "format");
	char *table = args->noperands > 1 ? names_plain(args->operands[1]) : cli_strdup("query");
	char *name = cli_format("%s.%s", table, strcasecmp(format, "arrow") == 0 ? "arrows" : format);

	free(table);
	return name;
}

static pst_status
read_to(scan *s, const cli_pairs *options, const cli_args *args, pst_encoder *encoder,
		pst_error *err)
{
	const char *path = args->value[CLI_OUTPUT];
	reading shared = {.options = options,
					  .path = path != NULL && strcmp(path, "-") != 0 ? path : NULL};
	char *name = file_name(args, options);
	pst_status status;
	int code = output_open(&shared.out, path, name);

	free(name);
	pthread_mutex_init(&shared.lock, NULL);
	if (code != 0)
	{
		scan_fail(err, PST_ERR_IO, "cannot write \"%s\": %s", path != NULL ? path : "-",
				  strerror(code));
		output_close(&shared.out, false);
		status = PST_ERR_IO;
	}
	else
	{
		announce(s, args);
		status = write_rows(s, &shared, encoder, err);
		code = output_close(&shared.out, status == PST_OK);
		if (status == PST_OK && code != 0)
			status = write_failed(&shared, code, err);
	}
	pthread_mutex_destroy(&shared.lock);
	return status;
}

/* What can be wrong with the options of the format is found before anything is opened. */
static pst_status
read_all(scan *s, const cli_pairs *options, const cli_args *args, pst_error *err)
{
	pst_encoder *encoder = NULL;
	pst_status status =
		pst_encoder_new((const char *const *) options->keys, (const char *const *) options->values,
						&s->schema, &encoder, err);

	if (status == PST_OK)
		status = read_to(s, options, args, encoder, err);
	pst_encoder_free(encoder);
	return status;
}

static int
check(const cli_args *args)
{
	if (cli_given(args, CLI_QUERY) == (args->noperands > 1))
		return cli_usage(args->command, "name either a TABLE or a --query");
	if (cli_given(args, CLI_QUERY) && cli_number(args, CLI_JOBS, 1) > 1)
		return cli_usage(args->command, "a --query is read by one job");
	if (args->value[CLI_OUTPUT] != NULL && args->value[CLI_OUTPUT][0] == '\0')
		return cli_usage(args->command, "the name of the output FILE is empty");
	if (cli_check_csv(args) >= 0)
		return CLI_EXIT_USAGE;
	if (args->value[CLI_FORMAT] != NULL && strcmp(args->value[CLI_FORMAT], "arrow") == 0 &&
		output_is_terminal(args->value[CLI_OUTPUT]))
		return cli_usage(args->command, "arrow is binary and the output a terminal; give -o FILE");
	return -1;
}

static int
run(const cli_args *args)
{
	pst_error err = PST_ERROR_INIT;
	cli_session session;
	cli_pairs options;
	scan s;
	pst_status status;
	int exit_code = check(args);

	if (exit_code >= 0)
		return exit_code;
	exit_code = session_begin(&session, args, args->operands[0], NULL);
	if (exit_code < 0)
	{
		throttle_set(cli_number(args, CLI_MAX_RATE, 0));
		session.db[0].own_bytes = true; /* output.c counts what goes out */
		pairs_copy(&options, &session.db[0].options);
		complete_options(&options, args);
		status = scan_open(&s, &session.db[0], &options, args, &err);
		if (status == PST_OK)
			status = read_all(&s, &options, args, &err);
		progress_finish(status == PST_OK);
		exit_code = status < 0 ? report_failed(status, &err) : CLI_EXIT_OK;
		scan_close(&s);
		pairs_free(&options);
	}
	session_end(&session, exit_code == CLI_EXIT_OK);
	return exit_code;
}

static const cli_option options[] = {
	{CLI_QUERY, 0, "query", CLI_TEXT, "SQL", NULL, "Read the rows of this SELECT, by one job",
	 "query"},
	{CLI_COLUMNS, 0, "columns", CLI_NAMES, "A,B", NULL,
	 "Only these columns, in this order; quoted as in SQL where needed", "read.columns"},
	{CLI_WHERE, 0, "where", CLI_TEXT, "SQL", NULL, "Only rows that satisfy this condition",
	 "read.filter"},
	{CLI_LIMIT, 0, "limit", CLI_COUNT, "N", NULL, "At most N rows, whichever come first",
	 "read.limit"},
	{CLI_JOBS, 0, "jobs", CLI_POSITIVE, "N", NULL,
	 "Workers, each with a connection; at most four and the number of CPUs by default. Above 1 the "
	 "order of rows is undefined",
	 NULL},
	{CLI_MAX_RATE, 0, "max-rate", CLI_POSITIVE, "ROWS", NULL, "At most this many rows a second",
	 NULL},
	{CLI_OUTPUT, 'o', "output", CLI_TEXT, "FILE", NULL,
	 "Write here in place of standard output; the file appears when it is whole", NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {
	"DB TABLE [--columns a,b] [--where SQL] [--limit N]\n"
	"                     [--jobs N] [--format csv|json|arrow] [-o FILE]",
	"DB --query SQL [--limit N] [--format csv|json|arrow]\n"
	"                     [-o FILE]",
	NULL,
};
static const char *const operands[] = {"DB", "TABLE", NULL};
static const cli_option *const groups[] = {options,		   cli_format_options, cli_csv_options,
										   cli_db_options, cli_run_options,	   NULL};

const cli_command cmd_read = {
	.name = "read",
	.summary = "read a table or query as csv, json or arrow",
	.synopsis = synopsis,
	.description =
		"Reads a table, view or query as of one moment, whatever is written meanwhile and however "
		"many jobs there are. csv is what COPY ... (FORMAT csv, HEADER) gives, json is one "
		"row_to_json line a row, arrow is the Arrow IPC stream.\n\n"
		"A regular -o FILE is written under a temporary name and renamed when it is whole; in a "
		"folder the file is named after the table. Standard output may be partial when the exit "
		"code is not 0.",
	.min_operands = 1,
	.max_operands = 2,
	.operands = operands,
	.groups = groups,
	.run = run,
};
