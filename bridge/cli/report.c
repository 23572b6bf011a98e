/* report.c - everything the command says on standard error. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "memory.h"
#include "report.h"
#include "signals.h"
#include "words.h"

#define MAX_SECRETS 16
#define LINE_BYTES 4096

/* Standard error is one place for the whole process, so is this. */
static struct
{
	pthread_mutex_t lock;
	const cli_command *command;
	bool quiet;
	bool json;
	bool terminal;
	char live[512]; /* as drawn now; "" when there is none */
	char *secrets[MAX_SECRETS];
	size_t nsecrets;
	char **said; /* by report_once */
	size_t nsaid;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const char *const level_names[] = {"debug", "info", "warning", "error"};
#define LEVEL_ERROR 3

void
report_init(const cli_command *command, bool quiet, bool json)
{
	const char *term = getenv("TERM");

	self.command = command;
	self.quiet = quiet;
	self.json = json;
	self.terminal = isatty(STDERR_FILENO) && !(term != NULL && strcmp(term, "dumb") == 0);
}

void
report_secret(const char *secret, size_t len)
{
	/* Masking very short ones would tear ordinary words apart, and hide nothing. */
	if (len < 4 || self.nsecrets == MAX_SECRETS)
		return;
	self.secrets[self.nsecrets] = cli_alloc(len + 1);
	memcpy(self.secrets[self.nsecrets++], secret, len);
}

bool
report_is_quiet(void)
{
	return self.quiet;
}

bool
report_has_live_line(void)
{
	return self.terminal && !self.json && !self.quiet;
}

/* Overwrites every secret in text with asterisks. */
static void
mask(char *text)
{
	for (size_t i = 0; i < self.nsecrets; i++)
	{
		size_t len = strlen(self.secrets[i]);
		char *at = text;

		while ((at = strstr(at, self.secrets[i])) != NULL)
		{
			memset(at, '*', len);
			at += len;
		}
	}
}

void
report_json_string(FILE *out, const char *text)
{
	putc('"', out);
	for (const unsigned char *at = (const unsigned char *) text; *at != '\0'; at++)
	{
		if (*at == '"' || *at == '\\')
			fprintf(out, "\\%c", *at);
		else if (*at == '\n')
			fputs("\\n", out);
		else if (*at < 0x20)
			fprintf(out, "\\u%04x", *at);
		else
			putc(*at, out);
	}
	putc('"', out);
}

static void
erase_live(void)
{
	if (self.live[0] != '\0')
		fputs("\r\033[K", stderr);
}

static void
draw_live(void)
{
	if (self.live[0] != '\0')
		fprintf(stderr, "\r\033[K%s", self.live);
}

/* Cuts to the terminal's width, so that the line stays one line. */
static void
fit_to_terminal(char *text)
{
	struct winsize size;
	size_t columns = 80;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		columns = size.ws_col;
	if (strlen(text) >= columns)
		text[columns - 1] = '\0';
}

void
report_live(const char *text)
{
	if (!report_has_live_line())
		return;
	pthread_mutex_lock(&self.lock);
	if (text == NULL)
	{
		erase_live();
		self.live[0] = '\0';
	}
	else
	{
		snprintf(self.live, sizeof(self.live), "%s", text);
		fit_to_terminal(self.live);
		draw_live();
	}
	fflush(stderr);
	pthread_mutex_unlock(&self.lock);
}

static void
print_json_head(int level)
{
	char stamp[32];
	struct timespec now;
	struct tm parts;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &parts);
	fprintf(stderr, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\"", stamp, now.tv_nsec / 1000000,
			level_names[level]);
	if (self.command != NULL)
		fprintf(stderr, ",\"command\":\"%s\"", self.command->name);
}

/* One line, already masked. fields: further members of the json form, or NULL. Lock held. */
static void
print_line(int level, const char *event, const char *fields, const char *text)
{
	erase_live();
	if (self.json)
	{
		print_json_head(level);
		if (event != NULL)
			fprintf(stderr, ",\"event\":\"%s\"", event);
		fputs(",\"message\":", stderr);
		report_json_string(stderr, text);
		if (fields != NULL && fields[0] != '\0')
			fprintf(stderr, ",%s", fields);
		fputs("}\n", stderr);
	}
	else
		fprintf(stderr, "penstock: %s%s\n",
				level == LEVEL_ERROR	   ? "error: "
				: level == PST_LOG_WARNING ? "warning: "
										   : "",
				text);
	draw_live();
	fflush(stderr);
}

static void say(int level, const char *event, const char *fields, const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));

static void
say(int level, const char *event, const char *fields, const char *fmt, va_list ap)
{
	char text[LINE_BYTES];

	if (level <= PST_LOG_INFO && self.quiet)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	pthread_mutex_lock(&self.lock);
	mask(text);
	print_line(level, event, fields, text);
	pthread_mutex_unlock(&self.lock);
}

void
report_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(PST_LOG_INFO, NULL, NULL, fmt, ap);
	va_end(ap);
}

void
report_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(PST_LOG_WARNING, NULL, NULL, fmt, ap);
	va_end(ap);
}

void
report_skipped(long long rows)
{
	report_warning("%lld %s left out, as on-error=skip says", rows,
				   rows == 1 ? "row was" : "rows were");
}

void
report_failure(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(LEVEL_ERROR, NULL, NULL, fmt, ap);
	va_end(ap);
}

int
report_output(int exit_code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_code;
	clearerr(stdout); /* told once */
	if (errno == EPIPE)
		return CLI_EXIT_PIPE;
	if (exit_code != CLI_EXIT_OK)
		return exit_code;
	report_failure("cannot write the output: %s", strerror(errno));
	return CLI_EXIT_FAILED;
}

void
report_event(const char *event, const char *fields, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(PST_LOG_INFO, event, fields, fmt, ap);
	va_end(ap);
}

/* Whether this message was said before; remembers it. Lock held. */
static bool
said_before(const char *message)
{
	for (size_t i = 0; i < self.nsaid; i++)
	{
		if (strcmp(self.said[i], message) == 0)
			return true;
	}
	self.said = cli_realloc(self.said, (self.nsaid + 1) * sizeof(*self.said));
	self.said[self.nsaid++] = cli_strdup(message);
	return false;
}

void
report_once(pst_log_level level, const char *message)
{
	char text[LINE_BYTES];

	if (level < PST_LOG_INFO || (level == PST_LOG_INFO && self.quiet))
		return;
	words_translate(self.command, message, text, sizeof(text));
	pthread_mutex_lock(&self.lock);
	mask(text);
	if (!said_before(text))
		print_line((int) level, NULL, NULL, text);
	pthread_mutex_unlock(&self.lock);
}

/* The parts of an error besides its message. text: how they are named to people, or NULL. */
static const struct error_part
{
	const char *json;
	const char *text;
	size_t offset;
} error_parts[] = {
	{"sqlstate", "sqlstate", offsetof(pst_error, sqlstate)},
	{"detail", "detail", offsetof(pst_error, detail)},
	{"schema", NULL, offsetof(pst_error, schema)},
	{"table", NULL, offsetof(pst_error, table)},
	{"column", "column", offsetof(pst_error, column)},
	{"constraint", "constraint", offsetof(pst_error, constraint)},
	{"key", "row", offsetof(pst_error, key)},
	{"hint", "hint", offsetof(pst_error, hint)},
};

static void
print_error_json(const pst_error *err)
{
	print_json_head(LEVEL_ERROR);
	fprintf(stderr,
			",\"event\":\"error\",\"status\":\"%s\",\"message\":", pst_status_name(err->status));
	report_json_string(stderr, err->message);
	for (size_t i = 0; i < sizeof(error_parts) / sizeof(error_parts[0]); i++)
	{
		const char *value = (const char *) err + error_parts[i].offset;

		if (value[0] == '\0')
			continue;
		fprintf(stderr, ",\"%s\":", error_parts[i].json);
		report_json_string(stderr, value);
	}
	if (err->row >= 0)
		fprintf(stderr, ",\"row\":%lld", (long long) err->row);
	fprintf(stderr, ",\"retryable\":%s}\n", err->retryable ? "true" : "false");
}

static void
print_error_text(const pst_error *err, long long record)
{
	fprintf(stderr, "penstock: error: %s\n",
			err->message[0] != '\0' ? err->message : pst_status_name(err->status));
	for (size_t i = 0; i < sizeof(error_parts) / sizeof(error_parts[0]); i++)
	{
		const char *value = (const char *) err + error_parts[i].offset;

		if (error_parts[i].text != NULL && value[0] != '\0')
			fprintf(stderr, "  %s: %s\n", error_parts[i].text, value);
		if (error_parts[i].offset == offsetof(pst_error, key) && record > 0)
			fprintf(stderr, "  record: %lld\n", record);
	}
}

/* In the command's words. */
static void
translate_error(const pst_error *err, pst_error *out)
{
	words_translate(self.command, err->message, out->message, sizeof(out->message));
	words_translate(self.command, err->detail, out->detail, sizeof(out->detail));
	words_translate(self.command, err->hint, out->hint, sizeof(out->hint));
}

static void
mask_error(pst_error *err)
{
	mask(err->message);
	mask(err->detail);
	mask(err->hint);
	mask(err->key);
}

void
report_error(const pst_error *err, long long record)
{
	pst_error copy = *err;

	/* Whoever pressed Ctrl-C or closed the pipe knows why it ended. */
	if (err->status == PST_ERR_CANCELED && signals_stopping() && signals_exit_code() != 0)
		return;
	if (signals_exit_code() == CLI_EXIT_PIPE)
		return;
	translate_error(err, &copy);
	pthread_mutex_lock(&self.lock);
	mask_error(&copy);
	erase_live();
	if (self.json)
		print_error_json(&copy);
	else
		print_error_text(&copy, record);
	draw_live();
	fflush(stderr);
	pthread_mutex_unlock(&self.lock);
}

void
report_usage(const char *text, const char *command)
{
	char line[LINE_BYTES];

	snprintf(line, sizeof(line), "%s", text);
	mask(line);
	if (self.json)
		print_line(LEVEL_ERROR, "usage", NULL, line);
	else
		fprintf(stderr, "penstock%s%s: %s\nTry \"penstock%s%s --help\".\n",
				command != NULL ? " " : "", command != NULL ? command : "", line,
				command != NULL ? " " : "", command != NULL ? command : "");
}

int
report_exit_code(pst_status status)
{
	if (signals_exit_code() != 0)
		return signals_exit_code();
	if (status >= 0)
		return CLI_EXIT_OK;
	if (status == PST_ERR_INVALID)
		return CLI_EXIT_USAGE;
	return status == PST_ERR_FENCED ? CLI_EXIT_FENCED : CLI_EXIT_FAILED;
}

int
report_failed(pst_status status, const pst_error *err)
{
	report_error(err, 0);
	return report_exit_code(status);
}
