"""A source in a task: closing, cancelling, time-outs and hooks, on asyncio and trio."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support.misbehaving import Misbehaving, answer, head, send, silence, stream, trickle
from support.neighbours import need

from fastsse.client import (
    AsyncEventSource,
    BadStatus,
    Headers,
    Request,
    Response,
    StreamEnded,
    TooManyRetries,
)

QUIET = [send(head() + b"id: 1\ndata: a\n\n"), silence()]
MORE = [stream(b"id: 2\ndata: b\n\n")]
END = [send(answer(204))]
ERROR = [send(head(404, {"Content-Length": "9"}, "text/plain") + b"why"), silence()]
SOON = 1.0  # s, within which something must happen that happens at once


@pytest.fixture(params=["httpx2", pytest.param("httpx", marks=pytest.mark.long), "aiohttp"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Give a client object without certificates, which take a tenth of a second to load."""
    made = client_of(request.param)
    yield made
    assert not (made.closed if request.param == "aiohttp" else made.is_closed)
    await (made.close() if request.param == "aiohttp" else made.aclose())


def client_of(library: str) -> Any:
    module: Any = need(library)
    return module.ClientSession() if library == "aiohttp" else module.AsyncClient(verify=False)


def source(url: str, client: Any, **options: Any) -> AsyncEventSource:
    return AsyncEventSource(url, client=client, **{"reconnection_time": 0.002, **options})


async def cancel_once_asked(task: asyncio.Future[Any], server: Misbehaving) -> None:
    """Cancel a step that waits for a server which has its request; the cancellation must come through."""
    while not server.requests:
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class TestClosing:
    @pytest.mark.parametrize(
        "script",
        [QUIET, [silence()], [send(head())], ERROR],
        ids=["stream", "head", "wait", "error"],
    )
    async def test_close_by_another_task_ends_the_iteration_at_once(
        self, script: Any, client: Any
    ) -> None:
        with Misbehaving(script) as server:
            options = {"reconnection_time": 60.0}
            async with source(server.url, client, **options) as events:
                taken: list[str] = []

                async def iterate() -> None:
                    taken.extend([event.data async for event in events])

                task = asyncio.create_task(iterate())
                await asyncio.sleep(0.05)
                begun = time.monotonic()
                events.close()
                await task

                assert time.monotonic() - begun < SOON
                assert task.cancelling() == 0
                assert "stopped" == events.state
                assert [] == [event async for event in events]
            await gone(server)

    async def test_close_by_another_thread(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                assert "a" == (await anext(events)).data
                threading.Timer(0.02, events.close).start()

                assert [] == [event async for event in events]
            await gone(server)

    async def test_aclose_by_another_task(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            events = source(server.url, client)
            await anext(events)
            task = asyncio.ensure_future(anext(events, None))
            await asyncio.sleep(0.01)

            await events.aclose()

            assert await task is None
            await gone(server)

    async def test_close_in_the_loop_ends_it(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                async for event in events:
                    assert "a" == event.data
                    events.close()

    async def test_close_by_a_hook(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            events = source(server.url, client, on_open=lambda _: events.close())
            async with events:
                assert [] == [event async for event in events]

    async def test_a_closed_source_gives_what_has_come(self, client: Any) -> None:
        with Misbehaving([stream(b"data: a\n\ndata: b\n\n")]) as server:
            async with source(server.url, client) as events:
                await anext(events)
                events.close()

                assert ["b"] == [event.data async for event in events]

    async def test_leaving_the_block_closes_the_connection(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                await anext(events)
            await gone(server)

    async def test_nothing_is_left_over(self, client: Any) -> None:
        before = asyncio.all_tasks()
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                await anext(events)
            await gone(server)

        assert before == asyncio.all_tasks()


async def gone(server: Misbehaving) -> None:
    """Wait until no connection is open."""
    async with asyncio.timeout(5):
        while server.open_connections:
            await asyncio.sleep(0.002)


class TestCancelling:
    async def test_a_cancellation_goes_through(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                await anext(events)
                task = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0.01)
                task.cancel("mine")

                with pytest.raises(asyncio.CancelledError):
                    await task
                await gone(server)

    @pytest.mark.parametrize(
        "script", [[silence()], [send(head()), silence()], ERROR], ids=["head", "stream", "error"]
    )
    async def test_a_step_may_be_cancelled_in_each_state_and_made_again(
        self, script: Any, client: Any
    ) -> None:
        with Misbehaving(script, MORE, END) as server:
            async with source(server.url, client) as events:
                task = asyncio.ensure_future(anext(events))
                await cancel_once_asked(task, server)
                assert ["b"] == [event.data async for event in events]

    async def test_wait_for_times_out_and_the_stream_goes_on(self, client: Any) -> None:
        with Misbehaving(QUIET, MORE, END) as server:
            async with source(server.url, client) as events:
                await anext(events)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(events), 0.02)

                assert ["b"] == [event.data async for event in events]
            assert [None, "1", "2"] == [one.headers.get("last-event-id") for one in server.requests]

    async def test_a_timeout_is_the_callers(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                await anext(events)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await anext(events)
                task = asyncio.current_task()
                assert task is not None
                assert 0 == task.cancelling()

    async def test_a_cancellation_in_the_moment_of_a_close_goes_through(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                await anext(events)
                task = asyncio.ensure_future(anext(events, None))
                await asyncio.sleep(0.01)
                events.close()
                task.cancel()

                with pytest.raises(asyncio.CancelledError):
                    await task

    async def test_a_cancellation_while_it_waits_for_its_next_request(self, client: Any) -> None:
        with Misbehaving([send(answer(503))]) as server:
            async with source(server.url, client, reconnection_time=60.0) as events:
                task = asyncio.ensure_future(anext(events))
                await cancel_once_asked(task, server)
                assert "waiting" == events.state

    async def test_a_task_group_that_fails_takes_the_source_along(self, client: Any) -> None:
        async def fail() -> None:
            await asyncio.sleep(0.02)
            raise LookupError

        async def follow(url: str) -> None:
            async with asyncio.TaskGroup() as group, source(url, client) as events:
                group.create_task(fail())
                async for _ in events:
                    pass

        with Misbehaving(QUIET) as server:
            with pytest.raises(ExceptionGroup) as caught:
                await follow(server.url)
            assert caught.group_contains(LookupError)
            await gone(server)

    async def test_an_anyio_scope_ends_it(self, client: Any) -> None:
        anyio = need("anyio")
        with Misbehaving(QUIET) as server:
            with anyio.move_on_after(0.05) as scope:
                async with source(server.url, client) as events:
                    async for _ in events:
                        pass
            assert scope.cancelled_caught
            await gone(server)


class TestUse:
    async def test_hooks_may_be_async(self, client: Any) -> None:
        told: list[Any] = []

        def telling(result: Any = None) -> Callable[..., Awaitable[Any]]:
            async def hook(*given: Any) -> Any:
                await asyncio.sleep(0)
                told.append(type(given[-1]).__name__ if given else "body")
                return result

            return hook

        with Misbehaving([stream(b"data: a\n\n")], END) as server:
            options = {
                "auth": telling("Bearer x"),
                "body": telling("text"),
                "on_open": telling(),
                "on_error": telling(),
                "on_retry": telling(),
            }
            async with source(server.url, client, **options) as events:
                assert ["a"] == [event.data async for event in events]

        assert [
            "body",
            "Request",
            "Response",
            "StreamEnded",
            "StreamEnded",
            "body",
            "Request",
        ] == told
        assert [b"text"] * 2 == [one.body for one in server.requests]
        assert "Bearer x" == server.requests[1].headers["authorization"]

    async def test_what_a_hook_raises_reaches_the_caller(self, client: Any) -> None:
        def refuse(_: Request) -> None:
            raise LookupError("no token")

        with Misbehaving(END) as server:
            async with source(server.url, client, auth=refuse) as events:
                with pytest.raises(LookupError, match="no token"):
                    await anext(events)

    async def test_open_connects_and_shows_the_response(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                response = await events.open()

                assert (200, "open") == (response.status, events.state)
                assert response is events.response
                assert "a" == (await anext(events)).data

    async def test_open_where_there_is_no_stream(self, client: Any) -> None:
        with Misbehaving(END) as server:
            async with source(server.url, client) as events:
                with pytest.raises(StreamEnded):
                    await events.open()

    async def test_open_raises_what_an_iteration_would(self, client: Any) -> None:
        with Misbehaving([send(answer(404, body=b"no"))]) as server:
            async with source(server.url, client) as events:
                with pytest.raises(BadStatus, match="404: no"):
                    await events.open()

    async def test_one_task_at_a_time(self, client: Any) -> None:
        with Misbehaving(QUIET) as server:
            async with source(server.url, client) as events:
                await anext(events)
                task = asyncio.ensure_future(anext(events, None))
                await asyncio.sleep(0.01)

                with pytest.raises(RuntimeError, match="another task"):
                    await anext(events)
                events.close()
                await task

    async def test_context_variables_are_the_callers(self, client: Any) -> None:
        name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="")
        seen: list[str] = []
        with Misbehaving([stream(b"data: a\n\n")], END) as server:
            name.set("mine")
            hook = lambda *_: seen.append(name.get())  # noqa: E731
            async with source(server.url, client, on_open=hook) as events:
                async for _ in events:
                    pass
        assert ["mine"] == seen

    async def test_without_a_block_the_source_works_too(self, client: Any) -> None:
        with Misbehaving([stream(b"data: a\n\n")], END) as server:
            events = source(server.url, client)
            assert ["a"] == [event.data async for event in events]
            await events.aclose()

    async def test_typed_events(self, client: Any) -> None:
        body = b'event: n\ndata: {"x": 1}\n\ndata: other\n\nevent: n\ndata: {"x": 2}\n\n'
        with Misbehaving([stream(body)], END) as server:
            async with source(server.url, client) as events:
                assert [{"x": 1}, {"x": 2}] == [it async for it in events.on("n", dict)]

    async def test_a_slow_stream_of_many_events(self, client: Any) -> None:
        body = b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in range(200))
        with Misbehaving([send(head()), trickle(body, 0, 7)], END) as server:
            async with source(server.url, client) as events:
                assert [str(n) for n in range(200)] == [event.data async for event in events]


@pytest.mark.parametrize("library", ["httpx2", pytest.param("httpx", marks=pytest.mark.long)])
class TestTrio:
    def run(self, function: Callable[..., Awaitable[Any]], *given: Any) -> Any:
        trio = need("trio")

        async def bounded() -> Any:
            with trio.fail_after(10):
                return await function(*given)

        return trio.run(bounded)

    def test_close_by_another_task(self, library: str) -> None:
        trio = need("trio")

        async def whole(url: str) -> list[str]:
            async with source(url, library) as events, trio.open_nursery() as nursery:

                async def closing() -> None:
                    await trio.sleep(0.05)
                    events.close()

                first = (await anext(events)).data
                nursery.start_soon(closing)
                return [first, *[event.data async for event in events]]

        with Misbehaving(QUIET) as server:
            assert ["a"] == self.run(whole, server.url)

    def test_close_by_another_thread(self, library: str) -> None:
        async def whole(url: str) -> list[str]:
            async with source(url, library) as events:
                first = (await anext(events)).data
                threading.Timer(0.02, events.close).start()
                return [first, *[event.data async for event in events]]

        with Misbehaving(QUIET) as server:
            assert ["a"] == self.run(whole, server.url)

    def test_a_scope_ends_it_and_the_next_step_goes_on(self, library: str) -> None:
        trio = need("trio")

        async def whole(url: str) -> list[str]:
            async with source(url, library) as events:
                await anext(events)
                with trio.move_on_after(0.02) as scope:
                    await anext(events)
                assert scope.cancelled_caught
                return [event.data async for event in events]

        with Misbehaving(QUIET, MORE, END) as server:
            assert ["b"] == self.run(whole, server.url)

    def test_a_scope_ends_the_block(self, library: str) -> None:
        trio = need("trio")

        async def whole(url: str) -> bool:
            with trio.move_on_after(0.05) as scope:
                async with source(url, library) as events:
                    async for _ in events:
                        pass
            return bool(scope.cancelled_caught)

        with Misbehaving(QUIET) as server:
            assert self.run(whole, server.url)


def test_a_source_needs_a_loop() -> None:
    step = AsyncEventSource("http://a.example").__anext__()

    with pytest.raises(RuntimeError, match="must be used in a task of asyncio or trio"):
        step.send(None)


class StuckTransport:
    """A transport of the caller's own, whose answers give what a test says."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.requests: list[Request] = []
        self.closed = 0

    async def open(self, request: Request, _: float | None) -> StuckTransport:
        self.requests.append(request)
        self.response = Response(200, Headers({"Content-Type": "text/event-stream"}), request.url)
        return self

    async def read(self) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""

    async def close(self) -> None:
        self.closed += 1


async def test_a_transport_of_the_callers_own() -> None:
    transport = StuckTransport(b"id: 1\ndata: a\n\n", b"", b"data: b\n\n")
    options = {"reconnection_time": 0.001, "max_retries": 1}
    async with AsyncEventSource("http://a.example/x", client=transport, **options) as events:
        assert ["a", "b"] == [(await anext(events)).data, (await anext(events)).data]
        with pytest.raises(TooManyRetries):
            await anext(events)

    assert [None, "1", "1"] == [it.headers.get("last-event-id") for it in transport.requests[:3]]
    assert len(transport.requests) < transport.closed  # each answer, and the transport itself
