"""Keeps what was published and what each stream has got, and judges whether the one follows from the other.

The rule: on one stream the events of its topics come in order, none twice, and none is missing between where it
began and where it ended, unless a `gap` says so for each of the event's topics that the stream follows.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

__all__ = ["Event", "Gap", "Log", "Taken", "position_of"]


class Event(NamedTuple):
    """One published event: its data begins with its number and its topics, so whoever sees it knows both."""

    number: int
    topics: tuple[str, ...]

    @classmethod
    def of(cls, data: str) -> Event:
        number, topics, _ = data.split("|", 2)
        return cls(int(number), tuple(topics.split(",")))


class Gap(NamedTuple):
    """News of a gap: the stream has missed events of `topics` after `after`, up to `to`."""

    after: int
    to: int
    topics: frozenset[str]
    reason: str


def position_of(id_: str) -> tuple[str, int]:
    """Cut an id into its epoch and its position."""
    epoch, _, position = id_.rpartition("-")
    return epoch, int(position)


class Log:
    """The events of one life of a server, by position. Publishers and readers both write it; they must agree."""

    def __init__(self) -> None:
        self.epoch = ""
        self.events: dict[int, Event] = {}
        self.faults: list[str] = []

    def note(self, id_: str, event: Event, who: str) -> int:
        """Note that somebody gives the event this id, and return its position."""
        epoch, position = position_of(id_)
        self.epoch = self.epoch or epoch
        if epoch != self.epoch:
            self.faults.append(f"{who}: an id of epoch {epoch} while {self.epoch} runs")
        known = self.events.setdefault(position, event)
        if known != event:
            self.faults.append(f"{who}: {id_} is {event}, and was {known} before")
        return position


class Taken:
    """The events and gaps that one stream has got, from its opening on.

    Attributes:
        topics: that it follows.
        begin: position of its opening.
        from_what_is_kept: it asked for all that is kept, or was given that after a gap: of each topic it gets the
            events behind some place, which only the server knows.
        positions: of the events that it got.
        gaps: that it was told of.
    """

    def __init__(self, name: str, topics: frozenset[str]) -> None:
        self.name = name
        self.topics = topics
        self.begin = -1
        self.end = -1
        self.from_what_is_kept = False
        self.positions: list[int] = []
        self.gaps: list[Gap] = []

    def faults(self, log: Log) -> list[str]:
        """List what breaks the rule."""
        found = [
            f"{self.name}: {b} comes behind {a}"
            for a, b in zip(self.positions, self.positions[1:], strict=False)
            if b <= a
        ]
        got = set(self.positions)
        foreign = [p for p in got if not self.topics & set(log.events[p].topics)]
        found += [f"{self.name}: {p} is of {log.events[p].topics}, not followed" for p in foreign]
        if self.positions and self.positions[0] <= self.begin:
            found.append(
                f"{self.name}: {self.positions[0]} comes behind its opening at {self.begin}"
            )
        missing = [p for p in self._due(log) if p not in got and not self._excused(p, log)]
        if missing:
            first = missing[0]
            around = [p for p in self.positions if p < first][-3:] + [
                p for p in self.positions if p > first
            ][:3]
            found.append(
                f"{self.name}: {len(missing)} events are missing, unannounced: {first} of "
                f"{log.events[first].topics} is the first; it follows {sorted(self.topics)}, began at "
                f"{self.begin}, ended at {self.end}, got {around} around it, gaps {self.gaps}"
            )
        return found

    def _due(self, log: Log) -> list[int]:
        return [
            position
            for position, event in sorted(log.events.items())
            if self.begin < position <= self.end and self.topics & set(event.topics)
        ]

    def _excused(self, position: int, log: Log) -> bool:
        followed = self.topics & set(log.events[position].topics)
        return all(
            any(gap.after < position <= gap.to and topic in gap.topics for gap in self.gaps)
            or (self.from_what_is_kept and not self._has_before(topic, position, log))
            for topic in followed
        )

    def _has_before(self, topic: str, position: int, log: Log) -> bool:
        """Return True when the stream got an earlier event that only this topic can have brought."""
        followed = (self.topics & set(log.events[p].topics) for p in self.positions if p < position)
        return any(topics == {topic} for topics in followed)


class Tally(NamedTuple):
    """The figures of a whole run."""

    seed: int
    lives: int
    published: int
    delivered: int
    streams: int
    gaps: Counter[str]
    ends: Counter[str]
    faults: list[str]

    def __str__(self) -> str:
        gaps = ", ".join(f"{reason} {count}" for reason, count in sorted(self.gaps.items()))
        ends = ", ".join(f"{how} {count}" for how, count in sorted(self.ends.items()))
        return (
            f"seed {self.seed}: {self.lives} lives, {self.published} published, {self.streams} streams, "
            f"{self.delivered} delivered; gaps: {gaps or 'none'}; ends: {ends or 'none'}; "
            f"{len(self.faults)} faults"
        )
