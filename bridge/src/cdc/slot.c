/* slot.c - the replication slot of a capture. See slot.h. */
#include "cdc/slot.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bytes.h"
#include "dates.h"

/* How long a slot that is in use is waited for. */
#define DROP_TRIES 100
#define DROP_PAUSE_MS 100

/* ---- What there is ---- */

/* When a session began, exactly. */
#define STARTED                                                                                    \
	"(pg_catalog.date_part('epoch', a.backend_start) OPERATOR(pg_catalog.*) "                      \
	"1000000)::pg_catalog.int8"

/* Members of a later server are looked for by name: to_jsonb() has those that there are. */
static const char find_sql[] =
	"SELECT s.plugin, s.database, s.slot_type, s.active, s.active_pid, s.temporary, "
	"s.confirmed_flush_lsn, "
	"CASE WHEN j.j OPERATOR(pg_catalog.->>) 'wal_status' OPERATOR(pg_catalog.=) 'lost' "
	"THEN COALESCE(j.j OPERATOR(pg_catalog.->>) 'invalidation_reason', 'wal_removed') "
	"WHEN j.j OPERATOR(pg_catalog.->>) 'conflicting' OPERATOR(pg_catalog.=) 'true' "
	"THEN COALESCE(j.j OPERATOR(pg_catalog.->>) 'invalidation_reason', 'rows_removed') "
	"ELSE COALESCE(j.j OPERATOR(pg_catalog.->>) 'invalidation_reason', '') END, s.restart_lsn, "
	"(SELECT " STARTED " FROM pg_catalog.pg_stat_activity a "
	"WHERE a.pid OPERATOR(pg_catalog.=) s.active_pid) "
	"FROM pg_catalog.pg_replication_slots s CROSS JOIN LATERAL "
	"(SELECT pg_catalog.to_jsonb(s) AS j) j "
	"WHERE s.slot_name OPERATOR(pg_catalog.=) $1::pg_catalog.name";

/* Why a server takes a slot away, by its word for it. */
static const struct
{
	const char *word;
	const char *why;
} reasons[] = {
	{"wal_removed", "the server has removed WAL that it needs (max_slot_wal_keep_size)"},
	{"rows_removed", "the server has removed catalog rows that it needs"},
	{"wal_level_insufficient", "wal_level was lowered on the primary"},
	{"idle_timeout", "nobody used it for longer than idle_replication_slot_timeout"},
};

static void
tell_reason(const char *word, char *out, size_t size)
{
	const char *why = word;

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strcmp(reasons[i].word, word) == 0)
			why = reasons[i].why;
	snprintf(out, size, "%s", why);
}

pst_status
psti_slot_find(psti_conn *conn, const char *name, psti_slot *out, pst_error *err)
{
	const char *params[] = {name};
	PGresult *result = NULL;
	pst_status status =
		psti_conn_query(conn, "looking for the slot", find_sql, 1, params, &result, err);

	memset(out, 0, sizeof(*out));
	if (status == PST_OK && PQntuples(result) == 1)
	{
		out->there = true;
		snprintf(out->plugin, sizeof(out->plugin), "%s", PQgetvalue(result, 0, 0));
		snprintf(out->database, sizeof(out->database), "%s", PQgetvalue(result, 0, 1));
		out->logical = strcmp(PQgetvalue(result, 0, 2), "logical") == 0;
		out->active = PQgetvalue(result, 0, 3)[0] == 't';
		out->pid = (int) strtol(PQgetvalue(result, 0, 4), NULL, 10);
		out->temporary = PQgetvalue(result, 0, 5)[0] == 't';
		out->started = (int64_t) strtoll(PQgetvalue(result, 0, 9), NULL, 10);
		(void) psti_lsn_parse(PQgetvalue(result, 0, 6), &out->confirmed_lsn);
		(void) psti_lsn_parse(PQgetvalue(result, 0, 8), &out->restart_lsn);
		tell_reason(PQgetvalue(result, 0, 7), out->lost, sizeof(out->lost));
	}
	PQclear(result);
	return status;
}

pst_status
psti_slot_check(const psti_slot *slot, const psti_position *position, int64_t delay, pst_error *err)
{
	char confirmed[PSTI_LSN_SIZE];
	char safe[PSTI_LSN_SIZE];

	psti_lsn_print(position->safe_lsn, safe);
	if (!slot->there)
	{
		psti_fail(err, PST_ERR_NOT_FOUND, "replication slot \"%s\" of the position is not there",
				  position->slot);
		psti_error_detail(err,
						  "It was dropped, or this is another server. The changes from %s on "
						  "are lost for this capture.",
						  safe);
		psti_error_hint(err, PSTI_BEGIN_ANEW);
		return PST_ERR_NOT_FOUND;
	}
	if (!slot->logical || strcmp(slot->plugin, position->plugin) != 0 ||
		strcmp(slot->database, position->database) != 0)
	{
		psti_fail(err, PST_ERR_STATE, "replication slot \"%s\" is not the one of the position",
				  position->slot);
		psti_error_detail(err,
						  "It is of output plugin %s in database \"%s\", the position of %s in "
						  "\"%s\": it was made anew, and the changes from %s on are lost.",
						  slot->logical ? slot->plugin : "(physical)", slot->database,
						  position->plugin, position->database, safe);
		psti_error_hint(err, PSTI_BEGIN_ANEW);
		return PST_ERR_STATE;
	}
	if (slot->lost[0] != '\0')
	{
		psti_fail(err, PST_ERR_STATE, "replication slot \"%s\" is lost: %s", position->slot,
				  slot->lost);
		psti_error_detail(err, "The changes from %s on are lost for this capture.", safe);
		psti_error_hint(err, PSTI_BEGIN_ANEW);
		return PST_ERR_STATE;
	}
	if (slot->confirmed_lsn > position->safe_lsn)
	{
		psti_fail(err, PST_ERR_STATE,
				  "replication slot \"%s\" stands at %s, behind the position %s", position->slot,
				  psti_lsn_print(slot->confirmed_lsn, confirmed), safe);
		psti_error_detail(err,
						  "The changes between them are lost: the slot was made anew or moved by "
						  "somebody else, or the position is older than those that were "
						  "acknowledged (of %lld of them the server is told late).",
						  (long long) delay);
		psti_error_hint(err, PSTI_BEGIN_ANEW " To be able to go back further, set option "
											 "scan.lsn-commit.checkpoints-num-delay higher.");
		return PST_ERR_STATE;
	}
	return PST_OK;
}

/* Why the slot is not the position's, a sentence; NULL: it may be. */
static const char *
why_another(const psti_slot *slot, const psti_position *position)
{
	if (!slot->logical || slot->temporary || strcmp(slot->plugin, position->plugin) != 0 ||
		strcmp(slot->database, position->database) != 0)
		return "It is of another kind, output plugin or database.";
	if (slot->active && (slot->pid != position->maker || slot->started != position->made))
		return "It is in use.";
	if (!slot->active && slot->restart_lsn < position->safe_lsn)
		return "It was there before.";
	return NULL;
}

pst_status
psti_slot_check_half_made(const psti_slot *slot, const psti_position *position, pst_error *err)
{
	const char *why = slot->there ? why_another(slot, position) : NULL;

	if (why == NULL)
		return PST_OK;
	psti_fail(err, PST_ERR_EXISTS,
			  "replication slot \"%s\" is not the one that this capture was about to make",
			  position->slot);
	psti_error_detail(err, "%s Somebody else has made it, and nothing was captured here yet.", why);
	psti_error_hint(err,
					"Begin without the position, with another slot.name; or, if nobody needs the "
					"slot, drop it: penstock slots --drop %s.",
					position->slot);
	return PST_ERR_EXISTS;
}

pst_status
psti_slot_before(psti_conn *conn, int maker, uint64_t *lsn, int64_t *made, pst_error *err)
{
	static const char sql[] =
		"SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
		"ELSE pg_catalog.pg_current_wal_insert_lsn() END, "
		"(SELECT " STARTED " FROM pg_catalog.pg_stat_activity a "
		"WHERE a.pid OPERATOR(pg_catalog.=) $1::pg_catalog.int4)";
	char pid[16];
	const char *params[] = {pid};
	PGresult *result = NULL;
	pst_status status;

	snprintf(pid, sizeof(pid), "%d", maker);
	status = psti_conn_query(conn, "looking where the server is", sql, 1, params, &result, err);
	if (status == PST_OK &&
		(PQntuples(result) != 1 || !psti_lsn_parse(PQgetvalue(result, 0, 0), lsn)))
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server does not say where it is");
	if (status == PST_OK)
		*made = (int64_t) strtoll(PQgetvalue(result, 0, 1), NULL, 10);
	PQclear(result);
	return status;
}

pst_status
psti_slot_drop(psti_conn *conn, const char *name, int evict, pst_error *err)
{
	static const char sql[] = "SELECT pg_catalog.pg_drop_replication_slot(s.slot_name) "
							  "FROM pg_catalog.pg_replication_slots s "
							  "WHERE s.slot_name OPERATOR(pg_catalog.=) $1::pg_catalog.name";
	static const char evict_sql[] = "SELECT pg_catalog.pg_terminate_backend(s.active_pid) "
									"FROM pg_catalog.pg_replication_slots s "
									"WHERE s.slot_name OPERATOR(pg_catalog.=) $1::pg_catalog.name "
									"AND s.active_pid OPERATOR(pg_catalog.=) $2::pg_catalog.int4";
	char pid[16];
	const char *params[] = {name, pid};
	pst_status status = PST_OK;

	snprintf(pid, sizeof(pid), "%d", evict);
	for (int i = 0; i < DROP_TRIES; i++)
	{
		if (evict != 0 && i % 10 == 0)
			status = psti_conn_query(conn, "ending who holds the half-made slot", evict_sql, 2,
									 params, NULL, err);
		if (status != PST_OK)
			return status;
		status = psti_conn_query(conn, "dropping the slot", sql, 1, params, NULL, err);
		/* In use: its session may be ending. Gone: somebody was faster, or it was half made. */
		if (status == PST_OK || strcmp(err->sqlstate, "42704") == 0)
			return PST_OK;
		if (strcmp(err->sqlstate, "55006") != 0 || i + 1 == DROP_TRIES)
			return status;
		status = psti_conn_pause(NULL, DROP_PAUSE_MS, err);
	}
	return status;
}

/* ---- Replication commands ---- */

pst_status
psti_slot_identify(psti_conn *stream, char *system, size_t size, uint32_t *timeline, uint64_t *end,
				   pst_error *err)
{
	PGresult *result = NULL;
	pst_status status =
		psti_conn_exec(stream, "identifying the server", "IDENTIFY_SYSTEM", &result, err);

	if (status == PST_OK && (PQntuples(result) != 1 || PQnfields(result) < 3 ||
							 !psti_lsn_parse(PQgetvalue(result, 0, 2), end)))
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server does not say which one it is");
	if (status == PST_OK)
	{
		snprintf(system, size, "%s", PQgetvalue(result, 0, 0));
		*timeline = (uint32_t) strtoul(PQgetvalue(result, 0, 1), NULL, 10);
	}
	PQclear(result);
	return status;
}

/* A line of a history file: timeline, where it was left, why; comments begin with #. */
static bool
read_line(const char *line, uint32_t *timeline, uint64_t *lsn)
{
	char text[PSTI_LSN_SIZE];
	char *at;
	size_t n;

	*timeline = (uint32_t) strtoul(line, &at, 10);
	if (at == line)
		return false;
	at += strspn(at, " \t");
	n = strcspn(at, " \t\r\n");
	if (n == 0 || n >= sizeof(text))
		return false;
	memcpy(text, at, n);
	text[n] = '\0';
	return psti_lsn_parse(text, lsn);
}

pst_status
psti_slot_left(psti_conn *stream, uint32_t now, uint32_t then, uint64_t *lsn, pst_error *err)
{
	char sql[48];
	PGresult *result = NULL;
	const char *line = NULL;
	pst_status status;

	*lsn = 0;
	snprintf(sql, sizeof(sql), "TIMELINE_HISTORY %lu", (unsigned long) now);
	status = psti_conn_exec(stream, "reading the timeline's history", sql, &result, err);
	if (status == PST_OK && PQntuples(result) == 1 && PQnfields(result) >= 2)
		line = PQgetvalue(result, 0, 1);
	while (line != NULL && *line != '\0')
	{
		uint32_t timeline;
		uint64_t left;

		if (read_line(line, &timeline, &left) && timeline == then)
		{
			*lsn = left;
			break;
		}
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	PQclear(result);
	if (status == PST_OK && *lsn == 0)
	{
		psti_fail(
			err, PST_ERR_STATE,
			"the position is of timeline %lu, which the server (timeline %lu) does not come from",
			(unsigned long) then, (unsigned long) now);
		psti_error_hint(err, PSTI_BEGIN_ANEW);
		status = PST_ERR_STATE;
	}
	return status;
}

static void
explain_create(const psti_slot_recipe *recipe, pst_error *err)
{
	if (strcmp(err->sqlstate, "42710") == 0)
		psti_error_hint(err,
						"Drop it (penstock slots --drop %s), or go on from where it stands: "
						"scan.startup.mode=committed-offset.",
						recipe->name);
	else if (strcmp(err->sqlstate, "53400") == 0)
		psti_error_hint(err, "Drop a slot that nobody needs, or raise max_replication_slots.");
	else if (strcmp(err->sqlstate, "58P01") == 0 || strcmp(err->sqlstate, "22023") == 0)
		psti_error_hint(err,
						"Output plugin %s is not there, or output_plugin_libraries does not name "
						"it: see penstock doctor, or set option decoding.plugin.name=pgoutput.",
						recipe->plugin);
	else if (strcmp(err->sqlstate, "55P03") == 0)
		psti_error_hint(err,
						"Older transactions must end first; penstock doctor names them. Option "
						"cdc.wait-timeout says how long to wait.");
}

pst_status
psti_slot_create(psti_conn *stream, const psti_slot_recipe *recipe, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_puts(&sql, "CREATE_REPLICATION_SLOT ");
	psti_buf_ident(&sql, recipe->name);
	psti_buf_puts(&sql, recipe->temporary ? " TEMPORARY LOGICAL " : " LOGICAL ");
	psti_buf_ident(&sql, recipe->plugin);
	/* The form in parentheses is of 15; failover came with 17. */
	if (recipe->failover)
		psti_buf_printf(&sql, " (SNAPSHOT '%s', FAILOVER true)",
						recipe->snapshot ? "export" : "nothing");
	else
		psti_buf_puts(&sql, recipe->snapshot ? " EXPORT_SNAPSHOT" : " NOEXPORT_SNAPSHOT");
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_send(stream, "making the slot", sql.data, err);
	psti_buf_free(&sql);
	return status;
}

pst_status
psti_slot_created(psti_conn *stream, const psti_slot_recipe *recipe, int timeout_ms,
				  uint64_t *consistent, char **snapshot, pst_error *err)
{
	PGresult *result = NULL;
	pst_status status = psti_conn_receive(stream, timeout_ms, &result, err);

	if (snapshot != NULL)
		*snapshot = NULL;
	if (status < 0)
		explain_create(recipe, err);
	if (status == PST_OK &&
		(PQntuples(result) != 1 || !psti_lsn_parse(PQgetvalue(result, 0, 1), consistent)))
		status = psti_fail(err, PST_ERR_PROTOCOL, "the server does not say where the slot begins");
	if (status == PST_OK && recipe->snapshot)
	{
		*snapshot = strdup(PQgetvalue(result, 0, 2));
		status = *snapshot == NULL ? psti_fail_nomem(err) : PST_OK;
	}
	PQclear(result);
	return status;
}

/* The scanner of replication commands knows no backslashes. */
static void
put_literal(psti_buf *sql, const char *text)
{
	psti_buf_putc(sql, '\'');
	for (; *text != '\0'; text++)
	{
		if (*text == '\'')
			psti_buf_putc(sql, '\'');
		psti_buf_putc(sql, *text);
	}
	psti_buf_putc(sql, '\'');
}

pst_status
psti_slot_start(psti_conn *stream, const char *name, uint64_t lsn, const psti_slot_option *options,
				size_t noptions, pst_error *err)
{
	psti_buf sql = PSTI_BUF_INIT;
	char text[PSTI_LSN_SIZE];
	const char *separator = " (";
	pst_status status;

	psti_buf_puts(&sql, "START_REPLICATION SLOT ");
	psti_buf_ident(&sql, name);
	psti_buf_printf(&sql, " LOGICAL %s", psti_lsn_print(lsn, text));
	for (size_t i = 0; i < noptions; i++)
	{
		if (options[i].value == NULL)
			continue;
		psti_buf_puts(&sql, separator);
		psti_buf_ident(&sql, options[i].name);
		psti_buf_putc(&sql, ' ');
		put_literal(&sql, options[i].value);
		separator = ", ";
	}
	if (separator[0] == ',')
		psti_buf_putc(&sql, ')');
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_stream(stream, "starting the stream", sql.data, err);
	psti_buf_free(&sql);
	return status;
}

/* ---- Messages of the stream ---- */

pst_status
psti_stream_read(const char *data, size_t nbytes, psti_stream_message *out, pst_error *err)
{
	memset(out, 0, sizeof(*out));
	if (nbytes >= 25 && data[0] == 'w')
	{
		out->kind = PSTI_STREAM_DATA;
		out->lsn = psti_get64(data + 1);
		out->end = psti_get64(data + 9);
		out->data = data + 25;
		out->nbytes = nbytes - 25;
		return PST_OK;
	}
	if (nbytes >= 18 && data[0] == 'k')
	{
		out->kind = PSTI_STREAM_ALIVE;
		out->lsn = psti_get64(data + 1);
		out->reply = data[17] != 0;
		return PST_OK;
	}
	return psti_fail(err, PST_ERR_PROTOCOL, "the stream holds a message that is none");
}

/* Microseconds since 2000-01-01 UTC. */
static int64_t
now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	return (int64_t) at.tv_sec * 1000000 + at.tv_nsec / 1000 - DATES_USECS_1970_TO_2000;
}

pst_status
psti_stream_tell(psti_conn *stream, uint64_t acknowledged, bool ask, pst_error *err)
{
	char message[34];

	/* Written, flushed and applied are one: nothing counts that could be lost here. */
	message[0] = 'r';
	psti_put64(message + 1, acknowledged);
	psti_put64(message + 9, acknowledged);
	psti_put64(message + 17, acknowledged);
	psti_put64(message + 25, (uint64_t) now());
	message[33] = ask ? 1 : 0;
	return psti_conn_stream_send(stream, message, sizeof(message), err);
}
