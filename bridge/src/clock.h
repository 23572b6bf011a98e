/* clock.h - time that only goes forward: for deadlines and pauses. */
#ifndef PSTI_CLOCK_H
#define PSTI_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds of a monotonic clock. */
static inline int64_t
psti_now_ms(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t) at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

#endif /* PSTI_CLOCK_H */
