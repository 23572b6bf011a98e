/*
 * cancel.c - a switch that ends blocking calls: a pipe whose reading end is polled beside the
 * socket. Nobody reads from it, so it stays readable for every handle that shares it.
 */
#include "cancel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pst_canceller
{
	int read_fd;
	int write_fd;
	atomic_bool thrown;
};

pst_status
pst_canceller_new(pst_canceller **out, pst_error *err)
{
	pst_error full;
	pst_canceller *canceller;
	int fds[2];

	psti_enter(&full);
	*out = NULL;
	canceller = calloc(1, sizeof(*canceller));
	if (canceller == NULL)
		return psti_leave(err, &full, psti_fail_nomem(&full));
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		free(canceller);
		return psti_leave(err, &full,
						  psti_fail(&full, PST_ERR_IO, "cannot make a pipe (error %d)", errno));
	}
	canceller->read_fd = fds[0];
	canceller->write_fd = fds[1];
	atomic_init(&canceller->thrown, false);
	*out = canceller;
	return PST_OK;
}

/* Async-signal-safe: a lock-free store and write(). */
void
pst_cancel(pst_canceller *canceller)
{
	int saved = errno;
	ssize_t ignored;

	if (canceller == NULL)
		return;
	atomic_store(&canceller->thrown, true);
	ignored = write(canceller->write_fd, "x", 1);
	(void) ignored; /* a full pipe is readable already */
	errno = saved;
}

bool
pst_canceller_thrown(const pst_canceller *canceller)
{
	return canceller != NULL && atomic_load(&canceller->thrown);
}

int
psti_canceller_fd(const pst_canceller *canceller)
{
	return canceller == NULL ? -1 : canceller->read_fd;
}

void
pst_canceller_free(pst_canceller *canceller)
{
	if (canceller == NULL)
		return;
	close(canceller->read_fd);
	close(canceller->write_fd);
	free(canceller);
}
