/*
 * wanted.c - which changes of a plain stream are told. See wanted.h.
 *
 * Patterns have the server's regular expressions, so the server is asked, once for each prefix: there are
 * few of them. Where there are many they are forgotten now and then.
 */
#include "cdc/wanted.h"

#include <stdlib.h>
#include <string.h>

#include "cdc/publication.h"
#include "hash.h"

#define PREFIXES 256 /* places, a power of two; at most half of them are used */

/* ---- Operations ---- */

static const struct
{
	const char *word;
	unsigned operation;
} operations[] = {
	{"insert", PSTI_PUBLISH_INSERT},
	{"update", PSTI_PUBLISH_UPDATE},
	{"delete", PSTI_PUBLISH_DELETE},
	{"truncate", PSTI_PUBLISH_TRUNCATE},
};

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Whether n letters are the word, in capitals or not. */
static bool
is_word(const char *text, size_t n, const char *word)
{
	if (strlen(word) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((text[i] | 0x20) != word[i])
			return false;
	return true;
}

/* The operation that the word at *at names, which it is moved behind; 0: none. */
static unsigned
take_operation(const char **at)
{
	size_t n = 0;
	unsigned found = 0;

	while (is_letter((*at)[n]))
		n++;
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (is_word(*at, n, operations[i].word))
			found = operations[i].operation;
	*at += n;
	*at += strspn(*at, " \t\r\n");
	return found;
}

static pst_status
read_operations(const psti_options *options, unsigned *left_out, pst_error *err)
{
	const char *at = psti_opt_text(options, PSTI_OPT_OPERATIONS);
	unsigned wanted = 0;
	unsigned operation = 0;

	*left_out = 0;
	if (at == NULL)
		return PST_OK;
	for (;;)
	{
		at += strspn(at, " \t\r\n");
		operation = take_operation(&at);
		wanted |= operation;
		if (operation == 0 || *at != ',')
			break;
		at++;
	}
	*left_out = PSTI_PUBLISH_ALL & ~wanted;
	if (operation != 0 && *at == '\0')
		return PST_OK;
	psti_opt_fail(options, PSTI_OPT_OPERATIONS, err, "is no list of operations: \"%s\"",
				  psti_opt_text(options, PSTI_OPT_OPERATIONS));
	psti_error_hint(err, "Give some of insert, update, delete and truncate, separated by commas.");
	return PST_ERR_INVALID;
}

pst_status
psti_wanted_init(psti_wanted *wanted, const psti_options *options, pst_error *err)
{
	pst_status status;

	memset(wanted, 0, sizeof(*wanted));
	status = read_operations(options, &wanted->left_out, err);
	return status == PST_OK
			   ? psti_patterns_read(options, PSTI_OPT_MESSAGES, 1, 1, &wanted->messages, err)
			   : status;
}

static void
forget_prefixes(psti_wanted *wanted)
{
	for (size_t i = 0; wanted->prefixes != NULL && i < PREFIXES; i++)
		free(wanted->prefixes[i].text);
	free(wanted->prefixes);
	wanted->prefixes = NULL;
	wanted->nprefixes = 0;
}

void
psti_wanted_free(psti_wanted *wanted)
{
	forget_prefixes(wanted);
	psti_patterns_free(&wanted->messages);
}

/* ---- Messages ---- */

static pst_status
ask(const psti_wanted *wanted, psti_conn *conn, const char *prefix, bool *out, pst_error *err)
{
	static const char *const names[] = {"$1::pg_catalog.text"};
	const char *params[] = {prefix};
	psti_buf sql = PSTI_BUF_INIT;
	PGresult *result = NULL;
	pst_status status;

	psti_buf_puts(&sql, "SELECT ");
	psti_patterns_condition(&wanted->messages, names, 1, &sql);
	status = psti_buf_check(&sql, err);
	if (status == PST_OK)
		status = psti_conn_query(conn, "matching option cdc.messages", sql.data, 1, params, &result,
								 err);
	*out = status == PST_OK && PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
	if (status != PST_OK && strcmp(err->sqlstate, "2201B") == 0)
		psti_error_hint(err, "Mend the regular expression in slashes.");
	PQclear(result);
	psti_buf_free(&sql);
	return status;
}

/* The place of the prefix in the table, or the free one where it belongs. NULL: out of memory. */
static psti_prefix *
find_prefix(psti_wanted *wanted, const char *text)
{
	size_t i = (size_t) psti_hash_text(PSTI_HASH_INIT, text) & (PREFIXES - 1);

	if (wanted->nprefixes >= PREFIXES / 2)
		forget_prefixes(wanted);
	if (wanted->prefixes == NULL)
		wanted->prefixes = calloc(PREFIXES, sizeof(*wanted->prefixes));
	if (wanted->prefixes == NULL)
		return NULL;
	while (wanted->prefixes[i].text != NULL && strcmp(wanted->prefixes[i].text, text) != 0)
		i = (i + 1) & (PREFIXES - 1);
	return &wanted->prefixes[i];
}

static pst_status
look_at_prefix(psti_wanted *wanted, psti_conn *conn, const char *text, bool *out, pst_error *err)
{
	psti_prefix *prefix = find_prefix(wanted, text);
	pst_status status;

	*out = false;
	if (prefix == NULL)
		return psti_fail_nomem(err);
	if (prefix->text == NULL)
	{
		status = ask(wanted, conn, text, &prefix->wanted, err);
		if (status != PST_OK)
			return status;
		prefix->text = strdup(text);
		if (prefix->text == NULL)
			return psti_fail_nomem(err);
		wanted->nprefixes++;
	}
	*out = prefix->wanted;
	return PST_OK;
}

pst_status
psti_wanted_look(psti_wanted *wanted, psti_conn *conn, const psti_change *change, bool *out,
				 pst_error *err)
{
	unsigned operation = change->kind == PSTI_CHANGE_INSERT	  ? PSTI_PUBLISH_INSERT
						 : change->kind == PSTI_CHANGE_UPDATE ? PSTI_PUBLISH_UPDATE
						 : change->kind == PSTI_CHANGE_DELETE ? PSTI_PUBLISH_DELETE
															  : PSTI_PUBLISH_TRUNCATE;

	if (change->kind == PSTI_CHANGE_MESSAGE)
		return look_at_prefix(wanted, conn, change->message.prefix, out, err);
	*out = (wanted->left_out & operation) == 0;
	return PST_OK;
}
