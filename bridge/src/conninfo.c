/* conninfo.c - where to connect: url, hostname, username … as libpq's keywords. */
#include "conninfo.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define JDBC_PREFIX "jdbc:postgresql:"

void
psti_conninfo_free(psti_conninfo *info)
{
	for (size_t i = 0; i < info->count; i++)
	{
		free(info->keywords[i]);
		free(info->values[i]);
	}
	free(info->keywords);
	free(info->values);
	memset(info, 0, sizeof(*info));
}

const char *
psti_conninfo_get(const psti_conninfo *info, const char *keyword)
{
	for (size_t i = 0; i < info->count; i++)
	{
		if (strcmp(info->keywords[i], keyword) == 0)
			return info->values[i];
	}
	return NULL;
}

/* Room for one more pair and the terminator. */
static bool
grow(psti_conninfo *info)
{
	size_t n = info->count + 2;
	char **keywords = realloc(info->keywords, n * sizeof(char *));
	char **values;

	if (keywords == NULL)
		return false;
	info->keywords = keywords;
	values = realloc(info->values, n * sizeof(char *));
	if (values == NULL)
		return false;
	info->values = values;
	return true;
}

/* Sets a keyword, replacing an earlier value; both texts are copied. NULL value: no change. */
static pst_status
set(psti_conninfo *info, const char *keyword, const char *value, pst_error *err)
{
	char *copy;

	if (value == NULL)
		return PST_OK;
	copy = strdup(value);
	if (copy == NULL)
		return psti_fail_nomem(err);
	for (size_t i = 0; i < info->count; i++)
	{
		if (strcmp(info->keywords[i], keyword) == 0)
		{
			free(info->values[i]);
			info->values[i] = copy;
			return PST_OK;
		}
	}
	if (!grow(info) || (info->keywords[info->count] = strdup(keyword)) == NULL)
	{
		free(copy);
		return psti_fail_nomem(err);
	}
	info->values[info->count++] = copy;
	info->keywords[info->count] = NULL;
	info->values[info->count] = NULL;
	return PST_OK;
}

/* Adds a piece to the keyword options, after what is there. */
static pst_status
add_options(psti_conninfo *info, const char *piece, pst_error *err)
{
	const char *before = psti_conninfo_get(info, "options");
	psti_buf text = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_printf(&text, "%s%s%s", before == NULL ? "" : before, before == NULL ? "" : " ",
					piece);
	status = psti_buf_check(&text, err);
	if (status == PST_OK)
		status = set(info, "options", text.data, err);
	psti_buf_free(&text);
	return status;
}

/* Adds -c name=value, blanks and backslashes escaped as the server splits its options. */
static pst_status
add_setting(psti_conninfo *info, const char *name, const char *value, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;
	pst_status status;

	psti_buf_printf(&text, "-c %s=", name);
	for (const char *p = value; *p != '\0'; p++)
	{
		if (*p == ' ' || *p == '\\')
			psti_buf_putc(&text, '\\');
		psti_buf_putc(&text, *p);
	}
	status = psti_buf_check(&text, err);
	if (status == PST_OK)
		status = add_options(info, text.data, err);
	psti_buf_free(&text);
	return status;
}

/* --- what is wrong with a URL, without the password --------------------------------------- */

static const char encode_hint[] =
	"In a password, as in every part of a URI, the characters @ / & ? # % are written %40 %2F %26 "
	"%3F %23 %25. A password may also stand in option password, in PGPASSWORD or .pgpass.";

static const char form_hint[] =
	"It takes postgresql://user@host:port/database, a keyword string such as \"host=… dbname=…\", "
	"or jdbc:postgresql://host:port/database.";

static const char parameter_hint[] = "Parameters are those of libpq: host, port, dbname, user, "
									 "sslmode …; a value with blanks stands "
									 "in single quotes.";

static pst_status
fail_url(const psti_options *options, pst_error *err, const char *why, const char *hint)
{
	psti_opt_fail(options, PSTI_OPT_URL, err, "%s", why);
	psti_error_hint(err, "%s", hint);
	return PST_ERR_INVALID;
}

static bool
is_jdbc(const char *url)
{
	return strncmp(url, JDBC_PREFIX, strlen(JDBC_PREFIX)) == 0;
}

static bool
is_uri(const char *url)
{
	return strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0;
}

/* A name as people give to databases and hosts: nothing in it looks like a connection string. */
static bool
is_bare_name(const char *url)
{
	return url[0] != '\0' && strpbrk(url, "=:/@?&' \t\r\n") == NULL;
}

/* Whether n bytes name a password, or may once %XX in them are decoded. */
static bool
names_password(const char *text, size_t n)
{
	static const char word[] = "pass";

	for (size_t i = 0; i < n; i++)
	{
		if (text[i] == '%' ||
			(n - i >= sizeof(word) - 1 && strncasecmp(text + i, word, sizeof(word) - 1) == 0))
			return true;
	}
	return false;
}

/*
 * Whether the name of a URL's parameter, at `name`, may be a piece of a password: of one with an
 * unencoded & when it stands behind a parameter that may be a password, of one with an unencoded ?
 * when an @ follows.
 */
static bool
may_be_secret(const char *query, const char *name)
{
	return strchr(name, '@') != NULL || names_password(query, (size_t) (name - query));
}

/* Where in a query the parameter of this name stands; NULL when it does not, as it stands. */
static const char *
find_parameter(const char *query, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = query; at != NULL; at = strchr(at, '&'))
	{
		at += *at == '&';
		if (strncmp(at, name, n) == 0 && strchr("=&", at[n]) != NULL)
			return at;
	}
	return NULL;
}

/*
 * A URI whose parts cannot be told apart is refused before libpq cuts it, since libpq would take the
 * rest of a password for host, port or database and quote it. An @ has one place in a URI, at the
 * end of user:password, and none in a JDBC URL; in parameters it is harmless once a / or the
 * end of the hosts has been seen. (libpq looks for the @ up to the first /.)
 */
static bool
is_ambiguous(const char *url)
{
	const char *rest = is_jdbc(url) ? url + strlen(JDBC_PREFIX) : strstr(url, "://") + 3;
	size_t head = strcspn(rest, "?");
	const char *at = memchr(rest, '@', head);

	if (at == NULL)
		return !is_jdbc(url) && memchr(rest, '/', head) == NULL && strchr(rest, '@') != NULL;
	return is_jdbc(url) || (size_t) (at - rest) > strcspn(rest, "/") ||
		   memchr(at + 1, '@', head - (size_t) (at + 1 - rest)) != NULL;
}

static pst_status
fail_ambiguous(const psti_options *options, bool jdbc, pst_error *err)
{
	static const char jdbc_hint[] =
		"A JDBC URL has no user:password@; they are its parameters user and password, in which the "
		"characters @ & # % are written %40 %26 %23 %25.";

	return fail_url(options, err,
					"is ambiguous: an \"@\", \"/\" or \"?\" stands unencoded in its password or "
					"another part",
					jdbc ? jdbc_hint : encode_hint);
}

/* What libpq says of a text that it cannot read, where there is no translation of it. */
static const struct
{
	const char *begins; /* libpq's message */
	const char *why;	/* ours */
	const char *named;	/* the same before the piece that libpq quotes; NULL: it quotes none */
} url_faults[] = {
	{"missing \"=\"", "has a parameter without a \"=\"", "lacks a \"=\" behind"},
	{"missing key/value separator", "has a parameter without a \"=\"", "lacks a \"=\" behind"},
	{"invalid connection option", "has an unknown parameter", "has an unknown parameter"},
	{"invalid URI query parameter", "has an unknown parameter", "has an unknown parameter"},
	{"unterminated quoted string", "has a quote that does not close", NULL},
	{"invalid percent-encoded token", "has a malformed %XX", NULL},
	{"end of string reached when looking for matching \"]\"",
	 "has an IPv6 address without its closing bracket", NULL},
};

/* The piece that a message ends with, in quotes; false when it is not there, is no name or too long. */
static bool
last_quoted(const char *message, char *piece, size_t size)
{
	const char *begin = strchr(message, '"');
	const char *end;

	/* "missing "=" after "name" …": the piece is the second one. */
	if (begin != NULL && begin[1] == '=')
		begin = strchr(begin + 3, '"');
	end = begin == NULL ? NULL : strchr(begin + 1, '"');
	if (end == NULL || (size_t) (end - begin - 1) >= size)
		return false;
	memcpy(piece, begin + 1, (size_t) (end - begin - 1));
	piece[end - begin - 1] = '\0';
	return is_bare_name(piece);
}

/* Whether a piece that libpq quotes may be told: a parameter of a URI, a word of a keyword string. */
static bool
may_be_told(const char *url, const char *piece)
{
	const char *query;
	const char *at;

	if (!is_uri(url))
		return strstr(url, "://") == NULL && !names_password(url, strlen(url));
	query = strchr(url, '?');
	at = query == NULL ? NULL : find_parameter(query + 1, piece);
	return at != NULL && !may_be_secret(query, at);
}

static pst_status
fail_libpq(const psti_options *options, const char *url, const char *message, pst_error *err)
{
	bool uri = is_uri(url);
	char piece[64];

	if (is_bare_name(url))
		return fail_url(options, err, "is a bare word, not a connection string",
						"A database's name alone is given as \"dbname=NAME\".");
	if (!uri && (strchr(url, '=') == NULL || strcspn(url, ":") < strcspn(url, "=")))
		return fail_url(options, err,
						"begins with neither postgresql:// nor jdbc:postgresql:", form_hint);
	for (size_t i = 0; i < sizeof(url_faults) / sizeof(url_faults[0]); i++)
	{
		if (strncmp(message, url_faults[i].begins, strlen(url_faults[i].begins)) != 0)
			continue;
		if (url_faults[i].named == NULL || !last_quoted(message, piece, sizeof(piece)) ||
			!may_be_told(url, piece))
			return fail_url(options, err, url_faults[i].why, uri ? encode_hint : parameter_hint);
		psti_opt_fail(options, PSTI_OPT_URL, err, "%s \"%s\"", url_faults[i].named, piece);
		psti_error_hint(err, "%s", parameter_hint);
		return PST_ERR_INVALID;
	}
	return fail_url(options, err, "is not a connection URI or keyword string", form_hint);
}

/*
 * Lists of ports: what is no number would be quoted by libpq, and may be a password's beginning. As
 * libpq takes them: with blanks around and zeros in front, none for the default.
 */
static bool
are_ports(const char *list)
{
	static const char blanks[] = " \t\n\v\f\r";

	for (;;)
	{
		const char *begin = list + strspn(list, blanks);
		const char *number = begin + strspn(begin, "0");
		size_t n = strspn(number, "0123456789");
		const char *end = number + n + strspn(number + n, blanks);
		long port = 0;

		for (size_t i = 0; i < n && i < 6; i++)
			port = port * 10 + (number[i] - '0');
		if (n > 5 || (end > list && (port < 1 || port > 65535)) || (*end != ',' && *end != '\0'))
			return false;
		if (*end == '\0')
			return true;
		list = end + 1;
	}
}

bool
psti_connect_timeout(const char *value, int *ms)
{
	char *end;
	long long seconds = strtoll(value, &end, 10);

	while (isspace((unsigned char) *end))
		end++;
	if (*end != '\0' || seconds < INT_MIN || seconds > INT_MAX)
		return false;
	*ms = seconds <= 0 ? 0 : seconds > INT_MAX / 1000 ? INT_MAX : (int) seconds * 1000;
	return true;
}

/* What libpq or the server would take, and then quote in a message of its own. */
static pst_status
check_parts(const psti_options *options, const psti_conninfo *info, pst_error *err)
{
	const char *url = psti_opt_text(options, PSTI_OPT_URL);
	const char *port = psti_conninfo_get(info, "port");
	const char *database = psti_conninfo_get(info, "dbname");
	const char *timeout = psti_conninfo_get(info, "connect_timeout");
	int ms;

	if (port != NULL && !are_ports(port))
		return fail_url(options, err, "has a port that is no number from 1 to 65535",
						url != NULL && is_uri(url) ? encode_hint : form_hint);
	if (timeout != NULL && !psti_connect_timeout(timeout, &ms))
		return psti_fail(err, PST_ERR_INVALID, "connect_timeout is not a whole number of seconds");
	if (database != NULL && is_uri(database))
	{
		psti_fail(err, PST_ERR_INVALID, "the name of the database is a URI");
		psti_error_hint(err, "A URI is given by itself, as the option url.");
		return err->status;
	}
	return PST_OK;
}

/* --- libpq's own forms ------------------------------------------------------------------- */

static pst_status
read_libpq(const psti_options *options, const char *url, psti_conninfo *info, pst_error *err)
{
	char *message = NULL;
	PQconninfoOption *pairs;
	pst_status status = PST_OK;

	if (is_uri(url) && is_ambiguous(url))
		return fail_ambiguous(options, false, err);
	pairs = PQconninfoParse(url, &message);
	if (pairs == NULL)
	{
		status = message == NULL ? psti_fail_nomem(err) : fail_libpq(options, url, message, err);
		PQfreemem(message);
		return status;
	}
	for (PQconninfoOption *pair = pairs; status == PST_OK && pair->keyword != NULL; pair++)
		status = set(info, pair->keyword, pair->val, err);
	PQconninfoFree(pairs);
	return status;
}

/* --- JDBC URLs --------------------------------------------------------------------------- */

/* How a pgjdbc parameter is taken over. Names and meanings: pgjdbc's manual, "Connection". */
typedef enum jdbc_rule
{
	JDBC_SAME,	   /* libpq's keyword has the same values */
	JDBC_SSL,	   /* ssl=true: verify-full */
	JDBC_OPTIONS,  /* added to those of other parameters */
	JDBC_SCHEMA,   /* search_path */
	JDBC_SECONDS,  /* whole seconds, libpq's own unit */
	JDBC_SOCKET,   /* socketTimeout, ours */
	JDBC_BOOL01,   /* true or false as 1 or 0 */
	JDBC_TARGET,   /* targetServerType */
	JDBC_BALANCE,  /* loadBalanceHosts */
	JDBC_READONLY, /* default_transaction_read_only */
	JDBC_HARMLESS  /* tunes that driver only; strings bind to the target's type here anyway */
} jdbc_rule;

typedef struct jdbc_param
{
	const char *name;
	const char *keyword;
	jdbc_rule rule;
} jdbc_param;

static const jdbc_param jdbc_params[] = {
	{"user", "user", JDBC_SAME},
	{"password", "password", JDBC_SAME},
	{"sslmode", "sslmode", JDBC_SAME},
	{"ssl", "sslmode", JDBC_SSL},
	{"sslcert", "sslcert", JDBC_SAME},
	{"sslkey", "sslkey", JDBC_SAME},
	{"sslrootcert", "sslrootcert", JDBC_SAME},
	{"sslpassword", "sslpassword", JDBC_SAME},
	{"sslNegotiation", "sslnegotiation", JDBC_SAME},
	{"channelBinding", "channel_binding", JDBC_SAME},
	{"gssEncMode", "gssencmode", JDBC_SAME},
	{"kerberosServerName", "krbsrvname", JDBC_SAME},
	{"options", NULL, JDBC_OPTIONS},
	{"ApplicationName", "application_name", JDBC_SAME},
	{"currentSchema", NULL, JDBC_SCHEMA},
	{"connectTimeout", "connect_timeout", JDBC_SECONDS},
	{"loginTimeout", "connect_timeout", JDBC_SECONDS},
	{"socketTimeout", NULL, JDBC_SOCKET},
	{"tcpKeepAlive", "keepalives", JDBC_BOOL01},
	{"targetServerType", "target_session_attrs", JDBC_TARGET},
	{"loadBalanceHosts", "load_balance_hosts", JDBC_BALANCE},
	{"readOnly", NULL, JDBC_READONLY},
	{"stringtype", NULL, JDBC_HARMLESS},
	{"prepareThreshold", NULL, JDBC_HARMLESS},
	{"binaryTransfer", NULL, JDBC_HARMLESS},
	{"defaultRowFetchSize", NULL, JDBC_HARMLESS},
	{"reWriteBatchedInserts", NULL, JDBC_HARMLESS},
	{"preparedStatementCacheQueries", NULL, JDBC_HARMLESS},
	{"preparedStatementCacheSizeMiB", NULL, JDBC_HARMLESS},
};

static const struct
{
	const char *jdbc;
	const char *libpq;
} jdbc_targets[] = {
	{"any", "any"},
	{"primary", "primary"},
	{"master", "primary"},
	{"secondary", "standby"},
	{"slave", "standby"},
	{"preferSecondary", "prefer-standby"},
	{"preferSlave", "prefer-standby"},
};

/* Whether this libpq knows a keyword. */
static bool
libpq_knows(const char *keyword)
{
	PQconninfoOption *all = PQconndefaults();
	bool known = false;

	for (PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++)
		known = known || strcmp(o->keyword, keyword) == 0;
	if (all != NULL)
		PQconninfoFree(all);
	return known;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char) tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX and, in parameters, + to out, which has room for len + 1; false when malformed. */
static bool
decode_to(char *out, const char *text, size_t len, bool plus)
{
	for (size_t i = 0; i < len; i++)
	{
		int high = text[i] == '%' && i + 2 < len ? hex_digit(text[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(text[i + 2]) : -1;

		if (text[i] == '%' && (low < 0 || (high == 0 && low == 0)))
			return false;
		if (text[i] == '%')
		{
			*out++ = (char) (high * 16 + low);
			i += 2;
		}
		else
			*out++ = plus && text[i] == '+' ? ' ' : text[i];
	}
	*out = '\0';
	return true;
}

/* The same, to be freed; NULL when out of memory or malformed (then *bad). */
static char *
url_decode(const char *text, size_t len, bool plus, bool *bad)
{
	char *out = malloc(len + 1);

	if (out != NULL && !decode_to(out, text, len, plus))
	{
		*bad = true;
		free(out);
		return NULL;
	}
	return out;
}

static pst_status
set_target(psti_conninfo *info, const char *value, const pst_hooks *hooks, pst_error *err)
{
	for (size_t i = 0; i < sizeof(jdbc_targets) / sizeof(jdbc_targets[0]); i++)
	{
		if (strcasecmp(value, jdbc_targets[i].jdbc) == 0)
			return set(info, "target_session_attrs", jdbc_targets[i].libpq, err);
	}
	psti_log(hooks, PST_LOG_WARNING,
			 "targetServerType=%s of the JDBC URL has no counterpart; any server is taken", value);
	return PST_OK;
}

static pst_status
set_socket_timeout(psti_conninfo *info, const char *value, pst_error *err)
{
	char *end;
	long seconds = strtol(value, &end, 10);

	if (*end != '\0' || end == value || seconds < 0 || seconds > 86400)
		return psti_fail(err, PST_ERR_INVALID,
						 "socketTimeout of the JDBC URL is not a number of seconds up to 86400");
	info->socket_timeout_ms = (int) seconds * 1000;
	return PST_OK;
}

static const jdbc_param *
find_jdbc(const char *name)
{
	for (size_t i = 0; i < sizeof(jdbc_params) / sizeof(jdbc_params[0]); i++)
	{
		if (strcmp(jdbc_params[i].name, name) == 0)
			return &jdbc_params[i];
	}
	return NULL;
}

bool
psti_jdbc_may_show(const char *query, const char *at)
{
	static const char *const login[] = {"user", "password", "sslpassword"};
	size_t n = strcspn(at, "=&");
	char name[64];

	if (n >= sizeof(name) || !decode_to(name, at, n, true))
		return false;
	for (size_t i = 0; i < sizeof(login) / sizeof(login[0]); i++)
	{
		if (strcmp(name, login[i]) == 0)
			return false;
	}
	return find_jdbc(name) != NULL || !may_be_secret(query, at);
}

/* Applies one decoded parameter that pgjdbc has. */
static pst_status
jdbc_apply(psti_conninfo *info, const jdbc_param *param, const char *value, const pst_hooks *hooks,
		   pst_error *err)
{
	const char *name = param->name;
	bool yes = value[0] == '\0' || strcasecmp(value, "true") == 0;
	int ms;

	if (param->keyword != NULL && !libpq_knows(param->keyword))
	{
		psti_log(hooks, PST_LOG_WARNING, "parameter %s of the JDBC URL has no effect here", name);
		return PST_OK;
	}
	switch (param->rule)
	{
		case JDBC_SECONDS:
			if (!psti_connect_timeout(value, &ms))
				return psti_fail(err, PST_ERR_INVALID,
								 "%s of the JDBC URL is not a whole number of seconds", name);
			return set(info, param->keyword, value, err);
		case JDBC_SAME:
			return set(info, param->keyword, value, err);
		case JDBC_SSL:
			return yes && psti_conninfo_get(info, "sslmode") == NULL
					   ? set(info, "sslmode", "verify-full", err)
					   : PST_OK;
		case JDBC_OPTIONS:
			return add_options(info, value, err);
		case JDBC_SCHEMA:
			return add_setting(info, "search_path", value, err);
		case JDBC_SOCKET:
			return set_socket_timeout(info, value, err);
		case JDBC_BOOL01:
			return set(info, param->keyword, yes ? "1" : "0", err);
		case JDBC_TARGET:
			return set_target(info, value, hooks, err);
		case JDBC_BALANCE:
			return set(info, param->keyword, yes ? "random" : "disable", err);
		case JDBC_READONLY:
			return yes ? add_setting(info, "default_transaction_read_only", "on", err) : PST_OK;
		case JDBC_HARMLESS:
			psti_log(hooks, PST_LOG_WARNING,
					 "parameter %s of the JDBC URL tunes that driver; it has no effect here", name);
			return PST_OK;
	}
	return PST_OK;
}

/*
 * Whether the parameter at `at`, in the query of a JDBC URL, may be the rest of a password with an
 * unencoded &, or of a user:password@ with an unencoded ?. The latter has its ":" before the "?" and
 * its "@", with the hosts and the database behind it, after that.
 */
static bool
may_be_torn(const char *url, const char *query, const char *at, size_t n)
{
	const char *head = url + strlen(JDBC_PREFIX);
	size_t host = strncmp(head, "//", 2) == 0 ? 2 + strcspn(head + 2, "/?") : 0;
	const char *sign;
	char first[64];

	if (host <= 2 || head[host] != '/' || head[host + 1] == '?')
		return true;
	for (const char *p = query; p < at; p += strcspn(p, "&") + 1)
	{
		if (names_password(p, strcspn(p, "=&")))
			return true;
	}
	if (strchr(at, '@') == NULL || memchr(head, ':', (size_t) (query - head)) == NULL)
		return false;
	sign = memchr(at, '@', n);
	if (sign != NULL && (memchr(at, '=', (size_t) (sign - at)) == NULL ||
						 memchr(sign, '/', n - (size_t) (sign - at)) != NULL))
		return true;
	return strcspn(query, "=&") >= sizeof(first) ||
		   !decode_to(first, query, strcspn(query, "=&"), true) || find_jdbc(first) == NULL;
}

/* A parameter that is none of those above: at is its place in the query, n its length. */
static pst_status
jdbc_unknown(const psti_options *options, const char *query, const char *at, size_t n,
			 const char *name, const pst_hooks *hooks, pst_error *err)
{
	bool torn = may_be_torn(psti_opt_text(options, PSTI_OPT_URL), query, at, n);

	/* Not merely without effect: it is the rest of a part with an unencoded & or ?. */
	if (torn && memchr(at, '=', n) == NULL)
		return fail_url(options, err, "has a parameter without a \"=\"", encode_hint);
	if (name[0] == '\0')
		return fail_url(options, err, "has a parameter without a name", encode_hint);
	if (torn && memchr(at, '@', n) != NULL)
		return fail_ambiguous(options, true, err);
	if (may_be_secret(query, at))
		psti_log(hooks, PST_LOG_WARNING, "a parameter of the JDBC URL has no effect here");
	else
		psti_log(hooks, PST_LOG_WARNING, "parameter %s of the JDBC URL has no effect here", name);
	return PST_OK;
}

static pst_status
jdbc_params_read(const psti_options *options, const char *query, const pst_hooks *hooks,
				 psti_conninfo *info, pst_error *err)
{
	pst_status status = PST_OK;

	for (const char *at = query; status == PST_OK && *at != '\0';)
	{
		size_t len = strcspn(at, "&");
		size_t eq = strcspn(at, "=&");
		bool bad = false;
		char *name = url_decode(at, eq, true, &bad);
		char *value = eq < len ? url_decode(at + eq + 1, len - eq - 1, true, &bad)
							   : url_decode("", 0, true, &bad);
		const jdbc_param *param = name != NULL ? find_jdbc(name) : NULL;

		if (bad)
			status = fail_url(options, err, "has a malformed %XX in its parameters", encode_hint);
		else if (name == NULL || value == NULL)
			status = psti_fail_nomem(err);
		else if (param != NULL)
			status = jdbc_apply(info, param, value, hooks, err);
		else if (len > 0)
			status = jdbc_unknown(options, query, at, len, name, hooks, err);
		free(name);
		free(value);
		at += len + (at[len] == '&');
	}
	return status;
}

/* Splits host[:port],host[:port] into libpq's two comma-separated lists. */
static pst_status
jdbc_hosts_read(const psti_options *options, const char *hosts, size_t len, psti_conninfo *info,
				pst_error *err)
{
	psti_buf names = PSTI_BUF_INIT;
	psti_buf ports = PSTI_BUF_INIT;
	pst_status status = PST_OK;
	const char *end = hosts + len;

	for (const char *at = hosts; status == PST_OK && at <= end;)
	{
		const char *comma = memchr(at, ',', (size_t) (end - at));
		const char *stop = comma == NULL ? end : comma;
		const char *close = *at == '[' ? memchr(at, ']', (size_t) (stop - at)) : NULL;
		const char *from = close == NULL ? at : at + 1;
		const char *name_end = close;
		const char *colon =
			memchr(close == NULL ? at : close, ':', (size_t) (stop - (close == NULL ? at : close)));

		if (name_end == NULL)
			name_end = colon == NULL ? stop : colon;
		if (*at == '[' && close == NULL)
			status = fail_url(options, err, "has an IPv6 address without its closing bracket",
							  form_hint);
		if (at > hosts)
		{
			psti_buf_putc(&names, ',');
			psti_buf_putc(&ports, ',');
		}
		psti_buf_append(&names, from, (size_t) (name_end - from));
		if (colon != NULL)
			psti_buf_append(&ports, colon + 1, (size_t) (stop - colon - 1));
		else
			psti_buf_puts(&ports, "5432");
		at = stop + 1;
	}
	if (status == PST_OK && (names.failed || ports.failed))
		status = psti_fail_nomem(err);
	if (status == PST_OK && names.len > 0)
		status = set(info, "host", names.data, err);
	if (status == PST_OK && names.len > 0)
		status = set(info, "port", ports.data, err);
	psti_buf_free(&names);
	psti_buf_free(&ports);
	return status;
}

/* jdbc:postgresql:[//hosts[/]][database][?parameters] */
static pst_status
read_jdbc(const psti_options *options, const char *url, const pst_hooks *hooks, psti_conninfo *info,
		  pst_error *err)
{
	const char *at = url + strlen(JDBC_PREFIX);
	pst_status status = PST_OK;
	bool bad = false;
	size_t len;
	char *database;

	if (is_ambiguous(url))
		return fail_ambiguous(options, true, err);
	/* pgjdbc's default where libpq's is a Unix socket. */
	status = set(info, "host", "localhost", err);
	if (status == PST_OK && strncmp(at, "//", 2) == 0)
	{
		at += 2;
		len = strcspn(at, "/?");
		if (len > 0)
			status = jdbc_hosts_read(options, at, len, info, err);
		at += len + (at[len] == '/');
	}
	if (status != PST_OK)
		return status;
	len = strcspn(at, "?");
	database = url_decode(at, len, false, &bad);
	if (bad)
		return fail_url(options, err, "has a malformed %XX in its database name", encode_hint);
	if (database == NULL)
		return psti_fail_nomem(err);
	if (len > 0)
		status = set(info, "dbname", database, err);
	free(database);
	at += len;
	if (status == PST_OK && *at == '?')
		status = jdbc_params_read(options, at + 1, hooks, info, err);
	return status;
}

/* --- all together ------------------------------------------------------------------------ */

static pst_status
set_application_name(const psti_options *options, const pst_hooks *hooks, psti_conninfo *info,
					 pst_error *err)
{
	const char *given = psti_opt_text(options, PSTI_OPT_APPLICATION_NAME);
	char name[64];

	if (given != NULL)
		return set(info, "application_name", given, err);
	if (psti_conninfo_get(info, "application_name") != NULL)
		return PST_OK;
	snprintf(name, sizeof(name), "penstock/%s%s%s", pst_version(),
			 hooks != NULL && hooks->application != NULL ? " " : "",
			 hooks != NULL && hooks->application != NULL ? hooks->application : "");
	return set(info, "application_name", name, err);
}

pst_status
psti_conninfo_set(psti_conninfo *info, const char *keyword, const char *value, pst_error *err)
{
	return set(info, keyword, value, err);
}

pst_status
psti_conninfo_new(const psti_options *options, const char *database, const pst_hooks *hooks,
				  psti_conninfo *out, pst_error *err)
{
	const char *url = psti_opt_text(options, PSTI_OPT_URL);
	pst_status status = PST_OK;

	memset(out, 0, sizeof(*out));
	if (url != NULL && is_jdbc(url))
		status = read_jdbc(options, url, hooks, out, err);
	else if (url != NULL)
		status = read_libpq(options, url, out, err);
	if (status == PST_OK)
		status = set(out, "host", psti_opt_text(options, PSTI_OPT_HOSTNAME), err);
	if (status == PST_OK)
		status = set(out, "port", psti_opt_text(options, PSTI_OPT_PORT), err);
	if (status == PST_OK)
		status = set(out, "user", psti_opt_text(options, PSTI_OPT_USERNAME), err);
	if (status == PST_OK)
		status = set(out, "password", psti_opt_text(options, PSTI_OPT_PASSWORD), err);
	if (status == PST_OK)
		status = set(out, "dbname",
					 database != NULL ? database : psti_opt_text(options, PSTI_OPT_DATABASE), err);
	if (status == PST_OK)
		status = check_parts(options, out, err);
	if (status == PST_OK)
		status = set_application_name(options, hooks, out, err);
	if (status == PST_OK)
		status = set(out, "client_encoding", "UTF8", err);
	if (status != PST_OK)
		psti_conninfo_free(out);
	return status;
}
