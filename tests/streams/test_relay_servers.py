"""relay between real servers: an upstream under granian, real clients, and a gateway under each server."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.models import STREAMS
from support.neighbours import need
from support.servers import (
    ROOT,
    Clients,
    Connection,
    Server,
    serve_granian,
    serve_hypercorn,
    serve_uvicorn,
    unchunk,
    wait_for,
)

pytestmark = pytest.mark.timeout(120)

EVENTS = 300  # of each stream
SERVERS = [
    pytest.param((serve_granian, ("--loop", "asyncio")), id="granian"),
    pytest.param(
        (serve_granian, ("--loop", "uvloop")), id="granian-uvloop", marks=pytest.mark.long
    ),
    pytest.param((serve_uvicorn, ("--loop", "asyncio")), id="uvicorn", marks=pytest.mark.long),
    pytest.param((serve_hypercorn, ()), id="hypercorn", marks=pytest.mark.long),
]
CLIENTS = ("httpx", "httpx2", "aiohttp", "requests")

# Raw ASGI, nothing of ours: streams in random chunks, errors, and endless streams whose readers are counted.
UPSTREAM = """
import asyncio, json
from random import Random
from support.models import STREAMS, chunked

open_streams = {}
seen = []

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    path = scope["path"]
    seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
    async def start(status=200, kind="text/event-stream", *more):
        headers = [(b"content-type", kind.encode()), (b"x-request-id", b"7"), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
    async def body(chunk, more=True):
        await send({"type": "http.response.body", "body": chunk, "more_body": more})
    async def gone():
        while (await receive())["type"] != "http.disconnect":
            pass
    name = path[1:]
    if path in ("/health", "/state"):
        await start(200, "application/json")
        await body(json.dumps({"open": open_streams, "seen": seen[-2:]}).encode(), False)
    elif name in STREAMS:
        await start()
        for chunk in chunked(STREAMS[name](Random(1), EVENTS), Random(2), 500):
            await body(chunk)
        await body(b"", False)
    elif path == "/busy":
        await start(429, "application/json", (b"retry-after", b"2"))
        await body(b'{"error": {"message": "slow down"}}', False)
    elif path == "/broken":
        await start()
        await body(b"data: a\\n\\ndata: b")
        await asyncio.sleep(0.2)
        raise KeyError("broken on purpose")
    else:  # /endless...: one event, half of another one, and silence
        open_streams[path] = open_streams.get(path, 0) + 1
        try:
            await start()
            await body(b"data: a\\n\\ndata: b\\n")
            await gone()
        finally:
            open_streams[path] -= 1
""".replace("EVENTS", str(EVENTS))

GATEWAY = """
import os
from fastsse import relay, relay_headers

URL = os.environ["UPSTREAM"]
clients = {}

def client(name):
    if name not in clients:
        if name == "aiohttp":
            import aiohttp
            clients[name] = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=20)
            )
        elif name == "requests":
            import requests
            clients[name] = requests.Session()
        else:
            module = __import__(name)
            clients[name] = module.AsyncClient(timeout=module.Timeout(20))
    return clients[name]

def upstream(name, url, headers):
    if name == "aiohttp":
        return client(name).get(url, headers=headers)
    if name == "requests":
        return client(name).get(url, headers=headers, stream=True)
    return client(name).stream("GET", url, headers=headers)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    if scope["path"] == "/health":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    _, name, path = scope["path"].split("/")
    url = "http://127.0.0.1:1/" if path == "nowhere" else URL + "/" + path
    answer = relay(upstream(name, url, relay_headers(scope)), heartbeat=0.2)
    await answer(scope, receive, send)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relayed")
    (folder / "upstream.py").write_text(UPSTREAM)
    (folder / "gateway.py").write_text(GATEWAY)
    return folder


@pytest.fixture(scope="module")
def upstream(folder: Path) -> Iterator[Server]:
    pytest.importorskip("granian")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(folder)])
    with serve_granian("--log-level", "critical", app="upstream:app", PYTHONPATH=path) as server:
        yield server


@pytest.fixture(scope="module", params=SERVERS)
def gateway(request: pytest.FixtureRequest, folder: Path, upstream: Server) -> Iterator[Server]:
    serve, flags = request.param
    pytest.importorskip(serve.__name__.removeprefix("serve_"))
    path = os.pathsep.join([str(ROOT), str(folder)])
    with serve(*flags, app="gateway:app", PYTHONPATH=path, UPSTREAM=upstream.url) as server:
        yield server


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """Name a client; skip where it is not installed."""
    need(request.param)
    return str(request.param)


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    await clients.close()


async def get(clients: Clients, server: Server, path: str, *headers: str) -> Connection:
    connection = await clients.connect(server, "\r\n".join([f"GET {path} HTTP/1.1", *headers]))
    await connection.start()
    return connection


async def eventually(happened: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_for, happened)


def none_open(upstream: Server, path: str) -> bool:
    """Return True when the upstream has no open stream of this path."""
    return bool(upstream.request("GET", "/state").json["open"][path] == 0)


async def test_streams_arrive_byte_for_byte(gateway: Server, clients: Clients, client: str) -> None:
    for name, make in STREAMS.items():
        whole = make(Random(1), EVENTS)

        connection = await get(clients, gateway, f"/{client}/{name}", "Connection: close")
        body, complete = unchunk(await connection.to_the_end())

        assert (200, True) == (connection.status, complete), name
        assert hashlib.sha256(whole).digest() == hashlib.sha256(body).digest(), name
        assert b"x-request-id: 7\r\n" in connection.head.lower()


async def test_another_answer_is_passed_on(gateway: Server, client: str) -> None:
    reply = await asyncio.to_thread(gateway.request, "GET", f"/{client}/busy")

    assert (429, {"error": {"message": "slow down"}}) == (reply.status, reply.json)
    assert ("application/json", "2") == (
        reply.headers["content-type"],
        reply.headers["retry-after"],
    )


async def test_an_upstream_that_cannot_be_reached_is_a_bad_gateway(
    gateway: Server, client: str
) -> None:
    if client == "requests":
        pytest.skip("requests connects when it is called, before the relay is made")

    reply = await asyncio.to_thread(gateway.request, "GET", f"/{client}/nowhere")

    assert (502, 502) == (reply.status, reply.json["status"])


async def test_heartbeats_stand_between_blocks_and_a_reader_that_leaves_closes_the_upstream(
    gateway: Server, upstream: Server, clients: Clients, client: str
) -> None:
    connection = await get(clients, gateway, f"/{client}/endless-{client}", "Last-Event-ID: 41")

    assert [b"data: a\n\n", b":\n\n", b":\n\n"] == [await connection.chunk() for _ in range(3)]
    state = (await asyncio.to_thread(upstream.request, "GET", "/state")).json
    assert state["open"][f"/endless-{client}"] >= 1
    assert ("41", "identity") == (
        state["seen"][0]["last-event-id"],
        state["seen"][0]["accept-encoding"],
    )
    await connection.close()
    if client != "requests":  # its thread reads on, and closes at the next chunk
        await eventually(lambda: none_open(upstream, f"/endless-{client}"))


async def test_an_upstream_that_breaks_leaves_the_body_without_its_end(
    gateway: Server, clients: Clients, client: str
) -> None:
    connection = await get(clients, gateway, f"/{client}/broken", "Connection: close")

    body, complete = unchunk(await connection.to_the_end())

    assert b"data: a\n\n" == body.replace(b":\n\n", b"")
    assert not complete


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="no POSIX signals")
async def test_a_server_that_ends_ends_its_relays(
    folder: Path, upstream: Server, clients: Clients, client: Any
) -> None:
    if client == "requests":
        pytest.skip("its thread blocks in a read")
    path = os.pathsep.join([str(ROOT), str(folder)])
    with serve_uvicorn(app="gateway:app", PYTHONPATH=path, UPSTREAM=upstream.url) as gateway:
        connection = await get(clients, gateway, f"/{client}/endless-last-{client}")
        await connection.chunk()
        gateway.process.terminate()
        rest, complete = unchunk(await connection.to_the_end())

        assert (b"", True) == (rest.replace(b":\n\n", b""), complete)
        await eventually(lambda: none_open(upstream, f"/endless-last-{client}"))
