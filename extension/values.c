/*
 * values.c - datums into Arrow columns. See values.h.
 *
 * A row is walked once: each column writes value n at place n of its buffers. What is rare (special
 * values, output functions, growth) stands in functions of its own, so that the walk stays small.
 */
#include "values.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/date.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "arrow_type.h"
#include "ascii.h"
#include "compat.h"
#include "dates.h"
#include "decimal.h"

#define FIRST_VALUES 64
#define FIRST_BYTES 1024
/* Of a column or a list's items: offsets are int32, and there is one more of them. */
#define VALUES_MAX (PG_INT32_MAX - 1)
/* A buffer beyond this is given back when its rows are gone. */
#define KEEP_BYTES ((Size) 16 * 1024 * 1024)
/* A key of more text names no row: it would not fit the bridge's errors. */
#define KEY_BYTES 400

struct value_column
{
	const char *name; /* in the database's encoding; NULL of an item */
	value_kind kind;
	int width;	  /* of what lies in fixed: bytes of a value or an offset, 0: bits */
	bool offsets; /* fixed holds one offset more than there are values */
	int precision;
	int scale;
	int64 n; /* values: of a list's items kept up to date, else see set_counts */
	int64 cap;
	int64 nnulls;
	uint8 *valid; /* bits; NULL: there was no NULL yet. All bits behind the values are set. */
	char *fixed;
	char *bytes;
	Size nbytes;
	Size bytes_cap;
	FmgrInfo output;	/* VALUE_OUTPUT */
	value_column *item; /* VALUE_LIST: its values, and how they lie in an array */
	Oid elem;
	int16 elem_len;
	bool elem_byval;
	char elem_align;
	struct ArrowArray array;
	const void *buffers[3];
	struct ArrowArray *child; /* of array: the item's */
};

/* ---- Errors ---- */

const char *
value_columns_name(const value_columns *columns, int i)
{
	return columns->columns[i].name;
}

/* Where a column of the result comes from: a table, and the attribute's number there, or 0. */
static Oid
origin(const value_columns *columns, int i, AttrNumber *attnum)
{
	ListCell *cell;

	*attnum = 0;
	foreach (cell, columns->targetlist)
	{
		const TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk || entry->resno != i + 1)
			continue;
		*attnum = entry->resorigcol;
		return entry->resorigtbl;
	}
	return InvalidOid;
}

/*
 * Whether a row of the result has one row of the table in it at most. Where the query reads the table
 * twice, or a WITH query that may hold it, the key that is shown could be another row's.
 */
static bool
is_read_once(const value_columns *columns, Oid table)
{
	int times = 0;
	int parents = 0;
	List *shared = NIL;
	ListCell *cell;

	foreach (cell, columns->rtable)
	{
		const RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_CTE)
		{
			if (list_member(shared, makeString(entry->ctename)))
				return false;
			shared = lappend(shared, makeString(entry->ctename));
		}
		else if (entry->rtekind == RTE_RELATION && entry->relid == table)
		{
			parents += entry->inh;
			times += !entry->inh;
		}
	}
	/* A parent by INHERITS is in the list once more, as the first of its own children. */
	return parents == 1 ? times <= 1 : parents + times == 1;
}

/* The attributes of a table's primary key; NULL when it has none. */
static Bitmapset *
primary_key(Oid table)
{
	Relation relation = RelationIdGetRelation(table);
	Bitmapset *key = NULL;
	Oid index;

	if (!RelationIsValid(relation))
		return NULL;
	index = primary_key_index(relation);
	RelationClose(relation);
	relation = OidIsValid(index) ? RelationIdGetRelation(index) : NULL;
	if (!RelationIsValid(relation))
		return NULL;
	for (int k = 0; k < relation->rd_index->indnkeyatts; k++)
		key = bms_add_member(key, relation->rd_index->indkey.values[k]);
	RelationClose(relation);
	return key;
}

/*
 * The row at work as `(a, b)=(1, x)` by the primary key of the table that column i comes from, in the
 * order of the result; NULL when not all of the key is in it, and when it is long.
 */
static char *
row_key(const value_columns *columns, int i)
{
	AttrNumber attnum;
	Oid table = origin(columns, i, &attnum);
	Bitmapset *missing;
	StringInfoData names;
	StringInfoData values;

	if (!OidIsValid(table) || columns->slot == NULL || !is_read_once(columns, table))
		return NULL;
	missing = primary_key(table);
	if (missing == NULL)
		return NULL;
	initStringInfo(&names);
	initStringInfo(&values);
	(void) pin_output(PIN_ALL); /* until the error that this is for undoes it */
	for (int k = 0; k < columns->n; k++)
	{
		const char *comma = names.len > 0 ? ", " : "";
		Oid output;
		bool varlena;

		if (origin(columns, k, &attnum) != table || !bms_is_member(attnum, missing) ||
			columns->slot->tts_isnull[k])
			continue;
		missing = bms_del_member(missing, attnum);
		getTypeOutputInfo(TupleDescAttr(columns->slot->tts_tupleDescriptor, k)->atttypid, &output,
						  &varlena);
		appendStringInfo(&names, "%s%s", comma, value_columns_name(columns, k));
		appendStringInfo(&values, "%s%s", comma,
						 OidOutputFunctionCall(output, columns->slot->tts_values[k]));
	}
	if (!bms_is_empty(missing) || names.len + values.len + 5 > KEY_BYTES)
		return NULL;
	return psprintf("(%s)=(%s)", names.data, values.data);
}

/* Names table and column, and the row by its key or number: what bad values are reported with. */
static int
errplace(const value_columns *columns, int i, int64 row, const char *key)
{
	AttrNumber attnum;
	Oid table = origin(columns, i, &attnum);

	if (OidIsValid(table) && get_rel_name(table) != NULL)
	{
		err_generic_string(PG_DIAG_SCHEMA_NAME, get_namespace_name(get_rel_namespace(table)));
		err_generic_string(PG_DIAG_TABLE_NAME, get_rel_name(table));
	}
	err_generic_string(PG_DIAG_COLUMN_NAME, value_columns_name(columns, i));
	/* The bridge reads these two. */
	if (key != NULL)
		errdetail("The row is %s; it is row " INT64_FORMAT " of this scan, counted from 0.", key,
				  row);
	else
		errdetail("It is row " INT64_FORMAT " of this scan, counted from 0.", row);
	return 0;
}

/* The column at work, for an error that tells column and row by itself: no context shall do it again. */
static int
take_at_work(value_columns *columns)
{
	int i = columns->at_work;

	columns->at_work = -1;
	return i;
}

static void
report_special(value_columns *columns)
{
	int i = take_at_work(columns);
	const struct ArrowSchema *field = columns->schema.children[i];
	bool list = field->n_children > 0;
	char name[ARROW_TYPE_NAME];
	char *key = row_key(columns, i);

	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("column \"%s\" holds a value that Arrow type %s%s cannot",
					value_columns_name(columns, i), list ? "list of " : "",
					arrow_type_name(list ? field->children[0]->format : field->format, name)),
			 errplace(columns, i, columns->rows_before + columns->nrows, key),
			 errhint("Name the column in text_columns to get its text, or give special_values => "
					 "'null' or special_values => 'clamp'.")));
}

static void
report_not_utf8(value_columns *columns, int i, int64 row)
{
	char *key = columns->slot != NULL ? row_key(columns, i) : NULL;

	(void) take_at_work(columns);
	ereport(ERROR,
			(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
			 errmsg("column \"%s\" holds bytes that are not UTF-8", value_columns_name(columns, i)),
			 errplace(columns, i, row, key),
			 errhint("Read it through a query that converts it, such as "
					 "convert_from(column::bytea, 'LATIN1').")));
}

/* ---- Memory ---- */

static Size
bitmap_bytes(int64 n)
{
	return (Size) (n + 7) / 8;
}

static Size
fixed_bytes(const value_column *c, int64 n)
{
	return c->width == 0 ? bitmap_bytes(n) : (Size) (n + c->offsets) * (Size) c->width;
}

/* What n values take, without their texts and items. */
static Size
values_bytes(const value_column *c, int64 n)
{
	return c->width == 0 ? bitmap_bytes(n) : (Size) n * (Size) c->width;
}

/* What the text or the items of value n take, which is the last one so far. */
static Size
last_bytes(const value_column *c, int64 n)
{
	int32 begin = c->offsets ? ((const int32 *) c->fixed)[n] : 0;

	if (!c->offsets)
		return 0;
	if (c->item == NULL)
		return c->nbytes - (Size) begin;
	return values_bytes(c->item, c->item->n - begin) + last_bytes(c->item, begin);
}

/* Row n, the last one so far, is too large for a message; the column at work, if any, needs nbytes more. */
static void
report_too_large(value_columns *columns, int64 n, Size nbytes)
{
	int at_work = take_at_work(columns);
	int largest = 0;
	Size most = 0;
	char *key;

	for (int i = 0; i < columns->n; i++)
	{
		Size bytes = last_bytes(&columns->columns[i], n) + (i == at_work ? nbytes : 0);

		if (bytes > most)
			largest = i;
		most = Max(most, bytes);
	}
	key = row_key(columns, largest);
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a row needs more than the %zu bytes that a message can have; its largest "
					"column is \"%s\"",
					columns->row_max, value_columns_name(columns, largest)),
			 errplace(columns, largest, columns->rows_before + n, key),
			 errhint("Read its large columns by queries of their own, or in parts by substr.")));
}

/*
 * The row at work needs nbytes more. Found here it is an error before it has taken the memory, and no
 * offset passes an int32: texts of jsonb, or converted ones, can be far larger than what is stored.
 */
static void
check_row(value_columns *columns, Size nbytes)
{
	if (columns->nbytes - columns->nbytes_before + nbytes > columns->row_max)
		report_too_large(columns, columns->nrows, nbytes);
}

static void
grow_values(value_column *c, int64 n)
{
	int64 cap = Max(n, Min(c->cap * 2, VALUES_MAX));

	if (cap > VALUES_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a frame cannot hold more than %d values of a column", VALUES_MAX)));
	c->fixed = repalloc_huge(c->fixed, fixed_bytes(c, cap));
	if (c->width == 0)
		memset(c->fixed + bitmap_bytes(c->cap), 0, bitmap_bytes(cap) - bitmap_bytes(c->cap));
	if (c->valid != NULL)
	{
		c->valid = repalloc_huge(c->valid, bitmap_bytes(cap));
		memset(c->valid + bitmap_bytes(c->cap), 0xff, bitmap_bytes(cap) - bitmap_bytes(c->cap));
	}
	c->cap = cap;
}

/* Room for n bytes more; never for more than offsets can count. */
static void
grow_bytes(value_columns *columns, value_column *c, Size n)
{
	Size cap;

	check_row(columns, n);
	cap = Max(c->nbytes + n, Min(c->bytes_cap * 2, PG_INT32_MAX));
	c->bytes = repalloc_huge(c->bytes, cap);
	c->bytes_cap = cap;
}

/* ---- Values ---- */

static inline void
put_bytes(value_columns *columns, value_column *c, int64 n, const char *data, Size len)
{
	if (unlikely(len > c->bytes_cap - c->nbytes))
		grow_bytes(columns, c, len);
	memcpy(c->bytes + c->nbytes, data, len);
	c->nbytes += len;
	columns->nbytes += len;
	((int32 *) c->fixed)[n + 1] = (int32) c->nbytes;
}

static void
put_null(value_column *c, int64 n)
{
	if (c->valid == NULL)
	{
		c->valid = MemoryContextAllocHuge(GetMemoryChunkContext(c->fixed), bitmap_bytes(c->cap));
		memset(c->valid, 0xff, bitmap_bytes(c->cap));
	}
	c->valid[n >> 3] &= (uint8) ~(1 << (n & 7));
	c->nnulls++;
	if (c->offsets)
		((int32 *) c->fixed)[n + 1] = ((int32 *) c->fixed)[n];
	else if (c->width == 0)
		c->fixed[n >> 3] &= (char) ~(1 << (n & 7));
	else
		memset(c->fixed + n * c->width, 0, (Size) c->width);
}

/* A value that the Arrow type cannot hold, where nothing is near enough to be clamped to. */
static void
refuse(value_columns *columns, value_column *c, int64 n)
{
	if (columns->special == VALUE_SPECIAL_ERROR)
		report_special(columns);
	put_null(c, n);
}

/* Text in a database of another encoding than UTF8. */
static void
put_converted(value_columns *columns, value_column *c, int64 n, const char *text, Size len)
{
	int encoding = GetDatabaseEncoding();
	char *utf8;

	if (encoding == PG_SQL_ASCII)
	{
		if (!pg_verify_mbstr(PG_UTF8, text, (int) len, true))
			report_not_utf8(columns, columns->at_work, columns->rows_before + columns->nrows);
		put_bytes(columns, c, n, text, len);
		return;
	}
	utf8 = (char *) pg_do_encoding_conversion((unsigned char *) unconstify(char *, text), (int) len,
											  encoding, PG_UTF8);
	put_bytes(columns, c, n, utf8, utf8 != text ? strlen(utf8) : len);
	/* Not left to the row's end: a list may have many. */
	if (utf8 != text)
		pfree(utf8);
}

/* Of a UTF8 database bytes are taken as they are, and looked at in one go, in check_utf8. */
static inline void
put_text(value_columns *columns, value_column *c, int64 n, const char *text, Size len)
{
	if (likely(columns->utf8))
		put_bytes(columns, c, n, text, len);
	else
		put_converted(columns, c, n, text, len);
}

static void
put_date(value_columns *columns, value_column *c, int64 n, DateADT day)
{
	int64 near = Min(Max((int64) day, DATES_MIN_DAY), DATES_MAX_DAY);

	if (unlikely(near != day) && columns->special != VALUE_SPECIAL_CLAMP)
		refuse(columns, c, n);
	else
		((int32 *) c->fixed)[n] = (int32) near + DATES_1970_TO_2000;
}

/* 24:00:00 is a time in PostgreSQL; Arrow's ends before it. */
static void
put_time(value_columns *columns, value_column *c, int64 n, TimeADT usec)
{
	if (unlikely(usec >= USECS_PER_DAY) && columns->special != VALUE_SPECIAL_CLAMP)
		refuse(columns, c, n);
	else
		((int64 *) c->fixed)[n] = Min(usec, USECS_PER_DAY - 1);
}

static inline void
put_timestamp(value_columns *columns, value_column *c, int64 n, Timestamp usec)
{
	int64 near = Min(Max(usec, DATES_MIN_USEC), DATES_MAX_USEC);

	if (unlikely(near != usec) && columns->special != VALUE_SPECIAL_CLAMP)
		refuse(columns, c, n);
	else
		((int64 *) c->fixed)[n] = near + DATES_1970_TO_2000 * USECS_PER_DAY;
}

/* Microseconds become nanoseconds. Since 17 the extremes are infinities; before, nobody means them. */
static void
put_interval(value_columns *columns, value_column *c, int64 n, const Interval *span)
{
	char *at = c->fixed + n * 16;
	int64 near = Min(Max(span->time, PG_INT64_MIN / 1000), PG_INT64_MAX / 1000);
	bool infinite =
		(span->time == PG_INT64_MAX && span->day == PG_INT32_MAX && span->month == PG_INT32_MAX) ||
		(span->time == PG_INT64_MIN && span->day == PG_INT32_MIN && span->month == PG_INT32_MIN);

	if ((near != span->time || infinite) && columns->special != VALUE_SPECIAL_CLAMP)
	{
		refuse(columns, c, n);
		return;
	}
	near *= 1000;
	memcpy(at, &span->month, 4);
	memcpy(at + 4, &span->day, 4);
	memcpy(at + 8, &near, 8);
}

static void
put_numeric(value_columns *columns, value_column *c, int64 n, const struct varlena *value)
{
	uint16 groups[DECIMAL_GROUPS];
	stored_numeric num;
	unsigned __int128 scaled;
	uint8 *at = (uint8 *) c->fixed + n * 16;

	read_numeric(value, &num);
	if (num.ngroups > 0)
		memcpy(groups, num.groups, sizeof(uint16) * (Size) Min(num.ngroups, DECIMAL_GROUPS));
	if (likely(!num.nan && !num.infinite) &&
		likely(decimal_scale(groups, num.ngroups, num.weight, c->precision, c->scale, &scaled)))
		decimal_store(scaled, num.negative, at);
	else if (columns->special == VALUE_SPECIAL_CLAMP && !num.nan)
		decimal_store(decimal_power(c->precision) - 1, num.negative, at); /* all nines */
	else
		refuse(columns, c, n);
}

static void
put_jsonb(value_columns *columns, value_column *c, int64 n, Datum value)
{
	Jsonb *jsonb = DatumGetJsonbP(value);
	StringInfoData text;

	initStringInfo(&text);
	(void) JsonbToCString(&text, &jsonb->root, VARSIZE(jsonb));
	put_text(columns, c, n, text.data, (Size) text.len);
	pfree(text.data);
}

static void
put_output(value_columns *columns, value_column *c, int64 n, Datum value)
{
	const char *text = OutputFunctionCall(&c->output, value);

	put_text(columns, c, n, text, strlen(text));
}

static void put_value(value_columns *columns, value_column *c, int64 n, Datum value);

/* Whether it is a list: of one dimension at most, counted from 1. */
static bool
is_list(const ArrayType *array)
{
	return ARR_NDIM(array) == 0 || (ARR_NDIM(array) == 1 && ARR_LBOUND(array)[0] == 1);
}

/* An array as a list; under clamp all elements of other shapes, in the order of storage. */
static void
put_list(value_columns *columns, value_column *c, int64 n, Datum value)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	value_column *item = c->item;
	Datum *values;
	bool *nulls;
	int count;

	if (!is_list(array) && columns->special != VALUE_SPECIAL_CLAMP)
	{
		refuse(columns, c, n);
		return;
	}
	deconstruct_array(array, c->elem, c->elem_len, c->elem_byval, c->elem_align, &values, &nulls,
					  &count);
	if (item->n + count > item->cap)
	{
		check_row(columns, values_bytes(item, count));
		grow_values(item, item->n + count);
	}
	columns->nbytes += values_bytes(item, count);
	for (int i = 0; i < count; i++, item->n++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			put_null(item, item->n);
		else
			put_value(columns, item, item->n, values[i]);
	}
	((int32 *) c->fixed)[n + 1] = (int32) item->n;
}

/* Value n, for which there is room. */
static pg_attribute_always_inline void
put_value_inline(value_columns *columns, value_column *c, int64 n, Datum value)
{
	switch (c->kind)
	{
		case VALUE_BOOL:
			if (DatumGetBool(value))
				c->fixed[n >> 3] |= (char) (1 << (n & 7));
			else
				c->fixed[n >> 3] &= (char) ~(1 << (n & 7));
			break;
		case VALUE_INT2:
			((int16 *) c->fixed)[n] = DatumGetInt16(value);
			break;
		case VALUE_INT4:
			((int32 *) c->fixed)[n] = DatumGetInt32(value);
			break;
		case VALUE_INT8:
			((int64 *) c->fixed)[n] = DatumGetInt64(value);
			break;
		case VALUE_FLOAT4:
			((float4 *) c->fixed)[n] = DatumGetFloat4(value);
			break;
		case VALUE_FLOAT8:
			((float8 *) c->fixed)[n] = DatumGetFloat8(value);
			break;
		case VALUE_DATE:
			put_date(columns, c, n, DatumGetDateADT(value));
			break;
		case VALUE_TIME:
			put_time(columns, c, n, DatumGetTimeADT(value));
			break;
		case VALUE_TIMESTAMP:
			put_timestamp(columns, c, n, DatumGetTimestamp(value));
			break;
		case VALUE_INTERVAL:
			put_interval(columns, c, n, DatumGetIntervalP(value));
			break;
		case VALUE_UUID:
			memcpy(c->fixed + n * UUID_LEN, DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case VALUE_NUMERIC:
			put_numeric(columns, c, n, PG_DETOAST_DATUM_PACKED(value));
			break;
		case VALUE_BYTES:
		{
			const struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

			put_bytes(columns, c, n, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
			break;
		}
		case VALUE_TEXT:
		{
			const struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

			put_text(columns, c, n, VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));
			break;
		}
		case VALUE_NAME:
			put_text(columns, c, n, NameStr(*DatumGetName(value)),
					 strnlen(NameStr(*DatumGetName(value)), NAMEDATALEN));
			break;
		case VALUE_JSONB:
			put_jsonb(columns, c, n, value);
			break;
		case VALUE_OUTPUT:
			put_output(columns, c, n, value);
			break;
		case VALUE_LIST:
			put_list(columns, c, n, value);
			break;
	}
}

static void
put_value(value_columns *columns, value_column *c, int64 n, Datum value)
{
	put_value_inline(columns, c, n, value);
}

/* Room for another row. */
static void
grow_rows(value_columns *columns)
{
	for (int i = 0; i < columns->n; i++)
		grow_values(&columns->columns[i], columns->nrows + 1);
	columns->cap = columns->n > 0 ? columns->columns[0].cap : PG_INT64_MAX;
}

void
value_columns_add(value_columns *columns, TupleTableSlot *slot)
{
	MemoryContext caller = MemoryContextSwitchTo(columns->scratch);
	int64 n = columns->nrows;
	int level = -1;

	slot_getallattrs(slot);
	if (unlikely(n >= columns->cap))
		grow_rows(columns);
	columns->slot = slot;
	columns->nbytes_before = columns->nbytes;
	if (columns->pinned != 0)
		level = pin_output(columns->pinned);
	for (int i = 0; i < columns->n; i++)
	{
		value_column *c = &columns->columns[i];

		columns->at_work = i;
		if (slot->tts_isnull[i])
			put_null(c, n);
		else
			put_value_inline(columns, c, n, slot->tts_values[i]);
	}
	unpin_output(level);
	columns->at_work = -1;
	columns->slot = NULL;
	columns->nbytes += columns->row_bytes;
	columns->nrows++;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(columns->scratch);
}

void
value_columns_refuse_row(value_columns *columns, TupleTableSlot *slot)
{
	columns->slot = slot;
	report_too_large(columns, columns->nrows - 1, 0);
}

/* ---- Rows out ---- */

static bool
holds_text(const value_column *c)
{
	return c->kind == VALUE_TEXT || c->kind == VALUE_NAME || c->kind == VALUE_JSONB ||
		   c->kind == VALUE_OUTPUT;
}

/* The first value of the first n that is no UTF-8; n when there is none. */
static int64
find_not_utf8(const value_column *c, int64 n)
{
	const int32 *offsets = (const int32 *) c->fixed;

	if (!holds_text(c) || ascii_only(c->bytes, (Size) offsets[n]))
		return n;
	for (int64 k = 0; k < n; k++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!pg_verify_mbstr(PG_UTF8, c->bytes + offsets[k], offsets[k + 1] - offsets[k], true))
			return k;
	}
	return n;
}

/*
 * The server has seen to it that a UTF8 database holds UTF-8, but what a broken function or an older
 * release has left behind would break readers of Arrow.
 */
void
value_columns_check(value_columns *columns, int64 nrows)
{
	if (!columns->utf8)
		return;
	for (int i = 0; i < columns->n; i++)
	{
		const value_column *c = &columns->columns[i];
		int64 row;

		if (c->kind == VALUE_LIST)
		{
			const int32 *offsets = (const int32 *) c->fixed;
			int64 item = find_not_utf8(c->item, offsets[nrows]);

			for (row = 0; row < nrows && offsets[row + 1] <= item;)
				row++;
		}
		else
			row = find_not_utf8(c, nrows);
		if (row < nrows)
			report_not_utf8(columns, i, columns->rows_before + row);
	}
}

static void
point_array(value_column *c, int64 n)
{
	struct ArrowArray *array = &c->array;

	array->length = n;
	array->null_count = n == c->n ? c->nnulls : -1;
	array->buffers = c->buffers;
	c->buffers[0] = c->nnulls > 0 ? c->valid : NULL;
	c->buffers[1] = c->fixed;
	c->buffers[2] = c->bytes;
	if (c->item == NULL)
		return;
	array->children = &c->child;
	c->child = &c->item->array;
	point_array(c->item, ((int32 *) c->fixed)[n]);
}

/* The columns of rows have as many values as there are rows; only those of lists count their own. */
static void
set_counts(value_columns *columns)
{
	for (int i = 0; i < columns->n; i++)
		columns->columns[i].n = columns->nrows;
}

void
value_columns_array(value_columns *columns, int64 first, int64 nrows)
{
	set_counts(columns);
	for (int i = 0; i < columns->n; i++)
		point_array(&columns->columns[i], first + nrows);
	columns->array.offset = first;
	columns->array.length = nrows;
}

static void
move_bits(uint8 *bits, int64 from, int64 n)
{
	for (int64 i = 0; i < n; i++)
	{
		uint8 mask = (uint8) (1 << (i & 7));

		if (bits[(from + i) >> 3] & (1 << ((from + i) & 7)))
			bits[i >> 3] |= mask;
		else
			bits[i >> 3] &= (uint8) ~mask;
	}
}

/* Memory that a large value or list has taken is not kept for the small ones behind it. */
static void
trim_bytes(value_column *c)
{
	if (c->bytes == NULL || c->bytes_cap <= KEEP_BYTES || c->nbytes > FIRST_BYTES)
		return;
	c->bytes = repalloc_huge(c->bytes, FIRST_BYTES);
	c->bytes_cap = FIRST_BYTES;
}

static void
trim_items(value_column *item)
{
	if (fixed_bytes(item, item->cap) <= KEEP_BYTES || item->n > FIRST_VALUES)
		return;
	item->fixed = repalloc_huge(item->fixed, fixed_bytes(item, FIRST_VALUES));
	if (item->valid != NULL)
		item->valid = repalloc_huge(item->valid, bitmap_bytes(FIRST_VALUES));
	item->cap = FIRST_VALUES;
}

static void
forget_values(value_column *c, int64 n)
{
	int64 left = c->n - n;

	if (c->valid != NULL && c->nnulls > 0)
	{
		move_bits(c->valid, n, left);
		for (int64 i = left; i < c->n; i++)
			c->valid[i >> 3] |= (uint8) (1 << (i & 7));
		c->nnulls = left - arrow_bits_count(c->valid, 0, left);
	}
	if (c->offsets)
	{
		int32 *offsets = (int32 *) c->fixed;
		int32 gone = offsets[n];

		for (int64 i = 0; i <= left; i++)
			offsets[i] = offsets[n + i] - gone;
		if (c->item != NULL)
		{
			forget_values(c->item, gone);
			trim_items(c->item);
		}
		else
		{
			c->nbytes -= (Size) gone;
			memmove(c->bytes, c->bytes + gone, c->nbytes);
			trim_bytes(c);
		}
	}
	else if (c->width == 0)
		move_bits((uint8 *) c->fixed, n, left);
	else
		memmove(c->fixed, c->fixed + n * c->width, (Size) left * (Size) c->width);
	c->n = left;
}

/* Of texts and items. */
static Size
bytes_held(const value_column *c)
{
	Size items = c->item != NULL ? values_bytes(c->item, c->item->n) + c->item->nbytes : 0;

	return c->nbytes + items;
}

void
value_columns_forget(value_columns *columns, int64 nrows)
{
	set_counts(columns);
	columns->nbytes = (Size) (columns->nrows - nrows) * columns->row_bytes;
	for (int i = 0; i < columns->n; i++)
	{
		forget_values(&columns->columns[i], nrows);
		columns->nbytes += bytes_held(&columns->columns[i]);
	}
	columns->rows_before += nrows;
	columns->nrows -= nrows;
}

/* ---- Schema ---- */

/* The release callback of what a memory context owns: not NULL, since that would mean released. */
static void
release_schema(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

static void
release_array(struct ArrowArray *array)
{
	array->release = NULL;
}

static const char *
to_utf8(const char *text)
{
	return pg_server_to_any(text, (int) strlen(text), PG_UTF8);
}

static void
put_fact(StringInfo out, const char *key, const char *value)
{
	int32 lens[] = {(int32) strlen(key), (int32) strlen(value)};

	appendBinaryStringInfo(out, (const char *) &lens[0], 4);
	appendBinaryStringInfo(out, key, lens[0]);
	appendBinaryStringInfo(out, (const char *) &lens[1], 4);
	appendBinaryStringInfo(out, value, lens[1]);
}

/* A field with the metadata that docs/types.md tells: the type's name, and an extension type's. */
static void
make_field(struct ArrowSchema *field, const char *format, const char *name, const char *type,
		   const char *extension)
{
	StringInfoData metadata;
	int32 npairs = extension[0] == '\0' ? 1 : 3;

	initStringInfo(&metadata);
	appendBinaryStringInfo(&metadata, (const char *) &npairs, 4);
	put_fact(&metadata, "penstock.type", to_utf8(type));
	if (extension[0] != '\0')
	{
		put_fact(&metadata, "ARROW:extension:name", extension);
		put_fact(&metadata, "ARROW:extension:metadata", "");
	}
	field->format = format;
	field->name = name;
	field->metadata = metadata.data;
	field->flags = ARROW_FLAG_NULLABLE;
	field->release = release_schema;
}

/* ---- Columns ---- */

static void
allocate(value_column *c)
{
	arrow_layout layout = c->kind == VALUE_LIST ? ARROW_LAYOUT_LIST
						  : c->width == 0		? ARROW_LAYOUT_BITS
						  : c->offsets			? ARROW_LAYOUT_VAR
												: ARROW_LAYOUT_FIXED;

	c->cap = FIRST_VALUES;
	c->fixed = palloc0(fixed_bytes(c, c->cap));
	if (layout == ARROW_LAYOUT_VAR)
	{
		c->bytes = palloc(FIRST_BYTES);
		c->bytes_cap = FIRST_BYTES;
	}
	c->array.n_buffers = arrow_layout_buffers(layout);
	c->array.n_children = layout == ARROW_LAYOUT_LIST;
	c->array.release = release_array;
}

/* A column, or a list's items, of a type with an Arrow form; NULL when it has none. */
static const struct known_type *
choose_known(value_column *c, Oid base, int32 typmod, const char **format)
{
	const known_type *known = known_type_of(base);
	arrow_type type;

	if (known == NULL ||
		(known->kind == VALUE_NUMERIC && !decimal_typmod(typmod, &c->precision, &c->scale)))
		return NULL;
	*format =
		known->kind == VALUE_NUMERIC ? psprintf("d:%d,%d", c->precision, c->scale) : known->format;
	type = arrow_type_parse(*format);
	c->kind = known->kind;
	c->offsets = type.layout == ARROW_LAYOUT_VAR;
	c->width = type.width;
	allocate(c);
	return known;
}

static void
choose_text(value_columns *columns, value_column *c, struct ArrowSchema *field, Oid type,
			const char *type_name)
{
	const known_type *known = known_type_of(getBaseType(type));

	c->offsets = true;
	c->width = 4;
	if (known != NULL && strcmp(known->format, "u") == 0)
		c->kind = known->kind;
	else
	{
		Oid output;
		bool varlena;

		c->kind = VALUE_OUTPUT;
		getTypeOutputInfo(type, &output, &varlena);
		fmgr_info(output, &c->output);
		columns->pinned |= output_depends(type);
	}
	allocate(c);
	make_field(field, "u", field->name, type_name, "");
}

static bool
choose_list(value_column *c, struct ArrowSchema *field, Oid elem, int32 typmod,
			const char *type_name)
{
	int32 elem_typmod = typmod;
	Oid elem_base = getBaseTypeAndTypmod(elem, &elem_typmod);
	value_column *item = palloc0(sizeof(value_column));
	const char *format;
	const known_type *known = choose_known(item, elem_base, elem_typmod, &format);
	struct ArrowSchema *child;
	const char *elem_name;

	if (known == NULL)
		return false;
	elem_name = elem == elem_base
					? format_type_extended(elem, elem_typmod, FORMAT_TYPE_TYPEMOD_GIVEN)
					: format_type_extended(elem, -1, 0);
	c->kind = VALUE_LIST;
	c->offsets = true;
	c->width = 4;
	c->item = item;
	c->elem = elem;
	get_typlenbyvalalign(elem, &c->elem_len, &c->elem_byval, &c->elem_align);
	allocate(c);
	make_field(field, "+l", field->name, type_name, "");
	child = palloc0(sizeof(*child));
	make_field(child, format, "item", elem_name, known->extension);
	field->n_children = 1;
	field->children = palloc(sizeof(*field->children));
	field->children[0] = child;
	return true;
}

static bool
is_named(List *names, const char *name)
{
	ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), "*") == 0 || strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

static void
choose(value_columns *columns, int i, Form_pg_attribute attribute, bool text)
{
	value_column *c = &columns->columns[i];
	struct ArrowSchema *field = columns->schema.children[i];
	int32 typmod = attribute->atttypmod;
	Oid base = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	Oid elem = array_element(base);
	const char *type_name =
		format_type_extended(attribute->atttypid, attribute->atttypmod, FORMAT_TYPE_TYPEMOD_GIVEN);
	const char *format;
	const known_type *known;

	/* Copies: the tuple descriptor goes with the query, before the last frame is made. */
	c->name = pstrdup(NameStr(attribute->attname));
	field->name = pstrdup(to_utf8(NameStr(attribute->attname)));
	if (!text && OidIsValid(elem) && choose_list(c, field, elem, typmod, type_name))
		return;
	known = text ? NULL : choose_known(c, base, typmod, &format);
	if (known == NULL)
		choose_text(columns, c, field, attribute->atttypid, type_name);
	else
		make_field(field, format, field->name, type_name, known->extension);
}

static void
check_text_columns(TupleDesc tupdesc, List *names)
{
	ListCell *cell;

	foreach (cell, names)
	{
		const char *name = lfirst(cell);
		bool found = strcmp(name, "*") == 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; !found && i < tupdesc->natts; i++)
			found = strcmp(NameStr(TupleDescAttr(tupdesc, i)->attname), name) == 0;
		if (!found)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("text_columns names no column of the query: \"%s\"", name),
							errhint("Names are exact, as the query's result has them; '*' means "
									"all of them.")));
	}
}

value_columns *
value_columns_new(TupleDesc tupdesc, value_special special, List *text_columns, Size row_max)
{
	value_columns *columns = palloc0(sizeof(*columns));
	int n = tupdesc->natts;
	struct ArrowSchema *fields = palloc0(sizeof(*fields) * (Size) Max(n, 1));
	Size bits = 0;

	check_text_columns(tupdesc, text_columns);
	columns->n = n;
	columns->special = special;
	columns->row_max = row_max;
	columns->at_work = -1;
	columns->utf8 = GetDatabaseEncoding() == PG_UTF8;
	columns->cap = FIRST_VALUES;
	columns->columns = palloc0(sizeof(value_column) * (Size) Max(n, 1));
	columns->scratch =
		AllocSetContextCreate(CurrentMemoryContext, "penstock row", ALLOCSET_DEFAULT_SIZES);
	columns->schema.format = "+s";
	columns->schema.name = "";
	columns->schema.n_children = n;
	columns->schema.children = palloc(sizeof(*columns->schema.children) * (Size) Max(n, 1));
	columns->schema.release = release_schema;
	columns->array.n_buffers = 1;
	columns->array.buffers = palloc0(sizeof(void *));
	columns->array.n_children = n;
	columns->array.children = palloc(sizeof(*columns->array.children) * (Size) Max(n, 1));
	columns->array.release = release_array;
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		columns->schema.children[i] = &fields[i];
		columns->array.children[i] = &columns->columns[i].array;
		choose(columns, i, attribute, is_named(text_columns, NameStr(attribute->attname)));
		bits += columns->columns[i].width == 0 ? 1 : (Size) columns->columns[i].width * 8;
	}
	columns->row_bytes = (bits + 7) / 8;
	return columns;
}
