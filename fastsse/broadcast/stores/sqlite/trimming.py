"""Letting entries go: a step at a time, between two groups of appends, so that no append waits for long.

The bounds of the whole log take its oldest entries, whatever their topics are, and its floor moves on. The bounds of a
topic take the oldest entries of that topic from its index; an entry of several topics stays for the others. The floor
of such a topic lies above that of the log.

Bounds are kept to within `SLACK` entries while events come, and exactly once the log is idle. Age is looked at once a
second, and that of topics with bounds of their own in rounds of `_ROUND` topics.

The module knows SQL and bounds; it must not know threads or event loops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastsse.broadcast.stores.retention import Keep, Retention
from fastsse.broadcast.stores.sqlite.table import Table

__all__ = ["SLACK", "Trimmer"]

SLACK = 64  # entries beyond a bound that do not yet make a step
_STEP = 512  # entries that one step lets go, at most
_LIGHT = 1024  # bytes that one entry of the slack counts for
_ROUND = 256  # topics that are looked at in one round


class Trimmer:
    """The steps by which a log lets its oldest entries go.

    Args:
        table: the log.
        retention: its bounds.
    """

    def __init__(self, table: Table, retention: Retention) -> None:
        self._table = table
        self._db = table.db
        self._keep = retention.log
        self._retention = retention
        self._by_topic = retention.by_topic
        self._next = 0  # number of the topic that the last round ended with
        self._other: Trimmer | None = None  # by the bounds of `step_any`

    def step(self, slack: int = 0, *, aged: bool = True) -> int:
        """Let go the oldest entries that are over the bounds of the log by more than `slack`; return how many.

        Args:
            aged: look for entries that are too old, too.

        Raises:
            sqlite3.Error: nothing has gone.
        """
        extent, keep = self._table.extent, self._keep
        over = max(0, extent.entries - keep.events) if keep.events else 0
        heavy = max(0, extent.bytes - keep.bytes) if keep.bytes else 0
        aged = aged and keep.seconds > 0
        if over <= slack and heavy <= slack * _LIGHT and not aged:
            return 0
        query = "SELECT position, topics, length(block), at FROM log ORDER BY position LIMIT ?"
        rows = self._db.execute(query, [_STEP if heavy or aged else min(over, _STEP)]).fetchall()
        before = self._table.now() - int(1000 * keep.seconds) if aged else 0
        return self._let_go(rows[: _how_many(rows, over, heavy, before)])

    def _let_go(self, rows: list[tuple[int, str, int, int]]) -> int:
        """Delete the oldest entries of the log, and count their topics down."""
        if not rows:
            return 0
        last, size = rows[-1][0], sum(row[2] for row in rows)
        counts: dict[str, list[int]] = {}
        for _, topics, length, _ in rows:
            for topic in str(topics).split("\n"):
                count = counts.setdefault(topic, [0, 0])
                count[0] += 1
                count[1] += length
        table, db = self._table, self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            for topic, (entries, length) in counts.items():
                self._count_down(topic, entries, length, last)
            db.execute("DELETE FROM log WHERE position <= ?", [last])
            db.execute(
                "UPDATE extent SET floor = ?, entries = entries - ?, bytes = bytes - ?",
                [last, len(rows), size],
            )
            db.execute("COMMIT")
        except BaseException:
            table.roll_back()
            raise
        extent = table.extent
        extent.floor, extent.entries, extent.bytes = (
            last,
            extent.entries - len(rows),
            extent.bytes - size,
        )
        return len(rows)

    def _count_down(self, topic: str, entries: int, size: int, last: int) -> None:
        found = self._db.execute(
            "SELECT topic, entries, floor FROM topics WHERE name = ?", [topic]
        ).fetchone()
        if found is None:
            return
        number, left, floor = found
        self._db.execute("DELETE FROM places WHERE topic = ? AND position <= ?", [number, last])
        if left <= entries and floor <= last:
            self._db.execute("DELETE FROM topics WHERE topic = ?", [number])
            self._table.forget_numbers()
            return
        self._db.execute(
            "UPDATE topics SET entries = entries - ?, bytes = bytes - ? WHERE topic = ?",
            [entries, size, number],
        )

    # Topics with bounds of their own.

    def step_topics(self, topics: Mapping[int, str]) -> int:
        """Keep the bounds of topics that were just published to, given by number; return how many entries went."""
        if not self._by_topic:
            return 0
        numbers = [n for n, name in topics.items() if not self._retention.of_topic(name).unbounded]
        query = "SELECT topic, name, entries, bytes FROM topics WHERE topic = ?"
        return sum(self._step_rows(self._db.execute(query, [n]).fetchall()) for n in numbers)

    def step_round(self) -> int:
        """Look at the next topics in turn, for their ages and for bounds that have changed; return how many went."""
        if not self._by_topic:
            return 0
        query = "SELECT topic, name, entries, bytes, floor FROM topics WHERE topic > ? ORDER BY topic LIMIT ?"
        rows = self._db.execute(query, [self._next, _ROUND]).fetchall()
        self._next = rows[-1][0] if len(rows) == _ROUND else 0
        floor = self._table.extent.floor
        if empty := [row[:1] for row in rows if not row[2] and row[4] <= floor]:
            self._db.executemany("DELETE FROM topics WHERE topic = ? AND entries = 0", empty)
            self._table.forget_numbers()
        return self._step_rows(row[:4] for row in rows if row[2])

    def step_any(self, retention: Retention) -> int:
        """Let go one step of what is over other bounds; return how many entries went: 0 after a look at every topic.

        Args:
            retention: the bounds, of the log and of topics; the same ones at each call.

        Raises:
            sqlite3.Error: nothing has gone.
        """
        one = self._other = self._other or Trimmer(self._table, retention)
        gone, ends = one.step(), 0
        while not gone and ends < 2:  # the first round may begin anywhere
            gone = one.step_round()
            ends += one._next == 0
        return gone

    def _step_rows(self, rows: Iterable[tuple[int, str, int, int]]) -> int:
        gone = 0
        for number, name, entries, size in rows:
            keep = self._retention.of_topic(name)
            if not keep.unbounded:
                gone += self._step_topic(number, name, entries, size, keep)
        return gone

    def _step_topic(self, number: int, name: str, entries: int, size: int, keep: Keep) -> int:
        over = entries - keep.events if keep.events else 0
        heavy = size - keep.bytes if keep.bytes else 0
        if over <= 0 and heavy <= 0 and not keep.seconds:
            return 0
        query = (
            "SELECT p.position, l.topics, coalesce(length(l.block), 0), coalesce(l.at, 0) FROM places p "
            "LEFT JOIN log l ON l.position = p.position WHERE p.topic = ? ORDER BY p.position LIMIT ?"
        )
        rows = self._db.execute(query, [number, _STEP]).fetchall()
        before = self._table.now() - int(1000 * keep.seconds) if keep.seconds else 0
        rows = rows[: _how_many(rows, over, heavy, before)]
        return self._let_topic_go(number, name, rows) if rows else 0

    def _let_topic_go(self, number: int, name: str, rows: list[tuple[int, Any, int, int]]) -> int:
        """Take entries from a topic's index; those that no other topic has leave the log."""
        last, size = rows[-1][0], sum(row[2] for row in rows)
        alone = [row for row in rows if row[1] is not None and str(row[1]) == name]
        shared = [
            ("\n".join(t for t in str(topics).split("\n") if t != name), position)
            for position, topics, _, _ in rows
            if topics is not None and str(topics) != name
        ]
        db, extent = self._db, self._table.extent
        lighter = sum(row[2] for row in alone)
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute("DELETE FROM places WHERE topic = ? AND position <= ?", [number, last])
            db.executemany("DELETE FROM log WHERE position = ?", [row[:1] for row in alone])
            db.executemany("UPDATE log SET topics = ? WHERE position = ?", shared)
            db.execute(
                "UPDATE topics SET entries = entries - ?, bytes = bytes - ?, floor = ? WHERE topic = ?",
                [len(rows), size, last, number],
            )
            db.execute(
                "UPDATE extent SET entries = entries - ?, bytes = bytes - ?", [len(alone), lighter]
            )
            db.execute("COMMIT")
        except BaseException:
            self._table.roll_back()
            raise
        extent.entries, extent.bytes = extent.entries - len(alone), extent.bytes - lighter
        return len(rows)


def _how_many(rows: list[tuple[int, Any, int, int]], over: int, heavy: int, before: int) -> int:
    """Return how many of the oldest entries have to go: for their number, their bytes, or as older than `before`."""
    many = min(max(over, 0), len(rows))
    size = 0
    for count, (_, _, length, _) in enumerate(rows, 1):
        if size >= heavy:
            break
        size += length
        many = max(many, count)
    if before:
        many = max([many, *(count for count, row in enumerate(rows, 1) if row[3] < before)])
    return many
