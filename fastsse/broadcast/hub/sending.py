"""Sends that a task makes to one subscriber: for a stream that opens, that is carried, that serves itself, or ends.

The pump sends in passing, to many; here one task waits for each send to finish before it begins the next. Bounded by
one join: a task holds no more than that for a reader that does not read.

The module knows joins, sends and where a subscriber stands; it must not know sweeps of audiences, requests or policies.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fastsse import encode_comment
from fastsse.asgi import body_message
from fastsse.broadcast.hub import pace
from fastsse.broadcast.hub._pump import Half, begin, finish
from fastsse.broadcast.hub.archive import Walk
from fastsse.broadcast.hub.cuts import Cuts
from fastsse.broadcast.hub.joins import JOIN_SIZE
from fastsse.broadcast.hub.subscriber import OVER

if TYPE_CHECKING:
    from fastsse._gate import Gate
    from fastsse.asgi import Message
    from fastsse.broadcast.hub.archive import Archivist
    from fastsse.broadcast.hub.joins import Join, JoinMaker
    from fastsse.broadcast.hub.stats import Stats
    from fastsse.broadcast.hub.subscriber import Subscriber

__all__ = ["ARCHIVE", "FILTER", "FINISHED", "Sender", "fits"]

ARCHIVE = encode_comment("archive")  # a stream's last block when the archive cannot be read
FILTER = encode_comment("filter")  # a stream's last block when its filter has raised

FINISHED = "finished"  # the reason of a stream's end when all of its topics have ended

_log = logging.getLogger("fastsse.broadcast")


class Sender:
    """The sends of tasks, and the count of all sends that pend.

    Args:
        loop: the loop that everything is called from.
        joins: gives what each subscriber is sent next.
        archivist: gives what the history no longer has; None where the store is no archive.
        heartbeat: seconds that a stream may be quiet while pages without an event are read for it; 0: for ever.
        stats: where sends are counted.

    Attributes:
        blocked: the subscribers with a pending send, and how many bytes that send has.
        cuts: the messages of large joins.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        joins: JoinMaker,
        archivist: Archivist | None,
        heartbeat: float,
        stats: Stats,
    ) -> None:
        self._archivist = archivist
        self._heartbeat = heartbeat
        self.blocked: dict[Subscriber, int] = {}
        self._loop = loop
        self._joins = joins
        self._pace = pace.Pace(loop)  # of all replays
        self.cuts = Cuts()
        self._stats = stats

    @property
    def pending_size(self) -> int:
        """The bytes that were handed to sends which have not finished."""
        return sum(self.blocked.values())

    def block(self, subscriber: Subscriber, size: int) -> None:
        """Note that a send of `size` bytes pends."""
        subscriber.block(self._loop.time())
        self.blocked[subscriber] = size

    def unblock(self, subscriber: Subscriber) -> None:
        """Note that no send of this subscriber pends any more."""
        subscriber.unblock()
        self.blocked.pop(subscriber, None)

    def forget(self, subscriber: Subscriber) -> None:
        """Count no send of a subscriber that has ended, whatever still pends."""
        self.blocked.pop(subscriber, None)

    async def push(self, subscriber: Subscriber, gate: Gate, message: Message) -> bool:
        """Send one message, and wait. Returns False when the gate was closed before the send finished."""
        half = begin(subscriber.send(message))
        if not half.done:
            self.block(subscriber, len(message.get("body", b"")))
            del message  # the server has it, and a reader that does not read would hold it twice
            if not await finish(half, gate):
                return False
        if subscriber.blocked_since is not None:
            self.unblock(subscriber)
        return True

    async def push_join(
        self, subscriber: Subscriber, gate: Gate, join: Join, start: int = 0
    ) -> bool:
        """Send a join's messages from `start` on; the subscriber then stands after the join.

        A stream that is to end does so after the last message, never in the middle of a block. A stream that is cut
        stays where it was.

        Returns:
            False when the gate was closed before all sends finished.
        """
        for index in range(start, join.parts):
            if not await self.push(subscriber, gate, self.cuts.part(join, index)):
                return False
        self._stats.sent(1, join.events, join.size)
        subscriber.advance(join.last, join.events, join.size, join.weight)
        return True

    async def send_all(self, subscriber: Subscriber, gate: Gate) -> None:
        """Send from archive and history until the subscriber stands at the head, or is to end."""
        while subscriber.state not in OVER:
            if self._archivist is not None and self._joins.too_old(subscriber):
                if not await self._send_pages(subscriber, gate, self._archivist):
                    return
                continue
            start = pace.clock()
            join = self._joins.take(subscriber)
            spent = pace.clock() - start
            if join is None:
                if subscriber.audience.broken is not None:
                    subscriber.begin_end("filter", FILTER)
                elif self._joins.is_over(subscriber.audience):
                    subscriber.begin_end(FINISHED, b"")
                else:
                    return
                continue
            if not await self.push_join(subscriber, gate, join):
                return
            if join.size * 2 > JOIN_SIZE:
                await asyncio.sleep(0)  # a send that has room does not yield: others need the loop
                await self._pace.rest(spent)

    async def _send_pages(self, subscriber: Subscriber, gate: Gate, archivist: Archivist) -> bool:
        """Send pages of the archive until the history has all the rest. Returns False when the gate was closed.

        A stream whose page cannot be read is ended: its reader comes back to the same place, and loses nothing.
        """
        quiet_since = self._loop.time()
        walk = Walk()
        while subscriber.state not in OVER and self._joins.too_old(subscriber):
            try:
                join = await archivist.take(subscriber, walk)
            except Exception:
                _log.warning("the archive cannot be read; a stream is ended", exc_info=True)
                if not (subscriber.ending or subscriber.ended):  # since the page was asked for
                    subscriber.begin_end("archive", ARCHIVE)
                return True
            spent = pace.clock() - walk.begun
            if subscriber.ended:
                return False
            if join is not None:
                if not await self.push_join(subscriber, gate, join):
                    return False
                quiet_since = self._loop.time()
            elif self._heartbeat and self._loop.time() - quiet_since >= self._heartbeat:
                if not await self.push(subscriber, gate, body_message(encode_comment())):
                    return False
                quiet_since = self._loop.time()
                self._stats.heartbeats += 1
            await asyncio.sleep(0)  # neither a store nor a send that has room yields: others wait
            await self._pace.rest(spent)
        if subscriber.state not in OVER:
            archivist.learn(subscriber, walk)
        return True

    async def end(self, subscriber: Subscriber, gate: Gate, rest: Join | None) -> None:
        """Send the last block, and before it the join `rest` that has not left yet."""
        try:
            if rest is not None and not fits(rest, subscriber):
                if not await self.push_join(subscriber, gate, rest):
                    return
                rest = None
            await self.push(subscriber, gate, self.last_message(subscriber, rest))
        finally:
            subscriber.end("ended")

    async def end_all(self, subscriber: Subscriber, gate: Gate) -> None:
        """Send what one join has of what has not left yet, and the last block.

        A reader that was blocked while its grant ended gets nothing that came later. With a new grant it comes back to
        where it stood, and loses nothing.
        """
        if not subscriber.ended:
            rest = None if subscriber.barred else self._joins.take(subscriber)
            await self.end(subscriber, gate, rest)

    def last_message(self, subscriber: Subscriber, rest: Join | None) -> Message:
        """Make the message that ends a stream: the join `rest`, which has not left yet, and the last block."""
        body = subscriber.last_words
        if rest is not None:
            self._stats.sent(1, rest.events, rest.size)
            subscriber.advance(rest.last, rest.events, rest.size, rest.weight)
            body = b"".join([*rest.pieces, body])
        return body_message(body, more=False)

    async def end_half(self, subscriber: Subscriber, gate: Gate, half: Half) -> None:
        """Wait for the last send of a stream, which has begun."""
        try:
            await finish(half, gate)
        except Exception:
            _log.debug("send failed", exc_info=True)
        finally:
            subscriber.end("ended")


def fits(rest: Join | None, subscriber: Subscriber) -> bool:
    """Return True when the join that has not left yet and the last block are one message."""
    return rest is None or rest.size + len(subscriber.last_words) <= JOIN_SIZE
