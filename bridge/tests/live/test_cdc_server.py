"""Change capture beside what others do on the server: names that change, messages that anyone may send, rights, values
that cannot be sent, transactions of which nothing is wanted, transaction numbers of a later epoch."""
import os

import pytest

from capture import Failed
from conftest import drop_database, make_database
from scene import Scene, wait_for


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def scene(request, server, database):
    made = Scene(server, database, request.param)
    yield made
    made.end()


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def ascii_scene(request, server):
    """In a database whose bytes mean nothing."""
    database = make_database(server, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    made = Scene(server, database, request.param)
    yield made
    made.end()
    drop_database(database)


@pytest.fixture
def role(scene):
    """One that may replicate, and no more."""
    name = f"penstock_cdc_{os.getpid()}"
    scene.sql(f"CREATE ROLE {name} LOGIN REPLICATION")
    yield name
    scene.sql(f"DROP OWNED BY {name}")
    scene.sql(f"DROP ROLE {name}")


def keyed(scene, n=5, name="t"):
    scene.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, v int)")
    scene.sql(f"INSERT INTO {name} SELECT g, g FROM generate_series(1, {n}) g")


# ---- Names ----

def test_a_table_that_is_renamed_within_what_is_captured(scene):
    """It is the same table, by its OID; its changes from before come under either name."""
    keyed(scene)
    capture = scene.capture(("public.t*",))
    capture.start()
    capture.until_complete()
    capture.stop()
    scene.sql("UPDATE t SET v = v + 1")
    scene.sql("ALTER TABLE t RENAME TO t_new")
    scene.sql("DELETE FROM t_new WHERE id = 1")
    capture.go_on()
    capture.until(lambda: ("public", "t_new") in capture.replica.oids)
    capture.tables = ["t_new"]
    scene.drain(capture)
    assert not capture.replica.resets


def test_names_of_columns_that_are_exchanged(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    scene.sql("INSERT INTO t VALUES (1, 10, 20), (2, 11, 21)")
    capture = scene.started()
    capture.stop()
    scene.sql("UPDATE t SET a = 12 WHERE id = 1")
    with scene.conn.transaction():
        scene.sql("ALTER TABLE t RENAME a TO c")
        scene.sql("ALTER TABLE t RENAME b TO a")
        scene.sql("ALTER TABLE t RENAME c TO b")
    scene.sql("UPDATE t SET a = 22 WHERE id = 1")
    capture.go_on()
    capture.until(lambda: capture.replica.changes >= 2)
    scene.sql("UPDATE t SET b = b, a = a")  # whichever names the rows from before have
    scene.drain(capture)


def test_a_label_of_an_enum_that_is_renamed(scene):
    """What was decoded has the label of that time, and a row that is written again the new one."""
    scene.sql("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, m mood, v int)")
    scene.sql("INSERT INTO t VALUES (1, 'sad')")
    capture = scene.started()
    capture.stop()
    scene.sql("INSERT INTO t VALUES (2, 'sad')")
    scene.sql("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    scene.sql("INSERT INTO t VALUES (3, 'blue')")
    capture.go_on()
    capture.until(lambda: len(capture.replica.table("t").all()) == 3)
    labels = {row[0]: row[1] for row in capture.replica.table("t").all()}
    assert labels["1"] == "sad" and labels["2"] in ("sad", "blue") and labels["3"] == "blue"
    scene.sql("UPDATE t SET v = 1")
    scene.drain(capture)


# ---- Messages ----

def test_messages_of_anyone_are_told_and_never_obeyed(scene, role):
    keyed(scene)
    asked = scene.transport == "assisted" or scene.server.version >= 140000
    capture = scene.started(options={"cdc.messages": "penstock*"} if asked else None)
    sent = [(f"penstock{ending}", content) for ending in ("", ".ddl", ".reset", "1:")
            for content in ("flush", "DROP TABLE t", "\\x00ff", "pst1:{}")]
    with scene.connect(user=role) as conn:
        for n, (prefix, content) in enumerate(sent):
            conn.execute("SELECT pg_logical_emit_message(%s, %s, %s)", [n % 2 == 0, prefix, content])
    scene.commit(capture, "UPDATE t SET v = 0")
    scene.drain(capture)
    assert not capture.replica.resets and capture.replica.compared == 1
    if asked:
        mine = [(prefix, "\\x" + content.encode().hex()) for prefix, content in sent]
        assert [m for m in capture.replica.messages if m != ("penstock", "\\x" + b"flush".hex())] == mine[1:]


# ---- Rights ----

def test_who_may_replicate_may_not_capture_what_it_may_not_read(scene, role):
    keyed(scene)
    if scene.transport == "plain":
        scene.sql("CREATE PUBLICATION theirs FOR TABLE t, marker")
    scene.sql(f"GRANT SELECT ON marker TO {role}")
    scene.sql(f"GRANT SELECT (id) ON t TO {role}")
    options = {"publication.name": "theirs"} if scene.transport == "plain" else {}
    capture = scene.capture(options=options)
    capture.url = scene.server.url(scene.database.name, user=role)
    with pytest.raises(Failed, match=f"GRANT SELECT ON public.t TO {role}") as failed:
        capture.start()
        capture.steps(3)
    assert failed.value.answer["status"] == "PST_ERR_PRIVILEGE" or "may not read" in failed.value.text
    assert scene.slot(capture) is None
    capture.crash()
    scene.sql(f"GRANT SELECT ON t TO {role}")
    capture.start()
    capture.until_complete()
    scene.drain(capture)
    # The stream asks for no right; the next opening does.
    scene.sql(f"REVOKE SELECT ON t FROM {role}")
    scene.sql("UPDATE t SET v = 7")
    scene.drain(capture)
    capture.crash()
    with pytest.raises(Failed, match=f"GRANT SELECT ON public.t TO {role}"):
        capture.start()
        capture.steps(3)
    capture.crash()
    scene.sql(f"GRANT SELECT ON t TO {role}")
    capture.start()
    scene.drain(capture)


# ---- Values ----

def test_a_value_that_cannot_be_sent_is_named_and_can_be_left_out(ascii_scene):
    """It does not block the slot for ever: without its column the capture goes on at the same position."""
    scene = ascii_scene
    scene.conn.execute("SET client_encoding = 'SQL_ASCII'")
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int, bad text)")
    scene.sql("INSERT INTO t VALUES (1, 1, 'good')")
    capture = scene.started()
    capture.store()
    scene.sql("INSERT INTO t VALUES (2, 2, 'fine')")
    scene.sql("INSERT INTO t VALUES (3, 3, convert_from('\\xff41', 'SQL_ASCII'))")
    scene.sql("INSERT INTO t VALUES (4, 4, 'fine')")
    for _ in range(2):
        with pytest.raises(Failed, match="bad") as failed:
            capture.until(lambda: len(capture.replica.table("t").all()) == 4, 20)
        assert "public.t" in failed.value.text and "exclude" in failed.value.text
        assert len(capture.replica.table("t").all()) <= 2
        capture.crash()
        capture.start()
    capture.crash()
    capture.options["cdc.exclude-columns"] = "public.t.bad"
    capture.start()
    capture.until(lambda: len(capture.replica.table("t").all()) == 4 and capture.replica.complete)
    assert capture.replica.table("t").columns == ["id", "v"]
    scene.sql("INSERT INTO t VALUES (5, 5, 'fine')")
    scene.sql("ALTER TABLE t DROP COLUMN bad")
    scene.drain(capture)


# ---- Columns ----

@pytest.mark.parametrize("choice", [{"cdc.exclude-columns": "public.t.secret"},
                                    {"cdc.columns": r"/public\.t\.(id|v|late)/, *.marker.*"}])
@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_columns_that_are_left_out_come_neither_from_the_table_nor_from_the_stream(scene, choice, identity):
    scene.sql("CREATE TABLE t (secret text, id int PRIMARY KEY, v int)")
    scene.sql(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    scene.sql("INSERT INTO t SELECT 'hidden', g, g FROM generate_series(1, 5) g")
    capture = scene.started(options=choice)
    scene.sql("UPDATE t SET v = v + 1, secret = 'hidden too' WHERE id < 3")
    scene.sql("UPDATE t SET id = 30, secret = 'x' WHERE id = 3")
    scene.sql("DELETE FROM t WHERE id = 4")
    scene.sql("INSERT INTO t VALUES ('other', 6, 6)")
    scene.sql("ALTER TABLE t ADD COLUMN late int")
    scene.sql("UPDATE t SET late = id, secret = 'y' WHERE id = 5")
    scene.sql("INSERT INTO marker VALUES (-1)")
    seen = []
    capture.replica.watch["marker"] = seen.append
    capture.until(lambda: ["-1"] in seen)
    table = capture.replica.table("t")
    assert table.columns == ["id", "v", "late"]
    assert set(table.all()) == {("1", "2", None), ("2", "3", None), ("30", "3", None), ("5", "5", "5"),
                                ("6", "6", None)}
    assert not capture.replica.resets


def test_a_table_of_which_other_columns_are_wanted_is_read_anew(scene):
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int, w int)")
    scene.sql("CREATE TABLE u (id int PRIMARY KEY)")
    scene.sql("INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)")
    scene.sql("INSERT INTO u VALUES (1)")
    capture = scene.started("t", "u", options={"cdc.exclude-columns": "public.t.w"})
    capture.crash()
    scene.sql("UPDATE t SET v = 9, w = 9 WHERE id = 1")
    del capture.options["cdc.exclude-columns"]
    capture.start()
    capture.until_complete()
    scene.drain(capture)
    assert capture.replica.resets == [("t", "other columns of it are captured now")]


# ---- Large transactions that nobody wants ----

@pytest.mark.since(12, "wal_sender_timeout of a session")
def test_a_large_transaction_of_which_nothing_is_wanted_keeps_the_connection(scene):
    keyed(scene)
    scene.sql("CREATE TABLE noise (id int, v text)")
    scene.setting("wal_sender_timeout", "400ms")
    capture = scene.started()
    scene.drain(capture)
    pid = scene.slot(capture)["active_pid"]
    scene.sql("BEGIN; INSERT INTO noise SELECT g, 'x' FROM generate_series(1, 400000) g;"
              " UPDATE noise SET v = 'y' WHERE id <= 200000; COMMIT")
    scene.commit(capture, "UPDATE t SET v = 0")
    scene.drain(capture)
    assert scene.slot(capture)["active_pid"] == pid and capture.replica.compared == 1


# ---- Settings ----

def test_settings_of_the_role_and_the_database_change_no_value(scene, role):
    """Neither those of the session that decodes nor those of the one that reads."""
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, d date, ts timestamptz, i interval, f float8, b bytea, m money,"
              " r tstzrange)")
    row = "'2026-02-03', '2026-02-03 04:05:06.7+08', '1 day 02:03', 0.1::float8 + 0.2::float8, '\\x00ff', 5,"
    row += " '[2020-01-01 00:00Z,2020-01-02 00:00Z)'"
    scene.sql(f"INSERT INTO t VALUES (1, {row})")
    scene.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    if scene.transport == "plain":
        scene.sql("CREATE PUBLICATION theirs FOR TABLE t, marker")
    for name, value in (("datestyle", "German"), ("timezone", "Asia/Tokyo"), ("intervalstyle", "sql_standard"),
                        ("extra_float_digits", "-5"), ("bytea_output", "escape"), ("search_path", "nowhere"),
                        ("default_transaction_read_only", "on"), ("default_transaction_isolation", "serializable"),
                        ("client_encoding", "LATIN1")):
        scene.sql(f"ALTER ROLE {role} SET {name} = '{value}'")
    capture = scene.capture(options={"publication.name": "theirs"} if scene.transport == "plain" else {})
    capture.url = scene.server.url(scene.database.name, user=role)
    rows = []
    capture.replica.watch["t"] = lambda values: rows.append(values[1:])
    capture.start()
    capture.until_complete()
    scene.sql(f"INSERT INTO t VALUES (2, {row})")
    capture.until(lambda: len(rows) == 2)
    assert rows[0] == rows[1]
    assert rows[0][0] == "2026-02-03" and rows[0][3] == "0.30000000000000004" or scene.server.version < 120000


# ---- What goes away ----

def test_an_extension_that_is_dropped_while_a_capture_runs(scene):
    """The stream needs it not, and the next reading goes the plain way or says what it lacks."""
    keyed(scene)
    capture = scene.started()
    scene.sql("DROP EXTENSION IF EXISTS penstock")
    scene.commit(capture, "UPDATE t SET v = 0")
    scene.drain(capture)
    capture.restart()
    scene.commit(capture, "INSERT INTO t VALUES (9, 9)")
    scene.drain(capture)
    assert capture.replica.compared == 2
    wait_for(lambda: scene.slot(capture)["active"], "the capture goes on")
