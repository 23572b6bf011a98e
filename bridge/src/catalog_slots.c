/*
 * catalog_slots.c - replication slots: what there is (sql/50_capture.sql), and the two things that can be
 * done to one from outside.
 *
 * The server's own errors tell neither who uses a slot nor that it was asked for what it does not do: so the
 * slot is looked at first. What changes between the look and the call is the server's error.
 */
#include "catalog.h"
#include "catalog_ddl.h"
#include "cdc/position.h"
#include "options.h"
#include "sql_texts.h"

#define SLOT_COLUMNS 8

/* A slot as it is, and where the server's WAL ends. */
static const char slot_sql[] =
	"SELECT s.slot_type, s.database, pg_catalog.current_database(), s.active_pid, a.usename, "
	"a.application_name, COALESCE(s.confirmed_flush_lsn, s.restart_lsn), "
	"CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
	"ELSE pg_catalog.pg_current_wal_flush_lsn() END "
	"FROM pg_catalog.pg_replication_slots s "
	"LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) s.active_pid "
	"WHERE s.slot_name OPERATOR(pg_catalog.=) $1::pg_catalog.name";

static const char names_sql[] =
	"SELECT slot_name FROM pg_catalog.pg_replication_slots ORDER BY slot_name";

/* Before 10 there is no logical replication in the server. */
static pst_status
connect_to_10(pst_catalog *catalog, pst_error *err)
{
	pst_status status = psti_catalog_connect(catalog, err);

	if (status == PST_OK && psti_conn_caps(catalog->conn)->server_version < 100000)
		return psti_fail(err, PST_ERR_UNSUPPORTED,
						 "change capture and its slots need a server of version 10 or newer");
	return status;
}

pst_status
pst_catalog_slots(pst_catalog *catalog, char **json, pst_error *err)
{
	psti_question question = {.what = "listing replication slots", .sql = psti_sql_slots};
	pst_error full;
	pst_status status;

	psti_enter(&full);
	*json = NULL;
	status = connect_to_10(catalog, &full);
	if (status != PST_OK)
		return psti_leave(err, &full, status);
	return psti_catalog_list(catalog, &question, false, false, json, err);
}

/* There is none of this name: with the one that may be meant. */
static pst_status
absent(pst_catalog *catalog, const char *slot, pst_error *err)
{
	psti_nearest nearest = psti_nearest_to(slot);
	PGresult *names = NULL;
	pst_status status = psti_conn_query(catalog->conn, "listing replication slots", names_sql, 0,
										NULL, &names, err);

	if (status == PST_OK)
	{
		for (int row = 0; row < PQntuples(names); row++)
			psti_nearest_try(&nearest, PQgetvalue(names, row, 0));
		status = psti_fail(err, PST_ERR_NOT_FOUND, "there is no replication slot \"%s\"", slot);
		if (nearest.name != NULL)
			psti_error_hint(err, "Did you mean \"%s\"?", nearest.name);
		else if (PQntuples(names) == 0)
			psti_error_hint(err, "The server has no replication slots.");
	}
	PQclear(names);
	return status;
}

/* A text of the slot's row; NULL where it is NULL. */
static const char *
column(const PGresult *row, int i)
{
	return PQgetisnull(row, 0, i) ? NULL : PQgetvalue(row, 0, i);
}

static pst_status
check_unused(const PGresult *row, const char *slot, const char *deed, pst_error *err)
{
	const char *pid = column(row, 3);
	const char *user = column(row, 4);
	const char *application = column(row, 5);

	if (pid == NULL)
		return PST_OK;
	psti_fail(err, PST_ERR_STATE, "cannot %s replication slot \"%s\": it is in use", deed, slot);
	psti_error_detail(err, "Process %s%s%s%s%s%s reads it.", pid, user != NULL ? " of role " : "",
					  user != NULL ? user : "",
					  application != NULL && application[0] != '\0' ? " (" : "",
					  application != NULL ? application : "",
					  application != NULL && application[0] != '\0' ? ")" : "");
	psti_error_hint(err,
					"Stop its consumer first, or end the process with SELECT "
					"pg_terminate_backend(%s).",
					pid);
	return PST_ERR_STATE;
}

/* The row of a slot that is there and that nobody uses. */
static pst_status
look(pst_catalog *catalog, const char *slot, const char *deed, PGresult **row, pst_error *err)
{
	const char *values[] = {slot};
	pst_status status = psti_name_check("replication slot", slot, err);

	*row = NULL;
	if (status == PST_OK)
		status = connect_to_10(catalog, err);
	if (status == PST_OK)
		status = psti_conn_query(catalog->conn, "looking at the replication slot", slot_sql, 1,
								 values, row, err);
	if (status == PST_OK && PQntuples(*row) == 0)
		status = absent(catalog, slot, err);
	else if (status == PST_OK && PQnfields(*row) < SLOT_COLUMNS)
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server's answer on a slot lacks columns");
	return status == PST_OK ? check_unused(*row, slot, deed, err) : status;
}

pst_status
pst_catalog_drop_slot(pst_catalog *catalog, const char *slot, pst_error *err)
{
	const char *values[] = {slot};
	PGresult *row = NULL;
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = look(catalog, slot, "drop", &row, &full);
	if (status == PST_OK)
		status = psti_conn_query(catalog->conn, "dropping the replication slot",
								 "SELECT pg_catalog.pg_drop_replication_slot($1::pg_catalog.name)",
								 1, values, NULL, &full);
	PQclear(row);
	return psti_leave(err, &full, status);
}

/* What the server would do other than asked, or refuse without a remedy. */
static pst_status
check_advance(const PGresult *row, const char *slot, uint64_t lsn, pst_error *err)
{
	const char *database = column(row, 1);
	char lsn_text[PSTI_LSN_SIZE];
	char other[PSTI_LSN_SIZE];
	uint64_t stands;
	uint64_t ends;

	if (database != NULL && strcmp(database, column(row, 2)) != 0)
	{
		psti_fail(err, PST_ERR_STATE, "replication slot \"%s\" is of database \"%s\"", slot,
				  database);
		psti_error_hint(err, "Connect to that database to advance it.");
		return PST_ERR_STATE;
	}
	if (column(row, 6) == NULL || !psti_lsn_parse(column(row, 6), &stands))
	{
		psti_fail(err, PST_ERR_STATE, "replication slot \"%s\" stands nowhere", slot);
		psti_error_detail(err, "It was invalidated, or has never reserved WAL.");
		return PST_ERR_STATE;
	}
	if (lsn < stands)
	{
		psti_fail(err, PST_ERR_STATE,
				  "cannot advance replication slot \"%s\" to %s: it "
				  "stands at %s",
				  slot, psti_lsn_print(lsn, lsn_text), psti_lsn_print(stands, other));
		psti_error_hint(err, "A slot never goes back.");
		return PST_ERR_STATE;
	}
	if (column(row, 7) != NULL && psti_lsn_parse(column(row, 7), &ends) && lsn > ends)
		return psti_fail(err, PST_ERR_STATE,
						 "cannot advance replication slot \"%s\" to %s: the "
						 "server's WAL ends at %s",
						 slot, psti_lsn_print(lsn, lsn_text), psti_lsn_print(ends, other));
	return PST_OK;
}

static pst_status
advance(pst_catalog *catalog, const char *slot, uint64_t lsn, pst_error *err)
{
	char text[PSTI_LSN_SIZE];
	const char *values[] = {slot, psti_lsn_print(lsn, text)};

	return psti_conn_query(catalog->conn, "advancing the replication slot",
						   "SELECT pg_catalog.pg_replication_slot_advance($1::pg_catalog.name, "
						   "$2::pg_catalog.pg_lsn)",
						   2, values, NULL, err);
}

pst_status
pst_catalog_advance_slot(pst_catalog *catalog, const char *slot, uint64_t lsn, pst_error *err)
{
	PGresult *row = NULL;
	pst_error full;
	pst_status status;

	psti_enter(&full);
	status = look(catalog, slot, "advance", &row, &full);
	if (status == PST_OK && psti_conn_caps(catalog->conn)->server_version < 110000)
	{
		status = psti_fail(&full, PST_ERR_UNSUPPORTED,
						   "servers before 11 cannot advance a replication slot");
		psti_error_hint(&full, "A consumer that acknowledges what it skips does the same.");
	}
	if (status == PST_OK)
		status = check_advance(row, slot, lsn, &full);
	if (status == PST_OK)
		status = advance(catalog, slot, lsn, &full);
	PQclear(row);
	return psti_leave(err, &full, status);
}
