"""Streams that are ended, and tokens that are revoked: from Python, and by an operator over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.access_revocations import REVOCATIONS, Revocation
from support.driver import fetch, lifespan, open_stream
from support.servers import Clients, Server, serve
from support.tokens import AUDIENCE, SECRET, bearer, claims, sign

from fastsse import InvalidField
from fastsse.broadcast import Hub, Settings, TooManyRevoked
from fastsse.broadcast.access.grants import Grant
from fastsse.broadcast.app import create_app
from fastsse.broadcast.hub.revoked import Revoked

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
            await hub.end_streams()
        with pytest.raises(InvalidField):
            await hub.end_streams("ann", reason="")
        async with hub.subscribe("a"):
            assert 0 == await hub.end_streams(topics="a")


# Tokens that are revoked.


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """Run a hub without leeway, so that times in tokens count to the second."""
    flags = ("--audience", AUDIENCE, "--leeway", "0")
    with serve(*flags, FASTSSE_KEYS=f"secret:{SECRET}") as running:
        yield running


def operator() -> dict[str, str]:
    return bearer(sign(claims(sub="root", fastsse=OPERATOR)))


async def revoke(server: Server, query: str, headers: dict[str, str] | None = None) -> Any:
    given = operator() if headers is None else headers
    return await asyncio.to_thread(server.request, "POST", f"/revocations?{query}", None, given)


@pytest.mark.parametrize("row", list(enumerate(REVOCATIONS)), ids=lambda row: row[1].name)
async def test_tokens_beside_what_was_revoked(strict: Server, row: tuple[int, Revocation]) -> None:
    case = row[1].of(row[0])
    token, later = case.token(time.time()), "topic=a&last_event_id=earliest"
    assert 200 == strict.request("HEAD", "/events?topic=a", None, bearer(token)).status

    for kind, name in case.what.items():
        assert {"ended": 0} == (await revoke(strict, f"{kind}={name}")).json

    for query in ("topic=a", later):
        reply = strict.request("HEAD", f"/events?{query}", None, bearer(token))
        assert case.status == reply.status
        told = 'error="invalid_token", error_description="the token was revoked: sign in again"'
        assert (told in reply.headers.get("www-authenticate", "")) == (case.status == 401)
    fresh = case.token(time.time())  # whose signature the hub has not seen
    assert case.status == strict.request("HEAD", "/events?topic=a", None, bearer(fresh)).status


async def test_what_a_revoked_token_has_opened_ends_and_what_others_have_goes_on(
    strict: Server, clients: Clients
) -> None:
    def follow(**more: Any) -> Any:
        given: dict[str, Any] = {"sub": "eve", "fastsse": {"subscribe": ["*"]}} | more
        token = sign(claims(**given))
        return clients.follow(strict, "/events?topic=a", f"Authorization: Bearer {token}")

    one = await follow(jti="one")
    two = await follow(jti="two")
    bob = await follow(sub="bob", jti="three")

    by_name = await revoke(strict, "jti=one&reason=stolen")
    [event] = await one.events(1)
    by_subject = await revoke(strict, "subject=eve")
    [other] = await two.events(1)

    assert ({"ended": 1}, {"ended": 1}) == (by_name.json, by_subject.json)
    assert ("expired", '{"reason":"stolen"}') == (event.event, event.data)
    assert '{"reason":"revoked"}' == other.data
    last = await revoke(strict, "jti=three")
    assert {"ended": 1} == last.json
    assert "expired" == (await bob.events(1))[0].event


@pytest.mark.parametrize("way", ["ticket", "cookie", "publish", "end", "ticket for", "operate"])
async def test_a_revoked_token_is_good_for_nothing(strict: Server, way: str) -> None:
    everything: dict[str, Any] = {
        "subscribe": ["*"],
        "publish": ["*"],
        "end": ["*"],
        "operator": True,
    }
    token = sign(claims(sub=f"way {way}", jti=way, fastsse=everything))
    sent = bearer(token)
    ticket = strict.request("POST", "/tickets?topic=a", None, sent).json["ticket"]
    cookie = {"Cookie": f"__Host-fastsse={token}", "Sec-Fetch-Site": "same-origin"}
    asks: dict[str, tuple[Any, ...]] = {
        "ticket": ("HEAD", f"/events?topic=a&ticket={ticket}", None, {}),
        "cookie": ("HEAD", "/events?topic=a", None, cookie),
        "publish": ("POST", "/events?topic=a", "x", sent | {"Content-Type": "text/plain"}),
        "end": ("DELETE", "/events?topic=nothing", None, sent),
        "ticket for": ("POST", "/tickets?topic=a", None, sent),
        "operate": ("GET", "/metrics", None, sent),
    }
    assert 200 == strict.request(*asks[way]).status

    assert 200 == (await revoke(strict, f"jti={way.replace(' ', '+')}")).status

    assert 401 == strict.request(*asks[way]).status
    told = strict.request("GET", "/metrics", None, operator()).body.decode()
    assert 'fastsse_denied_total{reason="revoked"}' in told


@pytest.mark.parametrize(
    ("query", "grant", "status"),
    [
        ("subject=x", {}, 401),
        ("subject=x", {"subscribe": ["*"], "publish": ["*"], "end": ["*"]}, 403),
        ("", None, 400),
        ("reason=x", None, 400),
        ("subject=x&jti=y", None, 400),
        ("subject=x&subject=y", None, 400),
        ("subject=x&topic=a", None, 400),
        ("subject=", None, 400),
        ("subject=%0a", None, 400),
        ("jti=" + "x" * 257, None, 400),
        ("jti=x&reason=", None, 400),
        ("jti=x&reason=a&reason=b", None, 400),
        ("jti=" + "x" * 256, None, 200),
        ("subject=%C3%A9*/{sub}", None, 200),
    ],
    ids=map(str, range(14)),
)
async def test_who_may_revoke_and_what(
    strict: Server, query: str, grant: dict[str, Any] | None, status: int
) -> None:
    headers = None if grant is None else bearer(sign(claims(fastsse=grant))) if grant else {}

    reply = await revoke(strict, query, headers)

    assert status == reply.status
    assert "x" * 100 not in reply.body.decode()


async def test_a_ticket_of_the_operators_own_function_is_revoked_from_then_on() -> None:
    granted = Grant(["*"], subject="eve")  # one and the same, as a function may well return it

    async def may(*_: Any) -> Grant:
        return granted

    app = create_app(Settings(), may=may)
    async with lifespan(app):

        async def ticket() -> str:
            answer = await fetch(app, "/tickets", "topic=a", {}, "POST")
            return str(json.loads(answer.body)["ticket"])

        async def status(name: str) -> int:
            return (await fetch(app, "/events", f"topic=a&ticket={name}", {}, "HEAD")).status

        before = await ticket()
        await app.hub.revoke(subject="eve")
        after = await ticket()

        assert [401, 200] == [await status(before), await status(after)]
        await app.hub.revoke(subject="eve")
        assert 401 == await status(after)


async def test_a_stream_of_the_operators_own_function_ends_by_the_name_that_its_grant_has() -> None:
    async def may(*_: Any) -> Grant:
        return Grant(["*"], token_id="session-7")

    app = create_app(Settings(heartbeat=0.0, lifetime=0.0), may=may)
    async with lifespan(app), open_stream(app, "/events", "topic=a") as stream:
        await stream.block()
        assert 0 == await app.hub.revoke(jti="session-8")
        assert 1 == await app.hub.revoke(jti="session-7")
        [event] = await stream.events(1)

    assert "expired" == event.event


async def test_nobody_revokes_at_a_hub_without_keys() -> None:
    with serve() as open_server:
        reply = await revoke(open_server, "subject=x", {})
        options = open_server.request("OPTIONS", "/revocations")

    assert 403 == reply.status
    assert "OPTIONS, POST" == options.headers["allow"]


async def test_a_hub_revokes_one_thing_at_a_time() -> None:
    async with Hub() as hub:
        for wrong in ({}, {"subject": "a", "jti": "b"}):
            with pytest.raises(TypeError, match="not both"):
                await hub.revoke(**wrong)
        with pytest.raises(InvalidField):
            await hub.revoke(subject="\n")
        assert 0 == len(hub.revoked)
        assert 0 == await hub.revoke(jti="b")
        assert 1 == len(hub.revoked)
    async with hub:
        assert hub.revoked.covers(None, "b", None)  # over a start, too


async def test_a_full_list_is_said_and_lets_go_of_nothing() -> None:
    async with Hub(Settings(revoked_seconds=3600)) as hub:
        hub.revoked = Revoked(3600, most=2)
        await hub.revoke(jti="a")
        await hub.revoke(subject="b")

        with pytest.raises(TooManyRevoked):
            await hub.revoke(jti="c")

        assert hub.revoked.covers(None, "a", None)
        assert hub.revoked.covers("b", None, None)
        assert not hub.revoked.covers("c", "c", None)
