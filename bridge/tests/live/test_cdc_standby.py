"""Change capture from a standby, whose slot is its own: what works there is exact, what does not is said."""
import re
import time

import pytest

from capture import Failed
from conftest import Server
from scene import Scene, clean, wait_for

pytestmark = pytest.mark.since(16, "slots of a standby")
TRANSPORTS = [pytest.param("assisted", marks=pytest.mark.extension), "plain"]
PLAIN = pytest.mark.parametrize("scene", ["plain"], indirect=True)


class StandbyScene(Scene):
    """Its tables are written on the primary; its captures read from the standby."""

    def __init__(self, server, other, database, transport):
        super().__init__(server, database, transport)
        self.other = other

    def capture(self, *args, publish=True, **arguments):
        made = super().capture(*args, **arguments)
        if self.transport == "plain" and publish:
            self.sql(f"CREATE PUBLICATION {made.options['slot.name']} FOR TABLE {', '.join(made.tables)}, marker")
        made.url = self.other.url(self.database.name)
        self.caught_up()
        return made

    def caught_up(self):
        here = self.value("SELECT pg_current_wal_lsn()")
        with self.other.connect() as conn:
            wait_for(lambda: conn.execute("SELECT pg_last_wal_replay_lsn() >= %s", [here]).fetchone()[0],
                     "the standby has replayed")

    def begin_slot(self, capture):
        """A slot of a standby waits until the primary has told what runs there."""
        def told():
            self.sql("SELECT pg_log_standby_snapshot()")
            capture.step(100, 0.2)
            return (self.slot(capture) or {}).get("confirmed_flush_lsn")
        capture.start()
        wait_for(told, "the slot is made")

    def started(self, *tables, **arguments):
        capture = self.capture(tables or ("t",), **arguments)
        self.begin_slot(capture)
        capture.until_complete()
        return capture

    def slot(self, capture):
        with self.other.connect() as conn:
            rows = conn.execute("SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s",
                                [capture.options["slot.name"]]).fetchall()
        return rows[0][0] if rows else None

    def end(self):
        super().end()
        clean(self.database, self.other)


@pytest.fixture(scope="module")
def other(server):
    """The standby, which keeps the primary from removing what it still looks at."""
    made = Server()
    made.port = server.standby_port
    feedback(server, made, "on")
    yield made
    feedback(server, made, None)


def feedback(server, other, value):
    with other.connect() as conn:
        conn.execute("ALTER SYSTEM " + (f"SET hot_standby_feedback = {value}" if value else "RESET hot_standby_feedback"))
        conn.execute("SELECT pg_reload_conf()")
    if value == "on":
        with server.connect() as conn:
            wait_for(lambda: conn.execute("SELECT count(backend_xmin) FROM pg_stat_replication").fetchone()[0],
                     "the standby has told what it looks at")


@pytest.fixture(params=TRANSPORTS)
def scene(request, server, other, database):
    made = StandbyScene(server, other, database, request.param)
    made.sql("CREATE TABLE t (id int PRIMARY KEY, v int, big text)")
    made.sql("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    made.sql("INSERT INTO t SELECT g, g, repeat('t' || g, 2000) FROM generate_series(1, 40) g")
    yield made
    made.end()


# ---- What works ----

def test_snapshot_and_stream(scene):
    capture = scene.started()
    assert capture.replica.snapshot_rows["t"] == 40
    assert scene.slot(capture)["database"] == scene.database.name
    scene.commit(capture, "UPDATE t SET v = v + 1", "DELETE FROM t WHERE id % 5 = 0")
    scene.commit(capture, "UPDATE t SET id = id + 100 WHERE id < 10", "INSERT INTO t VALUES (1, 1, 'new')")
    scene.drain(capture)
    assert capture.replica.compared == 2


def test_rows_written_while_the_tables_are_read(scene):
    capture = scene.capture(options={"read.batch-rows": "5"})
    scene.begin_slot(capture)
    for i in range(6):
        scene.sql("UPDATE t SET v = v + 1, id = id + 1000 WHERE id %% 6 = %s", [i])
        capture.steps(2)
    capture.until_complete()
    scene.drain(capture)


def test_a_restart_goes_on_behind_the_stored_position(scene):
    capture = scene.started()
    for i in range(4):
        scene.commit(capture, f"UPDATE t SET v = v + 1 WHERE id % 4 = {i}", f"INSERT INTO t VALUES ({200 + i}, 0)")
        (capture.restart if i % 2 else capture.crash)()
        if not capture.tool:
            capture.start()
    scene.drain(capture)
    capture.close()
    before = scene.slot(capture)["confirmed_flush_lsn"]
    scene.sql("UPDATE t SET v = 0")
    capture.start()
    scene.drain(capture)
    wait_for(lambda: (capture.step(50), scene.slot(capture)["confirmed_flush_lsn"] != before)[1],
             "the standby's slot follows what was acknowledged")
    assert not capture.replica.resets


def test_it_ends_where_the_standby_is(scene):
    capture = scene.started()
    capture.close()
    scene.sql("UPDATE t SET v = v + 1")
    scene.caught_up()
    capture.options["scan.stop.at"] = "current"
    capture.start()
    capture.until_end()
    assert capture.replica.changes == 40


def test_the_stream_alone(scene):
    capture = scene.capture(options={"scan.startup.mode": "latest-offset"})
    scene.begin_slot(capture)
    scene.sql("INSERT INTO t VALUES (99, 99)")
    capture.until(lambda: capture.replica.changes)
    assert list(capture.replica.table("t").rows) == [("99",)]


def test_the_rows_alone(scene):
    capture = scene.capture(options={"scan.startup.mode": "snapshot"})
    del capture.options["slot.name"]
    capture.start()
    capture.until_end()
    assert len(capture.replica.table("t").rows) == 40


@pytest.mark.extension
@pytest.mark.parametrize("scene", ["assisted"], indirect=True)
def test_an_interrupted_snapshot_goes_on(scene):
    capture = scene.capture(options={"read.batch-rows": "5"})
    scene.begin_slot(capture)
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 10)
    capture.crash()
    scene.sql("UPDATE t SET v = v + 1, id = id + 100 WHERE id % 3 = 0")
    scene.caught_up()
    capture.start()
    capture.until_complete()
    scene.drain(capture)


@pytest.mark.extension
@pytest.mark.parametrize("scene", ["assisted"], indirect=True)
def test_a_table_that_is_read_anew(scene):
    """A new table: it is made, written and read while the stream goes on."""
    capture = scene.started(options={"table-name": "public.*"})
    scene.sql("CREATE TABLE later (id int PRIMARY KEY, v int)")
    scene.sql("INSERT INTO later SELECT g, g FROM generate_series(1, 20) g")
    capture.tables.append("later")
    scene.drain(capture)


# ---- What does not ----

def refusal(capture, seconds=20):
    deadline = time.monotonic() + seconds
    with pytest.raises(Failed) as caught:
        if not capture.tool:
            capture.start()
        while time.monotonic() < deadline:
            capture.step()
    assert caught.value.answer["hint"], caught.value
    return caught.value


@PLAIN
def test_an_interrupted_snapshot_is_refused(scene):
    capture = scene.capture(options={"read.batch-rows": "5"})
    scene.begin_slot(capture)
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 10)
    capture.crash()
    failed = refusal(capture)
    assert failed.answer["status"] == "PST_ERR_UNSUPPORTED" and not failed.retryable, failed
    assert "standby does not tell which transactions run" in failed.text, failed
    assert scene.slot(capture)


@PLAIN
def test_a_table_that_must_be_read_anew_is_refused(scene):
    capture = scene.started()
    scene.sql("ALTER TABLE t ALTER v TYPE bigint USING v * 10")
    scene.sql("UPDATE t SET v = v + 1 WHERE id = 1")
    failed = refusal(capture)
    assert "standby does not tell which transactions run" in failed.text, failed


@PLAIN
def test_a_publication_is_made_on_the_primary(scene):
    capture = scene.capture(publish=False)
    failed = refusal(capture)
    statement = re.search("On the primary: (CREATE PUBLICATION .*)$", failed.answer["hint"])
    assert statement, failed
    assert scene.slot(capture) is None
    capture.crash()
    scene.sql(statement[1])
    scene.caught_up()
    scene.begin_slot(capture)
    capture.until_complete()
    scene.drain(capture)


def test_what_a_slot_waits_for_is_told(scene):
    """A transaction of the primary, which the standby does not name."""
    writer = scene.begin("UPDATE t SET v = -1 WHERE id = 1")
    capture = scene.capture(options={"cdc.wait-timeout": "1s"})
    failed = refusal(capture)
    assert failed.answer["status"] == "PST_ERR_TIMEOUT" and failed.retryable, failed
    assert "primary" in failed.answer["detail"] and "pg_log_standby_snapshot()" in failed.answer["hint"], failed
    capture.crash()
    capture.options["cdc.wait-timeout"] = "0"
    writer.execute("COMMIT")
    scene.begin_slot(capture)
    capture.until_complete()
    scene.drain(capture)


def test_a_slot_whose_catalog_rows_are_gone(scene, server, other):
    """Without hot_standby_feedback the primary removes rows that the slot needs."""
    capture = scene.started()
    scene.drain(capture)
    capture.close()
    feedback(server, other, "off")
    try:
        def lost():
            scene.sql("CREATE TABLE gone (id int)")
            scene.sql("DROP TABLE gone")
            scene.sql("VACUUM pg_class")
            scene.sql("VACUUM pg_attribute")
            return (scene.slot(capture) or {}).get("conflicting") or scene.slot(capture).get("wal_status") == "lost"
        wait_for(lost, "the slot is lost", 60)
        failed = refusal(capture)
        assert f"\"{capture.options['slot.name']}\" is lost" in failed.text and not failed.retryable, failed
    finally:
        feedback(server, other, "on")
