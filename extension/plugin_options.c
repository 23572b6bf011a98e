/*
 * plugin_options.c - what a consumer of the output plugin asks for. See plugin_options.h.
 *
 * A list of patterns is separated by commas. A pattern is a regular expression in slashes, which has to
 * match the whole name (sales.orders, without quotes), or a name with dots between its parts. Parts are
 * as in psql: * is any text and ? any letter, capitals are folded but in double quotes, where every
 * letter means itself.
 */
#include "plugin_options.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/varlena.h"

#define MESSAGE_BYTES 65536
#define MESSAGE_BYTES_MIN 1
#define MESSAGE_BYTES_MAX (16 * 1024 * 1024)
#define PARTS_MAX 3

/* One letter of a part: escaped, it means itself. */
#define ESCAPE '\001'

typedef struct pattern
{
	text *regex; /* of the whole name; else: */
	int nparts;
	char *parts[PARTS_MAX]; /* letters, with an escape before those that mean themselves */
} pattern;

/* ---- Matching ---- */

/*
 * A star takes as little as it can; when the rest does not fit, the last star takes a letter more. Those
 * before it need not be tried again, so that no pattern is slow.
 */
static bool
matches_part(const char *part, const char *name)
{
	const char *star = NULL;  /* behind the last one … */
	const char *taken = NULL; /* … and where what it has taken ends */

	for (;;)
	{
		if (*part == '*')
		{
			star = ++part;
			taken = name;
			continue;
		}
		if (*part == '\0' && *name == '\0')
			return true;
		if (*part == '?' && *name != '\0')
		{
			part++;
			name += pg_mblen(name);
			continue;
		}
		if (*part != '\0' && *part != '?')
		{
			const char *letter = *part == ESCAPE ? part + 1 : part;

			if (*letter == *name)
			{
				part = letter + 1;
				name++;
				continue;
			}
		}
		if (star == NULL || *taken == '\0')
			return false;
		taken += pg_mblen(taken);
		part = star;
		name = taken;
	}
}

static bool
matches_regex(const text *regex, const char *name)
{
	return DatumGetBool(DirectFunctionCall2Coll(textregexeq, C_COLLATION_OID,
												CStringGetTextDatum(name), PointerGetDatum(regex)));
}

static bool
matches(const List *patterns, int nparts, const char *const *names)
{
	StringInfoData whole;
	const ListCell *cell;

	initStringInfo(&whole);
	for (int i = 0; i < nparts; i++)
		appendStringInfo(&whole, "%s%s", i > 0 ? "." : "", names[i]);
	foreach (cell, patterns)
	{
		const pattern *p = lfirst(cell);
		bool same = p->regex != NULL && matches_regex(p->regex, whole.data);

		if (p->regex == NULL)
		{
			same = true;
			for (int i = 0; same && i < nparts; i++)
				same = matches_part(p->parts[i], names[i]);
		}
		if (same)
			return true;
	}
	return false;
}

bool
plugin_options_capture(const plugin_options *options, const char *schema, const char *table)
{
	const char *const names[] = {schema, table};

	return (options->include == NIL || matches(options->include, 2, names)) &&
		   !matches(options->exclude, 2, names);
}

bool
plugin_options_column(const plugin_options *options, const char *schema, const char *table,
					  const char *column)
{
	const char *const names[] = {schema, table, column};

	return (options->columns == NIL || matches(options->columns, 3, names)) &&
		   !matches(options->exclude_columns, 3, names);
}

bool
plugin_options_message(const plugin_options *options, const char *prefix)
{
	const char *const names[] = {prefix};

	return matches(options->messages, 1, names);
}

/* ---- Patterns ---- */

static _Noreturn void
bad_option(const char *option, const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("option %s of the output plugin penstock: %s", option, what),
					errhint("%s", hint)));
}

/* As the client has it; which letters are space to the server's own scanner depends on its version. */
static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static const char *
skip_space(const char *at)
{
	while (is_space(*at))
		at++;
	return at;
}

/* A regular expression in slashes, from behind the first one on. */
static const char *
take_regex(const char *option, const char *at, pattern *out)
{
	StringInfoData regex;

	initStringInfo(&regex);
	appendStringInfoString(&regex, "^(?:");
	for (; *at != '/'; at++)
	{
		if (*at == '\0')
			bad_option(option, "a regular expression without its closing slash",
					   "Write /expression/; a slash within it as \\/.");
		if (at[0] == '\\' && at[1] == '/')
			at++;
		else if (at[0] == '\\' && at[1] != '\0')
			appendStringInfoChar(&regex, *at++);
		appendStringInfoChar(&regex, *at);
	}
	appendStringInfoString(&regex, ")$");
	out->regex = cstring_to_text(regex.data);
	(void) matches_regex(out->regex, ""); /* an error now, if it is none */
	return at + 1;
}

/* One part of a name, up to a comma, space or the end, or a dot unless it may have dots. */
static const char *
take_part(const char *option, const char *at, bool dots, char **out)
{
	StringInfoData part;
	bool quoted = false;

	initStringInfo(&part);
	for (; *at != '\0'; at++)
	{
		if (*at == '"' && quoted && at[1] == '"')
			at++;
		else if (*at == '"')
		{
			quoted = !quoted;
			continue;
		}
		else if (!quoted && ((*at == '.' && !dots) || *at == ',' || is_space(*at)))
			break;
		if (quoted || *at == ESCAPE)
			appendStringInfoChar(&part, ESCAPE);
		appendStringInfoChar(&part, quoted ? *at : (char) pg_ascii_tolower((unsigned char) *at));
	}
	if (quoted)
		bad_option(option, "a name without its closing quote", "Double a quote within a name.");
	if (part.len == 0)
		bad_option(option, "a name with an empty part", "Use * for any name.");
	*out = part.data;
	return at;
}

static const char *
take_name(const char *option, const char *at, int nparts, pattern *out)
{
	static const char *const hints[] = {"Give prefixes, such as outbox or audit*.",
										"Give schema.table, such as public.orders or sales.*.",
										"Give schema.table.column, such as public.orders.photo."};

	for (;; at++)
	{
		if (out->nparts == nparts)
			bad_option(option, "a name with too many parts", hints[nparts - 1]);
		at = take_part(option, at, nparts == 1, &out->parts[out->nparts++]);
		if (*at != '.')
			break;
	}
	if (out->nparts < nparts)
		bad_option(option, "a name with too few parts", hints[nparts - 1]);
	return at;
}

static List *
take_patterns(const char *option, const char *list, int nparts)
{
	const char *at = skip_space(list);
	List *patterns = NIL;

	while (*at != '\0')
	{
		pattern *p = palloc0(sizeof(*p));

		at = *at == '/' ? take_regex(option, at + 1, p) : take_name(option, at, nparts, p);
		patterns = lappend(patterns, p);
		at = skip_space(at);
		if (*at == ',')
			at = skip_space(at + 1);
		else if (*at != '\0')
			bad_option(option, psprintf("\"%s\" where a comma should be", at),
					   "Separate patterns by commas; put names with spaces into double quotes.");
	}
	if (patterns == NIL)
		bad_option(option, "an empty list", "Leave the option out to have all.");
	return patterns;
}

/* ---- Options ---- */

static void
take_operations(plugin_options *options, char *list)
{
	List *names = NIL;
	ListCell *cell;

	options->inserts = options->updates = options->deletes = options->truncates = false;
	if (!SplitIdentifierString(list, ',', &names) || names == NIL)
		bad_option("operations", "not a list",
				   "Give some of insert, update, delete and truncate, separated by commas.");
	foreach (cell, names)
	{
		const char *name = lfirst(cell);

		if (strcmp(name, "insert") == 0)
			options->inserts = true;
		else if (strcmp(name, "update") == 0)
			options->updates = true;
		else if (strcmp(name, "delete") == 0)
			options->deletes = true;
		else if (strcmp(name, "truncate") == 0)
			options->truncates = true;
		else
			bad_option("operations", psprintf("\"%s\" is none", name),
					   "Give some of insert, update, delete and truncate.");
	}
}

/* One of two words: whether it is the second. */
static bool
take_word(const char *option, const char *value, const char *first, const char *second)
{
	if (strcmp(value, first) != 0 && strcmp(value, second) != 0)
		bad_option(option, psprintf("\"%s\" is not among its values", value),
				   psprintf("Give %s or %s.", first, second));
	return strcmp(value, second) == 0;
}

static int
take_number(const char *option, const char *value, int least, int most)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || number < least || number > most)
		bad_option(option, psprintf("\"%s\" is not a number it takes", value),
				   psprintf("Give a number from %d to %d.", least, most));
	return (int) number;
}

static void
take_option(plugin_options *options, const char *name, char *value)
{
	if (strcmp(name, "version") == 0)
		(void) take_number(name, value, 1, 1);
	else if (strcmp(name, "include") == 0)
		options->include = take_patterns(name, value, 2);
	else if (strcmp(name, "exclude") == 0)
		options->exclude = take_patterns(name, value, 2);
	else if (strcmp(name, "columns") == 0)
		options->columns = take_patterns(name, value, 3);
	else if (strcmp(name, "exclude_columns") == 0)
		options->exclude_columns = take_patterns(name, value, 3);
	else if (strcmp(name, "messages") == 0)
		options->messages = take_patterns(name, value, 1);
	else if (strcmp(name, "operations") == 0)
		take_operations(options, value);
	else if (strcmp(name, "origin") == 0)
		options->local_only = take_word(name, value, "any", "none");
	else if (strcmp(name, "partitions") == 0)
		options->as_root = take_word(name, value, "leaf", "root");
	else if (strcmp(name, "message_bytes") == 0)
		options->message_bytes =
			(Size) take_number(name, value, MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the output plugin penstock has no option \"%s\"", name),
				 errhint("Its options are version, include, exclude, columns, exclude_columns, "
						 "messages, operations, origin, partitions and message_bytes.")));
}

plugin_options *
plugin_options_new(List *list)
{
	plugin_options *options = palloc0(sizeof(*options));
	List *seen = NIL;
	ListCell *cell;

	options->inserts = options->updates = options->deletes = options->truncates = true;
	options->message_bytes = MESSAGE_BYTES;
	foreach (cell, list)
	{
		const DefElem *element = lfirst_node(DefElem, cell);
		ListCell *before;

		foreach (before, seen)
			if (strcmp(lfirst(before), element->defname) == 0)
				bad_option(element->defname, "given twice", "Give each option once.");
		seen = lappend(seen, element->defname);
		if (element->arg == NULL)
			bad_option(element->defname, "given without a value", "Each option takes a value.");
		take_option(options, element->defname, pstrdup(strVal(element->arg)));
	}
	return options;
}
