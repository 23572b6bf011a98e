/* answer.h - reading the library's JSON answers. */
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum answer_kind
{
	ANSWER_NULL,
	ANSWER_BOOL,
	ANSWER_NUMBER,
	ANSWER_STRING,
	ANSWER_ARRAY,
	ANSWER_OBJECT
} answer_kind;

/* A value. Members and elements are a list: first, then next. */
typedef struct answer
{
	answer_kind kind;
	char *key;	/* of a member of an object; owned */
	char *text; /* of a string, decoded; of a number or bool as it stands; owned */
	struct answer *first;
	struct answer *next;
} answer;

/* Parses a whole text; NULL when it is not JSON. answer_free frees it. */
answer *answer_parse(const char *json);
void answer_free(answer *value);

/* All accept NULL, which stands for what is absent. */
const answer *answer_get(const answer *object, const char *key);
const char *answer_text(const answer *object, const char *key); /* string or number, else NULL */
bool answer_is(const answer *object, const char *key);			/* true */
double answer_number(const answer *object, const char *key, double dflt);
size_t answer_size(const answer *array);

#endif /* CLI_ANSWER_H */
