"""The hub inside another application."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.driver import fetch, open_stream, turns

from fastsse import Event, InvalidField
from fastsse.broadcast import Hub, Settings
from fastsse.broadcast.hub.terms import Terms

FASTAPI = importlib.util.find_spec("fastapi") is not None


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made = Hub(Settings(heartbeat=0, lifetime=0, history_events=3))
    await made.start()
    yield made
    await made.stop()


async def test_a_response_is_an_asgi_application_that_reads_the_last_event_id(hub: Hub) -> None:
    first = await hub.publish("a", "1")
    await hub.publish("a", "2")

    headers = {"Last-Event-ID": first.id}
    async with open_stream(hub.response("a"), headers=headers, sends="wrapped") as stream:
        [event] = await stream.events(1)

    assert "2" == event.data


@pytest.mark.skipif(not FASTAPI, reason="needs fastapi")
async def test_an_endpoint_of_fastapi_returns_it_with_headers_of_its_own(hub: Hub) -> None:
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/mine")
    async def mine() -> Any:
        response = hub.response("a")
        response.set_cookie("seen", "1")
        return response

    for sends in ("granian", "wrapped"):
        async with open_stream(app, "/mine", sends=sends) as stream:  # type: ignore[arg-type]
            await hub.publish("a", "x")
            assert ["x"] == [event.data for event in await stream.events(1)]
        assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
        assert stream.headers["set-cookie"].startswith("seen=1")
        assert "content-length" not in stream.headers


async def test_a_response_for_a_bad_topic_is_refused_when_it_is_made(hub: Hub) -> None:
    with pytest.raises(InvalidField):
        hub.response("a\nb")


async def test_a_response_of_a_draining_hub_is_a_503(hub: Hub) -> None:
    hub.drain()

    answer = await fetch(hub.response("a"))

    assert 503 == answer.status
    assert 2 <= int(answer.headers["retry-after"]) < 4


async def test_a_filter_decides_for_one_stream_only_live_and_in_replay(hub: Hub) -> None:
    await hub.publish(["a", "vip"], "old", event="x")
    seen: list[tuple[Event, tuple[str, ...]]] = []

    def only_x(event: Event, topics: tuple[str, ...]) -> bool:
        seen.append((event, topics))
        return event.event == "x"

    filtered = hub.response("a", last_event_id="earliest", filter=only_x)
    async with open_stream(filtered) as some, open_stream(hub.response("a")) as all_of_it:
        await hub.publish("a", "no", event="y")
        await hub.publish("a", "new", event="x")

        assert ["old", "new"] == [event.data for event in await some.events(2)]
        assert ["no", "new"] == [event.data for event in await all_of_it.events(2)]
    assert ("a", "vip") == seen[0][1]


async def test_a_filter_that_raises_ends_its_stream_and_is_logged(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: Event, _: object) -> bool:
        return event.json()["ok"]  # type: ignore[no-any-return]

    async with open_stream(hub.response("a", filter=broken)) as stream:
        await hub.publish("a", '{"ok": true}')
        assert ['{"ok": true}'] == [event.data for event in await stream.events(1)]
        await hub.publish("a", "not json")
        await hub.publish("a", '{"ok": true}')

        assert b": filter\n\n" == await stream.rest()
    assert stream.complete
    assert {"filter": 1} == dict(hub.stats.ended)
    assert 1 == caplog.text.count("filter raised")


async def test_an_iterator_follows_live_and_from_where_it_left_off(hub: Hub) -> None:
    async with hub.subscribe(["a", "b"]) as events:
        await hub.publish("a", "1")
        assert "1" == (await anext(events)).data
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        receipt = await hub.publish("b", "2", event="e")
        assert Event("2", "e", receipt.id) == await waiting
        assert receipt.id == events.last_event_id
    await hub.publish("a", "3")

    async with hub.subscribe("a", last_event_id=events.last_event_id) as events:
        assert "3" == (await anext(events)).data
    assert 0 == hub.health()["streams"]


async def test_a_slow_iterator_is_told_what_it_missed(hub: Hub) -> None:
    async with hub.subscribe("a") as events:
        for number in range(10):
            await hub.publish("a", str(number))
            await asyncio.sleep(0)

        got = [await anext(events) for _ in range(4)]

    assert ["gap", "message", "message", "message"] == [event.event for event in got]
    assert ["7", "8", "9"] == [event.data for event in got[1:]]


async def test_an_iterator_ends_when_the_hub_drains(hub: Hub) -> None:
    async with hub.subscribe("a") as events:
        await hub.publish("a", "last")
        waiting = asyncio.ensure_future(_all(events))
        await asyncio.sleep(0)

        hub.drain()

        assert ["last"] == [event.data for event in await asyncio.wait_for(waiting, 5)]


async def _all(events: Any) -> list[Event]:
    return [event async for event in events]


async def test_an_iterator_that_comes_late_to_a_drained_hub_is_told_what_was_trimmed(
    hub: Hub,
) -> None:
    events = hub.subscribe("a")
    await hub.publish("a", "had")
    assert "had" == (await anext(events)).data
    waiting = asyncio.ensure_future(anext(events))
    await turns()
    await hub.publish("a", "taken while it waited")
    await waiting
    for number in range(5):
        await hub.publish("a", str(number))
    hub.drain()
    await hub.drained()

    [gap, *rest] = [event async for event in events]

    assert ("gap", "trimmed") == (gap.event, gap.json()["reason"])
    assert ["2", "3", "4"] == [event.data for event in rest]


async def test_an_iterator_that_is_cancelled_can_be_closed(hub: Hub) -> None:
    events = hub.subscribe("a")
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    events.close()
    events.close()

    assert 0 == hub.health()["streams"]


async def test_a_thread_may_publish(hub: Hub) -> None:
    async with hub.subscribe("a") as events:
        receipt = await asyncio.to_thread(hub.publish_threadsafe, "a", "from a thread", timeout=5)

        assert Event("from a thread", id=receipt.id) == await anext(events)
        with pytest.raises(InvalidField):
            await asyncio.to_thread(hub.publish_threadsafe, "", "x", timeout=5)


async def test_a_filter_that_hides_more_than_the_history_keeps_makes_no_gap(hub: Hub) -> None:
    def rare(event: Event, _: object) -> bool:
        return event.event == "rare"

    filtered = hub.response("a", filter=rare)
    async with (
        open_stream(filtered, sends="wrapped") as stream,
        hub.subscribe("a", filter=rare) as events,
    ):
        await hub.publish("a", "1", event="rare")
        first = [await anext(events), *await stream.events(1)]
        waiting = asyncio.ensure_future(anext(events))
        await turns()
        for n in range(10):
            await hub.publish("a", f"hidden {n}")
            await turns()
        await hub.publish("a", "2", event="rare")
        second = [await waiting, *await stream.events(1)]

    assert [("rare", "1")] * 2 == [(event.event, event.data) for event in first]
    assert [("rare", "2")] * 2 == [(event.event, event.data) for event in second]


async def test_the_gap_at_an_opening_names_what_is_gone_for_each_topic_alone(hub: Hub) -> None:
    await hub.publish("quiet", "kept")
    for n in range(5):
        await hub.publish("chatty", str(n))  # three are kept

    response = hub.response(["chatty", "quiet"], last_event_id="another-1")
    async with open_stream(response) as stream:
        events = await stream.events(6)

    gaps = [event.json() for event in events[:2]]
    ids = [event.id for event in events]
    assert [["quiet"], ["chatty"]] == [gap["topics"] for gap in gaps]
    assert ["another-1"] * 2 == [gap["from"] for gap in gaps]
    assert ["kept", "2", "3", "4"] == [event.data for event in events[2:]]
    # The quiet topic has lost nothing that this log ever had: its gap ends before its first event.
    assert gaps[0]["to"] == ids[1]
    assert [""] == ids[:1]


FRAMEWORKS = ("starlette", "fastapi", "anyio", "python_multipart", "prometheus_client", "granian")
ALONE = f"""
import asyncio, sys
from fastsse.broadcast import Hub

async def main():
    async with Hub() as hub:
        async with hub.subscribe("a") as events:
            await hub.publish("a", "x")
            await anext(events)
        hub.response("a")

asyncio.run(main())
print(*[name for name in {FRAMEWORKS} if name in sys.modules])
"""


def test_a_hub_imports_no_framework() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)

    assert ("\n", "") == (done.stdout, done.stderr)


async def test_terms_end_a_stream_at_their_time() -> None:
    loop = asyncio.get_running_loop()
    async with Hub(Settings(heartbeat=0.1, lifetime=0)) as hub:

        async def app(_: Any, receive: Any, send: Any) -> None:
            terms = Terms(("a",), until=loop.time() + 0.1)
            await hub.converse(terms, receive, send)

        async with open_stream(app) as stream:
            body = await stream.rest()

        assert stream.complete
        assert body.endswith(b'event: expired\ndata: {"reason":"expired"}\n\n')
        assert {"expired": 1} == dict(hub.stats.ended)


WAYS = ("response", "run", "stream", "starlette")


@pytest.mark.parametrize("way", WAYS)
async def test_a_probe_by_head_holds_no_stream(hub: Hub, way: str) -> None:
    """Starlette's Route, Flask, Quart and Django pass HEAD to the endpoint of GET."""
    app: Any = hub.response("a")
    if way == "run":
        app = hub.run("answer", ["x"])
    elif way == "starlette":
        pytest.importorskip("starlette")
        from starlette.applications import Starlette
        from starlette.routing import Route

        app = Starlette(routes=[Route("/", lambda _: hub.response("a"))])
    elif way == "stream":

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await hub.stream(receive, send, "a", headers=[(b"x-more", b"1")], scope=scope)

    answer = await fetch(app, "/", method="HEAD")

    assert (200, b"", 0) == (answer.status, answer.body, hub.open_streams)
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert ("1" if way == "stream" else None) == answer.headers.get("x-more")
    assert {} == dict(hub.stats.openings)


async def test_head_of_a_topic_that_has_ended_is_answered_like_get(hub: Hub) -> None:
    end = await hub.end("a")

    response = hub.response("a", last_event_id=end.id)
    answers = [await fetch(response, "/", method=method) for method in ("GET", "HEAD")]

    assert [204, 204] == [answer.status for answer in answers]


async def test_head_of_a_full_hub_is_a_503() -> None:
    async with Hub(Settings(heartbeat=0, lifetime=0, max_streams=1)) as hub:
        async with open_stream(hub.response("a")):
            answer = await fetch(hub.response("a"), "/", method="HEAD")

    assert 503 == answer.status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_stream_of_a_hub_that_is_not_started_is_an_error(method: str) -> None:
    hub = Hub()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hub.stream(receive, send, "a", scope=scope)

    with pytest.raises(RuntimeError, match="not started"):
        await fetch(app, "/", method=method)
