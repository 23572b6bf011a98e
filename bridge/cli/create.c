/* create.c - what write and copy need to make a target table. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "create.h"
#include "memory.h"

static void
add(char ***key, size_t *n, char *name)
{
	*key = cli_realloc(*key, (*n + 2) * sizeof(**key));
	(*key)[(*n)++] = name;
	(*key)[*n] = NULL;
}

/* One identifier at *at: quoted, letter by letter; else folded to lower case up to a comma. */
static char *
take_name(const char **at)
{
	char *name = cli_alloc(strlen(*at) + 1);
	char *out = name;

	if (**at == '"')
	{
		for ((*at)++; **at != '\0'; (*at)++)
		{
			if (**at == '"' && *++(*at) != '"')
				break;
			*out++ = **at;
		}
		return name;
	}
	for (; **at != '\0' && **at != ','; (*at)++)
		*out++ = (char) (isascii((unsigned char) **at) ? tolower((unsigned char) **at) : **at);
	while (out > name && isspace((unsigned char) out[-1]))
		*--out = '\0';
	return name;
}

char **
create_key(const char *list)
{
	char **key = NULL;
	size_t n = 0;

	while (list != NULL && *list != '\0')
	{
		list += strspn(list, " \t\r\n,");
		if (*list != '\0')
			add(&key, &n, take_name(&list));
	}
	return key;
}

char **
create_key_of(const char *describe)
{
	answer *table = answer_parse(describe);
	const answer *columns = answer_get(answer_get(table, "primary_key"), "columns");
	char **key = NULL;
	size_t n = 0;

	for (const answer *c = columns != NULL ? columns->first : NULL; c != NULL; c = c->next)
		add(&key, &n, cli_strdup(c->text));
	answer_free(table);
	return key;
}

void
create_key_free(char **key)
{
	for (char **name = key; name != NULL && *name != NULL; name++)
		free(*name);
	free(key);
}
