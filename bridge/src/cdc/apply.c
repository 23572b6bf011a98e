/*
 * apply.c - one change of the stream: judged, and made into rows and events. See capture.h.
 *
 * A change is dealt with as a whole or not at all: what does not fit into the open batch is left until the
 * batch was given, so that the position is always the one behind what the caller has.
 */
#include "cdc/capture.h"

#include <inttypes.h>

#include "dates.h"

/* The change is dealt with; all before it in the transaction was, too. */
static pst_status
done(pst_cdc *cdc)
{
	if (cdc->transaction.open && cdc->change.number > 0)
	{
		cdc->at.commit_lsn = cdc->transaction.commit_lsn;
		cdc->at.number = cdc->change.number;
	}
	cdc->has_change = false;
	return PST_AGAIN;
}

pst_status
psti_apply_rows(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	pst_change_batch batch;
	const psti_captured *captured = cdc->gathered;
	pst_status status = psti_rows_take(cdc->rows, &batch, err);

	if (status != PST_OK)
		return status;
	psti_event_begin(cdc, PST_EVENT_ROWS, out);
	psti_event_table(cdc, captured, out);
	batch.database = out->database;
	out->rows = batch;
	cdc->told_safe = cdc->at.safe_lsn;
	cdc->told_at = psti_now_ms();
	return PST_OK;
}

/* ---- Tables ---- */

/* An event of the table, at the change at hand. */
static void
begin_event(pst_cdc *cdc, pst_event_kind kind, const psti_captured *captured, pst_event *out)
{
	psti_event_begin(cdc, kind, out);
	if (captured != NULL)
		psti_event_table(cdc, captured, out);
	if (!cdc->transaction.open)
		return;
	out->commit_lsn = cdc->transaction.commit_lsn;
	out->xid = cdc->transaction.xid;
	out->op_ts = cdc->transaction.op_ts;
	out->sequence = cdc->change.number;
	out->lsn = cdc->change.lsn;
}

/* A table that was not there when the capture began, or is another one of its name. */
static pst_status
find_place(pst_cdc *cdc, uint32_t oid, psti_place **out, pst_error *err)
{
	const psti_subject *subject = NULL;
	pst_status status = psti_scope_look(&cdc->scope, cdc->conn, oid, &subject, err);

	*out = NULL;
	/* Of a publication that has more tables than are captured. */
	if (status == PST_OK && subject == NULL && cdc->plain)
		return PST_OK;
	if (status == PST_OK)
		status = psti_position_add(&cdc->at, oid, out, err);
	if (status != PST_OK)
		return status;
	if (subject == NULL)
	{
		(*out)->parts[0].state = PSTI_PART_READ;
		(*out)->gone = true;
		psti_log(&cdc->hooks, PST_LOG_INFO,
				 "table %" PRIu32 " was dropped before it was read: its changes are left out", oid);
		return PST_OK;
	}
	return psti_capture_add(cdc, subject, *out, err);
}

/*
 * The table that the stream describes: as it was told last, or, after an event that tells of it, as it is
 * now. PST_AGAIN: *out is it, or NULL for one that is left out. PST_END: it is to be read first.
 */
static pst_status
find_table(pst_cdc *cdc, psti_stream_relation *relation, psti_table **out, pst_event *event,
		   pst_error *err)
{
	psti_place *place;
	psti_captured *captured;
	psti_table *made = NULL;
	const char *unfit = NULL;
	pst_status status = PST_OK;

	*out = relation->table == &cdc->nothing ? NULL : relation->table;
	if (relation->table != NULL)
		return PST_AGAIN;
	place = psti_position_find(&cdc->at, relation->oid);
	if (psti_rows_pending(cdc->rows) > 0)
		return psti_apply_rows(cdc, event, err);
	if (place == NULL)
		status = find_place(cdc, relation->oid, &place, err);
	if (status != PST_OK)
		return status;
	if (cdc->step != PSTI_STEP_STREAM)
		return PST_END;
	if (place == NULL || place->gone)
	{
		relation->table = &cdc->nothing;
		return PST_AGAIN;
	}
	captured = psti_capture_of(cdc, relation->oid);
	if (captured == NULL)
		return psti_fail_nomem(err);
	/* What was read has all of the transaction, and maybe columns that came after it. */
	if (captured->regions.n > 0 &&
		psti_judge_truncate(&captured->regions, cdc->transaction.xid) == PSTI_LEAVE_OUT)
	{
		bool unlogged = relation->persistence == 'u';

		status = psti_place_set_unlogged(place, relation->leaf, unlogged, err);
		return status == PST_OK ? PST_AGAIN : status;
	}
	status = psti_watch_relation(cdc, relation, &unfit, err);
	if (status == PST_AGAIN)
		return PST_AGAIN;
	if (status == PST_OK && unfit != NULL)
		status = psti_capture_reset(cdc, place, unfit, err);
	if (status != PST_OK || unfit != NULL)
		return status == PST_OK ? PST_END : status;
	status = psti_table_of_stream(&cdc->rules, relation, &made, err);
	if (status != PST_OK)
		return status;
	unfit = psti_watch_columns(cdc, relation, made);
	if (unfit != NULL)
	{
		psti_table_free(made);
		status = psti_capture_reset(cdc, place, unfit, err);
		return status == PST_OK ? PST_END : status;
	}
	if (captured->version != NULL && psti_table_same(captured->version, made))
	{
		/* For the consumer it is the same one. */
		if (psti_table_reads_alike(captured->version, made))
			psti_table_free(made);
		else
			psti_capture_version(cdc, captured, made);
		relation->table = captured->version;
		*out = captured->version;
		return PST_AGAIN;
	}
	psti_capture_version(cdc, captured, made);
	relation->table = made;
	begin_event(cdc, PST_EVENT_SCHEMA, captured, event);
	return PST_OK;
}

/*
 * The table is to be read anew; the change at hand is in what will be read. PST_AGAIN: so it is noted;
 * PST_OK: an event comes before.
 */
static pst_status
reset(pst_cdc *cdc, const psti_table *table, const char *reason, pst_event *out, pst_error *err)
{
	psti_place *place;
	pst_status status;

	if (psti_rows_pending(cdc->rows) > 0)
		return psti_apply_rows(cdc, out, err);
	place = psti_position_find(&cdc->at, table->oid);
	status = psti_capture_reset(cdc, place, reason, err);
	return status == PST_OK ? PST_AGAIN : status;
}

/* ---- Rows ---- */

static bool
is_told(const psti_row *row, size_t column)
{
	return row->unchanged == NULL || !row->unchanged[column];
}

static bool
is_whole(const psti_table *table, const psti_row *row)
{
	for (size_t i = 0; i < table->ncolumns; i++)
		if (!is_told(row, i))
			return false;
	return true;
}

static psti_row_key
read_key(const psti_captured *captured, const psti_row *row, psti_region_key *out)
{
	size_t i = captured->key_column;

	if (row == NULL || i >= captured->version->ncolumns || !is_told(row, i) ||
		row->values[i].null ||
		!psti_region_key_read(captured->regions.kind, row->values[i].data, row->values[i].len, out))
		return PSTI_KEY_ABSENT;
	return PSTI_KEY_KNOWN;
}

static psti_verdict
judge(const pst_cdc *cdc, const psti_captured *captured, const psti_change *change)
{
	psti_row_keys keys = {.has_old = change->kind != PSTI_CHANGE_INSERT,
						  .has_fresh = change->kind != PSTI_CHANGE_DELETE};

	if (captured->regions.n == 0)
		return PSTI_APPLY;
	if (keys.has_fresh)
	{
		keys.fresh_known = read_key(captured, change->row.fresh, &keys.fresh);
		keys.fresh_is_whole = is_whole(captured->version, change->row.fresh);
	}
	/* An update that does not tell the old key has not changed it. */
	if (keys.has_old && change->row.old == NULL && keys.has_fresh)
	{
		keys.old_known = keys.fresh_known;
		keys.old = keys.fresh;
	}
	else if (keys.has_old)
		keys.old_known = read_key(captured, change->row.old, &keys.old);
	return psti_judge_row(&captured->regions, &keys, cdc->transaction.xid);
}

static bool
same_value(const psti_copy_value *a, const psti_copy_value *b)
{
	return a->null == b->null && a->len == b->len &&
		   (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Bytes of the values that the change has at most. */
static size_t
count_bytes(const psti_table *table, const psti_change *change)
{
	const psti_row *rows[] = {change->row.old, change->row.fresh};
	size_t nbytes = 0;

	for (size_t r = 0; r < 2; r++)
		for (size_t i = 0; rows[r] != NULL && i < table->ncolumns; i++)
			nbytes += rows[r]->values[i].len;
	return nbytes;
}

/* Whether nrows of the change can be put into the open batch. */
static bool
fits(const pst_cdc *cdc, const psti_table *table, size_t nrows)
{
	return psti_rows_fit(cdc->rows, table, cdc->transaction.origin, nrows,
						 count_bytes(table, &cdc->change));
}

/* Whether the row has another key than before; old may be the key alone. */
static bool
key_changes(const psti_table *table, const psti_row *old, const psti_row *fresh)
{
	for (size_t i = 0; i < table->ncolumns; i++)
		if (table->columns[i].key && is_told(old, i) && is_told(fresh, i) &&
			!same_value(&old->values[i], &fresh->values[i]))
			return true;
	return false;
}

static pst_status
put(pst_cdc *cdc, psti_table *table, const psti_row *row, int8_t kind, pst_error *err)
{
	const psti_transaction *transaction = &cdc->transaction;
	const psti_row_facts facts = {.kind = kind,
								  .commit_lsn = transaction->commit_lsn,
								  .xid = transaction->xid,
								  .sequence = cdc->change.number,
								  .lsn = cdc->change.lsn,
								  .op_ts = transaction->op_ts,
								  .origin = transaction->origin};

	cdc->gathered = table->captured;
	cdc->changes++;
	return psti_rows_put(cdc->rows, table, row, &facts, err);
}

/* The old row with its key alone: all that who upserts wants of it. */
static pst_status
put_key(pst_cdc *cdc, psti_table *table, const psti_row *old, pst_error *err)
{
	psti_row row = {old->values, NULL};
	uint8_t *unchanged = (uint8_t *) psti_buf_reserve(&cdc->scratch, table->ncolumns);

	if (unchanged == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < table->ncolumns; i++)
		unchanged[i] = !table->columns[i].key || !is_told(old, i);
	row.unchanged = unchanged;
	return put(cdc, table, &row, PST_ROW_UPDATE_BEFORE, err);
}

/* An update that is told: its old row, where it says more than the new one, and the new one. */
static pst_status
put_update(pst_cdc *cdc, psti_table *table, pst_error *err)
{
	const psti_change *change = &cdc->change;
	const psti_row *old = change->row.old;
	bool upserts = cdc->changelog == PSTI_CHANGELOG_UPSERT && table->key[0] != NULL;
	pst_status status = PST_OK;

	if (old != NULL && (!change->row.old_is_whole || !upserts))
		status = put(cdc, table, old, PST_ROW_UPDATE_BEFORE, err);
	else if (old != NULL && key_changes(table, old, change->row.fresh))
		status = put_key(cdc, table, old, err);
	return status == PST_OK ? put(cdc, table, change->row.fresh, PST_ROW_UPDATE_AFTER, err)
							: status;
}

/* A row of which nothing is known. */
static pst_status
put_unknown(pst_cdc *cdc, psti_table *table, pst_error *err)
{
	size_t n = table->ncolumns;
	char *room = psti_buf_reserve(&cdc->scratch, n * (sizeof(psti_copy_value) + 1) + 16);
	psti_copy_value *values;
	psti_row row;

	if (room == NULL)
		return psti_fail_nomem(err);
	values = (psti_copy_value *) (void *) room;
	for (size_t i = 0; i < n; i++)
		values[i] = (psti_copy_value){NULL, 0, true, false};
	memset(values + n, 1, n);
	row = (psti_row){values, (const uint8_t *) (values + n)};
	return put(cdc, table, &row, PST_ROW_DELETE, err);
}

static pst_status
put_verdict(pst_cdc *cdc, psti_table *table, psti_verdict verdict, pst_error *err)
{
	const psti_change *change = &cdc->change;

	if (verdict == PSTI_NEW_HALF || change->kind == PSTI_CHANGE_INSERT)
		return put(cdc, table, change->row.fresh, PST_ROW_INSERT, err);
	if (verdict == PSTI_APPLY && change->kind == PSTI_CHANGE_UPDATE)
		return put_update(cdc, table, err);
	if (change->row.old != NULL)
		return put(cdc, table, change->row.old, PST_ROW_DELETE, err);
	/* The old half of an update whose key stays is never alone. */
	return put_unknown(cdc, table, err);
}

/* Whether the relation has columns by which its rows are known. */
static bool
has_identity(const psti_stream_relation *relation)
{
	for (size_t i = 0; i < relation->ncolumns; i++)
		if (relation->columns[i].identity)
			return true;
	return false;
}

/*
 * Whether the change does not tell which row it is of: the replica identity has no key, or the update of a row
 * without old key may have changed it.
 */
static bool
lacks_key(const psti_change *change)
{
	char identity = change->row.relation->identity;

	if (change->kind == PSTI_CHANGE_INSERT || change->row.old != NULL)
		return false;
	if (change->kind == PSTI_CHANGE_DELETE)
		return true;
	return identity == 'n' || identity == 'f' || !has_identity(change->row.relation);
}

/* Whether the new row lacks a value that a consumer who sees the change twice would have lost. */
static bool
needs_whole_row(const pst_cdc *cdc, const psti_table *table)
{
	const psti_change *change = &cdc->change;

	return cdc->consumer != PSTI_CONSUMER_EXACT && change->kind == PSTI_CHANGE_UPDATE &&
		   change->row.old != NULL && key_changes(table, change->row.old, change->row.fresh) &&
		   !is_whole(table, change->row.fresh);
}

/* What a truncate, or the rewrite of a table, comes to: as reset(); PST_END: nothing is to be told. */
static pst_status
empty(pst_cdc *cdc, const psti_captured *captured, bool rewrite, pst_event *out, pst_error *err)
{
	switch (psti_judge_truncate(&captured->regions, cdc->transaction.xid))
	{
		case PSTI_LEAVE_OUT:
			return PST_END;
		case PSTI_RESET:
			return reset(cdc, captured->version, "it was emptied while it was read", out, err);
		default:
			break;
	}
	/* Its rows come again under their keys: nothing has to be forgotten. */
	if (rewrite && cdc->consumer == PSTI_CONSUMER_UPSERT)
		return PST_END;
	if (psti_rows_pending(cdc->rows) > 0)
		return psti_apply_rows(cdc, out, err);
	begin_event(cdc, PST_EVENT_TRUNCATE, captured, out);
	return PST_OK;
}

/* The rewrite of a table that begins with this row. PST_END: go on with the row. */
static pst_status
apply_rewrite(pst_cdc *cdc, const psti_table *table, pst_event *out, pst_error *err)
{
	pst_status status;

	if (!cdc->change.row.rewrite_begins || cdc->truncate_told)
		return PST_END;
	status = empty(cdc, table->captured, true, out, err);
	cdc->truncate_told = status == PST_END || (status == PST_OK && out->kind == PST_EVENT_TRUNCATE);
	return status == PST_AGAIN ? done(cdc) : status;
}

/*
 * The table is read anew because of a row. Who can only upsert forgets nothing by that: the old row of a key
 * that changes goes first.
 */
static pst_status
reset_row(pst_cdc *cdc, psti_table *table, const char *reason, pst_event *out, pst_error *err)
{
	const psti_row *old = cdc->change.row.old;
	pst_status status = PST_OK;

	if (cdc->consumer == PSTI_CONSUMER_UPSERT && old != NULL && !cdc->old_told)
	{
		if (!fits(cdc, table, 1))
			return psti_apply_rows(cdc, out, err);
		status = put(cdc, table, old, PST_ROW_DELETE, err);
		cdc->old_told = true;
	}
	if (status == PST_OK)
		status = reset(cdc, table, reason, out, err);
	return status == PST_AGAIN ? done(cdc) : status;
}

static pst_status
apply_row(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	psti_change *change = &cdc->change;
	const char *unfit = NULL;
	psti_table *table;
	psti_verdict verdict;
	size_t nrows;
	pst_status status = find_table(cdc, change->row.relation, &table, out, err);

	if (status == PST_END)
		return PST_AGAIN;
	if (status != PST_AGAIN)
		return status;
	if (table == NULL)
		return done(cdc);
	status = apply_rewrite(cdc, table, out, err);
	if (status != PST_END)
		return status;
	verdict = judge(cdc, table->captured, change);
	if (verdict == PSTI_LEAVE_OUT)
		return done(cdc);
	if (verdict == PSTI_RESET)
		unfit = "a change of it cannot be placed in what was read";
	else if (lacks_key(change) && cdc->startup == PSTI_STARTUP_INITIAL)
		unfit = "a change of it does not tell of which row (its replica identity has no key)";
	else if (needs_whole_row(cdc, table))
		unfit = "a change of a key does not tell the whole row";
	if (unfit != NULL)
		return reset_row(cdc, table, unfit, out, err);
	nrows = change->kind == PSTI_CHANGE_UPDATE ? 2 : 1;
	if (!fits(cdc, table, nrows))
		return psti_apply_rows(cdc, out, err);
	status = put_verdict(cdc, table, verdict, err);
	return status == PST_OK ? done(cdc) : status;
}

/* ---- Truncates ---- */

/* Whether the relation is told of by one before it, or as the partitioned table itself. */
static bool
is_repeated(const psti_change *change, size_t at)
{
	const psti_stream_relation *relation = change->truncate.relations[at];
	bool whole = relation->leaf == relation->oid;

	for (size_t i = 0; i < change->truncate.n; i++)
	{
		const psti_stream_relation *other = change->truncate.relations[i];

		if (i == at || other->oid != relation->oid)
			continue;
		if (other->leaf == other->oid ? !whole || i < at : !whole && i < at)
			return true;
	}
	return false;
}

static bool
empties(const psti_change *change, uint32_t leaf)
{
	for (size_t i = 0; i < change->truncate.n; i++)
		if (change->truncate.relations[i]->leaf == leaf)
			return true;
	return false;
}

/* Whether the change empties all that the table's rows came from. pgoutput names the partitions only. */
static bool
empties_all(const pst_cdc *cdc, uint32_t oid)
{
	const psti_place *place = psti_position_find(&cdc->at, oid);

	for (size_t i = 0; i < place->nleaves; i++)
		if (!empties(&cdc->change, place->leaves[i].oid))
			return false;
	return place->nleaves > 0;
}

/* A partition is emptied of a table that is told of as a whole. PST_END: there is nothing to tell. */
static pst_status
empty_part(pst_cdc *cdc, const psti_table *table, pst_event *out, pst_error *err)
{
	if (psti_judge_truncate(&table->captured->regions, cdc->transaction.xid) == PSTI_LEAVE_OUT)
		return PST_END;
	if (cdc->consumer != PSTI_CONSUMER_UPSERT)
		return reset(cdc, table, "one of its partitions was emptied", out, err);
	psti_log(&cdc->hooks, PST_LOG_WARNING,
			 "a partition of %s.%s was emptied: its rows stay, since the consumer can only upsert",
			 table->schema, table->name);
	return PST_END;
}

/* After the table was told to be empty: it may have been rewritten, too. */
static pst_status
watch_truncate(pst_cdc *cdc, uint32_t oid, pst_error *err)
{
	const char *unfit;
	pst_status status = psti_watch_truncate(cdc, oid, &unfit, err);

	if (status == PST_OK && unfit != NULL)
		status = psti_capture_reset(cdc, psti_position_find(&cdc->at, oid), unfit, err);
	return status;
}

static pst_status
truncate_one(pst_cdc *cdc, psti_stream_relation *relation, pst_event *out, pst_error *err)
{
	psti_table *table;
	pst_status status = find_table(cdc, relation, &table, out, err);

	if (status == PST_END)
		return PST_AGAIN; /* first it is read, then comes this change again */
	if (status != PST_AGAIN)
		return status;
	if (table == NULL)
		status = PST_END;
	else if (relation->leaf != relation->oid && !(cdc->plain && empties_all(cdc, relation->oid)))
		status = empty_part(cdc, table, out, err);
	else
		status = empty(cdc, table->captured, false, out, err);
	if (status == PST_OK && out->kind == PST_EVENT_TRUNCATE &&
		watch_truncate(cdc, relation->oid, err) != PST_OK)
		return err->status;
	if (status == PST_END || status == PST_AGAIN ||
		(status == PST_OK && out->kind == PST_EVENT_TRUNCATE))
		cdc->truncated++;
	return status;
}

static pst_status
apply_truncate(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	const psti_change *change = &cdc->change;

	while (cdc->truncated < change->truncate.n)
	{
		pst_status status = PST_END;

		if (is_repeated(change, cdc->truncated))
			cdc->truncated++;
		else
			status = truncate_one(cdc, change->truncate.relations[cdc->truncated], out, err);
		if (status != PST_END)
			return status;
	}
	return done(cdc);
}

/* A description: what it brings is told, though no row may follow. */
static pst_status
apply_relation(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	psti_table *table;
	pst_status status = find_table(cdc, cdc->change.relation, &table, out, err);

	if (status == PST_END)
		return PST_AGAIN;
	return status == PST_AGAIN ? done(cdc) : status;
}

/* ---- Transactions ---- */

static pst_status
apply_begin(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	const psti_change *change = &cdc->change;
	psti_transaction *transaction = &cdc->transaction;

	if (cdc->stop_lsn != 0 && change->begin.commit_lsn >= cdc->stop_lsn)
	{
		if (psti_rows_pending(cdc->rows) > 0)
			return psti_apply_rows(cdc, out, err);
		cdc->step = PSTI_STEP_END;
		return PST_AGAIN;
	}
	transaction->open = true;
	transaction->passed = change->begin.commit_lsn < cdc->at.safe_lsn;
	transaction->xid = change->begin.xid;
	if (cdc->plain)
		transaction->xid = psti_xid_widen((uint32_t) change->begin.xid, cdc->near_xid);
	cdc->near_xid = transaction->xid;
	transaction->commit_lsn = change->begin.commit_lsn;
	transaction->op_ts = change->begin.commit_time + DATES_USECS_1970_TO_2000;
	psti_buf_reset(&transaction->origin_text);
	if (change->begin.origin != NULL)
		psti_buf_puts(&transaction->origin_text, change->begin.origin);
	transaction->origin = change->begin.origin != NULL ? transaction->origin_text.data : NULL;
	cdc->has_change = false;
	return transaction->origin_text.failed ? psti_fail_nomem(err) : PST_AGAIN;
}

static pst_status
apply_commit(pst_cdc *cdc, pst_error *err)
{
	uint64_t end = cdc->change.commit.end_lsn;

	cdc->transaction.open = false;
	cdc->commit_time = cdc->transaction.op_ts;
	cdc->has_change = false;
	return psti_capture_pass(cdc, end, err) == PST_OK ? PST_AGAIN : err->status;
}

static pst_status
apply_message(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	const psti_change *change = &cdc->change;

	if (psti_rows_pending(cdc->rows) > 0)
		return psti_apply_rows(cdc, out, err);
	begin_event(cdc, PST_EVENT_MESSAGE, NULL, out);
	out->lsn = change->lsn;
	out->database = psti_conn_caps(cdc->conn)->database;
	out->transactional = change->message.transactional;
	out->prefix = change->message.prefix;
	out->content = change->message.content;
	out->content_bytes = change->message.nbytes;
	if (!change->message.transactional)
		cdc->at.message_lsn = change->lsn;
	(void) done(cdc);
	return PST_OK;
}

/* Whether the change was told of before the position. */
static bool
was_told(const pst_cdc *cdc)
{
	const psti_transaction *transaction = &cdc->transaction;

	/* Outside transactions messages come as they were written. */
	if (cdc->change.kind == PSTI_CHANGE_MESSAGE && !cdc->change.message.transactional)
		return cdc->change.lsn < cdc->at.safe_lsn || cdc->change.lsn <= cdc->at.message_lsn;
	if (!transaction->open)
		return false;
	return transaction->passed ||
		   (transaction->commit_lsn == cdc->at.commit_lsn && cdc->change.number <= cdc->at.number);
}

pst_status
psti_apply(pst_cdc *cdc, pst_event *out, pst_error *err)
{
	switch (cdc->change.kind)
	{
		case PSTI_CHANGE_BEGIN:
			return apply_begin(cdc, out, err);
		case PSTI_CHANGE_COMMIT:
			return apply_commit(cdc, err);
		default:
			break;
	}
	if (was_told(cdc))
	{
		cdc->has_change = false;
		return PST_AGAIN;
	}
	if (cdc->plain)
	{
		bool wanted;
		pst_status status = psti_wanted_look(&cdc->wanted, cdc->conn, &cdc->change, &wanted, err);

		if (status != PST_OK || !wanted)
			return status == PST_OK ? done(cdc) : status;
	}
	switch (cdc->change.kind)
	{
		case PSTI_CHANGE_RELATION:
			return apply_relation(cdc, out, err);
		case PSTI_CHANGE_TRUNCATE:
			return apply_truncate(cdc, out, err);
		case PSTI_CHANGE_MESSAGE:
			return apply_message(cdc, out, err);
		default:
			return apply_row(cdc, out, err);
	}
}
