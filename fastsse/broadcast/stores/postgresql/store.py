"""The store of a log in PostgreSQL: where a process stands in the log, what it reports, and what it appends.

The package's docstring explains positions, the outbox and rollback. This module knows functions and their answers;
connections and SQL are the business of `link.py` and `schema.py`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastsse.broadcast.stores import Entry, Follower, KeyReused, Log, Page, StorageFull
from fastsse.broadcast.stores._batches import Batch, Refused, Waiting
from fastsse.broadcast.stores._entries import Unreadable, read_entry
from fastsse.broadcast.stores._groups import NotReached
from fastsse.broadcast.stores._remote import RemoteStore
from fastsse.broadcast.stores.postgresql.install import install
from fastsse.broadcast.stores.postgresql.link import Link, Place, Pool, Said
from fastsse.broadcast.stores.postgresql.outbox import Outbox
from fastsse.broadcast.stores.postgresql.queries import Statements
from fastsse.broadcast.stores.postgresql.schema import OTHER_LOG, Names

if TYPE_CHECKING:
    from fastsse.broadcast.stores.retention import Keep

__all__ = ["FULL", "KEY_SECONDS", "ROWS", "PostgresStore"]

KEY_SECONDS = 3600  # for which the key of a publish is remembered
_POLL = 2.0  # s without a bell after which a process looks by itself
_TRIM_EVERY = 2.0  # s between two rounds of letting go
_TRIM = 5000  # entries that one step lets go
ROWS = 1000  # entries that one read takes, at most
_BYTES = 2**22  # bytes after which one read takes no more
_POOL = 3  # connections for readers of the archive and for chores
FULL = frozenset(("53100", "53200"))  # no room on the disk, or in memory
# Errors that another connection may mend: a server that stops, is a replica now, has lost the log, or is too busy.
_PASSING = ("08", "25", "3F", "40", "42501", "42704", "42883", "42P01", "53", "55", "57", "58")


class PostgresStore(RemoteStore, Outbox):
    """A log in one schema of a PostgreSQL database.

    Args:
        place: where to connect.
        names: the names of the log in the database.
        keep: how much stays.
        key_seconds: how long the keys of publishes are remembered.
    """

    engine = "postgresql"
    finds_topics = True
    groups = "alike"

    def __init__(
        self, place: Place, names: Names, keep: Keep, *, key_seconds: int = KEY_SECONDS
    ) -> None:
        super().__init__()
        self._place = place
        self._names = names
        self._keep = keep
        self._key_seconds = float(key_seconds)
        self._epoch = ""  # of the log that was reported to the follower
        self._generation = 0  # of that log: a later one has a greater number
        self._seen = 0  # position of the newest entry that was reported, lost or passed over
        self._at: datetime | None = (
            None  # when that entry was appended; None where that is not known
        )
        self._reader: Link | None = None
        self._writer: Link | None = None
        self._pool = Pool(self._dial, _POOL)
        self._news = asyncio.Event()
        self._outgoing = asyncio.Event()
        self._doubt = False  # the log may be another one: to be looked at before anything is read
        self._sql = Statements(names)

    # Connections.

    async def _dial(self) -> Link:
        """Connect, and make sure that the log is there.

        Raises:
            OSError: the server cannot be reached, or cannot be used.
        """
        link = await self._place.dial()
        try:
            await install(link, self._names)
        except BaseException:
            await link.close()
            raise
        return link

    async def _arrive(self, link: Link) -> Sequence[Any]:
        """Show the server what this process knows of its log, and return epoch, generation, mark, floor and head.

        Raises:
            OSError: contact was lost, or the log is not there.
        """
        other = f"{int(time.time()):x}{secrets.token_hex(4)}"
        known = (self._epoch, self._generation, self._seen, self._at)
        [row] = await link.rows(self._sql.arrive, *known, other)
        return row

    async def _leave(self) -> None:
        links = [link for link in (self._reader, self._writer) if link is not None]
        self._reader = self._writer = None
        for link in links:
            await link.close()
        await self._pool.close()

    # The start.

    async def _enter(self) -> Log:
        self._pool = Pool(self._dial, _POOL)
        self._reader = link = await self._dial()
        epoch, generation, _, floor, head = await self._arrive(link)
        self._epoch, self._generation, self._seen, self._at = epoch, generation, 0, None
        return Log(epoch, floor, head)

    async def _replay(self, follower: Follower, tail: int) -> None:
        link = self._reader
        if link is None:
            raise OSError("the store is not open")
        [(begin,)] = await link.rows(self._sql.begin)
        older = await link.rows(self._sql.tail, tail)
        self._seen, self._at = max([(begin, None), *older], key=_first)
        if self._seen:
            follower.lost(self._seen)
        while self._report(await self._fetch(link), follower):
            pass

    # News.

    async def _listen(self) -> None:
        try:
            link = self._reader
            if link is None:
                self._reader = link = await self._dial()
            bells = {self._names.bell: self._ring, self._names.outbox_bell: self._ring_outbox}
            await link.hear(bells)
            self._reached()
            await self._compare(link)
            async with asyncio.TaskGroup() as group:
                for work in (self._take_news(link), self._move_outbox(), self._let_go()):
                    group.create_task(work)
        except BaseExceptionGroup as errors:
            # A group that has errors forgets that it was cancelled, too. `Task.cancelling` cannot tell: before
            # Python 3.13 it goes on counting the group's own cancellation.
            if self._bell is None:
                raise asyncio.CancelledError from errors
            raise next((e for e in errors.exceptions if isinstance(e, OSError)), errors) from errors
        finally:
            reader, self._reader = self._reader, None
            if reader is not None:
                await reader.close()

    def _ring(self, pid: int) -> None:
        """Take a bell of the log; one of our own appends is no news."""
        if self._writer is None or pid != self._writer.pid:
            self._news.set()

    def _ring_outbox(self, pid: int) -> None:
        self._outgoing.set()
        if not pid:
            self._news.set()

    async def _take_news(self, link: Link) -> None:
        """Report what comes, and look now and then whether the log is still this one."""
        looked = time.monotonic()
        while True:
            self._news.clear()
            if self._doubt or time.monotonic() > looked + _POLL:
                await self._compare(link)
                looked = time.monotonic()
            follower = self._follower
            if follower is None:
                return
            if not self._report(await self._fetch(link), follower):
                await _rung(self._news, _POLL)

    async def _compare(self, link: Link) -> None:
        """Find out where the log stands, and report it where it is another one."""
        self._doubt = False
        epoch, generation, mark, floor, _ = await self._arrive(link)
        follower = self._follower
        if epoch != self._epoch and follower is not None:
            self._epoch, self._generation, self._seen, self._at = epoch, generation, mark, None
            follower.renewed(Log(epoch, min(floor, mark), mark))

    async def _fetch(self, link: Link) -> list[Sequence[Any]]:
        """Read the next entries."""
        return await link.rows(self._sql.take, self._seen, ROWS, _BYTES)

    def _report(self, rows: list[Sequence[Any]], follower: Follower) -> bool:
        """Report entries, and what is gone before them; return True when there may be more.

        Raises:
            OSError: the log has no name.
        """
        if not rows:
            raise OSError("the log's table says nothing")
        epoch, floor, *_ = rows[0]
        if epoch != self._epoch:
            self._doubt = True
            return True
        if floor > self._seen:
            self._seen, self._at = floor, None
            follower.lost(floor)
        for _, _, position, at, entry, _ in rows:
            if position is None or position <= self._seen:  # reported by `_send` meanwhile
                continue
            self._seen, self._at = position, at
            if (found := self._decode(position, entry)) is not None:
                follower.entry(found)
        return len(rows) >= ROWS or bool(rows[-1][-1])

    def _decode(self, position: int, entry: bytes) -> Entry | None:
        """Decode an entry; None, and counted, for one that is not ours or cannot be read."""
        try:
            return Entry(position, *read_entry(entry))
        except Unreadable as error:
            self._skip(error)
            return None

    # Chores.

    async def _move_outbox(self) -> None:
        """Give positions to events of applications' transactions, which were committed."""
        while True:
            self._outgoing.clear()
            while (await self._chore(self._sql.move, self._key_seconds))[0][0]:
                pass
            await _rung(self._outgoing, _POLL)

    async def _let_go(self) -> None:
        """Trim, and forget keys; of all processes one does it at a time."""
        while True:
            await asyncio.sleep(_TRIM_EVERY * random.uniform(0.5, 1.0))
            while await self.trim() >= _TRIM:
                pass

    async def trim(self) -> int:
        """Let go one step of what is over the retention; return how many entries went.

        Raises:
            OSError: the log cannot be written.
        """
        keep = self._keep
        [row] = await self._chore(
            self._sql.trim, keep.events, keep.bytes, float(keep.seconds), _TRIM
        )
        count: int = row[0]
        return count

    async def _chore(self, sql: str, *values: object) -> list[Sequence[Any]]:
        async with self._pool.link() as link:
            return await link.rows(sql, *values)

    # Appends.

    async def _send(self, batch: Batch) -> None:
        epoch = self._epoch
        link = await self._writer_link()
        items = batch.items
        topics = [waiting.draft.topics for waiting in items]
        heads = [names[0] if len(names) == 1 else "\n".join(names) for names in topics]
        entries = [None if waiting.answer.done() else waiting.entry for waiting in items]
        keys = [_key(waiting) for waiting in items]
        plain = None not in entries and keys.count(None) == len(keys)
        name = f"b{self.writer}.{batch.first}".encode()
        try:
            [row] = await link.rows(
                self._sql.append,
                epoch,
                name,
                heads,
                entries,
                None if plain else keys,
                self._key_seconds,
            )
        except Said as error:
            await self._heed(error)
            raise
        if len(row[0]) != len(items):
            raise ValueError(f"{len(row[0])} answers to {len(items)} events")
        # The next batch leaves before this one is answered, so that the server works on it meanwhile.
        asyncio.get_running_loop().call_soon(self._answer, batch, epoch, row[0], row[1])

    def _answer(
        self, batch: Batch, epoch: str, positions: list[int], stamp: datetime | None
    ) -> None:
        """Tell publishers their positions, and report the events of which it is certain that nothing lies before them.

        Positions are given under a lock and without a gap: none can ever lie between two that are neighbours.
        """
        follower = self._follower if self._reader is not None and epoch == self._epoch else None
        seen = self._seen
        for waiting, position in zip(batch.items, positions, strict=True):
            if position < 0:
                waiting.fail(KeyReused(waiting.key or "") if position == -1 else NotReached())
                continue
            if not position:
                continue
            if position == seen + 1 and follower is not None and stamp is not None:
                self._seen, self._at, seen = position, stamp, position
                draft = waiting.draft
                follower.entry(Entry(position, draft.topics, draft.block))
            waiting.give(position)
        if max(positions) > self._seen:
            self._news.set()

    async def _writer_link(self) -> Link:
        """Return the link for appends, over which the server has shown that its log is the one that was reported.

        Raises:
            OSError: there is no contact, or the log is another one.
        """
        if self._writer is None or self._writer.closed:
            self._writer = None
            link = await self._dial()
            try:
                epoch = (await self._arrive(link))[0]
            except BaseException:
                await link.close()
                raise
            self._writer = link
            if epoch != self._epoch:
                self._look_again()
        return self._writer

    def _look_again(self) -> None:
        """Let the reader find out that the log is another one; the batch is sent again after that.

        Raises:
            OSError: always.
        """
        self._doubt = True
        self._news.set()
        raise ConnectionError("the log is another one now")

    async def _heed(self, error: Said) -> None:
        """Find what an error of the server means for a batch, none of which was appended.

        Raises:
            OSError: the batch is to be sent again.
            Refused: otherwise.
        """
        if error.code == OTHER_LOG:
            self._look_again()
        if error.code in FULL:
            raise Refused(StorageFull(f"the server has no room: {error}")) from error
        if error.code.startswith(_PASSING):
            link, self._writer = self._writer, None
            if link is not None:
                await link.close()
            raise error
        raise Refused(OSError(f"the server does not append: {error}")) from error

    # The archive.

    async def read(self, topics: tuple[str, ...], after: int, before: int, limit: int) -> Page:
        """Read a page of at most a thousand entries, by an index of topics: no other topic's entry is looked at."""
        async with self._pool.link() as link:
            rows = await link.rows(self._sql.read, list(topics), after, before, limit, ROWS)
        if not rows:
            raise OSError("the log's table says nothing")
        epoch, floor, last, _, full = rows[-1]
        found = (self._decode(row[2], row[3]) for row in rows if row[2] is not None)
        whole = not full and len(rows) < ROWS
        end = max(after, before - 1) if whole else last
        return Page([entry for entry in found if entry is not None], end, floor, epoch)


def _first(row: Sequence[Any]) -> int:
    position: int = row[0]
    return position


def _key(waiting: Waiting) -> bytes | None:
    if waiting.key is None:
        return None
    return (b"f" if waiting.follows else b"k") + waiting.key.encode()


async def _rung(bell: asyncio.Event, seconds: float) -> None:
    """Wait for a bell, but no longer than some seconds."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return
