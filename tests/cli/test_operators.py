"""The operators' port of `serve`: all numbers there without a token, and none where readers are served."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.cluster import Hub
from support.commands import Command
from support.engines import Redis, need_engine, shared
from support.servers import DEADLINE, Clients, Server, free_port, serve, wait_for
from support.tokens import SECRET, bearer, claims, sign

pytest.importorskip("granian")

KEYS = {"FASTSSE_KEYS": f"secret:{SECRET}"}
FOLLOWED = re.compile(r"fastsse_streams \d")


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


# Workers over one store: the numbers are those of a worker, so each has a port of its own.


def free_ports(count: int) -> int:
    """Find free ports that follow each other; return the first."""
    while True:
        first = free_port()
        try:
            for number in range(first, first + count):
                socket.create_server(("127.0.0.1", number)).close()
        except OSError:
            continue
        return first


@contextmanager
def operated_hub(workers: int) -> Iterator[tuple[Hub, list[int]]]:
    """Run workers over one store; yield the server and the ports for its operators."""
    need_engine(Redis)
    first = free_ports(workers)
    flags = ("--heartbeat", "0", "--lifetime", "0", "--operator-port", str(first))
    hub = Hub(shared(Redis).url(f"operators{workers}"), workers, *flags)
    try:
        hub.start()
        hub.wait()
        yield hub, list(range(first, first + workers))
    finally:
        hub.close()


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Hub, list[int]]]:
    with operated_hub(2) as found:
        yield found


def server(hub: Hub) -> Server:
    assert hub._process is not None
    return Server(hub._process, hub.port)


def all_answer(ports: list[int]) -> bool:
    """Return True when operators are told the numbers at each port."""
    try:
        return [200] * len(ports) == [ask(port, "/health")[0] for port in ports]
    except OSError:
        return False


async def test_each_worker_tells_its_numbers_at_a_port_of_its_own(
    two: tuple[Hub, list[int]], clients: Clients
) -> None:
    hub, ports = two
    for _ in range(12):
        await clients.follow(server(hub), "/events?topic=operators")

    streams = [json.loads(ask(port, "/health")[1])["streams"] for port in ports]
    metrics = [ask(port, "/metrics")[1].decode().splitlines() for port in ports]
    told = [float(line.split()[1]) for text in metrics for line in text if FOLLOWED.match(line)]

    assert 12 == sum(streams)
    assert streams == told
    assert 404 == server(hub).request("GET", "/metrics").status
    assert {"status": "ok"} == server(hub).request("GET", "/health").json
    for port in ports:
        assert f"for operators: http://127.0.0.1:{port}/metrics" in hub.said()


def test_a_worker_in_the_place_of_another_one_takes_its_port(two: tuple[Hub, list[int]]) -> None:
    hub, ports = two
    before, said = hub.workers, hub.said().count("for operators")

    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: hub.said().count("for operators") == said + 1)

    wait_for(lambda: all_answer(ports))
    assert 2 == len(hub.workers)
    assert before[1] in hub.workers


def test_after_a_restart_the_workers_have_the_same_ports(two: tuple[Hub, list[int]]) -> None:
    hub, ports = two
    before, said = hub.workers, hub.said().count("for operators")

    server(hub).signal(signal.SIGHUP)
    wait_for(lambda: hub.said().count("for operators") == said + 2)

    wait_for(lambda: all_answer(ports))
    assert not set(before) & set(hub.workers)


def test_the_ports_end_with_the_server(two: tuple[Hub, list[int]]) -> None:
    hub, ports = two

    assert 0 == hub.stop()

    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            ask(port, "/health")


def test_one_worker_of_a_shared_store_has_the_first_port() -> None:
    with operated_hub(1) as (hub, ports):
        assert 200 == ask(ports[0], "/health")[0]
        assert 404 == server(hub).request("GET", "/metrics").status
