"""The engines that are measured: a URL for a log of its own, and a bare loop over the same driver.

A bare loop puts in what the store puts in, in groups as large, and does nothing besides: no event loop, nobody who
waits, no keys, no bounds. A store of another engine is one more row.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib.util
import itertools
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
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

    def url(folder: Path) -> str:
        return f"sqlite:///{folder}/log.db?synchronous={mode}"

    return Engine(f"SQLite, {mode}", url, bare)


def _memory(folder: Path) -> str:  # noqa: ARG001 - nothing is kept
    return "memory:"


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


_names = itertools.count()


@functools.cache
def _redis() -> int:
    """Start a Redis that keeps all in memory, and return its port; the server ends with this process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", tempfile.gettempdir()]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    atexit.register(server.wait)
    atexit.register(server.kill)
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port
        time.sleep(0.01)
    raise SystemExit("redis-server did not start")


def _redis_url(_: Path) -> str:
    return f"redis://127.0.0.1:{_redis()}/0?namespace=log{next(_names)}"


def _bare_redis(_: Path, count: int, group: int) -> float:
    return asyncio.run(_pipeline(f"bare{next(_names)}", count, group))


async def _pipeline(key: str, count: int, group: int) -> float:
    """Append by the client of redis-py, in pipelines of so many."""
    from redis.asyncio import Redis

    client = Redis(port=_redis())
    begun = time.perf_counter()
    for _ in range(0, count, group):
        pipeline = client.pipeline(transaction=False)
        for _ in range(group):
            pipeline.xadd(key, {"e": BLOCK})
        await pipeline.execute()
    took = time.perf_counter() - begun
    await client.aclose()
    return took


ENGINES: list[Engine] = [
    Engine("memory", _memory, None),
    _sqlite("normal"),
    _sqlite("full"),
]
if shutil.which("redis-server") and importlib.util.find_spec("redis") is not None:
    ENGINES.append(Engine("Redis", _redis_url, _bare_redis))
