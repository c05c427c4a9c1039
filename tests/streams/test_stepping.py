"""Stepping: awaitables begun without a task, and the server's own `send` behind a framework's wrappers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from support.driver import open_stream
from support.neighbours import need

from fastsse import EventSourceResponse
from fastsse._stepping import DONE, finish, own_send

Send = Callable[[Any], Awaitable[None]]


class Granian:
    """A `send` that is granian's by the module of its class."""

    __module__ = "granian.driver"

    async def send(self, message: Any) -> None:
        """Take any message."""


def noting(send: Send) -> Send:
    """Wrap `send` as frameworks do, to know whether the response has started."""
    begun = False

    async def wrapper(message: Any) -> None:
        nonlocal begun
        if message["type"] == "http.response.start":
            begun = True
        await send(message)

    return wrapper


def dropping(send: Send) -> Send:
    dropped = False

    async def wrapper(message: Any) -> None:
        nonlocal dropped
        if message["type"] == "http.response.body":
            dropped = True
        else:
            await send(message)

    return wrapper


def named(send: Send) -> Send:
    begun = False

    async def wrapper(message: Any) -> None:
        nonlocal begun
        if message["type"] == "http.response.start":
            begun = True
            message["headers"].append((b"x-a", b"b"))
        await send(message)

    return wrapper


def twice(send: Send) -> Send:
    begun = False

    async def wrapper(message: Any) -> None:
        nonlocal begun
        if message["type"] == "http.response.start":
            begun = True
        await send(message)
        await send(message)

    return wrapper


def other_start(send: Send) -> Send:
    begun = False

    async def wrapper(message: Any) -> None:
        nonlocal begun
        if message["type"] == "http.response.stars":
            begun = True
        await send(message)

    return wrapper


class TestTheServersOwnSend:
    def test_a_servers_method_is_its_own(self) -> None:
        server = Granian()

        assert server.send == own_send(server.send)

    def test_wrappers_that_only_note_the_start_are_seen_through(self) -> None:
        server = Granian()

        assert server.send == own_send(noting(noting(noting(server.send))))

    @pytest.mark.parametrize("wrap", [dropping, named, twice, other_start])
    def test_a_wrapper_that_does_anything_else_is_not(self, wrap: Callable[[Send], Send]) -> None:
        server = Granian()

        assert own_send(wrap(server.send)) is None
        assert own_send(noting(wrap(server.send))) is None

    def test_wrappers_without_end_are_not_followed(self) -> None:
        send: Send = Granian().send
        for _ in range(1000):
            send = noting(send)

        assert own_send(send) is None

    @pytest.mark.parametrize(
        "send",
        [print, asyncio.sleep, Granian, Granian(), noting(asyncio.sleep), None],
    )
    def test_what_is_no_servers_method_is_none(self, send: Any) -> None:
        assert own_send(send) is None


async def found_by_an_endpoint(wrap: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Answer by an endpoint of FastAPI in `wrap`; return what `own_send` finds there, and the server's own."""
    need("fastapi")
    from fastapi import FastAPI

    sends: list[Any] = []

    class Looking(EventSourceResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            sends.append(own_send(send))
            await super().__call__(scope, receive, send)

    app = FastAPI()

    @app.get("/", response_model=None)
    async def endpoint() -> EventSourceResponse:
        return Looking(["a"])

    async def served(scope: Any, receive: Any, send: Any) -> None:
        sends.append(send)
        await wrap(app)(scope, receive, send)

    async with open_stream(served, "/", sends="direct") as stream:
        assert b":\n\ndata: a\n\n" == await stream.rest()
    return sends[1], sends[0]


async def test_the_servers_own_send_is_found_behind_all_that_fastapi_puts_around_it() -> None:
    found, servers = await found_by_an_endpoint(lambda app: app)

    assert servers == found


async def test_a_middleware_is_not_seen_through() -> None:
    need("starlette")
    from starlette.middleware.base import BaseHTTPMiddleware

    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    def pure(app: Any) -> Any:
        async def middleware(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, named(send))

        return middleware

    for wrap in (lambda app: BaseHTTPMiddleware(app, dispatch), pure):
        found, _ = await found_by_an_endpoint(wrap)

        assert found is None


class TestFinishing:
    """An awaitable that was begun outside every task is finished by one."""

    async def test_it_goes_on_through_all_waits_and_returns_the_result(self) -> None:
        first, second = asyncio.Event(), asyncio.Event()

        async def waits() -> str:
            await first.wait()
            await asyncio.sleep(0)
            await second.wait()
            return "done"

        steps = waits().__await__()
        waits_for = next(steps)
        task = asyncio.ensure_future(_finished(steps, waits_for))
        first.set()
        await asyncio.sleep(0.001)
        before = task.done()
        second.set()

        assert "done" == await task
        assert not before

    async def test_what_it_waited_for_may_have_come_before_the_task_began(self) -> None:
        future = asyncio.get_running_loop().create_future()

        async def waits() -> str:
            return str(await future)

        steps = waits().__await__()
        waits_for = next(steps)
        future.set_result("early")

        assert "early" == await asyncio.create_task(_finished(steps, waits_for))

    async def test_its_exception_is_raised(self) -> None:
        async def fails() -> None:
            await asyncio.sleep(0)
            raise KeyError("late")

        steps = fails().__await__()

        with pytest.raises(KeyError, match="late"):
            await _finished(steps, next(steps))

    async def test_a_cancellation_reaches_it_and_it_may_go_on(self) -> None:
        seen: list[str] = []

        async def stubborn() -> str:
            for _ in range(2):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    seen.append("cancelled")
            return "done"

        steps = stubborn().__await__()
        task = asyncio.create_task(_finished(steps, next(steps)))
        for _ in range(2):
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(0)

        assert "done" == await task
        assert ["cancelled", "cancelled"] == seen

    async def test_a_cancellation_ends_a_servers_own_kind_of_awaitable(self) -> None:
        class Bare:
            """An awaitable as granian gives it for a send that waits: an iterator without `throw` and `close`."""

            def __init__(self) -> None:
                self.future = asyncio.get_running_loop().create_future()

            def __iter__(self) -> Any:
                return self

            def __next__(self) -> Any:
                self.future._asyncio_future_blocking = True
                return self.future

        bare = Bare()
        task = asyncio.create_task(_finished(bare, next(bare)))
        await asyncio.sleep(0)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

    def test_one_that_is_dropped_is_closed(self) -> None:
        closed: list[int] = []

        def steps() -> Generator[int]:
            try:
                yield 1
                yield 2
            finally:
                closed.append(1)

        begun = steps()
        half: Any = finish(begun, next(begun))
        assert 1 == next(half)

        half.close()

        assert [1] == closed

    async def test_one_step_is_enough_for_what_does_not_wait(self) -> None:
        async def ready() -> None:
            return None

        assert next(ready().__await__(), DONE) is DONE


async def _finished(steps: Any, waits_for: Any) -> Any:
    return await finish(steps, waits_for)
