"""A database with tables that are captured, for the tests of change capture and the soak."""
import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time

import psycopg
import pytest

from capture import TIMEOUT, Capture, Replica, rows_of

NUMBER = itertools.count(1)

def wait_for(condition, what, timeout=30):
    """Returns what the condition gave when it is true; it is asked again and again."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)
    return found


class Scene:
    """Tables, slots, writers. transport is assisted or plain. Sessions commit without waiting for a
    standby, so that a test can hold one of its own up (waiting_commit)."""

    def __init__(self, server, database, transport):
        self.server, self.database, self.transport = server, database, transport
        self.captures, self.connections = [], []
        self.altered = set()
        with database.connect() as conn:
            conn.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = 'local'")
        self.conn = self.connect()
        self.conn.execute("CREATE TABLE marker (n int PRIMARY KEY)")

    # ---- Sessions ----

    def connect(self, **parameters):
        conn = self.database.connect(**parameters)
        if conn.info.server_version < 120000:
            conn.execute("SET extra_float_digits = 3")  # what comes is exact; newer servers show that by themselves
        self.connections.append(conn)
        return conn

    def sql(self, statement, params=None):
        cursor = self.conn.execute(statement, params)
        return cursor.fetchall() if cursor.description else None

    def value(self, statement, params=None):
        return self.sql(statement, params)[0][0]

    def begin(self, *statements):
        """A session with a transaction open that has done these statements."""
        conn = self.connect()
        conn.execute("BEGIN")
        for statement in statements:
            conn.execute(statement)
        return conn

    def setting(self, name, value):
        """ALTER SYSTEM until the test ends; in force when this returns."""
        with self.server.connect() as conn:
            old = conn.execute(f"SHOW {name}").fetchone()[0]
            conn.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            conn.execute("SELECT pg_reload_conf()")
        self.altered.add(name)
        if old != value:
            wait_for(lambda: self._shows(name) != old, f"{name} = {value}")

    def unset(self, name):
        with self.server.connect() as conn:
            old = conn.execute(f"SHOW {name}").fetchone()[0]
            conn.execute(f"ALTER SYSTEM RESET {name}")
            conn.execute("SELECT pg_reload_conf()")
        self.altered.discard(name)
        with contextlib.suppress(AssertionError):  # it may have been the same
            wait_for(lambda: self._shows(name) != old, name, 2)

    def _shows(self, name):
        with self.server.connect() as conn:
            return conn.execute(f"SHOW {name}").fetchone()[0]

    @contextlib.contextmanager
    def waiting_commit(self, *statements):
        """A transaction whose commit record is flushed, and which no snapshot sees: it waits for a standby
        that there is not. Released at the end of the block."""
        conn = self.begin(*statements)
        self.setting("synchronous_standby_names", "nobody")
        xid = conn.execute("SELECT txid_current()").fetchone()[0]
        pid = conn.info.backend_pid
        conn.execute("SET LOCAL synchronous_commit = 'on'")

        def commit():
            with contextlib.suppress(psycopg.Error):
                conn.execute("COMMIT")
        thread = threading.Thread(target=commit)
        thread.start()
        try:
            wait_for(lambda: self.value("SELECT wait_event FROM pg_stat_activity WHERE pid = %s",
                                        [pid]) == "SyncRep", "a commit waits")
            yield xid
        finally:
            self.unset("synchronous_standby_names")
            thread.join(30)
            assert not thread.is_alive()

    @contextlib.contextmanager
    def background(self, *statements):
        """Another session does these, a transaction each; may be waiting for locks. Gives a function that
        tells whether it has ended; it must end without an error."""
        conn, errors = self.connect(), []

        def run():
            try:
                for statement in statements:
                    conn.execute(statement)
            except psycopg.Error as error:
                errors.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield lambda: not thread.is_alive()
            thread.join(60)
            assert not thread.is_alive(), "the statements do not come to an end"
            assert not errors, errors[0]
        finally:
            if thread.is_alive():
                self.sql("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
                thread.join()

    def waits_for(self, xid):
        """Whether a session waits for the end of this transaction."""
        return self.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
                          " AND transactionid::text = (%s %% (2 ^ 32)::bigint)::text", [xid]) > 0

    @contextlib.contextmanager
    def committed_before_the_slot(self, capture, *statements):
        """Makes the capture's slot, so that the commit record of a transaction that does these lies before
        the slot's first change, while no ordinary snapshot sees the transaction until the block ends."""
        def step_until(condition, what):
            deadline = time.monotonic() + 30
            while not condition():
                assert time.monotonic() < deadline, f"not within 30 s: {what}; {capture.told()}"
                capture.step(20, 0.05)

        first = self.begin()
        xid = first.execute("SELECT txid_current()").fetchone()[0]
        capture.start()
        step_until(lambda: self.waits_for(xid), "the slot waits for the first transaction")
        second = self.begin()
        xid2 = second.execute("SELECT txid_current()").fetchone()[0]
        first.execute("COMMIT")
        # From here on the slot takes note of commits, and waits only for the second.
        step_until(lambda: self.waits_for(xid2), "the slot waits for the second transaction")
        with self.waiting_commit(*statements) as xid:
            second.execute("COMMIT")
            step_until(lambda: (self.slot(capture) or {}).get("confirmed_flush_lsn"), "the slot is made")
            yield xid

    # ---- Captures ----

    def options(self, tables, **options):
        chosen = {"slot.name": f"s_{os.getpid()}_{next(NUMBER)}", "transport": self.transport,
                  "table-name": ",".join(t if "." in t or "*" in t else f"public.{t}"
                                         for t in [*tables, "marker"]),
                  "read.text-columns": "*", "scan.lsn-commit.checkpoints-num-delay": "0",
                  "heartbeat.interval": "200ms"}
        chosen.update({name.replace("_", "."): value for name, value in options.items()})
        return chosen

    def capture(self, tables=("t",), consumer="exact", every=1, options=None, env=None):
        """A consumer that is not opened yet."""
        chosen = self.options(tables)
        chosen.update(options or {})
        made = Capture(self.database.url, chosen, Replica(consumer), every, env)
        made.tables = [t for t in tables if "*" not in t]
        self.captures.append(made)
        return made

    def started(self, *tables, **arguments):
        """A capture whose snapshot is complete."""
        capture = self.capture(tables or ("t",), **arguments)
        capture.start()
        capture.until_complete()
        return capture

    def commit(self, capture, *statements, conn=None):
        """One transaction, and what the tables hold after it; for transactions that do not overlap."""
        conn = conn or self.conn
        with conn.transaction():
            for statement in statements:
                conn.execute(statement)
            xid = conn.execute("SELECT txid_current()").fetchone()[0]
            capture.replica.expected[xid] = {t: rows_of(conn, f"SELECT * FROM {t}")
                                             for t in capture.tables}
        return xid

    def mark(self, capture):
        """A transaction that keeps writers away, and looks at the tables: (number, rows)."""
        number = next(NUMBER)
        with self.connect() as conn, conn.transaction():
            for table in capture.tables:
                conn.execute(f"LOCK TABLE {table} IN SHARE MODE")
            rows = {t: rows_of(conn, f"SELECT * FROM {t}") for t in capture.tables}
            conn.execute("INSERT INTO marker VALUES (%s)", [number])
        return number, rows

    def drain(self, capture, timeout=TIMEOUT):
        """Steps until the copy is complete and stands at a moment of now, and compares it there."""
        deadline = time.monotonic() + timeout
        while True:
            number, rows = self.mark(capture)
            seen = []
            capture.replica.watch["marker"] = lambda values: seen.append(values) if (
                values[0] == str(number)) else None
            capture.until(lambda: seen, deadline - time.monotonic())
            if capture.replica.complete:
                for table, expected in rows.items():
                    capture.replica.same(table, expected, f"at marker {number}")
                return
            capture.until_complete(deadline - time.monotonic())

    def checkpoint(self):
        """Where old WAL may go with it: the standby, which later tests want, must not need that any more."""
        if self.server.standby_port:
            here = self.value("SELECT pg_current_wal_flush_lsn()")
            with self.server.connect(port=self.server.standby_port) as conn:
                wait_for(lambda: conn.execute("SELECT pg_last_wal_receive_lsn() >= %s", [here]).fetchone()[0],
                         "the standby has the WAL")
        self.sql("CHECKPOINT")

    def slot(self, capture):
        """Its row of pg_replication_slots as a dict, or None."""
        rows = self.sql("SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s",
                        [capture.options["slot.name"]])
        return rows[0][0] if rows else None

    def drop_slot(self, capture):
        def dropped():
            self.terminate_walsender(capture)
            with contextlib.suppress(psycopg.Error):
                self.sql("SELECT pg_drop_replication_slot(%s)", [capture.options["slot.name"]])
            return self.slot(capture) is None
        if self.slot(capture):
            wait_for(dropped, "the slot is dropped")

    def terminate_walsender(self, capture):
        slot = self.slot(capture)
        if slot is None or slot["active_pid"] is None:
            return False
        self.sql("SELECT pg_terminate_backend(%s)", [slot["active_pid"]])
        return True

    # ---- The server ----

    def crash_server(self):
        """kill -9 of every process of the server, then a start."""
        crash_server(self.server)
        self.conn = self.connect()

    def end(self):
        for capture in self.captures:
            if capture.tool:
                capture.tool.signal(signal.SIGCONT)
                capture.tool.kill()
        for name in list(self.altered):
            self.unset(name)
        for conn in self.connections:
            with contextlib.suppress(psycopg.Error):
                conn.close()
        clean(self.database)


def crash_server(server):
    with open(os.path.join(server.folder, "data", "postmaster.pid"), encoding="ascii") as file:
        postmaster = int(file.readline())
    children = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True,
                              text=True, check=False).stdout.split()
    for pid in [postmaster, *map(int, children)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in [postmaster, *map(int, children)]:
        wait_for(lambda p=pid: not alive(p), "the killed server is gone")
    # A zombie that nobody takes away counts as running.
    for lock in ("data/postmaster.pid", f".s.PGSQL.{server.port}.lock"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(server.folder, lock))
    for attempt in range(5):
        try:
            server.ctl("primary", "start")
            break
        except subprocess.CalledProcessError:
            assert attempt < 4, "the server does not start again"
            time.sleep(0.2)
    wait_for(lambda: accepts(server), "the server accepts connections")


def alive(pid):
    """A process that is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def accepts(server):
    try:
        server.connect().close()
        return True
    except psycopg.OperationalError:
        return False


def clean(database, server=None):
    """No slot, session or prepared transaction keeps the database from being dropped; of another server: no
    slot is left there."""
    with (server or database.server).connect() as conn:
        for (gid,) in conn.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s",
                                   [database.name]).fetchall():
            with database.connect() as here:
                here.execute(f"ROLLBACK PREPARED '{gid}'")

        def gone():
            rows = conn.execute("SELECT slot_name, active_pid FROM pg_replication_slots"
                                " WHERE database = %s", [database.name]).fetchall()
            for name, pid in rows:
                if pid is not None:
                    conn.execute("SELECT pg_terminate_backend(%s)", [pid])
                    continue
                with contextlib.suppress(psycopg.Error):
                    conn.execute("SELECT pg_drop_replication_slot(%s)", [name])
            return not rows
        wait_for(gone, "the slots are dropped")
