/*
 * partitions.c - penstock.partitions: conditions that cut a relation into pieces.
 *
 * A plan is a list of cut points, in the order of the values, and every piece is what lies between two
 * neighbours; the first piece has no lower end and takes the NULLs, the last one no upper end. So a
 * plan covers every row exactly once whatever the cut points are: statistics and bounds decide only how
 * even the pieces are. With filter the ends are the bounds that were given.
 *
 * Without a column the values are those of ctid. The blocks of a relation with partitions or inheritance
 * children are cut together, by the same block numbers in each: a condition holds for the relation as a
 * whole, with its privileges and its row security, and no leaf is named.
 */
#include "postgres.h"

#include <ctype.h>
#include <math.h>

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "compat.h"
#include "library.h"
#include "strides.h"

#define MAX_PIECES 65536
/* Without a number of pieces each has about this much of the table. */
#define PIECE_BYTES (64 * 1024 * 1024)
/* Without statistics about as many blocks are looked at. */
#define SAMPLE_BLOCKS 256
/* Longer texts are no cut points: ANALYZE does not keep them either. */
#define LONGEST_TEXT 1000

/* How values of a type are cut. */
typedef enum stride_family
{
	BY_INTEGER, /* whole numbers of 64 bits: also days and microseconds */
	BY_UUID,
	BY_FLOAT,
	BY_NUMBER, /* by numeric's arithmetic */
	BY_TEXT	   /* in the order of their collation, which no arithmetic knows */
} stride_family;

static const struct stride_type
{
	Oid oid;
	stride_family family;
	const char *cast;	/* of literals */
	const char *finite; /* condition for %s with which min and max can be cut between, or NULL */
} stride_types[] = {
	{INT2OID, BY_INTEGER, "pg_catalog.int2", NULL},
	{INT4OID, BY_INTEGER, "pg_catalog.int4", NULL},
	{INT8OID, BY_INTEGER, "pg_catalog.int8", NULL},
	{OIDOID, BY_INTEGER, "pg_catalog.oid", NULL},
	{DATEOID, BY_INTEGER, "pg_catalog.date", "pg_catalog.isfinite(%s)"},
	{TIMESTAMPOID, BY_INTEGER, "pg_catalog.timestamp", "pg_catalog.isfinite(%s)"},
	{TIMESTAMPTZOID, BY_INTEGER, "pg_catalog.timestamptz", "pg_catalog.isfinite(%s)"},
	{UUIDOID, BY_UUID, "pg_catalog.uuid", NULL},
	{FLOAT4OID, BY_FLOAT, "pg_catalog.float4",
	 "%s OPERATOR(pg_catalog.<>) ALL ('{NaN,Infinity,-Infinity}'::pg_catalog.float4[])"},
	{FLOAT8OID, BY_FLOAT, "pg_catalog.float8",
	 "%s OPERATOR(pg_catalog.<>) ALL ('{NaN,Infinity,-Infinity}'::pg_catalog.float8[])"},
#if PG_VERSION_NUM >= 140000
	{NUMERICOID, BY_NUMBER, "pg_catalog.numeric",
	 "%s OPERATOR(pg_catalog.<>) ALL ('{NaN,Infinity,-Infinity}'::pg_catalog.numeric[])"},
#else
	{NUMERICOID, BY_NUMBER, "pg_catalog.numeric",
	 "%s OPERATOR(pg_catalog.<>) 'NaN'::pg_catalog.numeric"},
#endif
	{TEXTOID, BY_TEXT, "pg_catalog.text", NULL},
	{VARCHAROID, BY_TEXT, "pg_catalog.text", NULL},
	{BPCHAROID, BY_TEXT, "pg_catalog.bpchar", NULL},
	{NAMEOID, BY_TEXT, "pg_catalog.name", NULL},
};

/* What is asked for, checked; strings NULL when not given. */
typedef struct partition_request
{
	Oid relation;
	char relkind;
	int n; /* 0: by the relation's size */
	char *column;
	char *lower;
	char *upper;
	bool filter;
} partition_request;

/* The column that is cut by. */
typedef struct stride_column
{
	AttrNumber attnum;
	Oid collation;
	const struct stride_type *type;
	int16 typlen;
	bool typbyval;
	FmgrInfo *compare;
} stride_column;

/* Points of a column's values, growing. */
typedef struct stride_points
{
	Datum *values;
	int n;
	int room;
} stride_points;

/* A value of the column, and how many rows are there, in any unit. */
typedef struct stride_value
{
	Datum value;
	double at;	  /* with this value */
	double after; /* between it and the next one */
} stride_value;

/* What is known of the rows, in the order of the values. */
typedef struct stride_rows
{
	stride_value *values;
	int n;
} stride_rows;

/* The answer: texts of the cut points between first and last end, and how a condition is written. */
typedef struct partition_plan
{
	const char *column; /* quoted */
	const char *cast;
	char **cuts;
	int ncuts;
	char *first; /* ends of the whole, NULL: open */
	char *last;
	bool nulls; /* the first piece has them */
} partition_plan;

PG_FUNCTION_INFO_V1(penstock_partitions);

/* ---- Arguments ---- */

static char *
text_argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static void
check_together(const partition_request *request)
{
	if (request->column == NULL && (request->lower != NULL || request->upper != NULL))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("lower and upper are bounds of a column, and none is named"),
						errhint("Give column_name too.")));
	if (request->filter && request->lower == NULL && request->upper == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("filter leaves out what lies outside of the bounds, and none is given"),
				 errhint("Give lower, upper or both.")));
}

static const char *
kind_name(char relkind)
{
	switch (relkind)
	{
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return "an index";
		case RELKIND_SEQUENCE:
			return "a sequence";
		case RELKIND_COMPOSITE_TYPE:
			return "a composite type";
		default:
			return "an internal relation";
	}
}

/* Privileges first: nothing is locked that the role may not read. */
static char
check_relation(Oid relation)
{
	char relkind = get_rel_relkind(relation);

	if (relkind == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("there is no relation with OID %u", relation)));
	if (strchr("rpvmf", relkind) == NULL)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is %s, not a table or view", get_rel_name(relation),
							   kind_name(relkind))));
	if (pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relation, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(relkind), get_rel_name(relation));
	return relkind;
}

static partition_request
check_arguments(FunctionCallInfo fcinfo)
{
	partition_request request = {0};

	check_signature(fcinfo, "partitions", 6, 6);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("relation must not be null")));
	request.relation = PG_GETARG_OID(0);
	check_relation(request.relation);
	LockRelationOid(request.relation, AccessShareLock);
	/* Until the lock it could be dropped or altered, and its rights too. */
	request.relkind = check_relation(request.relation);
	if (!PG_ARGISNULL(1))
	{
		request.n = PG_GETARG_INT32(1);
		if (request.n < 1 || request.n > MAX_PIECES)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("n must be between 1 and %d, and is %d", MAX_PIECES, request.n)));
	}
	request.column = text_argument(fcinfo, 2);
	request.lower = text_argument(fcinfo, 3);
	request.upper = text_argument(fcinfo, 4);
	request.filter = !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	check_together(&request);
	return request;
}

/* ---- Blocks ---- */

/* The blocks of what has rows of its own; whether runs of blocks can be read for all of it. */
typedef struct member_blocks
{
	BlockNumber *nblocks;
	int n;
	uint64 total;
	BlockNumber largest;
	bool plain; /* heap tables all, whose blocks this session reads itself */
} member_blocks;

static void
measure_member(Oid oid, member_blocks *out)
{
	Relation member = relation_open(oid, NoLock);
	char relkind = member->rd_rel->relkind;

	if (relkind == RELKIND_RELATION || relkind == RELKIND_MATVIEW)
	{
		BlockNumber nblocks = 0;

		if (member->rd_rel->relam != HEAP_TABLE_AM_OID || RELATION_IS_OTHER_TEMP(member))
			out->plain = false;
		else
			nblocks = RelationGetNumberOfBlocks(member);
		out->nblocks[out->n++] = nblocks;
		out->total += nblocks;
		out->largest = Max(out->largest, nblocks);
	}
	else if (relkind != RELKIND_PARTITIONED_TABLE)
		out->plain = false;
	relation_close(member, NoLock);
}

static member_blocks
measure(Oid relation)
{
	member_blocks blocks = {0};
	List *members = find_all_inheritors(relation, AccessShareLock, NULL);
	ListCell *cell;

	blocks.nblocks = palloc(sizeof(BlockNumber) * list_length(members));
	blocks.plain = true;
	foreach (cell, members)
	{
		CHECK_FOR_INTERRUPTS();
		measure_member(lfirst_oid(cell), &blocks);
	}
	return blocks;
}

static int
pieces_of(const partition_request *request, const member_blocks *blocks)
{
	uint64 n = request->n;

	if (n == 0)
		n = (blocks->total * BLCKSZ + PIECE_BYTES - 1) / PIECE_BYTES;
	return (int) Max(Min(n, MAX_PIECES), 1);
}

static int
compare_blocks(const void *a, const void *b)
{
	BlockNumber left = *(const BlockNumber *) a;
	BlockNumber right = *(const BlockNumber *) b;

	return left < right ? -1 : left > right;
}

/* Where a walk over the members, the smallest first, has come to. */
typedef struct block_walk
{
	int member;
	uint64 passed; /* blocks of those before it, all of which lie below */
} block_walk;

/* The smallest block number below which there are this many blocks; positions grow from call to call. */
static BlockNumber
block_at(const member_blocks *blocks, uint64 position, block_walk *walk)
{
	uint64 rest = blocks->n - walk->member;

	while (walk->member < blocks->n &&
		   walk->passed + blocks->nblocks[walk->member] * rest < position)
	{
		walk->passed += blocks->nblocks[walk->member++];
		rest--;
	}
	if (rest == 0)
		return blocks->largest;
	return (BlockNumber) ((position - walk->passed + rest - 1) / rest);
}

static void
plan_blocks(const partition_request *request, partition_plan *plan)
{
	member_blocks blocks = measure(request->relation);
	int n = pieces_of(request, &blocks);
	stride_int64 *strides;
	block_walk walk = {0};
	BlockNumber before = 0;
	int nstrides;

	plan->column = "ctid";
	plan->cast = "pg_catalog.tid";
	plan->nulls = false; /* no ctid is NULL */
	/* 14: a range of ctid became a scan of these blocks alone. */
	if (PG_VERSION_NUM < 140000 || !blocks.plain || blocks.total < 2)
		return;
	qsort(blocks.nblocks, blocks.n, sizeof(BlockNumber), compare_blocks);
	strides = palloc(sizeof(*strides) * n);
	nstrides = (int) strides_int64(0, (int64) blocks.total - 1, (size_t) n, strides);
	plan->cuts = palloc(sizeof(char *) * nstrides);
	for (int i = 1; i < nstrides; i++)
	{
		BlockNumber block = block_at(&blocks, (uint64) strides[i].lower, &walk);

		/* Members of very different sizes: several strides may end at one block number. */
		if (block > before)
			plan->cuts[plan->ncuts++] = psprintf("(%u,0)", block);
		before = block;
	}
}

/* ---- Values of a column ---- */

static const struct stride_type *
stride_type(Oid type)
{
	for (int i = 0; i < (int) lengthof(stride_types); i++)
		if (stride_types[i].oid == type)
			return &stride_types[i];
	return NULL;
}

static void
check_column(const partition_request *request, stride_column *out)
{
	AttrNumber attnum = get_attnum(request->relation, request->column);
	const char *relation = get_rel_name(request->relation);
	Oid type;
	int32 typmod;
	TypeCacheEntry *cache;

	if (attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("relation \"%s\" has no column \"%s\"", relation, request->column),
						errhint("Names are exact; penstock.describe lists them.")));
	if (pg_class_aclcheck(request->relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(request->relation, attnum, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error_col(ACLCHECK_NO_PRIV, OBJECT_COLUMN, relation, request->column);
	get_atttypetypmodcoll(request->relation, attnum, &type, &typmod, &out->collation);
	out->attnum = attnum;
	out->type = stride_type(getBaseType(type));
	if (out->type == NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("column \"%s\" is of type %s, which cannot be cut", request->column,
							   format_type_be(type)),
						errhint("Take an integer, numeric, float, date, timestamp, uuid or text "
								"column, or none: tables are cut by blocks then.")));
	get_typlenbyval(out->type->oid, &out->typlen, &out->typbyval);
	cache = lookup_type_cache(out->type->oid, TYPECACHE_CMP_PROC_FINFO);
	out->compare = &cache->cmp_proc_finfo;
}

static int
compare(const stride_column *column, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2Coll(column->compare, column->collation, a, b));
}

static Datum
read_value(const stride_column *column, char *text)
{
	Oid input;
	Oid parameter;

	getTypeInputInfo(column->type->oid, &input, &parameter);
	return OidInputFunctionCall(input, text, parameter, -1);
}

/* Whether there is a number of values between it and another. */
static bool
is_finite(const stride_column *column, Datum value)
{
	switch (column->type->oid)
	{
		case DATEOID:
			return !DATE_NOT_FINITE(DatumGetDateADT(value));
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return !TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value));
		case FLOAT4OID:
			return isfinite(DatumGetFloat4(value));
		case FLOAT8OID:
			return isfinite(DatumGetFloat8(value));
		case NUMERICOID:
		{
			const char *text = DatumGetCString(DirectFunctionCall1(numeric_out, value));

			return text[0] == '-' ? isdigit((unsigned char) text[1])
								  : isdigit((unsigned char) text[0]);
		}
		default:
			return true;
	}
}

static Datum
read_bound(const stride_column *column, char *text, const char *name)
{
	Datum value = read_value(column, text);

	if (!is_finite(column, value))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be finite, and is \"%s\"", name, text)));
	return value;
}

static int64
to_int64(const stride_column *column, Datum value)
{
	switch (column->type->oid)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case OIDOID:
			return DatumGetObjectId(value);
		case DATEOID:
			return DatumGetDateADT(value);
		default:
			return DatumGetInt64(value);
	}
}

static Datum
from_int64(const stride_column *column, int64 value)
{
	switch (column->type->oid)
	{
		case INT2OID:
			return Int16GetDatum((int16) value);
		case INT4OID:
			return Int32GetDatum((int32) value);
		case OIDOID:
			return ObjectIdGetDatum((Oid) value);
		case DATEOID:
			return DateADTGetDatum((DateADT) value);
		default:
			return Int64GetDatum(value);
	}
}

/* In the form that every setting of DateStyle and TimeZone reads. */
static char *
print_time(const stride_column *column, Datum value)
{
	char text[MAXDATELEN + 1];
	struct pg_tm tm = {0};
	fsec_t fsec = 0;

	if (column->type->oid == DATEOID)
	{
		j2date(DatumGetDateADT(value) + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, text);
	}
	else
	{
		if (timestamp2tm(DatumGetTimestamp(value), NULL, &tm, &fsec, NULL, NULL) != 0)
			ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
							errmsg("timestamp out of range")));
		tm.tm_isdst = 0; /* below 0 no zone is printed */
		EncodeDateTime(&tm, fsec, column->type->oid == TIMESTAMPTZOID, 0, NULL, USE_ISO_DATES,
					   text);
	}
	return pstrdup(text);
}

static char *
print_value(const stride_column *column, Datum value)
{
	char text[DOUBLE_SHORTEST_DECIMAL_LEN];
	Oid output;
	bool varlena;

	switch (column->type->oid)
	{
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return print_time(column, value);
		case FLOAT4OID:
			float_to_shortest_decimal_buf(DatumGetFloat4(value), text);
			return pstrdup(text);
		case FLOAT8OID:
			double_to_shortest_decimal_buf(DatumGetFloat8(value), text);
			return pstrdup(text);
		default:
			getTypeOutputInfo(column->type->oid, &output, &varlena);
			return OidOutputFunctionCall(output, value);
	}
}

/* ---- Cut points ---- */

static void
add_point(stride_points *points, Datum value)
{
	if (points->n == points->room)
	{
		points->room = Max(points->room * 2, 64);
		points->values = points->values == NULL
							 ? palloc(sizeof(Datum) * points->room)
							 : repalloc(points->values, sizeof(Datum) * points->room);
	}
	points->values[points->n++] = value;
}

static void
cut_integers(const stride_column *column, Datum from, Datum to, int n, stride_points *out)
{
	stride_int64 *strides = palloc(sizeof(*strides) * n);
	size_t count = strides_int64(to_int64(column, from), to_int64(column, to), (size_t) n, strides);

	for (size_t i = 1; i < count; i++)
		add_point(out, from_int64(column, strides[i].lower));
	pfree(strides);
}

static stride_u128
read_uuid(Datum value)
{
	const unsigned char *bytes = DatumGetUUIDP(value)->data;
	stride_u128 number = {0, 0};

	for (int i = 0; i < 8; i++)
	{
		number.high = number.high << 8 | bytes[i];
		number.low = number.low << 8 | bytes[i + 8];
	}
	return number;
}

static Datum
make_uuid(stride_u128 number)
{
	pg_uuid_t *uuid = palloc(sizeof(*uuid));

	for (int i = 7; i >= 0; i--)
	{
		uuid->data[i] = (unsigned char) number.high;
		uuid->data[i + 8] = (unsigned char) number.low;
		number.high >>= 8;
		number.low >>= 8;
	}
	return UUIDPGetDatum(uuid);
}

static void
cut_uuids(Datum from, Datum to, int n, stride_points *out)
{
	stride_uuid *strides = palloc(sizeof(*strides) * n);
	size_t count = strides_uuid(read_uuid(from), read_uuid(to), (size_t) n, strides);

	for (size_t i = 1; i < count; i++)
		add_point(out, make_uuid(strides[i].lower));
	pfree(strides);
}

/* In doubles, which nothing between two of them leads out of, nor between two of half the size. */
static void
cut_floats(const stride_column *column, Datum from, Datum to, int n, stride_points *out)
{
	bool half = column->type->oid == FLOAT4OID;
	double first = half ? DatumGetFloat4(from) : DatumGetFloat8(from);
	double last = half ? DatumGetFloat4(to) : DatumGetFloat8(to);

	for (int i = 1; i < n; i++)
	{
		double share = (double) i / n;
		double cut = isinf(last - first) ? first * (1 - share) + last * share
										 : first + (last - first) * share;

		add_point(out, half ? Float4GetDatum((float4) cut) : Float8GetDatum(cut));
	}
}

/* from + (to - from) * i / n, exactly enough: what is rounded together is left out later. */
static void
cut_numbers(Datum from, Datum to, int n, stride_points *out)
{
	Datum span = DirectFunctionCall2(numeric_sub, to, from);
	Datum pieces = DirectFunctionCall1(int4_numeric, Int32GetDatum(n));

	for (int i = 1; i < n; i++)
	{
		Datum part = DirectFunctionCall2(numeric_mul, span,
										 DirectFunctionCall1(int4_numeric, Int32GetDatum(i)));

		CHECK_FOR_INTERRUPTS();
		add_point(out, DirectFunctionCall2(numeric_add, from,
										   DirectFunctionCall2(numeric_div, part, pieces)));
	}
}

static char *
text_of(const stride_column *column, Datum value)
{
	return column->type->oid == NAMEOID ? pstrdup(NameStr(*DatumGetName(value)))
										: TextDatumGetCString(value);
}

static int
compare_values(const void *a, const void *b, void *column)
{
	return compare(column, *(const Datum *) a, *(const Datum *) b);
}

/*
 * Texts that lie evenly by their bytes, put into the order of the column's collation. What lies outside
 * there is left out.
 */
static void
cut_texts(const stride_column *column, Datum from, Datum to, int n, stride_points *out)
{
	const char *lower = text_of(column, from);
	const char *upper = text_of(column, to);
	size_t same = 0;
	stride_points points = {0};
	char *text;

	while (lower[same] != '\0' && lower[same] == upper[same])
		same++;
	same = pg_mbcliplen(lower, (int) same, (int) same);
	text = palloc(same + STRIDE_TEXT_DIGITS + 1);
	for (int i = 1; i < n; i++)
	{
		Datum value;

		text[stride_text(lower, upper, same, (size_t) i, (size_t) n, text)] = '\0';
		value = read_value(column, text);
		if (compare(column, value, from) > 0 && compare(column, value, to) < 0)
			add_point(&points, value);
	}
	if (points.n > 0)
		qsort_arg(points.values, points.n, sizeof(Datum), compare_values,
				  unconstify(stride_column *, column));
	for (int i = 0; i < points.n; i++)
		add_point(out, points.values[i]);
}

/* n - 1 points between two values at most. */
static void
cut_between(const stride_column *column, Datum from, Datum to, int n, stride_points *out)
{
	if (n < 2 || compare(column, from, to) >= 0)
		return;
	switch (column->type->family)
	{
		case BY_INTEGER:
			cut_integers(column, from, to, n, out);
			break;
		case BY_UUID:
			cut_uuids(from, to, n, out);
			break;
		case BY_FLOAT:
			cut_floats(column, from, to, n, out);
			break;
		case BY_NUMBER:
			cut_numbers(from, to, n, out);
			break;
		case BY_TEXT:
			cut_texts(column, from, to, n, out);
			break;
	}
}

/* ---- What is known of the rows ---- */

static int
compare_rows(const void *a, const void *b, void *column)
{
	return compare(column, ((const stride_value *) a)->value, ((const stride_value *) b)->value);
}

/* Sorts them; a value that comes again has what lies between the two. */
static void
sort_rows(const stride_column *column, stride_rows *rows)
{
	int kept = 0;

	if (rows->n > 0)
		qsort_arg(rows->values, rows->n, sizeof(stride_value), compare_rows,
				  unconstify(stride_column *, column));
	for (int i = 0; i < rows->n; i++)
	{
		stride_value here = rows->values[i];
		stride_value *last = kept > 0 ? &rows->values[kept - 1] : NULL;

		if (last != NULL && compare(column, last->value, here.value) == 0)
		{
			last->at += last->after + here.at;
			last->after = here.after;
			continue;
		}
		/* A frequent value in the midst of a bin. */
		if (last != NULL && here.after == 0 && i < rows->n - 1)
			last->after = here.after = last->after / 2;
		rows->values[kept++] = here;
	}
	rows->n = kept;
}

/* Only those above lower and up to upper (NULL: open). */
static void
clip_rows(const stride_column *column, const Datum *lower, const Datum *upper, stride_rows *rows)
{
	int kept = 0;

	for (int i = 0; i < rows->n; i++)
		if ((lower == NULL || compare(column, rows->values[i].value, *lower) > 0) &&
			(upper == NULL || compare(column, rows->values[i].value, *upper) <= 0))
			rows->values[kept++] = rows->values[i];
	rows->n = kept;
}

static bool
usable_slot(const stride_column *column, const AttStatsSlot *slot)
{
	return getBaseType(slot->valuetype) == column->type->oid || column->type->family == BY_TEXT;
}

static void
add_value(const stride_column *column, Datum value, double at, double after, stride_rows *out)
{
	if (!is_finite(column, value))
		return;
	out->values[out->n++] =
		(stride_value){datumCopy(value, column->typbyval, column->typlen), at, after};
}

/* The most common values, and the bins of the histogram, which hold the others in equal parts. */
static void
read_slots(const stride_column *column, HeapTuple tuple, stride_rows *out)
{
	AttStatsSlot common = {0};
	AttStatsSlot bins = {0};
	double others = 1 - ((Form_pg_statistic) GETSTRUCT(tuple))->stanullfrac;

	if (get_attstatsslot(&common, tuple, STATISTIC_KIND_MCV, InvalidOid,
						 ATTSTATSSLOT_VALUES | ATTSTATSSLOT_NUMBERS) &&
		(!usable_slot(column, &common) || common.nvalues != common.nnumbers))
		common.nvalues = 0;
	if (get_attstatsslot(&bins, tuple, STATISTIC_KIND_HISTOGRAM, InvalidOid, ATTSTATSSLOT_VALUES) &&
		!usable_slot(column, &bins))
		bins.nvalues = 0;
	out->values = palloc(sizeof(stride_value) * (common.nvalues + bins.nvalues + 1));
	for (int i = 0; i < common.nvalues; i++)
	{
		add_value(column, common.values[i], common.numbers[i], 0, out);
		others -= common.numbers[i];
	}
	for (int i = 0; i < bins.nvalues; i++)
		add_value(column, bins.values[i], 0,
				  i < bins.nvalues - 1 ? Max(others, 1e-6) / (bins.nvalues - 1) : 0, out);
	free_attstatsslot(&common);
	free_attstatsslot(&bins);
}

/* What a role must not see of the rows it must not see of the statistics either, as in pg_stats. */
static void
read_statistics(const partition_request *request, const stride_column *column, stride_rows *out)
{
	bool inherited =
		request->relkind == RELKIND_PARTITIONED_TABLE || has_subclass(request->relation);
	HeapTuple tuple;

	if (check_enable_rls(request->relation, InvalidOid, true) == RLS_ENABLED)
		return;
	tuple = SearchSysCache3(STATRELATTINH, ObjectIdGetDatum(request->relation),
							Int16GetDatum(column->attnum), BoolGetDatum(inherited));
	if (!HeapTupleIsValid(tuple))
		return;
	read_slots(column, tuple, out);
	ReleaseSysCache(tuple);
	sort_rows(column, out);
}

/* The parts that are still to be cut off. */
typedef struct rows_left
{
	int n;
	double rows;   /* of all of them */
	double before; /* of the one at work, so far */
} rows_left;

static double
part_size(const rows_left *left)
{
	return left->rows / left->n;
}

/* Ends a part with what it has and some rows more. */
static void
end_part(rows_left *left, double more)
{
	left->rows -= left->before + more;
	left->before = 0;
	left->n--;
}

/* Sums of shares are not exact. */
#define ABOUT 1e-9

/*
 * Cut points between parts of about the same number of rows. Where more are wanted than values are known
 * there are cuts between these too.
 */
static void
cut_rows(const stride_column *column, const stride_rows *rows, int n, stride_points *out)
{
	bool between = n >= rows->n;
	rows_left left = {n, 0, 0};

	for (int i = 0; i < rows->n; i++)
		left.rows += rows->values[i].at + rows->values[i].after;
	for (int i = 0; i < rows->n; i++)
	{
		const stride_value *here = &rows->values[i];
		double rest = here->after;
		double half = (here->at + (between ? 0 : rest)) / 2;
		int cuts = 0;

		CHECK_FOR_INTERRUPTS();
		/* The nearer end, when this value is no part of its own. */
		if (left.n > 1 && left.before > 0 && left.before + half > part_size(&left) * (1 - ABOUT))
		{
			add_point(out, here->value);
			end_part(&left, 0);
		}
		left.before += here->at;
		while (between && left.n > 1 && left.before + rest > part_size(&left) * (1 + ABOUT))
		{
			double more = Max(part_size(&left) - left.before, 0);

			end_part(&left, more);
			rest -= more;
			cuts++;
		}
		left.before += rest;
		if (cuts == 0 || i + 1 == rows->n)
			continue;
		if (here->after == 0)
			add_point(out, rows->values[i + 1].value);
		else
			cut_between(column, here->value, rows->values[i + 1].value, cuts + 1, out);
	}
}

/* ---- Questions to the table ---- */

static char *
relation_name(const partition_request *request)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(request->relation)),
									  get_rel_name(request->relation));
}

/* The statement that asks for least and greatest value; min and max do not know every type. */
static char *
ends_sql(const partition_request *request, const stride_column *column)
{
	const char *name = quote_identifier(request->column);
	char *relation = relation_name(request);
	StringInfoData sql;

	initStringInfo(&sql);
	if (column->type->family == BY_UUID || column->type->family == BY_TEXT)
		appendStringInfo(&sql,
						 "SELECT (SELECT %s FROM %s WHERE %s IS NOT NULL ORDER BY %s LIMIT 1), "
						 "(SELECT %s FROM %s WHERE %s IS NOT NULL ORDER BY %s DESC LIMIT 1)",
						 name, relation, name, name, name, relation, name, name);
	else
	{
		appendStringInfo(&sql, "SELECT pg_catalog.min(%s), pg_catalog.max(%s) FROM %s", name, name,
						 relation);
		if (column->type->finite != NULL)
		{
			appendStringInfoString(&sql, " WHERE ");
			appendStringInfo(&sql, column->type->finite, name);
		}
	}
	return sql.data;
}

/* Runs a query as the caller; its rows are SPI's until SPI_finish. */
static void
run_query(const char *sql)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "no answer to \"%s\"", sql);
}

/* A value of the answer, copied to the caller's memory; false when it is NULL. */
static bool
take_value(const stride_column *column, uint64 row, int field, MemoryContext caller, Datum *out)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, field, &isnull);
	MemoryContext spi;

	if (isnull)
		return false;
	spi = MemoryContextSwitchTo(caller);
	*out = column->typlen == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(value))
								: datumCopy(value, column->typbyval, column->typlen);
	MemoryContextSwitchTo(spi);
	return true;
}

/* Least and greatest value in the table, as the caller sees it; false when there is none. */
static bool
read_ends(const partition_request *request, const stride_column *column, Datum ends[2])
{
	MemoryContext caller = CurrentMemoryContext;
	char *sql = ends_sql(request, column);
	bool found;

	run_query(sql);
	if (SPI_processed != 1)
		elog(ERROR, "no answer to \"%s\"", sql);
	found =
		take_value(column, 0, 1, caller, &ends[0]) && take_value(column, 0, 2, caller, &ends[1]);
	SPI_finish();
	return found;
}

static void
put_comparison(const char *column, const char *cast, const char *operator, const char * value,
			   StringInfo out)
{
	appendStringInfo(out, "%s OPERATOR(pg_catalog.%s) %s::%s", column, operator,
					 quote_literal_cstr(value), cast);
}

/* The statement that asks for the values in some blocks of the table. */
static char *
sample_sql(const partition_request *request, const stride_column *column, double percent,
		   const Datum *lower, const Datum *upper)
{
	const char *name = quote_identifier(request->column);
	const char *cast = column->type->cast;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT %s FROM %s TABLESAMPLE pg_catalog.system (%.6f) REPEATABLE (0) "
					 "WHERE %s IS NOT NULL",
					 name, relation_name(request), percent, name);
	if (column->type->finite != NULL)
	{
		appendStringInfoString(&sql, " AND ");
		appendStringInfo(&sql, column->type->finite, name);
	}
	if (column->type->family == BY_TEXT)
		appendStringInfo(&sql,
						 " AND pg_catalog.octet_length(%s::pg_catalog.text) "
						 "OPERATOR(pg_catalog.<=) %d",
						 name, LONGEST_TEXT);
	if (lower != NULL)
	{
		appendStringInfoString(&sql, " AND ");
		put_comparison(name, cast, ">=", print_value(column, *lower), &sql);
	}
	if (upper != NULL)
	{
		appendStringInfoString(&sql, " AND ");
		put_comparison(name, cast, "<=", print_value(column, *upper), &sql);
	}
	return sql.data;
}

/*
 * The values in some of the blocks, as the caller sees them. False when they may tell too little, and
 * least and greatest value are to be looked up.
 */
static bool
read_sample(const partition_request *request, const stride_column *column, const Datum *lower,
			const Datum *upper, int n, stride_rows *out)
{
	MemoryContext caller = CurrentMemoryContext;
	member_blocks blocks = measure(request->relation);
	double percent = 100.0 * SAMPLE_BLOCKS / Max(blocks.total, SAMPLE_BLOCKS);

	if (!blocks.plain)
		return false;
	run_query(sample_sql(request, column, percent, lower, upper));
	out->n = 0;
	out->values = MemoryContextAllocHuge(caller, sizeof(stride_value) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum value;

		CHECK_FOR_INTERRUPTS();
		if (take_value(column, i, 1, caller, &value))
			out->values[out->n++] = (stride_value){value, 1, 0};
	}
	SPI_finish();
	sort_rows(column, out);
	/* Of a part of the rows: others lie between those that were seen. */
	for (int i = 0; percent < 100 && n >= out->n && i < out->n; i++)
	{
		out->values[i].after = i + 1 < out->n ? out->values[i].at : 0;
		out->values[i].at = 0;
	}
	return percent >= 100 || out->n >= 2;
}

/* Only those between the ends (NULL: open), and each above the one before. */
static void
keep_growing(const stride_column *column, const Datum *lower, const Datum *upper,
			 stride_points *points)
{
	int kept = 0;

	for (int i = 0; i < points->n; i++)
	{
		Datum value = points->values[i];

		if ((lower != NULL && compare(column, value, *lower) <= 0) ||
			(upper != NULL && compare(column, value, *upper) > 0) ||
			(kept > 0 && compare(column, value, points->values[kept - 1]) <= 0))
			continue;
		points->values[kept++] = value;
	}
	points->n = kept;
}

/*
 * Between two bounds numbers are cut evenly, and so are they when one is given. All else goes by the rows:
 * by statistics, by a sample where there are none, and by least and greatest value where that cannot be.
 */
static void
find_cuts(const partition_request *request, const stride_column *column, const Datum *lower,
		  const Datum *upper, int n, stride_points *out)
{
	bool by_rows = column->type->family == BY_TEXT || (lower == NULL && upper == NULL);
	stride_rows rows = {0};
	Datum ends[2];

	if (n < 2)
		return;
	if (by_rows)
	{
		read_statistics(request, column, &rows);
		clip_rows(column, lower, upper, &rows);
	}
	if (rows.n >= 2 || (by_rows && read_sample(request, column, lower, upper, n, &rows)))
		cut_rows(column, &rows, n, out);
	else if (lower != NULL && upper != NULL)
		cut_between(column, *lower, *upper, n, out);
	else if (read_ends(request, column, ends))
		cut_between(column, lower != NULL ? *lower : ends[0], upper != NULL ? *upper : ends[1], n,
					out);
	keep_growing(column, lower, upper, out);
}

static void
plan_column(const partition_request *request, partition_plan *plan)
{
	stride_column column = {0};
	stride_points cuts = {0};
	Datum bounds[2];
	const Datum *lower = request->lower != NULL ? &bounds[0] : NULL;
	const Datum *upper = request->upper != NULL ? &bounds[1] : NULL;
	int n = request->n;

	check_column(request, &column);
	if (lower != NULL)
		bounds[0] = read_bound(&column, request->lower, "lower");
	if (upper != NULL)
		bounds[1] = read_bound(&column, request->upper, "upper");
	if (lower != NULL && upper != NULL && compare(&column, *lower, *upper) > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("lower must not be above upper: \"%s\", \"%s\"", request->lower,
							   request->upper)));
	if (n == 0)
	{
		member_blocks blocks = measure(request->relation);

		n = pieces_of(request, &blocks);
	}
	find_cuts(request, &column, lower, upper, n, &cuts);
	plan->column = quote_identifier(request->column);
	plan->cast = column.type->cast;
	plan->nulls = !request->filter;
	plan->cuts = palloc(sizeof(char *) * (cuts.n + 1));
	for (int i = 0; i < cuts.n; i++)
		plan->cuts[plan->ncuts++] = print_value(&column, cuts.values[i]);
	if (request->filter)
	{
		plan->first = lower != NULL ? print_value(&column, *lower) : NULL;
		plan->last = upper != NULL ? print_value(&column, *upper) : NULL;
	}
}

/* ---- Rows out ---- */

static char *
condition_of(const partition_plan *plan, int i, const char *begins, const char *ends)
{
	bool nulls = plan->nulls && i == 0;
	StringInfoData out;

	if (begins == NULL && ends == NULL)
		return pstrdup("true");
	initStringInfo(&out);
	appendStringInfoChar(&out, '(');
	if (begins != NULL)
		put_comparison(plan->column, plan->cast, ">=", begins, &out);
	if (begins != NULL && ends != NULL)
		appendStringInfoString(&out, " AND ");
	/* The last end is a bound that was given, and that value is inside. */
	if (ends != NULL)
		put_comparison(plan->column, plan->cast, i < plan->ncuts ? "<" : "<=", ends, &out);
	if (nulls)
		appendStringInfo(&out, " OR %s IS NULL", plan->column);
	appendStringInfoChar(&out, ')');
	return out.data;
}

static Datum
piece_row(const partition_plan *plan, int i, TupleDesc tupdesc)
{
	const char *begins = i == 0 ? plan->first : plan->cuts[i - 1];
	const char *ends = i == plan->ncuts ? plan->last : plan->cuts[i];
	Datum values[4] = {Int32GetDatum(i + 1), 0, 0, 0};
	bool nulls[4] = {false, false, begins == NULL, ends == NULL};

	values[1] = CStringGetTextDatum(condition_of(plan, i, begins, ends));
	if (begins != NULL)
		values[2] = CStringGetTextDatum(begins);
	if (ends != NULL)
		values[3] = CStringGetTextDatum(ends);
	return HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls));
}

static partition_plan *
make_plan(FunctionCallInfo fcinfo)
{
	partition_request request = check_arguments(fcinfo);
	partition_plan *plan = palloc0(sizeof(*plan));

	if (request.column == NULL)
		plan_blocks(&request, plan);
	else
		plan_column(&request, plan);
	return plan;
}

/* partitions(relation, n, column_name, lower, upper, filter) */
Datum
penstock_partitions(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	const partition_plan *plan;
	Datum row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;
		TupleDesc tupdesc;

		call = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "penstock.partitions must return rows");
		call->tuple_desc = BlessTupleDesc(tupdesc);
		call->user_fctx = make_plan(fcinfo);
		MemoryContextSwitchTo(caller);
	}
	call = SRF_PERCALL_SETUP();
	plan = call->user_fctx;
	if (call->call_cntr > (uint64) plan->ncuts)
		SRF_RETURN_DONE(call);
	/* Not in the macro, which counts the call before it looks at the row. */
	row = piece_row(plan, (int) call->call_cntr, call->tuple_desc);
	SRF_RETURN_NEXT(call, row);
}
