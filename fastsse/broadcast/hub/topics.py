"""Limits: what a topic may keep and how far a stream may fall behind, by the topic's name.

A topic has the knobs of the table that is named for it; otherwise of the first pattern, in the order of writing, that
matches; otherwise the general ones. A knob that a table leaves out is the general one: tables are not added up. In a
pattern ``*`` stands for any characters, none and ``/`` included, and every other character for itself.

A stream of several topics has the least of each limit that its topics have, counted over all of them, and the policy
that loses least: ``end`` before ``latest`` before ``skip``. So the limits of a topic hold for every stream that
follows it, and no reader escapes them by following another topic besides.

The module knows names and numbers; it must not know records or subscribers. Names are chosen by clients: answers are
kept for the last `_CACHED` short ones, and a match is linear in the name for each pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fastsse.broadcast.names import Pattern

if TYPE_CHECKING:
    from fastsse.broadcast.settings import Settings

__all__ = ["Limits", "TopicLimits"]

_CACHED = 1024  # names of topics whose answers are kept
_SHORT = 256  # characters of such a name
# A reader whose stream was ended comes back and gets what it missed.
_LOSES_LEAST = ("end", "latest", "skip")


class Limits(NamedTuple):
    """The knobs that may differ from topic to topic: see `Settings` for each."""

    history_events: int
    history_bytes: int
    lag_events: int
    lag_bytes: int
    lag_seconds: float
    slow_policy: str


class TopicLimits:
    """The limits of every topic and every stream.

    Attributes:
        shortest, longest: seconds, the least and the greatest `lag_seconds` of any topic.
    """

    def __init__(self, settings: Settings) -> None:
        general = Limits(*(getattr(settings, name) for name in Limits._fields))
        tables = {name: _limits(general, knobs) for name, knobs in dict(settings.topics).items()}
        patterns = [(Pattern.of(name), limits) for name, limits in tables.items() if "*" in name]
        self._exact = {name: limits for name, limits in tables.items() if "*" not in name}
        self._find = partial(_search, patterns, general)
        self._search = lru_cache(_CACHED)(self._find)
        lags = [limits.lag_seconds for limits in (general, *tables.values())]
        self.shortest, self.longest = min(lags), max(lags)

    def of(self, topic: str) -> Limits:
        """Return the limits of one topic."""
        search = self._search if len(topic) <= _SHORT else self._find
        return self._exact.get(topic) or search(topic)

    def of_stream(self, topics: Sequence[str]) -> Limits:
        """Return the limits of a stream that follows these topics, at least one."""
        limits = self.of(topics[0])
        for topic in topics[1:]:
            limits = _strictest(limits, self.of(topic))
        return limits

    def kept(self, topic: str) -> tuple[int, int]:
        """Return how many events and bytes the history keeps of a topic."""
        limits = self.of(topic)
        return limits.history_events, limits.history_bytes


def _limits(general: Limits, knobs: Any) -> Limits:
    """Return the general limits with those of a table; the knobs of the store are not for the hub."""
    return general._replace(**{key: knob for key, knob in knobs if key in Limits._fields})


def _search(patterns: list[tuple[Pattern, Limits]], general: Limits, topic: str) -> Limits:
    for pattern, limits in patterns:
        if pattern.matches(topic):
            return limits
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
