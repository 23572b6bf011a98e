/*
 * pq_bench.c - the baselines on bare libpq: what a careful programmer writes by hand.
 *
 *   pq_bench copy-out CONNINFO SQL          COPY … TO STDOUT received and thrown away
 *   pq_bench upsert-copy CONNINFO ROWS      binary COPY to a temporary table, unsorted, lots of
 *                                           50,000, INSERT … ON CONFLICT
 *   pq_bench upsert-values CONNINFO ROWS    prepared multi-row INSERT … ON CONFLICT of 500
 *   pq_bench write-file ROWS FILE           the rows as a file of COPY binary
 *   pq_bench append-file CONNINFO FILE      COPY FROM STDIN of such a file
 *
 * Upserts and appends go to the table target. Prints one JSON object; seconds run from before the
 * connecting to the last answer.
 */
#include <libpq-fe.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

#define COPY_LOT 50000
#define VALUES_LOT 500
#define CHUNK 65536

static const char copy_header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
static const char copy_trailer[2] = "\377\377";

static PGconn *
connect_to(const char *conninfo)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
		bench_die("%s", PQerrorMessage(conn));
	return conn;
}

static void
expect(PGconn *conn, PGresult *result, ExecStatusType status)
{
	if (PQresultStatus(result) != status)
		bench_die("%s", PQerrorMessage(conn));
	PQclear(result);
}

static void
run(PGconn *conn, const char *sql)
{
	expect(conn, PQexec(conn, sql), PGRES_COMMAND_OK);
}

static void
copy_put(PGconn *conn, const char *data, size_t nbytes)
{
	if (PQputCopyData(conn, data, (int) nbytes) != 1)
		bench_die("%s", PQerrorMessage(conn));
}

static void
copy_finish(PGconn *conn)
{
	PGresult *result;

	if (PQputCopyEnd(conn, NULL) != 1)
		bench_die("%s", PQerrorMessage(conn));
	expect(conn, PQgetResult(conn), PGRES_COMMAND_OK);
	result = PQgetResult(conn);
	if (result != NULL)
		bench_die("more results than expected");
}

static void
report(double seconds, size_t rows, size_t bytes)
{
	printf("{\"seconds\": %.6f, \"rows\": %zu, \"bytes\": %zu, \"maxrss_kb\": %ld}\n", seconds,
		   rows, bytes, bench_maxrss_kb());
}

static void
copy_out(const char *conninfo, const char *sql)
{
	double start = bench_now();
	PGconn *conn = connect_to(conninfo);
	size_t bytes = 0;
	size_t rows = 0;
	char *data;
	int n;

	expect(conn, PQexec(conn, sql), PGRES_COPY_OUT);
	while ((n = PQgetCopyData(conn, &data, 0)) > 0)
	{
		bytes += (size_t) n;
		rows++;
		PQfreemem(data);
	}
	if (n != -1)
		bench_die("%s", PQerrorMessage(conn));
	expect(conn, PQgetResult(conn), PGRES_COMMAND_OK);
	PQfinish(conn);
	report(bench_now() - start, rows, bytes);
}

static const char update_all[] =
	" ON CONFLICT (id) DO UPDATE SET customer = EXCLUDED.customer, placed = EXCLUDED.placed,"
	" status = EXCLUDED.status, amount = EXCLUDED.amount, quantity = EXCLUDED.quantity,"
	" weight = EXCLUDED.weight, paid = EXCLUDED.paid, note = EXCLUDED.note";

static void
upsert_copy_lot(PGconn *conn, const bench_row *rows, size_t n, char *buffer, const char *merge)
{
	size_t used = 0;

	run(conn, "BEGIN");
	expect(conn, PQexec(conn, "COPY lot FROM STDIN (FORMAT binary)"), PGRES_COPY_IN);
	copy_put(conn, copy_header, sizeof(copy_header));
	for (size_t i = 0; i < n; i++)
	{
		used += bench_row_encode(&rows[i], buffer + used);
		if (used >= CHUNK - BENCH_ROW_MAX)
		{
			copy_put(conn, buffer, used);
			used = 0;
		}
	}
	copy_put(conn, buffer, used);
	copy_put(conn, copy_trailer, sizeof(copy_trailer));
	copy_finish(conn);
	run(conn, merge);
	run(conn, "COMMIT");
}

static void
upsert_copy(const char *conninfo, size_t nrows)
{
	bench_row *rows = bench_rows_new(nrows);
	char *buffer = malloc(CHUNK);
	char merge[1024];
	double start = bench_now();
	PGconn *conn = connect_to(conninfo);

	if (buffer == NULL)
		bench_die("out of memory");
	snprintf(merge, sizeof(merge), "INSERT INTO target SELECT * FROM lot%s", update_all);
	run(conn, "CREATE TEMP TABLE lot (LIKE target) ON COMMIT DELETE ROWS");
	for (size_t at = 0; at < nrows; at += COPY_LOT)
		upsert_copy_lot(conn, rows + at, nrows - at < COPY_LOT ? nrows - at : COPY_LOT, buffer,
						merge);
	PQfinish(conn);
	report(bench_now() - start, nrows, 0);
	free(buffer);
	free(rows);
}

/* "INSERT INTO target VALUES ($1,…),… ON CONFLICT …" for n rows. */
static char *
values_statement(size_t n)
{
	char *sql = malloc(n * BENCH_NCOLUMNS * 8 + 1024);
	size_t used;

	if (sql == NULL)
		bench_die("out of memory");
	used = (size_t) sprintf(sql, "INSERT INTO target VALUES ");
	for (size_t i = 0; i < n; i++)
		for (size_t c = 0; c < BENCH_NCOLUMNS; c++)
			used +=
				(size_t) sprintf(sql + used, "%s$%zu%s", c == 0 ? (i == 0 ? "(" : ",(") : ",",
								 i * BENCH_NCOLUMNS + c + 1, c == BENCH_NCOLUMNS - 1 ? ")" : "");
	strcpy(sql + used, update_all);
	return sql;
}

/*
 * The parameters of a lot in binary, taken from the row's COPY form: no time is lost on texts, which
 * is better than what most drivers do.
 */
static void
values_params(const bench_row *rows, size_t n, char *buffer, const char **values, int *lengths)
{
	for (size_t i = 0; i < n; i++)
	{
		const unsigned char *at = (unsigned char *) buffer + i * BENCH_ROW_MAX;

		bench_row_encode(&rows[i], buffer + i * BENCH_ROW_MAX);
		at += 2;
		for (size_t c = 0; c < BENCH_NCOLUMNS; c++)
		{
			size_t p = i * BENCH_NCOLUMNS + c;
			int length = at[0] == 255 ? -1 : at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];

			at += 4;
			values[p] = length < 0 ? NULL : (const char *) at;
			lengths[p] = length;
			at += length > 0 ? length : 0;
		}
	}
}

static void
upsert_values(const char *conninfo, size_t nrows)
{
	static const char *values[VALUES_LOT * BENCH_NCOLUMNS];
	static int lengths[VALUES_LOT * BENCH_NCOLUMNS];
	static int formats[VALUES_LOT * BENCH_NCOLUMNS];
	bench_row *rows = bench_rows_new(nrows);
	char *buffer = malloc((size_t) VALUES_LOT * BENCH_ROW_MAX);
	char *sql = values_statement(VALUES_LOT);
	double start = bench_now();
	PGconn *conn = connect_to(conninfo);

	if (buffer == NULL || nrows % VALUES_LOT != 0)
		bench_die("the number of rows must be a multiple of %d", VALUES_LOT);
	for (int i = 0; i < VALUES_LOT * BENCH_NCOLUMNS; i++)
		formats[i] = 1;
	expect(conn, PQprepare(conn, "lot", sql, 0, NULL), PGRES_COMMAND_OK);
	for (size_t at = 0; at < nrows; at += VALUES_LOT)
	{
		values_params(rows + at, VALUES_LOT, buffer, values, lengths);
		expect(
			conn,
			PQexecPrepared(conn, "lot", VALUES_LOT * BENCH_NCOLUMNS, values, lengths, formats, 0),
			PGRES_COMMAND_OK);
	}
	PQfinish(conn);
	report(bench_now() - start, nrows, 0);
	free(sql);
	free(buffer);
	free(rows);
}

static FILE *
open_file(const char *path, const char *mode)
{
	FILE *file = fopen(path, mode);

	if (file == NULL)
		bench_die("cannot open %s", path);
	return file;
}

static void
write_file(size_t nrows, const char *path)
{
	bench_row *rows = bench_rows_new(nrows);
	FILE *file = open_file(path, "wb");
	char buffer[BENCH_ROW_MAX];

	fwrite(copy_header, 1, sizeof(copy_header), file);
	for (size_t i = 0; i < nrows; i++)
		fwrite(buffer, 1, bench_row_encode(&rows[i], buffer), file);
	fwrite(copy_trailer, 1, sizeof(copy_trailer), file);
	if (ferror(file) || fclose(file) != 0)
		bench_die("cannot write %s", path);
	free(rows);
}

static void
append_file(const char *conninfo, const char *path)
{
	static char buffer[CHUNK];
	FILE *file = open_file(path, "rb");
	double start = bench_now();
	PGconn *conn = connect_to(conninfo);
	size_t bytes = 0;
	size_t rows;
	size_t n;
	PGresult *result;

	expect(conn, PQexec(conn, "COPY target FROM STDIN (FORMAT binary)"), PGRES_COPY_IN);
	while ((n = fread(buffer, 1, sizeof(buffer), file)) > 0)
	{
		copy_put(conn, buffer, n);
		bytes += n;
	}
	if (PQputCopyEnd(conn, NULL) != 1)
		bench_die("%s", PQerrorMessage(conn));
	result = PQgetResult(conn);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		bench_die("%s", PQerrorMessage(conn));
	rows = (size_t) strtoull(PQcmdTuples(result), NULL, 10);
	PQclear(result);
	PQfinish(conn);
	fclose(file);
	report(bench_now() - start, rows, bytes);
}

int
main(int argc, char **argv)
{
	const char *what = argc == 4 ? argv[1] : "";

	if (strcmp(what, "copy-out") == 0)
		copy_out(argv[2], argv[3]);
	else if (strcmp(what, "upsert-copy") == 0)
		upsert_copy(argv[2], (size_t) strtoull(argv[3], NULL, 10));
	else if (strcmp(what, "upsert-values") == 0)
		upsert_values(argv[2], (size_t) strtoull(argv[3], NULL, 10));
	else if (strcmp(what, "write-file") == 0)
		write_file((size_t) strtoull(argv[2], NULL, 10), argv[3]);
	else if (strcmp(what, "append-file") == 0)
		append_file(argv[2], argv[3]);
	else
		bench_die("usage: see the head of bench/pq_bench.c");
	return 0;
}
