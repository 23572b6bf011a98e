"""An engine of many processes beside a capture, for tests: a coordinator that has the capture's handle
(cdc.regions=plan), and readers, a process each, that read regions by their splits.

Its checkpoints are what the engines of the field do: the coordinator's position is taken first, the readers'
parts later. What a reader has finished in between is with the checkpoint, and the position does not know it; the
checkpoint keeps these splits, and a restart tells the new capture of them before anything else. What is planned in
between waits for the next checkpoint: the position knows nothing of it.
"""
import collections
import json

from capture import Capture, Failed, Gone, Replica, Tool


def content(split):
    """What a split's text says; for tests only, callers take it as it is."""
    return json.loads(split[len("pst1:"):])


def region(split):
    """Which rows it is of, whichever plan it is from."""
    said = content(split)
    return said["table"], said.get("lower"), said.get("upper"), tuple(said["region"])


class Reader:
    """A process that reads regions. holds_back: rows are told of when the region is read, else as they come."""

    def __init__(self, url, options, holds_back):
        self.tool = Tool(url, options)
        self.tool.ask("reader")
        self.holds_back, self.split, self.held, self.joined = holds_back, None, [], False

    def read(self, split):
        self.split, self.held, self.joined = split, [], True
        self.tool.ask("read " + split)

    def let_go(self):
        """Nothing is to be read for now."""
        if self.joined:
            self.tool.ask("read")
        self.joined = False

    def step(self):
        """(events that are to be applied, whether the region is read)"""
        answer = self.tool.ask("rnext")
        if answer["answer"] == "end":
            events, self.held = self.held, []
            return events, True
        assert answer["event"] in ("rows", "schema"), answer
        assert answer["event"] == "schema" or answer["snapshot"]
        if self.holds_back:
            self.held.append(answer)
            return [], False
        return [answer], False


class Engine(Capture):
    """A Capture whose steps are those of all its processes. After a crash of a reader alone, one that holds
    back loses nothing; else everything starts again at the last checkpoint."""

    def __init__(self, url, options, nreaders=3, holds_back=True, shaping=(), consumer="exact"):
        chosen = {"cdc.regions": "plan", "cdc.jobs": "2", "read.split-bytes": "8192", **options}
        super().__init__(url, chosen, Replica(consumer), every=0)
        # They are told how the server is reached, and no more.
        self.reader_options = {"read.batch-rows": "7", **dict(shaping)}
        self.nreaders, self.holds_back = nreaders, holds_back
        self.readers, self.queue, self.later = [], collections.deque(), []
        self.finished = []  # since the coordinator's position of the checkpoint
        self.kept = []      # of the last checkpoint: finished, and not in its position
        self.taken = None   # the position of the checkpoint that is under way
        self.planned, self.done = [], []

    def start(self, timeout=60):
        super().start(timeout)
        self.taken, self.finished = None, []
        self.queue.clear()
        self.later.clear()
        for split in self.kept:
            self.tool.ask("done " + split)
        self.readers = [self._reader() for _ in range(self.nreaders)]

    def _reader(self):
        return Reader(self.url, self.reader_options, self.holds_back)

    def step(self, wait_ms=100, patience=None):
        busy = self.queue or any(r.split for r in self.readers)
        event = super().step(1 if busy else wait_ms, patience)
        if event and event["event"] == "regions":
            self.take_plan()
        elif event and event["event"] in ("rows", "truncate") and self.taken:
            self.give_up_checkpoint()  # these are the coordinator's own, and behind its position
        for reader in self.readers:
            self.step_reader(reader)
        return event

    def take_plan(self):
        splits = self.tool.ask("plan")["splits"]
        assert splits
        self.planned += splits
        (self.later if self.taken else self.queue).extend(splits)

    def step_reader(self, reader):
        if reader.split is None:
            if self.queue:
                reader.read(self.queue.popleft())
            else:
                reader.let_go()
            return
        events, ended = reader.step()
        for event in events:
            self.replica.apply(event)
        if ended:
            split, reader.split = reader.split, None
            self.finish(split)

    def finish(self, split):
        self.finished.append(split)
        self.done.append(split)
        if not self.asked:
            self.tool.ask("done " + split)
        else:
            self.told_later(split)

    def told_later(self, split):
        """The coordinator is in a call: what that gives comes first."""
        while self.asked:
            answer = self.tool.receive()
            self.asked = False
            event = self.took(answer)
            if event and event["event"] == "regions":
                self.take_plan()
        self.tool.ask("done " + split)

    # ---- Checkpoints ----

    def begin_checkpoint(self):
        self.taken = self.tool.ask("position")["position"]
        self.finished = []

    def end_checkpoint(self):
        self.position, self.kept = self.taken, list(self.finished)
        self.replica.stored()
        self.tool.ask("ack " + self.taken)
        self.give_up_checkpoint()

    def give_up_checkpoint(self):
        self.taken = None
        self.queue.extend(self.later)
        self.later.clear()

    def store(self):
        self.begin_checkpoint()
        self.end_checkpoint()

    # ---- Failures ----

    def kill_reader(self, n):
        """Its region is read by another process, if nothing of it was told yet; else all begins again."""
        reader = self.readers[n]
        reader.tool.kill()
        if not self.holds_back:
            self.restart()
            return
        if reader.split:
            self.queue.appendleft(reader.split)
        self.readers[n] = self._reader()

    def crash(self):
        for reader in self.readers:
            reader.tool.kill()
        self.readers = []
        super().crash()

    def close(self, drop=False):
        tools = [reader.tool for reader in self.readers] + [self.tool]
        for reader in self.readers:
            reader.tool.end()
        self.readers = []
        super().close(drop)
        assert all(tool.child.returncode == 0 for tool in tools), [tool.errors() for tool in tools]


__all__ = ["Engine", "Failed", "Gone", "Reader", "content", "region"]
