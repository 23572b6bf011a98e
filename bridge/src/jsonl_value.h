/*
 * jsonl_value.h - a json value as the text that a PostgreSQL type's input function takes.
 *
 * A string is what it holds, a number its digits, true and false themselves. For json and jsonb a
 * string holds the json text, all else is json as it stands. For an array a json array becomes an
 * array literal, for a composite an object becomes a row literal; strings are taken as literals.
 */
#ifndef PSTI_JSONL_VALUE_H
#define PSTI_JSONL_VALUE_H

#include "jsonscan.h"
#include "target.h"

/*
 * Takes the value at the scan, which is not null, and appends its text. False with scan->problem
 * set and scan->at where it is; a longer text of the problem may be in err (its message is empty
 * otherwise). Memory that is short shows in out only.
 */
bool psti_jsonl_value(psti_jsonscan *scan, const psti_target_type *type, psti_buf *out,
					  pst_error *err);

#endif /* PSTI_JSONL_VALUE_H */
