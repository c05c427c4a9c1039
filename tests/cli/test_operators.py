"""The operators' port of `serve`: all numbers there without a token, and none where readers are served."""

from __future__ import annotations

import http.client
import socket
from typing import Any

import pytest
from support.commands import Command
from support.servers import DEADLINE, Server, free_port, serve, wait_for
from support.tokens import SECRET, bearer, claims, sign

pytest.importorskip("granian")

KEYS = {"FASTSSE_KEYS": f"secret:{SECRET}"}


def ask(port: int, target: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Send one request to a port of the loopback; return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def send(port: int, request: bytes) -> bytes:
    """Send bytes, and return all that comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def test_the_numbers_are_told_at_the_operators_port_alone() -> None:
    port = free_port()
    operator = bearer(sign(claims(aud=None, fastsse={"operator": True})))
    with serve("--operator-port", str(port), **KEYS) as server:
        here = {
            path: server.request("GET", path, None, operator) for path in ("/metrics", "/health")
        }
        refused = server.request("GET", "/health", None, bearer("a.b.c"))
        unasked = server.request("GET", "/health")
        health, metrics = ask(port, "/health"), ask(port, "/metrics")
        head = send(port, b"HEAD /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        others = {
            "a name of elsewhere": ask(port, "/metrics", Host="evil.example")[0],
            "a page of elsewhere": ask(port, "/metrics", "POST", Origin="http://evil.example")[0],
            "a post": ask(port, "/metrics", "POST")[0],
            "a stream": ask(port, "/events?topic=a")[0],
            "the page": ask(port, "/")[0],
            "a query": ask(port, "/health?x=1")[0],
        }  # fmt: skip

    assert 404 == here["/metrics"].status
    assert {"status": "ok"} == here["/health"].json
    assert 401 == refused.status  # the page asks here if a token is good
    assert (200, 'Bearer realm="fastsse"') == (unasked.status, unasked.headers["www-authenticate"])
    assert (200, 200) == (health[0], metrics[0])
    assert b'"streams"' in health[1]
    assert b"fastsse_streams " in metrics[1]
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    assert [421, 403, 405, 404, 404, 200] == list(others.values()), others


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /health\r\n\r\n", 400),
        (b"GET /health HTTP/2\r\n\r\n", 400),
        (b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\xff\xfe\x00 / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"G" * 20_000, 431),
    ],
)
def test_odd_requests_are_refused(
    operated: tuple[Server, int], request_: bytes, status: int
) -> None:
    assert b"%d" % status == send(operated[1], request_).split()[1]
    assert 200 == ask(operated[1], "/health")[0]


@pytest.fixture(scope="module")
def operated() -> Any:
    port = free_port()
    with serve("--operator-port", str(port)) as server:
        yield server, port


def test_connections_that_say_nothing_are_bounded(operated: tuple[Server, int]) -> None:
    silent = [socket.create_connection(("127.0.0.1", operated[1]), DEADLINE) for _ in range(80)]
    try:
        # The first 64 have five seconds; those beyond are closed at once, and so make no place for others.
        assert b"" == silent[-1].recv(1)
        wait_for(lambda: silent[0].recv(1) == b"")
        wait_for(lambda: ask(operated[1], "/health")[0] == 200)
    finally:
        for connection in silent:
            connection.close()


def test_a_port_in_use_is_refused_at_the_start(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        done = command("serve", "--port", "0", "--operator-port", port)

    assert 1 == done.code
    assert f"--operator-port: {port} on 127.0.0.1: is in use" in done.err


def test_there_must_be_a_port_for_each_worker(command: Command) -> None:
    flags = ("--workers", "2", "--store", "redis://127.0.0.1:1/")

    done = command("serve", "--port", "0", *flags, "--operator-port", "65535")

    assert 1 == done.code
    assert "2 workers need as many ports" in done.err or "redis" in done.err
