/*
 * debezium_value.h - one value on a debezium line (docs/formats.md has the table of types).
 *
 * Two styles, option json-values: flink is what Flink's debezium-json reads, debezium what Debezium's
 * connector writes by default. What a style cannot hold (infinity, NaN) is the string of its text.
 */
#ifndef PSTI_DEBEZIUM_VALUE_H
#define PSTI_DEBEZIUM_VALUE_H

#include "arrow_check.h"
#include "buf.h"

/* What is made of a column's values. */
typedef enum psti_debezium_form
{
	PSTI_DEBEZIUM_JSON,	  /* as row_to_json has it */
	PSTI_DEBEZIUM_READY,  /* utf8 that holds what is to stand on the line */
	PSTI_DEBEZIUM_STRING, /* the string of its text */
	PSTI_DEBEZIUM_BARE,	  /* its text, which is a number */
	PSTI_DEBEZIUM_BYTES,  /* the string of its bytes in base64 */
	PSTI_DEBEZIUM_ZONED,  /* timestamptz: 2020-01-01 12:00:00Z, or with T */
	PSTI_DEBEZIUM_DECIMAL,
	PSTI_DEBEZIUM_MONEY,
	PSTI_DEBEZIUM_DATE,		 /* days since 1970 */
	PSTI_DEBEZIUM_TIME,		 /* micro- or milliseconds, by the column's precision */
	PSTI_DEBEZIUM_TIMESTAMP, /* the same, since 1970 */
	PSTI_DEBEZIUM_TIMETZ,	 /* 10:15:30Z */
	PSTI_DEBEZIUM_INTERVAL,	 /* microseconds, a month of 30.4375 days */
	PSTI_DEBEZIUM_BITS, /* true or false for one, else their bytes from the last bit on, in base64 */
	PSTI_DEBEZIUM_LIST
} psti_debezium_form;

typedef struct psti_debezium_column
{
	const struct ArrowSchema *field; /* borrowed */
	psti_arrow_type type;
	psti_debezium_form form; /* of a list: of its items */
	bool list;				 /* Arrow's list, or the binary form of an array */
	bool debezium;			 /* the style */
	bool bit;				 /* of a type bit(1) */
	int precision;			 /* numeric, time, timestamp: what their type says, -1: nothing */
	int scale;
} psti_debezium_column;

/* field is borrowed as long as the column is of use. */
void psti_debezium_column_init(psti_debezium_column *column, const struct ArrowSchema *field,
							   bool debezium);

/* Appends the value of row i (without the array's offset), NULL as null. */
pst_status psti_debezium_value(const psti_debezium_column *column, const struct ArrowArray *array,
							   int64_t i, psti_buf *out, pst_error *err);

/* Bytes in base64 as a json string. */
void psti_debezium_base64(const void *data, size_t nbytes, psti_buf *out);

#endif /* PSTI_DEBEZIUM_VALUE_H */
