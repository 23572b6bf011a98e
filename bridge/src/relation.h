/*
 * relation.h - what source and sink need to know of a table's columns and types, in one round trip.
 */
#ifndef PSTI_RELATION_H
#define PSTI_RELATION_H

#include "conn.h"

/* A column's type, domains resolved. Texts are owned by the struct that holds it. */
typedef struct psti_type
{
	Oid oid; /* as declared: may be a domain */
	int32_t typmod;
	Oid base; /* the domain's base type, else oid */
	int32_t base_typmod;
	char typtype;		  /* of the base type: b c e p r m */
	char category;		  /* typcategory of the base type: N S D A … */
	bool has_send;		  /* the base type (and an array's element) has a binary form */
	char *name;			  /* format_type(oid, typmod): `penstock.type` */
	char *bare_name;	  /* the base type's quoted schema.name: for casts without typmod */
	char *output;		  /* the base type's output function, quoted and qualified */
	bool output_callable; /* by name, and the role may */
	Oid elem;			  /* element type when the base is a true array, else 0 */
	Oid elem_base;		  /* the element's base type */
	int32_t elem_typmod;  /* its typmod: an array's own typmod, or the element domain's */
	char *elem_name;	  /* format_type(elem, typmod) or NULL */
} psti_type;

typedef struct psti_column
{
	char *name;
	int16_t attnum; /* 0 for a query's column */
	psti_type type;
	bool not_null; /* declared */
	/*
	 * No row can hold NULL. A declaration alone does not say that: a foreign table's is a promise, a
	 * parent's (before 18) need not hold for its children, and 18 has NOT NULL … NOT VALID.
	 */
	bool never_null;
	bool has_default;
	bool generated;		  /* GENERATED ALWAYS AS (…) STORED or VIRTUAL: cannot be written */
	bool identity_always; /* needs OVERRIDING SYSTEM VALUE */
	bool identity;		  /* either kind */
	Oid collation;
	bool collation_deterministic; /* equal means the same bytes (for text types) */
	int16_t key_position;		  /* 1-based place in the primary key, 0: not in it */
	bool selectable;			  /* the role may SELECT it */
	bool insertable;
	bool updatable;
} psti_column;

typedef struct psti_relation
{
	Oid oid; /* 0: a query */
	char *schema;
	char *name;
	char *qualified;  /* s.t, quoted where this server wants it */
	char relkind;	  /* r p v m f */
	char persistence; /* p u t */
	bool is_heap;
	bool row_security; /* enabled and in force for this role, here or on an ancestor */
	bool is_partition;
	bool has_subclass; /* inherits: children's rows come with it */
	bool has_triggers;
	bool has_rules;
	psti_column *columns; /* not dropped, in attnum order */
	size_t ncolumns;
} psti_relation;

/*
 * Finds a table as regclass does; with schema both names are taken letter by letter. Not found is
 * PST_ERR_NOT_FOUND whose hint names a table that differs in case only, if there is one.
 */
pst_status psti_relation_find(psti_conn *conn, const char *schema, const char *table,
							  psti_relation **out, pst_error *err);

/*
 * Those of the OIDs ("{1,2}", as many as out has room for) that are there, ascending, in one round trip. Owned
 * by the caller, one by one.
 */
pst_status psti_relation_find_all(psti_conn *conn, const char *oids, psti_relation **out, size_t *n,
								  pst_error *err);

/*
 * Completes the error "there is no such table" (its hint may be given): with the table that may have
 * been meant, for which the server is asked.
 */
void psti_relation_hint_absent(psti_conn *conn, const char *table, pst_error *err);

/* The server's error on a text that it cannot read as a name is the caller's, with the remedy. */
pst_status psti_relation_bad_name(const char *table, pst_error *err);

/* Adds the hint that names the nearest column, if there is a near one. */
void psti_relation_suggest(const psti_relation *relation, const char *column, pst_error *err);

/* Adds the hint "GRANT privileges ON the relation TO the role;". */
void psti_relation_hint_grant(const psti_relation *relation, const char *privileges,
							  const psti_conn *conn, pst_error *err);

/* The columns of a query (oid 0), from the server's description of it. */
pst_status psti_relation_query(psti_conn *conn, const char *query, psti_relation **out,
							   pst_error *err);

/*
 * The columns of a relation that nothing but their types is known of (oid 0, names empty), in their order.
 * A type that is not there has base 0.
 */
pst_status psti_relation_types(psti_conn *conn, const Oid *types, const int32_t *typmods, size_t n,
							   psti_relation **out, pst_error *err);

const psti_column *psti_relation_column(const psti_relation *relation, const char *name);
void psti_relation_free(psti_relation *relation);

#endif /* PSTI_RELATION_H */
