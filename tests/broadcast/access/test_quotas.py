"""Quotas and the audit log: how much an address and a subject get, and who did what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.servers import Clients, serve
from support.tokens import SECRET, bearer, claims, sign

from fastsse.broadcast.access.quotas import KEPT, Quota
from fastsse.broadcast.hub.holders import network_of

KEYS = {"FASTSSE_KEYS": f"secret:{SECRET}"}
EVERY = {"subscribe": ["*"], "publish": ["*"], "end": ["*"]}
SOURCE = ["Accept: text/event-stream", "Cache-Control: no-cache"]
TEXT = {"Content-Type": "text/plain"}


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    yield opened
    await opened.close()


def sent(subject: str = "ann", **grant: Any) -> dict[str, str]:
    return bearer(sign(claims(sub=subject, aud=None, fastsse=grant or EVERY)))


def line(subject: str) -> str:
    return f"Authorization: {sent(subject)['Authorization']}"


async def test_a_subject_has_its_streams_and_another_its_own(clients: Clients) -> None:
    with serve("--streams-per-subject", "2", **KEYS) as server:
        first = await clients.follow(server, "/events?topic=a", line("ann"))
        await clients.follow(server, "/events?topic=b", line("ann"))
        third = await clients.connect(server, f"GET /events?topic=c HTTP/1.1\r\n{line('ann')}")
        await third.start()
        source = "\r\n".join([f"GET /events?topic=c HTTP/1.1\r\n{line('ann')}", *SOURCE])
        browser = await clients.connect(server, source)
        await browser.start()
        other = await clients.follow(server, "/events?topic=a", line("bob"))
        reply = await asyncio.to_thread(
            server.request, "POST", "/events?topic=a", b"x", sent("bob") | TEXT
        )
        [event] = await first.events(1)
        await first.close()
        again = 0
        for _ in range(100):  # until the server has seen that the first has gone
            again = (
                await asyncio.to_thread(server.request, "HEAD", "/events?topic=a", None, sent())
            ).status
            if again == 200:
                break
            await asyncio.sleep(0.05)

    assert (429, 200, 200) == (third.status, other.status, reply.status)
    assert b"retry-after" in third.head.lower()
    assert 200 == browser.status  # and is told when to come again
    assert "x" == event.data
    assert 200 == again


async def test_an_address_has_its_streams(clients: Clients) -> None:
    with serve("--streams-per-address", "2", "--anonymous-read", "*", **KEYS) as server:
        for topic in "ab":
            await clients.follow(server, f"/events?topic={topic}")
        refused = await asyncio.to_thread(server.request, "HEAD", "/events?topic=c")

    assert 429 == refused.status


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/events"), ("DELETE", "/events"), ("POST", "/tickets")]
)
def test_posts_are_counted_before_their_credentials(method: str, path: str) -> None:
    with serve("--posts-per-second", "0.5", **KEYS) as server:
        statuses = [
            server.request(method, f"{path}?topic=t", b"x", bearer("rubbish")).status
            for _ in range(8)
        ]
        last = server.request(method, f"{path}?topic=t", b"x", sent() | TEXT)

    assert 401 == statuses[0]
    assert 429 == statuses[-1] == last.status
    assert int(last.headers["retry-after"]) >= 1


def test_opens_are_counted() -> None:
    with serve("--opens-per-second", "0.5", **KEYS) as server:
        statuses = [
            server.request("HEAD", "/events?topic=t", None, sent()).status for _ in range(8)
        ]

    assert (200, 429) == (statuses[0], statuses[-1])


def test_a_bucket_holds_ten_seconds_worth_and_fills_again() -> None:
    now = [0.0]
    quota = Quota(2.0, lambda: now[0])

    taken = [quota.wait("a") for _ in range(21)]

    assert [0.0] * 20 == taken[:20]
    assert 0.5 == pytest.approx(taken[20])
    assert 0.0 == quota.wait("b")
    now[0] = 0.5
    assert [True, False] == [quota.wait("a") == 0.0, quota.wait("a") == 0.0]


def test_buckets_are_bounded_and_none_are_kept_without_a_rate() -> None:
    quota, none = Quota(1.0, lambda: 0.0), Quota(0.0)

    for number in range(KEPT + 5):
        assert 0.0 == quota.wait(str(number))
        assert 0.0 == none.wait(str(number))

    assert (KEPT, 0) == (len(quota._empty), len(none._empty))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_the_name_by_which_an_address_counts(address: str, expected: str) -> None:
    assert expected == network_of(address)


async def test_the_audit_log_tells_who_did_what(
    clients: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve("--log-level", "info", **KEYS) as server:
        await clients.follow(server, "/events?topic=a", line("ann"))

        def ask(method: str, path: str, headers: dict[str, str]) -> Any:
            return server.request(method, path, b"x", headers | TEXT)

        for method, path, headers in [
            ("POST", "/events?topic=b", sent("bob")),
            ("DELETE", "/events?topic=b", sent("bob")),
            ("DELETE", "/streams?subject=ann", sent("root", operator=True)),
            ("POST", "/revocations?subject=ann%22", sent("root", operator=True)),
            ("POST", "/revocations?jti=t1", sent("root", operator=True)),
            ("POST", "/events?topic=b", sent("eve", publish=["c"])),
            ("POST", "/events?topic=b", bearer("not.a.token")),
            ("POST", "/events?topic=b", {}),
        ]:
            await asyncio.to_thread(ask, method, path, headers)
        made = await asyncio.to_thread(ask, "POST", "/tickets?topic=b", sent("bob"))
    written = capsys.readouterr().err

    for expected in (
        'allowed verb=subscribe subject="ann" topics="a" remote="127.0.0.1:',
        'allowed verb=publish subject="bob" topics="b"',
        'allowed verb=end subject="bob" topics="b"',
        'allowed verb=end_streams subject="root" topics="" of_subject="ann" remote="127',
        'allowed verb=revoke subject="root" topics="" of_subject="ann\\"" remote="127',
        'allowed verb=revoke subject="root" topics="" of_jti="t1" remote="127',
        'allowed verb=ticket subject="bob" topics="b"',
        'denied reason=grant subject="eve" path="/events"',
        "denied reason=form",
        "denied reason=anonymous",
    ):
        assert expected in written
    assert made.json["ticket"] not in written
    assert "eyJ" not in written  # as every token begins
