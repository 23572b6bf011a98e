/*
 * dates.h - PostgreSQL's days and microseconds, which count from 2000-01-01, beside Arrow's, which
 * count from 1970-01-01, and those that count as special values in Arrow.
 *
 * Dates and timestamps outside the years 1 to 9999 do: Arrow's integers hold them, but neither SQL's
 * DATE, Flink's, nor the date types of most readers do.
 */
#ifndef WIRE_DATES_H
#define WIRE_DATES_H

#include <stdint.h>

#define DATES_1970_TO_2000 10957 /* days */
#define DATES_USECS INT64_C(86400000000)
#define DATES_SECONDS_1970_TO_2000 INT64_C(946684800)
#define DATES_USECS_1970_TO_2000 (DATES_SECONDS_1970_TO_2000 * 1000000)
#define DATES_MIN_DAY (-730119) /* 0001-01-01, from 2000 */
#define DATES_MAX_DAY 2921939	/* 9999-12-31 */
#define DATES_MIN_USEC (DATES_MIN_DAY * DATES_USECS)
#define DATES_MAX_USEC ((DATES_MAX_DAY + 1) * DATES_USECS - 1)

#endif /* WIRE_DATES_H */
