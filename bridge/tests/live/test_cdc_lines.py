"""penstock cdc against a server: what its lines and files come to, over restarts, signals and kills."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

TIMEOUT = 60


pytestmark = pytest.mark.since(10, "change capture")


@pytest.fixture(params=["plain", pytest.param("assisted", marks=pytest.mark.extension)])
def transport(request):
    return request.param


class Capture:
    """Runs of one command line in a folder; what they printed is gathered as a reader of the pipe has it."""

    def __init__(self, folder, database, transport):
        self.folder, self.database = folder, database
        self.words = ["--with", f"transport={transport}"]
        self.lines = []

    def start(self, *words):
        self.process = subprocess.Popen([os.environ["PENSTOCK_BIN"], "cdc", self.database.url, *words, *self.words],
                                        cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.gather, args=(self.process,))
        self.reader.start()
        return self

    def gather(self, process):
        for line in process.stdout:
            if line.endswith(b"\n"):
                self.lines.append(json.loads(line))

    def end(self, code=0, signo=None):
        if signo is not None:
            self.process.send_signal(signo)
        self.reader.join(TIMEOUT)
        errors = self.process.stderr.read().decode()
        assert self.process.wait(TIMEOUT) == code, errors
        return errors

    def run(self, *words, code=0):
        return self.start(*words).end(code)

    def until(self, condition):
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end and self.process.poll() is None, self.process.stderr.read().decode()
            time.sleep(0.01)


@pytest.fixture
def capture(tmp_path, database, transport):
    made = Capture(tmp_path, database, transport)
    yield made
    if hasattr(made, "process"):
        made.process.kill()
        made.process.wait()
        made.reader.join(TIMEOUT)
    end = time.monotonic() + TIMEOUT
    while slots(database):
        assert time.monotonic() < end
        database.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database() AND active")
        database.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                         " WHERE database = current_database() AND NOT active AND NOT temporary")


def slots(database):
    return [row[0] for row in database.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database() ORDER BY 1")]


def replayed(lines, key="a"):
    """Rows by key, as a consumer that keeps rows by their key has them."""
    rows = {}
    for line in lines:
        before, after = line["before"], line["after"]
        if line["op"] == "t":
            rows.clear()
        elif line["op"] == "d":
            rows.pop(before[key], None)
        else:
            rows[after[key]] = {**rows.get(after[key], {}), **after}
    return rows


def table(database, sql="SELECT a, b FROM t"):
    return {row[0]: {"a": row[0], "b": row[1]} for row in database.execute(sql)}


DDL = "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 100) g"


def test_snapshot_and_changes_replay_to_the_table(database, capture):
    database.execute(DDL)
    capture.run("t", "--position-file", "p", "--until", "current")
    assert [line["op"] for line in capture.lines] == ["r"] * 100 and replayed(capture.lines) == table(database)
    for statement in ("UPDATE t SET b = b || '!' WHERE a <= 10", "UPDATE t SET a = a + 1000 WHERE a > 95", "DELETE FROM t WHERE a BETWEEN 20 AND 30",
                      "INSERT INTO t VALUES (7000, NULL)", "TRUNCATE t", "INSERT INTO t VALUES (1, 'again')"):
        database.execute(statement)
        capture.run("t", "--position-file", "p", "--until", "current")
        # Before 11 it is not in the stream, and noticed a little later.
        if statement != "TRUNCATE t" or database.server.version >= 110000:
            assert replayed(capture.lines) == table(database), statement
    # Over a restart pgoutput cannot tell a TRUNCATE from another rewrite: the table is read anew there.
    stream = [line["source"] | line for line in capture.lines if line["source"]["snapshot"] == "false"]
    keys = [(line["commit_lsn"], line["seq"], line["op"]) for line in stream]
    assert len(set(keys)) == len(keys) and [key[:2] for key in keys] == sorted(key[:2] for key in keys)
    assert slots(database) == ["penstock_t"]


def test_without_slot_and_file_nothing_stays(database, capture):
    database.execute(DDL)
    capture.run("t", "--start", "snapshot")
    assert len(capture.lines) == 100 and slots(database) == [] and os.listdir(capture.folder) == []


def test_a_slot_alone_goes_on_from_what_was_acknowledged(database, capture):
    database.execute(DDL)
    name = f"py_{os.getpid()}_lines"
    capture.run("t", "--slot", name, "--start", "latest", "--until", "current")
    database.execute("UPDATE t SET b = 'x' WHERE a = 1")
    capture.run("t", "--slot", name, "--start", "never", "--until", "current")
    database.execute("UPDATE t SET b = 'y' WHERE a = 2")
    capture.run("t", "--slot", name, "--start", "never", "--until", "current")
    assert [line["after"]["b"] for line in capture.lines] == ["x", "y"]
    assert name in capture.run("t", "--slot", name, "--until", "current", code=1)


def test_drop_slot_leaves_nothing(database, capture):
    database.execute(DDL)
    capture.run("t", "--position-file", "p", "--until", "current", "--drop-slot")
    assert slots(database) == [] and os.listdir(capture.folder) == []


def test_a_position_without_its_slot_is_an_error(database, capture):
    database.execute(DDL)
    capture.run("t", "--position-file", "p", "--until", "current")
    database.execute("SELECT pg_drop_replication_slot('penstock_t')")
    held = (capture.folder / "p").read_bytes()
    assert "penstock_t" in capture.run("t", "--position-file", "p", "--until", "current", code=1)
    assert slots(database) == [] and (capture.folder / "p").read_bytes() == held


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_each_change_has_come_once(database, capture, signo):
    database.execute(DDL)
    for n in range(3):
        seen = len(capture.lines)
        capture.start("t", "--position-file", "p")
        capture.until(lambda: len(capture.lines) > seen or n > 0)
        for i in range(20):
            database.execute("UPDATE t SET b = %s WHERE a = %s", [f"{n}-{i}", i + 1])
        capture.until(lambda: len(capture.lines) > 100 + 20 * n)
        errors = capture.end(128 + signo, signo)
        assert "error" not in errors
    capture.run("t", "--position-file", "p", "--until", "current")
    assert [line["after"]["b"] for line in capture.lines[100:]] == [f"{n}-{i}" for n in range(3) for i in range(20)]


def test_a_signal_ends_the_wait_for_a_slot_and_a_restart_goes_on(database, capture):
    database.execute(DDL)
    with database.connect() as old:
        old.execute("BEGIN")
        old.execute("UPDATE t SET b = 'old' WHERE a = 1")
        capture.start("t", "--position-file", "p")
        capture.until(lambda: database.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"))
        assert "error" not in capture.end(143, signal.SIGTERM)
        old.execute("COMMIT")
    wait_for_slot(database)
    capture.run("t", "--position-file", "p", "--until", "current")
    assert replayed(capture.lines) == table(database) and slots(database) == ["penstock_t"]


def test_after_kills_replay_equals_the_table(database, capture):
    database.execute(DDL)
    for n in range(6):
        capture.start("t", "--position-file", "p")
        for i in range(30):
            database.execute("INSERT INTO t VALUES (%s, 'new'); ".replace("%s", str(1000 + 30 * n + i)) +
                             f"UPDATE t SET b = 'n{n} {i}' WHERE a % 7 = {i % 7}; DELETE FROM t WHERE a = {30 * n + i}")
        if n % 2 == 0:
            seen = len(capture.lines)
            capture.until(lambda: len(capture.lines) > seen or capture.lines)
        capture.end(-signal.SIGKILL, signal.SIGKILL)
        wait_for_slot(database)
    capture.run("t", "--position-file", "p", "--until", "current")
    assert replayed(capture.lines) == table(database)


def wait_for_slot(database):
    end = time.monotonic() + TIMEOUT
    while database.value("SELECT count(*) FROM pg_replication_slots WHERE active AND database = current_database()"):
        assert time.monotonic() < end
        time.sleep(0.01)


TYPES = """CREATE TABLE v (a int PRIMARY KEY, touched int, bool boolean, i8 bigint, f4 real, f8 double precision, num numeric, dec numeric(12,3), txt text,
    vc varchar(10), ch char(5), bin bytea, dt date, tm time, tm3 time(3), ts timestamp, ts3 timestamp(3), tz timestamptz, ttz timetz, iv interval, id uuid,
    js json, jb jsonb, ints int[], texts text[], decs numeric(6,2)[], times timestamptz[], bits bit(3), one bit(1), net inet, o oid, rng int4range);
    ALTER TABLE v REPLICA IDENTITY FULL;
    INSERT INTO v VALUES (1, 0, true, 9223372036854775807, 1.5, 'NaN', 'NaN', -12.345, E'a"\\\\\\n\\u00e9', 'v', 'c', '\\x00ff', '2020-02-29', '12:00:00.5', '01:02:03.004',
    '2020-01-01 12:00:00.123456', '2020-01-01 12:00:00.123', '2020-01-01 12:00:00.5+00', '12:00:00+02', '1 mon 2 days 03:00', '00112233-4455-6677-8899-aabbccddeeff',
    '{"x": 1.10}', '[null]', '{1,NULL,3}', '{"a,b",NULL}', '{1.5,2}', '{2020-01-01 00:00+00}', '101', '1', '10.0.0.1', 42, '[1,5)');
    INSERT INTO v (a, dt, ts, tz, num) VALUES (2, 'infinity', '-infinity', 'infinity', 1e20)"""

FLINK = {"bool": True, "i8": 9223372036854775807, "f4": 1.5, "f8": "NaN", "num": "NaN", "dec": "-12.345", "txt": 'a"\\\né', "vc": "v", "ch": "c    ",
         "bin": "AP8=", "dt": "2020-02-29", "tm": "12:00:00.5", "tm3": "01:02:03.004", "ts": "2020-01-01 12:00:00.123456", "ts3": "2020-01-01 12:00:00.123",
         "tz": "2020-01-01 12:00:00.5Z", "ttz": "12:00:00+02", "iv": "1 mon 2 days 03:00:00", "id": "00112233-4455-6677-8899-aabbccddeeff",
         "js": '{"x": 1.10}', "jb": "[null]", "ints": [1, None, 3], "texts": ["a,b", None], "decs": ["1.50", "2.00"], "times": ["2020-01-01 00:00:00Z"],
         "bits": "101", "one": "1", "net": "10.0.0.1", "o": "42", "rng": "[1,5)"}
DEBEZIUM = dict(FLINK, dec="z8c=", dt=18321, tm=43200500000, tm3=3723004, ts=1577880000123456, ts3=1577880000123, tz="2020-01-01T12:00:00.5Z", ttz="10:00:00Z",
                iv=2629800000000 + 2 * 86400000000 + 3 * 3600000000, decs=["AJY=", "AMg="], times=["2020-01-01T00:00:00Z"], bits="BQ==", one=True, o=42)


@pytest.mark.parametrize("style", ["flink", "debezium"])
def test_every_type_is_the_same_by_snapshot_and_stream(database, capture, style):
    database.execute(TYPES)
    capture.run("v", "--position-file", "p", "--until", "current", "--json-values", style)
    database.execute("UPDATE v SET touched = 1")
    capture.run("v", "--position-file", "p", "--until", "current", "--json-values", style)
    read, updated = capture.lines[:2], capture.lines[2:]
    assert [line["op"] for line in capture.lines] == ["r", "r", "u", "u"]
    for one, two in zip(read, updated):
        assert one["after"] == two["before"] and {**one["after"], "touched": 1} == two["after"]
    want = FLINK if style == "flink" else DEBEZIUM
    assert {key: read[0]["after"][key] for key in want} == want
    assert read[1]["after"]["dt"] == "infinity" and read[1]["after"]["tz"] == "infinity"
    assert read[1]["after"]["ts"] == ("-infinity" if style == "flink" else -9223372036832400000)


def test_an_unchanged_toast_value_is_listed_and_left_out(database, capture):
    database.execute("CREATE TABLE t (a int PRIMARY KEY, b text, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL;"
                     " INSERT INTO t VALUES (1, 'x', repeat('y', 10000))")
    capture.run("t", "--position-file", "p", "--until", "current")
    database.execute("UPDATE t SET b = 'z'")
    capture.run("t", "--position-file", "p", "--until", "current")
    assert capture.lines[1]["after"] == {"a": 1, "b": "z"} and capture.lines[1]["source"]["unchanged"] == ["big"]
    assert replayed(capture.lines)[1]["big"] == "y" * 10000


def test_added_columns_are_in_the_lines(database, capture):
    database.execute(DDL)
    capture.run("t", "--position-file", "p", "--until", "current")
    database.execute("ALTER TABLE t ADD c int")
    database.execute("INSERT INTO t VALUES (101, 'x', 3)")
    capture.run("t", "--position-file", "p", "--until", "current")
    assert capture.lines[-1]["after"] == {"a": 101, "b": "x", "c": 3}


def test_arrow_files_hold_each_table(database, capture):
    import pyarrow
    database.execute(DDL)
    (capture.folder / "out").mkdir()
    capture.run("t", "--format", "arrow", "-o", "out", "--position-file", "p", "--until", "current")
    database.execute("UPDATE t SET b = 'x' WHERE a = 1")
    capture.run("t", "--format", "arrow", "-o", "out", "--position-file", "p", "--until", "current")
    first, second = (pyarrow.ipc.open_stream(capture.folder / f"out/public.t.{n}.arrows").read_all() for n in (1, 2))
    assert sorted(first["a"].to_pylist()) == list(range(1, 101)) and set(first["row_kind"].to_pylist()) == {"+I"}
    assert second["a"].to_pylist() == [1] and second["row_kind"].to_pylist() == ["+U"]
