/* patterns.c - lists of patterns of names as conditions in SQL. See patterns.h. */
#include "cdc/patterns.h"

#include <stdlib.h>

/* What reads a list. */
typedef struct scanner
{
	const psti_options *options;
	psti_opt opt;
	const char *at;
	size_t least; /* parts of a name */
	size_t most;
	pst_error *err;
} scanner;

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c + ('a' - 'A')) : c;
}

static void
skip_space(scanner *scan)
{
	while (is_space(*scan->at))
		scan->at++;
}

static pst_status
bad_list(scanner *scan, const char *what, const char *hint)
{
	psti_opt_fail(scan->options, scan->opt, scan->err, "%s", what);
	psti_error_hint(scan->err, "%s", hint);
	return scan->err->status;
}

/* A letter that means itself in a regular expression. */
static void
put_letter(psti_buf *out, char c)
{
	bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
				 c == '_' || c == ' ' || (unsigned char) c >= 0x80;

	if (!plain)
		psti_buf_putc(out, '\\');
	psti_buf_putc(out, c);
}

/* From behind the opening slash to behind the closing one. */
static pst_status
take_regex(scanner *scan, psti_pattern *out)
{
	psti_buf regex = PSTI_BUF_INIT;

	for (; *scan->at != '/'; scan->at++)
	{
		if (*scan->at == '\0')
		{
			psti_buf_free(&regex);
			return bad_list(scan, "has a regular expression without its closing slash",
							"Write /expression/; a slash within it as \\/.");
		}
		if (scan->at[0] == '\\' && scan->at[1] == '/')
			scan->at++;
		else if (scan->at[0] == '\\' && scan->at[1] != '\0')
			psti_buf_putc(&regex, *scan->at++);
		psti_buf_putc(&regex, *scan->at);
	}
	scan->at++;
	out->regex = psti_buf_steal(&regex);
	return out->regex == NULL ? psti_fail_nomem(scan->err) : PST_OK;
}

/* One part, up to a dot, comma, space or the end. */
static pst_status
take_part(scanner *scan, psti_pattern *out)
{
	psti_buf part = PSTI_BUF_INIT;
	psti_buf name = PSTI_BUF_INIT;
	bool quoted = false;
	bool dots = scan->most == 1;
	size_t letters = 0;

	psti_buf_puts(&part, "^(?:");
	for (; *scan->at != '\0'; scan->at++)
	{
		char c = *scan->at;

		if (c == '"' && quoted && scan->at[1] == '"')
			scan->at++;
		else if (c == '"')
		{
			quoted = !quoted;
			continue;
		}
		else if (!quoted && ((c == '.' && !dots) || c == ',' || is_space(c)))
			break;
		letters++;
		if (!quoted && (c == '*' || c == '?'))
		{
			psti_buf_puts(&part, c == '*' ? ".*" : ".");
			out->exact = false;
		}
		else
		{
			put_letter(&part, quoted ? c : lower(c));
			psti_buf_putc(&name, quoted ? c : lower(c));
		}
	}
	psti_buf_puts(&part, ")$");
	psti_buf_puts(&name, "");
	out->parts[out->nparts] = psti_buf_steal(&part);
	out->names[out->nparts] = psti_buf_steal(&name);
	out->nparts++;
	if (out->parts[out->nparts - 1] == NULL || out->names[out->nparts - 1] == NULL)
		return psti_fail_nomem(scan->err);
	if (quoted)
		return bad_list(scan, "has a name without its closing quote",
						"Double a quote within a name.");
	return letters > 0 ? PST_OK
					   : bad_list(scan, "has a name with an empty part", "Use * for any name.");
}

static pst_status
take_name(scanner *scan, psti_pattern *out)
{
	static const char *const hints[] = {"", "Give prefixes, such as outbox or audit*.",
										"Give schema.table, such as public.orders or sales.*.",
										"Give schema.table.column, such as public.orders.photo."};
	pst_status status = PST_OK;

	out->exact = true;
	for (; status == PST_OK; scan->at++)
	{
		if (out->nparts == scan->most)
			return bad_list(scan, "has a name with too many parts", hints[scan->most]);
		status = take_part(scan, out);
		if (*scan->at != '.')
			break;
	}
	if (status == PST_OK && out->nparts < scan->least)
		status = bad_list(scan, "has a name with too few parts", hints[scan->most]);
	return status;
}

static pst_status
take_pattern(scanner *scan, psti_pattern *out)
{
	const char *start = scan->at;
	pst_status status;

	if (*scan->at == '/')
	{
		scan->at++;
		status = take_regex(scan, out);
	}
	else
		status = take_name(scan, out);
	if (status != PST_OK)
		return status;
	out->text = strndup(start, (size_t) (scan->at - start));
	return out->text == NULL ? psti_fail_nomem(scan->err) : PST_OK;
}

static pst_status
add_pattern(scanner *scan, psti_patterns *out)
{
	psti_pattern *patterns = realloc(out->patterns, (out->n + 1) * sizeof(*patterns));

	if (patterns == NULL)
		return psti_fail_nomem(scan->err);
	out->patterns = patterns;
	memset(&patterns[out->n], 0, sizeof(*patterns));
	return take_pattern(scan, &patterns[out->n++]);
}

pst_status
psti_patterns_read(const psti_options *options, psti_opt opt, size_t least, size_t most,
				   psti_patterns *out, pst_error *err)
{
	scanner scan = {options, opt, psti_opt_text(options, opt), least, most, err};
	pst_status status = PST_OK;

	memset(out, 0, sizeof(*out));
	if (scan.at == NULL)
		return PST_OK;
	for (skip_space(&scan); status == PST_OK && *scan.at != '\0'; skip_space(&scan))
	{
		status = add_pattern(&scan, out);
		if (status != PST_OK)
			break;
		skip_space(&scan);
		if (*scan.at == ',')
			scan.at++;
		else if (*scan.at != '\0')
			status = bad_list(&scan, "has a text where a comma should be",
							  "Separate patterns by commas; put names with spaces into double "
							  "quotes.");
	}
	if (status == PST_OK && out->n == 0)
		status = bad_list(&scan, "is an empty list", "Leave the option out to have all.");
	if (status != PST_OK)
		psti_patterns_free(out);
	return status;
}

void
psti_patterns_free(psti_patterns *patterns)
{
	for (size_t i = 0; i < patterns->n; i++)
	{
		free(patterns->patterns[i].text);
		free(patterns->patterns[i].regex);
		for (size_t p = 0; p < PSTI_PATTERN_PARTS; p++)
		{
			free(patterns->patterns[i].parts[p]);
			free(patterns->patterns[i].names[p]);
		}
	}
	free(patterns->patterns);
	memset(patterns, 0, sizeof(*patterns));
}

/* ---- SQL ---- */

static void
put_match(psti_buf *sql, const char *name, const char *regex)
{
	psti_buf_printf(sql, "(%s) COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.~) ", name);
	psti_buf_literal(sql, regex);
}

void
psti_pattern_condition(const psti_pattern *pattern, const char *const *names, size_t nnames,
					   psti_buf *sql)
{
	psti_buf text = PSTI_BUF_INIT;

	psti_buf_putc(sql, '(');
	if (pattern->regex != NULL)
	{
		psti_buf regex = PSTI_BUF_INIT;

		psti_buf_puts(&text, "pg_catalog.concat(");
		for (size_t i = 0; i < nnames; i++)
			psti_buf_printf(&text, "%s%s", i > 0 ? ", '.', " : "", names[i]);
		psti_buf_putc(&text, ')');
		psti_buf_printf(&regex, "^(?:%s)$", pattern->regex);
		if (text.failed || regex.failed)
			sql->failed = true;
		else
			put_match(sql, text.data, regex.data);
		psti_buf_free(&regex);
	}
	for (size_t i = 0; pattern->regex == NULL && i < pattern->nparts && i < nnames; i++)
	{
		if (i > 0)
			psti_buf_puts(sql, " AND ");
		put_match(sql, names[i], pattern->parts[i]);
	}
	psti_buf_putc(sql, ')');
	psti_buf_free(&text);
}

void
psti_patterns_condition(const psti_patterns *patterns, const char *const *names, size_t nnames,
						psti_buf *sql)
{
	psti_buf_puts(sql, patterns->n == 0 ? "(false" : "(");
	for (size_t i = 0; i < patterns->n; i++)
	{
		if (i > 0)
			psti_buf_puts(sql, " OR ");
		psti_pattern_condition(&patterns->patterns[i], names, nnames, sql);
	}
	psti_buf_putc(sql, ')');
}
