"""make install: what it installs, and that a program builds against it by pkg-config and runs."""
import os
import pathlib
import re
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[3]


def run(*command, env=None, cwd=TOP):
    # The make that runs the tests would hand its variables on.
    clean = {k: v for k, v in os.environ.items()
             if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "BUILD", "CC", "SAN", "COV", "T",
                          "RESULTS", "WERROR", "PREFIX", "DESTDIR")}
    clean.update(env or {})
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=clean, timeout=600, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


def make(*arguments):
    return run("make", "-C", "bridge", f"BUILD={TOP}/build", *arguments)


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


VERSION = re.findall(r"PST_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)",
                     (TOP / "bridge/include/penstock.h").read_text())
SO = "libpenstock.so." + ".".join(VERSION)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """A tree that was installed there."""
    folder = tmp_path_factory.mktemp("prefix")
    make("install", f"PREFIX={folder}")
    yield folder
    # penstock.pc goes back to the usual prefix.
    make("all")


def test_install_puts_each_thing_in_its_place(prefix):
    assert tree(prefix) == sorted([
        "bin/penstock", "include/penstock.h", f"lib/{SO}", "lib/libpenstock.so",
        "lib/libpenstock.so.0", "lib/libpenstock.a", "lib/pkgconfig/penstock.pc",
        "share/man/man1/penstock.1"])


def test_uninstall_removes_all_of_it(tmp_path):
    make("install", f"PREFIX={tmp_path}")
    assert tree(tmp_path)
    make("uninstall", f"PREFIX={tmp_path}")
    assert tree(tmp_path) == []


def test_destdir_and_single_folders_are_honoured(tmp_path):
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr", "libdir=/usr/lib/x86_64-linux-gnu",
         "mandir=/usr/man")
    assert (tmp_path / "usr/lib/x86_64-linux-gnu" / SO).exists()
    assert (tmp_path / "usr/man/man1/penstock.1").exists()
    pc = (tmp_path / "usr/lib/x86_64-linux-gnu/pkgconfig/penstock.pc").read_text()
    assert "libdir=/usr/lib/x86_64-linux-gnu\n" in pc and str(tmp_path) not in pc
    make("all")


def test_the_installed_command_finds_its_library(prefix):
    env = {"LD_LIBRARY_PATH": ""}
    assert run(prefix / "bin/penstock", "--version", env=env).split()[-1] == ".".join(VERSION)


def test_pkg_config_knows_the_version(prefix):
    env = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    assert run("pkg-config", "--modversion", "penstock", env=env).strip() == ".".join(VERSION)


def test_the_example_builds_by_pkg_config_and_copies_a_table(prefix, tmp_path, database):
    env = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
           "LDFLAGS": f"-Wl,-rpath,{prefix}/lib", "CFLAGS": "-Wall -Wextra -Werror -pedantic"}
    run("make", "-C", "examples", f"OUT={tmp_path}", env=env)
    database.execute("""
        CREATE TABLE orders (id bigint PRIMARY KEY, at timestamptz, amount numeric(12,2), note text);
        INSERT INTO orders SELECT i, now() + i * interval '1 s', i / 7.0, nullif('n' || i, 'n7')
        FROM generate_series(1, 100000) i;
        CREATE TABLE orders_copy (LIKE orders INCLUDING ALL)""")
    said = run(tmp_path / "read_write", database.url, "orders", "orders_copy")
    assert said == "100000 rows\n"
    assert database.execute("TABLE orders EXCEPT TABLE orders_copy") == []
    assert database.value("SELECT count(*) FROM orders_copy") == 100000


def test_the_example_names_what_is_missing(prefix, tmp_path, database):
    env = {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"), "LDFLAGS": f"-Wl,-rpath,{prefix}/lib"}
    run("make", "-C", "examples", f"OUT={tmp_path}", env=env)
    done = subprocess.run([tmp_path / "read_write", database.url, "no_such", "t"], text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 1 and "no_such" in done.stderr


def test_the_static_library_links_alone(prefix, tmp_path):
    source = tmp_path / "version.c"
    source.write_text('#include <penstock.h>\n#include <stdio.h>\n'
                      'int main(void) { return puts(pst_version()) < 0; }\n')
    flags = run("pkg-config", "--cflags", "--libs", "libpq", "libcjson").split()
    run("gcc", "-std=c11", f"-I{prefix}/include", source, prefix / "lib/libpenstock.a", *flags,
        "-o", tmp_path / "version")
    assert run(tmp_path / "version").strip() == ".".join(VERSION)
