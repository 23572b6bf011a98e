/* publication_test.c - publications on servers that cannot be had, when others are faster, without memory. */
#include "test.h"

#include "alloc.h"
#include "cdc/publication.h"
#include "play.h"

#define FOUND "oid|owner|all|ins|upd|del|trunc|root|ours\n"
#define TABLES "name|part|covered|restricted|nameless\n"
#define CREATE                                                                                     \
	"CREATE PUBLICATION \"p\" FOR TABLE ONLY public.a, ONLY public.b WITH (publish = 'insert, "    \
	"update, delete, truncate'); COMMENT ON PUBLICATION \"p\" IS 'made by penstock';"

typedef struct play
{
	const fake_pq_step *script;
	size_t n;
	bool changed;
} play;

static pst_status
ensure(void *ctx, pst_error *err)
{
	static const uint32_t tables[] = {16390, 16400};
	const psti_publication wanted = {"p", tables, 2, PSTI_PUBLISH_ALL};
	play_options given = {{"url", NULL}, {"postgresql://h/shop", NULL}};
	play *p = ctx;
	psti_options *options = NULL;
	psti_conn *conn = NULL;
	pst_status status;

	fake_pq_begin(p->script, p->n);
	status = psti_options_new(given.keys, given.values, PSTI_CDC, NULL, &options, err);
	if (status == PST_OK)
		status = psti_conn_open(options, NULL, NULL, &conn, err);
	if (status == PST_OK)
		status = psti_publication_ensure(conn, &wanted, &p->changed, err);
	psti_conn_close(conn);
	psti_options_free(options);
	if (status == PST_OK)
		fake_pq_end();
	else
		fake_pq_abandon();
	return status;
}

static const fake_pq_step made[] = {
	SESSION_OF("f"),
	ASKED("*pg_publication p", FAKE_ROWS("oid|owner|all|ins|upd|del|trunc|root|ours")),
	ASKED("*nameless AS (", FAKE_ROWS(TABLES "public.a|f|f|\\N|\\N\npublic.b|f|f|\\N|\\N")),
	RAN(CREATE),
};

/* The other one has made it with one table only. */
static const fake_pq_step raced[] = {
	SESSION_OF("f"),
	ASKED("*pg_publication p", FAKE_ROWS("oid|owner|all|ins|upd|del|trunc|root|ours")),
	ASKED("*nameless AS (", FAKE_ROWS(TABLES "public.a|f|f|\\N|\\N\npublic.b|f|f|\\N|\\N")),
	FAKE_QUERY(CREATE),
	FAKE_ERROR("42710", "publication \"p\" already exists"),
	FAKE_NO_RESULT,
	ASKED("*pg_publication p", FAKE_ROWS(FOUND "7|joe|f|t|t|t|f|f|t")),
	ASKED("*pg_publication_namespace", FAKE_ROWS("schemas\n{}")),
	ASKED("*nameless AS (", FAKE_ROWS(TABLES "public.a|f|t|\\N|\\N\npublic.b|f|f|\\N|\\N")),
	RAN("ALTER PUBLICATION \"p\" SET (publish = 'insert, update, delete, truncate'); "
		"SET LOCAL lock_timeout = '3s'; LOCK TABLE ONLY public.b IN SHARE ROW EXCLUSIVE MODE; "
		"ALTER PUBLICATION \"p\" ADD TABLE ONLY public.b;"),
};

static const fake_pq_step standby[] = {
	SESSION_OF("t"),
	ASKED("*pg_publication p", FAKE_ROWS("oid|owner|all|ins|upd|del|trunc|root|ours")),
	ASKED("*nameless AS (", FAKE_ROWS(TABLES "public.a|f|f|\\N|\\N\npublic.b|f|f|\\N|\\N")),
	FAKE_QUERY(CREATE),
	FAKE_ERROR("25006", "cannot execute CREATE PUBLICATION in a read-only transaction"),
	FAKE_NO_RESULT,
};

static void
one_that_came_between_is_completed(void **state)
{
	play p = {raced, FAKE_LENGTH(raced), false};
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(ensure(&p, &err), &err);
	assert_true(p.changed);
}

static void
a_standby_sends_to_the_primary(void **state)
{
	play p = {standby, FAKE_LENGTH(standby), true};
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_fails(ensure(&p, &err), PST_ERR_STATE, &err);
	assert_false(p.changed);
	assert_string_equal(err.hint, "On the primary: " CREATE);
}

static void
no_memory_is_told(void **state)
{
	play p = {made, FAKE_LENGTH(made), false};

	(void) state;
	assert_true(psti_test_alloc_sweep(ensure, &p) > 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_came_between_is_completed),
		cmocka_unit_test(a_standby_sends_to_the_primary),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
