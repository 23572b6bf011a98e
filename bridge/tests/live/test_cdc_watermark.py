"""The tests of the traps catch a capture that goes by LSNs (lib/watermark.py), which passes the plain ones."""
import os
import pathlib
import subprocess
import sys

import pytest

# An older server runs out of slots for callbacks when it begins so often in one session.
pytestmark = pytest.mark.since(11, "a pgoutput that many calls of a session can use")
HERE = pathlib.Path(__file__).parent
CAUGHT = ["test_a_commit_before_the_slot_that_a_later_snapshot_does_not_see[plain]",
          "test_the_slots_snapshot_is_not_read_before_everyone_sees_what_it_sees[plain]",
          "test_rewriting_alter_in_the_stream[plain]",
          "test_a_row_that_was_read_deleted_and_not_read_again[plain-upsert]",
          "test_a_key_update_that_comes_twice_while_its_key_is_used_anew[plain-replay]",
          pytest.param("test_truncate_of_a_leaf[plain-root]", marks=pytest.mark.since(13, "published partitioned tables"))]


def run(server, file, test):
    env = dict(os.environ, PENSTOCK_CDC_TOOL=str(HERE.parent / "lib/watermark.py"), PENSTOCK_CDC_TIMEOUT="20",
               PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
                           f"{HERE / file}::{test}"], env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("test", CAUGHT)
def test_a_watermark_is_caught(server, test):
    done = run(server, "test_cdc_traps.py", test)
    assert done.returncode == 1 and "Wrong" in done.stdout, done.stdout


def test_a_watermark_passes_where_there_is_no_trap(server):
    done = run(server, "test_cdc_exact.py", "test_every_commit_is_the_table_at_that_commit[plain]")
    assert done.returncode == 0, done.stdout
