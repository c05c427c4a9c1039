"""A parked stream: its connection's task awaits `receive`, and whoever ends the stream cancels that wait."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from support.driver import turns
from support.servers import Clients, serve_granian, serve_uvicorn, wait_for

from fastsse.broadcast import Hub, Settings
from fastsse.broadcast.hub.subscriber import Subscriber

ORDERS = pytest.mark.parametrize("order", ["ours first", "theirs first"])


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub(Settings(heartbeat=0, lifetime=0), step_sends=True)
    await made.start()
    yield made
    await made.stop()


async def send(_: Any) -> None:
    """Take a message: this client always has room."""


class Client:
    """One that stays until it is told to go."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


def follow(hub: Hub, receive: Callable[[], Awaitable[Any]] | None = None) -> Any:
    """Make the coroutine of one stream."""
    return hub.stream(receive or Client().receive, send, "a")


async def parked(hub: Hub, coroutine: Any) -> asyncio.Task[Any]:
    task = asyncio.create_task(coroutine)
    await turns()
    assert 1 == hub.open_streams
    return task


def at_once(order: str, hub: Hub, schedule: Callable[..., object], *arguments: object) -> None:
    """Cancel twice in one turn of the loop, before the task hears of either; `schedule` is for theirs."""
    if order == "ours first":
        hub.drain()
        schedule(*arguments)
    else:
        schedule(*arguments)
        hub.drain()


async def left_over(stream: Any) -> int:
    """Run a stream, then wait; the cancellations that are left of it."""
    await stream
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_a_stream_that_is_ended_leaves_no_cancellation_behind(hub: Hub) -> None:
    task = await parked(hub, left_over(follow(hub)))

    hub.drain()

    assert 0 == await task
    assert {"shutdown": 1} == hub.stats.ended


async def test_a_stream_that_is_ended_while_it_opens_does_not_park(hub: Hub) -> None:
    room = asyncio.Event()

    async def slow(_: Any) -> None:
        await room.wait()

    task = await parked(hub, left_over(hub.stream(Client().receive, slow, "a")))
    hub.drain()
    await turns()

    room.set()

    assert 0 == await task


async def test_a_stream_that_is_ended_by_its_own_task_as_it_parks_returns(hub: Hub) -> None:
    client = Client()

    async def receive() -> dict[str, Any]:
        hub.drain()
        return await client.receive()

    assert 0 == await asyncio.create_task(left_over(follow(hub, receive)))


@pytest.mark.parametrize("first", ["gone", "ended"])
async def test_a_client_that_goes_as_its_stream_is_ended_leaves_no_cancellation_behind(
    hub: Hub, first: str
) -> None:
    client = Client()
    task = await parked(hub, left_over(follow(hub, client.receive)))

    for act in (client.gone.set, hub.drain) if first == "gone" else (hub.drain, client.gone.set):
        act()

    assert 0 == await task


async def test_a_server_that_swallows_the_cancellation_does_no_harm(hub: Hub) -> None:
    client = Client()

    async def receive() -> dict[str, Any]:
        try:
            return await client.receive()
        except asyncio.CancelledError:
            return {"type": "http.request", "body": b"", "more_body": False}

    task = await parked(hub, left_over(follow(hub, receive)))

    hub.drain()

    assert 0 == await task


async def test_a_server_that_turns_the_cancellation_into_an_error_does_no_harm(hub: Hub) -> None:
    client = Client()

    async def receive() -> dict[str, Any]:
        try:
            return await client.receive()
        except asyncio.CancelledError:
            raise OSError("the connection is lost") from None

    task = await parked(hub, left_over(follow(hub, receive)))

    hub.drain()

    assert 0 == await task


async def test_a_cancellation_that_was_swallowed_long_ago_is_not_taken_for_a_new_one(
    hub: Hub,
) -> None:
    started = asyncio.Event()

    async def serve() -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await left_over(follow(hub))
        raise AssertionError("it was to be cancelled")

    early = asyncio.create_task(serve())
    await started.wait()
    early.cancel()
    await turns()
    assert 1 == hub.open_streams

    hub.drain()

    assert 1 == await early


async def test_a_cancellation_from_outside_goes_through(hub: Hub) -> None:
    task = await parked(hub, follow(hub))

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (0, {"disconnected": 1}) == (hub.open_streams, hub.stats.ended)


@ORDERS
async def test_a_cancellation_from_outside_goes_through_as_the_stream_ends(
    hub: Hub, order: str
) -> None:
    task = await parked(hub, follow(hub))

    at_once(order, hub, asyncio.get_running_loop().call_soon, task.cancel)

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (0, 1) == (hub.open_streams, task.cancelling())


@ORDERS
async def test_a_timeout_that_is_up_as_the_stream_ends_is_a_timeout(hub: Hub, order: str) -> None:
    limits: list[asyncio.Timeout] = []

    async def serve() -> None:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            await follow(hub)

    task = await parked(hub, serve())

    at_once(order, hub, limits[0].reschedule, 0)

    with pytest.raises(TimeoutError):
        await task
    assert 0 == task.cancelling()


async def test_a_stream_that_ends_in_time_is_no_timeout(hub: Hub) -> None:
    async def serve() -> int:
        async with asyncio.timeout(60):
            return await left_over(follow(hub))

    task = await parked(hub, serve())

    hub.drain()

    assert 0 == await task


@ORDERS
async def test_a_scope_of_anyio_that_is_cancelled_as_the_stream_ends_is_left_clean(
    hub: Hub, order: str
) -> None:
    scope = anyio.CancelScope()

    async def serve() -> int:
        with scope:
            await follow(hub)
        return await left_over(asyncio.sleep(0))

    task = await parked(hub, serve())

    at_once(order, hub, asyncio.get_running_loop().call_soon, scope.cancel)

    assert 0 == await task
    assert scope.cancelled_caught or order == "ours first"  # anyio waits for the first to be heard


async def test_a_group_of_tasks_that_fails_takes_its_streams_along(hub: Hub) -> None:
    fail = asyncio.Event()

    async def failing() -> None:
        await fail.wait()
        raise OSError("no more")

    async def serve() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(follow(hub))

    task = await parked(hub, serve())

    fail.set()
    hub.drain()

    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert [OSError] == [type(error) for error in caught.value.exceptions]
    assert 0 == hub.open_streams


async def test_streams_leave_no_cycles_so_the_collector_may_look_seldom(hub: Hub) -> None:
    def subscribers() -> int:
        return sum(isinstance(found, Subscriber) for found in gc.get_objects())

    gc.collect()
    before = subscribers()
    gc.disable()
    try:
        for _ in range(20):
            client = Client()
            task = await parked(hub, follow(hub, client.receive))
            await hub.publish("a", "x")
            client.gone.set()
            await task
        last = await parked(hub, follow(hub))
        hub.drain()
        await last
        del task, last

        assert before == subscribers()
    finally:
        gc.enable()


@pytest.mark.parametrize("serve", [serve_granian, serve_uvicorn])
async def test_a_connection_whose_stream_has_ended_takes_the_next_request(
    serve: Any, clients: Clients
) -> None:
    if serve is serve_uvicorn:
        pytest.importorskip("uvicorn")
    with serve(FASTSSE_LIFETIME="0.2") as server:
        stream = await clients.follow(server, "/events?topic=a", "X-More: " + "x" * 1000)
        while await stream.chunk():
            pass

        stream.writer.write(b"GET /events?topic=b HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await stream.open()

        server.publish("b", "again")
        assert ["again"] == [event.data for event in await stream.events(1)]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="granian has no other tasks there")
async def test_a_task_that_cannot_be_cancelled_is_let_go_as_well(clients: Clients) -> None:
    with serve_granian("--task-impl", "rust", FASTSSE_LIFETIME="0.2") as server:
        stream = await clients.follow(server, "/events?topic=a")

        while await stream.chunk():
            pass

        wait_for(lambda: server.health()["streams"] == 0)
