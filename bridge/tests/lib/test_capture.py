"""The copy that tests of change capture compare with the server: it must notice what a wrong capture does.

A small server in Python gives snapshots and a stream; consumers that go by LSNs, or lose or double a
change, must be caught, the right one not.
"""
import collections
import random

import pytest

from capture import DELETE, INSERT, UPDATE_AFTER, UPDATE_BEFORE, Replica, Wrong

COLUMNS = ["id", "v", "big"]


def schema(key=("id",), columns=COLUMNS, oid=1, name="t"):
    return dict(event="schema", oid=oid, schema="public", table=name, columns=list(columns),
                key=list(key))


def rows(*changes, snapshot=False, xid=1, lsn=10, columns=COLUMNS):
    """changes: (kind, values) or (kind, values, unchanged)."""
    told, number = [], 0
    for kind, values, *unchanged in changes:
        number += not (told and told[-1]["kind"] == UPDATE_BEFORE)
        told.append(dict(kind=kind, values=list(values), unchanged=list(*unchanged), commit_lsn=lsn,
                         sequence=number, xid=xid))
    return dict(event="rows", oid=1, schema="public", table="t", snapshot=snapshot,
                columns=list(columns), rows=told)


COMPLETE = dict(event="complete")


def replica(*events, consumer="exact"):
    made = Replica(consumer)
    for event in events:
        made.apply(event)
    return made


def content(made):
    return made.table("t").all()


def test_values_that_are_not_told_are_kept():
    made = replica(schema(), rows((INSERT, (1, 1, "toast"))),
                   rows((UPDATE_AFTER, (1, 2, None), [2]), lsn=11))
    assert content(made) == {("1", "2", "toast"): 1}


def test_a_key_update_moves_what_is_not_told():
    made = replica(schema(), rows((INSERT, (1, 1, "toast"))),
                   rows((UPDATE_BEFORE, (1, None, None), [1, 2]), (UPDATE_AFTER, (7, 1, None), [2]), lsn=11))
    assert content(made) == {("7", "1", "toast"): 1}


@pytest.mark.parametrize("change", [
    (INSERT, (1, 5, "x")), (DELETE, (2, None, None), [1, 2]), (UPDATE_AFTER, (2, 5, "x")),
    (DELETE, (None, 5, None), [0, 2])])
def test_a_change_that_does_not_fit_is_an_error(change):
    made = replica(schema(), rows((INSERT, (1, 1, "toast"))))
    with pytest.raises(Wrong):
        made.apply(rows(change, lsn=11))


def test_an_old_row_that_is_not_the_one_of_the_copy_is_an_error():
    made = replica(schema(), rows((INSERT, (1, 1, "toast"))))
    with pytest.raises(Wrong, match="the change says"):
        made.apply(rows((DELETE, (1, 9, None), [2]), lsn=11))


def test_a_change_that_comes_twice_is_an_error():
    made = replica(schema(), rows((INSERT, (1, 1, "x"))), rows((UPDATE_AFTER, (1, 2, "x")), lsn=11))
    with pytest.raises(Wrong, match="came after"):
        made.apply(rows((UPDATE_AFTER, (1, 2, "x")), lsn=11))


def test_rows_without_a_key_are_counted():
    one = (1, 1, "x")
    made = replica(schema(key=()), rows((INSERT, one), (INSERT, one), (DELETE, one)),
                   rows((UPDATE_BEFORE, one), (UPDATE_AFTER, (1, 2, None), [2]), lsn=11))
    assert content(made) == {("1", "2", "x"): 1}
    with pytest.raises(Wrong):
        made.apply(rows((DELETE, one), lsn=12))


def test_an_exact_consumer_goes_back_to_what_was_stored_and_others_do_not():
    for consumer, left in ("exact", {("1", "1", "x"): 1}), ("replay", {("2", "2", "y"): 1}):
        made = replica(schema(), rows((INSERT, (1, 1, "x"))), consumer=consumer)
        made.stored()
        made.apply(rows((DELETE, (1, 1, "x")), (INSERT, (2, 2, "y")), lsn=11))
        made.apply(schema(columns=[*COLUMNS, "more"]))
        made.apply(dict(event="truncate", oid=1, schema="public", table="t", commit_lsn=12, sequence=1, xid=3))
        made.apply(schema())
        made.apply(rows((INSERT, (2, 2, "y")), lsn=13))
        made.crashed()
        assert content(made) == left
        assert made.last == ((10, 1) if consumer == "exact" else (13, 1))


def test_a_range_is_cleared_by_number():
    made = replica(schema(), rows(*[(INSERT, (i, 0, "")) for i in range(8, 13)]))
    made.apply(dict(event="clear", oid=1, schema="public", table="t", column="id", lower="9", upper="11"))
    assert sorted(row[0] for row in content(made)) == ["11", "12", "8"]


def test_a_commit_is_compared_only_when_the_copy_is_complete():
    wrong = {"t": collections.Counter()}
    made = Replica()
    made.expected = {1: wrong, 2: wrong}
    for event in schema(), rows((INSERT, (1, 1, "x"))), rows((INSERT, (2, 1, "x")), xid=2, lsn=11), COMPLETE:
        made.apply(event)
    with pytest.raises(Wrong, match="after transaction 2"):
        made.apply(rows((INSERT, (3, 1, "x")), xid=3, lsn=12))


def test_what_only_upserts_is_told_to_forget_nothing():
    for event in (dict(event="reset", oid=1, schema="public", table="t", reason="so"),
                  dict(event="clear", oid=1, schema="public", table="t", column="id", lower=None, upper=None)):
        with pytest.raises(Wrong, match="forget nothing"):
            replica(schema(), event, consumer="upsert")


# ---- A server whose commit order is not the order in which transactions become visible ----

class History:
    """Transactions that insert, update, move or delete rows; commit order, and order of visibility."""

    def __init__(self, rnd, n=12):
        self.committed, self.visible = [], []
        table, waiting = {}, []
        for xid in range(1, n + 1):
            # Nobody writes what a transaction holds that others do not see yet.
            locked = {k for _, changes in waiting for c in changes for k in c[1:3] if k is not None}
            free = [k for k in range(6) if k not in locked]
            changes = [c for c in (self.change(rnd, table, free) for _ in range(2)) if c]
            self.committed.append((xid, changes))
            waiting.append((xid, changes))
            while waiting and rnd.random() < 0.5:
                self.visible.append(waiting.pop(rnd.randrange(len(waiting)))[0])
        self.visible += [xid for xid, _ in waiting]

    @staticmethod
    def change(rnd, table, free):
        if not free:
            return None
        key = rnd.choice(free)
        if key not in table:
            table[key] = rnd.randrange(100)
            return INSERT, key, None, table[key]
        if rnd.random() < 0.4:
            del table[key]
            return DELETE, key, None, None
        other = rnd.choice([k for k in free if k not in table or k == key])
        del table[key]
        table[other] = rnd.randrange(100)
        return UPDATE_AFTER, key, other, table[other]

    def table(self, xids):
        """In commit order, as the keys are locked until others see the change."""
        rows = {}
        for xid, changes in self.committed:
            for kind, key, other, value in changes if xid in xids else ():
                rows.pop(key, None)
                if kind != DELETE:
                    rows[key if other is None else other] = value
        return collections.Counter((str(k), str(v)) for k, v in rows.items())

    def told(self, xid, changes):
        out = []
        for kind, key, other, value in changes:
            if kind == UPDATE_AFTER and other != key:
                out += [(UPDATE_BEFORE, (key, None), [1]), (UPDATE_AFTER, (other, value))]
            elif kind == DELETE:
                out.append((DELETE, (key, None), [1]))
            else:
                out.append((kind, (key, value)))
        return rows(*out, xid=xid, lsn=xid, columns=["id", "v"])

    def run(self, seen, streamed):
        """A snapshot that sees these transactions, then those of the stream; compared at each commit."""
        made = Replica()
        made.apply(schema(columns=["id", "v"]))
        made.apply(rows(*[(INSERT, row) for row in self.table(seen)], snapshot=True, columns=["id", "v"]))
        done = set(seen)
        for xid, changes in self.committed:
            if xid in streamed:
                done.add(xid)
                made.apply(self.told(xid, changes))
        made.same("t", self.table({xid for xid, _ in self.committed}), "at the end")


def test_an_lsn_watermark_is_caught_and_visibility_is_not():
    caught = 0
    for seed in range(200):
        rnd = random.Random(seed)
        history = History(rnd)
        everyone = {xid for xid, _ in history.committed}
        at = rnd.randrange(len(everyone))
        seen = set(history.visible[:at])
        history.run(seen, everyone - seen)
        watermark = max(seen, default=0)
        try:
            history.run(seen, {xid for xid in everyone if xid > watermark})
        except Wrong:
            caught += 1
    assert caught > 50
