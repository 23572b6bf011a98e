"""What test_cdc_failover.py runs on servers of its own: failover.py followed | inside a snapshot | inside a
transaction | behind."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "live"))
from capture import Failed  # noqa: E402
from conftest import Server, make_database  # noqa: E402
from scene import Scene, wait_for  # noqa: E402


def standby(server):
    """The standby as a server of its own."""
    other = Server()
    other.port = server.standby_port
    return other


def prepare(server, other):
    with server.connect() as conn:
        conn.execute("SELECT pg_create_physical_replication_slot('phys')")
        conn.execute("ALTER SYSTEM SET synchronized_standby_slots = 'phys'")
        conn.execute("SELECT pg_reload_conf()")
    with other.connect() as conn:
        for name, value in (("primary_conninfo", f"host={server.host} port={server.port} user=postgres dbname=postgres"),
                            ("primary_slot_name", "phys"), ("hot_standby_feedback", "on"),
                            ("sync_replication_slots", "on")):
            conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    server.ctl("standby", "restart")


def synchronised(scene, other, capture):
    """The standby's copy of the slot is whole, and not behind what was acknowledged."""
    def there():
        if capture.tool:
            capture.step(20)
        mine = scene.slot(capture)["confirmed_flush_lsn"]
        with other.connect() as conn:
            return conn.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND synced"
                                " AND NOT temporary AND confirmed_flush_lsn >= %s",
                                [capture.options["slot.name"], mine]).fetchone()[0]
    wait_for(there, "the slot is synchronised", 60)


def promote(server, scene, capture, other):
    capture.crash()
    server.ctl("primary", "crash")
    server.ctl("standby", "promote")
    scene.server, scene.database.server = other, other
    scene.database.url = capture.url = other.url(scene.database.name)
    scene.conn = scene.connect()


def main(how):
    server = Server()
    other = standby(server)
    prepare(server, other)
    scene = Scene(server, make_database(server), "plain")
    scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int)")
    scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 50) g")
    capture = scene.capture(options={"slot.failover": "true", "read.batch-rows": "5"})
    capture.start()
    if how == "inside a snapshot":
        capture.until(lambda: capture.replica.snapshot_rows["t"] > 10)
        capture.every = 0
        synchronised(scene, other, capture)
        scene.sql("UPDATE t SET id = id + 100 WHERE id % 7 = 0")
    else:
        capture.until_complete()
        scene.sql("UPDATE t SET v = v + 1")
        scene.drain(capture)
        synchronised(scene, other, capture)
    if how == "inside a transaction":
        scene.sql("UPDATE t SET v = v + 1")
        before = capture.replica.changes
        capture.until(lambda: capture.replica.changes > before + 10)
    if how == "behind":
        # What the standby has not got is delivered all the same: nothing holds it back any more.
        scene.setting("synchronized_standby_slots", "")
        with other.connect() as conn:
            pid = conn.execute("SELECT pid FROM pg_stat_wal_receiver").fetchone()[0]
            conn.execute("ALTER SYSTEM SET primary_conninfo = ''")
            conn.execute("SELECT pg_reload_conf()")
            wait_for(lambda: conn.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s",
                                          [pid]).fetchone()[0] == 0, "the standby receives nothing")
        scene.sql("UPDATE t SET v = v + 1")
        scene.drain(capture)
    else:
        wait_for(lambda: scene.value("SELECT count(*) FROM pg_stat_replication WHERE application_name ="
                                     " 'walreceiver' AND replay_lsn >= pg_current_wal_lsn()"), "the standby follows")
    promote(server, scene, capture, other)
    scene.sql("UPDATE t SET v = -v WHERE id < 10")
    if how == "behind":
        try:
            capture.start()
            for _ in range(100):
                capture.step()
        except Failed as failed:
            assert "timeline" in failed.text, failed
            return
        raise AssertionError("a position that the promoted server has not reached is no error")
    capture.every = 1
    capture.start()
    capture.until_complete()
    scene.drain(capture)


main(" ".join(sys.argv[1:]))
