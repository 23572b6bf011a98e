/* catalog_name.c - names and types as PostgreSQL writes them, taken apart and put together again. */
#include "catalog_ddl.h"

#include <stdlib.h>
#include <string.h>

/* Room the server gives a name, without its terminator; it would cut a longer one. */
#define NAME_MAX_BYTES 63

/* --- identifiers ------------------------------------------------------------------------- */

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
starts_ident(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

static bool
goes_on_ident(char c)
{
	return starts_ident(c) || (c >= '0' && c <= '9') || c == '$';
}

static const char *
skip_space(const char *at)
{
	while (is_space(*at))
		at++;
	return at;
}

/*
 * Reads one identifier at *at to out, folded when it is not quoted, and moves both behind it. out has
 * room for what is left of the text. false when there is none, or it is empty.
 */
static bool
read_ident(const char **at, char **out, bool *quoted)
{
	const char *from = *at;
	char *to = *out;
	bool closed = false;

	*quoted = *from == '"';
	if (*quoted)
	{
		for (from++; !closed && *from != '\0'; from++)
		{
			if (*from == '"' && from[1] != '"')
				closed = true;
			else
			{
				from += *from == '"';
				*to++ = *from;
			}
		}
		if (!closed)
			return false;
	}
	else if (starts_ident(*from))
		for (; goes_on_ident(*from); from++)
			*to++ = (char) (*from >= 'A' && *from <= 'Z' ? *from + ('a' - 'A') : *from);
	if (to == *out)
		return false;
	*to++ = '\0';
	*at = from;
	*out = to;
	return true;
}

static pst_status
fail_name(pst_error *err, const char *text)
{
	psti_fail(err, PST_ERR_INVALID, "\"%s\" is not a name of a table", text);
	psti_error_hint(err, "A name with other characters than letters, digits and _ stands in double "
						 "quotes, each part by itself.");
	PSTI_ERROR_SET(err, table, text);
	return err->status;
}

pst_status
psti_name_check(const char *what, const char *name, pst_error *err)
{
	if (name == NULL || name[0] == '\0')
		return psti_fail(err, PST_ERR_INVALID, "the name of a %s is empty", what);
	if (strlen(name) > NAME_MAX_BYTES)
		return psti_fail(err, PST_ERR_INVALID,
						 "the name of the %s \"%s\" is longer than the %d bytes that the server "
						 "keeps",
						 what, name, NAME_MAX_BYTES);
	return PST_OK;
}

pst_status
psti_name_parse(const char *text, psti_name *out, pst_error *err)
{
	const char *at = skip_space(text);
	pst_status status = PST_OK;
	char *to;

	memset(out, 0, sizeof(*out));
	out->memory = malloc(strlen(text) + 4);
	if (out->memory == NULL)
		return psti_fail_nomem(err);
	to = out->memory;
	while (status == PST_OK)
	{
		char *part = to;
		bool quoted;

		if (out->nparts == 3 || !read_ident(&at, &to, &quoted))
			status = fail_name(err, text);
		else
		{
			out->parts[out->nparts++] = part;
			at = skip_space(at);
			status = psti_name_check("table", part, err);
		}
		if (status != PST_OK || *at == '\0')
			break;
		if (*at != '.')
			status = fail_name(err, text);
		at = skip_space(at + 1);
	}
	if (status != PST_OK)
		psti_name_free(out);
	return status;
}

void
psti_name_put(psti_buf *buf, const psti_name *name)
{
	for (int i = 0; i < name->nparts; i++)
	{
		if (i > 0)
			psti_buf_putc(buf, '.');
		psti_buf_ident(buf, name->parts[i]);
	}
}

void
psti_name_free(psti_name *name)
{
	free(name->memory);
	memset(name, 0, sizeof(*name));
}

/* --- types ------------------------------------------------------------------------------- */

/*
 * Type names that are words of the grammar, so quoting them would mean another type. tail: words that
 * may follow the modifier, or precede it.
 */
typedef struct type_word
{
	const char *word;
	const char *before; /* an optional word before the modifier; with '!' it must be there */
	const char *after;	/* "zone": with|without time zone behind it; "fields": of an interval */
} type_word;

static const type_word type_words[] = {
	{"smallint", NULL, NULL},		{"integer", NULL, NULL},   {"int", NULL, NULL},
	{"bigint", NULL, NULL},			{"real", NULL, NULL},	   {"float", NULL, NULL},
	{"double", "!precision", NULL}, {"decimal", NULL, NULL},   {"dec", NULL, NULL},
	{"numeric", NULL, NULL},		{"boolean", NULL, NULL},   {"bit", "varying", NULL},
	{"character", "varying", NULL}, {"char", "varying", NULL}, {"varchar", NULL, NULL},
	{"timestamp", NULL, "zone"},	{"time", NULL, "zone"},	   {"interval", NULL, "fields"},
};

static const char *const interval_words[] = {"year",   "month",	 "day", "hour",
											 "minute", "second", "to"};

/* A type's text being read; whole gets what stands in DDL, bare the same without modifiers. */
typedef struct type_text
{
	const char *at;
	psti_buf *whole;
	psti_buf *bare;
} type_text;

static void
put_both(type_text *t, const char *text)
{
	psti_buf_puts(t->whole, text);
	psti_buf_puts(t->bare, text);
}

/* Takes this word, unquoted and in lower case, if it comes next. */
static bool
take_word(type_text *t, const char *word)
{
	size_t n = strlen(word);

	t->at = skip_space(t->at);
	if (strncmp(t->at, word, n) != 0 || goes_on_ident(t->at[n]))
		return false;
	t->at += n;
	return true;
}

/* One item of a modifier: a number, or a word as PostGIS has them. */
static bool
take_modifier_item(type_text *t)
{
	const char *from = t->at = skip_space(t->at);
	size_t n;

	if (*t->at == '-')
		t->at++;
	n = strspn(t->at, "0123456789");
	if (n == 0 && t->at == from && starts_ident(*from) && (*from & 0x80) == 0)
		while (goes_on_ident(from[n]) && (from[n] & 0x80) == 0)
			n++;
	if (n == 0 || n > 32)
		return false;
	t->at += n;
	psti_buf_append(t->whole, from, (size_t) (t->at - from));
	return true;
}

/* "(10,2)", or nothing. */
static bool
take_modifier(type_text *t)
{
	t->at = skip_space(t->at);
	if (*t->at != '(')
		return true;
	psti_buf_putc(t->whole, '(');
	for (;;)
	{
		t->at++;
		if (!take_modifier_item(t))
			return false;
		t->at = skip_space(t->at);
		if (*t->at == ')')
			break;
		if (*t->at != ',')
			return false;
		psti_buf_putc(t->whole, ',');
	}
	t->at++;
	psti_buf_putc(t->whole, ')');
	return true;
}

static bool
take_zone(type_text *t)
{
	bool with = take_word(t, "with");

	if (!with && !take_word(t, "without"))
		return true;
	if (!take_word(t, "time") || !take_word(t, "zone"))
		return false;
	put_both(t, with ? " with time zone" : " without time zone");
	return true;
}

static void
take_interval_fields(type_text *t)
{
	for (size_t i = 0; i < sizeof(interval_words) / sizeof(interval_words[0]);)
	{
		if (!take_word(t, interval_words[i]))
		{
			i++;
			continue;
		}
		psti_buf_printf(t->whole, " %s", interval_words[i]);
		i = 0;
	}
}

/* After one of type_words. */
static bool
take_builtin(type_text *t, const type_word *type)
{
	put_both(t, type->word);
	if (type->before != NULL)
	{
		bool needed = type->before[0] == '!';
		const char *word = type->before + needed;

		if (take_word(t, word))
		{
			put_both(t, " ");
			put_both(t, word);
		}
		else if (needed)
			return false;
	}
	if (type->after != NULL && strcmp(type->after, "fields") == 0)
		take_interval_fields(t);
	if (!take_modifier(t))
		return false;
	return type->after == NULL || strcmp(type->after, "zone") != 0 || take_zone(t);
}

/* [schema.]name and its modifier; scratch has room for the names. */
static bool
take_named(type_text *t, char *scratch)
{
	const char *name = scratch;
	bool quoted;

	if (!read_ident(&t->at, &scratch, &quoted))
		return false;
	if (!quoted && *t->at != '.')
		for (size_t i = 0; i < sizeof(type_words) / sizeof(type_words[0]); i++)
			if (strcmp(name, type_words[i].word) == 0)
				return take_builtin(t, &type_words[i]);
	psti_buf_ident(t->whole, name);
	psti_buf_ident(t->bare, name);
	if (*t->at == '.')
	{
		name = scratch;
		t->at++;
		if (!read_ident(&t->at, &scratch, &quoted))
			return false;
		put_both(t, ".");
		psti_buf_ident(t->whole, name);
		psti_buf_ident(t->bare, name);
	}
	return take_modifier(t);
}

/* Any number of "[]" or "[3]": the server does not tell them apart either. */
static bool
take_dimensions(type_text *t)
{
	bool array = false;

	for (t->at = skip_space(t->at); *t->at == '['; t->at = skip_space(t->at))
	{
		t->at = skip_space(t->at + 1);
		t->at += strspn(t->at, "0123456789");
		t->at = skip_space(t->at);
		if (*t->at != ']')
			return false;
		t->at++;
		array = true;
	}
	if (array)
		put_both(t, "[]");
	return true;
}

bool
psti_type_parse(const char *text, psti_buf *whole, psti_buf *bare)
{
	type_text t = {skip_space(text), whole, bare};
	char *scratch;
	bool good;

	psti_buf_reset(whole);
	psti_buf_reset(bare);
	scratch = malloc(strlen(text) + 4);
	if (scratch == NULL)
	{
		whole->failed = true;
		return false;
	}
	good = take_named(&t, scratch) && take_dimensions(&t) && *t.at == '\0';
	free(scratch);
	return good && !whole->failed && !bare->failed;
}
