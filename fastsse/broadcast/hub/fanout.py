"""The inside of a started hub, from a start to the end that follows it, on one event loop.

    opening ──► open ──► draining ──► sealed ──► over
                  └── streams and publishes ──┘
                 (draining: no new stream; sealed: no new publish; over: the store is closed)

A hub that is started again gets a new fanout, so that nothing of an old loop reaches into it: no timer, no future, no
task. Every stream enters by `admit` and leaves by `dismiss`.

The module knows streams, loops and who waits for what; it must not know stores, requests or sends.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from fastsse.broadcast.hub.archive import Archivist
from fastsse.broadcast.hub.delivery import Delivery
from fastsse.broadcast.hub.drafts import MAX_BESIDE
from fastsse.broadcast.hub.holders import Holders
from fastsse.broadcast.hub.joins import JoinMaker
from fastsse.broadcast.hub.keyed import Keyed
from fastsse.broadcast.hub.places import Opening, Places
from fastsse.broadcast.hub.refusal import Refusal
from fastsse.broadcast.hub.runs import Jobs
from fastsse.broadcast.hub.sending import Sender
from fastsse.broadcast.hub.subscriber import Subscriber, Taker
from fastsse.broadcast.hub.tally import Tally, log, log_end, open_tally
from fastsse.broadcast.stores import Archive
from fastsse.broadcast.stores.opening import is_shared
from fastsse.errors import FastSSEError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fastsse.asgi import Send
    from fastsse.broadcast.hub.audiences import Audience, Audiences
    from fastsse.broadcast.hub.eras import Eras
    from fastsse.broadcast.hub.history import History
    from fastsse.broadcast.hub.stats import Stats
    from fastsse.broadcast.hub.terms import Terms
    from fastsse.broadcast.settings import Settings
    from fastsse.broadcast.stores import Log, Store

__all__ = ["AGES", "LOOP_CLOSED", "Fanout", "HubClosed"]

A = TypeVar("A")

AGES = 50  # looks at which streams are too old in one lifetime: each look is linear in the streams

LOOP_CLOSED = "the hub is stopping and its event loop is closed: nothing was published"

_EVER = float("inf")
# Seconds that the store has to tell of a place that another process has given to a reader. A store that has lost
# contact tries again after 5 s at the latest, and the reader's own process may be back before others.
_HEARING = 8.0
_HEARD = 0.03  # seconds between two looks for it
_LOOK = 0.25  # seconds between looks at a loop that may have been closed while a thread waits
_ELSEWHERE = (
    "the hub runs on another event loop than this call: publish with hub.publish_threadsafe(...) from there, and "
    "follow on the hub's own loop"
)


class HubClosed(FastSSEError, RuntimeError):
    """The hub is stopping: it takes no new stream, or, once its store is closed, no event."""


def _kept_of_run(settings: Settings) -> tuple[int, int]:
    """Return how many events and bytes the history keeps of a run: everything, and its end."""
    return 2**40, settings.run_bytes + 2 * (settings.max_event_size + MAX_BESIDE)


class Fanout:
    """Everything that a hub has between `start` and the end.

    Attributes:
        loop: the event loop of the start; everything else here belongs to it.
        settings, stats, audiences: the hub's.
        history, places, joins, sender, delivery: what streams are sent from and by; set by `set_up`.
        archivist: reads for readers that are older than the history; None where the store is no archive.
        step_sends: the pump may call the `send` of every connection, or of none; None: it depends on the `send`.
        open_streams: how many streams are open.
        expiring: the streams whose terms end at a time, and that loop time.
        holders: how many streams each subject and each address has.
        open: publishes are taken.
        draining: streams are being ended, and no new one is let in.
        opened: done when the start has succeeded or failed.
        ending: the task that ends the streams and closes the store, once the hub drains.
        closing: the store is being closed, or was.
        over: done when the store is closed.
        failure: what the store raised when it was closed.
        undo: called at the end: for a timer or a signal that is no longer of use.
        appending: publishes that the store has not yet answered.
        burst: what was published since a publisher last gave way, see `Hub.publish`.
        keyed: the publishes with a key that the store has not yet answered.
        jobs: the runs that go on.
        ending_topics: by topic, what gives its end to the store, until the store has reported that.
        ended_at: the last ends of topics, one for each second: loop time, and position in the log.
        shared: other processes may append to the log of this hub's store.
        stalled_since: loop time since which the store's engine cannot be reached; None while it can.
    """

    __slots__ = (
        "_changed", "appending", "archivist", "audiences", "burst", "closing", "delivery", "draining", "ended_at",
        "ending", "ending_topics", "expiring", "failure", "history", "holders", "jobs", "joins", "keyed", "loop",
        "open", "open_streams", "opened", "over", "places", "sender", "settings", "shared", "stalled_since",
        "stats", "step_sends", "undo",
    )  # fmt: skip

    history: History
    places: Places
    joins: JoinMaker
    sender: Sender
    delivery: Delivery

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        audiences: Audiences[Subscriber],
        stats: Stats,
        *,
        step_sends: bool | None,
    ) -> None:
        self.loop = loop
        self.settings = settings
        self.audiences = audiences
        self.stats = stats
        self.step_sends = step_sends
        self.archivist: Archivist | None = None
        self.open_streams = 0
        self.expiring: dict[Subscriber, float] = {}
        self.holders = Holders(settings)
        self.open = False
        self.draining = False
        self.opened: asyncio.Future[None] = loop.create_future()
        self.ending: asyncio.Task[None] | None = None
        self.closing = False
        self.over: asyncio.Future[None] = loop.create_future()
        self.failure: Exception | None = None
        self.undo: list[Callable[[], object]] = []
        self.appending = 0
        self.keyed = Keyed()
        self.shared = False
        self.stalled_since: float | None = None
        self.burst = 0
        self.ended_at: deque[tuple[float, int]] = deque()
        self.ending_topics: dict[str, asyncio.Task[Any]] = {}
        self.jobs = Jobs(settings.max_runs, _kept_of_run(settings), stats.runs)
        self._changed: asyncio.Future[None] | None = None  # done at the next `change`

    def set_up(self, history: History, eras: Eras, log: Log, store: Store) -> None:
        """Make what sends from this history, once the store has said what its log is."""
        knobs, stats = self.settings, self.stats
        self.history = history
        self.places = Places(history, eras, knobs.retry, knobs.heartbeat, stats)
        self.places.begin_at(eras.position(max(log.floor, eras.floor)))
        if history.ends.kept:  # from an earlier start
            self.ended_at.append((self.loop.time(), history.head))
        self.joins = JoinMaker(history, self.places, stats)
        self.shared = is_shared(store)
        if isinstance(store, Archive):
            self.archivist = Archivist(store, history, self.places)
        self.sender = Sender(self.loop, self.joins, self.archivist, knobs.heartbeat, stats)
        self.delivery = Delivery(self.loop, self.joins, self.sender, stats, knobs.coalesce)

    @property
    def here(self) -> bool:
        """True when this fanout's loop is the one that runs in this thread."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def check_here(self) -> None:
        """Refuse a call from elsewhere, which would disturb the hub unseen.

        Raises:
            RuntimeError: another loop runs in this thread, or none.
        """
        try:
            if asyncio.get_running_loop() is self.loop:
                return
        except RuntimeError:  # no loop runs here
            pass
        raise RuntimeError(_ELSEWHERE)

    def await_answer(self, answer: Future[A], timeout: float | None) -> A:
        """Wait in another thread for what this loop answers; look now and then whether the loop was closed.

        Raises:
            TimeoutError: the loop had no time.
            HubClosed: the loop was closed, and will never answer.
            An exception of the answer's own.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LOOK if end is None else min(_LOOK, max(0.0, end - time.monotonic()))
            try:
                return answer.result(left)
            except TimeoutError:
                if answer.done():  # just now, or the store's own timeout
                    return answer.result()
                if self.loop.is_closed():
                    raise HubClosed(LOOP_CLOSED) from None
                if end is not None and time.monotonic() >= end:
                    answer.cancel()
                    raise

    # Streams come and go.

    def refusal(self, terms: Terms) -> Refusal | None:
        """Return why no stream with these terms can begin now; None when one can.

        The reasons are ``draining``, ``full`` (all streams are taken) and ``names`` (the names that streams follow take
        `Settings.max_followed` bytes). A stream that follows the same topics in the same form as another one brings no
        new names.
        """
        knobs, audiences = self.settings, self.audiences
        if self.draining:
            return Refusal.of("draining", knobs)
        if self.open_streams >= knobs.max_streams:
            return Refusal.of("full", knobs)
        if (reason := self.holders.refusal(terms)) is not None:
            return Refusal.of(reason, knobs)
        cost = audiences.cost(terms.topics, terms.labels, terms.filter)
        return Refusal.of("names", knobs) if audiences.size + cost > knobs.max_followed else None

    def nothing_left(self, terms: Terms) -> bool:
        """Return True when a reader's topics have all ended, and nothing is kept that it has not; count that."""
        if not self.places.nothing_left(terms.topics, terms.last_event_id):
            return False
        self.stats.refused["ended"] += 1
        return True

    def admit(
        self, terms: Terms, send: Send, *, own_task: bool, asked: bool = False
    ) -> tuple[Subscriber, Opening]:
        """Let a stream in, so that nothing is missed from here on. Every `admit` needs a `dismiss`.

        Args:
            send: the connection's.
            own_task: only the connection's own task may call `send`.
            asked: the caller has just asked for a `refusal`, and there was none.

        Raises:
            HubClosed, RuntimeError: there is a `refusal`.
        """
        if not asked:
            self._check(terms)
        audience, opening, tally = self._prepare(terms)
        subscriber = Subscriber(
            audience,
            send,
            opening.position,
            opening.told,
            self._deadline(),
            tally,
            own_task=own_task,
        )
        if terms.until is not None:
            self.expiring[subscriber] = terms.until
        self.holders.enter(subscriber, terms)
        self._enter(subscriber)
        return subscriber, opening

    def admit_taker(self, terms: Terms) -> tuple[Taker, Opening]:
        """Let a subscription of this process in, as `admit` does a stream. A subscription has no lifetime."""
        self._check(terms)
        audience, opening, tally = self._prepare(terms)
        taker = Taker(audience, opening.position, opening.told, tally)
        self._enter(taker)
        return taker, opening

    def _check(self, terms: Terms) -> None:
        if (refusal := self.refusal(terms)) is not None:
            kind = HubClosed if refusal.reason == "draining" else RuntimeError
            raise kind(f"the hub takes no stream now: {refusal.reason}")

    def _prepare(self, terms: Terms) -> tuple[Audience[Subscriber], Opening, Tally | None]:
        self.check_here()
        now = self.loop.time()
        audience = self.audiences.find(terms.topics, terms.labels, terms.filter, now)
        opening = self.places.opening(terms.topics, terms.last_event_id)
        tally = open_tally(terms.remote)
        if tally is not None:
            tally.gaps = opening.gaps
        return audience, opening, tally

    def _enter(self, subscriber: Subscriber) -> None:
        self.audiences.enter(subscriber.audience, subscriber)
        self.open_streams += 1

    def _deadline(self) -> float:
        """Choose the loop time at which a new stream's lifetime is over.

        A stream lasts 80 to 100 % of the lifetime, so that streams do not end together.
        """
        lifetime = self.settings.lifetime
        if not lifetime:
            return _EVER
        return self.loop.time() + lifetime * random.uniform(0.8, 1 - 1 / AGES)

    def finish(self, subscriber: Subscriber, reason: str, last_words: bytes) -> None:
        """End one stream with a last block. A subscription has no connection, and is let go at once."""
        if isinstance(subscriber, Taker):
            subscriber.end(reason)
            self.dismiss(subscriber)
        else:
            self.delivery.end(subscriber, reason, last_words)

    def ended_of(self, topics: tuple[str, ...]) -> str | None:
        """Return the first of these topics that has ended, or is just being ended; None when none has."""
        ends, ending = self.history.ends, self.ending_topics
        if ends.kept or ends.gone or ending:
            for topic in topics:
                if topic in ending or ends.of(topic):
                    return topic
        return None

    def note_end(self, topics: tuple[str, ...]) -> None:
        """End the streams that follow nothing any more, now that these topics have ended."""
        now = self.loop.time()
        if self.ended_at and now - self.ended_at[-1][0] < 1:
            now, _ = self.ended_at.pop()
        self.ended_at.append((now, self.history.head))
        self.jobs.stop(topics, "cancelled")  # unless the run has itself ended its topic
        for topic in topics:
            self.ending_topics.pop(topic, None)
            for audience in self.audiences.of(topic):
                if self.joins.is_over(audience):
                    self.delivery.finish(audience)

    def expire(self, before: float) -> None:
        """Let go what is kept of the topics that ended before a loop time."""
        while self.ended_at and self.ended_at[0][0] <= before:
            _, position = self.ended_at.popleft()
            self.history.expire(position)

    def dismiss(self, subscriber: Subscriber) -> None:
        """Take an ended subscriber out. Does nothing the second time."""
        audience = subscriber.audience
        if not self.audiences.leave(audience, subscriber):
            return
        self.open_streams -= 1
        self.expiring.pop(subscriber, None)
        self.holders.leave(subscriber)
        self.stats.ended[subscriber.reason] += 1
        self.delivery.forget(subscriber)
        if not self.open_streams:
            self.change()
        if log.isEnabledFor(logging.INFO):
            id = self.places.id(subscriber.position)
            log_end(subscriber.reason, audience.topics, id, subscriber.tally)

    def abandon(self) -> None:
        """Let all streams go whose loop has been closed without a `stop`."""
        for subscriber in self.audiences.members():
            subscriber.abandon()
            self.dismiss(subscriber)
        self.open = False

    # The end.

    async def hear_of(self, last_event_id: str) -> None:
        """Wait until the store has told of a place that another process has given, but no longer than `_HEARING` s.

        A reader that goes from one process to another may be a few events ahead of the other one, or in a log that the
        other one has not been told of yet.
        """
        end = self.loop.time() + _HEARING
        while self.open and self.places.may_come(last_event_id) and self.loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(_HEARD)

    def change(self) -> None:
        """Tell the task that ends this fanout: the last stream has left, or the last publish is answered."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def until(self, happened: Callable[[], bool], patience: float) -> None:
        """Wait until `happened`, looked at after each `change`; at most `patience` seconds. For one task at a time."""
        end = self.loop.time() + patience
        while not happened() and (left := end - self.loop.time()) > 0:
            self._changed = self.loop.create_future()
            await asyncio.wait([self._changed], timeout=left)

    def stop(self) -> None:
        """Let the timer, the signal and the tasks go."""
        self.open = False
        for undo in self.undo:
            undo()
        self.delivery.cancel()
