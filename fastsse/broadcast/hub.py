"""The hub: publish, subscribe, deliver, inside one process and on one event loop.

    publish   encode once, append to the store
    report    the store gives the event back with its position: into the history, to the audiences
    flush     once per loop turn: each audience's pending frames are joined and swept to its members
    carry     a task for who is blocked: finishes the send, then sends from the history until it has caught up

It deals with send callables and messages; it must not know requests, routes or status codes. A publisher never
waits for a reader. Every bound is a field of `Settings`; `PASS_SIZE` is the number of sends after which a pass
yields to the loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from fastsse import InvalidField, encode, encode_comment
from fastsse.broadcast._pump import Half, begin, finish, sweep
from fastsse.broadcast.audiences import Audience, Audiences, Filter
from fastsse.broadcast.history import Frame, History
from fastsse.broadcast.joins import GAP, JOIN_SIZE, Join, Joins, body_message
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.stores import Draft, Entry, Store
from fastsse.broadcast.stores.memory import MemoryStore
from fastsse.broadcast.subscriber import Gate, Subscriber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from typing_extensions import Buffer

    from fastsse.broadcast.embedding import HubResponse, Subscription

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["EVENT_STREAM_HEADERS", "PASS_SIZE", "Hub", "Receipt"]

EVENT_STREAM_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)
PASS_SIZE = 2000  # sends in one turn of the loop
_LAST_WORDS = 0.5  # seconds that a blocked stream has at shutdown before it is cut
_SERVERS = ("granian", "uvicorn")  # whose own send and receive may be stepped outside a task

_HEARTBEAT = body_message(encode_comment())

_log = logging.getLogger("fastsse.broadcast")


class Receipt(NamedTuple):
    """What became of a published event.

    Attributes:
        id: its id on the wire.
        topics: what it was published to.
        subscribers: how many open streams follow one of its topics.
    """

    id: str
    topics: tuple[str, ...]
    subscribers: int


class _Sweep:
    """A join on its way to the members of an audience, in bounded steps."""

    __slots__ = ("events", "first", "index", "last", "members", "message")

    def __init__(
        self, audience: Audience, message: Message, events: int, first: int, last: int, turn: int
    ) -> None:
        members = list(audience.members)
        start = turn % len(members)
        self.events = events
        self.members = members[start:] + members[:start]  # nobody is always the last
        self.message = message
        self.first = first  # 0: a heartbeat
        self.last = last
        self.index = 0


class Hub:
    """Fan-out inside one process. All methods are for the loop that `start` ran on.

    Args:
        settings: the knobs; defaults when None.
        store: where the log lives; this process's memory when None.
        direct: whether the pump may call each connection's `send` itself; None decides by whose `send` it is:
            one that is wrapped by middleware is only called from its own task.

    Attributes:
        settings: the knobs.
        published, delivered, joined: events appended, events handed to sends, sends that carried them.
        ended: streams that ended, by reason.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        store: Store | None = None,
        *,
        direct: bool | None = None,
    ) -> None:
        self.settings = knobs = Settings() if settings is None else settings
        self._store: Store = MemoryStore() if store is None else store
        self._direct = direct
        self._history = History(
            events=knobs.history_events,
            size=knobs.history_bytes,
            total=knobs.history_total,
            topics=knobs.max_topics,
        )
        self._joins = Joins(self._history, "", knobs.retry)
        self._epoch = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._audiences = Audiences()
        self._streams = 0
        self._dirty: deque[Audience] = deque()  # audiences with pending frames
        self._beats: deque[Audience] = deque()  # audiences that are due a heartbeat
        self._sweep: _Sweep | None = None
        self._turn_due = False  # a _turn is scheduled
        self._turns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_gone: asyncio.Future[None] | None = None
        self.draining = False
        self.published = 0
        self.delivered = 0
        self.joined = 0
        self.ended: Counter[str] = Counter()

    # Life.

    async def start(self) -> None:
        """Open the store, fill the history from it, and start the timer. Does nothing when started already.

        Raises:
            OSError: the store cannot be opened.
        """
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._epoch = await self._store.open()
        self._joins = Joins(self._history, self._epoch, self.settings.retry)
        await self._store.follow(0, self._report)
        self._timer = self._loop.call_later(self._interval, self._tick)

    def drain(self) -> None:
        """Begin to end every stream: each gets a last block and the end of its body; new ones are refused.

        The last blocks spread the readers' return: each names another reconnection time, one to two times the usual.
        """
        if self.draining:
            return
        self.draining = True
        if self._loop is None:
            return
        retry = self.settings.retry
        for subscriber in self._audiences.members():
            later = retry + random.randrange(retry + 1)
            self._end(subscriber, "shutdown", encode(None, comment="shutdown", retry=later))
        self._loop.call_later(_LAST_WORDS, self._cut)

    async def stop(self) -> None:
        """Drain, wait until every stream has ended (at most a moment), and close the store."""
        if self._loop is None:
            return
        self.drain()
        if self._streams:
            self._all_gone = self._loop.create_future()
            await asyncio.wait([self._all_gone], timeout=2 * _LAST_WORDS)
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await self._store.close()
        self._loop = None

    def _cut(self) -> None:
        for subscriber in self._audiences.members():
            subscriber.end("shutdown")

    @property
    def full(self) -> bool:
        """Whether `Settings.max_streams` are open."""
        return self._streams >= self.settings.max_streams

    def health(self) -> dict[str, object]:
        """The hub's state, for JSON: what it holds now and what it did since it started."""
        return {
            "status": "draining" if self.draining else "ok",
            "epoch": self._epoch,
            "head": self._history.head,
            "streams": self._streams,
            "topics": self._audiences.topics,
            "history": {"topics": self._history.topics, "bytes": self._history.size},
            "published": self.published,
            "delivered": self.delivered,
            "sends": self.joined,
            "gaps": self._joins.gaps,
            "ended": dict(self.ended),
        }

    # Publish.

    async def publish(
        self,
        topics: str | Iterable[str],
        data: str | Buffer,
        *,
        event: str | None = None,
        retry: int | None = None,
    ) -> Receipt:
        """Append one event to the log; its delivery begins within this turn of the loop.

        Args:
            topics: one or more names; what is named twice counts once.
            data: text or bytes-like UTF-8, at most `Settings.max_event_size` bytes.
            event: the event type; ``gap`` is reserved.
            retry: reconnection time for its readers, milliseconds.

        Raises:
            InvalidField: a value cannot be published; nothing was.
            OSError: the store cannot be written; nothing was published.
            RuntimeError: the hub is not started.
        """
        draft = self._draft(topics, data, event, retry)
        if self._loop is None:
            raise RuntimeError("the hub is not started")
        matched = self._audiences.matched(draft.topics)
        position = await self._store.append(draft)
        self.published += 1
        return Receipt(self._joins.id(position), draft.topics, matched)

    def publish_threadsafe(
        self,
        topics: str | Iterable[str],
        data: str | Buffer,
        *,
        event: str | None = None,
        retry: int | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """`publish`, from a thread that is not the loop's; waits for the receipt.

        Args:
            timeout: seconds to wait for the loop; None for as long as it takes.

        Raises:
            TimeoutError: the loop had no time; the event may still be published.
        """
        if self._loop is None:
            raise RuntimeError("the hub is not started")
        publishing = self.publish(topics, data, event=event, retry=retry)
        return asyncio.run_coroutine_threadsafe(publishing, self._loop).result(timeout)

    def check(
        self,
        topics: str | Iterable[str],
        data: str | Buffer,
        *,
        event: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Whether `publish` would take these; publishes nothing.

        Raises:
            InvalidField: it would not.
        """
        self._draft(topics, data, event, retry)

    def check_topics(self, topics: str | Iterable[str], limit: int) -> tuple[str, ...]:
        """The topics, sorted, none twice.

        Raises:
            InvalidField: there is none, there are more than `limit`, or one cannot be a name.
        """
        names = (topics,) if isinstance(topics, str) else tuple(topics)
        if not names:
            raise InvalidField("topic", None, "at least one is needed, as in ?topic=news")
        unique = sorted(set(names))
        if len(unique) > limit:
            raise InvalidField("topic", f"{len(unique)} topics", f"at most {limit} are allowed")
        for name in unique:
            self._check_topic(name)
        return tuple(unique)

    def _check_topic(self, name: str) -> None:
        limit = self.settings.max_topic_length
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise InvalidField("topic", name, "must be valid Unicode") from None
        if not 0 < size <= limit:
            raise InvalidField("topic", name, f"must be 1 to {limit} bytes of UTF-8")
        if not name.isprintable():
            raise InvalidField("topic", name, "must not contain control or unassigned characters")

    def _draft(
        self,
        topics: str | Iterable[str],
        data: str | Buffer | None,
        event: str | None,
        retry: int | None,
    ) -> Draft:
        names = self.check_topics(topics, self.settings.topics_per_publish)
        if event == GAP:
            raise InvalidField("event", event, "is reserved: it tells readers of a gap")
        if data is None:
            raise InvalidField("data", data, "is needed: an event without data is never dispatched")
        block = encode(data, event=event, retry=retry)
        limit = self.settings.max_event_size
        if len(block) > limit:  # a quick look first: the block is never smaller than its data
            size = len(data.encode()) if isinstance(data, str) else memoryview(data).nbytes
            if size > limit:
                raise InvalidField("data", f"{size} bytes", f"must be at most {limit} bytes")
        return Draft(names, block)

    # Deliver.

    def _report(self, entry: Entry) -> None:
        """The store's news: every event of the log comes by here, in order, whoever published it."""
        frame = self._joins.frame(entry.position, entry.topics, entry.block)
        self._history.append(frame)
        for topic in entry.topics:
            for audience in self._audiences.of(topic):
                if audience.newest != frame.position and audience.takes(frame):
                    self._put(audience, frame)
        if self._dirty and not self._turn_due:
            self._schedule_flush()

    def _put(self, audience: Audience, frame: Frame) -> None:
        audience.newest = frame.position
        audience.events += 1
        audience.size += len(frame.block)
        if not audience.pending:
            self._dirty.append(audience)
        audience.pending.append(frame)

    def _schedule_flush(self) -> None:
        assert self._loop is not None
        self._turn_due = True
        if self.settings.coalesce:
            self._loop.call_later(self.settings.coalesce / 1000, self._turn)
        else:
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """One turn of the pump: at most `PASS_SIZE` sends, then the loop's other work, then on."""
        budget = PASS_SIZE
        while budget > 0:
            going = self._sweep or self._next_sweep()
            if going is None:
                self._turn_due = False
                return
            stop = min(going.index + budget, len(going.members))
            budget -= stop - going.index
            finished, rest = sweep(
                going.members, going.index, stop, going.message, going.first, going.last
            )
            self._count(finished, going.events)
            for subscriber, outcome in rest:
                self._after(subscriber, outcome, going)
            going.index = stop
            self._sweep = going if stop < len(going.members) else None
        assert self._loop is not None
        self._loop.call_soon(self._turn)

    def _next_sweep(self) -> _Sweep | None:
        assert self._loop is not None
        self._turns += 1
        while self._dirty:
            audience = self._dirty.popleft()
            if not audience.members:
                audience.pending.clear()
                continue
            first = audience.pending[0].position
            join = self._joins.pending(audience)
            if audience.pending:
                self._dirty.append(audience)
            audience.quiet_since = self._loop.time()
            return _Sweep(audience, join.message, join.events, first, join.last, self._turns)
        while self._beats:
            audience = self._beats.popleft()
            if audience.members:
                audience.quiet_since = self._loop.time()
                return _Sweep(audience, _HEARTBEAT, 0, 0, 0, self._turns)
        return None

    def _count(self, sends: int, events: int) -> None:
        if events:
            self.joined += sends
            self.delivered += sends * events

    def _after(
        self, subscriber: Subscriber, outcome: Half | Exception | None, going: _Sweep
    ) -> None:
        """Who could not be sent to in passing."""
        if isinstance(outcome, Exception):
            _log.debug("send failed", exc_info=outcome)
            subscriber.end("disconnected")
        elif subscriber.itself:
            subscriber.beat = subscriber.beat or not going.events
            subscriber.park.wake()
        else:
            if outcome is not None:
                self._count(1, going.events)
            self._block(subscriber, outcome)

    def _block(self, subscriber: Subscriber, half: Half | None) -> None:
        assert self._loop is not None
        audience = subscriber.audience
        subscriber.live = False
        subscriber.blocked_since = self._loop.time()
        subscriber.events = audience.events - len(audience.pending)
        subscriber.size = audience.size - sum(len(frame.block) for frame in audience.pending)
        subscriber.carry = Gate()
        self._task(self._carry(subscriber, subscriber.carry, half))

    async def _carry(self, subscriber: Subscriber, gate: Gate, half: Half | None) -> None:
        """Finish a blocked subscriber's send, send what came meanwhile, and give it back to the pump."""
        try:
            if half is not None and not await finish(half, gate):
                return
            await self._send_all(subscriber, gate)
            if subscriber.ending is not None:
                await self._send_last(subscriber, gate)
            elif not subscriber.ended:
                self._go_live(subscriber)
        except Exception:
            _log.debug("send failed", exc_info=True)
            subscriber.end("disconnected")
        finally:
            subscriber.carry = None

    def _go_live(self, subscriber: Subscriber) -> None:
        """It stands at the head and nothing is pending: the pump may call its `send`."""
        subscriber.blocked_since = 0.0
        subscriber.live = not subscriber.itself

    async def _send_all(self, subscriber: Subscriber, gate: Gate) -> None:
        """Send from the history until the subscriber has everything, or shall end."""
        while not subscriber.ended and subscriber.ending is None:
            join = self._joins.next(subscriber)
            if join is None or not await self._push(subscriber, gate, join.message):
                return
            self._advance(subscriber, join)
            if join.size * 2 > JOIN_SIZE:
                await asyncio.sleep(0)  # a send that has room does not yield: others want to run

    def take_next(self, subscriber: Subscriber) -> Join | None:
        """The next join of one who is not sent to but takes; None when it has everything."""
        join = self._joins.next(subscriber)
        if join is not None:
            self._advance(subscriber, join)
        return join

    def _advance(self, subscriber: Subscriber, join: Join) -> None:
        subscriber.position = join.last
        self._count(1, join.events)
        if subscriber.events >= 0:
            subscriber.events += join.events
            subscriber.size += join.size

    async def _push(self, subscriber: Subscriber, gate: Gate, message: Message) -> bool:
        """One send, waited for; whether it finished."""
        assert self._loop is not None
        subscriber.blocked_since = self._loop.time()
        half = begin(subscriber.send(message))
        finished = half.done or await finish(half, gate)
        subscriber.blocked_since = 0.0
        return finished

    # End.

    def _end(self, subscriber: Subscriber, reason: str, last: bytes) -> None:
        """End a stream with a last block and the end of its body, as soon as its pending send allows."""
        if subscriber.ended or subscriber.ending is not None:
            return
        subscriber.ending = last
        subscriber.reason = reason
        if subscriber.live:
            subscriber.live = False
            subscriber.carry = Gate()
            self._end_live(subscriber, subscriber.carry, last)
        elif subscriber.itself:
            subscriber.park.wake()

    def _end_live(self, subscriber: Subscriber, gate: Gate, last: bytes) -> None:
        try:
            half = begin(subscriber.send(body_message(last, more=False)))
        except Exception:
            subscriber.end("disconnected")
            return
        if half.done:
            subscriber.end("ended")
        else:
            self._task(self._end_later(subscriber, gate, half))

    async def _end_later(self, subscriber: Subscriber, gate: Gate, half: Half) -> None:
        assert self._loop is not None
        subscriber.blocked_since = self._loop.time()
        try:
            await finish(half, gate)
        finally:
            subscriber.end("ended")

    async def _send_last(self, subscriber: Subscriber, gate: Gate) -> None:
        if not subscriber.ended:
            message = body_message(subscriber.ending or b"", more=False)
            await self._push(subscriber, gate, message)
        subscriber.end("ended")

    def _task(self, coroutine: Any) -> None:
        assert self._loop is not None
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Subscribe.

    async def stream(
        self,
        receive: Receive,
        send: Send,
        topics: str | Iterable[str],
        *,
        last_event_id: str | None = None,
        labels: bool = False,
        filter: Filter | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """One event stream, from its response's start to its end; returns when it is over.

        Args:
            receive, send: the connection's own, as the ASGI server gave them.
            topics: what it follows.
            last_event_id: where the reader left off; ``earliest`` for all that is kept.
            labels: begin each block with a comment that names its topics.
            filter: which events it gets; all when None. A stream with a filter shares no bytes with others.
            headers: more response headers.

        Raises:
            InvalidField: a topic cannot be followed; nothing was sent.
            RuntimeError: the hub is not started, or it is full or draining: ask before.
        """
        itself = not self._may_step(send, receive)
        subscriber, block = self.admit(topics, last_event_id, labels, filter, send, itself)
        start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*EVENT_STREAM_HEADERS, *headers],
        }
        try:
            if await self._open(subscriber, start, block):
                await (self._serve if itself else self._park)(subscriber, receive)
        except Exception:
            # A server may raise once its client has gone; nobody is left to be told.
            _log.debug("stream failed", exc_info=True)
        finally:
            subscriber.end("disconnected")
            self.dismiss(subscriber)

    def subscribe(
        self,
        topics: str | Iterable[str],
        *,
        last_event_id: str | None = None,
        filter: Filter | None = None,
    ) -> Subscription:
        """Follow topics in this process: ``async with hub.subscribe("news") as events: async for event in events``.

        Arguments and errors as `stream`.
        """
        from fastsse.broadcast.embedding import Subscription

        return Subscription(self, topics, last_event_id, filter)

    def response(
        self,
        topics: str | Iterable[str],
        *,
        last_event_id: str | None = None,
        labels: bool = False,
        filter: Filter | None = None,
    ) -> HubResponse:
        """A stream as an ASGI response, for an endpoint of any framework to return.

        Arguments as `stream`; the request's own ``Last-Event-ID`` is used when `last_event_id` is None.

        Raises:
            InvalidField: a topic cannot be followed.
        """
        from fastsse.broadcast.embedding import HubResponse

        names = self.check_topics(topics, self.settings.topics_per_stream)
        return HubResponse(self, names, last_event_id, labels, filter)

    def admit(
        self,
        topics: str | Iterable[str],
        last_event_id: str | None,
        labels: bool,
        filter: Filter | None,
        send: Send,
        itself: bool,
    ) -> tuple[Subscriber, bytes]:
        """Register, so that nothing is missed from here on; the subscriber and its opening block.

        For `stream` and `Subscription`; who admits must `dismiss`. Arguments and errors as `stream`.
        """
        names = self.check_topics(topics, self.settings.topics_per_stream)
        if self._loop is None or self.draining or self.full:
            raise RuntimeError("the hub takes no stream now: it is not started, draining or full")
        audience = self._audiences.find(names, labels, filter, self._loop.time())
        opening = self._joins.opening(names, last_event_id)
        subscriber = Subscriber(audience, send, opening.position, self._deadline(), itself=itself)
        subscriber.told = opening.told
        subscriber.latest = self.settings.slow_policy == "latest"
        audience.members[subscriber] = None
        self._streams += 1
        return subscriber, opening.block

    def _may_step(self, *callables: Any) -> bool:
        if self._direct is not None:
            return self._direct
        return all(
            type(getattr(own, "__self__", None)).__module__.partition(".")[0] in _SERVERS
            for own in callables
        )

    def _deadline(self) -> float:
        assert self._loop is not None
        lifetime = self.settings.lifetime
        return self._loop.time() + lifetime * random.uniform(0.8, 1.0) if lifetime else float("inf")

    async def _open(self, subscriber: Subscriber, start: Message, block: bytes) -> bool:
        """The headers, the opening block with what was missed, up to the head; whether to go on."""
        gate = subscriber.park
        if not await self._push(subscriber, gate, start):
            return False
        join = self._joins.next(subscriber)
        body = block if join is None else block + join.message["body"]
        if not await self._push(subscriber, gate, body_message(body)):
            return False
        if join is not None:
            self._advance(subscriber, join)
        await self._send_all(subscriber, gate)
        if subscriber.ending is not None:
            await self._send_last(subscriber, gate)
        if subscriber.ended:
            return False
        subscriber.events = subscriber.audience.events
        subscriber.size = subscriber.audience.size
        self._go_live(subscriber)
        return True

    async def _park(self, subscriber: Subscriber, receive: Receive) -> None:
        """Wait, in the connection's own task, until the client has gone or the stream has been ended."""
        while not subscriber.ended:
            half = begin(receive())
            if not half.done and not await finish(half, subscriber.park):
                return
            if half.value["type"] == "http.disconnect":
                return

    async def _serve(self, subscriber: Subscriber, receive: Receive) -> None:
        """The same for a connection whose `send` only its own task may call."""
        assert self._loop is not None
        watch = self._loop.create_task(_watch(subscriber, receive))
        gate = subscriber.park
        try:
            while not subscriber.ended:
                await self._send_all(subscriber, gate)
                if subscriber.ending is not None:
                    await self._send_last(subscriber, gate)
                elif subscriber.beat:
                    subscriber.beat = False
                    await self._push(subscriber, gate, _HEARTBEAT)
                elif not subscriber.ended:
                    gate.idle = self._loop.create_future()
                    await gate.idle
        finally:
            watch.cancel()

    def dismiss(self, subscriber: Subscriber) -> None:
        """Take an ended subscriber out."""
        self._audiences.leave(subscriber)
        self._streams -= 1
        self.ended[subscriber.reason] += 1
        topics = ", ".join(subscriber.audience.topics)
        _log.info("stream ended: %s; topics %s", subscriber.reason, topics)
        if self._all_gone is not None and not self._streams and not self._all_gone.done():
            self._all_gone.set_result(None)

    # The one timer: heartbeats, lifetimes, slow readers.

    @property
    def _interval(self) -> float:
        """Seconds between ticks: often enough for the shortest time that is asked for, at most a second."""
        knobs = self.settings
        times = [t for t in (knobs.heartbeat, knobs.lifetime, knobs.lag_seconds) if t]
        return max(0.01, min(1.0, *(t / 8 for t in times)))

    def _tick(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        heartbeat = self.settings.heartbeat
        half_tick = self._interval / 2
        for audience in self._audiences:
            if heartbeat and now - audience.quiet_since >= heartbeat - half_tick:
                self._beats.append(audience)
            for subscriber in audience.members:
                if subscriber.blocked_since:
                    self._judge(subscriber, now)
                if now >= subscriber.deadline:
                    self._end(subscriber, "lifetime", encode_comment("lifetime"))
        if self._beats and not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)
        self._timer = self._loop.call_later(self._interval, self._tick)

    def _judge(self, subscriber: Subscriber, now: float) -> None:
        """End or skip a blocked subscriber that is over a limit. Skipping frees what it lags behind, not time."""
        knobs = self.settings
        audience = subscriber.audience
        blocked = now - subscriber.blocked_since > knobs.lag_seconds
        behind = subscriber.events >= 0 and (
            audience.events - subscriber.events > knobs.lag_events
            or audience.size - subscriber.size > knobs.lag_bytes
        )
        if not (blocked or behind):
            return
        if knobs.slow_policy == "end" or subscriber.ending is not None:
            subscriber.end("slow")
        else:
            subscriber.skip = True


async def _watch(subscriber: Subscriber, receive: Receive) -> None:
    """End the stream when its client has gone; for a `receive` that only a task may call."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscriber.end("disconnected")
