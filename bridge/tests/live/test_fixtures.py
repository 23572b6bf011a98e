"""The live tests' own tools against a real server."""
import time

import psycopg
import pytest


def test_each_test_has_an_empty_database_of_its_own(database, server):
    database.execute("CREATE TABLE t (a int)")
    assert database.value("SELECT count(*) FROM t") == 0
    with server.connect() as conn:
        assert conn.execute("SELECT to_regclass('t')").fetchone()[0] is None


def test_verify_full_accepts_localhost_and_nothing_else(server):
    tls = dict(sslmode="verify-full", sslrootcert=server.tls_ca)
    with server.connect(host="localhost", **tls) as conn:
        assert conn.pgconn.ssl_in_use
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        server.connect(host="127.0.0.1", **tls)


def test_password_user_and_tls_user_are_held_to_it(server):
    with server.connect() as conn:
        for role in "password_user", "tls_user":
            conn.execute(f"DROP ROLE IF EXISTS {role}")
            conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    with pytest.raises(psycopg.OperationalError, match="password"):
        server.connect(host="127.0.0.1", user="password_user", password="wrong")
    server.connect(host="127.0.0.1", user="password_user", password="secret").close()
    with pytest.raises(psycopg.OperationalError):
        server.connect(host="127.0.0.1", user="tls_user", sslmode="disable")
    server.connect(host="127.0.0.1", user="tls_user", sslmode="require").close()


def test_the_standby_follows(database, server):
    database.execute("CREATE TABLE t AS SELECT 42 AS a")
    # 10 renamed these functions.
    written, replayed = (("pg_current_wal_lsn", "pg_last_wal_replay_lsn") if server.version >= 100000
                         else ("pg_current_xlog_location", "pg_last_xlog_replay_location"))
    lsn = database.value(f"SELECT {written}()::text")
    deadline = time.monotonic() + 60
    with server.connect(port=server.standby_port) as standby:
        while not standby.execute(f"SELECT {replayed}() >= %s::pg_lsn", [lsn]).fetchone()[0]:
            assert time.monotonic() < deadline, "the standby does not follow"
    with server.connect(database.name, port=server.standby_port) as standby:
        assert standby.execute("SELECT a FROM t").fetchone()[0] == 42


def test_the_proxy_understands_a_real_session(database, proxy):
    through = proxy()
    with psycopg.connect(through.url(database.name), autocommit=True) as conn:
        conn.execute("SELECT 1")
    session = through.sessions[0]
    assert session.client.types.startswith("pQ")
    assert session.server.types.count("Z") >= 2


def test_the_proxy_counts_only_bytes_under_tls(database, proxy):
    through = proxy()
    with psycopg.connect(through.url(database.name, sslmode="require"), autocommit=True) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert through.sessions == []


def test_a_cut_loses_the_connection(database, proxy):
    through = proxy("server:type=D:cut")
    with psycopg.connect(through.url(database.name), autocommit=True) as conn:
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")
    assert through.fired == ["server:type=D:cut"]
