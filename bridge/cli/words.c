/* words.c - the library's messages in the command's words. */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "penstock.h"
#include "words.h"

/* Options that are operands of the commands. */
static const struct
{
	const char *key;
	const char *operand;
} operands[] = {{"url", "DB"}, {"table-name", "TABLE"}};

/* The longest option name that a text begins with. */
typedef struct search
{
	const char *text;
	size_t len; /* 0: none */
} search;

static bool
goes_on(const char *end)
{
	return isalnum((unsigned char) *end) || *end == '_' || *end == '-' ||
		   (*end == '.' && isalnum((unsigned char) end[1]));
}

static void
try_name(void *ctx, const char *name, const char *handles, const char *default_value,
		 const char *help)
{
	search *s = ctx;
	size_t len = strlen(name);

	(void) handles;
	(void) default_value;
	(void) help;
	if (len > s->len && strncmp(s->text, name, len) == 0 && !goes_on(s->text + len))
		s->len = len;
}

/* How long the option name at text is; plain words count only where the message calls them options. */
static size_t
name_at(const char *text, bool called_option)
{
	search s = {.text = text};

	pst_options_visit(try_name, &s);
	if (!called_option && memchr(text, '.', s.len) == NULL && memchr(text, '-', s.len) == NULL)
		return 0;
	return s.len;
}

static bool
same(const char *key, const char *name, size_t len)
{
	return strlen(key) == len && strncmp(key, name, len) == 0;
}

/* The option of the command that gives a value to this one of the library, or NULL. */
static const cli_option *
option_for(const cli_command *command, const char *name, size_t len)
{
	for (const cli_option *const *group = command->groups; *group != NULL; group++)
	{
		for (const cli_option *option = *group; option->name != NULL; option++)
		{
			if (option->key != NULL && same(option->key, name, len))
				return option;
		}
	}
	return NULL;
}

/* A text that only grows as far as there is room. */
typedef struct out_text
{
	char *at;
	size_t room; /* with the terminator */
} out_text;

static void
put(out_text *out, const char *text, size_t len)
{
	if (len >= out->room)
		len = out->room - 1;
	memcpy(out->at, text, len);
	out->at += len;
	out->room -= len;
	*out->at = '\0';
}

static void
puts_to(out_text *out, const char *text)
{
	put(out, text, strlen(text));
}

/* Puts a name, and its `=value` of which `value` is the rest; returns how much of that was taken. */
static size_t
put_name(out_text *out, const cli_command *command, const char *name, size_t len, const char *rest)
{
	const cli_option *option = option_for(command, name, len);
	bool value = rest[0] == '=' && rest[1] != '\0' && rest[1] != ' ';

	for (size_t i = 0; i < sizeof(operands) / sizeof(operands[0]); i++)
	{
		if (same(operands[i].key, name, len))
		{
			puts_to(out, operands[i].operand);
			return 0;
		}
	}
	if (same("csv.header", name, len) && strncmp(rest, "=false", 6) == 0)
	{
		puts_to(out, "--no-header");
		return 6;
	}
	puts_to(out, "--");
	if (option == NULL)
	{
		puts_to(out, "with ");
		put(out, name, len);
		return 0;
	}
	puts_to(out, option->name);
	if (value)
		puts_to(out, " ");
	return value ? 1 : 0;
}

void
words_translate(const cli_command *command, const char *text, char *out, size_t size)
{
	static const char option_word[] = "option ";
	out_text to = {.at = out, .room = size};
	bool inside = false; /* of a word */
	bool quoted = false; /* between double quotes: somebody's name */

	out[0] = '\0';
	while (*text != '\0')
	{
		bool called = !inside && strncmp(text, option_word, sizeof(option_word) - 1) == 0;
		const char *name = called ? text + sizeof(option_word) - 1 : text;
		bool in_quotes = called && *name == '"';
		size_t len;

		name += in_quotes ? 1 : 0;
		len = command == NULL || inside || quoted ? 0 : name_at(name, called);
		if (len > 0 && (!in_quotes || name[len] == '"'))
		{
			text = name + len + (in_quotes ? 1 : 0);
			text += put_name(&to, command, name, len, text);
			inside = true;
			continue;
		}
		quoted ^= *text == '"';
		inside = isalnum((unsigned char) *text) || strchr("_.-", *text) != NULL;
		put(&to, text++, 1);
	}
}
