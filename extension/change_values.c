/*
 * change_values.c - datums into the values of change records. See change_values.h.
 *
 * What is common is written as the type's send function would, without a call of it; arrays of those
 * element by element. All else is the output function's text. Text is UTF-8, whatever encodings the
 * database and the client have.
 */
#include "change_values.h"

#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* ---- Bodies: the bytes behind a value's length ---- */

static inline void
put_bytes(change_writer *writer, const void *data, Size len)
{
	appendBinaryStringInfo(&writer->out, data, (int) len);
}

static void
put_text(change_writer *writer, const char *text, Size len)
{
	const char *utf8 = pg_server_to_any(text, (int) len, PG_UTF8);

	put_bytes(writer, utf8, utf8 == text ? len : strlen(utf8));
}

static void
put_interval(change_writer *writer, const Interval *span)
{
	change_put_int(writer, (uint64) span->time, 8);
	change_put_int(writer, (uint32) span->day, 4);
	change_put_int(writer, (uint32) span->month, 4);
}

/* A version byte, then the text. */
static void
put_jsonb(change_writer *writer, Datum value)
{
	Jsonb *jsonb = DatumGetJsonbP(value);
	StringInfoData text;

	initStringInfo(&text);
	(void) JsonbToCString(&text, &jsonb->root, VARSIZE(jsonb));
	change_put_byte(writer, 1);
	put_text(writer, text.data, (Size) text.len);
}

/* The scale that numeric_send gives for an infinity, by the bits of its header. */
#define INFINITY_SCALE 32

/* Number of groups, weight, sign, scale, groups. */
static void
put_numeric(change_writer *writer, const struct varlena *value)
{
	stored_numeric n;
	uint16 sign;

	read_numeric(value, &n);
	sign = n.nan		? 0xC000
		   : n.infinite ? (n.negative ? 0xF000 : 0xD000)
		   : n.negative ? 0x4000
						: 0x0000;
	change_put_int(writer, (uint16) n.ngroups, 2);
	change_put_int(writer, (uint16) n.weight, 2);
	change_put_int(writer, sign, 2);
	change_put_int(writer, (uint16) (n.infinite ? INFINITY_SCALE : n.scale), 2);
	for (int i = 0; i < n.ngroups; i++)
	{
		uint16 group;

		memcpy(&group, n.groups + 2 * i, 2);
		change_put_int(writer, group, 2);
	}
}

static void put_body(change_writer *writer, const change_type *type, Datum value);

/* Dimensions, whether there are NULLs, the elements' type; each dimension; each element. */
static void
put_list(change_writer *writer, const change_type *type, Datum value)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	Datum *values;
	bool *nulls;
	int n;

	deconstruct_array(array, type->elem, type->elem_len, type->elem_byval, type->elem_align,
					  &values, &nulls, &n);
	change_put_int(writer, (uint32) ARR_NDIM(array), 4);
	change_put_int(writer, ARR_HASNULL(array) ? 1 : 0, 4);
	change_put_int(writer, type->elem_base, 4);
	for (int i = 0; i < ARR_NDIM(array); i++)
	{
		change_put_int(writer, (uint32) ARR_DIMS(array)[i], 4);
		change_put_int(writer, (uint32) ARR_LBOUND(array)[i], 4);
	}
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			change_put_int(writer, PG_UINT32_MAX, 4);
		else
		{
			int opened = change_open_length(writer);

			put_body(writer, type->item, values[i]);
			change_close_length(writer, opened);
		}
	}
}

static void
put_body(change_writer *writer, const change_type *type, Datum value)
{
	switch (type->kind)
	{
		case VALUE_BOOL:
			change_put_byte(writer, DatumGetBool(value));
			break;
		case VALUE_INT2:
			change_put_int(writer, (uint16) DatumGetInt16(value), 2);
			break;
		case VALUE_INT4:
		case VALUE_DATE:
		case VALUE_FLOAT4:
			change_put_int(writer, DatumGetUInt32(value), 4);
			break;
		case VALUE_INT8:
		case VALUE_FLOAT8:
		case VALUE_TIME:
		case VALUE_TIMESTAMP:
			change_put_int(writer, (uint64) DatumGetInt64(value), 8);
			break;
		case VALUE_INTERVAL:
			put_interval(writer, DatumGetIntervalP(value));
			break;
		case VALUE_UUID:
			put_bytes(writer, DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case VALUE_NUMERIC:
			put_numeric(writer, PG_DETOAST_DATUM_PACKED(value));
			break;
		case VALUE_BYTES:
		{
			const struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

			put_bytes(writer, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
			break;
		}
		case VALUE_TEXT:
		{
			const struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

			put_text(writer, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
			break;
		}
		case VALUE_NAME:
			put_text(writer, NameStr(*DatumGetName(value)),
					 strnlen(NameStr(*DatumGetName(value)), NAMEDATALEN));
			break;
		case VALUE_JSONB:
			put_jsonb(writer, value);
			break;
		case VALUE_LIST:
			put_list(writer, type, value);
			break;
		case VALUE_OUTPUT:
		{
			const char *text = OutputFunctionCall(unconstify(FmgrInfo *, &type->output), value);

			put_text(writer, text, strlen(text));
			break;
		}
	}
}

/* ---- Values ---- */

void
change_put_datum(change_writer *writer, const change_type *type, Datum value)
{
	int at = writer->out.len;
	int len;

	change_put_byte(writer, 0);
	put_body(writer, type, value);
	len = writer->out.len - at - 1;
	if (likely(len <= CHANGE_SHORT_MAX))
	{
		writer->out.data[at] = (char) len;
		return;
	}
	enlargeStringInfo(&writer->out, 4);
	memmove(writer->out.data + at + 5, writer->out.data + at + 1, (Size) len);
	writer->out.data[at] = (char) CHANGE_BYTE_LONG;
	writer->out.len += 4;
	change_close_length(writer, at + 5);
}

bool
change_type_is_binary(const change_type *type)
{
	return type->kind != VALUE_OUTPUT;
}

void
change_type_choose(change_type *type, Oid oid)
{
	Oid base = getBaseType(oid);
	const known_type *known = known_type_of(base);
	Oid elem = known == NULL ? array_element(base) : InvalidOid;
	bool varlena;
	Oid output;

	memset(type, 0, sizeof(*type));
	if (known != NULL)
	{
		type->kind = known->kind;
		return;
	}
	if (OidIsValid(elem) && known_type_of(getBaseType(elem)) != NULL)
	{
		type->kind = VALUE_LIST;
		type->elem = elem;
		type->elem_base = getBaseType(elem);
		get_typlenbyvalalign(elem, &type->elem_len, &type->elem_byval, &type->elem_align);
		type->item = palloc(sizeof(*type->item));
		change_type_choose(type->item, elem);
		return;
	}
	type->kind = VALUE_OUTPUT;
	type->pinned = output_depends(oid);
	getTypeOutputInfo(oid, &output, &varlena);
	fmgr_info(output, &type->output);
}
