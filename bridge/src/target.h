/*
 * target.h - what the csv and json decoders know of the table that rows are for.
 *
 * It is read from the describe text (docs/catalog.md); the types in it decide how a json value is
 * written as the text that the type's input function takes.
 */
#ifndef PSTI_TARGET_H
#define PSTI_TARGET_H

#include "error.h"

typedef enum psti_shape
{
	PSTI_SHAPE_TEXT,	  /* whatever its input function makes of a text */
	PSTI_SHAPE_JSON,	  /* json, jsonb */
	PSTI_SHAPE_VECTOR,	  /* int2vector, oidvector: numbers with blanks between */
	PSTI_SHAPE_ARRAY,	  /* children[0] is its element */
	PSTI_SHAPE_COMPOSITE, /* children are its fields */
} psti_shape;

typedef struct psti_target_type
{
	psti_shape shape;
	char *name;						   /* of a column or field, owned; NULL for an element */
	char *type;						   /* as declared, owned; NULL when not known */
	char delimiter;					   /* between the elements of an array */
	struct psti_target_type *children; /* owned */
	size_t nchildren;
} psti_target_type;

typedef struct psti_target_column
{
	psti_target_type type;
	bool writable; /* not generated, not identity always, the role may insert and update it */
	bool generated;
} psti_target_column;

typedef struct psti_target
{
	psti_target_column *columns; /* owned */
	size_t ncolumns;
	size_t *sorted; /* owned: numbers of the columns by name */
	char *table;	/* qualified name for messages, owned; NULL when not known */
} psti_target;

/* PST_ERR_INVALID when describe is not the JSON of pst_catalog_describe. */
pst_status psti_target_parse(const char *describe, psti_target **out, pst_error *err);

/* A target of no columns, and adding one of shape TEXT: for decoders without describe. */
pst_status psti_target_new(psti_target **out, pst_error *err);
pst_status psti_target_add(psti_target *target, const char *name, size_t nbytes, pst_error *err);

void psti_target_free(psti_target *target);

/* The number of the column with this name, or -1. guess is tried first. */
int64_t psti_target_find(const psti_target *target, const char *name, size_t nbytes, size_t guess);

/* PST_ERR_NOT_FOUND "… has no column x", with the nearest name as hint. */
pst_status psti_target_unknown(const psti_target *target, const char *name, pst_error *err);

/* The field of a composite with this name, or -1; and the name nearest to it, NULL when none is. */
int64_t psti_target_field(const psti_target_type *type, const char *name, size_t nbytes,
						  size_t guess);
const char *psti_target_nearest_field(const psti_target_type *type, const char *name);

#endif /* PSTI_TARGET_H */
