"""The contract that every adapter keeps, whatever the framework and the server: the tests of `Contract`.

A subclass names the command of a server that serves one of the applications beside this module. Nothing here knows an
application but by HTTP.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import ClassVar

import pytest
from support.adapted.shared import SECRET
from support.neighbours import need
from support.servers import (
    DEADLINE,
    ROOT,
    Clients,
    Connection,
    Reply,
    Server,
    serve_command,
    unchunk,
)

from fastsse import Event, decode

__all__ = ["ENDS_WITHIN", "Contract", "ask", "log_of", "python", "running", "told", "whole"]

ENDS_WITHIN = 5.0  # s from SIGTERM to the end of a process with open streams

TESTS = os.path.join(ROOT, "tests")


def python(*words: str) -> list[str]:
    """Make the command that runs a module with this Python."""
    return [sys.executable, "-m", *words]


def running(command: list[str]) -> AbstractContextManager[Server]:
    """Start a server until it is ready; PORT stands for its port."""
    return serve_command(
        command, PYTHONPATH=os.pathsep.join([str(ROOT), TESTS]), PYTHONWARNINGS="ignore"
    )


def log_of(server: Server) -> list[str]:
    found: list[str] = json.loads(server.request("GET", "/log").body)
    return found


async def told(server: Server, before: list[str], *expected: str) -> None:
    """Wait until the log has just these new lines, in whatever order."""
    end = time.monotonic() + DEADLINE
    while True:
        new = (await asyncio.to_thread(log_of, server))[len(before) :]
        if sorted(expected) == sorted(new):
            return
        assert time.monotonic() < end, new
        await asyncio.sleep(0.02)


async def ask(server: Server, method: str, path: str, **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await asyncio.to_thread(server.request, method, path, None, names)


async def whole(server: Server, path: str, **headers: str) -> list[Event]:
    """Read a finite stream to its end."""
    reply = await ask(server, "GET", path, **headers)
    assert 200 == reply.status, reply
    return decode(reply.body)


async def beat(stream: Connection) -> None:
    """Wait for a heartbeat."""
    while not (chunk := await stream.chunk()).endswith(b":\n\n"):
        assert chunk


class Contract:
    """The tests. A subclass says how its server is run, and what that cannot do.

    Attributes:
        command: runs the server; PORT stands for its port.
        needs: the modules without which the tests skip.
        concurrent: the server answers others while a stream is open.
        heads: the application answers HEAD.
        hears: SIGTERM reaches the streams.
        ends_bodies: a body has its proper end when SIGTERM ends the stream.
        cuts: the server closes the connection of a response that has failed.
        times_out: a stalled client's stream is ended by `send_timeout`.
        place: a last event ID that the server hands on as it came.
    """

    command: ClassVar[list[str]]
    needs: ClassVar[tuple[str, ...]] = ()

    concurrent = True
    heads = True
    hears = True
    ends_bodies = True
    cuts = True
    times_out = True
    place = "7-é"

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Server]:
        if cls.needs:
            need(*cls.needs)
        with running(cls.command) as served:
            yield served

    async def test_a_stream_is_written_to_its_end(self, server: Server) -> None:
        reply = await ask(
            server, "GET", "/words", Last_Event_ID=self.place.encode().decode("latin-1")
        )

        assert (200, "text/event-stream; charset=utf-8") == (
            reply.status,
            reply.headers["content-type"],
        )
        assert "no-store, no-transform" == reply.headers["cache-control"]
        assert ("no", "?1") == (reply.headers["x-accel-buffering"], reply.headers["incremental"])
        assert [Event("one\ntwo", event="word"), Event("three", id=self.place)] == decode(
            reply.body
        )

    async def test_nothing_is_compressed(self, server: Server) -> None:
        reply = await ask(server, "GET", "/words", Accept_Encoding="gzip")

        assert "content-encoding" not in reply.headers
        assert "one\ntwo" == decode(reply.body)[0].data

    async def test_a_quiet_stream_beats_and_its_client_leaves(
        self, server: Server, clients: Clients
    ) -> None:
        before = log_of(server)
        stream = await clients.follow(server, "/endless")
        [event] = await stream.events(1)
        await beat(stream)

        await stream.close()

        assert "open" == event.data
        await told(server, before, "closed", "disconnected")

    async def test_a_generator_that_blocks_is_closed_when_its_client_leaves(
        self, server: Server, clients: Clients
    ) -> None:
        before = log_of(server)
        stream = await clients.follow(server, "/blocking")
        events = await stream.events(3)

        await stream.close()

        assert ["open"] * 3 == [event.data for event in events]
        await told(server, before, "closed", "disconnected")

    async def test_a_client_that_does_not_read_is_given_up(
        self, server: Server, clients: Clients
    ) -> None:
        if not (self.times_out and self.concurrent):
            pytest.skip("see the class")
        before = log_of(server)
        stream = await clients.connect(server, "GET /flood HTTP/1.1")
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]

        await told(server, before, "closed", "timeout")

    async def test_head_gets_the_headers_alone(self, server: Server) -> None:
        if not self.heads:
            pytest.skip("see the class")
        before = log_of(server)

        reply = await ask(server, "HEAD", "/endless")

        assert (200, b"") == (reply.status, reply.body)
        assert "text/event-stream; charset=utf-8" == reply.headers["content-type"]
        await told(server, before, "finished")

    async def test_an_exception_cuts_the_body_and_is_not_shown(
        self, server: Server, clients: Clients
    ) -> None:
        if not self.cuts:
            pytest.skip("see the class")
        stream = await clients.connect(server, "GET /fails HTTP/1.1")
        await stream.start()

        content, complete = unchunk(await stream.to_the_end())

        assert (200, False) == (stream.status, complete)
        assert ["open"] == [event.data for event in decode(content)]
        assert SECRET.encode() not in content

    async def test_an_exception_before_the_first_item_is_a_500(self, server: Server) -> None:
        reply = await ask(server, "GET", "/first")

        assert reply.status in (500, 503)
        assert SECRET.encode() not in reply.body

    async def test_a_hub_follows_and_publishes(self, server: Server, clients: Clients) -> None:
        if not self.concurrent:
            pytest.skip("see the class")
        stream = await clients.follow(server, "/hub")

        await ask(server, "POST", "/publish")
        [event] = await stream.events(1)
        await stream.close()
        back = await clients.follow(server, "/hub", f"Last-Event-ID: {event.id}")
        await ask(server, "POST", "/publish")
        [later] = await back.events(1)

        assert ("hello", "hello") == (event.data, later.data)
        assert b": fastsse" in stream.opening
        assert event.id != later.id

    @pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
    async def test_sigterm_ends_open_streams_at_once(
        self, server: Server, clients: Clients
    ) -> None:
        """The last test of its server."""
        if not self.hears:
            pytest.skip("see the class")
        stream = await clients.follow(server, "/endless")
        await stream.events(1)

        began = time.monotonic()
        server.signal(signal.SIGTERM)
        content, complete = unchunk(await stream.to_the_end())
        ended = time.monotonic() - began
        await asyncio.to_thread(server.wait)

        assert "bye" == decode(content)[-1].data
        assert complete or not self.ends_bodies
        assert ended < 1.5
        assert time.monotonic() - began < ENDS_WITHIN
