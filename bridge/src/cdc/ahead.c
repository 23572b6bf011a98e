/* ahead.c - small tables that are read next, described many at a time. See ahead.h. */
#include "cdc/ahead.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cdc/capture.h"
#include "cdc/oids.h"

void
psti_ahead_free(psti_ahead *ahead)
{
	for (size_t i = 0; i < ahead->n; i++)
		psti_relation_free(ahead->relations[i]);
	PQclear(ahead->watched);
	memset(ahead, 0, sizeof(*ahead));
}

/* ---- Which tables ---- */

/* Whether it is to be read as one region, by one statement, as far as is known here. */
static bool
is_small(const pst_cdc *cdc, const psti_place *place)
{
	const psti_subject *subject;

	if (place->gone || psti_place_is_begun(place) || place->oid == cdc->reading.outdated ||
		place->oid == cdc->reading.alone)
		return false;
	subject = psti_scope_subject(&cdc->scope, place->oid);
	return subject != NULL && subject->relkind == 'r' && !subject->inherited &&
		   subject->bytes < psti_opt_int(cdc->options, PSTI_OPT_SPLIT_BYTES);
}

bool
psti_ahead_pays(const pst_cdc *cdc)
{
	size_t n = 0;

	for (size_t i = 0; n < 2 && i < cdc->at.nplaces; i++)
		n += is_small(cdc, &cdc->at.places[i]);
	return n == 2;
}

/* Those from the OID on, as many as there is room for. */
static size_t
choose(pst_cdc *cdc, uint32_t from, uint32_t oids[PSTI_AHEAD_MAX])
{
	psti_ahead *ahead = &cdc->reading.ahead;
	const psti_position *at = &cdc->at;
	size_t i = psti_oid_search(at->places, at->nplaces, sizeof(*at->places), from);
	size_t n = 0;

	ahead->from = from;
	ahead->to = UINT32_MAX;
	for (; i < at->nplaces && n < PSTI_AHEAD_MAX; i++)
		if (is_small(cdc, &at->places[i]))
			oids[n++] = at->places[i].oid;
	if (n > 0 && i < at->nplaces)
		ahead->to = oids[n - 1];
	return n;
}

/* ---- What they are ---- */

/* Under the snapshot: in the session that will read them. */
static pst_status
describe_then(pst_cdc *cdc, const char *oids, psti_relation **out, size_t *n, pst_error *err)
{
	psti_conn *conn = NULL;
	psti_buf sql = PSTI_BUF_INIT;
	pst_error ignored;
	pst_status status = psti_reading_session(cdc, 0, &conn, err);

	*n = 0;
	if (status != PST_OK)
		return status;
	psti_buf_printf(&sql,
					"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; %sSET TRANSACTION SNAPSHOT ",
					psti_conn_pins(conn));
	psti_buf_literal(&sql, cdc->reading.export_id);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_exec(conn, "taking the snapshot", sql.data, NULL, err);
	if (status == PST_OK)
		status = psti_relation_find_all(conn, oids, out, n, err);
	if (psti_conn_usable(conn))
		(void) psti_conn_exec(conn, "taking the snapshot", "ROLLBACK", NULL, &ignored);
	psti_buf_free(&sql);
	return status;
}

/* Names and types of all columns, in their order. */
static bool
same_columns(const psti_relation *a, const psti_relation *b)
{
	if (a->ncolumns != b->ncolumns)
		return false;
	for (size_t i = 0; i < a->ncolumns; i++)
	{
		const psti_column *x = &a->columns[i];
		const psti_column *y = &b->columns[i];

		if (strcmp(x->name, y->name) != 0 || x->type.oid != y->type.oid ||
			x->type.typmod != y->type.typmod || x->never_null != y->never_null)
			return false;
	}
	return true;
}

static bool
is_plain(const psti_relation *relation)
{
	return relation->relkind == 'r' && relation->persistence == 'p' && !relation->has_subclass;
}

/* Keeps what is now as it was; both ascending by OID. */
static void
keep(psti_ahead *ahead, psti_relation **now, size_t nnow, psti_relation **then, size_t nthen)
{
	size_t t = 0;

	for (size_t i = 0; i < nnow; i++)
	{
		while (t < nthen && then[t]->oid < now[i]->oid)
			t++;
		if (t < nthen && then[t]->oid == now[i]->oid && is_plain(now[i]) && is_plain(then[t]) &&
			same_columns(now[i], then[t]))
			ahead->relations[ahead->n++] = now[i];
		else
			psti_relation_free(now[i]);
	}
	for (size_t i = 0; i < nthen; i++)
		psti_relation_free(then[i]);
}

static pst_status
describe(pst_cdc *cdc, uint32_t *oids, size_t n, pst_error *err)
{
	psti_relation *now[PSTI_AHEAD_MAX];
	psti_relation *then[PSTI_AHEAD_MAX];
	size_t nnow = 0;
	size_t nthen = 0;
	psti_buf array = PSTI_BUF_INIT;
	pst_status status = psti_scope_refresh(&cdc->scope, cdc->conn, oids, &n, err);

	if (status != PST_OK || n == 0)
		return status;
	psti_scope_array(oids, n, &array);
	status = psti_buf_check(&array, err);
	if (status == PST_OK)
		status = psti_watch_ask(cdc, oids, n, &cdc->reading.ahead.watched, err);
	if (status == PST_OK)
		status = psti_relation_find_all(cdc->conn, array.data, now, &nnow, err);
	if (status == PST_OK)
		status = describe_then(cdc, array.data, then, &nthen, err);
	keep(&cdc->reading.ahead, now, nnow, then, status == PST_OK ? nthen : 0);
	psti_buf_free(&array);
	return status;
}

/* Whether what went wrong concerns one table, or none at all: read by itself it will say so. */
static bool
may_go_on(const pst_cdc *cdc, const pst_error *err)
{
	return err->status != PST_ERR_NOMEM && err->status != PST_ERR_CANCELED &&
		   psti_conn_usable(cdc->conn);
}

pst_status
psti_ahead_take(pst_cdc *cdc, uint32_t oid, psti_relation **out, pst_error *err)
{
	psti_ahead *ahead = &cdc->reading.ahead;
	uint32_t oids[PSTI_AHEAD_MAX];
	pst_status status = PST_OK;

	*out = NULL;
	if (!ahead->asked || oid < ahead->from || oid > ahead->to)
	{
		psti_ahead_free(ahead);
		ahead->asked = true;
		status = describe(cdc, oids, choose(cdc, oid, oids), err);
		if (status != PST_OK && may_go_on(cdc, err))
			status = PST_OK;
	}
	for (size_t i = 0; status == PST_OK && i < ahead->n; i++)
	{
		if (ahead->relations[i] == NULL || ahead->relations[i]->oid != oid)
			continue;
		*out = ahead->relations[i];
		ahead->relations[i] = NULL;
	}
	return status;
}

bool
psti_ahead_holds(const psti_relation *relation, const PGresult *found, int first)
{
	if ((size_t) PQnfields(found) != relation->ncolumns + (size_t) first)
		return false;
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		int field = first + (int) i;
		const psti_type *type = &relation->columns[i].type;

		/* A result's column of a domain is told to be of its base type. */
		if (strcmp(PQfname(found, field), relation->columns[i].name) != 0 ||
			PQftype(found, field) != type->base || PQfmod(found, field) != type->base_typmod)
			return false;
	}
	return true;
}
