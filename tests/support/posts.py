"""POSTs for tests: bodies of every kind, bodies that come piece by piece, and the events that come of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastsse.broadcast import Hub, Settings, Store
from fastsse.broadcast.app import Broadcast, create_app
from fastsse.testing import Answer, Stream, fetch, lifespan, open_stream

__all__ = [
    "BOUNDARY",
    "FORM",
    "MULTIPART",
    "STREAM",
    "Pipe",
    "all_of",
    "broadcast",
    "following",
    "multipart",
    "pieces",
    "post",
    "posting",
]

FORM = "application/x-www-form-urlencoded"
STREAM = "text/event-stream"
BOUNDARY = "----b"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


@asynccontextmanager
async def broadcast(store: Store | None = None, **knobs: Any) -> AsyncIterator[Broadcast]:
    """Run an app whose streams send nothing by a clock; over a memory store when `store` is None."""
    app = create_app(hub=Hub(Settings(heartbeat=0.0, lifetime=0.0, **knobs), store))
    async with lifespan(app):
        yield app


async def post(
    app: Broadcast, body: Any = b"", kind: str | None = FORM, query: Any = "", **more: str
) -> Answer:
    """Post a body and return the answer; `more` are headers, with underscores for hyphens."""
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if kind is not None:
        headers["content-type"] = kind
    if isinstance(body, bytes):
        headers.setdefault("content-length", str(len(body)))
    return await fetch(app, "/events", query, headers, "POST", body=body)


@asynccontextmanager
async def posting(app: Broadcast, body: Any, query: Any = "topic=a") -> AsyncIterator[Stream]:
    """Post an event stream that is under way while the block runs."""
    headers = {"content-type": STREAM, "transfer-encoding": "chunked"}
    async with open_stream(app, "/events", query, headers, "POST", body=body, wait=False) as stream:
        yield stream


@asynccontextmanager
async def following(app: Broadcast, *topics: str) -> AsyncIterator[Stream]:
    """Follow topics, from the opening block on."""
    async with open_stream(app, "/events", {"topic": topics}) as stream:
        await stream.block()
        yield stream


async def all_of(app: Broadcast, *topics: str) -> list[tuple[str, str]]:
    """Return the types and data of all that was published to these topics."""
    query = {"topic": topics, "last_event_id": "earliest"}
    async with open_stream(app, "/events", query) as stream:
        return [(event.event, event.data) for event in await stream.events(app.hub.stats.published)]


def multipart(*parts: tuple[str, bytes], end: str = "--") -> bytes:
    """Write a multipart form: of each part the rest of its disposition, and its content."""
    body = b""
    for head, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}{end}\r\n".encode()


class Pipe:
    """A body that comes piece by piece, as the test gives the pieces."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()

    def give(self, *pieces: bytes) -> None:
        """Send these pieces, each as one chunk."""
        for piece in pieces:
            self._pieces.put_nowait(piece)

    def end(self) -> None:
        """End the body."""
        self._pieces.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece


async def pieces(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Make a body of these chunks."""
    for chunk in chunks:
        yield chunk
