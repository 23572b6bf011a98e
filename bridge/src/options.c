/* options.c - options by name, from one table (options.def). */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "hooks.h"

typedef struct opt_entry
{
	psti_opt opt;
	const char *name;
	psti_opt_kind kind;
	unsigned handles;
	const char *dflt;
	int64_t min;
	int64_t max;
	const char *words; /* of an enum, separated by | */
	const char *help;
	bool alias; /* another name of the entry before it */
} opt_entry;

static const opt_entry entries[] = {
#define PSTI_OPTION(id, name, kind, handles, dflt, min, max, words, help)                          \
	{PSTI_OPT_##id, name, PSTI_KIND_##kind, handles, dflt, min, max, words, help, false},
#define PSTI_ALIAS(id, name) {PSTI_OPT_##id, name, 0, 0, NULL, 0, 0, NULL, NULL, true},
#include "options.def"
};

#define NENTRIES (sizeof(entries) / sizeof(entries[0]))

typedef struct opt_value
{
	const opt_entry *entry;
	const char *spelled; /* the name that the caller used; static, from the table */
	bool given;
	char *text; /* owned, or NULL */
	int64_t number;
	char **list; /* NULL-terminated; texts and array owned */
	size_t nlist;
} opt_value;

struct psti_options
{
	opt_value values[PSTI_OPT_COUNT];
};

/* --- names ------------------------------------------------------------------------------- */

static const opt_entry *
find_entry(const char *name)
{
	for (size_t i = 0; i < NENTRIES; i++)
	{
		if (strcmp(entries[i].name, name) == 0)
			return &entries[i];
	}
	return NULL;
}

unsigned
psti_opt_handles(const char *name, psti_opt *opt)
{
	const opt_entry *entry = find_entry(name);

	if (entry == NULL)
		return 0;
	while (entry->alias)
		entry--;
	*opt = entry->opt;
	return entry->handles;
}

bool
psti_opt_foreign(const char *name, psti_opt_kind *kind, const char **words)
{
	const opt_entry *entry = find_entry(name);

	while (entry != NULL && entry->alias)
		entry--;
	/* They stand behind all others. */
	if (entry == NULL || entry->opt < PSTI_OPT_F_INCREMENTAL)
		return false;
	*kind = entry->kind;
	*words = entry->words;
	return true;
}

/* Edit distance of two names, at most 63 bytes of each. */
static size_t
name_distance(const char *a, const char *b)
{
	size_t row[64];
	size_t na = strnlen(a, 63);
	size_t nb = strnlen(b, 63);

	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++)
	{
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= nb; j++)
		{
			size_t above = row[j];
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = above;
			row[j] = best;
		}
	}
	return row[nb];
}

psti_nearest
psti_nearest_to(const char *wanted)
{
	size_t n = strlen(wanted);

	/* Every name of one letter is one slip away from every other. */
	return (psti_nearest){.wanted = wanted, .slip = n >= 3 ? n / 3 : n == 2};
}

bool
psti_nearest_try(psti_nearest *nearest, const char *candidate)
{
	size_t distance =
		strcasecmp(nearest->wanted, candidate) == 0 ? 0 : name_distance(nearest->wanted, candidate);

	if (distance > nearest->slip || (nearest->name != NULL && distance == nearest->slip))
		return false;
	nearest->slip = distance;
	nearest->name = candidate;
	return true;
}

static pst_status
fail_unknown(const char *name, pst_error *err)
{
	psti_nearest nearest = psti_nearest_to(name);

	nearest.slip = 2 + strlen(name) / 3; /* options have long names, and many parts of them */
	for (size_t i = 0; i < NENTRIES; i++)
		psti_nearest_try(&nearest, entries[i].name);
	psti_fail(err, PST_ERR_INVALID, "unknown option \"%s\"", name);
	if (strncmp(name, "debezium.", strlen("debezium.")) == 0)
		psti_error_hint(err,
						"The table of Debezium's properties that are known is in docs/cdc.md.");
	else if (nearest.name != NULL)
		psti_error_hint(err, "Did you mean \"%s\"?", nearest.name);
	else
		psti_error_hint(err, "The table of all options is in docs/bridge.md.");
	return PST_ERR_INVALID;
}

/* --- values ------------------------------------------------------------------------------ */

static pst_status
fail_value(const opt_value *value, pst_error *err, const char *expected)
{
	bool secret = value->entry->opt == PSTI_OPT_PASSWORD || value->entry->opt == PSTI_OPT_URL;

	psti_fail(err, PST_ERR_INVALID, "option \"%s\" has the value \"%s\"", value->spelled,
			  secret ? "…" : value->text);
	psti_error_hint(err, "It takes %s.", expected);
	return PST_ERR_INVALID;
}

/* An unsigned decimal number at the start of text; false when there is none or it overflows. */
static bool
leading_number(const char *text, int64_t *number, const char **rest)
{
	char *end;
	long long n;

	if (!isdigit((unsigned char) text[0]) && text[0] != '-')
		return false;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno != 0 || end == text)
		return false;
	*number = n;
	*rest = end;
	return true;
}

static const char *
skip_blanks(const char *text)
{
	while (*text == ' ' || *text == '\t')
		text++;
	return text;
}

typedef struct unit
{
	const char *names; /* separated by |, lower case */
	int64_t factor;
} unit;

/* The labels of Flink's TimeUtils, in milliseconds; shorter ones are refused, not rounded away. */
static const unit duration_units[] = {
	{"|ms|milli|millis|millisecond|milliseconds|", 1},
	{"s|sec|secs|second|seconds", 1000},
	{"min|m|mins|minute|minutes", 60 * 1000},
	{"h|hour|hours", 60 * 60 * 1000},
	{"d|day|days", 24 * 60 * 60 * 1000},
};

/* The labels of Flink's MemorySize; all are powers of 1024 there. */
static const unit size_units[] = {
	{"|b|bytes", 1},
	{"k|kb|kibibytes|kib", 1024},
	{"m|mb|mebibytes|mib", 1024 * 1024},
	{"g|gb|gibibytes|gib", 1024LL * 1024 * 1024},
	{"t|tb|tebibytes|tib", 1024LL * 1024 * 1024 * 1024},
};

/* Whether word is one of names; its place goes to *index. */
static bool
word_in(const char *names, const char *word, int64_t *index)
{
	size_t len = strlen(word);

	*index = 0;
	for (const char *at = names;; at++)
	{
		const char *bar = strchr(at, '|');
		size_t n = bar == NULL ? strlen(at) : (size_t) (bar - at);

		if (n == len && strncasecmp(at, word, n) == 0)
			return true;
		if (bar == NULL)
			return false;
		at = bar;
		(*index)++;
	}
}

static bool
parse_with_unit(const char *text, const unit *units, size_t nunits, int64_t *out)
{
	const char *rest;
	int64_t number;
	int64_t ignored;

	if (!leading_number(text, &number, &rest))
		return false;
	rest = skip_blanks(rest);
	for (size_t i = 0; i < nunits; i++)
	{
		if (word_in(units[i].names, rest, &ignored))
			return !__builtin_mul_overflow(number, units[i].factor, out);
	}
	return false;
}

static pst_status
check_range(const opt_value *value, pst_error *err)
{
	const opt_entry *entry = value->entry;
	char expected[160];

	if (value->number >= entry->min && value->number <= entry->max)
		return PST_OK;
	snprintf(expected, sizeof(expected), "a number from %lld to %lld%s", (long long) entry->min,
			 (long long) entry->max,
			 entry->kind == PSTI_KIND_DURATION ? " (milliseconds)"
			 : entry->kind == PSTI_KIND_BYTES  ? " (bytes)"
											   : "");
	return fail_value(value, err, expected);
}

static pst_status
parse_int(opt_value *value, pst_error *err)
{
	const char *rest;

	if (!leading_number(value->text, &value->number, &rest) || *rest != '\0')
		return fail_value(value, err, "a whole number");
	return check_range(value, err);
}

static pst_status
parse_bytes(opt_value *value, pst_error *err)
{
	if (!parse_with_unit(value->text, size_units, sizeof(size_units) / sizeof(size_units[0]),
						 &value->number))
		return fail_value(value, err, "a size such as 65536, 64kb or 16mb");
	return check_range(value, err);
}

static pst_status
parse_duration(opt_value *value, pst_error *err)
{
	if (!parse_with_unit(value->text, duration_units,
						 sizeof(duration_units) / sizeof(duration_units[0]), &value->number))
		return fail_value(value, err, "a duration such as 500ms, 2s, 1min or 1h");
	return check_range(value, err);
}

static pst_status
parse_words(opt_value *value, const char *words, pst_error *err)
{
	char expected[200];

	if (word_in(words, value->text, &value->number))
		return PST_OK;
	snprintf(expected, sizeof(expected), "one of %s", words);
	return fail_value(value, err, expected);
}

static pst_status
parse_bool(opt_value *value, pst_error *err)
{
	pst_status status = parse_words(value, "false|true", err);

	return status == PST_OK ? PST_OK : fail_value(value, err, "true or false");
}

/* One name of a list from *at, quoted or not, appended to name; *at goes to its end. */
static bool
list_name(const char **at, psti_buf *name)
{
	const char *p = skip_blanks(*at);

	if (*p != '"')
	{
		size_t n = strcspn(p, ",\"");

		*at = p + n;
		while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
			n--;
		psti_buf_append(name, p, n);
		return n > 0 && **at != '"';
	}
	for (p++; *p != '\0'; p++)
	{
		if (*p == '"' && p[1] != '"')
			break;
		if (*p == '"')
			p++;
		psti_buf_putc(name, *p);
	}
	if (*p != '"' || name->len == 0)
		return false;
	*at = skip_blanks(p + 1);
	return true;
}

static pst_status
parse_list(opt_value *value, pst_error *err)
{
	const char *at = value->text;
	size_t most = 2;

	for (const char *p = at; *p != '\0'; p++)
		most += *p == ',';
	value->list = calloc(most, sizeof(char *));
	if (value->list == NULL)
		return psti_fail_nomem(err);
	for (;;)
	{
		psti_buf name = PSTI_BUF_INIT;
		bool good = list_name(&at, &name) && (*at == ',' || *at == '\0');

		if (name.failed || !good)
		{
			pst_status status = psti_buf_check(&name, err);

			psti_buf_free(&name);
			if (status != PST_OK)
				return status;
			return fail_value(value, err,
							  "names separated by commas, in double quotes where needed");
		}
		value->list[value->nlist] = psti_buf_steal(&name);
		if (value->list[value->nlist] == NULL)
			return psti_fail_nomem(err);
		value->nlist++;
		if (*at == '\0')
			return PST_OK;
		at++;
	}
}

static pst_status
fail_refused(const opt_value *value, pst_error *err)
{
	psti_fail(err, PST_ERR_INVALID, "option \"%s\" is refused%s%s", value->spelled,
			  value->text == NULL ? "" : " with the value ",
			  value->text == NULL ? "" : value->text);
	psti_error_hint(err, "%s", value->entry->help);
	return PST_ERR_INVALID;
}

static pst_status
parse_value(opt_value *value, pst_error *err)
{
	switch (value->entry->kind)
	{
		case PSTI_KIND_INT:
			return parse_int(value, err);
		case PSTI_KIND_BYTES:
			return parse_bytes(value, err);
		case PSTI_KIND_DURATION:
			return parse_duration(value, err);
		case PSTI_KIND_BOOL:
			return parse_bool(value, err);
		case PSTI_KIND_ENUM:
			return parse_words(value, value->entry->words, err);
		case PSTI_KIND_LIST:
			return parse_list(value, err);
		case PSTI_KIND_FIXED:
			return word_in(value->entry->words, value->text, &value->number)
					   ? PST_OK
					   : fail_refused(value, err);
		case PSTI_KIND_TEXT:
		case PSTI_KIND_TUNING:
		case PSTI_KIND_REFUSED:
			return PST_OK;
	}
	return PST_OK;
}

static void
clear_value(opt_value *value)
{
	for (size_t i = 0; i < value->nlist; i++)
		free(value->list[i]);
	free(value->list);
	free(value->text);
	value->list = NULL;
	value->nlist = 0;
	value->text = NULL;
	value->number = 0;
}

static pst_status
set_value(opt_value *value, const char *text, pst_error *err)
{
	clear_value(value);
	if (text == NULL)
		return PST_OK;
	value->text = strdup(text);
	if (value->text == NULL)
		return psti_fail_nomem(err);
	return parse_value(value, err);
}

/* --- the handle -------------------------------------------------------------------------- */

static pst_status
take_pair(psti_options *options, const char *key, const char *text, unsigned handle,
		  const pst_hooks *hooks, pst_error *err)
{
	const opt_entry *found = find_entry(key);
	opt_value *value;

	if (found == NULL)
		return fail_unknown(key, err);
	value = &options->values[found->opt];
	value->spelled = found->name;
	if (value->entry->kind == PSTI_KIND_REFUSED)
		return fail_refused(value, err);
	if (value->entry->kind == PSTI_KIND_TUNING && !value->given &&
		value->entry->opt != PSTI_OPT_CONNECTOR)
		psti_log(hooks, PST_LOG_INFO, "option \"%s\" has no effect: %s", key, value->entry->help);
	if ((value->entry->handles & handle) == 0)
		psti_log(hooks, PST_LOG_DEBUG, "option \"%s\" is for another kind of handle", key);
	value->given = true;
	return set_value(value, text, err);
}

pst_status
psti_options_new(const char *const *keys, const char *const *values, unsigned handle,
				 const pst_hooks *hooks, psti_options **out, pst_error *err)
{
	psti_options *options = calloc(1, sizeof(*options));
	pst_status status = PST_OK;

	*out = NULL;
	if (options == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < NENTRIES; i++)
	{
		if (!entries[i].alias)
		{
			options->values[entries[i].opt].entry = &entries[i];
			options->values[entries[i].opt].spelled = entries[i].name;
		}
	}
	for (size_t i = 0; status == PST_OK && i < PSTI_OPT_COUNT; i++)
		status = set_value(&options->values[i], options->values[i].entry->dflt, err);
	for (size_t i = 0; status == PST_OK && keys != NULL && keys[i] != NULL; i++)
	{
		if (values != NULL && values[i] != NULL)
			status = take_pair(options, keys[i], values[i], handle, hooks, err);
	}
	if (status != PST_OK)
	{
		psti_options_free(options);
		return status;
	}
	*out = options;
	return PST_OK;
}

void
psti_options_free(psti_options *options)
{
	if (options == NULL)
		return;
	for (size_t i = 0; i < PSTI_OPT_COUNT; i++)
		clear_value(&options->values[i]);
	free(options);
}

bool
psti_opt_given(const psti_options *options, psti_opt opt)
{
	return options->values[opt].given;
}

const char *
psti_opt_text(const psti_options *options, psti_opt opt)
{
	return options->values[opt].text;
}

int64_t
psti_opt_int(const psti_options *options, psti_opt opt)
{
	return options->values[opt].number;
}

bool
psti_opt_bool(const psti_options *options, psti_opt opt)
{
	return options->values[opt].number != 0;
}

const char *const *
psti_opt_list(const psti_options *options, psti_opt opt, size_t *count)
{
	*count = options->values[opt].nlist;
	return (const char *const *) options->values[opt].list;
}

pst_status
psti_opt_fail(const psti_options *options, psti_opt opt, pst_error *err, const char *fmt, ...)
{
	char why[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return psti_fail(err, PST_ERR_INVALID, "option \"%s\" %s", options->values[opt].spelled, why);
}

pst_status
psti_opt_check_transport(const psti_options *options, pst_error *err)
{
	if (psti_opt_int(options, PSTI_OPT_TRANSPORT) != PSTI_TRANSPORT_ASSISTED)
		return PST_OK;
	psti_opt_fail(options, PSTI_OPT_TRANSPORT, err,
				  "is assisted, which only the reading of rows can be");
	psti_error_hint(err, "Set option transport=auto, or leave it out.");
	return err->status = PST_ERR_UNSUPPORTED;
}

static void
handle_names(unsigned handles, char *out, size_t size)
{
	snprintf(out, size, "%s%s%s%s%s", handles & PSTI_CATALOG ? "catalog " : "",
			 handles & PSTI_SOURCE ? "source " : "", handles & PSTI_SINK ? "sink " : "",
			 handles & PSTI_CDC ? "cdc " : "", handles & PSTI_CODEC ? "codec " : "");
	if (out[0] != '\0')
		out[strlen(out) - 1] = '\0';
}

void
pst_options_visit(void (*visit)(void *ctx, const char *name, const char *handles,
								const char *default_value, const char *help),
				  void *ctx)
{
	char handles[64] = "";
	char also[160];

	for (size_t i = 0; i < NENTRIES; i++)
	{
		const opt_entry *entry = &entries[i];

		if (!entry->alias)
		{
			handle_names(entry->handles, handles, sizeof(handles));
			visit(ctx, entry->name, handles, entry->dflt == NULL ? "" : entry->dflt, entry->help);
			continue;
		}
		for (size_t j = i; j > 0; j--)
		{
			if (!entries[j - 1].alias)
			{
				snprintf(also, sizeof(also), "Another name of %s.", entries[j - 1].name);
				break;
			}
		}
		visit(ctx, entry->name, handles, "", also);
	}
}
