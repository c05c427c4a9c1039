"""Sync iterators that may block, iterated in threads for an event loop.

There are two ways over the bridge. A `ThreadSource` runs from beginning to end in one thread and runs ahead, for
responses and heartbeats. `Steps` takes a thread for each item, and only when the consumer asks, for `in_thread`.

A step that blocks in a thread cannot be interrupted. So an iterator is told to stop between its steps, the thread that
is the last to see it closes it, and a loop that ends does not wait for one that never returns.

The module knows loops, threads, and iterators; it must not know blocks, responses or timers.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

from fastsse._items import Write, close
from fastsse._threads import threads

__all__ = ["END", "Steps", "ThreadSource"]

END: Any = object()  # what `Steps.next` gives after the last item

_log = logging.getLogger("fastsse.streams")


class ThreadSource:
    """A sync iterable that may block, iterated, written and closed in one thread; the blocks wait here to be taken.

    The counterpart of `fastsse._source.Source`, with the same methods. The thread works in a copy of the context in
    which this object was made. The thread runs ahead of the taker by at most `limit` bytes, measured after the item
    that passes them, and then waits. Blocks that are ready at once are handed over together, so an iterator that never
    blocks costs the loop one call for many items. A step that has begun cannot be stopped: `stop` takes effect when it
    returns.

    Attributes:
        closed: done when the items are closed, or were abandoned.
        over: nothing will be added any more.
        error: what ended the items, or None when they came to their end or were stopped.
    """

    __slots__ = (
        "_blocks",
        "_closing",
        "_items",
        "_limit",
        "_lock",
        "_loop",
        "_notify",
        "_room",
        "_run",
        "_size",
        "_stopped",
        "_write",
        "closed",
        "error",
        "over",
    )

    def __init__(
        self, items: Iterable[Any], write: Write, limit: int, notify: Callable[[], object]
    ) -> None:
        # On the loop.
        self.over = False
        self.error: BaseException | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._notify = notify
        # On both sides.
        self._lock = threading.Lock()
        self._blocks: list[bytes] = []
        self._size = 0  # bytes in _blocks
        self._stopped = False
        self._closing = False
        self._room = threading.Event()
        # In the thread.
        self._items = items
        self._write = write
        self._limit = limit
        self._run: Callable[[], None] = partial(contextvars.copy_context().run, self._work)
        threads.start(self._run)

    def resume(self) -> None:
        """Let the items go on when they wait for room."""
        self._room.set()

    def take(self) -> bytes:
        """Return the blocks that are ready, joined; empty when there is none."""
        with self._lock:
            blocks, self._blocks = self._blocks, []
            self._size = 0
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def stop(self) -> None:
        """Tell the items to end after their present step. Blocks that are ready stay to be taken."""
        if self._stopped or self.over:
            return
        self._stopped = True
        self._room.set()
        if threads.withdraw(self._run):
            self._run()

    def abandon(self) -> None:
        """Stop waiting for a step that does not return: `closed` is done from here on."""
        if not (self._closing or self.closed.done()):
            self.closed.set_result(None)

    @property
    def full(self) -> bool:
        """True while the thread may wait for room."""
        return not self._room.is_set()

    @property
    def left_behind(self) -> bool:
        """True while the items are not closed."""
        return not self.over

    # In the thread.

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            source = self._items if self._stopped else iter(self._items)
            try:
                if not self._stopped:
                    self._iterate(cast("Iterator[Any]", source))
            finally:
                self._closing = True
                close(source)
        except BaseException as raised:
            error = raised
        self._call(partial(self._finish, error))

    def _iterate(self, source: Iterator[Any]) -> None:
        for item in source:
            if self._stopped:
                return
            full = self._add(self._write(item))
            if full and not self._stopped:
                self._room.wait()
            if self._stopped:
                return

    def _add(self, block: bytes) -> bool:
        """Hand over a block. Returns True when the taker has to come first."""
        with self._lock:
            self._blocks.append(block)
            self._size += len(block)
            first = len(self._blocks) == 1
            full = self._size >= self._limit
            if full:
                self._room.clear()
        if first:
            self._call(self._notify)
        return full

    def _call(self, callback: Callable[[], object]) -> None:
        """Run a callback on the loop. A loop that is closed has nobody left who waits."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    # On the loop.

    def _finish(self, error: BaseException | None) -> None:
        self.error = error
        self.over = True
        if not self.closed.done():
            self.closed.set_result(None)
        self._notify()


class Steps:
    """A sync iterator stepped by threads, one step at a time, and closed once.

    A consumer that leaves between two steps has the iterator closed. One that leaves during a step does not wait: the
    thread closes the iterator when the step returns.
    """

    __slots__ = ("_context", "_job", "_left", "_lock", "_loop", "_source")

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._job: Callable[[], None] | None = None  # a step that waits for a thread, or is in one
        self._left = False  # the consumer has gone

    async def next(self) -> Any:
        """Return the next item, or `END`.

        Raises:
            Exception: the iterator has raised it.
        """
        answer = self._loop.create_future()
        self._job = partial(self._step, answer)
        threads.start(self._job)
        return await answer

    def leave(self) -> asyncio.Future[Any] | None:
        """Have the iterator closed. Returns what to wait for, or None when a step is running, which closes it after."""
        with self._lock:
            self._left = True
            if self._job is not None and not threads.withdraw(self._job):
                return None
        closed = self._loop.create_future()
        threads.start(partial(self._answer, closed, self._close))
        return closed

    def _step(self, answer: asyncio.Future[Any]) -> None:
        self._answer(answer, partial(next, self._source, END))

    def _answer(self, answer: asyncio.Future[Any], function: Callable[[], Any]) -> None:
        """Call a function in the thread, and give the loop its result or exception."""
        try:
            tell = partial(_set_result, answer, self._context.run(function))
        except BaseException as error:
            tell = partial(_set_exception, answer, error)
        with self._lock:
            self._job = None
            last = self._left and function != self._close
        if last:
            self._close_unheard()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(tell)

    def _close(self) -> None:
        close(self._source)

    def _close_unheard(self) -> None:
        """Close the iterator after its consumer has gone; what it raises is logged."""
        try:
            self._context.run(self._close)
        except BaseException:
            _log.exception("an iterator in a thread failed while it was closed")


def _set_result(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
