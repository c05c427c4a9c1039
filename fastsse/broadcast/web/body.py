"""One request's body as it comes: where it ends, how long it may take, and how its reading is called off.

    body_seconds   a form or a raw body comes whole within this time, and a second more for each 8 KiB of it
    publish_idle   a stream of events may be silent for this long; a comment breaks the silence

How many bodies there may be, and how much all of them may hold, is bounded in `Bodies`.

The module knows sizes and times; it must not know what a body means.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from errno import ENOSPC
from typing import Protocol

from fastsse.asgi import Message, Receive, Scope
from fastsse.broadcast.hub.refusal import Refusal, least_seconds
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.headers import header_once
from fastsse.broadcast.web.problems import Problem

__all__ = ["LEAST_RATE", "Body", "Books", "append_failed", "called_off"]

LEAST_RATE = 8192  # bytes that earn a form or a raw body another second

_DIGITS = re.compile(rb"[0-9]{1,18}")


class Books(Protocol):
    """The place where a body reports how much it holds, and why it is given up."""

    def refused(self, reason: str) -> None:
        """Count a body that is given up."""

    def held(self, body: Body, more: int) -> None:
        """Count bytes that a body holds more than before."""


class Body:
    """A request's body as it comes.

    Args:
        scope: the request's; ``Content-Length`` and ``Transfer-Encoding`` are read.
        receive: the request's.
        settings: how long a body may take, and how much all may hold.
        books: told of each change of what is held, and of a body that takes too long.

    Attributes:
        given: whether the request has a body at all, be it an empty one.
        heard: whether a byte of the body has come.
        held: bytes of the body that are kept.

    Raises:
        Problem: 400 when one of the headers is given twice, 501 for another transfer coding than chunked.
    """

    def __init__(self, scope: Scope, receive: Receive, settings: Settings, books: Books) -> None:
        length = header_once(scope, b"content-length")
        coding = header_once(scope, b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            rule = "must be chunked; nothing else is undone here"
            raise Problem.of_field("transfer-encoding", coding, rule, status=501)
        self._receive = receive
        self._settings = settings
        self._books = books
        told = _DIGITS.fullmatch(length) if length is not None and coding is None else None
        self._length = int(told[0]) if told else None
        self._waiting: asyncio.Timeout | None = None  # for the next chunk; `call_off` cuts it short
        self._looking: asyncio.TimerHandle | None = (
            None  # the next look at the length of the silence
        )
        self._taken = 0  # bytes that have come
        self._off = ""  # why the reading was called off
        self._since = asyncio.get_running_loop().time()  # of the last byte, or of the beginning
        self._whole: float | None = None  # when the reading of a whole body began; None: a stream
        self.given = length is not None or coding is not None
        self.heard = False
        self.held = 0

    def silence(self, now: float) -> float:
        """Return for how many seconds the sender has sent nothing; 0 while the server works on the body.

        A body that is no stream earns its time by its bytes, so that a byte now and then does not break the silence.
        """
        if self._waiting is None:
            return 0.0
        silent = now - self._since
        if self._whole is None:
            return silent
        return max(silent, now - self._whole - self._taken / LEAST_RATE)

    def close(self) -> None:
        """Call the reading off, because the server is about to stop. Call it on the loop."""
        self.call_off("draining")

    def call_off(self, reason: str) -> None:
        """End the reading, and tell the sender why at once. Call it on the loop.

        Args:
            reason: ``draining``, ``silent`` or ``bytes``, as in `called_off`. The first one counts.
        """
        self._off = self._off or reason
        if self._waiting is not None:
            self._waiting.reschedule(0)

    def hold(self, size: int) -> None:
        """Set how many bytes of the body are kept from now on.

        Raises:
            Problem: 413 when this body alone holds more than all bodies may, 503 when it is the one to be given up.
        """
        limit = self._settings.body_bytes
        if size > limit:
            self._books.refused("bytes")
            raise Problem.of_size("body", size, limit)
        more, self.held = size - self.held, size
        self._books.held(self, more)
        self._check()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the chunks of a body that may last for ever; each pause may last `publish_idle`.

        Raises:
            Problem: 400 when the body breaks off, 408 after too long a silence, 503 when the reading is called off.
        """
        idle = self._settings.publish_idle
        detail = f"nothing came for {idle:g} s; send a comment now and then, or come again"
        if idle:
            self._look(idle)
        try:
            async for chunk in self._chunks(lambda: None, detail):
                yield chunk
        finally:
            if self._looking is not None:
                self._looking.cancel()

    def _look(self, idle: float) -> None:
        """End the wait for a chunk after too long a silence; otherwise look again when the silence may be too long.

        All chunks have one timer, because a timer for each would cost more than a chunk of one event does.
        """
        loop = asyncio.get_running_loop()
        left = idle if self._waiting is None else self._since + idle - loop.time()
        if left > 0:
            self._looking = loop.call_later(left, self._look, idle)
        elif self._waiting is not None:
            self._waiting.reschedule(0)

    async def read(self, limit: int) -> bytes:
        """Read the whole body, at most `limit` bytes.

        Raises:
            Problem: 400 when the body breaks off, 408 when it takes too long, 413 when it is longer or says that it
                will be, 503 when the reading is called off.
        """
        if self._length is not None and self._length > limit:
            raise Problem.of_size("body", self._length, limit)
        seconds = self._settings.body_seconds
        loop = asyncio.get_running_loop()
        self._whole = loop.time()
        due = self._whole + seconds
        chunks: list[bytes] = []
        detail = f"the body must come within {seconds:g} s, and {LEAST_RATE} bytes earn one more"

        def patience() -> float:
            return min(seconds, due + self._taken / LEAST_RATE - loop.time())

        async for chunk in self._chunks(patience, detail):
            if self._taken > limit:
                raise Problem.of_size("body", self._taken, limit)
            self.hold(self._taken)
            chunks.append(chunk)
        return b"".join(chunks)

    async def _chunks(
        self, patience: Callable[[], float | None], detail: str
    ) -> AsyncIterator[bytes]:
        """Yield the chunks. Where the request gives the length, do not wait for a message after the last byte."""
        left = self._length
        more = left != 0
        while more:
            message = await self._next(patience(), detail)
            if message["type"] != "http.request":
                raise Problem(400, "the body broke off before its end; send it again")
            more = message.get("more_body", False)
            chunk: bytes = message.get("body", b"")
            if left is not None:
                left -= len(chunk)
                more = more and left != 0
            if chunk:
                self.given = self.heard = True
                self._taken += len(chunk)
                self._since = asyncio.get_running_loop().time()
                yield chunk

    async def _next(self, patience: float | None, detail: str) -> Message:
        self._check()
        try:
            async with asyncio.timeout(patience) as self._waiting:
                return await self._receive()
        except TimeoutError:
            self._check()
            self._books.refused("slow")
            raise Problem(408, detail) from None
        finally:
            self._waiting = None

    def _check(self) -> None:
        if self._off:
            # Made anew each time: a problem that is kept would hold, by its traceback, the request that holds it.
            raise called_off(self._off, self._settings)


def called_off(reason: str, settings: Settings) -> Problem:
    """Make the problem of a body that is not read to its end, or of an event that cannot be taken now.

    Args:
        reason: ``draining`` (the server is stopping), ``stalled`` (the store cannot be reached), ``silent`` (others
            needed the place of a body that paused) or ``bytes`` (too much was held, and this body held the most).
    """
    if reason == "draining":
        return Problem.of_refusal(Refusal.of(reason, settings))
    return Problem.of_refusal(Refusal(reason, _WORDS[reason], least_seconds(1, settings)))


def append_failed(error: OSError, settings: Settings) -> Problem:
    """Make the problem of an event that the store could not take: 507 where it has no room, otherwise 503."""
    if error.errno != ENOSPC:
        return called_off("stalled", settings)
    refusal = Refusal("full", _WORDS["storage"], least_seconds(5, settings))
    return Problem(507, refusal.detail, headers={"Retry-After": refusal.retry_after})


_WORDS = {
    "storage": "the store of this server has no room for more",
    "stalled": "the store of this server cannot be reached",
    "silent": "the body paused while others needed its place",
    "bytes": "too much is being read at once, and the most of it is this body",
}
