"""Delivery: from pending records to each subscriber's `send`.

    put    a record goes to its audiences; a flush is due at the end of this turn of the loop, or once the publishes
           that are being read have been read, too (`GATHER`)
    turn   each audience's pending records are joined and swept to its members, at most `PASS_SIZE` sends a turn
    finish when all topics of an audience have ended, its streams end after what is pending, as many in a turn
    carry  a task for a subscriber whose send did not finish: finishes it, then sends until the stream has caught up

`send` is never called while the last call is pending: the pump sends to LIVE subscribers (`State`), and to every other
one exactly one task does.

The module knows audiences, sweeps and sends; it must not know stores, topics' names or requests.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastsse.broadcast.hub import pace
from fastsse.broadcast.hub._pump import Half, begin, finish, sweep
from fastsse.broadcast.hub.sending import FINISHED, Sender, fits
from fastsse.broadcast.hub.sweeps import Left, Line, Sweep

if TYPE_CHECKING:
    from types import TracebackType

    from fastsse._gate import Gate
    from fastsse.broadcast.hub.audiences import Audience
    from fastsse.broadcast.hub.history import Record
    from fastsse.broadcast.hub.joins import Join, JoinMaker
    from fastsse.broadcast.hub.stats import Stats
    from fastsse.broadcast.hub.subscriber import Subscriber

__all__ = ["GATHER", "PASS_SIZE", "Delivery", "Gathering"]

PASS_SIZE = 2000  # sends in one turn of the loop
GATHER = 0.002  # seconds that a flush waits at most for the publishes that are being read

_Rest = list[tuple["Subscriber", "Half | Exception | None"]]

_log = logging.getLogger("fastsse.broadcast")


class Delivery:
    """The pump and its tasks, on one loop.

    Args:
        loop: the loop that everything is called from.
        joins: gives what each subscriber is sent next.
        sender: sends for tasks.
        stats: where sends are counted.
        coalesce: seconds that a flush waits for more; 0 for the end of the turn.

    Attributes:
        busy: the last turn has left something to be sent.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        joins: JoinMaker,
        sender: Sender,
        stats: Stats,
        coalesce: float,
    ) -> None:
        self.busy = False
        self._loop = loop
        self._joins = joins
        self._sender = sender
        self._stats = stats
        self._coalesce = coalesce
        self._line = Line(loop, joins)
        self._sweep: Sweep | None = None
        self._pace = pace.Pace(loop)  # of large sweeps
        self._over: deque[tuple[Audience[Subscriber], Iterator[Subscriber]]] = deque()
        self._expected: set[object] = set()  # publishes that are being read
        self._late: asyncio.TimerHandle | None = None  # of a flush that waits for them
        self._turn_due = False  # a turn is scheduled
        self._tasks: set[asyncio.Task[None]] = set()

    # Put and sweep.

    def put(self, audience: Audience[Subscriber], record: Record) -> None:
        """Give a record to an audience; it leaves with whatever else comes until the flush."""
        audience.newest = record.position
        audience.total_events += 1
        audience.total_bytes += len(record.block)
        if not audience.pending:
            audience.pending_since = self._loop.time()
            self._line.add(audience, record)
        audience.pending.append(record)
        if not self._turn_due:
            self._turn_due = True
            if self._coalesce:
                self._loop.call_later(self._coalesce, self._turn)
            elif self._expected:
                self._late = self._loop.call_later(GATHER, self._flush_late)
            else:
                self._loop.call_soon(self._turn)

    def gathering(self) -> Gathering:
        """Hold the next flush while a publish is being read, for at most `GATHER`: see `Hub.gathering`."""
        return Gathering(self)

    def expect(self, publish: object) -> None:
        """Hold the next flush for this publish."""
        self._expected.add(publish)

    def release(self, publish: object) -> None:
        """Hold the flush no longer for this publish: it has been read, or never will be."""
        self._expected.discard(publish)
        if self._late is not None and not self._expected:
            self._late.cancel()
            self._late = None
            self._loop.call_soon(self._turn)

    def _flush_late(self) -> None:
        """Flush without the publishes that are still being read; they do not delay later flushes either."""
        self._late = None
        self._expected.clear()
        self._turn()

    def beat(self, audience: Audience[Subscriber]) -> None:
        """Give an audience a heartbeat, unless events come first."""
        self._line.add_beat(audience)
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Make one turn of the pump: at most `PASS_SIZE` sends, then the loop's other work, then on."""
        budget, start_of_turn, large = PASS_SIZE, pace.clock(), False
        while budget > 0:
            going = self._sweep = self._sweep or self._line.next()
            if going is None:
                if self._over:
                    budget -= self._end_some(budget)
                    continue
                self._turn_due = self.busy = False
                return
            start, stop = going.step(budget // going.weight or 1)
            budget -= (stop - start) * going.weight
            message = going.join.message
            if message is not None:
                finished, rest = sweep(going.members, start, stop, message, going.first, going.last)
            else:
                finished, rest = self._sweep_large(going, start, stop)
                large = True
            self._count(going, finished)
            for subscriber, outcome in rest:
                self._after(subscriber, outcome, going)
            if not going.left:
                self._line.close(going)
            self._sweep = going if going.left and not self._line.may_be_passed(going) else None
        self.busy = True
        rest_for = self._pace.rest_after(pace.clock() - start_of_turn) if large else 0.0
        if rest_for:
            self._loop.call_later(rest_for, self._turn)
        else:
            self._loop.call_soon(self._turn)

    def _sweep_large(self, going: Sweep, start: int, stop: int) -> tuple[int, _Rest]:
        """Sweep a join of several messages: each member gets them one after the other, as its sends allow.

        A member that has no room for all of them is carried through the rest at its own pace. Its position moves with
        the last message only, so no subscriber ever stands in the middle of a block.
        """
        finished = 0
        rest: _Rest = []
        for subscriber in going.members[start:stop]:
            if not subscriber.live:
                if subscriber.own_task:
                    rest.append((subscriber, None))
            elif subscriber.position >= going.first:
                if subscriber.position < going.last:
                    rest.append((subscriber, None))
            else:
                try:
                    finished += self._send_large(subscriber, going)
                except Exception as error:
                    rest.append((subscriber, error))
        return finished, rest

    def _send_large(self, subscriber: Subscriber, going: Sweep) -> bool:
        """Send a large join's messages to one member. Returns True when the member has all of them."""
        for index in range(going.sends):
            message = self._sender.cuts.part(going.join, index)
            half = begin(subscriber.send(message))
            if subscriber.ended:  # by its own `send`
                half.drop()
                return False
            if not half.done:
                self._block(subscriber, half, len(message["body"]), Left(going.join, index + 1))
                return False
        subscriber.swept(going.last)
        return True

    def _count(self, going: Sweep, sends: int) -> None:
        if not sends:
            return
        if not going.events:
            self._stats.heartbeats += sends
            return
        self._stats.sent(sends, going.events, going.join.size)
        self._stats.latency.observe(self._loop.time() - going.since, sends)

    def _after(
        self, subscriber: Subscriber, outcome: Half | Exception | None, going: Sweep
    ) -> None:
        """Handle a subscriber whose send did not finish within the sweep."""
        if isinstance(outcome, Exception):
            _log.debug("send failed", exc_info=outcome)
            self.settle(subscriber)
            subscriber.end("disconnected")
        elif subscriber.own_task and not subscriber.live:
            if not going.events:
                subscriber.beat_later()
            subscriber.park.wake()
        else:
            if outcome is not None and going.events:
                self._stats.sent(1, going.events, going.join.size)
            self._block(subscriber, outcome, going.join.size if outcome is not None else 0)

    def settle(self, subscriber: Subscriber) -> None:
        """Add what the pump has sent to a stream since it went live to the stream's tally."""
        tally, audience = subscriber.tally, subscriber.audience
        if tally is None:
            return
        going = self._line.begun_for(audience) or self._sweep
        events, size = audience.total_events - len(audience.pending), audience.sent
        if going is not None and going.audience is audience and subscriber.position < going.last:
            events -= going.events  # the sweep has not come to it yet
            size -= going.join.size
        tally.end_live(events, size)

    # Carry: a subscriber whose send did not finish.

    def _block(
        self, subscriber: Subscriber, half: Half | None, size: int, left: Left | None = None
    ) -> None:
        """Let a task carry a subscriber whose send of `size` bytes pends, first through what is left of a join."""
        self.settle(subscriber)
        self._sender.block(subscriber, size)
        gate = (
            subscriber.carry(0, 0)
            if left is None
            else subscriber.carry(left.join.events, left.join.weight)
        )
        self._task(self._carry(subscriber, gate, half, left))

    async def _carry(
        self, subscriber: Subscriber, gate: Gate, half: Half | None, left: Left | None
    ) -> None:
        """Finish a subscriber's send, send what came meanwhile, and give the stream back to the pump."""
        sender = self._sender
        try:
            if half is not None and not await finish(half, gate):
                return
            if left is not None and not await sender.push_join(subscriber, gate, *left):
                return
            self._stats.lag.observe(subscriber.lag_events)
            await sender.send_all(subscriber, gate)
            if not subscriber.ending:
                if not subscriber.ended:
                    self.go_live(subscriber)
            elif not subscriber.own_task:
                await sender.end_all(subscriber, gate)
        except Exception:
            _log.debug("send failed", exc_info=True)
            subscriber.end("disconnected")
        finally:
            subscriber.end_carry()

    def go_live(self, subscriber: Subscriber) -> None:
        """Give a stream that stands at the head to the pump."""
        if subscriber.blocked_since is not None:
            self._sender.unblock(subscriber)
        subscriber.go_live()

    def forget(self, subscriber: Subscriber) -> None:
        """Let go of a subscriber that has ended, whatever it waits for."""
        self.settle(subscriber)
        self._sender.forget(subscriber)

    # End.

    def finish(self, audience: Audience[Subscriber]) -> None:
        """End the streams of an audience whose topics have all ended, once they have what is pending.

        The pump ends those that are LIVE. Every other stream looks for itself when it has everything.
        """
        self._over.append((audience, iter(audience.snapshot())))
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _end_some(self, most: int) -> int:
        """End at most so many streams whose topics have ended. Returns how many members it looked at."""
        audience, members = self._over[0]
        found = list(islice(members, most)) if self._joins.is_over(audience) else []
        for subscriber in found:
            if subscriber.live:
                self.end(subscriber, FINISHED, b"")
        if len(found) < most:
            self._over.popleft()
        return max(1, len(found))

    def end(self, subscriber: Subscriber, reason: str, last_words: bytes) -> None:
        """End a stream with a last block and the end of its body, as soon as its pending send allows."""
        if subscriber.ended or subscriber.ending:
            return
        was_live = subscriber.live
        gate = subscriber.begin_end(reason, last_words)
        if was_live:
            self.settle(subscriber)
        if gate is not None:
            self._end_live(subscriber, gate, self._joins.take(subscriber))

    def _end_live(self, subscriber: Subscriber, gate: Gate, rest: Join | None) -> None:
        """Send the last block to a stream that was live: at once where one message is enough."""
        if not fits(rest, subscriber):
            self._task(self._end_large(subscriber, gate, rest))
            return
        message = self._sender.last_message(subscriber, rest)
        try:
            half = begin(subscriber.send(message))
        except Exception:
            subscriber.end("disconnected")
            return
        if half.done:
            subscriber.end("ended")
        else:
            self._sender.block(subscriber, len(message["body"]))
            self._task(self._sender.end_half(subscriber, gate, half))

    async def _end_large(self, subscriber: Subscriber, gate: Gate, rest: Join | None) -> None:
        """End a stream by a task of its own, because it has more to get than one message takes."""
        try:
            await self._sender.end(subscriber, gate, rest)
        except Exception:
            _log.debug("send failed", exc_info=True)

    # Tasks.

    def _task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel every task: no stream is left that they could serve."""
        for task in tuple(self._tasks):
            task.cancel()


class Gathering:
    """A publish that is being read, as a block of code: see `Hub.gathering`."""

    __slots__ = ("_delivery",)

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __enter__(self) -> None:
        self._delivery.expect(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._delivery.release(self)
