/* cmd_tables.c - penstock tables: the tables of a schema, or of all but the system's. */
#include <stdio.h>

#include "answer.h"
#include "report.h"
#include "session.h"

static pst_status
ask(pst_catalog *catalog, const cli_args *args, char **text, pst_error *err)
{
	return pst_catalog_tables(catalog, args->noperands > 1 ? args->operands[1] : NULL, text, err);
}

static int
print(const cli_args *args, pst_catalog *catalog, const char *text)
{
	answer *tables;

	if (cli_given(args, CLI_JSON))
	{
		printf("{\"transport\":\"%s\",\"tables\":%s}\n", pst_catalog_transport(catalog), text);
		return CLI_EXIT_OK;
	}
	tables = answer_parse(text);
	for (const answer *one = tables != NULL ? tables->first : NULL; one != NULL; one = one->next)
		printf("%s\t%s\n", answer_text(one, "qualified"), answer_text(one, "kind"));
	answer_free(tables);
	return CLI_EXIT_OK;
}

static int
run(const cli_args *args)
{
	return session_answer(args, ask, print);
}

static const cli_option options[] = {
	{CLI_JSON, 0, "json", CLI_FLAG, NULL, NULL,
	 "Print one JSON object: transport, and tables with schema, name, kind, comment and row "
	 "estimate",
	 NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {"DB [SCHEMA] [--json]", NULL};
static const char *const operands[] = {"DB", "SCHEMA", NULL};
static const cli_option *const groups[] = {options, cli_db_options, cli_run_options, NULL};

const cli_command cmd_tables = {
	.name = "tables",
	.summary = "list tables and views",
	.synopsis = synopsis,
	.description =
		"Lists tables, partitioned tables, views, materialized views and foreign tables, one a "
		"line: schema.table, a tab, the kind; sorted, names quoted where SQL needs it. Without "
		"SCHEMA those of all schemas but the system's.",
	.min_operands = 1,
	.max_operands = 2,
	.operands = operands,
	.groups = groups,
	.run = run,
};
