/* args.c - reading the command line by the tables of options. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "memory.h"
#include "names.h"
#include "report.h"

#define MAX_OPTIONS 64

const cli_option cli_db_options[] = {
	{CLI_USERNAME, 0, "username", CLI_TEXT, "ROLE", NULL, "Role to log in as", "username"},
	{CLI_PASSWORD, 0, "password", CLI_TEXT, "PASSWORD", NULL,
	 "Its password; a .pgpass file or PGPASSWORD keeps it out of the shell's history", "password"},
	{CLI_WITH, 0, "with", CLI_PAIR, "KEY=VALUE", NULL,
	 "Any option by its specification name; may be repeated", NULL},
	CLI_OPTIONS_END,
};

const cli_option cli_format_options[] = {
	{CLI_FORMAT, 0, "format", CLI_WORD, "FORMAT", "csv|json|arrow",
	 "How rows look as bytes; csv by default", "format"},
	CLI_OPTIONS_END,
};

const cli_option cli_csv_options[] = {
	{CLI_DELIMITER, 0, "delimiter", CLI_TEXT, "CHARACTER", NULL,
	 "Between csv fields; a comma by default, \\t for a tab", "csv.delimiter"},
	{CLI_NULL, 0, "null", CLI_TEXT, "TEXT", NULL,
	 "The unquoted csv field that means NULL; empty by default", "csv.null"},
	{CLI_NO_HEADER, 0, "no-header", CLI_FLAG, NULL, NULL,
	 "The csv has no first record with the names of the columns", NULL},
	CLI_OPTIONS_END,
};

const cli_option cli_run_options[] = {
	{CLI_QUIET, 0, "quiet", CLI_FLAG, NULL, NULL, "Show no progress, only warnings and errors",
	 NULL},
	{CLI_LOG, 0, "log", CLI_WORD, "FORM", "text|json",
	 "Form of the lines on standard error; json is one object a line", NULL},
	{CLI_HELP, 'h', "help", CLI_FLAG, NULL, NULL, "Show this help and exit", NULL},
	CLI_OPTIONS_END,
};

int
cli_usage(const cli_command *command, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (command != NULL)
		report_usage(text, command->name);
	else
		report_usage(text, NULL);
	return CLI_EXIT_USAGE;
}

/* The options of all groups as one array of pointers; returns how many. */
static size_t
collect(const cli_command *command, const cli_option **all)
{
	size_t n = 0;

	for (const cli_option *const *group = command->groups; *group != NULL; group++)
	{
		for (const cli_option *option = *group; option->name != NULL && n < MAX_OPTIONS; option++)
			all[n++] = option;
	}
	return n;
}

/* getopt's two descriptions of the same options. val of a long option is its index + 256. */
static void
describe_to_getopt(const cli_option *const *all, size_t n, struct option *longs, char *shorts)
{
	*shorts++ = ':';
	for (size_t i = 0; i < n; i++)
	{
		bool argument = all[i]->kind != CLI_FLAG;

		longs[i] = (struct option){.name = all[i]->name,
								   .has_arg = argument ? required_argument : no_argument,
								   .val = 256 + (int) i};
		if (all[i]->letter != 0)
		{
			*shorts++ = all[i]->letter;
			if (argument)
				*shorts++ = ':';
		}
	}
	*shorts = '\0';
	longs[n] = (struct option){0};
}

static const cli_option *
chosen(const cli_option *const *all, size_t n, int code)
{
	if (code >= 256)
		return (size_t) (code - 256) < n ? all[code - 256] : NULL;
	for (size_t i = 0; i < n; i++)
	{
		if (all[i]->letter != 0 && all[i]->letter == code)
			return all[i];
	}
	return NULL;
}

static bool
parse_number(const char *text, int64_t min, int64_t *out)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || value < min)
		return false;
	*out = value;
	return true;
}

static bool
is_word(const char *words, const char *value)
{
	size_t len = strlen(value);

	for (const char *at = words; at != NULL; at = strchr(at, '|'))
	{
		if (*at == '|')
			at++;
		if (len > 0 && strncmp(at, value, len) == 0 && (at[len] == '|' || at[len] == '\0'))
			return true;
	}
	return false;
}

/* -1, or the exit code after a message. */
static int
take(cli_args *args, const cli_option *option, const char *value)
{
	int64_t number;

	switch (option->kind)
	{
		case CLI_FLAG:
			value = "";
			break;
		case CLI_TEXT:
		case CLI_NAMES:
			break;
		case CLI_WORD:
			if (!is_word(option->words, value))
				return cli_usage(args->command, "--%s is one of %s, not \"%s\"", option->name,
								 option->words, value);
			break;
		case CLI_COUNT:
		case CLI_POSITIVE:
			if (!parse_number(value, option->kind == CLI_COUNT ? 0 : 1, &number))
				return cli_usage(args->command, "--%s takes a whole number from %d, not \"%s\"",
								 option->name, option->kind == CLI_COUNT ? 0 : 1, value);
			break;
		case CLI_PAIR:
			/* The text itself may be a password: it is not repeated. */
			if (strchr(value, '=') == NULL || value[0] == '=')
				return cli_usage(args->command, "--%s takes %s", option->name, option->argument);
			args->with = cli_realloc(args->with, (args->nwith + 1) * sizeof(*args->with));
			args->with[args->nwith++] = value;
			break;
	}
	args->value[option->id] = value;
	return -1;
}

/* An option that is none: whether it is short for several, else what it may have been meant to be. */
static int
refuse_unknown(const cli_command *command, const char *word, int len)
{
	const cli_option *all[MAX_OPTIONS];
	size_t n = collect(command, all);
	const cli_option *nearest = NULL;
	int best = 3;
	int matches = 0;
	char *name = cli_format("%.*s", len > 2 ? len - 2 : 0, len > 2 ? word + 2 : "");

	for (size_t i = 0; i < n; i++)
	{
		int distance = names_distance(name, all[i]->name);

		matches += name[0] != '\0' && strncmp(all[i]->name, name, strlen(name)) == 0;
		if (distance < best && name[0] != '\0')
		{
			best = distance;
			nearest = all[i];
		}
	}
	free(name);
	if (matches > 1)
		return cli_usage(command, "option \"%.*s\" is short for several", len, word);
	if (nearest != NULL)
		return cli_usage(command, "there is no option \"%.*s\"; did you mean \"--%s\"?", len, word,
						 nearest->name);
	return cli_usage(command, "there is no option \"%.*s\"", len, word);
}

/* What getopt stumbled over, as the user wrote it but without a value. */
static int
refuse(const cli_command *command, int argc, char **argv, bool missing)
{
	const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
	char letter[3] = {'-', (char) optopt, 0};
	int len;

	if (optopt != 0 && optopt < 256)
		word = letter;
	len = (int) strcspn(word, "=");
	if (missing)
		return cli_usage(command, "option \"%.*s\" needs a value", len, word);
	if (optopt >= 256)
		return cli_usage(command, "option \"%.*s\" takes no value", len, word);
	return refuse_unknown(command, word, len);
}

static int
check_operands(const cli_command *command, const cli_args *args)
{
	if (args->noperands < command->min_operands)
		return cli_usage(command, "%s is missing", command->operands[args->noperands]);
	if (args->noperands > command->max_operands)
		return cli_usage(command, "too many arguments: %d where %d are taken", args->noperands,
						 command->max_operands);
	return -1;
}

int
cli_args_parse(const cli_command *command, int argc, char **argv, cli_args *args)
{
	const cli_option *all[MAX_OPTIONS];
	struct option longs[MAX_OPTIONS + 1];
	char shorts[2 * MAX_OPTIONS + 2];
	size_t n = collect(command, all);
	int code;

	*args = (cli_args){.command = command};
	describe_to_getopt(all, n, longs, shorts);
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1)
	{
		const cli_option *option = chosen(all, n, code);
		int exit_code;

		if (option == NULL)
			return refuse(command, argc, argv, code == ':');
		if (option->id == CLI_HELP)
		{
			cli_help_command(command);
			return CLI_EXIT_OK;
		}
		exit_code = take(args, option, optarg);
		if (exit_code >= 0)
			return exit_code;
	}
	args->operands = argv + optind;
	args->noperands = argc - optind;
	return check_operands(command, args);
}

int
cli_check_csv(const cli_args *args)
{
	const char *format = args->value[CLI_FORMAT];

	if (format == NULL || strcmp(format, "csv") == 0)
		return -1;
	for (const cli_option *option = cli_csv_options; option->name != NULL; option++)
	{
		if (cli_given(args, option->id))
			return cli_usage(args->command, "--%s is for csv, not for --format %s", option->name,
							 format);
	}
	return -1;
}

void
cli_args_free(cli_args *args)
{
	free(args->with);
	args->with = NULL;
	args->nwith = 0;
}

int64_t
cli_number(const cli_args *args, cli_opt opt, int64_t dflt)
{
	int64_t number;

	if (args->value[opt] == NULL || !parse_number(args->value[opt], 0, &number))
		return dflt;
	return number;
}

/* Prints words between columns `indent` and 78; the cursor is at column `at`. */
static void
print_wrapped(const char *text, int indent, int at)
{
	while (*text != '\0')
	{
		int len = (int) strcspn(text, " \n");

		if (at > indent && at + 1 + len > 78)
		{
			printf("\n%*s", indent, "");
			at = indent;
		}
		else if (at > indent)
		{
			putchar(' ');
			at++;
		}
		else if (at < indent)
		{
			printf("%*s", indent - at, "");
			at = indent;
		}
		printf("%.*s", len, text);
		at += len;
		text += len;
		if (strncmp(text, "\n\n", 2) == 0)
		{
			printf("\n\n%*s", indent, "");
			at = indent;
		}
		text += strspn(text, " \n");
	}
	putchar('\n');
}

static void
print_option(const cli_option *option)
{
	int at;

	at = option->letter != 0 ? printf("  -%c, --%s", option->letter, option->name)
							 : printf("      --%s", option->name);
	if (option->argument != NULL)
		at += printf("=%s", option->words != NULL ? option->words : option->argument);
	if (at > 28)
	{
		putchar('\n');
		at = 0;
	}
	print_wrapped(option->help, 30, at);
}

void
cli_help_command(const cli_command *command)
{
	const char *lead = "Usage: ";

	for (const char *const *line = command->synopsis; *line != NULL; line++, lead = "       ")
		printf("%spenstock %s %s\n", lead, command->name, *line);
	putchar('\n');
	print_wrapped(command->description, 0, 0);
	printf("\nOptions:\n");
	for (const cli_option *const *group = command->groups; *group != NULL; group++)
	{
		for (const cli_option *option = *group; option->name != NULL; option++)
			print_option(option);
	}
}

void
cli_help(void)
{
	printf("Usage: penstock COMMAND DB [ARGUMENT]...\n"
		   "       penstock COMMAND --help | --help | --version | --man\n\n"
		   "Moves rows between PostgreSQL and files, pipes and other databases.\n\n"
		   "Commands:\n");
	for (const cli_command *const *command = cli_commands; *command != NULL; command++)
		printf("  %-12s%s\n", (*command)->name, (*command)->summary);
	printf(
		"\nDB is a libpq URI (postgresql://host/db) or keyword string (\"host=a dbname=b\"), or\n"
		"jdbc:postgresql://host/db; \"\" takes everything from PGHOST, PGDATABASE and the like.\n"
		"Exit codes: 0 done, 1 data or server error, 2 usage, 3 doctor found what blocks,\n"
		"4 fenced, 130 or 143 on a signal, 141 when the output was closed.\n");
}
