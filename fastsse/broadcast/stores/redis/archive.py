"""Pages of a log in Redis, for readers that are older than the history.

The stream has no index by topic: for a page up to a thousand entries of all topics are looked at, here and not in the
server, which would serve nobody meanwhile. An index would cost each append a second write, and each trim a third.

The module knows ranges of a stream; it must not know what is appended or followed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastsse.broadcast.stores import Entry, Page
from fastsse.broadcast.stores._entries import Unreadable
from fastsse.broadcast.stores.redis.entries import Found, gone_of, id_of, position_of, read
from fastsse.broadcast.stores.redis.link import Command, Link, Place, Said

__all__ = ["Pages"]

_MOST = 1000  # entries that are looked at for one page, at most
_FEWEST = 16  # entries that are looked at, at least, however large they are
_SHARES = 256  # lists of topics whose share of the log is remembered


class Pages:
    """The reader of a stream's past, over a link of its own.

    Args:
        place: where to connect.
        stream: the key of the stream.
        log: the key of the log's name.
    """

    def __init__(self, place: Place, stream: str, log: str) -> None:
        self._place = place
        self._stream = stream
        self._log = log
        self._link: Link | None = None
        self._turn = asyncio.Lock()
        self._shares: dict[
            tuple[str, ...], float
        ] = {}  # of the entries looked at, those of the topics

    async def read(
        self, topics: tuple[str, ...], after: int, before: int, limit: int, usual: float
    ) -> Page:
        """Read a page, as `Archive.read` does.

        As many entries of all topics are looked at as should fill the page, by what the last pages of these topics had.

        Args:
            usual: bytes of an entry, on average.
        """
        wanted = frozenset(topics)
        share = self._shares.pop(topics, 1.0)
        most = max(_FEWEST, min(_MOST, int(limit / usual / share) + 1))
        page, looked = await self._page(wanted, after, before, limit, most)
        now = (len(page.entries) + 0.5) / (looked + 0.5)
        self._shares[topics] = min(1.0, max(0.01, now))
        if len(self._shares) > _SHARES:
            del self._shares[next(iter(self._shares))]
        return page

    async def _page(
        self, wanted: frozenset[str], after: int, before: int, limit: int, most: int
    ) -> tuple[Page, int]:
        """Read a page of at most so many entries, and return it with how many were looked at."""
        async with self._turn:
            epoch, gone, rows = await self._range(after, before, most)
        found: list[Entry] = []
        size = 0
        for looked, (id, fields) in enumerate(rows, 1):
            try:
                entry = read(id, fields)
            except Unreadable:  # counted where it was met first
                continue
            if not wanted.isdisjoint(entry.topics):
                found.append(entry)
                size += len(entry.block)
                if size >= limit:
                    return Page(found, entry.position, gone, epoch), looked
        end = position_of(rows[-1][0]) if len(rows) >= most else max(after, before - 1)
        return Page(found, end, gone, epoch), len(rows)

    async def close(self) -> None:
        """Close the link; a page that is being read raises `OSError`."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _range(self, after: int, before: int, most: int) -> tuple[str, int, Found]:
        """Read entries between two positions, with the log's name and what is gone, all at one moment."""
        between = b"(" + id_of(after), b"(" + id_of(before)
        answer = await self._calls(
            [
                ("MULTI",),
                ("HGET", self._log, "epoch"),
                ("XINFO", "STREAM", self._stream),
                ("XRANGE", self._stream, *between, "COUNT", most),
                ("EXEC",),
            ]
        )
        if isinstance(answer, Said):
            await self.close()
            raise answer
        epoch, about, rows = answer
        if isinstance(rows, Exception):
            raise OSError(str(rows))
        gone = 0 if isinstance(about, Exception) else gone_of(about)
        return (epoch or b"").decode(), gone, rows

    async def _calls(self, commands: list[Command]) -> Any:
        """Send commands, and return the last answer; connect where there is no link or it has gone unseen."""
        if self._link is not None:
            try:
                return (await self._link.calls(commands))[-1]
            except OSError:
                self._link = None
        self._link = await self._place.dial()
        return (await self._link.calls(commands))[-1]
