/* split.c - splits to and from their texts. */
#include "split.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

#define PREFIX "pst1:"
#define MAX_RUNS 1000000

static const char *const kinds[] = {"all", "blocks", "stride"};

static void
put_member(psti_buf *out, const char *key, const char *value)
{
	psti_buf_printf(out, ",\"%s\":", key);
	if (value == NULL)
		psti_buf_puts(out, "null");
	else
		psti_json_put_bytes(out, value);
}

pst_status
psti_split_print(const psti_split *split, char **out, pst_error *err)
{
	psti_buf text = PSTI_BUF_INIT;

	psti_buf_printf(&text, PREFIX "{\"kind\":\"%s\"", kinds[split->kind]);
	put_member(&text, "snapshot", split->snapshot);
	put_member(&text, "system", split->system);
	put_member(&text, "started", split->started);
	put_member(&text, "database", split->database);
	put_member(&text, "schemas", split->schemas);
	put_member(&text, "options", split->options);
	psti_buf_printf(&text, ",\"relation\":%lu", (unsigned long) split->relation);
	if (split->kind == PSTI_SPLIT_BLOCKS)
	{
		psti_buf_puts(&text, ",\"blocks\":[");
		for (size_t i = 0; i < split->nblocks; i++)
			psti_buf_printf(
				&text, "%s{\"oid\":%lu,\"node\":%lu,\"first\":%lu,\"end\":%lld}", i > 0 ? "," : "",
				(unsigned long) split->blocks[i].oid, (unsigned long) split->blocks[i].node,
				(unsigned long) split->blocks[i].first, (long long) split->blocks[i].end);
		psti_buf_putc(&text, ']');
	}
	if (split->kind == PSTI_SPLIT_STRIDE)
	{
		put_member(&text, "column", split->column);
		put_member(&text, "lower", split->stride.lower);
		put_member(&text, "upper", split->stride.upper);
		psti_buf_printf(&text, ",\"inclusive\":%s,\"nulls\":%s",
						split->stride.inclusive ? "true" : "false",
						split->stride.nulls ? "true" : "false");
	}
	psti_buf_putc(&text, '}');
	*out = psti_buf_steal(&text);
	return *out == NULL ? psti_fail_nomem(err) : PST_OK;
}

static pst_status
not_a_split(pst_error *err, const char *why)
{
	psti_fail(err, PST_ERR_INVALID, "not a split: %s", why);
	psti_error_hint(err, "Pass a text of pst_source_plan unchanged.");
	return PST_ERR_INVALID;
}

/* A required text member, copied. */
static pst_status
get_text(const psti_json *object, const char *key, char **out, pst_error *err)
{
	const char *value = psti_json_text(object, key);

	if (value == NULL)
		return not_a_split(err, "a member is missing");
	*out = strdup(value);
	return *out == NULL ? psti_fail_nomem(err) : PST_OK;
}

static pst_status
get_bound(const psti_json *object, const char *key, char **out, pst_error *err)
{
	const psti_json *value = psti_json_get(object, key);

	if (value == NULL)
		return not_a_split(err, "a bound is missing");
	return psti_json_is_null(value) ? PST_OK : get_text(object, key, out, err);
}

/* A member within [least, 2^32 - 1]; anything else is least - 1. */
static int64_t
get_number(const psti_json *object, const char *key, int64_t least)
{
	int64_t value = psti_json_int(object, key, least - 1);

	return value < least || value > UINT32_MAX ? least - 1 : value;
}

static pst_status
get_run(const psti_json *item, psti_blocks *run, pst_error *err)
{
	int64_t oid = get_number(item, "oid", 1);
	int64_t node = get_number(item, "node", 0);
	int64_t first = get_number(item, "first", 0);
	int64_t end = get_number(item, "end", -1);

	if (oid < 1 || node < 0 || first < 0 || end < -1)
		return not_a_split(err, "a block range holds a number that cannot be");
	if (end >= 0 && end <= first)
		return not_a_split(err, "a block range ends before it begins");
	run->oid = (uint32_t) oid;
	run->node = (uint32_t) node;
	run->first = (uint32_t) first;
	run->end = end;
	return PST_OK;
}

static pst_status
get_blocks(const psti_json *object, psti_split *split, pst_error *err)
{
	const psti_json *runs = psti_json_get(object, "blocks");
	size_t n = psti_json_size(runs);
	const psti_json *item = psti_json_first(runs);
	pst_status status = PST_OK;

	if (n == 0 || n > MAX_RUNS)
		return not_a_split(err, "it has no block ranges");
	split->blocks = calloc(n, sizeof(*split->blocks));
	if (split->blocks == NULL)
		return psti_fail_nomem(err);
	split->nblocks = n;
	for (size_t i = 0; status == PST_OK && i < n; i++, item = psti_json_next(item))
		status = get_run(item, &split->blocks[i], err);
	return status;
}

static pst_status
get_stride(const psti_json *object, psti_split *split, pst_error *err)
{
	pst_status status = get_text(object, "column", &split->column, err);

	if (status == PST_OK)
		status = get_bound(object, "lower", &split->stride.lower, err);
	if (status == PST_OK)
		status = get_bound(object, "upper", &split->stride.upper, err);
	split->stride.inclusive = psti_json_bool(object, "inclusive", false);
	split->stride.nulls = psti_json_bool(object, "nulls", false);
	return status;
}

static pst_status
get_kind(const psti_json *object, psti_split *split, pst_error *err)
{
	const char *kind = psti_json_text(object, "kind");

	for (int i = 0; kind != NULL && i < 3; i++)
	{
		if (strcmp(kind, kinds[i]) == 0)
		{
			split->kind = (psti_split_kind) i;
			return PST_OK;
		}
	}
	return not_a_split(err, "its kind is unknown");
}

static pst_status
read_members(const psti_json *object, psti_split *split, pst_error *err)
{
	const struct
	{
		const char *key;
		char **out;
	} texts[] = {
		{"snapshot", &split->snapshot}, {"system", &split->system},	  {"started", &split->started},
		{"database", &split->database}, {"schemas", &split->schemas}, {"options", &split->options},
	};
	pst_status status = get_kind(object, split, err);
	int64_t relation;

	for (size_t i = 0; status == PST_OK && i < sizeof(texts) / sizeof(texts[0]); i++)
		status = get_text(object, texts[i].key, texts[i].out, err);
	if (status != PST_OK)
		return status;
	relation = get_number(object, "relation", 0);
	if (relation < 0)
		return not_a_split(err, "its relation is no OID");
	split->relation = (uint32_t) relation;
	if (split->kind == PSTI_SPLIT_BLOCKS)
		return get_blocks(object, split, err);
	if (split->kind == PSTI_SPLIT_STRIDE)
		return get_stride(object, split, err);
	return PST_OK;
}

pst_status
psti_split_parse(const char *text, psti_split *out, pst_error *err)
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
	status = read_members(root, out, err);
	psti_json_free(root);
	if (status != PST_OK)
		psti_split_free(out);
	return status;
}

void
psti_stride_free(psti_stride *stride)
{
	free(stride->lower);
	free(stride->upper);
	memset(stride, 0, sizeof(*stride));
}

void
psti_split_free(psti_split *split)
{
	free(split->snapshot);
	free(split->system);
	free(split->started);
	free(split->database);
	free(split->schemas);
	free(split->options);
	free(split->blocks);
	free(split->column);
	psti_stride_free(&split->stride);
	memset(split, 0, sizeof(*split));
}
