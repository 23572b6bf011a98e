/* cmd_copy.c - penstock copy: a table from one database into another. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "answer.h"
#include "create.h"
#include "memory.h"
#include "progress.h"
#include "report.h"
#include "scan.h"

/* What all workers share. */
typedef struct copying
{
	const cli_args *args;
	cli_db *source;
	cli_db *target;
	char *from; /* names for the catalogs; owned */
	char *to;
	char *describe;		/* of the source; owned */
	char *shown_source; /* as the server calls it; owned */
	char *shown;		/* the target, likewise */
	cli_pairs source_options;
	cli_pairs target_options;
	pthread_mutex_t lock;
	create_rest rest; /* of all workers; under lock, as the next */
	int64_t skipped;
	uint32_t made; /* OID of the target when this command has made it, else 0 */
} copying;

/* What one worker has of its own. */
typedef struct pipe_end
{
	pst_sink *sink;
	cli_meter meter;
} pipe_end;

static void
announce(const scan *s, const copying *c, const char *mode)
{
	progress_plan plan = {.verb = "copying",
						  .done_verb = "copied",
						  .what = c->shown_source,
						  .target = c->shown,
						  .transport = pst_source_transport(s->source),
						  .mode = mode,
						  .jobs = s->jobs,
						  .rows_total = s->rows_total,
						  .bytes_total = -1,
						  .splits_total = (int) s->nsplits};

	progress_announce(&plan);
}

static pst_status
begin(scan_worker *worker, pst_error *err)
{
	copying *c = worker->scan->ctx;
	pipe_end *end = cli_alloc(sizeof(*end));
	pst_hooks hooks = db_hooks(c->target, &end->meter);
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	pst_status status;

	worker->data = end;
	hooks.progress = NULL; /* rows and bytes are counted where they come from */
	status = pst_sink_open((const char *const *) c->target_options.keys,
						   (const char *const *) c->target_options.values, &worker->schema, &hooks,
						   &end->sink, err);
	if (status < 0)
		db_blame(c->target, err);
	else if (worker->index == 0)
	{
		pst_sink_get_stats(end->sink, &stats);
		announce(worker->scan, c, stats.mode);
	}
	return status;
}

static pst_status
batch(scan_worker *worker, struct ArrowArray *rows, pst_error *err)
{
	pipe_end *end = worker->data;
	pst_status status = pst_sink_write(end->sink, rows, NULL, err);

	if (status == PST_OK)
		status = pst_sink_poll(end->sink, err);
	if (status < 0)
		db_blame(((copying *) worker->scan->ctx)->target, err);
	return status;
}

static pst_status
split(scan_worker *worker, const char *text, pst_error *err)
{
	pipe_end *end = worker->data;
	pst_error of_source = PST_ERROR_INIT;
	pst_status status = pst_sink_copy(end->sink, worker->source, text, err);

	if (status < 0 && pst_source_error(worker->source, &of_source) == PST_OK)
		db_blame(((copying *) worker->scan->ctx)->target, err);
	return status;
}

static pst_status
end(scan_worker *worker, bool ok, pst_error *err)
{
	copying *c = worker->scan->ctx;
	pipe_end *end = worker->data;
	pst_sink_stats stats = {.struct_size = sizeof(stats)};
	pst_error ignored = PST_ERROR_INIT;
	pst_status status = PST_OK;

	if (end == NULL || end->sink == NULL)
	{
		free(end);
		return PST_OK;
	}
	if (ok)
		status = pst_sink_flush(end->sink, err);
	if (status < 0)
		db_blame(c->target, err);
	pst_sink_get_stats(end->sink, &stats);
	pst_sink_discard(end->sink, NULL);
	pst_sink_close(end->sink, &ignored);
	pthread_mutex_lock(&c->lock);
	create_rest_add(&c->rest, &stats);
	c->skipped += stats.rows_skipped;
	pthread_mutex_unlock(&c->lock);
	free(end);
	return status;
}

static const scan_ops by_split = {begin, split, batch, end};
static const scan_ops by_batch = {begin, NULL, batch, end};

/* The values of special-values that may make two keys one. */
static bool
changes_values(const cli_pairs *options)
{
	const char *special = pairs_get(options, "special-values");

	return special != NULL && strcasecmp(special, "error") != 0;
}

/*
 * What both tables can hold is carried, also what Arrow cannot, unless the user has said what shall
 * become of such values.
 */
static void
choose_values(cli_pairs *options)
{
	if (pairs_get(options, "read.values") == NULL && !changes_values(options))
		pairs_add(options, "read.values", "lossless");
}

/*
 * Into a table that was empty a moment ago, rows no two of which share a key are upserted as they
 * are appended, and appending them is faster. Whoever has asked for a way to write gets that.
 */
static void
choose_mode(copying *c, bool unique)
{
	cli_pairs *to = &c->target_options;

	if (c->made != 0 && unique && !changes_values(&c->source_options) &&
		pairs_get(to, "sink.mode") == NULL && pairs_get(to, "sink.key") == NULL &&
		pairs_get(to, "sink.method") == NULL)
		pairs_add(to, "sink.mode", "append");
}

/* The target with the source's columns, types and primary key. */
static pst_status
create_target(const scan *s, copying *c, pst_error *err)
{
	pst_catalog *to = NULL;
	cli_meter meter;
	bool unique = false;
	char **key = create_key_of(c->describe, &unique);
	pst_status status = session_catalog(c->target, &meter, &to, err);

	if (status == PST_OK)
		status = create_table(to, c->to, &s->schema, key, &c->made, &c->shown, err);
	if (status == PST_OK)
		choose_mode(c, unique);
	else
		db_blame(c->target, err);
	create_key_free(key);
	pst_catalog_close(to);
	return status;
}

static bool
same_table(const char *describe, const char *other)
{
	answer *a = answer_parse(describe);
	answer *b = answer_parse(other);
	const char *oid = answer_text(a, "oid");
	const char *other_oid = answer_text(b, "oid");
	bool same = oid != NULL && other_oid != NULL && strcmp(oid, other_oid) == 0;

	answer_free(a);
	answer_free(b);
	return same;
}

/* The target as it is now. With --create it may be absent; it is never the source itself. */
static pst_status
look_at_target(copying *c, const char *place, pst_error *err)
{
	pst_catalog *to = NULL;
	cli_meter meter;
	char *describe = NULL;
	pst_status status = session_catalog(c->target, &meter, &to, err);

	if (status == PST_OK)
		status = pst_catalog_describe(to, c->to, &describe, err);
	if (status == PST_ERR_NOT_FOUND && to != NULL && cli_given(c->args, CLI_CREATE))
		status = PST_OK;
	else if (status == PST_ERR_NOT_FOUND && to != NULL)
		create_hint(err);
	c->shown = create_shown_name(describe, c->args->operands[3]);
	if (status < 0)
		db_blame(c->target, err);
	else if (describe != NULL && strcmp(place, pst_catalog_place(to)) == 0 &&
			 same_table(c->describe, describe))
		status = scan_fail(err, PST_ERR_INVALID, "source and target are one table, %s", c->shown);
	pst_free(describe);
	pst_catalog_close(to);
	return status;
}

/* Both tables, before anything is read or made. */
static pst_status
look(copying *c, pst_error *err)
{
	pst_catalog *from = NULL;
	cli_meter meter;
	char *describe = NULL;
	pst_status status = session_catalog(c->source, &meter, &from, err);

	if (status == PST_OK)
		status = pst_catalog_describe(from, c->from, &describe, err);
	if (status < 0)
		db_blame(c->source, err);
	else
	{
		c->describe = cli_strdup(describe);
		c->shown_source = create_shown_name(describe, c->args->operands[1]);
		status = look_at_target(c, pst_catalog_place(from), err);
	}
	pst_free(describe);
	pst_catalog_close(from);
	return status;
}

static pst_status
copy_all(scan *s, copying *c, pst_error *err)
{
	pst_status status = scan_open(s, c->source, &c->source_options, c->args, err);

	if (status == PST_OK && cli_given(c->args, CLI_CREATE))
		status = create_target(s, c, err);
	/* A rate is kept batch by batch. */
	if (status == PST_OK)
		status = scan_run(s, cli_given(c->args, CLI_MAX_RATE) ? &by_batch : &by_split, c, err);
	progress_skipped(c->skipped);
	progress_finish(status >= 0);
	return status;
}

/* Copies, and says how it ended. */
static int
copy(copying *c)
{
	pst_error err = PST_ERROR_INIT;
	scan s;
	pst_status status = look(c, &err);
	int exit_code;

	if (status < 0)
		return report_failed(status, &err);
	status = copy_all(&s, c, &err);
	exit_code = status < 0 ? report_failed(status, &err) : CLI_EXIT_OK;
	if (status < 0)
		create_report_rest(c->target, c->shown, c->made, &c->rest);
	if (c->skipped > 0)
		report_skipped(c->skipped);
	scan_close(&s);
	return exit_code;
}

static int
run(const cli_args *args)
{
	cli_session session;
	copying c = {.args = args};
	int exit_code = session_begin(&session, args, args->operands[0], args->operands[2]);

	if (exit_code < 0)
	{
		throttle_set(cli_number(args, CLI_MAX_RATE, 0));
		pthread_mutex_init(&c.lock, NULL);
		c.source = &session.db[0];
		c.target = &session.db[1];
		c.from = db_table(c.source, args->operands[1]);
		c.to = db_table(c.target, args->operands[3]);
		pairs_copy(&c.source_options, &session.db[0].options);
		pairs_add(&c.source_options, "table-name", args->operands[1]);
		choose_values(&c.source_options);
		pairs_copy(&c.target_options, &session.db[1].options);
		pairs_add(&c.target_options, "table-name", args->operands[3]);
		exit_code = copy(&c);
		pairs_free(&c.source_options);
		pairs_free(&c.target_options);
		free(c.from);
		free(c.to);
		free(c.describe);
		free(c.shown_source);
		free(c.shown);
		pthread_mutex_destroy(&c.lock);
	}
	session_end(&session, exit_code == CLI_EXIT_OK);
	return exit_code;
}

static const cli_option options[] = {
	{CLI_MODE, 0, "mode", CLI_WORD, "MODE", "upsert|append|delete",
	 "What rows do in the target: upsert (default where it has a primary key), append (default "
	 "else, and into a table just made where it comes to the same), delete by key",
	 "sink.mode"},
	{CLI_JOBS, 0, "jobs", CLI_POSITIVE, "N", NULL,
	 "Workers, each with a connection to both databases; at most four and the number of CPUs by "
	 "default",
	 NULL},
	{CLI_CREATE, 0, "create", CLI_FLAG, NULL, NULL,
	 "Make the target with the source's columns, types and primary key when it is not there; it is "
	 "dropped again when the copy fails before a row is committed",
	 NULL},
	{CLI_MAX_RATE, 0, "max-rate", CLI_POSITIVE, "ROWS", NULL, "At most this many rows a second",
	 NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {
	"SRC TABLE DST TABLE [--mode upsert|append|delete]\n"
	"                     [--jobs N] [--create]",
	NULL,
};
static const char *const operands[] = {"SRC", "the source's TABLE", "DST", "the target's TABLE",
									   NULL};
static const cli_option *const groups[] = {options, cli_db_options, cli_run_options, NULL};

const cli_command cmd_copy = {
	.name = "copy",
	.summary = "copy a table from one database into another",
	.synopsis = synopsis,
	.description =
		"Copies the rows that the table SRC TABLE has at one moment into DST TABLE, with several "
		"workers, without a file between. Columns are matched by name. Every "
		"value that both can hold is carried, also what Arrow cannot. Each flush of a worker is "
		"one transaction; when one worker fails all stop, and what was committed is told. "
		"--username, --password and --with count for both databases.",
	.min_operands = 4,
	.max_operands = 4,
	.operands = operands,
	.groups = groups,
	.run = run,
};
