/* judge.c - what becomes of a change of a table whose rows were read under snapshots. See judge.h. */
#include "cdc/judge.h"

#include "bytes.h"

#define OID_INT8 20
#define OID_INT2 21
#define OID_INT4 23
#define OID_DATE 1082
#define OID_TIMESTAMP 1114
#define OID_TIMESTAMPTZ 1184
#define OID_UUID 2950

psti_key_kind
psti_key_kind_of(uint32_t oid)
{
	switch (oid)
	{
		case OID_INT2:
			return PSTI_KEY_INT2;
		case OID_INT4:
			return PSTI_KEY_INT4;
		case OID_INT8:
			return PSTI_KEY_INT8;
		case OID_DATE:
			return PSTI_KEY_DATE;
		case OID_TIMESTAMP:
		case OID_TIMESTAMPTZ:
			return PSTI_KEY_TIMESTAMP;
		case OID_UUID:
			return PSTI_KEY_UUID;
		default:
			return PSTI_KEY_NONE;
	}
}

/* Signed numbers in the order of unsigned ones. */
static uint64_t
flip(int64_t value)
{
	return (uint64_t) value ^ (UINT64_C(1) << 63);
}

bool
psti_region_key_read(psti_key_kind kind, const void *data, size_t nbytes, psti_region_key *out)
{
	*out = (psti_region_key){0, 0};
	switch (kind)
	{
		case PSTI_KEY_INT2:
			if (nbytes != 2)
				return false;
			out->high = flip((int16_t) psti_get16(data));
			return true;
		case PSTI_KEY_INT4:
		case PSTI_KEY_DATE:
			if (nbytes != 4)
				return false;
			out->high = flip((int32_t) psti_get32(data));
			return true;
		case PSTI_KEY_INT8:
		case PSTI_KEY_TIMESTAMP:
			if (nbytes != 8)
				return false;
			out->high = flip((int64_t) psti_get64(data));
			return true;
		case PSTI_KEY_UUID:
			if (nbytes != 16)
				return false;
			out->high = psti_get64(data);
			out->low = psti_get64((const char *) data + 8);
			return true;
		case PSTI_KEY_NONE:
			break;
	}
	return false;
}

int
psti_region_key_compare(const psti_region_key *a, const psti_region_key *b)
{
	if (a->high != b->high)
		return a->high < b->high ? -1 : 1;
	return a->low < b->low ? -1 : a->low > b->low;
}

/* The region that a key lies in. */
static const psti_region *
region_of(const psti_regions *regions, const psti_region_key *key)
{
	size_t low = 0;
	size_t high = regions->n;

	/* The last one that begins at or below the key; the first begins below all. */
	while (high - low > 1)
	{
		size_t middle = low + (high - low) / 2;

		if (psti_region_key_compare(&regions->regions[middle].lower, key) <= 0)
			low = middle;
		else
			high = middle;
	}
	return &regions->regions[low];
}

static bool
sees(const psti_region *region, uint64_t xid)
{
	return region->snapshot != NULL && psti_snapshot_sees(region->snapshot, xid);
}

/* Whether the row was read with the change in it. False as a whole: it is not known where it lies. */
static bool
was_read(const psti_regions *regions, psti_row_key known, const psti_region_key *key, uint64_t xid,
		 bool *out)
{
	if (regions->n == 1)
		*out = sees(&regions->regions[0], xid);
	else if (known == PSTI_KEY_KNOWN)
		*out = sees(region_of(regions, key), xid);
	else
		return false;
	return true;
}

psti_verdict
psti_judge_row(const psti_regions *regions, const psti_row_keys *keys, uint64_t xid)
{
	bool old = false;
	bool fresh = false;

	if (regions->n == 0)
		return PSTI_APPLY;
	if ((keys->has_old && !was_read(regions, keys->old_known, &keys->old, xid, &old)) ||
		(keys->has_fresh && !was_read(regions, keys->fresh_known, &keys->fresh, xid, &fresh)))
		return PSTI_RESET;
	if (!keys->has_old)
		return fresh ? PSTI_LEAVE_OUT : PSTI_APPLY;
	if (!keys->has_fresh || old == fresh)
		return old ? PSTI_LEAVE_OUT : PSTI_APPLY;
	if (fresh)
		return PSTI_OLD_HALF;
	/* The old row is not there to take a value from. */
	return keys->fresh_is_whole ? PSTI_NEW_HALF : PSTI_RESET;
}

psti_verdict
psti_judge_truncate(const psti_regions *regions, uint64_t xid)
{
	size_t seen = 0;

	for (size_t i = 0; i < regions->n; i++)
		seen += sees(&regions->regions[i], xid);
	if (seen == 0)
		return PSTI_APPLY;
	return seen == regions->n ? PSTI_LEAVE_OUT : PSTI_RESET;
}
