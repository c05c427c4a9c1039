"""Reports about readers: what they may ask for, probes, refusals, Host and Origin."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from support.follower import follower
from support.servers import DEADLINE, Clients, Server, serve

from fastsse import Decoder
from fastsse.broadcast import Hub, Log, SettingError, Settings
from fastsse.broadcast.app import Broadcast, create_app
from fastsse.broadcast.stores.memory import MemoryStore
from fastsse.testing import Answer, fetch, lifespan, open_stream

CLIENTS = (
    "event-source-polyfill",
    "reconnecting-eventsource",
    "eventsource",
    "fetch-event-source",
)
EVENTS, TURNS = 30, 3
EVENT_SOURCE = {"accept": "text/event-stream", "cache-control": "no-cache"}
REBOUND = "evil.example"
QUIET: dict[str, Any] = {"heartbeat": 0.0, "lifetime": 0.0}


@pytest.mark.node
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_all_events_over_reconnections(client: str) -> None:
    """Of each turn's events the stream carries one half; the other half is published while the client is away.

    From: Yaffle/EventSource#162, MatthewWid/better-sse#21
    """
    flags, half = ("--lifetime", "0.5", "--retry", "50"), EVENTS // TURNS // 2
    sent: list[str] = []
    received: list[str] = []
    with serve(*flags) as server, follower(f"{server.url}/events?topic=a", client=client) as reader:

        def publish() -> None:
            sent.append(server.publish("a", str(len(sent))))

        reader.next("open")
        for _ in range(TURNS):
            for _ in range(half):
                publish()
                received.append(reader.next("data")["id"])
            reader.next("error")
            for _ in range(half):
                publish()
            received += [reader.next("data")["id"] for _ in range(half)]

    assert EVENTS == len(received)
    assert sent == received


@pytest.mark.parametrize(
    "query",
    [
        "topic=a&lastEventId={}",
        "topic=a&last-event-id={}",
        "topic=a&Last-Event-ID={}",
        "topic=a&lastEventID={}",
        "evs_buffer_size_limit=262144&evs_preamble&evs_last_event_id={}&topic=a",
        "topic=a&%65vs_last_event_id={}",
        "lastEventId={}&topic=a&lastEventId=",
        "topic=a&lastEventId=nobody-1&lastEventId={}",
        "topic=a&last_event_id={}&_=1732900000&utm_source=%zz&%FF=%&x&&=",
    ],
)
async def test_a_reader_is_resumed_whatever_its_client_puts_into_the_query(
    server: Server, clients: Clients, topic: str, query: str
) -> None:
    """From: BlueBrain/nexus#2341, Yaffle/EventSource#167"""
    seen, missed = (server.publish(topic, data) for data in ("seen", "missed"))
    target = "/events?" + query.replace("topic=a", f"topic={quote(topic)}").format(seen)

    stream = await clients.follow(server, target)

    assert [missed] == [event.id for event in await stream.events(1)]


async def test_empty_parts_do_not_count_as_fields(server: Server, clients: Clients) -> None:
    """From: review F11"""
    target = "/events?labels=1&last_event_id=x-1" + "&" * 200 + "topic=f11-a&topic=f11-b"
    stream = await clients.follow(server, target)
    await stream.events(1)  # the gap

    server.publish("f11-b", "x")

    assert ["x"] == [event.data for event in await stream.events(1)]


# Turned away


@asynccontextmanager
async def full(**knobs: Any) -> AsyncIterator[Broadcast]:
    """Run an app all of whose streams are taken."""
    app = create_app(Settings(**QUIET, max_streams=1, **knobs))
    async with lifespan(app), open_stream(app, "/events", "topic=a"):
        yield app


def reconnection_time(answer: Answer) -> int:
    """Read what an EventSource hears of an empty stream: the reconnection time in milliseconds."""
    decoder = Decoder()
    assert [] == decoder.feed(answer.body)
    assert "" == decoder.last_event_id
    assert decoder.retry is not None
    return decoder.retry


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("embedded", [False, True])
async def test_an_event_source_that_is_turned_away_is_told_when_to_come_again(
    draining: bool, embedded: bool
) -> None:
    """An EventSource gives up for good at 503, and all that it can hear is a stream. Readers come back spread in time.

    From: Shopify/shipit-engine#131, OpenLiberty/open-liberty#2190
    """
    async with full(retry=2000) as app:
        if draining:
            app.drain()
        least, reason = (2000, "draining") if draining else (5000, "full")
        times: list[int] = []
        for _ in range(50):
            asked = app.hub.response("a") if embedded else app
            answer = await fetch(asked, "/events", "topic=a", EVENT_SOURCE)
            assert 200 == answer.status
            assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
            assert answer.body.startswith(f": {reason}: ".encode())
            times.append(reconnection_time(answer))

        assert 50 == app.hub.stats.refused[reason]
    assert least <= min(times) < max(times) < 2 * least
    assert max(times) - min(times) > least / 2
    assert len(set(times)) > 40


@pytest.mark.parametrize(
    ("headers", "method"),
    [
        ({}, "GET"),
        ({"accept": "*/*", "cache-control": "no-cache"}, "GET"),
        ({"accept": "text/event-stream"}, "GET"),
        ({"accept": "text/event-stream", "cache-control": "no-store"}, "GET"),
        ({**EVENT_SOURCE, "sec-fetch-mode": "navigate", "sec-fetch-site": "none"}, "GET"),
        (EVENT_SOURCE, "HEAD"),
    ],
)
@pytest.mark.parametrize("embedded", [False, True])
async def test_everybody_else_is_turned_away_with_a_status(
    headers: dict[str, str], method: str, embedded: bool
) -> None:
    """From: Shopify/shipit-engine#131"""
    async with full() as app:
        asked = app.hub.response("a") if embedded else app
        answers = [await fetch(asked, "/events", "topic=a", headers, method) for _ in range(40)]

        assert {503} == {answer.status for answer in answers}
        times = {int(answer.headers["retry-after"]) for answer in answers}
        assert times <= {5, 6, 7, 8, 9}
        assert 1 < len(times)
        assert "streams are taken" in json.loads(answers[0].body)["detail"]
        assert 40 == app.hub.stats.refused["full"]


@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "text/event-stream", "cache-control": "max-age=0, no-cache"},
        {"accept": "application/json;q=0.5, Text/Event-Stream; q=1", "cache-control": "No-Cache"},
        {**EVENT_SOURCE, "sec-fetch-mode": "cors", "sec-fetch-site": "same-origin"},
    ],
)
async def test_an_event_source_is_known_by_its_headers(headers: dict[str, str]) -> None:
    """From: OpenLiberty/open-liberty#2190"""
    async with full() as app:
        assert 200 == (await fetch(app, "/events", "topic=a", headers)).status


async def test_who_wants_the_status_alone_has_a_setting() -> None:
    """From: OpenLiberty/open-liberty#2190"""
    async with full(turn_away="status") as app:
        for asked in (app, app.hub.response("a")):
            assert 503 == (await fetch(asked, "/events", "topic=a", EVENT_SOURCE)).status


# Probes and scrapes


@pytest.fixture(scope="module")
def named() -> Iterator[Server]:
    """Run a server that answers to one public name, as behind a proxy."""
    with serve("--hosts", "hub.example") as running:
        yield running


def ask(server: Server, request: str) -> tuple[int, dict[str, str], bytes]:
    """Send these lines as they are; return the status, headers and body that come until the server closes."""
    with socket.create_connection((server.host, server.port), DEADLINE) as connection:
        connection.sendall((request.replace("\n", "\r\n") + "\r\n\r\n").encode())
        connection.settimeout(DEADLINE)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


CLOSE = "Connection: close"


@pytest.mark.parametrize(
    ("request_", "status", "content"),
    [
        # kubelet, an AWS or GCP load balancer: the pod's address
        (f"GET /health HTTP/1.1\nHost: 10.1.2.3:8000\nUser-Agent: kube-probe/1.31\n{CLOSE}", 200, b'"streams"'),
        (f"GET /health HTTP/1.1\nHost: [fd00::1:2]:8000\n{CLOSE}", 200, b'"streams"'),
        (f"GET /health HTTP/1.1\nHost: [fd00::1:2]\n{CLOSE}", 200, b'"streams"'),
        (f"HEAD /health HTTP/1.1\nHost: 10.1.2.3:8000\n{CLOSE}", 200, b""),
        # a service's name, which a page could be made to have
        (f"GET /health HTTP/1.1\nHost: hub:8000\n{CLOSE}", 200, b'{"status":"ok"}\n'),
        (f"GET /health HTTP/1.1\nHost: hub.ns.svc.cluster.local\n{CLOSE}", 200, b'{"status":"ok"}\n'),
        (f"HEAD /health HTTP/1.1\nHost: hub:8000\n{CLOSE}", 200, b""),
        (f"OPTIONS /health HTTP/1.1\nHost: hub:8000\n{CLOSE}", 204, b""),
        # HAProxy: option httpchk, and with a path; ldirectord, keepalived, wget of old
        ("OPTIONS / HTTP/1.0", 204, b""),
        ("OPTIONS * HTTP/1.0", 204, b""),
        (f"OPTIONS * HTTP/1.1\nHost: localhost\n{CLOSE}", 204, b""),
        ("OPTIONS /health HTTP/1.0", 204, b""),
        ("GET /health HTTP/1.0", 200, b'"streams"'),
        ("HEAD /health HTTP/1.0", 200, b""),
        ("GET /health HTTP/1.0\nHost: ", 200, b'"streams"'),
        ("GET /metrics HTTP/1.0", 200, b"fastsse_streams "),
        # Prometheus
        (f"GET /metrics HTTP/1.1\nHost: 10.1.2.3:8000\n{CLOSE}", 200, b"fastsse_streams "),
        (f"GET /metrics HTTP/1.1\nHost: [fd00::1:2]:8000\n{CLOSE}", 200, b"fastsse_streams "),
        (f"GET /metrics HTTP/1.1\nHost: hub.example\n{CLOSE}", 200, b"fastsse_streams "),
        (f"HEAD /metrics HTTP/1.1\nHost: 10.1.2.3:8000\n{CLOSE}", 200, b""),
        (f"OPTIONS /metrics HTTP/1.1\nHost: 10.1.2.3:8000\n{CLOSE}", 204, b""),
        (f"GET /metrics HTTP/1.1\nHost: hub:8000\n{CLOSE}", 421, b"--hosts"),
        # uptime checks of the page
        (f"HEAD / HTTP/1.1\nHost: hub.example\n{CLOSE}", 200, b""),
        (f"HEAD / HTTP/1.1\nHost: 10.1.2.3\n{CLOSE}", 200, b""),
    ],
)  # fmt: skip
def test_probes_and_scrapes_are_answered(
    named: Server, request_: str, status: int, content: bytes
) -> None:
    """From: kubeflow/mcp-server#91, cvat-ai/cvat#8567, review F17"""
    answered, headers, body = ask(named, request_)

    assert status == answered
    assert content in body
    if request_.startswith(("HEAD", "OPTIONS")):
        assert b"" == body
    if status == 204:
        assert "get" in headers["allow"]


@pytest.mark.parametrize(
    "line",
    ["GET /", "GET /metrics", "GET /events?topic=a", "POST /events?topic=a&x=", "POST /health",
     "GET /page/main.js", "OPTIONS /", "OPTIONS *", "GET /health/", "GET /health%00"],
)  # fmt: skip
def test_a_page_by_rebinding_gets_nothing_but_that_the_hub_lives(named: Server, line: str) -> None:
    """From: cvat-ai/cvat#8567"""
    status, _, body = ask(
        named, f"{line} HTTP/1.1\nHost: {REBOUND}:8000\nContent-Length: 0\n{CLOSE}"
    )

    assert 421 == status
    assert b"--hosts" in body


async def test_what_is_refused_is_counted_by_its_status() -> None:
    """From: cvat-ai/cvat#8567"""
    app = create_app(Settings(**QUIET))
    async with lifespan(app):
        for path, query, host in (
            ("/", "", REBOUND),
            ("/metrics", "", REBOUND),
            ("/health", "", REBOUND),
            ("/nothing", "", "localhost"),
            ("/events", "", "localhost"),
            ("/events", "topic=a&x=" + "x" * 200_000, "localhost"),
        ):
            await fetch(app, path, query, {"host": host})
        numbers = (await fetch(app, "/metrics")).body.decode()

    assert {"421": 2, "404": 1, "400": 1, "414": 1} == app.hub.stats.problems
    assert 'fastsse_problems_total{status="421"} 2.0' in numbers


async def test_a_draining_hub_is_taken_out_by_every_probe() -> None:
    """From: kubeflow/mcp-server#91"""
    app = create_app(Settings(**QUIET))
    async with lifespan(app):
        app.drain()
        for path, method, host in (
            ("/health", "GET", "10.0.0.1"),
            ("/health", "GET", REBOUND),
            ("/health", "HEAD", REBOUND),
            ("/health", "OPTIONS", "localhost"),
            ("/", "OPTIONS", "localhost"),
            ("*", "OPTIONS", "localhost"),
        ):
            answer = await fetch(app, path, "", {"host": host}, method)

            assert 503 == answer.status
            assert method != "GET" or "draining" == json.loads(answer.body)["status"]


def test_an_open_server_does_not_answer_to_any_name() -> None:
    """A page can have its own name point to an address inside a network.

    From: review F14
    """
    page = f"Origin: http://{REBOUND}\nSec-Fetch-Site: same-origin\nContent-Length: 0\n{CLOSE}"
    with serve("--open", "--host", "0.0.0.0") as server:
        reached = Server(server.process, server.port)
        for line in ("GET /events?topic=a", "POST /events?topic=a", "GET /", "GET /metrics"):
            status, _, body = ask(reached, f"{line} HTTP/1.1\nHost: {REBOUND}\n{page}")

            assert 421 == status
            assert b"--hosts" in body
        for host in ("localhost", "192.0.2.1:8000", "[2001:db8::1]", "0.0.0.0"):
            assert 200 == ask(reached, f"GET / HTTP/1.1\nHost: {host}\n{CLOSE}")[0]


# A stranger's strings

LONG = 390_000  # bytes: granian's default takes heads of about so many


def held(work: Callable[[], Awaitable[object]]) -> Awaitable[int]:
    """Count the bytes that are still allocated after `work`, its result included."""

    async def measure() -> int:
        tracemalloc.start()
        try:
            kept = await work()
            gc.collect()
            size, _ = tracemalloc.get_traced_memory()
            del kept
            return size
        finally:
            tracemalloc.stop()

    return measure()


@pytest.mark.parametrize("path", ["/events", "/health", "/page/main.js"])
@pytest.mark.parametrize("name", ["host", "origin", "sec-fetch-site", "accept"])
async def test_no_header_of_a_stranger_is_kept(name: str, path: str) -> None:
    """From: review F4"""
    app = create_app(Settings(**QUIET))

    async def ask_all() -> None:
        for number in range(20):
            headers = {name: f"http{number}://" + "x" * LONG}
            method = "POST" if name == "origin" else "HEAD"
            await fetch(app, path, f"topic={number}", headers, method)

    async with lifespan(app):
        await fetch(app, path, "topic=a", method="HEAD")  # what is loaded at the first request
        assert LONG > await held(ask_all)


async def test_no_query_of_a_stranger_is_kept() -> None:
    """From: review F4"""
    app = create_app(Settings(**QUIET))

    async def ask_all() -> None:
        for number in range(300):
            await fetch(app, "/events", f"topic=a&x={number}" + "x" * 90_000, method="HEAD")

    async with lifespan(app):
        assert LONG > await held(ask_all)


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"last-event-id": "x" * LONG}),
        ("", {"last-event-id": ("x" * LONG + "\U0001f600").encode().decode("latin-1")}),
        ("&last_event_id=" + "x" * 60_000, {}),
        ("&last_event_id=" + "x" * 60_000 + "%F0%9F%98%80", {}),
        ("&other=" + "x" * 60_000, {}),
    ],
)
async def test_an_open_stream_holds_no_more_for_what_its_reader_sent(
    query: str, headers: dict[str, str]
) -> None:
    """From: review F4"""
    app = create_app(Settings(**QUIET))
    app.keep_scope = "nothing"
    count = 5
    async with lifespan(app), AsyncExitStack() as streams:

        async def open_all(query: bytes, headers: dict[str, str]) -> None:
            for _ in range(count):
                opened = open_stream(app, "/events", query, headers)
                stream = await streams.enter_async_context(opened)
                await stream.block()

        short, long = b"topic=a", f"topic=a{query}".encode()
        await open_all(short, {})
        without = await held(lambda: open_all(short, {}))
        held_more = await held(lambda: open_all(long, headers)) - without

    assert held_more < count * 2048


@pytest.mark.parametrize("path", ["/page", "/events", "/nothing"])
async def test_a_long_path_is_no_work(path: str) -> None:
    """The file system was once asked about each part of a path of 195,000 parts, with all parts before it.

    From: review F4
    """
    app = create_app(Settings(**QUIET))
    began = time.process_time()

    answer = await fetch(app, path + "/a" * (LONG // 2))

    assert 404 == answer.status
    assert time.process_time() - began < 1


# Pages of other sites


@pytest.mark.parametrize("origins", [(), ("https://friend.example",), ("*",)])
@pytest.mark.parametrize("origin", [None, "https://friend.example", "https://other.example"])
@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/events", "topic=a", 200),
        ("/events", "", 400),
        ("/health", "", 200),
        ("/metrics", "", 200),
        ("/nothing", "", 404),
        ("/" + "x" * 300, "", 404),
    ],
)
async def test_other_sites_may_not_embed_what_is_not_granted_to_them(
    path: str, query: str, status: int, origin: str | None, origins: tuple[str, ...]
) -> None:
    """From: review F18"""
    app = create_app(Settings(**QUIET, origins=origins))
    headers = {} if origin is None else {"origin": origin}
    granted = "*" in origins or (origin is not None and origin in origins)

    async with lifespan(app), open_stream(app, path, query, headers) as stream:
        answered = dict(stream.raw_headers)

        assert status == stream.status
        assert b"nosniff" == answered[b"x-content-type-options"]
        policy = b"cross-origin" if granted else b"same-origin"
        assert policy == answered[b"cross-origin-resource-policy"]
        assert len(answered) == len(stream.raw_headers)


@pytest.mark.parametrize(
    ("site", "mode", "dest", "status"),
    [
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "no-cors", "script", 403),
        ("same-site", "no-cors", "image", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("same-site", "navigate", "object", 403),
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "navigate", None, 200),
        ("none", "navigate", "document", 200),
        ("same-origin", "no-cors", "image", 200),
        ("same-origin", "cors", "empty", 200),
        ("cross-site", "cors", "empty", 200),
    ],
)
async def test_a_page_of_another_site_may_not_hold_streams_that_it_cannot_read(
    site: str, mode: str, dest: str | None, status: int
) -> None:
    """From: review F18"""
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
    headers |= {} if dest is None else {"sec-fetch-dest": dest}
    for origins, expected in ((), status), (("https://friend.example",), status), (("*",), 200):
        app = create_app(Settings(**QUIET, origins=origins))
        async with lifespan(app):
            answer = await fetch(app, "/events", "topic=a", headers, "HEAD")

        assert expected == answer.status


@pytest.mark.parametrize(
    ("origin", "sent"),
    [
        ("https://Friend.example", "https://friend.example"),
        ("HTTPS://friend.example", "https://friend.example"),
        ("https://friend.example:443", "https://friend.example"),
        ("http://friend.example:80", "http://friend.example"),
        ("http://friend.example:08080", "http://friend.example:8080"),
        ("https://friend.example/", "https://friend.example"),
        ("https://fri\u00e9nd.example", "https://xn--frind-dsa.example"),
        ("http://[0:0:0:0:0:0:0:1]:8000", "http://[::1]:8000"),
        ("https://*.example", "scheme://host"),
        ("https://friend.*", "scheme://host"),
        ("**", "scheme://host"),
        ("https://friend.example/path", "scheme://host"),
        ("https://friend.example?x", "scheme://host"),
        ("https://u@friend.example", "scheme://host"),
        ("https://friend.example:70000", "scheme://host"),
        ("friend.example", "scheme://host"),
        ("null", "scheme://host"),
        ("", "empty"),
    ],
)
def test_an_origin_that_nothing_would_match_is_refused_with_what_browsers_send(
    origin: str, sent: str
) -> None:
    """From: review F23"""
    with pytest.raises(SettingError) as caught:
        create_app(Settings(origins=(origin,)))

    assert sent in str(caught.value)


@pytest.mark.parametrize(
    "origin",
    ["https://friend.example", "http://localhost:3000", "http://[::1]:8000", "https://xn--frind-dsa.example",
     "chrome-extension://abcdefghijklmnop", "capacitor://localhost", "http://friend.example:443", "*"],
)  # fmt: skip
def test_an_origin_as_browsers_send_it_is_taken(origin: str) -> None:
    """From: review F23"""
    assert (origin,) == create_app(Settings(origins=(origin,))).settings.origins


# Words for people


@pytest.mark.parametrize(
    ("path", "query", "host", "status"),
    [
        ("/events", "", "localhost", 400),
        ("/nothing", "", "localhost", 404),
        ("/", "", "hub.example", 421),
        ("/events", "topic=a", "localhost", 503),
    ],
)
async def test_firefox_shows_a_problem(path: str, query: str, host: str, status: int) -> None:
    """Firefox shows a page of its own instead of application/problem+json, at any status.

    From: review of proxies
    """
    app = create_app(Settings(**QUIET))
    browser = {
        "host": host,
        "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    }
    people = await fetch(app, path, query, browser)
    programs = [
        await fetch(app, path, query, {"host": host, **accept})
        for accept in ({}, {"accept": "*/*"}, {"accept": "application/json"})
    ]

    assert "application/json" == people.headers["content-type"]
    assert {"application/problem+json"} == {answer.headers["content-type"] for answer in programs}
    assert {status} == {answer.status for answer in (people, *programs)}
    assert {people.body} == {answer.body for answer in programs}


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://hub.example:8080", "127.0.0.1:8000"),
        ("http://hub.example:8080", "localhost"),
        ("https://hub.example", "[::1]:8000"),
    ],
)
async def test_the_origin_check_says_what_it_compared(origin: str, host: str) -> None:
    """Over plain HTTP a browser sends no Sec-Fetch-Site, and a proxy often puts its own name for the Host.

    From: review of proxies
    """
    app = create_app(Settings(**QUIET))
    headers = {"origin": origin, "host": host, "content-type": "text/plain"}

    async with lifespan(app):
        answer = await fetch(app, "/events", "topic=a", headers, "POST", body=b"x")

    detail = json.loads(answer.body)["detail"]
    assert 403 == answer.status
    assert f"the page is {origin}, this request names {host}" in detail
    assert "let the proxy pass Host on" in detail
    assert "--origins" in detail


# Mounted


async def test_a_mounted_app_whose_lifespan_nobody_runs_says_so() -> None:
    """Starlette and FastAPI never run the lifespan of an app that they mount.

    From: fastapi/fastapi#811, modelcontextprotocol/python-sdk#1467
    """
    hub = create_app(Settings(**QUIET))
    site = Starlette(routes=[Mount("/sse", hub)])

    health = await fetch(site, "/sse/health")
    bare = await fetch(site, "/sse/health", "", {"host": REBOUND})
    stream = await fetch(site, "/sse/events", "topic=a", EVENT_SOURCE)
    kind = {"content-type": "text/plain"}
    publish = await fetch(site, "/sse/events", "topic=a", kind, "POST", body=b"x")

    assert [503] * 4 == [answer.status for answer in (health, bare, stream, publish)]
    assert "not started" == json.loads(health.body)["status"]
    assert {"status": "not started"} == json.loads(bare.body)
    for answer in (stream, publish):
        assert "lifespan" in json.loads(answer.body)["detail"]
    assert 200 == (await fetch(site, "/sse/metrics")).status


@pytest.mark.parametrize(
    ("root", "before"),
    [
        ("", ""),
        ("/sse", "/sse"),
        ("/sse", ""),  # a proxy has cut the place off
        ("/", ""),  # FastAPI(root_path="/")
        ("/", "/"),  # uvicorn --root-path /
        ("/sse/", "/sse"),
        ("/sse/", "/sse/"),
        ("/a/b/", "/a/b"),
        ("/e", ""),  # the place is how a path begins
        ("/event", ""),
        ("/h", ""),
        ("/m", ""),
    ],
)
async def test_the_place_of_the_app_may_be_written_in_every_way(root: str, before: str) -> None:
    """From: fastapi/fastapi#811"""
    hub = create_app(Settings(**QUIET))

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await hub({**scope, "root_path": root}, receive, send)

    async with lifespan(hub):
        found = [
            (await fetch(mounted, f"{before}{path}", "topic=a", method="HEAD")).status
            for path in ("/events", "/health", "/metrics", "/openapi.json", "/", "/page/main.js")
        ]
        lost = [
            (await fetch(mounted, f"{before}{path}", "topic=a")).status
            for path in ("/xevents", "/event", "/events/", "/x/events", "/page/none.js", "/page/")
        ]

    assert [200] * 6 == found
    assert [404] * 6 == lost


async def test_a_site_runs_the_lifespan_of_what_it_mounts() -> None:
    """From: fastapi/fastapi#811"""
    hub = create_app(Settings(**QUIET))

    @asynccontextmanager
    async def both(_: Starlette) -> AsyncIterator[None]:
        async with hub.lifespan():
            yield

    site = Starlette(routes=[Mount("/sse", hub)], lifespan=both)
    for _ in range(2):  # a test client for each test
        async with lifespan(site):
            assert 200 == (await fetch(site, "/sse/health")).status
            async with open_stream(site, "/sse/events", "topic=a") as stream:
                await hub.hub.publish("a", "x")
                assert ["x"] == [event.data for event in await stream.events(1)]
        assert 503 == (await fetch(site, "/sse/health")).status


async def test_a_lifespan_may_be_entered_within_itself() -> None:
    """The first client to come starts the hub, the last one to go stops it.

    From: fastapi/fastapi#811
    """
    app = create_app(Settings(**QUIET))
    async with lifespan(app):
        async with app.lifespan(), app.lifespan():
            await app.hub.publish("a", "x")
        assert app.hub.started
        assert "ok" == app.hub.health()["status"]
    assert not app.hub.started

    first, second = app.lifespan(), app.lifespan()
    await asyncio.gather(first.__aenter__(), second.__aenter__())
    await first.__aexit__(None, None, None)
    await app.hub.publish("a", "x")
    await second.__aexit__(None, None, None)
    assert not app.hub.started


async def test_a_hub_that_somebody_else_has_started_is_theirs_to_stop() -> None:
    """From: fastapi/fastapi#811"""
    async with Hub(Settings(**QUIET)) as hub:
        app = create_app(hub=hub)
        async with lifespan(app), app.lifespan():
            await hub.publish("a", "1")
        await hub.publish("a", "2")

        assert "ok" == json.loads((await fetch(app, "/health")).body)["status"]


async def test_an_event_source_at_a_hub_that_has_stopped_comes_again() -> None:
    """From: Shopify/shipit-engine#131"""
    app = create_app(Settings(**QUIET))
    async with lifespan(app):
        pass

    answer = await fetch(app, "/events", "topic=a", EVENT_SOURCE)

    assert 2000 <= reconnection_time(answer) < 4000


async def test_a_lifespan_that_could_not_begin_can_be_tried_again() -> None:
    """From: modelcontextprotocol/python-sdk#1467"""

    class Store(MemoryStore):
        fails = True

        async def open(self) -> Log:
            if self.fails:
                raise OSError("the disk is away")
            return await super().open()

    store = Store()
    app = create_app(hub=Hub(Settings(**QUIET), store))
    with pytest.raises(OSError, match="away"):
        async with app.lifespan():
            raise AssertionError

    store.fails = False
    async with app.lifespan():
        await app.hub.publish("a", "x")


def test_a_lifespan_begins_anew_on_every_loop() -> None:
    """From: modelcontextprotocol/python-sdk#1467"""
    app = create_app(Settings(**QUIET))

    async def once() -> int:
        async with app.lifespan():
            return (await fetch(app, "/health")).status

    assert [200, 200] == [asyncio.run(once()), asyncio.run(once())]
