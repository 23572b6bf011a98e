"""What a reader gets when its connection is cut, sliced, stalled or corrupted: all rows as they are, or
an error that has a name; never other rows."""
import json
import os
import signal
import subprocess
import time

import pytest

ROWS = 12
WAYS = {
    "whole": ["--jobs", "1"],
    "by blocks": ["--jobs", "2", "--with", "read.split-bytes=8kb"],
    "by strides": ["--jobs", "1", "--with", "scan.partition.column=id", "--with", "scan.partition.num=3",
                   "--with", "scan.partition.lower-bound=0", "--with", "scan.partition.upper-bound=12"],
}
DEADLINE = 60


@pytest.fixture(scope="module")
def filled(module_database):
    """A table of few rows over several blocks, and its rows as csv."""
    module_database.execute(f"""CREATE TABLE t (id bigint PRIMARY KEY, v text, l int[]);
        ALTER TABLE t ALTER v SET STORAGE PLAIN;
        INSERT INTO t SELECT i, repeat(chr(64 + i::int), 2000), ARRAY[i, NULL, -i] FROM generate_series(1, {ROWS}) i;
        ANALYZE t""")
    return module_database, {f"{i},{chr(64 + i) * 2000},\"{{{i},NULL,-{i}}}\"" for i in range(1, ROWS + 1)}


def command(url, way):
    return [os.environ["PENSTOCK_BIN"], "read", url, "t", "--no-header", "--quiet", "--log", "json", *WAYS[way]]


def assert_all_or_error(url, way, rows, where, must_fail=False):
    """Runs a read: every line that came is a row, none twice, and all of them or an error with a name.

    must_fail only with one worker: several share the rows anew each time, so that a message may not come.
    """
    done = subprocess.run(command(url, way), capture_output=True, timeout=DEADLINE)
    text = done.stdout.decode()
    lines = text[:text.rfind("\n") + 1].splitlines()
    where = f"{way}, {where}: code {done.returncode}, {len(lines)} lines, {done.stderr.decode()}"
    assert len(set(lines)) == len(lines) and rows.issuperset(lines), where
    if done.returncode == 0:
        assert len(lines) == ROWS and not must_fail, where
        return True
    error = [json.loads(line) for line in done.stderr.decode().splitlines()][-1]
    assert error["level"] == "error" and error["message"] and error["status"] != "PST_OK", where
    return False


def sessions(proxy, database, way):
    """How many messages each side of the longest session sends, undisturbed, and of which types."""
    through = proxy()
    done = subprocess.run(command(through.url(database.name), way), capture_output=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    longest = max(through.sessions, key=lambda s: len(s.server.types))
    return {"client": longest.client.types, "server": longest.server.types}


@pytest.mark.parametrize("way", WAYS)
def test_cut_before_every_message_gives_all_rows_or_an_error(way, filled, proxy):
    database, rows = filled
    through = proxy()
    for side, types in sessions(proxy, database, way).items():
        for message in range(1, len(types) + 1):
            through.set_rules(f"{side}:message={message}:cut")
            assert_all_or_error(through.url(database.name), way, rows, f"{side} message {message}",
                                must_fail=way != "by blocks" and types[message - 1] == "d")


@pytest.mark.parametrize("way", WAYS)
def test_cut_within_the_rows_is_an_error(way, filled, proxy):
    database, rows = filled
    through = proxy()
    types = sessions(proxy, database, way)["server"]
    for message in [i + 1 for i, t in enumerate(types) if t == "d"][::4]:
        for offset in (1, 5, 6):  # the trailer has 7 bytes
            through.set_rules(f"server:message={message}:cut={offset}")
            assert_all_or_error(through.url(database.name), way, rows, f"message {message}, byte {offset}", must_fail=way != "by blocks")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", ["server:all:slice=1", "server:all:slice=7", "client:all:slice=1", "server:all:delay=1"])
def test_slices_and_delays_change_nothing(way, rule, filled, proxy):
    database, rows = filled
    assert assert_all_or_error(proxy(rule).url(database.name), way, rows, rule)


# A byte of a value that arrives as another is what TLS is for. These are bytes that frame values: the type
# and the length of a message, the number of a row's fields, and the length of its first one.
@pytest.mark.parametrize("byte", [0, 1, 5, 6, 7, 10])
def test_a_corrupt_frame_of_rows_is_an_error(byte, filled, proxy):
    database, rows = filled
    through = proxy()
    types = sessions(proxy, database, "whole")["server"]
    # Not the first message of rows, which begins with the header, nor the last, the trailer.
    for message in [i + 1 for i, t in enumerate(types) if t == "d"][1:-1]:
        through.set_rules(f"server:message={message}:corrupt={byte}")
        assert_all_or_error(through.url(database.name), "whole", rows, f"message {message}, byte {byte}", must_fail=True)


# Bytes 18 and 19 are flags that a reader may pass over.
@pytest.mark.parametrize("byte", [*range(5, 18), *range(20, 24)])
def test_a_corrupt_header_of_rows_is_an_error(byte, filled, proxy):
    database, rows = filled
    through = proxy(f"server:type=d:corrupt={byte}")
    assert_all_or_error(through.url(database.name), "whole", rows, f"byte {byte}", must_fail=True)


def test_a_corrupt_message_before_the_rows_gives_all_rows_or_an_error(filled, proxy):
    database, rows = filled
    through = proxy()
    types = sessions(proxy, database, "whole")["server"]
    for message, kind in enumerate(types, 1):
        # The type of a message that only tells something may be lost on libpq; what follows Z is waited for.
        if kind in "RTDCEZ1tHnI":
            through.set_rules(f"server:message={message}:corrupt=1")
            assert_all_or_error(through.url(database.name), "whole", rows, f"message {message} of type {kind}")


# The server is asked to stop, and waited for; through a proxy that passes nothing that takes its time.
@pytest.mark.parametrize("way", ["whole", "by blocks"])
def test_a_stall_anywhere_ends_with_a_signal(way, filled, proxy):
    database, _ = filled
    through = proxy()
    count = len(sessions(proxy, database, way)["server"])
    for message in range(2, count, max(1, count // 3)):
        rule = f"server:message={message}:stall"
        through.set_rules(rule)
        child = subprocess.Popen(command(through.url(database.name), way), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.time() + DEADLINE
        while not through.fired:
            assert time.time() < deadline and child.poll() is None, f"{rule} never came"
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=DEADLINE)
        assert child.returncode == 130, rule
