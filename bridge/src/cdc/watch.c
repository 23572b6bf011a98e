/*
 * watch.c - what the stream does not tell. See capture.h.
 *
 * pgoutput is silent about an ALTER TABLE that rewrites rows: only the table's file is another one, and a
 * column's row in pg_attribute was written. Where that is not known, or a table may have been unlogged, a
 * VACUUM FULL or CLUSTER looks the same, so that the table is read anew for nothing; that is dear, and exact.
 * Nor is a table told of that its publication does not have: new ones are looked for, and added. That is done
 * between transactions, whose changes are numbered as pgoutput sends them.
 * No plugin tells of a partition that is attached with the rows that it has. One that was made as a
 * partition had none: its rows in pg_type, pg_attribute and pg_inherits were written by one command.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cdc/opening.h"
#include "cdc/publication.h"
#include "hash.h"
#include "source_internal.h"

static const char attached[] = "a partition was attached with the rows that it had";
static const char unpublished[] =
	"a partition was added, and pgoutput tells of it only from then on";
static const char unlogged[] = "it was unlogged for a while";
static const char rewritten[] = "it was rewritten, and pgoutput does not tell with what";

/* Only who has read a table misses what it had before. */
static bool
is_watched(const pst_cdc *cdc)
{
	return cdc->startup == PSTI_STARTUP_INITIAL;
}

/* ---- Partitions ---- */

/*
 * Of the partitioned tables $1: the leaves that were attached, with their roots. Commands are counted within
 * a transaction: making a partition writes its columns with its row in pg_type, or with their defaults, by the
 * next one, and then its row in pg_inherits; ATTACH writes all of its columns anew. A row that has an xmax does
 * not tell by which command it was made.
 */
static const char attached_sql[] =
	"WITH RECURSIVE tree(root, oid) AS (SELECT r.oid, r.oid "
	"FROM pg_catalog.unnest($1::pg_catalog.oid[]) r(oid) "
	"UNION SELECT t.root, i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t "
	"ON i.inhparent OPERATOR(pg_catalog.=) t.oid) "
	"SELECT t.root, c.oid, NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h "
	"JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) c.reltype "
	"JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid, "
	"LATERAL (SELECT h.cmin::pg_catalog.text::pg_catalog.int8, "
	"y.cmin::pg_catalog.text::pg_catalog.int8, "
	"a.cmin::pg_catalog.text::pg_catalog.int8) m(h, y, a) "
	"WHERE h.inhrelid OPERATOR(pg_catalog.=) c.oid AND h.xmin OPERATOR(pg_catalog.=) y.xmin "
	"AND a.xmin OPERATOR(pg_catalog.=) y.xmin AND a.attnum OPERATOR(pg_catalog.>) 0 "
	"AND NOT a.attisdropped AND m.a OPERATOR(pg_catalog.<) m.h "
	"AND m.a OPERATOR(pg_catalog.-) m.y OPERATOR(pg_catalog.<=) 1 "
	"AND pg_catalog.concat(h.xmax, y.xmax, a.xmax) OPERATOR(pg_catalog.=) '000') "
	"FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid "
	"WHERE c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog.\"char\"";

static pst_status
ask_leaves(pst_cdc *cdc, const char *roots, PGresult **out, pst_error *err)
{
	const char *params[] = {roots};

	return psti_conn_query(cdc->conn, "looking for partitions", attached_sql, 1, params, out, err);
}

/* Before 13 the publication has the partitions, one by one. */
static bool
publishes_leaves(const pst_cdc *cdc)
{
	return cdc->plain && cdc->rules.server_version < 130000;
}

/* A leaf that was not there when its table was read. */
static pst_status
meet_leaf(const pst_cdc *cdc, psti_place *place, const PGresult *leaves, int row,
		  const char **reason, pst_error *err)
{
	uint32_t oid = (uint32_t) strtoul(PQgetvalue(leaves, row, 1), NULL, 10);

	if (psti_place_leaf(place, oid) != NULL)
		return PST_OK;
	if (PQgetvalue(leaves, row, 2)[0] == 't')
		*reason = attached;
	else if (publishes_leaves(cdc))
		*reason = unpublished;
	return psti_place_add_leaf(place, oid, 0, err);
}

/* The partitioned tables as an array of OIDs, and its text; none: the text is empty. */
static pst_status
list_roots(const pst_cdc *cdc, uint32_t *roots, size_t *n, psti_buf *text, pst_error *err)
{
	*n = 0;
	for (size_t i = 0; i < cdc->scope.n; i++)
	{
		const psti_subject *subject = &cdc->scope.subjects[i];

		if (subject->relkind != 'p')
			continue;
		psti_buf_printf(text, "%s%" PRIu32, *n > 0 ? "," : "{", subject->oid);
		roots[(*n)++] = subject->oid;
	}
	psti_buf_puts(text, *n > 0 ? "}" : "");
	return psti_buf_check(text, err);
}

static pst_status
meet_leaves(pst_cdc *cdc, const char *roots, pst_error *err)
{
	PGresult *leaves = NULL;
	pst_status status = ask_leaves(cdc, roots, &leaves, err);

	for (int row = 0; status == PST_OK && row < PQntuples(leaves); row++)
	{
		psti_place *place =
			psti_position_find(&cdc->at, (uint32_t) strtoul(PQgetvalue(leaves, row, 0), NULL, 10));
		const char *reason = NULL;

		if (place == NULL || place->gone || !psti_place_is_read(place))
			continue;
		status = meet_leaf(cdc, place, leaves, row, &reason, err);
		if (status == PST_OK && reason != NULL)
			status = psti_capture_reset(cdc, place, reason, err);
	}
	PQclear(leaves);
	return status;
}

static pst_status
watch_partitions(pst_cdc *cdc, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;
	uint32_t *roots = calloc(cdc->scope.n + 1, sizeof(*roots));
	size_t n = 0;
	bool changed;
	pst_status status =
		roots == NULL ? psti_fail_nomem(err) : list_roots(cdc, roots, &n, &text, err);

	/* First they are published, then read. */
	if (status == PST_OK && n > 0 && publishes_leaves(cdc))
		status = psti_opening_publish(cdc, roots, n, &changed, err);
	if (status == PST_OK && n > 0 && is_watched(cdc))
		status = meet_leaves(cdc, text.data, err);
	psti_buf_free(&text);
	free(roots);
	return status;
}

/* ---- Tables ---- */

/* Whether the failure says that the table cannot be captured as it is now. */
static bool
is_unfit(const pst_cdc *cdc, const pst_error *err)
{
	return psti_conn_usable(cdc->conn) &&
		   (err->status == PST_ERR_PRIVILEGE || err->status == PST_ERR_UNSUPPORTED ||
			err->status == PST_ERR_STATE || err->status == PST_ERR_NOT_FOUND ||
			err->status == PST_ERR_CONFLICT);
}

/* A table that has come into scope. */
static pst_status
take_up(pst_cdc *cdc, uint32_t oid, pst_error *err)
{
	const psti_subject *subject = NULL;
	psti_place *place;
	bool changed;
	pst_status status = psti_scope_look(&cdc->scope, cdc->conn, oid, &subject, err);

	if (status != PST_OK || subject == NULL)
		return status;
	/* Read or not: what is written from here on comes. */
	status = psti_opening_publish(cdc, &oid, 1, &changed, err);
	if (status == PST_OK)
		status = psti_position_add(&cdc->at, oid, &place, err);
	if (status != PST_OK)
		return status;
	return psti_capture_add(cdc, subject, place, err);
}

/* One that was gone is in scope again: what the stream had of it meanwhile was left out. */
static bool
is_taken_up(pst_cdc *cdc, uint32_t oid)
{
	const psti_place *place = psti_position_find(&cdc->at, oid);

	if (place == NULL || !place->gone)
		return place != NULL;
	psti_position_remove(&cdc->at, oid);
	if (cdc->decoder != NULL)
		cdc->decoder->forget_tables(cdc->decoder);
	return false;
}

/*
 * One that cannot be taken up, which has no key yet or may not be read yet, loses nothing by waiting: it is
 * read when it can be. All of them are told of when others are than before.
 */
static pst_status
watch_tables(pst_cdc *cdc, pst_error *err)
{
	PGresult *tables = NULL;
	psti_buf told = PSTI_BUF_INIT;
	uint64_t unfit = PSTI_HASH_INIT;
	pst_status status = psti_scope_list(&cdc->scope, cdc->conn, &tables, err);

	for (int row = 0; status == PST_OK && row < PQntuples(tables); row++)
	{
		const char *text = PQgetvalue(tables, row, 0);
		uint32_t oid = (uint32_t) strtoul(text, NULL, 10);

		if (is_taken_up(cdc, oid))
			continue;
		status = take_up(cdc, oid, err);
		if (status == PST_OK || !is_unfit(cdc, err))
			continue;
		unfit = psti_hash_text(unfit, text);
		psti_buf_printf(&told, "%s%s", told.len > 0 ? "; " : "", err->message);
		status = PST_OK;
	}
	if (status == PST_OK && unfit != cdc->unfit && told.len > 0 && !told.failed)
		psti_log(&cdc->hooks, PST_LOG_WARNING, "tables that are to be captured wait: %s",
				 told.data);
	cdc->unfit = unfit;
	PQclear(tables);
	psti_buf_free(&told);
	return status;
}

/* ---- Files ---- */

static const char files_sql[] =
	"SELECT c.oid, c.relfilenode, "
	"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
	"ELSE pg_catalog.pg_current_wal_insert_lsn() END FROM pg_catalog.pg_class c "
	"WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) ORDER BY c.oid";

/* The same and more, at one moment; for few tables. */
static const char sights_sql[] =
	"SELECT c.oid, c.relfilenode, "
	"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
	"ELSE pg_catalog.pg_current_wal_insert_lsn() END, c.xmin, "
	"(SELECT pg_catalog.string_agg(pg_catalog.concat(a.attnum, ':', a.xmin), ' ' "
	"ORDER BY a.attnum) FROM pg_catalog.pg_attribute a "
	"WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0), "
	"EXISTS (SELECT FROM pg_catalog.pg_publication_rel r "
	"WHERE r.prrelid OPERATOR(pg_catalog.=) c.oid), "
	"EXISTS (SELECT FROM pg_catalog.pg_attribute a "
	"WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 "
	"AND pg_catalog.age(a.xmin) OPERATOR(pg_catalog.<=) pg_catalog.age(c.xmin)) "
	"FROM pg_catalog.pg_class c "
	"WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) ORDER BY c.oid";

enum
{
	F_OID,
	F_NODE,
	F_LSN, /* where WAL was when it was looked at */
	F_XMIN,
	F_COLUMNS,
	F_NAMED,
	F_YOUNG
};

/* What is to be seen of a table that has rows. */
typedef struct sight
{
	uint32_t node;
	uint32_t xmin;	  /* who wrote its row in pg_class last */
	uint64_t columns; /* hash of who wrote those of its columns */
	bool named;		  /* a publication has it by its name: it cannot become unlogged */
	bool young;		  /* a column's row was not written before that in pg_class */
} sight;

typedef bool leaf_condition(const psti_leaf *leaf, const PGresult *files);

static bool
is_any(const psti_leaf *leaf, const PGresult *files)
{
	(void) leaf;
	(void) files;
	return true;
}

/* Rows are ascending by OID. */
static int
find_file(const PGresult *files, uint32_t oid)
{
	int low = 0;
	int high = PQntuples(files);

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		uint32_t here = (uint32_t) strtoul(PQgetvalue(files, middle, F_OID), NULL, 10);

		if (here == oid)
			return middle;
		if (here < oid)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

/* The leaf has another file, or nothing to tell a rewrite by is known of it. */
static bool
is_of_interest(const psti_leaf *leaf, const PGresult *files)
{
	int row = find_file(files, leaf->oid);

	return row >= 0 && (leaf->columns == 0 ||
						strtoul(PQgetvalue(files, row, F_NODE), NULL, 10) != leaf->filenode);
}

/* Whether its rows were read, and come. */
static bool
is_told(const psti_place *place)
{
	return !place->gone && psti_place_is_read(place);
}

/* Appends the leaves of the place whose files are watched. */
static void
list_leaves(const psti_place *place, leaf_condition *condition, const PGresult *files,
			psti_buf *out)
{
	for (size_t k = 0; k < place->nleaves; k++)
		if (place->leaves[k].filenode != 0 && condition(&place->leaves[k], files))
			psti_buf_printf(out, "%s%" PRIu32, out->len > 0 ? "," : "{", place->leaves[k].oid);
}

/* Asks of the leaves that were listed; of none: *out stays NULL. The list is emptied. */
static pst_status
ask_files(pst_cdc *cdc, const char *sql, psti_buf *oids, PGresult **out, pst_error *err)
{
	const char *params[1];
	pst_status status;

	*out = NULL;
	psti_buf_puts(oids, oids->len > 0 ? "}" : "");
	status = psti_buf_check(oids, err);
	params[0] = oids->data;
	if (status == PST_OK && oids->len > 0)
		status = psti_conn_query(cdc->conn, "looking for rewrites", sql, 1, params, out, err);
	psti_buf_reset(oids);
	return status;
}

/* False: there is no such table. */
static bool
read_sight(const PGresult *sights, uint32_t oid, sight *out)
{
	int row = find_file(sights, oid);

	memset(out, 0, sizeof(*out));
	if (row < 0)
		return false;
	out->node = (uint32_t) strtoul(PQgetvalue(sights, row, F_NODE), NULL, 10);
	out->xmin = (uint32_t) strtoul(PQgetvalue(sights, row, F_XMIN), NULL, 10);
	out->columns = psti_hash_text(PSTI_HASH_INIT, PQgetvalue(sights, row, F_COLUMNS)) | 1;
	out->named = PQgetvalue(sights, row, F_NAMED)[0] == 't';
	out->young = PQgetvalue(sights, row, F_YOUNG)[0] == 't';
	return out->node != 0;
}

static bool
has_same_columns(const psti_leaf *leaf, const sight *seen)
{
	return leaf->columns != 0 && leaf->columns == seen->columns;
}

/*
 * Whether another file says nothing that the stream does not: what changes values in it writes a column, too,
 * and what else makes a new one is a TRUNCATE, which is told, or changes no row (VACUUM FULL, CLUSTER, another
 * tablespace). But for the return of a table that was unlogged.
 */
static bool
is_harmless(const pst_cdc *cdc, const psti_leaf *leaf, const sight *seen)
{
	return cdc->rules.server_version >= 110000 &&
		   (cdc->wanted.left_out & PSTI_PUBLISH_TRUNCATE) == 0 && seen->named &&
		   has_same_columns(leaf, seen);
}

static void
take_sight(psti_leaf *leaf, const sight *seen)
{
	leaf->filenode = seen->node;
	leaf->columns = seen->columns;
	leaf->other = 0;
}

/* Whether the leaf has another file, and nothing that the stream has told since explains it. */
static bool
is_rewritten(const pst_cdc *cdc, psti_leaf *leaf, const PGresult *sights)
{
	sight seen;

	if (leaf->filenode == 0 || !read_sight(sights, leaf->oid, &seen))
		return false;
	if (seen.node == leaf->filenode || is_harmless(cdc, leaf, &seen))
	{
		take_sight(leaf, &seen);
		return false;
	}
	if (seen.node == leaf->other)
		return cdc->at.safe_lsn >= leaf->other_at;
	leaf->other = seen.node;
	if (!psti_lsn_parse(PQgetvalue(sights, find_file(sights, leaf->oid), F_LSN), &leaf->other_at))
		leaf->other = 0;
	return false;
}

/*
 * A rewrite may have no change after it that would tell of it. A TRUNCATE may still have to come, so that the
 * stream has to be where WAL was when the other file was seen.
 */
static pst_status
watch_files(pst_cdc *cdc, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *files = NULL;
	PGresult *sights = NULL;
	pst_status status;

	for (size_t i = 0; i < cdc->at.nplaces; i++)
		if (is_told(&cdc->at.places[i]))
			list_leaves(&cdc->at.places[i], is_any, NULL, &oids);
	status = ask_files(cdc, files_sql, &oids, &files, err);
	for (size_t i = 0; files != NULL && i < cdc->at.nplaces; i++)
		if (is_told(&cdc->at.places[i]))
			list_leaves(&cdc->at.places[i], is_of_interest, files, &oids);
	if (status == PST_OK)
		status = ask_files(cdc, sights_sql, &oids, &sights, err);
	for (size_t i = 0; status == PST_OK && sights != NULL && i < cdc->at.nplaces; i++)
	{
		psti_place *place = &cdc->at.places[i];
		bool found = false;

		for (size_t k = 0; k < place->nleaves && is_told(place); k++)
			found |= is_rewritten(cdc, &place->leaves[k], sights);
		if (found)
			status = psti_capture_reset(cdc, place, rewritten, err);
	}
	PQclear(files);
	PQclear(sights);
	psti_buf_free(&oids);
	return status;
}

/* The leaves of a table that was locked, and is about to be read. */
static pst_status
list_read(const pst_cdc *cdc, psti_place *place, pst_source *source, pst_error *err)
{
	const PGresult *leaves = NULL;
	bool tree = source->relation->relkind == 'p';
	pst_status status = psti_source_leaves(source, &leaves, err);

	psti_place_clear_leaves(place);
	for (int i = 0; status == PST_OK && i < PQntuples(leaves); i++)
	{
		uint32_t oid = (uint32_t) strtoul(PQgetvalue(leaves, i, PSTI_LEAF_OID), NULL, 10);
		uint32_t node = (uint32_t) strtoul(PQgetvalue(leaves, i, PSTI_LEAF_NODE), NULL, 10);

		if (node != 0 && (tree || oid == place->oid))
			status = psti_place_add_leaf(place, oid, cdc->plain ? node : 0, err);
	}
	return status;
}

pst_status
psti_watch_read(pst_cdc *cdc, psti_place *place, pst_source *source, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *sights = NULL;
	pst_status status;

	if (!is_watched(cdc) || (source->relation->relkind != 'p' && !cdc->plain))
		return PST_OK;
	/* A part of it may have been read before, with other partitions: then what is new is noticed. */
	if (psti_place_is_begun(place))
		return PST_OK;
	status = list_read(cdc, place, source, err);
	if (cdc->plain)
		list_leaves(place, is_any, NULL, &oids);
	if (status == PST_OK)
		status = ask_files(cdc, sights_sql, &oids, &sights, err);
	for (size_t k = 0; sights != NULL && k < place->nleaves; k++)
	{
		sight seen;

		if (read_sight(sights, place->leaves[k].oid, &seen) &&
			seen.node == place->leaves[k].filenode)
			take_sight(&place->leaves[k], &seen);
	}
	PQclear(sights);
	psti_buf_free(&oids);
	return status;
}

pst_status
psti_watch_ask(pst_cdc *cdc, const uint32_t *tables, size_t n, PGresult **out, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	pst_status status;

	*out = NULL;
	if (!is_watched(cdc) || !cdc->plain)
		return PST_OK;
	for (size_t i = 0; i < n; i++)
		psti_buf_printf(&oids, "%s%" PRIu32, i > 0 ? "," : "{", tables[i]);
	status = ask_files(cdc, sights_sql, &oids, out, err);
	psti_buf_free(&oids);
	return status;
}

/* What was asked before is of an older moment: no harm, as long as the file is the same. */
pst_status
psti_watch_small(pst_cdc *cdc, psti_place *place, uint32_t node, const PGresult *answer,
				 pst_error *err)
{
	sight seen;
	pst_status status;

	if (!is_watched(cdc) || !cdc->plain)
		return PST_OK;
	psti_place_clear_leaves(place);
	status = psti_place_add_leaf(place, place->oid, node, err);
	if (status == PST_OK && answer != NULL && read_sight(answer, place->oid, &seen) &&
		seen.node == node)
		take_sight(psti_place_leaf(place, place->oid), &seen);
	return status;
}

/* Looks at the one table; *there false: it is not there any more. */
static pst_status
look(pst_cdc *cdc, uint32_t oid, sight *out, bool *there, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *sights = NULL;
	pst_status status;

	psti_buf_printf(&oids, "{%" PRIu32, oid);
	status = ask_files(cdc, sights_sql, &oids, &sights, err);
	*there = status == PST_OK && read_sight(sights, oid, out);
	PQclear(sights);
	psti_buf_free(&oids);
	return status;
}

/* ---- Unlogged tables ---- */

static const char logged_sql[] =
	"SELECT c.oid FROM pg_catalog.pg_class c "
	"WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) "
	"AND c.relpersistence OPERATOR(pg_catalog.<>) 'u'::pg_catalog.\"char\"";

/* Of the place: whether one of these was unlogged. They are not any more. */
static bool
is_logged_again(psti_place *place, const PGresult *logged)
{
	bool found = false;

	for (int row = 0; row < PQntuples(logged); row++)
	{
		uint32_t oid = (uint32_t) strtoul(PQgetvalue(logged, row, 0), NULL, 10);

		found |= psti_place_is_unlogged(place, oid);
		(void) psti_place_set_unlogged(place, oid, false, NULL);
	}
	return found;
}

/*
 * The plugin tells that a table is logged again when it has told in the same session that it was not, or when
 * it has rows. After a restart an empty one is seen here.
 */
static pst_status
watch_unlogged(pst_cdc *cdc, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	const char *params[1];
	PGresult *logged = NULL;
	pst_status status;

	for (size_t i = 0; i < cdc->at.nplaces; i++)
		for (size_t k = 0; k < cdc->at.places[i].nunlogged; k++)
			psti_buf_printf(&oids, "%s%" PRIu32, oids.len > 0 ? "," : "{",
							cdc->at.places[i].unlogged[k]);
	psti_buf_puts(&oids, oids.len > 0 ? "}" : "");
	status = psti_buf_check(&oids, err);
	params[0] = oids.data;
	if (status == PST_OK && oids.len > 0)
		status = psti_conn_query(cdc->conn, "looking for tables that are logged again", logged_sql,
								 1, params, &logged, err);
	for (size_t i = 0; status == PST_OK && logged != NULL && i < cdc->at.nplaces; i++)
		if (is_logged_again(&cdc->at.places[i], logged))
			status = psti_capture_reset(cdc, &cdc->at.places[i], unlogged, err);
	PQclear(logged);
	psti_buf_free(&oids);
	return status;
}

pst_status
psti_watch(pst_cdc *cdc, pst_error *err)
{
	pst_status status = cdc->plain ? psti_opening_watch(cdc, err) : PST_OK;

	if (status == PST_OK)
		status = watch_partitions(cdc, err);
	if (status == PST_OK && is_watched(cdc))
		status = watch_unlogged(cdc, err);
	if (status == PST_OK && cdc->plain && is_watched(cdc))
		status = watch_files(cdc, err);
	if (status == PST_OK && cdc->plain)
		status = watch_tables(cdc, err);
	cdc->watched_at = psti_now_ms();
	return status;
}

/* ---- Relations of the stream ---- */

static pst_status
meet_relation(pst_cdc *cdc, psti_place *place, const psti_stream_relation *relation,
			  const char **reason, pst_error *err)
{
	PGresult *leaves = NULL;
	char root[24];
	pst_status status = PST_OK;

	if (relation->leaf == relation->oid)
		return psti_place_add_leaf(place, relation->leaf, relation->filenode, err);
	snprintf(root, sizeof(root), "{%" PRIu32 "}", place->oid);
	status = ask_leaves(cdc, root, &leaves, err);
	for (int row = 0; status == PST_OK && row < PQntuples(leaves); row++)
		status = meet_leaf(cdc, place, leaves, row, reason, err);
	PQclear(leaves);
	/* It may have gone again. */
	if (status == PST_OK)
		status =
			psti_place_add_leaf(place, relation->leaf, cdc->plain ? relation->filenode : 0, err);
	return status;
}

/* SET LOGGED brings all rows into the stream, but a table may come back empty. */
static pst_status
watch_persistence(pst_cdc *cdc, psti_place *place, const psti_stream_relation *relation,
				  const char **reason, pst_error *err)
{
	bool was = psti_place_is_unlogged(place, relation->leaf);
	bool is = relation->persistence == 'u';

	*reason = was && !is ? unlogged : NULL;
	if (is && !was)
		psti_log(&cdc->hooks, PST_LOG_WARNING,
				 "%s.%s has become unlogged: its changes are in no WAL, and the copy stays as it "
				 "is until it is logged again",
				 relation->schema, relation->name);
	return psti_place_set_unlogged(place, relation->leaf, is, err);
}

pst_status
psti_watch_relation(pst_cdc *cdc, const psti_stream_relation *relation, const char **reason,
					pst_error *err)
{
	psti_place *place = psti_position_find(&cdc->at, relation->oid);
	psti_leaf *leaf;
	sight seen;
	bool there;
	pst_status status = watch_persistence(cdc, place, relation, reason, err);

	if (status != PST_OK || *reason != NULL)
		return status;
	if (!is_watched(cdc) || (!cdc->plain && relation->leaf == relation->oid))
		return PST_OK;
	leaf = psti_place_leaf(place, relation->leaf);
	if (leaf == NULL)
		return meet_relation(cdc, place, relation, reason, err);
	/* A TRUNCATE explains another file: psti_watch_truncate. */
	if (!cdc->plain || relation->filenode == 0 || cdc->change.kind == PSTI_CHANGE_TRUNCATE)
		return PST_OK;
	if (leaf->filenode == relation->filenode)
		return PST_OK;
	status = look(cdc, leaf->oid, &seen, &there, err);
	/* What the stream describes is older than what was read. */
	if (status == PST_OK && there && seen.node == leaf->filenode)
	{
		take_sight(leaf, &seen);
		return PST_OK;
	}
	/* A TRUNCATE is described first, too. */
	if (status == PST_OK && there && cdc->change.kind == PSTI_CHANGE_RELATION &&
		has_same_columns(leaf, &seen) && !is_harmless(cdc, leaf, &seen))
		return PST_AGAIN;
	if (leaf->filenode != 0 && !(there && is_harmless(cdc, leaf, &seen)))
		*reason = rewritten;
	leaf->filenode = relation->filenode;
	if (there)
		take_sight(leaf, &seen);
	return status;
}

/*
 * A column that was added with a default is in all rows from then on, and no row tells it. What came while
 * nobody looked is told by the hash of the names that were told last.
 */
const char *
psti_watch_columns(const pst_cdc *cdc, const psti_stream_relation *relation, const psti_table *made)
{
	const psti_place *place = psti_position_find(&cdc->at, relation->oid);
	const psti_captured *captured = psti_capture_find(cdc, relation->oid);
	const psti_table *told = captured != NULL ? captured->version : NULL;

	if (!is_watched(cdc) || place->columns == 0 || place->columns == psti_table_hash(made))
		return NULL;
	for (size_t i = 0; i < relation->ncolumns; i++)
		if (relation->columns[i].missing &&
			(told == NULL || psti_table_find(told, relation->columns[i].name) == told->ncolumns))
			return "a column was added whose default its rows have";
	return NULL;
}

/*
 * Whether the file is that of the TRUNCATE that was told just now. The columns being as before, it is this
 * one's or that of a later one; else nothing else may have written the table's row in pg_class since. Where
 * it is not known how they were, as after a restart, none may have been written with it.
 */
static bool
is_emptied(const pst_cdc *cdc, const psti_leaf *leaf, const sight *seen)
{
	if (is_harmless(cdc, leaf, seen))
		return true;
	return seen->xmin == (uint32_t) cdc->transaction.xid &&
		   (leaf->columns == 0 ? !seen->young : leaf->columns == seen->columns);
}

pst_status
psti_watch_truncate(pst_cdc *cdc, uint32_t oid, const char **reason, pst_error *err)
{
	psti_place *place = psti_position_find(&cdc->at, oid);
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *sights = NULL;
	pst_status status = PST_OK;

	*reason = NULL;
	if (cdc->plain)
		list_leaves(place, is_any, NULL, &oids);
	status = ask_files(cdc, sights_sql, &oids, &sights, err);
	for (size_t k = 0; sights != NULL && k < place->nleaves; k++)
	{
		psti_leaf *leaf = &place->leaves[k];
		sight seen;

		if (leaf->filenode == 0 || !read_sight(sights, leaf->oid, &seen))
			continue;
		if (seen.node != leaf->filenode && !is_emptied(cdc, leaf, &seen))
			*reason = rewritten;
		take_sight(leaf, &seen);
	}
	PQclear(sights);
	psti_buf_free(&oids);
	return status;
}
