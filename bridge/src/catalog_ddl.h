/*
 * catalog_ddl.h - tables for Arrow schemas: the type of each column, and whether a table fits.
 *
 * A field's metadata `penstock.type` comes from whoever made the file: it is never pasted. It is
 * taken apart into a type's name, modifier and brackets and put together again with the names
 * quoted, and the server is asked whether it has that type.
 */
#ifndef PSTI_CATALOG_DDL_H
#define PSTI_CATALOG_DDL_H

#include "arrow_check.h"
#include "catalog.h"

/* PST_ERR_INVALID when a name (of a `what`) is empty or would be cut by the server. */
pst_status psti_name_check(const char *what, const char *name, pst_error *err);

/*
 * Reads a type as format_type prints it. *whole gets its text for DDL, *bare the same without
 * modifiers, which to_regtype can look up. false when it is no type (or memory is short: then
 * whole->failed).
 */
bool psti_type_parse(const char *text, psti_buf *whole, psti_buf *bare);

/* Appends the type for a field without (usable) `penstock.type`; PST_ERR_UNSUPPORTED names it. */
pst_status psti_type_of_field(const struct ArrowSchema *field, psti_buf *out, pst_error *err);

/*
 * The CREATE TABLE statement. types has a text for each field. key is NULL-terminated, or NULL.
 */
pst_status psti_create_sql(const psti_name *name, const struct ArrowSchema *schema,
						   const char *const *types, const char *const *key, psti_buf *out,
						   pst_error *err);

/*
 * PST_OK when an existing relation (its describe JSON) has every field's column and each can be
 * written with any value of the field; PST_ERR_EXISTS names the first that cannot.
 */
pst_status psti_create_compatible(const psti_json *describe, const struct ArrowSchema *schema,
								  pst_error *err);

#endif /* PSTI_CATALOG_DDL_H */
