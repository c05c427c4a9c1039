"""Streams that pass by the middlewares round them: when they may, when not, and that nobody can tell by the bytes."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import signal
import sys
import weakref
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.driver import Ended, Stream, open_stream, turns
from support.middlewares import Header, passed
from support.servers import ROOT, Clients, Server, serve_granian, serve_uvicorn, unchunk, wait_for

from fastsse import decode
from fastsse.broadcast import Direct, Hub, Settings
from fastsse.broadcast.app import create_app

App = Callable[[Any, Any, Any], Awaitable[None]]
Send = Callable[[Any], Awaitable[None]]

SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": []}
QUIET = {"heartbeat": 0.0, "lifetime": 0.0}


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with started() as hub:
        yield hub


@asynccontextmanager
async def started(*, step_sends: bool | None = None, **knobs: Any) -> AsyncIterator[Hub]:
    hub = Hub(Settings(**{**QUIET, **knobs}), step_sends=step_sends)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


class Between:
    """A middleware of which a test says what becomes of a message: by default it leaves as it is."""

    def __init__(self, app: Any) -> None:
        self.seen: list[Any] = []  # what came by, in order
        self.send: Send  # the next one's
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.send = send
        await self._app(scope, receive, self.take)

    async def take(self, message: Any) -> None:
        self.seen.append(message)
        await self.leave(message)

    async def leave(self, message: Any) -> None:
        await self.send(message)

    @property
    def bodies(self) -> list[bytes]:
        return [each["body"] for each in self.seen if each["type"] == "http.response.body"]


class Wire:
    """A connection by granian's name, whose sends wait until there is room for them, or raise."""

    __module__ = "granian.wire"

    def __init__(self, room: int) -> None:
        self.room = asyncio.Semaphore(room)
        self.error: Exception | None = None
        self.left: list[bytes] = []
        self.gone = asyncio.Event()
        self.scope: Any = None

    async def send(self, message: Any) -> None:
        if self.error is not None:
            raise self.error
        await self.room.acquire()
        self.left.append(message.get("body", b""))

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}


def follow(app: Any, **options: Any) -> AbstractAsyncContextManager[Stream]:
    return open_stream(app, sends="direct", **options)


def is_live(hub: Hub) -> list[bool]:
    """Tell of each stream: whether the pump sends to it."""
    return [subscriber.live for subscriber in hub.audiences.members()]


async def live(hub: Hub) -> None:
    async with asyncio.timeout(5):
        while not all(is_live(hub)):
            await asyncio.sleep(0)


async def test_only_the_opening_and_the_end_go_through_the_middlewares(hub: Hub) -> None:
    between = Between(hub.response("a"))
    async with follow(Direct(Header(Header(between)))) as stream:
        opening = await stream.block()
        await live(hub)
        for number in range(50):
            await hub.publish("a", str(number))
            await turns(number % 3)
        events = await stream.events(50)

        hub.drain()
        last = await stream.rest()

    assert "middleware" == stream.headers["x-served-by"]
    assert [str(number) for number in range(50)] == [event.data for event in events]
    assert [opening, last] == between.bodies
    assert b": shutdown\n" in last
    assert stream.complete


async def test_the_body_is_that_of_a_stream_without_middlewares(hub: Hub) -> None:
    first = await hub.publish("a", "old")
    response = hub.response(["a", "b"], last_event_id=first.id, labels=True)
    await hub.publish("a", "missed")
    async with follow(passed(response)) as stream, follow(response) as plain:
        await stream.block()
        await live(hub)
        for number in range(20):
            await hub.publish("ab"[number % 2], str(number))
        await turns()
        for each in hub.audiences.members():
            each.end("lifetime")

        bodies = await stream.rest(), await plain.rest()

    assert bodies[0] in bodies[1]
    assert bodies[1].endswith(bodies[0])


async def test_an_app_with_nothing_in_between_is_sent_to_as_if_it_stood_alone(hub: Hub) -> None:
    before = len(asyncio.all_tasks())
    async with follow(Direct(Direct(hub.response("a")))) as stream:
        await stream.block()
        await turns()

        assert before + 1 == len(asyncio.all_tasks())
        assert [False] == [each.own_task for each in hub.audiences.members()]


async def test_the_whole_broadcast_may_stand_beneath_them(hub: Hub) -> None:
    async with follow(passed(create_app(hub=hub)), path="/events", query="topic=a") as stream:
        await stream.block()
        await live(hub)
        await hub.publish("a", "x")

        assert ["x"] == [event.data for event in await stream.events(1)]


class _Encodes(Between):
    async def leave(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.zip = zlib.compressobj()
            message = {
                **message,
                "headers": [*message["headers"], (b"content-encoding", b"deflate")],
            }
        elif "body" in message:
            body = self.zip.compress(message["body"]) + self.zip.flush(zlib.Z_SYNC_FLUSH)
            message = {**message, "body": body}
        await self.send(message)


class _Declares(Between):
    """Says that the body is encoded, and leaves it as it is."""

    async def leave(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"content-encoding", b"x")]}
        await self.send(message)


class _Renames(Between):
    async def leave(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "status": 203}
        await self.send(message)


class _Rewrites(Between):
    async def leave(self, message: Any) -> None:
        if "body" in message:
            message = {**message, "body": message["body"].replace(b": fastsse", b": another")}
        await self.send(message)


class _Splits(Between):
    async def leave(self, message: Any) -> None:
        if "body" in message:
            await self.send({**message, "body": message["body"][:3], "more_body": True})
            message = {**message, "body": message["body"][3:]}
        await self.send(message)


class _Flushes(Between):
    """Sends an empty body first, as some do to get the headers out."""

    async def leave(self, message: Any) -> None:
        await self.send(message)
        if message["type"] == "http.response.start":
            await self.send({"type": "http.response.body", "body": b"", "more_body": True})


class _Delays(Between):
    """Lets each body out when the next one comes."""

    async def leave(self, message: Any) -> None:
        if len(self.seen) > 2:
            await self.send(self.seen[-2])
        if "body" not in message or not message["more_body"]:
            await self.send(message)


class _Ends(Between):
    """Makes the opening block the whole body."""

    async def leave(self, message: Any) -> None:
        if len(self.seen) <= 2:
            await self.send({**message, "more_body": False} if "body" in message else message)


class _Swallows(Between):
    """Lets the opening block out never."""

    async def leave(self, message: Any) -> None:
        if len(self.seen) != 2:
            await self.send(message)


@pytest.mark.parametrize(
    "kind", [_Encodes, _Declares, _Renames, _Rewrites, _Splits, _Flushes, _Delays, _Swallows]
)
async def test_what_a_middleware_alters_or_keeps_goes_through_it_to_the_end(
    hub: Hub, kind: type[Between]
) -> None:
    between = kind(hub.response("a"))
    async with follow(Direct(between)) as stream:
        await turns()
        assert [False] == is_live(hub)
        for number in range(5):
            await hub.publish("a", str(number))
            async with asyncio.timeout(5):
                while len(between.bodies) < number + 2:
                    await asyncio.sleep(0)
        assert [False] == is_live(hub)
        hub.drain()
        body = await stream.rest()

    if kind is _Encodes:
        body = zlib.decompressobj().decompress(body)
    assert list("01234") == [event.data for event in decode(body)]
    assert 1 == body.count(b": shutdown\n")
    assert stream.complete


@pytest.mark.parametrize("sends", ["granian", "coroutine", "wrapped"])
async def test_a_server_that_is_not_known_is_sent_to_by_the_streams_own_task(
    hub: Hub, sends: Any
) -> None:
    between = Between(hub.response("a"))
    async with open_stream(Direct(Header(between)), sends=sends) as stream:
        await stream.block()
        await turns()
        await hub.publish("a", "x")

        assert ["x"] == [event.data for event in await stream.events(1)]
    assert 2 == len(between.bodies)


async def test_a_hub_that_shall_not_be_direct_is_not() -> None:
    async with started(step_sends=False) as hub:
        between = Between(hub.response("a"))
        async with follow(Direct(between)) as stream:
            await stream.block()
            await turns()
            await hub.publish("a", "x")
            await stream.events(1)

    assert b"data: x\n\n" in between.bodies[1]


async def test_it_is_no_way_before_the_servers_send_has_returned(hub: Hub) -> None:
    wire, between = Wire(0), Between(hub.response("a"))
    app = Direct(Header(between))
    task = asyncio.ensure_future(app(SCOPE, wire.receive, wire.send))
    await turns()
    await hub.publish("a", "x")  # the start is pending
    wire.room.release()
    await turns()
    await hub.publish("a", "y")  # the opening block is
    await turns()
    assert [b""] == wire.left
    assert [False] == is_live(hub)

    for _ in range(2):
        wire.room.release()
    await live(hub)

    assert ["x", "y"] == [event.data for event in decode(wire.left[2])]
    assert [wire.left[1]] == between.bodies
    task.cancel()
    await asyncio.wait([task])
    assert 0 == hub.open_streams


async def test_a_client_that_leaves_ends_the_stream_and_every_task(hub: Hub) -> None:
    before = len(asyncio.all_tasks())
    async with follow(passed(hub.response("a"))) as stream:
        await stream.block()
        await live(hub)

        stream.disconnect()
        await stream.ended()

    await turns()
    assert before == len(asyncio.all_tasks())
    assert {"disconnected": 1} == dict(hub.stats.ended)
    assert 0 == hub.open_streams


async def test_a_client_that_leaves_before_the_way_is_known_does_too(hub: Hub) -> None:
    before = len(asyncio.all_tasks())
    async with follow(Direct(_Swallows(Header(hub.response("a"))))) as stream:
        await turns()

        stream.disconnect()
        await turns(100)
        assert not stream.running

    await turns()
    assert before == len(asyncio.all_tasks())
    assert 0 == hub.open_streams


@pytest.mark.parametrize("drains", [False, True])
async def test_a_stream_may_be_over_before_it_is_live(drains: bool) -> None:
    async with started(drain=0.0) as hub:
        wire, between = Wire(1), Between(hub.response("a"))
        task = asyncio.ensure_future(Direct(Header(between))(SCOPE, wire.receive, wire.send))
        await turns()
        await hub.publish("a", "x")
        wire.room.release()  # for the opening block
        await turns()
        assert 1 == hub.blocked

        if drains:
            hub.drain()
            for _ in range(3):
                wire.room.release()
        else:
            wire.gone.set()
        await asyncio.wait_for(task, 5)

        if drains:
            assert b": shutdown\n" in wire.left[3]
            assert wire.left[3] == between.bodies[-1]
        else:
            assert {"disconnected": 1} == dict(hub.stats.ended)


async def test_a_send_that_raises_ends_the_stream(hub: Hub) -> None:
    wire = Wire(9)
    task = asyncio.ensure_future(passed(hub.response("a"))(SCOPE, wire.receive, wire.send))
    await turns()
    await live(hub)

    wire.error = OSError("the client has gone")
    await hub.publish("a", "x")

    with pytest.raises(OSError, match="gone"):  # of the middleware's own end
        await asyncio.wait_for(task, 5)
    assert {"disconnected": 1} == dict(hub.stats.ended)


async def test_an_opening_block_that_the_server_does_not_take_leaves_no_task(hub: Hub) -> None:
    before = len(asyncio.all_tasks())
    wire = Wire(1)
    task = asyncio.ensure_future(passed(hub.response("a"))(SCOPE, wire.receive, wire.send))
    await turns()

    task.cancel()
    await asyncio.wait([task])

    assert before == len(asyncio.all_tasks())
    assert 0 == hub.open_streams


async def test_a_blocked_stream_ends_once_it_reads_again_with_one_end() -> None:
    async with started(drain=0.0) as hub:
        between = Between(hub.response("a"))
        async with follow(passed(between)) as stream:
            await stream.block()
            await live(hub)
            stream.stall()
            for number in range(20):
                await hub.publish("a", str(number))
                await asyncio.sleep(0)
            await stream.blocked()

            hub.drain()
            await turns()
            stream.resume()
            body = await stream.rest()

        got = [event.data for event in decode(body)]
        assert body.endswith(between.bodies[-1])
        assert list(map(str, range(20))) == got
        assert b"\n\n: shutdown\nretry: " in between.bodies[-1]
        assert stream.complete


@pytest.mark.parametrize("again", [False, True])
async def test_a_slow_reader_is_cut_off_and_the_middlewares_end_does_not_join_a_pending_send(
    again: bool,
) -> None:
    async with started(lag_seconds=0.2, lag_bytes=2**24) as hub:
        async with follow(passed(hub.response("a"))) as slow:
            await slow.block()
            await live(hub)
            slow.stall()
            for number in range(20):
                await hub.publish("a", str(number) + "x" * 60_000)
                await asyncio.sleep(0)
            if again:  # it takes what is pending, and stalls at what comes after
                slow.resume()
                slow.stall()
                await slow.blocked()

            await slow.ended()

        assert {"slow": 1} == dict(hub.stats.ended)
        assert not slow.complete


async def test_a_stream_that_is_not_yet_known_to_be_direct_ends_at_once_all_the_same() -> None:
    async with started(drain=0.0) as hub:
        async with follow(Direct(_Swallows(hub.response("a")))) as stream:
            await turns()

            hub.drain()

            assert (await stream.rest()).startswith(b": shutdown\n")
            assert stream.complete


async def test_a_lifetime_that_is_over_ends_it_through_the_middlewares() -> None:
    async with started(lifetime=0.1) as hub:
        between = Between(hub.response("a"))
        async with follow(Direct(Header(between))) as stream:
            await stream.block()

            body = await stream.rest()

    assert b": lifetime\n\n" == body
    assert body == between.bodies[-1]
    assert stream.complete


@pytest.mark.parametrize("kind", [Between, _Rewrites])
async def test_heartbeats_come_on_either_way(kind: type[Between]) -> None:
    async with started(heartbeat=0.05) as hub:
        between = kind(hub.response("a"))
        async with follow(Direct(between)) as stream:
            await stream.block()

            assert [b":\n\n"] * 2 == [await stream.block(), await stream.block()]
    assert (kind is Between) == (1 == len(between.bodies))


async def test_a_middleware_that_ends_the_response_by_itself_ends_the_stream(hub: Hub) -> None:
    between = Between(hub.response("a"))
    async with follow(Direct(between)) as stream:
        await stream.block()
        await live(hub)

        await between.send({"type": "http.response.body", "body": b": enough\n\n"})
        await hub.publish("a", "too late")

        assert b": enough\n\n" == await stream.rest()
    assert {"disconnected": 1} == dict(hub.stats.ended)


async def test_a_middleware_that_ends_it_with_the_opening_block_is_sent_nothing_more(
    hub: Hub,
) -> None:
    between = _Ends(hub.response("a"))
    async with follow(Direct(between)) as stream:
        await hub.publish("a", "too late")
        async with asyncio.timeout(5):
            while len(between.bodies) < 2:
                await asyncio.sleep(0)

        assert [False] == is_live(hub)
        assert stream.unread == between.bodies[0]


async def test_a_middleware_that_cancels_what_is_in_it_can_still_end_the_response(hub: Hub) -> None:
    async def limited(scope: Any, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(0.1):
                await Header(hub.response("a"))(scope, receive, send)
        except TimeoutError:
            await send({"type": "http.response.body", "body": b": timeout\n\n"})

    async with follow(Direct(limited)) as stream:
        await stream.block()
        await live(hub)
        await hub.publish("a", "x")

        body = await stream.rest()

    assert body.endswith(b"data: x\n\n: timeout\n\n")
    assert stream.complete
    assert 0 == hub.open_streams


async def test_it_makes_no_cycle_through_what_a_server_keeps(hub: Hub) -> None:
    gc.disable()
    try:
        wire = Wire(9)
        wire.scope = dict(SCOPE)  # as uvicorn does
        app = Direct(Between(hub.response("a")))
        task = asyncio.ensure_future(app(wire.scope, wire.receive, wire.send))
        await turns()
        wire.gone.set()
        await task
        gone = weakref.ref(wire)
        del wire, task, app
        await turns()

        assert gone() is None
    finally:
        gc.enable()


async def test_other_responses_are_as_they_were(hub: Hub) -> None:
    app = passed(create_app(hub=hub))
    async with open_stream(app, "/health", sends="direct") as stream:
        body = await stream.rest()

    assert 200 == stream.status
    assert body.startswith(b"{")
    with pytest.raises(Ended):
        await stream.chunk()


# Under real servers.

SERVED = """
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI, Request
from fastsse._signals import on_shutdown
from fastsse.broadcast import Direct, Hub, Settings
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse

hub = Hub(Settings(heartbeat=0, lifetime=0, drain=0, history_events=100000, history_bytes=2**28, lag_bytes=2**28,
    lag_events=10**6))

@asynccontextmanager
async def lifespan(app):
    await hub.start()
    undo = on_shutdown(hub.drain)
    yield
    undo()
    await hub.stop()

inner = FastAPI(lifespan=lifespan)
inner.add_middleware(GZipMiddleware, minimum_size=1)

@inner.middleware("http")
async def one(request: Request, call_next):
    response = await call_next(request)
    response.headers["x-one"] = "1"
    return response

@inner.middleware("http")
async def two(request: Request, call_next):
    await request.body()
    response = await call_next(request)
    response.headers["x-two"] = "2"
    return response

@inner.get("/stream")
async def stream():
    return hub.response("a")

@inner.post("/publish")
async def publish(request: Request):
    await hub.publish("a", await request.body())
    return {}

@inner.get("/health")
async def state():
    streams = hub.audiences.members()
    return {"tasks": len(asyncio.all_tasks()), "streams": hub.open_streams, "blocked": hub.blocked,
        "live": sum(each.live for each in streams), "own_task": sum(each.own_task for each in streams)}

direct = Direct(inner)

async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] == "/plain":
        return await hub.stream(receive, send, "a")
    return await direct(scope, receive, send)
"""

SERVERS: list[Any] = [
    pytest.param((serve_granian, ("--loop", "asyncio")), id="granian-asyncio"),
    pytest.param((serve_granian, ("--loop", "uvloop")), id="granian-uvloop"),
    pytest.param((serve_uvicorn, ("--loop", "asyncio", "--http", "h11")), id="uvicorn-h11"),
    pytest.param((serve_uvicorn, ("--loop", "uvloop", "--http", "httptools")), id="uvicorn-uvloop"),
]


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    for name in ("fastapi", request.param[0].__name__.removeprefix("serve_")):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    serve, flags = request.param
    for flag in ("uvloop", "h11", "httptools"):
        if flag in flags:
            pytest.importorskip(flag)
    (tmp_path / "served_bypass.py").write_text(SERVED)
    path = f"{ROOT}:{tmp_path}"
    with serve(*flags, app="served_bypass:app", PYTHONPATH=path) as server:
        yield server


def publish(server: Server, data: str) -> None:
    assert 200 == server.request("POST", "/publish", data).status


def wait_for_live(server: Server, count: int) -> None:
    wait_for(lambda: server.health()["live"] == count)


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
async def test_a_real_servers_streams_are_those_of_an_app_without_middlewares(
    served: Server, clients: Clients
) -> None:
    stream = await clients.follow(served, "/stream", "Accept-Encoding: gzip")
    plain = await clients.follow(served, "/plain")
    await asyncio.to_thread(wait_for_live, served, 2)
    for number in range(30):
        await asyncio.to_thread(publish, served, f"{number} " + "x" * number * 100)
    own_task = (await asyncio.to_thread(served.health))["own_task"]
    served.signal(signal.SIGTERM)
    bodies = [unchunk(await each.until(b"0\r\n\r\n")) for each in (stream, plain)]

    assert 1 == own_task
    assert b"x-one: 1\r\n" in stream.head
    assert b"x-two: 2\r\n" in stream.head
    assert b"content-encoding" not in stream.head
    ours, theirs = (body.partition(b": shutdown\n") for body, _ in bodies)
    assert stream.opening == plain.opening
    assert ours[:2] == theirs[:2]
    assert 30 == len(decode(ours[0]))
    assert all(ended for _, ended in bodies)
    await asyncio.to_thread(served.wait)


async def test_a_real_client_that_leaves_takes_every_task_with_it(
    served: Server, clients: Clients
) -> None:
    tasks = (await asyncio.to_thread(served.health))["tasks"]
    streams = [await clients.follow(served, "/stream") for _ in range(5)]
    await asyncio.to_thread(wait_for_live, served, 5)

    for stream in streams:
        await stream.close()

    await asyncio.to_thread(wait_for, lambda: served.health()["streams"] == 0)
    await asyncio.to_thread(wait_for, lambda: served.health()["tasks"] <= tasks)


async def test_a_real_client_that_stalls_gets_everything_in_order_when_it_reads_again(
    served: Server, clients: Clients
) -> None:
    stream = await clients.follow(served, "/stream")
    await asyncio.to_thread(wait_for_live, served, 1)
    stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
    count = 0
    while not (await asyncio.to_thread(served.health))["blocked"]:
        for _ in range(10):
            await asyncio.to_thread(publish, served, f"{count} " + "x" * 60_000)
            count += 1
    assert 0 == (await asyncio.to_thread(served.health))["live"]

    stream.writer.transport.resume_reading()  # type: ignore[attr-defined]
    events = await stream.events(count)
    await asyncio.to_thread(wait_for_live, served, 1)

    assert [str(n) for n in range(count)] == [event.data.split()[0] for event in events]
