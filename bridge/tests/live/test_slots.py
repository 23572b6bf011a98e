"""penstock slots: the list, --drop, --advance. The plugin is the server's own test_decoding."""
import json
import itertools
import os
import pathlib
import subprocess

import pytest

NUMBER = itertools.count(1)


def pg_recvlogical():
    """The server's own, else (some builds have none) the newest that is installed."""
    installed = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    places = [pathlib.Path(os.environ["PENSTOCK_PGBIN"]), *reversed(installed)]
    return next(place / "pg_recvlogical" for place in places if (place / "pg_recvlogical").exists())


@pytest.fixture
def slot(database):
    """Makes slots, temporary ones not among them, and drops what is left of them."""
    made = []

    def make(name=None):
        name = name or f"py_{os.getpid()}_{next(NUMBER)}"
        database.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [name])
        made.append(name)
        return name

    yield make
    for name in made:
        database.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", [name])


@pytest.fixture
def reader(database):
    """Starts a process that reads a slot; waits until it does."""
    started = []

    def start(name):
        process = subprocess.Popen([pg_recvlogical(), "-d", database.url, "--start", "-S", name, "-f", "/dev/null"],
                                   env={**os.environ, "PGAPPNAME": "someone"})
        started.append(process)
        while database.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name]) is None:
            assert process.poll() is None
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def names(penstock, database):
    return {s["name"]: s for s in json.loads(penstock("slots", database.url, "--json").text)["slots"]}


def exists(database, name):
    return database.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", [name]) == 1


def test_slots_are_a_table_by_name(penstock, database, slot):
    name = slot()
    lines = penstock("slots", database.url).text.splitlines()
    assert [t.strip() for t in lines[0].split("|")] == ["name", "plugin", "database", "read by", "confirmed", "lag", "retained", "state"]
    assert set(lines[1]) == {"-", "+"} and lines[1].index("+") == lines[0].index("|")
    row = next([c.strip() for c in line.split("|")] for line in lines[2:] if line.strip().startswith(name))
    assert row[1:5] == ["test_decoding", database.name, "nobody",
                        database.value("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s", [name])]
    assert row[5].split()[1] in ("bytes", "kB", "MB", "GB")


def test_json_tells_all_of_a_slot(penstock, database, slot):
    name = slot()
    one = names(penstock, database)[name]
    assert (one["type"], one["plugin"], one["database"], one["active"], one["temporary"]) == (
        "logical", "test_decoding", database.name, False, False)
    assert one["lag"] >= 0 and one["retained"] >= one["lag"]


def test_a_reader_is_told(penstock, database, slot, reader):
    name = slot()
    process = reader(name)
    assert process.poll() is None
    pid = database.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name])
    assert f"pid {pid}, someone" in penstock("slots", database.url).text


def test_a_dropped_slot_is_gone(penstock, database, slot):
    name = slot()
    done = penstock("slots", database.url, "--drop", name)
    assert done.text == "" and f'dropped replication slot "{name}"' in done.errors
    assert not exists(database, name)


def test_an_absent_slot_is_told_with_the_near_name(penstock, database, slot):
    name = slot()
    done = penstock("slots", database.url, "--drop", name[:-1] + "x", code=1)
    assert f'there is no replication slot "{name[:-1]}x"' in done.errors and f'Did you mean "{name}"?' in done.errors
    assert exists(database, name)
    assert 'there is no replication slot "far_away"' in penstock("slots", database.url, "--advance", "far_away", "0/1", code=1).errors


def test_a_slot_in_use_stays_and_its_reader_is_named(penstock, database, slot, reader):
    name = slot()
    reader(name)
    pid = database.value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [name])
    for what in (["--drop", name], ["--advance", name, "FFFFFFFF/0"]):
        done = penstock("slots", database.url, *what, code=1)
        assert "it is in use" in done.errors and f"Process {pid} of role " in done.errors and "(someone)" in done.errors
        assert f"pg_terminate_backend({pid})" in done.errors
    assert exists(database, name)


def place(database, sql="pg_current_wal_flush_lsn()"):
    return database.value(f"SELECT ({sql})::text")


@pytest.mark.since(11, "pg_replication_slot_advance")
def test_an_advanced_slot_skips_what_lies_before(penstock, database, slot):
    database.execute("CREATE TABLE t (a int)")
    name = slot()
    database.execute("INSERT INTO t VALUES (1)")
    middle = place(database)
    database.execute("INSERT INTO t VALUES (2)")
    penstock("slots", database.url, "--advance", name, middle)
    got = [row[0] for row in database.execute("SELECT data FROM pg_logical_slot_peek_changes(%s, NULL, NULL)", [name])]
    assert [g for g in got if g.startswith("table")] == ["table public.t: INSERT: a[integer]:2"]


@pytest.mark.since(11, "pg_replication_slot_advance")
def test_a_slot_never_goes_back_nor_beyond_the_end(penstock, database, slot):
    name = slot()
    stands = place(database, f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{name}'")
    done = penstock("slots", database.url, "--advance", name, "0/1", code=1)
    assert f"to 0/1: it stands at {stands}" in done.errors and "never goes back" in done.errors
    assert "the server's WAL ends at" in penstock("slots", database.url, "--advance", name, "FFFFFFFF/0", code=1).errors
    assert place(database, f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{name}'") == stands


@pytest.mark.since(11, "pg_replication_slot_advance")
def test_a_slot_is_advanced_in_its_database(penstock, server, database, slot):
    name = slot()
    done = penstock("slots", server.url(), "--advance", name, place(database), code=1)
    assert f'replication slot "{name}" is of database "{database.name}"' in done.errors


@pytest.mark.parametrize("words, problem", [
    (["--drop", "a", "--advance", "b", "0/1"], "exclude each other"),
    (["--json", "--drop", "a"], "does not go with"),
    (["--advance", "a"], "needs the LSN"),
    (["0/1"], "with --advance only"),
    (["--advance", "a", "0x1"], 'no LSN such as'),
    (["--advance", "a", "123456789/1"], 'no LSN such as'),
])
def test_wrong_words_are_usage_errors(penstock, database, words, problem):
    assert problem in penstock("slots", database.url, *words, code=2).errors
