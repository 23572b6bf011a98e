"""How DB, PG* variables, .pgpass, services, jdbc URLs and TLS lead to a server."""
import json
import socket

import pytest

QUERY = ["--query", "SELECT current_user, current_database(), inet_server_addr() IS NOT NULL AS tcp, "
         "(SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls", "--format", "json", "--quiet"]


def who(penstock, db, *args, env=None):
    return json.loads(penstock("read", db, *QUERY, *args, env=env).text)


@pytest.fixture(scope="module")
def roles(server):
    with server.connect() as conn:
        for role in "password_user", "tls_user":
            conn.execute(f"DO $$ BEGIN CREATE ROLE {role} LOGIN PASSWORD 'secret'; EXCEPTION WHEN duplicate_object THEN "
                         f"ALTER ROLE {role} PASSWORD 'secret'; END $$")


def test_an_empty_db_takes_everything_from_the_environment(penstock, database):
    assert who(penstock, "", env={"PGDATABASE": database.name})["current_database"] == database.name


def test_keyword_string_uri_and_jdbc_url(penstock, server, database):
    for db, tcp in [(database.url, False), (f"host=127.0.0.1 port={server.port} user=postgres dbname={database.name}", True),
                    (f"postgresql://postgres@127.0.0.1:{server.port}/{database.name}", True),
                    (f"postgres:///{database.name}", False),
                    (f"jdbc:postgresql://127.0.0.1:{server.port}/{database.name}?user=postgres&sslmode=disable", True)]:
        row = who(penstock, db)
        assert row["current_database"] == database.name and row["tcp"] is tcp, db


def test_jdbc_url_with_username_password_and_schema(penstock, server, database, roles):
    database.execute("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 5 AS a; GRANT USAGE ON SCHEMA s TO password_user; GRANT SELECT ON s.t TO password_user")
    url = f"jdbc:postgresql://127.0.0.1:{server.port}/{database.name}?currentSchema=s&prepareThreshold=3&logUnclosedConnections=true"
    done = penstock("read", url, "t", "--username", "password_user", "--password", "secret")
    assert done.text == "a\n5\n" and done.errors.count("logUnclosedConnections") == 1
    assert penstock("read", url, "t", "--username", "password_user", "--password", "wrong", code=1).errors.count("28P01") == 1


def test_several_hosts_are_tried_in_turn(penstock, server, database):
    assert who(penstock, f"jdbc:postgresql://127.0.0.1:1,127.0.0.1:{server.port}/{database.name}?user=postgres")["tcp"]
    assert who(penstock, f"host=127.0.0.1,127.0.0.1 port=1,{server.port} user=postgres dbname={database.name}")["tcp"]


def test_pgpassword_pgpass_and_service_are_honoured(penstock, server, database, roles, tmp_path):
    db = f"host=127.0.0.1 port={server.port} user=password_user dbname={database.name}"
    assert who(penstock, db, env={"PGPASSWORD": "secret"})["current_user"] == "password_user"
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{server.port}:*:password_user:secret\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert who(penstock, db, env={"PGPASSFILE": str(tmp_path / "pgpass")})["current_user"] == "password_user"
    (tmp_path / "services").write_text(f"[here]\nhost=127.0.0.1\nport={server.port}\nuser=password_user\npassword=secret\ndbname={database.name}\n")
    env = {"PGSERVICEFILE": str(tmp_path / "services"), "PGHOST": "", "PGPORT": "", "PGUSER": "", "PGDATABASE": ""}
    assert who(penstock, "service=here", env=env)["current_user"] == "password_user"


def test_tls_verify_full(penstock, server, database, roles):
    for db in (f"host=localhost port={server.port} user=tls_user password=secret dbname={database.name} sslmode=verify-full sslrootcert={server.tls_ca}",
               f"jdbc:postgresql://localhost:{server.port}/{database.name}?user=tls_user&password=secret&sslmode=verify-full&sslrootcert={server.tls_ca}"):
        assert who(penstock, db)["tls"] is True
    wrong = f"host=127.0.0.1 port={server.port} user=tls_user dbname={database.name} sslmode=verify-full sslrootcert={server.tls_ca}"
    assert "does not match host name" in penstock("tables", wrong, code=1).errors


def test_a_server_that_is_not_there_is_exit_1(penstock, database):
    done = penstock("tables", "host=127.0.0.1 port=1 user=postgres", code=1)
    assert "127.0.0.1" in done.errors and done.out == b""
    assert "no_such_database" in penstock("tables", database.url.replace(database.name, "no_such_database"), code=1).errors


def test_options_by_specification_name(penstock, server, database):
    database.execute("CREATE TABLE t AS SELECT 1 AS a")
    done = penstock("read", "", "t", "--with", f"hostname={server.host}", "--with", f"port={server.port}",
                    "--with", f"database-name={database.name}", "--with", "username=postgres", "--with", "scan.fetch-size=100")
    assert done.text == "a\n1\n" and done.errors.count("scan.fetch-size") == 1


@pytest.mark.parametrize("db, env", [
    ("jdbc:postgresql://127.0.0.1:{port}/x?user=a&connectTimeout=1", {}),
    ("jdbc:postgresql://127.0.0.1:{port}/x?user=a&loginTimeout=1", {}),
    ("postgresql://a@127.0.0.1:{port}/x?connect_timeout=1", {}),
    ("host=127.0.0.1 port={port} user=a connect_timeout=' 1'", {}),
    ("host=127.0.0.1 port={port} user=a", {"PGCONNECT_TIMEOUT": "1"}),
])
def test_a_silent_listener_ends_at_the_connect_timeout(penstock, db, env):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = penstock("tables", db.format(port=listener.getsockname()[1]), env=env, code=1)
    assert "no answer within 1000 ms" in done.errors


def test_an_explicit_connect_timeout_wins(penstock):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        db = f"host=127.0.0.1 port={listener.getsockname()[1]} user=a"
        done = penstock("tables", db + " connect_timeout=0", "--with", "connect.timeout=100ms", code=1)
        assert "no answer within 100 ms" in done.errors
    done = penstock("tables", db + " connect_timeout=0", "--with", "connect.timeout=100ms", env={"PGCONNECT_TIMEOUT": "soon"}, code=1)
    assert "refused" in done.errors
    done = penstock("tables", db, env={"PGCONNECT_TIMEOUT": "soon"}, code=2)
    assert "connect_timeout is" in done.errors and "soon" not in done.errors
