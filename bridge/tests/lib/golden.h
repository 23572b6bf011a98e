/* golden.h - the stored streams of golden/arrow/, for unit tests. */
#ifndef TEST_GOLDEN_H
#define TEST_GOLDEN_H

#include <dirent.h>

#include "test.h"

#define GOLDEN_MAX 256

typedef struct golden_file
{
	char name[64]; /* with its ending */
	uint8_t data[4096];
	size_t len;
} golden_file;

static inline bool
golden_read(const char *name, golden_file *out)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/bridge/tests/golden/arrow/%s", TEST_TOP, name);
	file = fopen(path, "rb");
	if (file == NULL)
		return false;
	snprintf(out->name, sizeof(out->name), "%s", name);
	out->len = fread(out->data, 1, sizeof(out->data), file);
	fclose(file);
	return out->len > 0 && out->len < sizeof(out->data);
}

/* Calls visit for each file whose name ends so ("" for all); fails the test when there are few. */
static inline void
golden_each(const char *ending, void (*visit)(const golden_file *file))
{
	DIR *folder = opendir(TEST_TOP "/bridge/tests/golden/arrow");
	struct dirent *entry;
	int count = 0;

	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL)
	{
		golden_file file;
		size_t len = strlen(entry->d_name);

		if (entry->d_name[0] == '.' || len < strlen(ending) ||
			strcmp(entry->d_name + len - strlen(ending), ending) != 0)
			continue;
		if (!golden_read(entry->d_name, &file))
			fail_msg("cannot read golden file %s", entry->d_name);
		visit(&file);
		count++;
	}
	closedir(folder);
	assert_true(count >= 40);
}

#endif /* TEST_GOLDEN_H */
