"""A log in a file of SQLite, for one process: durable, with a replay from any place. Needs the standard library alone.

    sqlite:///events.db                a file of the working folder
    sqlite:////var/lib/hub/events.db   a file by its whole path
    ?synchronous=full                  default: an acknowledged event is on the disk, and survives a power failure
    ?synchronous=normal                faster: survives the death of the process; a power failure may take the last ones
    ?keys=100000                       keys of publishes that are remembered
    ?size=BYTES                        the file grows to so many bytes, and then is full (507)

The event loop never waits for the disk. A thread writes, and what waits for it is one transaction (`writer.py`); other
threads read pages (`reading.py`). Positions are 1, 2, 3, ... without a gap but for what a log that was imported lacks.

Bounds: `_QUEUE` appends and `_QUEUE_BYTES` of blocks wait; further ones fail at once, and so does an append after
`_PATIENCE` seconds. A key is remembered until `keys` newer ones have come.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from fastsse.broadcast.stores import Draft, Entry, Follower, Log, Outcome, Page, StoreState
from fastsse.broadcast.stores._groups import await_outcomes
from fastsse.broadcast.stores.retention import Retention
from fastsse.broadcast.stores.sqlite.ahead import READ, Ahead
from fastsse.broadcast.stores.sqlite.appends import GROUP, GROUP_BYTES, Append, Group
from fastsse.broadcast.stores.sqlite.file import Extent, Lock, Mode
from fastsse.broadcast.stores.sqlite.portable import Copies
from fastsse.broadcast.stores.sqlite.reading import Reader
from fastsse.broadcast.stores.sqlite.table import Table
from fastsse.broadcast.stores.sqlite.trimming import Trimmer
from fastsse.broadcast.stores.sqlite.writer import Options, Writer

if TYPE_CHECKING:
    from fastsse.broadcast.stores.opening import Address

__all__ = ["SqliteStore", "from_url"]

KEYS = 100_000

_QUEUE = 20_000  # appends that wait
_QUEUE_BYTES = 64 * 2**20
_PATIENCE = 10.0  # s after which an append fails that the disk has not answered
_TAIL = 2**18  # bytes of blocks that are reported at a start before others get the loop
_READERS = 2  # threads that read pages

_log = logging.getLogger("fastsse.broadcast")

_Answer = TypeVar("_Answer")


class SqliteStore(Copies):
    """A log in a file.

    Args:
        path: the file; made where there is none, in a folder that exists.
        synchronous: ``full`` or ``normal``, as above.
        retention: how much is kept; everything when None.
        keys: keys of publishes that are remembered.
        size: bytes that the file may grow to; 0: as the disk allows.

    Attributes:
        options: the file, and how it is written.
    """

    shared = False
    finds_topics = True

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Mode = "full",
        retention: Retention | None = None,
        keys: int = KEYS,
        size: int = 0,
    ) -> None:
        keep = Retention() if retention is None else retention
        self.options = Options(Path(path), synchronous, keep, keys, size)
        self._lock = Lock(self.options.path)
        self._reader = Reader(self.options.path)
        self._ahead = Ahead()
        self._threads: ThreadPoolExecutor | None = None
        self._writer: Writer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._follower: Follower | None = None
        self._reported = 0  # position of the last entry that the follower knows the fate of
        self._head = 0  # position of the last entry that the loop has been told of
        self._gathering: Group | None = None  # takes the appends of this turn of the loop
        self._waiting: deque[Group] = deque()  # handed over, and without an answer, in order
        self._waiting_count = 0
        self._waiting_bytes = 0
        self._seen: Extent | None = None  # of a log that is only read
        self._watch: asyncio.TimerHandle | None = None
        self._stalled = False

    # The protocol.

    async def open(self) -> Log:
        """Take the file over, and make its tables where it is new.

        Raises:
            StoreUnusable: the file is damaged, of a newer fastsse, or another program's.
            OSError: another process has the file, or it cannot be opened.
        """
        return await self._open(self.options)

    async def _open(self, options: Options) -> Log:
        await self.close()
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(_READERS, "fastsse-sqlite-read")
        writer = await self._in_thread(partial(self._take_over, options))
        extent = writer.extent
        self._head = extent.head
        return Log(extent.epoch, extent.floor, extent.head)

    def _take_over(self, options: Options) -> Writer:
        self._lock.take()
        try:
            self._writer = Writer(options, self._tell)
        except BaseException:
            self._lock.release()
            raise
        return self._writer

    async def follow(self, follower: Follower, tail: int) -> None:
        """Report the newest entries, and those to come. As `Store.follow`.

        Where topics with bounds of their own have let entries go, the report begins after the last of these.
        """
        at = await self._in_thread(partial(self._reader.before_tail, tail))
        if at:
            follower.lost(at)
        while True:
            page = await self._in_thread(partial(self._reader.scan, at, _TAIL))
            for entry in page.entries:
                follower.entry(entry)
            at = page.end
            if at >= self._head:  # what was committed since is on its way to `_told`
                break
        self._reported = at
        self._follower = follower

    async def append(self, draft: Draft, key: str | None = None) -> int:
        """Append an event. As `Store.append`; keys are remembered until so many newer ones have come.

        Raises:
            KeyReused: the key belongs to an event with other topics or another block.
            StorageFull: the disk, or the file's bound, has no room.
            OSError: the file cannot be written, too much waits for it, or it has not answered in time.
        """
        size = len(draft.block)
        group = self._gathering
        if group is None or len(group.items) >= group.most or group.size + size > group.most_bytes:
            group = self._gather(size)
        assert self._loop is not None
        future: asyncio.Future[int] = self._loop.create_future()
        group.items.append(Append(draft, key, future))
        group.size += size
        return await future

    async def append_group(
        self, drafts: Sequence[Draft], keys: Sequence[str | None]
    ) -> list[Outcome]:
        """Append events of one publisher in one transaction. As `Grouped.append_group`.

        Raises:
            OSError: the store is not open, or too much waits for the file.
        """
        size = sum(len(draft.block) for draft in drafts)
        group = self._gathering
        if group is None or not group.has_room(len(drafts), size):
            group = self._gather(size, len(drafts))
        return await await_outcomes(group.add(drafts, keys, size))

    def _gather(self, size: int, count: int = 1) -> Group:
        """Begin another group, which is handed over when the loop's turn ends; `size` bytes of appends come first.

        Raises:
            OSError: the store is not open, or too much waits.
        """
        self._hand_over()
        self._require()
        assert self._loop is not None
        loop = self._loop
        most, most_bytes = _QUEUE - self._waiting_count, _QUEUE_BYTES - self._waiting_bytes
        if self._waiting and (most < count or size > most_bytes):
            raise OSError(f"{self._waiting_count} appends wait for the disk: too many")
        group = Group(loop.time(), min(GROUP, most), min(GROUP_BYTES, most_bytes))
        self._gathering = group
        loop.call_soon(self._hand_over)
        if self._watch is None:
            self._watch = loop.call_later(_PATIENCE, self._look)
        return group

    def _hand_over(self) -> None:
        """Give what this turn has gathered to the thread that writes."""
        group, self._gathering = self._gathering, None
        if group is not None and self._writer is not None:
            self._waiting.append(group)
            self._waiting_count += len(group.items)
            self._waiting_bytes += group.size
            self._writer.put(group)

    async def close(self) -> None:
        """Finish what waits, and let the file go."""
        self._follower = None
        self._hand_over()
        writer, self._writer = self._writer, None
        threads, self._threads = self._threads, None
        if writer is not None:
            await asyncio.to_thread(writer.stop)
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        self._reader.close()
        self._ahead.clear()
        self._lock.release()
        await asyncio.sleep(0)  # the answers of the last group are on their way
        self._answer_the_rest()

    # An archive.

    async def read(self, topics: tuple[str, ...], after: int, before: int, limit: int) -> Page:
        """Read a page. As `Archive.read`; its cost is that of the entries that it has, and of no others.

        The floor is the highest of the log's and those of the asked topics.
        """
        page = self._ahead.take(topics, after)
        if page is None:
            most = max(limit, READ) if self._ahead.goes_on(topics, after) else limit
            page = await self._in_thread(partial(self._reader.page, topics, after, before, most))
        return self._ahead.cut(topics, page, before, limit)

    # Numbers, and copies.

    async def open_to_read(self) -> Log:
        """Read the extent. As `Portable.open_to_read`: the process that writes goes on."""
        await self.close()
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(1, "fastsse-sqlite-read")
        self._seen = extent = await self._in_thread(self._reader.extent)
        return Log(extent.epoch, extent.floor, extent.head)

    async def open_to_change(self) -> Log:
        """Take the file over. As `Portable.open_to_change`: only `trim` lets anything go."""
        one = self.options
        return await self._open(Options(one.path, one.mode, Retention(), one.keys, one.size))

    def state(self) -> StoreState:
        """Return the numbers as they are now."""
        queued, odd = self._waiting_count, self._reader.unreadable
        if self._gathering is not None:
            queued += len(self._gathering.items)
        extent = self._seen if self._writer is None else self._writer.extent
        if extent is None:
            return StoreState("sqlite", queued, unreadable=odd)
        return StoreState("sqlite", queued, extent.entries, extent.bytes, odd)

    async def complete(self) -> None:
        """End a copy. As `Portable.complete`: `adopt` has noted the head."""

    # Threads.

    async def _in_thread(self, function: Callable[[], _Answer]) -> _Answer:
        if self._threads is None or self._loop is None:
            raise OSError("the store is not open")
        return await self._loop.run_in_executor(self._threads, function)

    async def call(self, function: Callable[[Table, Trimmer], _Answer]) -> _Answer:
        """Call a function on the writing thread, between two groups of appends, and return what it returns."""
        return await asyncio.wrap_future(self._require().call(function))

    def _require(self) -> Writer:
        if self._writer is None:
            raise OSError("the store is not open")
        return self._writer

    def _tell(
        self, groups: Sequence[Group], error: OSError | None, entries: Sequence[Entry]
    ) -> None:
        """Take the outcome of some groups to the loop; called on the writer's thread."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._told, groups, error, entries)

    def _told(
        self, groups: Sequence[Group], error: OSError | None, entries: Sequence[Entry]
    ) -> None:
        """Report the entries of some groups, and answer their appends."""
        for entry in entries:
            self._report(entry)
        if (error is not None) is not self._stalled:
            self._note(error)
        waiting = self._waiting
        for group in groups:
            if waiting and waiting[0] is group:  # otherwise the store was closed meanwhile
                waiting.popleft()
                self._waiting_count -= len(group.items)
                self._waiting_bytes -= group.size
            self._answer(group.items, error)

    def _answer(self, items: list[Append], error: OSError | None) -> None:
        report = self._report
        for one in items:
            outcome, future = one.outcome, one.future
            if type(outcome) is Entry:
                report(outcome)
                if not future.done():
                    future.set_result(outcome.position)
            elif future.done():
                continue
            elif type(outcome) is int:
                future.set_result(outcome)
            else:
                future.set_exception(cast("Exception", outcome or error))

    def _report(self, entry: Entry) -> None:
        self._head = position = entry.position
        if self._follower is not None and position > self._reported:
            self._reported = position
            self._follower.entry(entry)

    def _note(self, error: OSError | None) -> None:
        """Tell the follower of a stall and of its end."""
        if (error is not None) is self._stalled or self._loop is None:
            return
        self._stalled = error is not None
        if error is not None:
            _log.warning("the store cannot be written: %s", error)
        else:
            _log.warning("the store can be written again: %s", self.options.path)
        if self._follower is not None:
            self._follower.stalled(self._loop.time() if self._stalled else None)

    def _look(self) -> None:
        """Fail appends that have waited for too long: the entry may come all the same."""
        self._watch = None
        if not self._waiting or self._loop is None:
            return
        late = self._loop.time() - _PATIENCE
        for group in self._waiting:
            if group.since > late:
                break
            for future in group.unanswered():
                error = OSError(f"the disk has not answered within {_PATIENCE:g} s")
                future.set_exception(error)
                self._note(error)
        pause = max(0.1, self._waiting[0].since - late)
        self._watch = self._loop.call_later(pause, self._look)

    def _answer_the_rest(self) -> None:
        """Fail what nobody has answered: the disk hangs, or the loop was another one."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting, self._waiting = self._waiting, deque()
        self._waiting_count = self._waiting_bytes = 0
        self._stalled = False
        if self._loop is not asyncio.get_running_loop():
            return
        for group in waiting:
            for future in group.unanswered():
                future.set_exception(OSError("the store was closed"))


def from_url(address: Address, retention: Retention) -> SqliteStore:
    """Make the store of ``sqlite:///FILE``.

    Raises:
        SettingError: there is no file in the URL, or an option cannot be.
    """
    parts = address.parts
    address.check_options(("keys", "size", "synchronous"))
    name = parts.path[1:]
    if parts.netloc or not name or name.startswith(":") or parts.fragment:
        raise address.refuse("must be sqlite:///FILE, with four slashes for a whole path")
    mode: Mode = (
        "full" if address.choose("synchronous", ("full", "normal"), "full") == "full" else "normal"
    )
    return SqliteStore(
        name,
        synchronous=mode,
        retention=retention,
        keys=address.number("keys", KEYS, 0, 10_000_000),
        size=address.number("size", 0, 0, 2**47),
    )
