"""Pages of the log, on connections that only read: while a page is read, appends go on.

A page of one topic costs in proportion to its own entries: the index leads from one to the next, whatever lies between.
A page of several topics takes the next few positions of each, and then their entries in order.

An entry of a form that this version does not know, or whose row somebody has changed, is left out, counted and logged
once. A page is read in one transaction, so what it says of floor and epoch is true for its entries.

The module knows SQL and pages; it must not know appends or event loops.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastsse.broadcast.stores import Entry, Page
from fastsse.broadcast.stores.sqlite.file import FORM, Extent, connect_reader, explain

__all__ = ["OF_TOPIC", "Reader"]

_ROWS = 4096  # entries of one page, at most
_POSITIONS = 1024  # that a page of several topics looks at, shared among the topics
_FEWEST = 16  # of them for each topic
_IN = 64  # entries that one statement takes by their positions
_NOTED = 1000  # unreadable entries that are told apart

_log = logging.getLogger("fastsse.broadcast")

OF_TOPIC = (
    "SELECT l.position, l.form, l.topics, l.block FROM places p CROSS JOIN log l ON l.position = p.position "
    "WHERE p.topic = ? AND p.position > ? AND p.position < ? ORDER BY p.position LIMIT ?"
)
_POSITIONS_OF = (
    "SELECT position FROM places WHERE topic = ? AND position > ? AND position < ? "
    "ORDER BY position LIMIT ?"
)
_OF_ALL = (
    "SELECT position, form, topics, block FROM log WHERE position > ? ORDER BY position LIMIT ?"
)

_Row = tuple[int, int, str, bytes]


class Reader:
    """The readers of one file; its methods may be called on any thread.

    Args:
        path: the file, which has its tables.

    Attributes:
        unreadable: how many entries were left out.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._odd: set[int] = set()  # positions of unreadable entries
        self.unreadable = 0

    def page(self, topics: tuple[str, ...], after: int, before: int, limit: int) -> Page:
        """Read a page, as `Archive.read` describes it.

        Raises:
            OSError: the file cannot be read.
        """
        with self._reading() as db:
            epoch, floor, _ = _extent(db)
            numbers: list[int] = []
            for topic in topics:
                query = "SELECT topic, floor FROM topics WHERE name = ?"
                if found := db.execute(query, [topic]).fetchone():
                    numbers.append(found[0])
                    floor = max(floor, found[1])
            last = max(after, before - 1)
            if not numbers:
                return Page([], last, floor, epoch)
            if len(numbers) == 1:
                rows: Iterator[_Row] = iter(
                    db.execute(OF_TOPIC, [numbers[0], after, before, _ROWS])
                )
                entries, end = self._take(rows, limit, last, _ROWS)
            else:
                positions, last = _positions(db, numbers, after, before, last)
                rows = _by_position(db, positions)
                entries, end = self._take(rows, limit, last, _ROWS)
            return Page(entries, end, floor, epoch)

    def scan(self, after: int, limit: int) -> Page:
        """Read a page of all topics, as `Portable.scan` describes it.

        Raises:
            OSError: the file cannot be read.
        """
        with self._reading() as db:
            epoch, floor, head = _extent(db)
            rows = iter(db.execute(_OF_ALL, [after, _ROWS]))
            entries, end = self._take(rows, limit, max(after, head), _ROWS)
            return Page(entries, end, floor, epoch)

    def extent(self) -> Extent:
        """Read what the log is now.

        Raises:
            OSError: the file cannot be read, or is no log.
        """
        with self._reading() as db:
            query = "SELECT epoch, floor, head, entries, bytes FROM extent"
            return Extent(*db.execute(query).fetchone())

    def before_tail(self, tail: int) -> int:
        """Return the position before the newest `tail` entries, and after all that a topic has lost; 0: none.

        Raises:
            OSError: the file cannot be read.
        """
        with self._reading() as db:
            _, floor, head = _extent(db)
            [entries] = db.execute("SELECT entries FROM extent").fetchone()
            [lost] = db.execute("SELECT max(floor) FROM topics WHERE floor > 0").fetchone()
            floor = max(floor, lost or 0)
            if not tail:
                return head
            if entries == head - floor:  # no position is free between them
                return max(floor, head - tail)
            newest = "SELECT position FROM log ORDER BY position DESC LIMIT 1 OFFSET ?"
            found = db.execute(newest, [tail]).fetchone()
            return max(floor, found[0] if found else 0)

    def close(self) -> None:
        """Close the connections; a later call opens another one."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection, None, None]:
        """Give a connection within a transaction, to one thread at a time."""
        try:
            db = self._idle.pop()
        except IndexError:
            db = connect_reader(self._path)
        try:
            db.execute("BEGIN")
            yield db
            db.execute("COMMIT")
        except sqlite3.Error as error:
            db.close()
            raise explain(error, self._path) from error
        except BaseException:
            db.close()
            raise
        self._idle.append(db)

    def _take(
        self, rows: Iterator[_Row], limit: int, last: int, most: int
    ) -> tuple[list[Entry], int]:
        """Take entries until `limit` bytes are reached; return them and the position up to which they are complete."""
        entries: list[Entry] = []
        size, names = 0, ""
        split: tuple[str, ...] = ()
        for position, form, topics, block in rows:
            if form == FORM and type(block) is bytes and type(topics) is str:
                if topics != names:  # entries of one topic share a tuple
                    names, split = topics, tuple(topics.split("\n"))
                entries.append(Entry(position, split, block))
                size += len(block)
            else:
                self._note(position)
            most -= 1
            if size >= limit or not most:
                return entries, position
        return entries, last

    def _note(self, position: int) -> None:
        """Count an entry that cannot be read; log the first one."""
        if position in self._odd or len(self._odd) >= _NOTED:
            return
        self._odd.add(position)
        self.unreadable += 1
        if self.unreadable == 1:
            words = "%s: the entry at %d is of a form that this version cannot read; it and others like it are left out"
            _log.warning(words, self._path, position)


def _extent(db: sqlite3.Connection) -> tuple[str, int, int]:
    epoch, floor, head = db.execute("SELECT epoch, floor, head FROM extent").fetchone()
    return epoch, floor, head


def _positions(
    db: sqlite3.Connection, numbers: list[int], after: int, before: int, last: int
) -> tuple[list[int], int]:
    """Return the next positions of several topics, and the position up to which these are all."""
    few = max(_FEWEST, _POSITIONS // len(numbers))
    found: set[int] = set()
    for number in numbers:
        positions = [row[0] for row in db.execute(_POSITIONS_OF, [number, after, before, few])]
        found.update(positions)
        if len(positions) == few:
            last = min(last, positions[-1])
    return sorted(position for position in found if position <= last), last


def _by_position(db: sqlite3.Connection, positions: list[int]) -> Iterator[_Row]:
    for start in range(0, len(positions), _IN):
        some = positions[start : start + _IN]
        holes = ",".join("?" * len(some))
        query = f"SELECT position, form, topics, block FROM log WHERE position IN ({holes}) ORDER BY position"
        yield from db.execute(query, some)
