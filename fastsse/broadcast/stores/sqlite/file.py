"""The file of a SQLite log: its schema, its connections, its lock, and what SQLite's errors mean.

    events.db           the log; events.db-wal and events.db-shm are SQLite's own, and belong to it
    events.db.lock      held by the one process that may write, for as long as it lives: the kernel lets go of it

A file of a newer schema is refused, and so is a database of another program. The module knows SQL and files; it must
not know appends, pages or event loops.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fastsse.broadcast.stores import StorageFull, StoreUnusable

__all__ = ["FORM", "Extent", "Lock", "Mode", "connect", "connect_reader", "explain", "new_epoch"]

Mode = Literal["full", "normal"]

FORM = 1  # of an entry's row: topics joined by line ends, which no name has, and the block; others are skipped

_SCHEMA = 1
_APPLICATION = 0x46535345  # "FSSE"
_OLDEST = (3, 35)  # of SQLite: an upsert without a target
_BUSY = 5.0  # s: only a copy of the log that is being made or a checkpoint of another connection can hold the file
_CACHE = -16_384  # KiB of pages that one connection keeps
_WAL = 4096  # pages of the write-ahead log after which they are moved into the file, which waits for the disk twice
_TABLES = """
CREATE TABLE extent (epoch TEXT NOT NULL, floor INTEGER NOT NULL, head INTEGER NOT NULL, entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL, opened TEXT NOT NULL);
CREATE TABLE log (position INTEGER PRIMARY KEY, at INTEGER NOT NULL, form INTEGER NOT NULL, topics TEXT NOT NULL,
    block BLOB NOT NULL);
CREATE TABLE topics (topic INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL, floor INTEGER NOT NULL);
CREATE INDEX floors ON topics (floor) WHERE floor > 0;
CREATE TABLE places (topic INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (topic, position)) WITHOUT ROWID;
CREATE TABLE keys (position INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, digest BLOB NOT NULL)
"""
# Errors with these codes say that the whole file is damaged.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(slots=True)
class Extent:
    """The log as it was committed last; the writer's thread alone writes here.

    Attributes:
        epoch: the name of the numbering.
        floor: position of the last entry that the bounds of the whole log let go.
        head: position of the newest entry, gone or not.
        entries: how many there are.
        bytes: of their blocks.
    """

    epoch: str
    floor: int
    head: int
    entries: int
    bytes: int


def new_epoch() -> str:
    """Make the name of a numbering: the seconds since 1970, so that epochs sort by eye, and four random digits."""
    return f"{int(time.time()):x}{secrets.token_hex(2)}"


def connect(path: Path, mode: Mode, most: int) -> tuple[sqlite3.Connection, Extent]:
    """Open a file to write; make its tables where it is new or empty.

    Args:
        mode: ``full``: each commit is on the disk before it is acknowledged. ``normal``: a power failure may lose the
            last commits; the log then takes another epoch, because their positions will be used again.
        most: bytes that the file may grow to; 0: as the disk allows.

    Raises:
        StoreUnusable: the file is damaged, of a newer schema, or another program's; SQLite is too old.
        OSError: the file cannot be opened now.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 is needed")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    try:
        db = sqlite3.connect(
            path,
            timeout=_BUSY,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        _check(db, path)
        return db, _begin(db, path, mode, most)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise explain(error, path) from error
        raise


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a file that has its tables, to read alone.

    Raises:
        OSError: the file cannot be opened, or is no log.
    """
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        db = sqlite3.connect(
            uri, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            _check(db, path)
            db.execute(f"PRAGMA cache_size = {_CACHE}")
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a log of ours, or too new."""
    [application] = db.execute("PRAGMA application_id").fetchone()
    [version] = db.execute("PRAGMA user_version").fetchone()
    [tables] = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != _APPLICATION:
        raise StoreUnusable(f"{path}: a database of another program: take another file")
    if version > _SCHEMA:
        words = f"{path}: written by a newer fastsse (schema {version}, known is {_SCHEMA})"
        raise StoreUnusable(f"{words}: upgrade this one, or export the log with the newer one")


def _begin(db: sqlite3.Connection, path: Path, mode: Mode, most: int) -> Extent:
    """Make the tables where they are missing; take the log over for this process."""
    [journal] = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal != "wal":
        raise StoreUnusable(f"{path}: no write-ahead log can be kept there, as on a network's disk")
    db.execute(f"PRAGMA cache_size = {_CACHE}")
    db.execute("PRAGMA journal_size_limit = 67108864")
    db.execute(f"PRAGMA wal_autocheckpoint = {_WAL}")
    db.execute("PRAGMA synchronous = FULL")
    [size] = db.execute("PRAGMA page_size").fetchone()
    if most:
        db.execute(f"PRAGMA max_page_count = {max(1, most // size)}")
    db.execute("BEGIN IMMEDIATE")
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'extent'").fetchone():
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {_SCHEMA}")
    if not db.execute("SELECT 1 FROM extent").fetchone():
        db.execute("INSERT INTO extent VALUES (?, 0, 0, 0, 0, '')", [new_epoch()])
    extent = Extent(*db.execute("SELECT epoch, floor, head, entries, bytes FROM extent").fetchone())
    [opened] = db.execute("SELECT opened FROM extent").fetchone()
    if opened and _may_have_lost(opened):
        extent.epoch = new_epoch()
    now = f"{mode} {_boot()}"
    db.execute("UPDATE extent SET epoch = ?, opened = ?", [extent.epoch, now])
    db.execute("COMMIT")
    db.execute(f"PRAGMA synchronous = {mode.upper()}")
    return extent


def _may_have_lost(opened: str) -> bool:
    """Return True for a log that was not closed, when the machine has been started again since.

    Only a log with the mode ``normal`` loses commits so. Where starts of the machine have no name, any log of that mode
    that was not closed counts.
    """
    mode, _, boot = opened.partition(" ")
    return mode == "normal" and (not boot or boot != _boot())


def _boot() -> str:
    """Return the name of the machine's present start; empty where the system gives none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def explain(error: sqlite3.Error, path: Path) -> OSError:
    """Make the error that a store raises of SQLite's own."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return StorageFull(f"{path}: no room for more: {error}")
    if code & 0xFF in _DAMAGED:
        return StoreUnusable(
            f"{path}: damaged ({error}): restore a copy of it, or save by `fastsse store export` what can still be "
            "read and import that into a new file, or move the file away to begin anew"
        )
    return OSError(f"{path}: {error}")


class Lock:
    """The right to write to a file, which one process has at a time.

    The kernel takes the lock back when the process ends, however it ends.

    Args:
        path: the log's file, or a symbolic link to it; the lock lies beside the file.
    """

    def __init__(self, path: Path) -> None:
        self._log = path
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            OSError: another process has it, or the file cannot be made.
        """
        # As SQLite does with the files of its own: two names of one file have one lock.
        path = f"{os.path.realpath(self._log)}.lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            _hold(file)
        except OSError:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() if _POSIX else ""
            os.close(file)
            raise OSError(
                f"{self._log}: in use by process {holder or 'unknown'}: one process writes to a file; stop that one, "
                "or take a store that processes share"
            ) from None
        os.truncate(file, 0)
        os.write(file, b"%d\n" % os.getpid())
        self._file = file

    def release(self) -> None:
        """Give the lock back. Does nothing when it was not taken."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


_POSIX = sys.platform != "win32"

if sys.platform == "win32":
    import msvcrt

    def _hold(file: int) -> None:
        os.lseek(file, 2**30, os.SEEK_SET)  # beyond the number of the process, which stays readable
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _hold(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
