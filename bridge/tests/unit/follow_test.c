/* follow_test.c - the stream of a capture: how it is started, and how its messages move the position. */
#include "test.h"

#include "cdc/capture.h"
#include "play.h"
#include "records.h"

#define IDENTITY (CHANGE_COLUMN_IDENTITY | CHANGE_COLUMN_PRIMARY)
#define STEPS_MAX 48

static const records_column columns[] = {{"id", CHANGE_BINARY, IDENTITY, 23, 0, "integer"},
										 {"note", CHANGE_BINARY, 0, 25, 0, "text"}};
static const records_table orders = {1, 16384, 16384, 'd', "orders", columns, 2};

/* ---- A stream of what a test says ---- */

typedef struct fixture
{
	fake_pq_step script[STEPS_MAX];
	size_t nsteps;
	bool paused;
	bool ends;				  /* the last step is for teardown */
	psti_buf held[STEPS_MAX]; /* the bytes that steps give */
	pst_cdc *cdc;
	pst_event event;
	pst_error err;
} fixture;

static void
add(fixture *f, fake_pq_step step)
{
	assert_true(f->nsteps < STEPS_MAX);
	step.stalled = f->paused;
	f->paused = false;
	f->script[f->nsteps++] = step;
}

static void
add_session(fixture *f)
{
	static const fake_pq_step session[] = {SESSION_OF("f")};

	for (size_t i = 0; i < FAKE_LENGTH(session); i++)
		add(f, session[i]);
}

static void
add_bytes(fixture *f, psti_buf bytes)
{
	assert_false(bytes.failed);
	f->held[f->nsteps] = bytes;
	add(f, (fake_pq_step){.call = "PQgetCopyData", .data = bytes.data, .data_len = bytes.len});
}

/* A message of the plugin, which is freed, in one of the stream. */
static void
add_data(fixture *f, uint64_t lsn, uint64_t end, psti_buf m)
{
	psti_buf bytes = PSTI_BUF_INIT;

	psti_buf_putc(&bytes, 'w');
	psti_buf_int64(&bytes, (int64_t) lsn);
	psti_buf_int64(&bytes, (int64_t) end);
	psti_buf_int64(&bytes, 0);
	psti_buf_append(&bytes, m.data, m.len);
	psti_buf_free(&m);
	add_bytes(f, bytes);
}

static void
add_alive(fixture *f, uint64_t lsn, bool reply)
{
	psti_buf bytes = PSTI_BUF_INIT;

	psti_buf_putc(&bytes, 'k');
	psti_buf_int64(&bytes, (int64_t) lsn);
	psti_buf_int64(&bytes, 0);
	psti_buf_putc(&bytes, reply);
	add_bytes(f, bytes);
	if (reply)
		add(f, (fake_pq_step) CALL("PQputCopyData"));
}

/* Nothing has come, however long is waited; the next step is for the next call. */
static void
add_pause(fixture *f)
{
	add(f, (fake_pq_step) FAKE_COPY_LATER);
	f->paused = true;
}

/* Nothing comes any more; n calls are told so. */
static void
add_end(fixture *f, int n)
{
	while (n-- > 0)
		add_pause(f);
	add(f, (fake_pq_step) CALL("PQputCopyData"));
	f->ends = true;
}

static int
setup(void **state)
{
	fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	psti_enter(&f->err);
	add_session(f);
	add_session(f);
	add(f,
		(fake_pq_step) FAKE_QUERY("START_REPLICATION SLOT \"s\" LOGICAL 0/1000 (\"version\" '1', "
								  "\"include\" 'public.*', \"origin\" 'any', \"partitions\" "
								  "'root')"));
	add(f, (fake_pq_step) FAKE_RESULT(PGRES_COPY_BOTH));
	add(f, (fake_pq_step) CALL("PQputCopyData"));
	*state = f;
	return 0;
}

/* Opens it when the script is whole. */
static pst_cdc *
begin(fixture *f)
{
	const psti_rows_limits limits = {100, 1 << 20, PSTI_SPECIAL_ERROR, 0};
	play_options given = {{"url", "table-name", NULL}, {"postgresql://h/shop", "public.*", NULL}};
	pst_cdc *cdc = calloc(1, sizeof(*cdc));
	psti_place *place;
	pst_error *err = &f->err;

	assert_non_null(cdc);
	f->cdc = cdc;
	fake_pq_begin(f->script, f->nsteps);
	assert_ok(psti_options_new(given.keys, given.values, PSTI_CDC, NULL, &cdc->options, err), err);
	cdc->rules = (psti_column_rules){
		.options = cdc->options, .server_version = 150000, .integer_datetimes = true};
	assert_ok(psti_scope_init(&cdc->scope, cdc->options, &cdc->hooks, false, err), err);
	assert_ok(psti_conn_open(cdc->options, NULL, NULL, &cdc->conn, err), err);
	assert_ok(psti_conn_open(cdc->options, NULL, NULL, &cdc->stream, err), err);
	assert_ok(psti_records_new(&cdc->decoder, err), err);
	assert_ok(psti_rows_new(&limits, &cdc->rows, err), err);
	assert_ok(
		psti_position_parse("pst1:{\"slot\":\"s\",\"plugin\":\"penstock\",\"system\":\"7\","
							"\"database\":\"shop\",\"options\":\"f\",\"timeline\":1,\"stage\":"
							"\"stream\",\"serial\":\"1\",\"safe\":\"0/1000\"}",
							&cdc->at, err),
		err);
	assert_ok(psti_position_add(&cdc->at, 16384, &place, err), err);
	place->parts[0].state = PSTI_PART_READ;
	cdc->step = PSTI_STEP_STREAM;
	cdc->watched_at = psti_now_ms();
	assert_ok(psti_follow_start(cdc, err), err);
	assert_true(cdc->streaming);
	return cdc;
}

static int
teardown(void **state)
{
	fixture *f = *state;

	if (f->ends)
		assert_ok(psti_follow_tell(f->cdc, false, &f->err), &f->err);
	f->cdc->streaming = false; /* the script has no end of the stream */
	(void) pst_cdc_close(f->cdc, false, NULL);
	fake_pq_end();
	for (size_t i = 0; i < f->nsteps; i++)
		psti_buf_free(&f->held[i]);
	free(f);
	return 0;
}

static pst_status
next(fixture *f, int timeout_ms)
{
	return psti_follow_next(f->cdc, timeout_ms, &f->event, &f->err);
}

static void
gives(fixture *f, pst_event_kind kind)
{
	assert_ok(next(f, -1), &f->err);
	assert_int_equal(f->event.kind, kind);
}

static void
gives_rows(fixture *f, int64_t nrows)
{
	gives(f, PST_EVENT_ROWS);
	assert_int_equal(f->event.rows.array.length, nrows);
	pst_event_release(&f->event);
}

static psti_buf
transaction(uint64_t commit_lsn)
{
	psti_buf m = records_begin();

	records_transaction(&m, 7, commit_lsn, "");
	records_relation(&m, &orders);
	records_row(&m, CHANGE_INSERT, 1, 0, NULL, "#1|a");
	return m;
}

static psti_buf
rest(uint64_t end_lsn)
{
	psti_buf m = records_begin();

	records_row(&m, CHANGE_INSERT, 1, 0, NULL, "#2|b");
	records_commit(&m, end_lsn, 2);
	return m;
}

/* ---- Tests ---- */

static void
a_sign_of_life_moves_the_position(void **state)
{
	fixture *f = *state;
	pst_cdc *cdc;

	add_alive(f, 0x2000, false);
	add_alive(f, 0x1800, true); /* an older one does not take it back */
	add_end(f, 2);
	cdc = begin(f);
	gives(f, PST_EVENT_PROGRESS);
	assert_true(cdc->at.safe_lsn == 0x2000 && cdc->server_end == 0x2000);
	assert_int_equal(next(f, 0), PST_AGAIN);
	assert_true(cdc->at.safe_lsn == 0x2000);
	assert_int_equal(next(f, 0), PST_AGAIN);
}

/* The server is further, but what it has told of is not whole. */
static void
within_a_transaction_it_does_not(void **state)
{
	fixture *f = *state;
	pst_cdc *cdc;

	add_data(f, 0x1100, 0x5000, transaction(0x3000));
	add_alive(f, 0x4000, false);
	add_data(f, 0x1200, 0x5000, rest(0x3030));
	add_end(f, 2);
	cdc = begin(f);
	gives(f, PST_EVENT_SCHEMA);
	gives_rows(f, 2);
	assert_true(cdc->at.safe_lsn == 0x3030 && cdc->at.commit_lsn == 0);
	assert_true(cdc->server_end == 0x5000 && cdc->received == 0x4000);
	assert_int_equal(next(f, 0), PST_AGAIN);
}

static void
rows_do_not_wait_for_the_end_of_their_transaction(void **state)
{
	fixture *f = *state;
	pst_cdc *cdc;

	add_data(f, 0x1100, 0x5000, transaction(0x3000));
	add_pause(f);
	add_data(f, 0x1200, 0x5000, rest(0x3030));
	add_end(f, 2);
	cdc = begin(f);
	gives(f, PST_EVENT_SCHEMA);
	gives_rows(f, 1);
	assert_true(cdc->at.safe_lsn == 0x1000 && cdc->at.commit_lsn == 0x3000 && cdc->at.number == 1);
	gives_rows(f, 1);
	assert_true(cdc->at.safe_lsn == 0x3030);
	assert_int_equal(next(f, 0), PST_AGAIN);
}

static void
a_copy_is_complete_when_the_stream_has_come_so_far(void **state)
{
	fixture *f = *state;
	pst_cdc *cdc;

	add_alive(f, 0x1fff, false);
	add_pause(f);
	add_data(f, 0x1100, 0x5000, transaction(0x1fff));
	add_data(f, 0x1200, 0x5000, rest(0x2000));
	add_end(f, 2);
	cdc = begin(f);
	cdc->at.stage = PSTI_STAGE_SNAPSHOT;
	cdc->at.complete_lsn = 0x2000;
	gives(f, PST_EVENT_PROGRESS);
	assert_int_equal(next(f, 0), PST_AGAIN);
	gives(f, PST_EVENT_SCHEMA);
	gives_rows(f, 2);
	gives(f, PST_EVENT_SNAPSHOT_COMPLETE);
	assert_int_equal(cdc->at.stage, PSTI_STAGE_STREAM);
	assert_int_equal(next(f, 0), PST_AGAIN);
}

static void
the_end_is_reached_without_a_transaction_too(void **state)
{
	fixture *f = *state;
	pst_cdc *cdc;

	add_alive(f, 0x2000, false);
	cdc = begin(f);
	cdc->stop_lsn = 0x1800;
	gives(f, PST_EVENT_PROGRESS);
	assert_int_equal(cdc->step, PSTI_STEP_END);
	assert_true(cdc->at.safe_lsn == 0x2000);
	assert_int_equal(next(f, -1), PST_AGAIN);
}

static void
a_server_that_ends_the_stream_may_be_asked_again(void **state)
{
	fixture *f = *state;

	add(f, (fake_pq_step) FAKE_COPY_DONE);
	add(f, (fake_pq_step) FAKE_COMMAND("COPY 0"));
	add(f, (fake_pq_step) FAKE_NO_RESULT);
	(void) begin(f);
	assert_fails(next(f, -1), PST_ERR_CONNECTION, &f->err);
	assert_true(f->err.retryable);
}

static void
a_lost_connection_may_be_made_again(void **state)
{
	fixture *f = *state;

	add(f, (fake_pq_step){.call = "PQgetCopyData",
						  .fails = "server closed the connection unexpectedly\n",
						  .lost = true,
						  .value = -2,
						  .has_value = true});
	(void) begin(f);
	assert_fails(next(f, -1), PST_ERR_CONNECTION, &f->err);
	assert_true(f->err.retryable);
}

static void
bytes_that_are_no_message_are_refused(void **state)
{
	fixture *f = *state;
	psti_buf bytes = PSTI_BUF_INIT;

	psti_buf_puts(&bytes, "what is this");
	add_bytes(f, bytes);
	(void) begin(f);
	assert_fails(next(f, -1), PST_ERR_PROTOCOL, &f->err);
}

static void
broken_records_are_refused(void **state)
{
	fixture *f = *state;
	psti_buf m = transaction(0x3000);

	m.len--;
	add_data(f, 0x1100, 0x5000, m);
	(void) begin(f);
	gives(f, PST_EVENT_SCHEMA);
	assert_fails(next(f, -1), PST_ERR_PROTOCOL, &f->err);
}

/* The caller's structure may be of a newer header: then it is longer. None is shorter than the first. */
static void
an_event_is_filled_as_far_as_it_goes(void **state)
{
	static const size_t refused[] = {0, 1, sizeof(size_t), offsetof(pst_event, database)};
	fixture *f = *state;
	struct
	{
		pst_event event;
		unsigned char later[16];
	} given;
	pst_cdc *cdc;

	add_alive(f, 0x2000, false);
	cdc = begin(f);
	memset(&given, 0x55, sizeof(given));
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
	{
		given.event.struct_size = refused[i];
		assert_fails(pst_cdc_next(cdc, 0, &given.event, &f->err), PST_ERR_INVALID, &f->err);
		assert_contains(f->err.message, "struct_size");
		assert_false(cdc->failed);
	}
	given.event.struct_size = sizeof(given);
	assert_ok(pst_cdc_next(cdc, -1, &given.event, &f->err), &f->err);
	assert_int_equal(given.event.kind, PST_EVENT_PROGRESS);
	assert_int_equal(given.event.struct_size, sizeof(given));
	assert_int_equal(given.later[0], 0x55);
}

#define FOLLOW_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		FOLLOW_TEST(a_sign_of_life_moves_the_position),
		FOLLOW_TEST(within_a_transaction_it_does_not),
		FOLLOW_TEST(rows_do_not_wait_for_the_end_of_their_transaction),
		FOLLOW_TEST(a_copy_is_complete_when_the_stream_has_come_so_far),
		FOLLOW_TEST(the_end_is_reached_without_a_transaction_too),
		FOLLOW_TEST(a_server_that_ends_the_stream_may_be_asked_again),
		FOLLOW_TEST(a_lost_connection_may_be_made_again),
		FOLLOW_TEST(bytes_that_are_no_message_are_refused),
		FOLLOW_TEST(broken_records_are_refused),
		FOLLOW_TEST(an_event_is_filled_as_far_as_it_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
