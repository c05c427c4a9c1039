"""Limits: what a topic may keep and how far a stream may fall behind, by the topic's name.

A topic has the knobs of the table that is named for it; else of the first pattern, in the order of writing, that
matches; else the general ones. What a table leaves out is general too: tables are not added up. In a pattern ``*``
stands for any characters, none and ``/`` included, and every other character for itself.

A stream of several topics has the least of each limit that its topics have, counted over all of them, and the policy
that loses least: ``end`` before ``latest`` before ``skip``. So what is said of a topic holds for every stream that
follows it, and nobody escapes it by following another topic beside it.

It knows names and numbers; it must not know frames or subscribers. Names are chosen by clients: answers are kept for
the last `_CACHED` of them, and a match is linear in the name for each pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fastsse.broadcast.settings import Settings

__all__ = ["Limits", "TopicLimits"]

_CACHED = 1024  # names of topics
_LOSES_LEAST = ("end", "latest", "skip")  # who is ended comes back and is sent what it missed


class Limits(NamedTuple):
    """The knobs that may differ from topic to topic: see `Settings` for each."""

    history_events: int
    history_bytes: int
    lag_events: int
    lag_bytes: int
    lag_seconds: float
    slow_policy: str


class _Pattern(NamedTuple):
    parts: tuple[str, ...]  # what stands between the stars
    limits: Limits

    def matches(self, topic: str) -> bool:
        """Each part at the first place that is left for it: no other choice could match more."""
        first, *middle, last = self.parts
        place, end = len(first), len(topic) - len(last)
        if place > end or not (topic.startswith(first) and topic.endswith(last)):
            return False
        for part in middle:
            found = topic.find(part, place, end)
            if found < 0:
                return False
            place = found + len(part)
        return True


class TopicLimits:
    """The limits of every topic and every stream.

    Attributes:
        shortest: seconds, the least `lag_seconds` of any topic.
    """

    def __init__(self, settings: Settings) -> None:
        general = Limits(*(getattr(settings, name) for name in Limits._fields))
        tables = {
            name: general._replace(**dict(knobs)) for name, knobs in dict(settings.topics).items()
        }
        patterns = [
            _Pattern(tuple(name.split("*")), limits)
            for name, limits in tables.items()
            if "*" in name
        ]
        self._exact = {name: limits for name, limits in tables.items() if "*" not in name}
        self._search = lru_cache(_CACHED)(partial(_search, patterns, general))
        self.shortest = min(limits.lag_seconds for limits in (general, *tables.values()))

    def of(self, topic: str) -> Limits:
        """One topic's."""
        return self._exact.get(topic) or self._search(topic)

    def of_stream(self, topics: Sequence[str]) -> Limits:
        """Those of a stream that follows these topics, at least one."""
        limits = self.of(topics[0])
        for topic in topics[1:]:
            limits = _strictest(limits, self.of(topic))
        return limits

    def kept(self, topic: str) -> tuple[int, int]:
        """Events and bytes that the history keeps of a topic."""
        limits = self.of(topic)
        return limits.history_events, limits.history_bytes


def _search(patterns: list[_Pattern], general: Limits, topic: str) -> Limits:
    for pattern in patterns:
        if pattern.matches(topic):
            return pattern.limits
    return general


def _strictest(a: Limits, b: Limits) -> Limits:
    if a is b:
        return a
    return Limits(
        min(a.history_events, b.history_events),
        min(a.history_bytes, b.history_bytes),
        min(a.lag_events, b.lag_events),
        min(a.lag_bytes, b.lag_bytes),
        min(a.lag_seconds, b.lag_seconds),
        min(a.slow_policy, b.slow_policy, key=_LOSES_LEAST.index),
    )
