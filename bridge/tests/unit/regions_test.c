/*
 * regions_test.c - regions that are told to be done after a restart: of the plan that the position is of, and of
 * no other one. And what is no event to be filled.
 */
#include "test.h"

#include "alloc.h"
#include "cdc/capture.h"
#include "cdc/region_split.h"

#define READ_OF(oid)                                                                               \
	"pst1:{\"kind\":\"all\",\"snapshot\":\"00000003-0000001B-1\",\"system\":\"7\",\"started\":"    \
	"\"now\",\"database\":\"d\",\"schemas\":\"\",\"options\":\"\",\"relation\":" oid "}"
#define READ READ_OF("16384")

/* t (16384) in three regions, the second one read; w (16400) whole; s (16500), under the slot's own snapshot. */
static pst_cdc *
make_capture(void)
{
	pst_cdc *cdc = calloc(1, sizeof(*cdc));
	psti_snapshot snapshot;
	pst_error err = PST_ERROR_INIT;
	psti_place *place;
	size_t view;

	assert_non_null(cdc);
	cdc->at = (psti_position){.system = strdup("7"),
							  .database = strdup("d"),
							  .slot = strdup("s"),
							  .timeline = 2,
							  .safe_lsn = 0x100,
							  .stage = PSTI_STAGE_SNAPSHOT};
	assert_ok(psti_snapshot_parse("725:727:725", &snapshot, &err), &err);
	assert_ok(psti_position_see(&cdc->at, &snapshot, 0x200, &view, &err), &err);
	assert_ok(psti_position_add(&cdc->at, 16384, &place, &err), &err);
	free(place->parts);
	place->parts = calloc(3, sizeof(*place->parts));
	place->nparts = 3;
	place->kind = PSTI_KEY_INT4;
	place->column = strdup("id");
	for (size_t i = 0; i < 3; i++)
	{
		place->parts[i].state = i == 1 ? PSTI_PART_READ : PSTI_PART_BEGUN;
		place->parts[i].view = view;
		place->parts[i].lower = i == 0 ? NULL : strdup(i == 1 ? "10" : "20");
		place->parts[i].key.high = i;
	}
	for (uint32_t oid = 16400; oid <= 16500; oid += 100)
	{
		assert_ok(psti_position_add(&cdc->at, oid, &place, &err), &err);
		place->parts[0].state = PSTI_PART_BEGUN;
		place->parts[0].view = oid == 16400 ? view : PSTI_NO_VIEW;
	}
	assert_ok(psti_regions_new(cdc, &err), &err);
	return cdc;
}

static void
free_capture(pst_cdc *cdc)
{
	psti_regions_free(cdc);
	psti_position_free(&cdc->at);
	free(cdc);
}

static psti_region_split
split_of(uint32_t oid)
{
	static char *columns[] = {"id"};

	return (psti_region_split){.system = "7",
							   .database = "d",
							   .slot = "s",
							   .timeline = 2,
							   .safe_lsn = 0x100,
							   .view = oid == 16500 ? NULL : "725:727:725",
							   .oid = oid,
							   .schema = "public",
							   .table = "t",
							   .columns = columns,
							   .ncolumns = 1,
							   .key = columns,
							   .nkeys = 1,
							   .column = oid == 16384 ? "id" : NULL,
							   .lower = oid == 16384 ? "20" : NULL,
							   .npieces = 1,
							   .read = oid == 16400	  ? READ_OF("16400")
									   : oid == 16500 ? READ_OF("16500")
													  : READ};
}

static pst_status
tell(pst_cdc *cdc, const psti_region_split *split, pst_error *err)
{
	pst_error ignored = PST_ERROR_INIT;
	char *text;
	pst_status status;

	assert_ok(psti_region_split_print(split, &text, &ignored), &ignored);
	status = pst_cdc_region_done(cdc, text, err);
	free(text);
	return status;
}

static void
assert_done(pst_cdc *cdc, const psti_region_split *split)
{
	pst_error err = PST_ERROR_INIT;

	assert_ok(tell(cdc, split, &err), &err);
}

static void
assert_over(pst_cdc *cdc, const psti_region_split *split)
{
	pst_error err = PST_ERROR_INIT;
	uint64_t serial = cdc->at.serial;

	assert_int_equal(tell(cdc, split, &err), PST_ERR_STATE);
	assert_contains(err.message, "is over");
	assert_true(err.retryable);
	assert_string_equal(err.table, "t");
	assert_true(cdc->at.serial == serial);
}

static psti_part *
part(const pst_cdc *cdc, uint32_t oid, size_t i)
{
	return &psti_position_find(&cdc->at, oid)->parts[i];
}

static void
a_region_of_the_positions_plan_is_done(void **state)
{
	pst_cdc *cdc = make_capture();
	psti_region_split split = split_of(16384);

	(void) state;
	assert_done(cdc, &split);
	assert_true(cdc->at.serial == 1);
	/* It is read under the same view as its neighbour. */
	assert_int_equal(psti_position_find(&cdc->at, 16384)->nparts, 2);
	assert_int_equal(part(cdc, 16384, 1)->state, PSTI_PART_READ);
	assert_int_equal(part(cdc, 16384, 1)->view, 0);
	/* Told again it changes nothing. */
	assert_done(cdc, &split);
	assert_true(cdc->at.serial == 1);
	split.lower = NULL;
	split.upper = "10";
	assert_done(cdc, &split);
	assert_true(psti_place_is_read(psti_position_find(&cdc->at, 16384)));
	split = split_of(16500);
	assert_done(cdc, &split);
	assert_int_equal(part(cdc, 16500, 0)->state, PSTI_PART_READ);
	assert_true(part(cdc, 16500, 0)->view == PSTI_NO_VIEW);
	free_capture(cdc);
}

static void
a_region_of_pieces_is_done_with_the_last_one(void **state)
{
	pst_cdc *cdc = make_capture();
	psti_region_split split = split_of(16400);

	(void) state;
	split.npieces = 3;
	for (size_t i = 0; i < 3; i++)
	{
		assert_int_equal(part(cdc, 16400, 0)->state, PSTI_PART_BEGUN);
		split.piece = i == 0 ? 2 : i - 1;
		assert_done(cdc, &split);
		assert_done(cdc, &split);
		assert_true(cdc->at.serial == i + 1);
	}
	assert_int_equal(part(cdc, 16400, 0)->state, PSTI_PART_READ);
	free_capture(cdc);
}

static void
a_region_of_another_plan_is_refused(void **state)
{
	pst_cdc *cdc = make_capture();
	psti_region_split split = split_of(16384);

	(void) state;
	split.safe_lsn++;
	assert_over(cdc, &split);
	split = split_of(16384);
	split.timeline++;
	assert_over(cdc, &split);
	split = split_of(16384);
	split.commit_lsn = 7;
	assert_over(cdc, &split);
	split = split_of(16384);
	split.view = "725:728:725";
	assert_over(cdc, &split);
	split.view = NULL;
	assert_over(cdc, &split);
	split = split_of(16384);
	split.lower = "21";
	assert_over(cdc, &split);
	split = split_of(16384);
	split.upper = "30";
	assert_over(cdc, &split);
	split = split_of(16384);
	split.column = "other";
	assert_over(cdc, &split);
	/* It was read before the position was taken. */
	split = split_of(16384);
	split.lower = "10";
	split.upper = "20";
	assert_over(cdc, &split);
	split = split_of(1);
	split.read = READ_OF("1");
	assert_over(cdc, &split);
	/* A table under the slot's snapshot is not one under a view. */
	split = split_of(16500);
	split.view = "725:727:725";
	assert_over(cdc, &split);
	assert_false(psti_place_is_read(psti_position_find(&cdc->at, 16384)));
	free_capture(cdc);
}

static void
a_place_inside_a_transaction_counts(void **state)
{
	pst_cdc *cdc = make_capture();
	psti_region_split split = split_of(16384);

	(void) state;
	cdc->at.commit_lsn = 0x180;
	cdc->at.number = 4;
	assert_over(cdc, &split);
	split.commit_lsn = 0x180;
	split.number = 3;
	assert_over(cdc, &split);
	split.number = 4;
	assert_done(cdc, &split);
	free_capture(cdc);
}

static void
what_is_none_of_the_captures_splits_is_refused(void **state)
{
	pst_cdc *cdc = make_capture();
	pst_error err = PST_ERROR_INIT;
	psti_region_split split = split_of(16384);
	char **splits;
	size_t n;

	(void) state;
	split.slot = "other";
	assert_int_equal(tell(cdc, &split, &err), PST_ERR_INVALID);
	assert_contains(err.message, "another capture");
	split = split_of(16384);
	split.read = "pst1:{}";
	assert_int_equal(tell(cdc, &split, &err), PST_ERR_INVALID);
	assert_int_equal(pst_cdc_region_done(cdc, READ, &err), PST_ERR_INVALID);
	assert_int_equal(pst_cdc_region_done(cdc, NULL, &err), PST_ERR_INVALID);
	split.read = READ_OF("16400");
	assert_int_equal(tell(cdc, &split, &err), PST_ERR_INVALID);
	assert_contains(err.message, "another table");
	/* Nothing is planned yet. */
	assert_ok(pst_cdc_plan(cdc, &splits, &n, &err), &err);
	assert_true(n == 0 && splits[0] == NULL);
	pst_free(splits);
	cdc->failed = true;
	assert_int_equal(pst_cdc_plan(cdc, &splits, &n, &err), PST_ERR_STATE);
	cdc->failed = false;
	psti_regions_free(cdc);
	assert_int_equal(pst_cdc_region_done(cdc, READ, &err), PST_ERR_STATE);
	assert_contains(err.hint, "cdc.regions=plan");
	free_capture(cdc);
}

/* Even where nothing was planned anew yet. */
static void
once_it_has_begun_no_region_of_before_is_done(void **state)
{
	pst_cdc *cdc = make_capture();
	psti_region_split split = split_of(16400);

	(void) state;
	split.npieces = 2;
	assert_done(cdc, &split);
	cdc->begun = true;
	assert_done(cdc, &split); /* told before, it changes nothing */
	split.piece = 1;
	assert_over(cdc, &split);
	assert_int_equal(part(cdc, 16400, 0)->state, PSTI_PART_BEGUN);
	split = split_of(16384);
	assert_over(cdc, &split);
	free_capture(cdc);
}

/* What it cannot hold would be lost: an array is moved into it. */
static void
an_event_of_no_version_is_refused(void **state)
{
	static const char *const none[] = {NULL};
	static const size_t sizes[] = {0, sizeof(size_t), offsetof(pst_event, rows),
								   sizeof(pst_event) - sizeof(size_t)};
	pst_cdc *cdc = make_capture();
	pst_cdc_reader *reader;
	pst_error err = PST_ERROR_INIT;
	pst_event event = PST_EVENT_INIT;

	(void) state;
	assert_ok(pst_cdc_reader_open(none, none, NULL, &reader, &err), &err);
	for (size_t i = 0; i < 4; i++)
	{
		event.struct_size = sizes[i];
		assert_int_equal(pst_cdc_next(cdc, 0, &event, &err), PST_ERR_INVALID);
		assert_int_equal(pst_cdc_reader_next(reader, &event, &err), PST_ERR_INVALID);
		assert_contains(err.message, "struct_size");
	}
	assert_false(cdc->begun || cdc->failed);
	/* A larger one is of a later version. */
	event.struct_size = sizeof(event) + 8;
	assert_int_equal(pst_cdc_reader_next(reader, &event, &err), PST_ERR_STATE);
	assert_contains(err.message, "no region is being read");
	pst_cdc_reader_close(reader);
	free_capture(cdc);
}

/* The capture is made anew for each: what was told stays told. */
static void
a_failed_allocation_is_told(void **state)
{
	psti_region_split split = split_of(16400);
	pst_error err = PST_ERROR_INIT;
	pst_status status = PST_ERR_NOMEM;
	size_t n = 0;
	char *text;

	(void) state;
	split.npieces = 2;
	assert_ok(psti_region_split_print(&split, &text, &err), &err);
	while (status == PST_ERR_NOMEM)
	{
		pst_cdc *cdc = make_capture();

		test_alloc_fail_at(++n);
		status = pst_cdc_region_done(cdc, text, &err);
		if (status != PST_OK)
			assert_int_equal(status, PST_ERR_NOMEM);
		assert_true(cdc->at.serial == (status == PST_OK));
		free_capture(cdc);
		(void) test_alloc_failed();
	}
	assert_true(n > 20);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_region_of_the_positions_plan_is_done),
		cmocka_unit_test(a_region_of_pieces_is_done_with_the_last_one),
		cmocka_unit_test(a_region_of_another_plan_is_refused),
		cmocka_unit_test(a_place_inside_a_transaction_counts),
		cmocka_unit_test(what_is_none_of_the_captures_splits_is_refused),
		cmocka_unit_test(once_it_has_begun_no_region_of_before_is_done),
		cmocka_unit_test(an_event_of_no_version_is_refused),
		cmocka_unit_test(a_failed_allocation_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
