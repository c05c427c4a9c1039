"""The server's side of `fastsse.testing`: one request, its `receive`, its `send`, and the rules of ASGI.

The module knows ASGI and what granian's awaitables look like; it must not know clients, tests or applications.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast
from urllib.parse import urlencode

from fastsse.asgi import Message, Scope, Send

__all__ = ["CHANNEL", "GivenHeaders", "Query", "Sends", "Served", "scope_of"]

CHANNEL = 4  # chunks that the server takes for a client that does not read

Query = str | bytes | Mapping[str, str | Sequence[str]]
GivenHeaders = Mapping[str, str] | Iterable[tuple[str, str]]
Sends = Literal["granian", "coroutine", "wrapped"]


class _Done:
    """granian's awaitable of a send that is done: an iterator that ends at once."""

    def __await__(self) -> _Done:
        return self

    def __iter__(self) -> _Done:
        return self

    def __next__(self) -> None:
        raise StopIteration


class _Room(asyncio.Future[None]):
    """granian's awaitable of a pending send: like a future, yields itself, and is no coroutine."""

    def __await__(self) -> _Room:  # type: ignore[override]
        return self

    __iter__ = __await__  # type: ignore[assignment]

    def __next__(self) -> _Room:
        if not self.done():
            self._asyncio_future_blocking = True
            return self
        raise StopIteration(self.result())


_DONE = _Done()


class Served:
    """The server's side of one request: its `receive`, its `send`, and what the client has been sent."""

    def __init__(self, body: bytes | AsyncIterable[bytes], raises: bool) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.disconnected = False
        self._raises = raises  # `send` raises once the client has gone
        self._body = _pieces(body)
        self.received = False  # the request's body was given to the application
        self._gone = asyncio.Event()
        self._fault: AssertionError | None = None  # how the application broke the protocol
        self._stalled = False
        self._chunks: deque[bytes] = deque()  # read by the client, not yet by the test
        self._channel: deque[bytes] = deque()  # sent, and not read by the stalled client
        self._room: _Room | None = None  # the pending send
        self._changed = asyncio.Event()  # something above has moved

    async def receive(self) -> Message:
        """Give the application the next piece of the body, or the news that the client has gone."""
        if not (self.received or self.disconnected):
            piece = asyncio.ensure_future(anext(self._body, None))
            gone = asyncio.ensure_future(self._gone.wait())
            try:
                await asyncio.wait([piece, gone], return_when=asyncio.FIRST_COMPLETED)
                if piece.done():
                    body = piece.result()
                    self.received = body is None
                    more = not self.received
                    return {"type": "http.request", "body": body or b"", "more_body": more}
            finally:
                piece.cancel()
                gone.cancel()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def sender(self, sends: Sends) -> Send:
        """Choose the `send` that the application gets. A wrapped one is no method, so that nobody takes it for ours."""
        if sends == "coroutine":
            return self._send_coroutine
        return partial(self._send_wrapped) if sends == "wrapped" else self._send

    def _send(self, message: Message) -> Any:
        if self.disconnected:
            if self._raises:
                raise OSError("the client has gone")
            return _DONE
        fault = self._fault_of(message)
        if fault is not None:
            self._fault = self._fault or AssertionError(fault)
            raise AssertionError(fault)
        self._take(message)
        if not self._stalled or len(self._channel) <= CHANNEL:
            return _DONE
        self._room = _Room(loop=asyncio.get_running_loop())
        return self._room

    async def _send_coroutine(self, message: Message) -> None:
        await self._send(message)

    async def _send_wrapped(self, message: Message) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("send() was begun outside every task")
        await asyncio.sleep(0)
        await self._send(message)
        if asyncio.current_task() is not task:
            raise RuntimeError("send() was not finished by the task that had begun it")

    def _fault_of(self, message: Message) -> str | None:
        """Say how a message breaks the protocol, if it does."""
        if self._room is not None and not self._room.done():
            return "send() was called while the last one was pending"
        if self.complete:
            return f"a message after the final body: {message!r}"
        if message["type"] == "http.response.start":
            if self.status:
                return "the response was started twice"
            upper = [name for name, _ in message["headers"] if name != name.lower()]
            return f"header name {upper[0]!r} is not lower case" if upper else None
        if message["type"] != "http.response.body":
            return f"unknown message: {message!r}"
        if not self.status:
            return "a body before the start of the response"
        body = message.get("body", b"")
        return None if isinstance(body, bytes) else f"body must be bytes, not {type(body).__name__}"

    def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.raw_headers = [(bytes(name), bytes(value)) for name, value in message["headers"]]
            for name, value in self.raw_headers:
                key, text = name.decode("latin-1"), value.decode("latin-1")
                self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        else:
            if body := message.get("body", b""):
                (self._channel if self._stalled else self._chunks).append(body)
            self.complete = not message.get("more_body", False)
        self._changed.set()

    def _free(self) -> None:
        """Finish the pending send."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None
        self._changed.set()


async def _pieces(body: bytes | AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    if isinstance(body, bytes):
        if body:
            yield body
        return
    async for piece in body:
        yield piece


def scope_of(
    path: str, query: Query, headers: GivenHeaders, method: str, spec_version: str
) -> Scope:
    """Make the scope of an http request from a client in this process."""
    if isinstance(query, Mapping):
        query = urlencode(query, doseq=True)
    if isinstance(headers, Mapping):
        headers = cast("Iterable[tuple[str, str]]", headers.items())
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if not any(name == b"host" for name, _ in raw):
        raw.insert(0, (b"host", b"127.0.0.1:8000"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query if isinstance(query, bytes) else query.encode("latin-1"),
        "root_path": "",
        "headers": raw,
        "server": ("127.0.0.1", 8000),
        "extensions": {},
    }
