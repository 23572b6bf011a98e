/* sink_sql.c - every statement that the sink runs on its target. */
#include "sink.h"

#include <stdlib.h>

static bool
skipped(const uint8_t *skip, size_t c)
{
	return skip != NULL && psti_bit_get(skip, (int64_t) c);
}

/* DELETE, UPDATE and locks do not reach into inheritance children; partitions they must. */
static void
put_target(const psti_sink_plan *plan, bool only, psti_buf *sql)
{
	if (only && plan->relation->relkind == 'r' && plan->relation->has_subclass)
		psti_buf_puts(sql, "ONLY ");
	psti_buf_puts(sql, plan->relation->qualified);
	psti_buf_puts(sql, " AS t");
}

void
psti_sql_columns(const psti_sink_plan *plan, const uint8_t *skip, psti_buf *sql)
{
	const char *comma = "";

	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		if (skipped(skip, c))
			continue;
		psti_buf_puts(sql, comma);
		psti_buf_ident(sql, plan->columns[c].target->name);
		comma = ", ";
	}
}

void
psti_sql_value(const psti_sink_column *column, const char *expr, psti_buf *sql)
{
	if (!column->text)
		psti_buf_puts(sql, expr);
	else if (column->input == NULL)
		psti_buf_printf(sql, "CAST(%s AS %s)", expr, column->target->type.bare_name);
	else if (column->input_nargs == 1)
		psti_buf_printf(sql, "%s(pg_catalog.textout(%s))", column->input, expr);
	else
		psti_buf_printf(sql, "%s(pg_catalog.textout(%s), %u::pg_catalog.oid, -1)", column->input,
						expr, column->input_oid);
}

/* The values of the columns that are not left out: v.c1, CAST(v.c2 AS …), or parameters. */
static void
put_values(const psti_sink_plan *plan, psti_values from, const uint8_t *skip, size_t ncolumns,
		   bool named, psti_buf *sql)
{
	int param = 0;

	for (size_t c = 0; c < ncolumns; c++)
	{
		char expr[32];

		if (skipped(skip, c))
			continue;
		if (param++ > 0)
			psti_buf_puts(sql, ", ");
		if (from == PSTI_FROM_PARAMS)
			snprintf(expr, sizeof(expr), "$%d", param);
		else
			snprintf(expr, sizeof(expr), "r.c%zu", c + 1);
		/* The staging table's columns have the target's types already. */
		if (from == PSTI_FROM_STAGE)
			psti_buf_puts(sql, expr);
		else
			psti_sql_value(&plan->columns[c], expr, sql);
		if (named)
			psti_buf_printf(sql, " AS c%zu", c + 1);
	}
}

/* ROWS FROM (unnest($1), unnest($2)) AS r(c1, c2), or the temporary table. */
static void
put_from(const psti_sink_plan *plan, psti_values from, const uint8_t *skip, size_t ncolumns,
		 bool ordinality, psti_buf *sql)
{
	int param = 0;
	const char *comma = "";

	if (from == PSTI_FROM_PARAMS)
		return;
	if (from == PSTI_FROM_TEMP)
	{
		psti_buf_puts(sql, " FROM ");
		psti_sql_temp_name(plan, sql);
		psti_buf_puts(sql, " AS r");
		return;
	}
	if (from == PSTI_FROM_STAGE)
	{
		psti_buf_printf(sql, " FROM %s", plan->stage_from);
		return;
	}
	psti_buf_puts(sql, " FROM ROWS FROM (");
	for (size_t c = 0; c < ncolumns; c++)
	{
		if (skipped(skip, c))
			continue;
		psti_buf_printf(sql, "%spg_catalog.unnest($%d)", param > 0 ? ", " : "", param + 1);
		param++;
	}
	psti_buf_puts(sql, ordinality ? ") WITH ORDINALITY AS r(" : ") AS r(");
	for (size_t c = 0; c < ncolumns; c++)
	{
		if (skipped(skip, c))
			continue;
		psti_buf_printf(sql, "%sc%zu", comma, c + 1);
		comma = ", ";
	}
	psti_buf_puts(sql, ordinality ? ", o)" : ")");
}

/* t."k" = left.ck AND …, by the operator and collation of the key's index. */
static void
put_match(const psti_sink_plan *plan, const char *target, const char *other, psti_buf *sql)
{
	for (size_t k = 0; k < plan->nkey; k++)
	{
		if (k > 0)
			psti_buf_puts(sql, " AND ");
		psti_buf_printf(sql, "%s.", target);
		psti_buf_ident(sql, plan->columns[k].target->name);
		psti_buf_printf(sql, " %s %s.c%zu%s", plan->keys[k].operator_sql, other, k + 1,
						plan->keys[k].collate_sql);
	}
}

/* The columns that an update sets; none when everything is key. */
static bool
has_set(const psti_sink_plan *plan, const uint8_t *skip)
{
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		if (!plan->columns[c].frozen && !skipped(skip, c))
			return true;
	}
	return false;
}

static void
put_set(const psti_sink_plan *plan, const uint8_t *skip, bool excluded, bool with_key,
		psti_buf *sql)
{
	const char *comma = "";

	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		const psti_sink_column *column = &plan->columns[c];

		if ((column->frozen && !(with_key && column->key)) || skipped(skip, c))
			continue;
		psti_buf_puts(sql, comma);
		psti_buf_ident(sql, column->target->name);
		psti_buf_puts(sql, " = ");
		if (excluded)
		{
			psti_buf_puts(sql, "EXCLUDED.");
			psti_buf_ident(sql, column->target->name);
		}
		else
			psti_buf_printf(sql, "v.c%zu", c + 1);
		comma = ", ";
	}
}

void
psti_sql_conflict(const psti_sink_plan *plan, const uint8_t *skip, psti_buf *sql)
{
	psti_buf_puts(sql, " ON CONFLICT (");
	for (size_t k = 0; k < plan->nkey; k++)
	{
		if (k > 0)
			psti_buf_puts(sql, ", ");
		psti_buf_ident(sql, plan->columns[k].target->name);
	}
	if (!has_set(plan, skip))
	{
		psti_buf_puts(sql, ") DO NOTHING");
		return;
	}
	psti_buf_puts(sql, ") DO UPDATE SET ");
	put_set(plan, skip, true, false, sql);
}

size_t
psti_sql_count(const psti_sink_plan *plan, const uint8_t *skip)
{
	size_t n = 0;

	for (size_t c = 0; c < plan->ncolumns; c++)
		n += skipped(skip, c) ? 0 : 1;
	return n;
}

static void
put_insert(const psti_sink_plan *plan, const uint8_t *skip, psti_buf *sql)
{
	psti_buf_puts(sql, "INSERT INTO ");
	put_target(plan, false, sql);
	if (psti_sql_count(plan, skip) > 0)
	{
		psti_buf_puts(sql, " (");
		psti_sql_columns(plan, skip, sql);
		psti_buf_putc(sql, ')');
	}
	if (plan->overriding)
		psti_buf_puts(sql, " OVERRIDING SYSTEM VALUE");
}

/* INSERT of what an update has left over; the table of what it has done is still to be named. */
static void
put_insert_rest(const psti_sink_plan *plan, const uint8_t *skip, psti_buf *sql)
{
	put_insert(plan, skip, sql);
	psti_buf_puts(sql, " SELECT ");
	for (size_t c = 0, n = 0; c < plan->ncolumns; c++)
	{
		if (!skipped(skip, c))
			psti_buf_printf(sql, "%sv.c%zu", n++ > 0 ? ", " : "", c + 1);
	}
	psti_buf_puts(sql, " FROM v WHERE NOT EXISTS (SELECT FROM ");
}

/*
 * INSERT checks NOT NULL before it looks for a conflict, so a column that is left out and has no
 * default would be refused although the row exists: update what is there, insert the rest.
 */
static void
put_update_first(const psti_sink_plan *plan, psti_values from, const uint8_t *skip, psti_buf *sql)
{
	psti_buf_puts(sql, "WITH v AS (SELECT ");
	put_values(plan, from, skip, plan->ncolumns, true, sql);
	put_from(plan, from, skip, plan->ncolumns, false, sql);
	psti_buf_puts(sql, "), u AS (");
	if (has_set(plan, skip))
	{
		psti_buf_puts(sql, "UPDATE ");
		put_target(plan, true, sql);
		psti_buf_puts(sql, " SET ");
		put_set(plan, skip, false, false, sql);
		psti_buf_puts(sql, " FROM v WHERE ");
		put_match(plan, "t", "v", sql);
		psti_buf_puts(sql, " RETURNING ");
	}
	else
		psti_buf_puts(sql, "SELECT ");
	for (size_t k = 0; k < plan->nkey; k++)
		psti_buf_printf(sql, "%sv.c%zu", k > 0 ? ", " : "", k + 1);
	if (!has_set(plan, skip))
	{
		psti_buf_puts(sql, " FROM v, ");
		put_target(plan, true, sql);
		psti_buf_puts(sql, " WHERE ");
		put_match(plan, "t", "v", sql);
	}
	psti_buf_puts(sql, ") ");
	put_insert_rest(plan, skip, sql);
	psti_buf_puts(sql, "u WHERE ");
	for (size_t k = 0; k < plan->nkey; k++)
		psti_buf_printf(sql, "%su.c%zu %s v.c%zu%s", k > 0 ? " AND " : "", k + 1,
						plan->keys[k].operator_sql, k + 1, plan->keys[k].collate_sql);
	psti_buf_putc(sql, ')');
	psti_sql_conflict(plan, skip, sql);
}

void
psti_sql_insert(const psti_sink_plan *plan, psti_values from, const uint8_t *skip, psti_buf *sql)
{
	put_insert(plan, skip, sql);
	/* Without columns rows are only a number. */
	if (psti_sql_count(plan, skip) == 0)
	{
		psti_buf_puts(sql, " SELECT FROM pg_catalog.generate_series(1, $1::pg_catalog.int8)");
		return;
	}
	psti_buf_puts(sql, " SELECT ");
	put_values(plan, from, skip, plan->ncolumns, false, sql);
	put_from(plan, from, skip, plan->ncolumns, false, sql);
}

void
psti_sql_upsert(const psti_sink_plan *plan, psti_values from, const uint8_t *skip, psti_buf *sql)
{
	if (plan->update_first || skip != NULL)
	{
		put_update_first(plan, from, skip, sql);
		return;
	}
	psti_sql_insert(plan, from, NULL, sql);
	psti_sql_conflict(plan, NULL, sql);
}

void
psti_sql_delete(const psti_sink_plan *plan, psti_values from, psti_buf *sql)
{
	psti_buf_puts(sql, "DELETE FROM ");
	put_target(plan, true, sql);
	psti_buf_puts(sql, " USING (SELECT ");
	put_values(plan, from, NULL, plan->nkey, true, sql);
	put_from(plan, from, NULL, plan->nkey, false, sql);
	psti_buf_puts(sql, ") AS v WHERE ");
	put_match(plan, "t", "v", sql);
}

void
psti_sql_lock(const psti_sink_plan *plan, const char *strength, psti_buf *sql)
{
	psti_buf_puts(sql, "SELECT pg_catalog.count(*) FROM (SELECT 1 FROM ");
	put_target(plan, true, sql);
	psti_buf_puts(sql, ", (SELECT ");
	put_values(plan, PSTI_FROM_ARRAYS, NULL, plan->nkey, true, sql);
	psti_buf_puts(sql, ", r.o");
	put_from(plan, PSTI_FROM_ARRAYS, NULL, plan->nkey, true, sql);
	psti_buf_puts(sql, ") AS v WHERE ");
	put_match(plan, "t", "v", sql);
	psti_buf_printf(sql, " ORDER BY v.o FOR %s OF t) AS locked", strength);
}

/* $n, $n+1, … for the old key, as columns of o. */
static void
put_old_key(const psti_sink_plan *plan, size_t first_param, psti_buf *sql)
{
	for (size_t k = 0; k < plan->nkey; k++)
	{
		char expr[32];

		snprintf(expr, sizeof(expr), "$%zu", first_param + k);
		psti_buf_puts(sql, k > 0 ? ", " : "");
		psti_sql_value(&plan->columns[k], expr, sql);
		psti_buf_printf(sql, " AS c%zu", k + 1);
	}
}

/*
 * The row moves to its new key and keeps what is not carried. When it cannot (it has moved before,
 * or the new key is taken by an earlier delivery of the same change) the old key goes and the new
 * one is upserted.
 */
void
psti_sql_change(const psti_sink_plan *plan, psti_values from, const uint8_t *skip, psti_buf *sql)
{
	size_t nparams = psti_sql_count(plan, skip);

	psti_buf_puts(sql, "WITH v AS (SELECT ");
	put_values(plan, from, skip, plan->ncolumns, true, sql);
	put_from(plan, from, skip, plan->ncolumns, false, sql);
	psti_buf_puts(sql, "), o AS (SELECT ");
	if (from == PSTI_FROM_STAGE)
	{
		put_values(plan, from, NULL, plan->nkey, true, sql);
		psti_buf_printf(sql, " FROM %s", plan->stage_old);
	}
	else
		put_old_key(plan, nparams + 1, sql);
	psti_buf_puts(sql, "), moved AS (UPDATE ");
	put_target(plan, true, sql);
	psti_buf_puts(sql, " SET ");
	put_set(plan, skip, false, true, sql);
	psti_buf_puts(sql, " FROM v, o WHERE ");
	put_match(plan, "t", "o", sql);
	psti_buf_printf(sql, " AND NOT EXISTS (SELECT FROM %s AS n WHERE ", plan->relation->qualified);
	put_match(plan, "n", "v", sql);
	psti_buf_puts(sql, ") RETURNING 1), gone AS (DELETE FROM ");
	put_target(plan, true, sql);
	psti_buf_puts(sql, " USING o WHERE ");
	put_match(plan, "t", "o", sql);
	psti_buf_puts(sql, " AND NOT EXISTS (SELECT FROM moved)) ");
	put_insert_rest(plan, skip, sql);
	psti_buf_puts(sql, "moved)");
	psti_sql_conflict(plan, skip, sql);
}

/* --- the temporary table and COPY ----------------------------------------------------------- */

static void
put_temp_columns(const psti_sink_plan *plan, psti_buf *sql)
{
	for (size_t c = 0; c < plan->ncolumns; c++)
		psti_buf_printf(sql, "%sc%zu %s", c > 0 ? ", " : "", c + 1,
						plan->columns[c].text ? "pg_catalog.text"
											  : plan->columns[c].target->type.name);
}

/* The name says the columns, so that a session shared by a pooler cannot mix two of them up. */
void
psti_sql_temp_name(const psti_sink_plan *plan, psti_buf *sql)
{
	psti_buf columns = PSTI_BUF_INIT;
	uint32_t hash = 2166136261u;

	put_temp_columns(plan, &columns);
	for (size_t i = 0; i < columns.len; i++)
		hash = (hash ^ (uint8_t) columns.data[i]) * 16777619u;
	sql->failed = sql->failed || columns.failed;
	psti_buf_free(&columns);
	psti_buf_printf(sql, PSTI_TEMP_PREFIX "%08x", hash);
}

void
psti_sql_temp_create(const psti_sink_plan *plan, psti_buf *sql)
{
	psti_buf_puts(sql, "CREATE TEMPORARY TABLE IF NOT EXISTS ");
	psti_sql_temp_name(plan, sql);
	psti_buf_puts(sql, " (");
	put_temp_columns(plan, sql);
	psti_buf_puts(sql, ") ON COMMIT DELETE ROWS");
}

void
psti_sql_temp_copy(const psti_sink_plan *plan, psti_buf *sql)
{
	psti_buf_puts(sql, "COPY ");
	psti_sql_temp_name(plan, sql);
	psti_buf_puts(sql, " FROM STDIN (FORMAT binary)");
}

void
psti_sql_copy(const psti_sink_plan *plan, psti_buf *sql)
{
	psti_buf_printf(sql, "COPY %s (", plan->relation->qualified);
	psti_sql_columns(plan, NULL, sql);
	psti_buf_puts(sql,
				  plan->copy_text ? ") FROM STDIN (FORMAT text)" : ") FROM STDIN (FORMAT binary)");
}
