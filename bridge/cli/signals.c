/* signals.c - SIGINT, SIGTERM, SIGHUP and the end of a command. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "args.h"
#include "signals.h"

/* What the handler touches: it has no argument, so these are the file's own. */
static pst_canceller *canceller; /* set before the handlers are installed */
static int wake[2] = {-1, -1};	 /* a pipe; a byte in it means stop */
static atomic_int exit_code;
static atomic_bool stopping;
static atomic_bool finishes_first; /* the first signal only asks */
static atomic_bool asked;
static char temporary[PATH_MAX];
static atomic_bool temporary_there;

static void
stop(int code)
{
	int expected = 0;

	if (code != 0)
		atomic_compare_exchange_strong(&exit_code, &expected, code);
	if (atomic_exchange(&stopping, true))
		return;
	pst_cancel(canceller);
	if (write(wake[1], "", 1) < 0)
	{
		/* The pipe is empty and ours: this cannot happen, and nothing could be done. */
	}
}

static void
on_signal(int signo)
{
	static atomic_bool again;
	int saved = errno;
	int expected = 0;

	if (atomic_load(&finishes_first) && !atomic_exchange(&asked, true))
	{
		atomic_compare_exchange_strong(&exit_code, &expected, CLI_EXIT_SIGNAL + signo);
		return;
	}
	if (atomic_exchange(&again, true))
	{
		signals_remove_temporary();
		_exit(CLI_EXIT_SIGNAL + signo);
	}
	stop(CLI_EXIT_SIGNAL + signo);
	errno = saved;
}

static bool
set_up_pipe(void)
{
	if (pipe(wake) != 0)
		return false;
	for (int i = 0; i < 2; i++)
	{
		if (fcntl(wake[i], F_SETFD, FD_CLOEXEC) != 0 || fcntl(wake[i], F_SETFL, O_NONBLOCK) != 0)
			return false;
	}
	return true;
}

bool
signals_install(pst_canceller *switch_to_throw)
{
	static const int stopped_by[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction before;

	canceller = switch_to_throw;
	if (!set_up_pipe())
		return false;
	sigemptyset(&action.sa_mask);
	sigemptyset(&ignore.sa_mask);
	for (size_t i = 0; i < sizeof(stopped_by) / sizeof(stopped_by[0]); i++)
	{
		/* nohup and background jobs of a script begin with a signal ignored: it stays so. */
		if (sigaction(stopped_by[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN)
			continue;
		if (sigaction(stopped_by[i], &action, NULL) != 0)
			return false;
	}
	return sigaction(SIGPIPE, &ignore, NULL) == 0;
}

void
signals_finish_first(void)
{
	atomic_store(&finishes_first, true);
}

bool
signals_asked(void)
{
	return atomic_load(&asked) || atomic_load(&stopping);
}

int
signals_fd(void)
{
	return wake[0];
}

void
signals_stop(int code)
{
	stop(code);
}

int
signals_exit_code(void)
{
	return atomic_load(&exit_code);
}

bool
signals_stopping(void)
{
	return atomic_load(&stopping);
}

void
signals_set_temporary(const char *path)
{
	atomic_store(&temporary_there, false);
	if (path == NULL)
		return;
	if ((size_t) snprintf(temporary, sizeof(temporary), "%s", path) < sizeof(temporary))
		atomic_store(&temporary_there, true);
}

void
signals_remove_temporary(void)
{
	if (atomic_exchange(&temporary_there, false))
		unlink(temporary);
}

bool
signals_pause(int timeout_ms)
{
	struct pollfd fd = {.fd = wake[0], .events = POLLIN};

	return poll(&fd, 1, timeout_ms) != 0 && signals_stopping();
}
