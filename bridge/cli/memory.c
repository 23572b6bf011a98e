/*
 * memory.c - allocation that ends the command when there is no memory left.
 *
 * A command has nobody to hand the failure to. Leaving at once closes its connections, which rolls
 * open transactions back.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "memory.h"
#include "signals.h"

static void
out_of_memory(void)
{
	static const char text[] = "penstock: error: out of memory\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
	{
		/* There is nobody left to tell. */
	}
	signals_remove_temporary();
	_exit(CLI_EXIT_FAILED);
}

void *
cli_alloc(size_t nbytes)
{
	void *memory = calloc(1, nbytes > 0 ? nbytes : 1);

	if (memory == NULL)
		out_of_memory();
	return memory;
}

void *
cli_realloc(void *memory, size_t nbytes)
{
	void *larger = realloc(memory, nbytes > 0 ? nbytes : 1);

	if (larger == NULL)
		out_of_memory();
	return larger;
}

char *
cli_strdup(const char *text)
{
	size_t nbytes = strlen(text) + 1;

	return memcpy(cli_alloc(nbytes), text, nbytes);
}

char *
cli_format(const char *fmt, ...)
{
	va_list ap;
	char *text;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		out_of_memory();
	text = cli_alloc((size_t) len + 1);
	va_start(ap, fmt);
	vsnprintf(text, (size_t) len + 1, fmt, ap);
	va_end(ap);
	return text;
}
