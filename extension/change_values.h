/* change_values.h - datums into the values of change records: the bytes of send functions, or text. */
#ifndef PENSTOCK_CHANGE_VALUES_H
#define PENSTOCK_CHANGE_VALUES_H

#include "postgres.h"

#include "fmgr.h"

#include "change_writer.h"
#include "types.h"

/* How values of a type are written. */
typedef struct change_type
{
	value_kind kind;
	int pinned;		 /* settings that its text depends on (types.h) */
	FmgrInfo output; /* VALUE_OUTPUT */
	Oid elem;		 /* VALUE_LIST: of the elements, and how they lie in an array … */
	Oid elem_base;	 /* … and what it is a domain over, which is what is announced */
	int16 elem_len;
	bool elem_byval;
	char elem_align;
	struct change_type *item;
} change_type;

/* Chooses how values of a type are written; memory is of the current context. */
extern void change_type_choose(change_type *type, Oid oid);

/* Whether it is CHANGE_BINARY, else text. */
extern bool change_type_is_binary(const change_type *type);

/* Writes a value that is not NULL. Temporary memory is of the current context. */
extern void change_put_datum(change_writer *writer, const change_type *type, Datum value);

#endif /* PENSTOCK_CHANGE_VALUES_H */
