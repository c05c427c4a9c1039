"""A stress of hubs on one store, seeded and self-checking: ``python tests/stress/stores.py --seconds 600``.

Two servers with two workers each share a store; ``--engine`` says where it is. (A file of SQLite has one server with
one worker, and no engine to kill.) Readers follow all events at any of them, and come back with their last id to any
other. Publishers post numbered events with keys, and repeat keys after failures. Meanwhile processes are killed:
workers, servers, publishers, and the engine, which starts again with its data, with older data, or with none.

At the end each reader must have each acknowledged event once, in the one order, or a gap that it lies in. Only an
engine that has lost data may cause gaps. The judgement knows ids and gaps; engines are rows of `support.engines`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # as the tests have it

import support.postgres  # noqa: F401 - which adds to ENGINES
from stress.wire import Broken, open_stream, request
from support.cluster import Hub, Publisher
from support.engines import ENGINES, Engine

PATIENCE = 60.0  # s for whatever takes a second on a quiet machine
LOSES = {"roll back", "empty"}  # faults after which readers may be told gaps
QUIET = (1.0, 4.0)  # s between two faults

Place = tuple[int, int]  # of an id: which log, counted from the first, and the number there


class Sqlite(Engine):
    """A log in a file: no server but the hub's own process."""

    def command(self) -> list[str]:
        raise AssertionError("there is no server")

    def url(self, namespace: str) -> str:
        return f"sqlite:///{self.folder}/{namespace}.db"

    def answers(self) -> bool:
        return True

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)


class Order:
    """The logs that ids name, in the order in which readers have come to them."""

    def __init__(self) -> None:
        self._logs: dict[str, int] = {}

    def place(self, id: str) -> Place:
        epoch, _, number = id.rpartition("-")
        return self._logs.setdefault(epoch, len(self._logs)), int(number)

    def __len__(self) -> int:
        return len(self._logs)


class Reader:
    """One reader of all events, over all its connections.

    Attributes:
        places: of the events, log by log.
        gaps: from where to where, exclusive and inclusive.
        faults: what must not be.
        repeats: where an event was, and where it came again.
    """

    def __init__(self, name: int, order: Order, ports: list[int], random: random.Random) -> None:
        self.name = name
        self.places: dict[int, array[int]] = {}
        self.gaps: list[tuple[Place, Place]] = []
        self.faults: list[str] = []
        self.repeats: list[tuple[Place, Place]] = []
        self.last_data = ""
        self.opened = asyncio.Event()
        self.connections = 0
        self._order = order
        self._ports = ports
        self._random = random
        self._had: dict[str, Place] = {}
        self._last_id: str | None = None
        self._at: Place = (0, -1)

    async def run(self) -> None:
        """Read, and come back whenever the stream has ended."""
        while True:
            try:
                await self._connect(self._random.choice(self._ports))
            except Broken:
                await asyncio.sleep(self._random.uniform(0.05, 0.5))

    async def _connect(self, port: int) -> None:
        stream = await open_stream(port, "topic=all", self._last_id)
        try:
            if stream.status != 200:
                raise Broken(str(stream.status))
            self.connections += 1
            while True:
                for block in await stream.blocks():
                    if block.event == "gap" and block.data is not None:
                        self._take_gap(block.data)
                    elif block.data is not None:
                        self._take(block.id or "", block.data)
                    if block.id is not None:
                        self._last_id = block.id
                        self._at = max(self._at, self._order.place(block.id))
                        self.opened.set()
        finally:
            stream.leave()

    def _take(self, id: str, data: str) -> None:
        place = self._order.place(id)
        if data in self._had:
            self.repeats.append((self._had[data], place))
        self._had[data] = place
        if place <= self._at:
            self.faults.append(f"{id} ({data}) comes after {self._at}")
        self._at = place
        self.places.setdefault(place[0], array("q")).append(place[1])
        self.last_data = data

    def _take_gap(self, data: str) -> None:
        told = json.loads(data)
        self.gaps.append((self._order.place(told["from"]), self._order.place(told["to"])))

    def twice(self, acknowledged: dict[Place, str]) -> list[str]:
        """List the acknowledged events that came again.

        An event that was lost with its log before its publisher had an answer is published anew, and a reader may have
        both.
        """
        return [
            f"{acknowledged.get(first)} comes twice: {first}, {again}"
            for first, again in self.repeats
            if first in acknowledged or first[0] == again[0]
        ]

    def missing(self, acknowledged: dict[Place, str]) -> list[str]:
        """List the acknowledged events that are neither here nor in a gap."""
        here = {(log, number) for log, numbers in self.places.items() for number in numbers}
        return [
            data
            for place, data in acknowledged.items()
            if place not in here and not any(a < place <= b for a, b in self.gaps)
        ]


class Outcome(NamedTuple):
    """The judgement of a run, and its numbers."""

    faults: list[str]
    events: int
    deliveries: int
    gaps: int
    logs: int
    done: Counter[str]


class Run:
    """One run.

    Args:
        engine: not started yet.
        seed: of all that is random.
        readers, publishers: how many there are.
        pause: seconds between two events of a publisher.
    """

    def __init__(
        self,
        engine: Engine,
        seed: int,
        *,
        readers: int = 200,
        publishers: int = 4,
        pause: float = 0.0,
    ) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self._done: Counter[str] = Counter()
        self._order = Order()
        url = engine.url("stress")
        count = 1 if isinstance(engine, Sqlite) else 2
        flags = ("--lifetime", "20", "--store-wait", "60")
        self._hubs = [Hub(url, count, *flags) for _ in range(count)]
        ports = [hub.port for hub in self._hubs]
        self._readers = [
            Reader(n, self._order, ports, random.Random(f"{seed} {n}")) for n in range(readers)
        ]
        self._publishers = [Publisher(f"p{n}", ports, pause) for n in range(publishers)]

    async def run(self, seconds: float, events: int, kinds: list[str]) -> Outcome:
        """Run for some time and some events, with faults of these kinds one after another, and judge.

        Args:
            seconds: how long faults go on, and events at least.
            events: how many there are at least.
            kinds: each comes once in turn, in an order of chance; then again.
        """
        tasks: list[asyncio.Task[None]] = []
        try:
            self._engine.start()
            await asyncio.to_thread(self._start_hubs)
            tasks = [asyncio.create_task(reader.run()) for reader in self._readers]
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(reader.opened.wait() for reader in self._readers))
            for publisher in self._publishers:
                publisher.start()
            await self._disturb(seconds, kinds)
            await self._until(
                lambda: self._count() >= events, "so many events", PATIENCE + events / 20
            )
            faults = await self._finish()
            return self._judge(faults, kinds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for part in (*self._publishers, *self._hubs):
                part.close()
            self._engine.close()

    def _start_hubs(self) -> None:
        for hub in self._hubs:
            hub.start()
        for hub in self._hubs:
            hub.wait()

    def _count(self) -> int:
        return sum(len(publisher.ids) for publisher in self._publishers)

    async def _until(self, done: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
        end = time.monotonic() + within
        while not done():
            if time.monotonic() > end:
                said = "\n".join(hub.said()[-1500:] for hub in self._hubs)
                raise AssertionError(
                    f"not within {within:g} s: {what}; {self._count()} events\n{said}"
                )
            await asyncio.sleep(0.02)

    # Faults.

    async def _disturb(self, seconds: float, kinds: list[str]) -> None:
        """Do one thing after another, and look that events go on after each."""
        end = time.monotonic() + seconds
        turn: list[str] = []
        while time.monotonic() < end or turn:
            if not kinds:
                await asyncio.sleep(0.1)
                continue
            if not turn:
                turn = self._random.sample(kinds, len(kinds))
            kind = turn.pop()
            await asyncio.sleep(self._random.uniform(*QUIET))
            await asyncio.to_thread(getattr(self, "_" + kind.replace(" ", "_")))
            self._done[kind] += 1
            before = self._count()
            await self._until(
                lambda before=before: self._count() > before + 20, f"events after {kind}"
            )

    def _worker(self) -> None:
        """Kill a worker; the server starts another one in its place."""
        hub = self._random.choice(self._hubs)
        if workers := hub.workers:
            os.kill(self._random.choice(workers), signal.SIGKILL)

    def _hub(self) -> None:
        """Kill a whole server, and start it again."""
        hub = self._random.choice(self._hubs)
        hub.kill()
        hub.start()

    def _publisher(self) -> None:
        publisher = self._random.choice(self._publishers)
        publisher.kill()
        publisher.start()

    def _engine_with_its_data(self) -> None:
        self._engine.kill()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._engine.start()

    def _pause(self) -> None:
        self._engine.pause()
        time.sleep(self._random.uniform(0.1, 3.0))
        self._engine.resume()

    def _roll_back(self) -> None:
        self._engine.save()
        time.sleep(self._random.uniform(0.2, 1.0))
        self._engine.kill()
        self._engine.put_back()
        self._engine.start()

    def _empty(self) -> None:
        self._engine.kill()
        self._engine.empty()
        self._engine.start()

    # The end.

    async def _finish(self) -> list[str]:
        """Stop the publishers, publish one last event, and wait until every reader has it."""
        for publisher in self._publishers:
            await asyncio.to_thread(publisher.stop, PATIENCE)
        await self._until_last()
        late = [reader for reader in self._readers if reader.last_data != "last"]
        return [
            f"{len(late)} readers have not got the last event, such as {reader.name}, "
            f"at {reader.last_data} after {reader.connections} connections"
            for reader in late[:1]
        ]

    async def _until_last(self) -> None:
        """Publish the last event, and wait for as long as readers come nearer to it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                port = self._hubs[0].port
                status, _ = await request(port, "POST", "/events?topic=all", b"last", "last")
            except Broken:
                status = 0
            if status == 200:
                break
            await asyncio.sleep(0.2)
        before, since = 0, time.monotonic()
        while any(reader.last_data != "last" for reader in self._readers):
            taken = sum(len(n) for reader in self._readers for n in reader.places.values())
            if taken > before:
                before, since = taken, time.monotonic()
            elif time.monotonic() > since + PATIENCE:  # a busy machine is slow, but goes on
                return
            await asyncio.sleep(0.1)

    def _judge(self, faults: list[str], kinds: list[str]) -> Outcome:
        acknowledged = {
            self._order.place(id): f"{publisher.name} {number}: {id}"
            for publisher in self._publishers
            for number, id in publisher.ids.items()
        }
        gaps = sum(len(reader.gaps) for reader in self._readers)
        if len(acknowledged) != self._count():
            faults.append(f"{self._count() - len(acknowledged)} ids were given twice")
        if gaps and not LOSES & set(kinds):
            faults.append(f"{gaps} gaps, although nothing was lost")
        for reader in self._readers:
            found = reader.faults + reader.twice(acknowledged)
            faults += [f"reader {reader.name}: {fault}" for fault in found[:5]]
            if missing := reader.missing(acknowledged):
                lacks = f"{len(missing)} of {len(acknowledged)} events: {missing[:3]}"
                faults.append(f"reader {reader.name} lacks, and was not told of, {lacks}")
        deliveries = sum(len(n) for reader in self._readers for n in reader.places.values())
        return Outcome(faults, len(acknowledged), deliveries, gaps, len(self._order), self._done)


ALL = ["worker", "hub", "publisher", "engine with its data", "pause", "roll back", "empty"]
KEEPS = [kind for kind in ALL if kind not in LOSES]
ALONE = ["hub", "publisher"]  # those of a log in a file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    engines = {**ENGINES, "sqlite": Sqlite}
    parser.add_argument("--engine", choices=sorted(engines), default="redis")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--events", type=int, default=10_000, help="at least so many")
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument(
        "--pause", type=float, default=0.02, help="s between two events of one publisher"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument(
        "--faults",
        help=f"some of {','.join(ALL)} (default: all that the engine has); nothing: none",
    )
    given = parser.parse_args()
    all_kinds = ALONE if given.engine == "sqlite" else ALL
    kinds = all_kinds if given.faults is None else [k for k in given.faults.split(",") if k]
    print(f"seed {given.seed}, faults: {', '.join(kinds) or 'none'}", flush=True)
    run = Run(engines[given.engine](), given.seed, readers=given.readers, pause=given.pause)
    outcome = asyncio.run(run.run(given.seconds, given.events, kinds))
    print(
        f"{outcome.events} events, {outcome.deliveries} deliveries, {outcome.gaps} gaps, {outcome.logs} logs; "
        + ", ".join(f"{count} × {kind}" for kind, count in outcome.done.items())
    )
    print("\n".join(outcome.faults[:20]) or "no fault")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
