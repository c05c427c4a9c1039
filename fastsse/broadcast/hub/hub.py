"""The hub: publish and subscribe inside one process, on one event loop.

    publish    encode once, append to the store
    report     the store gives the event back with its position (`Reports`): into the history, to the audiences
    subscribe  enter, replay to the head, go live (`converse`): one position and the history are all that it takes

The hub is the face of this room: the module knows topics and settings, and puts the other parts together; it must not
know requests, routes or status codes. A publisher never waits for a reader. Every bound is a field of `Settings`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Coroutine, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fastsse._items import LineSeparators, Surrogates, require_iterable, writer
from fastsse._items import seconds as as_seconds
from fastsse.broadcast.hub.bypass import BYPASS
from fastsse.broadcast.hub.conversation import converse, send_away, send_head
from fastsse.broadcast.hub.drafts import TopicEnded
from fastsse.broadcast.hub.fanout import HubClosed
from fastsse.broadcast.hub.publisher import Receipt
from fastsse.broadcast.hub.refusal import Refusal
from fastsse.broadcast.hub.response import HubResponse
from fastsse.broadcast.hub.revoker import Revoker, TooManyRevoked
from fastsse.broadcast.hub.run import Run
from fastsse.broadcast.hub.runs import Job, Paper, Plan, TooManyRuns
from fastsse.broadcast.hub.subscription import Subscription
from fastsse.broadcast.hub.terms import Terms, check_asked
from fastsse.broadcast.stores import StoreState, Watched
from fastsse.broadcast.stores.opening import is_shared

if TYPE_CHECKING:
    from fastsse.asgi import Receive, Scope, Send
    from fastsse.broadcast.hub.bypass import OuterSend
    from fastsse.broadcast.hub.terms import Filter

__all__ = ["Hub", "HubClosed", "Receipt", "TooManyRevoked", "TooManyRuns"]


class Hub(Revoker):
    """Fan-out inside one process.

    All methods but `publish_threadsafe` and `drain` are for the loop that `start` ran on.

    Args:
        settings: the knobs; defaults when None.
        store: where the log lives; when None, where `Settings.store` says: this process's memory, by default.
        step_sends: the pump may call the `send` of every connection (True) or of none (False). With None that depends
            on whose `send` it is: one that is wrapped by middleware is only called from its own task, unless a `Bypass`
            shows the way to the server's own.

    Attributes:
        settings: the knobs.
        history: what can be replayed.
        audiences: who follows which topics.
        stats: what the hub has done.
        revoked: the tokens that are taken no more.
        draining: streams are being ended, or were, and the hub has not been started again.
    """

    # The state.

    @property
    def open_streams(self) -> int:
        """How many streams are open."""
        return 0 if self._fanout is None else self._fanout.open_streams

    @property
    def open_runs(self) -> int:
        """How many runs go on."""
        return 0 if self._fanout is None else len(self._fanout.jobs)

    @property
    def ended_topics(self) -> int:
        """How many topics the hub knows to have ended."""
        ends = self.history.ends
        return len(ends.kept) + len(ends.gone)

    @property
    def full(self) -> bool:
        """True when `Settings.max_streams` are open."""
        return self.open_streams >= self.settings.max_streams

    @property
    def blocked(self) -> int:
        """How many streams have a pending send."""
        fanout = self._fanout
        return len(fanout.sender.blocked) if self.started and fanout is not None else 0

    @property
    def pending_bytes(self) -> int:
        """The bytes that were handed to sends which have not finished."""
        fanout = self._fanout
        return fanout.sender.pending_size if self.started and fanout is not None else 0

    @property
    def head(self) -> int:
        """The number of the newest event in its log: the second part of its id."""
        return self._eras.number(self.history.head)

    @property
    def stalled(self) -> float | None:
        """For how many seconds the store's engine cannot be reached; None while it can, and when not started.

        Streams stay open meanwhile. Publishes fail, as the store decides.
        """
        fanout = self._fanout
        if fanout is None or fanout.stalled_since is None or fanout.loop.is_closed():
            return None
        return max(0.0, fanout.loop.time() - fanout.stalled_since)

    @property
    def shared(self) -> bool:
        """True where several processes may run a hub over this store at once."""
        return is_shared(self._store)

    @property
    def store_state(self) -> StoreState:
        """The numbers of the store; of a store that tells none, its class alone."""
        if isinstance(self._store, Watched):
            return self._store.state()
        return StoreState(type(self._store).__name__)

    def health(self) -> dict[str, object]:
        """Return the hub's state, for JSON: what it holds now and what it did since it was made."""
        return {
            "status": "draining" if self.draining else "ok",
            "epoch": self._eras.epoch,
            "head": self.head,
            "stalled": self.stalled,
            "streams": self.open_streams,
            "limit": self.settings.max_streams,
            "blocked": self.blocked,
            "pending_bytes": self.pending_bytes,
            "topics": self.audiences.topics,
            "followed_bytes": self.audiences.size,
            "running": self.open_runs,
            "store": self.store_state._asdict(),
            "history": {"topics": self.history.topics, "bytes": self.history.size},
            **self.stats.members(),
        }

    # Subscribe.

    def refusal(self, terms: Terms) -> Refusal | None:
        """Return why no stream with these terms can begin now; None when one can.

        The reasons are ``draining``, ``full`` (all streams are taken) and ``names`` (the names that streams follow take
        `Settings.max_followed` bytes).
        """
        if self._fanout is not None:
            return self._fanout.refusal(terms)
        return Refusal.of("draining", self.settings) if self.draining else None

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
        """Make the coroutine that holds one event stream, from its response's start to its end: await it.

        This is no ``async def``, so that an open stream keeps nothing of this call.

        Args:
            receive, send: the connection's own, as the ASGI server gave them.
            topics: what the stream follows.
            last_event_id: where the reader left off; ``earliest`` for all that is kept.
            labels: begin each block with a comment that names its topics.
            filter: which events the reader gets; all when None. A stream with a filter shares no bytes with others.
            headers: more response headers.
            remote: the client's host and port, for the log.
            scope: the request's, so that HEAD gets the headers alone, and a `Bypass` around the app is found.

        Raises:
            InvalidField: a topic cannot be followed; nothing was sent.
            TypeError: an argument has another type.
            HubClosed, RuntimeError: the hub is not started. Also from the coroutine, when there is a `refusal`.
        """
        check_asked(last_event_id, filter)
        names = self.check_topics(topics, self.settings.topics_per_stream)
        terms = Terms(names, last_event_id, labels, filter, remote)
        if scope is not None and scope.get("method") == "HEAD":
            self._require_started()
            return self.answer_head(terms, send, headers)
        outer = None if scope is None else scope.get(BYPASS)
        return self.converse(terms, receive, send, headers, outer)

    def converse(
        self,
        terms: Terms,
        receive: Receive,
        send: Send,
        headers: Iterable[tuple[bytes, bytes]] = (),
        outer: OuterSend | None = None,
        *,
        asked: bool = False,
    ) -> Coroutine[Any, Any, None]:
        """Make the coroutine that holds one event stream: like `stream`, with terms that were checked already.

        Args:
            outer: what the request's scope has under `BYPASS`.
            asked: the caller has just asked for a `refusal`, and awaits this without a wait in between.
        """
        return converse(self._require_started(), terms, receive, send, headers, outer, asked=asked)

    async def answer_head(
        self, terms: Terms, send: Send, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Answer a HEAD request by the headers that the stream would have; no stream begins."""
        await (send_away if self.nothing_left(terms) else send_head)(send, headers)

    def subscribe(
        self,
        topics: str | Iterable[str],
        *,
        last_event_id: str | None = None,
        filter: Filter | None = None,
    ) -> Subscription:
        """Follow topics in this process: ``async with hub.subscribe("news") as events: async for event in events``.

        The subscription gives every event that is published from this call on, until the hub drains: a lifetime is for
        connections, not for subscriptions. A subscription counts as a stream, also against `Settings.max_streams`.

        Arguments and errors as `stream`.
        """
        check_asked(last_event_id, filter)
        names = self.check_topics(topics, self.settings.topics_per_stream)
        terms = Terms(names, last_event_id, filter=filter)
        return Subscription(self._require_started(), terms)

    def run(
        self,
        topic: str,
        items: AsyncIterable[Any] | Iterable[Any],
        *,
        json: bool = False,
        surrogates: Surrogates = "refuse",
        line_separators: LineSeparators = "keep",
        seconds: float | None = None,
    ) -> Run:
        """Publish items to a topic of their own, whoever follows it, and end the topic after the last one.

        The run goes on when the request that began it is over or cancelled. A run ends early when `cancel` or `end` is
        called, after `seconds`, when its events take more than `Settings.run_bytes`, and when the hub stops. The reason
        stands in the `end` event; an exception of the items is logged, and nothing of it reaches a reader.

        Args:
            topic: a name that has not ended and has no run. A new run needs a new name.
            items: as `fastsse.EventSourceResponse` takes them. A sync iterable that is no collection is iterated in
                threads. Ids and comments of items are dropped, because the hub gives the ids. One task iterates the
                items and closes them, in a copy of the context of this call.
            json, surrogates, line_separators: as there; an item that cannot be written fails the run.
            seconds: after which the items are cancelled; 0: never; `Settings.run_seconds` when None.

        Returns:
            The run, which goes on already, and is a response, too: ``return hub.run(...)`` shows it from its beginning.

        Raises:
            InvalidField: the topic cannot be one, has ended (`TopicEnded`) or has a run.
            TooManyRuns: `Settings.max_runs` go on.
            HubClosed: the hub is stopping.
            RuntimeError: the hub is not started, or runs on another event loop.
            TypeError, ValueError: an argument is wrong. After any of these the items are the caller's to close.
        """
        [name] = self.check_topics(topic, 1)
        require_iterable(items, "items", ("__aiter__", "__iter__"))
        knobs = self.settings
        limit = as_seconds("seconds", knobs.run_seconds if seconds is None else seconds)
        write = writer(json, surrogates, line_separators)
        plan = Plan(name, write, limit, knobs.run_bytes, knobs.max_event_size)
        return Run(self, Terms((name,), "earliest"), self._begin(plan, items))

    def _begin(self, plan: Plan, items: AsyncIterable[Any] | Iterable[Any]) -> Job:
        fanout, topic = self._require_here(), plan.topic
        if fanout.draining:
            raise HubClosed("the hub is stopping: it begins no run")
        if fanout.ended_of((topic,)) is not None:
            raise TopicEnded(topic)
        paper = Paper(partial(self._append, fanout), partial(self._append_end, fanout))
        job = fanout.jobs.begin(topic, lambda: Job(paper, plan, items))
        self.history.widen(topic)
        return job

    async def cancel(self, topic: str) -> bool:
        """Cancel the run of a topic here, and wait until its end is told. Returns False when there is none."""
        fanout = self._require_here()
        if (job := fanout.jobs.of(topic)) is None:
            return False
        job.stop("cancelled")
        await asyncio.wait([job.over])
        return True

    def running(self, topic: str) -> bool:
        """Return True while a run goes on at this topic here."""
        return self._fanout is not None and self._fanout.jobs.of(topic) is not None

    def ended(self, topic: str) -> bool:
        """Return True when a topic has ended, and the hub still knows that."""
        return self.history.ends.of(topic) > 0

    def nothing_left(self, terms: Terms) -> bool:
        """Return True when all topics have ended, and nothing is kept that a reader has not: `converse` answers 204."""
        return self._fanout is not None and self._fanout.nothing_left(terms)

    def response(
        self,
        topics: str | Iterable[str],
        *,
        last_event_id: str | None = None,
        labels: bool = False,
        filter: Filter | None = None,
    ) -> HubResponse:
        """Make a stream's ASGI response, for an endpoint of any framework to return.

        Arguments as `stream`. A `last_event_id` is for readers that come for the first time: the request's own
        ``Last-Event-ID`` goes first, because a browser that comes back to the same URL says by it where it left off.

        Raises:
            InvalidField: a topic cannot be followed.
        """
        check_asked(last_event_id, filter)
        names = self.check_topics(topics, self.settings.topics_per_stream)
        return HubResponse(self, Terms(names, last_event_id, labels, filter))
