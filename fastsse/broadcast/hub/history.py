"""The bounded recent past: one list of records per topic, and one sequence of positions over all of them.

This module knows positions, topics and bytes, and no subscribers, sockets or ids on the wire. Everything is
linear in what is returned, and a look-up is a binary search.

Everything that is gone is known exactly:

- A topic's *floor* is the position of the last record that the topic let go, or that the history never had. A reader
  that asks for what came after a place before the floor has a gap there.
- A topic that has *ended* is remembered for longer than its events: see `Ends`.
- A *hole* is a range of positions that the store has lost while the history had records before it. A reader from
  before the hole gets those records, then the gap. The last `_HOLES` holes are kept; of what lies before an older one
  everything is let go, and its end becomes the floor of all topics.

Bounds (see `Settings`): records and bytes per topic, bytes over all topics, number of topics. A topic that is
forgotten leaves its floor to all unknown topics: their readers may then be told of a gap that was none, never the
other way round.

`History.size` is what the process grows by. A record counts once however many topics it has, with the objects around
it; a topic, its name, and a set of names that records share count once each. `Ranks` decides who lets go first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import chain
from typing import NamedTuple

from fastsse.broadcast.hub.ends import KEPT, Ends
from fastsse.broadcast.hub.past import RECORD, SLOT, Past, by_position
from fastsse.broadcast.hub.ranks import Ranks
from fastsse.broadcast.hub.record import Lost, Record
from fastsse.broadcast.hub.shared import SharedNames

__all__ = ["History", "Lost", "Record"]

_TOPIC = 380  # bytes of a topic beside its name: the object, its list, its places in two indices
_HOLES = 16  # holes that are kept
_ENDED = 4 * 2**20  # bytes of the names of ended topics


class _Hole(NamedTuple):
    """A range of positions that the store has lost: after `after`, up to `position`."""

    after: int
    position: int


def _nobody(_: str) -> bool:
    return False


class History:
    """The records that can be replayed.

    Args:
        kept: records and bytes kept of a topic, by its name; a record's objects count in, and the newest record
            stays whatever its size.
        total: bytes kept over all topics.
        topics: topics that have a history.
        followed: returns True when somebody follows a topic; whoever changes that tells `follow`.
        ended: bytes that the names of ended topics may take whose end is kept no longer.

    Attributes:
        ends: the topics that have ended.
        head: position of the newest record of any topic, kept or not.
        trimmed: records that were let go for want of room over all topics.
        forgotten: topics that were.
    """

    def __init__(
        self,
        *,
        kept: Callable[[str], tuple[int, int]],
        total: int,
        topics: int,
        followed: Callable[[str], bool] = _nobody,
        ended: int = _ENDED,
    ) -> None:
        self._kept = kept
        self._total = total
        self._max_topics = topics
        self._is_followed = followed
        self._past: dict[str, Past] = {}
        self._shared = SharedNames()
        self._ranks = Ranks()
        self._newest: Past | None = None  # the last published topic: it stands last already
        self._floor = 0  # that of every topic that is not in _past
        self._holes: list[_Hole] = []
        self._size = 0  # bytes, without names and ends
        self.ends = Ends(ended)
        self.head = 0
        self.trimmed = 0
        self.forgotten = 0

    @property
    def size(self) -> int:
        """Bytes that all of it takes."""
        return self._size + self._shared.size + KEPT * len(self.ends.kept)

    @property
    def topics(self) -> int:
        """How many topics have a history."""
        return len(self._past)

    @property
    def most(self) -> int:
        """How many records can be kept at most: so many are worth reading from a log."""
        return self._total // (RECORD + SLOT)

    # Records come and go.

    def append(self, record: Record) -> None:
        """Keep a record; positions only grow."""
        position = self.head = record.position
        names = record.topics = self._shared.share(record.topics)
        ends = self.ends
        cost = len(record.block) + RECORD
        record.kept = len(names)
        self._size += cost + SLOT * len(names)
        cost += SLOT
        for topic in names:
            past = self._past.get(topic)
            if past is None:
                past = self._begin(topic)
            if record.ends:
                ends.note(topic, position)
            elif ends.kept or ends.gone:
                ends.reopen(topic)
            past.records.append(record)
            past.last = position
            past.size += cost
            while past.size > past.most_size or len(past.records) - past.start > past.most_events:
                if len(past) == 1 and past.most_events:
                    break  # the newest record stays whatever its size
                self._let_go(past)
            rank = (past.size + _TOPIC).bit_length()
            if rank != past.rank:
                self._ranks.place(past, rank)
            elif past is not self._newest:
                past.peers.move_to_end(past)
            self._newest = past
        if self.size > self._total or len(self._past) > self._max_topics:
            self._make_room(record)

    def lost(self, to: int) -> int:
        """Note that the store has lost what comes after the head, up to a position, which is the head from now on.

        Returns:
            The head until now; `to` when nothing was lost.
        """
        after = self.head
        if to <= after:
            return to
        self.head = to
        if not any(map(len, self._past.values())):
            self._drop_up_to(to)
            return after
        self._holes.append(_Hole(after, to))
        if len(self._holes) > _HOLES:
            self._drop_up_to(self._holes[0].position)
        return after

    def renew(self, position: int) -> None:
        """Forget everything: what comes after this position belongs to another log."""
        self.head = position
        self._drop_up_to(position)
        self.ends.clear()

    def pass_by(self, position: int) -> None:
        """Note that the log has gone on by an entry that is not kept, because it says what is known already."""
        self.head = position

    def learn_end(self, topic: str, position: int) -> None:
        """Note where a topic has ended of which nothing is kept, as the store's log says."""
        if topic not in self._past and not self.ends.of(topic):
            self._floor = max(self._floor, self.ends.let_go(topic, position))

    def widen(self, topic: str) -> None:
        """Keep of a topic from here on what `kept` says now."""
        if (past := self._past.get(topic)) is not None:
            past.most_events, size = self._kept(topic)
            past.most_size = min(size, self._total)

    def expire(self, position: int) -> None:
        """Let the topics go that ended at or before a position, with all that is kept of them."""
        for topic, end in list(self.ends.kept.items()):
            if end > position:
                return
            self._forget(self._past[topic])

    def follow(self, topic: str, followed: bool) -> None:
        """Note that a topic has a follower now, or has none any more."""
        past = self._past.get(topic)
        if past is not None:
            past.followed = followed
            self._ranks.place(past, past.rank)

    def _begin(self, topic: str) -> Past:
        events, size = self._kept(topic)
        followed = self._is_followed(topic)
        past = Past(topic, self._floor_of(topic), events, min(size, self._total), followed)
        self._past[topic] = past
        self._shared.hold(topic)
        self._size += _TOPIC
        return past

    def _let_go(self, past: Past) -> None:
        record = past.let_go()
        self._size -= SLOT
        if record.ends and past.last == record.position:
            self._floor = max(self._floor, self.ends.let_go(past.name, record.position))
        record.kept -= 1
        if not record.kept:
            self._size -= len(record.block) + RECORD
            self._shared.release(record.topics)

    def _drop_up_to(self, position: int) -> None:
        """Let go every record up to a position, which becomes the floor of all topics."""
        self._floor = max(self._floor, position)
        self._holes = [hole for hole in self._holes if hole.position > position]
        for past in tuple(self._past.values()):
            while (first := past.first()) is not None and first.position <= position:
                self._let_go(past)
            past.floor = max(past.floor, position)
            if len(past):
                self._ranks.place(past, (past.size + _TOPIC).bit_length())
            else:
                self._remove(past)

    def _make_room(self, record: Record) -> None:
        """Forget until the bounds hold again; the record that has just come stays."""
        while len(self._past) > self._max_topics:
            self._forget(self._ranks.least_recent())
        while self.size > self._total:
            past = self._ranks.largest(record.position)
            if past is None:
                return
            if len(past) > 1:
                self.trimmed += 1
                self._let_go(past)
                self._ranks.place(past, (past.size + _TOPIC).bit_length())
            else:
                self._forget(past)

    def _forget(self, past: Past) -> None:
        """Let a topic go, with its records, for want of room."""
        self.forgotten += 1
        while len(past):
            self._let_go(past)
        if past.name not in self.ends.gone:
            self._floor = max(self._floor, past.last)
        self._remove(past)

    def _remove(self, past: Past) -> None:
        self._ranks.remove(past)
        if past is self._newest:
            self._newest = None
        del self._past[past.name]
        self._size -= _TOPIC
        self._shared.drop(past.name)

    # Reading.

    def since(
        self, topics: tuple[str, ...], after: int, told: dict[str, int] | None = None
    ) -> Iterator[Record | Lost]:
        """Return what `topics` have after position `after`, in order, with a `Lost` for each piece that is gone.

        Lazy: take what you need and drop the rest before the next `append`.

        Args:
            told: floors that the reader knows of already, by topic.
        """
        lost: dict[tuple[int, int], list[str]] = {}
        kept: list[Iterator[Record]] = []
        for topic in topics:
            past = self._past.get(topic)
            floor = self._floor_of(topic) if past is None else past.floor
            known = after if told is None else max(after, told.get(topic, 0))
            if floor > known:
                lost.setdefault((known, floor), []).append(topic)
            if past is not None and len(past):
                kept.append(past.after(after))
        items: Iterator[Record | Lost]
        items = kept[0] if len(kept) == 1 else _once(merge(*kept, key=by_position))
        holes = self._lost_later(topics, after, told) if self._holes else None
        if holes:
            items = merge(holes, items, key=by_position)
        return chain(self._lost_before(lost, topics, after), items) if lost else items

    def _lost_before(
        self, lost: dict[tuple[int, int], list[str]], topics: tuple[str, ...], after: int
    ) -> list[Lost]:
        """Return the gaps at the beginning. The last moves the reader, up to the next record or hole."""
        gaps = [
            Lost(known, floor, tuple(names), after)
            for (known, floor), names in sorted(lost.items())
        ]
        place = self.before_first(topics, after)
        for hole in self._holes:
            if hole.position > after:
                place = min(place, max(after, hole.after))
                break
        gaps[-1].place = place
        return gaps

    def _lost_later(
        self, topics: tuple[str, ...], after: int, told: dict[str, int] | None
    ) -> list[Lost]:
        """Return the gaps of the holes, each for the topics whose floor lies before it."""
        told = told or {}
        known = {t: max(after, floor, told.get(t, 0)) for t, floor in self.floors(topics).items()}
        gaps: list[Lost] = []
        for hole in self._holes:
            if names := tuple(topic for topic in topics if known[topic] < hole.position):
                start = max(after, hole.after)
                gaps.append(Lost(start, hole.position, names, hole.position, hole=True))
        return gaps

    def gone(self, topics: tuple[str, ...], after: int, told: dict[str, int] | None = None) -> int:
        """Return the position up to which `topics` after `after` cannot be had here completely; 0 when they can."""
        told = told or {}
        hole = self._holes[-1].position if self._holes else 0
        ends = {topic: max(floor, hole) for topic, floor in self.floors(topics).items()}
        return max(
            (end for topic, end in ends.items() if end > max(after, told.get(topic, 0))), default=0
        )

    def floors(self, topics: tuple[str, ...]) -> dict[str, int]:
        """Return the floor of each topic."""
        return {topic: self._floor_of(topic) for topic in topics}

    def _floor_of(self, topic: str) -> int:
        past = self._past.get(topic)
        return max(self._floor, self.ends.gone.get(topic, 0)) if past is None else past.floor

    def before_first(self, topics: tuple[str, ...], after: int = 0) -> int:
        """Return the place just before the first record of `topics` that is kept after `after`; the head if none is."""
        first = self.head + 1
        for topic in topics:
            past = self._past.get(topic)
            if past is None:
                continue
            index = past.first_after(after)
            if index < len(past.records):
                record = past.records[index]
                assert record is not None
                first = min(first, record.position)
        return first - 1

    def latest(self, topics: tuple[str, ...]) -> list[Record]:
        """Return the newest kept record of each topic, in order, none twice."""
        newest: dict[int, Record] = {}
        for topic in topics:
            past = self._past.get(topic)
            if past is not None and len(past):
                record = past.records[-1]
                assert record is not None
                newest[record.position] = record
        return [newest[position] for position in sorted(newest)]


def _once(records: Iterator[Record]) -> Iterator[Record]:
    """Yield each record once, also one that several topics have."""
    last = -1
    for record in records:
        if record.position != last:
            last = record.position
            yield record
