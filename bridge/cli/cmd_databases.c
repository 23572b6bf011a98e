/* cmd_databases.c - penstock databases: one name a line. */
#include <stdio.h>

#include "answer.h"
#include "report.h"
#include "session.h"

static pst_status
ask(pst_catalog *catalog, const cli_args *args, char **text, pst_error *err)
{
	(void) args;
	return pst_catalog_databases(catalog, text, err);
}

static int
print(const cli_args *args, pst_catalog *catalog, const char *text)
{
	answer *names = answer_parse(text);

	(void) args;
	(void) catalog;
	for (const answer *name = names != NULL ? names->first : NULL; name != NULL; name = name->next)
		printf("%s\n", name->text);
	answer_free(names);
	return CLI_EXIT_OK;
}

static int
run(const cli_args *args)
{
	if (cli_given(args, CLI_ALLOW) && cli_given(args, CLI_DENY))
		return cli_usage(args->command, "--allow and --deny exclude each other");
	return session_answer(args, ask, print);
}

static const cli_option options[] = {
	{CLI_ALLOW, 0, "allow", CLI_TEXT, "'A;B'", NULL,
	 "List these databases only, where they exist and can be connected to", "database.whitelist"},
	{CLI_DENY, 0, "deny", CLI_TEXT, "'A;B'", NULL,
	 "List all databases but these, template0 and template1 included", "database.blacklist"},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {"DB [--allow 'a;b' | --deny 'a;b']", NULL};
static const char *const operands[] = {"DB", NULL};
static const cli_option *const groups[] = {options, cli_db_options, cli_run_options, NULL};

const cli_command cmd_databases = {
	.name = "databases",
	.summary = "list the databases of a server",
	.synopsis = synopsis,
	.description =
		"Lists the databases that can be connected to, one name a line. Without --allow and --deny "
		"template0 and template1 are left out. Names in the lists are separated by semicolons and "
		"taken letter by letter.",
	.min_operands = 1,
	.max_operands = 1,
	.operands = operands,
	.groups = groups,
	.run = run,
};
