"""Types on both ways: what every type holds goes through every format and through copy unchanged, but
for what docs/types.md says."""
import io

import pyarrow
import pytest


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
