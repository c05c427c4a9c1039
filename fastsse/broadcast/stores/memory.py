"""The log in this process only: positions from a counter, and no entries kept, since the hub has its own history.

This module knows positions and keys, and nothing of followers and what becomes of an entry.

Bound: the last `KEYS` keys of publishes are remembered, about 300 bytes each.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

from fastsse.broadcast.stores import Draft, Entry, Follower, KeyReused, Log, StoreState

if TYPE_CHECKING:
    from fastsse.broadcast.stores.opening import Address
    from fastsse.broadcast.stores.retention import Retention

__all__ = ["KEYS", "KeyWindow", "MemoryStore", "digest_of", "from_url"]

KEYS = 10_000  # keys of publishes that are remembered; a newer key takes the place of the oldest


class MemoryStore:
    """A log that lives as long as it is open, for a hub alone.

    Every opening begins a new log, with a new epoch and from position 1. An entry is reported within `append`.
    """

    def __init__(self) -> None:
        self._epoch = ""
        self._head = 0
        self._follower: Follower | None = None
        self._keys = KeyWindow()

    async def open(self) -> Log:
        """Begin a new log."""
        last = self._epoch
        while self._epoch == last:
            # Seconds since 1970, so that epochs sort by eye; four random digits for two starts in one second.
            self._epoch = f"{int(time.time()):x}{secrets.token_hex(2)}"
        self._head = 0
        self._keys = KeyWindow()
        return Log(self._epoch)

    async def follow(self, follower: Follower, tail: int) -> None:  # noqa: ARG002 - nothing is kept
        """Report every entry to come."""
        self._follower = follower

    async def append(self, draft: Draft, key: str | None = None) -> int:
        """Report the event at once, and return its position. The last `KEYS` keys are remembered."""
        if key is not None and (position := self._keys.find(key, draft)):
            return position
        self._head = position = self._head + 1
        if key is not None:
            self._keys.add(key, draft, position)
        if self._follower is not None:
            self._follower.entry(Entry(position, draft.topics, draft.block))
        return position

    async def close(self) -> None:
        """Report nothing more."""
        self._follower = None

    def state(self) -> StoreState:
        """Return the numbers: nothing waits, and nothing is kept."""
        return StoreState("memory", entries=0, size=0)


def from_url(address: Address, retention: Retention) -> MemoryStore:  # noqa: ARG001 - nothing is kept
    """Make the store of ``memory:``.

    Raises:
        SettingError: the URL has more than its scheme.
    """
    address.check_options(())
    if address.parts.netloc or address.parts.path:
        raise address.refuse("must be memory: alone; a file is sqlite:///FILE")
    return MemoryStore()


class KeyWindow:
    """The last keys of publishes, with the position and a digest of each event.

    Args:
        most: how many keys are remembered.
    """

    def __init__(self, most: int = KEYS) -> None:
        self._most = most
        self._known: OrderedDict[str, tuple[int, bytes]] = OrderedDict()

    def find(self, key: str, draft: Draft) -> int:
        """Return the position of the event that was appended with this key; 0 when the key is not known.

        Raises:
            KeyReused: that event is another one.
        """
        found = self._known.get(key)
        if found is None:
            return 0
        position, digest = found
        if digest != digest_of(draft):
            raise KeyReused(key)
        return position

    def add(self, key: str, draft: Draft, position: int) -> None:
        """Remember a key, and forget the oldest one beyond the bound."""
        self._known[key] = position, digest_of(draft)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def digest_of(draft: Draft) -> bytes:
    """Return a digest of topics and block. Topics hold no line end, so no two events are written alike."""
    names = "\n".join(draft.topics).encode()
    return blake2b(b"%b\n\n%b" % (names, draft.block), digest_size=16).digest()
