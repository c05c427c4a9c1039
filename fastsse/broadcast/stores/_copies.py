"""The part that copies of logs share on every engine on other machines: a link of their own, order, words for errors.

The module knows entries, words and that a link can be closed; it must not know engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from fastsse.broadcast.stores import Entry, Log, StoreState, StoreUnusable
from fastsse.broadcast.stores._remote import RemoteStore
from fastsse.errors import quote

__all__ = ["CopiedStore", "check_extent", "in_order", "no_log", "not_new"]

_EPOCH = re.compile(r"[0-9A-Za-z_.]{1,64}", re.ASCII)


class _Closable(Protocol):
    async def close(self) -> None: ...


_Link = TypeVar("_Link", bound=_Closable)


class CopiedStore(RemoteStore, Generic[_Link]):
    """A store whose log is copied by a link of its own, beside those that follow and append.

    An engine's subclass sets `_copying` when it opens a log, and `_glance` when it opens one to read alone.
    """

    _copying: _Link | None = None
    _glance: StoreState | None = None  # of a log that is only read

    def state(self) -> StoreState:
        """Return the numbers: of a log that is only read, those that it had when it was opened."""
        if self._glance is None:
            return super().state()
        return self._glance._replace(unreadable=self.skipped)

    async def close(self) -> None:
        """Close all connections."""
        link, self._copying, self._glance = self._copying, None, None
        if link is not None:
            await link.close()
        await super().close()

    def _require(self) -> _Link:
        """Return the link of the copy.

        Raises:
            OSError: the store is not open for a copy.
        """
        if self._copying is None:
            raise OSError("the store is not open for a copy")
        return self._copying


def check_extent(log: Log) -> None:
    """Check what a log is to take over from another one.

    Raises:
        OSError: the epoch is no name of a numbering, or floor and head are no positions.
    """
    if _EPOCH.fullmatch(log.epoch) is None:
        raise OSError(
            f"epoch {quote(log.epoch)}: must be 1 to 64 of the characters 0-9 A-Z a-z _ ."
        )
    if not 0 <= log.floor <= log.head < 2**62:
        raise OSError(
            f"floor {log.floor} and head {log.head}: must be two positions, the floor first"
        )


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries as a list whose positions grow.

    Raises:
        OSError: a position does not follow the one before it.
    """
    found = list(entries)
    for before, entry in pairwise(found):
        if entry.position <= before.position:
            raise OSError(f"position {entry.position} does not follow {before.position}")
    return found


def no_log(namespace: str) -> StoreUnusable:
    """Make the error of a log that is to be read and is not there."""
    return StoreUnusable(f"there is no log {namespace}: nothing was ever published there")


def not_new(namespace: str) -> StoreUnusable:
    """Make the error of a log that has, or had, entries, and is to become a copy."""
    return StoreUnusable(f"the log {namespace} is not new: import into another namespace")
