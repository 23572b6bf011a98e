"""A capture whose server was lost: a promoted standby that has its slot goes on exactly; one that lacks what the
position counts on is a named error. Each has servers of its own, which it leaves promoted."""
import os
import pathlib
import subprocess
import sys

import pytest

from failover import CASES

FAILOVER = pathlib.Path(__file__).resolve().parents[1] / "lib/failover.py"


@pytest.mark.since(17, "synchronised slots")
@pytest.mark.parametrize("transport", [pytest.param("assisted", marks=pytest.mark.extension), "plain"])
@pytest.mark.parametrize("case", CASES)
def test_a_promoted_standby(server, case, transport):
    command = server.beside_others("--standby", "--", sys.executable, FAILOVER, transport, case)
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
