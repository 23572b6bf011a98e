/*
 * fuzz_main.c - runs a fuzz target without libFuzzer: over its seeds, then over mutations of them.
 *
 *   X_fuzz [RUNS] [FILE...]
 *
 * Without files the seeds are those of fuzz/seeds/X. The mutations start from a fixed number, so
 * each run is the same; a crash leaves its input in X_fuzz.crash beside the program.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_SEEDS 4096
#define MAX_SIZE ((size_t) 1 << 20)

typedef struct input
{
	uint8_t *data;
	size_t size;
} input;

static input seeds[MAX_SEEDS];
static size_t nseeds;
static uint64_t state = 0x9E3779B97F4A7C15u;

static uint64_t
random_below(uint64_t bound)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545F4914F6CDD1Du >> 16) % bound;
}

static void
add_seed(const char *path)
{
	FILE *file = fopen(path, "rb");
	input *seed = &seeds[nseeds];

	if (file == NULL || nseeds == MAX_SEEDS)
	{
		fprintf(stderr, "cannot take %s\n", path);
		exit(2);
	}
	seed->data = malloc(MAX_SIZE);
	seed->size = fread(seed->data, 1, MAX_SIZE, file);
	fclose(file);
	nseeds++;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static void
add_folder(const char *folder)
{
	static char *paths[MAX_SEEDS];
	size_t n = 0;
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && n < MAX_SEEDS &&
			asprintf(&paths[n], "%s/%s", folder, entry->d_name) > 0)
			n++;
	if (dir != NULL)
		closedir(dir);
	qsort(paths, n, sizeof(paths[0]), by_name); /* readdir's order is not the same everywhere */
	for (size_t i = 0; i < n; i++)
	{
		add_seed(paths[i]);
		free(paths[i]);
	}
}

/* One to eight changes: a bit, a byte, an interesting integer, a cut, a copied or removed piece. */
static size_t
mutate(uint8_t *data, size_t size)
{
	static const uint32_t odd[] = {0,	   1,	   0x7F,	   0x80,	   0xFF,	  0x7FFF,
								   0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};

	for (uint64_t n = random_below(8) + 1; n > 0 && size > 0; n--)
	{
		size_t at = random_below(size), len = random_below(size - at) + 1;
		uint32_t value = odd[random_below(sizeof(odd) / sizeof(odd[0]))];

		switch (random_below(7))
		{
			case 0:
				data[at] ^= (uint8_t) (1u << random_below(8));
				break;
			case 1:
				data[at] = (uint8_t) random_below(256);
				break;
			case 2:
				memcpy(data + at, &value, size - at < 4 ? size - at : 4);
				break;
			case 3:
				value = __builtin_bswap32(value);
				memcpy(data + at, &value, size - at < 4 ? size - at : 4);
				break;
			case 4:
				size = at + 1;
				break;
			case 5:
				memmove(data + at, data + at + len, size - at - len);
				size -= len;
				break;
			default:
				if (size + len > MAX_SIZE)
					break;
				memmove(data + at + len, data + at, size - at);
				size += len;
				break;
		}
	}
	return size;
}

/* The input that is being tried, for whoever reports a crash. */
static struct
{
	const char *name;
	const uint8_t *data;
	size_t size;
} current;

/* Called by the sanitizers and for signals: leaves the input behind. */
static void
save_input(void)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s.crash", current.name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd >= 0 && write(fd, current.data, current.size) == (ssize_t) current.size)
		fprintf(stderr, "the input is in %s\n", path);
	if (fd >= 0)
		close(fd);
}

static void
on_signal(int signal)
{
	save_input();
	_exit(128 + signal);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void
catch_crashes(const char *name)
{
	current.name = name;
	if (__sanitizer_set_death_callback != NULL)
		__sanitizer_set_death_callback(save_input);
	else
	{
		signal(SIGSEGV, on_signal);
		signal(SIGABRT, on_signal);
		signal(SIGFPE, on_signal);
		signal(SIGALRM, on_signal);
	}
}

static void
run(const uint8_t *data, size_t size)
{
	/* An exact copy: ASan sees a read beyond the end. */
	uint8_t *copy = malloc(size == 0 ? 1 : size);

	current.data = data;
	current.size = size;
	memcpy(copy, data, size);
	alarm(60); /* an endless loop is a failure too */
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

int
main(int argc, char **argv)
{
	long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 5000;
	const char *name = strrchr(argv[0], '/') == NULL ? argv[0] : strrchr(argv[0], '/') + 1;
	uint8_t *work = malloc(MAX_SIZE);
	char folder[1024];

	snprintf(folder, sizeof(folder), "%s/bridge/tests/fuzz/seeds/%.*s", TEST_TOP,
			 (int) (strlen(name) - strlen("_fuzz")), name);
	for (int i = 2; i < argc; i++)
		add_seed(argv[i]);
	if (argc <= 2)
		add_folder(folder);
	catch_crashes(argv[0]);
	if (nseeds == 0)
	{
		fprintf(stderr, "%s: no seeds in %s\n", name, folder);
		return 2;
	}
	for (size_t i = 0; i < nseeds; i++)
		run(seeds[i].data, seeds[i].size);
	for (long i = 0; i < runs; i++)
	{
		const input *seed = &seeds[random_below(nseeds)];

		memcpy(work, seed->data, seed->size);
		run(work, mutate(work, seed->size));
	}
	printf("%s: %zu seeds, %ld mutations\n", name, nseeds, runs);
	for (size_t i = 0; i < nseeds; i++)
		free(seeds[i].data);
	free(work);
	return 0;
}
