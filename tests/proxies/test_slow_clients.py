"""Slow heads, slow bodies and many requests of one address, which nginx keeps from the hub by docs/proxies.md."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from proxies.documented import PROXIES, absent, blocks, find, run
from support.servers import DEADLINE, Server, free_port, serve

pytest.importorskip("granian")

NGINX = PROXIES[0]
SHORT = 1  # s, in place of the page's, so that the test is short
PLACES = 3


@pytest.fixture(scope="module")
def front() -> Iterator[Server]:
    """Run nginx with the lines of the page, its times and numbers made small."""
    if find(NGINX) is None:
        absent(f"no {NGINX.program} here; {NGINX.install}")
    [zone, lines] = blocks("Slow clients, and many of one address")
    for old, new in (
        (" 10s;", f" {SHORT}s;"),
        ("limit_conn clients 50;", f"limit_conn clients {PLACES};"),
    ):
        assert old in lines
        lines = lines.replace(old, new)
    site = blocks("nginx")[0].replace("    listen 80;", f"    listen 80;\n{lines}")
    nginx = NGINX._replace(recipe=lambda _, *place: NGINX.recipe([zone + site], *place))
    with serve("--hosts", "hub.example", "--body-seconds", "60") as hub:
        with run(nginx, free_port(), hub) as running:
            yield running


def opened(front: Server, source: str, sent: bytes) -> socket.socket:
    connection = socket.create_connection((front.host, front.port), DEADLINE, (source, 0))
    connection.sendall(sent)
    return connection


def told(connection: socket.socket) -> bytes:
    """Read all that comes until nginx closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health HT",
        b"GET /health HTTP/1.1\r\nHost: hub.example\r\nX: ",
        b"POST /events?topic=a HTTP/1.1\r\nHost: hub.example\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 100\r\n\r\nx",
    ],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_a_slow_request_is_ended_by_nginx(front: Server, sent: bytes) -> None:
    with opened(front, "127.0.9.1", sent) as connection:
        said = told(connection)  # which ends, or the socket's own time-out is the failure

    assert b"" == said or b" 408 " in said.splitlines()[0]


def test_one_address_has_so_many_requests_and_another_its_own(front: Server) -> None:
    stream = (
        b"GET /events?topic=a HTTP/1.1\r\nHost: hub.example\r\nAccept: text/event-stream\r\n\r\n"
    )
    with contextlib.ExitStack() as stack:
        mine = [stack.enter_context(opened(front, "127.0.9.2", stream)) for _ in range(PLACES)]
        assert [b"HTTP/1.1 200"] * PLACES == [connection.recv(12) for connection in mine]

        more = stack.enter_context(opened(front, "127.0.9.2", stream))
        other = stack.enter_context(opened(front, "127.0.9.3", stream))

        assert b"HTTP/1.1 429" == more.recv(12)
        assert b"HTTP/1.1 200" == other.recv(12)
