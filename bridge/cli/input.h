/*
 * input.h - where rows come from: a file or standard input, which may pause.
 *
 * A pause is told to the decoder (EAGAIN), so that what has come is written and flushed in time.
 */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct input
{
	int fd;
	bool own;	  /* fd is ours to close */
	bool pausing; /* not a regular file: reads may block */
} input;

/* path NULL or "-": standard input. 0 or an errno value. */
int input_open(input *in, const char *path);
void input_close(input *in);

/* The bytes that will come, -1 when nobody knows. */
int64_t input_size(const input *in);

/* pst_read_fn; ctx is the input. EAGAIN after a short pause, ECANCELED when the command stops. */
int input_read(void *ctx, void *data, size_t nbytes, size_t *nread);

/* Waits for input at most timeout_ms (-1: without end); returns early when the command stops. */
void input_wait(const input *in, int timeout_ms);

#endif /* CLI_INPUT_H */
