"""The fault proxy itself, against a server of a few lines that speaks in protocol messages."""
import os
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from proxy import Proxy, Rule  # noqa: E402

STARTUP = b"\0\0\0\x08\0\x03\0\0"


def message(kind, body=b""):
    return kind + (4 + len(body)).to_bytes(4, "big") + body


REPLY = message(b"T", b"abc") + message(b"D", b"0123456789") + message(b"C") + message(b"Z", b"I")


@pytest.fixture
def server():
    """Answers the start-up packet with Z, every further message with REPLY; keeps what it got."""
    listener = socket.create_server(("127.0.0.1", 0))
    got = []
    ended = threading.Event()

    def serve(conn):
        received = bytearray()
        got.append(received)
        with conn:
            data = conn.recv(65536)
            while data:
                received += data
                conn.sendall(message(b"Z", b"I") if bytes(received) == STARTUP else
                             REPLY if bytes(received).endswith(message(b"Q")) else b"")
                data = conn.recv(65536)
        ended.set()

    def accept():
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield SimpleNamespace(port=listener.getsockname()[1], got=got, ended=ended)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def receive(conn, nbytes=None):
    """nbytes bytes, or all until the end."""
    data = b""
    while nbytes is None or len(data) < nbytes:
        try:
            part = conn.recv(65536 if nbytes is None else nbytes - len(data))
        except ConnectionResetError:
            break
        if not part:
            break
        data += part
    return data


def talk(proxy):
    """Start-up and one query; gives all that came back before the proxy cut, or the whole reply."""
    with socket.create_connection(("127.0.0.1", proxy.port)) as conn:
        conn.settimeout(30)
        conn.sendall(STARTUP)
        data = receive(conn, 6)
        if len(data) == 6:
            conn.sendall(message(b"Q"))
            data += receive(conn, len(REPLY))
        return data


def through(server, *rules):
    return Proxy("127.0.0.1", server.port, rules)


def test_without_rules_bytes_pass_unchanged_and_are_counted(server):
    with through(server) as proxy:
        assert talk(proxy) == message(b"Z", b"I") + REPLY
        assert proxy.sessions[0].server.types == "ZTDCZ"
        assert proxy.sessions[0].client.types == "pQ"
        assert proxy.sessions[0].server.bytes == 6 + len(REPLY)
        assert proxy.fired == []


@pytest.mark.parametrize("k,passed", [(1, 0), (2, 6), (3, 14), (4, 29), (5, 34)])
def test_cut_at_a_server_message_passes_exactly_what_was_before(server, k, passed):
    with through(server, f"server:message={k}:cut") as proxy:
        assert talk(proxy) == (message(b"Z", b"I") + REPLY)[:passed]
        assert proxy.fired == [f"server:message={k}:cut"]


def test_cut_inside_a_message(server):
    with through(server, "server:type=D:cut=7") as proxy:
        assert talk(proxy) == (message(b"Z", b"I") + REPLY)[:14 + 7]


def test_cut_at_a_client_message_keeps_it_from_the_server(server):
    with through(server, "client:message=2:cut") as proxy:
        assert talk(proxy) == message(b"Z", b"I")
    assert bytes(server.got[0]) == STARTUP


def test_a_stranded_server_is_not_told(server):
    with through(server, "client:message=2:strand") as proxy:
        assert talk(proxy) == message(b"Z", b"I")
        assert not server.ended.wait(0.2)
    assert server.ended.wait(30)
    assert bytes(server.got[0]) == STARTUP


def test_cut_at_a_byte(server):
    with through(server, "server:byte=17:cut") as proxy:
        assert talk(proxy) == (message(b"Z", b"I") + REPLY)[:17]


def test_a_message_beyond_the_end_never_fires(server):
    with through(server, "server:message=6:cut") as proxy:
        assert talk(proxy) == message(b"Z", b"I") + REPLY
        assert proxy.fired == []


def test_corrupt_inverts_one_byte(server):
    with through(server, "server:type=D:corrupt=6") as proxy:
        wanted = bytearray(message(b"Z", b"I") + REPLY)
        wanted[14 + 6] ^= 0xFF
        assert talk(proxy) == bytes(wanted)


def test_slices_arrive_whole(server):
    with through(server, "server:all:slice=1", "client:all:slice=3") as proxy:
        assert talk(proxy) == message(b"Z", b"I") + REPLY


def test_stall_holds_until_released(server):
    with through(server, "server:message=3:stall") as proxy:
        result = []
        thread = threading.Thread(target=lambda: result.append(talk(proxy)))
        thread.start()
        assert proxy.wait_stalled()
        assert result == [] and proxy.sessions[0].server.bytes == 14
        proxy.release()
        thread.join(30)
        assert result == [message(b"Z", b"I") + REPLY]


def test_a_session_number_limits_a_rule(server):
    with through(server, "2/server:message=2:cut") as proxy:
        assert talk(proxy) == message(b"Z", b"I") + REPLY
        assert talk(proxy) == message(b"Z", b"I")
        assert talk(proxy) == message(b"Z", b"I") + REPLY


def test_a_header_in_pieces_is_one_message(server):
    with through(server) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as conn:
        for byte in STARTUP:
            conn.sendall(bytes([byte]))
        assert receive(conn, 6) == message(b"Z", b"I")
        for byte in message(b"Q"):
            conn.sendall(bytes([byte]))
        assert receive(conn, len(REPLY)) == REPLY
        assert proxy.sessions[0].client.types == "pQ"


@pytest.mark.parametrize("text", ["", "server:cut", "server:message=1", "server:message=x:cut",
                                  "both:all:cut", "server:all:slice", "server:all:melt"])
def test_a_wrong_rule_is_refused(text):
    with pytest.raises(ValueError):
        Rule(text)


def test_the_command_runs_another_and_reports(server):
    script = os.path.join(os.path.dirname(__file__), "proxy.py")
    done = subprocess.run(
        [sys.executable, script, "--server", f"127.0.0.1:{server.port}", "--",
         "sh", "-c", "echo $PGHOST; exit 3"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stdout == "127.0.0.1\n"
    assert done.stderr == '{"fired": [], "sessions": []}\n'
