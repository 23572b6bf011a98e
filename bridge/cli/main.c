/* main.c - the command penstock: finds the command in the table and runs it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "db.h"
#include "memory.h"
#include "names.h"
#include "penstock.h"
#include "report.h"

const cli_command *const cli_commands[] = {
	&cmd_databases, &cmd_tables, &cmd_describe, &cmd_read,	 &cmd_write,
	&cmd_copy,		&cmd_cdc,	 &cmd_slots,	&cmd_doctor, NULL,
};

static int
show_help(void)
{
	cli_help();
	return CLI_EXIT_OK;
}

static int
show_version(void)
{
	printf("penstock %s\n", pst_version());
	return CLI_EXIT_OK;
}

static int
show_man(void)
{
	cli_man();
	return CLI_EXIT_OK;
}

/* What may stand in place of a command; help may name one. */
static const struct
{
	const char *name;
	int (*run)(void);
} shows[] = {
	{"--help", show_help},		 {"help", show_help}, {"-h", show_help},
	{"--version", show_version}, {"--man", show_man},
};

const cli_command *
cli_find_command(const char *name)
{
	for (const cli_command *const *command = cli_commands; *command != NULL; command++)
	{
		if (strcmp((*command)->name, name) == 0)
			return *command;
	}
	return NULL;
}

static int
refuse_command(const char *name)
{
	const cli_command *nearest = NULL;
	int best = 3;

	for (const cli_command *const *command = cli_commands; *command != NULL; command++)
	{
		int distance = names_distance(name, (*command)->name);

		if (distance < best)
		{
			best = distance;
			nearest = *command;
		}
	}
	return cli_usage(NULL, "there is no command \"%s\"%s%s%s", name,
					 nearest != NULL ? "; did you mean \"" : "",
					 nearest != NULL ? nearest->name : "", nearest != NULL ? "\"?" : "");
}

/* Asked for in the arguments, before they are read: errors in them are told in that form too. */
static bool
wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--") == 0)
			return false;
		if (strcmp(argv[i], "--log=json") == 0 ||
			(strcmp(argv[i], "--log") == 0 && i + 1 < argc && strcmp(argv[i + 1], "json") == 0))
			return true;
	}
	return false;
}

static int
run_command(const cli_command *command, int argc, char **argv)
{
	cli_args args;
	const char *form;
	int exit_code;

	report_init(command, false, wants_json(argc, argv));
	exit_code = cli_args_parse(command, argc, argv, &args);
	if (exit_code < 0)
	{
		form = args.value[CLI_LOG];
		report_init(command, cli_given(&args, CLI_QUIET),
					form != NULL && strcmp(form, "json") == 0);
		exit_code = command->run(&args);
	}
	cli_args_free(&args);
	return exit_code;
}

static int
run(int argc, char **argv)
{
	const cli_command *command;

	if (argc < 2)
	{
		fputs("Usage: penstock COMMAND DB [ARGUMENT]...\nTry \"penstock --help\".\n", stderr);
		return CLI_EXIT_USAGE;
	}
	if (argc > 2 && strcmp(argv[1], "help") == 0 && cli_find_command(argv[2]) != NULL)
	{
		cli_help_command(cli_find_command(argv[2]));
		return CLI_EXIT_OK;
	}
	for (size_t i = 0; i < sizeof(shows) / sizeof(shows[0]); i++)
	{
		if (strcmp(argv[1], shows[i].name) == 0)
			return shows[i].run();
	}
	command = cli_find_command(argv[1]);
	if (command == NULL)
		return refuse_command(argv[1]);
	return run_command(command, argc - 1, argv + 1);
}

/* Copies of the arguments: the originals can be seen by everyone, and lose their passwords. */
static char **
copy_arguments(int argc, char **argv)
{
	char **copies = cli_alloc(((size_t) argc + 1) * sizeof(*copies));

	for (int i = 0; i < argc; i++)
		copies[i] = cli_strdup(argv[i]);
	return copies;
}

/*
 * A standard stream that the caller has closed would be the next file or socket to be opened, and
 * the command would read rows from its own connection. It gets a file that refuses its use instead.
 */
static void
keep_standard_streams(void)
{
	static const int refusing[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
	{
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", refusing[fd]) != fd)
			_exit(CLI_EXIT_FAILED);
	}
}

int
main(int argc, char **argv)
{
	char **arguments = copy_arguments(argc, argv);
	int exit_code;

	db_scrub(argc, argv);
	keep_standard_streams();
	signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write, told by the exit code */
	report_init(NULL, false, false);
	exit_code = report_output(run(argc, arguments));
	for (int i = 0; i < argc; i++)
		free(arguments[i]);
	free(arguments);
	return exit_code;
}
