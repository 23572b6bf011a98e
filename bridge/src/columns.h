/*
 * columns.h - what a column becomes: how it is asked for, decoded, and called in Arrow. Reads and change
 * capture go by the same rules, so that a row has one form whichever way it came.
 */
#ifndef PSTI_COLUMNS_H
#define PSTI_COLUMNS_H

#include "copy_decode.h"
#include "options.h"
#include "relation.h"

/* The option read.values. */
typedef enum psti_values
{
	PSTI_VALUES_ARROW,
	PSTI_VALUES_CSV,
	PSTI_VALUES_JSON,
	PSTI_VALUES_LOSSLESS
} psti_values;

/* How the server is asked for a column. */
typedef enum psti_ask
{
	PSTI_ASK_VALUE,	 /* its binary form */
	PSTI_ASK_OUTPUT, /* the text of its output function */
	PSTI_ASK_JSON	 /* to_json of it */
} psti_ask;

/* What the form of a column depends on. */
typedef struct psti_column_rules
{
	const psti_options *options; /* read.text-columns and special-values; borrowed */
	psti_values values;
	bool assisted; /* rows come as frames of penstock.scan */
	int server_version;
	bool integer_datetimes;
} psti_column_rules;

/* Whether read.text-columns names the column. */
bool psti_column_is_text(const psti_column_rules *rules, const char *name);

/* Sets all of *copy but not_null and key; name is borrowed. */
void psti_column_choose(const psti_column_rules *rules, const char *name, const psti_type *type,
						psti_ask *ask, psti_copy_column *copy);

/* Whether special-values can make NULL of a value of the column. */
bool psti_column_may_be_nulled(const psti_column_rules *rules, const psti_copy_column *copy);

/* The column's field; values (NULL: nothing) is its metadata `penstock.values`. */
pst_status psti_column_field(struct ArrowSchema *out, const psti_copy_column *copy,
							 const psti_type *type, const char *values, pst_error *err);

#endif /* PSTI_COLUMNS_H */
