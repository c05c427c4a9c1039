"""One body: where it ends, by the headers of its request and by its messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fastsse.broadcast import Settings
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.web.bodies import Bodies


class _Received:
    """A `receive` that gives these messages and then waits for ever, as for a client that says no more."""

    def __init__(self, *messages: tuple[bytes, bool]) -> None:
        self.left = [{"type": "http.request", "body": b, "more_body": m} for b, m in messages]

    async def __call__(self) -> dict[str, Any]:
        if not self.left:
            await asyncio.Event().wait()
        return self.left.pop(0)


async def _read(received: _Received, **headers: str) -> bytes:
    pairs = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    bodies = Bodies(Settings(), Stats())
    with bodies.reading({"headers": pairs}, received) as body:
        return await asyncio.wait_for(body.read(100), 5)


@pytest.mark.parametrize(
    ("messages", "length"),
    [
        ([], "0"),
        ([(b"abc", True)], "3"),
        ([(b"abc", False)], "3"),
        ([(b"a", True), (b"", True), (b"bc", True)], "3"),
        ([(b"a", True), (b"bc", False)], "3"),
    ],
)
async def test_a_body_that_said_its_length_is_read_no_further(
    messages: list[tuple[bytes, bool]], length: str
) -> None:
    received = _Received(*messages)

    assert b"".join(b for b, _ in messages) == await _read(received, content_length=length)
    assert [] == received.left


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"transfer_encoding": "chunked"},
        # RFC 9112, 6.3: the length is void.
        {"content_length": "3", "transfer_encoding": "chunked"},
        {"content_length": "+3"},
        {"content_length": "3" * 5000},  # more digits than int() takes
        {"content_length": "2"},  # something between has made it longer
    ],
    ids=str,
)
async def test_a_body_whose_length_says_nothing_is_read_to_its_end(headers: dict[str, str]) -> None:
    received = _Received((b"abc", True), (b"de", True), (b"", False))

    assert b"abcde" == await _read(received, **headers)
    assert [] == received.left
