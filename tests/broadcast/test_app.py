"""The HTTP face in one process: routes, headers, status codes, the app's life."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from driver import Answer, Stream, fetch, lifespan, open_stream
from starlette.applications import Starlette
from starlette.routing import Mount

from fastsse import InvalidField
from fastsse.broadcast import Hub, SettingError, Settings
from fastsse.broadcast import app as app_module
from fastsse.broadcast.app import Broadcast, create_app
from fastsse.broadcast.hub import EVENT_STREAM_HEADERS

STREAM_HEADERS = {name.decode(): value.decode() for name, value in EVENT_STREAM_HEADERS}


@asynccontextmanager
async def broadcast(**knobs: Any) -> AsyncIterator[Broadcast]:
    app = create_app(Settings(**{"heartbeat": 0.0, "lifetime": 0.0, "retry": 2000, **knobs}))
    async with lifespan(app):
        yield app


@asynccontextmanager
async def following(
    app: Any,
    query: Any = "topic=a",
    headers: Mapping[str, str] | None = None,
    path: str = "/events",
) -> AsyncIterator[tuple[Stream, str]]:
    """An open stream and its opening block."""
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
        ("&".join(f"topic={n}" for n in range(40)), "query"),
        ("topics=a", "field"),
        ("topic=a&lastEventId=1", "field"),
        ("topic=a&labels=yes", "labels"),
        ("topic=a&labels=1&labels=1", "labels"),
        ("topic=a&last_event_id=1&last_event_id=2", "last_event_id"),
        ("topic=a&last_event_id=%f", "last_event_id"),
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
            assert "5" == answer.headers["retry-after"]
            assert "1 streams are taken" in problem(answer)["detail"]


async def test_a_draining_hub_tells_when_to_come_again() -> None:
    async with broadcast(retry=2500) as app:
        app.drain()
        answer = await fetch(app, "/events", "topic=a")

        assert (503, "3") == (answer.status, answer.headers["retry-after"])


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


async def test_only_the_outermost_app_lets_go_of_the_requests_headers() -> None:
    async def headers_of_an_open_stream(**keeps: bool) -> int | None:
        app = create_app(Settings(heartbeat=0.0, lifetime=0.0))
        for name, value in keeps.items():
            setattr(app, name, value)
        scopes: list[Any] = []

        async def seen(scope: Any, receive: Any, send: Any) -> None:
            scopes.append(scope)
            await app(scope, receive, send)

        async with lifespan(app), following(seen, headers={"x-long": "x" * 1000}):
            return len(scopes[0]["headers"]) if scopes[0] else None

    assert 2 == await headers_of_an_open_stream()
    assert 0 == await headers_of_an_open_stream(outermost=True)
    assert await headers_of_an_open_stream(alone=True) is None


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
    "path",
    ["/page/nothing.js", "/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/"],
)
async def test_the_page_has_no_other_files(path: str) -> None:
    async with broadcast() as app:
        assert 404 == (await fetch(app, path)).status


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/events", "PUT", "GET, HEAD, OPTIONS, POST"),
        ("/events", "DELETE", "GET, HEAD, OPTIONS, POST"),
        ("/events", "QUERY", "GET, HEAD, OPTIONS, POST"),
        ("/health", "POST", "GET, HEAD"),
        ("/", "POST", "GET, HEAD"),
        ("/", "OPTIONS", "GET, HEAD"),
        ("/page/index.html", "POST", "GET, HEAD"),
    ],
)
async def test_wrong_methods_are_told_the_right_ones(path: str, method: str, allow: str) -> None:
    async with broadcast() as app:
        answer = await fetch(app, path, method=method)

        assert (405, allow) == (answer.status, answer.headers["allow"])
        assert ("method", method) == (problem(answer)["field"], problem(answer)["value"])


async def test_options_name_the_methods() -> None:
    async with broadcast() as app:
        answer = await fetch(app, "/events", method="OPTIONS")

        assert (204, "GET, HEAD, OPTIONS, POST") == (answer.status, answer.headers["allow"])


async def test_health_is_json_and_503_while_draining() -> None:
    async with broadcast() as app, following(app):
        answer = await fetch(app, "/health")

        assert (200, "application/json") == (answer.status, answer.headers["content-type"])
        assert "no-store" == answer.headers["cache-control"]
        assert {"status": "ok", "streams": 1}.items() <= json.loads(answer.body).items()

        app.drain()
        answer = await fetch(app, "/health")

        assert (503, "draining") == (answer.status, json.loads(answer.body)["status"])


async def test_the_page_keeps_to_itself() -> None:
    async with broadcast() as app:
        for path in ("/", "/page/index.html", "/page/main.js", "/page/page.css"):
            answer = await fetch(app, path)

            assert 200 == answer.status
            policy = dict(
                rule.strip().split(" ", 1)
                for rule in answer.headers["content-security-policy"].split(";")
            )
            assert "'none'" == policy["default-src"]
            assert {"'self'"} == {
                policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")
            }
            assert {"'none'"} == {policy["frame-ancestors"], policy["base-uri"]}
            assert "'self'" == policy["form-action"]
            assert "nosniff" == answer.headers["x-content-type-options"]
            assert "no-referrer" == answer.headers["referrer-policy"]
            assert "no-cache" == answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page/index.html", "text/html; charset=utf-8"),
        ("/page/main.js", "text/javascript; charset=utf-8"),
        ("/page/page.css", "text/css; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ],
)
async def test_the_pages_files_have_fixed_types(
    path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mimetypes.guess_type", lambda *_, **__: ("text/plain", None))
    async with broadcast() as app:
        assert kind == (await fetch(app, path)).headers["content-type"]


async def test_a_page_that_is_known_is_not_sent_again() -> None:
    async with broadcast() as app:
        etag = (await fetch(app, "/page/main.js")).headers["etag"]
        answer = await fetch(app, "/page/main.js", "", {"if-none-match": etag})

        assert (304, b"") == (answer.status, answer.body)


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


async def test_head_of_the_page_has_no_body_to_wait_for() -> None:
    async with broadcast() as app:
        assert 200 == (await fetch(app, "/", method="HEAD")).status


# Faults


async def test_a_fault_of_ours_is_a_500_that_tells_nothing() -> None:
    class Store:
        async def open(self) -> str:
            return "e"

        async def append(self, _: Any) -> int:
            raise OSError("secret path /var/lib/hub")

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
            with pytest.raises(OSError, match="secret"):  # for the server's log
                await stream.ended()

            assert 500 == stream.status
            assert b"secret" not in stream.unread
            assert "status" in json.loads(stream.unread)


# The app's life


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
        app.hub.check("long", "x")


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
    assert made.outermost
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
