/*
 * values.h - datums into Arrow columns.
 *
 * A column takes the values of one output column of a query, one by one, and gives its rows as
 * Arrow buffers. What becomes of a type is wire/types.def; every other type travels as the text of
 * its output function. Memory belongs to the context that was current in value_columns_new.
 */
#ifndef PENSTOCK_VALUES_H
#define PENSTOCK_VALUES_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "fmgr.h"

#include "arrow_c.h"
#include "types.h"

/* Values that the PostgreSQL type holds and the Arrow type does not. */
typedef enum value_special
{
	VALUE_SPECIAL_ERROR,
	VALUE_SPECIAL_NULL,
	VALUE_SPECIAL_CLAMP
} value_special;

typedef struct value_column value_column;

/* The columns of a query's result. */
typedef struct value_columns
{
	int n;
	value_column *columns;
	value_special special;
	MemoryContext scratch; /* of one row's texts and detoasted values; reset behind it */
	int pinned;			   /* the settings that texts depend on, as bits of types.c */
	bool utf8;			   /* the database's encoding is UTF8 */
	int64 rows_before;	   /* rows that were given away */
	int64 nrows;
	int64 cap;			  /* rows that every column has room for */
	Size row_bytes;		  /* of a row, without its texts and items */
	Size nbytes;		  /* about what the rows take */
	Size nbytes_before;	  /* the same without the row at work */
	Size row_max;		  /* bytes of a row at most */
	TupleTableSlot *slot; /* the row at work, for errors */
	int at_work;		  /* the column at work, for errors; -1 none */
	struct ArrowSchema schema;
	struct ArrowArray array; /* valid until rows are added or taken */
	List *targetlist;		 /* of the plan: where columns come from, for errors; borrowed */
	List *rtable;			 /* of the plan, likewise */
} value_columns;

/*
 * Columns for rows of tupdesc. text_columns: names (cstrings) of those that shall be text, "*" for
 * all; a name that is none of the columns is error 42703. A row of more than row_max bytes, which
 * are less than 2 GB by what the rows beside it take, is error 54000.
 */
extern value_columns *value_columns_new(TupleDesc tupdesc, value_special special,
										List *text_columns, Size row_max);

/* A column's name in the database's encoding; that of columns->schema is UTF-8. */
extern const char *value_columns_name(const value_columns *columns, int i);

/* Appends a row. Its values are copied. */
extern void value_columns_add(value_columns *columns, TupleTableSlot *slot);

/* Points columns->array at nrows rows from row `first` on. */
extern void value_columns_array(value_columns *columns, int64 first, int64 nrows);

/* Sees to it that the texts of the first nrows rows are UTF-8; else error 22021. */
extern void value_columns_check(value_columns *columns, int64 nrows);

/* Error 54000 for the row that was added last, from the slot. */
extern void value_columns_refuse_row(value_columns *columns, TupleTableSlot *slot);

/* Forgets the first nrows rows, all or all but one. */
extern void value_columns_forget(value_columns *columns, int64 nrows);

#endif /* PENSTOCK_VALUES_H */
