"""The items that a history gives: a `Record` that it holds, and a `Lost` range that it does not.

This module knows positions, topics and blocks. The module must not know how long anything is kept, or for whom.
"""

from __future__ import annotations

from fastsse import Event, decode

__all__ = ["End", "Lost", "Record"]


class Record:
    """An event as it is kept and sent: made once, shared by every subscriber.

    Attributes:
        position: the event's place in the log.
        topics: the topics that the event was published to.
        block: the event's block, which begins with its id.
        kept: how many topics' histories have the record.
        ends: True for the end of its topics.
    """

    __slots__ = ("block", "kept", "position", "topics")

    ends = False

    def __init__(self, position: int, topics: tuple[str, ...], block: bytes) -> None:
        self.position = position
        self.topics = topics
        self.block = block
        self.kept = 0

    @property
    def event(self) -> Event:
        """The decoded block. Many filters ask for one record in turn, so the last answer is kept."""
        global _decoded
        record, event = _decoded
        if record is not self:
            [event] = decode(self.block)
            _decoded = self, event
        return event


class End(Record):
    """The end of its topics, as it is kept and sent."""

    __slots__ = ()

    ends = True


_decoded: tuple[Record | None, Event] = None, Event("")  # of all records one is kept decoded


class Lost:
    """A gap: events of `topics` after position `after` and up to `position` cannot be had from the history.

    A gap at the beginning comes before the records that are kept. A reader that is cut off after one of those comes
    back with that record's id, and would never be told of what was lost before it.

    Attributes:
        place: where a reader stands that was told of this gap, and so of every one before it.
        hole: True when the store lost the events, and the history never had them.
    """

    __slots__ = ("after", "hole", "place", "position", "topics")

    def __init__(
        self, after: int, position: int, topics: tuple[str, ...], place: int, *, hole: bool = False
    ) -> None:
        self.after = after
        self.position = position
        self.topics = topics
        self.place = place
        self.hole = hole
