/* pgbinary.c - PostgreSQL's own binary form in an Arrow field. */
#include "pgbinary.h"

#include <stdio.h>
#include <string.h>

#include "copy_decode.h"

#define OID_INTERVAL 1186
#define OID_NUMERIC 1700

typedef struct pg_type
{
	const char *name;
	uint32_t oid;
	const char *format;
} pg_type;

static const pg_type pg_types[] = {
#define PST_TYPE(name, oid, array_oid, format, flink, extension) {#name, oid, format},
#include "types.def"
};

#define NTYPES (sizeof(pg_types) / sizeof(pg_types[0]))

static const pg_type *
type_of_oid(uint32_t oid)
{
	for (size_t i = 0; i < NTYPES; i++)
		if (pg_types[i].oid == oid && oid != OID_INTERVAL)
			return &pg_types[i];
	return NULL;
}

static const pg_type *
type_of_name(const char *name, size_t n)
{
	for (size_t i = 0; i < NTYPES; i++)
		if (strlen(pg_types[i].name) == n && memcmp(pg_types[i].name, name, n) == 0)
			return type_of_oid(pg_types[i].oid);
	return NULL;
}

/* Precision and scale where the column's type tells them, so that equal values have equal bytes. */
static void
read_modifier(const struct ArrowSchema *field, psti_arrow_type *type)
{
	size_t n;
	const char *given = psti_schema_metadata_get(field, "penstock.type", &n);
	char text[64];
	int precision;
	int scale;

	if (given == NULL || n >= sizeof(text))
		return;
	memcpy(text, given, n);
	text[n] = '\0';
	/* format_type's own text: one or two small numbers or none. */
	if (sscanf(text, "numeric(%d,%d)", &precision, &scale) == 2) /* NOLINT(cert-err34-c) */
	{
		type->precision = precision;
		type->scale = scale;
	}
}

psti_arrow_type
psti_pgbinary_field(const struct ArrowSchema *field)
{
	psti_arrow_type type = psti_arrow_parse(field->format);
	const pg_type *found;
	const char *name = NULL;
	size_t n = 0;
	bool array;

	if (type.kind == PSTI_ARROW_BINARY || type.kind == PSTI_ARROW_LARGE_BINARY)
		name = psti_schema_metadata_get(field, "penstock.binary", &n);
	if (name == NULL)
		return type;
	array = n > 2 && memcmp(name + n - 2, "[]", 2) == 0;
	found = type_of_name(name, array ? n - 2 : n);
	if (found == NULL)
		return type;
	type.pg_type = found->oid;
	type.pg_array = array;
	if (found->oid == OID_NUMERIC && !array)
		read_modifier(field, &type);
	return type;
}

bool
psti_pgbinary_name(uint32_t oid, bool array, psti_buf *out)
{
	const pg_type *type = type_of_oid(oid);

	if (type == NULL)
		return false;
	psti_buf_printf(out, "%s%s", type->name, array ? "[]" : "");
	return true;
}

psti_arrow_type
psti_pgbinary_arrow(const psti_arrow_type *type)
{
	const pg_type *found = type_of_oid(type->pg_type);
	char format[32];

	if (found == NULL)
		return psti_arrow_parse(NULL);
	if (found->oid != OID_NUMERIC)
		return psti_arrow_parse(found->format);
	snprintf(format, sizeof(format), "d:%d,%d", type->precision, type->scale);
	return psti_arrow_parse(format);
}

bool
psti_pgbinary_print(const psti_arrow_type *type, const void *data, size_t nbytes, bool json,
					psti_buf *out)
{
	psti_copy_column column = {.form = json ? PSTI_FORM_JSON : PSTI_FORM_TEXT,
							   .list = type->pg_array,
							   .delimiter = type->delimiter};

	return psti_copy_known(type->pg_type, &column.type) &&
		   psti_copy_print(&column, data, nbytes, out);
}
