"""Tickets and cookies: credentials of browsers, against a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.servers import Clients, Reply, Server, serve
from support.tokens import AUDIENCE, SECRET, Keys, bearer, claims, key_flags, sign, write_keys

from fastsse.broadcast import Settings
from fastsse.broadcast.access.grants import Grant
from fastsse.broadcast.access.guard import Guard
from fastsse.broadcast.access.hosts import Access
from fastsse.broadcast.access.tickets import MOST, Tickets
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.web.problems import Problem

HERE = "https://friend.example"
SITE = {"Sec-Fetch-Site": "same-origin"}
TEXT = {"Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def server(keys: Keys) -> Iterator[Server]:
    flags = [*key_flags(keys), "--audience", AUDIENCE, "--leeway", "0", "--anonymous-read", "open"]
    with serve(*flags, "--origins", HERE) as running:
        yield running


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()


def token(seconds: float = 60, **grant: Any) -> str:
    return sign(claims(seconds, fastsse=grant))


def ask(server: Server, topics: str, sent: dict[str, str]) -> Reply:
    return server.request("POST", f"/tickets?{topics}", None, sent)


def ticket(server: Server, topics: str = "topic=a", **grant: Any) -> str:
    reply = ask(server, topics, bearer(token(**grant or {"subscribe": ["a", "b"]})))
    assert 200 == reply.status, reply
    return str(reply.json["ticket"])


def look(server: Server, query: str, headers: dict[str, str] | None = None) -> int:
    return server.request("HEAD", f"/events?{query}", None, headers or {}).status


# Tickets


async def test_a_ticket_opens_one_stream(server: Server, clients: Clients) -> None:
    name = await asyncio.to_thread(ticket, server)

    stream = await clients.follow(server, f"/events?topic=a&ticket={name}")
    again = await clients.connect(server, f"GET /events?topic=a&ticket={name} HTTP/1.1")
    await again.start()

    assert (200, 401) == (stream.status, again.status)


async def test_of_many_who_bring_one_ticket_one_is_let_in(server: Server, clients: Clients) -> None:
    name = await asyncio.to_thread(ticket, server)

    opened = await asyncio.gather(
        *(clients.connect(server, f"GET /events?topic=a&ticket={name} HTTP/1.1") for _ in range(20))
    )
    await asyncio.gather(*(one.start() for one in opened))

    assert [200] + [401] * 19 == sorted(one.status for one in opened)


def test_a_ticket_is_for_its_topics(server: Server) -> None:
    name = ticket(server, "topic=a")

    assert [200, 403, 403] == [
        look(server, f"{topics}&ticket={name}")
        for topics in ("topic=a", "topic=b", "topic=a&topic=b")
    ]


def test_names_in_a_ticket_are_no_patterns(server: Server) -> None:
    name = ticket(server, "topic=p/*&topic={sub}", subscribe=["*"])

    assert [200, 403] == [
        look(server, f"{topics}&ticket={name}") for topics in ("topic=p/*&topic={sub}", "topic=p/x")
    ]


def test_a_ticket_is_for_streams_alone(server: Server) -> None:
    name = ticket(server, "topic=a", subscribe=["a"], publish=["a"], end=["a"], operator=True)
    asked = [
        ("POST", f"/events?topic=a&ticket={name}"),
        ("DELETE", f"/events?topic=a&ticket={name}"),
        ("POST", f"/tickets?topic=a&ticket={name}"),
        ("GET", f"/metrics?ticket={name}"),
    ]

    statuses = [server.request(method, path, b"x", TEXT).status for method, path in asked]

    assert [401, 401, 401, 401] == statuses
    assert {"status": "ok"} == server.request("GET", f"/health?ticket={name}").json
    assert 200 == look(server, f"topic=a&ticket={name}")


@pytest.mark.parametrize(
    "name", ["", "x", "x" * 43, "x" * 5000, "%00", "..%2f", "A" * 42 + "=", "null", "%C3%A9"]
)
def test_tickets_that_are_none(server: Server, name: str) -> None:
    assert 401 == look(server, f"topic=a&ticket={name}")
    assert 401 == look(server, f"topic=open&ticket={name}")


def test_credentials_are_given_once(server: Server) -> None:
    name = ticket(server)

    assert 400 == look(server, f"topic=a&ticket={name}&ticket={name}")
    assert 400 == look(server, f"topic=a&ticket={name}", bearer(token(subscribe=["a"])))


async def test_a_ticket_is_not_taken_once_its_token_has_expired() -> None:
    now = [1000.0]
    guard = guarded(now, Settings(keys=(f"secret:{SECRET}",), leeway=0.0))
    given = claims(exp=1010.0, aud=None, fastsse={"subscribe": ["a"]})
    made = await guard.issue(asked(**bearer(sign(given))), Terms(("a",)))
    brought = asked(f"topic=a&ticket={made['ticket']}")

    now[0] = 1009.9
    assert guard.grant(brought, tickets=True).allows("subscribe", ("a",))
    now[0] = 1010.0
    with pytest.raises(Problem) as caught:
        guard.grant(brought, tickets=True)

    assert (401, "expired") == (caught.value.status, caught.value.denied)


async def test_a_grant_of_the_operators_own_that_is_over_is_none() -> None:
    async def may(*_: Any) -> Grant:
        return Grant(["a"], until=1010.0)

    now = [1009.9]
    guard = guarded(now, Settings(), may)
    assert (await guard.find(asked(), "subscribe", ("a",))).allows("subscribe", ("a",))

    now[0] = 1010.0
    with pytest.raises(Problem) as caught:
        await guard.find(asked(), "subscribe", ("a",))

    assert (401, "expired") == (caught.value.status, caught.value.denied)


def guarded(now: list[float], settings: Settings, may: Any = None) -> Guard:
    """Make the access control of one app with a clock of its own."""
    return Guard(settings, Access(settings), Stats(), lambda: now[0], may)


def asked(query: str = "topic=a", **headers: str) -> dict[str, Any]:
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": sent, "query_string": query.encode(), "path": "/events"}


def test_a_ticket_ends_with_its_token() -> None:
    now = [100.0]
    tickets = Tickets(30.0, lambda: now[0])
    name = tickets.issue(Grant(["a"], until=110.0), ("a",)) or ""

    grant = tickets.look(name)

    assert grant is not None
    assert 110.0 == grant.until
    now[0] = 130.0
    assert tickets.look(name) is None


@pytest.mark.parametrize(
    ("grant", "topics", "status"),
    [
        (None, "topic=a", 401),
        (None, "topic=open", 401),
        ({"subscribe": ["a"]}, "topic=a", 200),
        ({"subscribe": ["a"]}, "topic=b", 403),
        ({"subscribe": ["a"]}, "topic=a&topic=b", 403),
        ({"publish": ["a"]}, "topic=a", 403),
        ({"subscribe": ["a"]}, "", 400),
        ({"subscribe": ["a"], "labels": False}, "topic=a&labels=1", 403),
    ],
)
def test_who_gets_a_ticket(
    server: Server, grant: dict[str, Any] | None, topics: str, status: int
) -> None:
    sent = {} if grant is None else bearer(token(**grant))

    assert status == ask(server, topics, sent).status


def test_tickets_are_bounded_in_all_and_for_each_subject() -> None:
    now = [0.0]
    tickets = Tickets(30.0, lambda: now[0])

    each = [tickets.issue(Grant(subject="ann"), ("a",)) for _ in range(101)]
    others = [tickets.issue(Grant(subject=str(n)), ("a",)) for n in range(MOST)]

    assert (100, None) == (len(set(each[:100])), each[100])
    assert MOST - 100 == len([name for name in others if name is not None])
    now[0] = 31.0
    assert tickets.issue(Grant(subject="ann"), ("a",)) is not None


def test_a_hub_without_keys_has_no_tickets() -> None:
    with serve() as server:
        assert 404 == ask(server, "topic=a", {}).status


def test_a_preflight_may_ask_for_a_ticket(server: Server) -> None:
    asked = {
        "Origin": HERE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    reply = server.request("OPTIONS", "/tickets?topic=a", None, asked)

    assert 200 == reply.status
    assert "OPTIONS, POST" == server.request("OPTIONS", "/tickets").headers["allow"]


# Cookies


def cookie(value: str, name: str = "__Host-fastsse") -> dict[str, str]:
    return {"Cookie": f"theme=dark; {name}={value}; x=y"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (SITE, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": HERE}, 200),
        ({"Origin": HERE, "Sec-Fetch-Site": "cross-site"}, 200),
        ({}, 403),
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "METRICS", "TICKETS"])
def test_a_cookie_is_taken_from_pages_that_may_alone(
    server: Server, method: str, sent: dict[str, str], status: int
) -> None:
    topic = f"{method.lower()}-{len(str(sent))}"
    grant = {"subscribe": ["*"], "publish": ["*"], "end": ["*"], "operator": True}
    headers = cookie(token(**grant)) | sent | TEXT
    path = {"METRICS": "/metrics", "TICKETS": f"/tickets?topic={topic}"}.get(
        method, f"/events?topic={topic}"
    )
    verb = {"METRICS": "GET", "TICKETS": "POST"}.get(method, method)

    assert status == server.request(verb, path, None if verb == "HEAD" else b"x", headers).status


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("__Host-fastsse={}", 200),
        ("a=b;__Host-fastsse={}", 200),
        ("a=b; __Host-fastsse={} ;c=d", 200),
        ("__host-fastsse={}", 401),
        ("x__Host-fastsse={}", 401),
        ("fastsse={}", 401),
        ("__Host-fastsse=; a={}", 401),
        ("__Host-fastsse={}; __Host-fastsse={}", 400),
        ('__Host-fastsse="{}"', 401),
        ("__Host-fastsse", 401),
    ],
)
def test_how_a_cookie_is_found(server: Server, header: str, status: int) -> None:
    value = token(subscribe=["a"])

    assert status == look(server, "topic=a", {"Cookie": header.replace("{}", value)} | SITE)


def test_a_header_goes_before_a_cookie(server: Server) -> None:
    sent = cookie("rubbish") | SITE

    assert 200 == look(server, "topic=a", sent | bearer(token(subscribe=["a"])))
    assert 401 == look(server, "topic=a", sent)
    assert 200 == look(server, f"topic=a&ticket={ticket(server)}", sent)


def test_another_origin_may_send_credentials_when_it_is_named(server: Server) -> None:
    allowed = server.request("HEAD", "/events?topic=open", None, {"Origin": HERE})
    other = server.request("HEAD", "/events?topic=open", None, {"Origin": "https://evil.example"})

    assert "true" == allowed.headers["access-control-allow-credentials"]
    assert HERE == allowed.headers["access-control-allow-origin"]
    assert "access-control-allow-credentials" not in other.headers
    assert "access-control-allow-origin" not in other.headers


def test_credentials_never_go_with_a_star(keys: Keys) -> None:
    flags = [*key_flags(keys), "--audience", AUDIENCE, "--anonymous-read", "open"]
    with serve(*flags, "--origins", f"*,{HERE}") as server:
        replies = [
            server.request("GET", path, None, {"Origin": origin})
            for origin in (HERE, "https://evil.example")
            for path in ("/health", "/metrics", "/")
        ]

    assert [] == [one for one in replies if "access-control-allow-credentials" in one.headers]


def test_an_answer_shows_no_ticket(server: Server) -> None:
    name = ticket(server)

    reply = server.request("GET", f"/events?topic=b&ticket={name}")

    assert name not in json.dumps([reply.headers, reply.body.decode()])
