"""Change capture for engines of many processes: regions of the snapshot are read by other processes than the one
that has the capture, and the copy is the table all the same, whoever is killed."""
import random
import time

import psycopg
import pytest

from capture import NULL, Capture, Failed, Tool
from engine import Engine, Reader, content, region
from scene import Scene, wait_for

ROWS = 600


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def scene(request, server, database):
    made = Scene(server, database, request.param)
    yield made
    for capture in made.captures:
        for reader in getattr(capture, "readers", []):
            reader.tool.kill()
    made.end()


def cut_table(scene, rows=ROWS):
    """A table of many regions."""
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int, big text)")
    scene.sql("INSERT INTO t SELECT g, g, repeat('x', 200) FROM generate_series(1, %s) g", [rows])
    scene.sql("ANALYZE t")


def whole_table(scene):
    """One that no column cuts: a region of several pieces, where the server reads by blocks."""
    scene.sql("CREATE TABLE w (a int, b text, v text, PRIMARY KEY (a, b))")
    scene.sql("INSERT INTO w SELECT g, g, repeat('y', 200) FROM generate_series(1, 300) g")
    scene.sql("ANALYZE w")


def engine(scene, tables=("t",), options=None, **arguments):
    # A key that comes as text is nothing to cut a table by.
    chosen = {**scene.options(tables), "read.text-columns": None, **(options or {})}
    made = Engine(scene.database.url, chosen, **arguments)
    made.tables = list(tables)
    scene.captures.append(made)
    return made


def until_planned(capture, n=2):
    capture.until(lambda: len(capture.planned) >= n)


def until_done(capture, n):
    capture.until(lambda: len(capture.done) >= n)


def refused(tool, command):
    with pytest.raises(Failed) as failed:
        tool.ask(command)
    return failed.value


def test_readers_of_other_processes_read_the_snapshot(scene):
    cut_table(scene)
    whole_table(scene)
    capture = engine(scene, ("t", "w"))
    capture.start()
    until_done(capture, 3)
    scene.sql("UPDATE t SET v = -v, id = id + 1000 WHERE id % 3 = 0")
    scene.sql("DELETE FROM w WHERE a < 50")
    capture.until_complete()
    scene.drain(capture)
    regions = [region(s) for s in capture.planned]
    assert len(set(regions)) == len(regions) > 10
    assert sorted(capture.planned) == sorted(capture.done)
    # Every row once, and by no process but the readers.
    assert capture.replica.snapshot_rows == {"t": ROWS, "w": 300}
    assert not capture.replica.resets and not capture.replica.cleared
    capture.close()


def test_rows_of_a_reader_look_as_those_of_the_stream(scene):
    scene.sql("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, n numeric(12, 3), ts timestamptz, m mood, j jsonb, a int[], b bytea)")
    row = "%s, 1.5, '2024-01-01 00:00Z', 'glad', '{\"a\": 1}', '{1,2}', '\\x01ff'"
    scene.sql("INSERT INTO t VALUES (" + row.replace("%s", "1") + ")")
    capture = engine(scene, options={"special-values": "null"})
    capture.start()
    told = {}
    apply = capture.replica.apply

    def watched(event):
        if event["event"] == "rows" and event["table"] == "t":
            told[event["snapshot"]] = event
        if event["event"] == "schema" and event["table"] == "t":
            told.setdefault("schemas", []).append((event["columns"], event["formats"], event["key"]))
        apply(event)
    capture.replica.apply = watched
    capture.until_complete()
    scene.sql("INSERT INTO t VALUES (" + row.replace("%s", "2") + ")")
    capture.until(lambda: False in told)
    assert told[True]["formats"] == told[False]["formats"] and told[True]["columns"] == told[False]["columns"]
    assert told[True]["rows"][0]["values"][1:] == told[False]["rows"][0]["values"][1:]
    assert len(told["schemas"]) >= 2 and all(s == told["schemas"][0] for s in told["schemas"])


def test_the_position_goes_on_with_each_region(scene):
    cut_table(scene)
    capture = engine(scene, nreaders=1)
    capture.start()
    until_planned(capture)
    before = capture.tool.ask("position")["position"]
    until_done(capture, 4)
    after = capture.tool.ask("position")["position"]
    assert capture.tool.ask(f"compare {before}\t{after}")["order"] == -1
    first = [content(s)["lower"] if "lower" in content(s) else None for s in capture.done]
    capture.store()
    capture.restart()
    capture.until_complete()
    # What was done was not planned again.
    again = [content(s).get("lower") for s in capture.planned[len(set(capture.planned)):]]
    assert not set(first) & set(again)
    scene.drain(capture)
    assert capture.replica.snapshot_rows["t"] < 2 * ROWS


def test_done_is_told_twice(scene):
    cut_table(scene)
    capture = engine(scene)
    capture.start()
    until_done(capture, 2)
    position = capture.tool.ask("position")["position"]
    for split in capture.done:
        capture.tool.ask("done " + split)
    assert capture.tool.ask("position")["position"] == position
    capture.until_complete()
    for split in capture.done:
        capture.tool.ask("done " + split)
    scene.drain(capture)
    capture.close()


@pytest.mark.parametrize("consumer", ["exact", "replay", "upsert"])
def test_an_interrupted_region_is_cleared_and_read_again(scene, consumer):
    cut_table(scene)
    whole_table(scene)
    capture = engine(scene, ("t", "w"), holds_back=False, consumer=consumer)
    capture.start()
    until_done(capture, 3)
    capture.until(lambda: any(r.split for r in capture.readers))
    capture.store()
    scene.sql("UPDATE t SET v = v + 1, id = id + 3000 WHERE id % 2 = 0")
    scene.sql("UPDATE w SET v = 'z' WHERE a % 2 = 0")
    capture.restart()
    capture.until_complete()
    scene.drain(capture)
    assert bool(capture.replica.cleared) == (consumer != "upsert")


def test_what_was_finished_beside_the_position_is_not_read_again(scene):
    """The position of a checkpoint was taken before a reader finished a region, its rows are in the checkpoint."""
    cut_table(scene)
    whole_table(scene)
    capture = engine(scene, ("t", "w"))
    capture.start()
    until_done(capture, 2)
    capture.begin_checkpoint()
    before = len(capture.done)
    until_done(capture, before + 5)
    capture.end_checkpoint()
    kept = {region(s) for s in capture.kept}
    planned = len(capture.planned)
    assert len(kept) >= 5
    scene.sql("UPDATE t SET v = v + 1, id = id + 3000 WHERE id % 2 = 0")
    scene.sql("DELETE FROM w WHERE a % 7 = 0")
    capture.restart()
    capture.until_complete()
    whole = {r for r in kept if r[3] == (0, 1)}
    assert not whole & {region(s) for s in capture.planned[planned:]}
    scene.drain(capture)


def test_all_pieces_of_a_region_that_were_finished_beside_the_position(scene):
    whole_table(scene)
    capture = engine(scene, ("w",))
    capture.start()
    capture.until(lambda: any(content(s)["table"] == "w" for s in capture.planned))
    capture.begin_checkpoint()
    pieces = [s for s in capture.planned if content(s)["table"] == "w"]
    capture.until(lambda: set(pieces) <= set(capture.done))
    capture.end_checkpoint()
    planned = len(capture.planned)
    capture.restart()
    capture.until_complete()
    assert not [s for s in capture.planned[planned:] if content(s)["table"] == "w"]
    scene.sql("UPDATE w SET v = 'z' WHERE a % 2 = 0")
    scene.drain(capture)


def test_splits_of_a_plan_that_is_over_are_refused_by_name(scene):
    cut_table(scene)
    capture = engine(scene, nreaders=1)
    capture.start()
    until_done(capture, 2)
    capture.store()
    old = [s for s in capture.planned if s not in capture.done]
    reader = Reader(scene.database.url, {}, True)
    late = Reader(scene.database.url, {}, True)
    late.read(old[0])   # has joined the snapshot, which it keeps
    capture.restart()
    planned = len(capture.planned)
    capture.until(lambda: len(capture.planned) > planned)
    for tool, command in ((reader.tool, "read " + old[1]), (capture.tool, "done " + old[1])):
        failed = refused(tool, command)
        assert failed.answer["status"] == "PST_ERR_STATE" and failed.retryable
        assert "the plan that the split is of is over" in failed.text
    while not late.step()[1]:
        pass
    assert "is over" in refused(capture.tool, "done " + old[0]).text
    # Nothing of that counted, and the handles are good for more.
    reader.read(capture.queue[0] if capture.queue else capture.planned[-1])
    capture.until_complete()
    scene.drain(capture)
    for idle in (reader, late, *capture.readers):
        idle.tool.ask("read")
    # So is a split when its table was dropped, altered, or made again since.
    scene.sql("DROP TABLE t; CREATE TABLE t (x int)")
    for split in (old[1], capture.planned[-1]):
        failed = refused(reader.tool, "read " + split)
        assert "is over" in failed.text and failed.retryable
    for tool in (reader.tool, late.tool):
        tool.kill()


def test_a_split_of_before_is_refused_once_the_capture_goes_on(scene):
    """Also while its own table was not taken up again: it is going to be planned anew, and cleared."""
    cut_table(scene)
    whole_table(scene)
    capture = engine(scene, ("t", "w"))
    capture.start()
    capture.until(lambda: {content(s)["table"] for s in capture.planned} >= {"t", "w"})
    capture.store()
    old = [s for s in capture.planned if content(s)["table"] == "w" and s not in capture.done]
    assert old
    capture.options = {**capture.options, "cdc.jobs": "1"}
    capture.restart()
    planned = len(capture.planned)
    capture.until(lambda: len(capture.planned) > planned)
    assert not [s for s in capture.planned[planned:] if content(s)["table"] == "w"]
    for split in old:
        failed = refused(capture.tool, "done " + split)
        assert failed.answer["status"] == "PST_ERR_STATE" and failed.retryable and "is over" in failed.text
    capture.until_complete()
    scene.drain(capture)


def test_a_table_that_was_told_of_and_not_planned_is_cut_anew(scene):
    cut_table(scene)
    capture = engine(scene)
    capture.start()
    capture.until(lambda: ("public", "t") in capture.replica.oids)
    assert not [s for s in capture.planned if content(s)["table"] == "t"]
    capture.store()
    capture.restart()
    capture.until_complete()
    scene.drain(capture)
    capture.close()


def test_only_all_rows_of_a_region_are_its_end(scene):
    whole_table(scene)
    # More than the connection has room for.
    scene.sql("INSERT INTO w SELECT g, g, repeat('z', 1000) FROM generate_series(301, 10000) g")
    capture = engine(scene, ("w",), nreaders=0, options={"read.split-bytes": "100000000"})
    capture.start()
    capture.until(lambda: any(content(s)["table"] == "w" for s in capture.planned))
    split = next(s for s in capture.planned if content(s)["table"] == "w")
    tool = Reader(scene.database.url, {"read.batch-rows": "500"}, True).tool
    assert "no region is being read" in refused(tool, "rnext").text
    for _ in range(2):
        tool.ask("read " + split)
        assert [tool.ask("rnext")["event"] for _ in range(3)] == ["schema", "rows", "rows"]
        tool.ask("read")
        assert refused(tool, "rnext").answer["status"] == "PST_ERR_STATE"
    tool.ask("read " + split)
    while tool.ask("rnext")["answer"] != "end":
        pass
    assert tool.ask("rnext")["answer"] == "end"
    tool.ask("read")
    assert refused(tool, "rnext").answer["status"] == "PST_ERR_STATE"
    # Texts of an event are good after a failure, too, which ends the connection.
    tool.ask("read " + split)
    name = tool.ask("rnext")["database"]
    scene.sql("SELECT pg_terminate_backend(%s)", [tool.backends[-1]])
    with pytest.raises(Failed) as failed:
        while tool.ask("rnext")["answer"] != "end":
            pass
    assert failed.value.answer["lent"] == name
    tool.kill()


def test_one_that_waits_for_the_plan_is_not_kept_waiting(scene):
    cut_table(scene)
    capture = engine(scene, nreaders=0)
    capture.start()
    capture.until(lambda: {content(s)["table"] for s in capture.planned} == {"t", "marker"})
    for timeout in (30000, -1):
        begun = time.monotonic()
        assert capture.tool.ask(f"next {timeout}")["answer"] == "again"
        assert time.monotonic() - begun < 15


def test_a_new_reader_of_a_table_that_is_about_to_be_altered_is_told_what_helps(scene):
    cut_table(scene)
    capture = engine(scene, nreaders=1)
    capture.start()
    until_done(capture, 3)
    late = Reader(scene.database.url, {}, True)
    assert [s for s in capture.queue if content(s)["table"] == "t"]
    with scene.background("ALTER TABLE t ADD COLUMN more int"):
        wait_for(lambda: scene.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"),
                 "the ALTER waits")
        split = next(s for s in capture.queue if content(s)["table"] == "t")
        for _ in range(2):
            failed = refused(late.tool, "read " + split)
            assert failed.answer["sqlstate"] == "55P03" and failed.retryable
            assert (failed.answer["schema"], failed.answer["table"]) == ("public", "t")
            assert "a reader that has begun with the table" in failed.answer["hint"]
        capture.until_complete()
    late.tool.kill()
    scene.sql("INSERT INTO t VALUES (-1, 1, '', 1)")
    scene.drain(capture)


def test_what_is_no_split_of_the_capture_is_refused(scene, database):
    cut_table(scene)
    capture = engine(scene)
    capture.start()
    until_planned(capture)
    split = capture.planned[0]
    other = engine(scene)
    other.start()
    until_planned(other)
    for text in ("pst1:{}", "x", split[:-1], split.replace('"oid":', '"old":'), content(split)["read"]):
        for tool, command in ((capture.tool, "done "), (capture.readers[0].tool, "read ")):
            failed = refused(tool, command + text)
            assert failed.answer["status"] == "PST_ERR_INVALID"
            capture.readers[0].split = None
    assert "another capture" in refused(capture.tool, "done " + other.planned[0]).text
    plain = Tool(database.url, {**capture.options, "slot.name": "none", "cdc.regions": "read"})
    plain.ask("open")
    assert "cdc.regions=plan" in refused(plain, "plan").text
    plain.kill()


def test_a_lost_holder_fails_the_capture_and_a_restart_goes_on(scene):
    cut_table(scene)
    capture = engine(scene)
    capture.start()
    until_done(capture, 2)
    capture.store()
    scene.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(%s)",
              [capture.tool.backends[2:]])
    # Readers that have joined the snapshot could still finish; the others could not.
    idle, capture.readers = capture.readers, []
    with pytest.raises(Failed) as failed:
        capture.until_complete()
    assert failed.value.retryable
    capture.readers = idle
    capture.restart()
    capture.until_complete()
    scene.drain(capture)


def test_a_position_of_a_plan_can_be_read_by_the_capture_itself(scene):
    cut_table(scene)
    whole_table(scene)
    capture = engine(scene, ("t", "w"))
    capture.start()
    until_done(capture, 4)
    capture.store()
    capture.crash()
    scene.sql("UPDATE t SET v = v + 1, id = id + 3000 WHERE id % 2 = 0")
    single = Capture(scene.database.url, {**capture.options, "cdc.regions": "read"}, capture.replica)
    single.position, single.tables = capture.position, capture.tables
    scene.captures.append(single)
    single.start()
    single.until_complete()
    scene.drain(single)


def test_a_table_that_is_reset_in_the_stream_is_planned_again(scene):
    cut_table(scene)
    capture = engine(scene)
    capture.start()
    capture.until_complete()
    planned = len(capture.planned)
    scene.sql("CREATE TABLE more (id int PRIMARY KEY)")
    with scene.connect() as conn, conn.transaction():
        conn.execute("UPDATE t SET v = 0")
        conn.execute("ALTER TABLE t REPLICA IDENTITY NOTHING")
    if scene.transport == "plain":
        # Such a table cannot be published; a rewrite resets it there.
        scene.sql("ALTER TABLE t REPLICA IDENTITY DEFAULT")
        scene.sql("ALTER TABLE t ALTER v TYPE bigint")
    else:
        scene.sql("UPDATE t SET v = 1 WHERE id < 10")
        scene.sql("ALTER TABLE t REPLICA IDENTITY DEFAULT")
    scene.sql("UPDATE t SET v = 2 WHERE id < 5")
    scene.drain(capture)
    assert capture.replica.resets and len(capture.planned) > planned


def test_who_alters_two_tables_of_a_plan_is_not_waited_for(scene):
    """It has the one, and waits for the other, which the plan holds: the server sees no deadlock."""
    for name in ("a", "b"):
        scene.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, v int)")
        scene.sql(f"INSERT INTO {name} SELECT g, g FROM generate_series(1, 20) g")
    capture = engine(scene, ("a", "b"), {"cdc.jobs": "3"}, nreaders=0)
    capture.start()
    until_planned(capture, 1)
    capture.store()
    capture.restart()   # from here on each table has a snapshot of its own
    capture.until(lambda: content(capture.planned[-1])["table"] == "a")
    split = capture.queue.pop()
    reader = Reader(scene.database.url, {}, True)
    reader.read(split)
    with scene.background("ALTER TABLE b ADD x int; ALTER TABLE a ADD x int") as altered:
        wait_for(lambda: scene.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'a'::regclass"),
                 "the other session waits for the plan")
        for _ in range(4):
            begin = time.monotonic()
            assert capture.tool.ask("next 0", 20)["answer"] == "again"
            assert time.monotonic() - begin < 4
        assert not altered()
        events = []
        while not events:
            events, _ = reader.step()
        for event in events:
            capture.replica.apply(event)
        reader.let_go()
        capture.finish(split)
        wait_for(altered, "the other session goes on")
    reader.tool.end()
    capture.readers = [capture._reader()]
    capture.until_complete()
    scene.sql("INSERT INTO a (id, x) VALUES (100, 1); INSERT INTO b (id, x) VALUES (100, 1)")
    scene.drain(capture)


@pytest.mark.parametrize("regions", ["read", "plan"])
def test_an_option_of_no_value_leaves_those_behind_it_in_force(scene, regions):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v timestamptz)")
    scene.sql("INSERT INTO t VALUES (1, '2024-01-01 00:00Z'), (2, 'infinity')")
    capture = engine(scene)
    capture.options = {"scan.stop.at": NULL, **capture.options, "cdc.regions": regions, "read.text-columns": "v"}
    capture.start()
    capture.until_complete()
    assert sorted(capture.replica.table("t").all()) == [("1", "2024-01-01 00:00:00+00"), ("2", "infinity")]


def test_a_snapshot_without_a_stream(scene):
    cut_table(scene)
    whole_table(scene)
    capture = engine(scene, ("t", "w"), options={"scan.startup.mode": "snapshot", "slot.name": None})
    capture.start()
    until_done(capture, 1)
    scene.sql("DELETE FROM t")
    capture.until_end()
    assert capture.replica.snapshot_rows == {"t": ROWS, "w": 300}


STATEMENTS = [
    "UPDATE t SET v = v + 1 WHERE id BETWEEN {a} AND {a} + 40",
    "UPDATE t SET id = id + 5000 WHERE id = {a}",
    "UPDATE t SET id = id - 5000 WHERE id > 5000",
    "DELETE FROM t WHERE id BETWEEN {a} AND {a} + 2",
    "INSERT INTO t SELECT g, 0, 'n' FROM generate_series({a}, {a} + 5) g ON CONFLICT DO NOTHING",
    "UPDATE w SET v = 'u{b}' WHERE a = {b}",
    "UPDATE w SET a = a + 1000 WHERE a = {b}",
    "DELETE FROM w WHERE a = {b}",
    "INSERT INTO w VALUES ({b}, 'n', 'n') ON CONFLICT DO NOTHING",
    "INSERT INTO n VALUES ({b} % 5, 'x'), (1, NULL)",
    "DELETE FROM n WHERE ctid = (SELECT min(ctid) FROM n)",
]


def write(scene, rnd):
    """Transactions of some statements; most commit, but for those that the server refuses."""
    with scene.connect() as conn:
        for _ in range(rnd.randrange(3)):
            end = rnd.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])
            conn.execute("BEGIN")
            for _ in range(rnd.randrange(1, 5)):
                try:
                    conn.execute(rnd.choice(STATEMENTS).format(a=rnd.randrange(ROWS), b=rnd.randrange(300)))
                except psycopg.errors.UniqueViolation:
                    end = "ROLLBACK"
                    break
            conn.execute(end)


@pytest.mark.parametrize("seed", range(4))
def test_random_kills(scene, seed):
    rnd = random.Random(seed)
    cut_table(scene)
    whole_table(scene)
    scene.sql("CREATE TABLE n (a int, b text)")
    scene.sql("ALTER TABLE n REPLICA IDENTITY FULL")
    scene.sql("INSERT INTO n SELECT g % 5, 'x' FROM generate_series(1, 50) g")
    capture = engine(scene, ("t", "w", "n"), holds_back=seed % 2 == 0, options={"cdc.jobs": str(1 + seed % 3)})
    capture.start()
    kills = 0
    while not (capture.replica.ever_complete and kills >= 6):
        capture.steps(rnd.randrange(12), 20)
        write(scene, rnd)
        what = rnd.randrange(8)
        if capture.asked:
            continue
        if what < 3 and capture.position and not capture.taken:
            capture.begin_checkpoint()
        elif what < 5 and capture.taken:
            capture.end_checkpoint()
        elif what == 5 and kills < 6:
            kills += 1
            capture.kill_reader(rnd.randrange(len(capture.readers)))
        elif what == 6 and kills < 6:
            kills += 1
            capture.restart()
    capture.until_complete()
    scene.drain(capture)
