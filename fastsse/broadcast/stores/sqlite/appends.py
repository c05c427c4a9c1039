"""Appends on their way into a file: one event, and the group of those of one turn of the event loop.

The event loop fills a group and hands it over whole, so that a lock, a bell and a bound cost once for many events. The
writing thread notes what became of each append, and the loop then answers.

The module knows drafts, entries and futures; it must not know SQL, threads or what an outcome is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from fastsse.broadcast.stores import Draft, Entry

__all__ = ["GROUP", "GROUP_BYTES", "Append", "Group", "forget_outcomes"]

GROUP = 1024  # appends of one transaction
GROUP_BYTES = 8 * 2**20  # of their blocks, and one block more


class Append:
    """One event on its way into the log.

    Attributes:
        draft: the event.
        key: of its publish.
        follows: an event of the group before it has to be appended first, or this one is not appended either.
        future: the publisher's; done already where nobody waits any more. Only the event loop looks at it.
        outcome: the entry, once the event is in the log; the position of the first publish where the key was known;
            the error where something stands against this event alone; None before any of these.
    """

    __slots__ = ("draft", "follows", "future", "key", "outcome")

    def __init__(
        self, draft: Draft, key: str | None, future: asyncio.Future[int], *, follows: bool = False
    ) -> None:
        self.draft = draft
        self.key = key
        self.future = future
        self.follows = follows
        self.outcome: Entry | int | Exception | None = None


class Group:
    """Appends that are handed over together.

    Attributes:
        items: the appends, in order; at most `GROUP`, or as many as there was room for.
        size: bytes of their blocks.
        since: the event loop's time when the group was begun.
        most: appends that the group takes.
        most_bytes: bytes of blocks that the group takes.
    """

    __slots__ = ("items", "most", "most_bytes", "since", "size")

    def __init__(self, since: float, most: int, most_bytes: int) -> None:
        self.items: list[Append] = []
        self.size = 0
        self.since = since
        self.most = most
        self.most_bytes = most_bytes

    def has_room(self, count: int, size: int) -> bool:
        """Return True when so many appends of so many bytes fit beside those that are here."""
        return len(self.items) + count <= self.most and self.size + size <= self.most_bytes

    def add(
        self, drafts: Sequence[Draft], keys: Sequence[str | None], size: int
    ) -> list[asyncio.Future[int]]:
        """Add events of one publisher, of so many bytes in all; return a future for each. For the event loop."""
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in drafts]
        for place, (draft, key) in enumerate(zip(drafts, keys, strict=True)):
            self.items.append(Append(draft, key, futures[place], follows=place > 0))
        self.size += size
        return futures

    def unanswered(self) -> Iterator[asyncio.Future[int]]:
        """Iterate over the futures that nobody has answered."""
        return (one.future for one in self.items if not one.future.done())


def forget_outcomes(items: Sequence[Append]) -> None:
    """Take back what was noted of appends whose transaction was undone."""
    for one in items:
        one.outcome = None
