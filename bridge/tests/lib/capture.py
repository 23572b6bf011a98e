"""Consumers of change capture for tests: tool/cdc_tool.c led step by step, and a copy of the tables that
is made of its events exactly as penstock.h promises them.

    capture = Capture(database.url, {"slot.name": "s", "table-name": "public.t"}, Replica())
    capture.start()
    capture.until(lambda: capture.replica.complete)

A Replica is strict: an insert of a row that it has, or an update or delete of one that it has not, fails at
once. So nothing can be lost and made good, or doubled and overwritten, before a comparison sees it.
"""
import collections
import json
import os
import select
import signal
import subprocess
import tempfile
import time

TIMEOUT = float(os.environ.get("PENSTOCK_CDC_TIMEOUT", 90))
INSERT, UPDATE_BEFORE, UPDATE_AFTER, DELETE = range(4)
NULL = object()  # the value of an option that is given to the library as NULL


class Wrong(AssertionError):
    """An event that cannot be right where it came."""


class Failed(Exception):
    """A call of the library failed; answer is what the tool said of it."""

    def __init__(self, answer, during):
        self.answer = answer
        super().__init__(f"{during}: {answer['status']} {answer['sqlstate']}: {answer['message']}"
                         f" {answer['detail']} {answer['hint']}")

    @property
    def text(self):
        return " ".join(self.answer[part] for part in ("message", "detail", "hint"))

    @property
    def retryable(self):
        return self.answer["retryable"]


class Gone(Exception):
    """The tool has ended."""


# ---- The copy ----

def text_of(value):
    """A value of the tool's json as the text that the server would give for it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


class Table:
    """Rows by key, or a multiset of them. Every change leaves its inverse in replica.undo."""

    def __init__(self, replica, name):
        self.replica, self.name = replica, name
        self.columns, self.key, self.rows = [], None, {}

    def _put(self, key, row):
        """The row of this key, or how many there are of it; None takes it away."""
        rows, before = self.rows, self.rows.get(key)
        self.replica.undo.append(lambda: Table._set(rows, key, before))
        Table._set(rows, key, row)

    @staticmethod
    def _set(rows, key, row):
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row

    def _become(self, columns, key, rows):
        before = self.columns, self.key, self.rows

        def back():
            self.columns, self.key, self.rows = before
        self.replica.undo.append(back)
        self.columns, self.key, self.rows = columns, key, rows

    def clear(self):
        self._become(self.columns, self.key, {})

    def clear_range(self, column, lower, upper):
        """Numbers are compared as such, other texts as they are."""
        at = self.columns.index(column)

        def order(value):
            try:
                return 0, int(value), ""
            except ValueError:
                return 1, 0, value

        def inside(value):
            return ((lower is None or order(value) >= order(lower))
                    and (upper is None or order(value) < order(upper)))
        self._become(self.columns, self.key,
                     {k: row for k, row in self.rows.items() if not inside((row if self.key else k)[at])})

    def describe(self, columns, key):
        """The schema from here on: rows keep the values of columns that stay, and NULL in new ones. One that
        is new where one is gone is that one under another name."""
        if key is not None and set(key) == set(columns):
            key = None  # nothing but the whole row tells it
        if columns == self.columns and key == self.key:
            return
        old = list(self.columns)
        gone, new = [c for c in old if c not in columns], [c for c in columns if c not in old]
        if len(gone) == len(new) == 1:
            old[old.index(gone[0])] = new[0]

        def moved(row):
            return tuple(row[old.index(c)] if c in old else None for c in columns)
        rows = {}
        for row, count in self.all().items():
            row = moved(row)
            place = tuple(row[columns.index(k)] for k in key) if key else row
            if key and (count > 1 or place in rows):
                raise Wrong(f"{self.name}: two rows have the key {place}")
            rows[place] = row if key else rows.get(place, 0) + count
        self._become(columns, key, rows)

    def place(self, values, unchanged):
        """The key of a row, None if the row does not tell it."""
        if not self.key:
            return None if unchanged else tuple(values)
        at = [self.columns.index(k) for k in self.key]
        return None if any(i in unchanged for i in at) else tuple(values[i] for i in at)

    def all(self):
        if self.key:
            return collections.Counter(self.rows.values())
        return collections.Counter(self.rows)

    # What rows do. strict: nothing may come twice.

    def insert(self, values, strict):
        place = self.place(values, ())
        if not self.key:
            self._put(place, self.rows.get(place, 0) + 1)
            return
        if strict and place in self.rows:
            raise Wrong(f"{self.name}: inserted {values}, but there is {self.rows[place]}")
        self._put(place, tuple(values))

    def delete(self, values, unchanged, strict):
        place = self.place(values, unchanged)
        if place is None:
            raise Wrong(f"{self.name}: deleted a row that is not told: {values} without {unchanged}")
        if place not in self.rows:
            if strict:
                raise Wrong(f"{self.name}: deleted {values}, which is not there")
            return
        if not self.key:
            self._put(place, self.rows[place] - 1 or None)
            return
        if strict:
            self._agrees(self.rows[place], values, unchanged)
        self._put(place, None)

    def update(self, before, values, unchanged, strict):
        """before: the values and unchanged columns of the -U row, or None."""
        fresh = self.place(values, [i for i in unchanged if self.key])
        old = self.place(*before) if before else None
        if old is None:
            if not self.key:
                raise Wrong(f"{self.name}: updated a row that is not told to {values}")
            old = fresh
        row = self.rows.get(old) if self.key else (old if old in self.rows else None)
        if row is None and (strict or unchanged):
            raise Wrong(f"{self.name}: updated {old}, which is not there, to {values} without {unchanged}")
        if row is not None and before and strict and self.key:
            self._agrees(row, *before)
        values = tuple(row[i] if i in unchanged else v for i, v in enumerate(values))
        if row is not None:
            self._put(old, None if self.key else self.rows[old] - 1 or None)
        if not self.key:
            self._put(values, self.rows.get(values, 0) + 1)
            return
        fresh = self.place(values, ())
        if strict and fresh in self.rows:
            raise Wrong(f"{self.name}: {old} became {values}, but there is {self.rows[fresh]}")
        self._put(fresh, values)

    def _agrees(self, row, told, unchanged):
        for i, value in enumerate(told):
            if i not in unchanged and value != row[i]:
                raise Wrong(f"{self.name}: {self.columns[i]} was {row[i]!r}, the change says {value!r}")


class Replica:
    """The tables by OID. consumer is cdc.consumer: exact, replay or upsert.

    expected: by xid, what some tables hold when that transaction has committed: {"t": Counter of tuples};
    compared when the transaction is over, from "snapshot complete" on. watch: called with a table's rows as
    they come: {"marker": f(values)}.
    """

    def __init__(self, consumer="exact"):
        self.consumer, self.strict = consumer, consumer == "exact"
        self.tables, self.oids = {}, {}
        self.undo, self.expected, self.watch = [], {}, {}
        self.complete = False
        self.ever_complete = False
        self.xid = None      # of the transaction that came last
        self.last = (0, 0)   # its commit LSN, the number of its last change
        self.emptied = False  # that was a truncate
        self.compared = 0
        self.snapshot_rows = collections.Counter()
        self.changes = 0
        self.resets, self.truncates, self.cleared, self.messages = [], [], [], []
        self.kinds = []      # of the events, in order
        self.places = []     # of the rows of the stream: (table, commit LSN, number)

    def table(self, name):
        """By its bare or qualified name."""
        key = tuple(name.split(".", 1)) if "." in name else ("public", name)
        if key not in self.oids:
            return Table(self, name)
        return self.tables[self.oids[key]]

    def _remember(self, *names):
        before = {name: getattr(self, name) for name in names}
        self.undo.append(lambda: self.__dict__.update(before))

    def stored(self):
        """All that was made of events so far stays."""
        self.undo.clear()

    def crashed(self):
        """An exact consumer's data goes back to the stored position; the others keep what they have."""
        if self.strict:
            while self.undo:
                self.undo.pop()()
        self.undo.clear()

    def apply(self, event):
        if "PENSTOCK_CDC_TRACE" in os.environ:
            print(brief(event))
        self.kinds.append(event["event"])
        getattr(self, "_" + event["event"])(event)

    def _named(self, event):
        oid, name = event["oid"], (event["schema"], event["table"])
        if oid not in self.tables:
            tables = dict(self.tables)
            tables[oid] = Table(self, event["table"])
            self._remember("tables")
            self.tables = tables
        if self.oids.get(name) != oid:
            oids = {n: o for n, o in self.oids.items() if o != oid}
            oids[name] = oid
            self._remember("oids")
            self.oids = oids
        return self.tables[oid]

    def _schema(self, event):
        self._named(event).describe(event["columns"], event["key"] or None)

    def _rows(self, event):
        table = self._named(event)
        if event["columns"] != table.columns:
            raise Wrong(f"{table.name}: rows of {event['columns']}, told was {table.columns}")
        before = None
        for row in event["rows"]:
            values = [text_of(v) for v in row["values"]]
            unchanged = row["unchanged"]
            if event["snapshot"]:
                if row["kind"] != INSERT or unchanged:
                    raise Wrong(f"{table.name}: a row of the snapshot is no plain insert: {row}")
                self.snapshot_rows[table.name] += 1
                table.insert(values, self.strict)
                if table.name in self.watch:
                    self.watch[table.name](values)
                continue
            if before is not None and row["kind"] != UPDATE_AFTER:
                raise Wrong(f"{table.name}: -U is followed by kind {row['kind']}")
            self._order(row, row["kind"] == UPDATE_AFTER and before is not None)
            self.places.append((table.name, row["commit_lsn"], row["sequence"]))
            self.changes += 1
            if row["kind"] == UPDATE_BEFORE:
                before = values, unchanged
                continue
            if row["kind"] == INSERT:
                table.insert(values, self.strict)
            elif row["kind"] == DELETE:
                table.delete(values, unchanged, self.strict)
            else:
                table.update(before, values, unchanged, self.strict)
            before = None
            if table.name in self.watch:
                self.watch[table.name](values)
        if before is not None:
            raise Wrong(f"{table.name}: a batch ends with -U")

    def _order(self, change, same):
        """Changes come in order of commit, then number; an exact consumer gets none twice."""
        place = change["commit_lsn"], change["sequence"]
        # The truncate that a rewrite of the table is told as has the number of the first new row.
        same = same or self.emptied
        if self.strict and (place < self.last or (place == self.last and not same)):
            raise Wrong(f"change {place} came after {self.last}")
        if change["xid"] != self.xid:
            self.transaction_ended()
        self._remember("xid", "last", "emptied")
        self.xid, self.last, self.emptied = change["xid"], place, False

    def transaction_ended(self):
        if self.complete and self.xid in self.expected:
            for name, rows in self.expected[self.xid].items():
                self.same(name, rows, f"after transaction {self.xid}")
            self.compared += 1

    def same(self, name, rows, when):
        mine = self.table(name).all()
        if mine != rows:
            raise Wrong(f"{name} {when}: lacks {shown(rows - mine)}, has besides {shown(mine - rows)}")

    def _truncate(self, event):
        self._order(event, True)  # one change may empty several tables
        self._named(event).clear()
        self.emptied = True
        self.truncates.append(event["table"])

    def _reset(self, event):
        if self.consumer == "upsert":
            raise Wrong(f"{event['table']}: a reset for a consumer that can forget nothing: {event['reason']}")
        if not event["reason"]:
            raise Wrong(f"{event['table']}: a reset without a reason")
        self._named(event).clear()
        self._remember("complete")
        self.complete = False
        self.resets.append((event["table"], event["reason"]))

    def _clear(self, event):
        if self.consumer == "upsert":
            raise Wrong(f"{event['table']}: a cleared range for a consumer that can forget nothing")
        self._named(event).clear_range(event["column"], event["lower"], event["upper"])
        self._remember("complete")
        self.complete = False
        self.cleared.append((event["table"], event["lower"], event["upper"]))

    def _complete(self, event):
        self._remember("complete")
        self.complete = self.ever_complete = True

    def _message(self, event):
        self.messages.append((event["prefix"], event["content"]))

    def _progress(self, event):
        pass

    _regions = _progress


def shown(rows):
    some = [tuple(v if v is None or len(v) < 40 else v[:30] + "…" for v in row) for row, _ in rows.most_common(6)]
    return f"{sum(rows.values())} rows {some}" if rows else "nothing"


def brief(event):
    """An event for a person: what a failed test prints with PENSTOCK_CDC_TRACE=1."""
    if event["event"] != "rows":
        return {k: v for k, v in event.items() if v not in (None, "", 0, False)}
    changes = [("+I -U +U -D".split()[r["kind"]], r.get("xid"), r.get("sequence"),
                [v[:12] if isinstance(v, str) else v for v in r["values"]], r["unchanged"]) for r in event["rows"]]
    return event["table"], "snapshot" if event["snapshot"] else hex(event["rows"][0]["commit_lsn"]), changes


def rows_of(conn, sql):
    """A Counter of the rows that a SELECT gives, values as the server's texts."""
    result = conn.execute(sql).pgresult
    return collections.Counter(
        tuple(None if (v := result.get_value(r, c)) is None else v.decode() for c in range(result.nfields))
        for r in range(result.ntuples))


# ---- The tool ----

class Tool:
    """A running cdc_tool."""

    def __init__(self, url, options, env=None):
        self.log = tempfile.TemporaryFile()
        tool = os.environ.get("PENSTOCK_CDC_TOOL") or os.path.join(os.environ["PENSTOCK_TOOLS"], "cdc_tool")
        words = [k if v is NULL else f"{k}={v}" for k, v in options.items() if v is not None]
        self.child = subprocess.Popen([tool, url, *words],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                      env=dict(os.environ, **(env or {})))
        self.buffer = bytearray()

    def send(self, command):
        try:
            self.child.stdin.write(command.encode() + b"\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            raise Gone(f"{command}: {self.errors()}") from None

    def receive(self, timeout=60):
        """The next answer; None when none came in time."""
        deadline = time.monotonic() + timeout
        searched = 0
        while (end := self.buffer.find(b"\n", searched)) < 0:
            searched = len(self.buffer)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.child.stdout], [], [], left)[0]:
                return None
            data = os.read(self.child.stdout.fileno(), 1 << 20)
            if not data:
                raise Gone(f"exit code {self.child.wait()}: {self.errors()}")
            self.buffer += data
        line = bytes(self.buffer[:end])
        del self.buffer[:end + 1]
        return json.loads(line)

    def ask(self, command, timeout=60):
        self.send(command)
        answer = self.receive(timeout)
        assert answer is not None, f"{command}: no answer within {timeout} s; {self.errors()}"
        if answer["answer"] == "failed":
            raise Failed(answer, command.split(" ")[0])
        return answer

    def errors(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    @property
    def backends(self):
        """Server processes of the handle's connections, in the order in which they were made."""
        self.log.seek(0)
        return [int(line.split()[1]) for line in self.log.read().decode(errors="replace").splitlines()
                if line.startswith("connected ")]

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        self.child.kill()
        self.child.wait()

    def end(self):
        """Closes its input; what it does then is a clean close."""
        self.child.stdin.close()
        self.child.wait(timeout=60)


class Capture:
    """A consumer: a tool, a copy, the position stored with it. every: store after so many events."""

    def __init__(self, url, options, replica=None, every=1, env=None):
        self.replica = replica or Replica()
        self.url, self.env, self.every = url, env, every
        self.options = dict(options)
        if self.replica.consumer != "exact":
            self.options["cdc.consumer"] = self.replica.consumer
        self.position, self.since, self.tool = None, 0, None
        self.before_ack, self.asked = None, False
        self.ended = False

    def start(self, timeout=60):
        """Opens at the stored position."""
        self.tool = Tool(self.url, self.options, self.env)
        self.since, self.ended, self.asked = 0, False, False
        self.tool.ask("open" if self.position is None else "open " + self.position, timeout)

    def store(self):
        """Data and position, in one step; then the acknowledgement."""
        self.position = self.tool.ask("position")["position"]
        self.replica.stored()
        self.since = 0
        if self.before_ack:
            self.before_ack()
        self.tool.ask("ack " + self.position)

    def took(self, answer):
        """Makes of an answer to `next` what a consumer does."""
        if answer["answer"] == "failed":
            raise Failed(answer, "next")
        if answer["answer"] == "end":
            self.ended = True
        if answer["answer"] != "event":
            return None
        self.replica.apply(answer)
        self.since += 1
        if answer["store"] or (self.every and self.since >= self.every):
            self.store()
        return answer

    def step(self, wait_ms=100, patience=None):
        """The next event, applied and perhaps stored; None when none came, also when the call has not
        returned within patience seconds: the next step waits for it then."""
        if not self.asked:
            self.begin_step(wait_ms)
        answer = self.tool.receive(wait_ms / 1000 + 60 if patience is None else patience)
        if answer is None:
            assert patience is not None, f"no answer; {self.told()}"
            return None
        self.asked = False
        return self.took(answer)

    def begin_step(self, wait_ms=60000):
        """A step whose answer is not waited for; the next one takes it."""
        self.tool.send(f"next {wait_ms}")
        self.asked = True

    def until(self, condition, timeout=TIMEOUT):
        """Steps until the condition holds, which is asked after each."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s; {self.told()}")
            if self.ended:
                raise AssertionError(f"the capture ended; {self.told()}")
            self.step(patience=0.3)

    def steps(self, n, wait_ms=50):
        """So many calls, whatever comes, also nothing; returns the events."""
        steps = (self.step(wait_ms, wait_ms / 1000 + 0.05) for _ in range(n))
        return [event for event in steps if event]

    def until_complete(self, timeout=TIMEOUT):
        self.until(lambda: self.replica.complete, timeout)

    def until_end(self, timeout=TIMEOUT):
        self.until(lambda: self.step(1000) is None and self.ended or self.ended, timeout)

    def told(self):
        replica = self.replica
        return (f"events {collections.Counter(replica.kinds)}, the last {replica.kinds[-5:]},"
                f" resets {replica.resets}, complete {replica.complete},"
                f" log: {self.tool.errors() if self.tool else ''}")

    def crash(self):
        """kill -9, as the consumer's data sees it."""
        if self.tool:
            self.tool.kill()
            self.tool = None
        self.replica.crashed()

    def restart(self):
        self.crash()
        self.start()

    def close(self, drop=False):
        """A clean end; what was not stored is not kept."""
        self.tool.ask("close drop" if drop else "close")
        self.tool.end()
        self.tool = None
        self.replica.crashed()

    def stop(self):
        self.tool.signal(signal.SIGSTOP)

    def go_on(self):
        self.tool.signal(signal.SIGCONT)
