/* region_split.c - regions to and from their texts. See region_split.h. */
#include "cdc/region_split.h"

#include <inttypes.h>
#include <stdlib.h>

#include "json.h"

#define PREFIX "pst1:"
#define MAX_COLUMNS 1600
#define MAX_PIECES 1000000

/* Texts that a split has in any case, and those that may be null. */
typedef struct member
{
	const char *key;
	size_t offset;
} member;

#define MEMBER(key, field)                                                                         \
	{                                                                                              \
		key, offsetof(psti_region_split, field)                                                    \
	}

static const member needed[] = {MEMBER("slot", slot),		  MEMBER("system", system),
								MEMBER("database", database), MEMBER("schema", schema),
								MEMBER("table", table),		  MEMBER("read", read)};

static const member optional[] = {MEMBER("view", view),
								  MEMBER("values", values),
								  MEMBER("special-values", special_values),
								  MEMBER("text-columns", text_columns),
								  MEMBER("column", column),
								  MEMBER("lower", lower),
								  MEMBER("upper", upper)};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char **
field(const psti_region_split *split, const member *m)
{
	return (char **) ((char *) (uintptr_t) split + m->offset);
}

/* ---- Printing ---- */

static void
put_text(psti_buf *out, const char *key, const char *value)
{
	psti_buf_printf(out, ",\"%s\":", key);
	psti_json_put_bytes(out, value);
}

static void
put_names(psti_buf *out, const char *key, char *const *names, size_t n)
{
	psti_buf_printf(out, ",\"%s\":[", key);
	for (size_t i = 0; i < n; i++)
	{
		psti_buf_puts(out, i > 0 ? "," : "");
		psti_json_put_bytes(out, names[i]);
	}
	psti_buf_putc(out, ']');
}

static void
put_lsn(psti_buf *out, const char *key, uint64_t lsn)
{
	char text[PSTI_LSN_SIZE];

	psti_buf_printf(out, ",\"%s\":\"%s\"", key, psti_lsn_print(lsn, text));
}

pst_status
psti_region_split_print(const psti_region_split *split, char **out, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;

	psti_buf_printf(&text, PREFIX "{\"region\":[%zu,%zu],\"oid\":%" PRIu32 ",\"timeline\":%" PRIu32,
					split->piece, split->npieces, split->oid, split->timeline);
	put_lsn(&text, "safe", split->safe_lsn);
	if (split->commit_lsn != 0)
	{
		put_lsn(&text, "commit", split->commit_lsn);
		psti_buf_printf(&text, ",\"number\":\"%" PRIu64 "\"", split->number);
	}
	psti_buf_printf(&text, ",\"assisted\":%s", split->assisted ? "true" : "false");
	for (size_t i = 0; i < COUNT(needed); i++)
		put_text(&text, needed[i].key, *field(split, &needed[i]));
	for (size_t i = 0; i < COUNT(optional); i++)
		if (*field(split, &optional[i]) != NULL)
			put_text(&text, optional[i].key, *field(split, &optional[i]));
	put_names(&text, "columns", split->columns, split->ncolumns);
	put_names(&text, "key", split->key, split->nkeys);
	psti_buf_putc(&text, '}');
	*out = psti_buf_steal(&text);
	return *out == NULL ? psti_fail_nomem(err) : PST_OK;
}

/* ---- Parsing ---- */

static pst_status
not_a_split(pst_error *err, const char *why)
{
	psti_fail(err, PST_ERR_INVALID, "not a split of a capture: %s", why);
	psti_error_hint(err, "Pass a text of pst_cdc_plan unchanged.");
	return PST_ERR_INVALID;
}

static pst_status
get_needed(const psti_json *root, const member *m, psti_region_split *split, pst_error *err)
{
	const char *value = psti_json_text(root, m->key);

	if (value == NULL)
		return not_a_split(err, "a member is missing");
	*field(split, m) = strdup(value);
	return *field(split, m) == NULL ? psti_fail_nomem(err) : PST_OK;
}

static pst_status
get_optional(const psti_json *root, const member *m, psti_region_split *split, pst_error *err)
{
	return psti_json_get(root, m->key) == NULL ? PST_OK : get_needed(root, m, split, err);
}

static pst_status
get_names(const psti_json *root, const char *key, char ***out, size_t *n, pst_error *err)
{
	const psti_json *array = psti_json_get(root, key);
	const psti_json *item = psti_json_first(array);
	size_t size = psti_json_size(array);

	if (array == NULL || size > MAX_COLUMNS)
		return not_a_split(err, "it has no columns, or too many");
	*out = calloc(size + 1, sizeof(**out));
	if (*out == NULL)
		return psti_fail_nomem(err);
	for (; *n < size; item = psti_json_next(item))
	{
		const char *name = psti_json_string_value(item);

		if (name == NULL)
			return not_a_split(err, "a column has no name");
		(*out)[*n] = strdup(name);
		if ((*out)[*n] == NULL)
			return psti_fail_nomem(err);
		(*n)++;
	}
	return PST_OK;
}

static bool
get_uint32(const psti_json *root, const char *key, uint32_t *out)
{
	int64_t value = psti_json_int(root, key, -1);

	*out = (uint32_t) value;
	return value >= 0 && value <= UINT32_MAX;
}

static pst_status
get_piece(const psti_json *root, psti_region_split *split, pst_error *err)
{
	const psti_json *region = psti_json_get(root, "region");
	int64_t piece = psti_json_int_value(psti_json_at(region, 0), -1);
	int64_t n = psti_json_int_value(psti_json_at(region, 1), -1);

	if (piece < 0 || n <= piece || n > MAX_PIECES)
		return not_a_split(err, "it is none of its region's pieces");
	split->piece = (size_t) piece;
	split->npieces = (size_t) n;
	return PST_OK;
}

/* A place in WAL; absent it is 0 where it may be. */
static bool
get_lsn(const psti_json *root, const char *key, bool must, uint64_t *out)
{
	const char *text = psti_json_text(root, key);

	*out = 0;
	return psti_json_get(root, key) == NULL ? !must : text != NULL && psti_lsn_parse(text, out);
}

static pst_status
get_place(const psti_json *root, psti_region_split *split, pst_error *err)
{
	bool counted = psti_json_get(root, "number") != NULL;
	int64_t number = counted ? psti_json_int(root, "number", -1) : 0;

	if (!get_uint32(root, "oid", &split->oid) || split->oid == 0 ||
		!get_uint32(root, "timeline", &split->timeline))
		return not_a_split(err, "a number cannot be");
	if (!get_lsn(root, "safe", true, &split->safe_lsn) ||
		!get_lsn(root, "commit", false, &split->commit_lsn) || number < 0)
		return not_a_split(err, "its position cannot be");
	split->number = split->commit_lsn != 0 ? (uint64_t) number : 0;
	split->assisted = psti_json_bool(root, "assisted", false);
	return PST_OK;
}

/* A region of a table without a column to cut it by has no bounds. */
static pst_status
check_bounds(const psti_region_split *split, pst_error *err)
{
	if (split->column == NULL && (split->lower != NULL || split->upper != NULL))
		return not_a_split(err, "it has a bound, and no column");
	return PST_OK;
}

static pst_status
get_members(const psti_json *root, psti_region_split *out, pst_error *err)
{
	pst_status status = get_piece(root, out, err);

	if (status == PST_OK)
		status = get_place(root, out, err);
	for (size_t i = 0; status == PST_OK && i < COUNT(needed); i++)
		status = get_needed(root, &needed[i], out, err);
	for (size_t i = 0; status == PST_OK && i < COUNT(optional); i++)
		status = get_optional(root, &optional[i], out, err);
	if (status == PST_OK)
		status = get_names(root, "columns", &out->columns, &out->ncolumns, err);
	if (status == PST_OK)
		status = get_names(root, "key", &out->key, &out->nkeys, err);
	return status == PST_OK ? check_bounds(out, err) : status;
}

pst_status
psti_region_split_parse(const char *text, psti_region_split *out, pst_error *err)
{
	psti_json *root = NULL;
	pst_error ignored;
	pst_status status;

	memset(out, 0, sizeof(*out));
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return not_a_split(err, "it does not begin with " PREFIX);
	status = psti_json_parse(text + strlen(PREFIX), &root, &ignored);
	if (status == PST_ERR_NOMEM)
		return psti_fail_nomem(err);
	if (status != PST_OK)
		return not_a_split(err, "it is cut or damaged");
	status = get_members(root, out, err);
	psti_json_free(root);
	if (status != PST_OK)
		psti_region_split_free(out);
	return status;
}

pst_status
psti_region_split_read(const psti_region_split *split, psti_split *out, pst_error *err)
{
	pst_status status = psti_split_parse(split->read, out, err);

	if (status != PST_OK || out->relation == split->oid)
		return status;
	psti_split_free(out);
	return not_a_split(err, "it reads another table");
}

static void
free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

void
psti_region_split_free(psti_region_split *split)
{
	for (size_t i = 0; i < COUNT(needed); i++)
		free(*field(split, &needed[i]));
	for (size_t i = 0; i < COUNT(optional); i++)
		free(*field(split, &optional[i]));
	free_names(split->columns, split->ncolumns);
	free_names(split->key, split->nkeys);
	memset(split, 0, sizeof(*split));
}

/* ---- Comparing ---- */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_names(char *const *a, size_t na, char *const *b, size_t nb)
{
	for (size_t i = 0; na == nb && i < na; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return na == nb;
}

bool
psti_region_split_alike(const psti_region_split *a, const psti_region_split *b)
{
	return a->oid == b->oid && a->assisted == b->assisted && same_text(a->system, b->system) &&
		   same_text(a->database, b->database) && same_text(a->schema, b->schema) &&
		   same_text(a->table, b->table) && same_text(a->values, b->values) &&
		   same_text(a->special_values, b->special_values) &&
		   same_text(a->text_columns, b->text_columns) &&
		   same_names(a->columns, a->ncolumns, b->columns, b->ncolumns) &&
		   same_names(a->key, a->nkeys, b->key, b->nkeys);
}

pst_status
psti_region_split_over(const psti_region_split *split, pst_error *err)
{
	psti_fail(err, PST_ERR_STATE, "the plan that the split is of is over");
	psti_error_hint(err,
					"Forget the split: the capture was closed, lost or opened again since, and "
					"plans what is not done anew.");
	PSTI_ERROR_SET(err, schema, split->schema);
	PSTI_ERROR_SET(err, table, split->table);
	err->retryable = true;
	return PST_ERR_STATE;
}
