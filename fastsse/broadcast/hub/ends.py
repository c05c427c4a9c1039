"""The topics that have ended, and where: as long as an end is kept, and for some time after that.

A topic has ended while its newest event is an end. The history knows that of the topics that it keeps. A topic that the
history has let go is remembered by its name, so that its readers are sent away for good and no longer wait for what
never comes.

Bound: the remembered names take `most` bytes; beyond that the one that was let go first is forgotten. A forgotten name
is like one that was never used.

The module knows names and positions; it must not know records, streams or time.
"""

from __future__ import annotations

from collections import OrderedDict
from sys import getsizeof

__all__ = ["KEPT", "Ends"]

KEPT = 100  # bytes of the end of a kept topic: its place in the index, and its position
_GONE = 200  # bytes of a remembered name beside its text


class Ends:
    """The ends of topics.

    Args:
        most: bytes that the remembered names may take.

    Attributes:
        kept: the position of the end, by topic, where the history has it; the oldest end first.
        gone: the same where the history has let it go; first the one that was let go first.
        size: bytes that the remembered names take.
    """

    __slots__ = ("_most", "gone", "kept", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self.kept: dict[str, int] = {}
        self.gone: OrderedDict[str, int] = OrderedDict()
        self.size = 0

    def last(self, topics: tuple[str, ...]) -> int:
        """Return the position at which the last of these topics ended; 0 unless all of them have ended."""
        last = 0
        if self.kept or self.gone:
            for topic in topics:
                end = self.of(topic)
                if not end:
                    return 0
                last = max(last, end)
        return last

    def of(self, topic: str) -> int:
        """Return the position at which a topic ended; 0 when it has not."""
        return self.kept.get(topic) or self.gone.get(topic, 0)

    def note(self, topic: str, position: int) -> None:
        """Note that a topic has ended, and that the history has its end."""
        self.reopen(topic)
        self.kept[topic] = position

    def reopen(self, topic: str) -> None:
        """Note that a topic has an event after its end, if it had one."""
        self.kept.pop(topic, None)
        if self.gone.pop(topic, 0):
            self.size -= _cost(topic)

    def let_go(self, topic: str, position: int) -> int:
        """Note that the history has let an end go, or never had it.

        Returns:
            The greatest position of the ends that are forgotten for that; 0 for none.
        """
        self.reopen(topic)
        self.gone[topic] = position
        self.size += _cost(topic)
        forgotten = 0
        while self.size > self._most:
            name, end = self.gone.popitem(last=False)
            self.size -= _cost(name)
            forgotten = max(forgotten, end)
        return forgotten

    def clear(self) -> None:
        """Forget everything: another log begins."""
        self.kept.clear()
        self.gone.clear()
        self.size = 0


def _cost(topic: str) -> int:
    return _GONE + getsizeof(topic)
