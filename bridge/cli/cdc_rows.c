/* cdc_rows.c - rows of a change capture as Arrow batches. See cdc_rows.h. */
#include <stdlib.h>
#include <string.h>

#include "cdc_rows.h"
#include "memory.h"

enum
{
	ROW_KIND,
	COMMIT_LSN,
	LSN,
	XID,
	SEQUENCE,
	OP_TS,
	UNCHANGED,
	NADDED
};

static const struct
{
	const char *name;
	const char *format;
} added[NADDED] = {
	[ROW_KIND] = {"row_kind", "u"},
	[COMMIT_LSN] = {"__commit_lsn", "L"},
	[LSN] = {"__lsn", "L"},
	[XID] = {"__xid", "L"},
	[SEQUENCE] = {"__sequence", "L"},
	[OP_TS] = {"__op_ts", "tsu:UTC"},
	[UNCHANGED] = {"__unchanged", "+l"},
};

static const char *const kind_names[] = {"+I", "-U", "+U", "-D"};

/* ---- The schema ---- */

/* What is behind a schema of ours: the fields of its own, in one allocation with the pointers to all. */
typedef struct fields
{
	struct ArrowSchema own[NADDED + 1]; /* the last one is the item of __unchanged */
	struct ArrowSchema *item;
	struct ArrowSchema *children[];
} fields;

static void
release_schema(struct ArrowSchema *schema)
{
	free(schema->private_data);
	schema->release = NULL;
}

/* Fields go with the whole. */
static void
release_field(struct ArrowSchema *schema)
{
	schema->release = NULL;
}

bool
cdc_rows_schema(const struct ArrowSchema *table, const char *row_kind, struct ArrowSchema *out,
				const char **twice)
{
	int64_t n = table->n_children;
	fields *f;

	*out = (struct ArrowSchema){0};
	for (int64_t c = 0; c < n; c++)
		for (int k = 0; k < NADDED; k++)
		{
			*twice = k == ROW_KIND ? row_kind : added[k].name;
			if (strcmp(table->children[c]->name, *twice) == 0)
				return false;
		}
	f = cli_alloc(sizeof(*f) + ((size_t) n + NADDED) * sizeof(*f->children));
	for (int64_t c = 0; c < n; c++)
		f->children[c] = table->children[c];
	for (int k = 0; k <= NADDED; k++)
	{
		bool item = k == NADDED;

		f->own[k] = (struct ArrowSchema){.format = item ? "u" : added[k].format,
										 .name = item			 ? "item"
												 : k == ROW_KIND ? row_kind
																 : added[k].name,
										 .flags = ARROW_FLAG_NULLABLE,
										 .release = release_field};
		if (!item)
			f->children[n + k] = &f->own[k];
	}
	f->item = &f->own[NADDED];
	f->own[UNCHANGED].n_children = 1;
	f->own[UNCHANGED].children = &f->item;
	*out = (struct ArrowSchema){.format = "+s",
								.name = "",
								.n_children = n + NADDED,
								.children = f->children,
								.release = release_schema,
								.private_data = f};
	return true;
}

/* ---- The rows ---- */

/* What is behind an array of ours. */
typedef struct columns
{
	struct ArrowArray rows; /* as it came: its children are ours too */
	struct ArrowArray own[NADDED + 1];
	const void *buffers[NADDED + 1][3];
	void *memory[2 * (NADDED + 1)]; /* owned */
	size_t nmemory;
	const void *none; /* the whole's one buffer: no row is NULL */
	struct ArrowArray *item;
	struct ArrowArray *children[];
} columns;

static void
release_array(struct ArrowArray *array)
{
	columns *c = array->private_data;

	for (size_t i = 0; i < c->nmemory; i++)
		free(c->memory[i]);
	if (c->rows.release != NULL)
		c->rows.release(&c->rows);
	free(c);
	array->release = NULL;
}

static void
release_column(struct ArrowArray *array)
{
	array->release = NULL;
}

static void *
keep(columns *c, size_t nbytes)
{
	void *memory = cli_alloc(nbytes + 1);

	c->memory[c->nmemory++] = memory;
	return memory;
}

/* One number a row: a copy, since what is borrowed ends before the array may. NULL: nothing is known. */
static void
put_numbers(columns *c, int k, const void *numbers, int64_t n)
{
	if (numbers != NULL)
	{
		void *copy = keep(c, (size_t) n * 8);

		memcpy(copy, numbers, (size_t) n * 8);
		c->buffers[k][1] = copy;
		return;
	}
	c->buffers[k][0] = keep(c, (size_t) n / 8 + 1);
	c->buffers[k][1] = keep(c, (size_t) n * 8);
	c->own[k].null_count = n;
}

static void
put_kinds(columns *c, const int8_t *kinds, int64_t n)
{
	int32_t *offsets = keep(c, ((size_t) n + 1) * sizeof(*offsets));
	char *text = keep(c, (size_t) n * 2);

	for (int64_t row = 0; row < n; row++)
	{
		int kind = kinds != NULL ? kinds[row] & 3 : PST_ROW_INSERT;

		memcpy(text + 2 * row, kind_names[kind], 2);
		offsets[row + 1] = (int32_t) (2 * (row + 1));
	}
	c->buffers[ROW_KIND][1] = offsets;
	c->buffers[ROW_KIND][2] = text;
}

static bool
is_unchanged(const pst_change_batch *rows, int64_t column, int64_t row)
{
	const uint8_t *bits = rows->unchanged != NULL ? rows->unchanged[column] : NULL;

	return bits != NULL && (bits[row / 8] >> (row % 8) & 1) != 0;
}

/* The names of unchanged columns, a list a row. */
static void
put_unchanged(columns *c, const pst_change_batch *rows, int64_t n)
{
	int32_t *lists = keep(c, ((size_t) n + 1) * sizeof(*lists));
	int64_t ncolumns = rows->unchanged != NULL ? rows->array.n_children : 0;
	int32_t *offsets;
	size_t count = 0;
	size_t nbytes = 0;
	char *text;

	for (int64_t row = 0; row < n; row++)
		for (int64_t k = 0; k < ncolumns; k++)
			if (is_unchanged(rows, k, row))
			{
				count++;
				nbytes += strlen(rows->schema->children[k]->name);
			}
	offsets = keep(c, (count + 1) * sizeof(*offsets));
	text = keep(c, nbytes);
	count = nbytes = 0;
	for (int64_t row = 0; row < n; row++)
	{
		for (int64_t k = 0; k < ncolumns; k++)
			if (is_unchanged(rows, k, row))
			{
				size_t length = strlen(rows->schema->children[k]->name);

				memcpy(text + nbytes, rows->schema->children[k]->name, length);
				nbytes += length;
				offsets[++count] = (int32_t) nbytes;
			}
		lists[row + 1] = (int32_t) count;
	}
	c->buffers[UNCHANGED][1] = lists;
	c->buffers[NADDED][1] = offsets;
	c->buffers[NADDED][2] = text;
	c->own[NADDED].length = (int64_t) count;
}

void
cdc_rows_take(pst_change_batch *rows, struct ArrowArray *out)
{
	int64_t n = rows->array.length;
	int64_t ncolumns = rows->array.n_children;
	columns *c = cli_alloc(sizeof(*c) + ((size_t) ncolumns + NADDED) * sizeof(*c->children));

	for (int k = 0; k <= NADDED; k++)
		c->own[k] = (struct ArrowArray){.length = n,
										.n_buffers = k == UNCHANGED					? 2
													 : k == ROW_KIND || k == NADDED ? 3
																					: 2,
										.buffers = c->buffers[k],
										.release = release_column};
	put_kinds(c, rows->row_kind, n);
	put_numbers(c, COMMIT_LSN, rows->commit_lsn, n);
	put_numbers(c, LSN, rows->lsn, n);
	put_numbers(c, XID, rows->xid, n);
	put_numbers(c, SEQUENCE, rows->sequence, n);
	put_numbers(c, OP_TS, rows->op_ts, n);
	put_unchanged(c, rows, n);
	c->item = &c->own[NADDED];
	c->own[UNCHANGED].n_children = 1;
	c->own[UNCHANGED].children = &c->item;
	for (int64_t k = 0; k < ncolumns; k++)
		c->children[k] = rows->array.children[k];
	for (int k = 0; k < NADDED; k++)
		c->children[ncolumns + k] = &c->own[k];
	*out = (struct ArrowArray){.length = n,
							   .n_buffers = 1,
							   .n_children = ncolumns + NADDED,
							   .buffers = &c->none,
							   .children = c->children,
							   .release = release_array,
							   .private_data = c};
	c->rows = rows->array;
	rows->array.release = NULL;
}
