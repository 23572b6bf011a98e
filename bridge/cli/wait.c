/* wait.c - naming who holds the command up. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "db.h"
#include "report.h"
#include "wait.h"

/* "pid 12 (psql, role alice, idle in transaction, 73 s)" or "prepared transaction x (…)". */
static void
put_blocker(char *out, size_t size, const answer *blocker)
{
	const char *gid = answer_text(blocker, "gid");
	const char *user = answer_text(blocker, "user");
	const char *application = answer_text(blocker, "application");
	const char *state = answer_text(blocker, "state");
	const char *seconds = answer_text(blocker, "seconds");
	int at;

	at = gid != NULL ? snprintf(out, size, "prepared transaction \"%s\"", gid)
					 : snprintf(out, size, "pid %s", answer_text(blocker, "pid"));
	if (at >= 0 && (size_t) at < size)
		snprintf(out + at, size - (size_t) at, " (%s%srole %s%s%s%s%s%s)",
				 application != NULL ? application : "",
				 application != NULL && application[0] != '\0' ? ", " : "",
				 user != NULL ? user : "unknown", state != NULL ? ", " : "",
				 state != NULL ? state : "", seconds != NULL ? ", for " : "",
				 seconds != NULL ? seconds : "", seconds != NULL ? " s" : "");
}

static void
say_waiting(const answer *waiting, const char *role, int seconds)
{
	const char *object = answer_text(waiting, "object");
	const char *wait = answer_text(waiting, "wait");
	const answer *blockers = answer_get(waiting, "blocked_by");
	const answer *blocker = blockers != NULL ? blockers->first : NULL;
	char text[1500] = "";
	size_t at = 0;

	for (; blocker != NULL && at + 300 < sizeof(text); blocker = blocker->next)
	{
		if (at > 0)
			at += (size_t) snprintf(text + at, sizeof(text) - at, "; ");
		put_blocker(text + at, sizeof(text) - at, blocker);
		at += strlen(text + at);
	}
	report_warning("waiting for %d s%s%s on %s%s%s%s%s", seconds, role != NULL ? " at the " : "",
				   role != NULL ? role : "", wait != NULL ? wait : "a lock",
				   object != NULL ? " of " : "", object != NULL ? object : "",
				   at > 0 ? ", blocked by " : "", text);
}

/* True when something waits. */
static bool
ask(cli_db *db, int seconds)
{
	pst_error err = PST_ERROR_INIT;
	cli_meter meter;
	pst_hooks hooks = db_hooks(db, &meter);
	pst_catalog *catalog = NULL;
	cli_pairs options;
	size_t npids;
	int *pids = db_pids(db, &npids);
	char *json = NULL;
	answer *waiting = NULL;
	bool found = false;

	hooks.connected = NULL;
	hooks.progress = NULL;
	pairs_copy(&options, &db->options);
	pairs_add(&options, "connect.timeout", "5s"); /* the command may be waiting for our end */
	if (npids == 0)
	{
		report_warning("waiting for %d s for a connection%s%s", seconds,
					   db->role != NULL ? " to the " : "", db->role != NULL ? db->role : "");
		found = true;
	}
	else if (pst_catalog_open((const char *const *) options.keys,
							  (const char *const *) options.values, &hooks, &catalog,
							  &err) != PST_OK ||
			 pst_catalog_blockers(catalog, pids, npids, &json, &err) != PST_OK)
	{
		if (err.status != PST_ERR_CANCELED)
			report_once(PST_LOG_WARNING, err.message);
	}
	else
		waiting = answer_parse(json);
	for (const answer *one = waiting != NULL ? waiting->first : NULL; one != NULL; one = one->next)
	{
		say_waiting(one, db->role, seconds);
		found = true;
	}
	answer_free(waiting);
	pst_free(json);
	pst_catalog_close(catalog);
	pairs_free(&options);
	free(pids);
	return found;
}

void
wait_name_blockers(cli_db *dbs, size_t ndbs, int seconds)
{
	bool found = false;

	for (size_t i = 0; i < ndbs; i++)
		found |= ask(&dbs[i], seconds);
	if (!found)
		report_info("no rows for %d s; no session holds the command up, the server is at work",
					seconds);
}
