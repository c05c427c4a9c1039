"""The logs that a hub has followed, one after the other, and how their numbers become positions of the hub.

    log      numbers        positions
    abc      1 ... 70       1 ... 70       until the first renewal they are the same
    def      41, 42 ...     112, 113 ...   a log that holds 1 to 40 follows: those numbers are 72 to 111

A store that fails over begins another log, whose numbers may be smaller. Inside the hub positions go on growing all the
same: the pump, joins and carried streams compare positions, and many of them are on their way when the news comes. So a
number is what stands in an id and in a store, a position is what the hub compares, and only this module turns one
into the other.

The module knows epochs and numbers, and nothing of streams or records.
"""

from __future__ import annotations

from fastsse.broadcast.stores import Log

__all__ = ["Eras"]

_KEPT = 8  # past eras that are remembered, for the ids of readers that stand in one
_SPAN = 2**56  # numbers before the head of a renewed log that get positions, for an archive
_LOOSE = -(2**63)  # the shift of an era whose first number is not known: no position results


class _Era:
    """One log: positions from `start` on belong to it, and the number `number` is the position `position`.

    A log that was `empty` when its era began has the number 0 at that position, whatever number came first.
    """

    __slots__ = ("empty", "epoch", "number", "position", "start")

    def __init__(self, epoch: str, start: int, position: int, number: int) -> None:
        self.epoch = epoch
        self.start = start
        self.position = position
        self.number = number
        self.empty = not number


class Eras:
    """The present log of a hub and those before it.

    Args:
        epoch: the name of the first log.

    Attributes:
        epoch: the name of the present log.
        start: the lowest position that belongs to the present log.
        place: the position at which the present log stood when its era began.
        floor: the lowest number of the present log that has a position; 0 in the first log.
        shift: what is added to a number of the present log for its position. Large and negative while `loose`.
        loose: True after a renewal by an empty log, until `anchor` has heard the log's first number.
    """

    __slots__ = ("_eras", "_present", "epoch", "floor", "loose", "place", "shift", "start")

    def __init__(self, epoch: str) -> None:
        self._present = _Era(epoch, 0, 0, 0)
        self._eras = [self._present]
        self.epoch = epoch
        self.start = 0
        self.place = 0
        self.floor = 0
        self.shift = 0
        self.loose = False

    def renew(self, log: Log, head: int) -> int:
        """Begin another era, and return the position of its log's head.

        Args:
            head: the newest position until now.
        """
        span = min(log.head - log.floor, _SPAN)
        self.place = place = head + 1 + span
        self._present = _Era(log.epoch, head + 1, place, log.head)
        self._eras = [*self._eras[-_KEPT:], self._present]
        self.epoch = log.epoch
        self.start = head + 1
        self.floor = log.head - span
        self.loose = not log.head
        self.shift = _LOOSE if self.loose else place - log.head
        return place

    def anchor(self, number: int) -> None:
        """Let the first number of a log that was empty follow the position at which its era began.

        The first number may be huge, and positions must stay below 2**63 however often logs are renewed.
        """
        era = self._present
        era.number = number - 1
        self.shift = era.position - era.number
        self.loose = False

    def position(self, number: int) -> int:
        """Return the position of a number of the present log, which is not below `floor`."""
        era = self._present
        return max(era.start, era.position + number - era.number)

    def number(self, position: int) -> int:
        """Return the number that a position has in its log; of one before the first log that is remembered, 0."""
        era = self._of(position)
        if era.empty and position <= era.position:
            return 0
        return max(0, era.number + position - era.position)

    def id(self, position: int) -> str:
        """Write a position as the id that stands for it on the wire: ``<epoch>-<number>``."""
        return f"{self._of(position).epoch}-{self.number(position)}"

    def knows(self, epoch: str) -> bool:
        """Return True for the name of the present log, and of one before it that is remembered."""
        return any(era.epoch == epoch for era in self._eras)

    def _of(self, position: int) -> _Era:
        era = self._present
        if position >= era.start:
            return era
        return next((e for e in reversed(self._eras) if position >= e.start), self._eras[0])
