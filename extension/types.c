/* types.c - types, their stored forms, and the settings of their texts. See types.h. */
#include "types.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"

/* The kinds of wire/types.def. */
#define KIND_bool VALUE_BOOL
#define KIND_bytea VALUE_BYTES
#define KIND_name VALUE_NAME
#define KIND_int8 VALUE_INT8
#define KIND_int2 VALUE_INT2
#define KIND_int4 VALUE_INT4
#define KIND_text VALUE_TEXT
#define KIND_json VALUE_TEXT
#define KIND_float4 VALUE_FLOAT4
#define KIND_float8 VALUE_FLOAT8
#define KIND_bpchar VALUE_TEXT
#define KIND_varchar VALUE_TEXT
#define KIND_date VALUE_DATE
#define KIND_time VALUE_TIME
#define KIND_timestamp VALUE_TIMESTAMP
#define KIND_timestamptz VALUE_TIMESTAMP
#define KIND_interval VALUE_INTERVAL
#define KIND_numeric VALUE_NUMERIC
#define KIND_uuid VALUE_UUID
#define KIND_jsonb VALUE_JSONB

static const known_type known_types[] = {
#define PST_TYPE(name, oid, array_oid, format, flink, extension)                                   \
	{oid, KIND_##name, format, extension},
#include "types.def"
};

const known_type *
known_type_of(Oid oid)
{
	for (size_t i = 0; i < lengthof(known_types); i++)
		if (known_types[i].oid == oid)
			return &known_types[i];
	return NULL;
}

Oid
array_element(Oid base)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(base));
	Oid elem = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_type type = (Form_pg_type) GETSTRUCT(tuple);

		if (type->typlen == -1 && type->typoutput == F_ARRAY_OUT)
			elem = type->typelem;
		ReleaseSysCache(tuple);
	}
	return elem;
}

/* ---- Settings ---- */

static const struct pinned_setting
{
	int bit;
	const char *name;
	const char *value;
} pinned_settings[] = {
	{PIN_DATESTYLE, "datestyle", "ISO"},
	{PIN_TIMEZONE, "timezone", "UTC"},
	{PIN_INTERVALSTYLE, "intervalstyle", "postgres"},
	{PIN_BYTEA, "bytea_output", "hex"},
	{PIN_FLOATS, "extra_float_digits", "1"},
	{PIN_MONETARY, "lc_monetary", "C"},
};

int
output_depends(Oid type)
{
	Oid base = getBaseType(type);
	Oid part = get_element_type(base);

	if (!OidIsValid(part))
		part = get_range_subtype(base);
	if (OidIsValid(part))
		return output_depends(part);
	switch (base)
	{
		case BOOLOID:
		case BITOID:
		case CHAROID:
		case CIDROID:
		case CIDOID:
		case INETOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case JSONOID:
		case JSONBOID:
		case MACADDROID:
		case MACADDR8OID:
		case NAMEOID:
		case NUMERICOID:
		case OIDOID:
		case PG_LSNOID:
		case TEXTOID:
		case BPCHAROID:
		case VARCHAROID:
		case TIDOID:
		case TSQUERYOID:
		case TSVECTOROID:
		case UUIDOID:
		case VARBITOID:
		case XIDOID:
		case XMLOID:
			return 0;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
			return PIN_DATESTYLE;
		case TIMESTAMPTZOID:
			return PIN_DATESTYLE | PIN_TIMEZONE;
		case INTERVALOID:
			return PIN_INTERVALSTYLE;
		case BYTEAOID:
			return PIN_BYTEA;
		case FLOAT4OID:
		case FLOAT8OID:
		case POINTOID:
		case LSEGOID:
		case PATHOID:
		case BOXOID:
		case POLYGONOID:
		case LINEOID:
		case CIRCLEOID:
			return PIN_FLOATS;
		case MONEYOID:
			return PIN_MONETARY;
		default:
			return type_is_enum(base) ? 0 : PIN_ALL;
	}
}

static bool
timezone_is_utc(void)
{
	const char *name = pg_get_timezone_name(session_timezone);

	return strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0 || strcmp(name, "GMT") == 0;
}

/* Those of the wanted settings that are not as they shall be. */
static int
unpinned(int wanted)
{
	int bits = 0;

	if (DateStyle != USE_ISO_DATES)
		bits |= PIN_DATESTYLE;
	if ((wanted & PIN_TIMEZONE) && !timezone_is_utc())
		bits |= PIN_TIMEZONE;
	if (IntervalStyle != INTSTYLE_POSTGRES)
		bits |= PIN_INTERVALSTYLE;
	if (bytea_output != BYTEA_OUTPUT_HEX)
		bits |= PIN_BYTEA;
	if (extra_float_digits < 1)
		bits |= PIN_FLOATS;
	if ((wanted & PIN_MONETARY) && strcmp(locale_monetary, "C") != 0)
		bits |= PIN_MONETARY;
	return bits & wanted;
}

int
pin_output(int wanted)
{
	int bits = unpinned(wanted);
	int level;

	if (bits == 0)
		return -1;
	level = NewGUCNestLevel();
	for (size_t i = 0; i < lengthof(pinned_settings); i++)
		if (bits & pinned_settings[i].bit)
			(void) set_config_option(pinned_settings[i].name, pinned_settings[i].value, PGC_USERSET,
									 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
unpin_output(int level)
{
	if (level >= 0)
		AtEOXact_GUC(true, level);
}

/* ---- Numeric ---- */

/* numeric.c keeps this to itself, but it is on the disks of every database since 9.1. */
#define HEADER_KIND 0xC000 /* mask: 0x0000, 0x4000 long form, 0x8000 short form, 0xC000 special */
#define HEADER_SHORT 0x8000
#define HEADER_SPECIAL 0xC000
#define HEADER_SPECIAL_KIND 0xF000 /* mask: NaN, infinity, negative infinity */
#define HEADER_NAN 0xC000
#define HEADER_MINUS_INFINITY 0xF000
#define HEADER_NEGATIVE 0x4000
#define HEADER_SCALE 0x3FFF
#define SHORT_NEGATIVE 0x2000
#define SHORT_SCALE 0x1F80
#define SHORT_SCALE_SHIFT 7
#define SHORT_WEIGHT 0x003F
#define SHORT_WEIGHT_NEGATIVE 0x0040

void
read_numeric(const struct varlena *value, stored_numeric *out)
{
	const char *p = VARDATA_ANY(value);
	int n = (int) VARSIZE_ANY_EXHDR(value);
	uint16 header;
	int head = 2;

	memset(out, 0, sizeof(*out));
	memcpy(&header, p, 2);
	if ((header & HEADER_KIND) == HEADER_SPECIAL)
	{
		out->nan = (header & HEADER_SPECIAL_KIND) == HEADER_NAN;
		out->infinite = !out->nan;
		out->negative = (header & HEADER_SPECIAL_KIND) == HEADER_MINUS_INFINITY;
		return;
	}
	if ((header & HEADER_KIND) == HEADER_SHORT)
	{
		out->negative = (header & SHORT_NEGATIVE) != 0;
		out->scale = (header & SHORT_SCALE) >> SHORT_SCALE_SHIFT;
		out->weight =
			(header & SHORT_WEIGHT) | ((header & SHORT_WEIGHT_NEGATIVE) ? ~SHORT_WEIGHT : 0);
	}
	else
	{
		int16 weight;

		memcpy(&weight, p + 2, 2);
		head = 4;
		out->negative = (header & HEADER_KIND) == HEADER_NEGATIVE;
		out->scale = header & HEADER_SCALE;
		out->weight = weight;
	}
	out->ngroups = (n - head) / 2;
	out->groups = p + head;
}
