"""Change capture by pgoutput, on every server from 10 on: what it needs, and what it does where the stream tells
less than the extension's. That what comes is the table at every commit is in test_cdc_exact.py."""
import contextlib
import json
import threading

import psycopg
import pytest

from capture import INSERT, Failed
from scene import Scene


@pytest.fixture
def scene(server, database):
    made = Scene(server, database, "plain")
    yield made
    made.end()


@pytest.fixture
def version(scene):
    return scene.conn.info.server_version


def from_now(scene, *tables, **options):
    """A capture without a snapshot, that is streaming."""
    capture = scene.capture(tables or ("t",), options={"scan.startup.mode": "latest-offset", **options})
    capture.start()
    capture.until(lambda: scene.slot(capture) and scene.slot(capture)["active"])
    return capture


def marked(scene, capture, n):
    """Steps until the marker n has come."""
    seen = []
    capture.replica.watch["marker"] = lambda values: seen.append(values[0])
    scene.sql("INSERT INTO marker VALUES (%s)", [n])
    capture.until(lambda: str(n) in seen)


def keyed(scene, n=5, name="t"):
    scene.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, v int)")
    scene.sql(f"INSERT INTO {name} SELECT g, g FROM generate_series(1, {n}) g")


# ---- Which operations ----

def test_inserts_alone_of_a_table_without_a_replica_identity(scene):
    scene.sql("CREATE TABLE t (v int)")
    capture = scene.capture(options={"scan.startup.mode": "latest-offset"})
    with pytest.raises(Failed, match="cdc.operations=insert"):
        capture.start()
        capture.steps(3)
    capture.crash()
    capture = from_now(scene, **{"cdc.operations": "Insert"})
    rows = []
    capture.replica.watch["t"] = rows.append
    scene.sql("INSERT INTO t VALUES (1), (2)")
    scene.sql("UPDATE t SET v = 7")
    scene.sql("DELETE FROM t WHERE v = 7")
    scene.sql("TRUNCATE t")
    marked(scene, capture, 1)
    assert rows == [["1"], ["2"]] and not capture.replica.truncates


def test_operations_that_a_publication_of_others_has_besides_are_left_out(scene):
    keyed(scene)
    scene.sql("CREATE PUBLICATION theirs FOR TABLE t, marker")
    capture = from_now(scene, **{"cdc.operations": "delete, insert", "publication.name": "theirs"})
    kinds = []
    apply = capture.replica.apply
    capture.replica.apply = lambda event: kinds.extend(
        row["kind"] for row in event.get("rows", ()) if event["table"] == "t") or (
            event["event"] != "rows" or event["table"] != "t") and apply(event)
    scene.sql("UPDATE t SET v = 0")
    scene.sql("INSERT INTO t VALUES (10, 1)")
    scene.sql("TRUNCATE t")
    marked(scene, capture, 1)
    assert kinds == [INSERT] and not capture.replica.truncates


@pytest.mark.parametrize("operations", ["", "insert,", "insert update", "merge"])
def test_operations_that_are_none_are_refused(scene, operations):
    keyed(scene)
    with pytest.raises(Failed, match="insert, update, delete and truncate"):
        from_now(scene, **{"cdc.operations": operations})


# ---- Messages ----

def test_messages_by_their_prefixes(scene, version):
    keyed(scene)
    options = {"cdc.messages": r'outbox.*, "Audit*", /log_\d+/'}
    if version < 140000:
        with pytest.raises(Failed, match="14 and newer"):
            from_now(scene, **options)
        return
    capture = from_now(scene, **options)
    for i, prefix in enumerate(["outbox.a", "outbox", "Audit*", "Audit1", "log_17", "log_x", "xlog_1", "outbox.a"]):
        scene.sql("SELECT pg_logical_emit_message(%s, %s, %s)", [i % 2 == 0, prefix, str(i)])
    scene.sql("INSERT INTO t VALUES (10, 1)")
    marked(scene, capture, 1)
    assert [prefix for prefix, _ in capture.replica.messages] == ["outbox.a", "Audit*", "log_17", "outbox.a"]


@pytest.mark.since(14, "messages of pgoutput")
def test_messages_outside_transactions_come_once(scene):
    """Though the position that is gone on with lies before them, the end of a transaction as ever."""
    keyed(scene)
    capture = scene.started(options={"cdc.messages": "audit"})
    for i in range(3):
        scene.sql("SELECT pg_logical_emit_message(false, 'audit', %s)", [f"a{i}"])
        capture.until(lambda n=2 * i + 1: len(capture.replica.messages) == n)
        assert '"message"' in capture.position
        capture.restart()
        scene.sql("SELECT pg_logical_emit_message(false, 'audit', %s)", [f"b{i}"])
        capture.until(lambda n=2 * i + 2: len(capture.replica.messages) == n)
    scene.drain(capture)
    told = [bytes.fromhex(content.removeprefix("\\x")).decode() for _, content in capture.replica.messages]
    assert told == ["a0", "b0", "a1", "b1", "a2", "b2"]


@pytest.mark.since(14, "messages of pgoutput")
def test_a_pattern_of_messages_that_is_no_regular_expression(scene):
    keyed(scene)
    with pytest.raises(Failed, match="regular expression"):
        capture = from_now(scene, **{"cdc.messages": "/a(/"})
        scene.sql("SELECT pg_logical_emit_message(false, 'a', 'x')")
        marked(scene, capture, 1)


# ---- Tables that come later ----

def whole(scene, capture, *tables):
    """Steps until the copy of these is what they hold."""
    capture.tables = list(tables)
    capture.until(lambda: all(t in {name[1] for name in capture.replica.oids} for t in tables))
    scene.drain(capture)


def test_a_table_that_comes_into_a_pattern_is_read(scene):
    keyed(scene)
    capture = scene.capture(options={"table-name": "public.t*, public.marker"})
    capture.start()
    capture.until_complete()
    assert capture.replica.snapshot_rows["t"] == 5
    keyed(scene, 3, "t_new")
    with scene.begin("INSERT INTO t_new VALUES (10, 1)") as long:
        scene.sql("INSERT INTO t_new VALUES (11, 1)")
        capture.steps(5, 100)
        long.execute("COMMIT")
    whole(scene, capture, "t", "t_new")
    scene.commit(capture, "UPDATE t_new SET v = 0", "INSERT INTO t VALUES (7, 7)", "DELETE FROM t_new WHERE id = 2")
    scene.drain(capture)
    assert {table for table, _ in capture.replica.resets} == {"t_new"}


def test_a_named_table_that_is_made_again_is_read(scene):
    keyed(scene)
    capture = scene.started()
    scene.sql("DROP TABLE t")
    capture.steps(5, 100)
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, w text)")
    scene.sql("INSERT INTO t VALUES (1, 'one')")
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)
    scene.commit(capture, "INSERT INTO t VALUES (2, 'two')")
    capture.restart()
    scene.drain(capture)
    assert capture.replica.compared == 1


def test_a_table_that_is_renamed_into_scope_is_read(scene):
    keyed(scene)
    keyed(scene, 4, "other")
    capture = scene.capture(options={"table-name": "public.t*, public.marker"})
    capture.start()
    capture.until_complete()
    scene.sql("UPDATE other SET v = 9")
    scene.sql("ALTER TABLE other RENAME TO t_other")
    whole(scene, capture, "t", "t_other")


def test_a_table_that_cannot_be_captured_yet_waits(scene):
    keyed(scene)
    capture = scene.capture(options={"table-name": "public.t*, public.marker"})
    capture.start()
    capture.until_complete()
    scene.sql("CREATE TABLE t_new (id int NOT NULL, v int)")
    scene.sql("INSERT INTO t_new VALUES (1, 1)")
    capture.until(lambda: "t_new" in capture.tool.errors())
    scene.sql("UPDATE t_new SET v = 2")  # as ever
    scene.sql("ALTER TABLE t_new ADD PRIMARY KEY (id)")
    whole(scene, capture, "t", "t_new")
    assert capture.tool.errors().count("t_new would fail") == 1


@pytest.mark.parametrize("then", ["restart", "another is taken out"])
def test_a_table_that_waits_is_in_nobodys_way(scene, then):
    keyed(scene)
    capture = scene.capture(options={"table-name": "public.t*, public.marker"})
    capture.start()
    capture.until_complete()
    scene.sql("CREATE TABLE t_new (id int NOT NULL, v int)")
    scene.sql("INSERT INTO t_new VALUES (1, 1)")
    capture.until(lambda: "t_new would fail" in capture.tool.errors())
    if then == "restart":
        capture.restart()
    else:
        scene.sql(f"ALTER PUBLICATION {capture.options['slot.name']} DROP TABLE t")
        scene.sql("UPDATE t SET v = 0")
        capture.until(lambda: capture.replica.resets)
    scene.drain(capture)
    scene.sql("UPDATE t_new SET v = 2")
    capture.until(lambda: "t_new would fail" in capture.tool.errors())
    assert ("public", "t_new") not in capture.replica.oids
    scene.sql("ALTER TABLE t_new ADD PRIMARY KEY (id)")
    whole(scene, capture, "t", "t_new")


def test_a_table_that_was_renamed_away_before_it_was_read_may_come_back(scene):
    keyed(scene)
    capture = scene.capture(options={"table-name": "public.t*, public.marker"})
    capture.start()
    capture.until_complete()
    with scene.begin("INSERT INTO marker VALUES (-1)") as long:
        keyed(scene, 3, "t_new")
        capture.until(lambda: "t_new has come into" in capture.tool.errors())
        scene.sql("ALTER TABLE t_new RENAME TO x_new")
        long.execute("COMMIT")
    capture.until(lambda: "renamed out of" in capture.tool.errors())
    scene.drain(capture)
    scene.sql("UPDATE x_new SET v = 0")
    scene.sql("ALTER TABLE x_new RENAME TO t_new")
    whole(scene, capture, "t", "t_new")
    scene.commit(capture, "INSERT INTO t_new VALUES (10, 1)")
    capture.restart()
    scene.drain(capture)


def test_a_table_that_came_while_the_capture_stood_in_a_transaction(scene):
    keyed(scene)
    capture = scene.capture(options={"table-name": "public.t*, public.marker", "read.batch-rows": "2"})
    capture.start()
    capture.until_complete()
    with scene.conn.transaction():
        for i in range(10, 20):
            scene.sql(f"INSERT INTO t VALUES ({i}, {i})")
    capture.until(lambda: capture.replica.changes >= 4)
    capture.crash()
    assert json.loads(capture.position.removeprefix("pst1:"))["number"] != "0"
    keyed(scene, 3, "t_new")
    capture.start()
    whole(scene, capture, "t", "t_new")


def test_partitions_that_come_later(scene):
    scene.sql("CREATE TABLE t (id int NOT NULL, region int NOT NULL) PARTITION BY LIST (region)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)")
    leaf_key = scene.conn.info.server_version < 110000  # a partitioned table has none
    scene.sql(f"ALTER TABLE {'t1' if leaf_key else 't'} ADD PRIMARY KEY (id, region)")
    scene.sql("INSERT INTO t VALUES (1, 1)")
    capture = scene.started()
    scene.sql("CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)")
    if leaf_key:
        scene.sql("ALTER TABLE t2 ADD PRIMARY KEY (id, region)")
    scene.sql("INSERT INTO t VALUES (2, 2), (3, 1)")
    scene.sql("UPDATE t SET id = 20 WHERE id = 2")
    capture.until(lambda: ("20", "2") in capture.replica.table("t").all())
    scene.commit(capture, "INSERT INTO t VALUES (4, 2)", "DELETE FROM t WHERE id = 3")
    scene.drain(capture)


def test_a_publication_that_has_more_tables(scene):
    keyed(scene)
    keyed(scene, 3, "other")
    scene.sql("CREATE PUBLICATION everything FOR ALL TABLES")
    capture = scene.started(options={"publication.name": "everything"})
    scene.sql("UPDATE other SET v = 0")
    scene.commit(capture, "UPDATE t SET v = 0", "INSERT INTO other VALUES (9, 9)", "DELETE FROM t WHERE id = 1")
    scene.drain(capture)
    assert set(capture.replica.oids) == {("public", "t"), ("public", "marker")}
    assert capture.replica.compared == 1 and "dropped" not in capture.tool.errors()


# ---- Transactions that nobody sees yet ----

def test_a_column_of_a_transaction_that_is_not_seen_yet(scene):
    """Its description comes before its first change, and must not be looked up before its commit is seen."""
    keyed(scene)
    capture = scene.started()
    with scene.waiting_commit("ALTER TABLE t ADD COLUMN w int DEFAULT 7", "UPDATE t SET v = 0 WHERE id = 1"):
        capture.steps(15, 100)
    scene.drain(capture)


@pytest.mark.since(13, "partitioned tables in a publication")
def test_a_partition_of_a_transaction_that_is_not_seen_yet(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 9) g")
    capture = scene.started()
    with scene.waiting_commit("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
                              "INSERT INTO t VALUES (15, 15)"):
        capture.steps(15, 100)
    scene.sql("INSERT INTO t VALUES (16, 16)")
    scene.drain(capture)


def test_a_transaction_that_waits_for_the_capture_itself_is_an_error(scene):
    keyed(scene)
    capture = scene.started()
    conn = scene.connect()
    conn.execute("SET synchronous_commit = 'on'")
    name = scene.value("SELECT application_name FROM pg_stat_replication r JOIN pg_replication_slots s"
                       " ON s.active_pid = r.pid WHERE s.slot_name = %s", [capture.options["slot.name"]])
    scene.setting("synchronous_standby_names", f'"{name}"')

    def commit():
        with contextlib.suppress(psycopg.Error):
            conn.execute("UPDATE t SET v = 9")
    thread = threading.Thread(target=commit)
    thread.start()
    try:
        with pytest.raises(Failed, match="synchronous_standby_names"):
            capture.until(lambda: False, 15)
    finally:
        scene.unset("synchronous_standby_names")
        thread.join(30)
    assert not thread.is_alive()


# ---- Rewrites ----

@pytest.mark.parametrize("rewrite", ["ALTER TABLE t ADD COLUMN at timestamptz DEFAULT clock_timestamp()",
                                     "ALTER TABLE t ALTER v TYPE bigint USING v * 10"])
def test_a_rewrite_that_no_change_follows_is_read(scene, rewrite):
    keyed(scene)
    capture = scene.started()
    scene.sql(rewrite)
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)
    assert len(capture.replica.resets) == 1


@pytest.mark.since(11, "truncates of pgoutput")
@pytest.mark.parametrize("rewrite", ["VACUUM FULL t", "CLUSTER t USING t_pkey", "ALTER TABLE t SET WITHOUT CLUSTER, SET LOGGED"])
@pytest.mark.parametrize("followed", [True, False])
def test_a_new_file_in_which_no_value_changes_is_no_rewrite(scene, rewrite, followed):
    keyed(scene)
    capture = scene.started()
    scene.sql(rewrite)
    if followed:
        scene.commit(capture, "UPDATE t SET v = v + 1")
    capture.steps(20, 50)
    scene.drain(capture)
    assert not capture.replica.resets and capture.replica.compared == followed


@pytest.mark.since(11, "truncates of pgoutput")
@pytest.mark.parametrize("statements", [
    "TRUNCATE t; INSERT INTO t VALUES (1, 1); ALTER TABLE t ALTER v TYPE int USING v * 10",
    "INSERT INTO t VALUES (10, 1); ALTER TABLE t ALTER v TYPE int USING v * 10; TRUNCATE t; INSERT INTO t VALUES (1, 1)",
    "TRUNCATE t; INSERT INTO t VALUES (1, 1); ALTER TABLE t ADD COLUMN w float DEFAULT random()"])
def test_a_truncate_and_a_rewrite_in_one_transaction(scene, statements):
    keyed(scene)
    capture = scene.started()
    with scene.conn.transaction():
        for statement in statements.split("; "):
            scene.sql(statement)
    scene.drain(capture)
    scene.sql("UPDATE t SET v = v + 1")
    scene.drain(capture)


@pytest.mark.since(11, "truncates of pgoutput")
def test_a_truncate_and_a_rewrite_in_one_transaction_while_the_capture_stood(scene):
    keyed(scene)
    capture = scene.started()
    capture.crash()
    with scene.conn.transaction():
        scene.sql("TRUNCATE t")
        scene.sql("INSERT INTO t VALUES (1, 1)")
        scene.sql("ALTER TABLE t ALTER v TYPE int USING v * 10")
    capture.start()
    scene.drain(capture)
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)


@pytest.mark.since(13, "partitioned tables in a publication")
def test_an_older_description_than_what_was_read_is_no_rewrite(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 9) g")
    scene.sql("CREATE TABLE other (n int)")
    capture = scene.started(consumer="upsert")
    held = scene.begin("INSERT INTO other VALUES (1)")
    capture.stop()
    scene.sql("ALTER TABLE t ALTER v TYPE int USING v * 10")
    scene.sql("UPDATE t SET v = 50 WHERE id = 5")
    capture.go_on()
    capture.until(lambda: "is read anew" in capture.tool.errors(), 10)
    capture.steps(5, 100)
    scene.sql("VACUUM FULL t1")
    held.execute("COMMIT")
    capture.steps(30, 50)
    scene.drain(capture)
    assert capture.tool.errors().count("is read anew") == 1


@pytest.mark.since(11, "truncates of pgoutput")
def test_truncates_that_other_statements_follow_are_no_rewrites(scene):
    keyed(scene)
    capture = scene.started()
    capture.stop()
    for n in range(3):
        scene.commit(capture, f"INSERT INTO t VALUES ({10 + n}, 1)", "TRUNCATE t", f"INSERT INTO t VALUES ({n}, 1)")
    scene.sql("GRANT SELECT ON t TO PUBLIC")
    scene.sql("VACUUM FULL t")
    scene.sql("CREATE INDEX ON t (v)")
    capture.go_on()
    capture.until(lambda: len(capture.replica.truncates) == 3)
    capture.steps(10, 100)
    scene.drain(capture)
    assert capture.replica.compared == 3 and not capture.replica.resets


@pytest.mark.since(13, "partitioned tables in a publication")
def test_a_truncate_of_a_partitioned_table_is_no_rewrite(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    scene.sql("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 19) g")
    capture = scene.started()
    scene.commit(capture, "UPDATE t SET v = 0")
    scene.drain(capture)
    scene.commit(capture, "TRUNCATE t")
    capture.until(lambda: capture.replica.truncates)
    scene.commit(capture, "INSERT INTO t VALUES (5, 5), (15, 15)")
    capture.steps(10, 100)
    scene.drain(capture)
    assert capture.replica.compared == 3 and not capture.replica.resets


def test_a_table_that_was_unlogged_for_a_while_is_read_anew(scene):
    """No column is written by that, and what it got meanwhile is in no stream."""
    keyed(scene)
    scene.sql("CREATE PUBLICATION everything FOR ALL TABLES")
    capture = scene.started(options={"publication.name": "everything"})
    scene.sql("ALTER TABLE t SET UNLOGGED")
    scene.sql("INSERT INTO t VALUES (10, 1)")
    scene.sql("DELETE FROM t WHERE id = 1")
    scene.sql("ALTER TABLE t SET LOGGED")
    scene.sql("UPDATE t SET v = v + 1")
    scene.drain(capture)
    assert capture.replica.resets


@pytest.mark.since(11, "truncates of pgoutput")
def test_a_truncate_that_comes_late_is_no_rewrite(scene):
    keyed(scene)
    capture = scene.started()
    capture.stop()
    scene.commit(capture, "TRUNCATE t")
    for n in range(200, 240):
        scene.sql(f"INSERT INTO marker VALUES ({n})")
    capture.go_on()
    capture.until(lambda: capture.replica.truncates)
    capture.steps(10, 100)
    scene.drain(capture)
    assert not capture.replica.resets


@pytest.mark.before(11, "truncates of pgoutput")
def test_a_truncate_before_11_is_read(scene):
    keyed(scene)
    capture = scene.started()
    scene.sql("TRUNCATE t")
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)


# ---- What others do to the publication ----

def test_a_table_that_was_taken_out_of_the_publication_is_read_anew(scene):
    keyed(scene)
    capture = scene.started()
    name = capture.options["slot.name"]
    capture.crash()
    scene.sql(f"ALTER PUBLICATION {name} DROP TABLE t")
    scene.sql("UPDATE t SET v = 0")
    capture.start()
    scene.drain(capture)
    assert capture.replica.resets and "table public.t is read anew" in capture.tool.errors()
    scene.commit(capture, "UPDATE t SET v = 1")
    scene.drain(capture)


@pytest.mark.parametrize("when", ["stood", "runs"])
def test_a_table_that_was_out_of_the_publication_for_a_while_is_read_anew(scene, when):
    """Nothing is missing when it is looked at; of the other table nothing was lost."""
    keyed(scene)
    keyed(scene, 5, "u")
    capture = scene.started("t", "u")
    name = capture.options["slot.name"]
    if when == "stood":
        capture.crash()
    for out, again in (("TABLE t", "TABLE t"), ("TABLE t", "TABLE t")):
        scene.sql(f"ALTER PUBLICATION {name} DROP {out}")
        scene.sql("UPDATE t SET v = v - 1")
        scene.sql(f"ALTER PUBLICATION {name} ADD {again}")
    scene.sql("UPDATE u SET v = v - 1")
    if when == "stood":
        capture.start()
    scene.drain(capture)
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)
    assert {table for table, _ in capture.replica.resets} == {"t"}
    scene.commit(capture, "UPDATE t SET v = 1", "UPDATE u SET v = 1")
    capture.restart()
    scene.drain(capture)
    assert len(capture.replica.resets) == 1


def test_a_table_that_is_taken_out_beside_the_capture_is_put_in_again(scene):
    keyed(scene)
    capture = scene.started()
    name = capture.options["slot.name"]
    scene.sql(f"ALTER PUBLICATION {name} DROP TABLE t")
    scene.sql("UPDATE t SET v = 0")
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)
    scene.commit(capture, "UPDATE t SET v = 1")
    scene.drain(capture)
    assert capture.replica.compared == 1


@pytest.mark.since(15, "publications of schemas")
def test_a_table_that_is_published_twice_may_lose_one_of_them(scene):
    keyed(scene)
    scene.sql("CREATE PUBLICATION twice FOR TABLES IN SCHEMA public, TABLE t")
    capture = scene.started(options={"publication.name": "twice"})
    scene.sql("ALTER PUBLICATION twice DROP TABLE t")
    scene.sql("UPDATE t SET v = 0")
    scene.drain(capture)
    capture.steps(3, 300)
    scene.sql("ALTER PUBLICATION twice ADD TABLE t")
    capture.steps(3, 300)
    scene.sql("ALTER PUBLICATION twice DROP TABLES IN SCHEMA public, TABLE t")
    scene.sql("UPDATE t SET v = 1")
    scene.sql("ALTER PUBLICATION twice ADD TABLES IN SCHEMA public")
    assert not capture.replica.resets
    capture.until(lambda: len(capture.replica.resets) == 2)  # marker, too
    scene.drain(capture)


@pytest.mark.since(15, "publications of schemas")
def test_a_partition_whose_root_was_out_of_the_publication_with_its_schema(scene):
    scene.sql("CREATE SCHEMA roots")
    scene.sql("CREATE TABLE roots.r (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)")
    scene.sql("CREATE TABLE t PARTITION OF roots.r FOR VALUES FROM (0) TO (10)")
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 5) g")
    scene.sql("CREATE PUBLICATION everything FOR TABLE marker, TABLES IN SCHEMA roots")
    capture = scene.started(options={"publication.name": "everything", "cdc.partitions": "leaf"})
    scene.sql("ALTER PUBLICATION everything DROP TABLES IN SCHEMA roots")
    scene.sql("UPDATE t SET v = 0")
    scene.sql("ALTER PUBLICATION everything ADD TABLES IN SCHEMA roots")
    capture.until(lambda: capture.replica.resets)
    scene.drain(capture)
    assert {table for table, _ in capture.replica.resets} == {"t"}


def test_a_publication_that_was_dropped_is_an_error(scene):
    keyed(scene)
    capture = scene.started()
    name = capture.options["slot.name"]
    capture.crash()
    scene.sql(f"DROP PUBLICATION {name}")
    with pytest.raises(Failed, match="no publication .* Begin anew"):
        capture.start()


def test_a_publication_that_was_made_again_is_an_error(scene):
    """Servers before 18 end the stream at changes from in between, 18 passes over them."""
    keyed(scene)
    capture = scene.started()
    name = capture.options["slot.name"]
    capture.crash()
    for _ in range(2):
        scene.sql(f"DROP PUBLICATION {name}")
        scene.sql("UPDATE t SET v = v - 1")
        scene.sql(f"CREATE PUBLICATION {name} FOR TABLE t, marker")
        with pytest.raises(Failed, match="dropped and made again(.|\n)*are lost. Begin anew"):
            capture.start()
        capture.crash()


def test_a_publication_that_is_made_again_beside_the_capture_is_an_error(scene):
    keyed(scene)
    capture = scene.started()
    name = capture.options["slot.name"]
    capture.steps(3, 100)
    with scene.conn.transaction():
        scene.sql(f"DROP PUBLICATION {name}")
        scene.sql(f"CREATE PUBLICATION {name} FOR TABLE t, marker")
    with pytest.raises(Failed, match="dropped and made again"):
        capture.steps(50, 100)


def test_a_position_from_before_publications_were_noted_is_gone_on_with(scene):
    keyed(scene)
    capture = scene.started()
    capture.crash()
    position = json.loads(capture.position.removeprefix("pst1:"))
    assert position.pop("publication") == scene.value("SELECT oid::int8 FROM pg_publication WHERE pubname = %s",
                                                      [capture.options["slot.name"]])
    capture.position = "pst1:" + json.dumps(position)
    scene.sql("UPDATE t SET v = 0")
    capture.start()
    scene.drain(capture)
    assert '"publication"' in capture.position


def test_a_slot_without_its_publication_is_not_gone_on_with(scene):
    keyed(scene)
    scene.sql("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')")
    capture = scene.capture(options={"slot.name": "theirs", "scan.startup.mode": "committed-offset"})
    with pytest.raises(Failed, match="publication.name"):
        capture.start()
    capture.crash()
    scene.sql("DROP PUBLICATION IF EXISTS theirs")


def test_one_moment_has_no_position_to_go_on_at(scene):
    keyed(scene)
    capture = scene.capture(options={"scan.startup.mode": "snapshot"})
    capture.start()
    capture.until_end()
    assert capture.position
    capture.crash()
    with pytest.raises(Failed, match="Begin anew, without the position"):
        capture.start()
