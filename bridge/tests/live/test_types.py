"""Types on both ways: what every type holds goes through every format and through copy unchanged, but
for what docs/types.md says."""
import io

import pyarrow
import pytest

from all_types import create_every_value


def arrow_of(done):
    return pyarrow.ipc.open_stream(io.BytesIO(done.out)).read_all()


@pytest.mark.parametrize("special,want", [
    ("null", [None, None, None, None]),
    ("clamp", [None, "9999-12-31", "9999-12-31 23:59:59.999999", [1, 2]]),
])
def test_special_values_of_not_null_columns_become_null_or_near(database, penstock, special, want):
    database.execute("CREATE TABLE t (k int NOT NULL, n numeric(5,2) NOT NULL, d date NOT NULL,"
                     " ts timestamp NOT NULL, a int[] NOT NULL);"
                     "INSERT INTO t VALUES (1, 'NaN', 'infinity', 'infinity', '[0:1]={1,2}')")
    read = penstock("read", database.url, "t", "--format", "arrow", "--with", f"special-values={special}",
                    "--quiet")
    table = arrow_of(read)
    got = [value if value is None or isinstance(value, list) else str(value)
           for value in (table.column(name)[0].as_py() for name in ("n", "d", "ts", "a"))]
    assert got == want
    # A field says NOT NULL only where no NULL can come.
    assert not table.schema.field("k").nullable
    for name, value in zip(("n", "d", "ts", "a"), want):
        assert table.schema.field(name).nullable == (value is None)


@pytest.fixture(scope="module")
def every(module_database):
    """Table every(n, c0, c1, …) and every_copy like it; {column: type}."""
    with module_database.connect() as conn:
        columns = create_every_value(conn, "every")
        conn.execute("CREATE TABLE every_copy (LIKE every, PRIMARY KEY (n))")
    return columns


def differences(database, columns, target="every_copy", spaces=()):
    """What stands in the target otherwise than in every: {(row, type): (was, is)}. Texts are compared,
    since some types have no equality, and -0 equals 0. White space does not count in types `spaces`."""
    found = {}
    for column, name in columns.items():
        text = "btrim(translate({}::text, E'\\n', ' '))" if name in spaces else "{}::text"
        for n, was, now in database.execute(
                f"SELECT n, a.{column}::text, b.{column}::text FROM every a FULL JOIN {target} b USING (n)"
                f" WHERE {text.format(f'a.{column}')} IS DISTINCT FROM {text.format(f'b.{column}')}"):
            found[n, name] = (was, now)
    return found


# What does not come back, and what is there instead: the tables "Special values" and "What is kept" of
# docs/types.md.
JSON_SPACES = ("json", "json[]")
ARROW_LOSES = {
    "numeric(10,2)": {"NaN": None},
    "date": dict.fromkeys(["infinity", "-infinity", "4713-11-24 BC", "5874897-12-31", "0001-01-01 BC"]),
    "time": {"24:00:00": None},
    "timestamp": dict.fromkeys(["infinity", "-infinity", "4713-11-24 00:00:00 BC",
                                "294276-12-31 23:59:59.999999", "0044-03-15 12:00:00 BC"]),
    "timestamptz": dict.fromkeys(["infinity", "-infinity", "4713-11-25 00:00:00+00 BC",
                                  "294276-12-31 23:59:59.999999+00"]),
    "interval": dict.fromkeys(["2562047788:00:54.775807", "infinity", "-infinity"]),
    "date[]": {'{-infinity,2000-01-01,"0044-03-15 BC",NULL}': "{NULL,2000-01-01,NULL,NULL}",
               "[0:0]={infinity}": None},
    "time[]": {"{24:00:00,00:00:00}": "{NULL,00:00:00}"},
    "timestamp[]": {'{infinity,"2000-01-01 00:00:00.5","0044-03-15 00:00:00 BC"}':
                    '{NULL,"2000-01-01 00:00:00.5",NULL}'},
    "interval[]": {'{"1 day",2562047788:00:54.775807}': '{"1 day",NULL}',
                   "{infinity,-infinity}": "{NULL,NULL}"},
    "numeric(9,2)[]": {"{NaN,1.50,NULL}": "{NULL,1.50,NULL}"},
    "int4[]": dict.fromkeys(["{{1,2},{3,4}}", "[0:1]={1,2}", "[2:2][-1:0]={{1,2}}"]),
    "json[]": dict.fromkeys(["{{1,2},{3,NULL}}", '[0:0]={"{}"}']),
    "jsonb[]": dict.fromkeys(["{{1,2},{3,NULL}}", '[0:0]={"{}"}']),
}
WAYS = {
    "csv": ([], {}),
    "json": (["--format", "json"], {}),
    "arrow": (["--format", "arrow", "--with", "special-values=null"], ARROW_LOSES),
    "arrow of texts": (["--format", "arrow", "--with", "read.text-columns=*"], {}),
    "arrow, lossless": (["--format", "arrow", "--with", "read.values=lossless"], {}),
    "copy": (None, {}),
}


@pytest.mark.parametrize("mode", ["append", "upsert"])
@pytest.mark.parametrize("way", WAYS)
def test_every_value_of_every_type_comes_back(every, module_database, penstock, way, mode):
    url = module_database.url
    options, loses = WAYS[way]
    module_database.execute("TRUNCATE every_copy")
    if options is None:
        penstock("copy", url, "every", url, "every_copy", "--mode", mode, "--quiet")
    else:
        read = penstock("read", url, "every", *options, "--quiet")
        penstock("write", url, "every_copy", *options[:2], "--mode", mode, "--quiet", input=read.out)
    found = differences(module_database, every, spaces=JSON_SPACES if way == "json" else ())
    want = {(name, was): now for name, values in loses.items() for was, now in values.items()}
    assert {(name, was): now for (_, name), (was, now) in found.items()} == {
        key: now for key, now in want.items() if holds(module_database, every, key)}


def holds(database, columns, key):
    """Whether the value is in table every: an old server has not all."""
    column = next(column for column, name in columns.items() if name == key[0])
    return database.value(f"SELECT count(*) FROM every WHERE {column}::text = %s", [key[1]]) > 0


def test_lossless_values_go_into_columns_of_other_types(database, penstock):
    small = "small" if database.server.version >= 110000 else "int"  # 11 has arrays of domains
    database.execute(f"""
        CREATE TABLE t (k int PRIMARY KEY, d date, e date, ts timestamp, tz timestamptz, n numeric, m numeric(5,2),
                        a int[], b date[], c numeric);
        INSERT INTO t VALUES (1, 'infinity', '0044-03-15 BC', '-infinity', 'infinity', 'NaN', 'NaN', '[0:1]={{1,2}}',
                              '{{infinity}}', 1.5), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
        CREATE DOMAIN small AS int;
        CREATE TABLE u (k int PRIMARY KEY, d timestamp, e text, ts varchar, tz timestamp, n float8,
                        m numeric, a {small}[], b text[], c text)""")
    for mode in "append", "upsert":
        database.execute("TRUNCATE u")
        penstock("copy", database.url, "t", database.url, "u", "--mode", mode, "--quiet")
        assert database.execute("SELECT d::text, e, ts, tz::text, n::text, m::text, a::text, b::text, c FROM u"
                                " ORDER BY k") == [
            ("infinity", "0044-03-15 BC", "-infinity", "infinity", "NaN", "NaN", "[0:1]={1,2}",
             "{infinity}", "1.5"), (None,) * 9]


def test_lossless_streams_print_as_the_table_does(every, module_database, penstock):
    texts = [penstock("read", module_database.url, "every", "--jobs", 1, "--quiet", *more).out
             for more in ([], ["--with", "read.values=lossless"])]
    if module_database.server.version >= 120000:  # before, its texts have not the shortest digits
        assert texts[0] == texts[1]
    module_database.execute("TRUNCATE every_copy")
    read = penstock("read", module_database.url, "every", "--format", "json", "--with",
                    "read.values=lossless", "--quiet")
    penstock("write", module_database.url, "every_copy", "--format", "json", "--quiet", input=read.out)
    assert differences(module_database, every, spaces=JSON_SPACES) == {}


def test_equal_numerics_of_other_scales_are_one_key(database, penstock):
    database.execute("CREATE TABLE t (k numeric, v int);"
                     "INSERT INTO t VALUES (1.0, 1), ('NaN', 2), (1.00, 3), ('NaN', 4), (1, 5);"
                     "CREATE TABLE u (k numeric PRIMARY KEY, v int)")
    penstock("copy", database.url, "t", database.url, "u", "--jobs", 1, "--quiet")
    assert database.execute("SELECT k::text, v FROM u ORDER BY v") == [("NaN", 4), ("1.0", 5)]


def test_a_table_made_for_a_lossless_stream_has_the_sources_types(database, new_database, penstock):
    database.execute("CREATE DOMAIN price AS numeric(7,2);"
                     "CREATE TABLE t (d date, n numeric(5,2), m numeric, p price, a date[], ts timestamptz(3));"
                     "INSERT INTO t VALUES ('infinity', 'NaN', 'NaN', 'NaN', '[0:0]={infinity}', 'infinity')")
    other = new_database()
    for _ in range(2):  # made, then found to fit
        penstock("copy", database.url, "t", other.url, "t", "--create", "--quiet")
    types = other.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
                          " WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum")
    assert types == [("d", "date"), ("n", "numeric(5,2)"), ("m", "numeric"), ("p", "numeric"), ("a", "date[]"),
                     ("ts", "timestamp(3) with time zone")]
    assert other.execute("SELECT DISTINCT t::text FROM t") == [(
        "(infinity,NaN,NaN,NaN,[0:0]={infinity},infinity)",)]
    other.execute("CREATE TABLE narrow (d int, n numeric(5,2), m numeric, p numeric, a date[], ts timestamptz)")
    done = penstock("copy", database.url, "t", other.url, "narrow", "--create", "--quiet", code=1)
    assert 'its column "d" is integer' in done.errors
