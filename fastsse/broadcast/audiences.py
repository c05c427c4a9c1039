"""Audiences: who follows the same topics in the same form, and the index from a topic to them.

Subscribers of one audience share every byte that is sent. The cost of a publish grows with the audiences of its own
topics and with nothing else. It knows topics and frames; it must not know sends, ids or policies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from fastsse import Event

if TYPE_CHECKING:
    from fastsse.broadcast.history import Frame
    from fastsse.broadcast.limits import Limits
    from fastsse.broadcast.subscriber import Subscriber

__all__ = ["Audience", "Audiences", "Filter"]

Filter = Callable[[Event, tuple[str, ...]], bool]
"""Whether a subscriber gets an event, by the event and its topics; called on the loop, so it must be quick."""

_log = logging.getLogger("fastsse.broadcast")


class Audience:
    """The subscribers who follow the same topics in the same form: they share every byte that is sent.

    Attributes:
        topics: what they follow, sorted.
        labels: whether their blocks name the topics.
        filter: which events they get; None for all. An audience with a filter has one member.
        limits: how far they may fall behind, and what becomes of who does.
        members: the subscribers, in the order in which they came; `enter` and `leave` keep it.
        roster: the same as a list, made by the first sweep after a change; nobody may change the list.
        pending: frames that have been published and not yet been swept to the members.
        newest: position of the last frame that was put to `pending`, so that an event of two topics comes once.
        events, size: frames and bytes put to `pending` since the audience began; a blocked member's lag is a
            difference of these.
        sent: bytes swept to the members, labels included.
        pending_since: loop time at which the oldest of these frames came.
        quiet_since: loop time of the last sweep, for the heartbeat.
    """

    __slots__ = (
        "events",
        "filter",
        "labels",
        "limits",
        "members",
        "newest",
        "pending",
        "pending_since",
        "quiet_since",
        "roster",
        "sent",
        "size",
        "topics",
    )

    def __init__(
        self,
        topics: tuple[str, ...],
        labels: bool,
        filter: Filter | None,
        limits: Limits,
        now: float,
    ) -> None:
        self.topics = topics
        self.labels = labels
        self.filter = filter
        self.limits = limits
        self.members: dict[Subscriber, None] = {}
        self.roster: list[Subscriber] | None = None
        self.pending: list[Frame] = []
        self.newest = 0
        self.events = 0
        self.size = 0
        self.sent = 0
        self.pending_since = now
        self.quiet_since = now

    def enter(self, subscriber: Subscriber) -> None:
        self.members[subscriber] = None
        self.roster = None

    def leave(self, subscriber: Subscriber) -> None:
        del self.members[subscriber]
        self.roster = None

    def call(self) -> list[Subscriber]:
        """The members as they are now; the list stays as it is, whoever comes or goes."""
        roster = self.roster
        if roster is None:
            roster = self.roster = list(self.members)
        return roster

    def takes(self, frame: Frame) -> bool:
        """Whether the members get this frame. A filter that raises withholds it, and is logged."""
        if self.filter is None:
            return True
        try:
            return bool(self.filter(frame.event, frame.topics))
        except Exception:
            _log.exception("a subscriber's filter raised; the event is withheld from it")
            return False


class Audiences:
    """All of them. An audience lives as long as it has members.

    Args:
        limits: those of a stream that follows these topics.
    """

    def __init__(self, limits: Callable[[tuple[str, ...]], Limits]) -> None:
        self._limits = limits
        self._all: dict[Audience, None] = {}
        self._shared: dict[tuple[tuple[str, ...], bool], Audience] = {}  # those without a filter
        self._by_topic: dict[str, dict[Audience, None]] = {}

    def __iter__(self) -> Iterator[Audience]:
        return iter(tuple(self._all))

    @property
    def topics(self) -> int:
        """How many topics are followed."""
        return len(self._by_topic)

    def followers(self) -> Iterator[tuple[str, int]]:
        """Each followed topic, and how many subscribers it has."""
        for topic, audiences in self._by_topic.items():
            yield topic, sum(len(audience.members) for audience in audiences)

    def members(self) -> list[Subscriber]:
        return [subscriber for audience in self._all for subscriber in audience.members]

    def of(self, topic: str) -> dict[Audience, None]:
        """The audiences that follow a topic, in the order in which they came to be."""
        return self._by_topic.get(topic, _NOBODY)

    def matched(self, topics: tuple[str, ...]) -> int:
        """How many subscribers follow one of these topics."""
        if len(topics) == 1:
            return sum(len(audience.members) for audience in self.of(topics[0]))
        audiences = {audience for topic in topics for audience in self.of(topic)}
        return sum(len(audience.members) for audience in audiences)

    def find(
        self, topics: tuple[str, ...], labels: bool, filter: Filter | None, now: float
    ) -> Audience:
        """The audience that a new subscriber joins: an existing one, unless it has a filter of its own."""
        key = (topics, labels)
        audience = None if filter is not None else self._shared.get(key)
        if audience is None:
            audience = Audience(topics, labels, filter, self._limits(topics), now)
            self._all[audience] = None
            if filter is None:
                self._shared[key] = audience
            for topic in topics:
                self._by_topic.setdefault(topic, {})[audience] = None
        return audience

    def leave(self, subscriber: Subscriber) -> None:
        """Take a subscriber out, and its audience too when it was the last one."""
        audience = subscriber.audience
        audience.leave(subscriber)
        if audience.members:
            return
        del self._all[audience]
        if audience.filter is None:
            del self._shared[audience.topics, audience.labels]
        for topic in audience.topics:
            followers = self._by_topic[topic]
            del followers[audience]
            if not followers:
                del self._by_topic[topic]


_NOBODY: dict[Audience, None] = {}
