"""The ways in which change capture can be wrong, each found by an experiment: every one of these histories
loses, doubles or invents a row for a reader that goes by LSNs, or by a snapshot that it took itself."""
import time

import pytest

from capture import Failed
from scene import Scene, wait_for


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def scene(request, server, database):
    made = Scene(server, database, request.param)
    yield made
    made.end()


def tables(scene, n=20):
    for name in ("t", "u"):
        scene.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, v int, big text)")
        scene.sql(f"ALTER TABLE {name} ALTER big SET STORAGE EXTERNAL")
        scene.sql(f"INSERT INTO {name} SELECT g, g, repeat('{name}' || g, 2000) FROM generate_series(1, {n}) g")


def interrupted(scene, *names, after=4, **arguments):
    """A capture that was killed when it had stored so many rows of its snapshot."""
    capture = scene.capture(names or ("t",), options={"read.batch-rows": "2"}, **arguments)
    capture.start()
    capture.until(lambda: sum(capture.replica.snapshot_rows.values()) >= after)
    assert not capture.replica.complete
    capture.crash()
    return capture


def touch(scene, name="t"):
    """pgoutput tells of a table's rewrite at its next change only."""
    if scene.transport == "plain":
        scene.sql(f"INSERT INTO {name} (id) VALUES (-1000)")


# ---- What a snapshot sees ----

def test_a_commit_before_the_slot_that_a_later_snapshot_does_not_see(scene):
    """It is in no stream; a snapshot taken when the capture goes on must not be taken before it is seen."""
    tables(scene)
    capture = scene.capture(("t", "u"))
    with scene.committed_before_the_slot(capture, "INSERT INTO t VALUES (100, 1)",
                                         "UPDATE u SET v = -1 WHERE id = 1"):
        capture.steps(10)
        capture.crash()
        capture.start()
        capture.steps(40)
    capture.until_complete()
    scene.drain(capture)
    assert ("100", "1", None) in capture.replica.table("t").all()


def test_the_slots_snapshot_is_not_read_before_everyone_sees_what_it_sees(scene):
    tables(scene)
    capture = scene.capture(("t", "u"))
    with scene.committed_before_the_slot(capture, "INSERT INTO t VALUES (100, 1)",
                                         "UPDATE u SET v = -1 WHERE id = 1"):
        capture.steps(40)
    capture.until_complete()
    scene.drain(capture)
    assert scene.value("SELECT count(*) FROM t WHERE id = 100") == 1


@pytest.mark.parametrize("statement", [
    "VACUUM FULL t", "CLUSTER t USING t_pkey", "ALTER TABLE t ALTER v TYPE bigint", "TRUNCATE t",
    "ALTER TABLE t ALTER v TYPE int USING v * 10", "ALTER TABLE t ADD COLUMN c float DEFAULT random()"])
def test_a_table_that_is_rewritten_between_the_slot_and_its_reading(scene, statement):
    """Under the older snapshot the new file is empty, without an error."""
    tables(scene)
    capture = scene.capture(("t", "u"))
    with scene.committed_before_the_slot(capture, "INSERT INTO u VALUES (100, 1)"):
        with scene.background("SET lock_timeout = '20s'", statement, "INSERT INTO t (id, v) VALUES (50, 5)") as done:
            capture.until(done, 30)
    capture.until_complete()
    scene.drain(capture)


@pytest.mark.parametrize("statement", ["VACUUM FULL u", "ALTER TABLE u ALTER v TYPE int USING v * 10",
                                       "TRUNCATE u"])
def test_a_table_that_is_rewritten_before_its_turn_comes(scene, statement):
    tables(scene)
    capture = scene.capture(("t", "u"), options={"read.batch-rows": "2"})
    capture.start()
    capture.until(lambda: sum(capture.replica.snapshot_rows.values()) > 0)
    first = next(iter(capture.replica.snapshot_rows))
    with scene.background(statement if first == "t" else statement.replace(" u", " t")) as done:
        capture.until(lambda: capture.replica.complete and done())
    touch(scene, "u" if first == "t" else "t")  # its turn may have come before
    scene.drain(capture)


def test_an_asynchronous_commit_that_a_crash_takes_back(scene):
    """The snapshot has shown it, and its xid is used again."""
    tables(scene)
    scene.setting("wal_writer_delay", "10s")
    scene.server.ctl("primary", "restart")
    scene.conn = scene.connect()
    capture = interrupted(scene)
    writer = scene.begin()
    writer.execute("SET LOCAL synchronous_commit = off")
    writer.execute("INSERT INTO t VALUES (100, 1)")
    writer.execute("COMMIT")
    before = capture.replica.snapshot_rows["t"]
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > before or capture.replica.complete)
    scene.crash_server()
    capture.crash()
    scene.sql("INSERT INTO t VALUES (101, 1)")
    capture.start()
    capture.until_complete()
    scene.sql("INSERT INTO t VALUES (102, 1)")
    scene.drain(capture)


def test_asynchronous_commits_of_the_stream_and_a_crash(scene):
    tables(scene)
    capture = scene.started()
    scene.sql("SET synchronous_commit = off")
    for i in range(100, 120):
        scene.sql(f"INSERT INTO t VALUES ({i}, 1)")
        capture.step(0)
    scene.crash_server()
    capture.crash()
    scene.sql("INSERT INTO t VALUES (200, 1)")
    capture.start()
    scene.drain(capture)


def test_a_snapshot_sees_the_transaction_that_the_position_lies_inside(scene):
    """Its first change was taken; the table is read anew because of its second; the third must find the row."""
    tables(scene)
    capture = scene.capture(("t",), options={"read.batch-rows": "1"})
    capture.start()
    capture.until_complete()
    with scene.waiting_commit("INSERT INTO t VALUES (100, 1)",
                              "ALTER TABLE t ALTER v TYPE int USING v * 10",
                              "UPDATE t SET v = -5 WHERE id = 100", "UPDATE t SET v = -6 WHERE id = 1"):
        # A plain capture waits until the transaction is seen: what it has done to the table is in no stream.
        if scene.transport == "assisted":
            capture.until(lambda: capture.replica.changes > 0)
        capture.steps(10)
        capture.crash()
        capture.start()
        capture.steps(20)
    capture.until_complete()
    scene.drain(capture)


def test_a_table_that_is_captured_later(scene):
    """A transaction that wrote it before, and goes on writing it, comes whole."""
    tables(scene)
    capture = scene.started("u")
    scene.sql("UPDATE u SET v = 0 WHERE id = 1")
    scene.drain(capture)
    capture.close()
    writer = scene.begin("INSERT INTO t VALUES (100, 1)", "UPDATE t SET v = -1 WHERE id = 1")
    capture.options["table-name"] = "public.t,public.u,public.marker"
    capture.tables = ["t", "u"]
    try:
        capture.start()
    except Failed as failed:
        # A capture may refuse another choice of tables, but then it says so.
        assert "table" in failed.text
        return
    capture.steps(20)
    writer.execute("INSERT INTO t VALUES (101, 1)")
    writer.execute("DELETE FROM t WHERE id = 2")
    capture.steps(5)
    writer.execute("COMMIT")
    scene.drain(capture)
    assert capture.replica.table("t").all()


# ---- Changes that a snapshot has in part ----

MOVES = ["UPDATE t SET id = id + 1000 WHERE id IN (1, 2, 3)",           # from what was read
         "UPDATE t SET id = -id WHERE id IN (18, 19, 20)",              # into it
         "UPDATE t SET id = 1 WHERE id = 17", "UPDATE t SET id = 17 WHERE id = 4",
         "DELETE FROM t WHERE id IN (5, 16)", "INSERT INTO t VALUES (5, 50, 'new'), (16, 160, 'new')",
         "UPDATE t SET v = v + 1"]


@pytest.mark.parametrize("after", [1, 7, 13, 19])
@pytest.mark.parametrize("consumer", ["exact", "replay", "upsert"])
def test_keys_that_move_between_what_was_read_and_what_was_not(scene, after, consumer):
    tables(scene)
    capture = interrupted(scene, after=after, consumer=consumer)
    for move in MOVES[:4]:
        scene.sql(move)
    capture.start()
    capture.steps(2)
    for move in MOVES[4:]:
        scene.sql(move)
    capture.until_complete()
    scene.drain(capture)


def test_a_large_table_of_which_a_part_was_read(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int, pad text)")
    scene.sql("INSERT INTO t SELECT g, g, repeat('x', 500) FROM generate_series(1, 30000) g")
    capture = scene.capture(("t",), options={"read.batch-rows": "1000"})
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 12000)
    capture.crash()
    scene.sql("UPDATE t SET id = id + 40000 WHERE id % 1000 = 0")
    scene.sql("UPDATE t SET id = id - 20000 WHERE id % 1000 = 1 AND id BETWEEN 20000 AND 30000"
              " AND NOT EXISTS (SELECT FROM t o WHERE o.id = t.id - 20000)")
    scene.sql("DELETE FROM t WHERE id % 1000 = 2")
    capture.start()
    capture.steps(3)
    scene.sql("UPDATE t SET v = -v WHERE id % 500 = 3")
    capture.until_complete()
    scene.drain(capture)


def test_a_delete_that_does_not_tell_the_key_that_the_table_was_read_by(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL, v int)")
    scene.sql("CREATE UNIQUE INDEX t_code ON t (code)")
    scene.sql("ALTER TABLE t REPLICA IDENTITY USING INDEX t_code")
    scene.sql("INSERT INTO t SELECT g, -g, g FROM generate_series(1, 20) g")
    capture = interrupted(scene)
    scene.sql("DELETE FROM t WHERE id IN (1, 20)")
    scene.sql("UPDATE t SET id = id + 100 WHERE id IN (2, 19)")
    capture.start()
    capture.steps(2)
    scene.sql("DELETE FROM t WHERE id IN (3, 18)")
    capture.until_complete()
    scene.drain(capture)


@pytest.mark.parametrize("consumer", ["exact", "replay"])
@pytest.mark.parametrize("statement", [
    "TRUNCATE t", "BEGIN; DELETE FROM t WHERE id = 1; TRUNCATE t; INSERT INTO t VALUES (1, 1, 'x'); COMMIT",
    "ALTER TABLE t ALTER v TYPE int USING v * 10"])
def test_a_truncate_that_some_of_what_was_read_has(scene, statement, consumer):
    """It can be neither left out nor told: the table is read anew."""
    tables(scene)
    capture = interrupted(scene, consumer=consumer)
    scene.sql(statement)
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(30, 40) g")
    capture.start()
    capture.until_complete()
    scene.drain(capture)
    # And once more while it is read anew.
    capture.close()
    capture = interrupted(scene, consumer=consumer)
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(50, 60) g")
    capture.start()
    capture.steps(3)
    with scene.background(*statement.split("; ")) as done:
        capture.until(lambda: capture.replica.complete and done())
    touch(scene)
    scene.drain(capture)


def test_a_key_update_into_what_was_read_that_lacks_a_value(scene):
    """Its half would be a row without the TOASTed value."""
    tables(scene)
    capture = interrupted(scene, after=10)
    scene.sql("UPDATE t SET id = id - 100 WHERE id > 12")
    scene.sql("UPDATE t SET id = id + 200 WHERE id BETWEEN 1 AND 5")
    capture.start()
    capture.until_complete()
    scene.drain(capture)


def test_rewriting_alter_in_the_stream(scene):
    """No change of a row tells of it."""
    tables(scene)
    capture = scene.started()
    scene.sql("ALTER TABLE t ALTER v TYPE int USING v * 10")
    scene.sql("UPDATE t SET v = v + 1 WHERE id = 1")
    scene.drain(capture)
    capture.crash()
    scene.sql("ALTER TABLE t ALTER v TYPE int USING v * 10")
    scene.sql("UPDATE t SET v = v + 1 WHERE id = 2")
    capture.start()
    scene.drain(capture)


# ---- Positions ----

def test_numbers_in_a_transaction_depend_on_no_setting_and_no_filter(scene):
    tables(scene)
    if scene.server.version >= 130000:
        scene.setting("logical_decoding_work_mem", "256MB")
    roomy = scene.started("t", "u" if scene.transport == "assisted" else "t")
    if scene.server.version >= 130000:
        scene.setting("logical_decoding_work_mem", "64kB")
    narrow = scene.started("t")
    with scene.conn.transaction():
        for i in range(3):
            scene.sql(f"INSERT INTO t SELECT g, {i}, repeat('y', 500) FROM generate_series({1000 * i + 100},"
                      f" {1000 * i + 400}) g")
            scene.sql("UPDATE u SET v = v + 1")
            scene.sql("SAVEPOINT a")
            scene.sql("UPDATE t SET v = 77")
            scene.sql("ROLLBACK TO a")
            scene.sql("UPDATE t SET v = v + 1 WHERE id < 5")
            scene.sql("SELECT pg_logical_emit_message(true, 'x', 'y')")
    for capture in roomy, narrow:
        scene.drain(capture)
    places = [[p for p in c.replica.places if p[0] == "t"] for c in (roomy, narrow)]
    assert len(places[0]) == 3 * (301 + 4) and places[0] == places[1]


def test_a_position_inside_a_transaction(scene):
    """Whatever was rolled back in it, and however it was spilled."""
    tables(scene)
    capture = scene.capture(options={"read.batch-rows": "7"})
    capture.start()
    capture.until_complete()
    scene.commit(capture, "INSERT INTO t SELECT g, 0, repeat('y', 900) FROM generate_series(100, 300) g",
                 "SAVEPOINT a", "DELETE FROM t", "ROLLBACK TO a", "UPDATE t SET v = 1 WHERE id < 200")
    scene.commit(capture, "UPDATE t SET v = 2")
    before = 0
    while capture.replica.changes < 100:
        capture.until(lambda: capture.replica.changes > before)
        before = capture.replica.changes
        capture.restart()
    scene.drain(capture)
    assert capture.replica.compared == 2


def test_a_change_is_not_acknowledged_before_it_was_delivered(scene):
    """The server passes on at idle times; what it has sent, and nobody has taken, must come again."""
    tables(scene)
    scene.sql("CREATE TABLE noise (v text)")
    capture = scene.started()
    for i in range(5):
        scene.sql("INSERT INTO noise SELECT repeat('x', 900) FROM generate_series(1, 500)")
        scene.sql(f"INSERT INTO t VALUES ({100 + i}, 1)")
        scene.sql("INSERT INTO noise SELECT repeat('x', 900) FROM generate_series(1, 500)")
        for _ in range(i):
            capture.step(10)
        capture.restart()
    scene.drain(capture)


def test_values_that_several_changes_of_a_transaction_leave_alone(scene):
    tables(scene)
    capture = scene.started()
    scene.commit(capture, "UPDATE t SET big = repeat('new', 3000) WHERE id = 1", "UPDATE t SET v = 2 WHERE id = 1",
                 "UPDATE t SET id = 500 WHERE id = 1", "UPDATE t SET v = 3 WHERE id = 500")
    scene.drain(capture)
    assert capture.replica.compared == 1


def test_complete_is_told_when_the_copy_is_a_moment_of_the_server(scene):
    """Between a snapshot that was taken later and its horizon it is none."""
    tables(scene)
    capture = interrupted(scene)
    for i in range(10):
        scene.commit(capture, f"UPDATE t SET v = v + {i}", f"INSERT INTO t VALUES ({100 + i}, 0)",
                     f"DELETE FROM t WHERE id = {i}")
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 4)
    for i in range(10, 15):
        scene.commit(capture, f"UPDATE t SET v = v + {i}", f"DELETE FROM t WHERE id = {i}")
    capture.until_complete()
    for i in range(15, 18):
        scene.commit(capture, f"UPDATE t SET v = v + {i}", f"DELETE FROM t WHERE id = {i}")
    scene.drain(capture)
    assert capture.replica.compared >= 3


# ---- Consumers that cannot store a position with their data ----

@pytest.mark.parametrize("consumer", ["replay", "upsert"])
def test_a_row_that_was_read_deleted_and_not_read_again(scene, consumer):
    tables(scene)
    capture = scene.capture(options={"read.batch-rows": "2"}, consumer=consumer, every=0)
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] >= 10)
    capture.crash()
    scene.sql("DELETE FROM t WHERE id < 5")
    capture.start()
    capture.until_complete()
    scene.drain(capture)


def test_a_reset_is_stored_before_it_is_told(scene):
    tables(scene)
    capture = scene.started(consumer="replay", every=0)
    capture.store()
    scene.sql("ALTER TABLE t ALTER v TYPE int USING v * 10")
    scene.sql("UPDATE t SET v = 1 WHERE id = 1")
    for _ in range(6):
        capture.steps(2, 200)
        capture.restart()
    scene.drain(capture)


@pytest.mark.parametrize("consumer", ["replay", "upsert"])
def test_a_key_update_that_comes_twice_while_its_key_is_used_anew(scene, consumer):
    tables(scene)
    capture = scene.started(consumer=consumer, every=0)
    capture.store()
    scene.sql("UPDATE t SET id = 30 WHERE id = 1")
    scene.sql("INSERT INTO t VALUES (1, 0, repeat('other', 2000))")
    for _ in range(3):
        scene.drain(capture)
        capture.crash()
        capture.start()
    scene.drain(capture)


# ---- Waiting ----

def test_who_waits_holds_no_lock(scene):
    """A transaction with an xid that the capture waits for must get its own lock."""
    tables(scene)
    capture = interrupted(scene)
    writer = scene.begin("SELECT txid_current()")
    capture.start()
    capture.steps(20)
    assert not capture.replica.complete
    writer.execute("SET lock_timeout = '20s'")
    writer.execute("ALTER TABLE t ADD COLUMN c int")
    writer.execute("UPDATE t SET c = id WHERE id < 3")
    writer.execute("COMMIT")
    capture.until_complete()
    scene.drain(capture)


@pytest.mark.parametrize("names", [("t", "u"), ("t", "u", "w")], ids=["alone", "beside others"])
def test_a_table_that_others_have_locked_is_come_back_to(scene, names):
    """Each call ends about in time, other tables are read meanwhile, and who has the lock is told."""
    tables(scene)
    scene.sql("CREATE TABLE w AS TABLE u; ALTER TABLE w ADD PRIMARY KEY (id)")
    capture = interrupted(scene, *names)
    read = sum(capture.replica.snapshot_rows.values())
    capture.start()
    capture.until(lambda: sum(capture.replica.snapshot_rows.values()) > read)
    locker = scene.begin("LOCK TABLE u IN ACCESS EXCLUSIVE MODE")
    longest = 0

    def named():
        nonlocal longest
        begin = time.monotonic()
        capture.step(100)
        longest = max(longest, time.monotonic() - begin)
        return f"the lock of public.u: process {locker.info.backend_pid}" in capture.tool.errors()
    capture.until(named, 40)
    assert longest < 4
    assert all(len(capture.replica.table(name).rows) == 20 for name in names if name != "u")
    locker.execute("UPDATE u SET v = -v")
    locker.execute("COMMIT")
    capture.until_complete()
    scene.drain(capture)


def test_a_snapshot_without_a_stream_waits_for_a_table_that_others_have_locked(scene):
    tables(scene)
    capture = scene.capture(("t", "u"), options={"read.batch-rows": "2", "scan.startup.mode": "snapshot"})
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 0)
    locker = scene.begin("LOCK TABLE u IN ACCESS EXCLUSIVE MODE")
    capture.until(lambda: capture.replica.snapshot_rows["t"] == 20)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert capture.step(100) is None
    locker.execute("COMMIT")
    capture.until_end()
    assert capture.replica.snapshot_rows["u"] == 20


def test_a_prepared_transaction_that_is_waited_for_is_named(scene):
    tables(scene)
    capture = interrupted(scene)
    scene.sql("BEGIN; INSERT INTO t VALUES (100, 1); PREPARE TRANSACTION 'the one'")
    capture.options["cdc.wait-timeout"] = "1s"
    with pytest.raises(Failed, match="the one"):
        capture.start()
        capture.until_complete(20)
    capture.crash()
    scene.sql("COMMIT PREPARED 'the one'")
    capture.start()
    capture.until_complete()
    scene.drain(capture)


def test_a_session_that_is_waited_for_is_named(scene):
    tables(scene)
    capture = interrupted(scene)
    writer = scene.begin("INSERT INTO t VALUES (100, 1)")
    capture.options["cdc.wait-timeout"] = "1s"
    with pytest.raises(Failed, match=str(writer.info.backend_pid)):
        capture.start()
        capture.until_complete(20)


def test_a_slot_that_waits_for_old_transactions_names_them_and_is_not_left_behind(scene):
    tables(scene)
    writer = scene.begin("INSERT INTO t VALUES (100, 1)")
    capture = scene.capture(options={"cdc.wait-timeout": "1s"})
    with pytest.raises(Failed, match=str(writer.info.backend_pid)):
        capture.start()
        capture.until_complete(20)
    wait_for(lambda: scene.slot(capture) is None, "the half-made slot is dropped")
    capture.crash()
    writer.execute("COMMIT")
    capture.start()
    capture.until_complete()
    scene.drain(capture)


def test_timeouts_of_idle_sessions_do_not_end_a_snapshot(scene):
    """Neither of the session that exported it, nor of those that read."""
    tables(scene, 60)
    name = scene.database.name
    scene.sql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'")
    scene.sql(f"ALTER DATABASE {name} SET statement_timeout = '300ms'")
    if scene.server.version >= 140000:
        scene.sql(f"ALTER DATABASE {name} SET idle_session_timeout = '300ms'")
    if scene.server.version >= 170000:
        scene.sql(f"ALTER DATABASE {name} SET transaction_timeout = '300ms'")
    capture = scene.capture(("t", "u"), options={"read.batch-rows": "2"})
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 0)
    scene.value("SELECT pg_sleep(1)")
    capture.until_complete()
    for setting in ("idle_in_transaction_session_timeout", "statement_timeout"):
        scene.sql(f"ALTER DATABASE {name} RESET {setting}")
    scene.drain(capture)


# ---- Partitions ----

@pytest.mark.since(11, "pgoutput's TRUNCATE")
@pytest.mark.parametrize("partitions", ["root", "leaf"])
def test_truncate_of_a_leaf(scene, partitions):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    scene.sql("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 19) g")
    capture = scene.capture(("t",) if partitions == "root" else ("t1", "t2"), options={"cdc.partitions": partitions})
    capture.start()
    capture.until_complete()
    scene.sql("BEGIN; INSERT INTO t VALUES (0, 'x'); TRUNCATE t2; INSERT INTO t VALUES (15, 'y'); COMMIT")
    scene.drain(capture)
    scene.sql("TRUNCATE t")
    scene.sql("INSERT INTO t VALUES (3, 'z')")
    scene.drain(capture)
