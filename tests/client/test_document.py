"""The page about the client: each block runs, in order, against a server that answers by the path."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.blocks import code_blocks
from support.misbehaving import Misbehaving, answer, head, send, silence, stream
from support.neighbours import need

from fastsse.client import EventSource

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
BLOCKS = [block for block in code_blocks(PAGE) if block.language == "python"]
BODY = b"retry: 5\nid: 42\ndata: one\n\n: comment\n\nid: 43\ndata: two\n\n"
METRICS = b'retry: 5\nid: 42\nevent: metric\ndata: {"name": "load", "value": 1}\n\nevent: note\ndata: hi\n\n'


@pytest.fixture(scope="module")
def server() -> Iterator[Misbehaving]:
    """Answer the first request for a path with a stream, and the one after it with 204."""

    def serve(sock: socket.socket) -> None:
        asked = running.requests[-1]
        path = asked.target.partition("?")[0]
        came_again = asked.headers.get("last-event-id", "41") != "41"
        if path == "/missing":
            send(answer(404, body=b"no such stream"))(sock)
        elif path == "/quiet":
            send(head())(sock)
            silence()(sock)
        elif came_again and path != "/chat":
            send(answer(204))(sock)
        elif path == "/private" and asked.headers["authorization"] != "Bearer new":
            send(answer(401))(sock)
        else:
            stream(METRICS if path == "/metrics" else BODY)(sock)

    with Misbehaving([serve]) as running:
        yield running


def test_the_blocks_run_in_order(server: Misbehaving, capsys: pytest.CaptureFixture[str]) -> None:
    """Run all blocks in one namespace, as a reader who follows the page has."""
    need("httpx2")
    names: dict[str, Any] = {}
    for block in BLOCKS:
        try:
            run_block(block, server, names, capsys)
        except Exception as error:
            error.add_note(f"in the block of line {block.line}")
            raise
    check_requests(server)


def run_block(
    block: Any, server: Misbehaving, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(server.requests)
    text = block.text.replace("https://example.com", server.url.removesuffix("/events"))
    # Two attempts at a stream that is missing are three seconds apart.
    text = text.replace("range(2)", "range(1)")

    exec(compile(text, str(PAGE), "exec"), names)
    if "async def follow" in text:
        asyncio.run(names["follow"]())

    shown = capsys.readouterr().out
    assert len(server.requests) > before or "EventSource(" not in text
    if "/events" in text or "/private" in text:
        assert "one" in shown
        assert "two" in shown
    if "/metrics" in text:
        assert "load 1.0" in shown
        assert "hi" in shown
    if "/missing" in text:
        assert "404" in shown


def check_requests(server: Misbehaving) -> None:
    """Check that the page's blocks asked for what the page says."""
    targets = {asked.target for asked in server.requests}
    methods = {(asked.method, asked.target) for asked in server.requests}

    assert {"/events?topic=news&topic=weather", "/private", "/metrics"} <= targets
    assert {("POST", "/jobs"), ("POST", "/chat")} <= methods
    assert [b"skip=0", b"skip=2"] == [it.body for it in server.requests if it.target == "/jobs"]
    assert 1 == sum(asked.target == "/chat" for asked in server.requests)
    tokens = [it.headers["authorization"] for it in server.requests if it.target == "/private"]
    assert ["Bearer old", "Bearer new", "Bearer new"] == tokens


def test_every_option_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")

    assert [] == [name for name in inspect.signature(EventSource).parameters if name not in page]
