/* complete_test.c - what the catalog adds to a relation of the stream. */
#include "test.h"

#include "alloc.h"
#include "cdc/complete.h"
#include "play.h"

#define QUERY_TABLE "\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|\\N|"
#define ANY_COLUMN "|0|f|f|f|f||100|t|0|t|t|t|"
#define GONE "99999|-1|\\N|\\N|\\N|\\N|f|???|||f|0|0|-1|\\N"
#define ANSWER "oid|schema|name|file|column|primary|missing\n"

static const fake_pq_step script[] = {
	SESSION_OF("f"),
	/* The first time all types are asked for … */
	ASKED("*format_type",
		  FAKE_ROWS(COLUMNS40 "\n" QUERY_TABLE ANY_COLUMN TEXT "\n" QUERY_TABLE ANY_COLUMN INT8
							  "\n" QUERY_TABLE ANY_COLUMN GONE)),
	ASKED("*relfilenode", FAKE_ROWS(ANSWER "16390|app|root|16500|id|t|f\n16390|app|root|16500|"
										   "later|f|t\n16390|app|root|16500|v|f|f")),
	/* … then only those that are not the server's own; and the table is gone. */
	ASKED("*format_type", FAKE_ROWS(COLUMNS40 "\n" QUERY_TABLE ANY_COLUMN GONE)),
	ASKED("*relfilenode", FAKE_ROWS("oid|schema|name|file|column|primary|missing")),
	/* Another one that is gone. */
	ASKED("*format_type", FAKE_ROWS(COLUMNS40 "\n" QUERY_TABLE ANY_COLUMN GONE)),
	ASKED("*relfilenode", FAKE_ROWS("oid|schema|name|file|column|primary|missing")),
};

static pst_status
describe(psti_stream_relation *relation, pst_error *err)
{
	static const struct
	{
		const char *name;
		Oid type;
	} columns[] = {{"v", 25}, {"id", 20}, {"mood", 99999}};

	memset(relation, 0, sizeof(*relation));
	relation->leaf = relation->oid = 16400;
	relation->schema = strdup("public");
	relation->name = strdup("leaf");
	relation->columns = calloc(3, sizeof(*relation->columns));
	if (relation->schema == NULL || relation->name == NULL || relation->columns == NULL)
		return psti_fail_nomem(err);
	for (; relation->ncolumns < 3; relation->ncolumns++)
	{
		psti_stream_column *column = &relation->columns[relation->ncolumns];

		column->name = strdup(columns[relation->ncolumns].name);
		if (column->name == NULL)
			return psti_fail_nomem(err);
		column->type.oid = column->type.base = columns[relation->ncolumns].type;
		column->type.typmod = column->type.base_typmod = -1;
	}
	return PST_OK;
}

typedef struct outcome
{
	psti_stream_relation relations[3];
	size_t order[3][3];
} outcome;

static pst_status
complete_all(void *ctx, pst_error *err)
{
	play_options given = {{"url", NULL}, {"postgresql://h/shop", NULL}};
	psti_options *options = NULL;
	psti_conn *conn = NULL;
	psti_completer *completer = NULL;
	outcome unused = {.order = {{0}}};
	outcome *out = ctx == NULL ? &unused : ctx;
	pst_status status;

	fake_pq_begin(script, FAKE_LENGTH(script));
	status = psti_options_new(given.keys, given.values, PSTI_CDC, NULL, &options, err);
	if (status == PST_OK)
		status = psti_conn_open(options, NULL, NULL, &conn, err);
	if (status == PST_OK)
		status = psti_completer_new(conn, true, &completer, err);
	for (size_t i = 0; status == PST_OK && i < 3; i++)
	{
		for (size_t k = 0; k < 3; k++)
			out->order[i][k] = k;
		status = describe(&out->relations[i], err);
		if (status == PST_OK)
		{
			if (i == 2)
				out->relations[i].leaf = out->relations[i].oid = 16402;
			status = psti_complete(completer, &out->relations[i], out->order[i], err);
		}
	}
	psti_completer_free(completer);
	psti_conn_close(conn);
	psti_options_free(options);
	if (status == PST_OK)
		fake_pq_end();
	else
		fake_pq_abandon();
	for (size_t i = 0; ctx == NULL && i < 3; i++)
		psti_stream_relation_clear(&unused.relations[i]);
	return status;
}

static void
the_root_gives_name_and_order(void **state)
{
	outcome out = {.order = {{0}}};
	const psti_stream_relation *r = &out.relations[0];
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(complete_all(&out, &err), &err);
	assert_int_equal(r->oid, 16390);
	assert_int_equal(r->leaf, 16400);
	assert_int_equal(r->filenode, 16500);
	assert_string_equal(r->schema, "app");
	assert_string_equal(r->name, "root");
	assert_string_equal(r->columns[0].name, "id");
	/* The root has no mood, the relation nothing that is there later: it may be that one. */
	assert_string_equal(r->columns[1].name, "mood");
	assert_string_equal(r->columns[2].name, "v");
	assert_int_equal(out.order[0][0], 1);
	assert_int_equal(out.order[0][1], 2);
	assert_int_equal(out.order[0][2], 0);
	assert_true(r->columns[0].primary);
	assert_false(r->columns[1].primary);
	assert_string_equal(r->columns[0].type.name, "bigint");
	assert_string_equal(r->columns[2].type.name, "text");
	assert_string_equal(r->columns[1].type.name, "");
	psti_stream_relation_clear(&out.relations[0]);
	psti_stream_relation_clear(&out.relations[1]);
	psti_stream_relation_clear(&out.relations[2]);
}

/* What it had may still be in the stream. */
static void
what_is_gone_stays_as_it_was(void **state)
{
	outcome out = {.order = {{0}}};
	const psti_stream_relation *r = &out.relations[1];
	pst_error err;

	(void) state;
	psti_enter(&err);
	assert_ok(complete_all(&out, &err), &err);
	assert_int_equal(r->oid, 16390);
	assert_string_equal(r->name, "root");
	assert_string_equal(r->columns[0].type.name, "bigint");
	assert_true(r->columns[0].primary);
	assert_int_equal(out.order[1][0], 1);
	/* One that was never seen has its own name. */
	r = &out.relations[2];
	assert_int_equal(r->oid, 16402);
	assert_string_equal(r->name, "leaf");
	assert_string_equal(r->columns[0].name, "v");
	assert_string_equal(r->columns[1].type.name, "bigint");
	assert_string_equal(r->columns[2].type.name, "");
	psti_stream_relation_clear(&out.relations[0]);
	psti_stream_relation_clear(&out.relations[1]);
	psti_stream_relation_clear(&out.relations[2]);
}

static void
no_memory_is_told(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(complete_all, NULL) > 30);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_gives_name_and_order),
		cmocka_unit_test(what_is_gone_stays_as_it_was),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
