"""The engines that are measured: a URL for a log of its own, and a bare loop over the same driver.

A bare loop puts in what the store puts in, in groups as large, and does nothing besides: no event loop, nobody who
waits, no keys, no bounds. A store of another engine is one more row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

__all__ = ["BLOCK", "ENGINES", "Engine"]

BLOCK = b"data: " + b"x" * 92 + b"\n\n"  # 100 bytes


class Engine(NamedTuple):
    """One engine in one way of using it.

    Attributes:
        name: for the table.
        url: makes the URL of a new log, given an empty folder.
        bare: puts in so many events in groups of so many, given an empty folder; returns the seconds. None: no driver.
    """

    name: str
    url: Callable[[Path], str]
    bare: Callable[[Path, int, int], float] | None


def _sqlite(mode: str) -> Engine:
    def bare(folder: Path, count: int, group: int) -> float:
        return _bare_sqlite(folder / "bare.db", mode, count, group)

    return Engine(
        f"SQLite, {mode}", lambda folder: f"sqlite:///{folder}/log.db?synchronous={mode}", bare
    )


def _bare_sqlite(path: Path, mode: str, count: int, group: int) -> float:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(
        f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {mode};"
        "CREATE TABLE log (position INTEGER PRIMARY KEY, at INTEGER, form INTEGER, topics TEXT, block BLOB);"
        "CREATE TABLE places (topic INTEGER, position INTEGER, PRIMARY KEY (topic, position)) WITHOUT ROWID;"
        "CREATE TABLE extent (head INTEGER); INSERT INTO extent VALUES (0);"
    )
    begun, head = perf_counter(), 0
    while head < count:
        some = range(head + 1, head + group + 1)
        db.execute("BEGIN IMMEDIATE")
        rows = [(position, 0, 1, "a", BLOCK) for position in some]
        db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)
        db.executemany("INSERT INTO places VALUES (?, ?)", [(1, position) for position in some])
        head += group
        db.execute("UPDATE extent SET head = ?", [head])
        db.execute("COMMIT")
    took = perf_counter() - begun
    db.close()
    return took


ENGINES: list[Engine] = [
    Engine("memory", lambda _: "memory:", None),
    _sqlite("normal"),
    _sqlite("full"),
]
