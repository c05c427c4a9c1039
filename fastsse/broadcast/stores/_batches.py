"""Appends on their way to a log on another machine, and the delays between attempts to reach it.

`_remote.py` makes batches, and an engine sends them. The module knows drafts and answers, and nothing of queues.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from fastsse.broadcast.stores import Draft
from fastsse.broadcast.stores._entries import write_entry

__all__ = ["Batch", "Refused", "Waiting", "delays"]

_FIRST_DELAY = 0.05  # s before the first attempt to have contact again
_LAST_DELAY = 5.0  # s between two later attempts, at most


class Refused(Exception):
    """The engine has answered that it does not append: nothing of the batch was appended, and nothing is repeated.

    Attributes:
        reason: the error that publishers get.
    """

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Waiting:
    """An append that waits.

    Attributes:
        draft: the event.
        key: the publisher's key, or None.
        entry: the encoded event.
        answer: becomes the position, or an error. Done already where nobody waits any more.
        since: the loop's time at which the waiting began.
        follows: an event of the group before it has to be appended first, or this one is not appended either.
        more: how many events of its group come after it, all in one batch with it.
    """

    __slots__ = ("answer", "draft", "entry", "follows", "key", "more", "since")

    def __init__(
        self,
        draft: Draft,
        key: str | None,
        answer: asyncio.Future[int],
        since: float,
        *,
        follows: bool = False,
        more: int = 0,
    ) -> None:
        self.draft = draft
        self.key = key
        self.entry = write_entry(draft)
        self.answer = answer
        self.since = since
        self.follows = follows
        self.more = more

    def give(self, position: int) -> None:
        """Answer with a position."""
        if not self.answer.done():
            self.answer.set_result(position)

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Batch:
    """Appends that are sent together, and again under the same numbers until the engine has answered.

    Attributes:
        first: the number of the first append; the others count on. A writer uses no number twice.
        items: the appends.
        tried: how often the batch has been sent before.
    """

    __slots__ = ("first", "items", "tried")

    def __init__(self, first: int, items: list[Waiting]) -> None:
        self.first = first
        self.items = items
        self.tried = 0


def delays() -> Iterator[float]:
    """Give the seconds to wait between attempts: doubled each time up to a bound, and at random the half of it or more.

    A thousand processes that have lost their engine together do not come back together.
    """
    delay = _FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(delay * 2, _LAST_DELAY)
