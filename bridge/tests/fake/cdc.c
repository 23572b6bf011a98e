/*
 * cdc.c - a change capture that plays a script, in place of the library's, for tests of the command cdc.
 *
 * $FAKE_CDC is a file, an event a line, fields between tabs; columns and rows are those of lib/rows.h:
 *
 *   S OID TABLE COLUMNS KEY      the schema of public.TABLE
 *   R OID TABLE COLUMNS ROW …    rows of the stream; r: of a snapshot
 *   T OID TABLE, X OID TABLE     a truncate, a reset
 *   C, P, P!                     snapshot complete, progress, progress whose position is to be stored
 *   W FILE                       nothing comes until this file is there
 *   K SIGNAL                     the process gets this signal, then the next event comes
 *   E TEXT, Z                    an error, the end; behind the last line nothing comes any more
 *
 * The position behind line N is pst1:N. $FAKE_CDC_LOG gets a line for each call that matters; what the
 * file $FAKE_CDC_FILE holds stands beside each acknowledgement.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "rows.h"

#define MAX_FIELDS 12

struct pst_cdc
{
	char *script;
	char *slot;
	char **lines;
	size_t nlines;
	size_t at;
	bool must_ack;
	test_rows rows;
	bool has_rows;
	struct ArrowSchema schema;
	char *fields[MAX_FIELDS];
	char *line;
	const char *key[2];
	pst_cdc_stats stats;
	uint64_t lsns[8], xids[8], sequences[8];
	int64_t times[8];
};

static void
note(const char *what, const char *value)
{
	const char *path = getenv("FAKE_CDC_LOG");
	FILE *log = path != NULL ? fopen(path, "a") : NULL;

	if (log == NULL)
		return;
	fprintf(log, "%s %s\n", what, value);
	fclose(log);
}

static char *
content(const char *path)
{
	FILE *file = path != NULL ? fopen(path, "r") : NULL;
	char *text = calloc(1, 1 << 20);

	if (file != NULL)
	{
		text[fread(text, 1, (1 << 20) - 1, file)] = '\0';
		fclose(file);
	}
	return text;
}

pst_status
pst_cdc_open(const char *const *keys, const char *const *values, const char *position,
			 const pst_hooks *hooks, pst_cdc **out, pst_error *err)
{
	pst_cdc *cdc = calloc(1, sizeof(*cdc));
	char *script = content(getenv("FAKE_CDC"));

	(void) hooks;
	(void) err;
	cdc->script = script;
	cdc->lines = calloc(10000, sizeof(char *));
	for (char *line = strtok(script, "\n"); line != NULL; line = strtok(NULL, "\n"))
		cdc->lines[cdc->nlines++] = line;
	for (size_t i = 0; keys[i] != NULL; i++)
	{
		char pair[512];

		snprintf(pair, sizeof(pair), "%s=%s", keys[i], values[i]);
		note("option", pair);
		if (strcmp(keys[i], "slot.name") == 0)
		{
			free(cdc->slot);
			cdc->slot = strdup(values[i]);
		}
	}
	note("open", position != NULL ? position : "-");
	if (position != NULL)
		cdc->at = strtoul(position + 5, NULL, 10);
	cdc->stats.slot = cdc->slot;
	cdc->stats.transport = "plain";
	cdc->stats.snapshot_total = -1;
	*out = cdc;
	return PST_OK;
}

static void
forget(pst_cdc *cdc)
{
	if (cdc->schema.release != NULL)
		cdc->schema.release(&cdc->schema);
	if (cdc->has_rows)
		rows_free(&cdc->rows);
	cdc->has_rows = false;
	free(cdc->line);
	cdc->line = NULL;
}

static void
fill_rows(pst_cdc *cdc, bool snapshot, pst_event *out)
{
	rows_make(&cdc->rows, cdc->fields[3], cdc->fields[4], cdc->fields[5], cdc->fields[6],
			  cdc->fields[7], cdc->fields[8], cdc->fields[9], NULL);
	for (size_t i = 0; i < 8; i++)
	{
		cdc->lsns[i] = 1000 + cdc->at;
		cdc->xids[i] = 700;
		cdc->sequences[i] = i + 1;
		cdc->times[i] = 1700000000000000;
	}
	cdc->has_rows = true;
	out->rows = cdc->rows.batch;
	cdc->rows.batch.array.release = NULL; /* moved */
	out->rows.schema = &cdc->rows.schema;
	out->rows.snapshot = snapshot;
	out->schema = &cdc->rows.schema;
	if (snapshot)
		cdc->stats.snapshot_rows += out->rows.array.length;
	else
	{
		cdc->stats.changes += out->rows.array.length;
		out->rows.commit_lsn = out->rows.lsn = cdc->lsns;
		out->rows.xid = cdc->xids;
		out->rows.sequence = cdc->sequences;
		out->rows.op_ts = cdc->times;
	}
}

static void
wait_a_little(int timeout_ms)
{
	struct timespec t = {0, (timeout_ms < 10 ? timeout_ms : 10) * 1000000L};

	nanosleep(&t, NULL);
}

/* The fields of the line that is next, or none. */
static char
read_line(pst_cdc *cdc)
{
	size_t n = 0;

	forget(cdc);
	memset(cdc->fields, 0, sizeof(cdc->fields));
	if (cdc->at == cdc->nlines)
		return 'A';
	cdc->line = strdup(cdc->lines[cdc->at]);
	for (char *field = strtok(cdc->line, "\t"); field != NULL && n < MAX_FIELDS;
		 field = strtok(NULL, "\t"))
		cdc->fields[n++] = field;
	return cdc->line[0];
}

pst_status
pst_cdc_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err)
{
	char kind = read_line(cdc);

	if (cdc->must_ack)
		return psti_fail(err, PST_ERR_STATE, "the last position was not acknowledged");
	if (kind == 'A' || (kind == 'W' && access(cdc->fields[1], F_OK) != 0))
	{
		wait_a_little(timeout_ms);
		return PST_AGAIN;
	}
	cdc->at++;
	switch (kind)
	{
		case 'W':
			return pst_cdc_next(cdc, timeout_ms, out, err);
		case 'K':
			kill(getpid(), atoi(cdc->fields[1]));
			return pst_cdc_next(cdc, timeout_ms, out, err);
		case 'E':
			cdc->at--;
			return psti_fail(err, PST_ERR_SERVER, "%s", cdc->fields[1]);
		case 'Z':
			return PST_END;
		default:
			break;
	}
	out->database = "db";
	out->schema_name = "public";
	out->table_oid = cdc->fields[1] != NULL ? (uint32_t) atoi(cdc->fields[1]) : 0;
	out->table = cdc->fields[2];
	switch (kind)
	{
		case 'S':
			out->kind = PST_EVENT_SCHEMA;
			rows_schema(&cdc->schema, cdc->fields[3]);
			out->schema = &cdc->schema;
			cdc->key[0] = cdc->fields[4];
			out->key = cdc->key;
			break;
		case 'T':
			out->kind = PST_EVENT_TRUNCATE;
			break;
		case 'X':
			out->kind = PST_EVENT_RESET;
			out->reason = "It has to be.";
			break;
		case 'C':
			out->kind = PST_EVENT_SNAPSHOT_COMPLETE;
			break;
		case 'P':
			out->kind = PST_EVENT_PROGRESS;
			out->store = cdc->must_ack = strcmp(cdc->fields[0], "P!") == 0;
			break;
		default:
			out->kind = PST_EVENT_ROWS;
			fill_rows(cdc, kind == 'r', out);
			break;
	}
	return PST_OK;
}

void
pst_event_release(pst_event *event)
{
	if (event->rows.array.release != NULL)
		event->rows.array.release(&event->rows.array);
}

pst_status
pst_cdc_position(pst_cdc *cdc, char **position, pst_error *err)
{
	(void) err;
	*position = malloc(32);
	snprintf(*position, 32, "pst1:%zu", cdc->at);
	return PST_OK;
}

pst_status
pst_cdc_ack(pst_cdc *cdc, const char *position, pst_error *err)
{
	char *stored = content(getenv("FAKE_CDC_FILE"));
	char text[600];

	(void) err;
	snprintf(text, sizeof(text), "%s %.500s", position, stored);
	text[strcspn(text, "\n")] = '\0';
	note("ack", text);
	free(stored);
	cdc->must_ack = false;
	return PST_OK;
}

void
pst_cdc_get_stats(const pst_cdc *cdc, pst_cdc_stats *stats)
{
	size_t size = stats->struct_size;

	*stats = cdc->stats;
	stats->struct_size = size;
}

pst_status
pst_cdc_close(pst_cdc *cdc, bool drop_slot, pst_error *err)
{
	(void) err;
	if (cdc == NULL)
		return PST_OK;
	note("close", drop_slot ? "drop" : "keep");
	forget(cdc);
	free(cdc->slot);
	free(cdc->script);
	free(cdc->lines);
	free(cdc);
	return PST_OK;
}
