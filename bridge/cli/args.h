/*
 * args.h - commands and their options as tables: parsing, --help and the man page read the same.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_EXIT_OK 0
#define CLI_EXIT_FAILED 1	/* data or server error */
#define CLI_EXIT_USAGE 2	/* wrong arguments; nothing was done */
#define CLI_EXIT_BLOCKED 3	/* doctor found what blocks */
#define CLI_EXIT_FENCED 4	/* another writer of this name has taken over */
#define CLI_EXIT_SIGNAL 128 /* plus the signal's number */
#define CLI_EXIT_PIPE 141	/* whoever read the standard output has closed it */

typedef enum cli_opt
{
	CLI_USERNAME,
	CLI_PASSWORD,
	CLI_WITH,
	CLI_ALLOW,
	CLI_DENY,
	CLI_JSON,
	CLI_FORMAT,
	CLI_QUERY,
	CLI_COLUMNS,
	CLI_WHERE,
	CLI_LIMIT,
	CLI_JOBS,
	CLI_OUTPUT,
	CLI_MODE,
	CLI_CREATE,
	CLI_ROW_KIND_COLUMN,
	CLI_DELIMITER,
	CLI_NULL,
	CLI_NO_HEADER,
	CLI_MAX_RATE,
	CLI_GRANTS,
	CLI_FOR,
	CLI_DROP,
	CLI_ADVANCE,
	CLI_SLOT,
	CLI_START,
	CLI_JSON_VALUES,
	CLI_UNTIL,
	CLI_POSITION_FILE,
	CLI_DROP_SLOT,
	CLI_QUIET,
	CLI_LOG,
	CLI_HELP,
	CLI_OPT_COUNT
} cli_opt;

typedef enum cli_kind
{
	CLI_FLAG,
	CLI_TEXT,
	CLI_WORD,	  /* one of option->words */
	CLI_COUNT,	  /* an integer from 0 */
	CLI_POSITIVE, /* an integer from 1 */
	CLI_NAMES,	  /* columns, as SQL reads identifiers */
	CLI_PAIR	  /* KEY=VALUE, repeatable */
} cli_kind;

typedef struct cli_option
{
	cli_opt id;
	char letter; /* short form, or 0 */
	const char *name;
	cli_kind kind;
	const char *argument; /* what --help calls the value; NULL for a flag */
	const char *words;	  /* "a|b|c" of CLI_WORD */
	const char *help;	  /* sentences without the last full stop */
	const char *key;	  /* the library's option that the value is given to, or NULL */
} cli_option;

/* Ends a table of options. */
#define CLI_OPTIONS_END                                                                            \
	{                                                                                              \
		.name = NULL                                                                               \
	}

struct cli_args;

typedef struct cli_command
{
	const char *name;
	const char *summary;		 /* one line for the list of commands */
	const char *const *synopsis; /* what follows the name, NULL-terminated */
	const char *description;	 /* paragraphs, an empty line between them */
	int min_operands;
	int max_operands;
	const char *const *operands;			 /* what they are called, NULL-terminated */
	const cli_option *const *groups;		 /* tables of options, NULL-terminated */
	int (*run)(const struct cli_args *args); /* the exit code */
} cli_command;

typedef struct cli_args
{
	const cli_command *command;
	const char *value[CLI_OPT_COUNT]; /* NULL: not given; "" for a flag; borrowed from argv */
	const char **with;				  /* the KEY=VALUE texts of --with; owned */
	size_t nwith;
	char **operands; /* borrowed from argv */
	int noperands;
} cli_args;

extern const cli_command cmd_databases;
extern const cli_command cmd_tables;
extern const cli_command cmd_describe;
extern const cli_command cmd_read;
extern const cli_command cmd_write;
extern const cli_command cmd_copy;
extern const cli_command cmd_cdc;
extern const cli_command cmd_slots;
extern const cli_command cmd_doctor;

/* Every command, in the order of the manual; NULL-terminated. */
extern const cli_command *const cli_commands[];

/* Groups of options that commands share. */
extern const cli_option cli_db_options[];
extern const cli_option cli_format_options[];
extern const cli_option cli_csv_options[];
extern const cli_option cli_run_options[];

/*
 * Reads argv (argv[0] is the command's name) into *args. -1: go on; else the exit code, after a
 * message or the help.
 */
int cli_args_parse(const cli_command *command, int argc, char **argv, cli_args *args);
void cli_args_free(cli_args *args);

static inline bool
cli_given(const cli_args *args, cli_opt opt)
{
	return args->value[opt] != NULL;
}

/* The value of CLI_COUNT or CLI_POSITIVE, or dflt when it was not given. */
int64_t cli_number(const cli_args *args, cli_opt opt, int64_t dflt);

/* The entry of the table, or NULL. */
const cli_command *cli_find_command(const char *name);

void cli_help_command(const cli_command *command);
void cli_help(void);

/* Refuses options of csv beside another format: -1, or the exit code after a message. */
int cli_check_csv(const cli_args *args);

/* Says what is wrong with the arguments; returns CLI_EXIT_USAGE. */
int cli_usage(const cli_command *command, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* man.c: the manual page in man(7) macros on standard output. */
void cli_man(void);

#endif /* CLI_ARGS_H */
