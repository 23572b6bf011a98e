/*
 * json.c - the only door to cJSON.
 *
 * cJSON tells no reason when it gives up, its one place for the reason is a global variable, and it
 * takes texts that are not json (01, control characters). So a text is checked here first, in one
 * pass; when cJSON refuses a text that passed, memory was short.
 */
#include "json.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

/* cJSON stops at 1000; a text nested deeper than this comes from nobody honest. */
#define MAX_DEPTH 500

/* Integers that a double holds exactly. */
#define MAX_EXACT 9007199254740992.0

typedef struct checker
{
	const char *start;
	const char *at;
	const char *wrong; /* what is wrong at `at`; NULL while nothing is */
} checker;

static bool
bad(checker *c, const char *wrong)
{
	if (c->wrong == NULL)
		c->wrong = wrong;
	return false;
}

static void
skip_space(checker *c)
{
	c->at += strspn(c->at, " \t\r\n");
}

static bool
check_digits(checker *c)
{
	size_t n = strspn(c->at, "0123456789");

	c->at += n;
	return n > 0 || bad(c, "a digit is missing");
}

static bool
check_number(checker *c)
{
	if (*c->at == '-')
		c->at++;
	if (c->at[0] == '0' && c->at[1] >= '0' && c->at[1] <= '9')
		return bad(c, "a number begins with 0");
	if (!check_digits(c))
		return false;
	if (*c->at == '.')
	{
		c->at++;
		if (!check_digits(c))
			return false;
	}
	if (*c->at == 'e' || *c->at == 'E')
	{
		c->at++;
		if (*c->at == '+' || *c->at == '-')
			c->at++;
		return check_digits(c);
	}
	return true;
}

/* The value of four hexadecimal digits at text, or -1. */
static int
hex4(const char *text)
{
	static const char digits[] = "00112233445566778899aAbBcCdDeEfF";
	int value = 0;

	for (int i = 0; i < 4; i++)
	{
		const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);

		if (digit == NULL)
			return -1;
		value = value * 16 + (int) ((digit - digits) / 2);
	}
	return value;
}

/* At the digits of \uXXXX. A null byte would cut the C string; half a surrogate pair is no text. */
static bool
check_unicode(checker *c)
{
	int unit = hex4(c->at);

	if (unit < 0)
		return bad(c, "\\u needs four hexadecimal digits");
	if (unit == 0)
		return bad(c, "\\u0000 is not supported in a text");
	if (unit >= 0xDC00 && unit <= 0xDFFF)
		return bad(c, "half of a surrogate pair");
	c->at += 4;
	if (unit < 0xD800 || unit > 0xDBFF)
		return true;
	if (c->at[0] != '\\' || c->at[1] != 'u')
		return bad(c, "half of a surrogate pair");
	unit = hex4(c->at + 2);
	if (unit < 0xDC00 || unit > 0xDFFF)
		return bad(c, "half of a surrogate pair");
	c->at += 6;
	return true;
}

static bool
check_string(checker *c)
{
	if (*c->at != '"')
		return bad(c, "a string is missing");
	for (c->at++; *c->at != '"'; c->at++)
	{
		if ((unsigned char) *c->at < 0x20)
			return bad(c, *c->at == '\0' ? "a string has no end" : "a control character");
		if (*c->at != '\\')
			continue;
		c->at++;
		if (*c->at == 'u')
		{
			c->at++;
			if (!check_unicode(c))
				return false;
			c->at--;
		}
		else if (*c->at == '\0' || strchr("\"\\/bfnrt", *c->at) == NULL)
			return bad(c, "an unknown escape");
	}
	c->at++;
	return true;
}

static bool
check_word(checker *c, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(c->at, word, n) != 0)
		return bad(c, "a value is missing");
	c->at += n;
	return true;
}

static bool check_value(checker *c, int depth);

/* The members of an object or array, up to and with its closing character. */
static bool
check_members(checker *c, bool object, int depth)
{
	char close = object ? '}' : ']';

	if (depth > MAX_DEPTH)
		return bad(c, "nested too deeply");
	c->at++;
	skip_space(c);
	if (*c->at == close)
	{
		c->at++;
		return true;
	}
	for (;;)
	{
		if (object)
		{
			skip_space(c);
			if (!check_string(c))
				return false;
			skip_space(c);
			if (*c->at != ':')
				return bad(c, "a colon is missing");
			c->at++;
		}
		if (!check_value(c, depth))
			return false;
		if (*c->at == close)
			break;
		if (*c->at != ',')
			return bad(c, "a comma is missing");
		c->at++;
	}
	c->at++;
	return true;
}

/* A value and the space around it. Recursion is bounded by MAX_DEPTH. */
static bool
check_value(checker *c, int depth)
{
	bool good;

	skip_space(c);
	switch (*c->at)
	{
		case '{':
		case '[':
			good = check_members(c, *c->at == '{', depth + 1);
			break;
		case '"':
			good = check_string(c);
			break;
		case 't':
			good = check_word(c, "true");
			break;
		case 'f':
			good = check_word(c, "false");
			break;
		case 'n':
			good = check_word(c, "null");
			break;
		default:
			if (*c->at != '-' && (*c->at < '0' || *c->at > '9'))
				return bad(c, "a value is missing");
			good = check_number(c);
	}
	if (good)
		skip_space(c);
	return good;
}

pst_status
psti_json_parse(const char *text, psti_json **out, pst_error *err)
{
	checker c = {text, text, NULL};

	*out = NULL;
	if (check_value(&c, 0) && *c.at != '\0')
		bad(&c, "something follows the value");
	if (c.wrong != NULL)
		return psti_fail(err, PST_ERR_DATA, "not json: %s at byte %zu", c.wrong,
						 (size_t) (c.at - c.start));
	*out = (psti_json *) cJSON_Parse(text);
	return *out == NULL ? psti_fail_nomem(err) : PST_OK;
}

void
psti_json_free(psti_json *root)
{
	cJSON_Delete((cJSON *) root);
}

/* --- look-ups ---------------------------------------------------------------------------- */

static const cJSON *
node(const psti_json *value)
{
	return (const cJSON *) value;
}

const psti_json *
psti_json_get(const psti_json *object, const char *key)
{
	if (object == NULL || !cJSON_IsObject(node(object)))
		return NULL;
	return (const psti_json *) cJSON_GetObjectItemCaseSensitive(node(object), key);
}

const char *
psti_json_text(const psti_json *object, const char *key)
{
	return psti_json_string_value(psti_json_get(object, key));
}

/* A whole text as int64; false when it is anything else. */
static bool
text_to_int64(const char *text, int64_t *out)
{
	bool negative = *text == '-';
	uint64_t limit = negative ? (uint64_t) INT64_MAX + 1 : (uint64_t) INT64_MAX;
	uint64_t value = 0;
	const char *at = negative ? text + 1 : text;

	if (*at == '\0')
		return false;
	for (; *at != '\0'; at++)
	{
		uint64_t digit = (uint64_t) (*at - '0');

		if (*at < '0' || *at > '9' || value > (limit - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = (int64_t) (negative ? 0 - value : value);
	return true;
}

int64_t
psti_json_int_value(const psti_json *value, int64_t dflt)
{
	const cJSON *item = node(value);
	int64_t number;

	if (cJSON_IsString(item))
		return text_to_int64(item->valuestring, &number) ? number : dflt;
	if (!cJSON_IsNumber(item))
		return dflt;
	/* Beyond 2^53 the parser has rounded already: better no number than a wrong one. */
	if (!(item->valuedouble >= -MAX_EXACT && item->valuedouble <= MAX_EXACT))
		return dflt;
	number = (int64_t) item->valuedouble;
	return (double) number < item->valuedouble || (double) number > item->valuedouble ? dflt
																					  : number;
}

int64_t
psti_json_int(const psti_json *object, const char *key, int64_t dflt)
{
	return psti_json_int_value(psti_json_get(object, key), dflt);
}

bool
psti_json_bool(const psti_json *object, const char *key, bool dflt)
{
	const cJSON *item = node(psti_json_get(object, key));

	return cJSON_IsBool(item) ? (bool) cJSON_IsTrue(item) : dflt;
}

size_t
psti_json_size(const psti_json *array)
{
	size_t n = 0;

	for (const psti_json *item = psti_json_first(array); item != NULL; item = psti_json_next(item))
		n++;
	return n;
}

const psti_json *
psti_json_at(const psti_json *array, size_t i)
{
	const psti_json *item = psti_json_first(array);

	while (item != NULL && i-- > 0)
		item = psti_json_next(item);
	return item;
}

const psti_json *
psti_json_first(const psti_json *array)
{
	if (array == NULL || !cJSON_IsArray(node(array)))
		return NULL;
	return (const psti_json *) node(array)->child;
}

const psti_json *
psti_json_next(const psti_json *item)
{
	return item == NULL ? NULL : (const psti_json *) node(item)->next;
}

const char *
psti_json_string_value(const psti_json *value)
{
	return value == NULL ? NULL : cJSON_GetStringValue((cJSON *) (uintptr_t) value);
}

bool
psti_json_is_null(const psti_json *value)
{
	return cJSON_IsNull(node(value));
}

/* --- writing ----------------------------------------------------------------------------- */

/* json is UTF-8: what is none, as a SQL_ASCII database may send it, becomes U+FFFD. */
void
psti_json_put_utf8(psti_buf *buf, const char *text, size_t nbytes)
{
	size_t good;

	while ((good = psti_utf8_valid(text, nbytes)) < nbytes)
	{
		psti_buf_append(buf, text, good);
		psti_buf_puts(buf, "\xEF\xBF\xBD");
		text += good + 1;
		nbytes -= good + 1;
	}
	psti_buf_append(buf, text, nbytes);
}

static void
put_string(psti_buf *buf, const char *text, void (*put)(psti_buf *, const char *, size_t))
{
	static const char plain[] = "\b\f\n\r\t\"\\";
	static const char letters[] = "bfnrt\"\\";

	psti_buf_putc(buf, '"');
	while (*text != '\0')
	{
		size_t run = 0;
		const char *escape;

		while ((unsigned char) text[run] >= 0x20 && text[run] != '"' && text[run] != '\\')
			run++;
		put(buf, text, run);
		text += run;
		if (*text == '\0')
			break;
		escape = strchr(plain, *text);
		if (escape != NULL)
			psti_buf_printf(buf, "\\%c", letters[escape - plain]);
		else
			psti_buf_printf(buf, "\\u%04x", (unsigned) (unsigned char) *text);
		text++;
	}
	psti_buf_putc(buf, '"');
}

void
psti_json_put_string(psti_buf *buf, const char *text)
{
	put_string(buf, text, psti_json_put_utf8);
}

static void
put_bytes(psti_buf *buf, const char *text, size_t nbytes)
{
	psti_buf_append(buf, text, nbytes);
}

void
psti_json_put_bytes(psti_buf *buf, const char *text)
{
	put_string(buf, text, put_bytes);
}
