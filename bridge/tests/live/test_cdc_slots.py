"""Change capture and its slot: what was lost is said, what is held back is little, what is killed goes on."""
import json
import os
import subprocess
import time

import pytest

from capture import Failed, Gone
from scene import Scene, wait_for

LONG = pytest.mark.long


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def scene(request, server, database):
    made = Scene(server, database, request.param)
    yield made
    made.end()


def table(scene, n=8):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int, big text)")
    scene.sql("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    scene.sql(f"INSERT INTO t SELECT g, g, repeat('t' || g, 2000) FROM generate_series(1, {n}) g")


def streaming(scene, **arguments):
    """A capture that has stored a position of the stream, and was closed."""
    table(scene)
    capture = scene.started(**arguments)
    scene.sql("UPDATE t SET v = v + 1")
    scene.drain(capture)
    capture.close()
    wait_for(lambda: not scene.slot(capture)["active"], "the slot is free")
    return capture


def refused(scene, capture, *texts):
    """Opening is an error within 10 s that has these texts, and a hint; the slot stays as it is."""
    before = scene.slot(capture)
    begin = time.monotonic()
    with pytest.raises(Failed) as caught:
        capture.start()
        while True:
            capture.step(1000)
            assert time.monotonic() < begin + 10, "no error within 10 s"
    assert time.monotonic() < begin + 10
    failed = caught.value
    assert not failed.retryable, failed
    assert failed.answer["hint"], failed
    for text in texts:
        assert text in failed.text, failed
    capture.crash()
    wait_for(lambda: not (scene.slot(capture) or {}).get("active"), "the slot is free")
    after = scene.slot(capture)
    assert (before is None) == (after is None)
    if before is not None:
        assert before["confirmed_flush_lsn"] == after["confirmed_flush_lsn"]


# ---- A slot that is not what it was ----

def test_a_slot_that_is_gone(scene):
    capture = streaming(scene)
    scene.sql("SELECT pg_drop_replication_slot(%s)", [capture.options["slot.name"]])
    refused(scene, capture, capture.options["slot.name"])


def test_a_slot_that_was_dropped_and_made_again(scene):
    capture = streaming(scene)
    name, plugin = capture.options["slot.name"], scene.slot(capture)["plugin"]
    scene.sql("SELECT pg_drop_replication_slot(%s)", [name])
    scene.sql("UPDATE t SET v = 0")
    scene.sql("SELECT pg_create_logical_replication_slot(%s, %s)", [name, plugin])
    refused(scene, capture, name)


@pytest.mark.since(11, "pg_replication_slot_advance")
def test_a_slot_that_someone_has_advanced(scene):
    capture = streaming(scene)
    name = capture.options["slot.name"]
    scene.sql("UPDATE t SET v = 0")
    scene.sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", [name])
    refused(scene, capture, name)


@pytest.mark.since(13, "max_slot_wal_keep_size")
def test_a_slot_that_the_server_has_invalidated(scene):
    capture = streaming(scene)
    scene.setting("max_slot_wal_keep_size", "16MB")
    scene.setting("wal_keep_size", "0")
    scene.setting("max_wal_size", "32MB")
    scene.sql("CREATE TABLE noise (v text)")

    def lost():
        scene.sql("INSERT INTO noise SELECT repeat(md5(g::text), 30) FROM generate_series(1, 10000) g")
        scene.sql("SELECT pg_switch_wal()")
        scene.checkpoint()
        return scene.slot(capture)["wal_status"] == "lost"
    wait_for(lost, "the slot is invalidated", 60)
    refused(scene, capture, capture.options["slot.name"])


@pytest.mark.since(13, "max_slot_wal_keep_size")
def test_a_slot_that_is_invalidated_while_it_streams(scene):
    """Its walsender is ended; opening again says what was lost."""
    table(scene)
    capture = scene.started()
    scene.drain(capture)
    scene.setting("max_slot_wal_keep_size", "16MB")
    scene.setting("wal_keep_size", "0")
    scene.setting("max_wal_size", "32MB")
    scene.sql("CREATE TABLE noise (v text)")

    def lost():
        scene.sql("INSERT INTO noise SELECT repeat(md5(g::text), 30) FROM generate_series(1, 10000) g")
        scene.sql("SELECT pg_switch_wal()")
        scene.checkpoint()
        return scene.slot(capture)["wal_status"] == "lost"
    wait_for(lost, "the slot is invalidated", 60)
    with pytest.raises(Failed):
        for _ in range(200):
            capture.step()
    capture.crash()
    wait_for(lambda: not scene.slot(capture)["active"], "the slot is free")
    refused(scene, capture, capture.options["slot.name"])


def test_a_position_of_another_server(scene):
    capture = streaming(scene)
    system = str(scene.value("SELECT system_identifier FROM pg_control_system()"))
    assert system in capture.position
    other = str(int(system) ^ 4096)
    capture.position = capture.position.replace(system, other)
    refused(scene, capture, system, other)


def test_a_slot_of_another_output_plugin(scene):
    capture = streaming(scene)
    name = capture.options["slot.name"]
    scene.sql("SELECT pg_drop_replication_slot(%s)", [name])
    scene.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [name])
    refused(scene, capture, "test_decoding")


def test_a_slot_that_is_there_already_when_a_capture_begins(scene):
    table(scene)
    capture = scene.capture()
    scene.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [capture.options["slot.name"]])
    refused(scene, capture, capture.options["slot.name"])


# ---- A slot that was about to be made ----

def about_to_make(scene, **options):
    """A capture that has stored that it is about to make its slot, and was killed."""
    table(scene)
    capture = scene.capture(options=options)
    capture.start()
    capture.until(lambda: capture.position)
    assert '"creating"' in capture.position
    capture.crash()
    assert scene.slot(capture) is None
    return capture


def test_a_slot_of_another_plugin_is_not_taken_for_a_half_made_one(scene):
    capture = about_to_make(scene)
    name = capture.options["slot.name"]
    scene.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [name])
    refused(scene, capture, "not the one that this capture was about to make", "--drop")
    scene.sql("SELECT pg_drop_replication_slot(%s)", [name])
    capture.start()
    scene.drain(capture)


@pytest.mark.since(12, "copies of slots")
def test_a_slot_that_was_there_before_is_not_taken_for_a_half_made_one(scene):
    """As far as WAL tells."""
    scene.sql("SELECT pg_create_logical_replication_slot('older', %s)",
              ["penstock" if scene.transport == "assisted" else "pgoutput"])
    capture = about_to_make(scene)
    scene.sql("SELECT pg_copy_logical_replication_slot('older', %s)", [capture.options["slot.name"]])
    refused(scene, capture, "was there before")


def test_two_captures_that_make_one_slot_at_once(scene):
    """The slower one neither takes nor drops what the other has made."""
    table(scene)
    first = scene.capture()
    second = scene.capture(options={"slot.name": first.options["slot.name"]})
    for capture in (first, second):
        capture.start()
    for capture in (first, second):
        capture.until(lambda: capture.position)
    first.until_complete()
    with pytest.raises(Failed, match="already exists"):
        second.steps(20)
    second.crash()
    pid = scene.slot(first)["active_pid"]
    with pytest.raises(Failed, match="in use"):
        second.start()
    scene.drain(first)
    assert scene.slot(first)["active_pid"] == pid


def test_a_slot_that_was_made_but_not_stored_is_made_anew(scene):
    capture = about_to_make(scene)
    capture.env = {"PENSTOCK_FAILPOINTS": "cdc.slot_made=kill"}
    for _ in range(2):
        with pytest.raises(Gone):
            capture.start()
            capture.steps(50)
        capture.crash()
        assert scene.slot(capture)["confirmed_flush_lsn"]
    scene.sql("UPDATE t SET v = 0")
    capture.env = None
    capture.start()
    scene.drain(capture)


@pytest.mark.extension
def test_a_plugin_that_is_refused_after_the_position_was_stored(server, database):
    """Capture falls back to pgoutput, also when it is killed before the next position is stored."""
    scene = Scene(server, database, "plain")
    try:
        capture = about_to_make(scene, transport=None, **{"cdc.messages": "audit"})
        assert '"plugin":"penstock"' in capture.position
        capture.env = {"PENSTOCK_FAILPOINTS": "cdc.plugin_refused=error,cdc.slot_made=kill"}
        for _ in range(2):
            with pytest.raises(Gone):
                capture.start()
                capture.steps(50)
            capture.crash()
            assert scene.slot(capture)["plugin"] == "pgoutput"
        capture.env = {"PENSTOCK_FAILPOINTS": "cdc.plugin_refused=error"}
        capture.start()
        capture.until_complete()
        scene.sql("SELECT pg_logical_emit_message(false, 'audit', 'x')")
        scene.drain(capture)
        assert len(capture.replica.messages) == 1
        capture.restart()
        scene.drain(capture)
    finally:
        scene.end()


@pytest.mark.extension
@pytest.mark.parametrize("plugin", ["pgoutput", "penstock"])
def test_a_position_from_before_the_slot_is_gone_on_with_by_either_plugin(server, database, plugin):
    """Nothing was told yet, so that what shapes it may be another."""
    scene = Scene(server, database, "plain")
    try:
        other = {"pgoutput": "penstock", "penstock": "pgoutput"}[plugin]
        capture = about_to_make(scene, transport=None,
                                **{"cdc.messages": "audit", "decoding.plugin.name": other})
        capture.options["decoding.plugin.name"] = plugin
        capture.start()
        scene.drain(capture)
        assert scene.slot(capture)["plugin"] == plugin
    finally:
        scene.end()


def test_a_slot_whose_messages_are_not_read_is_not_gone_on_with(scene):
    table(scene)
    for name, wanted in (("s_theirs", scene.transport), ("s_any", None)):
        scene.sql("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [name])
        capture = scene.capture(options={"slot.name": name, "scan.startup.mode": "committed-offset",
                                         "transport": wanted})
        refused(scene, capture, "is of output plugin test_decoding")
    scene.sql("SELECT pg_create_physical_replication_slot('s_physical')")
    capture = scene.capture(options={"slot.name": "s_physical", "scan.startup.mode": "committed-offset"})
    refused(scene, capture, "is physical")
    scene.sql("SELECT pg_drop_replication_slot('s_physical')")


@pytest.mark.extension
def test_a_slot_is_gone_on_with_by_the_plugin_that_was_asked_for(server, database):
    scene = Scene(server, database, "plain")
    try:
        table(scene)
        for plugin, other in (("penstock", "pgoutput"), ("pgoutput", "penstock")):
            scene.sql("SELECT pg_create_logical_replication_slot(%s, %s)", [f"s_{plugin}", plugin])
            capture = scene.capture(options={"slot.name": f"s_{plugin}", "transport": None,
                                             "scan.startup.mode": "committed-offset"})
            capture.options["decoding.plugin.name"] = other
            refused(scene, capture, f"is of output plugin {plugin}")
    finally:
        scene.end()


def test_a_position_of_another_slot(scene):
    capture = streaming(scene)
    capture.options["slot.name"] += "_other"
    refused(scene, capture, "_other")


@pytest.mark.parametrize("position", [
    "", "pst1:", "pst1:{}", "pst1:[]", "pst2:{}", "nonsense", "pst1:{\"system\":1}", "pst1:" + "[" * 5000])
def test_what_is_no_position(scene, position):
    table(scene)
    capture = scene.capture()
    capture.position = position or "pst1:{"
    with pytest.raises(Failed, match="position"):
        capture.start()
    assert scene.slot(capture) is None


def test_every_truncated_position_is_refused(scene):
    capture = streaming(scene)
    for length in range(5, len(capture.position) - 1, 7):
        whole, capture.position = capture.position, capture.position[:length]
        with pytest.raises(Failed, match="position"):
            capture.start()
        capture.crash()
        capture.position = whole


def test_a_position_that_is_too_old(scene):
    table(scene)
    capture = scene.started()
    first = capture.position
    for i in range(3):
        scene.sql(f"UPDATE t SET v = {i}")
        scene.drain(capture)
    wait_for(lambda: (capture.step(), lsn(scene.slot(capture)["confirmed_flush_lsn"]) > 0)[1]
             and behind(scene, capture) < 100000, "the positions were acknowledged")
    capture.close()
    newest, capture.position = capture.position, first
    refused(scene, capture, "scan.lsn-commit.checkpoints-num-delay")
    capture.position = newest
    capture.start()
    scene.drain(capture)


def test_older_positions_stay_of_use_as_long_as_was_asked(scene):
    table(scene)
    capture = scene.started(options={"scan.lsn-commit.checkpoints-num-delay": "3"}, every=0)
    positions, copies = [], []
    for i in range(5):
        scene.sql(f"UPDATE t SET v = {i}")
        capture.until(lambda seen=capture.replica.changes: capture.replica.changes >= seen + 8)
        capture.store()
        positions.append(capture.position)
        copies.append(dict(capture.replica.table("t").rows))
        capture.steps(3, 300)
    capture.close()
    capture.position = positions[-3]
    capture.replica.table("t").rows = copies[-3]
    capture.replica.last = (0, 0)
    capture.start()
    scene.drain(capture)


def test_positions_are_compared(scene):
    table(scene)
    capture = scene.started()
    positions = [capture.position]
    for i in range(3):
        scene.commit(capture, f"UPDATE t SET v = {i}")
        scene.drain(capture)
        positions.append(capture.position)
    for i, a in enumerate(positions):
        for j, b in enumerate(positions):
            assert capture.tool.ask(f"compare {a}\t{b}")["order"] == (i > j) - (i < j)
    with pytest.raises(Failed):
        capture.tool.ask(f"compare {positions[0]}\tpst1:nonsense")
    other = scene.started(options={})
    with pytest.raises(Failed):
        capture.tool.ask(f"compare {positions[0]}\t{other.position}")


def test_a_slot_that_another_consumer_uses(scene):
    table(scene)
    capture = scene.started()
    second = scene.capture(options={"slot.name": capture.options["slot.name"]})
    second.position = capture.position
    with pytest.raises(Failed, match=str(scene.slot(capture)["active_pid"])):
        second.start()
        for _ in range(300):
            second.step()
    # The first is not disturbed.
    scene.sql("UPDATE t SET v = 3")
    scene.drain(capture)


def test_a_slot_is_dropped_when_that_is_asked_for(scene):
    table(scene)
    capture = scene.started()
    capture.close(drop=True)
    assert scene.slot(capture) is None


def test_a_capture_without_a_slots_name_leaves_nothing(scene):
    table(scene)
    capture = scene.capture()
    del capture.options["slot.name"]
    capture.start()
    capture.until_complete()
    scene.drain(capture)
    assert scene.value("SELECT count(*) FROM pg_replication_slots WHERE temporary") == 1
    capture.close()
    wait_for(lambda: scene.value("SELECT count(*) FROM pg_replication_slots WHERE database ="
                                 " current_database()") == 0, "the temporary slot is gone")


@pytest.mark.before(16, "slots of a standby")
def test_a_standby_that_can_have_no_slot(scene, server):
    table(scene)
    capture = scene.capture()
    capture.url = f"{scene.database.url} port={server.standby_port}"
    here = scene.value("SELECT pg_current_wal_lsn()")
    with server.connect(port=server.standby_port) as conn:
        wait_for(lambda: conn.execute("SELECT pg_last_wal_replay_lsn() >= %s", [here]).fetchone()[0], "it has replayed")
    with pytest.raises(Failed, match="standby.*before PostgreSQL 16.*primary"):
        capture.start()


# ---- What a slot holds back ----

def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def behind(scene, capture):
    """Bytes of WAL that the slot keeps the server from forgetting."""
    return scene.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)"
                       " FROM pg_replication_slots WHERE slot_name = %s", [capture.options["slot.name"]])


def test_idle_tables_beside_heavy_writes(scene):
    table(scene)
    scene.sql("CREATE TABLE noise (v text)")
    capture = scene.started()
    most = 0
    for _ in range(25):
        scene.sql("INSERT INTO noise SELECT repeat(md5(g::text), 30) FROM generate_series(1, 8000) g")
        capture.steps(3, 150)
        most = max(most, behind(scene, capture))
    assert most < 64 << 20
    begin = time.monotonic()
    wait_for(lambda: (capture.step(50), behind(scene, capture) < 1 << 20)[1], "the slot follows", 10)
    assert time.monotonic() - begin < 3
    wait_for(lambda: (capture.step(50), scene.value(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) < %s FROM pg_replication_slots"
        " WHERE slot_name = %s", [64 << 20, capture.options["slot.name"]]))[1], "its restart_lsn follows", 30)
    scene.drain(capture)


def test_a_consumer_that_stores_nothing_holds_its_position(scene):
    """What was sent and received, but not acknowledged, must not be forgotten."""
    table(scene)
    capture = scene.started(every=0)
    capture.store()
    capture.steps(3)
    before = scene.slot(capture)["confirmed_flush_lsn"]
    scene.sql("UPDATE t SET v = -1")
    capture.until(lambda: capture.replica.changes >= 8)
    capture.steps(10, 300)
    assert lsn(scene.slot(capture)["confirmed_flush_lsn"]) <= lsn(before) + 4096
    capture.crash()
    assert capture.replica.changes == 8
    capture.start()
    scene.drain(capture)
    assert capture.replica.changes >= 16


# ---- What it takes ----

def sanitized():
    tool = os.path.join(os.environ["PENSTOCK_TOOLS"], "cdc_tool")
    return "__asan_init" in subprocess.run(["nm", "-D", tool], capture_output=True, text=True, check=False).stdout


def skip_rows(capture, rows, timeout=600):
    """Takes events until so many rows have come, without applying them: (bytes, sum of the bytes)."""
    got, size, total = 0, 0, 0
    deadline = time.monotonic() + timeout
    while got < rows:
        assert time.monotonic() < deadline, f"{got} of {rows} rows"
        sums = capture.tool.ask("skip 1000000 500", timeout)
        got, size, total = got + sums["rows"], size + sums["bytes"], total + sums["sum"]
        last = sums["last"]
        if last["answer"] == "failed":
            raise Failed(last, "skip")
        if last["answer"] == "event" and last["event"] == "rows":
            got += len(last["rows"])
        if last["answer"] == "event" and last["store"]:
            capture.store()
    assert got == rows
    return size, total


def memory(capture):
    return capture.tool.ask("memory")


def test_a_transaction_of_a_million_rows(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    capture = scene.started(options={"read.text-columns": None})
    scene.sql("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 1000000) g")
    size, _ = skip_rows(capture, 1000000)
    assert size == 32 * 1000000
    if not sanitized():
        assert memory(capture)["most"] < 256 * 1024


def test_a_snapshot_of_a_million_rows(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    scene.sql("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 1000000) g")
    capture = scene.capture(options={"read.text-columns": None})
    capture.start()
    size, _ = skip_rows(capture, 1000000)
    assert size == 32 * 1000000
    if not sanitized():
        assert memory(capture)["most"] < 256 * 1024


def test_a_wide_row(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    scene.sql("INSERT INTO t VALUES (1, repeat('abcdefgh', 5000000))")
    capture = scene.started()
    scene.sql("INSERT INTO t VALUES (2, repeat('hgfedcba', 5000000))")
    scene.sql("UPDATE t SET id = 3 WHERE id = 1")
    scene.drain(capture)
    if not sanitized():
        assert memory(capture)["most"] < 3 * 40 * 1024 + 64 * 1024


@LONG
def test_a_transaction_of_two_gigabytes(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    capture = scene.started(options={"read.text-columns": None})
    scene.sql("INSERT INTO t SELECT g, repeat(chr(97 + g % 26), 1000000) FROM generate_series(1, 2000) g")
    size, total = skip_rows(capture, 2000)
    assert size == 2000 * 1000000
    assert total == sum(97 + g % 26 for g in range(1, 2001)) * 1000000
    assert memory(capture)["most"] < 256 * 1024


@LONG
@pytest.mark.parametrize("when", ["snapshot", "stream"])
def test_a_row_of_half_a_gigabyte(scene, when):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    insert = "INSERT INTO t VALUES (1, repeat('abcdefgh', 62500000))"
    capture = scene.capture(options={"read.text-columns": None})
    if when == "snapshot":
        scene.sql(insert)
    capture.start()
    if when == "stream":
        capture.until_complete()
        scene.sql(insert)
    size, _ = skip_rows(capture, 1)
    assert size == 500000000
    assert memory(capture)["most"] < 3 * 500000


@pytest.mark.since(12, "wal_sender_timeout of a session")
def test_a_consumer_that_stops_reading_for_a_while(scene):
    table(scene)
    scene.sql("CREATE TABLE wide (id int PRIMARY KEY, v text)")
    scene.setting("wal_sender_timeout", "1s")
    capture = scene.started("t", "wide")
    scene.drain(capture)
    pid, before = scene.slot(capture)["active_pid"], memory(capture)["now"]
    for i in range(6):
        scene.sql(f"INSERT INTO wide SELECT g, repeat(md5(g::text), 30) FROM generate_series({10000 * i + 1},"
                  f" {10000 * i + 9999}) g")
        scene.sql("UPDATE t SET v = v + 1")
        scene.value("SELECT pg_sleep(0.5)")
    assert scene.slot(capture)["active_pid"] == pid
    assert memory(capture)["now"] < before + 8 * 1024
    scene.drain(capture)
    assert scene.slot(capture)["active_pid"] == pid
    if not sanitized():
        assert memory(capture)["most"] < before + 96 * 1024


@pytest.mark.since(12, "wal_sender_timeout of a session")
def test_a_consumer_that_stops_in_the_middle_of_a_snapshot(scene):
    table(scene, 30)
    scene.setting("wal_sender_timeout", "1s")
    capture = scene.capture(options={"read.batch-rows": "2"})
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 0)
    scene.sql("UPDATE t SET v = v + 1")
    scene.value("SELECT pg_sleep(2.5)")
    capture.until_complete()
    scene.drain(capture)


# ---- A snapshot that is resumed ----

@pytest.mark.since(15, "statistics without a collector")
def test_what_was_read_is_not_read_again(scene):
    names = ["a", "b", "c"]
    for name in names:
        scene.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, v int)")
        scene.sql(f"INSERT INTO {name} SELECT g, g FROM generate_series(1, 1000) g")
        scene.sql(f"ANALYZE {name}")

    def reads():
        wait_for(lambda: scene.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                                     " AND application_name LIKE 'penstock%%'") == 0, "the sessions are gone")
        return {name: scene.value("SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables"
                                  " WHERE relname = %s", [name]) for name in names}
    capture = scene.capture(names, options={"read.batch-rows": "100"})
    before = reads()
    capture.start()
    seen = capture.replica.snapshot_rows
    capture.until(lambda: any(0 < n < 1000 for n in seen.values()) and any(n == 1000 for n in seen.values()))
    done = [name for name in names if seen[name] == 1000]
    capture.crash()
    middle = reads()
    assert all(middle[name] > before[name] for name in done)
    with scene.connect(application_name="penstock_writer") as writer:  # a session counts for sure when it ends
        writer.execute("UPDATE a SET v = -v WHERE id % 10 = 0")
        writer.execute("UPDATE c SET id = id + 5000 WHERE id % 10 = 1")
    own = reads()
    capture.start()
    capture.until_complete()
    capture.crash()
    after = reads()
    for name in done:
        assert after[name] == own[name], f"{name} was read again"
    for name in set(names) - set(done):
        assert after[name] > own[name]
    capture.start()
    scene.drain(capture)


# ---- Kills ----

def writes(scene, step):
    """One transaction, another for each step."""
    statements = ["UPDATE t SET v = v + 1 WHERE id % 2 = 0", f"INSERT INTO t VALUES ({1000 + step}, 0) ON CONFLICT DO NOTHING",
                  "UPDATE t SET id = (SELECT max(id) + 1 FROM t) WHERE id = (SELECT min(id) FROM t)",
                  "DELETE FROM t WHERE id = (SELECT max(id) FROM t)",
                  "UPDATE t SET id = (SELECT min(id) - 1 FROM t) WHERE id = (SELECT max(id) FROM t)"]
    scene.sql(statements[step % len(statements)])


def kill(scene, capture, who):
    if who == "client":
        capture.tool.kill()
    elif who == "walsender":
        return scene.terminate_walsender(capture)
    else:
        scene.crash_server()
    return True


def go_on(scene, capture, tries=10):
    """After a kill of the server's side the handle fails, or has not noticed; both are well."""
    try:
        if capture.tool:
            capture.steps(3)
    except (Failed, Gone) as error:
        assert isinstance(error, Gone) or error.retryable, error
    capture.crash()
    for left in range(tries, 0, -1):
        try:
            capture.start()
            scene.drain(capture)
            return
        except Failed as error:
            # The slot may be in use for a moment by the session that has not noticed yet.
            assert error.retryable and left > 1, error
            capture.crash()
            time.sleep(0.1)


@pytest.mark.parametrize("who,store", [("client", "before"), ("client", "between"), ("client", "after"),
                                       ("walsender", "after"), ("server", "after")])
def test_a_kill_at_any_step(scene, who, store):
    """Before the position is stored, between that and its acknowledgement, or after it."""
    table(scene)
    at = 0
    while True:
        capture = scene.capture(options={"read.batch-rows": "3"})
        capture.start()
        step, streamed = 0, 0
        while step < at and streamed < 6:
            writes(scene, step + at)
            if store == "before" and step == at - 1:
                capture.every = 0
            if store == "between" and step == at - 1:
                capture.before_ack = capture.tool.kill
            try:
                capture.step(100)
            except Gone:
                break
            step += 1
            streamed += capture.replica.complete
        kill(scene, capture, who)
        capture.every, capture.before_ack = 1, None
        writes(scene, step)
        go_on(scene, capture)
        capture.close(drop=True)
        assert scene.slot(capture) is None
        if streamed == 6 or at > 40:
            break
        at += 1
    assert at > 8, capture.replica.kinds


@pytest.mark.parametrize("who", ["client", "walsender", "server"])
def test_a_kill_while_the_slot_is_made(scene, who):
    """What is half made is recognised and made anew, and nothing is left over."""
    table(scene)
    writer = scene.begin("INSERT INTO t VALUES (100, 1)")
    capture = scene.capture()
    capture.start()
    deadline = time.monotonic() + 30
    while not (scene.slot(capture) or {}).get("active_pid"):
        assert time.monotonic() < deadline
        capture.step(20, 0.05)
    assert scene.slot(capture)["confirmed_flush_lsn"] is None
    kill(scene, capture, who)
    if who != "server":
        writer.execute("COMMIT")
    try:
        capture.steps(20)
    except (Gone, Failed) as error:
        assert isinstance(error, Gone) or error.retryable, error
        capture.crash()
    go_on(scene, capture)
    assert scene.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 1


@pytest.mark.parametrize("where", ["cdc.slot_made", "cdc.adopting"])
def test_a_session_of_the_slot_that_is_lost_with_its_snapshot(scene, tmp_path, where):
    table(scene)
    gate = tmp_path / "gate"
    tmp_path.chmod(0o777)
    capture = scene.capture(env={"PENSTOCK_FAILPOINTS": f"{where}=wait:{gate}"})
    capture.start()
    wait_for(lambda: capture.step(20, 0.05) and False or (tmp_path / "gate.reached").exists(), "the failpoint")
    pid = scene.value("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'walsender'")
    scene.sql("SELECT pg_terminate_backend(%s)", [pid])
    wait_for(lambda: not scene.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]), "its end")
    gate.touch()
    with pytest.raises(Failed) as failed:
        capture.until_complete()
    assert failed.value.retryable
    assert failed.value.answer["status"] == "PST_ERR_CONNECTION"
    capture.crash()
    capture.env = None
    go_on(scene, capture)


def test_a_position_is_one_line_of_json(scene):
    capture = streaming(scene)
    assert capture.position.startswith("pst1:") and "\n" not in capture.position
    assert isinstance(json.loads(capture.position[len("pst1:"):]), dict)
    assert len(capture.position) < 2000
