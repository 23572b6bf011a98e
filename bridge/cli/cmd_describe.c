/* cmd_describe.c - penstock describe: all about one table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "memory.h"
#include "report.h"
#include "session.h"

#define COLUMNS_SHOWN 4

static bool
is_format(const cli_args *args, const char *format)
{
	const char *given = args->value[CLI_FORMAT];

	return strcmp(given != NULL ? given : "text", format) == 0;
}

static pst_status
ask(pst_catalog *catalog, const cli_args *args, char **text, pst_error *err)
{
	if (is_format(args, "flink"))
		return pst_catalog_flink_ddl(catalog, args->operands[1], text, err);
	return pst_catalog_describe(catalog, args->operands[1], text, err);
}

/* How wide a UTF-8 text is, when every character is one column wide. */
static int
width(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static const char *
or_empty(const char *text)
{
	return text != NULL ? text : "";
}

/* Kind and name, comment, estimates. */
static void
print_title(const answer *table)
{
	const char *kind = or_empty(answer_text(table, "kind"));
	const char *persistence = or_empty(answer_text(table, "persistence"));
	const char *comment = answer_text(table, "comment");
	const char *rows = answer_text(table, "rows");
	const char *bytes = answer_text(table, "bytes");
	bool permanent = strcmp(persistence, "permanent") == 0;

	printf("%s%s%s %s\n", permanent ? "" : persistence, permanent ? "" : " ", kind,
		   or_empty(answer_text(table, "qualified")));
	if (comment != NULL)
		printf("%s\n", comment);
	if (rows != NULL)
		printf("about %s rows%s%s%s\n", rows, bytes != NULL ? ", " : "", or_empty(bytes),
			   bytes != NULL ? " bytes" : "");
	putchar('\n');
}

/* Appends "before text" to a line of modifiers, which it frees and returns anew. */
static char *
add_modifier(char *line, const char *before, const char *text)
{
	char *longer;

	if (text == NULL)
		return line;
	longer = cli_format("%s%s%s%s", line, line[0] != '\0' ? " " : "", before, text);
	free(line);
	return longer;
}

/* not null, default, identity or generation, collation of a column. Moved to the caller. */
static char *
modifiers(const answer *column)
{
	char *line = cli_strdup("");

	line = add_modifier(line, "", answer_is(column, "not_null") ? "not null" : NULL);
	line = add_modifier(line, "identity ", answer_text(column, "identity"));
	line = add_modifier(line, "generated as ", answer_text(column, "generation_expression"));
	line = add_modifier(line, "", answer_text(column, "generated"));
	line = add_modifier(line, "default ", answer_text(column, "default"));
	return add_modifier(line, "collate ", answer_text(column, "collation"));
}

/* The first n cells of a row; no blanks at its end. */
static void
print_row(char *const *cells, const int *widths, int n)
{
	while (n > 1 && cells[n - 1][0] == '\0')
		n--;
	for (int i = 0; i < n; i++)
	{
		if (i == n - 1)
			printf("%s\n", cells[i]);
		else
			printf("%s%*s | ", cells[i], widths[i] - width(cells[i]), "");
	}
}

static void
print_rule(const int *widths, int shown)
{
	for (int i = 0; i < shown; i++)
	{
		for (int n = widths[i] + (i > 0 ? 1 : 0) + (i < shown - 1 ? 1 : 0); n > 0; n--)
			putchar('-');
		putchar(i < shown - 1 ? '+' : '\n');
	}
}

/* The columns as a table of name, type, modifiers and comment; the last two where there are any. */
static void
print_columns(const answer *columns)
{
	static const char *const heads[COLUMNS_SHOWN] = {"column", "type", "modifiers", "comment"};
	size_t n = answer_size(columns);
	char **cells = cli_alloc((n + 1) * COLUMNS_SHOWN * sizeof(*cells));
	int widths[COLUMNS_SHOWN] = {0};
	bool used[COLUMNS_SHOWN] = {true, true};
	int shown = COLUMNS_SHOWN;
	size_t row = 1;

	for (int i = 0; i < COLUMNS_SHOWN; i++)
		cells[i] = cli_strdup(heads[i]);
	for (const answer *c = columns != NULL ? columns->first : NULL; c != NULL; c = c->next, row++)
	{
		char **cell = &cells[row * COLUMNS_SHOWN];

		cell[0] = cli_strdup(or_empty(answer_text(c, "name")));
		cell[1] = cli_strdup(or_empty(answer_text(c, "type")));
		cell[2] = modifiers(c);
		cell[3] = cli_strdup(or_empty(answer_text(c, "comment")));
	}
	for (size_t i = 0; i < (n + 1) * COLUMNS_SHOWN; i++)
	{
		int w = width(cells[i]);

		if (w > widths[i % COLUMNS_SHOWN])
			widths[i % COLUMNS_SHOWN] = w;
		used[i % COLUMNS_SHOWN] |= i >= COLUMNS_SHOWN && w > 0;
	}
	while (!used[shown - 1])
		shown--;
	for (size_t i = 0; i <= n; i++)
	{
		print_row(cells + i * COLUMNS_SHOWN, widths, shown);
		if (i == 0)
			print_rule(widths, shown);
	}
	for (size_t i = 0; i < (n + 1) * COLUMNS_SHOWN; i++)
		free(cells[i]);
	free(cells);
}

/* A heading and one line for each item: the texts of `keys` that are there. */
static void
print_list(const answer *table, const char *member, const char *heading, const char *name_key,
		   const char *text_key)
{
	const answer *list = answer_get(table, member);

	if (answer_size(list) == 0)
		return;
	printf("\n%s:\n", heading);
	for (const answer *item = list->first; item != NULL; item = item->next)
	{
		if (item->kind == ANSWER_STRING)
			printf("    %s\n", item->text);
		else if (text_key == NULL)
			printf("    %s\n", or_empty(answer_text(item, name_key)));
		else
			printf("    %s: %s\n", or_empty(answer_text(item, name_key)),
				   or_empty(answer_text(item, text_key)));
	}
}

static void
print_names(const char *heading, const answer *names)
{
	if (answer_size(names) == 0)
		return;
	printf("%s: ", heading);
	for (const answer *name = names->first; name != NULL; name = name->next)
		printf("%s%s", name->text, name->next != NULL ? ", " : "\n");
}

static void
print_partitioning(const answer *table)
{
	const answer *partitioning = answer_get(table, "partitioning");
	const answer *parent = answer_get(table, "partition_of");

	if (parent != NULL && parent->kind == ANSWER_OBJECT)
		printf("\npartition of %s %s\n", or_empty(answer_text(parent, "qualified")),
			   or_empty(answer_text(parent, "bounds")));
	if (partitioning == NULL || partitioning->kind != ANSWER_OBJECT)
		return;
	printf("\npartition key: %s\n", or_empty(answer_text(partitioning, "key")));
	print_list(partitioning, "partitions", "partitions", "qualified", "bounds");
}

/* The index of the primary key is told by the key, unless it holds more columns. */
static void
print_indexes(const answer *indexes)
{
	bool any = false;

	for (const answer *one = indexes != NULL ? indexes->first : NULL; one != NULL; one = one->next)
	{
		if (answer_is(one, "primary") && answer_size(answer_get(one, "include")) == 0)
			continue;
		if (!any)
			printf("\nindexes:\n");
		any = true;
		printf("    %s\n", or_empty(answer_text(one, "definition")));
	}
}

/* What is said of most tables is left out: that their old rows are logged by the primary key. */
static void
print_replica_identity(const answer *table)
{
	const char *identity = or_empty(answer_text(table, "replica_identity"));
	const char *index = answer_text(table, "replica_identity_index");
	const char *kind = or_empty(answer_text(table, "kind"));

	if (strcmp(identity, "default") != 0 && strstr(kind, "table") != NULL &&
		strcmp(kind, "foreign table") != 0)
		printf("\nreplica identity: %s%s%s\n", identity, index != NULL ? " " : "", or_empty(index));
}

static void
print_text(const answer *table)
{
	const answer *security = answer_get(table, "row_security");
	const answer *key = answer_get(table, "primary_key");

	print_title(table);
	print_columns(answer_get(table, "columns"));
	if (key != NULL && key->kind == ANSWER_OBJECT)
	{
		putchar('\n');
		print_names(answer_is(key, "without_overlaps") ? "primary key without overlaps"
													   : "primary key",
					answer_get(key, "columns"));
	}
	print_indexes(answer_get(table, "indexes"));
	print_list(table, "checks", "checks", "name", "definition");
	print_list(table, "foreign_keys", "foreign keys", "name", "definition");
	print_partitioning(table);
	print_list(table, "inherits", "inherits from", NULL, NULL);
	print_list(table, "inherited_by", "inherited by", NULL, NULL);
	print_list(table, "triggers", "triggers", "definition", NULL);
	print_list(table, "rules", "rules", NULL, NULL);
	if (answer_is(security, "enabled"))
		printf("\nrow security: enabled%s%s\n", answer_is(security, "forced") ? ", forced" : "",
			   answer_is(security, "active") ? ", active for this role" : "");
	print_replica_identity(table);
}

static int
print(const cli_args *args, pst_catalog *catalog, const char *text)
{
	answer *table;

	(void) catalog;
	if (!is_format(args, "text"))
	{
		printf("%s\n", text);
		return CLI_EXIT_OK;
	}
	table = answer_parse(text);
	if (table == NULL)
	{
		report_failure("the library's description of \"%s\" cannot be read", args->operands[1]);
		return CLI_EXIT_FAILED;
	}
	print_text(table);
	answer_free(table);
	return CLI_EXIT_OK;
}

static int
run(const cli_args *args)
{
	return session_answer(args, ask, print);
}

static const cli_option options[] = {
	{CLI_FORMAT, 0, "format", CLI_WORD, "FORMAT", "text|json|flink",
	 "text (default) for people, json for programs, flink for a CREATE TABLE statement", NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {"DB TABLE [--format text|json|flink]", NULL};
static const char *const operands[] = {"DB", "TABLE", NULL};
static const cli_option *const groups[] = {options, cli_db_options, cli_run_options, NULL};

const cli_command cmd_describe = {
	.name = "describe",
	.summary = "show columns, types, keys, indexes and partitions of a table",
	.synopsis = synopsis,
	.description =
		"Describes a table or view: columns with exact types, keys, indexes, partitioning, "
		"constraints, triggers, row security. flink gives a CREATE TABLE statement for Flink SQL, "
		"ready to paste, without the password.",
	.min_operands = 2,
	.max_operands = 2,
	.operands = operands,
	.groups = groups,
	.run = run,
};
