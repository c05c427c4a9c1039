"""The quotas of one app: how often streams are opened, how often and how much is published, and by whom.

    opens         streams of an address and of a subject
    posts         publishes, ends and tickets of an address and of a subject
    bytes         what an address and a subject publish
    topic_events  events that are published to one topic
    topic_bytes   their bytes

A request that costs something in several buckets is counted in all of them, or in none where one has no room. A
stream that is open stays open: a quota refuses new requests (429).

The module knows requests and quotas; it must not know who is granted what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from math import ceil

from fastsse.asgi import Scope
from fastsse.broadcast.access.quotas import Quota
from fastsse.broadcast.hub.holders import network_of
from fastsse.broadcast.hub.stats import Stats
from fastsse.broadcast.hub.terms import Terms
from fastsse.broadcast.settings import Settings
from fastsse.broadcast.web.problems import Problem

__all__ = ["Bill", "Rates"]

_WORDS = {  # by the reason that is counted
    "rate": "too many requests",
    "bytes": "too many bytes are published by this client",
    "topic_rate": "too many events are published to one of these topics",
    "topic_bytes": "too many bytes are published to one of these topics",
}

_Cost = tuple[str, Quota, str, float]  # the reason, the quota, the bucket, the cost


class Rates:
    """The quotas of one app.

    Args:
        settings: `opens_per_second`, `posts_per_second`, `bytes_per_second`, `topic_events_per_second`,
            `topic_bytes_per_second`; 0: no quota.
        stats: where refusals are counted.
        clock: seconds that only grow.
    """

    def __init__(
        self, settings: Settings, stats: Stats, clock: Callable[[], float] = time.monotonic
    ) -> None:
        def quota(rate: float, name: str) -> Quota:
            return Quota(rate, clock, name, stats.quotas_forgotten)

        self._stats = stats
        self._opens = quota(settings.opens_per_second, "opens")
        self._posts = quota(settings.posts_per_second, "posts")
        self._bytes = quota(settings.bytes_per_second, "bytes")
        self._topic_events = quota(settings.topic_events_per_second, "topic_events")
        self._topic_bytes = quota(settings.topic_bytes_per_second, "topic_bytes")
        self._of_topics = bool(settings.topic_events_per_second or settings.topic_bytes_per_second)
        self._of_bytes = bool(settings.bytes_per_second)

    def opens_too_often(self, terms: Terms) -> bool:
        """Count a stream that opens against its address and its subject; return True where there are too many."""
        address = network_of(str(terms.remote[0])) if terms.remote else ""
        if terms.subject is None:
            return bool(address and self._opens.wait(address))
        names = [_of(terms.subject), address] if address else [_of(terms.subject)]
        if any(map(self._opens.look, names)):
            return True
        for name in names:
            self._opens.take(name)
        return False

    def bill(self, scope: Scope) -> Bill:
        """Count a request that changes something against its address, before its credentials cost any work.

        An address that owes bytes is refused before a body is read.

        Raises:
            Problem: 429 where the address sends too many or too much.
        """
        client = scope.get("client")
        address = network_of(str(client[0])) if client else None
        self._count(address)
        return Bill(self, address)

    def check_subject(self, subject: str | None) -> None:
        """Count a request that changes something against its subject.

        Raises:
            Problem: 429 where the subject sends too many or too much.
        """
        self._count(None if subject is None else _of(subject))

    def charge(self, names: Iterable[str], topics: Iterable[str], size: int, events: int) -> None:
        """Count what is about to be published, in all of its buckets or in none.

        Args:
            names: buckets of the address and the subject.
            topics: the topics that are published to.
            size: bytes.
            events: how many.

        Raises:
            Problem: 429 where one of the buckets has no room.
        """
        costs: list[_Cost] = []
        if self._of_bytes:
            costs += [("bytes", self._bytes, name, size) for name in names]
        if self._of_topics:
            for topic in set(topics):
                costs.append(("topic_rate", self._topic_events, topic, events))
                costs.append(("topic_bytes", self._topic_bytes, topic, size))
        for reason, quota, name, cost in costs:
            if seconds := quota.look(name, cost):
                raise self._refusal(reason, seconds)
        for _, quota, name, cost in costs:
            quota.take(name, cost)

    def _count(self, name: str | None) -> None:
        if name is None:
            return
        if seconds := self._bytes.look(name):
            raise self._refusal("bytes", seconds)
        if seconds := self._posts.wait(name):
            raise self._refusal("rate", seconds)

    def _refusal(self, reason: str, seconds: float) -> Problem:
        self._stats.denied[reason] += 1
        after = {"Retry-After": str(ceil(seconds))}
        problem = Problem(429, f"{_WORDS[reason]}; come again later", headers=after)
        problem.denied = reason
        return problem


class Bill:
    """All that one request publishes, counted against its address, its subject and its topics.

    Attributes:
        subject: who has sent the request; None until that is known, and where nobody says.
        checks: by verb, a function that raises a problem once the grant for that verb is over.
    """

    __slots__ = ("_address", "_rates", "checks", "subject")

    def __init__(self, rates: Rates, address: str | None) -> None:
        self._rates = rates
        self._address = address
        self.subject: str | None = None
        self.checks: dict[str, Callable[[], None]] = {}

    def charge(self, topics: Iterable[str], size: int, events: int = 1) -> None:
        """Count what is about to be published. A charge of nothing asks alone if the grant is still good.

        Raises:
            Problem: as `Rates.charge`; 401 where the grant is over: a body may last longer than its token.
        """
        for check in self.checks.values():
            check()
        if not (size or events):
            return
        names = [] if self._address is None else [self._address]
        if self.subject is not None:
            names.append(_of(self.subject))
        self._rates.charge(names, topics, size, events)


def _of(subject: str) -> str:
    """Return the bucket of a subject, which is no address."""
    return f"subject {subject}"
