"""Counts of the hub: plain integers, written on the hot path, read by whoever scrapes.

The module knows numbers; it must not know how they are named for an operator, which is the business of `metrics.py`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

__all__ = ["Histogram", "Stats"]

_LATENCY = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # s
_LAG = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)  # events


class Histogram:
    """Observations, counted by their size in buckets.

    Attributes:
        bounds: upper bounds, inclusive; a last bucket takes the rest.
        counts: observations per bucket.
        total: the sum of all observations.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value that was observed so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def members(self) -> dict[str, object]:
        """Return the histogram as members of a JSON object."""
        return {"bounds": self.bounds, "counts": list(self.counts), "total": self.total}


class Stats:
    """All counts of one hub, since the hub was made.

    Attributes:
        published: events appended by this hub; one that is published again with its key counts once.
        delivered: events handed to sends, each reader counted.
        sends: sends that carried them; fewer than `delivered`, because events that wait are joined.
        sent_bytes: bytes that those sends carried.
        heartbeats: heartbeats handed to sends.
        openings: streams that began, by how: ``new``, ``resumed``, ``earliest``, ``gap``.
        ended: streams that ended, by reason: ``finished`` (all their topics have), ``disconnected``, ``lifetime``,
            ``expired`` (their grant), ``revoked``, ``slow``, ``shutdown``, ``closed`` (a subscription),
            ``filter`` (it raised), ``archive`` (it could not be read).
        refused: streams that were not let in, by reason: ``full``, ``draining``, ``names``, ``ended`` (its
            topics have ended, and nothing is kept that it has not).
        bodies: bodies that are being read now.
        body_bytes: bytes of them that are held now.
        problems: requests that were answered with a problem, by status; streams that were not let in count above alone.
        denied: requests that access control refused, by reason: ``anonymous`` (no credentials), ``grant`` (it does not
            allow that), ``private``, a quota (``rate``, ``bytes``, ``topic_rate``, ``topic_bytes``), or why a token is
            refused (``expired``, ``signature`` and so on).
        quotas_forgotten: addresses, subjects and topics that a quota has forgotten too soon, for want of room, by
            quota.
        bodies_refused: bodies that were not read to their end, by reason: ``full`` (no place), ``silent`` (gave its
            place up), ``bytes`` (too much was held), ``slow`` (took too long).
        events_refused: events that were not published, by the field at fault.
        runs: runs that have ended, by the reason that their end names, and those that were ``refused``.
        append_errors: appends that the store has failed, by reason: ``full`` (no room), ``unreachable``.
        append_latency: seconds that the store took for each append.
        skipped: times that a slow reader was moved ahead.
        gaps: gap events made, by reason: ``trimmed``, ``slow``, ``lost``, ``restart``, ``unknown``.
        latency: seconds from an event's report to the send of each reader that keeps up.
        lag: events that a reader was behind when it could be sent to again.
    """

    __slots__ = (
        "append_errors",
        "append_latency",
        "bodies",
        "bodies_refused",
        "body_bytes",
        "delivered",
        "denied",
        "ended",
        "events_refused",
        "gaps",
        "heartbeats",
        "lag",
        "latency",
        "openings",
        "problems",
        "published",
        "quotas_forgotten",
        "refused",
        "runs",
        "sends",
        "sent_bytes",
        "skipped",
    )

    def __init__(self) -> None:
        self.bodies = 0
        self.body_bytes = 0
        self.published = 0
        self.delivered = 0
        self.sends = 0
        self.sent_bytes = 0
        self.heartbeats = 0
        self.skipped = 0
        self.openings: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self.denied: Counter[str] = Counter()
        self.quotas_forgotten: Counter[str] = Counter()
        self.bodies_refused: Counter[str] = Counter()
        self.events_refused: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.append_errors: Counter[str] = Counter()
        self.append_latency = Histogram(_LATENCY)
        self.latency = Histogram(_LATENCY)
        self.lag = Histogram(_LAG)

    def sent(self, sends: int, events: int, size: int) -> None:
        """Count sends of one message, with its events and its bytes."""
        self.sends += sends
        self.delivered += sends * events
        self.sent_bytes += sends * size

    def members(self) -> dict[str, object]:
        """Return every number by its name, for JSON, as it is now."""
        return {name: _plain(getattr(self, name)) for name in sorted(self.__slots__)}


def _plain(value: int | Counter[str] | Histogram) -> object:
    if isinstance(value, Histogram):
        return value.members()
    return dict(value) if isinstance(value, Counter) else value
