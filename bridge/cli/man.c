/* man.c - the manual page, from the tables of commands and options and the library's options. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "penstock.h"

/* Text as roff wants it: no line may begin with a dot or an apostrophe, hyphens are minus signs. */
static void
put_text(const char *text)
{
	bool line_start = true;

	for (; *text != '\0'; text++)
	{
		if (strncmp(text, "\n\n", 2) == 0)
		{
			fputs("\n.PP\n", stdout);
			text++;
			line_start = true;
			continue;
		}
		if (line_start && (*text == '.' || *text == '\''))
			fputs("\\&", stdout);
		line_start = *text == '\n';
		if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '-')
			fputs("\\-", stdout);
		else
			putchar(*text);
	}
}

static void
put_option(const cli_option *option)
{
	fputs(".TP\n\\fB", stdout);
	if (option->letter != 0)
		printf("\\-%c\\fR, \\fB", option->letter);
	fputs("\\-\\-", stdout);
	put_text(option->name);
	fputs("\\fR", stdout);
	if (option->argument != NULL)
	{
		fputs("=\\fI", stdout);
		put_text(option->words != NULL ? option->words : option->argument);
		fputs("\\fR", stdout);
	}
	putchar('\n');
	put_text(option->help);
	fputs(".\n", stdout);
}

static bool
is_shared(const cli_option *group)
{
	return group == cli_db_options || group == cli_run_options;
}

static void
put_synopsis(const cli_command *command)
{
	for (const char *const *line = command->synopsis; *line != NULL; line++)
	{
		printf(".TP\n\\fBpenstock %s\\fR ", command->name);
		for (const char *at = *line; *at != '\0'; at++)
		{
			/* A synopsis is broken and indented for --help. */
			if (*at == '\n')
			{
				at += strspn(at, "\n ") - 1;
				putchar(' ');
			}
			else if (*at == '-')
				fputs("\\-", stdout);
			else
				putchar(*at);
		}
		putchar('\n');
	}
}

static void
put_command(const cli_command *command)
{
	printf(".SS penstock %s\n", command->name);
	put_text(command->description);
	putchar('\n');
	for (const cli_option *const *group = command->groups; *group != NULL; group++)
	{
		for (const cli_option *option = *group; option->name != NULL && !is_shared(*group);
			 option++)
			put_option(option);
	}
}

static void
put_library_option(void *ctx, const char *name, const char *handles, const char *default_value,
				   const char *help)
{
	(void) ctx;
	fputs(".TP\n\\fB", stdout);
	put_text(name);
	fputs("\\fR (", stdout);
	put_text(handles);
	if (default_value[0] != '\0')
	{
		fputs("; ", stdout);
		put_text(default_value);
	}
	fputs(")\n", stdout);
	put_text(help);
	putchar('\n');
}

static void
put_head(void)
{
	printf(".TH PENSTOCK 1 \"\" \"penstock %s\" \"penstock\"\n", pst_version());
	fputs(".SH NAME\npenstock \\- rows between PostgreSQL and files, pipes and other databases\n"
		  ".SH SYNOPSIS\n",
		  stdout);
	for (const cli_command *const *command = cli_commands; *command != NULL; command++)
		put_synopsis(*command);
	fputs(".TP\n\\fBpenstock\\fR \\fICOMMAND\\fR \\fB\\-\\-help\\fR\n"
		  ".TP\n\\fBpenstock \\-\\-version\\fR | \\fB\\-\\-man\\fR\n",
		  stdout);
}

/* Everything that belongs to no single command: a heading and its text. */
static const struct
{
	const char *heading;
	const char *text;
} chapters[] = {
	{"DESCRIPTION",
	 "DB is a libpq URI (postgresql://host/db) or keyword string (\"host=a dbname=b\"), or "
	 "jdbc:postgresql://host/db. An empty text takes everything from the environment. TABLE is "
	 "read "
	 "as SQL reads a name: unquoted parts fold to lower case, a single part goes by the "
	 "search_path.\n\n"
	 "In a URI the characters @ / & ? # % of a password, and of every other part, are written %40 "
	 "%2F %26 %3F %23 %25; a URI that could be cut in two ways is refused. Of a JDBC URL the "
	 "parameters user, password, options, sslmode, ssl, sslcert, sslkey, sslrootcert, sslpassword, "
	 "sslNegotiation, channelBinding, gssEncMode, kerberosServerName, loadBalanceHosts, "
	 "ApplicationName, currentSchema (the search_path), connectTimeout, loginTimeout, "
	 "socketTimeout, tcpKeepAlive, targetServerType and readOnly are obeyed; others are warned of "
	 "once. A connect_timeout of DB or PGCONNECT_TIMEOUT holds for the whole login, unless --with "
	 "connect.timeout is given.\n\n"
	 "The transport is chosen by --with transport=auto|assisted|plain; the first progress line "
	 "says "
	 "which is used.\n\n"
	 "Progress is one live line on a terminal, and a line every few seconds on standard error when "
	 "it is none. A wait of more than ten seconds names the sessions, and the prepared "
	 "transactions, "
	 "that hold the command up."},
	{"FORMATS",
	 "csv is that of COPY ... (FORMAT csv, HEADER), with ISO dates, UTC, IntervalStyle postgres, "
	 "hex "
	 "bytea. json is the line that row_to_json gives, but an array with another lower bound than 1 "
	 "is its text, and a json string keeps its inner quotes, so that a json null is not SQL NULL. "
	 "arrow is the Arrow IPC stream. On writing, an absent column or key is not written and keeps "
	 "its default or present value."},
};

static const struct
{
	const char *heading;
	const char *text;
} tail[] = {
	{"EXIT STATUS",
	 "0 done; 1 data or server error; 2 usage; 3 doctor found what blocks; 4 fenced or already "
	 "running; 130 and 143 on SIGINT and SIGTERM, after the server's work was cancelled and the "
	 "open "
	 "transaction rolled back; 141, without a message, when whoever read the output has closed "
	 "it."},
	{"ENVIRONMENT",
	 "PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGPASSFILE, PGSERVICE, PGSSLMODE and the "
	 "other variables of libpq, and the files .pgpass and .pg_service.conf, are honoured."},
};

static void
put_examples(void)
{
	static const char *const examples[] = {
		"penstock read postgresql://localhost/shop public.orders -o orders.csv",
		"penstock read \"dbname=shop\" orders --where \"day > '2026-01-01'\" --format json | head",
		"penstock write \"dbname=shop\" prices prices.csv --mode upsert",
		"penstock copy \"dbname=shop\" orders \"host=b dbname=shop\" orders --create --jobs 4",
		"penstock describe \"dbname=shop\" orders --format flink",
	};

	fputs(".SH EXAMPLES\n", stdout);
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
	{
		fputs(".PP\n.nf\n", stdout);
		put_text(examples[i]);
		fputs("\n.fi\n", stdout);
	}
}

static void
put_groups(void)
{
	static const struct
	{
		const char *heading;
		const cli_option *options;
	} groups[] = {{"CONNECTION OPTIONS", cli_db_options}, {"GENERAL OPTIONS", cli_run_options}};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
	{
		printf(".SH %s\n", groups[i].heading);
		for (const cli_option *option = groups[i].options; option->name != NULL; option++)
			put_option(option);
	}
}

void
cli_man(void)
{
	put_head();
	for (size_t i = 0; i < sizeof(chapters) / sizeof(chapters[0]); i++)
	{
		printf(".SH %s\n", chapters[i].heading);
		put_text(chapters[i].text);
		putchar('\n');
	}
	fputs(".SH COMMANDS\n", stdout);
	for (const cli_command *const *command = cli_commands; *command != NULL; command++)
		put_command(*command);
	put_groups();
	fputs(".SH OPTIONS BY NAME\n", stdout);
	put_text("What --with takes: the handles that use an option, its default, its meaning. The "
			 "same names stand in a Flink WITH clause.\n");
	pst_options_visit(put_library_option, NULL);
	for (size_t i = 0; i < sizeof(tail) / sizeof(tail[0]); i++)
	{
		printf(".SH %s\n", tail[i].heading);
		put_text(tail[i].text);
		putchar('\n');
	}
	put_examples();
}
