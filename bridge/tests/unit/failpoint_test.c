/* failpoint_test.c - what PENSTOCK_FAILPOINTS makes of the named places. */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "failpoint.h"

/* Runs one passing of the named points in a child, whose counters start anew; its exit code or -signal. */
static int
in_child(const char *setting, int passings, const char *name)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
	{
		int hits = 0;

		setenv("PENSTOCK_FAILPOINTS", setting, 1);
		for (int i = 0; i < passings; i++)
			hits += PSTI_FAILPOINT(name);
		_exit(hits);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void
without_the_variable_nothing_happens(void **state)
{
	(void) state;
	unsetenv("PENSTOCK_FAILPOINTS");
	assert_false(PSTI_FAILPOINT("a"));
}

static void
error_fires_at_its_name_only(void **state)
{
	(void) state;
	assert_int_equal(in_child("a=error", 3, "a"), 3);
	assert_int_equal(in_child("a=error", 3, "ab"), 0);
	assert_int_equal(in_child("ab=error", 3, "a"), 0);
	assert_int_equal(in_child("b=kill,a=error", 2, "a"), 2);
}

static void
the_nth_passing_is_counted(void **state)
{
	(void) state;
	assert_int_equal(in_child("a=error@3", 2, "a"), 0);
	assert_int_equal(in_child("a=error@3", 5, "a"), 1);
	assert_int_equal(in_child("a=kill@2", 1, "a"), 0);
	assert_int_equal(in_child("a=kill@2", 2, "a"), -SIGKILL);
}

static void
wait_lasts_until_the_file_is_there(void **state)
{
	char folder[] = "/tmp/penstock-failpoint.XXXXXX", path[64], reached[80], setting[96];
	int status;
	pid_t pid;

	(void) state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/go", folder);
	snprintf(reached, sizeof(reached), "%s.reached", path);
	snprintf(setting, sizeof(setting), "a=wait:%s", path);
	pid = fork();
	if (pid == 0)
	{
		setenv("PENSTOCK_FAILPOINTS", setting, 1);
		(void) PSTI_FAILPOINT("a");
		_exit(access(path, F_OK) == 0 ? 0 : 1);
	}
	while (access(reached, F_OK) != 0)
		usleep(1000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	fclose(fopen(path, "w"));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	unlink(path);
	unlink(reached);
	rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_the_variable_nothing_happens),
		cmocka_unit_test(error_fires_at_its_name_only),
		cmocka_unit_test(the_nth_passing_is_counted),
		cmocka_unit_test(wait_lasts_until_the_file_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
