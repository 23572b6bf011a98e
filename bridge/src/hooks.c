/* hooks.c - a handle's own copy of what its caller wants to be told. */
#include "hooks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pst_status
psti_hooks_copy(const pst_hooks *from, pst_hooks *to, pst_error *err)
{
	size_t size = from == NULL ? 0 : from->struct_size;

	memset(to, 0, sizeof(*to));
	if (size > sizeof(*to))
		size = sizeof(*to);
	if (size > 0)
		memcpy(to, from, size);
	to->struct_size = sizeof(*to);
	if (to->application == NULL)
		return PST_OK;
	to->application = strdup(to->application);
	return to->application == NULL ? psti_fail_nomem(err) : PST_OK;
}

void
psti_hooks_free(pst_hooks *hooks)
{
	free((char *) (uintptr_t) hooks->application);
	memset(hooks, 0, sizeof(*hooks));
}

void
psti_log(const pst_hooks *hooks, pst_log_level level, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	if (hooks == NULL || hooks->log == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	hooks->log(hooks->ctx, level, message);
}
