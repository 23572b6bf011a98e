"""Bridge and extension of different versions: what the database has decides how rows are read, and what is
told. Other versions are made from this one by what a release may change; whole updates, with another
library, are in regress/t/update.pl."""
import json

import pytest

pytestmark = pytest.mark.extension

SCAN = "penstock.scan(text, int, text, text[], int)"
# The extension's own function takes another's place under another name.
AWAY = (f"ALTER FUNCTION {SCAN} RENAME TO scan_before; "
        f"ALTER EXTENSION penstock DROP FUNCTION {SCAN.replace('scan', 'scan_before', 1)}; ")
ARGUMENTS = ("query text, target_bytes int DEFAULT 1048576, special_values text DEFAULT 'error', "
             "text_columns text[] DEFAULT '{}', max_rows int DEFAULT 2147483647")
BODY = ("LANGUAGE sql AS $$ SELECT penstock.scan_before(query, target_bytes, special_values, text_columns, "
        "max_rows::int) $$; ALTER EXTENSION penstock ADD FUNCTION penstock.scan; ")
NO_SCAN = "in the database has no scan that libpenstock"


@pytest.fixture
def db(database):
    database.execute("CREATE EXTENSION IF NOT EXISTS penstock; CREATE TABLE t (id int PRIMARY KEY, name text); "
                     "INSERT INTO t SELECT i, 'n' || i FROM generate_series(1, 100) i")
    return database


def transport_check(penstock, db, **more):
    done = penstock("doctor", db.url, "--json", code=None, **more)
    return next(c for c in json.loads(done.text)["checks"] if c["check"] == "transport")


def read(penstock, db, *args):
    """The transport and whatever else is told, once the rows have proved right."""
    done = penstock("read", db.url, "t", *args)
    assert sorted(done.text.splitlines()[1:]) == sorted(f"{i},n{i}" for i in range(1, 101))
    return ("assisted" if "transport assisted" in done.errors else "plain"), done.errors


def test_a_newer_extension_with_more_arguments_is_read_assisted(penstock, db):
    db.execute(AWAY + f"CREATE FUNCTION penstock.scan({ARGUMENTS}, compress boolean DEFAULT false) "
               "RETURNS SETOF bytea " + BODY)
    assert read(penstock, db)[0] == "assisted"
    assert transport_check(penstock, db)["status"] == "ok"


@pytest.mark.parametrize("made", [
    # An older one, before scan; a much newer one: other types, an argument that must be given, another answer.
    "",
    f"CREATE FUNCTION penstock.scan({ARGUMENTS.replace('max_rows int', 'max_rows bigint')}) RETURNS SETOF bytea " + BODY,
    f"CREATE FUNCTION penstock.scan({ARGUMENTS.split(' DEFAULT')[0]}, special_values text, text_columns text[], "
    "max_rows int, must boolean) RETURNS SETOF bytea " + BODY,
    f"CREATE FUNCTION penstock.scan({ARGUMENTS}) RETURNS bytea " + BODY,
], ids=["none", "types", "required", "result"])
def test_an_extension_without_the_scan_that_is_known_is_read_plain_and_told(penstock, db, made):
    db.execute(AWAY + made)
    transport, told = read(penstock, db)
    assert transport == "plain" and "reads are plain: the extension penstock" in told and NO_SCAN in told
    check = transport_check(penstock, db)
    assert check["status"] == "reduced" and check["message"].startswith("plain: the extension penstock ")
    assert "no scan that this penstock can call" in check["message"]
    assert "take a penstock of the extension's version" in check["fix"]
    done = penstock("read", db.url, "t", "--with", "transport=assisted", code=None)
    assert done.code != 0 and NO_SCAN in done.errors and "ALTER EXTENSION penstock UPDATE" in done.errors


def test_a_role_without_rights_reads_plain_and_is_told(penstock, db):
    role = f"poor_{db.name}"
    db.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON t TO {role}; REVOKE USAGE ON SCHEMA penstock FROM PUBLIC")
    url = db.server.url(db.name, user=role)
    try:
        done = penstock("read", url, "t")
        assert "reads are plain: the role may not call penstock.scan" in done.errors
        done = penstock("read", url, "t", "--with", "transport=assisted", code=None)
        assert done.code != 0 and "GRANT USAGE ON SCHEMA penstock" in done.errors
    finally:
        db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_doctor_has_the_statement_of_an_update_that_is_due(penstock, db):
    db.execute("UPDATE pg_extension SET extversion = '0.0' WHERE extname = 'penstock'")
    check = transport_check(penstock, db)
    assert check["status"] == "reduced" and check["fix"] == "ALTER EXTENSION penstock UPDATE;"


def test_a_script_newer_than_the_servers_files_is_told_by_the_read_and_by_doctor(penstock, db):
    db.execute("UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'penstock'")
    done = penstock("read", db.url, "t", code=None)
    assert done.code != 0
    assert "the database has the extension penstock 99.0, and the server's library file is that of" in done.errors
    assert "Install penstock 99.0 or newer on the server." in done.errors
    assert read(penstock, db, "--with", "transport=plain")[0] == "plain"
    check = transport_check(penstock, db)
    assert check["status"] == "blocked" and "transport=plain" in check["message"]
    assert check["fix"] == "-- install penstock 99.0 or newer on this server"
