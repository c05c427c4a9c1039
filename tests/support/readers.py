"""Readers that a test can block at any message, on an event loop whose time only the test moves.

This module knows connections and event loops; it must not know the hub, and keeps the model's view only for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from support.ledger import Block, parse
from support.model import Follower

from fastsse import Event

__all__ = ["Consumer", "Loop", "Reader"]

_MOST_TURNS = 10_000
_MOST_MESSAGES = 2_000  # in one step: a hub that repeats itself would never come to an end


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still unless it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Run until nothing is left to do at this time."""
        for _ in range(_MOST_TURNS):
            self.call_soon(self.stop)
            self.run_forever()
            if not self._ready and not self._due():  # type: ignore[attr-defined]
                return
        raise AssertionError(f"the loop is not quiet after {_MOST_TURNS} turns")

    def _due(self) -> bool:
        timers = self._scheduled  # type: ignore[attr-defined]
        return any(timer._when <= self.now and not timer._cancelled for timer in timers)

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, and move the time to the next timer whenever nothing else is left to do."""
        task = self.create_task(coroutine)
        self.settle()
        while not task.done():
            timers = self._scheduled  # type: ignore[attr-defined]
            self.now = max(self.now, min(t._when for t in timers if not t._cancelled))
            self.settle()
        return task.result()


class Reader:
    """One stream: what it was sent, and a hand on how much more it takes.

    Attributes:
        follower: the model's view.
        room: messages that it takes before it blocks; None for any number.
        task: runs the stream.
        blocked_since: loop time at which its pending send began; None when none is pending.
        status: of the response; 0 before its start.
        final: the last message of its body came.
        breaks: its connection is broken, which the next `send` says by an exception.
        broken: an exception has said so.
        torn: the last byte that was sent is amid a block.
    """

    def __init__(self, loop: Loop, follower: Follower, room: int | None) -> None:
        self.loop = loop
        self.follower = follower
        self.room = room
        self.status = 0
        self.final = False
        self.torn = False
        self.breaks = False
        self.broken = False
        self.blocked_since: float | None = None
        self.task: asyncio.Task[Any]
        self._more: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[dict[str, str]] = loop.create_future()
        self._sent = b""
        self._count = 0  # messages since the last call of `collect`

    @property
    def blocked(self) -> bool:
        return self._more is not None and not self._more.done()

    def release(self, room: int | None) -> None:
        """Take what is pending, and `room` messages more."""
        self.room = room
        if self._more is not None and not self._more.done():
            self._more.set_result(None)
        self._more = None
        self.blocked_since = None

    def leave(self) -> None:
        if not self._gone.done():
            self._gone.set_result({"type": "http.disconnect"})
        self.release(None)

    def break_off(self) -> None:
        """Break the connection: a pending send fails now, otherwise the next one will."""
        self.breaks = True
        if self._more is not None and not self._more.done():
            self.broken = True
            self._more.set_exception(ConnectionResetError())

    def collect(self) -> tuple[list[Block], bool]:
        """Hand over the blocks that were sent since the last call, and tell whether a piece of one more was."""
        self._count = 0
        blocks, self._sent = parse(self._sent)
        return blocks, bool(self._sent)

    async def receive(self) -> dict[str, str]:
        return await asyncio.shield(self._gone)

    def send_future(self, message: dict[str, Any]) -> asyncio.Future[None]:
        assert not self.blocked, "send was called while the last call is pending"
        assert not self.final, "send was called after the last message"
        assert not self.broken, "send was called after it had failed"
        if self.breaks:
            self.broken = True
            raise ConnectionResetError
        self.status = message.get("status", self.status)
        if not self._gone.done():
            self._sent += message.get("body", b"")
            self.final = message["type"] == "http.response.body" and not message["more_body"]
        return self._take_one()

    async def send_coroutine(self, message: dict[str, Any]) -> None:
        await self.send_future(message)

    def _take_one(self) -> asyncio.Future[None]:
        self._count += 1
        assert self._count < _MOST_MESSAGES, "a reader is sent messages without an end"
        taken = self.loop.create_future()
        if self.room == 0:
            self._more = taken
            self.blocked_since = self.loop.time()
        else:
            taken.set_result(None)
            if self.room is not None:
                self.room -= 1
        return taken


class Consumer(Reader):
    """A subscription in this process, which may stop to take."""

    def __init__(self, loop: Loop, follower: Follower, room: int | None) -> None:
        super().__init__(loop, follower, room)
        self._taken: list[Block] = []

    async def run(self, subscription: Any) -> None:
        await self._take_one()
        async for event in subscription:
            self._taken.append(_as_block(event))
            await self._take_one()

    def collect(self) -> tuple[list[Block], bool]:
        self._count = 0
        taken, self._taken = self._taken, []
        return taken, False


def _as_block(event: Event) -> Block:
    return Block(event.data, None if event.event == "message" else event.event, event.id or None)
