"""Thousands of small tables: what each of them costs is counted in round trips, sessions and bytes."""
import json

import pytest

from scene import Scene

HOW_MANY = [pytest.param(1000), pytest.param(10000, marks=pytest.mark.long)]


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def scene(request, server, database):
    made = Scene(server, database, request.param)
    yield made
    made.end()


def make_tables(scene, n, first=0):
    """Of two columns and two rows each; a hundred to a transaction, since each is locked until its end."""
    for start in range(first, first + n, 100):
        scene.sql(f"""DO $$ BEGIN FOR i IN {start} .. {min(start + 100, first + n) - 1} LOOP
            EXECUTE format('CREATE TABLE many.t%s (id int PRIMARY KEY, v text)', i);
            EXECUTE format('INSERT INTO many.t%s VALUES (1, %L), (2, NULL)', i, 'v' || i);
            END LOOP; END $$""")


@pytest.fixture
def capture(scene, proxy):
    """Makes a capture of many.* whose messages are counted; stores its position now and then."""
    scene.sql("CREATE SCHEMA many")
    made = proxy()

    def make(**options):
        one = scene.capture(("many.*",), every=100, options=options)
        one.url, one.proxy = made.url(scene.database.name), made
        return one
    return make


def trips(proxy, since=0):
    """Queries and Syncs of the sessions that were made since so many."""
    return sum(session.client.types.count("Q") + session.client.types.count("S")
               for session in proxy.sessions[since:])


def holds_all(capture, n):
    replica = capture.replica
    for i in range(n):
        assert set(replica.table(f"many.t{i}").all()) == {("1", f"v{i}"), ("2", None)}, i


@pytest.mark.parametrize("n", HOW_MANY)
def test_a_small_table_costs_one_round_trip_and_no_session(scene, capture, n):
    make_tables(scene, n)
    one = capture()
    one.start()
    one.until_complete(600)
    holds_all(one, n)
    assert len(one.proxy.sessions) == 3, "for questions, for the stream, for rows"
    assert trips(one.proxy) < 1.15 * n + 60
    one.store()
    assert len(one.position) < 60 * n + 1000
    scene.sql("INSERT INTO many.t0 VALUES (3, 'later')")
    one.restart()
    one.until(lambda: ("3", "later") in one.replica.table("many.t0").all())
    assert not one.replica.resets


@pytest.mark.parametrize("n", HOW_MANY)
def test_a_resumed_snapshot_of_many_tables_has_one_view_for_all(scene, capture, n):
    make_tables(scene, n)
    one = capture()
    one.start()
    one.until(lambda: len(one.replica.snapshot_rows) >= n // 10 and one.since == 0)
    one.crash()
    scene.sql("INSERT INTO many.t1 VALUES (3, 'later')")
    scene.sql(f"UPDATE many.t{n - 1} SET v = 'later' WHERE id = 1")
    before = len(one.proxy.sessions)
    one.start()
    one.until(lambda: len(one.replica.snapshot_rows) >= n // 2 and one.since == 0)
    assert len(json.loads(one.position.removeprefix("pst1:"))["views"]) == 1
    one.until_complete(600)
    assert len(one.proxy.sessions) - before == 4, "one more holds the snapshot"
    assert trips(one.proxy, before) < 1.15 * n + 60
    scene.sql("INSERT INTO many.t0 VALUES (3, 'last')")
    one.until(lambda: ("3", "last") in one.replica.table("many.t0").all())
    assert ("3", "later") in one.replica.table("many.t1").all()
    assert ("1", "later") in one.replica.table(f"many.t{n - 1}").all()


def test_tables_that_are_named_one_by_one(scene, capture):
    """Thousands of names are one condition on the server, not one for each of thousands of tables."""
    n = 200
    make_tables(scene, n)
    one = capture(**{"table-name": ",".join(f"many.t{i}" for i in range(n)) + ",public.marker"})
    one.start()
    one.until_complete(600)
    holds_all(one, n)
    assert trips(one.proxy) < 1.15 * n + 60


def test_small_tables_that_are_not_what_they_were(scene, capture):
    """Each has changed between the slot's snapshot and its read, in another way."""
    make_tables(scene, 12)
    one = capture(**{"read.batch-rows": "1"})
    one.start()
    one.until(lambda: one.replica.snapshot_rows)  # all others are described
    for i, change in enumerate(("TRUNCATE many.t{0}", "DROP TABLE many.t{0}", "ALTER TABLE many.t{0} ADD w int DEFAULT 5",
                                "ALTER TABLE many.t{0} DROP v", "ALTER TABLE many.t{0} RENAME v TO w",
                                "ALTER TABLE many.t{0} ALTER v TYPE varchar(20)", "ALTER TABLE many.t{0} RENAME TO away{0}",
                                "CREATE TABLE many.child () INHERITS (many.t{0})"), 2):
        scene.sql(change.format(i))
    one.until_complete()
    for i in (0, 1, 10, 11):
        assert set(one.replica.table(f"many.t{i}").all()) == {("1", f"v{i}"), ("2", None)}, i
    for i in (2, 4, 5, 6, 7, 9):
        scene.sql(f"INSERT INTO many.t{i} (id) VALUES (3)")
    one.until(lambda: any(row[0] == "3" for row in one.replica.table("many.t9").all()))
    one.until_complete()
    tables = {name: {tuple(None if v is None else str(v) for v in row) for row in scene.sql(f"SELECT * FROM ONLY many.{name}")}
              for name in ("t2", "t4", "t5", "t6", "t7", "t9")}
    assert {name: set(one.replica.table("many." + name).all()) for name in tables} == tables


def test_a_table_that_has_no_statistics_and_is_large_is_read_by_itself(scene, capture):
    make_tables(scene, 5)
    scene.sql("CREATE TABLE many.large (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = off)")
    scene.sql("INSERT INTO many.large SELECT g, repeat('x', 100) FROM generate_series(1, 10000) g")
    one = capture(**{"read.split-bytes": "256kb"})
    one.start()
    one.until_complete()
    assert len(one.replica.table("many.large").all()) == 10000
    holds_all(one, 5)
