"""The adapter for WSGI: an application without a framework, under real servers."""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from support.adapted.contract import Contract, python
from support.neighbours import need
from support.servers import DEADLINE

from fastsse import decode
from fastsse.adapters import wsgi

need("flask")

APP = "support.adapted.on_flask:raw"


class TestUnderWaitress(Contract):
    needs = ("waitress",)
    command = python("waitress", "--listen", "127.0.0.1:PORT", "--threads", "8", APP)


@pytest.mark.long
class TestUnderGunicorn(Contract):
    needs = ("gunicorn",)
    command = python("gunicorn", "-k", "gthread", "--threads", "8", "-b", "127.0.0.1:PORT", APP)


@pytest.mark.long
class TestUnderSync(Contract):
    needs = ("gunicorn",)
    command = python("gunicorn", "-b", "127.0.0.1:PORT", APP)
    concurrent = False


@pytest.mark.long
class TestUnderCheroot(Contract):
    needs = ("cheroot",)
    command = python("cheroot", "--bind", "127.0.0.1:PORT", APP)


@pytest.mark.long
class TestUnderGranian(Contract):
    needs = ("granian",)
    command = python(
        "granian", "--interface", "wsgi", "--blocking-threads", "8", "--port", "PORT", APP
    )
    hears = False  # granian's own handlers come after the application is imported
    place = "7-e"  # granian decodes headers as UTF-8


class Streams:
    """One WSGI response, called as a server calls it."""

    def __init__(self) -> None:
        self.status = ""

    def __call__(self, application: Any, **environ: Any) -> Iterator[bytes]:
        def start_response(status: str, _: list[tuple[str, str]]) -> None:
            self.status = status

        return application(
            {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", **environ},
            start_response,
        )


class TestWithoutAServer:
    def test_parts_are_given_to_the_end(self) -> None:
        streams = Streams()

        parts = streams(wsgi.EventSourceResponse(["one", "two"], status_code=202))

        assert ["one", "two"] == [event.data for event in decode(b"".join(parts))]
        assert "202 Accepted" == streams.status

    @pytest.mark.parametrize("socket_of", ["gunicorn.socket", "werkzeug.socket"])
    def test_a_client_that_goes_ends_a_quiet_stream(self, socket_of: str) -> None:
        reasons: queue.Queue[str] = queue.Queue()
        ours, theirs = socket.socketpair()
        with ours:
            response = wsgi.EventSourceResponse(endless(), heartbeat=None, on_close=reasons.put)
            parts = Streams()(response, **{socket_of: ours})
            assert b":\n\n" == next(parts)[:3]

            theirs.close()

            assert "disconnected" == reasons.get(timeout=DEADLINE)
            with pytest.raises(ConnectionResetError):
                for _ in parts:
                    pass
            ours.getsockname()  # still open: only a descriptor of our own was closed

    def test_the_servers_socket_stays_as_it_is(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            parts = Streams()(wsgi.EventSourceResponse(slowly()), **{"gunicorn.socket": ours})
            next(parts)

            assert os.get_blocking(ours.fileno())
            assert b"two" in b"".join(parts)

    def test_what_a_client_sends_ends_nothing_and_stays_unread(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.send(b"GET")
            parts = Streams()(wsgi.EventSourceResponse(slowly()), **{"gunicorn.socket": ours})

            assert ["one", "two"] == [event.data for event in decode(b"".join(parts))]
            assert b"GET" == ours.recv(3)

    def test_a_stream_that_is_closed_before_it_began_runs_nothing(self) -> None:
        parts = wsgi.pull(fail, {})

        parts.close()

        assert [] == list(parts)

    def test_items_see_the_context_of_their_caller(self) -> None:
        name: ContextVar[str] = ContextVar("name")
        name.set("mine")

        async def items() -> AsyncIterator[str]:
            yield name.get()

        parts = Streams()(wsgi.EventSourceResponse(items()))

        assert ["mine"] == [event.data for event in decode(b"".join(parts))]

    def test_all_streams_can_be_ended(self) -> None:
        parts = Streams()(wsgi.EventSourceResponse(endless(), last="bye"))
        next(parts)

        wsgi.end_streams()

        assert "bye" == decode(b"".join(parts))[-1].data

    def test_every_stream_runs_on_one_loop(self) -> None:
        async def items() -> AsyncIterator[str]:
            yield str(asyncio.get_running_loop() is wsgi.loop_of_streams())

        bodies = [b"".join(Streams()(wsgi.EventSourceResponse(items()))) for _ in range(2)]

        assert ["True", "True"] == [decode(body)[0].data for body in bodies]

    @pytest.mark.parametrize("text", ["é", "\u2026"])
    def test_an_environment_of_any_kind_is_read(self, text: str) -> None:
        environ = {"HTTP_X_A": text, "PATH_INFO": text, "QUERY_STRING": f"lastEventId={text}"}

        scope = wsgi.scope_of(environ)

        assert [(b"x-a", scope["query_string"][12:])] == scope["headers"]


class TestRun:
    def test_the_result_comes_back(self) -> None:
        assert 1 == wsgi.run(asyncio.sleep(0, 1))

    def test_a_coroutine_that_takes_too_long_is_cancelled(self) -> None:
        cancelled = threading.Event()

        async def late() -> None:
            try:
                await asyncio.sleep(DEADLINE)
            finally:
                cancelled.set()

        with pytest.raises(TimeoutError):
            wsgi.run(late(), timeout=0.01)

        assert cancelled.wait(DEADLINE)

    def test_the_loop_cannot_wait_for_itself(self) -> None:
        async def outer() -> None:
            wsgi.run(asyncio.sleep(0))

        with pytest.raises(RuntimeError, match="would wait for itself"):
            wsgi.run(outer())


async def endless() -> AsyncIterator[str]:
    yield "open"
    await asyncio.Event().wait()


async def slowly() -> AsyncIterator[str]:
    yield "one"
    await asyncio.sleep(0.05)
    yield "two"


async def fail(*_: Any) -> None:
    raise AssertionError("begun")
