"""Quotas: how much an address, a subject or a topic may have in a second.

Each has a bucket that holds ten seconds' worth, so a page that opens again at once is not refused. A bucket is one
number: the time at which it is empty. A cost above ten seconds' worth is taken where nothing is owed, and owed from
then on. At most `KEPT` buckets are kept, and the one that was used least recently goes first.

The module knows names, costs and times; it must not know requests.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable

__all__ = ["KEPT", "Quota"]

KEPT = 20_000
"""Buckets of one quota."""

_WORTH = 10.0  # s of the rate that a bucket holds


class Quota:
    """One quota.

    Args:
        rate: what there is in a second; 0: no quota.
        clock: seconds that only grow.
        name: by which buckets that are let go are counted.
        forgotten: the counts, by name, of buckets that were let go before their time.
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        name: str = "",
        forgotten: Counter[str] | None = None,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._name = name
        self._forgotten = Counter[str]() if forgotten is None else forgotten
        self._empty: OrderedDict[str, float] = OrderedDict()

    def look(self, name: str, cost: float = 1.0) -> float:
        """Return 0 where a bucket has room for a cost; otherwise the seconds after which it has."""
        if not self._rate:
            return 0.0
        now, each = self._clock(), cost / self._rate
        over = max(self._empty.get(name, 0.0), now) + each - now - max(_WORTH, each)
        return over if over > 1e-9 else 0.0

    def take(self, name: str, cost: float = 1.0) -> None:
        """Take a cost from a bucket, whether there is room or not."""
        if not self._rate:
            return
        now = self._clock()
        self._empty[name] = max(self._empty.get(name, 0.0), now) + cost / self._rate
        self._empty.move_to_end(name)
        if len(self._empty) > KEPT:
            _, until = self._empty.popitem(last=False)
            self._forgotten[self._name] += until > now

    def wait(self, name: str, cost: float = 1.0) -> float:
        """Take a cost from a bucket; return 0, or the seconds after which there is room again, and take nothing."""
        over = self.look(name, cost)
        if not over:
            self.take(name, cost)
        return over
