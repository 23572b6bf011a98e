/* session.c - one run of a command: its databases, canceller and progress. */
#include <errno.h>
#include <string.h>

#include "progress.h"
#include "report.h"
#include "session.h"
#include "signals.h"

int
session_begin(cli_session *session, const cli_args *args, const char *source, const char *target)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status;

	*session = (cli_session){.args = args};
	status = pst_canceller_new(&session->canceller, &err);
	if (status != PST_OK)
		return report_failed(status, &err);
	if (!signals_install(session->canceller))
	{
		report_failure("cannot install signal handlers: %s", strerror(errno));
		return CLI_EXIT_FAILED;
	}
	db_init(&session->db[0], source, target != NULL ? "source" : NULL, args, session->canceller);
	session->ndbs = 1;
	if (target != NULL)
	{
		db_init(&session->db[1], target, "target", args, session->canceller);
		session->ndbs = 2;
	}
	progress_start(session->db, session->ndbs);
	return -1;
}

void
session_end(cli_session *session, bool success)
{
	progress_finish(success);
	for (size_t i = 0; i < session->ndbs; i++)
		db_free(&session->db[i]);
	/* The canceller stays: a late signal may still throw it. The process ends now. */
}

pst_status
session_catalog(cli_db *db, cli_meter *meter, pst_catalog **out, pst_error *err)
{
	pst_hooks hooks = db_hooks(db, meter);

	return pst_catalog_open((const char *const *) db->options.keys,
							(const char *const *) db->options.values, &hooks, out, err);
}

int
session_answer(const cli_args *args, session_ask ask, session_print print)
{
	pst_error err = PST_ERROR_INIT;
	cli_session session;
	cli_meter meter;
	pst_catalog *catalog = NULL;
	char *text = NULL;
	pst_status status;
	int exit_code = session_begin(&session, args, args->operands[0], NULL);

	if (exit_code < 0)
	{
		status = session_catalog(&session.db[0], &meter, &catalog, &err);
		if (status == PST_OK)
			status = ask(catalog, args, &text, &err);
		progress_finish(false); /* before printing: the live line's place is the same terminal */
		exit_code =
			status < 0 ? report_failed(status, &err) : report_output(print(args, catalog, text));
	}
	pst_free(text);
	pst_catalog_close(catalog);
	session_end(&session, exit_code == CLI_EXIT_OK);
	return exit_code;
}
