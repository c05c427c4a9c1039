"""Try the order of a log in PostgreSQL: ``python tests/stress/postgresql.py --events 100000 --seed 1``.

Writers publish in transactions of their own, which take their time, commit late or roll back; others append to the log,
some in transactions that hold the log's lock until they commit or roll back. Readers follow the log, and lose their
connections now and then; one asks the table by itself, as no reader of ours does.

Afterwards every reader must have got each committed event once, none that was rolled back, all in one order. That order
agrees with time: an event whose commit was over before another publish began comes first.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

import asyncpg
from support.postgres import Postgres
from support.servers import DEADLINE
from support.stores import Recorder

from fastsse.broadcast.stores import Draft
from fastsse.broadcast.stores.opening import open_url
from fastsse.broadcast.stores.postgresql import PostgresStore

READERS = 3


class Event(NamedTuple):
    """A committed event.

    Attributes:
        began: the time before its publish.
        ended: the time after its commit.
    """

    began: float
    ended: float


class Trial:
    """Writers and readers of one log.

    Args:
        url: the log's.
        dsn: the database, for the writers' own connections.
        events: how many are to be committed.
        seed: of everything that is left to chance.
    """

    def __init__(self, url: str, dsn: str, events: int, seed: int) -> None:
        self.url = url
        self.dsn = dsn
        self.left = events
        self.numbers = itertools.count()
        self.random = random.Random(seed)
        self.committed: dict[str, Event] = {}
        self.rolled_back: set[str] = set()
        self.readers = [(self._store(), Recorder()) for _ in range(READERS)]
        self.polled: list[str] = []
        self.cuts = 0

    def _store(self) -> PostgresStore:
        store = cast("PostgresStore", open_url(self.url))
        store._patience = DEADLINE
        return store

    async def run(self, writers: int) -> None:
        """Write and read until all is committed and told.

        Raises:
            AssertionError: a reader missed, reordered or repeated an event, or got one that was rolled back.
        """
        for store, told in self.readers:
            await store.open()
            await store.follow(told, 0)
        disturbing = asyncio.ensure_future(self._cut())
        polling = asyncio.ensure_future(self._poll())
        kinds = (self._outbox, self._append, self._outbox, self._locked)
        await asyncio.gather(*(kinds[n % 4](n) for n in range(writers)))
        disturbing.cancel()
        for _, told in self.readers:
            await self._all_told(told)
        while len(self.polled) < len(self.committed):
            await asyncio.sleep(0.01)
        polling.cancel()
        await asyncio.gather(polling, disturbing, return_exceptions=True)
        for store, _ in self.readers:
            await store.close()
        self._check()

    async def _all_told(self, told: Recorder) -> None:
        until = time.monotonic() + 2 * DEADLINE
        while len(told.entries) < len(self.committed) and time.monotonic() < until:
            await asyncio.sleep(0.01)

    # Writers.

    def _take(self, who: int) -> list[str]:
        """Take the names of the next events of a transaction."""
        count = min(self.left, self.random.choice((1, 1, 2, 5, 20)))
        self.left -= count
        return [f"{who}-{next(self.numbers)}" for _ in range(count)]

    def _note(self, names: list[str], began: float, committed: bool) -> None:
        if committed:
            self.committed.update((name, Event(began, time.monotonic())) for name in names)
        else:
            self.left += len(names)
            self.rolled_back.update(names)

    async def _pause(self) -> None:
        await asyncio.sleep(self.random.choice((0, 0, 0.001, 0.005, 0.05)))

    async def _outbox(self, who: int) -> None:
        """Publish in transactions of an application."""
        store, connection = self._store(), await asyncpg.connect(self.dsn)
        while names := self._take(who):
            began = time.monotonic()
            transaction = connection.transaction()
            await transaction.start()
            for name in names:
                key = name if self.random.random() < 0.2 else None
                await store.publish_in(connection, ["a", f"w{who}"], name, key=key)
            await self._pause()
            commits = self.random.random() < 0.7
            await (transaction.commit() if commits else transaction.rollback())
            self._note(names, began, commits)
        await connection.close()

    async def _append(self, who: int) -> None:
        """Append to the log, at times with keys, which are then repeated."""
        store = self._store()
        await store.open()
        while names := self._take(who):
            began = time.monotonic()
            keys = [name if self.random.random() < 0.2 else None for name in names]
            drafts = [Draft(("a",), f"data: {name}\n\n".encode()) for name in names]
            first = await asyncio.gather(*map(store.append, drafts, keys))
            self._note(names, began, True)
            for draft, key, position in zip(drafts, keys, first, strict=True):
                assert key is None or position == await store.append(draft, key)
            await self._pause()
        await store.close()

    async def _locked(self, who: int) -> None:
        """Append in transactions that keep the log's lock for a while, as a server does that writes slowly."""
        connection = await asyncpg.connect(self.dsn)
        schema = self.url.rpartition("=")[2]
        epoch = await connection.fetchval(f"SELECT epoch FROM {schema}.meta")
        sql = f"SELECT positions[1] FROM {schema}.append($1, $2, $3, $4, NULL, 600)"
        while names := self._take(who):
            entries = [f"1\na\n\ndata: {name}\n\n".encode() for name in names]
            began = time.monotonic()
            transaction = connection.transaction()
            await transaction.start()
            batch = f"b{names[0]}".encode()
            await connection.execute(sql, epoch, batch, ["a"] * len(names), entries)
            await asyncio.sleep(self.random.choice((0, 0, 0.002, 0.01)))
            commits = self.random.random() < 0.7
            await (transaction.commit() if commits else transaction.rollback())
            self._note(names, began, commits)
            await self._pause()
        await connection.close()

    # Readers.

    async def _cut(self) -> None:
        """Cut a connection of a reader now and then."""
        connection = await asyncpg.connect(self.dsn)
        try:
            while True:
                await asyncio.sleep(self.random.uniform(0.05, 0.5))
                store = self.random.choice(self.readers)[0]
                if store._reader is not None:
                    await connection.execute(f"SELECT pg_terminate_backend({store._reader.pid})")
                    self.cuts += 1
        finally:
            connection.terminate()

    async def _poll(self) -> None:
        """Read the table by position alone, as quickly as it goes."""
        connection = await asyncpg.connect(self.dsn)
        schema = self.url.rpartition("=")[2]
        sql = f"SELECT position, entry FROM {schema}.log WHERE position > $1 ORDER BY position LIMIT 1000"
        seen = 0
        try:
            while True:
                rows = await connection.fetch(sql, seen)
                for seen, entry in rows:  # noqa: B007 - the last one counts
                    self.polled.append(_name(entry))
                await asyncio.sleep(0)
        finally:
            connection.terminate()

    # The check.

    def _check(self) -> None:
        orders = [[_name(entry.block) for entry in told.entries] for _, told in self.readers]
        for order in (*orders, self.polled):
            wrong: Any = set(order) & self.rolled_back
            assert not wrong, f"rolled back, and told: {sorted(wrong)[:5]}"
            missed = self.committed.keys() - set(order)
            assert not missed, f"{len(missed)} missed: {sorted(missed)[:5]}"
            assert len(order) == len(self.committed), "told more than once"
            assert order == self.polled, "another order than that of the table"
        for _, told in self.readers:
            positions = [entry.position for entry in told.entries]
            assert positions == sorted(set(positions))
            assert [] == [verb for verb, _ in told.news if verb in ("lost", "renewed")]
        latest = 0.0
        for name in self.polled:
            event = self.committed[name]
            assert event.ended >= latest, f"{name} was over before an earlier one began"
            latest = max(latest, event.began)


def _name(block: bytes) -> str:
    return block.rpartition(b"data: ")[2].strip().decode()


def run(engine: Postgres, namespace: str, *, events: int, writers: int, seed: int) -> Trial:
    """Run a trial on a server, and return it.

    Raises:
        AssertionError: as `Trial.run`.
    """
    trial = Trial(engine.url(namespace), engine.dsn, events, seed)
    asyncio.run(trial.run(writers))
    return trial


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    engine = Postgres()
    engine.start()
    began = time.monotonic()
    try:
        trial = run(engine, "stress", events=given.events, writers=given.writers, seed=given.seed)
    except AssertionError as error:
        print(f"seed {given.seed}: {error}")
        return 1
    finally:
        engine.close()
    print(
        f"seed {given.seed}: {len(trial.committed):,} events committed, {len(trial.rolled_back):,} rolled back, "
        f"{trial.cuts} connections cut, in {time.monotonic() - began:.0f} s: each told once, in one order"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
