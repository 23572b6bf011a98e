"""penstock read: every option, every relation, every type, against COPY and row_to_json."""
import io
import json
import os
import stat
import subprocess
import time

import psycopg
import pyarrow as pa
import pyarrow.ipc
import pytest

from all_types import PINNED, copy_csv, create_every_type, create_user_types, records
from conftest import cuts

# Rows that differ from one session, or moment, to the next: compared by a copy of the rows.
MOVING = ("pg_stat", "pg_locks", "pg_settings", "pg_backend_memory_contexts", "pg_shmem_allocations",
          "pg_cursors", "pg_prepared_statements", "pg_class", "pg_depend", "pg_attribute",
          "pg_type", "pg_sequences", "pg_file_settings", "pg_wait")


def pinned(database):
    return database.connect(options="'" + PINNED.replace("'", "\\'") + "'")


def read_csv(penstock, database, relation, *args):
    return records(penstock("read", database.url, relation, "--quiet", *args).out)


@pytest.fixture(scope="module")
def filled(module_database):
    """A table of 100,000 rows over many blocks."""
    module_database.execute("""
        CREATE TABLE numbers AS SELECT i AS id, 'name ' || i AS name, i % 7 AS part,
            CASE WHEN i % 5 = 0 THEN NULL ELSE i * 1.5 END AS amount
        FROM generate_series(1, 100000) AS i;
        ANALYZE numbers""")
    return module_database


def relations(database):
    return [row[0] for row in database.execute("""
        SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_(toast|temp)'
        ORDER BY 1""")]


def test_csv_equals_copy_for_every_relation_of_a_fresh_database(penstock, database):
    create_every_type(database)
    create_user_types(database)
    wrong, compared = [], 0
    with pinned(database) as conn:
        for relation in relations(database):
            subject = relation
            if relation.split(".")[1].startswith(MOVING):
                try:
                    conn.execute("DROP TABLE IF EXISTS still")
                    conn.execute(f"CREATE TABLE still AS SELECT * FROM {relation}")
                    subject = "still"
                except Exception:  # anyarray has no column of its own
                    subject = relation
            try:
                want = records(copy_csv(conn, subject))
            except psycopg.Error:  # pg_shmem_allocations_numa where the machine has no NUMA
                penstock("read", database.url, subject, "--quiet", code=1)
                continue
            if read_csv(penstock, database, subject) != want:
                wrong.append(relation)
            compared += 1
    assert wrong == [] and compared > 100


def test_json_equals_row_to_json(penstock, database):
    """But for what COMMAND.md lists: json(b) null and strings, other lower bounds, inner breaks."""
    create_every_type(database)
    create_user_types(database)
    with pinned(database) as conn:
        for table in "every_type", "user_types":
            got = {}
            for line in penstock("read", database.url, table, "--format", "json").text.splitlines():
                row = json.loads(line, parse_float=str, parse_int=str)
                got[row["id"]] = (line, row)
            for id_, text in conn.execute(f"SELECT id::text, row_to_json(it)::text FROM {table} it"):
                want = json.loads(text, parse_float=str, parse_int=str)
                line, row = got.pop(id_)
                assert list(row) == list(want)
                for column in want:
                    if column in ("json", "jsonb") and (want[column] is None or
                                                        isinstance(want[column], str)):
                        value = conn.execute(f'SELECT "{column}"::text FROM {table} WHERE id = {id_}'
                                             ).fetchone()[0]
                        assert row[column] == value, column
                    elif isinstance(row[column], str) and isinstance(want[column], list):
                        value = conn.execute(f'SELECT "{column}"::text FROM {table} WHERE id = {id_}'
                                             ).fetchone()[0]
                        assert row[column] == value, column
                        # The lower bound of the two vectors is 0; a json list looks like a dimension.
                        assert (value.startswith("[") or column in ("int2vector", "oidvector") or
                                column in ("json[]", "jsonb[]") and value.startswith("{{")), column
                    else:
                        assert row[column] == want[column], (table, id_, column)
            assert got == {}


def test_json_without_odd_values_is_row_to_json_letter_by_letter(penstock, filled):
    want = [row[0] for row in filled.execute("SELECT row_to_json(t)::text FROM numbers t WHERE id < 1000 ORDER BY id")]
    got = penstock("read", filled.url, "numbers", "--format=json", "--where", "id < 1000", "--jobs=1").text
    assert got.splitlines() == want


def test_arrow_is_read_by_pyarrow(penstock, filled):
    done = penstock("read", filled.url, "numbers", "--format", "arrow")
    table = pa.ipc.open_stream(io.BytesIO(done.out)).read_all()
    assert table.num_rows == 100000 and table.column_names == ["id", "name", "part", "amount"]
    assert table.schema.field("id").type == pa.int32()
    assert sum(table["id"].to_pylist()) == 100000 * 100001 // 2
    assert table["amount"].null_count == 20000
    assert done.out.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("format", ["csv", "json", "arrow"])
def test_workers_write_one_stream_with_every_row_once(penstock, filled, jobs, format):
    done = penstock("read", filled.url, "numbers", "--format", format, "--jobs", jobs,
                    *cuts(filled.server, "id", 100000), "--with", "read.batch-rows=1000")
    if format == "arrow":
        ids = pa.ipc.open_stream(io.BytesIO(done.out)).read_all()["id"].to_pylist()
        assert done.out.count(b"\xff\xff\xff\xff\x00\x00\x00\x00") == 1
    elif format == "json":
        ids = [json.loads(line)["id"] for line in done.text.splitlines()]
    else:
        lines = done.text.splitlines()
        assert lines[0] == "id,name,part,amount" and lines.count(lines[0]) == 1
        ids = [int(line.split(",")[0]) for line in lines[1:]]
    assert sorted(ids) == list(range(1, 100001))
    assert f"jobs {jobs}" in done.errors


def test_jobs_default_is_four_or_the_cpus(penstock, filled):
    done = penstock("read", filled.url, "numbers", *cuts(filled.server, "id", 100000, "64kb"))
    cpus = os.sysconf("SC_NPROCESSORS_ONLN")
    assert f"jobs {min(4, cpus)}" in done.errors


def test_jobs_are_connections_on_the_server(start_penstock, filled):
    child = start_penstock("read", filled.url, "numbers", "--jobs", 3, "--max-rate", 20000,
                           *cuts(filled.server, "id", 100000))
    deadline = time.time() + 30
    seen = 0
    while seen < 3 and time.time() < deadline:
        seen = filled.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                            "AND application_name ~ '^penstock/[0-9.]+ read$' AND backend_xmin IS NOT NULL")
    child.kill()
    assert seen >= 3


def test_columns_where_and_limit(penstock, filled):
    text = penstock("read", filled.url, "numbers", "--columns", "part,id", "--where", "id BETWEEN 3 AND 5",
                    "--jobs", "1").text
    assert text == "part,id\n3,3\n4,4\n5,5\n"
    assert len(penstock("read", filled.url, "numbers", "--limit", "10").text.splitlines()) == 11
    assert penstock("read", filled.url, "numbers", "--limit", "0").text == "id,name,part,amount\n"


@pytest.mark.parametrize("format", ["csv", "json", "arrow"])
@pytest.mark.parametrize("limit", [1, 999, 70001, 200000])
def test_limit_is_exact_with_several_jobs(penstock, filled, limit, format):
    done = penstock("read", filled.url, "numbers", "--limit", limit, "--jobs", 4, "--format", format,
                    *(f"--with=scan.partition.{o}" for o in ("column=id", "num=8", "lower-bound=1", "upper-bound=100000")))
    assert "jobs 4" in done.errors
    if format == "arrow":
        table = pa.ipc.open_stream(io.BytesIO(done.out)).read_all()
        table.validate(full=True)
        rows, distinct = table.num_rows, len(set(table["id"].to_pylist()))
    else:
        lines = done.text.splitlines()[1 if format == "csv" else 0:]
        rows, distinct = len(lines), len(set(lines))
    assert rows == distinct == min(limit, 100000)


def test_query_is_read_by_one_job(penstock, filled):
    done = penstock("read", filled.url, "--query", "SELECT part, count(*) AS n FROM numbers GROUP BY 1 ORDER BY 1 LIMIT 2")
    assert done.text == "part,n\n0,14285\n1,14286\n"
    assert "reading a query" in done.errors and "jobs 1" in done.errors


@pytest.mark.since(18, "a virtual generated column")
@pytest.mark.parametrize("jobs", [1, 3])
def test_virtual_generated_columns_are_read(penstock, database, jobs):
    database.execute("""CREATE TABLE t (id int, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL);
        INSERT INTO t SELECT generate_series(1, 50000)""")
    args = ("--jobs", jobs, "--with", "read.split-bytes=256kb")
    lines = penstock("read", database.url, "t", *args).text.splitlines()
    assert sorted(lines[1:]) == sorted(f"{i},{2 * i}" for i in range(1, 50001))
    done = penstock("read", database.url, "t", "--format", "arrow", "--columns", "twice", "--where", "twice > 99990", *args)
    assert sorted(pa.ipc.open_stream(io.BytesIO(done.out)).read_all()["twice"].to_pylist()) == [99992, 99994, 99996, 99998, 100000]
    assert penstock("read", database.url, "t", "--limit", 1, "--format", "json", "--jobs", 1).text == '{"id":1,"twice":2}\n'


def test_delimiter_null_and_no_header(penstock, database):
    database.execute("CREATE TABLE t AS SELECT 1 AS a, NULL::text AS b, '' AS c, 'x;y' AS d")
    assert penstock("read", database.url, "t").text == 'a,b,c,d\n1,,"",x;y\n'
    assert penstock("read", database.url, "t", "--delimiter", ";", "--null", "~", "--no-header").text == \
        '1;~;;"x;y"\n'


def test_first_line_names_transport_and_jobs_and_with_passes_options(penstock, filled):
    done = penstock("read", filled.url, "numbers", "--with", "transport=plain", "--limit", 1)
    assert "transport plain" in done.errors.splitlines()[0]
    done = penstock("read", filled.url, "numbers", "--limit", 1)
    assert f"transport {filled.transport}" in done.errors.splitlines()[0]
    done = penstock("read", filled.url, "numbers", "--with", "transport=assisted", "--limit", 1, code=None)
    assert done.code == 0 if filled.transport == "assisted" else "CREATE EXTENSION penstock" in done.errors


def test_names_are_read_as_regclass_reads_them(penstock, database):
    database.execute("""CREATE SCHEMA s; CREATE TABLE s.inner AS SELECT 1 AS a; CREATE TABLE "Mixed" AS SELECT 2 AS a;
        CREATE TABLE "a.b" AS SELECT 3 AS a; CREATE TABLE "q""q" AS SELECT 4 AS a""")
    for name, value in [("s.inner", 1), ("S.INNER", 1), ('"Mixed"', 2), ('"a.b"', 3), ('public."q""q"', 4)]:
        assert penstock("read", database.url, name).text == f"a\n{value}\n"
    done = penstock("read", database.url, "Mixed", code=1)
    assert '"Mixed"' in done.errors and "hint" in done.errors
    assert "does not exist" in penstock("read", database.url, "nowhere", code=1).errors


def test_output_file_is_whole_or_absent(penstock, database, tmp_path):
    database.execute("CREATE TABLE t AS SELECT i AS a FROM generate_series(1, 1000) i; "
                     "CREATE VIEW bad AS SELECT 1 / (500 - i) AS a FROM generate_series(1, 1000) i")
    path = tmp_path / "t.csv"
    path.write_text("old")
    path.chmod(0o640)
    penstock("read", database.url, "bad", "-o", path, code=1)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["t.csv"]
    done = penstock("read", database.url, "t", "-o", path)
    assert done.out == b"" and len(path.read_text().splitlines()) == 1001
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and os.listdir(tmp_path) == ["t.csv"]


def test_output_file_is_not_seen_before_it_is_whole(start_penstock, filled, tmp_path):
    path = tmp_path / "t.csv"
    child = start_penstock("read", filled.url, "numbers", "-o", path, "--max-rate", 1000)
    deadline = time.time() + 30
    while not [f for f in os.listdir(tmp_path)] and time.time() < deadline:
        assert child.poll() is None
    assert os.listdir(tmp_path) and not path.exists()
    child.terminate()
    assert child.wait(30) == 143
    assert os.listdir(tmp_path) == []


def test_output_to_links_folders_pipes_and_devices(penstock, database, tmp_path):
    database.execute("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS a")
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    penstock("read", database.url, "s.t", "-o", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_text() == "a\n1\n"
    (tmp_path / "folder").mkdir()
    penstock("read", database.url, "s.t", "-o", tmp_path / "folder")
    assert (tmp_path / "folder" / "s.t.csv").read_text() == "a\n1\n"
    penstock("read", database.url, "s.t", "-o", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert penstock("read", database.url, "s.t", "-o", "-").text == "a\n1\n"
    assert penstock("read", database.url, "s.t", "-o", "/dev/full", code=1).errors.count("No space left") == 1
    assert "No such file" in penstock("read", database.url, "s.t", "-o", tmp_path / "no" / "t", code=1).errors


def test_output_to_a_fifo(penstock, database, tmp_path):
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE)
    try:
        penstock("read", database.url, "t", "-o", fifo)
        assert reader.communicate(timeout=30)[0] == b"a\n1\n" and stat.S_ISFIFO(fifo.stat().st_mode)
    finally:
        reader.kill()


def test_max_rate_holds_rows_back(penstock, filled):
    began = time.monotonic()
    done = penstock("read", filled.url, "numbers", "--limit", 3000, "--max-rate", 1500)
    took = time.monotonic() - began
    assert len(done.text.splitlines()) == 3001 and 1.5 < took < 6


def test_a_failing_worker_stops_the_others_and_is_named(penstock, filled):
    filled.execute("CREATE TABLE poison AS SELECT id, name FROM numbers; "
                   "CREATE OR REPLACE FUNCTION boom(int) RETURNS bool LANGUAGE plpgsql AS "
                   "$$ BEGIN IF $1 = 77777 THEN RAISE 'poisoned row' USING ERRCODE = 'P0042'; END IF; RETURN true; END $$")
    done = penstock("read", filled.url, "poison", "--where", "boom(id)", "--jobs", 3,
                    *cuts(filled.server, "id", 100000), code=1)
    assert done.errors.count("error:") == 1 and "poisoned row" in done.errors and "P0042" in done.errors


def test_special_values_stop_arrow_by_default_and_the_column_is_named(penstock, database):
    database.execute("CREATE TABLE t (id int PRIMARY KEY, at timestamptz); INSERT INTO t VALUES (7, 'infinity')")
    done = penstock("read", database.url, "t", "--format", "arrow", code=1)
    assert '"at"' in done.errors or " at " in done.errors
    assert "read.text-columns" in done.errors or "special-values" in done.errors
    for option, want in [("special-values=null", None), ("read.text-columns=at", "infinity")]:
        out = penstock("read", database.url, "t", "--format", "arrow", "--with", option).out
        assert pa.ipc.open_stream(io.BytesIO(out)).read_all()["at"].to_pylist() == [want]


def test_zero_columns_and_1600_columns(penstock, database):
    database.execute("CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES")
    with pinned(database) as conn:
        assert penstock("read", database.url, "none").out == copy_csv(conn, "none", "")
        conn.execute("CREATE TABLE wide (" + ", ".join(f"c{i} bool" for i in range(1600)) + ")")
        conn.execute("INSERT INTO wide (c0, c1599) VALUES (true, false)")
        assert penstock("read", database.url, "wide").out == copy_csv(conn, "wide")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_other_encodings_come_out_as_utf8(penstock, new_database, encoding):
    database = new_database(f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    with database.connect(client_encoding="UTF8" if encoding == "LATIN1" else "SQL_ASCII") as conn:
        conn.execute("CREATE TABLE t (a text)")
        conn.execute("INSERT INTO t VALUES ('é')" if encoding == "LATIN1" else
                     "INSERT INTO t VALUES (convert_from('\\xc3a9', 'SQL_ASCII'))")
    assert penstock("read", database.url, "t").out == "a\né\n".encode()
