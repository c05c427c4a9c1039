"""All bodies that one app is reading: how many at once, how much of them is held, and whose turn it is.

A body that is posted holds a connection and memory, as an open stream does, and its sender decides how long. So each
bound is on all bodies together, and none shuts out an honest publisher for as long as somebody else keeps silent:

    max_bodies     where all places are taken, the body that was silent for longest gives its place to the newcomer
    body_bytes     where too much is held, the body that holds the most is given up

How long one body may take is bounded in `Body`.

Work is shared out in turns. A body that is a lot of work waits for `Bodies.turn`, has one slice done, and goes to the
end of the queue. So one turn of the loop has one slice in it, however many bodies there are.

The module knows numbers and sizes; it must not know what a body means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext

from fastsse.asgi import Receive, Scope
from fastsse.broadcast.hub.refusal import Refusal, least_seconds
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.body import Body
from fastsse.broadcast.web.problems import Problem

__all__ = ["GRACE", "Bodies"]

GRACE = 1.0  # s of silence for which a body keeps its place although others need one
LIGHT = 16_384  # bytes that are worked on at once, without waiting for a turn


class Bodies:
    """The bodies that one app is reading.

    Args:
        settings: the bounds.
        stats: where bodies are counted: ``bodies``, ``body_bytes``, ``bodies_refused``.
    """

    def __init__(self, settings: Settings, stats: Stats) -> None:
        self._settings = settings
        self._stats = stats
        self._open: dict[Body, None] = {}  # without the ones that were called off
        self._turn = asyncio.Lock()

    @contextmanager
    def reading(self, scope: Scope, receive: Receive) -> Generator[Body]:
        """Give a request's body a place for as long as the block lasts.

        Raises:
            Problem: 400 or 501 for a head that leaves open where the body ends, 503 when all places are taken.
        """
        body = Body(scope, receive, self._settings, self)
        self._make_room()
        if not self._open:
            self._turn = asyncio.Lock()  # the last one may belong to a loop that is gone
        self._open[body] = None
        self._stats.bodies = len(self._open)
        try:
            yield body
        finally:
            self._forget(body)

    def close(self) -> None:
        """Call all bodies off, because the server is about to stop. Call it on the loop."""
        for body in tuple(self._open):
            body.close()

    def turn(self, size: int) -> AbstractAsyncContextManager[object]:
        """Return a block that waits for a turn of the loop in which no other body is worked on.

        Args:
            size: bytes that there are to work on in all; for few bytes there is no wait.
        """
        return nullcontext() if size <= LIGHT else _Turn(self._turn)

    def refused(self, reason: str) -> None:
        """Count a body that is given up."""
        self._stats.bodies_refused[reason] += 1

    def held(self, body: Body, more: int) -> None:
        """Count bytes that a body holds more than before; over the bound, give up the body that holds the most."""
        if body not in self._open:
            return
        self._stats.body_bytes += more
        if more > 0 and self._stats.body_bytes > self._settings.body_bytes:
            self._give_up(max(self._open, key=lambda one: one.held), "bytes")

    def _make_room(self) -> None:
        """Free a place for one more body.

        Raises:
            Problem: 503 when no body that has a place was silent for long enough.
        """
        most = self._settings.max_bodies
        if len(self._open) < most:
            return
        now = asyncio.get_running_loop().time()
        silent = [body for body in self._open if body.silence(now) > GRACE]
        if not silent:
            self.refused("full")
            words = f"all {most} bodies that are read at once are taken"
            raise Problem.of_refusal(Refusal("full", words, least_seconds(1, self._settings)))
        # Bodies of which no byte has come go first: an honest publisher has sent something.
        self._give_up(max(silent, key=lambda body: (not body.heard, body.silence(now))), "silent")

    def _give_up(self, body: Body, reason: str) -> None:
        self.refused(reason)
        self._forget(body)
        body.call_off(reason)

    def _forget(self, body: Body) -> None:
        """Take a body off the books, once."""
        if body in self._open:
            del self._open[body]
            self._stats.bodies = len(self._open)
            self._stats.body_bytes -= body.held


class _Turn:
    """A turn of the loop: the lock is handed on in order, and each hand-over takes one turn."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        await asyncio.sleep(0)
