/* progress.c - how far the command has come, and who holds it up. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "db.h"
#include "memory.h"
#include "progress.h"
#include "report.h"
#include "signals.h"
#include "wait.h"

#define LIVE_MS 200			  /* the live line's period */
#define LINE_SECONDS 5		  /* a line's period where there is no terminal */
#define WAIT_SECONDS 10		  /* standstill after which somebody is asked who blocks */
#define WAIT_AGAIN_SECONDS 30 /* and again */

/* The command has one progress, so has the process. */
static struct
{
	pthread_t thread;
	bool thread_there;
	pthread_mutex_t lock; /* guards the next four, and wakes the thread */
	pthread_cond_t changed;
	bool ending;
	bool announced;
	progress_plan plan;
	double began;
	cli_db *dbs;
	size_t ndbs;
	atomic_llong rows;
	atomic_llong bytes;
	atomic_llong skipped;
	atomic_int splits;
	atomic_int pauses;		/* how many threads wait for something else than the server */
	atomic_llong movements; /* counts everything that is not standstill */
	atomic_llong limit;		/* rows a second, 0: none */
	atomic_llong passed;	/* rows that throttle has let pass */
	double limit_began;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static const char *
row_word(int64_t count)
{
	return count == 1 ? "row" : "rows";
}

/* 1234567 as 1,234,567. */
static void
put_count(char *out, size_t size, int64_t count)
{
	char digits[32];
	size_t n = (size_t) snprintf(digits, sizeof(digits), "%" PRId64, count);
	size_t at = 0;

	for (size_t i = 0; i < n && at + 1 < size; i++)
	{
		if (i > 0 && (n - i) % 3 == 0 && at + 2 < size)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
}

static void
put_bytes(char *out, size_t size, double bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
	size_t unit = 0;

	while (bytes >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0]))
	{
		bytes /= 1000;
		unit++;
	}
	snprintf(out, size, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static void
put_rate(char *out, size_t size, double rate)
{
	if (rate >= 1e6)
		snprintf(out, size, "%.2f M rows/s", rate / 1e6);
	else if (rate >= 1e4)
		snprintf(out, size, "%.0f k rows/s", rate / 1e3);
	else
		snprintf(out, size, "%.0f rows/s", rate);
}

static void
put_time(char *out, size_t size, double seconds)
{
	int64_t whole = (int64_t) (seconds + 0.5);

	if (whole >= 3600)
		snprintf(out, size, "%" PRId64 ":%02d:%02d", whole / 3600, (int) (whole / 60 % 60),
				 (int) (whole % 60));
	else
		snprintf(out, size, "%d:%02d", (int) (whole / 60), (int) (whole % 60));
}

/* What is known at one moment. */
typedef struct reading
{
	int64_t rows;
	int64_t bytes;
	int64_t skipped; /* of rows */
	int splits;
	double seconds;
	double rate;
	double done; /* 0 to 1, or below 0: not known */
	double left; /* seconds, or below 0 */
} reading;

/* Splits, where there are several, are exact; bytes of a file too; the rows are an estimate. */
static double
part_done(const reading *r)
{
	if (self.plan.bytes_total > 0)
		return (double) r->bytes / (double) self.plan.bytes_total;
	if (self.plan.rows_total > 0)
		return (double) r->rows / (double) self.plan.rows_total;
	if (self.plan.splits_total > 1)
		return (double) r->splits / self.plan.splits_total;
	return -1;
}

static reading
take_reading(void)
{
	reading r = {.rows = atomic_load(&self.rows),
				 .bytes = atomic_load(&self.bytes),
				 .skipped = atomic_load(&self.skipped),
				 .splits = atomic_load(&self.splits),
				 .seconds = now() - self.began,
				 .left = -1};

	r.rate = r.seconds > 0 ? (double) r.rows / r.seconds : 0;
	r.done = part_done(&r);
	if (r.done > 1)
		r.done = 1;
	if (r.done > 0.01)
		r.left = r.seconds * (1 - r.done) / r.done;
	return r;
}

static void
put_reading(char *out, size_t size, const reading *r)
{
	char rows[40];
	char total[40];
	char bytes[32];
	char rate[40];
	char left[32];
	int at;

	put_count(rows, sizeof(rows), r->rows);
	put_bytes(bytes, sizeof(bytes), (double) r->bytes);
	put_rate(rate, sizeof(rate), r->rate);
	at = snprintf(out, size, "%s %s", rows, row_word(r->rows));
	if (self.plan.rows_total >= 0)
	{
		put_count(total, sizeof(total), self.plan.rows_total);
		at += snprintf(out + at, size - (size_t) at, " of about %s", total);
	}
	at += snprintf(out + at, size - (size_t) at, ", %s", bytes);
	if (self.plan.bytes_total >= 0)
	{
		put_bytes(total, sizeof(total), (double) self.plan.bytes_total);
		at += snprintf(out + at, size - (size_t) at, " of %s", total);
	}
	at += snprintf(out + at, size - (size_t) at, ", %s", rate);
	if (r->done >= 0)
		at += snprintf(out + at, size - (size_t) at, ", %.0f %% done", r->done * 100);
	if (r->left >= 0)
	{
		put_time(left, sizeof(left), r->left);
		snprintf(out + at, size - (size_t) at, ", %s left", left);
	}
}

static void
put_reading_json(char *out, size_t size, const reading *r)
{
	int at = snprintf(out, size,
					  "\"rows\":%" PRId64 ",\"bytes\":%" PRId64
					  ",\"rows_per_second\":%.0f,\"seconds\":%.3f",
					  r->rows, r->bytes, r->rate, r->seconds);

	if (self.plan.rows_total >= 0)
		at += snprintf(out + at, size - (size_t) at, ",\"rows_total\":%" PRId64,
					   self.plan.rows_total);
	if (self.plan.bytes_total >= 0)
		at += snprintf(out + at, size - (size_t) at, ",\"bytes_total\":%" PRId64,
					   self.plan.bytes_total);
	if (self.plan.splits_total > 0)
		at += snprintf(out + at, size - (size_t) at, ",\"splits\":%d,\"splits_total\":%d",
					   r->splits, self.plan.splits_total);
	if (r->skipped > 0)
		at += snprintf(out + at, size - (size_t) at, ",\"rows_skipped\":%" PRId64, r->skipped);
	if (r->left >= 0)
		snprintf(out + at, size - (size_t) at, ",\"seconds_left\":%.0f", r->left);
}

static void
say_reading(void)
{
	reading r = take_reading();
	char text[400];
	char fields[400];

	put_reading(text, sizeof(text), &r);
	put_reading_json(fields, sizeof(fields), &r);
	if (report_has_live_line())
		report_live(text);
	else
		report_event("progress", fields, "%s", text);
}

void
progress_announce(const progress_plan *plan)
{
	char text[600];
	char fields[400];
	char total[40];
	int at;

	pthread_mutex_lock(&self.lock);
	self.plan = *plan;
	self.announced = true;
	pthread_mutex_unlock(&self.lock);
	at = snprintf(text, sizeof(text), "%s %.200s%s%.200s: transport %s, ", plan->verb, plan->what,
				  plan->target != NULL ? " to " : "", plan->target != NULL ? plan->target : "",
				  plan->transport);
	if (plan->mode != NULL)
		at += snprintf(text + at, sizeof(text) - (size_t) at, "mode %s, ", plan->mode);
	at += snprintf(text + at, sizeof(text) - (size_t) at, "jobs %d", plan->jobs);
	if (plan->splits_total > 1)
		at += snprintf(text + at, sizeof(text) - (size_t) at, ", %d splits", plan->splits_total);
	if (plan->rows_total >= 0)
	{
		put_count(total, sizeof(total), plan->rows_total);
		snprintf(text + at, sizeof(text) - (size_t) at, ", about %s rows", total);
	}
	at = snprintf(fields, sizeof(fields), "\"transport\":\"%s\",\"jobs\":%d", plan->transport,
				  plan->jobs);
	if (plan->mode != NULL)
		at += snprintf(fields + at, sizeof(fields) - (size_t) at, ",\"mode\":\"%s\"", plan->mode);
	if (plan->rows_total >= 0)
		snprintf(fields + at, sizeof(fields) - (size_t) at, ",\"rows_total\":%" PRId64,
				 plan->rows_total);
	report_event("start", fields, "%s", text);
}

void
progress_add(int64_t rows, int64_t bytes)
{
	atomic_fetch_add(&self.rows, rows);
	atomic_fetch_add(&self.bytes, bytes);
	atomic_fetch_add(&self.movements, 1);
}

void
progress_skipped(int64_t rows)
{
	atomic_fetch_add(&self.skipped, rows);
}

void
progress_split_done(void)
{
	atomic_fetch_add(&self.splits, 1);
	atomic_fetch_add(&self.movements, 1);
}

void
progress_pause(void)
{
	atomic_fetch_add(&self.pauses, 1);
}

void
progress_resume(void)
{
	atomic_fetch_add(&self.movements, 1);
	atomic_fetch_sub(&self.pauses, 1);
}

/* When something moved last, and when that was said. Kept by the thread alone. */
typedef struct standstill
{
	long long movements;
	double since;
	double told; /* 0: not yet */
} standstill;

static void
watch(standstill *still)
{
	long long movements = atomic_load(&self.movements);
	double t = now();

	if (movements != still->movements || atomic_load(&self.pauses) > 0)
	{
		*still = (standstill){.movements = movements, .since = t};
		return;
	}
	if (t - still->since < WAIT_SECONDS || signals_stopping())
		return;
	if (still->told > 0 && t - still->told < WAIT_AGAIN_SECONDS)
		return;
	still->told = t;
	wait_name_blockers(self.dbs, self.ndbs, (int) (t - still->since));
}

/* Sleeps for a period of the live line; true when the thread is to end. */
static bool
sleep_a_little(void)
{
	struct timespec until;
	bool ending;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LIVE_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L)
	{
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&self.lock);
	while (!self.ending && pthread_cond_timedwait(&self.changed, &self.lock, &until) != ETIMEDOUT)
		;
	ending = self.ending;
	pthread_mutex_unlock(&self.lock);
	return ending;
}

static void *
run(void *unused)
{
	standstill still = {.since = now()};
	double said = now();

	(void) unused;
	while (!sleep_a_little())
	{
		bool announced;

		pthread_mutex_lock(&self.lock);
		announced = self.announced;
		pthread_mutex_unlock(&self.lock);
		if (announced && (report_has_live_line() || now() - said >= LINE_SECONDS))
		{
			say_reading();
			said = now();
		}
		watch(&still);
	}
	return NULL;
}

void
progress_start(cli_db *dbs, size_t ndbs)
{
	pthread_condattr_t attributes;

	self.dbs = dbs;
	self.ndbs = ndbs;
	self.began = now();
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&self.changed, &attributes);
	pthread_condattr_destroy(&attributes);
	/* Without the thread there are no progress lines; the work itself does not need it. */
	self.thread_there = pthread_create(&self.thread, NULL, run, NULL) == 0;
}

static void
stop_thread(void)
{
	if (!self.thread_there)
		return;
	pthread_mutex_lock(&self.lock);
	self.ending = true;
	pthread_cond_signal(&self.changed);
	pthread_mutex_unlock(&self.lock);
	pthread_join(self.thread, NULL);
	self.thread_there = false;
}

void
progress_finish(bool success)
{
	reading r = take_reading();
	char rows[40];
	char bytes[32];
	char rate[40];
	char skipped[64] = "";
	char fields[400];

	stop_thread();
	report_live(NULL);
	if (!success || !self.announced)
		return;
	self.announced = false; /* said once */
	r.rows -= r.skipped;
	if (r.skipped > 0)
	{
		put_count(rows, sizeof(rows), r.skipped);
		snprintf(skipped, sizeof(skipped), ", left out %s", rows);
	}
	put_count(rows, sizeof(rows), r.rows);
	put_bytes(bytes, sizeof(bytes), (double) r.bytes);
	put_rate(rate, sizeof(rate), r.rate);
	self.plan.rows_total = -1;
	r.left = -1;
	put_reading_json(fields, sizeof(fields), &r);
	report_event("done", fields, "%s %s %s%s, %s in %.1f s (%s)", self.plan.done_verb, rows,
				 row_word(r.rows), skipped, bytes, r.seconds, rate);
}

void
throttle_set(int64_t rows_per_second)
{
	atomic_store(&self.limit, rows_per_second);
	self.limit_began = now();
}

bool
throttle(int64_t rows)
{
	int64_t limit = atomic_load(&self.limit);
	double due;
	double wait;
	bool stop;

	if (limit == 0)
		return signals_stopping();
	due = self.limit_began + (double) atomic_fetch_add(&self.passed, rows) / (double) limit;
	wait = due - now();
	if (wait <= 0)
		return signals_stopping();
	progress_pause();
	stop = signals_pause(wait < 3600 ? (int) (wait * 1000) + 1 : 3600000);
	progress_resume();
	return stop;
}
