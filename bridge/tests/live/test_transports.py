"""Both transports read the same: values, fields and errors, whatever the types, settings and encodings are.

plain is the measure: what it reads is held against COPY and the output functions by other tests.
"""
import io
import itertools
import json
import os
import signal
import subprocess
import time

import pyarrow
import pytest

from all_types import create_every_type, create_every_value, create_user_types

pytestmark = pytest.mark.extension
WAYS = [("csv", []), ("arrow", ["special-values=null"]), ("arrow", ["special-values=clamp"]),
        ("arrow", ["read.text-columns=*"])]


@pytest.fixture
def both(penstock):
    """both(url, "t", "--format", "csv") -> what plain and assisted give."""
    def read(*args, code=0):
        return [penstock("read", *args, "--quiet", "--with", f"transport={transport}", code=code)
                for transport in ("plain", "assisted")]
    return read


def table_of(stream):
    return pyarrow.ipc.open_stream(io.BytesIO(stream)).read_all()


def assert_same_table(plain, assisted):
    plain, assisted = table_of(plain.out), table_of(assisted.out)
    assert assisted.schema.equals(plain.schema, check_metadata=True)
    assisted.validate(full=True)
    for name, was, now in zip(plain.column_names, plain.columns, assisted.columns):
        # Of NaN the text is compared, which is not equal to itself.
        was, now = was.combine_chunks(), now.combine_chunks()
        assert now.equals(was) or str(now.to_pylist()) == str(was.to_pylist()), name
    return assisted


def assert_same(both, url, *args):
    """By every way, of a read by one job, which keeps the order of rows."""
    for form, options in WAYS:
        words = [word for option in options for word in ("--with", option)]
        plain, assisted = both(url, *args, "--jobs", 1, "--format", form, *words)
        if form == "csv":
            assert assisted.out == plain.out
        else:
            assert_same_table(plain, assisted)


def assert_same_query(both, url, query):
    for form, options in WAYS:
        words = [word for option in options for word in ("--with", option)]
        plain, assisted = both(url, "--query", query, "--format", form, *words)
        if form == "csv":
            assert assisted.out == plain.out
        else:
            assert_same_table(plain, assisted)


# ---- Types

@pytest.fixture(scope="module")
def typed(module_database):
    module_database.execute("CREATE EXTENSION IF NOT EXISTS penstock")
    with module_database.connect() as conn:
        create_every_value(conn, "every")
    create_every_type(module_database)
    return module_database


@pytest.mark.parametrize("table", ["every", "every_type"])
def test_values_of_every_type_are_the_same(table, typed, both):
    assert_same(both, typed.url, table)
    assert_same_query(both, typed.url, f"SELECT * FROM {table}")


def test_values_of_a_users_own_types_are_the_same(database, both):
    create_user_types(database)
    assert_same(both, database.url, "user_types")
    assert_same_query(both, database.url, "SELECT u.*, u, u.p, ARRAY[u.d], ROW(u.m, u.s) FROM user_types u")


# A role or a database may have settings that change texts; those of the session are pinned over them.
SETTINGS = {
    "DateStyle": "German", "TimeZone": "'Asia/Kolkata'", "IntervalStyle": "iso_8601", "extra_float_digits": "-15",
    "bytea_output": "escape", "lc_monetary": "'C.UTF-8'", "xmlbinary": "hex", "xmloption": "document",
    "array_nulls": "off", "standard_conforming_strings": "off",
    "backslash_quote": "off", "lc_numeric": "'C.UTF-8'", "client_encoding": "'LATIN1'",
    "parallel_setup_cost": "0", "parallel_tuple_cost": "0", "min_parallel_table_scan_size": "0",
    "force_parallel_mode": "on", "debug_parallel_query": "on", "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on", "row_security": "on", "transform_null_equals": "on",
}


def test_settings_of_the_role_and_the_database_change_nothing(typed, both, server, penstock):
    want = penstock("read", typed.url, "every", "--jobs", 1, "--quiet", "--with", "transport=plain").out
    known = {name.lower() for name, in typed.execute("SELECT name FROM pg_settings")}
    typed.execute("CREATE ROLE odd LOGIN SUPERUSER")
    try:
        for number, (name, value) in enumerate(SETTINGS.items()):
            if name.lower() in known:
                target = "ROLE odd" if number % 2 else f"DATABASE {typed.name}"
                with server.connect() as conn:
                    conn.execute(f"ALTER {target} SET {name} = {value}")
        url = server.url(typed.name, user="odd")
        for done in both(url, "every", "--jobs", 1):
            assert done.out == want
        assert_same(both, url, "every")
        # Names in texts follow the session, on both.
        with server.connect() as conn:
            conn.execute("ALTER ROLE odd SET quote_all_identifiers = on; ALTER ROLE odd SET search_path = pg_catalog")
        assert_same(both, url, "public.every")
        assert_same_query(both, url, 'SELECT 1::"char" AS a, NULL::public.every AS b, NULL::public.mood[] AS c')
    finally:
        with server.connect() as conn:
            conn.execute(f"ALTER DATABASE {typed.name} RESET ALL")
            conn.execute("DROP ROLE odd")


# ---- Shapes

@pytest.mark.parametrize("ncolumns", [0, 1, 2, 7, 8, 9, 63, 64, 65, 300, 1600])
def test_any_number_of_columns_is_the_same(ncolumns, database, both):
    kinds = ["int", "text", "bool", "numeric(9,2)", "int[]", "uuid", "bytea"] if ncolumns < 1000 else ["bool", "int2"]
    columns = [f'"C {i}" {kinds[i % len(kinds)]}' for i in range(ncolumns)]
    samples = {"int": "1", "text": "'é'", "bool": "true", "numeric(9,2)": "-1.5", "int[]": "'{1,NULL}'",
               "uuid": "'00112233-4455-6677-8899-aabbccddeeff'", "bytea": "'\\x00ff'", "int2": "-2"}
    database.execute(f"CREATE TABLE t ({', '.join(columns)})")
    rows = 3 if ncolumns < 1000 else 2
    for row in range(rows if ncolumns else 0):
        values = [samples[kinds[i % len(kinds)]] if (i + row) % rows else "NULL" for i in range(ncolumns)]
        database.execute(f"INSERT INTO t VALUES ({', '.join(values)})")
    if ncolumns == 0:
        database.execute("INSERT INTO t SELECT FROM generate_series(1, 100000)")
    assert_same(both, database.url, "t")


def test_nulls_anywhere_are_the_same(database, both):
    """Runs of NULLs that begin and end at every place of a byte of bits, and of the frames."""
    kinds = ["bool", "int2", "int8", "text", "int[]", "numeric(9,2)", "interval"]
    values = ["true", "i::int2", "i", "i::text", "ARRAY[i, NULL]", "i / 4.0", "make_interval(secs => i)"]
    database.execute("CREATE TABLE t AS SELECT i, " + ", ".join(
        f"CASE WHEN i % {c + 2} = 0 OR i / 64 % 2 = {c % 2} THEN NULL ELSE ({v})::{k} END AS c{c}, "
        f"CASE WHEN i % {c + 3} = 0 THEN ({v})::{k} END AS d{c}" for c, (k, v) in enumerate(zip(kinds, values)))
        + ", NULL::text AS n FROM generate_series(1, 3000) i")
    assert_same(both, database.url, "t")
    for rows in 1, 7, 8, 9, 64, 1000:
        for size in "1kb", "4mb":
            args = ["--jobs", 1, "--format", "arrow", "--with", f"read.batch-rows={rows}", "--with",
                    f"read.batch-bytes={size}"]
            assert assert_same_table(*both(database.url, "t", *args)).num_rows == 3000


QUERIES = [
    r"""SELECT 'it''s', E'back\\slash \'q\'', U&'d\0061t\+000061', $x$dollar $$ "quotes"$x$, 'a' || 'b' -- end""",
    "SELECT 1 AS a, 2 AS a, 3 AS \"a \"\"b\"\" é\", 4, NULL, 'unknown', ''",
    "SELECT generate_series(1, i % 3), i, unnest(ARRAY[i, -i]) FROM t ORDER BY i",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3000) SELECT n, lag(n) OVER (ORDER BY n) FROM r",
    "SELECT x.*, t, t.tableoid::regclass, ctid FROM t, LATERAL (SELECT i, i::text) x ORDER BY t.i",
    "TABLE t ORDER BY 1 DESC LIMIT 7 OFFSET 3",
    "VALUES (1, 'a'::text), (2, NULL), (NULL, 'c')",
    "SELECT penstock.scan('SELECT 1 AS a')",
    "SELECT repeat('é', 3000000), i FROM t WHERE i < 4 ORDER BY i",
    "SELECT 1 WHERE false",
    "SELECT FROM t",
    "SELECT '*' AS \"*\", '{1,2}'::int[] AS b",
    "SELECT current_setting('transaction_isolation'), current_setting('DateStyle'), current_user, current_schemas(true)::text",
    "SELECT (SELECT array_agg(i) FROM t), ROW(1, 'a', NULL), ARRAY[ROW(1, '2')], NULL::record, '(1,2)'::point",
]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_queries_of_every_kind_give_the_same(query, database, both):
    database.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i")
    assert_same_query(both, database.url, query)


# ---- Encodings

BYTES = {
    "LATIN1": [bytes(range(0x20, 0x7f)), bytes(range(0x80, 0x100)), b"a\xe9b"],
    "WIN1252": [bytes(range(0xa0, 0x100)), b"\x80 euro"],
    "EUC_JP": ["日本語 ｱｲｳ".encode("euc_jp"), b"\x8f\xa2\xaf", b"a"],
    "SQL_ASCII": ["é日本€😀".encode(), b"ascii"],
}


def make_encoded(new_database, encoding):
    made = new_database(f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    made.execute("CREATE EXTENSION IF NOT EXISTS penstock")
    return made


def insert_bytes(database, rows, encoding):
    """Rows (k, bytes) as they are, into t(k, a text, b varchar[], c name, d "char", e, j)."""
    with database.connect(client_encoding="SQL_ASCII" if encoding == "SQL_ASCII" else encoding) as conn:
        for k, data in rows:
            text = b"E'" + b"".join(b"\\%03o" % byte for byte in data) + b"'"
            done = conn.pgconn.exec_(b"INSERT INTO t VALUES (%d, %s, ARRAY[%s], %s, NULL, (%s, NULL), to_json(%s::text))"
                                     % (k, text, text, text if len(data) < 60 else b"'x'", text, text))
            assert done.status == 1, done.error_message


@pytest.mark.parametrize("encoding", BYTES)
def test_text_of_databases_in_other_encodings_is_the_same(encoding, new_database, both):
    made = make_encoded(new_database, encoding)
    made.execute('CREATE TYPE two AS (x text, y int); '
                 'CREATE TABLE t (k int PRIMARY KEY, a text, b varchar[], c name, d "char", e two, j json)')
    insert_bytes(made, enumerate(BYTES[encoding]), encoding)
    assert_same(both, made.url, "t")
    want = [data.decode({"SQL_ASCII": "utf8", "WIN1252": "cp1252"}.get(encoding, encoding)) for data in BYTES[encoding]]
    for done in both(made.url, "t", "--format", "arrow", "--jobs", 1):
        assert table_of(done.out)["a"].to_pylist() == want


# ---- Errors

def errors_of(both, *args):
    """What plain and assisted say; their read fails."""
    told = []
    for done in both(*args, "--log", "json", code=None):
        assert done.code != 0, done.errors
        told.append(json.loads(done.errors.splitlines()[-1]))
        assert told[-1].pop("event") == "error"
        told[-1].pop("time", None)
    return told


# The column's type, and a value that Arrow's type does not hold.
SPECIAL = [("numeric(5,1)", "NaN"), ("date", "infinity"), ("date", "0044-03-15 BC"), ("timestamp", "-infinity"),
           ("timestamptz", "294276-01-01"), ("time", "24:00"), ("interval", "10000000 hours"), ("int[]", "[2:3]={1,2}"),
           ("text[]", "{{a},{b}}"), ("date[]", "{2000-01-01,infinity}"), ("numeric(9,2)[]", "{NaN}")]


@pytest.mark.parametrize("kind,value", SPECIAL)
def test_a_special_value_is_refused_in_the_same_words(kind, value, database, both):
    database.execute(f"""CREATE TABLE t (k int, v {kind}, l text, w {kind}, PRIMARY KEY (l, k));
        INSERT INTO t SELECT i, NULL, 'x y, z' FROM generate_series(1, 5000) i;
        INSERT INTO t VALUES (7777, '{value}', E'it''s row 3; it is row 9 of', '{value}');
        INSERT INTO t VALUES (8888, '{value}', '', NULL)""")
    for more in ([], ["--columns", "w,v"], ["--columns", "l,w"], ["--columns", "w,l,k"], ["--where", "k > 6000"],
                 ["--with", "read.batch-rows=100"], ["--with", "read.text-columns=w"]):
        plain, assisted = errors_of(both, database.url, "t", "--format", "arrow", "--jobs", 1, *more)
        assert assisted == plain, more
        assert plain["sqlstate"] == "22003" and plain["status"] == "PST_ERR_DATA" and plain["table"] == "t"
    # By a leaf of its own, and by a range.
    for more in (["--with", "read.split-bytes=8kb"], ["--with", "scan.partition.column=k", "--with",
                 "scan.partition.num=5", "--with", "scan.partition.lower-bound=1", "--with",
                 "scan.partition.upper-bound=9000", "--where", "k <> 8888"]):
        plain, assisted = errors_of(both, database.url, "t", "--format", "arrow", "--jobs", 1, *more)
        assert assisted == plain, more


def test_special_values_of_partitions_views_and_domains_are_refused_alike(database, both):
    database.execute("""
        CREATE DOMAIN day AS date; CREATE TABLE d (k day PRIMARY KEY, v day); INSERT INTO d VALUES ('2000-01-01', 'infinity');
        CREATE TABLE p (k int PRIMARY KEY, v date) PARTITION BY RANGE (k);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 (v date, k int NOT NULL);
        ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20);
        INSERT INTO p SELECT i, '2000-01-01' FROM generate_series(0, 18) i; INSERT INTO p VALUES (19, 'infinity');
        CREATE TABLE parent (k int, v date); CREATE TABLE child (PRIMARY KEY (k)) INHERITS (parent);
        INSERT INTO parent VALUES (1, '2000-01-01'); INSERT INTO child VALUES (2, 'infinity');
        CREATE VIEW w AS SELECT v, k FROM p; CREATE VIEW j AS SELECT p.v, d.k FROM p, d;
        CREATE MATERIALIZED VIEW m AS SELECT v, k FROM p;
        CREATE TABLE li (k int[] PRIMARY KEY, v date); INSERT INTO li VALUES ('{1,2}', 'infinity');
        CREATE TABLE nokey (k int UNIQUE, v date); INSERT INTO nokey VALUES (1, 'infinity');
        CREATE TABLE long (k text PRIMARY KEY, v date);
        INSERT INTO long VALUES (repeat('é; it is row 5 of ', 200), 'infinity');
        CREATE TABLE middle (k text PRIMARY KEY, v date); INSERT INTO middle VALUES (repeat('é', 190), 'infinity');
        CREATE TABLE two (k text, l text, v date, PRIMARY KEY (k, l));
        INSERT INTO two VALUES (repeat('x', 300), repeat('y', 300), 'infinity')""")
    for name in "d", "p", "parent", "w", "j", "m", "li", "nokey", "long", "middle", "two":
        for more in ["--jobs", 1], ["--jobs", 2, "--with", "read.split-bytes=8kb"]:
            plain, assisted = errors_of(both, database.url, name, "--format", "arrow", *more)
            assert assisted == plain, (name, more)


def test_errors_of_the_server_are_told_alike(database, both):
    database.execute("""
        CREATE FUNCTION fails(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i > 3000 THEN RAISE EXCEPTION 'no % "x"', i
            USING ERRCODE = 'P0007', DETAIL = 'the detail', HINT = 'the hint', COLUMN = 'c', TABLE = 't', SCHEMA = 's'; END IF;
            RETURN i; END $$;
        CREATE FUNCTION bare(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF i > 3000 THEN RAISE EXCEPTION 'bare';
            END IF; RETURN i; END $$;
        CREATE FUNCTION looks(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'column "a" holds a value'
            USING ERRCODE = '22003', DETAIL = 'It is row 8 of it', COLUMN = 'a'; END $$;
        CREATE TABLE t AS SELECT i FROM generate_series(1, 5000) i; CREATE VIEW v AS SELECT 1 / (4000 - i) AS q, i FROM t;
        CREATE VIEW f AS SELECT fails(i) FROM t; CREATE VIEW b AS SELECT bare(i) FROM t; CREATE VIEW l AS SELECT looks(i) FROM t;
        CREATE VIEW c AS SELECT 'x'::text || i, (CASE WHEN i > 4000 THEN 'one' ELSE '1' END)::int AS n FROM t""")
    for name in "v", "f", "b", "c", "l":
        for form in "csv", "arrow":
            plain, assisted = errors_of(both, database.url, name, "--format", form)
            assert assisted == plain, name
    plain, assisted = errors_of(both, database.url, "t", "--where", "1 / (i - 4500) < 2")
    assert assisted == plain
    # Reads are read-only.
    database.execute("""CREATE SEQUENCE s; CREATE FUNCTION writes(i int) RETURNS int LANGUAGE sql AS
        'INSERT INTO t VALUES (i) RETURNING i'""")
    for query in ("SELECT i FROM t FOR UPDATE", "SELECT nextval('s')", "SELECT writes(i) FROM t", "SELECT $1::int",
                  "SELECT 1; SELECT 2", "DELETE FROM t RETURNING i", "SELECT 1 INTO u", "SHOW port", "", "SELECT nothing",
                  "SELECT 'a'::int", "SELECT pg_terminate_backend(0) / 0 FROM nowhere"):
        plain, assisted = errors_of(both, database.url, "--query", query)
        assert assisted == plain, query


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "EUC_JP"])
@pytest.mark.parametrize("column", ["a", "b", "c", "e", "j"])
def test_bytes_that_are_no_text_are_refused_alike(encoding, column, new_database, both):
    made = make_encoded(new_database, encoding)
    made.execute('CREATE TYPE two AS (x text, y int); '
                 'CREATE TABLE t (k int PRIMARY KEY, a text, b varchar[], c name, d "char", e two, j json)')
    # Of EUC_JP what UTF-8 has no character for.
    bad = {"SQL_ASCII": b"a\xe9", "EUC_JP": b"a\xa9\xa1"}[encoding]
    insert_bytes(made, [*((i, b"good") for i in range(300)), (300, bad)], encoding)
    for form in "csv", "arrow":
        plain, assisted = errors_of(both, made.url, "t", "--columns", f"k,{column}", "--jobs", 1, "--format", form)
        if encoding == "EUC_JP":  # the server's conversion, which knows of no column; the extension does
            assert f'column "{column}" of row 300' in assisted.pop("detail")
            plain.pop("detail", None)
        assert assisted == plain


# ---- Frames through a harmed connection

END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
FRAMES = ["--format", "arrow", "--jobs", "1", "--quiet", "--with", "transport=assisted", "--with", "read.batch-rows=7"]
DEADLINE = 60


@pytest.fixture(scope="module")
def framed(module_database):
    """A table of 20 rows, which are three frames, and its stream."""
    module_database.execute("CREATE TABLE framed AS SELECT i, 'é' || i AS t, ARRAY[i, NULL] AS a"
                            " FROM generate_series(1, 20) i; ANALYZE framed")
    done = subprocess.run([os.environ["PENSTOCK_BIN"], "read", module_database.url, "framed", *FRAMES],
                          capture_output=True, timeout=DEADLINE)
    assert done.returncode == 0 and done.stdout.endswith(END) and table_of(done.stdout).num_rows == 20
    return module_database, done.stdout


def read_through(proxy, database, *more):
    return subprocess.run([os.environ["PENSTOCK_BIN"], "read", proxy.url(database.name), "framed", *FRAMES, *more],
                          capture_output=True, timeout=DEADLINE)


def assert_incomplete(done, whole, where):
    """An error, and a stream that is the whole one's beginning, by messages, without its end."""
    assert done.returncode == 1 and b"error" in done.stderr, (where, done.stderr)
    assert whole.startswith(done.stdout) and len(done.stdout) <= len(whole) - len(END), where
    assert END not in done.stdout[-8:], where


def messages_of(proxy, database):
    """Number and length of each message of rows: the schema, three batches, the end marker, the trailer."""
    through = proxy()
    assert read_through(through, database).returncode == 0
    flow = max(through.sessions, key=lambda s: len(s.server.types)).server
    return [number for number, kind in enumerate(flow.types, 1) if kind == "d"]


def test_frames_that_are_cut_anywhere_are_never_a_whole_stream(framed, proxy):
    database, whole = framed
    through = proxy()
    rows = messages_of(proxy, database)
    assert len(rows) >= 5
    # Of the message: its head, the row's, the prefix, the metadata, the body.
    for number, offset in itertools.product(rows, (0, 1, 5, 7, 11, 12, 19, 20, 200)):
        through.set_rules(f"server:message={number}:cut={offset}")
        done = read_through(through, database)
        if through.fired:
            assert_incomplete(done, whole, (number, offset))
        else:  # the message is shorter: the cut would fall into one that is counted on its own
            assert done.returncode == 0 and done.stdout == whole
    # What ends the COPY and the statement.
    for kind in "c", "C":
        through.set_rules(f"server:type={kind}:cut", )
        done = read_through(through, database)
        assert done.returncode in (0, 1) and (done.stdout == whole) == (done.returncode == 0), kind


def test_frames_in_slices_are_the_same_stream(framed, proxy):
    database, whole = framed
    for rule in "server:all:slice=1", "server:all:slice=13", "server:all:delay=1":
        done = read_through(proxy(rule), database)
        assert (done.returncode, done.stdout) == (0, whole), rule


def test_a_corrupt_head_of_a_frame_is_an_error(framed, proxy):
    """The parts that say what a message is and how long; of values that is for TLS."""
    database, whole = framed
    through = proxy()
    for number in messages_of(proxy, database)[1:4]:
        for byte in (0, 1, 5, 6, 7, 10, 11, 14, 15, 18):
            through.set_rules(f"server:message={number}:corrupt={byte}")
            assert_incomplete(read_through(through, database), whole, (number, byte))


def test_a_stall_within_a_frame_ends_with_a_signal(framed, proxy, start_penstock):
    database, whole = framed
    numbers = messages_of(proxy, database)
    for number, offset in (numbers[1], 3), (numbers[2], 100):
        through = proxy(f"server:message={number}:stall={offset}")
        child = start_penstock("read", through.url(database.name), "framed", *FRAMES)
        deadline = time.time() + DEADLINE
        while not through.fired:
            assert time.time() < deadline and child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=DEADLINE)
        assert child.returncode == 130 and whole.startswith(out) and not out.endswith(END), (number, offset)


# ---- Streams of several workers

def test_arrow_of_four_jobs_is_one_whole_stream(database, penstock):
    database.execute("CREATE TABLE t AS SELECT i, repeat('x', i % 300) AS t, ARRAY[i] AS a FROM generate_series(1, 50000) i")
    for transport in "assisted", "plain":
        done = penstock("read", database.url, "t", "--format", "arrow", "--jobs", 4, "--quiet", "--with",
                        "read.split-bytes=256kb", "--with", f"transport={transport}")
        assert done.out.endswith(END) and done.out.count(b"ARROW") == 0
        table = table_of(done.out)
        table.validate(full=True)
        assert sorted(table["i"].to_pylist()) == list(range(1, 50001))
        by = table.sort_by("i")
        assert by["t"].to_pylist() == ["x" * (i % 300) for i in range(1, 50001)]
        assert by["a"].to_pylist() == [[i] for i in range(1, 50001)]


def test_arrow_of_four_jobs_that_fails_has_no_end(database, penstock):
    database.execute("CREATE TABLE t AS SELECT i, CASE WHEN i = 49000 THEN 'infinity'::date END AS d, repeat('x', 300) AS t"
                     " FROM generate_series(1, 50000) i")
    done = penstock("read", database.url, "t", "--format", "arrow", "--jobs", 4, "--quiet", "--with",
                    "read.split-bytes=256kb", code=1)
    assert 'column "d" holds a value' in done.errors and not done.out.endswith(END)
