"""The app in one process: routes, headers, status codes, the start and the end."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from support.posts import broadcast
from support.stores import ScriptedStore

from fastsse import InvalidField
from fastsse.asgi import EVENT_STREAM_HEADERS
from fastsse.broadcast import Hub, Log, SettingError, Settings
from fastsse.broadcast import app as app_module
from fastsse.broadcast.app import Broadcast, create_app
from fastsse.testing import Answer, Stream, fetch, lifespan, open_stream

STREAM_HEADERS = {name.decode(): value.decode() for name, value in EVENT_STREAM_HEADERS}


@asynccontextmanager
async def following(
    app: Any,
    query: Any = "topic=a",
    headers: Mapping[str, str] | None = None,
    path: str = "/events",
) -> AsyncIterator[tuple[Stream, str]]:
    """Open a stream; give the stream and its opening block."""
    async with open_stream(app, path, query, headers or {}) as stream:
        yield stream, (await stream.block()).decode()


def problem(answer: Answer) -> Any:
    assert "application/problem+json" == answer.headers["content-type"]
    return json.loads(answer.body)


# GET /events


async def test_a_stream_opens_at_once_with_its_headers_and_its_position() -> None:
    async with broadcast() as app, following(app) as (stream, opening):
        assert 200 == stream.status
        assert "text/event-stream; charset=utf-8" == stream.headers["content-type"]
        assert "no-store, no-transform" == stream.headers["cache-control"]
        assert "no" == stream.headers["x-accel-buffering"]
        assert "?1" == stream.headers["incremental"]
        assert "connection" not in stream.headers
        assert "content-length" not in stream.headers
        assert opening.startswith(": fastsse\nid: ")
        assert "retry: 2000\n" in opening


async def test_a_stream_follows_all_of_its_topics_in_one_order() -> None:
    async with broadcast() as app, following(app, "topic=a&topic=b&topic=a") as (stream, _):
        for topic, data in (("b", "1"), ("c", "no"), ("a", "2"), ("b", "3")):
            await app.hub.publish(topic, data)

        assert ["1", "2", "3"] == [event.data for event in await stream.events(3)]


async def test_head_answers_headers_only_and_opens_nothing() -> None:
    async with broadcast() as app:
        answer = await fetch(app, "/events", "topic=a", method="HEAD")

        assert (200, b"") == (answer.status, answer.body)
        assert answer.headers.items() >= STREAM_HEADERS.items()
        assert 0 == app.hub.health()["streams"]
        assert {} == app.hub.health()["ended"]


async def test_a_browser_that_navigates_to_a_stream_gets_it() -> None:
    headers = {
        "accept": "text/html,application/xhtml+xml,*/*;q=0.8",
        "sec-fetch-mode": "navigate",
        "sec-fetch-site": "cross-site",
    }
    async with broadcast() as app, following(app, headers=headers) as (stream, _):
        assert 200 == stream.status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "topic"),
        ("topic=", "topic"),
        ("topic=%FF", "topic"),
        ("topic=%0A", "topic"),
        ("topic=%zz", "topic"),
        ("topic=" + "x" * 257, "topic"),
        ("&".join(f"topic={n}" for n in range(4)), "topic"),
        ("&".join(f"topic={n}" for n in range(40)), "topic"),
        ("topics=a", "topic"),
        ("topic=a&labels=yes", "labels"),
        ("topic=a&labels=1&labels=1", "labels"),
    ],
)
async def test_a_stream_that_cannot_be_asked_for_is_refused(
    query: str, field: str, method: str
) -> None:
    async with broadcast(topics_per_stream=3) as app:
        answer = await fetch(app, "/events", query, method=method)

        assert 400 == answer.status
        assert "no-store" == answer.headers["cache-control"]
        assert field == problem(answer)["field"]


async def test_without_a_topic_the_answer_says_so() -> None:
    async with broadcast() as app:
        detail = problem(await fetch(app, "/events"))["detail"]

        assert "topic missing" in detail
        assert "?topic=news" in detail


async def test_a_full_hub_tells_when_to_come_again() -> None:
    async with broadcast(max_streams=1) as app, following(app):
        for method in ("GET", "HEAD"):
            answer = await fetch(app, "/events", "topic=a", method=method)

            assert 503 == answer.status
            assert 5 <= int(answer.headers["retry-after"]) < 10
            assert "1 streams are taken" in problem(answer)["detail"]


async def test_a_draining_hub_tells_when_to_come_again() -> None:
    async with broadcast(retry=2500) as app:
        app.drain()
        answer = await fetch(app, "/events", "topic=a")

        assert 503 == answer.status
        assert 3 <= int(answer.headers["retry-after"]) < 6


async def ids_after_three_events(app: Broadcast) -> list[str]:
    return [(await app.hub.publish("a", data)).id for data in "123"]


@pytest.mark.parametrize(
    ("header", "query", "expected"),
    [
        (0, None, ["2", "3"]),
        (None, 0, ["2", "3"]),
        (1, 0, ["3"]),
        ("", 0, ["2", "3"]),
        (0, "", ["2", "3"]),
        ("earliest", None, ["1", "2", "3"]),
        (None, "earliest", ["1", "2", "3"]),
        (2, "earliest", []),
    ],
)
async def test_the_last_event_id_comes_from_the_header_else_from_the_query(
    header: Any, query: Any, expected: list[str]
) -> None:
    async with broadcast() as app:
        ids = await ids_after_three_events(app)
        sent = ids[header] if isinstance(header, int) else header
        asked = ids[query] if isinstance(query, int) else query
        headers = {} if sent is None else {"last-event-id": sent}
        parameters = {"topic": "a"} | ({} if asked is None else {"last_event_id": asked})

        async with following(app, parameters, headers) as (stream, _):
            await app.hub.publish("a", "live")
            received = [event.data for event in await stream.events(len(expected) + 1)]

        assert [*expected, "live"] == received


@pytest.mark.parametrize("sent", ["\xff\xfe", "nonsense", "\xc3\xa4", "x" * 5000, "0-0", " "])
async def test_an_id_that_is_not_ours_is_a_gap(sent: str) -> None:
    async with broadcast() as app:
        await ids_after_three_events(app)

        async with following(app, headers={"last-event-id": sent}) as (stream, _):
            [gap, *kept] = await stream.events(4)

        assert "gap" == gap.event
        assert {"from", "to", "reason", "topics"} <= json.loads(gap.data).keys()
        assert ["1", "2", "3"] == [event.data for event in kept]


async def test_labels_name_the_topics_of_a_block() -> None:
    async with broadcast() as app, following(app, "topic=a&topic=b&labels=1") as (stream, _):
        await app.hub.publish(["c", "b"], "x")

        assert (await stream.block()).startswith(b': topics ["b"]\n')


async def test_labels_can_be_said_to_be_off() -> None:
    async with broadcast() as app, following(app, "topic=a&labels=0") as (stream, _):
        await app.hub.publish("a", "x")

        assert not (await stream.block()).startswith(b": topics")


@pytest.mark.parametrize(
    ("keep_scope", "left"),
    [("all", ["x-long", True]), ("path", [None, True]), ("nothing", [None, False])],
)
async def test_an_open_stream_keeps_no_more_of_the_scope_than_it_is_told(
    keep_scope: Any, left: list[Any]
) -> None:
    app = create_app(Settings(heartbeat=0.0, lifetime=0.0), keep_scope=keep_scope)
    scopes: list[Any] = []

    async def seen(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await app(scope, receive, send)

    async with lifespan(app), following(seen, headers={"x-long": "x" * 1000}):
        [scope] = scopes
        names = [name.decode() for name, _ in scope.get("headers", ())]

        assert left == ["x-long" if "x-long" in names else None, "path" in scope]


def test_another_part_of_the_scope_to_keep_is_refused() -> None:
    with pytest.raises(SettingError, match="keep_scope 'some': must be one of all, path, nothing"):
        create_app(keep_scope="some")  # type: ignore[arg-type]


# The other routes


@pytest.mark.parametrize(
    "path", ["/nothing", "/events/", "/events/x", "/page", "/health/", "//", ""]
)
async def test_unknown_paths_are_not_found(path: str) -> None:
    async with broadcast() as app:
        answer = await fetch(app, path)

        assert 404 == answer.status
        assert {"field": "path", "value": path}.items() <= problem(answer).items()


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/events", "PUT", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/events", "QUERY", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/health", "POST", "GET, HEAD, OPTIONS"),
        ("/metrics", "POST", "GET, HEAD, OPTIONS"),
        ("/", "POST", "GET, HEAD, OPTIONS"),
        ("/page/index.html", "POST", "GET, HEAD"),
        ("/page/index.html", "OPTIONS", "GET, HEAD"),
    ],
)
async def test_wrong_methods_are_told_the_right_ones(path: str, method: str, allow: str) -> None:
    async with broadcast() as app:
        answer = await fetch(app, path, method=method)

        assert (405, allow) == (answer.status, answer.headers["allow"])
        assert ("method", method) == (problem(answer)["field"], problem(answer)["value"])


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/events", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_name_the_methods(path: str, allow: str) -> None:
    async with broadcast() as app:
        answer = await fetch(app, path, method="OPTIONS")

        assert (204, allow, b"") == (answer.status, answer.headers["allow"], answer.body)


@pytest.mark.parametrize(("told", "code"), [(False, 200), (True, 503)])
async def test_health_follows_the_store_only_where_it_is_told_to(told: bool, code: int) -> None:
    store = ScriptedStore()
    async with broadcast(store, store_ready=told) as app:
        store.stall()
        stalled = await fetch(app, "/health")
        store.recover()
        well = await fetch(app, "/health")

        assert code == stalled.status
        assert ("stalled" if told else "ok") == json.loads(stalled.body)["status"]
        assert 0 <= json.loads(stalled.body)["stalled"]
        assert 200 == well.status


async def test_health_is_json_and_503_while_draining() -> None:
    async with broadcast() as app, following(app):
        answer = await fetch(app, "/health")

        assert (200, "application/json") == (answer.status, answer.headers["content-type"])
        assert "no-store" == answer.headers["cache-control"]
        assert {"status": "ok", "streams": 1}.items() <= json.loads(answer.body).items()

        app.drain()
        answer = await fetch(app, "/health")

        assert (503, "draining") == (answer.status, json.loads(answer.body)["status"])


@pytest.mark.parametrize("topic", ["a", "a" * 250], ids=["kept", "too long to be kept"])
async def test_a_query_means_the_same_each_time(topic: str) -> None:
    async with broadcast() as app:
        await app.hub.publish(topic, "1")
        first = (await app.hub.publish(topic, "2")).id.partition("-")[0] + "-1"
        for last_event_id in ("", first, ""):
            headers = {"last-event-id": last_event_id} if last_event_id else {}
            async with open_stream(app, "/events", {"topic": topic}, headers) as stream:
                block = (await stream.block()).decode()
                assert bool(last_event_id) == block.startswith(": fastsse\nid: " + first)
        for _ in range(2):
            assert 400 == (await fetch(app, "/events", {"topic": topic, "labels": "2"})).status


# Faults


async def test_a_fault_of_ours_is_a_500_that_tells_nothing() -> None:
    class Store:
        async def open(self) -> Log:
            return Log("e")

        async def append(self, *_: Any) -> int:
            raise RuntimeError("secret path /var/lib/hub")

        async def follow(self, *_: Any) -> None:
            pass

        async def close(self) -> None:
            pass

    app = create_app(hub=Hub(store=Store()))
    async with lifespan(app):
        headers = {"content-type": "text/plain", "content-length": "1"}
        async with open_stream(
            app, "/events", "topic=a", headers, "POST", body=b"x", wait=False
        ) as stream:
            with pytest.raises(RuntimeError, match="secret"):  # for the server's log
                await stream.ended()

            assert 500 == stream.status
            assert b"secret" not in stream.unread
            assert "status" in json.loads(stream.unread)


# Start and end


async def test_the_lifespan_starts_and_stops_the_hub() -> None:
    app = create_app(Settings(heartbeat=0.0, lifetime=0.0))
    with pytest.raises(RuntimeError, match="not started"):
        await app.hub.publish("a", "x")

    async with lifespan(app):
        await app.hub.publish("a", "x")
        async with open_stream(app, "/events", "topic=a") as stream:
            app.drain()

            assert (await stream.rest()).endswith(b"\n\n")
            assert stream.complete

    with pytest.raises(RuntimeError, match="not started"):
        await app.hub.publish("a", "x")


async def test_an_app_speaks_for_the_hub_that_it_is_given() -> None:
    hub = Hub(Settings(max_topic_length=3))

    app = create_app(hub=hub)

    assert (hub, hub.settings) == (app.hub, app.settings)
    with pytest.raises(InvalidField):
        app.hub.check_topics("long", 1)


async def test_the_app_can_be_mounted_anywhere() -> None:
    hub = create_app(Settings(heartbeat=0.0, lifetime=0.0))
    site = Starlette(routes=[Mount("/hub", hub)])

    async with lifespan(hub):
        async with following(site, path="/hub/events") as (stream, opening):
            assert opening.startswith(": fastsse\n")
            headers = {"content-type": "text/plain", "content-length": "1"}
            answer = await fetch(site, "/hub/events", "topic=a", headers, "POST", body=b"x")
            assert 200 == answer.status
            assert ["x"] == [event.data for event in await stream.events(1)]
        assert 200 == (await fetch(site, "/hub/health")).status
        assert 200 == (await fetch(site, "/hub/")).status
        assert 200 == (await fetch(site, "/hub/page/main.js")).status
        assert 405 == (await fetch(site, "/hub/events", method="PUT")).status
        assert 404 == (await fetch(site, "/hub/nothing")).status


async def test_two_apps_live_beside_each_other() -> None:
    async with broadcast() as one, broadcast() as two:
        async with following(one) as (stream, _), following(two) as (other, _):
            await one.hub.publish("a", "x")

            assert ["x"] == [event.data for event in await stream.events(1)]
            assert b"" == other.unread


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(app_module.__dict__, "app", raising=False)


@pytest.mark.usefixtures("_fresh")
def test_the_modules_app_is_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTSSE_MAX_STREAMS", "7")

    made = app_module.app

    assert 7 == made.settings.max_streams
    assert "path" == made.keep_scope
    assert made is app_module.app


@pytest.mark.usefixtures("_fresh")
def test_a_bad_environment_is_an_error_where_the_app_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FASTSSE_MAX_STREAMS", "none")

    with pytest.raises(SettingError, match="max_streams"):
        _ = app_module.app


def test_the_module_has_no_other_secret_names() -> None:
    with pytest.raises(AttributeError):
        _ = sys.modules["fastsse.broadcast.app"].nothing  # type: ignore[attr-defined]


async def test_websockets_are_turned_away() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {
        "type": "websocket",
        "path": "/events",
        "headers": [],
        "query_string": b"",
        "root_path": "",
        "extensions": {},
    }
    await create_app()(scope, receive, send)

    assert "websocket.close" == sent[0]["type"]
