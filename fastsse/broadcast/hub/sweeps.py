"""Sweeps: one join on its way to the members of an audience, in bounded steps, and the line of audiences that wait.

Small events of one audience go before large events of others, but not for ever: also while a sweep of a large event is
on its way. The module knows audiences and joins; it must not know sends or subscribers' states.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from fastsse import encode_comment
from fastsse.broadcast.hub.joins import JOIN_SIZE, Join

if TYPE_CHECKING:
    from fastsse.broadcast.hub.audiences import Audience
    from fastsse.broadcast.hub.history import Record
    from fastsse.broadcast.hub.joins import JoinMaker
    from fastsse.broadcast.hub.subscriber import Subscriber

__all__ = ["HEARTBEAT", "Left", "Line", "Sweep"]

HEARTBEAT = Join([encode_comment()], 0, 0, 0)

_WEIGHT = 32  # sends of small messages that take as long as one of `JOIN_SIZE`
_PATIENCE = 8  # sweeps after which a large join has its turn though small ones are waiting


class Left(NamedTuple):
    """The rest of a join whose sending has begun.

    Attributes:
        join: the join.
        start: the next of its messages.
    """

    join: Join
    start: int


class Sweep:
    """A join on its way to the members of an audience.

    Attributes:
        audience, join: the two.
        members: the members when the sweep began.
        events: how many events the join has; 0 for a heartbeat.
        first, last: positions of the first and the last event; 0 for a heartbeat.
        left: how many members have not had their turn.
        sends: how many messages one member needs.
        weight: what one member takes of a turn's budget; a large message takes as long as many small ones.
        since: loop time at which the oldest event came.
    """

    __slots__ = (
        "_index", "audience", "events", "first", "join", "last", "left", "members", "sends", "since",
        "weight",
    )  # fmt: skip

    def __init__(self, audience: Audience[Subscriber], join: Join, first: int, number: int) -> None:
        self.members = audience.snapshot()
        self.left = len(self.members)
        # The next member, in a circle that begins at another one each time, so that nobody is always the last. There is
        # no member when the last one, a subscription, was collected just now.
        self._index = number % (self.left or 1)
        self.audience = audience
        self.join = join
        self.events = join.events
        self.first = first
        self.last = join.last
        self.sends = join.parts
        self.weight = 1 if join.parts == 1 else join.parts * _WEIGHT
        self.since = audience.pending_since

    def step(self, most: int) -> tuple[int, int]:
        """Take the next `most` members, or fewer at the end of the list. Returns from where and up to where."""
        start = self._index
        stop = min(start + min(most, self.left), len(self.members))
        self.left -= stop - start
        self._index = stop % (len(self.members) or 1)
        return start, stop


class Line:
    """The audiences that wait for a sweep, and which of them is next.

    Args:
        loop: the loop whose time counts.
        joins: joins an audience's pending records.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, joins: JoinMaker) -> None:
        self._loop = loop
        self._joins = joins
        self._small: deque[Audience[Subscriber]] = deque()
        self._large: deque[Audience[Subscriber]] = deque()  # their next record is over one message
        self._beats: deque[Audience[Subscriber]] = deque()  # they are due a heartbeat
        self._aside: Sweep | None = (
            None  # of a large join, which has begun; its audience does not wait for another
        )
        self._number = 0  # of sweeps

    def add(self, audience: Audience[Subscriber], record: Record) -> None:
        """Let an audience wait for a sweep, which will begin with this record."""
        if self._aside is not None and self._aside.audience is audience:
            return  # until that sweep is over
        (self._large if len(record.block) > JOIN_SIZE else self._small).append(audience)

    def add_beat(self, audience: Audience[Subscriber]) -> None:
        """Let an audience wait for a heartbeat, unless events come first."""
        self._beats.append(audience)

    def close(self, sweep: Sweep) -> None:
        """Note that a sweep is over."""
        if sweep is self._aside:
            self._aside = None
            if sweep.audience.pending:
                self.add(sweep.audience, sweep.audience.pending[0])

    def may_be_passed(self, sweep: Sweep) -> bool:
        """Return True when small joins may leave before this sweep goes on; `next` gives it again."""
        return sweep is self._aside

    def begun_for(self, audience: Audience[Subscriber]) -> Sweep | None:
        """Return the sweep of a large join that has begun for an audience, if there is one."""
        return self._aside if self._aside is not None and self._aside.audience is audience else None

    def next(self) -> Sweep | None:
        """Begin the next sweep, or go on with that of a large join; None when no audience waits."""
        self._number += 1
        while waiting := self._next_queue():
            audience = waiting.popleft()
            if not audience.members:
                audience.pending.clear()
                continue
            first = audience.pending[0].position
            join = self._joins.pending(audience)
            audience.quiet_since = self._loop.time()
            audience.sent += join.size
            sweep = Sweep(audience, join, first, self._number)
            if sweep.join.message is None and self._aside is None:
                self._aside = sweep
            if audience.pending:
                self.add(audience, audience.pending[0])
            return sweep
        if self._aside is not None:
            return self._aside
        while self._beats:
            audience = self._beats.popleft()
            if audience.members:
                audience.quiet_since = self._loop.time()
                return Sweep(audience, HEARTBEAT, 0, self._number)
        return None

    def _next_queue(self) -> deque[Audience[Subscriber]] | None:
        """Return the queue whose turn it is. None: no audience waits, or the large sweep that has begun is to go on."""
        patient = self._number % _PATIENCE == 0
        if self._aside is not None:
            return None if patient else self._small
        return self._large if self._large and patient else self._small or self._large
