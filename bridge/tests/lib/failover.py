"""What test_cdc_failover.py runs on servers of its own: failover.py assisted|plain CASE, of the CASES below."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "live"))
from capture import Failed  # noqa: E402
from conftest import Server, make_database  # noqa: E402
from scene import Scene, wait_for  # noqa: E402


class Failover:
    """A capture at a primary, whose standby has what the capture counts on, until it is cut off."""

    def __init__(self, transport, consumer):
        self.server, self.other = Server(), Server()
        self.other.port = self.server.standby_port
        self._prepare()
        self.scene = Scene(self.server, make_database(self.server), transport)
        if transport == "assisted":
            self.scene.sql("CREATE EXTENSION penstock")
        self.scene.sql("CREATE TABLE t (id int PRIMARY KEY, v int)")
        self.scene.sql("INSERT INTO t SELECT g, g FROM generate_series(1, 50) g")
        self.scene.sql("CREATE PUBLICATION p FOR TABLE t, marker")
        self.capture = self.scene.capture(consumer=consumer, options={"slot.failover": "true", "read.batch-rows": "5", **(
            {"publication.name": "p"} if transport == "plain" else {})})

    def _prepare(self):
        with self.server.connect() as conn:
            conn.execute("SELECT pg_create_physical_replication_slot('phys')")
            conn.execute("ALTER SYSTEM SET synchronized_standby_slots = 'phys'")
            conn.execute("SELECT pg_reload_conf()")
        with self.other.connect() as conn:
            where = f"host={self.server.host} port={self.server.port} user=postgres dbname=postgres"
            for name, value in (("primary_conninfo", where), ("primary_slot_name", "phys"),
                                ("hot_standby_feedback", "on"), ("wal_receiver_status_interval", "1s")):
                conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.server.ctl("standby", "restart")
        self.sync = self.other.connect()

    def stream(self):
        """The snapshot is complete, and a change was told."""
        self.capture.start()
        self.capture.until_complete()
        self.scene.sql("UPDATE t SET v = v + 1")
        self.scene.drain(self.capture)
        self.synchronise()

    def snapshot(self):
        """Some of the rows are read, and no more will be."""
        # The slot begins where the standby says that it still looks; it has a copy from there on only.
        wait_for(lambda: self.scene.value("SELECT xmin::text = txid_snapshot_xmax(txid_current_snapshot())::text"
                                          " FROM pg_replication_slots WHERE slot_name = 'phys'"),
                 "the standby has told what it looks at")
        self.capture.start()
        self.capture.until(lambda: self.capture.replica.snapshot_rows["t"] > 10)
        self.synchronise()
        self.capture.crash()

    def until_inside(self):
        """The last position told lies inside a transaction."""
        before = self.capture.replica.changes
        self.capture.until(lambda: self.capture.replica.changes > before + 10)
        assert self.position("commit") > 0

    def synchronise(self):
        """The standby's copy of the slot is whole, and not behind what was acknowledged. By hand: the worker
        that does it looks every half minute."""
        def there():
            if self.capture.replica.complete:
                self.scene.sql("SELECT pg_log_standby_snapshot()")  # or the server takes its time to move the slot
                self.capture.step(20)
            mine = self.scene.slot(self.capture)["confirmed_flush_lsn"]
            self.followed()
            self.sync.execute("SELECT pg_sync_replication_slots()")
            return self.sync.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s AND synced"
                                     " AND NOT temporary AND confirmed_flush_lsn >= %s",
                                     [self.capture.options["slot.name"], mine]).fetchone()[0]
        wait_for(there, "the slot is synchronised")

    def followed(self):
        wait_for(lambda: self.scene.value("SELECT count(*) FROM pg_stat_replication WHERE application_name ="
                                          " 'walreceiver' AND replay_lsn >= pg_current_wal_lsn()"),
                 "the standby follows")

    def cut_off(self, held=False):
        """The standby receives nothing more. held: nor is it told; else nothing holds that back."""
        self.followed()
        if not held:
            self.scene.setting("synchronized_standby_slots", "")
        pid = self.sync.execute("SELECT pid FROM pg_stat_wal_receiver").fetchone()[0]
        self.sync.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.sync.execute("SELECT pg_reload_conf()")
        wait_for(lambda: self.sync.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s",
                                           [pid]).fetchone()[0] == 0, "the standby receives nothing")

    def promote(self):
        """The primary is lost, and with it what the standby has not received."""
        self.capture.crash()
        self.server.ctl("primary", "crash")
        self.server.ctl("standby", "promote")
        self.scene.server, self.scene.database.server = self.other, self.other
        self.scene.database.url = self.capture.url = self.other.url(self.scene.database.name)
        self.scene.conn = self.scene.connect()
        self.scene.sql("UPDATE t SET v = -v WHERE id < 10")

    def goes_on(self):
        self.capture.start()
        self.capture.until_complete()
        self.scene.drain(self.capture)

    def is_refused(self):
        """Returns where the standby was promoted."""
        slot = self.scene.slot(self.capture)
        try:
            self.capture.start()
        except Failed as failed:
            told = re.search("of WAL that the server does not have .* timeline 1 at (.*) to timeline 2", failed.text)
            assert told, failed
            assert not failed.retryable and failed.answer["hint"], failed
            assert self.scene.slot(self.capture) == slot
            return lsn(told[1])
        raise AssertionError("a position that the promoted server has not reached is no error")

    def position(self, key):
        return lsn(json.loads(self.capture.position.split(":", 1)[1])[key])


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def between_transactions(case):
    case.stream()
    case.followed()
    case.promote()
    case.goes_on()
    assert not case.capture.replica.resets


def inside_a_snapshot(case):
    case.snapshot()
    case.scene.sql("UPDATE t SET id = id + 100 WHERE id % 7 = 0")
    case.followed()
    case.promote()
    case.goes_on()


def inside_a_transaction(case):
    case.stream()
    case.scene.sql("UPDATE t SET v = v + 1")
    case.until_inside()
    case.followed()
    case.promote()
    case.goes_on()
    assert not case.capture.replica.resets


def behind(case):
    """What the standby has not got was told of as a whole."""
    case.stream()
    case.cut_off()
    case.scene.sql("UPDATE t SET v = v + 1")
    case.scene.drain(case.capture)
    case.promote()
    assert case.position("safe") > case.is_refused()


def inside_a_lost_transaction(case):
    """Or in part, when all that was told of as a whole is there: of the transaction it lacks the commit alone."""
    case.stream()
    case.capture.close()
    writer = case.scene.begin("UPDATE t SET v = v + 1")
    case.scene.sql("INSERT INTO marker VALUES (-1)")  # flushes what came before it
    case.cut_off()
    writer.execute("COMMIT")
    case.capture.start()
    case.until_inside()
    case.promote()
    left = case.is_refused()
    assert case.position("safe") <= left <= case.position("commit")


def reads_beyond(case):
    """The stream is held back until the standby has it; what the snapshot goes on under is not."""
    case.snapshot()
    case.cut_off(held=True)
    case.scene.sql("UPDATE t SET v = v + 1000")
    case.scene.sql("INSERT INTO t SELECT g, g FROM generate_series(51, 2000) g")
    case.capture.start()
    wanted = case.capture.replica.snapshot_rows["t"] + 2000
    case.capture.until(lambda: case.capture.replica.snapshot_rows["t"] >= wanted)
    case.capture.steps(3)  # the table is done, and the stream begins
    case.capture.store()
    assert not case.capture.replica.complete
    case.promote()


def read_beyond(case):
    reads_beyond(case)
    case.goes_on()
    assert any("has failed" in reason for _, reason in case.capture.replica.resets), case.capture.replica.resets


def read_beyond_for_good(case):
    """A consumer that can only upsert keeps what is undone."""
    reads_beyond(case)
    case.is_refused()


def its_own_slot(case):
    """The capture is the standby's, with a slot that the primary knows nothing of."""
    del case.capture.options["slot.failover"]
    case.capture.url = case.other.url(case.scene.database.name)
    case.followed()
    case.capture.start()

    def begun():
        case.scene.sql("SELECT pg_log_standby_snapshot()")
        case.capture.step(100, 0.2)
        return case.capture.replica.complete
    wait_for(begun, "the snapshot is complete")
    case.scene.sql("UPDATE t SET v = v + 1")
    case.until_inside()
    case.scene.sql("UPDATE t SET v = v + 1")
    case.followed()
    case.promote()
    case.goes_on()
    assert not case.capture.replica.resets


CASES = {case.__name__.replace("_", " "): case for case in (
    between_transactions, inside_a_snapshot, inside_a_transaction, behind, inside_a_lost_transaction,
    read_beyond, read_beyond_for_good, its_own_slot)}

if __name__ == "__main__":
    CASES[sys.argv[2]](Failover(sys.argv[1], "upsert" if "for good" in sys.argv[2] else "exact"))
