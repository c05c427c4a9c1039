"""The topics of a history by size: which of them has to let go when there is no room.

One publisher cannot make the past of all others go: the largest topic lets go first, and a followed topic passes for a
sixteenth of its size. So a flood on one topic, or on thousands of new ones, costs those topics. Among topics of about
the same size, the least recently published one comes first.

A rank is the number of bits of a size, so that a topic is found without a search through all of them. This module
knows sizes and the order of publishing, and nothing of what a record holds.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import chain

from fastsse.broadcast.hub.past import Past, by_last

__all__ = ["Ranks"]

_RANKS = 64  # bits of the largest size
_FOLLOWED = 4  # ranks that a followed topic passes for less: a sixteenth of its size


class Ranks:
    """Topics in ranks, apart by whether somebody follows them; within a rank the last published one stands last."""

    def __init__(self) -> None:
        self._ranks = _make(), _make()

    def place(self, past: Past, rank: int) -> None:
        """Put a topic last among those of its new rank."""
        past.peers.pop(past, None)
        past.rank = rank
        past.peers = self._ranks[past.followed][rank]
        past.peers[past] = None

    def remove(self, past: Past) -> None:
        """Take a topic out."""
        past.peers.pop(past, None)

    def largest(self, position: int) -> Past | None:
        """Find a topic than which none is twice as large. One that has only the record at `position` is passed over."""
        others, followed = self._ranks
        for rank in range(_RANKS, 0, -1):
            for past in chain(others[rank], followed[rank + _FOLLOWED]):
                if len(past) != 1 or past.last != position:
                    return past
        for low in range(_FOLLOWED, 0, -1):
            for past in followed[low]:
                if len(past) != 1 or past.last != position:
                    return past
        return None

    def least_recent(self) -> Past:
        """Find the least recently published topic that nobody follows; of all topics when each is followed."""
        for ranks in self._ranks:
            firsts = [next(iter(rank)) for rank in ranks if rank]
            if firsts:
                return min(firsts, key=by_last)
        raise AssertionError("there is no topic")


def _make() -> list[OrderedDict[Past, None]]:
    return [OrderedDict() for _ in range(_RANKS + _FOLLOWED + 1)]
