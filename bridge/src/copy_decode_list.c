/*
 * copy_decode_list.c - binary arrays: as Arrow lists, as array literals and as json.
 *
 * The bytes are array_send's: dimensions, whether there are NULLs, the elements' type; of each
 * dimension its size and lower bound; then the elements in storage order.
 */
#include "copy_decode_internal.h"

#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "pgtext.h"

#define MAX_DIMENSIONS 6 /* MAXDIM of the server */

typedef struct array_shape
{
	uint32_t ndim;
	uint32_t size[MAX_DIMENSIONS];
	int32_t lower[MAX_DIMENSIONS];
	size_t count;  /* of elements */
	bool from_one; /* every lower bound is 1 */
	size_t header; /* bytes before the first element */
} array_shape;

/* elem: the type that the elements must have, 0: any. */
static psti_outcome
read_shape(uint32_t elem, const uint8_t *p, size_t n, array_shape *shape)
{
	size_t count = 1;

	if (n < 12)
		return PSTI_BAD;
	shape->ndim = psti_get32(p);
	if (shape->ndim > MAX_DIMENSIONS || psti_get32(p + 4) > 1 ||
		(elem != 0 && psti_get32(p + 8) != elem))
		return PSTI_BAD;
	shape->header = 12 + 8 * (size_t) shape->ndim;
	if (n < shape->header)
		return PSTI_BAD;
	shape->from_one = true;
	for (uint32_t d = 0; d < shape->ndim; d++)
	{
		shape->size[d] = psti_get32(p + 12 + 8 * d);
		shape->lower[d] = (int32_t) psti_get32(p + 16 + 8 * d);
		shape->from_one = shape->from_one && shape->lower[d] == 1;
		/* Each element has a length word: a count beyond that is a lie. */
		if (shape->size[d] == 0 || !psti_size_mul(count, shape->size[d], &count) ||
			count > (n - shape->header) / 4)
			return PSTI_BAD;
	}
	shape->count = shape->ndim == 0 ? 0 : count;
	return PSTI_GOOD;
}

/* ---- Arrow lists ---- */

static psti_outcome
store_element(psti_vector *child, int64_t i, const uint8_t **p, const uint8_t *end)
{
	psti_outcome outcome;
	uint32_t len;

	if (end - *p < 4)
		return PSTI_BAD;
	len = psti_get32(*p);
	*p += 4;
	if (len == UINT32_MAX)
		return psti_vector_null(child, i) ? PSTI_GOOD : PSTI_NO_MEMORY;
	if (len > (size_t) (end - *p))
		return PSTI_BAD;
	outcome = child->store(child, i, *p, len);
	*p += len;
	if (outcome == PSTI_NULLED)
		return psti_vector_null(child, i) ? PSTI_GOOD : PSTI_NO_MEMORY;
	if (outcome == PSTI_GOOD)
		psti_vector_valid(child, i);
	return outcome;
}

psti_outcome
psti_store_list(psti_vector *v, int64_t i, const uint8_t *p, size_t n)
{
	int32_t *offsets = (int32_t *) v->fixed;
	int64_t first = offsets[i];
	const uint8_t *end = p + n;
	array_shape shape;

	if (read_shape(v->elem, p, n, &shape) != PSTI_GOOD)
		return PSTI_BAD;
	if ((shape.ndim > 1 || !shape.from_one) && v->special != PSTI_SPECIAL_CLAMP)
		return psti_vector_refuse(v);
	if (shape.count > v->value_bytes - (size_t) first)
		return PSTI_FULL;
	if (!psti_vector_grow(v->child, first + (int64_t) shape.count))
		return PSTI_NO_MEMORY;
	p += shape.header;
	for (size_t k = 0; k < shape.count; k++)
	{
		psti_outcome outcome = store_element(v->child, first + (int64_t) k, &p, end);

		if (outcome != PSTI_GOOD)
			return outcome;
	}
	if (p != end)
		return PSTI_BAD;
	offsets[i + 1] = (int32_t) (first + (int64_t) shape.count);
	return PSTI_GOOD;
}

/* ---- Literals and json ---- */

/* An array that is being printed. */
typedef struct printing
{
	const psti_printer *print;
	const array_shape *shape;
	bool json;
	const uint8_t *p; /* the next element */
	const uint8_t *end;
	psti_buf bare; /* an element of a literal before it is quoted; owned */
	psti_buf *out;
} printing;

static psti_outcome
print_element(printing *to)
{
	psti_outcome outcome;
	const uint8_t *p;
	uint32_t len;

	if (to->end - to->p < 4)
		return PSTI_BAD;
	len = psti_get32(to->p);
	p = to->p += 4;
	if (len == UINT32_MAX)
	{
		psti_buf_puts(to->out, to->json ? "null" : "NULL");
		return PSTI_GOOD;
	}
	if (len > (size_t) (to->end - p))
		return PSTI_BAD;
	to->p += len;
	if (to->json)
		return to->print->value(p, len, to->out);
	psti_buf_reset(&to->bare);
	psti_buf_puts(&to->bare, "");
	outcome = to->print->text(p, len, &to->bare);
	if (to->bare.failed)
		return PSTI_NO_MEMORY;
	if (outcome == PSTI_GOOD && to->print->delimiter != ',')
		psti_text_array_quoted(to->bare.data, to->bare.len, to->out);
	else if (outcome == PSTI_GOOD)
		psti_text_array_element(to->bare.data, to->bare.len, to->out);
	return outcome;
}

static psti_outcome
print_dimension(printing *to, uint32_t d)
{
	psti_outcome outcome = PSTI_GOOD;

	psti_buf_putc(to->out, to->json ? '[' : '{');
	for (uint32_t k = 0; outcome == PSTI_GOOD && d < to->shape->ndim && k < to->shape->size[d]; k++)
	{
		if (k > 0)
			psti_buf_putc(to->out, to->json ? ',' : to->print->delimiter);
		outcome = d + 1 < to->shape->ndim ? print_dimension(to, d + 1) : print_element(to);
	}
	psti_buf_putc(to->out, to->json ? ']' : '}');
	return outcome;
}

static psti_outcome
print_array(printing *to)
{
	psti_outcome outcome = print_dimension(to, 0);

	psti_buf_free(&to->bare);
	return outcome == PSTI_GOOD && to->p != to->end ? PSTI_BAD : outcome;
}

/* As array_out does: with its bounds where one of them is not 1. */
static psti_outcome
print_literal(printing *to)
{
	for (uint32_t d = 0; !to->shape->from_one && d < to->shape->ndim; d++)
		psti_buf_printf(to->out, "[%d:%lld]", to->shape->lower[d],
						(long long) to->shape->lower[d] + to->shape->size[d] - 1);
	if (!to->shape->from_one)
		psti_buf_putc(to->out, '=');
	return print_array(to);
}

/* The literal as a json string. */
static psti_outcome
print_quoted(const printing *to)
{
	psti_buf literal = PSTI_BUF_INIT;
	printing inside = *to;
	psti_outcome outcome;

	inside.out = &literal;
	inside.json = false;
	outcome = print_literal(&inside);
	if (literal.failed)
		outcome = PSTI_NO_MEMORY;
	if (outcome == PSTI_GOOD)
		psti_json_string(literal.data, literal.len, to->out);
	psti_buf_free(&literal);
	return outcome;
}

psti_outcome
psti_print(const psti_printer *print, const uint8_t *p, size_t n, psti_buf *out)
{
	array_shape shape;
	printing to = {print, &shape, print->json, NULL, p + n, PSTI_BUF_INIT, out};

	if (!print->list)
		return print->value(p, n, out);
	if (read_shape(print->elem, p, n, &shape) != PSTI_GOOD)
		return PSTI_BAD;
	to.p = p + shape.header;
	if (!print->json)
		return print_literal(&to);
	/* A json list has no bounds, and of json nobody could tell its own lists from dimensions. */
	return !shape.from_one || (print->of_json && shape.ndim > 1) ? print_quoted(&to)
																 : print_array(&to);
}
