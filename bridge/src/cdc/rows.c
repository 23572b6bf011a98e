/* rows.c - changed rows, gathered into batches. See rows.h. */
#include "cdc/rows.h"

#include <inttypes.h>
#include <stdlib.h>

#include "arrow_build.h"

#define NOT_UTF8 "22021"

/* The bits of a column, from the first value on that a row does not tell. */
typedef struct bitmap
{
	uint8_t *bits;
	size_t nbytes; /* allocated */
	bool used;	   /* in the open batch */
} bitmap;

struct psti_rows
{
	psti_rows_limits limits;
	psti_table *table; /* of the open batch */
	size_t n;
	size_t bytes;
	size_t room; /* rows that the arrays have room for */
	int8_t *kinds;
	uint64_t *commit_lsns;
	uint64_t *xids;
	uint64_t *sequences;
	uint64_t *lsns;
	int64_t *times;
	psti_buf origin; /* empty: local */
	bitmap *unchanged;
	const uint8_t **pointers;
	size_t ncolumns; /* that unchanged and pointers have room for */
};

pst_status
psti_rows_new(const psti_rows_limits *limits, psti_rows **out, pst_error *err)
{
	psti_rows *rows = calloc(1, sizeof(*rows));

	*out = rows;
	if (rows == NULL)
		return psti_fail_nomem(err);
	rows->limits = *limits;
	if (rows->limits.rows < 2)
		rows->limits.rows = 2;
	if (rows->limits.value_bytes == 0)
		rows->limits.value_bytes = INT32_MAX;
	return PST_OK;
}

void
psti_rows_free(psti_rows *rows)
{
	if (rows == NULL)
		return;
	for (size_t i = 0; i < rows->ncolumns; i++)
		free(rows->unchanged[i].bits);
	free(rows->unchanged);
	free(rows->pointers);
	free(rows->kinds);
	free(rows->commit_lsns);
	free(rows->xids);
	free(rows->sequences);
	free(rows->lsns);
	free(rows->times);
	psti_buf_free(&rows->origin);
	free(rows);
}

bool
psti_rows_fit(const psti_rows *rows, const psti_table *table, const char *origin, size_t nrows,
			  size_t nbytes)
{
	const char *present = rows->origin.len > 0 ? rows->origin.data : "";

	if (rows->n == 0)
		return true;
	return rows->table == table && rows->bytes < rows->limits.bytes &&
		   rows->n + nrows <= rows->limits.rows && rows->bytes < rows->limits.value_bytes &&
		   nbytes <= rows->limits.value_bytes - rows->bytes &&
		   strcmp(present, origin != NULL ? origin : "") == 0;
}

/* ---- Room ---- */

static bool
grow(void **array, size_t n, size_t size)
{
	void *grown = realloc(*array, n * size);

	if (grown != NULL)
		*array = grown;
	return grown != NULL;
}

static bool
grow_rows(psti_rows *rows)
{
	size_t room = rows->room == 0 ? 64 : rows->room * 2;

	if (rows->n < rows->room)
		return true;
	if (room > rows->limits.rows)
		room = rows->limits.rows;
	if (!grow((void **) &rows->kinds, room, sizeof(*rows->kinds)) ||
		!grow((void **) &rows->commit_lsns, room, sizeof(*rows->commit_lsns)) ||
		!grow((void **) &rows->xids, room, sizeof(*rows->xids)) ||
		!grow((void **) &rows->sequences, room, sizeof(*rows->sequences)) ||
		!grow((void **) &rows->lsns, room, sizeof(*rows->lsns)) ||
		!grow((void **) &rows->times, room, sizeof(*rows->times)))
		return false;
	rows->room = room;
	return true;
}

static bool
grow_columns(psti_rows *rows, size_t ncolumns)
{
	if (ncolumns <= rows->ncolumns)
		return true;
	if (!grow((void **) &rows->unchanged, ncolumns, sizeof(*rows->unchanged)) ||
		!grow((void **) &rows->pointers, ncolumns, sizeof(*rows->pointers)))
		return false;
	memset(rows->unchanged + rows->ncolumns, 0,
		   (ncolumns - rows->ncolumns) * sizeof(*rows->unchanged));
	rows->ncolumns = ncolumns;
	return true;
}

static pst_status
open_batch(psti_rows *rows, psti_table *table, const char *origin, pst_error *err)
{
	const psti_copy_limits limits = {.rows = (int64_t) rows->limits.rows,
									 .bytes = SIZE_MAX,
									 .value_bytes = rows->limits.value_bytes,
									 .special = rows->limits.special};

	if (!grow_columns(rows, table->ncolumns))
		return psti_fail_nomem(err);
	for (size_t i = 0; i < rows->ncolumns; i++)
		rows->unchanged[i].used = false;
	rows->table = table;
	rows->bytes = 0;
	psti_buf_reset(&rows->origin);
	if (origin != NULL)
		psti_buf_puts(&rows->origin, origin);
	if (rows->origin.failed)
		return psti_fail_nomem(err);
	if (table->decoder != NULL)
		return PST_OK;
	return psti_copy_decoder_new(table->columns, table->ncolumns, &limits, &table->decoder, err);
}

/* ---- Rows ---- */

/* A column has bits for as many rows as there may be, once a row of the batch lacks its value. */
static bool
mark_unchanged(psti_rows *rows, size_t column)
{
	bitmap *map = &rows->unchanged[column];
	size_t need = rows->n / 8 + 1;

	if (!map->used && map->nbytes > 0)
		memset(map->bits, 0, map->nbytes);
	if (need > map->nbytes)
	{
		size_t nbytes = map->nbytes == 0 ? 16 : map->nbytes * 2;

		if (nbytes < need)
			nbytes = need;
		if (!grow((void **) &map->bits, nbytes, 1))
			return false;
		memset(map->bits + map->nbytes, 0, nbytes - map->nbytes);
		map->nbytes = nbytes;
	}
	map->used = true;
	psti_bit_set(map->bits, (int64_t) rows->n);
	return true;
}

static bool
mark_row(psti_rows *rows, const psti_table *table, const psti_row *row)
{
	for (size_t i = 0; row->unchanged != NULL && i < table->ncolumns; i++)
		if (row->unchanged[i] && !mark_unchanged(rows, i))
			return false;
	return true;
}

/* A value was refused: where it is, and how to do without it. */
static pst_status
explain_put(const psti_table *table, const psti_row_facts *facts, pst_error *err)
{
	psti_error_prefix(err, "in a change of %s.%s", table->schema, table->name);
	psti_error_detail(err, "It is change %" PRIu64 " of transaction %" PRIu64 ".", facts->sequence,
					  facts->xid);
	if (strcmp(err->sqlstate, NOT_UTF8) == 0)
		psti_error_hint(err, "Leave the column out: cdc.exclude-columns=%s.%s.%s.", table->schema,
						table->name, err->column);
	err->row = -1;
	PSTI_ERROR_SET(err, schema, table->schema);
	PSTI_ERROR_SET(err, table, table->name);
	return err->status;
}

pst_status
psti_rows_put(psti_rows *rows, psti_table *table, const psti_row *row, const psti_row_facts *facts,
			  pst_error *err)
{
	pst_status status = PST_OK;

	if (rows->n == 0)
		status = open_batch(rows, table, facts->origin, err);
	if (status == PST_OK && (!grow_rows(rows) || !mark_row(rows, table, row)))
		status = psti_fail_nomem(err);
	if (status == PST_OK)
		status = psti_copy_put(table->decoder, row->values, err);
	/* psti_rows_fit has said that there is room: but for both rows of an update, together. */
	if (status == PST_AGAIN)
	{
		psti_fail(err, PST_ERR_DATA, "the row before and after an update is above 2 GB");
		psti_error_hint(err, "Set option changelog-mode=upsert, which leaves the old row out.");
		status = PST_ERR_DATA;
	}
	if (status != PST_OK)
		return explain_put(table, facts, err);
	for (size_t i = 0; i < table->ncolumns; i++)
		rows->bytes += row->values[i].len;
	rows->kinds[rows->n] = facts->kind;
	rows->commit_lsns[rows->n] = facts->commit_lsn;
	rows->xids[rows->n] = facts->xid;
	rows->sequences[rows->n] = facts->sequence;
	rows->lsns[rows->n] = facts->lsn;
	rows->times[rows->n] = facts->op_ts;
	rows->n++;
	return PST_OK;
}

size_t
psti_rows_pending(const psti_rows *rows)
{
	return rows->n;
}

/* The bits cover every row of the batch; *any: there are some. */
static bool
finish_bitmaps(psti_rows *rows, bool *any)
{
	*any = false;
	for (size_t i = 0; i < rows->table->ncolumns; i++)
	{
		bitmap *map = &rows->unchanged[i];
		size_t need = (rows->n + 7) / 8;

		if (map->used && map->nbytes < need)
		{
			if (!grow((void **) &map->bits, need, 1))
				return false;
			memset(map->bits + map->nbytes, 0, need - map->nbytes);
			map->nbytes = need;
		}
		rows->pointers[i] = map->used ? map->bits : NULL;
		*any |= map->used;
	}
	return true;
}

pst_status
psti_rows_take(psti_rows *rows, pst_change_batch *out, pst_error *err)
{
	psti_table *table = rows->table;
	bool any;
	pst_status status;

	*out = (pst_change_batch){.struct_size = sizeof(*out)};
	if (!finish_bitmaps(rows, &any))
		return psti_fail_nomem(err);
	status = psti_copy_take(table->decoder, &out->array, err);
	if (status != PST_OK)
		return status;
	out->schema_name = table->schema;
	out->table = table->name;
	out->schema = &table->arrow;
	out->row_kind = rows->kinds;
	out->commit_lsn = rows->commit_lsns;
	out->xid = rows->xids;
	out->sequence = rows->sequences;
	out->lsn = rows->lsns;
	out->op_ts = rows->times;
	out->origin = rows->origin.len > 0 ? rows->origin.data : NULL;
	out->unchanged = any ? rows->pointers : NULL;
	rows->n = 0;
	return PST_OK;
}
