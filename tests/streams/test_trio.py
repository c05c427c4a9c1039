"""Under trio: which functions work, and how those that need asyncio say so. Real trio, also under hypercorn."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.neighbours import need
from support.servers import ROOT, serve_hypercorn

from fastsse import EventSourceResponse, aiter_blocks, aiter_events, aiter_json, in_thread

PATH = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
NEEDS = "needs asyncio, and no loop of asyncio is running here. Under trio these work: the codec,"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def items() -> AsyncIterator[Any]:
    yield {"n": 1}


def run(function: Any) -> Any:
    return need("trio").run(function)


def test_events_json_and_blocks_without_heartbeats_work() -> None:
    async def main() -> list[Any]:
        trio = need("trio")
        await trio.sleep(0)
        events = [event.data async for event in aiter_events(chunks(b"data: a", b"\n\n"))]
        parsed = [found async for found in aiter_json(chunks(b'data: {"b":1}\n\n'))]
        blocks = [block async for block in aiter_blocks(items(), heartbeat=None, json=True)]
        return [events, parsed, blocks]

    assert [["a"], [{"b": 1}], [b'data: {"n":1}\n\n']] == run(main)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("aiter_blocks with heartbeats", lambda: aiter_blocks(items(), json=True)),
        ("in_thread", lambda: in_thread(iter([1]))),
    ],
)
def test_iterators_that_need_asyncio_say_so(name: str, make: Any) -> None:
    async def main() -> None:
        async for _ in make():
            pass

    with pytest.raises(RuntimeError, match=f"{name} {NEEDS}"):
        run(main)


def test_a_response_says_that_it_needs_asyncio() -> None:
    async def main() -> None:
        scope = {"type": "http", "method": "GET", "headers": []}
        await EventSourceResponse(items(), json=True)(scope, receive, send)

    async def receive() -> Any:
        raise AssertionError

    async def send(_message: Any) -> None:
        raise AssertionError

    with pytest.raises(RuntimeError, match=f"EventSourceResponse {NEEDS}"):
        run(main)


def test_a_hub_says_that_it_needs_asyncio() -> None:
    from fastsse.broadcast import Hub

    with pytest.raises(RuntimeError, match=f"a hub {NEEDS}"):
        run(Hub().start)


def test_anyio_over_trio_says_the_same() -> None:
    anyio = need("anyio", "trio")

    async def main() -> None:
        async for _ in aiter_blocks(items(), json=True):
            pass

    with pytest.raises(RuntimeError, match=NEEDS):
        anyio.run(main, backend="trio")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answer with a response that needs asyncio, or with what it says; the target of hypercorn."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    status, said = 200, ""
    try:
        if scope["path"] != "/health":
            await EventSourceResponse(items(), json=True)(scope, receive, send)
    except RuntimeError as error:
        status, said = 501, str(error)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": said.encode()})


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def test_hypercorn_with_trio_gets_the_same_words() -> None:
    need("trio")

    with serve_hypercorn(
        "--worker-class", "trio", app="streams.test_trio:application", PYTHONPATH=PATH
    ) as server:
        reply = server.request("GET", "/")

    assert 501 == reply.status
    assert f"EventSourceResponse {NEEDS}".encode() in reply.body
