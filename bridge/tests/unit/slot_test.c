/* slot_test.c - slots: what is asked of the server, what its answers come to, and messages of the stream. */
#include "test.h"

#include "alloc.h"
#include "bytes.h"
#include "cdc/slot.h"
#include "play.h"

/* What is done with a session; it returns the status. */
typedef pst_status (*work)(psti_conn *conn, pst_error *err);

static pst_status
run(const fake_pq_step *script, size_t nsteps, work fn, pst_error *err)
{
	play_options given = {{"url", NULL}, {"postgresql://h/shop", NULL}};
	psti_options *options = NULL;
	psti_conn *conn = NULL;
	pst_status status;

	psti_enter(err);
	fake_pq_begin(script, nsteps);
	status = psti_options_new(given.keys, given.values, PSTI_CDC, NULL, &options, err);
	if (status == PST_OK)
		status = psti_conn_open(options, NULL, NULL, &conn, err);
	if (status == PST_OK)
		status = fn(conn, err);
	psti_conn_close(conn);
	psti_options_free(options);
	if (status == PST_ERR_NOMEM)
		fake_pq_abandon();
	else
		fake_pq_end();
	return status;
}

#define RUN(script, fn, err) run(script, FAKE_LENGTH(script), fn, err)

/* ---- Messages of the stream ---- */

static void
a_message_is_data_or_a_sign_of_life(void **state)
{
	char data[64] = {'w'};
	psti_stream_message m;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	psti_put64(data + 1, UINT64_C(0x1122334455667788));
	psti_put64(data + 9, 7);
	data[25] = 'x';
	assert_ok(psti_stream_read(data, 26, &m, &err), &err);
	assert_int_equal(m.kind, PSTI_STREAM_DATA);
	assert_true(m.lsn == UINT64_C(0x1122334455667788) && m.end == 7 && !m.reply);
	assert_ptr_equal(m.data, data + 25);
	assert_int_equal(m.nbytes, 1);
	assert_ok(psti_stream_read(data, 25, &m, &err), &err);
	assert_int_equal(m.nbytes, 0);
	data[0] = 'k';
	assert_ok(psti_stream_read(data, 18, &m, &err), &err);
	assert_int_equal(m.kind, PSTI_STREAM_ALIVE);
	assert_true(m.lsn == UINT64_C(0x1122334455667788) && !m.reply && m.nbytes == 0);
	data[17] = 1;
	assert_ok(psti_stream_read(data, 18, &m, &err), &err);
	assert_true(m.reply);
}

static void
other_messages_are_refused(void **state)
{
	char data[64] = {0};
	psti_stream_message m;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	for (int kind = 0; kind < 256; kind++)
		for (size_t n = 0; n < sizeof(data); n++)
		{
			data[0] = (char) kind;
			if ((kind == 'w' && n >= 25) || (kind == 'k' && n >= 18))
				continue;
			assert_fails(psti_stream_read(data, n, &m, &err), PST_ERR_PROTOCOL, &err);
		}
}

/* ---- What there is ---- */

#define FOUND(row)                                                                                 \
	{                                                                                              \
		SESSION_OF("f"),                                                                           \
			ASKED("*pg_replication_slots",                                                         \
				  FAKE_ROWS(                                                                       \
					  "plugin|database|type|active|pid|temporary|lsn|lost|restart|began\n" row))   \
	}

static psti_slot seen;

static pst_status
find(psti_conn *conn, pst_error *err)
{
	return psti_slot_find(conn, "s", &seen, err);
}

static void
a_slot_is_as_the_server_tells(void **state)
{
	static const fake_pq_step used[] =
		FOUND("penstock|shop|logical|t|4711|f|16/B374D848|wal_removed|16/A0|1700000000000001");
	static const fake_pq_step physical[] = FOUND("\\N|\\N|physical|f|\\N|t|\\N||\\N|\\N");
	static const fake_pq_step unknown[] =
		FOUND("pgoutput|shop|logical|f|\\N|f|0/5|a_new_reason|0/4|\\N");
	static const fake_pq_step none[] = {
		SESSION_OF("f"),
		ASKED("*pg_replication_slots",
			  FAKE_ROWS("plugin|database|type|active|pid|temporary|lsn|lost|restart|began"))};
	pst_error err;

	(void) state;
	assert_ok(RUN(used, find, &err), &err);
	assert_true(seen.there && seen.logical && seen.active && !seen.temporary && seen.pid == 4711);
	assert_string_equal(seen.plugin, "penstock");
	assert_string_equal(seen.database, "shop");
	assert_contains(seen.lost, "max_slot_wal_keep_size");
	assert_true(seen.confirmed_lsn == UINT64_C(0x16B374D848));
	assert_true(seen.restart_lsn == UINT64_C(0x16000000A0) && seen.started == 1700000000000001);
	assert_ok(RUN(physical, find, &err), &err);
	assert_true(seen.there && !seen.logical && !seen.active && seen.temporary && seen.pid == 0);
	assert_string_equal(seen.lost, "");
	assert_true(seen.confirmed_lsn == 0);
	assert_ok(RUN(unknown, find, &err), &err);
	assert_string_equal(seen.lost, "a_new_reason");
	assert_ok(RUN(none, find, &err), &err);
	assert_false(seen.there);
}

static void
a_slot_is_refused_for_what_was_lost(void **state)
{
	const psti_position p = {.slot = (char *) "s",
							 .plugin = (char *) "penstock",
							 .database = (char *) "shop",
							 .safe_lsn = 0x100};
	const psti_slot good = {.there = true,
							.logical = true,
							.plugin = "penstock",
							.database = "shop",
							.confirmed_lsn = 0x100};
	psti_slot slot = good;
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_slot_check(&slot, &p, 0, &err), &err);
	slot.confirmed_lsn = 0x50;
	assert_ok(psti_slot_check(&slot, &p, 0, &err), &err);
	slot.confirmed_lsn = 0x101;
	assert_fails(psti_slot_check(&slot, &p, 3, &err), PST_ERR_STATE, &err);
	assert_contains(err.message, "0/101");
	assert_contains(err.message, "0/100");
	assert_contains(err.hint, "scan.lsn-commit.checkpoints-num-delay");
	slot = good;
	slot.there = false;
	assert_fails(psti_slot_check(&slot, &p, 0, &err), PST_ERR_NOT_FOUND, &err);
	assert_contains(err.detail, "0/100");
	assert_contains(err.hint, "Begin anew");
	for (int i = 0; i < 4; i++)
	{
		slot = good;
		slot.logical = i != 0;
		if (i == 1)
			strcpy(slot.plugin, "pgoutput");
		if (i == 2)
			strcpy(slot.database, "other");
		if (i == 3)
			strcpy(slot.lost, "of a reason");
		assert_fails(psti_slot_check(&slot, &p, 0, &err), PST_ERR_STATE, &err);
		assert_contains(err.message, i == 3 ? "is lost: of a reason" : "not the one");
		assert_contains(err.hint, "Begin anew");
	}
}

/* What nobody uses, and was made since, or what its maker still makes. */
static void
what_is_left_half_made_is_known_again(void **state)
{
	static const psti_position p = {.stage = PSTI_STAGE_CREATING,
									.slot = (char *) "s",
									.plugin = (char *) "penstock",
									.database = (char *) "shop",
									.maker = 4711,
									.made = 1700000000000001,
									.safe_lsn = 0x100};
	static const psti_slot left = {.there = true,
								   .logical = true,
								   .plugin = "penstock",
								   .database = "shop",
								   .restart_lsn = 0x100,
								   .confirmed_lsn = 0x200};
	psti_slot slot = {.there = false};
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_ok(psti_slot_check_half_made(&slot, &p, &err), &err);
	assert_ok(psti_slot_check_half_made(&left, &p, &err), &err);
	slot = left;
	slot.active = true;
	slot.pid = 4711;
	slot.started = 1700000000000001;
	slot.restart_lsn = slot.confirmed_lsn = 0;
	assert_ok(psti_slot_check_half_made(&slot, &p, &err), &err);
	for (int i = 0; i < 7; i++)
	{
		slot = left;
		slot.active = i < 2;
		slot.pid = i == 0 ? 4712 : 4711;
		slot.started = i == 0 ? 1700000000000001 : 1700000000000002;
		if (i == 2)
			slot.restart_lsn = 0xFF;
		if (i == 3)
			strcpy(slot.plugin, "pgoutput");
		if (i == 4)
			strcpy(slot.database, "other");
		slot.logical = i != 5;
		slot.temporary = i == 6;
		assert_fails(psti_slot_check_half_made(&slot, &p, &err), PST_ERR_EXISTS, &err);
		assert_contains(err.message, "not the one that this capture was about to make");
		assert_contains(err.detail, i < 2 ? "in use" : i == 2 ? "before" : "another kind");
		assert_contains(err.hint, "--drop s");
	}
}

/* ---- Who the server is ---- */

static uint64_t lsn;
static uint32_t timeline;
static char system_text[32];

static pst_status
identify(psti_conn *conn, pst_error *err)
{
	return psti_slot_identify(conn, system_text, sizeof(system_text), &timeline, &lsn, err);
}

#define IDENTIFIED(answer)                                                                         \
	{                                                                                              \
		SESSION_OF("f"), TOLD("IDENTIFY_SYSTEM", FAKE_ROWS(answer))                                \
	}

static void
a_server_says_who_it_is(void **state)
{
	static const fake_pq_step good[] =
		IDENTIFIED("systemid|timeline|xlogpos|dbname\n7301234567890123456|4294967295|1/2|shop");
	static const fake_pq_step broken[][7] = {
		IDENTIFIED("systemid|timeline|xlogpos|dbname\n7|1|none|shop"),
		IDENTIFIED("systemid|timeline\n7|1"), IDENTIFIED("systemid|timeline|xlogpos|dbname")};
	pst_error err;

	(void) state;
	assert_ok(RUN(good, identify, &err), &err);
	assert_string_equal(system_text, "7301234567890123456");
	assert_true(timeline == UINT32_MAX && lsn == UINT64_C(0x100000002));
	for (int i = 0; i < 3; i++)
		assert_fails(run(broken[i], FAKE_LENGTH(good), identify, &err), PST_ERR_PROTOCOL, &err);
}

static pst_status
left_2(psti_conn *conn, pst_error *err)
{
	return psti_slot_left(conn, 4, 2, &lsn, err);
}

static void
a_history_says_where_a_timeline_was_left(void **state)
{
	static const fake_pq_step line[] = {
		SESSION_OF("f"),
		TOLD("TIMELINE_HISTORY 4", FAKE_ROWS("filename|content\n4.history|2\t1/200\tno target"))};
	static const fake_pq_step other[] = {
		SESSION_OF("f"),
		TOLD("TIMELINE_HISTORY 4", FAKE_ROWS("filename|content\n4.history|22\t1/200\tno target"))};
	static const fake_pq_step none[] = {
		SESSION_OF("f"), TOLD("TIMELINE_HISTORY 4", FAKE_ROWS("filename|content\n4.history|"))};
	pst_error err;

	(void) state;
	assert_ok(RUN(line, left_2, &err), &err);
	assert_true(lsn == UINT64_C(0x100000200));
	assert_fails(RUN(other, left_2, &err), PST_ERR_STATE, &err);
	assert_contains(err.message, "timeline 2");
	assert_contains(err.message, "timeline 4");
	assert_fails(RUN(none, left_2, &err), PST_ERR_STATE, &err);
	assert_true(lsn == 0);
}

/* ---- Making and starting ---- */

static psti_slot_recipe recipe;
static char *exported;

static pst_status
create(psti_conn *conn, pst_error *err)
{
	pst_status status = psti_slot_create(conn, &recipe, err);

	exported = NULL;
	return status == PST_OK ? psti_slot_created(conn, &recipe, -1, &lsn, &exported, err) : status;
}

#define CREATED(sql)                                                                               \
	{                                                                                              \
		SESSION_OF("f"),                                                                           \
			TOLD(sql, FAKE_ROWS("slot_name|consistent_point|snapshot_name|output_plugin\n"         \
								"s|0/ABC|00000003-1|penstock"))                                    \
	}

static void
a_slot_is_made_as_it_is_wanted(void **state)
{
	static const fake_pq_step plain[] =
		CREATED("CREATE_REPLICATION_SLOT \"s\" LOGICAL \"penstock\" NOEXPORT_SNAPSHOT");
	static const fake_pq_step temporary[] =
		CREATED("CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL \"penstock\" EXPORT_SNAPSHOT");
	static const fake_pq_step failover[] = CREATED(
		"CREATE_REPLICATION_SLOT \"s\" LOGICAL \"penstock\" (SNAPSHOT 'export', FAILOVER true)");
	pst_error err;

	(void) state;
	recipe = (psti_slot_recipe){"s", "penstock", false, false, false};
	assert_ok(RUN(plain, create, &err), &err);
	assert_true(lsn == 0xabc);
	assert_null(exported);
	recipe.temporary = recipe.snapshot = true;
	assert_ok(RUN(temporary, create, &err), &err);
	assert_string_equal(exported, "00000003-1");
	free(exported);
	recipe.temporary = false;
	recipe.failover = true;
	assert_ok(RUN(failover, create, &err), &err);
	assert_string_equal(exported, "00000003-1");
	free(exported);
}

#define REFUSED(state)                                                                             \
	{                                                                                              \
		SESSION_OF("f"), TOLD("*CREATE_REPLICATION_SLOT", FAKE_ERROR(state, "no"))                 \
	}

static void
a_slot_that_cannot_be_made_says_the_remedy(void **state)
{
	static const struct
	{
		fake_pq_step script[7];
		const char *hint;
	} refusals[] = {
		{REFUSED("42710"), "--drop s"},
		{REFUSED("53400"), "max_replication_slots"},
		{REFUSED("58P01"), "decoding.plugin.name"},
		{REFUSED("22023"), "output_plugin_libraries"},
		{REFUSED("55P03"), "cdc.wait-timeout"},
	};
	pst_error err;

	(void) state;
	recipe = (psti_slot_recipe){"s", "penstock", false, false, true};
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
	{
		assert_true(run(refusals[i].script, 7, create, &err) < 0);
		assert_contains(err.hint, refusals[i].hint);
		assert_null(exported);
	}
}

static pst_status
start(psti_conn *conn, pst_error *err)
{
	static const psti_slot_option options[] = {
		{"version", "1"}, {"include", "it's.\\, \"x\""}, {"exclude", NULL}, {"odd\"name", ""}};
	pst_status status = psti_slot_start(conn, "s", UINT64_C(0x1000000ff), options, 4, err);

	return status == PST_OK ? psti_stream_tell(conn, 0x1234, true, err) : status;
}

static pst_status
start_bare(psti_conn *conn, pst_error *err)
{
	static const psti_slot_option options[] = {{"exclude", NULL}};

	return psti_slot_start(conn, "s", 0, options, 1, err);
}

static void
a_stream_is_started_with_the_plugins_options(void **state)
{
	static const fake_pq_step script[] = {
		SESSION_OF("f"),
		FAKE_QUERY("START_REPLICATION SLOT \"s\" LOGICAL 1/FF (\"version\" '1', \"include\" "
				   "'it''s.\\, \"x\"', \"odd\"\"name\" '')"),
		FAKE_RESULT(PGRES_COPY_BOTH), CALL("PQputCopyData")};
	static const fake_pq_step bare[] = {SESSION_OF("f"),
										FAKE_QUERY("START_REPLICATION SLOT \"s\" LOGICAL 0/0"),
										FAKE_RESULT(PGRES_COPY_BOTH)};
	pst_error err;

	(void) state;
	assert_ok(RUN(script, start, &err), &err);
	assert_ok(RUN(bare, start_bare, &err), &err);
}

static pst_status
drop(psti_conn *conn, pst_error *err)
{
	return psti_slot_drop(conn, "s", 0, err);
}

static void
a_slot_that_is_gone_is_dropped(void **state)
{
	static const fake_pq_step busy[] = {
		SESSION_OF("f"), ASKED("*pg_drop_replication_slot", FAKE_ERROR("55006", "is active")),
		ASKED("*pg_drop_replication_slot", FAKE_ROWS("pg_drop_replication_slot\n"))};
	static const fake_pq_step gone[] = {
		SESSION_OF("f"), ASKED("*pg_drop_replication_slot", FAKE_ERROR("42704", "is not there"))};
	static const fake_pq_step denied[] = {
		SESSION_OF("f"), ASKED("*pg_drop_replication_slot", FAKE_ERROR("42501", "may not"))};
	pst_error err;

	(void) state;
	assert_ok(RUN(busy, drop, &err), &err);
	assert_ok(RUN(gone, drop, &err), &err);
	assert_true(RUN(denied, drop, &err) < 0);
}

/* ---- Without memory ---- */

static pst_status
create_and_drop(void *ctx, pst_error *err)
{
	static const fake_pq_step script[] =
		CREATED("CREATE_REPLICATION_SLOT \"s\" LOGICAL \"penstock\" EXPORT_SNAPSHOT");
	pst_status status = RUN(script, create, err);

	(void) ctx;
	free(exported);
	return status;
}

static void
want_of_memory_is_told_and_leaks_nothing(void **state)
{
	(void) state;
	recipe = (psti_slot_recipe){"s", "penstock", false, false, true};
	assert_true(psti_test_alloc_sweep(create_and_drop, NULL) > 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_data_or_a_sign_of_life),
		cmocka_unit_test(other_messages_are_refused),
		cmocka_unit_test(a_slot_is_as_the_server_tells),
		cmocka_unit_test(a_slot_is_refused_for_what_was_lost),
		cmocka_unit_test(what_is_left_half_made_is_known_again),
		cmocka_unit_test(a_server_says_who_it_is),
		cmocka_unit_test(a_history_says_where_a_timeline_was_left),
		cmocka_unit_test(a_slot_is_made_as_it_is_wanted),
		cmocka_unit_test(a_slot_that_cannot_be_made_says_the_remedy),
		cmocka_unit_test(a_stream_is_started_with_the_plugins_options),
		cmocka_unit_test(a_slot_that_is_gone_is_dropped),
		cmocka_unit_test(want_of_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
