"""penstock cdc, beside a capture that plays a script (fake/cdc.c): lines, positions, signals, pipes."""
import fcntl
import json
import os
import signal
import subprocess
import time

import pyarrow.ipc
import pytest

COMMAND = os.environ["PENSTOCK_FAKE_CDC"]
TIMEOUT = 20
S = "S\t1\tt\ta:l,b:u\ta"


class Run:
    """A started command; its script, log and position file are in a folder of the test's own."""

    def __init__(self, folder, *words, script, stdout=subprocess.PIPE, file="position"):
        self.folder = folder
        self.log = folder / "log"
        (folder / "script").write_text("".join(line + "\n" for line in script))
        env = dict(os.environ, FAKE_CDC=str(folder / "script"), FAKE_CDC_LOG=str(self.log), FAKE_CDC_FILE=str(folder / file))
        self.process = subprocess.Popen([COMMAND, "cdc", "host=/nowhere", *map(str, words)], env=env, cwd=folder,
                                        stdout=stdout, stderr=subprocess.PIPE,
                                        # A job in the background has it ignored, and so would the command.
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def end(self, code=0):
        out, errors = self.process.communicate(timeout=TIMEOUT)
        self.errors = errors.decode()
        assert self.process.returncode == code, f"exit code {self.process.returncode}, wanted {code}\n{self.errors}"
        self.out = out
        return self

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.decode().splitlines()]

    def logged(self, what):
        """Of each call of that kind, what was noted."""
        return [line.split(" ", 1)[1] for line in self.log.read_text().splitlines() if line.startswith(what + " ")]


@pytest.fixture
def run(tmp_path):
    started = []

    def start(*words, script, **more):
        started.append(Run(tmp_path, *words, script=script, **more))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def until(condition, started):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end and started.process.poll() is None
        time.sleep(0.005)


def held(tmp_path, name="position"):
    return json.loads((tmp_path / name).read_text())


def test_events_are_lines_in_their_order(run):
    done = run("t", script=[S, "r\t1\tt\ta:l,b:u\t1|x\t2|~", "C", "R\t1\tt\ta:l,b:u\t+I 3|y\t-U 3|y\t+U 3|z\t-D 3|z", "T\t1\tt",
                            "X\t1\tt", "Z"]).end()
    assert [line["op"] for line in done.lines] == ["r", "r", "c", "u", "d", "t", "t"]
    assert done.lines[1]["after"] == {"a": 2, "b": None} and done.lines[1]["source"]["snapshot"] == "true"
    assert done.lines[3]["before"] == {"a": 3, "b": "y"} and done.lines[3]["after"] == {"a": 3, "b": "z"}
    assert done.lines[3]["source"]["table"] == "t" and done.lines[3]["source"]["sequence"] == '["1004","1004"]'
    assert done.lines[6]["source"]["snapshot"] == "reset"
    assert "the snapshot is complete" in done.errors and "It has to be." in done.errors


def test_a_key_update_is_a_delete_and_an_insert(run):
    done = run("t", script=[S, "R\t1\tt\ta:l,b:u\t-U 1|=\t+U 2|x", "R\t1\tt\ta:l,b:u\t-U 2|x\t+U 3|x", "Z"]).end()
    assert [(line["op"], line["before"], line["after"]) for line in done.lines] == [
        ("d", {"a": 1}, None), ("c", None, {"a": 2, "b": "x"}), ("d", {"a": 2, "b": "x"}, None), ("c", None, {"a": 3, "b": "x"})]


def test_options_reach_the_capture_by_their_names(run):
    done = run("public.t", "sales.*", "--slot", "s", "--start", "never", "--until", "0/10", "--with", "cdc.messages=app", script=["Z"]).end()
    options = dict(pair.split("=", 1) for pair in done.logged("option"))
    assert options["table-name"] == "public.t,sales.*" and options["slot.name"] == "s"
    assert options["scan.startup.mode"] == "committed-offset" and options["scan.stop.at"] == "0/10"
    assert options["cdc.consumer"] == "replay" and options["read.values"] == "lossless" and options["cdc.messages"] == "app"
    assert done.logged("open") == ["-"] and done.logged("close") == ["keep"]
    assert options["cdc.jobs"] == str(min(4, os.cpu_count())) and options["scan.lsn-commit.checkpoints-num-delay"] == "0"
    assert "cdc.jobs=3" in run("t", "--jobs", "3", script=["Z"]).end().logged("option")


def test_start_is_a_word_or_a_position(run):
    for word, mode in (("latest", "latest-offset"), ("snapshot", "snapshot"), ("initial", "initial")):
        assert f"scan.startup.mode={mode}" in run("t", "--start", word, script=["Z"]).end().logged("option")
    assert run("t", "--start", "pst1:2", script=[S, "E\tno", "Z"]).end().logged("open")[-1] == "pst1:2"


def test_skipping_truncates_marks_a_consumer_that_can_only_upsert(run):
    done = run("t", "--with", "truncate=skip", script=[S, "T\t1\tt", "T\t1\tt", "R\t1\tt\ta:l,b:u\t1|x", "Z"]).end()
    assert "cdc.consumer=upsert" in done.logged("option")
    assert [line["op"] for line in done.lines] == ["c"] and done.errors.count("was truncated") == 1


def test_failing_truncates_name_the_table(run):
    done = run("t", "--with", "truncate=fail", "--position-file", "position", script=[S, "R\t1\tt\ta:l,b:u\t1|x", "P!", "T\t1\tt", "Z"]).end(1)
    assert "table public.t was truncated" in done.errors and done.logged("ack")[-1].startswith("pst1:3 ")


def test_updates_without_the_old_row_are_warned_of_for_flink_alone(run):
    script = [S, "R\t1\tt\ta:l,b:u\t+U 1|x\t+U 2|x", "Z"]
    assert run("t", script=script).end().errors.count("REPLICA IDENTITY FULL") == 1
    assert "REPLICA" not in run("t", "--json-values", "debezium", script=script).end().errors


# ---- Positions

def test_a_position_is_stored_before_it_is_acknowledged(run, tmp_path):
    done = run("Sales.T", "--position-file", "position", script=[S, "R\t1\tt\ta:l,b:u\t1|x", "P!", "R\t1\tt\ta:l,b:u\t2|x", "Z"]).end()
    assert held(tmp_path) == {"penstock": "position", "slot": "penstock_sales_t", "position": "pst1:5"}
    acknowledged = [line.split(" ", 1) for line in done.logged("ack")]
    assert "pst1:3" in [position for position, _ in acknowledged] and acknowledged[-1][0] == "pst1:5"
    assert all(json.loads(stored)["position"] == position for position, stored in acknowledged)
    assert "slot.name=penstock_sales_t" in done.logged("option")
    assert sorted(os.listdir(tmp_path)) == ["log", "position", "script"]


def test_the_same_command_goes_on_behind_the_position(run, tmp_path):
    first = run("t", "--position-file", "position", script=[S, "R\t1\tt\ta:l,b:u\t1|x", "E\tlost"]).end(1)
    assert "lost" in first.errors
    stored = held(tmp_path)["position"] if (tmp_path / "position").exists() else "pst1:0"
    again = run("t", "--position-file", "position", script=[S, "R\t1\tt\ta:l,b:u\t1|x", "R\t1\tt\ta:l,b:u\t2|x", "Z"]).end()
    assert again.logged("open")[-1] == (stored if stored != "pst1:0" else "-")
    assert again.lines[-1]["after"] == {"a": 2, "b": "x"}


def test_lines_are_out_before_their_position_is_stored(run, tmp_path):
    """The pipe is full: nothing of what waits for it may be stored."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    rows = "\t".join(f"{n}|{'x' * 2000}" for n in range(6))
    started = run("t", "--position-file", "position", stdout=writer, script=[S, "P!", f"R\t1\tt\ta:l,b:u\t{rows}", "P!", "Z"])
    os.close(writer)
    until(lambda: (tmp_path / "position").exists() and held(tmp_path)["position"] == "pst1:2", started)
    got = b""
    while chunk := os.read(reader, 1 << 16):
        if len(got) < 8192:
            assert held(tmp_path)["position"] == "pst1:2"
        got += chunk
    os.close(reader)
    started.end()
    assert held(tmp_path)["position"] == "pst1:5" and len(got.splitlines()) == 6


def test_a_position_follows_its_lines_within_a_second(run, tmp_path):
    started = run("t", "--position-file", "position", script=[S, "R\t1\tt\ta:l,b:u\t1|x", "W\tnever"])
    line = started.process.stdout.readline()
    begun = time.monotonic()
    until(lambda: (tmp_path / "position").exists() and held(tmp_path)["position"] == "pst1:2", started)
    assert time.monotonic() - begun < 1 and json.loads(line)["op"] == "c"


@pytest.mark.parametrize("content, problem", [
    (b"", "is no position file"),
    (b"pst1:3\n", "is no position file"),
    (b'{"penstock":"position","slot":"s"}\n', "is damaged"),
    (b'{"penstock":"position","slot":"s","position":"x"}\n', "is damaged"),
    (b'{"penstock":"position","slot":"s","position":"pst1:', "is no position file"),
    (b'{"a":1}\n', "is no position file"),
    (b"\x00\x01", "is no position file"),
])
def test_a_file_of_something_else_is_refused_and_kept(run, tmp_path, content, problem):
    (tmp_path / "position").write_bytes(content)
    done = run("t", "--position-file", "position", script=["Z"]).end(1)
    assert problem in done.errors and (tmp_path / "position").read_bytes() == content and not done.log.exists()


def test_the_slot_of_the_file_is_used_and_no_other(run, tmp_path):
    (tmp_path / "position").write_text('{"penstock":"position","slot":"mine","position":"pst1:1"}\n')
    assert "slot.name=mine" in run("t", "--position-file", "position", script=[S, "Z"]).end().logged("option")
    done = run("t", "--position-file", "position", "--slot", "yours", script=["Z"]).end(2)
    assert 'is of slot "mine", not of "yours"' in done.errors


def test_a_file_in_use_is_not_used_by_a_second_process(run, tmp_path):
    first = run("t", "--position-file", "position", script=[S, "P!", "W\tgo", "Z"])
    until(lambda: (tmp_path / "position").exists(), first)
    second = run("t", "--position-file", "position", script=[S, "P!", "W\tgo", "Z"]).end(4)
    assert f"Process {first.process.pid} works with it" in second.errors
    (tmp_path / "go").touch()
    first.end()
    run("t", "--position-file", "position", script=["Z", "Z", "Z", "Z", "Z"]).end()


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_position_that_cannot_be_stored_is_an_error_and_not_acknowledged(run, tmp_path):
    os.symlink("/dev/full", tmp_path / "position.new")
    done = run("t", "--position-file", "position", script=[S, "R\t1\tt\ta:l,b:u\t1|x", "P!", "Z"]).end(1)
    assert "cannot store the position" in done.errors and done.logged("ack") == []
    assert not (tmp_path / "position").exists() and done.logged("close") == ["keep"]


def test_a_crash_at_any_moment_leaves_a_whole_file(run, tmp_path):
    """Killed again and again in the middle of storing: what is there is a position, and grows."""
    script = [S] + [f"P!" for _ in range(3000)] + ["W\tnever"]
    last = 0
    for n in range(8):
        started = run("t", "--position-file", "position", script=script)
        until(lambda: (tmp_path / "position").exists() and int(held(tmp_path)["position"][5:]) > last, started)
        time.sleep(0.003 * n)
        started.process.kill()
        started.process.wait()
        now = int(held(tmp_path)["position"][5:])
        assert now >= last
        last = now


def test_the_slot_is_dropped_at_the_end_alone(run, tmp_path):
    done = run("t", "--position-file", "position", "--drop-slot", script=[S, "E\tlost"]).end(1)
    assert done.logged("close") == ["keep"]
    done.log.unlink()
    done = run("t", "--position-file", "position", "--drop-slot", script=[S, "P!", "Z"]).end()
    assert done.logged("close") == ["drop"] and not (tmp_path / "position").exists()


# ---- Signals and pipes

@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_batch_and_saves(run, tmp_path, signo):
    done = run("t", "--position-file", "position", script=[S, f"K\t{int(signo)}", "R\t1\tt\ta:l,b:u\t1|x", "R\t1\tt\ta:l,b:u\t2|x", "Z"]).end(128 + signo)
    assert [line["after"]["a"] for line in done.lines] == [1]
    assert held(tmp_path)["position"] == "pst1:3" and done.logged("ack")[-1].startswith("pst1:3 ")
    assert done.logged("close") == ["keep"] and "error" not in done.errors


def test_a_signal_ends_an_idle_capture(run, tmp_path):
    started = run("t", "--position-file", "position", script=[S, "P!"])
    until(lambda: (tmp_path / "position").exists(), started)
    started.process.send_signal(signal.SIGTERM)
    started.end(143)


def test_a_position_that_cannot_be_saved_at_a_signal_is_a_failure(run, tmp_path):
    os.symlink("/dev/full", tmp_path / "position.new")
    done = run("t", "--position-file", "position", script=[S, "K\t15", "R\t1\tt\ta:l,b:u\t1|x"]).end(1)
    assert "cannot store the position" in done.errors


def test_a_second_signal_does_not_wait_for_the_reader(run):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    rows = "\t".join(f"{n}|{'x' * 2000}" for n in range(6))
    started = run("t", stdout=writer, script=[S, f"R\t1\tt\ta:l,b:u\t{rows}"])
    os.close(writer)
    assert os.read(reader, 1)
    started.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    assert started.process.poll() is None
    started.process.send_signal(signal.SIGTERM)
    started.end(143)
    os.close(reader)


def test_a_closed_pipe_is_quiet_and_noticed_when_idle(run, tmp_path):
    started = run("t", "--position-file", "position", script=[S, "R\t1\tt\ta:l,b:u\t1|x", "W\tgo", "R\t1\tt\ta:l,b:u\t2|x"])
    assert started.process.stdout.readline()
    started.process.stdout.close()
    started.process.wait(TIMEOUT)
    assert started.process.returncode == 141
    assert b"error" not in started.process.stderr.read()


# ---- Arrow

def stream(data):
    with pyarrow.ipc.open_stream(data) as reader:
        return reader.read_all()


def test_arrow_rows_say_what_has_happened(run):
    done = run("t", "--format", "arrow", script=[S, "r\t1\tt\ta:l,b:u\t1|x", "R\t1\tt\ta:l,b:u\t+U 1|=\t-D 1|y", "Z"]).end()
    rows = stream(done.out)
    assert rows.column_names == ["a", "b", "row_kind", "__commit_lsn", "__lsn", "__xid", "__sequence", "__op_ts", "__unchanged"]
    assert rows["row_kind"].to_pylist() == ["+I", "+U", "-D"] and rows["a"].to_pylist() == [1, 1, 1]
    assert rows["__unchanged"].to_pylist() == [[], ["b"], []] and rows["b"].to_pylist() == ["x", None, "y"]
    assert rows["__commit_lsn"].to_pylist() == [None, 1003, 1003] and rows["__sequence"].to_pylist() == [None, 1, 2]
    assert str(rows["__op_ts"][1]) == "2023-11-14 22:13:20+00:00" and rows["__op_ts"][0].as_py() is None


def test_arrow_files_are_one_a_table_and_schema(run, tmp_path):
    (tmp_path / "out").mkdir()
    script = [S, "R\t1\tt\ta:l,b:u\t1|x", "S\t2\tu/v\tc:l\tc", "R\t2\tu/v\tc:l\t7", "S\t1\tt\ta:l\ta", "R\t1\tt\ta:l\t2", "Z"]
    run("t", "u", "--format", "arrow", "-o", "out", script=script).end()
    assert sorted(os.listdir(tmp_path / "out")) == ["public.t.1.arrows", "public.t.2.arrows", "public.u_v.1.arrows"]
    assert stream(tmp_path / "out/public.t.1.arrows")["b"].to_pylist() == ["x"]
    assert stream(tmp_path / "out/public.t.2.arrows")["a"].to_pylist() == [2]
    assert stream(tmp_path / "out/public.u_v.1.arrows")["c"].to_pylist() == [7]


def test_arrow_on_standard_output_is_one_stream(run):
    one = [S, "R\t1\tt\ta:l,b:u\t1|x"]
    done = run("t", "u", "--format", "arrow", script=one + ["S\t2\tu\tc:l\tc", "R\t2\tu\tc:l\t7"]).end(1)
    assert "public.u is a further table" in done.errors and "-o" in done.errors
    assert "columns of public.t have changed" in run("t", "--format", "arrow", script=one + ["S\t1\tt\ta:l\ta"]).end(1).errors
    assert "was truncated, which Arrow rows cannot tell" in run("t", "--format", "arrow", script=one + ["T\t1\tt"]).end(1).errors
    assert 'has a column "row_kind"' in run("t", "--format", "arrow", script=["S\t1\tt\trow_kind:u\t"]).end(1).errors


@pytest.mark.parametrize("words, problem", [
    (["t", "--start", "then"], "--start is"),
    (["t", "--until", "soon"], "--until is"),
    (["t", "-o", "x"], "-o DIR is for"),
    (["t", "--format", "arrow", "--json-values", "flink"], "--json-values is for"),
    (["t", "--position-file", ""], "is empty"),
    (["t", "--with", "cdc.consumer=exact"], "truncate=skip"),
    (["t", "--with", "cdc.regions=plan"], "--jobs"),
    (["t", "--with", "truncate=maybe"], "truncate"),
    ([], "TABLE is missing"),
])
def test_wrong_words_are_usage_errors(run, words, problem):
    assert problem in run(*words, script=["Z"]).end(2).errors


def test_the_end_is_told_and_quiet_is_quiet(run):
    script = [S, "r\t1\tt\ta:l,b:u\t1|x", "R\t1\tt\ta:l,b:u\t1|x\t2|x", "Z"]
    assert "captured 1 rows of snapshots and 2 changes" in run("t", script=script).end().errors
    assert run("t", "--quiet", script=script).end().errors == ""
    events = [json.loads(line) for line in run("t", "--log", "json", script=script).end().errors.splitlines()]
    assert [e["event"] for e in events if "event" in e] == ["start", "done"] and events[-1]["changes"] == 2
