"""penstock.scan by COPY: what pyarrow reads from its messages is what the query gives.

No code of the bridge takes part, but where a test says so."""
import datetime
import decimal
import io
import pathlib
import struct
import types

import psycopg
import pyarrow
import pytest
from psycopg import sql

from all_types import PINNED, create_every_value

pytestmark = pytest.mark.extension
END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


@pytest.fixture(scope="module")
def db(module_database):
    """A database with the extension."""
    module_database.execute("CREATE EXTENSION IF NOT EXISTS penstock")
    return module_database


def messages(conn, query, **arguments):
    """The messages of a scan; COPY has ended as it shall."""
    call = sql.SQL("COPY (SELECT penstock.scan({})) TO STDOUT (FORMAT binary)").format(
        sql.SQL(", ").join([sql.Literal(query), *(sql.SQL("{} => {}").format(sql.Identifier(name), sql.Literal(value))
                                                  for name, value in arguments.items())]))
    with conn.cursor() as cursor, cursor.copy(call) as copy:
        copy.set_types(["bytea"])
        return [row[0] for row in copy.rows()]


def table_of(parts):
    assert parts[-1] == END and END not in parts[:-1]
    return pyarrow.ipc.open_stream(io.BytesIO(b"".join(parts))).read_all()


def scan(conn, query, **arguments):
    table = table_of(messages(conn, query, **arguments))
    table.validate(full=True)
    return table


def texts(conn, query):
    """The query's columns as texts of the output functions, as the protocol gives them."""
    result = conn.pgconn.exec_(query.encode(conn.info.encoding))
    assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
    return [[None if value is None else value.decode() for value in
             (result.get_value(row, column) for row in range(result.ntuples))] for column in range(result.nfields)]


# ---- Values

@pytest.fixture(scope="module")
def every(db):
    """Table every(n, c0, c1, …); {column: type}."""
    with db.connect() as conn:
        return create_every_value(conn, "every")


def test_every_type_as_text_is_what_the_output_function_gives(db, every):
    with db.connect(options=f"'{PINNED}'") as conn:
        want = texts(conn, "SELECT * FROM every ORDER BY n")
    # Not pinned: a session of another mind.
    with db.connect(options="'-c DateStyle=German -c TimeZone=Asia/Kolkata -c IntervalStyle=iso_8601 "
                            "-c bytea_output=escape -c extra_float_digits=-3'") as conn:
        got = scan(conn, "SELECT * FROM every ORDER BY n", text_columns=["*"])
    assert got.num_columns == len(want) > 150
    for column, (name, texts_) in enumerate(zip(["int", *every.values()], want)):
        assert got.column(column).to_pylist() == texts_, name


def test_every_type_is_what_the_plain_transport_reads(db, every, penstock):
    """The bridge's decoder of COPY (FORMAT binary) makes the same columns and fields."""
    for special in "null", "clamp":
        read = penstock("read", db.url, "every", "--format", "arrow", "--jobs", 1, "--quiet", "--with",
                        f"special-values={special}", "--with", "transport=plain")
        plain = pyarrow.ipc.open_stream(io.BytesIO(read.out)).read_all()
        with db.connect() as conn:
            got = scan(conn, "SELECT * FROM every", special_values=special)
        assert got.column_names == plain.column_names
        for name in got.column_names:
            field, other = got.schema.field(name), plain.schema.field(name)
            assert field.type == other.type, (name, every.get(name))
            assert dict(field.metadata).items() <= dict(other.metadata).items(), (name, every.get(name))
            assert got[name].cast(field.type).combine_chunks().equals(plain[name].combine_chunks()) or \
                str(got[name].to_pylist()) == str(plain[name].to_pylist()), (name, every.get(name))


DATE, STAMP = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 23, 59, 59, 999999)
UTC = datetime.timezone.utc
# Type; the literal; Arrow's type; the value: docs/types.md
KNOWN = [
    ("boolean", "true", pyarrow.bool_(), True),
    ("smallint", "-32768", pyarrow.int16(), -32768),
    ("integer", "2147483647", pyarrow.int32(), 2147483647),
    ("bigint", "-9223372036854775808", pyarrow.int64(), -9223372036854775808),
    ("real", "0.1", pyarrow.float32(), struct.unpack("f", struct.pack("f", 0.1))[0]),
    ("double precision", "Infinity", pyarrow.float64(), float("inf")),
    ("numeric(38,0)", "9" * 38, pyarrow.decimal128(38, 0), decimal.Decimal("9" * 38)),
    ("numeric(38,38)", "-0." + "9" * 38, pyarrow.decimal128(38, 38), decimal.Decimal("-0." + "9" * 38)),
    ("numeric(12,2)", "-0.01", pyarrow.decimal128(12, 2), decimal.Decimal("-0.01")),
    ("numeric", "1e400", pyarrow.string(), "1" + "0" * 400),
    ("numeric(39,1)", "-1.5", pyarrow.string(), "-1.5"),
    ("text", "a\té€😀", pyarrow.string(), "a\té€😀"),
    ("character varying(5)", "", pyarrow.string(), ""),
    ("character(4)", "a", pyarrow.string(), "a   "),
    ("name", "x", pyarrow.string(), "x"),
    ("bytea", "\\x00ff5c", pyarrow.binary(), b"\x00\xff\\"),
    ("date", "2024-02-29", pyarrow.date32(), DATE),
    ("date", "0001-01-01", pyarrow.date32(), datetime.date.min),
    ("date", "9999-12-31", pyarrow.date32(), datetime.date.max),
    ("time without time zone", "23:59:59.999999", pyarrow.time64("us"), STAMP.time()),
    ("timestamp without time zone", "2024-02-29 23:59:59.999999", pyarrow.timestamp("us"), STAMP),
    ("timestamp with time zone", "2024-02-29 23:59:59.999999+00", pyarrow.timestamp("us", "UTC"),
     STAMP.replace(tzinfo=UTC)),
    ("interval", "1 year -2 days 00:00:01.000001", pyarrow.month_day_nano_interval(), (12, -2, 1000001000)),
    ("json", '{"b":  1, "a": null}', pyarrow.string(), '{"b":  1, "a": null}'),
    ("jsonb", '{"b":  1, "a": null}', pyarrow.string(), '{"a": null, "b": 1}'),
    ("inet", "1.2.3.4", pyarrow.string(), "1.2.3.4"),
    ("int4range", "[1,5]", pyarrow.string(), "[1,6)"),
    ("integer[]", "{1,NULL,3}", pyarrow.int32(), [1, None, 3]),
    ("integer[]", "{}", pyarrow.int32(), []),
    ("boolean[]", "{t,f,NULL,t,t,t,t,t,f}", pyarrow.bool_(), [True, False, None] + [True] * 5 + [False]),
    ("text[]", '{"",NULL,"NULL",é}', pyarrow.string(), ["", None, "NULL", "é"]),
    ("numeric(5,2)[]", "{1.5,NULL,-0.01}", pyarrow.decimal128(5, 2),
     [decimal.Decimal("1.50"), None, decimal.Decimal("-0.01")]),
    ("date[]", "{2024-02-29}", pyarrow.date32(), [DATE]),
]


@pytest.mark.parametrize("name,text,arrow,value", KNOWN, ids=[f"{row[0]} {row[1][:12]}" for row in KNOWN])
def test_a_value_is_what_the_table_of_types_says(db, name, text, arrow, value):
    # NULLs before and behind; enough rows for several bytes of bits; frames of few rows, and of all.
    query = f"SELECT (CASE WHEN i % 3 = 0 THEN $v${text}$v$ END)::{name} AS v, i FROM generate_series(0, 99) i"
    for target in 1, 300, 1048576:
        with db.connect() as conn:
            table = scan(conn, query, target_bytes=target)
        field = table.schema.field("v")
        storage = getattr(field.type, "storage_type", field.type)
        assert storage == (pyarrow.list_(pyarrow.field("item", arrow)) if name.endswith("[]") else arrow)
        assert field.metadata[b"penstock.type"].decode() == name
        assert table["v"].to_pylist() == [value if i % 3 == 0 else None for i in range(100)]
        assert table["i"].to_pylist() == list(range(100))


def test_uuid_and_json_are_extension_types(db):
    query = """SELECT '00112233-4455-6677-8899-aabbccddeeff'::uuid AS u, '{}'::json AS j, '[]'::jsonb AS b,
        ARRAY['00112233-4455-6677-8899-aabbccddeeff']::uuid[] AS us"""
    with db.connect() as conn:
        parts = messages(conn, query)
    table = table_of(parts)
    value = bytes.fromhex("00112233445566778899aabbccddeeff")
    storage = table["u"].combine_chunks()
    storage = getattr(storage, "storage", storage)
    assert storage.type == pyarrow.binary(16) and storage.to_pylist() == [value]
    for name in b"arrow.uuid", b"arrow.json":
        assert name in parts[0]


# What a value that Arrow cannot hold becomes under clamp, alone and in an array: docs/types.md
@pytest.mark.parametrize("name,text,value", [
    ("numeric(5,2)", "NaN", None),
    ("date", "infinity", datetime.date.max),
    ("date", "4713-01-01 BC", datetime.date.min),
    ("time without time zone", "24:00", datetime.time.max),
    ("timestamp without time zone", "-infinity", datetime.datetime.min),
    ("timestamp with time zone", "294276-12-31 23:59:59.999999+00", datetime.datetime.max.replace(tzinfo=UTC)),
    ("interval", "1 mon 2562048:00", (1, 0, 9223372036854775000)),
    ("interval", "-2562048:00", (0, 0, -9223372036854775000)),
])
def test_clamp_takes_the_nearest_value(db, name, text, value):
    for query, want in ((f"SELECT '{text}'::{name} AS v", value),
                        (f"SELECT ARRAY['{text}', NULL, '{text}']::{name}[] AS v", [value, None, value])):
        with db.connect() as conn:
            assert scan(conn, query, special_values="clamp")["v"].to_pylist() == [want]
            with pytest.raises(psycopg.errors.NumericValueOutOfRange, match='column "v"'):
                messages(conn, query)


@pytest.mark.since(14, "infinite numerics")
def test_infinite_numerics_are_text(db):
    query = "SELECT 'Infinity'::numeric AS t, '-Infinity'::numeric AS u"
    with db.connect() as conn:
        assert scan(conn, query).to_pylist() == [{"t": "Infinity", "u": "-Infinity"}]
        # Of a column with precision PostgreSQL holds NaN only.
        with pytest.raises(psycopg.errors.NumericValueOutOfRange):
            messages(conn, "SELECT 'Infinity'::numeric(5,2)")


def test_nan_is_a_float_and_minus_zero_stays(db):
    with db.connect() as conn:
        table = scan(conn, "SELECT 'NaN'::float8 AS a, '-0'::float8 AS b, '-0'::float4 AS c")
    a, b, c = (table[name][0].as_py() for name in "abc")
    assert a != a and str(b) == "-0.0" and str(c) == "-0.0"


def test_domains_are_their_base_types(db):
    db.execute("CREATE DOMAIN price AS numeric(9, 2) NOT NULL; CREATE DOMAIN prices AS price[]")
    with db.connect() as conn:
        table = scan(conn, "SELECT 1.5::price AS a, ARRAY[1.5]::price[] AS b, ARRAY[2.5]::prices AS c")
    assert table.schema.field("a").type == pyarrow.decimal128(9, 2)
    for name, value in zip("abc", ("1.50", ["1.50"], ["2.50"])):
        assert str(table[name].to_pylist()) == str([[decimal.Decimal(v) for v in value] if isinstance(value, list)
                                                    else decimal.Decimal(value)])
    assert table.schema.field("a").metadata[b"penstock.type"] == b"price"


def test_toasted_and_compressed_values_are_whole(db):
    db.execute("""
        CREATE TABLE toasted (id int, a text, b text, c bytea, d jsonb, e text[]);
        ALTER TABLE toasted ALTER b SET STORAGE EXTERNAL;
        INSERT INTO toasted SELECT i, repeat('compress ' || i, 5000), repeat(md5(i::text), 2000), decode(repeat(md5(i::text), 500), 'hex'),
            (SELECT jsonb_agg(x) FROM generate_series(1, 1000) x), (SELECT array_agg(md5(x::text)) FROM generate_series(1, 500) x)
        FROM generate_series(1, 20) i""")
    with db.connect() as conn:
        want = texts(conn, "SELECT * FROM toasted ORDER BY id")
        table = scan(conn, "SELECT * FROM toasted ORDER BY id", target_bytes=100000)
        as_text = scan(conn, "SELECT * FROM toasted ORDER BY id", text_columns=["*"])
    assert [as_text.column(i).to_pylist() for i in range(6)] == want
    assert table["a"].to_pylist() == want[1] and table["b"].to_pylist() == want[2] and table["d"].to_pylist() == want[4]
    assert [b"\\x" + value.hex().encode() for value in table["c"].to_pylist()] == [v.encode() for v in want[3]]
    assert [len(value) for value in table["e"].to_pylist()] == [500] * 20


def test_dropped_and_added_columns_are_no_trouble(db):
    db.execute("""CREATE TABLE altered (a int, b text, c int); INSERT INTO altered VALUES (1, 'x', 2);
        ALTER TABLE altered DROP b; ALTER TABLE altered ADD d text DEFAULT 'd'; INSERT INTO altered VALUES (3, 4, NULL)""")
    with db.connect() as conn:
        assert scan(conn, "TABLE altered").to_pylist() == [{"a": 1, "c": 2, "d": "d"}, {"a": 3, "c": 4, "d": None}]


def test_queries_of_many_plans_give_their_rows(db):
    """Slots of every kind: virtual, heap, minimal; junk columns; sorts, hashes, set operations, windows."""
    db.execute("CREATE TABLE rows_ (id int PRIMARY KEY, g int, t text); "
               "INSERT INTO rows_ SELECT i, i % 10, 'text ' || i FROM generate_series(1, 5000) i; ANALYZE rows_")
    queries = [
        "SELECT g FROM rows_ ORDER BY t, id",
        "SELECT g, count(*), string_agg(t, ',' ORDER BY id) FROM rows_ GROUP BY g ORDER BY g",
        "SELECT id, row_number() OVER (PARTITION BY g ORDER BY id) FROM rows_ ORDER BY id",
        "SELECT id FROM rows_ EXCEPT SELECT id FROM rows_ WHERE g = 3 ORDER BY id",
        "SELECT a.t, b.t FROM rows_ a LEFT JOIN rows_ b ON b.id = a.id + 4990 ORDER BY a.id",
        "SELECT DISTINCT g FROM rows_ ORDER BY g",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 1000) SELECT n FROM r",
        "SELECT (SELECT max(id) FROM rows_ b WHERE b.g = a.g) FROM rows_ a WHERE id < 50 ORDER BY id",
        "SELECT generate_series(1, g) AS s, id FROM rows_ WHERE id < 100 ORDER BY id, s",
        "SELECT tableoid::regclass, ctid, xmin IS NULL, r FROM rows_ r WHERE id < 5 ORDER BY id",
    ]
    for query in queries:
        with db.connect() as conn:
            for target in 100, 1048576:
                table = scan(conn, query, text_columns=["*"], target_bytes=target)
                assert [table.column(i).to_pylist() for i in range(table.num_columns)] == texts(conn, query), query


def test_a_large_table_comes_whole_and_in_order(db):
    with db.connect() as conn:
        parts = messages(conn, "SELECT i, i::text AS t FROM generate_series(1, 300000) i", target_bytes=65536)
        table = table_of(parts)
    assert table["i"].to_pylist() == list(range(1, 300001))
    assert table["t"].to_pylist() == [str(i) for i in range(1, 300001)]
    sizes = [len(part) for part in parts[1:-1]]
    assert len(sizes) > 40 and max(sizes) < 2 * 65536
    assert max(sizes[:-1]) < 1.1 * min(sizes[:-1])  # filled alike


@pytest.mark.since(14, "pg_backend_memory_contexts")
def test_a_scan_takes_the_memory_of_a_frame_however_long_it_is(db):
    query = """SELECT i, repeat('x', i % 1000) AS t, ARRAY[i, i] AS a, CASE WHEN i % 100000 = 0 THEN
        (SELECT sum(total_bytes) + i - i FROM pg_catalog.pg_backend_memory_contexts) END::bigint AS held
        FROM (SELECT generate_series(1, 1000000) AS i) x"""
    with db.connect() as conn:
        held = [value for value in scan(conn, query)["held"].to_pylist() if value is not None]
    assert len(held) == 10
    assert max(held[1:]) - min(held[1:]) < 4 << 20


def test_no_columns_are_rows_all_the_same(db):
    with db.connect() as conn:
        batches = pyarrow.ipc.open_stream(b"".join(messages(conn, "SELECT FROM generate_series(1, 12345)")))
        assert sum(batch.num_rows for batch in batches) == 12345


def test_two_columns_of_one_name_and_odd_names_stay(db):
    with db.connect() as conn:
        table = scan(conn, 'SELECT 1 AS a, 2 AS a, 3 AS "a ""b"" é", 4')
    assert table.column_names == ["a", "a", 'a "b" é', "?column?"]


# ---- Encodings

def encoded(new_database, name):
    made = new_database(f"TEMPLATE template0 ENCODING '{name}' LC_COLLATE 'C' LC_CTYPE 'C'")
    made.execute("CREATE EXTENSION IF NOT EXISTS penstock")
    return made


def test_text_of_a_latin1_database_is_utf8(new_database):
    made = encoded(new_database, "LATIN1")
    with made.connect(client_encoding="UTF8") as conn:
        conn.execute("CREATE TYPE größe AS ENUM ('süß'); CREATE TABLE t (id int, \"größe\" text, x varchar(9)[], g größe, j jsonb);"
                     "INSERT INTO t VALUES (1, 'é ÿ', '{ß,NULL}', 'süß', '\"ä\"'), (2, repeat('é', 5000), '{}', NULL, NULL)")
        for options in {}, {"text_columns": ["*"]}:
            table = scan(conn, "SELECT * FROM t ORDER BY id", **options)
            assert table.column_names[1] == "größe"
            assert table["größe"].to_pylist() == ["é ÿ", "é" * 5000]
            assert table["g"].to_pylist() == ["süß", None] and table["j"].to_pylist() == ['"ä"', None]
            assert table.schema.field("g").metadata[b"penstock.type"].decode() == '"größe"'
        assert scan(conn, "TABLE t")["x"].to_pylist() == [["ß", None], []]


def test_bytes_of_a_sql_ascii_database_are_utf8_or_refused(new_database):
    made = encoded(new_database, "SQL_ASCII")
    made.execute("CREATE TABLE t (id int PRIMARY KEY, t text, x text[])")
    with made.connect(client_encoding="SQL_ASCII") as conn:
        conn.pgconn.exec_("INSERT INTO t SELECT i, 'é', '{ß}' FROM generate_series(1, 100) i".encode())
        table = scan(conn, "SELECT t, x FROM t")
        assert table["t"].to_pylist() == ["é"] * 100 and table["x"].to_pylist() == [["ß"]] * 100
        conn.pgconn.exec_(b"UPDATE t SET t = E'a\\xe9' WHERE id = 77")
        for query, place in (("SELECT id, t FROM t ORDER BY id", "The row is (id)=(77); it is row 76 of this scan, counted from 0."),
                             ("SELECT t FROM t ORDER BY id", "It is row 76 of this scan, counted from 0.")):
            with pytest.raises(psycopg.errors.CharacterNotInRepertoire, match='column "t"') as error:
                messages(conn, query, target_bytes=500)
            diag = error.value.diag
            assert diag.message_detail == place
            assert (diag.table_name, diag.column_name) == ("t", "t")
        conn.pgconn.exec_(b"UPDATE t SET t = 'a', x = E'{ok,a\\xe9}' WHERE id = 77")
        with pytest.raises(psycopg.errors.CharacterNotInRepertoire, match='column "x"') as error:
            messages(conn, "SELECT id, x FROM t ORDER BY id")
        assert error.value.diag.message_detail.startswith("The row is (id)=(77);")


# ---- Errors

def test_an_error_in_the_middle_ends_copy_without_the_end_marker(db):
    got = []
    with db.connect() as conn:
        with pytest.raises(psycopg.errors.DivisionByZero):
            with conn.cursor() as cursor, cursor.copy(
                    "COPY (SELECT penstock.scan('SELECT 1 / (90000 - i) FROM generate_series(1, 100000) i', 10000))"
                    " TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["bytea"])
                for row in copy.rows():
                    got.append(row[0])
        assert len(got) > 10 and END not in got
        assert scan(conn, "SELECT 1 AS a").to_pylist() == [{"a": 1}]


def test_a_row_beyond_what_a_message_holds_is_an_error(db):
    query = "SELECT repeat('x', 538000000) AS a, repeat('y', 538000000) AS b"
    with db.connect() as conn:
        with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="a row needs more than"):
            messages(conn, query)
        # A value of many targets is no trouble, and neither is the row that follows.
        lengths = [len(part) for part in messages(conn, "SELECT repeat('x', 50000000) AS a UNION ALL SELECT 'y'")]
        assert len(lengths) == 4 and lengths[1] > 50000000 and lengths[2] < 1000


# ---- The manual's example

def manual():
    """What docs/scan.md shows, as a module's names."""
    text = (pathlib.Path(__file__).resolve().parents[3] / "docs/scan.md").read_text()
    names = {}
    exec(compile(text.split("```python\n")[1].split("```")[0], "docs/scan.md", "exec"), names)
    return names


def test_the_manuals_lines_read_a_stream(db):
    read = manual()["read"]
    assert read(db.url, "SELECT g AS a, g::text AS b FROM generate_series(1, 100000) g").num_rows == 100000
    assert read(db.url, "SELECT 1 AS a WHERE false").num_rows == 0


def test_the_manuals_lines_see_an_incomplete_stream(db):
    names = manual()
    db.execute("""CREATE FUNCTION half(query text) RETURNS SETOF bytea LANGUAGE sql AS
        $$ SELECT m FROM (SELECT penstock.scan(query) AS m) s WHERE m <> '\\xffffffff00000000' $$""")
    lines = names["read"].__code__
    broken = lines.replace(co_consts=tuple(c.replace("penstock.scan", "half") if isinstance(c, str) else c
                                           for c in lines.co_consts))
    read = types.FunctionType(broken, names)
    with pytest.raises(AssertionError, match="incomplete"):
        read(db.url, "SELECT 1 AS a")
