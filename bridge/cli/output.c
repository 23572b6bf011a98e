/* output.c - where rows go: a file that appears when it is whole, or standard output. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "output.h"
#include "progress.h"
#include "signals.h"

/*
 * A write to a full pipe blocks, and a signal that arrives just before it would go unseen. So the
 * pipe is opened once more without blocking (that leaves the shell's own descriptor as it is);
 * where that cannot be done a write of PIPE_BUF bytes after poll does not block.
 */
static void
avoid_blocking(output *out)
{
	char self[64];
	struct stat st;
	int fd;

	if (fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode))
		return;
	out->chunk = PIPE_BUF;
	if (!S_ISFIFO(st.st_mode))
		return;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", out->fd);
	fd = open(self, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (out->own)
		close(out->fd);
	out->fd = fd;
	out->own = true;
	out->chunk = SIZE_MAX;
}

/* The mode that open() would give a new file, or that of the file that is replaced. */
static mode_t
file_mode(const char *path)
{
	struct stat st;
	mode_t mask;

	if (stat(path, &st) == 0)
		return st.st_mode & 0777;
	mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

static int
open_temporary(output *out)
{
	char *copy = cli_strdup(out->path);
	char *copy2 = cli_strdup(out->path);
	int result = 0;

	out->temporary = cli_format("%s/.%s.XXXXXX", dirname(copy), basename(copy2));
	free(copy);
	free(copy2);
	out->fd = mkstemp(out->temporary);
	if (out->fd < 0)
		return errno;
	out->own = true;
	signals_set_temporary(out->temporary);
	if (fcntl(out->fd, F_SETFD, FD_CLOEXEC) != 0 || fchmod(out->fd, file_mode(out->path)) != 0)
		result = errno;
	return result;
}

/* The name in a folder: slashes and leading dots of a table's name would lead elsewhere. */
static char *
path_in_folder(const char *folder, const char *name)
{
	char *path = cli_format("%s/%s", folder, name);
	char *at = path + strlen(folder) + 1;

	if (*at == '.')
		*at = '_';
	for (; *at != '\0'; at++)
	{
		if (*at == '/')
			*at = '_';
	}
	return path;
}

int
output_open(output *out, const char *path, const char *name)
{
	struct stat st;
	bool there;

	*out = (output){.fd = STDOUT_FILENO};
	if (path == NULL || strcmp(path, "-") == 0)
	{
		avoid_blocking(out);
		return 0;
	}
	there = stat(path, &st) == 0;
	if (there && S_ISDIR(st.st_mode))
	{
		out->path = path_in_folder(path, name);
		return open_temporary(out);
	}
	if (there && !S_ISREG(st.st_mode))
	{
		out->fd = open(path, O_WRONLY | O_CLOEXEC);
		if (out->fd < 0)
			return errno;
		out->own = true;
		avoid_blocking(out);
		return 0;
	}
	/* The name of a folder that is not there. */
	if (!there && path[0] != '\0' && path[strlen(path) - 1] == '/')
		return ENOENT;
	/* A link keeps pointing to its file: the file it names is the one that is replaced. */
	out->path = there ? realpath(path, NULL) : NULL;
	if (out->path == NULL)
		out->path = cli_strdup(path);
	return open_temporary(out);
}

bool
output_is_terminal(const char *path)
{
	return (path == NULL || strcmp(path, "-") == 0) && isatty(STDOUT_FILENO);
}

/* 0 when fd takes bytes, else an errno value. */
static int
wait_writable(int fd)
{
	struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT}, {.fd = signals_fd(), .events = POLLIN}};
	int n = poll(fds, 2, 0);

	if (n == 0)
	{
		progress_pause();
		do
			n = poll(fds, 2, -1);
		while (n < 0 && errno == EINTR && !signals_stopping());
		progress_resume();
	}
	if (signals_stopping())
		return ECANCELED;
	return n < 0 && errno != EINTR ? errno : 0;
}

int
output_write(void *ctx, const void *data, size_t nbytes)
{
	output *out = ctx;
	const char *at = data;

	while (nbytes > 0)
	{
		size_t n = out->chunk > 0 && nbytes > out->chunk ? out->chunk : nbytes;
		int result = out->chunk > 0 ? wait_writable(out->fd) : 0;
		ssize_t written;

		if (result != 0)
			return result;
		written = write(out->fd, at, n);
		if (written < 0 && (errno == EINTR || errno == EAGAIN))
		{
			if (signals_stopping())
				return ECANCELED;
			continue;
		}
		if (written < 0)
		{
			out->error = errno;
			out->closed_pipe = errno == EPIPE;
			return out->error;
		}
		progress_add(0, written);
		at += written;
		nbytes -= (size_t) written;
	}
	return 0;
}

/* A rename is on disk only when its folder is. */
static int
sync_folder(const char *path)
{
	char *copy = cli_strdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = 0;

	if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
		result = errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	return result;
}

int
output_close(output *out, bool keep)
{
	int result = 0;

	if (keep && out->temporary != NULL && fsync(out->fd) != 0)
		result = errno;
	if (out->own && out->fd >= 0 && close(out->fd) != 0 && result == 0)
		result = errno;
	if (out->temporary != NULL)
	{
		if (keep && result == 0 && rename(out->temporary, out->path) != 0)
			result = errno;
		if (!keep || result != 0)
			unlink(out->temporary);
		signals_set_temporary(NULL);
		if (keep && result == 0)
			result = sync_folder(out->path);
	}
	free(out->path);
	free(out->temporary);
	*out = (output){.fd = -1};
	return result;
}
