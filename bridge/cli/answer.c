/* answer.c - reading the library's JSON answers. */
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "memory.h"

#define MAX_DEPTH 64

static answer *parse_value(const char **at, int depth);

static void
skip_space(const char **at)
{
	*at += strspn(*at, " \t\r\n");
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The four digits after \u; -1 when they are not there. */
static int
hex_unit(const char *at)
{
	int unit = 0;

	for (int i = 0; i < 4; i++)
	{
		int digit = hex_digit(at[i]);

		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

static char *
put_utf8(char *out, unsigned code)
{
	if (code < 0x80)
		*out++ = (char) code;
	else if (code < 0x800)
	{
		*out++ = (char) (0xc0 | (code >> 6));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else if (code < 0x10000)
	{
		*out++ = (char) (0xe0 | (code >> 12));
		*out++ = (char) (0x80 | ((code >> 6) & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else
	{
		*out++ = (char) (0xf0 | (code >> 18));
		*out++ = (char) (0x80 | ((code >> 12) & 0x3f));
		*out++ = (char) (0x80 | ((code >> 6) & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	return out;
}

/* After a \u: one character of one or two units. NULL when malformed. */
static char *
put_unicode(const char **at, char *out)
{
	int high = hex_unit(*at);
	int low;

	if (high < 0)
		return NULL;
	*at += 4;
	if (high < 0xd800 || high > 0xdfff)
		return put_utf8(out, (unsigned) high);
	if (high > 0xdbff || (*at)[0] != '\\' || (*at)[1] != 'u')
		return NULL;
	low = hex_unit(*at + 2);
	if (low < 0xdc00 || low > 0xdfff)
		return NULL;
	*at += 6;
	return put_utf8(out,
					0x10000u + (((unsigned) high - 0xd800u) << 10) + ((unsigned) low - 0xdc00u));
}

static char *
put_escape(const char **at, char *out)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	char c = *(*at)++;
	const char *found;

	if (c == 'u')
		return put_unicode(at, out);
	found = c != '\0' ? strchr(names, c) : NULL;
	if (found == NULL)
		return NULL;
	*out++ = values[found - names];
	return out;
}

/* A string whose opening quote is at *at; NULL when malformed. */
static char *
parse_string(const char **at)
{
	char *text;
	char *out;

	if (**at != '"')
		return NULL;
	(*at)++;
	text = out = cli_alloc(strlen(*at) + 1); /* escapes only ever become shorter */
	while (**at != '"' && **at != '\0' && out != NULL)
	{
		if (**at != '\\')
			*out++ = *(*at)++;
		else
		{
			(*at)++;
			out = put_escape(at, out);
		}
	}
	if (out == NULL || **at != '"')
	{
		free(text);
		return NULL;
	}
	(*at)++;
	*out = '\0';
	return cli_realloc(text, (size_t) (out - text) + 1);
}

static bool
parse_members(const char **at, answer *container, char close, int depth)
{
	answer **tail = &container->first;

	(*at)++;
	skip_space(at);
	if (**at == close)
	{
		(*at)++;
		return true;
	}
	for (;;)
	{
		char *key = NULL;

		skip_space(at);
		if (container->kind == ANSWER_OBJECT)
		{
			key = parse_string(at);
			skip_space(at);
			if (key == NULL || **at != ':')
			{
				free(key);
				return false;
			}
			(*at)++;
		}
		*tail = parse_value(at, depth + 1);
		if (*tail == NULL)
		{
			free(key);
			return false;
		}
		(*tail)->key = key;
		tail = &(*tail)->next;
		skip_space(at);
		if (**at == close)
		{
			(*at)++;
			return true;
		}
		if (*(*at)++ != ',')
			return false;
	}
}

static bool
parse_word(const char **at, answer *value)
{
	static const struct
	{
		const char *word;
		answer_kind kind;
	} words[] = {{"true", ANSWER_BOOL}, {"false", ANSWER_BOOL}, {"null", ANSWER_NULL}};
	size_t len;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
	{
		len = strlen(words[i].word);
		if (strncmp(*at, words[i].word, len) == 0)
		{
			value->kind = words[i].kind;
			value->text = cli_strdup(words[i].word);
			*at += len;
			return true;
		}
	}
	len = strspn(*at, "+-.0123456789eE");
	if (len == 0)
		return false;
	value->kind = ANSWER_NUMBER;
	value->text = cli_alloc(len + 1);
	memcpy(value->text, *at, len);
	*at += len;
	return true;
}

static answer *
parse_value(const char **at, int depth)
{
	answer *value;
	bool ok;

	if (depth > MAX_DEPTH)
		return NULL;
	value = cli_alloc(sizeof(*value));
	skip_space(at);
	if (**at == '{' || **at == '[')
	{
		value->kind = **at == '{' ? ANSWER_OBJECT : ANSWER_ARRAY;
		ok = parse_members(at, value, **at == '{' ? '}' : ']', depth);
	}
	else if (**at == '"')
	{
		value->kind = ANSWER_STRING;
		value->text = parse_string(at);
		ok = value->text != NULL;
	}
	else
		ok = parse_word(at, value);
	if (!ok)
	{
		answer_free(value);
		return NULL;
	}
	return value;
}

answer *
answer_parse(const char *json)
{
	answer *root = parse_value(&json, 0);

	skip_space(&json);
	if (root != NULL && *json != '\0')
	{
		answer_free(root);
		root = NULL;
	}
	return root;
}

void
answer_free(answer *value)
{
	while (value != NULL)
	{
		answer *next = value->next;

		answer_free(value->first);
		free(value->key);
		free(value->text);
		free(value);
		value = next;
	}
}

const answer *
answer_get(const answer *object, const char *key)
{
	if (object == NULL || object->kind != ANSWER_OBJECT)
		return NULL;
	for (const answer *member = object->first; member != NULL; member = member->next)
	{
		if (strcmp(member->key, key) == 0)
			return member;
	}
	return NULL;
}

const char *
answer_text(const answer *object, const char *key)
{
	const answer *member = answer_get(object, key);

	if (member == NULL || (member->kind != ANSWER_STRING && member->kind != ANSWER_NUMBER))
		return NULL;
	return member->text;
}

bool
answer_is(const answer *object, const char *key)
{
	const answer *member = answer_get(object, key);

	return member != NULL && member->kind == ANSWER_BOOL && member->text[0] == 't';
}

double
answer_number(const answer *object, const char *key, double dflt)
{
	const char *text = answer_text(object, key);

	return text != NULL ? strtod(text, NULL) : dflt;
}

size_t
answer_size(const answer *array)
{
	size_t n = 0;

	for (const answer *item = array != NULL ? array->first : NULL; item != NULL; item = item->next)
		n++;
	return n;
}
