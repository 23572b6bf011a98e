/* input.c - where rows come from: a file or standard input, which may pause. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input.h"
#include "progress.h"
#include "signals.h"

/* A pause as short as this is not told to the decoder: batches stay large. */
#define PAUSE_MS 20

int
input_open(input *in, const char *path)
{
	struct stat st;

	*in = (input){.fd = STDIN_FILENO};
	if (path != NULL && strcmp(path, "-") != 0)
	{
		in->fd = open(path, O_RDONLY | O_CLOEXEC);
		if (in->fd < 0)
			return errno;
		in->own = true;
	}
	if (fstat(in->fd, &st) != 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		return EISDIR;
	in->pausing = !S_ISREG(st.st_mode);
	return 0;
}

void
input_close(input *in)
{
	if (in->own && in->fd >= 0)
		close(in->fd);
	in->fd = -1;
}

int64_t
input_size(const input *in)
{
	struct stat st;
	off_t at;

	if (in->pausing || fstat(in->fd, &st) != 0)
		return -1;
	at = lseek(in->fd, 0, SEEK_CUR);
	return at >= 0 && at <= st.st_size ? st.st_size - at : -1;
}

/* Whether there is something to read, the end included, within the time. */
static bool
ready(const input *in, int timeout_ms)
{
	struct pollfd fds[2] = {{.fd = in->fd, .events = POLLIN},
							{.fd = signals_fd(), .events = POLLIN}};

	return poll(fds, 2, timeout_ms) > 0 && fds[0].revents != 0;
}

void
input_wait(const input *in, int timeout_ms)
{
	progress_pause();
	ready(in, timeout_ms);
	progress_resume();
}

int
input_read(void *ctx, void *data, size_t nbytes, size_t *nread)
{
	input *in = ctx;

	for (;;)
	{
		ssize_t n;

		if (signals_stopping())
			return ECANCELED;
		if (in->pausing && !ready(in, PAUSE_MS))
			return signals_stopping() ? ECANCELED : EAGAIN;
		n = read(in->fd, data, nbytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		*nread = (size_t) n;
		progress_add(0, n);
		return 0;
	}
}
