/* hooks.h - a handle's own copy of what its caller wants to be told. */
#ifndef PSTI_HOOKS_H
#define PSTI_HOOKS_H

#include "error.h"

/*
 * Copies as much as the caller's struct_size says (NULL: nothing); *to is complete afterwards, its
 * application an owned text, since a handle may connect again later.
 */
pst_status psti_hooks_copy(const pst_hooks *from, pst_hooks *to, pst_error *err);
void psti_hooks_free(pst_hooks *hooks);

void psti_log(const pst_hooks *hooks, pst_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* PSTI_HOOKS_H */
