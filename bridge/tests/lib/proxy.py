#!/usr/bin/env python3
"""proxy - stands between a client and a PostgreSQL server and does harm at an exact place.

As a module (fixture `proxy` of live/conftest.py):

    with Proxy(port=5432, rules=["server:message=7:cut"]) as proxy:
        ...connect to 127.0.0.1, proxy.port...
    proxy.fired         which rules came to act
    proxy.sessions[0]   what passed: .client.types == "pQX", .server.types == "RSSSZTDCZ"

As a command:

    proxy.py [--server HOST:PORT] [--rule RULE]... -- COMMAND     PGHOST, PGPORT lead to the proxy
    proxy.py [--server HOST:PORT] [--rule RULE]...                prints its port, serves until its
                                                                  standard input ends
Both print a report as one line of JSON at the end. The server is PGHOST:PGPORT by default.

A RULE is [SESSION/]SIDE:WHERE:ACTION.

    SESSION   number of the session, from 1; without it every session. Cancel requests are passed on
              untouched and are no sessions.
    SIDE      client (what the client sends) or server (what it receives)
    WHERE     all | byte=N (offset in the stream, from 0) | message=N (from 1)
              | type=C or type=C#N (the N-th message of that type letter, by default the first)
    ACTION    cut        close both connections before this byte or message is passed
              cut=N      … after N bytes of this message were passed
              strand     close the client's connection only: the server learns nothing of it
              stall      pass nothing more on this side until release() is called
              stall=N    … after N bytes of this message were passed
              delay=MS   wait once, then go on; with WHERE all before every piece
              slice=N    from here on pass pieces of N bytes, each a packet of its own
              corrupt=N  invert byte N of this message (default 0: its type; with byte=: that byte)

Messages are those of the protocol version 3; the start-up packet counts as the client's message 1,
of type p; the answer to an SSL request is the server's, of type ?. After TLS has begun there are only
bytes.
"""
import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


class Rule:
    """One parsed rule; fired counts how often it acted."""

    PATTERN = re.compile(
        r"(?:(?P<session>\d+)/)?(?P<side>client|server)"
        r":(?P<where>all|byte=(?P<byte>\d+)|message=(?P<message>\d+)|type=(?P<type>.)(?:#(?P<nth>\d+))?)"
        r":(?P<action>cut|strand|stall|delay|slice|corrupt)(?:=(?P<value>\d+))?")

    def __init__(self, text):
        match = self.PATTERN.fullmatch(text)
        if not match:
            raise ValueError(f"not a rule: {text}")
        self.text, self.fired = text, 0
        self.session = int(match["session"]) if match["session"] else None
        self.side, self.action = match["side"], match["action"]
        self.value = int(match["value"]) if match["value"] else 0
        if self.action in ("delay", "slice") and self.value == 0:
            raise ValueError(f"{self.action} needs a value: {text}")
        self.byte = int(match["byte"]) if match["byte"] else None
        self.message = int(match["message"]) if match["message"] else None
        self.type = match["type"]
        self.nth = int(match["nth"] or 1)

    def offset(self, flow):
        """Where in the stream of a flow that is at the head of a message this rule acts, or None."""
        if self.byte is not None:
            return self.byte
        chosen = (flow.count == self.message if self.message else
                  self.type == flow.type and flow.types.count(flow.type) == self.nth
                  if self.type else False)
        if not chosen:
            return None
        return flow.head + (self.value if self.action in ("cut", "corrupt", "stall") else 0)


class Cut(Exception):
    """The session ends here."""


class Strand(Exception):
    """It ends for the client."""


class Flow:
    """One direction of one session: framing, counting, harm."""

    def __init__(self, session, side):
        self.session, self.side = session, side
        self.types = ""        # a letter for each message
        self.count = 0         # messages begun
        self.bytes = 0         # passed on
        self.type = ""         # of the present message
        self.head = 0          # where it begins in the stream
        self.left = 0          # bytes of it that are still to come
        self.raw = False       # TLS: no more messages
        self.pending = b""     # a header that is not complete yet
        self.slice = 0
        self.actions = []      # (offset, rule) that are due in the present message
        self.started = side == "server"   # the client's first packet has no type

    def rules(self):
        for rule in self.session.proxy.rules:
            if rule.side == self.side and rule.session in (None, self.session.number):
                yield rule

    def begin(self, kind, length):
        """A message of this type and whole length begins at self.head."""
        self.type, self.left = kind, length
        self.types += kind
        self.count += 1
        for rule in self.rules():
            offset = rule.offset(self)
            if offset is not None and rule.byte is None:
                self.actions.append((offset, rule))

    def parse_header(self, data):
        """Begins the message at the front of data; False when there is too little of it."""
        if self.side == "server" and self.session.encryption_asked:
            self.session.encryption_asked = False
            self.begin("?", 1)
            if data[:1] in (b"S", b"G"):
                self.session.client.raw = self.session.server.raw = True
        elif self.started:
            if len(data) < 5:
                return False
            self.begin(chr(data[0]), 1 + int.from_bytes(data[1:5], "big"))
        else:
            if len(data) < 8:
                return False
            code = int.from_bytes(data[4:8], "big")
            if code in (SSL_REQUEST, GSS_REQUEST):
                self.session.encryption_asked = True
            elif code == CANCEL_REQUEST:
                self.session.is_cancel = True
            else:
                self.started = True
                self.session.begins()
            self.begin("p", int.from_bytes(data[0:4], "big"))
        return True

    async def feed(self, data, send):
        """Passes data on by send, message by message."""
        data = self.pending + data
        self.pending = b""
        while data:
            if self.raw:
                self.left = len(data)
            elif self.left == 0:
                self.head = self.bytes
                if not self.parse_header(data):
                    self.pending = data
                    return
            piece = data[:self.left]
            self.left -= len(piece)
            data = data[len(piece):]
            await self.pass_on(piece, send)

    def due(self, length):
        """(offset, rule) of what happens within the next length bytes, in order."""
        found = [item for item in self.actions if item[0] < self.bytes + length]
        self.actions = [item for item in self.actions if item not in found]
        found += [(rule.byte, rule) for rule in self.rules()
                  if rule.byte is not None and self.bytes <= rule.byte < self.bytes + length]
        return sorted(found, key=lambda item: item[0])

    async def pass_on(self, piece, send):
        piece = bytearray(piece)
        start = self.bytes
        if self.session.is_cancel:
            await self.send(piece, send)
            return
        for rule in self.rules():
            if rule.byte is None and not rule.message and not rule.type:
                await self.act(rule, piece, 0)
        for offset, rule in self.due(len(piece)):
            passed = self.bytes - start
            await self.send(piece[passed:offset - start], send)
            await self.act(rule, piece, offset - start)
        await self.send(piece[self.bytes - start:], send)

    async def act(self, rule, piece, at):
        rule.fired += 1
        if rule.action == "cut":
            raise Cut
        if rule.action == "strand":
            raise Strand
        if rule.action == "corrupt":
            piece[at] ^= 0xFF
        elif rule.action == "slice":
            self.slice = rule.value
        elif rule.action == "delay":
            await asyncio.sleep(rule.value / 1000)
        else:
            self.session.proxy.stalled.set()
            await self.session.proxy.released.wait()

    async def send(self, data, send):
        step = self.slice or len(data) or 1
        for at in range(0, len(data), step):
            part = bytes(data[at:at + step])
            self.bytes += len(part)     # before: who has received it must find it counted
            await send(part)
            if self.slice:
                await asyncio.sleep(0)

    def report(self):
        return {"types": self.types, "messages": self.count, "bytes": self.bytes}


class Session:
    """One connection of a client and ours to the server."""

    def __init__(self, proxy):
        self.proxy, self.number = proxy, None
        self.is_cancel = self.encryption_asked = self.was_cut = False
        self.client, self.server = Flow(self, "client"), Flow(self, "server")

    def begins(self):
        self.proxy.sessions.append(self)
        self.number = len(self.proxy.sessions)

    async def pump(self, flow, reader, writer):
        async def send(part):
            writer.write(part)
            await writer.drain()    # with a limit of 0: until the kernel has it

        while True:
            data = await reader.read(65536)
            if not data:
                writer.write_eof()
                return
            await flow.feed(data, send)

    async def run(self, client_reader, client_writer):
        try:
            server_reader, server_writer = await self.proxy.connect_server()
        except OSError:
            client_writer.close()
            return
        for writer in (client_writer, server_writer):
            writer.transport.set_write_buffer_limits(high=0)
            sock = writer.get_extra_info("socket")
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [asyncio.ensure_future(self.pump(self.client, client_reader, server_writer)),
                 asyncio.ensure_future(self.pump(self.server, server_reader, client_writer))]
        try:
            await asyncio.gather(*pumps)
        except Cut:
            self.was_cut = True
        except Strand:
            self.was_cut = True
            for pump in pumps:
                pump.cancel()
            client_writer.close()
            await server_writer.wait_closed()   # until the proxy ends
        except (OSError, asyncio.CancelledError, RuntimeError):
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            for writer in (client_writer, server_writer):
                writer.close()

    def report(self):
        return {"cut": self.was_cut, "client": self.client.report(), "server": self.server.report()}


class Proxy:
    """A proxy in a thread of its own, on a free port of 127.0.0.1."""

    def __init__(self, host=None, port=None, rules=()):
        self.host = host or os.environ.get("PGHOST", "127.0.0.1")
        self.server_port = int(port or os.environ.get("PGPORT", "5432"))
        self.rules = [Rule(text) for text in rules]
        self.sessions, self.port = [], None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stall_seen = threading.Event()
        self._tasks = set()

    async def connect_server(self):
        if self.host.startswith("/"):
            return await asyncio.open_unix_connection(f"{self.host}/.s.PGSQL.{self.server_port}")
        return await asyncio.open_connection(self.host, self.server_port)

    async def _start(self):
        self.released = asyncio.Event()
        self.stalled = self._stall_seen
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await Session(self).run(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _stop(self):
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def __enter__(self):
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_):
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def set_rules(self, *rules):
        """Replaces the rules, for what passes from now on."""
        self.rules = [Rule(text) for text in rules]

    def wait_stalled(self, timeout=30):
        """Waits until a stall rule has acted; False when that did not happen."""
        return self._stall_seen.wait(timeout)

    def release(self):
        """Lets everything that is stalled go on."""
        self._loop.call_soon_threadsafe(self.released.set)

    @property
    def fired(self):
        """The texts of the rules that have acted."""
        return [rule.text for rule in self.rules if rule.fired]

    def url(self, dbname="postgres", user="postgres", **parameters):
        """A libpq keyword string that leads to the server through the proxy, by default without TLS,
        in which there are no messages to be seen."""
        words = dict(host="127.0.0.1", port=self.port, dbname=dbname, user=user, sslmode="disable")
        words.update(parameters)
        return " ".join(f"{key}={value}" for key, value in words.items())

    def report(self):
        return {"fired": self.fired, "sessions": [session.report() for session in self.sessions]}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="")
    parser.add_argument("--rule", action="append", default=[])
    parser.add_argument("command", nargs="*")
    args = parser.parse_args()
    host, _, port = args.server.rpartition(":")
    code = 0
    with Proxy(host or None, port or None, args.rule) as proxy:
        if args.command:
            env = dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(proxy.port))
            code = subprocess.run(args.command, env=env).returncode
        else:
            print(proxy.port, flush=True)
            sys.stdin.read()
    out = sys.stderr if args.command else sys.stdout
    print(json.dumps(proxy.report()), file=out, flush=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
