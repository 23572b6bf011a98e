/* cmd_slots.c - penstock slots: replication slots, what they hold back, and what to do about it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "lsn.h"
#include "memory.h"
#include "report.h"
#include "session.h"

/* A column of the table: a cell's text is moved to the caller. */
typedef struct slot_column
{
	const char *title;
	bool number; /* stands to the right */
	char *(*cell)(const answer *slot);
} slot_column;

static char *
text_or_empty(const answer *slot, const char *key)
{
	const char *text = answer_text(slot, key);

	return cli_strdup(text != NULL ? text : "");
}

static char *
cell_name(const answer *slot)
{
	return text_or_empty(slot, "name");
}

static char *
cell_plugin(const answer *slot)
{
	const char *plugin = answer_text(slot, "plugin");

	return cli_strdup(plugin != NULL ? plugin : "(physical)");
}

static char *
cell_database(const answer *slot)
{
	return text_or_empty(slot, "database");
}

/* Who reads it. */
static char *
cell_reader(const answer *slot)
{
	const char *pid = answer_text(slot, "active_pid");
	const char *application = answer_text(slot, "application");

	if (pid == NULL)
		return cli_strdup("nobody");
	if (application == NULL || application[0] == '\0')
		return cli_format("pid %s", pid);
	return cli_format("pid %s, %s", pid, application);
}

static char *
cell_confirmed(const answer *slot)
{
	const char *lsn = answer_text(slot, "confirmed_flush_lsn");

	return lsn != NULL ? cli_strdup(lsn) : text_or_empty(slot, "restart_lsn");
}

/* As the server's pg_size_pretty has it: 10 and more of a unit before the next one is used. */
static char *
pretty_bytes(const answer *slot, const char *key)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
	double bytes = answer_number(slot, key, -1);
	size_t unit = 0;

	if (bytes < 0)
		return cli_strdup("");
	while (bytes >= 10240 && unit + 1 < sizeof(units) / sizeof(units[0]))
	{
		bytes /= 1024;
		unit++;
	}
	return cli_format("%.0f %s", bytes, units[unit]);
}

static char *
cell_lag(const answer *slot)
{
	return pretty_bytes(slot, "lag");
}

static char *
cell_retained(const answer *slot)
{
	return pretty_bytes(slot, "retained");
}

/* The server's word for how safe it is, or what matters more. */
static char *
cell_state(const answer *slot)
{
	const char *wal = answer_text(slot, "wal_status");
	const char *state = answer_text(slot, "invalidation_reason") != NULL ? "lost" : wal;

	if (state == NULL)
		state = "";
	if (answer_is(slot, "temporary"))
		return cli_format("%s%stemporary", state, state[0] != '\0' ? ", " : "");
	return cli_strdup(state);
}

static const slot_column columns[] = {
	{"name", false, cell_name},			  {"plugin", false, cell_plugin},
	{"database", false, cell_database},	  {"read by", false, cell_reader},
	{"confirmed", false, cell_confirmed}, {"lag", true, cell_lag},
	{"retained", true, cell_retained},	  {"state", false, cell_state},
};

#define NCOLUMNS (sizeof(columns) / sizeof(columns[0]))

/* Characters of a text, each one place wide. */
static int
width_of(const char *text)
{
	int width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char) *text & 0xc0) != 0x80;
	return width;
}

static void
print_cell(const char *text, int width, bool number, bool last)
{
	int blanks = width - width_of(text);

	if (number)
		printf(" %*s%s", blanks, "", text);
	else if (last)
		printf(" %s", text);
	else
		printf(" %s%*s", text, blanks, "");
	fputs(last ? "\n" : " |", stdout);
}

/* As psql prints a table, but for its frame. */
static void
print_table(const answer *slots)
{
	size_t n = answer_size(slots);
	char **cells = cli_alloc((n + 1) * NCOLUMNS * sizeof(*cells));
	int widths[NCOLUMNS];
	size_t row = 0;

	for (size_t c = 0; c < NCOLUMNS; c++)
		widths[c] = width_of(columns[c].title);
	for (const answer *slot = slots->first; slot != NULL; slot = slot->next, row++)
	{
		for (size_t c = 0; c < NCOLUMNS; c++)
		{
			char *cell = columns[c].cell(slot);
			int width = width_of(cell);

			cells[row * NCOLUMNS + c] = cell;
			widths[c] = width > widths[c] ? width : widths[c];
		}
	}
	for (size_t c = 0; c < NCOLUMNS; c++)
		print_cell(columns[c].title, widths[c], false, c + 1 == NCOLUMNS);
	for (size_t c = 0; c < NCOLUMNS; c++)
	{
		for (int i = 0; i < widths[c] + 2; i++)
			putchar('-');
		fputs(c + 1 == NCOLUMNS ? "\n" : "+", stdout);
	}
	for (size_t i = 0; i < n * NCOLUMNS; i++)
	{
		print_cell(cells[i], widths[i % NCOLUMNS], columns[i % NCOLUMNS].number,
				   (i + 1) % NCOLUMNS == 0);
		free(cells[i]);
	}
	free(cells);
}

/* What is wrong, and statements that can be pasted. */
static void
print_problems(const answer *slots)
{
	for (const answer *slot = slots->first; slot != NULL; slot = slot->next)
	{
		const char *problem = answer_text(slot, "problem");
		const char *remedy = answer_text(slot, "remedy");

		if (problem == NULL)
			continue;
		printf("\n%s: %s\n", answer_text(slot, "name"), problem);
		while (remedy != NULL && *remedy != '\0')
		{
			int len = (int) strcspn(remedy, "\n");

			printf("    %.*s\n", len, remedy);
			remedy += len + (remedy[len] == '\n');
		}
	}
}

static pst_status
ask(pst_catalog *catalog, const cli_args *args, char **text, pst_error *err)
{
	uint64_t lsn = 0;

	if (cli_given(args, CLI_DROP))
		return pst_catalog_drop_slot(catalog, args->value[CLI_DROP], err);
	if (cli_given(args, CLI_ADVANCE))
	{
		lsn_parse(args->operands[1], &lsn);
		return pst_catalog_advance_slot(catalog, args->value[CLI_ADVANCE], lsn, err);
	}
	return pst_catalog_slots(catalog, text, err);
}

static int
print(const cli_args *args, pst_catalog *catalog, const char *text)
{
	answer *slots;

	if (cli_given(args, CLI_DROP))
		report_info("dropped replication slot \"%s\"", args->value[CLI_DROP]);
	if (cli_given(args, CLI_ADVANCE))
		report_info("advanced replication slot \"%s\" to %s", args->value[CLI_ADVANCE],
					args->operands[1]);
	if (text == NULL)
		return CLI_EXIT_OK;
	if (cli_given(args, CLI_JSON))
	{
		printf("{\"transport\":\"%s\",\"slots\":%s}\n", pst_catalog_transport(catalog), text);
		return CLI_EXIT_OK;
	}
	slots = answer_parse(text);
	if (slots != NULL && slots->first != NULL)
	{
		print_table(slots);
		print_problems(slots);
	}
	answer_free(slots);
	return CLI_EXIT_OK;
}

static int
run(const cli_args *args)
{
	bool drop = cli_given(args, CLI_DROP);
	bool advance = cli_given(args, CLI_ADVANCE);
	uint64_t lsn;

	if (drop && advance)
		return cli_usage(args->command, "--drop and --advance exclude each other");
	if (cli_given(args, CLI_JSON) && (drop || advance))
		return cli_usage(args->command,
						 "--json lists slots: it does not go with --drop or --advance");
	if (advance && args->noperands < 2)
		return cli_usage(args->command, "--advance NAME needs the LSN to advance to");
	if (!advance && args->noperands > 1)
		return cli_usage(args->command, "an LSN is given with --advance only");
	if (advance && !lsn_parse(args->operands[1], &lsn))
		return cli_usage(args->command, "\"%s\" is no LSN such as 16/B374D848", args->operands[1]);
	return session_answer(args, ask, print);
}

static const cli_option options[] = {
	{CLI_JSON, 0, "json", CLI_FLAG, NULL, NULL,
	 "Print one JSON object: transport, and slots with all that the server knows of each", NULL},
	{CLI_DROP, 0, "drop", CLI_TEXT, "NAME", NULL,
	 "Drop this slot, which nobody may be using. What it held back is lost for whoever has a "
	 "position "
	 "of it",
	 NULL},
	{CLI_ADVANCE, 0, "advance", CLI_TEXT, "NAME", NULL,
	 "Move this slot, which nobody may be using, forward to the LSN: its consumer never sees the "
	 "changes before it",
	 NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {"DB [--json] [--drop NAME] [--advance NAME LSN]", NULL};
static const char *const operands[] = {"DB", "LSN", NULL};
static const cli_option *const groups[] = {options, cli_db_options, cli_run_options, NULL};

const cli_command cmd_slots = {
	.name = "slots",
	.summary = "list the replication slots of a server, drop or advance one",
	.synopsis = synopsis,
	.description = "Lists replication slots by name: who reads each, how far that reader has "
				   "confirmed, how far "
				   "it lags behind the end of WAL, and how much WAL the server retains for it. "
				   "Below the table "
				   "stands what is wrong with a slot, with the statements that mend it.",
	.min_operands = 1,
	.max_operands = 2,
	.operands = operands,
	.groups = groups,
	.run = run,
};
