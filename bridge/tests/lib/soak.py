"""Random writes and random kills beside change captures: the copy must be the table all the same.

    soak.py [--seed S] [--kills N] [--round R]          inside scripts/cluster; scripts/soak does that

A round is a database of its own with a capture from the making of its slot on, and a plan of kills, each of
the client, its walsender or the whole server, in one of five phases. Everything that is random follows from
the seed and the round's number; what a failure prints repeats its round. Ten kills a round.
"""
import argparse
import collections
import contextlib
import os
import random
import sys
import time
import traceback

import psycopg

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "live"))
from capture import Failed, Gone, Replica  # noqa: E402
from conftest import Server, drop_database, make_database  # noqa: E402
from scene import Scene  # noqa: E402

PHASES = ["slot creation", "snapshot", "hand-over", "stream", "ack"]
KILLED = ["client", "walsender", "server"]
TABLES = ["kv", "u", "p", "nokey"]
SETUP = """
CREATE TABLE kv (id int PRIMARY KEY, v int, big text);
ALTER TABLE kv ALTER big SET STORAGE EXTERNAL;
INSERT INTO kv SELECT g, g, repeat(g::text, 1500) FROM generate_series(1, 40) g;
CREATE TABLE u (id uuid PRIMARY KEY, v text);
INSERT INTO u SELECT md5(g::text)::uuid, g FROM generate_series(1, 40) g;
CREATE TABLE p (id int, region int, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
INSERT INTO p SELECT g, g % 2 + 1, g FROM generate_series(1, 40) g;
CREATE TABLE nokey (a int, b text);
ALTER TABLE nokey REPLICA IDENTITY FULL;
INSERT INTO nokey SELECT g % 5, 'x' FROM generate_series(1, 20) g;
"""


def setup(version):
    """Before 11 only partitions have keys."""
    if version >= 110000:
        return SETUP
    return SETUP.replace(", PRIMARY KEY (id, region))", ")").replace("PARTITION OF p", "PARTITION OF p (PRIMARY KEY (id, region))")


class Writer:
    """A session that does one random statement at a time, in transactions of random length."""

    def __init__(self, scene, rnd, consumer):
        self.scene, self.rnd, self.conn, self.depth = scene, rnd, None, 0
        self.truncated = ["kv", "u", "p", "nokey"]
        # Whose rows these were nobody tells, and who can only upsert cannot look: they stay.
        if consumer != "upsert":
            self.truncated.append("p1")

    def statement(self):
        rnd = self.rnd
        # Before 11 a TRUNCATE is not in the stream: it is noticed a little later.
        truncates = 0.3 if self.conn.info.server_version >= 110000 else 0
        a, b = rnd.randrange(60), rnd.randrange(60)
        return rnd.choices(*zip(
            (f"INSERT INTO kv VALUES ({a}, {b}, repeat('n{a}', 2000)) ON CONFLICT DO NOTHING", 4),
            (f"UPDATE kv SET v = v + 1 WHERE id IN ({a}, {b})", 6),
            (f"UPDATE kv SET big = repeat('u{b}', 2000) WHERE id = {a}", 2),
            (f"UPDATE kv SET id = {b} WHERE id = {a} AND NOT EXISTS (SELECT FROM kv o WHERE o.id = {b})", 5),
            (f"DELETE FROM kv WHERE id = {a}", 3),
            (f"INSERT INTO u VALUES (md5('{a}')::uuid, 'n') ON CONFLICT DO NOTHING", 2),
            (f"UPDATE u SET id = md5('{b}')::uuid, v = v || 'm' WHERE id = md5('{a}')::uuid"
             f" AND NOT EXISTS (SELECT FROM u o WHERE o.id = md5('{b}')::uuid)", 3),
            (f"DELETE FROM u WHERE id = md5('{a}')::uuid", 1),
            (f"UPDATE p SET region = 3 - region WHERE id = {a}"
             f" AND NOT EXISTS (SELECT FROM p o WHERE o.id = p.id AND o.region <> p.region)", 4),
            (f"INSERT INTO p VALUES ({a}, 1 + {b} % 2, 'n') ON CONFLICT DO NOTHING", 3),
            (f"DELETE FROM p WHERE id = {a}", 1),
            (f"INSERT INTO nokey VALUES ({a % 5}, 'x'), ({b % 5}, NULL)", 3),
            (f"UPDATE nokey SET a = {b % 5} WHERE ctid = (SELECT min(ctid) FROM nokey WHERE a = {a % 5})", 2),
            (f"DELETE FROM nokey WHERE ctid = (SELECT min(ctid) FROM nokey WHERE a = {a % 5})", 3),
            (f"TRUNCATE {rnd.choice(self.truncated)}", truncates),
            ("SAVEPOINT s", 2), ("ROLLBACK TO s", 2), ("RELEASE s", 1)))[0]

    def step(self):
        """Something may be refused, or locked by another writer: then the transaction is over."""
        try:
            if self.conn is None:
                self.conn = self.scene.connect()
                self.conn.execute("SET lock_timeout = '50ms'")
            if self.depth == 0:
                self.conn.execute("BEGIN")
                self.depth = self.rnd.randrange(1, 8)
            self.conn.execute(self.statement())
            self.depth -= 1
            if self.depth == 0:
                self.conn.execute("ROLLBACK" if self.rnd.random() < 0.15 else "COMMIT")
        except psycopg.OperationalError as error:
            if self.conn.closed or self.conn.broken:
                self.lost()
            else:
                self.end("ROLLBACK", error)
        except psycopg.Error as error:
            self.end("ROLLBACK", error)

    def end(self, how="COMMIT", _=None):
        if self.conn is not None and self.depth:
            try:
                self.conn.execute(how)
            except psycopg.Error:
                self.lost()
        self.depth = 0

    def lost(self):
        if self.conn is not None:
            with contextlib.suppress(psycopg.Error):
                self.conn.close()
        self.conn, self.depth = None, 0


class Round:
    """One capture, its writers and its kills."""

    def __init__(self, server, seed, number, counts):
        self.server, self.number, self.counts = server, number, counts
        self.rnd = random.Random(f"{seed}/{number}")
        extension = server.has_extension
        self.transport = "assisted" if extension and self.rnd.random() < 0.6 else "plain"
        self.consumer = self.rnd.choices(["exact", "replay", "upsert"], [6, 1, 1])[0]
        self.marks = {}
        self.held = contextlib.ExitStack()  # a commit that waits for a standby that there is not
        self.holding = False

    def run(self):
        database = make_database(self.server)
        scene = None
        try:
            scene = self.scene = Scene(self.server, database, self.transport)
            scene.sql(setup(scene.conn.info.server_version))
            keyed = self.consumer != "exact"
            old = scene.conn.info.server_version < 110000
            tables = [t for t in TABLES if not (keyed and (t == "nokey" or t == "p" and old))]
            self.capture = scene.capture(tables, self.consumer, self.rnd.randrange(1, 6),
                                         {"read.batch-rows": str(self.rnd.choice([1, 3, 10, 1000]))})
            if self.consumer == "exact":
                self.capture.replica.watch["marker"] = self.compare
            self.writers = [Writer(scene, self.rnd, self.consumer) for _ in range(3)]
            # The first phases come once in a life, so that they are killed in it first.
            plan = sorted(PHASES + [self.rnd.choice(PHASES) for _ in PHASES], key=PHASES.index)
            for phase in plan:
                self.kill_in(phase, self.rnd.choice(KILLED))
            self.finish()
        finally:
            with contextlib.suppress(Exception):
                self.release()
            if scene:
                scene.end()
            drop_database(database)

    # ---- Going on ----

    def ready(self):
        """The capture is open; the server may need a moment to notice that its predecessor is gone."""
        deadline = time.monotonic() + 60
        while self.capture.tool is None:
            try:
                self.capture.start()
            except (Failed, Gone) as error:
                self.forgive(error)
                assert time.monotonic() < deadline, error

    def forgive(self, error):
        """After an error that may pass the consumer starts again from its stored position."""
        if isinstance(error, Failed) and not error.retryable:
            raise error
        self.capture.crash()
        time.sleep(0.05)

    def step(self, wait_ms=5):
        self.ready()
        try:
            return self.capture.step(wait_ms, 0.3)
        except (Failed, Gone) as error:
            self.forgive(error)
            return None

    def turn(self):
        """Some writes, a step of the capture, now and then a mark."""
        for writer in self.writers:
            for _ in range(self.rnd.randrange(3)):
                writer.step()
        chance = self.rnd.random()
        if chance < 0.1:
            self.mark()
        elif chance < 0.15:
            self.hold()
        elif chance < 0.3:
            self.release()
        for _ in range(self.rnd.choice([1, 3, 10, 100])):
            if self.step() is None:
                break

    def hold(self):
        """A transaction whose commit is in the WAL, and which no snapshot sees for a while; not where a
        writer has truncated the table, and goes on only after this."""
        if self.holding:
            return
        key = self.rnd.randrange(1000, 2000)
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            self.held.enter_context(self.scene.waiting_commit(
                "SET LOCAL lock_timeout = '200ms'",
                f"INSERT INTO kv VALUES ({key}, 0) ON CONFLICT (id) DO UPDATE SET v = kv.v + 1",
                f"INSERT INTO u VALUES (md5('{key}')::uuid, 'held') ON CONFLICT DO NOTHING"))
            self.holding = True

    def release(self):
        self.holding = False
        self.held.close()

    def mark(self):
        self.release()
        for writer in self.writers:
            writer.end()
        number, rows = self.scene.mark(self.capture)
        self.marks[str(number)] = rows

    def compare(self, values):
        if self.capture.replica.complete and values[0] in self.marks:
            for table, rows in self.marks[values[0]].items():
                self.capture.replica.same(table, rows, f"at marker {values[0]}")
            self.counts["comparisons"] += 1

    def finish(self):
        """Every writer has committed; the copy comes to the same."""
        self.mark()
        deadline = time.monotonic() + 120
        while True:
            try:
                self.ready()
                self.scene.drain(self.capture, deadline - time.monotonic())
                break
            except (Failed, Gone) as error:
                self.forgive(error)
        self.counts["comparisons"] += 1
        self.capture.close(drop=True)

    # ---- Kills ----

    def kill_in(self, phase, who):
        getattr(self, "reach_" + phase.replace(" ", "_").replace("-", "_"))(who)
        self.counts[phase] += 1
        self.counts[who] += 1

    def kill(self, who):
        if who == "server":
            self.scene.crash_server()
            for writer in self.writers:
                writer.lost()
        elif who == "client":
            self.capture.crash()
        else:
            self.scene.terminate_walsender(self.capture)

    def until(self, condition, what):
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, f"{what} is not reached; {self.capture.told()}"
            self.turn()

    def reach_slot_creation(self, who):
        self.capture.crash()
        self.fresh()
        if self.rnd.random() < 0.5:
            self.writers[0].step()  # a transaction that the slot may have to wait for
        self.ready()
        for _ in range(self.rnd.randrange(4)):
            if not self.capture.replica.snapshot_rows and self.capture.tool:
                self.step(0)
        self.ready()
        self.capture.begin_step(2000)
        time.sleep(self.rnd.choice([0, 0.001, 0.005, 0.02]))
        self.kill(who)
        if who != "client":
            for writer in self.writers:
                writer.end()
            try:
                self.capture.step()
            except (Failed, Gone) as error:
                self.forgive(error)

    def fresh(self):
        """Nothing is stored any more: the capture begins with a new slot."""
        replica = Replica(self.consumer)
        replica.watch = self.capture.replica.watch
        self.capture.replica, self.capture.position = replica, None
        self.scene.drop_slot(self.capture)

    def reading(self):
        return self.capture.replica.snapshot_rows and not self.capture.replica.ever_complete

    def reach_snapshot(self, who):
        self.until(lambda: self.reading() or self.capture.replica.ever_complete, "the snapshot")
        for _ in range(self.rnd.randrange(6)):
            if self.reading():
                self.step()
        self.kill(who)

    def reach_hand_over(self, who):
        """The rows are read, or the last of them are about to be; up to the first change of the stream."""
        def handing():
            if self.capture.replica.complete or self.capture.tool is None or self.capture.asked:
                return self.capture.replica.complete
            try:
                return self.capture.replica.snapshot_rows and not self.capture.tool.ask("stats")["snapshotting"]
            except (Failed, Gone) as error:
                self.forgive(error)
                return False
        self.until(handing, "the hand-over")
        self.kill(who)

    def reach_stream(self, who):
        self.until(lambda: self.capture.replica.complete, "the stream")
        for _ in range(self.rnd.randrange(3, 25)):
            self.turn()
        self.kill(who)

    def reach_ack(self, who):
        """After the position was stored, before, while or after the server is told."""
        for writer in self.writers:
            writer.step()
        self.until(lambda: self.capture.replica.complete and self.capture.tool and not self.capture.asked,
                   "the stream")
        moment = self.rnd.choice(["before", "after"])
        try:
            if moment == "before":
                self.capture.before_ack = lambda: self.kill_tool_or(who)
            self.capture.store()
            if moment == "after":
                self.kill(who)
        except (Failed, Gone) as error:
            self.forgive(error)
        finally:
            self.capture.before_ack = None

    def kill_tool_or(self, who):
        if who == "client":
            self.capture.tool.kill()
        else:
            self.kill(who)


def soak(server, seed, kills, only=None, say=print):
    """Rounds until so many kills were done; the counts. An AssertionError tells how to repeat it."""
    counts = collections.Counter()
    number = 0 if only is None else only
    begin = time.monotonic()
    while sum(counts[phase] for phase in PHASES) < kills:
        one = Round(server, seed, number, counts)
        try:
            one.run()
        except Exception as error:
            told = one.capture.told() if hasattr(one, "capture") else ""
            raise AssertionError(f"round {number} ({one.transport}, {one.consumer}) failed; again by:"
                                 f" scripts/soak --seed {seed} --round {number}\n{told}") from error
        done = sum(counts[phase] for phase in PHASES)
        say(f"round {number}: {one.transport}, {one.consumer}: exact; {done} kills,"
            f" {counts['comparisons']} comparisons, {time.monotonic() - begin:.0f} s")
        if only is not None:
            break
        number += 1
    return counts


def report(counts):
    done = sum(counts[phase] for phase in PHASES)
    lines = [f"{name:14} {counts[name]:5} kills {100 * counts[name] / done:5.1f} %" for name in [*PHASES, *KILLED]]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--round", type=int, help="only this round")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    try:
        counts = soak(Server(), args.seed, args.kills, args.round, lambda line: print(line, flush=True))
    except AssertionError:
        traceback.print_exc()
        return 1
    print(report(counts))
    if args.round is None and args.kills >= 100:
        few = [phase for phase in PHASES if counts[phase] * 20 < sum(counts[p] for p in PHASES)]
        if few:
            print(f"fewer than 5 % of the kills were in: {', '.join(few)}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
