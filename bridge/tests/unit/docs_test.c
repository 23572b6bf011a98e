/*
 * docs_test.c - docs/bridge.md says what the code does, in its tables of options and of SQLSTATEs, and
 * docs/cdc.md in its table of other connectors' options.
 *
 *   docs_test --options, --sqlstates, --foreign      print the tables as they must stand there (make docs)
 */
#include "test.h"

#include "error.h"
#include "options.h"

static char *document; /* docs/bridge.md */
static char *cdc_document;

static char *
read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text = malloc(1 << 20);
	size_t len;

	assert_non_null(file);
	len = fread(text, 1, (1 << 20) - 1, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

static int
read_documents(void **state)
{
	(void) state;
	document = read_file(TEST_TOP "/docs/bridge.md");
	cdc_document = read_file(TEST_TOP "/docs/cdc.md");
	return 0;
}

static int
free_documents(void **state)
{
	(void) state;
	free(document);
	free(cdc_document);
	return 0;
}

/* The lines of the table after a heading, counted: those that begin with "| `". */
static size_t
rows_after(const char *text, const char *heading)
{
	const char *at = strstr(text, heading), *end;
	size_t n = 0;

	assert_non_null(at);
	end = strstr(at + 1, "\n## ");
	for (at = strstr(at, "\n| `"); at != NULL && (end == NULL || at < end);
		 at = strstr(at + 1, "\n| `"))
		n++;
	return n;
}

/* ---- options ------------------------------------------------------------------------------- */

/* A pipe inside a cell would end it. */
static void
no_pipes(char *line)
{
	for (char *at = strchr(line, '|'); at != NULL; at = strchr(at + 1, '|'))
		if (at > line && at[1] != ' ' && at[1] != '\n')
			*at = '/';
}

static void
tell(size_t *count, const char *text, const char *line)
{
	if (count == NULL)
		printf("%s", line);
	else
	{
		(*count)++;
		assert_contains(text, line);
	}
}

static void
visit_option(void *ctx, const char *name, const char *handles, const char *dflt, const char *help)
{
	char line[1024];
	psti_opt_kind kind;
	const char *words;

	if (psti_opt_foreign(name, &kind, &words))
		return;
	snprintf(line, sizeof(line), "| `%s` | %s | %s%s%s | %s |\n", name, handles, *dflt ? "`" : "",
			 dflt, *dflt ? "`" : "", help);
	no_pipes(line);
	tell(ctx, document, line);
}

static void
visit_foreign(void *ctx, const char *name, const char *handles, const char *dflt, const char *help)
{
	char line[1024];
	psti_opt_kind kind;
	const char *words;

	(void) handles;
	(void) dflt;
	if (!psti_opt_foreign(name, &kind, &words))
		return;
	snprintf(line, sizeof(line), "| `%s` | %s%s%s | %s |\n", name,
			 kind == PSTI_KIND_TUNING	 ? "no effect"
			 : kind == PSTI_KIND_REFUSED ? "refused"
										 : "only `",
			 kind == PSTI_KIND_FIXED ? words : "", kind == PSTI_KIND_FIXED ? "`" : "", help);
	no_pipes(line);
	tell(ctx, cdc_document, line);
}

static void
every_option_stands_in_the_manual_and_no_other(void **state)
{
	size_t n = 0;

	(void) state;
	pst_options_visit(visit_option, &n);
	assert_true(n > 0);
	assert_int_equal(rows_after(document, "\n## Options"), n);
}

static void
every_option_of_other_connectors_stands_there_and_no_other(void **state)
{
	size_t n = 0;

	(void) state;
	pst_options_visit(visit_foreign, &n);
	assert_true(n > 0);
	assert_int_equal(rows_after(cdc_document, "\n## Options of other connectors"), n);
}

/* ---- SQLSTATE ------------------------------------------------------------------------------ */

/* In the manual's order, codes before their class. */
static const char *const sqlstates[] = {
	"08P01", "08",	  "0A",	   "0L",	"0P",	 "21",	  "22",	   "23",	"25006", "25P03",
	"25",	 "26000", "28",	   "3D000", "3F000", "40002", "40003", "40",	"42501", "42P01",
	"42703", "42704", "42883", "42P04", "42P06", "42P07", "42701", "42710", "42",	 "44",
	"53",	 "54",	  "55P03", "55",	"57014", "57P04", "57P05", "57P",	"58",	 "XX",
};

static void
sqlstate_line(char *line, size_t size, const char *prefix)
{
	char code[6] = "00000";
	bool retryable;
	pst_status status;

	memcpy(code, prefix, strlen(prefix));
	status = psti_sqlstate_status(code, &retryable);
	snprintf(line, size, "| `%s` | %s | %s |\n", prefix, pst_status_name(status),
			 retryable ? "yes" : "no");
}

static void
the_manual_gives_each_sqlstate_its_status(void **state)
{
	char line[128];

	(void) state;
	for (size_t i = 0; i < sizeof(sqlstates) / sizeof(sqlstates[0]); i++)
	{
		sqlstate_line(line, sizeof(line), sqlstates[i]);
		assert_contains(document, line);
	}
	assert_int_equal(rows_after(document, "\n## SQLSTATE"),
					 sizeof(sqlstates) / sizeof(sqlstates[0]));
}

/* The longest entry of the manual that a code begins with, or NULL. */
static const char *
entry_of(const char *code)
{
	const char *best = NULL;

	for (size_t i = 0; i < sizeof(sqlstates) / sizeof(sqlstates[0]); i++)
		if (strncmp(sqlstates[i], code, strlen(sqlstates[i])) == 0 &&
			(best == NULL || strlen(sqlstates[i]) > strlen(best)))
			best = sqlstates[i];
	return best;
}

static void
check_code(const char *code)
{
	const char *entry = entry_of(code);
	char of_entry[6] = "00000";
	bool retryable, want_retryable = false;
	pst_status status = psti_sqlstate_status(code, &retryable), want = PST_ERR_SERVER;

	if (entry != NULL)
	{
		memcpy(of_entry, entry, strlen(entry));
		want = psti_sqlstate_status(of_entry, &want_retryable);
	}
	if (status != want || retryable != want_retryable)
		fail_msg("%s is %s%s, which docs/bridge.md does not say", code, pst_status_name(status),
				 retryable ? ", retryable" : "");
}

static void
codes_that_are_not_named_behave_as_their_entry_says(void **state)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	uint64_t seed = 1;

	(void) state;
	/* Every class with every third character, the last two at random. */
	for (uint32_t n = 0; n < 36u * 36 * 36; n++)
	{
		uint32_t tail = (uint32_t) (test_random(&seed) % (36 * 36));
		char code[6] = {digits[n / 1296],  digits[n / 36 % 36], digits[n % 36],
						digits[tail / 36], digits[tail % 36],	'\0'};

		check_code(code);
	}
	/* The codes of the standard and of PostgreSQL, 00000 to ..P99, of the classes with entries. */
	for (size_t c = 0; c < sizeof(sqlstates) / sizeof(sqlstates[0]); c++)
		for (uint32_t n = 0; n < 36u * 36 * 36; n += n % 36 == 9 ? 27 : 1)
		{
			char code[6] = {sqlstates[c][0],	 sqlstates[c][1], digits[n / 1296],
							digits[n / 36 % 36], digits[n % 36],  '\0'};

			check_code(code);
		}
}

static void
print_sqlstates(void)
{
	char line[128];

	for (size_t i = 0; i < sizeof(sqlstates) / sizeof(sqlstates[0]); i++)
	{
		sqlstate_line(line, sizeof(line), sqlstates[i]);
		printf("%s", line);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_option_stands_in_the_manual_and_no_other),
		cmocka_unit_test(every_option_of_other_connectors_stands_there_and_no_other),
		cmocka_unit_test(the_manual_gives_each_sqlstate_its_status),
		cmocka_unit_test(codes_that_are_not_named_behave_as_their_entry_says),
	};

	if (argc > 1 && strcmp(argv[1], "--options") == 0)
		return pst_options_visit(visit_option, NULL), 0;
	if (argc > 1 && strcmp(argv[1], "--foreign") == 0)
		return pst_options_visit(visit_foreign, NULL), 0;
	if (argc > 1 && strcmp(argv[1], "--sqlstates") == 0)
		return print_sqlstates(), 0;
	return cmocka_run_group_tests(tests, read_documents, free_documents);
}
