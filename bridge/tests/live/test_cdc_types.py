"""Change capture: a row of the stream has the form and the bytes that a read of the table gives, for every type and
by both output plugins."""
import pytest

from all_types import create_every_value
from scene import Scene

AGAIN = 100000


@pytest.fixture(params=[pytest.param("assisted", marks=pytest.mark.extension), "plain"])
def scene(request, server, database):
    made = Scene(server, database, request.param)
    yield made
    made.end()


def rows_by_n(events, snapshot):
    """{n: {column: value}} of table every, by the tool's json; n of the stream as it was in the snapshot."""
    rows = {}
    for event in events:
        if event["event"] != "rows" or event["table"] != "every" or event["snapshot"] != snapshot:
            continue
        for row in event["rows"]:
            assert not row["unchanged"]
            values = dict(zip(event["columns"], row["values"], strict=True))
            rows[int(values.pop("n")) - (0 if snapshot else AGAIN)] = values
    return rows


# Only what becomes an Arrow value can be clamped.
@pytest.mark.parametrize("values, special, texts",
                         [(values, "null", texts) for values in ("arrow", "csv", "lossless") for texts in (None, "*")]
                         + [("arrow", "clamp", None)])
def test_a_row_of_the_stream_is_as_it_was_read(scene, values, special, texts):
    types = create_every_value(scene.conn, "every")
    scene.sql("CREATE TABLE copies AS SELECT * FROM every")
    scene.sql(f"UPDATE copies SET n = n + {AGAIN}")
    capture = scene.capture(("every",), options={
        "read.values": values, "special-values": special, "read.text-columns": texts})
    events, complete = [], []
    capture.replica.apply = lambda event: (events.append(event), event["event"] == "complete" and complete.append(1))
    capture.start()
    capture.until(lambda: complete)
    scene.sql("INSERT INTO every SELECT * FROM copies")
    count = scene.value("SELECT count(*) FROM copies")
    capture.until(lambda: len(rows_by_n(events, False)) == count)
    read, streamed = rows_by_n(events, True), rows_by_n(events, False)
    assert len(read) == count
    different = [(types[column], value, streamed[n][column]) for n, row in read.items() for column, value in row.items()
                 if streamed[n][column] != value]
    assert not different, different[:10]
    # Told once: the stream's schema is that of the read.
    schemas = [event for event in events if event["event"] == "schema" and event["table"] == "every"]
    assert len(schemas) == 1, [[f for f in zip(s["columns"], s["formats"])] for s in schemas]
