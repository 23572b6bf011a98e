/*
 * source_plan.c - cutting a read into splits.
 *
 * By the options scan.partition.* into strides of a column; else by blocks, where the server can
 * read a run of blocks on its own (heap tables, 14 and newer) and reading all of them is what the
 * query would do anyway; else not at all.
 */
#include "source_internal.h"

#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "pgtext.h"

/* Below this share of the rows an index on the filter's columns is likely faster than blocks. */
#define SELECTIVE 0.05

#define OID_NAME 19
#define OID_DEFAULT_COLLATION 100

/* ---- Types that strides can be of ---- */

enum family
{
	BY_INT,
	BY_NUMERIC,
	BY_DATE,
	BY_TIMESTAMP,
	BY_TIMESTAMPTZ,
	BY_UUID,
	BY_TEXT
};

static const struct stride_type
{
	Oid oid;
	enum family family;
	const char *cast; /* of bounds, in the conditions */
} stride_types[] = {
	{20, BY_INT, "pg_catalog.int8"},
	{21, BY_INT, "pg_catalog.int8"},
	{23, BY_INT, "pg_catalog.int8"},
	{26, BY_INT, "pg_catalog.oid"},
	{700, BY_NUMERIC, "pg_catalog.float8"},
	{701, BY_NUMERIC, "pg_catalog.float8"},
	{1700, BY_NUMERIC, "pg_catalog.numeric"},
	{1082, BY_DATE, "pg_catalog.date"},
	{1114, BY_TIMESTAMP, "pg_catalog.timestamp"},
	{1184, BY_TIMESTAMPTZ, "pg_catalog.timestamptz"},
	{2950, BY_UUID, "pg_catalog.uuid"},
	{OID_NAME, BY_TEXT, "pg_catalog.text"},
	{25, BY_TEXT, "pg_catalog.text"},
	{1042, BY_TEXT, "pg_catalog.bpchar"},
	{1043, BY_TEXT, "pg_catalog.text"},
};

static const struct stride_type *
stride_type(const psti_column *column)
{
	for (size_t i = 0; i < sizeof(stride_types) / sizeof(stride_types[0]); i++)
		if (stride_types[i].oid == column->type.base)
			return &stride_types[i];
	return NULL;
}

/*
 * Whether a text column is in the order of its bytes instead of its collation's. A query's is: the
 * description of a query tells no collation, and bounds, cut points and conditions must be in one
 * order. So is name, whose operators follow the database's collation before 12.
 */
static bool
ordered_by_bytes(const pst_source *source, const psti_column *column)
{
	return source->query != NULL || column->type.base == OID_NAME;
}

#define BY_BYTES " COLLATE pg_catalog.\"C\""

bool
psti_source_stride_cast(const pst_source *source, const psti_column *column, psti_buf *out)
{
	const struct stride_type *type = stride_type(column);

	if (type == NULL)
		return false;
	psti_buf_puts(out, type->cast);
	if (type->family == BY_TEXT && ordered_by_bytes(source, column))
		psti_buf_puts(out, BY_BYTES);
	return true;
}

/* Microseconds since 2000, exactly: epoch alone is a double before 14. */
#define USECS(type, param)                                                                         \
	"(pg_catalog.date_part('epoch', pg_catalog.date_trunc('second', " param "::pg_catalog." type   \
	"))::pg_catalog.int8 OPERATOR(pg_catalog.-) 946684800) "                                       \
	"OPERATOR(pg_catalog.*) 1000000 OPERATOR(pg_catalog.+) "                                       \
	"(pg_catalog.date_part('microseconds', " param "::pg_catalog." type                            \
	")::pg_catalog.int8 OPERATOR(pg_catalog.%) 1000000)"

#define DAYS(param)                                                                                \
	"(" param "::pg_catalog.date OPERATOR(pg_catalog.-) '2000-01-01'::pg_catalog.date)"

/* Lower and upper as the type prints them, whether they are in order, and as numbers. */
#define BOUNDS(type, from, to)                                                                     \
	"SELECT $1::pg_catalog." type "::pg_catalog.text, $2::pg_catalog." type "::pg_catalog.text, "  \
	"$1::pg_catalog." type " OPERATOR(pg_catalog.<=) $2::pg_catalog." type ", " from ", " to

static const char *const bounds_sql[] = {
	[BY_INT] = BOUNDS("int8", "$1::pg_catalog.int8", "$2::pg_catalog.int8"),
	[BY_NUMERIC] = BOUNDS("numeric", "NULL", "NULL"),
	[BY_DATE] = BOUNDS("date", DAYS("$1"), DAYS("$2")),
	[BY_TIMESTAMP] = BOUNDS("timestamp", USECS("timestamp", "$1"), USECS("timestamp", "$2")),
	[BY_TIMESTAMPTZ] =
		BOUNDS("timestamptz", USECS("timestamptz", "$1"), USECS("timestamptz", "$2")),
	[BY_UUID] = BOUNDS("uuid", "NULL", "NULL"),
};

/* ---- Checking the options, at open ---- */

static const psti_opt partition_options[] = {
	PSTI_OPT_PARTITION_COLUMN,
	PSTI_OPT_PARTITION_NUM,
	PSTI_OPT_PARTITION_LOWER,
	PSTI_OPT_PARTITION_UPPER,
};

/* All four or none, as everywhere else where these options are known. */
static pst_status
check_together(const pst_source *source, pst_error *err)
{
	static const char *const names[] = {"scan.partition.column", "scan.partition.num",
										"scan.partition.lower-bound", "scan.partition.upper-bound"};
	const char *missing = NULL;
	int given = 0;

	for (int i = 0; i < 4; i++)
	{
		if (psti_opt_given(source->options, partition_options[i]))
			given++;
		else if (missing == NULL)
			missing = names[i];
	}
	if (given == 0 && psti_opt_given(source->options, PSTI_OPT_PARTITION_BOUNDS))
		missing = names[0];
	else if (given == 0 || given == 4)
		return PST_OK;
	psti_fail(err, PST_ERR_INVALID, "option \"%s\" is missing", missing);
	psti_error_hint(err,
					"scan.partition.column, num, lower-bound and upper-bound go together: give "
					"all or none.");
	return PST_ERR_INVALID;
}

static pst_status
find_partition_column(pst_source *source, pst_error *err)
{
	const char *name = psti_opt_text(source->options, PSTI_OPT_PARTITION_COLUMN);
	const psti_column *column = psti_relation_column(source->relation, name);

	if (column == NULL)
		psti_opt_fail(source->options, PSTI_OPT_PARTITION_COLUMN, err,
					  "names no column of the table: \"%s\"", name);
	else if (!source->unique_names)
		psti_opt_fail(source->options, PSTI_OPT_PARTITION_COLUMN, err,
					  "needs a query without two columns of one name");
	else if (stride_type(column) == NULL)
	{
		psti_opt_fail(source->options, PSTI_OPT_PARTITION_COLUMN, err,
					  "names \"%s\" of type %s, which has no strides", name, column->type.name);
		psti_error_hint(err, "Take an integer, numeric, float, date, timestamp, uuid or text "
							 "column, or leave the scan.partition options out: tables are cut by "
							 "blocks then.");
	}
	else
	{
		source->partition.column = column;
		return PST_OK;
	}
	PSTI_ERROR_SET(err, column, name);
	return err->status;
}

/* "COLLATE x" of the column, or "": bounds must be in the column's own order. */
static pst_status
collate_clause(pst_source *source, psti_buf *out, pst_error *err)
{
	const psti_column *column = source->partition.column;
	char oid[16];
	const char *params[] = {oid};
	PGresult *result = NULL;
	pst_status status;

	if (ordered_by_bytes(source, column) || column->collation == OID_DEFAULT_COLLATION)
	{
		psti_buf_puts(out, ordered_by_bytes(source, column) ? BY_BYTES : "");
		return psti_buf_check(out, err);
	}
	snprintf(oid, sizeof(oid), "%lu", (unsigned long) column->collation);
	status = psti_conn_query(source->conn, "reading the column's collation",
							 "SELECT n.nspname, c.collname FROM pg_catalog.pg_collation c JOIN "
							 "pg_catalog.pg_namespace n "
							 "ON n.oid OPERATOR(pg_catalog.=) c.collnamespace "
							 "WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid",
							 1, params, &result, err);
	if (status == PST_OK && PQntuples(result) == 1)
	{
		psti_buf_puts(out, " COLLATE ");
		psti_buf_qualified(out, PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
	}
	PQclear(result);
	return status == PST_OK ? psti_buf_check(out, err) : status;
}

static pst_status
ask_bounds(pst_source *source, enum family family, PGresult **out, pst_error *err)
{
	const char *params[] = {psti_opt_text(source->options, PSTI_OPT_PARTITION_LOWER),
							psti_opt_text(source->options, PSTI_OPT_PARTITION_UPPER)};
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status = PST_OK;

	if (family == BY_TEXT)
	{
		psti_buf_puts(&sql, "SELECT $1::pg_catalog.text, $2::pg_catalog.text, "
							"$1::pg_catalog.text OPERATOR(pg_catalog.<=) $2::pg_catalog.text");
		status = collate_clause(source, &sql, err);
		psti_buf_puts(&sql, ", NULL, NULL");
	}
	else
		psti_buf_puts(&sql, bounds_sql[family]);
	if (status == PST_OK)
		status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_query(source->conn, "reading scan.partition.lower-bound and upper-bound",
								 sql.data, 2, params, out, err);
	psti_buf_free(&sql);
	return status;
}

/* A whole number that an int64 holds. */
static bool
read_int64(const char *text, int64_t *out)
{
	size_t digits = strspn(text + (*text == '-'), "0123456789");
	char *end;

	if (digits == 0 || digits > 18)
		return false;
	*out = strtoll(text, &end, 10);
	return *end == '\0';
}

static bool
read_uuid(const char *text, uint8_t out[16])
{
	size_t n = 0;

	for (; *text != '\0'; text++)
	{
		unsigned digit;

		if (*text == '-')
			continue;
		if (*text >= '0' && *text <= '9')
			digit = (unsigned) (*text - '0');
		else if (*text >= 'a' && *text <= 'f')
			digit = (unsigned) (*text - 'a') + 10;
		else
			return false;
		if (n >= 32)
			return false;
		out[n / 2] = (uint8_t) (n % 2 == 0 ? digit << 4 : out[n / 2] | digit);
		n++;
	}
	return n == 32;
}

static bool
is_number(const char *text)
{
	if (*text == '-')
		text++;
	return *text >= '0' && *text <= '9';
}

static pst_status
read_points(pst_source *source, enum family family, const PGresult *result, pst_error *err)
{
	psti_partition *p = &source->partition;
	psti_opt opt = PSTI_OPT_PARTITION_LOWER;

	switch (family)
	{
		case BY_UUID:
			if (!read_uuid(p->lower, p->uuid_from) || !read_uuid(p->upper, p->uuid_to))
				return psti_fail(err, PST_ERR_PROTOCOL, "the server printed a uuid badly");
			return PST_OK;
		case BY_TEXT:
			return PST_OK;
		case BY_NUMERIC:
			if (!is_number(p->lower) || !is_number(p->upper))
				return psti_opt_fail(source->options,
									 is_number(p->lower) ? PSTI_OPT_PARTITION_UPPER : opt, err,
									 "is not a finite number");
			p->points = read_int64(p->lower, &p->from) && read_int64(p->upper, &p->to);
			return PST_OK;
		default:
			p->from = strtoll(PQgetvalue(result, 0, 3), NULL, 10);
			p->to = strtoll(PQgetvalue(result, 0, 4), NULL, 10);
			p->points = true;
			break;
	}
	if (p->column->type.base == 26 && (p->from < 0 || p->to > UINT32_MAX))
		return psti_opt_fail(source->options, p->from < 0 ? opt : PSTI_OPT_PARTITION_UPPER, err,
							 "is no OID");
	return PST_OK;
}

pst_status
psti_source_check_partition(pst_source *source, pst_error *err)
{
	psti_partition *p = &source->partition;
	PGresult *result = NULL;
	enum family family;
	pst_status status = check_together(source, err);

	if (status != PST_OK || !psti_opt_given(source->options, PSTI_OPT_PARTITION_COLUMN))
		return status;
	status = find_partition_column(source, err);
	if (status != PST_OK)
		return status;
	family = stride_type(p->column)->family;
	status = ask_bounds(source, family, &result, err);
	if (status == PST_OK && (PQntuples(result) != 1 || PQnfields(result) != 5))
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server gave no answer about the bounds");
	if (status == PST_OK && PQgetvalue(result, 0, 2)[0] != 't')
	{
		psti_opt_fail(source->options, PSTI_OPT_PARTITION_LOWER, err,
					  "must not be above scan.partition.upper-bound: %s, %s",
					  PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
		status = PST_ERR_INVALID;
	}
	if (status == PST_OK)
	{
		p->lower = strdup(PQgetvalue(result, 0, 0));
		p->upper = strdup(PQgetvalue(result, 0, 1));
		if (p->lower == NULL || p->upper == NULL)
			status = psti_fail_nomem(err);
	}
	if (status == PST_OK)
		status = read_points(source, family, result, err);
	PQclear(result);
	return status;
}

void
psti_source_partition_free(pst_source *source)
{
	free(source->partition.lower);
	free(source->partition.upper);
}

/* ---- Cut points ---- */

static size_t
print_date(int64_t point, char *out)
{
	return psti_text_date((int32_t) point, out);
}

static size_t
print_timestamp(int64_t point, char *out)
{
	return psti_text_timestamp(point, false, out);
}

static size_t
print_timestamptz(int64_t point, char *out)
{
	return psti_text_timestamp(point, true, out);
}

/* Moves the texts of a result's first column out. */
static pst_status
take_cuts(const PGresult *result, char ***cuts, size_t *ncuts, pst_error *err)
{
	size_t n = (size_t) PQntuples(result);

	*cuts = calloc(n + 1, sizeof(**cuts));
	if (*cuts == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < n; i++)
	{
		(*cuts)[i] = strdup(PQgetvalue(result, (int) i, 0));
		if ((*cuts)[i] == NULL)
		{
			psti_cuts_free(*cuts, i);
			*cuts = NULL;
			return psti_fail_nomem(err);
		}
	}
	*ncuts = n;
	return PST_OK;
}

/* Fractions and numbers beyond int64: the server's arithmetic is exact. */
static pst_status
cuts_numeric(pst_source *source, size_t n, char ***cuts, size_t *ncuts, pst_error *err)
{
	char count[24];
	const char *params[] = {source->partition.lower, source->partition.upper, count};
	PGresult *result = NULL;
	pst_status status;

	snprintf(count, sizeof(count), "%zu", n);
	status = psti_conn_query(
		source->conn, "computing the strides",
		"SELECT v::pg_catalog.text FROM (SELECT DISTINCT $1::pg_catalog.numeric "
		"OPERATOR(pg_catalog.+) ($2::pg_catalog.numeric OPERATOR(pg_catalog.-) "
		"$1::pg_catalog.numeric) OPERATOR(pg_catalog.*) i OPERATOR(pg_catalog./) "
		"$3::pg_catalog.int8 AS v FROM pg_catalog.generate_series(1::pg_catalog.int8, "
		"$3::pg_catalog.int8 OPERATOR(pg_catalog.-) 1) AS i) AS s ORDER BY s.v",
		3, params, &result, err);
	if (status == PST_OK)
		status = take_cuts(result, cuts, ncuts, err);
	PQclear(result);
	return status;
}

/* A literal of the SQL array type text[]. */
static void
put_text_array(char *const *texts, size_t n, psti_buf *out)
{
	psti_buf_putc(out, '{');
	for (size_t i = 0; i < n; i++)
	{
		psti_buf_puts(out, i > 0 ? ",\"" : "\"");
		for (const char *c = texts[i]; *c != '\0'; c++)
		{
			if (*c == '"' || *c == '\\')
				psti_buf_putc(out, '\\');
			psti_buf_putc(out, *c);
		}
		psti_buf_putc(out, '"');
	}
	psti_buf_putc(out, '}');
}

/*
 * Candidates by bytes, put into the order of the column's collation by the server; those that lie
 * outside the bounds there, or equal to one before, are dropped.
 */
static pst_status
cuts_text(pst_source *source, size_t n, char ***cuts, size_t *ncuts, pst_error *err)
{
	char **texts = NULL;
	size_t ntexts = 0;
	psti_buf sql = PSTI_BUF_INIT;
	psti_buf list = PSTI_BUF_INIT;
	psti_buf collate = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status =
		psti_cuts_text(source->partition.lower, source->partition.upper, n, &texts, &ntexts, err);

	if (status == PST_OK)
		status = collate_clause(source, &collate, err);
	if (status == PST_OK)
	{
		const char *clause = collate.data != NULL ? collate.data : "";

		put_text_array(texts, ntexts, &list);
		psti_buf_printf(&sql,
						"SELECT DISTINCT v%s FROM pg_catalog.unnest($1::pg_catalog.text[]) AS v "
						"WHERE v OPERATOR(pg_catalog.>) $2::pg_catalog.text%s "
						"AND v OPERATOR(pg_catalog.<=) $3::pg_catalog.text%s ORDER BY 1",
						clause, clause, clause);
		status = list.failed || sql.failed ? psti_fail_nomem(err) : PST_OK;
	}
	if (status == PST_OK)
	{
		const char *params[] = {list.data, source->partition.lower, source->partition.upper};

		status = psti_conn_query(source->conn, "computing the strides", sql.data, 3, params,
								 &result, err);
	}
	if (status == PST_OK)
		status = take_cuts(result, cuts, ncuts, err);
	PQclear(result);
	psti_cuts_free(texts, ntexts);
	psti_buf_free(&sql);
	psti_buf_free(&list);
	psti_buf_free(&collate);
	return status;
}

static pst_status
make_cuts(pst_source *source, size_t n, char ***cuts, size_t *ncuts, pst_error *err)
{
	static const psti_print_point printers[] = {
		[BY_INT] = psti_text_int64,
		[BY_NUMERIC] = psti_text_int64,
		[BY_DATE] = print_date,
		[BY_TIMESTAMP] = print_timestamp,
		[BY_TIMESTAMPTZ] = print_timestamptz,
	};
	const psti_partition *p = &source->partition;
	enum family family = stride_type(p->column)->family;

	*cuts = NULL;
	*ncuts = 0;
	if (family == BY_UUID)
		return psti_cuts_uuid(p->uuid_from, p->uuid_to, n, cuts, ncuts, err);
	if (family == BY_TEXT)
		return cuts_text(source, n, cuts, ncuts, err);
	if (!p->points)
		return cuts_numeric(source, n, cuts, ncuts, err);
	return psti_cuts_int64(p->from, p->to, n, printers[family], cuts, ncuts, err);
}

/* ---- Splits ---- */

/* Splits under construction: texts, and the split that they are printed from. */
typedef struct draft
{
	psti_split split; /* members borrowed */
	char **texts;
	size_t ntexts;
} draft;

static pst_status
draft_init(draft *d, const pst_source *source, size_t most, pst_error *err)
{
	const psti_caps *caps = psti_conn_caps(source->conn);

	memset(d, 0, sizeof(*d));
	d->texts = calloc(most + 1, sizeof(*d->texts));
	if (d->texts == NULL)
		return psti_fail_nomem(err);
	d->split.snapshot = source->snapshot;
	d->split.system = (char *) caps->system_identifier;
	d->split.started = (char *) caps->postmaster_start;
	d->split.database = (char *) caps->database;
	d->split.schemas = source->schemas;
	d->split.options = (char *) source->fingerprint;
	d->split.relation = source->relation->oid;
	return PST_OK;
}

static pst_status
draft_add(draft *d, pst_error *err)
{
	pst_status status = psti_split_print(&d->split, &d->texts[d->ntexts], err);

	if (status == PST_OK)
		d->ntexts++;
	return status;
}

/* The texts in one allocation: pointers first, then the characters. */
static pst_status
draft_finish(draft *d, char ***splits, size_t *nsplits, pst_error *err)
{
	size_t size = (d->ntexts + 1) * sizeof(char *);
	char *at;

	for (size_t i = 0; i < d->ntexts; i++)
		size += strlen(d->texts[i]) + 1;
	*splits = malloc(size);
	if (*splits == NULL)
		return psti_fail_nomem(err);
	at = (char *) (*splits + d->ntexts + 1);
	for (size_t i = 0; i < d->ntexts; i++)
	{
		size_t len = strlen(d->texts[i]) + 1;

		memcpy(at, d->texts[i], len);
		(*splits)[i] = at;
		at += len;
	}
	(*splits)[d->ntexts] = NULL;
	*nsplits = d->ntexts;
	return PST_OK;
}

static void
draft_free(draft *d)
{
	psti_cuts_free(d->texts, d->ntexts);
}

/* ---- Three ways to cut ---- */

static pst_status
plan_all(pst_source *source, draft *d, pst_error *err)
{
	pst_status status = draft_init(d, source, 1, err);

	if (status != PST_OK)
		return status;
	d->split.kind = PSTI_SPLIT_ALL;
	return draft_add(d, err);
}

static pst_status
plan_strides(pst_source *source, size_t max_splits, draft *d, pst_error *err)
{
	const psti_partition *p = &source->partition;
	size_t n = (size_t) psti_opt_int(source->options, PSTI_OPT_PARTITION_NUM);
	bool filter = psti_opt_int(source->options, PSTI_OPT_PARTITION_BOUNDS) == 1;
	char **cuts = NULL;
	size_t ncuts = 0;
	psti_stride *strides = NULL;
	pst_status status;

	if (max_splits > 0 && n > max_splits)
		n = max_splits;
	status = make_cuts(source, n, &cuts, &ncuts, err);
	if (status == PST_OK)
		status = psti_strides_new(p->lower, p->upper, cuts, ncuts, filter, &strides, err);
	if (status == PST_OK)
		status = draft_init(d, source, ncuts + 1, err);
	for (size_t i = 0; status == PST_OK && i <= ncuts; i++)
	{
		d->split.kind = PSTI_SPLIT_STRIDE;
		d->split.column = p->column->name;
		d->split.stride = strides[i];
		status = draft_add(d, err);
	}
	psti_strides_free(strides, strides == NULL ? 0 : ncuts + 1);
	psti_cuts_free(cuts, ncuts);
	return status;
}

/*
 * The table and everything under it that has rows of its own, as the snapshot sees it. A partition
 * whose DETACH CONCURRENTLY was interrupted is none any more. Last whether it has the columns of the
 * table in the same order, as a whole row shows them.
 */
#define MEMBER_COLUMNS(oid)                                                                        \
	"(SELECT pg_catalog.array_agg(pg_catalog.concat(a.atttypid, ',', a.atttypmod, ',', "           \
	"a.attcollation, ',', a.attname) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a WHERE "     \
	"a.attrelid OPERATOR(pg_catalog.=) " oid " AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT "     \
	"a.attisdropped)"
#define HAS_COLUMNS_OF(oid) MEMBER_COLUMNS("c.oid") " OPERATOR(pg_catalog.=) " MEMBER_COLUMNS(oid)

static const char members_sql[] = PSTI_TREE_SQL
	"SELECT c.oid, COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0::pg_catalog.oid), "
	"CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog.\"char\" THEN "
	"pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog./) "
	"pg_catalog.current_setting('block_size')::pg_catalog.int8 ELSE 0 END, "
	"c.relkind OPERATOR(pg_catalog.<>) 'r'::pg_catalog.\"char\" OR "
	"COALESCE(m.amname OPERATOR(pg_catalog.<>) 'heap'::pg_catalog.name, true), "
	"c.relkind OPERATOR(pg_catalog.=) 'p'::pg_catalog.\"char\", "
	"pg_catalog.row_security_active(c.oid), "
	"pg_catalog.has_table_privilege(c.oid, 'SELECT') AND "
	"pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'), "
	"pg_catalog.current_setting('block_size'), " HAS_COLUMNS_OF(
		"$1::pg_catalog.oid") " FROM tree t JOIN pg_catalog.pg_class c ON c.oid "
							  "OPERATOR(pg_catalog.=) t.oid "
							  "LEFT JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) "
							  "c.relam "
							  "WHERE " PSTI_READABLE_TREE
							  "ORDER BY c.oid OPERATOR(pg_catalog.<>) $1::pg_catalog.oid, c.oid";

enum
{
	M_OID,
	M_NODE,
	M_BLOCKS,
	M_WHOLE,
	M_ONLY_PARENT,
	M_SECURED,
	M_READABLE,
	M_BLOCK_SIZE,
	M_SAME_COLUMNS
};

static bool
is_true(const PGresult *result, int row, int field)
{
	return PQgetvalue(result, row, field)[0] == 't';
}

/*
 * Reads the members; none when they must not be read singly: row security of an ancestor does not
 * hold in its leaves, a grant on the parent does not reach them, and a filter on whole rows would see
 * rows of another form where their columns are others.
 */
static size_t
read_members(const PGresult *result, bool filtered, psti_member *members)
{
	size_t n = 0;

	for (int i = 0; i < PQntuples(result); i++)
	{
		psti_member *member = &members[n];

		if (is_true(result, i, M_SECURED) || !is_true(result, i, M_READABLE) ||
			(filtered && !is_true(result, i, M_SAME_COLUMNS)))
			return 0;
		if (is_true(result, i, M_ONLY_PARENT))
			continue;
		member->oid = (uint32_t) strtoul(PQgetvalue(result, i, M_OID), NULL, 10);
		member->node = (uint32_t) strtoul(PQgetvalue(result, i, M_NODE), NULL, 10);
		member->nblocks = (uint32_t) strtoul(PQgetvalue(result, i, M_BLOCKS), NULL, 10);
		member->whole = is_true(result, i, M_WHOLE);
		n++;
	}
	return n;
}

/* Whether the filter leaves so little that the planner should have its free choice. */
static pst_status
is_selective(pst_source *source, bool *selective, pst_error *err)
{
	psti_select filtered = {NULL, NULL, true, false, 0};
	int64_t rows;
	int64_t width;
	pst_status status;

	*selective = false;
	if (psti_opt_text(source->options, PSTI_OPT_FILTER) == NULL)
		return PST_OK;
	status = psti_source_explain(source, &filtered, true, &rows, &width, err);
	*selective = rows >= 0 && source->rows_total > 0 &&
				 (double) rows < SELECTIVE * (double) source->rows_total;
	return status;
}

static bool
can_cut_blocks(const pst_source *source)
{
	return source->query == NULL && strchr("rp", source->relation->relkind) != NULL &&
		   !source->relation->row_security &&
		   psti_conn_caps(source->conn)->server_version >= 140000 &&
		   !psti_opt_given(source->options, PSTI_OPT_LIMIT);
}

static pst_status
add_groups(pst_source *source, const psti_block_plan *plan, draft *d, pst_error *err)
{
	pst_status status = draft_init(d, source, plan->ngroups, err);

	for (size_t i = 0; status == PST_OK && i < plan->ngroups; i++)
	{
		d->split.kind = PSTI_SPLIT_BLOCKS;
		d->split.blocks = plan->runs + plan->starts[i];
		d->split.nblocks = plan->starts[i + 1] - plan->starts[i];
		status = draft_add(d, err);
	}
	return status;
}

static pst_status
plan_blocks(pst_source *source, size_t max_splits, draft *d, pst_error *err)
{
	char oid[16];
	const char *params[] = {oid};
	PGresult *result = NULL;
	psti_member *members = NULL;
	psti_block_plan plan = {0};
	size_t n = 0;
	pst_status status;

	snprintf(oid, sizeof(oid), "%lu", (unsigned long) source->relation->oid);
	status =
		psti_conn_query(source->conn, "measuring the table", members_sql, 1, params, &result, err);
	if (status == PST_OK)
	{
		members = calloc((size_t) PQntuples(result) + 1, sizeof(*members));
		status = members == NULL ? psti_fail_nomem(err) : PST_OK;
	}
	if (status == PST_OK)
		n = read_members(result, psti_opt_given(source->options, PSTI_OPT_FILTER), members);
	if (status == PST_OK && n == 0)
		status = plan_all(source, d, err);
	else if (status == PST_OK)
	{
		int64_t block = strtoll(PQgetvalue(result, 0, M_BLOCK_SIZE), NULL, 10);
		int64_t per_group =
			psti_opt_int(source->options, PSTI_OPT_SPLIT_BYTES) / (block > 0 ? block : 8192);

		if (per_group > UINT32_MAX)
			per_group = UINT32_MAX;
		status = psti_plan_blocks(members, n, per_group > 0 ? (uint32_t) per_group : 1, max_splits,
								  &plan, err);
		if (status == PST_OK)
			status = add_groups(source, &plan, d, err);
	}
	psti_block_plan_free(&plan);
	free(members);
	PQclear(result);
	return status;
}

/* A plan that was given out must outlive a later one that fails. */
static pst_status
mark_earlier_plan(pst_source *source, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	if (!source->planned)
		return PST_OK;
	psti_source_mark(source, false, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(source->conn, "beginning to plan", sql.data, NULL, err);
	psti_buf_free(&sql);
	return status;
}

pst_status
psti_source_plan(pst_source *source, int max_splits, char ***splits, size_t *nsplits,
				 pst_error *err)
{
	draft d = {0};
	bool selective = false;
	bool blocks = can_cut_blocks(source) && source->partition.column == NULL && max_splits != 1;
	pst_status status = PST_OK;

	if (source->moment == PSTI_MOMENT_IMPORTED)
	{
		psti_fail(err, PST_ERR_STATE, "this source reads the splits of another handle's plan");
		psti_error_hint(err, "Open another source to plan.");
		return PST_ERR_STATE;
	}
	status = psti_source_begin(source, err);
	if (status != PST_OK)
		return status;
	status = psti_source_export(source, err);
	if (status == PST_OK)
		status = mark_earlier_plan(source, err);
	if (status == PST_OK && blocks)
		status = is_selective(source, &selective, err);
	if (status == PST_OK && source->partition.column != NULL)
		status = plan_strides(source, (size_t) max_splits, &d, err);
	else if (status == PST_OK && blocks && !selective)
		status = plan_blocks(source, (size_t) max_splits, &d, err);
	else if (status == PST_OK)
		status = plan_all(source, &d, err);
	if (status == PST_OK)
		status = draft_finish(&d, splits, nsplits, err);
	if (status == PST_OK)
	{
		source->planned = true;
		(void) PSTI_FAILPOINT("source.planned");
	}
	else
		psti_source_back(source);
	draft_free(&d);
	return status;
}
