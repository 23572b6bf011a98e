/* position_fuzz.c - any bytes as the text of a position: what is read comes back from its own text. */
#include <stdlib.h>
#include <string.h>

#include "cdc/position.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
insist(bool holds)
{
	if (!holds)
		abort();
}

/* What the parser promises of each table. */
static void
check_places(const psti_position *position)
{
	for (size_t i = 0; i < position->nplaces; i++)
	{
		const psti_place *place = &position->places[i];

		insist(i == 0 || position->places[i - 1].oid < place->oid);
		insist(psti_position_find(position, place->oid) == place);
		insist(place->nparts > 0 && (place->nparts == 1 || place->column != NULL));
		insist((place->kind == PSTI_KEY_NONE) == (place->column == NULL));
		for (size_t l = 0; l < place->nleaves; l++)
			insist(psti_place_leaf(place, place->leaves[l].oid) == &place->leaves[l]);
		for (size_t p = 0; p < place->nparts; p++)
		{
			const psti_part *part = &place->parts[p];

			insist(part->view == PSTI_NO_VIEW || part->view < position->nviews);
			insist((part->lower == NULL) == (p == 0));
			insist(p < 2 || psti_region_key_compare(&place->parts[p - 1].key, &part->key) < 0);
		}
	}
}

static char *
print(const psti_position *position)
{
	pst_error err = PST_ERROR_INIT;
	char *text = NULL;

	insist(psti_position_print(position, &text, &err) == PST_OK);
	return text;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *first;
	char *second;
	psti_position one;
	psti_position two;
	pst_error err = PST_ERROR_INIT;

	memcpy(text, data, size);
	text[size] = '\0';
	if (psti_position_parse(text, &one, &err) != PST_OK)
	{
		insist(err.status == PST_ERR_INVALID && err.message[0] != '\0');
		free(text);
		return 0;
	}
	check_places(&one);
	first = print(&one);
	insist(psti_position_parse(first, &two, &err) == PST_OK);
	second = print(&two);
	insist(strcmp(first, second) == 0);
	insist(one.serial != two.serial || psti_position_order(&one, &two) == 0);
	while (psti_position_forget(&one))
		check_places(&one);
	for (size_t i = 0; i < one.nplaces; i++)
		psti_place_merge(&one.places[i]);
	check_places(&one);
	psti_position_free(&one);
	psti_position_free(&two);
	free(text);
	free(first);
	free(second);
	return 0;
}
