/* position.c - positions, their places and views. See position.h. */
#include "cdc/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cdc/oids.h"
#include "json.h"
#include "pgtext.h"

#define MAX_VIEWS 100000

static const char *const part_states[] = {"unread", "begun", "read"};
static const char *const kinds[] = {"none", "int2", "int4", "int8", "date", "timestamp", "uuid"};

/* ---- LSNs ---- */

const char *
psti_lsn_print(uint64_t lsn, char out[PSTI_LSN_SIZE])
{
	snprintf(out, PSTI_LSN_SIZE, "%" PRIX32 "/%" PRIX32, (uint32_t) (lsn >> 32), (uint32_t) lsn);
	return out;
}

/* Up to eight hexadecimal digits; NULL: there are none, or more. */
static const char *
take_hex(const char *at, uint32_t *out)
{
	static const char digits[] = "0123456789abcdef";
	int n = 0;

	*out = 0;
	for (; *at != '\0'; at++, n++)
	{
		char c = *at >= 'A' && *at <= 'F' ? (char) (*at + ('a' - 'A')) : *at;
		const char *digit = strchr(digits, c);

		if (digit == NULL)
			break;
		*out = *out << 4 | (uint32_t) (digit - digits);
	}
	return n >= 1 && n <= 8 ? at : NULL;
}

bool
psti_lsn_parse(const char *text, uint64_t *out)
{
	uint32_t high;
	uint32_t low;
	const char *at = take_hex(text, &high);

	*out = 0;
	if (at == NULL || *at != '/')
		return false;
	at = take_hex(at + 1, &low);
	if (at == NULL || *at != '\0')
		return false;
	*out = (uint64_t) high << 32 | low;
	return true;
}

/* ---- Places ---- */

/* Where the OID is, or would be. */
static size_t
search(const psti_position *position, uint32_t oid)
{
	return psti_oid_search(position->places, position->nplaces, sizeof(*position->places), oid);
}

psti_place *
psti_position_find(const psti_position *position, uint32_t oid)
{
	size_t i = search(position, oid);

	return i < position->nplaces && position->places[i].oid == oid ? &position->places[i] : NULL;
}

static void
free_parts(psti_place *place)
{
	for (size_t i = 0; i < place->nparts; i++)
		free(place->parts[i].lower);
	free(place->parts);
	place->parts = NULL;
	place->nparts = 0;
}

/* What was read. */
static void
clear_place(psti_place *place)
{
	free_parts(place);
	free(place->column);
	place->column = NULL;
	psti_place_clear_leaves(place);
}

static void
free_place(psti_place *place)
{
	clear_place(place);
	free(place->unlogged);
	free(place->members);
	place->unlogged = place->members = NULL;
	place->nunlogged = place->nmembers = 0;
}

/* ---- Leaves ---- */

void
psti_place_clear_leaves(psti_place *place)
{
	free(place->leaves);
	place->leaves = NULL;
	place->nleaves = 0;
}

/* Where the leaf is, or would be. */
static size_t
search_leaf(const psti_place *place, uint32_t oid)
{
	return psti_oid_search(place->leaves, place->nleaves, sizeof(*place->leaves), oid);
}

psti_leaf *
psti_place_leaf(const psti_place *place, uint32_t oid)
{
	size_t i = search_leaf(place, oid);

	return i < place->nleaves && place->leaves[i].oid == oid ? &place->leaves[i] : NULL;
}

pst_status
psti_place_add_leaf(psti_place *place, uint32_t oid, uint32_t filenode, pst_error *err)
{
	size_t i = search_leaf(place, oid);
	psti_leaf *grown;

	if (i < place->nleaves && place->leaves[i].oid == oid)
	{
		place->leaves[i] = (psti_leaf){.oid = oid, .filenode = filenode};
		return PST_OK;
	}
	grown = realloc(place->leaves, (place->nleaves + 1) * sizeof(*grown));
	if (grown == NULL)
		return psti_fail_nomem(err);
	place->leaves = grown;
	memmove(&grown[i + 1], &grown[i], (place->nleaves - i) * sizeof(*grown));
	grown[i] = (psti_leaf){.oid = oid, .filenode = filenode};
	place->nleaves++;
	return PST_OK;
}

/* The place in the list, or its end. */
static size_t
search_unlogged(const psti_place *place, uint32_t oid)
{
	size_t i = 0;

	while (i < place->nunlogged && place->unlogged[i] != oid)
		i++;
	return i;
}

bool
psti_place_is_unlogged(const psti_place *place, uint32_t oid)
{
	return search_unlogged(place, oid) < place->nunlogged;
}

pst_status
psti_place_set_unlogged(psti_place *place, uint32_t oid, bool unlogged, pst_error *err)
{
	size_t i = search_unlogged(place, oid);
	uint32_t *grown;

	if (unlogged == (i < place->nunlogged))
		return PST_OK;
	if (!unlogged)
	{
		place->unlogged[i] = place->unlogged[--place->nunlogged];
		return PST_OK;
	}
	grown = realloc(place->unlogged, (place->nunlogged + 1) * sizeof(*grown));
	if (grown == NULL)
		return psti_fail_nomem(err);
	place->unlogged = grown;
	grown[place->nunlogged++] = oid;
	return PST_OK;
}

static bool
have_common(const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
	for (size_t i = 0; i < na; i++)
		for (size_t k = 0; k < nb; k++)
			if (a[i] == b[k])
				return true;
	return false;
}

pst_status
psti_place_set_members(psti_place *place, const uint32_t *members, size_t n, bool *left,
					   pst_error *err)
{
	uint32_t *copy = malloc((n + 1) * sizeof(*copy));

	if (copy == NULL)
		return psti_fail_nomem(err);
	*left = place->nmembers > 0 && !have_common(place->members, place->nmembers, members, n);
	for (size_t i = 0; i < n; i++)
		copy[i] = members[i];
	free(place->members);
	place->members = copy;
	place->nmembers = n;
	return PST_OK;
}

pst_status
psti_place_reset(psti_place *place, pst_error *err)
{
	psti_part *part = calloc(1, sizeof(*part));

	if (part == NULL)
		return psti_fail_nomem(err);
	part->view = PSTI_NO_VIEW;
	clear_place(place);
	place->columns = 0;
	place->kind = PSTI_KEY_NONE;
	place->parts = part;
	place->nparts = 1;
	return PST_OK;
}

pst_status
psti_position_add(psti_position *position, uint32_t oid, psti_place **out, pst_error *err)
{
	size_t i = search(position, oid);
	psti_place place = {.oid = oid};
	psti_place *places;
	pst_status status = psti_place_reset(&place, err);

	*out = NULL;
	if (status != PST_OK)
		return status;
	if (position->nplaces == position->room)
	{
		size_t room = position->room == 0 ? 8 : position->room * 2;

		places = realloc(position->places, room * sizeof(*places));
		if (places == NULL)
		{
			free_place(&place);
			return psti_fail_nomem(err);
		}
		position->places = places;
		position->room = room;
	}
	memmove(&position->places[i + 1], &position->places[i],
			(position->nplaces - i) * sizeof(*position->places));
	position->places[i] = place;
	position->nplaces++;
	*out = &position->places[i];
	return PST_OK;
}

void
psti_position_remove(psti_position *position, uint32_t oid)
{
	size_t i = search(position, oid);

	if (i >= position->nplaces || position->places[i].oid != oid)
		return;
	free_place(&position->places[i]);
	position->nplaces--;
	memmove(&position->places[i], &position->places[i + 1],
			(position->nplaces - i) * sizeof(*position->places));
}

bool
psti_place_is_read(const psti_place *place)
{
	for (size_t i = 0; i < place->nparts; i++)
		if (place->parts[i].state != PSTI_PART_READ)
			return false;
	return true;
}

bool
psti_place_is_begun(const psti_place *place)
{
	for (size_t i = 0; i < place->nparts; i++)
		if (place->parts[i].state != PSTI_PART_UNREAD)
			return true;
	return false;
}

void
psti_place_merge(psti_place *place)
{
	size_t n = 0;

	for (size_t i = 0; i < place->nparts; i++)
	{
		psti_part *last = n > 0 ? &place->parts[n - 1] : NULL;

		if (last != NULL && last->state == PSTI_PART_READ &&
			place->parts[i].state == PSTI_PART_READ && last->view == place->parts[i].view)
			free(place->parts[i].lower);
		else
			place->parts[n++] = place->parts[i];
	}
	place->nparts = n;
	if (n > 1)
		return;
	free(place->column);
	place->column = NULL;
	place->kind = PSTI_KEY_NONE;
}

/* ---- Views ---- */

pst_status
psti_position_see(psti_position *position, psti_snapshot *snapshot, uint64_t horizon, size_t *out,
				  pst_error *err)
{
	psti_view *views = realloc(position->views, (position->nviews + 1) * sizeof(*views));

	if (views == NULL)
		return psti_fail_nomem(err);
	position->views = views;
	views[position->nviews] = (psti_view){.snapshot = *snapshot, .horizon = horizon};
	memset(snapshot, 0, sizeof(*snapshot));
	*out = position->nviews++;
	return PST_OK;
}

/* Marks the views that are still needed: they lie ahead, or a table is read in part under them. */
static void
mark_needed(psti_position *position)
{
	for (size_t i = 0; i < position->nviews; i++)
		position->views[i].needed = position->safe_lsn < position->views[i].horizon;
	for (size_t i = 0; i < position->nplaces; i++)
	{
		const psti_place *place = &position->places[i];

		if (psti_place_is_read(place))
			continue;
		for (size_t p = 0; p < place->nparts; p++)
			if (place->parts[p].view != PSTI_NO_VIEW)
				position->views[place->parts[p].view].needed = true;
	}
}

/* One pass over all parts, however many views there are. */
bool
psti_position_forget(psti_position *position)
{
	size_t n = 0;

	mark_needed(position);
	for (size_t i = 0; i < position->nviews; i++)
		position->views[i].becomes = position->views[i].needed ? n++ : PSTI_NO_VIEW;
	if (n == position->nviews)
		return false;
	for (size_t i = 0; i < position->nplaces; i++)
	{
		psti_place *place = &position->places[i];

		for (size_t p = 0; p < place->nparts; p++)
			if (place->parts[p].view != PSTI_NO_VIEW)
				place->parts[p].view = position->views[place->parts[p].view].becomes;
		psti_place_merge(place);
	}
	n = 0;
	for (size_t i = 0; i < position->nviews; i++)
	{
		if (position->views[i].needed)
			position->views[n++] = position->views[i];
		else
			psti_snapshot_free(&position->views[i].snapshot);
	}
	position->nviews = n;
	return true;
}

/* ---- Printing ---- */

static void
put_text(psti_buf *out, const char *key, const char *value)
{
	psti_buf_printf(out, "\"%s\":", key);
	psti_json_put_bytes(out, value);
	psti_buf_putc(out, ',');
}

static void
put_lsn(psti_buf *out, const char *key, uint64_t lsn)
{
	char text[PSTI_LSN_SIZE];

	psti_buf_printf(out, ",\"%s\":\"%s\"", key, psti_lsn_print(lsn, text));
}

static void
put_part(psti_buf *out, const psti_part *part)
{
	psti_buf_printf(out, "{\"state\":\"%s\"", part_states[part->state]);
	if (part->view != PSTI_NO_VIEW)
		psti_buf_printf(out, ",\"view\":%zu", part->view);
	if (part->lower != NULL)
	{
		psti_buf_printf(out, ",\"key\":\"%016" PRIx64 "%016" PRIx64 "\",\"lower\":", part->key.high,
						part->key.low);
		psti_json_put_bytes(out, part->lower);
	}
	psti_buf_putc(out, '}');
}

/* Of most tables there is nothing to say but that they were read. */
static bool
is_plain(const psti_place *place)
{
	bool leaves = place->nleaves > 1 || (place->nleaves == 1 && place->leaves[0].oid != place->oid);

	return !leaves && place->nunlogged == 0 && !place->gone && place->nparts == 1 &&
		   place->parts[0].state == PSTI_PART_READ && place->parts[0].view == PSTI_NO_VIEW;
}

static void
put_leaves(psti_buf *out, const psti_place *place)
{
	psti_buf_puts(out, ",\"leaves\":[");
	for (size_t i = 0; i < place->nleaves; i++)
		psti_buf_printf(out, "%s[%" PRIu32 ",%" PRIu32 "]", i > 0 ? "," : "", place->leaves[i].oid,
						place->leaves[i].filenode);
	psti_buf_putc(out, ']');
}

static void
put_oids(psti_buf *out, const char *before, const uint32_t *oids, size_t n)
{
	if (n == 0)
		return;
	psti_buf_printf(out, "%s[", before);
	for (size_t i = 0; i < n; i++)
		psti_buf_printf(out, "%s%" PRIu32, i > 0 ? "," : "", oids[i]);
	psti_buf_putc(out, ']');
}

/* With the file, where it is watched. There may be thousands, printed after each event: by hand. */
static void
put_plain(psti_buf *out, const psti_place *place)
{
	static const char digits[] = "0123456789abcdef";
	char text[64];
	char *at = text;

	*at++ = '[';
	at += psti_text_int64(place->oid, at);
	*at++ = ',';
	*at++ = '"';
	for (int shift = 60; shift >= 0; shift -= 4)
		*at++ = digits[place->columns >> shift & 15];
	*at++ = '"';
	if (place->nleaves == 1)
	{
		*at++ = ',';
		at += psti_text_int64(place->leaves[0].filenode, at);
	}
	psti_buf_append(out, text, (size_t) (at - text));
	put_oids(out, ",", place->members, place->nmembers);
	psti_buf_putc(out, ']');
}

static void
put_place(psti_buf *out, const psti_place *place)
{
	psti_buf_printf(out, "{\"oid\":%" PRIu32, place->oid);
	if (place->columns != 0)
		psti_buf_printf(out, ",\"columns\":\"%016" PRIx64 "\"", place->columns);
	if (place->gone)
		psti_buf_puts(out, ",\"gone\":true");
	if (place->column != NULL)
	{
		psti_buf_printf(out, ",\"kind\":\"%s\",\"column\":", kinds[place->kind]);
		psti_json_put_bytes(out, place->column);
	}
	psti_buf_puts(out, ",\"parts\":[");
	for (size_t i = 0; i < place->nparts; i++)
	{
		if (i > 0)
			psti_buf_putc(out, ',');
		put_part(out, &place->parts[i]);
	}
	psti_buf_putc(out, ']');
	if (place->nleaves > 0)
		put_leaves(out, place);
	put_oids(out, ",\"unlogged\":", place->unlogged, place->nunlogged);
	put_oids(out, ",\"members\":", place->members, place->nmembers);
	psti_buf_putc(out, '}');
}

static void
put_places(psti_buf *out, const psti_position *position)
{
	const char *separator = "";

	psti_buf_puts(out, ",\"read\":[");
	for (size_t i = 0; i < position->nplaces; i++)
	{
		if (!is_plain(&position->places[i]))
			continue;
		psti_buf_puts(out, separator);
		put_plain(out, &position->places[i]);
		separator = ",";
	}
	psti_buf_puts(out, "],\"tables\":[");
	separator = "";
	for (size_t i = 0; i < position->nplaces; i++)
	{
		if (is_plain(&position->places[i]))
			continue;
		psti_buf_puts(out, separator);
		put_place(out, &position->places[i]);
		separator = ",";
	}
	psti_buf_putc(out, ']');
}

static void
put_views(psti_buf *out, const psti_position *position)
{
	psti_buf_puts(out, ",\"views\":[");
	for (size_t i = 0; i < position->nviews; i++)
	{
		psti_buf_printf(out, "%s{\"snapshot\":\"", i > 0 ? "," : "");
		psti_snapshot_print(&position->views[i].snapshot, out);
		psti_buf_putc(out, '"');
		put_lsn(out, "horizon", position->views[i].horizon);
		psti_buf_putc(out, '}');
	}
	psti_buf_putc(out, ']');
}

static const char *const stages[] = {"creating", "snapshot", "stream"};

pst_status
psti_position_print(const psti_position *position, char **out, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;

	psti_buf_puts(&text, PSTI_POSITION_PREFIX "{");
	put_text(&text, "slot", position->slot);
	put_text(&text, "plugin", position->plugin);
	put_text(&text, "system", position->system);
	put_text(&text, "database", position->database);
	put_text(&text, "options", position->options);
	psti_buf_printf(&text, "\"timeline\":%" PRIu32 ",\"stage\":\"%s\",\"serial\":\"%" PRIu64 "\"",
					position->timeline, stages[position->stage], position->serial);
	put_lsn(&text, "safe", position->safe_lsn);
	if (position->stage == PSTI_STAGE_CREATING && position->maker != 0)
		psti_buf_printf(&text, ",\"maker\":%d,\"made\":\"%" PRId64 "\"", position->maker,
						position->made);
	if (position->publication != 0)
		psti_buf_printf(&text, ",\"publication\":%" PRIu32, position->publication);
	if (position->commit_lsn != 0)
	{
		put_lsn(&text, "commit", position->commit_lsn);
		psti_buf_printf(&text, ",\"number\":\"%" PRIu64 "\"", position->number);
	}
	if (position->message_lsn != 0 && position->message_lsn >= position->safe_lsn)
		put_lsn(&text, "message", position->message_lsn);
	if (position->stage == PSTI_STAGE_SNAPSHOT)
		put_lsn(&text, "complete", position->complete_lsn);
	if (position->nviews > 0)
		put_views(&text, position);
	if (position->nplaces > 0)
		put_places(&text, position);
	psti_buf_putc(&text, '}');
	*out = psti_buf_steal(&text);
	return *out == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* ---- Parsing ---- */

static pst_status
not_a_position(pst_error *err, const char *why)
{
	psti_fail(err, PST_ERR_INVALID, "not a position: %s", why);
	psti_error_hint(err, "Pass a text of pst_cdc_position unchanged.");
	return PST_ERR_INVALID;
}

static pst_status
get_text(const psti_json *object, const char *key, char **out, pst_error *err)
{
	const char *value = psti_json_text(object, key);

	if (value == NULL)
		return not_a_position(err, "a member is missing");
	*out = strdup(value);
	return *out == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* An LSN; absent it is 0 where it may be. */
static pst_status
get_lsn(const psti_json *object, const char *key, bool needed, uint64_t *out, pst_error *err)
{
	const char *value = psti_json_text(object, key);
	bool there = psti_json_get(object, key) != NULL;

	*out = 0;
	if ((there || needed) && (value == NULL || !psti_lsn_parse(value, out)))
		return not_a_position(err, "a place in WAL is none");
	return PST_OK;
}

/* A number from 0 on, or dflt where it is absent. False: it is none. */
static bool
get_number(const psti_json *object, const char *key, int64_t dflt, int64_t *out)
{
	bool there = psti_json_get(object, key) != NULL;

	*out = there ? psti_json_int(object, key, -1) : dflt;
	return !there || *out >= 0;
}

/* The number of the word, or n. */
static size_t
find_word(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; word != NULL && i < n; i++)
		if (strcmp(words[i], word) == 0)
			return i;
	return n;
}

static bool
get_oid(const psti_json *value, const char *key, uint32_t *out)
{
	int64_t number = psti_json_int(value, key, -1);

	if (number < 0 || number > UINT32_MAX)
		return false;
	*out = (uint32_t) number;
	return true;
}

/* n hexadecimal digits, at most 16. */
static bool
parse_hex(const char *text, size_t n, uint64_t *out)
{
	char half[17];
	char *end;

	if (strspn(text, "0123456789abcdef") < n)
		return false;
	memcpy(half, text, n);
	half[n] = '\0';
	*out = strtoull(half, &end, 16);
	return true;
}

static bool
parse_key(const char *text, psti_region_key *out)
{
	return text != NULL && strlen(text) == 32 && parse_hex(text, 16, &out->high) &&
		   parse_hex(text + 16, 16, &out->low);
}

static bool
parse_hash(const char *text, uint64_t *out)
{
	return text != NULL && strlen(text) == 16 && parse_hex(text, 16, out);
}

static pst_status
get_part(const psti_json *item, const psti_position *position, bool first, psti_part *part,
		 pst_error *err)
{
	size_t state = find_word(part_states, 3, psti_json_text(item, "state"));
	const char *lower = psti_json_text(item, "lower");
	int64_t view;

	if (state == 3 || !get_number(item, "view", -1, &view) || view >= (int64_t) position->nviews)
		return not_a_position(err, "a region has a state that cannot be");
	if ((lower == NULL) != first ||
		(lower != NULL && !parse_key(psti_json_text(item, "key"), &part->key)))
		return not_a_position(err, "a region has a bound that cannot be");
	part->state = (psti_part_state) state;
	part->view = view < 0 ? PSTI_NO_VIEW : (size_t) view;
	if (lower != NULL)
		part->lower = strdup(lower);
	return lower != NULL && part->lower == NULL ? psti_fail_nomem(err) : PST_OK;
}

static pst_status
get_parts(const psti_json *object, const psti_position *position, psti_place *place, pst_error *err)
{
	const psti_json *parts = psti_json_get(object, "parts");
	const psti_json *item = psti_json_first(parts);
	size_t n = psti_json_size(parts);
	pst_status status = PST_OK;

	if (n == 0 || (n > 1 && place->column == NULL))
		return not_a_position(err, "a table has no regions");
	free_parts(place);
	place->parts = calloc(n, sizeof(*place->parts));
	if (place->parts == NULL)
		return psti_fail_nomem(err);
	place->nparts = n;
	for (size_t i = 0; status == PST_OK && i < n; i++, item = psti_json_next(item))
	{
		status = get_part(item, position, i == 0, &place->parts[i], err);
		if (status == PST_OK && i > 1 &&
			psti_region_key_compare(&place->parts[i - 1].key, &place->parts[i].key) >= 0)
			status = not_a_position(err, "regions are out of order");
	}
	return status;
}

/* An OID or file node at a place of an array. */
static bool
get_element(const psti_json *array, size_t at, uint32_t *out)
{
	int64_t number = psti_json_int_value(psti_json_at(array, at), -1);

	if (number < 0 || number > UINT32_MAX)
		return false;
	*out = (uint32_t) number;
	return true;
}

static pst_status
get_leaves(const psti_json *object, psti_place *place, pst_error *err)
{
	const psti_json *item = psti_json_first(psti_json_get(object, "leaves"));
	pst_status status = PST_OK;

	for (; status == PST_OK && item != NULL; item = psti_json_next(item))
	{
		uint32_t oid;
		uint32_t filenode;

		if (!get_element(item, 0, &oid) || !get_element(item, 1, &filenode))
			return not_a_position(err, "a partition is none");
		status = psti_place_add_leaf(place, oid, filenode, err);
	}
	return status;
}

/* What is not there is none. */
static pst_status
get_members(const psti_json *list, psti_place *place, pst_error *err)
{
	size_t n = psti_json_size(list);
	uint32_t *members = calloc(n + 1, sizeof(*members));
	bool left;
	pst_status status = members == NULL ? psti_fail_nomem(err) : PST_OK;

	for (size_t i = 0; status == PST_OK && i < n; i++)
		if (!get_element(list, i, &members[i]))
			status = not_a_position(err, "a publication's table is none");
	if (status == PST_OK && n > 0)
		status = psti_place_set_members(place, members, n, &left, err);
	free(members);
	return status;
}

static pst_status
get_unlogged(const psti_json *object, psti_place *place, pst_error *err)
{
	const psti_json *list = psti_json_get(object, "unlogged");
	size_t n = psti_json_size(list);
	pst_status status = PST_OK;

	for (size_t i = 0; status == PST_OK && i < n; i++)
	{
		uint32_t oid;

		if (!get_element(list, i, &oid))
			return not_a_position(err, "an unlogged table is none");
		status = psti_place_set_unlogged(place, oid, true, err);
	}
	return status;
}

static pst_status
get_place(const psti_json *item, psti_position *position, pst_error *err)
{
	psti_place *place = NULL;
	uint32_t oid = 0;
	size_t kind;
	pst_status status;

	if (!get_oid(item, "oid", &oid) || psti_position_find(position, oid) != NULL)
		return not_a_position(err, "a table is there twice, or is none");
	status = psti_position_add(position, oid, &place, err);
	if (status != PST_OK)
		return status;
	place->gone = psti_json_bool(item, "gone", false);
	if (psti_json_get(item, "columns") != NULL &&
		!parse_hash(psti_json_text(item, "columns"), &place->columns))
		return not_a_position(err, "a table has columns that are none");
	if (psti_json_get(item, "column") != NULL)
	{
		kind = find_word(kinds, sizeof(kinds) / sizeof(kinds[0]), psti_json_text(item, "kind"));
		if (kind == PSTI_KEY_NONE || kind == sizeof(kinds) / sizeof(kinds[0]))
			return not_a_position(err, "a table is cut by a type that cannot be");
		place->kind = (psti_key_kind) kind;
		status = get_text(item, "column", &place->column, err);
	}
	if (status == PST_OK)
		status = get_parts(item, position, place, err);
	if (status == PST_OK)
		status = get_leaves(item, place, err);
	if (status == PST_OK)
		status = get_unlogged(item, place, err);
	return status == PST_OK ? get_members(psti_json_get(item, "members"), place, err) : status;
}

static pst_status
get_places(const psti_json *root, psti_position *position, pst_error *err)
{
	const psti_json *item = psti_json_first(psti_json_get(root, "read"));
	pst_status status = PST_OK;

	for (; status == PST_OK && item != NULL; item = psti_json_next(item))
	{
		const char *columns = psti_json_string_value(psti_json_at(item, 1));
		/* Then comes the file, a number, where it is watched, and then the members. */
		bool watched = psti_json_int_value(psti_json_at(item, 2), -1) >= 0;
		psti_place *place = NULL;
		uint64_t hash;
		uint32_t oid;
		uint32_t filenode = 0;

		if (!get_element(item, 0, &oid) || !parse_hash(columns, &hash) ||
			(watched && !get_element(item, 2, &filenode)) ||
			psti_position_find(position, oid) != NULL)
			return not_a_position(err, "a table is there twice, or is none");
		status = psti_position_add(position, oid, &place, err);
		if (status != PST_OK)
			break;
		place->parts[0].state = PSTI_PART_READ;
		place->columns = hash;
		if (watched)
			status = psti_place_add_leaf(place, oid, filenode, err);
		if (status == PST_OK)
			status = get_members(psti_json_at(item, watched ? 3 : 2), place, err);
	}
	item = psti_json_first(psti_json_get(root, "tables"));
	for (; status == PST_OK && item != NULL; item = psti_json_next(item))
		status = get_place(item, position, err);
	return status;
}

static pst_status
get_views(const psti_json *root, psti_position *position, pst_error *err)
{
	const psti_json *views = psti_json_get(root, "views");
	const psti_json *item = psti_json_first(views);
	pst_status status = PST_OK;

	if (psti_json_size(views) > MAX_VIEWS)
		return not_a_position(err, "it has too many snapshots");
	for (; status == PST_OK && item != NULL; item = psti_json_next(item))
	{
		const char *text = psti_json_text(item, "snapshot");
		psti_snapshot snapshot = {0};
		uint64_t horizon;
		size_t view;

		status = text == NULL ? PST_ERR_INVALID : psti_snapshot_parse(text, &snapshot, err);
		if (status == PST_ERR_INVALID)
			return not_a_position(err, "a snapshot is none");
		if (status == PST_OK)
			status = get_lsn(item, "horizon", true, &horizon, err);
		if (status == PST_OK)
			status = psti_position_see(position, &snapshot, horizon, &view, err);
		psti_snapshot_free(&snapshot);
	}
	return status;
}

static pst_status
get_all(const psti_json *root, psti_position *out, pst_error *err)
{
	size_t stage = find_word(stages, 3, psti_json_text(root, "stage"));
	int64_t serial = psti_json_int(root, "serial", -1);
	int64_t number;
	int64_t maker;
	pst_status status;

	if (stage == 3 || serial < 0 || !get_number(root, "number", 0, &number) ||
		!get_number(root, "maker", 0, &maker) || maker > INT32_MAX ||
		!get_number(root, "made", 0, &out->made) || !get_oid(root, "timeline", &out->timeline))
		return not_a_position(err, "a member is missing, or none that can be");
	out->stage = (psti_stage) stage;
	out->serial = (uint64_t) serial;
	out->number = (uint64_t) number;
	out->maker = (int) maker;
	status = get_text(root, "slot", &out->slot, err);
	if (status == PST_OK)
		status = get_text(root, "plugin", &out->plugin, err);
	if (status == PST_OK)
		status = get_text(root, "system", &out->system, err);
	if (status == PST_OK)
		status = get_text(root, "database", &out->database, err);
	if (status == PST_OK)
		status = get_text(root, "options", &out->options, err);
	if (status == PST_OK)
		status = get_lsn(root, "safe", true, &out->safe_lsn, err);
	if (status == PST_OK)
		status = get_lsn(root, "commit", false, &out->commit_lsn, err);
	if (status == PST_OK)
		status = get_lsn(root, "message", false, &out->message_lsn, err);
	if (status == PST_OK)
		status = get_lsn(root, "complete", false, &out->complete_lsn, err);
	if (status == PST_OK && psti_json_get(root, "publication") != NULL &&
		!get_oid(root, "publication", &out->publication))
		status = not_a_position(err, "its publication is none");
	if (status == PST_OK)
		status = get_views(root, out, err);
	return status == PST_OK ? get_places(root, out, err) : status;
}

pst_status
psti_position_parse(const char *text, psti_position *out, pst_error *err)
{
	psti_json *root = NULL;
	pst_error ignored;
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (strncmp(text, PSTI_POSITION_PREFIX, strlen(PSTI_POSITION_PREFIX)) != 0)
		return not_a_position(err, "it does not begin with " PSTI_POSITION_PREFIX);
	status = psti_json_parse(text + strlen(PSTI_POSITION_PREFIX), &root, &ignored);
	if (status == PST_ERR_NOMEM)
		return psti_fail_nomem(err);
	if (status != PST_OK)
		return not_a_position(err, "it is cut or damaged");
	status = get_all(root, out, err);
	psti_json_free(root);
	if (status != PST_OK)
		psti_position_free(out);
	return status;
}

void
psti_position_free(psti_position *position)
{
	for (size_t i = 0; i < position->nviews; i++)
		psti_snapshot_free(&position->views[i].snapshot);
	for (size_t i = 0; i < position->nplaces; i++)
		free_place(&position->places[i]);
	free(position->views);
	free(position->places);
	free(position->system);
	free(position->database);
	free(position->slot);
	free(position->plugin);
	free(position->options);
	memset(position, 0, sizeof(*position));
}

/* ---- Order ---- */

static int
compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int
psti_position_order(const psti_position *a, const psti_position *b)
{
	uint64_t lsn_a = a->safe_lsn > a->commit_lsn ? a->safe_lsn : a->commit_lsn;
	uint64_t lsn_b = b->safe_lsn > b->commit_lsn ? b->safe_lsn : b->commit_lsn;
	int order = compare(lsn_a, lsn_b);

	if (order == 0)
		order = compare(a->commit_lsn != 0 ? a->number : 0, b->commit_lsn != 0 ? b->number : 0);
	return order != 0 ? order : compare(a->serial, b->serial);
}

pst_status
pst_position_compare(const char *a, const char *b, int *order, pst_error *err)
{
	psti_position first = {0};
	psti_position second = {0};
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*order = 0;
	status = psti_position_parse(a, &first, &full);
	if (status == PST_OK)
		status = psti_position_parse(b, &second, &full);
	if (status == PST_OK &&
		(strcmp(first.slot, second.slot) != 0 || strcmp(first.plugin, second.plugin) != 0 ||
		 strcmp(first.system, second.system) != 0 || strcmp(first.database, second.database) != 0))
	{
		status = psti_fail(&full, PST_ERR_INVALID, "the positions are of different captures");
		psti_error_detail(&full,
						  "One is of slot \"%s\" (%s) of database \"%s\", one of \"%s\" (%s) of "
						  "\"%s\".",
						  first.slot, first.plugin, first.database, second.slot, second.plugin,
						  second.database);
		psti_error_hint(&full, "Only positions of one slot have an order.");
	}
	if (status == PST_OK)
		*order = psti_position_order(&first, &second);
	psti_position_free(&first);
	psti_position_free(&second);
	return psti_leave(err, &full, status);
}
