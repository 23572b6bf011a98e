"""Reads a table into Arrow by other tools, batch by batch where they can.

    peers.py duckdb|adbc|connectorx CONNINFO-URI TABLE CONNECTIONS

Prints one JSON object. Imports are done before the clock starts; connecting counts.
"""

import json
import resource
import sys
import time

import pyarrow
import pyarrow.compute


def drain(batches):
    rows = total = 0
    for batch in batches:
        rows += batch.num_rows
        total += pyarrow.compute.sum(batch.column(0)).as_py() or 0
    return rows, total


def duckdb_read(uri, table, connections):
    import importlib.resources

    import duckdb
    import duckdb_extension_postgres_scanner as extension

    path = importlib.resources.files(extension) / "extensions" / f"v{duckdb.__version__}"

    def run():
        con = duckdb.connect()
        con.execute(f"SET threads = {connections}")
        con.execute(f"LOAD '{path / 'postgres_scanner.duckdb_extension'}'")
        con.execute(f"SET pg_connection_limit = {connections}")
        con.execute(f"ATTACH '{uri}' AS pg (TYPE postgres, READ_ONLY)")
        return drain(con.execute(f"SELECT * FROM pg.{table}").to_arrow_reader(65536))

    return run


def adbc_read(uri, table, connections):
    import adbc_driver_postgresql.dbapi as adbc

    def run():
        with adbc.connect(uri) as con, con.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            return drain(cursor.fetch_record_batch())

    return run


def connectorx_read(uri, table, connections):
    import connectorx

    part = {"partition_on": "id", "partition_num": connections} if connections > 1 else {}

    def run():
        got = connectorx.read_sql(uri, f"SELECT * FROM {table}", return_type="arrow", **part)
        return drain(got.to_batches())

    return run


def main():
    name, uri, table, connections = sys.argv[1:5]
    run = {"duckdb": duckdb_read, "adbc": adbc_read, "connectorx": connectorx_read}[name](
        uri, table, int(connections)
    )
    start = time.monotonic()
    rows, total = run()
    seconds = time.monotonic() - start
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "rows": rows, "sum": total, "maxrss_kb": rss}))


main()
