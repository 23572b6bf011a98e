/* position_file.c - where `penstock cdc --position-file` keeps how far it has come. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "answer.h"
#include "memory.h"
#include "position_file.h"
#include "report.h"

/* A position of ten thousand tables is far below. */
#define MOST_BYTES (256 << 20)

static pst_status fail(pst_error *err, pst_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static pst_status
fail(pst_error *err, pst_status status, const char *fmt, ...)
{
	va_list ap;

	*err = (pst_error) PST_ERROR_INIT;
	err->status = status;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return status;
}

/* ---- The lock ---- */

/* Whether the locked file still is the one of that name: its last owner may have taken it away. */
static bool
is_named(int fd, const char *path)
{
	struct stat mine;
	struct stat named;

	return fstat(fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_dev == named.st_dev &&
		   mine.st_ino == named.st_ino;
}

static pst_status
in_use(const position_file *file, int fd, pst_error *err)
{
	char pid[24] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? n : 0] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
	fail(err, PST_ERR_FENCED, "position file \"%s\" is in use", file->path);
	snprintf(err->detail, sizeof(err->detail), "Process %s works with it.",
			 pid[0] != '\0' ? pid : "(unknown)");
	snprintf(
		err->hint, sizeof(err->hint),
		"One capture has one position file: wait for that process to end, or give another file.");
	return PST_ERR_FENCED;
}

static pst_status
lock(position_file *file, pst_error *err)
{
	char pid[24];

	for (;;)
	{
		int fd = open(file->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		pst_status status;

		if (fd < 0)
			return fail(err, PST_ERR_IO, "cannot open \"%s\": %s", file->lock_path,
						strerror(errno));
		if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		{
			status = errno == EWOULDBLOCK ? in_use(file, fd, err)
										  : fail(err, PST_ERR_IO, "cannot lock \"%s\": %s",
												 file->lock_path, strerror(errno));
			close(fd);
			return status;
		}
		if (!is_named(fd, file->lock_path))
		{
			close(fd);
			continue;
		}
		file->lock = fd;
		/* For the message above only. */
		snprintf(pid, sizeof(pid), "%ld\n", (long) getpid());
		if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
			return fail(err, PST_ERR_IO, "cannot write \"%s\": %s", file->lock_path,
						strerror(errno));
		return PST_OK;
	}
}

/* ---- Reading ---- */

static pst_status
damaged(const position_file *file, const char *what, pst_error *err)
{
	fail(err, PST_ERR_DATA, "\"%s\" %s", file->path, what);
	snprintf(
		err->hint, sizeof(err->hint),
		"Name the right file. If its content is lost, the capture begins anew: remove the file and "
		"drop its slot (penstock slots DB --drop NAME).");
	return PST_ERR_DATA;
}

static pst_status
parse(position_file *file, const char *text, pst_error *err)
{
	answer *whole = answer_parse(text);
	const char *kind = answer_text(whole, "penstock");
	const char *slot = answer_text(whole, "slot");
	const char *position = answer_text(whole, "position");
	pst_status status = PST_OK;

	if (whole == NULL || kind == NULL || strcmp(kind, "position") != 0)
		status = damaged(file, "is no position file", err);
	else if (slot == NULL || position == NULL || strncmp(position, "pst1:", 5) != 0)
		status = damaged(file, "is damaged: it lacks its slot or position", err);
	else
	{
		file->slot = cli_strdup(slot);
		file->position = cli_strdup(position);
	}
	answer_free(whole);
	return status;
}

static pst_status
read_all(const position_file *file, int fd, char **text, pst_error *err)
{
	struct stat st;
	size_t size;
	size_t at = 0;

	*text = NULL;
	if (fstat(fd, &st) != 0)
		return fail(err, PST_ERR_IO, "cannot read \"%s\": %s", file->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return damaged(file, "is no regular file", err);
	if (st.st_size > MOST_BYTES)
		return damaged(file, "is no position file", err);
	size = (size_t) st.st_size;
	*text = cli_alloc(size + 1);
	while (at < size)
	{
		ssize_t n = read(fd, *text + at, size - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(err, PST_ERR_IO, "cannot read \"%s\": %s", file->path, strerror(errno));
		if (n == 0)
			break;
		at += (size_t) n;
	}
	(*text)[at] = '\0';
	return strlen(*text) == at ? PST_OK : damaged(file, "is no position file", err);
}

pst_status
position_file_open(position_file *file, const char *path, pst_error *err)
{
	char *text = NULL;
	pst_status status;
	int fd;

	*file = (position_file){.lock = -1};
	/* A link keeps pointing to its file: the file it names is the one that is replaced. */
	file->path = realpath(path, NULL);
	if (file->path == NULL)
		file->path = cli_strdup(path);
	file->temporary = cli_format("%s.new", file->path);
	file->lock_path = cli_format("%s.lock", file->path);
	status = lock(file, err);
	if (status != PST_OK)
		return status;
	fd = open(file->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return PST_OK;
	if (fd < 0)
		return fail(err, PST_ERR_IO, "cannot read \"%s\": %s", file->path, strerror(errno));
	status = read_all(file, fd, &text, err);
	if (status == PST_OK)
		status = parse(file, text, err);
	free(text);
	close(fd);
	return status;
}

/* ---- Writing ---- */

static pst_status
cannot_store(const position_file *file, int code, pst_error *err)
{
	return fail(err, PST_ERR_IO, "cannot store the position in \"%s\": %s", file->path,
				strerror(code));
}

/* 0 or an errno value. */
static int
sync_folder(const char *path)
{
	char *copy = cli_strdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = 0;

	/* Some file systems cannot sync a folder, and need not. */
	if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
		result = errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	return result;
}

/* The same. */
static int
write_temporary(const position_file *file, const char *text)
{
	size_t left = strlen(text);
	int fd = open(file->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int result = fd < 0 ? errno : 0;

	while (result == 0 && left > 0)
	{
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			result = errno;
		else
		{
			text += n;
			left -= (size_t) n;
		}
	}
	if (result == 0 && fsync(fd) != 0)
		result = errno;
	if (fd >= 0 && close(fd) != 0 && result == 0)
		result = errno;
	return result;
}

pst_status
position_file_store(position_file *file, const char *slot, const char *position, pst_error *err)
{
	/* Neither a slot's name nor a position in its printable form has what JSON escapes but quotes. */
	size_t room = 2 * (strlen(slot) + strlen(position)) + 64;
	char *text = cli_alloc(room);
	FILE *memory = fmemopen(text, room, "w");
	int code = memory == NULL ? errno : 0;

	if (memory != NULL)
	{
		fputs("{\"penstock\":\"position\",\"slot\":", memory);
		report_json_string(memory, slot);
		fputs(",\"position\":", memory);
		report_json_string(memory, position);
		fputs("}\n", memory);
		if (fclose(memory) != 0)
			code = errno;
	}
	if (code == 0)
		code = write_temporary(file, text);
	if (code == 0 && rename(file->temporary, file->path) != 0)
		code = errno;
	if (code == 0)
		code = sync_folder(file->path);
	free(text);
	return code == 0 ? PST_OK : cannot_store(file, code, err);
}

pst_status
position_file_remove(position_file *file, pst_error *err)
{
	int code = unlink(file->path) != 0 && errno != ENOENT ? errno : sync_folder(file->path);

	return code == 0
			   ? PST_OK
			   : fail(err, PST_ERR_IO, "cannot remove \"%s\": %s", file->path, strerror(code));
}

void
position_file_close(position_file *file)
{
	if (file->lock >= 0)
	{
		/* Still locked: whoever opens it now sees that it has lost its name. */
		unlink(file->lock_path);
		close(file->lock);
	}
	free(file->path);
	free(file->temporary);
	free(file->lock_path);
	free(file->slot);
	free(file->position);
	*file = (position_file){.lock = -1};
}
