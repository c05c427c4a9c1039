"""One topic's kept records, and the bytes that they take.

A `Past` knows its records and its floor: the position of the last record that it let go. Other topics, and the
decision when to let go, are none of its business.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from operator import attrgetter

from fastsse.broadcast.hub.record import Record

__all__ = ["RECORD", "SLOT", "Past", "by_last", "by_position"]

# Bytes that things take beside their text, measured by the growth of a process's resident memory.
RECORD = 150  # a record: the object, its position, the header of its bytes
SLOT = 16  # a record's place in one topic's list; the lists have spare and let-go places
_COMPACT = 16  # let-go slots at a list's front before it is copied

by_last = attrgetter("last")
by_position = attrgetter("position")


class Past:
    """One topic's kept records: `records[start:]`, oldest first; before `start` the list holds nothing any more.

    Attributes:
        name: the topic.
        most_events, most_size: records and bytes that may be kept.
        size: bytes of the records, each counted as if no other topic had it.
        floor: position of the last record that was let go.
        last: position of the newest record, kept or not.
        followed: True when somebody follows the topic.
        rank: the rank of the size (see `Ranks`); 0 while the topic has none.
        peers: the topics of this rank, this one among them.
    """

    __slots__ = (
        "floor", "followed", "last", "most_events", "most_size", "name", "peers", "rank", "records", "size", "start",
    )  # fmt: skip

    def __init__(
        self, name: str, floor: int, most_events: int, most_size: int, followed: bool
    ) -> None:
        self.name = name
        self.most_events = most_events
        self.most_size = most_size
        self.records: list[Record | None] = []
        self.start = 0
        self.size = 0
        self.floor = floor
        self.last = floor
        self.followed = followed
        self.rank = 0
        self.peers = _NOWHERE

    def __len__(self) -> int:
        return len(self.records) - self.start

    def let_go(self) -> Record:
        """Drop the oldest record, and return it."""
        record = self.records[self.start]
        assert record is not None
        self.records[self.start] = None
        self.start += 1
        self.floor = record.position
        self.size -= len(record.block) + RECORD + SLOT
        if self.start >= _COMPACT and self.start * 2 >= len(self.records):
            del self.records[: self.start]
            self.start = 0
        return record

    def first(self) -> Record | None:
        """Return the oldest kept record."""
        return self.records[self.start] if len(self) else None

    def first_after(self, after: int) -> int:
        """Return the index of the first kept record after a position."""
        return bisect_right(self.records, after, lo=self.start, key=by_position)

    def after(self, after: int) -> Iterator[Record]:
        """Yield the kept records after a position."""
        records = self.records
        for index in range(self.first_after(after), len(records)):
            record = records[index]
            assert record is not None
            yield record


_NOWHERE: OrderedDict[Past, None] = OrderedDict()
