"""The flow, on both twins: blocks that wait, items that tell of them when they begin to wait, and the short way out."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest
from support.twins import FLOW, NAMES, load_twin

import fastsse


@pytest.fixture(params=NAMES)
def flow(request: pytest.FixtureRequest) -> ModuleType:
    """Either twin of the flow."""
    return load_twin(request.param, FLOW)


def write(item: Any) -> bytes:
    """Write an item as its block, which here is short."""
    if isinstance(item, Exception):
        raise item
    return f"<{item}>".encode()


class Taker:
    """Takes what is ready whenever it is told."""

    def __init__(self, flow: ModuleType, limit: int = 1000) -> None:
        self.flow = flow
        self.told = 0
        self.taken: list[bytes] = []
        self.blocks = flow.Blocks(limit, self.tell)

    def tell(self) -> None:
        self.told += 1
        self.taken.append(self.blocks.take())

    async def run(self, items: AsyncIterator[Any], write: Callable[[Any], bytes] = write) -> None:
        await self.flow.iterate(self.blocks, items.__anext__, write)


async def in_turn(*items: Any) -> AsyncIterator[Any]:
    """Yield items; None stands for a turn of the loop."""
    for item in items:
        if item is None:
            await asyncio.sleep(0)
        else:
            yield item


async def test_the_taker_is_told_when_the_items_begin_to_wait(flow: ModuleType) -> None:
    taker = Taker(flow)

    await taker.run(in_turn(1, 2, None, None, 3, None, 4))

    assert [b"<1><2>", b"<3>"] == taker.taken
    assert b"<4>" == taker.blocks.take()  # the caller tells of the last ones
    assert b"" == taker.blocks.take()


async def test_blocks_that_are_not_taken_are_told_of_once(flow: ModuleType) -> None:
    taker = Taker(flow)
    calls: list[int] = []
    taker.blocks._notify = lambda: calls.append(1)

    await taker.run(in_turn(1, None, 2, None, 3, None))

    assert [1] == calls
    assert b"<1><2><3>" == taker.blocks.take()
    taker.blocks.tell()
    assert [1] == calls  # there is nothing to tell of


async def test_items_over_the_limit_wait_for_room(flow: ModuleType) -> None:
    taker = Taker(flow, limit=6)
    taker.blocks._notify = lambda: None
    task = asyncio.ensure_future(taker.run(in_turn(*range(5))))
    found: list[tuple[bool, bytes]] = []

    for _ in range(3):
        for _ in range(5):
            await asyncio.sleep(0)
        found.append((taker.blocks.full, taker.blocks.take()))
        if taker.blocks._room is not None:
            taker.blocks._room.set_result(None)
    await task

    assert [(True, b"<0><1>"), (True, b"<2><3>"), (False, b"<4>")] == found
    assert not taker.blocks.full


async def test_room_that_is_made_at_once_still_gives_up_one_turn(flow: ModuleType) -> None:
    taker = Taker(flow, limit=1)

    def make_room() -> None:
        taker.taken.append(taker.blocks.take())
        taker.blocks._room.set_result(None)

    taker.blocks._notify = make_room
    turns = 0
    task = asyncio.ensure_future(taker.run(in_turn(*range(5))))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1

    assert [b"<0>", b"<1>", b"<2>", b"<3>", b"<4>"] == taker.taken
    assert 5 <= turns < 20


async def test_an_exception_of_the_items_or_of_the_writer_is_raised(flow: ModuleType) -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise KeyError("items")

    taker = Taker(flow)
    with pytest.raises(KeyError, match="items"):
        await taker.run(failing())
    with pytest.raises(ValueError, match="writer"):
        await taker.run(in_turn(2, ValueError("writer"), 3))

    assert b"<1><2>" == taker.blocks.take()


async def test_stopped_items_that_swallow_their_cancellation_end(flow: ModuleType) -> None:
    taker = Taker(flow)
    closed: list[str] = []

    async def stubborn() -> AsyncIterator[int]:
        try:
            for number in range(1000):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                yield number
        finally:
            closed.append("closed")

    items = stubborn()
    task = asyncio.ensure_future(taker.run(items))
    await asyncio.sleep(0)
    taker.blocks._stopped = True
    task.cancel()
    await task
    await items.aclose()  # type: ignore[attr-defined]

    assert b"" == taker.blocks.take()
    assert ["closed"] == closed


async def test_a_cancellation_reaches_the_items_where_they_wait(flow: ModuleType) -> None:
    taker = Taker(flow)
    seen: list[str] = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.ensure_future(taker.run(items()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ["cancelled"] == seen
    assert [b"<1>"] == taker.taken


async def test_a_cancellation_may_become_an_item_another_wait_or_the_end(flow: ModuleType) -> None:
    taker = Taker(flow)

    async def items() -> AsyncIterator[int]:
        for number in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
            yield number
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(taker.run(items()))
    for _ in range(3):
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
    await task

    assert [b"<0>", b"<1>"] == taker.taken


@pytest.mark.parametrize("room", [False, True])
async def test_a_cancellation_ends_a_wait_for_room_or_for_a_future(
    flow: ModuleType, room: bool
) -> None:
    taker = Taker(flow, limit=1 if room else 1000)

    async def items() -> AsyncIterator[int]:
        yield 1
        await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(taker.run(items()))
    await asyncio.sleep(0)
    assert room == taker.blocks.full
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not taker.blocks.full


async def test_an_iteration_that_is_given_up_closes_what_it_awaits(flow: ModuleType) -> None:
    closed: list[str] = []

    async def wait() -> int:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append("closed")
        return 1

    steps = begun(flow, wait)
    steps.close()

    assert ["closed"] == closed


class Bare:
    """An awaitable as granian gives it: an iterator without `throw` and `close`."""

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> None:
        """Wait for a turn of the loop."""


def begun(flow: ModuleType, following: Callable[[], Any]) -> Any:
    """Begin an iteration by hand, up to its first wait."""

    async def run() -> None:
        await flow.iterate(flow.Blocks(1000, list), following, write)

    steps = run()
    steps.send(None)
    return steps


@pytest.mark.parametrize("error", [KeyError, KeyError("thrown")], ids=["class", "instance"])
def test_an_exception_is_thrown_where_the_items_wait(flow: ModuleType, error: Any) -> None:
    seen: list[type] = []

    async def items() -> AsyncIterator[int]:
        try:
            await asyncio.sleep(0)
        except KeyError as caught:
            seen.append(type(caught))
            raise
        yield 1

    steps = begun(flow, items().__anext__)
    with pytest.raises(KeyError):
        steps.throw(error)

    assert [KeyError] == seen


def test_an_awaitable_that_takes_no_exception_is_left(flow: ModuleType) -> None:
    with pytest.raises(KeyError, match="thrown"):
        begun(flow, Bare).throw(KeyError("thrown"))
    begun(flow, Bare).close()


async def test_items_may_be_any_awaitable(flow: ModuleType) -> None:
    class Items:
        def __init__(self) -> None:
            self.number = 0

        def __aiter__(self) -> Items:
            return self

        def __anext__(self) -> Any:
            self.number += 1
            return self.future() if self.number % 2 else self.coroutine()

        def future(self) -> Any:
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, self.number)
            return future

        async def coroutine(self) -> int:
            if self.number > 5:
                raise StopAsyncIteration
            return self.number

    taker = Taker(flow)
    await taker.run(Items())

    assert b"<1><2><3><4><5>" == b"".join(taker.taken) + taker.blocks.take()


class Server:
    """The server's own `send`, and what became of the messages."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.messages: list[Any] = []

    async def send(self, message: Any) -> None:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        if self.outcome is not None:
            await self.outcome
        self.messages.append(message)


class Thread:
    """A source of the other kind."""

    over = False


def outlet(flow: ModuleType, send: Any) -> Any:
    """Make an outlet that takes note of the long way."""

    class Noting(flow.Outlet):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(send, lambda: 7.5)
            self.noted: list[Any] = []
            self._plain = True
            self._source = flow.Blocks(1000, self._flush)

        def _flush_all(self) -> None:
            self.noted.append("all")

        def _carry_on(self, steps: Any, waits_for: Any) -> None:
            self.noted.append((steps, waits_for))

        def _send_failed(self, error: BaseException) -> None:
            self.noted.append(error)

    return Noting()


def test_blocks_are_given_to_the_send_and_stepped_once(flow: ModuleType) -> None:
    server = Server()
    made = outlet(flow, server.send)
    made._source._blocks.extend([b"a", b"b"])

    made._flush()

    assert [{"type": "http.response.body", "body": b"ab", "more_body": True}] == server.messages
    assert ([], False, 7.5) == (made.noted, made._pending, made._sent_at)


@pytest.mark.parametrize("why", ["no block", "over", "not plain", "a thread's"])
def test_everything_else_goes_the_long_way(flow: ModuleType, why: str) -> None:
    server = Server()
    made = outlet(flow, server.send)
    if why != "no block":
        made._source._blocks.append(b"a")
    made._source.over = why == "over"
    made._plain = why != "not plain"
    if why == "a thread's":
        made._source = Thread()

    made._flush()

    assert (["all"], []) == (made.noted, server.messages)


@pytest.mark.parametrize("field", ["_pending", "_over"])
def test_nothing_is_sent_while_a_send_is_pending_or_when_all_is_over(
    flow: ModuleType, field: str
) -> None:
    server = Server()
    made = outlet(flow, server.send)
    made._source._blocks.append(b"a")
    setattr(made, field, True)

    made._flush()

    assert ([], []) == (made.noted, server.messages)


async def test_a_send_that_waits_is_handed_over_half_done(flow: ModuleType) -> None:
    future = asyncio.get_running_loop().create_future()
    made = outlet(flow, Server(future).send)
    made._source._blocks.append(b"a")

    made._flush()

    ((steps, waits_for),) = made.noted
    assert waits_for is future
    assert made._pending
    steps.close()


@pytest.mark.parametrize("error", [OSError("gone"), KeyError("x"), asyncio.CancelledError()])
def test_a_send_that_fails_is_told_of(flow: ModuleType, error: BaseException) -> None:
    made = outlet(flow, Server(error).send)
    made._source._blocks.append(b"a")

    made._flush()

    assert ([error], False) == (made.noted, made._pending)


def test_a_send_that_returns_no_awaitable_fails(flow: ModuleType) -> None:
    made = outlet(flow, len)
    made._source._blocks.append(b"a")

    made._flush()

    (error,) = made.noted
    assert isinstance(error, TypeError)
    assert "object int can't be used in 'await' expression" == str(error)


def test_items_that_wait_for_room_go_on_by_the_long_way(flow: ModuleType) -> None:
    server = Server()
    made = outlet(flow, server.send)
    made._source._blocks.append(b"a")
    made._source._room = object()

    made._flush()

    assert ["all"] == made.noted
    assert 1 == len(server.messages)


def test_the_pure_twin_takes_over_where_the_compiled_one_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load_twin("c", FLOW)
    name = "fastsse._flow"
    monkeypatch.setitem(sys.modules, f"{name}_c", None)
    monkeypatch.setattr(fastsse, "_flow", importlib.import_module(name))  # to be put back
    monkeypatch.delitem(sys.modules, name)

    chosen = importlib.import_module(name)
    twin = importlib.import_module(f"{name}_py")

    assert all(getattr(chosen, it) is getattr(twin, it) for it in twin.__all__)
