"""Streams end whole where a server stops without a signal, by the recipes of docs/servers.md, as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.servers import ROOT, Clients, Server, _serve_by, serve_gunicorn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs a POSIX system")

MYAPP = """
import asyncio, json, os
from fastsse import EventSourceResponse

async def items():
    yield "a"
    await asyncio.Event().wait()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return
    if scope["path"] == "/events":
        return await EventSourceResponse(items(), last="bye")(scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


def recipe(name: str) -> str:
    """Take the code of docs/servers.md whose first line names this file."""
    text = (ROOT / "docs" / "servers.md").read_text("utf-8")
    found = re.search(rf"```python\n(# {re.escape(name)}.*?)```", text, re.DOTALL)
    assert found is not None, name
    return found[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "myapp.py").write_text(MYAPP)
    return tmp_path


def path_of(folder: Path) -> str:
    return f"{ROOT}{os.pathsep}{folder}"


async def ended_by_requests(server: Server, limit: int) -> bytes:
    """Open a stream, let others make so many requests, and return what the stream got."""
    clients = Clients()
    stream = await clients.follow(server, "/events")
    for _ in range(limit):
        await asyncio.to_thread(server.request, "GET", "/health")
    body = await stream.to_the_end()
    await clients.close()
    return body


async def test_uvicorn_ends_streams_at_its_limit_of_requests(folder: Path) -> None:
    """From: dramaclaw/dramaclaw PR 578"""
    pytest.importorskip("uvicorn")
    code = recipe("serve.py").replace("limit_max_requests=10_000", "limit_max_requests=8")
    code = code.replace('"myapp:app"', '"myapp:app", port=int(__import__("sys").argv[2])')
    (folder / "serve.py").write_text(code)
    command = [sys.executable, str(folder / "serve.py")]

    with _serve_by(command, {"PYTHONPATH": path_of(folder)}) as server:
        body = await ended_by_requests(server, 7)
        await asyncio.to_thread(server.wait)

    assert body.endswith(b"data: bye\n\n\r\n0\r\n\r\n")


async def test_gunicorn_ends_streams_when_it_recycles_a_worker(folder: Path) -> None:
    """From: dramaclaw/dramaclaw PR 578"""
    pytest.importorskip("gunicorn")
    pytest.importorskip("uvicorn_worker")
    (folder / "worker.py").write_text(recipe("worker.py"))
    flags = ("--worker-class", "worker.Worker", "--max-requests", "8")

    with serve_gunicorn(*flags, app="myapp:app", PYTHONPATH=path_of(folder)) as server:
        before = server.request("GET", "/health").body
        body = await ended_by_requests(server, 6)
        after = await asyncio.to_thread(answer_of_another, server, before)

    assert body.endswith(b"data: bye\n\n\r\n0\r\n\r\n")
    assert before != after


def answer_of_another(server: Server, before: bytes) -> bytes:
    """Ask until the next worker answers; the one before may still be there for a moment, and then nobody."""
    end = time.monotonic() + 20
    after = before
    while after == before and time.monotonic() < end:
        try:
            after = server.request("GET", "/health").body
        except OSError:
            time.sleep(0.02)
    return after


def test_a_server_in_a_thread_ends_its_streams(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From: dramaclaw/dramaclaw PR 578"""
    pytest.importorskip("uvicorn")
    from support.servers import free_port, wait_for

    monkeypatch.syspath_prepend(str(folder))
    port = free_port()
    # Of WebSockets old versions of uvicorn warn, in the thread, where a warning is an error.
    config = f'port={port}, ws="none"'
    begin, end = recipe("test_myapp.py").replace("port=8000", config).split("...\n")
    space: dict[str, Any] = {}
    bodies: list[bytes] = []

    exec(begin, space)
    wait_for(lambda: bool(space["server"].started))
    server: Any = Server(None, port)  # type: ignore[arg-type]
    reader = threading.Thread(target=lambda: bodies.append(server.request("GET", "/events").body))
    reader.start()
    wait_for(lambda: bool(space["server"].server_state.tasks))
    exec(end, space)
    reader.join(20)
    sys.modules.pop("myapp", None)

    assert bodies == [b":\n\ndata: a\n\ndata: bye\n\n"]


def test_a_test_client_can_end_its_streams() -> None:
    """From: dramaclaw/dramaclaw PR 578"""
    testclient = pytest.importorskip("starlette.testclient")
    from fastsse import EventSourceResponse, end_streams

    opened = threading.Event()

    async def items() -> Any:
        yield "a"
        opened.set()
        await asyncio.Event().wait()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await EventSourceResponse(items())(scope, receive, send)
            return
        while True:
            step = (await receive())["type"]
            await send({"type": step + ".complete"})
            if step == "lifespan.shutdown":
                return

    with testclient.TestClient(app) as client:
        bodies: list[bytes] = []
        for _ in range(2):
            opened.clear()
            request = threading.Thread(target=lambda: bodies.append(client.get("/").content))
            request.start()
            assert opened.wait(20)
            client.portal.call(end_streams)
            request.join(20)

    assert [b":\n\ndata: a\n\n"] * 2 == bodies
