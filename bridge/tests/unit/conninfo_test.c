/* conninfo_test.c - URLs of three kinds as libpq's keywords. */
#include "test.h"

#include "alloc.h"
#include "conninfo.h"

static char logged[1024];

static void
take_log(void *ctx, pst_log_level level, const char *message)
{
	(void) ctx;
	if (level == PST_LOG_WARNING)
		snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "%s\n", message);
}

static pst_status
read_pairs(const char *const *keys, const char *const *values, psti_conninfo *info, pst_error *err)
{
	pst_hooks hooks = PST_HOOKS_INIT;
	psti_options *options;
	pst_status status;

	hooks.log = take_log;
	hooks.application = "test";
	logged[0] = '\0';
	psti_enter(err);
	status = psti_options_new(keys, values, PSTI_SOURCE, &hooks, &options, err);
	if (status == PST_OK)
		status = psti_conninfo_new(options, NULL, &hooks, info, err);
	psti_options_free(options);
	return status;
}

static pst_status
read_url(const char *url, psti_conninfo *info, pst_error *err)
{
	const char *keys[] = {"url", NULL};
	const char *values[] = {url, NULL};

	return read_pairs(keys, values, info, err);
}

/* The URL gives each of these keyword=value pairs (separated by |; value - means: not set). */
static void
expect(const char *url, const char *pairs)
{
	char text[512];
	psti_conninfo info;
	pst_error err;

	assert_ok(read_url(url, &info, &err), &err);
	snprintf(text, sizeof(text), "%s", pairs);
	for (char *pair = strtok(text, "|"); pair != NULL; pair = strtok(NULL, "|"))
	{
		char *value = strchr(pair, '=');
		const char *got;

		*value++ = '\0';
		got = psti_conninfo_get(&info, pair);
		if (strcmp(value, "-") == 0 ? got != NULL : got == NULL || strcmp(got, value) != 0)
			fail_msg("%s: %s is \"%s\", not \"%s\"", url, pair, got == NULL ? "(not set)" : got,
					 value);
	}
	psti_conninfo_free(&info);
}

static void
libpq_uris_and_keyword_strings_are_taken_as_they_are(void **state)
{
	(void) state;
	expect("postgresql://joe:pw@db.example:5433/shop?sslmode=require",
		   "host=db.example|port=5433|user=joe|password=pw|dbname=shop|sslmode=require");
	expect("postgres://h/d", "host=h|dbname=d|user=-|port=-");
	expect("host=a,b port=1,2 dbname='my db'", "host=a,b|port=1,2|dbname=my db");
	expect("host=h port=' 5432'", "port= 5432");
	expect("host=h port=005432", "port=005432");
	expect("host=a,b,c,d port='0001 ,, 65535\t,2'", "port=0001 ,, 65535\t,2");
	expect("", "host=-|client_encoding=UTF8");
	expect("service=prod", "service=prod|host=-");
}

static void
jdbc_urls_name_hosts_ports_and_database(void **state)
{
	(void) state;
	expect("jdbc:postgresql://pg-host:5432/ecommerce", "host=pg-host|port=5432|dbname=ecommerce");
	expect("jdbc:postgresql://pg-host/", "host=pg-host|port=5432|dbname=-");
	expect("jdbc:postgresql:shop", "host=localhost|dbname=shop");
	expect("jdbc:postgresql://a:1,b,c:3/d", "host=a,b,c|port=1,5432,3|dbname=d");
	expect("jdbc:postgresql://[::1]:5433/d", "host=::1|port=5433");
	expect("jdbc:postgresql://[::1]/d", "host=::1|port=5432");
	expect("jdbc:postgresql://h/a%20b%2Fc", "dbname=a b/c");
}

static void
jdbc_parameters_are_mapped(void **state)
{
	(void) state;
	expect("jdbc:postgresql://h/d?user=u&password=p%26q", "user=u|password=p&q");
	expect("jdbc:postgresql://h/d?ssl=true", "sslmode=verify-full");
	expect("jdbc:postgresql://h/d?ssl", "sslmode=verify-full");
	expect("jdbc:postgresql://h/d?ssl=false", "sslmode=-");
	expect("jdbc:postgresql://h/d?sslmode=verify-ca&ssl=true", "sslmode=verify-ca");
	expect("jdbc:postgresql://h/d?sslrootcert=/a/b&sslcert=c&sslkey=k&sslpassword=s",
		   "sslrootcert=/a/b|sslcert=c|sslkey=k|sslpassword=s");
	expect("jdbc:postgresql://h/d?currentSchema=a,\"B%20c\"", "options=-c search_path=a,\"B\\ c\"");
	expect("jdbc:postgresql://h/d?currentSchema=s&options=-c%20geqo=off&readOnly=true",
		   "options=-c search_path=s -c geqo=off -c default_transaction_read_only=on");
	expect("jdbc:postgresql://h/d?ApplicationName=my+app", "application_name=my app");
	expect("jdbc:postgresql://h/d?connectTimeout=7", "connect_timeout=7");
	expect("jdbc:postgresql://h/d?tcpKeepAlive=true", "keepalives=1");
	expect("jdbc:postgresql://a,b/d?targetServerType=primary", "target_session_attrs=primary");
	expect("jdbc:postgresql://a,b/d?targetServerType=preferSecondary",
		   "target_session_attrs=prefer-standby");
	assert_string_equal(logged, "");
}

static void
socket_timeout_is_kept_in_milliseconds(void **state)
{
	psti_conninfo info;
	pst_error err;

	(void) state;
	assert_ok(read_url("jdbc:postgresql://h/d?socketTimeout=30", &info, &err), &err);
	assert_int_equal(info.socket_timeout_ms, 30000);
	psti_conninfo_free(&info);
	assert_fails(read_url("jdbc:postgresql://h/d?socketTimeout=soon", &info, &err), PST_ERR_INVALID,
				 &err);
}

static void
a_connect_timeout_that_is_no_number_is_an_error_that_names_it(void **state)
{
	static const char *const faults[][2] = {
		{"jdbc:postgresql://h/d?connectTimeout=geheim", "connectTimeout of the JDBC URL"},
		{"jdbc:postgresql://h/d?loginTimeout=2s", "loginTimeout of the JDBC URL"},
		{"postgresql://h/d?connect_timeout=geheim", "connect_timeout is"},
		{"host=h connect_timeout=99999999999", "connect_timeout is"},
	};
	psti_conninfo info;
	pst_error err;

	(void) state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		assert_fails(read_url(faults[i][0], &info, &err), PST_ERR_INVALID, &err);
		assert_contains(err.message, faults[i][1]);
		assert_null(strstr(err.message, "geheim"));
	}
	expect("jdbc:postgresql://h/d?connectTimeout=-1", "connect_timeout=-1");
	expect("host=h connect_timeout=' 0 '", "connect_timeout= 0 ");
}

static void
jdbc_parameters_without_a_meaning_are_warned_of(void **state)
{
	(void) state;
	expect("jdbc:postgresql://h/d?frobnicate=1", "dbname=d");
	assert_contains(logged, "frobnicate");
	expect("jdbc:postgresql://h/d?prepareThreshold=0", "dbname=d");
	assert_contains(logged, "prepareThreshold");
	expect("jdbc:postgresql://h:1/d?user=u&logUnclosedConnections", "dbname=d|user=u");
	assert_contains(logged, "logUnclosedConnections");
	expect("jdbc:postgresql://h/d?currentSchema=a%20b&logUnclosedConnections", "dbname=d");
	expect("jdbc:postgresql://h:1/d?user=u&jaasLogin=a@b", "dbname=d|user=u");
	assert_contains(logged, "a parameter of the JDBC URL");
	assert_null(strstr(logged, "a@b"));
	expect("jdbc:postgresql://h/d?cloudSqlTargetPrincipal=sa@project&user=u&flag&ssl", "user=u");
	expect("jdbc:postgresql://h/d?targetServerType=preferPrimary", "target_session_attrs=-");
	assert_contains(logged, "preferPrimary");
}

static void
malformed_urls_are_errors_without_the_secret(void **state)
{
	static const char *const urls[] = {
		"postgresql://joe:hunter2@[bad/x",
		"hunter2",
		"host",
		"jdbc:postgresql://h/%zz?p=hunter2",
		"jdbc:postgresql://h/d?password=hunter2%",
		"jdbc:postgresql://[::1/d?hunter2",
		"host='hunter2",
	};
	psti_conninfo info;
	pst_error err;

	(void) state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
	{
		assert_fails(read_url(urls[i], &info, &err), PST_ERR_INVALID, &err);
		assert_null(strstr(err.message, "hunter2"));
		assert_null(strstr(err.detail, "hunter2"));
		assert_null(strstr(err.hint, "hunter2"));
		assert_contains(err.message, "\"url\"");
	}
}

static void
malformed_urls_are_told_what_is_wrong_where_that_is_no_secret(void **state)
{
	static const struct
	{
		const char *url;
		const char *message;
	} faults[] = {
		{"mydb", "is a bare word"},
		{"dbname=a bogus=1", "has an unknown parameter \"bogus\""},
		{"postgresql://h/a?foo=bar", "has an unknown parameter \"foo\""},
		{"host=a dbname", "lacks a \"=\" behind \"dbname\""},
		{"postgresql://h/a?foo", "lacks a \"=\" behind \"foo\""},
		{"mysql://h/a", "begins with neither postgresql:// nor jdbc:postgresql:"},
		{"jdbc:mysql://h/a?x=1", "begins with neither postgresql:// nor jdbc:postgresql:"},
		{"postgres//h/a", "begins with neither postgresql:// nor jdbc:postgresql:"},
		{"host='a", "has a quote that does not close"},
		{"postgresql://h/a%zz", "has a malformed %XX"},
		{"postgresql://[::1/a", "without its closing bracket"},
		{"host=a password=my hunter2=x", "has an unknown parameter"},
		{"password=my hunter2", "has a parameter without a \"=\""},
		{"postgresql://u:pa/ss?hunter2=y@host/db", "has an unknown parameter"},
		{"postgresql://h/a?password=b&hunter2", "has a parameter without a \"=\""},
		{"postgresql://h/a?%70assword=b&hunter2", "has a parameter without a \"=\""},
		{"postgresql://h/a?sslmod=b&password=hunter2", "has an unknown parameter \"sslmod\""},
		{"postgresql://u:a@hunter2@h/db", "stands unencoded"},
		{"postgresql://u:hunter2/a@h/db", "stands unencoded"},
		{"postgresql://h/db@hunter2", "stands unencoded"},
		{"postgresql://h?user=a@b", "stands unencoded"},
		{"postgresql://u:hunter2", "a port that is no number from 1 to 65535"},
		{"postgresql://h:0,h:99999/db", "a port that is no number from 1 to 65535"},
		{"host=h port=' '", "a port that is no number from 1 to 65535"},
		{"host=h port='54 32'", "a port that is no number from 1 to 65535"},
		{"host=h port=0065536", "a port that is no number from 1 to 65535"},
		{"host=h port=000", "a port that is no number from 1 to 65535"},
		{"jdbc:postgresql://u:hunter2@h/db", "stands unencoded"},
		{"jdbc:postgresql://u:hunter2/db", "a port that is no number from 1 to 65535"},
		{"jdbc:postgresql://h/db?password=a&hunter2", "has a parameter without a \"=\""},
		{"jdbc:postgresql://h/db?password=a&user=u&hunter2", "has a parameter without a \"=\""},
		{"jdbc:postgresql://h/db?pass%77ord=a&b=hunter2@c", "stands unencoded"},
		{"jdbc:postgresql://u:1/hunter2?a=b@h/db", "stands unencoded"},
		{"jdbc:postgresql://u:1/hunter2?a=b@h", "stands unencoded"},
		{"jdbc:postgresql://u:1/hunter2?user=b&a=b@h/db", "stands unencoded"},
		{"jdbc:postgresql://u:1/hunter2?user=b&a@h", "has a parameter without a \"=\""},
		{"jdbc:postgresql://u:1/hunter2?a&b@h/db", "has a parameter without a \"=\""},
		{"jdbc:postgresql:db?hunter2", "has a parameter without a \"=\""},
		{"jdbc:postgresql://h/db?=hunter2", "has a parameter without a name"},
		{"jdbc:postgresql://u:1?hunter2=b@h/db", "stands unencoded"},
		{"dbname=postgresql://u:hunter2@h/db", "is a URI"},
	};
	psti_conninfo info;
	pst_error err;

	(void) state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		assert_fails(read_url(faults[i].url, &info, &err), PST_ERR_INVALID, &err);
		assert_contains(err.message, faults[i].message);
		assert_true(err.hint[0] != '\0');
		assert_null(strstr(err.message, "hunter2"));
	}
}

/* Whether a text has any three neighbouring characters of the secret. */
static bool
tells(const char *text, const char *secret)
{
	char piece[4] = "";

	for (size_t i = 0; i + 3 <= strlen(secret); i++)
	{
		memcpy(piece, secret + i, 3);
		if (strstr(text, piece) != NULL)
			return true;
	}
	return false;
}

/*
 * Neither an error nor a warning tells a piece of the secret; and where the URL is taken, no piece of
 * it is in what libpq's messages name: host, port, role, database.
 */
static void
keeps_secret(const char *url, const char *secret)
{
	psti_conninfo info;
	pst_error err;

	if (read_url(url, &info, &err) != PST_OK)
	{
		if (tells(err.message, secret) || tells(err.detail, secret) || tells(err.hint, secret))
			fail_msg("%s: %s; %s; %s", url, err.message, err.detail, err.hint);
		assert_string_not_equal(err.hint, "");
	}
	else
	{
		for (size_t i = 0; i < info.count; i++)
			if (strstr(info.keywords[i], "password") == NULL && tells(info.values[i], secret))
				fail_msg("%s: %s is \"%s\"", url, info.keywords[i], info.values[i]);
		psti_conninfo_free(&info);
	}
	if (tells(logged, secret))
		fail_msg("%s: %s", url, logged);
}

static void
no_piece_of_a_password_is_told_whatever_stands_in_it(void **state)
{
	static const char *const urls[] = {
		"postgresql://joe:%s@db.example/shop",
		"postgres://joe:%s@db.example:5433/shop?sslmode=prefer",
		"postgresql://joe:%s@[::1]:5433/shop",
		"postgresql://joe:%s@a,b/shop?bogus=1",
		"postgresql://joe:%s@/shop?host=/tmp",
		"postgresql://db.example?password=%s",
		"postgresql://db.example/shop?password=%s",
		"postgresql://db.example/shop?user=joe&%70assword=%s&sslmode=prefer",
		"postgresql://joe@db.example/shop?sslpassword=%s&bogus=1",
		"postgresql://joe:pw@db.example/shop?sslmode=prefer&password=%s",
		"jdbc:postgresql://joe:%s@db.example/shop",
		"jdbc:postgresql://joe:%s@db.example/shop?ssl=true",
		"jdbc:postgresql://db.example/shop?user=joe&password=%s",
		"jdbc:postgresql://db.example/shop?pass%77ord=%s&user=joe@corp&bogus=1",
		"jdbc:postgresql:shop?password=%s&ssl",
		"host=db.example password=%s dbname=shop",
		"host=db.example password = '%s dbname=shop",
		"dbname=postgresql://joe:%s@db.example/shop",
		"jdbc:mysql://joe:%s@db.example/shop",
		"postgresql//joe:%s@db.example/shop",
	};
	static const char special[] = "@/&?#%=:[ '";
	static const char *const words[] = {"s3cr3t!", "4711", "xq7zw", "47"};
	char secret[64];
	char url[256];

	(void) state;
	for (size_t u = 0; u < sizeof(urls) / sizeof(urls[0]); u++)
	{
		const char *mark = strstr(urls[u], "%s");

		for (size_t i = 0; i < 16 * 11 * 12; i++)
		{
			/* word special [special] word, and the same once more behind it. */
			const char *first = words[i % 4];
			const char *second = words[i / 4 % 4];
			char one = special[i / 16 % 11];
			char two = special[i / 16 / 11 % 12];

			snprintf(secret, sizeof(secret), "%s%c%s%c%s%.1s", first, one, second,
					 two == '\0' ? one : two, first, i % 3 == 0 ? &one : "");
			snprintf(url, sizeof(url), "%.*s%s%s", (int) (mark - urls[u]), urls[u], secret,
					 mark + 2);
			keeps_secret(url, secret);
		}
		snprintf(url, sizeof(url), "%.*ss3cr3t!@/&?#%%%s", (int) (mark - urls[u]), urls[u],
				 mark + 2);
		keeps_secret(url, "s3cr3t!@/&?#%");
	}
}

static void
options_of_their_own_win_over_the_url(void **state)
{
	const char *keys[] = {"url",  "username",	   "password",		   "hostname",
						  "port", "database-name", "application-name", NULL};
	const char *values[] = {"postgresql://a:b@c:1/d", "u", "p", "h", "2", "db", "app", NULL};
	psti_conninfo info;
	pst_error err;

	(void) state;
	assert_ok(read_pairs(keys, values, &info, &err), &err);
	assert_string_equal(psti_conninfo_get(&info, "user"), "u");
	assert_string_equal(psti_conninfo_get(&info, "password"), "p");
	assert_string_equal(psti_conninfo_get(&info, "host"), "h");
	assert_string_equal(psti_conninfo_get(&info, "port"), "2");
	assert_string_equal(psti_conninfo_get(&info, "dbname"), "db");
	assert_string_equal(psti_conninfo_get(&info, "application_name"), "app");
	psti_conninfo_free(&info);
}

static void
the_application_name_tells_version_and_command(void **state)
{
	(void) state;
	expect("host=h", "application_name=penstock/0.1.0 test");
}

static pst_status
read_long_url(void *ctx, pst_error *err)
{
	psti_conninfo info;
	pst_status status =
		read_url("jdbc:postgresql://a:1,b/d?user=u&currentSchema=s&options=x&ssl=1", &info, err);

	(void) ctx;
	if (status == PST_OK)
		psti_conninfo_free(&info);
	return status;
}

static void
every_failing_allocation_is_reported(void **state)
{
	(void) state;
	assert_true(psti_test_alloc_sweep(read_long_url, NULL) > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libpq_uris_and_keyword_strings_are_taken_as_they_are),
		cmocka_unit_test(jdbc_urls_name_hosts_ports_and_database),
		cmocka_unit_test(jdbc_parameters_are_mapped),
		cmocka_unit_test(socket_timeout_is_kept_in_milliseconds),
		cmocka_unit_test(a_connect_timeout_that_is_no_number_is_an_error_that_names_it),
		cmocka_unit_test(jdbc_parameters_without_a_meaning_are_warned_of),
		cmocka_unit_test(malformed_urls_are_errors_without_the_secret),
		cmocka_unit_test(malformed_urls_are_told_what_is_wrong_where_that_is_no_secret),
		cmocka_unit_test(no_piece_of_a_password_is_told_whatever_stands_in_it),
		cmocka_unit_test(options_of_their_own_win_over_the_url),
		cmocka_unit_test(the_application_name_tells_version_and_command),
		cmocka_unit_test(every_failing_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
