/*
 * signals.h - what SIGINT, SIGTERM, SIGHUP and a closed pipe do to a command.
 *
 * The first signal throws the canceller: every call of the library returns, the server's work is
 * stopped, open transactions are rolled back, and the command leaves with 128 + the signal. A
 * second one leaves at once. Waits of our own (input, output, pauses) also poll signals_fd.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <stdbool.h>

#include "penstock.h"

/* Installs the handlers; canceller is borrowed for the life of the process. */
bool signals_install(pst_canceller *canceller);

/*
 * For a command that can stop at any of its batches: from here on the first signal only asks, and the second
 * one does what is the first's otherwise.
 */
void signals_finish_first(void);

/* Whether a signal has asked to stop, or anything has stopped the command. */
bool signals_asked(void);

/* Becomes readable, and stays so, once the command is to stop. */
int signals_fd(void);

/*
 * Stops the command from inside: throws the canceller and fixes the exit code, unless an earlier
 * stop has. 0 as exit_code throws the canceller only: another message says why.
 */
void signals_stop(int exit_code);

/* The exit code that a signal or signals_stop has fixed, or 0. */
int signals_exit_code(void);

/* Whether anything asked to stop. */
bool signals_stopping(void);

/* A file to remove should a second signal end the process at once; NULL: none. Copied. */
void signals_set_temporary(const char *path);
void signals_remove_temporary(void);

/* Waits until the time has passed; true when woken early because the command is to stop. */
bool signals_pause(int timeout_ms);

#endif /* CLI_SIGNALS_H */
