#!/usr/bin/env python3
"""A change capture of the usual, wrong kind, in the place of tool/cdc_tool.c: it reads the tables in a
snapshot of its own, takes the end of WAL as a watermark, and streams what commits behind it.

The tests of the traps must catch it (live/test_cdc_watermark.py), or they would catch nothing. It knows
pgoutput only, and speaks the tool's commands as far as those tests use them.
"""
import concurrent.futures
import json
import os
import signal
import struct
import sys
import time

import psycopg


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def text_lsn(number):
    return f"{number >> 32:X}/{number & 0xffffffff:X}"


class Reader:
    """The bytes of a message of pgoutput."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from("!" + form, self.data, self.at)[0]
        self.at += struct.calcsize("!" + form)
        return value

    def text(self):
        end = self.data.index(b"\0", self.at)
        value, self.at = self.data[self.at:end].decode(), end + 1
        return value

    def tuple(self):
        """Values, and the columns that are unchanged."""
        values, unchanged = [], []
        for i in range(self.take("h")):
            kind = self.take("c")
            values.append(None)
            if kind == b"u":
                unchanged.append(i)
            elif kind == b"t":
                size = self.take("i")
                values[-1] = self.data[self.at:self.at + size].decode()
                self.at += size
        return values, unchanged


class Capture:
    def __init__(self, url, options):
        self.conn = psycopg.connect(url, autocommit=True)
        print("connected", self.conn.info.backend_pid, file=sys.stderr, flush=True)
        self.url, self.options = url, options
        self.slot = options["slot.name"]
        self.names = [n.removeprefix("public.") for n in options["table-name"].split(",")]
        self.batch = int(options.get("read.batch-rows", 65536))
        self.pool = concurrent.futures.ThreadPoolExecutor(1)
        self.making = None
        # What a position holds.
        self.state = {"made": False, "read": [], "watermark": {}, "place": [0, 0], "complete": False}
        self.events = []
        self.relations = {}

    def open(self, position):
        if position:
            self.state = json.loads(position[5:])
        return {"answer": "ok"}

    # ---- The next event ----

    def next(self, wait):
        deadline = time.monotonic() + wait
        while not self.events:
            if not self.state["made"]:
                self.make(max(deadline - time.monotonic(), 0))
            elif len(self.state["read"]) < len(self.names):
                self.read()
            elif not self.state["complete"]:
                self.told(dict(event="complete"), complete=True)
            else:
                self.stream()
            if not self.events and time.monotonic() >= deadline:
                return {"answer": "again"}
        event, state = self.events.pop(0)
        self.state = state
        event["answer"] = "event"
        return event

    def told(self, event, **state):
        """An event, and the position behind it."""
        before = self.events[-1][1] if self.events else self.state
        self.events.append((dict({"store": False}, **event), {**before, **state}))

    def make(self, wait):
        if self.making is None:
            self.making = self.pool.submit(self.create)
        try:
            self.making.result(wait + 0.01)
        except concurrent.futures.TimeoutError:
            return
        self.told(dict(event="progress", store=True), made=True)

    def create(self):
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"DROP PUBLICATION IF EXISTS {self.slot}")
            conn.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                         " WHERE slot_name = %s", [self.slot])
            conn.execute(f"CREATE PUBLICATION {self.slot} FOR TABLE {', '.join(self.names)}")
            conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [self.slot])

    def columns(self, name):
        rows = self.conn.execute("SELECT attname, attnum = ANY (coalesce(conkey, '{}')) FROM pg_attribute"
                                 " LEFT JOIN pg_constraint ON conrelid = attrelid AND contype = 'p'"
                                 " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
                                 " ORDER BY attnum", [name]).fetchall()
        return [r[0] for r in rows], [r[0] for r in rows if r[1]]

    def read(self):
        name = self.names[len(self.state["read"])]
        columns, key = self.columns(name)
        oid = self.conn.execute("SELECT %s::regclass::oid::int", [name]).fetchone()[0]
        head = dict(oid=oid, schema="public", table=name, columns=columns)
        if name in self.state.get("begun", []):
            self.told(dict(head, event="reset", reason="it was read in part"))
        self.told(dict(head, event="schema", key=key))
        # The watermark: what commits behind it is not in the rows, and is streamed. That is the mistake.
        mark = lsn(self.conn.execute("SELECT pg_current_wal_lsn()").fetchone()[0])
        result = self.conn.execute(f"SELECT * FROM {name}").pgresult
        rows = [dict(kind=0, unchanged=[], values=[
            None if (v := result.get_value(r, c)) is None else v.decode() for c in range(result.nfields)])
            for r in range(result.ntuples)]
        for at in range(0, len(rows), self.batch):
            self.told(dict(head, event="rows", snapshot=True, rows=rows[at:at + self.batch]),
                      begun=[*self.state.get("begun", []), name])
        self.told(dict(event="progress"), read=[*self.state["read"], name],
                  watermark={**self.state["watermark"], name: mark})

    def stream(self):
        messages = self.conn.execute(
            "SELECT lsn::text, data FROM pg_logical_slot_peek_binary_changes(%s, NULL, 4000, 'proto_version', '1',"
            " 'publication_names', %s)", [self.slot, self.slot]).fetchall()
        self.transaction = None
        for at, data in messages:
            self.message(lsn(at), Reader(bytes(data)))
        if not messages:
            time.sleep(0.02)

    def message(self, at, reader):
        kind = reader.take("c")
        if kind == b"B":
            self.transaction = [reader.take("Q"), reader.take("q"), reader.take("I")]
            self.number = 0
        elif kind == b"R":
            self.relation(reader)
        elif kind in b"IUDT" and kind != b"":
            self.number += 1
            place = [self.transaction[0], self.number]
            if place > self.state["place"]:
                self.change(kind, reader, at, place)

    def relation(self, reader):
        oid, schema, name = reader.take("I"), reader.text(), reader.text()
        reader.take("c")
        columns = [(reader.take("b"), reader.text(), reader.take("I"), reader.take("i"))
                   for _ in range(reader.take("h"))]
        self.relations[oid] = dict(oid=oid, schema=schema, table=name, columns=[c[1] for c in columns])
        before = self.events[-1][1]["place"] if self.events else self.state["place"]
        if self.transaction[0] >= before[0]:
            self.told(dict(self.relations[oid], event="schema", key=[c[1] for c in columns if c[0]]))

    def change(self, kind, reader, at, place):
        if kind == b"T":
            count, _ = reader.take("I"), reader.take("b")
            for _ in range(count):
                head = self.relations[reader.take("I")]
                if self.transaction[0] <= self.state["watermark"].get(head["table"], 0):
                    continue
                self.told(dict(head, event="truncate", commit_lsn=place[0], sequence=place[1],
                               xid=self.transaction[2]), place=place)
            return
        head = self.relations[reader.take("I")]
        same = dict(commit_lsn=place[0], sequence=place[1], xid=self.transaction[2], lsn=at)
        rows = []
        if kind in b"UD":
            which = reader.take("c")
            if which in b"KO":
                values, unchanged = reader.tuple()
                if which == b"K":
                    key = self.columns(head["table"])[1]
                    unchanged = [i for i, c in enumerate(head["columns"]) if c not in key]
                rows.append(dict(same, kind=3 if kind == b"D" else 1, values=values, unchanged=unchanged))
                if kind == b"U":
                    reader.take("c")
        if kind in b"IU":
            if kind == b"I":
                reader.take("c")
            values, unchanged = reader.tuple()
            rows.append(dict(same, kind=0 if kind == b"I" else 2, values=values, unchanged=unchanged))
        if self.transaction[0] > self.state["watermark"].get(head["table"], 0):
            self.told(dict(head, event="rows", snapshot=False, rows=rows), place=place)

    def position(self):
        return {"answer": "position", "position": "pst1:" + json.dumps(self.state, separators=(",", ":"))}

    def ack(self, position):
        place = json.loads(position[5:])["place"]
        if place[0] and place[1] == 0:
            self.conn.execute("SELECT pg_replication_slot_advance(%s, %s)", [self.slot, text_lsn(place[0])])
        return {"answer": "ok"}

    def stats(self):
        return {"answer": "stats", "snapshotting": len(self.state["read"]) < len(self.names)}

    def close(self, how):
        if how == "drop":
            self.conn.execute("SELECT pg_drop_replication_slot(%s)", [self.slot])
        self.conn.close()
        return {"answer": "ok"}


def main():
    options = dict(argument.split("=", 1) for argument in sys.argv[2:])
    capture = Capture(sys.argv[1], options)
    for line in sys.stdin:
        command, _, rest = line.rstrip("\n").partition(" ")
        try:
            if command == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = {"open": capture.open, "next": lambda ms: capture.next(int(ms) / 1000),
                      "position": lambda _: capture.position(), "ack": capture.ack,
                      "stats": lambda _: capture.stats(), "close": capture.close}[command](rest)
        except psycopg.Error as error:
            answer = {"answer": "failed", "status": type(error).__name__, "sqlstate": error.sqlstate or "",
                      "message": str(error), "detail": "", "hint": "", "retryable": isinstance(error, psycopg.OperationalError)}
        print(json.dumps(answer), flush=True)
    os._exit(0)


main()
