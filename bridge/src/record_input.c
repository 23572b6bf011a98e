/* record_input.c - a stream of bytes as a window that grows until it holds a whole record. */
#include "record_input.h"

#include <stdio.h>
#include <string.h>

#include "utf8.h"

#define READ_BYTES ((size_t) 256 << 10)
#define MARK "\xEF\xBB\xBF" /* byte order */
#define MARK_BYTES 3

void
psti_record_input_init(psti_record_input *in, const psti_input *input)
{
	memset(in, 0, sizeof(*in));
	in->input = *input;
	in->line = 1;
}

void
psti_record_input_free(psti_record_input *in)
{
	psti_buf_free(&in->window);
}

/* Bytes in the window, whether their beginning is understood or not. */
static size_t
held(const psti_record_input *in)
{
	return in->window.len - in->begin;
}

/* Drops what was consumed, when that is at least half: each byte is moved a bounded number of times. */
static void
compact(psti_record_input *in)
{
	size_t have = held(in);

	if (in->begin == 0 || in->begin < have)
		return;
	memmove(in->window.data, psti_record_begin(in), have);
	in->window.len = have;
	in->begin = 0;
}

/*
 * What stands at the very beginning: a byte order mark is skipped, another format named. PST_AGAIN
 * while the bytes that are there may be the begin of either.
 */
static pst_status
look_at_start(psti_record_input *in, pst_error *err)
{
	size_t most = held(in) < MARK_BYTES ? held(in) : MARK_BYTES;
	bool marked = memcmp(psti_record_begin(in), MARK, most) == 0;
	pst_status status = marked && most < MARK_BYTES ? PST_AGAIN : PST_OK;

	if (status == PST_OK && !marked)
		status = psti_input_recognise(psti_record_begin(in), held(in), err);
	if (status == PST_AGAIN && !in->input.ended)
		return PST_AGAIN;
	in->started = true;
	if (marked && most == MARK_BYTES)
	{
		in->begin += MARK_BYTES;
		in->scanned = 0;
	}
	return status < 0 ? status : PST_OK;
}

pst_status
psti_record_more(psti_record_input *in, pst_error *err)
{
	size_t nread = 0;
	pst_status status;

	if (in->input.ended)
		return PST_END;
	if (held(in) >= PSTI_RECORD_MAX)
		return psti_record_fail(in, err, "the record is longer than 1 GB");
	if (in->window.data != NULL)
		compact(in);
	do
	{
		char *to = psti_buf_reserve(&in->window, READ_BYTES);

		if (to == NULL)
			return psti_fail_nomem(err);
		status = psti_input_read(&in->input, to, READ_BYTES, &nread, err);
		if (status != PST_OK)
			return status;
		in->window.len += nread;
		in->window.data[in->window.len] = '\0';
		status = in->started ? PST_OK : look_at_start(in, err);
		if (status < 0)
			return status;
	} while (status == PST_AGAIN);
	return nread > 0 ? PST_OK : PST_END;
}

void
psti_record_next(psti_record_input *in, size_t nbytes, int64_t nlines)
{
	in->begin += nbytes;
	in->scanned = 0;
	in->line += nlines;
	in->record++;
}

void
psti_record_place(const psti_record_input *in, pst_error *err)
{
	if (in->record < 0)
		psti_error_prefix(err, "header");
	else
		psti_error_prefix(err, "record %lld (line %lld)", (long long) in->record + 1,
						  (long long) in->line);
	err->row = in->record;
}

pst_status
psti_record_fail(const psti_record_input *in, pst_error *err, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	psti_fail(err, PST_ERR_DATA, "%s", text);
	psti_record_place(in, err);
	return PST_ERR_DATA;
}

pst_status
psti_record_utf8(const psti_record_input *in, size_t nbytes, pst_error *err)
{
	const char *text = psti_record_begin(in);
	size_t valid = psti_utf8_valid(text, nbytes);

	if (valid == nbytes)
		return PST_OK;
	if (text[valid] == '\0')
		return psti_record_fail(in, err, "byte %zu is NUL, which no text can hold", valid + 1);
	psti_record_fail(in, err, "byte %zu, 0x%02x, is not valid UTF-8", valid + 1,
					 (unsigned) (unsigned char) text[valid]);
	psti_error_hint(err, "Convert the input first, for example with iconv -f LATIN1 -t UTF-8.");
	return PST_ERR_DATA;
}
