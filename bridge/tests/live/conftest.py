"""Fixtures of the live tests: the throwaway server, databases, the command, the fault proxy.

The tests run inside `scripts/cluster --tls --standby` (make check-live does that), which sets the
PG* and PENSTOCK_* variables used here.
"""
import itertools
import os
import subprocess
import sys

import psycopg
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from proxy import Proxy  # noqa: E402

NUMBER = itertools.count(1)
TIMEOUT = 300
TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))


def pytest_configure(config):
    config.addinivalue_line("markers", "since(major, what): the test needs what came with a version")
    config.addinivalue_line("markers", "before(major, what): the test is of what was so until then")
    config.addinivalue_line("markers", "extension: the test needs a server that has the extension's files")
    config.addinivalue_line("markers", "long: the test takes minutes and gigabytes, and is run with PENSTOCK_LONG=1")
    if "PENSTOCK_CLUSTER" not in os.environ:
        pytest.exit("no test server: use make check-live, or scripts/cluster --tls --standby -- …", 2)


def pytest_collection_modifyitems(config, items):
    """Tests of what came with a newer server are left out; the runner reads which."""
    server, applicable, config.inapplicable = Server(), [], []
    version, extension = server.version, server.has_extension
    for item in items:
        missing = [m.args for m in item.iter_markers("since") if version < m.args[0] * 10000]
        gone = [m.args for m in item.iter_markers("before") if version >= m.args[0] * 10000]
        if missing:
            major, what = missing[0]
            config.inapplicable.append(f"# not applicable: {item.name}: {what} came with PostgreSQL {major}")
        elif gone:
            major, what = gone[0]
            config.inapplicable.append(f"# not applicable: {item.name}: {what} are there since PostgreSQL {major}")
        elif item.get_closest_marker("extension") and not extension:
            config.inapplicable.append(f"# not applicable: {item.name}: the server has no extension")
        elif item.get_closest_marker("long") and "PENSTOCK_LONG" not in os.environ:
            config.inapplicable.append(f"# not applicable: {item.name}: it takes long (PENSTOCK_LONG=1)")
        else:
            applicable.append(item)
    items[:] = applicable


def pytest_report_collectionfinish(config):
    return config.inapplicable


def pytest_sessionfinish(session, exitstatus):
    """A file of which no test applies to the server has not failed."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.inapplicable:
        session.exitstatus = pytest.ExitCode.OK


class Server:
    """Where the throwaway servers are, and the handle that starts and stops them."""

    def __init__(self):
        env = os.environ
        self.host, self.port, self.user = env["PGHOST"], int(env["PGPORT"]), env["PGUSER"]
        self.folder, self.pgbin = env["PENSTOCK_CLUSTER"], env["PENSTOCK_PGBIN"]
        self.standby_port = int(env.get("PENSTOCK_STANDBY_PORT", 0)) or None
        self.tls_ca = env.get("PENSTOCK_TLS_CA")
        self.tls_client_cert = env.get("PENSTOCK_TLS_CLIENT_CERT")
        self.tls_client_key = env.get("PENSTOCK_TLS_CLIENT_KEY")

    def url(self, dbname="postgres", **parameters):
        """A libpq keyword string for the socket; parameters override or add."""
        words = dict(host=self.host, port=self.port, user=self.user, dbname=dbname)
        words.update(parameters)
        return " ".join(f"{key}={value}" for key, value in words.items())

    def connect(self, dbname="postgres", **parameters):
        """A psycopg connection in autocommit mode."""
        return psycopg.connect(self.url(dbname, **parameters), autocommit=True)

    def ctl(self, which, action):
        """primary|standby, start|stop|restart|crash|promote"""
        subprocess.run([os.path.join(self.folder, "ctl"), which, action], check=True,
                       timeout=TIMEOUT)

    def beside_others(self, *words):
        """A command as scripts/cluster takes it, with its options, beside new servers of the same programs."""
        script, at = "scripts/cluster", words.index("--") + 1
        place = os.environ.get("PENSTOCK_OUTSIDE", "").split(":")
        if len(place) == 1:
            return [os.path.join(TOP, script), "--bin", self.pgbin, *words]
        # The programs run inside scripts/debian only, the command out here.
        return ["chroot", place[1], "/bin/bash", "-c", 'cd /mnt/penstock && exec "$@"', "bash", script,
                "--bin", self.pgbin, *words[:at], "scripts/debian", "--outside", *words[at:]]

    @property
    def version(self):
        with self.connect() as conn:
            return conn.info.server_version

    @property
    def has_extension(self):
        """Whether CREATE EXTENSION penstock finds it."""
        with self.connect() as conn:
            return conn.execute("SELECT count(*) > 0 FROM pg_available_extensions"
                                " WHERE name = 'penstock'").fetchone()[0]


class Database:
    """A database of a test's own."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.url = server.url(name)

    def connect(self, **parameters):
        return self.server.connect(self.name, **parameters)

    def execute(self, sql, params=None):
        """Runs SQL; rows as a list of tuples when there are any."""
        with self.connect() as conn:
            cursor = conn.execute(sql, params)
            return cursor.fetchall() if cursor.description else None

    def value(self, sql, params=None):
        return self.execute(sql, params)[0][0]

    @property
    def transport(self):
        """How rows are read from it when nothing is said."""
        there = self.value("SELECT count(*) FROM pg_extension WHERE extname = 'penstock'")
        return "assisted" if there else "plain"


def make_database(server, options=""):
    name = f"py_{os.getpid()}_{next(NUMBER)}"
    with server.connect() as conn:
        conn.execute(f"CREATE DATABASE {name} {options}")
    return Database(server, name)


def drop_database(database):
    with database.server.connect() as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                     [database.name])
        conn.execute(f"DROP DATABASE IF EXISTS {database.name}")


@pytest.fixture(scope="session")
def server():
    return Server()


@pytest.fixture
def database(server):
    """An empty database for one test."""
    made = make_database(server)
    yield made
    drop_database(made)


@pytest.fixture(scope="module")
def module_database(server):
    """A database that the tests of one file share."""
    made = make_database(server)
    yield made
    drop_database(made)


def cuts(server, column, rows, size="256kb"):
    """Options that cut a table of rows 1 to `rows` into several splits: by blocks where the server
    can (from 14 on), else by a column."""
    if server.version >= 140000:
        return ["--with", f"read.split-bytes={size}"]
    options = (f"column={column}", "num=8", "lower-bound=1", f"upper-bound={rows}")
    return [f"--with=scan.partition.{option}" for option in options]


@pytest.fixture
def new_database(server):
    """new_database("TEMPLATE template0 ENCODING 'LATIN1' …") makes one more; all go at the end."""
    made = []

    def make(options=""):
        made.append(make_database(server, options))
        return made[-1]

    yield make
    for one in made:
        drop_database(one)


class Done:
    """How a command ended: code, out and err (bytes), text (out as str), errors (err as str)."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.errors = done.stderr.decode(errors="replace")

    @property
    def text(self):
        return self.out.decode()


def run_penstock(*args, input=b"", code=0, failpoints=None, env=None, timeout=TIMEOUT):
    """Runs the command. It must end with this code (None: any). failpoints: the test build with them."""
    binary = os.environ["PENSTOCK_FAILPOINT_BIN" if failpoints else "PENSTOCK_BIN"]
    merged = dict(os.environ, **(env or {}))
    if failpoints:
        merged["PENSTOCK_FAILPOINTS"] = failpoints
    done = Done(subprocess.run([binary, *map(str, args)], env=merged, timeout=timeout,
                               input=input.encode() if isinstance(input, str) else input,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert code is None or done.code == code, (
        f"exit code {done.code}, wanted {code}\n{done.errors}\n{done.out[:2000]!r}")
    return done


@pytest.fixture(scope="session")
def penstock():
    """penstock("read", url, "t", input=…, code=0, failpoints=…) -> Done"""
    return run_penstock


@pytest.fixture
def start_penstock():
    """Starts the command without waiting: a Popen with pipes, killed when the test ends."""
    running = []

    def start(*args, failpoints=None, env=None):
        binary = os.environ["PENSTOCK_FAILPOINT_BIN" if failpoints else "PENSTOCK_BIN"]
        merged = dict(os.environ, **(env or {}))
        if failpoints:
            merged["PENSTOCK_FAILPOINTS"] = failpoints
        running.append(subprocess.Popen([binary, *map(str, args)], env=merged,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE))
        return running[-1]

    yield start
    for child in running:
        child.kill()
        child.wait()


@pytest.fixture
def proxy(server):
    """proxy("server:message=3:cut", …) -> a running Proxy (lib/proxy.py) before the server."""
    running = []

    def make(*rules, port=None):
        running.append(Proxy("127.0.0.1", port or server.port, rules).__enter__())
        return running[-1]

    yield make
    for one in running:
        one.__exit__()
