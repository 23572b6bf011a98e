/* names.c - identifiers as SQL reads them. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "names.h"

static const char *
skip_blanks(const char *text)
{
	return text + strspn(text, " \t\r\n");
}

/* The inside of a quoted identifier; false when it does not close. */
static bool
take_quoted(const char **at, char *out)
{
	const char *p = *at + 1;

	for (; *p != '\0'; p++)
	{
		if (*p == '"' && p[1] != '"')
			break;
		if (*p == '"')
			p++;
		*out++ = *p;
	}
	if (*p != '"')
		return false;
	*at = skip_blanks(p + 1);
	return true;
}

static void
take_bare(const char **at, char separator, bool fold, char *out)
{
	char *begin = out;

	for (; **at != '\0' && **at != separator && **at != '"'; (*at)++)
		*out++ = (char) (fold && **at >= 'A' && **at <= 'Z' ? **at - 'A' + 'a' : **at);
	while (out > begin && isspace((unsigned char) out[-1]))
		*--out = '\0';
}

char *
names_take(const char **at, char separator, bool fold)
{
	char *name = cli_alloc(strlen(*at) + 1);
	bool good = true;

	*at = skip_blanks(*at);
	if (**at == '"')
		good = take_quoted(at, name);
	else
		take_bare(at, separator, fold, name);
	if (good && name[0] != '\0' && (**at == separator || **at == '\0'))
		return name;
	free(name);
	return NULL;
}

char *
names_quote(const char *name)
{
	char *quoted = cli_alloc(2 * strlen(name) + 3);
	char *out = quoted;

	*out++ = '"';
	for (; *name != '\0'; name++)
	{
		if (*name == '"')
			*out++ = '"';
		*out++ = *name;
	}
	*out = '"';
	return quoted;
}

/* Each name of a list made over and put together again; the list as it is when it is none. */
static char *
each_name(const char *list, char separator, char *(*make)(const char *) )
{
	char *whole = cli_strdup("");
	const char *at = list;

	for (;;)
	{
		char *name = names_take(&at, separator, true);
		char *made = name != NULL ? make(name) : NULL;
		char *longer = name != NULL ? cli_format("%s%s%.1s", whole, made, at) : cli_strdup(list);

		free(whole);
		free(made);
		free(name);
		whole = longer;
		if (name == NULL || *at == '\0')
			return whole;
		at++;
	}
}

char *
names_for_library(const char *list)
{
	return each_name(list, ',', names_quote);
}

char *
names_plain(const char *table)
{
	return each_name(table, '.', cli_strdup);
}

int
names_distance(const char *a, const char *b)
{
	int row[64];
	int na = (int) strnlen(a, 63);
	int nb = (int) strnlen(b, 63);

	for (int j = 0; j <= nb; j++)
		row[j] = j;
	for (int i = 1; i <= na; i++)
	{
		int diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= nb; j++)
		{
			int best = diagonal + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[nb];
}
