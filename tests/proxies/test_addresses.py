"""The client's address behind a real nginx: the one that nginx saw counts, whatever the client has sent."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest
from proxies.documented import PROXIES, absent, find, run
from support.servers import DEADLINE, Server, free_port, serve

pytest.importorskip("granian")

LINE = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
FORWARDED = (
    'set $node "for=$remote_addr";',
    'set $before "";',
    'if ($http_forwarded) { set $before "$http_forwarded, "; }',
    'proxy_set_header Forwarded "$before$node";',
)
NGINX = PROXIES[0]
LIES = [
    {"X-Forwarded-For": "203.0.113.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": "203.0.113.1, 127.0.0.1, rubbish"},
    {"X-Forwarded-For": ","},
]
OTHER_LIES = [
    {"Forwarded": "for=203.0.113.1"},
    {"Forwarded": 'for="203.0.113.1'},
    {"Forwarded": 'for=127.0.0.1;by=", for=_x'},
]


def behind(config: str, *flags: str) -> Iterator[Server]:
    """Run nginx with a configuration in front of a hub that takes one post of each address."""
    if find(NGINX) is None:
        absent(f"no {NGINX.program} here; {NGINX.install}")
    quotas = ("--posts-per-second", "0.001", "--log-level", "info")
    nginx = NGINX._replace(recipe=lambda _, *place: NGINX.recipe([config], *place))
    trusted = ("--trusted-proxies", "127.0.0.1", "--hosts", "hub.example")
    with serve(*trusted, *quotas, *flags) as hub, run(nginx, free_port(), hub) as front:
        yield front


def site(*lines: str) -> str:
    """Write a configuration with more lines for the proxy."""
    own = " ".join(lines)
    return f"server {{ listen 80; location / {{ {own} proxy_pass http://127.0.0.1:8000; }} }}"


def post(front: Server, source: str, headers: dict[str, str]) -> int:
    """Publish from an address of the loopback; return the status."""
    connection = http.client.HTTPConnection(
        front.host, front.port, timeout=DEADLINE, source_address=(source, 0)
    )
    try:
        own = {"Content-Type": "text/plain", "Host": "hub.example"}
        connection.request("POST", "/events?topic=a", b"x", own | headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def by_xff() -> Iterator[Server]:
    yield from behind(site(LINE), "--proxy-header", "x-forwarded-for")


@pytest.fixture(scope="module")
def by_forwarded() -> Iterator[Server]:
    yield from behind(site(*FORWARDED), "--proxy-header", "forwarded")


@pytest.fixture(scope="module")
def by_either() -> Iterator[Server]:
    yield from behind(site(LINE))


def test_each_address_behind_nginx_has_its_own_quota(by_xff: Server) -> None:
    statuses = [
        [post(by_xff, f"127.0.1.{number}", lie) for lie in ({}, *LIES, *OTHER_LIES)]
        for number in (1, 2)
    ]

    assert [[200] + [429] * (len(LIES) + len(OTHER_LIES))] * 2 == statuses


def test_forwarded_as_nginx_writes_it(by_forwarded: Server) -> None:
    lies = [*OTHER_LIES, *LIES]
    statuses = [
        [post(by_forwarded, f"127.0.2.{number}", lie) for lie in ({}, *lies)] for number in (1, 2)
    ]

    assert [[200] + [429] * len(lies)] * 2 == statuses


def test_a_header_that_nginx_does_not_write_wins_no_address(by_either: Server) -> None:
    first = post(by_either, "127.0.3.1", {})
    lies = [post(by_either, "127.0.3.1", lie) for lie in (*OTHER_LIES, *LIES)]

    assert 200 == first
    # Where the headers differ the connection's own address counts, which all such requests share.
    assert 1 >= lies.count(200)
    assert len(lies) - 1 <= lies.count(429)
