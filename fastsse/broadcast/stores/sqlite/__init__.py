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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from fastsse.broadcast.stores import Draft, Entry, Follower, Log, Page, StoreState
from fastsse.broadcast.stores.retention import Retention
from fastsse.broadcast.stores.sqlite.ahead import READ, Ahead
from fastsse.broadcast.stores.sqlite.file import Extent, Lock, Mode
from fastsse.broadcast.stores.sqlite.reading import Reader
from fastsse.broadcast.stores.sqlite.table import Append, Table
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


class _Waiting(Append):
    """An append with those who wait for it."""

    __slots__ = ("future", "since")

    def __init__(
        self, draft: Draft, key: str | None, future: asyncio.Future[int], since: float
    ) -> None:
        self.draft = draft  # all of `Append.__init__`, without a call
        self.key = key
        self.position = 0
        self.known = False
        self.error = None
        self.future = future
        self.since = since


class SqliteStore:
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
        self._waiting: deque[_Waiting] = deque()  # all appends without an answer, in order
        self._waiting_bytes = 0
        self._rung = False
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
        await self.close()
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(_READERS, "fastsse-sqlite-read")
        writer = await self._in_thread(self._take_over)
        extent = writer.extent
        self._head = extent.head
        return Log(extent.epoch, extent.floor, extent.head)

    def _take_over(self) -> Writer:
        self._lock.take()
        try:
            self._writer = Writer(self.options, self._tell)
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
        writer, size = self._require(), len(draft.block)
        waiting, loop = self._waiting, self._loop
        assert loop is not None
        if waiting and (len(waiting) >= _QUEUE or self._waiting_bytes + size > _QUEUE_BYTES):
            raise OSError(f"{len(waiting)} appends wait for the disk: too many")
        one = _Waiting(draft, key, loop.create_future(), loop.time())
        waiting.append(one)
        self._waiting_bytes += size
        writer.put(one)
        if not self._rung:
            self._rung = True
            loop.call_soon(self._ring, writer)
        if self._watch is None:
            self._watch = loop.call_later(_PATIENCE, self._look)
        return await one.future

    async def close(self) -> None:
        """Finish what waits, and let the file go."""
        self._follower = None
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

    def state(self) -> StoreState:
        """Return the numbers as they are now."""
        queued, odd = len(self._waiting), self._reader.unreadable
        extent = self._seen if self._writer is None else self._writer.extent
        if extent is None:
            return StoreState("sqlite", queued, unreadable=odd)
        return StoreState("sqlite", queued, extent.entries, extent.bytes, odd)

    async def scan(self, after: int, limit: int) -> Page:
        """Read a page of all topics. As `Portable.scan`."""
        return await self._in_thread(partial(self._reader.scan, after, limit))

    async def adopt(self, log: Log) -> None:
        """Take over another log's epoch and floor. As `Portable.adopt`."""
        try:
            await self.call(lambda table, _: table.adopt(log))
        except ValueError as error:
            raise OSError(f"{self.options.path}: {error}: import into a new file") from error

    async def put(self, entries: Iterable[Entry]) -> None:
        """Put in entries under their own positions. As `Portable.put`."""
        many = list(entries)
        try:
            await self.call(lambda table, _: table.put(many))
        except ValueError as error:
            raise OSError(f"{self.options.path}: {error}") from error

    async def trim(self) -> int:
        """Let go one step of what is over the retention. As `Portable.trim`."""
        return await self.call(lambda _, trimmer: trimmer.step() + trimmer.step_round())

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

    def _ring(self, writer: Writer) -> None:
        self._rung = False
        writer.ring()

    def _tell(
        self, group: Sequence[Append], error: OSError | None, entries: Sequence[Entry]
    ) -> None:
        """Take the outcome of a group to the loop; called on the writer's thread."""
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            waiting = cast("Sequence[_Waiting]", group)
            self._loop.call_soon_threadsafe(self._told, waiting, error, entries)

    def _told(
        self, group: Sequence[_Waiting], error: OSError | None, entries: Sequence[Entry]
    ) -> None:
        """Report the entries of a group, and answer its appends."""
        for entry in entries:
            self._report(entry)
        if (error is not None) is not self._stalled:
            self._note(error)
        waiting, report = self._waiting, self._report
        for one in group:
            draft, future = one.draft, one.future
            if waiting and waiting[0] is one:  # otherwise the store was closed meanwhile
                waiting.popleft()
                self._waiting_bytes -= len(draft.block)
            failure = error or one.error
            if failure is None:
                if not one.known:
                    report(Entry(one.position, draft.topics, draft.block))
                if not future.done():
                    future.set_result(one.position)
            elif not future.done():
                future.set_exception(failure)

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
        for one in self._waiting:
            if one.since > late:
                break
            if not one.future.done():
                error = OSError(f"the disk has not answered within {_PATIENCE:g} s")
                one.future.set_exception(error)
                self._note(error)
        pause = max(0.1, self._waiting[0].since - late)
        self._watch = self._loop.call_later(pause, self._look)

    def _answer_the_rest(self) -> None:
        """Fail what nobody has answered: the disk hangs, or the loop was another one."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        self._stalled = False
        for one in waiting:
            if not one.future.done() and one.future.get_loop() is asyncio.get_running_loop():
                one.future.set_exception(OSError("the store was closed"))


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
