/* capture.c - what the parts of a change capture share. See capture.h. */
#include "cdc/capture.h"

#include <stdlib.h>

#include "cdc/oids.h"

/* Where the OID is, or would be. */
static size_t
search(const pst_cdc *cdc, uint32_t oid)
{
	return psti_oid_search(cdc->captured, cdc->ncaptured, sizeof(*cdc->captured), oid);
}

psti_captured *
psti_capture_find(const pst_cdc *cdc, uint32_t oid)
{
	size_t i = search(cdc, oid);

	return i < cdc->ncaptured && cdc->captured[i].oid == oid ? cdc->captured[i].captured : NULL;
}

psti_captured *
psti_capture_of(pst_cdc *cdc, uint32_t oid)
{
	size_t i = search(cdc, oid);
	psti_captured *made;

	if (i < cdc->ncaptured && cdc->captured[i].oid == oid)
		return cdc->captured[i].captured;
	if (cdc->ncaptured == cdc->captured_room)
	{
		size_t room = cdc->captured_room == 0 ? 8 : cdc->captured_room * 2;
		psti_known *grown = realloc(cdc->captured, room * sizeof(*grown));

		if (grown == NULL)
			return NULL;
		cdc->captured = grown;
		cdc->captured_room = room;
	}
	made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	made->oid = oid;
	memmove(&cdc->captured[i + 1], &cdc->captured[i],
			(cdc->ncaptured - i) * sizeof(*cdc->captured));
	cdc->captured[i] = (psti_known){oid, made};
	cdc->ncaptured++;
	return made;
}

static void
forget_regions(psti_captured *captured)
{
	free((psti_region *) captured->regions.regions);
	memset(&captured->regions, 0, sizeof(captured->regions));
}

static bool
has_view(const psti_place *place)
{
	for (size_t i = 0; i < place->nparts; i++)
		if (place->parts[i].view != PSTI_NO_VIEW)
			return true;
	return false;
}

static pst_status
make_regions(const pst_cdc *cdc, const psti_place *place, psti_captured *captured, pst_error *err)
{
	psti_region *regions = calloc(place->nparts, sizeof(*regions));

	if (regions == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < place->nparts; i++)
	{
		const psti_part *part = &place->parts[i];

		regions[i].lower = part->key;
		if (part->view != PSTI_NO_VIEW)
			regions[i].snapshot = &cdc->at.views[part->view].snapshot;
	}
	captured->regions = (psti_regions){place->kind, regions, place->nparts};
	if (place->column != NULL && captured->version != NULL)
		captured->key_column = psti_table_find(captured->version, place->column);
	return PST_OK;
}

pst_status
psti_capture_judged(pst_cdc *cdc, pst_error *err)
{
	pst_status status = PST_OK;

	for (size_t i = 0; i < cdc->ncaptured; i++)
		forget_regions(cdc->captured[i].captured);
	/* Who can only upsert gets all changes: that converges, where rows were given twice. */
	for (size_t i = 0;
		 status == PST_OK && cdc->consumer != PSTI_CONSUMER_UPSERT && i < cdc->at.nplaces; i++)
	{
		const psti_place *place = &cdc->at.places[i];
		psti_captured *captured;

		if (place->gone || !has_view(place))
			continue;
		captured = psti_capture_of(cdc, place->oid);
		status = captured == NULL ? psti_fail_nomem(err) : make_regions(cdc, place, captured, err);
	}
	return status;
}

psti_waiting
psti_capture_waiting(const pst_cdc *cdc)
{
	return (psti_waiting){cdc->conn, &cdc->hooks, psti_opt_int(cdc->options, PSTI_OPT_WAIT_TIMEOUT),
						  cdc->extension};
}

pst_status
psti_capture_pass(pst_cdc *cdc, uint64_t lsn, pst_error *err)
{
	if (lsn > cdc->received)
		cdc->received = lsn;
	if (lsn <= cdc->at.safe_lsn)
		return PST_OK;
	cdc->at.safe_lsn = lsn;
	cdc->at.commit_lsn = 0;
	cdc->at.number = 0;
	return psti_position_forget(&cdc->at) ? psti_capture_judged(cdc, err) : PST_OK;
}

pst_status
psti_capture_add(pst_cdc *cdc, const psti_subject *subject, psti_place *place, pst_error *err)
{
	psti_log(&cdc->hooks, PST_LOG_INFO, "table %s has come into what is captured",
			 subject->qualified);
	if (cdc->startup == PSTI_STARTUP_INITIAL)
		return psti_capture_reset(cdc, place, "it is a table that was not captured before", err);
	place->parts[0].state = PSTI_PART_READ;
	return PST_OK;
}

pst_status
psti_capture_reset(pst_cdc *cdc, psti_place *place, const char *reason, pst_error *err)
{
	const psti_subject *subject = psti_scope_subject(&cdc->scope, place->oid);
	psti_captured *captured = psti_capture_of(cdc, place->oid);
	pst_status status;

	if (captured == NULL)
		return psti_fail_nomem(err);
	status = psti_place_reset(place, err);
	if (status != PST_OK)
		return status;
	forget_regions(captured);
	if (cdc->consumer != PSTI_CONSUMER_UPSERT)
		captured->reset = reason;
	cdc->at.stage = PSTI_STAGE_SNAPSHOT;
	cdc->step = PSTI_STEP_READ;
	cdc->reading.waited = false;
	cdc->tell_store = cdc->consumer != PSTI_CONSUMER_EXACT;
	if (subject != NULL)
		psti_log(&cdc->hooks, PST_LOG_INFO, "table %s is read anew: %s", subject->qualified,
				 reason);
	return PST_OK;
}

void
psti_capture_version(pst_cdc *cdc, psti_captured *captured, psti_table *version)
{
	psti_place *place = psti_position_find(&cdc->at, captured->oid);

	if (cdc->decoder != NULL)
		cdc->decoder->forget_tables(cdc->decoder);
	psti_table_free(captured->version);
	captured->version = version;
	version->captured = captured;
	if (place != NULL)
		place->columns = psti_table_hash(version);
	if (place != NULL && place->column != NULL)
		captured->key_column = psti_table_find(version, place->column);
}

void
psti_event_begin(pst_cdc *cdc, pst_event_kind kind, pst_event *out)
{
	memset(out, 0, sizeof(*out));
	out->struct_size = sizeof(*out);
	out->kind = kind;
	cdc->at.serial++;
}

void
psti_event_table(pst_cdc *cdc, const psti_captured *captured, pst_event *out)
{
	const psti_table *version = captured->version;

	out->database = psti_conn_caps(cdc->conn)->database;
	out->table_oid = captured->oid;
	if (version == NULL)
		return;
	out->schema_name = version->schema;
	out->table = version->name;
	out->schema = &version->arrow;
	out->key = version->key;
}

/* The first struct that was published ended here; rows.array, which is moved, lies before that. */
#define EVENT_SIZE_MIN (offsetof(pst_event, content_bytes) + sizeof(size_t))

pst_status
psti_event_empty(pst_event *out, pst_error *err)
{
	size_t size = out->struct_size < sizeof(*out) ? out->struct_size : sizeof(*out);

	if (size < EVENT_SIZE_MIN)
	{
		psti_fail(err, PST_ERR_INVALID, "the event's struct_size is not set");
		psti_error_hint(err, "Initialize it with PST_EVENT_INIT.");
		return PST_ERR_INVALID;
	}
	memset((char *) out + sizeof(size_t), 0, size - sizeof(size_t));
	return PST_OK;
}

void
psti_event_move(const pst_event *event, pst_event *out)
{
	size_t size = out->struct_size < sizeof(*out) ? out->struct_size : sizeof(*out);

	memcpy((char *) out + sizeof(size_t), (const char *) event + sizeof(size_t),
		   size - sizeof(size_t));
}
