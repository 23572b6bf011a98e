/* failpoint.c - what failpoint.h promises, in the test build only; empty in the shipped one. */
#include "failpoint.h"

#ifdef PSTI_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_POINTS 16

/* Passings per entry of PENSTOCK_FAILPOINTS, by its place in the list. */
static atomic_long passed[MAX_POINTS];

static void
sleep_ms(long ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

	while (nanosleep(&left, &left) != 0)
		;
}

static void
wait_for(const char *path)
{
	char reached[512];
	int fd;

	snprintf(reached, sizeof(reached), "%s.reached", path);
	fd = open(reached, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd >= 0)
		close(fd);
	for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++)
		sleep_ms(10);
}

static bool
act(const char *action)
{
	if (strncmp(action, "kill", 4) == 0)
		raise(SIGKILL);
	else if (strncmp(action, "pause:", 6) == 0)
		sleep_ms(strtol(action + 6, NULL, 10));
	else if (strncmp(action, "wait:", 5) == 0)
		wait_for(action + 5);
	return strncmp(action, "error", 5) == 0;
}

/* Whether an entry `name=action[@n]` is due now; the action is left without its @n. */
static bool
due(char *entry, const char *name, int place, const char **action)
{
	char *equals = strchr(entry, '=');
	char *at;
	long nth = 0;

	if (equals == NULL || strlen(name) != (size_t) (equals - entry) ||
		strncmp(entry, name, strlen(name)) != 0)
		return false;
	at = strrchr(equals, '@');
	if (at != NULL)
	{
		nth = strtol(at + 1, NULL, 10);
		*at = '\0';
	}
	*action = equals + 1;
	return atomic_fetch_add(&passed[place], 1) + 1 == nth || nth == 0;
}

bool
psti_failpoint(const char *name)
{
	const char *all = getenv("PENSTOCK_FAILPOINTS");
	char entry[512];

	for (int place = 0; all != NULL && *all != '\0' && place < MAX_POINTS; place++)
	{
		size_t len = strcspn(all, ",");
		const char *action;

		if (len < sizeof(entry))
		{
			memcpy(entry, all, len);
			entry[len] = '\0';
			if (due(entry, name, place, &action))
				return act(action);
		}
		all += len + (all[len] == ',');
	}
	return false;
}

#endif /* PSTI_FAILPOINTS */
