/* rows.c - see rows.h */
#include "rows.h"

#include <stdarg.h>

#include "arrow_build.h"
#include "test.h"

#define MAX_COLUMNS 16
#define MAX_ROWS 4096

/* Cuts text at each sep into parts, in place; a decimal's own comma is not a cut. */
static size_t
cut(char *text, char sep, char **parts, size_t max)
{
	size_t n = 0;

	parts[n++] = text;
	for (char *at = text; *at != '\0' && n < max; at++)
	{
		if (*at != sep || (sep == ',' && at[1] >= '0' && at[1] <= '9'))
			continue;
		*at = '\0';
		parts[n++] = at + 1;
	}
	return n;
}

void
rows_schema(struct ArrowSchema *schema, const char *columns)
{
	pst_error err = PST_ERROR_INIT;
	char *copy = strdup(columns);
	char *parts[MAX_COLUMNS];
	size_t n = columns[0] == '\0' ? 0 : cut(copy, ',', parts, MAX_COLUMNS);

	assert_ok(psti_schema_init(schema, "+s", "", false, (int64_t) n, &err), &err);
	for (size_t c = 0; c < n; c++)
	{
		char *format = strchr(parts[c], ':');
		struct ArrowSchema *child = schema->children[c];

		*format++ = '\0';
		if (format[0] != 'L')
		{
			assert_ok(psti_schema_init(child, format, parts[c], true, 0, &err), &err);
			continue;
		}
		assert_ok(psti_schema_init(child, "+l", parts[c], true, 1, &err), &err);
		assert_ok(psti_schema_init(child->children[0], "u", "item", true, 0, &err), &err);
	}
	free(copy);
}

static void
put_decimal(uint8_t *out, const char *text, int scale)
{
	__int128 value = 0;
	bool negative = text[0] == '-';
	int after = -1;

	for (const char *at = text + negative; *at != '\0'; at++)
	{
		if (*at == '.')
			after = 0;
		else
		{
			value = value * 10 + (*at - '0');
			after += after >= 0;
		}
	}
	for (int i = after < 0 ? 0 : after; i < scale; i++)
		value *= 10;
	if (negative)
		value = -value;
	memcpy(out, &value, 16);
}

/* A utf8 array of n texts, NULL entries being NULL. */
static void
fill_texts(struct ArrowArray *array, char **values, int64_t n)
{
	pst_error err = PST_ERROR_INIT;
	uint8_t *valid = calloc(1, (size_t) n / 8 + 1);
	int32_t *offsets = calloc((size_t) n + 1, sizeof(int32_t));
	size_t total = 0;
	char *data;

	for (int64_t i = 0; i < n; i++)
		total += values[i] == NULL ? 0 : strlen(values[i]);
	data = malloc(total + 1);
	for (int64_t i = 0; i < n; i++)
	{
		size_t len = values[i] == NULL ? 0 : strlen(values[i]);

		if (values[i] != NULL)
			psti_bit_set(valid, i);
		memcpy(data + offsets[i], values[i] == NULL ? "" : values[i], len);
		offsets[i + 1] = offsets[i] + (int32_t) len;
	}
	assert_ok(psti_array_init(array, n, 3, 0, &err), &err);
	array->null_count = -1;
	psti_array_buffer(array, 0, valid);
	psti_array_buffer(array, 1, offsets);
	psti_array_buffer(array, 2, data);
}

static void
fill_lists(struct ArrowArray *array, char **values, int64_t n)
{
	pst_error err = PST_ERROR_INIT;
	uint8_t *valid = calloc(1, (size_t) n / 8 + 1);
	int32_t *offsets = calloc((size_t) n + 1, sizeof(int32_t));
	char *items[MAX_ROWS];
	int32_t used = 0;

	for (int64_t i = 0; i < n; i++)
	{
		if (values[i] != NULL)
		{
			psti_bit_set(valid, i);
			if (values[i][0] != '\0')
				used += (int32_t) cut(values[i], ' ', items + used, (size_t) (MAX_ROWS - used));
		}
		offsets[i + 1] = used;
	}
	assert_ok(psti_array_init(array, n, 2, 1, &err), &err);
	array->null_count = -1;
	psti_array_buffer(array, 0, valid);
	psti_array_buffer(array, 1, offsets);
	for (int32_t i = 0; i < used; i++)
	{
		if (strcmp(items[i], "~") == 0)
			items[i] = NULL;
	}
	fill_texts(array->children[0], items, used);
}

static void
fill_fixed(struct ArrowArray *array, const char *format, char **values, int64_t n)
{
	pst_error err = PST_ERROR_INIT;
	uint8_t *valid = calloc(1, (size_t) n / 8 + 1);
	uint8_t *data = calloc((size_t) n + 1, 16);
	const char *scale = strchr(format, ',');

	for (int64_t i = 0; i < n; i++)
	{
		int64_t integer = values[i] == NULL ? 0 : strtoll(values[i], NULL, 10);
		double real = values[i] == NULL ? 0 : strtod(values[i], NULL);

		if (values[i] == NULL)
			continue;
		psti_bit_set(valid, i);
		if (format[0] == 'l' || (format[0] == 't' && format[1] != 'd'))
			((int64_t *) data)[i] = integer;
		else if (format[0] == 'i' || (format[0] == 't' && format[1] == 'd'))
			((int32_t *) data)[i] = (int32_t) integer;
		else if (format[0] == 'g')
			((double *) data)[i] = real;
		else if (format[0] == 'b' && values[i][0] == 't')
			psti_bit_set(data, i);
		else if (format[0] == 'd')
			put_decimal(data + 16 * i, values[i], scale == NULL ? 0 : atoi(scale + 1));
	}
	assert_ok(psti_array_init(array, n, 2, 0, &err), &err);
	array->null_count = -1;
	psti_array_buffer(array, 0, valid);
	psti_array_buffer(array, 1, data);
}

static int8_t
take_kind(char **text)
{
	static const char *const kinds[] = {"+I ", "-U ", "+U ", "-D "};

	for (int8_t k = 0; k < 4; k++)
	{
		if (strncmp(*text, kinds[k], 3) == 0)
		{
			*text += 3;
			return k;
		}
	}
	return 0;
}

void
rows_make(test_rows *out, const char *columns, ...)
{
	static char *values[MAX_COLUMNS][MAX_ROWS];
	char *copies[MAX_ROWS];
	pst_error err = PST_ERROR_INIT;
	int64_t n = 0;
	size_t ncolumns;
	const char *row;
	va_list ap;

	memset(out, 0, sizeof(*out));
	rows_schema(&out->schema, columns);
	ncolumns = (size_t) out->schema.n_children;
	out->kinds = calloc(MAX_ROWS, 1);
	out->unchanged = calloc(ncolumns + 1, sizeof(*out->unchanged));
	va_start(ap, columns);
	while ((row = va_arg(ap, const char *)) != NULL)
	{
		char *parts[MAX_COLUMNS];
		char *text = copies[n] = strdup(row);
		size_t got;

		out->kinds[n] = take_kind(&text);
		got = cut(text, '|', parts, MAX_COLUMNS);
		if (got != ncolumns && ncolumns > 0)
			fail_msg("row \"%s\" has %zu values, not %zu", row, got, ncolumns);
		for (size_t c = 0; c < ncolumns; c++)
		{
			bool unchanged = strcmp(parts[c], "=") == 0;

			values[c][n] = strcmp(parts[c], "~") == 0 || unchanged ? NULL : parts[c];
			if (unchanged && out->unchanged[c] == NULL)
				out->unchanged[c] = calloc(1, MAX_ROWS / 8);
			if (unchanged)
				psti_bit_set(out->unchanged[c], n);
		}
		n++;
	}
	va_end(ap);
	assert_ok(psti_array_init(&out->batch.array, n, 1, (int64_t) ncolumns, &err), &err);
	for (size_t c = 0; c < ncolumns; c++)
	{
		const char *format = out->schema.children[c]->format;

		if (format[0] == 'u')
			fill_texts(out->batch.array.children[c], values[c], n);
		else if (format[0] == '+')
			fill_lists(out->batch.array.children[c], values[c], n);
		else
			fill_fixed(out->batch.array.children[c], format, values[c], n);
	}
	for (int64_t i = 0; i < n; i++)
		free(copies[i]);
	out->batch.struct_size = sizeof(out->batch);
	out->batch.schema = &out->schema;
	out->batch.row_kind = out->kinds;
	out->batch.unchanged = (const uint8_t *const *) out->unchanged;
}

void
rows_free(test_rows *r)
{
	psti_array_release(&r->batch.array);
	for (int64_t c = 0; c < r->schema.n_children; c++)
		free(r->unchanged[c]);
	psti_schema_release(&r->schema);
	free(r->unchanged);
	free(r->kinds);
}
