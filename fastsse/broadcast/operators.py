"""The operators' port: ``/metrics`` and all of ``/health``, on the loopback, beside the port that readers reach.

Each worker listens at a port of its own, the first free one of as many as there are workers, because the numbers are
those of one worker. So a scrape of all these ports has every number once, and a liveness probe has a way that no
reader can fill. There are no tokens here: whoever reaches the loopback is an operator.

A server of asyncio's own reads the few requests: a second granian would be another process, which has no hub. One
request has one connection; a head has 8 KiB and five seconds, and 64 connections may wait.

The module knows sockets, heads and an ASGI app; it must not know routes or numbers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fastsse.asgi import App, Message, Scope

__all__ = ["LOOPBACK", "Operators"]

LOOPBACK = "127.0.0.1"

_HEAD = 8192  # bytes of a request's head
_PATIENCE = 5.0  # s for a head to come, and for an answer to be taken
_MOST = 64  # connections at a time
_WAIT = 10.0  # s for a port that an earlier worker has not let go yet
_LOOK = 0.05  # s between two looks
_VERSIONS = {"HTTP/1.0": "1.0", "HTTP/1.1": "1.1"}


class Operators:
    """The listener of one worker.

    Args:
        app: answers the requests.
        ports: the first one that is free is taken; (0,) for any free one.

    Attributes:
        port: the port that is listened on; 0 before the start.
    """

    def __init__(self, app: App, ports: Sequence[int]) -> None:
        self._app = app
        self._ports = ports
        self._server: asyncio.Server | None = None
        self._open = 0
        self.port = 0

    async def start(self) -> None:
        """Listen at the first free port.

        Raises:
            OSError: none of the ports has become free within ten seconds, or may be bound.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + _WAIT
        while True:
            try:
                listener = _bind(self._ports)
                break
            except OSError:
                if loop.time() > end:
                    raise
                await asyncio.sleep(_LOOK)
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_HEAD)

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST:
                async with asyncio.timeout(_PATIENCE):
                    writer.write(await self._answer(reader))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client has gone, or never said what it wanted
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _written(431, [], b"")
        scope = _read(head, self.port)
        if scope is None:
            return _written(400, [], b"")
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        with suppress(Exception):  # the app has answered 500 by then
            await self._app(scope, receive, send)
        if not sent:
            return _written(500, [], b"")
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return _written(sent[0]["status"], sent[0]["headers"], body, head=scope["method"] == "HEAD")


def _bind(ports: Sequence[int]) -> socket.socket:
    """Bind the first free port; two workers never share one."""
    failure = OSError("there is no port")
    for number in ports:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)  # of Windows
        listener.setsockopt(socket.SOL_SOCKET, exclusive or socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, number))
            listener.listen()
        except OSError as error:
            listener.close()
            failure = error
        else:
            listener.setblocking(False)
            return listener
    raise failure


def _read(head: bytes, port: int) -> Scope | None:
    """Read a head as a scope; return None for anything but a plain request of HTTP/1."""
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in _VERSIONS or not words[1].startswith("/"):
        return None
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers.append((name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1")))
    path, _, query = words[1].partition("?")
    more: dict[str, Any] = {"asgi": {"version": "3.0"}, "root_path": "", "scheme": "http"}
    return more | {
        "type": "http",
        "http_version": _VERSIONS[words[2]],
        "method": words[0],
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": headers,
        "client": None,
        "server": (LOOPBACK, port),
    }


def _written(
    status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, head: bool = False
) -> bytes:
    """Write an answer, after which the connection ends."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    lines += [name + b": " + value for name, value in headers if name != b"content-length"]
    lines += [b"content-length: %d" % len(body), b"connection: close", b"", b""]
    return b"\r\n".join(lines) + (b"" if head else body)
