/*
 * options.h - options by name, from one table (options.def).
 *
 * Values are checked and converted once, when a handle opens; the rest of the library asks by id.
 */
#ifndef PSTI_OPTIONS_H
#define PSTI_OPTIONS_H

#include "error.h"

/* Which handles take an option. */
#define PSTI_CATALOG 1u
#define PSTI_SOURCE 2u
#define PSTI_SINK 4u
#define PSTI_CODEC 8u
#define PSTI_CDC 16u
#define PSTI_CONN (PSTI_CATALOG | PSTI_SOURCE | PSTI_SINK | PSTI_CDC)

typedef enum psti_opt_kind
{
	PSTI_KIND_TEXT,
	PSTI_KIND_INT,		/* int64 between min and max */
	PSTI_KIND_BYTES,	/* the same with kB, MB, GB, mb, kib … */
	PSTI_KIND_BOOL,		/* true | false */
	PSTI_KIND_DURATION, /* Flink's: 500ms, 2s, 1 min, 1h, 3 d; a bare number is ms; stored as ms */
	PSTI_KIND_ENUM,		/* one of the words, any case; stored as its number from 0 */
	PSTI_KIND_LIST,		/* names separated by commas, quoted as SQL identifiers where needed */
	PSTI_KIND_TUNING,	/* tunes another driver: accepted, logged once, no effect */
	PSTI_KIND_FIXED,	/* takes the words that mean what is done anyway; else as REFUSED */
	PSTI_KIND_REFUSED	/* would change results and has no meaning here: error with the remedy */
} psti_opt_kind;

typedef enum psti_opt
{
#define PSTI_OPTION(id, name, kind, handles, dflt, min, max, words, help) PSTI_OPT_##id,
#define PSTI_ALIAS(id, name)
#include "options.def"
	PSTI_OPT_COUNT
} psti_opt;

typedef struct psti_options psti_options;

/*
 * Reads the pairs for one kind of handle (PSTI_SOURCE …). Options of other handles are accepted
 * without effect when they are known (one WITH clause serves source, sink and lookup); unknown ones
 * are PST_ERR_INVALID naming the nearest known name.
 */
pst_status psti_options_new(const char *const *keys, const char *const *values, unsigned handle,
							const pst_hooks *hooks, psti_options **out, pst_error *err);
void psti_options_free(psti_options *options);

/* The handles that take the option of this name, and which it is; 0: there is none of this name. */
unsigned psti_opt_handles(const char *name, psti_opt *opt);

/*
 * Whether it is a name that only other connectors have an option of (options_foreign.def); then *kind is
 * TUNING, FIXED or REFUSED, and *words are the values that a FIXED one takes.
 */
bool psti_opt_foreign(const char *name, psti_opt_kind *kind, const char **words);

/* Whether the caller gave it (under any of its names). */
bool psti_opt_given(const psti_options *options, psti_opt opt);

/* The value or the default. Texts are borrowed until psti_options_free; NULL without a default. */
const char *psti_opt_text(const psti_options *options, psti_opt opt);
int64_t psti_opt_int(const psti_options *options, psti_opt opt); /* int, bytes, ms, enum */
bool psti_opt_bool(const psti_options *options, psti_opt opt);

/* A list as a NULL-terminated array, borrowed; NULL when not given. */
const char *const *psti_opt_list(const psti_options *options, psti_opt opt, size_t *count);

/* "option "x"" is wrong because: PST_ERR_INVALID with the option's name as the user spelled it. */
pst_status psti_opt_fail(const psti_options *options, psti_opt opt, pst_error *err, const char *fmt,
						 ...) __attribute__((format(printf, 4, 5)));

/* The option transport: in the order of its words. */
typedef enum psti_transport
{
	PSTI_TRANSPORT_AUTO,
	PSTI_TRANSPORT_ASSISTED,
	PSTI_TRANSPORT_PLAIN
} psti_transport;

/* PST_ERR_UNSUPPORTED when assisted is insisted upon: for handles that have the plain transport only. */
pst_status psti_opt_check_transport(const psti_options *options, pst_error *err);

/*
 * The name that somebody may have meant: psti_nearest_to(), then each candidate is tried; `name` is
 * the nearest one, of equals the first (borrowed), or NULL when none is near enough to be a slip.
 */
typedef struct psti_nearest
{
	const char *wanted; /* borrowed */
	size_t slip;		/* the farthest that is near enough */
	const char *name;
} psti_nearest;

psti_nearest psti_nearest_to(const char *wanted);

/* Whether the candidate is the nearest so far. */
bool psti_nearest_try(psti_nearest *nearest, const char *candidate);

#endif /* PSTI_OPTIONS_H */
