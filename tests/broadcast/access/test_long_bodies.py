"""Bodies that last longer than their grant: from its end on nothing of them is published, and no topic ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from support.driver import Stream, lifespan, open_stream, turns
from support.posts import FORM, STREAM, Pipe
from support.tokens import SECRET, bearer, claims, sign

from fastsse.broadcast import Settings
from fastsse.broadcast.access.grants import Grant
from fastsse.broadcast.access.guard import Guard
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.app import Broadcast, create_app
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.web.problems import Problem

EVERY: dict[str, Any] = {"subscribe": ["*"], "publish": ["*"], "end": ["*"]}
KEYS = (f"secret:{SECRET}",)
REVOCATIONS = [{"jti": "t1"}, {"subject": "eve"}]


@asynccontextmanager
async def closed(may: Any = None) -> AsyncIterator[Broadcast]:
    """Run an app with keys."""
    app = create_app(Settings(heartbeat=0.0, lifetime=0.0, keys=KEYS), may=may)
    async with lifespan(app):
        yield app


def token(**more: Any) -> dict[str, str]:
    given = {"sub": "eve", "jti": "t1", "aud": None, "fastsse": EVERY} | more
    return {"authorization": bearer(sign(claims(**given)))["Authorization"]}


@asynccontextmanager
async def reading(app: Broadcast) -> AsyncIterator[Stream]:
    """Follow the topic as somebody whose token stays good."""
    headers = token(sub="ann", jti="t2")
    async with open_stream(app, "/events", "topic=a", headers) as stream:
        await stream.block()
        yield stream


def sending(
    app: Broadcast, body: Pipe, headers: dict[str, str], kind: str = STREAM, query: str = "topic=a"
) -> AbstractAsyncContextManager[Stream]:
    """Post a body that is under way while the block runs."""
    given = {"content-type": kind, "transfer-encoding": "chunked"} | headers
    return open_stream(app, "/events", query, given, "POST", body=body, wait=False)


@pytest.mark.parametrize("what", REVOCATIONS, ids=["jti", "subject"])
async def test_a_posted_stream_publishes_nothing_once_its_token_is_revoked(
    what: dict[str, str],
) -> None:
    async with closed() as app, reading(app) as reader:
        body = Pipe()
        async with sending(app, body, token()) as publisher:
            body.give(b"data: before\n\n")
            [first] = await reader.events(1)
            await app.hub.revoke(**what)
            body.give(b"data: with a token that is revoked\n\n")
            answer = json.loads(await publisher.rest())
        await app.hub.publish("a", "later")
        [second] = await reader.events(1)

    assert ("before", "later") == (first.data, second.data)
    assert 401 == publisher.status
    assert "revoked" in publisher.headers["www-authenticate"]
    assert (1, {"event": 2}) == (answer["count"], answer["broke_at"])
    assert {"revoked": 1} == app.hub.stats.denied


async def test_a_posted_stream_ends_no_topic_once_its_token_is_revoked() -> None:
    async with closed() as app, reading(app) as reader:
        body = Pipe()
        async with sending(app, body, token(), query="topic=a&end=1") as publisher:
            body.give(b"data: before\n\n")
            await reader.events(1)
            await app.hub.revoke(jti="t1")
            body.end()
            answer = json.loads(await publisher.rest())

            assert 401 == publisher.status
            assert 1 == answer["count"]
            assert not app.hub.ended("a")


@pytest.mark.parametrize("kind", ["text/plain", FORM])
async def test_a_body_whose_token_is_revoked_on_its_way_is_not_published(kind: str) -> None:
    async with closed() as app:
        body, query = Pipe(), "" if kind == FORM else "topic=a"
        async with sending(app, body, token(), kind, query) as publisher:
            body.give(b"topic=a&data=")
            await turns()
            await app.hub.revoke(jti="t1")
            body.give(b"rest")
            body.end()
            await publisher.rest()

            assert 401 == publisher.status
            assert 0 == app.hub.stats.published


async def test_another_token_is_revoked_and_a_posted_stream_goes_on() -> None:
    async with closed() as app, reading(app) as reader:
        body = Pipe()
        async with sending(app, body, token(sub="bob", jti="t3")) as publisher:
            body.give(b"data: before\n\n")
            await reader.events(1)
            for what in REVOCATIONS:
                await app.hub.revoke(**what)
            body.give(b"data: after\n\n")
            body.end()
            await publisher.rest()
        [event] = await reader.events(1)

    assert (200, "after") == (publisher.status, event.data)


async def test_what_the_operators_own_function_has_granted_can_be_revoked_meanwhile() -> None:
    async def may(*_: Any) -> Grant:
        return Grant(["*"], ["*"], ["*"], subject="eve")

    async with closed(may) as app, reading(app) as reader:
        await app.hub.revoke(subject="eve")  # before the function is asked, which decides anew
        body = Pipe()
        async with sending(app, body, {}) as publisher:
            body.give(b"data: granted\n\n")
            [event] = await reader.events(1)
            await app.hub.revoke(subject="eve")
            body.give(b"data: refused\n\n")
            answer = json.loads(await publisher.rest())

    assert "granted" == event.data
    assert (401, 1) == (publisher.status, answer["count"])


@pytest.mark.parametrize("ends", ["publish", "end"])
async def test_a_body_is_refused_once_its_grant_has_expired(ends: str) -> None:
    now, settings = [1000.0], Settings()
    untils = {"publish": 9000.0, "end": 9000.0} | {ends: 1010.0}

    async def may(_: Any, verb: str, topics: tuple[str, ...]) -> Grant:
        return Grant((), topics, topics, until=untils[verb])

    guard = Guard(settings, Access(settings), Stats(), lambda: now[0], may)
    scope: dict[str, Any] = {"type": "http", "headers": [], "query_string": b"", "client": None}
    bill = guard.rates.bill(scope)
    allow = await guard.allower(scope, "publish", bill)
    await allow("publish", ("a",))
    await allow("end", ("a",))

    bill.charge(("a",), 1)
    now[0] = 1010.0
    with pytest.raises(Problem) as caught:
        bill.charge(("a",), 0, 0)

    assert 401 == caught.value.status
    assert "expired" == caught.value.denied


async def test_a_body_is_refused_once_its_token_has_expired() -> None:
    now, settings = [1000.0], Settings(keys=KEYS, leeway=2.0)
    guard = Guard(settings, Access(settings), Stats(), lambda: now[0])
    sent = token(exp=1010.0)["authorization"].encode()
    scope: dict[str, Any] = {
        "type": "http",
        "headers": [(b"authorization", sent)],
        "query_string": b"",
        "client": None,
    }
    bill = guard.rates.bill(scope)
    allow = await guard.allower(scope, "publish", bill)
    await allow("publish", ("a",))

    for good in (1000.0, 1011.9):
        now[0] = good
        bill.charge(("a",), 1)
    now[0] = 1012.0
    with pytest.raises(Problem) as caught:
        bill.charge(("a",), 1)

    assert 401 == caught.value.status
    assert "expired" == caught.value.denied
