"""A capture whose server was lost: a promoted standby that has its slot goes on exactly; one that lacks what the
position counts on is a named error. Each has servers of its own, which it leaves promoted."""
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.long
@pytest.mark.since(17, "synchronised slots")
@pytest.mark.parametrize("how", ["followed", "inside a snapshot", "inside a transaction", "behind"])
def test_a_promoted_standby(server, how):
    command = [TOP / "scripts/cluster", "--bin", server.pgbin, "--standby", "--", sys.executable,
               TOP / "bridge/tests/lib/failover.py", how]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
