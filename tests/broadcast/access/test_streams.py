"""Grants in force: a stream ends with its grant, goes on with the next one, and nothing of a token is written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.servers import Clients, Server, serve
from support.tokens import AUDIENCE, Keys, bearer, claims, key_flags, sign, write_keys

EXPIRED = ("expired", '{"reason":"expired"}')


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def server(keys: Keys) -> Iterator[Server]:
    flags = [*key_flags(keys), "--audience", AUDIENCE, "--leeway", "0", "--anonymous-read", "*"]
    with serve(*flags, "--history-events", "4") as running:
        yield running


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()


def line(seconds: float = 60, **grant: Any) -> str:
    """Write the header of a token that is good for some seconds."""
    return f"Authorization: {bearer(sign(claims(seconds, fastsse=grant)))['Authorization']}"


def publish(server: Server, topics: str, data: str) -> str:
    headers = bearer(sign(claims(fastsse={"publish": ["*"]}))) | {"Content-Type": "text/plain"}
    reply = server.request("POST", f"/events?{topics}", data, headers)
    assert 200 == reply.status
    return str(reply.json["id"])


async def test_a_stream_ends_with_its_grant_and_goes_on_with_the_next_one(
    server: Server, clients: Clients
) -> None:
    first = await clients.follow(server, "/events?topic=t", line(2.0, subscribe=["t"]))
    kept = await asyncio.to_thread(publish, server, "topic=t", "one")
    [event] = await first.events(1)
    [end] = await first.events(1)
    await asyncio.to_thread(publish, server, "topic=t", "two")
    again = await clients.follow(
        server, "/events?topic=t", line(subscribe=["t"]), f"Last-Event-ID: {event.id}"
    )
    [later] = await again.events(1)

    assert ("one", kept) == (event.data, event.id)
    assert EXPIRED == (end.event, end.data)
    assert kept == end.id  # the last event ID stays where it was
    assert b"" == await first.chunk()
    assert ("two", "message") == (later.data, later.event)


async def test_a_token_that_has_expired_gets_no_replay(server: Server, clients: Clients) -> None:
    await asyncio.to_thread(publish, server, "topic=private/r", "secret")
    token = line(0.0, subscribe=["private/r"])

    gone = await clients.connect(
        server, f"GET /events?topic=private/r&last_event_id=earliest HTTP/1.1\r\n{token}"
    )
    await gone.start()

    assert 401 == gone.status


async def test_labels_and_gaps_name_only_what_the_reader_follows(
    server: Server, clients: Clients
) -> None:
    both = "topic=shown&topic=private/hidden"
    for number in range(6):
        await asyncio.to_thread(publish, server, both, str(number))

    sent = b""
    for last in ("earliest", "other-1"):
        reader = await clients.follow(
            server, f"/events?topic=shown&labels=1&last_event_id={last}", line(subscribe=["shown"])
        )
        sent += reader.opening
        while b"data: 5" not in sent[-200:]:
            sent += await reader.chunk()

    assert 8 == sent.count(b': topics ["shown"]\n')
    assert 1 == sent.count(b'"topics":["shown"]')  # of the gap
    assert b"hidden" not in sent


def test_what_is_private_is_not_open_to_everybody(server: Server) -> None:
    assert 200 == server.request("HEAD", "/events?topic=public").status
    assert 401 == server.request("HEAD", "/events?topic=private/x").status
    assert 401 == server.request("HEAD", "/events?topic=public&topic=private/x").status


def test_the_event_type_expired_is_reserved(server: Server) -> None:
    headers = bearer(sign(claims(fastsse={"publish": ["*"]})))
    reply = server.request(
        "POST", "/events?topic=a&event=expired", "x", headers | {"Content-Type": "text/plain"}
    )

    assert 400 == reply.status
    assert "reserved" in reply.json["detail"]


def test_a_hub_without_keys_is_open_but_for_what_is_private() -> None:
    with serve() as server:
        statuses = [
            server.request("HEAD", f"/events?topic={topic}").status
            for topic in ("a", "private/x", "private")
        ]
        numbers = server.request("GET", "/metrics")
        published = server.publish("private/x", "kept")

    assert [200, 403, 200] == statuses
    assert 200 == numbers.status
    assert published


def test_a_proxys_own_credentials_do_not_matter_without_keys() -> None:
    with serve() as server:
        reply = server.request("HEAD", "/events?topic=a", None, {"Authorization": "Basic eDp5"})

    assert 200 == reply.status


def test_nothing_of_a_token_is_written_down(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    good = sign(claims(fastsse={"subscribe": ["a"], "operator": True}))
    tokens = [
        good,
        good[:-3] + "AAA",
        sign(claims(-5)),
        sign(claims(aud="x")),
        "not.a.token-at-all",
    ]

    with serve(*key_flags(keys), "--audience", AUDIENCE, "--log-level", "debug") as server:
        for token in tokens:
            for path in ("/events?topic=b", "/metrics", "/health"):
                server.request("HEAD", path, None, bearer(token))
        told = server.request("GET", "/metrics", None, bearer(good)).body.decode()
        told += str(server.request("GET", "/health", None, bearer(good)).json)
    written = capsys.readouterr().err + told  # the server's stderr is shown at its end

    parts = {part for token in tokens for part in token.split(".") if len(part) > 12}
    assert [] == [part for part in parts if part in written]
    assert 'fastsse_denied_total{reason="signature"}' in told
