/*
 * rows.c - see rows.h.
 */
#include "rows.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

const char bench_columns[] = "id,customer,placed,status,amount,quantity,weight,paid,note";

#define PG_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 in Unix time */

void
bench_die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void *
alloc(size_t nbytes)
{
	void *p = calloc(1, nbytes > 0 ? nbytes : 1);

	if (p == NULL)
		bench_die("out of memory");
	return p;
}

double
bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

double
bench_cpu(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

long
bench_maxrss_kb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

/* xorshift64*: the same numbers everywhere. */
static uint64_t
next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * UINT64_C(2685821657736338717);
}

bench_row *
bench_rows_new(size_t n)
{
	static const char *const states[] = {"new", "paid", "packed", "shipped", "returned"};
	bench_row *rows = alloc(n * sizeof(*rows));
	uint64_t random = UINT64_C(88172645463325252);

	for (size_t i = 0; i < n; i++)
	{
		bench_row *row = &rows[i];
		uint64_t x = next_random(&random);

		/* One key of each four in turn from an even and an odd place. */
		row->id = (int64_t) (4 * i + 2 * (x & 1) + (i % 2) + 1);
		row->customer = (int32_t) (x >> 8 & 0x3ffff);
		row->placed = INT64_C(1577836800000000) + (int64_t) (x >> 20 & 0x7fffffffffff);
		row->status = states[x % 5];
		row->amount = (int64_t) (x >> 30 & 0x3ffffff);
		row->quantity = (int32_t) (1 + x % 20);
		row->weight = (double) (x >> 40) / 7.0;
		row->paid = (int) (x >> 3 & 1);
		if (i % 20 != 0)
			snprintf(row->note, sizeof(row->note), "note %.*s", (int) (8 + x % 9),
					 "0f1e2d3c4b5a69788796");
	}
	for (size_t i = n; i > 1; i--)
	{
		size_t j = (size_t) (next_random(&random) % i);
		bench_row swap = rows[i - 1];

		rows[i - 1] = rows[j];
		rows[j] = swap;
	}
	return rows;
}

/* ------------------------------------------------------------------------------------------------
 * Arrow
 */

static void
release_schema(struct ArrowSchema *schema)
{
	for (int64_t i = 0; i < schema->n_children; i++)
	{
		if (schema->children[i]->release != NULL)
			schema->children[i]->release(schema->children[i]);
		free(schema->children[i]);
	}
	free(schema->children);
	schema->release = NULL;
}

void
bench_rows_schema(struct ArrowSchema *out)
{
	static const char *const fields[BENCH_NCOLUMNS][2] = {
		{"id", "l"},	 {"customer", "i"},	   {"placed", "tsu:UTC"},
		{"status", "u"}, {"amount", "d:12,2"}, {"quantity", "i"},
		{"weight", "g"}, {"paid", "b"},		   {"note", "u"},
	};

	memset(out, 0, sizeof(*out));
	out->format = "+s";
	out->name = "";
	out->n_children = BENCH_NCOLUMNS;
	out->children = alloc(BENCH_NCOLUMNS * sizeof(*out->children));
	out->release = release_schema;
	for (int i = 0; i < BENCH_NCOLUMNS; i++)
	{
		struct ArrowSchema *child = alloc(sizeof(*child));

		child->format = fields[i][1];
		child->name = fields[i][0];
		child->flags = ARROW_FLAG_NULLABLE;
		child->release = release_schema;
		out->children[i] = child;
	}
}

static void
release_array(struct ArrowArray *array)
{
	for (int64_t i = 0; i < array->n_children; i++)
	{
		if (array->children[i]->release != NULL)
			array->children[i]->release(array->children[i]);
		free(array->children[i]);
	}
	free(array->children);
	for (int64_t i = 0; i < array->n_buffers; i++)
		free((void *) (uintptr_t) array->buffers[i]);
	free(array->buffers);
	array->release = NULL;
}

static void
start_array(struct ArrowArray *array, size_t n, int nbuffers)
{
	memset(array, 0, sizeof(*array));
	array->length = (int64_t) n;
	array->n_buffers = nbuffers;
	array->buffers = alloc((size_t) nbuffers * sizeof(*array->buffers));
	array->release = release_array;
}

static void
set_bit(uint8_t *bits, size_t i)
{
	bits[i / 8] |= (uint8_t) (1U << (i % 8));
}

static const char *
row_text(const bench_row *row, int column)
{
	return column == 3 ? row->status : row->note;
}

/* The texts of a column; an empty note is NULL. */
static void
build_text(struct ArrowArray *array, const bench_row *rows, size_t n, int column)
{
	int32_t *offsets = alloc((n + 1) * sizeof(*offsets));
	uint8_t *valid = alloc(n / 8 + 1);
	size_t used = 0;
	char *data;

	for (size_t i = 0; i < n; i++)
		used += strlen(row_text(&rows[i], column));
	data = alloc(used);
	used = 0;
	for (size_t i = 0; i < n; i++)
	{
		const char *text = row_text(&rows[i], column);
		size_t length = strlen(text);

		memcpy(data + used, text, length);
		used += length;
		offsets[i + 1] = (int32_t) used;
		if (length > 0)
			set_bit(valid, i);
		else
			array->null_count++;
	}
	array->buffers[0] = valid;
	array->buffers[1] = offsets;
	array->buffers[2] = data;
}

static void
build_fixed(struct ArrowArray *array, const bench_row *rows, size_t n, int column)
{
	static const size_t widths[BENCH_NCOLUMNS] = {8, 4, 8, 0, 16, 4, 8, 1, 0};
	char *data = alloc(n * widths[column] + 1);
	int64_t wide[2];

	for (size_t i = 0; i < n; i++)
	{
		const bench_row *row = &rows[i];
		char *at = data + i * widths[column];

		switch (column)
		{
			case 0:
				memcpy(at, &row->id, 8);
				break;
			case 1:
				memcpy(at, &row->customer, 4);
				break;
			case 2:
				memcpy(at, &row->placed, 8);
				break;
			case 4:
				wide[0] = row->amount;
				wide[1] = 0;
				memcpy(at, wide, 16);
				break;
			case 5:
				memcpy(at, &row->quantity, 4);
				break;
			case 6:
				memcpy(at, &row->weight, 8);
				break;
			case 7:
				if (row->paid)
					set_bit((uint8_t *) data, i);
				break;
			default:
				bench_die("column %d is not of a fixed width", column);
		}
	}
	array->buffers[1] = data;
}

void
bench_rows_array(const bench_row *rows, size_t n, struct ArrowArray *out)
{
	start_array(out, n, 1);
	out->n_children = BENCH_NCOLUMNS;
	out->children = alloc(BENCH_NCOLUMNS * sizeof(*out->children));
	for (int column = 0; column < BENCH_NCOLUMNS; column++)
	{
		struct ArrowArray *child = alloc(sizeof(*child));
		bool text = column == 3 || column == 8;

		start_array(child, n, text ? 3 : 2);
		(text ? build_text : build_fixed)(child, rows, n, column);
		out->children[column] = child;
	}
}

/* ------------------------------------------------------------------------------------------------
 * COPY binary
 */

static char *
put_int(char *out, uint64_t value, int nbytes)
{
	for (int i = nbytes - 1; i >= 0; i--)
		*out++ = (char) (value >> (8 * i));
	return out;
}

static char *
put_field(char *out, uint64_t value, int nbytes)
{
	return put_int(put_int(out, (uint64_t) nbytes, 4), value, nbytes);
}

static char *
put_text(char *out, const char *text)
{
	size_t length = strlen(text);

	if (length == 0)
		return put_int(out, UINT32_MAX, 4);
	out = put_int(out, length, 4);
	memcpy(out, text, length);
	return out + length;
}

/* numeric_recv's form: digits of base 10,000, weight of the first, sign, scale. */
static char *
put_amount(char *out, int64_t hundredths)
{
	int64_t whole = hundredths / 100;
	uint64_t digits[4];
	int ndigits = 0;
	int weight = -1;

	for (int64_t unit = 100000000; unit > 0; unit /= 10000)
		if (whole >= unit || ndigits > 0)
		{
			digits[ndigits++] = (uint64_t) (whole / unit % 10000);
			weight++;
		}
	digits[ndigits++] = (uint64_t) (hundredths % 100 * 100);
	out = put_int(out, (uint64_t) (8 + 2 * ndigits), 4);
	out = put_int(out, (uint64_t) ndigits, 2);
	out = put_int(out, (uint64_t) weight, 2);
	out = put_int(out, 0, 2);
	out = put_int(out, 2, 2);
	for (int i = 0; i < ndigits; i++)
		out = put_int(out, digits[i], 2);
	return out;
}

size_t
bench_row_encode(const bench_row *row, char *out)
{
	char *start = out;
	uint64_t weight;

	memcpy(&weight, &row->weight, 8);
	out = put_int(out, BENCH_NCOLUMNS, 2);
	out = put_field(out, (uint64_t) row->id, 8);
	out = put_field(out, (uint64_t) row->customer, 4);
	out = put_field(out, (uint64_t) (row->placed - PG_EPOCH_US), 8);
	out = put_text(out, row->status);
	out = put_amount(out, row->amount);
	out = put_field(out, (uint64_t) row->quantity, 4);
	out = put_field(out, weight, 8);
	out = put_field(out, (uint64_t) row->paid, 1);
	out = put_text(out, row->note);
	return (size_t) (out - start);
}
