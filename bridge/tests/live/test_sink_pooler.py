"""Writing through pgbouncer in transaction mode, where server connections are shared with other clients.
scripts/deps puts it into build/; where it cannot the test is skipped."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest

from test_sink_faults import WAYS, command, model

UNPACKED = pathlib.Path(__file__).resolve().parents[3] / "build/pgbouncer/usr/sbin"
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin:{UNPACKED}")
FLUSHES, ROWS = 20, 60


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def pooler(server):
    """pooler(size) -> the port of a pooler with so many server connections."""
    if PGBOUNCER is None:
        pytest.skip("there is no pgbouncer")
    running = []

    def start(size):
        folder = tempfile.mkdtemp(prefix="penstock-pooler-")
        port = free_port()
        os.chmod(folder, 0o755)
        with open(f"{folder}/users", "w") as users:
            users.write(f'"{server.user}" ""\n')
        with open(f"{folder}/ini", "w") as ini:
            ini.write(f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\n"
                      f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = trust\n"
                      f"auth_file = {folder}/users\npool_mode = transaction\n"
                      f"default_pool_size = {size}\nunix_socket_dir =\n")
        # It refuses to run as root.
        user = ["-u", "postgres"] if os.geteuid() == 0 else []
        running.append((subprocess.Popen([PGBOUNCER, "-q", *user, f"{folder}/ini"]), folder))
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            assert running[-1][0].poll() is None
        return port

    yield start
    for child, folder in running:
        child.kill()
        child.wait()
        shutil.rmtree(folder)


def test_writers_that_share_server_connections_mix_nothing_up(database, server, pooler):
    port = pooler(2)
    url = f"host=127.0.0.1 port={port} user={server.user} dbname={database.name} sslmode=disable"
    writers = []
    for n, options in enumerate([*WAYS.values(), ["sink.mode=upsert", "sink.method=copy"]]):
        key = "" if "sink.mode=append" in options else " PRIMARY KEY"
        database.execute(f"CREATE TABLE t{n} (id bigint{key}, v bigint)")
        options = [option.replace("job=j", f"job={n}") for option in options]
        run = command(url, [*options, f"table-name=t{n}"], FLUSHES, ROWS)
        run.remove("table-name=t")
        writers.append((n, options, subprocess.Popen(run, stdout=subprocess.PIPE,
                                                     stderr=subprocess.PIPE)))
    for n, options, writer in writers:
        out, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, (options, err)
    for n, options, writer in writers:
        assert database.execute(f"SELECT id, v FROM t{n} ORDER BY id, v") == model(
            options, FLUSHES, ROWS), options
