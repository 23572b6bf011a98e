/* source_test.c - the source against a scripted server: short of memory, lost, answered wrongly. */
#include "test.h"

#include <errno.h>

#include "alloc.h"
#include "arrow_build.h"
#include "arrow_ipc.h"
#include "play.h"

/* --- scripts ------------------------------------------------------------------------------------- */

#define SESSION SESSION_OF("f")
#define LIST                                                                                       \
	"1016|-1|1016|-1|b|A|t|bigint[]|pg_catalog._int8|pg_catalog.array_out|t|20|20|-1|bigint"

/* t (id bigint PRIMARY KEY, v text, l bigint[]) */
#define RELATION                                                                                   \
	ASKED("*WITH RECURSIVE found", FAKE_ROWS(COLUMNS40 "\n" TABLE ID "\n" TABLE V "\n" TABLE       \
													   "l|3|f|f|f|f||0|t|0|t|t|t|" LIST))

#define PLANNED FAKE_ROWS("QUERY PLAN\n[{\"Plan\": {\"Plan Rows\": 100, \"Plan Width\": 8}}]")
#define MOMENT                                                                                     \
	RAN("*LOCK TABLE public.t IN ACCESS SHARE MODE"), TOLD("*EXPLAIN", PLANNED),                   \
		TOLD("*pg_locks", FAKE_ROWS("n|c")), RELATION
#define EXPORTED TOLD("*pg_export_snapshot", FAKE_ROWS("s|p\n00000003-0000001B-1|{public}"))
#define MEMBERS                                                                                    \
	ASKED("*pg_relation_size", FAKE_ROWS("o|n|b|w|p|s|r|z|c\n16400|16400|4|f|f|f|t|8192|t"))
#define LEAVES                                                                                     \
	ASKED("*WITH RECURSIVE tree", FAKE_ROWS("o|n|r|f|r|l|q\n16400|public|t|16400|t|t|public.t"))
#define COPYING FAKE_QUERY("*SAVEPOINT penstock; COPY ("), FAKE_RESULT(PGRES_COPY_OUT)

#define HEADER "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"
/* (7, 'abc', {1}) and (8, NULL, NULL) */
#define ROW7                                                                                       \
	"\0\3\0\0\0\10\0\0\0\0\0\0\0\7\0\0\0\3"                                                        \
	"abc\0\0\0\40\0\0\0\1\0\0\0\0\0\0\0\24\0\0\0\1\0\0\0\1\0\0\0\10\0\0\0\0\0\0\0\1"
#define ROW8 "\0\3\0\0\0\10\0\0\0\0\0\0\0\10\377\377\377\377\377\377\377\377"
#define TRAILER "\377\377"
/* The end is told twice: once behind the rows that came before it. */
#define COPIED FAKE_LINE_DONE, FAKE_LINE_DONE, FAKE_COMMAND("COPY 2"), FAKE_NO_RESULT
#define COPIES COPYING, FAKE_LINE(HEADER ROW7), FAKE_LINE(ROW8), FAKE_LINE(TRAILER), COPIED

/* --- one play -------------------------------------------------------------------------------------- */

typedef struct play
{
	const fake_pq_step *script;
	size_t nsteps;
	play_options options;
	bool plans;
	bool estimates;
	int64_t nrows; /* that were read */
} play;

#define PLAY(steps)                                                                                \
	{                                                                                              \
		.script = (steps), .nsteps = FAKE_LENGTH(steps), .options = {                              \
			.keys = {"table-name"},                                                                \
			.values = {"t"}                                                                        \
		}                                                                                          \
	}

static pst_status
read_all(play *p, pst_source *source, const char *split, pst_error *err)
{
	struct ArrowArrayStream stream;
	struct ArrowSchema schema;
	pst_status status = pst_source_read(source, split, &stream, err);
	bool more = status == PST_OK;

	if (more && stream.get_schema(&stream, &schema) == 0)
		schema.release(&schema);
	else if (more)
		status = err->status = PST_ERR_NOMEM;
	while (more && status == PST_OK)
	{
		struct ArrowArray array;

		if (stream.get_next(&stream, &array) != 0)
			status = pst_source_error(source, err);
		more = array.release != NULL;
		p->nrows += more ? array.length : 0;
		if (more)
			array.release(&array);
	}
	if (stream.release != NULL)
		stream.release(&stream);
	return status;
}

static pst_status
read_plan(play *p, pst_source *source, pst_error *err)
{
	char **splits = NULL;
	size_t n = 0;
	pst_status status = pst_source_plan(source, 0, &splits, &n, err);

	for (size_t i = 0; status == PST_OK && i < n; i++)
		status = read_all(p, source, splits[i], err);
	pst_free(splits);
	return status;
}

/* Opens, plans, reads, closes: the first failure. */
static pst_status
whole(void *ctx, pst_error *err)
{
	play *p = ctx;
	pst_source *source = NULL;
	int64_t nrows;
	int64_t nbytes;
	pst_status status;

	p->nrows = 0;
	fake_pq_begin(p->script, p->nsteps);
	status = pst_source_open(p->options.keys, p->options.values, NULL, &source, err);
	if (status == PST_OK)
		status = p->plans ? read_plan(p, source, err) : read_all(p, source, NULL, err);
	if (status == PST_OK && p->estimates)
		status = pst_source_estimate(source, &nrows, &nbytes, err);
	pst_source_close(source);
	if (status == PST_OK)
		fake_pq_end();
	fake_pq_abandon();
	return status;
}

/* --- short of memory --------------------------------------------------------------------------------- */

static void
every_failing_allocation_of_a_read_is_reported(void **state)
{
	static const fake_pq_step script[] = {SESSION, RELATION, MOMENT, COPIES,
										  TOLD("*SAVEPOINT penstock; EXPLAIN", PLANNED)};
	play p = PLAY(script);

	(void) state;
	p.estimates = true;
	assert_true(psti_test_alloc_sweep(whole, &p) > 60);
	assert_int_equal(p.nrows, 2);
}

static void
every_failing_allocation_of_a_read_of_text_and_json_is_reported(void **state)
{
	static const fake_pq_step text[] = {SESSION, RELATION, MOMENT, COPIES};
	play p = PLAY(text);
	play q = PLAY(text);

	(void) state;
	add_option(&p.options, "read.values", "csv");
	assert_true(psti_test_alloc_sweep(whole, &p) > 60);
	add_option(&q.options, "read.text-columns", "*");
	add_option(&q.options, "read.columns", "id,v,l");
	assert_true(psti_test_alloc_sweep(whole, &q) > 60);
	assert_int_equal(q.nrows, 2);
}

static void
every_failing_allocation_of_a_plan_by_blocks_is_reported(void **state)
{
	static const fake_pq_step script[] = {
		SESSION, RELATION,
		/* read.filter, checked at open */
		CALL("PQsendQueryParams"), CALL("PQsendPrepare"), CALL("PQsendPrepare"),
		CALL("PQpipelineSync"), FAKE_ROWS("s\n1s"), FAKE_NO_RESULT, DONE, DONE,
		FAKE_RESULT(PGRES_PIPELINE_SYNC), MOMENT, EXPORTED,
		TOLD("*SAVEPOINT penstock; EXPLAIN", PLANNED), MEMBERS, LEAVES, COPIES, COPIES};
	play p = PLAY(script);

	(void) state;
	p.plans = true;
	add_option(&p.options, "read.filter", "id > 0");
	add_option(&p.options, "read.split-bytes", "16kb");
	assert_true(psti_test_alloc_sweep(whole, &p) > 100);
	assert_int_equal(p.nrows, 4);
}

static void
every_failing_allocation_of_a_plan_by_strides_is_reported(void **state)
{
	static const fake_pq_step ints[] = {
		SESSION,
		RELATION,
		ASKED("*SELECT $1::pg_catalog.int8", FAKE_ROWS("l|u|o|f|t\n0|10|t|0|10")),
		MOMENT,
		EXPORTED,
		COPIES,
		COPIES};
	static const fake_pq_step texts[] = {
		SESSION,
		RELATION,
		ASKED("*SELECT $1::pg_catalog.text", FAKE_ROWS("l|u|o|f|t\na|z|t|\\N|\\N")),
		MOMENT,
		EXPORTED,
		ASKED("*SELECT DISTINCT v", FAKE_ROWS("v\nm")),
		COPIES,
		COPIES};
	play p = PLAY(ints);
	play q = PLAY(texts);

	(void) state;
	p.plans = q.plans = true;
	add_option(&p.options, "scan.partition.column", "id");
	add_option(&p.options, "scan.partition.lower-bound", "0");
	add_option(&p.options, "scan.partition.upper-bound", "10");
	add_option(&p.options, "scan.partition.num", "2");
	assert_true(psti_test_alloc_sweep(whole, &p) > 100);
	assert_int_equal(p.nrows, 4);
	add_option(&q.options, "scan.partition.column", "v");
	add_option(&q.options, "scan.partition.lower-bound", "a");
	add_option(&q.options, "scan.partition.upper-bound", "z");
	add_option(&q.options, "scan.partition.num", "2");
	assert_true(psti_test_alloc_sweep(whole, &q) > 100);
	assert_int_equal(q.nrows, 4);
}

/* A query, in a session that is not the planner's. */
static void
every_failing_allocation_of_a_query_is_reported(void **state)
{
#define DESCRIBED(columns)                                                                         \
	CALL("PQsendPrepare"), CALL("PQsendDescribePrepared"), CALL("PQpipelineSync"), DONE,           \
		FAKE_ROWS(columns), FAKE_NO_RESULT, FAKE_RESULT(PGRES_PIPELINE_SYNC)
#define QUERY                                                                                      \
	DESCRIBED("id:20|v:25|l:1016"),                                                                \
		ASKED("*WITH RECURSIVE found",                                                             \
			  FAKE_ROWS(COLUMNS40 "\n" NOTHING INT8 "\n" NOTHING TEXT "\n" NOTHING LIST))
#define NOTHING "\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N||0|f|f|f|f||0|t|0|t|t|t|"
	static const fake_pq_step script[] = {SESSION,
										  QUERY,
										  DESCRIBED("id:20|v:25|l:1016"),
										  RAN("*synchronize_seqscans"),
										  TOLD("*EXPLAIN", PLANNED),
										  TOLD("*pg_locks", FAKE_ROWS("n|c")),
										  QUERY,
										  COPIES};
	play p = PLAY(script);

	(void) state;
	p.options.keys[0] = "query";
	p.options.values[0] = "SELECT id, v, l FROM t";
	assert_true(psti_test_alloc_sweep(whole, &p) > 60);
	assert_int_equal(p.nrows, 2);
}

/* --- lost, and answered wrongly ------------------------------------------------------------------------ */

static void
a_connection_that_is_lost_between_rows_is_an_error_not_an_end(void **state)
{
	static const fake_pq_step script[] = {
		SESSION,		RELATION,		MOMENT, COPYING, FAKE_LINE(HEADER ROW7),
		FAKE_LINE_DONE, FAKE_LINE_DONE, LOST};
	play p = PLAY(script);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_fails(whole(&p, &err), PST_ERR_CONNECTION, &err);
	assert_string_equal(err.table, "t");
	assert_int_equal(p.nrows, 0);
}

static void
an_end_without_its_trailer_is_an_error(void **state)
{
	static const fake_pq_step script[] = {
		SESSION, RELATION, MOMENT, COPYING, FAKE_LINE(HEADER ROW7), COPIED};
	play p = PLAY(script);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_fails(whole(&p, &err), PST_ERR_PROTOCOL, &err);
	assert_int_equal(p.nrows, 0);
}

static void
an_error_after_the_last_row_takes_the_end_back(void **state)
{
	static const fake_pq_step script[] = {SESSION,
										  RELATION,
										  MOMENT,
										  COPYING,
										  FAKE_LINE(HEADER ROW7),
										  FAKE_LINE(ROW8),
										  FAKE_LINE(TRAILER),
										  FAKE_LINE_DONE,
										  FAKE_LINE_DONE,
										  FAKE_ERROR("XX001", "invalid page"),
										  FAKE_NO_RESULT};
	play p = PLAY(script);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_true(whole(&p, &err) < 0);
	assert_string_equal(err.sqlstate, "XX001");
	assert_int_equal(p.nrows, 0);
}

/* What a server says that ends a session on a standby: the reason, and then nothing more. */
static void
a_session_that_a_standby_ends_is_a_conflict_not_a_lost_connection(void **state)
{
	static const fake_pq_step script[] = {
		SESSION_OF("t"),
		RELATION,
		MOMENT,
		EXPORTED,
		MEMBERS,
		LEAVES,
		FAKE_QUERY("*COPY (SELECT"),
		FAKE_RESULT(PGRES_COPY_OUT),
		FAKE_LINE(HEADER ROW7),
		FAKE_LINE_DONE,
		FAKE_LINE_DONE,
		{.call = "PQgetResult",
		 .result = true,
		 .status = PGRES_FATAL_ERROR,
		 .sqlstate = "40001",
		 .message = "terminating connection due to conflict with recovery",
		 .fails = "server closed the connection unexpectedly\n",
		 .lost = true}};
	play p = PLAY(script);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	p.plans = true;
	assert_fails(whole(&p, &err), PST_ERR_CONFLICT, &err);
	assert_true(err.retryable);
	assert_contains(err.hint, "hot_standby_feedback");
}

/* --- assisted ------------------------------------------------------------------------------------- */

#define MAX_STEPS 4096
#define SCANNING FAKE_QUERY("*COPY (SELECT penstock.scan("), FAKE_RESULT(PGRES_COPY_OUT)
#define SCANNED FAKE_LINE_DONE, FAKE_COMMAND("COPY 3"), FAKE_NO_RESULT
#define BACK                                                                                       \
	FAKE_QUERY("ROLLBACK TO SAVEPOINT penstock"),                                                  \
		{.call = "PQgetResult",                                                                    \
		 .result = true,                                                                           \
		 .status = PGRES_COMMAND_OK,                                                               \
		 .tag = "ROLLBACK",                                                                        \
		 .trans = PQTRANS_INTRANS + 1},                                                            \
		FAKE_NO_RESULT
/* The server's error aborts the transaction. */
#define ABORTED(state, text, ...)                                                                  \
	{.call = "PQgetResult",                                                                        \
	 .result = true,                                                                               \
	 .status = PGRES_FATAL_ERROR,                                                                  \
	 .sqlstate = (state),                                                                          \
	 .message = (text),                                                                            \
	 .trans = PQTRANS_INERROR + 1,                                                                 \
	 __VA_ARGS__},                                                                                 \
		FAKE_NO_RESULT

/* A script that is put together; not through malloc, which is watched. */
typedef struct script
{
	fake_pq_step steps[MAX_STEPS];
	size_t n;
} script;

static script made;

#define ADD(...)                                                                                   \
	add_steps((const fake_pq_step[]){__VA_ARGS__},                                                 \
			  FAKE_LENGTH(((const fake_pq_step[]){__VA_ARGS__})))

static void
add_steps(const fake_pq_step *steps, size_t n)
{
	assert_true(n <= MAX_STEPS - made.n);
	memcpy(made.steps + made.n, steps, n * sizeof(*steps));
	made.n += n;
}

static void
add_line(const uint8_t *data, size_t n)
{
	ADD({.call = "PQgetlineAsync", .data = (const char *) data, .data_len = n});
}

/* The COPY of (7, 'abc', {1}) and (8, NULL, NULL) as frames; where its parts end. */
typedef struct frames
{
	uint8_t data[4096];
	size_t len;
	size_t schema; /* end of the first message */
	size_t batch;  /* of the second */
} frames;

static frames whole_copy;

static void
put_bytes(const void *bytes, size_t n)
{
	assert_true(n <= sizeof(whole_copy.data) - whole_copy.len);
	memcpy(whole_copy.data + whole_copy.len, bytes, n);
	whole_copy.len += n;
}

static void
put_row(const uint8_t *message, size_t n)
{
	const uint8_t head[] = {0, 1, 0, 0, (uint8_t) (n >> 8), (uint8_t) n};

	put_bytes(head, sizeof(head));
	put_bytes(message, n);
}

/* What the extension says of t, or a relation like it whose last column has other elements. */
static void
make_schema_of(struct ArrowSchema *schema, const char *elements)
{
	static const char *const formats[] = {"l", "u", "+l"};
	static const char *const names[] = {"id", "v", "l"};
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_schema_init(schema, "+s", "", false, 3, &err), &err);
	for (int i = 0; i < 3; i++)
		assert_ok(psti_schema_init(schema->children[i], formats[i], names[i], true, i == 2, &err),
				  &err);
	assert_ok(psti_schema_init(schema->children[2]->children[0], elements, "item", true, 0, &err),
			  &err);
}

static void
make_batch_of(const struct ArrowSchema *schema, uint8_t *out, size_t cap, size_t *n)
{
	static const int64_t ids[] = {7, 8};
	static const int64_t items[] = {1};
	static const int32_t texts[] = {0, 3, 3};
	static const int32_t lists[] = {0, 1, 1};
	static const uint8_t first[] = {1};
	const void *buffers[4][3] = {{NULL, ids}, {first, texts, "abc"}, {first, lists}, {NULL, items}};
	struct ArrowArray columns[4] = {{.length = 2, .n_buffers = 2},
									{.length = 2, .n_buffers = 3, .null_count = 1},
									{.length = 2, .n_buffers = 2, .null_count = 1},
									{.length = 1, .n_buffers = 2}};
	struct ArrowArray *children[] = {&columns[0], &columns[1], &columns[2]};
	struct ArrowArray *item = &columns[3];
	const void *none[] = {NULL};
	struct ArrowArray rows = {
		.length = 2, .n_buffers = 1, .n_children = 3, .buffers = none, .children = children};
	arrow_ipc_error err;

	for (int i = 0; i < 4; i++)
		columns[i].buffers = buffers[i];
	columns[2].n_children = 1;
	columns[2].children = &item;
	assert_int_equal(arrow_ipc_write_batch(schema, &rows, out, cap, n, &err), ARROW_IPC_OK);
}

static void
make_frames(const char *elements)
{
	uint8_t message[1024];
	struct ArrowSchema schema;
	arrow_ipc_error err;
	size_t n;

	whole_copy.len = 0;
	make_schema_of(&schema, elements);
	put_bytes(HEADER, sizeof(HEADER) - 1);
	assert_int_equal(arrow_ipc_write_schema(&schema, message, sizeof(message), &n, &err),
					 ARROW_IPC_OK);
	put_row(message, n);
	whole_copy.schema = whole_copy.len;
	if (strcmp(elements, "l") == 0)
	{
		make_batch_of(&schema, message, sizeof(message), &n);
		put_row(message, n);
	}
	whole_copy.batch = whole_copy.len;
	arrow_ipc_write_end(message);
	put_row(message, ARROW_IPC_PREFIX);
	put_bytes(TRAILER, sizeof(TRAILER) - 1);
	schema.release(&schema);
}

/* A session that has begun to scan t, on a primary or a standby. */
static void
begin_script(bool standby)
{
	make_frames("l");
	made.n = 0;
	if (standby)
		ADD(SESSION_ASSISTED("t"));
	else
		ADD(SESSION_ASSISTED("f"));
	ADD(RELATION, MOMENT, SCANNING);
}

static play
play_of_script(void)
{
	play p = PLAY(made.steps);

	p.nsteps = made.n;
	return p;
}

static pst_status
play_script(pst_error *err, int64_t *nrows)
{
	play p = play_of_script();
	pst_status status;

	*err = (pst_error) PST_ERROR_INIT;
	status = whole(&p, err);
	*nrows = p.nrows;
	return status;
}

static void
every_failing_allocation_of_an_assisted_read_is_reported(void **state)
{
	play p;

	(void) state;
	begin_script(false);
	add_line(whole_copy.data, whole_copy.schema);
	add_line(whole_copy.data + whole_copy.schema, whole_copy.batch - whole_copy.schema);
	add_line(whole_copy.data + whole_copy.batch, whole_copy.len - whole_copy.batch);
	/* Who throws the rows away shall see them end before the COPY does. */
	ADD(FAKE_LINE_LATER, SCANNED);
	p = play_of_script();
	assert_true(psti_test_alloc_sweep(whole, &p) > 60);
	assert_int_equal(p.nrows, 2);
	add_option(&p.options, "read.text-columns", "v");
	assert_true(psti_test_alloc_sweep(whole, &p) > 60);
}

/* However the bytes come, with waits between them. */
static void
frames_in_pieces_of_any_size_are_read_whole(void **state)
{
	(void) state;
	for (size_t size = 1; size < 40; size = size * 2 + 1)
	{
		pst_error err;
		int64_t nrows;

		begin_script(false);
		for (size_t at = 0; at < whole_copy.len; at += size)
		{
			if (at % 3 == 0)
				ADD(FAKE_LINE_LATER);
			add_line(whole_copy.data + at, size < whole_copy.len - at ? size : whole_copy.len - at);
		}
		ADD(SCANNED);
		assert_ok(play_script(&err, &nrows), &err);
		assert_int_equal(nrows, 2);
	}
}

static void
frames_that_are_cut_at_any_byte_are_an_error_not_an_end(void **state)
{
	(void) state;
	begin_script(false);
	for (size_t cut = 0; cut < whole_copy.len; cut++)
	{
		pst_error err;
		int64_t nrows;

		for (int lost = 0; lost < 2; lost++)
		{
			begin_script(false);
			if (cut > 0)
				add_line(whole_copy.data, cut);
			if (lost)
				ADD(FAKE_LINE_DONE, LOST);
			else
				ADD(SCANNED);
			assert_fails(play_script(&err, &nrows), lost ? PST_ERR_CONNECTION : PST_ERR_PROTOCOL,
						 &err);
			assert_int_equal(nrows, cut >= whole_copy.batch ? 2 : 0);
		}
	}
	/* Whole, but the server takes it back. */
	begin_script(false);
	add_line(whole_copy.data, whole_copy.len);
	ADD(FAKE_LINE_DONE, LOST);
	{
		pst_error err;
		int64_t nrows;

		assert_fails(play_script(&err, &nrows), PST_ERR_CONNECTION, &err);
		assert_int_equal(nrows, 2);
	}
}

static void
a_schema_of_other_columns_is_refused_before_any_row(void **state)
{
	pst_error err;
	int64_t nrows;

	(void) state;
	begin_script(false);
	make_frames("i");
	add_line(whole_copy.data, whole_copy.len);
	assert_fails(play_script(&err, &nrows), PST_ERR_PROTOCOL, &err);
	assert_contains(err.message, "column \"l\"");
	assert_contains(err.hint, "transport=plain");
	assert_string_equal(err.column, "l");
	assert_string_equal(err.table, "t");
}

/* The server's error, behind the first frame. */
static void
fail_behind_a_frame(const fake_pq_step *error, pst_error *err)
{
	int64_t nrows;

	begin_script(false);
	add_line(whole_copy.data, whole_copy.batch);
	ADD(FAKE_LINE_DONE);
	add_steps(error, 2);
	ADD(BACK);
	assert_true(play_script(err, &nrows) < 0);
	assert_int_equal(nrows, 2);
}

#define HOLDS "column \"v\" holds a value that Arrow type date32 cannot"
#define OUR_QUERY "query \"SELECT \"t\".\"id\" FROM public.t AS \"t\"\""

/* The extension's detail becomes what a plain read says. */
static void
a_value_that_the_extension_refuses_is_told_as_a_plain_read_does(void **state)
{
	static const fake_pq_step keyed[] = {
		ABORTED("22003", HOLDS, .column = "v", .schema = "public", .table = "t",
				.detail = "The row is (id)=(a; it is row 7 of); it is row 41 of this scan, "
						  "counted from 0.",
				.hint = "Name the column in text_columns to get its text.")};
	static const fake_pq_step bare[] = {
		ABORTED("22021", "column \"v\" holds bytes that are not UTF-8", .column = "v",
				.detail = "It is row 3 of this scan, counted from 0.", .hint = "Read it through.")};
	pst_error err;

	(void) state;
	fail_behind_a_frame(keyed, &err);
	assert_int_equal(err.status, PST_ERR_DATA);
	assert_string_equal(err.message, HOLDS);
	assert_string_equal(err.key, "(id)=(a; it is row 7 of)");
	assert_string_equal(err.detail, "The row is (id)=(a; it is row 7 of).");
	assert_int_equal(err.row, 41);
	assert_contains(err.hint, "read.text-columns");
	fail_behind_a_frame(bare, &err);
	assert_string_equal(err.message, "column \"v\" holds bytes that are not UTF-8");
	assert_string_equal(err.key, "");
	assert_string_equal(err.detail, "It is row 3 of this read, counted from 0.");
	assert_int_equal(err.row, 3);
	assert_string_equal(err.hint, "Read it through.");
	assert_string_equal(err.table, "t");
}

static void
errors_of_the_query_do_not_show_our_own_statement(void **state)
{
	static const fake_pq_step alone[] = {
		ABORTED("22012", "division by zero", .context = OUR_QUERY)};
	static const fake_pq_step behind[] = {
		ABORTED("22012", "division by zero", .context = "SQL function \"f\"\n" OUR_QUERY)};
	static const fake_pq_step detailed[] = {
		ABORTED("P0001", "column \"v\" holds nothing", .column = "v", .detail = "It is row 3.")};
	static const fake_pq_step canceled[] = {
		ABORTED("57014", "canceling statement due to statement timeout", .context = OUR_QUERY)};
	pst_error err;

	(void) state;
	fail_behind_a_frame(alone, &err);
	assert_int_equal(err.status, PST_ERR_DATA);
	assert_string_equal(err.detail, "");
	fail_behind_a_frame(behind, &err);
	assert_string_equal(err.detail, "SQL function \"f\"");
	fail_behind_a_frame(detailed, &err);
	assert_string_equal(err.message, "reading: column \"v\" holds nothing");
	assert_string_equal(err.detail, "It is row 3.");
	assert_int_equal(err.row, -1);
	fail_behind_a_frame(canceled, &err);
	assert_int_equal(err.status, PST_ERR_CANCELED);
	assert_string_equal(err.sqlstate, "57014");
}

#define CONFLICT                                                                                   \
	ABORTED("40001", "canceling statement due to conflict with recovery", .context = OUR_QUERY)

static void
a_conflict_on_a_standby_begins_an_assisted_read_anew(void **state)
{
	pst_error err;
	int64_t nrows;

	(void) state;
	begin_script(true);
	for (size_t cut = whole_copy.schema; cut < whole_copy.batch; cut += 50)
	{
		begin_script(true);
		add_line(whole_copy.data, cut);
		ADD(FAKE_LINE_DONE, CONFLICT);
		ADD(RAN("ROLLBACK"), MOMENT, SCANNING);
		add_line(whole_copy.data, whole_copy.len);
		ADD(SCANNED);
		assert_ok(play_script(&err, &nrows), &err);
		assert_int_equal(nrows, 2);
	}
	/* Not when rows were given out: they are of the old moment. */
	begin_script(true);
	add_line(whole_copy.data, whole_copy.batch);
	ADD(FAKE_LINE_DONE, CONFLICT);
	ADD(RAN("ROLLBACK"));
	assert_fails(play_script(&err, &nrows), PST_ERR_CONFLICT, &err);
	assert_true(err.retryable);
	assert_contains(err.hint, "hot_standby_feedback");
}

static void
begin_refused(const char *sqlstate, const char *message)
{
	begin_script(false);
	made.n--; /* the answer to COPY */
	ADD(ABORTED(sqlstate, message, .context = NULL));
	ADD(BACK);
	/* Whether the name means another table now. */
	if (strncmp(sqlstate, "58", 2) != 0)
		ADD(ASKED("*pg_identify_object", FAKE_ROWS("?column?:16\nt")));
}

static void
an_extension_that_went_away_is_named_only_when_it_did(void **state)
{
	static const char *const codes[] = {"3F000", "42883", "42501", "58P01"};
	pst_error err;
	int64_t nrows;

	(void) state;
	for (size_t i = 0; i < FAKE_LENGTH(codes); i++)
	{
		begin_refused(codes[i], "not to be had");
		ADD(TOLD("*'penstock' AND p.proname", FAKE_ROWS("case:25\n\\N")));
		assert_fails(play_script(&err, &nrows), PST_ERR_CONFLICT, &err);
		assert_true(err.retryable);
		assert_contains(err.message, "the extension penstock");
		assert_contains(err.hint, "Begin the read again");
		begin_refused(codes[i], "not to be had");
		ADD(TOLD("*'penstock' AND p.proname", FAKE_ROWS("case:25\nusable")));
		assert_true(play_script(&err, &nrows) < 0);
		assert_string_equal(err.message, "reading: not to be had");
		assert_string_equal(err.sqlstate, codes[i]);
		begin_refused(codes[i], "not to be had");
		ADD(FAKE_QUERY("*'penstock' AND p.proname"), LOST);
		assert_true(play_script(&err, &nrows) < 0);
		assert_string_equal(err.message, "reading: not to be had");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_failing_allocation_of_a_read_is_reported),
		cmocka_unit_test(every_failing_allocation_of_a_read_of_text_and_json_is_reported),
		cmocka_unit_test(every_failing_allocation_of_a_plan_by_blocks_is_reported),
		cmocka_unit_test(every_failing_allocation_of_a_plan_by_strides_is_reported),
		cmocka_unit_test(every_failing_allocation_of_a_query_is_reported),
		cmocka_unit_test(a_connection_that_is_lost_between_rows_is_an_error_not_an_end),
		cmocka_unit_test(an_end_without_its_trailer_is_an_error),
		cmocka_unit_test(an_error_after_the_last_row_takes_the_end_back),
		cmocka_unit_test(a_session_that_a_standby_ends_is_a_conflict_not_a_lost_connection),
		cmocka_unit_test(every_failing_allocation_of_an_assisted_read_is_reported),
		cmocka_unit_test(frames_in_pieces_of_any_size_are_read_whole),
		cmocka_unit_test(frames_that_are_cut_at_any_byte_are_an_error_not_an_end),
		cmocka_unit_test(a_schema_of_other_columns_is_refused_before_any_row),
		cmocka_unit_test(a_value_that_the_extension_refuses_is_told_as_a_plain_read_does),
		cmocka_unit_test(errors_of_the_query_do_not_show_our_own_statement),
		cmocka_unit_test(a_conflict_on_a_standby_begins_an_assisted_read_anew),
		cmocka_unit_test(an_extension_that_went_away_is_named_only_when_it_did),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
