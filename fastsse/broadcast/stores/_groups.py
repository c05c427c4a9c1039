"""Groups of appends: events of one publisher that a store appends in order, and none after one that failed.

The module knows futures and outcomes; it must not know how a store appends.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Sequence

from fastsse.broadcast.stores import Draft, KeyReused, Outcome, Store

__all__ = ["NotReached", "await_outcomes", "one_by_one"]


class NotReached(OSError):
    """An event of the group before this one has failed; this one was not appended."""

    def __init__(self) -> None:
        super().__init__("an event before it has failed: nothing was appended")


async def await_outcomes(futures: Sequence[Future[int]]) -> list[Outcome]:
    """Wait for the answers to a group; when the publisher is cancelled, give up those that have not come."""
    found: list[Outcome] = []
    try:
        for future in futures:
            try:
                found.append(await future)
            except (OSError, KeyReused) as error:
                found.append(error)
    finally:
        for future in futures[len(found) :]:
            if not future.cancel() and not future.cancelled():
                future.exception()  # otherwise asyncio would log that nobody has heard of it
    return found


async def one_by_one(
    store: Store, drafts: Sequence[Draft], keys: Sequence[str | None]
) -> list[Outcome]:
    """Append a group event by event, up to the first that fails; for an engine that can promise no more."""
    found: list[Outcome] = []
    for draft, key in zip(drafts, keys, strict=True):
        try:
            found.append(await store.append(draft, key))
        except (OSError, KeyReused) as error:
            return [*found, error, *(NotReached() for _ in drafts[len(found) + 1 :])]
    return found
