"""Each configuration of docs/proxies.md, in its real proxy, before a real hub: what comes through, and how soon.

How a time is judged: a machine that is busy delays a round, a fault of a configuration delays every round. So a limit
must hold for all events of one round of several, and what a direct reader waits in the same round does not count.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable

import pytest
from proxies.documented import PROXIES, Proxy, absent, find, run
from proxies.measure import EVENTS, STREAMS, delays, first_byte, leaving
from support.servers import Clients, Server, free_port, wait_for

pytest.importorskip("granian")
pytest.importorskip("uvicorn")

SOON = 0.1  # s: to the first byte
EACH = 0.05  # s: what an event may come later than to a direct reader
AT_ONCE = 2.0  # s: in which the hub notices a reader that left, where the proxy can tell
BEATS = 2.0 + 1.0  # s: two heartbeats, and what a busy machine adds
ROUNDS = 5


async def rounds(measure: Callable[[], Awaitable[list[float]]], limit: float) -> list[list[float]]:
    """Measure until one round keeps to the limit, but no more than five times."""
    found: list[list[float]] = []
    while len(found) < ROUNDS:
        found.append(await measure())
        if max(found[-1]) <= limit:
            break
    return found


async def test_the_first_byte_of_a_quiet_topic_comes_at_once(
    clients: Clients, front: Server, topic: str
) -> None:
    async def measure() -> list[float]:
        return [await first_byte(clients, front, f"/events?topic={topic}")]

    assert min(await rounds(measure, SOON)) <= [SOON]


async def test_the_first_byte_does_not_wait_for_a_late_item(
    clients: Clients, late_front: Server
) -> None:
    async def measure() -> list[float]:
        return [await first_byte(clients, late_front, "/events")]

    assert min(await rounds(measure, SOON)) <= [SOON]


async def test_each_event_comes_when_it_is_published(
    clients: Clients, hub: Server, front: Server, topic: str
) -> None:
    async def measure() -> list[float]:
        return [delay.added for delay in await delays(clients, hub, front, topic)]

    found = await rounds(measure, EACH)

    assert max(found[-1]) <= EACH, found
    assert statistics.median(found[-1]) <= EACH / 2, found


async def test_the_hub_notices_a_reader_that_left(
    clients: Clients, proxy: Proxy, hub: Server, front: Server, topic: str
) -> None:
    assert await leaving(clients, hub, front, topic) <= (AT_ONCE if proxy.tells else BEATS)


async def test_a_reader_resumes_where_it_was(clients: Clients, front: Server, topic: str) -> None:
    seen = front.publish(topic, "seen")
    front.publish(topic, "missed")

    stream = await clients.follow(front, f"/events?topic={topic}", f"Last-Event-ID: {seen}")

    assert ["missed"] == [event.data for event in await stream.events(1)]


async def test_a_second_nginx_in_front_streams(clients: Clients, quiet_hub: Server) -> None:
    nginx = PROXIES[0]
    if find(nginx) is None:
        absent(f"no {nginx.program} here; {nginx.install}")
    plain = "server { listen 80; location / { proxy_pass http://127.0.0.1:8000; } }"
    outer = nginx._replace(recipe=lambda _, *place: nginx.recipe([plain], *place))
    with run(nginx, free_port(), quiet_hub) as inside, run(outer, free_port(), inside) as outside:
        stream = await clients.follow(outside, "/events?topic=two")
        quiet_hub.publish("two", "x")

        assert ["x"] == [event.data for event in await stream.events(1)]


async def test_a_posted_event_stream_is_published_event_by_event(
    clients: Clients, proxy: Proxy, hub: Server, front: Server, topic: str
) -> None:
    if not proxy.posts:
        pytest.skip(f"{proxy.name} holds a body back until it is whole")
    reader = await clients.follow(hub, f"/events?topic={topic}")
    head = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"
    post = await clients.connect(front, f"POST /events?topic={topic} HTTP/1.1\r\n{head}")

    for number in range(3):
        block = b"data: %d\n\n" % number
        post.writer.write(b"%x\r\n%b\r\n" % (len(block), block))
        assert [str(number)] == [event.data for event in await reader.events(1)]
    post.writer.write(b"0\r\n\r\n")
    await post.start()
    assert 200 == post.status


@pytest.mark.parametrize("port", [None, 8080])
def test_the_page_of_a_named_host_may_publish(
    proxy: Proxy, front: Server, topic: str, port: int | None
) -> None:
    host = f"{proxy.host}:{port}" if port else proxy.host
    headers = {
        "Host": host,
        "Origin": f"http://{host}",  # and no Sec-Fetch-Site: so browsers do it over plain HTTP
        "Content-Type": "application/x-www-form-urlencoded",
    }

    reply = front.request("POST", "/events", f"topic={topic}&data=x", headers)

    assert 200 == reply.status, reply


def test_the_page_of_another_host_may_not(proxy: Proxy, front: Server, topic: str) -> None:
    headers = {
        "Host": proxy.host,
        "Origin": "http://elsewhere.example",
        "Content-Type": "application/x-www-form-urlencoded",
    }

    assert 403 == front.request("POST", "/events", f"topic={topic}&data=x", headers).status


async def test_the_headers_for_proxies_pass(clients: Clients, late_front: Server) -> None:
    stream = await clients.follow(late_front, "/events", *EVENTS)

    assert b"\r\nincremental: ?1\r\n" in stream.head.lower()
    assert b"no-transform" in stream.head


async def test_what_a_full_hub_answers_comes_through(
    clients: Clients, hub: Server, front: Server, topic: str
) -> None:
    wait_for(lambda: hub.health()["streams"] == 0)
    for _ in range(STREAMS):
        await clients.follow(hub, f"/events?topic={topic}")

    asked = dict(line.split(": ") for line in EVENTS)
    source = front.request("GET", f"/events?topic={topic}", headers=asked)
    reply = front.request("GET", f"/events?topic={topic}")

    assert (200, "text/event-stream") == (source.status, source.headers["content-type"][:17])
    assert b"retry: " in source.body  # an EventSource comes back
    assert 503 == reply.status
    assert int(reply.headers["retry-after"]) > 0
    assert "come again later" in reply.json["detail"]
