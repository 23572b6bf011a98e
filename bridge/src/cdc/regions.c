/*
 * regions.c - the plan of a capture whose tables are read by others: cdc.regions = plan.
 *
 * A table is taken up as reading.c does it. Instead of reading, its first reader is kept: it holds the
 * moment and the locks while the table's regions are given out as texts (region_split.h), until all are
 * done. A region that was given out is begun in the position, with the view that it is read under. So
 * one that is not done at a restart is cleared and planned anew, as an interrupted one always is; and one whose
 * rows are with the position, though it was stored before the region was done, can still be told to be.
 */
#include "cdc/capture.h"

#include <stdlib.h>

#include "cdc/region_split.h"
#include "failpoint.h"
#include "source_internal.h"
#include "split.h"

/* How often sessions that hold a snapshot are looked after; a call waits no longer. */
#define LOOK_MS 1000

/* A piece of a region. */
typedef struct given
{
	char *split; /* owned */
	size_t part;
	bool out; /* pst_cdc_plan gave it */
	bool done;
} given;

/* A table that is being read by others. */
typedef struct held
{
	uint32_t oid;
	pst_source *source; /* holds the moment and the locks; owned */
	given *pieces;
	size_t npieces;
	size_t ndone;
} held;

/* A region of a plan from before the restart of which some pieces are told to be done. */
typedef struct remembered
{
	psti_region_split region; /* of one of them; owned */
	bool *done;				  /* owned */
	size_t ndone;
} remembered;

typedef struct psti_plan
{
	held *tables;
	size_t ntables;
	size_t part; /* of the table at work: the next one to be told of */
	char **over; /* ids of snapshots whose regions were all done; owned */
	size_t nover;
	remembered *before;
	size_t nbefore;
	int64_t looked_at;
} psti_plan;

pst_status
psti_regions_new(pst_cdc *cdc, pst_error *err)
{
	cdc->plan = calloc(1, sizeof(*cdc->plan));
	return cdc->plan == NULL ? psti_fail_nomem(err) : PST_OK;
}

static void
free_held(held *table)
{
	for (size_t i = 0; i < table->npieces; i++)
		free(table->pieces[i].split);
	free(table->pieces);
	pst_source_close(table->source);
	memset(table, 0, sizeof(*table));
}

void
psti_regions_free(pst_cdc *cdc)
{
	psti_plan *plan = cdc->plan;

	if (plan == NULL)
		return;
	for (size_t i = 0; i < plan->ntables; i++)
		free_held(&plan->tables[i]);
	for (size_t i = 0; i < plan->nover; i++)
		free(plan->over[i]);
	for (size_t i = 0; i < plan->nbefore; i++)
	{
		psti_region_split_free(&plan->before[i].region);
		free(plan->before[i].done);
	}
	free(plan->tables);
	free(plan->over);
	free(plan->before);
	free(plan);
	cdc->plan = NULL;
}

static held *
find_held(const psti_plan *plan, uint32_t oid)
{
	for (size_t i = 0; i < plan->ntables; i++)
		if (plan->tables[i].oid == oid)
			return &plan->tables[i];
	return NULL;
}

/* ---- Texts ---- */

/* The option as it was given last, or NULL. */
static const char *
given_text(const pst_cdc *cdc, psti_opt wanted)
{
	const char *found = NULL;
	psti_opt opt;

	for (size_t i = 0; cdc->keys[i] != NULL; i++)
		if (psti_opt_handles(cdc->keys[i], &opt) != 0 && opt == wanted && cdc->values[i] != NULL)
			found = cdc->values[i];
	return found;
}

/* What all regions of the table at work have in common; nothing in it is owned but view. */
static pst_status
describe(const pst_cdc *cdc, const psti_place *place, psti_region_split *out, pst_error *err)
{
	const psti_reading *r = &cdc->reading;
	const psti_subject *subject = psti_scope_subject(&cdc->scope, place->oid);
	psti_buf view = PSTI_BUF_INIT;

	*out = (psti_region_split){.system = cdc->at.system,
							   .database = cdc->at.database,
							   .slot = cdc->at.slot,
							   .timeline = cdc->at.timeline,
							   .safe_lsn = cdc->at.safe_lsn,
							   .commit_lsn = cdc->at.commit_lsn,
							   .number = cdc->at.commit_lsn != 0 ? cdc->at.number : 0,
							   .oid = place->oid,
							   .schema = subject->schema,
							   .table = subject->name,
							   .columns = subject->columns,
							   .ncolumns = subject->ncolumns,
							   .key = subject->key,
							   .nkeys = subject->nkeys,
							   .values = (char *) given_text(cdc, PSTI_OPT_VALUES),
							   .special_values = (char *) given_text(cdc, PSTI_OPT_SPECIAL_VALUES),
							   .text_columns = (char *) given_text(cdc, PSTI_OPT_TEXT_COLUMNS),
							   .assisted = r->readers[0].source->rules.assisted,
							   .column = place->column};
	if (r->view == PSTI_NO_VIEW)
		return PST_OK;
	psti_snapshot_print(&cdc->at.views[r->view].snapshot, &view);
	out->view = psti_buf_steal(&view);
	return out->view == NULL ? psti_fail_nomem(err) : PST_OK;
}

static size_t
count_pieces(const psti_reading *r, size_t part)
{
	size_t n = 0;

	for (size_t i = 0; i < r->npieces; i++)
		n += r->pieces[i].part == part;
	return n;
}

static pst_status
print_pieces(const psti_reading *r, const psti_place *place, psti_region_split *split, held *table,
			 pst_error *err)
{
	pst_status status = PST_OK;

	for (size_t i = 0; status == PST_OK && i < r->npieces; i++)
	{
		size_t part = r->pieces[i].part;
		bool first = i == 0 || r->pieces[i - 1].part != part;

		split->piece = first ? 0 : split->piece + 1;
		split->npieces = first ? count_pieces(r, part) : split->npieces;
		split->lower = place->parts[part].lower;
		split->upper = psti_part_upper(place, part);
		split->read = r->pieces[i].split;
		table->pieces[i].part = part;
		table->npieces++;
		status = psti_region_split_print(split, &table->pieces[i].split, err);
	}
	return status;
}

/* The table at work becomes one that others read. */
static pst_status
hold(pst_cdc *cdc, pst_error *err)
{
	psti_plan *plan = cdc->plan;
	psti_reading *r = &cdc->reading;
	const psti_place *place = psti_position_find(&cdc->at, r->oid);
	held *grown = realloc(plan->tables, (plan->ntables + 1) * sizeof(*grown));
	held table = {.oid = r->oid, .pieces = calloc(r->npieces + 1, sizeof(*table.pieces))};
	psti_region_split split = {0};
	pst_status status = PST_OK;

	if (grown != NULL)
		plan->tables = grown;
	if (grown == NULL || table.pieces == NULL)
		status = psti_fail_nomem(err);
	if (status == PST_OK)
		status = describe(cdc, place, &split, err);
	if (status == PST_OK)
		status = print_pieces(r, place, &split, &table, err);
	free(split.view);
	if (status != PST_OK)
	{
		free_held(&table);
		return status;
	}
	table.source = r->readers[0].source;
	r->readers[0].source = NULL;
	psti_reading_end_table(cdc);
	plan->tables[plan->ntables++] = table;
	plan->part = 0;
	return PST_OK;
}

/* ---- Events ---- */

/*
 * What is told of the table at work before its regions are given out. From then on they are begun: rows of
 * them may come to be with any position that is stored later.
 */
static pst_status
announce(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	psti_plan *plan = cdc->plan;
	psti_reading *r = &cdc->reading;
	uint32_t oid = r->oid;
	psti_place *place = psti_position_find(&cdc->at, oid);
	pst_status status = psti_reading_tell(cdc, out);

	if (status != PST_AGAIN)
		return status;
	while (plan->part < place->nparts)
	{
		psti_part *part = &place->parts[plan->part++];

		if (part->state == PSTI_PART_READ)
			continue;
		if (psti_reading_clear(cdc, plan->part - 1, out) == PST_OK)
			return PST_OK;
		part->state = PSTI_PART_BEGUN;
		part->view = r->view;
	}
	status = hold(cdc, err);
	if (status != PST_OK)
		return status;
	psti_event_begin(cdc, PST_EVENT_REGIONS, out);
	psti_event_table(cdc, psti_capture_of(cdc, oid), out);
	return PST_OK;
}

/* A session that holds a snapshot may be lost: then no reader can join it any more. */
static pst_status
look_after(pst_cdc *cdc, pst_error *err)
{
	psti_plan *plan = cdc->plan;
	int64_t now = psti_now_ms();
	pst_status status = PST_OK;

	if (now - plan->looked_at < LOOK_MS)
		return PST_OK;
	plan->looked_at = now;
	for (size_t i = 0; status == PST_OK && i < plan->ntables; i++)
		status = psti_conn_exec(plan->tables[i].source->conn, "holding the snapshot of a plan",
								"SELECT 1", NULL, err);
	return status;
}

static uint32_t
next_table(const pst_cdc *cdc)
{
	for (size_t i = 0; i < cdc->at.nplaces; i++)
		if (!psti_place_is_read(&cdc->at.places[i]) &&
			find_held(cdc->plan, cdc->at.places[i].oid) == NULL)
			return cdc->at.places[i].oid;
	return 0;
}

bool
psti_regions_stand(const pst_cdc *cdc)
{
	return cdc->plan != NULL && cdc->step == PSTI_STEP_READ && cdc->plan->ntables > 0 &&
		   cdc->reading.oid == 0;
}

pst_status
psti_regions_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err)
{
	psti_plan *plan = cdc->plan;
	size_t jobs = (size_t) psti_opt_int(cdc->options, PSTI_OPT_CDC_JOBS);

	/* Meanwhile readers may be through. */
	if (plan->ntables > 0 && (timeout_ms < 0 || timeout_ms > LOOK_MS))
		timeout_ms = LOOK_MS;
	while (cdc->reading.oid == 0)
	{
		uint32_t oid = plan->ntables < jobs ? next_table(cdc) : 0;
		pst_status status;

		if (oid == 0 && plan->ntables == 0)
			return PST_END;
		status = look_after(cdc, err);
		if (status == PST_OK && oid == 0)
		{
			status = psti_conn_pause(&cdc->hooks, timeout_ms, err);
			return status == PST_OK ? PST_AGAIN : status;
		}
		if (status == PST_OK)
			status = psti_reading_begin(cdc, oid, timeout_ms, err);
		if (status != PST_OK)
			return status;
	}
	return announce(cdc, out, err);
}

/* ---- Giving out ---- */

static pst_status
check_plan(const pst_cdc *cdc, pst_error *err)
{
	if (cdc->failed)
	{
		psti_fail(err, PST_ERR_STATE, "the capture has failed");
		psti_error_hint(err, "Close it, and open it again at the stored position.");
		return PST_ERR_STATE;
	}
	if (cdc->plan == NULL)
	{
		psti_fail(err, PST_ERR_STATE, "the capture plans no regions: it reads them itself");
		psti_error_hint(err, "Open it with option cdc.regions=plan.");
		return PST_ERR_STATE;
	}
	return PST_OK;
}

/* The texts that were not given out yet, behind their array in one allocation. */
static pst_status
pack(psti_plan *plan, char ***out, size_t *nout, pst_error *err)
{
	size_t bytes = 0;
	size_t n = 0;
	char *text;

	for (size_t t = 0; t < plan->ntables; t++)
		for (size_t i = 0; i < plan->tables[t].npieces; i++)
			if (!plan->tables[t].pieces[i].out)
			{
				bytes += strlen(plan->tables[t].pieces[i].split) + 1;
				n++;
			}
	*out = malloc((n + 1) * sizeof(**out) + bytes);
	if (*out == NULL)
		return psti_fail_nomem(err);
	text = (char *) (*out + n + 1);
	for (size_t t = 0; t < plan->ntables; t++)
		for (size_t i = 0; i < plan->tables[t].npieces; i++)
		{
			given *piece = &plan->tables[t].pieces[i];
			size_t size = strlen(piece->split) + 1;

			if (piece->out)
				continue;
			piece->out = true;
			(*out)[(*nout)++] = memcpy(text, piece->split, size);
			text += size;
		}
	(*out)[n] = NULL;
	return PST_OK;
}

pst_status
pst_cdc_plan(pst_cdc *cdc, char ***splits, size_t *nsplits, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*splits = NULL;
	*nsplits = 0;
	status = check_plan(cdc, &full);
	if (status == PST_OK)
		status = pack(cdc->plan, splits, nsplits, &full);
	return psti_leave(err, &full, status);
}

/* ---- Taking back ---- */

/* All regions of the table are done: its locks go. */
static pst_status
end_table(pst_cdc *cdc, held *table, pst_error *err)
{
	psti_plan *plan = cdc->plan;
	char **over = realloc(plan->over, (plan->nover + 1) * sizeof(*over));

	if (over == NULL)
		return psti_fail_nomem(err);
	plan->over = over;
	over[plan->nover] = strdup(table->source->snapshot);
	if (over[plan->nover] == NULL)
		return psti_fail_nomem(err);
	plan->nover++;
	psti_place_merge(psti_position_find(&cdc->at, table->oid));
	free_held(table);
	plan->ntables--;
	memmove(table, table + 1, (size_t) (plan->tables + plan->ntables - table) * sizeof(*table));
	(void) PSTI_FAILPOINT("cdc.table_read");
	return PST_OK;
}

static bool
is_done(const held *table, size_t part)
{
	for (size_t i = 0; i < table->npieces; i++)
		if (table->pieces[i].part == part && !table->pieces[i].done)
			return false;
	return true;
}

static pst_status
finish(pst_cdc *cdc, held *table, given *piece, pst_error *err)
{
	psti_place *place = psti_position_find(&cdc->at, table->oid);

	if (!piece->done)
	{
		piece->done = true;
		table->ndone++;
		cdc->at.serial++;
		if (is_done(table, piece->part))
			place->parts[piece->part].state = PSTI_PART_READ;
	}
	return table->ndone == table->npieces ? end_table(cdc, table, err) : PST_OK;
}

/* Whether the split is of a plan of this handle of which all regions were done. */
static bool
was_done(const pst_cdc *cdc, const psti_split *split)
{
	const psti_plan *plan = cdc->plan;

	for (size_t i = 0; i < plan->nover; i++)
		if (strcmp(plan->over[i], split->snapshot) == 0 &&
			strcmp(psti_conn_caps(cdc->conn)->postmaster_start, split->started) == 0)
			return true;
	return false;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Whether the part's view, or the slot's own snapshot, is that of the region. PST_AGAIN: it is not. */
static pst_status
check_view(const pst_cdc *cdc, const psti_part *part, const char *view, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;
	bool same;

	if (part->view == PSTI_NO_VIEW || view == NULL)
		return part->view == PSTI_NO_VIEW && view == NULL ? PST_OK : PST_AGAIN;
	psti_snapshot_print(&cdc->at.views[part->view].snapshot, &text);
	if (text.failed)
		return psti_fail_nomem(err);
	same = strcmp(text.data, view) == 0;
	psti_buf_free(&text);
	return same ? PST_OK : PST_AGAIN;
}

/*
 * The part that the region was when it was planned, at this position and before this handle: begun, and not
 * begun anew, which any call of pst_cdc_next may do. *out NULL: there is none.
 */
static pst_status
find_part(const pst_cdc *cdc, const psti_region_split *region, psti_part **out, pst_error *err)
{
	psti_place *place = psti_position_find(&cdc->at, region->oid);
	bool here = region->safe_lsn == cdc->at.safe_lsn && region->timeline == cdc->at.timeline &&
				region->commit_lsn == cdc->at.commit_lsn &&
				(region->commit_lsn == 0 || region->number == cdc->at.number);

	*out = NULL;
	if (cdc->begun || !here || place == NULL || !same_text(place->column, region->column))
		return PST_OK;
	for (size_t i = 0; i < place->nparts; i++)
	{
		psti_part *part = &place->parts[i];
		pst_status status = PST_AGAIN;

		if (part->state == PSTI_PART_BEGUN && same_text(part->lower, region->lower) &&
			same_text(psti_part_upper(place, i), region->upper))
			status = check_view(cdc, part, region->view, err);
		if (status == PST_OK)
			*out = part;
		if (status < 0)
			return status;
	}
	return PST_OK;
}

static bool
same_region(const psti_region_split *a, const psti_region_split *b)
{
	return a->oid == b->oid && a->npieces == b->npieces && a->safe_lsn == b->safe_lsn &&
		   a->commit_lsn == b->commit_lsn && a->number == b->number &&
		   same_text(a->view, b->view) && same_text(a->column, b->column) &&
		   same_text(a->lower, b->lower) && same_text(a->upper, b->upper);
}

/* Of the region; one is made (region is moved) where it may. NULL with err: out of memory. */
static remembered *
remember(psti_plan *plan, psti_region_split *region, bool make, pst_error *err)
{
	remembered *grown;
	bool *done;

	for (size_t i = 0; i < plan->nbefore; i++)
		if (same_region(&plan->before[i].region, region))
			return &plan->before[i];
	if (!make)
		return NULL;
	done = calloc(region->npieces, sizeof(*done));
	grown = realloc(plan->before, (plan->nbefore + 1) * sizeof(*grown));
	if (grown != NULL)
		plan->before = grown;
	if (grown == NULL || done == NULL)
	{
		free(done);
		psti_fail_nomem(err);
		return NULL;
	}
	grown[plan->nbefore] = (remembered){.region = *region, .done = done};
	memset(region, 0, sizeof(*region));
	return &grown[plan->nbefore++];
}

/*
 * A region of the plan that the position is of: its rows were read under a view that the position has, and
 * are with it. PST_AGAIN: it is of another plan.
 */
static pst_status
finish_before(pst_cdc *cdc, psti_region_split *region, pst_error *err)
{
	size_t piece = region->piece;
	uint32_t oid = region->oid;
	psti_part *part = NULL;
	remembered *known;
	pst_status status = find_part(cdc, region, &part, err);

	if (status != PST_OK)
		return status;
	err->status = PST_OK;
	known = remember(cdc->plan, region, part != NULL, err);
	if (known == NULL)
		return err->status < 0 ? err->status : PST_AGAIN;
	if (known->done[piece])
		return PST_OK;
	if (part == NULL)
		return PST_AGAIN;
	known->done[piece] = true;
	cdc->at.serial++;
	if (++known->ndone < known->region.npieces)
		return PST_OK;
	part->state = PSTI_PART_READ;
	psti_place_merge(psti_position_find(&cdc->at, oid));
	return PST_OK;
}

static pst_status
finish_other(pst_cdc *cdc, const char *text, pst_error *err)
{
	psti_region_split region;
	psti_split split = {0};
	pst_status status = psti_region_split_parse(text, &region, err);

	if (status != PST_OK)
		return status;
	status = psti_region_split_read(&region, &split, err);
	if (status == PST_OK &&
		(strcmp(region.slot, cdc->at.slot) != 0 || strcmp(region.system, cdc->at.system) != 0 ||
		 strcmp(region.database, cdc->at.database) != 0))
		status = psti_fail(err, PST_ERR_INVALID,
						   "the split is of another capture: of slot \"%s\", database \"%s\"",
						   region.slot, region.database);
	if (status == PST_OK && !was_done(cdc, &split))
	{
		status = finish_before(cdc, &region, err);
		if (status == PST_AGAIN)
			status = psti_region_split_over(&region, err);
	}
	psti_split_free(&split);
	psti_region_split_free(&region);
	return status;
}

static pst_status
region_done(pst_cdc *cdc, const char *split, pst_error *err)
{
	psti_plan *plan = cdc->plan;

	if (split == NULL)
		return psti_fail(err, PST_ERR_INVALID, "no split was given");
	for (size_t t = 0; t < plan->ntables; t++)
		for (size_t i = 0; i < plan->tables[t].npieces; i++)
			if (strcmp(plan->tables[t].pieces[i].split, split) == 0)
				return finish(cdc, &plan->tables[t], &plan->tables[t].pieces[i], err);
	return finish_other(cdc, split, err);
}

pst_status
pst_cdc_region_done(pst_cdc *cdc, const char *split, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = check_plan(cdc, &full);
	if (status == PST_OK)
		status = region_done(cdc, split, &full);
	return psti_leave(err, &full, status);
}
