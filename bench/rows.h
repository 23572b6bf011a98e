/*
 * rows.h - the rows that the write benchmarks write: the same for ours and for every baseline.
 *
 * Columns are those of orders.sql. Keys lie scattered over 1..4n, each once, half of them even; the
 * target holds the even keys before an upsert, so half of the rows exist.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include <penstock.h>

#define BENCH_NCOLUMNS 9

typedef struct bench_row
{
	int64_t id;
	int32_t customer;
	int64_t placed; /* microseconds since 1970 UTC */
	const char *status;
	int64_t amount; /* hundredths */
	int32_t quantity;
	double weight;
	int paid;
	char note[24];
} bench_row;

/* Names of the columns, comma-separated, in the order of the struct. */
extern const char bench_columns[];

/* n rows in scattered order; one allocation. Exits when memory is short. */
bench_row *bench_rows_new(size_t n);

/* The Arrow schema of the rows. */
void bench_rows_schema(struct ArrowSchema *out);

/* Rows as a struct array with its own memory. */
void bench_rows_array(const bench_row *rows, size_t n, struct ArrowArray *out);

/* Room that a row needs in COPY binary at most. */
#define BENCH_ROW_MAX 200

/* One row in COPY binary; returns the number of bytes. */
size_t bench_row_encode(const bench_row *row, char *out);

/* Seconds of a steady clock. */
double bench_now(void);

/* Greatest resident memory of this process so far, in kB. */
long bench_maxrss_kb(void);

/* Seconds of CPU that the process has taken. */
double bench_cpu(void);

/* Prints why and exits with 1: a benchmark that cannot measure must not go on. */
void bench_die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif /* BENCH_ROWS_H */
