/*
 * rows.h - Arrow batches for tests of the sink, written as text.
 *
 *   rows_make(&rows, "id:l,name:u,price:d:10,2", "+I 1|a|1.50", "-D 2|~|~", NULL)
 *
 * A column is name:format with format l (int64), i (int32), u (utf8), d:p,s (decimal128), t… (a date or time as its number), g
 * (double), b (bool) or L (a list of utf8, items between spaces). A row is its kind (+I when left
 * out) and its values; ~ is NULL and = is unchanged.
 */
#ifndef TEST_ROWS_H
#define TEST_ROWS_H

#include "penstock.h"

typedef struct test_rows
{
	struct ArrowSchema schema;
	pst_change_batch batch; /* array, kinds and unchanged bitmaps */
	int8_t *kinds;
	uint8_t **unchanged; /* per column, NULL without any */
} test_rows;

void rows_schema(struct ArrowSchema *schema, const char *columns);
void rows_make(test_rows *out, const char *columns, ...);
void rows_free(test_rows *r);

#endif /* TEST_ROWS_H */
