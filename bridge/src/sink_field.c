/* sink_field.c - encoded fields as texts: for errors that name a row, and for skipped rows. */
#include "sink.h"

#include <string.h>

#include "bytes.h"
#include "copy_decode.h"
#include "json.h"
#include "pgtext.h"
#include "utf8.h"

/* --- one field ------------------------------------------------------------------------------ */

static bool
is_text_type(const psti_type *type)
{
	static const Oid texts[] = {19, 25, 114, 1042, 1043};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		if (type->base == texts[i])
			return true;
	}
	return type->typtype == 'e';
}

void
psti_field_text(const psti_sink_column *column, const char *data, int32_t nbytes, psti_buf *out)
{
	const psti_type *type = &column->target->type;
	psti_copy_column form = {.form = PSTI_FORM_TEXT, .list = type->elem != 0};

	if (column->text || is_text_type(type))
		psti_buf_append(out, data, (size_t) nbytes);
	else if (!psti_copy_known(form.list ? type->elem_base : type->base, &form.type) ||
			 !psti_copy_print(&form, data, (size_t) nbytes, out))
		psti_text_bytea((const uint8_t *) data, (size_t) nbytes, out);
}

/* --- walking a row --------------------------------------------------------------------------- */

/* The fields of a row one after the other, whichever form it has. */
typedef struct cursor
{
	const psti_sink_plan *plan;
	const char *at; /* the next field */
	const char *end;
	size_t left; /* fields still there */
	bool line;	 /* of COPY's text format */
} cursor;

static cursor
cursor_new(const psti_sink_plan *plan, bool line, const char *tuple, size_t nbytes)
{
	cursor walk = {plan, tuple, tuple == NULL ? NULL : tuple + nbytes, plan->ncolumns, line};

	if (tuple == NULL)
		walk.left = 0;
	else if (!line)
	{
		walk.left = psti_get16(tuple);
		walk.at += 2;
	}
	return walk;
}

static void
unescape(const char *data, size_t n, psti_buf *out)
{
	for (size_t i = 0; i < n; i++)
	{
		char c = data[i];

		if (c == '\\' && i + 1 < n)
		{
			c = data[++i];
			c = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
		}
		psti_buf_putc(out, c);
	}
}

/*
 * Appends the next field's text. PST_OK, PST_AGAIN for NULL, PST_ERR_STATE for an unchanged one,
 * PST_END after the last.
 */
static pst_status
cursor_next(cursor *walk, size_t c, psti_buf *out)
{
	if (walk->left == 0 || walk->at >= walk->end)
		return PST_END;
	walk->left--;
	if (walk->line)
	{
		const char *from = walk->at;
		size_t n = 0;

		while (from + n < walk->end && from[n] != '\t' && from[n] != '\n')
			n++;
		walk->at = from + n + 1;
		if (n == 2 && from[0] == '\\' && from[1] == 'N')
			return PST_AGAIN;
		unescape(from, n, out);
		return PST_OK;
	}
	else
	{
		int32_t n = (int32_t) psti_get32(walk->at);
		const char *data = walk->at + 4;

		walk->at = data + (n > 0 ? n : 0);
		if (n == PSTI_FIELD_NULL)
			return PST_AGAIN;
		if (n == PSTI_FIELD_UNCHANGED)
			return PST_ERR_STATE;
		psti_field_text(&walk->plan->columns[c], data, n, out);
		return PST_OK;
	}
}

void
psti_line_tuple(const psti_sink_plan *plan, const char *line, size_t nbytes, psti_buf *out)
{
	cursor walk = cursor_new(plan, true, line, nbytes);

	psti_buf_int16(out, (int16_t) plan->ncolumns);
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		size_t at = out->len;
		pst_status got;

		psti_buf_int32(out, PSTI_FIELD_NULL);
		got = cursor_next(&walk, c, out);
		if (got == PST_OK && !out->failed)
			psti_buf_int32_at(out, at, (int32_t) (out->len - at - 4));
	}
}

/* --- names and lines ------------------------------------------------------------------------- */

void
psti_row_name(const psti_sink_plan *plan, bool line, const char *tuple, size_t nbytes,
			  int64_t number, pst_error *err)
{
	cursor walk = cursor_new(plan, line, tuple, nbytes);
	psti_buf key = PSTI_BUF_INIT;

	err->row = number;
	if (err->table[0] == '\0')
	{
		PSTI_ERROR_SET(err, schema, plan->relation->schema);
		PSTI_ERROR_SET(err, table, plan->relation->name);
	}
	for (size_t c = 0; c < plan->nnamed; c++)
		psti_buf_printf(&key, "%s%s", c == 0 ? "(" : ", ", plan->columns[c].target->name);
	for (size_t c = 0; c < plan->nnamed; c++)
	{
		psti_buf_puts(&key, c == 0 ? ")=(" : ", ");
		if (cursor_next(&walk, c, &key) != PST_OK)
			psti_buf_puts(&key, "NULL");
	}
	if (plan->nnamed > 0)
		psti_buf_putc(&key, ')');
	if (!key.failed && key.data != NULL)
		PSTI_ERROR_SET(err, key, key.data);
	psti_buf_free(&key);
}

const char *
psti_row_broken(const psti_sink_plan *plan, bool line, const char *tuple, size_t nbytes)
{
	cursor walk = cursor_new(plan, line, tuple, nbytes);
	psti_buf text = PSTI_BUF_INIT;
	const char *broken = NULL;

	for (size_t c = 0; broken == NULL && c < plan->ncolumns; c++)
	{
		pst_status got;

		psti_buf_reset(&text);
		got = cursor_next(&walk, c, &text);
		if (got == PST_END)
			break;
		if (got == PST_OK && !text.failed && psti_utf8_valid(text.data, text.len) < text.len)
			broken = plan->columns[c].target->name;
	}
	psti_buf_free(&text);
	return broken;
}

static void
put_member(psti_buf *out, const char *name, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	psti_buf_printf(out, ",\"%s\":", name);
	psti_json_put_string(out, value);
}

void
psti_row_json(const psti_sink_plan *plan, bool line, const char *tuple, size_t nbytes,
			  const pst_error *why, psti_buf *out)
{
	cursor walk = cursor_new(plan, line, tuple, nbytes);
	psti_buf value = PSTI_BUF_INIT;
	const char *comma = "";

	psti_buf_printf(out, "{\"row\":%lld,\"table\":", (long long) why->row);
	psti_json_put_string(out, plan->relation->qualified);
	put_member(out, "key", why->key);
	put_member(out, "sqlstate", why->sqlstate);
	put_member(out, "message", why->message);
	put_member(out, "detail", why->detail);
	put_member(out, "column", why->column);
	put_member(out, "constraint", why->constraint);
	psti_buf_puts(out, ",\"values\":{");
	for (size_t c = 0; c < plan->ncolumns; c++)
	{
		pst_status got;

		psti_buf_reset(&value);
		got = cursor_next(&walk, c, &value);
		if (got == PST_END)
			break;
		if (got == PST_ERR_STATE)
			continue;
		psti_buf_puts(out, comma);
		comma = ",";
		psti_json_put_string(out, plan->columns[c].target->name);
		psti_buf_putc(out, ':');
		if (got == PST_AGAIN)
			psti_buf_puts(out, "null");
		else
		{
			psti_buf_putc(&value, '\0'); /* not every writer above ends its text */
			psti_json_put_string(out, value.failed ? "" : value.data);
		}
	}
	psti_buf_puts(out, "}}\n");
	out->failed = out->failed || value.failed;
	psti_buf_free(&value);
}
