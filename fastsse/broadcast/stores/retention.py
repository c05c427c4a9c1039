"""How much a store keeps: in all, and of topics by name.

The module knows numbers and patterns of names; it must not know entries, nor how an engine lets them go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from fastsse.broadcast.names import ORDERS, Pattern

__all__ = ["EVERYTHING", "Keep", "Retention"]

_PREFIX = "retain_"  # of the settings' names


class Keep(NamedTuple):
    """The bounds of one log, or of one topic; 0 stands for "no limit".

    Attributes:
        events: how many entries stay.
        bytes: how many bytes their blocks take.
        seconds: how long an entry stays.
    """

    events: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def unbounded(self) -> bool:
        """True when nothing ever has to go."""
        return not any(self)


EVERYTHING = Keep()


class Retention(NamedTuple):
    """The bounds of a log, and those of single topics besides.

    An entry goes as soon as one bound is passed, whether that of the log or that of one of its topics. Each engine says
    which bounds it can promise exactly, and which only about.

    Attributes:
        log: the bounds over all topics.
        topics: the bounds of a topic, by its exact name or a pattern, in the order in which patterns are tried.
    """

    log: Keep = EVERYTHING
    topics: tuple[tuple[Pattern, Keep], ...] = ()

    @classmethod
    def of(cls, settings: Any) -> Self:
        """Read the bounds from `fastsse.broadcast.Settings`: ``retain_…``, and the tables of ``topics``."""
        log = Keep(settings.retain_events, settings.retain_bytes, settings.retain_seconds)
        tables: Mapping[str, Sequence[tuple[str, Any]]] = dict(settings.topics)
        found = [(Pattern.of(name), _keep(table)) for name, table in tables.items()]
        exact_first = sorted(found, key=lambda pair: len(pair[0].parts) > 1)
        return cls(log, tuple(exact_first))

    def of_topic(self, topic: str) -> Keep:
        """Return the bounds of one topic: those of the first table that matches; linear in the tables.

        The hubs' orders have none, because they are of no topic that a table could mean.
        """
        if topic == ORDERS:
            return EVERYTHING
        for pattern, keep in self.topics:
            if pattern.matches(topic):
                return keep
        return EVERYTHING

    @property
    def by_topic(self) -> bool:
        """True when some topics have bounds of their own."""
        return any(not keep.unbounded for _, keep in self.topics)


def _keep(table: Sequence[tuple[str, Any]]) -> Keep:
    return Keep(**{key.removeprefix(_PREFIX): one for key, one in table if key.startswith(_PREFIX)})
