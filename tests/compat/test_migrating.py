"""The pages about migration: each block of code runs, and does what the page says."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.blocks import code_blocks, run_block
from support.misbehaving import Misbehaving, answer, send, stream
from support.neighbours import need
from support.servers import ROOT

from fastsse.testing import fetch, open_stream

PAGES = ROOT / "docs" / "migrating"
BODY = b"id: 1\nretry: 1\ndata: one\n\n: comment\n\nid: 2\nevent: note\ndata: two\n\n"
NEEDED = {
    "aiohttp-sse": "aiohttp",
    "aiohttp-sse-client": "aiohttp",
    "httpx-sse": "httpx",
    "requests-sse": "requests",
    "sse-starlette": "starlette",
    "sseclient-py": "requests",
}


@pytest.fixture
def harmless() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


def run(page: str, count: int, origin: str = "https://example.com") -> dict[str, Any]:
    """Run all blocks of a page, one after the other, in one namespace; a server stands for the one of the page."""
    names: dict[str, Any] = {"__name__": "page"}
    blocks = [block for block in code_blocks(PAGES / page) if block.language == "python"]
    assert count == len(blocks)
    for block in blocks:
        run_block(block._replace(text=block.text.replace("https://example.com", origin)), names)
    return names


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    """Answer a request that begins with a stream, and one that resumes with 204."""

    def serve(sock: socket.socket) -> None:
        resumes = running.requests[-1].headers.get("last-event-id") == "2"
        (send(answer(204)) if resumes else stream(BODY))(sock)

    with Misbehaving([serve]) as running:
        yield running


@pytest.mark.usefixtures("harmless")
async def test_the_page_about_sse_starlette_runs() -> None:
    need("starlette")
    names = run("sse-starlette.md", 2)

    async with open_stream(names["app"], "/events") as stream:
        assert b'id: 0\r\nevent: tick\r\ndata: {"tick":0}\r\n\r\n' == await stream.block()
        signal.raise_signal(signal.SIGTERM)
        assert b"event: bye\r\ndata: the server ends\r\n\r\n" == await stream.block()
        await stream.ended()
        assert stream.complete

    answer = await fetch(await names["newer"](None))
    assert b':\n\ndata: {"tick":0}\n\ndata: {"tick":1}\n\ndata: {"tick":2}\n\n' == answer.body


async def test_the_page_about_fastapi_runs() -> None:
    need("fastapi")
    names = run("fastapi.md", 2)

    answer = await fetch(names["app"], "/items")

    assert (
        b'data: {"name":"Plumbus","price":32.99}\n\n'
        b'event: end\ndata: {"done": true}\nid: 1\nretry: 5000\n\n'
    ) == answer.body
    content = names["app"].openapi()["paths"]["/items"]["get"]["responses"]["200"]["content"]
    assert "#/components/schemas/Item" == content["text/event-stream"]["schema"]["$ref"]
    assert 5.0 == names["Quick"]([])._manner.heartbeat


async def test_the_page_about_aiohttp_sse_runs() -> None:
    need("aiohttp")
    from aiohttp.test_utils import TestClient, TestServer

    names = run("aiohttp-sse.md", 1)

    async with TestClient(TestServer(names["app"])) as client:
        async with client.get("/clock", headers={"Last-Event-ID": "7"}) as response:
            async with asyncio.timeout(5):
                first = await response.content.readuntil(b"\r\n\r\n")

    assert b"id: 8\r\nevent: tick\r\ndata: tick 8\r\n\r\n" == first


def test_the_page_about_httpx_sse_runs(server: Misbehaving) -> None:
    need("httpx")
    names = run("httpx-sse.md", 2, server.url.removesuffix("/events"))

    assert ["one", "two"] == names["events"]
    assert ["one", "two"] == names["resumed"]


def test_the_page_about_httpx2_runs(server: Misbehaving) -> None:
    need("httpx2")
    names = run("httpx2.md", 3, server.url.removesuffix("/events"))

    assert [("message", "one", "1", 1), ("note", "two", "2", None)] == names["found"]
    assert "onetwo" == names["answer"]
    assert ["one", "two"] == names["once"]


def test_the_page_about_sseclient_py_runs(server: Misbehaving) -> None:
    need("requests")
    names = run("sseclient-py.md", 2, server.url.removesuffix("/events"))

    assert [("1", "one"), ("2", "two")] == names["events"]
    assert ["one", "two"] == names["resumed"]


def test_the_page_about_requests_sse_runs(server: Misbehaving) -> None:
    need("requests")
    names = run("requests-sse.md", 1, server.url.removesuffix("/events"))

    assert [("message", "one", "1"), ("note", "two", "2")] == names["found"]


async def test_the_page_about_aiohttp_sse_client_runs(server: Misbehaving) -> None:
    need("aiohttp")
    names = run("aiohttp-sse-client.md", 1, server.url.removesuffix("/events"))

    await names["follow"]()

    assert [("message", "one", "1"), ("note", "two", "2")] == names["found"]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_a_page_shows_the_import_that_changes(page: Path) -> None:
    need(NEEDED.get(page.stem, page.stem))
    [change] = [block.text for block in code_blocks(page) if block.language == "diff"]
    removed = [line[1:] for line in change.splitlines() if line.startswith("-")]
    added = [line[1:] for line in change.splitlines() if line.startswith("+")]

    assert [line.partition("import")[2] for line in removed] == [
        line.partition("import")[2] for line in added
    ]
    for line in added:
        exec(line, {})
