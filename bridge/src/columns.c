/*
 * columns.c - what a column becomes: how it is asked for, decoded, and called in Arrow. See columns.h.
 *
 * Text is always the type's output function, never a cast. Types whose binary form is known are printed by
 * the client; of the others the server calls the output function.
 */
#include "columns.h"

#include <string.h>

#include "arrow_build.h"
#include "decimal.h"
#include "pgbinary.h"

#define OID_RECORD 2249
#define OID_ANYARRAY 2277

/*
 * Whether the decoder knows the binary form of the type, or of an array's elements, as this server
 * has it: before 10 one may count times in floating point.
 */
static bool
known_here(const psti_column_rules *rules, const psti_type *type, psti_copy_type *known)
{
	if (!psti_copy_known(type->elem != 0 ? type->elem_base : type->base, known))
		return false;
	switch (*known)
	{
		case PSTI_COPY_TIME:
		case PSTI_COPY_TIMETZ:
		case PSTI_COPY_TIMESTAMP:
		case PSTI_COPY_TIMESTAMPTZ:
		case PSTI_COPY_INTERVAL:
			return rules->integer_datetimes;
		default:
			return true;
	}
}

bool
psti_column_is_text(const psti_column_rules *rules, const char *name)
{
	size_t n = 0;
	const char *const *names = psti_opt_list(rules->options, PSTI_OPT_TEXT_COLUMNS, &n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], "*") == 0 || strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* ---- What a column becomes ---- */

/* Whether the type, or the element of a list, has an Arrow form; sets what the decoder needs. */
static bool
choose_arrow(const psti_column_rules *rules, const psti_type *type, psti_copy_column *copy)
{
	bool list = type->elem != 0;
	int32_t typmod = list ? type->elem_typmod : type->base_typmod;
	psti_copy_type known;

	if (!known_here(rules, type, &known) || !psti_copy_has_arrow(known))
		return false;
	if (known == PSTI_COPY_NUMERIC && !decimal_typmod(typmod, &copy->precision, &copy->scale))
		return false;
	copy->type = known;
	copy->form = PSTI_FORM_ARROW;
	copy->list = list;
	copy->elem = type->elem;
	return true;
}

static bool
is_float(psti_copy_type type)
{
	return type == PSTI_COPY_FLOAT4 || type == PSTI_COPY_FLOAT8;
}

/*
 * Text: printed here when the binary form, or that of an array's elements, is known, else by the
 * server.
 */
static void
choose_text(const psti_column_rules *rules, const psti_type *type, psti_copy_form form,
			psti_ask *ask, psti_copy_column *copy)
{
	int version = rules->server_version;
	bool list = type->elem != 0;
	psti_copy_type known = PSTI_COPY_TEXT;

	copy->form = form;
	/* Before 12 the shortest exact digits of floats are not what the server prints. */
	if (known_here(rules, type, &known) && !(is_float(known) && version < 120000))
	{
		copy->type = known;
		/* 17 made infinities of interval's extremes. */
		if (known == PSTI_COPY_INTERVAL && version < 170000)
			copy->type = PSTI_COPY_INTERVAL_FINITE;
		copy->list = list;
		copy->elem = type->elem;
		return;
	}
	*ask = PSTI_ASK_OUTPUT;
	copy->type = is_float(known) && !list ? PSTI_COPY_NUMBER_TEXT : PSTI_COPY_TEXT;
}

/*
 * The binary form as it is, where Arrow's type does not hold every value. Not of intervals, of which
 * the same bytes are a finite one before 17 and an infinite one since.
 */
static bool
choose_binary(const psti_column_rules *rules, const psti_type *type, psti_copy_column *copy)
{
	psti_copy_type known;

	if (!known_here(rules, type, &known) || !psti_copy_has_arrow(known) ||
		known == PSTI_COPY_INTERVAL || (type->elem == 0 && !psti_copy_is_lossy(known)))
		return false;
	copy->type = known;
	copy->form = PSTI_FORM_BINARY;
	copy->list = type->elem != 0;
	copy->elem = type->elem;
	return true;
}

static bool
choose_lossless(const psti_column_rules *rules, const psti_type *type, psti_copy_column *copy)
{
	psti_copy_type known;

	if (choose_binary(rules, type, copy))
		return true;
	return known_here(rules, type, &known) && !psti_copy_is_lossy(known) &&
		   choose_arrow(rules, type, copy);
}

/* Arrays and composites, as row_to_json descends into them. */
static bool
is_nested(const psti_type *type)
{
	return type->elem != 0 || type->typtype == 'c' || type->base == OID_RECORD ||
		   type->base == OID_ANYARRAY;
}

/* What the extension makes of it: wire/types.def on its side too, and text of all else. */
static void
choose_assisted(const psti_column_rules *rules, const psti_type *type, bool text,
				psti_copy_column *copy)
{
	if (!text && rules->values == PSTI_VALUES_ARROW && choose_arrow(rules, type, copy))
		return;
	copy->form = PSTI_FORM_TEXT;
	copy->type = PSTI_COPY_TEXT;
}

void
psti_column_choose(const psti_column_rules *rules, const char *name, const psti_type *type,
				   psti_ask *ask, psti_copy_column *copy)
{
	bool text = psti_column_is_text(rules, name);

	*ask = PSTI_ASK_VALUE;
	copy->name = name;
	if (rules->assisted)
	{
		choose_assisted(rules, type, text, copy);
		return;
	}
	switch (rules->values)
	{
		case PSTI_VALUES_JSON:
			choose_text(rules, type, PSTI_FORM_JSON, ask, copy);
			if (*ask == PSTI_ASK_OUTPUT && is_nested(type))
			{
				*ask = PSTI_ASK_JSON;
				copy->type = PSTI_COPY_MADE_JSON;
			}
			break;
		case PSTI_VALUES_CSV:
			choose_text(rules, type, PSTI_FORM_TEXT, ask, copy);
			break;
		case PSTI_VALUES_LOSSLESS:
			if (text || !choose_lossless(rules, type, copy))
				choose_text(rules, type, PSTI_FORM_TEXT, ask, copy);
			break;
		default:
			if (text || !choose_arrow(rules, type, copy))
				choose_text(rules, type, PSTI_FORM_TEXT, ask, copy);
			break;
	}
}

/* ---- Fields ---- */

/* Whether special-values can make NULL of a value of the column: clamp finds nothing near to NaN. */
bool
psti_column_may_be_nulled(const psti_column_rules *rules, const psti_copy_column *copy)
{
	if (copy->form != PSTI_FORM_ARROW)
		return false;
	switch ((psti_special) psti_opt_int(rules->options, PSTI_OPT_SPECIAL_VALUES))
	{
		case PSTI_SPECIAL_NULL:
			return copy->list || psti_copy_is_lossy(copy->type);
		case PSTI_SPECIAL_CLAMP:
			return copy->type == PSTI_COPY_NUMERIC && !copy->list;
		default:
			return false;
	}
}

static const char *
extension_name(const psti_copy_column *copy)
{
	if (copy->form != PSTI_FORM_ARROW)
		return NULL;
	switch (copy->type)
	{
		case PSTI_COPY_UUID:
			return "arrow.uuid";
		case PSTI_COPY_JSON:
		case PSTI_COPY_JSONB:
			return "arrow.json";
		default:
			return NULL;
	}
}

/* Metadata of a field: pairs of key and value. */
typedef struct field_facts
{
	const char *keys[5];
	const char *values[5];
	size_t n;
} field_facts;

static void
add_fact(field_facts *facts, const char *key, const char *value)
{
	if (value == NULL)
		return;
	facts->keys[facts->n] = key;
	facts->values[facts->n++] = value;
}

/* type: its name for `penstock.type`; base: that of the values, or of an array's elements. */
static pst_status
field(struct ArrowSchema *out, const psti_copy_column *copy, const char *name, const char *type,
	  Oid base, const char *values, pst_error *err)
{
	psti_buf binary = PSTI_BUF_INIT;
	field_facts facts = {.n = 0};
	char format[32];
	pst_status status;

	psti_copy_format(copy, format, sizeof(format));
	status = psti_schema_init(out, format, name, !copy->not_null, 0, err);
	if (status == PST_OK && copy->form == PSTI_FORM_BINARY)
	{
		psti_pgbinary_name(base, copy->list, &binary);
		status = psti_buf_check(&binary, err);
	}
	if (status == PST_OK)
	{
		add_fact(&facts, "penstock.type", type);
		add_fact(&facts, "penstock.values", values);
		add_fact(&facts, "penstock.binary", binary.data);
		add_fact(&facts, "ARROW:extension:name", extension_name(copy));
		add_fact(&facts, "ARROW:extension:metadata", extension_name(copy) != NULL ? "" : NULL);
		status = psti_schema_metadata(out, facts.n, facts.keys, facts.values, err);
	}
	psti_buf_free(&binary);
	return status;
}

static pst_status
list_field(struct ArrowSchema *out, const psti_copy_column *copy, const psti_type *type,
		   const char *name, pst_error *err)
{
	const char *keys[] = {"penstock.type"};
	const char *texts[] = {type->name};
	psti_copy_column item = *copy;
	pst_status status = psti_schema_init(out, "+l", name, !copy->not_null, 1, err);

	item.not_null = false;
	if (status == PST_OK)
		status = psti_schema_metadata(out, 1, keys, texts, err);
	if (status == PST_OK)
		status =
			field(out->children[0], &item, "item", type->elem_name, type->elem_base, NULL, err);
	return status;
}

pst_status
psti_column_field(struct ArrowSchema *out, const psti_copy_column *copy, const psti_type *type,
				  const char *values, pst_error *err)
{
	if (copy->list && copy->form == PSTI_FORM_ARROW)
		return list_field(out, copy, type, copy->name, err);
	return field(out, copy, copy->name, type->name, copy->list ? type->elem_base : type->base,
				 values, err);
}
