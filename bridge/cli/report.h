/*
 * report.h - everything the command says on standard error, in text or as json lines.
 *
 * On a terminal one live line stands below the messages. All functions may be called from any
 * thread. Secrets that were seen on the command line are masked in whatever is said.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "penstock.h"

struct cli_command;

/* command may be NULL before it is known; borrowed. Its options give messages their words. */
void report_init(const struct cli_command *command, bool quiet, bool json);

/* A password that must not appear in any line; copied. */
void report_secret(const char *secret, size_t len);

bool report_is_quiet(void);

/* Whether a live line can be drawn: a terminal, text form, not quiet. */
bool report_has_live_line(void);

/* Draws the live line anew; NULL takes it away. */
void report_live(const char *text);

/* A line for the user: info is left out by --quiet. */
void report_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void report_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A warning of rows that on-error=skip has left out. */
void report_skipped(long long rows);

/* The same for what may come several times, from several workers: said once. */
void report_once(pst_log_level level, const char *message);

/* An info line whose json form has further members: `fields` is a text like `"rows":1,"jobs":2`. */
void report_event(const char *event, const char *fields, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * What failed, with everything that is known of it. Says nothing when the command was stopped. record
 * is that of the input, from 1, or 0.
 */
void report_error(const pst_error *err, long long record);

/* The same for errors that have nothing but a message. */
void report_failure(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Writes out what stdio holds of standard output; gives exit_code, or another where that failed: a
 * list that did not reach the disk is no success. To be called right after printing: stdio keeps no
 * cause, and closing a connection overwrites errno.
 */
int report_output(int exit_code);

/* "penstock COMMAND: text", and where the help is. */
void report_usage(const char *text, const char *command);

/* The exit code that a status stands for, a signal or closed pipe before all else. */
int report_exit_code(pst_status status);

/* report_error and report_exit_code in one. */
int report_failed(pst_status status, const pst_error *err);

/* Writes a text as a json string. */
void report_json_string(FILE *out, const char *text);

#endif /* CLI_REPORT_H */
