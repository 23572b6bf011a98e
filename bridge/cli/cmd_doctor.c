/* cmd_doctor.c - penstock doctor: what works on this server, and what to do about the rest. */
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "report.h"
#include "session.h"

static pst_status
ask(pst_catalog *catalog, const cli_args *args, char **text, pst_error *err)
{
	if (cli_given(args, CLI_GRANTS))
		return pst_catalog_grants(catalog, args->value[CLI_GRANTS], NULL, NULL, text, err);
	return pst_catalog_doctor(catalog, text, err);
}

static bool
has_status(const answer *check, const char *status)
{
	const char *text = answer_text(check, "status");

	return text != NULL && strcmp(text, status) == 0;
}

/*
 * Whether a check is of what was asked for: a feature with --for, and what all features need; else all but
 * change capture, which a server has to be set up for, and most never are.
 */
static bool
is_asked_for(const cli_args *args, const answer *check)
{
	const char *feature = answer_text(check, "feature");

	if (feature == NULL)
		return true;
	if (!cli_given(args, CLI_FOR))
		return strcmp(feature, "cdc") != 0;
	return strcmp(feature, "server") == 0 || strcmp(feature, args->value[CLI_FOR]) == 0;
}

/* A statement a line, which can be pasted as it stands. */
static void
print_fix(const char *fix)
{
	printf("         fix:\n");
	while (*fix != '\0')
	{
		int len = (int) strcspn(fix, "\n");

		printf("         %.*s\n", len, fix);
		fix += len + (fix[len] == '\n');
	}
}

static void
print_check(const answer *check)
{
	const char *fix = answer_text(check, "fix");
	const char *message = answer_text(check, "message");

	printf("%-8s %s: %s", answer_text(check, "status"), answer_text(check, "feature"),
		   answer_text(check, "check"));
	if (message != NULL && message[0] != '\0')
		printf(": %s", message);
	putchar('\n');
	if (fix != NULL && fix[0] != '\0' && !has_status(check, "ok"))
		print_fix(fix);
}

/* The answer with the transport as its first member. */
static void
print_json(pst_catalog *catalog, const char *text)
{
	const char *rest = text + strspn(text, " \t\r\n");

	if (*rest == '{')
		rest += 1 + strspn(rest + 1, " \t\r\n");
	printf("{\"transport\":\"%s\"%s%s\n", pst_catalog_transport(catalog), *rest == '}' ? "" : ",",
		   rest);
}

static int
print(const cli_args *args, pst_catalog *catalog, const char *text)
{
	answer *report;
	const answer *checks;
	const char *server;
	bool blocked = false;

	if (cli_given(args, CLI_GRANTS))
	{
		size_t len = strlen(text);

		printf("%s%s", text, len > 0 && text[len - 1] == '\n' ? "" : "\n");
		return CLI_EXIT_OK;
	}
	report = answer_parse(text);
	checks = answer_get(report, "checks");
	server = answer_text(report, "server");
	if (cli_given(args, CLI_JSON))
		print_json(catalog, text);
	else
		printf("server   %s, transport %s\n", server != NULL ? server : "unknown",
			   pst_catalog_transport(catalog));
	for (const answer *check = checks != NULL ? checks->first : NULL; check != NULL;
		 check = check->next)
	{
		blocked |= has_status(check, "blocked") && is_asked_for(args, check);
		if (!cli_given(args, CLI_JSON) && (!cli_given(args, CLI_FOR) || is_asked_for(args, check)))
			print_check(check);
	}
	answer_free(report);
	return blocked ? CLI_EXIT_BLOCKED : CLI_EXIT_OK;
}

static int
run(const cli_args *args)
{
	if (cli_given(args, CLI_GRANTS) && cli_given(args, CLI_JSON))
		return cli_usage(args->command, "--grants prints SQL: it does not go with --json");
	if (cli_given(args, CLI_GRANTS) && cli_given(args, CLI_FOR))
		return cli_usage(args->command, "--grants checks nothing: it does not go with --for");
	return session_answer(args, ask, print);
}

static const cli_option options[] = {
	{CLI_JSON, 0, "json", CLI_FLAG, NULL, NULL,
	 "Print one JSON object: transport, server, and checks with feature, check, status, message "
	 "and fix",
	 NULL},
	{CLI_FOR, 0, "for", CLI_WORD, "FEATURE", "read|write|cdc|catalog",
	 "Check what this feature needs: the exit code tells whether it works. --json has the other "
	 "checks too",
	 NULL},
	{CLI_GRANTS, 0, "grants", CLI_WORD, "FEATURE", "read|write|cdc|catalog",
	 "Print the GRANT statements that a role needs for this feature, no more, and check nothing",
	 NULL},
	CLI_OPTIONS_END,
};

static const char *const synopsis[] = {"DB [--for FEATURE] [--json]", "DB --grants FEATURE", NULL};
static const char *const operands[] = {"DB", NULL};
static const cli_option *const groups[] = {options, cli_db_options, cli_run_options, NULL};

const cli_command cmd_doctor = {
	.name = "doctor",
	.summary = "check what works on a server, and say how to mend the rest",
	.synopsis = synopsis,
	.description =
		"Checks what works for this role on this server. Each line is a status (ok, reduced or "
		"blocked), the feature and the check; below it stands what to do. The exit code is 3 when "
		"something is blocked of what was asked for: the feature of --for; without it reading, "
		"writing and the catalog. Change capture, which a server has to be set up for, is told of "
		"and counts with --for cdc only.",
	.min_operands = 1,
	.max_operands = 1,
	.operands = operands,
	.groups = groups,
	.run = run,
};
