/*
 * sink_merge.c - sorting rows by key and merging the changes of each key, column by column.
 *
 * The order is that of a 64-bit prefix of the key (integers by value, texts by bytes), then of the
 * key's bytes, then of arrival: every writer sorts alike, which makes deadlocks rare, and index
 * pages are met one after the other.
 */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"

/* --- rows ---------------------------------------------------------------------------------- */

pst_status
psti_rows_add(psti_sink_rows *rows, const psti_sink_row *row, pst_error *err)
{
	if (rows->nrows == rows->cap)
	{
		size_t cap = rows->cap == 0 ? 1024 : rows->cap * 2;
		size_t nbytes;
		psti_sink_row *grown;

		if (!psti_size_mul(cap, sizeof(*grown), &nbytes))
			return psti_fail_nomem(err);
		grown = realloc(rows->row, nbytes);
		if (grown == NULL)
			return psti_fail_nomem(err);
		rows->row = grown;
		rows->cap = cap;
	}
	rows->row[rows->nrows++] = *row;
	return PST_OK;
}

void
psti_rows_reset(psti_sink_rows *rows)
{
	psti_buf_reset(&rows->bytes);
	rows->nrows = 0;
	rows->mixed = false;
}

void
psti_sink_rows_free(psti_sink_rows *rows)
{
	psti_buf_free(&rows->bytes);
	free(rows->row);
	rows->row = NULL;
	rows->nrows = rows->cap = 0;
}

static psti_field
field_at(const char *at)
{
	psti_field field;

	field.nbytes = (int32_t) psti_get32(at);
	field.data = at + 4;
	field.next = field.data + (field.nbytes > 0 ? field.nbytes : 0);
	return field;
}

psti_field
psti_field_first(const char *tuple)
{
	return field_at(tuple + 2);
}

psti_field
psti_field_next(psti_field field)
{
	return field_at(field.next);
}

size_t
psti_key_len(const char *tuple, size_t nkey)
{
	psti_field field = psti_field_first(tuple);

	for (size_t k = 1; k < nkey; k++)
		field = psti_field_next(field);
	return (size_t) (field.next - (tuple + 2));
}

/* --- order --------------------------------------------------------------------------------- */

typedef struct sort_item
{
	uint64_t prefix;
	size_t row;
} sort_item;

/* What a comparison needs beside the items. */
typedef struct sort_context
{
	const psti_sink_plan *plan;
	const psti_sink_rows *rows;
} sort_context;

static bool
is_integer(const psti_sink_column *column)
{
	Oid base = column->target->type.base;

	return !column->text && (base == 20 || base == 21 || base == 23);
}

/*
 * The first eight bytes of the key in an order-preserving form: signed integers with the sign bit
 * turned over. *exact is set when they are all of the key.
 */
static uint64_t
key_prefix(const psti_sink_plan *plan, const char *tuple, bool *exact)
{
	psti_field field = psti_field_first(tuple);
	uint64_t prefix = 0;
	size_t used = 0;
	bool fixed = true;

	for (size_t k = 0;;)
	{
		const psti_sink_column *column = &plan->columns[k];
		size_t n = field.nbytes > 0 ? (size_t) field.nbytes : 0;

		for (size_t b = 0; b < n && used < 8; b++, used++)
		{
			uint8_t byte = (uint8_t) field.data[b];

			if (b == 0 && is_integer(column))
				byte ^= 0x80;
			prefix |= (uint64_t) byte << (56 - 8 * used);
		}
		/* Only lengths that never vary make the prefix say all. */
		fixed = fixed && is_integer(column);
		if (++k == plan->nkey)
			break;
		if (!fixed || used == 8)
		{
			*exact = false;
			return prefix;
		}
		field = psti_field_next(field);
	}
	*exact = fixed && psti_key_len(tuple, plan->nkey) - 4 * plan->nkey <= 8;
	return prefix;
}

static int
compare_keys(const sort_context *context, size_t a, size_t b)
{
	const char *left = psti_rows_at(context->rows, a);
	const char *right = psti_rows_at(context->rows, b);
	size_t nleft = psti_key_len(left, context->plan->nkey);
	size_t nright = psti_key_len(right, context->plan->nkey);
	int order = memcmp(left + 2, right + 2, nleft < nright ? nleft : nright);

	if (order != 0)
		return order;
	return (nleft > nright) - (nleft < nright);
}

static int
compare_items(const void *a, const void *b, void *arg)
{
	const sort_item *left = a;
	const sort_item *right = b;
	int order = compare_keys(arg, left->row, right->row);

	if (order != 0)
		return order;
	return (left->row > right->row) - (left->row < right->row);
}

/* Stable radix sort by prefix, byte by byte; bytes that are the same everywhere are passed over. */
static void
radix_sort(sort_item *items, sort_item *spare, size_t n)
{
	size_t counts[8][256] = {{0}};
	sort_item *from = items;
	sort_item *to = spare;

	for (size_t i = 0; i < n; i++)
	{
		for (int b = 0; b < 8; b++)
			counts[b][(items[i].prefix >> (8 * b)) & 255]++;
	}
	for (int b = 0; b < 8; b++)
	{
		size_t at = 0;
		sort_item *swap;

		if (n == 0 || counts[b][(from[0].prefix >> (8 * b)) & 255] == n)
			continue;
		for (int d = 0; d < 256; d++)
		{
			size_t here = counts[b][d];

			counts[b][d] = at;
			at += here;
		}
		for (size_t i = 0; i < n; i++)
			to[counts[b][(from[i].prefix >> (8 * b)) & 255]++] = from[i];
		swap = from;
		from = to;
		to = swap;
	}
	if (from != items)
		memcpy(items, from, n * sizeof(*items));
}

/* Sorts the live rows by key, then arrival. *items is owned by the caller; *spare is scratch. */
static pst_status
sort_rows(const sort_context *context, sort_item **items, size_t *nitems, bool *exact,
		  pst_error *err)
{
	const psti_sink_rows *rows = context->rows;
	size_t nbytes;
	size_t n = 0;
	sort_item *all;

	*items = NULL;
	*exact = true;
	if (!psti_size_mul(rows->nrows + 1, 2 * sizeof(sort_item), &nbytes))
		return psti_fail_nomem(err);
	all = malloc(nbytes);
	if (all == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < rows->nrows; i++)
	{
		bool whole;

		if (rows->row[i].op == PSTI_OP_DEAD)
			continue;
		all[n].prefix = key_prefix(context->plan, psti_rows_at(rows, i), &whole);
		all[n++].row = i;
		*exact = *exact && whole;
	}
	radix_sort(all, all + rows->nrows + 1, n);
	for (size_t from = 0, to; !*exact && from < n; from = to)
	{
		for (to = from + 1; to < n && all[to].prefix == all[from].prefix; to++)
			;
		if (to - from > 1)
			qsort_r(all + from, to - from, sizeof(*all), compare_items,
					(void *) (uintptr_t) context);
	}
	*items = all;
	*nitems = n;
	return PST_OK;
}

/* --- merging ------------------------------------------------------------------------------- */

const char *
psti_merge_tuple(const psti_merge *merge, const psti_sink_rows *rows, const psti_merge_item *item)
{
	return (item->composed ? merge->bytes.data : rows->bytes.data) + item->at;
}

/* A row whose unchanged fields come from an earlier one; offset of the new row in merge->bytes. */
static pst_status
compose(const psti_sink_plan *plan, psti_merge *merge, const psti_sink_rows *rows,
		psti_merge_item *item, const char *newer, pst_error *err)
{
	size_t start = merge->bytes.len;
	psti_field fresh = psti_field_first(newer);
	psti_field old;

	/* The earlier row may lie in the buffer that grows: it is found again after making room. */
	if (psti_buf_reserve(&merge->bytes, 2) == NULL)
		return psti_fail_nomem(err);
	psti_buf_int16(&merge->bytes, (int16_t) plan->ncolumns);
	for (size_t c = 0, skipped = 2; c < plan->ncolumns; c++)
	{
		const char *base = psti_merge_tuple(merge, rows, item);
		const char *from;
		size_t n;

		old = field_at(base + skipped);
		skipped = (size_t) (old.next - base);
		from = (fresh.nbytes == PSTI_FIELD_UNCHANGED ? old.data : fresh.data) - 4;
		n = 4 + (size_t) ((fresh.nbytes == PSTI_FIELD_UNCHANGED ? old.next - old.data
																: fresh.next - fresh.data));
		if (psti_buf_reserve(&merge->bytes, n) == NULL)
			return psti_fail_nomem(err);
		/* The reserve may have moved an earlier composed row. */
		if (fresh.nbytes == PSTI_FIELD_UNCHANGED)
		{
			base = psti_merge_tuple(merge, rows, item);
			from = base + skipped - n;
		}
		psti_buf_append(&merge->bytes, from, n);
		if (c + 1 < plan->ncolumns)
			fresh = psti_field_next(fresh);
	}
	item->at = start;
	item->composed = true;
	return psti_buf_check(&merge->bytes, err);
}

/* Takes one change into what is known of its key. */
static pst_status
take_change(const psti_sink_plan *plan, psti_merge *merge, const psti_sink_rows *rows, size_t i,
			psti_merge_item *item, pst_error *err)
{
	const psti_sink_row *row = &rows->row[i];

	item->row = i;
	if (row->op != PSTI_OP_UPSERT)
	{
		item->deletes = true;
		item->upserts = false;
		return PST_OK;
	}
	if (item->upserts && row->partial)
		return compose(plan, merge, rows, item, rows->bytes.data + row->at, err);
	item->upserts = true;
	item->composed = false;
	item->at = row->at;
	return PST_OK;
}

/* The number of the set of unchanged columns of a row; 0 when there are none. */
static pst_status
find_shape(const psti_sink_plan *plan, psti_merge *merge, const char *tuple, uint8_t *scratch,
		   uint32_t *shape, pst_error *err)
{
	psti_field field = psti_field_first(tuple);
	bool any = false;
	uint8_t *grown;

	memset(scratch, 0, merge->shape_bytes);
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		if (field.nbytes == PSTI_FIELD_UNCHANGED)
		{
			psti_bit_set(scratch, (int64_t) c);
			any = true;
		}
		if (c + 1 < plan->ncolumns)
			field = psti_field_next(field);
	}
	*shape = 0;
	if (!any)
		return PST_OK;
	for (size_t s = 0; s < merge->nshapes; s++)
	{
		if (memcmp(merge->shapes + s * merge->shape_bytes, scratch, merge->shape_bytes) == 0)
		{
			*shape = (uint32_t) s + 1;
			return PST_OK;
		}
	}
	grown = realloc(merge->shapes, (merge->nshapes + 1) * merge->shape_bytes);
	if (grown == NULL)
		return psti_fail_nomem(err);
	merge->shapes = grown;
	memcpy(grown + merge->nshapes * merge->shape_bytes, scratch, merge->shape_bytes);
	*shape = (uint32_t) ++merge->nshapes;
	return PST_OK;
}

/* Counts an item and finds its shape once all changes of its key are in. */
static pst_status
close_item(const psti_sink_plan *plan, psti_merge *merge, const psti_sink_rows *rows, bool partials,
		   uint8_t *scratch, psti_merge_item *item, pst_error *err)
{
	pst_status status = PST_OK;

	item->shape = 0;
	merge->ndeletes += item->deletes;
	if (!item->upserts)
		return PST_OK;
	if (partials)
		status = find_shape(plan, merge, psti_merge_tuple(merge, rows, item), scratch, &item->shape,
							err);
	merge->nfull += item->shape == 0;
	return status;
}

static int
compare_arrival(const void *a, const void *b)
{
	const psti_merge_item *left = a;
	const psti_merge_item *right = b;

	return (left->order > right->order) - (left->order < right->order);
}

/*
 * Where keys may be equal although their bytes differ, deletes, key changes and partial rows of
 * two such keys cannot be told apart here. The same holds for a key change that has to keep what
 * it does not carry.
 */
static bool
needs_replay(const psti_sink_plan *plan, const psti_sink_rows *rows, bool *partials)
{
	bool loose = false;
	bool moves = false;

	*partials = false;
	for (size_t i = 0; i < rows->nrows; i++)
	{
		const psti_sink_row *row = &rows->row[i];

		if (row->op == PSTI_OP_DEAD)
			continue;
		*partials = *partials || row->partial;
		loose =
			loose || (row->op != PSTI_OP_UPSERT && plan->mode != PSTI_MODE_DELETE) || row->partial;
		moves = moves || (row->change && (row->partial || !plan->complete));
	}
	/* UPDATE … FROM takes any of several equal keys without a word, where ON CONFLICT would not. */
	return moves || ((loose || plan->update_first) && !plan->strict_keys);
}

static pst_status
merge_sorted(const psti_sink_plan *plan, const psti_sink_rows *rows, const sort_item *sorted,
			 size_t n, bool exact, bool partials, psti_merge *out, pst_error *err)
{
	sort_context context = {plan, rows};
	uint8_t *scratch = calloc(1, out->shape_bytes);
	pst_status status = scratch == NULL ? psti_fail_nomem(err) : PST_OK;
	size_t to;

	for (size_t from = 0; status == PST_OK && from < n; from = to)
	{
		psti_merge_item *item = &out->items[out->nitems++];

		memset(item, 0, sizeof(*item));
		item->order = sorted[from].row;
		for (to = from; status == PST_OK && to < n; to++)
		{
			if (sorted[to].prefix != sorted[from].prefix ||
				(!exact && compare_keys(&context, sorted[from].row, sorted[to].row) != 0))
				break;
			status = take_change(plan, out, rows, sorted[to].row, item, err);
		}
		if (status == PST_OK)
			status = close_item(plan, out, rows, partials, scratch, item, err);
	}
	free(scratch);
	return status;
}

pst_status
psti_merge_rows(const psti_sink_plan *plan, const psti_sink_rows *rows, psti_merge *out,
				pst_error *err)
{
	sort_context context = {plan, rows};
	sort_item *sorted = NULL;
	size_t n = 0;
	bool exact;
	bool partials;
	pst_status status;

	*out = (psti_merge){.shape_bytes = plan->ncolumns / 8 + 1};
	out->replay = needs_replay(plan, rows, &partials);
	if (out->replay)
		return PST_OK;
	status = sort_rows(&context, &sorted, &n, &exact, err);
	if (status == PST_OK)
	{
		out->items = calloc(n + 1, sizeof(*out->items));
		status = out->items == NULL ? psti_fail_nomem(err) : PST_OK;
	}
	if (status == PST_OK)
		status = merge_sorted(plan, rows, sorted, n, exact, partials, out, err);
	/* The server compares the keys: the order of arrival decides what order can decide. */
	if (status == PST_OK && !plan->strict_keys)
		qsort(out->items, out->nitems, sizeof(*out->items), compare_arrival);
	free(sorted);
	if (status != PST_OK)
		psti_merge_free(out);
	return status;
}

void
psti_merge_free(psti_merge *merge)
{
	free(merge->items);
	free(merge->shapes);
	psti_buf_free(&merge->bytes);
	*merge = (psti_merge){0};
}
