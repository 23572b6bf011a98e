/* create.c - what write and copy need to make a target table. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "create.h"
#include "memory.h"
#include "names.h"
#include "report.h"

static void
add(char ***key, size_t *n, char *name)
{
	*key = cli_realloc(*key, (*n + 2) * sizeof(**key));
	(*key)[(*n)++] = name;
	(*key)[*n] = NULL;
}

char **
create_key(const char *list)
{
	char **key = NULL;
	size_t n = 0;
	char *name;

	while (list != NULL && (name = names_take(&list, ',', false)) != NULL)
	{
		add(&key, &n, name);
		list += *list == ',';
	}
	return key;
}

char **
create_key_of(const char *describe, bool *unique)
{
	answer *table = answer_parse(describe);
	const answer *columns = answer_get(answer_get(table, "primary_key"), "columns");
	char **key = NULL;
	size_t n = 0;

	for (const answer *c = columns != NULL ? columns->first : NULL; c != NULL; c = c->next)
		add(&key, &n, cli_strdup(c->text));
	*unique = key != NULL && answer_size(answer_get(table, "inherited_by")) == 0;
	answer_free(table);
	return key;
}

void
create_key_free(char **key)
{
	for (char **name = key; name != NULL && *name != NULL; name++)
		free(*name);
	free(key);
}

char *
create_shown_name(const char *describe, const char *table)
{
	answer *parsed = describe != NULL ? answer_parse(describe) : NULL;
	const char *name = answer_text(parsed, "qualified");
	char *shown = cli_strdup(name != NULL ? name : table);

	answer_free(parsed);
	return shown;
}

void
create_hint(pst_error *err)
{
	char *hint = cli_format("%s%sGive --create to make the table.", err->hint,
							err->hint[0] != '\0' ? " " : "");

	snprintf(err->hint, sizeof(err->hint), "%s", hint);
	free(hint);
}

pst_status
create_table(pst_catalog *catalog, const char *table, const struct ArrowSchema *schema, char **key,
			 uint32_t *made, char **shown, pst_error *err)
{
	pst_error ignored = PST_ERROR_INIT;
	char *describe = NULL;
	pst_status status = pst_catalog_create_table(catalog, table, schema, (const char *const *) key,
												 PST_CREATE_IF_NOT_EXISTS, made, err);

	if (status != PST_OK || *made == 0 || shown == NULL)
		return status;
	pst_catalog_describe(catalog, table, &describe, &ignored);
	free(*shown);
	*shown = create_shown_name(describe, table);
	pst_free(describe);
	return status;
}

/* The session's canceller may be thrown by now; a second signal still ends the command at once. */
static pst_status
drop_made(cli_db *db, const char *table, uint32_t oid, pst_error *err)
{
	cli_meter meter;
	pst_hooks hooks = db_hooks(db, &meter);
	pst_catalog *catalog = NULL;
	cli_pairs options;
	pst_status status;

	hooks.canceller = NULL;
	hooks.connected = NULL;
	hooks.progress = NULL;
	pairs_copy(&options, &db->options);
	pairs_add(&options, "connect.timeout", "5s");
	status = pst_catalog_open((const char *const *) options.keys,
							  (const char *const *) options.values, &hooks, &catalog, err);
	if (status == PST_OK)
		status = pst_catalog_drop_table(catalog, table, oid, PST_DROP_IF_EMPTY, err);
	pst_catalog_close(catalog);
	pairs_free(&options);
	return status;
}

static void
undo(cli_db *db, const char *table, uint32_t oid)
{
	pst_error err = PST_ERROR_INIT;
	pst_status status = drop_made(db, table, oid, &err);

	if (status == PST_OK)
		report_event("dropped", NULL, "%s, which this command had made, is dropped again", table);
	else if (status != PST_ERR_NOT_FOUND)
		report_warning("%s, which this command has made, stays: %s", table, err.message);
}

void
create_rest_add(create_rest *rest, const pst_sink_stats *stats)
{
	rest->taken += stats->rows_in;
	rest->committed += stats->rows_in - stats->rows_buffered - stats->rows_skipped;
	rest->doubtful += stats->rows_in_doubt;
}

void
create_report_rest(cli_db *db, const char *table, uint32_t made, const create_rest *rest)
{
	int64_t n = rest->committed;
	const char *own = made != 0 ? ", which this command has made" : "";
	char fields[96];

	snprintf(fields, sizeof(fields), "\"rows_committed\":%" PRId64 ",\"rows_in_doubt\":%" PRId64, n,
			 rest->doubtful);
	/* Where nothing came as far as the target there is nothing to say of rows. */
	if (rest->doubtful > 0)
		report_event(
			"kept", fields,
			"%" PRId64 " %s committed to %s%s; %" PRId64 " more %s in doubt: %s there or not", n,
			n == 1 ? "row was" : "rows were", table, own, rest->doubtful,
			rest->doubtful == 1 ? "is" : "are", rest->doubtful == 1 ? "it may be" : "they may be");
	else if (rest->taken > 0 && n > 0)
		report_event("kept", fields, "%" PRId64 " %s committed to %s%s%s before that and %s", n,
					 n == 1 ? "row was" : "rows were", table, own, own[0] != '\0' ? "," : "",
					 n == 1 ? "stays" : "stay");
	else if (rest->taken > 0)
		report_event("kept", fields, "0 rows were committed to %s", table);
	if (made != 0 && n == 0 && rest->doubtful == 0)
		undo(db, table, made);
}
