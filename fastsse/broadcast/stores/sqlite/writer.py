"""The one thread that writes: whatever waits for it is one transaction, and is acknowledged by one call on the loop.

    put ──► groups that wait ──► some of them ──► commit ──► tell(groups)     the loop reports entries, answers appends
                                    └─ fails ─► tell(groups, error)           and looks once a second if it could again

While a commit is on its way to the disk, groups that come meanwhile wait, and the next commit takes as many of them as
make `GROUP` appends. Between two commits the thread lets entries go that are over the retention, a step at a time.

After an error of the disk the connection is closed, and another one is opened for the next group. Entries that the file
then has beyond those that were acknowledged are told, too: a commit may have succeeded although nobody was told so.

The module knows threads and the table; it must not know event loops or followers.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from fastsse.broadcast.stores import Entry
from fastsse.broadcast.stores._groups import NotReached
from fastsse.broadcast.stores.retention import Retention
from fastsse.broadcast.stores.sqlite.appends import GROUP, GROUP_BYTES, Append, Group
from fastsse.broadcast.stores.sqlite.file import Extent, Mode, connect, explain
from fastsse.broadcast.stores.sqlite.reading import Reader
from fastsse.broadcast.stores.sqlite.table import Table
from fastsse.broadcast.stores.sqlite.trimming import SLACK, Trimmer

__all__ = ["Options", "Writer"]

_SECOND = 1.0  # s between two looks at ages, or at an engine that has failed
_SOON = 0.05  # s without an append after which the log counts as idle, and bounds are kept exactly
_TOUCHED = 4096  # topics whose bounds wait for an idle moment
_STOP = 10.0  # s that the thread has to end

# The engine has failed with these, and not on account of one append.
_ENGINE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}  # fmt: skip

_Answer = TypeVar("_Answer")

Tell = Callable[[Sequence[Group], OSError | None, Sequence[Entry]], None]


class Options:
    """How a file is written.

    Attributes:
        path: the file.
        mode: when a commit counts, see `connect`.
        retention: what is kept.
        keys: keys that are remembered.
        size: bytes that the file may grow to; 0: as the disk allows.
    """

    __slots__ = ("keys", "mode", "path", "retention", "size")

    def __init__(self, path: Path, mode: Mode, retention: Retention, keys: int, size: int) -> None:
        self.path = path
        self.mode: Mode = mode
        self.retention = retention
        self.keys = keys
        self.size = size


class Writer:
    """The writing thread of one opened file.

    Args:
        options: the file and how it is written.
        tell: called on this thread after each commit: the groups, the error or None, and entries that nobody waits for.

    Attributes:
        extent: the log as it was committed last.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, options: Options, tell: Tell) -> None:
        self._options = options
        self._tell = tell
        self._waiting: deque[Group] = deque()
        self._calls: deque[tuple[Callable[[Table, Trimmer], Any], Future[Any]]] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._idle = False
        self._stopping = False
        self._failing = False
        self._touched: dict[int, str] = {}
        self._next_look = 0.0
        keep = options.retention
        self._ages = keep.by_topic or keep.log.seconds > 0
        self._bounded = keep.by_topic or not keep.log.unbounded
        self._pause: float | None = 0.0
        self._table: Table | None = None
        self._connect()
        assert self._table is not None
        self.extent: Extent = self._table.extent
        self._thread: threading.Thread = threading.Thread(
            target=self._run, name="fastsse-sqlite", daemon=True
        )
        self._thread.start()

    # For the other side.

    def put(self, group: Group) -> None:
        """Give a group to the thread, and wake the thread if it sleeps. Nobody adds to the group from now on."""
        self._waiting.append(group)
        if self._idle:
            self._idle = False
            self._bell.put(None)

    def call(self, function: Callable[[Table, Trimmer], _Answer]) -> Future[_Answer]:
        """Call a function on the thread, between two groups; its outcome is that of the future."""
        future: Future[_Answer] = Future()
        self._calls.append((function, future))
        self._bell.put(None)
        return future

    def stop(self) -> None:
        """Let the thread finish what waits and close the file; wait for that, `_STOP` seconds at most."""
        self._stopping = True
        self._bell.put(None)
        self._thread.join(_STOP)

    # The thread.

    def _run(self) -> None:
        while (groups := self._take()) is not None:
            if groups:
                self.work(groups)
            with suppress(sqlite3.Error, OSError):
                self._look_after(idle=not groups)
        self._close()

    def _take(self) -> list[Group] | None:
        """Take what one transaction has of the groups that wait; nothing after a pause without any; None at the end."""
        waiting = self._waiting
        if not waiting and not self._calls:
            if self._stopping:
                return None
            self._idle = True
            if not waiting and self._pause != 0.0:
                with suppress(Empty):
                    self._bell.get(timeout=self._pause)
            self._idle = False
        groups: list[Group] = []
        count = size = 0
        while (
            waiting
            and size < GROUP_BYTES
            and (not groups or count + len(waiting[0].items) <= GROUP)
        ):
            group = waiting.popleft()
            groups.append(group)
            count += len(group.items)
            size += group.size
        return groups

    def work(self, groups: Sequence[Group]) -> None:
        """Append groups in one transaction, and tell what has become of them; for the thread itself."""
        items = groups[0].items if len(groups) == 1 else [one for g in groups for one in g.items]
        try:
            self._touched.update(self._connect().append(items))
        except sqlite3.Error as error:
            if _code(error) in _ENGINE:
                self._fail(groups, explain(error, self._options.path))
            else:
                self._work_singly(groups, items, error)
        except OSError as error:
            self._fail(groups, error)
        except Exception as error:
            self._work_singly(groups, items, error)
        else:
            self._failing = False
            self._tell(groups, None, ())

    def _work_singly(
        self, groups: Sequence[Group], items: Sequence[Append], error: Exception
    ) -> None:
        """Append each event by itself, so that one that cannot be written takes no other with it."""
        before: Append | None = None
        for one in items:
            if one.follows and before is not None and isinstance(before.outcome, Exception):
                one.outcome, before = NotReached(), one
                continue
            before = one
            try:
                if len(items) > 1:
                    self._touched.update(self._connect().append([one]))
                else:
                    one.outcome = _refusal(error)
            except sqlite3.Error as reason:
                if _code(reason) in _ENGINE:  # what was appended before is told all the same
                    self._fail(groups, explain(reason, self._options.path))
                    return
                one.outcome = _refusal(reason)
            except Exception as reason:
                one.outcome = _refusal(reason)
        self._failing = False
        self._tell(groups, None, ())

    def _fail(self, groups: Sequence[Group], error: OSError) -> None:
        """Tell of an engine that has failed; after anything but a full disk, begin with another connection."""
        self._failing = True
        if self._table is not None and error.errno is None:
            with suppress(sqlite3.Error):
                self._table.db.close()
            self._table = None
        self._tell(groups, error, ())

    def _connect(self) -> Table:
        """Return the table; open the file again after a failure, and tell what it has that nobody knows of.

        Raises:
            OSError: the file cannot be opened.
        """
        if self._table is not None:
            return self._table
        options = self._options
        db, extent = connect(options.path, options.mode, options.size)
        known = getattr(self, "extent", extent)
        self._table = table = Table(db, extent, options.keys)
        self._trimmer = Trimmer(table, options.retention)
        self.extent = extent
        if extent.head > known.head:
            self._tell((), None, self._unknown(known.head))
        return table

    def _unknown(self, after: int) -> list[Entry]:
        reader, found, limit = Reader(self._options.path), list[Entry](), 2**62
        try:
            while (page := reader.scan(after, limit)).end > after:
                found += page.entries
                after = page.end
        finally:
            reader.close()
        return found

    def _look_after(self, *, idle: bool) -> None:
        """Do what was asked for besides, let entries go, and see if an engine that has failed is back."""
        while self._calls:
            self._answer(*self._calls.popleft())
        now = monotonic()
        due = now >= self._next_look
        if due:
            self._next_look = now + _SECOND
        aged = due or self._pause == 0.0
        self._pause = _SECOND if self._failing or self._ages else None
        if self._bounded and not idle:
            self._pause = _SOON
        with suppress(sqlite3.Error):
            if self._let_go(idle=idle, due=due, aged=aged):
                self._pause = 0.0
        if due and self._failing:
            self._try_again()

    def _let_go(self, *, idle: bool, due: bool, aged: bool) -> int:
        """Let go one step of what is over the retention; return how many entries went."""
        trimmer = self._trimmer
        gone = trimmer.step(0 if idle else SLACK, aged=aged)
        if idle or len(self._touched) > _TOUCHED:
            gone += trimmer.step_topics(self._touched)
            self._touched.clear()
        return gone + trimmer.step_round() if due else gone

    def _answer(self, function: Callable[[Table, Trimmer], Any], future: Future[Any]) -> None:
        try:
            future.set_result(function(self._connect(), self._trimmer))
        except sqlite3.Error as error:
            future.set_exception(explain(error, self._options.path))
        except BaseException as error:
            future.set_exception(error)

    def _try_again(self) -> None:
        """Tell that the engine is back, if it is."""
        self._connect().probe()
        self._failing = False
        self._tell((), None, ())

    def _close(self) -> None:
        table, self._table = self._table, None
        if table is None:
            return
        with suppress(sqlite3.Error):
            table.db.execute("PRAGMA synchronous = FULL")
            table.db.execute("UPDATE extent SET opened = ''")
            table.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(sqlite3.Error):
            table.db.close()


def _refusal(error: Exception) -> OSError:
    """Make the error of an append that something stands against, and against no other."""
    return error if isinstance(error, OSError) else OSError(f"cannot be appended: {error}")


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary code of an error; 0 where the error is Python's own."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
