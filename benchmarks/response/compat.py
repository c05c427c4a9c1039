"""Compare a token's cost under other libraries' names with the originals: ``python -m benchmarks.response.compat``.

Each library's documented endpoint is served twice, by the original and by the module of `fastsse.compat`: those of
sse-starlette and FastAPI by one uvicorn, those of aiohttp-sse by one aiohttp. Each yields one token in each turn of the
event loop, so that every token is a message of its own. The table has the CPU time of the server's process for a token,
system time included, the least of the rounds; the endpoints take turns in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.response.recipes import ROUNDS, TOKENS, measure, wait_for_server

__all__ = ["create", "main", "serve_aiohttp"]

PORT = 8129
LIBRARIES = {"sse-starlette": "uvicorn", "FastAPI": "uvicorn", "aiohttp-sse": "aiohttp"}
EVENT = {"delta": "token "}


async def _tokens() -> AsyncIterator[dict[str, str]]:
    for _ in range(TOKENS):
        await asyncio.sleep(0)
        yield EVENT


def create() -> Any:
    """Make the application that uvicorn serves."""
    import fastapi.sse
    import sse_starlette
    from fastapi import FastAPI

    import fastsse.compat.fastapi
    import fastsse.compat.sse_starlette as ours

    app = FastAPI()

    def add_starlettes(path: str, library: Any) -> None:
        async def endpoint() -> Any:
            async def events() -> AsyncIterator[Any]:
                async for event in _tokens():
                    yield library.JSONServerSentEvent(event, event="token")

            return library.EventSourceResponse(events())

        app.get(path, response_model=None)(endpoint)

    def add_fastapis(path: str, library: Any) -> None:
        async def endpoint() -> Any:
            async for event in _tokens():
                yield library.ServerSentEvent(data=event, event="token")

        app.get(path, response_class=library.EventSourceResponse)(endpoint)

    add_starlettes("/sse-starlette/ours", ours)
    add_starlettes("/sse-starlette/theirs", sse_starlette)
    add_fastapis("/FastAPI/ours", fastsse.compat.fastapi)
    add_fastapis("/FastAPI/theirs", fastapi.sse)
    return app


def serve_aiohttp(port: int) -> None:
    """Serve the endpoints of aiohttp-sse until the process is stopped."""
    import aiohttp_sse
    from aiohttp import web

    import fastsse.compat.aiohttp_sse

    def endpoint(library: Any) -> Any:
        async def handler(request: web.Request) -> Any:
            async with library.sse_response(request) as response:
                async for event in _tokens():
                    await response.send(event["delta"], event="token")
            return response

        return handler

    app = web.Application()
    app.router.add_get("/aiohttp-sse/ours", endpoint(fastsse.compat.aiohttp_sse))
    app.router.add_get("/aiohttp-sse/theirs", endpoint(aiohttp_sse))
    web.run_app(app, port=port, print=None)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.response.compat", description=__doc__
    )
    parser.add_argument("--port", type=int, default=PORT, help="the first of two (%(default)s)")
    parser.add_argument("--serve-aiohttp", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve_aiohttp:
        serve_aiohttp(given.port)
        return
    factory = ("--factory", "benchmarks.response.compat:create", "--log-level", "error")
    commands = {
        "uvicorn": ("uvicorn", *factory, "--port"),
        "aiohttp": ("benchmarks.response.compat", "--serve-aiohttp", "--port"),
    }
    ports = dict(zip(commands, (given.port, given.port + 1), strict=True))
    servers = {
        name: subprocess.Popen([sys.executable, "-m", *command, str(ports[name])])
        for name, command in commands.items()
    }
    try:
        least = _run({name: (server.pid, ports[name]) for name, server in servers.items()})
    finally:
        for server in servers.values():
            server.terminate()
            server.wait()
    _print(least)


def _run(servers: dict[str, tuple[int, int]]) -> dict[tuple[str, str], float]:
    """Measure every endpoint in turn; return the least seconds of each."""
    cells = [(name, whose) for name in LIBRARIES for whose in ("ours", "theirs")]
    least = dict.fromkeys(cells, float("inf"))
    for name, library in (("uvicorn", "FastAPI"), ("aiohttp", "aiohttp-sse")):
        wait_for_server(servers[name][1], f"/{library}/ours")
    for _ in range(ROUNDS):
        for name, whose in cells:
            pid, port = servers[LIBRARIES[name]]
            seconds = measure(pid, port, f"/{name}/{whose}")
            least[name, whose] = min(least[name, whose], seconds)
    return least


def _print(least: dict[tuple[str, str], float]) -> None:
    print("CPU of a token, µs")
    print(f"{'library':16}{'original':>10}{'compat':>10}{'ratio':>8}")
    for name in LIBRARIES:
        ours, theirs = (least[name, whose] / TOKENS * 1e6 for whose in ("ours", "theirs"))
        print(f"{name:16}{theirs:10.1f}{ours:10.1f}{ours / theirs:8.2f}")


if __name__ == "__main__":
    main()
