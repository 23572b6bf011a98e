"""README.md is true: its commands run, its C compiles and runs, its targets and files exist."""
import json
import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]
README = (TOP / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


@pytest.fixture
def shop(server):
    """The database that the examples use."""
    with server.connect() as conn:
        conn.execute("DROP DATABASE IF EXISTS shop")
        conn.execute("CREATE DATABASE shop")
    yield
    with server.connect() as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'")
        conn.execute("DROP DATABASE shop")


def test_the_shell_example_runs_word_by_word(shop, server, tmp_path):
    script = next(block for block in blocks("sh") if "penstock read" in block)
    path = [os.path.dirname(os.environ["PENSTOCK_BIN"]), str(TOP / "build/venv/bin"),
            os.environ["PATH"]]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, text=True,
                          env=dict(os.environ, PATH=":".join(path)), capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=300)
    assert done.returncode == 0, done.stderr
    assert '{"id":2,"customer":"Grace","amount":12.50}' in done.stdout
    assert "CREATE TABLE" in done.stdout and "'connector'" in done.stdout
    with server.connect("shop") as conn:
        rows = "SELECT id, customer, amount::text FROM {} ORDER BY id"
        want = [(1, "Ada", "9.90"), (2, "Grace", "12.50")]
        assert conn.execute(rows.format("orders_copy")).fetchall() == want
        want[0] = (1, "Ada", "11.00")
        assert conn.execute(rows.format("orders")).fetchall() == want
        assert conn.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'penstock_orders'").fetchall() == []
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"before":')]
    assert [line["op"] for line in lines] == ["r", "r", "u"]
    assert lines[2]["after"] == {"id": 1, "customer": "Ada", "amount": "11.00"}


C_PROGRAM = """
#include <penstock.h>
#include <stdio.h>

int
main(void)
{
	pst_error err = PST_ERROR_INIT;
	pst_source *source = NULL;
	pst_sink *sink = NULL;
	struct ArrowSchema schema = {0};
	struct ArrowArrayStream rows = {0};
	struct ArrowArray batch = {0};

%s
	rows.release(&rows);
	schema.release(&schema);
	if (err.status < 0)
		fprintf(stderr, "%%s\\n", err.message);
	return err.status < 0;
}
"""


def test_the_c_example_compiles_without_a_warning_and_copies(shop, server, tmp_path):
    # After the source is closed its stream must still be released, so the program does that last.
    source = tmp_path / "first.c"
    source.write_text(C_PROGRAM % blocks("c")[0])
    build = TOP / "build"
    subprocess.run(["make", "-s", "-C", TOP / "bridge", f"BUILD={build}", "all"], check=True,
                   env={k: v for k, v in os.environ.items()
                        if k not in ("MAKEFLAGS", "MFLAGS", "CC", "SAN", "BUILD", "COV", "WERROR")})
    subprocess.run(["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{TOP}/bridge/include",
                    source, f"-L{build}", "-lpenstock", f"-Wl,-rpath,{build}", "-o",
                    tmp_path / "first"], check=True)
    with server.connect("shop") as conn:
        conn.execute("CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12,2))")
        conn.execute("INSERT INTO orders SELECT i, i / 3.0 FROM generate_series(1, 1000) i")
        conn.execute("CREATE TABLE orders_copy (LIKE orders INCLUDING ALL)")
    done = subprocess.run([tmp_path / "first"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with server.connect("shop") as conn:
        assert conn.execute("SELECT count(*) FROM orders_copy JOIN orders USING (id, amount)"
                            ).fetchone()[0] == 1000


def test_every_make_target_that_is_named_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", README))
    named |= set(re.findall(r"\bmake ([a-z][a-z-]*)", (TOP / "docs/architecture.md").read_text()))
    makefile = (TOP / "Makefile").read_text()
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/bridge.md",
                                      "CONTRIBUTING.md", "bridge/tests/README.md"])
def test_every_file_that_is_named_exists(document):
    text = (TOP / document).read_text()
    folder = (TOP / document).parent
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (folder / link).exists(), link
    for name in re.findall(r"`([a-z_.]+(?:/[a-z_.]*)+)`", text):
        if not name.startswith("build/"):
            assert any((base / name).exists() for base in (TOP, folder, TOP / "bridge/src", TOP / "bridge/tests")), name
    for name in re.findall(r"`([a-z_]+\.(?:c|h|def|sql|py))`", text):
        assert list(TOP.glob(f"[!b]*/{name}")) or list(TOP.glob(f"bridge/**/{name}")), name


def test_the_map_names_each_folder():
    tracked = subprocess.run(["git", "-C", TOP, "ls-files"], capture_output=True, text=True)
    if tracked.returncode != 0:
        pytest.skip("not a git clone")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines() if "/" in line}
    for folder in top - {".ci"}:
        assert f"`{folder}/" in README, folder


def test_the_servers_that_are_promised_are_those_that_are_tested():
    known = (TOP / "scripts/versions").read_text()
    versions = re.findall(r"^(?:known=')?(\d+(?:\.\d+)+) [0-9a-f]{64}", known, re.M)
    assert versions[0].startswith("9.6") and versions[-1].startswith("18")
    assert "9.6 to 18" in README
