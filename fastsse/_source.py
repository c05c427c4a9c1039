"""Items iterated in one task of their own, while somebody else takes their blocks.

A heartbeat must not cancel an item that is being made, and a response must be able to end without one. So the items run
in a task that belongs to nobody else (`Source`), or in a thread where a sync iterator may block
(`fastsse._bridge.ThreadSource`). Either has the same methods, and its blocks wait until they are taken.

The module knows tasks and one timer; it must not know ASGI, responses or events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, MappingView, Sequence, Set
from typing import Any, TypeGuard

from fastsse._bridge import ThreadSource
from fastsse._flow import Blocks, iterate
from fastsse._gate import outlast
from fastsse._items import Items, Write, aclose, as_async

__all__ = ["Alarm", "Source", "close_source", "may_block", "start_source"]

STEP_PATIENCE = 0.4  # s that the end of an iteration waits for a step in a thread to return

_COLLECTIONS = (Sequence, Set, MappingView)  # to iterate one of them does not block


class Source(Blocks):
    """Items being iterated and written in a task of their own; the blocks wait here to be taken.

    There is one task from beginning to end, closing included: a generator may hold cancel scopes, timeouts and context
    variables across its items. The task runs ahead of the taker by at most `limit` bytes, measured after the item that
    passes them, and then waits. Nobody else's cancellation reaches the task; `stop` cancels it, once.

    The taker is told of blocks when the items begin to wait, within the items' own step. So blocks that are ready
    together are taken together, and none waits for another turn of the loop.

    Attributes:
        closed: the task; done when the items are closed.
        over: nothing will be added any more.
        error: what ended the items, or None when they came to their end or were stopped.
    """

    __slots__ = ("_items", "_iterating", "closed", "error")

    def __init__(
        self, items: Items, write: Write, limit: int, notify: Callable[[], object]
    ) -> None:
        super().__init__(limit, notify)
        self.error: BaseException | None = None
        self._items = items
        self._iterating = False
        self.closed = asyncio.get_running_loop().create_task(self._run(write))

    def resume(self) -> None:
        """Let the items go on when they wait for room."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def stop(self) -> None:
        """Cancel the items where they are, once. Blocks that are ready stay to be taken."""
        if not self._stopped:
            self._stopped = True
            if self._iterating:  # otherwise the task sees it when it begins, or closes them already
                self.closed.cancel()

    @property
    def left_behind(self) -> bool:
        """True while the items are not closed."""
        return not self.closed.done()

    def abandon(self) -> None:
        """Do nothing: a task heeds its cancellation, unlike a step in a thread."""

    async def _run(self, write: Write) -> None:
        try:
            if self._stopped:
                await aclose(self._items)
                return
            source = as_async(self._items)
            try:
                self._iterating = True
                await iterate(self, source.__anext__, write)
            finally:
                self._iterating = False
                self.tell()
                await aclose(source)
        except asyncio.CancelledError as error:
            if not self._stopped:
                self.error = error
        except Exception as error:
            self.error = error
        finally:
            self.over = True
            self._notify()


def may_block(items: Items) -> TypeGuard[Iterable[Any]]:
    """Return True for items whose iteration may block the loop: neither an async iterable nor a collection."""
    return not isinstance(items, (AsyncIterable, *_COLLECTIONS))


def start_source(
    items: Items, write: Write, *, limit: int, notify: Callable[[], object]
) -> Source | ThreadSource:
    """Begin to iterate items: in a thread where they are a sync iterator, which may block, otherwise in a task.

    Args:
        items: what is iterated, and closed in the end.
        write: makes each item's block.
        limit: bytes of blocks after which the items wait until they are taken; with 1 there is one item at a time.
        notify: called on the loop when the first block is ready after the last `take`, and when all is over. A task
            calls it when its items begin to wait.
    """
    if may_block(items):
        return ThreadSource(items, write, limit, notify)
    return Source(items, write, limit, notify)


async def close_source(source: Source | ThreadSource) -> None:
    """Stop a source, and wait until its items are closed, however often this wait is cancelled.

    For a step that blocks in a thread the wait lasts `STEP_PATIENCE`.
    """
    source.stop()
    timer = asyncio.get_running_loop().call_later(STEP_PATIENCE, source.abandon)
    try:
        await outlast(source.closed)
    finally:
        timer.cancel()


class Alarm:
    """The wait of a consumer: for a ring, or for the end of `interval` seconds.

    There is one timer for all waits. When it goes off it looks how long the present wait has lasted, and is set
    anew for what is left. A timer for each wait would cost more than the wait.
    """

    __slots__ = ("_future", "_interval", "_loop", "_rung", "_since", "_timer")

    def __init__(self, interval: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval = interval  # s
        self._rung = False
        self._since = 0.0  # loop time at which the present wait began
        self._future: asyncio.Future[None] | None = None  # somebody waits
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """End the present wait, or the next one if nobody waits now."""
        self._rung = True
        self._wake()

    async def wait(self) -> bool:
        """Wait for a ring. Returns False when the interval has passed without one."""
        if not self._rung:
            self._since = self._loop.time()
            self._future = self._loop.create_future()
            if self._timer is None:
                self._timer = self._loop.call_later(self._interval, self._look)
            try:
                await self._future
            finally:
                self._future = None
        rung, self._rung = self._rung, False
        return rung

    def cancel(self) -> None:
        """Stop the timer, for good."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        left = self._since + self._interval - self._loop.time()
        if left <= 0:
            self._wake()
        elif self._future is not None:
            self._timer = self._loop.call_later(left, self._look)

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
