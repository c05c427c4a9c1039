"""The pace of large work: long replays and large sweeps leave the loop half of the time.

A loop that is always busy holds the interpreter. The threads of a server then wait for it at every step of every other
request, up to five milliseconds each time, although each turn of the loop is short. So large work rests for as long as
it has kept the loop busy, and the loop waits for the network meanwhile.

The module knows times; it must not know what the work is.
"""

from __future__ import annotations

import asyncio
import time

__all__ = ["Pace", "clock"]

clock = time.perf_counter  # a test whose loop has a time of its own sets that

_LEAST = 0.002  # s of work before a rest: a loop's timers are no finer than one millisecond
_MOST = 0.005  # s that one piece of work counts at most: more is time in which others had the loop


class Pace:
    """The share of the loop's time that one kind of work takes, however many tasks do it: at most half.

    Args:
        loop: the loop whose time counts.
    """

    __slots__ = ("_free_at", "_loop", "_owed")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._owed = 0.0  # seconds of work that no rest has followed yet
        self._free_at = 0.0  # loop time until which the work rests

    def rest_after(self, spent: float) -> float:
        """Count work that has kept the loop busy.

        Args:
            spent: seconds that it took, by `clock`.

        Returns:
            Seconds until the work may go on; 0: at once.
        """
        now = self._loop.time()
        self._owed += min(spent, _MOST)
        if self._owed >= _LEAST:
            self._free_at = max(self._free_at, now) + self._owed
            self._owed = 0.0
        return max(0.0, self._free_at - now)

    async def rest(self, spent: float) -> None:
        """Count work as `rest_after` does, and wait until it may go on, also for what other tasks have done."""
        left = self.rest_after(spent)
        while left > 0:
            await asyncio.sleep(left)
            left = self._free_at - self._loop.time()
