"""The flow: the steps that every item takes on its way to the server's `send`, and nothing that happens once a stream.

An item is made in a task, and written; its block waits in `Blocks`. When the items begin to wait, `iterate` tells the
taker within their own step, and an `Outlet` gives the blocks to the server's own `send`, stepped once. Everything else
about a stream is said in `fastsse._source`, `fastsse._sending` and `fastsse._connection`.

The module knows awaitables, blocks and ASGI's body message; it must not know tasks, timers or ends. All of it
is used by one loop alone.
"""

# The fields of `Blocks` are the module's own.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from fastsse._stepping import DONE, iterator_of

__all__ = ["Blocks", "Outlet", "iterate"]


class Blocks:
    """Blocks that wait to be taken, and the items that may be ahead of the taker by at most `limit` bytes.

    Attributes:
        over: nothing will be added any more.
    """

    __slots__ = ("_blocks", "_limit", "_notify", "_room", "_size", "_stopped", "_told", "over")

    def __init__(self, limit: int, notify: Callable[[], object]) -> None:
        self.over = False
        self._blocks: list[bytes] = []
        self._size = 0  # bytes in _blocks
        self._told = False  # the taker knows of _blocks
        self._limit = limit
        self._notify = notify
        self._room: asyncio.Future[None] | None = None  # the items wait for a taker
        self._stopped = False

    @property
    def full(self) -> bool:
        """True while the items wait for room."""
        return self._room is not None

    def take(self) -> bytes:
        """Return the blocks that are ready, joined; empty when there is none."""
        blocks = self._blocks
        if not blocks:
            return b""
        self._blocks = []
        self._size = 0
        self._told = False
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def tell(self) -> None:
        """Tell the taker of blocks that are ready, once."""
        if self._blocks and not self._told:
            self._told = True
            self._notify()


@types.coroutine
def iterate(
    blocks: Blocks, following: Callable[[], Awaitable[Any]], write: Callable[[Any], bytes]
) -> Generator[Any, Any, None]:
    """Write items until they end or are stopped, and tell the taker of blocks whenever the items begin to wait.

    Args:
        following: the `__anext__` of the items.
        write: makes each item's block.
    """
    while True:
        try:
            item = yield from _telling(blocks, iterator_of(following()))
        except StopAsyncIteration:
            return
        if blocks._stopped:  # the items have swallowed the cancellation
            return
        block = write(item)
        blocks._blocks.append(block)
        blocks._size += len(block)
        if blocks._size >= blocks._limit:
            room = blocks._room = asyncio.get_running_loop().create_future()
            try:
                yield from _telling(blocks, room.__await__())
            finally:
                blocks._room = None


def _telling(blocks: Blocks, steps: Any) -> Generator[Any, Any, Any]:
    """Step an awaitable to its end; where it waits, tell the taker first."""
    try:
        waits_for = next(steps)
    except StopIteration as stop:
        return stop.value
    while True:
        blocks.tell()
        try:
            yield waits_for
        except GeneratorExit:
            if hasattr(steps, "close"):
                steps.close()
            raise
        except BaseException as error:
            if not hasattr(steps, "throw"):
                raise
            try:
                waits_for = steps.throw(error)
            except StopIteration as stop:
                return stop.value
        else:
            try:
                waits_for = next(steps)
            except StopIteration as stop:
                return stop.value


class Outlet:
    """The short way from blocks to the server's own `send`; a subclass knows the long one.

    A subclass has `_flush_all`, for everything but blocks; `_carry_on`, for a send that waits; `_send_failed`.
    """

    __slots__ = ("_now", "_over", "_own", "_pending", "_plain", "_sent_at", "_source")

    _flush_all: Callable[[], None]
    _carry_on: Callable[[Any, Any], None]
    _send_failed: Callable[[BaseException], None]

    def __init__(self, own: Any, now: Callable[[], float]) -> None:
        self._own = (
            own  # the server's own `send`, which may be stepped; None where there is another one
        )
        self._now = now  # the time of the loop
        self._source: Any = None
        self._sent_at = now()  # when the last send was begun, or was over
        self._over = False  # nothing is sent any more
        self._pending = False  # a send was begun, and is not finished
        self._plain = False  # there is nothing to send but blocks

    def _flush(self) -> None:
        """Send what is ready, unless a send is pending: whoever made that one goes on with the rest."""
        if self._pending or self._over:
            return
        source = self._source
        if not (self._plain and isinstance(source, Blocks) and source._blocks) or source.over:
            self._flush_all()
            return
        self._pending = True
        try:
            self._sent_at = self._now()
            body = source.take()
            message = {"type": "http.response.body", "body": body, "more_body": True}
            steps = iterator_of(self._own(message))
            waits_for = next(steps, DONE)
        except (Exception, asyncio.CancelledError) as error:
            self._send_failed(error)
            self._pending = False
            return
        if waits_for is not DONE:
            self._carry_on(steps, waits_for)
            return
        self._pending = False
        if source.full:
            self._flush_all()
