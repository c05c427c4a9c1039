"""Audiences: the subscribers that follow the same topics in the same form, and the index from a topic to them.

Subscribers of one audience share every byte that is sent. The cost of a publish grows with the audiences of its own
topics and with nothing else. A subscription that nobody has closed leaves when it is collected, which may happen
within any step here: so each step that goes through a set goes through a copy of it.

Names are chosen by clients and kept for as long as they are followed. A name is kept once, however many follow it, and
`Audiences.size` is what all of them take, with the audiences and the index: `Settings.max_followed` bounds it.

The module knows topics and records. Its members are any objects; it must not know subscribers, sends, ids or policies.
"""

from __future__ import annotations

import asyncio
import json
import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from sys import getsizeof
from typing import TYPE_CHECKING, Generic, TypeVar

from fastsse.broadcast.names import Pattern

if TYPE_CHECKING:
    from fastsse.broadcast.hub.history import Record
    from fastsse.broadcast.hub.terms import Filter
    from fastsse.broadcast.hub.topics import Limits

__all__ = ["Audience", "Audiences", "encode_label"]

M = TypeVar("M")

_AUDIENCE = 700  # bytes of an audience: itself, its lists, its place among the others
_FOLLOWED = 80  # bytes of a followed name beside its text: its place in the index
_PLACE = 60  # bytes of an audience's place among a topic's followers, and of the name in its topics

_log = logging.getLogger("fastsse.broadcast")


class Audience(Generic[M]):
    """The subscribers that follow the same topics in the same form: they share every byte that is sent.

    Attributes:
        topics: the topics that they follow, sorted.
        labels: their blocks name the topics.
        filter: the events that they get; None for all. An audience with a filter has one member.
        broken: what the filter raised; the filter is not asked again, and its member is ended.
        limits: how far they may fall behind, and what becomes of those that do.
        classes: the classes of its topics, by which its members are counted.
        cost: bytes that the audience and the place of its names take.
        members: the subscribers, in the order in which they came; `enter` and `leave` keep it.
        roster: the members as a list, made by the first sweep after a change; nobody may change the list.
        pending: records that have been published and not yet been swept to the members.
        newest: position of the last record that was put to `pending`, so that an event of two topics comes once.
        total_events, total_bytes: records and bytes of their blocks put to `pending` since the audience began; a
            blocked member's lag is a difference of these.
        sent: bytes swept to the members since the audience began, labels included.
        pending_since: loop time at which the oldest pending record came.
        quiet_since: loop time of the last sweep, for the heartbeat.
    """

    __slots__ = (
        "broken",
        "classes",
        "cost",
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
        "topics",
        "total_bytes",
        "total_events",
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
        self.broken: BaseException | None = None
        self.limits = limits
        self.classes: tuple[str, ...] = ()
        self.cost = _AUDIENCE + _PLACE * len(topics)
        self.members: dict[M, None] = {}
        self.roster: list[M] | None = None
        self.pending: list[Record] = []
        self.newest = 0
        self.total_events = 0
        self.total_bytes = 0
        self.sent = 0
        self.pending_since = now
        self.quiet_since = now

    def enter(self, member: M) -> None:
        """Take a member in, after all others."""
        self.members[member] = None
        self.roster = None

    def leave(self, member: M) -> None:
        """Let a member go."""
        del self.members[member]
        self.roster = None

    def snapshot(self) -> list[M]:
        """Return the members as they are now, in a list that stays so when others come or go."""
        roster = self.roster
        if roster is None:
            roster = self.roster = list(self.members)
        return roster

    def takes(self, record: Record) -> bool:
        """Return True when the members get this record.

        No record is withheld in silence: a filter that raises ends its stream. The end of a topic passes every filter.
        """
        if self.filter is None or record.ends:
            return True
        if self.broken is not None:
            return False
        try:
            return bool(self.filter(record.event, record.topics))
        except (Exception, asyncio.CancelledError) as error:
            _log.exception("a subscriber's filter raised; its stream is ended")
            self.broken = error
            return False

    def label(self, record: Record) -> bytes:
        """Write the comment that names a record's topics, as far as the members follow them; none for a gap."""
        if not record.topics:
            return b""
        return encode_label([topic for topic in record.topics if topic in self.topics])

    def pending_weight(self) -> int:
        """Count the bytes of the pending records' blocks."""
        return sum(len(record.block) for record in self.pending)

    def pending_bytes(self) -> int:
        """Count the bytes that the pending records will take when they are sent, labels included."""
        size = self.pending_weight()
        if self.labels:
            size += sum(len(self.label(record)) for record in self.pending)
        return size


def encode_label(topics: list[str]) -> bytes:
    """Write the comment that names a block's topics: a JSON array in ASCII, so that no topic can end the line."""
    return b": topics %b\n" % json.dumps(topics, separators=(",", ":")).encode()


def _tell_nobody(_: str, __: bool) -> None: ...


class Audiences(Generic[M]):
    """All audiences of a hub. An audience lives as long as it has members.

    Args:
        limits: gives the limits of a stream that follows these topics.
        classes: the classes of topics by which subscribers are counted.
        changed: is called when a topic gets its first follower, and when it has lost its last one.

    Attributes:
        size: bytes that all followed names take, with the audiences and the index.
        by_class: subscribers by class; a subscriber counts once in each class of its topics.
    """

    def __init__(
        self,
        limits: Callable[[tuple[str, ...]], Limits],
        classes: Collection[str] = (),
        changed: Callable[[str, bool], None] = _tell_nobody,
    ) -> None:
        self._limits = limits
        self._changed = changed
        self._classes = [Pattern.of(text) for text in classes]
        self.size = 0
        self.by_class: Counter[str] = Counter(dict.fromkeys(classes, 0))
        self._all: dict[Audience[M], None] = {}
        self._shared: dict[tuple[tuple[str, ...], bool], Audience[M]] = {}  # without a filter
        # Most topics are followed by one audience: a tuple of one takes a quarter of a dictionary's bytes.
        self._by_topic: dict[str, tuple[Audience[M]] | dict[Audience[M], None]] = {}

    def __iter__(self) -> Iterator[Audience[M]]:
        return iter(tuple(self._all))

    @property
    def topics(self) -> int:
        """The number of topics that are followed."""
        return len(self._by_topic)

    def members(self) -> list[M]:
        """Return the members of all audiences."""
        return [member for audience in list(self._all) for member in audience.snapshot()]

    def of(self, topic: str) -> Collection[Audience[M]]:
        """Return the audiences that follow a topic now, in the order in which they came to be."""
        followers = self._by_topic.get(topic, ())
        return followers if type(followers) is tuple else list(followers)

    def follows(self, topic: str) -> bool:
        """Return True when anybody follows a topic."""
        return topic in self._by_topic

    def matched(self, topics: tuple[str, ...]) -> int:
        """Count the subscribers that follow one of these topics."""
        if len(topics) == 1:
            return sum([len(audience.members) for audience in self.of(topics[0])])
        audiences = {audience for topic in topics for audience in self.of(topic)}
        return sum(len(audience.members) for audience in audiences)

    def cost(self, topics: tuple[str, ...], labels: bool, filter: Filter | None) -> int:
        """Count the bytes that one more subscriber's names would take: none where its audience is there already."""
        if filter is None and (topics, labels) in self._shared:
            return 0
        known = self._by_topic
        new = sum(getsizeof(topic) + _FOLLOWED for topic in topics if topic not in known)
        return _AUDIENCE + _PLACE * len(topics) + new

    def find(
        self, topics: tuple[str, ...], labels: bool, filter: Filter | None, now: float
    ) -> Audience[M]:
        """Return the audience for a new subscriber: one that is there already, unless the subscriber has a filter."""
        if filter is None and (found := self._shared.get((topics, labels))) is not None:
            return found
        topics = tuple(map(self._known, topics))
        audience: Audience[M] = Audience(topics, labels, filter, self._limits(topics), now)
        audience.classes = self._classes_of(topics)
        self._register(audience)
        return audience

    def _register(self, audience: Audience[M]) -> None:
        self._all[audience] = None
        if audience.filter is None:
            self._shared[audience.topics, audience.labels] = audience
        self.size += audience.cost
        for topic in audience.topics:
            self._follow(topic, audience)

    def _known(self, topic: str) -> str:
        """Find the string by which a name is kept already: every request brings one of its own."""
        for audience in self._by_topic.get(topic, ()):
            return audience.topics[bisect_left(audience.topics, topic)]
        return topic

    def _classes_of(self, topics: tuple[str, ...]) -> tuple[str, ...]:
        """Find the first class that matches each topic; none comes twice."""
        found: dict[str, None] = {}
        if self._classes:
            for topic in topics:
                for pattern in self._classes:
                    if pattern.matches(topic):
                        found[pattern.text] = None
                        break
        return tuple(found)

    def _follow(self, topic: str, audience: Audience[M]) -> None:
        followers = self._by_topic.get(topic)
        if followers is None:
            self._by_topic[topic] = (audience,)
            self.size += getsizeof(topic) + _FOLLOWED
            self._changed(topic, True)
            return
        if isinstance(followers, tuple):
            followers = self._by_topic[topic] = dict.fromkeys(followers)
        followers[audience] = None

    def _unfollow(self, topic: str, audience: Audience[M]) -> None:
        followers = self._by_topic[topic]
        if isinstance(followers, dict):
            del followers[audience]
            if len(followers) == 1:
                [left] = followers
                self._by_topic[topic] = (left,)
        else:
            del self._by_topic[topic]
            self.size -= getsizeof(topic) + _FOLLOWED
            self._changed(topic, False)

    def enter(self, audience: Audience[M], member: M) -> None:
        """Put a subscriber among its audience's members; the last of them may have left since `find`."""
        if audience not in self._all:
            self._register(audience)
        audience.enter(member)
        for name in audience.classes:
            self.by_class[name] += 1

    def leave(self, audience: Audience[M], member: M) -> bool:
        """Take a subscriber out, and its audience too when no other is left. Returns False when it was not in."""
        if member not in audience.members:
            return False
        audience.leave(member)
        for name in audience.classes:
            self.by_class[name] -= 1
        if audience.members or audience not in self._all:
            return True
        del self._all[audience]
        self.size -= audience.cost
        if audience.filter is None:
            del self._shared[audience.topics, audience.labels]
        for topic in audience.topics:
            self._unfollow(topic, audience)
        return True
