"""Baseline of the latency of change capture: pg_recvlogical with test_decoding, its lines read through a pipe.

    recv_latency.py CONNINFO SLOT ROWS

Ends when so many transactions have come. Prints p50, p99 and max in milliseconds from the commit's time
stamp to the line, but for the first tenth, as cdc_bench does.
"""

import datetime
import json
import os
import subprocess
import sys
import time

conninfo, slot, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
child = subprocess.Popen(
    ["pg_recvlogical", "-d", conninfo, "--slot", slot, "--start", "--no-loop", "-f", "-",
     "-o", "include-timestamp=on", "-o", "skip-empty-xacts=on"],
    stdout=subprocess.PIPE, env=os.environ | {"PGTZ": "UTC"})  # fmt: skip
begin = time.monotonic()
latencies = []
for line in child.stdout:
    now = time.time()
    if line.startswith(b"COMMIT"):
        at = datetime.datetime.fromisoformat(line.split(b"(at ")[1].split(b")")[0].decode().replace("+00", ""))
        latencies.append((now - at.replace(tzinfo=datetime.timezone.utc).timestamp()) * 1000)
        if len(latencies) == rows:
            break
child.terminate()
child.wait()
kept = sorted(latencies[rows // 10 :])
print(json.dumps({"seconds": time.monotonic() - begin, "rows": len(latencies), "p50": kept[len(kept) // 2],
                  "p99": kept[len(kept) * 99 // 100], "max": kept[-1]}))  # fmt: skip
