"""csv and json through the command: every type's values are read as the server writes them; keys that
a line lacks are left alone; what is wrong is named."""
import json

import pytest

from all_types import create_every_value

# What json says otherwise than row_to_json, since it would not read back (docs/formats.md): what may
# hold a json null or string; arrays with another lower bound, as vectors are; types that have a
# cast to json; arrays whose elements are arrays, or have another delimiter.
OTHER_JSON = ("json", "jsonb", "json[]", "jsonb[]", "int4[]", "date[]", "int2vector", "oidvector", "words[]",
              "holder", "holder[]", "bounded", "bounded[]", "dict", "dict[]", "dicty", "semi[]", "semis")

@pytest.fixture(scope="module")
def every(module_database):
    """Table every(n, c0, c1, …); {column: type}."""
    with module_database.connect() as conn:
        columns = create_every_value(conn, "every")
    assert len(columns) > 120
    return columns


def pinned(conn):
    conn.execute("SET timezone = 'UTC'; SET intervalstyle = postgres; SET lc_monetary = 'C';"
                 "SET extra_float_digits = 3")


def test_csv_is_copys_byte_for_byte(every, module_database, penstock):
    with module_database.connect() as conn:
        pinned(conn)
        with conn.cursor().copy("COPY (SELECT * FROM every) TO STDOUT (FORMAT csv, HEADER)") as copy:
            want = b"".join(bytes(piece) for piece in copy)
    assert penstock("read", module_database.url, "every", "--jobs", "1", "--quiet").out == want


def test_json_is_row_to_json(every, module_database, penstock):
    columns = ", ".join(["n"] + [c for c, name in every.items() if name not in OTHER_JSON])
    with module_database.connect() as conn:
        pinned(conn)
        want = [row[0] for row in conn.execute(
            f"SELECT row_to_json(t)::text FROM (SELECT {columns} FROM every) t ORDER BY n")]
    got = penstock("read", module_database.url, "every", "--format", "json", "--jobs", "1", "--quiet",
                   "--columns", columns.replace(" ", ""))
    assert got.text == "".join(line + "\n" for line in want)


def test_absent_keys_keep_value_or_default(database, penstock):
    database.execute("CREATE TABLE t (k int PRIMARY KEY, a text DEFAULT 'd', b text DEFAULT 'e');"
                     "INSERT INTO t VALUES (1, 'x', 'y'), (2, 'x', 'y')")
    penstock("write", database.url, "t", "--format", "json", "--quiet", input=(
        '{"k":1,"a":"new"}\n{"k":2,"b":null}\n{"k":3}\n{"k":4,"a":null}\n{"b":"z","k":5}\n'))
    assert database.execute("SELECT * FROM t ORDER BY k") == [
        (1, "new", "y"), (2, "x", None), (3, "d", "e"), (4, None, "e"), (5, "d", "z")]


def test_absent_keys_in_append(database, penstock):
    database.execute("CREATE TABLE t (n serial, a text DEFAULT 'd', b text DEFAULT 'e')")
    penstock("write", database.url, "t", "--format", "json", "--quiet",
             input='{"a":"1"}\n{"b":null}\n{}\n{"a":"2","b":"x"}\n')
    assert sorted(database.execute("SELECT a, coalesce(b, '~') FROM t")) == [
        ("1", "e"), ("2", "x"), ("d", "e"), ("d", "~")]
    assert database.value("SELECT count(n) FROM t") == 4


def test_row_kinds_of_csv_and_json(database, penstock):
    database.execute("CREATE TABLE t (k int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    penstock("write", database.url, "t", "--mode", "changelog", "--row-kind-column", "op", "--quiet",
             input="op,k,a\n-D,1,x\n-U,2,y\n+U,2,z\n,3,w\n")
    assert database.execute("SELECT * FROM t ORDER BY k") == [(2, "z"), (3, "w")]
    penstock("write", database.url, "t", "--mode", "changelog", "--format", "json",
             "--row-kind-column", "op", "--quiet",
             input='{"op":"-D","k":2,"a":"z"}\n{"k":4,"a":"v"}\n')
    assert database.execute("SELECT * FROM t ORDER BY k") == [(3, "w"), (4, "v")]


@pytest.mark.parametrize("form,text,part", [
    ("csv", "k,bravo\n1,x\n2\n", "record 2 (line 3): too few fields"),
    ("csv", "k,brave\n1,x\n", 'has no column "brave"'),
    ("csv", 'k,bravo\n1,"x\n', "a quoted field is not closed"),
    ("json", '{"k":1,"bravo":"x"}\n{"k":}\n', "line 2, column 6"),
    ("json", '{"k":1,"brave":"x"}\n', 'has no column "brave"'),
    ("json", '{"k":1,"k":2}\n', "a key stands twice"),
])
def test_what_is_wrong_is_named(database, penstock, form, text, part):
    database.execute("CREATE TABLE t (k int PRIMARY KEY, bravo text)")
    done = penstock("write", database.url, "t", "--format", form, "--quiet", input=text, code=1)
    assert part in done.errors
    if "brave" in text:
        assert 'Did you mean "bravo"?' in done.errors


def test_many_columns_and_none(database, penstock):
    names = [f"c{i}" for i in range(1600)]
    database.execute(f"CREATE TABLE wide ({', '.join(f'{n} int' for n in names)});"
                     f"INSERT INTO wide SELECT {', '.join('g' for _ in names)} FROM generate_series(1, 50) g;"
                     "CREATE TABLE wide_copy (LIKE wide);"
                     "CREATE TABLE none (); INSERT INTO none SELECT FROM generate_series(1, 3);"
                     "CREATE TABLE none_copy ()")
    for form in ("csv", "json"):
        for table in ("wide", "none"):
            read = penstock("read", database.url, table, "--format", form, "--quiet")
            if form == "json":
                assert all(len(json.loads(line)) in (0, 1600) for line in read.text.splitlines())
            database.execute(f"TRUNCATE {table}_copy")
            penstock("write", database.url, f"{table}_copy", "--format", form, "--quiet",
                     input=read.out)
            assert database.value(f"SELECT count(*) FROM {table}_copy") == database.value(
                f"SELECT count(*) FROM {table}")
    assert database.value("SELECT count(*) FROM wide a JOIN wide_copy b ON a = b") == 50
