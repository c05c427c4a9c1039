"""The log's tables as the writer's thread changes them: appends in groups, keys, numbers of topics.

    log      position → topics, block               one row an entry
    places   (topic, position)                      so that one topic is replayed without a look at the others
    topics   number → name, entries, bytes, floor   a topic's number stands in `places`; counts make bounds cheap
    keys     the last keys of publishes
    extent   one row: epoch, floor, head, entries, bytes

A group is one transaction. Rows of a group are put in by few statements of many rows, because Python's lock changes
hands at every statement, and a busy event loop would hold it for milliseconds each time.

Three things make a row cheap, each by a profile. Values that all rows of a group share are bound once. A block is bound
as a bytearray: `sqlite3` binds that, str, int and float as they are, and looks for an adapter of anything else, which
for bytes costs more than a copy of an event. And a statement keeps no journal of its own (``OR FAIL``), since after a
failure the whole transaction is undone.

The module knows SQL; it must not know threads, event loops or who waits for an append.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, repeat
from typing import Any, NamedTuple

from fastsse.broadcast.stores import Entry, KeyReused, Log
from fastsse.broadcast.stores._groups import NotReached
from fastsse.broadcast.stores.memory import digest_of
from fastsse.broadcast.stores.sqlite.appends import Append, forget_outcomes
from fastsse.broadcast.stores.sqlite.file import FORM, Extent

__all__ = ["Table", "clock"]

_MANY = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # of one statement
_COPIED = 4096  # bytes of a block that is bound as a copy
_NAMES = 50_000  # numbers of topics that are remembered
_PROBE = 65_536  # bytes that a file must have room for before it counts as having room


def clock(least: int = 0) -> Callable[[], int]:
    """Make a clock of milliseconds since 1970 that no later setting of the system's clock moves.

    Args:
        least: where the clock begins when the system's is behind that.
    """
    offset = max(time.time(), least / 1000) - time.monotonic()
    return lambda: int(1000 * (offset + time.monotonic()))


class _Form(NamedTuple):
    """A way to put rows into a table.

    Attributes:
        table: its name.
        width: values that each row has of its own.
        first: the first row of a statement. A value ``?1`` is shared by all rows, and the row's own are numbered then.
        later: each further row.
        rest: what follows the rows.
    """

    table: str
    width: int
    first: str
    later: str
    rest: str = ""


_UPSERT = " ON CONFLICT DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes"
_LOG = _Form("log", 3, f"(?2, ?1, {FORM}, ?3, ?4)", f"(?, ?1, {FORM}, ?, ?)")
_PLACES = _Form("places", 2, "(?, ?)", "(?, ?)")
_TOPICS = _Form("topics", 4, "(?, ?, ?, ?, 0)", "(?, ?, ?, ?, 0)", _UPSERT)
_KEYS = _Form("keys", 3, "(?, ?, ?)", "(?, ?, ?)")


@cache
def _statement(form: _Form, rows: int) -> str:
    """Write the statement that puts in so many rows."""
    values = ",".join([form.first, *[form.later] * (rows - 1)])
    return f"INSERT OR FAIL INTO {form.table} VALUES {values}{form.rest}"


class _Share:
    """The part of some entries that is of one topic: the topic's number, positions, and bytes of blocks."""

    __slots__ = ("number", "positions", "size")

    def __init__(self, number: int) -> None:
        self.number = number
        self.positions: list[int] = []
        self.size = 0


class _Rows:
    """Entries as rows of the tables.

    Args:
        number: gives the number of a topic.

    Attributes:
        log: position, topics and block of each entry, one after the other without a border.
        shares: what each topic has of them, by its name.
        size: bytes of all blocks.
    """

    __slots__ = ("_number", "log", "shares", "size")

    def __init__(self, number: Callable[[str], int]) -> None:
        self._number = number
        self.log: list[Any] = []
        self.shares: dict[str, _Share] = {}
        self.size = 0

    def add(self, position: int, topics: tuple[str, ...], block: bytes) -> None:
        """Note one entry."""
        size = len(block)
        self.size += size
        names = topics[0] if len(topics) == 1 else "\n".join(topics)
        self.log += (position, names, bytearray(block) if size <= _COPIED else block)
        for topic in topics:
            share = self.shares.get(topic)
            if share is None:
                share = self.shares[topic] = _Share(self._number(topic))
            share.positions.append(position)
            share.size += size


class Table:
    """The log on one connection.

    Args:
        db: the connection, of which this is the only user.
        extent: what the log is now; kept true by each commit.
        keys: how many keys are remembered.

    Attributes:
        extent: as given.
        now: the clock of entries, which never goes back: an entry that came while the system's clock was set back
            would count as too old once that is put right.
    """

    def __init__(self, db: sqlite3.Connection, extent: Extent, keys: int) -> None:
        self.db = db
        self.extent = extent
        newest = "SELECT CAST(at AS INTEGER) FROM log ORDER BY position DESC LIMIT 1"
        self.now = clock(*(db.execute(newest).fetchone() or ()))
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
            forget_outcomes(group)
            self.roll_back()
            raise

    def _append(self, group: Sequence[Append]) -> dict[int, str]:
        head = before = self.extent.head
        rows = _Rows(self._number)
        add = rows.add
        keys: list[Any] = []
        fresh: dict[str, tuple[int, bytes]] = {}
        failed = False
        for one in group:
            if failed and one.follows:
                one.outcome = NotReached()
                continue
            draft, failed = one.draft, False
            if one.key is not None:
                digest = digest_of(draft)
                if self._knows(one, digest, fresh):
                    failed = type(one.outcome) is KeyReused
                    continue
                fresh[one.key] = head + 1, digest
                keys += (head + 1, one.key, digest)
            head += 1
            one.outcome = Entry(head, draft.topics, draft.block)
            add(head, draft.topics, draft.block)
        if head == before:
            self.db.execute("ROLLBACK")
            return {}
        self._insert_rows(rows)
        more_keys = self._insert_keys(keys) if keys else 0
        self._commit(head, head - before, rows.size)
        self._keys += more_keys
        return {share.number: topic for topic, share in rows.shares.items()}

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

    def _insert_rows(self, rows: _Rows) -> None:
        """Put in entries, their places, and what they add to the numbers of their topics."""
        self._insert(_LOG, rows.log, [self.now()])
        places: list[int] = []
        topics: list[Any] = []
        for topic, share in rows.shares.items():
            places += chain.from_iterable(zip(repeat(share.number), share.positions))
            topics += (share.number, topic, len(share.positions), share.size)
        self._insert(_PLACES, places)
        self._insert(_TOPICS, topics)

    def _insert(self, form: _Form, flat: Sequence[Any], shared: Sequence[Any] = ()) -> None:
        """Put in rows, given one after the other without a border."""
        start, left, width = 0, len(flat) // form.width, form.width
        for rows in _MANY:
            while left >= rows:
                end = start + rows * width
                self.db.execute(_statement(form, rows), [*shared, *flat[start:end]])
                start, left = end, left - rows

    def _number(self, topic: str) -> int:
        """Return the number of a topic, another one for a topic that is new."""
        if (known := self._numbers.get(topic)) is not None:
            return known
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
        one.outcome = int(found[0]) if found[1] == digest else KeyReused(one.key)
        return True

    def _insert_keys(self, keys: list[Any]) -> int:
        """Remember keys, and forget the oldest beyond the bound; return how many more there are."""
        self._insert(_KEYS, keys)
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
        [head] = self.db.execute("SELECT max(position) FROM log").fetchone()
        head = head or self.extent.floor
        rows = _Rows(self._number)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for one in entries:
                if one.position <= head:
                    raise ValueError(f"position {one.position} does not follow {head}")
                head = one.position
                rows.add(head, one.topics, one.block)
            self._insert_rows(rows)
            self._commit(max(head, self.extent.head), len(entries), rows.size)
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
