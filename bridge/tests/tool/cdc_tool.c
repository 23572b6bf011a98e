/*
 * cdc_tool.c - a consumer of changes that does what its standard input says, step by step:
 *
 *   cdc_tool CONNINFO OPTION[=VALUE]...           without one: NULL
 *
 *   open [POSITION]    begins, or goes on behind POSITION
 *   next MS            the next event, waited for at most MS milliseconds
 *   skip N MS          up to N events, of which only sums are told; ends at the first that is no ROWS
 *   position           the position behind the last event
 *   ack POSITION       that it was stored
 *   compare A B        which position is further
 *   plan               the splits that were not given out yet (cdc.regions=plan)
 *   done SPLIT         its rows are kept
 *   reader             opens a reader of splits in place of a capture; read [SPLIT] begins with one,
 *   rnext              gives its next event, unread ends the reader
 *   stats, memory      what the capture says of itself; what the process takes, in kB
 *   close [drop]       ends it, the slot with it
 *   die                SIGKILL
 *
 * Each command is answered by one line of json with a member "answer". A failure is {"answer":"failed",…};
 * the tool goes on, so that a test can see what the handle says afterwards. Log lines and pids of the
 * handle's connections go to standard error.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrow_type.h"
#include "penstock.h"

#define MAX_OPTIONS 40

static const char *keys[MAX_OPTIONS + 2];
static const char *values[MAX_OPTIONS + 2];
static pst_cdc *cdc;
static pst_cdc_reader *reader;
static const char
	*lent; /* the database's name in the reader's last event: good until it begins anew */

/* ---- json ---- */

static void
put_text(const char *text, size_t nbytes)
{
	putchar('"');
	for (size_t i = 0; i < nbytes; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void
put_member(const char *name, const char *text)
{
	printf(",\"%s\":", name);
	if (text == NULL)
		printf("null");
	else
		put_text(text, strlen(text));
}

static void
put_number(const char *name, uint64_t number)
{
	printf(",\"%s\":%" PRIu64, name, number);
}

static void
put_hex(const uint8_t *data, int64_t nbytes)
{
	printf("\"\\\\x");
	for (int64_t i = 0; i < nbytes; i++)
		printf("%02x", data[i]);
	putchar('"');
}

/* ---- Arrow ---- */

static bool
bit(const void *bits, int64_t at)
{
	return ((const uint8_t *) bits)[at / 8] >> (at % 8) & 1;
}

static int64_t
signed_of(const void *data, int64_t at, int64_t width)
{
	switch (width)
	{
		case 1:
			return ((const int8_t *) data)[at];
		case 2:
			return ((const int16_t *) data)[at];
		case 4:
			return ((const int32_t *) data)[at];
		default:
			return ((const int64_t *) data)[at];
	}
}

/* Where item `at` of a column with offsets of this width begins. */
static int64_t
offset_of(const struct ArrowArray *array, int64_t at, int64_t width)
{
	return array->buffers[1] == NULL ? 0 : signed_of(array->buffers[1], at, width);
}

static void put_value(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t at);

static void
put_list(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t from, int64_t to)
{
	putchar('[');
	for (int64_t i = from; i < to; i++)
	{
		if (i > from)
			putchar(',');
		put_value(schema->children[0], array->children[0], i);
	}
	putchar(']');
}

static void
put_fixed(const char *format, const struct ArrowArray *array, int64_t at, int64_t width)
{
	const uint8_t *data = array->buffers[1];

	/* What json has no number for. */
	if (strcmp(format, "g") == 0 && !isfinite(((const double *) array->buffers[1])[at]))
		put_hex(data + at * 8, 8);
	else if (strcmp(format, "f") == 0 && !isfinite(((const float *) array->buffers[1])[at]))
		put_hex(data + at * 4, 4);
	else if (strcmp(format, "g") == 0)
		printf("%.17g", ((const double *) array->buffers[1])[at]);
	else if (strcmp(format, "f") == 0)
		printf("%.9g", (double) ((const float *) array->buffers[1])[at]);
	else if (width > 8 || format[0] == 'w')
		put_hex(data + at * width, width);
	else
		printf("%" PRId64, signed_of(data, at, width));
}

static void
put_value(const struct ArrowSchema *schema, const struct ArrowArray *array, int64_t at)
{
	arrow_type type = arrow_type_parse(schema->format);
	const char *data;
	int64_t from;
	int64_t to;

	at += array->offset;
	if (type.layout == ARROW_LAYOUT_NULL ||
		(array->n_buffers > 0 && array->buffers[0] != NULL && !bit(array->buffers[0], at)))
	{
		printf("null");
		return;
	}
	switch (type.layout)
	{
		case ARROW_LAYOUT_BITS:
			printf(bit(array->buffers[1], at) ? "true" : "false");
			break;
		case ARROW_LAYOUT_FIXED:
			put_fixed(schema->format, array, at, (int64_t) type.width);
			break;
		case ARROW_LAYOUT_VAR:
			from = offset_of(array, at, (int64_t) type.width);
			to = offset_of(array, at + 1, (int64_t) type.width);
			data = (const char *) array->buffers[2] + from;
			if (schema->format[0] == 'u' || schema->format[0] == 'U')
				put_text(data, (size_t) (to - from));
			else
				put_hex((const uint8_t *) data, to - from);
			break;
		case ARROW_LAYOUT_LIST:
			put_list(schema, array, offset_of(array, at, (int64_t) type.width),
					 offset_of(array, at + 1, (int64_t) type.width));
			break;
		default:
			printf("\"?%s\"", schema->format);
	}
}

/* ---- Events ---- */

static void
put_row(const pst_event *event, int64_t row)
{
	const pst_change_batch *batch = &event->rows;
	const char *unchanged = "";

	printf("{\"kind\":%d", batch->row_kind != NULL ? batch->row_kind[row] : 0);
	if (batch->commit_lsn != NULL)
		put_number("commit_lsn", batch->commit_lsn[row]);
	if (batch->xid != NULL)
		put_number("xid", batch->xid[row]);
	if (batch->sequence != NULL)
		put_number("sequence", batch->sequence[row]);
	if (batch->lsn != NULL)
		put_number("lsn", batch->lsn[row]);
	if (batch->op_ts != NULL)
		printf(",\"op_ts\":%" PRId64, batch->op_ts[row]);
	printf(",\"values\":[");
	for (int64_t c = 0; c < event->schema->n_children; c++)
	{
		if (c > 0)
			putchar(',');
		put_value(event->schema->children[c], batch->array.children[c], row + batch->array.offset);
	}
	printf("],\"unchanged\":[");
	for (int64_t c = 0; batch->unchanged != NULL && c < event->schema->n_children; c++)
	{
		if (batch->unchanged[c] != NULL && bit(batch->unchanged[c], row))
		{
			printf("%s%" PRId64, unchanged, c);
			unchanged = ",";
		}
	}
	printf("]}");
}

static void
put_rows(const pst_event *event)
{
	put_member("origin", event->rows.origin);
	printf(",\"snapshot\":%s,\"rows\":[", event->rows.snapshot ? "true" : "false");
	for (int64_t r = 0; r < event->rows.array.length; r++)
	{
		if (r > 0)
			putchar(',');
		put_row(event, r);
	}
	putchar(']');
}

static void
put_columns(const pst_event *event)
{
	printf(",\"columns\":[");
	for (int64_t c = 0; event->schema != NULL && c < event->schema->n_children; c++)
	{
		const char *name = event->schema->children[c]->name;

		printf(c > 0 ? "," : "");
		put_text(name, strlen(name));
	}
	printf("],\"formats\":[");
	for (int64_t c = 0; event->schema != NULL && c < event->schema->n_children; c++)
	{
		const char *format = event->schema->children[c]->format;

		printf(c > 0 ? "," : "");
		put_text(format, strlen(format));
	}
	printf("],\"key\":");
	if (event->key == NULL)
		printf("null");
	else
	{
		putchar('[');
		for (size_t k = 0; event->key[k] != NULL; k++)
		{
			printf(k > 0 ? "," : "");
			put_text(event->key[k], strlen(event->key[k]));
		}
		putchar(']');
	}
}

static void
put_message(const pst_event *event)
{
	printf(",\"transactional\":%s", event->transactional ? "true" : "false");
	put_member("prefix", event->prefix);
	printf(",\"content\":");
	put_hex(event->content, (int64_t) event->content_bytes);
}

static void
put_event(const pst_event *event)
{
	static const char *const names[] = {"rows",		"schema",  "truncate", "reset",	 "clear",
										"complete", "message", "progress", "regions"};

	printf("{\"answer\":\"event\",\"event\":\"%s\",\"store\":%s", names[event->kind],
		   event->store ? "true" : "false");
	put_member("database", event->database);
	put_member("schema", event->schema_name);
	put_member("table", event->table);
	put_number("oid", event->table_oid);
	put_number("commit_lsn", event->commit_lsn);
	put_number("xid", event->xid);
	put_number("sequence", event->sequence);
	put_number("lsn", event->lsn);
	printf(",\"op_ts\":%" PRId64, event->op_ts);
	if (event->kind == PST_EVENT_ROWS)
		put_rows(event);
	if (event->kind == PST_EVENT_ROWS || event->kind == PST_EVENT_SCHEMA)
		put_columns(event);
	if (event->kind == PST_EVENT_RESET)
		put_member("reason", event->reason);
	if (event->kind == PST_EVENT_CLEAR_RANGE)
	{
		put_member("column", event->column);
		put_member("lower", event->lower);
		put_member("upper", event->upper);
	}
	if (event->kind == PST_EVENT_MESSAGE)
		put_message(event);
	printf("}");
}

/* ---- Commands ---- */

static void
put_failed(const pst_error *err)
{
	printf("{\"answer\":\"failed\"");
	put_member("status", pst_status_name(err->status));
	put_member("sqlstate", err->sqlstate);
	put_member("message", err->message);
	put_member("detail", err->detail);
	put_member("hint", err->hint);
	put_member("schema", err->schema);
	put_member("table", err->table);
	put_member("lent", lent);
	printf(",\"retryable\":%s}", err->retryable ? "true" : "false");
}

static void
answer(pst_status status, const pst_error *err)
{
	if (status == PST_OK)
		printf("{\"answer\":\"ok\"}");
	else if (status == PST_AGAIN || status == PST_END)
		printf("{\"answer\":\"%s\"}", status == PST_END ? "end" : "again");
	else
		put_failed(err);
}

static void
on_log(void *ctx, pst_log_level level, const char *message)
{
	(void) ctx;
	fprintf(stderr, "log %d: %s\n", (int) level, message);
}

static void
on_connected(void *ctx, int backend_pid)
{
	(void) ctx;
	fprintf(stderr, "connected %d\n", backend_pid);
}

static pst_hooks
make_hooks(void)
{
	pst_hooks hooks = PST_HOOKS_INIT;

	hooks.log = on_log;
	hooks.connected = on_connected;
	return hooks;
}

static void
do_open(char *position)
{
	pst_hooks hooks = make_hooks();
	pst_error err = PST_ERROR_INIT;
	pst_status status;

	status = pst_cdc_open(keys, values, position, &hooks, &cdc, &err);
	answer(status, &err);
}

static void
do_next(char *timeout)
{
	pst_event event = PST_EVENT_INIT;
	pst_error err = PST_ERROR_INIT;
	pst_status status = pst_cdc_next(cdc, timeout != NULL ? atoi(timeout) : -1, &event, &err);

	if (status == PST_OK)
		put_event(&event);
	else
		answer(status, &err);
	pst_event_release(&event);
}

/* Bytes of the values, and a number that depends on each. */
static void
sum_rows(const pst_event *event, uint64_t *bytes, uint64_t *sum)
{
	for (int64_t c = 0; c < event->schema->n_children; c++)
	{
		const struct ArrowArray *column = event->rows.array.children[c];
		arrow_type type = arrow_type_parse(event->schema->children[c]->format);
		const uint8_t *data;
		int64_t from;
		int64_t to;

		if (type.layout != ARROW_LAYOUT_VAR || column->length == 0)
			continue;
		from = offset_of(column, column->offset, (int64_t) type.width);
		to = offset_of(column, column->offset + column->length, (int64_t) type.width);
		data = column->buffers[2];
		*bytes += (uint64_t) (to - from);
		for (int64_t i = from; i < to; i++)
			*sum += data[i];
	}
}

static void
do_skip(char *arguments)
{
	char *timeout = strchr(arguments, ' ');
	long events = strtol(arguments, NULL, 10);
	uint64_t rows = 0;
	uint64_t bytes = 0;
	uint64_t sum = 0;
	pst_error err = PST_ERROR_INIT;
	pst_status status = PST_OK;
	pst_event event = PST_EVENT_INIT;

	for (; events > 0; events--)
	{
		event = (pst_event) PST_EVENT_INIT;
		status = pst_cdc_next(cdc, timeout != NULL ? atoi(timeout) : -1, &event, &err);
		if (status != PST_OK || event.kind != PST_EVENT_ROWS || event.store)
			break;
		rows += (uint64_t) event.rows.array.length;
		sum_rows(&event, &bytes, &sum);
		pst_event_release(&event);
	}
	printf("{\"answer\":\"sums\",\"rows\":%" PRIu64, rows);
	put_number("bytes", bytes);
	put_number("sum", sum);
	printf(",\"last\":");
	if (status == PST_OK && events > 0)
		put_event(&event);
	else
		answer(status, &err);
	printf("}");
	pst_event_release(&event);
}

static void
do_position(char *unused)
{
	pst_error err = PST_ERROR_INIT;
	char *position;

	(void) unused;
	if (pst_cdc_position(cdc, &position, &err) != PST_OK)
		put_failed(&err);
	else
	{
		printf("{\"answer\":\"position\"");
		put_member("position", position);
		printf("}");
	}
	pst_free(position);
}

static void
do_ack(char *position)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status = pst_cdc_ack(cdc, position, &err);

	answer(status, &err);
}

static void
do_compare(char *positions)
{
	pst_error err = PST_ERROR_INIT;
	char *second = strchr(positions, '\t');
	int order;

	*second++ = '\0';
	if (pst_position_compare(positions, second, &order, &err) != PST_OK)
		put_failed(&err);
	else
		printf("{\"answer\":\"order\",\"order\":%d}", order);
}

/* ---- Regions ---- */

static void
do_plan(char *unused)
{
	pst_error err = PST_ERROR_INIT;
	char **splits;
	size_t n;

	(void) unused;
	if (pst_cdc_plan(cdc, &splits, &n, &err) != PST_OK)
		put_failed(&err);
	else
	{
		printf("{\"answer\":\"splits\",\"splits\":[");
		for (size_t i = 0; i < n; i++)
		{
			printf(i > 0 ? "," : "");
			put_text(splits[i], strlen(splits[i]));
		}
		printf("]}");
	}
	pst_free(splits);
}

static void
do_done(char *split)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status = pst_cdc_region_done(cdc, split, &err);

	answer(status, &err);
}

static void
do_reader(char *unused)
{
	pst_hooks hooks = make_hooks();
	pst_error err = PST_ERROR_INIT;
	pst_status status = pst_cdc_reader_open(keys, values, &hooks, &reader, &err);

	(void) unused;
	answer(status, &err);
}

static void
do_read(char *split)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status;

	lent = NULL;
	status = pst_cdc_reader_read(reader, split, &err);
	answer(status, &err);
}

static void
do_rnext(char *unused)
{
	pst_event event = PST_EVENT_INIT;
	pst_error err = PST_ERROR_INIT;
	pst_status status = pst_cdc_reader_next(reader, &event, &err);

	(void) unused;
	if (status == PST_OK)
	{
		lent = event.database;
		put_event(&event);
	}
	else
		answer(status, &err);
	pst_event_release(&event);
}

static void
do_unread(char *unused)
{
	pst_error err = PST_ERROR_INIT;

	(void) unused;
	pst_cdc_reader_close(reader);
	reader = NULL;
	lent = NULL;
	answer(PST_OK, &err);
}

/* ---- The rest ---- */

static void
do_stats(char *unused)
{
	pst_cdc_stats stats = {.struct_size = sizeof(stats)};

	(void) unused;
	pst_cdc_get_stats(cdc, &stats);
	printf("{\"answer\":\"stats\",\"snapshotting\":%s", stats.snapshotting ? "true" : "false");
	put_member("slot", stats.slot);
	put_member("transport", stats.transport);
	printf(",\"snapshot_total\":%" PRId64, stats.snapshot_total);
	put_number("snapshot_rows", (uint64_t) stats.snapshot_rows);
	put_number("changes", (uint64_t) stats.changes);
	put_number("received", stats.received_lsn);
	put_number("server", stats.server_lsn);
	put_number("acknowledged", stats.acknowledged_lsn);
	printf("}");
}

static void
do_memory(char *unused)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long now = -1;
	long most = -1;

	(void) unused;
	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
	{
		sscanf(line, "VmHWM: %ld", &most);
		sscanf(line, "VmRSS: %ld", &now);
	}
	if (file != NULL)
		fclose(file);
	printf("{\"answer\":\"memory\",\"now\":%ld,\"most\":%ld}", now, most);
}

static void
do_close(char *how)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status = pst_cdc_close(cdc, how != NULL && strcmp(how, "drop") == 0, &err);

	cdc = NULL;
	answer(status, &err);
}

static void
do_die(char *unused)
{
	(void) unused;
	raise(SIGKILL);
}

static const struct
{
	const char *name;
	void (*run)(char *arguments);
} commands[] = {
	{"open", do_open},	   {"next", do_next},		{"skip", do_skip},	 {"position", do_position},
	{"ack", do_ack},	   {"compare", do_compare}, {"stats", do_stats}, {"memory", do_memory},
	{"close", do_close},   {"die", do_die},			{"plan", do_plan},	 {"done", do_done},
	{"reader", do_reader}, {"read", do_read},		{"rnext", do_rnext}, {"unread", do_unread}};

static void
obey(char *line)
{
	char *arguments = strchr(line, ' ');

	if (arguments != NULL)
		*arguments++ = '\0';
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		if (strcmp(line, commands[i].name) == 0)
		{
			commands[i].run(arguments);
			putchar('\n');
			fflush(stdout);
			return;
		}
	}
	fprintf(stderr, "cdc_tool: what is %s?\n", line);
	exit(2);
}

int
main(int argc, char **argv)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (argc < 2 || argc - 2 > MAX_OPTIONS)
		return 2;
	keys[0] = "url";
	values[0] = argv[1];
	for (int i = 2; i < argc; i++)
	{
		char *equals = strchr(argv[i], '=');

		if (equals != NULL)
			*equals = '\0';
		keys[i - 1] = argv[i];
		values[i - 1] = equals != NULL ? equals + 1 : NULL;
	}
	while ((len = getline(&line, &size, stdin)) > 0)
	{
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		obey(line);
	}
	pst_cdc_reader_close(reader);
	pst_cdc_close(cdc, false, NULL);
	free(line);
	return 0;
}
