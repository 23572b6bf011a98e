/* position_test.c - positions: their texts there and back, what is none, their order, places and views. */
#include "test.h"

#include "alloc.h"
#include "cdc/position.h"

#define ROUNDS 400

/* ---- Positions to look at ---- */

static char *
copy(const char *text)
{
	char *out = strdup(text);

	assert_non_null(out);
	return out;
}

/* A position of a capture; its texts hold what json has to escape. */
static void
begin(psti_position *out)
{
	*out = (psti_position){.system = copy("7301234567890123456"),
						   .database = copy("a \"base\"\n\\"),
						   .slot = copy("penstock_orders"),
						   .plugin = copy("pgoutput"),
						   .options = copy("0123456789abcdef"),
						   .timeline = UINT32_MAX,
						   .stage = PSTI_STAGE_STREAM,
						   .serial = 12};
}

static psti_place *
add(psti_position *position, uint32_t oid)
{
	pst_error err = PST_ERROR_INIT;
	psti_place *place;

	assert_ok(psti_position_add(position, oid, &place, &err), &err);
	return place;
}

static size_t
see(psti_position *position, const char *text, uint64_t horizon)
{
	pst_error err = PST_ERROR_INIT;
	psti_snapshot snapshot;
	size_t view;

	assert_ok(psti_snapshot_parse(text, &snapshot, &err), &err);
	assert_ok(psti_position_see(position, &snapshot, horizon, &view, &err), &err);
	assert_null(snapshot.xip);
	return view;
}

/* n parts, of keys 10, 20, … */
static void
cut(psti_place *place, size_t n)
{
	psti_part *parts = calloc(n, sizeof(*parts));

	assert_non_null(parts);
	free(place->parts);
	for (size_t i = 0; i < n; i++)
	{
		char text[24];

		parts[i].view = PSTI_NO_VIEW;
		if (i == 0)
			continue;
		snprintf(text, sizeof(text), "%zu", i * 10);
		parts[i].lower = copy(text);
		parts[i].key = (psti_region_key){i * 10, i};
	}
	place->parts = parts;
	place->nparts = n;
	place->kind = PSTI_KEY_INT8;
	place->column = copy("Über \"id\"");
}

static char *
print(const psti_position *position)
{
	pst_error err = PST_ERROR_INIT;
	char *text;

	assert_ok(psti_position_print(position, &text, &err), &err);
	return text;
}

static void
parse(const char *text, psti_position *out)
{
	pst_error err = PST_ERROR_INIT;

	assert_ok(psti_position_parse(text, out, &err), &err);
}

/* ---- There and back ---- */

static void
assert_same_place(const psti_place *a, const psti_place *b)
{
	assert_int_equal(a->oid, b->oid);
	assert_true(a->columns == b->columns);
	assert_int_equal(a->gone, b->gone);
	assert_int_equal(a->nmembers, b->nmembers);
	for (size_t i = 0; i < a->nmembers; i++)
		assert_true(a->members[i] == b->members[i]);
	assert_int_equal(a->nunlogged, b->nunlogged);
	for (size_t i = 0; i < a->nunlogged; i++)
		assert_true(a->unlogged[i] == b->unlogged[i]);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->column == NULL, b->column == NULL);
	if (a->column != NULL)
		assert_string_equal(a->column, b->column);
	assert_int_equal(a->nparts, b->nparts);
	for (size_t i = 0; i < a->nparts; i++)
	{
		const psti_part *x = &a->parts[i];
		const psti_part *y = &b->parts[i];

		assert_int_equal(x->state, y->state);
		assert_true(x->view == y->view);
		assert_int_equal(x->lower == NULL, y->lower == NULL);
		if (x->lower != NULL)
			assert_string_equal(x->lower, y->lower);
		assert_int_equal(psti_region_key_compare(&x->key, &y->key), 0);
	}
	assert_int_equal(a->nleaves, b->nleaves);
	for (size_t i = 0; i < a->nleaves; i++)
		assert_true(a->leaves[i].oid == b->leaves[i].oid &&
					a->leaves[i].filenode == b->leaves[i].filenode);
}

static void
assert_same(const psti_position *a, const psti_position *b)
{
	assert_string_equal(a->system, b->system);
	assert_string_equal(a->database, b->database);
	assert_string_equal(a->slot, b->slot);
	assert_string_equal(a->plugin, b->plugin);
	assert_string_equal(a->options, b->options);
	assert_true(a->timeline == b->timeline && a->stage == b->stage && a->serial == b->serial &&
				a->safe_lsn == b->safe_lsn && a->commit_lsn == b->commit_lsn &&
				a->number == b->number && a->complete_lsn == b->complete_lsn &&
				a->publication == b->publication && a->message_lsn == b->message_lsn &&
				a->maker == b->maker && (a->maker == 0 || a->made == b->made));
	assert_int_equal(a->nviews, b->nviews);
	for (size_t i = 0; i < a->nviews; i++)
	{
		const psti_snapshot *x = &a->views[i].snapshot;
		const psti_snapshot *y = &b->views[i].snapshot;

		assert_true(x->xmin == y->xmin && x->xmax == y->xmax && x->nxip == y->nxip);
		for (size_t k = 0; k < x->nxip; k++)
			assert_true(x->xip[k] == y->xip[k]);
		assert_true(a->views[i].horizon == b->views[i].horizon);
	}
	assert_int_equal(a->nplaces, b->nplaces);
	for (size_t i = 0; i < a->nplaces; i++)
		assert_same_place(&a->places[i], &b->places[i]);
	assert_int_equal(psti_position_order(a, b), 0);
}

static void
assert_comes_back(const psti_position *position)
{
	psti_position other;
	char *text = print(position);
	char *again;

	parse(text, &other);
	assert_same(position, &other);
	again = print(&other);
	assert_string_equal(text, again);
	psti_position_free(&other);
	free(text);
	free(again);
}

/* A table in any state that a capture can bring it into. */
static void
make_place(psti_position *position, uint32_t oid, uint64_t *seed)
{
	psti_place *place = add(position, oid);
	pst_error err = PST_ERROR_INIT;

	for (uint64_t n = test_random(seed) % 4; n > 0; n--)
		assert_ok(psti_place_add_leaf(place, (uint32_t) test_random(seed) % 8,
									  (uint32_t) test_random(seed), &err),
				  &err);
	place->columns = test_random(seed) % 2 == 0 ? 0 : test_random(seed);
	place->gone = test_random(seed) % 8 == 0;
	if (test_random(seed) % 2 == 0)
	{
		uint32_t members[3];
		bool left;

		for (int i = 0; i < 3; i++)
			members[i] = (uint32_t) test_random(seed);
		assert_ok(psti_place_set_members(place, members, 1 + test_random(seed) % 3, &left, &err),
				  &err);
	}
	for (uint64_t n = test_random(seed) % 8; n > 5; n--)
		assert_ok(psti_place_set_unlogged(place, (uint32_t) test_random(seed), true, &err), &err);
	if (test_random(seed) % 2 == 0)
		cut(place, 1 + test_random(seed) % 5);
	for (size_t i = 0; i < place->nparts; i++)
	{
		place->parts[i].state = (psti_part_state) (test_random(seed) % 3);
		if (position->nviews > 0 && test_random(seed) % 2 == 0)
			place->parts[i].view = test_random(seed) % position->nviews;
	}
	psti_place_merge(place);
}

static void
make(psti_position *out, uint64_t *seed)
{
	static const char *const snapshots[] = {"1:1:", "725:731:725,728", "9:4294967400:4294967300"};

	begin(out);
	out->stage = (psti_stage) (test_random(seed) % 3);
	out->serial = test_random(seed) >> 1;
	out->safe_lsn = test_random(seed);
	if (out->stage == PSTI_STAGE_CREATING)
	{
		out->maker = (int) (test_random(seed) >> 33);
		out->made = (int64_t) (test_random(seed) >> 1);
	}
	if (test_random(seed) % 2 == 0)
		out->message_lsn = out->safe_lsn + test_random(seed) % 2;
	if (test_random(seed) % 2 == 0)
		out->publication = (uint32_t) test_random(seed);
	if (out->stage == PSTI_STAGE_SNAPSHOT)
		out->complete_lsn = test_random(seed);
	if (test_random(seed) % 2 == 0)
	{
		out->commit_lsn = test_random(seed) | 1;
		out->number = test_random(seed) >> 1;
	}
	for (uint64_t n = test_random(seed) % 4; n > 0; n--)
		(void) see(out, snapshots[test_random(seed) % 3], test_random(seed));
	for (uint64_t n = test_random(seed) % 12; n > 0; n--)
	{
		uint32_t oid = (uint32_t) test_random(seed);

		if (psti_position_find(out, oid) == NULL)
			make_place(out, oid, seed);
	}
}

static void
every_state_comes_back_from_its_text(void **state)
{
	uint64_t seed = 11;

	(void) state;
	for (int i = 0; i < ROUNDS; i++)
	{
		psti_position position;

		make(&position, &seed);
		assert_comes_back(&position);
		psti_position_free(&position);
	}
}

/* What an upgrade must still read. */
static void
a_text_of_version_1_is_read(void **state)
{
	static const char text[] =
		"pst1:{\"slot\":\"s\",\"plugin\":\"penstock\",\"system\":\"7\",\"database\":\"d\","
		"\"options\":"
		"\"f\",\"timeline\":1,\"stage\":\"snapshot\",\"serial\":\"9\",\"safe\":\"0/"
		"16B3748\",\"commit\":"
		"\"0/16B4000\",\"number\":\"3\",\"complete\":\"1/"
		"2\",\"views\":[{\"snapshot\":\"725:727:725\","
		"\"horizon\":\"0/"
		"16B3800\"}],\"read\":[[16400,\"00000000000000ff\"]],\"tables\":[{\"oid\":16384,"
		"\"kind\":\"int4\",\"column\":\"id\",\"parts\":[{\"state\":\"read\",\"view\":0},{\"state\":"
		"\"begun\",\"key\":\"80000000000000050000000000000000\",\"lower\":\"5\"}]}]}";
	psti_position p;
	char *again;

	(void) state;
	parse(text, &p);
	assert_true(p.stage == PSTI_STAGE_SNAPSHOT && p.serial == 9 && p.safe_lsn == 0x16B3748);
	assert_true(p.commit_lsn == 0x16B4000 && p.number == 3 &&
				p.complete_lsn == UINT64_C(0x100000002));
	assert_int_equal(p.nviews, 1);
	assert_int_equal(p.nplaces, 2);
	assert_int_equal(p.places[0].oid, 16384);
	assert_int_equal(p.places[0].kind, PSTI_KEY_INT4);
	assert_int_equal(p.places[0].nparts, 2);
	assert_int_equal(p.places[0].parts[0].view, 0);
	assert_int_equal(p.places[0].parts[1].state, PSTI_PART_BEGUN);
	assert_true(p.places[0].parts[1].key.high == UINT64_C(0x8000000000000005));
	assert_true(psti_place_is_read(&p.places[1]) && p.places[1].columns == 255);
	again = print(&p);
	assert_string_equal(again, text);
	free(again);
	psti_position_free(&p);
}

/* There may be thousands of them. */
static void
a_table_that_is_read_and_watched_has_a_short_text(void **state)
{
	static const char text[] =
		"pst1:{\"slot\":\"s\",\"plugin\":\"pgoutput\",\"system\":\"7\",\"database\":\"d\","
		"\"options\":\"f\",\"timeline\":1,\"stage\":\"stream\",\"serial\":\"9\",\"safe\":\"0/1\","
		"\"read\":[[16400,\"00000000000000ff\",16777],[16401,\"0123456789abcdef\"]],\"tables\":[]}";
	psti_position p;
	char *again;

	(void) state;
	parse(text, &p);
	assert_int_equal(p.places[0].nleaves, 1);
	assert_int_equal(psti_place_leaf(&p.places[0], 16400)->filenode, 16777);
	assert_int_equal(p.places[1].nleaves, 0);
	again = print(&p);
	assert_string_equal(again, text);
	free(again);
	psti_position_free(&p);
}

/* ---- What is none ---- */

/* The text of a small position with one part of it replaced. */
static char *
with(const char *old, const char *fresh)
{
	psti_position p;
	psti_buf out = PSTI_BUF_INIT;
	pst_error err = PST_ERROR_INIT;
	char *text;
	char *at;

	begin(&p);
	p.stage = PSTI_STAGE_SNAPSHOT;
	p.publication = 16500;
	p.commit_lsn = 5;
	p.number = 2;
	(void) see(&p, "725:727:725", 8);
	add(&p, 16400)->parts[0].state = PSTI_PART_READ;
	psti_position_find(&p, 16400)->columns = 0xabc;
	cut(add(&p, 16384), 3);
	assert_ok(psti_place_add_leaf(psti_position_find(&p, 16384), 5, 6, &err), &err);
	text = print(&p);
	at = strstr(text, old);
	if (at == NULL)
		fail_msg("%s is not in %s", old, text);
	psti_buf_append(&out, text, (size_t) (at - text));
	psti_buf_puts(&out, fresh);
	psti_buf_puts(&out, at + strlen(old));
	psti_position_free(&p);
	free(text);
	text = psti_buf_steal(&out);
	assert_non_null(text);
	return text;
}

static void
assert_none(const char *text)
{
	pst_error err = PST_ERROR_INIT;
	psti_position p;

	if (psti_position_parse(text, &p, &err) == PST_OK)
		fail_msg("%s is no position", text);
	assert_int_equal(err.status, PST_ERR_INVALID);
	assert_contains(err.message, "not a position");
	assert_int_not_equal(err.hint[0], '\0');
	assert_null(p.slot);
	assert_int_equal(p.nplaces, 0);
}

static void
what_no_capture_wrote_is_refused(void **state)
{
	static const char *const pairs[][2] = {
		{"pst1:", "pst2:"},
		{"pst1:", ""},
		{"pst1:{", "pst1:["},
		{"\"slot\":", "\"slit\":"},
		{"\"pgoutput\"", "null"},
		{"\"7301234567890123456\"", "7301234567890123456"},
		{"4294967295", "4294967296"},
		{"4294967295", "-1"},
		{"\"snapshot\"", "\"later\""},
		{"\"serial\":\"12\"", "\"serial\":\"-12\""},
		{"\"serial\":\"12\"", "\"serial\":\"9223372036854775808\""},
		{"\"safe\":\"0/0\"", "\"safe\":\"0\""},
		{"\"safe\":\"0/0\"", "\"safe\":0"},
		{"\"safe\":\"0/0\"", "\"safe\":\"0/0\",\"maker\":-1"},
		{"\"safe\":\"0/0\"", "\"safe\":\"0/0\",\"maker\":2147483648"},
		{"\"safe\":\"0/0\"", "\"safe\":\"0/0\",\"maker\":1,\"made\":\"x\""},
		{"\"safe\":\"0/0\"", "\"safe\":\"0/0\",\"message\":5"},
		{"\"publication\":16500", "\"publication\":\"p\""},
		{"\"publication\":16500", "\"publication\":4294967296"},
		{"\"commit\":\"0/5\"", "\"commit\":\"0/5x\""},
		{"\"commit\":\"0/5\"", "\"commit\":5"},
		{"\"number\":\"2\"", "\"number\":\"-2\""},
		{"\"number\":\"2\"", "\"number\":\"two\""},
		{"\"complete\":\"0/0\"", "\"complete\":\"/\""},
		{"725:727:725", "725:727:729"},
		{"725:727:725", ""},
		{"\"horizon\":\"0/8\"", "\"horizon\":\"8\""},
		{"[16400,", "[16384,"},
		{"[16400,", "[-1,"},
		{"[16400,", "[4294967296,"},
		{"[16400,", "[\"x\","},
		{"[16400,\"0000000000000abc\"]", "16400"},
		{"[16400,\"0000000000000abc\"]", "[16400]"},
		{"[16400,\"0000000000000abc\"]",
		 "[16400,\"0000000000000abc\"],[16400,\"0000000000000abc\"]"},
		{"\"0000000000000abc\"", "\"000000000000abc\""},
		{"\"0000000000000abc\"", "\"0000000000000abC\""},
		{"\"0000000000000abc\"", "2748"},
		{"\"oid\":16384", "\"oid\":16384,\"columns\":5"},
		{"\"oid\":16384", "\"oid\":16400"},
		{"\"oid\":16384", "\"oid\":null"},
		{"\"leaves\":[[5,6]]", "\"leaves\":[[5]]"},
		{"\"leaves\":[[5,6]]", "\"leaves\":[5,6]"},
		{"\"leaves\":[[5,6]]", "\"leaves\":[[5,-1]]"},
		{"\"leaves\":[[5,6]]", "\"leaves\":[[4294967296,6]]"},
		{"\"leaves\":[[5,6]]", "\"leaves\":[[5,6]],\"unlogged\":[-5]"},
		{"\"leaves\":[[5,6]]", "\"leaves\":[[5,6]],\"unlogged\":[\"x\"]"},
		{"\"leaves\":[[5,6]]", "\"leaves\":[[5,6]],\"members\":[-5]"},
		{"[16400,\"0000000000000abc\"]", "[16400,\"0000000000000abc\",[\"x\"]]"},
		{"\"kind\":\"int8\"", "\"kind\":\"none\""},
		{"\"kind\":\"int8\"", "\"kind\":\"text\""},
		{"\"kind\":\"int8\",", ""},
		{"\"column\":", "\"colum\":"},
		{"\"state\":\"unread\"", "\"state\":\"seen\""},
		{"\"state\":\"unread\"", "\"state\":\"unread\",\"view\":1"},
		{"\"state\":\"unread\"", "\"state\":\"unread\",\"view\":-2"},
		{"\"state\":\"unread\"", "\"state\":\"unread\",\"view\":\"none\""},
		{"\"state\":\"unread\"", "\"state\":\"unread\",\"lower\":\"1\""},
		{",\"lower\":\"10\"", ""},
		{"\"key\":\"000000000000000a", "\"key\":\"00000000000000 a"},
		{"\"key\":\"000000000000000a", "\"key\":\"0x0000000000000a"},
		{"\"key\":\"000000000000000a", "\"key\":\"0000000000000a"},
		{"\"key\":\"000000000000000a", "\"key\":\"000000000000001f"},
		{"]]}]}", "]]}]"},
		{"]]}]}", "]]}]} x"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		char *text = with(pairs[i][0], pairs[i][1]);

		assert_none(text);
		free(text);
	}
	assert_none("");
	assert_none("pst1:");
	assert_none("pst1:null");
}

static void
a_text_that_was_cut_is_refused(void **state)
{
	char *text = with("]]}]}", "]]}]}");

	(void) state;
	for (size_t n = strlen(text); n-- > 0;)
	{
		text[n] = '\0';
		assert_none(text);
	}
	free(text);
}

/* ---- Order ---- */

static void
positions_are_ordered_as_they_came(void **state)
{
	/* safe, commit, number, serial: ascending */
	static const uint64_t points[][4] = {
		{0x100, 0, 0, 1},	  {0x100, 0, 0, 2},		{0x100, 0x180, 1, 3},
		{0x100, 0x180, 2, 4}, {0x100, 0x180, 2, 5}, {0x100, 0x180, 10, 6},
		{0x200, 0, 0, 7},	  {0x200, 0x200, 1, 8}, {0x300, 0, 0, 8}};
	psti_position a = {0};
	psti_position b = {0};

	(void) state;
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		for (size_t k = 0; k < sizeof(points) / sizeof(points[0]); k++)
		{
			a.safe_lsn = points[i][0];
			a.commit_lsn = points[i][1];
			a.number = points[i][2];
			a.serial = points[i][3];
			b.safe_lsn = points[k][0];
			b.commit_lsn = points[k][1];
			b.number = points[k][2];
			b.serial = points[k][3];
			assert_int_equal(psti_position_order(&a, &b), i < k ? -1 : i > k);
		}
}

static void
only_positions_of_one_slot_are_compared(void **state)
{
	static const char *const pairs[][2] = {{"penstock_orders", "other"},
										   {"pgoutput", "penstock"},
										   {"7301234567890123456", "1"},
										   {"a \\\"base\\\"", "another"}};
	char *one = with("\"number\":\"2\"", "\"number\":\"2\"");
	char *late = with("\"number\":\"2\"", "\"number\":\"3\"");
	pst_error err = PST_ERROR_INIT;
	int order;

	(void) state;
	assert_ok(pst_position_compare(one, late, &order, &err), &err);
	assert_int_equal(order, -1);
	assert_ok(pst_position_compare(late, one, &order, &err), &err);
	assert_int_equal(order, 1);
	assert_ok(pst_position_compare(one, one, &order, NULL), &err);
	assert_int_equal(order, 0);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		char *other = with(pairs[i][0], pairs[i][1]);

		order = 5;
		assert_fails(pst_position_compare(one, other, &order, &err), PST_ERR_INVALID, &err);
		assert_contains(err.message, "different captures");
		assert_int_equal(order, 0);
		free(other);
	}
	assert_fails(pst_position_compare(one, "pst1:{}", &order, &err), PST_ERR_INVALID, &err);
	assert_fails(pst_position_compare("", one, &order, &err), PST_ERR_INVALID, &err);
	free(one);
	free(late);
}

/* ---- Places ---- */

static void
places_are_found_whatever_came_and_went(void **state)
{
	psti_position p = {0};
	bool there[512] = {false};
	uint64_t seed = 7;

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		uint32_t n = (uint32_t) (test_random(&seed) % 512);
		uint32_t oid = n * 8388608u + 5;

		assert_int_equal(psti_position_find(&p, oid) != NULL, there[n]);
		if (there[n])
			psti_position_remove(&p, oid);
		else
			add(&p, oid)->parts[0].view = n;
		there[n] = !there[n];
	}
	for (uint32_t n = 0, i = 0; n < 512; n++)
	{
		psti_place *place = psti_position_find(&p, n * 8388608u + 5);

		assert_null(psti_position_find(&p, n * 8388608u + 4));
		psti_position_remove(&p, n * 8388608u + 4);
		assert_int_equal(place != NULL, there[n]);
		if (place == NULL)
			continue;
		assert_int_equal(place->parts[0].view, n);
		assert_int_equal(place->nparts, 1);
		assert_int_equal(place->parts[0].state, PSTI_PART_UNREAD);
		assert_ptr_equal(place, &p.places[i++]);
	}
	psti_position_free(&p);
	assert_int_equal(p.nplaces, 0);
}

static void
what_was_read_alike_becomes_one_part(void **state)
{
	psti_position p = {0};
	psti_place *place = add(&p, 1);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	cut(place, 6);
	place->parts[1].state = place->parts[2].state = place->parts[3].state = PSTI_PART_READ;
	place->parts[3].view = 0;
	place->parts[4].state = PSTI_PART_BEGUN;
	psti_place_merge(place);
	assert_int_equal(place->nparts, 5);
	assert_string_equal(place->parts[1].lower, "10");
	assert_string_equal(place->parts[2].lower, "30");
	assert_false(psti_place_is_read(place));
	for (size_t i = 0; i < place->nparts; i++)
	{
		place->parts[i].state = PSTI_PART_READ;
		place->parts[i].view = 3;
	}
	assert_true(psti_place_is_read(place));
	psti_place_merge(place);
	assert_int_equal(place->nparts, 1);
	assert_null(place->parts[0].lower);
	assert_null(place->column);
	assert_int_equal(place->kind, PSTI_KEY_NONE);
	assert_int_equal(place->parts[0].view, 3);
	cut(place, 3);
	assert_ok(psti_place_add_leaf(place, 5, 6, &err), &err);
	assert_ok(psti_place_reset(place, &err), &err);
	assert_int_equal(place->nparts, 1);
	assert_int_equal(place->parts[0].state, PSTI_PART_UNREAD);
	assert_null(place->column);
	assert_int_equal(place->nleaves, 0);
	psti_position_free(&p);
}

static void
leaves_are_found_whatever_their_order(void **state)
{
	psti_position p = {0};
	psti_place *place = add(&p, 1);
	pst_error err = PST_ERROR_INIT;
	uint64_t seed = 9;
	uint32_t nodes[64] = {0};

	(void) state;
	for (uint32_t i = 1; i < 500; i++)
	{
		uint32_t oid = (uint32_t) (test_random(&seed) % 64);

		assert_ok(psti_place_add_leaf(place, oid, i, &err), &err);
		nodes[oid] = i;
		for (uint32_t n = 0; n < 64; n++)
		{
			const psti_leaf *leaf = psti_place_leaf(place, n);

			assert_int_equal(leaf == NULL ? 0 : leaf->filenode, nodes[n]);
		}
	}
	psti_place_clear_leaves(place);
	assert_null(psti_place_leaf(place, 5));
	psti_position_free(&p);
}

/* Whatever is read anew: what an unlogged table has is not told by that. */
static void
what_is_unlogged_stays_so_until_it_is_logged(void **state)
{
	psti_position p = {0};
	psti_place *place = add(&p, 1);
	pst_error err = PST_ERROR_INIT;

	(void) state;
	assert_false(psti_place_is_unlogged(place, 0));
	assert_ok(psti_place_set_unlogged(place, 5, false, &err), &err);
	for (uint32_t oid = 5; oid < 8; oid++)
	{
		assert_ok(psti_place_set_unlogged(place, oid, true, &err), &err);
		assert_ok(psti_place_set_unlogged(place, oid, true, &err), &err);
	}
	assert_int_equal(place->nunlogged, 3);
	assert_ok(psti_place_reset(place, &err), &err);
	assert_ok(psti_place_set_unlogged(place, 5, false, &err), &err);
	assert_false(psti_place_is_unlogged(place, 5));
	assert_true(psti_place_is_unlogged(place, 6) && psti_place_is_unlogged(place, 7));
	psti_position_free(&p);
}

/* Whoever is always had by one of those that it was had by before was never taken out. */
static void
a_table_has_left_its_publication_when_nothing_is_as_before(void **state)
{
	static const uint32_t members[] = {10, 11, 12};
	psti_position p = {0};
	psti_place *place = add(&p, 1);
	pst_error err = PST_ERROR_INIT;
	bool left = true;

	(void) state;
	assert_ok(psti_place_set_members(place, members, 0, &left, &err), &err);
	assert_false(left);
	assert_ok(psti_place_set_members(place, members, 2, &left, &err), &err);
	assert_false(left);
	assert_ok(psti_place_set_members(place, members + 1, 2, &left, &err), &err);
	assert_false(left);
	assert_ok(psti_place_reset(place, &err), &err);
	assert_ok(psti_place_set_members(place, members, 1, &left, &err), &err);
	assert_true(left);
	assert_ok(psti_place_set_members(place, members, 0, &left, &err), &err);
	assert_true(left);
	assert_ok(psti_place_set_members(place, members, 3, &left, &err), &err);
	assert_false(left);
	psti_position_free(&p);
}

/* ---- Views ---- */

static void
views_are_forgotten_when_the_stream_has_passed_them(void **state)
{
	psti_position p = {0};
	psti_place *place;

	(void) state;
	(void) see(&p, "5:5:", 100);
	(void) see(&p, "6:6:", 300);
	(void) see(&p, "7:9:8", 200);
	assert_int_equal(see(&p, "9:9:", 100), 3);
	cut(add(&p, 1), 4);
	place = psti_position_find(&p, 1);
	for (size_t i = 0; i < 4; i++)
	{
		place->parts[i].state = PSTI_PART_READ;
		place->parts[i].view = i;
	}
	cut(add(&p, 2), 2);
	place = psti_position_find(&p, 2);
	place->parts[0] = (psti_part){NULL, {0, 0}, PSTI_PART_READ, 3};
	p.safe_lsn = 99;
	assert_false(psti_position_forget(&p));
	assert_int_equal(p.nviews, 4);
	p.safe_lsn = 200; /* not that of a table that is still being read */
	assert_true(psti_position_forget(&p));
	assert_int_equal(p.nviews, 2);
	assert_true(p.views[0].snapshot.xmax == 6 && p.views[1].snapshot.xmax == 9);
	place = psti_position_find(&p, 1);
	assert_int_equal(place->nparts, 4);
	assert_true(place->parts[0].view == PSTI_NO_VIEW && place->parts[2].view == PSTI_NO_VIEW);
	assert_true(place->parts[1].view == 0 && place->parts[3].view == 1);
	assert_int_equal(psti_position_find(&p, 2)->parts[0].view, 1);
	psti_position_find(&p, 2)->parts[1].state = PSTI_PART_READ;
	p.safe_lsn = 300;
	assert_true(psti_position_forget(&p));
	assert_int_equal(p.nviews, 0);
	assert_int_equal(psti_position_find(&p, 1)->nparts, 1);
	assert_int_equal(psti_position_find(&p, 2)->nparts, 1);
	assert_false(psti_position_forget(&p));
	psti_position_free(&p);
}

/* ---- LSNs ---- */

static void
lsns_are_written_as_the_server_writes_them(void **state)
{
	static const char *const wrong[] = {
		"",	   "/",		"0/",		   "/0",		  "0",	  "0/0 ", " 0/0",
		"g/0", "0x1/0", "123456789/0", "0/123456789", "-1/0", "0//0", "0/0/0"};
	char text[PSTI_LSN_SIZE];
	uint64_t lsn = 3;
	uint64_t seed = 3;

	(void) state;
	assert_string_equal(psti_lsn_print(UINT64_C(0x16B374D848), text), "16/B374D848");
	assert_string_equal(psti_lsn_print(0, text), "0/0");
	assert_string_equal(psti_lsn_print(UINT64_MAX, text), "FFFFFFFF/FFFFFFFF");
	assert_true(psti_lsn_parse("16/b374d848", &lsn) && lsn == UINT64_C(0x16B374D848));
	for (int i = 0; i < 1000; i++)
	{
		uint64_t value = test_random(&seed) >> test_random(&seed) % 64;

		assert_true(psti_lsn_parse(psti_lsn_print(value, text), &lsn) && lsn == value);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (psti_lsn_parse(wrong[i], &lsn))
			fail_msg("\"%s\" is no LSN", wrong[i]);
}

/* ---- Without memory ---- */

static pst_status
go_there_and_back(void *ctx, pst_error *err)
{
	psti_position p;
	char *again = NULL;
	pst_status status = psti_position_parse(ctx, &p, err);

	if (status == PST_OK)
		status = psti_position_print(&p, &again, err);
	psti_position_free(&p);
	free(again);
	return status;
}

static pst_status
build(void *ctx, pst_error *err)
{
	psti_position p = {0};
	psti_snapshot snapshot = {0};
	psti_place *place;
	size_t view;
	pst_status status = PST_OK;

	(void) ctx;
	for (uint32_t oid = 40; status == PST_OK && oid > 20; oid--)
		status = psti_position_add(&p, oid, &place, err);
	if (status == PST_OK)
		status = psti_place_reset(place, err);
	if (status == PST_OK)
		status = psti_snapshot_parse("5:9:6,7", &snapshot, err);
	if (status == PST_OK)
		status = psti_position_see(&p, &snapshot, 1, &view, err);
	psti_snapshot_free(&snapshot);
	psti_position_free(&p);
	return status;
}

static void
want_of_memory_is_told_and_leaks_nothing(void **state)
{
	char *text = with("]]}]}", "]]}]}");

	(void) state;
	assert_true(psti_test_alloc_sweep(go_there_and_back, text) > 20);
	assert_true(psti_test_alloc_sweep(build, NULL) > 20);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_comes_back_from_its_text),
		cmocka_unit_test(a_text_of_version_1_is_read),
		cmocka_unit_test(a_table_that_is_read_and_watched_has_a_short_text),
		cmocka_unit_test(what_no_capture_wrote_is_refused),
		cmocka_unit_test(a_text_that_was_cut_is_refused),
		cmocka_unit_test(positions_are_ordered_as_they_came),
		cmocka_unit_test(only_positions_of_one_slot_are_compared),
		cmocka_unit_test(places_are_found_whatever_came_and_went),
		cmocka_unit_test(what_was_read_alike_becomes_one_part),
		cmocka_unit_test(leaves_are_found_whatever_their_order),
		cmocka_unit_test(what_is_unlogged_stays_so_until_it_is_logged),
		cmocka_unit_test(a_table_has_left_its_publication_when_nothing_is_as_before),
		cmocka_unit_test(views_are_forgotten_when_the_stream_has_passed_them),
		cmocka_unit_test(lsns_are_written_as_the_server_writes_them),
		cmocka_unit_test(want_of_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
