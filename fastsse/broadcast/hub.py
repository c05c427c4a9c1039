"""The hub: publish and subscribe inside one process, on one event loop.

    publish    encode once, append to the store
    report     the store gives the event back with its position: into the history, to the audiences
    subscribe  register, replay to the mark, go live: one position and the history are all that it takes

It knows topics, stores and limits; it must not know requests, routes or status codes, and it leaves the sending to
`Delivery`. A publisher never waits for a reader. Every bound is a field of `Settings`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from fastsse import InvalidField, encode, encode_comment
from fastsse.broadcast.account import log_end, open_account
from fastsse.broadcast.audiences import Audiences, Filter
from fastsse.broadcast.delivery import Delivery, Receive, Send
from fastsse.broadcast.direct import DIRECT, Scope, Way
from fastsse.broadcast.history import History
from fastsse.broadcast.joins import GAP, Join, Joins
from fastsse.broadcast.limits import TopicLimits
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.stats import Stats
from fastsse.broadcast.stores import Draft, Entry, Store
from fastsse.broadcast.stores.memory import MemoryStore
from fastsse.broadcast.subscriber import Subscriber

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fastsse.broadcast.embedding import HubResponse, Subscription

__all__ = ["EVENT_STREAM_HEADERS", "Hub", "Receipt"]

EVENT_STREAM_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)

_LAST_WORDS = 0.5  # seconds that a blocked stream has at shutdown before it is cut
_AGES = 50  # looks at who is too old in one lifetime: each is linear in the streams
_PACE = 0.02  # seconds between the steps of a paced drain
_SERVERS = ("granian", "uvicorn")  # whose own send and receive may be stepped outside a task

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


class Hub:
    """Fan-out inside one process. All methods but `publish_threadsafe` are for the loop that `start` ran on.

    Args:
        settings: the knobs; defaults when None.
        store: where the log lives; this process's memory when None.
        direct: whether the pump may call each connection's `send` itself; None decides by whose `send` it is:
            one that is wrapped by middleware is only called from its own task, unless `Direct` shows it a way.

    Attributes:
        settings: the knobs.
        history: what can be replayed.
        audiences: who follows what.
        stats: what it has done.
        streams: how many are open.
        draining: streams are being ended, and no new one is let in.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        store: Store | None = None,
        *,
        direct: bool | None = None,
    ) -> None:
        self.settings = knobs = Settings() if settings is None else settings
        self._limits = limits = TopicLimits(knobs)
        self.history = History(kept=limits.kept, total=knobs.history_total, topics=knobs.max_topics)
        self.audiences = Audiences(limits.of_stream)
        self.stats = Stats()
        self.streams = 0
        self.draining = False
        self._store: Store = MemoryStore() if store is None else store
        self._direct = direct
        self._epoch = ""
        self._running: _Running | None = None
        self._all_gone: asyncio.Future[None] | None = None

    # Life.

    async def start(self) -> None:
        """Open the store, fill the history from it, and start the timer. Does nothing when started already.

        Raises:
            OSError: the store cannot be opened.
        """
        if self._running is not None:
            return
        loop = asyncio.get_running_loop()
        self._epoch = await self._store.open()
        joins = Joins(self.history, self._epoch, self.settings.retry, self.stats)
        delivery = Delivery(loop, joins, self.stats, self.settings.coalesce)
        ages_due = loop.time() if self.settings.lifetime else float("inf")
        self._running = _Running(loop, joins, delivery, ages_due)
        await self._store.follow(0, self._report)
        self._running.timer = loop.call_later(self._interval, self._tick)

    def drain(self) -> None:
        """Begin to end every stream: each gets a last block and the end of its body; new ones are refused.

        They end over `Settings.drain` seconds, at once when that is 0. The last blocks spread the readers' return:
        each names another reconnection time, one to two times the usual.
        """
        if self.draining:
            return
        self.draining = True
        if self._running is None:
            return
        leaving = self.audiences.members()
        random.shuffle(leaving)
        steps = max(1, round(self.settings.drain / _PACE))
        self._drain_step(leaving, -(-len(leaving) // steps))

    def _drain_step(self, leaving: list[Subscriber], count: int) -> None:
        """End the next `count` streams, and come back for the rest."""
        running = self._running
        if running is None:
            return
        retry = self.settings.retry
        for subscriber in leaving[:count]:
            later = retry + random.randrange(retry + 1)
            last = encode(None, comment="shutdown", retry=later)
            running.delivery.end(subscriber, "shutdown", last)
        del leaving[:count]
        if leaving:
            running.loop.call_later(_PACE, self._drain_step, leaving, count)
        else:  # not by the clock: a busy machine takes longer, and nobody is cut before its turn
            running.loop.call_later(_LAST_WORDS, self._cut)

    async def stop(self) -> None:
        """Drain, wait until every stream has ended (at most a moment more), and close the store."""
        running = self._running
        if running is None:
            return
        self.drain()
        if self.streams:
            self._all_gone = running.loop.create_future()
            await asyncio.wait([self._all_gone], timeout=self.settings.drain + 2 * _LAST_WORDS)
        if running.timer is not None:
            running.timer.cancel()
        running.delivery.cancel()
        await self._store.close()
        self._running = None

    def _cut(self) -> None:
        for subscriber in self.audiences.members():
            subscriber.end("shutdown")

    @property
    def full(self) -> bool:
        """Whether `Settings.max_streams` are open."""
        return self.streams >= self.settings.max_streams

    @property
    def blocked(self) -> int:
        """How many streams have a pending send."""
        return 0 if self._running is None else len(self._running.delivery.blocked)

    def health(self) -> dict[str, object]:
        """The hub's state, for JSON: what it holds now and what it did since it started."""
        return {
            "status": "draining" if self.draining else "ok",
            "epoch": self._epoch,
            "head": self.history.head,
            "streams": self.streams,
            "limit": self.settings.max_streams,
            "blocked": self.blocked,
            "topics": self.audiences.topics,
            "history": {"topics": self.history.topics, "bytes": self.history.size},
            **self.stats.members(),
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
        running = self._started()
        matched = self.audiences.matched(draft.topics)
        position = await self._store.append(draft)
        self.stats.published += 1
        return Receipt(running.joins.id(position), draft.topics, matched)

    def expect(self, publish: object) -> None:
        """A publish is being read: what is published meanwhile waits for it, `GATHER` at most, to leave in one send.

        Who expects must `release` in the end. Not for a publish that may take its time, such as a stream of events.
        """
        if self._running is not None:
            self._running.delivery.expect(publish)

    def release(self, publish: object) -> None:
        """It has been read and is published at once, or never will be."""
        if self._running is not None:
            self._running.delivery.release(publish)

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
        loop = self._started().loop
        publishing = self.publish(topics, data, event=event, retry=retry)
        return asyncio.run_coroutine_threadsafe(publishing, loop).result(timeout)

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

    def _started(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the hub is not started")
        return self._running

    def _report(self, entry: Entry) -> None:
        """The store's news: every event of the log comes by here, in order, whoever published it."""
        running = self._running
        if running is None:
            return
        frame = running.joins.frame(entry.position, entry.topics, entry.block)
        self.history.append(frame)
        for topic in entry.topics:
            for audience in self.audiences.of(topic):
                if audience.newest != frame.position and audience.takes(frame):
                    running.delivery.put(audience, frame)

    # Subscribe.

    def stream(
        self,
        receive: Receive,
        send: Send,
        topics: str | Iterable[str],
        *,
        last_event_id: str | None = None,
        labels: bool = False,
        filter: Filter | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        remote: Sequence[Any] | None = None,
        scope: Scope | None = None,
    ) -> Coroutine[Any, Any, None]:
        """One event stream, from its response's start to its end; returns when it is over.

        Args:
            receive, send: the connection's own, as the ASGI server gave them.
            topics: what it follows.
            last_event_id: where the reader left off; ``earliest`` for all that is kept.
            labels: begin each block with a comment that names its topics.
            filter: which events it gets; all when None. A stream with a filter shares no bytes with others.
            headers: more response headers.
            remote: the client's host and port, for the log.
            scope: the request's, where `Direct` stands around the app.

        Raises:
            InvalidField: a topic cannot be followed; nothing was sent.
            RuntimeError: the hub is not started, or it is full or draining: ask before.
        """
        names = self.check_topics(topics, self.settings.topics_per_stream)
        way = None if scope is None else scope.get(DIRECT)
        return self.converse(
            receive, send, names, last_event_id, labels, filter, headers, remote, way
        )

    async def converse(
        self,
        receive: Receive,
        send: Send,
        names: tuple[str, ...],
        last_event_id: str | None,
        labels: bool,
        filter: Filter | None,
        headers: Iterable[tuple[bytes, bytes]],
        remote: Sequence[Any] | None,
        way: Way | None,
    ) -> None:
        """`stream`, for who has the topics from `check_topics`."""
        if way is not None and send is way:
            send = way.send  # nothing stands between
        itself = not self._may_step(send, receive)
        if way is not None and not (itself and self._may_step(way.send)):
            way = None
        subscriber, block = self.admit(names, last_event_id, labels, filter, send, itself, remote)
        delivery = self._started().delivery
        try:
            if await delivery.open(subscriber, _start(headers), block, way):
                del block, headers, names, remote  # or they would live as long as the stream
                await delivery.wait(subscriber, receive, way)
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
        names: tuple[str, ...],
        last_event_id: str | None,
        labels: bool,
        filter: Filter | None,
        send: Send,
        itself: bool,
        remote: Sequence[Any] | None = None,
    ) -> tuple[Subscriber, bytes]:
        """Register, so that nothing is missed from here on; the subscriber and its opening block.

        For `converse` and `Subscription`; who admits must `dismiss`. Arguments and errors as `converse`.
        """
        running = self._started()
        if self.draining or self.full:
            reason = "draining" if self.draining else "full"
            raise RuntimeError(f"the hub takes no stream now: it is {reason}")
        now = running.loop.time()
        audience = self.audiences.find(names, labels, filter, now)
        account, told = open_account(remote), self.stats.gaps.total()
        opening = running.joins.opening(names, last_event_id)
        deadline = now + self._lifetime()
        subscriber = Subscriber(audience, send, opening.position, deadline, itself=itself)
        subscriber.told = opening.told
        if account is not None:
            account.gaps = self.stats.gaps.total() - told
            subscriber.account = account
        audience.enter(subscriber)
        self.streams += 1
        return subscriber, opening.block

    def _may_step(self, *callables: Any) -> bool:
        if self._direct is not None:
            return self._direct
        owners: list[type] = [type(getattr(own, "__self__", None)) for own in callables]
        return all(map(_is_servers, owners))

    def _lifetime(self) -> float:
        """Seconds that a new stream may last: 80 to 100 % of the setting, so that streams do not end together."""
        lifetime = self.settings.lifetime
        return lifetime * random.uniform(0.8, 1 - 1 / _AGES) if lifetime else float("inf")

    def take_next(self, subscriber: Subscriber) -> Join | None:
        """The next join of one who is not sent to but takes; None when it has everything."""
        running = self._started()
        join = running.joins.next(subscriber)
        if join is not None:
            running.delivery.advance(subscriber, join)
        return join

    def dismiss(self, subscriber: Subscriber) -> None:
        """Take an ended subscriber out."""
        self.audiences.leave(subscriber)
        self.streams -= 1
        self.stats.ended[subscriber.reason] += 1
        if self._running is not None:
            self._running.delivery.forget(subscriber)
        id = f"{self._epoch}-{subscriber.position}"
        log_end(subscriber.reason, subscriber.audience.topics, id, subscriber.account)
        if self._all_gone is not None and not self.streams and not self._all_gone.done():
            self._all_gone.set_result(None)

    # The one timer: heartbeats, lifetimes, slow readers.

    @property
    def _interval(self) -> float:
        """Seconds between ticks: often enough for the shortest time that is asked for, at most a second."""
        knobs = self.settings
        times = [t for t in (knobs.heartbeat, knobs.lifetime, self._limits.shortest) if t]
        return max(0.01, min(1.0, *(t / 8 for t in times)))

    def _tick(self) -> None:
        running = self._started()
        now = running.loop.time()
        heartbeat = self.settings.heartbeat
        half_tick = self._interval / 2
        for audience in self.audiences:
            if heartbeat and now - audience.quiet_since >= heartbeat - half_tick:
                running.delivery.beat(audience)
        for subscriber in tuple(running.delivery.blocked):
            self._judge(subscriber, now)
        if now >= running.ages_due:
            running.ages_due = now + self.settings.lifetime / _AGES
            for subscriber in self.audiences.members():
                if now >= subscriber.deadline:
                    running.delivery.end(subscriber, "lifetime", _LIFETIME)
        running.timer = running.loop.call_later(self._interval, self._tick)

    def _judge(self, subscriber: Subscriber, now: float) -> None:
        """End or skip a blocked subscriber that is over a limit. Skipping frees what it lags behind, not time."""
        audience = subscriber.audience
        limits = audience.limits
        blocked = now - subscriber.blocked_since > limits.lag_seconds
        behind = subscriber.events >= 0 and (
            audience.events - subscriber.events > limits.lag_events
            or audience.size - subscriber.size > limits.lag_bytes
        )
        if not (blocked or behind):
            return
        if limits.slow_policy == "end" or subscriber.ending is not None:
            subscriber.end("slow")
        else:
            subscriber.skip = True


_LIFETIME = encode_comment("lifetime")  # a stream's last block when its time is over


def _start(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, object]:
    """A stream's first message."""
    headers = [*EVENT_STREAM_HEADERS, *headers]
    return {"type": "http.response.start", "status": 200, "headers": headers}


@lru_cache(maxsize=64)
def _is_servers(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _SERVERS


class _Running:
    """What a started hub has."""

    __slots__ = ("ages_due", "delivery", "joins", "loop", "timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, joins: Joins, delivery: Delivery, ages_due: float
    ) -> None:
        self.loop = loop
        self.joins = joins
        self.delivery = delivery
        self.timer: asyncio.TimerHandle | None = None
        self.ages_due = ages_due  # loop time of the next look at who is too old
