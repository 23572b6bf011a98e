"""scripts/cluster: what its command gets, and that nothing is left behind, however it ends."""
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
CLUSTER = TOP / "scripts/cluster"


@pytest.fixture
def folder(tmp_path):
    """A TMPDIR of its own, so that what is left there is ours. Users other than root may use it."""
    short = pathlib.Path("/tmp") / f"pst-{os.getpid()}"
    short.mkdir()
    short.chmod(0o1777)
    yield short
    shutil.rmtree(short)


def environment(folder, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    env.update(TMPDIR=str(folder), PENSTOCK_PGBIN=os.environ["PENSTOCK_PGBIN"], **more)
    return env


def cluster(folder, *arguments, **more):
    return subprocess.run([str(CLUSTER), *arguments], env=environment(folder, **more), text=True,
                          capture_output=True, stdin=subprocess.DEVNULL, timeout=300)


def test_the_command_reaches_the_server_and_its_exit_code_is_ours(folder):
    done = cluster(folder, "--", "sh", "-c", 'psql -XAtc "SHOW wal_level"; exit 7',
                   PGSSLMODE="verify-full", PGSERVICE="none")
    assert (done.returncode, done.stdout) == (7, "logical\n")
    assert list(folder.iterdir()) == []


def test_settings_and_initdb_arguments_count(folder):
    done = cluster(folder, "--set", "work_mem=3MB", "--initdb", "--encoding=LATIN1", "--initdb",
                   "--locale=C", "--", "psql", "-XAtc", "SHOW work_mem; SHOW server_encoding")
    # psql gives the last result of one -c before 15, all of them from then on.
    assert done.stdout.splitlines()[-1] == "LATIN1", done.stderr


def test_a_server_that_does_not_start_is_an_error_with_its_log(folder):
    done = cluster(folder, "--set", "no_such_setting=1", "--", "true")
    assert done.returncode == 1 and "no_such_setting" in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("--",), ("--nonsense", "--", "true"), ("--bin",)])
def test_wrong_use_is_exit_code_2(folder, arguments):
    assert cluster(folder, *arguments).returncode == 2


def runs(pid):
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_command_and_leaves_nothing(folder, number, code):
    child = subprocess.Popen(
        [str(CLUSTER), "--", "sh", "-c", "echo $PENSTOCK_CLUSTER; exec sleep 300"],
        env=environment(folder), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    data = child.stdout.readline().strip() + "/data/postmaster.pid"
    postmaster = int(pathlib.Path(data).read_text().split()[0])
    assert runs(postmaster)
    child.send_signal(number)
    assert child.wait(60) == code
    assert list(folder.iterdir()) == []
    assert not runs(postmaster)


def test_the_command_does_not_ignore_signals(folder):
    done = cluster(folder, "--", "sh", "-c", "kill -INT $$; echo survived")
    assert done.stdout == ""


def test_the_command_may_crash_the_server(folder):
    done = cluster(folder, "--", "sh", "-c", '"$PENSTOCK_CLUSTER/ctl" primary crash; exit 3')
    assert done.returncode == 3
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_it_works_for_a_user_who_is_not_root(folder):
    shutil.copy(CLUSTER, folder / "cluster")
    done = subprocess.run(["runuser", "-u", "nobody", "--", str(folder / "cluster"), "--standby",
                           "--", "psql", "-XAtc", "SELECT 'as ' || 'another'"],
                          env=environment(folder), cwd="/", capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=300)
    assert done.stdout == "as another\n", done.stderr
    assert [p.name for p in folder.iterdir()] == ["cluster"]
