/* jsonscan.c - a strict json scanner over bytes. */
#include "jsonscan.h"

#include <string.h>

#include "utf8.h"

static bool
fail_at(psti_jsonscan *scan, const char *at, const char *problem)
{
	scan->at = at;
	scan->problem = problem;
	return false;
}

static void
skip_space(psti_jsonscan *scan)
{
	while (scan->at < scan->end &&
		   (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
		scan->at++;
}

psti_json_kind
psti_jsonscan_peek(psti_jsonscan *scan)
{
	skip_space(scan);
	if (scan->at == scan->end)
	{
		fail_at(scan, scan->at, "it ends where a value should be");
		return PSTI_JSON_BAD;
	}
	switch (*scan->at)
	{
		case '{':
			return PSTI_JSON_OBJECT;
		case '[':
			return PSTI_JSON_ARRAY;
		case '"':
			return PSTI_JSON_STRING;
		case 't':
			return PSTI_JSON_TRUE;
		case 'f':
			return PSTI_JSON_FALSE;
		case 'n':
			return PSTI_JSON_NULL;
		default:
			if (*scan->at == '-' || (*scan->at >= '0' && *scan->at <= '9'))
				return PSTI_JSON_NUMBER;
			fail_at(scan, scan->at, "no json value begins with this character");
			return PSTI_JSON_BAD;
	}
}

bool
psti_jsonscan_take(psti_jsonscan *scan, char c)
{
	skip_space(scan);
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

bool
psti_jsonscan_done(psti_jsonscan *scan)
{
	skip_space(scan);
	return scan->at == scan->end;
}

/* The four hex digits at `at` as a number, or -1. */
static int
hex4(const char *at, const char *end)
{
	int value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		char c = at[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

static bool
is_high_surrogate(int unit)
{
	return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool
is_low_surrogate(int unit)
{
	return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* The escape \uXXXX or a pair of them; scan->at is at the backslash and moves behind. */
static bool
unicode_escape(psti_jsonscan *scan, psti_buf *out)
{
	const char *at = scan->at;
	int unit = hex4(at + 2, scan->end);
	uint32_t code = (uint32_t) unit;
	char bytes[4];

	if (unit < 0)
		return fail_at(scan, at, "\\u is not followed by four hexadecimal digits");
	if (out == NULL)
	{
		scan->at += 6;
		return true;
	}
	if (unit == 0)
		return fail_at(scan, at, "\\u0000 cannot be stored in a text");
	scan->at += 6;
	if (is_high_surrogate(unit))
	{
		int low = scan->end - scan->at >= 6 && scan->at[0] == '\\' && scan->at[1] == 'u'
					  ? hex4(scan->at + 2, scan->end)
					  : -1;

		if (!is_low_surrogate(low))
			return fail_at(scan, at, "a high surrogate is not followed by a low one");
		code = 0x10000 + ((uint32_t) (unit - 0xD800) << 10) + (uint32_t) (low - 0xDC00);
		scan->at += 6;
	}
	else if (is_low_surrogate(unit))
		return fail_at(scan, at, "a low surrogate does not follow a high one");
	psti_buf_put(out, bytes, psti_utf8_put(code, bytes));
	return true;
}

static bool
escape(psti_jsonscan *scan, psti_buf *out)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (scan->end - scan->at < 2)
		return fail_at(scan, scan->at, "a string ends in a backslash");
	if (scan->at[1] == 'u')
		return unicode_escape(scan, out);
	found = scan->at[1] != '\0' ? strchr(names, scan->at[1]) : NULL;
	if (found == NULL)
		return fail_at(scan, scan->at, "a backslash is followed by a character that is no escape");
	if (out != NULL)
		psti_buf_putc(out, values[found - names]);
	scan->at += 2;
	return true;
}

/* 1: ends a run of characters that stand for themselves. */
static const uint8_t string_special[256] = {
	['"'] = 1, ['\\'] = 1, [0] = 1,	 [1] = 1,  [2] = 1,	 [3] = 1,  [4] = 1,	 [5] = 1,  [6] = 1,
	[7] = 1,   [8] = 1,	   [9] = 1,	 [10] = 1, [11] = 1, [12] = 1, [13] = 1, [14] = 1, [15] = 1,
	[16] = 1,  [17] = 1,   [18] = 1, [19] = 1, [20] = 1, [21] = 1, [22] = 1, [23] = 1, [24] = 1,
	[25] = 1,  [26] = 1,   [27] = 1, [28] = 1, [29] = 1, [30] = 1, [31] = 1,
};

bool
psti_jsonscan_string(psti_jsonscan *scan, psti_buf *out)
{
	const char *open = scan->at;

	scan->at++;
	while (true)
	{
		const char *run = scan->at;

		while (scan->at < scan->end && string_special[(unsigned char) *scan->at] == 0)
			scan->at++;
		if (out != NULL && scan->at > run)
			psti_buf_put(out, run, (size_t) (scan->at - run));
		if (scan->at == scan->end)
			return fail_at(scan, open, "a string is not closed");
		if (*scan->at == '"')
		{
			scan->at++;
			return true;
		}
		if (*scan->at != '\\')
			return fail_at(scan, scan->at, "a control character in a string is not escaped");
		if (!escape(scan, out))
			return false;
	}
}

static const char *
skip_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

static bool
number(psti_jsonscan *scan)
{
	const char *at = scan->at + (*scan->at == '-' ? 1 : 0);
	const char *digits = at;

	at = skip_digits(at, scan->end);
	if (at == digits || (*digits == '0' && at - digits > 1))
		return fail_at(scan, scan->at, "a number has no digit or a leading zero");
	if (at < scan->end && *at == '.')
	{
		digits = ++at;
		at = skip_digits(at, scan->end);
		if (at == digits)
			return fail_at(scan, scan->at, "a number has no digit after its point");
	}
	if (at < scan->end && (*at == 'e' || *at == 'E'))
	{
		at++;
		if (at < scan->end && (*at == '+' || *at == '-'))
			at++;
		digits = at;
		at = skip_digits(at, scan->end);
		if (at == digits)
			return fail_at(scan, scan->at, "a number has no digit in its exponent");
	}
	scan->at = at;
	return true;
}

static bool
word(psti_jsonscan *scan, const char *text)
{
	size_t n = strlen(text);

	if ((size_t) (scan->end - scan->at) < n || memcmp(scan->at, text, n) != 0)
		return fail_at(scan, scan->at, "a word is none of true, false and null");
	scan->at += n;
	return true;
}

static bool
scalar(psti_jsonscan *scan, psti_json_kind kind)
{
	switch (kind)
	{
		case PSTI_JSON_NULL:
			return word(scan, "null");
		case PSTI_JSON_TRUE:
			return word(scan, "true");
		case PSTI_JSON_FALSE:
			return word(scan, "false");
		case PSTI_JSON_NUMBER:
			return number(scan);
		case PSTI_JSON_STRING:
			return psti_jsonscan_string(scan, NULL);
		default:
			return false;
	}
}

static bool
object_key(psti_jsonscan *scan)
{
	skip_space(scan);
	if (scan->at == scan->end || *scan->at != '"')
		return fail_at(scan, scan->at, "a key in double quotes is missing");
	if (!psti_jsonscan_string(scan, NULL))
		return false;
	return psti_jsonscan_take(scan, ':') ||
		   fail_at(scan, scan->at, "a colon is missing after a key");
}

/* Behind a value: closes what ends here; true when a further value is due, or depth is 0. */
static bool
after_value(psti_jsonscan *scan, const uint8_t *objects, int *depth)
{
	while (*depth > 0)
	{
		bool object = (objects[*depth / 8] >> *depth % 8 & 1) != 0;

		if (psti_jsonscan_take(scan, ','))
			return !object || object_key(scan);
		if (!psti_jsonscan_take(scan, object ? '}' : ']'))
			return fail_at(scan, scan->at,
						   object ? "a comma or the closing brace is missing"
								  : "a comma or the closing bracket is missing");
		--*depth;
	}
	return true;
}

/* Without recursion: objects has one bit a level, 1 for an object. */
bool
psti_jsonscan_value(psti_jsonscan *scan, const char **text, size_t *nbytes)
{
	uint8_t objects[PSTI_JSON_MAX_DEPTH / 8 + 1] = {0};
	const char *start;
	int depth = 0;

	skip_space(scan);
	start = scan->at;
	do
	{
		psti_json_kind kind = psti_jsonscan_peek(scan);
		bool object = kind == PSTI_JSON_OBJECT;

		if (object || kind == PSTI_JSON_ARRAY)
		{
			if (depth == PSTI_JSON_MAX_DEPTH)
				return fail_at(scan, scan->at, "values are nested too deep");
			scan->at++;
			if (!psti_jsonscan_take(scan, object ? '}' : ']'))
			{
				depth++;
				objects[depth / 8] = (uint8_t) ((objects[depth / 8] & ~(1u << depth % 8)) |
												(object ? 1u << depth % 8 : 0));
				if (object && !object_key(scan))
					return false;
				continue;
			}
		}
		else if (!scalar(scan, kind))
			return false;
		if (!after_value(scan, objects, &depth))
			return false;
	} while (depth > 0);
	if (text != NULL)
		*text = start;
	if (nbytes != NULL)
		*nbytes = (size_t) (scan->at - start);
	return true;
}

psti_json_kind
psti_jsonscan_text(const char *text, size_t nbytes)
{
	psti_jsonscan scan = {text, text + nbytes, NULL};
	psti_json_kind kind = psti_jsonscan_peek(&scan);

	if (kind == PSTI_JSON_BAD || !psti_jsonscan_value(&scan, NULL, NULL) ||
		!psti_jsonscan_done(&scan))
		return PSTI_JSON_BAD;
	return kind;
}
