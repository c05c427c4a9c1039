"""The log's tables as the writer's thread changes them: appends in groups, keys, numbers of topics.

    log      position → topics, block               one row an entry
    places   (topic, position)                      so that one topic is replayed without a look at the others
    topics   number → name, entries, bytes, floor   a topic's number stands in `places`; counts make bounds cheap
    keys     the last keys of publishes
    extent   one row: epoch, floor, head, entries, bytes

A group is one transaction. Rows of a group are put in by few statements of many rows, because Python's lock changes
hands at every statement, and a busy event loop would hold it for milliseconds each time.

The module knows SQL; it must not know threads, event loops or who waits for an append.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from fastsse.broadcast.stores import Draft, Entry, KeyReused, Log
from fastsse.broadcast.stores.memory import digest_of
from fastsse.broadcast.stores.sqlite.file import FORM, Extent

__all__ = ["Append", "Table", "clock"]

_GROUPS = (256, 64, 16, 4, 1)  # rows of one statement
_NAMES = 50_000  # numbers of topics that are remembered
_UPSERT = " ON CONFLICT DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes"
_PROBE = 65_536  # bytes that a file must have room for before it counts as having room


class Append:
    """One event on its way into the log.

    Attributes:
        draft: the event.
        key: of its publish.
        position: its place; 0 before it has one.
        known: the key was known: nothing was appended, and `position` is that of the first publish.
        error: what stands against it alone.
    """

    __slots__ = ("draft", "error", "key", "known", "position")

    def __init__(self, draft: Draft, key: str | None) -> None:
        self.draft = draft
        self.key = key
        self.position = 0
        self.known = False
        self.error: Exception | None = None


def clock() -> Callable[[], int]:
    """Make a clock of milliseconds since 1970 that no later setting of the system's clock moves."""
    offset = time.time() - time.monotonic()
    return lambda: int(1000 * (offset + time.monotonic()))


class Table:
    """The log on one connection.

    Args:
        db: the connection, of which this is the only user.
        extent: what the log is now; kept true by each commit.
        keys: how many keys are remembered.

    Attributes:
        extent: as given.
        now: the clock of entries.
    """

    def __init__(self, db: sqlite3.Connection, extent: Extent, keys: int) -> None:
        self.db = db
        self.extent = extent
        self.now = clock()
        self._most_keys = keys
        self._numbers: dict[str, int] = {}
        [self._last] = db.execute("SELECT coalesce(max(topic), 0) FROM topics").fetchone()
        [self._keys] = db.execute("SELECT count(*) FROM keys").fetchone()

    # Appends.

    def append(self, group: Sequence[Append]) -> dict[int, str]:
        """Append a group of events in one transaction, in order; return the names of their topics by number.

        Raises:
            sqlite3.Error: nothing of the group was appended.
        """
        self.db.execute("BEGIN IMMEDIATE")
        try:
            return self._append(group)
        except BaseException:
            self.roll_back()
            raise

    def _append(self, group: Sequence[Append]) -> dict[int, str]:
        head, at, size = self.extent.head, self.now(), 0
        rows: list[Any] = []
        keys: list[Any] = []
        places: list[int] = []
        counts: dict[int, list[Any]] = {}
        fresh: dict[str, tuple[int, bytes]] = {}
        for one in group:
            draft = one.draft
            if one.key is not None:
                digest = digest_of(draft)
                if self._knows(one, digest, fresh):
                    continue
                fresh[one.key] = head + 1, digest
                keys += (head + 1, one.key, digest)
            head += 1
            one.position = head
            topics, block = draft.topics, draft.block
            rows += (head, at, FORM, "\n".join(topics), block)
            size += len(block)
            self._place(topics, head, len(block), places, counts)
        if not rows:
            self.db.execute("ROLLBACK")
            return {}
        self._insert("log", 5, rows)
        self._insert("places", 2, places)
        self._insert("topics", 5, [part for row in counts.values() for part in row], _UPSERT)
        more_keys = self._insert_keys(keys) if keys else 0
        self._commit(head, len(rows) // 5, size)
        self._keys += more_keys
        return {number: row[1] for number, row in counts.items()}

    def _place(
        self,
        topics: Iterable[str],
        position: int,
        size: int,
        places: list[int],
        counts: dict[int, list[Any]],
    ) -> None:
        """Note one entry in the rows of `places` and in the counts of its topics."""
        numbers = self._numbers
        for topic in topics:
            number = numbers.get(topic) or self._number(topic)
            places += (number, position)
            if number in counts:
                count = counts[number]
                count[2] += 1
                count[3] += size
            else:
                counts[number] = [number, topic, 1, size, 0]

    def _commit(self, head: int, entries: int, size: int) -> None:
        extent = self.extent
        self.db.execute(
            "UPDATE extent SET head = ?, entries = entries + ?, bytes = bytes + ?",
            [head, entries, size],
        )
        self.db.execute("COMMIT")
        extent.head = head
        extent.entries += entries
        extent.bytes += size

    def _insert(self, table: str, width: int, flat: Sequence[Any], rest: str = "") -> None:
        """Put in rows, given one after the other without a border."""
        start, end = 0, len(flat)
        row = f"({','.join('?' * width)})"
        for rows in _GROUPS:
            step = rows * width
            while end - start >= step:
                values = ",".join([row] * rows)
                self.db.execute(
                    f"INSERT INTO {table} VALUES {values}{rest}", flat[start : start + step]
                )
                start += step

    def _number(self, topic: str) -> int:
        """Return the number of a topic, another one for a topic that is new."""
        if len(self._numbers) >= _NAMES:
            self._numbers.clear()
        found = self.db.execute("SELECT topic FROM topics WHERE name = ?", [topic]).fetchone()
        if found is None:
            self._last += 1
        number = self._numbers[topic] = self._last if found is None else int(found[0])
        return number

    def forget_numbers(self) -> None:
        """Look every number up anew: rows of `topics` have gone."""
        self._numbers.clear()

    # Keys.

    def _knows(self, one: Append, digest: bytes, fresh: dict[str, tuple[int, bytes]]) -> bool:
        """Return True when the key of an append is known, and note what that means for it."""
        assert one.key is not None
        found = (
            fresh.get(one.key)
            or self.db.execute(
                "SELECT position, digest FROM keys WHERE key = ?", [one.key]
            ).fetchone()
        )
        if found is None:
            return False
        one.known = True
        one.position = found[0]
        if found[1] != digest:
            one.error = KeyReused(one.key)
        return True

    def _insert_keys(self, keys: list[Any]) -> int:
        """Remember keys, and forget the oldest beyond the bound; return how many more there are."""
        self._insert("keys", 3, keys)
        more = len(keys) // 3
        over = self._keys + more - self._most_keys
        if over > 0:
            oldest = "SELECT position FROM keys ORDER BY position LIMIT ?"
            self.db.execute(f"DELETE FROM keys WHERE position IN ({oldest})", [over])
            more -= over
        return more

    # Copies in.

    def adopt(self, log: Log) -> None:
        """Take over the epoch and the extent of another log; this one must never have had an entry.

        Raises:
            ValueError: there is, or was, an entry.
            sqlite3.Error: nothing was changed.
        """
        if self.extent.head:
            raise ValueError("the log is not new")
        head = max(log.floor, log.head)
        self.db.execute(
            "UPDATE extent SET epoch = ?, floor = ?, head = ?", [log.epoch, log.floor, head]
        )
        self.extent.epoch, self.extent.floor, self.extent.head = log.epoch, log.floor, head

    def put(self, entries: Sequence[Entry]) -> None:
        """Put in entries under their own positions, in one transaction.

        Raises:
            ValueError: a position is not after the one before.
            sqlite3.Error: nothing was put in.
        """
        at, size = self.now(), 0
        [head] = self.db.execute("SELECT max(position) FROM log").fetchone()
        head = head or self.extent.floor
        rows: list[Any] = []
        places: list[int] = []
        counts: dict[int, list[Any]] = {}
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for one in entries:
                if one.position <= head:
                    raise ValueError(f"position {one.position} does not follow {head}")
                head = one.position
                rows += (head, at, FORM, "\n".join(one.topics), one.block)
                size += len(one.block)
                self._place(one.topics, head, len(one.block), places, counts)
            self._insert("log", 5, rows)
            self._insert("places", 2, places)
            self._insert("topics", 5, [part for row in counts.values() for part in row], _UPSERT)
            self._commit(max(head, self.extent.head), len(rows) // 5, size)
        except BaseException:
            self.roll_back()
            raise

    # After a failure.

    def roll_back(self) -> None:
        """Undo what a transaction has begun."""
        self._numbers.clear()
        with suppress(sqlite3.Error):
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        with suppress(sqlite3.Error):
            [self._last] = self.db.execute("SELECT coalesce(max(topic), 0) FROM topics").fetchone()

    def probe(self) -> None:
        """Try whether the file takes something again, and leave it as it was.

        Raises:
            sqlite3.Error: it does not.
        """
        self.db.execute("BEGIN IMMEDIATE")
        try:
            row = [self.extent.head + 1, 0, 0, "", b"\0" * _PROBE]
            self.db.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?)", row)
            self.db.execute("DELETE FROM log WHERE position = ?", row[:1])
            self.db.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise
