"""The Arrow IPC reader and writer against pyarrow, which is the format's reference.

Every table goes pyarrow -> bytes -> ipc_tool (decoded, encoded again) -> bytes -> pyarrow and must
come back equal: schema, metadata, values and NULLs. No server takes part.

golden/arrow/ has a stream of each type twice: NAME.pyarrow as pyarrow wrote it and NAME.penstock as
we write the same. They are checked from this side here, from ours in unit/arrow_ipc_test.c. Run as
a program (PENSTOCK_TOOLS set) this file writes them anew, which is to be done only when the format
changes on purpose.
"""
import datetime
import decimal
import io
import os
import re
import struct
import subprocess

import pyarrow as pa
import pytest

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden", "arrow")
TOOL = os.path.join(os.environ.get("PENSTOCK_TOOLS", "build/test/tool"), "ipc_tool")
MODES = ["copy", "rows", "columns"]


def tool(data, *args, ok=True):
    done = subprocess.run([TOOL, *args], input=data, capture_output=True, check=False)
    if ok:
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout
    assert done.returncode == 1, (done.returncode, done.stderr.decode())
    return done.stderr.decode()


def to_bytes(table, batches=None, **options):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in table.to_batches() if batches is None else batches:
            writer.write_batch(batch)
    return sink.getvalue()


def from_bytes(data):
    assert data[-8:] == b"\xff\xff\xff\xff\0\0\0\0"
    return pa.ipc.open_stream(data).read_all()


def check(table, mode="copy", batches=None):
    back = from_bytes(tool(to_bytes(table, batches), mode))
    back.validate(full=True)
    assert back.schema.equals(table.schema, check_metadata=True), (back.schema, table.schema)
    want = table if batches is None else pa.Table.from_batches(batches, table.schema)
    assert back.equals(want), (back.to_pydict(), want.to_pydict())


D = decimal.Decimal
UTC = datetime.timezone.utc
WHEN = datetime.datetime(2026, 2, 28, 23, 59, 59, 123456)

# Values of each type, without NULLs; every column is also tried with NULLs in it.
COLUMNS = {
    "bool": (pa.bool_(), [True, False, True, True, False, False, True, False, True]),
    "int8": (pa.int8(), [-128, 0, 127]),
    "uint8": (pa.uint8(), [0, 1, 255]),
    "int16": (pa.int16(), [-32768, 0, 32767]),
    "uint16": (pa.uint16(), [0, 65535]),
    "int32": (pa.int32(), [-2**31, 0, 2**31 - 1]),
    "uint32": (pa.uint32(), [0, 2**32 - 1]),
    "int64": (pa.int64(), [-2**63, 0, 2**63 - 1]),
    "uint64": (pa.uint64(), [0, 2**64 - 1]),
    "float32": (pa.float32(), [0.0, -0.0, 1.5, float("inf"), -float("inf")]),
    "float64": (pa.float64(), [0.0, 1e308, 5e-324, -1.25]),
    "decimal": (pa.decimal128(38, 10), [D("0"), D("-1234567890123456789012345678.0123456789")]),
    "decimal negative scale": (pa.decimal128(5, -2), [D("12300"), D("-100")]),
    "date32": (pa.date32(), [datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
    "date64": (pa.date64(), [datetime.date(1970, 1, 1), datetime.date(2026, 2, 28)]),
    "time32 s": (pa.time32("s"), [datetime.time(0), datetime.time(23, 59, 59)]),
    "time32 ms": (pa.time32("ms"), [datetime.time(0, 0, 0, 1000)]),
    "time64 us": (pa.time64("us"), [datetime.time(23, 59, 59, 999999)]),
    "time64 ns": (pa.time64("ns"), [datetime.time(1, 2, 3, 4)]),
    "timestamp s": (pa.timestamp("s"), [WHEN.replace(microsecond=0)]),
    "timestamp ms": (pa.timestamp("ms"), [WHEN.replace(microsecond=1000)]),
    "timestamp us": (pa.timestamp("us"), [WHEN]),
    "timestamp ns": (pa.timestamp("ns"), [WHEN]),
    "timestamp zone": (pa.timestamp("us", tz="UTC"), [WHEN.replace(tzinfo=UTC)]),
    "timestamp far zone": (pa.timestamp("ns", tz="America/Argentina/ComodRivadavia"),
                           [WHEN.replace(tzinfo=UTC)]),
    "interval": (pa.month_day_nano_interval(), [pa.MonthDayNano([-1, 30, 10**15])]),
    "utf8": (pa.utf8(), ["", "a", "Ünï", "𝄞" * 100, "\n\"'"]),
    "large utf8": (pa.large_utf8(), ["", "b", "čč"]),
    "binary": (pa.binary(), [b"", b"\0\xff", b"x" * 1000]),
    "large binary": (pa.large_binary(), [b"", b"\0"]),
    "fixed binary": (pa.binary(16), [bytes(range(16)), b"\xff" * 16]),
    "fixed binary 3": (pa.binary(3), [b"abc"]),
    "list": (pa.list_(pa.int32()), [[], [1], [2, None, 3]]),
    "large list": (pa.large_list(pa.utf8()), [["a"], [], ["b", None, "c"]]),
    "list of list": (pa.list_(pa.list_(pa.bool_())), [[[True, None], []], [], [[False]]]),
    "struct": (pa.struct([("a", pa.int64()), ("b", pa.utf8())]), [{"a": 1, "b": "x"},
                                                                  {"a": None, "b": None}]),
    "struct of list": (pa.struct([("l", pa.list_(pa.decimal128(3, 1)))]),
                       [{"l": [D("1.5"), None]}, {"l": None}, {"l": []}]),
    "list of struct": (pa.list_(pa.struct([pa.field("k", pa.uint8(), nullable=False),
                                           ("n", pa.null())])),
                       [[{"k": 1, "n": None}], [], [{"k": 2, "n": None}, None]]),
    "empty struct": (pa.struct([]), [{}, {}]),
    "list of nothing": (pa.list_(pa.null()), [[None, None], []]),
}


def column(name, nulls):
    kind, values = COLUMNS[name]
    rows = []
    for i, value in enumerate(values * 7):
        rows.append(value)
        if nulls and i % 3 != 1:
            rows.append(None)
    return pa.array(rows, kind)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("nulls", [False, True], ids=["full", "nulls"])
@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_comes_back_equal(name, nulls, mode):
    check(pa.table({name: column(name, nulls)}), mode)


@pytest.mark.parametrize("mode", MODES)
def test_all_types_in_one_batch_come_back_equal(mode):
    arrays = {name: column(name, True) for name in COLUMNS}
    rows = min(len(a) for a in arrays.values())
    arrays = {name: a[:rows] for name, a in arrays.items()}
    check(pa.table({**arrays, "null": pa.nulls(rows)}), mode)


@pytest.mark.parametrize("name", COLUMNS)
def test_only_nulls_come_back_equal(name):
    check(pa.table({name: pa.nulls(13, COLUMNS[name][0])}))


@pytest.mark.parametrize("name", COLUMNS)
def test_empty_batches_come_back_equal(name):
    kind = COLUMNS[name][0]
    schema = pa.schema([pa.field(name, kind)])
    empty = pa.record_batch([pa.array([], kind)], schema)
    one = pa.record_batch([pa.array(COLUMNS[name][1][:1], kind)], schema)
    check(pa.table({name: pa.array([], kind)}))
    check(pa.Table.from_batches([], schema), batches=[empty, one, empty])


@pytest.mark.parametrize("length", [1, 7, 8, 9, 63, 64, 65, 1000])
@pytest.mark.parametrize("offset", [0, 1, 3, 8, 13])
def test_slices_of_pyarrow_come_back_equal(offset, length):
    n = offset + length + 5
    table = pa.table({
        "b": pa.array([None if i % 5 == 0 else i % 3 == 0 for i in range(n)]),
        "i": pa.array([None if i % 7 == 0 else i for i in range(n)], pa.int16()),
        "t": pa.array([None if i % 4 == 0 else "x" * (i % 11) for i in range(n)]),
        "l": pa.array([None if i % 6 == 0 else [i] * (i % 4) for i in range(n)],
                      pa.list_(pa.int64())),
        "s": pa.array([None if i % 9 == 0 else {"a": i, "b": str(i)} for i in range(n)]),
    }).slice(offset, length)
    for mode in MODES:
        check(table, mode)


def test_zero_columns_keep_their_length():
    batch = pa.record_batch([pa.array(range(17))], ["a"]).select([])
    assert batch.num_rows == 17
    data = tool(to_bytes(pa.Table.from_batches([batch])))
    assert [b.num_rows for b in pa.ipc.open_stream(data)] == [17]


def test_names_metadata_and_nullability_come_back_equal():
    fields = [
        pa.field("Ünï \"quoted\".name", pa.int32(), nullable=False),
        pa.field("", pa.utf8(), metadata={"penstock.type": "character varying(10)"}),
        pa.field("same", pa.list_(pa.field("element", pa.int8(), nullable=False,
                                           metadata={"k": "in a list"}))),
        pa.field("same", pa.binary(16), metadata={b"ARROW:extension:name": b"penstock.made_up",
                                                  b"ARROW:extension:metadata": b"",
                                                  b"binary": bytes(range(256)), b"": b"no key"}),
        pa.field("x" * 300, pa.int64(), metadata={"long": "y" * 100_000}),
    ]
    schema = pa.schema(fields, metadata={"of the schema": "čč", "penstock.position": "pst1:"})
    rows = [pa.array([1]), pa.array(["v"]), pa.array([[3]], fields[2].type),
            pa.array([b"0" * 16], pa.binary(16)), pa.array([5])]
    with_empty = pa.Table.from_arrays(rows, schema=schema)
    check(with_empty)


def test_extension_types_come_back_as_such():
    array = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(range(16)), None],
                                                               pa.binary(16)))
    table = pa.table({"id": array})
    back = from_bytes(tool(to_bytes(table)))
    assert back.schema.field("id").type == pa.uuid()
    assert back.equals(table)


@pytest.mark.parametrize("columns", [1600, 20_000])
def test_many_columns_come_back_equal(columns):
    check(pa.table({f"c{i}": pa.array([i, None]) for i in range(columns)}))


def test_what_we_write_is_aligned_and_leaves_validity_out():
    data = tool(to_bytes(pa.table({"a": pa.array([1, 2, 3]), "b": pa.array(["x", None, "z"])})))
    assert len(data) % 8 == 0
    reader = pa.ipc.MessageReader.open_stream(data)
    assert reader.read_next_message().metadata_version == pa.ipc.MetadataVersion.V5
    message = reader.read_next_message()
    # The layout of docs/wire.md: nodes at 72, then buffers as (offset, length).
    metadata = message.metadata.to_pybytes()
    nodes = struct.unpack_from("<4q", metadata, 72)
    assert nodes == (3, 0, 3, 1)
    buffers = [struct.unpack_from("<2q", metadata, 112 + 16 * i) for i in range(5)]
    assert all(offset % 64 == 0 for offset, _ in buffers)
    assert [length for _, length in buffers] == [0, 24, 1, 16, 2]
    assert len(message.body) % 64 == 0


@pytest.mark.parametrize("options, what", [
    ({"compression": "lz4"}, "compressed record batches are not supported"),
    ({"compression": "zstd"}, "compressed record batches are not supported"),
    ({"metadata_version": pa.ipc.MetadataVersion.V4}, "metadata versions other than V5"),
    ({"use_legacy_format": True}, "the input is not an Arrow stream"),
])
def test_other_variants_are_refused_by_name(options, what):
    assert what in tool(to_bytes(pa.table({"a": list(range(1000))}), **options), ok=False)


@pytest.mark.parametrize("array, what", [
    (pa.array(["a", "b"]).dictionary_encode(), "column \"c\": dictionary-encoded"),
    (pa.array([[("k", 1)]], pa.map_(pa.utf8(), pa.int64())), "column \"c\": not a supported Arrow "
                                                             "type: Map"),
    (pa.array([datetime.timedelta(1)]), "Arrow type: Duration"),
    (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), "Arrow type: FixedSizeList"),
    (pa.array([1], pa.decimal256(50, 1)), "variant of Arrow type Decimal"),
    (pa.nulls(1, pa.float16()), "variant of Arrow type FloatingPoint"),
    (pa.array(["a"], pa.string_view()), "Arrow type: Utf8View"),
    (pa.array([[[None]]], pa.list_(pa.list_(pa.float16()))), "column \"c.item.item\": "),
])
def test_other_types_are_refused_by_column_and_name(array, what):
    table = pa.Table.from_arrays([array], names=["c"])
    assert what in tool(to_bytes(table), ok=False)


def test_an_arrow_file_is_refused_by_name():
    sink = io.BytesIO()
    table = pa.table({"a": [1]})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert "an Arrow IPC file, not an Arrow IPC stream" in tool(sink.getvalue(), ok=False)


def test_a_stream_without_its_end_is_incomplete():
    data = to_bytes(pa.table({"a": [1, 2, 3]}))
    assert "ends after 3 rows without an end marker" in tool(data[:-8], ok=False)
    assert "the input is empty" in tool(b"", ok=False)
    assert "ends before its schema" in tool(data[-8:], ok=False)
    for cut in range(1, len(data), 7):
        assert "the Arrow stream is incomplete" in tool(data[:cut], ok=False)


def test_concatenated_streams_are_refused():
    data = to_bytes(pa.table({"a": [1, 2, 3]}))
    assert "behind the end marker" in tool(data + data, ok=False)


def test_row_kinds_leave_the_batch():
    kinds = ["+I", "-U", "+U", "-D", None]
    for kind in [pa.utf8(), pa.large_utf8()]:
        table = pa.table({"a": range(5), "row_kind": pa.array(kinds, kind), "z": list("abcde")})
        data = to_bytes(table)
        assert tool(data, "kinds", "row_kind").split() == [b"0", b"1", b"2", b"3", b"0"]
        assert from_bytes(tool(data, "copy", "row_kind")).equals(table.drop_columns("row_kind"))
        assert from_bytes(tool(data, "copy", "elsewhere")).equals(table)
        assert tool(data, "kinds", "elsewhere").split() == [b"-1"] * 5
    table = pa.table({"k": pa.array([0, 3], pa.int8())})
    assert tool(to_bytes(table), "kinds", "k").split() == [b"0", b"3"]


@pytest.mark.parametrize("array, what", [
    (pa.array(["+I", "insert"]), "row 1: column \"k\" holds no row kind"),
    (pa.array(["+I", ""]), "row 1: column \"k\" holds no row kind"),
    (pa.array([0, 4], pa.int8()), "row 1: column \"k\" holds no row kind"),
    (pa.array([0.5]), "has Arrow type double"),
])
def test_what_is_no_row_kind_is_refused(array, what):
    assert what in tool(to_bytes(pa.table({"k": array})), "kinds", "k", ok=False)


def test_polars_reads_and_writes_the_same():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({
        "i": [1, None, 3], "f": [0.5, None, -1.0], "b": [True, False, None],
        "t": ["a", None, "čč"], "d": [datetime.date(2026, 1, 1), None, None],
        "l": [[1, 2], [], None], "s": [{"x": 1}, {"x": None}, None],
    })
    sink = io.BytesIO()
    frame.write_ipc_stream(sink, compat_level=pl.CompatLevel.oldest())
    back = pl.read_ipc_stream(io.BytesIO(tool(sink.getvalue())))
    assert back.equals(frame)


def golden_tables():
    """Name -> (table, its batches)."""
    tables = {}
    for name, (kind, values) in COLUMNS.items():
        array = pa.array([*values[:3], None, *values[3:5]], kind)
        tables[name.replace(" ", "_")] = pa.table({"c": array})
    tables["null"] = pa.table({"c": pa.nulls(3)})
    # In sorted order: the order of metadata must not hang on a hash.
    fields = [pa.field("id", pa.binary(16), nullable=False,
                       metadata={"ARROW:extension:metadata": "", "ARROW:extension:name":
                                 "penstock.made_up", "penstock.type": "uuid"}),
              pa.field("čísla", pa.list_(pa.int32()), metadata={"penstock.type": "integer[]"})]
    tables["metadata"] = pa.Table.from_arrays(
        [pa.array([b"0123456789abcdef"], pa.binary(16)), pa.array([[1, None]], pa.list_(pa.int32()))],
        schema=pa.schema(fields, metadata={"penstock": "1"}))
    golden = {name: (table, table.to_batches()) for name, table in tables.items()}
    no_columns = pa.record_batch([pa.array(range(5))], ["a"]).select([])
    golden["zero_columns"] = (pa.Table.from_batches([no_columns]), [no_columns])
    halves = pa.table({"i": pa.array([1, 2, 3], pa.int32()), "t": ["x", None, "zzz"]})
    golden["two_batches"] = (halves, halves.to_batches(max_chunksize=2))
    empty = pa.table({"i": pa.array([], pa.int32()), "t": pa.array([], pa.utf8())})
    golden["no_batches"] = (empty, [])
    golden["empty_batch"] = (empty, [pa.record_batch([empty["i"].combine_chunks(),
                                                      empty["t"].combine_chunks()], empty.schema)])
    return golden


def golden_file(name, writer):
    with open(os.path.join(GOLDEN, f"{name}.{writer}"), "rb") as file:
        return file.read()


@pytest.mark.parametrize("writer", ["pyarrow", "penstock"])
@pytest.mark.parametrize("name", golden_tables())
def test_golden_streams_hold_what_they_say(name, writer):
    table, batches = golden_tables()[name]
    with pa.ipc.open_stream(golden_file(name, writer)) as reader:
        assert reader.schema.equals(table.schema, check_metadata=True)
        assert [b.num_rows for b in reader] == [b.num_rows for b in batches]
    assert from_bytes(golden_file(name, writer)).equals(table)


@pytest.mark.parametrize("name", golden_tables())
def test_golden_streams_are_what_we_write(name):
    assert tool(golden_file(name, "pyarrow")) == golden_file(name, "penstock")
    assert tool(golden_file(name, "penstock")) == golden_file(name, "penstock")


def test_the_manual_shows_the_golden_bytes():
    golden = golden_file("two_batches", "penstock")
    with open(os.path.join(os.path.dirname(__file__), "../../../docs/wire.md"),
              encoding="utf-8") as page:
        rows = re.findall(r"^\| (\d+) \| `([0-9a-f ]+?)(?: × (\d+))?` \|", page.read().split("\n# Change records\n")[0],
                          re.M)
    end = 0
    for at, shown, times in rows:
        data = bytes.fromhex(shown) * int(times or 1)
        assert golden[int(at):int(at) + len(data)] == data, f"byte {at}"
        # One row begins where the last one ended; only the second batch is not shown.
        assert int(at) == end or (end, int(at)) == (664, 1056)
        end = int(at) + len(data)
    assert end == len(golden)


if __name__ == "__main__":
    os.makedirs(GOLDEN, exist_ok=True)
    for golden_name, (golden_table, golden_batches) in golden_tables().items():
        golden_data = to_bytes(golden_table, golden_batches)
        for suffix, data_of in (("pyarrow", golden_data), ("penstock", tool(golden_data))):
            with open(os.path.join(GOLDEN, f"{golden_name}.{suffix}"), "wb") as golden_out:
                golden_out.write(data_of)
