"""The items run in one task from beginning to end: what belongs to a task or a context is right inside a generator.

Libraries that take each item in another task, or close the generator from another one, break cancel scopes, timeouts,
context variables, tracing spans and database sessions. Each test holds one of these across several items, and ends the
stream in one of the ways in which streams end.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support.driver import Sends, open_stream
from support.neighbours import need

from fastsse import EventSourceResponse, aiter_blocks, end_streams

SENDS = pytest.mark.parametrize("sends", ["direct", "coroutine", "wrapped"])
ENDS = pytest.mark.parametrize("end", ["finished", "disconnected", "shutdown", "failed"])
HEARTBEAT = b":\n\n"
NEVER = 3600.0  # s
name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


class Steered:
    """Waits between items: for the test to go on, or for the end that the test has chosen."""

    def __init__(self, end: str) -> None:
        self.end = end
        self.more: asyncio.Queue[bool] = asyncio.Queue()

    async def wait(self) -> None:
        await asyncio.sleep(0)
        if not await self.more.get():
            raise KeyError("the items fail")


async def lead(response: EventSourceResponse, steered: Steered, sends: Sends, count: int) -> None:
    """Read so many items, then have the stream end as it should."""
    async with open_stream(response, sends=sends) as stream:
        assert HEARTBEAT == await stream.block()
        for _ in range(count):
            steered.more.put_nowait(True)
            await stream.block()
        if steered.end == "finished":
            steered.more.put_nowait(True)
        elif steered.end == "disconnected":
            stream.disconnect()
        elif steered.end == "shutdown":
            end_streams()
        else:
            steered.more.put_nowait(False)
            with pytest.raises(KeyError, match="the items fail"):
                await stream.ended()
            return
        await stream.ended()


async def follow(items: Callable[[Steered], AsyncIterator[str]], end: str, sends: Sends) -> None:
    """Run a stream of three items from its beginning to the end."""
    steered = Steered(end)
    reasons: list[str] = []
    response = EventSourceResponse(items(steered), on_close=reasons.append)

    await lead(response, steered, sends, 3)

    assert [end] == reasons


@SENDS
@ENDS
async def test_every_step_and_the_close_are_in_one_task(end: str, sends: Sends) -> None:
    tasks: list[Any] = []

    async def items(steered: Steered) -> AsyncIterator[str]:
        try:
            for number in range(3):
                await steered.wait()
                tasks.append(asyncio.current_task())
                yield str(number)
                tasks.append(asyncio.current_task())
            await steered.wait()
        finally:
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

    await follow(items, end, sends)

    assert 8 == len(tasks)
    assert 1 == len(set(tasks))
    assert None not in tasks


@SENDS
@ENDS
async def test_context_variables_last_from_item_to_item_and_are_seen_nowhere_else(
    end: str, sends: Sends
) -> None:
    seen: list[str] = []

    async def items(steered: Steered) -> AsyncIterator[str]:
        seen.append(name.get())
        token = name.set("items")
        try:
            for number in range(3):
                await steered.wait()
                seen.append(name.get())
                yield str(number)
            await steered.wait()
        finally:
            name.reset(token)  # raises in another context
            seen.append(name.get())

    name.set("request")
    await follow(items, end, sends)

    assert ["request", "items", "items", "items", "request"] == seen
    assert "request" == name.get()


@SENDS
@ENDS
async def test_a_span_of_opentelemetry_is_current_in_all_items(end: str, sends: Sends) -> None:
    need("opentelemetry.context")
    from opentelemetry import baggage, context, trace

    spans: list[trace.Span] = []
    bags: list[object] = []
    span = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))

    async def items(steered: Steered) -> AsyncIterator[str]:
        token = context.attach(baggage.set_baggage("answer", "42"))
        try:
            with trace.use_span(span):
                for number in range(3):
                    await steered.wait()
                    spans.append(trace.get_current_span())
                    bags.append(baggage.get_baggage("answer"))
                    yield str(number)
                await steered.wait()
        finally:
            bags.append(baggage.get_baggage("answer"))
            context.detach(token)

    await follow(items, end, sends)

    assert [span] * 3 == spans
    assert ["42"] * 4 == bags
    assert span is not trace.get_current_span()


@SENDS
@ENDS
async def test_a_failed_detach_of_opentelemetry_is_never_logged(
    end: str, sends: Sends, caplog: pytest.LogCaptureFixture
) -> None:
    need("opentelemetry.context")
    from opentelemetry import context

    async def items(steered: Steered) -> AsyncIterator[str]:
        token = context.attach(context.set_value("key", "value"))
        try:
            for number in range(3):
                await steered.wait()
                yield str(number)
            await steered.wait()
        finally:
            context.detach(token)  # logs where its context is another one

    await follow(items, end, sends)

    assert "Failed to detach context" not in caplog.text


@SENDS
@ENDS
async def test_a_cancel_scope_and_a_task_group_of_anyio_live_across_items(
    end: str, sends: Sends
) -> None:
    anyio = need("anyio")
    beats: list[str] = []

    async def beat() -> None:
        try:
            await anyio.sleep(NEVER)
        finally:
            beats.append("over")

    async def items(steered: Steered) -> AsyncIterator[str]:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(beat)
                try:
                    for number in range(3):
                        await steered.wait()
                        yield str(number)
                    await steered.wait()
                finally:
                    group.cancel_scope.cancel()
        assert not scope.cancelled_caught

    if end == "failed":
        with contextlib.suppress(ExceptionGroup):  # anyio wraps what fails beside a task
            await follow(items, end, sends)
    else:
        await follow(items, end, sends)

    assert ["over"] == beats


@SENDS
async def test_a_deadline_of_anyio_cuts_the_items_short_and_the_stream_goes_on(
    sends: Sends,
) -> None:
    anyio = need("anyio")

    async def items() -> AsyncIterator[str]:
        with anyio.move_on_after(0.01) as scope:
            yield "before"
            await anyio.sleep(NEVER)
        yield f"after {scope.cancelled_caught}"

    async with open_stream(EventSourceResponse(items()), sends=sends) as stream:
        found = await stream.rest()

    assert b":\n\ndata: before\n\ndata: after True\n\n" == found
    assert stream.complete


@SENDS
async def test_a_timeout_of_asyncio_across_items_is_raised_inside_them(sends: Sends) -> None:
    async def items() -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.01):
                for number in range(2):
                    yield str(number)
                    await asyncio.sleep(0)
                await asyncio.Event().wait()
        except TimeoutError:
            yield "too late"

    async with open_stream(EventSourceResponse(items()), sends=sends) as stream:
        found = await stream.rest()

    assert found.endswith(b"data: 1\n\ndata: too late\n\n")
    assert stream.complete


@SENDS
async def test_a_task_group_of_asyncio_feeds_the_items(sends: Sends) -> None:
    async def items() -> AsyncIterator[str]:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def feed(number: int) -> None:
            await asyncio.sleep(0)
            queue.put_nowait(number)

        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(feed(number))
            for _ in range(3):
                yield str(await queue.get())

    async with open_stream(EventSourceResponse(items()), sends=sends) as stream:
        found = await stream.rest()

    assert b":\n\ndata: 0\n\ndata: 1\n\ndata: 2\n\n" == found.replace(b"\n\n:\n\n", b"\n\n")


class Session:
    """A database session that belongs to one task, as SQLAlchemy's async sessions do."""

    def __init__(self) -> None:
        self.owner: Any = None
        self.events: list[str] = []
        self.database = sqlite3.connect(":memory:")

    async def __aenter__(self) -> Session:
        self.owner = asyncio.current_task()
        self.database.execute("create table answers (text)")
        self.events.append("begin")
        return self

    async def execute(self, *statement: Any) -> list[Any]:
        await asyncio.sleep(0)
        assert self.owner is asyncio.current_task(), "used by another task"
        return self.database.execute(*statement).fetchall()

    async def __aexit__(self, kind: Any, *_: object) -> None:
        await asyncio.sleep(0)
        assert self.owner is asyncio.current_task(), "closed by another task"
        self.events.append("rollback" if kind else "commit")
        self.database.close()


@SENDS
@ENDS
async def test_a_database_session_is_used_and_closed_by_the_task_that_opened_it(
    end: str, sends: Sends
) -> None:
    session = Session()

    async def items(steered: Steered) -> AsyncIterator[str]:
        async with session:
            for number in range(3):
                await steered.wait()
                await session.execute("insert into answers values (?)", (str(number),))
                rows = await session.execute("select count(*) from answers")
                yield str(rows[0][0])
            await steered.wait()

    await follow(items, end, sends)

    assert ["begin", "commit" if end == "finished" else "rollback"] == session.events


async def test_a_dependency_of_fastapi_that_yields_is_open_as_long_as_its_stream() -> None:
    need("fastapi")
    from fastapi import Depends, FastAPI

    app = FastAPI()
    events: list[str] = []

    async def session() -> AsyncIterator[str]:
        events.append("open")
        yield "session"
        events.append("closed")

    @app.get("/", response_model=None)
    async def endpoint(session: str = Depends(session)) -> EventSourceResponse:
        async def items() -> AsyncIterator[str]:
            for _ in range(2):
                await asyncio.sleep(0)
                events.append("item")
                yield session

        return EventSourceResponse(items())

    async with open_stream(app, "/") as stream:
        await stream.rest()

    assert ["open", "item", "item", "closed"] == events


async def test_the_iterator_of_blocks_keeps_the_task_too() -> None:
    tasks: set[Any] = set()

    async def items() -> AsyncIterator[str]:
        async with asyncio.timeout(NEVER):
            for number in range(3):
                tasks.add(asyncio.current_task())
                yield str(number)
                await asyncio.sleep(0.003)
        tasks.add(asyncio.current_task())

    blocks = [block async for block in aiter_blocks(items(), heartbeat=0.001)]

    assert [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"] == [b for b in blocks if b != HEARTBEAT]
    assert 1 == len(tasks)
