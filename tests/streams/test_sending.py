"""Sending: messages are stepped where the `send` is the server's own, otherwise a task sends them.

Each test of a `send` runs with a server's own (stepped) and with one in a middleware (sent by a task).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from support.driver import open_stream, turns
from support.neighbours import need

from fastsse import EventSourceResponse, end_streams

KINDS = pytest.mark.parametrize("kind", ["own", "middleware"])
HEARTBEAT = b":\n\n"
SOON = 0.02  # s
var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")


def ignore(_: Any) -> None:
    """Do nothing at a send."""


class Server:
    """A server whose `send` does what a test says, and which takes note of what it was sent."""

    __module__ = "uvicorn.tests"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.bodies: list[bytes] = []
        self.messages: list[Any] = []
        self.gone = asyncio.Event()
        self.room: asyncio.Event | None = None  # `send` waits for it
        self.at: Callable[[Any], Any] = ignore  # called within each send
        self.pending = 0
        self.reasons: list[str] = []

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        assert not self.pending, "a send was begun while another one was pending"
        self.pending += 1
        try:
            outcome = self.at(message)
            if isinstance(outcome, Coroutine):
                await outcome
            if self.room is not None:
                await self.room.wait()
            self.messages.append(message)
            self.bodies.append(message.get("body", b""))
        finally:
            self.pending -= 1

    async def run(self, items: Any, **options: Any) -> None:
        async def wrapped(message: Any) -> None:
            assert message["type"]
            await self.send(message)

        answer = EventSourceResponse(items, on_close=self.reasons.append, **options)
        scope = {"type": "http", "method": "GET", "headers": []}
        await answer(scope, self.receive, self.send if self.kind == "own" else wrapped)

    def start(self, items: Any, **options: Any) -> asyncio.Task[None]:
        return asyncio.create_task(self.run(items, **options))

    @property
    def sent(self) -> bytes:
        return b"".join(self.bodies)

    @property
    def complete(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body", True) is False


async def until(happened: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0.001)


async def tokens(count: int, delay: float = 0.0) -> AsyncIterator[str]:
    for number in range(count):
        await asyncio.sleep(delay)
        yield str(number)


async def test_no_task_is_made_for_a_token_that_the_servers_own_send_has_room_for() -> None:
    made: list[str] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(repr(coroutine))
        return asyncio.Task(coroutine, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(factory)
    counts = []
    for count in (10, 1000):
        made.clear()
        server = Server("own")
        await server.run(tokens(count))
        assert server.complete
        assert count <= len(server.bodies)
        counts.append(len(made))

    assert [2, 2] == counts, made  # the items, and the end


async def test_a_middlewares_send_is_called_by_one_task_from_the_first_message_to_the_last() -> (
    None
):
    server = Server("middleware")
    tasks: set[Any] = set()

    async def look() -> None:
        task = asyncio.current_task()
        tasks.add(task)
        await asyncio.sleep(0)
        assert task is asyncio.current_task()

    server.at = lambda _: look()
    await server.run(tokens(20))

    assert server.complete
    assert 1 == len(tasks)
    assert None not in tasks


async def test_a_middlewares_send_may_hold_timeouts_cancel_scopes_and_context_variables() -> None:
    anyio = need("anyio")
    server = Server("middleware")

    async def careful() -> None:
        token = var.set("in send")
        with anyio.CancelScope(), anyio.fail_after(5):
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
                await anyio.lowlevel.checkpoint()
        var.reset(token)

    server.at = lambda _: careful()
    async with asyncio.timeout(5):
        await server.run(tokens(5), heartbeat=0.001)

    assert server.complete


async def test_a_middlewares_send_sees_the_requests_context_and_not_that_of_the_items() -> None:
    seen: list[str] = []

    async def items() -> AsyncIterator[str]:
        var.set("items")
        for _ in range(3):
            await asyncio.sleep(0)
            yield "a"

    server = Server("middleware")
    server.at = lambda _: seen.append(var.get())
    var.set("request")
    await server.run(items())

    assert {"request"} == set(seen)


@KINDS
async def test_what_becomes_ready_while_a_send_waits_leaves_as_one_chunk(kind: str) -> None:
    server = Server(kind)
    server.room = asyncio.Event()
    task = server.start(tokens(10))
    await turns(50)

    before = server.sent
    server.room.set()
    await task

    assert b"" == before
    blocks = b"".join(b"data: %d\n\n" % number for number in range(10))
    assert [HEARTBEAT + blocks] == [body for body in server.bodies if body]
    assert ["finished"] == server.reasons


@KINDS
async def test_every_send_may_wait(kind: str) -> None:
    server = Server(kind)
    server.at = lambda _: asyncio.sleep(0.001)

    await server.run(tokens(20, 0.0005))

    assert HEARTBEAT + b"".join(b"data: %d\n\n" % n for n in range(20)) == server.sent
    assert server.complete


def failing(error: BaseException, *, waits: bool, start: int) -> Callable[[Any], Any]:
    """Make a `send` that raises at its call number `start`, and later if it is called again."""
    calls = 0

    async def late() -> None:
        await asyncio.sleep(0)
        raise error

    def at(_: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > start:
            pytest.fail("send was called after it had failed")
        if calls < start:
            return None
        if waits:
            return late()
        raise error

    return at


@KINDS
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("start", [1, 2, 3])
class TestASendThatFails:
    async def test_an_os_error_says_that_the_client_has_gone(
        self, kind: str, waits: bool, start: int
    ) -> None:
        server = Server(kind)
        server.at = failing(ConnectionResetError("gone"), waits=waits, start=start)

        await server.run(tokens(10))

        assert ["disconnected"] == server.reasons

    async def test_another_error_is_the_servers_to_hear(
        self, kind: str, waits: bool, start: int
    ) -> None:
        server = Server(kind)
        server.at = failing(KeyError("broken"), waits=waits, start=start)

        with pytest.raises(KeyError, match="broken"):
            await server.run(tokens(10))

        assert ["failed"] == server.reasons

    async def test_a_cancellation_of_its_own_is_no_cancellation_of_ours(
        self, kind: str, waits: bool, start: int
    ) -> None:
        server = Server(kind)
        server.at = failing(asyncio.CancelledError(), waits=waits, start=start)

        with pytest.raises(
            RuntimeError, match="send\\(\\) of an EventSourceResponse was cancelled"
        ):
            await server.run(tokens(10))

        assert ["failed"] == server.reasons


async def test_a_send_that_returns_no_awaitable_is_an_error() -> None:
    class Wrong:
        __module__ = "granian.tests"

        def send(self, message: Any) -> None:
            """Return nothing to wait for."""

    with pytest.raises(TypeError, match="object NoneType can't be used"):
        await EventSourceResponse(tokens(1))(
            {"type": "http", "method": "GET", "headers": []}, asyncio.Event().wait, Wrong().send
        )


@KINDS
class TestASendThatWaitsWhenTheStreamEnds:
    async def test_it_is_cancelled_when_the_client_leaves(self, kind: str) -> None:
        server = Server(kind)
        server.room = asyncio.Event()
        task = server.start(tokens(10))
        await until(lambda: server.pending)

        server.gone.set()
        await asyncio.wait_for(task, 5)

        assert 0 == server.pending
        assert ["disconnected"] == server.reasons

    async def test_it_is_cancelled_with_the_response(self, kind: str) -> None:
        server = Server(kind)
        server.room = asyncio.Event()
        task = server.start(tokens(10))
        await until(lambda: server.pending)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert 0 == server.pending
        assert ["cancelled"] == server.reasons

    async def test_it_may_swallow_the_cancellation(self, kind: str) -> None:
        server = Server(kind)
        room = asyncio.Event()

        async def stubborn() -> None:
            try:
                await room.wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.001)

        server.at = lambda _: stubborn()
        task = server.start(tokens(10))
        await until(lambda: server.pending)

        server.gone.set()
        await asyncio.wait_for(task, 5)

        assert 0 == server.pending
        assert ["disconnected"] == server.reasons

    async def test_it_ends_after_its_time(self, kind: str) -> None:
        server = Server(kind)
        server.room = asyncio.Event()

        await asyncio.wait_for(server.run(tokens(10), send_timeout=SOON), 5)

        assert 0 == server.pending
        assert ["timeout"] == server.reasons


@KINDS
async def test_a_heartbeat_leaves_by_the_same_road_and_none_while_a_send_waits(kind: str) -> None:
    server = Server(kind)
    task = server.start(silence(), heartbeat=0.005)
    await until(lambda: len(server.bodies) > 4)

    server.room = asyncio.Event()
    await until(lambda: server.pending)
    await asyncio.sleep(0.03)
    while_it_waits = server.pending
    server.gone.set()
    await task

    assert 1 == while_it_waits
    assert {b"", HEARTBEAT} == set(server.bodies)


async def silence() -> AsyncIterator[str]:
    await asyncio.Event().wait()
    yield ""


@KINDS
async def test_blocks_of_a_thread_are_sent_too(kind: str) -> None:
    server = Server(kind)

    await server.run(str(number) for number in range(1000))

    assert HEARTBEAT + b"".join(b"data: %d\n\n" % n for n in range(1000)) == server.sent
    assert ["finished"] == server.reasons


@KINDS
async def test_a_send_that_ends_all_streams_has_this_one_end_after_it(kind: str) -> None:
    server = Server(kind)
    ended = 0

    def end(message: Any) -> None:
        nonlocal ended
        if b"data: 3" in message.get("body", b""):
            ended += 1
            end_streams()

    server.at = end
    await asyncio.wait_for(server.run(tokens(1000, 0.001), last="bye"), 5)

    assert 1 == ended
    assert server.sent.endswith(b"data: 3\n\ndata: bye\n\n")
    assert server.complete
    assert ["shutdown"] == server.reasons


@KINDS
async def test_a_send_that_feeds_the_items_is_not_entered_again(kind: str) -> None:
    server = Server(kind)
    queue: asyncio.Queue[int] = asyncio.Queue()
    queue.put_nowait(0)

    async def items() -> AsyncIterator[str]:
        while (number := await queue.get()) < 50:
            yield str(number)

    def feed(message: Any) -> None:
        if message.get("body", b"").startswith(b"data"):
            queue.put_nowait(len(server.bodies))

    server.at = feed
    await asyncio.wait_for(server.run(items(), wait_first=True), 5)

    assert server.complete
    assert server.sent.startswith(b"data: 0\n\n")


async def test_items_that_never_wait_leave_the_loop_to_others() -> None:
    server = Server("own")
    rounds = 0

    async def always() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    task = server.start(always())
    for _ in range(20):
        await asyncio.sleep(0)
        rounds += 1
    server.gone.set()
    await asyncio.wait_for(task, 5)

    assert 20 == rounds
    assert max(map(len, server.bodies)) < 70_000
    assert 2 < len(server.bodies) < 40
    assert ["disconnected"] == server.reasons


async def test_a_timeout_of_the_items_never_reaches_a_send() -> None:
    """The items' own step sends, within their timeout; only the items hear of it."""
    server = Server("own")
    heard: list[str] = []

    async def items() -> AsyncIterator[str]:
        for number in range(3):
            try:
                async with asyncio.timeout(0.005):
                    yield str(number)
                    await asyncio.Event().wait()
            except TimeoutError:
                heard.append("timeout")

    await server.run(items())

    assert ["timeout"] * 3 == heard
    assert HEARTBEAT + b"data: 0\n\ndata: 1\n\ndata: 2\n\n" == server.sent
    assert server.complete


@pytest.mark.parametrize("sends", ["granian", "coroutine", "wrapped", "direct"])
async def test_a_reader_that_does_not_read_stops_the_items(sends: Any) -> None:
    given = 0

    async def numbers() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"x" * 1000

    async with open_stream(EventSourceResponse(numbers()), sends=sends) as stream:
        stream.stall()
        await stream.blocked()
        await turns(10)
        before = given
        await asyncio.sleep(SOON)
        assert before == given
        stream.resume()
        await stream.block()
