"""A subscription: a hub's events in this process, as an async iterator.

A subscription is never sent to, it takes. The module knows what a started hub is, and events; it must not know ASGI.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from fastsse import Decoder, Event
from fastsse.broadcast.hub.archive import Walk
from fastsse.broadcast.hub.sending import FINISHED

if TYPE_CHECKING:
    from fastsse.broadcast.hub.fanout import Fanout
    from fastsse.broadcast.hub.joins import Join
    from fastsse.broadcast.hub.terms import Terms

__all__ = ["Subscription"]

_RUN = 64  # events that one subscription gives before others get their turn


class Subscription:
    """A subscriber in this process: an async iterator of events, gap events included.

    A slow consumer is bounded by the history alone, and a `gap` tells the consumer what it has missed. The iteration
    ends when the hub drains, and when all topics have ended, after everything that was published before; the last event
    is then an `end`. A subscription has no lifetime. Several tasks may iterate
    one subscription: each event goes to one of them.

    End a subscription with ``async with`` or `close`. One that is simply let go (a ``break``, an exception, a cancelled
    task) ends when Python collects it: at once where references are counted.

    Raises:
        RuntimeError: from the iteration, when the filter has raised; also when the subscription is iterated on another
            event loop.
    """

    def __init__(self, fanout: Fanout, terms: Terms) -> None:
        self._taking = _Taking(fanout, terms)

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._taking.next()
        finally:
            del self  # or the traceback of an exception that somebody keeps would keep the subscription, too

    def __del__(self) -> None:
        taking: _Taking | None = getattr(self, "_taking", None)  # None: the hub has refused
        if taking is not None and not taking.closed:
            taking.let_go()

    @property
    def last_event_id(self) -> str:
        """The id of its place: given to the next subscription, nothing is missed."""
        return self._taking.place

    def close(self) -> None:
        """Stop following: a task that waits for the next event gets the end of the iteration. Idempotent."""
        self._taking.close()


class _Taking:
    """The working part of a subscription.

    Neither this part nor the hub refers to the `Subscription`, so that one can be collected.

    Attributes:
        place: id of the last event that was asked for, or where the subscription has begun.
        closed: nothing more is given.
    """

    def __init__(self, fanout: Fanout, terms: Terms) -> None:
        self._taker, opening = fanout.admit_taker(terms)
        self._fanout = fanout
        self.closed = False
        self._decoder = Decoder(max_event_size=None)
        self._events = deque(self._decoder.feed(opening.block))  # taken, and not yet asked for
        self.place = (terms.last_event_id or "") if self._events else self._decoder.last_event_id
        self._page = asyncio.Lock()
        self._walk = Walk()
        self._run = 0  # events given since this last waited

    async def next(self) -> Event:
        """Return the next event, when there is one.

        Raises:
            StopAsyncIteration: there is none and will be none.
        """
        if self._run >= _RUN:
            self._run = 0
            await asyncio.sleep(0)  # what is in the history needs no wait: others need the loop
        while not self._events:
            if not (await self._turn_page() or self._take()):
                self._run = 0
                await self._taker.bell.rest()
        self._run += 1
        event = self._events.popleft()
        # An event without an id, such as the first of two gaps at the opening, does not move the place.
        self.place = (event.id if self._events else self._decoder.last_event_id) or self.place
        return event

    async def _turn_page(self) -> bool:
        """Take a page of the archive, if it is needed. Returns False when the history has all the rest.

        Raises:
            OSError: the archive cannot be read now; the next call tries again.
        """
        archivist, taker = self._fanout.archivist, self._taker
        if archivist is None or self.closed or not self._fanout.joins.too_old(taker):
            return False
        async with self._page:  # several tasks may ask at once
            if self._events or taker.ended or not self._fanout.joins.too_old(taker):
                return bool(self._events)
            if (join := await archivist.take(taker, self._walk)) is not None and not self.closed:
                self._accept(join)
            if not (taker.ended or self._fanout.joins.too_old(taker)):
                archivist.learn(taker, self._walk)
        return True

    def _accept(self, join: Join) -> None:
        """Make events of a join, and stand after it."""
        self._fanout.stats.sent(1, join.events, join.size)
        self._taker.advance(join.last, join.events, join.size, join.weight)
        for piece in join.pieces:
            self._events.extend(self._decoder.feed(piece))

    def _take(self) -> bool:
        """Take from the history what the subscription has not had. Returns False when there was nothing.

        Raises:
            StopAsyncIteration, RuntimeError: as `next`.
        """
        if self.closed:
            raise StopAsyncIteration
        taker = self._taker
        join = self._fanout.joins.take(taker)
        if join is not None:
            self._accept(join)
            return True
        broken = taker.audience.broken
        if broken is not None:
            self.close()
            raise RuntimeError("the subscription's filter raised") from broken
        if self._fanout.joins.is_over(taker.audience):
            taker.end(FINISHED)
        if taker.ended:
            self.close()
            raise StopAsyncIteration
        if asyncio.get_running_loop() is not self._fanout.loop:
            raise RuntimeError("a subscription is iterated on the event loop of its hub")
        return False

    def close(self) -> None:
        """Leave the hub, once."""
        if not self.closed:
            self.closed = True
            self._events.clear()
            self._taker.end("closed")
            self._fanout.dismiss(self._taker)

    def let_go(self) -> None:
        """Close when the `Subscription` is being collected, which may happen in any thread."""
        loop = self._fanout.loop
        if loop.is_closed() or _running_loop() is loop:
            self.close()
            return
        with contextlib.suppress(RuntimeError):  # closed just now: the hub's next start clears up
            loop.call_soon_threadsafe(self.close)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
