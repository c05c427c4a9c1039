"""Delivery: from pending frames to each subscriber's `send`, and the conversation of one stream.

    put    a frame goes to its audiences; a flush is due at the end of this turn of the loop, or once the publishes
           that are being read have been read, too (`GATHER`)
    turn   each audience's pending frames are joined and swept to its members, at most `PASS_SIZE` sends a turn
    carry  a task for who is blocked: finishes the send, then sends from the history until it has caught up
    open   one stream: headers, opening, replay up to the head
    wait   then parked until the client goes or the stream is ended
    pass   or, beneath middlewares: live with the server's own `send`, once the way past them is known to be open

It deals with sends, messages and positions; it must not know stores, topics' names or HTTP. `send` is never called
while the last call is pending: who is `live` is sent to by the pump, everybody else by exactly one task.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any

from fastsse import encode_comment
from fastsse.broadcast._pump import Half, begin, finish, sweep
from fastsse.broadcast.audiences import Audience
from fastsse.broadcast.history import Frame
from fastsse.broadcast.joins import JOIN_SIZE, Join, Joins, body_message, pending_size
from fastsse.broadcast.stats import Stats
from fastsse.broadcast.subscriber import Gate, Subscriber

if TYPE_CHECKING:
    from fastsse.broadcast.direct import Way

__all__ = ["GATHER", "PASS_SIZE", "Delivery", "Message", "Receive", "Send"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PASS_SIZE = 2000  # sends in one turn of the loop
GATHER = 0.002  # seconds that a flush waits at most for the publishes that are being read
_WAY_TIME = 1.0  # seconds that middlewares have to let the opening block out

_HEARTBEAT = body_message(encode_comment())

_log = logging.getLogger("fastsse.broadcast")


class _Sweep:
    """A join on its way to the members of an audience, in bounded steps.

    Attributes:
        events: how many it has; 0 for a heartbeat.
        first, last: their positions.
        index: the next member, in a circle that begins at another one each time: nobody is always the last.
        left: how many have not had their turn.
    """

    __slots__ = ("audience", "events", "first", "index", "last", "left", "members", "message", "since")  # fmt: skip

    def __init__(
        self, audience: Audience, message: Message, events: int, first: int, last: int, turn: int
    ) -> None:
        self.members = audience.call()
        self.left = len(self.members)
        self.index = turn % self.left
        self.audience = audience
        self.message = message
        self.events = events
        self.first = first
        self.last = last
        self.since = audience.pending_since

    def step(self, most: int) -> tuple[int, int]:
        """The next `most` members, or fewer at the end of the list: from where, up to where."""
        start = self.index
        stop = min(start + min(most, self.left), len(self.members))
        self.left -= stop - start
        self.index = stop % len(self.members)
        return start, stop


class Delivery:
    """The pump and its tasks, on one loop.

    Args:
        loop: the loop that everything is called from.
        joins: what each subscriber is sent next.
        stats: where sends are counted.
        coalesce: milliseconds that a flush waits for more; 0 for the end of the turn.

    Attributes:
        blocked: who has a pending send.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, joins: Joins, stats: Stats, coalesce: float
    ) -> None:
        self._loop = loop
        self.blocked: dict[Subscriber, None] = {}
        self._joins = joins
        self._stats = stats
        self._coalesce = coalesce / 1000
        self._dirty: deque[Audience] = deque()  # audiences with pending frames
        self._beats: deque[Audience] = deque()  # audiences that are due a heartbeat
        self._sweep: _Sweep | None = None
        self._expected: set[object] = set()  # publishes that are being read
        self._late: asyncio.TimerHandle | None = None  # of a flush that waits for them
        self._turn_due = False  # a turn is scheduled
        self._turns = 0
        self._tasks: set[asyncio.Task[None]] = set()

    # Put and sweep.

    def put(self, audience: Audience, frame: Frame) -> None:
        """An audience gets a frame; it leaves with whatever else comes until the flush."""
        audience.newest = frame.position
        audience.events += 1
        audience.size += len(frame.block)
        if not audience.pending:
            audience.pending_since = self._loop.time()
            self._dirty.append(audience)
        audience.pending.append(frame)
        if not self._turn_due:
            self._turn_due = True
            if self._coalesce:
                self._loop.call_later(self._coalesce, self._turn)
            elif self._expected:
                self._late = self._loop.call_later(GATHER, self._wait_no_more)
            else:
                self._loop.call_soon(self._turn)

    def expect(self, publish: object) -> None:
        """A publish is being read: what others publish meanwhile leaves together with it, if it comes soon."""
        self._expected.add(publish)

    def release(self, publish: object) -> None:
        """It has been read, or never will be."""
        self._expected.discard(publish)
        if self._late is not None and not self._expected:
            self._late.cancel()
            self._late = None
            self._loop.call_soon(self._turn)

    def _wait_no_more(self) -> None:
        """Who is late is not waited for again."""
        self._late = None
        self._expected.clear()
        self._turn()

    def beat(self, audience: Audience) -> None:
        """An audience gets a heartbeat, unless events come first."""
        self._beats.append(audience)
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """One turn of the pump: at most `PASS_SIZE` sends, then the loop's other work, then on."""
        budget = PASS_SIZE
        while budget > 0:
            going = self._sweep = self._sweep or self._next_sweep()
            if going is None:
                self._turn_due = False
                return
            start, stop = going.step(budget)
            budget -= stop - start
            finished, rest = sweep(
                going.members, start, stop, going.message, going.first, going.last
            )
            self._count(going, finished)
            for subscriber, outcome in rest:
                self._after(subscriber, outcome, going)
            self._sweep = going if going.left else None
        self._loop.call_soon(self._turn)

    def _next_sweep(self) -> _Sweep | None:
        self._turns += 1
        while self._dirty:
            audience = self._dirty.popleft()
            if not audience.members:
                audience.pending.clear()
                continue
            first = audience.pending[0].position
            join = self._joins.pending(audience)
            audience.quiet_since = self._loop.time()
            audience.sent += join.size
            going = _Sweep(audience, join.message, join.events, first, join.last, self._turns)
            if audience.pending:
                self._dirty.append(audience)
            return going
        while self._beats:
            audience = self._beats.popleft()
            if audience.members:
                audience.quiet_since = self._loop.time()
                return _Sweep(audience, _HEARTBEAT, 0, 0, 0, self._turns)
        return None

    def _count(self, going: _Sweep, sends: int) -> None:
        if not sends:
            return
        if not going.events:
            self._stats.heartbeats += sends
            return
        self._stats.sent(sends, going.events, len(going.message["body"]))
        self._stats.latency.observe(self._loop.time() - going.since, sends)

    def _after(
        self, subscriber: Subscriber, outcome: Half | Exception | None, going: _Sweep
    ) -> None:
        """Who could not be sent to in passing."""
        if isinstance(outcome, Exception):
            _log.debug("send failed", exc_info=outcome)
            self.settle(subscriber)
            subscriber.end("disconnected")
        elif subscriber.itself and not subscriber.live:
            subscriber.beat = subscriber.beat or not going.events
            subscriber.park.wake()
        else:
            if outcome is not None and going.events:
                self._stats.sent(1, going.events, len(going.message["body"]))
            self._block(subscriber, outcome)

    def settle(self, subscriber: Subscriber) -> None:
        """Add what the pump has sent to a stream since it went live to the stream's account."""
        account, audience, going = subscriber.account, subscriber.audience, self._sweep
        if account is None:
            return
        events, size = audience.events - len(audience.pending), audience.sent
        if going is not None and going.audience is audience and subscriber.position < going.last:
            events -= going.events  # the sweep has not come to it yet
            size -= len(going.message["body"])
        account.settle(events, size)

    # Carry: who is blocked.

    def _block(self, subscriber: Subscriber, half: Half | None) -> None:
        audience = subscriber.audience
        subscriber.live = False
        self.settle(subscriber)
        self._wait(subscriber)
        subscriber.events = audience.events - len(audience.pending)
        subscriber.size = audience.size - sum(len(frame.block) for frame in audience.pending)
        subscriber.carry = Gate()
        self._task(self._carry(subscriber, subscriber.carry, half))

    def _wait(self, subscriber: Subscriber) -> None:
        subscriber.blocked_since = self._loop.time()
        self.blocked[subscriber] = None

    def _go_on(self, subscriber: Subscriber) -> None:
        if subscriber.blocked_since:
            subscriber.blocked_since = 0.0
            self.blocked.pop(subscriber, None)

    def forget(self, subscriber: Subscriber) -> None:
        """It has ended, whatever it waits for."""
        self.settle(subscriber)
        self.blocked.pop(subscriber, None)

    async def _carry(self, subscriber: Subscriber, gate: Gate, half: Half | None) -> None:
        """Finish a blocked subscriber's send, send what came meanwhile, and give it back to the pump."""
        try:
            if half is not None and not await finish(half, gate):
                return
            self._stats.lag.observe(subscriber.audience.events - subscriber.events)
            await self._send_all(subscriber, gate)
            if subscriber.ending is None:
                if not subscriber.ended:
                    self._go_live(subscriber)
            elif not subscriber.itself:
                await self._send_last(subscriber, gate)
        except Exception:
            _log.debug("send failed", exc_info=True)
            subscriber.end("disconnected")
        finally:
            subscriber.carry = None
            subscriber.park.wake()  # who ends itself may do so now

    async def _send_all(self, subscriber: Subscriber, gate: Gate) -> None:
        """Send from the history until the subscriber has everything, or shall end."""
        while not subscriber.ended and subscriber.ending is None:
            join = self._joins.next(subscriber)
            if join is None or not await self._push(subscriber, gate, join.message):
                return
            self.advance(subscriber, join)
            if join.size * 2 > JOIN_SIZE:
                await asyncio.sleep(0)  # a send that has room does not yield: others want to run

    def advance(self, subscriber: Subscriber, join: Join) -> None:
        """A join was handed to the subscriber: it stands behind it."""
        subscriber.position = join.last
        self._stats.sent(1, join.events, join.size)
        if subscriber.account is not None:
            subscriber.account.add(join.events, join.size)
        if subscriber.events >= 0:
            subscriber.events += join.events
            subscriber.size += join.size

    async def _push(self, subscriber: Subscriber, gate: Gate, message: Message) -> bool:
        """One send, waited for; whether it finished."""
        half = begin(subscriber.send(message))
        if not half.done:
            self._wait(subscriber)
            if not await finish(half, gate):
                return False
        self._go_on(subscriber)
        return True

    # End.

    def end(self, subscriber: Subscriber, reason: str, last: bytes) -> None:
        """End a stream with a last block and the end of its body, as soon as its pending send allows."""
        if subscriber.ended or subscriber.ending is not None:
            return
        subscriber.ending = last
        subscriber.reason = reason
        live, subscriber.live = subscriber.live, False
        if live:
            self.settle(subscriber)
        if subscriber.itself:
            subscriber.park.wake()
        elif live:
            subscriber.carry = Gate()
            self._end_live(subscriber, subscriber.carry, last)

    def _end_live(self, subscriber: Subscriber, gate: Gate, last: bytes) -> None:
        try:
            half = begin(subscriber.send(body_message(last, more=False)))
        except Exception:
            subscriber.end("disconnected")
            return
        if half.done:
            subscriber.end("ended")
        else:
            self._wait(subscriber)
            self._task(_end_later(subscriber, gate, half))

    async def _send_last(self, subscriber: Subscriber, gate: Gate) -> None:
        if not subscriber.ended:
            message = body_message(subscriber.ending or b"", more=False)
            await self._push(subscriber, gate, message)
        subscriber.end("ended")

    def _task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Let every task go; for when no stream is left to be served."""
        for task in tuple(self._tasks):
            task.cancel()

    # Converse: one stream.

    async def open(
        self, subscriber: Subscriber, start: Message, block: bytes, way: Way | None
    ) -> bool:
        """The headers, the opening block with what was missed, up to the head; whether to go on.

        Where a way is looked for, no further than the opening block: nothing else shall be in flight then.
        """
        gate = subscriber.park
        if way is not None:
            way.watch(subscriber)
        if not await self._push(subscriber, gate, start):
            return False
        join = self._joins.next(subscriber)
        body = block if join is None else block + join.message["body"]
        if way is not None:
            way.expect(body)
        if not await self._push(subscriber, gate, body_message(body)):
            return False
        if join is not None:
            self.advance(subscriber, join)
        if way is None:
            await self._send_all(subscriber, gate)
        if subscriber.ending is not None:
            await self._send_last(subscriber, gate)
        if subscriber.ended:
            return False
        if way is None:
            _stand_at_head(subscriber)
            if not subscriber.itself:
                self._go_live(subscriber)
        return True

    def wait(self, subscriber: Subscriber, receive: Receive, way: Way | None) -> Awaitable[None]:
        """What the connection's own task does until the client has gone or the stream has been ended."""
        if subscriber.itself:
            return self._serve(subscriber, receive, way)
        task = _cancellable()
        if task is None:
            return _park_aside(subscriber, receive)
        return _park(subscriber, receive, task)

    async def _serve(self, subscriber: Subscriber, receive: Receive, way: Way | None) -> None:
        """Send from the connection's own task: for a `send` that only this task may call."""
        watch = self._loop.create_task(_watch(subscriber, receive))
        gate = subscriber.park
        try:
            if way is not None:
                await self._pass(subscriber, way)
            while not subscriber.ended:
                await self._send_all(subscriber, gate)
                if subscriber.ending is not None:
                    await self._send_last(subscriber, gate)
                elif subscriber.beat:
                    subscriber.beat = False
                    await self._push(subscriber, gate, _HEARTBEAT)
                    self._stats.heartbeats += 1
                elif not subscriber.ended:
                    await self._idle(gate)
        finally:
            watch.cancel()

    async def _pass(self, subscriber: Subscriber, way: Way) -> None:
        """Be live past the middlewares, if the way opens; until the stream shall end.

        The end is left to the wrapped `send`, and to the connection's own task: middlewares want to see it.
        """
        wrapped = subscriber.send
        late = self._loop.call_later(_WAY_TIME, way.decide, False)
        while way.open is None and not subscriber.ended and subscriber.ending is None:
            await self._idle(subscriber.park)
        late.cancel()
        if way.open:
            subscriber.send = way.send
        await self._send_all(subscriber, subscriber.park)
        _stand_at_head(subscriber)
        if way.open and not subscriber.ended and subscriber.ending is None:
            self._go_live(subscriber)
        while subscriber.live or subscriber.carry is not None:
            await self._idle(subscriber.park)
        subscriber.send = wrapped

    def _go_live(self, subscriber: Subscriber) -> None:
        """It stands at the head and nothing is pending: the pump may call its `send`."""
        self._go_on(subscriber)
        subscriber.live = True
        if subscriber.account is not None:
            audience = subscriber.audience
            subscriber.account.live = audience.events, audience.sent + pending_size(audience)

    async def _idle(self, gate: Gate) -> None:
        gate.idle = self._loop.create_future()
        await gate.idle


def _stand_at_head(subscriber: Subscriber) -> None:
    subscriber.events = subscriber.audience.events
    subscriber.size = subscriber.audience.size


def _cancellable() -> asyncio.Task[Any] | None:
    """The running task, when it is asyncio's own kind: that of granian's ``--task-impl rust`` is a shell of one."""
    task = asyncio.current_task()
    if task is not None:
        try:
            task.get_loop()
        except RuntimeError:
            return None
    return task


async def _park(subscriber: Subscriber, receive: Receive, task: asyncio.Task[Any]) -> None:
    """Wait in the connection's own task, and keep nothing beside what the server keeps for it."""
    gate = subscriber.park
    before = gate.enter(task)
    try:
        while not subscriber.ended and (await receive())["type"] != "http.disconnect":
            pass
    except BaseException as error:
        if not gate.leave(task, before, error):
            raise
    else:
        gate.leave(task, before, None)


async def _park_aside(subscriber: Subscriber, receive: Receive) -> None:
    """The same for a task that cannot be cancelled."""
    while not subscriber.ended:
        half = begin(receive())
        if not half.done and not await finish(half, subscriber.park):
            return
        if half.value["type"] == "http.disconnect":
            return


async def _watch(subscriber: Subscriber, receive: Receive) -> None:
    """End the stream when its client has gone; for a `receive` that only a task may call."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.end("disconnected")


async def _end_later(subscriber: Subscriber, gate: Gate, half: Half) -> None:
    try:
        await finish(half, gate)
    finally:
        subscriber.end("ended")
