"""How the command behaves while it runs: signals, pipes, waits, progress, process title."""
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time

import pytest

DEADLINE = 60


@pytest.fixture(scope="module")
def filled(module_database):
    module_database.execute("""CREATE TABLE numbers AS SELECT i AS id, repeat('x', 100) AS pad FROM generate_series(1, 100000) i;
        ANALYZE numbers; CREATE VIEW slow AS SELECT id, pg_sleep(0.001)::text AS nap FROM numbers;
        CREATE TABLE target (id int PRIMARY KEY, pad text)""")
    return module_database


def backends(database):
    return database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                          "AND application_name LIKE 'penstock/%%'")


def until(condition, what):
    deadline = time.time() + DEADLINE
    while not condition():
        assert time.time() < deadline, f"never came: {what}"
        time.sleep(0.02)


# ---- signals ----

@pytest.mark.parametrize("signo, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_stops_a_read_and_the_work_on_the_server(start_penstock, filled, signo, code, jobs):
    child = start_penstock("read", filled.url, "slow", "--jobs", jobs)
    until(lambda: filled.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%SAVEPOINT penstock; COPY%%slow%%' AND state = 'active' "
                               "AND application_name LIKE 'penstock/%%'"), "the server at work")
    child.send_signal(signo)
    out, err = child.communicate(timeout=DEADLINE)
    assert child.returncode == code and b"error" not in err
    until(lambda: backends(filled) == 0, "the end of the server's work")


def test_a_signal_stops_a_read_that_waits_for_its_reader(start_penstock, filled):
    child = start_penstock("read", filled.url, "numbers")  # nobody reads the pipe: it fills
    until(lambda: backends(filled) > 0, "the connection")
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    assert child.wait(DEADLINE) == 130
    until(lambda: backends(filled) == 0, "the end of the server's work")


def test_a_signal_leaves_the_target_as_before_the_open_transaction(start_penstock, filled):
    filled.execute("TRUNCATE target")
    child = start_penstock("write", filled.url, "target", "--with", "sink.buffer-flush.max-rows=1000",
                           "--with", "sink.buffer-flush.interval=0")
    body = "id,pad\n" + "".join(f"{i},x\n" for i in range(1500))
    child.stdin.write(body.encode())
    child.stdin.flush()
    until(lambda: filled.value("SELECT count(*) FROM target") == 1000, "the first flush")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=DEADLINE)
    assert child.returncode == 130
    until(lambda: backends(filled) == 0, "the end of the connection")
    assert filled.value("SELECT count(*) FROM target") == 1000


def test_a_signal_during_a_flush_cancels_it(start_penstock, filled):
    filled.execute("TRUNCATE target")
    with filled.connect() as conn:
        conn.execute("BEGIN; LOCK TABLE target IN ACCESS EXCLUSIVE MODE")
        child = start_penstock("write", filled.url, "target")
        child.stdin.write(b"id,pad\n1,x\n")
        child.stdin.close()
        until(lambda: conn.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0], "the wait")
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE) == 143
        conn.execute("COMMIT")
    until(lambda: backends(filled) == 0, "the end of the connection")
    assert filled.value("SELECT count(*) FROM target") == 0


def test_a_signal_while_idle_input_is_waited_for(start_penstock, filled):
    child = start_penstock("write", filled.url, "target")
    until(lambda: backends(filled) > 0, "the connection")
    child.send_signal(signal.SIGINT)
    assert child.wait(DEADLINE) == 130


def test_a_cancel_by_the_server_is_an_error_not_a_signal(start_penstock, filled):
    child = start_penstock("read", filled.url, "slow")
    until(lambda: filled.value("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%%SAVEPOINT penstock; COPY%%slow%%' "
                               "AND state = 'active' AND pid <> pg_backend_pid()"), "the server at work")
    out, err = child.communicate(timeout=DEADLINE)
    assert child.returncode == 1 and b"57014" in err


def test_a_closed_pipe_is_a_quiet_141(filled):
    for jobs in "1", "2":
        child = subprocess.Popen([os.environ["PENSTOCK_BIN"], "read", filled.url, "numbers", "--quiet", "--jobs", jobs,
                                  "--with", "read.split-bytes=1mb"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b"" and child.wait(DEADLINE) == 141
    until(lambda: backends(filled) == 0, "the end of the server's work")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_closed_pipe_of_a_list_is_141_too(filled, form):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run([os.environ["PENSTOCK_BIN"], "tables", filled.url, "pg_catalog", *form], stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert done.returncode == 141 and done.stderr == b""


# ---- who blocks ----

def test_a_session_that_waits_to_alter_the_table_does_not_stop_a_read(start_penstock, database, tmp_path):
    database.execute("CREATE TABLE altered AS SELECT i AS id, repeat('x', 500) AS pad FROM generate_series(1, 20000) i")
    go = tmp_path / "go"
    child = start_penstock("read", database.url, "altered", "--jobs", 4, "--with", "read.split-bytes=1mb", "--with",
                           "read.columns=id", "--max-rate", 15000, failpoints=f"source.planned=wait:{go}")
    until(lambda: (tmp_path / "go.reached").exists(), "the plan")
    altering = threading.Thread(target=database.execute, args=("ALTER TABLE altered ADD more int",))
    altering.start()
    until(lambda: database.value("SELECT count(*) FROM pg_locks WHERE NOT granted"), "the wait for the planner's lock")
    go.touch()
    out, err = child.communicate(timeout=DEADLINE)
    altering.join(DEADLINE)
    assert child.returncode == 0, err
    assert sorted(map(int, out.split()[1:])) == list(range(1, 20001))


def test_a_long_wait_names_the_session_that_blocks(start_penstock, filled):
    with filled.connect(application_name="blocker_app") as conn:
        conn.execute("BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
        pid = conn.info.backend_pid
        child = start_penstock("read", filled.url, "numbers", "-o", "/dev/null")
        line = child.stderr.readline().decode()
        conn.execute("COMMIT")
    assert "waiting for 1" in line and f"pid {pid}" in line and "blocker_app" in line and "public.numbers" in line
    assert child.wait(DEADLINE) == 0


def test_a_long_wait_names_a_prepared_transaction_by_gid(start_penstock, filled, server):
    with filled.connect() as conn:
        if conn.execute("SHOW max_prepared_transactions").fetchone()[0] == "0":
            pytest.skip("the server takes no prepared transactions")
        conn.execute("BEGIN; LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
        conn.execute("PREPARE TRANSACTION 'the gid'")
        child = start_penstock("copy", filled.url, "numbers", filled.url, "target")
        line = child.stderr.readline().decode()
        conn.execute("ROLLBACK PREPARED 'the gid'")
    assert 'prepared transaction "the gid"' in line and "at the source" in line
    assert child.wait(DEADLINE) == 0


# ---- progress ----

def test_progress_is_plain_lines_without_a_terminal(start_penstock, filled):
    child = start_penstock("read", filled.url, "numbers", "-o", "/dev/null", "--max-rate", 15000)
    err = child.communicate(timeout=DEADLINE)[1].decode()
    lines = err.splitlines()
    assert "\r" not in err and "\033" not in err
    assert re.fullmatch(rf"penstock: reading numbers: transport {filled.transport}, jobs \d+.*, about 100,000 rows", lines[0])
    assert re.fullmatch(r"penstock: [\d,]+ rows of about 100,000, [\d.]+ .?B, [\d.]+ k? ?rows/s, \d+ % done, \d+:\d\d left", lines[1])
    assert re.fullmatch(r"penstock: read 100,000 rows, [\d.]+ .?B in [\d.]+ s \(.* rows/s\)", lines[-1])


def test_quiet_says_nothing(penstock, filled):
    assert penstock("read", filled.url, "numbers", "--limit", 5, "--quiet").err == b""


def test_log_json_is_one_object_a_line(penstock, filled):
    lines = [json.loads(line) for line in penstock("read", filled.url, "numbers", "--log", "json").errors.splitlines()]
    assert lines[0]["event"] == "start" and lines[0]["transport"] == filled.transport and lines[0]["jobs"] >= 1
    assert lines[-1]["event"] == "done" and lines[-1]["rows"] == 100000 and lines[-1]["bytes"] > 1000000
    assert all(line["level"] == "info" and line["command"] == "read" and line["time"].endswith("Z") for line in lines)
    error = json.loads(penstock("read", filled.url, "none", "--log=json", code=1).errors)
    assert error["level"] == "error" and error["status"] == "PST_ERR_NOT_FOUND" and error["sqlstate"] == "42P01"


def test_progress_on_a_terminal_is_one_live_line(filled):
    leader, follower = pty.openpty()
    child = subprocess.Popen([os.environ["PENSTOCK_BIN"], "read", filled.url, "numbers", "-o", "/dev/null", "--max-rate", "60000"],
                             stderr=follower, stdin=subprocess.DEVNULL, env=dict(os.environ, TERM="xterm"))
    os.close(follower)
    seen = b""
    try:
        while True:
            part = os.read(leader, 65536)
            if not part:
                break
            seen += part
    except OSError:
        pass
    os.close(leader)
    assert child.wait(DEADLINE) == 0
    text = seen.decode()
    assert text.count("\r\x1b[K") >= 3 and "% done" in text
    assert text.rstrip().splitlines()[-1].endswith("rows/s)") and text.count("\r\n") == 2


def test_writing_a_file_shows_the_part_of_it(start_penstock, filled, tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("id,pad\n" + "".join(f"{i},{'x' * 100}\n" for i in range(70000)))
    child = start_penstock("write", filled.url, "target", path, "--max-rate", 10000, "--with", "sink.buffer-flush.interval=100ms")
    err = child.communicate(timeout=DEADLINE)[1].decode()
    assert "mode upsert" in err.splitlines()[0]
    assert re.search(r"B of 7\.\d MB, .* % done", err)


# ---- identity ----

@pytest.mark.parametrize("command, args", [("read", ["numbers"]), ("write", ["target"]), ("tables", [])])
def test_application_name_is_the_version_and_the_command(penstock, filled, command, args):
    filled.execute("DROP TABLE IF EXISTS names; CREATE TABLE names (name text)")
    version = penstock("--version").text.split()[1]
    stop = threading.Event()
    seen = set()

    def watch():
        with filled.connect() as conn:
            while not stop.is_set():
                seen.update(r[0] for r in conn.execute("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"))
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        deadline = time.time() + DEADLINE
        while f"penstock/{version} {command}" not in seen and time.time() < deadline:
            penstock(command, filled.url, *args, input="id,pad\n1,x\n")
    finally:
        stop.set()
        thread.join()
    assert f"penstock/{version} {command}" in seen


SECRET = "s3cr3t-p4ss"


@pytest.mark.parametrize("args", [
    ["{url} password=" + SECRET], ["{url} password = '" + SECRET + "'"],
    ["postgresql://postgres:" + SECRET + "@/{name}?host={host}&port={port}"],
    ["postgresql:///{name}?host={host}&port={port}&user=postgres&password=" + SECRET],
    ["{url}", "--password", SECRET], ["{url}", "--password=" + SECRET], ["{url}", "--pass=" + SECRET],
    ["{url}", "--with", "password=" + SECRET],
    ["{url}", "--with", "password=a b " + SECRET], ["{url}", "--with=password=a b " + SECRET],
    ["postgresql:///{name}?host={host}&port={port}&user=postgres&password=a%26b" + SECRET],
    ["postgresql:///{name}?host={host}&port={port}&user=postgres&pass%77ord=" + SECRET],
    ["postgresql:///{name}?host={host}&sslp%61ssword=" + SECRET + "&port={port}&user=postgres"],
    ["jdbc:postgresql://127.0.0.1:{port}/{name}?user=postgres&%70assword=" + SECRET],
    ["jdbc:postgresql:{name}?user=postgres&%70assword=" + SECRET + "&ssl=false"],
])
def test_the_process_title_has_no_password(start_penstock, filled, server, args):
    args = [a.format(url=filled.url, name=filled.name, host=server.host, port=server.port) for a in args]
    child = start_penstock("write", *args[:1], "target", *args[1:])
    until(lambda: backends(filled) > 0, "the connection")
    with open(f"/proc/{child.pid}/cmdline", "rb") as file:
        title = file.read()
    assert b"write" in title and b"target" in title and SECRET.encode() not in title
    child.stdin.write(b"id,pad\n")
    out, err = child.communicate(timeout=DEADLINE)
    assert child.returncode == 0 and SECRET.encode() not in out + err


@pytest.mark.parametrize("db", ["host=127.0.0.1 port={port} user=password_user password=" + SECRET,
                                "postgresql://password_user:" + SECRET + "@127.0.0.1:{port}/postgres",
                                "postgresql://password_user:" + SECRET + "@127.0.0.1:{port}/postgres?no_such=1",
                                "postgresql://password_user:a@" + SECRET + "@127.0.0.1:{port}/postgres",
                                "postgresql://password_user:1/" + SECRET + "@127.0.0.1:{port}/postgres",
                                "postgresql://127.0.0.1:{port}/postgres?password=a&" + SECRET,
                                "jdbc:postgresql://127.0.0.1:{port}/postgres?user=password_user&password=a&" + SECRET,
                                "jdbc:postgresql://127.0.0.1:{port}/postgres?user=password_user&password=" + SECRET])
def test_no_message_has_the_password(penstock, server, db):
    for command in ("tables", "doctor"):
        done = penstock(command, db.format(port=server.port), code=None)
        assert done.code != 0 and SECRET not in done.errors + done.text


# ---- closed standard streams ----

@pytest.mark.parametrize("words, closed", [(["write", "", "target"], "<&-"),
                                           (["read", "", "target"], ">&-")])
def test_a_closed_standard_stream_is_an_error_and_never_a_connection(filled, words, closed):
    binary = os.environ["PENSTOCK_BIN"]
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(["sh", "-c", f"'{binary}' {quoted} {closed}"], timeout=DEADLINE, text=True,
                          env={**os.environ, "PGDATABASE": filled.name}, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "put: Bad file descriptor" in done.stderr
