/*
 * sink_plan.c - everything about the target that can be known, and refused, before the first row.
 */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

#include "sql_texts.h"

#define OID_FLOAT4 700
#define OID_FLOAT8 701
#define OID_BPCHAR 1042
#define OID_VARCHAR 1043
#define OID_NUMERIC 1700

/* Types whose equality is that of their bytes, when nothing rounds the value on its way. */
static const Oid bytewise_types[] = {16,   17,	 19,   20,	 21,   23,	 25,  1042,
									 1043, 1082, 1083, 1114, 1184, 1700, 2950};

/* Columns of the text target_indexes. */
enum
{
	I_OID,
	I_NAME,
	I_EXPRESSION,
	I_FAULT, /* why ON CONFLICT would not take it, or "" */
	I_ATTNUM,
	I_OPERATOR,
	I_COLLATE,
	I_DETERMINISTIC,
	I_BYTEWISE_CLASS,
	I_MEND /* of a deferrable one, what makes another of it, or "" */
};

static bool
is_true(const PGresult *result, int row, int column)
{
	return PQgetvalue(result, row, column)[0] == 't';
}

static void
name_target(const psti_sink_plan *plan, const char *column, pst_error *err)
{
	PSTI_ERROR_SET(err, schema, plan->relation->schema);
	PSTI_ERROR_SET(err, table, plan->relation->name);
	if (column != NULL)
		PSTI_ERROR_SET(err, column, column);
}

/* --- columns ------------------------------------------------------------------------------- */

/* "unknown column": with the one that differs in case only, if there is one. */
static pst_status
fail_unknown(const psti_sink_plan *plan, const char *name, pst_error *err)
{
	psti_fail_sqlstate(err, "42703", "table %s has no column \"%s\"", plan->relation->qualified,
					   name);
	name_target(plan, name, err);
	psti_relation_suggest(plan->relation, name, err);
	return err->status;
}

static pst_status
check_column(const psti_sink_plan *plan, const psti_column *target, pst_error *err)
{
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		if (plan->columns[c].target == target)
		{
			psti_fail(err, PST_ERR_INVALID, "column \"%s\" is given twice", target->name);
			name_target(plan, target->name, err);
			return err->status;
		}
	}
	if (target->generated)
	{
		psti_fail_sqlstate(err, "428C9",
						   "column \"%s\" of table %s is generated and cannot be "
						   "written",
						   target->name, plan->relation->qualified);
		psti_error_hint(err, "Leave the column out: the server computes it.");
		name_target(plan, target->name, err);
		return err->status;
	}
	return PST_OK;
}

/* Adds the caller's column child; target is checked. */
static void
add_column(psti_sink_plan *plan, int64_t child, const psti_column *target, bool key)
{
	psti_sink_column *column = &plan->columns[plan->ncolumns++];

	column->target = target;
	column->child = child;
	column->schema = plan->schema.children[child];
	column->key = key;
	column->frozen = key || target->identity_always;
	plan->overriding = plan->overriding || target->identity;
}

static int64_t
find_child(const psti_sink_plan *plan, const char *name)
{
	for (int64_t i = 0; i < plan->schema.n_children; i++)
	{
		const char *child = plan->schema.children[i]->name;

		if (child != NULL && strcmp(child, name) == 0)
			return i;
	}
	return -1;
}

/* The key's columns first, then the others in the caller's order. */
static pst_status
match_columns(psti_sink_plan *plan, const char *const *names, size_t nnames, pst_error *err)
{
	plan->columns = calloc((size_t) plan->schema.n_children + 1, sizeof(*plan->columns));
	if (plan->columns == NULL)
		return psti_fail_nomem(err);
	for (size_t k = 0; k < nnames; k++)
	{
		const psti_column *target = psti_relation_column(plan->relation, names[k]);
		int64_t child = find_child(plan, names[k]);
		pst_status status;

		if (target == NULL)
			return fail_unknown(plan, names[k], err);
		if (child < 0 && plan->mode == PSTI_MODE_APPEND)
			continue;
		if (child < 0)
		{
			psti_fail(err, PST_ERR_INVALID,
					  "key column \"%s\" of table %s is not among the "
					  "columns given",
					  names[k], plan->relation->qualified);
			psti_error_hint(err, "Give every column of the key, choose another one by sink.key, %s",
							target->has_default || target->identity
								? "or insert rows under new keys by sink.mode=append."
								: "or give sink.mode=append.");
			name_target(plan, names[k], err);
			return err->status;
		}
		status = check_column(plan, target, err);
		if (status != PST_OK)
			return status;
		add_column(plan, child, target, plan->mode != PSTI_MODE_APPEND);
	}
	plan->nnamed = plan->ncolumns;
	plan->nkey = plan->mode == PSTI_MODE_APPEND ? 0 : plan->ncolumns;
	for (int64_t i = 0; i < plan->schema.n_children; i++)
	{
		const char *name = plan->schema.children[i]->name;
		const psti_column *target = psti_relation_column(plan->relation, name == NULL ? "" : name);
		pst_status status;
		bool named = false;

		if (target == NULL)
			return fail_unknown(plan, name == NULL ? "" : name, err);
		for (size_t k = 0; k < plan->nnamed; k++)
			named = named || plan->columns[k].child == i;
		if (named)
			continue;
		status = check_column(plan, target, err);
		if (status != PST_OK)
			return status;
		add_column(plan, i, target, false);
	}
	return PST_OK;
}

/* What follows from columns that are not given. */
static void
look_at_missing(psti_sink_plan *plan)
{
	plan->complete = true;
	for (size_t i = 0; i < plan->relation->ncolumns; i++)
	{
		const psti_column *target = &plan->relation->columns[i];

		if (target->generated || find_child(plan, target->name) >= 0)
			continue;
		plan->complete = false;
		if (target->not_null && !target->has_default && !target->identity && plan->nkey > 0)
			plan->update_first = true;
	}
}

/* --- types --------------------------------------------------------------------------------- */

static pst_status
read_type(psti_sink_column *column, const PGresult *types, pst_error *err)
{
	for (int row = 0; row < PQntuples(types); row++)
	{
		if (strtoul(PQgetvalue(types, row, 0), NULL, 10) != column->target->type.base)
			continue;
		column->type = column->target->type.base;
		column->array = (Oid) strtoul(PQgetvalue(types, row, 1), NULL, 10);
		if (!PQgetisnull(types, row, 2))
		{
			column->input = strdup(PQgetvalue(types, row, 2));
			if (column->input == NULL)
				return psti_fail_nomem(err);
		}
		column->input_nargs = (int) strtol(PQgetvalue(types, row, 3), NULL, 10);
		column->input_oid = (Oid) strtoul(PQgetvalue(types, row, 4), NULL, 10);
		column->arrow.delimiter = PQgetvalue(types, row, 5)[0]; /* an array's is its elements' */
	}
	if (column->text)
	{
		column->type = PSTI_OID_TEXT;
		column->array = PSTI_OID_TEXT_ARRAY;
	}
	return PST_OK;
}

static pst_status
ask_types(psti_sink_plan *plan, psti_conn *conn, pst_error *err)
{
	psti_buf oids = PSTI_BUF_INIT;
	PGresult *types = NULL;
	const char *params[1];
	pst_status status;

	psti_buf_putc(&oids, '{');
	for (size_t c = 0; c < plan->ncolumns; c++)
		psti_buf_printf(&oids, "%s%u", c > 0 ? "," : "", plan->columns[c].target->type.base);
	psti_buf_putc(&oids, '}');
	status = psti_buf_check(&oids, err);
	params[0] = oids.data;
	if (status == PST_OK)
		status = psti_conn_query(conn, "reading the target's types", psti_sql_target_types, 1,
								 params, &types, err);
	for (size_t c = 0; status == PST_OK && c < plan->ncolumns; c++)
		status = read_type(&plan->columns[c], types, err);
	PQclear(types);
	psti_buf_free(&oids);
	return status;
}

/* A type, or an array of one, that a server of before 10 may keep in floating point. */
static bool
counts_time(const psti_type *type)
{
	switch (type->elem != 0 ? type->elem_base : type->base)
	{
		case 1083: /* time */
		case 1266: /* timetz */
		case 1114: /* timestamp */
		case 1184: /* timestamptz */
		case 1186: /* interval */
			return true;
		default:
			return false;
	}
}

/* How every column travels; whether an append's rows must be lines of text. */
static pst_status
choose_forms(psti_sink_plan *plan, psti_conn *conn, bool append_by_copy, pst_error *err)
{
	const char *integers = PQparameterStatus(psti_conn_pg(conn), "integer_datetimes");
	bool floating = integers != NULL && strcmp(integers, "on") != 0;
	pst_status status = PST_OK;
	bool text = false;

	for (size_t c = 0; status == PST_OK && c < plan->ncolumns; c++)
	{
		psti_sink_column *column = &plan->columns[c];

		column->foreign = floating && counts_time(&column->target->type);
		/* unnest would flatten an array of arrays: there they travel as text. */
		status = psti_encode_choose(column, append_by_copy, err);
		text = text || column->text;
	}
	plan->copy_text = append_by_copy && text;
	return status;
}

/* --- the key --------------------------------------------------------------------------------- */

/* A value is rounded or cut on its way into the column, so other bytes may come to be equal. */
static bool
is_rounded(const psti_sink_column *column)
{
	int32_t typmod = column->target->type.base_typmod;

	if (typmod < 0)
		return false;
	switch (column->target->type.base)
	{
		case OID_NUMERIC:
			/* numeric's typmod: precision << 16 | scale (11 bits, signed from 15 on) */
			return ((((typmod - 4) & 0x7ff) ^ 1024) - 1024) < column->arrow.scale;
		case OID_VARCHAR: /* blanks beyond the length are cut */
			return true;
		case OID_BPCHAR: /* encoded without trailing blanks */
			return false;
		default:
			return true;
	}
}

static bool
is_bytewise(const psti_sink_column *column)
{
	if (column->text || is_rounded(column))
		return false;
	/* 1.0 and 1.00 are equal, but only in a column without a scale are both. */
	if (column->arrow.pg_type == OID_NUMERIC && column->arrow.precision == 0)
		return false;
	if (column->target->type.typtype == 'e')
		return true;
	for (size_t i = 0; i < sizeof(bytewise_types) / sizeof(bytewise_types[0]); i++)
	{
		if (column->target->type.base == bytewise_types[i])
			return true;
	}
	return false;
}

/* The index's columns are exactly the key's, in any order. */
static bool
index_covers(const psti_sink_plan *plan, const PGresult *indexes, int from, int to)
{
	if ((size_t) (to - from) != plan->nkey)
		return false;
	for (size_t k = 0; k < plan->nkey; k++)
	{
		bool found = false;

		for (int row = from; row < to; row++)
			found = found || strtol(PQgetvalue(indexes, row, I_ATTNUM), NULL, 10) ==
								 plan->columns[k].target->attnum;
		if (!found)
			return false;
	}
	return true;
}

/* Takes operators and collations of an index that proves the key. */
static pst_status
take_index(psti_sink_plan *plan, const PGresult *indexes, int from, int to, pst_error *err)
{
	for (size_t k = 0; k < plan->nkey; k++)
	{
		psti_sink_key *key = &plan->keys[k];

		for (int row = from; row < to; row++)
		{
			if (strtol(PQgetvalue(indexes, row, I_ATTNUM), NULL, 10) !=
				plan->columns[k].target->attnum)
				continue;
			if (!is_true(indexes, row, I_DETERMINISTIC) ||
				!is_true(indexes, row, I_BYTEWISE_CLASS) || !is_bytewise(&plan->columns[k]))
				plan->strict_keys = false;
			if (key->operator_sql != NULL)
				continue;
			key->operator_sql = strdup(PQgetvalue(indexes, row, I_OPERATOR));
			key->collate_sql = strdup(PQgetvalue(indexes, row, I_COLLATE));
			if (key->operator_sql == NULL || key->collate_sql == NULL)
				return psti_fail_nomem(err);
		}
	}
	return PST_OK;
}

/* The statement that would make the index, in the hint; mend is one that makes it of another, or "". */
static pst_status
fail_no_index(const psti_sink_plan *plan, const char *fault, const char *mend, pst_error *err)
{
	psti_buf columns = PSTI_BUF_INIT;

	for (size_t k = 0; k < plan->nkey; k++)
	{
		psti_buf_puts(&columns, k > 0 ? ", " : "");
		psti_buf_ident(&columns, plan->columns[k].target->name);
	}
	psti_fail_sqlstate(err, "42P10",
					   "table %s has no unique index on exactly (%s) that an upsert "
					   "can use",
					   plan->relation->qualified, columns.failed ? "" : columns.data);
	if (fault[0] != '\0')
		psti_error_detail(err, "%s", fault);
	if (mend[0] != '\0')
		psti_error_hint(err, "%s", mend);
	else if (!columns.failed)
		psti_error_hint(err, "CREATE UNIQUE INDEX ON %s (%s);", plan->relation->qualified,
						columns.data);
	name_target(plan, NULL, err);
	psti_buf_free(&columns);
	return err->status;
}

/* Finds the immediate, plain, complete unique indexes on exactly the key; at least one. */
static pst_status
prove_key(psti_sink_plan *plan, const PGresult *indexes, pst_error *err)
{
	int n = PQntuples(indexes);
	int to;
	char fault[512] = "";
	const char *mend = "";
	bool proved = false;

	plan->strict_keys = true;
	plan->keys = calloc(plan->nkey, sizeof(*plan->keys));
	if (plan->keys == NULL)
		return psti_fail_nomem(err);
	for (int from = 0; from < n; from = to)
	{
		const char *why = PQgetvalue(indexes, from, I_FAULT);
		pst_status status;

		for (to = from; to < n && strcmp(PQgetvalue(indexes, to, I_OID),
										 PQgetvalue(indexes, from, I_OID)) == 0;
			 to++)
			;
		/* An index on an expression is told of too, for want of a better one. */
		if (!index_covers(plan, indexes, from, to) &&
			(fault[0] != '\0' || !is_true(indexes, from, I_EXPRESSION)))
			continue;
		if (why[0] != '\0')
		{
			if (mend[0] == '\0')
				snprintf(fault, sizeof(fault), "The unique index \"%s\" %s.",
						 PQgetvalue(indexes, from, I_NAME), why);
			if (mend[0] == '\0' && index_covers(plan, indexes, from, to))
				mend = PQgetvalue(indexes, from, I_MEND);
			continue;
		}
		status = take_index(plan, indexes, from, to, err);
		if (status != PST_OK)
			return status;
		proved = true;
	}
	return proved && mend[0] == '\0' ? PST_OK : fail_no_index(plan, fault, mend, err);
}

static pst_status
find_key(psti_sink_plan *plan, psti_conn *conn, pst_error *err)
{
	PGresult *indexes = NULL;
	char oid[24];
	const char *params[] = {oid};
	pst_status status;

	snprintf(oid, sizeof(oid), "%u", plan->relation->oid);
	status = psti_conn_query(conn, "reading the target's indexes", psti_sql_target_indexes, 1,
							 params, &indexes, err);
	if (status == PST_OK)
		status = prove_key(plan, indexes, err);
	PQclear(indexes);
	return status;
}

/* --- mode and target ------------------------------------------------------------------------- */

/* The primary key's columns in its order, as a NULL-terminated array of borrowed names. */
static pst_status
primary_key(const psti_relation *relation, const char ***names, size_t *count, pst_error *err)
{
	*names = calloc(relation->ncolumns + 1, sizeof(**names));
	*count = 0;
	if (*names == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < relation->ncolumns; i++)
	{
		int place = relation->columns[i].key_position;

		if (place > 0 && (size_t) place <= relation->ncolumns)
		{
			(*names)[place - 1] = relation->columns[i].name;
			(*count)++;
		}
	}
	return PST_OK;
}

static pst_status
fail_kind(const psti_sink_plan *plan, const char *what, const char *hint, pst_error *err)
{
	psti_fail_sqlstate(err, "0A000", "%s %s", plan->relation->qualified, what);
	psti_error_hint(err, "%s", hint);
	name_target(plan, NULL, err);
	return err->status;
}

static pst_status
check_kind(const psti_sink_plan *plan, pst_error *err)
{
	char kind = plan->relation->relkind;

	if (kind == 'm')
		return fail_kind(plan, "is a materialized view and cannot be written",
						 "Write to the tables it is made of, then REFRESH it.", err);
	if (plan->mode != PSTI_MODE_APPEND && kind != 'r' && kind != 'p')
		return fail_kind(plan, "is no table, so rows can only be appended to it",
						 "Use sink.mode=append, or write to the table behind it.", err);
	if (plan->mode != PSTI_MODE_APPEND && plan->relation->has_rules)
		return fail_kind(plan, "has rules, which ON CONFLICT does not work with",
						 "Use sink.mode=append, or replace the rules by triggers.", err);
	return PST_OK;
}

/* Option words of sink.mode, in options.def's order. */
static pst_status
choose_mode(const psti_options *options, psti_sink_plan *plan, size_t nkey, pst_error *err)
{
	static const psti_sink_mode modes[] = {PSTI_MODE_APPEND, PSTI_MODE_UPSERT, PSTI_MODE_APPEND,
										   PSTI_MODE_DELETE, PSTI_MODE_CHANGELOG};
	int64_t word = psti_opt_int(options, PSTI_OPT_MODE);

	plan->mode = modes[word];
	if (word == 0)
		plan->mode = nkey > 0 ? PSTI_MODE_UPSERT : PSTI_MODE_APPEND;
	if (plan->mode != PSTI_MODE_APPEND && nkey == 0)
	{
		psti_fail(err, PST_ERR_INVALID, "table %s has no primary key and sink.key is not given",
				  plan->relation->qualified);
		psti_error_hint(
			err, "Name the columns of a unique index by sink.key, or give sink.mode=append.");
		name_target(plan, NULL, err);
		return err->status;
	}
	return PST_OK;
}

/* --- privileges ------------------------------------------------------------------------------ */

static pst_status
fail_privilege(const psti_sink_plan *plan, const psti_conn *conn, const char *privilege,
			   const char *column, pst_error *err)
{
	/* All that the mode needs, in the order of psti_sink_mode: not one error after the other. */
	static const char *const needed[] = {[PSTI_MODE_APPEND] = "INSERT",
										 [PSTI_MODE_UPSERT] = "SELECT, INSERT, UPDATE",
										 [PSTI_MODE_DELETE] = "SELECT, DELETE",
										 [PSTI_MODE_CHANGELOG] = "SELECT, INSERT, UPDATE, DELETE"};

	psti_fail_sqlstate(err, "42501", "the role may not %s %s%s%s%s", privilege,
					   column == NULL ? "" : "column \"", column == NULL ? "" : column,
					   column == NULL ? "" : "\" of ", plan->relation->qualified);
	psti_relation_hint_grant(plan->relation, needed[plan->mode], conn, err);
	name_target(plan, column, err);
	return err->status;
}

/* The privileges that the statements of this mode need, column by column. */
static pst_status
check_columns(const psti_sink_plan *plan, const psti_conn *conn, pst_error *err)
{
	bool inserts = plan->mode != PSTI_MODE_DELETE;

	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		const psti_column *target = plan->columns[c].target;

		if (inserts && !target->insertable)
			return fail_privilege(plan, conn, "INSERT", target->name, err);
		/* DO UPDATE reads EXCLUDED, which wants SELECT on the target's column too. */
		if (plan->nkey > 0 && (plan->columns[c].key || (inserts && !plan->columns[c].frozen)) &&
			!target->selectable)
			return fail_privilege(plan, conn, "SELECT", target->name, err);
		if (inserts && plan->nkey > 0 && !plan->columns[c].frozen && !target->updatable)
			return fail_privilege(plan, conn, "UPDATE", target->name, err);
	}
	return PST_OK;
}

static pst_status
check_privileges(psti_sink_plan *plan, psti_conn *conn, pst_error *err)
{
	static const char sql[] =
		"SELECT pg_catalog.has_table_privilege($1::pg_catalog.oid, 'DELETE'), "
		"pg_catalog.has_any_column_privilege($1::pg_catalog.oid, 'UPDATE'), "
		"pg_catalog.current_setting('transaction_read_only')";
	PGresult *answer = NULL;
	char oid[24];
	const char *params[] = {oid};
	pst_status status = check_columns(plan, conn, err);

	if (status != PST_OK)
		return status;
	snprintf(oid, sizeof(oid), "%u", plan->relation->oid);
	status = psti_conn_query(conn, "reading the role's privileges", sql, 1, params, &answer, err);
	if (status == PST_OK)
	{
		plan->may_delete = is_true(answer, 0, 0);
		plan->may_lock = is_true(answer, 0, 1);
		if (strcmp(PQgetvalue(answer, 0, 2), "on") == 0)
		{
			status = psti_fail_sqlstate(err, "25006", "the server takes no writes: %s",
										psti_conn_caps(conn)->in_recovery
											? "it is a standby"
											: "its transactions are read-only");
			psti_error_hint(err, "Connect to the primary (target_session_attrs=read-write).");
		}
	}
	PQclear(answer);
	if (status == PST_OK && !plan->may_delete &&
		(plan->mode == PSTI_MODE_DELETE || plan->mode == PSTI_MODE_CHANGELOG))
		status = fail_privilege(plan, conn, "DELETE", NULL, err);
	return status;
}

/* --- the plan ---------------------------------------------------------------------------------- */

/* COPY into it is refused (row security, views) or would not do what INSERT does (rules). */
static bool
refuses_copy(const psti_sink_plan *plan)
{
	const psti_relation *relation = plan->relation;

	return relation->row_security || relation->has_rules || plan->schema.n_children == 0 ||
		   (relation->relkind != 'r' && relation->relkind != 'p');
}

static void
choose_method(const psti_options *options, const psti_conn *conn, psti_sink_plan *plan)
{
	int64_t method = psti_opt_int(options, PSTI_OPT_METHOD); /* auto, copy, unnest */

	plan->temp_allowed = method != 2 && psti_conn_caps(conn)->temp_tables;
	plan->copy_rows = method == 1 ? 1 : PSTI_SINK_COPY_ROWS;
}

static pst_status
check_method(const psti_options *options, const psti_conn *conn, const psti_sink_plan *plan,
			 pst_error *err)
{
	bool refused =
		plan->mode == PSTI_MODE_APPEND ? plan->by_insert : !psti_conn_caps(conn)->temp_tables;

	if (psti_opt_int(options, PSTI_OPT_METHOD) != 1 || !refused)
		return PST_OK;
	psti_opt_fail(
		options, PSTI_OPT_METHOD, err, "%s",
		plan->mode == PSTI_MODE_APPEND
			? "cannot be copy: COPY into this target is not possible (row security, rules, a view)"
			: "cannot be copy: the role may not create temporary tables in this database");
	psti_error_hint(err, "Leave sink.method out.");
	return err->status;
}

static pst_status
build(const psti_options *options, psti_conn *conn, const struct ArrowSchema *schema,
	  psti_sink_plan *plan, pst_error *err)
{
	const char *table = psti_opt_text(options, PSTI_OPT_TABLE);
	const char **primary = NULL;
	const char *const *names;
	size_t count;
	pst_status status = psti_schema_copy(schema, &plan->schema, err);

	if (status == PST_OK)
		status = psti_relation_find(conn, psti_opt_text(options, PSTI_OPT_SCHEMA), table,
									&plan->relation, err);
	if (status == PST_OK)
		status = primary_key(plan->relation, &primary, &count, err);
	if (status != PST_OK)
		return status;
	names = primary;
	if (psti_opt_given(options, PSTI_OPT_KEY))
		names = psti_opt_list(options, PSTI_OPT_KEY, &count);
	status = choose_mode(options, plan, count, err);
	if (status == PST_OK)
		status = check_kind(plan, err);
	if (status == PST_OK)
		status = match_columns(plan, names, count, err);
	free(primary);
	if (status != PST_OK)
		return status;
	look_at_missing(plan);
	plan->by_insert = plan->mode == PSTI_MODE_APPEND &&
					  (refuses_copy(plan) || psti_opt_int(options, PSTI_OPT_METHOD) == 2);
	status = choose_forms(plan, conn,
						  plan->mode == PSTI_MODE_APPEND && !plan->by_insert &&
							  !psti_opt_bool(options, PSTI_OPT_STAGING),
						  err);
	if (status == PST_OK && plan->ncolumns > 0)
		status = ask_types(plan, conn, err);
	if (status == PST_OK && plan->mode != PSTI_MODE_APPEND)
		status = find_key(plan, conn, err);
	if (status == PST_OK)
		status = check_privileges(plan, conn, err);
	choose_method(options, conn, plan);
	return status == PST_OK ? check_method(options, conn, plan, err) : status;
}

pst_status
psti_plan_new(const psti_options *options, psti_conn *conn, const struct ArrowSchema *schema,
			  psti_sink_plan **out, pst_error *err)
{
	psti_sink_plan *plan = calloc(1, sizeof(*plan));
	pst_status status;

	*out = NULL;
	if (plan == NULL)
		return psti_fail_nomem(err);
	status = build(options, conn, schema, plan, err);
	if (status == PST_OK)
		*out = plan;
	else
		psti_plan_free(plan);
	return status;
}

void
psti_plan_free(psti_sink_plan *plan)
{
	if (plan == NULL)
		return;
	for (size_t c = 0; plan->columns != NULL && c < plan->ncolumns; c++)
	{
		free(plan->columns[c].item);
		free(plan->columns[c].input);
	}
	for (size_t k = 0; plan->keys != NULL && k < plan->nkey; k++)
	{
		free(plan->keys[k].operator_sql);
		free(plan->keys[k].collate_sql);
	}
	free(plan->columns);
	free(plan->keys);
	psti_relation_free(plan->relation);
	psti_schema_release(&plan->schema);
	free(plan);
}
