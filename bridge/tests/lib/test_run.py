"""The runner of the tests and scripts/tally: a crash, a hang, a wrong count never pass as success."""
import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
RUN = TOP / "bridge/tests/run"


def program(folder, name, body):
    path = folder / name
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return str(path)


def run(folder, *arguments, timeout="60"):
    """Details go to a file of this test's: what fails here on purpose is none of the outer run's."""
    results = folder / "results"
    done = subprocess.run([sys.executable, str(RUN), "--title", "t", "--results", str(results),
                           *arguments], text=True, stdin=subprocess.DEVNULL, timeout=120,
                          env=dict(os.environ, TEST_TIMEOUT=timeout, TEST_DETAILS=str(folder / "details")),
                          capture_output=True)
    return done, results.read_text().split("\n")[-2]


def test_passed_failed_and_skipped_are_counted(tmp_path):
    tap = "echo 1..4; echo ok 1 - a; echo 'not ok 2 - b'; echo 'not ok 3 # SKIP c'; echo ok 4 - d; exit 1"
    done, line = run(tmp_path, program(tmp_path, "x", tap))
    assert line == "2 1 1 t" and done.returncode == 1
    assert "not ok 2 - b" in done.stdout


def test_a_crash_counts_what_was_planned_and_not_reported(tmp_path):
    done, line = run(tmp_path, program(tmp_path, "x", "echo 1..5; echo ok 1 - a; kill -SEGV $$"))
    assert line == "1 4 0 t" and done.returncode == 1


def test_a_crash_after_the_last_test_is_a_failure(tmp_path):
    done, line = run(tmp_path, program(tmp_path, "x", "echo 1..1; echo ok 1 - a; kill -SEGV $$"))
    assert line == "1 1 0 t" and done.returncode == 1


def test_no_tests_at_all_is_a_failure(tmp_path):
    assert run(tmp_path, program(tmp_path, "x", "exit 0"))[0].returncode == 1


def test_a_hanging_program_is_ended_and_fails(tmp_path):
    done, line = run(tmp_path, program(tmp_path, "x", "echo 1..1; sleep 100"), timeout="1")
    assert line == "0 1 0 t" and "timed out" in done.stdout


def test_several_groups_in_one_program_are_summed(tmp_path):
    body = "echo 1..1; echo ok 1 - a; echo 1..2; echo ok 1 - b; echo ok 2 - c"
    done, line = run(tmp_path, program(tmp_path, "x", body))
    assert line == "3 0 0 t" and done.returncode == 0


def test_pytest_files_are_counted_by_their_report(tmp_path):
    file = tmp_path / "test_x.py"
    file.write_text("def test_a(): pass\ndef test_b(): assert 0\n")
    done, line = run(tmp_path, "--pytest", str(file), "--python", sys.executable)
    assert line == "1 1 0 t" and done.returncode == 1


def test_what_failed_is_told_with_its_reason(tmp_path):
    tap = "echo 1..3; echo ok 1 - a; echo 'not ok 2 - b'; echo '# 1 != 2'; echo '# x.c:3: error'; echo 'not ok 3 - c'; exit 2"
    run(tmp_path, program(tmp_path, "x", tap))
    assert (tmp_path / "details").read_text() == "failed\tx\tb\t1 != 2 x.c:3: error\nfailed\tx\tc\t\n"


def test_what_does_not_apply_is_no_skip_but_can_be_asked_for(tmp_path):
    tap = "echo '# not applicable: b: c came with PostgreSQL 18'; echo 1..1; echo ok 1 - a"
    done, line = run(tmp_path, program(tmp_path, "x", tap))
    assert line == "1 0 0 t" and done.returncode == 0
    assert (tmp_path / "details").read_text() == "inapplicable\tx\tb\tc came with PostgreSQL 18\n"


def tally(tmp_path, text):
    file = tmp_path / "sums"
    file.write_text(text)
    done = subprocess.run([TOP / "scripts/tally", file], capture_output=True, text=True)
    return done.stdout, done.returncode


def test_tally_sums_and_tells_failure_by_its_exit_code(tmp_path):
    assert tally(tmp_path, "3 0 1 unit\n4 0 0 live\n") == ("7 passed, 0 failed\n", 0)
    assert tally(tmp_path, "3 0 1 unit\n4 2 0 live\n") == ("7 passed, 2 failed\n", 1)
    assert tally(tmp_path, "")[1] == 1
