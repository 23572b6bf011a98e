/* source_test.c - the source against a scripted server: short of memory, lost, answered wrongly. */
#include "test.h"

#include <errno.h>

#include "alloc.h"
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
