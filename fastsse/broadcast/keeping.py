"""Knobs of the store, and the knobs that may differ from topic to topic.

`Settings` has these and all others. The module knows names, defaults and bounds; it must not know what a setting does,
nor how a store is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastsse.broadcast.knobs import Choice, Knob, Number, Switch, Text

__all__ = ["PER_TOPIC", "Keeping", "knob"]

_DAY = 86_400.0

PER_TOPIC: Mapping[str, Knob] = {
    "history_events": Number(
        1000, "events kept of one topic; 0: no replay", "events", 0, 10_000_000
    ),
    "history_bytes": Number(2**20, "bytes kept of one topic", "bytes", 0, 2**40),
    "retain_events": Number(
        10_000_000,
        "events that the store keeps of all topics; in a table of `topics`, of each one that matches; 0: no limit",
        "events",
        0,
        10**12,
    ),
    "retain_bytes": Number(
        2**30,
        "bytes of events that the store keeps of all topics; in a table, of each one that matches; 0: no limit",
        "bytes",
        0,
        2**50,
    ),
    "retain_seconds": Number(
        0.0,
        "time for which the store keeps an event; in a table, of topics that match; 0: no limit",
        "s",
        0,
        3660 * _DAY,
    ),
    "lag_events": Number(
        1000, "events that a blocked reader may be behind", "events", 1, 10_000_000
    ),
    "lag_bytes": Number(4 * 2**20, "bytes that a blocked reader may be behind", "bytes", 1, 2**40),
    "lag_seconds": Number(30.0, "time that a reader may be blocked", "s", 0.05, _DAY),
    "slow_policy": Choice(
        "end",
        "what becomes of a reader over its limits: its stream ends (end), it goes on after the newest event "
        "(skip), or it gets the newest event of each topic and goes on (latest)",
        ("end", "skip", "latest"),
    ),
}
"""The knobs that may have another value for some topics, by name.

The hub's `Limits` has a field for each but those of the store, whose names begin with ``retain_``.
"""


def knob(kind: Knob, *, shown: bool = True) -> Any:
    """Make the field of a knob; one that is not shown, because it may hold a password, has no place in the repr."""
    return field(default=kind.default, metadata={"knob": kind}, repr=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """The knobs of the store: the first part of `Settings`, which explains them."""

    store: str = knob(
        Text(
            "memory:",
            "where the log lives: `memory:` (this process), `sqlite:///FILE`, or the URL of a server that several "
            "processes share (see stores.md)",
            "URL",
        ),
        shown=False,
    )
    store_wait: float = knob(
        Number(
            0.0,
            "time for which a start waits for a store that cannot be reached; afterwards the start fails",
            "s",
            0,
            _DAY,
        )
    )
    store_ready: bool = knob(
        Switch(
            False,
            "`/health` answers 503 while the store cannot be reached, so that a load balancer takes this process out; "
            "otherwise only publishes are refused",
        )
    )
    retain_events: int = knob(PER_TOPIC["retain_events"])
    retain_bytes: int = knob(PER_TOPIC["retain_bytes"])
    retain_seconds: float = knob(PER_TOPIC["retain_seconds"])
