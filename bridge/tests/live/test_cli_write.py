"""penstock write and copy: formats, modes, --create, failures, round trips of every type."""
import io
import json
import os
import time

import pyarrow as pa
import pyarrow.ipc
import pytest

from all_types import PINNED, copy_csv, create_every_type, create_user_types, records
from conftest import cuts


def pinned(database):
    return database.connect(options="'" + PINNED + "'")


def ipc(table):
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def rows(database, table="t", order="1"):
    return database.execute(f"SELECT * FROM {table} ORDER BY {order}")


def differences(want, got, table, table2):
    """(id, column, want, got) of every value that differs, NULL and text apart."""
    columns = [r[0] for r in want.execute(f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 "
                                          "AND NOT attisdropped ORDER BY attnum")]
    out = []
    for column in columns:
        name = '"' + column.replace('"', '""') + '"'
        query = "SELECT id, format('%%s', {0}), {0} IS NULL AND num_nulls({0}) = 1 FROM {1} ORDER BY id"
        for a, b in zip(want.execute(query.format(name, table), ()).fetchall(),
                        got.execute(query.format(name, table2), ()).fetchall(), strict=True):
            if a != b:
                out.append((column, a, b))
    return out


# ---- round trips ----

@pytest.mark.parametrize("format", ["csv", "json"])
@pytest.mark.parametrize("source", ["every_type", "user_types"])
def test_every_type_writes_back_unchanged(penstock, database, source, format):
    (create_every_type if source == "every_type" else create_user_types)(database)
    database.execute(f"CREATE TABLE back (LIKE {source} INCLUDING ALL)")
    data = penstock("read", database.url, source, "--format", format).out
    penstock("write", database.url, "back", "--format", format, input=data)
    with pinned(database) as conn:
        wrong = differences(conn, conn, source, "back")
        if format == "json":  # white space around the tokens of a json value is not kept
            wrong = [d for d in wrong if d[0] != "json" or d[1][1].split() != d[2][1].split()]
        assert wrong == []


def test_types_with_an_arrow_form_write_back_by_arrow(penstock, database):
    database.execute("""
        CREATE TABLE t (b bool, i2 int2, i4 int4, i8 int8 PRIMARY KEY, f4 float4, f8 float8, d date, tm time,
            ts timestamp, tz timestamptz, iv interval, by bytea, tx text, u uuid, j json, jb jsonb,
            n numeric(20,3), n0 numeric, l int4[], lt text[], c char(5), v varchar(9), inet inet);
        INSERT INTO t VALUES (true, -1, 2, 3, 1.5, 0.1, '2020-02-29', '23:59:59.999999', '1969-12-31 23:59:59.999999',
            '2020-01-01 00:00:00+02', '1 mon 2 days 00:00:03', '\\x00ff', 'é', '00112233-4455-6677-8899-aabbccddeeff',
            '{"a" : 1}', '{"a": 1}', -12345678901234567.891, 1e30, '{1,NULL,3}', '{a,"b c",NULL}', 'ab', 'abc', '1.2.3.4'),
            (NULL, NULL, NULL, 4, 'NaN', '-Infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, '{}', NULL, NULL, NULL);
        CREATE TABLE back (LIKE t INCLUDING ALL)""")
    data = penstock("read", database.url, "t", "--format", "arrow").out
    penstock("write", database.url, "back", "--format", "arrow", input=data)
    with pinned(database) as conn:
        assert records(copy_csv(conn, "back")) == records(copy_csv(conn, "t"))


# ---- modes ----

def test_mode_is_upsert_with_a_primary_key_and_append_without(penstock, database):
    database.execute("CREATE TABLE keyed (id int PRIMARY KEY, a text); CREATE TABLE plain (id int, a text)")
    for table, mode, count in ("keyed", "upsert", 1), ("plain", "append", 2):
        for value in "xy":
            done = penstock("write", database.url, table, input=f"id,a\n1,{value}\n")
            assert f"mode {mode}" in done.errors.splitlines()[0] and "transport plain" in done.errors
        assert database.value(f"SELECT count(*) FROM {table}") == count
        assert database.value(f"SELECT max(a) FROM {table}") == "y"


def test_modes_append_and_delete(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    done = penstock("write", database.url, "t", "--mode", "append", input="id,a\n1,z\n", code=1)
    assert "23505" in done.errors and "(1)" in done.errors and "0 rows were committed" in done.errors
    penstock("write", database.url, "t", "--mode", "delete", input="id\n1\n")
    assert rows(database) == [(2, "y")]


@pytest.mark.parametrize("args, column", [([], "row_kind"), (["--row-kind-column", "op"], "op")])
def test_changelog_obeys_the_row_kind_and_does_not_write_it(penstock, database, args, column):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    penstock("write", database.url, "t", "--mode", "changelog", *args,
             input=f"{column},id,a\n+I,3,z\n-U,1,x\n+U,1,w\n-D,2,y\n")
    assert rows(database) == [(1, "w"), (3, "z")]


def test_changelog_without_the_column_inserts(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    penstock("write", database.url, "t", "--mode", "changelog", input="id,a\n1,x\n")
    assert rows(database) == [(1, "x")]


# ---- columns ----

def test_columns_go_by_name_and_missing_ones_keep_what_they_have(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a text DEFAULT 'dflt', b int); INSERT INTO t VALUES (1, 'old', 5)")
    penstock("write", database.url, "t", input="b,id\n6,1\n7,2\n")
    assert rows(database) == [(1, "old", 6), (2, "dflt", 7)]
    penstock("write", database.url, "t", "--format", "json", input='{"id":1,"a":null}\n{"id":3,"b":9}\n{"b":8,"id":2}\n')
    assert rows(database) == [(1, None, 6), (2, "dflt", 8), (3, "dflt", 9)]
    done = penstock("write", database.url, "t", input="id,nope\n1,2\n", code=None)
    assert done.code in (1, 2) and '"nope"' in done.errors


@pytest.mark.since(12, "a generated column")
def test_generated_and_identity_columns_are_left_to_the_server(penstock, database):
    database.execute("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED)")
    penstock("write", database.url, "t", "--mode", "append", input="a\n5\n")
    penstock("write", database.url, "t", "--mode", "append", "--format", "json", input='{"a":6}\n')
    assert rows(database) == [(1, 5, 10), (2, 6, 12)]


def test_delimiter_null_and_no_header(penstock, database):
    database.execute("CREATE TABLE t (a text, b text)")
    penstock("write", database.url, "t", "--delimiter", ";", "--null", "~", "--no-header", input='x;~\n"~";y,z\n')
    assert rows(database) == [("x", None), ("~", "y,z")] or rows(database) == [("~", "y,z"), ("x", None)]


# ---- input ----

def test_input_is_a_file_or_standard_input(penstock, database, tmp_path):
    database.execute("CREATE TABLE t (a int)")
    path = tmp_path / "in.csv"
    path.write_text("a\n1\n")
    penstock("write", database.url, "t", path)
    penstock("write", database.url, "t", "-", input="a\n2\n")
    penstock("write", database.url, "t", input="a\n3\n")
    assert rows(database) == [(1,), (2,), (3,)]
    assert "No such file" in penstock("write", database.url, "t", tmp_path / "none", code=1).errors
    assert "directory" in penstock("write", database.url, "t", tmp_path, code=1).errors


def test_a_pausing_input_is_flushed_by_time(start_penstock, database):
    database.execute("CREATE TABLE t (a int)")
    child = start_penstock("write", database.url, "t", "--with", "sink.buffer-flush.interval=200ms")
    child.stdin.write(b"a\n1\n2\n")
    child.stdin.flush()
    deadline = time.time() + 20
    while database.value("SELECT count(*) FROM t") < 2 and time.time() < deadline:
        assert child.poll() is None
    assert database.value("SELECT count(*) FROM t") == 2
    child.stdin.write(b"3\n")
    child.stdin.close()
    assert child.wait(30) == 0 and database.value("SELECT count(*) FROM t") == 3


def test_empty_inputs_write_nothing(penstock, database):
    database.execute("CREATE TABLE t (a int)")
    penstock("write", database.url, "t", input="a\n")
    penstock("write", database.url, "t", "--format", "json", input="")
    assert rows(database) == []


def test_a_cut_arrow_stream_is_an_error(penstock, database):
    database.execute("CREATE TABLE t (a bigint)")
    data = ipc(pa.table({"a": list(range(10))}))
    assert penstock("write", database.url, "t", "--format", "arrow", input=data[:-8], code=1).errors
    assert database.value("SELECT count(*) FROM t") == 0


# ---- failures ----

def test_a_refused_row_is_named_and_what_was_flushed_before_is_told(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a int CHECK (a < 100))")
    body = "id,a\n" + "".join(f"{i},{100 if i == 2500 else 1}\n" for i in range(1, 3001))
    done = penstock("write", database.url, "t", "--with", "sink.buffer-flush.max-rows=1000", input=body, code=1)
    assert "23514" in done.errors and "2500" in done.errors
    assert "2000 rows were committed" in done.errors
    assert database.value("SELECT count(*) FROM t") == 2000


def test_a_bad_value_and_a_bad_record_are_named(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a int)")
    done = penstock("write", database.url, "t", input="id,a\n1,2\n2,two\n", code=1)
    assert '"two"' in done.errors and "column: a" in done.errors.replace('"', "")
    assert penstock("write", database.url, "t", input="id,a\n1,2,3\n", code=1).errors
    assert penstock("write", database.url, "t", "--format", "json", input='{"id":1\n', code=1).errors
    assert rows(database) == []


def test_on_error_skip_counts_what_it_leaves_out(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, a int CHECK (a < 100))")
    done = penstock("write", database.url, "t", "--with", "on-error=skip", input="id,a\n1,1\n2,200\n3,3\n")
    assert rows(database) == [(1, 1), (3, 3)] and "1 row was left out" in done.errors


def test_a_target_without_the_key_names_the_index_to_create(penstock, database):
    database.execute("CREATE TABLE t (id int, a int)")
    done = penstock("write", database.url, "t", "--mode", "upsert", "--with", "sink.key=id", input="id,a\n1,1\n", code=None)
    assert done.code in (1, 2) and "CREATE UNIQUE INDEX" in done.errors


# ---- --create ----

def test_create_makes_text_columns_for_csv_and_json_with_a_notice(penstock, database):
    for format, data in ("csv", "id,a b\n1,x\n"), ("json", '{"id":1,"a b":"x"}\n'):
        done = penstock("write", database.url, f"t_{format}", "--create", "--format", format, input=data)
        assert "type text" in done.errors
        assert database.execute("SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = "
                                f"'t_{format}'::regclass AND attnum > 0 ORDER BY attnum") == [("id", "text"), ("a b", "text")]
        assert rows(database, f"t_{format}") == [("1", "x")]


def test_create_makes_arrow_types_and_a_key(penstock, database):
    table = pa.table({"id": pa.array([1, 2], pa.int64()), "at": pa.array([0, None], pa.timestamp("us", "UTC")),
                      "amount": pa.array([1, 2], pa.int32()).cast(pa.decimal128(12, 2))})
    for _ in range(2):
        done = penstock("write", database.url, "t", "--create", "--with", "sink.key=id", "--format", "arrow", input=ipc(table))
        assert "mode upsert" in done.errors
    assert database.execute("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass "
                            "AND attnum > 0 ORDER BY attnum") == [("bigint",), ("timestamp with time zone",), ("numeric(12,2)",)]
    assert database.value("SELECT count(*) FROM t") == 2


def test_create_takes_an_existing_table_only_when_it_is_compatible(penstock, database):
    database.execute("CREATE TABLE t (id int, a text)")
    penstock("write", database.url, "t", "--create", input="id,a\n1,x\n")
    assert rows(database) == [(1, "x")]
    assert penstock("write", database.url, "t", "--create", input="id,other\n1,x\n", code=None).code in (1, 2)
    assert penstock("write", database.url, "t", "--create", "--format", "arrow", code=None,
                    input=ipc(pa.table({"other": [1]}))).code in (1, 2)
    assert rows(database) == [(1, "x")]


def test_without_create_an_absent_table_is_an_error_with_a_hint(penstock, database):
    done = penstock("write", database.url, "t", input="a\n1\n", code=1)
    assert "does not exist" in done.errors and "hint" in done.errors


def test_max_rate_holds_rows_back_and_flushes_meanwhile(start_penstock, database, tmp_path):
    database.execute("CREATE TABLE t (a int)")
    path = tmp_path / "in.csv"
    path.write_text("a\n" + "".join(f"{i}\n" for i in range(4000)))
    began = time.monotonic()
    child = start_penstock("write", database.url, "t", path, "--max-rate", 1000, "--with", "sink.buffer-flush.interval=300ms")
    seen = 0
    while child.poll() is None:
        seen = max(seen, database.value("SELECT count(*) FROM t") % 4000)
    assert child.wait() == 0 and 3 < time.monotonic() - began < 12
    assert seen > 0 and database.value("SELECT count(*) FROM t") == 4000


# ---- copy ----

@pytest.fixture
def pair(new_database):
    source, target = new_database(), new_database()
    source.execute("""CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(12,2), at timestamptz);
        INSERT INTO t SELECT i, 'n' || i, i / 3.0, '2020-01-01'::timestamptz + i * interval '1 s' FROM generate_series(1, 50000) i;
        ANALYZE t""")
    return source, target


def checksum(database, table):
    return database.execute(f"SELECT count(*), sum(hashtext(x::text)::bigint) FROM {table} x")


@pytest.mark.parametrize("jobs", [1, 3])
def test_copy_creates_the_target_with_types_and_key(penstock, pair, jobs):
    source, target = pair
    done = penstock("copy", source.url, "t", target.url, "public.t2", "--create", "--jobs", jobs, *cuts(source.server, "id", 50000, "512kb"))
    assert "mode append" in done.errors and f"jobs {jobs}" in done.errors and "transport plain" in done.errors
    assert checksum(source, "t") == checksum(target, "t2")
    describe = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{}'::regclass AND attnum > 0 ORDER BY attnum"
    assert source.execute(describe.format("t")) == target.execute(describe.format("t2"))
    assert target.value("SELECT count(*) FROM pg_index WHERE indrelid = 't2'::regclass AND indisprimary") == 1
    penstock("copy", source.url, "t", target.url, "t2", "--create")
    assert checksum(source, "t") == checksum(target, "t2")


def test_copy_modes(penstock, pair):
    source, target = pair
    target.execute("CREATE TABLE t (id int, name text, amount numeric, at timestamptz)")
    for count in 50000, 100000:
        assert "mode append" in penstock("copy", source.url, "t", target.url, "t").errors
        assert target.value("SELECT count(*) FROM t") == count
    target.execute("DELETE FROM t WHERE ctid NOT IN (SELECT min(ctid) FROM t GROUP BY id); CREATE UNIQUE INDEX ON t (id); ALTER TABLE t ALTER id SET NOT NULL")
    source.execute("DELETE FROM t WHERE id <= 49990")
    penstock("copy", source.url, "t", target.url, "t", "--mode", "delete", "--with", "sink.key=id")
    assert target.value("SELECT count(*) FROM t") == 49990


def test_copy_names_the_failure_of_a_worker_and_says_what_stays(penstock, pair):
    source, target = pair
    target.execute("CREATE TABLE t (id int PRIMARY KEY, name text CHECK (name <> 'n44444'), amount numeric, at timestamptz)")
    done = penstock("copy", source.url, "t", target.url, "t", "--jobs", 3, *cuts(source.server, "id", 50000, "512kb"), code=1)
    assert done.errors.count("error:") == 1 and "23514" in done.errors and "44444" in done.errors
    kept = int(done.errors.split(" rows were committed")[0].split()[-1])
    assert target.value("SELECT count(*) FROM t") == kept


def test_copy_of_a_missing_table_makes_no_target(penstock, pair):
    source, target = pair
    assert "does not exist" in penstock("copy", source.url, "nope", target.url, "t2", "--create", code=1).errors
    assert target.value("SELECT to_regclass('t2')") is None


def test_copy_carries_every_type(penstock, new_database):
    source, target = new_database(), new_database()
    create_every_type(source)
    penstock("copy", source.url, "every_type", target.url, "every_type", "--create", "--with", "read.text-columns=*")
    with pinned(source) as a, pinned(target) as b:
        assert records(copy_csv(a, "every_type")) == records(copy_csv(b, "every_type"))


@pytest.mark.parametrize("command", ["write", "copy"])
def test_rows_in_doubt_are_said_to_be_so_and_no_table_is_dropped_under_them(penstock, pair, command):
    source, target = pair
    source.execute("DELETE FROM t WHERE id > 2")
    csv = penstock("read", source.url, "t", "--format", "csv").out
    args = ["write", target.url, "made"] if command == "write" else ["copy", source.url, "t", target.url, "made"]
    done = penstock(*args, "--create", "--log", "json", input=csv, failpoints="sink.after_commit=error@1", code=1)
    lines = {line.get("event"): line for line in map(json.loads, done.errors.splitlines())}
    assert lines["kept"]["rows_committed"] == 0 and lines["kept"]["rows_in_doubt"] == 2
    assert "2 more are in doubt" in lines["kept"]["message"] and "discard" not in lines["error"]["hint"]
    assert "dropped" not in lines and "stays" not in done.errors
    assert target.value("SELECT count(*) FROM made") == 2


def test_changes_by_key_that_cannot_be_settled_are_in_doubt_too(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v int)")
    role = "penstock_no_ending"
    database.execute(f"""DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN; GRANT ALL ON t TO {role};
        REVOKE EXECUTE ON FUNCTION pg_stat_get_activity(int) FROM PUBLIC""")
    done = penstock("write", database.url, "t", "--username", role, "--log", "json", input="id,v\n1,5\n2,6\n",
                    failpoints="sink.after_commit=error@1", code=None)
    database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    kept = [line for line in map(json.loads, done.errors.splitlines()) if line.get("event") == "kept"]
    assert done.code != 0 and kept[0]["rows_committed"] == 0 and kept[0]["rows_in_doubt"] == 2, done.errors
    assert database.value("SELECT count(*) FROM t") == 2


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline


def made(database, table):
    return database.value("SELECT to_regclass(%s) IS NOT NULL", [table])


def test_copy_into_a_table_just_made_appends(penstock, pair):
    source, target = pair
    assert "mode append" in penstock("copy", source.url, "t", target.url, "t", "--create").errors
    assert checksum(source, "t") == checksum(target, "t")
    assert "mode upsert" in penstock("copy", source.url, "t", target.url, "t", "--create").errors
    assert "mode upsert" in penstock("copy", source.url, "t", target.url, "t2", "--create", "--mode", "upsert").errors
    assert "mode upsert" in penstock("copy", source.url, "t", target.url, "t3", "--create", "--with", "sink.method=copy").errors
    assert "mode upsert" in penstock("copy", source.url, "t", target.url, "t4", "--create", "--with", "special-values=null").errors
    assert checksum(source, "t") == checksum(target, "t2") == checksum(target, "t3") == checksum(target, "t4")


def test_copy_upserts_keys_that_come_twice_by_inheritance(penstock, pair):
    source, target = pair
    source.execute("CREATE TABLE child () INHERITS (t); INSERT INTO child SELECT * FROM t WHERE id = 7")
    assert "mode upsert" in penstock("copy", source.url, "t", target.url, "t", "--create").errors
    assert target.value("SELECT count(*) FROM t") == 50000


@pytest.mark.since(11, "a key of a partitioned table")
def test_copy_of_a_partitioned_table_into_one_just_made_appends(penstock, pair):
    source, target = pair
    source.execute("""CREATE TABLE p (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (500); CREATE TABLE p2 PARTITION OF p DEFAULT;
        INSERT INTO p SELECT i, i FROM generate_series(1, 1000) i""")
    assert "mode append" in penstock("copy", source.url, "p", target.url, "p", "--create").errors
    assert checksum(source, "p") == checksum(target, "p")


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_copy_that_fails_leaves_no_empty_table_behind(penstock, pair, jobs):
    source, target = pair
    source.execute("CREATE TABLE n (id int PRIMARY KEY, a numeric(12,2)); INSERT INTO n SELECT i, 'NaN' FROM generate_series(1, 9) i")
    fails = ("--create", "--with", "read.values=arrow")  # which has no place for NaN
    done = penstock("copy", source.url, "n", target.url, "n", *fails, "--jobs", jobs, code=1)
    assert "which this command had made, is dropped again" in done.errors and "committed" not in done.errors
    assert not made(target, "n")
    target.execute("CREATE TABLE n (id int PRIMARY KEY, a numeric(12,2))")
    penstock("copy", source.url, "n", target.url, "n", *fails, code=1)
    assert made(target, "n")


def test_a_write_that_fails_leaves_no_empty_table_behind(penstock, database):
    for args, body in ((["--with", "sink.key=a"], "a,b\n1,2\n,3\n"), ([], "a,b\n1,2\n1,2,3\n")):
        done = penstock("write", database.url, "t", "--create", *args, input=body, code=1)
        assert "dropped again" in done.errors and not made(database, "t")
    done = penstock("write", database.url, "t", "--create", "--with", "sink.progress.schema=public", input="a\n1\n", code=2)
    assert not made(database, "t")


def test_a_write_that_fails_keeps_the_table_it_made_for_rows(penstock, database):
    body = "a,b\n" + "".join(f"{i},x\n" for i in range(2000)) + "1,2,3\n"
    done = penstock("write", database.url, "t", "--create", "--with", "sink.buffer-flush.max-rows=1000", input=body, code=1)
    assert "2000 rows were committed to public.t, which this command has made, before that and stay" in done.errors
    assert database.value("SELECT count(*) FROM t") == 2000


def test_a_failing_write_never_drops_the_rows_of_another(start_penstock, penstock, database):
    child = start_and_make(start_penstock, database)
    penstock("write", database.url, "t", "--create", input="a,b\n3,4\n")
    assert b"stays: table public.t is not empty" in child.communicate(b"1,2,3\n", timeout=60)[1]
    assert child.returncode == 1 and rows(database) == [("3", "4")]


def start_and_make(start_penstock, database):
    """A write with --create that has made the table t and waits for more input."""
    child = start_penstock("write", database.url, "t", "--create", "--with", "sink.buffer-flush.interval=0")
    child.stdin.write(b"a,b\n1,2\n")
    child.stdin.flush()
    wait_for(lambda: made(database, "t"))
    return child


def test_a_failing_write_never_drops_a_table_that_took_the_name(start_penstock, database):
    child = start_and_make(start_penstock, database)
    database.execute("DROP TABLE t; CREATE TABLE t (mine int)")
    assert b"dropped" not in child.communicate(b"1,2,3\n", timeout=60)[1]
    assert child.returncode == 1 and made(database, "t")


def test_a_failing_write_waits_for_the_rows_of_another_and_leaves_them(start_penstock, database):
    child = start_and_make(start_penstock, database)
    with database.connect() as other:
        other.execute("BEGIN; INSERT INTO t VALUES (3, 4)")
        errors = child.communicate(b"1,2,3\n", timeout=60)[1]
        other.execute("COMMIT")
    assert b"stays" in errors and rows(database) == [("3", "4")]


@pytest.mark.parametrize("what", ["TABLE t (a text, b text)", "TYPE t AS ENUM ('a')"])
def test_a_table_that_another_makes_at_the_same_time_counts_as_there(start_penstock, database, what):
    with database.connect() as other:
        other.execute(f"BEGIN; CREATE {what}")
        child = start_penstock("write", database.url, "t", "--create")
        child.stdin.write(b"a,b\n1,2\n")
        child.stdin.close()
        child.stdin = None
        wait_for(lambda: database.value("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
        other.execute("COMMIT")
    errors = child.communicate(timeout=60)[1]
    assert child.returncode == (0 if "TABLE" in what else 1), errors
    if "TABLE" in what:
        assert rows(database) == [("1", "2")]
    else:
        assert b"another session has just made" in errors, errors


def test_a_connection_cut_at_any_message_leaves_no_table_without_its_rows(penstock, database, proxy):
    def write(rule, code):
        through = proxy(*rule)
        done = penstock("write", through.url(database.name), "t", "--create", "--with", "sink.max-retries=0",
                        input="a,b\n1,2\n", code=code)  # fmt: skip
        there, database_rows = made(database, "t"), made(database, "t") and rows(database)
        database.execute("DROP TABLE IF EXISTS t")
        return through.sessions[0], done.code, there and database_rows

    first, _, _ = write([], 0)
    for side, types in {"client": first.client.types, "server": first.server.types}.items():
        for message in range(1, len(types) + 1):
            _, code, got = write([f"1/{side}:message={message}:cut"], None)
            assert got == ([("1", "2")] if code == 0 else False), (side, message, code)


def test_a_signal_takes_the_table_made_away(start_penstock, database):
    child = start_and_make(start_penstock, database)
    child.send_signal(2)
    assert child.wait(60) == 130 and not made(database, "t")
