/*
 * catalog_fit.c - the column type for an Arrow field, and whether a column holds every value of one.
 */
#include "catalog_ddl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgbinary.h"

typedef struct ddl_type
{
	const char *format;
	const char *ddl;
} ddl_type;

static const ddl_type ddl_types[] = {
#define PST_DDL(format, ddl) {format, ddl},
#include "types.def"
};

static const char *
fixed_ddl(const char *format)
{
	for (size_t i = 0; i < sizeof(ddl_types) / sizeof(ddl_types[0]); i++)
		if (strcmp(ddl_types[i].format, format) == 0)
			return ddl_types[i].ddl;
	return NULL;
}

static pst_status
fail_type(const struct ArrowSchema *field, pst_error *err)
{
	const char *name = field->name == NULL ? "" : field->name;
	char arrow[PSTI_ARROW_NAME];

	psti_fail(err, PST_ERR_UNSUPPORTED,
			  "column \"%s\" has the Arrow type %s%s, for which there "
			  "is no column type",
			  name, psti_arrow_name(field->format, arrow),
			  field->dictionary != NULL ? " with a dictionary" : "");
	psti_error_hint(err, field->dictionary != NULL
							 ? "Decode the dictionary before writing."
							 : "Give the field the metadata penstock.type, or cast it to text.");
	PSTI_ERROR_SET(err, column, name);
	return err->status;
}

static void
put_timestamp(const psti_arrow_type *type, psti_buf *out)
{
	psti_buf_puts(out, "timestamp");
	if (type->per_second == 1 || type->per_second == 1000)
		psti_buf_puts(out, type->per_second == 1 ? "(0)" : "(3)");
	psti_buf_puts(out, type->with_zone ? " with time zone" : " without time zone");
}

static pst_status
type_of_binary(const psti_arrow_type *type, psti_buf *out)
{
	psti_pgbinary_name(type->pg_type, false, out);
	if (type->precision > 0)
		psti_buf_printf(out, "(%d,%d)", type->precision, type->scale);
	psti_buf_puts(out, type->pg_array ? "[]" : "");
	return PST_OK;
}

static pst_status
type_of(const struct ArrowSchema *field, int depth, psti_buf *out, pst_error *err)
{
	psti_arrow_type type;
	const char *fixed;

	if (field->format == NULL || field->dictionary != NULL || depth > 8)
		return fail_type(field, err);
	type = psti_pgbinary_field(field);
	if (type.pg_type != 0)
		return type_of_binary(&type, out);
	fixed = fixed_ddl(field->format);
	if (fixed != NULL)
	{
		psti_buf_puts(out, fixed);
		return PST_OK;
	}
	switch (type.kind)
	{
		case PSTI_ARROW_DECIMAL:
			/* Scales beyond 0 … precision are a modifier only since 15; bare numeric holds all. */
			if (type.scale < 0 || type.scale > type.precision)
				psti_buf_puts(out, "numeric");
			else
				psti_buf_printf(out, "numeric(%d,%d)", type.precision, type.scale);
			return PST_OK;
		case PSTI_ARROW_TIMESTAMP:
			put_timestamp(&type, out);
			return PST_OK;
		case PSTI_ARROW_FIXED_BINARY:
			psti_buf_puts(out, "bytea");
			return PST_OK;
		case PSTI_ARROW_LIST:
		case PSTI_ARROW_LARGE_LIST:
			if (field->n_children != 1)
				return fail_type(field, err);
			/* A list of lists is an array of two dimensions, which is the same type. */
			if (type_of(field->children[0], depth + 1, out, err) != PST_OK)
			{
				PSTI_ERROR_SET(err, column, field->name == NULL ? "" : field->name);
				return err->status;
			}
			if (depth == 0)
				psti_buf_puts(out, "[]");
			return PST_OK;
		default:
			return fail_type(field, err);
	}
}

pst_status
psti_type_of_field(const struct ArrowSchema *field, psti_buf *out, pst_error *err)
{
	return type_of(field, 0, out, err);
}

/* --- the statement ----------------------------------------------------------------------- */

static pst_status
check_key(const struct ArrowSchema *schema, const char *const *key, pst_error *err)
{
	for (; key != NULL && *key != NULL; key++)
	{
		int64_t i = 0;

		while (i < schema->n_children &&
			   (schema->children[i]->name == NULL || strcmp(schema->children[i]->name, *key) != 0))
			i++;
		if (i < schema->n_children)
			continue;
		psti_fail(err, PST_ERR_INVALID, "key column \"%s\" is not a column of the schema", *key);
		PSTI_ERROR_SET(err, column, *key);
		return err->status;
	}
	return PST_OK;
}

pst_status
psti_create_sql(const psti_name *name, const struct ArrowSchema *schema, const char *const *types,
				const char *const *key, psti_buf *out, pst_error *err)
{
	const char *comma = "\n  ";
	pst_status status = check_key(schema, key, err);

	psti_buf_puts(out, "CREATE TABLE ");
	psti_name_put(out, name);
	psti_buf_puts(out, " (");
	for (int64_t i = 0; status == PST_OK && i < schema->n_children; i++)
	{
		const struct ArrowSchema *field = schema->children[i];

		status = psti_name_check("column", field->name, err);
		if (status != PST_OK)
			break;
		psti_buf_puts(out, comma);
		psti_buf_ident(out, field->name);
		psti_buf_printf(out, " %s", types[i]);
		if (!(field->flags & ARROW_FLAG_NULLABLE))
			psti_buf_puts(out, " NOT NULL");
		comma = ",\n  ";
	}
	if (status == PST_OK && key != NULL && *key != NULL)
	{
		psti_buf_puts(out, comma);
		psti_buf_puts(out, "PRIMARY KEY (");
		for (comma = ""; *key != NULL; key++, comma = ", ")
		{
			psti_buf_puts(out, comma);
			psti_buf_ident(out, *key);
		}
		psti_buf_putc(out, ')');
	}
	psti_buf_puts(out, "\n)");
	return status == PST_OK ? psti_buf_check(out, err) : status;
}

/* --- does it fit? ------------------------------------------------------------------------ */

/*
 * Column types (without modifier, between bars) that hold every value of a kind, and how many digits
 * a numeric needs before its point. Texts fit everything as text: the server judges each value.
 */
typedef struct fit
{
	psti_arrow_kind kind;
	int digits;
	const char *types;
} fit;

#define FLOATS "|real|double precision|"
#define TIMES "|time without time zone|"

static const fit fits[] = {
	{PSTI_ARROW_BOOL, 0, "|boolean|"},
	{PSTI_ARROW_INT8, 3, "|smallint|integer|bigint|numeric" FLOATS},
	{PSTI_ARROW_UINT8, 3, "|smallint|integer|bigint|numeric" FLOATS},
	{PSTI_ARROW_INT16, 5, "|smallint|integer|bigint|numeric" FLOATS},
	{PSTI_ARROW_UINT16, 5, "|integer|bigint|numeric" FLOATS},
	{PSTI_ARROW_INT32, 10, "|integer|bigint|numeric|double precision|"},
	{PSTI_ARROW_UINT32, 10, "|bigint|numeric|double precision|"},
	{PSTI_ARROW_INT64, 19, "|bigint|numeric|"},
	{PSTI_ARROW_UINT64, 20, "|numeric|"},
	{PSTI_ARROW_FLOAT, 1000, "|numeric" FLOATS},
	{PSTI_ARROW_DOUBLE, 1000, "|numeric|double precision|"},
	{PSTI_ARROW_DATE32, 0, "|date|timestamp without time zone|"},
	{PSTI_ARROW_DATE64, 0, "|date|timestamp without time zone|"},
	{PSTI_ARROW_TIME32, 0, TIMES},
	{PSTI_ARROW_TIME64, 0, TIMES},
	{PSTI_ARROW_INTERVAL, 0, "|interval|"},
	{PSTI_ARROW_BINARY, 0, "|bytea|"},
	{PSTI_ARROW_LARGE_BINARY, 0, "|bytea|"},
	{PSTI_ARROW_FIXED_BINARY, 0, "|bytea|uuid|"},
};

/* A type without its modifier and spaces doubled by that: "timestamp(3) with …" too. */
static void
strip_modifier(const char *type, char *out, size_t size)
{
	size_t n = strcspn(type, "(");
	const char *close = strchr(type, ')');

	snprintf(out, size, "%.*s%s", (int) (n > 200 ? 200 : n), type,
			 type[n] == '(' && close != NULL ? close + 1 : "");
}

static bool
is_one_of(const char *types, const char *type)
{
	char barred[300];

	snprintf(barred, sizeof(barred), "|%.255s|", type);
	return strstr(types, barred) != NULL;
}

/* Whether numeric(p,s), or bare numeric, has room for so many digits on both sides of the point. */
static bool
numeric_holds(const char *type, int before, int after)
{
	int precision;
	int scale;
	/* format_type's own text, so there are one or two small numbers or none. */
	int n = sscanf(type, "numeric(%d,%d)", &precision, &scale); /* NOLINT(cert-err34-c) */

	if (n < 1)
		return true;
	return precision - (n < 2 ? 0 : scale) >= before && (n < 2 ? 0 : scale) >= after;
}

static bool holds(const psti_json *column, const struct ArrowSchema *field, int depth);

static bool
array_holds(const psti_json *column, const struct ArrowSchema *field, int depth)
{
	const psti_json *element = psti_json_get(column, "element");
	const struct ArrowSchema *child = field->n_children == 1 ? field->children[0] : NULL;

	if (element == NULL || child == NULL || child->format == NULL || depth > 8)
		return false;
	/* The inner lists of a list are further dimensions of the same array. */
	if (child->format[0] == '+')
		return array_holds(column, child, depth + 1);
	return holds(element, child, depth + 1);
}

static bool
type_holds(const psti_json *column, psti_arrow_type type)
{
	const char *base = psti_json_text(column, "base_type");
	char bare[256];

	if (base == NULL)
		return false;
	strip_modifier(base, bare, sizeof(bare));
	if (type.kind == PSTI_ARROW_UTF8 || type.kind == PSTI_ARROW_LARGE_UTF8 ||
		type.kind == PSTI_ARROW_NULL)
		return true;
	if (is_one_of("|text|character varying|bpchar|", bare) && strchr(base, '(') == NULL)
		return type.kind != PSTI_ARROW_UNKNOWN && type.kind != PSTI_ARROW_STRUCT;
	if (type.kind == PSTI_ARROW_DECIMAL)
		return strcmp(bare, "numeric") == 0 &&
			   numeric_holds(base, type.precision - type.scale, type.scale);
	if (type.kind == PSTI_ARROW_TIMESTAMP)
		return strcmp(bare, type.with_zone ? "timestamp with time zone"
										   : "timestamp without time zone") == 0;
	if (strcmp(bare, "uuid") == 0 && type.width != 16)
		return false;
	for (size_t i = 0; i < sizeof(fits) / sizeof(fits[0]); i++)
		if (fits[i].kind == type.kind)
			return is_one_of(fits[i].types, bare) && numeric_holds(base, fits[i].digits, 0);
	return false;
}

static bool
holds(const psti_json *column, const struct ArrowSchema *field, int depth)
{
	psti_arrow_type type = psti_pgbinary_field(field);
	psti_arrow_type plain = psti_pgbinary_arrow(&type);

	if (type.kind == PSTI_ARROW_LIST || type.kind == PSTI_ARROW_LARGE_LIST)
		return array_holds(column, field, depth);
	if (type.pg_type == 0)
		return type_holds(column, type);
	if (type.pg_array)
		column = psti_json_get(column, "element");
	/* A numeric that no Arrow type holds: as for a text, the server judges each value. */
	return column != NULL && (plain.kind == PSTI_ARROW_UNKNOWN || type_holds(column, plain));
}

/* Whether the field says that it comes from a column of this very type. */
static bool
same_type(const psti_json *column, const struct ArrowSchema *field)
{
	size_t n;
	const char *given = psti_schema_metadata_get(field, "penstock.type", &n);
	const char *type = psti_json_text(column, "type");
	const char *dot;

	if (given == NULL || type == NULL)
		return false;
	if (strlen(type) == n && memcmp(type, given, n) == 0)
		return true;
	/* A source prints a type without schema where its search_path leads to it. */
	dot = type[0] == '"' ? NULL : strchr(type, '.');
	return dot != NULL && strlen(dot + 1) == n && memcmp(dot + 1, given, n) == 0;
}

static pst_status
fail_fit(const psti_json *describe, const char *name, pst_error *err, const char *why)
{
	psti_fail(err, PST_ERR_EXISTS, "%s exists, but %s", psti_json_text(describe, "qualified"), why);
	psti_error_hint(err, "Write to it without creating it, or choose another name.");
	PSTI_ERROR_SET(err, table, psti_json_text(describe, "name"));
	PSTI_ERROR_SET(err, schema, psti_json_text(describe, "schema"));
	if (name != NULL)
		PSTI_ERROR_SET(err, column, name);
	return err->status;
}

static pst_status
check_field(const psti_json *describe, const struct ArrowSchema *field, pst_error *err)
{
	const psti_json *column = psti_json_first(psti_json_get(describe, "columns"));
	const char *name = field->name == NULL ? "" : field->name;
	char arrow[PSTI_ARROW_NAME];
	char why[512];

	while (column != NULL && (psti_json_text(column, "name") == NULL ||
							  strcmp(psti_json_text(column, "name"), name) != 0))
		column = psti_json_next(column);
	if (column == NULL)
		snprintf(why, sizeof(why), "has no column \"%s\"", name);
	else if (psti_json_text(column, "generated") != NULL)
		snprintf(why, sizeof(why), "its column \"%s\" is generated and cannot be written", name);
	else if (!same_type(column, field) && !holds(column, field, 0))
		snprintf(why, sizeof(why),
				 "its column \"%s\" is %s, which cannot hold every value of the Arrow type %s",
				 name, psti_json_text(column, "type"), psti_arrow_name(field->format, arrow));
	else
		return PST_OK;
	return fail_fit(describe, name, err, why);
}

pst_status
psti_create_compatible(const psti_json *describe, const struct ArrowSchema *schema, pst_error *err)
{
	const char *kind = psti_json_text(describe, "kind");
	pst_status status = PST_OK;

	if (kind == NULL || psti_json_text(describe, "qualified") == NULL)
		return psti_fail(err, PST_ERR_DATA, "this is no description of a relation");
	if (strcmp(kind, "materialized view") == 0)
		return fail_fit(describe, NULL, err, "is a materialized view");
	for (int64_t i = 0; status == PST_OK && i < schema->n_children; i++)
		status = check_field(describe, schema->children[i], err);
	return status;
}
