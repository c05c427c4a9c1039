"""The store of a log in Redis: where a process stands in the log, what it reports, and what it appends.

The package's docstring explains keys, marks and rollback. This module knows commands and their answers; connections and
scripts are the business of `link.py` and `scripts.py`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import TYPE_CHECKING

from fastsse.broadcast.stores import (
    Entry,
    Follower,
    KeyReused,
    Log,
    Page,
    StorageFull,
    StoreUnusable,
)
from fastsse.broadcast.stores._batches import Batch, Refused
from fastsse.broadcast.stores._entries import Unreadable, digest
from fastsse.broadcast.stores._groups import NotReached
from fastsse.broadcast.stores._remote import RemoteStore
from fastsse.broadcast.stores.redis.archive import Pages
from fastsse.broadcast.stores.redis.entries import (
    NOT_REACHED,
    NOTHING,
    Fields,
    Found,
    gone_of,
    id_of,
    is_mark,
    key_of,
    mark_of,
    number_of,
    position_of,
    read,
)
from fastsse.broadcast.stores.redis.link import Argument, Command, Link, Place, Said
from fastsse.broadcast.stores.redis.scripts import APPEND, JOIN, OTHER_LOG, REUSED, TOO_OLD, TRIM

if TYPE_CHECKING:
    from fastsse.broadcast.stores.retention import Keep

__all__ = ["FULL", "KEY_SECONDS", "RedisStore"]

KEY_SECONDS = 3600  # for which the key of a publish is remembered
_BLOCK = 2.0  # s that a read of what comes waits; a server that says nothing for longer is given up
_TRIM_EVERY = 10.0  # s between two trims of a log that nobody writes to
_READ = 2**22  # bytes that one read of entries takes, about
_TAIL = 2**27  # bytes of entries that a start takes
_MOST = 1000  # entries that one read takes, at most
_FEWEST = 16  # entries that one read takes at least, however large they were of late
# Errors after which the log is looked up and connected to anew.
_ELSEWHERE = frozenset(
    ["ASK", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "NOSCRIPT", "READONLY", "TRYAGAIN"]
)
FULL = frozenset(("OOM", "MISCONF"))  # no memory left, or a disk that cannot be written
_OLD = "the server is older than Redis 7, and cannot tell which entries are gone"


class RedisStore(RemoteStore):
    """A log in one stream of Redis.

    Args:
        place: where to connect.
        namespace: the name of the log on that server.
        keep: how much stays, about: Redis lets go of about a hundred entries at a time.
        key_seconds: how long the keys of publishes are remembered.
    """

    engine = "redis"
    groups = "any"

    def __init__(
        self, place: Place, namespace: str, keep: Keep, *, key_seconds: int = KEY_SECONDS
    ) -> None:
        super().__init__()
        self._place = place
        self._keep = (keep.events, keep.bytes, int(keep.seconds * 1000))
        self._key_seconds = key_seconds
        self._namespace = namespace
        self._stream = key_of(namespace, "stream")
        self._log = key_of(namespace, "log")
        self._writes = key_of(namespace, f"writer:{self.writer}")
        self._epoch = ""  # of the log that was reported to the follower
        self._seen = NOTHING  # id of the newest entry that was reported, lost or passed over
        self._number: int | None = None  # of the next entry; None: not known
        self._newest: tuple[bytes, Fields] | None = None  # the newest entry that was read
        self._appended = NOTHING, b""  # id and mark of the newest entry that was appended here
        self._usual = 1024.0  # bytes of an entry, on average
        self._trimmed = 0.0
        self._scripts: dict[str, bytes] = {}
        self._reader: Link | None = None
        self._writing: Link | None = None
        self._pages = Pages(place, self._stream, self._log)

    # Connections.

    async def _dial(self) -> tuple[Link, bytes]:
        """Connect, load the scripts, and return the link and the name of the server's run, if that is told."""
        link = await self._place.dial()
        load: list[Command] = [("SCRIPT", "LOAD", script) for script in (APPEND, JOIN, TRIM)]
        *hashes, about = await link.calls([*load, ("INFO", "server")])
        for answer in hashes:
            if isinstance(answer, Said):
                await link.close()
                raise answer
        self._scripts = dict(zip((APPEND, JOIN, TRIM), hashes, strict=True))
        run = None if isinstance(about, Said) else re.search(rb"run_id:(\w+)", about)
        return link, b"" if run is None else run[1]

    async def _join(self, link: Link, run: bytes = b"") -> list[bytes]:
        """Show the server what this process knows of its log, and return where the log stands.

        Returns:
            Its name, its mark, an id up to which all is gone, the newest id, the number of the entry to come next, and
            an id after which that entry comes.
        """
        id, mark = self._shown()
        other = f"{int(time.time()):x}{secrets.token_hex(4)}"
        known = (self._epoch, id, mark, run, self._seen)
        keys = (self._stream, self._log)
        try:
            answer: list[bytes] = await link.call(
                "EVALSHA", self._scripts[JOIN], 2, *keys, other, *known
            )
        except Said as error:
            await link.close()
            if error.code in (TOO_OLD, "WRONGTYPE"):
                raise StoreUnusable(_OLD if error.code == TOO_OLD else str(error)) from error
            raise
        return answer

    def _shown(self) -> tuple[bytes, bytes]:
        """Return id and mark of the newest entry of the log that this process knows; nothing where it knows none."""
        id, mark = self._appended
        if self._newest is not None and position_of(self._newest[0]) >= position_of(id):
            id, mark = self._newest[0], mark_of(self._newest[1])
        return (id, mark) if mark else (b"", b"")

    async def _leave(self) -> None:
        for link in (self._reader, self._writing):
            if link is not None:
                await link.close()
        self._reader = self._writing = None
        await self._pages.close()

    # The start.

    async def _enter(self) -> Log:
        self._pages = Pages(self._place, self._stream, self._log)
        self._reader, run = await self._dial()
        epoch, mark, gone, newest, next, _ = await self._join(self._reader, run)
        self._adopt(epoch, mark, next)
        return Log(self._epoch, position_of(gone), position_of(newest))

    def _adopt(self, epoch: bytes, mark: bytes, next: bytes) -> None:
        """Stand at the mark of a log."""
        self._epoch = epoch.decode()
        self._seen = mark
        self._number = int(next) if next else None
        self._newest = None if mark == NOTHING else (mark, [b"epoch", epoch])
        self._appended = NOTHING, b""

    async def _replay(self, follower: Follower, tail: int) -> None:
        link = self._reader
        if link is None:
            raise OSError("the store is not open")
        found: list[Entry] = []
        upper, newest, begin, size, count = b"+", None, NOTHING, 0, _FEWEST
        while len(found) <= tail and begin == NOTHING:
            count = min(count, tail + 1)
            page: Found = await link.call("XREVRANGE", self._stream, upper, "-", "COUNT", count)
            if not page:
                break
            newest = newest or page[0]
            for id, fields in page:
                if is_mark(fields) and fields[1] == self._epoch.encode():
                    begin = id  # readers may have had what is before it under other ids
                    break
                if (entry := self._read(id, fields)) is not None:
                    found.append(entry)
                    size += len(entry.block)
                if size > _TAIL:
                    tail = min(tail, len(found) - 1)
                    break
            upper, count = b"(" + page[-1][0], self._count(_READ)
        gone = max(await self._gone(link), position_of(begin))
        if newest is not None:
            self._seen, self._newest = newest[0], newest
            number = number_of(newest[1])
            self._number = None if number is None else number + 1
        if gone > position_of(self._seen):
            self._seen = id_of(gone)
        before = found[tail].position if len(found) > tail else gone
        if before:
            follower.lost(before)
        for entry in reversed(found[:tail]):
            follower.entry(entry)

    def _read(self, id: bytes, fields: Fields) -> Entry | None:
        """Decode an entry; None for a mark, and, counted, for one that is not ours or cannot be read."""
        if is_mark(fields):
            return None
        try:
            entry = read(id, fields)
        except Unreadable as error:
            self._skip(error)
            return None
        self._usual += (len(entry.block) + 64 - self._usual) / 64
        return entry

    def _count(self, size: int) -> int:
        """Return how many entries take about so many bytes."""
        return max(_FEWEST, min(_MOST, int(size / self._usual)))

    async def _gone(self, link: Link) -> int:
        """Ask up to which position the log has nothing any more."""
        try:
            return gone_of(await link.call("XINFO", "STREAM", self._stream))
        except Said:  # there is no stream yet
            return 0

    # Reports.

    async def _listen(self) -> None:
        link, run = self._reader, b""
        try:
            if link is None:
                link, run = await self._dial()
                self._reader = link
            await self._catch_up(link, run)
            while True:
                news = await link.call(
                    "XREAD", "COUNT", self._count(_READ), "BLOCK", int(_BLOCK * 1000),
                    "STREAMS", self._stream, self._seen, waits=_BLOCK,
                )  # fmt: skip
                if not news:
                    await self._trim(link)
                elif not self._report(news[0][1]):
                    await self._catch_up(link)
        finally:
            self._reader = None
            if link is not None:
                await link.close()

    async def _catch_up(self, link: Link, run: bytes = b"") -> None:
        """Find out where the log stands, and report what is lost, or that the log is another one.

        Somebody may have deleted single entries, too: those are lost up to the entry that comes after them.
        """
        epoch, mark, gone, _, next, edge = await self._join(link, run)
        self._reached()
        follower, expected = self._follower, self._number
        if follower is None:
            return
        if epoch.decode() == self._epoch:
            self._number = int(next) if next else None
        else:
            expected = None
            self._adopt(epoch, mark, next)
            at = position_of(mark)
            follower.renewed(Log(self._epoch, min(position_of(gone), at), at))
        to = gone
        if expected is not None and self._number is not None:
            to = edge if self._number > expected else NOTHING
        if position_of(to) > position_of(self._seen):
            self._seen = to
            follower.lost(position_of(to))

    def _report(self, entries: Found) -> bool:
        """Report entries; False when one shows that some are missing, or that the log is another one."""
        follower = self._follower
        if follower is None:
            return True
        for id, fields in entries:
            number = number_of(fields)
            if number is not None:
                if number != self._number and self._number is not None:
                    return False
                self._number = number + 1
            self._seen = id
            self._newest = id, fields
            entry = self._read(id, fields)
            if entry is not None:
                follower.entry(entry)
            elif is_mark(fields) and fields[1] != self._epoch.encode():
                return False
        return True

    async def _trim(self, link: Link) -> None:
        """Trim a log that nobody writes to, because entries grow old all the same."""
        now = time.monotonic()
        if self._keep[2] and now > self._trimmed + _TRIM_EVERY:
            self._trimmed = now
            await link.call("EVALSHA", self._scripts[TRIM], 2, self._stream, self._log, *self._keep)

    # Appends.

    async def _send(self, batch: Batch) -> None:
        link = await self._writer_link()
        epoch = self._epoch
        try:
            answer: bytes = await link.call(*self._command(batch, epoch))
        except Said as error:
            await self._heed(error, link)
            raise
        except OSError:
            self._writing = None
            raise
        ids = answer.split(b" ")
        if len(ids) != len(batch.items):
            raise ValueError(f"{len(ids)} answers to {len(batch.items)} events")
        # The next batch leaves before this one is answered, so that the server works on it meanwhile.
        asyncio.get_running_loop().call_soon(self._answer, batch, epoch, ids)

    def _answer(self, batch: Batch, epoch: str, ids: list[bytes]) -> None:
        """Tell publishers their positions, and remember the newest entry of this process."""
        newest = -1
        for place, (waiting, id) in enumerate(zip(batch.items, ids, strict=True)):
            if id == REUSED:
                waiting.fail(KeyReused(waiting.key or ""))
            elif id == NOT_REACHED:
                waiting.fail(NotReached())
            elif id != b"-":
                waiting.give(position_of(id))
                newest = place if waiting.key is None else newest
        if newest >= 0 and epoch == self._epoch:
            self._appended = ids[newest], f"{self.writer}.{batch.first + newest}".encode()

    def _command(self, batch: Batch, epoch: str) -> Command:
        """Write the command that appends a batch."""
        keys: list[Argument] = [self._stream, self._log, self._writes]
        events: list[Argument] = []
        for waiting in batch.items:
            check = b""
            if waiting.key is not None:
                check = digest(waiting.entry)
                name = digest(waiting.key.encode()).decode()
                keys.append(key_of(self._namespace, f"key:{name}"))
            entry = b"" if waiting.answer.done() else waiting.entry
            events += (entry, check, b"+" if waiting.follows else b"")
        head = (epoch, self.writer, batch.first, self._key_seconds, *self._keep)
        return ("EVALSHA", self._scripts[APPEND], len(keys), *keys, *head, *events)

    async def _writer_link(self) -> Link:
        """Return the link for appends; the server has shown over it that its log is the one that was reported.

        Raises:
            OSError: there is no contact, or the log is another one.
        """
        if self._writing is None:
            link, run = await self._dial()
            epoch = (await self._join(link, run))[0]
            self._writing = link
            if epoch.decode() != self._epoch:
                await self._look_again()
        return self._writing

    async def _look_again(self) -> None:
        """Let the reader find out that the log is another one; the batch is sent again after that.

        Raises:
            OSError: always.
        """
        if self._reader is not None:
            await self._reader.close()
        raise ConnectionError("the log is another one now")

    async def _heed(self, error: Said, link: Link) -> None:
        """Find what an error of the server means for a batch, none of which was appended.

        Raises:
            OSError: the batch is to be sent again.
            Refused: otherwise.
        """
        if error.code == OTHER_LOG:
            await self._look_again()
        if error.code in _ELSEWHERE:
            self._writing = None
            await link.close()
            raise error
        if error.code in FULL:
            raise Refused(StorageFull(f"the server has no room: {error}")) from error
        raise Refused(OSError(f"the server does not append: {error}")) from error

    # The archive.

    async def read(self, topics: tuple[str, ...], after: int, before: int, limit: int) -> Page:
        """Read a page: at most a thousand entries of all topics are looked at."""
        return await self._pages.read(topics, after, before, limit, self._usual)
