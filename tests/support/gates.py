"""A gate between a client and a server: bytes pass both ways until a test cuts them off, or sends them elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

__all__ = ["Gate"]


class Gate:
    """A proxy for TCP on a free port of this machine: ``async with Gate(port) as gate``.

    Args:
        target: the port that connections are passed on to.

    Attributes:
        port: where the gate listens.
        target: may be set to another port, for connections to come.
        swallow: a text; when a client has sent it, the server's answer is swallowed, and the connection is cut.
        swallowed: how often that has happened.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.swallow = b""
        self.swallowed = 0
        self._shut = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def shut(self) -> None:
        """Cut all connections, and let none through until `open`."""
        self._shut = True
        self.cut()

    def open(self) -> None:
        """Let connections through again."""
        self._shut = False

    def cut(self) -> None:
        """Cut all connections; new ones are let through."""
        for writer in self._open:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._shut:
            writer.transport.abort()
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, there[1]}
        answers = asyncio.ensure_future(self._answers(there[0], writer))
        try:
            await self._requests(reader, there[1], answers)
        finally:
            for end in (writer, there[1]):
                end.transport.abort()
                self._open.discard(end)
            await answers

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.Future[None],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                if self.swallow and self.swallow in data:
                    self.swallow = b""
                    self.swallowed += 1
                    answers.cancel()
                    writer.write(data)
                    writer.close()  # which sends the rest first
                    await writer.wait_closed()
                    return
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
            writer.transport.abort()
