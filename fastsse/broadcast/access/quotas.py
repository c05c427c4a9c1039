"""Quotas: how many requests an address or a subject may send in a second.

Each has a bucket that holds ten seconds' worth, so a page that opens again at once is not refused. A bucket is one
number: the time at which it is empty. At most `KEPT` buckets are kept, and the one that was used least recently goes
first.

The module knows names and times; it must not know requests.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["KEPT", "Quota"]

KEPT = 20_000
"""Buckets of one quota."""

_WORTH = 10.0  # s of the rate that a bucket holds


class Quota:
    """One quota.

    Args:
        rate: requests in a second; 0: no quota.
        clock: seconds that only grow.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._empty: OrderedDict[str, float] = OrderedDict()

    def wait(self, name: str) -> float:
        """Take one request from a bucket; return 0, or the seconds after which there is room again."""
        if not self._rate:
            return 0.0
        now, each = self._clock(), 1 / self._rate
        until = max(self._empty.get(name, 0.0), now) + each
        over = until - now - max(_WORTH, each)
        if over > 1e-9:
            return over
        self._empty[name] = until
        self._empty.move_to_end(name)
        if len(self._empty) > KEPT:
            self._empty.popitem(last=False)
        return 0.0
