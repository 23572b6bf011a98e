/* visible.c - which transactions a snapshot sees. See visible.h. */
#include "cdc/visible.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Digits up to the end or a character that is none; false: there are none, or too many. */
static bool
take_number(const char **at, uint64_t *out)
{
	const char *p = *at;
	uint64_t value = 0;

	for (; *p >= '0' && *p <= '9'; p++)
	{
		uint64_t digit = (uint64_t) (*p - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	if (p == *at)
		return false;
	*at = p;
	*out = value;
	return true;
}

static bool
take_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static size_t
count_commas(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == ',';
	return n;
}

/* xids in ascending order, within xmin and xmax. */
static bool
take_list(const char *at, psti_snapshot *out)
{
	uint64_t last = 0;

	if (*at == '\0')
		return true;
	for (;;)
	{
		uint64_t xid;

		if (!take_number(&at, &xid) || xid < out->xmin || xid >= out->xmax ||
			(out->nxip > 0 && xid <= last))
			return false;
		out->xip[out->nxip++] = last = xid;
		if (*at == '\0')
			return true;
		if (!take_char(&at, ','))
			return false;
	}
}

pst_status
psti_snapshot_parse(const char *text, psti_snapshot *out, pst_error *err)
{
	const char *at = text;
	bool ok;

	memset(out, 0, sizeof(*out));
	ok = take_number(&at, &out->xmin) && take_char(&at, ':') && take_number(&at, &out->xmax) &&
		 take_char(&at, ':') && out->xmin > 0;
	/*
	 * A slot's snapshot has its xmin beyond its xmax when the transactions between have aborted while it was
	 * made. Whatever lies before xmin has ended: the server looks at xmin first.
	 */
	if (out->xmax < out->xmin)
		out->xmax = out->xmin;
	if (ok)
	{
		out->xip = calloc(count_commas(at) + 1, sizeof(*out->xip));
		if (out->xip == NULL)
			return psti_fail_nomem(err);
		ok = take_list(at, out);
	}
	if (ok)
		return PST_OK;
	psti_snapshot_free(out);
	return psti_fail(err, PST_ERR_INVALID, "not a snapshot: \"%.80s\"", text);
}

void
psti_snapshot_free(psti_snapshot *snapshot)
{
	free(snapshot->xip);
	memset(snapshot, 0, sizeof(*snapshot));
}

void
psti_snapshot_print(const psti_snapshot *snapshot, psti_buf *out)
{
	psti_buf_printf(out, "%" PRIu64 ":%" PRIu64 ":", snapshot->xmin, snapshot->xmax);
	for (size_t i = 0; i < snapshot->nxip; i++)
		psti_buf_printf(out, "%s%" PRIu64, i > 0 ? "," : "", snapshot->xip[i]);
}

/* Whether it was running when the snapshot was taken. */
static bool
is_listed(const psti_snapshot *snapshot, uint64_t xid)
{
	size_t low = 0;
	size_t high = snapshot->nxip;

	while (low < high)
	{
		size_t middle = low + (high - low) / 2;

		if (snapshot->xip[middle] < xid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < snapshot->nxip && snapshot->xip[low] == xid;
}

bool
psti_snapshot_sees(const psti_snapshot *snapshot, uint64_t xid)
{
	return xid < snapshot->xmax && (xid < snapshot->xmin || !is_listed(snapshot, xid));
}

bool
psti_snapshot_covers(const psti_snapshot *snapshot, const psti_snapshot *earlier)
{
	if (snapshot->xmax < earlier->xmax)
		return false;
	for (size_t i = 0; i < snapshot->nxip && snapshot->xip[i] < earlier->xmax; i++)
		if (psti_snapshot_sees(earlier, snapshot->xip[i]))
			return false;
	return true;
}

uint64_t
psti_xid_widen(uint32_t xid, uint64_t near)
{
	return near + (uint64_t) (int64_t) (int32_t) (xid - (uint32_t) near);
}
