"""Change capture: the rows of the snapshot and the changes of the stream, replayed in order, are the table at
every commit from "snapshot complete" on, whatever the table is and whatever is done to it meanwhile."""
import collections
import datetime

import pytest

from capture import Failed, rows_of
from scene import Scene

BIG = "(SELECT string_agg(md5(i::text || {}), '') FROM generate_series(1, 200) i)"


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def scene(request, server, database):
    made = Scene(server, database, request.param)
    yield made
    made.end()


def big(seed):
    """An expression of some 6 kB that does not compress below a TOAST chunk."""
    return BIG.format(f"'{seed}'")


def toasted(scene, n=5):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int, big text)")
    scene.sql("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    scene.sql(f"INSERT INTO t SELECT g, g, {big('a')} || g FROM generate_series(1, {n}) g")


def in_snapshot(scene, capture, *statements):
    """Steps to the first rows of t, then does the statements in a transaction each, and goes on."""
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 0)
    assert not capture.replica.complete
    for statement in statements:
        scene.sql(statement)
    capture.until_complete()


def small_batches(scene, tables=("t",), **arguments):
    """A capture whose events hold two rows at most, so that there is something to come between them."""
    return scene.capture(tables, options={"read.batch-rows": "2"}, **arguments)


# ---- The snapshot ----

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def micros(text):
    """Microseconds since 1970 of a timestamp as the server prints it."""
    at = datetime.datetime.fromisoformat(text if text[-3] in "+-" else text + "+00")
    return str((at - EPOCH) // datetime.timedelta(microseconds=1))


# What keys are made of, and a bound's text as the copy has its keys.
KEYS = {"smallint": ("g - 300", str), "int": ("g * 3", str), "bigint": ("10000000000 + g", str),
        "date": ("'1999-01-01'::date + g", lambda text: str((datetime.date.fromisoformat(text) - EPOCH.date()).days)),
        "timestamp": ("'1999-12-20'::timestamp + g * interval '1 hour 1 microsecond'", micros),
        "timestamptz": ("'2020-01-01'::timestamptz - g * interval '1 day'", micros),
        "uuid": ("('018f0000-0000-7000-8000-' || lpad(to_hex(g), 12, '0'))::uuid",
                 lambda text: "\\x" + text.replace("-", ""))}


@pytest.mark.parametrize("key", KEYS)
def test_a_large_table_is_read_in_regions_of_its_key(scene, key):
    """Killed in the middle of a snapshot: only the region that was not finished is read again."""
    values, bound = KEYS[key]
    scene.sql(f"CREATE TABLE t (k {key} PRIMARY KEY, v int, pad text)")
    scene.sql(f"INSERT INTO t SELECT {values}, g, repeat('x', 200) FROM generate_series(1, 600) g")
    scene.sql("ANALYZE t")
    capture = scene.capture(options={"read.text-columns": None, "read.split-bytes": "8192", "read.batch-rows": "20"})
    clear = capture.replica._clear

    def convert(event):
        clear({**event, **{side: event[side] and bound(event[side]) for side in ("lower", "upper")}})
    capture.replica._clear = convert
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] >= 210)
    scene.sql("UPDATE t SET v = v + 1000 WHERE v % 2 = 0")
    scene.sql("DELETE FROM t WHERE v % 5 = 0")
    capture.restart()
    capture.until_complete()
    scene.sql("UPDATE t SET v = v + 1 WHERE v % 7 = 0")
    scene.sql("UPDATE t SET v = 7777 WHERE v = 1")
    capture.until(lambda: any("7777" in row for row in capture.replica.table("t").all()))
    copied = collections.Counter(row[1:] for row in capture.replica.table("t").all().elements())
    assert copied == rows_of(scene.conn, "SELECT v, pad FROM t")
    assert capture.replica.snapshot_rows["t"] < 640
    assert len(capture.replica.cleared) == 1 and capture.replica.cleared[0][1:] != (None, None)


# ---- The stream ----

def test_every_commit_is_the_table_at_that_commit(scene):
    toasted(scene)
    capture = scene.started()
    scene.commit(capture, "INSERT INTO t VALUES (10, 1, 'x'), (11, 2, NULL)")
    scene.commit(capture, "UPDATE t SET v = v + 1")
    scene.commit(capture, "UPDATE t SET id = id + 100 WHERE id < 3", "DELETE FROM t WHERE id = 4")
    scene.commit(capture, "DELETE FROM t WHERE id = 10", "INSERT INTO t VALUES (10, 9, 'again')")
    scene.commit(capture, "INSERT INTO t VALUES (50, 1, 'x')", "DELETE FROM t WHERE id = 50")
    scene.commit(capture, "UPDATE t SET v = 0")
    scene.drain(capture)
    assert capture.replica.compared == 6
    assert not capture.replica.resets


def test_subtransactions_and_savepoints(scene):
    toasted(scene)
    capture = scene.started()
    scene.commit(capture, "INSERT INTO t VALUES (10, 0)", "SAVEPOINT a", "UPDATE t SET v = 77",
                 "DELETE FROM t WHERE id = 1", "ROLLBACK TO a", "UPDATE t SET v = 5 WHERE id = 10",
                 "SAVEPOINT b", "INSERT INTO t VALUES (11, 0)", "SAVEPOINT c",
                 "UPDATE t SET id = 12 WHERE id = 11", "RELEASE b")
    scene.sql("BEGIN; INSERT INTO t VALUES (99, 0); ROLLBACK")
    scene.commit(capture, "SAVEPOINT a", "INSERT INTO t VALUES (20, 0)", "ROLLBACK TO a",
                 "INSERT INTO t VALUES (20, 1)")
    # More subtransactions than a snapshot's cache holds.
    scene.commit(capture, """DO $$ BEGIN FOR i IN 100..250 LOOP
                 BEGIN INSERT INTO t VALUES (i, i);
                       IF i % 3 = 0 THEN RAISE EXCEPTION 'back'; END IF;
                 EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $$""")
    scene.drain(capture)
    assert capture.replica.compared == 3


def test_values_of_a_toasted_column_that_an_update_leaves_alone(scene):
    toasted(scene)
    capture = scene.started()
    scene.commit(capture, "UPDATE t SET v = 8 WHERE id = 1")
    scene.commit(capture, f"UPDATE t SET big = {big('b')} WHERE id = 2", "UPDATE t SET v = 2 WHERE id = 2")
    scene.commit(capture, "UPDATE t SET id = 30 WHERE id = 3")
    scene.commit(capture, "UPDATE t SET id = 3 WHERE id = 4", "UPDATE t SET id = 4 WHERE id = 30")
    scene.commit(capture, "UPDATE t SET big = NULL WHERE id = 1", "UPDATE t SET v = v + 1")
    scene.drain(capture)
    assert capture.replica.compared == 5


@pytest.mark.extension
def test_a_table_that_comes_back_empty_after_it_was_unlogged(server, database):
    """The stream has no row of that: who was restarted meanwhile must know that it was unlogged."""
    scene = Scene(server, database, "assisted")
    try:
        scene.sql("CREATE TABLE t (id int, region int, PRIMARY KEY (id, region)) PARTITION BY LIST (region)")
        scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)")
        scene.sql("CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)")
        scene.sql("CREATE TABLE u (id int PRIMARY KEY)")
        scene.sql("INSERT INTO t SELECT g, 1 + g % 2 FROM generate_series(1, 9) g")
        scene.sql("INSERT INTO u SELECT g FROM generate_series(1, 9) g")
        capture = scene.started("t", "u")
        for table in ("t1", "u"):
            scene.sql(f"ALTER TABLE {table} SET UNLOGGED")
        scene.sql("INSERT INTO t VALUES (10, 2)")  # of a partition that is logged
        capture.until(lambda: capture.tool.errors().count("has become unlogged") == 2)
        capture.until(lambda: ("10", "2") in capture.replica.table("t").all())
        capture.store()
        capture.crash()
        for table in ("t1", "u"):
            scene.sql(f"DELETE FROM {table}")
            scene.sql(f"ALTER TABLE {table} SET LOGGED")
        capture.start()
        scene.drain(capture)
        assert not capture.replica.table("u").all() and len(capture.replica.table("t").all()) == 6
    finally:
        scene.end()


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL", "USING INDEX t_code", "NOTHING"])
def test_replica_identities(scene, identity):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL, v int, big text)")
    scene.sql("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
    scene.sql("CREATE UNIQUE INDEX t_code ON t (code)")
    scene.sql(f"INSERT INTO t SELECT g, g + 100, g, {big('a')} FROM generate_series(1, 6) g")
    scene.sql(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    capture = scene.capture()
    if identity == "NOTHING":
        # Its updates and deletes cannot be told: refused at once, or made good by reading it anew.
        try:
            capture.start()
            capture.until_complete()
        except Failed as failed:
            assert "REPLICA IDENTITY" in failed.text
            return
        scene.commit(capture, "INSERT INTO t VALUES (20, 120, 1)")
        if scene.transport == "assisted":
            scene.sql("UPDATE t SET v = 9 WHERE id = 1")
            scene.sql("DELETE FROM t WHERE id = 2")
        scene.drain(capture)
        return
    capture.start()
    capture.until_complete()
    scene.commit(capture, "UPDATE t SET v = 9 WHERE id = 1")
    scene.commit(capture, "UPDATE t SET code = 300 WHERE id = 2")
    scene.commit(capture, "UPDATE t SET id = 300 WHERE id = 3")
    scene.commit(capture, "UPDATE t SET id = 400, code = 400 WHERE id = 4")
    scene.commit(capture, "DELETE FROM t WHERE id = 5", "INSERT INTO t VALUES (5, 500, 5)")
    scene.drain(capture)
    assert capture.replica.compared == 5


def test_the_row_as_it_was_is_told_where_the_identity_is_full(scene):
    toasted(scene)
    for name in ("t", "marker"):
        scene.sql(f"ALTER TABLE {name} REPLICA IDENTITY FULL")
    capture = scene.started(options={"changelog-mode": "all"})
    rows = []
    capture.replica.watch["t"] = rows.append
    scene.commit(capture, "UPDATE t SET v = 8 WHERE id = 1")
    scene.commit(capture, "DELETE FROM t WHERE id = 1")
    before = len(capture.replica.kinds)
    scene.drain(capture)
    assert len(capture.replica.kinds) > before
    deleted = rows[-1]
    assert deleted[:2] == ["1", "8"] and len(deleted[2]) > 6000


def test_a_missing_row_as_it_was_is_an_error_at_the_start(scene):
    toasted(scene)
    scene.sql("ALTER TABLE marker REPLICA IDENTITY FULL")
    capture = scene.capture(options={"changelog-mode": "all"})
    with pytest.raises(Failed, match="t REPLICA IDENTITY FULL"):
        capture.start()
        capture.step(5000)
    assert scene.slot(capture) is None


@pytest.mark.parametrize("identity", ["FULL", "NOTHING"])
def test_tables_without_a_key(scene, identity):
    scene.sql("CREATE TABLE t (v int, w text)")
    scene.sql(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    scene.sql("INSERT INTO t SELECT g % 3, 'x' FROM generate_series(1, 9) g")
    capture = small_batches(scene)
    try:
        in_snapshot(scene, capture, "INSERT INTO t VALUES (1, 'x'), (2, NULL)")
    except Failed as failed:
        assert identity == "NOTHING" and "REPLICA IDENTITY" in failed.text
        return
    scene.commit(capture, "INSERT INTO t VALUES (7, 'y'), (7, 'y'), (1, 'x')")
    if identity == "FULL":
        scene.commit(capture, "UPDATE t SET v = 2 WHERE v = 1")
        scene.commit(capture, "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE v = 2)")
        scene.commit(capture, "DELETE FROM t WHERE w IS NULL")
    scene.drain(capture)


@pytest.mark.since(11, "keys of partitioned tables")
@pytest.mark.parametrize("partitions", ["root", "leaf"])
def test_rows_that_move_between_partitions(scene, partitions):
    scene.sql("CREATE TABLE t (id int, region int, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)")
    # Another order of columns, and one that is gone.
    scene.sql("CREATE TABLE t2 (gone int, v text, region int NOT NULL, id int NOT NULL)")
    scene.sql("ALTER TABLE t2 DROP gone")
    scene.sql("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES IN (2)")
    scene.sql("INSERT INTO t SELECT g, g % 2 + 1, g FROM generate_series(1, 10) g")
    capture = scene.capture(("t",) if partitions == "root" else ("t1", "t2"),
                            options={"cdc.partitions": partitions, "read.batch-rows": "3"})
    capture.start()
    capture.until(lambda: sum(capture.replica.snapshot_rows.values()) > 0)
    scene.sql("UPDATE t SET region = 3 - region WHERE id IN (1, 2, 9, 10)")
    capture.until_complete()
    scene.commit(capture, "UPDATE t SET region = 3 - region WHERE id < 5")
    scene.commit(capture, "UPDATE t SET region = 1, v = 'y'", "UPDATE t SET region = 2 WHERE id = 7")
    scene.commit(capture, "DELETE FROM t WHERE region = 2", "INSERT INTO t VALUES (7, 1, 'z') ON CONFLICT DO NOTHING")
    scene.drain(capture)
    assert capture.replica.compared == 3


def test_truncate_of_a_table(scene):
    toasted(scene)
    scene.sql("CREATE TABLE u (id int PRIMARY KEY REFERENCES t)")
    scene.sql("INSERT INTO u SELECT id FROM t")
    capture = scene.started("t", "u")
    scene.commit(capture, "INSERT INTO t VALUES (10, 1)", "TRUNCATE t CASCADE", "INSERT INTO t VALUES (11, 2)")
    scene.commit(capture, "INSERT INTO u VALUES (11)")
    scene.commit(capture, "TRUNCATE u")
    scene.drain(capture)
    if scene.server.version < 110000:
        return  # pgoutput tells of none
    assert capture.replica.compared == 3 and not capture.replica.resets
    assert capture.replica.truncates.count("u") == 2


def test_a_transaction_of_two_phases_comes_at_its_commit(scene):
    toasted(scene)
    capture = scene.started()
    scene.sql("BEGIN; INSERT INTO t VALUES (10, 1); UPDATE t SET v = 9 WHERE id = 1; PREPARE TRANSACTION 'two'")
    scene.commit(capture, "UPDATE t SET v = 7 WHERE id = 2")
    capture.until(lambda: capture.replica.changes > 0)
    assert ("10", "1", None) not in capture.replica.table("t").all()
    capture.crash()
    scene.crash_server()
    capture.start()
    scene.commit(capture, "UPDATE t SET v = 8 WHERE id = 2")
    capture.until(lambda: capture.replica.changes > 1)
    assert ("10", "1", None) not in capture.replica.table("t").all()
    scene.sql("COMMIT PREPARED 'two'")
    scene.drain(capture)
    assert ("10", "1", None) in capture.replica.table("t").all()


def test_a_transaction_of_two_phases_that_is_prepared_before_the_slot(scene):
    toasted(scene)
    scene.sql("BEGIN; INSERT INTO t VALUES (10, 1); PREPARE TRANSACTION 'two'")
    capture = scene.capture(options={"cdc.wait-timeout": "60s"})
    capture.start()
    for _ in range(10):
        capture.step()
    assert not capture.replica.complete
    scene.sql("COMMIT PREPARED 'two'")
    capture.until_complete()
    scene.drain(capture)


# ---- Beside the snapshot ----

def test_a_long_transaction_that_straddles_the_snapshot(scene):
    toasted(scene, 20)
    capture = small_batches(scene)
    capture.start()
    long = scene.begin("SELECT 1 FROM t")  # no xid yet: the slot does not wait for it
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 0)
    long.execute("UPDATE t SET v = v + 100 WHERE id IN (1, 2, 19, 20)")
    long.execute("DELETE FROM t WHERE id = 10")
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 10)
    scene.sql("UPDATE t SET v = 5 WHERE id = 3")
    long.execute("UPDATE t SET id = id + 100 WHERE id = 5")
    capture.until_complete()
    scene.sql("UPDATE t SET v = 5 WHERE id = 4")
    capture.step()
    long.execute("INSERT INTO t VALUES (10, 10)")
    long.execute("COMMIT")
    scene.drain(capture)
    assert not capture.replica.resets


def test_changes_beside_the_snapshot(scene):
    toasted(scene, 20)
    capture = small_batches(scene)
    in_snapshot(scene, capture, "UPDATE t SET v = v + 1", "DELETE FROM t WHERE id IN (1, 20)",
                "INSERT INTO t VALUES (20, 0, 'new'), (0, 0, 'new')", "UPDATE t SET id = 40 WHERE id = 19",
                "UPDATE t SET id = 19 WHERE id = 2", f"UPDATE t SET big = {big('c')} WHERE id = 15")
    scene.drain(capture)
    assert not capture.replica.resets


def test_truncate_beside_the_snapshot(scene):
    toasted(scene, 20)
    scene.sql("CREATE TABLE u (id int PRIMARY KEY, v text)")
    scene.sql("INSERT INTO u SELECT g, g FROM generate_series(1, 20) g")
    capture = small_batches(scene, ("t", "u"))
    capture.start()
    capture.until(lambda: sum(capture.replica.snapshot_rows.values()) > 0)
    # Behind the reader's lock, which is kept until the rows are read.
    with scene.background("TRUNCATE t", "INSERT INTO t VALUES (1, 1, 'x')", "TRUNCATE u",
                          "INSERT INTO u VALUES (3, 'y')") as done:
        capture.until(lambda: capture.replica.complete and done())
    scene.drain(capture)


@pytest.mark.parametrize("when", ["snapshot", "stream"])
@pytest.mark.parametrize("change", [
    "ADD COLUMN c int", "ADD COLUMN c int DEFAULT 5", "ADD COLUMN c int NOT NULL DEFAULT 5",
    "ADD COLUMN c timestamptz DEFAULT clock_timestamp()", "ALTER v TYPE bigint", "ALTER v TYPE text",
    "ALTER v TYPE int USING v * 10", "DROP COLUMN big", "RENAME COLUMN v TO w",
    "ALTER big TYPE varchar", "DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (v)", "REPLICA IDENTITY FULL"])
def test_a_table_that_is_altered(scene, change, when):
    toasted(scene, 6)
    second = "UPDATE t SET id = id + 50 WHERE id < 3"
    if when == "snapshot":
        capture = small_batches(scene)
        capture.start()
        capture.until(lambda: capture.replica.snapshot_rows["t"] > 0)
        with scene.background("UPDATE t SET v = v + 20", f"ALTER TABLE t {change}", second) as done:
            capture.until(lambda: capture.replica.complete and done())
    else:
        capture = scene.started()
        scene.sql("UPDATE t SET v = v + 20")
        scene.sql(f"ALTER TABLE t {change}")
        scene.sql(second)
    scene.drain(capture)
    with scene.conn.transaction():
        scene.sql("INSERT INTO t (id) VALUES (70)" if "(v)" not in change else "DELETE FROM t WHERE id = 6")
        scene.sql("ALTER TABLE t ADD COLUMN late int")
        scene.sql("UPDATE t SET late = id WHERE id > 4")
    scene.drain(capture)


def test_a_column_that_is_added_after_the_table_was_read_anew_as_it_was(scene):
    # The extension tells what a rewrite has made, and of an update without an identity that it was.
    plain = scene.transport == "plain"
    scene.sql("CREATE TABLE t (id int, v int)")
    if plain:
        scene.sql("ALTER TABLE t ADD PRIMARY KEY (id)")
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 5) g")
    capture = scene.started()
    scene.sql("ALTER TABLE t ALTER v TYPE int USING v * 10" if plain else "UPDATE t SET v = 0 WHERE id = 2")
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)
    scene.sql("ALTER TABLE t ADD COLUMN w int DEFAULT 7")
    scene.sql("INSERT INTO t VALUES (8, 8, 8)")
    scene.drain(capture)


@pytest.mark.parametrize("when", ["snapshot", "stream"])
def test_a_table_that_is_dropped_and_made_again(scene, when):
    toasted(scene, 6)
    again = ["DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY, other text)", "INSERT INTO t VALUES (1, 'x')"]
    if when == "snapshot":
        capture = small_batches(scene)
        capture.start()
        capture.until(lambda: capture.replica.snapshot_rows["t"] > 0)
        with scene.background(*again) as done:
            capture.until(lambda: capture.replica.complete and done())
    else:
        capture = scene.started()
        for statement in again:
            scene.sql(statement)
    scene.sql("INSERT INTO t VALUES (2, 'y')")
    # In plain mode it is looked for now and then.
    capture.until(lambda: capture.replica.table("t").columns == ["id", "other"])
    scene.drain(capture)


def test_a_table_that_is_made_later_and_matches_a_pattern(scene):
    toasted(scene)
    capture = scene.capture(("public.*",))
    capture.tables = ["t"]
    capture.start()
    capture.until_complete()
    scene.sql("CREATE TABLE u (id int PRIMARY KEY, v int)")
    scene.sql("INSERT INTO u VALUES (1, 1), (2, 2)")
    scene.sql("UPDATE u SET v = 3 WHERE id = 2")
    capture.tables = ["t", "u"]
    capture.until(lambda: ("public", "u") in capture.replica.oids)
    scene.drain(capture)


@pytest.mark.since(11, "keys of partitioned tables")
def test_a_partition_that_is_attached_with_rows(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    scene.sql("INSERT INTO t VALUES (1, 1)")
    capture = scene.started()
    scene.sql("CREATE TABLE t2 (id int PRIMARY KEY, v int)")
    scene.sql("INSERT INTO t2 VALUES (11, 1), (12, 2)")
    scene.sql("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20)")
    scene.sql("UPDATE t SET v = 5 WHERE id = 12")
    scene.drain(capture)


@pytest.mark.since(11, "replica identities of partitioned tables")
@pytest.mark.parametrize("made", ["CREATE TABLE t2 (id int, v int); INSERT INTO t2 VALUES (10, 10), (11, 11)",
                                  "CREATE TABLE t2 AS SELECT g AS id, g AS v FROM generate_series(10, 11) g",
                                  "CREATE TABLE t2 (LIKE t); INSERT INTO t2 VALUES (10, 10)"])
def test_a_table_that_is_made_and_attached_by_one_transaction(scene, made):
    """It has rows, although it was made just before: one that was made as a partition has none."""
    scene.sql("CREATE TABLE t (id int, v int) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    for table in ("t", "t1"):
        scene.sql(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    scene.sql("INSERT INTO t VALUES (1, 1)")
    capture = scene.started()
    with scene.conn.transaction():
        for statement in made.split("; "):
            scene.sql(statement)
        scene.sql("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20)")
    capture.until(lambda: capture.replica.resets, 10)
    scene.drain(capture)


@pytest.mark.since(11, "keys of partitioned tables")
def test_a_partition_that_is_made_is_not_read(scene):
    scene.sql("CREATE TABLE t (id int DEFAULT 1 PRIMARY KEY, v int DEFAULT 2) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    capture = scene.started()
    scene.sql("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
    scene.sql("INSERT INTO t VALUES (11, 1)")
    capture.until(lambda: ("11", "1") in capture.replica.table("t").all())
    capture.steps(5, 100)
    scene.drain(capture)
    assert not capture.replica.resets or scene.server.version < 130000


@pytest.mark.parametrize("kind,make", [
    ("unlogged", "CREATE UNLOGGED TABLE t (id int PRIMARY KEY)"),
    ("materialized view", "CREATE MATERIALIZED VIEW t AS SELECT 1 AS id"),
    ("view", "CREATE VIEW t AS SELECT 1 AS id"),
    ("foreign table", "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER nowhere FOREIGN DATA WRAPPER none;"
                      " CREATE FOREIGN TABLE t (id int) SERVER nowhere")])
def test_what_has_no_stream_is_refused_at_open(scene, kind, make):
    scene.sql(make)
    capture = scene.capture()
    with pytest.raises(Failed, match=kind):
        capture.start()
    assert scene.slot(capture) is None


# ---- Consumers whose position is not stored with the data ----

@pytest.mark.parametrize("consumer", ["replay", "upsert"])
def test_a_consumer_that_loses_its_position_converges(scene, consumer):
    toasted(scene, 12)
    capture = small_batches(scene, consumer=consumer, every=0)
    capture.start()
    capture.until(lambda: capture.replica.snapshot_rows["t"] > 6)
    capture.crash()
    scene.sql("DELETE FROM t WHERE id IN (1, 2)")
    scene.sql("UPDATE t SET id = id + 100 WHERE id IN (3, 11)")
    scene.sql("UPDATE t SET v = -1")
    capture.start()
    capture.until_complete()
    capture.store()
    for _ in range(3):
        scene.sql("UPDATE t SET v = v - 1")
        scene.sql("UPDATE t SET id = 1 WHERE id = 4")
        scene.sql("UPDATE t SET id = 4 WHERE id = 1")
        capture.until(lambda: capture.replica.complete)
        for _ in range(5):
            capture.step()
        capture.crash()
        capture.start()
    scene.drain(capture)


def test_a_key_update_that_comes_again_after_its_key_was_used_anew(scene):
    """The value that the update did not carry is that of another row by then."""
    toasted(scene, 3)
    capture = scene.started(consumer="replay", every=0)
    capture.store()
    scene.sql("UPDATE t SET id = 30 WHERE id = 1")
    scene.sql(f"INSERT INTO t VALUES (1, 0, {big('other')})")
    scene.drain(capture)
    capture.crash()
    capture.start()
    scene.drain(capture)
