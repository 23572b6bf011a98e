/*
 * cmd_cdc.c - penstock cdc: the rows of tables, then every change of them, as lines or Arrow.
 *
 * A position is stored only when everything before it was written, and acknowledged only when it is stored:
 * so what a crash takes away is told again, and nothing is left out.
 */
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cdc_output.h"
#include "lsn.h"
#include "memory.h"
#include "names.h"
#include "position_file.h"
#include "output.h"
#include "progress.h"
#include "report.h"
#include "scan.h"
#include "session.h"
#include "signals.h"

#define SLICE_MS 200		  /* a wait for changes, after which signals are looked at */
#define STORE_MS 100		  /* positions are stored at most so often … */
#define FLUSH_MS 50			  /* … and lines written at least so often, */
#define FLUSH_BYTES (1 << 20) /* or when so many wait */
#define LIVE_MS 500			  /* the live line's period */
#define LINE_MS 5000		  /* a line's period where there is no terminal */
#define SLOT_NAME_MOST 63	  /* NAMEDATALEN - 1 */

/* One run of the command. */
typedef struct capture
{
	const cli_args *args;
	cli_pairs options; /* of the capture and the encoders */
	const char *position_path;
	position_file file; /* open where position_path is not NULL */
	char *given;		/* the position to begin at, or NULL */
	char *slot;			/* its name where there is one before the capture is open */
	pst_cdc *cdc;
	cdc_output *output;
	bool moved;		  /* something has come since the last position was stored */
	int64_t waiting;  /* when the first of what waits for flush came; -1: nothing does */
	int64_t stored;	  /* when a position was stored last */
	int64_t said;	  /* when progress was */
	int64_t said_sum; /* what it had counted then */
	int64_t said_changes;
	int64_t rows; /* of the snapshot, counted as progress */
	int64_t began;
} capture;

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static pst_cdc_stats
stats_of(const capture *c)
{
	pst_cdc_stats stats = {.struct_size = sizeof(stats)};

	pst_cdc_get_stats(c->cdc, &stats);
	return stats;
}

/* ---- What is said ---- */

static void
put_count(char *out, size_t size, int64_t count)
{
	char digits[32];
	size_t n = (size_t) snprintf(digits, sizeof(digits), "%" PRId64, count);
	size_t at = 0;

	for (size_t i = 0; i < n && at + 2 < size; i++)
	{
		if (i > 0 && (n - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
}

static void
put_lag(char *out, size_t size, const pst_cdc_stats *stats)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	double bytes = (double) (stats->server_lsn - stats->received_lsn);
	size_t unit = 0;

	if (stats->server_lsn <= stats->received_lsn)
		bytes = 0;
	while (bytes >= 10240 && unit + 1 < sizeof(units) / sizeof(units[0]))
	{
		bytes /= 1024;
		unit++;
	}
	snprintf(out, size, "%.0f %s", bytes, units[unit]);
}

static int
put_snapshot(char *out, size_t size, const pst_cdc_stats *stats)
{
	char rows[40];
	char total[40];

	put_count(rows, sizeof(rows), stats->snapshot_rows);
	if (stats->snapshot_total < 0)
		return snprintf(out, size, "snapshot %s rows, ", rows);
	put_count(total, sizeof(total), stats->snapshot_total);
	return snprintf(out, size, "snapshot %s of about %s rows, ", rows, total);
}

/* seconds are since the last time, the changes too. */
static void
say_progress(const capture *c, const pst_cdc_stats *stats, double seconds)
{
	double rate = seconds > 0 ? (double) (stats->changes - c->said_changes) / seconds : 0;
	char text[400];
	char fields[400];
	char changes[40];
	char lag[40];
	char received[LSN_TEXT];
	int at = 0;

	if (stats->snapshotting)
		at = put_snapshot(text, sizeof(text), stats);
	put_count(changes, sizeof(changes), stats->changes);
	put_lag(lag, sizeof(lag), stats);
	snprintf(text + at, sizeof(text) - (size_t) at, "%s changes, %.0f/s, lag %s", changes, rate,
			 lag);
	if (report_has_live_line())
	{
		report_live(text);
		return;
	}
	snprintf(fields, sizeof(fields),
			 "\"snapshotting\":%s,\"snapshot_rows\":%" PRId64 ",\"snapshot_total\":%" PRId64
			 ",\"changes\":%" PRId64 ",\"changes_per_second\":%.0f,\"received_lsn\":\"%s\","
			 "\"lag_bytes\":%" PRIu64,
			 stats->snapshotting ? "true" : "false", stats->snapshot_rows, stats->snapshot_total,
			 stats->changes, rate, lsn_print(stats->received_lsn, received),
			 stats->server_lsn > stats->received_lsn ? stats->server_lsn - stats->received_lsn : 0);
	report_event("progress", fields, "%s", text);
}

/* Where nothing has come since, there is nothing to say. */
static void
tick(capture *c)
{
	pst_cdc_stats stats = stats_of(c);
	int64_t now = now_ms();
	int64_t sum = stats.snapshot_rows + stats.changes;
	bool live = report_has_live_line();

	progress_add(stats.snapshot_rows - c->rows, 0);
	c->rows = stats.snapshot_rows;
	if (now - c->said < (live ? LIVE_MS : LINE_MS) || (!live && sum == c->said_sum))
		return;
	say_progress(c, &stats, (double) (now - c->said) / 1000);
	c->said = now;
	c->said_sum = sum;
	c->said_changes = stats.changes;
}

static char *
join_tables(const cli_args *args)
{
	char *text = cli_strdup(args->operands[1]);

	for (int i = 2; i < args->noperands; i++)
	{
		char *longer = cli_format("%s,%s", text, args->operands[i]);

		free(text);
		text = longer;
	}
	return text;
}

static void
announce(const capture *c)
{
	pst_cdc_stats stats = stats_of(c);
	const char *format =
		c->args->value[CLI_FORMAT] != NULL ? c->args->value[CLI_FORMAT] : "debezium";
	const char *slot = c->slot != NULL ? c->slot : "temporary";
	char fields[300];
	char *tables = join_tables(c->args);

	snprintf(fields, sizeof(fields), "\"transport\":\"%s\",\"format\":\"%s\",\"slot\":\"%.63s\"",
			 stats.transport, format, slot);
	report_event("start", fields, "capturing %.300s: transport %s, slot %s, format %s%s", tables,
				 stats.transport, slot, format,
				 c->given != NULL ? ", from the stored position" : "");
	free(tables);
}

static void
say_end(const capture *c)
{
	pst_cdc_stats stats = stats_of(c);
	double seconds = (double) (now_ms() - c->began) / 1000;
	char rows[40];
	char changes[40];
	char fields[200];

	put_count(rows, sizeof(rows), stats.snapshot_rows);
	put_count(changes, sizeof(changes), stats.changes);
	snprintf(fields, sizeof(fields),
			 "\"snapshot_rows\":%" PRId64 ",\"changes\":%" PRId64 ",\"seconds\":%.3f",
			 stats.snapshot_rows, stats.changes, seconds);
	report_event("done", fields, "captured %s rows of snapshots and %s changes in %.1f s", rows,
				 changes, seconds);
}

/* ---- Storing ---- */

/* Writes what waits, then stores and acknowledges where the capture is. */
static pst_status
store(capture *c, pst_error *err)
{
	pst_cdc_stats stats;
	char *position = NULL;
	pst_status status = cdc_output_flush(c->output, c->position_path != NULL, err);

	c->waiting = -1;
	if (status == PST_OK)
		status = pst_cdc_position(c->cdc, &position, err);
	stats = stats_of(c);
	if (status == PST_OK && c->position_path != NULL)
		status =
			position_file_store(&c->file, stats.slot != NULL ? stats.slot : c->slot, position, err);
	if (status == PST_OK)
		status = pst_cdc_ack(c->cdc, position, err);
	pst_free(position);
	c->moved = status != PST_OK && c->moved;
	c->stored = now_ms();
	return status;
}

/* What is due of both. idle: nothing more has come yet, so nobody is kept from it. */
static pst_status
flush_if_due(capture *c, bool idle, pst_error *err)
{
	int64_t now = now_ms();
	pst_status status = PST_OK;

	if (c->moved && now - c->stored >= STORE_MS)
		return store(c, err);
	if (c->waiting < 0)
		return PST_OK;
	if (idle || now - c->waiting >= FLUSH_MS || cdc_output_pending(c->output) >= FLUSH_BYTES)
	{
		status = cdc_output_flush(c->output, false, err);
		c->waiting = -1;
	}
	return status;
}

/* ---- The stream ---- */

/* How long the next call may wait. */
static int
patience(const capture *c)
{
	int64_t left = c->stored + STORE_MS - now_ms();

	if (c->waiting >= 0)
		return 0;
	if (c->moved)
		return left > 0 ? (int) left : 0;
	return SLICE_MS;
}

/* Waits for old transactions are told, an idle stream is not. */
static bool
is_idle_by_right(const capture *c)
{
	pst_cdc_stats stats = stats_of(c);

	return !stats.snapshotting && stats.received_lsn != 0;
}

static pst_status
next(capture *c, pst_event *event, pst_error *err)
{
	bool pause = is_idle_by_right(c);
	pst_status status;

	if (pause)
	{
		signals_finish_first();
		progress_pause();
	}
	status = pst_cdc_next(c->cdc, patience(c), event, err);
	if (pause)
		progress_resume();
	return status;
}

static pst_status
take(capture *c, pst_event *event, pst_error *err)
{
	pst_status status;

	/* Until now a signal has ended waits for a slot or snapshot: there was no batch to be finished. */
	if (event->kind != PST_EVENT_PROGRESS)
		signals_finish_first();
	if (event->kind == PST_EVENT_RESET && event->reason != NULL)
		report_info("table %s.%s is read anew: %s", event->schema_name, event->table,
					event->reason);
	if (event->kind == PST_EVENT_SNAPSHOT_COMPLETE)
		report_info(
			"the snapshot is complete: from here on the lines equal a moment of the server");
	status = cdc_output_event(c->output, event, err);
	c->moved = true;
	if (c->waiting < 0 && cdc_output_pending(c->output) > 0)
		c->waiting = now_ms();
	if (status == PST_OK && event->store)
		status = store(c, err);
	return status;
}

/* Until the end (PST_END), a failure, or a signal (PST_OK). */
static pst_status
follow(capture *c, pst_error *err)
{
	pst_status status = PST_OK;

	while (status == PST_OK && !signals_asked())
	{
		pst_event event = PST_EVENT_INIT;

		status = next(c, &event, err);
		if (status == PST_OK)
			status = take(c, &event, err);
		else if (status == PST_AGAIN && cdc_output_is_closed(c->output))
		{
			signals_stop(CLI_EXIT_PIPE);
			status = PST_ERR_CANCELED;
		}
		if (status >= 0 && status != PST_END)
			status = flush_if_due(c, status == PST_AGAIN, err);
		pst_event_release(&event);
		tick(c);
	}
	return status;
}

/* ---- Beginning and end ---- */

/* A slot's name from a table's: small letters, digits and underscores. Moved to the caller. */
static char *
slot_of_table(const char *table)
{
	char *plain = names_plain(table);
	char *slot = cli_format("penstock_%s", plain);

	for (char *at = slot; *at != '\0'; at++)
		*at = isalnum((unsigned char) *at) ? (char) tolower((unsigned char) *at) : '_';
	if (strlen(slot) > SLOT_NAME_MOST)
		slot[SLOT_NAME_MOST] = '\0';
	free(plain);
	return slot;
}

static pst_status
other_slot(const capture *c, const char *given, pst_error *err)
{
	*err = (pst_error) PST_ERROR_INIT;
	err->status = PST_ERR_INVALID;
	snprintf(err->message, sizeof(err->message),
			 "position file \"%s\" is of slot \"%s\", not of \"%s\"", c->position_path,
			 c->file.slot, given);
	snprintf(err->hint, sizeof(err->hint), "Leave --slot out, or name that file's.");
	return PST_ERR_INVALID;
}

/* The position file's slot and position come before those of the command line, which made them once. */
static pst_status
choose_slot(capture *c, pst_error *err)
{
	const char *given = pairs_get(&c->options, "slot.name");

	if (given == NULL)
		given = pairs_get(&c->options, "debezium.slot.name");
	if (c->file.slot != NULL && given != NULL && strcmp(given, c->file.slot) != 0)
		return other_slot(c, given, err);
	if (given != NULL)
		c->slot = cli_strdup(given);
	else if (c->file.slot != NULL)
		c->slot = cli_strdup(c->file.slot);
	else if (c->position_path != NULL)
		c->slot = slot_of_table(c->args->operands[1]);
	if (given == NULL && c->slot != NULL)
		pairs_add(&c->options, "slot.name", c->slot);
	if (c->file.position != NULL)
	{
		free(c->given);
		c->given = cli_strdup(c->file.position);
	}
	return PST_OK;
}

/* What --start is called in the library; NULL: it is a position, or nothing. */
static const char *
startup_mode(const char *start)
{
	static const char *const words[][2] = {
		{"initial", "initial"},
		{"snapshot", "snapshot"},
		{"never", "committed-offset"},
		{"latest", "latest-offset"},
	};

	for (size_t i = 0; start != NULL && i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(start, words[i][0]) == 0)
			return words[i][1];
	return NULL;
}

/* Options of the library that the command decides. */
static void
complete_options(capture *c, const cli_pairs *given)
{
	const char *start = c->args->value[CLI_START];
	const char *mode = startup_mode(start);
	const char *truncate = pairs_get(given, "truncate");
	bool arrow = c->args->value[CLI_FORMAT] != NULL;
	char *tables = join_tables(c->args);

	pairs_copy(&c->options, given);
	pairs_add(&c->options, "table-name", tables);
	free(tables);
	arrow = arrow && strcmp(c->args->value[CLI_FORMAT], "arrow") == 0;
	if (!cli_given(c->args, CLI_FORMAT))
		pairs_add(&c->options, "format", "debezium");
	if (!arrow && pairs_get(given, "read.values") == NULL)
		pairs_add(&c->options, "read.values", "lossless");
	pairs_add(&c->options, "cdc.consumer",
			  truncate != NULL && strcasecmp(truncate, "skip") == 0 ? "upsert" : "replay");
	if (pairs_get(given, "cdc.jobs") == NULL)
	{
		char *jobs = cli_format("%d", scan_jobs(c->args));

		pairs_add(&c->options, "cdc.jobs", jobs);
		free(jobs);
	}
	/* There is one position file, the newest: nobody restores an older one. */
	if (pairs_get(given, "scan.lsn-commit.checkpoints-num-delay") == NULL)
		pairs_add(&c->options, "scan.lsn-commit.checkpoints-num-delay", "0");
	if (mode != NULL)
		pairs_add(&c->options, "scan.startup.mode", mode);
	else if (start != NULL)
		c->given = cli_strdup(start);
}

static pst_status
open_capture(capture *c, cli_db *db, cli_meter *meter, pst_error *err)
{
	const char *format = pairs_get(&c->options, "format");
	pst_hooks hooks;
	pst_status status = PST_OK;

	if (c->position_path != NULL)
		status = position_file_open(&c->file, c->position_path, err);
	if (status == PST_OK)
		status = choose_slot(c, err);
	if (status == PST_OK)
		status = cdc_output_open(&c->options, strcmp(format, "arrow") == 0,
								 c->args->value[CLI_OUTPUT], &c->output, err);
	if (status != PST_OK)
		return status;
	hooks = db_hooks(db, meter);
	return pst_cdc_open((const char *const *) c->options.keys,
						(const char *const *) c->options.values, c->given, &hooks, &c->cdc, err);
}

/* At its own end a capture has nothing more to keep a slot for, if so asked. */
static pst_status
close_capture(capture *c, bool ended, pst_status status, pst_error *err)
{
	bool drop = ended && status == PST_OK && cli_given(c->args, CLI_DROP_SLOT);
	pst_error late = PST_ERROR_INIT;
	pst_status closed = pst_cdc_close(c->cdc, drop, &late);

	c->cdc = NULL;
	if (closed == PST_OK && drop && c->position_path != NULL)
		closed = position_file_remove(&c->file, &late);
	if (status >= 0 && closed < 0)
	{
		*err = late;
		return closed;
	}
	return status;
}

/* After a failure the stored position stays: lines behind it come again. */
static pst_status
finish(capture *c, pst_status status, pst_error *err)
{
	bool ended = status == PST_END;

	if (status >= 0)
		status = cdc_output_end(c->output, err);
	if (status == PST_OK)
		status = store(c, err);
	report_live(NULL);
	if (status == PST_OK && c->cdc != NULL)
		say_end(c);
	return close_capture(c, ended, status, err);
}

static int
exit_code_of(pst_status status, const pst_error *err)
{
	if (status == PST_OK)
		return signals_exit_code();
	report_error(err, 0);
	/* A signal's exit code says that all was saved. */
	if (signals_exit_code() != 0 && signals_exit_code() != CLI_EXIT_PIPE && !signals_stopping())
		return CLI_EXIT_FAILED;
	return report_exit_code(status);
}

static pst_status
run_capture(capture *c, cli_db *db, cli_meter *meter, pst_error *err)
{
	pst_status status = open_capture(c, db, meter, err);

	if (status != PST_OK)
		return status;
	announce(c);
	return finish(c, follow(c, err), err);
}

static int
check(const cli_args *args)
{
	const char *start = args->value[CLI_START];
	const char *until = args->value[CLI_UNTIL];
	const char *format = args->value[CLI_FORMAT];
	bool arrow = format != NULL && strcmp(format, "arrow") == 0;
	uint64_t lsn;

	if (start != NULL && startup_mode(start) == NULL && strncmp(start, "pst1:", 5) != 0)
		return cli_usage(args->command,
						 "--start is initial, never, snapshot, latest or a position (pst1:"
						 "…), not \"%s\"",
						 start);
	if (until != NULL && strcmp(until, "current") != 0 && !lsn_parse(until, &lsn))
		return cli_usage(args->command,
						 "--until is current or an LSN such as 16/B374D848, not \"%s\"", until);
	if (cli_given(args, CLI_OUTPUT) && !arrow)
		return cli_usage(args->command, "-o DIR is for --format arrow");
	if (cli_given(args, CLI_JSON_VALUES) && arrow)
		return cli_usage(args->command, "--json-values is for --format debezium");
	if (arrow && !cli_given(args, CLI_OUTPUT) && output_is_terminal(NULL))
		return cli_usage(args->command, "arrow is binary and the output a terminal; give -o DIR");
	if (args->value[CLI_POSITION_FILE] != NULL && args->value[CLI_POSITION_FILE][0] == '\0')
		return cli_usage(args->command, "the name of the position FILE is empty");
	for (size_t i = 0; i < args->nwith; i++)
		if (strncmp(args->with[i], "cdc.consumer=", 13) == 0)
			return cli_usage(args->command,
							 "what the consumer can do is the command's to say: give "
							 "truncate=skip for one that can only upsert");
	for (size_t i = 0; i < args->nwith; i++)
		if (strncmp(args->with[i], "cdc.regions=", 12) == 0)
			return cli_usage(args->command, "the command reads the tables itself, by --jobs N");
	return -1;
}

static int
run(const cli_args *args)
{
	capture c = {.args = args,
				 .position_path = args->value[CLI_POSITION_FILE],
				 .file = {.lock = -1},
				 .waiting = -1};
	pst_error err = PST_ERROR_INIT;
	cli_session session;
	cli_meter meter;
	pst_status status;
	int exit_code = check(args);

	if (exit_code >= 0)
		return exit_code;
	exit_code = session_begin(&session, args, args->operands[0], NULL);
	if (exit_code < 0)
	{
		c.began = c.said = now_ms();
		session.db[0].own_bytes = true;
		complete_options(&c, &session.db[0].options);
		status = run_capture(&c, &session.db[0], &meter, &err);
		progress_finish(false);
		exit_code = exit_code_of(status, &err);
		pst_cdc_close(c.cdc, false, NULL);
		cdc_output_close(c.output);
		position_file_close(&c.file);
		pairs_free(&c.options);
		free(c.given);
		free(c.slot);
	}
	session_end(&session, exit_code == CLI_EXIT_OK);
	return exit_code;
}

static const cli_option options[] = {
	{CLI_SLOT, 0, "slot", CLI_TEXT, "NAME", NULL,
	 "A permanent replication slot, made where there is none; without it and --position-file the "
	 "slot "
	 "goes with the command",
	 "slot.name"},
	{CLI_START, 0, "start", CLI_TEXT, "WHERE", NULL,
	 "initial (the rows, then the changes; the default), snapshot (the rows, and end), never (the "
	 "changes from where the slot stands), latest (the changes from now on, with a new slot) or a "
	 "position",
	 NULL},
	{CLI_FORMAT, 0, "format", CLI_WORD, "FORMAT", "debezium|arrow",
	 "debezium, the default: json lines of Debezium's envelope. arrow: Arrow IPC streams",
	 "format"},
	{CLI_JSON_VALUES, 0, "json-values", CLI_WORD, "STYLE", "flink|debezium",
	 "How lines write numerics, dates and times: as Flink's debezium-json reads them (the "
	 "default), or "
	 "as Debezium writes them",
	 "json-values"},
	{CLI_UNTIL, 0, "until", CLI_TEXT, "LSN", NULL,
	 "End when all changes up to this LSN are written; current: up to the server's of now",
	 "scan.stop.at"},
	{CLI_POSITION_FILE, 0, "position-file", CLI_TEXT, "FILE", NULL,
	 "Keep there how far the capture has come; the same command line goes on behind it", NULL},
	{CLI_JOBS, 0, "jobs", CLI_POSITIVE, "N", NULL,
	 "Connections that a table's snapshot is read over; at most four and the number of CPUs by "
	 "default",
	 "cdc.jobs"},
	{CLI_DROP_SLOT, 0, "drop-slot", CLI_FLAG, NULL, NULL,
	 "When the capture has come to its end (--until, --start snapshot), drop the slot and remove "
	 "the "
	 "position file",
	 NULL},
	{CLI_OUTPUT, 'o', "output", CLI_TEXT, "DIR", NULL,
	 "arrow: write files SCHEMA.TABLE.N.arrows into this folder, a new one for each table and "
	 "schema",
	 NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {
	"DB TABLE... [--slot NAME]\n"
	"                    [--start initial|never|snapshot|latest|POSITION]\n"
	"                    [--format debezium|arrow] [--json-values flink|debezium]\n"
	"                    [--until current|LSN] [--position-file FILE]\n"
	"                    [--jobs N] [--drop-slot] [-o DIR]",
	NULL,
};
static const char *const operands[] = {"DB", "TABLE", NULL};
static const cli_option *const groups[] = {options, cli_db_options, cli_run_options, NULL};

const cli_command cmd_cdc = {
	.name = "cdc",
	.summary = "write the rows of tables, then every change of them",
	.synopsis = synopsis,
	.description =
		"Captures tables: their rows as of one moment, then every change of them in the order of "
		"commit, "
		"until it is stopped. TABLE is a name or a pattern such as sales.*; several captures need "
		"several "
		"slots.\n\n"
		"With --position-file a restart of the same command line goes on behind the last line "
		"whose "
		"position was stored; lines written after it come again. Standard output has no state of "
		"its "
		"own: a table whose snapshot was interrupted is begun anew, after a line of op t with "
		"source.snapshot = \"reset\". The first SIGINT or SIGTERM finishes what is being written, "
		"saves "
		"the position and exits with 130 or 143; a second one stops at once.\n\n"
		"With --with truncate=skip lines of op t, at which Flink's debezium-json stops, are left "
		"out; "
		"with truncate=fail they are an error.",
	.min_operands = 2,
	.max_operands = INT_MAX,
	.operands = operands,
	.groups = groups,
	.run = run,
};
