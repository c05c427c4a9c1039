"""Streams that are ended by subject and topic: from Python, and by an operator over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.servers import Clients, Server, serve
from support.tokens import SECRET, bearer, claims, sign

from fastsse import InvalidField
from fastsse.broadcast import Hub

OPERATOR = {"operator": True}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(FASTSSE_KEYS=f"secret:{SECRET}") as running:
        yield running


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()


def sent(subject: str | None = "ann", **grant: Any) -> dict[str, str]:
    return bearer(sign(claims(sub=subject, aud=None, fastsse=grant)))


def line(subject: str | None, **grant: Any) -> str:
    return f"Authorization: {sent(subject, **grant)['Authorization']}"


async def end(server: Server, query: str, headers: dict[str, str] | None = None) -> Any:
    given = sent("root", **OPERATOR) if headers is None else headers
    return await asyncio.to_thread(server.request, "DELETE", f"/streams?{query}", None, given)


async def test_the_streams_of_a_subject_end_and_others_go_on(
    server: Server, clients: Clients
) -> None:
    every = {"subscribe": ["*"]}
    ann = [await clients.follow(server, f"/events?topic={t}", line("ann", **every)) for t in "ab"]
    bob = await clients.follow(server, "/events?topic=a", line("bob", **every))

    reply = await end(server, "subject=ann&topic=a&reason=left")
    [event] = await ann[0].events(1)
    rest = await end(server, "subject=ann")
    [other] = await ann[1].events(1)
    none = await end(server, "subject=ann")
    by_topic = await end(server, "topic=a")
    [last] = await bob.events(1)

    assert ({"ended": 1}, {"ended": 1}, {"ended": 0}) == (reply.json, rest.json, none.json)
    assert ("expired", '{"reason":"left"}') == (event.event, event.data)
    assert '{"reason":"revoked"}' == other.data == last.data
    assert {"ended": 1} == by_topic.json
    assert b"" == await ann[0].chunk()


@pytest.mark.parametrize(
    ("query", "grant", "status"),
    [
        ("subject=ann", {}, 401),
        ("subject=ann", {"subscribe": ["*"], "publish": ["*"], "end": ["*"]}, 403),
        ("", None, 400),
        ("reason=x", None, 400),
        ("subject=ann&x=1", None, 400),
        ("subject=ann&reason=", None, 400),
        ("subject=ann&reason=%0a", None, 400),
        ("subject=ann&reason=" + "x" * 65, None, 400),
        ("subject=nobody", None, 200),
    ],
    ids=map(str, range(9)),
)
async def test_who_may_end_streams(
    server: Server, query: str, grant: dict[str, Any] | None, status: int
) -> None:
    headers = sent("ann", **grant) if grant else grant  # now: tokens do not last for all tests

    assert status == (await end(server, query, headers)).status


async def test_nobody_ends_streams_of_a_hub_without_keys() -> None:
    with serve() as open_server:
        reply = await end(open_server, "topic=a", {})

    assert 403 == reply.status


async def test_a_hub_refuses_to_end_all_streams_by_accident() -> None:
    async with Hub() as hub:
        with pytest.raises(TypeError, match="subject or topics"):
            hub.end_streams()
        with pytest.raises(InvalidField):
            hub.end_streams("ann", reason="")
        async with hub.subscribe("a"):
            assert 0 == hub.end_streams(topics="a")
