/*
 * catalog_blockers.c - who holds up server processes (sql/60_blockers.sql), and the transport.
 */
#include "catalog.h"

#include "sql_texts.h"

/* {1,2,3}: an array as the server reads it. */
static void
put_pids(const int *pids, size_t npids, psti_buf *out)
{
	psti_buf_putc(out, '{');
	for (size_t i = 0; i < npids; i++)
		psti_buf_printf(out, "%s%d", i > 0 ? "," : "", pids[i]);
	psti_buf_putc(out, '}');
}

static void
put_rows(const PGresult *result, psti_buf *out)
{
	psti_buf_putc(out, '[');
	for (int row = 0; row < PQntuples(result); row++)
	{
		psti_buf_puts(out, row > 0 ? "," : "");
		psti_buf_puts(out, PQgetvalue(result, row, 0));
	}
	psti_buf_putc(out, ']');
}

pst_status
pst_catalog_blockers(pst_catalog *catalog, const int *pids, size_t npids, char **json,
					 pst_error *err)
{
	pst_error full;
	psti_buf text = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	psti_enter(&full);
	*json = NULL;
	put_pids(pids, npids, &text);
	status = psti_buf_check(&text, &full);
	if (status == PST_OK)
	{
		const char *values[] = {text.data};
		psti_question question = {
			.what = "asking who blocks", .sql = psti_sql_blockers, .nparams = 1, .values = values};

		status = psti_catalog_ask(catalog, &question, NULL, &result, &full);
	}
	if (status == PST_OK)
	{
		psti_buf_reset(&text);
		put_rows(result, &text);
		status = psti_buf_check(&text, &full);
	}
	if (status == PST_OK)
	{
		*json = psti_buf_steal(&text);
		if (*json == NULL)
			status = psti_fail_nomem(&full);
	}
	PQclear(result);
	psti_buf_free(&text);
	return psti_leave(err, &full, status);
}

const char *
pst_catalog_transport(const pst_catalog *catalog)
{
	/* The same texts are asked whether or not the server has them as functions. */
	(void) catalog;
	return "plain";
}
