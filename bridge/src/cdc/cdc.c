/* cdc.c - change capture: the public calls. See penstock.h for what they promise, capture.h for the parts. */
#include <stdlib.h>

#include "cdc/opening.h"
#include "cdc/publication.h"
#include "arrow_build.h"

static void
free_texts(char **texts)
{
	for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
		free(texts[i]);
	free(texts);
}

static void
free_capture(pst_cdc *cdc)
{
	psti_regions_free(cdc);
	psti_reading_free(cdc);
	psti_snapshot_free(&cdc->slot_snapshot);
	if (cdc->decoder != NULL)
		cdc->decoder->free(cdc->decoder);
	psti_completer_free(cdc->completer);
	psti_conn_close(cdc->stream);
	psti_conn_close(cdc->conn);
	psti_rows_free(cdc->rows);
	for (size_t i = 0; i < cdc->ncaptured; i++)
	{
		psti_captured *captured = cdc->captured[i].captured;

		psti_table_free(captured->version);
		free((psti_region *) captured->regions.regions);
		free(captured);
	}
	free(cdc->captured);
	psti_position_free(&cdc->at);
	psti_scope_free(&cdc->scope);
	psti_wanted_free(&cdc->wanted);
	psti_buf_free(&cdc->scratch);
	psti_buf_free(&cdc->transaction.origin_text);
	free(cdc->acknowledged);
	free_texts(cdc->keys);
	free_texts(cdc->values);
	psti_options_free(cdc->options);
	psti_hooks_free(&cdc->hooks);
	free(cdc);
}

pst_status
pst_cdc_open(const char *const *keys, const char *const *values, const char *position,
			 const pst_hooks *hooks, pst_cdc **out, pst_error *err)
{
	pst_error full;
	pst_cdc *cdc;
	pst_status status;

	psti_enter(&full);
	*out = NULL;
	cdc = calloc(1, sizeof(*cdc));
	if (cdc == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	status = psti_opening(cdc, keys, values, position, hooks, &full);
	if (status == PST_OK)
		*out = cdc;
	else
		free_capture(cdc);
	return psti_leave(err, &full, status);
}

/* ---- Events ---- */

/* An event that has nothing but a position, which must be stored. */
static void
tell_store(pst_cdc *cdc, pst_event *out)
{
	psti_event_begin(cdc, PST_EVENT_PROGRESS, out);
	out->store = true;
	cdc->store = true;
	cdc->store_serial = cdc->at.serial;
}

/* All tables are read: on to the stream, or the end. */
static pst_status
end_reading(pst_cdc *cdc, pst_error *err)
{
	free(cdc->reading.export_id);
	cdc->reading.export_id = NULL;
	if (cdc->startup == PSTI_STARTUP_SNAPSHOT)
	{
		cdc->step = PSTI_STEP_END;
		return PST_OK;
	}
	cdc->step = PSTI_STEP_STREAM;
	return psti_capture_judged(cdc, err);
}

static pst_status
take_step(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err)
{
	pst_status status;

	switch (cdc->step)
	{
		case PSTI_STEP_TELL:
			status = psti_opening_tell(cdc, err);
			if (status == PST_OK)
				tell_store(cdc, out);
			return status;
		case PSTI_STEP_CREATE:
			status = psti_opening_create(cdc, err);
			return status == PST_OK ? PST_AGAIN : status;
		case PSTI_STEP_CREATED:
			status = psti_opening_created(cdc, timeout_ms, err);
			return status == PST_OK ? PST_AGAIN : status;
		case PSTI_STEP_COVER:
			status = psti_opening_covered(cdc, timeout_ms, err);
			return status == PST_OK ? PST_AGAIN : status;
		case PSTI_STEP_GO_ON:
			status = psti_opening_go_on(cdc, err);
			return status == PST_OK ? PST_AGAIN : status;
		case PSTI_STEP_READ:
			if (cdc->tell_store && !cdc->temporary)
			{
				cdc->tell_store = false;
				tell_store(cdc, out);
				return PST_OK;
			}
			status = cdc->plan != NULL ? psti_regions_next(cdc, timeout_ms, out, err)
									   : psti_reading_next(cdc, timeout_ms, out, err);
			if (status == PST_END)
				status = end_reading(cdc, err) == PST_OK ? PST_AGAIN : err->status;
			return status;
		case PSTI_STEP_STREAM:
			if (!cdc->streaming)
			{
				status = psti_follow_start(cdc, err);
				return status == PST_OK ? PST_AGAIN : status;
			}
			return psti_follow_next(cdc, timeout_ms, out, err);
		case PSTI_STEP_END:
			break;
	}
	return PST_END;
}

static pst_status
next_event(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err)
{
	int64_t deadline = timeout_ms < 0 ? -1 : psti_now_ms() + timeout_ms;
	pst_status status;

	for (;;)
	{
		int64_t left = deadline < 0 ? -1 : deadline - psti_now_ms();

		status = take_step(cdc, deadline < 0 ? -1 : left > 0 ? (int) left : 0, out, err);
		/* A step was made, or the time is over. */
		if (status != PST_AGAIN || (deadline >= 0 && psti_now_ms() >= deadline))
			return status;
		/* Only the caller can go on: pst_cdc_region_done. */
		if (psti_regions_stand(cdc))
			return PST_AGAIN;
	}
}

static pst_status
may_go_on(const pst_cdc *cdc, pst_error *err)
{
	if (cdc->failed)
	{
		psti_fail(err, PST_ERR_STATE, "the capture has failed");
		psti_error_hint(err, "Close it, and open it again at the stored position.");
		return PST_ERR_STATE;
	}
	if (cdc->store)
	{
		psti_fail(err, PST_ERR_STATE, "the position must be stored and acknowledged first");
		psti_error_hint(err,
						"After an event with store set call pst_cdc_position, store it, and call "
						"pst_cdc_ack.");
		return PST_ERR_STATE;
	}
	return PST_OK;
}

pst_status
pst_cdc_next(pst_cdc *cdc, int timeout_ms, pst_event *out, pst_error *err)
{
	pst_event event = {.struct_size = sizeof(event)};
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = psti_event_empty(out, &full);
	if (status == PST_OK)
		status = may_go_on(cdc, &full);
	if (status != PST_OK)
		return psti_leave(err, &full, status);
	cdc->begun = true;
	status = next_event(cdc, timeout_ms, &event, &full);
	if (status < 0)
		cdc->failed = true;
	if (status == PST_OK)
		psti_event_move(&event, out);
	return psti_leave(err, &full, status);
}

void
pst_event_release(pst_event *event)
{
	psti_array_release(&event->rows.array);
}

/* ---- Positions ---- */

pst_status
pst_cdc_position(pst_cdc *cdc, char **position, pst_error *err)
{
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*position = NULL;
	status = psti_position_print(&cdc->at, position, &full);
	return psti_leave(err, &full, status);
}

/* The server is told of the one that lies ack_delay before. */
static pst_status
delay(pst_cdc *cdc, uint64_t safe_lsn, pst_error *err)
{
	if (cdc->acknowledged == NULL)
	{
		cdc->acknowledged = calloc(cdc->ack_delay + 1, sizeof(*cdc->acknowledged));
		if (cdc->acknowledged == NULL)
			return psti_fail_nomem(err);
	}
	if (cdc->nacknowledged > cdc->ack_delay)
	{
		memmove(cdc->acknowledged, cdc->acknowledged + 1,
				cdc->ack_delay * sizeof(*cdc->acknowledged));
		cdc->nacknowledged--;
	}
	cdc->acknowledged[cdc->nacknowledged++] = safe_lsn;
	if (cdc->nacknowledged > cdc->ack_delay && cdc->acknowledged[0] > cdc->acked)
		cdc->acked = cdc->acknowledged[0];
	return PST_OK;
}

static pst_status
acknowledge(pst_cdc *cdc, const psti_position *position, pst_error *err)
{
	uint64_t before = cdc->acked;
	pst_status status;

	if (strcmp(position->slot, cdc->at.slot) != 0 ||
		strcmp(position->system, cdc->at.system) != 0 || position->serial > cdc->at.serial ||
		position->safe_lsn > cdc->at.safe_lsn)
		return psti_fail(err, PST_ERR_INVALID, "the position is not one of this capture");
	/* One that is acknowledged again does not make the ones before it older. */
	if (position->serial < cdc->last_serial ||
		(position->serial == cdc->last_serial && cdc->nacknowledged > 0 &&
		 cdc->acknowledged[cdc->nacknowledged - 1] == position->safe_lsn))
		return PST_OK;
	cdc->last_serial = position->serial;
	if (cdc->store && position->serial >= cdc->store_serial)
		cdc->store = false;
	if (position->stage == PSTI_STAGE_CREATING)
		return PST_OK;
	status = delay(cdc, position->safe_lsn, err);
	if (status == PST_OK && cdc->streaming && !cdc->failed && cdc->acked > before)
		status = psti_follow_tell(cdc, false, err);
	return status;
}

pst_status
pst_cdc_ack(pst_cdc *cdc, const char *position, pst_error *err)
{
	psti_position parsed;
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = psti_position_parse(position, &parsed, &full);
	if (status == PST_OK)
	{
		status = acknowledge(cdc, &parsed, &full);
		psti_position_free(&parsed);
	}
	return psti_leave(err, &full, status);
}

/* ---- The rest ---- */

void
pst_cdc_get_stats(const pst_cdc *cdc, pst_cdc_stats *stats)
{
	size_t size = stats->struct_size < sizeof(*stats) ? stats->struct_size : sizeof(*stats);
	bool is_reading = cdc->step < PSTI_STEP_STREAM;
	int64_t total = cdc->reading.total > 0 ? cdc->reading.total : -1;
	pst_cdc_stats full = {
		.struct_size = stats->struct_size,
		.slot = cdc->at.slot,
		.transport = cdc->plain ? "plain" : "assisted",
		.snapshotting = is_reading,
		.snapshot_rows = cdc->reading.rows,
		.snapshot_total = total,
		.changes = cdc->changes,
		.bytes = cdc->bytes,
		.received_lsn = cdc->received,
		.server_lsn = cdc->server_end,
		.acknowledged_lsn = cdc->acked,
		.commit_time = cdc->commit_time,
	};

	memcpy(stats, &full, size);
}

static pst_status
drop_slot(pst_cdc *cdc, pst_error *err)
{
	pst_status status = PST_OK;

	if (cdc->startup == PSTI_STARTUP_SNAPSHOT)
		return PST_OK;
	psti_conn_close(cdc->stream); /* it holds the slot */
	cdc->stream = NULL;
	if (!cdc->temporary)
		status = psti_slot_drop(cdc->conn, cdc->at.slot, 0, err);
	/* One that the options name is its maker's. */
	if (status == PST_OK && cdc->plain && !psti_opt_given(cdc->options, PSTI_OPT_PUBLICATION))
		status = psti_publication_drop(cdc->conn, cdc->publication, err);
	return status;
}

pst_status
pst_cdc_close(pst_cdc *cdc, bool drop, pst_error *err)
{
	pst_error full;
	pst_status status = PST_OK;

	if (cdc == NULL)
		return PST_OK;
	psti_enter(&full);
	if (cdc->streaming && psti_conn_usable(cdc->stream))
	{
		status = psti_follow_tell(cdc, false, &full);
		if (status == PST_OK)
			status = psti_conn_stream_end(cdc->stream, &full);
	}
	/* What the server was told last may not have arrived: the next start goes on all the same. */
	if (status < 0)
	{
		psti_log(&cdc->hooks, PST_LOG_DEBUG, "closing the stream: %s", full.message);
		status = PST_OK;
	}
	if (drop || cdc->temporary)
		status = drop_slot(cdc, &full);
	free_capture(cdc);
	return psti_leave(err, &full, status);
}
