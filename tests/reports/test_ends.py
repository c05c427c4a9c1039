"""How a hub ends, starts again and is embedded; subscriptions; publishing from anywhere.

Signals to a process are in `broadcast/hub/test_embedded.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Literal

import anyio
import pytest
from support.driver import fetch, open_stream, turns
from support.middlewares import passed
from support.servers import DEADLINE

from fastsse import Event, EventSourceResponse, end_streams
from fastsse.broadcast import (
    Draft,
    Entry,
    Follower,
    Hub,
    HubClosed,
    Log,
    MemoryStore,
    Settings,
)
from fastsse.broadcast.app import create_app
from fastsse.broadcast.hub import rounds, runner

QUIET = Settings(heartbeat=0, lifetime=0)


class KeptLog:
    """A store that keeps everything, counts what is done to it, and can be told to wait or to fail."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.calls: list[str] = []
        self.fails: str = ""  # the call that raises OSError
        self.gate = asyncio.Event()  # appends and closings wait for it
        self.gate.set()
        self.epoch = "log"
        self._follower: Follower | None = None

    async def open(self) -> Log:
        await self._called("open")
        return Log(self.epoch, 0, len(self.entries))

    async def append(self, draft: Draft, key: str | None = None) -> int:  # noqa: ARG002
        await self.gate.wait()
        if self._follower is None:
            raise OSError("appended to a closed store")
        entry = Entry(len(self.entries) + 1, draft.topics, draft.block)
        self.entries.append(entry)
        self._follower.entry(entry)
        return entry.position

    async def follow(self, follower: Follower, tail: int) -> None:
        await self._called("follow")
        self._follower = follower
        for entry in self.entries[-tail:]:
            follower.entry(entry)

    async def close(self) -> None:
        self._follower = None
        await self._called("close")

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.fails == name:
            raise OSError(f"cannot {name}")


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with Hub(QUIET) as made:
        yield made


Way = Literal["stepped", "wrapped", "past"]


@pytest.fixture(params=["stepped", "wrapped", "past"])
def way(request: pytest.FixtureRequest) -> Way:
    """The ways to send to a stream: by the pump, by the stream's own task, by the pump past middlewares."""
    return request.param  # type: ignore[no-any-return]


async def within(seconds: float, happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(seconds):
        while not happened():
            await asyncio.sleep(0.001)


def following(hub: Hub, *topics: str, way: Way = "stepped", **more: Any) -> Any:
    return opened(hub.response(topics or "a", **more), way)


def opened(app: Any, way: Way) -> Any:
    if way == "past":
        app = passed(app)
    return open_stream(app, sends="wrapped" if way == "wrapped" else "direct")


# Not started.


async def test_a_hub_that_is_not_started_says_what_to_do() -> None:
    """A hub under a Mount is never started by itself; the error names the lifespan, and `started` tells it before.

    From: fastapi/fastapi#811
    """
    hub = Hub(QUIET)
    before = hub.started

    with pytest.raises(RuntimeError, match=r"not started: .*lifespan.*async with hub"):
        await hub.publish("a", "x")
    with pytest.raises(RuntimeError, match=r"not started: .*lifespan.*async with hub"):
        hub.subscribe("a")
    async with hub as entered:
        during = hub.started
        await hub.publish("a", "x")

    assert hub is entered
    assert (False, True, False) == (before, during, hub.started)


# The signal, and end_streams.


async def test_a_started_hub_ends_its_streams_when_the_loops_streams_shall_end(
    way: Way,
) -> None:
    """A server that recycles its worker tells no signal: one call ends responses and hubs alike.

    From: dramaclaw/dramaclaw PR 578
    """
    async with Hub(QUIET) as hub, following(hub, way=way) as stream:
        response = EventSourceResponse(hub.subscribe("a"), last="bye")
        async with open_stream(response) as other:
            end_streams()

            assert b": shutdown\n" in await stream.rest()
            assert b"data: bye\n" in await other.rest()
        await hub.drained()

        assert (True, True) == (stream.complete, other.complete)
        assert {"shutdown": 2} == dict(hub.stats.ended)


async def test_a_hub_in_a_threads_loop_is_ended_from_another() -> None:
    """A thread cannot listen for signals.

    From: dramaclaw/dramaclaw PR 578
    """
    hub = Hub(QUIET)
    loops: list[asyncio.AbstractEventLoop] = []
    started = threading.Event()

    async def live() -> None:
        async with hub:
            loops.append(asyncio.get_running_loop())
            started.set()
            await hub.drained()

    thread = threading.Thread(target=asyncio.run, args=[live()])
    thread.start()
    assert await asyncio.to_thread(started.wait, DEADLINE)

    end_streams(loops[0])
    await asyncio.to_thread(thread.join, DEADLINE)

    assert not thread.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
async def test_a_stopped_hub_no_longer_listens_for_the_signal() -> None:
    """The end puts back the handlers that were there before the first start.

    From: cenodude/CrossWatch#1118
    """
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]

    for _ in range(3):
        async with Hub(QUIET):
            during = signal.getsignal(signal.SIGTERM)

    assert before == [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    assert during not in before


async def test_app_and_hub_listen_both_and_a_stream_ends_once() -> None:
    """The app listens for bodies and its hub for streams, and a stream gets one last block.

    From: cubeplexai/cubeplex#606
    """
    app = create_app(QUIET)
    async with app._lifespan(app._rest), open_stream(app, "/events", "topic=a") as stream:
        end_streams()

        assert 1 == (await stream.rest()).count(b": shutdown\n")


# Start again.


@pytest.mark.parametrize("times", [20])
async def test_a_hub_starts_again_as_the_first_time(times: int, way: Way) -> None:
    """One hub is started many times on one loop, and nothing of one time reaches into the next.

    From: BerriAI/litellm#13651
    """
    hub = Hub(QUIET)
    tasks = len(asyncio.all_tasks())

    for _ in range(times):
        async with hub, following(hub, way=way) as stream:
            assert ("ok", 0, 1) == tuple(
                hub.health()[name] for name in ("status", "head", "streams")
            )
            await hub.publish("a", "x")
            assert ["x"] == [event.data for event in await stream.events(1)]
            end = asyncio.ensure_future(hub.stop())
            assert b": shutdown\n" in await stream.rest()
            await end

    await turns()
    assert times == hub.stats.ended["shutdown"]
    assert tasks == len(asyncio.all_tasks())


def test_a_hub_starts_again_on_another_loop_each_time() -> None:
    """One app serves all tests, and each test has an event loop of its own.

    From: jkoelker/schwab-mcp PR 152
    """
    app = create_app(QUIET)

    async def live() -> bytes:
        async with app._lifespan(app._rest), open_stream(app, "/events", "topic=a") as stream:
            await app.hub.publish("a", "x")
            await stream.events(1)
            app.drain()
            return await stream.rest()

    assert all(b": shutdown\n" in asyncio.run(live()) for _ in range(5))


@pytest.mark.parametrize("around", ["app", "fastapi"])
def test_one_app_serves_a_test_client_for_each_test(around: str) -> None:
    """Starlette's TestClient runs the lifespan on a loop of its own, in a thread.

    From: BerriAI/litellm#13651
    """
    pytest.importorskip("httpx2")
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    app: Any = create_app(QUIET)
    if around == "fastapi":
        broadcast = app

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with broadcast.hub:
                yield

        app = FastAPI(lifespan=lifespan)
        app.mount("/", broadcast)

    for _ in range(3):
        with TestClient(app, base_url="http://localhost") as client:
            health = client.get("/health")
            posted = client.post("/events", data={"topic": "a", "data": "x"})

            assert (200, "ok", 0) == (
                health.status_code,
                health.json()["status"],
                health.json()["head"],
            )
            assert 200 == posted.status_code


def test_a_hub_whose_loop_was_closed_without_a_stop_starts_again() -> None:
    """Streams that were left open on that loop are let go, and each is counted once.

    From: jkoelker/schwab-mcp PR 152
    """
    log = KeptLog()
    hub = Hub(QUIET, log)
    left: list[Any] = []

    async def leave() -> None:
        await hub.start()
        left.append(hub.subscribe("a"))
        await hub.publish("a", "1")

    async def again() -> list[str]:
        before = hub.started
        async with hub, hub.subscribe("a", last_event_id="earliest") as events:
            assert 1 == hub.open_streams
            await hub.publish("a", "2")
            return [str(before), (await anext(events)).data, (await anext(events)).data]

    asyncio.run(leave())

    assert ["False", "1", "2"] == asyncio.run(again())
    assert (
        "1" == asyncio.run(_all(left[0]))[0].data
    )  # what was not taken is still there, and then the end
    assert 0 == hub.open_streams
    assert {"shutdown": 1, "closed": 1} == dict(hub.stats.ended)
    assert ["open", "follow", "close"] * 2 == log.calls


def test_a_hub_of_a_closed_loop_is_stopped_on_another() -> None:
    """From: jkoelker/schwab-mcp PR 152."""
    log = KeptLog()
    hub = Hub(QUIET, log)
    asyncio.run(hub.start())

    asyncio.run(hub.stop())
    asyncio.run(hub.stop())

    assert ["open", "follow", "close"] == log.calls
    assert not hub.started


async def test_a_hub_is_on_one_loop_at_a_time(hub: Hub) -> None:
    """A call from another thread's loop is refused with the reason, and disturbs nothing.

    From: BerriAI/litellm#13651
    """

    async def elsewhere() -> list[str]:
        said: list[str] = []
        for call in (hub.start, hub.stop, lambda: hub.publish("a", "x"), _subscribe):
            with pytest.raises(RuntimeError, match="another event loop") as caught:
                await call()
            said.append(str(caught.value))
        return said

    async def _subscribe() -> None:
        hub.subscribe("a")

    said = await asyncio.to_thread(asyncio.run, elsewhere())

    assert "publish_threadsafe" in said[2]
    async with hub.subscribe("a") as events:
        await hub.publish("a", "x")
        assert "x" == (await anext(events)).data


async def test_after_a_restart_a_readers_id_is_a_gap_where_the_log_is_new() -> None:
    """The memory store's log is a new one at each start, so that no position means two events.

    From: BerriAI/litellm#13651
    """
    hub = Hub(QUIET)
    async with hub:
        old = [(await hub.publish("a", f"old {n}")).id for n in range(3)]
    async with hub:
        for n in range(5):
            await hub.publish("a", f"new {n}")
        for last in old:
            async with hub.subscribe("a", last_event_id=last) as events:
                gap, *rest = [await anext(events) for _ in range(6)]

            assert ("gap", "restart", last) == (gap.event, gap.json()["reason"], gap.json()["from"])
            assert [f"new {n}" for n in range(5)] == [event.data for event in rest]


async def test_after_a_restart_a_reader_resumes_exactly_where_the_log_is_the_same() -> None:
    """A store that keeps its log keeps its epoch: nothing is lost, nothing comes twice.

    From: BerriAI/litellm#13651
    """
    log = KeptLog()
    hub = Hub(QUIET, log)
    async with hub:
        ids = [(await hub.publish("a", str(n))).id for n in range(3)]
    log.entries.append(Entry(4, ("a",), b"data: 3\n\n"))  # by another process, meanwhile
    async with hub:
        await hub.publish("a", "4")
        async with hub.subscribe("a", last_event_id=ids[0]) as events:
            got = [(await anext(events)).data for _ in range(4)]
        head = hub.health()["head"]

    assert ["1", "2", "3", "4"] == got
    assert 5 == head


@pytest.mark.parametrize("fails", ["open", "follow"])
async def test_a_start_that_fails_leaves_a_hub_that_can_be_started(fails: str) -> None:
    """From: BerriAI/litellm#13651."""
    log = KeptLog()
    hub = Hub(QUIET, log)
    log.fails = fails

    results = await asyncio.gather(hub.start(), hub.start(), return_exceptions=True)
    between = hub.started
    with pytest.raises(RuntimeError, match="not started"):
        await hub.publish("a", "x")
    log.fails = ""
    async with hub:
        await hub.publish("a", "x")

    assert [OSError, OSError] == [type(result) for result in results]
    assert not between
    assert 3 == log.calls.count("close")


async def test_a_start_that_is_cancelled_leaves_a_hub_that_can_be_started() -> None:
    """From: BerriAI/litellm#13651."""
    log = KeptLog()
    hub = Hub(QUIET, log)
    starting = asyncio.ensure_future(hub.start())
    await asyncio.sleep(0)

    starting.cancel()
    await asyncio.wait([starting])
    async with hub:
        await hub.publish("a", "x")

    assert ["open", "close", "open", "follow", "close"] == log.calls


@pytest.mark.parametrize("moment", ["open", "follow", "close"])
async def test_a_start_under_a_cancelled_scope_closes_what_it_has_opened(moment: str) -> None:
    """A scope cancels again at every turn: the store is closed in a task that it cannot reach.

    From: review F1
    """
    log = Slow()
    hub = Hub(QUIET, log)

    with anyio.CancelScope() as scope, contextlib.suppress(OSError):
        log.fails = "follow" if moment == "close" else ""
        reached = asyncio.ensure_future(within(5, lambda: moment in log.calls))
        reached.add_done_callback(lambda _: scope.cancel())
        await hub.start()
    log.fails = ""
    await hub.start()
    await hub.stop()

    assert log.calls.count("open") == log.closed == 2


class Slow(KeptLog):
    """A store that takes its time for everything."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    async def _called(self, name: str) -> None:
        await super()._called(name)
        for _ in range(30):
            await asyncio.sleep(0.001)
        self.closed += name == "close"


async def test_a_drain_may_be_called_from_any_thread(hub: Hub, way: Way) -> None:
    """A test's own thread ends the streams of a client whose loop is elsewhere.

    From: BerriAI/litellm#13651
    """
    async with following(hub, way=way) as stream:
        await asyncio.to_thread(hub.drain)

        assert b": shutdown\n" in await stream.rest()
        await hub.drained()


async def test_starts_and_stops_that_come_together_are_one_after_the_other() -> None:
    """The store is opened once for each life, and closed once.

    From: BerriAI/litellm#13651
    """
    log = KeptLog()
    hub = Hub(QUIET, log)

    await asyncio.gather(hub.start(), hub.start(), hub.start())
    await asyncio.gather(hub.stop(), hub.stop(), hub.start(), hub.stop())
    after_stop = hub.started
    starting = asyncio.ensure_future(hub.start())
    await asyncio.sleep(0)
    await hub.stop()
    await starting

    assert not after_stop or hub.started is False
    assert [] == [pair for pair in pairwise(log.calls) if pair[0] == pair[1]]
    assert log.calls.count("open") == log.calls.count("close")
    assert not hub.started


async def test_a_start_while_the_hub_stops_waits_for_the_end_and_starts() -> None:
    """From: BerriAI/litellm#13651."""
    log = KeptLog()
    hub = Hub(QUIET, log)
    await hub.start()
    stopping = asyncio.ensure_future(hub.stop())
    await asyncio.sleep(0)

    await hub.start()

    assert (True, False) == (hub.started, hub.draining)
    await hub.publish("a", "x")
    await stopping
    assert hub.started
    await hub.stop()
    assert ["open", "follow", "close"] * 2 == log.calls


async def test_a_hub_that_has_drained_starts_again() -> None:
    """From: BerriAI/litellm#13651."""
    log = KeptLog()
    async with Hub(QUIET, log) as hub:
        hub.drain()
        await hub.drained()
        await hub.start()

        await hub.publish("a", "x")
    assert ["open", "follow", "close"] * 2 == log.calls


async def test_a_stop_that_is_cancelled_goes_on() -> None:
    """From: BerriAI/litellm#13651."""
    log = KeptLog()
    hub = Hub(QUIET, log)
    await hub.start()
    log.gate.clear()
    publishing = asyncio.ensure_future(hub.publish("a", "x"))
    await asyncio.sleep(0)

    with anyio.move_on_after(0.01):
        await hub.stop()
    log.gate.set()
    await publishing
    await hub.drained()

    assert ["open", "follow", "close"] == log.calls


# The store at the end.


async def test_the_store_is_closed_when_the_last_stream_has_ended(way: Way) -> None:
    """A server may kill the process before it runs the lifespan's end; what a store holds must be safe by then.

    From: review F5
    """
    log = KeptLog()
    hub = Hub(QUIET, log)
    await hub.start()
    async with following(hub, way=way) as stream:
        await hub.publish("a", "x")

        hub.drain()
        await asyncio.wait_for(hub.drained(), 5)

        assert ["open", "follow", "close"] == log.calls
        assert b"data: x\n\n: shutdown\n" in await stream.rest()
        with pytest.raises(HubClosed):
            await hub.publish("a", "late")
    await hub.stop()
    await hub.stop()
    assert ["open", "follow", "close"] == log.calls


async def test_readers_that_do_not_read_delay_the_end_by_a_moment(way: Way) -> None:
    """Each reader that reads gets a whole last block, the others are cut, and then the store is closed.

    From: review F5
    """
    log = KeptLog()
    async with Hub(QUIET, log) as hub, contextlib.AsyncExitStack() as stack:
        reading = [await stack.enter_async_context(following(hub, way=way)) for _ in range(20)]
        stalled = [await stack.enter_async_context(following(hub, way=way)) for _ in range(20)]
        for stream in stalled:
            stream.stall()
        for number in range(30):
            await hub.publish("a", str(number))
            await asyncio.sleep(0)
        for stream in stalled:
            await stream.blocked()

        start = time.monotonic()
        hub.drain()
        await hub.drained()
        seconds = time.monotonic() - start

        assert 0 == hub.open_streams
        for stream in reading:
            body = await stream.rest()
            assert body.count(b"\ndata: ") == 30
            assert b": shutdown\nretry: " in body
            assert stream.complete
        assert 40 == hub.stats.ended["shutdown"]
    assert seconds < 2 * rounds._LAST_WORDS + 1
    assert 1 == log.calls.count("close")


async def test_a_publish_in_flight_is_appended_and_acknowledged_before_the_store_is_closed() -> (
    None
):
    """From: review F5."""
    log = KeptLog()
    async with Hub(QUIET, log) as hub:
        log.gate.clear()
        publishing = [asyncio.ensure_future(hub.publish("a", str(n))) for n in range(3)]
        await asyncio.sleep(0)

        hub.drain()
        await turns()
        with pytest.raises(HubClosed):
            await hub.publish("a", "late")
        open_still = "close" not in log.calls
        log.gate.set()
        await hub.drained()

        acknowledged = [(await one).id for one in publishing]
    assert open_still
    assert ["log-1", "log-2", "log-3"] == acknowledged
    assert 3 == len(log.entries)


async def test_a_store_that_never_answers_does_not_keep_the_hub_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The publish is refused by the closed store; it was never acknowledged.

    From: review F5
    """
    monkeypatch.setattr(runner, "_ANSWER", 0.05)
    log = KeptLog()
    async with Hub(QUIET, log) as hub:
        log.gate.clear()
        publishing = asyncio.ensure_future(hub.publish("a", "x"))
        await asyncio.sleep(0)

        hub.drain()
        await hub.drained()
        log.gate.set()

        with pytest.raises(OSError, match="closed"):
            await publishing


async def test_an_end_whose_task_is_cancelled_still_closes_the_store_once() -> None:
    """Every task is cancelled, as the end of `asyncio.run` does it.

    From: review F5
    """
    log = KeptLog()
    hub = Hub(QUIET, log)
    for turns_before in (0, 1, 2):
        await hub.start()
        hub.drain()
        await turns(turns_before)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

        await asyncio.wait_for(asyncio.gather(hub.stop(), hub.stop()), 5)

    assert ["open", "follow", "close"] * 3 == log.calls


async def test_a_store_that_cannot_be_closed_is_an_error_of_stop_and_the_hub_is_stopped() -> None:
    """From: review F5."""
    log = KeptLog()
    hub = Hub(QUIET, log)
    await hub.start()
    log.fails = "close"

    with pytest.raises(OSError, match="cannot close"):
        await hub.stop()

    await hub.stop()
    assert not hub.started


async def test_a_post_to_a_hub_whose_store_is_closed_is_told_to_come_again() -> None:
    """From: review F5."""
    app = create_app(QUIET)
    stream = {"Content-Type": "text/event-stream"}
    async with app._lifespan(app._rest):
        app.hub.draining = False  # as between the two: the body was read, and the store was closed
        app.hub._fanout.open = False  # type: ignore[union-attr]

        raw = await fetch(app, "/events", "topic=a", method="POST", body=b"x")
        events = await fetch(app, "/events", "topic=a", stream, "POST", body=b"data: x\n\n")

        app.hub._fanout.open = True  # type: ignore[union-attr]
    assert (503, 503) == (raw.status, events.status)
    assert "retry-after" in raw.headers


# Subscriptions.


async def test_a_subscription_outlives_every_lifetime() -> None:
    """The lifetime is for connections: a subscription in a worker's loop must not end without a word.

    From: standard-ai/ya-gcp#34
    """
    async with Hub(Settings(heartbeat=0, lifetime=0.05)) as hub:
        async with following(hub) as stream, hub.subscribe("a") as events:
            assert b": lifetime\n" in await stream.rest()
            async with following(hub) as stream:
                assert b": lifetime\n" in await stream.rest()

            await hub.publish("a", "x")

            assert "x" == (await anext(events)).data
        assert {"lifetime": 2, "closed": 1} == dict(hub.stats.ended)


async def _follow_and_break(hub: Hub) -> None:
    async for _ in hub.subscribe("a", last_event_id="earliest"):
        break


async def _follow_and_raise(hub: Hub) -> None:
    try:
        async for event in hub.subscribe("a", last_event_id="earliest"):
            raise KeyError(event)
    except KeyError as error:
        held = error
        streams = hub.open_streams
    assert (0, "x") == (streams, held.args[0].data)


async def _follow_and_be_cancelled(hub: Hub) -> None:
    async def follow() -> None:
        async for _ in hub.subscribe("a"):
            pass

    task = asyncio.ensure_future(follow())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert 0 == hub.open_streams, caught  # while the exception is still held


async def _follow_under_a_scope(hub: Hub) -> None:
    with anyio.move_on_after(0.01):
        async for _ in hub.subscribe("a"):
            pass


async def _follow_under_a_scope_that_cancels_a_busy_loop(hub: Hub) -> None:
    with anyio.move_on_after(0.01):
        async for event in hub.subscribe("a", last_event_id="earliest"):
            await hub.publish("a", event.data)


async def _follow_in_a_generator(hub: Hub) -> None:
    async def items() -> AsyncIterator[Event]:
        async for event in hub.subscribe("a", last_event_id="earliest"):
            yield event

    async for _ in items():
        break
    await turns()  # the loop closes the generator in a task


async def _never_iterate(hub: Hub) -> None:
    hub.subscribe("a")


async def _enter_and_break(hub: Hub) -> None:
    async with hub.subscribe("a", last_event_id="earliest") as events:
        async for _ in events:
            break


async def _close_twice(hub: Hub) -> None:
    events = hub.subscribe("a")
    events.close()
    events.close()


async def _leave_in_a_circle(hub: Hub) -> None:
    events = hub.subscribe("a")
    circle: list[Any] = [events]
    circle.append(circle)
    del circle, events
    gc.collect()


async def _leave_in_a_circle_in_a_thread(hub: Hub) -> None:
    gc.collect()
    gc.disable()
    try:
        circle: list[Any] = [hub.subscribe("a")]
        circle.append(circle)
        del circle
        await asyncio.to_thread(gc.collect)
    finally:
        gc.enable()
    await within(5, lambda: not hub.open_streams)


WAYS = [
    _follow_and_break,
    _follow_and_raise,
    _follow_and_be_cancelled,
    _follow_under_a_scope,
    _follow_under_a_scope_that_cancels_a_busy_loop,
    _follow_in_a_generator,
    _never_iterate,
    _enter_and_break,
    _close_twice,
    _leave_in_a_circle,
    _leave_in_a_circle_in_a_thread,
]


@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__.strip("_"))
async def test_a_subscription_leaves_nothing_however_it_is_left(hub: Hub, leave: Any) -> None:
    """From: googleapis/google-cloud-java#4205."""
    tasks = len(asyncio.all_tasks())
    await hub.publish("a", "x")

    await leave(hub)

    assert (0, 0) == (hub.open_streams, hub.audiences.topics)
    assert 1 == sum(hub.stats.ended.values())
    await turns()
    assert tasks == len(asyncio.all_tasks())


def test_a_subscription_of_a_closed_loop_leaves_nothing() -> None:
    """The loop is closed under a task that waits for the next event; the next life begins without it.

    From: googleapis/google-cloud-java#4205
    """
    hub = Hub(QUIET)
    loop = asyncio.new_event_loop()

    async def follow() -> None:
        async for _ in hub.subscribe("a"):
            pass

    loop.run_until_complete(hub.start())
    task = loop.create_task(follow())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task
    before = hub.open_streams
    asyncio.run(hub.stop())
    gc.collect()

    assert (1, 0) == (before, hub.open_streams)
    assert {"shutdown": 1} == dict(hub.stats.ended)


async def test_two_tasks_may_iterate_one_subscription(hub: Hub) -> None:
    """Each event goes to one of the tasks, and all of them hear of the end.

    From: standard-ai/ya-gcp#34
    """
    got: list[str] = []

    async def work() -> None:
        async for event in events:
            got.append(event.data)
            await asyncio.sleep(0)

    events = hub.subscribe("a")
    workers = [asyncio.ensure_future(work()) for _ in range(3)]
    for number in range(30):
        await hub.publish("a", str(number))
        if number % 7 == 0:
            await turns(3)
    hub.drain()
    await asyncio.wait_for(asyncio.gather(*workers), 5)

    assert sorted(map(str, range(30))) == sorted(got)


async def test_one_of_two_waiting_tasks_that_is_cancelled_takes_nothing_from_the_other(
    hub: Hub,
) -> None:
    """From: standard-ai/ya-gcp#34."""
    async with hub.subscribe("a") as events:
        one, two = asyncio.ensure_future(anext(events)), asyncio.ensure_future(anext(events))
        await turns(2)

        one.cancel()
        await hub.publish("a", "x")

        assert "x" == (await asyncio.wait_for(two, 5)).data


async def test_a_wait_with_a_timeout_leaves_the_subscription_open(hub: Hub) -> None:
    """From: standard-ai/ya-gcp#34."""
    async with hub.subscribe("a") as events:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.01)

        await hub.publish("a", "x")

        assert "x" == (await anext(events)).data


async def test_an_expression_may_wait_for_one_event(hub: Hub) -> None:
    """Only the wait itself holds the subscription, and that is enough to keep it.

    From: standard-ai/ya-gcp#34
    """
    waiting = asyncio.ensure_future(_next_of(hub))
    await turns(2)
    gc.collect()

    await hub.publish("a", "x")

    assert "x" == (await asyncio.wait_for(waiting, 5)).data
    assert 0 == hub.open_streams


async def _next_of(hub: Hub) -> Event:
    return await anext(hub.subscribe("a"))


@pytest.mark.parametrize("waiting", [True, False])
async def test_close_ends_the_iteration_at_once(hub: Hub, waiting: bool) -> None:
    """Another task closes, while the next event is waited for or others are still to be given.

    From: standard-ai/ya-gcp#34
    """
    events = hub.subscribe("a")
    if not waiting:
        for number in range(3):
            await hub.publish("a", str(number))
        await anext(events)
    rest = asyncio.ensure_future(_all(events))
    if waiting:
        await turns(2)

    events.close()

    assert [] == await asyncio.wait_for(rest, 5)
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_a_drain_gives_what_was_published_before_it_and_then_ends() -> None:
    """Events are given however slowly the consumer takes them; the drain itself does not wait for that.

    From: standard-ai/ya-gcp#34
    """
    hub = Hub(QUIET)
    await hub.start()
    events = hub.subscribe("a")
    for number in range(200):
        await hub.publish("a", str(number))
    first = await anext(events)

    hub.drain()
    await asyncio.wait_for(hub.stop(), 0.4)

    assert [str(number) for number in range(1, 200)] == [event.data for event in await _all(events)]
    assert "0" == first.data
    assert {"shutdown": 1} == dict(hub.stats.ended)


async def test_a_subscription_says_where_it_stands(hub: Hub) -> None:
    """The last event ID is right before the first event, too, and after a close with events still to be given.

    From: standard-ai/ya-gcp#34
    """
    ids = [(await hub.publish("a", str(number))).id for number in range(3)]
    fresh = hub.subscribe("a")
    back = hub.subscribe("a", last_event_id=ids[0])
    lost = hub.subscribe("a", last_event_id="other-7")
    before = [fresh.last_event_id, back.last_event_id, lost.last_event_id]
    await anext(back)

    for events in (fresh, back, lost):
        events.close()

    assert [ids[2], ids[0], "other-7"] == before
    assert ids[1] == back.last_event_id


async def test_a_full_hub_refuses_a_subscription() -> None:
    """A subscription counts as a stream.

    From: standard-ai/ya-gcp#34
    """
    async with Hub(Settings(heartbeat=0, lifetime=0, max_streams=1)) as hub, hub.subscribe("a"):
        with pytest.raises(RuntimeError, match="full"):
            hub.subscribe("a")


async def _all(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


# Filters.


def _raise(_event: Event, _topics: object) -> bool:
    raise ZeroDivisionError


def _raise_cancelled(_event: Event, _topics: object) -> bool:
    raise asyncio.CancelledError


@pytest.mark.parametrize("broken", [_raise, _raise_cancelled])
async def test_a_filter_that_raises_ends_its_own_stream_and_nothing_else(
    hub: Hub, way: Way, broken: Any
) -> None:
    """The publisher and the other readers hear nothing of a filter that fails while the stream is live.

    From: standard-ai/ya-gcp#34
    """
    async with (
        following(hub, way=way) as good,
        following(hub, way=way, filter=broken) as bad,
    ):
        receipt = await hub.publish("a", "x")

        assert [receipt.id] == [event.id for event in await good.events(1)]
        body = await bad.rest()
        assert body.endswith(b": filter\n\n")
        assert b"data: x" not in body
        assert bad.complete
        assert {"filter": 1} == dict(hub.stats.ended)


async def test_a_filter_that_raises_in_replay_ends_its_own_stream(hub: Hub, way: Way) -> None:
    """Events before the one that the filter fails at are sent.

    From: standard-ai/ya-gcp#34
    """
    for text in ("good", "bad", "good"):
        await hub.publish("a", text)

    def broken(event: Event, _: object) -> bool:
        return 1 // (event.data != "bad") > 0

    async with following(hub, way=way, last_event_id="earliest", filter=broken) as stream:
        body = await stream.rest()

    assert 1 == body.count(b"data: good\n")
    assert body.endswith(b": filter\n\n")
    assert {"filter": 1} == dict(hub.stats.ended)


async def test_a_filter_that_raises_is_the_iterations_error(hub: Hub) -> None:
    """From: standard-ai/ya-gcp#34."""
    events = hub.subscribe("a", filter=_raise)
    waiting = asyncio.ensure_future(anext(events))
    await turns(2)

    await hub.publish("a", "x")

    with pytest.raises(RuntimeError, match="filter raised") as caught:
        await waiting
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert 0 == hub.open_streams


async def test_a_filter_may_close_subscriptions_publish_later_and_open_others(hub: Hub) -> None:
    """From: standard-ai/ya-gcp#34."""
    opened: list[Any] = []
    tasks: list[Any] = []

    def busy(event: Event, _: object) -> bool:
        if event.data == "x" and not tasks:
            for subscription in opened[:2]:
                subscription.close()
            opened.append(hub.subscribe("a"))
            tasks.append(asyncio.ensure_future(hub.publish("a", "by the filter")))
            with pytest.raises(RuntimeError, match="await"):
                hub.publish_threadsafe("a", "y")
        return True

    opened += [hub.subscribe("a") for _ in range(2)]
    async with hub.subscribe("a", filter=busy) as events, hub.subscribe("a") as others:
        await hub.publish("a", "x")

        for subscription in (events, others):
            assert ["x", "by the filter"] == [(await anext(subscription)).data for _ in range(2)]
    opened[2].close()
    assert 0 == hub.open_streams


# Publishing from anywhere.


async def test_publish_threadsafe_on_the_loops_own_thread_is_refused(hub: Hub) -> None:
    """A wait on the loop's own thread would wait for itself.

    From: encode/starlette#1438
    """
    told: list[object] = []

    class Dying:
        def __del__(self) -> None:
            told.append(_refused(hub))

    Dying()
    asyncio.get_running_loop().call_soon(lambda: told.append(_refused(hub)))
    await turns()

    assert [True, True, True] == [*told, _refused(hub)]
    assert 0 == hub.health()["head"]


def _refused(hub: Hub) -> bool:
    try:
        hub.publish_threadsafe("a", "x", timeout=5)
    except RuntimeError as error:
        return "await hub.publish" in str(error)
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
async def test_publish_threadsafe_in_a_signal_handler_is_refused(hub: Hub) -> None:
    """From: encode/starlette#1438."""
    told: list[bool] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: told.append(_refused(hub)))
    try:
        signal.raise_signal(signal.SIGUSR1)
        await turns()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert [True] == told


async def test_many_threads_publish_and_nothing_is_lost(hub: Hub) -> None:
    """From: encode/starlette#1438."""
    with ThreadPoolExecutor(8) as pool:
        async with hub.subscribe("a") as events:
            loop = asyncio.get_running_loop()
            publishing = [
                loop.run_in_executor(pool, hub.publish_threadsafe, "a", str(n)) for n in range(300)
            ]
            got = [(await anext(events)).data for _ in range(300)]
            receipts = await asyncio.gather(*publishing)

    assert set(map(str, range(300))) == set(got)
    assert 300 == len({receipt.id for receipt in receipts})


async def test_threads_that_publish_while_the_hub_stops_get_an_answer_or_an_error() -> None:
    """From: encode/starlette#1438."""
    log = KeptLog()
    hub = Hub(QUIET, log)
    await hub.start()
    acknowledged: list[int] = []

    def publish() -> type[BaseException] | None:
        try:
            while True:
                hub.publish_threadsafe("a", "x")
                acknowledged.append(1)
        except Exception as error:
            return type(error)

    with ThreadPoolExecutor(4) as pool:
        loop = asyncio.get_running_loop()
        publishing = [loop.run_in_executor(pool, publish) for _ in range(4)]
        await within(5, lambda: len(acknowledged) > 50)
        await hub.stop()
        errors = await asyncio.wait_for(asyncio.gather(*publishing), 5)

    assert set(errors) <= {HubClosed, RuntimeError}
    assert len(log.entries) == len(acknowledged)


def test_a_thread_that_publishes_to_a_loop_that_is_closed_gets_an_error() -> None:
    """The loop goes away with the call in its queue.

    From: encode/starlette#1438
    """
    hub = Hub(QUIET)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(hub.start())
    errors: list[Exception] = []

    def publish() -> None:
        try:
            hub.publish_threadsafe("a", "x")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    while not loop._ready and thread.is_alive():  # type: ignore[attr-defined]
        time.sleep(0.001)
    loop.close()
    thread.join(DEADLINE)

    assert [HubClosed] == [type(error) for error in errors]
    with pytest.raises(RuntimeError, match="not started"):
        hub.publish_threadsafe("a", "x")


async def test_a_timeout_takes_the_publish_back() -> None:
    """The event is not published later, when the caller no longer knows of it.

    From: encode/starlette#1438
    """
    log = KeptLog()
    async with Hub(QUIET, log) as hub:
        log.gate.clear()

        with pytest.raises(TimeoutError):
            await asyncio.to_thread(hub.publish_threadsafe, "a", "x", timeout=0.05)
        await turns()
        log.gate.set()
        await turns()

        assert [] == log.entries


async def test_a_timeout_of_the_store_is_the_publishers_error() -> None:
    """The store's own TimeoutError is no sign that the loop had no time.

    From: encode/starlette#1438
    """

    class Late(MemoryStore):
        async def append(self, draft: Draft, key: str | None = None) -> int:  # noqa: ARG002
            raise TimeoutError(f"no answer for {draft.topics}")

    async with Hub(QUIET, Late()) as hub:
        for timeout in (None, 5):
            with pytest.raises(TimeoutError, match="no answer"):
                await asyncio.to_thread(hub.publish_threadsafe, "a", "x", timeout=timeout)


@pytest.mark.parametrize("size", [1, 200_000])
async def test_a_tight_loop_of_publishes_lets_everybody_else_run(size: int, way: Way) -> None:
    """The memory store never waits, so a publisher has to wait by itself.

    From: sysid/sse-starlette#77
    """
    patient = {
        "lag_events": 10**7,
        "lag_bytes": 2**40,
    }  # for readers slower than a loop without work
    async with Hub(Settings(heartbeat=0.05, lifetime=0, **patient)) as hub:
        async with (
            following(hub, "a", way=way) as stream,
            following(hub, "quiet", way=way) as quiet,
        ):
            published = 0

            async def publish() -> None:
                nonlocal published
                while True:
                    await hub.publish("a", "x" * size)
                    published += 1

            publishing = asyncio.ensure_future(publish())
            try:
                await stream.events(500 if size == 1 else 5)
                while b"\n\n:\n\n" not in quiet.unread:
                    await asyncio.sleep(0)
                behind = max((len(one.pending) for one in hub.audiences), default=0)
            finally:
                publishing.cancel()

            assert published > 0
            assert behind < 200


async def test_a_tight_loop_does_not_outrun_a_pump_that_takes_many_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The events that are pending for readers that keep up stay bounded, however many readers there are.

    From: sysid/sse-starlette#77
    """
    from fastsse.broadcast.hub import delivery

    monkeypatch.setattr(delivery, "PASS_SIZE", 2)
    async with Hub(QUIET) as hub, contextlib.AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(following(hub))
        most = 0
        for _ in range(1000):
            await hub.publish("a", "x" * 2000)
            most = max(most, *(len(one.pending) for one in hub.audiences))

    assert most <= 4 * 64


async def test_a_publisher_and_a_subscriber_in_tight_loops_let_each_other_run(hub: Hub) -> None:
    """From: sysid/sse-starlette#77."""
    got: list[int] = []

    async def publish() -> None:
        for number in range(2000):
            await hub.publish("a", str(number))

    async def consume() -> None:
        async for event in hub.subscribe("a"):
            got.append(int(event.data))
            if event.data == "1999":
                return

    consuming = asyncio.ensure_future(consume())
    await asyncio.sleep(0)
    turned = 0
    publishing = asyncio.ensure_future(publish())
    while not consuming.done():
        await asyncio.sleep(0)
        turned += 1
    await publishing

    assert list(range(2000)) == got
    assert turned > 20


async def test_a_subscriber_with_a_long_history_lets_others_run() -> None:
    """From: sysid/sse-starlette#77."""
    async with Hub(Settings(heartbeat=0, lifetime=0, history_events=5000)) as hub:
        for number in range(5000):
            await hub.publish("a", str(number))
        turned = 0

        async def consume() -> None:
            async with hub.subscribe("a", last_event_id="earliest") as events:
                for _ in range(5000):
                    await anext(events)

        consuming = asyncio.ensure_future(consume())
        while not consuming.done():
            await asyncio.sleep(0)
            turned += 1

    assert turned > 50


async def test_publishes_that_come_together_keep_their_order(hub: Hub) -> None:
    """An event is in the log before its publisher gives way to others.

    From: sysid/sse-starlette#77
    """
    async with hub.subscribe("a") as events:
        await asyncio.gather(*[hub.publish("a", str(number)) for number in range(300)])

        assert list(map(str, range(300))) == [(await anext(events)).data for _ in range(300)]


async def test_publishing_inside_on_close_and_inside_the_items_of_a_response(hub: Hub) -> None:
    """From: encode/starlette#1438."""
    closed: list[str] = []

    async def items() -> AsyncIterator[str]:
        receipt = await hub.publish("b", "by the items")
        yield receipt.id
        await asyncio.Event().wait()

    async def on_close(reason: str) -> None:
        closed.append((await hub.publish("b", reason)).id)

    async with hub.subscribe("b") as events:
        async with open_stream(EventSourceResponse(items(), on_close=on_close)) as stream:
            await stream.events(1)
        assert ["by the items", "disconnected"] == [(await anext(events)).data for _ in range(2)]
    assert 1 == len(closed)


# Scopes.


@pytest.mark.parametrize("phase", ["idle", "send", "receive"])
async def test_a_stream_under_a_cancelled_scope_leaves_nothing(
    hub: Hub, way: Way, phase: str
) -> None:
    """A scope cancels again at every turn, so nothing may be awaited before all is told to stop.

    From: review F1
    """
    tasks = len(asyncio.all_tasks())
    scopes: list[anyio.CancelScope] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with anyio.CancelScope() as cancel:
            scopes.append(cancel)
            await hub.response("a")(scope, receive, send)

    async with contextlib.AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(opened(app, way)) for _ in range(10)]
        for stream in streams:
            if phase == "send":
                stream.stall()
        if phase != "idle":
            for number in range(20):
                await hub.publish("a", str(number))
                await asyncio.sleep(0)
        if phase == "send":
            for stream in streams:
                await stream.blocked()

        for cancel in scopes:
            cancel.cancel()
        await within(5, lambda: not hub.open_streams)

        assert 10 == sum(hub.stats.ended.values())
    await turns()
    assert tasks == len(asyncio.all_tasks())
    assert 0 == hub.blocked
