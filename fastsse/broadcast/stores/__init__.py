"""The Store protocol: where the log lives. One file per store.

A store is two verbs: `append` gives an event its position, and `follow` reports every event that the log holds,
in the order of positions, whoever appended it. The hub delivers only what is reported, so local and remote events
walk one road. `open` and `close` are its life.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

__all__ = ["Draft", "Entry", "Report", "Store"]


class Draft:
    """An event that has no position yet.

    Attributes:
        topics: what it is published to; at least one, none twice.
        block: its block without an id, written once for everybody (see `fastsse.encode`).
    """

    __slots__ = ("block", "topics")

    def __init__(self, topics: tuple[str, ...], block: bytes) -> None:
        self.topics = topics
        self.block = block


class Entry:
    """An event in the log.

    Attributes:
        position: its place in the one sequence of all topics; from 1, growing, not always by one.
        topics: what it was published to.
        block: its block without an id.
    """

    __slots__ = ("block", "position", "topics")

    def __init__(self, position: int, topics: tuple[str, ...], block: bytes) -> None:
        self.position = position
        self.topics = topics
        self.block = block

    def __repr__(self) -> str:
        return f"Entry({self.position}, {self.topics!r}, {len(self.block)} bytes)"


Report = Callable[[Entry], None]


@runtime_checkable
class Store(Protocol):
    """What the hub wants of a log. Called from one event loop only."""

    async def open(self) -> str:
        """Make the log ready and say its epoch: a name for this log's numbering, without ``-`` or white space.

        Two logs never share an epoch; a log that survives a restart keeps its own.
        """
        ...

    async def append(self, draft: Draft) -> int:
        """Put an event at the end of the log and give its position.

        The event is reported to the follower before this returns, or soon after.

        Raises:
            OSError: the log cannot be written; nothing was appended.
        """
        ...

    async def follow(self, after: int, report: Report) -> None:
        """Report every entry behind `after`, in order, for as long as the store is open.

        Returns once what was in the log at the call has been reported; later entries are reported on the loop.
        `report` is called with each entry once; it must not be slow, and does not raise.
        """
        ...

    async def close(self) -> None:
        """Report nothing more and let everything go."""
        ...
