"""The messages of large joins, cut once for all readers that come to them at about the same time.

A join that is larger than one message is cut when its messages are sent. A hundred readers of one large event would
otherwise hold a hundred copies of each of its messages. `_KEPT` messages are kept, the newest ones, until no send
pends.

The module knows joins and messages; it must not know who is sent to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastsse.asgi import Message
    from fastsse.broadcast.hub.joins import Join

__all__ = ["Cuts"]

_KEPT = 64  # messages of at most `JOIN_SIZE` bytes


class Cuts:
    """Cut messages, for all streams of a hub."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        # The first of a pair is what the message was cut from, whose identity is in the key.
        self._kept: dict[tuple[int, int], tuple[object, Message]] = {}

    def part(self, join: Join, index: int) -> Message:
        """Return one message of a join: shared, so nobody may change it."""
        if join.message is not None:
            return join.message
        # Joins of one event are made for each reader that replays; the event's block is one for all.
        source: object = join.pieces[0] if len(join.pieces) == 1 else join
        key = id(source), index
        found = self._kept.get(key)
        if found is None:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            found = self._kept[key] = source, join.part(index)
        return found[1]

    def clear(self) -> None:
        """Let go of all messages."""
        self._kept.clear()
