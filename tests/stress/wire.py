"""The stress test's own client: HTTP and event streams over raw connections, as little of both as it needs.

Nothing here is shared with fastsse, so that a fault of one is not hidden by the same fault of the other.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, NamedTuple

__all__ = ["Block", "Broken", "Stream", "open_stream", "request"]

CONNECT = 10.0  # s


class Broken(Exception):
    """The connection ended, or never came to be."""


class Block(NamedTuple):
    """One block: the data may be None, the id too."""

    event: str
    data: str | None
    id: str | None
    comments: int


class Stream:
    """An open event stream.

    Attributes:
        status: of the response.
        retry: the last reconnection time that was told, ms.
        complete: the body came to its proper end.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._text = b""
        self.status = 0
        self.retry: int | None = None
        self.complete = False

    async def head(self) -> None:
        head = await _until(self._reader, b"\r\n\r\n")
        self.status = int(head.split(None, 2)[1])

    async def blocks(self) -> list[Block]:
        """Read the next chunk and return the blocks that it completes; raise `Broken` at the end of the body."""
        self._text += await self._chunk()
        *whole, self._text = self._text.split(b"\n\n")
        return [self._read(block.decode()) for block in whole]

    async def _chunk(self) -> bytes:
        size = int((await _until(self._reader, b"\r\n")).split(b";")[0], 16)
        try:
            content = await self._reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Broken("in a chunk") from error
        assert content.endswith(b"\r\n"), content[-20:]
        if size == 0:
            self.complete = True
            raise Broken("the end of the body")
        return content[:-2]

    def _read(self, text: str) -> Block:
        event, id_, data, comments = "message", None, [], 0
        for line in text.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not name:
                comments += 1
            elif name == "data":
                data.append(value)
            elif name == "id":
                id_ = value
            elif name == "event":
                event = value
            elif name == "retry":
                self.retry = int(value)
            else:
                raise AssertionError(f"a line that nobody wrote: {line!r}")
        return Block(event, "\n".join(data) if data else None, id_, comments)

    def leave(self) -> None:
        """Leave at once, with whatever is on its way."""
        self._writer.transport.abort()

    def half_close(self) -> None:
        """Say that nothing more will be said."""
        if self._writer.can_write_eof():
            self._writer.write_eof()


async def _until(reader: asyncio.StreamReader, end: bytes) -> bytes:
    try:
        return await reader.readuntil(end)
    except (asyncio.IncompleteReadError, OSError) as error:
        raise Broken("before its end") from error


async def _connect(
    port: int, buffer: int | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket()
    connection.setblocking(False)
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    try:
        async with asyncio.timeout(CONNECT):
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=connection, limit=2**16)
    except BaseException as error:
        connection.close()
        if isinstance(error, (OSError, TimeoutError)):
            raise Broken("nobody is there") from error
        raise


async def open_stream(
    port: int, query: str, last_event_id: str | None, *, buffer: int | None = None
) -> Stream:
    """Ask for a stream and read the head of the response.

    Args:
        buffer: bytes of the receive buffer: the smaller, the sooner a reader that stalls is felt.
    """
    reader, writer = await _connect(port, buffer)
    more = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
    text = f"GET /events?{query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{more}\r\n"
    writer.write(text.encode())
    stream = Stream(reader, writer)
    try:
        async with asyncio.timeout(CONNECT):
            await stream.head()
    except BaseException as error:
        stream.leave()
        if isinstance(error, TimeoutError):
            raise Broken("no response") from error
        raise
    return stream


class Requests:
    """Sends requests one after another on a connection that is kept, and made anew when it has ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, target: str, body: bytes = b"", key: str | None = None
    ) -> tuple[int, Any]:
        """Return status and JSON; raise `Broken` when no whole answer came, and so nobody knows what was done."""
        if self._ends is None:
            self._ends = await _connect(self._port, None)
        reader, writer = self._ends
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        head += "\r\n" if key is None else f'Idempotency-Key: "{key}"\r\n\r\n'
        try:
            writer.write(head.encode() + body)
            async with asyncio.timeout(CONNECT):
                answer = await _until(reader, b"\r\n\r\n")
                fields = dict(
                    line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if line
                )
                content = await reader.readexactly(int(fields[b"content-length"]))
        except (Broken, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Broken("no answer") from error
        return int(answer.split(None, 2)[1]), json.loads(content)

    def close(self) -> None:
        if self._ends is not None:
            self._ends[1].transport.abort()
        self._ends = None


async def request(
    port: int, method: str, target: str, body: bytes = b"", key: str | None = None
) -> tuple[int, Any]:
    """Send one request on a connection of its own."""
    requests = Requests(port)
    try:
        return await requests.ask(method, target, body, key)
    finally:
        requests.close()
