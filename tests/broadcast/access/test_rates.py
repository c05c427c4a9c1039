"""Quotas of bytes and of topics: who is refused, who is not, and what stays open meanwhile."""

from __future__ import annotations

import asyncio
import http.client
from typing import Any

import pytest
from support.servers import DEADLINE, Clients, Server, serve
from support.tokens import SECRET, bearer, claims, sign

from fastsse.broadcast.access.quotas import KEPT, Quota
from fastsse.broadcast.access.rates import Rates
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.problems import Problem

KEYS = {"FASTSSE_KEYS": f"secret:{SECRET}"}
EVERY = {"subscribe": ["*"], "publish": ["*"], "end": ["*"]}
SLOW = "0.001"  # of anything in a second: one at once, and the next one after a thousand seconds
TEXT = {"Content-Type": "text/plain"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
STREAM = {"Content-Type": "text/event-stream"}


def post(
    server: Server, body: bytes, headers: dict[str, str], source: str, target: str = "topic=a"
) -> http.client.HTTPResponse:
    """Publish from an address of the loopback; the response is read."""
    connection = http.client.HTTPConnection(
        server.host, server.port, timeout=DEADLINE, source_address=(source, 0)
    )
    try:
        connection.request("POST", f"/events?{target}", body, headers)
        response = connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        return response
    finally:
        connection.close()


def as_subject(subject: str) -> dict[str, str]:
    return bearer(sign(claims(sub=subject, aud=None, fastsse=EVERY))) | TEXT


def numbers(server: Server) -> dict[str, float]:
    """Read the counts of refusals by reason."""
    text = server.request("GET", "/metrics").body.decode()
    rows = [line.split("{")[1] for line in text.splitlines() if line.startswith("fastsse_denied_t")]
    return {row.split('"')[1]: float(row.split()[-1]) for row in rows}


def test_an_address_has_its_bytes_and_another_its_own() -> None:
    kinds: list[tuple[dict[str, str], str, bytes]] = [
        (TEXT, "topic=a", b"%b"),
        (FORM, "", b"topic=a&data=%b"),
        (STREAM, "topic=a", b"data: %b\n\n"),
    ]
    with serve("--bytes-per-second", "1") as server:
        for number, (headers, query, form) in enumerate(kinds, 1):
            large = post(server, form % (b"y" * 5000), headers, f"127.4.{number}.1", query)
            after = post(server, form % b"z", headers, f"127.4.{number}.1", query)
            other = post(server, form % b"z", headers, f"127.4.{number}.2", query)
            counted = numbers(server)

            # A large one is taken on credit, which has to be made up for.
            assert (200, 429, 200) == (large.status, after.status, other.status)
            assert int(after.headers["Retry-After"]) > 1000
            assert "application/problem+json" == after.headers["Content-Type"]
            assert {"bytes": number} == counted


def test_a_subject_has_its_bytes_from_every_address() -> None:
    with serve("--bytes-per-second", "1", **KEYS) as server:
        statuses = [
            post(server, b"y" * 5000, as_subject(subject), source).status
            for subject, source in [
                ("ann", "127.0.5.1"),
                ("ann", "127.0.5.2"),
                ("bob", "127.0.5.3"),
            ]
        ]

    assert [200, 429, 200] == statuses


def test_a_stream_that_is_refused_counts_nowhere() -> None:
    now = 0.0
    rates = Rates(Settings(opens_per_second=0.1), Stats(), lambda: now)  # one at once

    def opens(subject: str | None, address: str) -> bool:
        terms = Terms(("a",), None, False, None, (address, 1), subject)
        return not rates.opens_too_often(terms)

    assert opens("ann", "10.0.0.1")
    assert not opens("ann", "10.0.0.2")  # hers is used up
    assert opens("bob", "10.0.0.2")  # whose address has not paid for her
    assert not opens("carl", "10.0.0.2")
    assert opens("carl", "10.0.0.3")  # nor has he paid at the other address
    assert not opens(None, "10.0.0.3")
    assert opens(None, "10.0.0.4")


def test_a_topic_has_its_own_quota_whoever_publishes() -> None:
    with serve("--topic-events-per-second", SLOW) as server:
        statuses = [
            post(server, b"x", TEXT, f"127.0.6.{number}", target).status
            for number, target in enumerate(
                ["topic=a", "topic=a", "topic=b", "topic=a&topic=c", "topic=c", "topic=c"], 1
            )
        ]
        counted = numbers(server)

    # The one to a and c was refused for a, so c had its own event still.
    assert [200, 429, 200, 429, 200, 429] == statuses
    assert {"topic_rate": 3.0} == counted


def test_a_topic_has_its_bytes() -> None:
    with serve("--topic-bytes-per-second", "1") as server:
        statuses = [
            post(server, b"y" * 5000, TEXT, "127.0.7.1", target).status
            for target in ("topic=a", "topic=a", "topic=b")
        ]
        counted = numbers(server)

    assert [200, 429, 200] == statuses
    assert {"topic_bytes": 1.0} == counted


async def test_a_posted_stream_is_told_what_stays_published(clients: Clients) -> None:
    with serve("--topic-events-per-second", "0.1") as server:
        reader = await clients.follow(server, "/events?topic=a")
        head = "\r\n".join([
            "POST /events?topic=a HTTP/1.1",
            "Content-Type: text/event-stream",
            "Transfer-Encoding: chunked",
        ])  # fmt: skip
        posting = await clients.connect(server, head)
        for number in (1, 2):
            block = b"data: %d\n\n" % number
            posting.writer.write(b"%x\r\n%b\r\n" % (len(block), block))
            await posting.writer.drain()
            if number == 1:
                [event] = await reader.events(1)
        await posting.start()
        body = await posting.until(b"}")

    assert "1" == event.data
    assert 429 == posting.status
    assert b"retry-after" in posting.head.lower()
    assert b'"count":1' in body.replace(b" ", b"")
    assert b'"event":2' in body.replace(b" ", b"")


async def test_a_flood_ends_nobodys_stream(clients: Clients) -> None:
    quotas = ("--opens-per-second", SLOW, "--posts-per-second", "1", "--bytes-per-second", "10")
    topics = ("--topic-events-per-second", "100")
    with serve(*quotas, *topics, "--streams-per-address", "1") as server:
        reader = await clients.follow(server, "/events?topic=a")

        def flood(source: str) -> list[int]:
            return [post(server, b"y" * 200, TEXT, source).status for _ in range(30)]

        floods = await asyncio.gather(
            *(asyncio.to_thread(flood, f"127.0.8.{number}") for number in range(1, 5))
        )
        opens = [await clients.connect(server, "GET /events?topic=a HTTP/1.1") for _ in range(10)]
        for connection in opens:
            await connection.start()
        honest = await asyncio.to_thread(post, server, b"honest", TEXT, "127.0.8.99")
        taken = sum(statuses.count(200) for statuses in floods)
        events = await reader.events(taken + 1)
        counted = await asyncio.to_thread(server.health)

    assert all(statuses[-1] == 429 for statuses in floods)
    assert [429] * 10 == [connection.status for connection in opens]
    assert 200 == honest.status
    assert "honest" == events[-1].data
    assert {} == counted["ended"]


def rates(now: list[float], **knobs: Any) -> Rates:
    return Rates(Settings(**knobs), Stats(), lambda: now[0])


def test_a_request_without_room_in_one_bucket_takes_from_none() -> None:
    now = [0.0]
    found = rates(now, bytes_per_second=10.0, topic_bytes_per_second=1.0)

    found.charge(["ann"], ["a"], 10, 1)
    with pytest.raises(Problem, match="429") as caught:
        found.charge(["ann"], ["a", "b"], 10, 1)
    found.charge(["ann"], ["b"], 10, 1)  # b has nothing to make up for
    for _ in range(8):
        found.charge(["ann"], [str(_)], 10, 1)  # and ann has her hundred bytes

    assert "topic_bytes" == caught.value.denied
    with pytest.raises(Problem):
        found.charge(["ann"], ["z"], 10, 1)
    now[0] = 1.0
    found.charge(["ann"], ["z"], 10, 1)


def test_no_topic_is_named_in_a_refusal() -> None:
    found = rates([0.0], topic_events_per_second=0.1)

    found.charge([], ["secret"], 1, 1)
    with pytest.raises(Problem) as caught:
        found.charge([], ["secret"], 1, 1)

    assert b"secret" not in caught.value.body()


def test_without_quotas_nothing_is_remembered() -> None:
    found = rates([0.0])

    found.charge(["ann"], ["a"], 10**9, 10**6)
    found.bill({"type": "http", "client": ("192.0.2.1", 1)}).charge(["a"], 10**9)

    quotas = [value for value in vars(found).values() if isinstance(value, Quota)]
    assert 5 == len(quotas)
    assert [0] * 5 == [len(quota._empty) for quota in quotas]


def test_what_is_forgotten_too_soon_is_counted() -> None:
    now, stats = [0.0], Stats()
    quota = Quota(1.0, lambda: now[0], "posts", stats.quotas_forgotten)

    for number in range(KEPT):
        quota.take(str(number))
    now[0] = 5.0  # those owe nothing any more
    quota.take("late")
    for number in range(KEPT, 2 * KEPT):
        quota.take(str(number))

    assert KEPT == len(quota._empty)
    assert 1 == stats.quotas_forgotten["posts"]  # the late one, which was used least recently
