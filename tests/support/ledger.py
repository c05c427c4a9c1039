"""Everything that was ever published, and everything that one stream was sent: the facts that a model judges by.

A `Log` is the list of all events of one numbering. The hub keeps a bounded past, joins blocks, caches joins and moves
positions; a log does nothing of that, and each of its answers is a walk over the whole list.

A `Ledger` holds what one stream was sent against the log: each event up to the stream's place was sent once and in
order, or was named by a gap, and never both. The ledger is asked after each block, because a reader may be cut off
after any of them and then comes back with that block's id.

This module knows topics, positions and blocks; it must not know the hub, connections or event loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["LARGE", "Block", "Disagreement", "Event", "Gap", "Ledger", "Log", "Step", "parse"]

LARGE = 64 * 1024  # bytes of one message: an event whose data is larger stands alone in its join


class Disagreement(AssertionError):
    """The hub and the model differ."""


class Block(NamedTuple):
    """One block as it stands on the wire."""

    data: str | None = None
    event: str | None = None
    id: str | None = None
    retry: str | None = None
    comment: str | None = None


def parse(text: bytes) -> tuple[list[Block], bytes]:
    """Split what was sent into whole blocks and the piece of a block after them; heartbeats are left out."""
    *whole, rest = text.split(b"\n\n")
    found: list[Block] = []
    for block in whole:
        if block == b":":
            continue
        fields: dict[str, str] = {}
        for line in block.decode().split("\n"):
            name, _, value = line.partition(": ")
            assert name in ("", "data", "event", "id", "retry"), f"an unknown line: {line!r}"
            assert name not in fields, f"a field comes twice: {line!r}"
            fields[name] = value
        comment = fields.pop("", None)
        found.append(Block(**fields, comment=comment))
    return found, rest


class Event(NamedTuple):
    """An event of the log."""

    position: int
    topics: tuple[str, ...]
    data: str
    end: bool = False  # of its topics


class Gap(NamedTuple):
    """The news of a gap: a stream has missed events of each topic after `after`, up to the topic's own end."""

    after: int
    ends: dict[str, int]

    def covers(self, position: int, topic: str) -> bool:
        return topic in self.ends and self.after < position <= self.ends[topic]


class Step(NamedTuple):
    """One block that a stream must be sent, and the place where the stream then stands."""

    block: Block
    place: int
    event: Event | None = None
    gap: Gap | None = None
    hidden: bool = False  # by a filter: nothing is sent, but the page of an archive may end with it

    @property
    def alone(self) -> bool:
        """True when the event is too large to be joined with others."""
        return len(self.block.data or "") > LARGE


class Log:
    """Every event of one numbering whose fate the hub knows.

    Args:
        epoch: the numbering's name.
        kept: how many events of a topic the hub keeps.
        base: position up to which the hub keeps nothing of any topic.
        first: position of the last event that was gone when the log took another one's place.
        older: events up to `base` that the log held already then.
        archive: returns the position of the last event that is gone, and the events that can be read.

    Attributes:
        events: all events, those that the hub never got among them.
        head: the position up to which the hub was told everything.
        start: the head with which the log has begun.
        empty: the log took another one's place with nothing in it. All places before its first event are then the
            same place, whose number is 0.
        losses: ranges that the store has lost before the hub could get them: after one position, up to another.
        holes: those of them before which the hub kept something then.
    """

    def __init__(
        self,
        epoch: str,
        kept: Callable[[str], int],
        base: int = 0,
        *,
        first: int = 0,
        older: Sequence[Event] = (),
        archive: Callable[[], tuple[int, list[Event]]] | None = None,
    ) -> None:
        self.epoch = epoch
        self.first = first
        self.older = list(older)
        self.archive = archive
        self.events: list[Event] = []
        self.losses: list[tuple[int, int]] = []
        self.holes: list[tuple[int, int]] = []
        self.base = self.start = base
        self.head = base
        self.empty = False
        self._before_first = 0
        self._kept = kept
        self._lost: set[Event] = set()

    def id(self, position: int) -> str:
        return f"{self.epoch}-{self.place(position)}"

    def place(self, position: int) -> int:
        """Give the number by which a place is called."""
        return 0 if self.empty and position <= self._before_first else position

    def _begin(self, position: int) -> None:
        if self.empty and not self.head:
            self._before_first = position - 1

    def append(self, event: Event) -> None:
        """Note that the hub was told of an event."""
        self._begin(event.position)
        if event.position <= self.head:
            raise Disagreement(f"position {event.position} was given after {self.head}")
        self.head = event.position
        if not (event.end and self.over(event.topics)):  # an end is told once
            self.events.append(event)

    def over(self, topics: Sequence[str]) -> int:
        """Find the position at which the last of these topics ended; 0 unless the newest event of each is an end."""
        newest = [[e for e in self.had() if topic in e.topics][-1:] for topic in topics]
        ends = [event.position for events in newest for event in events if event.end]
        return max(ends) if len(ends) == len(topics) else 0

    def lose(self, to: int, events: Sequence[Event]) -> None:
        """Note that the hub never gets these events, which are all between the head and a position."""
        if to <= self.head:
            return
        self._begin(to)
        kept_nothing = not any(self._mine_kept(t) for e in self.events for t in e.topics)
        self.events += events
        self._lost.update(events)
        self.losses.append((self.head, to))
        if kept_nothing:
            self.base = to
        else:
            self.holes.append((self.head, to))
        self.head = to

    def everything(self) -> list[Event]:
        """List all events of this numbering, whether the hub got them or not."""
        return [*self.older, *self.events]

    def had(self) -> list[Event]:
        """List the events that the hub got."""
        return [event for event in self.events if event not in self._lost]

    def _mine(self, topic: str) -> list[Event]:
        return [e for e in self.had() if topic in e.topics and e.position > self.base]

    def _mine_kept(self, topic: str) -> list[Event]:
        count = self._kept(topic)
        return self._mine(topic)[-count:] if count else []

    def floor(self, topic: str) -> int:
        """Find the last event of a topic that the hub no longer keeps for this topic."""
        mine, kept = self._mine(topic), self._mine_kept(topic)
        gone = mine[: len(mine) - len(kept)]
        return gone[-1].position if gone else self.base

    def kept(self, topics: Sequence[str]) -> list[Event]:
        """List the events that at least one of these topics still keeps, in order."""
        return sorted({event for topic in topics for event in self._mine_kept(topic)})

    def before_first(self, topics: Sequence[str], after: int = 0) -> int:
        """Find the place just before the first event that is kept after a place; the head when there is none."""
        return next((e.position - 1 for e in self.kept(topics) if e.position > after), self.head)


class Ledger:
    """The events and gaps that one stream was sent, to be held against everything that was published to its topics."""

    def __init__(self, log: Log, topics: tuple[str, ...], takes: Callable[[Event], bool]) -> None:
        self._log = log
        self._topics = topics
        self._takes = takes
        self._had: set[int] = set()
        self._gaps: list[Gap] = []
        self._unasked: Gap | None = None
        self._last = 0
        self.place = 0

    def begin(self, place: int, gap: Gap | None = None, unasked: Gap | None = None) -> None:
        """Begin at a place. A gap was told at once; events that are `unasked` may come, and need not."""
        self.place = place
        self._unasked = unasked
        if gap is not None:
            self._gaps.append(gap)

    def note(self, step: Step) -> None:
        """Write one block down, and check that nothing up to its place is missing."""
        if step.event is not None:
            self._note_event(step.event)
        if step.gap is not None:
            self._gaps.append(step.gap)
        self.reach(step.place)

    def _note_event(self, event: Event) -> None:
        if event.position <= self._last:
            raise Disagreement(f"{event} came after {self._last}")
        if self._told(event):
            raise Disagreement(f"{event} came, and a gap had named it before")
        self._last = event.position
        self._had.add(event.position)

    def reach(self, place: int) -> None:
        """Check that each event up to a place was sent or told of."""
        for event in self._log.everything():
            owed = self.place < event.position <= place and self._takes(event)
            if owed and event.position not in self._had and not self._told(event, self._unasked):
                raise Disagreement(f"{event} was neither sent nor named by a gap")
        self.place = max(place, self.place)

    def _told(self, event: Event, unasked: Gap | None = None) -> bool:
        """Return True when gaps cover the event in each of its topics that the stream follows."""
        gaps = self._gaps if unasked is None else [*self._gaps, unasked]
        return all(
            any(gap.covers(event.position, topic) for gap in gaps)
            for topic in event.topics
            if topic in self._topics
        )
