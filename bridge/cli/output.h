/*
 * output.h - where rows go: a file that appears when it is whole, or standard output.
 *
 * A regular file is written beside its name and renamed at the end, so that whoever looks finds
 * the old one or the new one. Devices and pipes are written as they are; in a folder the file gets
 * the table's name. Waits for a reader end when the command is to stop.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct output
{
	int fd;
	bool own;		  /* fd is ours to close */
	size_t chunk;	  /* write at most so many bytes after a poll; 0: no poll, a regular file */
	char *path;		  /* final name, NULL: standard output or a device; owned */
	char *temporary;  /* name while writing; owned */
	bool closed_pipe; /* the reader has gone */
	int error;		  /* the errno value of a write that failed, else 0 */
} output;

/* path NULL or "-": standard output. name: the file's name in a folder. 0 or an errno value. */
int output_open(output *out, const char *path, const char *name);

/* Whether path (as for output_open) is a terminal. */
bool output_is_terminal(const char *path);

/* pst_write_fn; ctx is the output. ECANCELED when the command was stopped. */
int output_write(void *ctx, const void *data, size_t nbytes);

/* Makes the file visible (keep) or removes it. 0 or an errno value. */
int output_close(output *out, bool keep);

#endif /* CLI_OUTPUT_H */
