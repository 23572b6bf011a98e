/* db.c - databases on the command line: options, hooks, and passwords out of sight. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "db.h"
#include "memory.h"
#include "names.h"
#include "progress.h"
#include "report.h"

void
pairs_add(cli_pairs *pairs, const char *key, const char *value)
{
	size_t nbytes = (pairs->n + 2) * sizeof(char *);

	pairs->keys = cli_realloc(pairs->keys, nbytes);
	pairs->values = cli_realloc(pairs->values, nbytes);
	pairs->keys[pairs->n] = cli_strdup(key);
	pairs->values[pairs->n] = cli_strdup(value);
	pairs->n++;
	pairs->keys[pairs->n] = NULL;
	pairs->values[pairs->n] = NULL;
}

void
pairs_copy(cli_pairs *to, const cli_pairs *from)
{
	*to = (cli_pairs){0};
	for (size_t i = 0; i < from->n; i++)
		pairs_add(to, from->keys[i], from->values[i]);
}

const char *
pairs_get(const cli_pairs *pairs, const char *key)
{
	for (size_t i = pairs->n; i > 0; i--)
	{
		if (strcmp(pairs->keys[i - 1], key) == 0)
			return pairs->values[i - 1];
	}
	return NULL;
}

void
pairs_free(cli_pairs *pairs)
{
	for (size_t i = 0; i < pairs->n; i++)
	{
		free(pairs->keys[i]);
		free(pairs->values[i]);
	}
	free(pairs->keys);
	free(pairs->values);
	*pairs = (cli_pairs){0};
}

static void
add_value(cli_pairs *pairs, const cli_option *option, const char *value)
{
	char *names = option->kind == CLI_NAMES ? names_for_library(value) : NULL;

	/* No shell's quotes make a tab of it, and two characters are no delimiter. */
	if (option->id == CLI_DELIMITER && strcmp(value, "\\t") == 0)
		value = "\t";
	pairs_add(pairs, option->key, names != NULL ? names : value);
	free(names);
}

/* --with first, so that an option of the command's own wins over the same one given by name. */
static void
add_args(cli_pairs *pairs, const cli_args *args)
{
	for (size_t i = 0; i < args->nwith; i++)
	{
		const char *equals = strchr(args->with[i], '=');
		char *key = cli_strdup(args->with[i]);

		key[equals - args->with[i]] = '\0';
		pairs_add(pairs, key, equals + 1);
		free(key);
	}
	for (const cli_option *const *group = args->command->groups; *group != NULL; group++)
	{
		for (const cli_option *option = *group; option->name != NULL; option++)
		{
			if (option->key != NULL && args->value[option->id] != NULL)
				add_value(pairs, option, args->value[option->id]);
		}
	}
	if (cli_given(args, CLI_NO_HEADER))
		pairs_add(pairs, "csv.header", "false");
}

void
db_init(cli_db *db, const char *url, const char *role, const cli_args *args,
		pst_canceller *canceller)
{
	*db = (cli_db){.role = role, .canceller = canceller, .application = args->command->name};
	pthread_mutex_init(&db->lock, NULL);
	pairs_add(&db->options, "url", url);
	add_args(&db->options, args);
}

void
db_free(cli_db *db)
{
	pairs_free(&db->options);
	free(db->pids);
	pthread_mutex_destroy(&db->lock);
}

void
db_blame(const cli_db *db, pst_error *err)
{
	char *text;

	/* Options count for both, but for the connection string. */
	bool both = strstr(err->message, "option \"") != NULL &&
				strstr(err->message, "option \"url\"") == NULL && err->status == PST_ERR_INVALID;

	if (db->role == NULL || both || err->message[0] == '\0' ||
		strncmp(err->message, db->role, strlen(db->role)) == 0)
		return;
	text = cli_format("%s: %s", db->role, err->message);
	snprintf(err->message, sizeof(err->message), "%s", text);
	free(text);
}

char *
db_table(const cli_db *db, const char *table)
{
	const char *schema = pairs_get(&db->options, "schema-name");
	char *first = schema != NULL ? names_quote(schema) : NULL;
	char *second = schema != NULL ? names_quote(table) : NULL;
	char *name = schema != NULL ? cli_format("%s.%s", first, second) : cli_strdup(table);

	free(first);
	free(second);
	return name;
}

static void
on_log(void *ctx, pst_log_level level, const char *message)
{
	(void) ctx;
	report_once(level, message);
}

static void
on_progress(void *ctx, const pst_progress *progress)
{
	cli_meter *meter = ctx;

	progress_add(meter->counts_rows ? progress->rows - meter->rows : 0,
				 meter->db->own_bytes ? 0 : progress->bytes - meter->bytes);
	meter->rows = progress->rows;
	meter->told = true;
	meter->bytes = progress->bytes;
}

static void
on_connected(void *ctx, int backend_pid)
{
	cli_db *db = ((cli_meter *) ctx)->db;

	pthread_mutex_lock(&db->lock);
	db->pids = cli_realloc(db->pids, (db->npids + 1) * sizeof(*db->pids));
	db->pids[db->npids++] = backend_pid;
	pthread_mutex_unlock(&db->lock);
}

pst_hooks
db_hooks(cli_db *db, cli_meter *meter)
{
	pst_hooks hooks = PST_HOOKS_INIT;

	*meter = (cli_meter){.db = db};
	hooks.ctx = meter;
	hooks.log = on_log;
	hooks.progress = on_progress;
	hooks.connected = on_connected;
	hooks.canceller = db->canceller;
	hooks.application = db->application;
	return hooks;
}

int *
db_pids(cli_db *db, size_t *npids)
{
	int *pids;

	pthread_mutex_lock(&db->lock);
	*npids = db->npids;
	pids = cli_alloc(db->npids * sizeof(*pids));
	if (db->npids > 0)
		memcpy(pids, db->pids, db->npids * sizeof(*pids));
	pthread_mutex_unlock(&db->lock);
	return pids;
}

static void
hide(char *secret, size_t len)
{
	report_secret(secret, len);
	memset(secret, '*', len);
}

/* user:SECRET@ of a URI. Up to the last @, since an unencoded one may stand in the password. */
static void
hide_userinfo(char *text)
{
	char *user = strstr(text, "://");
	char *at = strrchr(text, '@');
	char *colon;

	if (user == NULL || at == NULL || at < user)
		return;
	colon = strchr(user + 3, ':');
	if (colon != NULL && colon < at)
		hide(colon + 1, (size_t) (at - colon - 1));
}

/* An unencoded & is part of the value as long as no parameter begins behind it. */
static size_t
uri_secret_length(const char *value)
{
	size_t len = strcspn(value, "&");

	while (value[len] == '&' && value[len + 1 + strcspn(value + len + 1, "=&")] != '=')
		len += 1 + strcspn(value + len + 1, "&");
	return len;
}

/* The length of a value in a keyword string (quotes included) or in a URI's parameters. */
static size_t
secret_length(const char *value, bool in_uri)
{
	size_t len = 0;

	if (in_uri)
		return uri_secret_length(value);
	if (value[0] != '\'')
	{
		while (value[len] != '\0' && !isspace((unsigned char) value[len]))
			len += value[len] == '\\' && value[len + 1] != '\0' ? 2 : 1;
		return len;
	}
	for (len = 1; value[len] != '\0' && value[len] != '\''; len++)
	{
		if (value[len] == '\\' && value[len + 1] != '\0')
			len++;
	}
	return len;
}

/* The value of …password = SECRET, at the word; NULL when it is none. */
static char *
word_value(char *at)
{
	static const char word[] = "password";

	if (strncasecmp(at, word, sizeof(word) - 1) != 0)
		return NULL;
	at += sizeof(word) - 1;
	while (isspace((unsigned char) *at))
		at++;
	if (*at++ != '=')
		return NULL;
	while (isspace((unsigned char) *at))
		at++;
	return at;
}

/*
 * The value of a URL's parameter that begins at `at` and may be a password: that is in its name, or
 * may be once %XX in it are decoded (names_password of bridge/src/conninfo.c). NULL when it is none.
 */
static char *
parameter_value(const char *text, char *at)
{
	size_t n = strcspn(at, "=&");

	if (at == text || strchr("?&", at[-1]) == NULL || at[n] != '=')
		return NULL;
	for (size_t i = 0; i < n; i++)
	{
		if (at[i] == '%' || strncasecmp(at + i, "pass", 4) == 0)
			return at + n + 1;
	}
	return NULL;
}

/* Every …password = SECRET, and user:SECRET@. */
static void
hide_in_text(char *text)
{
	bool in_uri = strstr(text, "://") != NULL || strncmp(text, "jdbc:", 5) == 0;
	char *at = text;

	while (*at != '\0')
	{
		char *value = in_uri ? parameter_value(text, at) : NULL;

		if (value == NULL)
			value = word_value(at);
		if (value != NULL && *value == '\'' && !in_uri)
			hide(value + 1, secret_length(value, false) - 1);
		else if (value != NULL)
			hide(value, secret_length(value, in_uri));
		at = value != NULL ? value : at + 1;
	}
	hide_userinfo(text);
}

/* Whether word is this option, or as much of it as getopt takes for it; *value after its '='. */
static bool
is_option(char *word, const char *name, size_t least, char **value)
{
	size_t len = strcspn(word, "=");

	if (len < least || strncmp(word, name, len) != 0)
		return false;
	*value = word[len] == '=' ? word + len + 1 : NULL;
	return true;
}

/* KEY=VALUE of --with: the whole value is the password, whatever stands in it. */
static void
hide_in_pair(char *pair)
{
	static const char word[] = "password";
	size_t len = strcspn(pair, "=");

	if (pair[len] == '=' && len >= sizeof(word) - 1 &&
		strncasecmp(pair + len - (sizeof(word) - 1), word, sizeof(word) - 1) == 0)
		hide(pair + len + 1, strlen(pair + len + 1));
	else
		hide_in_text(pair);
}

void
db_scrub(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		char *value;
		bool password = is_option(argv[i], "--password", 3, &value);

		if (!password && !is_option(argv[i], "--with", 4, &value))
		{
			hide_in_text(argv[i]);
			continue;
		}
		if (value == NULL && i + 1 < argc)
			value = argv[++i];
		if (value != NULL && password)
			hide(value, strlen(value));
		else if (value != NULL)
			hide_in_pair(value);
	}
}
