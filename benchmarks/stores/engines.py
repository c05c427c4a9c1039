"""The engines that are measured: a URL for a log of its own, and a bare loop over the same driver.

A bare loop puts in what the store puts in, in groups as large, and does nothing besides: no event loop, nobody who
waits, no keys, no bounds, no second attempt. A store of another engine is one more row.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from benchmarks.stores.servers import nats_port, postgres_port, program, redis_port

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


def _redis_url(_: Path) -> str:
    return f"redis://127.0.0.1:{redis_port()}/0?namespace=log{next(_names)}"


def _bare_redis(_: Path, count: int, group: int) -> float:
    return asyncio.run(_pipeline(f"bare{next(_names)}", count, group))


async def _pipeline(key: str, count: int, group: int) -> float:
    """Append by the client of redis-py, in pipelines of so many."""
    from redis.asyncio import Redis

    client = Redis(port=redis_port())
    begun = time.perf_counter()
    for _ in range(0, count, group):
        pipeline = client.pipeline(transaction=False)
        for _ in range(group):
            pipeline.xadd(key, {"e": BLOCK})
        await pipeline.execute()
    took = time.perf_counter() - begun
    await client.aclose()
    return took


def _nats_url(_: Path) -> str:
    return f"nats://127.0.0.1:{nats_port()}?namespace=log{next(_names)}"


def _bare_nats(_: Path, count: int, group: int) -> float:
    return asyncio.run(_publish(f"bare{next(_names)}", count, group))


async def _publish(name: str, count: int, group: int) -> float:
    """Append by the JetStream client of nats-py, and wait for the answers of so many at a time."""
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{nats_port()}")
    stream = client.jetstream(publish_async_max_pending=group)
    await stream.add_stream(name=name, subjects=[name])
    begun = time.perf_counter()
    for _ in range(0, count, group):
        answers = [await stream.publish_async(name, BLOCK) for _ in range(group)]
        await asyncio.gather(*answers)
    took = time.perf_counter() - begun
    await client.close()
    return took


def _postgres_url(_: Path) -> str:
    return f"postgresql://postgres@127.0.0.1:{postgres_port()}/postgres?namespace=log{next(_names)}"


def _bare_postgres(_: Path, count: int, group: int) -> float:
    return asyncio.run(_insert(f"bare{next(_names)}", count, group))


async def _insert(schema: str, count: int, group: int) -> float:
    """Append by asyncpg, so many rows in one statement and transaction, into a table that has its topics indexed."""
    import asyncpg

    client = await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{postgres_port()}/postgres")
    await client.execute(
        f"CREATE SCHEMA {schema}; SET search_path = {schema};"
        'CREATE TABLE log (position bigint PRIMARY KEY, at timestamptz, topic text COLLATE "C", entry bytea);'
        "CREATE INDEX ON log (topic, position)"
    )
    insert = await client.prepare(
        "INSERT INTO log SELECT $1 + n.place, now(), n.topic, n.entry "
        "FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY n(topic, entry, place)"
    )
    topics, blocks = ["a"] * group, [BLOCK] * group
    begun = time.perf_counter()
    for head in range(0, count, group):
        await insert.fetch(head, topics, blocks)
    took = time.perf_counter() - begun
    await client.close()
    return took


ENGINES: list[Engine] = [
    Engine("memory", _memory, None),
    _sqlite("normal"),
    _sqlite("full"),
]
for _program, _driver, _engine in (
    ("redis-server", "redis", Engine("Redis", _redis_url, _bare_redis)),
    ("nats-server", "nats", Engine("NATS", _nats_url, _bare_nats)),
    ("postgres", "asyncpg", Engine("PostgreSQL", _postgres_url, _bare_postgres)),
):
    if program(_program) and importlib.util.find_spec(_driver) is not None:
        ENGINES.append(_engine)
