"""Compare the cost of a token in the recipes with the framework's own way: ``python -m benchmarks.response.recipes``.

One server, uvicorn, has two endpoints for each recipe: ours, and the response that the documents of the framework or of
the protocol show. Both yield one token in each turn of the event loop, so that each token is a message of its own. The
table has the CPU time of the server's process for a token, system time included, the least of the rounds; the endpoints
take turns in one run. `floor` is an ASGI application that waits and sends bytes made before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from http.client import HTTPConnection
from typing import Any

TOKENS = 5000
ROUNDS = 5
PORT = 8127
WORD = "token "

Stream = Callable[[], Any]  # makes a response


async def _each(item: Any) -> AsyncIterator[Any]:
    """Yield an item `TOKENS` times, one in each turn of the loop."""
    for _ in range(TOKENS):
        await asyncio.sleep(0)
        yield item


def endpoints() -> dict[str, tuple[Stream, Stream]]:
    """Return ours and theirs for each recipe."""
    from ag_ui.core import TextMessageContentEvent
    from ag_ui.encoder import EventEncoder
    from datastar_py import ServerSentEventGenerator as Datastar
    from datastar_py.starlette import DatastarResponse
    from langchain_core.messages import AIMessageChunk
    from starlette.responses import StreamingResponse

    from fastsse import Block, EventSourceResponse

    kind = "text/event-stream"
    part = {"type": "text-delta", "id": "t1", "delta": WORD}
    event = TextMessageContentEvent(message_id="m1", delta=WORD)
    chunk = AIMessageChunk(WORD)
    encoder = EventEncoder()

    async def written(item: Any, write: Callable[[Any], Any]) -> AsyncIterator[Any]:
        async for it in _each(item):
            yield write(it)

    def streaming(item: Any, write: Callable[[Any], Any]) -> Any:
        return StreamingResponse(written(item, write), media_type=kind)

    def patch(html: str) -> Any:
        return Datastar.patch_elements(html)

    html = f'<p id="a">{WORD}</p>'
    return {
        "LangChain": (
            lambda: EventSourceResponse(_each(chunk), json=True),
            lambda: streaming(chunk, lambda it: f"data: {it.model_dump_json()}\n\n"),
        ),
        "Vercel": (
            lambda: EventSourceResponse(_each(part), json=True),
            lambda: streaming(part, lambda it: f"data: {json.dumps(it)}\n\n"),
        ),
        "AG-UI": (
            lambda: EventSourceResponse(_each(event), json=True),
            lambda: streaming(event, encoder.encode),
        ),
        "Datastar": (
            lambda: EventSourceResponse(written(html, lambda it: Block(patch(it).encode()))),
            lambda: DatastarResponse(written(html, patch)),
        ),
    }


async def floor(_scope: Any, _receive: Any, send: Any) -> None:
    """Wait and send bytes made before."""
    body = b"data: " + json.dumps(WORD).encode() + b"\n\n"
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(TOKENS):
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def create() -> Any:
    """Make the application that is measured."""
    found = {
        f"/{name}/{whose}": stream
        for name, pair in endpoints().items()
        for whose, stream in zip(("ours", "theirs"), pair, strict=True)
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        make = found.get(scope["path"])
        await (floor if make is None else make())(scope, receive, send)

    return app


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.response.recipes", description=__doc__
    )
    parser.add_argument("--port", type=int, default=PORT, help="the server's port (%(default)s)")
    given = parser.parse_args(arguments)
    names = list(endpoints())
    paths = ["/floor", *(f"/{name}/{whose}" for name in names for whose in ("ours", "theirs"))]
    command = [
        "uvicorn",
        "--factory",
        "benchmarks.response.recipes:create",
        "--port",
        str(given.port),
    ]
    server = subprocess.Popen([sys.executable, "-m", *command, "--log-level", "error"])
    try:
        least = dict.fromkeys(paths, float("inf"))
        wait_for_server(given.port, "/floor")
        for _ in range(ROUNDS):
            for path in paths:
                least[path] = min(least[path], measure(server.pid, given.port, path))
    finally:
        server.terminate()
        server.wait()
    _print(names, {path: seconds / TOKENS * 1e6 for path, seconds in least.items()})


def wait_for_server(port: int, path: str) -> None:
    """Read a stream as soon as the server answers."""
    for _ in range(200):
        try:
            _read(port, path)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server does not answer")


def measure(pid: int, port: int, path: str) -> float:
    """Return the CPU seconds of the server for one stream."""
    before = _spent(pid)
    _read(port, path)
    return _spent(pid) - before


def _read(port: int, path: str) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    assert body.count(b"data: ") == TOKENS, (path, body[-200:])


def _spent(pid: int) -> float:
    """Return the nanoseconds that the threads of a process have run, as Linux's scheduler counts them, in seconds."""
    tasks = f"/proc/{pid}/task"
    total = 0
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/schedstat") as lines:
            total += int(lines.read().split()[0])
    return total / 1e9


def _print(names: list[str], micros: dict[str, float]) -> None:
    print(f"CPU of a token, µs; floor {micros['/floor']:.1f}")
    print(f"{'recipe':12}{'fastsse':>10}{'theirs':>10}{'ratio':>8}")
    for name in names:
        ours, theirs = micros[f"/{name}/ours"], micros[f"/{name}/theirs"]
        print(f"{name:12}{ours:10.1f}{theirs:10.1f}{ours / theirs:8.2f}")


if __name__ == "__main__":
    main()
